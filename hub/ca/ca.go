// Package ca makes certificates: an authority with its root, server
// certificates for a hub that brings none of its own, device certificates, and
// the proofs of possession that a hub asks of a CA's owner.
//
//	root, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "Plant 7"})
//	leaf, err := root.Device("pump-0417", ca.DeviceConfig{})
//	os.WriteFile("pump-0417.pem", leaf.CertificatePEM(), 0o644)
//	ca.WriteKey("pump-0417.key", leaf.Key)
//
// ServerCertificates keeps what "hubscope up" needs in a folder. Nothing in this
// package judges a certificate that somebody presents: that is hub/registry's.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// clockSkew is how far a certificate begins in the past, for devices whose
// clock is behind.
const clockSkew = time.Hour

// A KeyType is an algorithm and size of a key pair.
type KeyType string

// The supported key types.
const (
	P256    KeyType = "P-256"
	P384    KeyType = "P-384"
	RSA2048 KeyType = "RSA-2048"
	RSA3072 KeyType = "RSA-3072"
)

// GenerateKey makes a key pair; P256 when t is empty.
func GenerateKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case P256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, fmt.Errorf("unknown key type %q", t)
}

// A Leaf is a certificate with its key and the certificates that lead to its
// authority, which is not among them.
type Leaf struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // intermediates, the leaf's issuer first
	Key         crypto.Signer
}

// TLS returns the leaf as crypto/tls takes it.
func (l *Leaf) TLS() tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{l.Certificate.Raw}, PrivateKey: l.Key, Leaf: l.Certificate}
	for _, i := range l.Chain {
		c.Certificate = append(c.Certificate, i.Raw)
	}
	return c
}

// CertificatePEM returns the leaf and its intermediates.
func (l *Leaf) CertificatePEM() []byte {
	out := CertificatePEM(l.Certificate)
	for _, i := range l.Chain {
		out = append(out, CertificatePEM(i)...)
	}
	return out
}

// CertificatePEM returns one certificate as PEM.
func CertificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// KeyPEM returns a private key as PKCS #8 PEM.
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key from PEM: PKCS #8, PKCS #1 or SEC 1.
func ParseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no private key in the PEM file")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted")
		default: // parameters, certificates
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("parse private key: %w", err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a key of type %T cannot sign", key)
		}
		return signer, nil
	}
}

// An Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Chain leads from Certificate to its own authority; empty for a root.
	Chain []*x509.Certificate
}

// AuthorityConfig describes a new authority.
type AuthorityConfig struct {
	// CommonName is needed.
	CommonName string
	// KeyType is P256 when empty.
	KeyType KeyType
	// NotBefore is an hour ago, and NotAfter ten years from then, when zero.
	NotBefore, NotAfter time.Time
}

// NewAuthority makes a root authority.
func NewAuthority(config AuthorityConfig) (*Authority, error) {
	return newAuthority(nil, config)
}

// Intermediate makes an authority below a.
func (a *Authority) Intermediate(config AuthorityConfig) (*Authority, error) {
	return newAuthority(a, config)
}

func newAuthority(parent *Authority, config AuthorityConfig) (*Authority, error) {
	if config.CommonName == "" {
		return nil, errors.New("an authority needs a common name")
	}
	key, err := GenerateKey(config.KeyType)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: config.CommonName},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	validity(template, config.NotBefore, config.NotAfter, 10)
	if parent == nil {
		cert, err := issue(template, template, key.Public(), key)
		return &Authority{Certificate: cert, Key: key}, err
	}
	cert, err := issue(template, parent.Certificate, key.Public(), parent.Key)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: cert, Key: key, Chain: parent.path()}, nil
}

// Pool returns a pool with only the authority's certificate in it.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate)
	return p
}

// path is what the holder of a certificate signed by a presents above it: a's own
// certificate and what leads to the root, without the root.
func (a *Authority) path() []*x509.Certificate {
	if a.isRoot() {
		return nil
	}
	return append([]*x509.Certificate{a.Certificate}, a.Chain...)
}

func (a *Authority) isRoot() bool {
	return a.Certificate.CheckSignatureFrom(a.Certificate) == nil
}

