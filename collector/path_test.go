package collector

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// TestHubKilledWithSpool: a hub spools while the broker is away and is killed;
// the next one sends what it left, once.
func TestHubKilledWithSpool(t *testing.T) {
	s := newStore(t, startEngine(t), "hubkill")
	broker := startNATSProcess(t)
	c, err := New(testConfig(broker.URL, s.Store), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.Run)
	<-c.Ready()
	args := childArgs{URL: broker.URL, Dir: t.TempDir(), Count: 2000}
	first := startChild(t, "publisher", args)
	eventually(t, "the first events are stored", func() bool { return s.number("SELECT count() FROM hubkill.Connections") == 2000 })
	first.kill()

	broker.kill()
	args.First = 2000
	second := startChild(t, "publisher", args)
	second.line(t, "safe ")
	second.kill()

	broker.start()
	args.First = 4000
	third := startChild(t, "publisher", args)
	third.line(t, "published")
	eventually(t, "all events are stored", func() bool { return s.number("SELECT count() FROM hubkill.Connections") >= 6000 })
	checkExact(t, s, "hubkill", 6000, 4800)
}

// TestPoison: bad messages among good ones neither block nor get lost, and a
// collector that is killed and starts again writes no letter twice.
func TestPoison(t *testing.T) {
	s := newStore(t, startEngine(t), "poison")
	broker := startNATSProcess(t)
	nc := connect(t, broker.URL)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DefaultStreams().Ensure(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	const messages = 300
	letters := 0
	for i := range messages {
		msg := &nats.Msg{Subject: "hubscope.events.0.test", Header: nats.Header{
			"Content-Type": {ingest.ContentType}, jetstream.MsgIDHeader: {strconv.Itoa(i)},
		}}
		msg.Data = ingest.AppendEvent(nil, event(i))
		switch i % 10 {
		case 3: // a bad event behind the good one
			msg.Data = append(msg.Data, 3, 0x12, 0x50, 1)
			letters++
		case 6: // cut off behind the good one
			msg.Data = append(msg.Data, 0x7f, 1)
			letters++
		case 9: // damaged compression: the good one is lost to us as well
			msg.Header.Set("Content-Encoding", "s2")
			letters++
		}
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	want := int64(messages - messages/10)
	dead := func() uint64 {
		st, err := js.Stream(t.Context(), stream.DeadLetterStream)
		if err != nil {
			return 0
		}
		return st.CachedInfo().State.Msgs
	}
	rows := func() int64 { return s.number("SELECT count() FROM poison.Connections") }
	dsn := s.DSN
	// Short blocks, and a kill in the middle of them.
	for life := 0; rows() < want; life++ {
		c := startChild(t, "collector", childArgs{URL: broker.URL, DSN: dsn, Database: "poison", BlockRows: 7 + life, Linger: 20 * time.Millisecond})
		before := max(rows(), 0)
		eventually(t, "rows arrive", func() bool { return rows() > before || rows() == want })
		if life < 3 {
			c.kill()
			continue
		}
		eventually(t, "all good events are stored", func() bool { return rows() == want })
	}
	if got := s.number("SELECT uniqExact(Sequence) FROM poison.Connections"); got != want {
		t.Errorf("%d distinct events, want %d", got, want)
	}
	eventually(t, "every bad message has its letter", func() bool { return dead() >= uint64(letters) })
	if got := dead(); got != uint64(letters) {
		t.Errorf("%d dead letters, want %d", got, letters)
	}
	st, err := js.Stream(t.Context(), stream.DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if reason := m.Header.Get("Hubscope-Reason"); !strings.Contains(reason, "event 2") || m.Header.Get("Hubscope-Sequence") != "4" {
		t.Errorf("letter for message %s with reason %q", m.Header.Get("Hubscope-Sequence"), reason)
	}
}

// TestSecondCollector: two at once store each event once; when the first stops
// the second goes on.
func TestSecondCollector(t *testing.T) {
	n := startNATS(t)
	s := newStore(t, startEngine(t), "second")
	var all []*Collector
	var stops []func()
	for range 2 {
		c, err := New(testConfig(n.URL, s.Store), logger(t))
		if err != nil {
			t.Fatal(err)
		}
		all, stops = append(all, c), append(stops, run(t, c.Run))
		<-c.Ready()
	}
	p := startPublisher(t, n.URL, "a")
	for i := range 1000 {
		p.Publish(event(i))
	}
	rows := func() int64 { return s.number("SELECT count() FROM second.Connections") }
	eventually(t, "the first events are stored", func() bool { return rows() == 1000 })
	active := func() (which int) {
		which = -1
		for i, c := range all {
			if c.Status()[0].Active {
				if which >= 0 {
					t.Fatal("both are active")
				}
				which = i
			}
		}
		return which
	}
	stops[active()]()
	for i := 1000; i < 2000; i++ {
		p.Publish(event(i))
	}
	eventually(t, "the other goes on", func() bool { return rows() >= 2000 })
	checkExact(t, s, "second", 2000, 1600)
}

// TestStatusWithoutBroker: health checks answer while the broker is away.
func TestStatusWithoutBroker(t *testing.T) {
	s := newStore(t, startEngine(t), "away")
	broker := startNATSProcess(t)
	reader := sdk.NewManualReader()
	cfg := testConfig(broker.URL, s.Store)
	cfg.NATS.LeaseTTL, cfg.Meter = 500*time.Millisecond, sdk.NewMeterProvider(sdk.WithReader(reader))
	c, err := New(cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.Run)
	<-c.Ready()
	p := startPublisher(t, broker.URL, "a")
	for i := range 500 {
		p.Publish(event(i))
	}
	eventually(t, "rows are counted", func() bool { return c.Status()[0].Rows == 500 })
	if got := counter(t, reader, "hubscope.collector.rows"); got != 500 {
		t.Errorf("hubscope.collector.rows = %d, want 500", got)
	}
	broker.kill()
	eventually(t, "the outage is seen", func() bool { return !c.Status()[0].Connected })
	// Long enough for the lease to be writing, in vain.
	for deadline := time.Now().Add(2 * cfg.NATS.LeaseTTL); time.Now().Before(deadline); {
		answered := make(chan struct{})
		go func() {
			c.Status()
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(time.Minute):
			t.Fatal("Status waits for the broker")
		}
		time.Sleep(10 * time.Millisecond)
	}
	broker.start()
	for i := 500; i < 1000; i++ {
		p.Publish(event(i))
	}
	eventually(t, "rows are counted again", func() bool { return c.Status()[0].Rows == 1000 })
	checkExact(t, s, "away", 1000, 800)
}

func counter(t *testing.T, r sdk.Reader, name string) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				var n int64
				for _, p := range sum.DataPoints {
					n += p.Value
				}
				return n
			}
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}
