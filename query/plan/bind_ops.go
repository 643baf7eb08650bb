package plan

import (
	"sort"
	"strconv"
	"strings"

	"hubscope/query/kql"
)

// source binds an operator that stands at the beginning of a pipeline.
func (b *binder) source(op kql.Operator) (rel, bool) {
	switch op := op.(type) {
	case *kql.PrintOp:
		return b.print(op), true
	case *kql.RangeOp:
		return b.rangeOp(op), true
	case *kql.UnionOp:
		return b.union(op, nil), true
	case *kql.SearchOp:
		return b.search(op, nil), true
	case *kql.FindOp:
		return b.find(op), true
	case *kql.EvaluateOp:
		b.unsupported(op.At, "evaluate at the beginning of a query")
	case *kql.UnsupportedOp:
		b.unsupported(op.At, "the operator "+op.Word())
	case *kql.BadOp:
	default:
		b.errorf(op.Range(), CodeContext, "%s needs rows from an operator before it", op.Word())
	}
	return rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}, false
}

// operator binds one operator of a pipeline.
func (b *binder) operator(op kql.Operator, in rel) rel {
	row, right := b.row, b.right
	b.row, b.right = &in, nil
	out := b.bindOperator(op, in)
	b.row, b.right = row, right
	if len(b.pre) > 0 {
		b.errorf(op.Range(), CodeContext, "%s cannot have window functions inside each other", op.Word())
		b.pre = nil
	}
	return out
}

func (b *binder) bindOperator(op kql.Operator, in rel) rel {
	switch op := op.(type) {
	case *kql.WhereOp:
		pred := b.beforehand(b.predicate(op.Cond))
		in.node = &Filter{In: b.input(in.node), Pred: pred}
		return in
	case *kql.ExtendOp:
		return b.extend(op.Columns, in)
	case *kql.ProjectOp:
		return b.project(op.Columns, in)
	case *kql.ProjectAwayOp:
		return b.projectAway(op.Columns, in, false)
	case *kql.ProjectKeepOp:
		return b.projectAway(op.Columns, in, true)
	case *kql.ProjectRenameOp:
		return b.projectRename(op.Columns, in)
	case *kql.ProjectReorderOp:
		return b.projectReorder(op.Columns, in)
	case *kql.ProjectByNamesOp:
		return b.projectByNames(op.Columns, in)
	case *kql.SummarizeOp:
		return b.summarize(op, in)
	case *kql.SortOp:
		in.node = &Sort{In: in.node, Keys: b.sortKeys(op.Keys), Partition: b.partition}
		in.ordered = true
		return in
	case *kql.TopOp:
		n := b.rowCount(op.Count)
		s := &Sort{In: in.node, Keys: b.sortKeys([]*kql.Ordered{op.By}), Partition: b.partition}
		in.node, in.ordered = &Limit{In: s, N: n, Partition: b.partition}, true
		return in
	case *kql.TakeOp:
		in.node = &Limit{In: in.node, N: b.rowCount(op.Count), Partition: b.partition}
		return in
	case *kql.SampleOp:
		in.node, in.ordered = &Limit{In: in.node, N: b.rowCount(op.Count), Partition: b.partition, Random: true}, false
		return in
	case *kql.SampleDistinctOp:
		out := b.distinct([]kql.Expr{op.Of}, in)
		out.node = &Limit{In: out.node, N: b.rowCount(op.Count), Partition: b.partition}
		return out
	case *kql.DistinctOp:
		return b.distinct(op.Columns, in)
	case *kql.CountOp:
		name := "Count"
		if op.As != nil {
			name = op.As.Text
		}
		c := b.newCol(name, Long)
		agg := &Agg{Func: aggregateFuncs["count"], T: Long}
		return rel{node: &Aggregate{In: in.node, Aggs: []Item{{c, agg}}, Partition: b.partition}, cols: []Column{c}}
	case *kql.TopHittersOp:
		return b.topHitters(op, in)
	case *kql.TopNestedOp:
		return b.topNested(op, in)
	case *kql.JoinOp:
		return b.join(op, in)
	case *kql.LookupOp:
		return b.lookup(op, in)
	case *kql.UnionOp:
		return b.union(op, &in)
	case *kql.MvExpandOp:
		return b.mvExpand(op, in)
	case *kql.MvApplyOp:
		return b.mvApply(op, in)
	case *kql.ParseOp:
		return b.parse(op, in)
	case *kql.ParseKvOp:
		return b.parseKv(op, in)
	case *kql.MakeSeriesOp:
		return b.makeSeries(op, in)
	case *kql.SearchOp:
		return b.search(op, &in)
	case *kql.InvokeOp:
		return b.invoke(op, in)
	case *kql.PartitionOp:
		return b.partitionOp(op, in)
	case *kql.SerializeOp:
		in.node, in.ordered = &Serialize{In: in.node}, true
		b.row = &in
		return b.extend(op.Columns, in)
	case *kql.ScanOp:
		return b.scanOp(op, in)
	case *kql.GetSchemaOp:
		if b.partition != nil {
			b.unsupported(keywordAt(op), "getschema inside partition or mv-apply")
		}
		return b.getSchema(in)
	case *kql.AsOp:
		v := b.named(op.Name.Text, in)
		v.at = op.Name.Span
		r := in
		if b.partition == nil {
			r = b.reference(v)
		} // else the rows keep the columns that divide them
		r.name = op.Name.Text
		v.rel.name, v.part = op.Name.Text, b.partition
		b.scope.declare(op.Name.Text, v)
		return r
	case *kql.EvaluateOp:
		return b.evaluate(op, in)
	case *kql.RenderOp:
		return b.render(op, in)
	case *kql.ConsumeOp:
		in.node, in.ordered = &Limit{In: in.node, N: &Const{T: Long}}, false
		return in
	case *kql.FindOp, *kql.PrintOp, *kql.RangeOp:
		b.errorf(op.Range(), CodeContext, "%s has to be the first operator of a query", op.Word())
	case *kql.ReduceOp, *kql.ForkOp, *kql.FacetOp, *kql.PartitionByOp:
		b.unsupported(keywordAt(op), "the operator "+op.Word())
	case *kql.UnsupportedOp:
		b.unsupported(op.At, "the operator "+op.Word())
	case *kql.BadOp:
	default:
		internalf("no binding for %T", op)
	}
	return rel{node: in.node, cols: in.cols, open: func(name string) Column { return b.newCol(name, Unknown) }}
}

