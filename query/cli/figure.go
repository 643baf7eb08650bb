package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"hubscope/query/client"
)

// Charts in files: the same data as in the terminal, on a light ground, with
// axes, a legend, and times in UTC.

const (
	figureWidth   = 10 * vg.Inch
	figureHeight  = 5.6 * vg.Inch
	figureDPI     = 192 // of PNG
	maxFigureBars = 30  // columns have room for their names
)

var (
	figureInk   = color.RGBA{0x1f, 0x29, 0x37, 0xff}
	figureMuted = color.RGBA{0x6b, 0x72, 0x80, 0xff}
	figureGrid  = color.RGBA{0xe5, 0xe7, 0xeb, 0xff}
	// figureColors are told apart by most who do not see all colours, too.
	figureColors = [maxSeries]color.RGBA{
		{0x25, 0x63, 0xeb, 0xff}, {0xea, 0x58, 0x0c, 0xff}, {0x05, 0x96, 0x69, 0xff}, {0x93, 0x33, 0xea, 0xff},
		{0xdc, 0x26, 0x26, 0xff}, {0x08, 0x91, 0xb2, 0xff}, {0xca, 0x8a, 0x04, 0xff}, {0x64, 0x74, 0x8b, 0xff},
	}
)

// saveChart draws the result.
func (v *view) saveChart(ctx context.Context, sh *Shell, service *client.Client, req client.QueryRequest, p *progress, out io.Writer) (string, error) {
	var c *chart
	done, err := each(ctx, service, req, p, func(columns []client.Column) (writer, error) {
		c = &chart{columns: columns}
		return chartRows{c}, nil
	})
	if err != nil {
		return "", err
	}
	notes(sh, done)
	if c.more {
		fmt.Fprintf(sh.Err, "note: the chart shows the first %s\n", plural(maxPoints, "row"))
	}
	r := v.render(done.Render)
	if r == nil {
		r = &client.Render{Visualization: "columnchart"}
		if slices.ContainsFunc(c.unpacked().columns, func(col client.Column) bool { return col.Type == "datetime" }) {
			r.Visualization = "timechart"
		}
	}
	var none noChart
	switch err := c.figure(r, v.extension(), out); {
	case errors.As(err, &none):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%w: %w", errWrite, err)
	}
	return "chart of " + plural(int64(len(c.rows)), "row"), nil
}

// chartRows keeps the rows that a chart needs.
type chartRows struct{ chart *chart }

func (c chartRows) rows(rows [][]json.RawMessage) error {
	c.chart.add(rows)
	return nil
}

func (chartRows) end() error { return nil }

// figure draws the chart as SVG or PNG.
func (c *chart) figure(r *client.Render, form string, out io.Writer) error {
	c, kind, y, err := c.check(r)
	if err != nil {
		return err
	}
	var page vg.CanvasWriterTo
	switch form {
	case "svg":
		page = vgsvg.New(figureWidth, figureHeight)
	default:
		page = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(figureWidth, figureHeight), vgimg.UseDPI(figureDPI))}
	}
	dc := draw.New(page)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	dc = draw.Crop(dc, 16, -20, 12, -14)
	if title := r.Properties["title"]; title != "" {
		style := figureText(14, xfont.WeightBold, figureInk)
		style.YAlign = text.YTop
		dc.FillText(style, vg.Point{X: dc.Min.X, Y: dc.Max.Y}, printable(title))
		dc = draw.Crop(dc, 0, 0, 0, -26)
	}
	switch kind {
	case "piechart":
		err = c.figurePie(dc, r, y)
	case "barchart", "columnchart":
		err = c.figureBars(dc, r, y, kind == "barchart")
	case "card":
		c.figureCards(dc, y)
	default:
		err = c.figureLines(dc, r, y)
	}
	if err != nil {
		return err
	}
	if form != "svg" {
		_, err = page.WriteTo(out)
		return err
	}
	var b bytes.Buffer
	if _, err := page.WriteTo(&b); err != nil {
		return err
	}
	// Where the font is missing, one of the same widths.
	_, err = out.Write(bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif;")))
	return err
}

