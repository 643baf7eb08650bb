package hub

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"hubscope/hub/handshake"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// A Conn is a connection whose handshake is complete, in the hands of a
// Protocol. Reads and writes are those of the TLS connection.
type Conn struct {
	*handshake.Conn
	c *connection

	mu       sync.Mutex
	sessions []*Session // open ones
	opened   bool       // there was one at all
	ended    bool       // by the hub
	refused  attempt    // the last refused one
	service  *service   // not nil for a client of the management API
}

// attempt is what an event says of credentials.
type attempt struct {
	claimed, module string
	auth, ca        string
	sdk, agent      string
}

// service is what is known of a client that manages the hub.
type service struct {
	policy, agent string
	requests      int64
}

// Served notes an authorized request of the management API: a connection that
// made some, and carried no device, was no refused one. policy names the shared
// access policy that the client used, if it did.
func (h *Conn) Served(policy, userAgent string) {
	h.mu.Lock()
	if h.service == nil {
		h.service = new(service)
	}
	h.service.policy, h.service.agent = clip(policy), clip(userAgent)
	h.service.requests++
	h.mu.Unlock()
	h.c.authenticated()
}

// AuthTimeout returns how long the client may take to authenticate.
func (h *Conn) AuthTimeout() time.Duration { return h.c.server.config.AuthTimeout }

// PeerCertificates returns the client's chain, leaf first. Possession of its
// key is proven, nothing else is.
func (h *Conn) PeerCertificates() []*x509.Certificate { return h.c.report.PeerCertificates }

// SetProtocol replaces the protocol's name in events, where a listener serves
// several.
func (h *Conn) SetProtocol(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.c.protocol = name
}

// A Claim is what a client says when it wants a session.
type Claim struct {
	// Host is the host name by which the client addresses the hub. Empty is the
	// hub that it has reached.
	Host               string
	DeviceID, ModuleID string
	// Token is the SAS token, if there is one.
	Token                 string
	SDKVersion, UserAgent string
	// Exclusive sessions end each other: a device has one at a time. Requests of
	// HTTPS are not exclusive.
	Exclusive bool
	// Deliver hands the device what the back end has for it, and reports whether
	// the device takes such things; nil where nothing can be delivered. It is
	// called from any goroutine, and must not block.
	Deliver func(Delivery) bool
	// Cut is called, at most once and from any goroutine, when the hub ends the
	// session. It must not block: it makes Begin and Speak return soon.
	Cut func(End)
}

// Open authenticates a device and opens its session. When the credentials are
// not accepted the refusal is for the event, and its Public for the peer.
// The protocol closes the session, or leaves that to the end of the connection.
func (h *Conn) Open(ctx context.Context, claim Claim) (*Session, *registry.Refusal) {
	s := h.c.server
	id, refusal := h.authenticate(ctx, claim)
	if refusal != nil {
		h.mu.Lock()
		h.refused = attempt{
			claimed: clip(claim.DeviceID), module: clip(claim.ModuleID), auth: refusal.Auth.EventName(), ca: refusal.CA,
			sdk: clip(claim.SDKVersion), agent: clip(claim.UserAgent),
		}
		h.mu.Unlock()
		return nil, refusal
	}
	session := &Session{
		h: h, id: id, current: id, module: claim.ModuleID, sdk: clip(claim.SDKVersion), agent: clip(claim.UserAgent),
		exclusive: claim.Exclusive, deliver: claim.Deliver, cut: claim.Cut, opened: time.Now(),
	}
	now := s.config.Now()
	old := s.sessions.add(session, func() int64 { return s.sequence.next(now) })
	if old != nil {
		old.end(End{TakenOver, ReasonTakenOver, "the device has connected again, on another connection"})
	}
	// A change of the registry between Authenticate and now was not ours yet.
	if refusal := s.config.Registry.Recheck(ctx, id); refusal != nil {
		s.sessions.remove(session)
		return nil, refusal
	}
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		s.sessions.remove(session)
		return nil, &registry.Refusal{Code: ServiceUnavailable.Code, Name: ServiceUnavailable.Name, Description: "the hub is shutting down"}
	}
	h.sessions = append(h.sessions, session)
	h.opened = true
	h.c.hubName.Store(&id.Hub)
	h.mu.Unlock()
	if id.Auth == registry.AuthSAS && !id.Expires.IsZero() {
		session.expire(id.Expires.Sub(now))
	}
	if claim.Exclusive {
		s.announce(session, true)
	}
	h.c.connected(session, now)
	return session, nil
}

