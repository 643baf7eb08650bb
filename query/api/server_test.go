package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/clickhouse"
	"hubscope/query/client"
	"hubscope/query/plan"
)

var shared struct {
	sync.Once
	engine *embed.Engine
	dir    string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.engine != nil {
		if err := shared.engine.Close(10 * time.Second); err != nil && code == 0 {
			code = 1
		}
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// openRunner returns a runner on the one ClickHouse of these tests.
func openRunner(t testing.TB) *clickhouse.Runner {
	t.Helper()
	shared.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "hubscope-api-"); shared.err == nil {
			shared.engine, shared.err = embed.StartEngine(context.Background(), embed.EngineConfig{Dir: shared.dir})
		}
	})
	if errors.Is(shared.err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	runner, err := clickhouse.Open(t.Context(), clickhouse.Config{DSN: shared.engine.ReaderDSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	return runner
}

// catalog has one table, for what only needs a schema.
func catalog(t testing.TB) *plan.Catalog {
	t.Helper()
	c, err := plan.NewCatalog("hubscope", []*plan.Table{{Name: "Connections", Doc: "one row an event", Time: "TimeGenerated", Columns: []plan.TableColumn{
		{Name: "TimeGenerated", Type: plan.Datetime, Doc: "when"}, {Name: "DeviceId", Type: plan.String}, {Name: "TlsVersion", Type: plan.String},
		{Name: "Offered", Type: plan.Dynamic}, {Name: "DurationMs", Type: plan.Long}}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve returns the address of a server on runner, which may be nil for what
// runs nothing.
func serve(t testing.TB, runner query.Runner, config Config) string {
	t.Helper()
	engine, err := query.New(query.Config{Catalog: catalog(t)}, runner)
	if err != nil {
		t.Fatal(err)
	}
	return serveEngine(t, engine, config)
}

// serveEngine returns the address of a server on engine.
func serveEngine(t testing.TB, engine *query.Engine, config Config) string {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	server := httptest.NewServer(NewServer(engine, config))
	t.Cleanup(server.Close)
	return server.URL
}

// send makes a request and returns status, header and body.
func send(t testing.TB, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapiDocument()
	if err != nil {
		t.Fatal(err)
	}
	document.check(t, req, res.StatusCode, res.Header, string(b))
	return res.StatusCode, res.Header, string(b)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestQuery(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	text := `print b=true, i=int(5), l=9223372036854775807, r=1.5, n=real(nan), inf=real(+inf), d=datetime(2026-11-22T10:00:00.1234567Z), ` +
		`ts=1d+5s, g=guid(74be27de-1e4e-49d9-b579-fe0b331d3642), s='x"y', y=dynamic({"k":[1,null]}), nl=long(null), dec=decimal(1.5)`
	status, header, body := send(t, "POST", url+"/api/v1/query", `{"query":`+quote(text)+`}`)
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		t.Fatalf("%d %s", status, body)
	}
	var got client.QueryResponse
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"true", "5", "9223372036854775807", "1.5", `"NaN"`, `"Infinity"`, `"2026-11-22T10:00:00.1234567Z"`, `"1.00:00:05"`,
		`"74be27de-1e4e-49d9-b579-fe0b331d3642"`, `"x\"y"`, `{"k":[1,null]}`, "null"}
	for i, w := range want {
		if string(got.Rows[0][i]) != w {
			t.Errorf("%s: want %s, got %s", got.Columns[i].Name, w, got.Rows[0][i])
		}
	}
	types := []string{"bool", "int", "long", "real", "real", "real", "datetime", "timespan", "guid", "string", "dynamic", "long", "decimal"}
	for i, c := range got.Columns {
		if c.Type != types[i] {
			t.Errorf("%s: want type %s, got %s", c.Name, types[i], c.Type)
		}
	}
	if got.Truncated || got.Stats.Rows != 1 || got.Stats.ElapsedMs <= 0 {
		t.Errorf("truncated %v, stats %+v", got.Truncated, got.Stats)
	}
}

func TestQueryParametersAndLimits(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	status, _, body := send(t, "POST", url+"/api/v1/query", `{"query":"declare query_parameters(a:long, b:string='x'); print a+1, b","parameters":{"a":41,"b":"it's"}}`)
	if status != 200 || !strings.Contains(body, `[42,"it's"]`) {
		t.Errorf("%d %s", status, body)
	}
	status, _, body = send(t, "POST", url+"/api/v1/query", `{"query":"range x from 1 to 100 step 1","maxRows":10}`)
	var got client.QueryResponse
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Rows) != 10 || !got.Truncated {
		t.Errorf("%d, %d rows, truncated %v, %v", status, len(got.Rows), got.Truncated, err)
	}
	status, _, body = send(t, "POST", url+"/api/v1/query", `{"query":"print x=1 | render piechart with (title='T')"}`)
	if status != 200 || !strings.Contains(body, `"render":{"visualization":"piechart","properties":{"title":"T"}}`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestFormatsOverHTTP(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	body := `{"query":"range x from 1 to 3 step 1 | extend s='a,b'"}`
	for _, how := range [][]string{{"?format=csv"}, {"", "Accept", "text/csv"}} {
		status, header, got := send(t, "POST", url+"/api/v1/query"+how[0], body, how[1:]...)
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") || got != "x,s\n1,\"a,b\"\n2,\"a,b\"\n3,\"a,b\"\n" {
			t.Errorf("%v: %d %q %q", how, status, header.Get("Content-Type"), got)
		}
	}
	status, header, got := send(t, "POST", url+"/api/v1/query?format=ndjson", body)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if status != 200 || header.Get("Content-Type") != client.MediaNDJSON || len(lines) < 3 || !strings.HasPrefix(lines[len(lines)-1], `{"done":`) {
		t.Errorf("%d %s", status, got)
	}
}

// TestExplained: an answer tells how the query ran when it is asked to, and the
// client reads it.
func TestExplained(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	const body = `{"query":"range x from 1 to 3 step 1"`
	for _, form := range []string{"json", "ndjson"} {
		if _, _, got := send(t, "POST", url+"/api/v1/query?format="+form, body+`}`); strings.Contains(got, `"sql"`) {
			t.Errorf("%s: SQL that nobody asked for: %s", form, got)
		}
	}
	_, _, got := send(t, "POST", url+"/api/v1/query", body+`,"explain":true}`)
	var whole client.QueryResponse
	if err := json.Unmarshal([]byte(got), &whole); err != nil || whole.Explained == nil || !strings.Contains(whole.SQL, "SELECT") || whole.Tables == nil {
		t.Errorf("%v: %s", err, got)
	}
	answer, err := (&client.Client{URL: url}).Query(t.Context(), client.QueryRequest{Query: "range x from 1 to 3 step 1", Explain: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	for err == nil {
		_, err = answer.Next()
	}
	if answer.Done == nil || answer.Done.Explained == nil || answer.Done.SQL != whole.SQL {
		t.Errorf("%v: %+v", err, answer.Done)
	}
}

// TestRequestErrors checks status and code of what is wrong with a request.
func TestRequestErrors(t *testing.T) {
	url := serve(t, nil, Config{MaxBodyBytes: 1000})
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, message            string
	}{
		{"empty body", "POST", "/api/v1/query", "", nil, 400, client.CodeBadRequest, "the body is empty"},
		{"no JSON", "POST", "/api/v1/query", "{", nil, 400, client.CodeBadRequest, "the body ends early"},
		{"not an object", "POST", "/api/v1/query", "[]", nil, 400, client.CodeBadRequest, "an object was expected"},
		{"unknown field", "POST", "/api/v1/query", `{"query":"T","params":{}}`, nil, 400, client.CodeBadRequest, `unknown field "params"`},
		{"two values", "POST", "/api/v1/query", `{"query":"T"}{}`, nil, 400, client.CodeBadRequest, "more than one"},
		{"empty query", "POST", "/api/v1/query", `{"query":" "}`, nil, 400, client.CodeBadRequest, "empty"},
		{"command", "POST", "/api/v1/query", `{"query":".show tables"}`, nil, 400, client.CodeBadRequest, "/v1/rest/mgmt"},
		{"bad time", "POST", "/api/v1/query", `{"query":"T","start":"yesterday"}`, nil, 400, client.CodeBadRequest, "ISO 8601"},
		{"end before start", "POST", "/api/v1/query", `{"query":"T","start":"2026-01-02","end":"2026-01-01"}`, nil, 400, client.CodeBadRequest, "before start"},
		{"media type", "POST", "/api/v1/query", `{"query":"T"}`, []string{"Content-Type", "text/plain"}, 415, client.CodeUnsupported, "application/json"},
		{"page of another origin", "POST", "/api/v1/query", `{"query":"T"}`, []string{"Origin", "http://other.example"}, 403, client.CodeForbidden, "origin"},
		{"not acceptable", "POST", "/api/v1/query", `{"query":"T"}`, []string{"Accept", "image/png"}, 406, client.CodeUnsupported, "text/csv"},
		{"format", "POST", "/api/v1/query?format=xml", `{"query":"T"}`, nil, 400, client.CodeBadRequest, "xml"},
		{"too large", "POST", "/api/v1/query", `{"query":"` + strings.Repeat("x", 2000) + `"}`, nil, 413, client.CodeTooLarge, "1000 bytes"},
		{"method", "GET", "/api/v1/query", "", nil, 405, client.CodeMethod, "POST"},
		{"path", "GET", "/api/v2/query", "", nil, 404, client.CodeNotFound, "/api/v2/query"},
		{"foreign name", "GET", "/healthz", "", []string{"Host", "attacker.example"}, 403, client.CodeForbidden, "attacker.example"},
		{"no engine", "POST", "/api/v1/query", `{"query":"print 1"}`, nil, 503, string(query.CodeUnavailable), "ClickHouse"},
		{"not ready", "GET", "/readyz", "", nil, 503, string(query.CodeUnavailable), "not ready"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := send(t, tt.method, url+tt.path, tt.body, tt.header...)
			var got client.ErrorResponse
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Error == nil {
				t.Fatalf("%d, no error document: %s", status, body)
			}
			if status != tt.status || got.Error.Code != tt.code || !strings.Contains(got.Error.Message, tt.message) {
				t.Errorf("want %d %s ...%s..., got %d %s", tt.status, tt.code, tt.message, status, body)
			}
			if status == 405 && header.Get("Allow") != "POST" {
				t.Errorf("Allow is %q", header.Get("Allow"))
			}
		})
	}
}

// TestQueryErrors checks the places of errors in the text.
func TestQueryErrors(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	tests := []struct {
		name, text string
		want       client.ErrorResponse
	}{
		{"syntax", "Connections\n| wher x", client.ErrorResponse{Error: &client.Error{
			Code: "SYN0001", Message: `unknown operator "wher"`, Line: 2, Column: 3, Length: 4, Hint: "did you mean where?"}}},
		{"column", `Connections | where TlsVersoin == "1.0"`, client.ErrorResponse{Error: &client.Error{
			Code: "SEM0100", Message: `no column "TlsVersoin" in Connections`, Line: 1, Column: 21, Length: 10, Hint: "did you mean TlsVersion?"}}},
	}
	for _, tt := range tests {
		status, _, body := send(t, "POST", url+"/api/v1/query", `{"query":`+quote(tt.text)+`}`)
		var got client.ErrorResponse
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || status != 400 {
			t.Errorf("%s: %d (-want +got)\n%s", tt.name, status, diff)
		}
	}
	_, _, body := send(t, "POST", url+"/api/v1/query", `{"query":"Connections | wher x; Connections | foo"}`)
	var several client.ErrorResponse
	if err := json.Unmarshal([]byte(body), &several); err != nil || len(several.Errors) != 2 || several.Error.Column != several.Errors[0].Column {
		t.Errorf("several errors: %s", body)
	}
}

func TestValidateAndExplain(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	service := &client.Client{URL: url}
	v, err := service.Validate(t.Context(), client.QueryRequest{Query: "Connections | summarize n=count() by DeviceId"})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.ValidateResponse{Valid: true, Columns: []client.Column{{Name: "DeviceId", Type: "string"}, {Name: "n", Type: "long"}}, Tables: []string{"Connections"}, Errors: []*client.Error{}}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	v, err = service.Validate(t.Context(), client.QueryRequest{Query: "Connections | foo | bar"})
	if err != nil || v.Valid || len(v.Errors) != 2 || v.Errors[1].Column != 21 {
		t.Errorf("%+v %v", v, err)
	}
	e, err := service.Explain(t.Context(), client.QueryRequest{Query: "print x = 1 | render table"})
	if err != nil || !strings.Contains(e.SQL, "SELECT") || len(e.Columns) != 1 || e.Render == nil {
		t.Errorf("%+v %v", e, err)
	}
	if _, err = service.Explain(t.Context(), client.QueryRequest{Query: "Nowhere"}); err == nil {
		t.Error("a query of no table is explained")
	}
}

func TestSchemaAndFunctions(t *testing.T) {
	url := serve(t, nil, Config{})
	service := &client.Client{URL: url}
	s, err := service.Schema(t.Context())
	if err != nil || len(s.Tables) != 1 || s.Tables[0].Name != "Connections" || s.Tables[0].Columns[0] != (client.TableColumn{Name: "TimeGenerated", Type: "datetime", Doc: "when"}) {
		t.Errorf("%+v %v", s, err)
	}
	f, err := service.Functions(t.Context())
	if err != nil || len(f.Functions) < 50 {
		t.Fatalf("%d functions, %v", len(f.Functions), err)
	}
	for _, fn := range f.Functions {
		if fn.Name == "" || len(fn.Signatures) == 0 {
			t.Errorf("%+v says nothing", fn)
		}
	}
	_, header, _ := send(t, "GET", url+"/api/v1/schema", "")
	status, _, body := send(t, "GET", url+"/api/v1/schema", "", "If-None-Match", header.Get("ETag"))
	if header.Get("ETag") == "" || status != 304 || body != "" {
		t.Errorf("%d %q with ETag %s", status, body, header.Get("ETag"))
	}
}

func TestHealth(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _, body := send(t, "GET", url+path, ""); status != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	broken := serve(t, nil, Config{Ready: func(context.Context) error { return errors.New("secret reason") }})
	if status, _, body := send(t, "GET", broken+"/readyz", ""); status != 503 || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
}

// brokenRunner fails in ways that must not reach a client.
type brokenRunner struct{ how string }

func (b brokenRunner) Run(context.Context, query.Statement) (query.Rows, error) {
	switch b.how {
	case "panic":
		panic("secret panic")
	case "internal":
		return nil, &query.Error{Code: query.CodeInternal, Message: "secret message", Err: errors.New("secret cause")}
	}
	return nil, errors.New("secret error")
}
func (brokenRunner) Estimate(context.Context, query.Statement) (int64, error) { return -1, nil }
func (brokenRunner) Kill(context.Context, string) error                       { return errors.New("secret kill") }

// TestNothingInternalLeaks sends a failing query through every dialect.
func TestNothingInternalLeaks(t *testing.T) {
	if client.CodeInternal != string(query.CodeInternal) { // package client does not import the engine
		t.Errorf("a bug is %q to clients and %q to the engine", client.CodeInternal, query.CodeInternal)
	}
	for _, how := range []string{"panic", "internal", "error"} {
		url := serve(t, brokenRunner{how}, Config{Logger: slog.New(slog.DiscardHandler)})
		for _, r := range [][3]string{
			{"POST", "/api/v1/query", `{"query":"print 1"}`}, {"POST", "/api/v1/query?format=ndjson", `{"query":"print 1"}`},
			{"POST", "/api/v1/query?format=csv", `{"query":"print 1"}`}, {"POST", "/v1/rest/query", `{"csl":"print 1"}`},
			{"POST", "/v2/rest/query", `{"csl":"print 1"}`}, {"POST", "/v1/workspaces/w/query", `{"query":"print 1"}`},
			{"DELETE", "/api/v1/queries/x", ""}, {"GET", "/readyz", ""},
		} {
			status, _, body := send(t, r[0], url+r[1], r[2])
			if status < 500 || strings.Contains(body, "secret") || !json.Valid([]byte(body)) {
				t.Errorf("%s %s: %d %s", how, r[1], status, body)
			}
		}
	}
}

// TestDisconnectKillsQuery checks that a query ends in ClickHouse soon after
// its client has gone.
func TestDisconnectKillsQuery(t *testing.T) {
	runner := openRunner(t)
	url := serve(t, runner, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	const id = "disconnect-test"
	failed := make(chan error, 1)
	go func() {
		a, err := (&client.Client{URL: url}).Query(ctx, client.QueryRequest{ID: id, Query: endless}, nil)
		if err == nil {
			_, err = a.Next()
			a.Close()
		}
		failed <- err
	}()
	waitFor(t, "the query runs", func() bool { return isRunning(t, runner, id) })
	cancel()
	if err := <-failed; err == nil {
		t.Error("the query came to an end")
	}
	waitFor(t, "the query is gone", func() bool { return !isRunning(t, runner, id) })
}

// TestCancel cancels a query by its id from another connection.
func TestCancel(t *testing.T) {
	runner := openRunner(t)
	url := serve(t, runner, Config{})
	service := &client.Client{URL: url}
	const id = "cancel-test"
	failed := make(chan error, 1)
	go func() {
		a, err := service.Query(t.Context(), client.QueryRequest{ID: id, Query: endless}, nil)
		if err == nil {
			_, err = a.Next()
			a.Close()
		}
		failed <- err
	}()
	waitFor(t, "the query runs", func() bool { return isRunning(t, runner, id) })
	_, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"csl":".show queries | where ClientActivityId == '`+id+`' | project Text"}`)
	if !strings.Contains(body, "range x from 1") {
		t.Errorf(".show queries: %s", body)
	}
	if err := service.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	var wrong client.Errors
	if err := <-failed; !errors.As(err, &wrong) || wrong[0].Code != string(query.CodeCanceled) {
		t.Errorf("the query ends with %v", err)
	}
	waitFor(t, "the query is gone", func() bool { return !isRunning(t, runner, id) })
	if err := service.Cancel(t.Context(), "never-was"); err != nil {
		t.Errorf("cancelling what does not run: %v", err)
	}
}

// isRunning asks ClickHouse.
func isRunning(t *testing.T, runner *clickhouse.Runner, id string) bool {
	t.Helper()
	return number(t, runner, "SELECT toInt64(count()) AS n FROM system.processes WHERE query_id = '"+id+"'") > 0
}

// number asks ClickHouse for a number.
func number(t *testing.T, runner *clickhouse.Runner, sql string) int64 {
	t.Helper()
	rows, err := runner.Run(t.Context(), query.Statement{ID: "probe-" + uuid.NewString(), SQL: sql,
		Columns: []query.Column{{Name: "n", Type: plan.Long}}, Limits: query.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	b, err := rows.Next()
	if err != nil {
		t.Fatal(err)
	}
	return b.Columns[0].Ints[0]
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// TestClientStreams reads more rows than fit into one batch, with progress.
func TestClientStreams(t *testing.T) {
	service := &client.Client{URL: serve(t, openRunner(t), Config{})}
	a, err := service.Query(t.Context(), client.QueryRequest{Query: "range x from 1 to 200000 step 1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	n, batches := 0, 0
	for {
		rows, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(rows)
		batches++
	}
	if n != 200000 || batches < 10 || a.Done == nil || a.Done.Stats.Rows != 200000 {
		t.Errorf("%d rows in %d batches, %+v", n, batches, a.Done)
	}
}

func TestClientErrors(t *testing.T) {
	service := &client.Client{URL: serve(t, openRunner(t), Config{})}
	var wrong client.Errors
	if _, err := service.Query(t.Context(), client.QueryRequest{Query: "Connections | foo; Connections | bar"}, nil); !errors.As(err, &wrong) || len(wrong) != 2 {
		t.Errorf("%v", err)
	}
	if _, err := (&client.Client{URL: "http://127.0.0.1:1"}).Query(t.Context(), client.QueryRequest{Query: "T"}, nil); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }))
	defer other.Close()
	if _, err := (&client.Client{URL: other.URL}).Query(t.Context(), client.QueryRequest{Query: "T"}, nil); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("%v", err)
	}
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"columns":[]}`+"\n") })) //nolint:errcheck // a test's server
	defer cut.Close()
	a, err := (&client.Client{URL: cut.URL}).Query(t.Context(), client.QueryRequest{Query: "T"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an answer without an end is taken for whole: %v", err)
	}
}
