package clickhouse

import (
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/plan"
)

// input returns the table that a statement brings with it, in the form that the
// protocol takes. A column with a mask of nulls is Nullable.
func input(in *query.Input) (name string, columns []proto.InputColumn, err error) {
	if in == nil {
		return "", nil, nil
	}
	for i, c := range in.Columns {
		data, err := inputColumn(&in.Batch.Columns[i])
		if err != nil {
			return "", nil, fmt.Errorf("input column %s: %w", c.Name, err)
		}
		columns = append(columns, proto.InputColumn{Name: c.Name, Data: data})
	}
	return in.Name, columns, nil
}

func inputColumn(v *query.Vector) (proto.ColInput, error) {
	switch v.Type {
	case plan.Bool:
		return masked[bool](v, (*proto.ColBool)(&v.Bools)), nil
	case plan.Int:
		c := make(proto.ColInt32, len(v.Ints))
		for i, n := range v.Ints {
			c[i] = int32(n)
		}
		return masked[int32](v, &c), nil
	case plan.Long, plan.Timespan:
		return masked[int64](v, (*proto.ColInt64)(&v.Ints)), nil
	case plan.Real:
		return masked[float64](v, (*proto.ColFloat64)(&v.Reals)), nil
	case plan.Datetime:
		c := new(proto.ColDateTime64).WithPrecision(tickPrecision).WithLocation(time.UTC)
		for i, n := range v.Ints {
			if v.Null(i) {
				n = plan.UnixEpochTicks // any value that fits the type
			}
			c.AppendRaw(proto.DateTime64(n - plan.UnixEpochTicks))
		}
		return masked[time.Time](v, c), nil
	case plan.GUID:
		c := make(proto.ColUUID, len(v.Strings))
		for i, s := range v.Strings {
			if v.Null(i) {
				continue
			}
			id, err := uuid.Parse(s)
			if err != nil {
				return nil, err
			}
			c[i] = id
		}
		return masked[uuid.UUID](v, &c), nil
	default:
		c := new(proto.ColStr)
		for _, s := range v.Strings {
			c.Append(s)
		}
		return masked[string](v, c), nil
	}
}

// masked makes a column Nullable if it has a mask.
func masked[T any](v *query.Vector, c proto.ColumnOf[T]) proto.ColInput {
	if v.Nulls == nil {
		return c
	}
	nulls := make(proto.ColUInt8, len(v.Nulls))
	for i, null := range v.Nulls {
		if null {
			nulls[i] = 1
		}
	}
	return &proto.ColNullable[T]{Nulls: nulls, Values: c}
}