func (h *Conn) authenticate(ctx context.Context, claim Claim) (*registry.Identity, *registry.Refusal) {
	s, report := h.c.server, h.c.report
	unauthorized := func(format string, args ...any) *registry.Refusal {
		auth := registry.AuthType("")
		if claim.Token != "" {
			auth = registry.AuthSAS
		}
		return &registry.Refusal{Code: Unauthorized.Code, Name: Unauthorized.Name, Description: fmt.Sprintf(format, args...), Auth: auth}
	}
	hubName := *h.c.hubName.Load()
	if claim.Host != "" {
		target, ok := s.config.Registry.HubFor(claim.Host)
		if !ok {
			return nil, unauthorized("there is no hub with the host name %q", clip(claim.Host))
		}
		if target.Name != hubName {
			// The handshake was done by another hub's rules: the client sent no
			// SNI, or that of a neighbour. It must not get round its own hub's.
			policy, err := handshake.PolicyFor(target.MinTLSVersion)
			if err != nil || !policy.Allows(report.Version, report.Suite) {
				return nil, unauthorized("hub %q does not serve TLS %s with %s, which was negotiated with hub %q",
					target.Name, handshake.VersionName(report.Version), handshake.SuiteName(report.Suite), hubName)
			}
			hubName = target.Name
		}
	}
	id, refusal := s.config.Registry.Authenticate(ctx, registry.Attempt{
		Hub: hubName, DeviceID: claim.DeviceID, ModuleID: claim.ModuleID, Token: claim.Token, Chain: report.PeerCertificates,
	})
	if refusal != nil {
		h.c.hubName.Store(&hubName)
	}
	return id, refusal
}

// Claimed notes what a client claims whose credentials do not come to be judged,
// for the event of its refusal.
func (h *Conn) Claimed(claim Claim) {
	a := attempt{claimed: clip(claim.DeviceID), module: clip(claim.ModuleID), sdk: clip(claim.SDKVersion), agent: clip(claim.UserAgent)}
	if claim.Token != "" {
		a.auth = registry.AuthSAS.EventName()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = a
}

// Refused is the end of a connection whose credentials were not accepted.
func Refused(r *registry.Refusal) End {
	return End{Result: refusalResult(r), Description: r.Description}
}

// EndOfRead is the end that an error of reading means: the client went away, or
// was silent for too long.
func (h *Conn) EndOfRead(err error) End {
	h.mu.Lock()
	opened := h.opened
	h.mu.Unlock()
	if a := h.AlertReceived(); a != 0 {
		return End{AlertReceived(a), ReasonConnectionLost, "client sent alert " + a.String()}
	}
	switch timeout := errors.Is(err, os.ErrDeadlineExceeded); {
	case timeout && opened:
		return End{ClosedRemotely, ReasonKeepAliveTimeout, "the client was silent for longer than its keep-alive time allows"}
	case timeout:
		return End{ConnectTimeout, "", fmt.Sprintf("the client did not authenticate within %v", h.AuthTimeout())}
	case !opened && isLost(err):
		return End{ClosedEarly, "", "the client closed the connection before it authenticated"}
	case isLost(err):
		return End{ClosedRemotely, ReasonConnectionLost, "the connection was closed by the client or the network, without a farewell"}
	}
	return End{FormatError, ReasonProtocolError, "the client broke the protocol"}
}

func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// begin lets the protocol hear the client, and hands over to a second goroutine.
func (h *Conn) begin(ctx context.Context) {
	speaker, end := Speaker(nil), End{}
	if p := h.guard(func() { speaker, end = h.c.speaks.Begin(ctx, h) }); p != nil {
		speaker, end = nil, *p
	}
	if speaker == nil {
		h.finish(end)
		return
	}
	go func() {
		var end End
		if p := h.guard(func() { end = speaker.Speak(ctx) }); p != nil {
			end = *p
		}
		h.finish(end)
	}()
}

// guard calls a protocol, and returns the end of a connection whose protocol
// has panicked: that must not take the others along.
func (h *Conn) guard(f func()) (end *End) {
	defer func() {
		if p := recover(); p != nil {
			h.c.server.log.Error("panic in a protocol", "panic", p, "stack", string(debug.Stack()))
			end = &End{ServerError, ReasonServerError, "internal error"}
		}
	}()
	f()
	return nil
}

// finish settles what is owed when the protocol is done.
func (h *Conn) finish(end End) {
	c := h.c
	defer c.gone()
	h.Close()
	h.mu.Lock()
	open, opened, ended, service := slices.Clone(h.sessions), h.opened, h.ended, h.service
	h.mu.Unlock()
	for _, s := range open {
		s.Close(end)
	}
	if opened {
		return
	}
	if service != nil {
		c.served(service, end)
		return
	}
	stage := ingest.StageAuth
	if a := h.AlertReceived(); a != 0 {
		// A TLS 1.3 client can refuse the server's certificate only now.
		end = End{Result: AlertReceived(a), Description: "client sent alert " + a.String() + " after the handshake"}
		c.report.AlertReceived = a
		stage = ingest.StageHandshake
	} else if ended {
		end = shutdownEnd
	}
	c.refuse(stage, end)
}

var shutdownEnd = End{ServiceUnavailable, ReasonShutdown, "the hub is shutting down"}

// shutdown ends the sessions, or the connection when it has none.
func (h *Conn) shutdown() {
	h.mu.Lock()
	h.ended = true
	open := slices.Clone(h.sessions)
	h.mu.Unlock()
	for _, s := range open {
		s.end(shutdownEnd)
	}
	if len(open) == 0 {
		h.c.transport.Close()
	}
}

// clip bounds what a stranger can make us store.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most]
	}
	return string([]rune(s)) // valid UTF-8
}

