// Command ingest measures the event path: publishing with fsync, and draining
// JetStream into ClickHouse. It prints rates, CPU times and ratios within this
// one run; nothing is asserted. Run it by make bench.
//
//	ingest [-events N] [-devices N] [-only publish|drain|kill]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// roleEnv makes the binary a NATS server, so that its CPU time is its own.
const roleEnv = "HUBSCOPE_BENCH_NATS"

var (
	events  = flag.Int("events", 2_000_000, "events to drain")
	devices = flag.Int("devices", 100_000, "devices they come from")
	only    = flag.String("only", "", "publish, drain or kill; all when empty")
	kills   = flag.Int("kills", 10, "how often kill ends each process")
	cpuFile = flag.String("cpuprofile", "", "write a CPU profile of this process to a file")
)

func main() {
	flag.Parse()
	if dir := os.Getenv(roleEnv); dir != "" {
		serveNATS(dir)
		return
	}
	if *cpuFile != "" {
		f, err := os.Create(*cpuFile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "ingest:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	dir, err := os.MkdirTemp("", "hubscope-bench-")
	if err == nil {
		err = bench(dir)
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func serveNATS(dir string) {
	n, err := embed.StartNATS(context.Background(), embed.NATSConfig{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(n.URL)
	io.Copy(io.Discard, os.Stdin)
	n.Close()
}

func bench(dir string) error {
	if *only == "" || *only == "publish" {
		if err := benchPublish(dir); err != nil {
			return err
		}
	}
	if *only == "" || *only == "drain" {
		if err := benchDrain(dir); err != nil {
			return err
		}
	}
	if *only == "" || *only == "kill" {
		return benchKill()
	}
	return nil
}

// benchKill: does every event survive, once, when collector, engine and NATS
// are killed many times? It is the test of make test, longer.
func benchKill() error {
	fmt.Printf("kill -9 of collector, engine and NATS, %d times each, while events flow:\n", *kills)
	cmd := exec.Command("go", "test", "-count=1", "-timeout", "30m", "-run", "^TestKillAnything$", "hubscope/collector", "-args", "-kills", strconv.Itoa(*kills))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("events were lost or stored twice, see above: %w", err)
	}
	fmt.Println("  rows = distinct = published, and the rollups agree")
	return nil
}

// nats is a NATS server in its own process.
type nats struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startNATS(dir string) (*nats, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n := &nats{cmd: cmd, stdin: in}
	return n, json.NewDecoder(out).Decode(&n.url)
}

func (n *nats) stop() {
	n.stdin.Close()
	n.cmd.Wait()
}

// cpu returns the CPU time that a process has used.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

// publish sends n events and waits until all are acknowledged.
func publish(url string, batch, n int, next func() *ingest.Event) (time.Duration, error) {
	nc, err := stream.Server{URL: url}.Connect("bench", quiet)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	cfg := stream.DefaultPublisherConfig()
	cfg.Node, cfg.BatchEvents = "bench", batch
	p, err := stream.NewPublisher(nc, cfg, quiet)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	start := time.Now()
	for i := range n {
		p.Publish(next())
		// Publish drops when it is full; a bench waits.
		for i%100 == 99 && p.Status().QueuedBytes > cfg.QueueBytes/4 {
			time.Sleep(200 * time.Microsecond)
		}
	}
	for p.Status().Acked < int64(n) {
		if p.Status().Dropped > 0 {
			return 0, fmt.Errorf("%d events dropped", p.Status().Dropped)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(start)
	cancel()
	return took, <-done
}

// benchPublish: what does it gain to put many events into one message, when the
// broker syncs every message to disk before it acknowledges?
func benchPublish(dir string) error {
	n, err := startNATS(dir + "/publish")
	if err != nil {
		return err
	}
	defer n.stop()
	f := newFleet(*devices, time.Now().Add(-time.Hour), 5*time.Millisecond)
	fmt.Println("publish, fsync on every message, real publisher:")
	var base float64
	for _, c := range []struct{ batch, events int }{{1, 20_000}, {100, 300_000}, {250, 300_000}, {500, 300_000}} {
		// The events are made before, so that only publishing is measured.
		made := make([]ingest.Event, c.events)
		for i := range made {
			made[i] = *f.next()
		}
		i := 0
		before, natsBefore := ownCPU(), cpu(n.cmd.Process.Pid)
		took, err := publish(n.url, c.batch, c.events, func() *ingest.Event { i++; return &made[i-1] })
		if err != nil {
			return err
		}
		rate := float64(c.events) / took.Seconds()
		if base == 0 {
			base = rate
		}
		perEvent := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(c.events) }
		fmt.Printf("  %3d a message  %9.0f events/s  %6.1fx   CPU/event: publisher %.2f us, NATS %.2f us\n", c.batch, rate, rate/base,
			perEvent(ownCPU()-before), perEvent(cpu(n.cmd.Process.Pid)-natsBefore))
	}
	return nil
}

// benchDrain: what does the chain JetStream -> collector -> ClickHouse cost for
// an event, against the same rows inserted inside the engine?
func benchDrain(dir string) error {
	n, err := startNATS(dir + "/drain")
	if err != nil {
		return err
	}
	defer n.stop()
	engine, err := embed.StartEngine(context.Background(), embed.EngineConfig{Dir: dir + "/engine"})
	if err != nil {
		return err
	}
	defer engine.Close(10 * time.Second)
	opts, err := clickhouse.ParseDSN(engine.DSN())
	if err != nil {
		return err
	}
	opts.Auth.Database = "system"
	opts.ReadTimeout = 10 * time.Minute
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	f := newFleet(*devices, time.Now().Add(-12*time.Hour), 40*time.Millisecond)
	fmt.Printf("drain, %d events of %d devices:\n", *events, *devices)
	if _, err := publish(n.url, 250, *events, f.next); err != nil {
		return err
	}
	fmt.Println("  Merges are held back while rows arrive, and counted after it: how many run meanwhile is chance.")
	fmt.Println("                               events/s   CPU us/event: collector   engine     NATS      all   ratio   merges  ratio with them")
	for _, views := range []bool{false, true} {
		if err := drainOnce(conn, engine, n, views); err != nil {
			return err
		}
	}
	return size(conn)
}

func drainOnce(conn driver.Conn, engine *embed.Engine, n *nats, views bool) error {
	ctx := context.Background()
	database := map[bool]string{false: "bare", true: "full"}[views]
	cfg := collector.DefaultConfig()
	cfg.NATS.Server.URL = n.url
	cfg.ClickHouse.DSN, cfg.ClickHouse.Database = engine.DSN(), database
	if _, err := cfg.ClickHouse.Migrate(ctx); err != nil {
		return err
	}
	cfg.Migrate = false
	feeds := []string{"ConnectionsBy5mFeed", "ConnectionsByHourFeed", "DevicesByDayFeed", "DeviceDaysFeed", "DeviceStatesFeed", "DeviceFirstsFeed"}
	if !views {
		for _, feed := range feeds {
			if err := conn.Exec(ctx, "DROP TABLE "+database+"."+feed); err != nil {
				return err
			}
		}
	}
	if err := forget(n.url); err != nil {
		return err
	}
	c, err := collector.New(cfg, quiet)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	if err := conn.Exec(ctx, "SYSTEM STOP MERGES"); err != nil {
		return err
	}
	own, eng, nat := ownCPU(), cpu(engine.Pid()), cpu(n.cmd.Process.Pid)
	start := time.Now()
	go func() { done <- c.Run(run) }()
	for c.Status()[0].Rows < int64(*events) {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(start)
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(*events) }
	ownT, engT, natT := per(ownCPU()-own), per(cpu(engine.Pid())-eng), per(cpu(n.cmd.Process.Pid)-nat)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	merges, err := mergeCPU(ctx, conn, engine)
	if err != nil {
		return err
	}
	// The same rows once more, inside the engine.
	other := database + "_copy"
	cfg.ClickHouse.Database = other
	if _, err := cfg.ClickHouse.Migrate(ctx); err != nil {
		return err
	}
	if !views {
		for _, feed := range feeds {
			if err := conn.Exec(ctx, "DROP TABLE "+other+"."+feed); err != nil {
				return err
			}
		}
	}
	waitForMerges(ctx, conn)
	if err := conn.Exec(ctx, "SYSTEM STOP MERGES"); err != nil {
		return err
	}
	before := cpu(engine.Pid())
	began := time.Now()
	// Without merging rows at the insert, as the collector inserts: the default
	// would make this slower. That these rows are sorted already makes it faster.
	if err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.Connections SELECT * FROM %s.Connections SETTINGS max_threads = 1, max_insert_threads = 1, optimize_on_insert = 0", other, database)); err != nil {
		return err
	}
	copied := time.Since(began)
	copyT := per(cpu(engine.Pid()) - before)
	copyMerges, err := mergeCPU(ctx, conn, engine)
	if err != nil {
		return err
	}
	name := map[bool]string{false: "events table alone", true: "with rollups and states"}[views]
	all := ownT + engT + natT
	fmt.Printf("  %-26s %10.0f %26.2f %8.2f %8.2f %8.2f %6.2fx %8.2f %6.2fx\n", name, float64(*events)/took.Seconds(), ownT, engT, natT, all, all/copyT,
		per(merges), (all+per(merges))/(copyT+per(copyMerges)))
	fmt.Printf("  %-26s %10.0f %26s %8.2f %26s %8.2f\n", "  INSERT SELECT of the same", float64(*events)/copied.Seconds(), "", copyT, "", per(copyMerges))
	return nil
}

// forget removes the collector's position, so that the next one begins anew.
func forget(url string) error {
	nc, err := stream.Server{URL: url}.Connect("bench", quiet)
	if err != nil {
		return err
	}
	defer nc.Close()
	_, err = nc.Request("$JS.API.STREAM.DELETE.KV_COLLECTOR", nil, 5*time.Second)
	return err
}

// mergeCPU lets the engine merge until it rests, and returns what that took.
func mergeCPU(ctx context.Context, conn driver.Conn, engine *embed.Engine) (time.Duration, error) {
	before := cpu(engine.Pid())
	if err := conn.Exec(ctx, "SYSTEM START MERGES"); err != nil {
		return 0, err
	}
	waitForMerges(ctx, conn)
	return cpu(engine.Pid()) - before, nil
}

func waitForMerges(ctx context.Context, conn driver.Conn) {
	for quietFor := 0; quietFor < 10; time.Sleep(100 * time.Millisecond) {
		var n uint64
		if conn.QueryRow(ctx, "SELECT count() FROM system.merges").Scan(&n) == nil && n == 0 {
			quietFor++
		} else {
			quietFor = 0
		}
	}
}

// size: how many bytes does a row cost on disk, merged, and where do they go?
func size(conn driver.Conn) error {
	ctx := context.Background()
	for _, table := range []string{"Connections", "Certificates", "ConnectionsBy5m", "ConnectionsByHour", "DevicesByDay", "DeviceDays", "DeviceStates", "DeviceFirsts"} {
		if err := conn.Exec(ctx, "OPTIMIZE TABLE full."+table+" FINAL"); err != nil {
			return err
		}
	}
	fmt.Println("on disk, merged:")
	rows, err := conn.Query(ctx, `SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE database = 'full' AND active AND rows > 0 GROUP BY table ORDER BY 3 DESC`)
	if err != nil {
		return err
	}
	var all uint64
	for rows.Next() {
		var table string
		var n, bytes uint64
		if err := rows.Scan(&table, &n, &bytes); err != nil {
			return err
		}
		all += bytes
		fmt.Printf("  %-18s %9d rows %9.1f MB %7.1f B/row\n", table, n, float64(bytes)/1e6, float64(bytes)/float64(n))
	}
	fmt.Printf("  %-18s %9d      %9.1f MB %7.1f B/event\n", "all", *events, float64(all)/1e6, float64(all)/float64(*events))
	rows, err = conn.Query(ctx, `SELECT name, sum(data_compressed_bytes) FROM system.columns WHERE database = 'full' AND table = 'Connections' GROUP BY name ORDER BY 2 DESC LIMIT 14`)
	if err != nil {
		return err
	}
	fmt.Print("  Connections by column, B/row:")
	for rows.Next() {
		var name string
		var bytes uint64
		if err := rows.Scan(&name, &bytes); err != nil {
			return err
		}
		fmt.Printf(" %s %.1f", name, float64(bytes)/float64(*events))
	}
	fmt.Println()
	return rows.Err()
}
