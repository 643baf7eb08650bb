package handshake

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// needSSL returns an Acceptor with the second engine.
func needSSL(t testing.TB) *Acceptor {
	t.Helper()
	a, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SecondEngine(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("libssl is needed in CI: %v", err)
		}
		t.Skip(err)
	}
	return a
}

// An sslServer serves connections one after the other.
type sslServer struct {
	addr    string
	reports chan *Report
}

// report waits for the next connection's report.
func (s *sslServer) report(t testing.TB) *Report {
	t.Helper()
	select {
	case r := <-s.reports:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no report")
		return nil
	}
}

// straight does a handshake with OpenSSL whatever the offer is: no judge stands
// before it.
func straight(e *sslEngine, t *Transport, choice Choice) (*Conn, *Report) {
	r := new(Report)
	t.SetDeadline(time.Now().Add(time.Minute))
	conn, err := e.accept(t, new(Hello), choice, new(Verdict), r)
	sent, received := t.alerts()
	if r.AlertSent == 0 {
		r.AlertSent = sent
	}
	if r.AlertReceived == 0 {
		r.AlertReceived = received
	}
	t.unwatch()
	if err != nil {
		r.Failure = explain(err, new(Hello), choice.Policy, &Verdict{OK: true}, r)
		t.Close()
		return nil, r
	}
	t.SetDeadline(noDeadline)
	return conn, r
}

