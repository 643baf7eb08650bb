package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
)

// Headers of a message in the TELEMETRY stream; its body is the device's
// payload as it came.
const (
	headerHub        = "Hubscope-Hub"
	headerDevice     = "Hubscope-Device-Id"
	headerModule     = "Hubscope-Module-Id"
	headerConnection = "Hubscope-Connection-Id"
	headerProtocol   = "Hubscope-Protocol"
	headerTime       = "Hubscope-Time"
	// headerProperties holds the message's properties, system ones ($.) too,
	// as a URL query, the way devices write them into the topic.
	headerProperties = "Hubscope-Properties"
)

// DeviceMessage is one telemetry message of a device.
type DeviceMessage struct {
	Hub, DeviceID, ModuleID string
	Protocol                string
	ConnectionID            string
	Time                    time.Time
	Properties              url.Values
	Body                    []byte
}

// ErrTelemetryFull says that too many messages wait for the broker.
var ErrTelemetryFull = errors.New("too many telemetry messages wait for the broker")

// ErrTelemetryTimeout says that the broker did not acknowledge in time; it may
// have the message all the same.
var ErrTelemetryTimeout = errors.New("broker did not acknowledge the telemetry message")

// TelemetryConfig is the configuration of a [TelemetryPublisher].
type TelemetryConfig struct {
	// MaxWaiting bounds the messages, MaxWaitingBytes their bytes, that wait
	// for an acknowledgement.
	MaxWaiting      int   `yaml:"max_waiting"`
	MaxWaitingBytes int64 `yaml:"max_waiting_bytes"`
	// AckWait is how long a message may wait.
	AckWait time.Duration `yaml:"ack_wait"`

	// Meter defaults to none.
	Meter metric.MeterProvider `yaml:"-"`
}

// DefaultTelemetryConfig returns what suits a hub of any size.
func DefaultTelemetryConfig() TelemetryConfig {
	return TelemetryConfig{MaxWaiting: 20_000, MaxWaitingBytes: 64 << 20, AckWait: 5 * time.Second}
}

// Validate says what cannot be.
func (c TelemetryConfig) Validate() error {
	if c.MaxWaiting < 1 || c.MaxWaitingBytes < 1 || c.AckWait <= 0 {
		return errors.New("telemetry: max_waiting, max_waiting_bytes and ack_wait must be above zero")
	}
	return nil
}

// TelemetryPublisher publishes device messages to the TELEMETRY stream, one in
// a message. There is no spool: a device is told that its message arrived
// (PUBACK) only when the broker has it on disk, and sends it again otherwise.
type TelemetryPublisher struct {
	cfg   TelemetryConfig
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription
	stop  chan struct{}
	done  chan struct{}
	m     struct{ acked, failed metric.Int64Counter }

	mu      sync.Mutex
	key     uint64
	bytes   int64
	waiting map[uint64]*telemetryWait
	closed  bool
}

type telemetryWait struct {
	due   time.Time
	bytes int64
	done  func(error)
}

