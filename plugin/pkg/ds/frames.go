package ds

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

// numbers makes numbers with labels, as alert rules and expressions take them: of
// each row, the texts are the labels of its number. A result with TimeGenerated
// (or time, timestamp) has a time in each row and becomes time series; other
// datetimes, such as LastSeen, are left out.
func (r *result) numbers(s shape) (data.Frames, []data.Notice, error) {
	if at := r.timeColumn(); at >= 0 && slices.ContainsFunc(timeNames, func(n string) bool { return strings.EqualFold(n, r.columns[at].name) }) {
		return r.series(s)
	}
	labels, values, notices := r.parts(-1, "the numbers")
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("an alert rule or expression needs a number column, and %s: add an aggregate such as count()", r.described())
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
