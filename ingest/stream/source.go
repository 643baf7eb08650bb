package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// positionBucket is the key-value bucket of the positions, one key a stream.
const positionBucket = "COLLECTOR"

// Position is the record, in JSON, of how far a stream has been stored. It is
// only ever replaced by compare-and-set: whoever replaced it last owns the
// stream, and everybody else's next attempt fails.
type Position struct {
	// Owner is who consumes the stream; empty when released.
	Owner string `json:"owner"`
	// Beat rises with every write of an owner, so that a waiting collector can
	// see life without comparing clocks.
	Beat uint64 `json:"beat"`
	// Incarnation names the sequence numbers: the stream's creation time and a
	// generation that rises when the stream was found to have gone back.
	Incarnation string `json:"incarnation"`
	// Floor is the last message below which all are stored; FloorTime its time.
	Floor     uint64    `json:"floor"`
	FloorTime time.Time `json:"floor_time"`
	// Blocks are being stored, in order; the first begins above Floor.
	Blocks []Block `json:"blocks"`
}

// Block is the bounds of the messages that are stored by one insert.
type Block struct {
	First     uint64    `json:"first"`
	Last      uint64    `json:"last"`
	FirstTime time.Time `json:"first_time"`
	LastTime  time.Time `json:"last_time"`
}

// Message is one message of an events stream.
type Message struct {
	Seq     uint64
	Time    time.Time // when the stream stored it
	Subject string
	Header  nats.Header
	Data    []byte
	// Pending is how many messages are behind it in the stream.
	Pending uint64
}

// ContentType is the type of Data.
func (m *Message) ContentType() string {
	if t := m.Header.Get(headerType); t != "" {
		return t
	}
	return m.Header.Get("content-type") // NATS does not fold case
}

// Events is how many events the producer says are in the message; 0 when it does
// not say.
func (m *Message) Events() int {
	n, err := strconv.Atoi(m.Header.Get(headerEvents))
	if err != nil || n < 0 || n > maxClaimed {
		return 0
	}
	return n
}

// maxClaimed is the most events that a message of the greatest size could have.
const maxClaimed = 1 << 20

// maxBody bounds what a message may be decompressed to.
const maxBody = 64 << 20

// Body returns Data without its Content-Encoding, in buf if it fits.
func (m *Message) Body(buf []byte) ([]byte, error) {
	switch e := m.Header.Get(headerEncoding); e {
	case "", "identity":
		return m.Data, nil
	case encodingS2, "snappy":
		n, err := s2.DecodedLen(m.Data)
		if err != nil {
			return nil, fmt.Errorf("content encoding %s: %w", e, err)
		}
		if n > maxBody {
			return nil, fmt.Errorf("content encoding %s: %d bytes, at most %d", e, n, maxBody)
		}
		b, err := s2.Decode(buf[:cap(buf)], m.Data)
		if err != nil {
			return nil, fmt.Errorf("content encoding %s: %w", e, err)
		}
		return b, nil
	default:
		return nil, fmt.Errorf("content encoding %q is unknown; want s2, snappy or none", e)
	}
}

// SpanContext is the producer's, if the message continues a trace.
func (m *Message) SpanContext() trace.SpanContext {
	if m.Header.Get(headerTrace) == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(http.Header(m.Header)))
	return trace.SpanContextFromContext(ctx)
}

// Errors that a consumer of a [Lease] has to tell apart.
var (
	// ErrFenced: another collector owns the stream now. Insert nothing more.
	ErrFenced = errors.New("another collector owns the stream")
	// ErrRewound: the stream lost messages that were read already, and uses
	// their numbers again. Store what was read, then call [Lease.Rewind].
	ErrRewound = errors.New("the stream has gone back")
	// ErrNoMessage: none came in time.
	ErrNoMessage = errors.New("no message")
)

// SourceConfig is the configuration of a [Source].
type SourceConfig struct {
	Server  Server  `yaml:"server"`
	Streams Streams `yaml:"streams"`
	// LeaseTTL is how long an owner may be silent, while its connection lives,
	// before another collector takes over.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
}

// DefaultSourceConfig returns what lacks only the server's URL.
func DefaultSourceConfig() SourceConfig {
	return SourceConfig{Streams: DefaultStreams(), LeaseTTL: 10 * time.Second}
}

