package plan

import (
	"fmt"
	"strings"

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
	// States and Filled stand for the rollup's columns of these names, if it counts
	// distinct values.
	States, Filled Column
	// From <= Time < To holds of what is read, in ticks; 0 and MaxDatetimeTicks+1
	// are no bounds.
	From, To int64
	// Since is when the rollup begins; before, its finer one answers.
	Since int64
}

func (*RollupScan) node() {}

// Whole returns the bounds of the buckets of a rollup that lie wholly within From
// and To.
func (rs *RollupScan) Whole(r *Rollup) (from, to int64) {
	return (rs.From + r.Step - 1) / r.Step * r.Step, rs.To / r.Step * r.Step
}

// bound is: the time op at.
type bound struct {
	op kql.Op
	at int64
}

// narrow narrows from <= time < to.
func (b bound) narrow(from, to *int64) {
	switch b.op {
	case kql.OpGe:
		*from = max(*from, b.at)
	case kql.OpGt:
		*from = max(*from, b.at+1)
	case kql.OpLt:
		*to = min(*to, b.at)
	case kql.OpLe:
		*to = min(*to, b.at+1)
	}
}

// Within returns what the filters above a table leave of a time column of it, in
// ticks: from <= column < to. Without bounds it is 0 and MaxDatetimeTicks+1.
func Within(n Node, column ColID) (from, to int64) {
	to = MaxDatetimeTicks + 1
	isTime := func(x Expr) bool {
		ref, ok := x.(*Ref)
		return ok && ref.ID == column
	}
	for {
		switch x := n.(type) {
		case *Filter:
			for _, pred := range conjuncts(x.Pred, nil) {
				for _, b := range boundsOf(pred, isTime) {
					b.narrow(&from, &to)
				}
			}
			n = x.In
		case *Extend:
			n = x.In
		case *Serialize:
			n = x.In
		default:
			return from, to
		}
	}
}

// useRollups replaces what aggregates over stored tables read by rollups where
// the answer is the same.
func (p *Plan) useRollups(cat *Catalog, opt Options) {
	read := ""
	for _, t := range p.Tables {
		for _, r := range cat.rollups {
			if r.Table == t.Name {
				read = t.Name
			}
		}
	}
	if read == "" {
		return
	}
	a := &answerer{plan: p, cat: cat, opt: opt}
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
	if p.Rollup == "" && p.RollupWhyNot == "" {
		p.RollupWhyNot = "it does not aggregate the rows of " + read
	}
}

type answerer struct {
	plan *Plan
	cat  *Catalog
	opt  Options
}

func (a *answerer) node(n Node) Node {
	switch n := n.(type) {
	case *Filter:
		a.expr(n.Pred)
		n.In = a.node(n.In)
	case *Extend:
		a.items(n.Items)
		n.In = a.node(n.In)
	case *Aggregate:
		if r := a.aggregate(n); r != nil {
			return r
		}
		a.items(n.Keys)
		a.items(n.Aggs)
		n.In = a.node(n.In)
	case *Sort:
		n.In = a.node(n.In)
	case *Limit:
		a.expr(n.N)
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
		if !a.makeSeries(n) {
			n.In = a.node(n.In)
		}
	case *Scanner:
		n.In = a.node(n.In)
	case *Range:
		a.expr(n.From)
		a.expr(n.To)
		a.expr(n.Step)
	}
	return n
}

func (a *answerer) items(list []Item) {
	for _, it := range list {
		a.expr(it.X)
	}
}

// expr answers the subqueries in an expression.
func (a *answerer) expr(x Expr) {
	WalkExpr(x, func(x Expr) bool {
		switch x := x.(type) {
		case *ScalarQuery:
			x.Query = a.node(x.Query)
		case *ArrayQuery:
			x.Query = a.node(x.Query)
		case *InQuery:
			x.Query = a.node(x.Query)
		}
		return true
	})
}

// source is a stored table and the filters and computed columns above it, from
// above. ctes is what they are reached through.
type source struct {
	scan  *Scan
	steps []Node
	ctes  []*CTE
}

func sourceOf(in Node) (s source, ok bool) {
	for {
		switch x := in.(type) {
		case *Filter:
			s.steps, in = append(s.steps, x), x.In
			continue
		case *Extend:
			s.steps, in = append(s.steps, x), x.In
			continue
		case *Serialize:
			in = x.In
			continue
		case *CTERef:
			if len(x.Cols) == len(x.CTE.Cols) {
				// What was not read by name before is read under other names now: a
				// table that is used twice may still be summarized twice.
				rename := &Extend{}
				for i, c := range x.Cols {
					rename.Items = append(rename.Items, Item{Col: c, X: refTo(x.CTE.Cols[i])})
				}
				s.steps, in = append(s.steps, rename), x.CTE.Root
				s.ctes = append(s.ctes, x.CTE)
				continue
			}
		case *Scan:
			s.scan = x
			return s, true
		}
		return s, false
	}
}