// keywordAt is the place of an operator's keyword.
func keywordAt(op kql.Operator) kql.Span {
	s := op.Range()
	return kql.Span{Start: s.Start, End: min(s.End, s.Start+len(op.Word()))}
}

// predicate binds a condition.
func (b *binder) predicate(e kql.Expr) Expr {
	if n, ok := e.(*kql.Named); ok {
		b.errorf(n.Span, CodeContext, "a name cannot be given here").Hint = "write == to compare"
		b.expr(n.X)
		return &Const{T: Bool, Null: true}
	}
	x := b.expr(e)
	if t := x.Type(); t != Bool && t != Unknown {
		b.errorf(e.Range(), CodeType, "a condition has to be bool, not %s", t)
	}
	return x
}

// rowCount binds the number of rows of take and its like.
func (b *binder) rowCount(e kql.Expr) Expr {
	row := b.row
	b.row = nil
	x := b.expr(e)
	b.row = row
	if t := x.Type(); t != Unknown && !t.Integer() && t != Dynamic {
		b.errorf(e.Range(), CodeType, "a number of rows has to be a whole number, not %s", t)
	} else if !isConstant(x) {
		b.errorf(e.Range(), CodeConstant, "a number of rows has to be a constant")
	}
	return x
}

func (b *binder) sortKeys(list []*kql.Ordered) []SortKey {
	keys := make([]SortKey, 0, len(list))
	for _, o := range list {
		x := b.expr(argValue(o.X))
		desc := o.Order != kql.OrderAsc && o.Order != kql.OrderGrannyAsc
		last := desc
		switch o.Nulls {
		case kql.NullsFirst:
			last = false
		case kql.NullsLast:
			last = true
		}
		keys = append(keys, SortKey{X: x, Desc: desc, NullsLast: last})
	}
	return keys
}

// style is how a list of columns treats names that are there already.
type style uint8

const (
	styleProject style = iota
	styleExtend
	stylePrint
	styleReplace // mv-expand: also columns named by themselves replace
)

