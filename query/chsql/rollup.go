package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// rollup reads cells of counts in the place of events. The cells are those that
// lie wholly within the bounds; events at the edges, less than two buckets of
// them, are read from the table and stand for themselves.
func (g *gen) rollup(n *plan.RollupScan, need set) *block {
	r := n.Rollup
	if g.q.Rollup == "" {
		g.q.Rollup = r.Source
	}
	g.q.addTable(r.Source)
	lo, hi := n.Whole()
	var whole []string
	if n.From > 0 {
		whole = append(whole, ident(r.Bucket)+" >= "+second(lo))
	}
	if n.To <= plan.MaxDatetimeTicks {
		whole = append(whole, ident(r.Bucket)+" < "+second(hi))
	}
	b := &block{}
	g.b = b
	at := func(c plan.Column) *plan.TableColumn { return &n.Table.Columns[n.Table.Column(c.Name)] }
	kind := func(c plan.Column) val {
		tc := at(c)
		v := val{k: kindOf(c.Type), null: tc.Nullable, low: tc.LowCardinality, atom: true}
		if v.k == kJSON {
			v.k = kText
		}
		return v
	}
	bind := func(c plan.Column, v val) {
		g.cols[c.ID] = binding{v: v}
		b.out = append(b.out, c.ID)
	}

	var edges []string
	if n.From < lo && n.From > 0 {
		edges = append(edges, g.edge(n, n.From, lo))
	}
	if n.To > hi && n.To <= plan.MaxDatetimeTicks {
		edges = append(edges, g.edge(n, hi, n.To))
	}
	if len(edges) == 0 {
		b.from, b.where = ident(r.Source), whole
		for _, c := range n.Dimensions {
			v := kind(c)
			v.sql = ident(r.Dimensions[c.Name])
			bind(c, v)
		}
		for _, c := range n.Sums {
			bind(c, val{k: kLong, sql: ident(r.Sums[c.Name]), atom: true})
		}
		v := keyed(ident(r.Bucket), ofSeconds)
		v.bucket = r.Step
		bind(n.Time, v)
		bind(n.Count, val{k: kLong, sql: ident(r.Count), atom: true})
		return b
	}

	var cells, events []string
	column := func(c plan.Column, v val, cell, event string) {
		if !need.has(c.ID) {
			return
		}
		name := ident(g.name(c.Name))
		cells = append(cells, cell+" AS "+name)
		events = append(events, event+" AS "+name)
		if v.k == kDatetime {
			v = keyed(name, ofSeconds)
			v.bucket = r.Step
		} else {
			v.sql, v.atom = name, true
		}
		bind(c, v)
	}
	for _, c := range n.Dimensions {
		column(c, kind(c), ident(r.Dimensions[c.Name]), ident(c.Name))
	}
	for _, c := range n.Sums {
		column(c, val{k: kLong}, ident(r.Sums[c.Name]), ident(c.Name))
	}
	column(n.Time, val{k: kDatetime}, ident(r.Bucket), "toDateTime(toStartOfInterval("+ident(r.Time)+", toIntervalSecond("+itoa(r.Step/plan.TicksPerSecond)+")), 'UTC')")
	need = need.with(n.Count.ID)
	column(n.Count, val{k: kLong}, "toUInt64("+ident(r.Count)+")", "toUInt64(1)")

	from := "SELECT " + strings.Join(cells, ", ") + " FROM " + ident(r.Source)
	if len(whole) > 0 {
		from += " WHERE " + strings.Join(whole, " AND ")
	}
	g.q.addTable(n.Table.Source)
	b.from = "(" + from + " UNION ALL SELECT " + strings.Join(events, ", ") + " FROM " + ident(n.Table.Source) + " WHERE " + strings.Join(edges, " OR ") + ")"
	return b
}

// edge is the condition for events from one time to before another.
func (g *gen) edge(n *plan.RollupScan, from, to int64) string {
	time := ident(n.Rollup.Time)
	sql := time + " >= " + datetime(from) + " AND " + time + " < " + datetime(to)
	if n.Table.TimeKey != "" {
		k := timeKey{fn: n.Table.TimeKey, column: time, hint: true}
		sql += " AND " + k.bound(">=", constant(&plan.Const{T: plan.Datetime, Int: from})) +
			" AND " + k.bound("<=", constant(&plan.Const{T: plan.Datetime, Int: to}))
	}
	return "(" + sql + ")"
}

// second writes a whole second as a DateTime, within what that can hold. The
// buckets of a rollup are such.
func second(ticks int64) string {
	ticks = min(max(ticks, plan.UnixEpochTicks), lastKey)
	return "toDateTime(" + itoa((ticks-plan.UnixEpochTicks)/plan.TicksPerSecond) + ", 'UTC')"
}
