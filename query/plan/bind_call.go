package plan

import (
	"fmt"
	"math"
	"regexp/syntax"
	"strconv"
	"time"
	_ "time/tzdata" // the names of the time zones, also where none are installed

	"hubscope/query/kql"
)

// special binds the functions whose arguments or results are not plain values.
// ok is false for all others.
func (b *binder) special(e *kql.Call) (outs []output, ok bool) {
	one := func(x Expr) ([]output, bool) { return []output{{x: x}}, true }
	switch e.Func.Text {
	case "toscalar":
		return one(b.toscalar(e))
	case "column_names_of":
		if len(e.Args) != 1 {
			b.errorf(e.Span, CodeArguments, "column_names_of takes one table")
			return one(&Const{T: Dynamic, Null: true})
		}
		// Only the schema counts, the rows are never read.
		refs := b.refCounts()
		r := b.tabularArg(e.Args[0])
		b.restoreRefs(refs)
		names := []byte{'['}
		for i, c := range r.cols {
			if i > 0 {
				names = append(names, ',')
			}
			names = AppendJSONString(names, c.Name)
		}
		return one(&Const{T: Dynamic, Text: string(append(names, ']'))})
	case "column_ifexists", "columnifexists":
		return one(b.columnIfExists(e))
	case "iscolumnexists":
		found := int64(0)
		if name, ok := b.constString(e, 0); ok && b.row != nil {
			if i := (&projection{cols: b.row.cols}).find(name); i >= 0 {
				found = 1
			}
		}
		return one(&Const{T: Bool, Int: found})
	case "pack_all":
		return one(b.packAll(e))
	case "bag_pack_columns":
		f := scalarFuncs["bag_pack"]
		c := &Call{Func: f, T: Dynamic}
		for _, a := range e.Args {
			name, _ := b.resultName(a)
			c.Args = append(c.Args, &Const{T: String, Text: name}, b.expr(a))
		}
		return one(c)
	case "pack_array", "estimate_data_size":
		if len(e.Args) == 1 {
			if _, star := e.Args[0].(*kql.Star); star && b.row != nil {
				c := &Call{Func: scalarFuncs[e.Func.Text], T: scalarFuncs[e.Func.Text].Sigs[0].Result}
				if c.T == Unknown {
					c.T = Dynamic
				}
				for _, col := range b.row.cols {
					c.Args = append(c.Args, refTo(col))
				}
				return one(c)
			}
		}
	case "bin_auto":
		return one(b.binAuto(e))
	case "zlib_compress_to_base64_string", "zlib_decompress_from_base64_string", "gzip_compress_to_base64_string", "gzip_decompress_from_base64_string":
		return one(b.compression(e))
	case "now", "ago":
		b.plan.UsesNow = true
	case "ingestion_time":
		if b.row == nil || b.row.arrival == nil {
			b.errorf(e.Span, CodeContext, "ingestion_time() is not known of these rows").Hint = "use it on the events, before project, summarize or join"
			return one(&Const{T: Datetime, Null: true})
		}
		if len(e.Args) == 0 {
			return one(refTo(b.row.arrival()))
		}
	case "assert":
		if len(e.Args) == 2 {
			cond := b.expr(e.Args[0])
			message, isConst := b.constString(e, 1)
			if c, ok := cond.(*Const); ok && isConst && c.T == Bool && (c.Null || c.Int == 0) {
				b.errorf(e.Span, CodeContext, "assertion failed: %s", message)
				return one(cond)
			}
		}
	case "row_rank":
		// The second argument asks for a dense rank; it is no restart.
		if len(e.Args) > 0 && len(e.Args) <= 2 {
			f := scalarFuncs["row_rank_dense"]
			if len(e.Args) == 2 {
				if c, ok := b.expr(e.Args[1]).(*Const); ok && c.T == Bool && c.Int == 0 {
					f = scalarFuncs["row_rank_min"]
				}
			}
			return one(&Call{Func: f, Args: []Expr{b.expr(e.Args[0])}, T: Long, Partition: b.partition})
		}
	}
	return nil, false
}

