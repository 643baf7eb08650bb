package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// An Attempt is what a client has shown when it wants to be let in.
type Attempt struct {
	// Hub is the name of the hub that it has reached.
	Hub string
	// DeviceID and ModuleID are claimed, not proven.
	DeviceID string
	ModuleID string
	// Token is the SAS token: the MQTT password or the HTTP Authorization header.
	Token string
	// Chain is the certificate chain as presented, leaf first. The handshake must
	// have proven possession of the leaf's key.
	Chain []*x509.Certificate
}

// An Identity is a proven one.
type Identity struct {
	Hub      string
	DeviceID string
	// ModuleID is not empty for a module of the device.
	ModuleID string
	// Auth is the way in which it was proven.
	Auth AuthType
	// Scope is "device" for the device's own credentials, and "hub" for a shared
	// access policy of the hub.
	Scope string
	// Issuer is "iothub" for SAS tokens, "external" for certificates (Azure's words).
	Issuer string
	// Policy is the shared access policy that signed the token, if one did.
	Policy string
	// CA is the name of the CA that the certificate chains to, if it does.
	CA string
	// Expires is when the credentials end: the token's se, or the last moment of
	// the first certificate of the chain to expire. The hub cuts SAS sessions
	// then, as Azure does.
	Expires time.Time

	proof proof
}

// A digest is a SHA-256.
type digest = [sha256.Size]byte

// proof is what the identity rests on, for Recheck. It holds hashes and names
// rather than the chain: there is one for each live session.
type proof struct {
	generation string // of the device
	module     string // generation of the module
	key        digest // of the symmetric key that signed the token
	thumbprint string // the configured one that matched
	anchor     digest // of the CA's certificate
	links      []link // of the chain, leaf first
}

// A link is a certificate of a chain, as its issuer's revocation list names it.
type link struct {
	issuer digest // of the issuer's name and key
	serial string // big-endian bytes
}

// A Refusal says why a client was not let in, in Azure's terms and in plain
// words. It is for the event; the peer only sees what Public returns.
type Refusal struct {
	// Code is Azure's six digits, for example 401003.
	Code int
	// Name is Azure's name of the code, for example IotHubUnauthorized.
	Name string
	// Description says in plain words what was wrong.
	Description string
	// CA is the name of the CA concerned, when it is known.
	CA string
	// Auth is the way in which the client tried to authenticate; empty for none.
	Auth AuthType
}

func (r *Refusal) Error() string { return r.Name + ": " + r.Description }

// Temporary reports whether the registry could not be asked: the client did
// nothing wrong and may come back.
func (r *Refusal) Temporary() bool { return r.Code/1000 == 500 }

// Public returns what the peer may be told, in Azure's terms. All who are not
// let in are told the same: an unknown device is not told from a wrong key.
func (r *Refusal) Public() (httpStatus int, code, message string) {
	if r.Temporary() {
		return 503, "ServiceUnavailable", "The service is temporarily unavailable"
	}
	return 401, "IotHubUnauthorizedAccess", "Unauthorized"
}

const (
	codeUnauthorizedAccess = 401002
	codeUnauthorized       = 401003
	codeDeviceDisabled     = 403012
	codeDeviceNotFound     = 404001
	codeModuleNotFound     = 404010
	codeServerError        = 500001
)

func refuse(code int, auth AuthType, format string, args ...any) *Refusal {
	names := map[int]string{
		codeUnauthorizedAccess: "IotHubUnauthorizedAccess",
		codeUnauthorized:       "IotHubUnauthorized",
		codeDeviceDisabled:     "DeviceDisabled",
		codeDeviceNotFound:     "DeviceNotFound",
		codeModuleNotFound:     "ModuleNotFound",
		codeServerError:        "ServerError",
	}
	return &Refusal{Code: code, Name: names[code], Description: fmt.Sprintf(format, args...), Auth: auth}
}

// attempted is the way in which the client tries to authenticate.
func (a *Attempt) attempted(device *Device) AuthType {
	switch {
	case a.Token != "":
		return AuthSAS
	case len(a.Chain) == 0:
		return ""
	case device != nil && device.Auth.Type == AuthThumbprint:
		return AuthThumbprint
	default:
		return AuthCA
	}
}

