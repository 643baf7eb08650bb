package plan

import (
	"fmt"
	"strconv"
	"strings"

	"hubscope/query/kql"
)

// Options are what a query is bound with besides its text.
type Options struct {
	// Parameters are the values for declare query_parameters, by name: nil, bool,
	// int, int64, float64, string, json.Number, []any, map[string]any.
	Parameters map[string]any
	// Now is the value of now(), in ticks since 0001-01-01; nil leaves it to a
	// parameter of the statement.
	Now *int64
	// Start and End bound the time column of every stored table, in ticks since
	// 0001-01-01; nil is no bound. End is excluded.
	Start, End *int64
	// Hubs restricts every stored table that has a hub column, nil does not. A
	// stored table that has neither one nor an owner is then refused.
	Hubs []string
	// Owner restricts stored tables of what users do to this user's rows, nil
	// does not.
	Owner *string
	// Discovered are the answers to the Discovery of plans bound before.
	Discovered map[string][]string
	// NoRollups reads the stored tables also where a rollup would answer.
	NoRollups bool
	// Complete says since when a rollup with a finer one holds all rows, in ticks,
	// and whether it is there at all. nil: all are there, and were always.
	Complete func(source string) (since int64, ok bool)
	// External reads the rows of externaldata, nil refuses it.
	External func(uri string) ([]byte, error)
}

// rollupsOption is the set statement that forbids rollups when it is false.
const rollupsOption = "query_rollups"

// Limits on what binding makes of a query: a few lines of KQL can call functions
// that call functions, each several times.
const (
	maxDepth   = 200
	maxColumns = 20_000
	maxCalls   = 2_000
)

// Bind binds a query to a catalog. The plan is nil when there are errors.
func Bind(q *kql.Query, cat *Catalog, opt Options) (*Plan, kql.Errors) {
	b := &binder{plan: &Plan{}, cat: cat, opt: opt, query: q}
	if opt.Now != nil {
		b.plan.Now = *opt.Now
	}
	b.scope = &scope{}
	root, ok := b.statements(q.Statements, true)
	if len(b.errs) > 0 {
		b.errs.Sort()
		return nil, dedupe(b.errs)
	}
	if !ok {
		b.errorf(kql.Span{End: len(q.Text)}, CodeContext, "the query has no tabular statement")
		return nil, b.errs
	}
	if b.plan.Discover != nil {
		return b.plan, nil
	}
	b.plan.Root, b.plan.Columns = root.node, root.cols
	ctes := b.plan.CTEs[:0]
	for _, c := range b.plan.CTEs {
		if c.Refs > 0 {
			ctes = append(ctes, c)
		}
	}
	b.plan.CTEs = ctes
	if off, ok := b.options[rollupsOption].(*Const); ok && off.T == Bool && off.Int == 0 {
		b.opt.NoRollups = true
	}
	b.plan.useRollups(b.cat, b.opt)
	return b.plan, nil
}

// dedupe drops errors that repeat another at the same place, as when a function
// with an error in it is called twice.
func dedupe(errs kql.Errors) kql.Errors {
	out := errs[:0]
	for i, e := range errs {
		same := false
		for _, o := range out {
			same = same || o.Span == e.Span && o.Message == e.Message
		}
		if i < 100 && !same {
			out = append(out, e)
		}
	}
	return out
}

type binder struct {
	plan  *Plan
	cat   *Catalog
	opt   Options
	query *kql.Query
	errs  kql.Errors

	scope *scope
	row   *rel // the columns that expressions can name, nil outside of operators
	// right is the right side inside a join condition.
	right *rel
	// level counts the enclosing subqueries, to refuse values of an outer row in
	// an inner query.
	level int
	// pre are columns that have to be computed before the expression being bound:
	// window functions inside others.
	pre []preItem
	// aggs collects the aggregates of the summarize being bound.
	aggs *aggregates
	// naming is set while names are made of expressions with aggregates.
	naming bool
	// partition are the columns that divide the rows inside partition and mv-apply.
	partition *Partition
	// scan is the scan operator whose steps are being bound.
	scan *scanScope

	depth, calls int
	// unnamed is the number of the last ColumnN given.
	unnamed    int
	options    map[string]Expr // set statements
	discovered int
}

