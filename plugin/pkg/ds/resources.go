package ds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"

	"hubscope/query/client"
)

// Resources are what the editors ask for, below
// /api/datasources/uid/UID/resources:
//
//	GET  /schema        the service's tables and columns, with its ETag
//	GET  /kusto-schema  the same for setSchemaFromShowSchema of Kusto's Monaco editor, with our macros as functions
//	GET  /functions     the service's functions, with its ETag
//	POST /validate      a query and a range: whether it is right, its columns, mistakes with places in the text as typed
//	POST /explain       a query and a range: its KQL and SQL, tables, rollup, rows to be read
//	GET  /tag-keys      columns for ad hoc filters
//	GET  /tag-values    ?key=&from=&to=&filters=           values of one of them, the commonest first
//	GET  /values        ?table=&column=&from=&to=          values of any column
//
// Errors are {"error":{"code","message","hint"}} with their status.

// maxResourceBody bounds a request, and maxDocument an answer that is passed on.
const (
	maxResourceBody = 4 << 20
	maxDocument     = 16 << 20
)

// resource is one of them.
type resource struct {
	method, path string
	// system says that it tells only how tables and functions are named, which
	// needs no user.
	system bool
	answer func(*Datasource, http.ResponseWriter, *http.Request) error
}

// resources returns all of them.
func resources() []resource {
	pass := func(path string) func(*Datasource, http.ResponseWriter, *http.Request) error {
		return func(d *Datasource, w http.ResponseWriter, r *http.Request) error { return d.pass(w, r, path) }
	}
	return []resource{
		{http.MethodGet, "/schema", true, pass("/api/v1/schema")},
		{http.MethodGet, "/functions", true, pass("/api/v1/functions")},
		{http.MethodGet, "/kusto-schema", true, (*Datasource).kustoSchema},
		{http.MethodGet, "/tag-keys", true, (*Datasource).tagKeys},
		{http.MethodPost, "/validate", true, (*Datasource).validate},
		{http.MethodPost, "/explain", false, (*Datasource).explain},
		{http.MethodGet, "/tag-values", false, (*Datasource).tagValues},
		{http.MethodGet, "/values", false, (*Datasource).columnValues},
	}
}

// CallResource answers a resource call.
func (d *Datasource) CallResource(ctx context.Context, req *backend.CallResourceRequest, sender backend.CallResourceResponseSender) error {
	ctx, cancel := context.WithTimeout(ctx, d.settings.Timeout+timeoutMargin)
	defer cancel()
	answer := func(w http.ResponseWriter, r *http.Request) {
		if err := d.answerResource(w, r, req.GetHTTPHeaders()); err != nil {
			d.resourceError(w, r, err)
		}
	}
	return httpadapter.New(http.HandlerFunc(answer)).CallResource(ctx, req, sender)
}

func (d *Datasource) answerResource(w http.ResponseWriter, r *http.Request, headers http.Header) error {
	var paths []string
	for _, res := range resources() {
		switch {
		case res.path != r.URL.Path:
			paths = append(paths, res.path)
			continue
		case res.method != r.Method:
			w.Header().Set("Allow", res.method)
			return &resourceFailure{http.StatusMethodNotAllowed, client.Error{Code: client.CodeMethod, Message: res.path + " takes " + res.method}}
		case res.system:
			return res.answer(d, w, r.WithContext(d.authorizeSystem(r.Context(), headers)))
		}
		return res.answer(d, w, r.WithContext(d.authorize(r.Context(), headers)))
	}
	return &resourceFailure{http.StatusNotFound, client.Error{Code: client.CodeNotFound, Message: "there is no resource " + cut(r.URL.Path, 60), Hint: "there are " + strings.Join(paths, ", ")}}
}

// resourceFailure is an error of a resource call with its status.
type resourceFailure struct {
	status int
	body   client.Error
}

// Error returns the message.
func (e *resourceFailure) Error() string { return e.body.Message }

func badResource(format string, args ...any) error {
	return &resourceFailure{http.StatusBadRequest, client.Error{Code: client.CodeBadRequest, Message: fmt.Sprintf(format, args...)}}
}

