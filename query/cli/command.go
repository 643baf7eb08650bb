package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"hubscope/query/client"
)

// A Shell is what the commands of this package read and write. The program
// that composes them binds one.
type Shell struct {
	// Find returns the address of the running query service and a token for it,
	// for commands that are given none.
	Find func() (url, token string, err error)
	In   io.Reader // nil when standard input is a terminal
	Out  io.Writer
	Err  io.Writer
	// Width is the width of the terminal that Out is, 0 when it is none.
	Width int
	// ErrWidth is the same of Err.
	ErrWidth int
	// Color says whether Out takes colours, Progress whether Err is a terminal
	// that can take a line away again.
	Color, Progress bool
}

// NewShell returns a shell on these files.
func NewShell(in, out, err *os.File, find func() (url, token string, err error)) *Shell {
	s := &Shell{Find: find, Out: out, Err: err}
	if !term.IsTerminal(int(in.Fd())) {
		s.In = in
	}
	if term.IsTerminal(int(out.Fd())) {
		if width, _, sizeErr := term.GetSize(int(out.Fd())); sizeErr == nil {
			s.Width = width
		}
		s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if term.IsTerminal(int(err.Fd())) {
		s.Progress = os.Getenv("TERM") != "dumb"
		if width, _, sizeErr := term.GetSize(int(err.Fd())); sizeErr == nil {
			s.ErrWidth = width
		}
	}
	return s
}

// QueryCommand is "hubscope query".
type QueryCommand struct {
	Service
	KQL     string   `arg:"" name:"kql" optional:"" help:"The query; - or nothing reads it from standard input, on a terminal line by line with history and completion."`
	File    string   `short:"f" type:"path" placeholder:"FILE" help:"Read the query from a file."`
	Param   []string `short:"p" sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter that the query declares; may be repeated."`
	Since   string   `placeholder:"TIMESPAN" help:"Only rows of the last 30m, 12h, 7d ..."`
	Format  string   `short:"o" enum:"table,csv,tsv,json,ndjson,markdown" default:"table" help:"table, csv, tsv, json, ndjson or markdown."`
	Out     string   `short:"w" type:"path" placeholder:"FILE" help:"Write the result to a file, by its extension: svg, png, csv, tsv, json, ndjson, md, parquet or arrow. A file that is there is replaced when the result is complete."`
	Chart   string   `enum:",auto,time,line,area,scatter,bar,column,pie,none" default:"" placeholder:"KIND" help:"Draw time, line, area, scatter, bar, column or pie, whatever the query's render says; auto does what it says also when the output is no terminal; none never draws."`
	Width   int      `placeholder:"N" help:"Width of tables and charts; that of the terminal by default."`
	MaxRows int64    `placeholder:"N" help:"Cut the result behind this many rows."`
	Timeout string   `placeholder:"TIMESPAN" help:"Give up after this time."`
}

// Help describes what the flags do not.
func (*QueryCommand) Help() string {
	return `The service is that of the hubscope that runs on --data, or --url.

  hubscope query 'Connections | summarize dcount(DeviceId) by TlsVersion | render piechart'
  hubscope query -f weekly.kql --param hub=plant-7 --since 7d --out weekly.csv
  hubscope query 'Connections | summarize count() by bin(TimeGenerated, 1h)' --out events.svg
  hubscope query                             opens a prompt; .help tells what it knows

Rows go to standard output, everything else to standard error. Ctrl-C cancels the
query in the engine. Colours are off when the output is no terminal or NO_COLOR
is set.

Exit codes: 0 the query ran; 1 it is wrong or failed; 2 the command line is wrong;
3 the service cannot be reached or refuses; 130 interrupted.`
}

// Run runs the query and prints its result, or opens a prompt.
func (c *QueryCommand) Run(ctx context.Context, sh *Shell) error {
	v := view{format: c.Format, out: c.Out, chart: c.Chart, width: c.Width}
	if err := v.check(); err != nil {
		return err
	}
	switch {
	case c.Width < 0:
		return usage("--width is a number of columns, not %d", c.Width)
	case c.MaxRows < 0:
		return usage("--max-rows is a number of rows, not %d", c.MaxRows)
	}
	if c.KQL == "" && c.File == "" && sh.In == nil && sh.Width > 0 {
		return c.prompt(ctx, sh, v)
	}
	text, err := readQuery(sh, c.KQL, c.File, false)
	if err != nil {
		return err
	}
	req, err := c.request(text)
	if err != nil {
		return err
	}
	service, err := c.client(sh)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(req.Parameters)) {
		if !slices.Contains(declared(text), name) {
			fmt.Fprintf(sh.Err, "note: the query declares no parameter %s\n", name)
		}
	}
	return ask(ctx, sh, service, req, v)
}

// request is what the flags make of a query text.
func (c *QueryCommand) request(text string) (req client.QueryRequest, err error) {
	req = client.QueryRequest{Query: text, MaxRows: c.MaxRows}
	if req.Parameters, err = parameters(c.Param); err != nil {
		return req, err
	}
	if c.Since != "" {
		d, ok := client.ParseTimespan(c.Since)
		if !ok || d <= 0 {
			return req, usage("--since %q is no timespan such as 30m, 12h or 7d", c.Since)
		}
		req.Start = time.Now().Add(-d).UTC().Format(time.RFC3339Nano)
	}
	if c.Timeout != "" {
		d, ok := client.ParseTimespan(c.Timeout)
		if !ok || d <= 0 {
			return req, usage("--timeout %q is no timespan such as 30s or 5m", c.Timeout)
		}
		req.TimeoutSeconds = d.Seconds()
	}
	return req, nil
}

