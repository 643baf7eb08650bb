package ds

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/client"
	"hubscope/query/kql"
)

// Macros, expanded here and nowhere else. Col is any expression, TimeGenerated
// where it is missing; $v is a dashboard variable.
//
//	$__timeFilter(col)       col >= datetime(from) and col < datetime(to)
//	$__timeFrom, $__timeTo   datetime(...)
//	$__timeInterval          timespan of a bin that suits the range and the panel; also $__interval
//	$__interval_ms           the same in milliseconds
//	$__range                 timespan; $__range_s and $__range_ms as numbers
//	$__from, $__to           milliseconds since 1970; ${__from:date} and the like as text, ${__from:datetime}
//	$__contains(col, $v)     col in (...); true when All or nothing is chosen
//	$__escapeMulti($v)       quoted values, a comma between them
//	$__adhocFilters          predicate of the ad hoc filters, true without any
//
// Each may be written with or without parentheses where it needs no argument, and
// as ${__name}. Nothing is expanded in comments; in string literals only
// variables are, and what is written with braces.

// Codes of errors that are found before a query is sent.
const (
	CodeMacro    = "Macro"    // a macro that there is not, or its arguments
	CodeVariable = "Variable" // a dashboard variable without a value, or of another type
	CodeFilter   = "Filter"   // an ad hoc filter
)

// macroNames are the macros without $__.
var macroNames = []string{
	"timeFilter", "timeFrom", "timeTo", "timeInterval", "interval", "interval_ms", "range", "range_s", "range_ms", "from", "to",
	"contains", "escapeMulti", "adhocFilters",
}

// Expanded is a query as it goes to the service.
type Expanded struct {
	Text string
	// Start and End are the range that every table with TimeGenerated is limited to.
	Start, End time.Time
	// Interval is what $__timeInterval stands for.
	Interval time.Duration
	// Bins says that the text uses the interval, TimeFilter that it uses the range.
	Bins, TimeFilter bool
	// Now says that the text asks for the present time.
	Now bool
	// Filters is the predicate of the ad hoc filters, if they were put behind the
	// first table because the text has no $__adhocFilters. FiltersUnused are those
	// that have no place: their column is not one of the table.
	Filters       string
	FiltersUnused []string

	original string
	pieces   []piece
}

// piece is a stretch of the expanded text and where it comes from.
type piece struct {
	at, length int // in the expanded text
	from, to   int // in the original
	copied     bool
}

// mistake is something that the writer of a query can mend. Its message says
// what, its hint how.
type mistake struct{ code, message, hint string }

// Error returns the message.
func (m *mistake) Error() string { return m.message }

func wrong(code, hint, format string, args ...any) error {
	return &mistake{code, fmt.Sprintf(format, args...), hint}
}

// Expand replaces the macros and variables of a query. interval and
// maxDataPoints are what Grafana suggests for the panel; fromAlert says that an
// alert rule asks, which has no panel and no variables. The error is an
// client.Errors with places in the query as it was typed.
func Expand(m Model, r backend.TimeRange, interval time.Duration, maxDataPoints int64, fromAlert bool) (Expanded, error) {
	if r.To.Before(r.From) {
		return Expanded{}, client.Errors{{Code: CodeMacro, Message: "the time range ends before it begins"}}
	}
	return expand(m, r.From.UTC(), r.To.UTC(), binWidth(r.To.Sub(r.From), interval, maxDataPoints, fromAlert), fromAlert)
}

// expand is Expand for bins of a known width.
func expand(m Model, start, end time.Time, interval time.Duration, fromAlert bool) (Expanded, error) {
	e := &expander{
		text: m.Query, variables: m.Variables, fromAlert: fromAlert,
		Expanded: Expanded{Start: start, End: end, Interval: interval, original: m.Query},
	}
	if len(m.Query) > kql.MaxText {
		return e.Expanded, client.Errors{{Code: kql.CodeDepth, Message: fmt.Sprintf("the query is longer than %d MiB", kql.MaxText>>20)}}
	}
	e.tokens = kql.Tokens(m.Query)
	if err := e.filter(m.AdHocFilters); err != nil {
		e.fail(0, 0, err)
	}
	e.expand(0, len(e.text), 0, len(e.tokens))
	e.Text = e.out.String()
	if len(e.errs) > 0 {
		return e.Expanded, e.errs
	}
	return e.Expanded, nil
}

