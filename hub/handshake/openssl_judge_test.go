package handshake

import (
	"bytes"
	"crypto/elliptic"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomOffer makes a ClientHello of the values that matter to a server, in any
// combination.
func randomOffer(r *rand.Rand) offer {
	some := func(all []uint16) []uint16 {
		var picked []uint16
		for _, i := range r.Perm(len(all))[:1+r.IntN(min(6, len(all)))] {
			picked = append(picked, all[i])
		}
		return picked
	}
	o := offer{legacy: VersionTLS10 + uint16(r.IntN(3))}
	if r.IntN(2) == 0 {
		o.legacy = VersionTLS12
	}
	suites := slices.Concat(Legacy().Suites, Legacy().Suites, suites13, []uint16{0x000A, 0x0033, 0xC009, 0xC0AC, 0xCCA8, 0xCCA9, 0x1304})
	o.suites = slices.Compact(some(suites))
	if r.IntN(12) == 0 {
		o.suites = append(o.suites, suiteFallback)
	}
	add := func(id uint16, data []byte) { o.extensions = append(o.extensions, extension{id, data}) }
	list16 := func(values []uint16) []byte {
		return append([]byte{0, byte(2 * len(values))}, uint16s(values)...)
	}
	var groups []uint16
	if r.IntN(5) > 0 {
		groups = some([]uint16{29, 23, 24, 25, 30, 256, 22, 29, 23})
		add(extSupportedGroups, list16(groups))
	}
	if r.IntN(3) == 0 && o.legacy == VersionTLS12 {
		add(extSupportedVersions, list8(some([]uint16{VersionTLS13, VersionTLS12, VersionTLS11, VersionTLS10, VersionTLS13, VersionTLS12})...))
		if slices.Contains(groups, 29) {
			add(extKeyShare, append([]byte{0, 36, 0, 29, 0, 32, 9}, make([]byte, 31)...)) // x25519's base point
		} else {
			add(extKeyShare, []byte{0, 0}) // asks for a HelloRetryRequest, RFC 8446 4.2.8
		}
	}
	if r.IntN(5) > 0 {
		add(extSignatureAlgorithms, list16(some([]uint16{0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0201, 0x0203, 0x0807, 0x0301})))
	}
	if r.IntN(6) == 0 {
		add(extPointFormats, [][]byte{{1, 0}, {2, 1, 0}, {1, 1}}[r.IntN(3)])
	}
	if r.IntN(4) == 0 {
		add(extMaxFragmentLength, []byte{1 + byte(r.IntN(4))})
	}
	return o
}

// TestJudgeForetells compares the verdict on many offers with what the engines
// do with them: readiness reports promise that the two are the same.
func TestJudgeForetells(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	root := testAuthority()
	p384, err := NewCertificates(root.issue("localhost", newKey(elliptic.P384())))
	if err != nil {
		t.Fatal(err)
	}
	certificates := []*Certificates{root.certs, {RSA: root.certs.RSA}, {ECDSA: root.certs.ECDSA}, p384}
	r := rand.New(rand.NewPCG(1, 2))
	served := map[string]int{}
	const n = 8000
	for i := range n {
		o := randomOffer(r)
		message := o.message()
		hello, err := ParseHello(message)
		if err != nil {
			t.Fatal(err)
		}
		choice := Choice{Policy: []*Policy{Strict(), Legacy(), tls13Policy}[i%5%3], Certificates: certificates[r.IntN(len(certificates))]}
		v := choice.Policy.Judge(hello, choice.Certificates)
		record := append([]byte{recordHandshake, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
		fail := func(how string, report *Report) {
			t.Errorf("%s, RSA %v, ECDSA %v: foretold %v %q version %s suites %04x alert %v; %s (%v, %v)\n%+v", policyWords(choice.Policy), choice.Certificates.RSA != nil, choice.Certificates.ECDSA != nil,
				v.OK, v.Reason, VersionName(v.Version), v.Suites, v.Alert, how, report.AlertSent, report.Failure.Err, hello)
		}

		peer := &scripted{input: bytes.NewReader(record), chunk: 4096}
		_, report := a.Accept(NewTransport(peer), func(*Hello) Choice { return choice })
		version, suite, _ := serverHello(peer.sent.Bytes())
		if v.OK {
			served[report.Engine]++
			if report.AlertSent != 0 || version != v.Version || !slices.Contains(v.Suites, suite) || !choice.Policy.Allows(version, suite) {
				fail(fmt.Sprintf("came version %s suite %04x", VersionName(version), suite), report)
			}
			continue
		}
		if version != 0 || report.AlertSent != v.Alert || report.Engine != "" {
			fail("no refusal", report)
		}
		// The verdict is not harder than the engines, but that OpenSSL serves
		// clients that break RFC 8422 5.1.2, and crypto/tls sends a certificate on
		// a curve that the client has not offered, against 5.1.
		curve := uint16(23)
		if choice.Certificates == p384 {
			curve = 24
		}
		if hello.hasPoints && !hello.uncompress || choice.Certificates.ECDSA != nil && !slices.Contains(hello.Groups, curve) {
			continue
		}
		for name, engine := range map[string]func(*Transport) (*Conn, *Report){
			engineOpenSSL: func(tr *Transport) (*Conn, *Report) { return straight(a.openSSL, tr, choice) },
			engineGo: func(tr *Transport) (*Conn, *Report) {
				r := new(Report)
				_, err := a.goTLS.accept(tr, hello, choice, &v, r)
				r.AlertSent, _ = tr.alerts()
				r.Failure = &Failure{Err: err}
				return nil, r
			},
		} {
			peer := &scripted{input: bytes.NewReader(record), chunk: 4096}
			_, report := engine(NewTransport(peer))
			if version, suite, retry := serverHello(peer.sent.Bytes()); version != 0 && report.AlertSent == 0 && !retry {
				fail(fmt.Sprintf("%s serves version %s suite %04x", name, VersionName(version), suite), report)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("of %d offers served: %v", n, served)
	if served[engineGo] < n/20 || served[engineOpenSSL] < n/20 {
		t.Errorf("of %d offers served: %v: too few to tell", n, served)
	}
}

// serverHello reads the version and suite of a server's answer, 0 for an alert,
// and whether it only asks for another ClientHello.
func serverHello(b []byte) (version, suite uint16, retry bool) {
	const at = recordHeaderLen + 4 + 2 + 32
	if len(b) <= at || b[0] != recordHandshake || b[recordHeaderLen] != 2 {
		return 0, 0, false
	}
	version = uint16(b[recordHeaderLen+4])<<8 | uint16(b[recordHeaderLen+5])
	retry = bytes.HasPrefix(b[recordHeaderLen+6:], []byte{0xCF, 0x21, 0xAD, 0x74}) // RFC 8446 4.1.3
	rest := b[at+1+int(b[at]):]
	suite = uint16(rest[0])<<8 | uint16(rest[1])
	if bytes.Contains(rest[3:min(len(rest), 60)], []byte{0, extSupportedVersions, 0, 2, 3, 4}) {
		version = VersionTLS13
	}
	return version, suite, retry
}
