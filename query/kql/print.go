package kql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Print writes a node as canonical text: one operator a line, one space where
// one is enough, literals in one form. Print of a tree without errors parses
// to an equal tree, spans and literals' Raw aside.
func Print(n Node) string {
	p := printer{}
	p.node(n)
	return p.b.String()
}

// String writes the operator as KQL: and, !has, matches regex.
func (o Op) String() string {
	if int(o) < len(opTexts) && opTexts[o] != "" {
		return opTexts[o]
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

var opTexts = [...]string{
	OpNeg: "-", OpPos: "+", OpAdd: "+", OpSub: "-", OpMul: "*", OpDiv: "/", OpMod: "%",
	OpEq: "==", OpNe: "!=", OpLt: "<", OpLe: "<=", OpGt: ">", OpGe: ">=", OpEqTilde: "=~", OpNeTilde: "!~",
	OpAnd: "and", OpOr: "or",
	OpHas: "has", OpNotHas: "!has", OpHasCS: "has_cs", OpNotHasCS: "!has_cs",
	OpHasPrefix: "hasprefix", OpNotHasPrefix: "!hasprefix", OpHasPrefixCS: "hasprefix_cs", OpNotHasPrefixCS: "!hasprefix_cs",
	OpHasSuffix: "hassuffix", OpNotHasSuffix: "!hassuffix", OpHasSuffixCS: "hassuffix_cs", OpNotHasSuffixCS: "!hassuffix_cs",
	OpContains: "contains", OpNotContains: "!contains", OpContainsCS: "contains_cs", OpNotContainsCS: "!contains_cs",
	OpStartsWith: "startswith", OpNotStartsWith: "!startswith", OpStartsWithCS: "startswith_cs", OpNotStartsWithCS: "!startswith_cs",
	OpEndsWith: "endswith", OpNotEndsWith: "!endswith", OpEndsWithCS: "endswith_cs", OpNotEndsWithCS: "!endswith_cs",
	OpLike: "like", OpNotLike: "notlike", OpLikeCS: "likecs", OpNotLikeCS: "notlikecs",
	OpMatchesRegex: "matches regex", OpSearch: ":",
	OpIn: "in", OpNotIn: "!in", OpInTilde: "in~", OpNotInTilde: "!in~", OpHasAny: "has_any", OpHasAll: "has_all",
	OpBetween: "between", OpNotBetween: "!between",
}

// level is the precedence of an expression, the tighter the larger.
func level(e Expr) int {
	switch e := e.(type) {
	case *Named, *Ordered, *Pipe, *Func, *EntityGroup:
		return 0
	case *Binary:
		return opLevel(e.Op)
	case *In, *Between:
		return 3
	case *Unary:
		return 8
	}
	return 9
}

func opLevel(o Op) int {
	switch o {
	case OpOr:
		return 1
	case OpAnd:
		return 2
	case OpEq, OpNe:
		return 3
	case OpLt, OpLe, OpGt, OpGe:
		return 4
	case OpAdd, OpSub:
		return 5
	case OpMul, OpDiv, OpMod:
		return 6
	}
	return 7 // string operators
}

type printer struct {
	b strings.Builder
	// inJSON is set inside dynamic(...), where numbers have no type around them.
	inJSON bool
}

func (p *printer) s(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
}

// operand prints e, in parentheses when it binds looser than min.
func (p *printer) operand(e Expr, min int) {
	if e != nil && level(e) < min {
		p.s("(")
		p.node(e)
		p.s(")")
		return
	}
	p.expr(e)
}

func (p *printer) expr(e Expr) {
	if e != nil {
		p.node(e)
	}
}

func (p *printer) exprs(list []Expr) {
	for i, e := range list {
		if i > 0 {
			p.s(", ")
		}
		p.expr(e)
	}
}

func (p *printer) name(n Name) {
	if !n.Quoted {
		p.s(n.Text)
		return
	}
	p.s("[")
	p.quote(n.Text, '\'')
	p.s("]")
}

// quote writes s as a string literal.
func (p *printer) quote(s string, q byte) {
	p.b.WriteByte(q)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case q, '\\':
			p.b.WriteByte('\\')
			p.b.WriteByte(c)
		case '\n':
			p.s(`\n`)
		case '\r':
			p.s(`\r`)
		case '\t':
			p.s(`\t`)
		default:
			if c < ' ' || c == 0x7f {
				fmt.Fprintf(&p.b, `\u%04x`, c)
			} else {
				p.b.WriteByte(c)
			}
		}
	}
	p.b.WriteByte(q)
}

