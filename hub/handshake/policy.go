package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// A Policy says which TLS versions and cipher suites a hub serves. TLS 1.3 is
// always served, with the three suites of RFC 8446 9.1. There are the three
// policies that the values of minTlsVersion mean; they are not to be changed.
type Policy struct {
	// MinVersion is the lowest version served.
	MinVersion uint16
	// Suites are those for TLS 1.2 and below, best first.
	Suites []uint16
}

// The suites that the IoT Hub TLS document recommends: with minTlsVersion 1.2
// they are the only ones below TLS 1.3.
var recommendedSuites = []uint16{
	0xC02B, // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	0xC02C, // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	0xC02F, // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	0xC030, // TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	0xC023, // TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256
	0xC024, // TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384
	0xC027, // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
	0xC028, // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384
}

// The suites that the document lists in addition for hubs that do not enforce
// minTlsVersion 1.2.
var legacySuites = []uint16{
	0x009F, // TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
	0x009E, // TLS_DHE_RSA_WITH_AES_128_GCM_SHA256
	0x009D, // TLS_RSA_WITH_AES_256_GCM_SHA384
	0x009C, // TLS_RSA_WITH_AES_128_GCM_SHA256
	0x003D, // TLS_RSA_WITH_AES_256_CBC_SHA256
	0x003C, // TLS_RSA_WITH_AES_128_CBC_SHA256
	0xC014, // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
	0xC013, // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
	0x0035, // TLS_RSA_WITH_AES_256_CBC_SHA
	0x002F, // TLS_RSA_WITH_AES_128_CBC_SHA
}

// suites13 are TLS 1.3's, which no policy changes: crypto/tls offers no choice,
// and none of them is weak.
var suites13 = []uint16{0x1301, 0x1302, 0x1303}

var (
	legacyPolicy = &Policy{MinVersion: VersionTLS10, Suites: slices.Concat(recommendedSuites, legacySuites)}
	strictPolicy = &Policy{MinVersion: VersionTLS12, Suites: recommendedSuites}
	tls13Policy  = &Policy{MinVersion: VersionTLS13}
)

// Strict is minTlsVersion 1.2: TLS 1.2 with the recommended suites, and 1.3.
func Strict() *Policy { return strictPolicy }

// Legacy is a hub without enforcement: TLS 1.0 to 1.3, and the legacy suites.
func Legacy() *Policy { return legacyPolicy }

// PolicyFor returns the policy of a minTlsVersion: "1.0", "1.2" or "1.3".
func PolicyFor(minTLSVersion string) (*Policy, error) {
	switch minTLSVersion {
	case "1.0":
		return legacyPolicy, nil
	case "1.2":
		return strictPolicy, nil
	case "1.3":
		return tls13Policy, nil
	}
	return nil, fmt.Errorf("minTlsVersion %q is not one of 1.0, 1.2, 1.3", minTLSVersion)
}

// Allows reports whether a connection with these parameters meets the policy.
func (p *Policy) Allows(version, suite uint16) bool {
	if version < p.MinVersion {
		return false
	}
	if version >= VersionTLS13 {
		return slices.Contains(suites13, suite)
	}
	return slices.Contains(p.Suites, suite)
}

// A suiteKind is how a suite below TLS 1.3 exchanges keys and proves the
// server's identity.
type suiteKind struct {
	ecdhe, dhe, ecdsa bool
	tls12             bool // needs TLS 1.2
	inGo              bool // crypto/tls has it
}

var suiteKinds = map[uint16]suiteKind{
	0xC02B: {ecdhe: true, ecdsa: true, tls12: true, inGo: true},
	0xC02C: {ecdhe: true, ecdsa: true, tls12: true, inGo: true},
	0xC02F: {ecdhe: true, tls12: true, inGo: true},
	0xC030: {ecdhe: true, tls12: true, inGo: true},
	0xC023: {ecdhe: true, ecdsa: true, tls12: true, inGo: true},
	0xC024: {ecdhe: true, ecdsa: true, tls12: true},
	0xC027: {ecdhe: true, tls12: true, inGo: true},
	0xC028: {ecdhe: true, tls12: true},
	0x009F: {dhe: true, tls12: true},
	0x009E: {dhe: true, tls12: true},
	0x009D: {tls12: true, inGo: true},
	0x009C: {tls12: true, inGo: true},
	0x003D: {tls12: true},
	0x003C: {tls12: true, inGo: true},
	0xC014: {ecdhe: true, inGo: true},
	0xC013: {ecdhe: true, inGo: true},
	0x0035: {inGo: true},
	0x002F: {inGo: true},
}

// Groups that both engines serve, and those that crypto/tls adds for TLS 1.3.
var (
	groups12 = []uint16{29, 23, 24, 25}
	groups13 = []uint16{4588, 4587, 4589, 29, 23, 24, 25}
)

