package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A CA is a certificate authority that a hub trusts for its devices, once
// somebody has proven to hold its key or vouched for it. It need not be a root:
// a device's chain ends at the first trusted certificate.
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

func validateCAName(name string) error {
	ok := name != "" && len(name) <= 64
	for i := 0; ok && i < len(name); i++ {
		ok = isAlphanumeric(name[i]) || strings.IndexByte("-._", name[i]) >= 0
	}
	if !ok {
		return invalid("certificateName", "%q: 1 to 64 letters, digits and -._ are allowed", name)
	}
	return nil
}

// ParseCertificate reads one certificate, given as PEM, DER, or base64 of either
// (what Azure's API takes). In a PEM file with several the first one counts.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	der, err := decodePEM(data, "CERTIFICATE")
	if err != nil {
		return nil, invalid("certificate", "%v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, invalid("certificate", "cannot be parsed: %v", err)
	}
	return cert, nil
}

// decodePEM returns the DER in data, which is PEM, DER, or base64 of either.
func decodePEM(data []byte, blockType string) ([]byte, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("is empty")
	}
	if data[0] == 0x30 { // a DER sequence, which may well end in a "space"
		return data, nil
	}
	var other string
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == blockType {
			return block.Bytes, nil
		}
		other = block.Type
	}
	if other != "" {
		return nil, fmt.Errorf("has a %q block, but no %q", other, blockType)
	}
	// Base64 of a PEM file or of DER; a second level of base64 is not tried.
	text := bytes.Join(bytes.Fields(data), nil)
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(decoded, text)
	if err == nil {
		decoded = decoded[:n]
		if n > 0 && decoded[0] == 0x30 {
			return decoded, nil
		}
		if block, _ := pem.Decode(decoded); block != nil && block.Type == blockType {
			return block.Bytes, nil
		}
	}
	return nil, errors.New("is neither PEM nor DER")
}