// Validate says what cannot be.
func (c SourceConfig) Validate() error {
	if c.LeaseTTL < 500*time.Millisecond {
		return fmt.Errorf("source: lease_ttl %v, want 500ms or more", c.LeaseTTL)
	}
	return errors.Join(c.Server.Validate(), c.Streams.Validate())
}

// Source reads one events stream, in order, for the one process that holds its
// [Lease].
type Source struct {
	cfg    SourceConfig
	stream string
	owner  string
	log    *slog.Logger
	// A big delivery must not hold up the writing of positions, so these are
	// two connections.
	data, ctl     *nats.Conn
	dataJS, ctlJS jetstream.JetStream
	alive         *nats.Subscription

	// last is the newest position that this process wrote, in case the bucket
	// went back too.
	last *Position
}

// OpenSource connects to NATS, which need not be there yet.
func OpenSource(cfg SourceConfig, stream string, log *slog.Logger) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	s := &Source{
		cfg: cfg, stream: stream, log: log.With("stream", stream),
		owner: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:10]),
	}
	var err error
	if s.data, err = cfg.Server.Connect("collector "+stream, log); err != nil {
		return nil, err
	}
	if s.ctl, err = cfg.Server.Connect("collector position "+stream, log); err != nil {
		s.Close()
		return nil, err
	}
	if s.dataJS, err = jetstream.New(s.data); err == nil {
		s.ctlJS, err = jetstream.New(s.ctl)
	}
	if err == nil {
		// As long as somebody listens here, this process lives.
		s.alive, err = s.ctl.Subscribe(s.aliveSubject(s.owner), func(m *nats.Msg) { m.Respond(nil) })
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("source %s: %w", stream, err)
	}
	return s, nil
}

// Close ends the connections.
func (s *Source) Close() {
	for _, nc := range []*nats.Conn{s.data, s.ctl} {
		if nc != nil {
			nc.Close()
		}
	}
}

// Connected says whether both connections are up.
func (s *Source) Connected() bool { return s.data.IsConnected() && s.ctl.IsConnected() }

func (s *Source) aliveSubject(owner string) string {
	return "hubscope.collector." + s.stream + "." + token(owner)
}

// requestTimeout bounds one request to JetStream.
const requestTimeout = 5 * time.Second

// Lease is the right to consume a stream and to move its position. All methods
// but Lost and Position are for one goroutine.
type Lease struct {
	s      *Source
	kv     jetstream.KeyValue
	stream jetstream.Stream

	// writing is held while the record is replaced, which can last as long as
	// the broker is away; mu never is, so that Position always answers.
	writing sync.Mutex
	mu      sync.Mutex
	pos     Position // as written
	done    Block    // stored since then; zero if none
	rev     uint64
	wrote   time.Time

	stop    context.CancelFunc // of beat
	stopped chan struct{}
	lost    context.Context
	lose    context.CancelFunc

	// Of the consumer, for the goroutine that calls Next.
	feed     *feed
	seen     uint64 // last message handed out, or the floor
	seenTime time.Time
	consumed uint64 // the consumer's own sequence number

	replayed, missed, rewound atomic.Int64
	end                       atomic.Uint64 // last message that the stream is known to have
}

// Counters of a lease since Acquire.
type Counters struct {
	// Replayed messages were delivered a second time and dropped here.
	Replayed int64
	// Missed messages were removed from the stream before they were read.
	Missed int64
	// Rewound counts how often the stream was found to have gone back.
	Rewound int64
}

