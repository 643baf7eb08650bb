package plan

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"hubscope/query/kql"
)

func (b *binder) mvExpand(op *kql.MvExpandOp, in rel) rel {
	m := &MvExpand{In: in.node}
	if strings.HasPrefix(op.Word(), "mvexpand") {
		m.Limit = 128
	}
	kind := param(op.Params, "kind")
	if kind == "" {
		kind = param(op.Params, "bagexpansion")
	}
	m.ArrayKind = kind == "array"
	if op.Limit != nil {
		n, ok := constInt(b.rowCount(op.Limit))
		if !ok {
			b.errorf(op.Limit.Range(), CodeConstant, "the limit of mv-expand has to be a constant")
		}
		m.Limit = n
	}
	cols, pre, post := b.expandColumns(op.Columns, in, m)
	m.In = extendNode(m.In, pre)
	if name := param(op.Params, "with_itemindex"); name != "" {
		c := b.newCol(name, Long)
		m.Index = &c
		p := projection{cols: cols}
		p.add(c, false)
		cols = p.cols
	}
	in.node = extendNode(m, post)
	in.cols = cols
	return in
}

// expandColumns binds the columns of mv-expand and mv-apply. Elements that are
// asked for as a type are converted after the expansion.
func (b *binder) expandColumns(list []*kql.MvColumn, in rel, m *MvExpand) (cols []Column, pre, post []Item) {
	p := projection{cols: append([]Column(nil), in.cols...)}
	for _, mc := range list {
		if mc.X == nil {
			continue
		}
		n, named := mc.X.(*kql.Named)
		e := mc.X
		if named {
			e = n.X
		}
		own := b.outputs(e)[0]
		x := own.x
		if t := x.Type(); t != Dynamic && t != Unknown {
			b.errorf(e.Range(), CodeType, "mv-expand takes dynamic values, not %s", t)
		}
		t := Dynamic
		if mc.To != nil {
			if mc.To.Type == nil {
				b.errorf(mc.To.Span, CodeType, "the name of a type was expected")
			} else {
				t = b.typeOf(mc.To.Type)
			}
		}
		element := b.newCol("element", Dynamic)
		m.Items = append(m.Items, MvItem{Col: element, X: x})
		c := element
		if t != Dynamic {
			c = b.newCol("", t)
			post = append(post, Item{Col: c, X: &Call{Func: elementAs, Args: []Expr{refTo(element)}, T: t}})
		}
		switch {
		case named:
			c.Name = n.Names[0].Text
			p.declare(b, n.Names[0].Span, c, true)
		default:
			if r, ok := isColumn(e, x); ok {
				c.Name = r.Name
				p.declare(b, e.Range(), c, true)
				break
			}
			name, ok := b.resultName(e)
			if own.name != "" {
				name, ok = own.name, true
			}
			if !ok {
				name = b.defaultName(false)
			}
			c.Name = name
			p.add(c, true)
		}
	}
	return p.cols, pre, post
}

// elementAs is the cast of mv-expand's `to typeof`: null unless the element is
// of the type.
var elementAs = internalFunc("element as")

