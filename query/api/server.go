package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/console"
	"hubscope/query/kql"
)

// Config configures a Server. Its zero value is useful.
type Config struct {
	// Logger gets what goes wrong; nothing by default.
	Logger *slog.Logger
	// Version is told to clients that ask.
	Version string
	// MaxBodyBytes bounds request bodies; 4 MiB by default.
	MaxBodyBytes int64
	// WriteTimeout is how long a client may keep a write waiting; 1 min by default.
	WriteTimeout time.Duration
	// Hosts are names under which the service may be reached over a loopback
	// address, besides localhost. A request for any other name there is refused:
	// it comes from a web page that had its name resolved to this machine.
	Hosts []string
	// Access knows the tokens and client certificates; nil asks nobody for one.
	Access *Access
	// Metrics is the handler of /metrics, for admins; none when nil.
	Metrics http.Handler
	// Feed hands out events as they come, for tails; nil refuses them. MaxTails
	// is how many there can be at once; 64 by default.
	Feed     query.Feed
	MaxTails int
	// Admission bounds what clients may ask for at once.
	Admission Admission
	// Record, if set, is told of every query that has ended. It must not block.
	Record func(query.Record)
	// Node names this process in records.
	Node string
	// Meter counts; nothing by default.
	Meter metric.MeterProvider
	// Ready reports whether the parts behind the service work; by default a
	// query that reads nothing is run.
	Ready func(context.Context) error
}

// Server answers HTTP requests from an engine. It is an http.Handler.
type Server struct {
	engine *query.Engine
	config Config
	mux    *http.ServeMux
	// patterns are the routes of the API.
	patterns []string
	schema   func() *document
	tails    atomic.Int64
	// closing is closed when the server is about to stop.
	closing chan struct{}
	close   func()

	gate    *gate
	pacer   *pacer
	metrics *metrics
	started time.Time

	mu      sync.Mutex
	running map[*execution]struct{}
	active  sync.WaitGroup // the executions in running
}

// NewServer returns a server on engine.
func NewServer(engine *query.Engine, config Config) *Server {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.MaxBodyBytes <= 0 {
		config.MaxBodyBytes = 4 << 20
	}
	if config.WriteTimeout <= 0 {
		config.WriteTimeout = time.Minute
	}
	if config.MaxTails <= 0 {
		config.MaxTails = 64
	}
	s := &Server{engine: engine, config: config, mux: http.NewServeMux(), started: time.Now(), running: map[*execution]struct{}{}}
	limits := config.Admission.withDefaults()
	s.gate, s.pacer = newGate(limits), newPacer(limits)
	s.metrics = newMetrics(config.Meter, s)
	s.schema = sync.OnceValue(s.describe)
	s.closing = make(chan struct{})
	s.close = sync.OnceFunc(func() { close(s.closing) })
	s.routes()
	return s
}

func (s *Server) routes() {
	for pattern, h := range map[string]handler{
		"POST /api/v1/query":          s.query,
		"POST /api/v1/validate":       s.validate,
		"POST /api/v1/explain":        s.explain,
		"DELETE /api/v1/queries/{id}": s.cancel,
		"GET /api/v1/tail":            s.tail,
		"POST /api/v1/tail":           s.tail,
		"GET /api/v1/schema":          s.serveSchema,
		"GET /api/v1/functions":       s.serveFunctions,
		"GET /api/v1/openapi.json":    s.serveOpenAPI,
	} {
		s.route(pattern, s.handle(h))
	}
	// Probes have no tokens.
	s.route("GET /healthz", s.handleOpen(s.healthz, writeError))
	s.route("GET /readyz", s.handleOpen(s.readyz, writeError))
	if s.config.Metrics != nil {
		s.route("GET /metrics", s.handle(func(w http.ResponseWriter, r *http.Request) error {
			if err := onlyAdmin(r); err != nil {
				return err
			}
			s.config.Metrics.ServeHTTP(w, r)
			return nil
		}))
	}
	page := console.New()
	for _, pattern := range console.Paths {
		// The page is no secret: it asks for a token when the API wants one.
		s.mux.Handle(pattern, s.handleOpen(func(w http.ResponseWriter, r *http.Request) error {
			page.ServeHTTP(w, r)
			return nil
		}, writeError))
	}
	s.kustoRoutes()
	s.monitorRoutes()
}

// route adds a route of the API, which openapi.yaml describes.
func (s *Server) route(pattern string, h http.Handler) {
	s.patterns = append(s.patterns, pattern)
	s.mux.Handle(pattern, h)
}