// Acquire waits until this process owns the stream. It makes what is missing:
// streams and the bucket. When another process owns it, waiting is called once,
// unless nil.
func (s *Source) Acquire(ctx context.Context, waiting func()) (*Lease, error) {
	var seen struct {
		rev    uint64
		since  time.Time
		silent int
	}
	told := false
	for wait := time.Duration(0); ; wait = 250 * time.Millisecond {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		l, owner, err := s.tryAcquire(ctx, func(rev uint64, owner string) bool {
			if rev != seen.rev {
				seen.rev, seen.since, seen.silent = rev, time.Now(), 0
			}
			if time.Since(seen.since) >= s.cfg.LeaseTTL {
				return true
			}
			// Nobody listens on the owner's subject when its connection is
			// gone. Ask twice: after a restart of the server it may be about
			// to come back. If it lives all the same, it will be fenced.
			ask, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			if _, err := s.ctl.RequestWithContext(ask, s.aliveSubject(owner), nil); errors.Is(err, nats.ErrNoResponders) {
				seen.silent++
			} else {
				seen.silent = 0
			}
			return seen.silent >= 2
		})
		switch {
		case l != nil:
			s.log.Info("stream acquired", "floor", l.pos.Floor, "recorded_blocks", len(l.pos.Blocks), "incarnation", l.pos.Incarnation)
			return l, nil
		case err != nil && ctx.Err() == nil:
			if s.ctl.IsConnected() {
				s.log.Warn("stream cannot be acquired yet", "error", err)
			}
			wait = time.Second
		case owner != "" && !told:
			told = true
			s.log.Info("another collector owns the stream, waiting", "owner", owner)
			if waiting != nil {
				waiting()
			}
		}
	}
}

// tryAcquire makes one attempt. It returns the owner when that is another.
func (s *Source) tryAcquire(ctx context.Context, gone func(rev uint64, owner string) bool) (*Lease, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	if err := s.cfg.Streams.Ensure(ctx, s.ctlJS); err != nil {
		return nil, "", err
	}
	kv, err := s.ctlJS.KeyValue(ctx, positionBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = s.ctlJS.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: positionBucket, Description: "how far the collectors are", Storage: jetstream.FileStorage,
			History: 1, Replicas: s.cfg.Streams.Replicas,
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("bucket %s: %w", positionBucket, err)
	}
	l := &Lease{s: s, kv: kv, stopped: make(chan struct{})}
	if l.stream, err = s.dataJS.Stream(ctx, s.stream); err != nil {
		return nil, "", fmt.Errorf("stream %s: %w", s.stream, err)
	}
	switch entry, err := kv.Get(ctx, s.stream); {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return nil, "", fmt.Errorf("position: %w", err)
	default:
		if err := json.Unmarshal(entry.Value(), &l.pos); err != nil {
			return nil, "", fmt.Errorf("position is damaged, refusing to guess: %w", err)
		}
		l.rev = entry.Revision()
		if owner := l.pos.Owner; owner != "" && owner != s.owner && !gone(l.rev, owner) {
			return nil, owner, nil
		}
		if s.last != nil && l.pos.Owner == s.owner && l.pos.Beat < s.last.Beat {
			// The bucket went back to an older record of ours, in a power cut
			// without sync. Nobody wrote since, so memory is right.
			s.log.Error("position has gone back, using the one in memory", "floor", l.pos.Floor, "in_memory", s.last.Floor)
			l.pos = *s.last
		}
	}
	l.lost, l.lose = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.write(ctx, func(p *Position) { p.Owner = s.owner }); err != nil {
		if errors.Is(err, ErrFenced) {
			return nil, "another", nil
		}
		return nil, "", err
	}
	if err := l.inspect(ctx); err != nil {
		return nil, "", err
	}
	l.seen, l.seenTime = l.pos.Floor, l.pos.FloorTime
	beat, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.beat(beat)
	return l, "", nil
}

// write replaces the record by compare-and-set. It tries until ctx is done or
// the lease is lost.
func (l *Lease) write(ctx context.Context, change func(*Position)) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.lost.Err() != nil {
		return ErrFenced
	}
	l.mu.Lock()
	next, done, last := l.current(), l.done, l.rev
	l.mu.Unlock()
	change(&next)
	next.Beat++
	value, err := json.Marshal(&next)
	if err != nil {
		return err
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		rev, err := l.kv.Update(once, l.s.stream, value, last)
		if err == nil {
			cancel()
			l.adopt(next, done, rev)
			return nil
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			// Another owner, or an attempt of ours whose answer was lost.
			entry, getErr := l.kv.Get(once, l.s.stream)
			switch {
			case getErr != nil:
			case bytes.Equal(entry.Value(), value):
				cancel()
				l.adopt(next, done, entry.Revision())
				return nil
			case entry.Revision() != last:
				cancel()
				l.lose()
				return ErrFenced
			}
		}
		cancel()
		select {
		case <-ctx.Done():
			return fmt.Errorf("write position: %w", err)
		case <-time.After(wait):
		}
	}
}

