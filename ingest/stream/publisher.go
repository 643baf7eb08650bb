package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"hubscope/ingest"
)

// Headers of an event message, beside Nats-Msg-Id and traceparent.
const (
	headerType     = "Content-Type"
	headerEncoding = "Content-Encoding"
	// encodingS2 is S2's block format, a superset of Snappy's.
	encodingS2 = "s2"
	// headerEvents tells how many events the message has, for whoever counts
	// without decoding.
	headerEvents = "Hubscope-Events"
	// headerTrace is traceparent as http.Header spells it, and with it Go's
	// propagators; NATS itself does not fold the case of headers.
	headerTrace = "Traceparent"
)

// PublisherConfig is the configuration of a [Publisher].
type PublisherConfig struct {
	// Node names this process in message ids and events; stable across
	// restarts and unique among the hubs.
	Node string `yaml:"node"`
	// BatchEvents and BatchBytes close a message, Linger after its first event
	// does so too.
	BatchEvents int           `yaml:"batch_events"`
	BatchBytes  int           `yaml:"batch_bytes"`
	Linger      time.Duration `yaml:"linger"`
	// QueueBytes bounds the events in memory that are not acknowledged. Beyond
	// it events are dropped and counted.
	QueueBytes int64 `yaml:"queue_bytes"`
	// InFlightBytes bounds what is sent and not acknowledged.
	InFlightBytes int64 `yaml:"in_flight_bytes"`
	// AckWait is how long to wait for an acknowledgement before sending again.
	AckWait time.Duration `yaml:"ack_wait"`
	// Spool is a folder for messages while the broker is away; empty for none.
	// It belongs to one process. SpoolBytes bounds it.
	Spool      string `yaml:"spool"`
	SpoolBytes int64  `yaml:"spool_bytes"`
	// DrainTimeout is how long Run waits for acknowledgements when it is
	// stopped; what has none then goes to the spool.
	DrainTimeout time.Duration `yaml:"drain_timeout"`

	// Compress writes messages with Content-Encoding s2: two thirds of the bytes
	// to send, sync and keep, for about the CPU that their copying takes.
	Compress bool `yaml:"compress"`

	// Streams tells partitions and the duplicates window; missing streams are
	// made.
	Streams Streams `yaml:"-"`
	// Meter and Tracer default to none.
	Meter  metric.MeterProvider `yaml:"-"`
	Tracer trace.TracerProvider `yaml:"-"`
}

// DefaultPublisherConfig returns a configuration that lacks only Node and,
// if the events shall survive a restart of the hub, Spool.
func DefaultPublisherConfig() PublisherConfig {
	return PublisherConfig{
		BatchEvents: 250, BatchBytes: 512 << 10, Linger: 25 * time.Millisecond,
		QueueBytes: 64 << 20, InFlightBytes: 8 << 20, AckWait: 5 * time.Second,
		SpoolBytes: 1 << 30, DrainTimeout: 2 * time.Second, Compress: true,
		Streams: DefaultStreams(),
	}
}

// Validate says what cannot be.
func (c PublisherConfig) Validate() error {
	switch {
	case c.Node == "":
		return errors.New("publisher: no node")
	case c.BatchEvents < 1 || c.BatchEvents > ingest.MaxBatchEvents:
		return fmt.Errorf("publisher: batch_events %d, want 1 to %d", c.BatchEvents, ingest.MaxBatchEvents)
	case c.BatchBytes < 1<<10 || c.BatchBytes > 1<<20-ingest.MaxEventBytes:
		// NATS takes messages of 1 MiB unless told otherwise; the last event
		// of a batch can go beyond BatchBytes.
		return fmt.Errorf("publisher: batch_bytes %d, want 1 KiB to 768 KiB", c.BatchBytes)
	case c.Linger <= 0 || c.Linger > time.Second:
		return fmt.Errorf("publisher: linger %v, want more than 0 and at most 1s", c.Linger)
	case c.QueueBytes < 4*int64(c.BatchBytes):
		return fmt.Errorf("publisher: queue_bytes %d, want at least four batches", c.QueueBytes)
	case c.InFlightBytes < int64(c.BatchBytes):
		return fmt.Errorf("publisher: in_flight_bytes %d, want at least a batch", c.InFlightBytes)
	case c.AckWait < 100*time.Millisecond:
		return fmt.Errorf("publisher: ack_wait %v, want 100ms or more", c.AckWait)
	case c.Spool != "" && c.SpoolBytes < 4*int64(c.BatchBytes):
		return fmt.Errorf("publisher: spool_bytes %d, want at least four batches", c.SpoolBytes)
	case c.DrainTimeout < 0:
		return fmt.Errorf("publisher: drain_timeout %v is below zero", c.DrainTimeout)
	}
	return c.Streams.Validate()
}