// serve accepts connections by accept and gives them to use, which echoes when
// it is nil.
func serve(t testing.TB, accept func(*Transport) (*Conn, *Report), use func(*Conn)) *sslServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if use == nil {
		use = func(c *Conn) { io.Copy(c, c) }
	}
	s := &sslServer{ln.Addr().String(), make(chan *Report, 1000)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				conn, r := accept(NewTransport(nc))
				s.reports <- r
				if conn != nil {
					use(conn)
					conn.Close()
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return s
}

// serveAcceptor serves as the hub does.
func serveAcceptor(t testing.TB, a *Acceptor, choice Choice) *sslServer {
	return serve(t, func(tr *Transport) (*Conn, *Report) {
		return a.Accept(tr, func(*Hello) Choice { return choice })
	}, nil)
}

// serveStraight serves with OpenSSL alone.
func serveStraight(t testing.TB, a *Acceptor, choice Choice) *sslServer {
	return serve(t, func(tr *Transport) (*Conn, *Report) { return straight(a.openSSL, tr, choice) }, nil)
}

// sClient runs openssl s_client, which sends line and quits when it comes back.
func sClient(t testing.TB, addr string, args ...string) string {
	t.Helper()
	cmd := exec.Command(needTool(t, "openssl"), append([]string{"s_client", "-connect", addr, "-servername", "localhost"}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := newWaiter()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		out.stop()
		close(done)
	}()
	fmt.Fprintln(stdin, "echo this")
	out.wait(func(text string) bool { return strings.Contains(text, "echo this") })
	stdin.Close()
	<-done
	return out.text()
}

// A waiter is a Writer that one can wait on.
type waiter struct {
	mu   sync.Mutex
	cond *sync.Cond
	got  bytes.Buffer
	over bool
}

func newWaiter() *waiter {
	w := new(waiter)
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *waiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got.Write(p)
	w.cond.Broadcast()
	return len(p), nil
}

// stop says that no more comes.
func (w *waiter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.cond.Broadcast()
}

// wait waits until enough has come, or no more comes.
func (w *waiter) wait(enough func(text string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over && !enough(w.got.String()) {
		w.cond.Wait()
	}
}

func (w *waiter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}

// ciphersOfTool returns what the openssl command has, OpenSSL's name by IANA's.
func ciphersOfTool(t testing.TB) map[string]string {
	t.Helper()
	out, err := exec.Command(needTool(t, "openssl"), "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 {
			names[f[0]] = f[2]
		}
	}
	return names
}

// TestSuites offers each suite to each hub: both engines together, and OpenSSL
// alone, which has to hold the policy by itself.
func TestSuites(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	names := ciphersOfTool(t)
	for _, mode := range []struct {
		name  string
		serve func(testing.TB, *Acceptor, Choice) *sslServer
	}{{"both engines", serveAcceptor}, {"openssl", serveStraight}} {
		for _, policy := range []struct {
			name string
			*Policy
		}{{"strict", Strict()}, {"legacy", Legacy()}} {
			t.Run(mode.name+"/"+policy.name, func(t *testing.T) {
				t.Parallel()
				s := mode.serve(t, a, Choice{Policy: policy.Policy, Certificates: testAuthority().certs})
				for _, id := range Legacy().Suites {
					args := []string{"-tls1_2", "-cipher", names[SuiteName(id)] + ":@SECLEVEL=0"}
					out := sClient(t, s.addr, args...)
					r := s.report(t)
					if !slices.Contains(policy.Suites, id) {
						if r.Failure == nil || r.AlertSent.String() != "handshake_failure" {
							t.Errorf("%s: failure %v, alert %v; want refusal with handshake_failure", SuiteName(id), r.Failure, r.AlertSent)
						}
						if !strings.Contains(out, "alert number 40") {
							t.Errorf("%s: the client saw no alert 40:\n%s", SuiteName(id), out)
						}
						continue
					}
					if r.Failure != nil {
						t.Errorf("%s: %v (%v)", SuiteName(id), r.Failure, r.Failure.Err)
						continue
					}
					if !strings.Contains(out, "echo this") {
						t.Errorf("%s: no echo:\n%s", SuiteName(id), out)
					}
					k := suiteKinds[id]
					want := Report{Engine: r.Engine, Version: VersionTLS12, Suite: id, ServerKey: "RSA"}
					if mode.name != "openssl" {
						want.Engine = engineOpenSSL
						if k.inGo {
							want.Engine = engineGo
						}
					}
					if k.ecdsa {
						want.ServerKey, want.Signature = "ECDSA", 0x0403
					} else if k.ecdhe || k.dhe {
						want.Signature = 0x0804
					}
					if k.ecdhe {
						want.Group = 29
					}
					got := Report{Engine: r.Engine, Version: r.Version, Suite: r.Suite, Group: r.Group, Signature: r.Signature, ServerKey: r.ServerKey}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", SuiteName(id), diff)
					}
				}

				// All others that OpenSSL has, at once: none of them may be taken.
				var others []string
				for iana, name := range names {
					if !strings.Contains(name, "_") && !slices.ContainsFunc(policy.Suites, func(id uint16) bool { return SuiteName(id) == iana }) {
						others = append(others, name)
					}
				}
				if len(others) < 100 {
					t.Fatalf("only %d other suites", len(others))
				}
				for _, version := range []string{"-tls1_2", "-tls1_1", "-tls1"} {
					sClient(t, s.addr, version, "-cipher", strings.Join(others, ":")+":@SECLEVEL=0", "-psk", "00", "-psk_identity", "x")
					r := s.report(t)
					want := "handshake_failure"
					if version != "-tls1_2" && policy.Policy == Strict() {
						want = "protocol_version"
					}
					if r.Failure == nil || r.AlertSent.String() != want {
						t.Errorf("%s with %d other suites: %s, failure %v, alert %v; want %s", version, len(others), SuiteName(r.Suite), r.Failure, r.AlertSent, want)
					}
				}

				for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"} {
					sClient(t, s.addr, "-tls1_3", "-ciphersuites", suite)
					r := s.report(t)
					switch ccm := strings.Contains(suite, "CCM"); {
					case ccm && (r.Failure == nil || r.AlertSent.String() != "handshake_failure"):
						t.Errorf("%s: failure %v, alert %v", suite, r.Failure, r.AlertSent)
					case !ccm && (r.Failure != nil || SuiteName(r.Suite) != suite || r.Version != VersionTLS13 || r.ServerKey != "ECDSA" || r.Signature != 0x0403 || r.Group == 0):
						t.Errorf("%s: %+v", suite, r)
					}
				}

				for version, name := range map[string]uint16{"-tls1": VersionTLS10, "-tls1_1": VersionTLS11} {
					out := sClient(t, s.addr, version, "-cipher", "ALL:@SECLEVEL=0")
					r := s.report(t)
					if policy.Policy == Legacy() {
						if r.Failure != nil || r.Version != name || !Legacy().Allows(name, r.Suite) || r.Signature != 0 {
							t.Errorf("%s: %+v", version, r)
						}
					} else if r.Failure == nil || r.AlertSent.String() != "protocol_version" || !strings.Contains(out, "alert number 70") {
						t.Errorf("%s: failure %v, alert %v\n%s", version, r.Failure, r.AlertSent, out)
					}
				}
			})
		}
	}
}