func (b *binder) mvApply(op *kql.MvApplyOp, in rel) rel {
	ord := b.newCol("row", Long)
	m := &MvExpand{In: &Ordinal{In: in.node, Col: ord}, ArrayKind: param(op.Params, "kind") == "array" || param(op.Params, "bagexpansion") == "array"}
	if op.Limit != nil {
		m.Limit, _ = constInt(b.rowCount(op.Limit))
	}
	if op.ID != nil {
		b.unsupported(op.ID.Range(), "id in mv-apply")
	}
	cols, pre, post := b.expandColumns(op.Columns, in, m)
	m.In = extendNode(m.In, pre)
	if name := param(op.Params, "with_itemindex"); name != "" {
		c := b.newCol(name, Long)
		m.Index = &c
		p := projection{cols: cols}
		p.add(c, false)
		cols = p.cols
	}
	sub := rel{node: extendNode(m, post), cols: cols, open: in.open, ordered: true}
	// Columns of the row have one value for all its elements, but for those that
	// are expanded themselves.
	expanded := map[string]bool{}
	for _, mc := range op.Columns {
		if r, ok := kql.Unparen(mc.X).(*kql.Ref); ok {
			expanded[r.Text] = true
		}
	}
	var carried []Column
	part := &Partition{Keys: []ColID{ord.ID}}
	for _, c := range in.cols {
		if !expanded[c.Name] {
			carried = append(carried, c)
			part.Carry = append(part.Carry, c.ID)
		}
	}
	if b.partition != nil {
		part.Carry = append(append(part.Carry, b.partition.Keys...), b.partition.Carry...)
	}
	outer := b.partition
	b.partition = part
	row := b.row
	out := sub
	if p, ok := kql.Unparen(op.Sub).(*kql.Pipe); ok {
		out = b.pipe(p, &sub)
	} else {
		b.errorf(op.Sub.Range(), CodeContext, "operators were expected")
	}
	b.partition, b.row = outer, row
	// A column of the subquery takes the place of the row's of the same name.
	p := projection{cols: append([]Column(nil), carried...)}
	for _, c := range out.cols {
		p.add(c, true)
	}
	return rel{node: out.node, cols: p.cols, open: in.open}
}

func (b *binder) partitionOp(op *kql.PartitionOp, in rel) rel {
	x := b.expr(op.By)
	r, ok := isColumn(op.By, x)
	if !ok {
		if x.Type() != Unknown {
			b.errorf(op.By.Range(), CodeArguments, "partition is by a column")
		}
		return in
	}
	if op.In != nil {
		b.unsupported(op.In.Range(), "a list of keys in partition")
		return in
	}
	if op.Braces {
		return b.partitionQuery(op, in, r)
	}
	p, isPipe := kql.Unparen(op.Sub).(*kql.Pipe)
	if !isPipe || p.Source != nil {
		b.errorf(op.Sub.Range(), CodeContext, "operators were expected")
		return in
	}
	part := &Partition{Keys: []ColID{r.ID}}
	if b.partition != nil {
		part.Keys = append(part.Keys, b.partition.Keys...)
		part.Carry = b.partition.Carry
	}
	outer := b.partition
	b.partition = part
	out := b.pipe(p, &in)
	b.partition = outer
	out.ordered = false
	return out
}

// partitionQuery binds partition by K { query }: the query, which reads a table of
// its own, is run for each value of the key, the only thing of the rows that it
// can name.
func (b *binder) partitionQuery(op *kql.PartitionOp, in rel, by *Ref) rel {
	sub, ok := kql.Unparen(op.Sub).(*kql.Pipe)
	if !ok {
		sub = &kql.Pipe{Span: op.Sub.Range(), Source: op.Sub}
	}
	if b.partition != nil {
		b.unsupported(op.Sub.Range(), "partition with a query in braces inside partition or mv-apply")
		return in
	}
	row := b.row
	b.row = nil
	source := rel{}
	first := sub.Ops
	if sub.Source != nil {
		source = b.tabular(sub.Source)
	} else if source, ok = b.source(sub.Ops[0]); ok {
		first = first[1:]
	}
	k := b.newCol(by.Name, by.T)
	keys := &Aggregate{In: in.node, Keys: []Item{{Col: k, X: by}}}
	source.node = &Join{Kind: Inner, Cross: true, L: keys, R: source.node}
	outer := b.scope
	b.scope = &scope{outer: outer}
	level := b.level
	if level == 0 {
		level = -1
	}
	b.scope.declare(by.Name, &binding{scalar: refTo(k), level: level, at: op.By.Range()})
	b.partition = &Partition{Keys: []ColID{k.ID}}
	for _, o := range first {
		source = b.operator(o, source)
	}
	b.partition, b.scope, b.row = nil, outer, row
	source.ordered = false
	return source
}