// schemesFor returns the signature schemes that a server key can use, by
// version, without those over SHA-1.
func schemesFor(key crypto.PublicKey, version uint16) []uint16 {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if version >= VersionTLS13 { // bound to the curve, RFC 8446 4.2.3
			switch key.Curve {
			case elliptic.P256():
				return []uint16{0x0403}
			case elliptic.P384():
				return []uint16{0x0503}
			case elliptic.P521():
				return []uint16{0x0603}
			}
			return nil
		}
		return []uint16{0x0403, 0x0503, 0x0603}
	case *rsa.PublicKey:
		if version >= VersionTLS13 {
			return []uint16{0x0804, 0x0805, 0x0806}
		}
		return []uint16{0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601}
	}
	return nil
}

// curveGroup returns the group number of an ECDSA key's curve, 0 if unknown.
func curveGroup(key *ecdsa.PublicKey) uint16 {
	switch key.Curve {
	case elliptic.P256():
		return 23
	case elliptic.P384():
		return 24
	case elliptic.P521():
		return 25
	}
	return 0
}

// A Verdict says whether a policy serves an offer.
type Verdict struct {
	// OK says that it does; else Reason tells why not, in words that are few
	// enough to count by: "offers TLS 1.0 only".
	OK     bool
	Reason string
	// Version is the one that would be negotiated; 0 if there is none.
	Version uint16
	// Alert is what the server has to answer.
	Alert Alert
	// Suites are the common ones, best first by policy.
	Suites []uint16

	// Engines choose suites without regard to signature algorithms, and then fail
	// on them. narrow says that they must be told to take these alone: Suites, or
	// in crypto/tls goSuites.
	narrow   bool
	goSuites []uint16
	inGo     bool   // crypto/tls can serve it,
	ecdsa    bool   // with the ECDSA key at best
	inSSL    bool   // OpenSSL can serve it
	needs    string // the best suite, when crypto/tls cannot
}

// Judge tells whether the policy serves what the client offers, with server
// certificates of the given kinds at hand. It says what a server has to do by
// the specifications; engines decide by themselves.
func (p *Policy) Judge(h *Hello, certs *Certificates) Verdict {
	v := Verdict{}
	for _, offered := range h.Versions { // best first
		if offered >= p.MinVersion && offered <= VersionTLS13 && !h.SSL2 {
			v.Version = offered
			break
		}
	}
	if v.Version == 0 {
		v.Alert, v.Reason = NewAlert(alertProtocolVersion), offersOnly(h)
		return v
	}
	if v.Version < VersionTLS13 && slices.Contains(h.Suites, suiteFallback) {
		v.Alert, v.Reason = NewAlert(86), "signals a downgrade to "+versionWords(v.Version)+" (TLS_FALLBACK_SCSV)"
		return v
	}
	if v.Version == VersionTLS13 {
		p.judge13(h, certs, &v)
	} else {
		p.judge12(h, certs, &v)
	}
	if v.OK = v.Reason == ""; !v.OK {
		v.Alert = NewAlert(alertHandshakeFailure)
	}
	return v
}

func (p *Policy) judge13(h *Hello, certs *Certificates, v *Verdict) {
	v.Suites = common(suites13, h.Suites)
	v.inGo = true
	v.inSSL = len(common(groups12, h.Groups)) > 0
	switch {
	case len(v.Suites) == 0:
		v.Reason = "TLS 1.3, but " + onlySuites(h)
	case len(common(groups13, h.Groups)) == 0:
		v.Reason = "TLS 1.3, but no common key exchange group"
	default:
		v.ecdsa = certs.ECDSA != nil && len(common(schemesFor(certs.ECDSA.public(), VersionTLS13), h.Signatures)) > 0
		rsa := certs.RSA != nil && len(common(schemesFor(certs.RSA.public(), VersionTLS13), h.Signatures)) > 0
		if !v.ecdsa && !rsa {
			v.Reason = "TLS 1.3, but no common signature algorithm"
		}
	}
}