// expander writes an expanded text.
type expander struct {
	Expanded
	text      string
	tokens    []kql.Token
	variables map[string]Variable
	fromAlert bool
	out       strings.Builder
	errs      client.Errors

	filters []filterPredicate
	tables  []string // that filters fit
	source  int      // token of the table that the filters go behind, -1 if none
}

// maxExpandErrors is how many mistakes are told at once.
const maxExpandErrors = 10

func (e *expander) fail(start, end int, err error) {
	if len(e.errs) >= maxExpandErrors {
		return
	}
	line, column := kql.Position(e.text, start)
	wire := &client.Error{Code: CodeMacro, Message: err.Error(), Line: line, Column: column, Length: max(utf8.RuneCountInString(e.text[start:end]), 1)}
	if m, ok := err.(*mistake); ok { //nolint:errorlint // made here, never wrapped
		wire.Code, wire.Hint = m.code, m.hint
	}
	e.errs = append(e.errs, wire)
}

// copy writes a stretch of the original as it is.
func (e *expander) copy(from, to int) {
	if from < to {
		e.pieces = append(e.pieces, piece{e.out.Len(), to - from, from, to, true})
		e.out.WriteString(e.text[from:to])
	}
}

// put writes what stands for a stretch of the original.
func (e *expander) put(s string, from, to int) {
	if s != "" {
		e.pieces = append(e.pieces, piece{e.out.Len(), len(s), from, to, false})
		e.out.WriteString(s)
	}
}

// expand writes text[from:to], whose tokens are i to j-1.
func (e *expander) expand(from, to, i, j int) {
	at := from
	for i < j {
		start := e.tokens[i].Start
		next, stop, write := e.at(i, j)
		if write == nil {
			i++
			continue
		}
		e.copy(at, start)
		write()
		at, i = stop, next
	}
	e.copy(at, to)
}

// at looks whether something that is replaced begins with token i. It returns
// the token and the offset behind it and what writes it; write is nil if not.
func (e *expander) at(i, j int) (next, stop int, write func()) {
	t := e.tokens[i]
	raw := e.text[t.Start:t.End]
	replace := func(f func() (string, error)) func() {
		return func() {
			s, err := f()
			if err != nil {
				e.fail(t.Start, max(stop, t.End), err)
			}
			e.put(s, t.Start, max(stop, t.End))
		}
	}
	switch {
	case i == e.source:
		return i + 1, t.End, func() { e.filterSource(i) }
	case t.Kind == kql.StringToken:
		if _, found := findReference(raw, 0); !found || t.Broken {
			return 0, 0, nil
		}
		return i + 1, t.End, replace(func() (string, error) { return inString(raw, e.contentOf) })
	case t.Kind == kql.LiteralToken:
		return e.literalAt(i, j)
	case raw == "now" || raw == "ago":
		e.Now = true
		return 0, 0, nil
	case t.Kind != kql.WordToken && raw != "[":
		return 0, 0, nil
	}
	r, ok := referenceAt(e.text, t.Start)
	if !ok {
		return 0, 0, nil
	}
	next, stop = i+1, r.end
	for next < j && e.tokens[next].Start < stop {
		next++
	}
	if macro, ok := strings.CutPrefix(r.name, "__"); ok {
		if v, sent := e.variables[r.name]; sent && !slices.Contains(macroNames, macro) {
			return next, stop, replace(func() (string, error) { return v.literals(r) })
		}
		return e.macro(macro, r, next, j)
	}
	if _, sent := e.variables[r.name]; !sent && r.text == "$table" {
		return 0, 0, nil // the column that search adds
	}
	return next, stop, replace(func() (string, error) {
		v, err := e.variable(r)
		if err != nil {
			return "", err
		}
		return v.literals(r)
	})
}

