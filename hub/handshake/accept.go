package handshake

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Config configures an Acceptor.
type Config struct {
	// HelloTimeout is how long a client may take for its ClientHello; 5 s when
	// zero.
	HelloTimeout time.Duration
	// Timeout is how long the handshake may take after it; 10 s when zero.
	Timeout time.Duration
	// LibSSL is the file of OpenSSL's libssl, as the system's loader takes it;
	// "libssl.so.3" when empty, and "none" to go without the second engine.
	LibSSL string
}

// DefaultConfig returns the timeouts as they are when nothing is set.
func DefaultConfig() Config {
	return Config{HelloTimeout: 5 * time.Second, Timeout: 10 * time.Second}
}

// An Acceptor does the server's side of handshakes.
type Acceptor struct {
	config Config
	goTLS  *goEngine

	openSSL *sslEngine // nil when it could not be loaded, for this reason:
	noSSL   error
}

// New returns an Acceptor.
func New(config Config) (*Acceptor, error) {
	d := DefaultConfig()
	if config.HelloTimeout == 0 {
		config.HelloTimeout = d.HelloTimeout
	}
	if config.Timeout == 0 {
		config.Timeout = d.Timeout
	}
	if config.HelloTimeout < 0 || config.Timeout < 0 {
		return nil, errors.New("handshake: negative timeout")
	}
	a := &Acceptor{config: config, goTLS: newGoEngine()}
	a.openSSL, a.noSSL = newSSLEngine(config.LibSSL)
	return a, nil
}

// A Choice is what the caller decides about a connection when it has seen the
// ClientHello.
type Choice struct {
	Policy       *Policy
	Certificates *Certificates
	// ALPN are the application protocols that the server speaks, best first;
	// none means that the extension is ignored.
	ALPN []string
}

// A Stage is how far a connection came before it failed; its values are those
// of the event column Stage.
type Stage string

// The stages of a handshake.
const (
	StageTCP       Stage = "tcp"
	StageHello     Stage = "hello"
	StageHandshake Stage = "handshake"
)

// A Reason is the stable cause of a failed handshake.
type Reason uint8

// The reasons of failed handshakes.
const (
	ReasonSilent       Reason = iota + 1 // no byte within the time
	ReasonClosedSilent                   // closed without a byte: a port scan, a health check
	ReasonHelloTimeout                   // a part of a ClientHello within the time
	ReasonHelloClosed                    // closed within the ClientHello
	ReasonNotTLS                         // another protocol: see Report.Kind
	ReasonBadHello                       // a ClientHello that does not parse
	ReasonVersion                        // no common version
	ReasonDowngrade                      // TLS_FALLBACK_SCSV
	ReasonOffer                          // no common suite, group or signature algorithm
	ReasonClientAlert                    // the client refused: see Report.AlertReceived
	ReasonClientClosed                   // the client closed without an alert
	ReasonClientCert                     // the client certificate or its proof is unusable
	ReasonTimeout                        // the handshake took too long
	ReasonProtocol                       // the client broke the protocol
	ReasonInternal                       // our fault
)

// A Failure says why there is no connection.
type Failure struct {
	Stage  Stage
	Reason Reason
	// Description is for people. It names no internal detail, but it is for the
	// event: the peer gets an alert and nothing else.
	Description string
	// Err is the engine's or the socket's error, for the debug log.
	Err error
}

func (f *Failure) Error() string { return string(f.Stage) + ": " + f.Description }