func (p *printer) literal(l *Literal) {
	typed := func(name, value string) { p.s(name, "(", value, ")") }
	if l.Problem != "" {
		p.s(l.Raw)
		return
	}
	if l.Null {
		name := map[LiteralKind]string{BoolLit: "bool", IntLit: "int", LongLit: "long", RealLit: "real", DecimalLit: "decimal",
			DateTimeLit: "datetime", TimespanLit: "timespan", GuidLit: "guid"}[l.Kind]
		if name == "" {
			p.s("null")
		} else {
			typed(name, "null")
		}
		return
	}
	switch l.Kind {
	case BoolLit:
		p.s(strconv.FormatBool(l.Int != 0))
	case IntLit:
		typed("int", strconv.FormatInt(l.Int, 10))
	case LongLit:
		if n := strconv.FormatInt(l.Int, 10); l.Int < 0 && (!p.inJSON || l.Int == math.MinInt64) {
			typed("long", n)
		} else {
			p.s(n)
		}
	case RealLit:
		p.real(l.Real)
	case DecimalLit:
		typed("decimal", l.Text)
	case StringLit:
		if l.Hidden {
			p.s("h")
		}
		p.quote(l.Text, '"')
	case DateTimeLit:
		typed("datetime", FormatDateTime(l.Int))
	case TimespanLit:
		typed("timespan", FormatTimespan(l.Int))
	case GuidLit:
		typed("guid", l.Text)
	}
}

func (p *printer) real(f float64) {
	switch {
	case math.IsNaN(f):
		p.s("real(nan)")
	case math.IsInf(f, 1):
		p.s("real(+inf)")
	case math.IsInf(f, -1):
		p.s("real(-inf)")
	default:
		s := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		if s[0] == '-' && !p.inJSON {
			s = "real(" + s + ")"
		}
		p.s(s)
	}
}

func (p *printer) params(list []*Param) {
	for _, prm := range list {
		p.s(" ")
		p.param(prm)
	}
}

func (p *printer) paramList(list []*Param) {
	p.s("(")
	for i, prm := range list {
		if i > 0 {
			p.s(", ")
		}
		p.param(prm)
	}
	p.s(")")
}

func (p *printer) param(prm *Param) {
	p.name(prm.Name)
	p.s("=")
	p.expr(prm.Value)
}

// with prints the properties of `with (...)`, nothing if there are none.
func (p *printer) with(list []*Param) {
	if len(list) > 0 {
		p.s(" with ")
		p.paramList(list)
	}
}

func (p *printer) columns(list []Expr) {
	if len(list) > 0 {
		p.s(" ")
		p.exprs(list)
	}
}

func (p *printer) by(list []Expr) {
	if len(list) > 0 {
		p.s(" by ")
		p.exprs(list)
	}
}

func nodes[T Node](p *printer, list []T, sep string) {
	for i, n := range list {
		if i > 0 {
			p.s(sep)
		}
		p.node(n)
	}
}

func (p *printer) mvColumns(list []*MvColumn) {
	p.s(" ")
	nodes(p, list, ", ")
}

func (p *printer) clause(word string, e Expr) {
	if e != nil {
		p.s(" ", word, " ")
		p.expr(e)
	}
}

// pipe prints a query; sep stands before each pipe.
func (p *printer) pipe(n *Pipe, sep string) {
	if n.Source != nil {
		p.operand(n.Source, 1)
		p.s(sep, "| ")
	}
	nodes(p, n.Ops, sep+"| ")
}

