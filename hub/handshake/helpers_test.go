package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// authority is a throw-away CA with server certificates of both kinds.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	pool  *x509.CertPool
	certs *Certificates
}

// testAuthority is made once: RSA keys are slow.
var testAuthority = sync.OnceValue(func() *authority {
	a := &authority{key: newKey(elliptic.P256())}
	a.cert = sign("test root", a.key.Public(), nil, a.key, true)
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	a.certs, err = NewCertificates(a.issue("localhost", rsaKey), a.issue("localhost", newKey(elliptic.P256())))
	if err != nil {
		panic(err)
	}
	return a
})

func newKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func sign(cn string, pub crypto.PublicKey, parent *x509.Certificate, key crypto.Signer, ca bool) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: cn},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{cn},
	}
	if ca {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage, template.DNSNames = true, x509.KeyUsageCertSign, nil, nil
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

func (a *authority) issue(cn string, key crypto.Signer) tls.Certificate {
	leaf := sign(cn, key.Public(), a.cert, a.key, false)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// needTool skips a test on a bare machine, but not in CI.
func needTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is needed in CI: %v", name, err)
	}
	t.Skipf("%s not found", name)
	return ""
}
