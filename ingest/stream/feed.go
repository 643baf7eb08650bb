package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/ingest"
)

// FeedConfig is the configuration of a [Feed].
type FeedConfig struct {
	// Linger is how long an event may wait for others, so that readers have
	// fewer, larger segments.
	Linger time.Duration
	// SegmentEvents is how many events make a segment full; the message that
	// fills it may have more.
	SegmentEvents int
	// BufferEvents bounds what waits for one reader. What is more is skipped,
	// and the reader is told how much.
	BufferEvents int
	// Idle is the longest time between two segments.
	Idle time.Duration
}

// DefaultFeedConfig returns what suits people who watch.
func DefaultFeedConfig() FeedConfig {
	return FeedConfig{Linger: 100 * time.Millisecond, SegmentEvents: 1000, BufferEvents: 20_000, Idle: 10 * time.Second}
}

// Errors of [Feed.Follow].
var (
	// ErrNoStream: this NATS has no event streams; the first hub or collector
	// makes them.
	ErrNoStream = errors.New("there is no event stream")
	// ErrFeedLost: the streams cannot be followed any longer without a loss.
	// Following again from the last cursor may be possible.
	ErrFeedLost = errors.New("the event stream was interrupted")
)

// Feed lets many readers follow the event streams, as they are being written or
// from some time back, without taking part in the collector's leases. All
// readers who have caught up share one consumer a stream; it exists while
// somebody reads. It is safe for concurrent use.
type Feed struct {
	cfg FeedConfig
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger

	mu     sync.Mutex
	live   *live
	closed bool
}

// OpenFeed returns a feed on a connection made by [Server.Connect], which stays
// the caller's.
func OpenFeed(nc *nats.Conn, cfg FeedConfig, log *slog.Logger) (*Feed, error) {
	if cfg.Linger <= 0 || cfg.SegmentEvents < 1 || cfg.BufferEvents < cfg.SegmentEvents || cfg.Idle <= 0 {
		return nil, errors.New("feed: linger, segment_events, buffer_events and idle must be above zero, and a segment fit the buffer")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	return &Feed{cfg: cfg, nc: nc, js: js, log: log}, nil
}

// Close ends all readers with ErrFeedLost.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.live != nil {
		f.live.fail(fmt.Errorf("%w: closed", ErrFeedLost))
		f.live = nil
	}
}

// place is a reader's position in one stream: the last message it has, and the
// incarnation that its number is of.
type place struct {
	stream      string
	incarnation string
	seq         uint64
}

// cursor writes places as readers keep them.
func cursor(places []place) string {
	parts := make([]string, len(places))
	for i, p := range places {
		parts[i] = p.stream + "." + p.incarnation + "." + strconv.FormatUint(p.seq, 10)
	}
	return strings.Join(parts, ",")
}

func parseCursor(s string) (map[string]place, error) {
	places := map[string]place{}
	for _, part := range strings.Split(s, ",") {
		fields := strings.Split(part, ".")
		if len(fields) != 3 || fields[0] == "" || fields[1] == "" || len(places) > 256 {
			return nil, fmt.Errorf("%q is %w", s, ingest.ErrCursor)
		}
		seq, err := strconv.ParseUint(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is %w", s, ingest.ErrCursor)
		}
		places[fields[0]] = place{fields[0], fields[1], seq}
	}
	return places, nil
}

// piece is the events of one message.
type piece struct {
	stream  int // index
	seq     uint64
	events  []ingest.Arrival
	skipped int64 // events before it that the reader was too slow for
}

// live is the shared consumers, and the readers who have caught up with them.
type live struct {
	feed    *Feed
	streams []jetstream.Stream
	stop    context.CancelFunc
	stopped sync.WaitGroup

	mu      sync.Mutex
	places  []place // of what was handed to readers or stands in pending
	pending []piece
	count   int // events in pending
	flush   *time.Timer
	readers map[*reader]struct{}
	users   int // readers who have caught up or are about to
	err     error
}

// reader is one who follows.
type reader struct {
	live   *live
	places []place
	wake   chan struct{}

	// Guarded by live.mu.
	queue   []piece
	count   int // events in queue
	skipped int64
}

