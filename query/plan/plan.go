// Package plan binds a KQL syntax tree to a catalog: names to columns, tables,
// variables and functions, every expression to a type, every operator to a small
// relational algebra. Column names, column order and result types are those of
// Kusto's own binder.
//
// [Bind] is the only entry. It is where every error of a user ends: what it
// returns without errors, query/chsql turns into SQL without failing.
//
// # The algebra
//
// A [Node] produces rows whose columns have ids ([ColID]), unique in one plan.
// Names exist only in the binder: project-rename, project-away and the like move
// names and leave no node behind. [Plan.Columns] names the columns of the result.
// An [Expr] refers to columns by id. Subqueries that are used more than once (a
// tabular let, a materialize) are [CTE]s, bound once and referred to by [CTERef].
//
// # Adding a function
//
// Add a line to the table in func.go, and its SQL to query/chsql/func.go. A test
// fails when one is missing. See LANGUAGE.md for the whole recipe.
package plan

// ColID names a column inside one plan.
type ColID int32

// Column is a column that a node produces.
type Column struct {
	ID   ColID
	Name string
	Type Type
}

// Plan is a bound query.
type Plan struct {
	Root    Node
	Columns []Column // the result, in order
	// CTEs are in an order in which each refers only to those before it.
	CTEs []*CTE
	// Render is the last render operator, nil if there is none.
	Render *Render
	// Tables are the stored tables that are read, each once.
	Tables []*Table
	// UsesNow says that the plan depends on the time of the query.
	UsesNow bool
	// Now is the time of the query in ticks, 0 if it was not known.
	Now int64
	// Discover is set when the columns of the result depend on data (pivot,
	// bag_unpack): the query has to be run first, and Bind called again with its
	// answer in Options.Discovered. Root and Columns are then not the result.
	Discover *Discovery
	// Rollup is the ClickHouse table that answers in the place of a stored table,
	// "" if none does; RollupWhyNot says what stands against it.
	Rollup, RollupWhyNot string
	// Set are the values of set statements that are constants, by name.
	Set map[string]*Const
	// Notices say what of the answer a user has to know, in sentences.
	Notices []string

	columns    int             // ids handed out so far
	undeclared map[string]bool // columns that open tables were found to have
}

// Undeclared says whether an open table is read for a column of this name.
func (p *Plan) Undeclared(name string) bool { return p.undeclared[name] }

// Render is the render operator: how a result should be shown.
type Render struct {
	Kind       string
	Properties []Property
}

// Property is a name and a value.
type Property struct{ Name, Value string }

// Discovery asks for the distinct keys that decide which columns an operator
// makes. Query has one string column.
type Discovery struct {
	Key   string // where to put the answer in Options.Discovered
	Query *Plan
}

// CTE is a tabular expression that is referred to by name.
type CTE struct {
	Name string
	Root Node
	Cols []Column
	Refs int // references in the plan
}

// NewCol returns a fresh column; for passes that extend a plan.
func (p *Plan) NewCol(name string, t Type) Column {
	p.columns++
	return Column{ID: ColID(p.columns), Name: name, Type: t}
}

// Node is a relational operator: one of the types below.
type Node interface{ node() }

// Unit is one row without columns: what print extends.
type Unit struct{}

// Scan reads a stored table. Cols[i] is the column with index Index[i] in Table.
type Scan struct {
	Table *Table
	Cols  []Column
	Index []int
	// Extra are columns of an open table that it does not declare.
	Extra []Column
	// Arrival, if not nil, is the table's hidden column of that name.
	Arrival *Column
}

// Values is a constant table.
type Values struct {
	Cols []Column
	Rows [][]Expr
}

// Range is range Col from From to To step Step.
type Range struct {
	Col            Column
	From, To, Step Expr
}

// Filter keeps the rows for which Pred is true.
type Filter struct {
	In   Node
	Pred Expr
}

// Item computes a column.
type Item struct {
	Col Column
	X   Expr
}

// Extend adds columns. An item may refer to the columns of In only.
type Extend struct {
	In    Node
	Items []Item
}

// Aggregate groups rows by Keys; without keys it makes one row (also of none).
// An X of Aggs is an *Agg. Distinct is an Aggregate without Aggs.
type Aggregate struct {
	In   Node
	Keys []Item
	Aggs []Item
	// Partition divides the rows before they are grouped; its columns pass through.
	Partition *Partition
}

// Partition divides rows into groups on each of which an operator works alone,
// inside partition and mv-apply.
type Partition struct {
	// Keys are the columns that tell the groups apart.
	Keys []ColID
	// Carry are columns that have one value in each group.
	Carry []ColID
}

// SortKey is an order by an expression.
type SortKey struct {
	X         Expr
	Desc      bool
	NullsLast bool
}

