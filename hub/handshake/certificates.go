package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// Certificates are a server's certificates: one of each kind, or only one.
// Which of them a client gets depends on what it offers; ECDSA goes first, for
// it costs a third of RSA's time. They are not changed after NewCertificates:
// to reload, hand another value to the next connections.
type Certificates struct {
	RSA, ECDSA *Certificate
}

// A Certificate is a chain and the key of its leaf.
type Certificate struct {
	chain tls.Certificate
	key   crypto.PublicKey
}

func (c *Certificate) public() crypto.PublicKey { return c.key }

// Leaf returns the parsed certificate.
func (c *Certificate) Leaf() *x509.Certificate { return c.chain.Leaf }

// NewCertificates sorts chains by the kind of their key. There must be at least
// one, and at most one of a kind.
func NewCertificates(chains ...tls.Certificate) (*Certificates, error) {
	certs := new(Certificates)
	for _, chain := range chains {
		if len(chain.Certificate) == 0 {
			return nil, errors.New("server certificate: empty chain")
		}
		if chain.Leaf == nil {
			leaf, err := x509.ParseCertificate(chain.Certificate[0])
			if err != nil {
				return nil, fmt.Errorf("server certificate: %w", err)
			}
			chain.Leaf = leaf
		}
		signer, ok := chain.PrivateKey.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("server certificate %q: its key cannot sign", chain.Leaf.Subject)
		}
		c := &Certificate{chain: chain, key: signer.Public()}
		slot := &certs.ECDSA
		switch c.key.(type) {
		case *ecdsa.PublicKey:
		case *rsa.PublicKey:
			slot = &certs.RSA
			if _, ok := chain.PrivateKey.(crypto.Decrypter); !ok {
				return nil, fmt.Errorf("server certificate %q: its key cannot decrypt, which RSA key exchange needs", chain.Leaf.Subject)
			}
		default:
			return nil, fmt.Errorf("server certificate %q: key is %T, neither RSA nor ECDSA", chain.Leaf.Subject, c.key)
		}
		if *slot != nil {
			return nil, fmt.Errorf("server certificate %q: there is another one with %s", chain.Leaf.Subject, keyKind(c.key))
		}
		*slot = c
	}
	if certs.RSA == nil && certs.ECDSA == nil {
		return nil, errors.New("server certificate: none given")
	}
	return certs, nil
}

// keyKind is the value of the event column TlsServerKey.
func keyKind(key crypto.PublicKey) string {
	if _, ok := key.(*rsa.PublicKey); ok {
		return "RSA"
	}
	return "ECDSA"
}

// recorded returns the chain with a key that notes in used with which scheme it
// signs: crypto/tls does not tell the server which one it has chosen.
func (c *Certificate) recorded(version uint16, used *uint16) *tls.Certificate {
	chain := c.chain
	r := recorder{Signer: chain.PrivateKey.(crypto.Signer), version: version, used: used}
	if d, ok := chain.PrivateKey.(crypto.Decrypter); ok {
		chain.PrivateKey = &decrypter{recorder: r, decrypter: d}
	} else {
		chain.PrivateKey = &r
	}
	return &chain
}

type recorder struct {
	crypto.Signer
	version uint16
	used    *uint16
}

func (r *recorder) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	*r.used = schemeOf(r.Public(), opts)
	return r.Signer.Sign(rand, digest, opts)
}

// A decrypter is a recorder for a key that serves RSA key exchange too.
type decrypter struct {
	recorder
	decrypter crypto.Decrypter
}

func (d *decrypter) Decrypt(rand io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.decrypter.Decrypt(rand, msg, opts)
}

// schemeOf returns the signature scheme of a signing operation, 0 for the
// MD5+SHA-1 of TLS 1.0 and 1.1, which has no number.
func schemeOf(key crypto.PublicKey, opts crypto.SignerOpts) uint16 {
	hash := map[crypto.Hash]uint16{crypto.SHA1: 2, crypto.SHA256: 4, crypto.SHA384: 5, crypto.SHA512: 6}[opts.HashFunc()]
	if hash == 0 {
		return 0
	}
	if _, ok := key.(*ecdsa.PublicKey); ok {
		return hash<<8 | 3
	}
	if _, ok := opts.(*rsa.PSSOptions); ok {
		return 0x0800 | hash
	}
	return hash<<8 | 1
}
