package chsql

import (
	"strconv"
	"strings"

	"hubscope/query/plan"
)

// scanner folds the rows of each partition, in their order, through the states
// of the steps. The rows travel as an array of tuples.
func (g *gen) scanner(n *plan.Scanner, need set) *block {
	inner := need.clone()
	for _, p := range n.Partition {
		inner.addExpr(p)
	}
	for _, s := range n.Steps {
		inner.addExpr(s.Cond)
		for _, a := range s.Assigns {
			inner.addExpr(a.X)
		}
	}
	b := g.node(n.In, inner)
	b = g.unlimited(b, inner)
	g.b = b
	// Arrays become JSON text, whose type is known.
	for _, id := range b.out {
		if inner.has(id) {
			c := &g.cols[id]
			if v := g.plain(c.v); v.sql != c.v.sql || v.k != c.v.k {
				if c.item != nil {
					c.item.refs++
				}
				*c = g.aliased("json", v)
			}
		}
	}
	place := g.ordinalIn(&b, inner)
	g.b = b
	var ids []plan.ColID
	var fields, types []string
	seen := map[plan.ColID]bool{}
	for _, id := range b.out {
		if !inner.has(id) || seen[id] {
			continue
		}
		seen[id] = true
		v := g.plain(g.use(id))
		ids = append(ids, id)
		fields = append(fields, v.sql)
		types = append(types, nullable(v.k.chType(), v.null))
	}
	if len(ids) == 0 {
		fields, types = []string{"1"}, []string{"UInt8"}
	}
	rowType := "Tuple(" + strings.Join(types, ", ") + ")"
	parts := make([]string, 0, len(n.Partition))
	for _, p := range n.Partition {
		parts = append(parts, g.plain(g.expr(p)).s())
	}
	b.order, b.natural = nil, false
	rows := ident(g.name("rows"))
	from := g.text(b, []string{strings.Trim(rows, "`")}, []string{"arrayMap(x -> x.2, arraySort(x -> x.1, groupArray(tuple(" + place + ", CAST(tuple(" + strings.Join(fields, ", ") + "), '" + rowType + "')))))"})
	if len(parts) > 0 {
		from += " GROUP BY " + strings.Join(parts, ", ")
	}

	// In the lambda a row is r, the states of the steps are a.
	g.b = nil
	saved := make([]binding, len(ids))
	for i, id := range ids {
		saved[i] = g.cols[id]
		v := g.plain(g.cols[id].v)
		v.sql, v.atom, v.op, v.c, v.low, v.item = "r."+strconv.Itoa(i+1), true, false, nil, false, nil
		g.cols[id] = binding{v: v}
	}
	// A record of a step is the row and the declared columns.
	var stateTypes, defaults []string
	state := make([]val, len(n.State))
	for i, s := range n.State {
		d := g.canonical(g.expr(s.Default), s.Col.Type)
		k := kindOf(s.Col.Type)
		null := k != kString
		stateTypes = append(stateTypes, nullable(k.chType(), null))
		defaults = append(defaults, d.sql)
		state[i] = val{k: k, null: null}
		g.cols[s.Col.ID] = binding{v: d}
	}
	stateTypes = append(stateTypes, "UInt8")
	defaults = append(defaults, "0")
	stateType := "Tuple(" + strings.Join(stateTypes, ", ") + ")"
	recordType := "Tuple(" + rowType + ", " + stateType + ")"
	k := len(n.Steps)
	// Each step's state: is it active, the match it belongs to, the records of
	// the steps up to it.
	stepType := func(i int) string {
		return "Tuple(UInt8, Int64, " + strings.TrimSuffix(strings.Repeat(recordType+", ", i+1), ", ") + ")"
	}
	accType := "Tuple(Array(Tuple(" + rowType + ", " + stateType + ", Int64)), Int64"
	empty := "tuple(CAST([], 'Array(Tuple(" + rowType + ", " + stateType + ", Int64))'), toInt64(-1)"
	for i := 0; i < k; i++ {
		accType += ", " + stepType(i)
		empty += ", " + emptyOf(stepType(i))
	}
	accType += ")"
	empty += ")"

	// evaluate writes a condition or an assignment of step i with the records in
	// the state st, of which those up to have are there.
	evaluate := func(st string, have int, x plan.Expr) val {
		g.scanStates = func(ref *plan.ScanRef) val {
			rec := st + "." + strconv.Itoa(3+ref.Step)
			for i, id := range ids {
				if id == ref.ID {
					v := saved[i].v
					base := g.cols[id].v
					base.sql = rec + ".1." + strconv.Itoa(i+1)
					base.atom = true
					_ = v
					if ref.Step > have {
						return nullOf(base.k)
					}
					base.null = base.k != kString
					if base.null {
						base.sql = "toNullable(" + base.sql + ")"
						base.sql = "if(" + rec + ".2." + strconv.Itoa(len(n.State)+1) + ", " + base.sql + ", NULL)"
						base.atom = false
					}
					return base
				}
			}
			for i, s := range n.State {
				if s.Col.ID == ref.ID {
					v := state[i]
					if ref.Step > have {
						return g.cols[s.Col.ID].v
					}
					// Before the step has matched, the default counts.
					v.sql = "if(" + rec + ".2." + strconv.Itoa(len(n.State)+1) + ", " + rec + ".2." + strconv.Itoa(i+1) + ", " + defaults[i] + ")"
					return v
				}
			}
			return nullOf(kJSON)
		}
		v := g.expr(x)
		g.scanStates = nil
		return v
	}
	step := "a"
	body := "e0"
	// Built inside out: the last step is evaluated first.
	type link struct{ name, sql string }
	var chain []link
	cur := step
	for i := k - 1; i >= 0; i-- {
		s := n.Steps[i]
		self := cur + "." + strconv.Itoa(3+i)
		next := "a" + strconv.Itoa(i+1)
		put := func(st string, have int, match string, records func(rec string) string, promoted bool) string {
			var assigned []string
			for q, sv := range n.State {
				v := val{sql: defaults[q], k: state[q].k}
				for _, a := range s.Assigns {
					if a.Col.ID == sv.Col.ID {
						v = g.like2(evaluate(st, have, a.X), a.X.Type(), sv.Col.Type)
					}
				}
				assigned = append(assigned, v.sql)
			}
			assigned = append(assigned, "1")
			rec := "CAST(tuple(r, tuple(" + strings.Join(assigned, ", ") + ")), '" + recordType + "')"
			out := cur + ".1"
			if s.Output != "none" {
				out = "arrayPushBack(" + cur + ".1, CAST(tuple(rec.1, rec.2, " + match + "), 'Tuple(" + rowType + ", " + stateType + ", Int64)'))"
			}
			counter := cur + ".2"
			if i == 0 {
				counter = "greatest(" + cur + ".2, " + match + ")"
			}
			elems := []string{out, counter}
			for q := 0; q < k; q++ {
				switch {
				case q == i:
					elems = append(elems, "CAST(tuple(1, "+match+", "+records("rec")+"), '"+stepType(i)+"')")
				case promoted && q == i-1:
					elems = append(elems, emptyOf(stepType(q)))
				default:
					elems = append(elems, cur+"."+strconv.Itoa(3+q))
				}
			}
			return let("rec", rec, "CAST(tuple("+strings.Join(elems, ", ")+"), '"+accType+"')")
		}
		recordsOf := func(st string, upTo int) func(string) string {
			return func(rec string) string {
				list := make([]string, 0, i+1)
				for q := 0; q < upTo; q++ {
					list = append(list, st+"."+strconv.Itoa(3+q))
				}
				return strings.Join(append(list, rec), ", ")
			}
		}
		var branches []string
		if i > 0 {
			prev := cur + "." + strconv.Itoa(2+i)
			c := evaluate(prev, i-1, s.Cond)
			branches = append(branches, prev+".1 AND ifNull("+g.boolean(c).sql+", 0)", put(prev, i-1, prev+".2", recordsOf(prev, i), true))
		}
		c := evaluate(self, i, s.Cond)
		active := self + ".1 AND "
		match := self + ".2"
		if i == 0 {
			active = ""
			// A new match begins when the one before has gone on to the next step.
			match = "if(" + self + ".1, " + self + ".2, " + cur + ".2 + 1)"
		}
		branches = append(branches, active+"ifNull("+g.boolean(c).sql+", 0)", put(self, i, match, recordsOf(self, i), false), cur)
		f := "if("
		if len(branches) > 3 {
			f = "multiIf("
		}
		chain = append(chain, link{next, f + strings.Join(branches, ", ") + ")"})
		cur = next
	}
	body = cur
	for i := len(chain) - 1; i >= 0; i-- {
		body = let(chain[i].name, chain[i].sql, body)
	}
	out := ident(g.name("matches"))
	fold := "arrayFold((a, r) -> " + body + ", " + rows + ", CAST(" + empty + ", '" + accType + "')).1 AS " + out
	row := g.name("record")
	ob := &block{}
	at := ident(g.name("place"))
	ob.from = "(SELECT " + fold + " FROM (" + from + ")) ARRAY JOIN " + out + " AS " + ident(row) + ", arrayEnumerate(" + out + ") AS " + at
	g.b = ob
	for i, id := range ids {
		v := g.plain(saved[i].v)
		v.sql, v.atom, v.op, v.c, v.low, v.item = ident(row)+".1."+strconv.Itoa(i+1), true, false, nil, false, nil
		g.cols[id] = binding{v: v}
		ob.out = append(ob.out, id)
	}
	for i, s := range n.State {
		v := state[i]
		v.sql, v.atom = ident(row)+".2."+strconv.Itoa(i+1), true
		g.cols[s.Col.ID] = binding{v: v}
		ob.out = append(ob.out, s.Col.ID)
	}
	if n.MatchID != nil {
		g.cols[n.MatchID.ID] = binding{v: val{sql: ident(row) + ".3", k: kLong, atom: true}}
		ob.out = append(ob.out, n.MatchID.ID)
	}
	if len(parts) == 0 {
		ob.order = []orderKey{{v: val{sql: at, k: kLong, atom: true}}}
	}
	return ob
}

// like2 converts a value that is assigned to a declared column.
func (g *gen) like2(v val, from, to plan.Type) val {
	if from == to {
		return g.canonical(v, to)
	}
	if to == plan.Dynamic {
		return g.json(v)
	}
	return g.canonical(g.like(v, from, to), to)
}

// emptyOf writes the default value of a tuple type.
func emptyOf(tuple string) string { return "defaultValueOfTypeName('" + tuple + "')" }
