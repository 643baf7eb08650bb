package https

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"hubscope/hub"
	"hubscope/ingest"
)

// Config configures a Protocol. The zero value serves the device API only.
type Config struct {
	// Management serves the requests that are not a device's; nil answers them
	// with 404. It authorizes them itself: what it does not answer with 401 or
	// 403 counts as an authorized request.
	Management http.Handler
	// MQTT begins an MQTT session on a WebSocket's stream; nil refuses WebSockets.
	// Its signature is that of mqtt.Protocol.BeginOver.
	MQTT func(ctx context.Context, c *hub.Conn, stream net.Conn, userAgent string) (hub.Speaker, hub.End)
	// IdleTimeout is how long a connection may be without a request; two minutes
	// when zero.
	IdleTimeout time.Duration
	// Logger gets what http.Server complains about, at debug level; slog.Default()
	// when nil.
	Logger *slog.Logger
}

// Limits of a request.
const (
	maxHeader = 32 << 10
	// MaxMessage is the largest message, or batch of messages.
	MaxMessage = 256 << 10
	// readTimeout is how long a request may take to arrive.
	readTimeout = 30 * time.Second
)

// A Protocol is HTTP for a hub.Server. It may serve several listeners.
type Protocol struct {
	config  Config
	handler http.Handler
	logger  *slog.Logger
}

// New returns the protocol.
func New(config Config) *Protocol {
	if config.IdleTimeout == 0 {
		config.IdleTimeout = 2 * time.Minute
	}
	p := &Protocol{config: config, logger: config.Logger}
	if p.logger == nil {
		p.logger = slog.Default()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /devices/{device}/messages/events", p.messages)
	mux.HandleFunc("POST /devices/{device}/modules/{module}/messages/events", p.messages)
	mux.HandleFunc("GET /devices/{device}/messages/{box}", p.poll)
	mux.HandleFunc("/devices/{device}/messages/{box}/{lock}", p.settle)
	mux.HandleFunc("/devices/{device}/messages/{box}/{lock}/abandon", p.settle)
	for _, path := range []string{"/devices/{device}/files", "/devices/{device}/files/notifications",
		"/devices/{device}/modules/{module}/files", "/devices/{device}/modules/{module}/files/notifications"} {
		mux.HandleFunc("POST "+path, p.files)
	}
	mux.HandleFunc("GET /$iothub/websocket", p.webSocket)
	mux.HandleFunc("/", p.manage)
	p.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(contextKey{}).(*conversation)
		c.requests++
		c.handling.Add(1)
		defer c.handling.Done()
		mux.ServeHTTP(w, r)
	})
	return p
}

// Name implements hub.Protocol.
func (p *Protocol) Name() string { return ingest.Https }

// ALPN implements hub.Protocol.
func (p *Protocol) ALPN() []string { return []string{"http/1.1"} }

// Begin implements hub.Protocol. Authentication comes with each request.
func (p *Protocol) Begin(_ context.Context, c *hub.Conn) (hub.Speaker, hub.End) {
	return &conversation{p: p, hub: c, sessions: map[deviceKey]*entry{}}, hub.End{}
}

// A conversation is one connection.
type conversation struct {
	p        *Protocol
	hub      *hub.Conn
	ctx      context.Context // of Speak, which is the lifetime of this value
	server   *http.Server
	handling sync.WaitGroup // of a request: its handler may close the connection before it returns

	// Requests of HTTP/1.1 come one after the other: these are only theirs.
	sessions map[deviceKey]*entry
	requests int
	refused  *hub.End

	mu      sync.Mutex
	readErr error
	upgrade *hub.End       // of the WebSocket
	cuts    sync.WaitGroup // sessions that are being closed because the hub ended them
	over    bool           // no more are: the server closes what is open
}

type deviceKey struct{ hub, device, module string }

// contextKey is the key of a request's conversation.
type contextKey struct{}

// Speak implements hub.Speaker: it lets http.Server serve this connection, and
// returns when it is closed.
func (c *conversation) Speak(ctx context.Context) hub.End {
	c.ctx = ctx
	closed := make(chan struct{})
	ln := &oneConn{conn: &conn{Conn: c.hub, c: c}, quit: make(chan struct{})}
	c.server = &http.Server{
		Handler:           c.p.handler,
		ReadHeaderTimeout: c.hub.AuthTimeout(),
		ReadTimeout:       readTimeout,
		IdleTimeout:       c.p.config.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(c.p.logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, contextKey{}, c) },
	}
	ln.conn.onClose = sync.OnceFunc(func() {
		close(closed)
		ln.Close()
	})
	c.server.Serve(ln) // until the connection is closed, or the server shut down
	<-closed
	c.handling.Wait()
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.cuts.Wait()
	return c.end()
}

// shutdownTimeout is how long a request may go on when the hub shuts down.
const shutdownTimeout = 2 * time.Second

// cut closes a session that the hub has ended: its connection goes on, it may
// carry other devices, unless the whole hub ends.
func (c *conversation) cut(s *hub.Session, end hub.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.cuts.Go(func() {
		if end.Reason == hub.ReasonShutdown {
			ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
			defer cancel()
			c.server.Shutdown(ctx)
			c.hub.Close()
		}
		s.Close(end)
	})
}

// end says why the connection is over.
func (c *conversation) end() hub.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.upgrade != nil:
		return *c.upgrade
	case c.refused != nil && len(c.sessions) == 0:
		return *c.refused
	case c.requests == 0 && c.readErr != nil:
		return c.hub.EndOfRead(c.readErr)
	case c.requests == 0:
		return hub.End{Result: hub.FormatError, Reason: hub.ReasonProtocolError, Description: "the request is not HTTP, or malformed"}
	case len(c.sessions) == 0 && c.requests > 0:
		return hub.End{Result: hub.ClosedEarly, Reason: hub.ReasonClientDisconnect, Description: "no request of the connection was a device's"}
	case errors.Is(c.readErr, os.ErrDeadlineExceeded):
		return hub.End{Reason: hub.ReasonIdleTimeout, Description: "the connection was idle"}
	case c.readErr == nil || errors.Is(c.readErr, io.EOF):
		// HTTP has no farewell: to close between requests is how it is done.
		return hub.End{Reason: hub.ReasonClientDisconnect}
	}
	return c.hub.EndOfRead(c.readErr)
}

// conn notes how reading ended, and when the connection is closed.
type conn struct {
	net.Conn
	c       *conversation
	onClose func()
}

func (n *conn) Read(p []byte) (int, error) {
	k, err := n.Conn.Read(p)
	if err != nil {
		n.c.mu.Lock()
		n.c.readErr = err
		n.c.mu.Unlock()
	}
	return k, err
}

func (n *conn) Close() error {
	err := n.Conn.Close()
	n.onClose()
	return err
}

// oneConn is a listener for http.Server that accepts one connection.
type oneConn struct {
	conn  *conn
	given bool
	once  sync.Once
	quit  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.quit
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.quit) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
