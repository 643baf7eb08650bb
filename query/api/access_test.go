package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hubscope/query"
	"hubscope/query/client"
)

// access makes a file of tokens and follows it.
func access(t testing.TB) (*Access, AccessFile) {
	t.Helper()
	file := AccessFile(filepath.Join(t.TempDir(), "tokens.yaml"))
	a, err := OpenAccess(string(file), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.Watch(ctx) }() //nolint:errcheck // it returns nil
	t.Cleanup(func() { cancel(); <-done })
	return a, file
}

func add(t testing.TB, f AccessFile, g Grant) (token string) {
	t.Helper()
	token, err := f.Add(g)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// everyRoute is a request to each route that tells something.
var everyRoute = []struct{ method, path, body string }{
	{"POST", "/api/v1/query", `{"query":"print 1"}`}, {"POST", "/api/v1/query?format=ndjson", `{"query":"print 1"}`},
	{"POST", "/api/v1/query?format=csv", `{"query":"print 1"}`}, {"POST", "/api/v1/validate", `{"query":"print 1"}`},
	{"POST", "/api/v1/explain", `{"query":"print 1"}`}, {"GET", "/api/v1/schema", ""}, {"GET", "/api/v1/functions", ""},
	{"DELETE", "/api/v1/queries/none", ""}, {"GET", "/api/v1/tail", ""}, {"POST", "/api/v1/tail", `{"query":"Connections"}`},
	{"GET", "/metrics", ""}, {"GET", "/nowhere", ""},
	{"POST", "/v1/rest/query", `{"csl":"print 1"}`}, {"POST", "/v2/rest/query", `{"csl":"print 1"}`}, {"POST", "/v1/rest/mgmt", `{"csl":".show tables"}`},
	{"POST", "/v1/workspaces/w/query", `{"query":"print 1"}`}, {"GET", "/v1/workspaces/w/query?query=print+1", ""},
	{"POST", "/v1/subscriptions/s/resourceGroups/g/query", `{"query":"print 1"}`}, {"POST", "/v1/$batch", `{"requests":[{"id":"1","body":{"query":"print 1"}}]}`},
}

// errorCode finds the code of an error in any protocol's form.
func errorCode(t *testing.T, body string) string {
	t.Helper()
	var e struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return e.Error.Code
}

func TestTokens(t *testing.T) {
	a, file := access(t)
	url := serve(t, openRunner(t), Config{Access: a, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusOK)
	})})
	if status, _, body := send(t, "POST", url+"/api/v1/query", `{"query":"print 1"}`); status != 200 {
		t.Fatalf("before there is a token: %d %s", status, body)
	}
	reader := add(t, file, Grant{Name: "grafana", Role: Reader})
	waitFor(t, "tokens are asked for", a.Required)
	for _, r := range everyRoute {
		want := "Unauthorized"
		if strings.Contains(r.path, "/v1/workspaces") || strings.Contains(r.path, "/v1/sub") || strings.Contains(r.path, "$batch") {
			want = "AuthorizationRequiredError"
		}
		for _, header := range []string{"", "Bearer wrong", "Bearer " + reader + "x", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:wrong")), "Digest x", "Bearer", reader, "Token " + reader} {
			var headers []string
			if header != "" {
				headers = []string{"Authorization", header}
			}
			status, got, body := send(t, r.method, url+r.path, r.body, headers...)
			if code := errorCode(t, body); status != 401 || code != want || !strings.HasPrefix(got.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s %s with %q: %d %s, WWW-Authenticate %q", r.method, r.path, header, status, body, got.Get("WWW-Authenticate"))
			}
		}
		for _, header := range []string{"Bearer " + reader, "bearer  " + reader, "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+reader))} {
			status, _, body := send(t, r.method, url+r.path, r.body, "Authorization", header)
			if status == 401 || r.path != "/metrics" && status == 403 || r.path == "/metrics" && (status != 403 || errorCode(t, body) != client.CodeForbidden) {
				t.Errorf("%s %s with its token: %d %s", r.method, r.path, status, body)
			}
		}
	}
	// The console's page is no secret: it asks for a token when the API does.
	for _, path := range []string{"/healthz", "/readyz", "/", "/plain", "/assets/plain.js"} {
		if status, _, body := send(t, "GET", url+path, ""); status != 200 {
			t.Errorf("%s without a token: %d %s", path, status, body)
		}
	}
	if status, _, body := send(t, "GET", url+"/v1/rest/auth/metadata", ""); status != 404 || body != "" {
		t.Errorf("auth/metadata: %d %s", status, body)
	}
	// A browser asks for a password, which is the token.
	if _, header, _ := send(t, "GET", url+"/metrics", "", "Accept", "text/html"); len(header.Values("WWW-Authenticate")) != 2 {
		t.Errorf("a browser is challenged with %q", header.Values("WWW-Authenticate"))
	}

	admin := add(t, file, Grant{Name: "ops", Role: Admin})
	waitFor(t, "the admin is let in", func() bool {
		status, _, _ := send(t, "GET", url+"/metrics", "", "Authorization", "Bearer "+admin)
		return status == 200
	})
	soon := time.Now().Add(-time.Minute)
	late := add(t, file, Grant{Name: "late", Role: Reader, Expires: &soon})
	waitFor(t, "an expired token is known", func() bool {
		_, _, body := send(t, "GET", url+"/api/v1/schema", "", "Authorization", "Bearer "+late)
		return strings.Contains(body, "expired")
	})

	// Nobody is let in by an empty or broken file.
	if err := file.Delete("grafana"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a deleted token is refused", func() bool {
		status, _, _ := send(t, "GET", url+"/api/v1/schema", "", "Authorization", "Bearer "+reader)
		return status == 401
	})
	if err := os.Remove(string(file)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "without its file nobody is let in", func() bool {
		status, _, _ := send(t, "GET", url+"/api/v1/schema", "", "Authorization", "Bearer "+admin)
		return status == 401
	})
	if status, _, _ := send(t, "GET", url+"/api/v1/schema", ""); status != 401 {
		t.Errorf("the service is open again: %d", status)
	}
}

