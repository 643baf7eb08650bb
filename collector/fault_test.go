package collector

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

var kills = flag.Int("kills", 3, "how often TestKillAnything kills each process")

// roleEnv makes the test binary another process: a collector, a NATS server or
// a publisher, configured by the JSON in argsEnv.
const (
	roleEnv = "HUBSCOPE_TEST_ROLE"
	argsEnv = "HUBSCOPE_TEST_ARGS"
)

// childArgs configures a child.
type childArgs struct {
	URL, DSN, Database string
	BlockRows          int
	Linger             time.Duration
	Dir                string
	Port               int
	Password           string
	First, Count       int
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	var args childArgs
	if err := json.Unmarshal([]byte(os.Getenv(argsEnv)), &args); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		// The parent's death is the end of standard input.
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("role", role, "pid", os.Getpid())
	var err error
	switch role {
	case "collector":
		err = collectorChild(ctx, args, log)
	case "nats":
		err = natsChild(ctx, args, log)
	case "publisher":
		err = publisherChild(ctx, args, log)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		log.Error("child failed", "error", err)
		os.Exit(1)
	}
}

func collectorChild(ctx context.Context, args childArgs, log *slog.Logger) error {
	cfg := DefaultConfig()
	cfg.NATS.Server.URL = args.URL
	cfg.ClickHouse.DSN, cfg.ClickHouse.Database = args.DSN, args.Database
	cfg.BlockRows, cfg.Linger = args.BlockRows, args.Linger
	c, err := New(cfg, log)
	if err != nil {
		return err
	}
	go func() {
		<-c.Ready()
		fmt.Println("ready")
	}()
	return c.Run(ctx)
}

func natsChild(ctx context.Context, args childArgs, log *slog.Logger) error {
	n, err := embed.StartNATS(ctx, embed.NATSConfig{Dir: args.Dir, Port: args.Port, Password: args.Password, Log: log})
	if err != nil {
		return err
	}
	fmt.Println("ready", n.URL)
	<-ctx.Done()
	n.Close()
	return nil
}

// publisherChild publishes Count events from First on, with a spool, and says
// how many were handed to Publish and how many are safe.
func publisherChild(ctx context.Context, args childArgs, log *slog.Logger) error {
	nc, err := stream.Server{URL: args.URL}.Connect("publisher", log)
	if err != nil {
		return err
	}
	cfg := stream.DefaultPublisherConfig()
	cfg.Node, cfg.Spool = "child", args.Dir
	p, err := stream.NewPublisher(nc, cfg, log)
	if err != nil {
		return err
	}
	go func() {
		for i := range args.Count {
			p.Publish(event(args.First + i))
		}
		fmt.Println("published")
		for {
			s := p.Status()
			if s.Waiting == 0 && s.Oldest.IsZero() && (s.Spooled > 0 || s.Acked > 0) {
				fmt.Println("safe", s.Spooled, s.Acked)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return p.Run(ctx)
}

// child is a running child process.
type child struct {
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
	stdin io.Closer
}

func startChild(t *testing.T, role string, args childArgs) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, argsEnv+"="+string(b))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, lines: make(chan string, 100), done: make(chan struct{}), stdin: in}
	go func() {
		defer close(c.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
		cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// line waits for a line of output that starts with prefix.
func (c *child) line(t *testing.T, prefix string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line := <-c.lines:
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-c.done:
			t.Fatalf("child ended before it said %q", prefix)
		case <-deadline:
			t.Fatalf("child did not say %q", prefix)
		}
	}
}

// kill is kill -9, and waits.
func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.done
}

// natsProcess is a NATS server that can be killed and started again on its port.
type natsProcess struct {
	t    *testing.T
	args childArgs
	*child
	URL string
}

func startNATSProcess(t *testing.T) *natsProcess {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	n := &natsProcess{t: t, args: childArgs{Dir: t.TempDir(), Port: port, Password: "secret"}}
	n.start()
	return n
}

func (n *natsProcess) start() {
	n.t.Helper()
	n.child = startChild(n.t, "nats", n.args)
	n.URL = strings.TrimPrefix(n.child.line(n.t, "ready "), "ready ")
}

