package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"hubscope/ingest/stream"
)

// Collector moves events from JetStream to ClickHouse.
type Collector struct {
	cfg    Config
	schema Schema
	log    *slog.Logger
	tracer trace.Tracer
	m      metrics
	parts  []*part
	ready  chan struct{}
	once   sync.Once
}

// part collects one stream.
type part struct {
	stream  string
	pending atomic.Uint64

	mu     sync.Mutex
	status Status
	source *stream.Source
	lease  *stream.Lease
	firsts map[*block]time.Time // when their first messages came into the stream
}

// Status of one stream, for health checks.
type Status struct {
	Stream string
	// Connected to NATS; Active when this process is the one that collects.
	Connected, Active bool
	// Floor is the last message stored, Pending how many wait behind what was
	// read last.
	Floor, Pending uint64
	// Backlog is how many messages of the stream are not stored, Oldest when the
	// first of them that was read came into the stream; zero when all are stored.
	Backlog uint64
	Oldest  time.Time
	// Rows and Blocks stored, and Letters written, since the start.
	Rows, Blocks, Letters int64
	// Replayed messages came twice from the broker and were dropped, Missed ones
	// were removed from the stream before they were read; Rewound counts how
	// often the stream had lost its end. All but the first should stay 0.
	Replayed, Missed, Rewound int64
	// Retrying is the error of an insert that is being repeated; nil if none is.
	Retrying error
	// Stored is when the last block was stored.
	Stored time.Time
}

// New checks the configuration. It connects to nothing.
func New(cfg Config, log *slog.Logger) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	conn, schema, err := cfg.ClickHouse.open()
	if err != nil {
		return nil, err
	}
	conn.Close()
	c := &Collector{cfg: cfg, schema: schema, log: log, ready: make(chan struct{})}
	if c.cfg.Tracer == nil {
		c.cfg.Tracer = noop.NewTracerProvider()
	}
	c.tracer = c.cfg.Tracer.Tracer("hubscope/collector")
	for _, name := range cfg.streams() {
		c.parts = append(c.parts, &part{stream: name, status: Status{Stream: name}})
	}
	if c.m, err = newMetrics(cfg.Meter, c); err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	return c, nil
}

// Ready is closed when the tables are there and the first stream is owned, by
// this collector or by another.
func (c *Collector) Ready() <-chan struct{} { return c.ready }

// Status returns a snapshot of every stream.
func (c *Collector) Status() []Status {
	out := make([]Status, len(c.parts))
	for i, p := range c.parts {
		p.mu.Lock()
		out[i] = p.status
		out[i].Pending = p.pending.Load()
		out[i].Connected = p.source != nil && p.source.Connected()
		if p.lease != nil {
			out[i].add(p.lease)
			out[i].Backlog = p.lease.Backlog()
		}
		for _, first := range p.firsts {
			if out[i].Oldest.IsZero() || first.Before(out[i].Oldest) {
				out[i].Oldest = first
			}
		}
		p.mu.Unlock()
	}
	return out
}

// add adds what a lease knows.
func (s *Status) add(l *stream.Lease) {
	n := l.Counters()
	s.Floor = l.Position().Floor
	s.Replayed += n.Replayed
	s.Missed += n.Missed
	s.Rewound += n.Rewound
}