// Follow yields the events from start on, as they come, until ctx is done or
// the caller stops. The first segment comes as soon as nothing written later
// can be missed; often it has no events. An error is the last thing yielded.
func (f *Feed) Follow(ctx context.Context, start ingest.Start) iter.Seq2[*ingest.Segment, error] {
	return func(yield func(*ingest.Segment, error) bool) {
		err := f.follow(ctx, start, func(s *ingest.Segment) bool { return yield(s, nil) })
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

func (f *Feed) follow(ctx context.Context, start ingest.Start, yield func(*ingest.Segment) bool) error {
	var from map[string]place
	if start.Cursor != "" {
		var err error
		if from, err = parseCursor(start.Cursor); err != nil {
			return err
		}
	}
	l, err := f.join(ctx)
	if err != nil {
		return err
	}
	defer f.leave(l)
	r := &reader{live: l, wake: make(chan struct{}, 1)}
	switch {
	case from != nil || !start.Since.IsZero():
		more, err := r.replay(ctx, from, start.Since, yield)
		if err != nil || !more {
			return err
		}
	default:
		l.mu.Lock()
		l.handOut()
		r.places = slices.Clone(l.places)
		l.readers[r] = struct{}{}
		l.mu.Unlock()
	}
	defer l.forget(r)
	if !yield(&ingest.Segment{Cursor: cursor(r.places)}) {
		return nil
	}
	idle := time.NewTimer(f.cfg.Idle)
	defer idle.Stop()
	for {
		s, err := r.take()
		if err != nil {
			return err
		}
		if s == nil {
			select {
			case <-r.wake:
				continue
			case <-idle.C:
				s = &ingest.Segment{}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.Cursor = cursor(r.places)
		if !yield(s) {
			return nil
		}
		idle.Reset(f.cfg.Idle)
	}
}

// join returns the running consumers, started if need be.
func (f *Feed) join(ctx context.Context) (*live, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("%w: closed", ErrFeedLost)
	}
	if f.live == nil || f.live.failed() != nil {
		l, err := f.open(ctx)
		if err != nil {
			return nil, err
		}
		f.live = l
	}
	f.live.users++
	return f.live, nil
}

// leave stops the consumers when the last reader has gone.
func (f *Feed) leave(l *live) {
	f.mu.Lock()
	l.users--
	last := l.users == 0
	if last && f.live == l {
		f.live = nil
	}
	f.mu.Unlock()
	if last {
		l.stop()
		l.stopped.Wait()
	}
}

// open finds the event streams, whatever their partitions, and starts one
// consumer each behind their last message.
func (f *Feed) open(ctx context.Context) (_ *live, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l := &live{feed: f, readers: map[*reader]struct{}{}}
	names := f.js.StreamNames(ctx, jetstream.WithStreamListSubject(eventsSubject+".>"))
	for name := range names.Name() {
		s, err := f.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		l.streams = append(l.streams, s)
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("list of streams: %w", err)
	}
	if len(l.streams) == 0 {
		return nil, ErrNoStream
	}
	slices.SortFunc(l.streams, func(a, b jetstream.Stream) int {
		return strings.Compare(a.CachedInfo().Config.Name, b.CachedInfo().Config.Name)
	})
	run, stop := context.WithCancel(context.Background())
	l.stop = stop
	defer func() {
		if err != nil {
			stop()
			l.stopped.Wait()
		}
	}()
	for _, s := range l.streams { // all, before the first message moves one
		info := s.CachedInfo()
		l.places = append(l.places, place{info.Config.Name, incarnation(info), info.State.LastSeq})
	}
	for i, s := range l.streams {
		info := s.CachedInfo()
		cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: info.State.LastSeq + 1, InactiveThreshold: 30 * time.Second,
		})
		if err != nil {
			return nil, fmt.Errorf("consumer of %s: %w", info.Config.Name, err)
		}
		consuming, err := cons.Consume(func(m jetstream.Msg) { l.receive(i, m) })
		if err != nil {
			return nil, fmt.Errorf("consumer of %s: %w", info.Config.Name, err)
		}
		l.stopped.Add(1)
		context.AfterFunc(run, func() {
			defer l.stopped.Done()
			consuming.Stop()
			<-consuming.Closed()
		})
	}
	l.stopped.Add(1)
	go func() {
		defer l.stopped.Done()
		l.watch(run)
	}()
	return l, nil
}

// watchEvery is how often the streams are looked at.
const watchEvery = 5 * time.Second

// watch ends the feed when a stream was made anew or has gone back: its numbers
// then mean other messages, and a consumer would wait for the old ones.
func (l *live) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i := range l.streams {
			l.mu.Lock()
			p := l.places[i]
			l.mu.Unlock()
			info, err := l.info(ctx, i)
			switch {
			case errors.Is(err, jetstream.ErrStreamNotFound):
				l.fail(fmt.Errorf("%w: stream %s is gone", ErrFeedLost, p.stream))
			case err != nil: // away for now
			case incarnation(info) != p.incarnation || info.State.LastSeq < p.seq:
				l.fail(fmt.Errorf("%w: stream %s has begun anew", ErrFeedLost, p.stream))
			}
		}
	}
}

