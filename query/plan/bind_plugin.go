package plan

import (
	"slices"
	"strconv"
	"strings"

	"hubscope/query/kql"
)

// plugins are the plugins of evaluate that hubscope has.
var plugins = []string{"bag_unpack", "pivot", "narrow", "ipv4_lookup", "ipv6_lookup", "activity_counts_metrics", "rolling_percentile", "rows_near", "sliding_window_counts", "preview"}

func (b *binder) evaluate(op *kql.EvaluateOp, in rel) rel {
	unknown := rel{node: in.node, cols: in.cols, open: func(name string) Column { return b.newCol(name, Unknown) }}
	if b.partition != nil {
		b.unsupported(keywordAt(op), "evaluate inside partition or mv-apply")
		return unknown
	}
	var out rel
	switch op.Call.Func.Text {
	case "bag_unpack":
		out = b.bagUnpack(op, in)
	case "pivot":
		out = b.pivot(op, in)
	case "narrow":
		out = b.narrow(in)
	case "ipv4_lookup":
		out = b.ipLookup(op, in, "ipv4_is_in_range")
	case "ipv6_lookup":
		out = b.ipLookup(op, in, "ipv6_is_in_range")
	case "activity_counts_metrics":
		out = b.activityCounts(op, in)
	case "rolling_percentile":
		out = b.rollingPercentile(op, in)
	case "rows_near":
		out = b.rowsNear(op, in)
	case "sliding_window_counts":
		out = b.slidingWindowCounts(op, in)
	case "preview":
		if len(op.Call.Args) == 1 {
			in.node = &Limit{In: in.node, N: b.rowCount(op.Call.Args[0])}
		}
		out = in
	default:
		e := b.errorf(op.Call.Func.Span, kql.CodeUnsupported, "hubscope does not support the plugin %s", op.Call.Func.Text)
		e.Hint = didYouMean(op.Call.Func.Text, plugins)
		return unknown
	}
	if op.Schema == nil || b.plan.Discover != nil {
		return out
	}
	return b.declaredSchema(op.Schema, out)
}

// declaredSchema gives a plugin's result the columns that the query declares for
// it: what is missing is null, what is not declared goes, unless there is a star.
func (b *binder) declaredSchema(s *kql.Schema, in rel) rel {
	var p projection
	declared := map[string]bool{}
	for _, c := range s.Columns {
		declared[c.Name.Text] = true
	}
	if s.Star {
		for _, c := range in.cols {
			if !declared[c.Name] {
				p.add(c, true)
			}
		}
	}
	var items []Item
	for _, want := range s.Columns {
		t := b.typeOf(want.Type)
		var x Expr = &Const{T: t, Null: true}
		if t == String {
			x = &Const{T: String}
		}
		if c, ok := in.column(want.Name.Text); ok {
			if c.Type == t {
				p.add(c, true)
				continue
			}
			x = b.convert(refTo(c), t)
		}
		c := b.newCol(want.Name.Text, t)
		items = append(items, Item{Col: c, X: x})
		p.add(c, true)
	}
	return rel{node: extendNode(in.node, items), cols: p.cols}
}

// discover asks for the distinct values of a string expression over the rows of
// in. ok is false when they are not known yet: the plan then says so.
func (b *binder) discover(in rel, values func(in rel) (Node, Expr)) (keys []string, ok bool) {
	key := strconv.Itoa(b.discovered)
	b.discovered++
	if keys, ok = b.opt.Discovered[key]; ok {
		return keys, true
	}
	if len(b.errs) > 0 {
		return nil, false
	}
	node, x := values(in)
	c := b.newCol("key", String)
	root := &Aggregate{In: node, Keys: []Item{{Col: c, X: x}}}
	sorted := &Limit{In: &Sort{In: root, Keys: []SortKey{{X: refTo(c)}}}, N: &Const{T: Long, Int: maxDiscovered + 1}}
	b.plan.Discover = &Discovery{Key: key, Query: &Plan{
		Root: sorted, Columns: []Column{c}, CTEs: b.plan.CTEs, Tables: b.plan.Tables, UsesNow: b.plan.UsesNow, columns: b.plan.columns, undeclared: b.plan.undeclared,
	}}
	return nil, false
}

