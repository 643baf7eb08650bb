package hub

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"hubscope/hub/handshake"
	"hubscope/ingest"
)

// metrics are the server's instruments. Their attributes come from small fixed
// sets: what a client can make up is not among them.
type metrics struct {
	connections  metric.Int64Counter
	disconnects  metric.Int64Counter
	suppressed   metric.Int64Counter
	duration     metric.Float64Histogram
	messages     metric.Int64Counter
	messageBytes metric.Int64Counter
	operations   metric.Int64Counter

	sets sync.Map // label -> metric.MeasurementOption

	// For table AzureMetrics, if samples are asked for.
	sampled bool
	tally   tally
	now     func() time.Time
}

// A label is the key of a set of attributes. The zero fields are left out.
type label struct{ hub, version, suite, protocol, auth, result, engine, reason, operation string }

func newMetrics(s *Server) (*metrics, error) {
	provider := s.config.Meter
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter("hubscope/hub")
	m := &metrics{sampled: s.config.Metrics != nil, now: s.config.Now}
	var err error
	counter := func(name, unit, description string) (c metric.Int64Counter) {
		if err == nil {
			c, err = meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		}
		return c
	}
	m.connections = counter("hubscope.hub.connections", "{connection}", "Connections by outcome: success, or the code of the refusal.")
	m.disconnects = counter("hubscope.hub.disconnects", "{session}", "Ended sessions by reason.")
	m.suppressed = counter("hubscope.hub.events.suppressed", "{event}", "Refused connections that the flood control did not describe one by one.")
	m.messages = counter("hubscope.hub.telemetry.messages", "{message}", "Telemetry messages by outcome.")
	m.messageBytes = counter("hubscope.hub.telemetry.size", "By", "Bytes of accepted telemetry messages.")
	m.operations = counter("hubscope.hub.operations", "{operation}", "Reads and reports of twins, and direct methods, by outcome.")
	if err != nil {
		return nil, err
	}
	if m.duration, err = meter.Float64Histogram("hubscope.hub.handshake.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the ClientHello to the end of the handshake."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)); err != nil {
		return nil, err
	}
	sessions, err := meter.Int64ObservableGauge("hubscope.hub.sessions", metric.WithUnit("{session}"),
		metric.WithDescription("Open sessions of devices."))
	if err != nil {
		return nil, err
	}
	open, err := meter.Int64ObservableGauge("hubscope.hub.connections.open", metric.WithUnit("{connection}"),
		metric.WithDescription("Open TCP connections."))
	if err != nil {
		return nil, err
	}
	connected, err := meter.Int64ObservableGauge("hubscope.hub.connected.devices", metric.WithUnit("{device}"),
		metric.WithDescription("Devices connected to this process (connectedDeviceCount); those of several processes add up."))
	if err != nil {
		return nil, err
	}
	registered, err := meter.Int64ObservableGauge("hubscope.hub.registered.devices", metric.WithUnit("{device}"),
		metric.WithDescription("Devices in the registry (totalDeviceCount); the same for all processes that share it, so do not add them up."))
	if err != nil {
		return nil, err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all, devices := s.sessions.open()
		for hub, n := range all {
			o.ObserveInt64(sessions, n, metric.WithAttributes(attribute.String("hub", hub)))
		}
		for _, h := range s.config.Registry.Hubs() {
			name := metric.WithAttributes(attribute.String("hub", h.Name))
			o.ObserveInt64(connected, devices[h.Name], name)
			if n, ok := s.config.Registry.Counted(h.Name); ok {
				o.ObserveInt64(registered, n.Total, name)
			}
		}
		o.ObserveInt64(open, s.open.Load())
		return nil
	}, sessions, open, connected, registered)
	return m, err
}

// set returns the attributes of a label, made once.
func (m *metrics) set(l label) metric.MeasurementOption {
	if o, ok := m.sets.Load(l); ok {
		return o.(metric.MeasurementOption)
	}
	var list []attribute.KeyValue
	for _, a := range []struct{ key, value string }{
		{"hub", l.hub}, {"tls.protocol.version", l.version}, {"tls.cipher", l.suite}, {"protocol", l.protocol},
		{"auth", l.auth}, {"result", l.result}, {"tls.engine", l.engine}, {"reason", l.reason}, {"operation", l.operation},
	} {
		if a.value != "" {
			list = append(list, attribute.String(a.key, a.value))
		}
	}
	o := metric.WithAttributeSet(attribute.NewSet(list...))
	m.sets.Store(l, o)
	return o
}

// connection counts the outcome of a connection.
func (m *metrics) connection(c *connection, s *Session, result Result) {
	l := label{hub: *c.hubName.Load(), protocol: c.protocol, auth: "none", result: "success"}
	if r := c.report; r != nil && r.Version != 0 {
		l.version, l.suite = handshake.VersionName(r.Version), handshake.SuiteName(r.Suite)
	}
	if s != nil {
		l.auth = s.id.Auth.EventName()
	}
	if result.Code != 0 {
		l.result = result.Name
	}
	m.connections.Add(context.Background(), 1, m.set(l))
	m.outcome(c, s, result)
}

func (m *metrics) disconnect(s *Session, end End) {
	m.disconnects.Add(context.Background(), 1, m.set(label{hub: s.id.Hub, protocol: s.h.c.protocol, reason: end.Reason}))
}

func (m *metrics) handshake(hub string, r *handshake.Report) {
	l := label{engine: r.Engine, result: "success"}
	if r.Version != 0 {
		l.version = handshake.VersionName(r.Version)
	}
	if r.Failure != nil {
		l.result = "failure"
	}
	m.duration.Record(context.Background(), r.Took.Seconds(), m.set(l).(metric.RecordOption))
	if r.Failure == nil && m.sampled {
		m.tally.add(m.now(), cell{hub: hub, name: ingest.HandshakeDuration, version: l.version, suite: handshake.SuiteName(r.Suite)}, r.Took.Microseconds())
	}
}

func (m *metrics) telemetry(ctx context.Context, s *Session, size int, err error) {
	l := label{hub: s.id.Hub, protocol: s.h.c.protocol, result: "accepted"}
	if err != nil {
		l.result = "failed"
	}
	m.messages.Add(ctx, 1, m.set(l))
	m.message(s.id.Hub, size, err)
	if err == nil {
		m.messageBytes.Add(ctx, int64(size), m.set(label{hub: s.id.Hub, protocol: s.h.c.protocol}))
	}
}
