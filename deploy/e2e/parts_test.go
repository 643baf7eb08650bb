package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/deploy/embed"
)

// part is a long-running command; its log is JSON lines.
type part struct {
	t    *testing.T
	cmd  *exec.Cmd
	logs chan map[string]any
}

func startPart(t *testing.T, env []string, args ...string) *part {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &part{t: t, cmd: exec.Command(bin, append(args, "--log-format", "json")...), logs: make(chan map[string]any, 1000)}
	p.cmd.Env = append(os.Environ(), env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.logs)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			entry := map[string]any{"msg": lines.Text()}
			json.Unmarshal(lines.Bytes(), &entry)
			p.logs <- entry
		}
		io.Copy(io.Discard, stderr)
	}()
	t.Cleanup(p.stop)
	return p
}

// await returns the first log entry with this message.
func (p *part) await(msg string) map[string]any {
	p.t.Helper()
	timeout := time.After(5 * time.Minute)
	var seen []string
	for {
		select {
		case entry, ok := <-p.logs:
			if !ok {
				p.t.Fatalf("%v ended before %q:\n%s", p.cmd.Args, msg, strings.Join(seen, "\n"))
			}
			if entry["msg"] == msg {
				return entry
			}
			seen = append(seen, entry["msg"].(string))
		case <-timeout:
			p.t.Fatalf("%v: no %q within 5 min:\n%s", p.cmd.Args, msg, strings.Join(seen, "\n"))
		}
	}
}

func (p *part) stop() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(os.Interrupt)
	for range p.logs {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v after Ctrl-C: %v", p.cmd.Args, err)
	}
	p.cmd = nil
}

// TestPartsAlone runs hub, collector and query service as processes of their
// own against a broker and an engine that are not theirs.
func TestPartsAlone(t *testing.T) {
	engine, err := embed.StartEngine(t.Context(), embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(time.Minute) })
	nats, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Close)

	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	migrate := exec.Command(bin, "collector", "migrate")
	// Secrets come by the environment.
	env := []string{"HUBSCOPE_NATS=" + nats.URL, "HUBSCOPE_CLICKHOUSE=" + engine.DSN()}
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil || !strings.Contains(string(out), "schema") {
		t.Fatalf("migrate: %v\n%s", err, out)
	}

	// The rest comes by one file.
	data := t.TempDir()
	config := filepath.Join(data, "hubscope.yaml")
	if err := os.WriteFile(config, []byte("node: plant-7\nhub:\n  name: plant-7\n  mqtt_listen: 127.0.0.1:0\n  https_listen: 127.0.0.1:0\n  metric_interval: 1s\ncollector:\n  linger: 200ms\nquery:\n  listen: 127.0.0.1:0\nmetrics_listen: 127.0.0.1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	collector := startPart(t, env, "collector", "--config", config)
	collector.await("collector ready")
	serve := startPart(t, []string{"HUBSCOPE_CLICKHOUSE=" + engine.ReaderDSN()}, "serve", "--config", config)
	url := serve.await("query service ready")["url"].(string)
	hub := startPart(t, env, "hub", "--config", config, "--data", filepath.Join(data, "hub"))
	mqtt := hub.await("hub ready")["mqtt"].(string)

	s := &stack{t: t, bin: bin, Ready: Ready{Query: url, MQTT: mqtt, NATS: nats.URL, Host: "localhost", Data: data}}
	d := s.addDevice("alone-1", "--nats", nats.URL)
	s.run("device", "--connection-string", d.ConnectionString, "--ca", filepath.Join(data, "hub", "tls", "root.pem"), "--port", port(mqtt), "--messages", "2", "--interval", "1ms")
	a := s.await(`Connections | where DeviceId == "alone-1" and OperationName == "deviceDisconnect" | project Hub, Node, Messages`, 1)
	if diff := cmp.Diff([]any{"plant-7", "plant-7", 2.0}, a.Rows[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Each part tells how it does, through the broker.
	s.await(`PipelineMetrics | where (MetricName == "hubscope_collector_rows_total" or MetricName == "hubscope_publisher_events_total") and Total > 0 | distinct MetricName`, 2)

	// What is missing is said.
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"hub"}, "--nats"},
		{[]string{"collector"}, "--clickhouse"},
		{[]string{"serve"}, "--clickhouse"},
		{[]string{"serve", "--clickhouse", "clickhouse://u:geheim@127.0.0.1:1/x"}, "clickhouse"},
		{[]string{"up", "--config", filepath.Join(data, "none.yaml")}, "none.yaml"},
		{[]string{"registry", "list", "--data", filepath.Join(data, "nothing")}, "hubscope up"},
	} {
		_, stderr, err := s.try(test.args...)
		if err == nil || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "geheim") {
			t.Errorf("hubscope %s: error %v, printed %q; want %q in it", strings.Join(test.args, " "), err, stderr, test.want)
		}
	}
}