// Publisher sends events to the broker, many in one message. [Publisher.Publish]
// never blocks and does no I/O; [Publisher.Run] does the work.
//
// An event is first in an open batch, then in the window until the broker
// acknowledged its message. When no acknowledgement comes for a second, or the
// memory is half full, messages move to the spool, and come back when there is
// room. When memory and spool are full, events are dropped and counted by hub,
// and one event a hub, eventsDropped, says so when the link is back.
type Publisher struct {
	cfg   PublisherConfig
	nc    *nats.Conn
	js    jetstream.JetStream
	log   *slog.Logger
	m     publisherMetrics
	epoch string
	wake  chan struct{}

	mu      sync.Mutex
	open    []batch // one a partition
	changes batch   // open, too
	ready   []batch
	free    []*ingest.Batch
	queued  int64 // bytes of open, ready and of window's messages without a segment
	dropped map[string]int64
	stopped bool

	ackMu sync.Mutex
	acks  []ack

	status PublisherStatus

	// Owned by Run.
	inbox      string
	counter    uint64     // of message ids
	attempts   uint64     // of keys
	window     []*message // oldest first
	byKey      map[uint64]*message
	inFlight   int64 // bytes sent and not acknowledged
	loaded     int64 // bytes of the window's messages that are in the spool too
	acked      int64 // events
	encoded    []byte
	scratch    []byte
	spool      *spool
	stalled    bool      // no acknowledgement for spillAfter
	spillAt    time.Time // when stalled: next write to the spool
	full       bool      // the spool refused a message
	pauseUntil time.Time // the broker refused a message
	pause      time.Duration
	reconnects uint64
	scanDone   chan scanResult // nil when no scan runs
	scanAt     time.Time
	reportAt   time.Time
}

// batch is a message that is not numbered yet: events that are not encoded
// either, or samples or changes that are.
type batch struct {
	partition int
	events    *ingest.Batch // nil for others, and while there is none
	media     string        // of others
	encoded   []byte
	count     int
	created   time.Time
	links     []trace.SpanContext
}

// size is what the batch counts for in Publisher.queued.
func (b *batch) size() int64 {
	if b.events == nil {
		return int64(len(b.encoded))
	}
	return int64(b.events.Size())
}

// ack is the broker's answer to one attempt.
type ack struct {
	key       uint64
	err       error
	duplicate bool
}

// PublisherStatus is a snapshot for health checks.
type PublisherStatus struct {
	Connected bool
	// Waiting messages in memory and in the spool, and their bytes.
	Waiting, Spooled        int
	QueuedBytes, SpoolBytes int64
	// Acked and Dropped count events since the start.
	Acked, Dropped int64
	// Oldest is when the oldest waiting message was made; zero if none waits.
	Oldest time.Time
}

// spillAfter is how long the oldest message may wait for its acknowledgement
// before all move to the spool, spillEvery how often new ones follow.
const (
	spillAfter = time.Second
	spillEvery = 100 * time.Millisecond
)

