package plan

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"hubscope/query/kql"
)

// null is what an expression that could not be bound becomes; its type Unknown
// keeps one error from causing more.
func null() Expr { return &Const{Null: true} }

// expr binds a scalar expression.
func (b *binder) expr(e kql.Expr) Expr {
	if !b.deeper(e.Range()) {
		return null()
	}
	defer func() { b.depth-- }()
	switch e := e.(type) {
	case *kql.Paren:
		return b.expr(e.X)
	case *kql.Literal:
		if e.Problem != "" {
			if c := b.lateLiteral(e); c != nil {
				return c
			}
			b.errorf(e.Span, CodeArguments, "%s", e.Problem)
		}
		return literal(e)
	case *kql.Dynamic:
		value := b.dynamicLiterals(e.Value)
		return &Const{T: Dynamic, Null: isNullLit(value), Text: string(appendDynamic(nil, value))}
	case *kql.Ref:
		return b.ref(e)
	case *kql.Unary:
		return b.unary(e)
	case *kql.Binary:
		return b.binary(e)
	case *kql.In:
		return b.in(e)
	case *kql.Between:
		return b.between(e)
	case *kql.Call:
		return b.call(e)
	case *kql.Path:
		return b.path(e)
	case *kql.Index:
		return b.index(e)
	case *kql.Named:
		b.errorf(e.Span, CodeContext, "a name cannot be given here")
		return b.expr(e.X)
	case *kql.Star:
		b.errorf(e.Span, CodeContext, "* cannot stand here")
	case *kql.Wildcard:
		b.errorf(e.Span, CodeContext, "the pattern %q cannot stand here", e.Text)
	case *kql.Ordered:
		return b.expr(e.X)
	case *kql.TypeOf:
		b.errorf(e.Span, CodeContext, "typeof cannot stand here")
	case *kql.Unsupported:
		b.unsupported(e.Span, e.What)
	case *kql.Bad:
	default:
		b.errorf(e.Range(), CodeType, "a value was expected here, not a table")
	}
	return null()
}

// lateLiteral reads a datetime literal in one of the many spellings that
// todatetime takes.
func (b *binder) lateLiteral(e *kql.Literal) *Const {
	if e.Kind != kql.DateTimeLit {
		return nil
	}
	text := e.Raw
	if i := strings.IndexByte(text, '('); i >= 0 {
		text = strings.TrimSuffix(text[i+1:], ")")
	}
	text = strings.Trim(strings.TrimSpace(text), `"'`)
	if parts := strings.Split(text, ","); len(parts) >= 3 && len(parts) <= 7 {
		// datetime(2026, 11, 23) lists the parts.
		n := [7]int{0, 1, 1}
		for i, p := range parts {
			v, err := strconv.Atoi(strings.TrimSpace(p))
			if err != nil {
				return nil
			}
			n[i] = v
		}
		t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1_000_000, time.UTC)
		if t.Year() == n[0] && int(t.Month()) == n[1] && t.Day() == n[2] {
			return &Const{T: Datetime, Int: Ticks(t)}
		}
		return nil
	}
	if ticks, ok := ParseDatetime(text); ok {
		return &Const{T: Datetime, Int: ticks}
	}
	// Formatters of code put blanks around the dashes.
	if ticks, ok := ParseDatetime(strings.ReplaceAll(text, " - ", "-")); ok {
		return &Const{T: Datetime, Int: ticks}
	}
	return nil
}

// dynamicLiterals reads the late literals inside dynamic(...).
func (b *binder) dynamicLiterals(e kql.Expr) kql.Expr {
	switch e := e.(type) {
	case *kql.Literal:
		if e.Problem == "" {
			return e
		}
		if c := b.lateLiteral(e); c != nil {
			l := *e
			l.Problem, l.Int = "", c.Int
			return &l
		}
		b.errorf(e.Span, CodeArguments, "%s", e.Problem)
	case *kql.Dynamic:
		return b.dynamicLiterals(e.Value)
	case *kql.Array:
		for i := range e.Items {
			if x := b.dynamicLiterals(e.Items[i]); x != e.Items[i] {
				a := *e
				a.Items = append([]kql.Expr(nil), e.Items...)
				a.Items[i] = x
				return b.dynamicLiterals(&a)
			}
		}
	case *kql.Object:
		for i, f := range e.Fields {
			if x := b.dynamicLiterals(f.Value); x != f.Value {
				o := *e
				o.Fields = append([]*kql.Field(nil), e.Fields...)
				o.Fields[i] = &kql.Field{Span: f.Span, Name: f.Name, Value: x}
				return b.dynamicLiterals(&o)
			}
		}
	}
	return e
}