// view is how a result is shown.
type view struct {
	format string
	out    string // a file, "" for standard output
	chart  string // as --chart
	width  int    // 0: that of the terminal
	quiet  bool   // no closing line
}

// chartKinds are the words of --chart and what render calls them.
var chartKinds = map[string]string{
	"time": "timechart", "line": "linechart", "area": "areachart", "scatter": "scatterchart", "bar": "barchart", "column": "columnchart", "pie": "piechart",
}

// render is what to draw of a result, nil for nothing.
func (v *view) render(asked *client.Render) *client.Render {
	switch kind := chartKinds[v.chart]; {
	case v.chart == "none":
		return nil
	case kind != "":
		r := &client.Render{Visualization: kind}
		if asked != nil {
			r.Properties = asked.Properties
		}
		return r
	case asked == nil || asked.Visualization == "table":
		return nil
	}
	return asked
}

// ask runs a query and shows its result.
func ask(ctx context.Context, sh *Shell, service *client.Client, req client.QueryRequest, v view) error {
	p := newProgress(sh)
	var err error
	if v.out != "" {
		err = v.save(ctx, sh, service, req, p)
	} else {
		var answer *client.Answer
		if answer, err = service.Query(ctx, req, p.show); err == nil {
			err = v.print(sh, answer, p)
			answer.Close()
		}
	}
	p.clear()
	return report(ctx, sh, req.Query, err)
}

// print writes the whole result to standard output.
func (v *view) print(sh *Shell, answer *client.Answer, p *progress) error {
	width := sh.Width
	if v.width > 0 {
		width = v.width
	}
	w := newWriter(v.format, sh.Out, answer.Columns, width, sh.Color)
	drawing := &chart{columns: answer.Columns}
	charts := v.format == "table" && (v.chart != "" || sh.Width > 0)
	for {
		rows, err := answer.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.clear()
			w.end() //nolint:errcheck // the rows that came are worth showing; the error below counts
			return err
		}
		p.clear()
		if err := w.rows(rows); err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
		if charts {
			drawing.add(rows)
		}
	}
	p.clear()
	if err := w.end(); err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	if r := v.render(answer.Done.Render); charts && r != nil {
		if width == 0 {
			width = barWidth
		}
		fmt.Fprintln(sh.Out)
		drawing.draw(canvas{sh.Out, width, sh.Color}, r)
	}
	notes(sh, answer.Done)
	if t, ok := w.(*table); ok && t.cut {
		fmt.Fprintf(sh.Err, "note: long cells were cut to fit %d columns; --format json shows them whole\n", width)
	}
	if sh.Width > 0 && sh.Progress && !v.quiet {
		s := answer.Done.Stats
		fmt.Fprintf(sh.Err, "%s in %s, read %s\n", plural(s.Rows, "row"), duration(s.ElapsedMs), plural(s.ReadRows, "row"))
	}
	return nil
}

// notes says what one has to know of a result: that it is not whole, or where
// it comes from.
func notes(sh *Shell, done *client.Done) {
	for _, n := range done.Notices {
		fmt.Fprintln(sh.Err, "note:", n)
	}
	if done.Truncated {
		fmt.Fprintf(sh.Err, "note: the result was cut after %s; there are more\n", plural(done.Stats.Rows, "row"))
	}
}

// parameters reads name=value pairs.
func parameters(list []string) (map[string]any, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]any, len(list))
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usage("--param %q is not NAME=VALUE", p)
		}
		if _, twice := m[name]; twice {
			return nil, usage("--param %s is given twice", name)
		}
		m[name] = value
	}
	return m, nil
}

// progress shows how far a long query is, on one line that it takes away again.
type progress struct {
	w     io.Writer // nil: shows nothing
	width int       // of the terminal
	begun time.Time
	shown bool
}

// progressAfter is how long a query runs before it is worth a line.
const progressAfter = 500 * time.Millisecond

func newProgress(sh *Shell) *progress {
	p := &progress{begun: time.Now(), width: sh.ErrWidth}
	if sh.Progress {
		p.w = sh.Err
	}
	return p
}

func (p *progress) show(s client.Stats) {
	if p.w == nil || time.Since(p.begun) < progressAfter {
		return
	}
	rows := count(s.ReadRows) + " rows"
	if s.TotalRows > s.ReadRows {
		rows = fmt.Sprintf("%s of %s rows (%d %%)", count(s.ReadRows), count(s.TotalRows), 100*s.ReadRows/s.TotalRows)
	}
	line := fmt.Sprintf("reading %s, %s, %s", rows, size(s.ReadBytes), duration(float64(time.Since(p.begun).Milliseconds())))
	// A broken line could not be taken away; the terminal writes ^C behind it.
	if room := p.width - 3; p.width > 0 && width(line) > room {
		line = cutTo(line, max(room, 1))
	}
	fmt.Fprint(p.w, "\r\x1b[K"+line)
	p.shown = true
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// grouped writes n with a comma after every third digit.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// count writes a large number short: 950, 12.3 k, 4.0 M.
func count(n int64) string {
	units := []string{"", " k", " M", " G", " T"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + units[i]
}

func size(n int64) string {
	s := count(n)
	if strings.Contains(s, " ") {
		return s + "B"
	}
	return s + " B"
}

func duration(ms float64) string {
	switch {
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case ms < 60000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	default:
		return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
	}
}
