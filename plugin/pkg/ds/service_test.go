package ds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
	"hubscope/query/client"
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
		if err := store.engine.Close(2 * time.Minute); err != nil {
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
	checkPlane(t, r.Frames)
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
	// What has no TimeGenerated is not.
	for _, kql := range []string{"print x=1", "Devices | summarize max(LastSeen), take_any(CertIssuer)"} {
		meta := one(t, d, nil, panel("A", kql))[0].Meta
		if len(meta.Notices) > 0 || strings.Contains(meta.ExecutedQueryString, "TimeGenerated <") {
			t.Errorf("%s: %+v\n%s", kql, meta.Notices, meta.ExecutedQueryString)
		}
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
		{"a column named like a trouble of the network", "Connections | where proxyconnect == 'malformed HTTP'", nil, 400, "no column"},
		{"no time for logs", "Connections | count", []string{asLogs}, 400, "need a datetime column"},
	}
	for _, tt := range tests {
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

// TestQueryDataAlert: alert rules have no variables and no cache, take bins of at
// least a minute, and get numbers or series, never long.
func TestQueryDataAlert(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	rule := func(kql string, fields ...string) backend.DataQuery {
		q := panel("A", kql, fields...)
		q.Interval, q.MaxDataPoints = time.Second, 43200
		return q
	}
	for _, headers := range []map[string]string{alert, {"http_FromAlert": "true"}} {
		f := one(t, d, headers, rule("Connections | where $__timeFilter() and TlsVersion == '1.0' | summarize Connections=count(), LastSeen=max(TimeGenerated) by DeviceId, Hub"))[0]
		if f.Meta.Type != data.FrameTypeNumericLong || len(f.Fields) != 3 || f.Rows() != 2 {
			t.Errorf("%v: %s with %d fields", headers, f.Meta.Type, len(f.Fields))
		}
	}
	if f := one(t, d, alert, rule("Connections | where $__timeFilter() | where Hub == 'none' | summarize n=count() by Hub"))[0]; f.Meta.Type != data.FrameTypeNumericLong || len(f.Fields) > 0 {
		t.Errorf("no rows: %s with %d fields", f.Meta.Type, len(f.Fields))
	}
	q := rule("Connections | where $__timeFilter() | summarize n=count() by bin(TimeGenerated, $__timeInterval), Hub", asSeries)
	q.TimeRange.To = hours.From.Add(time.Hour)
	for range 2 {
		frames := one(t, d, alert, q)
		if len(frames) != 2 || frames[0].Meta.Type != data.FrameTypeTimeSeriesMulti || frames[0].Rows() != 60 || frames[0].Meta.Custom.(custom).Cached {
			t.Errorf("%d frames, %s with %d rows, %+v", len(frames), frames[0].Meta.Type, frames[0].Rows(), frames[0].Meta.Custom)
		}
	}
	if f := one(t, d, alert, rule("Connections | where Hub == 'none' | summarize n=count() by bin(TimeGenerated, 1h), Hub", asSeries))[0]; f.Meta.Type != data.FrameTypeTimeSeriesMulti || len(f.Fields) > 0 {
		t.Errorf("no rows: %s with %d fields", f.Meta.Type, len(f.Fields))
	}
	r := ask(t, d, alert, rule("Connections | summarize n=count() by DeviceId", `"rowLimit":3`))["A"]
	if r.ErrorSource != backend.ErrorSourceDownstream || r.Status != 400 || !strings.Contains(r.Error.Error(), "more than 3 rows") {
		t.Errorf("%d %s %v", r.Status, r.ErrorSource, r.Error)
	}
	r = ask(t, d, alert, rule("Connections | where Hub == $hub | count"))["A"]
	if r.ErrorSource != backend.ErrorSourceDownstream || r.Status != 400 || !strings.Contains(r.Error.Error(), "alert rules have no dashboard variables") {
		t.Errorf("%d %s %v", r.Status, r.ErrorSource, r.Error)
	}
}

func TestQueryDataMakeSeries(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	for _, by := range []string{"Hub", "Hub, TlsVersion"} {
		frames := one(t, d, nil, panel("A", "Connections | where $__timeFilter() | make-series n=count() default=0 on TimeGenerated from $__timeFrom to $__timeTo step $__timeInterval by "+by, asSeries))
		if want := map[string]int{"Hub": 2, "Hub, TlsVersion": 6}[by]; len(frames) != want {
			t.Fatalf("by %s: %d frames", by, len(frames))
		}
		f := frames[0]
		sum := 0.0
		for i := range f.Rows() {
			n, _ := f.Fields[1].FloatAt(i)
			sum += n
		}
		if at, _ := f.Fields[0].ConcreteAt(0); f.Rows() != 72 || !at.(time.Time).Equal(hours.From) || f.Fields[1].Labels["Hub"] != "office" || by == "Hub" && sum != storedEvents/2 {
			t.Errorf("by %s: %d rows from %v, %v, sum %v", by, f.Rows(), at, f.Fields[1].Labels, sum)
		}
	}
	frames := one(t, d, nil, panel("A", "Connections | where Hub == 'none' | make-series n=count() on TimeGenerated from $__timeFrom to $__timeTo step $__timeInterval by Hub", asSeries))
	if len(frames) != 1 || frames[0].Meta.Type != data.FrameTypeTimeSeriesMulti || frames[0].Rows() != 0 {
		t.Errorf("no rows: %d frames, %s", len(frames), frames[0].Meta.Type)
	}
}

func TestQueryDataLogs(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	q := panel("A", "Connections | where $__timeFilter() | top 50 by TimeGenerated desc", asLogs)
	f := one(t, d, nil, q)[0]
	if f.Meta.Type != data.FrameTypeLogLines || f.Meta.PreferredVisualization != data.VisTypeLogs || f.Rows() != 50 {
		t.Fatalf("%s with %d rows", f.Meta.Type, f.Rows())
	}
	ids := map[any]bool{}
	id, _ := f.FieldByName("id")
	labels, _ := f.FieldByName("labels")
	for i := range f.Rows() {
		ids[id.At(i)] = true
		var of map[string]string
		if err := json.Unmarshal(labels.At(i).(json.RawMessage), &of); err != nil || of["DeviceId"] == "" || of["TimeGenerated"] != "" {
			t.Fatalf("labels %s: %v", labels.At(i), err)
		}
	}
	if len(ids) != 50 {
		t.Errorf("%d ids", len(ids))
	}
}

// TestQueryDataNewestLogs: the row limit leaves the newest lines of a query without
// an order.
func TestQueryDataNewestLogs(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	tests := []struct {
		kql       string
		newest    bool // first
		truncated bool
	}{
		{"Connections | where $__timeFilter() | extend a = 1 // all", true, true},
		{"Connections", true, true},
		{"Connections | where Hub in ((Connections | where DeviceId == 'device-1' | project Hub))", true, true},
		{"Connections | where Hub == 'none'", true, false},
		{"Connections | sort by TimeGenerated asc", false, true},
		{"Connections | take 5", false, false},
		{"let n = 1; Connections | project TimeGenerated, Hub | order by TimeGenerated asc", false, true},
	}
	for _, tt := range tests {
		f := one(t, d, nil, panel("A", tt.kql, asLogs, `"rowLimit":20`))[0]
		if tt.newest != strings.Contains(f.Meta.ExecutedQueryString, "| top 21 by TimeGenerated desc") || f.Meta.Custom.(custom).Truncated != tt.truncated {
			t.Errorf("%s: truncated %v\n%s", tt.kql, f.Meta.Custom.(custom).Truncated, f.Meta.ExecutedQueryString)
		}
		if tt.newest && f.Rows() > 0 {
			if at, _ := f.Fields[0].ConcreteAt(0); f.Rows() != 20 || !at.(time.Time).After(hours.To.Add(-time.Hour)) {
				t.Errorf("%s: %d lines from %v", tt.kql, f.Rows(), at)
			}
		}
	}
}

// TestQueryDataVariables: values reach the engine as values.
func TestQueryDataVariables(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	with := func(values string) string { return `"variables":{"hub":{"values":` + values + `,"multi":true}}` }
	const kql = "Connections | where $__timeFilter() and $__contains(Hub, $hub) | count"
	for values, want := range map[string]int64{`["plant"]`: 1800, `["plant","office"]`: 3600, `[]`: 3600, `["x\") or true //"]`: 0, `["\"", "\\", "plant"]`: 1800} {
		if n, _ := one(t, d, nil, panel("A", kql, with(values)))[0].Fields[0].ConcreteAt(0); n != want {
			t.Errorf("%s: want %d, got %v", values, want, n)
		}
	}
	for _, value := range hostile {
		if !utf8.ValidString(value) || value == all {
			continue
		}
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		f := one(t, d, nil, panel("A", `print a=$hub, b='${hub}', c=@"[[hub]]"`, with("["+string(b)+"]")))[0]
		for i := range f.Fields {
			if got := f.Fields[i].At(0); got != value {
				t.Errorf("%q reached the engine as %q", value, got)
			}
		}
	}
}

func TestQueryDataFilters(t *testing.T) {
	d := newSource(t, service(t, nil), "")
	const filters = `"adHocFilters":[{"key":"Hub","operator":"=","value":"plant"},{"key":"TlsVersion","operator":"=|","value":"1.0","values":["1.0","1.3"]}]`
	for _, kql := range []string{"Connections | where $__timeFilter() | count", "Connections | where $__adhocFilters | count"} {
		f := one(t, d, nil, panel("A", kql, filters))[0]
		if n, _ := f.Fields[0].ConcreteAt(0); n != int64(1080) {
			t.Errorf("%s: %v", kql, n)
		}
		told := strings.Contains(fmt.Sprint(f.Meta.Notices), "ad hoc filters")
		if told != !strings.Contains(kql, "$__adhoc") {
			t.Errorf("%s: notices %+v", kql, f.Meta.Notices)
		}
	}
	f := one(t, d, nil, panel("A", "print x=1", filters))[0]
	if !strings.Contains(fmt.Sprint(f.Meta.Notices), "no place") {
		t.Errorf("notices %+v", f.Meta.Notices)
	}
	for _, op := range []string{"=", "!=", "=|", "!=|", "=~", "!~", "<", "<=", ">", ">="} {
		one(t, d, nil, panel("A", "Connections | take 1", fmt.Sprintf(`"adHocFilters":[{"key":"TlsVersion","operator":%q,"value":"1.2"}]`, op)))
	}
}

func TestQueryDataRowLimit(t *testing.T) {
	d := newSource(t, service(t, nil), `{"defaultRowLimit":100,"maxRowLimit":200}`)
	for _, tt := range []struct {
		kql       string
		limit     string
		rows      int
		truncated bool
		told      string
	}{
		{"Connections", `"rowLimit":0`, 100, true, "only the first 100 rows"},
		{"Connections", `"rowLimit":150`, 150, true, "only the first 150 rows"},
		{"Connections", `"rowLimit":5000`, 200, true, "above that of the data source"},
		{"Connections | take 10", `"rowLimit":50`, 10, false, ""},
	} {
		f := one(t, d, nil, panel("A", tt.kql+" | where $__timeFilter()", tt.limit))[0]
		if f.Rows() != tt.rows || f.Meta.Custom.(custom).Truncated != tt.truncated || !strings.Contains(fmt.Sprint(f.Meta.Notices), tt.told) || tt.told == "" && len(f.Meta.Notices) > 0 {
			t.Errorf("%s %s: %d rows, %+v", tt.kql, tt.limit, f.Rows(), f.Meta.Notices)
		}
	}
}

// TestQueryDataCache: refreshes within a bin are answered once.
func TestQueryDataCache(t *testing.T) {
	var asked atomic.Int64
	counting := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			next.ServeHTTP(w, r)
		})
	}
	url := service(t, counting)
	const kql = "Connections | where $__timeFilter() | summarize n=count() by bin(TimeGenerated, $__timeInterval)"
	moved := func(q backend.DataQuery, by time.Duration) backend.DataQuery {
		q.TimeRange.From, q.TimeRange.To = q.TimeRange.From.Add(by), q.TimeRange.To.Add(by)
		return q
	}
	q := panel("A", kql, asSeries)
	steps := []struct {
		name    string
		source  string
		headers map[string]string
		query   backend.DataQuery
		asks    int64
	}{
		{"first", "", nil, moved(q, time.Second), 1},
		{"within the bin", "", nil, moved(q, time.Minute), 0},
		{"the next bin", "", nil, moved(q, 5*time.Minute+time.Second), 1},
		{"an alert rule", "", alert, moved(q, 5*time.Minute+time.Second), 1},
		{"as a table", "", nil, func() backend.DataQuery {
			q := moved(panel("A", kql), 5*time.Minute+time.Second)
			return q
		}(), 0},
		{"another limit", "", nil, moved(panel("A", kql, asSeries, `"rowLimit":7`), 5*time.Minute+time.Second), 1},
		{"without bins", "", nil, panel("A", "Connections | count"), 1},
		{"without bins again", "", nil, panel("A", "Connections | count"), 1},
		{"kept by the setting", `{"cacheSeconds":60}`, nil, panel("A", "Connections | count"), 1},
		{"kept by the setting again", `{"cacheSeconds":60}`, nil, panel("A", "Connections | count"), 0},
		{"off", `{"cacheSeconds":-1}`, nil, q, 1},
		{"off again", `{"cacheSeconds":-1}`, nil, q, 1},
		{"anna", `{"keepCookies":["session"]}`, map[string]string{"Cookie": "session=anna"}, q, 1},
		{"bert", `{"keepCookies":["session"]}`, map[string]string{"Cookie": "session=bert"}, q, 1},
		{"anna again", `{"keepCookies":["session"]}`, map[string]string{"Cookie": "session=anna"}, q, 0},
		{"anna's token", `{"oauthPassThru":true}`, map[string]string{"Authorization": "Bearer a"}, q, 1},
		{"bert's token", `{"oauthPassThru":true}`, map[string]string{"Authorization": "Bearer b"}, q, 1},
		{"anna's token again", `{"oauthPassThru":true}`, map[string]string{"Authorization": "Bearer a"}, q, 0},
	}
	sources := map[string]*Datasource{}
	for _, s := range steps {
		if sources[s.source] == nil {
			sources[s.source] = newSource(t, url, s.source)
		}
		before := asked.Load()
		frames := one(t, sources[s.source], s.headers, s.query)
		if got := asked.Load() - before; got != s.asks {
			t.Errorf("%s: want %d requests, got %d", s.name, s.asks, got)
		}
		if cached := frames[0].Meta.Custom.(custom).Cached; cached != (s.asks == 0) || cached != strings.Contains(fmt.Sprint(frames[0].Meta.Notices), "cache") {
			t.Errorf("%s: cached %v, %+v", s.name, cached, frames[0].Meta.Notices)
		}
	}
	// The range was widened to whole bins.
	f := one(t, newSource(t, url, ""), nil, moved(q, time.Minute))[0]
	if n, _ := f.Fields[1].ConcreteAt(0); n != int64(50) {
		t.Errorf("the first bin has %v events, not all 50", n)
	}
	f = one(t, newSource(t, url, `{"cacheSeconds":-1}`), nil, moved(q, time.Minute))[0]
	if n, _ := f.Fields[1].ConcreteAt(0); n != int64(40) {
		t.Errorf("without a cache the first bin has %v events, not the 40 of the range", n)
	}
}

