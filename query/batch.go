package query

import (
	"encoding/json"
	"math"
	"strconv"

	"hubscope/query/plan"
)

// Batch is some rows of a result, column by column.
type Batch struct {
	Rows    int
	Columns []Vector
}

// Vector is one column of a batch. Exactly one of the value slices is used,
// according to Type:
//
//	Bools    bool
//	Ints     int, long; datetime as 100 ns ticks since 0001-01-01, timespan as ticks
//	Reals    real
//	Strings  string; guid, decimal as text; dynamic as JSON text
type Vector struct {
	Type    plan.Type
	Nulls   []bool // nil when no value is null
	Bools   []bool
	Ints    []int64
	Reals   []float64
	Strings []string
}

// Null says whether the value in this row is null. A string never is.
func (v *Vector) Null(row int) bool { return v.Nulls != nil && v.Nulls[row] }

// Value returns the value in this row: nil, bool, int64 (int and long), float64,
// time.Time (datetime, UTC), plan.Timespan, json.RawMessage (dynamic), or string
// (string, guid, decimal).
func (v *Vector) Value(row int) any {
	if v.Null(row) {
		return nil
	}
	switch v.Type {
	case plan.Bool:
		return v.Bools[row]
	case plan.Int, plan.Long:
		return v.Ints[row]
	case plan.Real:
		return v.Reals[row]
	case plan.Datetime:
		return plan.Time(v.Ints[row])
	case plan.Timespan:
		return plan.Span(v.Ints[row])
	case plan.Dynamic:
		return json.RawMessage(v.Strings[row])
	default:
		return v.Strings[row]
	}
}

// Text returns the value as Kusto prints it; null is "".
func (v *Vector) Text(row int) string {
	if v.Null(row) {
		return ""
	}
	switch v.Type {
	case plan.Bool:
		return strconv.FormatBool(v.Bools[row])
	case plan.Int, plan.Long:
		return strconv.FormatInt(v.Ints[row], 10)
	case plan.Real:
		return FormatReal(v.Reals[row])
	case plan.Datetime:
		return plan.FormatDatetime(v.Ints[row])
	case plan.Timespan:
		return plan.FormatTimespan(v.Ints[row])
	default:
		return v.Strings[row]
	}
}

// AppendJSON appends the value in this row as JSON: datetime, timespan, guid as
// strings, dynamic as it is, NaN and the infinities as "NaN", "Infinity",
// "-Infinity", decimal as a string of digits.
func (v *Vector) AppendJSON(b []byte, row int) []byte {
	if v.Null(row) {
		return append(b, "null"...)
	}
	switch v.Type {
	case plan.Bool:
		return strconv.AppendBool(b, v.Bools[row])
	case plan.Int, plan.Long:
		return strconv.AppendInt(b, v.Ints[row], 10)
	case plan.Real:
		f := v.Reals[row]
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(append(append(b, '"'), FormatReal(f)...), '"')
		}
		return appendReal(b, f)
	case plan.Datetime:
		return append(append(append(b, '"'), plan.FormatDatetime(v.Ints[row])...), '"')
	case plan.Timespan:
		return append(append(append(b, '"'), plan.FormatTimespan(v.Ints[row])...), '"')
	case plan.Dynamic:
		return append(b, v.Strings[row]...)
	default:
		return plan.AppendJSONString(b, v.Strings[row])
	}
}

// FormatReal returns a real as Kusto prints it in results: the shortest digits
// that read back as the same number; NaN, Infinity, -Infinity.
func FormatReal(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return string(appendReal(nil, f))
}

func appendReal(b []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}
