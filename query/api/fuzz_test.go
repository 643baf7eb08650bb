package api

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"hubscope/query"
)

// FuzzRequests asserts that no body makes any endpoint panic or fail for a
// reason of ours, and that every answer is JSON.
func FuzzRequests(f *testing.F) {
	engine, err := query.New(query.Config{Catalog: catalog(f)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	server := NewServer(engine, Config{Logger: slog.New(slog.DiscardHandler)})
	paths := []string{"/api/v1/query", "/api/v1/validate", "/api/v1/explain", "/v1/rest/query", "/v1/rest/mgmt", "/v2/rest/query",
		"/v1/workspaces/w/query", "/v1/$batch"}
	for _, body := range []string{
		`{"query":"Connections | where TlsVersion == '1.0'","parameters":{"a":1},"start":"2026-01-01","end":"2026-01-02"}`,
		`{"db":"hubscope","csl":".show table ['Connections'] cslschema | count","properties":{"Options":{"servertimeout":"00:01:00"}}}`,
		`{"csl":".show database schema as json","properties":"{\"Parameters\":{\"a\":\"'x'\"}}"}`,
		`{"csl":".cancel query 'x"}`, `{"query":"print 1","timespan":"P1D/2026-01-01"}`,
		`{"requests":[{"id":"1","body":{"query":"print 1","timespan":"PT1H"}}]}`, `[`, `null`, `{"query":5}`,
	} {
		for i := range paths {
			f.Add(i, body)
		}
	}
	f.Fuzz(func(t *testing.T, path int, body string) {
		if path < 0 {
			path = -(path + 1)
		}
		r := httptest.NewRequest("POST", paths[path%len(paths)], strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		// Without an engine a good query is answered with 503.
		if w.Code >= 500 && w.Code != 503 {
			t.Fatalf("%s: %d %s", r.URL, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s: no JSON: %d %q", r.URL, w.Code, w.Body)
		}
	})
}

// FuzzTimespan asserts that an interval that is taken does not end before it
// starts.
func FuzzTimespan(f *testing.F) {
	for _, s := range []string{"P1D", "PT6H", "2026-11-01/2026-11-22", "P2D/2026-11-03", "2026-11-01/P1Y2M3W4DT5H6M7.8S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, err := monitorTimespan(s, instantForTest(t))
		if err == nil && end.Before(start) {
			t.Fatalf("%q: %v to %v", s, start, end)
		}
	})
}
