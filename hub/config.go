package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"hubscope/hub/handshake"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// An EventPublisher takes the events. ingest/stream's Publisher is one.
type EventPublisher interface {
	// PublishContext takes a copy of e and never blocks; what it cannot keep it
	// counts. The context carries the connection's trace, if it is sampled.
	PublishContext(ctx context.Context, e *ingest.Event)
}

// A TelemetryPublisher takes the messages that devices send.
type TelemetryPublisher interface {
	// PublishTelemetry calls accepted exactly once, now or later: with nil when
	// the message is safe, and only then the device gets its acknowledgement. It
	// does not block, and accepted does not either. m is not kept.
	PublishTelemetry(ctx context.Context, m *Message, accepted func(error))
}

// A Message is one telemetry message of a device.
type Message struct {
	Hub, DeviceID, ModuleID string
	ConnectionID            [16]byte
	Protocol                string // a Protocol value of package ingest
	Received                time.Time
	// Properties are the message's, in the order in which they came: application
	// properties, and system properties with Azure's prefix "$.".
	Properties []Property
	Body       []byte
}

// A Property of a message. Azure tells a name without a value from an empty
// value only on the way to the device; here both are empty.
type Property struct{ Name, Value string }

// Config configures a Server. Registry, Certificates, Events, Telemetry and
// IPKey must be set.
type Config struct {
	// Node names this process in the events.
	Node string
	// DefaultHub is the name of the hub for clients that name none by SNI, or an
	// unknown one.
	DefaultHub string
	// Registry knows hubs and devices and judges credentials. Its Run is the
	// caller's.
	Registry *registry.Cache
	// Certificates returns the server certificates for a connection, by the
	// client's SNI, which may be empty. It is called for each, so it can return
	// others at any time.
	Certificates func(serverName string) *handshake.Certificates
	Events       EventPublisher
	Telemetry    TelemetryPublisher
	// Metrics takes samples of the hubs' metrics; nil for none.
	Metrics MetricPublisher
	// SampleEvery is how often samples are sent, and devices counted. Those of a
	// minute add up, so that a minute's numbers are there before it is over, and
	// what a killed process loses is no more than this.
	SampleEvery time.Duration
	// IPKey is the secret of the column IpHash: at least 16 bytes, the same for
	// all hubs whose events are compared, and kept over restarts.
	IPKey []byte

	// Handshake sets the timeouts of the handshake.
	Handshake handshake.Config
	// AuthTimeout is how long a client may take to authenticate after its
	// handshake.
	AuthTimeout time.Duration
	// MaxConnections bounds all connections, MaxPending those of them that have
	// not authenticated. What is beyond is closed at once, and described.
	MaxConnections int
	MaxPending     int
	// Flood limits the events of refused connections.
	Flood FloodConfig

	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Meter and Tracer are OpenTelemetry's global providers when nil.
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider
	// Now is the clock of events and sequence numbers; time.Now when nil.
	Now func() time.Time
}

// DefaultConfig returns the limits as they are when nothing is set.
func DefaultConfig() Config {
	return Config{
		Handshake:      handshake.DefaultConfig(),
		SampleEvery:    10 * time.Second,
		AuthTimeout:    10 * time.Second,
		MaxConnections: 100_000,
		MaxPending:     10_000,
		Flood:          FloodConfig{Burst: 256, PerSecond: 5, SampleEvery: 100, Window: 10 * time.Second, MaxSources: 65_536},
	}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	zero(&c.SampleEvery, d.SampleEvery)
	zero(&c.AuthTimeout, d.AuthTimeout)
	zero(&c.MaxConnections, d.MaxConnections)
	zero(&c.MaxPending, d.MaxPending)
	zero(&c.Flood.Burst, d.Flood.Burst)
	zero(&c.Flood.PerSecond, d.Flood.PerSecond)
	zero(&c.Flood.SampleEvery, d.Flood.SampleEvery)
	zero(&c.Flood.Window, d.Flood.Window)
	zero(&c.Flood.MaxSources, d.Flood.MaxSources)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func zero[T comparable](value *T, otherwise T) {
	var none T
	if *value == none {
		*value = otherwise
	}
}

// Validate reports what is missing or makes no sense.
func (c *Config) Validate() error {
	switch {
	case c.Node == "":
		return errors.New("hub: no node name")
	case c.DefaultHub == "":
		return errors.New("hub: no default hub")
	case c.Registry == nil || c.Certificates == nil || c.Events == nil || c.Telemetry == nil:
		return errors.New("hub: registry, certificates, events and telemetry are needed")
	case len(c.IPKey) < 16:
		return fmt.Errorf("hub: the key for addresses has %d bytes, at least 16 are needed", len(c.IPKey))
	case c.SampleEvery < 0 || c.AuthTimeout < 0 || c.MaxConnections < 0 || c.MaxPending < 0:
		return errors.New("hub: negative limit")
	case c.Flood.Burst < 0 || c.Flood.PerSecond < 0 || c.Flood.SampleEvery < 0 || c.Flood.Window < 0 || c.Flood.MaxSources < 0:
		return errors.New("hub: negative flood limit")
	}
	return nil
}
