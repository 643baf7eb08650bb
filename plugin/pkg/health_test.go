package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/api"
)

// checkup is what a health check says.
type checkup struct {
	status   backend.HealthStatus
	message  string
	category string
	version  string
	age      float64
	hint     string
}

func check(t *testing.T, settings backend.DataSourceInstanceSettings) checkup {
	t.Helper()
	res, err := source(t, settings).CheckHealth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var details struct {
		Category, Version, VerboseMessage string
		AgeSeconds                        float64
	}
	if err := json.Unmarshal(res.JSONDetails, &details); err != nil {
		t.Fatalf("%v in %s", err, res.JSONDetails)
	}
	return checkup{res.Status, res.Message, details.Category, details.Version, details.AgeSeconds, details.VerboseMessage}
}

func TestHealthy(t *testing.T) {
	got := check(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{}) + "/"})
	if got.status != backend.HealthStatusOk || got.category != "ok" || got.version != "9.8.7" || got.age <= 0 || got.age > 3600 ||
		!strings.HasPrefix(got.message, "hubscope 9.8.7 answers queries (") || !strings.Contains(got.message, "the newest event is ") {
		t.Errorf("%+v", got)
	}
}

// TestHealthNoEvents asks with a token of a hub that has sent nothing.
func TestHealthNoEvents(t *testing.T) {
	a, tokens := access(t, api.Grant{Name: "new", Role: api.Reader, Hubs: []string{"nowhere"}})
	got := check(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{Access: a}), DecryptedSecureJSONData: map[string]string{"token": tokens[0]}})
	if got.status != backend.HealthStatusOk || got.category != "no-events" || !strings.Contains(got.message, "no events yet") || !strings.Contains(got.hint, "--demo") {
		t.Errorf("%+v", got)
	}
}

