package ds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"hubscope/query/client"
	"hubscope/query/kql"
)

// result is what a query gave. It does not change once it is read, and may be
// shared by several answers.
type result struct {
	columns   []*column
	rows      int
	bytes     int64 // roughly, in memory
	stats     client.Stats
	truncated bool
	notices   []string
	render    *client.Render
	explained client.Explained
	// apart are columns that are told of a whole series (see unpack).
	apart []string
}

// bounded says whether the range limited what the query read: some tables have no
// TimeGenerated.
func (r *result) bounded() bool {
	return slices.ContainsFunc(r.explained.Tables, func(t string) bool {
		return !slices.Contains([]string{"Devices", "DeviceStates", "DeviceFirsts", "Certificates"}, t)
	})
}

// column is a column of a result. One of the slices has the values.
type column struct {
	name, typ string
	null      []bool
	bools     []bool
	ints      []int64           // int, long
	reals     []float64         // real, decimal; timespan in milliseconds
	times     []time.Time       // datetime
	texts     []string          // string, guid
	jsons     []json.RawMessage // dynamic

	beyond int // datetimes that no frame can hold
}

func newResult(columns []client.Column) *result {
	r := &result{columns: make([]*column, len(columns))}
	for i, c := range columns {
		r.columns[i] = &column{name: c.Name, typ: c.Type}
	}
	return r
}

// add appends rows as the service sends them.
func (r *result) add(rows [][]json.RawMessage) error {
	for _, row := range rows {
		if len(row) != len(r.columns) {
			return fmt.Errorf("the service sent a row of %d cells for %d columns", len(row), len(r.columns))
		}
		for i, cell := range row {
			if err := r.columns[i].add(cell); err != nil {
				return fmt.Errorf("column %s: %w", r.columns[i].name, err)
			}
			r.bytes += int64(len(cell)) + 16
		}
	}
	r.rows += len(rows)
	return nil
}

// Times that frames can hold: nanoseconds since 1970 in 64 bits.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

// add appends a cell.
func (c *column) add(cell json.RawMessage) (err error) {
	null := string(cell) == "null"
	switch c.typ {
	case "bool":
		c.bools = append(c.bools, string(cell) == "true")
	case "int", "long":
		var n int64
		if !null {
			n, err = strconv.ParseInt(string(cell), 10, 64)
		}
		c.ints = append(c.ints, n)
	case "real", "decimal":
		var f float64
		if !null {
			// NaN, Infinity and all decimals are texts.
			f, err = strconv.ParseFloat(strings.Trim(string(cell), `"`), 64)
		}
		c.reals = append(c.reals, f)
	case "timespan":
		var f float64
		if !null {
			ticks, ok := kql.ParseTimespan(strings.Trim(string(cell), `"`))
			if !ok {
				err = fmt.Errorf("no timespan: %s", cell)
			}
			f = float64(ticks) / float64(kql.TicksPerMillisecond)
		}
		c.reals = append(c.reals, f)
	case "datetime":
		var t time.Time
		if !null {
			if t, err = time.Parse(time.RFC3339Nano, strings.Trim(string(cell), `"`)); err == nil && (t.Before(firstTime) || t.After(lastTime)) {
				null = true
				c.beyond++
			}
		}
		c.times = append(c.times, t)
	case "dynamic":
		c.jsons = append(c.jsons, bytes.Clone(cell)) // cells are parts of a whole line
	default: // string, guid
		var s string
		if !null {
			s, err = text(cell)
		}
		c.texts = append(c.texts, s)
	}
	c.null = append(c.null, null)
	return err
}