func (p *printer) node(n Node) {
	if op, ok := n.(Operator); ok {
		p.operator(op)
		return
	}
	switch n := n.(type) {
	case *Query:
		for _, d := range n.Directives {
			p.s(d.Text, "\n")
		}
		for i, st := range n.Statements {
			if i > 0 {
				p.s(";\n")
			}
			if x, ok := st.(*ExprStatement); ok {
				if pipe, ok := x.X.(*Pipe); ok {
					p.pipe(pipe, "\n")
					continue
				}
			}
			p.node(st)
		}
	case *Directive:
		p.s(n.Text)
	case *LetStatement:
		p.s("let ")
		p.name(n.Name)
		p.s(" = ")
		p.expr(n.Value)
	case *ExprStatement:
		p.expr(n.X)
	case *SetStatement:
		p.s("set ")
		p.name(n.Name)
		if n.Value != nil {
			p.s(" = ")
			p.expr(n.Value)
		}
	case *ParamsStatement:
		p.s("declare query_parameters(")
		nodes(p, n.Params, ", ")
		p.s(")")
	case *AliasStatement:
		p.s("alias database ")
		p.name(n.Name)
		p.s(" = ")
		p.expr(n.X)
	case *PatternStatement:
		p.s("declare pattern ")
		p.name(n.Name)
		if n.Params == nil {
			return
		}
		p.s(" = (")
		nodes(p, n.Params, ", ")
		p.s(")")
		if n.Path != nil {
			p.s("[")
			p.node(n.Path)
			p.s("]")
		}
		p.s(" { ")
		for _, m := range n.Matches {
			p.node(m)
			p.s(" ")
		}
		p.s("}")
	case *PatternMatch:
		p.s("(")
		p.exprs(n.Args)
		p.s(")")
		if n.Path != nil {
			p.s(".[")
			p.expr(n.Path)
			p.s("]")
		}
		p.s(" = ")
		p.node(n.Body)
		p.s(";")
	case *RestrictStatement:
		p.s("restrict access to (")
		p.exprs(n.Entities)
		p.s(")")
		p.with(n.Params)

	case *Pipe:
		p.pipe(n, " ")
	case *Ref:
		p.name(n.Name)
	case *Wildcard:
		if n.Quoted {
			p.s("[", n.Text, "]")
		} else {
			p.s(n.Text)
		}
	case *Star:
		p.s("*")
	case *Literal:
		p.literal(n)
	case *Dynamic:
		outer := p.inJSON
		p.inJSON = true
		p.s("dynamic(")
		p.expr(n.Value)
		p.s(")")
		p.inJSON = outer
	case *Array:
		p.s("[")
		p.exprs(n.Items)
		p.s("]")
	case *Object:
		p.s("{")
		nodes(p, n.Fields, ", ")
		p.s("}")
	case *Field:
		p.quote(n.Name, '"')
		p.s(": ")
		p.expr(n.Value)
	case *Call:
		p.name(n.Func)
		p.params(n.Params)
		if len(n.Params) > 0 {
			p.s(" ")
		}
		p.s("(")
		p.exprs(n.Args)
		p.s(")")
	case *Path:
		p.operand(n.X, 9)
		p.s(".")
		p.expr(n.Sel)
	case *Bracket:
		p.s("[")
		p.expr(n.X)
		p.s("]")
	case *Index:
		p.operand(n.X, 9)
		p.s("[")
		p.expr(n.Index)
		p.s("]")
	case *Unary:
		p.s(n.Op.String())
		p.operand(n.X, 9)
	case *Binary:
		l := opLevel(n.Op)
		left := l
		if l == 3 || l == 4 || l == 7 { // no chains
			left++
		}
		p.operand(n.X, left)
		p.s(" ", n.Op.String(), " ")
		p.operand(n.Y, l+1)
	case *In:
		p.operand(n.X, 4)
		p.s(" ", n.Op.String(), " (")
		p.exprs(n.List)
		p.s(")")
	case *Between:
		p.operand(n.X, 4)
		p.s(" ", n.Op.String(), " (")
		p.operand(n.Lo, 1)
		p.s(" .. ")
		p.operand(n.Hi, 1)
		p.s(")")
	case *Paren:
		p.s("(")
		p.expr(n.X)
		p.s(")")
	case *Named:
		if n.Tuple {
			p.s("(")
		}
		for i, name := range n.Names {
			if i > 0 {
				p.s(", ")
			}
			p.name(name)
		}
		if n.Tuple {
			p.s(")")
		}
		p.s(" = ")
		p.operand(n.X, 1)
	case *Ordered:
		p.expr(n.X)
		p.s([...]string{"", " asc", " desc", " granny-asc", " granny-desc"}[n.Order])
		p.s([...]string{"", " nulls first", " nulls last"}[n.Nulls])
	case *TypeOf:
		p.s("typeof(")
		if n.Type != nil {
			p.node(n.Type)
		} else if n.Schema != nil {
			p.schemaItems(n.Schema)
		}
		p.s(")")
	case *Type:
		p.s(n.Name)
	case *Column:
		p.name(n.Name)
		if n.Type != nil {
			p.s(": ", n.Type.Name)
		}
	case *Schema:
		p.s("(")
		p.schemaItems(n)
		p.s(")")
	case *DataTable:
		p.s("datatable")
		p.params(n.Params)
		p.node(n.Schema)
		p.s("[")
		p.exprs(n.Values)
		p.s("]")
	case *ExternalData:
		p.s("externaldata")
		p.params(n.Params)
		p.node(n.Schema)
		p.s("[")
		p.exprs(n.URIs)
		p.s("]")
		p.with(n.Props)
	case *Func:
		if n.View {
			p.s("view ")
		}
		p.s("(")
		nodes(p, n.Params, ", ")
		p.s(") ")
		p.node(n.Body)
	case *FuncParam:
		p.name(n.Name)
		p.s(": ")
		if n.Schema != nil {
			p.node(n.Schema)
		} else if n.Type != nil {
			p.node(n.Type)
		}
		if n.Default != nil {
			p.s(" = ")
			p.expr(n.Default)
		}
	case *Block:
		p.s("{ ")
		for _, st := range n.Statements {
			p.node(st)
			p.s("; ")
		}
		if n.X != nil {
			p.expr(n.X)
			p.s(" ")
		}
		p.s("}")
	case *EntityGroup:
		p.s("entity_group [")
		p.exprs(n.Items)
		p.s("]")
	case *Names:
		for i, name := range n.List {
			if i > 0 {
				p.s(", ")
			}
			p.name(name)
		}
	case *Unsupported:
		p.s(n.Raw)
	case *Bad:
		p.s("<error>")
	case *Param:
		p.param(n)

	case *TopNestedLevel:
		if n.Count != nil {
			p.expr(n.Count)
			p.s(" ")
		}
		p.s("of ")
		p.expr(n.Of)
		if n.Others != nil {
			p.s(" with others = ")
			p.expr(n.Others)
		}
		p.s(" by ")
		p.node(n.By)
	case *MvColumn:
		p.expr(n.X)
		if n.To != nil {
			if n.X != nil {
				p.s(" ")
			}
			p.s("to ")
			p.node(n.To)
		}
	case *SeriesAgg:
		p.expr(n.X)
		p.clause("default =", n.Default)
	case *FindColumn:
		switch {
		case n.Pack:
			p.s("pack(*)")
		case n.Star:
			p.s("*")
		default:
			p.node(n.Column)
		}
	case *ScanStep:
		p.s("step ")
		p.name(n.Name)
		if n.Optional {
			p.s(" optional")
		}
		if n.Output != "" {
			p.s(" output=", n.Output)
		}
		p.s(": ")
		p.expr(n.Cond)
		if len(n.Assigns) > 0 {
			p.s(" => ")
			nodes(p, n.Assigns, ", ")
		}
		p.s(";")
	case *ScanAssign:
		p.name(n.Name)
		p.s(" = ")
		p.expr(n.X)
	case *ForkBranch:
		if n.Name != nil {
			p.name(*n.Name)
			p.s("=")
		}
		p.s("(")
		p.expr(n.Sub)
		p.s(")")
	default:
		panic(fmt.Sprintf("print %T", n))
	}
}

