package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hubscope/plugin/host"
	"hubscope/query/api"
)

// TestQuery asks as a panel does, in each format.
func TestQuery(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	now := time.Now()
	queries := []backend.DataQuery{
		{RefID: "table", JSON: []byte(`{"query":"Connections | where $__timeFilter() | summarize Events = count() by Hub | order by Hub asc"}`)},
		{RefID: "series", JSON: []byte(`{"format":"time_series","query":"Connections | where $__timeFilter() | summarize Events = count() by bin(TimeGenerated, $__timeInterval), TlsVersion"}`)},
		{RefID: "logs", JSON: []byte(`{"format":"logs","rowLimit":7,"query":"Connections | where $__timeFilter()"}`)},
		{RefID: "wrong", JSON: []byte(`{"query":"Connections | where TlsVersoin == '1'"}`)},
	}
	for i := range queries {
		queries[i].TimeRange = backend.TimeRange{From: now.Add(-time.Hour), To: now}
		queries[i].Interval, queries[i].MaxDataPoints = time.Minute, 500
	}
	res, err := p.QueryData(t.Context(), nil, queries...)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Responses) != len(queries) {
		t.Fatalf("%d responses to %d queries", len(res.Responses), len(queries))
	}
	for _, ref := range []string{"table", "series", "logs"} {
		if r := res.Responses[ref]; r.Error != nil || len(r.Frames) == 0 || r.Frames[0].RefID != ref {
			t.Fatalf("%s: %v, %d frames", ref, r.Error, len(r.Frames))
		}
	}
	table := res.Responses["table"].Frames[0]
	if hub, _ := table.Fields[0].ConcreteAt(1); table.Rows() != 2 || hub != "plant" || table.Meta.Type != data.FrameTypeTable {
		t.Errorf("%v", table)
	}
	var sum int64
	for i := range table.Rows() {
		n, _ := table.Fields[1].ConcreteAt(i)
		sum += n.(int64)
	}
	if sum < 1700 || sum > 1801 { // one event every two seconds
		t.Errorf("%d events within an hour", sum)
	}
	if m := table.Meta; !strings.Contains(m.ExecutedQueryString, "datetime(") || !strings.Contains(m.ExecutedQueryString, "SELECT") || len(m.Stats) == 0 {
		t.Errorf("%+v", m)
	}
	series := res.Responses["series"].Frames
	if len(series) != 3 || series[0].Meta.Type != data.FrameTypeTimeSeriesMulti || series[0].Rows() < 59 {
		t.Errorf("%d series, %+v", len(series), series[0].Meta)
	}
	if logs := res.Responses["logs"].Frames[0]; logs.Rows() != 7 || logs.Meta.Type != data.FrameTypeLogLines || len(logs.Meta.Notices) == 0 {
		t.Errorf("%d lines, %+v", logs.Rows(), logs.Meta)
	}
	wrong := res.Responses["wrong"]
	if wrong.Error == nil || wrong.ErrorSource != backend.ErrorSourceDownstream || wrong.Status != backend.StatusBadRequest || !strings.Contains(wrong.Error.Error(), "TlsVersion") {
		t.Errorf("%+v", wrong)
	}
}

// TestErrorSource: what users, services and networks do wrong is downstream.
func TestErrorSource(t *testing.T) {
	broken := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"columns":[{"name":"x","type":"long"}]}`+"\n"+`{"rows":[["no`) //nolint:errcheck // a test's server
	}))
	good := serve(t, api.Config{})
	a, _ := access(t, api.Grant{Name: "x", Role: api.Reader})
	for name, tt := range map[string]struct {
		url, model string
		status     backend.Status
		say        string
	}{
		"syntax":        {good, `{"query":"Connections | where"}`, 400, "line 1"},
		"unsupported":   {good, `{"query":"Connections | reduce by Hub"}`, 400, "reduce"},
		"runtime":       {good, `{"query":"print toint(1) / 0 | extend x = assert(false, 'no')"}`, 400, "line 1"},
		"macro":         {good, `{"query":"Connections | where $__contains(Hub)"}`, 400, "$__contains"},
		"variable":      {good, `{"query":"Connections | where Hub == $hub"}`, 400, "hub"},
		"no query":      {good, `{"query":""}`, 400, "empty"},
		"newer":         {good, `{"query":"print 1","schemaVersion":2}`, 400, "newer"},
		"no JSON":       {good, `[1]`, 400, "JSON"},
		"refused":       {"http://127.0.0.1:1", `{"query":"print 1"}`, 502, "refuses connections"},
		"settings":      {"", `{"query":"print 1"}`, 400, "URL"},
		"broken answer": {broken, `{"query":"print 1"}`, 502, ""},
		"token":         {serve(t, api.Config{Access: a}), `{"query":"print 1"}`, 401, "hubscope token"},
	} {
		t.Run(name, func(t *testing.T) {
			p := source(t, backend.DataSourceInstanceSettings{URL: tt.url})
			for _, headers := range []map[string]string{nil, {"FromAlert": "true"}} {
				r := ask(t, p, headers, tt.model)
				if r.Error == nil || r.ErrorSource != backend.ErrorSourceDownstream || r.Status != tt.status || !strings.Contains(r.Error.Error(), tt.say) {
					t.Errorf("want %d with %q, got %d, %s, %v", tt.status, tt.say, r.Status, r.ErrorSource, r.Error)
				}
			}
		})
	}
}