// ServeHTTP answers a request; what no route knows is answered with an error
// in this API's form too.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1//") || strings.HasPrefix(r.URL.Path, "//") {
		// A resource id begins with a slash, and so do paths behind an address that
		// ends with one. The mux would send such clients elsewhere, which not all follow.
		there, clean := *r.URL, *r
		there.Path, there.RawPath = path.Clean(r.URL.Path), ""
		clean.URL = &there
		r = &clean
	}
	if h, pattern := s.mux.Handler(r); pattern == "" {
		s.handleWith(func(w http.ResponseWriter, r *http.Request) error {
			// The mux tells a wrong method from a wrong path: ask it.
			probe := &statusRecorder{header: http.Header{}}
			h.ServeHTTP(probe, r)
			if probe.status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", probe.header.Get("Allow"))
				return failure(probe.status, client.CodeMethod, "%s takes %s", r.URL.Path, probe.header.Get("Allow"))
			}
			return failure(http.StatusNotFound, client.CodeNotFound, "there is nothing at %s", r.URL.Path)
		}, dialect(r.URL.Path)).ServeHTTP(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// dialect is the form of errors that a client expects which asks for this path.
func dialect(p string) errorWriter {
	switch {
	case strings.HasPrefix(p, "/v1/rest/"), strings.HasPrefix(p, "/v2/"):
		return writeKustoError
	case strings.HasPrefix(p, "/v1/"):
		return writeMonitorError
	}
	return writeError
}

// statusRecorder takes an answer and keeps only its status and header.
type statusRecorder struct {
	header http.Header
	status int
}

func (r *statusRecorder) Header() http.Header         { return r.header }
func (r *statusRecorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *statusRecorder) WriteHeader(status int)      { r.status = status }

// handler answers a request or returns an error. It returns an error only
// before it has written anything, except for errors of the connection itself.
type handler func(http.ResponseWriter, *http.Request) error

// errorWriter answers with an error in the form of one interface.
type errorWriter func(http.ResponseWriter, *http.Request, *statusError)

// writeError is that of this API.
func writeError(w http.ResponseWriter, _ *http.Request, e *statusError) {
	writeJSON(w, e.status, e.body)
}

// handle is the one place where an error becomes a response of this API.
func (s *Server) handle(h handler) http.Handler { return s.handleWith(h, writeError) }

// handleWith is handle for an interface with its own form of errors. It is for
// those only who may ask.
func (s *Server) handleWith(h handler, write errorWriter) http.Handler {
	return s.handleOpen(func(w http.ResponseWriter, r *http.Request) error {
		r, release, err := s.authenticate(w, r)
		if err != nil {
			return err
		}
		defer release()
		err = h(w, r)
		if err != nil && r.Context().Err() != nil && errors.Is(context.Cause(r.Context()), errRevoked) {
			return s.challenge(w, r, "Bearer", errRevoked.Error())
		}
		return err
	}, write)
}

// handleOpen is handleWith for everybody.
func (s *Server) handleOpen(h handler, write errorWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tw := &trackedWriter{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is compared so
				panic(v)
			}
			s.config.Logger.Error("request panicked", "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if tw.written {
				panic(http.ErrAbortHandler)
			}
			write(w, r, internal(fmt.Errorf("panic: %v", v)))
		}()
		err := s.checkHost(r)
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBodyBytes)
			err = h(tw, r)
		}
		if err == nil {
			return
		}
		e := s.asStatus(r, err)
		switch {
		case !tw.written:
			if e.retry > 0 {
				w.Header().Set("Retry-After", retryAfter(e.retry))
			}
			write(w, r, e)
		case r.Context().Err() != nil:
			s.config.Logger.Debug("client went away", "path", r.URL.Path)
			panic(http.ErrAbortHandler)
		default:
			// Half an answer is out: the connection must not end well.
			s.config.Logger.Debug("answer cut", "path", r.URL.Path, "err", err)
			panic(http.ErrAbortHandler)
		}
	})
}

// trackedWriter knows whether anything has been written.
type trackedWriter struct {
	http.ResponseWriter
	written bool
}

func (w *trackedWriter) WriteHeader(status int) {
	w.written = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *trackedWriter) Write(b []byte) (int, error) {
	w.written = true
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController what is below.
func (w *trackedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("encode " + err.Error()) // a wire type of ours
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) //nolint:errcheck // the client has gone
}

// internal is an error whose text no client sees.
func internal(cause error) *statusError {
	return &statusError{
		status: http.StatusInternalServerError,
		body:   client.ErrorResponse{Error: &client.Error{Code: client.CodeInternal, Message: "internal error; see the service's log"}},
		cause:  cause,
	}
}