// TestHealthTrouble has each thing that can be wrong, and what must be said.
func TestHealthTrouble(t *testing.T) {
	good, _ := net.Listen("tcp", "127.0.0.1:0")
	closed := "http://" + good.Addr().String()
	good.Close()

	// Longer than names may be, so that no name server is asked, which may be slow or away.
	noHost := strings.Repeat("x", 64) + ".invalid"

	text := func(status int, body string) string {
		return serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body) //nolint:errcheck // a test's server
		}))
	}
	a, _ := access(t, api.Grant{Name: "officer", Role: api.Reader}, api.Grant{Name: "cert", Role: api.Reader, CommonName: "officer.example"})
	service := handler(t, api.Config{Access: a})
	locked := serveHandler(t, service)
	ca, other := newAuthority(t), newAuthority(t)
	right, _, _ := ca.issue("service", time.Now().Add(time.Hour), "127.0.0.1")
	elsewhere, _, _ := ca.issue("service", time.Now().Add(time.Hour), "service.example")
	expired, _, _ := ca.issue("service", time.Now().Add(-time.Hour), "127.0.0.1")
	_, stranger, strangerKey := ca.issue("stranger.example", time.Now().Add(time.Hour))
	wantCert := &tls.Config{Certificates: []tls.Certificate{right}, ClientCAs: newPool(ca), ClientAuth: tls.RequireAndVerifyClientCert}
	overTLS := serveTLS(t, service, &tls.Config{Certificates: []tls.Certificate{right}})
	withCA := `{"tlsAuthWithCACert":true}`
	trust := map[string]string{"tlsCACert": ca.pem()}

	slow := serveHandler(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // so that the end of the connection is seen
		<-r.Context().Done()
	}))

	tests := map[string]struct {
		url, json string
		secure    map[string]string
		category  string
		say       []string
	}{
		"nothing listens":       {closed, "", nil, "refused", []string{closed, "refuses connections", "hubscope up"}},
		"no such host":          {"http://" + noHost + ":7070", "", nil, "dns", []string{noHost, "misspell"}},
		"no answer":             {slow, `{"timeoutSeconds":0.2}`, nil, "timeout", []string{"200ms", "timeout of the data source"}},
		"no token":              {locked, "", nil, "unauthorized", []string{"hubscope token add"}},
		"wrong token":           {locked, "", map[string]string{"token": "hsc_wrong"}, "unauthorized", []string{"not known here", "hubscope token list"}},
		"wrong password":        {locked, `{"basicAuth":true,"basicAuthUser":"x"}`, map[string]string{"basicAuthPassword": "no"}, "unauthorized", []string{"not known here"}},
		"unknown CA":            {overTLS, "", nil, "tls-unknown-ca", []string{"authority", "Add self-signed certificate"}},
		"another CA":            {overTLS, withCA, map[string]string{"tlsCACert": other.pem()}, "tls-unknown-ca", []string{"CA certificate"}},
		"other name":            {serveTLS(t, service, &tls.Config{Certificates: []tls.Certificate{elsewhere}}), withCA, trust, "tls-name", []string{"service.example", "ServerName"}},
		"expired":               {serveTLS(t, service, &tls.Config{Certificates: []tls.Certificate{expired}}), withCA, trust, "tls-expired", []string{"expired", "clock"}},
		"no client certificate": {serveTLS(t, service, wantCert), withCA, trust, "tls-client-certificate", []string{"TLS Client Authentication"}},
		"certificate with no entry": {serveTLS(t, service, wantCert), `{"tlsAuth":true,"tlsAuthWithCACert":true}`, map[string]string{"tlsCACert": ca.pem(), "tlsClientCert": stranger, "tlsClientKey": strangerKey},
			"forbidden", []string{"stranger.example", "role"}},
		"https for http":   {strings.Replace(locked, "http://", "https://", 1), "", nil, "tls-not-spoken", []string{"http://"}},
		"http for https":   {strings.Replace(overTLS, "https://", "http://", 1), "", nil, "tls-needed", []string{"https://"}},
		"a web page":       {text(200, "<html>hello</html>"), "", nil, "not-hubscope", []string{"not a hubscope query service"}},
		"another API":      {text(404, `{"message":"no"}`), "", nil, "not-hubscope", []string{"404"}},
		"gateway":          {text(502, "Bad Gateway"), "", nil, "gateway", []string{"502", "hubscope"}},
		"forbidden before": {text(403, "no"), "", nil, "forbidden", []string{"403", "something before it"}},
		"redirect":         {serveHandler(t, http.RedirectHandler("https://grafana.example/login", http.StatusFound)), "", nil, "redirect", []string{"https://grafana.example/login"}},
		"not HTTP":         {garbage(t), "", nil, "not-http", []string{"does not speak HTTP"}},

		"no URL":              {"", "", nil, "settings", []string{"no URL", "http://localhost:7070"}},
		"secret in URL":       {"http://a:b@localhost", "", nil, "settings", []string{"basic authentication"}},
		"bad certificate":     {locked, `{"tlsAuthWithCACert":true}`, map[string]string{"tlsCACert": "x"}, "settings", []string{"TLS settings"}},
		"bad number":          {locked, `{"maxRowLimit":-3}`, nil, "settings", []string{"maxRowLimit"}},
		"token and password":  {locked, `{"basicAuth":true,"basicAuthUser":"x"}`, map[string]string{"token": "a", "basicAuthPassword": "b"}, "settings", []string{"exclude each other"}},
		"identity over HTTP":  {"http://service.example", `{"oauthPassThru":true}`, nil, "settings", []string{"https"}},
		"identity unverified": {"https://service.example", `{"oauthPassThru":"true","tlsSkipVerify":true}`, nil, "settings", []string{"Skip TLS certificate validation"}},
		"identity replaced": {"https://service.example", `{"oauthPassThru":true,"httpHeaderName1":"authorization"}`, map[string]string{"httpHeaderValue1": "Bearer x"}, "settings",
			[]string{"custom header"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			settings := backend.DataSourceInstanceSettings{URL: tt.url, JSONData: []byte(tt.json), DecryptedSecureJSONData: tt.secure}
			if strings.Contains(tt.json, `"basicAuth":true`) {
				settings.BasicAuthEnabled, settings.BasicAuthUser = true, "x"
			}
			got := check(t, settings)
			if got.status != backend.HealthStatusError || got.category != tt.category {
				t.Errorf("want %s, got %+v", tt.category, got)
			}
			for _, say := range tt.say {
				if !strings.Contains(got.message, say) {
					t.Errorf("want %q in: %s", say, got.message)
				}
			}
			for _, secret := range tt.secure {
				if len(secret) > 3 && strings.Contains(got.message, secret) {
					t.Errorf("a secret in: %s", got.message)
				}
			}
		})
	}
}

func newPool(a *authority) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// garbage returns the address of something that greets like a mail server.
func garbage(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 100))                       //nolint:errcheck // a test's server
				io.WriteString(c, "220 mail.example ESMTP\r\n") //nolint:errcheck // a test's server
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
