package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"hubscope/hub"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// pipelineSampler turns what the process's instruments measure into samples for
// table PipelineMetrics. They go the way of the events.
type pipelineSampler struct {
	node   string
	reader *sdkmetric.ManualReader
	namer  otlptranslator.MetricNamer
	before map[measuredSeries]int64 // counters
}

// measuredSeries names a series of an instrument within the process.
type measuredSeries struct {
	name       string
	attributes attribute.Distinct
}

// newPipelineReader returns the reader for a sampler, to be given to the meter
// provider. Histograms are read as what came since the last time, for only so is
// there a least and a greatest; counters as all that came, so that one that
// stands still is seen to.
func newPipelineReader() *sdkmetric.ManualReader {
	return sdkmetric.NewManualReader(sdkmetric.WithTemporalitySelector(func(kind sdkmetric.InstrumentKind) metricdata.Temporality {
		if kind == sdkmetric.InstrumentKindHistogram {
			return metricdata.DeltaTemporality
		}
		return metricdata.CumulativeTemporality
	}))
}

func newPipelineSampler(node string, reader *sdkmetric.ManualReader) *pipelineSampler {
	return &pipelineSampler{
		node: node, reader: reader, before: map[measuredSeries]int64{},
		namer: otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes), // as the Prometheus page names them
	}
}

// run publishes samples, at the same moments as the hubs do theirs, until ctx
// ends, and then what is left.
func (p *pipelineSampler) run(ctx context.Context, every time.Duration, log *slog.Logger, publish func([]ingest.Metric)) error {
	for {
		select {
		case <-time.After(every - time.Duration(time.Now().UnixNano())%every):
		case <-ctx.Done():
		}
		samples, err := p.take(context.WithoutCancel(ctx), time.Now())
		if err != nil {
			log.Warn("metrics of the pipeline are not complete", "error", err)
		}
		publish(samples)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// samplePipeline publishes what this process measures. One publisher a process
// is enough, whatever parts of hubscope run in it.
func samplePipeline(g *group, s *Settings, t *telemetry, publisher *stream.Publisher) {
	p := newPipelineSampler(s.Node, t.pipeline)
	every := s.Hub.MetricInterval
	if every <= 0 {
		every = hub.DefaultConfig().SampleEvery
	}
	g.start("pipeline metrics", func(ctx context.Context) error {
		return p.run(ctx, every, t.Log, publisher.PublishMetrics)
	})
}

// publishSamples runs a publisher for a process that has none for events.
func publishSamples(g *group, s *Settings, t *telemetry) error {
	conn, err := s.NATS.Server.Connect("hubscope publisher", t.Log)
	if err != nil {
		return err
	}
	g.onStop("publisher connection", func() error { conn.Close(); return nil })
	c := s.publisherConfig()
	c.Spool = "" // that of the hub on this machine, if there is one
	c.Meter = otel.GetMeterProvider()
	publisher, err := stream.NewPublisher(conn, c, t.Log)
	if err != nil {
		return err
	}
	g.start("publisher", func(ctx context.Context) error {
		if err := publisher.Run(ctx); err != nil {
			t.Log.Warn("metrics of the pipeline are lost", "error", err) // no reason to fail
		}
		return nil
	})
	samplePipeline(g, s, t, publisher)
	return nil
}

// take returns what was measured since the last call.
func (p *pipelineSampler) take(ctx context.Context, now time.Time) ([]ingest.Metric, error) {
	var data metricdata.ResourceMetrics
	err := p.reader.Collect(ctx, &data)
	// What ends with the minute belongs to it.
	minute := now.Add(-time.Millisecond).UTC().Truncate(time.Minute)
	var samples []ingest.Metric
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			rest, ours := strings.CutPrefix(m.Name, "hubscope.")
			if !ours {
				continue
			}
			service, _, _ := strings.Cut(rest, ".")
			head := ingest.Metric{TimeGenerated: minute, Node: p.node, Service: service}
			list, e := p.samplesOf(m, head)
			err = errors.Join(err, e)
			samples = append(samples, list...)
		}
	}
	return samples, err
}

// samplesOf returns the samples of one instrument. Attributes that have no
// column are added up.
func (p *pipelineSampler) samplesOf(m metricdata.Metrics, head ingest.Metric) ([]ingest.Metric, error) {
	scale := 1.0
	switch m.Unit {
	case "s":
		head.UnitName, scale = "Seconds", 1e6
	case "By":
		head.UnitName = "Bytes"
	default:
		head.UnitName = "Count"
	}
	var kind otlptranslator.MetricType = otlptranslator.MetricTypeGauge
	var order []*ingest.Metric
	byKey := map[ingest.Metric]*ingest.Metric{}
	add := func(set attribute.Set, total, count, least, most int64) {
		key := head
		for _, to := range []struct {
			attribute attribute.Key
			field     *string
		}{{"hub", &key.Hub}, {"stream", &key.Stream}, {"reason", &key.Reason}, {"result", &key.ResultType}, {"state", &key.ResultType}} {
			if v, ok := set.Value(to.attribute); ok {
				*to.field = v.AsString()
			}
		}
		s := byKey[key]
		if s == nil {
			sample := key
			s = &sample
			s.Minimum, s.Maximum = least, most
			byKey[key] = s
			order = append(order, s)
		}
		if head.MetricType == "Histogram" {
			s.Count += count
			s.Minimum, s.Maximum = min(s.Minimum, least), max(s.Maximum, most)
			s.Total += total
			return
		}
		// Series that become one were read at the same moment.
		s.Total, s.Count = s.Total+total, 1
		s.Minimum, s.Maximum = s.Total, s.Total
	}
	number := func(v float64) int64 { return int64(math.Round(v * scale)) }
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		head.MetricType = "Gauge"
		if d.IsMonotonic {
			head.MetricType, kind = "Counter", otlptranslator.MetricTypeMonotonicCounter
		}
		for _, point := range d.DataPoints {
			v := point.Value
			if d.IsMonotonic {
				series := measuredSeries{m.Name, point.Attributes.Equivalent()}
				v, p.before[series] = v-p.before[series], v
			}
			add(point.Attributes, v, 1, v, v)
		}
	case metricdata.Gauge[int64]:
		head.MetricType = "Gauge"
		for _, point := range d.DataPoints {
			v := number(float64(point.Value))
			add(point.Attributes, v, 1, v, v)
		}
	case metricdata.Gauge[float64]:
		head.MetricType = "Gauge"
		for _, point := range d.DataPoints {
			v := number(point.Value)
			add(point.Attributes, v, 1, v, v)
		}
	case metricdata.Histogram[int64]:
		head.MetricType, kind = "Histogram", otlptranslator.MetricTypeHistogram
		for _, point := range d.DataPoints {
			least, _ := point.Min.Value()
			most, _ := point.Max.Value()
			add(point.Attributes, point.Sum, int64(point.Count), least, most)
		}
	case metricdata.Histogram[float64]:
		head.MetricType, kind = "Histogram", otlptranslator.MetricTypeHistogram
		for _, point := range d.DataPoints {
			least, _ := point.Min.Value()
			most, _ := point.Max.Value()
			add(point.Attributes, number(point.Sum), int64(point.Count), number(least), number(most))
		}
	default:
		return nil, nil // of a kind that no instrument of ours is
	}
	name, err := p.namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: kind})
	if err != nil {
		return nil, err
	}
	samples := make([]ingest.Metric, len(order))
	for i, s := range order {
		s.MetricName = name
		samples[i] = *s
	}
	return samples, nil
}
