package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/plugin/host"
	"hubscope/query/api"
	"hubscope/query/client"
)

// call makes a resource call; path has the query.
func call(t testing.TB, p *host.Plugin, method, path, body string, header ...string) *backend.CallResourceResponse {
	t.Helper()
	req := &backend.CallResourceRequest{Method: method, Path: strings.SplitN(path, "?", 2)[0], URL: path, Body: []byte(body), Headers: map[string][]string{
		// As browsers send: none of these may reach the service.
		"Accept-Encoding": {"br"}, "Accept": {"text/html"}, "Content-Length": {"7"},
	}}
	for i := 0; i+1 < len(header); i += 2 {
		req.Headers[header[i]] = []string{header[i+1]}
	}
	res, err := p.CallResource(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// into reads an answer of status 200 into v.
func into(t testing.TB, res *backend.CallResourceResponse, v any) {
	t.Helper()
	if got := http.Header(res.Headers).Get("Content-Type"); res.Status != 200 || got != "application/json" {
		t.Fatalf("%d %s: %s", res.Status, got, res.Body)
	}
	if err := json.Unmarshal(res.Body, v); err != nil {
		t.Fatalf("%v in %s", err, res.Body)
	}
}

// failure reads an answer that is an error.
func failure(t testing.TB, res *backend.CallResourceResponse, status int) *client.Error {
	t.Helper()
	var e client.ErrorResponse
	if err := json.Unmarshal(res.Body, &e); err != nil || res.Status != status || e.Error == nil {
		t.Fatalf("want an error of status %d, got %d %s (%v)", status, res.Status, res.Body, err)
	}
	return e.Error
}

func TestDocuments(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	var schema client.SchemaResponse
	into(t, call(t, p, "GET", "schema", ""), &schema)
	if i := slices.IndexFunc(schema.Tables, func(t client.Table) bool { return t.Name == "Connections" }); i < 0 || len(schema.Tables[i].Columns) < 50 {
		t.Errorf("%+v", schema)
	}
	var functions client.FunctionsResponse
	into(t, call(t, p, "GET", "functions", ""), &functions)
	if len(functions.Functions) < 100 {
		t.Errorf("%d functions", len(functions.Functions))
	}
	var kusto struct {
		Plugins   []any
		Databases map[string]struct {
			Tables map[string]struct {
				OrderedColumns []struct{ Name, Type, CslType string }
			}
			Functions map[string]struct{ Body string }
		}
	}
	into(t, call(t, p, "GET", "kusto-schema", ""), &kusto)
	db := kusto.Databases[schema.Database]
	if kusto.Plugins == nil || len(db.Tables) != len(schema.Tables) || db.Functions["$__timeFilter"].Body != "{ true }" {
		t.Errorf("%+v", kusto)
	}
	if c := db.Tables["Connections"].OrderedColumns[0]; c.Name != "TimeGenerated" || c.Type != "System.DateTime" || c.CslType != "datetime" {
		t.Errorf("%+v", c)
	}
	for _, table := range db.Tables {
		for _, c := range table.OrderedColumns {
			if c.Type == "" {
				t.Errorf("%s of type %s has no type of .NET", c.Name, c.CslType)
			}
		}
	}
	for _, path := range []string{"schema", "functions", "kusto-schema"} {
		tag := http.Header(call(t, p, "GET", path, "").Headers).Get("Etag")
		if tag == "" {
			t.Errorf("%s has no ETag", path)
		}
		if res := call(t, p, "GET", path, "", "If-None-Match", tag); res.Status != http.StatusNotModified || len(res.Body) > 0 {
			t.Errorf("%s with its own tag: %d, %d bytes", path, res.Status, len(res.Body))
		}
		if res := call(t, p, "GET", path, "", "If-None-Match", `"other"`); res.Status != 200 || len(res.Body) == 0 {
			t.Errorf("%s with another tag: %d", path, res.Status)
		}
	}
	if e := failure(t, call(t, p, "GET", "nowhere", ""), 404); !strings.Contains(e.Hint, "/kusto-schema") {
		t.Errorf("%+v", e)
	}
	failure(t, call(t, p, "POST", "schema", ""), 405)
	failure(t, call(t, p, "GET", "validate", ""), 405)
	failure(t, call(t, p, "DELETE", "values", ""), 405)
}

func TestValidate(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	type answer struct {
		Valid   bool
		Errors  []client.Error
		Columns []client.Column
		KQL     string
	}
	validate := func(model map[string]any) (a answer) {
		t.Helper()
		model["range"] = map[string]any{"from": 1_772_000_000_000, "to": "1772003600000"}
		b, _ := json.Marshal(model)
		into(t, call(t, p, "POST", "validate", string(b)), &a)
		return a
	}
	right := validate(map[string]any{"query": "Connections | where $__timeFilter() | summarize n=count() by bin(TimeGenerated, $__timeInterval), Hub"})
	if !right.Valid || len(right.Errors) > 0 || len(right.Columns) != 3 || !strings.Contains(right.KQL, "datetime(2026-02-25T") {
		t.Errorf("%+v", right)
	}
	// Behind macros and variables, in lines of more than ASCII.
	text := "// Gerät $__x\nConnections | where $__timeFilter() and Hub in ($hub)\n| where DeviceId != \"ü\" and TlsVersoin == 'x'"
	got := validate(map[string]any{"query": text, "variables": map[string]any{"hub": map[string]any{"values": []string{"a rather long name of a hub", "b"}}}})
	lines := strings.Split(text, "\n")
	want := client.Error{Line: 3, Column: 1 + len([]rune(lines[2][:strings.Index(lines[2], "TlsVersoin")])), Length: len("TlsVersoin")}
	if got.Valid || len(got.Errors) != 1 || got.Errors[0].Line != want.Line || got.Errors[0].Column != want.Column || got.Errors[0].Length != want.Length ||
		!strings.Contains(got.Errors[0].Hint, "TlsVersion") {
		t.Errorf("want %+v, got %+v", want, got)
	}
	// Found before the service is asked.
	if got := validate(map[string]any{"query": "Connections | where $__timeFiltre()"}); got.Valid || len(got.Errors) != 1 || got.Errors[0].Line != 1 || got.Errors[0].Column != 21 {
		t.Errorf("%+v", got)
	}
	for _, query := range []string{"", "  "} {
		if got := validate(map[string]any{"query": query}); got.Valid || len(got.Errors) != 1 {
			t.Errorf("%q: %+v", query, got)
		}
	}
	if got := validate(map[string]any{"query": "print 1", "schemaVersion": 99}); got.Valid || !strings.Contains(got.Errors[0].Message, "newer") {
		t.Errorf("%+v", got)
	}
	failure(t, call(t, p, "POST", "validate", `{"query":`), 400)
	failure(t, call(t, p, "POST", "validate", `{"query":"print 1","range":{"from":"soon"}}`), 400)
	failure(t, call(t, p, "POST", "validate", `{"query":"print 1","range":{"from":2000,"to":1000}}`), 400)
	failure(t, call(t, p, "POST", "validate", `{"query":"`+strings.Repeat("x", 5<<20)+`"}`), 413)
}

func TestExplain(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	var got struct {
		KQL, SQL, Rollup, RollupWhyNot string
		Tables, Notices                []string
		EstimatedRows                  int64
		Columns                        []client.Column
	}
	span := fmt.Sprintf(`"range":{"from":%d,"to":%d}`, time.Now().Add(-24*time.Hour).UnixMilli(), time.Now().UnixMilli())
	into(t, call(t, p, "POST", "explain", `{"query":"Connections | where $__timeFilter() | summarize count() by bin(TimeGenerated, $__timeInterval), TlsVersion",`+span+`}`), &got)
	if !strings.Contains(got.SQL, "SELECT") || got.Rollup == "" || got.Notices == nil || len(got.Columns) != 3 || strings.Contains(got.KQL, "$") ||
		!slices.Contains(got.Tables, "Connections") {
		t.Errorf("%+v", got)
	}
	e := failure(t, call(t, p, "POST", "explain", `{"query":"Connections | where $__timeFilter() | foo",`+span+`}`), 400)
	if e.Line != 1 || e.Column != 1+strings.Index("Connections | where $__timeFilter() | foo", "foo") {
		t.Errorf("%+v", e)
	}
}

func TestTags(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	var keys []struct{ Text, Value, Type, Doc string }
	into(t, call(t, p, "GET", "tag-keys", ""), &keys)
	if len(keys) < 10 || keys[0].Text != keys[0].Value || keys[0].Doc == "" {
		t.Errorf("%+v", keys)
	}
	span := fmt.Sprintf("&from=%d&to=%d", time.Now().Add(-time.Hour).UnixMilli(), time.Now().UnixMilli())
	values := func(path string) (texts []string) {
		t.Helper()
		var list []struct {
			Text, Value string
			Count       int64
		}
		into(t, call(t, p, "GET", path, ""), &list)
		for i, v := range list {
			if v.Text != v.Value || i > 0 && v.Count > list[i-1].Count {
				t.Errorf("%s: %+v", path, list)
			}
			texts = append(texts, v.Text)
		}
		slices.Sort(texts)
		return texts
	}
	for path, want := range map[string][]string{
		"tag-values?key=Hub" + span:        {"office", "plant"},
		"tag-values?key=TlsVersion" + span: {"1.0", "1.2", "1.3"},
		// With the hub plant go the devices of even numbers only, but both hubs stay on offer.
		"tag-values?key=Hub" + span + "&filters=" + url.QueryEscape(`[{"key":"Hub","operator":"=","value":"plant"}]`):              {"office", "plant"},
		"tag-values?key=Protocol" + span + "&filters=" + url.QueryEscape(`[{"key":"Hub","operator":"=|","values":["x","plant"]}]`): {"Mqtt"},
		"tag-values?key=Hub" + span + "&filters=" + url.QueryEscape(`[{"key":"DeviceId","operator":"=","value":"device-7"}]`):      {"office"},
		"tag-values?key=WouldFailStrict":                           {"false", "true"},
		"values?table=Connections&column=OperationName" + span:     {"deviceConnect"},
		"values?table=Connections&column=Hub&from=1000&to=2000000": nil,
	} {
		if diff := cmp.Diff(want, values(path)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", path, diff)
		}
	}
	if got := values("tag-values?key=DeviceId" + span); len(got) != 100 {
		t.Errorf("%d devices", len(got))
	}
	for path, want := range map[string]string{
		"tag-values?key=Password":                    "no column for filters",
		"tag-values":                                 "no column for filters",
		"values?table=Connections":                   "column is missing",
		"values?table=Connections&column=TlsVersoin": "TlsVersoin",
		"values?table=Conections&column=Hub":         "Conections",
		"values?table=" + url.QueryEscape("Connections'] | take 1 //") + "&column=Hub":  "Connections'] | take 1 //",
		"values?table=Connections&column=Hub&from=x":                                    "milliseconds",
		"tag-values?key=Hub&filters=x":                                                  "filters",
		"tag-values?key=Hub&filters=" + url.QueryEscape(`[{"key":"x","operator":"="}]`): "names",
	} {
		if e := failure(t, call(t, p, "GET", path, ""), 400); !strings.Contains(e.Message, want) || e.Line != 0 {
			t.Errorf("%s: want %q, got %+v", path, want, e)
		}
	}
}

// TestResourceTrouble has services that cannot be asked.
func TestResourceTrouble(t *testing.T) {
	a, _ := access(t, api.Grant{Name: "x", Role: api.Reader})
	for name, tt := range map[string]struct {
		url    string
		status int
		code   string
	}{
		"refused":      {"http://127.0.0.1:1", 502, "refused"},
		"unauthorized": {serve(t, api.Config{Access: a}), 400, "unauthorized"},
		"settings":     {"", 400, "settings"},
		"not hubscope": {serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })), 502, "not-hubscope"},
	} {
		p := source(t, backend.DataSourceInstanceSettings{URL: tt.url})
		for _, path := range []string{"schema", "kusto-schema", "functions", "values?table=Connections&column=Hub", "tag-values?key=Hub"} {
			if e := failure(t, call(t, p, "GET", path, ""), tt.status); e.Code != tt.code || e.Message == "" {
				t.Errorf("%s, %s: %+v", name, path, e)
			}
		}
	}
}