// TestScanner has an independent scanner list what hubs serve below TLS 1.3.
func TestScanner(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	tool := needTool(t, "sslscan")
	names := ciphersOfTool(t)
	for _, test := range []struct {
		name   string
		policy *Policy
		old    bool
	}{{"strict", Strict(), false}, {"legacy", Legacy(), true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serveAcceptor(t, a, Choice{Policy: test.policy, Certificates: testAuthority().certs})
			out, err := exec.Command(tool, "--no-colour", "--no-heartbleed", "--no-groups", "--no-check-certificate", "--no-renegotiation", s.addr).Output()
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for line := range strings.Lines(string(out)) {
				if f := strings.Fields(line); len(f) > 4 && (f[0] == "Accepted" || f[0] == "Preferred") {
					seen[f[1]+" "+f[4]] = true
				}
			}
			want := map[string]bool{}
			for _, id := range test.policy.Suites {
				want["TLSv1.2 "+names[SuiteName(id)]] = true
				if !suiteKinds[id].tls12 && test.old {
					want["TLSv1.1 "+names[SuiteName(id)]] = true
					want["TLSv1.0 "+names[SuiteName(id)]] = true
				}
			}
			for _, id := range suites13 {
				want["TLSv1.3 "+SuiteName(id)] = true
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, out)
			}
		})
	}
}

// TestSHA1Client serves an old client that signs with SHA-1 alone, on a legacy
// hub only.
func TestSHA1Client(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for _, policy := range []*Policy{Strict(), Legacy()} {
		s := serveAcceptor(t, a, Choice{Policy: policy, Certificates: testAuthority().certs})
		sClient(t, s.addr, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", "-sigalgs", "RSA+SHA1")
		r := s.report(t)
		if policy == Legacy() {
			if r.Failure != nil || r.Engine != engineOpenSSL || SignatureName(r.Signature) != "rsa_pkcs1_sha1" {
				t.Errorf("legacy: %v, engine %s, signature %s", r.Failure, r.Engine, SignatureName(r.Signature))
			}
		} else if r.Failure == nil || r.Failure.Reason != ReasonOffer || r.AlertSent.String() != "handshake_failure" {
			t.Errorf("strict: %+v, alert %v", r.Failure, r.AlertSent)
		}
	}
}

// TestCertificateByOffer sees that an RSA-only and an ECDSA-only client each get
// a certificate that they can verify.
func TestCertificateByOffer(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for _, policy := range []*Policy{Strict(), Legacy()} {
		s := serveStraight(t, a, Choice{Policy: policy, Certificates: testAuthority().certs})
		for _, test := range []struct{ args, key string }{
			{"-tls1_3 -sigalgs ecdsa_secp256r1_sha256", "ECDSA"},
			{"-tls1_3 -sigalgs rsa_pss_rsae_sha256", "RSA"},
			{"-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "ECDSA"},
			{"-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp384r1_sha384", "RSA"},
			{"-tls1_2 -sigalgs ECDSA+SHA256", "ECDSA"},
			{"-tls1_2 -sigalgs RSA+SHA256", "RSA"},
			{"-tls1_2 -curves P-384:X25519", "RSA"}, // the ECDSA certificate's curve is not offered
		} {
			sClient(t, s.addr, strings.Fields(test.args)...)
			if r := s.report(t); r.Failure != nil || r.ServerKey != test.key {
				t.Errorf("%s: %s, %v; want %s", test.args, r.ServerKey, r.Failure, test.key)
			}
		}
	}
}

// wiretap keeps what a server sends.
type wiretap struct {
	net.Conn
	mu   sync.Mutex
	sent bytes.Buffer
}

func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.sent.Write(p)
	w.mu.Unlock()
	return w.Conn.Write(p)
}

// TestMaxFragmentLength measures records on the wire.
func TestMaxFragmentLength(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		for _, limit := range []int{0, 512, 1024, 2048, 4096} {
			taps := make(chan *wiretap, 1)
			reports := make(chan *Report, 1)
			go func() {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				tap := &wiretap{Conn: nc}
				conn, r := a.Accept(NewTransport(tap), func(*Hello) Choice {
					return Choice{Policy: Strict(), Certificates: testAuthority().certs}
				})
				if conn != nil {
					line := make([]byte, 9)
					io.ReadFull(conn, line)
					conn.Write(bytes.Repeat([]byte{'x'}, 40000))
					conn.Write(line)
					io.Copy(io.Discard, conn)
					conn.Close()
				}
				reports <- r
				taps <- tap
			}()
			args := []string{version}
			if limit > 0 {
				args = append(args, "-maxfraglen", strconv.Itoa(limit))
			}
			out := sClient(t, ln.Addr().String(), args...)
			r, tap := <-reports, <-taps
			if r.Failure != nil {
				t.Fatalf("%s %d: %v", version, limit, r.Failure)
			}
			want, engine := limit, engineOpenSSL
			if limit == 0 {
				want, engine = 16384, engineGo
			}
			if r.MaxFragmentLength != limit || r.Engine != engine || r.Missing != "" {
				t.Errorf("%s %d: report has %d, engine %s, missing %q", version, limit, r.MaxFragmentLength, r.Engine, r.Missing)
			}
			if n := strings.Count(out, "x"); n < 40000 {
				t.Errorf("%s %d: %d of 40000 bytes came", version, limit, n)
			}
			// AEAD: 8 bytes of nonce and 16 of tag, or a type byte and 16.
			overhead := 24
			if version == "-tls1_3" {
				overhead = 17
			}
			longest := 0
			for b := tap.sent.Bytes(); len(b) >= recordHeaderLen; {
				n := int(b[3])<<8 | int(b[4])
				if b[0] != recordApplicationData && version == "-tls1_2" && n > want {
					t.Errorf("%s %d: a handshake record of %d bytes", version, limit, n)
				}
				longest = max(longest, n)
				b = b[min(len(b), recordHeaderLen+n):]
			}
			if limit == 0 && longest <= 4096+overhead || limit > 0 && longest != want+overhead {
				t.Errorf("%s %d: longest record has %d bytes, want %d", version, limit, longest, want+overhead)
			}
		}
	}
}

