package ds

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// rowGroup is the rows of a result that have the same labels.
type rowGroup struct {
	labels data.Labels
	key    []string // values of the labels, for the order
	rows   []int    // by time
}

// series makes time series.
func (r *result) series(s shape) (data.Frames, []data.Notice, error) {
	at := r.timeColumn()
	if at < 0 {
		long, err := r.unpack(s.expanded)
		if err != nil {
			return nil, nil, err
		}
		if long == nil {
			return nil, nil, fmt.Errorf("time series need a datetime column, and %s: end with summarize ... by bin(TimeGenerated, $__timeInterval), use make-series, or choose the format Table", r.described())
		}
		r, at = long, long.timeColumn()
	}
	labels, values, notices := r.parts(at, "time series")
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("time series need a number column, and %s: add an aggregate such as count(), or choose the format Table", r.described())
	}
	list, lost, same := r.group(r.columns[at], labels)
	if lost > 0 {
		notices = append(notices, warning("%s without a time in %s left out", count(lost, "row"), r.columns[at].name))
	}
	if same > 0 {
		notices = append(notices, warning("%s left out, because a later one has the same time and labels: group by what tells them apart, or aggregate", count(same, "row")))
	}
	if n := len(list) * len(values); s.alert && n > maxAlertSeries {
		return nil, nil, fmt.Errorf("the query gives %d series, and an alert rule may have %d: group by less", n, maxAlertSeries)
	} else if !s.alert && n > maxSeries {
		keep := max(maxSeries/len(values), 1)
		notices = append(notices, warning("the %d series with the greatest sums of %s of %d are shown: group by less, or take the top", keep, values[0].name, len(list)))
		list = largest(list, values[0], keep)
	}
	var frames data.Frames
	if len(labels) == 0 {
		frames = data.Frames{r.wide(at, values, list)}
	} else {
		frames = r.multi(at, labels, values, list)
	}
	switch {
	case s.numeric && len(list) == 0:
		// No fields is "no data"; a series without points would be a number that is
		// none.
		frames[0].Fields = nil
	case s.numeric && len(values) > 1:
		for _, f := range frames {
			for _, v := range f.Fields[1:] {
				v.Labels = withMetric(v.Labels, v.Name)
			}
		}
	}
	for _, f := range frames {
		f.Meta.TypeVersion = typeVersion
		f.Meta.PreferredVisualization = data.VisTypeGraph
	}
	return frames, notices, nil
}

// group sorts the rows into series. lost rows have no time, same rows the time
// and the labels of a later one.
func (r *result) group(at *column, labels []*column) (list []*rowGroup, lost, same int) {
	byKey := map[string]*rowGroup{}
	var key []byte
	for row := range r.rows {
		if at.null[row] {
			lost++
			continue
		}
		key = key[:0]
		for _, c := range labels {
			s := c.text(row)
			key = append(strconv.AppendInt(key, int64(len(s)), 10), ':')
			key = append(key, s...)
		}
		s := byKey[string(key)]
		if s == nil {
			s = &rowGroup{}
			if len(labels) > 0 {
				s.labels = data.Labels{}
			}
			for _, c := range labels {
				s.labels[c.name] = c.text(row)
				s.key = append(s.key, c.text(row))
			}
			byKey[string(key)] = s
			list = append(list, s)
		}
		s.rows = append(s.rows, row)
	}
	slices.SortFunc(list, func(a, b *rowGroup) int { return slices.Compare(a.key, b.key) })
	for _, s := range list {
		slices.SortStableFunc(s.rows, func(a, b int) int { return at.times[a].Compare(at.times[b]) })
		kept := s.rows[:0]
		for i, row := range s.rows {
			if i+1 < len(s.rows) && at.times[s.rows[i+1]].Equal(at.times[row]) {
				same++
				continue
			}
			kept = append(kept, row)
		}
		s.rows = kept
	}
	return list, lost, same
}

// largest returns the n series with the greatest sums, in their order.
func largest(list []*rowGroup, of *column, n int) []*rowGroup {
	sums := make(map[*rowGroup]float64, len(list))
	for _, s := range list {
		for _, row := range s.rows {
			switch {
			case of.null[row]:
			case of.ints != nil:
				sums[s] += float64(of.ints[row])
			case !math.IsNaN(of.reals[row]):
				sums[s] += of.reals[row]
			}
		}
	}
	byColumn := slices.Clone(list)
	slices.SortStableFunc(byColumn, func(a, b *rowGroup) int { return cmp.Compare(sums[b], sums[a]) })
	keep := map[*rowGroup]bool{}
	for _, s := range byColumn[:n] {
		keep[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s *rowGroup) bool { return !keep[s] })
}