// TestQueryDataSingleFlight: who asks for the same at the same time shares one
// query, which ends when the last of them has gone and not with the first.
func TestQueryDataSingleFlight(t *testing.T) {
	var asked atomic.Int64
	started, release, ended := make(chan struct{}, 8), make(chan struct{}), make(chan struct{}, 8)
	url := service(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			body, _ := io.ReadAll(r.Body) // the server sees only then that a client has gone
			r.Body = io.NopCloser(bytes.NewReader(body))
			started <- struct{}{}
			select {
			case <-release:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				ended <- struct{}{}
			}
		})
	})
	d := newSource(t, url, "")
	q := panel("A", "Connections | count")
	type outcome struct {
		r   backend.DataResponse
		who int
	}
	answers := make(chan outcome, 3)
	begin := func(ctx context.Context, who int) {
		go func() {
			res, err := d.QueryData(ctx, &backend.QueryDataRequest{Queries: []backend.DataQuery{q}})
			if err != nil {
				t.Error(err)
			}
			answers <- outcome{res.Responses["A"], who}
		}()
	}
	waiting := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			d.cache.mu.Lock()
			got := 0
			for _, f := range d.cache.flights {
				got += f.waiting
			}
			d.cache.mu.Unlock()
			if got == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d wait, not %d", got, n)
			}
		}
	}
	first, leave := context.WithCancel(t.Context())
	begin(first, 1)
	<-started
	begin(t.Context(), 2)
	waiting(2)
	leave()
	if got := <-answers; got.who != 1 || got.r.Status != statusClientClosed || got.r.ErrorSource != backend.ErrorSourceDownstream {
		t.Errorf("who left got %d %s %v", got.r.Status, got.r.ErrorSource, got.r.Error)
	}
	close(release)
	if got := <-answers; got.who != 2 || got.r.Error != nil {
		t.Errorf("who stayed got %v", got.r.Error)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}

	// Nobody stays.
	release = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	begin(ctx, 3)
	<-started
	cancel()
	<-answers
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the request goes on without anybody who waits for it")
	}
}

