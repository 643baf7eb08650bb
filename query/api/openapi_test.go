package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hubscope/query"
	"hubscope/query/client"
)

// openapiDocument is openapi.yaml with its schemas compiled as JSON Schema
// 2020-12, which those of OpenAPI 3.1 are.
var openapiDocument = sync.OnceValues(func() (*documented, error) {
	b, err := json.Marshal(openapi(""))
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	d := &documented{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	return d, d.compiler.AddResource("openapi.json", doc)
})

type documented struct {
	mu       sync.Mutex
	doc      map[string]any
	compiler *jsonschema.Compiler
}

// at follows keys, and references, from the root. It returns where it ends up.
func (d *documented) at(keys ...string) (value map[string]any, pointer string) {
	value, pointer = d.doc, "#"
	for _, k := range keys {
		next, ok := value[k].(map[string]any)
		if !ok {
			return nil, ""
		}
		value, pointer = next, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
		if ref, ok := value["$ref"].(string); ok {
			value, pointer = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value, pointer
}

var pathParameter = regexp.MustCompile(`\\\{[a-z]+\\\}`)

// operation finds the documented operation of a request, by path and method.
func (d *documented) operation(method, path string) (pattern string, ok bool) {
	paths, _ := d.at("paths")
	for pattern := range paths {
		any := "[^/]+"
		if pattern == "/v1/subscriptions/{path}" {
			any = ".+"
		}
		if regexp.MustCompile("^" + pathParameter.ReplaceAllString(regexp.QuoteMeta(pattern), any) + "$").MatchString(path) {
			if op, _ := d.at("paths", pattern, strings.ToLower(method)); op != nil {
				return pattern, true
			}
		}
	}
	return "", false
}

// check holds an answer against the document. It returns what was checked.
func (d *documented) check(t testing.TB, req *http.Request, status int, header http.Header, body string) (operation string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	pattern, ok := d.operation(req.Method, req.URL.Path)
	if !ok {
		return ""
	}
	operation = req.Method + " " + pattern
	where := []string{"paths", pattern, strings.ToLower(req.Method), "responses", strconv.Itoa(status)}
	answer, _ := d.at(where...)
	if answer == nil {
		t.Errorf("%s: status %d is not documented: %.300s", operation, status, body)
		return operation
	}
	if headers, _ := d.at(append(where, "headers")...); headers != nil {
		for name := range headers {
			if header.Get(name) == "" {
				t.Errorf("%s: status %d has no header %s", operation, status, name)
			}
		}
	}
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	content, _ := d.at(append(where, "content")...)
	if content == nil {
		if body != "" {
			t.Errorf("%s: status %d has a body: %.300s", operation, status, body)
		}
		return operation
	}
	if content[media] == nil {
		t.Errorf("%s: status %d with the type %q is not documented", operation, status, media)
		return operation
	}
	switch _, pointer := d.at(append(where, "content", media, "schema")...); {
	case len(body) > 1<<20: // thousands of rows like the first
	case media == client.MediaJSON:
		d.conforms(t, operation, pointer, body)
	case media == client.MediaNDJSON:
		for line := range strings.Lines(body) {
			d.conforms(t, operation, "#/components/schemas/Line", line)
		}
	}
	return operation
}

func (d *documented) conforms(t testing.TB, operation, pointer, body string) {
	t.Helper()
	schema, err := d.compiler.Compile("openapi.json" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s: %v\n%.400s", operation, err, body)
	}
}

// TestOpenAPIDocument: the document is one, and has the routes that there are.
func TestOpenAPIDocument(t *testing.T) {
	d, err := openapiDocument()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	engine, err := query.New(query.Config{Catalog: catalog(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, pattern := range NewServer(engine, Config{Metrics: http.NotFoundHandler()}).patterns {
		there[strings.ReplaceAll(pattern, "...}", "}")] = true
	}
	d.each(func(pattern, method string, op map[string]any) {
		name := method + " " + pattern
		if !there[name] {
			t.Errorf("%s is documented and not there", name)
		}
		delete(there, name)
		if id := op["operationId"]; id == nil || ids[id] || op["summary"] == nil || op["tags"] == nil {
			t.Errorf("%s has no id of its own, no summary or no tags", name)
		} else {
			ids[id] = true
		}
		responses, _ := d.at("paths", pattern, strings.ToLower(method), "responses")
		for status := range responses {
			if answer, _ := d.at("paths", pattern, strings.ToLower(method), "responses", status); answer["description"] == nil {
				t.Errorf("%s %s has no description", name, status)
			}
		}
		for _, parameter := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(pattern, -1) {
			if !strings.Contains(fmt.Sprint(d.doc["paths"].(map[string]any)[pattern]), "name:"+parameter[1]) {
				t.Errorf("%s does not describe %s", name, parameter[1])
			}
		}
	})
	schemas, _ := d.at("components", "schemas")
	for name := range schemas {
		if _, err := d.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	for name := range there {
		t.Errorf("%s is not documented", name)
	}
}

// each calls f for every operation.
func (d *documented) each(f func(pattern, method string, op map[string]any)) {
	paths, _ := d.at("paths")
	for pattern := range paths {
		for _, method := range []string{"GET", "POST", "DELETE", "PUT", "PATCH"} {
			if op, _ := d.at("paths", pattern, strings.ToLower(method)); op != nil {
				f(pattern, method, op)
			}
		}
	}
}

// failing is a runner that fails in a given way.
type failing struct{ err *query.Error }

func (f failing) Run(context.Context, query.Statement) (query.Rows, error) { return nil, f.err }
func (f failing) Estimate(context.Context, query.Statement) (int64, error) { return -1, f.err }
func (f failing) Kill(context.Context, string) error                       { return f.err }

// TestOpenAPIAnswers: each documented status of each route is answered, and with
// what is documented. Every other request of these tests is held against the
// document too; see send.
func TestOpenAPIAnswers(t *testing.T) {
	d, err := openapiDocument()
	if err != nil {
		t.Fatal(err)
	}
	a, file := access(t)
	token := add(t, file, Grant{Name: "r", Role: Reader})
	waitFor(t, "the token is known", a.Required)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "x 1\n") //nolint:errcheck // a test's server
	})
	runner := openRunner(t)
	fails := func(code query.Code) string {
		return serve(t, failing{&query.Error{Code: code, Message: "told", ID: "q"}}, Config{Metrics: metrics, Logger: slog.New(slog.DiscardHandler)})
	}
	servers := map[string]string{
		"good": serve(t, runner, Config{Metrics: metrics, MaxBodyBytes: 2000}), "closed": serve(t, runner, Config{Access: a, Metrics: metrics}),
		"slow": serve(t, runner, Config{Metrics: metrics, Admission: Admission{Rate: 1e-6, Burst: 1}}),
		"500":  fails(query.CodeInternal), "503": fails(query.CodeUnavailable), "504": fails(query.CodeTimeout), "499": fails(query.CodeCanceled),
	}
	for range 2 { // uses the burst up
		http.Post(servers["slow"]+"/api/v1/validate", client.MediaJSON, strings.NewReader(`{"query":"print 1"}`)) //nolint:errcheck // a test
	}
	big := strings.Repeat("x", 3000)
	answered := map[string]bool{}
	ask := func(server, method, path, body string, header ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, servers[server]+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", client.MediaJSON)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b []byte
		if strings.HasPrefix(res.Header.Get("Content-Type"), client.MediaEvents) {
			cancel() // it does not end by itself
		} else if b, err = io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
		operation := d.check(t, req, res.StatusCode, res.Header, string(b))
		if operation == "" {
			t.Errorf("%s %s is not documented", method, path)
		}
		answered[fmt.Sprint(operation, " ", res.StatusCode)] = true
	}
	rich := `union (print z = 1), (print TimeGenerated = now(), DeviceId = 'x', y = dynamic([1,{"a":null}]), g = guid(null), r = real(nan), d = decimal(1.5), ts = 1h, b = true, i = int(3)) | render timechart with (title='t')`
	for _, route := range []struct{ method, path, body, wrong string }{
		{"POST", "/api/v1/query", `{"query":%s}`, `{"query":"Nowhere | foo; T"}`}, {"POST", "/api/v1/validate", `{"query":%s}`, `{}`}, {"POST", "/api/v1/explain", `{"query":%s}`, `{"query":"Nowhere"}`},
		{"DELETE", "/api/v1/queries/x", "", ""}, {"GET", "/api/v1/tail", "", ""}, {"POST", "/api/v1/tail", `{"query":"Connections"}`, `{"x":1}`},
		{"GET", "/api/v1/schema", "", ""}, {"GET", "/api/v1/functions", "", ""}, {"GET", "/api/v1/openapi.json", "", ""},
		{"GET", "/healthz", "", ""}, {"GET", "/readyz", "", ""}, {"GET", "/metrics", "", ""},
		{"POST", "/v2/rest/query", `{"csl":%s}`, `{"csl":"T"}`}, {"POST", "/v1/rest/query", `{"csl":%s}`, `{"csl":"T"}`},
		{"POST", "/v1/rest/mgmt", `{"csl":".show tables | where TableName != %q"}`, `{"csl":".drop table T"}`}, {"GET", "/v1/rest/auth/metadata", "", ""},
		{"POST", "/v1/workspaces/w/query", `{"query":%s,"timespan":"P1D"}`, `{"query":"T"}`}, {"GET", "/v1/workspaces/w/query?query=" + url.QueryEscape(rich), "", ""},
		{"POST", "/v1/subscriptions/s/resourceGroups/g/query", `{"query":%s}`, `{"query":"T"}`}, {"GET", "/v1/subscriptions/s/query?query=print+1", "", ""},
		{"POST", "/v1/$batch", `{"requests":[{"id":"1","body":{"query":%s}},{"id":"2","body":{"query":"T"}}]}`, `{"requests":[]}`},
	} {
		good := strings.Replace(strings.Replace(route.body, "%s", quote(rich), 1), "%q", "'x'", 1)
		for server := range servers {
			ask(server, route.method, route.path, good)
		}
		ask("good", route.method, route.path, good, "Sec-Fetch-Site", "cross-site")
		ask("good", route.method, route.path, good, "If-None-Match", "*")
		ask("closed", route.method, route.path, good, "Authorization", "Bearer "+token)
		if strings.Contains(route.path, "/v1/") && (strings.Contains(route.path, "query") || strings.Contains(route.path, "tail")) && route.method == "POST" {
			ask("good", route.method, route.path, good, "Accept", "image/png")
		}
		if route.method == "POST" {
			ask("good", route.method, route.path, route.wrong)
			ask("good", route.method, route.path, `{"`+big+`":1}`)
			ask("good", route.method, route.path, good, "Content-Type", "text/plain")
			ask("good", route.method, route.path, good, "Content-Encoding", "br")
		}
	}
	for _, more := range [][3]string{
		{"GET", "/v1/workspaces/w/query", ""}, {"GET", "/v1/subscriptions/s/query", ""}, {"GET", "/v1/subscriptions/s/other", ""}, {"POST", "/v1/subscriptions/s/other", "{}"},
		{"GET", "/api/v1/tail?nonsense=1", ""}, {"POST", "/api/v1/query?format=ndjson", `{"query":` + quote(rich) + `}`}, {"POST", "/api/v1/query?format=csv", `{"query":"print 1"}`},
		{"POST", "/api/v1/query?format=arrow", `{"query":"print 1"}`}, {"POST", "/v2/rest/query", `{"csl":"range x from 1 to 3 step 1","properties":{"Options":{"results_v2_fragment_primary_tables":true,"truncationmaxrecords":2}}}`},
		{"POST", "/v1/workspaces/w/query", `{"query":"print 1 | render piechart"}`},
	} {
		ask("good", more[0], more[1], more[2], "Prefer", "include-statistics=true,include-render=true")
	}
	ask("good", "GET", "/api/v1/tail", "", "Accept", "image/png")
	for _, server := range []string{"499", "500", "503", "504"} {
		// What comes out of a bag is asked of the engine.
		ask(server, "POST", "/api/v1/explain", `{"query":"print y = dynamic({'a':1}) | evaluate bag_unpack(y)"}`)
	}
	servers["panics"] = serve(t, brokenRunner{"panic"}, Config{Logger: slog.New(slog.DiscardHandler)})
	ask("panics", "GET", "/readyz", "")
	servers["409"] = fails(query.CodeDuplicate)
	ask("409", "POST", "/api/v1/query", `{"query":"print 1","id":"twice"}`)
	servers["following"] = following(t)
	ask("following", "GET", "/api/v1/tail", "")
	ask("following", "POST", "/api/v1/tail", `{"query":"Connections"}`)

	// The document promises nothing that no test has seen.
	d.each(func(pattern, method string, _ map[string]any) {
		responses, _ := d.at("paths", pattern, strings.ToLower(method), "responses")
		for status := range responses {
			if name := method + " " + pattern + " " + status; !answered[name] {
				t.Errorf("%s was not seen", name)
			}
		}
	})
}

// following is a service with a feed.
func following(t *testing.T) string {
	t.Helper()
	_, base := serveTail(t, Config{Feed: newFakeFeed()})
	return base
}