// A Session is an authenticated device on a connection.
type Session struct {
	h         *Conn
	id        *registry.Identity // what does not change: hub, device and kind of credentials
	module    string
	sdk       string
	agent     string
	exclusive bool
	deliver   func(Delivery) bool
	cut       func(End)
	opened    time.Time

	connectSeq, endSeq int64 // endSeq is reserved by a takeover
	messages           atomic.Int64

	mu       sync.Mutex
	current  *registry.Identity // what the session rests on now
	timer    *time.Timer
	ending   *End                    // decided by the hub
	closed   bool                    // the disconnect is published
	calls    map[string]func([]byte) // direct methods that wait for the device, by request id
	inFlight int                     // messages that are not accepted yet
	drained  chan struct{}           // closed when none is left, made by Close
}

// DeviceID returns the proven device id.
func (s *Session) DeviceID() string { return s.id.DeviceID }

// ModuleID returns the module of the device, if it is one.
func (s *Session) ModuleID() string { return s.module }

// HubName returns the name of the device's hub.
func (s *Session) HubName() string { return s.id.Hub }

// Ended reports whether the hub has ended the session.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending != nil
}

// Publish hands a message to telemetry. accepted is called once, with nil when
// the message is safe; it must not block. body is not kept beyond that.
func (s *Session) Publish(ctx context.Context, properties []Property, body []byte, accepted func(error)) {
	server := s.h.c.server
	s.mu.Lock()
	s.inFlight++
	s.mu.Unlock()
	m := &Message{
		Hub: s.id.Hub, DeviceID: s.id.DeviceID, ModuleID: s.module, ConnectionID: s.h.c.id,
		Protocol: s.h.c.protocol, Received: server.config.Now(), Properties: properties, Body: body,
	}
	server.config.Telemetry.PublishTelemetry(ctx, m, func(err error) {
		if err == nil {
			s.messages.Add(1)
		}
		server.metrics.telemetry(ctx, s, len(body), err)
		s.mu.Lock()
		if s.inFlight--; s.inFlight == 0 && s.drained != nil {
			close(s.drained)
			s.drained = nil
		}
		s.mu.Unlock()
		accepted(err)
	})
}

// Renew authenticates the device of the session again, with other credentials:
// a new token, where each request brings one. The session then rests on them. A
// refusal leaves it as it is.
func (s *Session) Renew(ctx context.Context, claim Claim) *registry.Refusal {
	id, refusal := s.h.authenticate(ctx, claim)
	if refusal != nil {
		return refusal
	}
	if id.Hub != s.id.Hub || id.DeviceID != s.id.DeviceID || id.ModuleID != s.id.ModuleID {
		return &registry.Refusal{Code: Unauthorized.Code, Name: Unauthorized.Name, Description: "the credentials are another device's"}
	}
	s.mu.Lock()
	s.current = id
	s.mu.Unlock()
	if id.Auth == registry.AuthSAS && !id.Expires.IsZero() {
		s.expire(id.Expires.Sub(s.h.c.server.config.Now()))
	}
	return nil
}

// identity returns what the session rests on.
func (s *Session) identity() *registry.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// expire ends the session when its SAS token does.
func (s *Session) expire(in time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(in, func() {
		s.end(End{Unauthorized, ReasonTokenExpired, "the SAS token has expired"})
	})
}

// end makes the session end for a reason of the hub's. The first one counts.
func (s *Session) end(e End) {
	s.mu.Lock()
	if s.ending != nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.ending = &e
	s.mu.Unlock()
	s.cut(e)
}

// maxDrain is how long a session that is over waits for its messages to be
// accepted, so that its event counts them.
const maxDrain = 2 * time.Second

// Close publishes the end of the session. An end that the hub has decided goes
// before e. Further calls do nothing.
func (s *Session) Close(e End) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	if s.ending != nil {
		e = *s.ending
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	var drained chan struct{}
	if s.inFlight > 0 {
		drained = make(chan struct{})
		s.drained = drained
	}
	s.mu.Unlock()
	s.h.c.server.sessions.remove(s)
	if drained != nil {
		select {
		case <-drained:
		case <-time.After(maxDrain):
		}
	}
	s.h.mu.Lock()
	for i, o := range s.h.sessions {
		if o == s {
			s.h.sessions = slices.Delete(s.h.sessions, i, i+1)
			break
		}
	}
	s.h.mu.Unlock()
	s.h.c.disconnected(s, e)
}