// adopt takes over what was written; done was in it.
func (l *Lease) adopt(p Position, done Block, rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pos, l.rev, l.wrote = p, rev, time.Now()
	if l.done == done {
		l.done = Block{}
	}
	l.s.last = &p
}

// current is the position with what is stored since it was written; the caller
// holds mu.
func (l *Lease) current() Position {
	p := l.pos
	p.Blocks = slices.Clone(p.Blocks)
	if l.done.Last > 0 {
		p.Blocks = slices.DeleteFunc(p.Blocks, func(x Block) bool { return x.Last <= l.done.Last })
		p.Floor, p.FloorTime = l.done.Last, l.done.LastTime
	}
	return p
}

// beat shows life while nothing is written, measures, and purges what is stored.
func (l *Lease) beat(ctx context.Context) {
	defer close(l.stopped)
	tick := time.NewTicker(l.s.cfg.LeaseTTL / 3)
	defer tick.Stop()
	purge := time.Now().Add(purgeEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.lost.Done():
			return
		case now := <-tick.C:
			l.mu.Lock()
			quiet := now.Sub(l.wrote) > l.s.cfg.LeaseTTL/4
			l.mu.Unlock()
			if quiet {
				if err := l.write(ctx, func(*Position) {}); err != nil && ctx.Err() == nil {
					l.s.log.Warn("lease is lost", "error", err)
				}
			}
			l.measure(ctx)
			if now.After(purge) {
				purge = now.Add(purgeEvery)
				if err := l.purge(ctx); err != nil && ctx.Err() == nil {
					l.s.log.Warn("stored messages cannot be purged", "error", err)
				}
			}
		}
	}
}

const purgeEvery = 30 * time.Second

// purge removes stored messages that are older than Keep, or older than two
// duplicates windows when the stream is more than half full.
func (l *Lease) purge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	stream, err := l.s.ctlJS.Stream(ctx, l.s.stream)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	keep := l.s.cfg.Streams.Keep
	if limit := info.Config.MaxBytes; limit > 0 && info.State.Bytes > uint64(limit)/2 {
		keep = 2 * l.s.cfg.Streams.Duplicates
	}
	now := time.Now()
	if info.State.Msgs == 0 || now.Sub(info.State.FirstTime) < keep+keep/10 {
		return nil
	}
	l.mu.Lock()
	end := l.pos.Floor + 1 // as written
	l.mu.Unlock()
	if first, ok, err := firstAfter(ctx, stream, now.Add(-keep)); err != nil {
		return err
	} else if ok {
		end = min(end, first)
	}
	if end <= info.State.FirstSeq {
		return nil
	}
	return stream.Purge(ctx, jetstream.WithPurgeSequence(end))
}

// firstAfter returns the first message stored after t.
func firstAfter(ctx context.Context, stream jetstream.Stream, t time.Time) (seq uint64, ok bool, err error) {
	t = t.Add(1)
	cons, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return 0, false, err
	}
	defer stream.DeleteConsumer(context.WithoutCancel(ctx), cons.CachedInfo().Name)
	if cons.CachedInfo().NumPending == 0 {
		return 0, false, nil
	}
	msg, err := cons.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return 0, false, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return 0, false, err
	}
	return meta.Sequence.Stream, true, nil
}

// incarnation is the part of a Position's that comes from the stream.
func incarnation(info *jetstream.StreamInfo) string {
	return strconv.FormatInt(info.Created.UnixMicro(), 36)
}