// TestKillAnything kills collector, engine and NATS in turn, each several
// times, at random moments while events flow. Afterwards every event that was
// published is stored once, and the rollups agree.
func TestKillAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	engine := startEngine(t)
	s := newStore(t, engine, "kills")
	nats := startNATSProcess(t)

	collect := func() *child {
		return startChild(t, "collector", childArgs{URL: nats.URL, DSN: engine.DSN(), Database: "kills",
			BlockRows: 100 + rnd.IntN(5000), Linger: time.Duration(10+rnd.IntN(200)) * time.Millisecond})
	}
	collector := collect()

	cfg := stream.DefaultPublisherConfig()
	cfg.Node, cfg.Spool = "hub", t.TempDir()
	p, err := stream.NewPublisher(connect(t, nats.URL), cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	stopPublisher := run(t, p.Run)
	var published atomic.Int64
	stopEvents := make(chan struct{})
	eventsDone := make(chan struct{})
	go func() {
		defer close(eventsDone)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; {
			select {
			case <-stopEvents:
				return
			case <-tick.C:
				for range 100 {
					p.Publish(event(i))
					i++
				}
				pipeline := ingest.Metric{TimeGenerated: time.Now(), Node: "hub", Service: "hub", MetricName: "m", Total: 1, Count: 1}
				p.PublishMetrics([]ingest.Metric{*sample("hub", 1), pipeline})
				p.PublishChange(&ingest.Change{TimeGenerated: time.Now(), Hub: "hub", OperationName: "w", Target: strconv.Itoa(i / 100)})
				published.Store(int64(i))
			}
		}
	}()

	pause := func() { time.Sleep(time.Duration(50+rnd.IntN(600)) * time.Millisecond) }
	rows := func() int64 { return s.number("SELECT count() FROM kills.Connections") }
	eventually(t, "rows arrive", func() bool { return rows() > 0 })
	victims := []string{"collector", "engine", "nats"}
	for round := range *kills {
		rnd.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		for _, victim := range victims {
			pause()
			switch victim {
			case "collector":
				collector.kill()
				collector = collect()
			case "engine":
				pid := engine.Pid()
				syscall.Kill(pid, syscall.SIGKILL)
				eventually(t, "the engine is back", func() bool { return engine.Pid() != pid })
			case "nats":
				nats.kill()
				pause()
				nats.start()
			}
			t.Logf("round %d: killed %s at %d events", round, victim, published.Load())
		}
		// The chain has to recover between rounds, or one outage hides the next.
		before := rows()
		eventually(t, "rows arrive again", func() bool { return rows() > before })
	}
	close(stopEvents)
	<-eventsDone
	want := published.Load()
	eventually(t, "all events are acknowledged", func() bool { return p.Status().Acked == want+3*want/100 })
	stopPublisher()
	defer func() {
		if t.Failed() {
			t.Logf("%d published, %d rows, %d distinct, greatest %d, first missing %d", want, rows(), s.number("SELECT uniqExact(Sequence) FROM kills.Connections"),
				s.number("SELECT max(Sequence) FROM kills.Connections"),
				s.number("SELECT min(number) FROM numbers(?) WHERE number NOT IN (SELECT Sequence FROM kills.Connections)", want))
		}
	}()
	eventually(t, "all events are stored", func() bool { return rows() >= want })
	checkExact(t, s, "kills", want, want*4/5)
	for _, sql := range []string{
		"SELECT sum(Count) FROM kills.MetricSamples", "SELECT sum(Total) FROM kills.PipelineSamples",
		"SELECT count() FROM kills.Audit", "SELECT uniqExact(Target) FROM kills.Audit",
	} {
		if n := s.number(sql); n != want/100 {
			t.Errorf("%s: %d, want %d", sql, n, want/100)
		}
	}
	t.Logf("%d events, %d blocks in the window of tokens", want, s.number("SELECT count() FROM system.parts WHERE database = 'kills' AND table = 'Connections'"))
}

// checkExact says whether the events numbered from 0 are stored once, and the
// rollups have counted each once.
func checkExact(t *testing.T, s store, database string, events, proven int64) {
	t.Helper()
	for _, q := range []struct {
		sql  string
		want int64
	}{
		{"SELECT count() FROM %s.Connections", events},
		{"SELECT uniqExact(Sequence) FROM %s.Connections", events},
		{"SELECT max(Sequence) + 1 FROM %s.Connections", events},
		{"SELECT sum(Count) FROM %s.ConnectionsBy5m", events},
		{"SELECT sum(Count) FROM %s.ConnectionsByHour", events},
		{"SELECT sum(Count) FROM %s.DeviceDays", events},
		{"SELECT sum(Count) FROM %s.DevicesByDay", events},
		{"SELECT countIf(DeviceId != '') FROM %s.Connections", proven},
	} {
		sql := fmt.Sprintf(q.sql, database)
		deadline := time.Now().Add(time.Minute)
		got := s.number(sql)
		for got != q.want && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond) // views follow their table
			got = s.number(sql)
		}
		if got != q.want {
			t.Errorf("%s: %d, want %d", sql, got, q.want)
		}
	}
}