func isNullLit(e kql.Expr) bool {
	switch e := e.(type) {
	case *kql.Literal:
		return e.Kind == kql.NullLit || e.Null
	case *kql.Dynamic:
		return isNullLit(e.Value)
	}
	return false
}

func literal(e *kql.Literal) *Const {
	c := &Const{Null: e.Null}
	switch e.Kind {
	case kql.BoolLit:
		c.T, c.Int = Bool, e.Int
	case kql.IntLit:
		c.T, c.Int = Int, e.Int
	case kql.LongLit:
		c.T, c.Int = Long, e.Int
	case kql.RealLit:
		c.T, c.Real = Real, e.Real
	case kql.DecimalLit:
		c.T, c.Text = Decimal, e.Text
	case kql.StringLit:
		c.T, c.Text = String, e.Text
	case kql.DateTimeLit:
		c.T, c.Int = Datetime, e.Int
	case kql.TimespanLit:
		c.T, c.Int = Timespan, e.Int
	case kql.GuidLit:
		c.T, c.Text = GUID, e.Text
	default:
		c.T, c.Null = Dynamic, true
	}
	return c
}

func (b *binder) ref(e *kql.Ref) Expr {
	// A column comes first; what an open table may have comes last.
	v := b.scope.lookup(e.Text)
	if b.row != nil {
		if c, ok := b.row.declared(e.Text); ok {
			return refTo(c)
		}
		if v == nil {
			if c, ok := b.row.column(e.Text); ok {
				return refTo(c)
			}
		}
	}
	if v != nil {
		switch {
		case v.scalar != nil:
			if v.level != 0 && v.level != b.level && (v.level > 0 || b.level != 0) {
				b.errorf(e.Span, CodeContext, "%s depends on a row, which cannot be used inside a subquery", e.Text)
				return null()
			}
			return v.scalar
		case v.table != nil:
			b.errorf(e.Span, CodeType, "%s is a table; a value was expected", e.Text).Hint = "toscalar() takes the first value of a table"
			return null()
		case v.fn != nil && len(v.fn.def.Params) == 0:
			return b.callScalar(&kql.Call{Span: e.Span, Func: e.Name}, v.fn)
		}
		b.errorf(e.Span, CodeType, "%s is a function; call it with its arguments", e.Text)
		return null()
	}
	b.unknownName(e.Span, e.Text)
	return null()
}

func (b *binder) unknownName(at kql.Span, name string) {
	if b.row == nil || len(b.row.cols) == 0 && b.row.name == "" {
		e := b.errorf(at, CodeUnknownName, "no variable %q", name)
		e.Hint = b.nameHint(name, b.scope.localNames(false))
		return
	}
	where := ""
	if b.row.name != "" {
		where = " in " + b.row.name
	}
	e := b.errorf(at, CodeUnknownName, "no column %q%s", name, where)
	names := make([]string, len(b.row.cols))
	for i := range b.row.cols {
		names[i] = b.row.cols[i].Name
	}
	e.Hint = b.nameHint(name, names, b.scope.localNames(false))
}

// nameHint says what an unknown name was probably meant to be: a function without
// its arguments, a null, or one of names.
func (b *binder) nameHint(name string, names ...[]string) string {
	f := scalarFuncs[name]
	if f == nil && b.aggs != nil {
		f = aggregateFuncs[name]
	}
	switch {
	case f != nil && f.Sigs[0].min == 0:
		return "a function is called: " + name + "()"
	case f != nil:
		return "a function is called: " + name + "(...)"
	case strings.EqualFold(name, "null"):
		return "isnull(x) asks for null, isempty(x) for an empty string; int(null) is one"
	}
	return didYouMean(name, names...)
}

func (b *binder) unary(e *kql.Unary) Expr {
	x := b.expr(e.X)
	t := x.Type()
	if t != Unknown && t != Dynamic && !t.Numeric() && t != Timespan {
		b.errorf(e.Span, CodeType, "the operator - does not take %s", t)
		return null()
	}
	if e.Op == kql.OpPos {
		return x
	}
	if t == Int {
		// A literal and a call stay int, all else becomes long, as the official
		// binder has it.
		switch e.X.(type) {
		case *kql.Literal, *kql.Call:
		default:
			t = Long
		}
	}
	if c, ok := x.(*Const); ok && !c.Null {
		switch c.T {
		case Int, Long, Timespan:
			v := -c.Int
			if t == Int {
				v = int64(int32(v)) // as it wraps when run
			}
			return &Const{T: t, Int: v}
		case Real:
			return &Const{T: Real, Real: -c.Real}
		}
	}
	return &Unary{Op: kql.OpNeg, X: x, T: t}
}