func (b *binder) refCounts() []int {
	refs := make([]int, len(b.plan.CTEs))
	for i, c := range b.plan.CTEs {
		refs[i] = c.Refs
	}
	return refs
}

// restoreRefs undoes the references of a relation that was bound for its schema.
func (b *binder) restoreRefs(refs []int) {
	for i, c := range b.plan.CTEs {
		c.Refs = 0
		if i < len(refs) {
			c.Refs = refs[i]
		}
	}
}

func (b *binder) toscalar(e *kql.Call) Expr {
	if len(e.Args) != 1 {
		b.errorf(e.Span, CodeArguments, "toscalar takes one argument")
		return null()
	}
	if !b.tabularExpr(e.Args[0]) {
		return b.expr(e.Args[0])
	}
	r := b.tabularArg(e.Args[0])
	if len(r.cols) == 0 {
		b.errorf(e.Args[0].Range(), CodeArguments, "the table has no column")
		return null()
	}
	return &ScalarQuery{Query: r.node, Col: r.cols[0]}
}

func (b *binder) constString(e *kql.Call, i int) (string, bool) {
	if i >= len(e.Args) {
		b.errorf(e.Span, CodeArguments, "%s takes more arguments", e.Func.Text)
		return "", false
	}
	c, ok := b.expr(e.Args[i]).(*Const)
	if !ok || c.T != String {
		b.errorf(e.Args[i].Range(), CodeConstant, "%s: a constant string was expected", e.Func.Text)
		return "", false
	}
	return c.Text, true
}

func (b *binder) columnIfExists(e *kql.Call) Expr {
	if len(e.Args) != 2 {
		b.errorf(e.Span, CodeArguments, "%s takes 2 arguments, not %d", e.Func.Text, len(e.Args))
		return null()
	}
	name, ok := b.constString(e, 0)
	if ok && b.row != nil {
		if i := (&projection{cols: b.row.cols}).find(name); i >= 0 {
			x := refTo(b.row.cols[i])
			// A number becomes the wider type of the default, as the binder has it.
			if t := b.expr(e.Args[1]).Type(); x.Type().Numeric() && t.Numeric() && t != Decimal && widest(x.Type(), t) == t {
				return b.convert(x, t)
			}
			return x
		}
	}
	return b.expr(e.Args[1])
}

// packAll makes a bag of all columns; with true, of those that are not empty.
func (b *binder) packAll(e *kql.Call) Expr {
	skip := int64(0)
	if len(e.Args) == 1 {
		if c, ok := b.expr(e.Args[0]).(*Const); ok && c.T == Bool {
			skip = c.Int
		} else {
			b.errorf(e.Args[0].Range(), CodeConstant, "pack_all takes true or false")
		}
	} else if len(e.Args) > 1 {
		b.errorf(e.Span, CodeArguments, "pack_all takes at most 1 argument, not %d", len(e.Args))
	}
	c := &Call{Func: scalarFuncs["pack_all"], T: Dynamic, Args: []Expr{&Const{T: Bool, Int: skip}}}
	if b.row != nil {
		for _, col := range b.row.cols {
			c.Args = append(c.Args, &Const{T: String, Text: col.Name}, refTo(col))
		}
	}
	return c
}

func (b *binder) binAuto(e *kql.Call) Expr {
	if len(e.Args) != 1 {
		b.errorf(e.Span, CodeArguments, "bin_auto takes 1 argument, not %d", len(e.Args))
		return null()
	}
	x := b.expr(e.Args[0])
	size := b.options["query_bin_auto_size"]
	if size == nil {
		b.errorf(e.Span, CodeParameter, "bin_auto needs `set query_bin_auto_size = ...`")
		return x
	}
	if at := b.options["query_bin_auto_at"]; at != nil {
		return &Call{Func: scalarFuncs["bin_at"], Args: []Expr{x, size, at}, T: x.Type()}
	}
	return &Call{Func: scalarFuncs["bin"], Args: []Expr{x, size}, T: x.Type()}
}