// TestValuesAreBounded has a service that would read too much: the range that is
// looked through ends where it should and is shorter.
func TestValuesAreBounded(t *testing.T) {
	service := handler(t, api.Config{})
	var asked []client.QueryRequest
	url := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		var req client.QueryRequest
		if r.Method == http.MethodPost && json.Unmarshal(b, &req) != nil {
			t.Errorf("%s", b)
		}
		if r.URL.Path != "/api/v1/explain" {
			asked = append(asked, req)
			service.ServeHTTP(w, r)
			return
		}
		start, _ := time.Parse(time.RFC3339, req.Start)
		end, _ := time.Parse(time.RFC3339, req.End)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(client.ExplainResponse{EstimatedRows: int64(end.Sub(start).Hours() * 1e6)}) //nolint:errcheck // a test's server
	}))
	p := source(t, backend.DataSourceInstanceSettings{URL: url})
	to := time.Now().Truncate(time.Second)
	path := fmt.Sprintf("values?table=Connections&column=DeviceId&from=%d&to=%d", to.Add(-30*24*time.Hour).UnixMilli(), to.UnixMilli())
	if res := call(t, p, "GET", path, ""); res.Status != 200 {
		t.Fatalf("%d %s", res.Status, res.Body)
	}
	if len(asked) != 1 || asked[0].MaxRows != 1000 || asked[0].TimeoutSeconds != 10 {
		t.Fatalf("%+v", asked)
	}
	start, err := time.Parse(time.RFC3339, asked[0].Start)
	if err != nil {
		t.Fatal(err)
	}
	end, err := time.Parse(time.RFC3339, asked[0].End)
	if err != nil {
		t.Fatal(err)
	}
	if length := end.Sub(start); !end.Equal(to) || length < 19*time.Hour || length > 20*time.Hour { // a million an hour, 20 at most
		t.Errorf("it looks through %v to %v", start, end)
	}
}