// writePEM writes a chain and its key, and returns the names of the files.
func writePEM(t testing.TB, chain tls.Certificate) (cert, key string) {
	t.Helper()
	var b bytes.Buffer
	for _, der := range chain.Certificate {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	der, err := x509.MarshalPKCS8PrivateKey(chain.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestClientCertificates sees that every client certificate is asked for, is
// handed over as it was sent, and is not judged.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	root := testAuthority()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	middleKey := newKey(elliptic.P384())
	middle := sign("middle", middleKey.Public(), root.cert, root.key, true)
	longKey := newKey(elliptic.P256())
	longLeaf := sign("pump-1", longKey.Public(), middle, middleKey, false)
	selfKey := newKey(elliptic.P256())
	self := sign("self", selfKey.Public(), nil, selfKey, false)

	for name, chain := range map[string]tls.Certificate{
		"RSA":         root.issue("pump-1", rsaKey),
		"P-256":       root.issue("pump-1", newKey(elliptic.P256())),
		"P-384":       root.issue("pump-1", newKey(elliptic.P384())),
		"P-521":       root.issue("pump-1", newKey(elliptic.P521())),
		"Ed25519":     root.issue("pump-1", edKey),
		"chain":       {Certificate: [][]byte{longLeaf.Raw, middle.Raw}, PrivateKey: longKey, Leaf: longLeaf},
		"self-signed": {Certificate: [][]byte{self.Raw}, PrivateKey: selfKey, Leaf: self},
		"none":        {},
	} {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			for _, policy := range []*Policy{Strict(), Legacy()} {
				s := serveAcceptor(t, a, Choice{Policy: policy, Certificates: root.certs})
				args := []string{version, "-maxfraglen", "1024"}
				if chain.Leaf != nil {
					cert, key := writePEM(t, chain)
					args = append(args, "-cert", cert, "-key", key)
					if len(chain.Certificate) > 1 {
						rest, _ := writePEM(t, tls.Certificate{Certificate: chain.Certificate[1:], PrivateKey: chain.PrivateKey})
						args = append(args, "-cert_chain", rest)
					}
				}
				out := sClient(t, s.addr, args...)
				r := s.report(t)
				if r.Failure != nil || r.Engine != engineOpenSSL {
					t.Errorf("%s %s: %v, engine %s\n%s", name, version, r.Failure, r.Engine, out)
					continue
				}
				var got [][]byte
				for _, c := range r.PeerCertificates {
					got = append(got, c.Raw)
				}
				if !slices.EqualFunc(got, chain.Certificate, bytes.Equal) {
					t.Errorf("%s %s: %d certificates, want %d, or others", name, version, len(got), len(chain.Certificate))
				}
			}
		}
	}
}

// TestClientCertificateCurve applies the document's rule in this engine too.
func TestClientCertificateCurve(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	root := testAuthority()
	cert, key := writePEM(t, root.issue("pump-1", newKey(elliptic.P384())))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		s := serveAcceptor(t, a, Choice{Policy: Strict(), Certificates: root.certs})
		sClient(t, s.addr, version, "-maxfraglen", "512", "-curves", "P-256", "-cert", cert, "-key", key)
		r := s.report(t)
		if r.Failure == nil || r.Failure.Reason != ReasonClientCert || !strings.Contains(r.Failure.Description, "P-384, a curve not offered") {
			t.Errorf("%s: %+v", version, r.Failure)
		}
	}
	if n := a.openSSL.live.Load(); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// goClient runs a crypto/tls client against addr.
func goClient(addr string, config *tls.Config) error {
	config.ServerName = "localhost"
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// TestClientProof refuses a client that shows a certificate and has another key.
func TestClientProof(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	root := testAuthority()
	chain := root.issue("pump-1", newKey(elliptic.P256()))
	chain.PrivateKey = newKey(elliptic.P256())
	for _, version := range []uint16{VersionTLS12, VersionTLS13} {
		s := serveStraight(t, a, Choice{Policy: Strict(), Certificates: root.certs})
		err := goClient(s.addr, &tls.Config{RootCAs: root.pool, MinVersion: version, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &chain, nil }})
		if err == nil || !strings.Contains(err.Error(), "error decrypting message") {
			t.Errorf("%s: the client got %v, want decrypt_error", VersionName(version), err)
		}
		r := s.report(t)
		if r.Failure == nil || r.Failure.Reason != ReasonClientCert || r.AlertSent.String() != "decrypt_error" ||
			!strings.Contains(r.Failure.Description, "did not prove that it holds the key") {
			t.Errorf("%s: %+v, alert %v", VersionName(version), r.Failure, r.AlertSent)
		}
	}
}

// TestClientDistrusts reads the alert of clients that refuse our certificate,
// in clear and encrypted.
func TestClientDistrusts(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	s := serveStraight(t, a, Choice{Policy: Strict(), Certificates: testAuthority().certs})
	check := func(client string, alerts ...string) {
		t.Helper()
		r := s.report(t)
		if r.Failure == nil || r.Failure.Reason != ReasonClientAlert || !slices.Contains(alerts, r.AlertReceived.String()) {
			t.Errorf("%s: %+v, received %q", client, r.Failure, r.AlertReceived)
		}
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		sClient(t, s.addr, version, "-verify_return_error", "-maxfraglen", "512")
		check("openssl "+version, "unknown_ca")
	}
	for _, version := range []uint16{VersionTLS12, VersionTLS13} {
		if err := goClient(s.addr, &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version}); err == nil {
			t.Error("the client trusts us")
		}
		check("go "+VersionName(version), "bad_certificate", "unknown_ca")
	}
}

