package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/clickhouse"
)

// store is the one ClickHouse engine of this package's tests.
var store struct {
	once   sync.Once
	dir    string
	engine *embed.Engine
	runner *clickhouse.Runner
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if store.runner != nil {
		store.runner.Close()
	}
	if store.engine != nil {
		if err := store.engine.Close(20 * time.Second); err != nil {
			slog.Error("engine", "err", err)
		}
	}
	if store.dir != "" {
		os.RemoveAll(store.dir)
	}
	os.Exit(code)
}

// noon is what now() is in these tests.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// start starts the engine, makes the tables as the collector does, and fills
// them with what testdata/events.sql has.
func start() error {
	ctx := context.Background()
	var err error
	if store.dir, err = os.MkdirTemp("", "hubscope-query-"); err != nil {
		return err
	}
	if store.engine, err = embed.StartEngine(ctx, embed.EngineConfig{Dir: store.dir}); err != nil {
		return err
	}
	opts, err := driver.ParseDSN(store.engine.DSN())
	if err != nil {
		return err
	}
	opts.Auth.Database = "system"
	conn, err := driver.Open(opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	schema := collector.DefaultSchema()
	schema.Database = embed.Database
	// What the tests insert is dated, and must not expire.
	schema.EventDays, schema.RollupDays = 20000, 20000
	if _, err := collector.Migrate(ctx, conn, schema); err != nil {
		return err
	}
	var inserts []string
	b, err := os.ReadFile("testdata/events.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &inserts); err != nil {
		return err
	}
	for _, sql := range inserts {
		if err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	// Queries run as the user that may only read.
	store.runner, err = clickhouse.Open(ctx, clickhouse.Config{DSN: store.engine.ReaderDSN(), Log: slog.New(slog.DiscardHandler)})
	return err
}

func newEngine(t testing.TB, cfg query.Config) *query.Engine {
	t.Helper()
	store.once.Do(func() { store.err = start() })
	if errors.Is(store.err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(store.err)
	}
	if store.err != nil {
		t.Fatal(store.err)
	}
	e, err := query.New(cfg, store.runner)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// column is a column of a result as the cases write it.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// table is a whole result, its cells as JSON.
type table struct {
	Columns []column
	Rows    [][]json.RawMessage
}

func run(ctx context.Context, e *query.Engine, req query.Request) (*table, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := e.Query(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	out := &table{}
	for _, c := range res.Columns {
		out.Columns = append(out.Columns, column{c.Name, c.Type.String()})
	}
	for {
		b, err := res.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			row := make([]json.RawMessage, len(b.Columns))
			for k := range b.Columns {
				row[k] = b.Columns[k].AppendJSON(nil, i)
			}
			out.Rows = append(out.Rows, row)
		}
	}
}

// cause adds what users are not told.
func cause(err error) string {
	var e *query.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Error() + ": " + e.Err.Error()
	}
	return err.Error()
}
