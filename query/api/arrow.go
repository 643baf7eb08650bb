package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/plan"
)

// Arrow IPC streams (https://arrow.apache.org/docs/format/Columnar.html). The
// types are
//
//	bool, int, long, real   Boolean, Int32, Int64, Float64
//	string                  Utf8, never null
//	datetime                Timestamp(ns, "UTC"); from 1677 to 2262
//	timespan                Duration(ns); up to 292 years
//	guid                    FixedSizeBinary(16), extension arrow.uuid
//	dynamic                 Utf8 of JSON, extension arrow.json
//	decimal                 Utf8: a column has no one scale
//
// with the KQL type in each field's metadata under kusto.type. A value beyond a
// range ends the answer with an error. Whether rows were cut is said in the
// metadata of a last batch without rows, and in the trailers that CSV has too.

// arrowSchema is the schema of a result.
func arrowSchema(columns []query.Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		f := arrow.Field{Name: c.Name, Nullable: true}
		meta := map[string]string{"kusto.type": c.Type.String()}
		switch c.Type {
		case plan.Bool:
			f.Type = arrow.FixedWidthTypes.Boolean
		case plan.Int:
			f.Type = arrow.PrimitiveTypes.Int32
		case plan.Long:
			f.Type = arrow.PrimitiveTypes.Int64
		case plan.Real:
			f.Type = arrow.PrimitiveTypes.Float64
		case plan.Datetime:
			f.Type = arrow.FixedWidthTypes.Timestamp_ns // UTC
		case plan.Timespan:
			f.Type = arrow.FixedWidthTypes.Duration_ns
		case plan.GUID:
			f.Type = &arrow.FixedSizeBinaryType{ByteWidth: 16}
			meta["ARROW:extension:name"], meta["ARROW:extension:metadata"] = "arrow.uuid", ""
		case plan.Dynamic, plan.Unknown:
			f.Type = arrow.BinaryTypes.String
			meta["kusto.type"] = plan.Dynamic.String()
			meta["ARROW:extension:name"], meta["ARROW:extension:metadata"] = "arrow.json", ""
		default:
			f.Type = arrow.BinaryTypes.String
			f.Nullable = c.Type != plan.String
		}
		f.Metadata = arrow.MetadataFrom(meta)
		fields[i] = f
	}
	return arrow.NewSchema(fields, nil)
}

// errRange is the error of a value that has no place in its Arrow type.
func errRange(name, typ, text string) error {
	return &query.Error{Code: query.CodeRuntime, Message: fmt.Sprintf(
		"column %s has the %s %s, which is beyond the nanoseconds of Arrow; use tostring(), or another format", name, typ, text)}
}

// The datetimes that nanoseconds since 1970 in 64 bits reach, in ticks.
var (
	arrowFirst = plan.Ticks(time.Unix(0, math.MinInt64).Add(100))
	arrowLast  = plan.Ticks(time.Unix(0, math.MaxInt64))
	arrowEpoch = plan.Ticks(time.Unix(0, 0))
)

// appendArrow appends a column of a batch to a builder.
func appendArrow(to array.Builder, name string, v *query.Vector, rows int) error {
	to.Reserve(rows)
	for i := range rows {
		if v.Null(i) {
			to.AppendNull()
			continue
		}
		switch to := to.(type) {
		case *array.BooleanBuilder:
			to.UnsafeAppend(v.Bools[i])
		case *array.Int32Builder:
			to.UnsafeAppend(int32(v.Ints[i]))
		case *array.Int64Builder:
			to.UnsafeAppend(v.Ints[i])
		case *array.Float64Builder:
			to.UnsafeAppend(v.Reals[i])
		case *array.TimestampBuilder:
			if t := v.Ints[i]; t < arrowFirst || t > arrowLast {
				return errRange(name, "datetime", v.Text(i))
			}
			to.UnsafeAppend(arrow.Timestamp((v.Ints[i] - arrowEpoch) * 100))
		case *array.DurationBuilder:
			if t := v.Ints[i]; t > math.MaxInt64/100 || t < math.MinInt64/100 {
				return errRange(name, "timespan", v.Text(i))
			}
			to.UnsafeAppend(arrow.Duration(v.Ints[i] * 100))
		case *array.FixedSizeBinaryBuilder:
			id, err := uuid.Parse(v.Strings[i])
			if err != nil {
				return fmt.Errorf("guid %q: %w", v.Strings[i], err)
			}
			to.Append(id[:])
		case *array.StringBuilder:
			to.Append(v.Strings[i])
		default:
			panic(fmt.Sprintf("no Arrow column %T", to)) // of our schema
		}
	}
	return nil
}

// writeArrow writes an IPC stream, a record batch for every batch of rows.
func (a *answer) writeArrow(s *sink, trailer http.Header) error {
	schema := arrowSchema(a.columns)
	out := ipc.NewWriter(s, ipc.WithSchema(schema))
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	failed, err := a.each(func(b *query.Batch) error {
		for i := range b.Columns {
			if err := appendArrow(builder.Field(i), a.columns[i].Name, &b.Columns[i], b.Rows); err != nil {
				if err = queryError("", err); a.failed != nil {
					a.failed(err)
				}
				return err // a status, if nothing has been sent yet
			}
		}
		batch := builder.NewRecordBatch()
		defer batch.Release()
		if err := out.Write(batch); err != nil {
			return err
		}
		return s.flush()
	})
	if err != nil {
		return err
	}
	if failed != nil {
		return errCut
	}
	truncated, rows := strconv.FormatBool(a.rows.Truncated()), strconv.FormatInt(a.rows.Stats().Rows, 10)
	empty := builder.NewRecordBatch()
	defer empty.Release()
	keys, values := []string{client.ArrowTruncated, client.ArrowRows}, []string{truncated, rows}
	if len(a.notices) > 0 {
		keys, values = append(keys, client.ArrowNotices), append(values, strings.Join(a.notices, "\n"))
	}
	last := array.NewRecordBatchWithMetadata(schema, empty.Columns(), 0, arrow.NewMetadata(keys, values))
	defer last.Release()
	if err := out.Write(last); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	trailer.Set(trailerTruncated, truncated)
	trailer.Set(trailerRows, rows)
	return s.close()
}
