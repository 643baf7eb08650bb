package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/deploy/embed"
	"hubscope/ingest"
)

// feedBench is a broker with event streams, and a feed on it.
type feedBench struct {
	t    *testing.T
	js   jetstream.JetStream
	feed *Feed
}

func newFeedBench(t *testing.T, partitions int, change func(*FeedConfig)) *feedBench {
	t.Helper()
	n := startNATS(t, embed.NATSConfig{})
	nc := connect(t, n.URL)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected", nc.IsConnected)
	streams := DefaultStreams()
	streams.Partitions = partitions
	if err := streams.Ensure(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultFeedConfig()
	cfg.Linger, cfg.Idle = 5*time.Millisecond, 50*time.Millisecond
	if change != nil {
		change(&cfg)
	}
	feed, err := OpenFeed(nc, cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	return &feedBench{t, js, feed}
}

// publish stores a message with the events from..to-1 in a partition's stream.
func (b *feedBench) publish(partition, from, to int) {
	b.t.Helper()
	var body []byte
	for n := from; n < to; n++ {
		body = ingest.AppendEvent(body, event(n))
	}
	subject := fmt.Sprintf("%s.%d.node", eventsSubject, partition)
	if _, err := b.js.PublishMsg(b.t.Context(), &nats.Msg{Subject: subject, Header: nats.Header{headerType: {ingest.ContentType}}, Data: body}); err != nil {
		b.t.Fatal(err)
	}
}

// following is one reader, on a goroutine of its own.
type following struct {
	t        *testing.T
	segments chan *ingest.Segment
	err      chan error
	stop     context.CancelFunc
	seen     []int
	skipped  int64
	gone     bool
	cursor   string
}

// idle waits until the feed has no consumers, which the last reader takes along.
func (b *feedBench) idle() {
	b.t.Helper()
	eventually(b.t, "nobody reads any more", func() bool {
		b.feed.mu.Lock()
		defer b.feed.mu.Unlock()
		return b.feed.live == nil
	})
}

func (b *feedBench) follow(start ingest.Start) *following {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	f := &following{t: b.t, segments: make(chan *ingest.Segment), err: make(chan error, 1), stop: cancel}
	go func() {
		defer close(f.segments)
		for s, err := range b.feed.Follow(ctx, start) {
			if err != nil {
				f.err <- err
				return
			}
			select {
			case f.segments <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		for range f.segments {
		}
	})
	return f
}

// next takes one segment.
func (f *following) next() *ingest.Segment {
	f.t.Helper()
	select {
	case s, ok := <-f.segments:
		if !ok {
			f.t.Fatal("the feed has ended")
		}
		for i := range s.Events {
			f.seen = append(f.seen, int(s.Events[i].Sequence))
		}
		f.skipped += s.Skipped
		f.gone = f.gone || s.Gone
		f.cursor = s.Cursor
		return s
	case <-time.After(time.Minute):
		f.t.Fatal("no segment within 20 s")
	}
	return nil
}

// until takes segments until n events have been seen, and checks them.
func (f *following) until(from, to int) {
	f.t.Helper()
	for len(f.seen) < to-from {
		f.next()
	}
	got := slices.Clone(f.seen)
	slices.Sort(got)
	for i, n := range got {
		if n != from+i {
			f.t.Fatalf("want the events %d to %d once each, got %v", from, to-1, got)
		}
	}
}

func TestFeed(t *testing.T) {
	b := newFeedBench(t, 1, nil)
	b.publish(0, 0, 10)
	b.publish(0, 10, 20)

	live := b.follow(ingest.Start{})
	if s := live.next(); len(s.Events) > 0 || s.Cursor == "" {
		t.Fatalf("the first segment of a live reader is %+v", s)
	}
	start := live.cursor
	b.publish(0, 20, 30)
	live.until(20, 30)

	all := b.follow(ingest.Start{Since: time.Now().Add(-time.Hour)})
	all.until(0, 30)
	later := b.follow(ingest.Start{Since: time.Now().Add(time.Hour)})
	later.next()
	behind := b.follow(ingest.Start{Cursor: start})
	behind.until(20, 30)

	b.publish(0, 30, 35)
	live.until(20, 35)
	all.until(0, 35)
	behind.until(20, 35)
	later.until(30, 35)

	b.feed.mu.Lock()
	users := b.feed.live.users
	b.feed.mu.Unlock()
	if users != 4 {
		t.Errorf("want 4 readers on one set of consumers, there are %d", users)
	}
	// Time passes, and the reader hears of it.
	if s := live.next(); len(s.Events) > 0 || s.Cursor != live.cursor {
		t.Errorf("want an empty segment, got %+v", s)
	}
	for _, f := range []*following{live, all, later, behind} {
		f.stop()
	}
	b.idle()
	// A new reader goes on where the last has stopped.
	b.publish(0, 35, 40)
	again := b.follow(ingest.Start{Cursor: live.cursor})
	again.until(35, 40)
}

// TestFeedHandover: while events are being written as fast as it goes, readers
// who begin in the past miss none and see none twice when they catch up.
func TestFeedHandover(t *testing.T) {
	b := newFeedBench(t, 3, nil)
	const messages, each = 600, 5
	for n := range 30 {
		b.publish(n%3, n*each, (n+1)*each)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := 30; n < messages; n++ {
			b.publish(n%3, n*each, (n+1)*each)
		}
	}()
	var readers []*following
	for range 6 {
		readers = append(readers, b.follow(ingest.Start{Since: time.Now().Add(-time.Hour)}))
		readers[len(readers)-1].next()
	}
	for _, f := range readers {
		f.until(0, messages*each)
	}
	<-written
	if strings.Count(readers[0].cursor, ",") != 2 {
		t.Errorf("the cursor %q has not three streams", readers[0].cursor)
	}
}

func TestFeedSkips(t *testing.T) {
	b := newFeedBench(t, 1, func(c *FeedConfig) { c.SegmentEvents, c.BufferEvents = 10, 20 })
	f := b.follow(ingest.Start{})
	f.next()
	// A reader that does not read: of 100 messages its queue takes two.
	r := func() *reader {
		b.feed.live.mu.Lock()
		defer b.feed.live.mu.Unlock()
		for r := range b.feed.live.readers {
			return r
		}
		return nil
	}()
	const total = 1000
	for n := 0; n < total; n += 10 {
		b.publish(0, n, n+10)
	}
	eventually(t, "all handed out", func() bool {
		b.feed.live.mu.Lock()
		defer b.feed.live.mu.Unlock()
		return b.feed.live.places[0].seq == total/10 && len(b.feed.live.pending) == 0 && r.count <= 20
	})
	for len(f.seen)+int(f.skipped) < total {
		f.next()
	}
	if f.skipped == 0 {
		t.Error("a reader that does not read was spared")
	}
	b.publish(0, total, total+1)
	for f.seen[len(f.seen)-1] != total {
		f.next()
	}
	if got := len(f.seen) + int(f.skipped); got != total+1 {
		t.Errorf("want %d events seen or skipped, got %d", total+1, got)
	}
}

func TestFeedStart(t *testing.T) {
	b := newFeedBench(t, 1, nil)
	for _, bad := range []string{"x", "EVENTS.a", "EVENTS.a.b", ".a.1", "EVENTS.a.1,"} {
		f := b.follow(ingest.Start{Cursor: bad})
		if s, ok := <-f.segments; ok {
			t.Errorf("%q is taken for a cursor: %+v", bad, s)
			f.stop()
		} else if err := <-f.err; !errors.Is(err, ingest.ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for n := range 5 {
		b.publish(0, n, n+1)
	}
	f := b.follow(ingest.Start{Since: time.Now().Add(-time.Hour)})
	f.until(0, 5)
	first := f.cursor[:strings.LastIndex(f.cursor, ".")] + ".1"
	f.stop()

	// What has left the stream is said.
	s, err := b.js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	g := b.follow(ingest.Start{Cursor: first})
	g.until(3, 5)
	if !g.gone {
		t.Error("events between the cursor and the stream's first were lost in silence")
	}
	g.stop()

	// A stream that was made anew has nothing that the cursor knows.
	b.idle()
	if err := b.js.DeleteStream(t.Context(), EventsStream); err != nil {
		t.Fatal(err)
	}
	none := b.follow(ingest.Start{})
	if err := <-none.err; !errors.Is(err, ErrNoStream) {
		t.Errorf("without a stream: %v", err)
	}
	if err := DefaultStreams().Ensure(t.Context(), b.js); err != nil {
		t.Fatal(err)
	}
	b.publish(0, 100, 103)
	h := b.follow(ingest.Start{Cursor: g.cursor})
	h.until(100, 103)
	if !h.gone {
		t.Error("a new stream is taken for the old one")
	}
}

// TestFeedEncodings: what others write as JSON, what hubs write, what is
// compressed and what is damaged.
func TestFeedEncodings(t *testing.T) {
	b := newFeedBench(t, 1, nil)
	f := b.follow(ingest.Start{})
	f.next()
	send := func(header nats.Header, body string) {
		t.Helper()
		if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: eventsSubject + ".0.other", Header: header, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	send(nats.Header{headerType: {ingest.ContentTypeJSON}}, `{"TimeGenerated":"2026-01-01T00:00:00Z","Hub":"h","OperationName":"deviceConnect","Sequence":1}
[{"TimeGenerated":"2026-01-01T00:00:00Z","Hub":"h","OperationName":"deviceConnect","Sequence":2},{"Hub":"no time"}]`)
	send(nats.Header{headerType: {ingest.ContentTypeJSON}}, `{"TimeGenerated"`)
	send(nats.Header{headerType: {ingest.ContentType}, headerEncoding: {"s2"}}, "not compressed")
	send(nats.Header{headerType: {ingest.ContentType}}, "\xff\xff\xff")
	send(nil, "what is this")
	b.publish(0, 3, 4)
	// As hubs write them; one event without a hub.
	var batch ingest.Batch
	for n := 4; n < 7; n++ {
		e := event(n)
		batch.Add(e)
		e.Hub = ""
		batch.Add(e)
	}
	message := string(batch.AppendTo(nil))
	send(nats.Header{headerType: {ingest.ContentTypeBatch}}, message[:len(message)-1])
	send(nats.Header{headerType: {ingest.ContentTypeBatch}}, message)
	f.until(1, 7)
}