// DeviceConfig describes a device certificate.
type DeviceConfig struct {
	// KeyType is P256 when empty. Key is used instead when it is there.
	KeyType KeyType
	Key     crypto.Signer
	// NotBefore is an hour ago, and NotAfter one year from then, when zero.
	NotBefore, NotAfter time.Time
}

// Device issues a certificate for client authentication whose common name is
// the device id. X.520 bounds a common name to 64 characters, a device id may
// have 128; verifiers do not mind, some tools do.
func (a *Authority) Device(id string, config DeviceConfig) (*Leaf, error) {
	template, key, err := deviceTemplate(id, config)
	if err != nil {
		return nil, err
	}
	cert, err := issue(template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: cert, Chain: a.path(), Key: key}, nil
}

// SelfSigned makes a device certificate that is known by its thumbprint.
func SelfSigned(id string, config DeviceConfig) (*Leaf, error) {
	template, key, err := deviceTemplate(id, config)
	if err != nil {
		return nil, err
	}
	cert, err := issue(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: cert, Key: key}, nil
}

func deviceTemplate(id string, config DeviceConfig) (*x509.Certificate, crypto.Signer, error) {
	if id == "" {
		return nil, nil, errors.New("a device certificate needs a device id")
	}
	key := config.Key
	if key == nil {
		var err error
		if key, err = GenerateKey(config.KeyType); err != nil {
			return nil, nil, err
		}
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: id},
		KeyUsage:              leafUsage(key),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	validity(template, config.NotBefore, config.NotAfter, 1)
	return template, key, nil
}

// Verification issues the proof that the owner of the authority holds its key: a
// certificate whose common name is the code that a hub gave out.
func (a *Authority) Verification(code string) (*x509.Certificate, error) {
	if code == "" {
		return nil, errors.New("a verification certificate needs a code")
	}
	key, err := GenerateKey(P256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: code},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	now := time.Now()
	validity(template, now.Add(-clockSkew), now.AddDate(0, 0, 7), 1)
	return issue(template, a.Certificate, key.Public(), a.Key)
}

// ServerConfig describes a server certificate.
type ServerConfig struct {
	// Names are host names and IP addresses; the first one is the common name.
	Names []string
	// KeyType is P256 when empty.
	KeyType KeyType
	// NotBefore is an hour ago, and NotAfter one year from then, when zero.
	NotBefore, NotAfter time.Time
}

// Server issues a certificate for server authentication.
func (a *Authority) Server(config ServerConfig) (*Leaf, error) {
	if len(config.Names) == 0 {
		return nil, errors.New("a server certificate needs a name")
	}
	key, err := GenerateKey(config.KeyType)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: config.Names[0]},
		KeyUsage:              leafUsage(key),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range config.Names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	validity(template, config.NotBefore, config.NotAfter, 1)
	cert, err := issue(template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: cert, Chain: a.path(), Key: key}, nil
}

// A Revocation is an entry of a revocation list.
type Revocation struct {
	Serial *big.Int
	At     time.Time
	// Reason is a code of RFC 5280 5.3.1; 0 is unspecified, 1 key compromise.
	Reason int
}

// RevocationList signs the list of all certificates of the authority that are revoked.
func (a *Authority) RevocationList(number int64, thisUpdate, nextUpdate time.Time, revoked []Revocation) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: nextUpdate}
	for _, r := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: r.Serial, RevocationTime: r.At, ReasonCode: r.Reason,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.Key)
	if err != nil {
		return nil, fmt.Errorf("sign revocation list: %w", err)
	}
	return der, nil
}

// leafUsage: an RSA key must also be able to carry the key exchange of the
// RSA_* suites of a legacy hub.
func leafUsage(key crypto.Signer) x509.KeyUsage {
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	return x509.KeyUsageDigitalSignature
}

func validity(t *x509.Certificate, from, to time.Time, years int) {
	if from.IsZero() {
		from = time.Now().Add(-clockSkew)
	}
	if to.IsZero() {
		to = from.AddDate(years, 0, 0)
	}
	t.NotBefore, t.NotAfter = from.UTC(), to.UTC()
}

func issue(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	// A nil serial number lets crypto/x509 draw a random one (RFC 5280 4.1.2.2).
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate for %q: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate for %q: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}