// extractGroups are the captured groups of the first match, and group is one of
// them: "" when there was no match.
var (
	extractGroups = internalFunc("extract groups")
	group         = internalFunc("group")
	matched       = internalFunc("matched")
)

// typePattern is what a column of a type matches in parse kind=regex.
func typePattern(t Type) string {
	switch t {
	case Int, Long:
		return `-?\d+`
	case Real, Decimal:
		return `-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?`
	}
	return ".*"
}

// parse binds parse and parse-where: the pattern becomes one regular expression,
// whose groups become columns.
func (b *binder) parse(op *kql.ParseOp, in rel) rel {
	kind := param(op.Params, "kind")
	switch kind {
	case "", "simple", "relaxed", "regex":
	default:
		b.errorf(keywordAt(op), CodeArguments, "no kind of parse %q", kind)
	}
	x := b.expr(op.X)
	if t := x.Type(); t != String && t != Dynamic && t != Unknown {
		x = b.convert(x, String)
	}
	if x.Type() == Dynamic {
		x = b.convert(x, String)
	}
	var re strings.Builder
	if kind == "regex" {
		if flags := param(op.Params, "flags"); flags != "" {
			if strings.Trim(flags, "imsUx") != "" {
				b.errorf(keywordAt(op), CodeArguments, "the flags of a regular expression are i, m, s and U, not %q", flags)
				flags = ""
			}
			re.WriteString("(?" + strings.ReplaceAll(flags, "x", "") + ")")
		}
	} else {
		re.WriteString("(?s)")
	}
	// Without a star the pattern starts at the beginning.
	if len(op.Pattern) > 0 {
		if _, star := op.Pattern[0].(*kql.Star); !star && kind != "regex" {
			re.WriteString("^")
		}
	}
	type target struct {
		c     *kql.Column
		t     Type
		group int
	}
	var targets []target
	groups := 0
	for i, n := range op.Pattern {
		last := i == len(op.Pattern)-1
		switch n := n.(type) {
		case *kql.Star:
			switch {
			case kind == "regex":
				re.WriteString(".*")
			case i > 0 && !last:
				re.WriteString(".*?")
			}
		case *kql.Literal:
			if kind == "regex" {
				parsed, err := syntax.Parse(n.Text, syntax.Perl)
				if err != nil {
					b.errorf(n.Span, CodeArguments, "not a regular expression: %s", regexError(err))
					continue
				}
				groups += parsed.MaxCap()
				re.WriteString("(?:" + n.Text + ")")
			} else {
				re.WriteString(regexp.QuoteMeta(n.Text))
			}
		case *kql.Column:
			t := b.typeOf(n.Type)
			groups++
			targets = append(targets, target{n, t, groups})
			switch {
			case kind == "regex":
				re.WriteString("(" + typePattern(t) + ")")
			case t.Numeric() && kind == "relaxed":
				// What is no number is skipped, and null.
				re.WriteString(`(\s*` + typePattern(t) + `\s*|.*?)`)
				if last {
					re.WriteString("$")
				}
			case t.Numeric():
				re.WriteString(`(\s*` + typePattern(t) + `\s*)`)
				if last {
					re.WriteString("$")
				}
			case last:
				re.WriteString("(.*)$")
			default:
				re.WriteString("(.*?)")
			}
		}
	}
	if len(targets) == 0 {
		re.WriteString("()") // ClickHouse wants a group
	}
	found := b.newCol("match", Dynamic)
	node := Node(&Extend{In: in.node, Items: []Item{{found, &Call{Func: extractGroups, Args: []Expr{x, &Const{T: String, Text: re.String()}}, T: Dynamic}}}})
	items := make([]Item, 0, len(targets))
	p := projection{cols: append([]Column(nil), in.cols...)}
	texts := make([]Column, len(targets))
	strict := kind != "relaxed"
	// In the strict kinds one column that does not convert empties all of them.
	var ok Expr = &Call{Func: matched, Args: []Expr{refTo(found)}, T: Bool}
	for i, t := range targets {
		texts[i] = b.newCol(t.c.Name.Text, t.t)
		text := Expr(&Call{Func: group, Args: []Expr{refTo(found), &Const{T: Long, Int: int64(t.group)}}, T: String})
		value := text
		if t.t != String {
			value = b.convert(text, t.t)
		}
		items = append(items, Item{Col: texts[i], X: value})
		if strict && t.t != String && t.t != Dynamic {
			ok = &Binary{Op: kql.OpAnd, X: ok, Y: &Call{Func: scalarFuncs["isnotnull"], Args: []Expr{refTo(texts[i])}, T: Bool}, T: Bool}
		}
	}
	node = extendNode(node, items)
	if op.Word() == "parse-where" {
		node = &Filter{In: node, Pred: ok}
	}
	_, simple := ok.(*Call)
	if op.Word() != "parse-where" && !simple {
		checked := make([]Item, len(targets))
		for i, t := range targets {
			c := b.newCol(t.c.Name.Text, t.t)
			none := Expr(&Const{T: t.t, Null: t.t != String})
			checked[i] = Item{Col: c, X: &Call{Func: scalarFuncs["iff"], Args: []Expr{ok, refTo(texts[i]), none}, T: t.t}}
			texts[i] = c
		}
		node = extendNode(node, checked)
	}
	for i, t := range targets {
		c := texts[i]
		c.Name = t.c.Name.Text
		p.declare(b, t.c.Name.Span, c, true)
	}
	in.node, in.cols = node, p.cols
	return in
}

