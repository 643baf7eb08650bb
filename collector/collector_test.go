package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/nats-io/nats.go"

	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func startEngine(t *testing.T) *embed.Engine {
	t.Helper()
	e, err := embed.StartEngine(t.Context(), embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(10 * time.Second) })
	return e
}

func startNATS(t *testing.T) *embed.NATS {
	t.Helper()
	n, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// store is a database of its own, with a connection to look into it.
type store struct {
	Store
	conn driver.Conn
	t    *testing.T
}

// database names are taken from tests, so that tests can share an engine.
func newStore(t *testing.T, e *embed.Engine, database string) store {
	t.Helper()
	opts, err := clickhouse.ParseDSN(e.DSN())
	if err != nil {
		t.Fatal(err)
	}
	opts.Auth.Database = "system"
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := DefaultConfig().ClickHouse
	s.DSN, s.Database = e.DSN(), database
	return store{s, conn, t}
}

// number runs a query with one number as its answer; -1 is an error.
func (s store) number(sql string, args ...any) int64 {
	s.t.Helper()
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"max_execution_time": 20}))
	var n int64
	if err := s.conn.QueryRow(ctx, "SELECT toInt64(("+sql+"))", args...).Scan(&n); err != nil {
		s.t.Logf("%s: %v", sql, err)
		return -1
	}
	return n
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := stream.Server{URL: url}.Connect(t.Name(), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func startPublisher(t *testing.T, url, node string) *stream.Publisher {
	t.Helper()
	cfg := stream.DefaultPublisherConfig()
	cfg.Node = node
	p, err := stream.NewPublisher(connect(t, url), cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p.Run)
	return p
}

// run starts a Run and returns what stops it and waits.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

func testConfig(url string, s Store) Config {
	cfg := DefaultConfig()
	cfg.NATS.Server.URL = url
	cfg.ClickHouse = s
	cfg.Linger = 50 * time.Millisecond
	return cfg
}

func event(n int) *ingest.Event {
	e := &ingest.Event{
		TimeGenerated: time.Now(), Hub: fmt.Sprintf("hub%d", n%2), Node: "n", OperationName: ingest.DeviceConnect,
		Category: ingest.CategoryConnections, Level: ingest.Information, Stage: ingest.StageSession,
		DeviceId: fmt.Sprintf("d%d", n%50), Sequence: int64(n), Protocol: ingest.Mqtt, AuthType: ingest.AuthSAS,
		TlsVersion: "1.2", TlsCipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", OfferedVersions: []string{"1.3", "1.2"},
	}
	if n%5 == 0 {
		e.DeviceId, e.ClaimedDeviceId, e.OperationName = "", "x", ingest.ConnectionRefused
	}
	return e
}

func TestCollect(t *testing.T) {
	n := startNATS(t)
	s := newStore(t, startEngine(t), "collect")
	c, err := New(testConfig(n.URL, s.Store), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, c.Run)
	p := startPublisher(t, n.URL, "a")
	const total = 5000
	for i := range total {
		p.Publish(event(i))
	}
	eventually(t, "all rows are there", func() bool { return s.number("SELECT count() FROM collect.Connections") == total })
	for sql, want := range map[string]int64{
		"SELECT uniqExact(Sequence) FROM collect.Connections":                        total,
		"SELECT sum(Count) FROM collect.ConnectionsBy5m":                             total,
		"SELECT sum(Count) FROM collect.DeviceDays":                                  total,
		"SELECT count() FROM collect.Devices":                                        40,
		"SELECT count() FROM collect.AzureDiagnostics":                               total,
		"SELECT countIf(OfferedVersions = '[\"1.3\",\"1.2\"]') FROM collect.Devices": 40,
	} {
		// Views follow the events' table within the same insert.
		eventually(t, sql, func() bool { return s.number(sql) == want })
	}
	start := time.Now()
	stop()
	t.Logf("stopped in %v", time.Since(start))
}