// TestQueryDataDownstream: what is wrong with the service or the way to it is
// downstream, and says what to do.
func TestQueryDataDownstream(t *testing.T) {
	answer := func(status int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	line := func(s string) http.Handler { return answer(200, "application/x-ndjson", s) }
	tests := []struct {
		name    string
		handler http.Handler
		status  int
		message string
	}{
		{"refused", nil, 502, "refuses connections"},
		{"unauthorized", answer(401, "application/json", `{"error":{"code":"Unauthorized","message":"a token is needed"}}`), 401, "a token is needed"},
		{"forbidden", answer(403, "application/json", `{"error":{"code":"Forbidden","message":"not for you"}}`), 403, "not for you"},
		{"throttled", answer(429, "application/json", `{"error":{"code":"TooManyRequests","message":"200 queries are waiting"}}`), 429, "200 queries"},
		{"timeout", answer(504, "application/json", `{"error":{"code":"Timeout","message":"the query took longer than 30 s"}}`), 504, "longer than 30 s"},
		{"unavailable", answer(503, "application/json", `{"error":{"code":"EngineUnavailable","message":"ClickHouse does not answer"}}`), 503, "ClickHouse does not answer"},
		{"internal", answer(500, "application/json", `{"error":{"code":"Internal","message":"something went wrong"}}`), 500, "something went wrong"},
		{"a proxy", answer(502, "text/html", "<html>Bad Gateway"), 502, "502 Bad Gateway"},
		{"no query service", answer(404, "text/plain", "404 page not found"), 502, "is not a hubscope query service"},
		{"a page", answer(200, "text/html", "<html>Welcome"), 502, ""},
		{"nothing", line(""), 502, ""},
		{"ends early", line(`{"columns":[{"name":"n","type":"long"}]}` + "\n" + `{"rows":[[1]]}` + "\n"), 502, ""},
		{"fails behind the first rows", line(`{"columns":[{"name":"n","type":"long"}]}` + "\n" + `{"rows":[[1]]}` + "\n" + `{"error":{"code":"Timeout","message":"the query took longer than 30 s"}}` + "\n"), 504, "longer than 30 s"},
		{"memory", line(`{"columns":[{"name":"n","type":"long"}]}` + "\n" + `{"error":{"code":"MemoryLimit","message":"the query needs more than 2 GiB"}}` + "\n"), 400, "2 GiB"},
		{"rows that do not fit", line(`{"columns":[{"name":"n","type":"long"}]}` + "\n" + `{"rows":[["x"]]}` + "\n"), 502, "column n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := refused.URL
			if tt.handler != nil {
				url = listen(t, tt.handler)
			}
			for _, headers := range []map[string]string{nil, alert} {
				r := ask(t, newSource(t, url, ""), headers, panel("A", "Connections | count"))["A"]
				if r.Error == nil || int(r.Status) != tt.status || r.ErrorSource != backend.ErrorSourceDownstream || !strings.Contains(r.Error.Error(), tt.message) {
					t.Errorf("%d of %s: %v", r.Status, r.ErrorSource, r.Error)
				}
			}
		})
	}
}