// outputs binds an expression of a column list: its values and their names.
func (b *binder) outputs(e kql.Expr) []output {
	switch u := kql.Unparen(e).(type) {
	case *kql.Call:
		if !b.deeper(u.Span) {
			return []output{{x: null()}}
		}
		defer func() { b.depth-- }()
		return b.callMulti(u)
	}
	return []output{{x: b.expr(e)}}
}

// isColumn says whether an expression is a column and nothing else, by the
// official binder's rules: a conversion to the type it has already counts.
func isColumn(e kql.Expr, x Expr) (*Ref, bool) {
	r, ok := x.(*Ref)
	if !ok {
		if c, isCall := x.(*Call); isCall && len(c.Args) == 1 {
			if inner, isRef := c.Args[0].(*Ref); isRef && inner.T == c.T && conversions[c.Func.Base] {
				if call, ok := kql.Unparen(e).(*kql.Call); ok && len(call.Args) == 1 {
					if _, direct := kql.Unparen(call.Args[0]).(*kql.Ref); direct {
						return inner, true
					}
				}
			}
		}
		return nil, false
	}
	switch u := kql.Unparen(e).(type) {
	case *kql.Ref:
		return r, u.Text == r.Name
	case *kql.Path:
		return r, true
	}
	return nil, false
}

var conversions = stringSet("tobool", "todatetime", "todecimal", "toreal", "todynamic", "toguid", "toint", "tolong", "tostring", "totimespan")

// columnList binds the columns of project, extend, print and their like into p,
// and returns the items that have to be computed.
func (b *binder) columnList(list []kql.Expr, p *projection, st style) []Item {
	items := make([]Item, 0, len(list))
	column := func(x Expr, name string) Column {
		if r, ok := x.(*Ref); ok {
			return Column{ID: r.ID, Name: name, Type: r.T}
		}
		c := b.newCol(name, x.Type())
		items = append(items, Item{Col: c, X: x})
		return c
	}
	replace := st == styleExtend || st == styleReplace
	for i, e := range list {
		n, named := e.(*kql.Named)
		switch {
		case named && len(n.Names) > 0:
			outs := b.outputs(n.X)
			if len(n.Names) > len(outs) {
				b.errorf(n.Names[len(outs)].Span, CodeArguments, "the expression has %s, not %d", count(len(outs), "value"), len(n.Names))
			}
			for k, o := range outs {
				if k < len(n.Names) {
					c := column(o.x, n.Names[k].Text)
					r, isRef := o.x.(*Ref)
					if isRef {
						p.renamed(c.Name, r.Name)
					}
					p.declare(b, n.Names[k].Span, c, replace || isRef && n.Tuple)
				} else if st != stylePrint {
					p.add(column(o.x, o.name), false)
				}
			}
		default:
			if _, star := e.(*kql.Star); star && b.row != nil {
				for _, c := range b.row.cols {
					p.add(c, true)
					p.skip = append(p.skip, c)
				}
				continue
			}
			outs := b.outputs(e)
			if r, ok := isColumn(e, outs[0].x); ok && len(outs) == 1 && st != stylePrint {
				c := Column{ID: r.ID, Name: r.Name, Type: r.T}
				if !p.skips(c) {
					p.declare(b, e.Range(), c, st == styleReplace)
				}
				continue
			}
			if len(outs) > 1 {
				for _, o := range outs {
					p.add(column(o.x, o.name), false)
				}
				continue
			}
			name, ok := "", false
			switch {
			case st == stylePrint:
				name, ok = "print_"+strconv.Itoa(i), true
			case outs[0].name != "":
				name, ok = outs[0].name, true
			default:
				name, ok = b.resultName(e)
			}
			if !ok {
				name = b.defaultName(st == styleExtend)
			}
			if name == "" {
				continue
			}
			p.add(column(outs[0].x, name), replace)
		}
	}
	return items
}

// defaultName returns the next ColumnN that does not name something else.
func (b *binder) defaultName(inRow bool) string {
	for {
		b.unnamed++
		name := "Column" + strconv.Itoa(b.unnamed)
		taken := b.scope.lookup(name) != nil
		if inRow && b.row != nil {
			taken = taken || (&projection{cols: b.row.cols}).find(name) >= 0
		}
		if !taken {
			return name
		}
	}
}

func extendNode(in Node, items []Item) Node {
	if len(items) == 0 {
		return in
	}
	return &Extend{In: in, Items: items}
}

