package api

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	server := NewServer(engine, Config{Logger: slog.New(slog.DiscardHandler), Admission: Admission{Rate: -1}})
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

// FuzzHeaders asserts that no header makes an endpoint panic or fail for a
// reason of ours, and that nobody is let in without a token.
func FuzzHeaders(f *testing.F) {
	engine, err := query.New(query.Config{Catalog: catalog(f)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	a, file := access(f)
	add(f, file, Grant{Name: "x", Role: Reader})
	waitFor(f, "the token is known", a.Required)
	open := NewServer(engine, Config{Logger: slog.New(slog.DiscardHandler), Admission: Admission{Rate: -1}})
	closed := NewServer(engine, Config{Logger: slog.New(slog.DiscardHandler), Access: a})
	names := []string{"Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "Prefer", "X-Ms-App", "X-Ms-Client-Request-Id", "Authorization",
		"Origin", "Sec-Fetch-Site", "If-None-Match", "Last-Event-ID", "Host"}
	for i, value := range []string{"text/csv;q=0.5, */*;q=x", "zstd;q=1, gzip;q=-1", "application/json; charset=x", "gzip", "wait=1e9, include-render=true;;=", "app\x00", "a;b|c",
		"Bearer hsc_", "null", "cross-site", "W/\"x\", *", "1:2:3", "[::1]:99999"} {
		f.Add(i, value, 0)
		f.Add(i, value, 3)
	}
	f.Fuzz(func(t *testing.T, name int, value string, path int) {
		paths := []string{"/api/v1/query", "/v1/rest/mgmt", "/v2/rest/query", "/v1/workspaces/w/query", "/api/v1/schema", "/api/v1/tail"}
		target := paths[uint(path)%uint(len(paths))]
		header := names[uint(name)%uint(len(names))]
		for _, server := range []*Server{open, closed} {
			method := "POST"
			if target == "/api/v1/schema" || target == "/api/v1/tail" {
				method = "GET"
			}
			r := httptest.NewRequest(method, target, strings.NewReader(`{"query":"print 1","csl":".show tables"}`))
			r.Header.Set("Content-Type", "application/json")
			if r.Header.Set(header, value); header == "Host" {
				r.Host = value
			}
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code >= 500 && w.Code != 503 || server == closed && w.Code < 400 {
				t.Fatalf("%s: %q on %s: %d %s", header, value, target, w.Code, w.Body)
			}
		}
	})
}

// FuzzAccessFile asserts that a file of tokens is refused or stands for valid
// entries, and never grants to the empty token.
func FuzzAccessFile(f *testing.F) {
	hash := strings.Repeat("ab", 32)
	for _, text := range []string{"", "tokens: []", "tokens:\n- {name: a, role: reader, sha256: " + hash + "}\n", "tokens:\n- {name: b, role: admin, common_name: x}\n", "tokens: [{}]", "- x"} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "tokens.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		grants, err := readAccess(path)
		if err != nil {
			return
		}
		for i := range grants {
			if err := grants[i].Validate(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		a, err := OpenAccess(path, slog.New(slog.DiscardHandler))
		if err != nil || a.token("") != nil || a.Required() != (len(grants) > 0) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
