// Command query measures what the compiler's SQL costs on events of 30 days in a
// real engine: against SQL written by hand, with the rollups against without
// them, and how many rows a filter reads. Times are of this one run, taken in
// turns; nothing is asserted. It also runs every query of the dashboards and of the
// alert rules. Run it by make bench.
//
//	query [-rows N] [-devices N] [-runs N] [-data DIR] [-only TEXT] [-dashboards DIR] [-range 30d]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/deploy/embed"
	"hubscope/query"
	runner "hubscope/query/clickhouse"
)

const database = embed.Database

var (
	rows    = flag.Int("rows", 20_000_000, "events")
	devices = flag.Int("devices", 300_000, "devices they come from")
	runs    = flag.Int("runs", 7, "runs of each query")
	data    = flag.String("data", "", "folder that keeps the events for the next run; a temporary one when empty")
	only    = flag.String("only", "", `questions with this text in their name; "dashboards" are the queries of the dashboards and of the alert rules`)
	verbose = flag.Bool("v", false, "print the SQL")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := *data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "hubscope-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	return bench(context.Background(), dir)
}

func bench(ctx context.Context, dir string) error {
	server, err := embed.StartEngine(ctx, embed.EngineConfig{Dir: dir})
	if err != nil {
		return err
	}
	defer server.Close(20 * time.Second)
	opts, err := clickhouse.ParseDSN(server.DSN())
	if err != nil {
		return err
	}
	opts.ReadTimeout = 10 * time.Minute
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return err
	}
	defer conn.Close()

	var there uint64
	if conn.QueryRow(ctx, "SELECT count() FROM "+database+".Connections").Scan(&there) != nil || there != uint64(*rows) {
		if there > 0 {
			return fmt.Errorf("%s holds %d events, not %d", dir, there, *rows)
		}
		fmt.Printf("%d events of %d devices in 30 days:\n", *rows, *devices)
		if err := fill(ctx, conn, *rows, *devices, time.Now().UTC().Truncate(time.Hour)); err != nil {
			return err
		}
	}
	// The time of the queries is that of the last event.
	var last time.Time
	if err := conn.QueryRow(ctx, "SELECT max(TimeGenerated) FROM "+database+".Connections").Scan(&last); err != nil {
		return err
	}
	end := last.Add(time.Hour - time.Nanosecond).Truncate(time.Hour)
	if err := fillMeasured(ctx, conn, end); err != nil {
		return err
	}

	b := &measure{ctx: ctx, end: end}
	read, err := runner.Open(ctx, runner.Config{DSN: server.ReaderDSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer read.Close()
	if b.engine, err = query.New(query.Config{Rollups: read.Rollups}, read); err != nil {
		return err
	}
	b.client, err = ch.Dial(ctx, ch.Options{Address: server.Addr, Database: database, User: server.Reader, Password: server.ReaderPassword})
	if err != nil {
		return err
	}
	defer b.client.Close()
	if *only == "dashboards" {
		return b.dashboards()
	}
	if err := b.byHand(); err != nil {
		return err
	}
	if err := b.rollups(); err != nil {
		return err
	}
	if err := b.keys(); err != nil || *only != "" {
		return err
	}
	return b.dashboards()
}

type measure struct {
	ctx    context.Context
	end    time.Time
	engine *query.Engine
	client *ch.Client
}

// cost is what a statement took: time, and time of the engine's processors, which
// other load on the machine changes less.
type cost struct{ wall, cpu time.Duration }

// once runs a statement to its end and drops what it returns.
func (b *measure) once(sql string) (c cost, err error) {
	results := proto.Results{}
	start := time.Now()
	err = b.client.Do(b.ctx, ch.Query{
		Body: sql, Result: results.Auto(), OnResult: func(context.Context, proto.Block) error { return nil },
		OnProfileEvents: func(_ context.Context, events []ch.ProfileEvent) error {
			for _, e := range events {
				if e.Name == "UserTimeMicroseconds" || e.Name == "SystemTimeMicroseconds" {
					c.cpu += time.Duration(e.Value) * time.Microsecond
				}
			}
			return nil
		},
		Settings:   []ch.Setting{{Key: "low_cardinality_allow_in_native_format", Value: "0", Important: true}},
		Parameters: ch.Parameters(map[string]any{"now": b.end.Format("2006-01-02 15:04:05.0000000")}),
	})
	if err != nil {
		return c, fmt.Errorf("%s\n%w", sql, err)
	}
	c.wall = time.Since(start)
	return c, nil
}

// costs are those of a statement's runs: the least and the middle.
type costs struct{ wall, cpu, median time.Duration }

// turns runs statements by turns.
func (b *measure) turns(sqls ...string) ([]costs, error) {
	walls, cpus := make([][]time.Duration, len(sqls)), make([][]time.Duration, len(sqls))
	for run := range *runs + 1 {
		for i := range sqls {
			// Who goes first changes.
			k := (i + run) % len(sqls)
			c, err := b.once(sqls[k])
			if err != nil {
				return nil, err
			}
			if run > 0 { // the first one warms up
				walls[k], cpus[k] = append(walls[k], c.wall), append(cpus[k], c.cpu)
			}
		}
	}
	out := make([]costs, len(sqls))
	for i := range out {
		slices.Sort(walls[i])
		slices.Sort(cpus[i])
		out[i] = costs{wall: walls[i][0], cpu: cpus[i][0], median: walls[i][len(walls[i])/2]}
	}
	return out, nil
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// ratio writes a by b; what took less than a millisecond says nothing.
func ratio(a, b time.Duration) string {
	if a < time.Millisecond || b < time.Millisecond {
		return "-"
	}
	return fmt.Sprintf("%.2fx", ms(a)/ms(b))
}

// noRollups forbids the rollups.
const noRollups = "set query_rollups = false;\n"

// compile returns the SQL of a query, on the events alone if raw.
func (b *measure) compile(kql string, raw bool) (*query.Explanation, error) {
	if raw {
		kql = noRollups + kql
	}
	x, err := b.engine.Explain(b.ctx, query.Request{Text: kql, Now: b.end})
	if err != nil {
		return nil, fmt.Errorf("%s\n%w", kql, err)
	}
	return x, nil
}

func (b *measure) hand(sql string) string {
	return strings.NewReplacer("{from1}", sqlTime(b.end.Add(-24*time.Hour)), "{from30}", sqlTime(b.end.Add(-30*24*time.Hour)), "{end}", sqlTime(b.end)).Replace(sql)
}

// byHand: does the compiler's SQL run as fast as what one would write by hand?
// The goal is 1.05 times its time at most.
func (b *measure) byHand() error {
	fmt.Printf("compiled against written by hand, least (middle) of %d runs, ms; processor time in brackets:\n", *runs)
	fmt.Printf("  %-36s %-17s %28s %28s    time   processor\n", "", "table", "compiled", "by hand")
	for _, q := range questions {
		if !strings.Contains(q.name, *only) {
			continue
		}
		for _, raw := range []bool{false, true} {
			hand := q.raw
			if !raw && q.rollup != "" {
				hand = q.rollup
			}
			x, err := b.compile(q.kql, raw)
			if err != nil {
				return err
			}
			table := x.Rollup
			if table == "" {
				table = x.Tables[0]
			}
			if *verbose {
				fmt.Printf("%s\n%s\n%s\n", q.kql, x.SQL, b.hand(hand))
			}
			t, err := b.turns(x.SQL, b.hand(hand))
			if err != nil {
				return err
			}
			text := func(c costs) string {
				return fmt.Sprintf("%8.1f (%8.1f) [%7.1f]", ms(c.wall), ms(c.median), ms(c.cpu))
			}
			fmt.Printf("  %-36s %-17s %s %s %7s %7s\n", q.name, table, text(t[0]), text(t[1]), ratio(t[0].wall, t[1].wall), ratio(t[0].cpu, t[1].cpu))
			if q.rollup == "" {
				break
			}
		}
	}
	return nil
}

// rollups: what do the rollups gain, and are the answers equal?
func (b *measure) rollups() error {
	fmt.Printf("with the rollup against without, least of %d runs:\n", *runs)
	for _, q := range questions {
		if q.rollup == "" || !strings.Contains(q.name, *only) {
			continue
		}
		with, err := b.compile(q.kql, false)
		if err != nil {
			return err
		}
		without, err := b.compile(q.kql, true)
		if err != nil {
			return err
		}
		t, err := b.turns(with.SQL, without.SQL)
		if err != nil {
			return err
		}
		a, err := b.answer(q.kql)
		if err != nil {
			return err
		}
		raw, err := b.answer(noRollups + q.kql)
		if err != nil {
			return err
		}
		equal := fmt.Sprintf("equal in all %d rows", len(a))
		if !slices.Equal(a, raw) {
			equal = "DIFFERENT"
		}
		fmt.Printf("  %-36s %-17s %8.1f ms  events %8.1f ms %8s (processor %s)  %s\n", q.name, with.Rollup, ms(t[0].wall), ms(t[1].wall),
			ratio(t[1].wall, t[0].wall), ratio(t[1].cpu, t[0].cpu), equal)
	}
	return nil
}

// answer returns the rows of a result as sorted lines.
func (b *measure) answer(kql string) ([]string, error) {
	_, lines, err := b.query(kql)
	return lines, err
}

func (b *measure) query(kql string) (query.Stats, []string, error) {
	return b.run(query.Request{Text: kql, Now: b.end})
}

func (b *measure) run(req query.Request) (query.Stats, []string, error) {
	res, err := b.engine.Query(b.ctx, req)
	if err != nil {
		return query.Stats{}, nil, fmt.Errorf("%s\n%w", req.Text, err)
	}
	defer res.Close()
	var lines []string
	for {
		batch, err := res.Next()
		if err == io.EOF {
			slices.Sort(lines)
			return res.Stats(), lines, nil
		}
		if err != nil {
			return query.Stats{}, nil, err
		}
		for i := range batch.Rows {
			var line []byte
			for c := range batch.Columns {
				line = append(batch.Columns[c].AppendJSON(line, i), ' ')
			}
			lines = append(lines, string(line))
		}
	}
}

// keys: do filters reach the primary key?
func (b *measure) keys() error {
	fmt.Println("rows read for a filter:")
	for _, r := range reaches {
		stats, _, err := b.query(r.kql)
		if err != nil {
			return err
		}
		fmt.Printf("  %-40s %10d rows %9.1f MB %8.1f ms\n", r.name, stats.ReadRows, float64(stats.ReadBytes)/1e6, ms(stats.Elapsed))
	}
	return nil
}