func (b *binder) extend(list []kql.Expr, in rel) rel {
	p := projection{cols: append(make([]Column, 0, len(in.cols)+len(list)), in.cols...)}
	p.skip = in.cols[:len(in.cols):len(in.cols)]
	items := b.columnList(list, &p, styleExtend)
	// What an open table was found to have while binding stays visible.
	if b.row != nil && in.open != nil {
		for _, c := range b.row.cols[len(in.cols):] {
			p.add(c, true)
		}
	}
	in.cols = p.cols
	in.node = extendNode(b.input(in.node), items)
	return in
}

func (b *binder) project(list []kql.Expr, in rel) rel {
	var p projection
	p.cols = make([]Column, 0, len(list))
	items := b.columnList(list, &p, styleProject)
	return rel{node: extendNode(b.input(in.node), items), cols: p.cols, ordered: in.ordered, name: in.name}
}

func (b *binder) print(op *kql.PrintOp) rel {
	row := b.row
	b.row = &rel{}
	var p projection
	items := b.columnList(op.Columns, &p, stylePrint)
	b.row = row
	return rel{node: extendNode(&Unit{}, items), cols: p.cols, ordered: true}
}

func (b *binder) rangeOp(op *kql.RangeOp) rel {
	row := b.row
	b.row = nil
	from, to, step := b.expr(op.From), b.expr(op.To), b.expr(op.Step)
	b.row = row
	t := from.Type()
	switch {
	case t.Numeric() && to.Type().Numeric() && step.Type().Numeric():
		for _, o := range []Type{to.Type(), step.Type()} {
			if o != t {
				t = widest(t, o)
			}
		}
		from, to, step = b.convert(from, t), b.convert(to, t), b.convert(step, t)
	case t == Datetime && to.Type() == Datetime && step.Type() == Timespan:
	case t == Timespan && to.Type() == Timespan && step.Type() == Timespan:
	case t == Unknown || to.Type() == Unknown || step.Type() == Unknown:
	default:
		b.errorf(op.Span, CodeType, "range does not take %s, %s and %s", t, to.Type(), step.Type())
	}
	for i, x := range []Expr{from, to, step} {
		if !isConstant(x) {
			b.errorf([]kql.Expr{op.From, op.To, op.Step}[i].Range(), CodeConstant, "the bounds of a range have to be constants")
		}
	}
	if c, ok := step.(*Const); ok && !c.Null && (t.Numeric() || t == Timespan || t == Datetime) && c.Int == 0 && c.Real == 0 && (c.Text == "" || c.Text == "0") {
		b.errorf(op.Step.Range(), CodeArguments, "the step of a range must not be 0")
	}
	c := b.newCol(op.Name.Text, t)
	return rel{node: &Range{Col: c, From: from, To: to, Step: step}, cols: []Column{c}, ordered: true}
}

// matching returns the columns that a name, a pattern or * stands for.
func (b *binder) matching(e kql.Expr, in *rel) []Column {
	switch e := e.(type) {
	case *kql.Star:
		return in.cols
	case *kql.Wildcard:
		var cols []Column
		for _, c := range in.cols {
			if wildcard(e.Text, c.Name) {
				cols = append(cols, c)
			}
		}
		return cols
	case *kql.Ref:
		if c, ok := in.column(e.Text); ok {
			return []Column{c}
		}
		b.unknownName(e.Span, e.Text)
		return nil
	case *kql.Ordered:
		return b.matching(e.X, in)
	case *kql.Index:
		// ['name'] after a comma can be read as an index of nothing.
	}
	b.errorf(e.Range(), CodeArguments, "the name of a column was expected")
	return nil
}

