package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubscope/query"
	"hubscope/query/clickhouse"
	"hubscope/query/client"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Admission{Queries: 3, QueriesPerClient: 2, Queue: 3, QueueWait: 10 * time.Second})
		enter := func(service string) func() {
			t.Helper()
			leave, err := g.enter(t.Context(), service)
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		a1, _ := enter("a"), enter("a")
		// The third of a waits, though there is a place; b's goes past it.
		entered := make(chan string, 10)
		var leave sync.Map
		wait := func(service, name string) {
			go func() {
				l, err := g.enter(t.Context(), service)
				if err != nil {
					entered <- name + " " + err.Error()
					return
				}
				leave.Store(name, l)
				entered <- name
			}()
			synctest.Wait()
		}
		wait("a", "a3")
		b1 := enter("b")
		wait("b", "b2")
		wait("a", "a4")
		if running, waiting := g.counts(); running != 3 || waiting != 3 {
			t.Errorf("%d running, %d waiting", running, waiting)
		}
		// The queue is full.
		var refused *statusError
		if _, err := g.enter(t.Context(), "c"); !errors.As(err, &refused) || refused.status != 429 || refused.retry <= 0 || refused.body.Error.Code != client.CodeThrottled {
			t.Errorf("a full queue: %v", err)
		}
		a1()
		a1() // a second time does nothing
		synctest.Wait()
		if got := <-entered; got != "a3" {
			t.Errorf("%s comes first", got)
		}
		b1()
		synctest.Wait()
		if got := <-entered; got != "b2" { // a has its two
			t.Errorf("%s comes second", got)
		}
		// a4 waits in vain.
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := <-entered; !strings.Contains(got, "10s") {
			t.Errorf("late: %s", got)
		}
		// Who goes away leaves the queue.
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := g.enter(ctx, "a"); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
		if running, waiting := g.counts(); running != 3 || waiting != 0 {
			t.Errorf("%d running, %d waiting", running, waiting)
		}
	})
}

