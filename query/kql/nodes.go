package kql

// Span is a half-open range of byte offsets in the text of a query: the node is
// text[Start:End]. Every node embeds one.
type Span struct {
	Start, End int
}

// Range returns the span itself; embedding a Span makes a type a Node.
func (s Span) Range() Span { return s }

// Join returns the smallest span that covers both s and t.
func (s Span) Join(t Span) Span {
	return Span{Start: min(s.Start, t.Start), End: max(s.End, t.End)}
}

// Node is any part of the syntax tree. Nodes are pointers to structs and are
// never nil inside a tree except where a field's comment says so.
type Node interface {
	Range() Span
}

// Query is a whole query text: statements separated by semicolons. The result
// of a query is that of its last ExprStatement.
type Query struct {
	Span
	Text       string // the text that Parse was given; spans index it
	Directives []*Directive
	Statements []Statement
}

// Directive is a line that starts with # in front of a query: an instruction to
// a client, which has no meaning here.
type Directive struct {
	Span
	Text string
}

// Statement is one of *LetStatement, *ExprStatement, *SetStatement,
// *ParamsStatement, *AliasStatement, *PatternStatement, *RestrictStatement.
type Statement interface {
	Node
	statement()
}

// LetStatement is `let Name = Value`. Value is a scalar or tabular expression,
// a *Func, or an *EntityGroup.
type LetStatement struct {
	Span
	Name  Name
	Value Expr
}

// ExprStatement is a query or expression that stands as a statement.
type ExprStatement struct {
	Span
	X Expr
}

// SetStatement is `set Name = Value`; Value is nil in the short form `set Name`.
type SetStatement struct {
	Span
	Name  Name
	Value Expr
}

// ParamsStatement is `declare query_parameters(Params)`.
type ParamsStatement struct {
	Span
	Params []*FuncParam
}

// AliasStatement is `alias database Name = X`.
type AliasStatement struct {
	Span
	Name Name
	X    Expr
}

// PatternStatement is `declare pattern Name` with or without a definition.
type PatternStatement struct {
	Span
	Name    Name
	Params  []*Column // nil without a definition
	Path    *Column   // nil without a path parameter
	Matches []*PatternMatch
}

// PatternMatch is `(Args).[Path] = { Body }` inside a pattern.
type PatternMatch struct {
	Span
	Args []Expr
	Path Expr // nil if absent
	Body *Block
}

// RestrictStatement is `restrict access to (Entities) with (Params)`.
type RestrictStatement struct {
	Span
	Entities []Expr
	Params   []*Param
}

func (*LetStatement) statement()      {}
func (*ExprStatement) statement()     {}
func (*SetStatement) statement()      {}
func (*ParamsStatement) statement()   {}
func (*AliasStatement) statement()    {}
func (*PatternStatement) statement()  {}
func (*RestrictStatement) statement() {}

// Name is an identifier as it is declared or used: `abc`, or with Quoted set,
// ['a b'] or ["a b"], whose unescaped text is Text. Names with a dot inside
// (hint.strategy) keep it in Text. {abc}, a parameter that a client such as an
// Azure workbook should have filled in, keeps its braces in Text.
type Name struct {
	Span
	Text   string
	Quoted bool
}

// Expr is any expression, scalar or tabular; KQL's grammar does not separate
// the two. A tabular expression is a *Pipe, a name, a call, a *Path, a
// *DataTable, an *ExternalData, or one of these in a *Paren.
type Expr interface {
	Node
	expr()
}

// Pipe is `Source | op | op ...`. Source is nil when the first operator stands
// at the beginning: print, range, union, search, find, evaluate, and inside
// mv-apply, partition, fork and facet subqueries every operator.
type Pipe struct {
	Span
	Source Expr
	Ops    []Operator
}

// Ref is a name used as an expression: a column, table, variable, function
// without parentheses, or $left / $right (in Name.Text, with the dollar).
type Ref struct {
	Name
}

// Wildcard is a name pattern such as A*, *_x or [A*]; Text holds it without the
// brackets, with every * standing for any characters.
type Wildcard struct {
	Span
	Text   string
	Quoted bool
}

// Star is `*` alone: an argument, a column list, or the left side of a search
// predicate (`* has "x"`).
type Star struct {
	Span
}

// LiteralKind is the type of a Literal.
type LiteralKind uint8

// The kinds of literal. NullLit occurs only inside dynamic(...).
const (
	NullLit LiteralKind = iota
	BoolLit
	IntLit
	LongLit
	RealLit
	DecimalLit
	StringLit
	DateTimeLit
	TimespanLit
	GuidLit
)

