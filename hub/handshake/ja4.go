package handshake

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// fingerprint returns the JA4 of a ClientHello over TCP, as FoxIO specifies it:
//
//	t13d1516h2_8daaf6152771_e5627efa2ab1
//
// that is protocol, best version, SNI or not, numbers of suites and extensions,
// first and last character of the first ALPN value; then truncated hashes of
// the sorted suites, and of the sorted extensions (without SNI and ALPN) with
// the signature algorithms in their order. GREASE values do not count.
func (h *Hello) fingerprint(firstALPN []byte) string {
	b := make([]byte, 0, 36)
	b = append(b, 't')
	b = append(b, ja4Version(slices.Max(h.Versions))...)
	if h.hasSNI {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	b = append2Digits(b, len(h.Suites))
	b = append2Digits(b, len(h.extensions))
	b = append(b, ja4ALPN(firstALPN)...)

	suites := slices.Sorted(slices.Values(h.Suites))
	b = append(b, '_')
	b = appendJA4Hash(b, appendHexList(nil, suites))

	extensions := slices.DeleteFunc(slices.Sorted(slices.Values(h.extensions)), func(id uint16) bool {
		return id == extServerName || id == extALPN
	})
	text := appendHexList(nil, extensions)
	if len(h.Signatures) > 0 {
		text = append(text, '_')
		text = appendHexList(text, h.Signatures)
	}
	b = append(b, '_')
	return string(appendJA4Hash(b, text))
}

func ja4Version(v uint16) string {
	switch v {
	case VersionTLS13:
		return "13"
	case VersionTLS12:
		return "12"
	case VersionTLS11:
		return "11"
	case VersionTLS10:
		return "10"
	case VersionSSL3:
		return "s3"
	case VersionSSL2:
		return "s2"
	}
	return "00"
}

// ja4ALPN returns the first and last character of the first ALPN value, or of
// its hexadecimal form when one of the two is not alphanumeric.
func ja4ALPN(first []byte) string {
	if len(first) == 0 {
		return "00"
	}
	a, z := first[0], first[len(first)-1]
	if isAlphanumeric(a) && isAlphanumeric(z) {
		return string([]byte{a, z})
	}
	const digits = "0123456789abcdef"
	return string([]byte{digits[a>>4], digits[z&15]})
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func append2Digits(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

// appendHexList appends "002f,0035".
func appendHexList(b []byte, values []uint16) []byte {
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}

// appendJA4Hash appends the first 12 hexadecimal digits of the SHA-256 of text,
// and zeros for an empty one.
func appendJA4Hash(b, text []byte) []byte {
	if len(text) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:6])
}