// release drops a use of a CTE, and with the last one the uses in it.
func release(c *CTE) {
	c.Refs--
	if c.Refs > 0 {
		return
	}
	if s, _ := sourceOf(c.Root); len(s.ctes) > 0 {
		release(s.ctes[0])
	}
}

// try looks for a rollup that answers what make makes of it. It says what stands
// against it otherwise.
func (a *answerer) try(in Node, make func(*RollupScan, *cells, Node) string) bool {
	s, ok := sourceOf(in)
	if !ok {
		return false
	}
	var why []string
	for _, r := range a.cat.rollups {
		if r.Table != s.scan.Table.Name {
			continue
		}
		reason := "the query forbids it"
		if !a.opt.NoRollups {
			if reason = a.over(r, s, make); reason == "" {
				if len(s.ctes) > 0 {
					release(s.ctes[0])
				}
				if a.plan.Rollup == "" {
					a.plan.Rollup = r.Source
				}
				return true
			}
		}
		why = append(why, r.Source+": "+reason)
	}
	for _, w := range why {
		if !strings.Contains(a.plan.RollupWhyNot, w) {
			if a.plan.RollupWhyNot != "" {
				a.plan.RollupWhyNot += "; "
			}
			a.plan.RollupWhyNot += w
		}
	}
	return false
}

// aggregate returns n over a rollup, nil if none answers it.
func (a *answerer) aggregate(n *Aggregate) Node {
	var out *Aggregate
	ok := a.try(n.In, func(rs *RollupScan, known *cells, in Node) string {
		if n.Partition != nil {
			return "it works on partitions"
		}
		out = &Aggregate{In: in}
		for _, k := range n.Keys {
			k.X = known.told(k.X)
			if why := known.depends(k.X); why != "" {
				return "it groups by " + why
			}
			out.Keys = append(out.Keys, k)
		}
		aggs, why := rs.aggs(n.Aggs, known)
		out.Aggs = aggs
		return why
	})
	if !ok {
		return nil
	}
	return out
}

// makeSeries puts a rollup under make-series, if one answers it: its bins have to
// be of whole buckets.
func (a *answerer) makeSeries(n *MakeSeries) bool {
	var aggs []Item
	var node Node
	ok := a.try(n.In, func(rs *RollupScan, known *cells, in Node) string {
		node = in
		step, isConst := n.Step.(*Const)
		from, aligned := n.From.(*Const)
		switch {
		case !known.isTime(n.Axis.X):
			return "its axis is not " + rs.Rollup.Time
		case !isConst || step.Null || step.T != Timespan || step.Int <= 0 || step.Int%rs.Rollup.Step != 0:
			return "the steps of its axis are no multiple of the rollup's"
		case !aligned || from.Null || from.Int%rs.Rollup.Step != 0:
			return "its axis does not begin between two buckets"
		}
		// What lies outside of the axis does not count, and need not be read.
		rs.From = max(rs.From, from.Int)
		if to, ok := n.To.(*Const); ok && !to.Null && to.Int%rs.Rollup.Step == 0 && !n.Inclusive {
			rs.To = min(rs.To, to.Int)
		} else if n.To != nil {
			return "its axis does not end between two buckets"
		}
		for _, k := range n.Keys {
			if why := known.depends(k.X); why != "" {
				return "it groups by " + why
			}
		}
		var why string
		aggs, why = rs.aggs(n.Inner, known)
		return why
	})
	if ok {
		n.In, n.Inner = node, aggs
	}
	return ok
}