// TestQueryDataTimeout: the limit goes with the request, and a service that does
// not keep it is left.
func TestQueryDataTimeout(t *testing.T) {
	limits := make(chan float64, 20)
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body client.QueryRequest
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			return // given up while it was sent
		}
		limits <- body.TimeoutSeconds
		<-r.Context().Done()
	}))
	d := newSource(t, url, `{"timeoutSeconds":0.05}`)
	for range 20 {
		r := ask(t, d, nil, panel("A", "Connections | count"))["A"]
		if r.Status != backend.StatusTimeout || r.ErrorSource != backend.ErrorSourceDownstream || !strings.Contains(r.Error.Error(), "did not answer within") {
			t.Errorf("%d %s %v", r.Status, r.ErrorSource, r.Error)
		}
		select {
		case got := <-limits:
			if got != 0.05 {
				t.Errorf("timeoutSeconds %v", got)
			}
			return
		default: // the machine is so busy that the request did not get there in time
		}
	}
	t.Error("no request has come")
}

// TestQueryDataAtOnce: the queries of a request run side by side, as many as a
// client may, and each is asked for once.
func TestQueryDataAtOnce(t *testing.T) {
	var running, most atomic.Int64
	full := make(chan struct{})
	open := sync.OnceFunc(func() { close(full) })
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == maxConcurrentQueries {
			open()
		}
		<-full
		running.Add(-1)
		io.WriteString(w, `{"columns":[{"name":"n","type":"long"}]}`+"\n"+`{"done":{"stats":{},"truncated":false}}`+"\n")
	}))
	var queries []backend.DataQuery
	for i := range 20 {
		queries = append(queries, panel(fmt.Sprint("Q", i), fmt.Sprintf("print n=%d", i)))
	}
	for id, r := range ask(t, newSource(t, url, ""), nil, queries...) {
		if r.Error != nil {
			t.Errorf("%s: %v", id, r.Error)
		}
	}
	if got := most.Load(); got != maxConcurrentQueries {
		t.Errorf("%d at once", got)
	}
}