// fail ends all readers.
func (l *live) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		l.feed.log.Warn("tail ends", "error", err, "readers", len(l.readers))
	}
	for r := range l.readers {
		r.signal()
	}
}

// failed says why the consumers are of no use any more.
func (l *live) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// info asks for a stream anew. Stream.Info would write what other goroutines read.
func (l *live) info(ctx context.Context, i int) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := l.feed.js.Stream(ctx, l.streams[i].CachedInfo().Config.Name)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

func (l *live) forget(r *reader) {
	l.mu.Lock()
	delete(l.readers, r)
	l.mu.Unlock()
}

// receive takes a message of stream i.
func (l *live) receive(i int, m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return // not from JetStream
	}
	events := l.feed.decode(&Message{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	l.mu.Lock()
	defer l.mu.Unlock()
	if meta.Sequence.Stream <= l.places[i].seq {
		return
	}
	l.places[i].seq = meta.Sequence.Stream
	l.pending = append(l.pending, piece{stream: i, seq: meta.Sequence.Stream, events: events})
	l.count += len(events)
	switch {
	case l.count >= l.feed.cfg.SegmentEvents:
		l.handOut()
	case l.flush == nil:
		l.flush = time.AfterFunc(l.feed.cfg.Linger, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.handOut()
		})
	}
}

// handOut gives what is pending to all readers; the caller holds mu.
func (l *live) handOut() {
	if l.flush != nil {
		l.flush.Stop()
		l.flush = nil
	}
	if len(l.pending) == 0 {
		return
	}
	for r := range l.readers {
		r.put(l.pending)
	}
	l.pending, l.count = nil, 0
}

// put queues messages that the reader does not have yet.
func (r *reader) put(pieces []piece) {
	for _, p := range pieces {
		switch {
		case p.seq <= r.places[p.stream].seq:
			continue
		case len(r.queue) > 0 && r.count+len(p.events) > r.live.feed.cfg.BufferEvents:
			r.skipped += int64(len(p.events))
			continue
		}
		p.skipped, r.skipped = r.skipped, 0
		r.queue = append(r.queue, p)
		r.count += len(p.events)
	}
	r.signal()
}

func (r *reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what is queued, at most a full segment, nil if nothing is.
func (r *reader) take() (*ingest.Segment, error) {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	s := &ingest.Segment{}
	n := 0
	for n < len(r.queue) && len(s.Events) < r.live.feed.cfg.SegmentEvents {
		p := r.queue[n]
		if p.skipped > 0 && n > 0 {
			break // between segments, where it can be said
		}
		s.Skipped += p.skipped
		s.Events = append(s.Events, p.events...)
		r.places[p.stream].seq = p.seq
		r.count -= len(p.events)
		n++
	}
	r.queue = slices.Delete(r.queue, 0, n)
	if n == 0 {
		if r.skipped == 0 {
			return nil, r.live.err
		}
		s.Skipped, r.skipped = r.skipped, 0
	}
	return s, nil
}

// replay yields what the streams hold from the start on, until the reader is
// where the live consumers are, and joins them there. It returns false when
// the caller stopped.
func (r *reader) replay(ctx context.Context, from map[string]place, since time.Time, yield func(*ingest.Segment) bool) (more bool, err error) {
	l := r.live
	r.places = make([]place, len(l.streams))
	gone := false
	for i, s := range l.streams {
		info, err := l.info(ctx, i)
		if err != nil {
			return false, fmt.Errorf("stream info: %w", err)
		}
		p := place{info.Config.Name, incarnation(info), info.State.LastSeq}
		known, ok := from[p.stream]
		switch {
		case from == nil:
			first, found, err := firstAfter(ctx, s, since.Add(-1))
			if err != nil {
				return false, fmt.Errorf("stream %s: %w", p.stream, err)
			}
			if found {
				p.seq = first - 1
			}
		case !ok || known.incarnation != p.incarnation:
			// All of a stream that the cursor does not know is new.
			p.seq = max(info.State.FirstSeq, 1) - 1
			gone = gone || ok
		case known.seq <= p.seq:
			p.seq = known.seq
			if first := info.State.FirstSeq; first > known.seq+1 {
				p.seq, gone = first-1, true
			}
		}
		r.places[i] = p
	}
	if gone && !yield(&ingest.Segment{Gone: true, Cursor: cursor(r.places)}) {
		return false, nil
	}
	old := make([]*history, len(l.streams))
	defer func() {
		for _, h := range old {
			h.close(ctx)
		}
	}()
	for {
		if r.caughtUp() {
			return true, nil
		}
		if err := l.failed(); err != nil {
			return false, err
		}
		for i := range l.streams {
			l.mu.Lock()
			behind := r.places[i].seq < l.places[i].seq
			l.mu.Unlock()
			if !behind {
				continue
			}
			if old[i] == nil {
				if old[i], err = openHistory(ctx, l.streams[i], r.places[i].seq+1); err != nil {
					return false, fmt.Errorf("stream %s: %w", r.places[i].stream, err)
				}
			}
			messages, err := old[i].next(ctx)
			if err != nil {
				return false, fmt.Errorf("stream %s: %w", r.places[i].stream, err)
			}
			s := &ingest.Segment{}
			for n, m := range messages {
				s.Events = append(s.Events, l.feed.decode(m)...)
				r.places[i].seq = m.Seq
				if len(s.Events) < l.feed.cfg.SegmentEvents && n < len(messages)-1 {
					continue
				}
				s.Cursor = cursor(r.places)
				if !yield(s) {
					return false, nil
				}
				s = &ingest.Segment{}
			}
		}
	}
}

// caughtUp makes the reader one of the live ones if it has all they have.
func (r *reader) caughtUp() bool {
	l := r.live
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.places {
		if r.places[i].seq < l.places[i].seq {
			return false
		}
	}
	l.handOut() // what is pending it has already, or takes from here on
	l.readers[r] = struct{}{}
	return true
}

// history reads the past of a stream.
type history struct {
	stream   jetstream.Stream
	cons     jetstream.Consumer
	from     uint64
	consumed uint64
	lost     bool // the consumer is of no use any more
}

func openHistory(ctx context.Context, s jetstream.Stream, from uint64) (*history, error) {
	h := &history{stream: s, from: from}
	return h, h.open(ctx)
}

func (h *history) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cons, err := h.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: h.from,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	h.cons, h.consumed, h.lost = cons, 0, false
	return nil
}