// variable returns a variable that the text names.
func (e *expander) variable(r reference) (Variable, error) {
	if v, ok := e.variables[r.name]; ok {
		return v, nil
	}
	if e.fromAlert {
		return Variable{}, wrong(CodeVariable, "write its value into the query of the rule", "the variable %s has no value: alert rules have no dashboard variables", r.name)
	}
	if len(e.variables) == 0 {
		return Variable{}, wrong(CodeVariable, noVariable, "the variable %s has no value: no dashboard variables came with the query", r.name)
	}
	return Variable{}, wrong(CodeVariable, noVariable, "there is no dashboard variable %s", r.name)
}

// Hints for names of variables that there are not.
const (
	noVariable = "write a value, or add the variable to the dashboard"
	noDollar   = `a dollar that is meant as such is \u0024 in a string`
)

// contentOf returns what stands for a reference inside a string.
func (e *expander) contentOf(r reference) (string, error) {
	if macro, ok := strings.CutPrefix(r.name, "__"); ok {
		if v, sent := e.variables[r.name]; sent {
			return v.content(r)
		}
		if !r.braced {
			return r.text, nil
		}
		if s, ok := e.global(macro, r.format); ok {
			return s, nil
		}
		if _, ok := e.global(macro, ""); ok {
			return "", wrong(CodeMacro, macroUsage(macro), "%s has an unknown format", r.text)
		}
		return r.text, nil
	}
	v, err := e.variable(r)
	if err != nil && r.brackets {
		return r.text, nil // of a regular expression
	}
	var m *mistake
	if errors.As(err, &m) && m.hint == noVariable {
		m.hint = noDollar
	}
	if err != nil {
		return "", err
	}
	return v.content(r)
}

// literalAt replaces the variable that is the value of a typed literal, such as
// long($port).
func (e *expander) literalAt(i, j int) (next, stop int, write func()) {
	t := e.tokens[i]
	raw := e.text[t.Start:t.End]
	word, rest, ok := strings.Cut(raw, "(")
	if !ok || t.Broken || !strings.Contains(rest, "$") && !strings.Contains(rest, "[[") {
		return 0, 0, nil
	}
	typ := literalTypes[word]
	inner := strings.TrimSpace(strings.TrimSuffix(rest, ")"))
	next, stop = i+1, t.End
	// datetime($__timeFrom()) ends with its second parenthesis.
	if called, ok := strings.CutSuffix(inner, "("); ok && next < j && e.text[e.tokens[next].Start] == ')' {
		inner, stop = strings.TrimSpace(called), e.tokens[next].End
		next++
	}
	return next, stop, func() {
		s, err := e.literal(typ, inner)
		if err != nil {
			e.fail(t.Start, stop, err)
		}
		e.put(s, t.Start, stop)
	}
}

// literal returns the literal of a type whose value is a reference.
func (e *expander) literal(typ, inner string) (string, error) {
	r, ok := referenceAt(inner, 0)
	if !ok || r.end != len(inner) {
		return "", wrong(CodeVariable, "", "a variable in %s(...) must be its whole value", typ)
	}
	if macro, ok := strings.CutPrefix(r.name, "__"); ok {
		if _, sent := e.variables[r.name]; !sent {
			if s, ok := e.global(macro, r.format); ok {
				if literal, ok := typedLiteral(typ, s); ok {
					return literal, nil
				}
			}
			return "", wrong(CodeMacro, "", "%s is no %s", inner, typ)
		}
	}
	v, err := e.variable(r)
	if err != nil {
		return "", err
	}
	r.format = typ
	return v.literals(r)
}

