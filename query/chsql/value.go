package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// kind is how a value is held in ClickHouse.
type kind uint8

const (
	kBool      kind = iota // Bool
	kCond                  // UInt8: the result of a comparison
	kInt                   // Int32
	kLong                  // Int64
	kReal                  // Float64
	kDecimal               // Decimal(76, 20)
	kDatetime              // DateTime64(7, 'UTC')
	kTimespan              // Int64, ticks
	kGUID                  // UUID
	kString                // String, never null
	kJSON                  // String: compact JSON text; JSON's null is NULL
	kText                  // String: JSON text as it was stored, "" or not JSON at all included
	kDynString             // String or NULL: a dynamic value that is a string
	kArray                 // Array; elem says of what
)

// decimalType holds Kusto's 34 digits with 20 of them after the point.
const (
	decimalScale = "20"
	decimalType  = "Decimal(76, 20)"
)

// chType returns the ClickHouse type of a kind that is not an array.
func (k kind) chType() string {
	switch k {
	case kBool:
		return "Bool"
	case kCond:
		return "UInt8"
	case kInt:
		return "Int32"
	case kLong, kTimespan:
		return "Int64"
	case kReal:
		return "Float64"
	case kDecimal:
		return decimalType
	case kDatetime:
		return `DateTime64(7, \'UTC\')`
	case kGUID:
		return "UUID"
	}
	return "String"
}

// kindOf is how a value of a type is held when nothing else is known of it.
func kindOf(t plan.Type) kind {
	switch t {
	case plan.Bool:
		return kBool
	case plan.Int:
		return kInt
	case plan.Long:
		return kLong
	case plan.Real:
		return kReal
	case plan.Decimal:
		return kDecimal
	case plan.Datetime:
		return kDatetime
	case plan.Timespan:
		return kTimespan
	case plan.GUID:
		return kGUID
	case plan.String:
		return kString
	}
	return kJSON
}

// val is an SQL expression and what is known of its value.
type val struct {
	sql  string
	k    kind
	null bool // the value may be NULL
	// atom says that sql needs no parentheses and costs nothing to repeat: a name
	// or a literal.
	atom bool
	// op says that sql is an infix expression.
	op bool
	// key, for a datetime, is the SQL of a small number or date that is another one
	// for each value: rows are grouped by it, at less cost. of makes the value of
	// it, which stands there as $. They hold as long as sql is keyed.
	key, of, keyed string
	// bucket is what a datetime is known to be a multiple of, in ticks.
	bucket int64
	// low says that the value may be of a LowCardinality type.
	low bool
	// c is the constant that sql stands for, if it does.
	c *plan.Const
	// Arrays: the kind of the elements, and whether they may be NULL. Elements of
	// kind kJSON are JSON text, with 'null' for null.
	elem     kind
	elemNull bool
	// path is set for a path into JSON that has not been read yet: sql is the
	// text it starts from.
	path []step
	// item is the alias that sql is, for values that outlive the expression they
	// were written for.
	item *item
}

// step is a step of a path: a key, or an index.
type step struct {
	key   string // SQL of the key
	index string // SQL of the index in an array, "" for a key
}

// s returns sql so that it can stand beside an operator.
func (v val) s() string {
	if v.op {
		return "(" + v.sql + ")"
	}
	return v.sql
}

// call returns a function call as a value.
func call(k kind, null bool, sql string) val { return val{sql: sql, k: k, null: null} }

// ofSeconds makes a datetime of a date or of a DateTime.
const ofSeconds = "toDateTime64($, 7, 'UTC')"

// keyed returns a datetime that of makes of key.
func keyed(key, of string) val {
	sql := strings.ReplaceAll(of, "$", key)
	return val{sql: sql, k: kDatetime, key: key, of: of, keyed: sql}
}

// groupedBy returns the key of a value, "" if it has none of its own.
func (v val) groupedBy() string {
	if v.null || v.keyed != v.sql {
		return ""
	}
	return v.key
}

// cond returns an infix condition as a value.
func cond(null bool, sql string) val { return val{sql: sql, k: kCond, null: null, op: true} }

// nullable wraps a type's name.
func nullable(t string, null bool) string {
	if null {
		return "Nullable(" + t + ")"
	}
	return t
}

// nullOf returns NULL of a kind.
func nullOf(k kind) val {
	if k == kString {
		return val{sql: "''", k: kString, atom: true}
	}
	if k == kCond {
		k = kBool
	}
	return val{sql: "CAST(NULL, 'Nullable(" + k.chType() + ")')", k: k, null: true}
}

// constant returns a constant as a value.
func constant(c *plan.Const) val {
	k := kindOf(c.T)
	if c.Null {
		v := nullOf(k)
		v.c = c
		return v
	}
	v := val{k: k, c: c}
	switch c.T {
	case plan.Bool:
		v.sql, v.atom = "false", true
		if c.Int != 0 {
			v.sql = "true"
		}
	case plan.Int:
		v.sql = "toInt32(" + itoa(c.Int) + ")"
	case plan.Long, plan.Timespan:
		v.sql = "toInt64(" + itoa(c.Int) + ")"
	case plan.Real:
		v.sql = float(c.Real)
	case plan.Decimal:
		v.sql = "toDecimal256(" + quote(c.Text) + ", " + decimalScale + ")"
	case plan.Datetime:
		v.sql = datetime(c.Int)
		v.null = c.Int < 0 || c.Int > plan.MaxDatetimeTicks
	case plan.GUID:
		v.sql = "toUUID(" + quote(c.Text) + ")"
	case plan.String:
		v.sql, v.atom = quote(c.Text), true
	case plan.Dynamic:
		v.sql, v.atom = quote(c.Text), true
	default:
		return nullOf(kJSON)
	}
	return v
}

// lit returns the value for a place where the width of a whole number does not
// matter: a constant is written as it is.
func (v val) lit() string {
	if v.c != nil && !v.c.Null && (v.k == kInt || v.k == kLong || v.k == kTimespan) {
		if v.c.Int < 0 {
			return "(" + itoa(v.c.Int) + ")"
		}
		return itoa(v.c.Int)
	}
	return v.s()
}

// constString returns the text of a constant string.
func (v val) constString() (string, bool) {
	if v.c != nil && v.c.T == plan.String {
		return v.c.Text, true
	}
	return "", false
}

// constInt returns the value of a constant whole number.
func (v val) constInt() (int64, bool) {
	if v.c != nil && !v.c.Null && (v.c.T == plan.Int || v.c.T == plan.Long) {
		return v.c.Int, true
	}
	return 0, false
}