// over tries one rollup; it returns what stands against it.
func (a *answerer) over(r *Rollup, src source, make func(*RollupScan, *cells, Node) string) string {
	scan := src.scan
	if scan.Arrival != nil {
		return "it reads ingestion_time()"
	}
	rs := &RollupScan{Rollup: r, Table: scan.Table, Count: a.plan.NewCol("Count", Long), To: MaxDatetimeTicks + 1}
	if a.opt.Complete != nil && r.Finer != nil {
		since, there := a.opt.Complete(r.Source)
		if !there {
			return "it is not there yet"
		}
		rs.Since = since
	}
	known := &cells{same: map[ColID]bool{}, sums: map[ColID]bool{}, distinct: map[ColID]bool{}, step: r.Step, names: map[ColID]string{}}
	if r.Distinct != "" {
		rs.States, rs.Filled = a.plan.NewCol(r.States, String), a.plan.NewCol(r.Filled, Bool)
		known.filled = refTo(rs.Filled)
		known.same[rs.Filled.ID] = true
	}
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
			known.sums[c.ID] = true
		case name == r.Distinct:
			known.distinct[c.ID] = true
		}
	}
	var node Node = rs
	for i := len(src.steps) - 1; i >= 0; i-- {
		switch s := src.steps[i].(type) {
		case *Filter:
			for _, pred := range conjuncts(s.Pred, nil) {
				if bounds := boundsOf(pred, known.isTime); bounds != nil {
					for _, b := range bounds {
						b.narrow(&rs.From, &rs.To)
					}
					continue
				}
				pred = known.told(pred)
				if why := known.depends(pred); why != "" {
					return "the filter depends on " + why
				}
				known.few = known.few || known.picks(pred, r.Fine)
				node = &Filter{In: node, Pred: pred}
			}
		case *Extend:
			e := &Extend{In: node}
			for _, it := range s.Items {
				known.names[it.Col.ID] = it.Col.Name
				if ref, ok := it.X.(*Ref); ok {
					// A renamed column is what it was.
					known.names[it.Col.ID] = known.names[ref.ID]
					switch {
					case known.isTime(ref):
						known.times = append(known.times, it.Col.ID)
					case known.sums[ref.ID]:
						known.sums[it.Col.ID] = true
					case known.distinct[ref.ID]:
						known.distinct[it.Col.ID] = true
					}
				}
				it.X = known.told(it.X)
				if known.depends(it.X) == "" {
					known.same[it.Col.ID] = true
				} else if !known.isTime(it.X) && !known.sums[it.Col.ID] {
					continue // nothing may read it
				}
				e.Items = append(e.Items, it)
			}
			node = e
		}
	}
	if why := make(rs, known, node); why != "" {
		return why
	}
	from, to := rs.Whole(r)
	if from >= to {
		return "the range of time has no whole bucket"
	}
	if r.Finer != nil {
		if from = max(from, rs.Since); min(to, a.now()) < from+3*r.Step {
			return "the range of time has few whole buckets"
		}
	}
	if begin := a.retention(rs); r.Fine != "" && !(rs.From > 0 && rs.From < begin) {
		switch {
		case known.few:
			return "rows of few " + r.Fine + "s are found sooner by their key"
		case rs.From > 0 && min(to, a.now()) < from+3*r.Step:
			return "the range of time has few whole buckets"
		}
	}
	return ""
}

// now is the time of the query, the end of time if that is not known.
func (a *answerer) now() int64 {
	if a.opt.Now == nil {
		return MaxDatetimeTicks
	}
	return *a.opt.Now
}

// retention keeps an answer from the rollup to the time for which the table keeps
// its rows, unless the query asks for a time before it: then it says so. It
// returns the beginning of that time, 0 if it has none.
func (a *answerer) retention(rs *RollupScan) (begin int64) {
	if rs.Table.Keep == 0 || a.opt.Now == nil {
		return 0
	}
	begin = *a.opt.Now - rs.Table.Keep
	begin -= begin % TicksPerDay
	switch {
	case begin <= 0:
	case rs.From == 0:
		if from, to := begin, rs.To/rs.Rollup.Step*rs.Rollup.Step; from < to {
			rs.From = from
		}
	case rs.From < begin:
		a.plan.notice("%s keeps its rows for %d days: what is before %s comes from the counts of %s", rs.Table.Name,
			rs.Table.Keep/TicksPerDay, FormatDatetime(begin)[:10], rs.Rollup.Source)
	}
	return begin
}

func (p *Plan) notice(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range p.Notices {
		if n == text {
			return
		}
	}
	p.Notices = append(p.Notices, text)
}

// aggs returns aggregates that give over cells what list gives over rows.
func (rs *RollupScan) aggs(list []Item, known *cells) (out []Item, why string) {
	for _, it := range list {
		agg, ok := it.X.(*Agg)
		if !ok {
			return nil, "an aggregate"
		}
		x, why := rs.agg(agg, known)
		if why != "" {
			return nil, why
		}
		out = append(out, Item{Col: it.Col, X: x})
	}
	return out, ""
}