// global returns the text of a macro that stands for one value.
func (e *expander) global(macro, format string) (s string, ok bool) {
	moment := func(t time.Time) (string, bool) {
		kind, layout, _ := strings.Cut(format, ":")
		switch {
		case format == "":
			return strconv.FormatInt(t.UnixMilli(), 10), true
		case kind == "datetime" || kind == "date" && (layout == "" || layout == "iso"):
			return formatTime(t), true
		case kind == "date" && layout == "seconds":
			return strconv.FormatInt(t.Unix(), 10), true
		}
		return "", false
	}
	switch macro {
	case "from":
		e.TimeFilter = true
		return moment(e.Start)
	case "to":
		e.TimeFilter = true
		return moment(e.End)
	case "timeFrom":
		e.TimeFilter = true
		return formatTime(e.Start), format == ""
	case "timeTo":
		e.TimeFilter = true
		return formatTime(e.End), format == ""
	case "timeInterval", "interval":
		e.Bins = true
		return formatTimespan(e.Interval), format == ""
	case "interval_ms":
		e.Bins = true
		return strconv.FormatInt(e.Interval.Milliseconds(), 10), format == ""
	case "range":
		return formatTimespan(e.End.Sub(e.Start)), format == ""
	case "range_s":
		return strconv.FormatInt(int64(e.End.Sub(e.Start).Round(time.Second)/time.Second), 10), format == ""
	case "range_ms":
		return strconv.FormatInt(e.End.Sub(e.Start).Milliseconds(), 10), format == ""
	}
	return "", false
}

// macro returns what writes a macro, whose name ends before token next.
func (e *expander) macro(name string, r reference, next, j int) (int, int, func()) {
	stop := r.end
	var args [][2]int
	if next < j && e.text[e.tokens[next].Start:e.tokens[next].End] == "(" {
		var closed bool
		args, next, closed = e.arguments(next, j)
		stop = e.tokens[next-1].End
		if !closed {
			return next, stop, func() {
				e.fail(r.start, r.end, wrong(CodeMacro, `expected ")"`, "the arguments of %s do not end", r.text))
				e.copy(r.start, stop)
			}
		}
	}
	say := func(format string, a ...any) func() {
		return func() {
			e.fail(r.start, stop, wrong(CodeMacro, macroUsage(name), format, a...))
			e.copy(r.start, stop)
		}
	}
	put := func(s string) func() { return func() { e.put(s, r.start, stop) } }
	if r.format != "" && name != "from" && name != "to" {
		return next, stop, say("%s has no formats", r.text)
	}
	switch name {
	case "timeFilter":
		if len(args) > 1 {
			return next, stop, say("$__timeFilter has one argument, the column")
		}
		e.TimeFilter = true
		return next, stop, func() {
			column := func() {
				if len(args) == 0 {
					e.put("TimeGenerated", r.start, stop)
				} else {
					e.argument(args[0])
				}
			}
			column()
			e.put(" >= "+datetime(e.Start)+" and ", r.start, stop)
			column()
			e.put(" < "+datetime(e.End), r.start, stop)
		}
	case "contains":
		if len(args) < 2 {
			return next, stop, say("$__contains has a column and at least one value")
		}
		return next, stop, func() { e.contains(args, r.start, stop) }
	case "escapeMulti":
		if len(args) == 0 {
			return next, stop, say("$__escapeMulti has at least one argument, a variable")
		}
		return next, stop, func() {
			for i, arg := range args {
				if i > 0 {
					e.put(", ", r.start, stop)
				}
				e.argument(arg)
			}
		}
	}
	if len(args) > 0 && slices.Contains(macroNames, name) {
		return next, stop, say("%s has no arguments", r.text)
	}
	switch name {
	case "timeFrom":
		e.TimeFilter = true
		return next, stop, put(datetime(e.Start))
	case "timeTo":
		e.TimeFilter = true
		return next, stop, put(datetime(e.End))
	case "adhocFilters":
		return next, stop, func() { e.put(e.adhocFilters(r.start), r.start, stop) }
	case "from", "to":
		s, ok := e.global(name, r.format)
		switch {
		case !ok:
			return next, stop, say("%s has an unknown format", r.text)
		case r.format == "datetime":
			return next, stop, put("datetime(" + s + ")")
		case r.format != "" && r.format != "date:seconds":
			return next, stop, put(quote(s))
		}
		return next, stop, put(s)
	}
	if s, ok := e.global(name, ""); ok {
		return next, stop, put(s)
	}
	return next, stop, func() {
		hint := "macros are $__" + strings.Join(macroNames, ", $__")
		if i := slices.IndexFunc(macroNames, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
			hint = "did you mean $__" + macroNames[i] + "?"
		}
		e.fail(r.start, r.end, wrong(CodeMacro, hint, "there is no macro $__%s", name))
		e.copy(r.start, stop)
	}
}