// NewTelemetryPublisher returns a publisher on a connection made by
// [Server.Connect]. Close it when no more is published.
func NewTelemetryPublisher(nc *nats.Conn, cfg TelemetryConfig) (*TelemetryPublisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &TelemetryPublisher{
		cfg: cfg, nc: nc, inbox: nc.NewInbox(), waiting: map[uint64]*telemetryWait{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if cfg.Meter == nil {
		cfg.Meter = noop.NewMeterProvider()
	}
	meter := cfg.Meter.Meter("hubscope/ingest/stream")
	var err error
	if p.m.acked, err = meter.Int64Counter("hubscope.telemetry.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Device messages that the broker acknowledged.")); err != nil {
		return nil, err
	}
	if p.m.failed, err = meter.Int64Counter("hubscope.telemetry.failed", metric.WithUnit("{message}"),
		metric.WithDescription("Device messages that the broker did not acknowledge.")); err != nil {
		return nil, err
	}
	if p.sub, err = nc.Subscribe(p.inbox+".*", p.onAck); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	go p.expire()
	return p, nil
}

// Publish sends m and returns. It calls done once: with nil when the message is
// stored, with an error when it is not or when that is unknown. It may call
// done before it returns; done must not block. m and its body are not kept.
func (p *TelemetryPublisher) Publish(ctx context.Context, m *DeviceMessage, done func(error)) {
	w := &telemetryWait{due: time.Now().Add(p.cfg.AckWait), bytes: int64(len(m.Body)), done: done}
	p.mu.Lock()
	if p.closed || len(p.waiting) >= p.cfg.MaxWaiting || p.bytes+w.bytes > p.cfg.MaxWaitingBytes {
		p.mu.Unlock()
		p.m.failed.Add(ctx, 1)
		done(ErrTelemetryFull)
		return
	}
	p.key++
	key := p.key
	p.waiting[key] = w
	p.bytes += w.bytes
	p.mu.Unlock()

	h := http.Header{}
	// Set through the map where the name is ours, so that its case stays.
	h[headerHub] = []string{line(m.Hub)}
	h[headerDevice] = []string{line(m.DeviceID)}
	if m.ModuleID != "" {
		h[headerModule] = []string{line(m.ModuleID)}
	}
	h[headerProtocol] = []string{line(m.Protocol)}
	h[headerConnection] = []string{line(m.ConnectionID)}
	h[headerTime] = []string{m.Time.UTC().Format(time.RFC3339Nano)}
	if len(m.Properties) > 0 {
		h[headerProperties] = []string{m.Properties.Encode()}
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	err := p.nc.PublishMsg(&nats.Msg{
		Subject: telemetrySubject + "." + token(m.Hub) + "." + token(m.DeviceID),
		Reply:   p.inbox + "." + strconv.FormatUint(key, 10), Header: nats.Header(h), Data: m.Body,
	})
	if err != nil {
		p.finish(key, fmt.Errorf("publish telemetry: %w", err))
	}
}

// line makes s fit for a header value.
func line(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		return url.QueryEscape(s)
	}
	return s
}

func (p *TelemetryPublisher) onAck(msg *nats.Msg) {
	key, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	if _, err = parseAck(msg); err != nil {
		err = fmt.Errorf("publish telemetry: %w", err)
	}
	p.finish(key, err)
}

func (p *TelemetryPublisher) finish(key uint64, err error) {
	p.mu.Lock()
	w := p.waiting[key]
	if w == nil {
		p.mu.Unlock()
		return
	}
	delete(p.waiting, key)
	p.bytes -= w.bytes
	p.mu.Unlock()
	if err == nil {
		p.m.acked.Add(context.Background(), 1)
	} else {
		p.m.failed.Add(context.Background(), 1)
	}
	w.done(err)
}

// expire ends the wait of messages that no answer came for.
func (p *TelemetryPublisher) expire() {
	defer close(p.done)
	tick := time.NewTicker(min(p.cfg.AckWait/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			var late []uint64
			p.mu.Lock()
			for key, w := range p.waiting {
				if now.After(w.due) {
					late = append(late, key)
				}
			}
			p.mu.Unlock()
			for _, key := range late {
				p.finish(key, ErrTelemetryTimeout)
			}
		}
	}
}

// Close waits for acknowledgements until ctx is done, then fails what is left.
func (p *TelemetryPublisher) Close(ctx context.Context) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		p.mu.Lock()
		waiting = len(p.waiting) > 0
		p.mu.Unlock()
		if !waiting {
			break
		}
		select {
		case <-ctx.Done():
			waiting = false
		case <-tick.C:
		}
	}
	close(p.stop)
	<-p.done
	p.sub.Unsubscribe()
	p.mu.Lock()
	var keys []uint64
	for key := range p.waiting {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	for _, key := range keys {
		p.finish(key, ErrTelemetryTimeout)
	}
}