// figureText is a style of text.
func figureText(size vg.Length, weight xfont.Weight, ink color.Color) text.Style {
	return text.Style{Color: ink, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: size}, Handler: plot.DefaultTextHandler}
}

// newPlot is a plot with our axes.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color, axis.LineStyle.Width = figureMuted, vg.Points(0.75)
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Length = vg.Points(4)
		axis.Padding = vg.Points(4)
		label := figureText(9, xfont.WeightNormal, figureInk)
		label.XAlign, label.YAlign = axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Tick.Label = label
		title := figureText(9, xfont.WeightNormal, figureMuted)
		title.XAlign, title.YAlign = axis.Label.TextStyle.XAlign, axis.Label.TextStyle.YAlign
		axis.Label.TextStyle = title
		axis.Label.Padding = vg.Points(4)
	}
	p.Y.Tick.Marker = numberTicks{}
	return p
}

// numberTicks are round numbers, written short.
type numberTicks struct{ percent bool }

// Ticks implements plot.Ticker.
func (t numberTicks) Ticks(lo, hi float64) []plot.Tick {
	return ticks(lo, hi, niceStep((hi-lo)/6), func(v float64) string {
		if t.percent {
			return axisNumber(v) + " %"
		}
		return axisNumber(v)
	})
}

// spanTicks are round timespans.
type spanTicks struct{}

// Ticks implements plot.Ticker.
func (spanTicks) Ticks(lo, hi float64) []plot.Tick {
	step := niceStep((hi - lo) / 6)
	for _, s := range timeSteps {
		if step > timeSteps[0] && (hi-lo)/s <= 7 {
			step = s
			break
		}
	}
	return ticks(lo, hi, step, axisSpan)
}

// ticks are the multiples of step from lo to hi.
func ticks(lo, hi, step float64, label func(float64) string) []plot.Tick {
	var list []plot.Tick
	for n := math.Ceil(lo/step - 1e-9); n*step <= hi+step*1e-9; n++ {
		v := n * step
		if n == 0 {
			v = 0
		}
		list = append(list, plot.Tick{Value: v, Label: label(v)})
	}
	return list
}

// niceStep is the next of 1, 2, 5, 10, 20, 50 ...
func niceStep(least float64) float64 {
	if least <= 0 || math.IsInf(least, 0) || math.IsNaN(least) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= least*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// timeSteps are what clocks and calendars count in, in seconds.
var timeSteps = []float64{
	0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600,
	86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 91 * 86400, 182 * 86400, 365 * 86400,
}

// timeTicks are round times in UTC; the day stands where it begins, and on the
// first tick.
type timeTicks struct{}

// Ticks implements plot.Ticker.
func (timeTicks) Ticks(lo, hi float64) []plot.Tick {
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if (hi-lo)/s <= 9 {
			step = s
			break
		}
	}
	form := "15:04:05.000"
	switch {
	case step >= 60:
		form = "15:04"
	case step >= 1:
		form = "15:04:05"
	}
	day := "Jan 2"
	if hi-lo > 300*86400 {
		day = "Jan 2006"
	}
	var list []plot.Tick
	before := ""
	for n := math.Ceil(lo / step); n*step <= hi; n++ {
		v := n * step
		t := time.Unix(int64(math.Floor(v)), int64((v-math.Floor(v))*1e9)).UTC()
		label, date := t.Format(form), t.Format(day)
		switch {
		case step >= 86400:
			label = date
		case date != before:
			label += "\n" + date
		}
		before = date
		list = append(list, plot.Tick{Value: v, Label: label})
	}
	return list
}

// legend draws names with their colours on the right side and returns what is
// left for the plot. One name needs none.
func legend(dc draw.Canvas, names []string, colors []color.Color) draw.Canvas {
	style := figureText(9, xfont.WeightNormal, figureInk)
	style.YAlign = text.YCenter
	widest := vg.Length(0)
	shown := make([]string, len(names))
	for i, name := range names {
		if shown[i] = name; width(name) > 60 {
			shown[i] = cutTo(name, 60)
		}
		widest = max(widest, style.Width(shown[i]))
	}
	const mark, blank = vg.Length(9), vg.Length(6)
	room := widest + mark + blank + 16
	line := vg.Points(15)
	x := dc.Max.X - room + 16
	for i, name := range shown {
		y := dc.Max.Y - line*vg.Length(i) - line/2
		box := vg.Rectangle{Min: vg.Point{X: x, Y: y - mark/2}, Max: vg.Point{X: x + mark, Y: y + mark/2}}
		dc.SetColor(colors[i%len(colors)])
		dc.Fill(box.Path())
		dc.FillText(style, vg.Point{X: x + mark + blank, Y: y}, name)
	}
	return draw.Crop(dc, 0, -room, 0, 0)
}

