// Command plugin measures what the Grafana data source adds to a query, in one
// run and on the same data. The built plugin is run as Grafana does, over gRPC;
// the same query goes straight to POST /api/v1/query in turns with it. The
// plugin's cache is off.
//
//   - small results, as panels ask for them (goal: under 2 ms at the median);
//   - 10,000 points of time series and a table of 100,000 rows: how long, and how
//     large the frames are as Grafana gets them (Arrow) and as browsers do (JSON).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/deploy/bench/sample"
	"hubscope/deploy/embed"
	"hubscope/plugin/host"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
	"hubscope/query/client"
)

func main() {
	events := flag.Int("events", 1_000_000, "events to ask about")
	calls := flag.Int("calls", 300, "small queries of each kind")
	large := flag.Int("large", 15, "large queries of each kind")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *events, *calls, *large); err != nil {
		fmt.Fprintln(os.Stderr, "bench plugin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, events, calls, large int) (err error) {
	dir, err := os.MkdirTemp("", "hubscope-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	executable, err := host.Build(ctx, dir)
	if err != nil {
		return err
	}
	engine, err := embed.StartEngine(ctx, embed.EngineConfig{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		return err
	}
	defer engine.Close(10 * time.Second)
	if err := sample.Fill(ctx, engine, events); err != nil {
		return err
	}
	runner, err := clickhouse.Open(ctx, clickhouse.Config{DSN: engine.ReaderDSN(), MaxConns: 16, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer runner.Close()
	q, err := query.New(query.Config{MaxLimits: query.DefaultMaxLimits()}, runner)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: api.NewServer(q, api.Config{Admission: api.Admission{Rate: -1}})}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	defer server.Close()
	b := &bench{url: "http://" + listener.Addr().String(), http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}

	start := time.Now()
	b.plugin, err = host.Start(ctx, host.Config{Executable: executable, User: &backend.User{Login: "bench"},
		Settings: backend.DataSourceInstanceSettings{URL: b.url, JSONData: []byte(`{"cacheSeconds":-1}`)}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.plugin.Close()) }()
	fmt.Printf("the plugin starts in %.0f ms\n", ms(time.Since(start)))

	b.to = time.Now().Truncate(time.Hour)
	b.from = b.to.Add(-30 * 24 * time.Hour)
	fmt.Println("small results: the plugin over gRPC against POST /api/v1/query")
	for _, c := range []panel{
		{"table", `print x = 1`},
		{"table", `Connections | where TimeGenerated > ago(1d) | summarize Events = count() by TlsVersion`},
		{"time_series", `Connections | where $__timeFilter() | summarize Events = count() by bin(TimeGenerated, 6h), TlsVersion`},
		{"logs", `Connections | where DeviceId == "device-17" | top 50 by TimeGenerated`},
	} {
		if _, err := b.compare(ctx, c, calls); err != nil {
			return err
		}
	}
	fmt.Println("large results")
	for _, c := range []panel{
		{"time_series", `range TimeGenerated from $__timeFrom to $__timeTo - 1ms step 259200ms | extend Value = 100 * rand()`},
		{"time_series", `Connections | where $__timeFilter() | summarize Events = count() by bin(TimeGenerated, 864s), TlsVersion`},
		{"table", `Connections | take 100000 | project TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, BytesIn`},
	} {
		frames, err := b.compare(ctx, c, large)
		if err != nil {
			return err
		}
		rows, arrow, text := 0, 0, 0
		for _, f := range frames.Frames {
			rows += f.Rows()
			wire, err := f.MarshalArrow()
			if err != nil {
				return err
			}
			arrow += len(wire)
			body, err := json.Marshal(f)
			if err != nil {
				return err
			}
			text += len(body)
		}
		fmt.Printf("    %d frames, %d rows, %.2f MB as Arrow, %.2f MB as JSON\n", len(frames.Frames), rows, float64(arrow)/1e6, float64(text)/1e6)
	}
	return nil
}

// bench is a plugin and the service that it asks.
type bench struct {
	url      string
	http     *http.Client
	plugin   *host.Plugin
	from, to time.Time
}

// panel is a query with its format.
type panel struct{ format, query string }

// rowLimit is enough for all of the results.
const rowLimit = 100_000

// throughPlugin asks as Grafana does, and reads the frames.
func (b *bench) throughPlugin(ctx context.Context, c panel) (backend.DataResponse, error) {
	model, err := json.Marshal(map[string]any{"schemaVersion": 1, "format": c.format, "query": c.query, "rowLimit": rowLimit})
	if err != nil {
		return backend.DataResponse{}, err
	}
	res, err := b.plugin.QueryData(ctx, nil, backend.DataQuery{RefID: "A", TimeRange: backend.TimeRange{From: b.from, To: b.to},
		Interval: time.Hour, MaxDataPoints: 1000, JSON: model})
	if err != nil {
		return backend.DataResponse{}, err
	}
	r := res.Responses["A"]
	return r, r.Error
}

// straight asks the service, and reads all of the answer.
func (b *bench) straight(ctx context.Context, query string) error {
	body, err := json.Marshal(client.QueryRequest{Query: query, Start: b.from.UTC().Format(time.RFC3339), End: b.to.UTC().Format(time.RFC3339), MaxRows: rowLimit})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/api/v1/query", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/x-ndjson")
	res, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000)) // what came is enough
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// compare asks both in turns, and prints what they took.
func (b *bench) compare(ctx context.Context, c panel, calls int) (last backend.DataResponse, err error) {
	// The text that the plugin sends, so that both run the same.
	literal := func(t time.Time) string { return "datetime(" + t.UTC().Format("2006-01-02T15:04:05Z") + ")" }
	query := strings.NewReplacer("$__timeFilter()", "TimeGenerated >= "+literal(b.from)+" and TimeGenerated < "+literal(b.to),
		"$__timeFrom", literal(b.from), "$__timeTo", literal(b.to)).Replace(c.query)
	var plugin, service []time.Duration
	warm := min(calls/5, 20)
	for i := range calls + warm {
		var ours, theirs time.Duration
		// Whoever is second finds the engine warm: take turns in that too.
		for k := range 2 {
			start := time.Now()
			if (i+k)%2 == 0 {
				if last, err = b.throughPlugin(ctx, c); err != nil {
					return last, fmt.Errorf("%s: %w", c.query, err)
				}
				ours = time.Since(start)
			} else {
				if err := b.straight(ctx, query); err != nil {
					return last, fmt.Errorf("%s: %w", query, err)
				}
				theirs = time.Since(start)
			}
		}
		if i >= warm {
			plugin, service = append(plugin, ours), append(service, theirs)
		}
	}
	p, s := percentiles(plugin), percentiles(service)
	fmt.Printf("  %-11s %-60.60s plugin p50 %6.2f p95 %6.2f ms   service p50 %6.2f p95 %6.2f ms   overhead p50 %+5.2f ms, ratio %.2f\n",
		c.format, c.query, ms(p[0]), ms(p[1]), ms(s[0]), ms(s[1]), ms(p[0]-s[0]), float64(p[0])/float64(s[0]))
	return last, nil
}

// percentiles returns the 50th and the 95th.
func percentiles(d []time.Duration) [2]time.Duration {
	slices.Sort(d)
	return [2]time.Duration{d[len(d)/2], d[len(d)*95/100]}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
