package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/plugin/host"
)

var executable string // of all tests, built by TestMain

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hubscope-host-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if executable, err = host.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestLifecycle starts the plugin, asks it something that needs no service, and
// looks that it is gone after Close.
func TestLifecycle(t *testing.T) {
	var log bytes.Buffer
	p, err := host.Start(t.Context(), host.Config{Executable: executable, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	pid := p.PID()
	metrics, err := p.CollectMetrics(t.Context())
	if err != nil || !strings.Contains(metrics, "go_goroutines ") {
		t.Errorf("metrics: %v\n%s", err, metrics)
	}
	if p.Exited() {
		t.Error("exited while it runs")
	}
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
	t.Logf("ended in %v", time.Since(start))
	if !p.Exited() {
		t.Error("not exited after Close")
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d after Close: %v", pid, err)
	}
	if _, err := p.CollectMetrics(t.Context()); err == nil {
		t.Error("a closed plugin answers")
	}
}

// TestKilled tells a plugin that was killed from one that ended.
func TestKilled(t *testing.T) {
	p, err := host.Start(t.Context(), host.Config{Executable: executable})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !p.Exited() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a killed plugin closes with %v", err)
	}
}

// TestNotAPlugin is what happens with another executable.
func TestNotAPlugin(t *testing.T) {
	if _, err := host.Start(t.Context(), host.Config{Executable: "/bin/true"}); err == nil {
		t.Error("/bin/true is taken for a plugin")
	}
	if _, err := host.Start(t.Context(), host.Config{Executable: t.TempDir() + "/none"}); err == nil {
		t.Error("a missing file is taken for a plugin")
	}
}

// TestDatasources asks one process as two data sources whose settings are wrong
// in two ways: each gets its own answer.
func TestDatasources(t *testing.T) {
	p, err := host.Start(t.Context(), host.Config{Executable: executable, Settings: backend.DataSourceInstanceSettings{UID: "a", URL: "ftp://a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	q := p.For(host.Config{Settings: backend.DataSourceInstanceSettings{UID: "b", URL: "http://b", JSONData: []byte(`{"timeoutSeconds":"soon"}`)}})
	for name, tt := range map[string]struct {
		plugin *host.Plugin
		want   string
	}{"a": {p, "not http:// or https://"}, "b": {q, `timeoutSeconds is not a number from 0 to 3600: soon`}} {
		health, err := tt.plugin.CheckHealth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if health.Status != backend.HealthStatusError || !strings.Contains(health.Message, tt.want) {
			t.Errorf("%s: want an error with %q, got %v %q", name, tt.want, health.Status, health.Message)
		}
	}
}