// asStatus finds status and body for an error, and logs what clients may not see.
func (s *Server) asStatus(r *http.Request, err error) *statusError {
	var tooLarge *http.MaxBytesError
	var known *statusError
	switch {
	case errors.As(err, &known):
	case errors.As(err, &tooLarge):
		known = &statusError{status: http.StatusRequestEntityTooLarge, body: client.ErrorResponse{Error: &client.Error{
			Code: client.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", tooLarge.Limit)}}}
	default:
		known = internal(err)
	}
	if known.status >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.config.Logger.Error("request failed", "path", r.URL.Path, "err", known.Error())
	}
	return known
}

// statusOf maps the kinds of engine errors. The query is to blame for those
// with 400, so that a client does not try again.
func statusOf(code query.Code) int {
	switch code {
	case query.CodeTimeout:
		return http.StatusGatewayTimeout
	case query.CodeMemory, query.CodeReadLimit, query.CodeRuntime, query.CodeComplex:
		return http.StatusBadRequest
	case query.CodeDuplicate:
		return http.StatusConflict
	case query.CodeCanceled:
		return 499 // client closed request
	case query.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// queryError turns an error of the engine into one with a status.
func queryError(text string, err error) error {
	var wrong kql.Errors
	var failed *query.Error
	switch {
	case errors.As(err, &wrong) && len(wrong) > 0:
		list := fromKQL(text, wrong)
		body := client.ErrorResponse{Error: list[0]}
		if len(list) > 1 {
			body.Errors = list
		}
		return &statusError{status: http.StatusBadRequest, body: body}
	case errors.As(err, &failed) && failed.Code != query.CodeInternal:
		e := &statusError{status: statusOf(failed.Code), cause: failed.Err, body: client.ErrorResponse{Error: &client.Error{
			Code: string(failed.Code), Message: failed.Message, QueryID: failed.ID}}}
		if failed.Code == query.CodeUnavailable {
			e.retry = time.Second // it is being started again, most likely
		}
		return e
	case errors.As(err, new(*statusError)):
		return err
	case errors.Is(err, context.Canceled):
		return &statusError{status: statusOf(query.CodeCanceled), body: client.ErrorResponse{Error: &client.Error{Code: string(query.CodeCanceled), Message: "the query was cancelled"}}}
	default:
		return internal(err)
	}
}

// failWhileStreaming is queryError for rows that are on their way.
func (s *Server) failWhileStreaming(r *http.Request, text string) func(error) *client.Error {
	return func(err error) *client.Error {
		return s.asStatus(r, queryError(text, err)).body.Error
	}
}

// checkHost refuses requests that web pages of others make: by their origin,
// and, of a service without tokens, for foreign names, because DNS rebinding
// would let any page read from it.
func (s *Server) checkHost(r *http.Request) error {
	err := new(http.CrossOriginProtection).Check(r)
	if site := r.Header.Get("Sec-Fetch-Site"); err == nil && (site == "cross-site" || site == "same-site") {
		// A page may be linked to, a query may not: it costs even who cannot read the answer.
		page := r.Header.Get("Sec-Fetch-Mode") == "navigate" && !strings.HasPrefix(r.URL.Path, "/v1/") && !strings.HasPrefix(r.URL.Path, "/api/")
		if !page {
			err = errors.New("of another site")
		}
	}
	if err != nil {
		return failure(http.StatusForbidden, client.CodeForbidden, "a page of another origin may not send queries")
	}
	if s.config.Access.Required() {
		return nil
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil || slices.Contains(s.config.Hosts, host) {
		return nil
	}
	return failure(http.StatusForbidden, client.CodeForbidden, "this service is not known as %q", host)
}

// pace counts a request of a client against its rate.
func (s *Server) pace(r *http.Request) error { return s.pacer.admit(clientKey(r), time.Now()) }

// accepts picks the first of the given media types that the client takes.
// Without a preference it is the first.
func accepts(r *http.Request, types ...string) (string, bool) {
	header := r.Header.Values("Accept")
	if len(header) == 0 {
		return types[0], true
	}
	best, bestQ := "", 0.0
	for _, part := range strings.Split(strings.Join(header, ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if _, err := fmt.Sscanf(v, "%f", &q); err != nil {
				continue
			}
		}
		for _, t := range types {
			group, _, _ := strings.Cut(t, "/")
			if q > bestQ && (media == t || media == "*/*" || media == group+"/*") {
				best, bestQ = t, q
				break
			}
		}
	}
	return best, best != ""
}