// Literal is a constant. Which value field counts depends on Kind:
//
//	BoolLit      Int is 0 or 1
//	IntLit, LongLit   Int
//	RealLit      Real
//	DecimalLit   Text: the number as written, without type name
//	StringLit    Text: the unescaped string, adjacent literals concatenated
//	DateTimeLit  Int: 100 ns ticks since 0001-01-01T00:00:00Z
//	TimespanLit  Int: 100 ns ticks
//	GuidLit      Text: lower case with dashes
//
// A typed null such as int(null) has Null set.
type Literal struct {
	Span
	Kind   LiteralKind
	Null   bool
	Hidden bool // h"..." or H'...': an obfuscated string
	Int    int64
	Real   float64
	Text   string
	Raw    string // the source text of the literal

	// Problem says why Raw has no value of its type, e.g. datetime(soon); "" if
	// it has one. Such text is KQL; the binder reports it.
	Problem string
}

// Dynamic is dynamic(Value). Value is a *Literal, *Array or *Object, or nested
// *Dynamic; dynamic(null) holds a NullLit.
type Dynamic struct {
	Span
	Value Expr
}

// Array is a JSON array inside dynamic(...).
type Array struct {
	Span
	Items []Expr
}

// Object is a JSON object inside dynamic(...). Fields keep their order; the
// names may repeat.
type Object struct {
	Span
	Fields []*Field
}

// Field is one name: value pair of an Object.
type Field struct {
	Span
	Name  string
	Value Expr
}

// Call is Func(Args). materialize, toscalar and totable are calls too, with a
// tabular argument; toscalar and totable may carry Params (kind=nooptimization).
type Call struct {
	Span
	Func   Name
	Params []*Param
	Args   []Expr
}

// Path is X.Sel: a property of a dynamic value, or a part of an entity
// (database("d").T, $left.key). Sel is *Ref, *Call, *Wildcard, or for
// X.["name"] and X.[0] a *Bracket.
type Path struct {
	Span
	X   Expr
	Sel Expr
}

// Bracket is the selector of X.[expr].
type Bracket struct {
	Span
	X Expr
}

// Index is X[Index].
type Index struct {
	Span
	X     Expr
	Index Expr
}

// Op is a unary or binary operator.
type Op uint8

// The operators. OpNeg and OpPlus are unary; the rest is binary. `<>` is OpNe
// and written `!=` by the printer.
const (
	OpInvalid Op = iota
	OpNeg        // -x
	OpPos        // +x
	OpAdd
	OpSub
	OpMul
	OpDiv
	OpMod
	OpEq        // ==
	OpNe        // != and <>
	OpLt        // <
	OpLe        // <=
	OpGt        // >
	OpGe        // >=
	OpEqTilde   // =~
	OpNeTilde   // !~
	OpAnd       // and
	OpOr        // or
	OpHas       // has
	OpNotHas    // !has
	OpHasCS     // has_cs
	OpNotHasCS  // !has_cs
	OpHasPrefix // hasprefix
	OpNotHasPrefix
	OpHasPrefixCS
	OpNotHasPrefixCS
	OpHasSuffix
	OpNotHasSuffix
	OpHasSuffixCS
	OpNotHasSuffixCS
	OpContains
	OpNotContains // !contains and notcontains
	OpContainsCS  // contains_cs and containscs
	OpNotContainsCS
	OpStartsWith
	OpNotStartsWith
	OpStartsWithCS
	OpNotStartsWithCS
	OpEndsWith
	OpNotEndsWith
	OpEndsWithCS
	OpNotEndsWithCS
	OpLike
	OpNotLike
	OpLikeCS
	OpNotLikeCS
	OpMatchesRegex
	OpSearch // column : "text", in search and find
	OpIn     // in (...)
	OpNotIn
	OpInTilde
	OpNotInTilde
	OpHasAny
	OpHasAll
	OpBetween // between (lo .. hi)
	OpNotBetween
)

// Unary is -X or +X.
type Unary struct {
	Span
	Op Op
	X  Expr
}

// Binary is X Op Y for every operator but the in, has_any, has_all and between
// families.
type Binary struct {
	Span
	Op   Op
	OpAt Span // the operator's own place
	X, Y Expr
}

// In is X Op (List) for OpIn, OpNotIn, OpInTilde, OpNotInTilde, OpHasAny and
// OpHasAll. An element may be a dynamic array or a tabular expression.
type In struct {
	Span
	Op   Op
	OpAt Span
	X    Expr
	List []Expr
}

