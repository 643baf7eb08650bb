package plan

import (
	"fmt"

	"hubscope/query/kql"
)

// RollupScan reads a rollup in the place of a stored table: a row stands for
// Count rows of it, which are alike in Dimensions and in the bucket of Time.
// Rows of the table within the bounds whose bucket is not wholly within them are
// read from the table itself, so that every answer is that of the table.
type RollupScan struct {
	Rollup *Rollup
	Table  *Table
	// Dimensions and Sums are columns of the table, with the ids they have in the
	// plan; Time is the start of the bucket.
	Dimensions, Sums []Column
	Time, Count      Column
	// Bounds hold for Time of the table.
	Bounds []Bound
}

// Bound is Time Op X, with <, <=, > or >=; X reads no column.
type Bound struct {
	Op kql.Op
	X  Expr
}

func (*RollupScan) node() {}

// Exact says that the bound lies between two buckets, whatever the query's time.
func (b Bound) Exact(step int64) bool {
	c, ok := b.X.(*Const)
	return ok && !c.Null && c.Int%step == 0 && (b.Op == kql.OpGe || b.Op == kql.OpLt)
}

// answerFromRollups replaces what aggregates over stored tables read by rollups
// where the answer is the same.
func (p *Plan) answerFromRollups(cat *Catalog) {
	if len(cat.rollups) == 0 {
		return
	}
	a := &answerer{plan: p, cat: cat}
	for _, c := range p.CTEs {
		c.Root = a.node(c.Root)
	}
	p.Root = a.node(p.Root)
	kept := p.CTEs[:0]
	for _, c := range p.CTEs {
		if c.Refs > 0 {
			kept = append(kept, c)
		}
	}
	p.CTEs = kept
}

type answerer struct {
	plan *Plan
	cat  *Catalog
}

func (a *answerer) node(n Node) Node {
	switch n := n.(type) {
	case *Filter:
		n.In = a.node(n.In)
	case *Extend:
		n.In = a.node(n.In)
	case *Aggregate:
		if r := a.aggregate(n); r != nil {
			return r
		}
		n.In = a.node(n.In)
	case *Sort:
		n.In = a.node(n.In)
	case *Limit:
		n.In = a.node(n.In)
	case *Serialize:
		n.In = a.node(n.In)
	case *Join:
		n.L, n.R = a.node(n.L), a.node(n.R)
	case *Union:
		for i := range n.Parts {
			n.Parts[i].In = a.node(n.Parts[i].In)
		}
	case *MvExpand:
		n.In = a.node(n.In)
	case *Ordinal:
		n.In = a.node(n.In)
	case *MakeSeries:
		n.In = a.node(n.In)
	case *Scanner:
		n.In = a.node(n.In)
	}
	return n
}

// aggregate returns n over a rollup, nil if none answers it.
func (a *answerer) aggregate(n *Aggregate) Node {
	// From the table up: filters and computed columns.
	var steps []Node
	var used []*CTE
	in := n.In
	for {
		switch x := in.(type) {
		case *Filter:
			steps, in = append(steps, x), x.In
			continue
		case *Extend:
			steps, in = append(steps, x), x.In
			continue
		case *CTERef:
			if x.CTE.Refs == 1 && len(x.Cols) == len(x.CTE.Cols) {
				rename := &Extend{}
				for i, c := range x.Cols {
					rename.Items = append(rename.Items, Item{Col: c, X: refTo(x.CTE.Cols[i])})
				}
				steps, in = append(steps, rename), x.CTE.Root
				used = append(used, x.CTE)
				continue
			}
		}
		break
	}
	scan, ok := in.(*Scan)
	if !ok {
		return nil
	}
	why := ""
	for _, r := range a.cat.rollups {
		if r.Table != scan.Table.Name {
			continue
		}
		out, reason := a.over(r, scan, steps, n)
		if out != nil {
			for _, c := range used {
				c.Refs--
			}
			a.plan.Rollup, a.plan.RollupWhyNot = r.Source, ""
			return out
		}
		why = reason
	}
	if a.plan.Rollup == "" && why != "" {
		a.plan.RollupWhyNot = why
	}
	return nil
}