// resourceError answers with an error.
func (d *Datasource) resourceError(w http.ResponseWriter, r *http.Request, err error) {
	status, body := http.StatusInternalServerError, client.ErrorResponse{}
	var failure *resourceFailure
	var wrong client.Errors
	var answered *client.StatusError
	t := d.diagnose(r.Context(), err)
	switch {
	case errors.As(err, &failure):
		status, body.Error = failure.status, &failure.body
	case t != nil:
		body.Error = &client.Error{Code: t.category, Message: t.message, Hint: t.hint}
		switch {
		case t.category == "settings" || t.category == "identity" || t.category == "unauthorized":
			// Not 401: to the browser that is the end of the session with Grafana.
			status = http.StatusBadRequest
		case t.category == "timeout":
			status = http.StatusGatewayTimeout
		case errors.As(err, &answered):
			status = answered.Code
		default:
			status = http.StatusBadGateway
		}
	case errors.As(err, &wrong) && len(wrong) > 0:
		status, body.Error = http.StatusBadRequest, wrong[0]
		if len(wrong) > 1 {
			body.Errors = wrong
		}
		if errors.As(err, &answered) {
			status = answered.Code
		}
	case backend.IsDownstreamError(err):
		status, body.Error = http.StatusBadRequest, &client.Error{Code: client.CodeBadRequest, Message: err.Error()}
	default:
		d.logger.Error("resource", "path", r.URL.Path, "err", err)
		body.Error = &client.Error{Code: client.CodeInternal, Message: "the data source has failed", Hint: "Grafana's log tells more"}
	}
	if status < 400 || status > 599 {
		status = http.StatusBadGateway
	}
	writeResource(w, status, body)
}

// writeResource answers with JSON.
func writeResource(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("encode " + err.Error()) // a type of ours
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the caller has gone
}

