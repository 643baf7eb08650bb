package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"hubscope/query"
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
	// Ready reports whether the parts behind the service work; by default a
	// query that reads nothing is run.
	Ready func(context.Context) error
}

// Server answers HTTP requests from an engine. It is an http.Handler.
type Server struct {
	engine *query.Engine
	config Config
	mux    *http.ServeMux
	schema func() *document

	mu      sync.Mutex
	running map[*running]struct{}
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
	s := &Server{engine: engine, config: config, mux: http.NewServeMux(), running: map[*running]struct{}{}}
	s.schema = sync.OnceValue(s.describe)
	s.routes()
	return s
}

func (s *Server) routes() {
	for pattern, h := range map[string]handler{
		"POST /api/v1/query":          s.query,
		"POST /api/v1/validate":       s.validate,
		"POST /api/v1/explain":        s.explain,
		"DELETE /api/v1/queries/{id}": s.cancel,
		"GET /api/v1/schema":          s.serveSchema,
		"GET /api/v1/functions":       s.serveFunctions,
		"GET /healthz":                s.healthz,
		"GET /readyz":                 s.readyz,
	} {
		s.mux.Handle(pattern, s.handle(h))
	}
	page := console.New()
	for _, pattern := range console.Paths {
		s.mux.Handle(pattern, s.handle(func(w http.ResponseWriter, r *http.Request) error {
			page.ServeHTTP(w, r)
			return nil
		}))
	}
	s.kustoRoutes()
	s.monitorRoutes()
}

// ServeHTTP answers a request; what no route knows is answered with an error
// in this API's form too.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, pattern := s.mux.Handler(r); pattern == "" {
		s.handle(func(w http.ResponseWriter, r *http.Request) error {
			// The mux tells a wrong method from a wrong path: ask it.
			probe := &statusRecorder{header: http.Header{}}
			h.ServeHTTP(probe, r)
			if probe.status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", probe.header.Get("Allow"))
				return failure(probe.status, CodeMethod, "%s takes %s", r.URL.Path, probe.header.Get("Allow"))
			}
			return failure(http.StatusNotFound, CodeNotFound, "there is nothing at %s", r.URL.Path)
		}).ServeHTTP(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
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

// handle is the one place where an error becomes a response of this API.
func (s *Server) handle(h handler) http.Handler {
	return s.handleWith(h, func(w http.ResponseWriter, r *http.Request, e *statusError) {
		writeJSON(w, e.status, e.body)
	})
}

// handleWith is handle for an interface with its own form of errors.
func (s *Server) handleWith(h handler, write func(http.ResponseWriter, *http.Request, *statusError)) http.Handler {
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
		body:   ErrorResponse{Error: &Error{Code: CodeInternal, Message: "internal error; see the service's log"}},
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
		known = &statusError{status: http.StatusRequestEntityTooLarge, body: ErrorResponse{Error: &Error{
			Code: CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", tooLarge.Limit)}}}
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
	case query.CodeMemory, query.CodeReadLimit, query.CodeRuntime:
		return http.StatusBadRequest
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
		body := ErrorResponse{Error: list[0]}
		if len(list) > 1 {
			body.Errors = list
		}
		return &statusError{status: http.StatusBadRequest, body: body}
	case errors.As(err, &failed) && failed.Code != query.CodeInternal:
		return &statusError{status: statusOf(failed.Code), cause: failed.Err, body: ErrorResponse{Error: &Error{
			Code: string(failed.Code), Message: failed.Message, QueryID: failed.ID}}}
	case errors.Is(err, context.Canceled):
		return &statusError{status: statusOf(query.CodeCanceled), body: ErrorResponse{Error: &Error{Code: string(query.CodeCanceled), Message: "the query was cancelled"}}}
	default:
		return internal(err)
	}
}

// failWhileStreaming is queryError for rows that are on their way.
func (s *Server) failWhileStreaming(r *http.Request, text string) func(error) *Error {
	return func(err error) *Error {
		return s.asStatus(r, queryError(text, err)).body.Error
	}
}

// checkHost refuses requests that web pages of others make: by their origin,
// and for foreign names on a loopback address, because DNS rebinding would let
// any page read from a service without a password.
func (s *Server) checkHost(r *http.Request) error {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		return failure(http.StatusForbidden, CodeForbidden, "a page of another origin may not send queries")
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
	return failure(http.StatusForbidden, CodeForbidden, "this service is not known as %q", host)
}

// readJSON reads the body, one JSON object without unknown fields.
func readJSON(r *http.Request, v any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		// curl -d sends a form's type. A form of a web page does so too, but is
		// stopped by the check of its origin.
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" && media != "text/json" && media != "application/x-www-form-urlencoded" {
			return failure(http.StatusUnsupportedMediaType, CodeUnsupported, "the body must be application/json")
		}
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body has more than one JSON value")
	}
	return nil
}

// bodyError says what is wrong with a JSON body, in words of its sender.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, io.EOF):
		return badRequest("the body is empty; a JSON object was expected")
	case errors.As(err, &syntax):
		return badRequest("the body is not JSON: %v at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind):
		return badRequest("%q in the body cannot be a %s", kind.Field, kind.Value)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return badRequest("the body has an unknown field %s", strings.TrimPrefix(err.Error(), "json: unknown field "))
	default:
		return badRequest("the body could not be read")
	}
}

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