// parseKv binds parse-kv: every column is found by a regular expression made of
// its key and the delimiters.
func (b *binder) parseKv(op *kql.ParseKvOp, in rel) rel {
	x := b.expr(op.X)
	if x.Type() != String {
		x = b.convert(x, String)
	}
	text := func(name string) string { return param(op.Props, name) }
	pair, kv, quote, escape := text("pair_delimiter"), text("kv_delimiter"), text("quote"), text("escape")
	greedy := strings.EqualFold(text("greedy"), "true")
	node := in.node
	p := projection{cols: append([]Column(nil), in.cols...)}
	var items []Item
	source := b.newCol("text", String)
	node = &Extend{In: node, Items: []Item{{source, x}}}
	for _, c := range op.Schema.Columns {
		t := b.typeOf(c.Type)
		out := b.newCol(c.Name.Text, t)
		var value Expr
		if re := text("regex"); re != "" {
			if parsed, err := syntax.Parse(re, syntax.Perl); err != nil || parsed.MaxCap() < 2 {
				b.errorf(op.Schema.Span, CodeArguments, "parse-kv: regex needs a group for the key and one for the value")
				return in
			}
			value = &Call{Func: kvRegex, Args: []Expr{refTo(source), &Const{T: String, Text: re}, &Const{T: String, Text: c.Name.Text}}, T: String}
		} else {
			others := make([]string, 0, len(op.Schema.Columns))
			for _, o := range op.Schema.Columns {
				others = append(others, o.Name.Text)
			}
			value = &Call{Func: kvValue, Args: []Expr{
				refTo(source), &Const{T: String, Text: kvPattern(c.Name.Text, others, pair, kv, quote, escape, greedy)},
				&Const{T: String, Text: escape}, &Const{T: String, Text: quote}}, T: String}
		}
		if t != String {
			value = b.convert(value, t)
		}
		items = append(items, Item{Col: out, X: value})
		p.add(out, true)
	}
	in.node, in.cols = extendNode(node, items), p.cols
	return in
}

var (
	kvRegex = internalFunc("key value by regex")
	kvValue = internalFunc("key value")
)

