package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// rollup reads cells of counts in the place of events. The cells are those that
// lie wholly within the bounds. What is left at the edges, or was before the
// rollup, comes from the finer rollup if there is one, and what that leaves, less
// than two of its buckets, from the table: those events stand for themselves.
func (g *gen) rollup(n *plan.RollupScan, need set) *block {
	r := n.Rollup
	if g.q.Rollup == "" {
		g.q.Rollup = r.Source
	}
	g.q.addTable(r.Source)
	lo, hi := n.Whole(r)
	if n.Since > lo {
		lo = min((n.Since+r.Step-1)/r.Step*r.Step, hi)
	}
	b := &block{}
	g.b = b
	kind := func(c plan.Column) val {
		tc := &n.Table.Columns[n.Table.Column(c.Name)]
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
	distinct := r.Distinct != ""

	// What the finer rollup answers, and where that leaves the table to answer.
	from, to := lo, hi
	var fine []string
	if f := r.Finer; f != nil {
		from, to = n.Whole(f)
		if n.From == 0 {
			from = 0
		}
		if n.To > plan.MaxDatetimeTicks {
			to = n.To
		}
		if from < lo {
			fine = append(fine, within(f, from, lo))
		}
		if hi < to && n.To <= plan.MaxDatetimeTicks {
			fine = append(fine, within(f, hi, to))
		}
	}
	var edges []string
	if n.From < from && n.From > 0 {
		edges = append(edges, g.edge(n, n.From, from))
	}
	if n.To > to && n.To <= plan.MaxDatetimeTicks {
		edges = append(edges, g.edge(n, to, n.To))
	}
	if len(fine)+len(edges) == 0 {
		b.from = ident(r.Source)
		if whole := within(r, lo, hi); whole != "" {
			b.where = []string{whole}
		}
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
		if distinct {
			bind(n.Filled, val{k: kBool, sql: ident(r.Filled), atom: true})
			bind(n.States, val{k: kString, sql: ident(r.States), atom: true})
		}
		return b
	}

	// A source is a SELECT of the same columns: expressions in the order of names.
	// Aggregates among them need the others as keys.
	type source struct{ columns, keys []string }
	var cells, finer, events source
	column := func(c plan.Column, v val, cell, fine, event string, grouped bool) {
		if !need.has(c.ID) {
			return
		}
		name := ident(g.name(c.Name))
		add := func(s *source, sql string) {
			s.columns = append(s.columns, sql+" AS "+name)
			if !grouped {
				s.keys = append(s.keys, sql)
			}
		}
		add(&cells, cell)
		add(&finer, fine)
		add(&events, event)
		if v.k == kDatetime {
			v = keyed(name, ofSeconds)
			v.bucket = r.Step
		} else {
			v.sql, v.atom = name, true
		}
		bind(c, v)
	}
	// of names a column of the finer rollup, if there is one.
	of := func(names func(*plan.Rollup) string) string {
		if r.Finer == nil {
			return ""
		}
		return ident(names(r.Finer))
	}
	bucket := func(time string) string {
		return "toDateTime(toStartOfInterval(" + time + ", toIntervalSecond(" + itoa(r.Step/plan.TicksPerSecond) + ")), 'UTC')"
	}
	states := distinct && need.has(n.States.ID)
	sum := func(sql string) string {
		if states {
			return "sum(" + sql + ")"
		}
		return sql
	}
	for _, c := range n.Dimensions {
		column(c, kind(c), ident(r.Dimensions[c.Name]), of(func(f *plan.Rollup) string { return f.Dimensions[c.Name] }), ident(c.Name), false)
	}
	for _, c := range n.Sums {
		column(c, val{k: kLong}, ident(r.Sums[c.Name]), sum(of(func(f *plan.Rollup) string { return f.Sums[c.Name] })), sum(ident(c.Name)), states)
	}
	column(n.Time, val{k: kDatetime}, ident(r.Bucket), bucket(of(func(f *plan.Rollup) string { return f.Bucket })), bucket(ident(r.Time)), false)
	if distinct {
		filled := func(sql string) string { return "CAST(" + sql + " != '', 'Bool')" }
		state := func(sql string) string { return "uniqState(" + sql + ")" }
		value := of(func(f *plan.Rollup) string { return f.Dimensions[r.Distinct] })
		column(n.Filled, val{k: kBool}, ident(r.Filled), filled(value), filled(ident(r.Distinct)), false)
		column(n.States, val{k: kString}, ident(r.States), state(value), state(ident(r.Distinct)), true)
	}
	if !states {
		// A row counts also when nothing else of it is read.
		need = need.with(n.Count.ID)
	}
	one := "toUInt64(1)"
	if states {
		one = "count()"
	}
	column(n.Count, val{k: kLong}, "toUInt64("+ident(r.Count)+")", "toUInt64("+sum(of(func(f *plan.Rollup) string { return f.Count }))+")", one, states)

	read := func(s source, table string, where []string, group bool) string {
		g.q.addTable(table)
		sql := "SELECT " + strings.Join(s.columns, ", ") + " FROM " + ident(table)
		if cond := strings.Join(where, " OR "); cond != "" {
			sql += " WHERE " + cond
		}
		if group && len(s.keys) > 0 {
			sql += " GROUP BY " + strings.Join(s.keys, ", ")
		}
		return sql
	}
	var parts []string
	if lo < hi {
		var whole []string
		if w := within(r, lo, hi); w != "" {
			whole = []string{w}
		}
		parts = append(parts, read(cells, r.Source, whole, false))
	}
	if len(fine) > 0 {
		parts = append(parts, read(finer, r.Finer.Source, fine, states))
	}
	if len(edges) > 0 {
		parts = append(parts, read(events, n.Table.Source, edges, states))
	}
	b.from = "(" + strings.Join(parts, " UNION ALL ") + ")"
	return b
}

// within is the condition for the buckets of a rollup from one time to before
// another; 0 and the end of time are no bounds.
func within(r *plan.Rollup, from, to int64) string {
	var list []string
	if from > 0 {
		list = append(list, ident(r.Bucket)+" >= "+second(from))
	}
	if to <= plan.MaxDatetimeTicks/r.Step*r.Step {
		list = append(list, ident(r.Bucket)+" < "+second(to))
	}
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	}
	return "(" + list[0] + " AND " + list[1] + ")"
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