// TestTokenIsRevokedWhileItRuns: what a token runs ends with it.
func TestTokenIsRevokedWhileItRuns(t *testing.T) {
	a, file := access(t)
	runner := openRunner(t)
	token := add(t, file, Grant{Name: "r", Role: Reader})
	waitFor(t, "the token is asked for", a.Required)
	url := serve(t, runner, Config{Access: a})
	ended := make(chan error, 1)
	const id = "revoked-test"
	go func() {
		answer, err := (&client.Client{URL: url, Token: token}).Query(t.Context(), client.QueryRequest{ID: id, Query: endless}, nil)
		if err == nil {
			_, err = answer.Next()
			answer.Close()
		}
		ended <- err
	}()
	waitFor(t, "the query runs", func() bool { return isRunning(t, runner, id) })
	if err := file.Delete("r"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the query came to an end")
	}
	waitFor(t, "the query is gone", func() bool { return !isRunning(t, runner, id) })
}

// endless runs for hours: 10,000 million pairs.
const endless = "range x from 1 to 100000 step 1 | extend k = 1 | join kind=inner (range y from 1 to 100000 step 1 | extend k = 1) on k | summarize dcount(hash_sha256(strcat(x, '-', y)))"

// TestOthersQueries: a reader sees and ends its own queries, an admin all.
func TestOthersQueries(t *testing.T) {
	a, file := access(t)
	runner := openRunner(t)
	alice, bob, admin := add(t, file, Grant{Name: "alice", Role: Reader}), add(t, file, Grant{Name: "bob", Role: Reader}), add(t, file, Grant{Name: "ops", Role: Admin})
	waitFor(t, "the tokens are known", func() bool { tokens, _ := a.Grants(); return tokens == 3 })
	url := serve(t, runner, Config{Access: a})
	const id = "others-test"
	ended := make(chan error, 1)
	go func() {
		answer, err := (&client.Client{URL: url, Token: alice}).Query(t.Context(), client.QueryRequest{ID: id, Query: endless}, nil)
		if err == nil {
			_, err = answer.Next()
			answer.Close()
		}
		ended <- err
	}()
	waitFor(t, "the query runs", func() bool { return isRunning(t, runner, id) })
	for token, want := range map[string]bool{alice: true, bob: false, admin: true} {
		_, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"csl":".show queries"}`, "Authorization", "Bearer "+token)
		if strings.Contains(body, id) != want {
			t.Errorf(".show queries: %v, want %v: %s", !want, want, body)
		}
	}
	// The same answer as for a query that is not there.
	if err := (&client.Client{URL: url, Token: bob}).Cancel(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"csl":".cancel query '`+id+`'"}`, "Authorization", "Bearer "+bob); !strings.Contains(body, "Cancelled") {
		t.Error(body)
	}
	if !isRunning(t, runner, id) {
		t.Fatal("a reader ended the query of another")
	}
	if err := (&client.Client{URL: url, Token: admin}).Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the query came to an end")
	}
}