// agg returns an aggregate that gives over cells what x gives over rows.
func (rs *RollupScan) agg(x *Agg, known *cells) (*Agg, string) {
	free := func(args []Expr) string {
		for _, arg := range args {
			if why := known.depends(arg); why != "" {
				return fmt.Sprintf("%s depends on %s", x.Func.Name, why)
			}
		}
		return ""
	}
	c := *x
	c.Args = make([]Expr, len(x.Args))
	for i, arg := range x.Args {
		c.Args[i] = known.told(arg)
	}
	x = &c
	switch x.Func.Base {
	case "count", "countif", "cnt":
		c.Weight = refTo(rs.Count)
		return &c, free(x.Args)
	case "sum", "sumif":
		ref, ok := x.Args[0].(*Ref)
		if !ok || !known.sums[ref.ID] {
			return nil, fmt.Sprintf("%s adds up what the rollup does not", x.Func.Name)
		}
		return &c, free(x.Args[1:])
	case "dcount", "dcountif":
		if ref, ok := x.Args[0].(*Ref); ok && known.distinct[ref.ID] {
			c.Args[0], c.Merge = refTo(rs.States), true
			return &c, free(c.Args[1:])
		}
		return &c, free(x.Args)
	case "min", "max", "minif", "maxif", "count_distinct", "count_distinctif", "make_set", "make_set_if":
		// How often a value occurs does not matter.
		return &c, free(x.Args)
	}
	return nil, x.Func.Name + " needs every event"
}

// cells knows which columns have one value in each cell of a rollup.
type cells struct {
	same map[ColID]bool
	sums map[ColID]bool // columns that the cells have the sums of
	// distinct are names of the column whose distinct values the cells count, and
	// filled says whether it is not empty; nil if there is none.
	distinct map[ColID]bool
	filled   *Ref
	names    map[ColID]string
	time     ColID
	times    []ColID // further names of time
	step     int64
	few      bool // the filters leave few values of the rollup's finest dimension
}

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

// told returns a condition that asks whether the counted column is empty as one
// that asks the cell.
func (k *cells) told(x Expr) Expr {
	if k.filled == nil {
		return x
	}
	counted := func(x Expr) bool {
		ref, ok := x.(*Ref)
		return ok && k.distinct[ref.ID]
	}
	blank := func(x Expr) bool {
		c, ok := x.(*Const)
		return ok && c.T == String && !c.Null && c.Text == ""
	}
	switch x := x.(type) {
	case *Binary:
		switch x.Op {
		case kql.OpAnd, kql.OpOr:
			c := *x
			c.X, c.Y = k.told(x.X), k.told(x.Y)
			return &c
		case kql.OpNe:
			if counted(x.X) && blank(x.Y) || blank(x.X) && counted(x.Y) {
				return k.filled
			}
		}
	case *Call:
		if x.Func.Base == "isnotempty" && len(x.Args) == 1 && counted(x.Args[0]) {
			return k.filled
		}
	}
	return x
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
		case *Const, *Unary, *Binary, *In, *Between, *Path, *InQuery, *ScalarQuery, *ArrayQuery:
			// A subquery reads no column of the row.
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

// boundsOf returns a condition on time as bounds, nil if it is something else.
func boundsOf(x Expr, isTime func(Expr) bool) []bound {
	at := func(x Expr) (int64, bool) {
		c, ok := x.(*Const)
		return c.ticks(), ok && !c.Null && c.T == Datetime && c.Int >= 0 && c.Int <= MaxDatetimeTicks
	}
	switch x := x.(type) {
	case *Binary:
		op, l, r := x.Op, x.X, x.Y
		if isTime(r) {
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
			if t, ok := at(r); ok && isTime(l) {
				return []bound{{op, t}}
			}
		}
	case *Between:
		lo, ok := at(x.Lo)
		hi, ok2 := at(x.Hi)
		if ok && ok2 && !x.Not && isTime(x.X) {
			return []bound{{kql.OpGe, lo}, {kql.OpLe, hi}}
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

// picks says whether a condition leaves few values of a column.
func (k *cells) picks(x Expr, column string) bool {
	is := func(x Expr) bool {
		ref, ok := x.(*Ref)
		return ok && column != "" && k.names[ref.ID] == column
	}
	switch x := x.(type) {
	case *Binary:
		return x.Op == kql.OpEq && (is(x.X) && !ReadsColumns(x.Y) || is(x.Y) && !ReadsColumns(x.X))
	case *In:
		return x.Op == kql.OpIn && is(x.X)
	}
	return false
}

// conjuncts appends the conditions that x is the conjunction of.
func conjuncts(x Expr, list []Expr) []Expr {
	if b, ok := x.(*Binary); ok && b.Op == kql.OpAnd {
		return conjuncts(b.Y, conjuncts(b.X, list))
	}
	return append(list, x)
}