// TestGateUnderLoad: whatever comes and goes, the bounds hold and nobody is forgotten.
func TestGateUnderLoad(t *testing.T) {
	g := newGate(Admission{Queries: 4, QueriesPerClient: 2, Queue: 1000, QueueWait: time.Minute})
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%7 == 0 {
				time.AfterFunc(time.Duration(i%5)*time.Millisecond, cancel)
			}
			service := strconv.Itoa(i % 5)
			leave, err := g.enter(ctx, service)
			if err != nil {
				return
			}
			g.mu.Lock()
			if g.running > 4 || g.clients[service] > 2 {
				t.Errorf("%d running, %d of one client", g.running, g.clients[service])
			}
			g.mu.Unlock()
			leave()
		})
	}
	wg.Wait()
	if running, waiting := g.counts(); running != 0 || waiting != 0 || len(g.clients) != 0 {
		t.Errorf("%d running, %d waiting, clients %v", running, waiting, g.clients)
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(Admission{Rate: 2, Burst: 4})
	now := time.Now()
	for i := range 4 {
		if err := p.admit("a", now); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	var refused *statusError
	if err := p.admit("a", now); !errors.As(err, &refused) || refused.status != 429 || retryAfter(refused.retry) != "1" {
		t.Errorf("beyond the burst: %v", err)
	}
	if err := p.admit("b", now); err != nil {
		t.Errorf("another client: %v", err)
	}
	if err := p.admit("a", now.Add(500*time.Millisecond)); err != nil {
		t.Errorf("half a second later: %v", err)
	}
	for i := range 1000 {
		p.admit(strconv.Itoa(i), now) //nolint:errcheck // only to be remembered
	}
	p.admit("a", now.Add(time.Hour)) //nolint:errcheck // forgets the others
	if len(p.clients) != 1 {
		t.Errorf("%d clients are remembered", len(p.clients))
	}
}

// TestThrottled: a full queue and a rate are told in each protocol's form.
func TestThrottled(t *testing.T) {
	for name, admission := range map[string]Admission{
		"queue": {Queries: 1, QueriesPerClient: 1, Queue: -1, QueueWait: 10 * time.Millisecond},
		"rate":  {Rate: 0.001, Burst: 1},
	} {
		t.Run(name, func(t *testing.T) {
			runner := openRunner(t)
			var mu sync.Mutex
			states := map[query.State]int{}
			url := serve(t, runner, Config{Admission: admission, Record: func(r query.Record) { mu.Lock(); states[r.State]++; mu.Unlock() }})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go (&client.Client{URL: url}).Query(ctx, client.QueryRequest{ID: "throttle-" + name, Query: endless}, nil) //nolint:errcheck // it is cancelled
			waitFor(t, "the first query runs", func() bool { return isRunning(t, runner, "throttle-"+name) })
			for _, r := range everyRoute {
				code := ""
				switch {
				case strings.HasPrefix(r.path, "/api/v1/query"):
					code = "TooManyRequests"
				case strings.HasPrefix(r.path, "/v1/workspaces"), strings.HasPrefix(r.path, "/v1/sub"):
					code = "ThrottledError"
				case strings.HasPrefix(r.path, "/v1/rest/query"), strings.HasPrefix(r.path, "/v2"):
					code = "Too many requests"
				default:
					continue
				}
				status, header, body := send(t, r.method, url+r.path, r.body)
				if after, err := strconv.Atoi(header.Get("Retry-After")); status != 429 || err != nil || after < 1 || r.method != "DELETE" && errorCode(t, body) != code {
					t.Errorf("%s %s: %d, Retry-After %q, %s", r.method, r.path, status, header.Get("Retry-After"), body)
				}
			}
			_, _, body := send(t, "POST", url+"/v1/$batch", `{"requests":[{"id":"1","body":{"query":"print 1"}}]}`)
			if !strings.Contains(body, `"status":429`) {
				t.Errorf("batch: %s", body)
			}
			mu.Lock()
			defer mu.Unlock()
			if states[query.StateThrottled] < 7 {
				t.Errorf("recorded %v", states)
			}
		})
	}
}

// TestQueueInsteadOfError: more queries than places all come to their end.
func TestQueueInsteadOfError(t *testing.T) {
	url := serve(t, openRunner(t), Config{Admission: Admission{Queries: 2, QueriesPerClient: 2}})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			status, _, body := send(t, "POST", url+"/api/v1/query", fmt.Sprintf(`{"query":"range x from 1 to 100000 step 1 | summarize n = count() + %d"}`, i))
			if status != 200 || !strings.Contains(body, strconv.Itoa(100000+i)) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wg.Wait()
}

// TestDisconnect: a query ends in ClickHouse within a second when its client has
// gone, on every route, before the first row and between rows.
func TestDisconnect(t *testing.T) {
	runner := openRunner(t)
	url := serve(t, runner, Config{Admission: Admission{Queries: 100, QueriesPerClient: 100}})
	const rows = "range x from 1 to 100000000 step 1 | extend s = strcat('some text to fill the pipes ', x)"
	many := `,"properties":{"Options":{"notruncation":true}}`
	for _, r := range []struct{ name, method, path, body, lots string }{
		{"json", "POST", "/api/v1/query", `{"query":%s}`, `{"query":%s,"maxRows":100000000}`},
		{"ndjson", "POST", "/api/v1/query?format=ndjson", `{"query":%s}`, `{"query":%s,"maxRows":100000000}`},
		{"csv", "POST", "/api/v1/query?format=csv", `{"query":%s}`, `{"query":%s,"maxRows":100000000}`},
		{"arrow", "POST", "/api/v1/query?format=arrow", `{"query":%s}`, `{"query":%s,"maxRows":100000000}`},
		{"v1", "POST", "/v1/rest/query", `{"csl":%s}`, `{"csl":%s` + many + `}`},
		{"v2", "POST", "/v2/rest/query", `{"csl":%s}`, `{"csl":%s` + many + `}`},
		{"mgmt", "POST", "/v1/rest/mgmt", `{"csl":%s}`, ""},
		{"monitor", "POST", "/v1/workspaces/w/query", `{"query":%s}`, `{"query":%s}`},
		{"monitor get", "GET", "/v1/workspaces/w/query", "", ""},
		{"batch", "POST", "/v1/$batch", `{"requests":[{"id":"1","body":{"query":%s}}]}`, `{"requests":[{"id":"1","body":{"query":%s}}]}`},
	} {
		for kind, body := range map[string]string{"waiting": r.body, "streaming": r.lots} {
			if kind == "streaming" && body == "" {
				continue
			}
			t.Run(r.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				// The text tells the query apart in system.processes.
				mark := fmt.Sprintf("mark %s %s", r.name, kind)
				text := endless + " | where '" + mark + "' != ''"
				if kind == "streaming" {
					text = rows + " | where '" + mark + "' != s"
				}
				if r.name == "mgmt" {
					text = ".show tables | join kind=inner (" + endless + " | project n = tostring(1)) on $left.TableName == $right.n | where '" + mark + "' != TableName"
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				path := r.path
				if r.method == "GET" {
					path += "?query=" + strings.NewReplacer(" ", "%20", "|", "%7C", "'", "%27", "=", "%3D", "+", "%2B").Replace(text)
				}
				req, err := http.NewRequestWithContext(ctx, r.method, url+path, strings.NewReader(strings.ReplaceAll(body, "%s", quote(text))))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				ended := make(chan error, 1)
				go func() {
					res, err := http.DefaultClient.Do(req)
					if err == nil {
						if kind == "waiting" && res.StatusCode != 200 {
							err = errors.New(res.Status)
						}
						<-ctx.Done() // a client that does not read on, and then is gone
						res.Body.Close()
					}
					ended <- err
				}()
				waitFor(t, "the query runs", func() bool {
					select {
					case err := <-ended:
						t.Fatalf("it ended: %v", err)
					default:
					}
					return runningWith(t, runner, mark) > 0
				})
				if kind == "streaming" {
					// Some rows are on their way.
					waitFor(t, "rows are read", func() bool { return runningWith(t, runner, mark) > 0 })
				}
				cancel()
				gone := time.Now()
				waitFor(t, "the query is gone", func() bool { return runningWith(t, runner, mark) == 0 })
				t.Logf("gone after %v", time.Since(gone))
			})
		}
	}
}

// runningWith counts the running queries whose text has this in it.
func runningWith(t *testing.T, runner *clickhouse.Runner, mark string) int64 {
	t.Helper()
	return number(t, runner, "SELECT toInt64(count()) AS n FROM system.processes WHERE position(query, '"+mark+"') > 0 AND position(query, 'system.processes') = 0")
}

// TestTruncationIsSaid in each protocol's way.
func TestTruncationIsSaid(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	const text = `"range x from 1 to 100 step 1"`
	cut := `,"properties":{"Options":{"truncationmaxrecords":10}}`
	for _, tt := range []struct {
		path, body, want string
		trailer          bool
	}{
		{"/api/v1/query", `{"query":` + text + `,"maxRows":10}`, `"truncated":true`, false},
		{"/api/v1/query?format=ndjson", `{"query":` + text + `,"maxRows":10}`, `"truncated":true`, false},
		{"/v1/rest/query", `{"csl":` + text + cut + `}`, "E_QUERY_RESULT_SET_TOO_LARGE", false},
		{"/v2/rest/query", `{"csl":` + text + cut + `}`, "E_QUERY_RESULT_SET_TOO_LARGE", false},
		{"/v2/rest/query", `{"csl":"set truncationmaxrecords = 10; range x from 1 to 100 step 1"}`, "E_QUERY_RESULT_SET_TOO_LARGE", false},
		{"/v2/rest/query", `{"csl":` + text + `,"properties":{"Options":{"query_take_max_records":10}}}`, `"HasErrors":false`, false},
	} {
		if status, _, body := send(t, "POST", url+tt.path, tt.body); status != 200 || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %s", tt.path, tt.body, status, body)
		}
	}
	for _, format := range []string{"csv", "arrow"} {
		for rows, want := range map[int]string{10: "true", 100: "false"} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/api/v1/query", strings.NewReader(fmt.Sprintf(`{"query":%s,"maxRows":%d,"format":%q}`, text, rows, format)))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := res.Write(&b); err != nil {
				t.Fatal(err)
			}
			if got := res.Trailer.Get(trailerTruncated); got != want {
				t.Errorf("%s with maxRows %d: trailer %q, want %s", format, rows, got, want)
			}
		}
	}
}