// Between is X between (Lo .. Hi) or X !between (Lo .. Hi).
type Between struct {
	Span
	Op     Op
	OpAt   Span
	X      Expr
	Lo, Hi Expr
}

// Paren is (X). See Unparen.
type Paren struct {
	Span
	X Expr
}

// Named is `Name = X`, or with Tuple set `(Names...) = X`, in a column list or
// an argument list.
type Named struct {
	Span
	Names []Name
	Tuple bool
	X     Expr
}

// Ordered is X with an order in sort, top, top-nested, project-reorder and
// scan. Without asc/desc Order is OrderDefault.
type Ordered struct {
	Span
	X     Expr
	Order Order
	Nulls Nulls
}

// Order is the direction of an Ordered expression.
type Order uint8

// The directions. The granny forms exist only in project-reorder.
const (
	OrderDefault Order = iota
	OrderAsc
	OrderDesc
	OrderGrannyAsc
	OrderGrannyDesc
)

// Nulls is the place of nulls in an Ordered expression.
type Nulls uint8

// The places of nulls; NullsDefault follows the direction.
const (
	NullsDefault Nulls = iota
	NullsFirst
	NullsLast
)

// TypeOf is typeof(...): a scalar type name, or a row schema such as
// typeof(*, a: long).
type TypeOf struct {
	Span
	Type   *Type   // nil for a schema
	Schema *Schema // nil for a scalar type
}

// Type is the name of a scalar type as written: long, int64, string, ...
type Type struct {
	Span
	Name string
}

// Column declares a column: Name: Type. Type is nil where it may be left out
// (parse) and was.
type Column struct {
	Span
	Name Name
	Type *Type
}

// Schema is a row schema in parentheses: (a: long, b: string), (*), or in
// evaluate and typeof a mixture with a leading star.
type Schema struct {
	Span
	Star    bool
	Columns []*Column
}

// DataTable is datatable(Schema)[Values].
type DataTable struct {
	Span
	Params []*Param
	Schema *Schema
	Values []Expr
}

// ExternalData is externaldata(Schema)[URIs] with (Props).
type ExternalData struct {
	Span
	Params []*Param
	Schema *Schema
	URIs   []Expr
	Props  []*Param
}

// Func is a function value: `view (Params) { Body }` in a let statement.
type Func struct {
	Span
	View   bool
	Params []*FuncParam
	Body   *Block
}

// FuncParam is a parameter of a function, of declare query_parameters, or a
// variable of scan's declare: Name: Type = Default, or Name: Schema for a
// tabular one.
type FuncParam struct {
	Span
	Name    Name
	Type    *Type   // nil for a tabular parameter
	Schema  *Schema // nil for a scalar parameter
	Default Expr    // nil if absent
}

// Block is the body of a function, { statements; X }. X is nil when the body
// ends without a value.
type Block struct {
	Span
	Statements []Statement
	X          Expr
}

// EntityGroup is entity_group [Items].
type EntityGroup struct {
	Span
	Items []Expr
}

// Unsupported is a form of the language that the parser recognises by its name
// and does not model (What names it): the binder refuses it.
type Unsupported struct {
	Span
	What string
	Raw  string // the source text
}

// Bad stands where an expression was expected and none could be read. A tree
// that holds one comes with at least one error.
type Bad struct {
	Span
}

func (*Pipe) expr()         {}
func (*Ref) expr()          {}
func (*Wildcard) expr()     {}
func (*Star) expr()         {}
func (*Literal) expr()      {}
func (*Dynamic) expr()      {}
func (*Array) expr()        {}
func (*Object) expr()       {}
func (*Call) expr()         {}
func (*Path) expr()         {}
func (*Bracket) expr()      {}
func (*Index) expr()        {}
func (*Unary) expr()        {}
func (*Binary) expr()       {}
func (*In) expr()           {}
func (*Between) expr()      {}
func (*Paren) expr()        {}
func (*Named) expr()        {}
func (*Ordered) expr()      {}
func (*TypeOf) expr()       {}
func (*DataTable) expr()    {}
func (*ExternalData) expr() {}
func (*Func) expr()         {}
func (*EntityGroup) expr()  {}
func (*Unsupported) expr()  {}
func (*Bad) expr()          {}

// Unparen returns e without the parentheses around it.
func Unparen(e Expr) Expr {
	for {
		p, ok := e.(*Paren)
		if !ok {
			return e
		}
		e = p.X
	}
}