// endless is a query that does not end by itself; the word makes it known in the
// engine.
func endless(word string) string {
	return fmt.Sprintf(`{"query":"range x from 1 to 1000000000000 step 1 | where hash(strcat(x, '%s')) == 7 | count"}`, word)
}

func runningIn(t *testing.T, word string) bool {
	return count(t, "SELECT count() FROM system.processes WHERE query LIKE '%"+word+"%' AND query NOT LIKE '%system.processes%'") > 0
}

// TestCancel: a panel that goes away ends its query in the engine, not only here.
func TestCancel(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	word := "cancel" + rand.Text()
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() {
		_, err := p.QueryData(ctx, nil, panel(endless(word)))
		end <- err
	}()
	waitFor(t, "the query runs", func() bool { return runningIn(t, word) })
	cancel()
	if err := <-end; status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	start := time.Now()
	waitFor(t, "the query is gone from the engine", func() bool { return !runningIn(t, word) })
	t.Logf("gone after %v", time.Since(start).Round(time.Millisecond))
}

// TestTimeout: the data source's timeout is the service's limit, whose words the
// panel shows.
func TestTimeout(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{}), JSONData: []byte(`{"timeoutSeconds":1}`)})
	word := "timeout" + rand.Text()
	r := ask(t, p, nil, endless(word))
	if r.Error == nil || r.Status != http.StatusGatewayTimeout || r.ErrorSource != backend.ErrorSourceDownstream || !strings.Contains(r.Error.Error(), "1s") {
		t.Errorf("%d %v", r.Status, r.Error)
	}
	waitFor(t, "the query is gone from the engine", func() bool { return !runningIn(t, word) })
	// A service that does not keep the limit is left to itself a little later.
	slow := serveHandler(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // so that the end of the connection is seen
		<-r.Context().Done()
	}))
	r = ask(t, source(t, backend.DataSourceInstanceSettings{URL: slow, JSONData: []byte(`{"timeoutSeconds":0.1}`)}), nil, `{"query":"print 1"}`)
	if r.Error == nil || r.Status != http.StatusGatewayTimeout || !strings.Contains(r.Error.Error(), "100ms") {
		t.Errorf("%d %v", r.Status, r.Error)
	}
}

// TestRowLimits: the default, the query's own and the cap of the data source.
func TestRowLimits(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{}), JSONData: []byte(`{"defaultRowLimit":"50","maxRowLimit":80}`)})
	for limit, want := range map[int]int{0: 50, 20: 20, 80: 80, 1000: 80} {
		r := ask(t, p, nil, fmt.Sprintf(`{"query":"range x from 1 to 500 step 1","rowLimit":%d}`, limit))
		if r.Error != nil || r.Frames[0].Rows() != want {
			t.Errorf("limit %d: want %d rows, got %v, %v", limit, want, r.Frames, r.Error)
			continue
		}
		if notices := fmt.Sprint(r.Frames[0].Meta.Notices); !strings.Contains(notices, "only the first") || (limit == 1000) != strings.Contains(notices, "is above that of the data source") {
			t.Errorf("limit %d: notices %s", limit, notices)
		}
	}
}

// TestFromAlert asks as an alert rule does: by no user, with the interval that
// Grafana gives rules, for frames that alerting takes.
func TestFromAlert(t *testing.T) {
	p := sourceFor(t, host.Config{Settings: backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})}})
	for name, model := range map[string]string{
		"table":        `{"query":"Connections | where $__timeFilter() | summarize Events = count() by Hub, TlsVersion"}`,
		"series":       `{"format":"time_series","query":"Connections | where $__timeFilter() | summarize Events = count() by bin(TimeGenerated, $__timeInterval), Hub"}`,
		"empty table":  `{"query":"Connections | where Hub == 'none' | summarize Events = count() by Hub"}`,
		"empty series": `{"format":"time_series","query":"Connections | where Hub == 'none' | summarize Events = count() by bin(TimeGenerated, $__timeInterval), Hub"}`,
	} {
		res, err := p.QueryData(t.Context(), map[string]string{"FromAlert": "true", "http_X-Rule-Uid": "r1"},
			backend.DataQuery{RefID: "A", TimeRange: lastHour(), Interval: time.Second, MaxDataPoints: 43200, JSON: []byte(model)})
		if err != nil {
			t.Fatal(err)
		}
		r := res.Responses["A"]
		if r.Error != nil || len(r.Frames) == 0 {
			t.Errorf("%s: %v, %d frames", name, r.Error, len(r.Frames))
			continue
		}
		for _, f := range r.Frames {
			if m := string(f.Meta.Type); m != "numeric-long" && m != "numeric-wide" && m != "numeric-multi" && m != "timeseries-wide" && m != "timeseries-multi" {
				t.Errorf("%s: a frame of type %q", name, m)
			}
			if name == "series" && (f.Rows() < 10 || f.Rows() > 70) { // bins of a minute, not of a second; the newest event may be old by now
				t.Errorf("%d bins in an hour", f.Rows())
			}
		}
	}
}

