package stream

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// publisherMetrics are the instruments of a Publisher.
type publisherMetrics struct {
	events, samples, changes, messages, retries, refused, duplicates, found, spooled, dropped metric.Int64Counter
	batch                                                                                     metric.Int64Histogram
	ack                                                                                       metric.Float64Histogram
}

func newPublisherMetrics(mp metric.MeterProvider, p *Publisher) (m publisherMetrics, err error) {
	if mp == nil {
		mp = noop.NewMeterProvider()
	}
	meter := mp.Meter("hubscope/ingest/stream")
	for _, c := range []struct {
		to              *metric.Int64Counter
		name, unit, doc string
	}{
		{&m.events, "hubscope.publisher.events", "{event}", "Events that the broker acknowledged."},
		{&m.samples, "hubscope.publisher.samples", "{sample}", "Samples of metrics that the broker acknowledged."},
		{&m.changes, "hubscope.publisher.changes", "{change}", "Changes for the audit that the broker acknowledged."},
		{&m.messages, "hubscope.publisher.messages", "{message}", "Messages sent, repeats included."},
		{&m.retries, "hubscope.publisher.retries", "{message}", "Messages whose acknowledgement did not come in time."},
		{&m.refused, "hubscope.publisher.refused", "{message}", "Messages that the broker refused, such as by a full stream."},
		{&m.duplicates, "hubscope.publisher.duplicates", "{message}", "Repeated messages that the broker had already."},
		{&m.found, "hubscope.publisher.found", "{message}", "Messages in doubt that were found in the stream."},
		{&m.spooled, "hubscope.publisher.spooled", "{message}", "Messages written to the spool."},
		{&m.dropped, "hubscope.publisher.dropped", "{event}", "Events, samples and changes dropped because memory and spool were full."},
	} {
		if *c.to, err = meter.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.doc)); err != nil {
			return m, err
		}
		(*c.to).Add(context.Background(), 0) // a series that begins with its first 1 has no rise to see
	}
	if m.batch, err = meter.Int64Histogram("hubscope.publisher.batch.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events in a message."), metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 25, 50, 100, 250, 500)); err != nil {
		return m, err
	}
	if m.ack, err = meter.Float64Histogram("hubscope.publisher.ack.duration", metric.WithUnit("s"),
		metric.WithDescription("From the first event of a message to its acknowledgement."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300)); err != nil {
		return m, err
	}
	for _, g := range []struct {
		name, unit, doc string
		value           func(PublisherStatus) int64
	}{
		{"hubscope.publisher.waiting", "{message}", "Messages in memory without an acknowledgement.", func(s PublisherStatus) int64 { return int64(s.Waiting) }},
		{"hubscope.publisher.queue.size", "By", "Bytes of events in memory without an acknowledgement.", func(s PublisherStatus) int64 { return s.QueuedBytes }},
		{"hubscope.publisher.spool.messages", "{message}", "Messages in the spool.", func(s PublisherStatus) int64 { return int64(s.Spooled) }},
		{"hubscope.publisher.spool.size", "By", "Bytes in the spool.", func(s PublisherStatus) int64 { return s.SpoolBytes }},
	} {
		if _, err = meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.doc),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(g.value(p.Status()))
				return nil
			})); err != nil {
			return m, err
		}
	}
	return m, nil
}
