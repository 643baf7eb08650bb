package stream

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"hubscope/deploy/embed"
)

func TestTelemetry(t *testing.T) {
	n := startRestartable(t)
	nc := connect(t, n.URL)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := DefaultStreams().Ensure(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	p, err := NewTelemetryPublisher(nc, DefaultTelemetryConfig())
	if err != nil {
		t.Fatal(err)
	}
	m := &DeviceMessage{Hub: "h", DeviceID: "a.b*c>d", Protocol: "Mqtt", Time: time.Now(), Body: []byte("22 C"),
		Properties: url.Values{"temperatureAlert": {"true"}, "$.ct": {"text/plain"}}}
	done := make(chan error, 1)
	p.Publish(t.Context(), m, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), TelemetryStream)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	properties, err := url.ParseQuery(got.Header.Get(headerProperties))
	if err != nil || properties.Get("temperatureAlert") != "true" || properties.Get("$.ct") != "text/plain" {
		t.Errorf("properties %v, %v", properties, err)
	}
	if got.Subject != "hubscope.telemetry.h.a%2Eb%2Ac%3Ed" || got.Header.Get(headerDevice) != m.DeviceID || string(got.Data) != "22 C" {
		t.Errorf("subject %q, device %q, body %q", got.Subject, got.Header.Get(headerDevice), got.Data)
	}
	cfg := DefaultTelemetryConfig()
	cfg.AckWait = 100 * time.Millisecond
	away, err := NewTelemetryPublisher(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	away.Publish(t.Context(), m, func(err error) { done <- err })
	if err := <-done; err == nil {
		t.Error("a message is said to be stored while the broker is away")
	}
	away.Close(t.Context())
	p.Close(t.Context())
	p.Publish(t.Context(), m, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrTelemetryFull) {
		t.Errorf("after Close: %v, want ErrTelemetryFull", err)
	}
}

// TestTraceGoesAlong: the message of a sampled event continues its trace.
func TestTraceGoesAlong(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	cfg := config("a")
	cfg.Tracer = tracer
	p := startPublisher(t, connect(t, n.URL), cfg)
	ctx, span := tracer.Tracer("test").Start(context.Background(), "connect")
	p.PublishContext(ctx, event(1))
	span.End()
	src := openSource(t, n.URL)
	l, err := src.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.Next(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	sc := m.SpanContext()
	if !sc.IsSampled() || sc.TraceID() != span.SpanContext().TraceID() || sc.SpanID() == span.SpanContext().SpanID() {
		t.Errorf("the message has %v, want a span of its own in trace %v", sc, span.SpanContext().TraceID())
	}
}