// rel is a bound tabular expression: a node and the columns that have names.
type rel struct {
	node Node
	cols []Column
	// name is the table's name, for withsource and $table.
	name string
	// open adds a column that an open table does not declare.
	open func(name string) Column
	// arrival gives the column that ingestion_time() reads; nil when the rows are
	// not those of a stored table any more.
	arrival func() Column
	// ordered says that the rows have an order (serialized).
	ordered bool
}

// declared returns the column of this name, but none that only an open table may
// have.
func (r *rel) declared(name string) (Column, bool) {
	for i := range r.cols {
		if r.cols[i].Name == name {
			return r.cols[i], true
		}
	}
	return Column{}, false
}

func (r *rel) column(name string) (Column, bool) {
	if c, ok := r.declared(name); ok {
		return c, true
	}
	if r.open != nil {
		c := r.open(name)
		r.cols = append(r.cols[:len(r.cols):len(r.cols)], c)
		return c, true
	}
	return Column{}, false
}

// scope holds the names that let, as and function parameters declare.
type scope struct {
	outer *scope
	names map[string]*binding
}

// binding is what a name stands for: exactly one of the fields is set.
type binding struct {
	scalar Expr
	level  int // of the row that scalar refers to, 0 if to none
	table  *CTE
	rel    *rel       // of table: names, order
	part   *Partition // of table: the partition in which it was named
	fn     *function
	at     kql.Span
}

// function is a function value with the scope that its body sees.
type function struct {
	name  string
	def   *kql.Func
	scope *scope
	busy  bool
}

func (s *scope) lookup(name string) *binding {
	for ; s != nil; s = s.outer {
		if b, ok := s.names[name]; ok {
			return b
		}
	}
	return nil
}

func (s *scope) declare(name string, v *binding) {
	if s.names == nil {
		s.names = map[string]*binding{}
	}
	s.names[name] = v
}

// localNames returns the declared names that table says are tabular or not.
func (s *scope) localNames(tabular bool) []string {
	var names []string
	for ; s != nil; s = s.outer {
		for n, v := range s.names {
			if tabular == (v.table != nil) || v.fn != nil {
				names = append(names, n)
			}
		}
	}
	return names
}

func (b *binder) newCol(name string, t Type) Column {
	if b.plan.columns == maxColumns {
		b.errorf(kql.Span{}, CodeLimit, "the query makes more than %d columns", maxColumns)
	}
	return b.plan.NewCol(name, t)
}

// deeper guards recursion; every call that returns true needs a b.depth--.
func (b *binder) deeper(at kql.Span) bool {
	if b.depth >= maxDepth || b.plan.columns > maxColumns {
		b.errorf(at, CodeLimit, "the query is nested too deeply")
		return false
	}
	b.depth++
	return true
}

// statements binds the statements of a query or of a function's body and returns
// the last tabular one. ok is false if there is none.
func (b *binder) statements(list []kql.Statement, top bool) (result rel, ok bool) {
	for _, s := range list {
		if b.plan.Discover != nil {
			return result, ok
		}
		switch s := s.(type) {
		case *kql.LetStatement:
			b.let(s)
		case *kql.ExprStatement:
			if _, bad := s.X.(*kql.Bad); bad {
				continue
			}
			if !b.tabularExpr(s.X) {
				if x := b.expr(s.X); x.Type() != Unknown {
					c := b.newCol("print_0", x.Type())
					result, ok = rel{node: &Extend{In: &Unit{}, Items: []Item{{c, x}}}, cols: []Column{c}, ordered: true}, true
				}
				continue
			}
			result, ok = b.tabular(s.X), true
		case *kql.SetStatement:
			b.set(s)
		case *kql.ParamsStatement:
			b.parameters(s)
		case *kql.AliasStatement:
			b.unsupported(s.Span, "alias statements")
		case *kql.PatternStatement:
			b.unsupported(s.Span, "patterns")
		case *kql.RestrictStatement:
			b.unsupported(s.Span, "restrict statements")
		}
	}
	return result, ok
}

func (b *binder) set(s *kql.SetStatement) {
	if b.options == nil {
		b.options = map[string]Expr{}
	}
	var v Expr = &Const{T: Bool, Int: 1}
	if s.Value != nil {
		if r, ok := s.Value.(*kql.Ref); ok && b.scope.lookup(r.Text) == nil {
			v = &Const{T: String, Text: r.Text}
		} else {
			v = b.expr(s.Value)
		}
	}
	b.options[s.Name.Text] = v
	if c, ok := v.(*Const); ok && !c.Null {
		if b.plan.Set == nil {
			b.plan.Set = map[string]*Const{}
		}
		b.plan.Set[s.Name.Text] = c
	}
}