// tcpPair returns both ends of a connection, which end with the test.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = newPair(t)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// newPair returns both ends of a connection, which the caller closes.
func newPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// sslPair returns a crypto/tls client and an OpenSSL server that have done their
// handshake.
func sslPair(t testing.TB, a *Acceptor, version uint16) (*tls.Conn, *Conn) {
	t.Helper()
	near, far := tcpPair(t)
	client := tls.Client(near, &tls.Config{RootCAs: testAuthority().pool, ServerName: "localhost", MinVersion: version, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: Legacy(), Certificates: testAuthority().certs})
	if conn == nil {
		t.Fatal(r.Failure)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client, conn
}

// TestTransfer sends much in both directions at once, by pieces of all sizes.
func TestTransfer(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for _, version := range []uint16{VersionTLS10, VersionTLS12, VersionTLS13} {
		client, server := sslPair(t, a, version)
		data := make([]byte, 3<<20)
		rand.Read(data)
		var both sync.WaitGroup
		send := func(w io.Writer, closeWrite func() error) {
			for at, n := 0, 1; at < len(data); n = n*2%70001 + 1 {
				end := min(len(data), at+n)
				if got, err := w.Write(data[at:end]); err != nil || got != end-at {
					t.Errorf("%s: wrote %d of %d: %v", VersionName(version), got, end-at, err)
					return
				}
				at = end
			}
		}
		receive := func(r io.Reader) {
			got := make([]byte, 0, len(data))
			for n := 1; len(got) < len(data); n = n*3%5003 + 1 {
				k, err := r.Read(got[len(got):min(len(data), len(got)+n)])
				got = got[:len(got)+k]
				if err != nil {
					t.Errorf("%s: read %d bytes: %v", VersionName(version), len(got), err)
					return
				}
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%s: other bytes came", VersionName(version))
			}
		}
		both.Go(func() { send(client, client.CloseWrite) })
		both.Go(func() { send(server, nil) })
		both.Go(func() { receive(client) })
		both.Go(func() { receive(server) })
		both.Wait()
		client.Close()
		if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: after close_notify: %d, %v", VersionName(version), n, err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := server.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("Read after Close succeeds")
		}
	}
	if n := a.openSSL.live.Load(); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// TestSSLEnds tells the ends of a connection apart as crypto/tls does.
func TestSSLEnds(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	t.Run("deadline", func(t *testing.T) {
		client, server := sslPair(t, a, VersionTLS13)
		server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := server.Read(make([]byte, 10)); !isTimeout(err) {
			t.Errorf("Read: %v, want a timeout", err)
		}
		server.SetReadDeadline(noDeadline)
		client.Write([]byte("later"))
		got := make([]byte, 5)
		if _, err := io.ReadFull(server, got); err != nil || string(got) != "later" {
			t.Errorf("after the deadline: %q, %v", got, err)
		}
	})
	t.Run("stuck writer", func(t *testing.T) {
		_, server := sslPair(t, a, VersionTLS13)
		server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		data := make([]byte, 1<<20)
		var err error
		for range 100 {
			if _, err = server.Write(data); err != nil {
				break
			}
		}
		if !isTimeout(err) {
			t.Errorf("Write: %v, want a timeout", err)
		}
		// A part of a record may have gone out: nothing can follow it.
		server.SetWriteDeadline(noDeadline)
		if _, again := server.Write([]byte("x")); again == nil {
			t.Error("a second Write succeeds")
		}
	})
	t.Run("no close_notify", func(t *testing.T) {
		client, server := sslPair(t, a, VersionTLS12)
		client.NetConn().Close()
		if _, err := server.Read(make([]byte, 10)); err != io.EOF {
			t.Errorf("Read: %v, want EOF", err)
		}
	})
	t.Run("within a record", func(t *testing.T) {
		client, server := sslPair(t, a, VersionTLS12)
		client.NetConn().Write([]byte{recordApplicationData, 3, 3, 0, 100, 1, 2, 3})
		client.NetConn().Close()
		if _, err := server.Read(make([]byte, 10)); err != io.ErrUnexpectedEOF {
			t.Errorf("Read: %v, want an unexpected EOF", err)
		}
	})
	t.Run("broken record", func(t *testing.T) {
		for _, version := range []uint16{VersionTLS12, VersionTLS13} {
			client, server := sslPair(t, a, version)
			client.NetConn().Write(append([]byte{recordApplicationData, 3, 3, 0, 100}, make([]byte, 100)...))
			_, err := server.Read(make([]byte, 10))
			var failed *sslError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "bad record mac") {
				t.Errorf("Read: %v", err)
			}
			if _, again := server.Read(make([]byte, 10)); again != err {
				t.Errorf("second Read: %v, want %v", again, err)
			}
			if _, err := client.Read(make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
				t.Errorf("the client got %v, want the alert", err)
			}
		}
	})
	t.Run("alert", func(t *testing.T) {
		for _, version := range []uint16{VersionTLS12, VersionTLS13} {
			client, server := sslPair(t, a, version)
			go client.Read(make([]byte, 10)) // takes offence at this, and says so
			server.Transport().Write(append([]byte{recordApplicationData, 3, 3, 0, 100}, make([]byte, 100)...))
			if _, err := server.Read(make([]byte, 10)); err == nil || server.AlertReceived().String() != "bad_record_mac" {
				t.Errorf("Read: %v, alert %q", err, server.AlertReceived())
			}
		}
	})
	t.Run("reset", func(t *testing.T) {
		client, server := sslPair(t, a, VersionTLS13)
		client.NetConn().(*net.TCPConn).SetLinger(0)
		client.NetConn().Close()
		if _, err := server.Read(make([]byte, 10)); !isClosed(err) {
			t.Errorf("Read: %v", err)
		}
	})
}