// opText is how operators are named in messages.
var opText = map[kql.Op]string{
	kql.OpAdd: "+", kql.OpSub: "-", kql.OpMul: "*", kql.OpDiv: "/", kql.OpMod: "%",
	kql.OpEq: "==", kql.OpNe: "!=", kql.OpLt: "<", kql.OpLe: "<=", kql.OpGt: ">", kql.OpGe: ">=",
	kql.OpEqTilde: "=~", kql.OpNeTilde: "!~", kql.OpAnd: "and", kql.OpOr: "or",
	kql.OpHas: "has", kql.OpNotHas: "!has", kql.OpHasCS: "has_cs", kql.OpNotHasCS: "!has_cs",
	kql.OpHasPrefix: "hasprefix", kql.OpNotHasPrefix: "!hasprefix", kql.OpHasPrefixCS: "hasprefix_cs", kql.OpNotHasPrefixCS: "!hasprefix_cs",
	kql.OpHasSuffix: "hassuffix", kql.OpNotHasSuffix: "!hassuffix", kql.OpHasSuffixCS: "hassuffix_cs", kql.OpNotHasSuffixCS: "!hassuffix_cs",
	kql.OpContains: "contains", kql.OpNotContains: "!contains", kql.OpContainsCS: "contains_cs", kql.OpNotContainsCS: "!contains_cs",
	kql.OpStartsWith: "startswith", kql.OpNotStartsWith: "!startswith", kql.OpStartsWithCS: "startswith_cs", kql.OpNotStartsWithCS: "!startswith_cs",
	kql.OpEndsWith: "endswith", kql.OpNotEndsWith: "!endswith", kql.OpEndsWithCS: "endswith_cs", kql.OpNotEndsWithCS: "!endswith_cs",
	kql.OpLike: "like", kql.OpNotLike: "notlike", kql.OpLikeCS: "likecs", kql.OpNotLikeCS: "notlikecs",
	kql.OpMatchesRegex: "matches regex", kql.OpSearch: ":", kql.OpIn: "in", kql.OpNotIn: "!in", kql.OpInTilde: "in~", kql.OpNotInTilde: "!in~",
	kql.OpHasAny: "has_any", kql.OpHasAll: "has_all", kql.OpBetween: "between", kql.OpNotBetween: "!between",
}

func (b *binder) binary(e *kql.Binary) Expr {
	// A chain of operators grows to the left, by as many as a list has elements: it
	// is no nesting.
	chain := []*kql.Binary{e}
	for {
		left, ok := e.X.(*kql.Binary)
		if !ok {
			break
		}
		e = left
		chain = append(chain, e)
	}
	var x Expr
	if _, ok := e.X.(*kql.Star); ok {
		x = b.anyColumn(e)
		chain = chain[:len(chain)-1]
	} else {
		x = b.expr(e.X)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		y := b.expr(chain[i].Y)
		x = b.op(chain[i].Op, x, y, chain[i].OpAt)
	}
	return x
}

// op makes the bound form of X op Y.
func (b *binder) op(op kql.Op, x, y Expr, at kql.Span) Expr {
	tx, ty := x.Type(), y.Type()
	t, ok := binaryType(op, tx, ty)
	if !ok {
		b.errorf(at, CodeType, "the operator %s does not take %s and %s", opText[op], tx, ty)
		if t != Unknown {
			return &Binary{Op: op, X: x, Y: y, T: t}
		}
		return null()
	}
	switch {
	case op == kql.OpEq || op == kql.OpNe || op == kql.OpLt || op == kql.OpLe || op == kql.OpGt || op == kql.OpGe:
		x, y = b.comparable(x, y)
	case op == kql.OpMatchesRegex:
		b.checkRegex(y, at)
	}
	if f := foldBinary(op, x, y, t); f != nil {
		return f
	}
	return &Binary{Op: op, X: x, Y: y, T: t}
}

// comparable converts the sides of a comparison of different types: a string is
// read as the other side's type, except beside a number, which becomes text.
func (b *binder) comparable(x, y Expr) (Expr, Expr) {
	tx, ty := x.Type(), y.Type()
	if tx == ty {
		return x, y
	}
	switch {
	case tx == String && (ty == Datetime || ty == Timespan || ty == GUID || ty == Bool):
		return b.convert(x, ty), y
	case ty == String && (tx == Datetime || tx == Timespan || tx == GUID || tx == Bool):
		return x, b.convert(y, tx)
	case tx == String && ty.Numeric():
		return x, b.convert(y, String)
	case ty == String && tx.Numeric():
		return b.convert(x, String), y
	case tx == Bool && ty.Numeric():
		return b.convert(x, Long), y
	case ty == Bool && tx.Numeric():
		return x, b.convert(y, Long)
	case tx == Dynamic && (ty == Datetime || ty == Timespan || ty == GUID):
		return b.convert(x, ty), y
	case ty == Dynamic && (tx == Datetime || tx == Timespan || tx == GUID):
		return x, b.convert(y, tx)
	case tx == Unknown, ty == Unknown, tx == Dynamic, ty == Dynamic, tx.Numeric() && ty.Numeric():
		return x, y
	default:
		return b.convert(x, String), b.convert(y, String)
	}
}

