package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"hubscope/hub/handshake"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// A Protocol speaks one application protocol.
type Protocol interface {
	// Name is the protocol in events of connections that end before they say
	// more: a Protocol value of package ingest.
	Name() string
	// ALPN are the application protocols to negotiate, best first; none leaves
	// the extension unanswered.
	ALPN() []string
	// Begin hears what a client has to say first and, where the protocol asks for
	// it, authenticates it with Conn.Open. It returns nil, and why, when that
	// comes to nothing. ctx ends when the server shuts down.
	Begin(ctx context.Context, c *Conn) (Speaker, End)
}

// A Speaker goes on with a connection that has begun. It runs in a goroutine of
// its own: to verify credentials needs a deep stack, which would stay with an
// idle connection.
type Speaker interface {
	// Speak returns when the connection is over, and says why. The end applies
	// to the sessions that are still open; if there were none at all, it is why
	// the connection was refused. The server closes the connection.
	Speak(ctx context.Context) End
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("hub: server closed")

// A Server accepts the connections of devices. Make one with New, and end it
// with Shutdown.
type Server struct {
	config   Config
	log      *slog.Logger
	acceptor *handshake.Acceptor
	ids      *ingest.ConnectionIDs
	sequence sequence
	flood    *flood
	sessions sessions
	metrics  *metrics
	tracer   trace.Tracer

	open, pending atomic.Int64
	accepted      atomic.Int64 // connections since the start
	calls         atomic.Int64 // numbers direct methods

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*connection]struct{}
	working   sync.WaitGroup // connections

	base       context.Context // of all connections; it is no request's
	cancel     context.CancelFunc
	changes    changes
	stop       chan struct{} // ends the background work
	background sync.WaitGroup
}

// New returns a Server. It starts background work, which Shutdown ends.
func New(config Config) (*Server, error) {
	config = config.withDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	acceptor, err := handshake.New(config.Handshake)
	if err != nil {
		return nil, err
	}
	// Said once, here: each event that it concerns says it again.
	if version, err := acceptor.SecondEngine(); err != nil {
		config.Logger.Warn("without libssl some cipher suites and max_fragment_length are not served", "error", err)
	} else {
		config.Logger.Info("second TLS engine", "openssl", version)
		for _, p := range []*handshake.Policy{handshake.Strict(), handshake.Legacy()} {
			if err := acceptor.Prepare(p, config.Certificates("")); err != nil {
				config.Logger.Warn("libssl cannot serve with these certificates", "error", err)
				break
			}
		}
	}
	s := &Server{
		config:    config,
		log:       config.Logger,
		acceptor:  acceptor,
		ids:       ingest.NewConnectionIDs(),
		flood:     newFlood(config.Flood),
		listeners: map[net.Listener]struct{}{},
		conns:     map[*connection]struct{}{},
		stop:      make(chan struct{}),
	}
	s.sessions.init()
	tracers := config.Tracer
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	s.tracer = tracers.Tracer("hubscope/hub")
	if s.metrics, err = newMetrics(s); err != nil {
		return nil, fmt.Errorf("hub: metrics: %w", err)
	}
	deaf, err := config.Registry.Listen(s.hear)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.changes.init()
	unsubscribe := config.Registry.Subscribe(s.changes.add)
	s.background.Go(s.summarize)
	s.background.Go(s.sample)
	s.background.Go(s.settle)
	s.background.Go(func() {
		defer deaf()
		defer unsubscribe()
		s.followRegistry()
	})
	return s, nil
}

// Serve accepts connections from ln and speaks protocol on them until ctx ends
// or the server is shut down; then it returns nil. Connections go on when ctx
// ends: Shutdown is what ends them. Serve closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener, protocol Protocol) error {
	return s.serve(ctx, ln, protocol, nil)
}

// ServeProxied is Serve for a listener behind a proxy such as HAProxy, which
// does TLS and tells of it by the PROXY protocol, version 2. Only connections
// from the given networks are believed; TLS is as strict as the proxy, and each
// hub's policy is applied to what it has negotiated. Clients behind most proxies
// can authenticate with SAS only, for their certificate stays in the proxy.
func (s *Server) ServeProxied(ctx context.Context, ln net.Listener, protocol Protocol, proxies []netip.Prefix) error {
	if len(proxies) == 0 {
		ln.Close()
		return errors.New("hub: no network of proxies given")
	}
	return s.serve(ctx, ln, protocol, proxies)
}

