package chsql

import (
	"strings"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// rollup reads cells of counts in the place of events. The cells are those that
// lie wholly within the bounds; events at the edges, less than two buckets of
// them, are read from the table and stand for themselves.
func (g *gen) rollup(n *plan.RollupScan, need set) *block {
	r := n.Rollup
	g.q.Rollup = r.Source
	g.q.addTable(r.Source)
	step := itoa(r.Step / plan.TicksPerSecond)
	bucket := "toStartOfInterval(" + ident(r.Time) + ", toIntervalSecond(" + step + "))"

	var inside, edges []string
	var whole []func(bucket string) string
	time := ident(r.Time)
	exact := true
	for _, b := range n.Bounds {
		exact = exact && b.Exact(r.Step)
		// A bound that can be null lets no row through, and neither does NULL.
		x := g.expr(b.X)
		op := map[kql.Op]string{kql.OpLt: " < ", kql.OpLe: " <= ", kql.OpGt: " > ", kql.OpGe: " >= "}[b.Op]
		inside = append(inside, time+op+x.s())
		lower := b.Op == kql.OpGt || b.Op == kql.OpGe
		edge := later(x, -r.Step)
		if lower {
			edge = later(x, r.Step)
		}
		down := ""
		if key := n.Table.TimeKey; key != "" && !x.null {
			k := timeKey{key, time}
			op, back := ">=", "<="
			if !lower {
				op, back = back, op
			}
			inside = append(inside, k.bound(op, x.sql))
			down = " AND " + k.bound(back, edge)
		}
		switch {
		case lower:
			whole = append(whole, func(bucket string) string { return bucket + op + x.s() })
			edges = append(edges, "("+time+" < "+edge+down+")")
		default:
			whole = append(whole, func(bucket string) string { return bucket + " <= " + edge })
			edges = append(edges, "("+time+" >= "+edge+down+")")
		}
	}
	within := func(bucket string) string {
		conds := make([]string, len(whole))
		for i, f := range whole {
			conds[i] = f(bucket)
		}
		return strings.Join(conds, " AND ")
	}

	b := &block{}
	cells := []string{}
	events := []string{}
	column := func(c plan.Column, v val, cell, event string) {
		name := ident(g.name(c.Name))
		cells = append(cells, cell+" AS "+name)
		events = append(events, event+" AS "+name)
		v.sql, v.atom = name, true
		g.cols[c.ID] = binding{v: v}
		b.out = append(b.out, c.ID)
	}
	at := func(c plan.Column) *plan.TableColumn { return &n.Table.Columns[n.Table.Column(c.Name)] }
	for _, c := range n.Dimensions {
		if need.has(c.ID) {
			tc := at(c)
			v := val{k: kindOf(c.Type), null: tc.Nullable, low: tc.LowCardinality}
			if v.k == kJSON {
				v.k = kText
			}
			column(c, v, ident(r.Dimensions[c.Name]), ident(c.Name))
		}
	}
	for _, c := range n.Sums {
		if need.has(c.ID) {
			column(c, val{k: kLong}, ident(r.Sums[c.Name]), ident(c.Name))
		}
	}
	if need.has(n.Time.ID) {
		ticks := func(sql string) string { return "CAST(" + sql + `, 'DateTime64(7, \'UTC\')')` }
		column(n.Time, val{k: kDatetime}, ticks(ident(r.Bucket)), ticks(bucket))
	}
	column(n.Count, val{k: kLong}, "toInt64("+ident(r.Count)+")", "toInt64(1)")

	from := "SELECT " + strings.Join(cells, ", ") + " FROM " + ident(r.Source)
	if len(whole) > 0 {
		from += " WHERE " + within(ident(r.Bucket))
	}
	if len(n.Bounds) > 0 && !exact {
		g.q.addTable(n.Table.Source)
		from += " UNION ALL SELECT " + strings.Join(events, ", ") + " FROM " + ident(n.Table.Source) +
			" WHERE " + strings.Join(inside, " AND ") + " AND (" + strings.Join(edges, " OR ") + ") AND NOT (" + within(bucket) + ")"
	}
	b.from = "(" + from + ")"
	g.b = b
	return b
}

// later moves a datetime by ticks.
func later(v val, ticks int64) string {
	if v.c != nil && v.c.T == plan.Datetime && !v.c.Null {
		return datetime(v.c.Int + ticks)
	}
	return fromTicks("reinterpretAsInt64(" + v.sql + ") + (" + itoa(ticks) + ")")
}