// judge decides on an attempt. hub, device and module are nil when they do not
// exist, and module also when the attempt is a device's. It is a pure function of
// its arguments.
//
// The device's record says what counts: a certificate is not looked at for a
// device that authenticates with SAS, nor is a token for one that authenticates
// with X.509. Whether the device is enabled is only told to who has proven to be
// it: to everybody else wrong credentials are wrong.
func judge(hub *Hub, trust *trust, device, module *Device, a Attempt, now time.Time) (*Identity, *Refusal) {
	subject := device // whose credentials count
	if a.ModuleID != "" {
		subject = module
		if device == nil || module != nil && module.Parent != device.GenerationID {
			subject = nil
		}
	}
	attempted := a.attempted(subject)
	switch {
	case hub == nil:
		return nil, refuse(codeUnauthorized, attempted, "there is no hub %q", a.Hub)
	case subject == nil:
		if a.Token != "" { // take as long as for a known device
			if t, err := ParseToken(a.Token); err == nil {
				t.Verify(absentKey, absentKey)
			}
		}
		if device != nil {
			return nil, refuse(codeModuleNotFound, attempted, "device %q has no module %q", a.DeviceID, a.ModuleID)
		}
		return nil, refuse(codeDeviceNotFound, attempted, "hub %q has no device %q", hub.Name, a.DeviceID)
	}
	id := &Identity{
		Hub: hub.Name, DeviceID: device.ID, Auth: subject.Auth.Type, Scope: "device", Issuer: "external",
		proof: proof{generation: device.GenerationID},
	}
	if subject == module {
		id.ModuleID, id.Scope, id.proof.module = module.ModuleID, "module", module.GenerationID
	}
	var refusal *Refusal
	switch subject.Auth.Type {
	case AuthSAS:
		id.Issuer = "iothub"
		refusal = judgeToken(id, hub, subject, a, now)
	case AuthThumbprint:
		refusal = judgeThumbprint(id, subject, a, now)
	case AuthCA:
		refusal = judgeChain(id, trust, subject, a, now)
	default:
		panic("unknown authentication type " + subject.Auth.Type)
	}
	if refusal != nil {
		return nil, refusal
	}
	if device.Status != Enabled {
		reason := ""
		if device.StatusReason != "" {
			reason = ": " + device.StatusReason
		}
		return nil, refuse(codeDeviceDisabled, subject.Auth.Type, "device %q is disabled%s", device.ID, reason)
	}
	return id, nil
}

// absentKey is base64 of 32 zero bytes.
var absentKey = base64.StdEncoding.EncodeToString(make([]byte, 32))

func judgeToken(id *Identity, hub *Hub, device *Device, a Attempt, now time.Time) *Refusal {
	unauthorized := func(format string, args ...any) *Refusal {
		return refuse(codeUnauthorized, AuthSAS, format, args...)
	}
	if a.Token == "" {
		r := unauthorized("device %q authenticates with SAS, and the client sent no token", device.name())
		r.Auth = a.attempted(device)
		return r
	}
	token, err := ParseToken(a.Token)
	if err != nil {
		return unauthorized("the SAS token %v", err)
	}
	if !token.covers(hub, device) {
		return unauthorized("the SAS token is for %q, not for device %q of this hub", clip(token.Resource), device.name())
	}
	keys := []string{device.Auth.PrimaryKey, device.Auth.SecondaryKey}
	if token.Policy != "" {
		policy, ok := hub.Policy(token.Policy)
		if !ok {
			return unauthorized("hub %q has no shared access policy %q", hub.Name, clip(token.Policy))
		}
		keys = []string{policy.PrimaryKey, policy.SecondaryKey}
		id.Scope, id.Policy = "hub", policy.Name
		if n := token.Verify(keys...); n >= 0 && !policy.Rights.Has(DeviceConnect) {
			return refuse(codeUnauthorizedAccess, AuthSAS, "shared access policy %q lacks DeviceConnect: it has %s", policy.Name, policy.Rights)
		}
	}
	n := token.Verify(keys...)
	if n < 0 {
		return unauthorized("the signature of the SAS token is wrong: it was made with another key")
	}
	if !now.Before(token.Expiry) {
		return unauthorized("the SAS token has expired on %s", moment(token.Expiry))
	}
	id.Expires, id.proof.key = token.Expiry, sha256.Sum256([]byte(keys[n]))
	return nil
}

