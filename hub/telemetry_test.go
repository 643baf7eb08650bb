package hub_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"hubscope/hub"
	"hubscope/ingest"
)

// spans keeps ended spans.
type spans struct {
	mu   sync.Mutex
	list []sdktrace.ReadOnlySpan
}

func (s *spans) ExportSpans(_ context.Context, list []sdktrace.ReadOnlySpan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, list...)
	return nil
}

func (s *spans) Shutdown(context.Context) error { return nil }

// traced records whose trace the events came with.
type traced struct {
	*recorder
	mu  sync.Mutex
	ids []trace.TraceID
}

func (r *traced) PublishContext(ctx context.Context, e *ingest.Event) {
	r.mu.Lock()
	r.ids = append(r.ids, trace.SpanContextFromContext(ctx).TraceID())
	r.mu.Unlock()
	r.recorder.PublishContext(ctx, e)
}

func TestMetricsAndTraces(t *testing.T) {
	reader := metric.NewManualReader()
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	exported := new(spans)
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exported), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	events := new(traced)
	s := newStack(t, func(c *hub.Config) {
		c.Meter, c.Tracer = meters, tracers
		events.recorder = c.Events.(*recorder)
		c.Events = events
	})

	c := s.connect(4)
	c.send(publishPacket("devices/sas-1/messages/events/", 1, 1, "12345"))
	c.expect(packets.Puback)
	plain, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	plain.Close()
	connect, refused := s.events.one(t, ingest.DeviceConnect, 1), s.events.one(t, ingest.ConnectionRefused, 1)

	// value sums an instrument's data points that have all the attributes.
	value := func(name string, want ...attribute.KeyValue) (sum int64) {
		t.Helper()
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		has := func(set attribute.Set) bool {
			return !slices.ContainsFunc(want, func(kv attribute.KeyValue) bool {
				v, ok := set.Value(kv.Key)
				return !ok || v != kv.Value
			})
		}
		for _, scope := range data.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name != name {
					continue
				}
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range d.DataPoints {
						if has(p.Attributes) {
							sum += p.Value
						}
					}
				case metricdata.Gauge[int64]:
					for _, p := range d.DataPoints {
						if has(p.Attributes) {
							sum += p.Value
						}
					}
				case metricdata.Histogram[float64]:
					for _, p := range d.DataPoints {
						if has(p.Attributes) {
							sum += int64(p.Count)
						}
					}
				}
			}
		}
		return sum
	}
	str := attribute.String
	for _, tt := range []struct {
		name string
		with []attribute.KeyValue
		want int64
	}{
		{"hubscope.hub.connections", []attribute.KeyValue{str("result", "success"), str("tls.protocol.version", "1.3"), str("tls.cipher", connect.TlsCipher), str("protocol", "Mqtt"), str("auth", "sas"), str("hub", "demo")}, 1},
		{"hubscope.hub.connections", []attribute.KeyValue{str("result", "plain.http")}, 1},
		{"hubscope.hub.handshake.duration", []attribute.KeyValue{str("result", "success"), str("tls.engine", "go")}, 1},
		{"hubscope.hub.sessions", []attribute.KeyValue{str("hub", "demo")}, 1},
		{"hubscope.hub.connected.devices", []attribute.KeyValue{str("hub", "demo")}, 1},
		{"hubscope.hub.connected.devices", []attribute.KeyValue{str("hub", "strict")}, 0},
		{"hubscope.hub.telemetry.messages", []attribute.KeyValue{str("result", "accepted")}, 1},
		{"hubscope.hub.telemetry.size", nil, 5},
		{"hubscope.hub.disconnects", nil, 0},
	} {
		if got := value(tt.name, tt.with...); got != tt.want {
			t.Errorf("%s %v: want %d, got %d", tt.name, tt.with, tt.want, got)
		}
	}
	c.conn.Close()
	s.events.one(t, ingest.DeviceDisconnect, 1)
	if got := value("hubscope.hub.disconnects", str("reason", hub.ReasonConnectionLost)); got != 1 {
		t.Errorf("disconnects: %d", got)
	}
	if got := value("hubscope.hub.sessions"); got != 0 {
		t.Errorf("open sessions: %d", got)
	}

	s.shutdown()
	exported.mu.Lock()
	defer exported.mu.Unlock()
	byTrace := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range exported.list {
		byTrace[span.SpanContext().TraceID().String()] = span
	}
	span := byTrace[connect.TraceId]
	if span == nil || span.Name() != "hub.connect" || span.EndTime().Sub(span.StartTime()) <= 0 || span.EndTime().Sub(span.StartTime()) > time.Minute {
		t.Fatalf("span of %s: %v", connect.TraceId, span)
	}
	attributes := attribute.NewSet(span.Attributes()...)
	for key, want := range map[attribute.Key]string{"tls.protocol.version": "1.3", "tls.cipher": connect.TlsCipher, "hubscope.hub": "demo", "tls.client.server_name": "localhost"} {
		if v, _ := attributes.Value(key); v.AsString() != want {
			t.Errorf("%s: want %s, got %s", key, want, v.AsString())
		}
	}
	if span := byTrace[refused.TraceId]; span == nil || span.Status().Description != "plain.http" {
		t.Errorf("span of the refused connection: %v", span)
	}
	events.mu.Lock()
	defer events.mu.Unlock()
	if !slices.ContainsFunc(events.ids, func(id trace.TraceID) bool { return id.String() == connect.TraceId }) {
		t.Error("the event was published without its trace")
	}
}