// A Report tells what happened, whether or not there is a connection.
type Report struct {
	// Kind is what the client began with; Hello is nil unless it was a
	// ClientHello that could be parsed.
	Kind  Kind
	Hello *Hello
	// Failure is nil when the handshake is complete.
	Failure *Failure

	// Engine is "go" or "openssl"; empty when none was asked.
	Engine string
	// Missing names what the hub could not do for want of libssl, though policy
	// allows it and the client asks for it: a cipher suite, or
	// "max_fragment_length". MissingWhy says why it could not: there is no
	// libssl, or it cannot use the certificates.
	Missing    string
	MissingWhy string

	// What was negotiated. Group is 0 for RSA key exchange, Signature where none
	// was made or its scheme has no number.
	Version   uint16
	Suite     uint16
	Group     uint16
	Signature uint16
	ALPN      string
	Resumed   bool
	// MaxFragmentLength is the limit in force in bytes, 0 for none.
	MaxFragmentLength int
	// ServerKey is the kind of the certificate that was used: RSA or ECDSA.
	ServerKey string
	// ServerName is the SNI of a connection behind a proxy, which has no Hello.
	ServerName string
	// PeerCertificates is the client's chain as sent, leaf first. Possession of
	// the leaf's key is proven, nothing else is.
	PeerCertificates []*x509.Certificate

	// AlertSent and AlertReceived are the fatal ones, by either side.
	AlertSent     Alert
	AlertReceived Alert

	// Started is when the ClientHello was complete, Took the time from then to
	// the end of the handshake.
	Started time.Time
	Took    time.Duration
}

// Accept reads a ClientHello from t, asks choose by which rules to go on, and
// does the handshake. It returns nil and closes t when that fails; the Report is
// never nil. choose is not called without a ClientHello.
//
// Deadlines on t are set and, on success, cleared. To end a handshake early,
// close t.
func (a *Acceptor) Accept(t *Transport, choose func(*Hello) Choice) (*Conn, *Report) {
	r := new(Report)
	t.SetDeadline(time.Now().Add(a.config.HelloTimeout))
	hello, kind, err := Peek(t)
	r.Kind, r.Hello, r.Started = kind, hello, time.Now()
	if err != nil {
		a.refuseHello(t, r, err)
		t.Close()
		return nil, r
	}
	t.SetDeadline(r.Started.Add(a.config.Timeout))

	choice := choose(hello)
	verdict := choice.Policy.Judge(hello, choice.Certificates)
	conn, err := a.dispatch(t, hello, choice, &verdict, r)
	r.Took = time.Since(r.Started)
	sent, received := t.alerts()
	if r.AlertSent == 0 {
		r.AlertSent = sent
	}
	if r.AlertReceived == 0 || received != 0 {
		r.AlertReceived = received
	}
	t.unwatch()
	if err != nil {
		r.Failure = explain(err, hello, choice.Policy, &verdict, r)
		t.Close()
		return nil, r
	}
	t.SetDeadline(noDeadline)
	if r.Version == VersionTLS13 {
		acknowledgeNow(t.Conn)
	}
	return conn, r
}

// dispatch hands the connection to the engine that can serve it.
func (a *Acceptor) dispatch(t *Transport, hello *Hello, choice Choice, v *Verdict, r *Report) (*Conn, error) {
	if !v.OK {
		// The verdict that readiness reports count by is the one that is carried
		// out. The engines hold the policy too, but they differ in corners.
		number, _ := v.Alert.Number()
		a.alert(t, r, number)
		return nil, errVerdict
	}
	if need := needsOpenSSL(hello, v); need != "" {
		why := a.unusable(choice)
		if why == "" {
			r.Engine = engineOpenSSL
			return a.openSSL.accept(t, hello, choice, v, r)
		}
		r.Missing, r.MissingWhy = need, why
	}
	r.Engine = engineGo
	return a.goTLS.accept(t, hello, choice, v, r)
}

// errVerdict says that the offer was refused before any engine saw it.
var errVerdict = errors.New("the policy does not serve the offer")

// noDeadline clears a deadline.
var noDeadline time.Time