// TestRowsByHub: the restriction of a token reaches the statements of every
// route that runs any.
func TestRowsByHub(t *testing.T) {
	a, file := access(t)
	token := add(t, file, Grant{Name: "plant", Role: Reader, Hubs: []string{"plant-7", "it's"}})
	waitFor(t, "the token is known", a.Required)
	noted := &notedRunner{}
	engine, err := query.New(query.Config{}, noted)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(NewServer(engine, Config{Access: a}))
	defer server.Close()
	const text = "Connections | where DeviceId == 'x'"
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/api/v1/query", `{"query":"` + text + `"}`}, {"POST", "/api/v1/query?format=ndjson", `{"query":"` + text + `"}`},
		{"POST", "/api/v1/query?format=csv", `{"query":"` + text + `"}`}, {"POST", "/api/v1/query?format=arrow", `{"query":"` + text + `"}`},
		{"POST", "/api/v1/explain", `{"query":"` + text + `"}`},
		{"POST", "/v1/rest/query", `{"csl":"` + text + `"}`}, {"POST", "/v2/rest/query", `{"csl":"` + text + `"}`},
		{"POST", "/v1/rest/mgmt", `{"csl":".show tables | join kind=inner (` + text + `) on $left.TableName == $right.Hub"}`},
		{"POST", "/v1/workspaces/w/query", `{"query":"` + text + `"}`}, {"GET", "/v1/workspaces/w/query?query=Connections", ""},
		{"POST", "/v1/$batch", `{"requests":[{"id":"1","body":{"query":"` + text + `"}}]}`},
	} {
		noted.statements = nil
		send(t, r.method, server.URL+r.path, r.body, "Authorization", "Bearer "+token)
		if len(noted.statements) == 0 {
			t.Errorf("%s %s runs nothing", r.method, r.path)
		}
		for _, s := range noted.statements {
			if !strings.Contains(s.RowFilters, "'Connections':'`Hub` IN (\\'plant-7\\', \\'it\\\\\\'s\\')'") || !strings.Contains(s.RowFilters, "'QueryLog':'`User` IN (\\'plant\\')'") || !strings.Contains(s.SQL, "plant-7") {
				t.Errorf("%s %s runs %.100s... with %.300s", r.method, r.path, s.SQL, s.RowFilters)
			}
		}
	}
}

// notedRunner notes statements, and runs none.
type notedRunner struct{ statements []query.Statement }

func (n *notedRunner) Run(_ context.Context, s query.Statement) (query.Rows, error) {
	n.statements = append(n.statements, s)
	return nil, &query.Error{Code: query.CodeUnavailable, Message: "only noted"}
}
func (n *notedRunner) Estimate(_ context.Context, s query.Statement) (int64, error) {
	n.statements = append(n.statements, s)
	return -1, nil
}
func (*notedRunner) Kill(context.Context, string) error { return nil }

