package ds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
)

// These tests ask a real query service on the real engine. The rest of this
// package's tests need none.

// store is the engine of this package's tests, started by the first that needs it.
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

// The events of the store: devices 0 to 9 of two hubs connect once a minute each,
// one after the other every six seconds, on the morning from 6 to 12. Each is
// refused once an hour.
const (
	storedEvents = 3600
	seed         = `INSERT INTO Connections (TimeGenerated, Hub, DeviceId, OperationName, Level, ResultType, ResultDescription, TlsVersion, Protocol, ConnectionId, Sequence, HandshakeMicros, BytesIn, WouldFailStrict)
SELECT toDateTime64('2026-11-21 06:00:00', 7, 'UTC') + toIntervalSecond(number * 6), ['plant', 'office'][number % 2 + 1], concat('device-', toString(number % 10)),
  if(intDiv(number, 10) % 60 = number % 10, 'connectionRefused', 'deviceConnect'), if(intDiv(number, 10) % 60 = number % 10, 'Error', 'Information'),
  if(intDiv(number, 10) % 60 = number % 10, '401003', ''), if(intDiv(number, 10) % 60 = number % 10, 'The device is not known to this hub.', ''),
  ['1.2', '1.3', '1.0', '1.3', '1.2'][number % 5 + 1], 'Mqtt', reinterpretAsUUID(toFixedString(leftPad(toString(number), 16, '0'), 16)), intDiv(number, 10), 1000 + number % 7, 100 + number, number % 5 = 2
FROM numbers(3600)`
)