// kvPattern is the expression whose groups are the quoted and the plain value of
// a key. Without delimiters, anything that is not alphanumeric separates.
func kvPattern(key string, others []string, pair, kv, quote, escape string, greedy bool) string {
	start := `(?:^|[^0-9A-Za-z_])`
	if pair != "" {
		start = `(?:^|` + regexp.QuoteMeta(pair) + `)\s*`
	}
	sep := `[^0-9A-Za-z_]*?[^0-9A-Za-z_\s][^0-9A-Za-z_]*?`
	if kv != "" {
		sep = regexp.QuoteMeta(kv)
	}
	if kv == "" && quote != "" {
		sep = `[^0-9A-Za-z_\s` + regexp.QuoteMeta(quote) + `]\s*`
	}
	plain := `[0-9A-Za-z_]+`
	if pair != "" {
		plain = `.*?`
	}
	end := `(?:$|[^0-9A-Za-z_])`
	if pair != "" {
		end = `(?:$|` + regexp.QuoteMeta(pair) + `)`
	}
	if greedy {
		var keys []string
		for _, o := range others {
			keys = append(keys, regexp.QuoteMeta(o))
		}
		end = `(?:$|` + regexp.QuoteMeta(pair) + `\s*(?:` + strings.Join(keys, "|") + `)` + sep + `)`
		plain = `.*?`
	}
	quoted := ""
	name := regexp.QuoteMeta(key)
	if quote != "" {
		open, stop := quote, quote
		if r := []rune(quote); len(r) == 2 {
			open, stop = string(r[0]), string(r[1])
		}
		body := `[^` + regexp.QuoteMeta(stop) + `]*`
		if escape != "" {
			e := regexp.QuoteMeta(escape)
			body = `(?:` + e + `.|[^` + regexp.QuoteMeta(stop) + e + `])*`
		}
		quoted = regexp.QuoteMeta(open) + `(` + body + `)` + regexp.QuoteMeta(stop) + `|`
		name = `(?:` + regexp.QuoteMeta(open) + name + regexp.QuoteMeta(stop) + `|` + name + `)`
	} else {
		quoted = `()[^\s\S]|`
	}
	return `(?s)` + start + name + sep + `(?:` + quoted + `(` + plain + `)` + end + `)`
}