// interactive starts openssl s_client with its commands (K, R) on, and returns
// its output, which grows, and its input.
func interactive(t *testing.T, addr string, args ...string) (*waiter, io.WriteCloser) {
	t.Helper()
	cmd := exec.Command(needTool(t, "openssl"), append([]string{"s_client", "-connect", addr}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := newWaiter()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		out.stop()
		close(done)
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-done
		stuck.Stop()
	})
	return out, stdin
}

// TestKeyUpdate has the client ask for new keys, again and again.
func TestKeyUpdate(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	s := serveStraight(t, a, Choice{Policy: Strict(), Certificates: testAuthority().certs})
	out, stdin := interactive(t, s.addr, "-tls1_3", "-msg")
	if r := s.report(t); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	for i := range 5 {
		// The command takes whatever is read together with it.
		fmt.Fprintln(stdin, "K")
		out.wait(func(text string) bool { return strings.Count(text, "KEYUPDATE") > i })
		fmt.Fprintln(stdin, "line", i)
		out.wait(func(text string) bool { return strings.Contains(text, fmt.Sprint("line ", i)) })
	}
	if n := strings.Count(out.text(), "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"); n != 5 || !strings.Contains(out.text(), "line 4") {
		t.Errorf("%d of 5 KeyUpdates came back:\n%s", n, out.text())
	}
}