// panicking is a bug in what makes requests.
type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) {
	var d *Datasource
	return nil, d.invalid
}

// TestQueryDataPanic: a bug of ours ends one query and is told as ours.
func TestQueryDataPanic(t *testing.T) {
	d := newSource(t, "http://127.0.0.1:1", "")
	d.client.HTTP = &http.Client{Transport: panicking{}}
	for _, headers := range []map[string]string{nil, alert} {
		res := ask(t, d, headers, panel("A", "print 1"), panel("B", "print $__nothing"))
		if r := res["A"]; r.Status != backend.StatusInternal || r.ErrorSource != backend.ErrorSourcePlugin || strings.Contains(r.Error.Error(), "nil pointer") {
			t.Errorf("%d %s %v", r.Status, r.ErrorSource, r.Error)
		}
		if r := res["B"]; r.ErrorSource != backend.ErrorSourceDownstream {
			t.Errorf("the other: %s %v", r.ErrorSource, r.Error)
		}
	}
}

// TestDispose: a data source that is replaced keeps no connections.
func TestDispose(t *testing.T) {
	var open atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"columns":[{"name":"n","type":"long"}]}`+"\n"+`{"done":{"stats":{},"truncated":false}}`+"\n")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	made, err := New(t.Context(), backend.DataSourceInstanceSettings{UID: "test", URL: server.URL, JSONData: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*Datasource)
	for range 3 {
		if r := ask(t, d, nil, panel("A", "print n=1"))["A"]; r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	if n := open.Load(); n < 1 {
		t.Fatalf("%d connections are kept between queries", n)
	}
	d.Dispose()
	for deadline := time.Now().Add(time.Minute); open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", open.Load())
		}
	}
}