// widest is the type of arithmetic between two numbers.
func widest(a, b Type) Type {
	switch {
	case a == Decimal || b == Decimal:
		return Decimal
	case a == Real || b == Real:
		return Real
	default:
		return Long
	}
}

// binaryType returns the type of X op Y. ok is false when the operator does not
// take the types.
func binaryType(op kql.Op, x, y Type) (t Type, ok bool) {
	unknown := x == Unknown || y == Unknown
	switch op {
	case kql.OpAdd, kql.OpSub, kql.OpMul, kql.OpDiv, kql.OpMod:
		return arithmeticType(op, x, y)
	case kql.OpAnd, kql.OpOr:
		return Bool, unknown || x == Bool && y == Bool
	case kql.OpEq, kql.OpNe:
		return Bool, true
	case kql.OpLt, kql.OpLe, kql.OpGt, kql.OpGe:
		switch {
		case unknown, x == y && x != GUID && x != Bool, x.Numeric() && y.Numeric():
			return Bool, true
		case x == Dynamic:
			return Bool, y.Summable() || y == String
		case y == Dynamic:
			return Bool, x.Summable() || x == String
		}
		return Bool, false
	default: // the string operators
		text := func(t Type) bool { return t == String || t == Dynamic || t == Unknown }
		if op == kql.OpSearch {
			return Bool, true
		}
		return Bool, text(x) && text(y)
	}
}

func arithmeticType(op kql.Op, x, y Type) (Type, bool) {
	if x == Unknown || y == Unknown {
		if x == Datetime && op == kql.OpAdd || y == Datetime && op == kql.OpAdd {
			return Datetime, true
		}
		return Unknown, true
	}
	if x == Dynamic && y == Dynamic {
		return Dynamic, true
	}
	if x == Dynamic || y == Dynamic {
		o := x
		if x == Dynamic {
			o = y
		}
		switch {
		case o.Numeric():
			if o == Int {
				return Long, true
			}
			return o, true
		case o == Datetime && op == kql.OpSub && x == Dynamic:
			return Timespan, true
		case o == Datetime && op == kql.OpSub:
			return Timespan, true
		case o == Datetime && op == kql.OpAdd:
			return Datetime, true
		case o == Timespan && (op == kql.OpAdd || op == kql.OpSub):
			if x == Dynamic {
				return Datetime, true
			}
			return Timespan, true
		case o == Timespan && op == kql.OpDiv && y == Dynamic, o == Timespan && op == kql.OpMul:
			return Timespan, true
		case o == Timespan && op == kql.OpDiv:
			return Real, true
		}
		return Unknown, false
	}
	if x.Numeric() && y.Numeric() {
		return widest(x, y), true
	}
	switch op {
	case kql.OpAdd:
		switch {
		case x == Datetime && y == Timespan, x == Timespan && y == Datetime:
			return Datetime, true
		case x == Timespan && y == Timespan:
			return Timespan, true
		}
	case kql.OpSub:
		switch {
		case x == Datetime && y == Datetime, x == Timespan && y == Timespan:
			return Timespan, true
		case x == Datetime && y == Timespan:
			return Datetime, true
		}
	case kql.OpMul:
		if x == Timespan && y.Numeric() || x.Numeric() && y == Timespan {
			return Timespan, true
		}
	case kql.OpDiv:
		switch {
		case x == Timespan && y == Timespan:
			return Real, true
		case x == Timespan && y.Numeric():
			return Timespan, true
		}
	case kql.OpMod:
		if (x == Timespan || x == Datetime) && y == Timespan {
			return Timespan, true
		}
	}
	return Unknown, false
}