// Sort orders rows.
type Sort struct {
	In        Node
	Keys      []SortKey
	Partition *Partition
}

// Limit keeps the first N rows, of each partition if there are any. Random keeps
// arbitrary rows instead of the first.
type Limit struct {
	In        Node
	N         Expr
	Partition *Partition
	Random    bool
}

// Serialize keeps the order of In for window functions.
type Serialize struct{ In Node }

// JoinKind is how a join treats rows without a match.
type JoinKind uint8

// The kinds of join.
const (
	InnerUnique JoinKind = iota
	Inner
	LeftOuter
	RightOuter
	FullOuter
	LeftSemi
	RightSemi
	LeftAnti
	RightAnti
)

var joinKindNames = [...]string{"innerunique", "inner", "leftouter", "rightouter", "fullouter", "leftsemi", "rightsemi", "leftanti", "rightanti"}

// String returns the kind as it is written in KQL.
func (k JoinKind) String() string { return joinKindNames[k] }

// LeftOnly says whether only columns of the left side come out.
func (k JoinKind) LeftOnly() bool { return k == LeftSemi || k == LeftAnti }

// RightOnly says whether only columns of the right side come out.
func (k JoinKind) RightOnly() bool { return k == RightSemi || k == RightAnti }

// JoinOn is an equality of a left and a right expression.
type JoinOn struct{ L, R Expr }

// Join combines two inputs. Columns keep their ids; the side that may be missing
// becomes null (strings empty).
type Join struct {
	Kind  JoinKind
	L, R  Node
	On    []JoinOn
	Cross bool // no condition: every row with every row
	// Where is a further condition on pairs of rows; inner joins only.
	Where Expr
	// Partition divides the left rows; innerunique keeps a row of a key in each part.
	Partition *Partition
}

// UnionPart is an input of a union. From[i] is the column for the union's column
// i, 0 if the part does not have it.
type UnionPart struct {
	In   Node
	From []ColID
	Name string // for withsource
}

// Union appends inputs.
type Union struct {
	Parts  []UnionPart
	Cols   []Column
	Source *Column // withsource, nil if absent
}

// MvItem is a column that mv-expand makes from the elements of X.
type MvItem struct {
	Col Column
	X   Expr
}

// MvExpand makes a row of every element of its items, which are walked through
// together. Bags expand to one-key bags, or with ArrayKind to [key, value].
type MvExpand struct {
	In        Node
	Items     []MvItem
	Index     *Column // position of the element, nil if not asked for
	ArrayKind bool
	Limit     int64 // 0: no limit
	KeepEmpty bool  // keep one row (of nulls) for an empty array
}

// Ordinal adds a column that numbers the rows of In: unique, in their order if
// they have one.
type Ordinal struct {
	In  Node
	Col Column
}

// SeriesAgg is an aggregate of make-series.
type SeriesAgg struct {
	Col     Column
	X       Expr // *Agg, or an expression over columns of Aggs
	Default Expr
}

// MakeSeries makes arrays of aggregates along an axis.
type MakeSeries struct {
	In             Node
	Keys           []Item // by
	Axis           Item   // array of the axis' values; X is the value in In
	From, To, Step Expr   // From and To may be nil: the data's own bounds
	Inclusive      bool   // To is included (the old in range() form)
	NonEmpty       bool   // kind=nonempty
	Inner          []Item // *Agg, per bin
	Aggs           []SeriesAgg
}

// Scanner is the scan operator.
type Scanner struct {
	In        Node
	Partition []Expr
	Steps     []ScanStep
	State     []ScanVar // columns it declares
	MatchID   *Column
}

// ScanVar is a declared column of scan with its default.
type ScanVar struct {
	Col     Column
	Default Expr
}

// ScanStep is a step of scan. In Cond and Assigns, the current row's columns
// and declared variables are plain columns; another step's are ScanRef.
type ScanStep struct {
	Name    string
	Output  string // all, last or none
	Cond    Expr
	Assigns []Item // Col is a declared variable
}

// CTERef reads a CTE. Cols[i] stands for CTE.Cols[i].
type CTERef struct {
	CTE  *CTE
	Cols []Column
}

func (*Unit) node()       {}
func (*Scan) node()       {}
func (*Values) node()     {}
func (*Range) node()      {}
func (*Filter) node()     {}
func (*Extend) node()     {}
func (*Aggregate) node()  {}
func (*Sort) node()       {}
func (*Limit) node()      {}
func (*Serialize) node()  {}
func (*Join) node()       {}
func (*Union) node()      {}
func (*MvExpand) node()   {}
func (*Ordinal) node()    {}
func (*MakeSeries) node() {}
func (*Scanner) node()    {}
func (*CTERef) node()     {}