// over tries one rollup. steps are the nodes between n and scan, from above.
func (a *answerer) over(r *Rollup, scan *Scan, steps []Node, n *Aggregate) (Node, string) {
	if n.Partition != nil {
		return nil, "partition"
	}
	rs := &RollupScan{Rollup: r, Table: scan.Table, Count: a.plan.NewCol("Count", Long)}
	known := &cells{same: map[ColID]bool{}, step: r.Step, names: map[ColID]string{}}
	sums := map[ColID]bool{}
	for i, c := range scan.Cols {
		name := scan.Table.Columns[scan.Index[i]].Name
		known.names[c.ID] = name
		switch {
		case name == r.Time:
			rs.Time, known.time = c, c.ID
		case r.Dimensions[name] != "":
			rs.Dimensions = append(rs.Dimensions, c)
			known.same[c.ID] = true
		case r.Sums[name] != "":
			rs.Sums = append(rs.Sums, c)
			sums[c.ID] = true
		}
	}
	var node Node = rs
	for i := len(steps) - 1; i >= 0; i-- {
		switch s := steps[i].(type) {
		case *Filter:
			for _, pred := range conjuncts(s.Pred, nil) {
				if bounds := known.bounds(pred); bounds != nil {
					rs.Bounds = append(rs.Bounds, bounds...)
					continue
				}
				if why := known.depends(pred); why != "" {
					return nil, "the filter depends on " + why
				}
				node = &Filter{In: node, Pred: pred}
			}
		case *Extend:
			e := &Extend{In: node}
			for _, it := range s.Items {
				known.names[it.Col.ID] = it.Col.Name
				if ref, ok := it.X.(*Ref); ok {
					// A renamed column is what it was.
					switch {
					case ref.ID == known.time:
						known.alias(it.Col.ID)
					case sums[ref.ID]:
						sums[it.Col.ID] = true
					}
				}
				if known.depends(it.X) == "" {
					known.same[it.Col.ID] = true
				} else if !known.isTime(it.X) && !sums[it.Col.ID] {
					continue // nothing may read it
				}
				e.Items = append(e.Items, it)
			}
			node = e
		}
	}
	out := &Aggregate{In: node, Keys: n.Keys}
	for _, k := range n.Keys {
		if why := known.depends(k.X); why != "" {
			return nil, "it groups by " + why
		}
	}
	for _, it := range n.Aggs {
		agg, ok := it.X.(*Agg)
		if !ok {
			return nil, "an aggregate"
		}
		x, why := rs.agg(agg, known, sums)
		if why != "" {
			return nil, why
		}
		out.Aggs = append(out.Aggs, Item{Col: it.Col, X: x})
	}
	return out, ""
}

// agg returns an aggregate that gives over cells what x gives over rows.
func (rs *RollupScan) agg(x *Agg, known *cells, sums map[ColID]bool) (*Agg, string) {
	free := func(args []Expr) string {
		for _, arg := range args {
			if why := known.depends(arg); why != "" {
				return fmt.Sprintf("%s depends on %s", x.Func.Name, why)
			}
		}
		return ""
	}
	c := *x
	switch x.Func.Base {
	case "count", "countif", "cnt":
		c.Weight = refTo(rs.Count)
		return &c, free(x.Args)
	case "sum", "sumif":
		ref, ok := x.Args[0].(*Ref)
		if !ok || !sums[ref.ID] {
			return nil, fmt.Sprintf("%s adds up what the rollup does not", x.Func.Name)
		}
		return &c, free(x.Args[1:])
	case "min", "max", "minif", "maxif", "dcount", "dcountif", "count_distinct", "count_distinctif", "make_set", "make_set_if":
		// How often a value occurs does not matter.
		return &c, free(x.Args)
	}
	return nil, x.Func.Name + " needs every event"
}

// cells knows which columns have one value in each cell of a rollup.
type cells struct {
	same  map[ColID]bool
	names map[ColID]string
	time  ColID
	times []ColID // further names of time
	step  int64
}

func (k *cells) alias(id ColID) { k.times = append(k.times, id) }

func (k *cells) isTime(x Expr) bool {
	ref, ok := x.(*Ref)
	if !ok {
		return false
	}
	for _, id := range k.times {
		if ref.ID == id {
			return true
		}
	}
	return ref.ID == k.time
}