// text returns the value of a JSON string.
func text(cell json.RawMessage) (string, error) {
	if n := len(cell); n >= 2 && cell[0] == '"' && !strings.Contains(string(cell), `\`) {
		return string(cell[1 : n-1]), nil
	}
	var s string
	err := json.Unmarshal(cell, &s)
	return s, err
}

// label says whether the column is one whose values name a series.
func (c *column) label() bool { return c.typ == "string" || c.typ == "guid" || c.typ == "bool" }

// number says whether the column has numbers.
func (c *column) number() bool {
	switch c.typ {
	case "int", "long", "real", "decimal", "timespan":
		return true
	}
	return false
}

// text returns the value in a row as the value of a label.
func (c *column) text(row int) string {
	switch {
	case c.null[row]:
		return ""
	case c.typ == "bool":
		return strconv.FormatBool(c.bools[row])
	case c.typ == "int", c.typ == "long":
		return strconv.FormatInt(c.ints[row], 10)
	case c.typ == "timespan":
		return kql.FormatTimespan(int64(math.Round(c.reals[row] * float64(kql.TicksPerMillisecond))))
	case c.typ == "real", c.typ == "decimal":
		if f := math.Abs(c.reals[row]); f != 0 && (f < 1e-6 || f >= 1e21) {
			return strconv.FormatFloat(c.reals[row], 'e', -1, 64)
		}
		return strconv.FormatFloat(c.reals[row], 'f', -1, 64)
	case c.typ == "datetime":
		return formatTime(c.times[row])
	case c.typ == "dynamic":
		if s, err := text(c.jsons[row]); err == nil {
			return s
		}
		return string(c.jsons[row])
	}
	return c.texts[row]
}

// pick returns pointers to the values of some rows, of all if rows is nil.
func pick[T any](values []T, null []bool, rows []int) []*T {
	if rows == nil {
		list := make([]*T, len(values))
		for i := range values {
			if !null[i] {
				list[i] = &values[i]
			}
		}
		return list
	}
	list := make([]*T, len(rows))
	for i, row := range rows {
		if !null[row] {
			list[i] = &values[row]
		}
	}
	return list
}

// field returns the values of some rows as a field, of all rows if rows is nil.
// Its type depends on the column alone: whatever can be null is nullable, also
// when nothing is.
func (c *column) field(labels data.Labels, rows []int) *data.Field {
	var f *data.Field
	switch c.typ {
	case "bool":
		f = data.NewField(c.name, labels, pick(c.bools, c.null, rows))
	case "int", "long":
		f = data.NewField(c.name, labels, pick(c.ints, c.null, rows))
	case "real", "decimal", "timespan":
		f = data.NewField(c.name, labels, pick(c.reals, c.null, rows))
	case "datetime":
		f = data.NewField(c.name, labels, pick(c.times, c.null, rows))
	case "dynamic":
		f = data.NewField(c.name, labels, pick(c.jsons, c.null, rows))
	case "guid":
		f = data.NewField(c.name, labels, pick(c.texts, c.null, rows))
	default:
		// A string is never null.
		texts := c.texts
		if rows != nil {
			texts = make([]string, len(rows))
			for i, row := range rows {
				texts[i] = c.texts[row]
			}
		}
		f = data.NewField(c.name, labels, texts)
	}
	if config := c.config(); config != nil {
		f.Config = config
	}
	return f
}

// parts returns the columns but the one of the time, if at is not -1: texts are
// labels, numbers are values, and a notice says which are no part of what is made.
func (r *result) parts(at int, of string) (labels, values []*column, notices []data.Notice) {
	notices = r.beyond()
	var left []string
	for i, c := range r.columns {
		switch {
		case i == at:
		case c.label():
			labels = append(labels, c)
		case c.number():
			values = append(values, c)
		default:
			left = append(left, c.name)
		}
	}
	if len(left) > 0 {
		notices = append(notices, info("columns that are neither text nor number are not part of %s: %s", of, strings.Join(left, ", ")))
	}
	if len(r.apart) > 0 {
		notices = append(notices, info("columns that have one value for a whole series are not part of %s: %s", of, strings.Join(r.apart, ", ")))
	}
	return labels, values, notices
}
