package chsql

import (
	"fmt"
	"strings"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// expr writes an expression.
func (g *gen) expr(x plan.Expr) val {
	switch x := x.(type) {
	case *plan.Const:
		return constant(x)
	case *plan.Ref:
		return g.use(x.ID)
	case *plan.Call:
		return g.call(x)
	case *plan.Field:
		return g.field(x)
	case *plan.Unary:
		return g.unary(x)
	case *plan.Binary:
		return g.binary(x)
	case *plan.In:
		return g.in(x)
	case *plan.Between:
		return g.between(x)
	case *plan.InQuery:
		return g.inQuery(x)
	case *plan.Path:
		return g.path(x)
	case *plan.ScalarQuery:
		return g.scalarQuery(x)
	case *plan.ArrayQuery:
		return g.arrayQuery(x)
	case *plan.ScanRef:
		return g.scanStates(x)
	}
	panic(fmt.Sprintf("chsql: no SQL for expression %T", x))
}

// canonical returns a value held as its type is held when nothing else is known.
func (g *gen) canonical(v val, t plan.Type) val {
	if v.path != nil {
		v = g.read(v)
	}
	want := kindOf(t)
	if v.k == want && !v.low {
		return v
	}
	switch want {
	case kBool:
		if v.k == kCond {
			return call(kBool, v.null, "CAST("+v.sql+", '"+nullable("Bool", v.null)+"')")
		}
		return g.toBool(v)
	case kJSON:
		v = g.json(v)
	case kString:
		v = g.str(v)
	case kDatetime, kTimespan, kGUID:
		return v
	default:
		return g.num(v, want)
	}
	if v.low {
		return call(v.k, v.null, "CAST("+v.sql+", '"+nullable("String", v.null)+"')")
	}
	return v
}

// boolean returns a condition as UInt8 or Bool; null stays NULL.
func (g *gen) boolean(v val) val {
	if v.path != nil {
		v = g.read(v)
	}
	if v.k == kBool || v.k == kCond {
		return v
	}
	return g.toBool(v)
}

// predicate writes a condition for a place where NULL counts as false.
func (g *gen) predicate(x plan.Expr) string {
	return g.test(x).sql
}

// test writes a condition whose NULL may be taken for false: it leaves out what
// only tells null from false.
func (g *gen) test(x plan.Expr) val {
	b, ok := x.(*plan.Binary)
	if !ok {
		return g.boolean(g.expr(x))
	}
	switch b.Op {
	case kql.OpAnd, kql.OpOr:
		return chain(b, g.test)
	case kql.OpEq, kql.OpNe:
		return g.equality(b, true)
	}
	return g.boolean(g.expr(x))
}

// chain writes a chain of and, or of or, as one: the engine takes long ones, but
// no deep ones.
func chain(b *plan.Binary, operand func(plan.Expr) val) val {
	var list []plan.Expr
	op := b.Op
	var x plan.Expr = b
	for {
		b, ok := x.(*plan.Binary)
		if !ok || b.Op != op {
			break
		}
		list = append(list, b.Y)
		x = b.X
	}
	text := " AND "
	if op == kql.OpOr {
		text = " OR "
	}
	first := operand(x)
	null := first.null
	var sb strings.Builder
	sb.WriteString(first.s())
	for i := len(list) - 1; i >= 0; i-- {
		v := operand(list[i])
		null = null || v.null
		sb.WriteString(text)
		sb.WriteString(v.s())
	}
	return cond(null, sb.String())
}

func isAnd(b *plan.Binary) bool { return b.Op == kql.OpAnd }

func (g *gen) unary(x *plan.Unary) val {
	v := g.expr(x.X)
	switch x.T {
	case plan.Dynamic, plan.Unknown:
		v = g.num(v, kReal)
		return g.json(call(kReal, v.null, "-"+v.s()))
	}
	k := kindOf(x.T)
	if k != kTimespan {
		v = g.num(v, k)
	}
	return call(k, v.null, "negate("+v.sql+")")
}

func (g *gen) binary(x *plan.Binary) val {
	switch x.Op {
	case kql.OpAnd, kql.OpOr:
		return chain(x, func(x plan.Expr) val { return g.boolean(g.expr(x)) })
	case kql.OpEq, kql.OpNe:
		return g.equality(x, false)
	case kql.OpLt, kql.OpLe, kql.OpGt, kql.OpGe:
		return g.comparison(x)
	case kql.OpAdd, kql.OpSub, kql.OpMul, kql.OpDiv, kql.OpMod:
		return g.arithmetic(x)
	}
	return g.stringOp(x)
}

// sides returns both sides of a comparison held alike.
func (g *gen) sides(x, y plan.Expr) (l, r val) {
	l, r = g.expr(x), g.expr(y)
	tx, ty := x.Type(), y.Type()
	dx, dy := tx == plan.Dynamic || tx == plan.Unknown, ty == plan.Dynamic || ty == plan.Unknown
	switch {
	case dx && dy:
		return g.json(l), g.json(r)
	case dx:
		return g.as(l, ty, r), r
	case dy:
		return l, g.as(r, tx, l)
	case tx != ty && tx.Numeric() && ty.Numeric():
		if tx == plan.Decimal || ty == plan.Decimal {
			return g.num(l, kDecimal), g.num(r, kDecimal)
		}
	}
	return l, r
}

// as returns a dynamic value as the type that it is compared with.
func (g *gen) as(v val, t plan.Type, other val) val {
	switch t {
	case plan.String:
		return g.strOrNull(v)
	case plan.Bool:
		return g.toBool(v)
	case plan.Int, plan.Long, plan.Real:
		return g.num(v, kReal)
	case plan.Decimal:
		return g.num(v, kDecimal)
	}
	return g.json(v)
}

// equality writes == and !=. Kusto compares null with a value: == is false and
// != is true when one side is null; only two nulls give null.
// (scalar-data-types/null-values)
func (g *gen) equality(x *plan.Binary, test bool) val {
	l, r := g.sides(x.X, x.Y)
	op := " = "
	if x.Op == kql.OpNe {
		op = " != "
	}
	if l.k == kDecimal || r.k == kDecimal {
		l, r = g.num(l, kDecimal), g.num(r, kDecimal)
	}
	plain := func() string { return l.lit() + op + r.lit() }
	if !l.null && !r.null {
		return cond(false, plain())
	}
	if test && x.Op == kql.OpEq {
		return cond(true, plain())
	}
	if !l.null || !r.null {
		// One side is never null: null beside it is a difference.
		if x.Op == kql.OpEq {
			return call(kCond, false, "ifNull("+plain()+", 0)")
		}
		return call(kCond, false, "ifNull("+plain()+", 1)")
	}
	l, r = g.hoist(l), g.hoist(r)
	if x.Op == kql.OpNe {
		if test {
			return call(kCond, false, "ifNull("+plain()+", isNull("+l.sql+") != isNull("+r.sql+"))")
		}
		return call(kCond, true, "if(isNull("+l.sql+") AND isNull("+r.sql+"), NULL, ifNull("+plain()+", 1))")
	}
	return call(kCond, true, "if(isNull("+l.sql+") AND isNull("+r.sql+"), NULL, ifNull("+plain()+", 0))")
}

func (g *gen) comparison(x *plan.Binary) val {
	l, r := g.sides(x.X, x.Y)
	if l.k == kJSON && r.k == kJSON {
		l, r = g.num(l, kReal), g.num(r, kReal)
	}
	if l.k == kDecimal || r.k == kDecimal {
		l, r = g.num(l, kDecimal), g.num(r, kDecimal)
	}
	op := map[kql.Op]string{kql.OpLt: " < ", kql.OpLe: " <= ", kql.OpGt: " > ", kql.OpGe: " >= "}[x.Op]
	return cond(l.null || r.null, l.lit()+op+r.lit())
}

func (g *gen) between(x *plan.Between) val {
	v, lo, hi := g.expr(x.X), g.expr(x.Lo), g.expr(x.Hi)
	for _, t := range []plan.Type{x.X.Type(), x.Lo.Type(), x.Hi.Type()} {
		if t == plan.Decimal {
			v, lo, hi = g.num(v, kDecimal), g.num(lo, kDecimal), g.num(hi, kDecimal)
			break
		}
		if (t == plan.Dynamic || t == plan.Unknown) && (v.k >= kJSON || lo.k >= kJSON || hi.k >= kJSON || v.path != nil) {
			v, lo, hi = g.num(v, kReal), g.num(lo, kReal), g.num(hi, kReal)
			break
		}
	}
	null := v.null || lo.null || hi.null
	op := " BETWEEN "
	if x.Not {
		op = " NOT BETWEEN "
	}
	return cond(null, v.s()+op+lo.lit()+" AND "+hi.lit())
}

// arithmetic writes + - * / %.
func (g *gen) arithmetic(x *plan.Binary) val {
	tx, ty := x.X.Type(), x.Y.Type()
	l, r := g.expr(x.X), g.expr(x.Y)
	if x.T == plan.Dynamic || x.T == plan.Unknown {
		l, r = g.num(l, kReal), g.num(r, kReal)
		return g.json(g.numeric(x.Op, plan.Real, l, r))
	}
	dyn := func(v val, t plan.Type, want kind) val {
		if t == plan.Dynamic || t == plan.Unknown {
			switch want {
			case kDatetime:
				return g.toDatetime(v)
			case kTimespan:
				return g.toTimespan(v)
			}
			return g.num(v, want)
		}
		return v
	}
	switch x.T {
	case plan.Int, plan.Long, plan.Real, plan.Decimal:
		if tx == plan.Timespan || ty == plan.Timespan { // timespan / timespan
			l, r = dyn(l, tx, kTimespan), dyn(r, ty, kTimespan)
			return call(kReal, l.null || r.null, "divide(toFloat64("+l.sql+"), toFloat64("+r.sql+"))")
		}
		k := kindOf(x.T)
		if tx == plan.Dynamic {
			l = g.num(l, k)
		}
		if ty == plan.Dynamic {
			r = g.num(r, k)
		}
		return g.numeric(x.Op, x.T, l, r)
	case plan.Datetime:
		l, r = dyn(l, tx, kDatetime), dyn(r, ty, kTimespan)
		if l.k == kTimespan && r.k == kDatetime {
			l, r = r, l
		}
		op := " + "
		if x.Op == kql.OpSub {
			op = " - "
		}
		null := l.null || r.null
		return call(kDatetime, null, fromTicks(g.ticks(l)+op+r.lit()))
	case plan.Timespan:
		switch x.Op {
		case kql.OpAdd, kql.OpSub:
			if tx == plan.Datetime || ty == plan.Datetime {
				l, r = dyn(l, tx, kDatetime), dyn(r, ty, kDatetime)
			} else {
				l, r = dyn(l, tx, kTimespan), dyn(r, ty, kTimespan)
			}
			op := " + "
			if x.Op == kql.OpSub {
				op = " - "
			}
			return val{sql: g.ticks(l) + op + g.ticks(r), k: kTimespan, null: l.null || r.null, op: true}
		case kql.OpMul:
			if l.k != kTimespan {
				l, r = r, l
			}
			r = dyn(r, plan.Unknown, kReal)
			if r.k == kLong || r.k == kInt {
				return val{sql: l.s() + " * " + r.lit(), k: kTimespan, null: l.null || r.null, op: true}
			}
			return call(kTimespan, true, "accurateCastOrNull(round("+l.s()+" * "+g.num(r, kReal).s()+"), 'Int64')")
		case kql.OpDiv:
			if r.k == kLong || r.k == kInt {
				return call(kTimespan, true, "intDivOrNull("+l.sql+", "+divisor(r)+")")
			}
			return call(kTimespan, true, "accurateCastOrNull(round("+l.s()+" / "+g.num(r, kReal).s()+"), 'Int64')")
		case kql.OpMod:
			t := g.ticks(l)
			if l.k == kDatetime {
				t = "(" + t + " + " + itoa(plan.UnixEpochTicks) + ")"
			}
			return call(kTimespan, true, "CAST(positiveModuloOrNull("+t+", "+g.ticks(r)+"), 'Nullable(Int64)')")
		}
	}
	panic(fmt.Sprintf("chsql: no arithmetic %v on %s and %s", x.Op, tx, ty))
}

// numeric writes arithmetic on numbers with a result of type t.
func (g *gen) numeric(op kql.Op, t plan.Type, l, r val) val {
	k := kindOf(t)
	null := l.null || r.null
	infix := map[kql.Op]string{kql.OpAdd: " + ", kql.OpSub: " - ", kql.OpMul: " * "}[op]
	switch k {
	case kDecimal:
		l, r = g.num(l, k), g.num(r, k)
		null = l.null || r.null
		switch op {
		case kql.OpMul:
			return call(k, null, "multiplyDecimal("+l.sql+", "+r.sql+", "+decimalScale+")")
		case kql.OpDiv:
			r = g.hoist(r)
			return call(k, true, "if("+r.sql+" = 0, NULL, divideDecimal("+l.sql+", if("+r.sql+" = 0, toDecimal256(1, "+decimalScale+"), "+r.sql+"), "+decimalScale+"))")
		case kql.OpMod:
			r = g.hoist(r)
			return call(k, true, "CAST(if("+r.sql+" = 0, NULL, positiveModulo("+l.sql+", if("+r.sql+" = 0, toDecimal256(1, "+decimalScale+"), "+r.sql+"))), 'Nullable("+decimalType+")')")
		}
		return val{sql: l.s() + infix + r.s(), k: k, null: null, op: true}
	case kReal:
		switch op {
		case kql.OpDiv:
			if l.k == kReal || r.k == kReal {
				return val{sql: l.lit() + " / " + r.lit(), k: k, null: null, op: true}
			}
			return call(k, null, "divide(toFloat64("+l.sql+"), "+r.lit()+")")
		case kql.OpMod:
			return call(k, null, "positiveModulo("+g.num(l, k).sql+", "+g.num(r, k).sql+")")
		}
		if l.k != kReal && r.k != kReal {
			l = g.num(l, kReal)
		}
		return val{sql: l.lit() + infix + r.lit(), k: k, null: null, op: true}
	}
	// Whole numbers: at least one side has to be an Int64 (or both Int32) for the
	// result to be one.
	switch op {
	case kql.OpDiv:
		return call(kLong, true, "intDivOrNull("+long(l)+", "+divisor(r)+")")
	case kql.OpMod:
		return call(kLong, true, "CAST(positiveModuloOrNull("+long(l)+", "+divisor(r)+"), 'Nullable(Int64)')")
	}
	if r.c != nil && l.k == kLong {
		return val{sql: l.s() + infix + r.lit(), k: kLong, null: null, op: true}
	}
	if l.c != nil && r.k == kLong {
		return val{sql: l.lit() + infix + r.s(), k: kLong, null: null, op: true}
	}
	return val{sql: l.s() + infix + r.s(), k: kLong, null: null, op: true}
}

// divisor writes a whole number to divide by.
func divisor(v val) string {
	if n, ok := v.constInt(); ok && n > 0 {
		return whole(n)
	}
	return v.lit()
}

// long writes a whole number as Int64.
func long(v val) string {
	if v.k == kInt {
		return "toInt64(" + v.sql + ")"
	}
	return v.sql
}

// ticks writes a datetime, a timespan or a whole number as Int64.
func (g *gen) ticks(v val) string {
	switch v.k {
	case kDatetime:
		if v.c != nil && !v.c.Null {
			return "toInt64(" + itoa(v.c.Int-plan.UnixEpochTicks) + ")"
		}
		return "reinterpretAsInt64(" + v.sql + ")"
	case kLong, kTimespan:
		return v.s()
	case kInt:
		return "toInt64(" + v.sql + ")"
	}
	return g.num(v, kLong).s()
}

// in writes in, !in, in~, !in~, has_any, has_all.
func (g *gen) in(x *plan.In) val {
	switch x.Op {
	case kql.OpHasAny, kql.OpHasAll:
		return g.hasAny(x)
	}
	not := x.Op == kql.OpNotIn || x.Op == kql.OpNotInTilde
	fold := x.Op == kql.OpInTilde || x.Op == kql.OpNotInTilde
	t := x.X.Type()
	left := g.expr(x.X)
	if t == plan.Dynamic || t == plan.Unknown {
		// The elements decide what a dynamic value is compared as.
		t = plan.String
		numbers := len(x.List) > 0
		for _, e := range x.List {
			numbers = numbers && e.Type().Numeric()
		}
		if numbers {
			t = plan.Real
			left = g.num(left, kReal)
		} else {
			left = g.strOrNull(left)
		}
	}
	var list []string
	var arrays []val
	for _, e := range x.List {
		v := g.expr(e)
		if e.Type() == plan.Dynamic || e.Type() == plan.Unknown {
			arrays = append(arrays, v)
			continue
		}
		if v.c != nil && v.c.Null {
			continue // null equals nothing
		}
		v = g.like(v, e.Type(), t)
		if fold && t == plan.String {
			v = g.lower(v)
		}
		list = append(list, v.lit())
	}
	if fold && t == plan.String {
		left = g.lower(left)
	}
	var parts []string
	if len(list) > 0 {
		parts = append(parts, left.s()+" IN ("+strings.Join(list, ", ")+")")
	}
	if len(arrays) > 0 {
		left = g.hoist(left)
	}
	for _, a := range arrays {
		var arr string
		switch {
		case t == plan.String:
			arr = g.strings(a).sql
			if fold {
				v := g.variable()
				arr = "arrayMap(" + v + " -> lowerUTF8(" + v + "), " + arr + ")"
			}
		case t.Numeric():
			arr = g.reals(a).sql
		default:
			// Compared as text: datetimes and the like are strings in JSON.
			l := g.str(left)
			parts = append(parts, "has("+g.strings(a).sql+", "+l.sql+")")
			continue
		}
		if left.null {
			parts = append(parts, "ifNull(has("+arr+", assumeNotNull("+left.sql+")) AND isNotNull("+left.sql+"), 0)")
		} else {
			parts = append(parts, "has("+arr+", "+left.sql+")")
		}
	}
	if len(parts) == 0 {
		if not {
			return cond(false, "1 = 1")
		}
		return cond(false, "1 = 0")
	}
	sql := strings.Join(parts, " OR ")
	if !not {
		return cond(left.null, sql)
	}
	if left.null {
		return call(kCond, false, "NOT ifNull("+sql+", 0)")
	}
	if len(parts) == 1 && len(list) > 0 {
		return cond(false, left.s()+" NOT IN ("+strings.Join(list, ", ")+")")
	}
	return cond(false, "NOT ("+sql+")")
}

// like converts a value of one type to compare it with values of another.
func (g *gen) like(v val, from, to plan.Type) val {
	if from == to || from.Numeric() && to.Numeric() {
		if to == plan.Decimal || from == plan.Decimal {
			return g.num(v, kDecimal)
		}
		return v
	}
	switch to {
	case plan.String:
		return g.str(v)
	case plan.Datetime:
		return g.toDatetime(v)
	case plan.Timespan:
		return g.toTimespan(v)
	case plan.GUID:
		return g.toGUID(v)
	case plan.Bool:
		return g.toBool(v)
	}
	return g.num(v, kindOf(to))
}

func (g *gen) inQuery(x *plan.InQuery) val {
	left := g.expr(x.X)
	fold := (x.Op == kql.OpInTilde || x.Op == kql.OpNotInTilde) && x.X.Type() == plan.String
	if fold {
		left = g.lower(left)
	} else if left.path != nil {
		left = g.read(left)
	}
	outer := g.b
	need := g.newSet()
	need.add(x.Col.ID)
	b := g.node(x.Query, need)
	g.b = b
	v := g.canonical(g.use(x.Col.ID), x.Col.Type)
	if x.Col.Type != x.X.Type() {
		v = g.like(v, x.Col.Type, x.X.Type())
	}
	if fold {
		v = g.lower(v)
	}
	if b.natural {
		b.order = nil
	}
	sql := g.text(b, []string{g.name("key")}, []string{v.sql})
	g.b = outer
	not := x.Op == kql.OpNotIn || x.Op == kql.OpNotInTilde
	if v.null || left.null {
		in := "ifNull(" + left.s() + " IN (" + sql + "), 0)"
		if not {
			in = "NOT " + in
		}
		return call(kCond, false, in)
	}
	if not {
		return cond(false, left.s()+" NOT IN ("+sql+")")
	}
	return cond(false, left.s()+" IN ("+sql+")")
}

func (g *gen) scalarQuery(x *plan.ScalarQuery) val {
	outer := g.b
	need := g.newSet()
	need.add(x.Col.ID)
	b := g.node(x.Query, need)
	if b.limitN != "" || b.limitBy != "" {
		b = g.wrap(b, need)
	}
	g.b = b
	b.limitN = "1"
	v := g.canonical(g.use(x.Col.ID), x.Col.Type)
	sql := "(" + g.text(b, []string{g.name("first")}, []string{v.sql}) + ")"
	g.b = outer
	if v.k == kString {
		return call(kString, false, "ifNull("+sql+", '')")
	}
	return val{sql: sql, k: v.k, null: true}
}

func (g *gen) arrayQuery(x *plan.ArrayQuery) val {
	outer := g.b
	need := g.newSet()
	need.add(x.Col.ID)
	b := g.node(x.Query, need)
	if b.grouped || b.limitN != "" || b.limitBy != "" || b.windowed {
		b = g.wrap(b, need)
	}
	g.b = b
	b.order = nil
	v := g.canonical(g.use(x.Col.ID), x.Col.Type)
	elem := v.k
	if elem != kString && elem != kLong && elem != kReal {
		v, elem = g.str(v), kString
	}
	sql := "(" + g.text(b, []string{g.name("values")}, []string{"groupArray(" + v.sql + ")"}) + ")"
	g.b = outer
	return val{sql: sql, k: kArray, elem: elem}
}

// sortable returns a value as what sorts as Kusto sorts it.
func (g *gen) sortable(v val) val {
	if v.path != nil {
		v = g.read(v)
	}
	switch v.k {
	case kText, kArray:
		return g.json(v)
	}
	return v
}

// path writes access to a property or an element of a dynamic value. It stays a
// path until it is known what is to be read there.
func (g *gen) path(x *plan.Path) val {
	v := g.expr(x.X)
	if x.Index == nil {
		return g.property(v, quote(x.Key))
	}
	i := g.expr(x.Index)
	switch x.Index.Type() {
	case plan.String:
		return g.property(v, i.sql)
	case plan.Dynamic, plan.Unknown:
		if i.k != kLong && i.k != kInt {
			// A dynamic index: a key or a place, as it turns out.
			j := g.hoist(g.json(v))
			n := g.hoist(g.num(i, kLong))
			elem := "arrayElement(JSONExtractArrayRaw(ifNull(" + j.sql + ", '')), if(ifNull(" + n.sql + ", 0) < 0, ifNull(" + n.sql + ", 0), ifNull(" + n.sql + ", 0) + 1))"
			key := "JSONExtractRaw(ifNull(" + j.sql + ", ''), " + g.str(i).sql + ")"
			return call(kJSON, true, "nullIf(nullIf(if(isNull("+n.sql+"), "+key+", "+elem+"), ''), 'null')")
		}
	}
	return g.element(v, i)
}

// property steps to the value of a key.
func (g *gen) property(v val, key string) val {
	if v.path != nil && v.k == kJSON {
		v.path = append(v.path[:len(v.path):len(v.path)], step{key: key})
		return v
	}
	switch v.k {
	case kText, kJSON:
		return val{sql: nonNull(v), k: kJSON, null: true, path: []step{{key: key}}, low: v.low}
	case kArray, kString, kLong, kReal, kBool, kCond, kInt, kDatetime, kTimespan, kGUID, kDecimal:
		return nullOf(kJSON) // no bag
	}
	return nullOf(kJSON)
}

// element steps to an element of an array; a negative place counts from the end.
func (g *gen) element(v, i val) val {
	place := ""
	if n, ok := i.constInt(); ok {
		if n >= 0 {
			n++
		}
		place = itoa(n)
	} else {
		h := g.hoist(g.num(i, kLong))
		place = "if(" + h.sql + " < 0, " + h.sql + ", " + h.sql + " + 1)"
		if h.null {
			place = "ifNull(" + place + ", 9223372036854775807)"
		}
	}
	if v.path == nil {
		switch v.k {
		case kArray:
			return g.arrayElement(v, place)
		case kText, kJSON:
			return val{sql: nonNull(v), k: kJSON, null: true, path: []step{{index: place}}, low: v.low}
		}
		return nullOf(kJSON)
	}
	v.path = append(v.path[:len(v.path):len(v.path)], step{index: place})
	return v
}

func (g *gen) arrayElement(v val, place string) val {
	e := val{k: v.elem, null: true}
	switch v.elem {
	case kJSON:
		e.sql = "nullIf(nullIf(arrayElement(" + v.sql + ", " + place + "), ''), 'null')"
	case kString:
		e.k, e.sql = kDynString, "arrayElementOrNull("+v.sql+", "+place+")"
	default:
		e.sql = "arrayElementOrNull(" + v.sql + ", " + place + ")"
	}
	return e
}

// nonNull writes JSON text with "" for NULL, for functions that return arrays.
func nonNull(v val) string {
	if v.null {
		return "ifNull(" + v.sql + ", '')"
	}
	return v.sql
}

// pathArgs reads all but what needs other functions of a path and returns the
// text and the arguments for JSONExtract and its kin. An index is stepped over
// by reading the array, as JSONExtract would take it for the place of a key in a
// bag too.
func pathArgs(v val) (sql, args string) {
	sql = v.sql
	for _, s := range v.path {
		if s.index != "" {
			sql = "arrayElement(JSONExtractArrayRaw(" + sql + args + "), " + s.index + ")"
			args = ""
			continue
		}
		args += ", " + s.key
	}
	return sql, args
}

// read turns a path into the JSON text that stands there; null and missing are
// NULL.
func (g *gen) read(v val) val {
	if v.path == nil {
		return v
	}
	sql, args := pathArgs(v)
	if args != "" {
		sql = "JSONExtractRaw(" + sql + args + ")"
	}
	return call(kJSON, true, "nullIf(nullIf("+sql+", ''), 'null')")
}

// extract reads a path as a ClickHouse type; what is missing or of another kind
// is NULL.
func extract(v val, chType string) string {
	if v.path == nil {
		return "JSONExtract(" + v.sql + ", 'Nullable(" + chType + ")')"
	}
	sql, args := pathArgs(v)
	return "JSONExtract(" + sql + args + ", 'Nullable(" + chType + ")')"
}