// NewPublisher returns a publisher on a connection made by [Server.Connect].
// It opens the spool, and sends nothing before Run.
func NewPublisher(nc *nats.Conn, cfg PublisherConfig, log *slog.Logger) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	p := &Publisher{
		cfg: cfg, nc: nc, js: js, log: log, wake: make(chan struct{}, 1),
		epoch: strconv.FormatInt(time.Now().UnixMilli(), 36) + rand.Text()[:5],
		open:  make([]batch, cfg.Streams.Partitions), dropped: map[string]int64{},
		byKey: map[uint64]*message{}, inbox: nc.NewInbox(),
	}
	if cfg.Spool != "" {
		if p.spool, err = openSpool(cfg.Spool, cfg.SpoolBytes); err != nil {
			return nil, err
		}
		if p.spool.torn > 0 {
			log.Warn("spool has torn records", "segments", p.spool.torn)
		}
		if p.spool.unread > 0 {
			log.Info("spool of an earlier run", "messages", p.spool.unread, "bytes", p.spool.bytes)
		}
	}
	p.m, err = newPublisherMetrics(cfg.Meter, p)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return p, nil
}

// Publish takes a copy of e. It never blocks; when there is no room left the
// event is dropped and counted.
func (p *Publisher) Publish(e *ingest.Event) { p.publish(trace.SpanContext{}, e) }

// PublishContext is Publish for an event of a trace: when its span is sampled,
// the message's producer span continues the trace.
func (p *Publisher) PublishContext(ctx context.Context, e *ingest.Event) {
	p.publish(trace.SpanContextFromContext(ctx), e)
}

// PublishMetrics takes copies of samples and sends them in a message of their
// own, in the way of events.
func (p *Publisher) PublishMetrics(samples []ingest.Metric) {
	if len(samples) == 0 {
		return
	}
	b := batch{media: ingest.ContentTypeMetrics, count: len(samples), created: time.Now()}
	for i := range samples {
		b.encoded = ingest.AppendMetric(b.encoded, &samples[i])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.queued >= p.cfg.QueueBytes {
		p.m.dropped.Add(context.Background(), int64(len(samples)))
		return
	}
	p.queued += b.size()
	p.ready = append(p.ready, b)
	p.kick()
}

// PublishChange takes a copy of what somebody has changed. Like Publish it never
// blocks; those that come together share a message.
func (p *Publisher) PublishChange(c *ingest.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.queued >= p.cfg.QueueBytes {
		p.m.dropped.Add(context.Background(), 1)
		p.log.Error("change is not recorded: no room", "hub", c.Hub, "operation", c.OperationName, "target", c.Target, "actor", c.Actor)
		return
	}
	b := &p.changes
	if b.count == 0 {
		*b = batch{media: ingest.ContentTypeAudit, created: time.Now()}
		p.kick() // to start the linger timer
	}
	before := b.size()
	b.encoded = ingest.AppendChange(b.encoded, c)
	b.count++
	p.queued += b.size() - before
	if b.count >= p.cfg.BatchEvents || b.size() >= int64(p.cfg.BatchBytes) {
		p.ready = append(p.ready, *b)
		*b = batch{}
		p.kick()
	}
}

// maxLinks bounds the traces that one message continues.
const maxLinks = 32

func (p *Publisher) publish(sc trace.SpanContext, e *ingest.Event) {
	part := p.partition(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.open[part]
	if p.stopped || p.queued >= p.cfg.QueueBytes {
		p.dropped[e.Hub]++
		p.m.dropped.Add(context.Background(), 1)
		p.status.Dropped++
		return
	}
	first := b.events == nil
	if first {
		b.partition, b.created = part, time.Now()
		if n := len(p.free); n > 0 {
			b.events, p.free = p.free[n-1], p.free[:n-1]
		} else {
			b.events = new(ingest.Batch)
		}
	}
	before := b.size()
	b.events.Add(e)
	size := b.size()
	p.queued += size - before
	if sc.IsSampled() && len(b.links) < maxLinks {
		b.links = append(b.links, sc)
	}
	if full := b.events.Len() >= p.cfg.BatchEvents || size >= int64(p.cfg.BatchBytes); full {
		p.ready = append(p.ready, *b)
		*b = batch{}
		p.kick()
	} else if first {
		p.kick() // to start the linger timer
	}
}

// partition of an event: all events of a device go the same way.
func (p *Publisher) partition(e *ingest.Event) int {
	if len(p.open) == 1 {
		return 0
	}
	if e.DeviceId == "" {
		return int(crc32.Checksum(e.ConnectionId[:], castagnoli) % uint32(len(p.open)))
	}
	return int(crc32.Checksum([]byte(e.DeviceId), castagnoli) % uint32(len(p.open)))
}

func (p *Publisher) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Status returns a snapshot.
func (p *Publisher) Status() PublisherStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Connected, s.QueuedBytes = p.nc.IsConnected(), p.queued
	return s
}

// Run sends until ctx is done; then it waits for acknowledgements for at most
// DrainTimeout, writes the rest to the spool and returns. Stop what publishes
// before: later events are dropped. Run is called once.
func (p *Publisher) Run(ctx context.Context) error {
	if p.spool != nil {
		defer p.spool.close()
	}
	sub, err := p.nc.Subscribe(p.inbox+".*", p.onAck)
	if err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	defer sub.Unsubscribe()
	changes := p.nc.StatusChanged()
	defer p.nc.RemoveStatusListener(changes)
	ensured := false
	var ensureAt time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	done, deadline := ctx.Done(), time.Time{}
	// What is under way when ctx ends may finish within DrainTimeout.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for {
		select {
		case <-done:
			done = nil
			deadline = time.Now().Add(p.cfg.DrainTimeout)
			p.mu.Lock()
			p.stopped = true
			p.mu.Unlock()
		case <-p.wake:
		case _, ok := <-changes:
			if !ok {
				changes = nil
			}
		case r := <-p.scanDone:
			p.scanned(r)
		case <-timer.C:
		}
		now := time.Now()
		if !ensured && now.After(ensureAt) && p.nc.IsConnected() {
			ensured = p.ensure(ctx)
			ensureAt = time.Now().Add(2 * time.Second)
		}
		next := p.step(ctx, now, !deadline.IsZero())
		if !deadline.IsZero() {
			if p.idle() || !now.Before(deadline) {
				return p.finish()
			}
			next = min(next, time.Until(deadline))
		}
		timer.Reset(max(next, time.Millisecond))
	}
}