// CreateCA stores a CA certificate, given as PEM, DER, or base64 of either.
// verified skips the proof of possession: the caller vouches for the CA.
func (r *Registry) CreateCA(ctx context.Context, hub, name string, certificate []byte, verified bool) (ca *CA, err error) {
	defer func() {
		var after properties
		if err == nil {
			after = ca.audited()
		}
		r.audit(ctx, CAWrite, auditCreate, hub, name, nil, after, err)
	}()
	if err := validateCAName(name); err != nil {
		return nil, err
	}
	if _, err := r.Hub(ctx, hub); err != nil {
		return nil, err
	}
	cert, err := parseCA(certificate)
	if err != nil {
		return nil, err
	}
	now := r.now().UTC()
	if now.After(cert.NotAfter) {
		return nil, invalid("certificate", "has expired on %s", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	others, err := r.CAs(ctx, hub)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(others, func(o *CA) bool { return o.Name != name && bytes.Equal(o.DER, cert.Raw) }); i >= 0 {
		return nil, fmt.Errorf("certificate %w as CA %q", ErrExists, others[i].Name)
	}
	ca = &CA{Hub: hub, Name: name, DER: cert.Raw, Verified: verified, Created: now, Updated: now, cert: cert}
	if ca.Revision, err = r.store.Create(ctx, KindCA, Key{Hub: hub, ID: name}, encode(ca)); err != nil {
		return nil, fmt.Errorf("CA %q: %w", name, err)
	}
	return ca, nil
}

// parseCA reads a certificate that may sign others (RFC 5280 4.2.1.9, 4.2.1.3).
func parseCA(certificate []byte) (*x509.Certificate, error) {
	cert, err := ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return nil, invalid("certificate", "%q is not a CA certificate: its basic constraints do not say so", cert.Subject)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, invalid("certificate", "%q may not sign certificates: its key usage does not say so", cert.Subject)
	}
	return cert, nil
}

// ReplaceCA stores another certificate under the name of a CA: a renewed one.
// It must be verified anew, unless verified says that the caller vouches for it.
// The revocation list of the old one goes, if the new one has not signed it.
func (r *Registry) ReplaceCA(ctx context.Context, hub, name, ifMatch string, certificate []byte, verified bool) (*CA, error) {
	cert, err := parseCA(certificate)
	if err != nil {
		r.audit(ctx, CAWrite, auditUpdate, hub, name, nil, nil, err)
		return nil, err
	}
	ca, err := r.updateCA(ctx, CAWrite, hub, name, ifMatch, func(ca *CA) error {
		if !bytes.Equal(ca.DER, cert.Raw) {
			ca.DER, ca.cert, ca.Verified, ca.VerificationCode = cert.Raw, cert, false, ""
		}
		ca.Verified = ca.Verified || verified
		return nil
	})
	if err != nil {
		return nil, err
	}
	crl, err := r.CRL(ctx, hub, name)
	if err == nil && crl.List.CheckSignatureFrom(cert) != nil {
		_, err = r.remove(ctx, "", KindCRL, Key{Hub: hub, ID: name})
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return ca, nil
}

func (r *Registry) updateCA(ctx context.Context, operation, hub, name, ifMatch string, change func(*CA) error) (*CA, error) {
	var before properties
	err := validateCAName(name)
	if err != nil {
		err = ErrNotFound
	}
	var ca *CA
	if err == nil {
		ca, err = update(ctx, r, ifMatch, KindCA, Key{Hub: hub, ID: name}, decodeCA, func(ca *CA) error {
			before = ca.audited()
			ca.Updated = r.now().UTC()
			return change(ca)
		})
	}
	if err != nil {
		err = fmt.Errorf("CA %q: %w", name, err)
		r.audit(ctx, operation, auditUpdate, hub, name, nil, nil, err)
		return nil, err
	}
	r.audit(ctx, operation, auditUpdate, hub, name, before, ca.audited(), nil)
	return ca, nil
}

// GenerateVerificationCode gives the CA a fresh code, and voids the one before.
func (r *Registry) GenerateVerificationCode(ctx context.Context, hub, name, ifMatch string) (*CA, error) {
	return r.updateCA(ctx, CAGenerateCode, hub, name, ifMatch, func(ca *CA) error {
		if ca.Verified {
			return invalid("certificate", "%q is verified already", name)
		}
		var b [24]byte
		rand.Read(b[:])
		ca.VerificationCode = strings.ToUpper(hex.EncodeToString(b[:]))
		return nil
	})
}

// VerifyCA takes the proof of possession: a certificate signed by the CA whose
// common name is the verification code. A verified CA has no code any more.
func (r *Registry) VerifyCA(ctx context.Context, hub, name, ifMatch string, proof []byte) (*CA, error) {
	cert, err := ParseCertificate(proof)
	if err != nil {
		r.audit(ctx, CAVerify, auditUpdate, hub, name, nil, nil, err)
		return nil, err
	}
	return r.updateCA(ctx, CAVerify, hub, name, ifMatch, func(ca *CA) error {
		if err := ca.checkProof(cert, r.now()); err != nil {
			return err
		}
		ca.Verified, ca.VerificationCode = true, ""
		return nil
	})
}

func (c *CA) checkProof(proof *x509.Certificate, now time.Time) error {
	switch {
	case c.VerificationCode == "":
		return invalid("certificate", "no verification code was generated for CA %q", c.Name)
	case subtle.ConstantTimeCompare([]byte(proof.Subject.CommonName), []byte(c.VerificationCode)) != 1:
		return invalid("certificate", "the common name %q is not the verification code of CA %q", proof.Subject.CommonName, c.Name)
	case now.After(proof.NotAfter):
		return invalid("certificate", "the verification certificate has expired on %s", proof.NotAfter.UTC().Format(time.RFC3339))
	}
	// CheckSignatureFrom also checks that the CA may sign, and compares no names.
	if err := proof.CheckSignatureFrom(c.cert); err != nil {
		return invalid("certificate", "the verification certificate is not signed by the key of CA %q: %v", c.Name, err)
	}
	return nil
}

// DeleteCA removes a CA and its revocation list: its devices can no longer connect.
func (r *Registry) DeleteCA(ctx context.Context, hub, name, ifMatch string) error {
	err := validateCAName(name)
	if err != nil {
		err = ErrNotFound
	}
	var rec Record
	if err == nil {
		rec, err = r.remove(ctx, ifMatch, KindCA, Key{Hub: hub, ID: name})
	}
	if err != nil {
		err = fmt.Errorf("CA %q: %w", name, err)
		r.audit(ctx, CADelete, auditDelete, hub, name, nil, nil, err)
		return err
	}
	r.audit(ctx, CADelete, auditDelete, hub, name, was(rec, decodeCA), nil, nil)
	return r.forget(ctx, KindCRL, Key{Hub: hub, ID: name})
}

// SetCRL stores the revocation list of a CA, given as PEM or DER. It must be
// signed by the CA and not be older than the stored one. A list past its next
// update is taken, and stays in force until there is a newer one: a fleet must
// not go dark because a list is late.
func (r *Registry) SetCRL(ctx context.Context, hub, ca string, list []byte) (*CRL, error) {
	crl, before, err := r.setCRL(ctx, hub, ca, list)
	switch {
	case err != nil:
		r.audit(ctx, CRLWrite, auditUpdate, hub, ca, nil, nil, err)
	case before == nil:
		r.audit(ctx, CRLWrite, auditCreate, hub, ca, nil, crl.audited(), nil)
	default:
		r.audit(ctx, CRLWrite, auditUpdate, hub, ca, before.audited(), crl.audited(), nil)
	}
	return crl, err
}

func (r *Registry) setCRL(ctx context.Context, hub, ca string, list []byte) (crl, before *CRL, _ error) {
	authority, err := r.CA(ctx, hub, ca)
	if err != nil {
		return nil, nil, err
	}
	der, err := decodePEM(list, "X509 CRL")
	if err != nil {
		return nil, nil, invalid("crl", "%v", err)
	}
	key := Key{Hub: hub, ID: ca}
	crl, err = decodeCRL(Record{Key: key, Value: der})
	if err != nil {
		return nil, nil, err
	}
	if err := crl.List.CheckSignatureFrom(authority.cert); err != nil {
		return nil, nil, invalid("crl", "is not signed by CA %q: %v", ca, err)
	}
	for range maxTries {
		old, err := r.CRL(ctx, hub, ca)
		switch {
		case errors.Is(err, ErrNotFound):
			crl.Revision, err = r.store.Create(ctx, KindCRL, key, der)
		case err != nil:
			return nil, nil, err
		case crl.List.ThisUpdate.Before(old.List.ThisUpdate):
			return nil, nil, invalid("crl", "is of %s, older than the stored one of %s",
				crl.List.ThisUpdate.UTC().Format(time.RFC3339), old.List.ThisUpdate.UTC().Format(time.RFC3339))
		default:
			crl.Revision, err = r.store.Update(ctx, KindCRL, key, der, old.Revision)
		}
		if err == nil {
			return crl, old, nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return nil, nil, fmt.Errorf("revocation list of CA %q: %w", ca, err)
		}
	}
	return nil, nil, fmt.Errorf("revocation list of CA %q: %w", ca, ErrConflict)
}

// CRL returns ErrNotFound when the CA has none.
func (r *Registry) CRL(ctx context.Context, hub, ca string) (*CRL, error) {
	rec, err := r.store.Get(ctx, KindCRL, Key{Hub: hub, ID: ca})
	if err != nil {
		return nil, fmt.Errorf("revocation list of CA %q: %w", ca, err)
	}
	return decodeCRL(rec)
}

func decodeCA(rec Record) (*CA, error) {
	c := &CA{Hub: rec.Key.Hub, Revision: rec.Revision}
	err := json.Unmarshal(rec.Value, c)
	if err == nil {
		c.cert, err = x509.ParseCertificate(c.DER)
	}
	if err != nil {
		return nil, fmt.Errorf("stored CA %q: %w", rec.Key.ID, err)
	}
	return c, nil
}

func decodeCRL(rec Record) (*CRL, error) {
	list, err := x509.ParseRevocationList(rec.Value)
	if err != nil {
		return nil, invalid("crl", "cannot be parsed: %v", err)
	}
	for _, e := range list.Extensions {
		switch {
		case !e.Critical:
		case e.Id.Equal(oidDeltaCRL):
			return nil, invalid("crl", "is a delta list; a complete one is needed")
		case e.Id.Equal(oidIssuingDistributionPoint):
			var point issuingDistributionPoint
			if _, err := asn1.Unmarshal(e.Value, &point); err != nil || point.IndirectCRL {
				return nil, invalid("crl", "is an indirect list; one signed by the CA for its own certificates is needed")
			}
		default:
			// RFC 5280 5.2: such a list must not be used.
			return nil, invalid("crl", "has a critical extension %v that is not supported", e.Id)
		}
	}
	return &CRL{Hub: rec.Key.Hub, CA: rec.Key.ID, DER: rec.Value, List: list, Revision: rec.Revision}, nil
}

var (
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27} // RFC 5280 5.2.4
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28} // RFC 5280 5.2.5
)

// issuingDistributionPoint is RFC 5280 5.2.5. A list that covers only a part
// of the certificates or of the reasons is still right about those it names.
type issuingDistributionPoint struct {
	DistributionPoint  asn1.RawValue  `asn1:"optional,tag:0"`
	OnlyUserCerts      bool           `asn1:"optional,tag:1"`
	OnlyCACerts        bool           `asn1:"optional,tag:2"`
	OnlySomeReasons    asn1.BitString `asn1:"optional,tag:3"`
	IndirectCRL        bool           `asn1:"optional,tag:4"`
	OnlyAttributeCerts bool           `asn1:"optional,tag:5"`
}