// moments returns the times of some rows as a field.
func (c *column) moments(rows []int) *data.Field {
	times := make([]time.Time, len(rows))
	for i, row := range rows {
		times[i] = c.times[row]
	}
	return data.NewField(c.name, nil, times)
}

// wide returns the one series without labels.
func (r *result) wide(at int, values []*column, list []*rowGroup) *data.Frame {
	rows := []int{}
	if len(list) > 0 {
		rows = list[0].rows
	}
	f := data.NewFrame("", r.columns[at].moments(rows))
	for _, c := range values {
		f.Fields = append(f.Fields, c.field(nil, rows))
	}
	f.Meta = &data.FrameMeta{Type: data.FrameTypeTimeSeriesWide}
	return f
}

// multi returns a frame for each series and number.
func (r *result) multi(at int, labels, values []*column, list []*rowGroup) data.Frames {
	meta := func() *data.FrameMeta { return &data.FrameMeta{Type: data.FrameTypeTimeSeriesMulti} }
	if len(list) == 0 {
		f := data.NewFrame("", r.columns[at].moments([]int{}), values[0].field(nil, []int{}))
		f.Meta = meta()
		return data.Frames{f}
	}
	var frames data.Frames
	for _, s := range list {
		times := r.columns[at].moments(s.rows)
		for _, c := range values {
			value := c.field(s.labels, s.rows)
			if len(values) == 1 {
				// Grafana would put the name of the column before it.
				if value.Config == nil {
					value.Config = &data.FieldConfig{}
				}
				value.Config.DisplayNameFromDS = s.name(labels)
			}
			f := data.NewFrame("", times, value)
			f.Meta = meta()
			frames = append(frames, f)
		}
	}
	return frames
}

// name is what a legend says of a series: the values of its labels.
func (s *rowGroup) name(labels []*column) string {
	parts := make([]string, len(s.key))
	for i, v := range s.key {
		switch {
		case v == "":
			parts[i] = "(none)"
		case labels[i].typ == "bool":
			parts[i] = labels[i].name + "=" + v
		default:
			parts[i] = v
		}
	}
	return strings.Join(parts, ", ")
}

// unpack turns the arrays of make-series into rows, one for each point; nil if
// there are none. The axis is the array of datetimes; without one, arrays with as
// many values as the range has bins follow the bins.
func (r *result) unpack(x *Expanded) (*result, error) {
	if r.rows == 0 {
		return r.unpackNothing(), nil
	}
	var axis *arrays
	var values []*arrays
	var labels, other []*column
	for _, c := range r.columns {
		if c.typ != "dynamic" {
			if c.label() || c.typ == "int" || c.typ == "long" {
				labels = append(labels, c)
			} else {
				other = append(other, c)
			}
			continue
		}
		a, ok := readArrays(c)
		switch {
		case !ok:
			other = append(other, c)
		case a.times != nil && axis == nil:
			axis = a
		case a.times == nil:
			values = append(values, a)
		}
	}
	if len(values) == 0 && axis == nil {
		return nil, nil
	}
	if len(values) == 0 {
		return nil, errors.New("the result has an array of datetimes and no array of numbers beside it: " + r.described())
	}
	if axis == nil {
		if axis = regularAxis(values[0], x); axis == nil {
			return nil, fmt.Errorf("the arrays of %s have no array of datetimes beside them: keep the axis of make-series (on TimeGenerated) in the result", values[0].name)
		}
	}
	// What is told of a whole series, such as the slope of its line, is no name of it:
	// alert rules would take it for another one each time.
	if len(other) > 0 && !r.unique(labels) {
		labels, other = append(labels, other...), nil
	}
	long := &result{columns: []*column{{name: axis.name, typ: "datetime"}}}
	for _, c := range other {
		long.apart = append(long.apart, c.name)
	}
	for _, c := range labels {
		long.columns = append(long.columns, &column{name: c.name, typ: "string"})
	}
	for _, v := range values {
		long.columns = append(long.columns, &column{name: v.name, typ: "real"})
	}
	for row := range r.rows {
		n := len(axis.times[row])
		for _, v := range values {
			if m := len(v.reals[row]); m != n && m > 0 {
				return nil, fmt.Errorf("the arrays %s and %s have %d and %d elements in row %d", axis.name, v.name, n, m, row+1)
			}
		}
		for i, t := range axis.times[row] {
			at := long.columns[0]
			null := t.IsZero() || t.Before(firstTime) || t.After(lastTime)
			at.times, at.null = append(at.times, t), append(at.null, null)
			for j, c := range labels {
				to := long.columns[1+j]
				to.texts, to.null = append(to.texts, c.text(row)), append(to.null, false)
			}
			for j, v := range values {
				to := long.columns[1+len(labels)+j]
				f, ok := 0.0, false
				if i < len(v.reals[row]) && v.reals[row][i] != nil {
					f, ok = *v.reals[row][i], true
				}
				to.reals, to.null = append(to.reals, f), append(to.null, !ok)
			}
			long.rows++
		}
	}
	return long, nil
}