// inspect compares the position with the stream at the start.
func (l *Lease) inspect(ctx context.Context) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream info: %w", err)
	}
	created := incarnation(info)
	pos := l.Position()
	of, generation, _ := strings.Cut(pos.Incarnation, ".")
	if of != created {
		if pos.Incarnation != "" {
			l.rewound.Add(1)
			l.s.log.Error("the stream was deleted and made anew since its position was recorded, starting at its beginning",
				"floor", pos.Floor, "recorded", pos.Incarnation, "now", created)
		}
		return l.write(ctx, func(p *Position) {
			p.Incarnation, p.Floor, p.FloorTime, p.Blocks = created+".0", 0, time.Time{}, nil
		})
	}
	if floor, back, err := l.wentBack(ctx, info, pos.Floor, pos.FloorTime); err != nil {
		return err
	} else if back {
		return l.rebase(ctx, created, generation, floor)
	}
	// The messages of recorded blocks must be those that were recorded.
	for i, b := range pos.Blocks {
		if info.State.FirstSeq > b.Last {
			l.missed.Add(int64(b.Last - b.First + 1))
			l.s.log.Error("messages of a recorded block were removed by age; if the block was not stored, they are lost", "first", b.First, "last", b.Last)
			if err := l.write(ctx, func(p *Position) {
				p.Floor, p.FloorTime, p.Blocks = b.Last, b.LastTime, slices.Clone(pos.Blocks[i+1:])
			}); err != nil {
				return err
			}
			continue
		}
		same, err := l.same(ctx, b.First, b.FirstTime)
		if err == nil && same {
			same, err = l.same(ctx, b.Last, b.LastTime)
		}
		if err != nil {
			return err
		}
		if !same {
			// The floor is where it was, so what is above it now is new. Its
			// tokens differ from the recorded ones by the times.
			l.rewound.Add(1)
			l.s.log.Error("the stream has gone back: messages of a recorded block are gone; if the block was not stored, they are lost",
				"first", b.First, "last", b.Last, "stream_last", info.State.LastSeq)
			return l.write(ctx, func(p *Position) {
				p.Blocks = slices.DeleteFunc(p.Blocks, func(x Block) bool { return x.First >= b.First })
			})
		}
	}
	return nil
}

// same says whether message seq is the one that was stored at t, as far as can
// be told: one that was removed may have been it.
func (l *Lease) same(ctx context.Context, seq uint64, t time.Time) (bool, error) {
	m, err := l.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		info, err := l.stream.Info(ctx)
		return err == nil && info.State.LastSeq >= seq, err
	}
	if err != nil {
		return false, fmt.Errorf("message %d: %w", seq, err)
	}
	return m.Time.Equal(t), nil
}

// rebase begins a new generation of sequence numbers above floor.
func (l *Lease) rebase(ctx context.Context, created, generation string, floor uint64) error {
	n, _ := strconv.Atoi(generation)
	l.rewound.Add(1)
	l.s.log.Error("the stream has gone back: the broker lost messages that it had acknowledged (is sync_interval set to always?)",
		"recorded", l.Position().Floor, "now", floor)
	return l.write(ctx, func(p *Position) {
		p.Incarnation, p.Floor, p.FloorTime, p.Blocks = created+"."+strconv.Itoa(n+1), floor, time.Time{}, nil
	})
}

// wentBack says whether message seq, stored at t, is not in the stream's past
// any more, and the floor to go on from: messages stored later than t are new,
// whatever their number.
func (l *Lease) wentBack(ctx context.Context, info *jetstream.StreamInfo, seq uint64, t time.Time) (floor uint64, back bool, err error) {
	if seq == 0 || t.IsZero() {
		return 0, seq > info.State.LastSeq, nil
	}
	if seq <= info.State.LastSeq {
		switch m, err := l.stream.GetMsg(ctx, seq); {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if info.State.FirstSeq > seq {
				return 0, false, nil // purged
			}
		case err != nil:
			return 0, false, fmt.Errorf("message %d: %w", seq, err)
		case m.Time.Equal(t):
			return 0, false, nil
		}
	}
	first, found, err := firstAfter(ctx, l.stream, t)
	switch {
	case err != nil:
		return 0, false, err
	case !found:
		// A purge of everything leaves the number of the last message.
		return info.State.LastSeq, info.State.LastSeq < seq, nil
	default:
		return first - 1, first <= seq, nil
	}
}

// Position returns the record as it is or will be written next. It never waits
// for the broker.
func (l *Lease) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current()
}

// Backlog returns how many messages the stream has that are not stored, as far
// as is known: while nothing is read, the stream is asked with every beat.
func (l *Lease) Backlog() uint64 {
	end, floor := l.end.Load(), l.Position().Floor
	if end < floor {
		return 0
	}
	return end - floor
}

