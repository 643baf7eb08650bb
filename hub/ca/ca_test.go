package ca

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func authority(t *testing.T, config AuthorityConfig) *Authority {
	t.Helper()
	a, err := NewAuthority(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

func TestDevice(t *testing.T) {
	root := authority(t, AuthorityConfig{CommonName: "root", KeyType: P384})
	issuing, err := root.Intermediate(AuthorityConfig{CommonName: "issuing"})
	if err != nil {
		t.Fatal(err)
	}
	for _, keyType := range []KeyType{P256, P384, RSA2048} {
		t.Run(string(keyType), func(t *testing.T) {
			leaf, err := issuing.Device("pump-0417", DeviceConfig{KeyType: keyType})
			if err != nil {
				t.Fatal(err)
			}
			chains, err := leaf.Certificate.Verify(x509.VerifyOptions{
				Roots: pool(root.Certificate), Intermediates: pool(leaf.Chain...),
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range chains[0] {
				names = append(names, c.Subject.CommonName)
			}
			if diff := cmp.Diff([]string{"pump-0417", "issuing", "root"}, names); diff != "" {
				t.Errorf("chain (-want +got):\n%s", diff)
			}
			keyPEM, err := KeyPEM(leaf.Key)
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.X509KeyPair(leaf.CertificatePEM(), keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(leaf.TLS().Certificate, pair.Certificate); diff != "" {
				t.Errorf("certificates of the PEM files (-want +got):\n%s", diff)
			}
			if _, err := ParseKey(keyPEM); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeviceRefusesEmptyID(t *testing.T) {
	if _, err := SelfSigned("", DeviceConfig{}); err == nil {
		t.Error("a certificate without a device id was made")
	}
}

func TestVerification(t *testing.T) {
	root := authority(t, AuthorityConfig{CommonName: "root"})
	proof, err := root.Verification("0A1B2C")
	if err != nil {
		t.Fatal(err)
	}
	if proof.Subject.CommonName != "0A1B2C" {
		t.Errorf("common name is %q", proof.Subject.CommonName)
	}
	if err := proof.CheckSignatureFrom(root.Certificate); err != nil {
		t.Error(err)
	}
}

func TestRevocationList(t *testing.T) {
	root := authority(t, AuthorityConfig{CommonName: "root"})
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	der, err := root.RevocationList(7, at, at.AddDate(0, 0, 7), []Revocation{{Serial: big.NewInt(42), At: at, Reason: 1}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(root.Certificate); err != nil {
		t.Error(err)
	}
	e := list.RevokedCertificateEntries
	if len(e) != 1 || e[0].SerialNumber.Int64() != 42 || e[0].ReasonCode != 1 {
		t.Errorf("entries are %v", e)
	}
}

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestServerFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	c := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	open := func(names ...string) *ServerCertificates {
		t.Helper()
		certs, err := ServerFolder{Dir: dir, Names: names, Now: c.now}.Open()
		if err != nil {
			t.Fatal(err)
		}
		for kind, pair := range map[string]tls.Certificate{"RSA": certs.RSA, "ECDSA": certs.ECDSA} {
			for _, name := range append(names, "localhost", "127.0.0.1", "::1") {
				_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool(certs.Root), DNSName: name, CurrentTime: c.t})
				if err != nil {
					t.Errorf("%s certificate for %s: %v", kind, name, err)
				}
			}
		}
		return certs
	}
	type serials struct{ Root, RSA, ECDSA string }
	of := func(c *ServerCertificates) serials {
		return serials{c.Root.SerialNumber.String(), c.RSA.Leaf.SerialNumber.String(), c.ECDSA.Leaf.SerialNumber.String()}
	}
	first := open("demo.localhost")
	if again := open("demo.localhost"); of(again) != of(first) {
		t.Error("the second start made new certificates")
	}
	if fewer := open(); of(fewer) != of(first) {
		t.Error("a name that is not needed any more made new certificates")
	}

	more := open("demo.localhost", "Strict.localhost")
	if a, b := of(first), of(more); a.Root != b.Root || a.RSA == b.RSA || a.ECDSA == b.ECDSA {
		t.Error("a further name must make new server certificates under the same root")
	}

	c.t = c.t.AddDate(0, 0, 340)
	due := open("demo.localhost", "strict.localhost")
	if a, b := of(more), of(due); a.Root != b.Root || a.RSA == b.RSA || a.ECDSA == b.ECDSA {
		t.Error("certificates near their end must be made anew under the same root")
	}

	c.t = c.t.AddDate(9, 0, 0)
	if a, b := of(due), of(open()); a.Root == b.Root || a.RSA == b.RSA || a.ECDSA == b.ECDSA {
		t.Error("a root near its end must be made anew, and what it signed with it")
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[e.Name()] = info.Mode().String()
	}
	want := map[string]string{
		"root.key": "-rw-------", "root.pem": "-rw-r--r--",
		"server-rsa.key": "-rw-------", "server-rsa.pem": "-rw-r--r--",
		"server-ecdsa.key": "-rw-------", "server-ecdsa.pem": "-rw-r--r--",
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestServerFolderAfterCrash(t *testing.T) {
	dir := t.TempDir()
	folder := ServerFolder{Dir: dir}
	first, err := folder.Open()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }

	// The crash was between a server's key and its certificate.
	key, err := GenerateKey(RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteKey(file("server-rsa.key"), key); err != nil {
		t.Fatal(err)
	}
	second, err := folder.Open()
	if err != nil {
		t.Fatal(err)
	}
	if second.RSA.Leaf.Equal(first.RSA.Leaf) || !second.ECDSA.Leaf.Equal(first.ECDSA.Leaf) {
		t.Error("only the RSA certificate must be made anew")
	}

	// The first start ended between the root's key and its certificate.
	if err := os.Remove(file("root.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Open(); err != nil {
		t.Error(err)
	}

	// A root whose key is gone is somebody's trust anchor: it is not replaced.
	if err := os.Remove(file("root.key")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file("root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Open(); err == nil {
		t.Error("a root without its key was taken")
	}
	after, err := os.ReadFile(file("root.pem"))
	if err != nil || string(after) != string(before) {
		t.Error("the root certificate was replaced")
	}
}

func TestParseKey(t *testing.T) {
	ec, err := GenerateKey(P256)
	if err != nil {
		t.Fatal(err)
	}
	good, err := KeyPEM(ec)
	if err != nil {
		t.Fatal(err)
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"PKCS #8", string(good), true},
		{"after parameters", string(parameters) + string(good), true},
		{"empty", "", false},
		{"no key", string(parameters), false},
		{"encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", false},
		{"broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseKey([]byte(tt.in)); (err == nil) != tt.ok {
				t.Errorf("error is %v", err)
			}
		})
	}
}