func (h *history) close(ctx context.Context) {
	if h == nil || h.cons == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.stream.DeleteConsumer(ctx, h.cons.CachedInfo().Name) //nolint:errcheck // it goes by itself after a while
}

// next returns some messages. Deliveries that were lost are asked for again.
func (h *history) next(ctx context.Context) ([]*Message, error) {
	const most, attempts = 64, 5
	for try := 1; ; try++ {
		if h.lost {
			if err := h.open(ctx); err != nil {
				return nil, err
			}
		}
		list, err := h.fetch(most)
		if len(list) > 0 {
			return list, nil
		}
		if try == attempts {
			return nil, errors.Join(ErrFeedLost, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
		h.lost = true
	}
}

func (h *history) fetch(most int) ([]*Message, error) {
	batch, err := h.cons.FetchNoWait(most) // there is something: the live consumers have seen it
	if err != nil {
		return nil, err
	}
	var list []*Message
	gap := false
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil || gap || meta.Sequence.Consumer != h.consumed+1 {
			gap = true
			continue
		}
		h.consumed++
		h.from = meta.Sequence.Stream + 1
		list = append(list, &Message{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Subject: m.Subject(), Header: m.Headers(), Data: m.Data(), Pending: meta.NumPending})
	}
	h.lost = gap
	return list, batch.Error()
}

// decode returns the good events of a message. The bad ones are the
// collector's to complain about.
func (f *Feed) decode(m *Message) []ingest.Arrival {
	body, err := m.Body(nil)
	if err != nil {
		return nil
	}
	media, _, err := mime.ParseMediaType(m.ContentType())
	if err != nil {
		media = m.ContentType()
	}
	var list []ingest.Arrival
	add := func(e *ingest.Event) {
		if !e.TimeGenerated.IsZero() && e.Hub != "" && e.OperationName != "" { // or it is none of Connections
			list = append(list, ingest.Arrival{Event: *e, Time: m.Time})
		}
	}
	switch media {
	case ingest.ContentTypeBatch:
		var r ingest.BatchReader
		if r.Read(body) != nil {
			return nil
		}
		for i := range r.Len() {
			var e ingest.Event
			if r.Event(i, &e) == nil {
				add(&e)
			}
		}
	case ingest.ContentType:
		for it := ingest.EventsOf(body); it.Next(); {
			var e ingest.Event
			if e.UnmarshalProto(it.Event()) == nil {
				add(&e)
			}
		}
	case ingest.ContentTypeJSON, "application/json":
		dec := json.NewDecoder(bytes.NewReader(body))
		for {
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				if !errors.Is(err, io.EOF) {
					f.log.Debug("message is not JSON", "stream_seq", m.Seq, "error", err)
				}
				break
			}
			events := []json.RawMessage{raw}
			if raw[0] == '[' {
				events = nil
				json.Unmarshal(raw, &events) //nolint:errcheck // raw is JSON already
			}
			for _, one := range events {
				var e ingest.Event
				if json.Unmarshal(one, &e) == nil {
					add(&e)
				}
			}
		}
	}
	return list
}