// TestRenegotiation refuses it with a warning, as RFC 5246 7.2.2 has it.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	s := serveStraight(t, a, Choice{Policy: Strict(), Certificates: testAuthority().certs})
	out, stdin := interactive(t, s.addr, "-tls1_2", "-msg")
	if r := s.report(t); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	fmt.Fprintln(stdin, "R")
	out.wait(func(text string) bool { return strings.Contains(text, "no_renegotiation") })
	if !strings.Contains(out.text(), "no_renegotiation") || strings.Count(out.text(), "<<< TLS 1.2, Handshake [length 004a], ServerHello") > 1 {
		t.Errorf("no refusal came:\n%s", out.text())
	}
}

// TestReload swaps certificates: the next connections get the new ones, those
// that are there go on, and what is not needed any more is freed.
func TestReload(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	root := testAuthority()
	contexts := func() int {
		a.openSSL.mu.Lock()
		defer a.openSSL.mu.Unlock()
		return len(a.openSSL.contexts)
	}
	connect := func(policy *Policy, certs *Certificates) (*tls.Conn, *Conn) {
		near, far := tcpPair(t)
		client := tls.Client(near, &tls.Config{RootCAs: root.pool, ServerName: "localhost"})
		go client.Handshake()
		conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: policy, Certificates: certs})
		if conn == nil {
			t.Fatal(r.Failure)
		}
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		return client, conn
	}
	var clients []*tls.Conn
	var servers []*Conn
	func() {
		for i := range 3 {
			chain := root.issue("localhost", newKey(elliptic.P256()))
			certs, err := NewCertificates(chain)
			if err != nil {
				t.Fatal(err)
			}
			for _, policy := range []*Policy{Strict(), Legacy(), Strict()} {
				client, server := connect(policy, certs)
				if !bytes.Equal(client.ConnectionState().PeerCertificates[0].Raw, chain.Certificate[0]) {
					t.Error("another certificate came")
				}
				clients, servers = append(clients, client), append(servers, server)
			}
			if n := contexts(); n > 2*(i+1) {
				t.Fatalf("%d contexts for %d times 2", n, i+1)
			}
			runtime.KeepAlive(certs)
		}
	}()
	for deadline := time.Now().Add(time.Minute); contexts() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d contexts are left without their certificates", contexts())
		}
		runtime.GC()
		runtime.Gosched()
	}
	for i, server := range servers {
		go server.Write([]byte("still here"))
		if _, err := io.ReadFull(clients[i], make([]byte, 10)); err != nil {
			t.Error(err)
		}
		server.Close()
	}
	if n := a.openSSL.live.Load(); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// TestWithoutLibSSL runs a hub on a machine that has none.