// Param is a hint or property of an operator: kind=inner, hint.strategy=shuffle,
// title="x". Value is a *Literal, a *Ref (for a bare word), or for the few
// parameters that list columns a *Names.
type Param struct {
	Span
	Name  Name
	Value Expr
}

// Names is a list of columns as the value of a Param (ycolumns=a, b).
type Names struct {
	Span
	List []Name
}

func (*Names) expr() {}

// Operator is a tabular operator. Its span starts at its keyword, after the
// pipe.
type Operator interface {
	Node
	operator()
	// Word is the operator's keyword as it is written: "where", "filter",
	// "mvexpand".
	Word() string
}

// Keyword is the keyword of an operator as it was written. Every operator
// embeds one.
type Keyword struct {
	Text string
	At   Span
}

// Word returns the keyword's text.
func (k *Keyword) Word() string { return k.Text }

// WhereOp is `where Cond` or `filter Cond`.
type WhereOp struct {
	Span
	Keyword
	Params []*Param
	Cond   Expr
}

// ExtendOp is `extend Columns`: *Named or bare expressions.
type ExtendOp struct {
	Span
	Keyword
	Columns []Expr
}

// ProjectOp is `project Columns`: *Named or bare expressions; none is allowed.
type ProjectOp struct {
	Span
	Keyword
	Columns []Expr
}

// ProjectAwayOp is `project-away Columns`: *Ref or *Wildcard
// (a star alone is a *Wildcard too).
type ProjectAwayOp struct {
	Span
	Keyword
	Columns []Expr
}

// ProjectKeepOp is `project-keep Columns`: *Ref or *Wildcard
// (a star alone is a *Wildcard too).
type ProjectKeepOp struct {
	Span
	Keyword
	Columns []Expr
}

// ProjectRenameOp is `project-rename New = Old, ...`: *Named, or in the tolerated
// form a bare *Ref.
type ProjectRenameOp struct {
	Span
	Keyword
	Columns []Expr
}

// ProjectReorderOp is `project-reorder Columns`; the X of an item is *Ref
// or *Wildcard.
type ProjectReorderOp struct {
	Span
	Keyword
	Columns []*Ordered
}

// ProjectByNamesOp is `project-by-names Columns`.
type ProjectByNamesOp struct {
	Span
	Keyword
	Columns []Expr
}

// SummarizeOp is `summarize Aggs by By`. BinStep is the value of the old form
// `by bin=...`, nil if absent.
type SummarizeOp struct {
	Span
	Keyword
	Params  []*Param
	Aggs    []Expr // *Named or bare
	HasBy   bool
	By      []Expr // *Named or bare
	BinStep Expr
}

// SortOp is `sort by Keys` or `order by Keys`.
type SortOp struct {
	Span
	Keyword
	Params []*Param
	Keys   []*Ordered
}

// TopOp is `top Count by Key`.
type TopOp struct {
	Span
	Keyword
	Params []*Param
	Count  Expr
	By     *Ordered
}

// TopHittersOp is `top-hitters Count of Of by By`; By is nil if absent.
type TopHittersOp struct {
	Span
	Keyword
	Count Expr
	Of    Expr
	By    Expr
}

// TopNestedOp is a list of top-nested clauses, outermost first.
type TopNestedOp struct {
	Span
	Keyword
	Levels []*TopNestedLevel
}

// TopNestedLevel is `top-nested Count of Of with others = Others by By`.
type TopNestedLevel struct {
	Span
	Count  Expr // nil if absent: all values
	Of     Expr // *Named or bare
	Others Expr // nil if absent
	By     *Ordered
}

// TakeOp is `take Count` or `limit Count`.
type TakeOp struct {
	Span
	Keyword
	Params []*Param
	Count  Expr
}

// SampleOp is `sample Count`.
type SampleOp struct {
	Span
	Keyword
	Params []*Param
	Count  Expr
}

// SampleDistinctOp is `sample-distinct Count of Of`.
type SampleDistinctOp struct {
	Span
	Keyword
	Params []*Param
	Count  Expr
	Of     Expr
}

// DistinctOp is `distinct Columns`: expressions or a *Star.
type DistinctOp struct {
	Span
	Keyword
	Params  []*Param
	Columns []Expr
}

// CountOp is `count`, or `count as As`.
type CountOp struct {
	Span
	Keyword
	As *Name // nil if absent
}