// makeSeries binds make-series.
func (b *binder) makeSeries(op *kql.MakeSeriesOp, in rel) rel {
	m := &MakeSeries{In: in.node, NonEmpty: param(op.Params, "kind") == "nonempty"}
	var p projection
	keyItems := b.columnList(op.By, &p, styleProject)
	computed := map[ColID]Expr{}
	for _, it := range keyItems {
		computed[it.Col.ID] = it.X
	}
	for i, c := range p.cols {
		x, ok := computed[c.ID]
		if !ok {
			x = &Ref{ID: c.ID, T: c.Type, Name: c.Name}
			p.cols[i] = b.newCol(c.Name, c.Type)
		}
		m.Keys = append(m.Keys, Item{Col: p.cols[i], X: x})
	}
	aggs := &aggregates{in: &in, keys: m.Keys}
	for _, sa := range op.Aggs {
		n, named := sa.X.(*kql.Named)
		e := sa.X
		if named {
			e = n.X
		}
		b.aggs = aggs
		outs := b.outputs(e)
		name, ok := b.resultName(e)
		b.aggs = nil
		x := outs[0].x
		if outs[0].name != "" {
			name, ok = outs[0].name, true
		}
		if !b.aggregated(x, aggs, nil) {
			b.errorf(e.Range(), CodeContext, "make-series needs an aggregate here")
			x = null()
		}
		if len(outs) > 1 {
			b.errorf(e.Range(), CodeContext, "make-series takes one value of an aggregate, not %d", len(outs))
		}
		if t := x.Type(); !t.Summable() && t != Unknown && t != Bool && t != Dynamic {
			b.errorf(e.Range(), CodeType, "make-series needs numbers, not %s", t)
		}
		agg := SeriesAgg{X: x}
		if sa.Default != nil {
			agg.Default = b.expr(sa.Default)
		}
		switch {
		case named:
			agg.Col = b.newCol(n.Names[0].Text, Dynamic)
			p.declare(b, n.Names[0].Span, agg.Col, false)
		default:
			if !ok {
				name = b.defaultName(false)
			}
			agg.Col = b.newCol(name, Dynamic)
			p.add(agg.Col, false)
		}
		m.Aggs = append(m.Aggs, agg)
	}
	m.Inner = aggs.items
	n, named := op.On.(*kql.Named)
	e := op.On
	if named {
		e = n.X
	}
	axis := b.expr(e)
	name, ok := b.resultName(e)
	if named {
		name, ok = n.Names[0].Text, true
	}
	if !ok {
		name = b.defaultName(false)
	}
	t := axis.Type()
	if !t.Summable() && t != Unknown {
		b.errorf(e.Range(), CodeType, "the axis of make-series has to be a number, datetime or timespan, not %s", t)
	}
	m.Axis = Item{Col: b.newCol(name, Dynamic), X: axis}
	p.add(m.Axis.Col, false)
	from, to, step := op.From, op.To, op.Step
	if len(op.InRange) > 0 {
		if len(op.InRange) != 3 {
			b.errorf(op.On.Range(), CodeArguments, "range takes a start, a stop and a step")
			return rel{node: in.node, cols: p.cols}
		}
		from, to, step = op.InRange[0], op.InRange[1], op.InRange[2]
		m.Inclusive = true
	}
	bound := func(e kql.Expr, want Type, what string) Expr {
		if e == nil {
			return nil
		}
		row := b.row
		b.row = nil
		x := b.expr(e)
		b.row = row
		got := x.Type()
		switch {
		case got == Unknown || want == Unknown || got == want:
		case got.Numeric() && want.Numeric():
			if got != want {
				x = b.convert(x, want)
			}
		case got == Dynamic:
			x = b.convert(x, want)
		default:
			b.errorf(e.Range(), CodeType, "the %s of make-series has to be %s, not %s", what, want, got)
		}
		return x
	}
	stepType := t
	if t == Datetime {
		stepType = Timespan
	}
	if b.partition != nil {
		// A series for each part, which keeps what belongs to it.
		for _, id := range append(append([]ColID(nil), b.partition.Keys...), b.partition.Carry...) {
			m.Keys = append(m.Keys, Item{Col: Column{ID: id, Name: "part"}, X: &Ref{ID: id}})
		}
	}
	m.From, m.To, m.Step = bound(from, t, "start"), bound(to, t, "end"), bound(step, stepType, "step")
	if m.Step == nil {
		b.errorf(op.On.Range(), CodeArguments, "make-series needs a step")
		m.Step = null()
	}
	return rel{node: m, cols: p.cols}
}