// component is a value of a function that returns several.
type component struct {
	suffix string
	t      Type
}

var statsParts = []component{{"min", Real}, {"min_idx", Long}, {"max", Real}, {"max_idx", Long}, {"avg", Real}, {"stdev", Real}, {"variance", Real}}
var complexParts = []component{{"real", Dynamic}, {"imag", Dynamic}}
var decomposeParts = []component{{"baseline", Dynamic}, {"seasonal", Dynamic}, {"trend", Dynamic}, {"residual", Dynamic}}
var periodParts = []component{{"periods", Dynamic}, {"scores", Dynamic}}

// components are the functions that return several values, with the names the
// official binder gives them after the function's and the first argument's name.
var components = map[string][]component{
	"series_stats":    statsParts,
	"series_fit_line": {{"rsquare", Real}, {"slope", Real}, {"variance", Real}, {"rvariance", Real}, {"interception", Real}, {"line_fit", Dynamic}},
	"series_fit_2lines": {{"rsquare", Real}, {"split_idx", Long}, {"variance", Real}, {"rvariance", Real}, {"line_fit", Dynamic},
		{"right_rsquare", Real}, {"right_slope", Real}, {"right_interception", Real}, {"right_variance", Real}, {"right_rvariance", Real},
		{"left_rsquare", Real}, {"left_slope", Real}, {"left_interception", Real}, {"left_variance", Real}, {"left_rvariance", Real}},
	"series_fit_poly":            {{"rsquare", Real}, {"coefficients", Dynamic}, {"variance", Real}, {"rvariance", Real}, {"poly_fit", Dynamic}},
	"series_fft":                 complexParts,
	"series_ifft":                complexParts,
	"series_decompose":           decomposeParts,
	"series_decompose_forecast":  decomposeParts,
	"series_decompose_anomalies": {{"ad_flag", Dynamic}, {"ad_score", Dynamic}, {"baseline", Dynamic}},
	"series_periods_detect":      periodParts,
	"series_periods_validate":    periodParts,
}

// multi returns the values of a call that has several. ok is false for all
// others.
func (b *binder) multi(e *kql.Call, c *Call) (outs []output, ok bool) {
	if parts := components[c.Func.Base]; parts != nil {
		arg, _ := b.resultName(e.Args[0])
		for i, p := range parts {
			outs = append(outs, output{x: &Field{X: c, N: i, T: p.t}, name: c.Func.Name + "_" + arg + "_" + p.suffix})
		}
		return outs, true
	}
	if c.Func.Base == "array_sort_asc" || c.Func.Base == "array_sort_desc" {
		arrays := 0
		for _, a := range c.Args {
			if a.Type() != Bool {
				arrays++
			}
		}
		for i := 0; i < arrays; i++ {
			name, ok := b.resultName(e.Args[i])
			if !ok || name == "" {
				name = "array" + strconv.Itoa(i)
			}
			outs = append(outs, output{x: &Field{X: c, N: i, T: Dynamic}, name: name + "_sorted"})
		}
		return outs, true
	}
	return nil, false
}

// regexParam is which argument of a function is a regular expression.
var regexParam = map[string]int{
	"extract": 0, "extract_all": 0, "replace": 0, "replace_regex": 1, "trim": 0, "trim_start": 0, "trim_end": 0, "indexof_regex": 1,
}

