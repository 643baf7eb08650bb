package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/plan"
)

// format picks the form of an answer from the body's format, ?format=, or the
// Accept header, in this order.
func format(r *http.Request, name string) (string, error) {
	if name == "" {
		name = r.URL.Query().Get("format")
	}
	switch name {
	case "":
	case "json":
		return client.MediaJSON, nil
	case "ndjson":
		return client.MediaNDJSON, nil
	case "csv":
		return client.MediaCSV, nil
	case "arrow":
		return client.MediaArrow, nil
	default:
		return "", badRequest("no format %q; there are json, ndjson, csv and arrow", name)
	}
	media, ok := accepts(r, client.MediaJSON, client.MediaNDJSON, client.MediaCSV, client.MediaArrow)
	if !ok {
		return "", failure(http.StatusNotAcceptable, client.CodeUnsupported, "answers are %s, %s, %s or %s", client.MediaJSON, client.MediaNDJSON, client.MediaCSV, client.MediaArrow)
	}
	return media, nil
}

func (s *Server) query(w http.ResponseWriter, r *http.Request) error {
	var body client.QueryRequest
	if err := s.readJSON(r, &body); err != nil {
		return err
	}
	media, err := format(r, body.Format)
	if err != nil {
		return err
	}
	req, err := engineRequest(&body)
	if err != nil {
		return err
	}
	if media == client.MediaNDJSON {
		return s.queryNDJSON(w, r, req, body.Explain)
	}
	x, err := s.start(r, req, body.ID)
	if err != nil {
		return err
	}
	defer x.finish()
	a := s.answer(r, x)
	if body.Explain {
		a.explained = explained(x.result)
	}
	w.Header().Set("X-Hubscope-Query-Id", x.record.ID)
	switch media {
	case client.MediaArrow:
		w.Header().Set("Trailer", trailerTruncated+", "+trailerRows)
		return a.writeArrow(newSink(w, r, client.MediaArrow, s.config.WriteTimeout), w.Header())
	case client.MediaCSV:
		w.Header().Set("Trailer", trailerTruncated+", "+trailerRows)
		return a.writeCSV(newSink(w, r, client.MediaCSV+"; charset=utf-8; header=present", s.config.WriteTimeout), w.Header())
	}
	return a.writeJSON(newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout))
}

func (s *Server) answer(r *http.Request, x *execution) *answer {
	return &answer{columns: x.result.Columns, render: x.result.Visualization, notices: x.result.Notices, rows: x, fail: s.failWhileStreaming(r, x.record.Text), failed: x.failed}
}

// explained says how a query ran.
func explained(r *query.Result) *client.Explained {
	return &client.Explained{SQL: r.SQL, Tables: append([]string{}, r.Tables...), Rollup: r.Rollup}
}

// progressInterval is the shortest time between two progress lines.
const progressInterval = 250 * time.Millisecond