func (p *Publisher) ensure(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.cfg.Streams.Ensure(ctx, p.js); err != nil {
		p.log.Warn("streams are not ready", "error", err)
		return false
	}
	return true
}

// step does all that can be done now and returns when to come back.
func (p *Publisher) step(ctx context.Context, now time.Time, draining bool) time.Duration {
	next := p.take(now, draining)
	p.takeAcks(now)
	if n := p.nc.Stats().Reconnects; n != p.reconnects {
		// What was in flight on the old connection has no answer any more.
		p.reconnects = n
		p.pauseUntil = time.Time{}
		for _, m := range p.window {
			if m.inSend {
				m.due = now
			}
		}
	}
	connected := p.nc.IsConnected() && !now.Before(p.pauseUntil)
	if connected {
		if !draining {
			p.load()
		}
		next = min(next, p.send(ctx, now))
	} else if wait := p.pauseUntil.Sub(now); wait > 0 {
		next = min(next, wait)
	}
	next = min(next, p.spill(now))
	if connected && !p.stalled && !draining {
		p.reportDropped(now)
	}
	p.update()
	return next
}

// take moves batches that are full, or old enough, into the window.
func (p *Publisher) take(now time.Time, all bool) time.Duration {
	next := time.Second
	p.mu.Lock()
	cut := func(b *batch) {
		if b.events == nil && b.count == 0 {
			return
		}
		if age := now.Sub(b.created); all || age >= p.cfg.Linger {
			p.ready = append(p.ready, *b)
			*b = batch{}
		} else {
			next = min(next, p.cfg.Linger-age)
		}
	}
	for i := range p.open {
		cut(&p.open[i])
	}
	cut(&p.changes)
	ready := p.ready
	p.ready = nil
	p.mu.Unlock()
	for _, b := range ready {
		p.add(p.message(b))
	}
	return next
}

