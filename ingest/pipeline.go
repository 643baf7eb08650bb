package ingest

// PipelineColumns are the columns of table PipelineSamples: samples of what the
// parts of the pipeline measure of themselves, with the field numbers of message
// Metric in event.proto. Rows of one node and minute may be several; see
// [PipelineMetrics].
var PipelineColumns = []Column{
	{Name: "TimeGenerated", Type: Datetime, ClickHouse: ticks, Codec: "T64, ZSTD(1)", Field: 1, Doc: "Start of the minute, UTC."},
	low(2, "Hub", nil, "IoT hub that was measured, or empty for what belongs to none."),
	low(3, "Node", nil, "Process that measured."),
	low(4, "MetricName", nil, "Name of the metric."),
	low(13, "Service", nil, "Part of the pipeline that measured."),
	low(14, "MetricType", nil, "Counter, Gauge or Histogram."),
	low(15, "UnitName", nil, "Count, Bytes or Seconds; those are stored as microseconds."),
	low(16, "Stream", nil, "Dimension: stream of events."),
	low(17, "Reason", nil, "Dimension: why."),
	low(8, "Result", nil, "Dimension: outcome."),
	number(9, "Total", nil, "Sum of the measurements."),
	number(10, "Count", nil, "Number of measurements."),
	number(11, "Minimum", nil, "Least measurement."),
	number(12, "Maximum", nil, "Greatest measurement."),
}

// PipelineMetrics is the table of what the parts of the pipeline measure of
// themselves, one row a minute, node, metric and combination of dimensions. A
// view over PipelineSamples.
var PipelineMetrics = []Column{
	{Name: "TimeGenerated", Type: Datetime, ClickHouse: ticks, Doc: "Start of the minute, UTC."},
	{Name: "Node", Type: String, ClickHouse: lowString, Doc: "Process that measured."},
	{Name: "Service", Type: String, ClickHouse: lowString, Doc: "Part of the pipeline: hub, publisher, telemetry, collector or query."},
	{Name: "MetricName", Type: String, ClickHouse: lowString, Doc: "Name of the metric as on the Prometheus page, such as hubscope_collector_rows_total."},
	{Name: "MetricType", Type: String, ClickHouse: lowString, Doc: "Counter (Total is what was added in the minute), Gauge (use Average, Minimum, Maximum) or Histogram (Count measurements)."},
	{Name: "UnitName", Type: String, ClickHouse: lowString, Doc: "Count, Bytes or Seconds."},
	{Name: "Total", Type: Real, ClickHouse: "Float64", Doc: "Sum of the measurements of the minute; of a counter, what it rose by."},
	{Name: "Count", Type: Long, ClickHouse: "Int64", Doc: "Number of measurements of the minute; of a counter or a gauge, how often it was read."},
	{Name: "Minimum", Type: Real, ClickHouse: "Float64", Doc: "Least measurement."},
	{Name: "Maximum", Type: Real, ClickHouse: "Float64", Doc: "Greatest measurement."},
	{Name: "Average", Type: Real, ClickHouse: "Float64", Doc: "Total by Count."},
	{Name: "Hub", Type: String, ClickHouse: lowString, Doc: "IoT hub that was measured; empty for what belongs to none, such as the collector's work, which readers of some hubs do not see."},
	{Name: "Stream", Type: String, ClickHouse: lowString, Doc: "Dimension of the collector's metrics: stream of events."},
	{Name: "Reason", Type: String, ClickHouse: lowString, Doc: "Dimension: why something was rejected or ended; of rejected messages encoding, content_type, malformed, incomplete or time."},
	{Name: "Result", Type: String, ClickHouse: lowString, Doc: "Dimension: outcome, such as success, failure, Completed or the code of a refusal."},
}