// document fetches a document of the service. With a tag that is still right it
// returns no body.
func (d *Datasource) document(ctx context.Context, path, etag string) (body []byte, tag string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.client.URL+path, nil)
	if err != nil {
		return nil, "", fmt.Errorf("address of the query service: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	res, err := d.client.HTTP.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotModified {
		return nil, res.Header.Get("ETag"), nil
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", path, err)
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode != http.StatusOK || media != "application/json" || !json.Valid(body) {
		failed := &client.StatusError{URL: d.client.URL, Code: res.StatusCode, Status: res.Status}
		var e client.ErrorResponse
		if res.StatusCode >= 400 && json.Unmarshal(body, &e) == nil && e.Error != nil {
			failed.Errors = client.Errors{e.Error}
		} else if res.StatusCode < 400 {
			failed.Status = "an answer of type " + media
		}
		return nil, "", failed
	}
	return body, res.Header.Get("ETag"), nil
}

// pass passes a document of the service on.
func (d *Datasource) pass(w http.ResponseWriter, r *http.Request, path string) error {
	body, tag, err := d.document(r.Context(), path, r.Header.Get("If-None-Match"))
	if err != nil {
		return err
	}
	writeTagged(w, body, tag)
	return nil
}

// writeTagged answers with a document, or says that it is the one of the request's
// tag when there is no body.
func writeTagged(w http.ResponseWriter, body []byte, tag string) {
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	w.Header().Set("Cache-Control", "no-cache")
	if body == nil {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body) //nolint:errcheck // the caller has gone
}

// queryBody is the body of /validate and /explain: a model, and what Grafana
// would send with it.
type queryBody struct {
	Range struct {
		From millis `json:"from"`
		To   millis `json:"to"`
	} `json:"range"`
	IntervalMs    int64 `json:"intervalMs"`
	MaxDataPoints int64 `json:"maxDataPoints"`
	// FromAlert expands as for an alert rule.
	FromAlert bool `json:"fromAlert"`
	// Live asks /validate whether the query can be followed.
	Live bool `json:"live"`
}

// millis is a time in milliseconds since 1970, as a number or as text.
type millis int64

// UnmarshalJSON reads the number.
func (m *millis) UnmarshalJSON(b []byte) error {
	n, err := parseMillis(strings.Trim(string(b), `"`))
	*m = n
	return err
}

func parseMillis(s string) (millis, error) {
	if s == "" || s == "null" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(s, 64)
	// Ten thousand years are more than any clock says.
	if err != nil || n < 0 || n > 3.2e14 {
		return 0, fmt.Errorf("%q are no milliseconds since 1970", cut(s, 30))
	}
	return millis(n), nil
}

// defaultRange is the range of requests that say none.
const defaultRange = time.Hour

// timeRange is the range of a request, the last hour when it says none.
func timeRange(from, to millis) (backend.TimeRange, error) {
	r := backend.TimeRange{From: time.UnixMilli(int64(from)).UTC(), To: time.UnixMilli(int64(to)).UTC()}
	if to == 0 {
		r.To = time.Now().UTC()
	}
	if from == 0 {
		r.From = r.To.Add(-defaultRange)
	}
	if r.To.Before(r.From) {
		return r, badResource("the time range ends before it begins")
	}
	return r, nil
}

// expandBody reads the body of /validate and /explain.
func (d *Datasource) expandBody(r *http.Request) (_ Expanded, live bool, err error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxResourceBody+1))
	if err != nil {
		return Expanded{}, false, fmt.Errorf("read the request: %w", err)
	}
	if len(b) > maxResourceBody {
		return Expanded{}, false, &resourceFailure{http.StatusRequestEntityTooLarge, client.Error{Code: client.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d MiB", maxResourceBody>>20)}}
	}
	var body queryBody
	if err := json.Unmarshal(b, &body); err != nil {
		return Expanded{}, false, badResource("the request is no JSON of a query and a range: %v", err)
	}
	if body.Live {
		_, x, err := d.readTail(b)
		if x == nil {
			x = &Expanded{}
		}
		return *x, true, err
	}
	m, err := readModel(b)
	if err != nil {
		return Expanded{}, false, err
	}
	span, err := timeRange(body.Range.From, body.Range.To)
	if err != nil {
		return Expanded{}, false, err
	}
	x, err := Expand(m, span, max(time.Duration(body.IntervalMs)*time.Millisecond, d.settings.TimeInterval), body.MaxDataPoints, body.FromAlert)
	return x, false, err
}

// request is an expanded query as the service takes it.
func (x *Expanded) request() client.QueryRequest {
	return client.QueryRequest{Query: x.Text, Start: formatTime(x.Start), End: formatTime(x.End)}
}

// validation is the answer of /validate.
type validation struct {
	Valid   bool            `json:"valid"`
	Errors  client.Errors   `json:"errors"`
	Columns []client.Column `json:"columns"`
	Tables  []string        `json:"tables"`
	KQL     string          `json:"kql,omitempty"` // as it goes to the service
}

// validate checks a query. Mistakes in it are an answer and no error.
func (d *Datasource) validate(w http.ResponseWriter, r *http.Request) error {
	answer := validation{Errors: client.Errors{}, Columns: []client.Column{}, Tables: []string{}}
	x, live, err := d.expandBody(r)
	var failure *resourceFailure
	var wrong client.Errors
	switch {
	case errors.As(err, &failure):
		return err
	case errors.As(err, &wrong):
		answer.Errors = wrong
		writeResource(w, http.StatusOK, answer)
		return nil
	case err != nil && backend.IsDownstreamError(err): // of the model
		answer.Errors = client.Errors{{Code: client.CodeBadRequest, Message: err.Error()}}
		writeResource(w, http.StatusOK, answer)
		return nil
	case err != nil:
		return err
	}
	answer.KQL = x.Text
	checked, err := d.client.Validate(r.Context(), x.request())
	if err != nil {
		return err
	}
	answer.Valid, answer.Errors = checked.Valid, x.Errors(checked.Errors)
	answer.Columns, answer.Tables = append(answer.Columns, checked.Columns...), append(answer.Tables, checked.Tables...)
	if live && checked.Valid {
		var no refused
		switch _, err := d.checkTail(r.Context(), &x); {
		case errors.As(err, &no):
			answer.Valid, answer.Errors = false, client.Errors{{Code: client.CodeBadRequest, Message: no.Error()}}
		case errors.As(err, &wrong) && d.diagnose(r.Context(), err) == nil:
			answer.Valid, answer.Errors = false, wrong
		case err != nil:
			return err
		}
	}
	writeResource(w, http.StatusOK, answer)
	return nil
}

// explanation is the answer of /explain.
type explanation struct {
	KQL           string          `json:"kql"`
	SQL           string          `json:"sql"`
	Tables        []string        `json:"tables"`
	Rollup        string          `json:"rollup"`
	RollupWhyNot  string          `json:"rollupWhyNot"`
	Notices       []string        `json:"notices"`
	EstimatedRows int64           `json:"estimatedRows"`
	Columns       []client.Column `json:"columns"`
}

// explain says how a query would run.
func (d *Datasource) explain(w http.ResponseWriter, r *http.Request) error {
	x, _, err := d.expandBody(r)
	if err != nil {
		return err
	}
	e, err := d.client.Explain(r.Context(), x.request())
	if err != nil {
		var answered *client.StatusError
		if errors.As(err, &answered) {
			answered.Errors = x.Errors(answered.Errors)
		}
		return err
	}
	writeResource(w, http.StatusOK, explanation{
		KQL: x.Text, SQL: e.SQL, Tables: append([]string{}, e.Tables...), Rollup: e.Rollup, RollupWhyNot: e.RollupWhyNot,
		Notices: append([]string{}, e.Notices...), EstimatedRows: e.EstimatedRows, Columns: append([]client.Column{}, e.Columns...),
	})
	return nil
}

// kustoSchema answers with the schema that Kusto's Monaco editor takes.
func (d *Datasource) kustoSchema(w http.ResponseWriter, r *http.Request) error {
	own := r.Header.Get("If-None-Match")
	body, _, err := d.document(r.Context(), "/api/v1/schema", "")
	if err != nil {
		return err
	}
	var schema client.SchemaResponse
	if err := json.Unmarshal(body, &schema); err != nil || schema.Tables == nil {
		return &client.StatusError{URL: d.client.URL, Code: http.StatusOK, Status: "a schema without tables"}
	}
	b, err := json.Marshal(kustoSchema(&schema))
	if err != nil {
		return fmt.Errorf("encode the schema: %w", err)
	}
	sum := sha256.Sum256(b) // the macros are part of it
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	if own == tag || own == "W/"+tag {
		b = nil
	}
	writeTagged(w, b, tag)
	return nil
}