func (b *binder) let(s *kql.LetStatement) {
	if b.scope.names[s.Name.Text] != nil {
		b.errorf(s.Name.Span, CodeDuplicate, "the name %q is declared twice", s.Name.Text)
		return
	}
	v := &binding{at: s.Name.Span}
	switch value := kql.Unparen(s.Value).(type) {
	case *kql.Func:
		v.fn = &function{name: s.Name.Text, def: value, scope: b.scope}
	case *kql.EntityGroup:
		b.unsupported(value.Span, "entity groups")
		return
	case *kql.Bad:
		return
	default:
		if fn := b.functionValue(value); fn != nil {
			v.fn = fn
			break
		}
		if b.tabularExpr(value) {
			r := b.tabular(value)
			if b.plan.Discover != nil {
				return
			}
			v = b.named(s.Name.Text, r)
			v.at = s.Name.Span
		} else {
			v.scalar = b.expr(value)
		}
	}
	b.scope.declare(s.Name.Text, v)
}

// functionValue returns the function that a let gives a second name to.
func (b *binder) functionValue(e kql.Expr) *function {
	r, ok := e.(*kql.Ref)
	if !ok {
		return nil
	}
	if v := b.scope.lookup(r.Text); v != nil && v.fn != nil && len(v.fn.def.Params) > 0 {
		return v.fn
	}
	return nil
}

// named makes a relation something that can be referred to several times.
func (b *binder) named(name string, r rel) *binding {
	if ref, ok := r.node.(*CTERef); ok && len(ref.Cols) == len(r.cols) && r.open == nil {
		same := true
		for i := range ref.Cols {
			same = same && ref.Cols[i].ID == r.cols[i].ID
		}
		if same { // let a = b;
			named := r
			return &binding{table: ref.CTE, rel: &named}
		}
	}
	c := &CTE{Name: name, Root: r.node, Cols: r.cols}
	b.plan.CTEs = append(b.plan.CTEs, c)
	return &binding{table: c, rel: &r}
}

// reference returns a use of a named relation, with columns of its own.
func (b *binder) reference(v *binding) rel {
	c := v.table
	c.Refs++
	cols := make([]Column, len(c.Cols))
	for i, col := range c.Cols {
		cols[i] = b.newCol(v.rel.cols[i].Name, col.Type)
	}
	ref := &CTERef{CTE: c, Cols: cols}
	r := rel{node: ref, cols: cols, ordered: v.rel.ordered, name: v.rel.name}
	if v.rel.open != nil {
		r.open = func(name string) Column {
			inner := v.rel.open(name)
			v.rel.cols = append(v.rel.cols[:len(v.rel.cols):len(v.rel.cols)], inner)
			c.Cols = v.rel.cols
			outer := b.newCol(name, Unknown)
			// Uses made before do not see the column; they are shorter.
			for len(ref.Cols) < len(c.Cols)-1 {
				ref.Cols = append(ref.Cols[:len(ref.Cols):len(ref.Cols)], b.newCol(c.Cols[len(ref.Cols)].Name, Unknown))
			}
			ref.Cols = append(ref.Cols[:len(ref.Cols):len(ref.Cols)], outer)
			return outer
		}
	}
	return r
}

// parameters binds declare query_parameters to the values of the request.
func (b *binder) parameters(s *kql.ParamsStatement) {
	for _, p := range s.Params {
		if p.Type == nil {
			b.unsupported(p.Span, "tabular query parameters")
			continue
		}
		t := b.typeOf(p.Type)
		var x Expr
		if v, ok := b.opt.Parameters[p.Name.Text]; ok {
			c, err := paramConst(t, v)
			if err != nil {
				b.errorf(p.Name.Span, CodeParameter, "query parameter %s: %v", p.Name.Text, err)
				c = &Const{T: t, Null: true}
			}
			x = c
		} else if p.Default != nil {
			x = b.convert(b.expr(p.Default), t)
		} else {
			b.errorf(p.Name.Span, CodeParameter, "query parameter %s has no value", p.Name.Text)
			x = &Const{T: t, Null: true}
		}
		b.scope.declare(p.Name.Text, &binding{scalar: x, at: p.Name.Span})
	}
}

