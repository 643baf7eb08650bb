package ds

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// Frames of results.
//
//	datetime        time, to the nanosecond; null beyond the years 1677 to 2262
//	int, long       int64
//	real            float64, NaN and the infinities as they are
//	decimal         float64: Grafana has no decimals
//	bool            bool
//	timespan        float64, milliseconds with the unit ms, so that tables sort it,
//	                thresholds work and Grafana writes it as people do
//	string, guid    string
//	dynamic         JSON
//
// What can be null in KQL is nullable, so that the fields of a query do not
// change their types from one refresh to the next.
//
//	table         one frame. For alert rules and expressions, which take no tables,
//	              numbers with the texts as labels: see numbers.
//	time_series   timeseries-wide with one time and its numbers when there are no
//	              labels, else timeseries-multi; never long, whatever the result.
//	logs          log-lines

// Limits of frames.
const (
	// maxSeries is how many series a panel gets; an alert rule gets all up to
	// maxAlertSeries, and an error beyond.
	maxSeries, maxAlertSeries = 1000, 10_000
)

// Versions of the data plane's contract that frames follow.
var (
	typeVersion     = data.FrameTypeVersion{0, 1}
	logsTypeVersion = data.FrameTypeVersion{0, 0}
)

// shape is what frames are made for.
type shape struct {
	format Format
	// numeric says that an alert rule or an expression asks, which need numbers.
	numeric bool
	// alert says that it is an alert rule.
	alert bool
	// expanded is the query, whose range and bins the axis of arrays may follow.
	expanded *Expanded
	// deviceLink, if not empty, is the address of the dashboard of one device.
	deviceLink string
}

// frames makes the frames of a result. The error is the user's.
func (r *result) frames(s shape) (data.Frames, []data.Notice, error) {
	switch {
	case s.alert && s.format == FormatLogs:
		return nil, nil, errors.New("an alert rule needs numbers and not log lines: count them, and choose the format Table or Time series")
	case s.format == FormatLogs:
		f, notices, err := r.logs()
		if err != nil {
			return nil, nil, err
		}
		return data.Frames{f}, append(r.beyond(), notices...), nil
	case s.format == FormatTimeSeries:
		return r.series(s)
	case s.numeric:
		frames, notices, err := r.numbers(s)
		if err == nil || s.alert {
			return frames, notices, err
		}
		// The expression may be about another query of the panel.
	}
	return data.Frames{r.table(s.deviceLink)}, r.beyond(), nil
}

// beyond tells of datetimes that frames cannot hold.
func (r *result) beyond() []data.Notice {
	n, names := 0, []string(nil)
	for _, c := range r.columns {
		if c.beyond > 0 {
			n += c.beyond
			names = append(names, c.name)
		}
	}
	if n == 0 {
		return nil
	}
	return []data.Notice{warning("%s of %s before 1677 or after 2262 cannot be shown and are empty", count(n, "datetime"), strings.Join(names, ", "))}
}

func warning(format string, args ...any) data.Notice {
	return data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf(format, args...)}
}

func info(format string, args ...any) data.Notice {
	return data.Notice{Severity: data.NoticeSeverityInfo, Text: fmt.Sprintf(format, args...)}
}

// count writes a number of things: 1 row, 2 rows.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// table returns the result as it is. Its cells offer filters where there are ad
// hoc filters for their columns, and those of devices a link to the dashboard of
// the device.
func (r *result) table(deviceLink string) *data.Frame {
	f := data.NewFrame("")
	has := func(name string) bool {
		return slices.ContainsFunc(r.columns, func(c *column) bool { return c.name == name })
	}
	filters := FilterColumns()
	for _, c := range r.columns {
		field := c.field(nil, nil)
		config := func() *data.FieldConfig {
			if field.Config == nil {
				field.Config = &data.FieldConfig{}
			}
			return field.Config
		}
		if slices.ContainsFunc(filters, func(f FilterColumn) bool { return f.Name == c.name && f.Type == c.typ }) {
			yes := true
			config().Filterable = &yes
		}
		if c.name == "DeviceId" && c.typ == "string" && deviceLink != "" {
			url := deviceLink + "&var-device=${__value.raw:percentencode}&${__url_time_range}"
			if has("Hub") {
				url += "&var-hub=${__data.fields.Hub:percentencode}"
			}
			config().Links = []data.DataLink{{Title: "TLS of this device", URL: url}}
		}
		f.Fields = append(f.Fields, field)
	}
	f.Meta = &data.FrameMeta{Type: data.FrameTypeTable, TypeVersion: typeVersion, PreferredVisualization: data.VisTypeTable}
	return f
}

