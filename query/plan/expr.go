package plan

import "hubscope/query/kql"

// Expr is a bound scalar expression: one of the types below.
type Expr interface {
	// Type is the expression's Kusto type.
	Type() Type
}

// Const is a constant. Which field counts depends on T:
//
//	Bool       Int is 0 or 1
//	Int, Long  Int
//	Real       Real
//	Datetime   Int: ticks since 0001-01-01
//	Timespan   Int: ticks
//	Decimal    Text: digits
//	GUID       Text: lower case with dashes
//	String     Text
//	Dynamic    Text: compact JSON
type Const struct {
	T    Type
	Null bool
	Int  int64
	Real float64
	Text string
}

// Ref reads a column.
type Ref struct {
	ID   ColID
	T    Type
	Name string
}

// Call is a scalar function of the function table.
type Call struct {
	Func *Func
	Args []Expr
	T    Type
	// Partition divides the rows for functions over a serialized row set.
	Partition *Partition
}

// Unary is -X. T is its type.
type Unary struct {
	Op kql.Op
	X  Expr
	T  Type
}

// Binary is X Op Y for arithmetic, comparison, and, or, and the string operators.
type Binary struct {
	Op   kql.Op
	X, Y Expr
	T    Type
}

// In is X Op (List) for in, !in, in~, !in~, has_any and has_all.
type In struct {
	Op   kql.Op
	X    Expr
	List []Expr
}

// Between is X between (Lo .. Hi), both included; with Not it is !between.
type Between struct {
	X, Lo, Hi Expr
	Not       bool
}

// Field is a component of a call that returns several values.
type Field struct {
	X *Call
	N int
	T Type
}

// InQuery is X Op (Query) for in, !in, in~, !in~.
type InQuery struct {
	Op    kql.Op
	X     Expr
	Query Node
	Col   Column
}

// Path is a property of a dynamic value: X.Key, or X[Index].
type Path struct {
	X     Expr
	Key   string
	Index Expr // nil: Key counts
}

// ScalarQuery is toscalar(Query): the column of its first row.
type ScalarQuery struct {
	Query Node
	Col   Column
}

// ArrayQuery is a one-column query as a dynamic array of its values.
type ArrayQuery struct {
	Query Node
	Col   Column
}

// Agg is an aggregate, in an Aggregate or MakeSeries only.
type Agg struct {
	Func *Func
	Args []Expr
	T    Type
	// Of are the values that arg_max, arg_min and take_any return; Pick is which
	// of them this column is (0 is the extreme itself for arg_max and arg_min).
	// Aggregates that share Args and Of are computed once.
	Of    []Expr
	Pick  int
	Group int // equal for the columns of one call, 0 if it makes one column
	// Weight, if not nil, is how many rows a row stands for; counts add it up.
	Weight *Ref
	// Merge says that the first argument is a state of the aggregate, made of many
	// rows.
	Merge bool
}

// ScanRef is a column of another step's state in scan.
type ScanRef struct {
	Step int
	ID   ColID
	T    Type
}

// Type returns T.
func (c *Const) Type() Type { return c.T }

// Type returns T.
func (r *Ref) Type() Type { return r.T }

// Type returns T.
func (c *Call) Type() Type { return c.T }

// Type returns T.
func (u *Unary) Type() Type { return u.T }

// Type returns T.
func (b *Binary) Type() Type { return b.T }

// Type returns Bool.
func (*In) Type() Type { return Bool }

// Type returns Bool.
func (*Between) Type() Type { return Bool }

// Type returns T.
func (f *Field) Type() Type { return f.T }

// Type returns Bool.
func (*InQuery) Type() Type { return Bool }

// Type returns Dynamic.
func (*Path) Type() Type { return Dynamic }

// Type returns the column's type.
func (q *ScalarQuery) Type() Type { return q.Col.Type }

// Type returns Dynamic.
func (*ArrayQuery) Type() Type { return Dynamic }

// Type returns T.
func (a *Agg) Type() Type { return a.T }

// Type returns T.
func (r *ScanRef) Type() Type { return r.T }