func (b *binder) typeOf(t *kql.Type) Type {
	if t == nil {
		return String
	}
	got, ok := TypeByName(t.Name)
	if !ok {
		b.errorf(t.Span, CodeType, "there is no type %q", t.Name).Hint = didYouMean(t.Name, typeNames[1:])
		return Unknown
	}
	return got
}

// tabularExpr says whether an expression produces rows.
func (b *binder) tabularExpr(e kql.Expr) bool {
	switch e := kql.Unparen(e).(type) {
	case *kql.Pipe, *kql.DataTable, *kql.ExternalData:
		return true
	case *kql.Ref:
		if v := b.scope.lookup(e.Text); v != nil {
			return v.table != nil || v.fn != nil && b.tabularBody(v.fn)
		}
		if b.row != nil {
			if _, ok := b.row.column(e.Text); ok {
				return false
			}
		}
		return b.cat.Table(e.Text) != nil || b.row == nil
	case *kql.Call:
		switch e.Func.Text {
		case "materialize", "table", "totable", "union":
			return b.scope.lookup(e.Func.Text) == nil
		}
		if v := b.scope.lookup(e.Func.Text); v != nil && v.fn != nil {
			return b.tabularBody(v.fn)
		}
		if scalarFuncs[e.Func.Text] == nil && aggregateFuncs[e.Func.Text] == nil && !unsupportedFuncs[e.Func.Text] {
			return false
		}
	case *kql.Path:
		if c, ok := kql.Unparen(e.X).(*kql.Call); ok {
			switch c.Func.Text {
			case "database", "cluster", "workspace", "app", "adx", "arg":
				return true
			}
		}
		if p, ok := kql.Unparen(e.X).(*kql.Path); ok {
			return b.tabularExpr(p)
		}
	}
	return false
}

// tabularBody says whether a function returns rows.
func (b *binder) tabularBody(f *function) bool {
	if f.def.Body == nil || f.def.Body.X == nil || f.busy {
		return false
	}
	x := kql.Unparen(f.def.Body.X)
	var name string
	switch x := x.(type) {
	case *kql.Ref:
		name = x.Text
	case *kql.Call:
		name = x.Func.Text
	}
	if name != "" {
		for _, p := range f.def.Params {
			if p.Name.Text == name {
				return p.Schema != nil
			}
		}
		for _, s := range f.def.Body.Statements {
			if l, ok := s.(*kql.LetStatement); ok && l.Name.Text == name {
				saved := *b
				b.scope, b.row = f.scope, nil
				f.busy = true
				t := b.tabularExpr(l.Value)
				f.busy = false
				b.scope, b.row = saved.scope, saved.row
				return t
			}
		}
	}
	scope, row := b.scope, b.row
	b.scope, b.row = f.scope, nil
	f.busy = true
	t := b.tabularExpr(x)
	f.busy = false
	b.scope, b.row = scope, row
	return t
}

// tabular binds an expression that produces rows.
func (b *binder) tabular(e kql.Expr) rel {
	none := rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}
	if !b.deeper(e.Range()) {
		return none
	}
	defer func() { b.depth-- }()
	switch e := e.(type) {
	case *kql.Paren:
		return b.tabular(e.X)
	case *kql.Pipe:
		return b.pipe(e, nil)
	case *kql.DataTable:
		return b.datatable(e)
	case *kql.ExternalData:
		return b.externaldata(e)
	case *kql.Ref:
		if v := b.scope.lookup(e.Text); v != nil {
			switch {
			case v.part != nil:
				b.unsupported(e.Span, "rows that as names inside partition or mv-apply")
				return none
			case v.table != nil:
				return b.reference(v)
			case v.fn != nil && b.tabularBody(v.fn):
				return b.callTabular(&kql.Call{Span: e.Span, Func: e.Name}, v.fn, nil)
			}
			b.errorf(e.Span, CodeType, "%s is not a table", e.Text)
			return none
		}
		if t := b.cat.Table(e.Text); t != nil {
			return b.scanTable(t, e.Span)
		}
		if !strings.HasPrefix(e.Text, "$") {
			b.unknownTable(e.Span, e.Text)
		}
		return none
	case *kql.Call:
		return b.tabularCall(e, none)
	case *kql.Path:
		if r, ok := b.entity(e); ok {
			return r
		}
		return none
	case *kql.Unsupported:
		b.unsupported(e.Span, e.What)
		return none
	case *kql.Bad:
		return none
	}
	b.errorf(e.Range(), CodeType, "a table was expected here")
	return none
}