// refuseHello describes a connection that came to no ClientHello, and answers
// with an alert where a TLS client can read one.
func (a *Acceptor) refuseHello(t *Transport, r *Report, err error) {
	f := &Failure{Stage: StageHello, Err: err}
	r.Failure = f
	any := t.BytesRead() > 0
	switch {
	case errors.Is(err, errNotTLS):
		f.Reason, f.Description = ReasonNotTLS, "the client sent "+r.Kind.Words()+" to a TLS port"
		if r.Kind == KindSSL2 {
			f.Reason, f.Description = ReasonVersion, "client "+offersOnly(r.Hello)+", which is not served"
			a.alert(t, r, alertProtocolVersion)
		}
	case errors.Is(err, errTooLong):
		f.Reason, f.Description = ReasonBadHello, fmt.Sprintf("the ClientHello is longer than %d bytes", MaxHello)
		a.alert(t, r, alertDecodeError)
	case errors.Is(err, errHello):
		f.Reason, f.Description = ReasonBadHello, err.Error()
		a.alert(t, r, alertDecodeError)
	case isTimeout(err) && !any:
		f.Stage, f.Reason = StageTCP, ReasonSilent
		f.Description = fmt.Sprintf("the client sent nothing within %v", a.config.HelloTimeout)
	case isTimeout(err):
		f.Reason = ReasonHelloTimeout
		f.Description = fmt.Sprintf("no complete ClientHello within %v: %d bytes came", a.config.HelloTimeout, t.BytesRead())
	case !any:
		f.Stage, f.Reason, f.Description = StageTCP, ReasonClosedSilent, "the client closed the connection without sending anything"
	default:
		f.Reason = ReasonHelloClosed
		f.Description = fmt.Sprintf("the client closed the connection after %d bytes, before a complete ClientHello", t.BytesRead())
	}
}

// alert sends an alert in clear, in a record of the version that every client reads.
func (a *Acceptor) alert(t *Transport, r *Report, number uint8) {
	t.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := t.Write([]byte{recordAlert, 3, 1, 0, 2, 2, number}); err == nil {
		r.AlertSent = NewAlert(number)
	}
}

// explain finds the words for a failed handshake: by what went over the wire
// first, then by the verdict on the offer, at last by the error.
func explain(err error, hello *Hello, policy *Policy, v *Verdict, r *Report) *Failure {
	f := &Failure{Stage: StageHandshake, Err: err}
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		f.Reason, f.Description = refused.reason, refused.words
	case r.AlertReceived != 0:
		f.Reason = ReasonClientAlert
		f.Description = "client sent alert " + r.AlertReceived.String() + meaning(r.AlertReceived)
	case !v.OK && !isClosed(err) && !isTimeout(err):
		f.Reason = ReasonOffer
		f.Description = "client " + offerWords(v.Reason) + "; " + policyWords(policy)
		if v.Version == 0 {
			f.Reason = ReasonVersion
		} else if n, _ := v.Alert.Number(); n == 86 {
			f.Reason = ReasonDowngrade
		}
	case r.Missing != "" && !isClosed(err) && !isTimeout(err):
		f.Reason = ReasonOffer
		f.Description = "client needs " + r.Missing + ", which only OpenSSL serves: " + r.MissingWhy
	case isTimeout(err):
		f.Reason, f.Description = ReasonTimeout, "the client did not finish the handshake in time"
	case isClosed(err):
		f.Reason = ReasonClientClosed
		f.Description = "the client closed the connection during the handshake, without an alert"
	default:
		f.Reason, f.Description = ReasonProtocol, "the client broke the TLS protocol"
	}
	if r.AlertSent != 0 {
		f.Description += "; alert " + r.AlertSent.String() + " sent"
	}
	return f
}

// offerWords makes a verdict's reason the rest of a sentence that begins with
// "client".
func offerWords(reason string) string {
	if strings.HasPrefix(reason, "TLS") {
		return "offers " + reason
	}
	return reason
}

func policyWords(p *Policy) string {
	switch p {
	case strictPolicy:
		return "hub requires TLS 1.2 with a recommended suite, or TLS 1.3"
	case tls13Policy:
		return "hub requires TLS 1.3"
	}
	return "hub serves TLS 1.0 to 1.3 with its recommended and legacy suites"
}

// meaning explains the alerts by which clients refuse a server.
func meaning(a Alert) string {
	n, _ := a.Number()
	switch n {
	case 48:
		return ": it does not trust the CA of the hub's certificate"
	case 42, 43, 46:
		return ": it does not accept the hub's certificate"
	case 44, 45:
		return ": it takes the hub's certificate for revoked or expired"
	case 40:
		return ": it found no acceptable parameters"
	case 70:
		return ": it does not accept the TLS version"
	}
	return ""
}

// A refusedError is a refusal that we decided on, beyond what the engine does.
type refusedError struct {
	reason Reason
	words  string
}

func (e *refusedError) Error() string { return e.words }

// isTimeout reports whether err is a passed deadline.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// isClosed reports whether err says that the connection was ended, in whatever
// manner and by whomever.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
