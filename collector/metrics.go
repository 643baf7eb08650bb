package collector

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics are the instruments of a Collector. Labels: the stream, and of what is
// rejected the kind of reason.
type metrics struct {
	rows, samples, changes, messages, blocks, letters, rejected, certificates, retries, fenced metric.Int64Counter
	size                                                                                       metric.Int64Histogram
	duration, lag                                                                              metric.Float64Histogram
}

func newMetrics(mp metric.MeterProvider, c *Collector) (m metrics, err error) {
	if mp == nil {
		mp = noop.NewMeterProvider()
	}
	meter := mp.Meter("hubscope/collector")
	for _, x := range []struct {
		to              *metric.Int64Counter
		name, unit, doc string
	}{
		{&m.rows, "hubscope.collector.rows", "{row}", "Rows stored."},
		{&m.messages, "hubscope.collector.messages", "{message}", "Messages stored."},
		{&m.blocks, "hubscope.collector.blocks", "{block}", "Blocks stored."},
		{&m.samples, "hubscope.collector.samples", "{row}", "Samples of metrics stored."},
		{&m.changes, "hubscope.collector.changes", "{row}", "Changes for the audit stored."},
		{&m.letters, "hubscope.collector.rejected", "{message}", "Messages of which something went to the dead letters, by the kind of reason."},
		{&m.rejected, "hubscope.collector.rejected.events", "{event}", "What went to the dead letters, counted one by one as far as it could be, by the kind of reason."},
		{&m.certificates, "hubscope.collector.certificates", "{row}", "Certificates stored."},
		{&m.retries, "hubscope.collector.retries", "{insert}", "Inserts that failed and were repeated."},
		{&m.fenced, "hubscope.collector.fenced", "{lease}", "Times that another collector took over."},
	} {
		if *x.to, err = meter.Int64Counter(x.name, metric.WithUnit(x.unit), metric.WithDescription(x.doc)); err != nil {
			return m, err
		}
	}
	if m.size, err = meter.Int64Histogram("hubscope.collector.block.rows", metric.WithUnit("{row}"), metric.WithDescription("Rows in a block."),
		metric.WithExplicitBucketBoundaries(1, 10, 100, 1000, 10_000, 50_000, 100_000, 200_000)); err != nil {
		return m, err
	}
	seconds := metric.WithExplicitBucketBoundaries(.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600)
	if m.duration, err = meter.Float64Histogram("hubscope.collector.block.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("From a full block to its being stored.")); err != nil {
		return m, err
	}
	if m.lag, err = meter.Float64Histogram("hubscope.collector.lag", metric.WithUnit("s"), seconds,
		metric.WithDescription("From the oldest message's arrival in the stream to its being stored.")); err != nil {
		return m, err
	}
	for _, x := range []struct {
		name, unit, doc string
		value           func(Status) int64
	}{
		{"hubscope.collector.replayed", "{message}", "Messages that the broker delivered twice, dropped here.", func(s Status) int64 { return s.Replayed }},
		{"hubscope.collector.missed", "{message}", "Messages that were removed from the stream before they were read.", func(s Status) int64 { return s.Missed }},
		{"hubscope.collector.rewound", "{rewind}", "Times that the stream was found to have lost its end.", func(s Status) int64 { return s.Rewound }},
	} {
		if _, err = meter.Int64ObservableCounter(x.name, metric.WithUnit(x.unit), metric.WithDescription(x.doc),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				for _, s := range c.Status() {
					o.Observe(x.value(s), streamOf(s.Stream))
				}
				return nil
			})); err != nil {
			return m, err
		}
	}
	// What is counted is counted from 0 on: a series that begins with the first
	// failure has no rise to see.
	for _, name := range c.cfg.streams() {
		for _, counter := range []metric.Int64Counter{m.rows, m.samples, m.changes, m.messages, m.blocks, m.certificates, m.retries, m.fenced} {
			counter.Add(context.Background(), 0, streamOf(name))
		}
		for _, kind := range flawKinds {
			m.letters.Add(context.Background(), 0, streamOf(name), reasonOf(kind))
			m.rejected.Add(context.Background(), 0, streamOf(name), reasonOf(kind))
		}
	}
	age, err := meter.Float64ObservableGauge("hubscope.collector.lag.age", metric.WithUnit("s"),
		metric.WithDescription("Since the oldest message that is not stored came into the stream; 0 when all are stored."))
	if err != nil {
		return m, err
	}
	if _, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range c.Status() {
			var seconds float64
			if !s.Oldest.IsZero() {
				seconds = max(time.Since(s.Oldest).Seconds(), 0)
			}
			o.ObserveFloat64(age, seconds, streamOf(s.Stream))
		}
		return nil
	}, age); err != nil {
		return m, err
	}
	gauge := func(name, unit, doc string, value func(Status) int64) error {
		_, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(doc),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				for _, s := range c.Status() {
					o.Observe(value(s), streamOf(s.Stream))
				}
				return nil
			}))
		return err
	}
	flag := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	if err = gauge("hubscope.collector.lag.messages", "{message}", "Messages in the stream that are not stored yet.",
		func(s Status) int64 { return int64(s.Backlog) }); err != nil {
		return m, err
	}
	if err = gauge("hubscope.collector.active", "1", "1 when this process collects the stream.",
		func(s Status) int64 { return flag(s.Active) }); err != nil {
		return m, err
	}
	if err = gauge("hubscope.collector.retrying", "1", "1 while an insert is being repeated.",
		func(s Status) int64 { return flag(s.Retrying != nil) }); err != nil {
		return m, err
	}
	err = gauge("hubscope.collector.floor", "{message}", "Last message of the stream that is stored.",
		func(s Status) int64 { return int64(s.Floor) })
	return m, err
}

// streamOf is the attribute of a stream.
func streamOf(name string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("stream", name))
}

// reasonOf is the attribute of a kind of flaw.
func reasonOf(kind string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("reason", kind))
}

// block counts a stored block.
func (m metrics) block(ctx context.Context, stream string, b *block, took time.Duration) {
	attrs := streamOf(stream)
	m.rows.Add(ctx, int64(b.events.rows), attrs)
	m.messages.Add(ctx, int64(b.bounds.Last-b.bounds.First+1), attrs)
	m.blocks.Add(ctx, 1, attrs)
	m.samples.Add(ctx, int64(b.metrics.rows+b.pipeline.rows), attrs)
	m.changes.Add(ctx, int64(b.changes.rows), attrs)
	for i := range b.letters {
		l := &b.letters[i]
		m.letters.Add(ctx, 1, attrs, reasonOf(l.kind))
		m.rejected.Add(ctx, int64(l.events), attrs, reasonOf(l.kind))
	}
	m.certificates.Add(ctx, int64(b.certs.rows), attrs)
	if b.events.rows > 0 {
		m.size.Record(ctx, int64(b.events.rows), attrs)
	}
	m.duration.Record(ctx, took.Seconds(), attrs)
	m.lag.Record(ctx, time.Since(b.bounds.FirstTime).Seconds(), attrs)
}