// Run migrates, then collects until ctx is done. It outlasts the absence of
// NATS and ClickHouse, also at the start. When it is stopped it stores what it
// has read, for at most StopTimeout, and gives the streams free.
func (c *Collector) Run(ctx context.Context) error {
	if c.cfg.Migrate {
		if err := c.migrate(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range c.parts {
		g.Go(func() error { return c.collect(ctx, p) })
	}
	return g.Wait()
}

// migrate tries until ClickHouse is there and lets us.
func (c *Collector) migrate(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		once, cancel := context.WithTimeout(ctx, time.Minute)
		m, err := c.cfg.ClickHouse.Migrate(once)
		cancel()
		switch {
		case err == nil:
			if m.From != m.To {
				c.log.Info("tables migrated", "from", m.From, "to", m.To, "tables", m.Tables)
			}
			return nil
		case isHopeless(err):
			return err
		case ctx.Err() != nil:
			return nil
		}
		c.log.Warn("tables are not ready, trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// collect owns a stream, or waits for it, until ctx is done.
func (c *Collector) collect(ctx context.Context, p *part) error {
	src, err := stream.OpenSource(c.cfg.NATS, p.stream, c.log)
	if err != nil {
		return err
	}
	defer src.Close()
	p.mu.Lock()
	p.source = src
	p.mu.Unlock()
	ready := func() { c.once.Do(func() { close(c.ready) }) }
	for {
		lease, err := src.Acquire(ctx, ready)
		if err != nil {
			return nil // ctx is done
		}
		ready()
		p.mu.Lock()
		p.lease, p.status.Active = lease, true
		p.mu.Unlock()
		err = c.drain(ctx, p, lease)
		p.mu.Lock()
		p.lease, p.firsts, p.status.Active = nil, nil, false
		p.status.add(lease)
		p.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, stream.ErrFenced) {
			c.m.fenced.Add(ctx, 1, streamOf(p.stream))
			c.log.Warn("another collector took over, waiting", "stream", p.stream)
			continue
		}
		c.log.Error("collecting stopped, starting again", "stream", p.stream, "error", err)
	}
}

// drain collects under one lease until ctx is done or the lease is lost.
func (c *Collector) drain(ctx context.Context, p *part, lease *stream.Lease) error {
	// Storing goes on for StopTimeout when ctx is done.
	storing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(c.cfg.StopTimeout, cancel) })
	defer stop()
	var err error
	for {
		err = c.pipeline(ctx, storing, p, lease)
		if !errors.Is(err, stream.ErrRewound) || ctx.Err() != nil {
			break
		}
		// All that was read before is stored now.
		if err = lease.Rewind(ctx); err != nil {
			break
		}
	}
	if e := lease.Release(storing); e != nil && ctx.Err() != nil {
		c.log.Warn("stream is not given free, a successor has to find out", "stream", p.stream, "error", e)
	}
	return err
}

// blocksInFlight is how many blocks there are: one is filled while another is
// inserted.
const blocksInFlight = 2

// pipeline reads and decodes in one goroutine and stores in another, until ctx
// is done or either fails. What was read is stored before it returns, unless
// storing fails or is done.
func (c *Collector) pipeline(ctx, storing context.Context, p *part, lease *stream.Lease) error {
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	l := &line{
		full: make(chan *block), free: make(chan *block, blocksInFlight), stopped: make(chan struct{}),
	}
	p.mu.Lock()
	p.firsts = map[*block]time.Time{}
	p.mu.Unlock()
	known := &certSet{}
	for range blocksInFlight {
		b := newBlock()
		b.decoder.maxAge, b.decoder.known = c.cfg.MaxEventAge, known
		l.free <- b
	}
	var g errgroup.Group
	g.Go(func() error {
		defer close(l.full)
		return c.read(reading, p, lease, l)
	})
	g.Go(func() error {
		defer stopReading()
		defer close(l.stopped)
		return c.store(storing, p, lease, l)
	})
	return g.Wait()
}

// line connects the two goroutines of a pipeline.
type line struct {
	full    chan *block // to be stored
	free    chan *block
	stopped chan struct{} // closed when nothing more is stored
}

// send hands a block over; it may be refused when storing has stopped.
func (l *line) send(b *block) {
	select {
	case l.full <- b:
	case <-l.stopped:
	}
}

// maxBlockBytes bounds a block whose events are unusually large, below the size
// at which ClickHouse would cut it (min_insert_block_size_bytes, 256 MiB).
const maxBlockBytes = 192 << 20

// backlogLinger times Linger is how long a block may take while messages wait.
const backlogLinger = 5

// read fills blocks. It cuts the first ones at the bounds that were recorded
// before a crash, whatever their size.
func (c *Collector) read(ctx context.Context, p *part, lease *stream.Lease, l *line) error {
	recorded := lease.Position().Blocks
	var next *stream.Message // read, and for the next block
	for {
		var b *block
		select {
		case b = <-l.free:
			b.reset()
		case <-ctx.Done():
			return nil
		}
		var bounds *stream.Block
		if len(recorded) > 0 {
			bounds = &recorded[0]
		}
		full, rest, err := c.fill(ctx, p, lease, b, bounds, next)
		next = rest
		if full {
			l.send(b)
			if bounds != nil {
				recorded = recorded[1:]
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// fill adds messages to b, first is the first if there is one, until b is full
// by size or age, or has all of the recorded bounds. When reading ends before
// that, what is there may be stored (full), but not a part of recorded bounds.
// rest is a message that was read and belongs to the next block.
func (c *Collector) fill(ctx context.Context, p *part, lease *stream.Lease, b *block, recorded *stream.Block, first *stream.Message) (full bool, rest *stream.Message, err error) {
	var since time.Time
	var pending uint64
	m := first
	for {
		if m == nil {
			wait := 250 * time.Millisecond // to see that ctx is done
			if !since.IsZero() {
				wait = max(min(wait, time.Until(since.Add(c.cfg.Linger))), time.Millisecond)
			}
			m, err = lease.Next(ctx, wait)
			if err != nil && !errors.Is(err, stream.ErrNoMessage) {
				return recorded == nil && b.bounds.First != 0, nil, err
			}
		}
		if m != nil {
			if recorded != nil && m.Seq > recorded.Last {
				// The end of the block is gone from the stream.
				b.bounds = *recorded
				return true, m, nil
			}
			if since.IsZero() {
				since = time.Now()
				p.begun(b, m.Time)
			}
			b.add(m)
			pending = m.Pending
			p.pending.Store(pending)
		}
		switch {
		case recorded != nil:
			if m != nil && m.Seq == recorded.Last {
				b.bounds = *recorded
				return true, nil, nil
			}
		case b.events.rows >= c.cfg.BlockRows, b.events.bytes() >= maxBlockBytes:
			return true, nil, nil
		case !since.IsZero():
			// A backlog is stored soonest in blocks of full size.
			if age := time.Since(since); age >= c.cfg.Linger && (pending == 0 || age >= backlogLinger*c.cfg.Linger) {
				return true, nil, nil
			}
		}
		m = nil
	}
}

// store records, inserts and ticks off one block after the other.
func (c *Collector) store(ctx context.Context, p *part, lease *stream.Lease, l *line) error {
	w := &inserter{store: c.cfg.ClickHouse, database: c.schema.Database}
	defer w.close()
	for b := range l.full {
		if err := c.storeBlock(ctx, p, lease, w, b); err != nil {
			return err
		}
		select {
		case l.free <- b:
		default:
			panic("more blocks than there are")
		}
	}
	return nil
}

func (c *Collector) storeBlock(ctx context.Context, p *part, lease *stream.Lease, w *inserter, b *block) (err error) {
	start := time.Now()
	ctx, span := c.startSpan(ctx, p, b)
	defer func() {
		if err != nil {
			span.RecordError(err)
		}
		span.End()
	}()
	if b.rows() > 0 {
		if err := lease.Begin(ctx, b.bounds); err != nil {
			return err
		}
	}
	for _, letter := range b.letters {
		if err := lease.DeadLetter(ctx, &letter.message, letter.reason, letter.bad, letter.encoded); err != nil {
			return err
		}
		c.log.Warn("dead letter", "stream", p.stream, "stream_seq", letter.message.Seq, "reason", letter.reason)
	}
	w.retries = func(err error) {
		c.m.retries.Add(ctx, 1, streamOf(p.stream))
		p.retrying(err)
		c.log.Warn("block is not stored, trying again", "stream", p.stream, "first", b.bounds.First, "last", b.bounds.Last, "error", err)
	}
	if err := w.block(ctx, b, lease.Token(b.bounds)); err != nil {
		return err
	}
	lease.Done(b.bounds)
	p.stored(b)
	c.m.block(ctx, p.stream, b, time.Since(start))
	return nil
}

// startSpan begins the span of one block. A block holds the events of many
// traces, so it links to them.
func (c *Collector) startSpan(ctx context.Context, p *part, b *block) (context.Context, trace.Span) {
	links := make([]trace.Link, len(b.links))
	for i, sc := range b.links {
		links[i] = trace.Link{SpanContext: sc}
	}
	return c.tracer.Start(ctx, "process "+p.stream, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", p.stream),
			attribute.Int64("messaging.batch.message_count", int64(b.bounds.Last-b.bounds.First+1)),
			attribute.String("db.system.name", "clickhouse"),
			attribute.String("db.namespace", c.schema.Database),
			attribute.String("db.collection.name", "Connections"),
			attribute.String("db.operation.name", "INSERT"),
			attribute.Int("db.operation.batch.size", b.events.rows),
		))
}

func (p *part) retrying(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Retrying = err
}

// begun says when the first message of b came into the stream.
func (p *part) begun(b *block, first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.firsts[b] = first
}

func (p *part) stored(b *block) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.firsts, b)
	p.status.Rows += int64(b.events.rows)
	p.status.Blocks++
	p.status.Letters += int64(len(b.letters))
	p.status.Stored = time.Now()
	p.status.Retrying = nil
}
