package api

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"hubscope/query"
)

// metrics are the instruments of a Server. Labels: the route and how a query
// ended.
type metrics struct {
	queries, rows, read metric.Int64Counter
	duration            metric.Float64Histogram
}

// newMetrics makes the instruments; on one that cannot be made nothing is counted.
func newMetrics(mp metric.MeterProvider, s *Server) *metrics {
	if mp == nil {
		mp = noop.NewMeterProvider()
	}
	meter := mp.Meter("hubscope/query/api")
	m := &metrics{}
	check := func(err error) {
		if err != nil {
			s.config.Logger.Error("metric", "err", err)
		}
	}
	var err error
	m.queries, err = meter.Int64Counter("hubscope.query.queries", metric.WithUnit("{query}"), metric.WithDescription("Queries that ended."))
	check(err)
	m.rows, err = meter.Int64Counter("hubscope.query.result.rows", metric.WithUnit("{row}"), metric.WithDescription("Rows returned."))
	check(err)
	m.read, err = meter.Int64Counter("hubscope.query.read.rows", metric.WithUnit("{row}"), metric.WithDescription("Rows read from tables."))
	check(err)
	m.duration, err = meter.Float64Histogram("hubscope.query.duration", metric.WithUnit("s"), metric.WithDescription("From the request to the last row."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600))
	check(err)
	running, err := meter.Int64ObservableGauge("hubscope.query.running", metric.WithUnit("{query}"), metric.WithDescription("Queries that run now."))
	check(err)
	waiting, err := meter.Int64ObservableGauge("hubscope.query.waiting", metric.WithUnit("{query}"), metric.WithDescription("Queries that wait for others."))
	check(err)
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now, later := s.gate.counts()
		o.ObserveInt64(running, int64(now))
		o.ObserveInt64(waiting, int64(later))
		return nil
	}, running, waiting)
	check(err)
	return m
}

func (m *metrics) done(r *query.Record) {
	ctx := context.Background()
	labels := metric.WithAttributes(attribute.String("endpoint", r.Endpoint), attribute.String("state", string(r.State)))
	m.queries.Add(ctx, 1, labels)
	m.duration.Record(ctx, r.Duration.Seconds(), labels)
	m.rows.Add(ctx, r.Stats.Rows)
	m.read.Add(ctx, r.Stats.ReadRows)
}