// TestRequestLimits: what a request asks for goes up to what the service allows.
func TestRequestLimits(t *testing.T) {
	noted := &notedRunner{}
	engine, err := query.New(query.Config{Catalog: catalog(t), Limits: query.Limits{Time: time.Minute, MemoryBytes: 1000, ResultRows: 100, ResultBytes: 200},
		MaxLimits: query.Limits{Time: time.Hour, MemoryBytes: 2000, ResultRows: 10_000, ResultBytes: 20_000}}, noted)
	if err != nil {
		t.Fatal(err)
	}
	url := serveEngine(t, engine, Config{})
	kusto := func(options string) string { return `{"csl":"print 1","properties":{"Options":{` + options + `}}}` }
	none := query.Limits{Time: time.Minute, MemoryBytes: 1000, ResultRows: 100, ResultBytes: 200}
	with := func(change func(*query.Limits)) query.Limits { l := none; change(&l); return l }
	for _, tt := range []struct {
		path, body, prefer string
		want               query.Limits
	}{
		{"/api/v1/query", `{"query":"print 1"}`, "", none},
		{"/api/v1/query", `{"query":"print 1","maxRows":7}`, "", with(func(l *query.Limits) { l.ResultRows, l.ResultBytes = 7, 20_000 })},
		{"/api/v1/query", `{"query":"print 1","maxRows":70000,"maxBytes":50,"maxMemory":1500,"timeoutSeconds":90}`, "", query.Limits{Time: 90 * time.Second, MemoryBytes: 1500, ResultRows: 10_000, ResultBytes: 50}},
		{"/v2/rest/query", kusto(`"servertimeout":"00:00:30","truncationmaxrecords":50,"truncationmaxsize":60,"maxmemoryconsumptionperquerypernode":70`), "",
			query.Limits{Time: 30 * time.Second, MemoryBytes: 70, ResultRows: 50, ResultBytes: 60}},
		{"/v2/rest/query", kusto(`"servertimeout":"05:00:00"`), "", with(func(l *query.Limits) { l.Time = time.Hour })},
		{"/v2/rest/query", kusto(`"norequesttimeout":true,"notruncation":true`), "", query.Limits{Time: time.Hour, MemoryBytes: 1000, ResultRows: 10_000, ResultBytes: 20_000}},
		{"/v1/rest/query", kusto(`"query_take_max_records":5`), "", with(func(l *query.Limits) { l.ResultRows = 5 })},
		{"/v1/workspaces/w/query", `{"query":"print 1"}`, "wait=12", with(func(l *query.Limits) { l.Time = 12 * time.Second })},
	} {
		noted.statements = nil
		send(t, "POST", url+tt.path, tt.body, "Prefer", tt.prefer)
		if len(noted.statements) != 1 || noted.statements[0].Limits != tt.want {
			t.Errorf("%s: want %+v, got %+v", tt.body, tt.want, noted.statements)
		}
	}
	var e client.ErrorResponse
	for _, options := range []string{`"servertimeout":"soon"`, `"servertimeout":"-00:01:00"`, `"truncationmaxrecords":0`, `"truncationmaxrecords":"x"`} {
		if status, _, body := send(t, "POST", url+"/v2/rest/query", kusto(options)); status != 400 || json.Unmarshal([]byte(body), &e) != nil {
			t.Errorf("%s: %d %s", options, status, body)
		}
	}
}