// maxDiscovered bounds the columns that data may make.
const maxDiscovered = 500

// bagUnpack makes a column of every key of a bag.
func (b *binder) bagUnpack(op *kql.EvaluateOp, in rel) rel {
	args := op.Call.Args
	if len(args) == 0 {
		b.errorf(op.Call.Span, CodeArguments, "bag_unpack takes a dynamic column")
		return in
	}
	x := b.expr(args[0])
	bag, ok := isColumn(args[0], x)
	if !ok || bag.T != Dynamic && bag.T != Unknown {
		if x.Type() != Unknown || ok {
			b.errorf(args[0].Range(), CodeType, "bag_unpack takes a dynamic column")
		}
		return in
	}
	prefix, conflict := "", "error"
	ignored := map[string]bool{}
	for i, a := range args[1:] {
		name := ""
		if n, isNamed := a.(*kql.Named); isNamed {
			name, a = n.Names[0].Text, n.X
		}
		c, isConst := b.expr(a).(*Const)
		if !isConst {
			b.errorf(a.Range(), CodeConstant, "bag_unpack: a constant was expected")
			continue
		}
		switch {
		case name == "columnsConflict", name == "" && i == 1:
			conflict = c.Text
		case name == "ignoredProperties", name == "" && i == 2:
			if elems, isArray := jsonElements(c.Text); isArray {
				for _, e := range elems {
					if k, isText := e.(*Const); isText && k.T == String {
						ignored[k.Text] = true
					}
				}
			}
		default:
			prefix = c.Text
		}
	}
	types := map[string]Type{}
	var keys []string
	if op.Schema != nil {
		// The query says which keys there are; the star stands for the other columns.
		for _, c := range op.Schema.Columns {
			key := strings.TrimPrefix(c.Name.Text, prefix)
			if (&projection{cols: in.cols}).find(c.Name.Text) < 0 || conflict == "replace_source" {
				keys = append(keys, key)
				types[key] = b.typeOf(c.Type)
			}
		}
		return b.unpacked(op, in, bag, keys, types, prefix, conflict)
	}
	// Every key with the kind of its values: the type is theirs if it is one.
	found, ok := b.discover(in, func(in rel) (Node, Expr) {
		pair := b.newCol("pair", Dynamic)
		m := &MvExpand{In: in.node, Items: []MvItem{{Col: pair, X: &Call{Func: bagKinds, Args: []Expr{bag}, T: Dynamic}}}}
		return m, b.convert(refTo(pair), String)
	})
	if !ok {
		return rel{node: in.node, cols: without(in.cols, bag.ID), open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
	if len(found) > maxDiscovered {
		b.errorf(op.Call.Span, CodeLimit, "the bags have more than %d keys", maxDiscovered)
		return in
	}
	for _, f := range found {
		kind, key, _ := strings.Cut(f, ":")
		if ignored[key] {
			continue
		}
		t := map[string]Type{"string": String, "long": Long, "real": Real, "bool": Bool}[kind]
		if t == Unknown {
			t = Dynamic
		}
		if old, seen := types[key]; !seen {
			keys = append(keys, key)
			types[key] = t
		} else if old != t {
			if old.Numeric() && t.Numeric() {
				types[key] = Real
			} else {
				types[key] = Dynamic
			}
		}
	}
	sortStrings(keys)
	return b.unpacked(op, in, bag, keys, types, prefix, conflict)
}

// unpacked makes columns of keys of a bag. A column of that name stays, gives its
// place, or is an error.
func (b *binder) unpacked(op *kql.EvaluateOp, in rel, bag *Ref, keys []string, types map[string]Type, prefix, conflict string) rel {
	p := projection{cols: append([]Column(nil), without(in.cols, bag.ID)...)}
	var items []Item
	for _, key := range keys {
		name := prefix + key
		i := p.find(name)
		if i >= 0 && conflict == "keep_source" {
			continue
		}
		if i >= 0 && conflict != "replace_source" {
			b.errorf(op.Call.Span, CodeDuplicate, "bag_unpack: there is a column %q already", name).Hint = "give a prefix, or columnsConflict"
			continue
		}
		c := b.newCol(name, types[key])
		items = append(items, Item{Col: c, X: b.convert(&Path{X: bag, Key: key}, types[key])})
		p.add(c, true)
	}
	return rel{node: extendNode(in.node, items), cols: p.cols, ordered: in.ordered, name: in.name}
}

// bagKinds lists "kind:key" of every key of a bag.
var bagKinds = internalFunc("bag kinds")

func without(cols []Column, id ColID) []Column {
	out := make([]Column, 0, len(cols))
	for _, c := range cols {
		if c.ID != id {
			out = append(out, c)
		}
	}
	return out
}

// pivot makes a column of every value of a column, with an aggregate in it.
func (b *binder) pivot(op *kql.EvaluateOp, in rel) rel {
	args := op.Call.Args
	if len(args) == 0 {
		b.errorf(op.Call.Span, CodeArguments, "pivot takes a column")
		return in
	}
	x := b.expr(args[0])
	by, ok := isColumn(args[0], x)
	if !ok {
		if x.Type() != Unknown {
			b.errorf(args[0].Range(), CodeArguments, "pivot takes a column")
		}
		return in
	}
	aggs := &aggregates{in: &in}
	var value Expr
	used := map[ColID]bool{by.ID: true}
	rest := args[1:]
	if len(rest) > 0 {
		b.aggs = aggs
		value = b.expr(rest[0])
		b.aggs = nil
		if !b.aggregated(value, aggs, nil) || len(aggs.items) == 0 {
			b.errorf(rest[0].Range(), CodeContext, "pivot needs an aggregate here")
			return in
		}
		for _, it := range aggs.items {
			WalkExpr(it.X, func(x Expr) bool {
				if r, ok := x.(*Ref); ok {
					used[r.ID] = true
				}
				return true
			})
		}
		rest = rest[1:]
	} else {
		c := b.newCol("count_", Long)
		aggs.items = append(aggs.items, Item{Col: c, X: &Agg{Func: aggregateFuncs["count"], T: Long}})
		value = refTo(c)
	}
	var keys []Column
	if len(rest) > 0 {
		for _, a := range rest {
			kx := b.expr(a)
			r, ok := isColumn(a, kx)
			if !ok {
				b.errorf(a.Range(), CodeArguments, "pivot: a column was expected")
				continue
			}
			keys = append(keys, Column{ID: r.ID, Name: r.Name, Type: r.T})
		}
	} else {
		for _, c := range in.cols {
			if !used[c.ID] {
				keys = append(keys, c)
			}
		}
	}
	text := b.convert(by, String)
	var found []string
	if op.Schema != nil {
		for _, c := range op.Schema.Columns {
			if (&projection{cols: keys}).find(c.Name.Text) < 0 {
				found = append(found, c.Name.Text)
			}
		}
	} else if found, ok = b.discover(in, func(in rel) (Node, Expr) { return in.node, text }); !ok {
		return rel{node: in.node, cols: keys, open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
	if len(found) > maxDiscovered {
		b.errorf(op.Call.Span, CodeLimit, "column %s has more than %d values", by.Name, maxDiscovered)
		return in
	}
	// One row for every key and value first, then the values side by side.
	group := &Aggregate{In: in.node, Aggs: aggs.items}
	for _, k := range keys {
		group.Keys = append(group.Keys, Item{Col: k, X: refTo(k)})
	}
	label := b.newCol("label", String)
	group.Keys = append(group.Keys, Item{Col: label, X: text})
	cell := b.newCol("cell", value.Type())
	node := Node(&Extend{In: group, Items: []Item{{Col: cell, X: value}}})
	wide := &Aggregate{In: node}
	for _, k := range keys {
		wide.Keys = append(wide.Keys, Item{Col: k, X: refTo(k)})
	}
	p := projection{cols: append([]Column(nil), keys...)}
	var post []Item
	counts := map[string]bool{"count": true, "countif": true, "dcount": true, "dcountif": true, "sum": true, "sumif": true}
	for _, f := range found {
		c := b.newCol(f, value.Type())
		is := &Binary{Op: kql.OpEq, X: refTo(label), Y: &Const{T: String, Text: f}, T: Bool}
		wide.Aggs = append(wide.Aggs, Item{Col: c, X: &Agg{Func: aggregateFuncs["take_anyif"], Args: []Expr{refTo(cell), is}, T: value.Type()}})
		// A count of nothing is 0.
		if a, isAgg := aggs.items[0].X.(*Agg); isAgg && counts[a.Func.Base] && value.Type().Numeric() {
			full := b.newCol(f, value.Type())
			post = append(post, Item{Col: full, X: &Call{Func: scalarFuncs["coalesce"], Args: []Expr{refTo(c), b.convert(&Const{T: Long}, value.Type())}, T: value.Type()}})
			c = full
		}
		p.add(c, false)
	}
	return rel{node: extendNode(wide, post), cols: p.cols}
}

// narrow makes a row of every cell.
func (b *binder) narrow(in rel) rel {
	row := b.newCol("Row", Long)
	pack := &Call{Func: scalarFuncs["pack_array"], T: Dynamic}
	for _, c := range in.cols {
		pair := &Call{Func: scalarFuncs["pack_array"], Args: []Expr{&Const{T: String, Text: c.Name}, b.convert(refTo(c), String)}, T: Dynamic}
		pack.Args = append(pack.Args, pair)
	}
	if len(in.cols) == 0 {
		return in
	}
	cell := b.newCol("cell", Dynamic)
	m := &MvExpand{In: &Ordinal{In: in.node, Col: row}, Items: []MvItem{{Col: cell, X: pack}}}
	number, name, value := b.newCol("Row", Long), b.newCol("Column", String), b.newCol("Value", String)
	at := func(i int64) Expr {
		return b.convert(&Path{X: refTo(cell), Index: &Const{T: Long, Int: i}}, String)
	}
	zero := &Binary{Op: kql.OpSub, X: refTo(row), Y: &Const{T: Long, Int: 1}, T: Long}
	items := []Item{{Col: number, X: zero}, {Col: name, X: at(0)}, {Col: value, X: at(1)}}
	return rel{node: &Extend{In: m, Items: items}, cols: []Column{number, name, value}}
}

// ipLookup joins rows to the table of ranges that an address lies in.
func (b *binder) ipLookup(op *kql.EvaluateOp, in rel, test string) rel {
	args := op.Call.Args
	if len(args) < 3 {
		b.errorf(op.Call.Span, CodeArguments, "%s takes a table, an address and the table's column of ranges", op.Call.Func.Text)
		return in
	}
	right := b.joinRight(args[0])
	address := b.expr(args[1])
	row := b.row
	b.row = &right
	ranges := b.expr(args[2])
	b.row = row
	unmatched := false
	j := &Join{Kind: Inner, L: in.node, R: right.node, Cross: true}
	drop := map[ColID]bool{}
	if r, ok := ranges.(*Ref); ok {
		drop[r.ID] = false
	}
	var extra []JoinOn
	for i, a := range args[3:] {
		if n, ok := a.(*kql.Named); ok {
			if n.Names[0].Text == "return_unmatched" {
				if c, ok := b.expr(n.X).(*Const); ok {
					unmatched = c.Int != 0
				}
			}
			continue
		}
		if c, ok := kql.Unparen(a).(*kql.Literal); ok && c.Kind == kql.BoolLit && i == len(args)-4 {
			unmatched = c.Int != 0
			continue
		}
		// A further key has the same name on both sides, and comes out once.
		l := b.expr(a)
		b.row = &right
		r := b.expr(a)
		b.row = row
		extra = append(extra, JoinOn{L: l, R: r})
		if ref, ok := r.(*Ref); ok {
			right.cols = slices.DeleteFunc(slices.Clone(right.cols), func(c Column) bool { return c.ID == ref.ID })
		}
	}
	pred := Expr(&Call{Func: scalarFuncs[test], Args: []Expr{b.convert(address, String), b.convert(ranges, String)}, T: Bool})
	for _, e := range extra {
		pred = &Binary{Op: kql.OpAnd, X: pred, Y: &Binary{Op: kql.OpEq, X: e.L, Y: e.R, T: Bool}, T: Bool}
	}
	cols := append(append([]Column(nil), in.cols...), right.cols...)
	if !unmatched {
		return rel{node: &Filter{In: j, Pred: pred}, cols: uniqueNames(cols)}
	}
	// Number the rows, match them, and join what matched to all of them.
	n := b.newCol("row", Long)
	numbered := b.named("numbered", rel{node: &Ordinal{In: in.node, Col: n}, cols: append(append([]Column(nil), in.cols...), n)})
	left, all := b.reference(numbered), b.reference(numbered)
	byID := map[ColID]Expr{}
	for i, c := range in.cols {
		byID[c.ID] = refTo(left.cols[i])
	}
	j.L = left.node
	matched := &Filter{In: j, Pred: substitute(pred, byID)}
	outer := &Join{Kind: LeftOuter, L: all.node, R: matched, On: []JoinOn{{L: refTo(all.cols[len(in.cols)]), R: refTo(left.cols[len(in.cols)])}}}
	cols = append(append([]Column(nil), all.cols[:len(in.cols)]...), right.cols...)
	return rel{node: outer, cols: uniqueNames(cols)}
}

// substitute replaces columns in an expression.
func substitute(x Expr, by map[ColID]Expr) Expr {
	switch x := x.(type) {
	case *Ref:
		if r, ok := by[x.ID]; ok {
			return r
		}
	case *Call:
		c := *x
		c.Args = make([]Expr, len(x.Args))
		for i, a := range x.Args {
			c.Args[i] = substitute(a, by)
		}
		return &c
	case *Binary:
		c := *x
		c.X, c.Y = substitute(x.X, by), substitute(x.Y, by)
		return &c
	case *Unary:
		c := *x
		c.X = substitute(x.X, by)
		return &c
	case *Path:
		c := *x
		c.X = substitute(x.X, by)
		if x.Index != nil {
			c.Index = substitute(x.Index, by)
		}
		return &c
	}
	return x
}

// activityCounts counts activities, users, new users and users so far per window.
func (b *binder) activityCounts(op *kql.EvaluateOp, in rel) rel {
	args := op.Call.Args
	if len(args) < 5 {
		b.errorf(op.Call.Span, CodeArguments, "activity_counts_metrics takes an id, a time, a start, an end, a window and dimensions")
		return in
	}
	id, at := b.expr(args[0]), b.expr(args[1])
	timeName, _ := b.resultName(args[1])
	start, end, window := b.expr(args[2]), b.expr(args[3]), b.expr(args[4])
	bin := b.newCol(timeName, at.Type())
	user := b.newCol("user", id.Type())
	items := []Item{
		{Col: bin, X: &Call{Func: scalarFuncs["bin_at"], Args: []Expr{at, window, start}, T: at.Type()}},
		{Col: user, X: id},
	}
	var dims []Column
	for _, a := range args[5:] {
		x := b.expr(a)
		name, _ := b.resultName(a)
		c := b.newCol(name, x.Type())
		items = append(items, Item{Col: c, X: x})
		dims = append(dims, c)
	}
	inRange := &Between{X: at, Lo: start, Hi: end}
	rows := b.named("activity", rel{node: &Extend{In: &Filter{In: in.node, Pred: inRange}, Items: items}, cols: append([]Column{bin, user}, dims...)})
	// The first window of each user, and how many of them each window has.
	first := b.reference(rows)
	firstBin := b.newCol("first", at.Type())
	perUser := &Aggregate{In: first.node, Aggs: []Item{{Col: firstBin, X: &Agg{Func: aggregateFuncs["min"], Args: []Expr{refTo(first.cols[0])}, T: at.Type()}}}}
	perUser.Keys = append(perUser.Keys, Item{Col: first.cols[1], X: refTo(first.cols[1])})
	newKeys := []Column{firstBin}
	for _, d := range first.cols[2:] {
		perUser.Keys = append(perUser.Keys, Item{Col: d, X: refTo(d)})
		newKeys = append(newKeys, d)
	}
	fresh := b.newCol("fresh", Long)
	news := &Aggregate{In: perUser, Aggs: []Item{{Col: fresh, X: &Agg{Func: aggregateFuncs["count"], T: Long}}}}
	for _, k := range newKeys {
		news.Keys = append(news.Keys, Item{Col: k, X: refTo(k)})
	}
	// Activities and users of each window.
	each := b.reference(rows)
	count, distinct := b.newCol("count", Long), b.newCol("dcount", Long)
	perBin := &Aggregate{In: each.node, Aggs: []Item{
		{Col: count, X: &Agg{Func: aggregateFuncs["count"], T: Long}},
		{Col: distinct, X: &Agg{Func: aggregateFuncs["count_distinct"], Args: []Expr{refTo(each.cols[1])}, T: Long}},
	}}
	keys := append([]Column{each.cols[0]}, each.cols[2:]...)
	for _, k := range keys {
		perBin.Keys = append(perBin.Keys, Item{Col: k, X: refTo(k)})
	}
	j := &Join{Kind: LeftOuter, L: perBin, R: news}
	for i, k := range keys {
		j.On = append(j.On, JoinOn{L: refTo(k), R: refTo(newKeys[i])})
	}
	newCount := b.newCol("new_dcount", Long)
	filled := &Extend{In: j, Items: []Item{{Col: newCount, X: &Call{Func: scalarFuncs["coalesce"], Args: []Expr{refTo(fresh), &Const{T: Long}}, T: Long}}}}
	var part *Partition
	if len(keys) > 1 {
		part = &Partition{}
		for _, k := range keys[1:] {
			part.Keys = append(part.Keys, k.ID)
		}
	}
	sorted := &Sort{In: filled, Keys: []SortKey{{X: refTo(keys[0])}}}
	total := b.newCol("aggregated_dcount", Long)
	sums := &Extend{In: sorted, Items: []Item{{Col: total, X: &Call{Func: scalarFuncs["row_cumsum"], Args: []Expr{refTo(newCount)}, T: Long, Partition: part}}}}
	cols := append(append([]Column(nil), keys...), count, distinct, newCount, total)
	cols[0].Name = timeName
	for i, d := range dims {
		cols[1+i].Name = d.Name
	}
	return rel{node: sums, cols: uniqueNames(cols), ordered: true}
}

// rollingPercentile computes a percentile over the values of the last bins.
func (b *binder) rollingPercentile(op *kql.EvaluateOp, in rel) rel {
	args := op.Call.Args
	if len(args) < 5 {
		b.errorf(op.Call.Span, CodeArguments, "rolling_percentile takes values, a percentage, an index, a bin size, a number of bins and dimensions")
		return in
	}
	value, percent, index, size := b.expr(args[0]), b.expr(args[1]), b.expr(args[2]), b.expr(args[3])
	bins, ok := constInt(b.expr(args[4]))
	p, isConst := percent.(*Const)
	if !ok || bins < 1 || bins > 1000 || !isConst || !p.T.Numeric() {
		b.errorf(op.Call.Span, CodeConstant, "rolling_percentile: the percentage and the number of bins have to be constants")
		return in
	}
	valueName, _ := b.resultName(args[0])
	indexName, _ := b.resultName(args[2])
	bin := b.newCol(indexName, index.Type())
	binned := &Call{Func: scalarFuncs["bin"], Args: []Expr{index, size}, T: index.Type()}
	v := b.newCol("value", value.Type())
	items := []Item{{Col: bin, X: binned}, {Col: v, X: value}}
	var dims []Column
	for _, a := range args[5:] {
		x := b.expr(a)
		name, _ := b.resultName(a)
		c := b.newCol(name, x.Type())
		items = append(items, Item{Col: c, X: x})
		dims = append(dims, c)
	}
	// Every value counts for its own bin and the ones after it that still see it.
	offset := b.newCol("offset", Dynamic)
	var list []byte
	list = append(list, '[')
	for i := int64(0); i < bins; i++ {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, i, 10)
	}
	list = append(list, ']')
	m := &MvExpand{In: &Extend{In: in.node, Items: items}, Items: []MvItem{{Col: offset, X: &Const{T: Dynamic, Text: string(list)}}}}
	target := b.newCol(indexName, index.Type())
	step := b.op(kql.OpMul, b.convert(refTo(offset), Long), size, op.Call.Span)
	shifted := &Extend{In: m, Items: []Item{{Col: target, X: b.op(kql.OpAdd, refTo(bin), step, op.Call.Span)}}}
	out := b.newCol("rolling_"+strconv.FormatInt(bins, 10)+"_percentile_"+valueName+"_"+percentText(args[1], p), value.Type())
	agg := &Aggregate{In: shifted, Keys: []Item{{Col: target, X: refTo(target)}}, Aggs: []Item{
		{Col: out, X: &Agg{Func: aggregateFuncs["percentile"], Args: []Expr{refTo(v), p}, T: value.Type()}},
		{Col: b.newCol("own", Long), X: &Agg{Func: aggregateFuncs["countif"], Args: []Expr{&Binary{Op: kql.OpEq, X: b.convert(refTo(offset), Long), Y: &Const{T: Long}, T: Bool}}, T: Long}},
	}}
	for _, d := range dims {
		agg.Keys = append(agg.Keys, Item{Col: d, X: refTo(d)})
	}
	// Bins without values of their own are not shown.
	own := agg.Aggs[1].Col
	shown := &Filter{In: agg, Pred: &Binary{Op: kql.OpGt, X: refTo(own), Y: &Const{T: Long}, T: Bool}}
	cols := append(append([]Column{target}, dims...), out)
	return rel{node: shown, cols: uniqueNames(cols)}
}

// rowsNear keeps the rows for which a condition holds, and so many rows before
// and after each of them.
func (b *binder) rowsNear(op *kql.EvaluateOp, in rel) rel {
	const most = 200
	args := op.Call.Args
	if len(args) < 2 || len(args) > 3 {
		b.errorf(op.Call.Span, CodeArguments, "rows_near takes a condition, a number of rows and a number of rows after")
		return in
	}
	if !in.ordered {
		b.errorf(op.Call.Span, CodeContext, "rows_near needs rows in an order").Hint = "put sort by or serialize before it"
	}
	cond := b.predicate(args[0])
	before, ok := constInt(b.expr(args[1]))
	after := before
	if ok && len(args) == 3 {
		after, ok = constInt(b.expr(args[2]))
	}
	if !ok || before < 0 || after < 0 || before > most || after > most {
		b.errorf(op.Call.Span, CodeConstant, "rows_near: the numbers of rows have to be constants from 0 to %d", most)
		return in
	}
	hit := b.newCol("hit", Long)
	long := func(n int64) Expr { return &Const{T: Long, Int: n} }
	node := &Extend{In: in.node, Items: []Item{{hit, &Call{Func: scalarFuncs["iff"], Args: []Expr{cond, long(1), long(0)}, T: Long}}}}
	hits := Expr(refTo(hit))
	add := func(f string, rows int64) {
		for k := int64(1); k <= rows; k++ {
			x := &Call{Func: scalarFuncs[f], Args: []Expr{refTo(hit), long(k), long(0)}, T: Long}
			hits = &Binary{Op: kql.OpAdd, X: hits, Y: x, T: Long}
		}
	}
	add("next", before)
	add("prev", after)
	near := b.newCol("near", Bool)
	keep := &Extend{In: node, Items: []Item{{near, &Binary{Op: kql.OpGt, X: hits, Y: long(0), T: Bool}}}}
	in.node = &Filter{In: keep, Pred: refTo(near)}
	return in
}

// slidingWindowCounts counts rows and ids over the last bins, for each bin.
func (b *binder) slidingWindowCounts(op *kql.EvaluateOp, in rel) rel {
	args := op.Call.Args
	if len(args) < 6 {
		b.errorf(op.Call.Span, CodeArguments, "sliding_window_counts takes an id, a time, a start, an end, a window, a bin size and dimensions")
		return in
	}
	id, at := b.expr(args[0]), b.expr(args[1])
	start, end, window, size := b.expr(args[2]), b.expr(args[3]), b.expr(args[4]), b.expr(args[5])
	w, ok1 := window.(*Const)
	s, ok2 := size.(*Const)
	if !ok1 || !ok2 || w.T != s.T || w.T != Timespan && !w.T.Integer() || w.Null || s.Null || s.Int <= 0 || w.Int < s.Int || w.Int/s.Int > 10_000 {
		b.errorf(args[5].Range(), CodeConstant, "sliding_window_counts: the window and the bin size have to be constants of one type, at most 10000 bins")
		return in
	}
	var list []byte
	for i := int64(0); i < w.Int/s.Int; i++ {
		list = strconv.AppendInt(append(list, ','), i, 10)
	}
	list[0] = '['
	list = append(list, ']')
	bin, user := b.newCol("bin", at.Type()), b.newCol("id", id.Type())
	items := []Item{
		{Col: bin, X: &Call{Func: scalarFuncs["bin_at"], Args: []Expr{at, size, start}, T: at.Type()}},
		{Col: user, X: id},
	}
	name, _ := b.resultName(args[1])
	target := b.newCol(name, at.Type())
	agg := &Aggregate{Keys: []Item{{Col: target, X: refTo(target)}}}
	cols := []Column{target}
	for _, a := range args[6:] {
		x := b.expr(a)
		name, _ := b.resultName(a)
		c := b.newCol(name, x.Type())
		items = append(items, Item{Col: c, X: x})
		agg.Keys = append(agg.Keys, Item{Col: c, X: refTo(c)})
		cols = append(cols, c)
	}
	// A row counts for its own bin and for those after it that still see it.
	offset := b.newCol("offset", Dynamic)
	m := &MvExpand{In: &Extend{In: in.node, Items: items}, Items: []MvItem{{Col: offset, X: &Const{T: Dynamic, Text: string(list)}}}}
	step := b.op(kql.OpMul, b.convert(refTo(offset), Long), size, op.Call.Span)
	shifted := &Extend{In: m, Items: []Item{{Col: target, X: b.op(kql.OpAdd, refTo(bin), step, op.Call.Span)}}}
	agg.In = &Filter{In: shifted, Pred: &Between{X: refTo(target), Lo: start, Hi: end}}
	count, distinct := b.newCol("Count", Long), b.newCol("Dcount", Long)
	agg.Aggs = []Item{
		{Col: count, X: &Agg{Func: aggregateFuncs["count"], T: Long}},
		{Col: distinct, X: &Agg{Func: aggregateFuncs["count_distinct"], Args: []Expr{refTo(user)}, T: Long}},
	}
	return rel{node: agg, cols: uniqueNames(append(cols, count, distinct))}
}