// wildcard matches a name with a pattern in which * stands for any text.
func wildcard(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

func (b *binder) projectAway(list []kql.Expr, in rel, keep bool) rel {
	listed := map[ColID]bool{}
	names := map[string]bool{}
	for _, e := range list {
		for _, c := range b.matching(e, b.row) {
			listed[c.ID], names[c.Name] = true, true
		}
	}
	var cols []Column
	for _, c := range in.cols {
		if names[c.Name] == keep {
			cols = append(cols, c)
		}
	}
	if keep {
		for _, c := range b.row.cols[len(in.cols):] {
			if listed[c.ID] {
				cols = append(cols, c)
			}
		}
		in.open = nil
	}
	in.cols = cols
	return in
}

func (b *binder) projectRename(list []kql.Expr, in rel) rel {
	cols := append([]Column(nil), in.cols...)
	declared, renamed := map[string]bool{}, map[string]bool{}
	for _, e := range list {
		n, ok := e.(*kql.Named)
		if !ok || len(n.Names) != 1 {
			if _, isRef := e.(*kql.Ref); isRef {
				b.errorf(e.Range(), CodeArguments, "a new name is missing: write New = Old")
			} else {
				b.errorf(e.Range(), CodeArguments, "New = Old was expected")
			}
			continue
		}
		old, ok := kql.Unparen(n.X).(*kql.Ref)
		if !ok {
			b.errorf(n.X.Range(), CodeArguments, "the name of a column was expected")
			continue
		}
		c, ok := b.row.column(old.Text)
		if !ok {
			b.unknownName(old.Span, old.Text)
			continue
		}
		name := n.Names[0].Text
		if declared[name] {
			b.errorf(n.Names[0].Span, CodeDuplicate, "column %q is declared twice", name)
			continue
		}
		declared[name] = true
		found := false
		for i := range cols {
			if cols[i].ID == c.ID && cols[i].Name == old.Text {
				cols[i].Name, found = name, true
				break
			}
		}
		switch {
		case renamed[old.Text]:
			b.errorf(old.Span, CodeDuplicate, "column %q is renamed twice", old.Text)
		case !found: // an open table was found to have it just now
			c.Name = name
			cols = append(cols, c)
		}
		renamed[old.Text] = true
	}
	seen := map[string]bool{}
	for _, c := range cols {
		if seen[c.Name] && declared[c.Name] {
			for _, e := range list {
				if n, ok := e.(*kql.Named); ok && n.Names[0].Text == c.Name {
					b.errorf(n.Names[0].Span, CodeDuplicate, "there is a column %q already", c.Name)
				}
			}
		}
		seen[c.Name] = true
	}
	in.cols = cols
	return in
}

func (b *binder) projectReorder(list []*kql.Ordered, in rel) rel {
	var p projection
	for _, o := range list {
		cols := append([]Column(nil), b.matching(o.X, b.row)...)
		switch o.Order {
		case kql.OrderAsc:
			sort.SliceStable(cols, func(i, j int) bool { return cols[i].Name < cols[j].Name })
		case kql.OrderDesc:
			sort.SliceStable(cols, func(i, j int) bool { return cols[i].Name > cols[j].Name })
		case kql.OrderGrannyAsc:
			sort.SliceStable(cols, func(i, j int) bool { return grannyLess(cols[i].Name, cols[j].Name) })
		case kql.OrderGrannyDesc:
			sort.SliceStable(cols, func(i, j int) bool { return grannyLess(cols[j].Name, cols[i].Name) })
		}
		for _, c := range cols {
			p.add(c, true)
			p.skip = append(p.skip, c)
		}
	}
	for _, c := range b.row.cols {
		if p.find(c.Name) < 0 {
			p.cols = append(p.cols, c)
		}
	}
	in.cols = p.cols
	return in
}

// grannyLess orders names with the numbers in them by value: a2 before a10.
func grannyLess(a, b string) bool {
	for a != "" && b != "" {
		na, nb := leadingDigits(a), leadingDigits(b)
		if na > 0 && nb > 0 {
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(da) != len(db) {
				return len(da) < len(db)
			}
			if da != db {
				return da < db
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return a[0] < b[0]
		}
		a, b = a[1:], b[1:]
	}
	return len(a) < len(b)
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// projectByNames keeps the columns that arrays of names list; names that no
// column has are skipped.
func (b *binder) projectByNames(list []kql.Expr, in rel) rel {
	var p projection
	for _, e := range list {
		if s, ok := e.(*kql.Star); ok {
			for _, c := range b.matching(s, b.row) {
				p.add(c, true)
			}
			continue
		}
		c, ok := b.expr(e).(*Const)
		if !ok || c.T != Dynamic && c.T != String {
			b.errorf(e.Range(), CodeConstant, "a constant array of names was expected")
			continue
		}
		elems := []Expr{c}
		if c.T == Dynamic {
			if arr, ok := jsonElements(c.Text); ok {
				elems = arr
			} else if s, ok := jsonScalar(c.Text); ok {
				elems = []Expr{s}
			}
		}
		for _, x := range elems {
			k, ok := x.(*Const)
			if !ok || k.T != String {
				continue
			}
			for _, c := range in.cols {
				if wildcard(k.Text, c.Name) {
					p.add(c, true)
				}
			}
		}
	}
	return rel{node: in.node, cols: p.cols, ordered: in.ordered, name: in.name}
}

func (b *binder) distinct(list []kql.Expr, in rel) rel {
	var p projection
	items := b.columnList(list, &p, styleProject)
	computed := map[ColID]Expr{}
	for _, it := range items {
		computed[it.Col.ID] = b.beforehand(it.X)
	}
	agg := &Aggregate{In: b.input(in.node), Partition: b.partition}
	for i, c := range p.cols {
		x, ok := computed[c.ID]
		if !ok {
			x = &Ref{ID: c.ID, T: c.Type, Name: c.Name}
		}
		out := b.newCol(c.Name, c.Type)
		agg.Keys = append(agg.Keys, Item{Col: out, X: x})
		p.cols[i] = out
	}
	return rel{node: agg, cols: p.cols, name: in.name}
}

func (b *binder) summarize(op *kql.SummarizeOp, in rel) rel {
	agg := &Aggregate{In: in.node, Partition: b.partition}
	var p projection
	by := op.By
	if op.BinStep != nil {
		// The old form: by T, bin = 1h bins the datetime column.
		b.unsupported(op.BinStep.Range(), "summarize by ..., bin=")
	}
	keyItems := b.columnList(by, &p, styleProject)
	computed := map[ColID]Expr{}
	for _, it := range keyItems {
		computed[it.Col.ID] = b.beforehand(it.X)
	}
	for i, c := range p.cols {
		x, ok := computed[c.ID]
		if !ok {
			// A key that is a column stays that column.
			name := c.Name
			if s, ok := p.source[name]; ok {
				name = s
			}
			agg.Keys = append(agg.Keys, Item{Col: c, X: &Ref{ID: c.ID, T: c.Type, Name: name}})
			continue
		}
		agg.Keys = append(agg.Keys, Item{Col: p.cols[i], X: x})
	}
	p.declared = append(p.declared[:0:0], p.declared...)
	aggs := &aggregates{in: &in, keys: agg.Keys}
	b.aggs = aggs
	var post []Item
	for _, e := range op.Aggs {
		n, named := e.(*kql.Named)
		x := e
		if named {
			x = n.X
		}
		outs := b.outputs(x)
		for k, o := range outs {
			if !b.aggregated(o.x, aggs, agg.Keys) {
				b.errorf(x.Range(), CodeContext, "summarize needs an aggregate here, such as take_any() or max()")
				o.x = null()
			}
			col := func(name string) Column {
				if r, ok := o.x.(*Ref); ok && aggs.owns(r.ID) {
					return Column{ID: r.ID, Name: name, Type: r.T}
				}
				c := b.newCol(name, o.x.Type())
				post = append(post, Item{Col: c, X: o.x})
				return c
			}
			switch {
			case named && k < len(n.Names):
				p.declare(b, n.Names[k].Span, col(n.Names[k].Text), false)
			case o.name != "":
				p.add(col(o.name), false)
			default:
				name, ok := b.resultName(x)
				if !ok {
					name = b.defaultName(false)
				}
				if name != "" {
					p.add(col(name), false)
				}
			}
		}
		if named && len(n.Names) > len(outs) {
			b.errorf(n.Names[len(outs)].Span, CodeArguments, "the expression has %s, not %d", count(len(outs), "value"), len(n.Names))
		}
	}
	b.aggs = nil
	agg.Aggs = aggs.items
	for _, it := range agg.Aggs {
		if a, ok := it.X.(*Agg); ok {
			for i, x := range a.Args {
				a.Args[i] = b.beforehand(x)
			}
		}
	}
	agg.In = b.input(agg.In)
	out := rel{node: extendNode(agg, post), cols: p.cols}
	if star := aggs.star; star != nil {
		group := aggs.groups
		out.open = func(name string) Column {
			// A group of its own: its values need not be known to the others.
			group++
			a := star(in.open(name))
			a.Group = group
			c := b.newCol(name, Unknown)
			agg.Aggs = append(agg.Aggs, Item{Col: c, X: a})
			return c
		}
	}
	return out
}

func (a *aggregates) owns(id ColID) bool {
	for i := range a.items {
		if a.items[i].Col.ID == id {
			return true
		}
	}
	return false
}

// aggregated says whether an expression has a value for a group: all columns in
// it are aggregates or keys.
func (b *binder) aggregated(x Expr, aggs *aggregates, keys []Item) bool {
	ok := true
	WalkExpr(x, func(x Expr) bool {
		if r, isRef := x.(*Ref); isRef && !aggs.owns(r.ID) {
			isKey := false
			for i := range keys {
				isKey = isKey || keys[i].Col.ID == r.ID
			}
			ok = ok && isKey
		}
		return ok
	})
	return ok
}

func (b *binder) topHitters(op *kql.TopHittersOp, in rel) rel {
	n := b.rowCount(op.Count)
	var p projection
	items := b.columnList([]kql.Expr{op.Of}, &p, styleProject)
	if len(p.cols) == 0 {
		return in
	}
	of := p.cols[0]
	name, _ := b.resultName(op.Of)
	node := &Aggregate{In: extendNode(in.node, items), Keys: []Item{{of, refTo(of)}}, Partition: b.partition}
	var c Column
	if op.By != nil {
		x := b.expr(op.By)
		byName, _ := b.resultName(op.By)
		t := x.Type()
		if t == Int {
			t = Long
		}
		c = b.newCol("approximate_sum_"+byName, t)
		node.Aggs = []Item{{c, &Agg{Func: aggregateFuncs["sum"], Args: []Expr{x}, T: t}}}
	} else {
		c = b.newCol("approximate_count_"+name, Long)
		node.Aggs = []Item{{c, &Agg{Func: aggregateFuncs["count"], T: Long}}}
	}
	s := &Sort{In: node, Keys: []SortKey{{X: refTo(c), Desc: true, NullsLast: true}}, Partition: b.partition}
	return rel{node: &Limit{In: s, N: n, Partition: b.partition}, cols: uniqueNames([]Column{of, c}), ordered: true}
}

// invoke calls a function with the rows as its first argument.
func (b *binder) invoke(op *kql.InvokeOp, in rel) rel {
	unknown := rel{node: in.node, cols: in.cols, open: func(name string) Column { return b.newCol(name, Unknown) }}
	call, ok := op.Call.(*kql.Call)
	if !ok {
		b.unsupported(op.Call.Range(), "functions of another database")
		return unknown
	}
	v := b.scope.lookup(call.Func.Text)
	if v == nil || v.fn == nil {
		b.unknownFunction(call.Func)
		return unknown
	}
	return b.callTabular(call, v.fn, &in)
}

func (b *binder) getSchema(in rel) rel {
	v := &Values{Cols: []Column{b.newCol("ColumnName", String), b.newCol("ColumnOrdinal", Long), b.newCol("DataType", String), b.newCol("ColumnType", String)}}
	for i, c := range in.cols {
		v.Rows = append(v.Rows, []Expr{
			&Const{T: String, Text: c.Name}, &Const{T: Long, Int: int64(i)},
			&Const{T: String, Text: c.Type.SystemName()}, &Const{T: String, Text: c.Type.String()},
		})
	}
	return rel{node: v, cols: v.Cols, ordered: true}
}

func (b *binder) render(op *kql.RenderOp, in rel) rel {
	r := &Render{Kind: op.Chart.Text}
	for _, p := range op.Props {
		value := ""
		switch v := p.Value.(type) {
		case *kql.Literal:
			value = v.Text
			if v.Kind != kql.StringLit {
				value = v.Raw
			}
		case *kql.Ref:
			value = v.Text
		case *kql.Names:
			parts := make([]string, len(v.List))
			for i, n := range v.List {
				parts[i] = n.Text
			}
			value = strings.Join(parts, ", ")
		}
		r.Properties = append(r.Properties, Property{p.Name.Text, value})
	}
	b.plan.Render = r
	return in
}

// param returns the value of an operator's parameter as text, "" if it is absent.
func param(params []*kql.Param, name string) string {
	for _, p := range params {
		if p.Name.Text == name {
			switch v := p.Value.(type) {
			case *kql.Ref:
				return v.Text
			case *kql.Literal:
				if v.Kind == kql.StringLit {
					return v.Text
				}
				return v.Raw
			}
		}
	}
	return ""
}
