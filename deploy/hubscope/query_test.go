package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hubscope/deploy/embed"
	"hubscope/query/api"
	"hubscope/query/client"
)

// issued writes a certificate for the names and its key, signed by itself.
func issued(t *testing.T, dir, commonName string, names ...string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, commonName+".pem"), filepath.Join(dir, commonName+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestExposure: what the query service does not start with, and what it says.
func TestExposure(t *testing.T) {
	dir := t.TempDir()
	empty, tokens, certificates := filepath.Join(dir, "none.yaml"), filepath.Join(dir, "t.yaml"), filepath.Join(dir, "c.yaml")
	for file, g := range map[string]api.Grant{tokens: {Name: "a", Role: api.Reader}, certificates: {Name: "b", Role: api.Reader, CommonName: "b"}} {
		if _, err := api.AccessFile(file).Add(g); err != nil {
			t.Fatal(err)
		}
	}
	local, public := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	some := queryTLS{Cert: "c", Key: "k"}
	mutual := queryTLS{Cert: "c", Key: "k", ClientCA: "ca"}
	for _, tt := range []struct {
		name string
		addr net.Addr
		q    querySettings
		want string // "" starts
	}{
		{"loopback", local, querySettings{}, ""},
		{"loopback, IPv6", &net.TCPAddr{IP: net.IPv6loopback, Port: 1}, querySettings{}, ""},
		{"loopback with tokens", local, querySettings{Tokens: tokens}, ""},
		{"all addresses", &net.TCPAddr{IP: net.IPv6unspecified, Port: 1}, querySettings{Tokens: tokens}, "needs TLS"},
		{"no TLS", public, querySettings{Tokens: tokens}, "needs TLS there: set query.tls.cert"},
		{"no file of tokens", public, querySettings{TLS: some}, "hubscope token add NAME --file FILE"},
		{"no tokens", public, querySettings{TLS: some, Tokens: empty}, "hubscope token add NAME --file " + empty},
		{"plain without tokens", public, querySettings{Plaintext: true, Tokens: empty}, "nobody may ask yet"},
		{"certificates without a CA", public, querySettings{TLS: some, Tokens: certificates}, "query.tls.client_ca"},
		{"CA without a certificate", local, querySettings{TLS: queryTLS{ClientCA: "ca"}}, "needs query.tls.cert"},
		{"TLS and tokens", public, querySettings{TLS: some, Tokens: tokens}, ""},
		{"behind a proxy", public, querySettings{Plaintext: true, Tokens: tokens}, ""},
		{"mutual TLS", public, querySettings{TLS: mutual, Tokens: certificates}, ""},
	} {
		access, err := api.OpenAccess(tt.q.Tokens, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		err = tt.q.checkExposure(tt.addr, access)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if tt.addr == public && tt.want == "" && !access.Required() {
			t.Errorf("%s: nobody is asked for a token", tt.name)
		}
	}
}

// TestQueryServiceWithTLS runs the service on all addresses: TLS, a token, a
// client certificate, a certificate that is replaced, and the log of queries
// over a restart.
func TestQueryServiceWithTLS(t *testing.T) {
	ctx := t.Context()
	engine, err := embed.StartEngine(ctx, embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(10 * time.Second) })
	dir := t.TempDir()
	s := defaultSettings()
	s.ClickHouse.DSN, s.ClickHouse.ReaderDSN = engine.DSN(), engine.ReaderDSN()
	if _, err := s.collectorConfig().ClickHouse.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	s.Query.Listen, s.Query.Tokens = "0.0.0.0:0", filepath.Join(dir, "tokens.yaml")
	s.Query.TLS.Cert, s.Query.TLS.Key = issued(t, dir, "query", "query.test")
	officer, officerKey := issued(t, dir, "officer")
	s.Query.TLS.ClientCA = officer
	file := api.AccessFile(s.Query.Tokens)
	token, err := file.Add(api.Grant{Name: "ops", Role: api.Admin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Add(api.Grant{Name: "officer", Role: api.Reader, Hubs: []string{"plant"}, CommonName: "officer"}); err != nil {
		t.Fatal(err)
	}
	log := &telemetry{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: prometheus.NewRegistry()}
	start := func() (*group, string) {
		t.Helper()
		g := newGroup()
		url, err := startQuery(ctx, g, &s, log, "")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(url, "https://query.test:") {
			t.Errorf("url %s", url)
		}
		return g, strings.Replace(url, "query.test", "127.0.0.1", 1)
	}
	g, url := start()
	defer func() { g.stop() }()
	service := func(certs ...tls.Certificate) *http.Client {
		roots := x509.NewCertPool()
		b, err := os.ReadFile(s.Query.TLS.Cert)
		if err != nil {
			t.Fatal(err)
		}
		roots.AppendCertsFromPEM(b)
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}, DisableKeepAlives: true}}
	}
	ask := func(c *http.Client, token, text string) ([]string, error) {
		a, err := (&client.Client{URL: url, Token: token, HTTP: c}).Query(ctx, client.QueryRequest{Query: text}, nil)
		if err != nil {
			return nil, err
		}
		defer a.Close()
		var out []string
		for {
			rows, err := a.Next()
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				out = append(out, string(r[0]))
			}
		}
	}
	if got, err := ask(service(), token, "print 41 + 1"); err != nil || got[0] != "42" {
		t.Errorf("with a token: %v, %v", got, err)
	}
	if _, err := ask(service(), "", "print 1"); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("without a token: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(officer, officerKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(service(pair), "", "print 6 * 7 // of the officer"); err != nil || got[0] != "42" {
		t.Errorf("with a client certificate: %v, %v", got, err)
	}

	// Another certificate takes the place of the first.
	cert, key := issued(t, t.TempDir(), "query", "query.test")
	for from, to := range map[string]string{cert: s.Query.TLS.Cert, key: s.Query.TLS.Key} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := ask(service(), token, "print 1"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the new certificate is not served: %v", err)
		}
	}

	// What was asked is there after a restart; a reader sees its own.
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	g, url = start()
	got, err := ask(service(), token, `QueryLog | where Text has "officer" or Text has "41" | order by TimeGenerated asc | project strcat(User, " ", State, " ", Endpoint)`)
	if err != nil || len(got) != 2 || got[0] != `"ops Completed POST /api/v1/query"` || got[1] != `"officer Completed POST /api/v1/query"` {
		t.Errorf("the log has %v, %v", got, err)
	}
	if got, err = ask(service(pair), "", `QueryLog | distinct User`); err != nil || len(got) != 1 || got[0] != `"officer"` {
		t.Errorf("a reader sees the queries of %v, %v", got, err)
	}
}