// topNested binds top-nested: each clause groups the rows of the groups that the
// clause before kept.
func (b *binder) topNested(op *kql.TopNestedOp, in rel) rel {
	if b.partition != nil {
		b.unsupported(keywordAt(op), "top-nested inside partition or mv-apply")
	}
	source := b.named("nested", in)
	type level struct {
		of, by     Column
		cte        *binding
		keys       []Column // of's of this and the outer levels in cte
		aggregated Column
	}
	var levels []level
	var names projection
	for i, lv := range op.Levels {
		// The rows, with the values of the outer clauses beside them.
		r := b.reference(source)
		row := b.row
		b.row = &r
		var pre []Item
		ofOf := func(l *kql.TopNestedLevel) (Column, string) {
			x := b.expr(argValue(l.Of))
			name, _ := b.resultName(l.Of)
			c := b.newCol(name, x.Type())
			pre = append(pre, Item{Col: c, X: x})
			return c, name
		}
		ofs := make([]Column, 0, i+1)
		for k := 0; k <= i; k++ {
			c, _ := ofOf(op.Levels[k])
			ofs = append(ofs, c)
		}
		node := extendNode(r.node, pre)
		if i > 0 {
			outer := &levels[i-1]
			outerRel := b.reference(outer.cte)
			j := &Join{Kind: LeftSemi, L: node, R: outerRel.node}
			for k := 0; k < i; k++ {
				l, o := refTo(ofs[k]), refTo(outerRel.cols[k])
				j.On = append(j.On, JoinOn{L: l, R: o})
			}
			node = j
		}
		aggs := &aggregates{in: &r}
		b.aggs = aggs
		by := argValue(lv.By.X)
		n, named := lv.By.X.(*kql.Named)
		value := b.outputs(by)[0].x
		b.aggs = nil
		if !b.aggregated(value, aggs, nil) {
			b.errorf(by.Range(), CodeContext, "top-nested needs an aggregate here")
			value = null()
		}
		agg := &Aggregate{In: node}
		keys := make([]Column, 0, i+2)
		for _, c := range ofs {
			k := b.newCol(c.Name, c.Type)
			agg.Keys = append(agg.Keys, Item{Col: k, X: refTo(c)})
			keys = append(keys, k)
		}
		agg.Aggs = aggs.items
		result := b.newCol("", value.Type())
		var top Node = &Extend{In: agg, Items: []Item{{result, value}}}
		if lv.Count != nil {
			desc := lv.By.Order != kql.OrderAsc
			var part *Partition
			if i > 0 {
				part = &Partition{}
				for _, k := range keys[:i] {
					part.Keys = append(part.Keys, k.ID)
				}
			}
			b.row = row
			count := b.rowCount(lv.Count)
			top = &Limit{In: &Sort{In: top, Keys: []SortKey{{X: refTo(result), Desc: desc, NullsLast: desc}}, Partition: part}, N: count, Partition: part}
		}
		b.row = row
		ofName, ok := b.resultName(lv.Of)
		if !ok || ofName == "" {
			ofName = b.defaultName(false)
		}
		levels = append(levels, level{
			of: keys[i], by: result, keys: keys, aggregated: result,
			cte: b.named("level", rel{node: top, cols: append(append([]Column(nil), keys...), result)}),
		})
		names.add(Column{ID: -ColID(2*i + 1), Name: ofName, Type: keys[i].Type}, false)
		byName := "aggregated_" + names.cols[len(names.cols)-1].Name
		if named {
			byName = n.Names[0].Text
		}
		names.add(Column{ID: -ColID(2*i + 2), Name: byName, Type: result.Type}, false)
	}
	last := len(levels) - 1
	for _, lv := range op.Levels {
		if lv.Others != nil {
			tops := make([]*binding, len(levels))
			for i := range levels {
				tops[i] = levels[i].cte
			}
			return b.topNestedOthers(op, source, tops, names.cols)
		}
	}
	// Join the levels, innermost outwards, for their aggregates.
	inner := b.reference(levels[last].cte)
	node := inner.node
	cols := make([]Column, 2*len(levels))
	for k := 0; k <= last; k++ {
		cols[2*k] = inner.cols[k]
	}
	cols[2*last+1] = inner.cols[last+1]
	for k := last - 1; k >= 0; k-- {
		outer := b.reference(levels[k].cte)
		j := &Join{Kind: Inner, L: node, R: outer.node}
		for q := 0; q <= k; q++ {
			j.On = append(j.On, JoinOn{L: refTo(inner.cols[q]), R: refTo(outer.cols[q])})
		}
		node = j
		cols[2*k+1] = outer.cols[k+1]
	}
	for i := range cols {
		cols[i].Name = names.cols[i].Name
	}
	return rel{node: node, cols: cols}
}

