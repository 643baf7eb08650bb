package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubscope/query/client"
)

// Charts in the terminal: what render asked for, drawn below the table. Bars
// for barchart, columnchart and piechart; lines over time or numbers for
// timechart, linechart, areachart, scatterchart and their like.

// chart collects the rows that a chart needs. It draws at most maxPoints rows;
// beyond them it says so.
type chart struct {
	columns []client.Column
	rows    [][]json.RawMessage
	more    bool
}

const maxPoints = 50_000

func (c *chart) add(rows [][]json.RawMessage) {
	if room := maxPoints - len(c.rows); len(rows) > room {
		rows, c.more = rows[:room], true
	}
	c.rows = append(c.rows, rows...)
}

// series is a line or a group of bars.
type series struct {
	name string
	x    []float64 // ticks or numbers; for bars the index into labels
	y    []float64
}

// canvas is where charts are drawn and how.
type canvas struct {
	w     io.Writer
	width int
	color bool
}

const (
	barWidth    = 80 // a chart is not wider than this without a terminal
	plotHeight  = 14
	maxBars     = 40
	maxSeries   = 8
	seriesMarks = "*o+x#@%&"
)

// seriesColors are told apart on dark and light grounds alike.
var seriesColors = [maxSeries]string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[31m", "\x1b[34m", "\x1b[96m", "\x1b[95m"}

// drawnKinds are what render can name and is drawn, and as what.
var drawnKinds = map[string]string{
	"timechart": "timechart", "linechart": "linechart", "areachart": "areachart", "stackedareachart": "stackedareachart", "scatterchart": "scatterchart",
	"barchart": "barchart", "columnchart": "columnchart", "piechart": "piechart", "card": "card",
	"anomalychart": "timechart", "timepivot": "timechart", "treemap": "barchart", "pivotchart": "barchart", "ladderchart": "barchart",
}

// noChart says why a result has no chart.
type noChart string

// Error returns it in words.
func (e noChart) Error() string { return "no chart: " + string(e) }

// check returns the chart to draw with its columns of numbers, or why there
// is none. The result of make-series, whose rows are arrays, becomes points.
func (c *chart) check(r *client.Render) (points *chart, kind string, y []int, err error) {
	if kind = drawnKinds[r.Visualization]; kind == "" {
		return nil, "", nil, noChart("hubscope draws no " + printable(r.Visualization) + "; --chart has other kinds")
	}
	if len(c.rows) == 0 {
		return nil, "", nil, noChart("there are no rows")
	}
	c = c.unpacked()
	if y = c.yColumns(r); len(y) == 0 {
		return nil, "", nil, noChart(r.Visualization + " needs a column of numbers")
	}
	return c, kind, y, nil
}

// draw draws the chart of this kind, or says why it cannot.
func (c *chart) draw(cv canvas, r *client.Render) {
	c, kind, y, err := c.check(r)
	if err != nil {
		fmt.Fprintln(cv.w, err)
		return
	}
	if title := r.Properties["title"]; title != "" {
		fmt.Fprintln(cv.w, cv.style(bold, printable(title)))
	}
	switch kind {
	case "piechart", "barchart", "columnchart":
		c.bars(cv, r, y)
	case "card":
		c.cards(cv, y)
	default:
		c.plot(cv, r, y)
	}
	if c.more {
		fmt.Fprintf(cv.w, "the chart shows the first %s\n", plural(maxPoints, "row"))
	}
}

func (cv canvas) style(code, s string) string {
	if !cv.color || s == "" {
		return s
	}
	return code + s + plain
}

// column returns the index of a column by name, -1 if there is none.
func (c *chart) column(name string) int {
	return slices.IndexFunc(c.columns, func(col client.Column) bool { return col.Name == name })
}

func (c *chart) properties(r *client.Render, key string) []int {
	var list []int
	for _, name := range strings.Split(r.Properties[key], ",") {
		if i := c.column(strings.TrimSpace(name)); i >= 0 {
			list = append(list, i)
		}
	}
	return list
}

// xColumn is the one that render names; else for bars the first column that is
// no number, and for lines the first datetime; else the first column.
func (c *chart) xColumn(r *client.Render) int {
	if x := c.properties(r, "xcolumn"); len(x) > 0 {
		return x[0]
	}
	suits := func(col client.Column) bool { return col.Type == "datetime" }
	switch drawnKinds[r.Visualization] {
	case "barchart", "columnchart", "piechart":
		suits = func(col client.Column) bool { return !numeric(col.Type) }
	}
	return max(slices.IndexFunc(c.columns, suits), 0)
}

// yColumns are those that render names, else all columns of numbers but x.
func (c *chart) yColumns(r *client.Render) []int {
	if y := c.properties(r, "ycolumns"); len(y) > 0 {
		return y
	}
	x := c.xColumn(r)
	if len(c.columns) == 1 || r.Visualization == "card" {
		x = -1
	}
	var list []int
	for i, col := range c.columns {
		if numeric(col.Type) && i != x {
			list = append(list, i)
		}
	}
	return list
}

// unpacked returns the chart with one row for each place of the arrays in its
// rows, when numbers are in arrays only or arrays say the times, as those of
// make-series do; else the chart itself. What is not in arrays is a label then.
func (c *chart) unpacked() *chart {
	types := make([]string, len(c.columns)) // of items, "" for columns without arrays
	numbers, times, scalars := false, false, false
	for i, col := range c.columns {
		if col.Type == "dynamic" {
			types[i] = itemType(c.rows, i)
			numbers, times = numbers || types[i] == "real", times || types[i] == "datetime"
		}
		scalars = scalars || numeric(col.Type)
	}
	if !numbers || scalars && !times {
		return c
	}
	p := &chart{columns: slices.Clone(c.columns), more: c.more}
	for i := range p.columns {
		if p.columns[i].Type = types[i]; types[i] == "" {
			p.columns[i].Type = "string"
		}
	}
	for _, row := range c.rows {
		items, longest := make([][]json.RawMessage, len(row)), 0
		for i := range row {
			if types[i] != "" && json.Unmarshal(row[i], &items[i]) == nil {
				longest = max(longest, len(items[i]))
			}
		}
		if room := maxPoints - len(p.rows); longest > room {
			longest, p.more = room, true
		}
		for k := range longest {
			point := slices.Clone(row)
			for i := range point {
				if k < len(items[i]) {
					point[i] = items[i][k]
				} else if types[i] != "" {
					point[i] = json.RawMessage("null")
				}
			}
			p.rows = append(p.rows, point)
		}
	}
	return p
}

// itemType is what the arrays of a column hold: real, datetime or string; ""
// when there are none.
func itemType(rows [][]json.RawMessage, column int) string {
	typ := ""
	for _, row := range rows {
		var items []json.RawMessage
		if json.Unmarshal(row[column], &items) != nil || items == nil {
			continue
		}
		typ = "string"
		for _, item := range items {
			switch {
			case string(item) == "null":
				continue
			case !math.IsNaN(number(item, "datetime")):
				return "datetime"
			case item[0] != '"' && !math.IsNaN(number(item, "real")):
				return "real"
			}
			return "string"
		}
	}
	return typ
}

// number returns a cell as a number, NaN for null and what is none.
func number(raw json.RawMessage, typ string) float64 {
	s := strings.Trim(string(raw), `"`)
	switch typ {
	case "datetime":
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return float64(t.UnixNano()) / 1e9
		}
		return math.NaN()
	case "timespan":
		if d, ok := client.ParseTimespan(s); ok {
			return d.Seconds()
		}
		return math.NaN()
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// label joins the cells of the columns that are neither x nor y.
func (c *chart) label(row []json.RawMessage, columns []int) string {
	parts := make([]string, len(columns))
	for i, col := range columns {
		if parts[i] = printable(cell(row[col])); parts[i] == "" {
			parts[i] = "(empty)"
		}
	}
	return strings.Join(parts, ", ")
}

// bar is one of a bar or pie chart.
type bar struct {
	label string
	value float64
	text  string
}

// labelColumns are those that name a bar.
func (c *chart) labelColumns(r *client.Render, y []int) []int {
	var labels []int
	for i, other := range c.columns {
		if !slices.Contains(y, i) && (!numeric(other.Type) || i == c.xColumn(r)) {
			labels = append(labels, i)
		}
	}
	return labels
}

// barsOf returns the bars of a column, in the order of the rows.
func (c *chart) barsOf(r *client.Render, y []int, col int) []bar {
	labels := c.labelColumns(r, y)
	var list []bar
	for _, row := range c.rows {
		v := number(row[col], c.columns[col].Type)
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			list = append(list, bar{c.label(row, labels), v, cell(row[col])})
		}
	}
	return list
}

// bars draws one line a bar.
func (c *chart) bars(cv canvas, r *client.Render, y []int) {
	for _, col := range y {
		list := c.barsOf(r, y, col)
		sum, largest, smallest := 0.0, 0.0, 0.0
		for _, b := range list {
			sum += math.Max(b.value, 0)
			largest, smallest = math.Max(largest, b.value), math.Min(smallest, b.value)
		}
		if len(list) == 0 {
			fmt.Fprintln(cv.w, noChart(printable(c.columns[col].Name)+" has no numbers"))
			continue
		}
		left := 0
		if len(list) > maxBars {
			left = len(list) - maxBars
			list = list[:maxBars]
		}
		labelWidth, valueWidth := 0, 0
		for _, b := range list {
			labelWidth = max(labelWidth, width(b.label))
			valueWidth = max(valueWidth, width(b.text))
		}
		labelWidth = min(labelWidth, max(cv.width/3, 8))
		share := 0
		if r.Visualization == "piechart" && sum > 0 && smallest >= 0 {
			share = len(" 100.0 %")
		}
		room := max(cv.width-labelWidth-valueWidth-share-3, 8)
		below := 0 // cells for bars to the left of zero
		if smallest < 0 {
			below = min(max(int(math.Round(float64(room-1)*-smallest/(largest-smallest))), 1), room-2)
			room -= below + 1
		}
		scale := 0.0 // cells of one
		if largest > 0 {
			scale = float64(room) / largest
		}
		if smallest < 0 && (scale == 0 || float64(below)/-smallest < scale) {
			scale = float64(below) / -smallest
		}
		if len(y) > 1 {
			fmt.Fprintln(cv.w, cv.style(bold, printable(c.columns[col].Name)))
		}
		for _, b := range list {
			label := b.label
			if width(label) > labelWidth {
				label = cutTo(label, labelWidth)
			}
			line := label + strings.Repeat(" ", labelWidth-width(label)+1)
			if below > 0 {
				drawn := leftBlocks(math.Max(-b.value, 0) * scale)
				line += strings.Repeat(" ", max(below-width(drawn), 0)) + cv.style(seriesColors[0], drawn) + "│"
			}
			drawn := blocks(math.Max(b.value, 0) * scale)
			line += cv.style(seriesColors[0], drawn) + strings.Repeat(" ", max(room-width(drawn), 0)+1+valueWidth-width(b.text)) + b.text
			if share > 0 {
				line += fmt.Sprintf(" %5.1f %%", 100*b.value/sum)
			}
			fmt.Fprintln(cv.w, line)
		}
		if left > 0 {
			fmt.Fprintf(cv.w, "and %s more\n", plural(int64(left), "bar"))
		}
	}
}

// blocks draws a bar of n cells with eighths.
func blocks(n float64) string {
	eighths := int(math.Round(n * 8))
	s := strings.Repeat("█", eighths/8)
	if e := eighths % 8; e > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[e-1])
	}
	if s == "" && n > 0 {
		s = "▏"
	}
	return s
}

// leftBlocks draws a bar of n cells that ends at its right side, where there
// are but halves.
func leftBlocks(n float64) string {
	halves := int(math.Round(n * 2))
	if halves == 0 && n > 0 {
		halves = 1
	}
	return strings.Repeat("▐", halves%2) + strings.Repeat("█", halves/2)
}

// cards prints single numbers.
func (c *chart) cards(cv canvas, y []int) {
	for _, col := range y {
		fmt.Fprintf(cv.w, "%s  %s\n", printable(c.columns[col].Name), cv.style(bold, cell(c.rows[0][col])))
	}
}

// plot draws lines over time or numbers.
func (c *chart) plot(cv canvas, r *client.Render, y []int) {
	list, times, left, ok := c.lines(r, y)
	switch {
	case !ok:
		c.bars(cv, r, y)
	case len(list) == 0:
		fmt.Fprintln(cv.w, noChart("there are no points"))
	default:
		stacked, share := stacking(r)
		if stacked {
			list = stacks(list, share)
		}
		drawLines(cv, list, axes{
			times: times, connect: r.Visualization != "scatterchart", filled: stacked || len(list) == 1 && r.Visualization == "areachart",
			number: c.axisLabel(y, share),
		})
		if left > 0 {
			fmt.Fprintf(cv.w, "and %d more series\n", left)
		}
	}
}

// stacking says whether the areas of a chart stand on each other, and whether
// as shares of a hundred.
func stacking(r *client.Render) (stacked, share bool) {
	kind := r.Properties["kind"]
	area := strings.HasSuffix(r.Visualization, "areachart")
	share = area && kind == "stacked100"
	return share || r.Visualization == "stackedareachart" || area && kind == "stacked", share
}

// axisLabel returns how numbers of these columns are written on an axis.
func (c *chart) axisLabel(y []int, share bool) func(float64) string {
	if share {
		return func(f float64) string { return axisNumber(f) + " %" }
	}
	for _, i := range y {
		if c.columns[i].Type != "timespan" {
			return axisNumber
		}
	}
	return axisSpan
}

// lines returns the series over time or numbers: the largest, and how many
// there are besides. ok says that there is such an axis.
func (c *chart) lines(r *client.Render, y []int) (list []*series, times bool, left int, ok bool) {
	x := c.xColumn(r)
	typ := c.columns[x].Type
	if typ != "datetime" && !numeric(typ) {
		return nil, false, 0, false
	}
	var split []int
	if split = c.properties(r, "series"); len(split) == 0 {
		for i, col := range c.columns {
			if i != x && !slices.Contains(y, i) && !numeric(col.Type) && col.Type != "datetime" {
				split = append(split, i)
			}
		}
	}
	byName := map[string]*series{}
	for _, row := range c.rows {
		xv := number(row[x], typ)
		if math.IsNaN(xv) {
			continue
		}
		for _, col := range y {
			v := number(row[col], c.columns[col].Type)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			name := c.label(row, split)
			if len(y) > 1 || name == "" {
				name = strings.TrimPrefix(name+": "+printable(c.columns[col].Name), ": ")
			}
			s := byName[name]
			if s == nil {
				s = &series{name: name}
				byName[name] = s
				list = append(list, s)
			}
			s.x, s.y = append(s.x, xv), append(s.y, v)
		}
	}
	if len(list) > maxSeries { // the largest count
		slices.SortStableFunc(list, func(a, b *series) int { return compare(total(b), total(a)) })
		left = len(list) - maxSeries
		list = list[:maxSeries]
	}
	for _, s := range list {
		sortByX(s)
	}
	slices.SortStableFunc(list, func(a, b *series) int { return strings.Compare(a.name, b.name) })
	return list, typ == "datetime", left, true
}

func total(s *series) float64 {
	t := 0.0
	for _, v := range s.y {
		t += math.Abs(v)
	}
	return t
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// axes say how lines are drawn.
type axes struct {
	times   bool // x is time
	connect bool // the points, by lines
	filled  bool // the room below a line, that of later ones over that of earlier ones
	number  func(float64) string
}

// drawLines draws series on a grid of characters with two axes.
func drawLines(cv canvas, list []*series, ax axes) {
	minX, maxX, minY, maxY := math.Inf(1), math.Inf(-1), 0.0, math.Inf(-1)
	for _, s := range list {
		for i := range s.x {
			minX, maxX = math.Min(minX, s.x[i]), math.Max(maxX, s.x[i])
			minY, maxY = math.Min(minY, s.y[i]), math.Max(maxY, s.y[i])
		}
	}
	if maxY <= minY {
		maxY = minY + 1
	}
	top, bottom := ax.number(maxY), ax.number(minY)
	margin := max(width(top), width(bottom))
	w := max(cv.width-margin-2, 10)
	grid := make([]int, w*plotHeight) // series number + 1
	at := func(x, y float64) (int, int) {
		col := w / 2 // of a single one
		if maxX > minX {
			col = int(math.Round((x - minX) / (maxX - minX) * float64(w-1)))
		}
		row := int(math.Round((maxY - y) / (maxY - minY) * float64(plotHeight-1)))
		return col, row
	}
	_, ground := at(minX, 0)
	for n, s := range list {
		set := func(col, row int) {
			last := row
			if ax.filled {
				row, last = min(row, ground), max(row, ground)
			}
			for ; row <= last; row++ {
				grid[row*w+col] = n + 1
			}
		}
		prevCol, prevRow := -1, 0
		for i := range s.x {
			col, row := at(s.x[i], s.y[i])
			if ax.connect && prevCol >= 0 {
				line(prevCol, prevRow, col, row, set)
			}
			set(col, row)
			prevCol, prevRow = col, row
		}
	}
	dot := "•"
	if ax.filled {
		dot = "█"
	}
	mark := func(n int) string {
		m := string(seriesMarks[n%len(seriesMarks)])
		if cv.color {
			return cv.style(seriesColors[n%maxSeries], dot)
		}
		return m
	}
	for row := range plotHeight {
		label := ""
		switch row {
		case 0:
			label = top
		case plotHeight - 1:
			label = bottom
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%*s │", margin, label)
		for col := range w {
			if n := grid[row*w+col]; n > 0 {
				b.WriteString(mark(n - 1))
			} else {
				b.WriteByte(' ')
			}
		}
		fmt.Fprintln(cv.w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintf(cv.w, "%*s └%s\n", margin, "", strings.Repeat("─", w))
	from, to := axisNumber(minX), axisNumber(maxX)
	if ax.times {
		from, to = axisTime(minX, maxX-minX), axisTime(maxX, maxX-minX)
	}
	if minX == maxX {
		fmt.Fprintf(cv.w, "%*s  %s%s\n", margin, "", strings.Repeat(" ", max((w-len(from))/2, 0)), from)
	} else {
		pad := max(w-len(from)-len(to), 1)
		fmt.Fprintf(cv.w, "%*s  %s%s%s\n", margin, "", from, strings.Repeat(" ", pad), to)
	}
	if len(list) > 1 || list[0].name != "" {
		legend, used := "", 0
		for n, s := range list {
			name := s.name
			if width(name) > w-2 {
				name = cutTo(name, w-2)
			}
			switch cells := width(name) + 2; {
			case n == 0:
				used = cells
			case used+3+cells > w: // on the next line
				legend, used = legend+fmt.Sprintf("\n%*s  ", margin, ""), cells
			default:
				legend, used = legend+"   ", used+3+cells
			}
			legend += mark(n) + " " + name
		}
		fmt.Fprintf(cv.w, "%*s  %s\n", margin, "", legend)
	}
}

// sortByX orders the points of a series from left to right.
func sortByX(s *series) {
	index := make([]int, len(s.x))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return compare(s.x[a], s.x[b]) })
	x, y := make([]float64, len(s.x)), make([]float64, len(s.y))
	for i, j := range index {
		x[i], y[i] = s.x[j], s.y[j]
	}
	s.x, s.y = x, y
}

// line visits the cells from one point to another.
func line(x0, y0, x1, y1 int, visit func(x, y int)) {
	dx, dy := max(x1-x0, x0-x1), max(y1-y0, y0-y1)
	steps := max(dx, dy, 1)
	for i := 0; i <= steps; i++ {
		t := float64(i) / float64(steps)
		visit(x0+int(math.Round(t*float64(x1-x0))), y0+int(math.Round(t*float64(y1-y0))))
	}
}

func axisNumber(f float64) string {
	if a := math.Abs(f); a >= 10000 && a < 1e15 {
		if f < 0 {
			return "-" + count(int64(a))
		}
		return count(int64(a))
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}

// axisSpan writes a timespan, in seconds, short: 250 ms, 1.5 h, 3 d.
func axisSpan(seconds float64) string {
	units := []struct {
		size float64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}}
	for _, u := range units {
		if math.Abs(seconds) >= u.size {
			return strconv.FormatFloat(seconds/u.size, 'g', 4, 64) + " " + u.name
		}
	}
	return axisNumber(seconds)
}

// axisTime writes a time as finely as the span of the axis asks for.
func axisTime(seconds, span float64) string {
	t := time.Unix(0, int64(seconds*1e9)).UTC()
	switch {
	case span >= 7*86400:
		return t.Format("2006-01-02")
	case span >= 600:
		return t.Format("2006-01-02 15:04")
	default:
		return t.Format("2006-01-02 15:04:05")
	}
}