func (s *Server) serve(ctx context.Context, ln net.Listener, protocol Protocol, proxies []netip.Prefix) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ln.Close()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	unhook := context.AfterFunc(ctx, func() { ln.Close() })
	defer func() {
		unhook()
		ln.Close()
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	var backoff time.Duration
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || s.isClosed() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept: %w", err)
			}
			// Out of descriptors, or a connection that ended before it was
			// accepted: both pass.
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.log.Warn("accept", "error", err, "retry_in", backoff)
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			case <-s.stop:
			}
			continue
		}
		backoff = 0
		s.start(nc, protocol, proxies)
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// start takes over an accepted connection: from here on an event is owed.
func (s *Server) start(nc net.Conn, protocol Protocol, proxies []netip.Prefix) {
	s.accepted.Add(1)
	accepted := s.config.Now()
	c := &connection{
		server: s, transport: handshake.NewTransport(nc), accepted: accepted, began: time.Now(),
		id: s.ids.Next(accepted), protocol: protocol.Name(), speaks: protocol, proxies: proxies,
	}
	c.hubName.Store(&s.config.DefaultHub)
	c.remote, c.port = remoteOf(nc)
	s.mu.Lock()
	if !s.closed {
		s.conns[c] = struct{}{}
		s.working.Add(1)
	}
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		c.refuse(ingest.StageTCP, End{Result: ServiceUnavailable, Description: "the hub is shutting down"})
		nc.Close()
		return
	case s.open.Add(1) > int64(s.config.MaxConnections):
		c.reject("the hub has its maximum of connections")
		return
	case s.pending.Add(1) > int64(s.config.MaxPending):
		s.pending.Add(-1)
		c.reject("the hub has its maximum of connections that have not authenticated")
		return
	}
	c.pending.Store(true)
	go c.handshake()
}

// Shutdown stops accepting, ends all sessions, and waits until everything has
// ended and its event is published. When ctx ends first, connections are cut
// and the context's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	for ln := range s.listeners {
		ln.Close()
	}
	conns := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.cancel()
	for _, c := range conns {
		c.shutdown()
	}
	done := make(chan struct{})
	go func() {
		s.working.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range conns {
			c.transport.Close()
		}
		<-done
	}
	if first {
		close(s.stop)
	}
	s.background.Wait()
	return err
}

// summarize publishes what the flood control has suppressed.
func (s *Server) summarize() {
	tick := time.NewTicker(min(s.config.Flood.Window, time.Second))
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-s.stop:
			last = true
		}
		now := s.config.Now()
		for _, d := range s.flood.due(now, last) {
			e := ingest.Event{
				TimeGenerated: now, Hub: d.hub, Node: s.config.Node, ConnectionId: s.ids.Next(now),
				Sequence: s.sequence.next(now), OperationName: ingest.ConnectionsSuppressed,
				Category: ingest.CategoryConnections, Level: ingest.Warning, Stage: ingest.StageTCP,
				ResultType: Throttled.Type(), ResultSignature: Throttled.Name,
				ResultDescription: fmt.Sprintf("%d refused connections of one source since %s are not described one by one",
					d.count, d.since.UTC().Format(time.RFC3339)),
				MaskedIpAddress: maskAddress(d.address), IpHash: hashAddress(s.config.IPKey, d.address),
				DurationMs: now.Sub(d.since).Milliseconds(), Messages: d.count,
			}
			s.config.Events.PublishContext(context.Background(), &e)
		}
	}
}

// hubFor returns the hub that a client has reached by its SNI.
func (s *Server) hubFor(serverName string) (*registry.Hub, bool) {
	if serverName != "" {
		if h, ok := s.config.Registry.HubFor(serverName); ok {
			return h, true
		}
	}
	return s.config.Registry.Hub(s.config.DefaultHub)
}

// sequence hands out rising numbers: the clock in microseconds, or one more
// than the last.
type sequence struct{ last atomic.Int64 }

func (s *sequence) next(now time.Time) int64 {
	for {
		last := s.last.Load()
		n := max(now.UnixMicro(), last+1)
		if s.last.CompareAndSwap(last, n) {
			return n
		}
	}
}

// A connection is the life of one accepted TCP connection; it owes an event.
type connection struct {
	server    *Server
	transport *handshake.Transport
	speaks    Protocol
	accepted  time.Time // by the configured clock, for the event
	began     time.Time // by the monotonic clock, for durations
	id        [16]byte
	remote    netip.Addr
	port      uint16
	protocol  string
	proxies   []netip.Prefix         // not nil behind a proxy
	hubName   atomic.Pointer[string] // set by the SNI, then by a device
	report    *handshake.Report
	span      trace.Span
	pending   atomic.Bool // counted as not authenticated
	conn      *Conn

	mu     sync.Mutex
	closed bool // by shutdown
}

