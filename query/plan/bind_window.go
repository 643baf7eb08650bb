package plan

import "hubscope/query/kql"

// Window functions that are made of others.
var (
	changed    = windowFunc("changed")     // the value differs from the row before's
	runningMax = windowFunc("running max") // largest value so far
)

func windowFunc(name string) *Func {
	f := internalFunc(name)
	f.Group = "window"
	return f
}

// window completes the call of a function over a serialized row set. ClickHouse
// has no window function inside another: what an argument needs is computed
// before, and a restart divides the rows by the number of restarts so far.
func (b *binder) window(e *kql.Call, c *Call) Expr {
	if b.aggs != nil || b.row == nil {
		b.errorf(e.Span, CodeContext, "%s works on the rows of extend, project, serialize or where", c.Func.Name)
		return c
	}
	if !b.row.ordered && b.partition == nil {
		b.errorf(e.Span, CodeContext, "%s needs rows in an order", c.Func.Name).Hint = "put sort by or serialize before it"
	}
	for i, a := range c.Args {
		if hasWindow(a) {
			c.Args[i] = b.before(a)
		}
	}
	c.Partition = b.partition
	restart := -1
	switch c.Func.Base {
	case "row_number", "row_cumsum", "row_rank_dense", "row_rank_min":
		restart = 1
	case "row_window_session":
		restart = 3
	}
	if restart >= 0 && restart < len(c.Args) {
		r := c.Args[restart]
		c.Args = c.Args[:restart]
		if k, ok := r.(*Const); !ok || k.Int != 0 {
			if c.Func.Base == "row_window_session" {
				return b.session(c, r)
			}
			starts := &Call{Func: scalarFuncs["iff"], Args: []Expr{r, &Const{T: Long, Int: 1}, &Const{T: Long}}, T: Long}
			run := b.before(&Call{Func: scalarFuncs["row_cumsum"], Args: []Expr{starts}, T: Long, Partition: c.Partition})
			p := Partition{Keys: []ColID{run.ID}}
			if c.Partition != nil {
				p.Keys = append(p.Keys, c.Partition.Keys...)
			}
			c.Partition = &p
		}
	}
	switch c.Func.Base {
	case "row_window_session":
		return b.session(c, nil)
	case "row_rank_dense", "row_rank_min":
		differs := b.before(&Call{Func: changed, Args: c.Args[:1], T: Bool, Partition: c.Partition})
		if c.Func.Base == "row_rank_dense" {
			one := &Call{Func: scalarFuncs["iff"], Args: []Expr{differs, &Const{T: Long, Int: 1}, &Const{T: Long}}, T: Long}
			return &Call{Func: scalarFuncs["row_cumsum"], Args: []Expr{one}, T: Long, Partition: c.Partition}
		}
		number := b.before(&Call{Func: scalarFuncs["row_number"], T: Long, Partition: c.Partition})
		first := &Call{Func: scalarFuncs["iff"], Args: []Expr{differs, number, &Const{T: Long}}, T: Long}
		return &Call{Func: runningMax, Args: []Expr{first}, T: Long, Partition: c.Partition}
	}
	return c
}

// beforehand makes a column of an expression with a window function in it, for
// the operators in which ClickHouse takes none.
func (b *binder) beforehand(x Expr) Expr {
	if !hasWindow(x) {
		return x
	}
	return b.before(x)
}

func hasWindow(x Expr) bool {
	found := false
	WalkExpr(x, func(x Expr) bool {
		if c, ok := x.(*Call); ok && c.Func.Window() {
			found = true
		}
		return !found
	})
	return found
}

// session binds row_window_session: a fold over the rows, as the start of a
// session depends on that of the one before.
func (b *binder) session(c *Call, restart Expr) Expr {
	value := b.before(c.Args[0])
	start := b.newCol("session", Datetime)
	last := b.newCol("last", Datetime)
	ref := func(col Column) Expr { return &ScanRef{Step: 0, ID: col.ID, T: col.Type} }
	far := func(from Expr, limit Expr) Expr {
		return &Binary{Op: kql.OpGt, X: &Binary{Op: kql.OpSub, X: value, Y: from, T: Timespan}, Y: limit, T: Bool}
	}
	begins := Expr(&Call{Func: scalarFuncs["isnull"], Args: []Expr{ref(start)}, T: Bool})
	or := func(x Expr) { begins = &Binary{Op: kql.OpOr, X: begins, Y: x, T: Bool} }
	or(far(ref(start), c.Args[1]))
	or(far(ref(last), c.Args[2]))
	if restart != nil {
		or(b.before(restart))
	}
	s := &Scanner{
		Partition: nil,
		State:     []ScanVar{{Col: start, Default: &Const{T: Datetime, Null: true}}, {Col: last, Default: &Const{T: Datetime, Null: true}}},
		Steps: []ScanStep{{Name: "s", Output: "all", Cond: &Const{T: Bool, Int: 1}, Assigns: []Item{
			{Col: start, X: &Call{Func: scalarFuncs["iff"], Args: []Expr{begins, value, ref(start)}, T: Datetime}},
			{Col: last, X: value},
		}}},
	}
	if b.partition != nil {
		for _, id := range b.partition.Keys {
			s.Partition = append(s.Partition, &Ref{ID: id})
		}
	}
	b.preScan(s)
	return refTo(start)
}