// samples keeps samples added up, as table AzureMetrics does.
type samples struct {
	mu  sync.Mutex
	sum map[ingest.Metric]ingest.Metric
}

func (r *samples) PublishMetrics(list []ingest.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range list {
		key := m
		key.TimeGenerated, key.Total, key.Count, key.Minimum, key.Maximum = time.Time{}, 0, 0, 0, 0
		was, ok := r.sum[key]
		if !ok {
			r.sum[key] = m
			continue
		}
		m.Total, m.Count = m.Total+was.Total, m.Count+was.Count
		m.Minimum, m.Maximum = min(m.Minimum, was.Minimum), max(m.Maximum, was.Maximum)
		r.sum[key] = m
	}
}

// named returns what was measured, added up over all dimensions but those of like.
func (r *samples) named(like ingest.Metric) (total, count, most int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sum {
		same := m.Node == "node-1" && m.TimeGenerated.Second() == 0
		for _, p := range [][2]string{{like.Hub, m.Hub}, {like.MetricName, m.MetricName}, {like.TlsVersion, m.TlsVersion}, {like.TlsCipher, m.TlsCipher},
			{like.Protocol, m.Protocol}, {like.ResultType, m.ResultType}} {
			same = same && (p[0] == "" || p[0] == p[1])
		}
		if same {
			total, count, most = total+m.Total, count+m.Count, max(most, m.Maximum)
		}
	}
	return total, count, most
}

func TestSamples(t *testing.T) {
	got := &samples{sum: map[ingest.Metric]ingest.Metric{}}
	s := newStack(t, func(c *hub.Config) { c.Metrics, c.SampleEvery = got, 20*time.Millisecond })
	c := s.connect(4)
	c.send(publishPacket("devices/sas-1/messages/events/", 1, 1, "12345"))
	c.expect(packets.Puback)
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 2, Filters: packets.Subscriptions{{Filter: "$iothub/twin/res/#"}}})
	c.expect(packets.Suback)
	for _, body := range []string{`{"a":1}`, `[]`} {
		c.send(publishPacket("$iothub/twin/PATCH/properties/reported/?$rid=1", 0, 0, body))
		c.expect(packets.Publish)
	}
	plain, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	plain.Close()
	connect, refused := s.events.one(t, ingest.DeviceConnect, 1), s.events.one(t, ingest.ConnectionRefused, 1)
	s.connect(4) // takes over
	s.events.one(t, ingest.DeviceDisconnect, 1)

	deadline := time.Now().Add(time.Minute)
	for {
		_, _, connected := got.named(ingest.Metric{Hub: "demo", MetricName: ingest.ConnectedDeviceCount})
		_, _, registered := got.named(ingest.Metric{Hub: "demo", MetricName: ingest.TotalDeviceCount})
		if connected == 1 && registered == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d devices connected, want 1; %d registered, want 2", connected, registered)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.shutdown()
	for _, tt := range []struct {
		like         ingest.Metric
		total, count int64
	}{
		{ingest.Metric{Hub: "demo", MetricName: ingest.SuccessfulConnections, TlsVersion: "1.3", TlsCipher: connect.TlsCipher, Protocol: ingest.Mqtt}, 2, 2},
		{ingest.Metric{MetricName: ingest.SuccessfulConnections}, 2, 2},
		{ingest.Metric{Hub: "demo", MetricName: ingest.RefusedConnections, ResultType: refused.ResultType}, 1, 1},
		{ingest.Metric{Hub: "demo", MetricName: ingest.TelemetryAttempts}, 1, 1},
		{ingest.Metric{Hub: "demo", MetricName: ingest.TelemetrySuccess}, 1, 1},
		{ingest.Metric{Hub: "demo", MetricName: ingest.DeviceDataUsage}, 5, 1},
		{ingest.Metric{Hub: "demo", MetricName: ingest.TwinReport + ".success"}, 1, 1},
		{ingest.Metric{Hub: "demo", MetricName: ingest.TwinReport + ".failure"}, 1, 1},
	} {
		if total, count, _ := got.named(tt.like); total != tt.total || count != tt.count {
			t.Errorf("%+v: %d in %d measurements, want %d in %d", tt.like, total, count, tt.total, tt.count)
		}
	}
	if total, count, _ := got.named(ingest.Metric{Hub: "demo", MetricName: ingest.HandshakeDuration, TlsVersion: "1.3"}); count != 2 || total <= 0 {
		t.Errorf("handshakes: %d microseconds in %d measurements", total, count)
	}
	if _, _, most := got.named(ingest.Metric{Hub: "demo", MetricName: ingest.ConnectedDeviceCount}); most != 1 {
		t.Errorf("a takeover counted as %d devices", most)
	}
}
