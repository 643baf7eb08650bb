package chsql

import (
	"fmt"
	"strings"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// node writes a node and returns the open SELECT that produces its rows. need
// are the columns that are read of it.
func (g *gen) node(n plan.Node, need set) *block {
	switch n := n.(type) {
	case *plan.Unit:
		b := &block{}
		g.b = b
		return b
	case *plan.Scan:
		return g.scan(n, need)
	case *plan.RollupScan:
		return g.rollup(n, need)
	case *plan.Values:
		return g.values(n, need)
	case *plan.Range:
		return g.rangeNode(n, need)
	case *plan.Filter:
		return g.filter(n, need)
	case *plan.Extend:
		return g.extend(n, need)
	case *plan.Aggregate:
		return g.aggregate(n, need)
	case *plan.Sort:
		return g.sort(n, need)
	case *plan.Limit:
		return g.limit(n, need)
	case *plan.Serialize:
		return g.node(n.In, need)
	case *plan.Join:
		return g.join(n, need)
	case *plan.Union:
		return g.union(n, need)
	case *plan.MvExpand:
		return g.mvExpand(n, need)
	case *plan.Ordinal:
		return g.ordinal(n, need)
	case *plan.MakeSeries:
		return g.makeSeries(n, need)
	case *plan.Scanner:
		return g.scanner(n, need)
	case *plan.CTERef:
		return g.cteRef(n, need)
	}
	panic(fmt.Sprintf("chsql: no SQL for node %T", n))
}

// scan reads a stored table. Facts that another table keeps are joined in only
// when they are read.
func (g *gen) scan(n *plan.Scan, need set) *block {
	t := n.Table
	b := &block{from: ident(t.Source)}
	g.q.addTable(t.Source)
	g.b = b
	if t.Final {
		b.from += " FINAL"
	}
	var lookups []*plan.Lookup
	for i, c := range n.Cols {
		tc := &t.Columns[n.Index[i]]
		k := kindOf(tc.Type)
		v := val{sql: ident(tc.Name), k: k, null: tc.Nullable, atom: true, low: tc.LowCardinality}
		if k == kJSON {
			v.k = kText
		}
		if variableName(tc.Name) {
			v.atom = false
			g.cols[c.ID] = g.aliased(c.Name, v)
		} else {
			g.cols[c.ID] = binding{v: v}
		}
		b.out = append(b.out, c.ID)
		if t.TimeKey != "" && tc.Name == t.Time {
			if g.timeKeys == nil {
				g.timeKeys = map[plan.ColID]timeKey{}
			}
			k := timeKey{fn: t.TimeKey, column: ident(tc.Name)}
			if t.Base == nil {
				k.table = ident(t.Source)
			}
			g.timeKeys[c.ID] = k
		}
		if tc.Lookup != nil && need.has(c.ID) {
			known := false
			for _, l := range lookups {
				known = known || l.Source == tc.Lookup.Source
			}
			if !known {
				lookups = append(lookups, tc.Lookup)
			}
		}
	}
	if n.Arrival != nil {
		g.cols[n.Arrival.ID] = binding{v: val{sql: "CAST(" + ident(n.Arrival.Name) + ", 'DateTime64(7, \\'UTC\\')')", k: kDatetime}}
		b.out = append(b.out, n.Arrival.ID)
	}
	for _, c := range n.Extra {
		g.cols[c.ID] = binding{v: val{sql: ident(c.Name), k: kJSON, null: true, atom: true}}
		b.out = append(b.out, c.ID)
	}
	for _, l := range lookups {
		// One row a key joins, though the table may hold a key several times until it
		// is merged. A missing one leaves the columns empty.
		var names []string
		merged := false
		for i, c := range n.Cols {
			tc := &t.Columns[n.Index[i]]
			if tc.Lookup != nil && tc.Lookup.Source == l.Source && need.has(c.ID) {
				name := g.name(tc.Name)
				fact := ident(tc.Name)
				if tc.Lookup.Merge != "" {
					// A plain type, for the stored one may be that of a partial aggregate.
					fact = "CAST(" + tc.Lookup.Merge + "(" + fact + "), '" + nullable(kindOf(tc.Type).chType(), tc.Nullable) + "')"
					merged = true
				}
				names = append(names, fact+" AS "+ident(name))
				v := g.cols[c.ID].v
				v.sql = ident(name)
				g.cols[c.ID].v = v
			}
		}
		// Names of their own: ON would take equal ones for the left side's, twice.
		var keys, on, group []string
		for _, k := range l.Keys {
			key := g.name("Facts" + k)
			keys = append(keys, ident(k)+" AS "+ident(key))
			group = append(group, ident(k))
			on = append(on, ident(k)+" = "+ident(key))
		}
		facts := "SELECT " + strings.Join(append(keys, names...), ", ") + " FROM " + ident(l.Source)
		if merged {
			facts += " GROUP BY " + strings.Join(group, ", ")
		}
		b.from += " LEFT ANY JOIN (" + facts + ") AS " + ident(g.name("facts")) + " ON " + strings.Join(on, " AND ")
		g.q.addTable(l.Source)
	}
	return b
}

func (q *Query) addTable(name string) {
	for _, t := range q.Tables {
		if t == name {
			return
		}
	}
	q.Tables = append(q.Tables, name)
}

// values makes a constant table: one array literal of tuples.
func (g *gen) values(n *plan.Values, need set) *block {
	b := &block{}
	g.b = b
	if len(n.Rows) == 0 {
		for _, c := range n.Cols {
			k := kindOf(c.Type)
			v := nullOf(k)
			v.null = k != kString
			g.cols[c.ID] = binding{v: v}
			b.out = append(b.out, c.ID)
		}
		b.where = []string{"0"}
		return b
	}
	row := ident(g.name("row"))
	types := make([]string, 0, len(n.Cols)+1)
	var used []int
	for i, c := range n.Cols {
		if !need.has(c.ID) {
			continue
		}
		used = append(used, i)
	}
	cells := make([][]string, len(n.Rows))
	for r := range cells {
		cells[r] = make([]string, 0, len(used)+1)
		cells[r] = append(cells[r], itoa(int64(r)))
	}
	types = append(types, "UInt32")
	b.order = []orderKey{{v: val{sql: row + ".1", k: kLong, atom: true}}}
	b.natural = true
	for pos, i := range used {
		c := n.Cols[i]
		k := kindOf(c.Type)
		v := val{k: k, sql: row + "." + itoa(int64(pos+2)), atom: true}
		store := k.chType()
		if k == kDatetime {
			store = "Int64"
		}
		for r := range n.Rows {
			x := n.Rows[r][i]
			if lit, ok := cell(x, k); ok {
				v.null = v.null || lit == "NULL"
				cells[r] = append(cells[r], lit)
				continue
			}
			e := g.canonical(g.expr(x), c.Type)
			v.null = v.null || e.null
			if k == kDatetime {
				e.sql = "reinterpretAsInt64(" + e.sql + ")"
			}
			cells[r] = append(cells[r], e.sql)
		}
		types = append(types, nullable(store, v.null))
		if k == kDatetime {
			v.sql = fromTicks(v.sql)
			v.atom = false
			g.cols[c.ID] = g.aliased(c.Name, v)
		} else {
			g.cols[c.ID] = binding{v: v}
		}
		b.out = append(b.out, c.ID)
	}
	var sb strings.Builder
	sb.WriteString("(SELECT arrayJoin(CAST([")
	for r := range cells {
		if r > 0 {
			sb.WriteString(", ")
		}
		sb.WriteByte('(')
		sb.WriteString(strings.Join(cells[r], ", "))
		if len(cells[r]) == 1 {
			sb.WriteByte(',')
		}
		sb.WriteByte(')')
	}
	sb.WriteString("], 'Array(Tuple(")
	sb.WriteString(strings.Join(types, ", "))
	sb.WriteString("))')) AS ")
	sb.WriteString(row)
	sb.WriteByte(')')
	b.from = sb.String()
	return b
}

// cell returns a constant as a bare literal that a CAST makes a value of kind k.
// ok is false for what is no constant.
func cell(x plan.Expr, k kind) (string, bool) {
	c, ok := x.(*plan.Const)
	if !ok {
		return "", false
	}
	if c.Null {
		if k == kString {
			return "''", true
		}
		return "NULL", true
	}
	switch c.T {
	case plan.Bool:
		if c.Int != 0 {
			return "true", true
		}
		return "false", true
	case plan.Int, plan.Long, plan.Timespan:
		return itoa(c.Int), true
	case plan.Real:
		return bareFloat(c.Real), true
	case plan.Datetime:
		return itoa(c.Int - plan.UnixEpochTicks), true
	case plan.String, plan.Dynamic, plan.GUID, plan.Decimal:
		return quote(c.Text), true
	}
	return "", false
}

// fromTicks makes a datetime of ticks since 1970.
func fromTicks(sql string) string {
	return `reinterpret(` + sql + `, 'DateTime64(7, \'UTC\')')`
}

// rangeNode counts from a start by a step.
func (g *gen) rangeNode(n *plan.Range, need set) *block {
	b := &block{}
	g.b = b
	from, to, step := g.expr(n.From), g.expr(n.To), g.expr(n.Step)
	num := ident("number")
	k := kindOf(n.Col.Type)
	v := val{k: k}
	// Bounds are constants, which the engine folds; a NULL among them makes no rows.
	switch k {
	case kReal:
		f, t, s := g.num(from, kReal), g.num(to, kReal), g.num(step, kReal)
		b.from = "numbers(" + rangeCount("toInt64(floor(("+t.s()+" - "+f.s()+") / "+s.s()+" + 1e-9)) + 1") + ")"
		v.sql = f.s() + " + " + num + " * " + s.s()
		v.op = true
	case kDecimal:
		f, t, s := g.num(from, kDecimal), g.num(to, kDecimal), g.num(step, kDecimal)
		b.from = "numbers(" + rangeCount("toInt64(floor(toFloat64("+t.s()+" - "+f.s()+") / toFloat64("+s.s()+"))) + 1") + ")"
		v.sql = "CAST(" + f.s() + " + " + s.s() + " * " + num + ", '" + decimalType + "')"
	default:
		f, t, s := g.ticks(from), g.ticks(to), g.ticks(step)
		b.from = "numbers(" + rangeCount("intDiv("+t+" - "+f+", "+s+") + 1") + ")"
		sum := "toInt64(" + f + " + toInt64(" + num + ") * " + s + ")"
		switch k {
		case kDatetime:
			v.sql = fromTicks(sum)
		case kInt:
			v.sql = "toInt32(" + f + " + toInt64(" + num + ") * " + s + ")"
		default:
			v.sql = sum
		}
		// intDiv rounds to zero: a range that ends before it begins has no rows.
		if _, ok := n.From.(*plan.Const); !ok || !ordered(n) {
			b.from = "numbers(" + rangeCount("if(("+t+" - "+f+") * sign("+s+") < 0, 0, intDiv("+t+" - "+f+", "+s+") + 1)") + ")"
		}
	}
	if isZero(step) {
		b.from = "numbers(0)"
	}
	b.counted = b.from
	g.cols[n.Col.ID] = g.aliased(n.Col.Name, v)
	b.out = []plan.ColID{n.Col.ID}
	b.order, b.natural = []orderKey{{v: val{sql: num, k: kLong, atom: true}}}, true
	return b
}

// ordered says that a range of constants ends after it begins.
func ordered(n *plan.Range) bool {
	f, ok1 := n.From.(*plan.Const)
	t, ok2 := n.To.(*plan.Const)
	s, ok3 := n.Step.(*plan.Const)
	return ok1 && ok2 && ok3 && !f.Null && !t.Null && !s.Null && (s.Int > 0 && t.Int >= f.Int || s.Int < 0 && t.Int <= f.Int)
}

func isZero(v val) bool { return v.c != nil && !v.c.Null && v.c.Int == 0 && v.c.Real == 0 }

// rangeCount is a number of rows, none for a range that has none. A range that
// never ends does so at the query's limits.
func rangeCount(sql string) string {
	return "toUInt64(greatest(assumeNotNull(ifNull(" + sql + ", 0)), 0))"
}

// ordinary wraps a block unless its rows can still be filtered.
func (g *gen) unlimited(b *block, need set) *block {
	if b.grouped || b.windowed || b.limitN != "" || b.limitBy != "" || b.random {
		return g.wrap(b, need)
	}
	return b
}

func (g *gen) filter(n *plan.Filter, need set) *block {
	inner := need.clone()
	inner.addExpr(n.Pred)
	b := g.unlimited(g.node(n.In, inner), inner)
	g.b = b
	// Each part of a conjunction on its own: readable, and pushed down alike.
	var add func(x plan.Expr)
	add = func(x plan.Expr) {
		if and, ok := x.(*plan.Binary); ok && isAnd(and) {
			add(and.X)
			add(and.Y)
			return
		}
		b.where = append(b.where, g.predicate(x))
		b.where = append(b.where, g.keyBounds(x)...)
	}
	add(n.Pred)
	return b
}

// timeKey is a function that a table's primary key applies to its time column.
// table is "" for a view.
type timeKey struct {
	fn, column, table string
	// hint says that a condition is for the key alone: it holds for each row, and
	// need not be computed. It is not seen through a subquery.
	hint bool
}

// keyBounds returns what follows from a condition on a time column for the
// function of it that the primary key begins with: ClickHouse does not see it by
// itself, and would read all of a month for an hour.
func (g *gen) keyBounds(x plan.Expr) []string {
	bound := func(col, to plan.Expr, op string) []string {
		ref, ok := col.(*plan.Ref)
		if !ok {
			return nil
		}
		key, ok := g.timeKeys[ref.ID]
		if !ok || g.cols[ref.ID].v.sql != key.column || to.Type() != plan.Datetime || plan.ReadsColumns(to) {
			return nil
		}
		if v := g.expr(to); !v.null {
			key.hint = key.table != "" && strings.HasPrefix(g.b.from, key.table)
			return []string{key.bound(op, v)}
		}
		return nil
	}
	switch x := x.(type) {
	case *plan.Binary:
		switch x.Op {
		case kql.OpGt, kql.OpGe:
			return append(bound(x.X, x.Y, ">="), bound(x.Y, x.X, "<=")...)
		case kql.OpLt, kql.OpLe:
			return append(bound(x.X, x.Y, "<="), bound(x.Y, x.X, ">=")...)
		case kql.OpEq:
			return append(bound(x.X, x.Y, ">="), bound(x.X, x.Y, "<=")...)
		}
	case *plan.Between:
		if !x.Not {
			return append(bound(x.X, x.Lo, ">="), bound(x.X, x.Hi, "<=")...)
		}
	}
	return nil
}

// bound is a bound of a time, in the key's own terms. The function does not know
// the whole range of a datetime, so that it is kept within what a key can hold.
func (k timeKey) bound(op string, to val) string {
	sql := "least(greatest(" + to.sql + ", " + datetime(plan.UnixEpochTicks) + "), " + datetime(lastKey) + ")"
	if c := to.c; c != nil && c.T == plan.Datetime && !c.Null {
		sql = datetime(min(max(c.Int, plan.UnixEpochTicks), lastKey))
	}
	sql = k.fn + "(" + k.column + ") " + op + " " + k.fn + "(" + sql + ")"
	if k.hint {
		return "indexHint(" + sql + ")"
	}
	return sql
}

// lastKey is 2106-01-01, before a DateTime ends.
const lastKey = plan.UnixEpochTicks + 49_673*plan.TicksPerDay

func (g *gen) extend(n *plan.Extend, need set) *block {
	inner := need.clone()
	var items []plan.Item
	windowed, arrays, series := false, false, false
	for _, it := range n.Items {
		if need.has(it.Col.ID) {
			items = append(items, it)
			inner.addExpr(it.X)
			inner.addWindows(it.X)
			windowed = windowed || hasWindow(it.X)
			onArrays, onSeries := readsArrays(it.X)
			arrays, series = arrays || onArrays, series || onSeries
		}
	}
	b := g.node(n.In, inner)
	if b.grouped && arrays || series && len(b.items) > 0 {
		// An aggregate cannot stand in a lambda, and an alias is put in place of
		// its name wherever that stands: a long computation would grow with each
		// step.
		b = g.wrap(b, inner)
	}
	if windowed && (b.grouped || b.limitN != "" || b.limitBy != "" || b.windowed || b.random) {
		b = g.wrap(b, inner)
	}
	if b.windowed && !windowed {
		// Aliases of window functions can be read in the same SELECT.
		windowed = false
	}
	g.b = b
	for _, it := range items {
		g.define(it.Col, g.expr(it.X))
	}
	b.windowed = b.windowed || windowed
	return b
}

// addWindows adds the columns that divide the rows for window functions.
func (s set) addWindows(x plan.Expr) {
	plan.WalkExpr(x, func(x plan.Expr) bool {
		if c, ok := x.(*plan.Call); ok && c.Partition != nil {
			for _, id := range c.Partition.Keys {
				s.add(id)
			}
		}
		return true
	})
}

// readsArrays says whether an expression calls a function of dynamic values, and
// whether it calls one of series.
func readsArrays(x plan.Expr) (arrays, series bool) {
	plan.WalkExpr(x, func(x plan.Expr) bool {
		if c, ok := x.(*plan.Call); ok {
			series = series || c.Func.Group == "series"
			for _, a := range c.Args {
				arrays = arrays || a.Type() == plan.Dynamic
			}
		}
		if in, ok := x.(*plan.In); ok {
			arrays = arrays || in.X.Type() == plan.Dynamic
		}
		return !series
	})
	return arrays || series, series
}

func hasWindow(x plan.Expr) bool {
	found := false
	plan.WalkExpr(x, func(x plan.Expr) bool {
		if c, ok := x.(*plan.Call); ok && c.Func.Window() {
			found = true
		}
		return !found
	})
	return found
}

func (g *gen) sort(n *plan.Sort, need set) *block {
	inner := need.clone()
	for _, k := range n.Keys {
		inner.addExpr(k.X)
	}
	if n.Partition != nil {
		for _, id := range n.Partition.Keys {
			inner.add(id)
		}
	}
	first := g.first
	g.first = false
	b := g.node(n.In, inner)
	if b.limitN != "" || b.limitBy != "" || b.random {
		b = g.wrap(b, inner)
	}
	g.b = b
	b.order, b.natural = nil, false
	if n.Partition != nil {
		for _, id := range n.Partition.Keys {
			b.order = append(b.order, orderKey{v: g.use(id), item: g.cols[id].item, nullsLast: true})
		}
	}
	if first && !b.grouped && !b.windowed && n.Partition == nil {
		// By the function of the time that the table is sorted by: the newest rows
		// are found without looking at all.
		if r, ok := n.Keys[0].X.(*plan.Ref); ok {
			if key, ok := g.timeKeys[r.ID]; ok && g.cols[r.ID].v.sql == key.column && !g.fewKeys(n.In, r.ID) {
				b.order = append(b.order, orderKey{v: val{sql: key.fn + "(" + key.column + ")", k: kDatetime}, desc: n.Keys[0].Desc})
			}
		}
	}
	for _, k := range n.Keys {
		v := g.sortable(g.expr(k.X))
		if v.k == kBool && v.c != nil {
			v = val{sql: "materialize(" + v.sql + ")", k: kBool, null: v.null} // a plain true is a position
		}
		o := orderKey{v: v, desc: k.Desc, nullsLast: k.NullsLast}
		if !v.atom {
			bd := g.aliased("key", v)
			o.v, o.item = bd.v, bd.item
		} else if r, ok := k.X.(*plan.Ref); ok {
			o.item = g.cols[r.ID].item
		}
		b.order = append(b.order, o)
	}
	return b
}

// fewKeys says whether the rows are of so little time, two hours at most, that
// reading them in the order of the table's key, which has the hour, gains
// nothing.
func (g *gen) fewKeys(n plan.Node, time plan.ColID) bool {
	from, to := plan.Within(n, time)
	if to > plan.MaxDatetimeTicks {
		// What is to come is not stored yet.
		to = g.plan.Now
	}
	return from > 0 && to-from <= 2*plan.TicksPerHour && to >= from
}

func (g *gen) limit(n *plan.Limit, need set) *block {
	inner := need
	if n.Partition != nil {
		inner = need.clone()
		for _, id := range n.Partition.Keys {
			inner.add(id)
		}
	}
	if s, ok := n.In.(*plan.Sort); ok && n.Partition == nil && !n.Random && len(s.Keys) > 0 {
		g.first = true
	}
	b := g.node(n.In, inner)
	if b.limitN != "" || b.limitBy != "" || b.random {
		b = g.wrap(b, inner)
	}
	g.b = b
	count := g.count(n.N)
	if n.Random && n.Partition == nil {
		b.order, b.natural, b.random = nil, false, true
	}
	if n.Partition != nil {
		keys := make([]string, 0, len(n.Partition.Keys))
		for _, id := range n.Partition.Keys {
			keys = append(keys, g.use(id).s())
		}
		b.limitBy = count + " BY " + strings.Join(keys, ", ")
		return b
	}
	if b.natural && b.counted != "" && b.from == b.counted && len(b.where) == 0 && !b.grouped && !b.windowed {
		// The engine would sort the whole range to find its beginning.
		b.from = "numbers(least(" + count + ", " + strings.TrimPrefix(b.from, "numbers(") + ")"
	}
	b.limitN = count
	return b
}

// count writes a number of rows.
func (g *gen) count(x plan.Expr) string {
	v := g.expr(x)
	if n, ok := v.constInt(); ok {
		return itoa(max(n, 0))
	}
	return "toUInt64(greatest(ifNull(" + g.num(v, kLong).sql + ", 0), 0))"
}

func (g *gen) cteRef(n *plan.CTERef, need set) *block {
	if name, ok := g.cteName[n.CTE]; ok {
		b := &block{from: ident(name)}
		g.b = b
		for i, c := range n.Cols {
			if i >= len(n.CTE.Cols) {
				break
			}
			// Each use has names of its own: two may meet in a join.
			v := g.cols[n.CTE.Cols[i].ID].v
			g.cols[c.ID] = binding{v: v}
			if need.has(c.ID) && v.sql != "" {
				g.cols[c.ID] = g.aliased(c.Name, v)
			}
			b.out = append(b.out, c.ID)
		}
		return b
	}
	inner := g.newSet()
	for i, c := range n.Cols {
		if need.has(c.ID) && i < len(n.CTE.Cols) {
			inner.add(n.CTE.Cols[i].ID)
		}
	}
	b := g.node(n.CTE.Root, inner)
	g.b = b
	for i, c := range n.Cols {
		if i < len(n.CTE.Cols) {
			g.cols[c.ID] = g.cols[n.CTE.Cols[i].ID]
			b.out = append(b.out, c.ID)
		}
	}
	return b
}

// ctes writes the WITH clause for what the plan refers to more than once.
func (g *gen) ctes(p *plan.Plan, need set) string {
	several := false
	for _, c := range p.CTEs {
		several = several || c.Refs > 1
	}
	if !several {
		return ""
	}
	g.cteNeed, g.cteName = map[*plan.CTE]set{}, map[*plan.CTE]string{}
	g.needs(p.Root, need)
	for i := len(p.CTEs) - 1; i >= 0; i-- {
		c := p.CTEs[i]
		if n := g.cteNeed[c]; n != nil {
			g.needs(c.Root, n)
		}
	}
	var list []string
	for _, c := range p.CTEs {
		n := g.cteNeed[c]
		if c.Refs < 2 || n == nil {
			continue
		}
		b := g.node(c.Root, n)
		inner := g.wrap(b, n)
		// The columns now are the names that the subquery gives.
		name := g.name("cte_" + c.Name)
		list = append(list, ident(name)+" AS "+inner.from)
		g.cteName[c] = name
	}
	if len(list) == 0 {
		return ""
	}
	return "WITH " + strings.Join(list, ", ") + " "
}

// needs finds which columns of each CTE are read.
func (g *gen) needs(n plan.Node, need set) {
	exprs := func(s set, xs ...plan.Expr) {
		for _, x := range xs {
			if x == nil {
				continue
			}
			s.addExpr(x)
			g.queryNeeds(x)
		}
	}
	switch n := n.(type) {
	case *plan.CTERef:
		s := g.cteNeed[n.CTE]
		if s == nil {
			s = g.newSet()
			g.cteNeed[n.CTE] = s
		}
		for i, c := range n.Cols {
			if need.has(c.ID) && i < len(n.CTE.Cols) {
				s.add(n.CTE.Cols[i].ID)
			}
		}
	case *plan.Values:
		for _, r := range n.Rows {
			exprs(need, r...)
		}
	case *plan.Range:
		exprs(need, n.From, n.To, n.Step)
	case *plan.Filter:
		s := need.clone()
		exprs(s, n.Pred)
		g.needs(n.In, s)
	case *plan.Extend:
		s := need.clone()
		for _, it := range n.Items {
			if need.has(it.Col.ID) {
				exprs(s, it.X)
				s.addWindows(it.X)
			}
		}
		g.needs(n.In, s)
	case *plan.Aggregate:
		s := g.newSet()
		for _, it := range n.Keys {
			exprs(s, it.X)
		}
		for _, it := range n.Aggs {
			if need.has(it.Col.ID) {
				exprs(s, it.X)
			}
		}
		addPartition(s, n.Partition, need)
		g.needs(n.In, s)
	case *plan.Sort:
		s := need.clone()
		for _, k := range n.Keys {
			exprs(s, k.X)
		}
		addPartition(s, n.Partition, need)
		g.needs(n.In, s)
	case *plan.Limit:
		s := need.clone()
		exprs(s, n.N)
		addPartition(s, n.Partition, need)
		g.needs(n.In, s)
	case *plan.Serialize:
		g.needs(n.In, need)
	case *plan.Join:
		s := need.clone()
		for _, on := range n.On {
			exprs(s, on.L, on.R)
		}
		exprs(s, n.Where)
		g.needs(n.L, s)
		g.needs(n.R, s)
	case *plan.Union:
		for _, p := range n.Parts {
			s := g.newSet()
			for i, c := range n.Cols {
				if need.has(c.ID) && p.From[i] != 0 {
					s.add(p.From[i])
				}
			}
			g.needs(p.In, s)
		}
	case *plan.MvExpand:
		s := need.clone()
		for _, it := range n.Items {
			exprs(s, it.X)
		}
		g.needs(n.In, s)
	case *plan.Ordinal:
		g.needs(n.In, need)
	case *plan.MakeSeries:
		s := g.newSet()
		exprs(s, n.Axis.X, n.From, n.To, n.Step)
		for _, it := range n.Keys {
			exprs(s, it.X)
		}
		for _, it := range n.Inner {
			exprs(s, it.X)
		}
		g.needs(n.In, s)
	case *plan.Scanner:
		s := need.clone()
		exprs(s, n.Partition...)
		for _, st := range n.Steps {
			exprs(s, st.Cond)
			for _, a := range st.Assigns {
				exprs(s, a.X)
			}
		}
		g.needs(n.In, s)
	}
}

func addPartition(s set, p *plan.Partition, need set) {
	if p == nil {
		return
	}
	for _, id := range p.Keys {
		s.add(id)
	}
	for _, id := range p.Carry {
		if need.has(id) {
			s.add(id)
		}
	}
}

// queryNeeds does the same for the subqueries in an expression.
func (g *gen) queryNeeds(x plan.Expr) {
	plan.WalkExpr(x, func(x plan.Expr) bool {
		var q plan.Node
		var c plan.Column
		switch x := x.(type) {
		case *plan.ScalarQuery:
			q, c = x.Query, x.Col
		case *plan.ArrayQuery:
			q, c = x.Query, x.Col
		case *plan.InQuery:
			q, c = x.Query, x.Col
		default:
			return true
		}
		s := g.newSet()
		s.add(c.ID)
		g.needs(q, s)
		return true
	})
}
