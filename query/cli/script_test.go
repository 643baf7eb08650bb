package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
)

// TestMain lets the scripts run hubscope: this binary, called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hubscope": func() { os.Exit(hubscope()) }})
}

// hubscope is the part of the program that these scripts need.
func hubscope() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var commands struct {
		Query QueryCommand `cmd:""`
		Tail  TailCommand  `cmd:""`
	}
	parser, err := kong.New(&commands, kong.Name("hubscope"))
	if err != nil {
		panic(err)
	}
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(NewShell(os.Stdin, os.Stdout, os.Stderr, func() (url, token string, err error) { return "", "", errors.New("no running hubscope found") }))
	var code interface{ ExitCode() int }
	switch {
	case errors.As(err, &code):
		if err.Error() != "" {
			fmt.Fprintln(os.Stderr, err)
		}
		return code.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		return 1
	}
	return 0
}

// stack is a query service with all it needs, for the scripts.
type stack struct {
	url  string
	dsn  string // of ClickHouse, for a look behind
	js   jetstream.JetStream
	feed *countedFeed
}

// countedFeed knows how many follow it, and can cut them off.
type countedFeed struct {
	query.Feed
	active atomic.Int64
	mu     sync.Mutex
	cut    chan struct{}
}

func (f *countedFeed) Follow(ctx context.Context, start ingest.Start) iter.Seq2[*ingest.Segment, error] {
	return func(yield func(*ingest.Segment, error) bool) {
		f.mu.Lock()
		cut := f.cut
		f.mu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-ctx.Done():
			}
		}()
		first := true
		for s, err := range f.Feed.Follow(ctx, start) {
			if first {
				first = false
				f.active.Add(1)
				defer f.active.Add(-1)
			}
			if !yield(s, err) {
				return
			}
		}
		select {
		case <-cut:
			yield(nil, errors.New("cut off by the test"))
		default:
		}
	}
}

// cutAll ends all who follow.
func (f *countedFeed) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cut)
	f.cut = make(chan struct{})
}

// start starts NATS, the engine with its tables, and a query service on them.
func start(t *testing.T) *stack {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ch, err := embed.StartEngine(t.Context(), embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ch.Close(time.Minute); err != nil {
			t.Error(err)
		}
	})
	store := collector.DefaultConfig().ClickHouse
	store.DSN = ch.DSN()
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	broker, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	nc, err := stream.Server{URL: broker.URL}.Connect("test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DefaultStreams().Ensure(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	// What is published is stored too, as everywhere.
	cfg := collector.DefaultConfig()
	cfg.NATS.Server.URL, cfg.ClickHouse, cfg.Migrate, cfg.Linger = broker.URL, store, false, 20*time.Millisecond
	c, err := collector.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	collected := make(chan error, 1)
	go func() { collected <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-collected; err != nil {
			t.Error(err)
		}
	})
	feed, err := stream.OpenFeed(nc, stream.DefaultFeedConfig(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	counted := &countedFeed{Feed: feed, cut: make(chan struct{})}

	runner, err := clickhouse.Open(t.Context(), clickhouse.Config{DSN: ch.ReaderDSN(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	engine, err := query.New(query.Config{EventDays: 400}, runner)
	if err != nil {
		t.Fatal(err)
	}
	service := api.NewServer(engine, api.Config{Feed: counted})
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	t.Cleanup(service.Close)
	return &stack{url: server.URL, dsn: ch.DSN(), js: js, feed: counted}
}

// publish stores the events of a JSON file in the stream.
func (s *stack) publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: publish FILE")
	}
	ts.Check(s.store(ts.ReadFile(args[0])))
}

// store puts events, as JSON, into the stream.
func (s *stack) store(events string) error {
	_, err := s.js.PublishMsg(context.Background(), &nats.Msg{
		Subject: "hubscope.events.0.test", Header: nats.Header{"Content-Type": {ingest.ContentTypeJSON}}, Data: []byte(events),
	})
	return err
}

// following waits until so many follow the events.
func (s *stack) following(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(strings.Join(args, ""))
	if neg || err != nil {
		ts.Fatalf("usage: following N")
	}
	deadline := time.Now().Add(time.Minute)
	for s.feed.active.Load() != int64(n) {
		if time.Now().After(deadline) {
			ts.Fatalf("%d follow the events, want %d", s.feed.active.Load(), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// exitcode runs a command that must end with this status.
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N COMMAND ...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the status is %d, want %s", code, args[0])
	}
}

// TestScripts runs testdata/*.txtar against a query service on a real engine.
func TestScripts(t *testing.T) {
	s := start(t)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"publish": s.publish, "following": s.following, "exitcode": exitcode,
			"cut": func(*testscript.TestScript, bool, []string) { s.feed.cutAll() },
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HUBSCOPE_URL", s.url)
			return nil
		},
	})
}
