package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
	"hubscope/plugin/host"
	"hubscope/query"
	"hubscope/query/clickhouse"
)

// store is the engine of these tests, with the events of all scenarios in it,
// which came as events come: through the broker and the collector.
var store struct {
	once   sync.Once
	dir    string
	engine *embed.Engine
	runner *clickhouse.Runner
	now    time.Time // when rules are evaluated: scenarios count from it, however long it takes
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if store.runner != nil {
		store.runner.Close()
	}
	if store.engine != nil {
		store.engine.Close(time.Minute)
	}
	if store.dir != "" {
		os.RemoveAll(store.dir)
	}
	os.Exit(code)
}

// plugin is the path of the built plugin. It is built before events are stored,
// which are young only for a while.
var plugin = sync.OnceValues(func() (string, error) { return host.Build(context.Background(), store.dir) })

// hub is the name of a scenario's hub.
func (s scenario) hub() string { return s.rule + ": " + s.name }

// fill starts the engine and stores the events.
func fill() (err error) {
	if store.dir, err = os.MkdirTemp("", "hubscope-rules-"); err != nil {
		return err
	}
	plugin() // who needs it hears of its error
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if store.engine, err = embed.StartEngine(ctx, embed.EngineConfig{Dir: store.dir + "/engine"}); err != nil {
		return err
	}
	broker, err := embed.StartNATS(ctx, embed.NATSConfig{Dir: store.dir + "/nats"})
	if err != nil {
		return err
	}
	defer broker.Close()
	log := slog.New(slog.DiscardHandler)
	cfg := collector.DefaultConfig()
	cfg.NATS.Server.URL, cfg.ClickHouse.DSN, cfg.Linger = broker.URL, store.engine.DSN(), 50*time.Millisecond
	c, err := collector.New(cfg, log)
	if err != nil {
		return err
	}
	conn, err := stream.Server{URL: broker.URL}.Connect("rules", log)
	if err != nil {
		return err
	}
	defer conn.Close()
	pc := stream.DefaultPublisherConfig()
	pc.Node = "node"
	publisher, err := stream.NewPublisher(conn, pc, log)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 2)
	for _, run := range []func(context.Context) error{c.Run, publisher.Run} {
		wg.Go(func() { failed <- run(ctx) })
	}
	var engine *query.Engine
	stored := func() (int, error) {
		rows, err := rowsOf(ctx, engine, query.Request{Text: `union (Connections | project Hub), (PipelineMetrics | project Hub) | summarize Value = count()`})
		if err != nil || len(rows) != 1 {
			return -1, err
		}
		return int(rows[0].value), nil
	}
	await := func(want int) error {
		for {
			n, err := stored()
			if n == want {
				return nil
			}
			select {
			case err := <-failed:
				return fmt.Errorf("collector or publisher ended: %w", err)
			case <-ctx.Done():
				return fmt.Errorf("%d of %d events and samples are stored: %w", n, want, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if store.runner, err = clickhouse.Open(ctx, clickhouse.Config{DSN: store.engine.ReaderDSN(), Log: log}); err != nil {
		return err
	}
	if engine, err = query.New(query.Config{}, store.runner); err != nil {
		return err
	}
	if err := await(0); err != nil { // there are no tables before the collector has made them
		return err
	}
	store.now = time.Now().UTC().Truncate(time.Microsecond)
	events := 0 // and samples
	for _, s := range scenarios {
		if s.samples != nil {
			samples := s.samples(store.now)
			for i := range samples {
				samples[i].Hub, samples[i].Node = s.hub(), "node"
			}
			publisher.PublishMetrics(samples)
			events += len(samples)
			continue
		}
		for i, e := range s.events(store.now) {
			e.Hub, e.Node, e.Category, e.Sequence = s.hub(), "node", ingest.CategoryConnections, e.TimeGenerated.UnixMicro()+int64(i)
			publisher.Publish(&e)
			events++
		}
	}
	return await(events)
}

func newEngine(t *testing.T) *query.Engine {
	t.Helper()
	store.once.Do(func() { store.err = fill() })
	if errors.Is(store.err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(store.err)
	}
	if store.err != nil {
		t.Fatal(store.err)
	}
	e, err := query.New(query.Config{}, store.runner)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rowsOf runs a rule's query: strings are labels, Value is the value.
func rowsOf(ctx context.Context, e *query.Engine, req query.Request) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	res, err := e.Query(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	var rows []row
	for {
		b, err := res.Next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			r := row{labels: map[string]string{}}
			for k, c := range res.Columns {
				switch v := b.Columns[k].Value(i).(type) {
				case string:
					r.labels[c.Name] = v
				case int64:
					r.value = float64(v)
				case float64:
					r.value = v
				default:
					return nil, fmt.Errorf("column %s has %v", c.Name, v)
				}
			}
			rows = append(rows, r)
		}
	}
}

// check compares the rows of a scenario's hub with those that it wants.
func (s scenario) check(t *testing.T, rows []row) {
	t.Helper()
	key := func(labels map[string]string) string {
		var b strings.Builder
		for _, l := range slices.Sorted(maps.Keys(labels)) {
			fmt.Fprintf(&b, "%s=%s ", l, labels[l])
		}
		return b.String()
	}
	want, got := map[string]row{}, map[string]row{}
	for _, r := range s.want {
		labels := map[string]string{"Hub": s.hub()}
		maps.Copy(labels, r.labels)
		want[key(labels)] = r
	}
	for _, r := range rows {
		if r.labels["Hub"] == s.hub() {
			got[key(r.labels)] = r
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
	for k, w := range want {
		if g, ok := got[k]; ok && (g.value < w.value || g.value > w.most) {
			t.Errorf("%s: value %g, want %g to %g", k, g.value, w.value, w.most)
		}
	}
}

// TestFiring evaluates each rule at the moment that scenarios count from.
func TestFiring(t *testing.T) {
	e := newEngine(t)
	fired, quiet := map[string]bool{}, map[string]bool{}
	rules := readRules(t)
	results := map[string][]row{}
	for name, r := range rules {
		rows, err := rowsOf(t.Context(), e, query.Request{Text: textOf(t, r, "30d"), Now: store.now})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		results[name] = rows
		for _, row := range rows {
			if row.value <= 0 && r.Annotations[noDataState] == "" {
				t.Errorf("%s has a row that does not fire: %v", name, row)
			}
		}
	}
	for _, s := range scenarios {
		t.Run(s.hub(), func(t *testing.T) { s.check(t, results[s.rule]) })
		firing := slices.ContainsFunc(s.want, func(r row) bool { return r.value > 0 })
		fired[s.rule], quiet[s.rule] = fired[s.rule] || firing, quiet[s.rule] || !firing
	}
	for name := range rules {
		if !fired[name] || !quiet[name] {
			t.Errorf("%s has no scenario of each kind", name)
		}
	}
}

// textOf is the rule's query. The deadline, which is a day of the calendar, comes
// in the given time.
func textOf(t *testing.T, r rule, deadline string) string {
	t.Helper()
	if r.Alert != "DeadlineAtRisk" {
		return r.Expr
	}
	text := regexp.MustCompile(`datetime\([0-9-]+\)`).ReplaceAllString(r.Expr, "now() + "+deadline)
	if text == r.Expr {
		t.Fatalf("no deadline in\n%s", text)
	}
	return text
}

// TestDeadline: long before the deadline nobody has to hurry.
func TestDeadline(t *testing.T) {
	e := newEngine(t)
	r := readRules(t)["DeadlineAtRisk"]
	for deadline, fires := range map[string]bool{"91d": false, "90d": false, "89.99d": true, "0d": true, "(-1d)": true} {
		rows, err := rowsOf(t.Context(), e, query.Request{Text: textOf(t, r, deadline), Now: store.now})
		if err != nil {
			t.Fatal(err)
		}
		if fires != (len(rows) > 0) {
			t.Errorf("deadline in %s: %v", deadline, rows)
		}
	}
}

// at is a query whose present is the moment that scenarios count from: the plugin
// and the service cannot be asked as of another time.
func at(text string, now time.Time) string {
	moment := "datetime(" + now.Format("2006-01-02T15:04:05.0000000Z") + ")"
	text = regexp.MustCompile(`\bago\(([^()]+)\)`).ReplaceAllString(text, "("+moment+" - $1)")
	return strings.ReplaceAll(text, "now()", moment)
}

// TestNoRows: without any events no rule fails, and none has a row.
func TestNoRows(t *testing.T) {
	e := newEngine(t)
	for name, r := range readRules(t) {
		if rows, err := rowsOf(t.Context(), e, query.Request{Text: textOf(t, r, "30d"), Hubs: []string{}}); err != nil || len(rows) > 0 {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
	}
}
