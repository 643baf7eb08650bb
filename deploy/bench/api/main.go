// Command api measures the query service against the engine below it, in one
// run and on the same data:
//
//   - what POST /api/v1/query adds to the engine's own HTTP for the same SQL and
//     a small result (goal: under 3 ms at the median);
//   - how fast a million rows stream as NDJSON, CSV and Arrow, and whether memory
//     stays flat (the heap of this process, which reads and throws away);
//   - what 50 dashboards get that ask at once.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"hubscope/deploy/bench/sample"
	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
)

func main() {
	events := flag.Int("events", 1_000_000, "events to ask about")
	calls := flag.Int("calls", 400, "small queries of each kind")
	dashboards := flag.Int("dashboards", 50, "clients at once")
	seconds := flag.Int("seconds", 10, "how long they ask")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *events, *calls, *dashboards, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench api:", err)
		os.Exit(1)
	}
}

// bench is a service and the engine below it.
type bench struct {
	url    string // of the service
	engine *embed.Engine
	query  *query.Engine
	http   *http.Client
}

func run(ctx context.Context, events, calls, dashboards int, length time.Duration) error {
	dir, err := os.MkdirTemp("", "hubscope-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engine, err := embed.StartEngine(ctx, embed.EngineConfig{Dir: dir})
	if err != nil {
		return err
	}
	defer engine.Close(10 * time.Second)
	if err := sample.Fill(ctx, engine, events); err != nil {
		return err
	}
	runner, err := clickhouse.Open(ctx, clickhouse.Config{DSN: engine.ReaderDSN(), MaxConns: 24, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer runner.Close()
	q, err := query.New(query.Config{MaxLimits: query.DefaultMaxLimits(), Rollups: runner.Rollups}, runner)
	if err != nil {
		return err
	}
	log, err := clickhouse.OpenLog(ctx, clickhouse.LogConfig{DSN: engine.DSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	logging, stopLog := context.WithCancel(ctx)
	logged := make(chan error, 1)
	go func() { logged <- log.Run(logging) }()
	defer func() { stopLog(); <-logged }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// As the product runs it, with the log of queries; only the rate is open.
	server := &http.Server{Handler: api.NewServer(q, api.Config{Record: log.Add, Admission: api.Admission{Rate: -1}})}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	defer server.Close()
	b := &bench{url: "http://" + listener.Addr().String(), engine: engine, query: q,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: dashboards + 4, DisableCompression: true}}}
	if err := b.overhead(ctx, calls); err != nil {
		return err
	}
	for _, format := range []string{"ndjson", "csv", "arrow"} {
		if err := b.stream(ctx, format); err != nil {
			return err
		}
	}
	return b.dashboards(ctx, dashboards, length)
}

// post asks the service, and reads all of the answer.
func (b *bench) post(ctx context.Context, path, body string) (int64, error) {
	return b.do(ctx, b.url+path, "application/json", body)
}

func (b *bench) do(ctx context.Context, address, media, body string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", media)
	res, err := b.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000)) // what came is enough
		return 0, fmt.Errorf("%s: %s", res.Status, text)
	}
	return io.Copy(io.Discard, res.Body)
}

// overhead asks the same of the service and of the engine, in turns.
func (b *bench) overhead(ctx context.Context, calls int) error {
	fmt.Println("small results: POST /api/v1/query against the engine's own HTTP with the same SQL")
	for _, text := range []string{
		`print x = 1`,
		`Connections | where TimeGenerated > ago(1d) | summarize count() by TlsVersion`,
		`Connections | where DeviceId == "device-17" | top 20 by TimeGenerated | project TimeGenerated, OperationName, TlsVersion`,
	} {
		x, err := b.query.Explain(ctx, query.Request{Text: text})
		if err != nil {
			return err
		}
		body := `{"query":` + quoted(text) + `}`
		var service, engine []time.Duration
		for i := range calls + 20 {
			start := time.Now()
			if _, err := b.post(ctx, "/api/v1/query", body); err != nil {
				return err
			}
			ours := time.Since(start)
			// The same rights, and an id of its own, as the service has.
			params := url.Values{"user": {b.engine.Reader}, "password": {b.engine.ReaderPassword}, "database": {embed.Database}, "default_format": {"JSONCompact"},
				"query_id": {uuid.NewString()}, "param_now": {time.Now().UTC().Format("2006-01-02 15:04:05.0000000")}}
			start = time.Now()
			if _, err := b.do(ctx, "http://"+b.engine.HTTPAddr+"/?"+params.Encode(), "text/plain", x.SQL); err != nil {
				return err
			}
			if i >= 20 { // warm by then
				service, engine = append(service, ours), append(engine, time.Since(start))
			}
		}
		s, e := percentiles(service), percentiles(engine)
		fmt.Printf("  %-60.60s service p50 %6.2f p99 %6.2f ms   engine p50 %6.2f p99 %6.2f ms   overhead p50 %+5.2f ms\n", text, ms(s[0]), ms(s[1]), ms(e[0]), ms(e[1]), ms(s[0]-e[0]))
	}
	return nil
}