// queryNDJSON answers with lines, the first of them as soon as the query makes
// progress. A query that fails before that is answered with a status.
func (s *Server) queryNDJSON(w http.ResponseWriter, r *http.Request, req query.Request, explain bool) error {
	var mu sync.Mutex
	var out *sink
	var last time.Time
	var sendErr error
	over := false // no progress once rows flow or the answer is given
	start := func() *sink {
		if out == nil {
			out = newSink(w, r, client.MediaNDJSON, s.config.WriteTimeout)
		}
		return out
	}
	req.Progress = func(p query.Stats) {
		mu.Lock()
		defer mu.Unlock()
		if over || sendErr != nil || time.Since(last) < progressInterval {
			return
		}
		last = time.Now()
		stats := wireStats(p)
		start().json(client.Line{Progress: &stats})
		out.text("\n")
		sendErr = out.flush()
	}
	defer func() {
		mu.Lock()
		over = true
		mu.Unlock()
	}()
	x, err := s.start(r, req, req.ID)
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		if out == nil {
			over = true
			return err
		}
		out.json(client.Line{Error: s.asStatus(r, err).body.Error})
		out.text("\n")
		return out.close()
	}
	defer x.finish()
	mu.Lock()
	if out == nil {
		w.Header().Set("X-Hubscope-Query-Id", x.record.ID)
	}
	start()
	mu.Unlock()
	a := s.answer(r, x)
	if explain {
		a.explained = explained(x.result)
	}
	return a.writeNDJSON(out, &mu)
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) error {
	var body client.QueryRequest
	if err := s.readJSON(r, &body); err != nil {
		return err
	}
	req, err := engineRequest(&body)
	if err != nil {
		return err
	}
	if err := s.pace(r); err != nil {
		return err
	}
	req.Hubs, req.Owner = identity(r.Context()).restrict()
	a := s.engine.Analyze(req)
	answer := client.ValidateResponse{
		Valid: len(a.Errors) == 0, Columns: wireColumns(a.Columns), Tables: a.Tables, Errors: fromKQL(req.Text, a.Errors),
	}
	if answer.Tables == nil {
		answer.Tables = []string{}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	var body client.QueryRequest
	if err := s.readJSON(r, &body); err != nil {
		return err
	}
	req, err := engineRequest(&body)
	if err != nil {
		return err
	}
	if err := s.pace(r); err != nil {
		return err
	}
	// Finding columns may run queries.
	leave, err := s.gate.enter(r.Context(), clientKey(r))
	if err != nil {
		return queryError(req.Text, err)
	}
	defer leave()
	req.Hubs, req.Owner = identity(r.Context()).restrict()
	e, err := s.engine.Explain(r.Context(), req)
	if err != nil {
		return queryError(req.Text, err)
	}
	answer := client.ExplainResponse{
		Columns: wireColumns(e.Columns), SQL: e.SQL, Tables: e.Tables, Rollup: e.Rollup, RollupWhyNot: e.RollupWhyNot, Notices: e.Notices,
		EstimatedRows: e.EstimatedRows, Plan: e.Plan, Render: wireRender(e.Visualization),
	}
	if answer.Tables == nil {
		answer.Tables = []string{}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request) error {
	if err := s.cancelQuery(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// document is a body that does not change while the service runs.
type document struct {
	schema, functions, openapi             []byte
	schemaETag, functionsETag, openapiETag string
}

// describe makes the bodies of /schema and /functions.
func (s *Server) describe() *document {
	catalog := s.engine.Catalog()
	schema := client.SchemaResponse{Database: catalog.Database, Tables: []client.Table{}}
	for _, t := range catalog.Tables() {
		table := client.Table{Name: t.Name, Doc: t.Doc, Columns: []client.TableColumn{}}
		for _, c := range t.Columns {
			table.Columns = append(table.Columns, client.TableColumn{Name: c.Name, Type: c.Type.String(), Doc: c.Doc})
		}
		schema.Tables = append(schema.Tables, table)
	}
	functions := client.FunctionsResponse{Functions: []client.Function{}}
	for _, f := range plan.Functions() {
		wire := client.Function{Name: f.Name, Group: f.Group, Doc: f.Doc, Aggregate: f.Aggregate, Replaced: f.Replaced, Signatures: []string{}}
		for i := range f.Sigs {
			wire.Signatures = append(wire.Signatures, f.Sigs[i].String())
		}
		functions.Functions = append(functions.Functions, wire)
	}
	d := &document{}
	d.schema, d.schemaETag = tagged(schema)
	d.functions, d.functionsETag = tagged(functions)
	d.openapi, d.openapiETag = tagged(openapi(s.config.Version))
	return d
}

func tagged(v any) (body []byte, etag string) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("encode " + err.Error()) // a wire type of ours
	}
	sum := sha256.Sum256(b)
	return append(b, '\n'), `"` + hex.EncodeToString(sum[:12]) + `"`
}

func (s *Server) serveSchema(w http.ResponseWriter, r *http.Request) error {
	d := s.schema()
	return serveTagged(w, r, d.schema, d.schemaETag)
}

func (s *Server) serveFunctions(w http.ResponseWriter, r *http.Request) error {
	d := s.schema()
	return serveTagged(w, r, d.functions, d.functionsETag)
}

// serveTagged answers with a document, or says that the client has it already.
func serveTagged(w http.ResponseWriter, r *http.Request, body []byte, etag string) error {
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	for _, tag := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimSpace(tag); tag == etag || tag == "W/"+etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	w.Header().Set("Content-Type", client.MediaJSON+"; charset=utf-8")
	_, err := w.Write(body)
	return err
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := fmt.Fprintln(w, "ok")
	return err
}

// ready says whether the parts behind the service work.
func (s *Server) ready(ctx context.Context) error {
	if s.config.Ready != nil {
		return s.config.Ready(ctx)
	}
	return s.probe(ctx)
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	if err := s.ready(r.Context()); err != nil {
		s.config.Logger.Warn("not ready", "err", err)
		return unavailable(time.Second, string(query.CodeUnavailable), nil, "not ready")
	}
	return s.healthz(w, r)
}
