// Package e2e uses the built plugin in a browser: Chromium shows a page that
// loads dist/module.js as Grafana does, with the real @grafana packages (of
// Grafana 13.1 with React 18, and of 13.2 with React 19), and a server with
// Grafana's paths passes its requests over gRPC to the built backend, which
// asks a running hubscope with a demo fleet. What it does not show is what
// belongs to Grafana alone: its panels, alert scheduler, provisioning, plugin
// signatures and permissions.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/deploy/embed"
	"hubscope/plugin/host"
)

// pages are the two hosts: the folder whose packages each has.
var pages = []struct{ name, root string }{
	{"react18", ".."},
	{"react19", "react19"},
}

// TestPlugin needs a ClickHouse engine. The browser's part needs node, Chromium
// and what npm installs and builds (make test does that) besides. HUBSCOPE_SHOTS
// names a folder for pictures; ONLY picks tests of run.mjs by a part of their name.
func TestPlugin(t *testing.T) {
	if _, err := (embed.Finder{}).Find(); errors.Is(err, embed.ErrNoEngine) {
		missing(t, err)
	}
	query := up(t)
	exe, err := host.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T) *host.Plugin {
		t.Helper()
		plugin, err := host.Start(t.Context(), host.Config{
			Executable: exe, Settings: backend.DataSourceInstanceSettings{URL: query}, Log: &lines{t: t},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { plugin.Close() })
		return plugin
	}
	t.Run("builder", func(t *testing.T) { builderCases(t, start(t)) })
	for _, page := range pages {
		t.Run(page.name, func(t *testing.T) {
			need(t, "node_modules/playwright-core", filepath.Join(page.root, "node_modules/@grafana/ui"), "../dist/module.js")
			node, chromium := tool(t, "node"), tool(t, "chromium")
			dir := t.TempDir()
			run(t, 10*time.Minute, nil, node, "host/build.mjs", page.root, dir)
			s := serve(t, start(t), dir, query)
			shots := os.Getenv("HUBSCOPE_SHOTS")
			if shots != "" {
				shots = filepath.Join(shots, page.name)
				if err := os.MkdirAll(shots, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			run(t, 18*time.Minute, []string{"CHROMIUM=" + chromium}, node, "run.mjs", s.URL, query, shots)
		})
	}
}

// builderCases runs what the visual builder writes: each case of the frontend's
// own tests, with macros and variables on the way.
func builderCases(t *testing.T, plugin *host.Plugin) {
	b, err := os.ReadFile("../src/builder/testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Name, KQL string }
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 10 {
		t.Fatalf("%d cases", len(cases))
	}
	values := func(values ...string) any { return map[string]any{"values": values, "multi": len(values) > 1} }
	variables := map[string]any{
		"hub": values("plant-7", "depot"), "protocol": values("Mqtt"), "device": values("press-1"), "sdk": values("py"), "least": values("5"),
	}
	to := time.Now()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			model, err := json.Marshal(map[string]any{"schemaVersion": 1, "query": c.KQL, "format": "table", "variables": variables})
			if err != nil {
				t.Fatal(err)
			}
			res, err := plugin.QueryData(t.Context(), nil, backend.DataQuery{
				RefID: "A", JSON: model, TimeRange: backend.TimeRange{From: to.Add(-time.Hour), To: to}, Interval: time.Minute, MaxDataPoints: 500,
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := res.Responses["A"]; a.Error != nil || len(a.Frames) == 0 {
				t.Errorf("%v, %d frames:\n%s", a.Error, len(a.Frames), c.KQL)
			}
		})
	}
}

// missing skips a test that cannot run, where it need not.
func missing(t *testing.T, why error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func need(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			missing(t, fmt.Errorf("make test installs and builds it: %w", err))
		}
	}
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, err)
	}
	return path
}

// run runs a command to its end; a failure ends the test.
func run(t *testing.T, limit time.Duration, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	// Chromium's processes end with their parent's pipes.
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Logf("\n%s", out)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", filepath.Base(name), args[0], err)
	}
}

// lines logs what the plugin calls an error of its own.
type lines struct{ t *testing.T }

func (l *lines) Write(b []byte) (int, error) {
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		if bytes.Contains(s.Bytes(), []byte(`"@level":"error"`)) && !bytes.Contains(s.Bytes(), []byte(`"statusSource":"downstream"`)) {
			l.t.Logf("plugin: %s", s.Bytes())
		}
	}
	return len(b), nil
}

// up runs `hubscope up --demo` until the test ends, and returns the address of
// its query service.
func up(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	exe := filepath.Join(dir, "hubscope")
	run(t, 10*time.Minute, nil, "go", "build", "-o", exe, "hubscope/deploy/hubscope")
	file := filepath.Join(dir, "ready.json")
	var out bytes.Buffer
	cmd := exec.Command(exe, "up", "--demo", "--data", filepath.Join(dir, "data"), "--ports", "auto", "--ready-file", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-end:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			<-end
		}
	})
	for deadline := time.Now().Add(10 * time.Minute); ; {
		if b, err := os.ReadFile(file); err == nil {
			var r struct {
				Query string `json:"query"`
			}
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			await(t, r.Query, deadline)
			return r.Query
		}
		select {
		case err := <-end:
			end <- err
			t.Fatalf("hubscope up ended: %v\n%s", err, out.Bytes())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready:\n%s", out.Bytes())
		}
	}
}

// await waits until the fleet has left events of old TLS versions.
func await(t *testing.T, query string, deadline time.Time) {
	t.Helper()
	for {
		res, err := http.Post(query+"/api/v1/query", "application/json",
			bytes.NewReader([]byte(`{"query":"Connections | summarize count(), dcount(TlsVersion), countif(OperationName == 'connectionRefused')"}`)))
		if err == nil {
			var a struct{ Rows [][]any }
			json.NewDecoder(res.Body).Decode(&a)
			res.Body.Close()
			if len(a.Rows) == 1 {
				n := func(i int) int { v, _ := strconv.Atoi(fmt.Sprint(a.Rows[0][i])); return v }
				if n(0) > 50 && n(1) > 2 && n(2) > 0 {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no events of the fleet: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