// datetimeParts are the parts that datetime_part, datetime_add and datetime_diff
// know.
var datetimeParts = stringSet("year", "quarter", "month", "week", "week_of_year", "weekofyear", "day", "dayofyear", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond")

// checkCall reports constant arguments that have no meaning.
func (b *binder) checkCall(e *kql.Call, c *Call) {
	if i, ok := regexParam[c.Func.Base]; ok && i < len(c.Args) {
		b.checkRegex(c.Args[i], e.Args[i].Range())
	}
	switch c.Func.Base {
	case "countof":
		if len(c.Args) == 3 {
			if k, ok := c.Args[2].(*Const); ok && k.Text == "regex" {
				b.checkRegex(c.Args[1], e.Args[1].Range())
			} else if ok && k.Text != "normal" {
				b.errorf(e.Args[2].Range(), CodeArguments, "countof: kind is normal or regex, not %q", k.Text)
			}
		}
	case "datetime_part", "datetime_add", "datetime_diff":
		if k, ok := c.Args[0].(*Const); ok && k.T == String && !datetimeParts[lower(k.Text)] {
			b.errorf(e.Args[0].Range(), CodeArguments, "%s: there is no part %q", c.Func.Name, k.Text).Hint =
				didYouMean(k.Text, []string{"year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond", "week_of_year", "dayofyear"})
		}
	case "datetime_utc_to_local", "datetime_local_to_utc":
		if k, ok := c.Args[1].(*Const); ok && k.T == String {
			if _, err := time.LoadLocation(k.Text); err != nil || k.Text == "" || k.Text == "Local" {
				b.errorf(e.Args[1].Range(), CodeArguments, "%s: there is no time zone %q", c.Func.Name, k.Text).Hint = "datetime_list_timezones() lists them"
			}
		}
	}
}

func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for i := range b {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// checkRegex reports a constant regular expression that is none. Kusto and
// ClickHouse both use RE2, whose syntax is Go's.
func (b *binder) checkRegex(x Expr, at kql.Span) {
	c, ok := x.(*Const)
	if !ok || c.T != String {
		return
	}
	if _, err := syntax.Parse(c.Text, syntax.Perl); err != nil {
		b.errorf(at, CodeArguments, "not a regular expression: %s", regexError(err))
	}
}

func regexError(err error) string {
	if e, ok := err.(*syntax.Error); ok {
		return fmt.Sprintf("%s: `%s`", e.Code, e.Expr)
	}
	return err.Error()
}

// aggregates collects the aggregate calls of a summarize.
type aggregates struct {
	in     *rel
	items  []Item
	groups int
	keys   []Item // by, for arg_max(x, *)
	// star, if not nil, makes a value of a column that * did not know yet: the
	// table is open.
	star func(c Column) *Agg
}

// aggregate binds the call of an aggregate and returns references to the columns
// that will hold its values.
func (b *binder) aggregate(e *kql.Call, f *Func) []output {
	aggs := b.aggs
	b.aggs = nil
	defer func() { b.aggs = aggs }()
	switch f.Base {
	case "arg_max", "arg_min":
		return b.argMax(e, f, aggs)
	case "take_any":
		return b.takeAny(e, f, aggs)
	}
	args, typeArg, ok := b.args(e, f)
	sig := (*Sig)(nil)
	if ok {
		sig = b.signature(e, f, args, typeArg)
	}
	if sig == nil {
		return []output{{x: &Const{T: f.Sigs[0].Result, Null: true}}}
	}
	switch f.Base {
	case "percentile", "percentiles", "percentilew", "percentilesw", "percentiles_array", "percentilesw_array":
		return b.percentiles(e, f, args, aggs)
	}
	t := resultType(sig, args, typeArg)
	for i := range args {
		if p := sig.param(i, len(args)); p.constant && !isConstant(args[i]) {
			b.errorf(e.Args[i].Range(), CodeConstant, "%s: %s has to be a constant", f.Name, p.Name)
		}
	}
	switch f.Base {
	case "make_list", "make_set", "make_list_with_nulls", "make_list_if", "make_set_if":
		t = Dynamic
	}
	return []output{{x: aggs.add(b, "", &Agg{Func: f, Args: args, T: t})}}
}

// add records an aggregate, or finds an equal one, and returns its column.
func (a *aggregates) add(b *binder, name string, agg *Agg) Expr {
	c := b.newCol(name, agg.T)
	a.items = append(a.items, Item{Col: c, X: agg})
	return refTo(c)
}

// percentiles makes a column for each percentage.
func (b *binder) percentiles(e *kql.Call, f *Func, args []Expr, aggs *aggregates) []output {
	first, _ := b.resultName(e.Args[0])
	weights := 0
	if f.Base == "percentilew" || f.Base == "percentilesw" || f.Base == "percentilesw_array" {
		weights = 1
	}
	t := args[0].Type()
	switch t {
	case Int:
		t = Long
	case Decimal:
		t = Real
	}
	if !t.Summable() && t != Dynamic && t != Unknown {
		b.errorf(e.Args[0].Range(), CodeType, "%s: the values have to be numbers, datetimes or timespans, not %s", f.Name, t)
	}
	ps := args[1+weights:]
	if f.Base == "percentiles_array" || f.Base == "percentilesw_array" {
		var list []Expr
		for _, p := range ps {
			if c, ok := p.(*Const); ok && c.T == Dynamic {
				elems, _ := jsonElements(c.Text)
				list = append(list, elems...)
				continue
			}
			list = append(list, p)
		}
		for i, p := range list {
			if c, ok := p.(*Const); !ok || !c.T.Numeric() {
				b.errorf(e.Args[min(1+weights+i, len(e.Args)-1)].Range(), CodeConstant, "%s: percentages have to be constants", f.Name)
				return []output{{x: &Const{T: Dynamic, Null: true}}}
			}
		}
		agg := &Agg{Func: f, Args: append(args[:1+weights:1+weights], list...), T: Dynamic}
		return []output{{x: aggs.add(b, "", agg), name: "percentiles_" + first}}
	}
	outs := make([]output, 0, len(ps))
	for i, p := range ps {
		c, ok := p.(*Const)
		if !ok || !c.T.Numeric() {
			b.errorf(e.Args[1+weights+i].Range(), CodeConstant, "%s: the percentage has to be a constant number", f.Name)
			continue
		}
		agg := &Agg{Func: f, Args: append(args[:1+weights:1+weights], c), T: t}
		outs = append(outs, output{x: aggs.add(b, "", agg), name: "percentile_" + first + "_" + percentText(e.Args[1+weights+i], c)})
	}
	if len(outs) == 0 {
		return []output{{x: &Const{T: t, Null: true}}}
	}
	return outs
}

// percentText is how a percentage stands in a column's name: 99.9 is 99_9.
func percentText(e kql.Expr, c *Const) string {
	text := ""
	if c.Null || c.T == Real && c.Real < 0 || c.T != Decimal && c.Int < 0 {
		return "" // as the official binder has it
	}
	if l, ok := kql.Unparen(e).(*kql.Literal); ok && c.T != Decimal && !math.IsNaN(c.Real) {
		text = l.Raw
	}
	if text == "" {
		switch c.T {
		case Real:
			text = strconv.FormatFloat(c.Real, 'g', -1, 64)
		case Decimal:
			text = c.Text
		default:
			text = strconv.FormatInt(c.Int, 10)
		}
	}
	name := []byte(text)
	for i, ch := range name {
		if ch == '.' {
			name[i] = '_'
		}
	}
	return string(name)
}

// argMax binds arg_max and arg_min. The values of one call share a group, so
// that all of them are of the same row.
func (b *binder) argMax(e *kql.Call, f *Func, aggs *aggregates) []output {
	if len(e.Args) == 0 {
		b.errorf(e.Span, CodeArguments, "%s takes at least 1 argument", f.Name)
		return []output{{x: null()}}
	}
	prefix := f.prefix // max and min for the old spellings, whose names have it in front
	old := f.Name == "argmax" || f.Name == "argmin"
	short := "max"
	if f.Base == "arg_min" {
		short = "min"
	}
	if _, star := e.Args[0].(*kql.Star); star {
		b.errorf(e.Args[0].Range(), CodeArguments, "%s: the first argument is the value to compare", f.Name)
		return []output{{x: null()}}
	}
	aggs.groups++
	group := aggs.groups
	primary := b.expr(argValue(e.Args[0]))
	primaryName, primaryNamed := b.resultName(e.Args[0])
	type value struct {
		x    Expr
		name string
		star bool
	}
	values := []value{{x: primary, name: primaryName}}
	if !primaryNamed {
		values[0].name = short + "_"
	}
	seen := func(c Column) bool {
		for _, v := range values {
			if r, ok := v.x.(*Ref); ok && r.ID == c.ID && r.Name == c.Name {
				return true
			}
		}
		return false
	}
	for i, a := range e.Args[1:] {
		if _, star := a.(*kql.Star); star {
			for _, c := range b.row.cols {
				if !seen(c) && !aggs.isKey(c) {
					values = append(values, value{x: refTo(c), name: c.Name, star: true})
				}
			}
			continue
		}
		x := b.expr(argValue(a))
		name, ok := b.resultName(a)
		if !ok {
			name = "arg" + strconv.Itoa(i+1)
			if !old {
				name = short + "_" + primaryName + "_" + name
			}
		}
		values = append(values, value{x: x, name: name})
	}
	of := make([]Expr, len(values)-1)
	for i := range of {
		of[i] = values[i+1].x
	}
	if aggs.in.open != nil && hasStar(e.Args) {
		aggs.star = func(c Column) *Agg {
			return &Agg{Func: f, Args: []Expr{primary}, Of: []Expr{refTo(c)}, Pick: 1, Group: group, T: c.Type}
		}
	}
	outs := make([]output, len(values))
	for i, v := range values {
		t := v.x.Type()
		agg := &Agg{Func: f, Args: []Expr{primary}, Of: of, Pick: i, Group: group, T: t}
		name := v.name
		if old {
			if i > 0 {
				name = primaryName + "_" + name
			}
			name = prefix + "_" + name
		}
		outs[i] = output{x: aggs.add(b, name, agg), name: name, star: v.star}
	}
	return outs
}

func hasStar(args []kql.Expr) bool {
	for _, a := range args {
		if _, ok := a.(*kql.Star); ok {
			return true
		}
	}
	return false
}

func argValue(e kql.Expr) kql.Expr {
	if n, ok := e.(*kql.Named); ok {
		return n.X
	}
	return e
}

// isKey says whether a column is, as it is, one of the keys.
func (a *aggregates) isKey(c Column) bool {
	for _, k := range a.keys {
		if r, ok := k.X.(*Ref); ok && r.ID == c.ID && k.Col.ID == c.ID && r.Name == c.Name {
			return true
		}
	}
	return false
}

func (b *binder) takeAny(e *kql.Call, f *Func, aggs *aggregates) []output {
	if len(e.Args) == 0 {
		b.errorf(e.Span, CodeArguments, "%s takes at least 1 argument", f.Name)
		return []output{{x: null()}}
	}
	aggs.groups++
	var of []Expr
	var names []string
	var stars []bool
	for i, a := range e.Args {
		if _, star := a.(*kql.Star); star {
			for _, c := range b.row.cols {
				known := aggs.isKey(c)
				for _, x := range of {
					if r, ok := x.(*Ref); ok && r.ID == c.ID && r.Name == c.Name {
						known = true
					}
				}
				if !known {
					of, names, stars = append(of, refTo(c)), append(names, c.Name), append(stars, true)
				}
			}
			continue
		}
		x := b.expr(argValue(a))
		name, ok := b.resultName(a)
		if !ok || name == "" {
			name = "any_arg" + strconv.Itoa(i)
			if f.Name == "any" {
				name = "arg" + strconv.Itoa(i)
			}
		}
		of, names, stars = append(of, x), append(names, name), append(stars, false)
	}
	if aggs.in.open != nil && hasStar(e.Args) {
		group := aggs.groups
		aggs.star = func(c Column) *Agg {
			return &Agg{Func: f, Of: []Expr{refTo(c)}, Group: group, T: c.Type}
		}
	}
	outs := make([]output, len(of))
	for i, x := range of {
		name := names[i]
		if f.Name == "any" {
			name = "any_" + name
		}
		agg := &Agg{Func: f, Of: of, Pick: i, Group: aggs.groups, T: x.Type()}
		outs[i] = output{x: aggs.add(b, name, agg), name: name, star: stars[i]}
	}
	return outs
}