func (p *Policy) judge12(h *Hello, certs *Certificates, v *Verdict) {
	// Without the extension a server may take any curve (RFC 8422 4), but then
	// neither of our engines does ECDHE.
	curves := len(common(groups12, h.Groups)) > 0
	// A client has to list uncompressed points if it lists any (RFC 8422 5.1.2);
	// crypto/tls refuses it otherwise, whatever the suite.
	points := !h.hasPoints || h.uncompress
	signs := func(c *Certificate) (ok, inGo bool) {
		if c == nil {
			return false, false
		}
		if v.Version < VersionTLS12 {
			return true, true // MD5 and SHA-1 by definition, RFC 4346
		}
		if len(common(schemesFor(c.public(), v.Version), h.Signatures)) > 0 {
			return true, true
		}
		// SHA-1 is what is left, or what no extension at all means (RFC 5246
		// 7.4.1.4.1). crypto/tls has no more of it, and a strict hub should not.
		sha1 := len(h.Signatures) == 0 || slices.Contains(h.Signatures, 0x0201) && c == certs.RSA || slices.Contains(h.Signatures, 0x0203) && c == certs.ECDSA
		return sha1 && p.MinVersion < VersionTLS12, false
	}
	rsaSigns, rsaInGo := signs(certs.RSA)
	ecdsaSigns, ecdsaInGo := signs(certs.ECDSA)
	if certs.ECDSA != nil {
		if key, ok := certs.ECDSA.public().(*ecdsa.PublicKey); ok && !slices.Contains(h.Groups, curveGroup(key)) {
			ecdsaSigns = false // RFC 8422 5.1: the certificate's curve must be offered
		}
	}
	shared := 0 // suites in both lists, usable or not
	for _, id := range common(p.Suites, h.Suites) {
		k := suiteKinds[id]
		if k.tls12 && v.Version < VersionTLS12 {
			continue
		}
		shared++
		ok, inGo := certs.RSA != nil, k.inGo
		switch {
		case k.ecdhe && k.ecdsa:
			ok, inGo = curves && ecdsaSigns, inGo && ecdsaInGo
		case k.ecdhe:
			ok, inGo = curves && rsaSigns, inGo && rsaInGo
		case k.dhe:
			ok = rsaSigns
		case !k.inGo:
			ok = ok && rsaSigns // OpenSSL insists, though nothing is signed
		}
		if ok = ok && points; ok {
			v.Suites = append(v.Suites, id)
			v.inSSL = v.inSSL || k.ecdhe || k.dhe || rsaSigns
		}
		switch {
		case ok && inGo:
			v.goSuites = append(v.goSuites, id)
		case !ok && (k.ecdsa && certs.ECDSA == nil || !k.ecdsa && certs.RSA == nil):
			// They look at the kinds of the certificates.
		case !ok || k.inGo:
			v.narrow = true
		}
	}
	if len(v.goSuites) > 0 {
		v.inGo, v.ecdsa = true, suiteKinds[v.goSuites[0]].ecdsa
	} else if len(v.Suites) > 0 {
		v.needs = SuiteName(v.Suites[0])
	}
	switch words := versionWords(v.Version); {
	case len(v.Suites) > 0:
	case shared == 0:
		v.Reason = words + ", but " + onlySuites(h)
	case !points:
		v.Reason = words + ", but only compressed points"
	case !curves:
		v.Reason = words + ", but no common key exchange group"
	default:
		v.Reason = words + ", but no common signature algorithm"
	}
}

// JudgeClientKey applies the rule of the IoT Hub TLS document for ECDSA client
// certificates: the curve of the key must be among the groups that the client
// offers. It returns the reason for a refusal, or "".
func JudgeClientKey(h *Hello, leaf *x509.Certificate) string {
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || len(h.Groups) == 0 || slices.Contains(h.Groups, curveGroup(key)) {
		return ""
	}
	return "ECDSA client certificate on " + key.Curve.Params().Name + ", a curve not offered"
}

// StrictReason tells why minTlsVersion 1.2 with the recommended suites would
// refuse a client, and "" when it would not. leaf is the client's certificate,
// if it has shown one. The server is taken to have certificates of both kinds,
// for the question is about the client.
func StrictReason(h *Hello, leaf *x509.Certificate) string {
	if v := strictPolicy.Judge(h, anyCertificates); !v.OK {
		return v.Reason
	}
	if leaf != nil {
		return JudgeClientKey(h, leaf)
	}
	return ""
}

// anyCertificates stand for a server with an RSA and a P-256 certificate.
var anyCertificates = &Certificates{
	RSA:   &Certificate{key: &rsa.PublicKey{}},
	ECDSA: &Certificate{key: &ecdsa.PublicKey{Curve: elliptic.P256()}},
}

func common(ours, theirs []uint16) []uint16 {
	var both []uint16
	for _, v := range ours {
		if slices.Contains(theirs, v) {
			both = append(both, v)
		}
	}
	return both
}

// offersOnly says which versions a client offers that are too low.
func offersOnly(h *Hello) string {
	switch {
	case h.SSL2 && h.Versions[0] >= VersionSSL3:
		return "offers " + versionWords(h.Versions[0]) + " in an SSL 2.0 message"
	case len(h.Versions) == 1:
		return "offers " + versionWords(h.Versions[0]) + " only"
	}
	return "offers at most " + versionWords(h.Versions[0])
}

// onlySuites names the suites of a client that has no common one: up to three,
// so that the text stays countable.
func onlySuites(h *Hello) string {
	var names []string
	for _, id := range h.Suites {
		if id == suiteFallback || id == 0x00FF { // signals, not suites
			continue
		}
		n := strings.TrimPrefix(SuiteName(id), "TLS_")
		names = append(names, strings.Replace(n, "_WITH_", "_", 1))
	}
	switch n := len(names); {
	case n == 0:
		return "no cipher suite"
	case n > 3:
		return fmt.Sprintf("only %s and %d more", strings.Join(names[:2], ", "), n-2)
	}
	return "only " + strings.Join(names, ", ")
}