func macroUsage(name string) string {
	switch name {
	case "timeFilter":
		return "write $__timeFilter() or $__timeFilter(Column)"
	case "contains":
		return "write $__contains(Column, $variable)"
	case "escapeMulti":
		return "write Column in ($__escapeMulti($variable))"
	case "from", "to":
		return "write $__" + name + " for milliseconds, ${__" + name + ":date} for text or ${__" + name + ":datetime} for a datetime"
	}
	return ""
}

// arguments splits the tokens in the parentheses that open at token i. Each
// argument is a range of tokens.
func (e *expander) arguments(i, j int) (args [][2]int, next int, closed bool) {
	depth, first := 0, i+1
	for k := i; k < j; k++ {
		switch t := e.tokens[k]; e.text[t.Start:t.End] {
		case "(", "[", "{":
			depth++
		case ",":
			if depth == 1 {
				args, first = append(args, [2]int{first, k}), k+1
			}
		case ")", "]", "}":
			if depth--; depth > 0 {
				continue
			}
			if k > first || len(args) > 0 {
				args = append(args, [2]int{first, k})
			}
			return args, k + 1, true
		}
	}
	return nil, j, false
}

// argument writes an argument of a macro.
func (e *expander) argument(arg [2]int) {
	if arg[0] < arg[1] {
		e.expand(e.tokens[arg[0]].Start, e.tokens[arg[1]-1].End, arg[0], arg[1])
	}
}

// contains writes $__contains.
func (e *expander) contains(args [][2]int, start, stop int) {
	for _, arg := range args {
		if arg[0] == arg[1] {
			e.fail(start, stop, wrong(CodeMacro, macroUsage("contains"), "$__contains has an empty argument"))
			return
		}
	}
	var values [][2]int
	for _, arg := range args[1:] {
		from, to := e.tokens[arg[0]].Start, e.tokens[arg[1]-1].End
		if e.text[from:to] == "all" {
			e.put("true", start, stop)
			return
		}
		if r, ok := referenceAt(e.text, from); ok && r.end == to && !strings.HasPrefix(r.name, "__") {
			v, err := e.variable(r)
			if err != nil {
				e.fail(from, to, err)
				return
			}
			chosen, everything := v.chosen()
			if everything {
				e.put("true", start, stop)
				return
			}
			if len(chosen) == 0 {
				continue
			}
		}
		values = append(values, arg)
	}
	if len(values) == 0 {
		e.put("true", start, stop)
		return
	}
	e.argument(args[0])
	e.put(" in (", start, stop)
	for i, arg := range values {
		if i > 0 {
			e.put(", ", start, stop)
		}
		e.argument(arg)
	}
	e.put(")", start, stop)
}

// Original returns where a place of the expanded text stands in the query as it
// was typed. Line, column and length are those of client.Error; without a place
// they are 0.
func (x *Expanded) Original(line, column, length int) (int, int, int) {
	if line == 0 {
		return 0, 0, 0
	}
	start := kql.Offset(x.Text, line, column)
	end := start
	for n := 0; n < length && end < len(x.Text); n++ {
		_, size := utf8.DecodeRuneInString(x.Text[end:])
		end += size
	}
	from, to := x.origin(start, false), x.origin(end, true)
	line, column = kql.Position(x.original, from)
	return line, column, max(utf8.RuneCountInString(x.original[from:max(to, from)]), 1)
}