func TestWithoutLibSSL(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]string{
		"none": "libssl is switched off", "/nonexistent/libssl.so.3": "libssl could not be loaded", "libc.so.6": "libssl is there, but cannot be used",
	} {
		a, err := New(Config{LibSSL: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.SecondEngine(); err == nil {
			t.Errorf("%s: loaded", name)
		}
		if err := a.Prepare(Strict(), testAuthority().certs); err == nil {
			t.Errorf("%s: prepared", name)
		}
		s := serveAcceptor(t, a, Choice{Policy: Legacy(), Certificates: testAuthority().certs})
		sClient(t, s.addr, "-maxfraglen", "512")
		if r := s.report(t); r.Failure != nil || r.Engine != engineGo || r.Missing != "max_fragment_length" || r.MissingWhy != why || r.MaxFragmentLength != 0 {
			t.Errorf("%s: max_fragment_length: %+v", name, r)
		}
		sClient(t, s.addr, "-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384")
		if r := s.report(t); r.Failure == nil || r.Missing != "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384" || r.Failure.Reason != ReasonOffer ||
			!strings.Contains(r.Failure.Description, "client needs TLS_DHE_RSA_WITH_AES_256_GCM_SHA384, which only OpenSSL serves: "+why) {
			t.Errorf("%s: DHE: %+v %v", name, r, r.Failure)
		}
	}
}

// token is a key that cannot be exported.
type token struct{ crypto.Signer }

// TestTokenKey goes on without the second engine where it cannot have the key.
func TestTokenKey(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	chain := testAuthority().issue("localhost", newKey(elliptic.P256()))
	chain.PrivateKey = token{chain.PrivateKey.(crypto.Signer)}
	certs, err := NewCertificates(chain)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Prepare(Strict(), certs); err == nil || !strings.Contains(err.Error(), "the key cannot be exported") {
		t.Errorf("Prepare: %v", err)
	}
	s := serveAcceptor(t, a, Choice{Policy: Strict(), Certificates: certs})
	sClient(t, s.addr, "-maxfraglen", "512")
	if r := s.report(t); r.Failure != nil || r.Engine != engineGo || r.Missing != "max_fragment_length" || !strings.Contains(r.MissingWhy, "does not leave its token") {
		t.Errorf("%+v", r)
	}
}

// TestMissingSuite has a policy that the library cannot serve whole: no context
// is made, rather than one that serves less.
func TestMissingSuite(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	policy := &Policy{MinVersion: VersionTLS12, Suites: []uint16{0xC02F, 0xC0B0}}
	if err := a.Prepare(policy, testAuthority().certs); err == nil || !strings.Contains(err.Error(), "does not have TLS_ECCPWD_WITH_AES_128_GCM_SHA256") {
		t.Errorf("Prepare: %v", err)
	}
	for _, policy := range []*Policy{Strict(), Legacy(), tls13Policy} {
		if err := a.Prepare(policy, testAuthority().certs); err != nil {
			t.Errorf("%s: %v", policyWords(policy), err)
		}
	}
}
