package api

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/plan"
)

// The REST interface of Azure Monitor Logs:
//
//	POST, GET /v1/workspaces/{id}/query
//	POST, GET /v1/{resource id}/query
//	POST      /v1/$batch
//
// There is one database, so every workspace and resource answers the same.

func (s *Server) monitorRoutes() {
	one := s.handleWith(s.monitorQuery, writeMonitorError)
	for _, pattern := range []string{
		"POST /v1/workspaces/{id}/query", "GET /v1/workspaces/{id}/query",
		"POST /v1/subscriptions/{path...}", "GET /v1/subscriptions/{path...}",
	} {
		s.route(pattern, one)
	}
	s.route("POST /v1/$batch", s.handleWith(s.monitorBatch, writeMonitorError))
}

// monitorRequest is the body of a query.
type monitorRequest struct {
	Query      string   `json:"query"`
	Timespan   string   `json:"timespan"`
	Workspaces []string `json:"workspaces"` // each has the same data: nothing to add
}

// preferences are what the Prefer header may ask for.
type preferences struct {
	wait               time.Duration
	statistics, render bool
}

func readPreferences(header []string) preferences {
	var p preferences
	for _, part := range strings.FieldsFunc(strings.Join(header, ","), func(r rune) bool { return r == ',' || r == ';' }) {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "wait":
			if n, err := strconv.Atoi(value); err == nil && n > 0 && n < 1e6 {
				p.wait = time.Duration(n) * time.Second
			}
		case "include-statistics":
			p.statistics = strings.EqualFold(value, "true")
		case "include-render":
			p.render = strings.EqualFold(value, "true")
		}
	}
	return p
}

func (s *Server) monitorQuery(w http.ResponseWriter, r *http.Request) error {
	if path := r.PathValue("path"); path != "" && !strings.HasSuffix(path, "/query") {
		return failure(http.StatusNotFound, "PathNotFoundError", "there is nothing at %s", r.URL.Path)
	}
	var body monitorRequest
	if r.Method == http.MethodGet {
		body.Query, body.Timespan = r.URL.Query().Get("query"), r.URL.Query().Get("timespan")
	} else {
		if err := s.decode(r, &body, false); err != nil {
			return err
		}
		if t := r.URL.Query().Get("timespan"); t != "" && body.Timespan == "" {
			body.Timespan = t
		}
	}
	prefer := readPreferences(r.Header.Values("Prefer"))
	req, err := body.request(prefer)
	if err != nil {
		return err
	}
	w.Header().Set("X-Ms-Request-Id", uuid.NewString())
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		w.Header().Set("X-Ms-Client-Request-Id", id)
	}
	x, err := s.start(r, req, r.Header.Get("X-Ms-Client-Request-Id"))
	if err != nil {
		return err
	}
	defer x.finish()
	out := newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout)
	if err := s.answer(r, x).writeMonitor(out, prefer); err != nil {
		return err
	}
	out.text("\n")
	return out.close()
}

func (b *monitorRequest) request(prefer preferences) (query.Request, error) {
	req := query.Request{Text: b.Query}
	if strings.TrimSpace(b.Query) == "" {
		return req, badRequest("the query is empty")
	}
	start, end, err := monitorTimespan(b.Timespan, time.Now())
	if err != nil {
		return req, err
	}
	req.Start, req.End, req.Limits.Time = start, end, prefer.wait
	return req, nil
}

// monitorTimespan reads an ISO 8601 interval: P1D (until now), start/end,
// start/P1D or P1D/end.
func monitorTimespan(s string, now time.Time) (start, end time.Time, err error) {
	if s == "" {
		return start, end, nil
	}
	from, to, pair := strings.Cut(s, "/")
	bad := badRequest("timespan %q is no ISO 8601 interval such as P1D, PT6H, 2026-11-01/2026-11-22 or 2026-11-01/P7D", s)
	if !pair {
		d, ok := isoDuration(from)
		if !ok {
			return start, end, bad
		}
		return now.Add(-d), now, nil
	}
	fromLength, fromIsLength := isoDuration(from)
	toLength, toIsLength := isoDuration(to)
	if !fromIsLength {
		if start, err = instant("timespan", from); err != nil || from == "" {
			return time.Time{}, end, bad
		}
	}
	if !toIsLength {
		if end, err = instant("timespan", to); err != nil || to == "" {
			return start, time.Time{}, bad
		}
	}
	switch {
	case fromIsLength && toIsLength:
		return start, end, bad
	case fromIsLength:
		start = end.Add(-fromLength)
	case toIsLength:
		end = start.Add(toLength)
	}
	if end.Before(start) {
		return start, end, badRequest("timespan %q ends before it starts", s)
	}
	return start, end, nil
}

