package ingest

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentTypeMetrics is the value of header Content-Type of a message that
// holds length-prefixed samples ([AppendMetric]). It goes the way of the events,
// and is delivered as they are.
const ContentTypeMetrics = "application/vnd.hubscope.metrics.v1+protobuf"

// Metric is a sample of a metric: some measurements of one process, added up. A
// hub's platform metric is stored in table MetricSamples; one with a Service,
// which says how a part of the pipeline does, in table PipelineSamples.
type Metric struct {
	TimeGenerated time.Time // start of the minute
	Hub           string    // empty for what belongs to no hub
	Node          string
	MetricName    string

	// Dimensions; empty where the metric has none.
	TlsVersion string
	TlsCipher  string
	Protocol   string
	ResultType string

	// Total, Minimum and Maximum of Count measurements.
	Total   int64
	Count   int64
	Minimum int64
	Maximum int64

	// Of parts of the pipeline.
	Service    string
	MetricType string // Counter, Gauge or Histogram
	UnitName   string // Count, Bytes or Seconds; those are stored as microseconds
	Stream     string
	Reason     string
}

// Names of metrics; Azure's, where it has the metric.
const (
	ConnectedDeviceCount  = "connectedDeviceCount"
	TotalDeviceCount      = "totalDeviceCount"
	SuccessfulConnections = "SuccessfulConnections"
	RefusedConnections    = "RefusedConnections"
	HandshakeDuration     = "HandshakeDuration"
	TelemetryAttempts     = "d2c.telemetry.ingress.allProtocol"
	TelemetrySuccess      = "d2c.telemetry.ingress.success"
	DeviceDataUsage       = "deviceDataUsage"
)

// Operations, whose metrics end in ".success" or ".failure".
const (
	TwinRead     = "d2c.twin.read"
	TwinReport   = "d2c.twin.update"
	DirectMethod = "c2d.methods"
)

// MetricColumns are the columns of table MetricSamples, in the order and with
// the field numbers of message Metric in event.proto. Rows of one node and
// minute may be several; see [AzureMetrics].
var MetricColumns = []Column{
	{Name: "TimeGenerated", Type: Datetime, ClickHouse: "DateTime64(7, 'UTC')", Codec: "T64, ZSTD(1)", Field: 1, Doc: "Start of the minute, UTC."},
	low(2, "Hub", nil, "Name of the IoT hub."),
	low(3, "Node", nil, "Hub process that measured."),
	low(4, "MetricName", nil, "Name of the metric."),
	low(5, "TlsVersion", nil, "Dimension: TLS version."),
	low(6, "TlsCipher", nil, "Dimension: cipher suite, IANA name."),
	low(7, "Protocol", nil, "Dimension: protocol."),
	low(8, "ResultType", nil, "Dimension: code of the refusal."),
	number(9, "Total", nil, "Sum of the measurements."),
	number(10, "Count", nil, "Number of measurements."),
	number(11, "Minimum", nil, "Least measurement."),
	number(12, "Maximum", nil, "Greatest measurement."),
}