// origin returns the offset in the original of one in the expanded text; last
// says that it is the end of a place, which belongs to what stands before it.
func (x *Expanded) origin(offset int, last bool) int {
	i, found := slices.BinarySearchFunc(x.pieces, offset, func(p piece, at int) int { return cmp.Compare(p.at, at) })
	if !found || last && i > 0 {
		i-- // the piece that holds it
	}
	if i < 0 || i >= len(x.pieces) {
		return min(offset, len(x.original))
	}
	switch p := x.pieces[i]; {
	case p.copied:
		return min(p.from+offset-p.at, p.to)
	case last:
		return p.to
	default:
		return p.from
	}
}

// newestFirst puts an order behind a query for log lines that has none, so that it
// is the newest rows which the row limit leaves. It does so only where TimeGenerated
// is certain: behind a table and operators that keep all columns. One row more than
// the limit is asked for, so that the service tells of a cut.
func (x *Expanded) newestFirst(limit int64) bool {
	tokens := kql.Tokens(x.Text)
	word := func(i int) string { return x.Text[tokens[i].Start:tokens[i].End] }
	if len(tokens) == 0 || !slices.Contains(eventTables, word(0)) {
		return false
	}
	depth := 0
	for i := 1; i < len(tokens); i++ {
		switch word(i) {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case ";":
			return false
		case "|":
			if depth == 0 && (i+1 == len(tokens) || !slices.Contains([]string{"where", "filter", "extend"}, word(i+1))) {
				return false
			}
		}
	}
	order := fmt.Sprintf("\n| top %d by TimeGenerated desc", limit+1)
	x.pieces = append(x.pieces, piece{len(x.Text), len(order), len(x.original), len(x.original), false})
	x.Text += order
	return true
}

// eventTables are the tables whose rows are log lines.
var eventTables = []string{"Connections", "AzureDiagnostics", "QueryLog", "Audit"}

// Errors returns the service's errors with their places in the query as it was
// typed.
func (x *Expanded) Errors(errs client.Errors) client.Errors {
	list := make(client.Errors, 0, len(errs))
	for _, e := range errs {
		moved := *e
		moved.Line, moved.Column, moved.Length = x.Original(e.Line, e.Column, e.Length)
		// A macro that names its argument twice would be told of twice.
		if !slices.ContainsFunc(list, func(e *client.Error) bool { return *e == moved }) {
			list = append(list, &moved)
		}
	}
	return list
}

// binSteps are the widths that bins have: those that people read, and whose
// starts fall on the starts of the longer ones.
var binSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 7 * day,
}

const (
	day = 24 * time.Hour
	// rollupRange is the range from which bins are no finer than those of the
	// rollup of five minutes, which then answers.
	rollupRange, rollupBin = 6 * time.Hour, 5 * time.Minute
	// alertPoints bounds the bins of an alert rule, and alertBin their width from
	// below: Grafana says "1 s" and 43,200 points for rules, whatever their range.
	alertPoints, alertBin = 1000, time.Minute
)

// binWidth returns the width of bins for a range.
func binWidth(span, interval time.Duration, maxDataPoints int64, fromAlert bool) time.Duration {
	span = max(span, 0)
	switch {
	case fromAlert && interval <= time.Second:
		points := int64(alertPoints)
		if maxDataPoints > 0 {
			points = min(points, maxDataPoints)
		}
		interval = max(span/time.Duration(points), min(alertBin, span))
	case interval <= 0:
		if maxDataPoints <= 0 {
			maxDataPoints = 1000
		}
		interval = span / time.Duration(maxDataPoints)
	}
	if span >= rollupRange {
		interval = max(interval, rollupBin)
	}
	for _, step := range binSteps {
		if interval <= step {
			return step
		}
	}
	week := 7 * day
	if interval > math.MaxInt64-week {
		return interval / week * week
	}
	return (interval + week - 1) / week * week
}

// formatTime writes a time as in datetime(...), to 100 ns.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z") }

func datetime(t time.Time) string { return "datetime(" + formatTime(t) + ")" }

// formatTimespan writes a length of time as a literal, in the largest unit that
// divides it.
func formatTimespan(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	for _, u := range []struct {
		name  string
		width time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if d >= u.width && d%u.width == 0 {
			return strconv.FormatInt(int64(d/u.width), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d/100), 10) + "tick"
}
