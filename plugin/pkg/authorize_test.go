package main_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/plugin/host"
	"hubscope/query/api"
)

// seesHub returns the one hub that a data source sees, or the error.
func seesHub(t *testing.T, p *host.Plugin, headers map[string]string) (string, error) {
	t.Helper()
	r := ask(t, p, headers, `{"format":"time_series","query":"Connections | where $__timeFilter() | summarize n=count() by bin(TimeGenerated, $__timeInterval), Hub"}`)
	if r.Error != nil {
		return "", r.Error
	}
	var hubs []string
	for _, f := range r.Frames {
		for _, field := range f.Fields {
			if h := field.Labels["Hub"]; h != "" {
				hubs = append(hubs, h)
			}
		}
	}
	if len(hubs) != 1 {
		return "", fmt.Errorf("it sees the hubs %v", hubs)
	}
	return hubs[0], nil
}

// TestCredentials has each way to be known to a service, over TLS.
func TestCredentials(t *testing.T) {
	a, tokens := access(t,
		api.Grant{Name: "plant", Role: api.Reader, Hubs: []string{"plant"}},
		api.Grant{Name: "cert", Role: api.Reader, Hubs: []string{"office"}, CommonName: "grafana.example"})
	ca := newAuthority(t)
	server, _, _ := ca.issue("service", time.Now().Add(time.Hour), "service.example")
	_, cert, key := ca.issue("grafana.example", time.Now().Add(time.Hour))
	url := serveTLS(t, handler(t, api.Config{Access: a, Hosts: []string{"service.example"}}),
		&tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: newPool(ca), ClientAuth: tls.VerifyClientCertIfGiven})
	const trust = `"tlsAuthWithCACert":true,"serverName":"service.example"`
	for name, tt := range map[string]struct {
		json   string
		basic  bool
		secure map[string]string
		want   string // a hub, or a part of an error
	}{
		"token":              {`{` + trust + `}`, false, map[string]string{"tlsCACert": ca.pem(), "token": tokens[0]}, "plant"},
		"basic":              {`{` + trust + `}`, true, map[string]string{"tlsCACert": ca.pem(), "basicAuthPassword": tokens[0]}, "plant"},
		"custom header":      {`{` + trust + `,"httpHeaderName1":"Authorization"}`, false, map[string]string{"tlsCACert": ca.pem(), "httpHeaderValue1": "Bearer " + tokens[0]}, "plant"},
		"client certificate": {`{` + trust + `,"tlsAuth":true}`, false, map[string]string{"tlsCACert": ca.pem(), "tlsClientCert": cert, "tlsClientKey": key}, "office"},
		"unverified":         {`{"tlsSkipVerify":true}`, false, map[string]string{"token": tokens[0]}, "plant"},
		"another CA":         {`{` + trust + `}`, false, map[string]string{"tlsCACert": newAuthority(t).pem(), "token": tokens[0]}, "an authority that Grafana's server does not know"},
		"other name":         {`{"tlsAuthWithCACert":true}`, false, map[string]string{"tlsCACert": ca.pem(), "token": tokens[0]}, "is not for 127.0.0.1 but for service.example"},
		"none":               {`{` + trust + `}`, false, map[string]string{"tlsCACert": ca.pem()}, "does not accept the credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := seesHub(t, source(t, backend.DataSourceInstanceSettings{
				URL: url, JSONData: []byte(tt.json), DecryptedSecureJSONData: tt.secure, BasicAuthEnabled: tt.basic, BasicAuthUser: "grafana",
			}), nil)
			if got != tt.want && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want %q, got %q, %v", tt.want, got, err)
			}
		})
	}
}

