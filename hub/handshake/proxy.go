package handshake

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// engineProxy is the engine of a connection whose TLS ended in a proxy.
const engineProxy = "proxy"

// Reasons of failures behind a proxy.
const (
	ReasonNoProxyHeader Reason = iota + 64 // no PROXY protocol version 2
	ReasonProxyPlain                       // the proxy did not say that the client spoke TLS
	ReasonHealthCheck                      // the proxy's own connection (command LOCAL)
)

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = 16
	// maxProxyHeader leaves room for a client certificate.
	maxProxyHeader = 16 << 10
)

// AcceptProxied takes a connection from a proxy that has done the TLS handshake
// and tells of it by the PROXY protocol, version 2, with its SSL fields
// (section 2.2.6). It is for listeners that only trusted proxies can reach:
// what the header says is believed. The Report has what the header has; what
// the client offered is not in it. source is the client's address.
//
// allows decides by version and suite, as a Policy does elsewhere, with the
// server name that the client asked for. A client certificate comes through
// only from proxies that send it whole (PP2_SUBTYPE_SSL_CLIENT_CERT).
func (a *Acceptor) AcceptProxied(t *Transport, allows func(serverName string) *Policy) (conn *Conn, r *Report, source netip.AddrPort) {
	t.unwatch()
	r = &Report{Kind: KindProxy, Engine: engineProxy}
	t.SetDeadline(time.Now().Add(a.config.HelloTimeout))
	fail := func(stage Stage, reason Reason, words string, err error) (*Conn, *Report, netip.AddrPort) {
		r.Failure = &Failure{Stage: stage, Reason: reason, Description: words, Err: err}
		t.Close()
		return nil, r, source
	}
	header, err := readProxyHeader(t)
	r.Started = time.Now()
	if err != nil {
		if t.BytesRead() == 0 {
			r.Kind = KindNothing
		}
		a.refuseHello(t, r, err)
		if errors.Is(err, errNotTLS) {
			r.Kind = classify(t.replay)
			return fail(StageHello, ReasonNoProxyHeader, "the connection does not begin with a PROXY protocol header of version 2", err)
		}
		t.Close()
		return nil, r, source
	}
	if header.Command.IsLocal() {
		return fail(StageTCP, ReasonHealthCheck, "a connection of the proxy itself, such as a health check", nil)
	}
	if from, _, ok := header.TCPAddrs(); ok {
		source = from.AddrPort()
		source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	}
	tlvs, err := header.TLVs()
	if err != nil {
		return fail(StageHello, ReasonNoProxyHeader, "the PROXY protocol header is malformed", err)
	}
	for _, v := range tlvs {
		switch v.Type {
		case proxyproto.PP2_TYPE_AUTHORITY:
			r.ServerName = printable(v.Value)
		case proxyproto.PP2_TYPE_ALPN:
			r.ALPN = printable(v.Value)
		}
	}
	ssl, ok := tlvparse.FindSSL(tlvs)
	if !ok || !ssl.ClientSSL() {
		return fail(StageHello, ReasonProxyPlain, "the proxy did not say that the client spoke TLS", nil)
	}
	version, _ := ssl.SSLVersion()
	cipher, _ := ssl.SSLCipher()
	r.Version, r.Suite = proxyVersion(version), suiteByName(cipher)
	r.Resumed = ssl.ClientCertSess() && !ssl.ClientCertConn()
	if name, ok := ssl.SSLGroup(); ok {
		r.Group = numberByName(groupNames, name)
	}
	if name, ok := ssl.SSLSigScheme(); ok {
		r.Signature = numberByName(signatureNames, name)
	}
	if name, ok := ssl.SSLKeyAlg(); ok {
		if r.ServerKey = "ECDSA"; strings.HasPrefix(name, "RSA") {
			r.ServerKey = "RSA"
		}
	}
	if der, ok := ssl.ClientCert(); ok && (ssl.ClientCertConn() || ssl.ClientCertSess()) {
		if leaf, err := x509.ParseCertificate(der); err == nil {
			r.PeerCertificates = []*x509.Certificate{leaf}
		}
	}
	if policy := allows(r.ServerName); !policy.Allows(r.Version, r.Suite) {
		return fail(StageHandshake, ReasonOffer, "the proxy negotiated "+versionWords(r.Version)+" with "+clipName(cipher)+"; "+policyWords(policy), nil)
	}
	t.SetDeadline(noDeadline)
	return &Conn{Conn: t, t: t}, r, source
}

