package handshake

import (
	"fmt"
	"strconv"
)

// TLS versions as on the wire.
const (
	VersionSSL2  uint16 = 0x0002
	VersionSSL3  uint16 = 0x0300
	VersionTLS10 uint16 = 0x0301
	VersionTLS11 uint16 = 0x0302
	VersionTLS12 uint16 = 0x0303
	VersionTLS13 uint16 = 0x0304
)

// VersionName returns "1.0" to "1.3" as the event has it, "SSL 2.0" or
// "SSL 3.0", and the hexadecimal value of anything else.
func VersionName(v uint16) string {
	switch v {
	case VersionTLS10:
		return "1.0"
	case VersionTLS11:
		return "1.1"
	case VersionTLS12:
		return "1.2"
	case VersionTLS13:
		return "1.3"
	case VersionSSL3:
		return "SSL 3.0"
	case VersionSSL2:
		return "SSL 2.0"
	}
	return hex16(v)
}

// versionWords is VersionName for a sentence: "TLS 1.2", "SSL 3.0".
func versionWords(v uint16) string {
	if v >= VersionTLS10 && v <= VersionTLS13 {
		return "TLS " + VersionName(v)
	}
	return VersionName(v)
}

func hex16(v uint16) string { return fmt.Sprintf("0x%04X", v) }

// SuiteName returns IANA's name of a cipher suite, or its hexadecimal value.
func SuiteName(id uint16) string {
	if n, ok := suiteNames[id]; ok {
		return n
	}
	return hex16(id)
}

// GroupName returns IANA's name of a key exchange group ("TLS Supported
// Groups"), or its hexadecimal value.
func GroupName(id uint16) string {
	if n, ok := groupNames[id]; ok {
		return n
	}
	return hex16(id)
}

var groupNames = map[uint16]string{
	1: "sect163k1", 2: "sect163r1", 3: "sect163r2", 4: "sect193r1", 5: "sect193r2", 6: "sect233k1", 7: "sect233r1",
	8: "sect239k1", 9: "sect283k1", 10: "sect283r1", 11: "sect409k1", 12: "sect409r1", 13: "sect571k1", 14: "sect571r1",
	15: "secp160k1", 16: "secp160r1", 17: "secp160r2", 18: "secp192k1", 19: "secp192r1", 20: "secp224k1", 21: "secp224r1",
	22: "secp256k1", 23: "secp256r1", 24: "secp384r1", 25: "secp521r1",
	26: "brainpoolP256r1", 27: "brainpoolP384r1", 28: "brainpoolP512r1", 29: "x25519", 30: "x448",
	31: "brainpoolP256r1tls13", 32: "brainpoolP384r1tls13", 33: "brainpoolP512r1tls13",
	34: "GC256A", 35: "GC256B", 36: "GC256C", 37: "GC256D", 38: "GC512A", 39: "GC512B", 40: "GC512C", 41: "curveSM2",
	256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192",
	512: "MLKEM512", 513: "MLKEM768", 514: "MLKEM1024",
	4587: "SecP256r1MLKEM768", 4588: "X25519MLKEM768", 4589: "SecP384r1MLKEM1024", 4590: "curveSM2MLKEM768",
	25497: "X25519Kyber768Draft00", 25498: "SecP256r1Kyber768Draft00",
	65281: "arbitrary_explicit_prime_curves", 65282: "arbitrary_explicit_char2_curves",
}

// SignatureName returns IANA's name of a signature scheme ("TLS
// SignatureScheme"). Pairs of TLS 1.2 (RFC 5246 7.4.1.4.1) that have no scheme
// are named in the same manner, such as "rsa_pkcs1_sha224".
func SignatureName(id uint16) string {
	if n, ok := signatureNames[id]; ok {
		return n
	}
	if hash, sign := id>>8, id&0xff; hash < uint16(len(pairHashes)) && sign < uint16(len(pairSignatures)) &&
		pairHashes[hash] != "" && pairSignatures[sign] != "" {
		return pairSignatures[sign] + "_" + pairHashes[hash]
	}
	return hex16(id)
}

var (
	pairHashes     = [...]string{1: "md5", 2: "sha1", 3: "sha224", 4: "sha256", 5: "sha384", 6: "sha512"}
	pairSignatures = [...]string{1: "rsa_pkcs1", 2: "dsa", 3: "ecdsa"}
)

var signatureNames = map[uint16]string{
	0x0201: "rsa_pkcs1_sha1", 0x0203: "ecdsa_sha1",
	0x0401: "rsa_pkcs1_sha256", 0x0403: "ecdsa_secp256r1_sha256", 0x0420: "rsa_pkcs1_sha256_legacy",
	0x0501: "rsa_pkcs1_sha384", 0x0503: "ecdsa_secp384r1_sha384", 0x0520: "rsa_pkcs1_sha384_legacy",
	0x0601: "rsa_pkcs1_sha512", 0x0603: "ecdsa_secp521r1_sha512", 0x0620: "rsa_pkcs1_sha512_legacy",
	0x0704: "eccsi_sha256", 0x0705: "iso_ibs1", 0x0706: "iso_ibs2", 0x0707: "iso_chinese_ibs", 0x0708: "sm2sig_sm3",
	0x0709: "gostr34102012_256a", 0x070A: "gostr34102012_256b", 0x070B: "gostr34102012_256c", 0x070C: "gostr34102012_256d",
	0x070D: "gostr34102012_512a", 0x070E: "gostr34102012_512b", 0x070F: "gostr34102012_512c",
	0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512",
	0x0807: "ed25519", 0x0808: "ed448",
	0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
	0x081A: "ecdsa_brainpoolP256r1tls13_sha256", 0x081B: "ecdsa_brainpoolP384r1tls13_sha384", 0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
	0x0904: "mldsa44", 0x0905: "mldsa65", 0x0906: "mldsa87",
}

// An Alert is a TLS alert (RFC 8446 6), or none: the zero value.
type Alert uint16

const alertKnown = 0x100

// NewAlert returns the alert with that number; close_notify has 0.
func NewAlert(number uint8) Alert { return alertKnown | Alert(number) }

// Number returns the alert's number on the wire, and whether there is an alert.
func (a Alert) Number() (uint8, bool) { return uint8(a), a&alertKnown != 0 }

// String returns IANA's name such as "unknown_ca", and "" for no alert.
func (a Alert) String() string {
	n, ok := a.Number()
	if !ok {
		return ""
	}
	if name, ok := alertNames[n]; ok {
		return name
	}
	return strconv.Itoa(int(n))
}

// Alerts that the code speaks of.
const (
	alertCloseNotify            = 0
	alertUnexpectedMessage      = 10
	alertHandshakeFailure       = 40
	alertBadCertificate         = 42
	alertUnsupportedCertificate = 43
	alertIllegalParameter       = 47
	alertDecodeError            = 50
	alertDecryptError           = 51
	alertProtocolVersion        = 70
)

var alertNames = map[uint8]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
	30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
	43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
	47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
	52: "too_many_cids_requested", 60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
	110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
	116: "certificate_required", 117: "general_error", 120: "no_application_protocol", 121: "ech_required",
}