func (b *binder) between(e *kql.Between) Expr {
	x, lo, hi := b.expr(e.X), b.expr(e.Lo), b.expr(e.Hi)
	tx, tl, th := x.Type(), lo.Type(), hi.Type()
	if tl == Datetime && th == Timespan {
		hi = b.op(kql.OpAdd, lo, hi, e.OpAt)
		th = hi.Type()
	}
	ok := func(a, c Type) bool {
		return a == Unknown || c == Unknown || a == c && (a.Summable() || a == Dynamic || a == String) || a.Numeric() && c.Numeric() ||
			a == Dynamic && c.Summable() || c == Dynamic && a.Summable()
	}
	if !ok(tx, tl) || !ok(tx, th) {
		b.errorf(e.OpAt, CodeType, "the operator %s does not take %s, %s and %s", opText[e.Op], tx, tl, th)
		return &Const{T: Bool, Null: true}
	}
	if tx == Dynamic && tl != Dynamic {
		if tl.Integer() {
			tl = Real
		}
		x = b.convert(x, tl)
	}
	if tx != Dynamic && tl == Dynamic {
		lo = b.convert(lo, tx)
	}
	if tx != Dynamic && th == Dynamic {
		hi = b.convert(hi, tx)
	}
	return &Between{X: x, Lo: lo, Hi: hi, Not: e.Op == kql.OpNotBetween}
}

func (b *binder) in(e *kql.In) Expr {
	if _, ok := e.X.(*kql.Star); ok {
		return b.anyColumnIn(e)
	}
	x := b.expr(e.X)
	return b.inList(e, x)
}

func (b *binder) inList(e *kql.In, x Expr) Expr {
	terms := e.Op == kql.OpHasAny || e.Op == kql.OpHasAll
	if t := x.Type(); terms && t != String && t != Dynamic && t != Unknown {
		b.errorf(e.OpAt, CodeType, "the operator %s does not take %s", opText[e.Op], t)
	}
	in := &In{Op: e.Op, X: x}
	for _, item := range e.List {
		if b.tabularExpr(item) && !b.columnRef(item) {
			r := b.tabularArg(item)
			if len(r.cols) == 0 {
				b.errorf(item.Range(), CodeArguments, "the table has no column")
				continue
			}
			if !terms && len(e.List) == 1 {
				c := r.cols[0]
				q := &InQuery{Op: e.Op, X: x, Query: r.node, Col: c}
				if c.Type != x.Type() && (c.Type == Dynamic || x.Type() == Dynamic) && x.Type() != Unknown {
					// Values of a dynamic column are compared as text.
					q.X = b.convert(x, String)
					t := b.newCol(c.Name, String)
					q.Query, q.Col = &Extend{In: r.node, Items: []Item{{t, b.convert(refTo(c), String)}}}, t
				}
				return q
			}
			in.List = append(in.List, &ArrayQuery{Query: r.node, Col: r.cols[0]})
			continue
		}
		v := b.expr(item)
		if c, ok := v.(*Const); ok && c.T == Dynamic && !c.Null {
			if elems, ok := jsonElements(c.Text); ok {
				in.List = append(in.List, elems...)
				continue
			}
			if s, ok := jsonScalar(c.Text); ok {
				in.List = append(in.List, s)
				continue
			}
		}
		in.List = append(in.List, v)
	}
	return in
}

// columnRef says whether an expression is a column of the row at hand.
func (b *binder) columnRef(e kql.Expr) bool {
	r, ok := kql.Unparen(e).(*kql.Ref)
	if !ok || b.row == nil {
		return false
	}
	if b.scope.lookup(r.Text) != nil || b.cat.Table(r.Text) != nil {
		for i := range b.row.cols {
			if b.row.cols[i].Name == r.Text {
				return true
			}
		}
		return false
	}
	_, found := b.row.column(r.Text)
	return found
}

func (b *binder) path(e *kql.Path) Expr {
	if r, ok := e.X.(*kql.Ref); ok {
		sel, isRef := e.Sel.(*kql.Ref)
		if br, ok := e.Sel.(*kql.Bracket); ok && !isRef {
			if l, ok := br.X.(*kql.Literal); ok && l.Kind == kql.StringLit {
				sel, isRef = &kql.Ref{Name: kql.Name{Span: br.Span, Text: l.Text}}, true
			}
		}
		switch {
		case (r.Text == "$left" || r.Text == "$right") && isRef:
			side := b.row
			if r.Text == "$right" {
				side = b.right
			}
			if side == nil || b.right == nil {
				b.errorf(r.Span, CodeContext, "%s has a meaning in the condition of a join only", r.Text)
				return null()
			}
			if c, ok := side.column(sel.Text); ok {
				return refTo(c)
			}
			row := b.row
			b.row = side
			b.unknownName(sel.Span, sel.Text)
			b.row = row
			return null()
		case b.scan != nil && isRef:
			if x := b.scanRef(r, sel); x != nil {
				return x
			}
		}
	}
	x := b.expr(e.X)
	if t := x.Type(); t != Dynamic && t != Unknown {
		b.errorf(e.Sel.Range(), CodeType, "a value of type %s has no properties", t).Hint = pathHint(t)
		return null()
	}
	switch sel := e.Sel.(type) {
	case *kql.Ref:
		return &Path{X: x, Key: sel.Text}
	case *kql.Bracket:
		return b.element(x, sel.X)
	case *kql.Wildcard:
		b.unsupported(sel.Span, "wildcards in a path")
	case *kql.Call:
		b.errorf(sel.Span, CodeUnknownFunction, "a value has no function %s", sel.Func.Text)
	}
	return null()
}