// TestForwardedIdentity: each user sees what that user may see, through the same
// data source and its cache; who is nobody is refused or uses the token.
func TestForwardedIdentity(t *testing.T) {
	a, tokens := access(t,
		api.Grant{Name: "shared", Role: api.Reader, Hubs: []string{"office"}},
		api.Grant{Name: "anna", Role: api.Reader, Hubs: []string{"plant"}},
		api.Grant{Name: "berta", Role: api.Reader, Hubs: []string{"office"}})
	url := serve(t, api.Config{Access: a})
	settings := func(json string) backend.DataSourceInstanceSettings {
		return backend.DataSourceInstanceSettings{URL: url, JSONData: []byte(json), DecryptedSecureJSONData: map[string]string{"token": tokens[0]}}
	}
	user := func(token string) map[string]string {
		return map[string]string{"Authorization": "Bearer " + token, "X-Id-Token": "id"}
	}
	p := source(t, settings(`{"oauthPassThru":true}`))
	for range 2 { // the second time from the cache, if at all
		for i, want := range map[int]string{1: "plant", 2: "office"} {
			if got, err := seesHub(t, p, user(tokens[i])); err != nil || got != want {
				t.Errorf("want %s, got %q, %v", want, got, err)
			}
		}
	}
	if got, err := seesHub(t, p, user("hsc_expired")); err == nil || !strings.Contains(err.Error(), "sign out of Grafana") {
		t.Errorf("an unknown identity sees %q, %v", got, err)
	}
	nobody := map[string]string{"FromAlert": "true"}
	if got, err := seesHub(t, p, nobody); err == nil || !strings.Contains(err.Error(), "no user identity") || !strings.Contains(err.Error(), "fallback") {
		t.Errorf("an alert rule sees %q, %v", got, err)
	}
	// Grafana's own questions need nobody.
	if res, err := sourceFor(t, host.Config{Settings: settings(`{"oauthPassThru":true}`)}).CheckHealth(t.Context()); err != nil || res.Status != backend.HealthStatusOk {
		t.Errorf("%+v, %v", res, err)
	}
	if res := call(t, p, "GET", "schema", ""); res.Status != 200 {
		t.Errorf("schema: %d %s", res.Status, res.Body)
	}
	if e := failure(t, call(t, p, "GET", "values?table=Connections&column=Hub", ""), 400); e.Code != "identity" {
		t.Errorf("values: %+v", e)
	}
	var values []struct{ Value string }
	into(t, call(t, p, "GET", "values?table=Connections&column=Hub", "", "Authorization", "Bearer "+tokens[1]), &values)
	if len(values) != 1 || values[0].Value != "plant" {
		t.Errorf("values: %+v", values)
	}
	// The fallback is opt-in, and for those without an identity only.
	fallback := source(t, settings(`{"oauthPassThru":"true","oauthPassThruAllowFallback":true}`))
	if got, err := seesHub(t, fallback, nobody); err != nil || got != "office" {
		t.Errorf("an alert rule with the fallback sees %q, %v", got, err)
	}
	if got, err := seesHub(t, fallback, user(tokens[1])); err != nil || got != "plant" {
		t.Errorf("a user with the fallback sees %q, %v", got, err)
	}
	if got, err := seesHub(t, fallback, user("hsc_expired")); err == nil {
		t.Errorf("an unknown identity falls back and sees %q", got)
	}
	// Without the setting an identity that comes all the same is dropped.
	if got, err := seesHub(t, source(t, settings(`{}`)), user(tokens[1])); err != nil || got != "office" {
		t.Errorf("without forwarding: %q, %v", got, err)
	}
}

// TestForwardedHeaders looks at what reaches the service.
func TestForwardedHeaders(t *testing.T) {
	service := handler(t, api.Config{})
	var mu sync.Mutex
	var seen http.Header
	url := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = r.Header.Clone()
		mu.Unlock()
		service.ServeHTTP(w, r)
	}))
	sent := map[string]string{
		"FromAlert": "true", "Authorization": "Bearer user", "X-Id-Token": "id", "Cookie": "session=1",
		"http_X-Dashboard-Uid": "tls", "http_X-Panel-Id": "7", "http_X-Rule-Uid": "r", "http_X-Grafana-User": "officer", "http_X-Datasource-Uid": "ds",
		"http_Accept-Encoding": "br", "http_If-None-Match": `"x"`, "http_X-Forwarded-For": "10.0.0.1", "http_Host": "elsewhere",
	}
	plain := map[string]string{"X-Dashboard-Uid": "tls", "X-Panel-Id": "7", "X-Rule-Uid": "r", "X-Grafana-User": "officer", "X-Datasource-Uid": "ds", "Fromalert": "true",
		"X-Ms-App": "Grafana alerting"}
	for name, tt := range map[string]struct {
		json string
		more map[string]string
	}{
		"plain":    {`{}`, nil},
		"identity": {`{"oauthPassThru":true}`, map[string]string{"Authorization": "Bearer user", "X-Id-Token": "id"}},
		"cookies":  {`{"keepCookies":["session"]}`, map[string]string{"Cookie": "session=1"}},
		"custom":   {`{"httpHeaderName1":"X-Team"}`, map[string]string{"X-Team": "ot"}},
	} {
		p := source(t, backend.DataSourceInstanceSettings{URL: url, JSONData: []byte(tt.json), DecryptedSecureJSONData: map[string]string{"httpHeaderValue1": "ot"}})
		if r := ask(t, p, sent, `{"query":"print `+fmt.Sprint(len(name))+`"}`); r.Error != nil && name != "identity" {
			t.Errorf("%s: %v", name, r.Error)
		}
		got := map[string]string{}
		mu.Lock()
		for key := range seen {
			switch key {
			case "User-Agent":
				if ua := seen.Get(key); !strings.HasPrefix(ua, "Grafana/13") || !strings.HasSuffix(ua, " hubscope-connections-datasource/0.0.0") {
					t.Errorf("User-Agent: %s", ua)
				}
			case "Accept", "Accept-Encoding", "Content-Length", "Content-Type":
				if strings.Contains(seen.Get(key), "br") {
					t.Errorf("%s: %s: %s", name, key, seen.Get(key))
				}
			default:
				got[key] = seen.Get(key)
			}
		}
		mu.Unlock()
		want := map[string]string{}
		for _, from := range []map[string]string{plain, tt.more} {
			for key, value := range from {
				want[key] = value
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}
