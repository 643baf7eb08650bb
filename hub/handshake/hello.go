package handshake

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Extension numbers (IANA "TLS ExtensionType Values") that are read here.
const (
	extServerName          = 0
	extMaxFragmentLength   = 1
	extSupportedGroups     = 10
	extPointFormats        = 11
	extSignatureAlgorithms = 13
	extALPN                = 16
	extSupportedVersions   = 43
	extKeyShare            = 51
)

// suiteFallback is TLS_FALLBACK_SCSV (RFC 7507).
const suiteFallback uint16 = 0x5600

// A Hello is what a client offered. GREASE values (RFC 8701) are left out of
// the lists. It is kept as long as the connection, so it is small.
type Hello struct {
	// LegacyVersion is the version field of the message itself, which stopped
	// at TLS 1.2 (RFC 8446 4.1.2).
	LegacyVersion uint16
	// Versions are the offered ones, best first: those of the
	// supported_versions extension, else LegacyVersion alone.
	Versions []uint16
	// Suites, Groups and Signatures are in the client's order.
	Suites     []uint16
	Groups     []uint16
	Signatures []uint16
	// ServerName is the host name of the SNI extension.
	ServerName string
	// ALPN are the offered application protocols.
	ALPN []string
	// MaxFragmentLength is the requested limit in bytes (RFC 6066 4): 512, 1024,
	// 2048 or 4096, and 0 for none.
	MaxFragmentLength int
	// JA4 is FoxIO's fingerprint of the offer, such as
	// "t13d1516h2_8daaf6152771_e5627efa2ab1".
	JA4 string
	// SSL2 says that the offer came in an SSL 2.0 message (RFC 5246 E.2).
	SSL2 bool

	hasSNI     bool
	hasPoints  bool // ec_point_formats was sent
	uncompress bool // and lists uncompressed points
	extensions []uint16
}

// errHello is the cause of every refusal to decode a ClientHello.
var errHello = errors.New("malformed ClientHello")

func helloError(what string) error { return fmt.Errorf("%w: %s", errHello, what) }

// ParseHello decodes a ClientHello handshake message, its 4-byte header
// included (RFC 8446 4.1.2). It checks the structure and leaves the sense of the
// values to the engines. Extensions that are not read here are only counted.
// Data behind the message is an error.
func ParseHello(message []byte) (*Hello, error) {
	s := cryptobyte.String(message)
	var typ uint8
	var body cryptobyte.String
	if !s.ReadUint8(&typ) || typ != handshakeClientHello || !s.ReadUint24LengthPrefixed(&body) || !s.Empty() {
		return nil, helloError("header")
	}
	h := new(Hello)
	var session, suites, compression cryptobyte.String
	if !body.ReadUint16(&h.LegacyVersion) || !body.Skip(32) || !body.ReadUint8LengthPrefixed(&session) {
		return nil, helloError("version, random or session id")
	}
	if !body.ReadUint16LengthPrefixed(&suites) || len(suites)%2 != 0 {
		return nil, helloError("cipher suites")
	}
	if !body.ReadUint8LengthPrefixed(&compression) {
		return nil, helloError("compression methods")
	}
	h.Suites = readUint16s(suites)

	var firstALPN []byte // kept as bytes: JA4 looks at its first and last one
	if !body.Empty() {   // before TLS 1.3 a ClientHello could end here
		var extensions cryptobyte.String
		if !body.ReadUint16LengthPrefixed(&extensions) || !body.Empty() {
			return nil, helloError("extensions")
		}
		var err error
		if firstALPN, err = h.readExtensions(extensions); err != nil {
			return nil, err
		}
	}
	if len(h.Versions) == 0 { // RFC 8446 4.2.1: then the old field counts, up to TLS 1.2
		h.Versions = []uint16{min(h.LegacyVersion, VersionTLS12)}
	}
	h.JA4 = h.fingerprint(firstALPN)
	h.extensions = nil
	return h, nil
}