func pathHint(t Type) string {
	if t == String {
		return "parse_json() reads JSON text"
	}
	return ""
}

func (b *binder) index(e *kql.Index) Expr {
	if c, ok := kql.Unparen(e.X).(*kql.Call); ok && len(c.Args) > 1 {
		// f(...)[n] of a function with several values is the n-th of them.
		if n, ok := kql.Unparen(e.Index).(*kql.Literal); ok && (c.Func.Text == "array_sort_asc" || c.Func.Text == "array_sort_desc" || components[c.Func.Text] != nil) && n.Kind == kql.LongLit {
			if outs := b.callMulti(c); n.Int >= 0 && int(n.Int) < len(outs) && len(outs) > 1 {
				return outs[n.Int].x
			}
		}
	}
	x := b.expr(e.X)
	if t := x.Type(); t != Dynamic && t != Unknown {
		b.errorf(e.Index.Range(), CodeType, "a value of type %s has no elements", t).Hint = pathHint(t)
		return null()
	}
	return b.element(x, e.Index)
}

func (b *binder) element(x Expr, index kql.Expr) Expr {
	i := b.expr(index)
	if c, ok := i.(*Const); ok && c.T == String && !c.Null {
		return &Path{X: x, Key: c.Text}
	}
	switch i.Type() {
	case String, Int, Long, Dynamic, Unknown:
	default:
		b.errorf(index.Range(), CodeType, "an element is named by a string or a number, not by %s", i.Type())
		return null()
	}
	return &Path{X: x, Index: i}
}

// unknownFunction reports a name that is called and is none.
func (b *binder) unknownFunction(n kql.Name) {
	if unsupportedFuncs[n.Text] {
		b.unsupported(n.Span, "the function "+n.Text)
		return
	}
	if aggregateFuncs[n.Text] != nil {
		b.errorf(n.Span, CodeContext, "the aggregate %s cannot be used here", n.Text).Hint = "aggregates stand in summarize"
		return
	}
	// In summarize an aggregate is the likelier one.
	var aggregates, names []string
	for _, f := range functionList {
		switch {
		case f.Replaced != "":
		case !f.Aggregate:
			names = append(names, f.Name)
		case b.aggs != nil:
			aggregates = append(aggregates, f.Name)
		}
	}
	e := b.errorf(n.Span, CodeUnknownFunction, "no function %q", n.Text)
	e.Hint = didYouMean(n.Text, aggregates, names, b.scope.localNames(false))
}

// call binds the call of a function as a value. The first value counts for
// functions that return several.
func (b *binder) call(e *kql.Call) Expr {
	cols := b.callMulti(e)
	if len(cols) == 0 {
		return null()
	}
	return cols[0].x
}

// output is one of the values that an expression returns: its own name, if the
// function names it, and the column that it is, if it is one.
type output struct {
	x    Expr
	name string
	// star marks columns that a * stands for: they do not repeat others.
	star bool
}

// callMulti binds a call; functions such as arg_max return several values, with
// names.
func (b *binder) callMulti(e *kql.Call) []output {
	one := func(x Expr) []output { return []output{{x: x}} }
	name := e.Func.Text
	if v := b.callee(name); v != nil {
		switch {
		case v.fn == nil:
			b.errorf(e.Func.Span, CodeType, "%s is not a function", name)
			return one(null())
		case b.tabularBody(v.fn):
			b.errorf(e.Span, CodeType, "%s returns a table; a value was expected", name).Hint = "toscalar() takes the first value of a table"
			return one(null())
		}
		return one(b.callScalar(e, v.fn))
	}
	if b.aggs != nil {
		if f := aggregateFuncs[name]; f != nil {
			return b.aggregate(e, f)
		}
	}
	if outs, ok := b.special(e); ok {
		return outs
	}
	f := scalarFuncs[name]
	if f == nil {
		b.unknownFunction(e.Func)
		for _, a := range e.Args {
			if _, star := a.(*kql.Star); !star && !b.tabularExpr(a) {
				b.expr(a)
			}
		}
		return one(null())
	}
	args, typeArg, ok := b.args(e, f)
	if !ok {
		return one(&Const{T: f.Sigs[0].Result, Null: true})
	}
	x := b.makeCall(e, f, args, typeArg)
	if c, ok := x.(*Call); ok {
		if outs, ok := b.multi(e, c); ok {
			return outs
		}
	}
	return one(x)
}

