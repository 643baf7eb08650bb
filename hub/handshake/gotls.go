package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
)

const engineGo = "go"

// goEngine serves with crypto/tls.
type goEngine struct {
	mu      sync.Mutex
	configs map[goConfigKey]*tls.Config
}

// There are few policies and ALPN lists, and many connections: configurations
// are made once.
type goConfigKey struct {
	policy *Policy
	alpn   string
}

func newGoEngine() *goEngine { return &goEngine{configs: map[goConfigKey]*tls.Config{}} }

// negotiation is what the engine is told about one connection, and what it
// notes. It travels with the net.Conn, so that connections share a Config.
type negotiation struct {
	*Transport
	certs     *Certificates
	verdict   *Verdict
	signature uint16
	key       string
}

func (e *goEngine) accept(t *Transport, hello *Hello, choice Choice, v *Verdict, r *Report) (*Conn, error) {
	n := &negotiation{Transport: t, certs: choice.Certificates, verdict: v}
	config := e.config(choice)
	if choice.Policy.MinVersion >= VersionTLS12 && lacksCurve(hello) {
		config = config.Clone()
		config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { return judgeRaw(hello, raw) }
	}
	if v.narrow && len(v.goSuites) > 0 { // none would mean the default ones
		config = config.Clone()
		config.CipherSuites = v.goSuites
	}
	c := tls.Server(n, config)
	if err := c.Handshake(); err != nil {
		r.AlertReceived = remoteAlert(err)
		return nil, e.translate(err, n, r)
	}
	s := c.ConnectionState()
	r.Version, r.Suite, r.Group = s.Version, s.CipherSuite, uint16(s.CurveID)
	r.ALPN, r.Resumed, r.PeerCertificates = s.NegotiatedProtocol, s.DidResume, s.PeerCertificates
	r.Signature, r.ServerKey = n.signature, n.key
	n.certs, n.verdict = nil, nil // an idle connection keeps what it needs
	return &Conn{Conn: c, t: t}, nil
}

// lacksCurve reports whether an ECDSA client certificate could break the
// document's rule about curves, see JudgeClientKey.
func lacksCurve(h *Hello) bool {
	return len(h.Groups) > 0 && len(common([]uint16{23, 24, 25}, h.Groups)) < 3
}

func judgeRaw(h *Hello, raw [][]byte) error {
	if len(raw) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	if reason := JudgeClientKey(h, leaf); reason != "" {
		return &refusedError{ReasonClientCert, reason}
	}
	return nil
}

func (e *goEngine) config(choice Choice) *tls.Config {
	key := goConfigKey{choice.Policy, strings.Join(choice.ALPN, ",")}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.configs[key]; c != nil {
		return c
	}
	c := &tls.Config{
		MinVersion:             choice.Policy.MinVersion,
		MaxVersion:             VersionTLS13,
		CipherSuites:           slices.DeleteFunc(slices.Clone(choice.Policy.Suites), func(id uint16) bool { return !suiteKinds[id].inGo }),
		ClientAuth:             tls.RequestClientCert,
		GetCertificate:         pickCertificate,
		SessionTicketsDisabled: true,
		NextProtos:             choice.ALPN,
	}
	e.configs[key] = c
	return c
}

// pickCertificate takes the ECDSA certificate where the offer permits it.
func pickCertificate(chi *tls.ClientHelloInfo) (*tls.Certificate, error) {
	n := chi.Conn.(*negotiation)
	c := n.certs.ECDSA
	if c == nil || !n.verdict.ecdsa && n.certs.RSA != nil {
		c = n.certs.RSA
	}
	n.key = keyKind(c.public())
	return c.recorded(n.verdict.Version, &n.signature), nil
}

// remoteAlert returns the alert that crypto/tls has received. Its type is not
// exported, but it is a number.
func remoteAlert(err error) Alert {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return NewAlert(uint8(v.Uint()))
		}
	}
	return 0
}

// translate gives a name to what crypto/tls only says in words: alerts that it
// sent encrypted, which cannot be seen on the wire. The texts are pinned by a
// test, so that a new Go version that changes them is noticed.
func (e *goEngine) translate(err error, n *negotiation, r *Report) error {
	var refused *refusedError
	if errors.As(err, &refused) {
		r.AlertSent = NewAlert(alertBadCertificate)
		return err
	}
	for _, known := range []struct {
		text  string
		alert uint8
		words string
	}{
		{"invalid signature by the client certificate", alertDecryptError, "the client did not prove that it holds the key of its certificate"},
		{"client certificate used with invalid signature algorithm", alertIllegalParameter, "the client signed with an algorithm that was not offered to it"},
		{"failed to parse client certificate", alertDecodeError, "the client certificate does not parse"},
		{"client certificate contains an unsupported public key", alertUnsupportedCertificate, "the client certificate has a key of an unsupported type"},
		{"client sent certificate containing RSA key larger than", alertBadCertificate, "the client certificate's RSA key is too long"},
	} {
		if strings.Contains(err.Error(), known.text) {
			r.AlertSent = NewAlert(known.alert)
			return &refusedError{ReasonClientCert, known.words}
		}
	}
	return err
}

// A Conn is a TLS connection whose handshake is complete.
type Conn struct {
	net.Conn // the engine's
	t        *Transport

	mu    sync.Mutex
	alert Alert
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		if a := remoteAlert(err); a != 0 {
			c.mu.Lock()
			c.alert = a
			c.mu.Unlock()
		}
	}
	return n, err
}

// AlertReceived returns the fatal alert that ended the connection after the
// handshake: a TLS 1.3 client may refuse the server's certificate only then.
func (c *Conn) AlertReceived() Alert {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alert
}

// Transport returns the TCP side, for its counters.
func (c *Conn) Transport() *Transport { return c.t }