// grid is horizontal lines behind the data, vertical ones too for points.
func grid(vertical bool) *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal = draw.LineStyle{Color: figureGrid, Width: vg.Points(0.75)}
	g.Vertical = draw.LineStyle{}
	if vertical {
		g.Vertical = g.Horizontal
	}
	return g
}

// figureLines draws series over time or numbers.
func (c *chart) figureLines(dc draw.Canvas, r *client.Render, y []int) error {
	list, times, left, ok := c.lines(r, y)
	if !ok {
		return c.figureBars(dc, r, y, false)
	}
	if len(list) == 0 {
		return noChart("there are no points")
	}
	p := newPlot()
	p.Add(grid(r.Visualization == "scatterchart"))
	x := c.xColumn(r)
	p.X.Label.Text, p.Y.Label.Text = property(r, "xtitle", printable(c.columns[x].Name)), property(r, "ytitle", "")
	p.X.Tick.Marker = numberTicks{}
	if times {
		p.X.Tick.Marker = timeTicks{}
		p.X.Label.Text = property(r, "xtitle", "UTC")
	}
	if p.Y.Label.Text == "" && len(y) == 1 {
		p.Y.Label.Text = printable(c.columns[y[0]].Name)
	}
	var names []string
	var colors []color.Color
	low, high := 0.0, math.Inf(-1)
	stacked, share := stacking(r)
	if stacked {
		list = stacks(list, share)
	}
	p.Y.Tick.Marker = c.axisTicks(y, share)
	for k := range list {
		i := len(list) - 1 - k // the first on top
		if stacked {
			i = k // the highest below
		}
		s := list[i]
		points := make(plotter.XYs, len(s.x))
		for k := range s.x {
			points[k] = plotter.XY{X: s.x[k], Y: s.y[k]}
			low, high = math.Min(low, s.y[k]), math.Max(high, s.y[k])
		}
		ink := figureColors[i%len(figureColors)]
		if r.Visualization == "scatterchart" || len(points) == 1 {
			dots, err := plotter.NewScatter(points)
			if err != nil {
				return err
			}
			dots.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
			p.Add(dots)
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.LineStyle = draw.LineStyle{Color: ink, Width: vg.Points(1.75)}
		if strings.HasSuffix(r.Visualization, "areachart") {
			line.FillColor = color.NRGBA{ink.R, ink.G, ink.B, 0x40}
			if stacked {
				line.FillColor = lighter(ink)
			}
		}
		p.Add(line)
	}
	for i, s := range list {
		name := s.name
		if width(name) > 40 {
			name = cutTo(name, 40)
		}
		names, colors = append(names, name), append(colors, figureColors[i%len(figureColors)])
	}
	if left > 0 {
		names, colors = append(names, fmt.Sprintf("and %d more", left)), append(colors, color.White)
	}
	if high <= low {
		high = low + 1
	}
	p.Y.Min, p.Y.Max = low, high+(high-low)*0.04
	if p.X.Max <= p.X.Min {
		p.X.Min, p.X.Max = p.X.Min-1, p.X.Max+1
	}
	if len(names) > 1 {
		dc = legend(dc, names, colors)
	}
	p.Draw(dc)
	return nil
}

// lighter is a colour for areas.
func lighter(c color.RGBA) color.RGBA {
	mix := func(v uint8) uint8 { return uint8((int(v) + 255) / 2) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

// axisTicks are those of an axis with numbers of these columns.
func (c *chart) axisTicks(y []int, share bool) plot.Ticker {
	for _, i := range y {
		if share || c.columns[i].Type != "timespan" {
			return numberTicks{share}
		}
	}
	return spanTicks{}
}

// stacks puts series on each other, the first on top; where one has no point it
// adds nothing. share makes each stack a hundred high.
func stacks(list []*series, share bool) []*series {
	var xs []float64
	for _, s := range list {
		xs = append(xs, s.x...)
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	sum := make(map[float64]float64, len(xs))
	out := make([]*series, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		for k, x := range list[i].x {
			sum[x] += list[i].y[k]
		}
		s := &series{name: list[i].name, x: xs}
		for _, x := range xs {
			s.y = append(s.y, sum[x])
		}
		out[i] = s
	}
	if share && len(out) > 0 {
		for _, s := range out {
			for k, x := range s.x {
				if sum[x] != 0 {
					s.y[k] *= 100 / sum[x]
				}
			}
		}
	}
	// The highest is drawn first, or it would cover the others.
	return out
}

func property(r *client.Render, key, otherwise string) string {
	if v := r.Properties[key]; v != "" {
		return printable(v)
	}
	return otherwise
}

// figureBars draws columns, or bars to the right.
func (c *chart) figureBars(dc draw.Canvas, r *client.Render, y []int, horizontal bool) error {
	p := newPlot()
	var names []string
	var labels []string
	var colors []color.Color
	var groups []plotter.Values
	rows, left := c.rows, 0
	if len(rows) > maxFigureBars {
		rows, left = rows[:maxFigureBars], len(rows)-maxFigureBars
	}
	labelled := c.labelColumns(r, y)
	for _, row := range rows {
		label := c.label(row, labelled)
		if width(label) > 28 {
			label = cutTo(label, 28)
		}
		labels = append(labels, label)
	}
	for _, col := range y {
		values, some := make(plotter.Values, len(rows)), false
		for i, row := range rows {
			// What is no number has no bar, and the others keep their places.
			if v := number(row[col], c.columns[col].Type); !math.IsNaN(v) && !math.IsInf(v, 0) {
				values[i], some = v, true
			}
		}
		if some {
			names, colors = append(names, printable(c.columns[col].Name)), append(colors, figureColors[len(groups)%len(figureColors)])
			groups = append(groups, values)
		}
	}
	if len(groups) == 0 {
		return noChart("there are no numbers")
	}
	g := grid(false)
	values, categories := &p.Y, &p.X
	if horizontal {
		g.Horizontal, g.Vertical = draw.LineStyle{}, g.Horizontal
		values, categories = &p.X, &p.Y
	}
	values.Tick.Marker = c.axisTicks(y, false)
	p.Add(g)
	low, high := 0.0, 0.0
	for _, group := range groups {
		for i := range group {
			low, high = math.Min(low, group[i]), math.Max(high, group[i])
		}
	}
	if high <= low {
		high = low + 1
	}
	long := 0
	for _, label := range labels {
		long = max(long, width(label))
	}
	// Beside each other, names need room or stand askew.
	askew := !horizontal && long*len(labels) > 120
	if horizontal {
		slices.Reverse(labels) // from top to bottom
		for _, group := range groups {
			slices.Reverse(group)
		}
	}
	var ticks []plot.Tick
	for i, label := range labels {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: label})
	}
	categories.Tick.Marker = plot.ConstantTicks(ticks)
	categories.Tick.LineStyle.Width = 0 // only the room
	if askew {
		categories.Tick.Label.Rotation = math.Pi / 5
		categories.Tick.Label.XAlign, categories.Tick.Label.YAlign = text.XRight, text.YTop
	}
	if len(groups) > 1 || left > 0 {
		if left > 0 {
			names, colors = append(names, "and "+plural(int64(left), "row")+" more"), append(colors, color.White)
		}
		dc = legend(dc, names, colors)
	} else {
		values.Label.Text = names[0]
	}
	extent := dc.Max.X - dc.Min.X
	if horizontal {
		extent = dc.Max.Y - dc.Min.Y
	}
	each := extent * 0.62 / vg.Length(len(labels)*len(groups))
	each = min(each, vg.Points(48))
	for i, group := range groups {
		b, err := plotter.NewBarChart(group, each)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width, b.Horizontal = figureColors[i%len(figureColors)], 0, horizontal
		b.Offset = each * (vg.Length(i) - vg.Length(len(groups)-1)/2)
		if horizontal {
			b.Offset = -b.Offset
		}
		p.Add(b)
	}
	values.Min, values.Max = low, high+(high-low)*0.04
	categories.Min, categories.Max = -0.5, float64(len(labels))-0.5
	p.Draw(dc)
	return nil
}

// figureCards writes the numbers of the first row, large.
func (c *chart) figureCards(dc draw.Canvas, y []int) {
	room := dc.Size().X / vg.Length(len(y))
	for i, col := range y {
		at := vg.Point{X: dc.Min.X + room*(vg.Length(i)+0.5), Y: dc.Min.Y + dc.Size().Y/2}
		value := cell(c.rows[0][col])
		if value == "" {
			value = "null"
		}
		style := figureText(64, xfont.WeightBold, figureInk)
		style.Font.Size = min(style.Font.Size, style.Font.Size*room*0.9/max(style.Width(value), 1))
		style.XAlign, style.YAlign = text.XCenter, text.YBottom
		dc.FillText(style, at, value)
		style = figureText(14, xfont.WeightNormal, figureMuted)
		style.XAlign, style.YAlign = text.XCenter, text.YTop
		dc.FillText(style, vg.Point{X: at.X, Y: at.Y - 10}, printable(c.columns[col].Name))
	}
}

// figurePie draws shares of a circle, the names with numbers beside it.
func (c *chart) figurePie(dc draw.Canvas, r *client.Render, y []int) error {
	list := c.barsOf(r, y[:1], y[0])
	sum := 0.0
	for _, b := range list {
		if b.value < 0 {
			return noChart(fmt.Sprintf("a pie has no room for the negative %s of %s", b.text, b.label))
		}
		sum += b.value
	}
	if sum <= 0 {
		return noChart("there is nothing to share")
	}
	const most = maxSeries
	if len(list) > most { // the smallest in one
		slices.SortStableFunc(list, func(a, b bar) int { return compare(b.value, a.value) })
		rest := bar{label: plural(int64(len(list)-most+1), "other")}
		for _, b := range list[most-1:] {
			rest.value += b.value
		}
		rest.text = axisNumber(rest.value)
		list = append(list[:most-1:most-1], rest)
	}
	var names []string
	var colors []color.Color
	for i, b := range list {
		name := b.label
		if width(name) > 32 {
			name = cutTo(name, 32)
		}
		names = append(names, fmt.Sprintf("%s: %s (%.1f %%)", name, b.text, 100*b.value/sum))
		colors = append(colors, figureColors[i%len(figureColors)])
	}
	size := dc.Size()
	radius := min(size.Y/2, size.X/4) * 0.94
	center := vg.Point{X: dc.Min.X + size.X*0.34, Y: dc.Min.Y + size.Y/2}
	angle := math.Pi / 2
	for i, b := range list {
		turn := -2 * math.Pi * b.value / sum
		if b.value == 0 {
			continue
		}
		points := []vg.Point{center}
		if len(list) == 1 || b.value == sum {
			points = nil
		}
		steps := max(int(math.Abs(turn)*60), 2)
		for k := range steps + 1 {
			a := angle + turn*float64(k)/float64(steps)
			points = append(points, vg.Point{X: center.X + radius*vg.Length(math.Cos(a)), Y: center.Y + radius*vg.Length(math.Sin(a))})
		}
		dc.FillPolygon(colors[i], points)
		dc.StrokeLines(draw.LineStyle{Color: color.White, Width: vg.Points(1.5)}, append(points, points[0]))
		angle += turn
	}
	// Beside the pie, centred on it.
	beside := dc
	beside.Min.X = center.X + radius + 24
	beside.Max.Y = center.Y + vg.Points(15)*vg.Length(len(names))/2
	style := figureText(9, xfont.WeightNormal, figureInk)
	widest := vg.Length(0)
	for _, name := range names {
		widest = max(widest, style.Width(name))
	}
	beside.Max.X = min(dc.Max.X, beside.Min.X+widest+48)
	legend(beside, names, colors)
	return nil
}
