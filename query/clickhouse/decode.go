package clickhouse

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/plan"
)

// columnError says that ClickHouse answered with other columns than the
// compiler promised: a bug of ours.
type columnError struct{ text string }

func (e *columnError) Error() string { return e.text }

// decode turns a block into a batch. Nothing in the batch refers to the block.
func decode(columns []query.Column, results proto.Results, rows int) (*query.Batch, error) {
	if len(columns) == 0 {
		// A SELECT has a column; a result may have none.
		return &query.Batch{Rows: rows}, nil
	}
	if len(results) != len(columns) {
		return nil, &columnError{fmt.Sprintf("%d columns came, %d were planned", len(results), len(columns))}
	}
	b := &query.Batch{Rows: rows, Columns: make([]query.Vector, len(columns))}
	for i, c := range columns {
		v := &b.Columns[i]
		v.Type = c.Type
		values, nulls := split(results[i].Data)
		if nulls != nil {
			v.Nulls = nullMask(nulls)
		}
		if !fill(v, values) {
			return nil, &columnError{fmt.Sprintf("column %s: %s cannot be a %s", c.Name, results[i].Data.Type(), c.Type)}
		}
	}
	return b, nil
}

// split takes a Nullable column apart.
func split(col proto.ColResult) (values any, nulls proto.ColUInt8) {
	switch c := col.(type) {
	case *proto.ColNullable[string]:
		return c.Values, c.Nulls
	case *proto.ColNullable[bool]:
		return c.Values, c.Nulls
	case *proto.ColNullable[int32]:
		return c.Values, c.Nulls
	case *proto.ColNullable[int64]:
		return c.Values, c.Nulls
	case *proto.ColNullable[float64]:
		return c.Values, c.Nulls
	case *proto.ColNullable[time.Time]:
		return c.Values, c.Nulls
	case *proto.ColNullable[uuid.UUID]:
		return c.Values, c.Nulls
	}
	return col, nil
}

// nullMask returns nil when nothing is null.
func nullMask(nulls proto.ColUInt8) []bool {
	var mask []bool
	for i, n := range nulls {
		if n != 0 {
			if mask == nil {
				mask = make([]bool, len(nulls))
			}
			mask[i] = true
		}
	}
	return mask
}

// fill copies the values of a column into v. The compiler's outermost
// projection gives each Kusto type one form.
func fill(v *query.Vector, values any) bool {
	switch v.Type {
	case plan.Bool:
		c, ok := values.(*proto.ColBool)
		if ok {
			v.Bools = append([]bool(nil), *c...)
		}
		return ok
	case plan.Int:
		c, ok := values.(*proto.ColInt32)
		if ok {
			v.Ints = make([]int64, len(*c))
			for i, n := range *c {
				v.Ints[i] = int64(n)
			}
		}
		return ok
	case plan.Long, plan.Timespan:
		c, ok := values.(*proto.ColInt64)
		if ok {
			v.Ints = append([]int64(nil), *c...)
		}
		return ok
	case plan.Real:
		c, ok := values.(*proto.ColFloat64)
		if ok {
			v.Reals = append([]float64(nil), *c...)
		}
		return ok
	case plan.Datetime:
		c, ok := values.(*proto.ColDateTime64)
		if !ok || c.Precision != tickPrecision {
			return false
		}
		v.Ints = make([]int64, len(c.Data))
		for i, n := range c.Data {
			v.Ints[i] = int64(n) + plan.UnixEpochTicks
		}
		return true
	case plan.GUID:
		c, ok := values.(*proto.ColUUID)
		if ok {
			v.Strings = make([]string, len(*c))
			for i, id := range *c {
				v.Strings[i] = id.String()
			}
		}
		return ok
	case plan.Dynamic:
		ok := fillStrings(v, values)
		for i, s := range v.Strings {
			// JSON is UTF-8; a stored text need not be.
			if !utf8.ValidString(s) {
				v.Strings[i] = strings.ToValidUTF8(s, "\ufffd")
			}
		}
		return ok
	case plan.String, plan.Decimal:
		return fillStrings(v, values)
	}
	return false
}

// tickPrecision of DateTime64: 100 ns, a KQL tick.
const tickPrecision = 7

func fillStrings(v *query.Vector, values any) bool {
	c, ok := values.(*proto.ColStr)
	if !ok {
		return false
	}
	// One copy for the block, not one a string.
	text := string(c.Buf)
	v.Strings = make([]string, len(c.Pos))
	for i, p := range c.Pos {
		v.Strings[i] = text[p.Start:p.End]
	}
	return true
}

// rowBytes is what a value costs a client, roughly: its text or eight bytes.
const rowBytes = 8

// within returns how many rows of b fit into limit bytes, and their bytes. A
// limit of 0 is none.
func within(b *query.Batch, limit int64) (rows int, bytes int64) {
	for row := range b.Rows {
		size := int64(0)
		for i := range b.Columns {
			if s := b.Columns[i].Strings; s != nil {
				size += int64(len(s[row])) + 2
			} else {
				size += rowBytes
			}
		}
		if limit > 0 && bytes+size > limit {
			return row, bytes
		}
		bytes += size
	}
	return b.Rows, bytes
}

// cut drops all rows but the first n.
func cut(b *query.Batch, n int) {
	b.Rows = n
	for i := range b.Columns {
		v := &b.Columns[i]
		shorten(&v.Nulls, n)
		shorten(&v.Bools, n)
		shorten(&v.Ints, n)
		shorten(&v.Reals, n)
		shorten(&v.Strings, n)
	}
}

func shorten[T any](s *[]T, n int) {
	if *s != nil {
		*s = (*s)[:n]
	}
}
