package query

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"hubscope/ingest"
	"hubscope/query/chsql"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// Feed hands out the events of the streams as they are written.
// [hubscope/ingest/stream.Feed] is the one of NATS.
type Feed interface {
	// Follow yields events from start on until ctx is done, the first segment as
	// soon as nothing written later can be missed. An error is the last yielded.
	Follow(ctx context.Context, start ingest.Start) iter.Seq2[*ingest.Segment, error]
}

// TailTable is the table that can be followed.
const TailTable = "Connections"

// tailOperators are the operators that look at one row at a time and that Tail
// knows.
var tailOperators = []string{"where", "filter", "extend", "project"}

// CodeTail is the code of queries that cannot be followed.
const CodeTail = "SEM0500"

// tailSource is the name of the table that holds the events being looked at.
const tailSource = "hubscope_tail"

// tailTime and tailMemory bound the work on one segment.
const (
	tailTime   = 30 * time.Second
	tailMemory = 1 << 30
)

// Tail is a query over events as they come. The events are given to ClickHouse
// as the contents of a temporary table, so that all functions and operators
// mean what they mean in other queries. It is safe for concurrent use.
type Tail struct {
	Columns []Column
	// Whole says that the result has every column of the table, maybe others too.
	Whole bool

	runner Runner
	sql    string
	input  []inputColumn
}

// inputColumn is a column that the query reads, and where it comes from.
type inputColumn struct {
	Column
	source *ingest.Column // nil: the time of arrival
	null   bool           // 0 is null
}

// Input is a table that exists for one statement.
type Input struct {
	Name    string
	Columns []Column
	Batch   *Batch
}

// Tail compiles a query that follows Connections with where, extend and project.
// An empty text stands for the table alone. The error is a kql.Errors when the
// text is at fault, an *Error otherwise.
func (e *Engine) Tail(req Request) (*Tail, error) {
	if e.runner == nil {
		return nil, &Error{Code: CodeUnavailable, Message: "there is no ClickHouse to run on"}
	}
	text := req.Text
	if strings.TrimSpace(text) == "" {
		text = TailTable
	}
	tree, errs := kql.Parse(text)
	if len(errs) == 0 {
		errs = e.checkTail(tree)
	}
	if len(errs) > 0 {
		errs.Sort()
		return nil, errs
	}
	catalog, err := e.tailCatalog()
	if err != nil {
		return nil, err
	}
	opt := e.options(req, nil, true)
	opt.External = nil
	p, errs := plan.Bind(tree, catalog, opt)
	if len(errs) > 0 {
		return nil, errs
	}
	if !rowwise(p) {
		return nil, kql.Errors{{Span: kql.Span{End: len(text)}, Code: CodeTail,
			Message: "tail looks at events one by one; this query needs more than the event at hand"}}
	}
	t := &Tail{Columns: columns(p), runner: e.runner, sql: chsql.Generate(p).SQL}
	have := map[string]bool{}
	for _, c := range t.Columns {
		have[c.Name] = true
	}
	t.Whole = true
	table := catalog.Table(TailTable)
	for _, c := range table.Columns {
		t.Whole = t.Whole && have[c.Name]
		// A column that is read is named in the SQL.
		if strings.Contains(t.sql, c.Name) {
			t.input = append(t.input, inputColumn{Column{c.Name, c.Type}, ingest.ColumnNamed(c.Name), c.Nullable})
		}
	}
	if a := table.Arrival; a != "" && strings.Contains(t.sql, a) || len(t.input) == 0 {
		t.input = append(t.input, inputColumn{Column: Column{a, plan.Datetime}})
	}
	return t, nil
}

// tailCatalog is the catalog with the followed table in its temporary form:
// everything in place, and no rollups.
func (e *Engine) tailCatalog() (*plan.Catalog, error) {
	var tables []*plan.Table
	for _, t := range e.catalog.Tables() {
		if t.Name != TailTable {
			continue
		}
		followed := &plan.Table{Name: t.Name, Doc: t.Doc, Source: tailSource, Time: t.Time, Hub: t.Hub, Arrival: t.Arrival}
		for _, c := range t.Columns {
			if ingest.ColumnNamed(c.Name) == nil {
				continue // not of the events
			}
			followed.Columns = append(followed.Columns, plan.TableColumn{Name: c.Name, Type: c.Type, Doc: c.Doc, Nullable: c.Nullable})
		}
		tables = append(tables, followed)
	}
	return plan.NewCatalog(e.catalog.Database, tables)
}