func (p *printer) schemaItems(s *Schema) {
	if s.Star {
		p.s("*")
		if len(s.Columns) > 0 {
			p.s(", ")
		}
	}
	nodes(p, s.Columns, ", ")
}

func (p *printer) operator(op Operator) {
	p.s(op.Word())
	switch n := op.(type) {
	case *WhereOp:
		p.params(n.Params)
		p.clause2(n.Cond)
	case *ExtendOp:
		p.columns(n.Columns)
	case *ProjectOp:
		p.columns(n.Columns)
	case *ProjectAwayOp:
		p.columns(n.Columns)
	case *ProjectKeepOp:
		p.columns(n.Columns)
	case *ProjectRenameOp:
		p.columns(n.Columns)
	case *ProjectReorderOp:
		for i, c := range n.Columns {
			if i > 0 {
				p.s(",")
			}
			p.s(" ")
			p.node(c)
		}
	case *ProjectByNamesOp:
		p.columns(n.Columns)
	case *SummarizeOp:
		p.params(n.Params)
		p.columns(n.Aggs)
		p.by(n.By)
		if n.BinStep != nil {
			p.s(" bin=")
			p.expr(n.BinStep)
		}
	case *SortOp:
		p.params(n.Params)
		p.s(" by ")
		nodes(p, n.Keys, ", ")
	case *TopOp:
		p.params(n.Params)
		p.clause2(n.Count)
		p.s(" by ")
		p.node(n.By)
	case *TopHittersOp:
		p.clause2(n.Count)
		p.clause("of", n.Of)
		p.clause("by", n.By)
	case *TopNestedOp:
		for i, l := range n.Levels {
			if i > 0 {
				p.s(", ", n.Text)
			}
			p.s(" ")
			p.node(l)
		}
	case *TakeOp:
		p.params(n.Params)
		p.clause2(n.Count)
	case *SampleOp:
		p.params(n.Params)
		p.clause2(n.Count)
	case *SampleDistinctOp:
		p.params(n.Params)
		p.clause2(n.Count)
		p.clause("of", n.Of)
	case *DistinctOp:
		p.params(n.Params)
		p.columns(n.Columns)
	case *CountOp:
		if n.As != nil {
			p.s(" as ")
			p.name(*n.As)
		}
	case *JoinOp:
		p.params(n.Params)
		p.clause2(n.Right)
		if n.On != nil {
			p.s(" on ")
			p.exprs(n.On)
		}
		p.clause("where", n.Where)
	case *LookupOp:
		p.params(n.Params)
		p.clause2(n.Right)
		p.s(" on ")
		p.exprs(n.On)
	case *UnionOp:
		p.params(n.Params)
		p.columns(n.Tables)
	case *MvExpandOp:
		p.params(n.Params)
		p.mvColumns(n.Columns)
		p.clause("limit", n.Limit)
	case *MvApplyOp:
		p.params(n.Params)
		p.mvColumns(n.Columns)
		p.clause("limit", n.Limit)
		p.clause("id", n.ID)
		p.s(" on (")
		p.expr(n.Sub)
		p.s(")")
	case *ParseOp:
		p.params(n.Params)
		p.clause2(n.X)
		p.s(" with ")
		for i, part := range n.Pattern {
			if i > 0 {
				p.s(" ")
			}
			p.node(part)
		}
	case *ParseKvOp:
		p.clause2(n.X)
		p.s(" as ")
		p.node(n.Schema)
		p.with(n.Props)
	case *MakeSeriesOp:
		p.params(n.Params)
		p.s(" ")
		nodes(p, n.Aggs, ", ")
		p.clause("on", n.On)
		p.clause("from", n.From)
		p.clause("to", n.To)
		p.clause("step", n.Step)
		if n.Step == nil {
			p.s(" in range(")
			p.exprs(n.InRange)
			p.s(")")
		}
		p.by(n.By)
	case *SearchOp:
		p.params(n.Params)
		p.scope(n.Scope)
		p.inTables(n.In)
		p.clause2(n.Cond)
	case *FindOp:
		p.scope(n.Scope)
		p.params(n.Params)
		p.inTables(n.In)
		if n.Where {
			p.s(" where")
		}
		p.clause2(n.Cond)
		if n.Smart {
			p.s(" project-smart")
		}
		if len(n.Project) > 0 {
			p.s(" project ")
			nodes(p, n.Project, ", ")
		}
		if len(n.Away) > 0 {
			p.s(" __projectAway ")
			nodes(p, n.Away, ", ")
		}
	case *InvokeOp:
		p.clause2(n.Call)
	case *PartitionOp:
		p.params(n.Params)
		p.clause("by", n.By)
		p.clause("in", n.In)
		if n.Braces {
			p.s(" { ")
			p.expr(n.Sub)
			p.s(" }")
		} else {
			p.s(" (")
			p.expr(n.Sub)
			p.s(")")
		}
	case *PartitionByOp:
		p.params(n.Params)
		p.clause2(n.By)
		p.clause("id", n.ID)
		p.s(" (")
		p.expr(n.Sub)
		p.s(")")
	case *SerializeOp:
		p.params(n.Params)
		p.columns(n.Columns)
	case *ScanOp:
		p.params(n.Params)
		if len(n.OrderBy) > 0 {
			p.s(" order by ")
			nodes(p, n.OrderBy, ", ")
		}
		if len(n.PartitionBy) > 0 {
			p.s(" partition")
			p.by(n.PartitionBy)
		}
		if n.Declare != nil {
			p.s(" declare (")
			nodes(p, n.Declare, ", ")
			p.s(")")
		}
		p.s(" with (")
		nodes(p, n.Steps, " ")
		p.s(")")
	case *GetSchemaOp:
		p.params(n.Params)
	case *AsOp:
		p.params(n.Params)
		p.s(" ")
		p.name(n.Name)
	case *RangeOp:
		p.s(" ")
		p.name(n.Name)
		p.clause("from", n.From)
		p.clause("to", n.To)
		p.clause("step", n.Step)
	case *PrintOp:
		p.columns(n.Columns)
	case *EvaluateOp:
		p.params(n.Params)
		p.s(" ")
		p.node(n.Call)
		if n.Schema != nil {
			p.s(" : ")
			p.node(n.Schema)
		}
	case *RenderOp:
		p.s(" ")
		p.name(n.Chart)
		p.render(n)
	case *ReduceOp:
		p.params(n.Params)
		p.clause("by", n.By)
		if len(n.Props) > 0 {
			p.s(" with ")
			nodes(p, n.Props, ", ")
		}
	case *ForkOp:
		for _, br := range n.Branches {
			p.s(" ")
			p.node(br)
		}
	case *FacetOp:
		p.by(n.By)
		if n.With != nil {
			p.s(" with (")
			p.expr(n.With)
			p.s(")")
		}
	case *ConsumeOp:
		p.params(n.Params)
	case *UnsupportedOp:
		p.s(strings.TrimPrefix(n.Raw, n.Text))
	case *BadOp:
	default:
		panic(fmt.Sprintf("print %T", n))
	}
}

// clause2 prints the expression that follows an operator's keyword directly.
func (p *printer) clause2(e Expr) {
	p.s(" ")
	p.expr(e)
}

func (p *printer) scope(s string) {
	if s != "" {
		p.s(" datascope=", s)
	}
}

func (p *printer) inTables(list []Expr) {
	if list != nil {
		p.s(" in (")
		p.exprs(list)
		p.s(")")
	}
}

// render prints the properties of render in their two spellings.
func (p *printer) render(n *RenderOp) {
	if n.With {
		i := 0
		for i < n.Old {
			p.oldProp(n.Props[i])
			i++
		}
		p.s(" with ")
		p.paramList(n.Props[i:])
		return
	}
	for _, prm := range n.Props {
		p.oldProp(prm)
	}
}

func (p *printer) oldProp(prm *Param) {
	p.s(" ")
	switch prm.Name.Text {
	case "by", "with":
		p.s(prm.Name.Text)
		p.clause2(prm.Value)
	default:
		p.param(prm)
	}
}
