package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/deploy/embed"
	"hubscope/ingest"
)

func startNATS(t *testing.T, cfg embed.NATSConfig) *embed.NATS {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	n, err := embed.StartNATS(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := Server{URL: url}.Connect(t.Name(), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running is a publisher whose Run is under way.
type running struct {
	*Publisher
	cancel context.CancelFunc
	result chan error
}

func startPublisher(t *testing.T, nc *nats.Conn, cfg PublisherConfig) *running {
	t.Helper()
	p, err := NewPublisher(nc, cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Publisher: p, cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- p.Run(ctx) }()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop ends Run and returns its error, the first time.
func (r *running) stop() error {
	r.cancel()
	err := <-r.result
	r.result <- nil
	return err
}

func config(node string) PublisherConfig {
	cfg := DefaultPublisherConfig()
	cfg.Node = node
	return cfg
}

func event(n int) *ingest.Event {
	return &ingest.Event{TimeGenerated: time.Unix(1_700_000_000, int64(n)*1000), Hub: "h", OperationName: ingest.DeviceConnect,
		DeviceId: fmt.Sprintf("d%d", n%50), Sequence: int64(n)}
}

// eventsOf reads the events of a message that a publisher made.
func eventsOf(t *testing.T, m *Message) []ingest.Event {
	t.Helper()
	if got := m.ContentType(); got != ingest.ContentTypeBatch {
		t.Fatalf("content type %q, want %q", got, ingest.ContentTypeBatch)
	}
	body, err := m.Body(nil)
	if err != nil {
		t.Fatal(err)
	}
	var r ingest.BatchReader
	if err := r.Read(body); err != nil {
		t.Fatal(err)
	}
	events := make([]ingest.Event, r.Len())
	for i := range events {
		if err := r.Event(i, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// stored reads the numbers of all events in the streams, in order of storage.
func stored(t *testing.T, url string, streams ...string) []int {
	t.Helper()
	nc := connect(t, url)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if len(streams) == 0 {
		streams = []string{EventsStream}
	}
	var all []int
	for _, name := range streams {
		s, err := js.Stream(t.Context(), name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
			m, err := s.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range eventsOf(t, &Message{Header: m.Header, Data: m.Data}) {
				if e.OperationName == ingest.DeviceConnect {
					all = append(all, int(e.Sequence))
				}
			}
		}
	}
	return all
}

// checkOnce says whether numbers 0 to n-1 are there, each once.
func checkOnce(t *testing.T, got []int, n int) {
	t.Helper()
	seen := map[int]int{}
	for _, i := range got {
		seen[i]++
	}
	if len(got) != n || len(seen) != n {
		t.Errorf("%d events, %d distinct, want %d", len(got), len(seen), n)
	}
}

func TestPublish(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	p := startPublisher(t, connect(t, n.URL), config("hub 1.a"))
	const total = 10_000
	for i := range total {
		p.Publish(event(i))
	}
	eventually(t, "all are acknowledged", func() bool { return p.Status().Acked == total })
	checkOnce(t, stored(t, n.URL), total)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestSourceHandsOutEachOnce(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	p := startPublisher(t, connect(t, n.URL), config("a"))
	for i := range 3000 {
		p.Publish(event(i))
	}
	cfg := DefaultSourceConfig()
	cfg.Server.URL = n.URL
	src, err := OpenSource(cfg, EventsStream, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	l, err := src.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for events < 3000 {
		m, err := l.Next(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		events += len(eventsOf(t, m))
		b := Block{First: m.Seq, Last: m.Seq, FirstTime: m.Time, LastTime: m.Time}
		if err := l.Begin(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		l.Done(b)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err = src.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := l.Next(t.Context(), 50*time.Millisecond); !errors.Is(err, ErrNoMessage) {
		t.Errorf("after all were stored: message %v, error %v", m, err)
	}
}