// unique says whether the values of some columns tell the rows apart.
func (r *result) unique(columns []*column) bool {
	seen := make(map[string]bool, r.rows)
	for row := range r.rows {
		key := labelsOf(columns, row).String()
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

// unpackNothing is unpack of a result without rows, whose arrays are told by
// their names: the axis is named like a time, or comes last. nil if there are no
// two dynamic columns.
func (r *result) unpackNothing() *result {
	var arrays []*column
	for _, c := range r.columns {
		if c.typ == "dynamic" {
			arrays = append(arrays, c)
		}
	}
	if len(arrays) < 2 {
		return nil
	}
	axis := arrays[len(arrays)-1]
	for _, name := range timeNames {
		if i := slices.IndexFunc(arrays, func(c *column) bool { return strings.EqualFold(c.name, name) }); i >= 0 {
			axis = arrays[i]
			break
		}
	}
	long := &result{}
	for _, c := range r.columns {
		typ := "string"
		switch {
		case c == axis:
			typ = "datetime"
		case c.typ == "dynamic":
			typ = "real"
		}
		long.columns = append(long.columns, &column{name: c.name, typ: typ})
	}
	return long
}

// arrays are the arrays of a dynamic column, by row.
type arrays struct {
	name  string
	times [][]time.Time // of an axis
	reals [][]*float64  // of values
}

// readArrays reads a column whose every value is an array of datetimes or of
// numbers, or null; ok says that it is one, and not of nulls alone.
func readArrays(c *column) (a *arrays, ok bool) {
	a = &arrays{name: c.name}
	cells := make([][]json.RawMessage, len(c.jsons))
	isTimes := false
	for row, cell := range c.jsons {
		if c.null[row] {
			continue
		}
		if cell = bytes.TrimSpace(cell); len(cell) == 0 || cell[0] != '[' || json.Unmarshal(cell, &cells[row]) != nil {
			return nil, false
		}
		if !ok && len(cells[row]) > 0 {
			_, isTimes = moment(cells[row][0])
		}
		ok = true
	}
	if !ok {
		return nil, false
	}
	if isTimes {
		a.times = make([][]time.Time, len(cells))
	} else {
		a.reals = make([][]*float64, len(cells))
	}
	for row, list := range cells {
		for _, cell := range list {
			if isTimes {
				t, ok := moment(cell)
				if !ok && string(cell) != "null" {
					return nil, false
				}
				a.times[row] = append(a.times[row], t)
				continue
			}
			f, ok := realOf(cell)
			if !ok && string(cell) != "null" {
				return nil, false
			}
			if !ok {
				a.reals[row] = append(a.reals[row], nil)
				continue
			}
			a.reals[row] = append(a.reals[row], &f)
		}
	}
	return a, true
}

// moment reads a datetime within JSON.
func moment(cell json.RawMessage) (time.Time, bool) {
	s, err := text(cell)
	if err != nil || len(s) < len("2006-01-02") || cell[0] != '"' {
		return time.Time{}, false
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	return time.Time{}, false
}

// realOf reads a number within JSON, also one of those that JSON has no number for.
func realOf(cell json.RawMessage) (float64, bool) {
	switch s := string(cell); s {
	case `"NaN"`, `"Infinity"`, `"-Infinity"`:
		f, err := strconv.ParseFloat(strings.Trim(s, `"`), 64)
		return f, err == nil
	case "true":
		return 1, true
	case "false":
		return 0, true
	default:
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
}

// regularAxis returns the axis of arrays that have a value for each bin of the
// range; nil if they do not.
func regularAxis(of *arrays, x *Expanded) *arrays {
	if x == nil || !x.Bins || x.Interval <= 0 {
		return nil
	}
	start := x.Start.Truncate(x.Interval)
	n := int((x.End.Sub(start) + x.Interval - 1) / x.Interval)
	axis := &arrays{name: "TimeGenerated", times: make([][]time.Time, len(of.reals))}
	for row, list := range of.reals {
		if len(list) != n && len(list) != 0 {
			return nil
		}
		for i := range list {
			axis.times[row] = append(axis.times[row], start.Add(time.Duration(i)*x.Interval))
		}
	}
	return axis
}