// measure asks for the end of the stream.
func (l *Lease) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if stream, err := l.s.ctlJS.Stream(ctx, l.s.stream); err == nil {
		l.end.Store(stream.CachedInfo().State.LastSeq)
	}
}

// Counters returns the counts since Acquire.
func (l *Lease) Counters() Counters {
	return Counters{Replayed: l.replayed.Load(), Missed: l.missed.Load(), Rewound: l.rewound.Load()}
}

// Token names block b for the store: the same for the same messages, another
// for other messages, also when a stream lost its end and counts again.
func (l *Lease) Token(b Block) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s@%s/%d-%d/%d-%d", l.s.stream, l.pos.Incarnation, b.First, b.Last, b.FirstTime.UnixNano(), b.LastTime.UnixNano())
}

// Next returns the next message, in order, each once. It waits for at most
// wait and returns ErrNoMessage then. Trouble with the broker it logs and
// outlasts.
func (l *Lease) Next(ctx context.Context, wait time.Duration) (*Message, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		select {
		case <-l.lost.Done():
			return nil, ErrFenced
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		if l.feed != nil && l.s.data.Stats().Reconnects != l.feed.reconnects {
			// The consumer lived in the memory of a server that may be gone.
			l.reopen("connected anew")
		}
		if l.feed == nil {
			if err := l.open(ctx); err != nil {
				if errors.Is(err, ErrRewound) {
					return nil, err
				}
				if l.s.data.IsConnected() && ctx.Err() == nil {
					l.s.log.Warn("stream cannot be read, trying again", "error", err)
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-timeout.C:
					return nil, ErrNoMessage
				case <-time.After(200 * time.Millisecond):
				}
				continue
			}
		}
		var msg jetstream.Msg
		select {
		case msg = <-l.feed.messages:
		case err := <-l.feed.failed:
			l.reopen(err)
			continue
		case <-timeout.C:
			return nil, ErrNoMessage
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.lost.Done():
			return nil, ErrFenced
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("message metadata: %w", err) // not from JetStream
		}
		if meta.Sequence.Consumer != l.consumed+1 {
			// A delivery was lost on the way; nothing is acknowledged, so it
			// has to be asked for again.
			l.reopen("gap in delivery")
			continue
		}
		l.consumed++
		if meta.Sequence.Stream <= l.seen {
			// After a crash of the server a consumer can begin further back.
			l.replayed.Add(1)
			continue
		}
		l.seen, l.seenTime = meta.Sequence.Stream, meta.Timestamp
		l.end.Store(max(l.end.Load(), l.seen+meta.NumPending))
		return &Message{
			Seq: l.seen, Time: meta.Timestamp, Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(),
			Pending: meta.NumPending,
		}, nil
	}
}

// feed carries a consumer's messages to Next.
type feed struct {
	context    jetstream.ConsumeContext
	messages   chan jetstream.Msg
	failed     chan error // the consumer is of no use any more
	quit       chan struct{}
	reconnects uint64
}

// take hands one message over. While nobody wants it the client asks the
// server for no more than it was told to hold.
func (f *feed) take(msg jetstream.Msg) {
	select {
	case f.messages <- msg:
	case <-f.quit:
	}
}

func (f *feed) fail(_ jetstream.ConsumeContext, err error) {
	select {
	case f.failed <- err:
	default:
	}
}

func (l *Lease) close() {
	if f := l.feed; f != nil {
		close(f.quit)
		f.context.Stop()
		l.feed = nil
	}
}

func (l *Lease) reopen(reason any) {
	l.close()
	l.s.log.Info("reading the stream anew", "after", l.seen, "reason", reason)
}

// maxAhead bounds the messages that the client holds for Next.
const maxAhead = 256