// topNestedOthers counts what did not make it to the top as well. tops are the
// keys that did, of each level. A row has a label at each level: its value if it
// is at the top there and above, else the name of the others, or null where the
// level has none; it is dropped if no level has one for it.
func (b *binder) topNestedOthers(op *kql.TopNestedOp, source *binding, tops []*binding, names []Column) rel {
	row := b.row
	defer func() { b.row = row }()
	r := b.reference(source)
	b.row = &r
	var values []Item
	for _, lv := range op.Levels {
		x := b.expr(argValue(lv.Of))
		values = append(values, Item{Col: b.newCol("", x.Type()), X: x})
	}
	node := extendNode(r.node, values)
	marks := make([]Item, 0, 2*len(tops)) // at the top or not, and the label
	var kept Expr
	or := func(x Expr) {
		if kept == nil {
			kept = x
		} else {
			kept = &Binary{Op: kql.OpOr, X: kept, Y: x, T: Bool}
		}
	}
	for i, t := range tops {
		top := b.reference(t)
		one := b.newCol("", Long)
		j := &Join{Kind: LeftOuter, L: node, R: &Extend{In: top.node, Items: []Item{{one, &Const{T: Long, Int: 1}}}}}
		for k := range values[:i+1] {
			j.On = append(j.On, JoinOn{L: refTo(values[k].Col), R: refTo(top.cols[k])})
		}
		node = j
		in := Item{Col: b.newCol("", Bool), X: &Call{Func: scalarFuncs["isnotnull"], Args: []Expr{refTo(one)}, T: Bool}}
		of := values[i].Col
		var others Expr = &Const{T: of.Type, Null: of.Type != String}
		if e := op.Levels[i].Others; e != nil {
			b.row = nil
			others = b.convert(b.expr(e), of.Type)
			b.row = &r
			if !isConstant(others) {
				b.errorf(e.Range(), CodeConstant, "the name of the others has to be a constant")
			}
			or(&Call{Func: scalarFuncs["not"], Args: []Expr{in.X}, T: Bool})
		}
		if i == len(tops)-1 {
			or(in.X)
		}
		label := &Call{Func: scalarFuncs["iff"], Args: []Expr{in.X, refTo(of), others}, T: of.Type}
		marks = append(marks, in, Item{Col: b.newCol("", of.Type), X: label})
	}
	keep := b.newCol("", Bool)
	node = &Extend{In: &Extend{In: node, Items: marks}, Items: []Item{{keep, kept}}}
	cols := append([]Column(nil), r.cols...)
	for _, m := range marks {
		cols = append(cols, m.Col)
	}
	cols = append(cols, keep)
	marked := b.named("marked", rel{node: node, cols: cols})
	// The aggregates of each level, by the labels so far.
	levels := make([]rel, len(tops))
	for i, lv := range op.Levels {
		in := b.reference(marked)
		at := in.cols[len(r.cols):]
		if i == len(op.Levels)-1 {
			in.node = &Filter{In: in.node, Pred: refTo(at[len(marks)])}
		}
		b.row = &rel{node: in.node, cols: in.cols[:len(r.cols)]}
		aggs := &aggregates{in: b.row}
		b.aggs = aggs
		value := b.outputs(argValue(lv.By.X))[0].x
		b.aggs = nil
		agg := &Aggregate{In: in.node, Aggs: aggs.items}
		out := rel{}
		for _, c := range at[:2*i+2] {
			k := b.newCol("", c.Type)
			agg.Keys = append(agg.Keys, Item{Col: k, X: refTo(c)})
			out.cols = append(out.cols, k)
		}
		if lv.Others == nil {
			value = &Call{Func: scalarFuncs["iff"], Args: []Expr{refTo(out.cols[2*i]), value, &Const{T: value.Type(), Null: true}}, T: value.Type()}
		}
		result := b.newCol("", value.Type())
		out.node = &Extend{In: agg, Items: []Item{{result, value}}}
		out.cols = append(out.cols, result)
		levels[i] = out
	}
	last := len(levels) - 1
	inner := levels[last]
	shown := make([]Column, len(names))
	shown[2*last+1] = inner.cols[2*last+2]
	for k := range levels {
		shown[2*k] = inner.cols[2*k+1]
	}
	node = inner.node
	for k := last - 1; k >= 0; k-- {
		j := &Join{Kind: Inner, L: node, R: levels[k].node}
		for q, c := range levels[k].cols[:2*k+2] {
			// As text: a label that is null has to meet itself.
			j.On = append(j.On, JoinOn{L: b.convert(refTo(inner.cols[q]), String), R: b.convert(refTo(c), String)})
		}
		node = j
		shown[2*k+1] = levels[k].cols[2*k+2]
	}
	for i := range shown {
		shown[i].Name = names[i].Name
	}
	return rel{node: node, cols: shown}
}
