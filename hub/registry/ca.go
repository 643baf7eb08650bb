package registry

import (
	"crypto/x509"
	"time"
)

// A CA is a certificate authority that a hub trusts for its devices, once
// somebody has proven to hold its key or vouched for it.
type CA struct {
	// Hub is the name of the hub; it is part of the record's key.
	Hub string `json:"-"`
	// Name is 1 to 64 letters, digits, and "-._".
	Name string `json:"name"`
	// DER is the certificate.
	DER []byte `json:"der"`
	// Verified says that the CA may authenticate devices.
	Verified bool `json:"isVerified"`
	// VerificationCode is the common name that a proof-of-possession
	// certificate must carry; empty when none was asked for.
	VerificationCode string    `json:"verificationCode,omitempty"`
	Created          time.Time `json:"created"`
	Updated          time.Time `json:"updated"`

	// Revision is the store's; zero for a CA that was not stored yet.
	Revision uint64 `json:"-"`

	cert *x509.Certificate // of DER
}

// ETag returns the CA's entity tag, without quotes.
func (c *CA) ETag() string { return etag(c.Revision) }

// Certificate returns the parsed certificate.
func (c *CA) Certificate() *x509.Certificate { return c.cert }

// Subject returns the certificate's subject as text.
func (c *CA) Subject() string { return c.cert.Subject.String() }

// Thumbprint returns the SHA-1 of the certificate, as Azure shows it.
func (c *CA) Thumbprint() string { t, _ := Thumbprints(c.cert); return t }

// Expiry returns the end of the certificate's validity.
func (c *CA) Expiry() time.Time { return c.cert.NotAfter }

// A CRL is the revocation list that one CA of a hub has signed.
type CRL struct {
	// Hub and CA name the authority; they are the record's key.
	Hub string
	CA  string
	// DER is the list as the CA signed it.
	DER []byte
	// List is the parsed list.
	List *x509.RevocationList
	// Revision is the store's.
	Revision uint64
}