var isoDurationForm = regexp.MustCompile(`^P(?:(\d+(?:\.\d+)?)Y)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// isoDuration reads P1DT2H3M4.5S. A year has 365 days and a month 30.
func isoDuration(s string) (time.Duration, bool) {
	m := isoDurationForm.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "T") || s == "P" {
		return 0, false
	}
	const day = 24 * time.Hour
	units := []time.Duration{365 * day, 30 * day, 7 * day, day, time.Hour, time.Minute, time.Second}
	total := 0.0
	for i, u := range units {
		if m[i+1] != "" {
			f, err := strconv.ParseFloat(m[i+1], 64)
			if err != nil {
				return 0, false
			}
			total += f * float64(u)
		}
	}
	if total > float64(200*365*day) {
		return 0, false
	}
	return time.Duration(total), true
}

// writeMonitor writes one response object, without a line end.
func (a *answer) writeMonitor(s *sink, prefer preferences) error {
	s.text(`{"tables":[{"name":"PrimaryResult","columns":`)
	columns := wireColumns(a.columns)
	for i := range columns {
		if columns[i].Type == plan.Unknown.String() {
			columns[i].Type = plan.Dynamic.String()
		}
	}
	s.json(columns)
	s.text(`,"rows":[`)
	count := 0
	failed, err := a.each(func(b *query.Batch) error {
		for i := range b.Rows {
			if count > 0 {
				s.text(",")
			}
			count++
			s.monitorRow(b, i)
			if err := s.write(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.text("]}]")
	if prefer.statistics {
		st := a.rows.Stats()
		s.text(`,"statistics":`)
		s.json(map[string]any{"query": map[string]any{
			"executionTime":          st.Elapsed.Seconds(),
			"resourceUsage":          map[string]any{"memory": map[string]any{"peakPerNode": st.MemoryBytes}},
			"inputDatasetStatistics": map[string]any{"rows": map[string]any{"total": max(st.TotalRows, st.ReadRows), "scanned": st.ReadRows}},
			"datasetStatistics":      []any{map[string]any{"tableRowCount": count, "tableSize": st.Bytes}},
		}})
	}
	if prefer.render {
		s.text(`,"render":`)
		s.json(monitorRender(a.render))
	}
	switch {
	case failed != nil:
		s.text(`,"error":`)
		s.json(monitorErrorOf(failed).Error)
	case a.rows.Truncated():
		s.text(`,"error":`)
		s.json(monitorError{Code: "PartialError", Message: "There were some errors when processing your query.", Inner: &monitorInner{
			Code: "EngineError", Message: "Something went wrong processing your query on the server.", Inner: &monitorInner{
				Code: "-2133196797", Message: fmt.Sprintf("The results of this query exceed the set limit, so not all records were returned: cut after %d rows.", count)}}})
	}
	s.text("}")
	return nil
}

// monitorRow is row with dynamic values as text of JSON: the clients parse them
// by the column's type.
func (s *sink) monitorRow(b *query.Batch, i int) {
	s.buf = append(s.buf, '[')
	for c := range b.Columns {
		if c > 0 {
			s.buf = append(s.buf, ',')
		}
		if v := &b.Columns[c]; v.Type == plan.Dynamic && !v.Null(i) {
			s.buf = plan.AppendJSONString(s.buf, v.Strings[i])
		} else {
			s.buf = v.AppendJSON(s.buf, i)
		}
	}
	s.buf = append(s.buf, ']')
}

// monitorRender is the render operator's wish with Azure Monitor's names.
func monitorRender(v *query.Visualization) map[string]any {
	m := map[string]any{"visualization": nil, "isQuerySorted": false}
	for _, k := range visualizationKeys {
		if k.property != "" {
			m[monitorKey(k.key)] = nil
		}
	}
	m["accumulate"] = false
	if v == nil {
		return m
	}
	m["visualization"] = v.Kind
	for _, k := range visualizationKeys {
		if value, ok := v.Properties[k.property]; ok && k.property != "" {
			if key := monitorKey(k.key); k.property == "accumulate" {
				m[key] = strings.EqualFold(value, "true")
			} else {
				m[key] = value
			}
		}
	}
	return m
}

// monitorKey turns the name of a property in Kusto's answer into Azure Monitor's.
func monitorKey(key string) string {
	key = strings.ToLower(key[:1]) + key[1:]
	return strings.NewReplacer("min", "Min", "max", "Max").Replace(key)
}

// monitorBatchRequest is the body of /v1/$batch.
type monitorBatchRequest struct {
	Requests []struct {
		ID        string            `json:"id"`
		Headers   map[string]string `json:"headers"`
		Body      monitorRequest    `json:"body"`
		Method    string            `json:"method"`
		Path      string            `json:"path"`
		Workspace string            `json:"workspace"`
	} `json:"requests"`
}

// maxBatch is the number of queries that one batch may have, as in Azure.
const maxBatch = 100

// monitorBatch runs the queries of a batch one after the other.
func (s *Server) monitorBatch(w http.ResponseWriter, r *http.Request) error {
	var body monitorBatchRequest
	if err := s.decode(r, &body, false); err != nil {
		return err
	}
	if len(body.Requests) == 0 || len(body.Requests) > maxBatch {
		return badRequest("a batch has 1 to %d requests", maxBatch)
	}
	seen := map[string]bool{}
	for _, one := range body.Requests {
		if one.ID == "" || seen[one.ID] {
			return badRequest("every request of a batch has an id of its own")
		}
		seen[one.ID] = true
	}
	out := newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout)
	out.text(`{"responses":[`)
	for i, one := range body.Requests {
		if i > 0 {
			out.text(",")
		}
		prefer := preferences{}
		for name, value := range one.Headers {
			if strings.EqualFold(name, "Prefer") {
				prefer = readPreferences([]string{value})
			}
		}
		out.text(`{"id":`)
		out.json(one.ID)
		if err := s.monitorOne(out, r, &one.Body, prefer); err != nil {
			return err
		}
		out.text("}")
		if err := out.flush(); err != nil {
			return err
		}
	}
	out.text("]}\n")
	return out.close()
}

// monitorOne writes the answer to one request of a batch; only an error of the
// connection is returned.
func (s *Server) monitorOne(out *sink, r *http.Request, body *monitorRequest, prefer preferences) error {
	req, err := body.request(prefer)
	var x *execution
	if err == nil {
		x, err = s.start(r, req, "")
	}
	if err != nil {
		if r.Context().Err() != nil {
			return io.ErrClosedPipe
		}
		e := s.asStatus(r, err)
		out.text(`,"status":`, strconv.Itoa(e.status), `,"headers":{"Content-Type":"application/json; charset=utf-8"},"body":`)
		out.json(monitorErrorOf(e.body.Error))
		return nil
	}
	defer x.finish()
	out.text(`,"status":200,"headers":{"Content-Type":"application/json; charset=utf-8"},"body":`)
	return s.answer(r, x).writeMonitor(out, prefer)
}

// monitorErrorBody is an error in Azure Monitor's form.
type monitorErrorBody struct {
	Error monitorError `json:"error"`
}

type monitorError struct {
	Code          string        `json:"code"`
	Message       string        `json:"message"`
	CorrelationID string        `json:"correlationId,omitempty"`
	Inner         *monitorInner `json:"innererror,omitempty"`
}

type monitorInner struct {
	Code    string        `json:"code"`
	Message string        `json:"message"`
	Line    int           `json:"line,omitempty"`
	Pos     int           `json:"pos,omitempty"`
	Inner   *monitorInner `json:"innererror,omitempty"`
}

func monitorErrorOf(e *client.Error) monitorErrorBody {
	m := monitorError{Code: e.Code, Message: e.Message, CorrelationID: uuid.NewString()}
	text := e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	switch {
	case strings.HasPrefix(e.Code, "SYN"):
		m.Code, m.Message = "BadArgumentError", "The request had some invalid properties"
		m.Inner = &monitorInner{Code: "SyntaxError", Message: "A recognition error occurred in the query.",
			Inner: &monitorInner{Code: e.Code, Message: text, Line: e.Line, Pos: e.Column}}
	case strings.HasPrefix(e.Code, "SEM"), strings.HasPrefix(e.Code, "UNS"):
		m.Code, m.Message = "BadArgumentError", "The request had some invalid properties"
		m.Inner = &monitorInner{Code: "SemanticError", Message: "A semantic error occurred.",
			Inner: &monitorInner{Code: e.Code, Message: text, Line: e.Line, Pos: e.Column}}
	case e.Code == client.CodeBadRequest:
		m.Code = "BadArgumentError"
	case e.Code == string(query.CodeTimeout):
		m.Code = "GatewayTimeout"
	case e.Code == client.CodeUnauthorized:
		m.Code = "AuthorizationRequiredError"
	case e.Code == client.CodeForbidden:
		m.Code = "InsufficientAccessError"
	case e.Code == client.CodeThrottled:
		m.Code = "ThrottledError"
	case e.Code == client.CodeInternal:
		m.Code = "InternalServerError"
	}
	return monitorErrorBody{m}
}

func writeMonitorError(w http.ResponseWriter, _ *http.Request, e *statusError) {
	writeJSON(w, e.status, monitorErrorOf(e.body.Error))
}