// TestInstances: data sources of one process do not see each other's settings,
// and new settings are taken at once.
func TestInstances(t *testing.T) {
	a, tokens := access(t, api.Grant{Name: "plant", Role: api.Reader, Hubs: []string{"plant"}}, api.Grant{Name: "office", Role: api.Reader, Hubs: []string{"office"}})
	url := serve(t, api.Config{Access: a})
	const hubs = `{"query":"Connections | where $__timeFilter() | distinct Hub"}`
	var group sync.WaitGroup
	for i, want := range []string{"plant", "office"} {
		p := source(t, backend.DataSourceInstanceSettings{URL: url, DecryptedSecureJSONData: map[string]string{"token": tokens[i]}})
		for range 8 {
			group.Go(func() {
				r := ask(t, p, nil, hubs)
				if r.Error != nil || r.Frames[0].Rows() != 1 {
					t.Errorf("%s: %v %v", want, r.Frames, r.Error)
					return
				}
				if hub, _ := r.Frames[0].Fields[0].ConcreteAt(0); hub != want {
					t.Errorf("%s: %v", want, hub)
				}
			})
		}
	}
	group.Wait()
	settings := backend.DataSourceInstanceSettings{UID: "changes-" + rand.Text(), URL: url, DecryptedSecureJSONData: map[string]string{"token": "hsc_old"}}
	if r := ask(t, source(t, settings), nil, hubs); r.Status != http.StatusUnauthorized {
		t.Errorf("with the old token: %d %v", r.Status, r.Error)
	}
	settings.DecryptedSecureJSONData, settings.Updated = map[string]string{"token": tokens[0]}, time.Now()
	if r := ask(t, source(t, settings), nil, hubs); r.Error != nil {
		t.Errorf("with the new token: %v", r.Error)
	}
}

// TestRequestsAtOnce has many panels ask at once.
func TestRequestsAtOnce(t *testing.T) {
	p := source(t, backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})})
	var group sync.WaitGroup
	var failed atomic.Int64
	for i := range 40 {
		group.Go(func() {
			r := ask(t, p, nil, fmt.Sprintf(`{"query":"Connections | where $__timeFilter() and DeviceId == 'device-%d' | count"}`, i))
			if r.Error != nil {
				failed.Add(1)
				t.Errorf("%d: %v", i, r.Error)
			}
		})
	}
	group.Wait()
}

// TestProcess starts a plugin of its own: its log, its metrics, its end with a
// query on the way.
func TestProcess(t *testing.T) {
	var log lockedBuffer
	p, err := host.Start(t.Context(), host.Config{Executable: shared.executable, Log: &log, Settings: backend.DataSourceInstanceSettings{
		URL: serve(t, api.Config{}), DecryptedSecureJSONData: map[string]string{"token": "hsc_very_secret"}, BasicAuthUser: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if r := ask(t, p, nil, `{"query":"print 1"}`); r.Error != nil {
		t.Fatal(r.Error)
	}
	if r := ask(t, p, nil, `{"query":"nonsense"}`); r.Error == nil {
		t.Error("no error")
	}
	metrics, err := p.CollectMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go_goroutines ", "process_resident_memory_bytes ", "plugins_datasource_instances_total 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics:\n%.2000s", want, metrics)
		}
	}
	word := "exit" + rand.Text()
	end := make(chan error, 1)
	go func() {
		_, err := p.QueryData(context.Background(), nil, panel(endless(word)))
		end <- err
	}()
	waitFor(t, "the query runs", func() bool { return runningIn(t, word) })
	pid := p.PID()
	p.Close() // it may have to be killed, with a query on the way
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d after Close: %v", pid, err)
	}
	if err := <-end; err == nil {
		t.Error("the query came to an end")
	}
	waitFor(t, "the query is gone from the engine", func() bool { return !runningIn(t, word) })
	if strings.Contains(log.String(), "hsc_very_secret") {
		t.Errorf("a secret in the log:\n%s", log.String())
	}
}

// lockedBuffer takes a log from another goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