func (b *binder) unknownTable(at kql.Span, name string) {
	e := b.errorf(at, CodeUnknownName, "no table or view %q", name)
	e.Hint = didYouMean(name, b.cat.tableNames(), b.scope.localNames(true))
	if unsupportedFuncs[name] {
		e.Hint = ""
	}
}

func (b *binder) tabularCall(e *kql.Call, none rel) rel {
	name := e.Func.Text
	if v := b.scope.lookup(name); v != nil {
		switch {
		case v.fn != nil:
			return b.callTabular(e, v.fn, nil)
		case v.table != nil && len(e.Args) == 0:
			return b.reference(v)
		}
		b.errorf(e.Func.Span, CodeType, "%s is not a function", name)
		return none
	}
	switch name {
	case "materialize", "totable":
		if len(e.Args) != 1 {
			b.errorf(e.Span, CodeArguments, "%s takes one tabular argument", name)
			return none
		}
		r := b.tabularArg(e.Args[0])
		if name == "materialize" {
			v := b.named("materialized", r)
			return b.reference(v)
		}
		return r
	case "table":
		if len(e.Args) == 0 {
			b.errorf(e.Span, CodeArguments, "table takes the name of a table")
			return none
		}
		c, ok := b.expr(e.Args[0]).(*Const)
		if !ok || c.T != String {
			b.errorf(e.Args[0].Range(), CodeConstant, "the name of a table has to be a constant string")
			return none
		}
		return b.tabular(&kql.Ref{Name: kql.Name{Span: e.Args[0].Range(), Text: c.Text}})
	case "union":
		return b.tabular(&kql.Pipe{Span: e.Span, Ops: []kql.Operator{&kql.UnionOp{Span: e.Span, Tables: e.Args}}})
	}
	if unsupportedFuncs[name] {
		b.unsupported(e.Func.Span, "the function "+name)
		return none
	}
	if t := b.cat.Table(name); t != nil && len(e.Args) == 0 {
		return b.scanTable(t, e.Span)
	}
	if scalarFuncs[name] != nil {
		b.errorf(e.Span, CodeType, "%s returns a value, not a table", name)
		return none
	}
	b.unknownFunction(e.Func)
	return none
}

// tabularArg binds a tabular argument outside of any row.
func (b *binder) tabularArg(e kql.Expr) rel {
	row, right, aggs, partition := b.row, b.right, b.aggs, b.partition
	b.row, b.right, b.aggs, b.partition = nil, nil, nil, nil
	b.level++
	r := b.tabular(e)
	b.level--
	b.row, b.right, b.aggs, b.partition = row, right, aggs, partition
	return r
}

// entity binds database("d").T and cluster("c").database("d").T when they mean
// our own database.
func (b *binder) entity(e *kql.Path) (rel, bool) {
	x := kql.Unparen(e.X)
	if p, ok := x.(*kql.Path); ok {
		if c, ok := kql.Unparen(p.X).(*kql.Call); ok && c.Func.Text == "cluster" {
			x = p.Sel
		}
	}
	c, ok := x.(*kql.Call)
	if !ok {
		b.errorf(e.Span, CodeType, "a table was expected here")
		return rel{}, false
	}
	switch c.Func.Text {
	case "database":
		name := b.cat.Database
		if len(c.Args) > 0 {
			if lit, ok := c.Args[0].(*kql.Literal); ok {
				name = lit.Text
			}
		}
		if !strings.EqualFold(name, b.cat.Database) {
			b.errorf(c.Span, CodeUnknownName, "no database %q", name)
			return rel{}, false
		}
		return b.tabular(e.Sel), true
	default:
		b.unsupported(c.Func.Span, "the function "+c.Func.Text)
		return rel{}, false
	}
}