func judgeThumbprint(id *Identity, device *Device, a Attempt, now time.Time) *Refusal {
	unauthorized := func(format string, args ...any) *Refusal {
		r := refuse(codeUnauthorized, AuthThumbprint, format, args...)
		if len(a.Chain) == 0 {
			r.Auth = a.attempted(device)
		}
		return r
	}
	if len(a.Chain) == 0 {
		return unauthorized("device %q authenticates with an X.509 certificate, and the client presented none", device.name())
	}
	leaf := a.Chain[0]
	sha1Hex, sha256Hex := Thumbprints(leaf)
	// The thumbprint pins this very certificate to the device: who issued it, its
	// names and its purposes add nothing to that. Azure looks at none of them.
	for _, configured := range []string{device.Auth.PrimaryThumbprint, device.Auth.SecondaryThumbprint} {
		actual := sha1Hex
		if len(configured) == len(sha256Hex) {
			actual = sha256Hex
		}
		if configured != "" && subtle.ConstantTimeCompare([]byte(configured), []byte(actual)) == 1 {
			id.proof.thumbprint = configured
		}
	}
	if id.proof.thumbprint == "" {
		return unauthorized("Thumbprint does not match configuration: the client presented %s (SHA-1), %s (SHA-256)", sha1Hex, sha256Hex)
	}
	if fault := datesFault("the certificate", leaf, now); fault != "" {
		return unauthorized("%s", fault)
	}
	id.Expires = leaf.NotAfter.UTC()
	return nil
}

// maxChain bounds what a stranger can make us verify.
const maxChain = 10

// judgeChain follows RFC 5280 as Go's verifier does, with the hub's verified CAs
// as trust anchors and the certificates that the client presented as
// intermediates. A leaf without an extended key usage is good for any purpose
// (RFC 5280 4.2.1.12); with one, it must include clientAuth. Signatures with
// SHA-1 or MD5 and RSA keys below 1024 bits are refused everywhere but on the
// anchor itself, as are unknown critical extensions.
func judgeChain(id *Identity, trust *trust, device *Device, a Attempt, now time.Time) *Refusal {
	var ca string
	unauthorized := func(format string, args ...any) *Refusal {
		r := refuse(codeUnauthorized, AuthCA, format, args...)
		r.CA = ca
		if len(a.Chain) == 0 {
			r.Auth = a.attempted(device)
		}
		return r
	}
	if len(a.Chain) == 0 {
		return unauthorized("device %q authenticates with an X.509 certificate, and the client presented none", device.name())
	}
	leaf := a.Chain[0]
	if len(a.Chain) > maxChain {
		return unauthorized("the client presented %d certificates; %d are enough", len(a.Chain), maxChain)
	}
	chains, err := trust.verify(leaf, a.Chain[1:], now, x509.ExtKeyUsageClientAuth, true)
	if err != nil {
		// Say as much as can be known: with other dates, purposes or anchors.
		fault, name := trust.explain(leaf, a.Chain[1:], now, err)
		ca = name
		return unauthorized("%s", fault)
	}
	ca = trust.name(chains[0])
	if len(chains[0]) == 1 {
		return unauthorized("the certificate is that of CA %q itself", ca)
	}
	if leaf.Subject.CommonName != device.name() {
		return unauthorized("the certificate's common name %q is not the device id %q", clip(leaf.Subject.CommonName), device.name())
	}
	// One chain without a revoked certificate is enough, but a revoked leaf is
	// revoked on each.
	var revoked *Refusal
	for _, chain := range chains {
		links := linksOf(chain)
		if fault := trust.revoked(links); fault != "" {
			if revoked == nil {
				revoked = unauthorized("%s", fault)
			}
			continue
		}
		anchor := chain[len(chain)-1]
		id.CA = trust.name(chain)
		id.proof.links, id.proof.anchor = links, sha256.Sum256(anchor.Raw)
		id.Expires = leaf.NotAfter.UTC()
		for _, c := range chain[1:] {
			if c.NotAfter.Before(id.Expires) {
				id.Expires = c.NotAfter.UTC()
			}
		}
		return nil
	}
	return revoked
}