func (h *Hello) readExtensions(extensions cryptobyte.String) (firstALPN []byte, err error) {
	for !extensions.Empty() {
		var id uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&id) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil, helloError("extensions")
		}
		if !isGREASE(id) {
			if slices.Contains(h.extensions, id) { // RFC 8446 4.2: not more than one of a type
				return nil, helloError("an extension occurs twice")
			}
			h.extensions = append(h.extensions, id)
		}
		ok := true
		switch id {
		case extServerName:
			h.hasSNI = true
			ok = h.readServerName(data)
		case extMaxFragmentLength:
			var code uint8
			// The values 1 to 4 are assigned (RFC 6066 4).
			if ok = data.ReadUint8(&code) && data.Empty(); ok && code >= 1 && code <= 4 {
				h.MaxFragmentLength = 256 << code
			}
		case extSupportedGroups:
			h.Groups, ok = readUint16List(data)
		case extPointFormats:
			var formats cryptobyte.String
			ok = data.ReadUint8LengthPrefixed(&formats) && data.Empty() && len(formats) > 0
			h.hasPoints, h.uncompress = true, slices.Contains(formats, 0)
		case extSignatureAlgorithms:
			h.Signatures, ok = readUint16List(data)
		case extALPN:
			if firstALPN, ok = h.readALPN(data); !ok {
				return nil, helloError("ALPN")
			}
		case extSupportedVersions:
			var list cryptobyte.String
			if ok = data.ReadUint8LengthPrefixed(&list) && data.Empty() && len(list) >= 2 && len(list)%2 == 0; ok {
				h.Versions = readUint16s(list)
				slices.SortFunc(h.Versions, func(a, b uint16) int { return int(b) - int(a) })
			}
		}
		if !ok {
			return nil, helloError(fmt.Sprintf("extension %d", id))
		}
	}
	return firstALPN, nil
}

func (h *Hello) readServerName(data cryptobyte.String) bool {
	if data.Empty() {
		return true // only a server may send it empty, but nothing depends on it
	}
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return false
	}
	for !list.Empty() {
		var typ uint8
		var name cryptobyte.String
		if !list.ReadUint8(&typ) || !list.ReadUint16LengthPrefixed(&name) {
			return false
		}
		if typ == 0 && h.ServerName == "" {
			h.ServerName = printable(name)
		}
	}
	return true
}

func (h *Hello) readALPN(data cryptobyte.String) (first []byte, ok bool) {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var p cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&p) {
			return nil, false
		}
		if len(p) == 2 && isGREASE(uint16(p[0])<<8|uint16(p[1])) { // RFC 8701 2
			continue
		}
		if first == nil {
			first = p
		}
		h.ALPN = append(h.ALPN, printable(p))
	}
	return first, true
}

// printable makes text of a peer's bytes: what is not printable ASCII becomes
// "?", so that it can be stored and shown anywhere.
func printable(b []byte) string {
	if !slices.ContainsFunc(b, func(c byte) bool { return c < 0x20 || c > 0x7e }) {
		return string(b)
	}
	c := slices.Clone(b)
	for i := range c {
		if c[i] < 0x20 || c[i] > 0x7e {
			c[i] = '?'
		}
	}
	return string(c)
}

func readUint16List(data cryptobyte.String) ([]uint16, bool) {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() || len(list)%2 != 0 {
		return nil, false
	}
	return readUint16s(list), true
}

// readUint16s decodes a list without its GREASE values.
func readUint16s(list []byte) []uint16 {
	if len(list) < 2 {
		return nil
	}
	values := make([]uint16, 0, len(list)/2)
	for ; len(list) >= 2; list = list[2:] {
		if v := uint16(list[0])<<8 | uint16(list[1]); !isGREASE(v) {
			values = append(values, v)
		}
	}
	return values
}

// isGREASE reports whether v is one of the 16 values of RFC 8701 2.
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// parseSSL2Hello decodes an SSL 2.0 CLIENT-HELLO without its 2-byte record
// header. Old clients sent one that offers SSL 3.0 or TLS (RFC 5246 E.2): then
// cipher specs with a leading zero are TLS suites.
func parseSSL2Hello(message []byte) (*Hello, error) {
	s := cryptobyte.String(message)
	h := &Hello{SSL2: true}
	var typ uint8
	var specs, session, challenge uint16
	var list []byte
	if !s.ReadUint8(&typ) || typ != 1 || !s.ReadUint16(&h.LegacyVersion) ||
		!s.ReadUint16(&specs) || !s.ReadUint16(&session) || !s.ReadUint16(&challenge) ||
		specs%3 != 0 || !s.ReadBytes(&list, int(specs)) {
		return nil, helloError("SSL 2.0 message")
	}
	for ; len(list) >= 3; list = list[3:] {
		if list[0] == 0 {
			h.Suites = append(h.Suites, uint16(list[1])<<8|uint16(list[2]))
		}
	}
	h.Versions = []uint16{h.LegacyVersion}
	h.JA4 = h.fingerprint(nil)
	return h, nil
}