// args binds the arguments of a call. typeArg is the type that a typeof() among
// them names, Unknown if there is none.
func (b *binder) args(e *kql.Call, f *Func) (args []Expr, typeArg Type, ok bool) {
	ok = true
	args = make([]Expr, 0, len(e.Args))
	for _, a := range e.Args {
		switch a := a.(type) {
		case *kql.TypeOf:
			if a.Type == nil {
				b.errorf(a.Span, CodeType, "the name of a type was expected")
				ok = false
				continue
			}
			typeArg = b.typeOf(a.Type)
		case *kql.Star:
			b.errorf(a.Span, CodeArguments, "%s does not take *", f.Name)
			ok = false
		case *kql.Named:
			args = append(args, b.expr(a.X))
		default:
			if b.tabularExpr(a) && !b.columnRef(a) {
				if _, bad := a.(*kql.Ref); bad {
					args = append(args, b.expr(a)) // reports an unknown name
					continue
				}
				b.errorf(a.Range(), CodeType, "%s: a value was expected, not a table", f.Name)
				ok = false
				continue
			}
			args = append(args, b.expr(a))
		}
	}
	return args, typeArg, ok
}

// makeCall chooses the signature that fits and returns the call.
func (b *binder) makeCall(e *kql.Call, f *Func, args []Expr, typeArg Type) Expr {
	sig := b.signature(e, f, args, typeArg)
	if sig == nil {
		return &Const{T: f.Sigs[0].Result, Null: true}
	}
	for i := range args {
		p := sig.param(i, len(args))
		if p.constant && !isConstant(args[i]) {
			b.errorf(e.Args[i].Range(), CodeConstant, "%s: %s has to be a constant", f.Name, p.Name)
		}
	}
	c := &Call{Func: f, Args: args, T: resultType(sig, args, typeArg)}
	if followsFirst[f.Base] && args[0].Type() == Unknown {
		c.T = Unknown
	}
	b.checkCall(e, c)
	if f.Window() {
		return b.window(e, c)
	}
	if k := b.foldCall(c); k != nil {
		return k
	}
	return c
}

// signature returns the signature of f that takes these arguments. If none does,
// it reports why and returns nil.
func (b *binder) signature(e *kql.Call, f *Func, args []Expr, typeArg Type) *Sig {
	n := len(args)
	if typeArg != Unknown || len(e.Args) > n {
		n = len(e.Args)
	}
	var best, fits *Sig
	wrong := -1
	for i := range f.Sigs {
		s := &f.Sigs[i]
		if n < s.min || s.max >= 0 && n > s.max {
			continue
		}
		bad := -1
		exact := true
		for k := range args {
			p := s.param(k, n)
			exact = exact && (p == nil || p.class == args[k].Type().String() || !p.oneType)
			if p == nil || !p.accepts.has(args[k].Type()) && !(p.accepts.has(Datetime) && args[k].Type() == Dynamic) {
				bad = k
				break
			}
		}
		if bad < 0 {
			if exact {
				return s
			}
			// A signature of exactly these types is better than one that takes
			// them too, such as real for a decimal.
			if fits == nil {
				fits = s
			}
			continue
		}
		// What is said to be wrong is what the most generous signature refuses.
		if bad > wrong || bad == wrong && s.accepted(bad, n) > best.accepted(bad, n) {
			best, wrong = s, bad
		}
	}
	if fits != nil {
		return fits
	}
	if best == nil {
		b.errorf(e.Span, CodeArguments, "%s takes %s, not %d", f.Name, arity(f), n).Hint = f.Name + f.Sigs[0].String()
		return nil
	}
	p := best.param(wrong, n)
	b.errorf(e.Args[wrong].Range(), CodeType, "%s: %s has to be %s, not %s", f.Name, p.Name, article(p.class), args[wrong].Type())
	return nil
}

// accepted is how many types the i-th of n arguments may have.
func (s *Sig) accepted(i, n int) int {
	p := s.param(i, n)
	if p == nil {
		return 0
	}
	return bits.OnesCount16(uint16(p.accepts))
}

func article(class string) string {
	switch class {
	case "number":
		return "a number"
	case "integer":
		return "a whole number"
	case "array":
		return "a dynamic array"
	case "bag":
		return "a dynamic bag"
	case "stringdyn":
		return "a string or dynamic"
	case "summable":
		return "a number, datetime or timespan"
	case "":
		return "something else"
	}
	return class
}