// recheck judges a live session by the registry's present state.
func recheck(hub *Hub, trust *trust, device, module *Device, id *Identity) *Refusal {
	subject := device
	if id.ModuleID != "" {
		subject = module
	}
	unauthorized := func(format string, args ...any) *Refusal {
		r := refuse(codeUnauthorized, id.Auth, format, args...)
		r.CA = id.CA
		return r
	}
	switch {
	case hub == nil:
		return unauthorized("hub %q was deleted", id.Hub)
	case device == nil || device.GenerationID != id.proof.generation:
		return refuse(codeDeviceNotFound, id.Auth, "device %q was deleted", id.DeviceID)
	case device.Status != Enabled:
		return refuse(codeDeviceDisabled, id.Auth, "device %q was disabled", id.DeviceID)
	case subject == nil || subject == module && module.GenerationID != id.proof.module:
		return refuse(codeModuleNotFound, id.Auth, "module %q of device %q was deleted", id.ModuleID, id.DeviceID)
	case subject.Auth.Type != id.Auth:
		return unauthorized("device %q now authenticates with %s", subject.name(), subject.Auth.Type.EventName())
	}
	switch id.Auth {
	case AuthSAS:
		keys := []string{subject.Auth.PrimaryKey, subject.Auth.SecondaryKey}
		if id.Policy != "" {
			policy, ok := hub.Policy(id.Policy)
			if !ok || !policy.Rights.Has(DeviceConnect) {
				return unauthorized("shared access policy %q may not connect devices any more", id.Policy)
			}
			keys = []string{policy.PrimaryKey, policy.SecondaryKey}
		}
		for _, k := range keys {
			if sha256.Sum256([]byte(k)) == id.proof.key {
				return nil
			}
		}
		return unauthorized("the key that signed the SAS token was replaced")
	case AuthThumbprint:
		if id.proof.thumbprint != subject.Auth.PrimaryThumbprint && id.proof.thumbprint != subject.Auth.SecondaryThumbprint {
			return unauthorized("the thumbprint of the certificate was removed")
		}
	case AuthCA:
		if !trust.anchors[id.proof.anchor] {
			return unauthorized("CA %q is not trusted any more", id.CA)
		}
		if fault := trust.revoked(id.proof.links); fault != "" {
			return unauthorized("%s", fault)
		}
	}
	return nil
}

func datesFault(what string, cert *x509.Certificate, now time.Time) string {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Sprintf("%s has expired on %s", what, moment(cert.NotAfter))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("%s is not valid before %s", what, moment(cert.NotBefore))
	}
	return ""
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clip bounds what a peer can write into an event.
func clip(s string) string {
	if len(s) > 256 {
		return strings.ToValidUTF8(s[:256], "") + "..."
	}
	return s
}

// A trust is what one hub trusts: made anew whenever that changes, because a
// CertPool cannot forget. It is not changed once made.
type trust struct {
	verified *x509.CertPool
	every    *x509.CertPool // the ones that are not verified too, for explanations
	anchors  map[digest]bool
	names    map[digest]string // of certificates
	revoking map[digest]*revocations
}

// revocations are a CA's, by the serial number's big-endian bytes.
type revocations struct {
	ca      string
	serials map[string]time.Time
}

func newTrust(cas map[string]*CA, crls map[string]*CRL) *trust {
	t := &trust{
		verified: x509.NewCertPool(), every: x509.NewCertPool(),
		anchors: map[digest]bool{}, names: map[digest]string{}, revoking: map[digest]*revocations{},
	}
	for name, ca := range cas {
		sum := sha256.Sum256(ca.DER)
		t.names[sum] = name
		t.every.AddCert(ca.cert)
		if ca.Verified {
			t.verified.AddCert(ca.cert)
			t.anchors[sum] = true
		}
		crl := crls[name]
		// The list of a certificate that was replaced under the same name is not
		// the new one's.
		if crl == nil || crl.List.CheckSignatureFrom(ca.cert) != nil {
			continue
		}
		// A renewed CA with the same name and key shares its lists with the old one.
		id := issuerID(ca.cert)
		r := t.revoking[id]
		if r == nil {
			r = &revocations{ca: name, serials: map[string]time.Time{}}
			t.revoking[id] = r
		}
		for _, e := range crl.List.RevokedCertificateEntries {
			r.serials[string(e.SerialNumber.Bytes())] = e.RevocationTime
		}
	}
	return t
}