// reject closes a connection that is one too many.
func (c *connection) reject(why string) {
	c.refuse(ingest.StageTCP, End{Result: Throttled, Description: why})
	c.transport.Close()
	c.gone()
}

// gone takes the connection off the books.
func (c *connection) gone() {
	s := c.server
	c.authenticated()
	s.open.Add(-1)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.working.Done()
}

// authenticated ends the connection's place among the pending ones.
func (c *connection) authenticated() {
	if c.pending.CompareAndSwap(true, false) {
		c.server.pending.Add(-1)
	}
}

// shutdown ends the connection: its sessions with a reason, if it has some.
func (c *connection) shutdown() {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.shutdown()
		return
	}
	c.transport.Close()
}

// handshake runs in the connection's first goroutine, up to the session.
func (c *connection) handshake() {
	s := c.server
	ctx, span := s.tracer.Start(s.base, "hub.connect", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(c.accepted))
	c.span = span
	conn, ok := c.secure()
	if !ok {
		c.gone()
		return
	}
	h := &Conn{Conn: conn, c: c}
	c.mu.Lock()
	c.conn = h
	closed := c.closed
	c.mu.Unlock()
	if closed {
		h.shutdown()
	}
	h.begin(ctx)
}

// secure does the handshake. When it fails, the connection is closed and its
// event published.
func (c *connection) secure() (conn *handshake.Conn, ok bool) {
	s := c.server
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a handshake", "panic", p, "stack", string(debug.Stack()))
			c.refuse(ingest.StageHandshake, End{Result: ServerError, Description: "internal error"})
			c.transport.Close()
			conn, ok = nil, false
		}
	}()
	if c.proxies != nil {
		return c.secureProxied()
	}
	conn, report := s.acceptor.Accept(c.transport, func(hello *handshake.Hello) handshake.Choice {
		return handshake.Choice{Policy: c.policy(hello.ServerName), Certificates: s.config.Certificates(hello.ServerName), ALPN: c.speaks.ALPN()}
	})
	c.report = report
	if report.Kind == handshake.KindTLS && report.Hello != nil {
		s.metrics.handshake(*c.hubName.Load(), report)
	}
	if conn != nil {
		return conn, true
	}
	c.refuseHandshake()
	return nil, false
}

// policy returns that of the hub which the client has reached by its SNI.
func (c *connection) policy(serverName string) *handshake.Policy {
	if h, ok := c.server.hubFor(serverName); ok {
		c.hubName.Store(&h.Name)
		if p, err := handshake.PolicyFor(h.MinTLSVersion); err == nil {
			return p
		}
	}
	return handshake.Strict()
}

// secureProxied takes over what a proxy tells of its handshake.
func (c *connection) secureProxied() (*handshake.Conn, bool) {
	if !slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(c.remote) }) {
		c.refuse(ingest.StageTCP, End{Result: NoProxy, Description: "a connection to the port for proxies, from an address that is none"})
		c.transport.Close()
		return nil, false
	}
	conn, report, source := c.server.acceptor.AcceptProxied(c.transport, c.policy)
	c.report = report
	if source.IsValid() {
		c.remote, c.port = source.Addr(), source.Port()
	}
	if conn == nil {
		c.refuseHandshake()
		return nil, false
	}
	return conn, true
}

// refuseHandshake publishes the event of a failed handshake.
func (c *connection) refuseHandshake() {
	s, report := c.server, c.report
	end := End{Result: handshakeResult(report), Description: report.Failure.Description}
	s.log.Debug("handshake", "remote", maskAddress(c.remote), "stage", report.Failure.Stage, "error", report.Failure.Err)
	if c.isShutDown() {
		end = End{Result: ServiceUnavailable, Description: "the hub is shutting down"}
	}
	c.refuse(string(report.Failure.Stage), end)
}

func (c *connection) isShutDown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Open returns the number of open connections.
func (s *Server) Open() int { return int(s.open.Load()) }

// Connection reports whether a device, or one of its modules, has a session on
// this process, and since when. It is for the management API.
func (s *Server) Connection(hub, device, module string) (connected bool, since time.Time) {
	session := s.sessions.of(deviceKey{hub, device, module})
	if session == nil {
		return false, time.Time{}
	}
	return true, session.h.c.accepted
}

// ConnectedDevices returns the number of a hub's devices that are connected to
// this process.
func (s *Server) ConnectedDevices(hub string) int64 {
	_, devices := s.sessions.open()
	return devices[hub]
}
