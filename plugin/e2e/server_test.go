package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/plugin/host"
)

// uid is the data source's.
const uid = "hubscope"

// grafana answers on those of Grafana's paths that a data source's frontend
// uses, for one data source.
type grafana struct {
	t      *testing.T
	plugin *host.Plugin

	mu     sync.Mutex
	config dataSource
	secret map[string]string
	at     time.Time // of the last change of the settings
}

// dataSource is a data source as Grafana's API shows it to its config editor.
type dataSource struct {
	ID               int64             `json:"id"`
	UID              string            `json:"uid"`
	OrgID            int64             `json:"orgId"`
	Name             string            `json:"name"`
	Type             string            `json:"type"`
	Access           string            `json:"access"`
	URL              string            `json:"url"`
	User             string            `json:"user"`
	Database         string            `json:"database"`
	BasicAuth        bool              `json:"basicAuth"`
	BasicAuthUser    string            `json:"basicAuthUser"`
	WithCredentials  bool              `json:"withCredentials"`
	IsDefault        bool              `json:"isDefault"`
	JSONData         json.RawMessage   `json:"jsonData"`
	SecureJSONData   map[string]string `json:"secureJsonData,omitempty"`
	SecureJSONFields map[string]bool   `json:"secureJsonFields"`
	ReadOnly         bool              `json:"readOnly"`
	Version          int               `json:"version"`
}

// serve serves the page, the built plugin, and Grafana's API for them.
func serve(t *testing.T, plugin *host.Plugin, page, query string) *httptest.Server {
	t.Helper()
	g := &grafana{t: t, plugin: plugin, at: time.Now(), secret: map[string]string{}, config: dataSource{
		ID: 1, UID: uid, OrgID: 1, Name: "hubscope", Type: host.PluginID, Access: "proxy", URL: query, JSONData: json.RawMessage("{}"), SecureJSONFields: map[string]bool{}, Version: 1,
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(page, "index.html")) })
	for path, dir := range map[string]string{"/host/": page, "/public/build/img/icons/": filepath.Join(page, "icons"), "/public/plugins/" + host.PluginID + "/": "../dist"} {
		files := http.StripPrefix(path, http.FileServer(http.Dir(dir)))
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=86400") // for this server's address, which is its own
			files.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("GET /host/boot", g.boot)
	mux.HandleFunc("PUT /api/datasources/uid/"+uid, g.save)
	mux.HandleFunc("GET /api/datasources/uid/"+uid+"/health", g.health)
	mux.HandleFunc("/api/datasources/uid/"+uid+"/resources/{path...}", g.resource)
	mux.HandleFunc("POST /api/ds/query", g.query)
	mux.HandleFunc("POST /live/ds/"+uid+"/{path...}", g.live)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections() // those that follow a channel
		s.Close()
	})
	return s
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"message":"`+err.Error()+`"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

// source is the plugin with the settings that were saved last.
func (g *grafana) source() *host.Plugin {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.config
	return g.plugin.For(host.Config{
		User: &backend.User{Login: "e2e", Name: "e2e", Role: "Admin"},
		Settings: backend.DataSourceInstanceSettings{
			ID: c.ID, UID: c.UID, Type: c.Type, Name: c.Name, URL: c.URL, User: c.User, Database: c.Database,
			BasicAuthEnabled: c.BasicAuth, BasicAuthUser: c.BasicAuthUser, JSONData: c.JSONData,
			DecryptedSecureJSONData: g.secret, Updated: g.at,
		},
	})
}

// boot is what Grafana's page knows of the data source.
func (g *grafana) boot(w http.ResponseWriter, _ *http.Request) {
	meta := map[string]any{}
	b, err := os.ReadFile("../dist/plugin.json")
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	meta["module"], meta["baseUrl"] = "public/plugins/"+host.PluginID+"/module.js", "public/plugins/"+host.PluginID
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.config
	answer(w, http.StatusOK, map[string]any{
		"config": c,
		"settings": map[string]any{
			"id": c.ID, "uid": c.UID, "type": c.Type, "name": c.Name, "access": c.Access, "isDefault": true, "readOnly": false,
			"url": "/api/datasources/proxy/uid/" + uid, "jsonData": c.JSONData, "meta": meta,
		},
	})
}