// open makes a consumer behind the last message seen. It acknowledges nothing:
// the position is ours to keep.
func (l *Lease) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reconnects := l.s.data.Stats().Reconnects
	info, err := l.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream info: %w", err)
	}
	pos := l.Position()
	if of, _, _ := strings.Cut(pos.Incarnation, "."); of != incarnation(info) {
		return ErrRewound
	}
	if _, back, err := l.wentBack(ctx, info, l.seen, l.seenTime); err != nil {
		return err
	} else if back {
		return ErrRewound
	}
	if first := info.State.FirstSeq; l.seen > 0 && first > l.seen+1 {
		l.missed.Add(int64(first - l.seen - 1))
		l.s.log.Error("messages were removed from the stream before they were read", "after", l.seen, "first", first)
		l.seen = first - 1
		l.seenTime = time.Time{}
	}
	cons, err := l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.seen + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	limit := max(16<<20, 2*int(l.s.data.MaxPayload()))
	f := &feed{
		messages: make(chan jetstream.Msg, 16), failed: make(chan error, 1), quit: make(chan struct{}),
		reconnects: reconnects,
	}
	f.context, err = cons.Consume(f.take, jetstream.PullMaxMessagesWithBytesLimit(maxAhead, limit), jetstream.PullHeartbeat(time.Second),
		jetstream.ConsumeErrHandler(f.fail))
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	l.feed, l.consumed = f, 0
	return nil
}

// Begin records that block b is about to be stored. It returns ErrFenced when
// another collector took over; b must then not be stored.
func (l *Lease) Begin(ctx context.Context, b Block) error {
	return l.write(ctx, func(p *Position) {
		if !slices.ContainsFunc(p.Blocks, func(x Block) bool { return x.First == b.First && x.Last == b.Last }) {
			p.Blocks = append(p.Blocks, b)
		}
	})
}

// Done says that block b, the oldest recorded one, is stored. The record says so with
// its next write; until then a successor stores b again under the same token.
func (l *Lease) Done(b Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = b
}

// Rewind goes on after ErrRewound, when all that was read is stored.
func (l *Lease) Rewind(ctx context.Context) error {
	l.close()
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	if err := l.inspect(ctx); err != nil {
		return err
	}
	pos := l.Position()
	l.seen, l.seenTime = pos.Floor, pos.FloorTime
	return nil
}

// Release gives the stream to the next collector at once.
func (l *Lease) Release(ctx context.Context) error {
	l.close()
	l.stop()
	<-l.stopped
	defer l.lose()
	err := l.write(ctx, func(p *Position) { p.Owner = "" })
	if errors.Is(err, ErrFenced) {
		return nil
	}
	return err
}

// DeadLetter stores what could not be stored as events: body holds the bad
// bytes of message m, in m's encoding if encoded, and reason says why. A second letter for the same message is dropped by the
// broker, however much later it comes.
func (l *Lease) DeadLetter(ctx context.Context, m *Message, reason string, body []byte, encoded bool) error {
	pos := l.Position()
	subject := fmt.Sprintf("%s.%s.%s.%d", deadLetterSubject, l.s.stream, strings.ReplaceAll(pos.Incarnation, ".", "-"), m.Seq)
	// The letter must fit although it has more headers than the message had.
	part := max(1<<10, int(l.s.ctl.MaxPayload())-16<<10)
	parts := (max(len(body), 1) + part - 1) / part
	for i := range parts {
		h := nats.Header{
			headerType:             {m.ContentType()},
			"Hubscope-Reason":      {line(reason)},
			"Hubscope-Stream":      {l.s.stream},
			"Hubscope-Sequence":    {strconv.FormatUint(m.Seq, 10)},
			"Hubscope-Stored":      {m.Time.UTC().Format(time.RFC3339Nano)},
			"Hubscope-Subject":     {m.Subject},
			"Hubscope-Original-Id": {line(m.Header.Get(jetstream.MsgIDHeader))},
		}
		if encoded {
			h[headerEncoding] = m.Header[headerEncoding]
		}
		to, piece := subject, body
		if parts > 1 {
			to += "." + strconv.Itoa(i)
			piece = body[i*part : min((i+1)*part, len(body))]
			h["Hubscope-Part"] = []string{fmt.Sprintf("%d/%d", i+1, parts)}
		}
		if err := l.letter(ctx, &nats.Msg{Subject: to, Header: h, Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lease) letter(ctx context.Context, msg *nats.Msg) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err := l.s.ctlJS.PublishMsg(once, msg, jetstream.WithExpectLastSequencePerSubject(0))
		cancel()
		var api *jetstream.APIError
		if err == nil || errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			return nil
		}
		if l.lost.Err() != nil {
			return ErrFenced
		}
		l.s.log.Warn("dead letter is not stored, trying again", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("dead letter: %w", err)
		case <-time.After(wait):
		}
	}
}
