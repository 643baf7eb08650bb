package ingest

import (
	"fmt"
	"slices"
	"strings"
)

// Proto returns the text of event.proto, made from [Connections].
func Proto() string {
	var b strings.Builder
	b.WriteString(`// Made from the column list in columns.go; do not edit.
//
// A message on the wire holds many events: either as one message Batch, with
// header Content-Type: ` + ContentTypeBatch + `,
// as hubs send them, or as messages Event, each preceded by its length as a
// varint (as protobuf's own delimited streams are), with header
// Content-Type: ` + ContentType + `.
syntax = "proto3";

package hubscope.v1;

// Event is one terminal fact about one accepted TCP connection.
message Event {
`)
	for i := range Connections {
		c := &Connections[i]
		fmt.Fprintf(&b, "  // %s\n  %s %s = %d;%s\n", c.Doc, c.protoType(), snake(c.Name), c.Field, c.protoNote())
	}
	b.WriteString("}\n")
	b.WriteString(batchProto)
	message := func(name, what, media string, columns []Column) {
		fmt.Fprintf(&b, "\n// %s is %s. Messages of\n// them are like those of events, with Content-Type: %s.\nmessage %s {\n", name, what, media, name)
		for _, c := range columns {
			kind, note := "string", ""
			switch c.Type {
			case Long:
				kind = "int64"
			case Datetime:
				kind, note = "sfixed64", " // 100 ns since 1970-01-01 UTC"
			}
			fmt.Fprintf(&b, "  // %s\n  %s %s = %d;%s\n", c.Doc, kind, snake(c.Name), c.Field, note)
		}
		b.WriteString("}\n")
	}
	message("Metric", "a sample of a metric, measured by one process", ContentTypeMetrics, metricColumns())
	message("Change", "something that somebody changed, or tried to", ContentTypeAudit, Audit)
	return b.String()
}

// metricColumns are the columns of both tables of samples, by their field numbers.
func metricColumns() []Column {
	list := slices.Clone(MetricColumns)
	for _, c := range PipelineColumns {
		if !slices.ContainsFunc(list, func(m Column) bool { return m.Field == c.Field }) {
			list = append(list, c)
		}
	}
	return list
}

// batchProto is the text of message Batch, which does not depend on the columns.
const batchProto = `
// Batch is many events, column by column: what repeats stands there once.
message Batch {
  // Column is one field of all events. A field that no event has needs none.
  message Column {
    // Number of the field in message Event. Readers skip what they do not know.
    uint32 field = 1;
    // Of a string or a repeated field: the distinct values. One of a repeated
    // field is its elements as they stand in message Event, tags included.
    repeated bytes values = 2;
    // For each event the number of its value, from 1 on; 0 for none. All have
    // one byte, or all have two, little endian. Without keys, the one value is
    // every event's.
    bytes keys = 3;
    // Of a number, bool or time: what an event has is base plus its part of
    // fixed.
    sint64 base = 4;
    // Of these, for each event 0, 1, 2, 4 or 8 bytes, unsigned little endian; of
    // connection_id the 16 bytes themselves.
    bytes fixed = 5;
  }
  // How many there are, 1 to 10000.
  uint32 events = 1;
  repeated Column columns = 2;
}
`

func (c *Column) protoType() string {
	switch {
	case c.long != nil:
		return "int64"
	case c.flag != nil:
		return "bool"
	case c.list != nil:
		return "repeated string"
	case c.time != nil:
		return "sfixed64"
	case c.guid != nil:
		return "bytes"
	default:
		return "string"
	}
}

func (c *Column) protoNote() string {
	switch {
	case c.time != nil:
		return " // 100 ns since 1970-01-01 UTC"
	case c.guid != nil:
		return " // 16 bytes"
	default:
		return ""
	}
}

// snake turns a column name into protobuf's field spelling: TlsVersion, tls_version.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