// checkTail refuses by its name and place what cannot be followed.
func (e *Engine) checkTail(tree *kql.Query) kql.Errors {
	var errs kql.Errors
	refuse := func(at kql.Span, hint, format string, args ...any) {
		errs = append(errs, &kql.Error{Span: at, Code: CodeTail, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	const known = "tail knows where, extend and project"
	named := map[string]bool{}
	for _, s := range tree.Statements {
		if l, ok := s.(*kql.LetStatement); ok {
			named[l.Name.Text] = true
		}
	}
	source := func(x kql.Expr) {
		r, ok := kql.Unparen(x).(*kql.Ref)
		if ok && r.Text != TailTable && !named[r.Text] && e.catalog.Table(r.Text) != nil {
			refuse(r.Span, "it follows "+TailTable, "tail does not support the table %s", r.Text)
		}
	}
	kql.Walk(tree, func(n kql.Node) bool {
		switch n := n.(type) {
		case *kql.ExprStatement:
			source(n.X)
		case *kql.LetStatement:
			source(n.Value)
		case *kql.Pipe:
			source(n.Source)
			for _, op := range n.Ops {
				if word := op.Word(); !slices.Contains(tailOperators, word) {
					at := op.Range()
					at.End = min(at.Start+len(word), at.End)
					refuse(at, known, "tail does not support the operator %s", word)
				}
			}
		case *kql.Call:
			switch n.Func.Text {
			case "toscalar", "materialize", "totable", "union", "view", "table", "database", "cluster", "app", "workspace":
				refuse(n.Func.Span, "tail looks at events one by one", "tail does not support %s()", n.Func.Text)
				return false
			}
		case *kql.DataTable:
			refuse(kql.Span{Start: n.Start, End: n.Start + len("datatable")}, "it follows "+TailTable, "tail does not support datatable")
			return false
		case *kql.ExternalData:
			refuse(kql.Span{Start: n.Start, End: n.Start + len("externaldata")}, "it follows "+TailTable, "tail does not support externaldata")
			return false
		}
		return true
	})
	return errs
}

// rowwise says whether each row of the result depends on one row of the table.
func rowwise(p *plan.Plan) bool {
	if len(p.CTEs) > 0 || p.Discover != nil || p.Render != nil {
		return false
	}
	for n := p.Root; ; {
		var exprs []plan.Expr
		switch node := n.(type) {
		case *plan.Scan:
			return node.Table.Name == TailTable
		case *plan.Filter:
			exprs, n = []plan.Expr{node.Pred}, node.In
		case *plan.Extend:
			for _, item := range node.Items {
				exprs = append(exprs, item.X)
			}
			n = node.In
		default:
			return false
		}
		for _, x := range exprs {
			if subquery(x) {
				return false
			}
		}
	}
}

// subquery says whether a query stands in the expression, or a function that
// looks at other rows.
func subquery(x plan.Expr) bool {
	switch x := x.(type) {
	case nil:
		return false
	case *plan.Const, *plan.Ref:
		return false
	case *plan.Call:
		return x.Func.Window() || slices.ContainsFunc(x.Args, subquery)
	case *plan.Unary:
		return subquery(x.X)
	case *plan.Binary:
		return subquery(x.X) || subquery(x.Y)
	case *plan.In:
		return subquery(x.X) || slices.ContainsFunc(x.List, subquery)
	case *plan.Between:
		return subquery(x.X) || subquery(x.Lo) || subquery(x.Hi)
	case *plan.Field:
		return subquery(x.X)
	case *plan.Path:
		return subquery(x.X) || x.Index != nil && subquery(x.Index)
	}
	return true // queries, aggregates, and what is not known
}

// Run returns the rows that the query makes of these events, in their order.
func (t *Tail) Run(ctx context.Context, events []ingest.Arrival) (Rows, error) {
	b := &Batch{Rows: len(events), Columns: make([]Vector, len(t.input))}
	in := &Input{Name: tailSource, Batch: b}
	for i, c := range t.input {
		in.Columns = append(in.Columns, c.Column)
		b.Columns[i] = c.vector(events)
	}
	return t.runner.Run(ctx, Statement{ID: newID(), SQL: t.sql, Now: time.Now(), Columns: t.Columns, Input: in,
		Limits: Limits{Time: tailTime, MemoryBytes: tailMemory}})
}

// vector reads a column of the events.
func (c *inputColumn) vector(events []ingest.Arrival) Vector {
	v := Vector{Type: c.Type}
	switch {
	case c.source == nil:
		v.Ints = make([]int64, len(events))
		for i := range events {
			v.Ints[i] = plan.Ticks(events[i].Time.UTC())
		}
	case c.Type == plan.Bool:
		v.Bools = make([]bool, len(events))
		for i := range events {
			v.Bools[i] = c.source.Number(&events[i].Event) != 0
		}
	case c.Type == plan.Datetime, c.Type == plan.Long:
		v.Ints = make([]int64, len(events))
		if c.null {
			v.Nulls = make([]bool, len(events))
		}
		for i := range events {
			n := c.source.Number(&events[i].Event)
			if c.null && n == 0 {
				v.Nulls[i] = true
				continue
			}
			if c.Type == plan.Datetime {
				n += plan.UnixEpochTicks
			}
			v.Ints[i] = n
		}
	default:
		v.Strings = make([]string, len(events))
		for i := range events {
			v.Strings[i] = c.source.Text(&events[i].Event)
		}
	}
	return v
}
