package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"hubscope/collector"
	"hubscope/ingest"
	"hubscope/query"
	"hubscope/query/plan"
)

// openLog makes the tables and a log.
func openLog(t *testing.T, change func(*LogConfig)) *Log {
	t.Helper()
	open(t, false) // starts ClickHouse
	store := collector.DefaultConfig().ClickHouse
	store.DSN = engine.DSN()
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := LogConfig{DSN: engine.DSN(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&cfg)
	}
	l, err := OpenLog(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stop runs a log until what it has is stored.
func stop(t *testing.T, l *Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a clean stop, at once
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestQueryLog: what a record says is what KQL reads, and a stop loses nothing.
func TestQueryLog(t *testing.T) {
	l := openLog(t, nil)
	at := time.Date(2026, 11, 23, 1, 2, 3, 123456700, time.UTC)
	l.Add(query.Record{
		Time: at, ID: "q1", ClientRequestID: "c1", User: "alice", Role: "reader", Hubs: []string{"a", `b"`}, Client: "grafana", ClientAddress: "10.0.0.1",
		Endpoint: "POST /api/v1/query", Database: "hubscope", Text: "Connections | take 1 // 'é'", Start: at.Add(-time.Hour), State: query.StateCompleted,
		Duration: 1500 * time.Millisecond, Queued: 20 * time.Millisecond,
		Stats:     query.Stats{Rows: 3, Bytes: 400, ReadRows: 5, ReadBytes: 600, MemoryBytes: 700, Compile: 81 * time.Microsecond},
		Truncated: true, Tables: []string{"Connections"}, Rollup: "ConnectionsBy5m", Node: "n1",
	})
	l.Add(query.Record{Time: at.Add(time.Second), ID: "q2", User: "bob", State: query.StateFailed, ErrorCode: "SEM0100", ErrorMessage: "no column", Text: strings.Repeat("x", 100_000)})
	stop(t, l)

	e, err := query.New(query.Config{}, open(t, true))
	if err != nil {
		t.Fatal(err)
	}
	read := func(text string) []string {
		t.Helper()
		res, err := e.Query(t.Context(), query.Request{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		b, err := res.Next()
		if err != nil {
			t.Fatal(err)
		}
		var cells []string
		for i := range b.Columns {
			cells = append(cells, string(b.Columns[i].AppendJSON(nil, 0)))
		}
		return cells
	}
	got := read(`QueryLog | where QueryId == "q1" | project TimeGenerated, ClientRequestId, User, Role, Hubs, Hubs[1], Client, ClientAddress, Endpoint, Database, Text, Start, End, State,
		ErrorCode, DurationMs, QueuedMs, CompileMicros, RowsRead, BytesRead, ResultRows, ResultBytes, Truncated, MemoryPeak, Tables[0], Rollup, Node`)
	want := []string{`"2026-11-23T01:02:03.1234567Z"`, `"c1"`, `"alice"`, `"reader"`, `["a","b\""]`, `"b\""`, `"grafana"`, `"10.0.0.1"`, `"POST /api/v1/query"`, `"hubscope"`,
		`"Connections | take 1 // 'é'"`, `"2026-11-23T00:02:03.1234567Z"`, "null", `"Completed"`, `""`, "1500", "20", "81", "5", "600", "3", "400", "true", "700",
		`"Connections"`, `"ConnectionsBy5m"`, `"n1"`}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("want %v\ngot  %v", want, got)
	}
	if got := read(`QueryLog | where QueryId == "q2" | project isnull(Hubs), isnull(Tables), State, ErrorCode, strlen(Text)`); !reflect.DeepEqual(got, []string{"true", "true", `"Failed"`, `"SEM0100"`, "65536"}) {
		t.Errorf("got %v", got)
	}
}

// TestQueryLogColumns: the log fills the columns of the catalog, in their order.
func TestQueryLogColumns(t *testing.T) {
	var names []string
	for _, c := range ingest.QueryLog {
		names = append(names, c.Name)
	}
	if want := strings.Join(names, ", "); want != logColumns {
		t.Errorf("want %s\ngot  %s", want, logColumns)
	}
}

// TestQueryLogNeverBlocks: with a full queue records are counted and dropped.
func TestQueryLogNeverBlocks(t *testing.T) {
	l := openLog(t, func(c *LogConfig) { c.Queue = 10 })
	id := fmt.Sprint("full-", time.Now().UnixNano())
	for i := range 25 {
		l.Add(query.Record{Time: time.Now(), ID: id, State: query.StateCompleted, Text: strings.Repeat("y", i)})
	}
	if l.Dropped() != 15 {
		t.Errorf("%d dropped, want 15", l.Dropped())
	}
	stop(t, l)
	if n := logged(t, id); n != 10 {
		t.Errorf("%d stored, want 10", n)
	}
}

// TestQueryLogWhileItRuns: many records are stored without a stop.
func TestQueryLogWhileItRuns(t *testing.T) {
	l := openLog(t, func(c *LogConfig) { c.Linger = 10 * time.Millisecond })
	id := fmt.Sprint("many-", time.Now().UnixNano())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for range 3000 {
		l.Add(query.Record{Time: time.Now(), ID: id, State: query.StateCompleted})
	}
	for deadline := time.Now().Add(time.Minute); logged(t, id) < 3000; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d stored, want 3000", logged(t, id))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestQueryLogTwice: a batch that is sent again is stored once.
func TestQueryLogTwice(t *testing.T) {
	l := openLog(t, nil)
	defer l.conn.Close()
	for range 2 {
		if err := l.insert(t.Context(), []query.Record{{Time: time.Now(), ID: "twice"}, {Time: time.Now(), ID: "twice"}}, "token"); err != nil {
			t.Fatal(err)
		}
	}
	if n := logged(t, "twice"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func logged(t *testing.T, id string) int64 {
	t.Helper()
	rows, err := open(t, true).Run(t.Context(), statement("SELECT toInt64(count()) FROM QueryLog WHERE QueryId = '"+id+"'", query.Column{Name: "n", Type: plan.Long}))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	b, err := rows.Next()
	if err != nil {
		t.Fatal(err)
	}
	return b.Columns[0].Ints[0]
}

// TestQueryLogNeedsItsRights: a user that only reads is told so at the start.
func TestQueryLogNeedsItsRights(t *testing.T) {
	openLog(t, nil).conn.Close()
	if _, err := OpenLog(t.Context(), LogConfig{DSN: engine.ReaderDSN()}); err == nil || !strings.Contains(err.Error(), "may not insert") {
		t.Errorf("a reader: %v", err)
	}
	if _, err := OpenLog(t.Context(), LogConfig{DSN: engine.DSN(), Database: "system"}); err == nil || !strings.Contains(err.Error(), "no table QueryLog") {
		t.Errorf("another database: %v", err)
	}
}