// JoinOp is `join Params Right on On`, or `... where Where`. An element of On is a
// *Ref (same name on both sides) or a condition such as $left.a == $right.b.
type JoinOp struct {
	Span
	Keyword
	Params []*Param
	Right  Expr
	On     []Expr
	Where  Expr // nil unless the where form is used
}

// LookupOp is `lookup Params Right on On`.
type LookupOp struct {
	Span
	Keyword
	Params []*Param
	Right  Expr
	On     []Expr
}

// UnionOp is `union Params Tables`: *Ref, *Wildcard, *Path, *Call or *Paren.
type UnionOp struct {
	Span
	Keyword
	Params []*Param
	Tables []Expr
}

// MvExpandOp is `mv-expand Params Columns limit Limit`.
type MvExpandOp struct {
	Span
	Keyword
	Params  []*Param
	Columns []*MvColumn
	Limit   Expr // nil if absent
}

// MvColumn is a column of mv-expand or mv-apply: X, a *Named or bare
// expression, `to typeof(...)`. X is nil in mv-apply's `to typeof(...)` alone.
type MvColumn struct {
	Span
	X  Expr
	To *TypeOf // nil if absent
}

// MvApplyOp is `mv-apply Columns limit Limit id ID on (Sub)`.
type MvApplyOp struct {
	Span
	Keyword
	Params  []*Param
	Columns []*MvColumn
	Limit   Expr // nil if absent
	ID      Expr // nil if absent
	Sub     Expr // usually a *Pipe without Source
}

// ParseOp is `parse Params X with Pattern`, or parse-where (see Word).
type ParseOp struct {
	Span
	Keyword
	Params  []*Param
	X       Expr
	Pattern []Node // *Star, *Literal (string) or *Column
}

// ParseKvOp is `parse-kv X as (Schema) with (Props)`.
type ParseKvOp struct {
	Span
	Keyword
	X      Expr
	Schema *Schema
	Props  []*Param
}

// MakeSeriesOp is `make-series Aggs on On from From to To step Step by By`, or
// with InRange set the old form `in range(start, stop, step)`.
type MakeSeriesOp struct {
	Span
	Keyword
	Params         []*Param
	Aggs           []*SeriesAgg
	On             Expr // *Named or bare
	From, To, Step Expr // From and To are nil if absent
	InRange        []Expr
	By             []Expr
}

// SeriesAgg is an aggregate of make-series: X, a *Named or bare call, and
// `default = Default`, nil if absent.
type SeriesAgg struct {
	Span
	X       Expr
	Default Expr
}

// SearchOp is `search Params in (In) Cond`.
type SearchOp struct {
	Span
	Keyword
	Params []*Param
	Scope  string // the datascope clause, "" if absent
	In     []Expr // nil if absent
	Cond   Expr
}

// FindOp is `find Params in (In) where Cond project Project project-away Away`.
type FindOp struct {
	Span
	Keyword
	Params  []*Param
	Scope   string // the datascope clause, "" if absent
	In      []Expr // nil if absent; `T | as Name` is a *Pipe
	Where   bool   // the keyword where stands before Cond
	Cond    Expr
	Smart   bool // project-smart
	Project []*FindColumn
	Away    []*FindColumn
}

// FindColumn is a column of find's project clause: *Column, *Star, or
// pack(*), given as a *Call.
type FindColumn struct {
	Span
	Column *Column // nil for the other forms
	Star   bool
	Pack   bool
}

// InvokeOp is `invoke Call`: a *Call, or a *Path of calls.
type InvokeOp struct {
	Span
	Keyword
	Call Expr
}

// PartitionOp is `partition Params by By (Sub)`, or `{ Sub }` with Braces set.
type PartitionOp struct {
	Span
	Keyword
	Params []*Param
	By     Expr
	In     Expr // the scope clause, nil if absent
	Braces bool
	Sub    Expr
}

// PartitionByOp is `__partitionby Params By id ID (Sub)`.
type PartitionByOp struct {
	Span
	Keyword
	Params []*Param
	By     Expr
	ID     Expr // nil if absent
	Sub    Expr
}

// SerializeOp is `serialize Columns`; Columns may be empty.
type SerializeOp struct {
	Span
	Keyword
	Params  []*Param
	Columns []Expr
}

// ScanOp is `scan Params order by.. partition by.. declare (..) with (Steps)`.
type ScanOp struct {
	Span
	Keyword
	Params      []*Param
	OrderBy     []*Ordered
	PartitionBy []Expr
	Declare     []*FuncParam
	Steps       []*ScanStep
}