// scanTable reads a stored table, within the bounds of the request.
func (b *binder) scanTable(t *Table, at kql.Span) rel {
	s := &Scan{Table: t, Cols: make([]Column, len(t.Columns)), Index: make([]int, len(t.Columns))}
	base := b.plan.columns
	b.plan.columns += len(t.Columns)
	for i := range t.Columns {
		c := &t.Columns[i]
		s.Cols[i] = Column{ID: ColID(base + i + 1), Name: c.Name, Type: c.Type}
		s.Index[i] = i
	}
	known := false
	for _, o := range b.plan.Tables {
		known = known || o == t
	}
	if !known {
		b.plan.Tables = append(b.plan.Tables, t)
	}
	r := rel{node: s, cols: s.Cols, name: t.Name}
	if t.Arrival != "" || t.Open {
		r.arrival = func() Column {
			if s.Arrival == nil {
				c := b.newCol(t.Arrival, Datetime)
				s.Arrival = &c
			}
			return *s.Arrival
		}
	}
	if t.Open {
		r.open = func(name string) Column {
			for _, c := range s.Extra {
				if c.Name == name {
					return c
				}
			}
			c := b.newCol(name, Unknown)
			s.Extra = append(s.Extra, c)
			if b.plan.undeclared == nil {
				b.plan.undeclared = map[string]bool{}
			}
			b.plan.undeclared[name] = true
			return c
		}
	}
	owner := t.Column(t.Owner)
	if b.opt.Owner != nil && owner >= 0 {
		r.node = &Filter{In: r.node, Pred: &In{Op: kql.OpIn, X: refTo(s.Cols[owner]), List: []Expr{&Const{T: String, Text: *b.opt.Owner}}}}
	}
	if b.opt.Hubs != nil && (owner < 0 || b.opt.Owner == nil) {
		i := t.Column(t.Hub)
		if i < 0 {
			b.errorf(at, CodeContext, "table %s is not open to this token, which is restricted to hubs", t.Name)
			return r
		}
		in := &In{Op: kql.OpIn, X: refTo(s.Cols[i])}
		for _, h := range b.opt.Hubs {
			if t.UpperHub {
				h = upperASCII(h)
			}
			in.List = append(in.List, &Const{T: String, Text: h})
		}
		r.node = &Filter{In: r.node, Pred: in}
	}
	if i := t.Column(t.Time); i >= 0 {
		ref := refTo(s.Cols[i])
		if b.opt.Start != nil {
			r.node = &Filter{In: r.node, Pred: &Binary{Op: kql.OpGe, X: ref, Y: &Const{T: Datetime, Int: *b.opt.Start}, T: Bool}}
		}
		if b.opt.End != nil {
			r.node = &Filter{In: r.node, Pred: &Binary{Op: kql.OpLt, X: ref, Y: &Const{T: Datetime, Int: *b.opt.End}, T: Bool}}
		}
	}
	return r
}

// upperASCII is ClickHouse's upper().
func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// ColumnCount is the number of column ids in the plan; ids count from 1.
func (p *Plan) ColumnCount() int { return p.columns }

func refTo(c Column) *Ref { return &Ref{ID: c.ID, T: c.Type, Name: c.Name} }

// callTabular calls a user's function that returns rows. first, if not nil, is
// the relation that invoke passes as the first argument.
func (b *binder) callTabular(c *kql.Call, f *function, first *rel) rel {
	none := rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}
	inner, ok := b.enter(c, f, first)
	if !ok {
		return none
	}
	saved := *b
	b.scope, b.row, b.right, b.aggs, b.partition = inner, nil, nil, nil, nil
	b.level++
	f.busy = true
	b.statements(f.def.Body.Statements, false)
	r := none
	if f.def.Body.X != nil && b.plan.Discover == nil {
		if b.tabularExpr(f.def.Body.X) {
			r = b.tabular(f.def.Body.X)
		} else {
			b.errorf(c.Span, CodeType, "%s returns a value, not a table", f.name)
		}
	}
	f.busy = false
	b.leave(&saved)
	if r.name == "" {
		r.name = f.name
	}
	return r
}

// leave restores what enter and its callers changed, but keeps what binding the
// body produced.
func (b *binder) leave(saved *binder) {
	b.scope, b.row, b.right, b.aggs, b.partition, b.level = saved.scope, saved.row, saved.right, saved.aggs, saved.partition, saved.level
}