// save stores the settings; secrets are kept until they are replaced, and never told.
func (g *grafana) save(w http.ResponseWriter, r *http.Request) {
	var c dataSource
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	secret := map[string]string{}
	for name, value := range g.secret {
		if c.SecureJSONFields[name] {
			secret[name] = value
		}
	}
	for name, value := range c.SecureJSONData {
		secret[name] = value
	}
	c.SecureJSONData, c.SecureJSONFields = nil, map[string]bool{}
	for name := range secret {
		c.SecureJSONFields[name] = true
	}
	c.Version = g.config.Version + 1
	g.config, g.secret, g.at = c, secret, g.at.Add(time.Second)
	answer(w, http.StatusOK, c)
}

func (g *grafana) health(w http.ResponseWriter, r *http.Request) {
	res, err := g.source().CheckHealth(r.Context())
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	status := http.StatusOK
	if res.Status != backend.HealthStatusOk {
		status = http.StatusBadRequest
	}
	answer(w, status, map[string]any{"status": res.Status.String(), "message": res.Message, "details": json.RawMessage(orNull(res.JSONDetails))})
}

func orNull(b []byte) []byte {
	if len(b) == 0 {
		return []byte("null")
	}
	return b
}

func (g *grafana) resource(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	path := r.PathValue("path")
	url := path
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	res, err := g.source().CallResource(r.Context(), &backend.CallResourceRequest{Path: path, Method: r.Method, URL: url, Headers: r.Header, Body: body})
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	for name, values := range res.Headers {
		for _, v := range values {
			w.Header().Add(name, v)
		}
	}
	w.WriteHeader(res.Status)
	w.Write(res.Body)
}

// query is /api/ds/query.
func (g *grafana) query(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Queries  []json.RawMessage
		From, To string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	moment := func(s string) time.Time {
		ms, _ := strconv.ParseInt(s, 10, 64)
		return time.UnixMilli(ms)
	}
	var queries []backend.DataQuery
	for _, raw := range body.Queries {
		var q struct {
			RefID         string
			QueryType     string
			MaxDataPoints int64
			IntervalMs    float64
		}
		if err := json.Unmarshal(raw, &q); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
			return
		}
		queries = append(queries, backend.DataQuery{
			RefID: q.RefID, QueryType: q.QueryType, MaxDataPoints: q.MaxDataPoints, JSON: raw,
			Interval:  time.Duration(q.IntervalMs * float64(time.Millisecond)),
			TimeRange: backend.TimeRange{From: moment(body.From), To: moment(body.To)},
		})
	}
	headers := map[string]string{}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-") {
			headers["http_"+name] = r.Header.Get(name)
		}
	}
	res, err := g.source().QueryData(r.Context(), headers, queries...)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	status := http.StatusOK
	for _, a := range res.Responses {
		if a.Error != nil {
			status = http.StatusBadRequest
			if a.Status != 0 {
				status = int(a.Status)
			}
		}
	}
	answer(w, status, res)
}

// live follows a channel: frames as lines. Grafana does it over a web socket.
func (g *grafana) live(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	path, p := r.PathValue("path"), g.source()
	sub, err := p.SubscribeStream(r.Context(), path, data)
	if err != nil || sub.Status != backend.SubscribeStreamStatusOK {
		answer(w, http.StatusNotFound, map[string]any{"message": "cannot be followed", "error": err})
		return
	}
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	flush.Flush()
	p.RunStream(r.Context(), path, data, func(packet json.RawMessage) error {
		if _, err := w.Write(append(packet, '\n')); err != nil {
			return err
		}
		return flush.Flush()
	})
}
