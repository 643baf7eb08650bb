package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"hubscope/ingest"
)

// TestPipelineSamples: counters as what they rose by, 0 included, gauges as they
// stand, histograms with their least and greatest, under the names of the
// Prometheus page.
func TestPipelineSamples(t *testing.T) {
	tel, err := startTelemetry(t.Context(), "test", logFlags{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tel.Close() })
	meter := otel.GetMeterProvider().Meter("test")
	rows, _ := meter.Int64Counter("hubscope.collector.rows", metric.WithUnit("{row}"))
	size, _ := meter.Int64Counter("hubscope.hub.telemetry.size", metric.WithUnit("By"))
	waits, _ := meter.Float64Histogram("hubscope.publisher.ack.duration", metric.WithUnit("s"))
	batch, _ := meter.Int64Histogram("hubscope.publisher.batch.events", metric.WithUnit("{event}"))
	other, _ := meter.Int64Counter("http.server.requests")
	lag := int64(7)
	if _, err := meter.Int64ObservableGauge("hubscope.collector.lag.messages", metric.WithUnit("{message}"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(lag, metric.WithAttributes(attribute.String("stream", "EVENTS")))
			return nil
		})); err != nil {
		t.Fatal(err)
	}
	if _, err := meter.Float64ObservableGauge("hubscope.collector.lag.age", metric.WithUnit("s"),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error { o.Observe(1.5); return nil })); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	with := func(list ...string) metric.MeasurementOption {
		var attrs []attribute.KeyValue
		for i := 0; i < len(list); i += 2 {
			attrs = append(attrs, attribute.String(list[i], list[i+1]))
		}
		return metric.WithAttributes(attrs...)
	}
	p := newPipelineSampler("node-1", tel.pipeline)
	take := func(at time.Time) []ingest.Metric {
		t.Helper()
		list, err := p.take(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(list, func(a, b ingest.Metric) int {
			return strings.Compare(a.MetricName+a.Reason+a.ResultType, b.MetricName+b.Reason+b.ResultType)
		})
		return list
	}
	minute := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	sample := func(service, name, kind, unit string, total, count, least, most int64) ingest.Metric {
		return ingest.Metric{TimeGenerated: minute, Node: "node-1", Service: service, MetricName: name, MetricType: kind, UnitName: unit,
			Total: total, Count: count, Minimum: least, Maximum: most}
	}
	dims := func(m ingest.Metric, hub, stream, result string) ingest.Metric {
		m.Hub, m.Stream, m.ResultType = hub, stream, result
		return m
	}

	rows.Add(ctx, 40, with("stream", "EVENTS"))
	rows.Add(ctx, 2, with("stream", "EVENTS"))
	size.Add(ctx, 100, with("hub", "plant", "protocol", "Mqtt", "result", "accepted"))
	size.Add(ctx, 11, with("hub", "plant", "protocol", "Https", "result", "accepted"))
	for _, s := range []float64{.25, .002, .1} {
		waits.Record(ctx, s)
	}
	batch.Record(ctx, 3, with("endpoint", "a"))
	batch.Record(ctx, 9, with("endpoint", "b"))
	other.Add(ctx, 1)
	want := []ingest.Metric{
		sample("collector", "hubscope_collector_lag_age_seconds", "Gauge", "Seconds", 1500000, 1, 1500000, 1500000),
		dims(sample("collector", "hubscope_collector_lag_messages", "Gauge", "Count", 7, 1, 7, 7), "", "EVENTS", ""),
		dims(sample("collector", "hubscope_collector_rows_total", "Counter", "Count", 42, 1, 42, 42), "", "EVENTS", ""),
		// What has no column, the protocol, is added up.
		dims(sample("hub", "hubscope_hub_telemetry_size_bytes_total", "Counter", "Bytes", 111, 1, 111, 111), "plant", "", "accepted"),
		sample("publisher", "hubscope_publisher_ack_duration_seconds", "Histogram", "Seconds", 352000, 3, 2000, 250000),
		sample("publisher", "hubscope_publisher_batch_events", "Histogram", "Count", 12, 2, 3, 9),
	}
	// The minute has just ended.
	first := take(minute.Add(time.Minute))
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	families, err := tel.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]string{}
	for _, f := range families {
		page[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	for _, m := range first {
		if got, ok := page[m.MetricName]; !ok || got != strings.ToLower(m.MetricType) {
			t.Errorf("%s is a %s, on the Prometheus page it is %q", m.MetricName, m.MetricType, got)
		}
	}

	rows.Add(ctx, 5, with("stream", "EVENTS"))
	lag = 0
	waits.Record(ctx, 1)
	want = []ingest.Metric{
		want[0],
		dims(sample("collector", "hubscope_collector_lag_messages", "Gauge", "Count", 0, 1, 0, 0), "", "EVENTS", ""),
		dims(sample("collector", "hubscope_collector_rows_total", "Counter", "Count", 5, 1, 5, 5), "", "EVENTS", ""),
		dims(sample("hub", "hubscope_hub_telemetry_size_bytes_total", "Counter", "Bytes", 0, 1, 0, 0), "plant", "", "accepted"),
		sample("publisher", "hubscope_publisher_ack_duration_seconds", "Histogram", "Seconds", 1000000, 1, 1000000, 1000000),
	}
	if diff := cmp.Diff(want, take(minute.Add(30*time.Second))); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
}

// TestPipelineSamplerStops: what was measured last is published when it ends.
func TestPipelineSamplerStops(t *testing.T) {
	tel, err := startTelemetry(t.Context(), "test", logFlags{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tel.Close() })
	c, err := otel.GetMeterProvider().Meter("test").Int64Counter("hubscope.collector.blocks")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t.Context(), 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got []ingest.Metric
	if err := newPipelineSampler("n", tel.pipeline).run(ctx, time.Hour, tel.Log, func(m []ingest.Metric) { got = append(got, m...) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].MetricName != "hubscope_collector_blocks_total" || got[0].Total != 3 {
		t.Errorf("published %+v", got)
	}
}