func issuerID(cert *x509.Certificate) digest {
	h := sha256.New()
	h.Write(cert.RawSubject)
	h.Write(cert.RawSubjectPublicKeyInfo)
	return digest(h.Sum(nil))
}

func (t *trust) name(chain []*x509.Certificate) string {
	return t.names[sha256.Sum256(chain[len(chain)-1].Raw)]
}

func linksOf(chain []*x509.Certificate) []link {
	var links []link
	for i, c := range chain[:len(chain)-1] {
		links = append(links, link{issuer: issuerID(chain[i+1]), serial: string(c.SerialNumber.Bytes())})
	}
	return links
}

func (t *trust) revoked(links []link) string {
	for i, l := range links {
		r := t.revoking[l.issuer]
		if r == nil {
			continue
		}
		if when, ok := r.serials[l.serial]; ok {
			what := "the certificate"
			if i > 0 {
				what = "an intermediate certificate"
			}
			return fmt.Sprintf("%s with serial %X was revoked by CA %q on %s", what, l.serial, r.ca, moment(when))
		}
	}
	return ""
}

func (t *trust) verify(leaf *x509.Certificate, presented []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage, verified bool) ([][]*x509.Certificate, error) {
	roots, intermediates := t.every, x509.NewCertPool()
	if verified {
		roots = t.verified
	}
	for _, c := range presented {
		intermediates.AddCert(c)
	}
	return leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
}

// explain says in plain words why a chain was refused, and names the CA that it
// leads to, if it does. An attacker gains nothing here: all of this is refused.
func (t *trust) explain(leaf *x509.Certificate, presented []*x509.Certificate, now time.Time, err error) (fault, ca string) {
	// Does it lead to one of ours, when dates and purposes do not matter?
search:
	for _, verified := range []bool{true, false} {
		for _, at := range []time.Time{now, leaf.NotBefore, leaf.NotAfter} {
			chains, err := t.verify(leaf, presented, at, x509.ExtKeyUsageAny, verified)
			if err != nil {
				continue
			}
			ca = t.name(chains[0])
			if !verified {
				return fmt.Sprintf("the certificate was issued by CA %q, which is not verified", ca), ca
			}
			break search
		}
	}
	if fault := datesFault("the certificate", leaf, now); fault != "" {
		if ca == "" {
			return fault + ", and its issuer " + clip(leaf.Issuer.String()) + " is not a verified CA of this hub", ""
		}
		return fault, ca
	}
	var invalidCert x509.CertificateInvalidError
	if errors.As(err, &invalidCert) {
		what := "the certificate"
		if invalidCert.Cert != nil && !invalidCert.Cert.Equal(leaf) {
			what = "the certificate of issuer " + clip(invalidCert.Cert.Subject.String())
		}
		switch invalidCert.Reason {
		case x509.Expired:
			if fault := datesFault(what, invalidCert.Cert, now); fault != "" {
				return fault, ca
			}
		case x509.IncompatibleUsage:
			return "the certificate is not meant for client authentication: its extended key usage lacks clientAuth", ca
		case x509.NotAuthorizedToSign:
			return what + " may not sign certificates", ca
		}
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && ca == "" {
		return "the certificate's issuer " + clip(leaf.Issuer.String()) + " is not a verified CA of this hub" + clip(why(unknown)), ""
	}
	return "the certificate was refused: " + clip(strings.TrimPrefix(err.Error(), "x509: ")), ca
}

// why keeps the verifier's hint, for instance that a signature uses SHA-1.
func why(err error) string {
	_, hint, ok := strings.Cut(err.Error(), "(")
	if !ok {
		return ""
	}
	return " (" + hint
}
