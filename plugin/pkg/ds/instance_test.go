package ds

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func TestReadSettings(t *testing.T) {
	base := Settings{URL: "http://localhost:7070", Timeout: 30 * time.Second, DefaultRowLimit: 10_000, MaxRowLimit: 100_000, TLSDeviceDashboardUID: "tls-device"}
	change := func(f func(*Settings)) Settings {
		s := base
		f(&s)
		return s
	}
	tests := map[string]struct {
		url, json string
		secure    map[string]string
		want      Settings
	}{
		"defaults": {"http://localhost:7070", "", nil, base},
		"nulls":    {" http://localhost:7070/ ", `{"timeoutSeconds":null,"oauthPassThru":null,"maxRowLimit":""}`, nil, base},
		"path":     {"https://proxy.example/hubscope/", `{}`, nil, change(func(s *Settings) { s.URL = "https://proxy.example/hubscope" })},
		"numbers": {"http://localhost:7070", `{"timeoutSeconds":2.5,"defaultRowLimit":5,"maxRowLimit":500,"cacheSeconds":60}`, nil, change(func(s *Settings) {
			s.Timeout, s.DefaultRowLimit, s.MaxRowLimit, s.Cache = 2500*time.Millisecond, 5, 500, time.Minute
		})},
		"text": {"http://localhost:7070", `{"timeoutSeconds":" 90 ","defaultRowLimit":"5","cacheSeconds":"-1","timeInterval":"5m"}`, nil, change(func(s *Settings) {
			s.Timeout, s.DefaultRowLimit, s.Cache, s.TimeInterval = 90*time.Second, 5, -time.Second, 5*time.Minute
		})},
		"Grafana's own":  {"http://localhost:7070", `{"timeout":7}`, nil, change(func(s *Settings) { s.Timeout = 7 * time.Second })},
		"ours wins":      {"http://localhost:7070", `{"timeout":7,"timeoutSeconds":8}`, nil, change(func(s *Settings) { s.Timeout = 8 * time.Second })},
		"default in cap": {"http://localhost:7070", `{"maxRowLimit":100}`, nil, change(func(s *Settings) { s.DefaultRowLimit, s.MaxRowLimit = 100, 100 })},
		"zero is none":   {"http://localhost:7070", `{"maxRowLimit":0,"defaultRowLimit":0,"timeoutSeconds":0}`, nil, base},
		"token":          {"http://localhost:7070", `{"tlsDeviceDashboardUid":"d"}`, map[string]string{"token": " hsc_x\n"}, change(func(s *Settings) { s.Token, s.TLSDeviceDashboardUID = "hsc_x", "d" })},
		"identity": {"https://q.example", `{"oauthPassThru":"true","oauthPassThruAllowFallback":1,"keepCookies":["a"],"tlsSkipVerify":false}`, nil,
			change(func(s *Settings) {
				s.URL, s.OAuthPassThru, s.OAuthPassThruAllowFallback, s.KeepCookies = "https://q.example", true, true, true
			})},
		"identity on loopback": {"http://localhost:7070", `{"oauthPassThru":true}`, nil, change(func(s *Settings) { s.OAuthPassThru = true })},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ReadSettings(backend.DataSourceInstanceSettings{URL: tt.url, JSONData: []byte(tt.json), DecryptedSecureJSONData: tt.secure})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	for json, want := range map[string]string{
		`[]`:                                "settings of the data source",
		`{"timeoutSeconds":-1}`:             "timeoutSeconds is not a number from 0 to 3600",
		`{"timeoutSeconds":"NaN"}`:          "timeoutSeconds",
		`{"timeoutSeconds":[]}`:             "timeoutSeconds",
		`{"maxRowLimit":2000000}`:           "maxRowLimit is not a number from 0 to 1000000",
		`{"defaultRowLimit":"many"}`:        "defaultRowLimit",
		`{"cacheSeconds":-2}`:               "cacheSeconds",
		`{"timeInterval":"soon"}`:           "timeInterval",
		`{"timeInterval":"-1m"}`:            "timeInterval",
		`{"timeInterval":60}`:               `timeInterval is no length of time such as 30s, 1m or 1h: "60"`,
		`{"keepCookies":"session"}`:         "keepCookies cannot be a JSON string",
		`{"oauthPassThru":"maybe"}`:         "oauthPassThru is neither true nor false",
		`{"tlsSkipVerify":"x"}`:             "tlsSkipVerify",
		`{"oauthPassThruAllowFallback":{}}`: "oauthPassThruAllowFallback",
	} {
		if _, err := ReadSettings(backend.DataSourceInstanceSettings{URL: "http://localhost", JSONData: []byte(json)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", json, want, err)
		}
	}
	for url, want := range map[string]string{
		"": "no URL", "localhost:7070": "not http:// or https://", "ftp://x": "not http://", "http://": "not http://", "http://a b": "not http://", "/api": "not http://",
		"http://u:hunter2@h": "basic authentication", "http://h?x=1": "query or a fragment", "http://h#x": "query or a fragment",
	} {
		_, err := ReadSettings(backend.DataSourceInstanceSettings{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", url, want, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: a secret in %v", url, err)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "a second", 1900 * time.Millisecond: "a second", 42 * time.Second: "42 seconds", 119 * time.Second: "119 seconds", 5 * time.Minute: "5 minutes",
		3 * time.Hour: "3 hours", 47 * time.Hour: "47 hours", 72 * time.Hour: "3 days", 60 * time.Hour: "2 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: want %s, got %s", d, want, got)
		}
	}
}

func TestNear(t *testing.T) {
	for address, want := range map[string]bool{
		"http://localhost:7070": true, "https://127.0.0.1": true, "http://[::1]:7070": true, "http://query:7070": true, "http://10.1.2.3/x": true,
		"http://192.168.0.7": true, "https://query.example": false, "https://8.8.8.8": false, "http://query.svc.cluster.local": false,
	} {
		if got := near(address); got != want {
			t.Errorf("%s: want %v, got %v", address, want, got)
		}
	}
}

// TestNewTypes: what provisioning files leave empty or write as text is taken for
// what it means, or told of.
func TestNewTypes(t *testing.T) {
	for json, want := range map[string]string{
		`{"serverName":null,"tlsAuth":false,"access":null,"url":null,"basicAuthUser":null,"httpHeaderName1":null}`: "",
		`{"tlsAuthWithCACert":"true"}`:              "no CA certificate (tlsCACert)",
		`{"tlsAuth":"true"}`:                        "TLS Client Authentication (tlsAuth)",
		`{"tlsAuth":true,"serverName":"a.example"}`: "",
		`{"tlsAuth":"yes"}`:                         "tlsAuth is neither true nor false: yes",
		`{"serverName":1,"tlsAuth":true}`:           "serverName is not a text: 1",
		`{"httpHeaderName1":["a"]}`:                 `httpHeaderName1 is not a text: ["a"]`,
		`{"tlsAuthWithCACert":{},"timeout":null}`:   "tlsAuthWithCACert is neither true nor false: {}",
	} {
		made, err := New(t.Context(), backend.DataSourceInstanceSettings{URL: "https://localhost", BasicAuthEnabled: true, JSONData: []byte(json),
			DecryptedSecureJSONData: map[string]string{"httpHeaderValue1": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		d := made.(*Datasource)
		switch {
		case want == "" && d.invalid != nil, want != "" && (d.invalid == nil || !strings.Contains(d.invalid.Error(), want)):
			t.Errorf("%s: want %q, got %v", json, want, d.invalid)
		}
		d.Dispose()
	}
}