func startStore() (err error) {
	ctx := context.Background()
	if store.dir, err = os.MkdirTemp("", "hubscope-ds-"); err != nil {
		return err
	}
	if store.engine, err = embed.StartEngine(ctx, embed.EngineConfig{Dir: filepath.Join(store.dir, "engine")}); err != nil {
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
	schema.EventDays, schema.RollupDays = 20000, 20000 // what is stored is dated, and must not expire
	if _, err := collector.Migrate(ctx, conn, schema); err != nil {
		return err
	}
	if err := conn.Exec(ctx, strings.Replace(seed, "INTO Connections", "INTO "+embed.Database+".Connections", 1)); err != nil {
		return err
	}
	store.runner, err = clickhouse.Open(ctx, clickhouse.Config{DSN: store.engine.ReaderDSN(), MaxConns: 8, Log: slog.New(slog.DiscardHandler)})
	return err
}

// service returns the address of a query service over the store.
func service(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	store.once.Do(func() { store.err = startStore() })
	if errors.Is(store.err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(store.err)
	}
	if store.err != nil {
		t.Fatal(store.err)
	}
	engine, err := query.New(query.Config{MaxLimits: query.DefaultMaxLimits()}, store.runner)
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = api.NewServer(engine, api.Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if wrap != nil {
		handler = wrap(handler)
	}
	return listen(t, handler)
}

func listen(t testing.TB, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// newSource returns a data source for the service at this address.
func newSource(t testing.TB, url, jsonData string) *Datasource {
	t.Helper()
	if jsonData == "" {
		jsonData = "{}"
	}
	d, err := New(t.Context(), backend.DataSourceInstanceSettings{UID: "test", URL: url, JSONData: []byte(jsonData)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.(*Datasource).Dispose)
	return d.(*Datasource)
}

// hours is the range that the store's events are within.
var hours = backend.TimeRange{From: time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}

// panel is a query over the store's range with the fields of a model, as JSON
// without its braces.
func panel(refID, kql string, fields ...string) backend.DataQuery {
	text, err := json.Marshal(kql)
	if err != nil {
		panic(err)
	}
	body := fmt.Sprintf(`{"refId":%q,"schemaVersion":1,"query":%s`, refID, text)
	for _, f := range fields {
		body += "," + f
	}
	return backend.DataQuery{RefID: refID, TimeRange: hours, Interval: 20 * time.Second, MaxDataPoints: 1000, JSON: []byte(body + "}")}
}

const (
	asSeries = `"format":"time_series"`
	asLogs   = `"format":"logs"`
)

// ask runs queries with these headers.
func ask(t testing.TB, d *Datasource, headers map[string]string, queries ...backend.DataQuery) backend.Responses {
	t.Helper()
	res, err := d.QueryData(t.Context(), &backend.QueryDataRequest{Headers: headers, Queries: queries})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Responses) != len(queries) {
		t.Fatalf("%d responses for %d queries", len(res.Responses), len(queries))
	}
	return res.Responses
}

// one runs one query, which must not fail.
func one(t testing.TB, d *Datasource, headers map[string]string, q backend.DataQuery) data.Frames {
	t.Helper()
	r := ask(t, d, headers, q)[q.RefID]
	if r.Error != nil {
		t.Fatalf("%s: %v", q.JSON, r.Error)
	}
	return r.Frames
}

var alert = map[string]string{"FromAlert": "true"}

func TestQueryDataSeries(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	frames := one(t, d, nil, panel("A", "Connections | where $__timeFilter() | summarize Devices=dcount(DeviceId) by bin(TimeGenerated, $__timeInterval), TlsVersion", asSeries))
	if len(frames) != 3 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, version := range []string{"1.0", "1.2", "1.3"} {
		f := frames[i]
		value := f.Fields[1]
		if f.Meta.Type != data.FrameTypeTimeSeriesMulti || len(f.Fields) != 2 || value.Labels["TlsVersion"] != version || value.Config.DisplayNameFromDS != version {
			t.Errorf("frame %d: %s %v", i, f.Meta.Type, value.Labels)
		}
		if want := 72; f.Rows() != want { // bins of 5 minutes
			t.Errorf("%s: want %d points, got %d", version, want, f.Rows())
		}
		if n, _ := value.ConcreteAt(0); n != map[string]int64{"1.0": 2, "1.2": 4, "1.3": 4}[version] {
			t.Errorf("%s: %v devices", version, n)
		}
	}
	meta := frames[0].Meta
	what := meta.Custom.(custom)
	if !strings.Contains(what.SQL, "SELECT") || len(what.Tables) == 0 || what.Truncated || what.Cached || !what.From.Equal(hours.From) {
		t.Errorf("custom %+v", what)
	}
	for _, part := range []string{"bin(TimeGenerated, 5m)", "datetime(2026-11-21T06:00:00Z)", "SELECT"} {
		if !strings.Contains(meta.ExecutedQueryString, part) {
			t.Errorf("executed query has no %s:\n%s", part, meta.ExecutedQueryString)
		}
	}
	if len(meta.Stats) == 0 || meta.Stats[0].Value == 0 {
		t.Errorf("stats %+v", meta.Stats)
	}
	if len(meta.Notices) > 0 {
		t.Errorf("notices %+v", meta.Notices)
	}
}

// TestQueryDataRange: a query without a time filter is limited all the same, and
// says so.
func TestQueryDataRange(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	q := panel("A", "Connections | count")
	q.TimeRange.To = hours.From.Add(time.Minute)
	frames := one(t, d, nil, q)
	if n, _ := frames[0].Fields[0].ConcreteAt(0); n != int64(10) {
		t.Errorf("%v rows", n)
	}
	if n := frames[0].Meta.Notices; len(n) != 1 || !strings.Contains(n[0].Text, "time range") {
		t.Errorf("notices %+v", n)
	}
	if !strings.Contains(frames[0].Meta.ExecutedQueryString, "TimeGenerated < datetime(2026-11-21T06:01:00Z)") {
		t.Errorf("executed %s", frames[0].Meta.ExecutedQueryString)
	}
}

func TestQueryDataFails(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	tests := []struct {
		name, kql string
		fields    []string
		status    int
		message   string
	}{
		{"column", "Connections\n| where $__timeFilter()\n  and TlsVersoin == '1.0'", nil, 400, "line 3, column 7: "},
		{"within a macro", "Connections | where $__timeFilter(TimeGenerate)", nil, 400, "line 1, column 35: "},
		{"behind a macro", "Connections | where $__timeFilter() | summarice count()", nil, 400, "line 1, column 39: "},
		{"macro", "Connections | where $__timeFiler()", nil, 400, "there is no macro $__timeFiler. Macros are $__timeFilter"},
		{"variable", "Connections | where Hub == $hub", nil, 400, "the variable hub has no value"},
		{"version", "Connections", []string{`"schemaVersion":99`}, 400, "newer version"},
		{"format", "Connections", []string{`"format":"trace"`}, 400, "unknown format"},
		{"empty", " ", nil, 400, "is empty"},
		{"no time", "Connections | count", []string{asSeries}, 400, "need a datetime column, and the result has Count: long"},
		{"no number", "Connections | project TimeGenerated, Hub", []string{asSeries}, 400, "need a number column"},
		{"no time for logs", "Connections | count", []string{asLogs}, 400, "need a datetime column"},
		{"runtime", "print toscalar(range x from 1 to 2 step 1)", nil, 0, ""},
	}
	for _, tt := range tests {
		if tt.status == 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			good := panel("B", "print x=1")
			res := ask(t, d, nil, panel("A", tt.kql, tt.fields...), good)
			r := res["A"]
			if r.Error == nil || r.ErrorSource != backend.ErrorSourceDownstream || int(r.Status) != tt.status || !strings.Contains(r.Error.Error(), tt.message) {
				t.Errorf("status %d of %s: %v", r.Status, r.ErrorSource, r.Error)
			}
			if res["B"].Error != nil || len(res["B"].Frames) != 1 {
				t.Errorf("the other query: %v", res["B"].Error)
			}
		})
	}
}