// message encodes and numbers b, which is counted as queued.
func (p *Publisher) message(b batch) *message {
	p.counter++
	m := &message{
		id:      p.cfg.Node + "/" + p.epoch + "/" + strconv.FormatUint(p.counter, 10),
		subject: eventsSubject + "." + strconv.Itoa(b.partition) + "." + token(p.cfg.Node),
		media:   b.media, events: b.count, created: b.created,
	}
	body := b.encoded
	if b.events != nil {
		m.media, m.events = ingest.ContentTypeBatch, b.events.Len()
		p.encoded = b.events.AppendTo(p.encoded[:0])
		body = p.encoded
	}
	m.trace = p.startTrace(m, b.links, len(body))
	if p.cfg.Compress && len(body) >= compressFrom {
		body = p.compress(m, body)
	}
	m.body = bytes.Clone(body)
	p.mu.Lock()
	p.queued += int64(len(m.body)) - b.size()
	if b.events != nil && len(p.free) < maxFree {
		b.events.Reset()
		p.free = append(p.free, b.events)
	}
	p.mu.Unlock()
	if b.events != nil {
		p.m.batch.Record(context.Background(), int64(m.events))
	}
	return m
}

const (
	// compressFrom is the smallest body that is worth it.
	compressFrom = 512
	// maxFree is how many empty batches are kept for the next events.
	maxFree = 16
)

// compress returns body in the content encoding that it gives m.
func (p *Publisher) compress(m *message, body []byte) []byte {
	if n := s2.MaxEncodedLen(len(body)); cap(p.scratch) < n {
		p.scratch = make([]byte, n)
	}
	small := s2.Encode(p.scratch[:cap(p.scratch)], body)
	if len(small) >= len(body) {
		return body
	}
	m.encoded = encodingS2
	return small
}

// startTrace records the producer span of m and returns its traceparent. A message
// without a sampled event has none: at ten thousand events a second a span for
// each message would be noise.
func (p *Publisher) startTrace(m *message, traces []trace.SpanContext, bytes int) string {
	if len(traces) == 0 || p.cfg.Tracer == nil {
		return ""
	}
	links := make([]trace.Link, len(traces)-1)
	for i, sc := range traces[1:] {
		links[i] = trace.Link{SpanContext: sc}
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), traces[0])
	ctx, span := p.cfg.Tracer.Tracer("hubscope/ingest/stream").Start(ctx, "send "+eventsSubject,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(m.created), trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "send"),
			attribute.String("messaging.operation.type", "send"),
			attribute.String("messaging.destination.name", m.subject),
			attribute.Int("messaging.batch.message_count", m.events),
			attribute.Int("messaging.message.body.size", bytes),
		))
	span.End()
	h := http.Header{}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	return h.Get(headerTrace)
}

// add puts m at the window's end.
func (p *Publisher) add(m *message) {
	p.attempts++
	m.key = p.attempts
	p.byKey[m.key] = m
	p.window = append(p.window, m)
	if m.seg != nil {
		p.loaded += m.size()
	}
}

// remove takes m out of the window; the caller compacts it.
func (p *Publisher) remove(m *message) {
	delete(p.byKey, m.key)
	p.unsend(m)
	if m.seg != nil {
		p.loaded -= m.size()
	} else {
		p.mu.Lock()
		p.queued -= int64(len(m.body))
		p.mu.Unlock()
	}
	m.key = 0
}

func (p *Publisher) unsend(m *message) {
	if m.inSend {
		m.inSend = false
		p.inFlight -= m.size()
	}
}

func (p *Publisher) compact() {
	p.window = slices.DeleteFunc(p.window, func(m *message) bool { return m.key == 0 })
}

// stored ends the life of a message that is in the stream.
func (p *Publisher) stored(m *message) {
	p.remove(m)
	p.spoolAcked(m)
	p.acked += int64(m.events)
	counter := p.m.events
	switch m.media {
	case ingest.ContentTypeMetrics:
		counter = p.m.samples
	case ingest.ContentTypeAudit:
		counter = p.m.changes
	}
	counter.Add(context.Background(), int64(m.events))
	m.body = nil
}