// stream reads a million rows, and the memory that it takes meanwhile.
func (b *bench) stream(ctx context.Context, format string) error {
	body := func(rows int) string {
		return fmt.Sprintf(`{"query":"Connections | project TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, BytesIn","format":%q,"maxRows":%d}`, format, rows)
	}
	if _, err := b.post(ctx, "/api/v1/query", body(10_000)); err != nil {
		return err
	}
	var peaks []uint64
	for _, rows := range []int{100_000, 1_000_000} {
		peak := watchHeap()
		start := time.Now()
		n, err := b.post(ctx, "/api/v1/query", body(rows))
		if err != nil {
			return err
		}
		took := time.Since(start)
		peaks = append(peaks, peak())
		if rows == 1_000_000 {
			fmt.Printf("stream 1 M rows %-7s %9.0f rows/s %7.1f MB/s   heap at most %5.1f MiB (%5.1f MiB with 100,000 rows)\n", format,
				float64(rows)/took.Seconds(), float64(n)/1e6/took.Seconds(), float64(peaks[1])/(1<<20), float64(peaks[0])/(1<<20))
		}
	}
	return nil
}

// watchHeap follows the heap until the returned function is called, which says
// how large it was at most.
func watchHeap() func() uint64 {
	runtime.GC()
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(done); return <-peak }
}

// panels are what a dashboard asks.
var panels = []string{
	`Connections | where TimeGenerated > ago(7d) | summarize count() by bin(TimeGenerated, 1h), TlsVersion`,
	`Connections | where TimeGenerated > ago(7d) | summarize count() by TlsCipher | top 10 by count_`,
	`Connections | where TimeGenerated > ago(1d) | summarize dcount(DeviceId) by TlsVersion`,
	`Connections | where TimeGenerated > ago(30d) | summarize countif(WouldFailStrict), count() by Hub`,
	`Connections | where OperationName == "connectionRefused" | top 50 by TimeGenerated | project TimeGenerated, DeviceId, TlsVersion`,
	`Devices | summarize count() by TlsVersion`,
}

// dashboards asks as many clients do at once, each its panels one after the other.
func (b *bench) dashboards(ctx context.Context, clients int, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var refused atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				begin := time.Now()
				_, err := b.post(ctx, "/api/v1/query", `{"query":`+quoted(panels[i%len(panels)])+`}`)
				switch {
				case err == nil:
					mu.Lock()
					took = append(took, time.Since(begin))
					mu.Unlock()
				case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
				case strings.HasPrefix(err.Error(), "429"):
					refused.Add(1)
				default:
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	p := percentiles(took)
	fmt.Printf("%d dashboards at once: %.0f queries/s, p50 %.0f ms, p99 %.0f ms, refused with 429: %d\n", clients,
		float64(len(took))/time.Since(start).Seconds(), ms(p[0]), ms(p[1]), refused.Load())
	return nil
}

// percentiles returns the 50th and the 99th.
func percentiles(d []time.Duration) [2]time.Duration {
	if len(d) == 0 {
		return [2]time.Duration{}
	}
	slices.Sort(d)
	return [2]time.Duration{d[len(d)/2], d[len(d)*99/100]}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quoted is a JSON string.
func quoted(s string) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for _, r := range s {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}