func arity(f *Func) string {
	lo, hi := -1, 0
	for i := range f.Sigs {
		s := &f.Sigs[i]
		if lo < 0 || s.min < lo {
			lo = s.min
		}
		if s.max < 0 {
			hi = -1
		} else if hi >= 0 {
			hi = max(hi, s.max)
		}
	}
	switch {
	case hi < 0:
		return "at least " + count(lo, "argument")
	case lo == hi:
		return count(lo, "argument")
	default:
		return strconv.Itoa(lo) + " to " + count(hi, "argument")
	}
}

// resultType computes the type of a call.
func resultType(s *Sig, args []Expr, typeArg Type) Type {
	switch s.result {
	case "$0":
		return args[0].Type()
	case "$1":
		return args[1].Type()
	case "$type":
		return typeArg
	case "promoted":
		if args[0].Type() == Int {
			return Long
		}
		return args[0].Type()
	case "widest":
		t := args[0].Type()
		for _, a := range args[1:] {
			if a.Type() != t {
				t = widestOf(t, a.Type())
			}
		}
		if t == Int {
			return Long
		}
		return t
	case "common":
		var types [8]Type
		list := types[:0]
		for i, a := range args {
			if p := s.param(i, len(args)); p.class == "common" || p.class == "common1" {
				list = append(list, a.Type())
			}
		}
		return commonType(list)
	case "custom":
		return Dynamic
	}
	return s.Result
}

// followsFirst are the functions whose value is of their first argument's kind,
// not known as long as that is not.
var followsFirst = stringSet("bin", "floor", "bin_at", "abs")

func widestOf(a, b Type) Type {
	switch {
	case a == Dynamic || a == Unknown:
		return b
	case b == Dynamic || b == Unknown:
		return a
	}
	return widest(a, b)
}

// commonType is the type of an expression that is one of several: that of those
// that are not dynamic, the wider of numbers, else dynamic.
func commonType(types []Type) Type {
	var t Type
	for _, o := range types {
		switch {
		case o == Unknown || o == Dynamic:
		case t == Unknown:
			t = o
		case t == o:
		case t.Numeric() && o.Numeric():
			t = widest(t, o)
		default:
			return Dynamic
		}
	}
	if t == Unknown {
		for _, o := range types {
			if o == Dynamic {
				return Dynamic
			}
		}
	}
	return t
}

// isConstant says whether an expression has the same value for every row.
func isConstant(x Expr) bool {
	switch x := x.(type) {
	case *Const:
		return true
	case *Ref, *Agg, *ScanRef:
		return false
	case *Call:
		if x.Func.Window() || x.Func.Base == "rand" || x.Func.Base == "new_guid" {
			return false
		}
		for _, a := range x.Args {
			if !isConstant(a) {
				return false
			}
		}
		return true
	case *Field:
		return isConstant(x.X)
	case *Unary:
		return isConstant(x.X)
	case *Binary:
		return isConstant(x.X) && isConstant(x.Y)
	case *Between:
		return isConstant(x.X) && isConstant(x.Lo) && isConstant(x.Hi)
	case *In:
		for _, a := range x.List {
			if !isConstant(a) {
				return false
			}
		}
		return isConstant(x.X)
	case *Path:
		return isConstant(x.X) && (x.Index == nil || isConstant(x.Index))
	case *ScalarQuery, *ArrayQuery:
		return true
	case *InQuery:
		return isConstant(x.X)
	}
	return false
}

// WalkExpr calls f for x and, where f returns true, for the expressions inside
// it. Subqueries are not entered.
func WalkExpr(x Expr, f func(Expr) bool) {
	if x == nil || !f(x) {
		return
	}
	switch x := x.(type) {
	case *Call:
		for _, a := range x.Args {
			WalkExpr(a, f)
		}
	case *Field:
		WalkExpr(x.X, f)
	case *Unary:
		WalkExpr(x.X, f)
	case *Binary:
		WalkExpr(x.X, f)
		WalkExpr(x.Y, f)
	case *Between:
		WalkExpr(x.X, f)
		WalkExpr(x.Lo, f)
		WalkExpr(x.Hi, f)
	case *In:
		WalkExpr(x.X, f)
		for _, a := range x.List {
			WalkExpr(a, f)
		}
	case *InQuery:
		WalkExpr(x.X, f)
	case *Path:
		WalkExpr(x.X, f)
		if x.Index != nil {
			WalkExpr(x.Index, f)
		}
	case *Agg:
		for _, a := range x.Args {
			WalkExpr(a, f)
		}
		for _, a := range x.Of {
			WalkExpr(a, f)
		}
		if x.Weight != nil {
			WalkExpr(x.Weight, f)
		}
	}
}