// timeColumn returns the column with the time of a row: TimeGenerated or another
// usual name, else the first datetime; -1 if there is none.
func (r *result) timeColumn() int {
	for _, name := range timeNames {
		if i := slices.IndexFunc(r.columns, func(c *column) bool { return c.typ == "datetime" && strings.EqualFold(c.name, name) }); i >= 0 {
			return i
		}
	}
	return slices.IndexFunc(r.columns, func(c *column) bool { return c.typ == "datetime" })
}

// timeNames are usual names of the time of a row.
var timeNames = []string{"TimeGenerated", "Timestamp", "Time"}

// described lists the columns of the result, for errors.
func (r *result) described() string {
	if len(r.columns) == 0 {
		return "the result has no columns"
	}
	parts := make([]string, 0, len(r.columns))
	for _, c := range r.columns {
		if len(parts) == 12 {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, c.name+": "+c.typ)
	}
	return "the result has " + strings.Join(parts, ", ")
}

// serie is the rows of a result that have the same labels.
type serie struct {
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
	notices := r.beyond()
	var labels, values []*column
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
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("time series need a number column, and %s: add an aggregate such as count(), or choose the format Table", r.described())
	}
	if len(left) > 0 {
		notices = append(notices, info("columns that are neither text nor number are not part of time series: %s", strings.Join(left, ", ")))
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
func (r *result) group(at *column, labels []*column) (list []*serie, lost, same int) {
	byKey := map[string]*serie{}
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
			s = &serie{}
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
	slices.SortFunc(list, func(a, b *serie) int { return slices.Compare(a.key, b.key) })
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
func largest(list []*serie, of *column, n int) []*serie {
	sums := make(map[*serie]float64, len(list))
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
	slices.SortStableFunc(byColumn, func(a, b *serie) int { return cmp.Compare(sums[b], sums[a]) })
	keep := map[*serie]bool{}
	for _, s := range byColumn[:n] {
		keep[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s *serie) bool { return !keep[s] })
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
func (r *result) wide(at int, values []*column, list []*serie) *data.Frame {
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
func (r *result) multi(at int, labels, values []*column, list []*serie) data.Frames {
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
func (s *serie) name(labels []*column) string {
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

// numbers makes numbers with labels, as alert rules and expressions take them: of
// each row, the texts are the labels of its number. A result with TimeGenerated
// (or time, timestamp) has a time in each row and becomes time series; other
// datetimes, such as LastSeen, are left out.
func (r *result) numbers(s shape) (data.Frames, []data.Notice, error) {
	if at := r.timeColumn(); at >= 0 && slices.ContainsFunc(timeNames, func(n string) bool { return strings.EqualFold(n, r.columns[at].name) }) {
		return r.series(s)
	}
	notices := r.beyond()
	var labels, values []*column
	var left []string
	for _, c := range r.columns {
		switch {
		case c.label():
			labels = append(labels, c)
		case c.number():
			values = append(values, c)
		default:
			left = append(left, c.name)
		}
	}
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("an alert rule or expression needs a number column, and %s: add an aggregate such as count()", r.described())
	}
	if len(left) > 0 {
		notices = append(notices, info("columns that are neither text nor number are not part of the numbers: %s", strings.Join(left, ", ")))
	}
	f := data.NewFrame("")
	f.Meta = &data.FrameMeta{Type: data.FrameTypeNumericWide, TypeVersion: typeVersion}
	if len(labels) > 0 && len(values) == 1 {
		f.Meta.Type = data.FrameTypeNumericLong
	}
	if r.rows == 0 {
		return data.Frames{f}, notices, nil // without fields: no data
	}
	if len(labels) == 0 && r.rows > 1 {
		return nil, nil, fmt.Errorf("the query gives %d rows and no text column to tell them apart, and an alert rule or expression needs labels that are unique: summarize to one row, or by a text column", r.rows)
	}
	if n := r.rows * len(values); s.alert && n > maxAlertSeries {
		return nil, nil, fmt.Errorf("the query gives %d numbers, and an alert rule may have %d: group by less", n, maxAlertSeries)
	}
	seen := make(map[string]bool, r.rows)
	for row := range r.rows {
		of := labelsOf(labels, row)
		key := of.String()
		if seen[key] {
			return nil, nil, fmt.Errorf("several rows have the labels {%s}, and an alert rule or expression needs labels that are unique: summarize by them, or add the column that tells the rows apart", key)
		}
		seen[key] = true
		if f.Meta.Type == data.FrameTypeNumericLong {
			continue
		}
		for _, c := range values {
			var with data.Labels // none: one row with one number
			if len(values) > 1 {
				with = withMetric(of, c.name)
			}
			f.Fields = append(f.Fields, c.field(with, []int{row}))
		}
	}
	if f.Meta.Type == data.FrameTypeNumericLong {
		for _, c := range labels {
			texts := make([]string, r.rows)
			for row := range texts {
				texts[row] = c.text(row)
			}
			f.Fields = append(f.Fields, data.NewField(c.name, nil, texts))
		}
		f.Fields = append(f.Fields, values[0].field(nil, nil))
	}
	return data.Frames{f}, notices, nil
}

// withMetric returns labels that tell the numbers of a row apart, which alert
// rules and expressions know by their labels alone.
func withMetric(labels data.Labels, name string) data.Labels {
	with := data.Labels{"metric": name}
	for k, v := range labels {
		with[k] = v
	}
	return with
}

func labelsOf(columns []*column, row int) data.Labels {
	labels := make(data.Labels, len(columns))
	for _, c := range columns {
		labels[c.name] = c.text(row)
	}
	return labels
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
	var labels []*column
	for _, c := range r.columns {
		if c.typ != "dynamic" {
			labels = append(labels, c)
			continue
		}
		a, ok := readArrays(c)
		switch {
		case !ok:
			labels = append(labels, c)
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
	long := &result{columns: []*column{{name: axis.name, typ: "datetime"}}}
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

// logs makes log lines, of any result with a time.
func (r *result) logs() (*data.Frame, []data.Notice, error) {
	at := r.timeColumn()
	if at < 0 {
		return nil, nil, fmt.Errorf("log lines need a datetime column, and %s: keep TimeGenerated, or choose the format Table", r.described())
	}
	named := map[string]*column{}
	for i, c := range r.columns {
		if i != at {
			named[c.name] = c
		}
	}
	var times []time.Time
	bodies, severities, ids := []string{}, []string{}, []string{}
	labels := []json.RawMessage{}
	level := firstOf(named, "Level", "level", "Severity", "severity")
	times = make([]time.Time, 0, r.rows)
	seen := map[string]int{}
	lost := 0
	for row := range r.rows {
		if r.columns[at].null[row] {
			lost++
			continue
		}
		times = append(times, r.columns[at].times[row])
		bodies = append(bodies, r.line(at, named, row))
		if level != nil {
			severities = append(severities, severity(level.text(row)))
		}
		id := r.id(named, row)
		if n := seen[id]; n > 0 {
			ids = append(ids, id+"-"+strconv.Itoa(n+1))
		} else {
			ids = append(ids, id)
		}
		seen[id]++
		labels = append(labels, r.logLabels(at, row))
	}
	f := data.NewFrame("", data.NewField("timestamp", nil, times), data.NewField("body", nil, bodies))
	if level != nil {
		f.Fields = append(f.Fields, data.NewField("severity", nil, severities))
	}
	f.Fields = append(f.Fields, data.NewField("id", nil, ids), data.NewField("labels", nil, labels))
	f.Meta = &data.FrameMeta{Type: data.FrameTypeLogLines, TypeVersion: logsTypeVersion, PreferredVisualization: data.VisTypeLogs}
	var notices []data.Notice
	if lost > 0 {
		notices = append(notices, warning("%s without a time in %s left out", count(lost, "row"), r.columns[at].name))
	}
	return f, notices, nil
}

func firstOf(named map[string]*column, names ...string) *column {
	for _, n := range names {
		if c := named[n]; c != nil {
			return c
		}
	}
	return nil
}

// severity is a level in the words that Grafana has colours for.
func severity(level string) string {
	switch strings.ToLower(level) {
	case "information", "informational", "info", "notice":
		return "info"
	case "warning", "warn":
		return "warning"
	case "error", "err":
		return "error"
	case "critical", "fatal", "emergency", "alert":
		return "critical"
	case "debug", "verbose":
		return "debug"
	case "trace":
		return "trace"
	}
	return "unknown"
}

// lineColumns are what a line about an event says, in this order, when there is
// no text that says it.
var lineColumns = []string{"OperationName", "DeviceId", "ClaimedDeviceId", "Protocol", "AuthType", "TlsVersion", "TlsCipher", "ResultType", "ResultSignature", "DisconnectReason"}

// line is the body of a log line: the text that describes the row, or what is
// known of an event, or all columns as name=value.
func (r *result) line(at int, named map[string]*column, row int) string {
	for _, name := range []string{"ResultDescription", "Message", "message", "Body", "body", "Line"} {
		if c := named[name]; c != nil && c.typ == "string" && c.text(row) != "" {
			return c.text(row)
		}
	}
	if named["OperationName"] != nil {
		return eventLine(named, row)
	}
	var parts []string
	for i, c := range r.columns {
		if s := c.text(row); i != at && s != "" {
			if strings.ContainsAny(s, " =\"\n") {
				s = strconv.Quote(s)
			}
			parts = append(parts, c.name+"="+s)
		}
	}
	return strings.Join(parts, " ")
}

// eventLine says what is known of an event.
func eventLine(named map[string]*column, row int) string {
	var parts []string
	proven := false
	for _, name := range lineColumns {
		c := named[name]
		if c == nil || c.text(row) == "" {
			continue
		}
		s := c.text(row)
		switch name {
		case "DeviceId":
			proven = true
		case "ClaimedDeviceId":
			if proven {
				continue
			}
			s = "(claims to be " + s + ")"
		case "TlsVersion":
			s = "TLS " + s
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// id names a row, the same at every refresh: an event by its connection, its
// sequence and its operation, any other row by its content.
func (r *result) id(named map[string]*column, row int) string {
	if c, s, o := named["ConnectionId"], named["Sequence"], named["OperationName"]; c != nil && s != nil && o != nil && c.text(row) != "" {
		return c.text(row) + "-" + s.text(row) + "-" + o.text(row)
	}
	h := fnv.New128a()
	var b []byte
	for _, c := range r.columns {
		s := c.text(row)
		b = strconv.AppendInt(append(append(b[:0], c.name...), ' '), int64(len(s)), 10)
		b = append(append(append(b, ':'), s...), '\n')
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// logLabels are the columns of a row that say something, but the time and the
// text of the line.
func (r *result) logLabels(at, row int) json.RawMessage {
	b := []byte{'{'}
	for i, c := range r.columns {
		s := c.text(row)
		if i == at || s == "" || c.name == "ResultDescription" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, c.name), ':')
		b = appendJSON(b, s)
	}
	return append(b, '}')
}

// appendJSON appends a text as JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // of a text, which cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Units by the names of columns. An aggregate keeps the name of its column
// within its own: avg_HandshakeMicros, percentile_DurationMs_95.
var units = []struct {
	name *regexp.Regexp
	unit string
}{
	{regexp.MustCompile(`^(count|dcount|countif|dcountif|make_set|make_list)_`), ""},
	{regexp.MustCompile(`Ms(_\d+)*$|Milliseconds(_\d+)*$`), "ms"},
	{regexp.MustCompile(`Micros(_\d+)*$|Microseconds(_\d+)*$`), "µs"},
	{regexp.MustCompile(`Seconds(_\d+)*$`), "s"},
	{regexp.MustCompile(`BytesPerSecond(_\d+)*$`), "Bps"},
	{regexp.MustCompile(`(^|_)Bytes([A-Z_]|$)|Bytes(_\d+)*$`), "bytes"},
	{regexp.MustCompile(`(^|_)(Share|Percent)([A-Z_]|$)|(Share|Percent)(_\d+)*$`), "percent"},
	{regexp.MustCompile(`Days(_\d+)*$`), "d"},
}

// unit returns Grafana's id of the unit of a column.
func (c *column) unit() string {
	if c.typ == "timespan" {
		return "ms"
	}
	if !c.number() {
		return ""
	}
	for _, u := range units {
		if u.name.MatchString(c.name) {
			return u.unit
		}
	}
	return ""
}

// config returns how a column is shown, nil if there is nothing to say.
func (c *column) config() *data.FieldConfig {
	config := data.FieldConfig{Unit: c.unit()}
	switch c.typ {
	case "decimal":
		config.Description = "decimal in KQL, shown with the digits that a float has"
	case "timespan":
		config.Description = "timespan in KQL, in milliseconds"
	}
	if config.Unit == "" && config.Description == "" {
		return nil
	}
	return &config
}

// visualization is what a render operator asks for, in the words of Explore.
func visualization(kind string) data.VisType {
	switch kind {
	case "table", "card", "pivotchart":
		return data.VisTypeTable
	case "timechart", "areachart", "stackedareachart", "linechart", "barchart", "columnchart", "scatterchart", "anomalychart":
		return data.VisTypeGraph
	}
	return ""
}