// enter binds a call's arguments to a function's parameters and returns the
// scope of its body.
func (b *binder) enter(c *kql.Call, f *function, first *rel) (*scope, bool) {
	if b.calls++; b.calls > maxCalls {
		b.errorf(c.Span, CodeLimit, "the query calls functions more than %d times", maxCalls)
		return nil, false
	}
	if f.busy {
		b.errorf(c.Span, CodeContext, "function %s calls itself", f.name)
		return nil, false
	}
	if f.def.Body == nil {
		return nil, false
	}
	inner := &scope{outer: f.scope}
	params := f.def.Params
	used := make([]kql.Expr, len(params))
	next, offset := 0, 0
	if first != nil {
		next, offset = 1, 1
		if len(params) == 0 || params[0].Schema == nil {
			b.errorf(c.Span, CodeArguments, "function %s takes no tabular argument", f.name)
			return nil, false
		}
	}
	for k, a := range c.Args {
		if n, ok := a.(*kql.Named); ok && len(n.Names) == 1 {
			found := false
			for i, p := range params {
				if p.Name.Text == n.Names[0].Text {
					used[i], found = n.X, true
				}
			}
			if !found {
				b.errorf(n.Names[0].Span, CodeArguments, "function %s has no parameter %q", f.name, n.Names[0].Text)
			}
			continue
		}
		// After a named argument, one without a name stands for its own place.
		if at := k + offset; at > next {
			next = at
		}
		for next < len(params) && used[next] != nil {
			next++
		}
		if next >= len(params) {
			b.errorf(a.Range(), CodeArguments, "function %s takes %s, not %d", f.name, count(len(params), "argument"), len(c.Args))
			return nil, false
		}
		used[next] = a
		next++
	}
	for i, p := range params {
		if i == 0 && first != nil {
			b.tabularParam(inner, f, p, *first, c.Span)
			continue
		}
		a := used[i]
		switch {
		case p.Schema != nil && a == nil:
			b.errorf(c.Span, CodeArguments, "function %s: the table %s is missing", f.name, p.Name.Text)
			return nil, false
		case p.Schema != nil:
			b.tabularParam(inner, f, p, b.tabularArg(a), a.Range())
		case a != nil:
			t := b.typeOf(p.Type)
			x := b.expr(a)
			if !assignable(x.Type(), t) {
				b.errorf(a.Range(), CodeType, "function %s: %s has the type %s, not %s", f.name, p.Name.Text, t, x.Type())
			}
			level := 0
			if b.row != nil && ReadsColumns(x) {
				level = b.level
				if level == 0 {
					level = -1
				}
			}
			inner.declare(p.Name.Text, &binding{scalar: b.convert(x, t), level: level, at: p.Name.Span})
		case p.Default != nil:
			row := b.row
			b.row = nil
			inner.declare(p.Name.Text, &binding{scalar: b.convert(b.expr(p.Default), b.typeOf(p.Type)), at: p.Name.Span})
			b.row = row
		default:
			b.errorf(c.Span, CodeArguments, "function %s: the argument %s is missing", f.name, p.Name.Text)
			return nil, false
		}
	}
	return inner, true
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// tabularParam declares a table that was passed to a function. With a schema,
// only the declared columns are visible; (*) takes any.
func (b *binder) tabularParam(inner *scope, f *function, p *kql.FuncParam, r rel, at kql.Span) {
	for _, want := range p.Schema.Columns {
		c, ok := r.column(want.Name.Text)
		if !ok {
			b.errorf(at, CodeArguments, "function %s: table %s needs a column %q", f.name, p.Name.Text, want.Name.Text)
			continue
		}
		if t := b.typeOf(want.Type); c.Type != t && c.Type != Unknown && t != Unknown {
			b.errorf(at, CodeType, "function %s: column %s of table %s has the type %s, not %s", f.name, want.Name.Text, p.Name.Text, t, c.Type)
		}
	}
	v := b.named(p.Name.Text, r)
	inner.declare(p.Name.Text, v)
}

// callScalar calls a user's function that returns a value.
func (b *binder) callScalar(c *kql.Call, f *function) Expr {
	inner, ok := b.enter(c, f, nil)
	if !ok || !b.deeper(c.Span) {
		return &Const{Null: true}
	}
	saved := *b
	b.scope, b.row, b.right, b.aggs = inner, nil, nil, nil
	f.busy = true
	b.statements(f.def.Body.Statements, false)
	var x Expr = &Const{Null: true}
	if f.def.Body.X == nil {
		b.errorf(c.Span, CodeType, "function %s returns nothing", f.name)
	} else if b.plan.Discover == nil {
		x = b.expr(f.def.Body.X)
	}
	f.busy = false
	b.leave(&saved)
	b.depth--
	return x
}

// assignable says whether a value of one type may be given where another is
// declared.
func assignable(from, to Type) bool {
	switch {
	case from == to, from == Unknown, to == Unknown, from == Dynamic, to == Dynamic:
		return true
	case to == Real, to == Decimal:
		return from.Numeric()
	case to == Long, to == Int:
		return from.Integer()
	}
	return false
}

// convert makes x a value of type t.
func (b *binder) convert(x Expr, t Type) Expr {
	from := x.Type()
	if from == t || t == Unknown || from == Unknown && t != Dynamic {
		return x
	}
	if c, ok := x.(*Const); ok {
		if f, ok := foldConvert(c, t); ok {
			return f
		}
	}
	name := ""
	switch t {
	case Bool:
		name = "tobool"
	case Int:
		name = "toint"
	case Long:
		name = "tolong"
	case Real:
		name = "toreal"
	case Decimal:
		name = "todecimal"
	case Datetime:
		name = "todatetime"
	case Timespan:
		name = "totimespan"
	case GUID:
		name = "toguid"
	case String:
		name = "tostring"
	case Dynamic:
		return &Call{Func: toDynamic, Args: []Expr{x}, T: Dynamic}
	}
	return &Call{Func: scalarFuncs[name], Args: []Expr{x}, T: t}
}

// toDynamic makes a dynamic value of a scalar: unlike todynamic, a string stays
// a string.
var toDynamic = internalFunc("todynamic value")

// Internal returns the functions that are not in the language and that binding
// makes calls of.
func Internal() []*Func { return internalFuncs }

var internalFuncs []*Func

func internalFunc(name string) *Func {
	f := &Func{Name: name, Base: name, Group: "internal", ID: len(functionTable) + len(internalFuncs)}
	internalFuncs = append(internalFuncs, f)
	return f
}

// datatable binds a constant table.
func (b *binder) datatable(e *kql.DataTable) rel {
	v := &Values{}
	for _, c := range e.Schema.Columns {
		v.Cols = append(v.Cols, b.newCol(c.Name.Text, b.typeOf(c.Type)))
	}
	r := rel{node: v, cols: v.Cols, ordered: true}
	if len(v.Cols) == 0 {
		return r
	}
	if len(e.Values)%len(v.Cols) != 0 {
		b.errorf(e.Span, CodeArguments, "the datatable has %s, which is no multiple of its %s", count(len(e.Values), "value"), count(len(v.Cols), "column"))
		return r
	}
	cells := make([]Expr, len(e.Values))
	row := b.row
	b.row = nil
	for i, x := range e.Values {
		t := v.Cols[i%len(v.Cols)].Type
		val := b.expr(x)
		if !isConstant(val) {
			b.errorf(x.Range(), CodeConstant, "a value of a datatable has to be a constant")
		}
		cells[i] = b.convert(val, t)
	}
	b.row = row
	for i := 0; i < len(cells); i += len(v.Cols) {
		v.Rows = append(v.Rows, cells[i:i+len(v.Cols):i+len(v.Cols)])
	}
	return r
}

// pipe binds a pipeline. from, if not nil, is its input when it has no source.
func (b *binder) pipe(e *kql.Pipe, from *rel) rel {
	var r rel
	ops := e.Ops
	switch {
	case e.Source != nil:
		r = b.tabular(e.Source)
	case from != nil:
		r = *from
	case len(ops) > 0:
		var ok bool
		if r, ok = b.source(ops[0]); !ok {
			return r
		}
		ops = ops[1:]
	}
	for _, op := range ops {
		if b.plan.Discover != nil {
			return r
		}
		r = b.operator(op, r)
	}
	return r
}

// input returns a node with the columns that were found to be needed before the
// operator on top of it.
func (b *binder) input(n Node) Node {
	for _, it := range b.pre {
		if it.scan != nil {
			it.scan.In = n
			n = it.scan
			continue
		}
		n = &Extend{In: n, Items: []Item{it.item}}
	}
	b.pre = nil
	return n
}

// before makes a column of an expression that has to be computed first.
func (b *binder) before(x Expr) *Ref {
	c := b.newCol("before", x.Type())
	b.pre = append(b.pre, preItem{item: Item{Col: c, X: x}})
	return refTo(c)
}

// preScan adds a fold to what is computed first.
func (b *binder) preScan(s *Scanner) { b.pre = append(b.pre, preItem{scan: s}) }

// preItem is a column, or several that a fold makes.
type preItem struct {
	item Item
	scan *Scanner
}

// internalf panics on a bug: a form that the parser does not make.
func internalf(format string, args ...any) {
	panic("plan: " + fmt.Sprintf(format, args...))
}
