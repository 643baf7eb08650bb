package handshake

import (
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/ebitengine/purego"
)

const engineOpenSSL = "openssl"

// libsslNone as Config.LibSSL means to go without.
const libsslNone = "none"

// sslEngine serves with OpenSSL what crypto/tls lacks: two suites with CBC and
// SHA-384, finite-field Diffie-Hellman, RSA_WITH_AES_256_CBC_SHA256, SHA-1
// signatures of old clients, and max_fragment_length.
//
// ALPN is the one thing that it does not do: libssl selects a protocol only
// through a callback. A server may leave the extension out (RFC 7301 3.1), and
// the client then speaks what the port is for.
type sslEngine struct {
	lib *libssl

	mu       sync.Mutex
	contexts map[sslContextKey]*sslContext

	// flows are memory BIOs that no connection uses at the moment.
	flows chan flow
	// Goroutines in C hold a thread each, and Go ends the process at 10,000 of
	// them. So the number that may be in there is bounded, for handshakes, which
	// take about a millisecond, and apart from them for connections, which must
	// not queue behind a flood of handshakes.
	handshakes, calls chan struct{}

	live atomic.Int64 // sessions that are not freed
}

// A flow is a pair of memory BIOs: what has come from the peer, what is to be
// sent. A session has one only while there is something in it.
type flow struct{ in, out uintptr }

// Certificates are known weakly: when they are replaced and the last connection
// that needs them is under way, the garbage collector takes them, and their
// contexts go with them.
type sslContextKey struct {
	policy *Policy
	certs  weak.Pointer[Certificates]
}

// sslContext is an SSL_CTX, or the reason why there is none.
type sslContext struct {
	ctx uintptr
	err error
}

func newSSLEngine(name string) (*sslEngine, error) {
	if name == libsslNone {
		return nil, errSwitchedOff
	}
	if name == "" {
		name = "libssl.so.3"
		if runtime.GOOS == "darwin" {
			name = "libssl.3.dylib"
		}
	}
	lib, err := loadLibSSL(name)
	if err != nil {
		return nil, err
	}
	return &sslEngine{
		lib:        lib,
		contexts:   map[sslContextKey]*sslContext{},
		flows:      make(chan flow, 64),
		handshakes: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		calls:      make(chan struct{}, 8*runtime.GOMAXPROCS(0)),
	}, nil
}

// context returns the SSL_CTX for a policy and certificates.
func (e *sslEngine) context(policy *Policy, certs *Certificates) (uintptr, error) {
	key := sslContextKey{policy, weak.Make(certs)}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.contexts[key]
	if c == nil {
		c = new(sslContext)
		c.ctx, c.err = e.lib.newContext(policy, certs)
		e.contexts[key] = c
		runtime.AddCleanup(certs, e.drop, key)
	}
	return c.ctx, c.err
}

// drop frees the context of certificates that are gone. Sessions that were made
// from it keep what they need of it.
func (e *sslEngine) drop(key sslContextKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.contexts[key]; c != nil && c.ctx != 0 {
		purego.SyscallN(e.lib.ctxFree, c.ctx)
	}
	delete(e.contexts, key)
}