// ScanStep is `step Name optional output=Output: Cond => Assigns;`.
type ScanStep struct {
	Span
	Name     Name
	Optional bool
	Output   string // all, last, none, or "" if absent
	Cond     Expr
	Assigns  []*ScanAssign
}

// ScanAssign is Name = X in a scan step.
type ScanAssign struct {
	Span
	Name Name
	X    Expr
}

// GetSchemaOp is `getschema`.
type GetSchemaOp struct {
	Span
	Keyword
	Params []*Param
}

// AsOp is `as Params Name`.
type AsOp struct {
	Span
	Keyword
	Params []*Param
	Name   Name
}

// RangeOp is `range Name from From to To step Step`.
type RangeOp struct {
	Span
	Keyword
	Name           Name
	From, To, Step Expr
}

// PrintOp is `print Columns`: *Named or bare expressions.
type PrintOp struct {
	Span
	Keyword
	Columns []Expr
}

// EvaluateOp is `evaluate Params Call : Schema`.
type EvaluateOp struct {
	Span
	Keyword
	Params []*Param
	Call   *Call
	Schema *Schema // nil if absent
}

// RenderOp is `render Chart with (Props)`. The first Old of the properties
// stand without parentheses, the spelling of old.
type RenderOp struct {
	Span
	Keyword
	Chart Name
	Props []*Param
	Old   int
	With  bool // there is a with (...), maybe an empty one
}

// ReduceOp is `reduce Params by By with Props`.
type ReduceOp struct {
	Span
	Keyword
	Params []*Param
	By     Expr
	Props  []*Param
}

// ForkOp is `fork Branches`.
type ForkOp struct {
	Span
	Keyword
	Branches []*ForkBranch
}

// ForkBranch is Name = (Sub), or (Sub).
type ForkBranch struct {
	Span
	Name *Name // nil if absent
	Sub  Expr
}

// FacetOp is `facet by By with Sub`.
type FacetOp struct {
	Span
	Keyword
	By   []Expr
	With Expr // nil if absent
}

// ConsumeOp is `consume Params`.
type ConsumeOp struct {
	Span
	Keyword
	Params []*Param
}

// UnsupportedOp is an operator that the parser recognises by its keyword and
// does not model: the graph operators, macro-expand, assert-schema and
// execute-and-cache. The binder refuses it by its Word.
type UnsupportedOp struct {
	Span
	Keyword
	Raw string // the source text, keyword included
}

// BadOp stands where an operator was expected and none could be read. A tree
// that holds one comes with at least one error.
type BadOp struct {
	Span
	Keyword
}

func (*WhereOp) operator()          {}
func (*ExtendOp) operator()         {}
func (*ProjectOp) operator()        {}
func (*ProjectAwayOp) operator()    {}
func (*ProjectKeepOp) operator()    {}
func (*ProjectRenameOp) operator()  {}
func (*ProjectReorderOp) operator() {}
func (*ProjectByNamesOp) operator() {}
func (*SummarizeOp) operator()      {}
func (*SortOp) operator()           {}
func (*TopOp) operator()            {}
func (*TopHittersOp) operator()     {}
func (*TopNestedOp) operator()      {}
func (*TakeOp) operator()           {}
func (*SampleOp) operator()         {}
func (*SampleDistinctOp) operator() {}
func (*DistinctOp) operator()       {}
func (*CountOp) operator()          {}
func (*JoinOp) operator()           {}
func (*LookupOp) operator()         {}
func (*UnionOp) operator()          {}
func (*MvExpandOp) operator()       {}
func (*MvApplyOp) operator()        {}
func (*ParseOp) operator()          {}
func (*ParseKvOp) operator()        {}
func (*MakeSeriesOp) operator()     {}
func (*SearchOp) operator()         {}
func (*FindOp) operator()           {}
func (*InvokeOp) operator()         {}
func (*PartitionOp) operator()      {}
func (*PartitionByOp) operator()    {}
func (*SerializeOp) operator()      {}
func (*ScanOp) operator()           {}
func (*GetSchemaOp) operator()      {}
func (*AsOp) operator()             {}
func (*RangeOp) operator()          {}
func (*PrintOp) operator()          {}
func (*EvaluateOp) operator()       {}
func (*RenderOp) operator()         {}
func (*ReduceOp) operator()         {}
func (*ForkOp) operator()           {}
func (*FacetOp) operator()          {}
func (*ConsumeOp) operator()        {}
func (*UnsupportedOp) operator()    {}
func (*BadOp) operator()            {}