// TestClientCertificates: mutual TLS, with roles by common name.
func TestClientCertificates(t *testing.T) {
	a, file := access(t)
	add(t, file, Grant{Name: "officer", Role: Admin, CommonName: "officer.example"})
	waitFor(t, "the certificate is known", a.Required)
	engine, err := query.New(query.Config{Catalog: catalog(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, issue := testCA(t)
	server := httptest.NewUnstartedServer(NewServer(engine, Config{Access: a, Metrics: http.NotFoundHandler()}))
	server.TLS = &tls.Config{ClientCAs: ca, ClientAuth: tls.VerifyClientCertIfGiven}
	server.StartTLS()
	defer server.Close()
	get := func(certs ...tls.Certificate) (int, string) {
		t.Helper()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		service := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}}}
		defer service.CloseIdleConnections()
		res, err := service.Get(server.URL + "/api/v1/schema")
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if status, body := get(issue("officer.example")); status != 200 {
		t.Errorf("with its certificate: %d %s", status, body)
	}
	if status, body := get(issue("stranger.example")); status != 403 || !strings.Contains(body, "stranger.example") {
		t.Errorf("with another's: %d %s", status, body)
	}
	if status, body := get(); status != 401 {
		t.Errorf("with none: %d %s", status, body)
	}
	_, foreign := testCA(t)
	if status, body := get(foreign("officer.example")); status != 0 {
		t.Errorf("of another CA: %d %s", status, body)
	}
}

func TestAccessFile(t *testing.T) {
	a, file := access(t)
	token := add(t, file, Grant{Name: "x", Role: Reader, Hubs: []string{"h"}})
	b, err := os.ReadFile(string(file))
	if err != nil || strings.Contains(string(b), token) || strings.Contains(string(b), strings.TrimPrefix(token, "hsc_")) {
		t.Errorf("the file has the token itself: %s", b)
	}
	if info, err := os.Stat(string(file)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, g := range map[string]Grant{
		"twice": {Name: "x", Role: Reader}, "no name": {Role: Reader}, "odd name": {Name: "a b", Role: Reader}, "role": {Name: "y", Role: "root"},
		"admin of a hub": {Name: "y", Role: Admin, Hubs: []string{"h"}}, "no hubs": {Name: "y", Role: Reader, Hubs: []string{}}, "local": {Name: "local", Role: Reader},
	} {
		if _, err := file.Add(g); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	if err := file.Delete("never"); err == nil {
		t.Error("deleted what is not there")
	}
	waitFor(t, "the token is known", func() bool { return a.token(token) != nil })
	good, err := os.ReadFile(string(file))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no YAML": "tokens: [", "unknown key": "tokens:\n- name: y\n  role: reader\n  password: x\n", "no hash": "tokens:\n- {name: y, role: reader}\n",
		"short hash": "tokens:\n- {name: y, role: reader, sha256: abc}\n", "twice": string(good) + strings.TrimPrefix(string(good[bytes.Index(good, []byte("tokens:")):]), "tokens:\n"),
	} {
		path := filepath.Join(t.TempDir(), "t.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAccess(path, slog.Default()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := os.Chmod(string(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAccess(string(file), slog.Default()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
	if a.token(token) == nil {
		t.Error("a file that cannot be read takes tokens away")
	}
}

// TestPagesOfOthers: no page of another site may ask, by POST or by GET.
func TestPagesOfOthers(t *testing.T) {
	url := serve(t, nil, Config{})
	for _, r := range everyRoute {
		if r.path == "/metrics" || r.path == "/nowhere" {
			continue
		}
		status, header, _ := send(t, r.method, url+r.path, r.body, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Origin", "http://other.example")
		if status != 403 || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %d", r.method, r.path, status)
		}
	}
	if status, _, _ := send(t, "GET", url+"/", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"); status != 200 {
		t.Errorf("a link to the console: %d", status)
	}
	if status, _, _ := send(t, "GET", url+"/v1/workspaces/w/query?query=print+1", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"); status != 403 {
		t.Errorf("a link to a query: %d", status)
	}
}