// steadyDates are functions of a datetime that are the same all day, or all
// hour.
var steadyDates = map[string]int64{
	"startofday": TicksPerDay, "endofday": TicksPerDay, "startofweek": TicksPerDay, "endofweek": TicksPerDay,
	"startofmonth": TicksPerDay, "endofmonth": TicksPerDay, "startofyear": TicksPerDay, "endofyear": TicksPerDay,
	"dayofweek": TicksPerDay, "dayofmonth": TicksPerDay, "dayofyear": TicksPerDay, "week_of_year": TicksPerDay,
	"monthofyear": TicksPerDay, "getmonth": TicksPerDay, "getyear": TicksPerDay, "hourofday": TicksPerHour,
}

// depends returns what x depends on besides values that are the same in a whole
// cell, "" if nothing.
func (k *cells) depends(x Expr) (why string) {
	WalkExpr(x, func(x Expr) bool {
		if why != "" {
			return false
		}
		switch x := x.(type) {
		case *Const, *Unary, *Binary, *In, *Between, *Path:
		case *Ref:
			if !k.same[x.ID] {
				why = k.names[x.ID]
				if why == "" {
					why = x.Name
				}
			}
		case *Call:
			switch {
			case x.Func.Window(), x.Partition != nil, x.Func.Base == "rand", x.Func.Base == "new_guid":
				why = x.Func.Name
			case len(x.Args) > 0 && k.isTime(x.Args[0]):
				// Nothing but the bucket counts.
				if width, ok := steadyDates[x.Func.Base]; ok && width%k.step == 0 {
					for _, arg := range x.Args[1:] {
						if why == "" {
							why = k.depends(arg)
						}
					}
					return false
				}
				if size, ok := constTicks(x, 1); ok && x.Func.Base == "bin" {
					if size > 0 && size%k.step == 0 {
						return false
					}
					why = "bins that are no multiple of the rollup's"
					return false
				}
				why = k.names[k.time]
			}
		default:
			why = "more than the rollup has"
		}
		return why == ""
	})
	return why
}

func constTicks(c *Call, i int) (int64, bool) {
	if len(c.Args) <= i {
		return 0, false
	}
	v, ok := c.Args[i].(*Const)
	return v.ticks(), ok && v.T == Timespan && !v.Null
}

func (c *Const) ticks() int64 {
	if c == nil {
		return 0
	}
	return c.Int
}

// bounds returns a condition on time as bounds, nil if it is something else.
func (k *cells) bounds(x Expr) []Bound {
	fixed := func(x Expr) bool {
		if c, ok := x.(*Const); ok && c.Null || x.Type() != Datetime {
			return false
		}
		return !ReadsColumns(x) && k.depends(x) == ""
	}
	switch x := x.(type) {
	case *Binary:
		op, l, r := x.Op, x.X, x.Y
		if k.isTime(r) {
			l, r = r, l
			switch op {
			case kql.OpLt:
				op = kql.OpGt
			case kql.OpLe:
				op = kql.OpGe
			case kql.OpGt:
				op = kql.OpLt
			case kql.OpGe:
				op = kql.OpLe
			}
		}
		switch op {
		case kql.OpLt, kql.OpLe, kql.OpGt, kql.OpGe:
			if k.isTime(l) && fixed(r) {
				return []Bound{{op, r}}
			}
		}
	case *Between:
		if !x.Not && k.isTime(x.X) && fixed(x.Lo) && fixed(x.Hi) {
			return []Bound{{kql.OpGe, x.Lo}, {kql.OpLe, x.Hi}}
		}
	}
	return nil
}

// ReadsColumns says whether an expression depends on the row.
func ReadsColumns(x Expr) bool {
	found := false
	WalkExpr(x, func(x Expr) bool {
		if _, ok := x.(*Ref); ok {
			found = true
		}
		return !found
	})
	return found
}

// conjuncts appends the conditions that x is the conjunction of.
func conjuncts(x Expr, list []Expr) []Expr {
	if b, ok := x.(*Binary); ok && b.Op == kql.OpAnd {
		return conjuncts(b.Y, conjuncts(b.X, list))
	}
	return append(list, x)
}