// readProxyHeader reads a header of version 2 and not a byte more. What is no
// such header stays to be looked at in t.replay.
func readProxyHeader(t *Transport) (*proxyproto.Header, error) {
	buf := make([]byte, proxyFixed)
	fill := func(from int) error {
		for from < len(buf) {
			n, err := t.readWire(buf[from:])
			if from += n; err != nil && from < len(buf) {
				t.replay = buf[:from]
				return err
			}
			if seen := min(from, len(proxySignature)); string(buf[:seen]) != proxySignature[:seen] {
				t.replay = buf[:from]
				return errNotTLS
			}
		}
		return nil
	}
	if err := fill(0); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(buf[14:]))
	if length > maxProxyHeader {
		t.replay = buf
		return nil, errNotTLS
	}
	buf = append(buf, make([]byte, length)...)
	if err := fill(proxyFixed); err != nil {
		return nil, err
	}
	t.replay = nil
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(buf)))
	if err != nil || header.Version != 2 {
		t.replay = buf
		return nil, errNotTLS
	}
	return header, nil
}

// NegotiatedReason is StrictReason for a connection of which only the outcome is
// known: whether minTlsVersion 1.2 with the recommended suites would have
// refused these parameters.
func NegotiatedReason(version, suite uint16) string {
	switch {
	case strictPolicy.Allows(version, suite):
		return ""
	case version < VersionTLS12:
		return "negotiated " + versionWords(version)
	}
	return "negotiated " + versionWords(version) + " with " + strings.Replace(strings.TrimPrefix(SuiteName(suite), "TLS_"), "_WITH_", "_", 1)
}

func clipName(s string) string {
	if s == "" {
		return "no cipher suite"
	}
	return printable([]byte(s[:min(len(s), 64)]))
}

func proxyVersion(s string) uint16 {
	switch s {
	case "TLSv1", "TLSv1.0":
		return VersionTLS10
	case "TLSv1.1":
		return VersionTLS11
	case "TLSv1.2":
		return VersionTLS12
	case "TLSv1.3":
		return VersionTLS13
	case "SSLv3":
		return VersionSSL3
	}
	return 0
}

// suiteByName returns the number of a suite by OpenSSL's name, which is what
// HAProxy sends, or by IANA's; 0 if unknown.
func suiteByName(name string) uint16 {
	if id, ok := suitesByOpenSSL[name]; ok {
		return id
	}
	return numberByName(suiteNames, name)
}

func numberByName(names map[uint16]string, name string) uint16 {
	switch name { // OpenSSL's names of groups
	case "prime256v1", "P-256":
		name = "secp256r1"
	case "P-384":
		name = "secp384r1"
	case "P-521":
		name = "secp521r1"
	case "X25519":
		name = "x25519"
	case "X448":
		name = "x448"
	}
	for id, n := range names {
		if n == name {
			return id
		}
	}
	return 0
}

// suitesByOpenSSL are OpenSSL's own names of suites below TLS 1.3: those of the
// policies, and others that a proxy is often left to serve.
var suitesByOpenSSL = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B, "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
	"ECDHE-RSA-AES128-GCM-SHA256": 0xC02F, "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
	"ECDHE-ECDSA-AES128-SHA256": 0xC023, "ECDHE-ECDSA-AES256-SHA384": 0xC024,
	"ECDHE-RSA-AES128-SHA256": 0xC027, "ECDHE-RSA-AES256-SHA384": 0xC028,
	"DHE-RSA-AES256-GCM-SHA384": 0x009F, "DHE-RSA-AES128-GCM-SHA256": 0x009E,
	"AES256-GCM-SHA384": 0x009D, "AES128-GCM-SHA256": 0x009C, "AES256-SHA256": 0x003D, "AES128-SHA256": 0x003C,
	"ECDHE-RSA-AES256-SHA": 0xC014, "ECDHE-RSA-AES128-SHA": 0xC013, "AES256-SHA": 0x0035, "AES128-SHA": 0x002F,
	"ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9, "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8, "DHE-RSA-CHACHA20-POLY1305": 0xCCAA,
	"ECDHE-ECDSA-AES256-SHA": 0xC00A, "ECDHE-ECDSA-AES128-SHA": 0xC009,
	"DHE-RSA-AES256-SHA256": 0x006B, "DHE-RSA-AES128-SHA256": 0x0067, "DHE-RSA-AES256-SHA": 0x0039, "DHE-RSA-AES128-SHA": 0x0033,
	"DES-CBC3-SHA": 0x000A, "RC4-SHA": 0x0005, "RC4-MD5": 0x0004,
}