// newContext makes an SSL_CTX that serves exactly what the policy allows.
func (l *libssl) newContext(policy *Policy, certs *Certificates) (ctx uintptr, err error) {
	method, _, _ := purego.SyscallN(l.serverMethod)
	if ctx, err = l.object(l.ctxNew, method); err != nil {
		return 0, fmt.Errorf("SSL_CTX_new: %w", err)
	}
	defer func() {
		if err != nil {
			purego.SyscallN(l.ctxFree, ctx)
			ctx = 0
		}
	}()

	legacy := policy.MinVersion < VersionTLS12
	// No resumption: every connection shows its certificate. No renegotiation:
	// what the event says stays true.
	purego.SyscallN(l.ctxOptions, ctx, opNoTicket|opNoCompression|opServerPreference|opNoRenegotiation)
	purego.SyscallN(l.ctxCtrl, ctx, ctrlSessionCacheMode, 0, 0)
	purego.SyscallN(l.ctxCtrl, ctx, ctrlMode, modeMovingBuffer|modeNoAutoChain|modeReleaseBuffers, 0)
	purego.SyscallN(l.ctxCtrl, ctx, ctrlMaxCertList, maxPeerChain, 0)
	// The suites and algorithms are listed one by one. The level is a second
	// judge beside the lists, which would refuse TLS 1.0, 1.1 and SHA-1 that
	// legacy hubs serve.
	level := uintptr(1)
	if legacy {
		level = 0
	}
	purego.SyscallN(l.ctxLevel, ctx, level)

	set := func(what string, fn uintptr, args ...uintptr) {
		if err == nil {
			if _, err = l.check(fn, append([]uintptr{ctx}, args...)...); err != nil {
				err = fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	text := func(what string, s string, fn uintptr, args ...uintptr) {
		if err == nil {
			if err = l.setText(s, fn, append([]uintptr{ctx}, args...)...); err != nil {
				err = fmt.Errorf("%s %s: %w", what, s, err)
			}
		}
	}
	set("TLS 1.3 tickets", l.ctxTickets, 0)
	set("lowest version", l.ctxCtrl, ctrlMinVersion, uintptr(policy.MinVersion), 0)
	set("highest version", l.ctxCtrl, ctrlMaxVersion, uintptr(VersionTLS13), 0)
	suites := func(what string, ids []uint16, fn uintptr) {
		if err == nil && len(ids) > 0 {
			var list string
			if list, err = l.suiteList(ids); err == nil {
				text(what, list, fn)
			}
		}
	}
	suites("suites", policy.Suites, l.ctxCipherList)
	suites("TLS 1.3 suites", suites13, l.ctxSuites13)
	if l.setText("X25519MLKEM768:"+sslGroups, l.ctxCtrl, ctx, ctrlGroups, 0) != nil {
		text("groups", sslGroups, l.ctxCtrl, ctrlGroups, 0) // OpenSSL before 3.5 has no ML-KEM
	}
	var algorithms []string
	for _, id := range sslSignatures {
		algorithms = append(algorithms, SignatureName(id))
	}
	if legacy {
		algorithms = append(algorithms, "ECDSA+SHA1", "RSA+SHA1")
	}
	text("signature algorithms", strings.Join(algorithms, ":"), l.ctxCtrl, ctrlSigalgs, 0)
	// Diffie-Hellman parameters as strong as the certificate's key.
	set("DH parameters", l.ctxCtrl, ctrlDHAuto, 1, 0)

	// The client's certificate is requested and the possession of its key is
	// proven by the handshake itself. The chain is judged elsewhere, so the
	// verification has to pass in any case, and it must not call Go. Its place
	// takes a C function that returns a positive number and does nothing else:
	// OPENSSL_version_major. That it is given two arguments and takes none is
	// harmless where the caller passes them in registers and cleans up itself,
	// as on every platform that purego knows.
	purego.SyscallN(l.ctxVerify, ctx, verifyPeer|verifyClientOnce, 0)
	purego.SyscallN(l.ctxVerifyFunc, ctx, l.versionMajor, 0)

	for _, c := range []*Certificate{certs.ECDSA, certs.RSA} {
		if c != nil && err == nil {
			err = l.useCertificate(ctx, c)
		}
	}
	return ctx, err
}

// maxPeerChain is how long a client's certificates may be together.
const maxPeerChain = 64 << 10

// sslGroups are groups12 in OpenSSL's words, in the order in which crypto/tls
// prefers them.
const sslGroups = "X25519:P-256:P-384:P-521"

// sslSignatures are what the server signs with and takes of clients, best first.
// Legacy hubs add the two with SHA-1.
var sslSignatures = []uint16{
	0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0401, 0x0501, 0x0601,
}

// suiteList returns OpenSSL's names of suites, in their order. OpenSSL itself
// passes over names that it does not know; a library that lacks a suite is an
// error here, so that a hub never serves less than its policy without a word.
func (l *libssl) suiteList(suites []uint16) (string, error) {
	names := make([]string, len(suites))
	for i, id := range suites {
		if names[i] = l.cipherName(SuiteName(id)); names[i] == "(NONE)" {
			return "", fmt.Errorf("%s does not have %s", l.version, SuiteName(id))
		}
	}
	return strings.Join(names, ":"), nil
}

// useCertificate gives a context a chain and its key. The key's bytes pass
// through memory, so it must be one that can be exported.
func (l *libssl) useCertificate(ctx uintptr, c *Certificate) error {
	subject := c.Leaf().Subject
	for i, der := range c.chain.Certificate {
		cert, err := l.parse(l.d2iX509, der)
		if err != nil {
			return fmt.Errorf("server certificate %q: %w", subject, err)
		}
		if i == 0 {
			_, err = l.check(l.ctxCertificate, ctx, cert)
			purego.SyscallN(l.x509Free, cert)
		} else if _, err = l.check(l.ctxCtrl, ctx, ctrlChainCert, 0, cert); err != nil {
			purego.SyscallN(l.x509Free, cert) // else it belongs to the context
		}
		if err != nil {
			return fmt.Errorf("server certificate %q: %w", subject, err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.chain.PrivateKey)
	if err != nil {
		return fmt.Errorf("server certificate %q: %w: %w", subject, errKeyStays, err)
	}
	defer clear(der)
	key, err := l.parse(l.d2iKey, der)
	if err != nil {
		return fmt.Errorf("server certificate %q: key: %w", subject, err)
	}
	defer purego.SyscallN(l.keyFree, key)
	if _, err := l.check(l.ctxKey, ctx, key); err != nil {
		return fmt.Errorf("server certificate %q: key: %w", subject, err)
	}
	return nil
}

// needsOpenSSL returns what a client asks for that policy allows and crypto/tls
// does not have: a suite's name, "max_fragment_length", or "".
func needsOpenSSL(hello *Hello, v *Verdict) string {
	switch {
	case !v.OK:
		return ""
	case !v.inGo:
		return v.needs
	case hello.MaxFragmentLength != 0 && v.inSSL: // else better a connection without the limit than none
		return "max_fragment_length"
	}
	return ""
}

// SecondEngine returns the version of the OpenSSL that serves what crypto/tls
// lacks, or why there is none. The hub works without: the two weakest of the
// recommended suites, some legacy ones and max_fragment_length are then missing,
// and Report.Missing names what a client would have needed.
func (a *Acceptor) SecondEngine() (version string, err error) {
	if a.openSSL == nil {
		return "", a.noSSL
	}
	return a.openSSL.lib.version, nil
}

// Prepare makes the second engine ready for a policy and certificates, which
// takes a few milliseconds and is otherwise done at the first connection that
// needs it. An error means that these certificates cannot be used there, such
// as one whose key is in a token.
func (a *Acceptor) Prepare(policy *Policy, certs *Certificates) error {
	if a.openSSL == nil {
		return a.noSSL
	}
	_, err := a.openSSL.context(policy, certs)
	return err
}

// unusable says why there is no OpenSSL that can serve a choice; "" if there is one.
func (a *Acceptor) unusable(choice Choice) string {
	switch {
	case a.openSSL == nil && errors.Is(a.noSSL, errSwitchedOff):
		return "libssl is switched off"
	case a.openSSL == nil && errors.Is(a.noSSL, errNoLibSSL):
		return "libssl could not be loaded"
	case a.openSSL == nil:
		return "libssl is there, but cannot be used"
	}
	_, err := a.openSSL.context(choice.Policy, choice.Certificates)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errKeyStays):
		return "it cannot have the key of the hub's certificate, which does not leave its token"
	}
	return "it cannot serve with the hub's policy and certificates"
}

// Why OpenSSL is not used.
var (
	errSwitchedOff = errors.New("libssl is switched off")
	errNoLibSSL    = errors.New("libssl could not be loaded")
	errKeyStays    = errors.New("the key cannot be exported")
)

// accept does the handshake of one connection.
func (e *sslEngine) accept(t *Transport, hello *Hello, choice Choice, v *Verdict, r *Report) (*Conn, error) {
	ctx, err := e.context(choice.Policy, choice.Certificates)
	if err != nil {
		return nil, &refusedError{ReasonInternal, "the hub cannot use OpenSSL with its certificates"}
	}
	c, err := e.open(ctx, t)
	runtime.KeepAlive(choice.Certificates)
	if err == nil && v.narrow && len(v.Suites) > 0 {
		var list string
		if list, err = e.lib.suiteList(v.Suites); err == nil {
			err = e.lib.setText(list, e.lib.sslSuites, c.ssl)
		}
		if err != nil {
			c.free()
		}
	}
	if err != nil {
		return nil, &refusedError{ReasonInternal, "the hub could not start an OpenSSL session"}
	}
	if err := c.handshake(); err != nil {
		err = c.translate(err, hello, r)
		c.free()
		return nil, err
	}
	if err := c.describe(r); err != nil {
		c.Close()
		return nil, err
	}
	if len(r.PeerCertificates) > 0 && choice.Policy.MinVersion >= VersionTLS12 {
		if reason := JudgeClientKey(hello, r.PeerCertificates[0]); reason != "" {
			c.Close()
			return nil, &refusedError{ReasonClientCert, reason}
		}
	}
	return &Conn{Conn: c, t: t}, nil
}

// describe notes what was negotiated.
func (c *sslConn) describe(r *Report) error {
	l := c.e.lib
	version, _, _ := purego.SyscallN(l.sslVersion, c.ssl)
	cipher, _, _ := purego.SyscallN(l.sslCipher, c.ssl)
	suite, _, _ := purego.SyscallN(l.cipherID, cipher)
	r.Version, r.Suite = uint16(version), uint16(suite)

	kind := suiteKinds[r.Suite]
	if r.Version >= VersionTLS13 || kind.ecdhe {
		nid, _, _ := purego.SyscallN(l.sslCtrl, c.ssl, ctrlNegotiatedGroup, 0, 0)
		r.Group = groupOf(int32(nid))
	}
	var hash, typ int32
	purego.SyscallN(l.sslCtrl, c.ssl, ctrlSignatureHash, 0, uintptr(unsafe.Pointer(&hash)))
	purego.SyscallN(l.sslSigType, c.ssl, uintptr(unsafe.Pointer(&typ)))
	// RSA key exchange signs nothing, and TLS before 1.2 had no numbers.
	if r.Version >= VersionTLS12 && (r.Version >= VersionTLS13 || kind.ecdhe || kind.dhe) {
		r.Signature = schemeNumber(hash, typ)
	}
	r.ServerKey = "RSA"
	if r.Version >= VersionTLS13 && typ == nidECDSA || kind.ecdsa {
		r.ServerKey = "ECDSA"
	}
	session, _, _ := purego.SyscallN(l.sslSession, c.ssl)
	if code, _, _ := purego.SyscallN(l.sessionMFL, session); uint8(code) >= 1 && uint8(code) <= 4 {
		r.MaxFragmentLength = 256 << uint8(code)
	}
	var err error
	r.PeerCertificates, err = c.peerCertificates()
	return err
}

// peerCertificates returns the client's chain, leaf first.
func (c *sslConn) peerCertificates() ([]*x509.Certificate, error) {
	l := c.e.lib
	leaf, _, _ := purego.SyscallN(l.sslPeer, c.ssl)
	if leaf == 0 {
		return nil, nil
	}
	list := []uintptr{leaf}
	// On the server's side the chain is without the leaf.
	chain, _, _ := purego.SyscallN(l.sslPeerChain, c.ssl)
	if chain != 0 {
		n, _, _ := purego.SyscallN(l.skNum, chain)
		for i := range int32(n) {
			cert, _, _ := purego.SyscallN(l.skValue, chain, uintptr(i))
			list = append(list, cert)
		}
	}
	certs := make([]*x509.Certificate, len(list))
	for i, at := range list {
		der, err := l.encode(at)
		if err == nil {
			certs[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			return nil, &refusedError{ReasonClientCert, "the client certificate does not parse"}
		}
	}
	return certs, nil
}

// OpenSSL's numbers of algorithms.
const (
	nidRSA    = 6
	nidRSAPSS = 912
	nidECDSA  = 408
)

var (
	groupNIDs = map[int32]uint16{415: 23, 715: 24, 716: 25, 1034: 29, 1035: 30, 1126: 256, 1127: 257, 1128: 258, 1129: 259, 1130: 260}
	hashNIDs  = map[int32]uint16{64: 2, 672: 4, 673: 5, 674: 6}
)

// groupOf returns the number of a group by its NID. Groups without one come as
// their number with a mark (TLSEXT_nid_unknown).
func groupOf(nid int32) uint16 {
	if nid&0x1000000 != 0 {
		return uint16(nid)
	}
	return groupNIDs[nid]
}

// schemeNumber returns the signature scheme of a hash and a kind of signature.
func schemeNumber(hash, typ int32) uint16 {
	h := hashNIDs[hash]
	switch {
	case h == 0:
	case typ == nidECDSA:
		return h<<8 | 3
	case typ == nidRSA:
		return h<<8 | 1
	case typ == nidRSAPSS: // with a key that is not bound to PSS
		return 0x0800 | h
	}
	return 0
}

const (
	alertBadRecordMAC   = 20
	alertRecordOverflow = 22
)

// sslReasons says of libssl's reasons (SSL_R_...) which alert was sent for it.
// Alerts in clear are seen on the wire; these are needed where it is encrypted.
// Words are given where the cause is not what the general texts say.
var sslReasons = map[int]struct {
	alert  uint8
	reason Reason
	words  string
}{
	123: {alertDecryptError, ReasonClientCert, "the client did not prove that it holds the key of its certificate"},                 // BAD_SIGNATURE
	370: {alertIllegalParameter, ReasonClientCert, "the client signed with an algorithm that was not offered to it"},                // WRONG_SIGNATURE_TYPE
	333: {alertHandshakeFailure, ReasonClientCert, "the client signed with an algorithm that is not served"},                        // LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED
	378: {alertIllegalParameter, ReasonClientCert, "the client certificate's key is on a curve that is not offered"},                // WRONG_CURVE
	162: {alertIllegalParameter, ReasonClientCert, "the client certificate's key is given as a compressed point"},                   // ILLEGAL_POINT_COMPRESSION
	135: {alertDecodeError, ReasonClientCert, "the client certificate does not parse"},                                              // CERT_LENGTH_MISMATCH
	247: {alertUnsupportedCertificate, ReasonClientCert, "the client certificate has a key of an unsupported type"},                 // UNKNOWN_CERTIFICATE_TYPE
	220: {alertIllegalParameter, ReasonClientCert, "the client certificate has a key of an unsupported type"},                       // SIGNATURE_FOR_NON_SIGNING_CERTIFICATE
	152: {alertIllegalParameter, ReasonProtocol, "the client sent a message that is longer than allowed"},                           // EXCESSIVE_MESSAGE_SIZE
	258: {alertProtocolVersion, ReasonVersion, "OpenSSL found no TLS version in common"},                                            // UNSUPPORTED_PROTOCOL
	193: {alertHandshakeFailure, ReasonOffer, "OpenSSL found no cipher suite in common"},                                            // NO_SHARED_CIPHER
	376: {alertHandshakeFailure, ReasonOffer, "OpenSSL found no signature algorithm in common"},                                     // NO_SHARED_SIGNATURE_ALGORITHMS
	118: {alertHandshakeFailure, ReasonOffer, "OpenSSL found no signature algorithm in common"},                                     // NO_SUITABLE_SIGNATURE_ALGORITHM
	101: {alertHandshakeFailure, ReasonOffer, "OpenSSL found no key exchange group in common"},                                      // NO_SUITABLE_KEY_SHARE
	194: {alertRecordOverflow, ReasonProtocol, "the client sent a record that is longer than the max_fragment_length it asked for"}, // EXCEEDS_MAX_FRAGMENT_SIZE
	146: {alertRecordOverflow, ReasonProtocol, "the client sent a record that is longer than allowed"},                              // DATA_LENGTH_TOO_LONG
	198: {alertRecordOverflow, ReasonProtocol, "the client sent a record that is longer than allowed"},                              // PACKET_LENGTH_TOO_LONG
	150: {alertRecordOverflow, ReasonProtocol, "the client sent a record that is longer than allowed"},                              // ENCRYPTED_LENGTH_TOO_LONG
	281: {alertBadRecordMAC, ReasonProtocol, "a record of the client does not decrypt"},                                             // DECRYPTION_FAILED_OR_BAD_RECORD_MAC
	149: {alertDecryptError, ReasonProtocol, "the client's Finished message does not match the handshake"},                          // DIGEST_CHECK_FAILED
	244: {alertUnexpectedMessage, ReasonProtocol, "the client sent a message out of order"},                                         // UNEXPECTED_MESSAGE
	245: {alertUnexpectedMessage, ReasonProtocol, "the client sent a record out of order"},                                          // UNEXPECTED_RECORD
	133: {alertUnexpectedMessage, ReasonProtocol, "the client changed keys too early"},                                              // CCS_RECEIVED_EARLY
	154: {alertUnexpectedMessage, ReasonProtocol, "the client did not change keys before its Finished message"},                     // GOT_A_FIN_BEFORE_A_CCS
	443: {alertUnexpectedMessage, ReasonProtocol, "the client sent a record of an unknown type"},                                    // BAD_RECORD_TYPE
	267: {alertProtocolVersion, ReasonProtocol, "the client sent bytes that are no TLS record"},                                     // WRONG_VERSION_NUMBER
	159: {alertDecodeError, ReasonProtocol, "a message of the client does not parse"},                                               // LENGTH_MISMATCH
	147: {alertDecryptError, ReasonProtocol, "the client's key exchange does not decrypt"},                                          // DECRYPTION_FAILED
	306: {alertIllegalParameter, ReasonProtocol, "the client's key share is not a point of the curve"},                              // BAD_ECPOINT
	108: {alertIllegalParameter, ReasonProtocol, "the client's key share does not match what it offered"},                           // BAD_KEY_SHARE
}

// translate makes an error of a failed handshake one that explain has words for,
// and notes alerts that were encrypted.
func (c *sslConn) translate(err error, hello *Hello, r *Report) error {
	var failed *sslError
	if !errors.As(err, &failed) {
		return err
	}
	reason := failed.reason()
	if alert := alertOf(reason); alert != 0 {
		r.AlertReceived = alert
		return err
	}
	known, ok := sslReasons[reason]
	if !ok {
		return err
	}
	r.AlertSent = NewAlert(known.alert)
	if certs, _ := c.peerCertificates(); known.reason == ReasonClientCert && len(certs) > 0 {
		if words := JudgeClientKey(hello, certs[0]); words != "" {
			known.words = words
		}
	}
	return &refusedError{known.reason, known.words}
}

// alertOf returns the alert that the peer has sent by the reason that OpenSSL
// makes of it (SSL_AD_REASON_OFFSET).
func alertOf(reason int) Alert {
	if reason >= 1000 && reason <= 1255 {
		return NewAlert(uint8(reason - 1000))
	}
	return 0
}