func (p *Publisher) spoolAcked(m *message) {
	if m.seg != nil {
		p.spool.acked(m)
		p.full = false
	}
}

// onAck runs on the connection's goroutine.
func (p *Publisher) onAck(msg *nats.Msg) {
	key, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	a := ack{key: key}
	a.duplicate, a.err = parseAck(msg)
	p.ackMu.Lock()
	p.acks = append(p.acks, a)
	p.ackMu.Unlock()
	p.kick()
}

// parseAck reads the broker's answer to a publish.
func parseAck(msg *nats.Msg) (duplicate bool, err error) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return false, jetstream.ErrNoStreamResponse
	}
	var answer struct {
		Stream    string              `json:"stream"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &answer); {
	case err != nil:
		return false, fmt.Errorf("acknowledgement: %w", err)
	case answer.Error != nil:
		return false, answer.Error
	case answer.Stream == "":
		return false, jetstream.ErrInvalidJSAck
	}
	return answer.Duplicate, nil
}

func (p *Publisher) takeAcks(now time.Time) {
	p.ackMu.Lock()
	acks := p.acks
	p.acks = nil
	p.ackMu.Unlock()
	bg := context.Background()
	for _, a := range acks {
		m := p.byKey[a.key]
		if m == nil {
			continue // late: the message is in the spool, or an earlier attempt was answered
		}
		if a.err != nil {
			p.unsend(m)
			p.m.refused.Add(bg, 1)
			// A full or missing stream refuses the next message as well.
			if p.pause == 0 {
				p.log.Warn("broker refuses events, trying again", "error", a.err)
			}
			p.pause = min(max(2*p.pause, 100*time.Millisecond), 2*time.Second)
			p.pauseUntil = now.Add(p.pause)
			continue
		}
		if p.pause > 0 || p.stalled {
			p.log.Info("broker takes events")
		}
		p.pause, p.pauseUntil, p.stalled = 0, time.Time{}, false
		if a.duplicate {
			p.m.duplicates.Add(bg, 1)
		}
		p.m.ack.Record(bg, now.Sub(m.created).Seconds())
		p.stored(m)
	}
	if len(acks) > 0 {
		p.compact()
	}
}

// load brings spooled messages back while there is room.
func (p *Publisher) load() {
	room := p.cfg.InFlightBytes / 2
	if p.spool == nil || p.spool.unread == 0 || p.loaded >= room {
		return
	}
	ms, err := p.spool.next(room - p.loaded)
	if err != nil {
		p.log.Error("spool cannot be read", "error", err)
	}
	for _, m := range ms {
		p.add(m)
	}
}

// doubtful says that m may be in the stream although no acknowledgement came,
// and that the broker may have forgotten its id.
func (p *Publisher) doubtful(m *message, now time.Time) bool {
	return m.inherited || !m.sent.IsZero() && now.Sub(m.sent) > p.cfg.Streams.Duplicates/2
}

// send publishes what is due, oldest first.
func (p *Publisher) send(ctx context.Context, now time.Time) time.Duration {
	next := time.Second
	var doubtful []*message
	for _, m := range p.window {
		if m.inSend {
			if wait := m.due.Sub(now); wait > 0 {
				next = min(next, wait)
				continue
			}
			p.unsend(m)
			p.m.retries.Add(ctx, 1)
		}
		if p.doubtful(m, now) {
			doubtful = append(doubtful, m)
			continue
		}
		if p.inFlight >= p.cfg.InFlightBytes {
			break
		}
		h := nats.Header{
			jetstream.MsgIDHeader: {m.id},
			headerType:            {m.media},
			headerEvents:          {strconv.Itoa(m.events)},
		}
		if m.encoded != "" {
			h[headerEncoding] = []string{m.encoded}
		}
		if m.trace != "" {
			h[headerTrace] = []string{m.trace}
		}
		err := p.nc.PublishMsg(&nats.Msg{
			Subject: m.subject, Reply: p.inbox + "." + strconv.FormatUint(m.key, 10), Header: h, Data: m.body,
		})
		if errors.Is(err, nats.ErrMaxPayload) {
			// Nothing will make it smaller; the server's limit has to be raised.
			p.log.Error("message is above the server's max_payload", "bytes", len(m.body), "error", err)
			p.pause = 2 * time.Second
			p.pauseUntil = now.Add(p.pause)
			break
		}
		if err != nil {
			break // disconnected
		}
		if m.sent.IsZero() {
			m.sent = now
		}
		m.inSend, m.due = true, now.Add(p.cfg.AckWait)
		p.inFlight += m.size()
		p.m.messages.Add(ctx, 1)
		next = min(next, p.cfg.AckWait)
	}
	if len(doubtful) > 0 && p.scanDone == nil && !now.Before(p.scanAt) {
		p.scanDone = make(chan scanResult, 1)
		go func(out chan<- scanResult) { out <- p.scan(ctx, doubtful) }(p.scanDone)
	}
	return next
}

// scanResult says which of the messages are in the stream.
type scanResult struct {
	messages []*message
	found    map[string]bool
	err      error
}

// scanSlack is how far the hub's clock may be ahead of the broker's.
const scanSlack = time.Hour

// scan looks for messages in the stream by their ids, reading the headers of
// all that this node published since the oldest of them was made. It runs
// beside Run and touches only what does not change.
func (p *Publisher) scan(ctx context.Context, ms []*message) scanResult {
	r := scanResult{messages: ms, found: map[string]bool{}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	want := map[string]bool{}
	start := map[string]time.Time{}
	for _, m := range ms {
		want[m.id] = true
		if t, ok := start[m.subject]; !ok || m.created.Before(t) {
			start[m.subject] = m.created
		}
	}
	for subject, since := range start {
		if r.err = p.scanSubject(ctx, subject, since.Add(-scanSlack), want, r.found); r.err != nil {
			return r
		}
	}
	return r
}

func (p *Publisher) scanSubject(ctx context.Context, subject string, since time.Time, want, found map[string]bool) error {
	name, err := p.js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // nothing is stored
	}
	if err != nil {
		return err
	}
	cons, err := p.js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		FilterSubject: subject, HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	defer p.js.DeleteConsumer(context.WithoutCancel(ctx), name, cons.CachedInfo().Name)
	pending := cons.CachedInfo().NumPending
	for pending > 0 {
		batch, err := cons.Fetch(2000, jetstream.FetchContext(ctx))
		if err != nil {
			return err
		}
		got := 0
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			got, pending = got+1, meta.NumPending
			if id := msg.Headers().Get(jetstream.MsgIDHeader); want[id] {
				found[id] = true
			}
			if pending == 0 {
				return nil
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// scanned takes the result of a scan.
func (p *Publisher) scanned(r scanResult) {
	p.scanDone = nil
	if r.err != nil {
		p.scanAt = time.Now().Add(time.Second)
		p.log.Warn("stream cannot be searched for unacknowledged messages, trying again", "error", r.err)
		return
	}
	for _, m := range r.messages {
		if m.key == 0 {
			continue // went to the spool meanwhile
		}
		if r.found[m.id] {
			p.m.found.Add(context.Background(), 1)
			p.stored(m)
			continue
		}
		m.inherited, m.sent = false, time.Time{}
	}
	p.compact()
	p.log.Info("searched the stream for unacknowledged messages", "messages", len(r.messages), "found", len(r.found))
}

// spill moves messages from memory to the spool when nothing is acknowledged
// or memory runs short.
func (p *Publisher) spill(now time.Time) time.Duration {
	if p.spool == nil {
		return time.Second
	}
	next := time.Second
	var oldest time.Time
	for _, m := range p.window {
		if m.seg == nil {
			oldest = m.created
			break
		}
	}
	if oldest.IsZero() {
		return next
	}
	if wait := oldest.Add(spillAfter).Sub(now); wait > 0 {
		next = min(next, wait)
	} else if !p.stalled {
		p.stalled = true
		p.log.Warn("broker does not acknowledge, events go to the spool", "connected", p.nc.IsConnected(), "waiting", len(p.window))
	}
	p.mu.Lock()
	short := p.queued > p.cfg.QueueBytes/2
	p.mu.Unlock()
	if !short && (!p.stalled || now.Before(p.spillAt)) {
		if p.stalled {
			next = min(next, p.spillAt.Sub(now))
		}
		return next
	}
	p.spillAt = now.Add(spillEvery)
	var ms []*message
	for _, m := range p.window {
		if m.seg == nil && (p.stalled || !m.inSend) {
			ms = append(ms, m)
		}
	}
	p.toSpool(ms, false)
	return next
}

// toSpool writes messages to the spool and forgets those that are there.
func (p *Publisher) toSpool(ms []*message, force bool) (n int) {
	n, err := p.spool.put(ms, force)
	for _, m := range ms[:n] {
		p.remove(m)
	}
	p.compact()
	p.m.spooled.Add(context.Background(), int64(n))
	if err != nil && !p.full {
		p.full = true
		p.log.Error("spool takes no more, events will be dropped when memory is full", "error", err)
	}
	return n
}

// reportDropped publishes one event a hub that tells how many were dropped,
// once there is room again.
func (p *Publisher) reportDropped(now time.Time) {
	p.mu.Lock()
	if len(p.dropped) == 0 || p.queued > p.cfg.QueueBytes/2 || now.Before(p.reportAt) {
		p.mu.Unlock()
		return
	}
	dropped := p.dropped
	p.dropped = map[string]int64{}
	p.mu.Unlock()
	p.reportAt = now.Add(5 * time.Second)
	for hub, n := range dropped {
		p.log.Error("events were dropped", "hub", hub, "events", n)
		p.Publish(p.droppedEvent(now, hub, n))
	}
}

func (p *Publisher) droppedEvent(now time.Time, hub string, n int64) *ingest.Event {
	return &ingest.Event{
		TimeGenerated: now, Hub: hub, Node: p.cfg.Node, OperationName: ingest.EventsDropped,
		Category: ingest.CategoryConnections, Level: ingest.Error, Messages: n,
		ResultDescription: fmt.Sprintf("%d events were dropped: broker away, memory and spool full", n),
	}
}

// idle says that memory holds nothing that is not on its way for good.
func (p *Publisher) idle() bool {
	return !slices.ContainsFunc(p.window, func(m *message) bool { return m.seg == nil })
}

// finish writes what is left to the spool.
func (p *Publisher) finish() error {
	var rest []*message
	for _, m := range p.window {
		if m.seg == nil {
			rest = append(rest, m)
		}
	}
	p.mu.Lock()
	dropped := p.dropped
	p.dropped = map[string]int64{}
	p.mu.Unlock()
	defer p.update()
	if p.spool != nil {
		rest = rest[p.toSpool(rest, false):]
		b := batch{events: new(ingest.Batch), created: time.Now()}
		for hub, n := range dropped {
			b.events.Add(p.droppedEvent(b.created, hub, n))
		}
		if b.events.Len() > 0 {
			m := p.message(b)
			if _, err := p.spool.put([]*message{m}, true); err != nil {
				rest = append(rest, m)
			}
		}
	} else if len(dropped) > 0 {
		p.log.Error("events were dropped", "hubs", dropped)
	}
	lost := 0
	for _, m := range rest {
		lost += m.events
	}
	if lost > 0 {
		return fmt.Errorf("publisher: %d events neither acknowledged nor spooled", lost)
	}
	return nil
}

// update publishes the numbers of Status.
func (p *Publisher) update() {
	var oldest time.Time
	if len(p.window) > 0 {
		oldest = p.window[0].created
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Waiting, p.status.Acked, p.status.Oldest = len(p.window), p.acked, oldest
	if p.spool != nil {
		p.status.SpoolBytes, p.status.Spooled = p.spool.bytes, 0
		for _, seg := range p.spool.segs {
			p.status.Spooled += seg.records - seg.done
		}
	}
}