// AzureMetrics is Azure's table of platform metrics, one row a minute, hub and
// combination of dimensions. A view over MetricSamples that puts the processes
// of a hub together.
var AzureMetrics = azureTable("Start of the minute, UTC.", []Column{
	{Name: "Resource", Type: String, ClickHouse: "String", Doc: "Name of the hub, upper case."},
	{Name: "MetricName", Type: String, ClickHouse: lowString, Doc: "SuccessfulConnections, RefusedConnections, HandshakeDuration, connectedDeviceCount, totalDeviceCount, d2c.telemetry.ingress.allProtocol, d2c.telemetry.ingress.success, deviceDataUsage; d2c.twin.read, d2c.twin.update and c2d.methods with .success or .failure."},
	{Name: "Total", Type: Real, ClickHouse: "Float64", Doc: "Sum of the measurements of the minute. Of connectedDeviceCount and totalDeviceCount use Average, Minimum or Maximum: their measurements are the same devices again."},
	{Name: "Count", Type: Real, ClickHouse: "Float64", Doc: "Number of measurements of the minute."},
	{Name: "Minimum", Type: Real, ClickHouse: "Float64", Doc: "Least measurement."},
	{Name: "Maximum", Type: Real, ClickHouse: "Float64", Doc: "Greatest measurement."},
	{Name: "Average", Type: Real, ClickHouse: "Float64", Doc: "Total by Count."},
	{Name: "TimeGrain", Type: String, ClickHouse: "String", Doc: "Always \"PT1M\": one minute."},
	{Name: "UnitName", Type: String, ClickHouse: lowString, Doc: "Count, Bytes or MilliSeconds."},
	{Name: "SourceSystem", Type: String, ClickHouse: "String", Doc: "Always \"Azure\", as in Azure's table."},
	{Name: "Type", Type: String, ClickHouse: "String", Doc: "Always \"AzureMetrics\"."},
	{Name: "Hub", Type: String, ClickHouse: lowString, Doc: "Name of the IoT hub."},
	{Name: "TlsVersion", Type: String, ClickHouse: lowString, Doc: "Dimension of SuccessfulConnections, RefusedConnections and HandshakeDuration: negotiated TLS version."},
	{Name: "TlsCipher", Type: String, ClickHouse: lowString, Doc: "Dimension of the same: negotiated cipher suite, IANA name."},
	{Name: "Protocol", Type: String, ClickHouse: lowString, Doc: "Dimension of SuccessfulConnections and RefusedConnections: Mqtt, MqttWs, Amqp, AmqpWs or Https."},
	{Name: "ResultType", Type: String, ClickHouse: lowString, Doc: "Dimension of RefusedConnections: code of the refusal."},
	{Name: "Dimensions", Type: Dynamic, ClickHouse: "String", Doc: "The dimensions that the metric has, as a property bag."},
})

// text and long are the fields of m by their numbers in message Metric; nil for
// another.
func (m *Metric) text(field protowire.Number) *string {
	switch field {
	case 2:
		return &m.Hub
	case 3:
		return &m.Node
	case 4:
		return &m.MetricName
	case 5:
		return &m.TlsVersion
	case 6:
		return &m.TlsCipher
	case 7:
		return &m.Protocol
	case 8:
		return &m.ResultType
	case 13:
		return &m.Service
	case 14:
		return &m.MetricType
	case 15:
		return &m.UnitName
	case 16:
		return &m.Stream
	case 17:
		return &m.Reason
	default:
		return nil
	}
}

func (m *Metric) long(field protowire.Number) *int64 {
	switch field {
	case 9:
		return &m.Total
	case 10:
		return &m.Count
	case 11:
		return &m.Minimum
	case 12:
		return &m.Maximum
	default:
		return nil
	}
}

// Text is what m has in column c, a string, of [MetricColumns] or
// [PipelineColumns].
func (m *Metric) Text(c *Column) string { return *m.text(protowire.Number(c.Field)) }

// Long is what m has in column c, a long, of the same.
func (m *Metric) Long(c *Column) int64 { return *m.long(protowire.Number(c.Field)) }

func (m *Metric) record() record { return record{"metric", &m.TimeGenerated, m.text, m.long, 18} }

// AppendMetric appends m to b as one length-prefixed protobuf message, message
// Metric of event.proto.
func AppendMetric(b []byte, m *Metric) []byte { return m.record().append(b) }

// CutMetric reads the first sample of a message of type [ContentTypeMetrics].
// rest is what follows it; when the sample is malformed, err says why, and rest
// is where the next begins, or nil if that is not known.
func CutMetric(message []byte) (m Metric, rest []byte, err error) {
	rest, err = m.record().cut(message)
	return m, rest, err
}
