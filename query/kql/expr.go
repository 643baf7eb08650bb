package kql

import (
	"fmt"
	"math"
)

// Expressions, from the loosest operator to the tightest: or, and, equality
// (with in and between), comparison, sum, product, string operators, sign,
// path. As in the official parser the string operators bind tighter than
// arithmetic, and only and, or, sums and products form chains.

// unnamed reads an expression without a name in front.
func (p *parser) unnamed() Expr {
	if !p.enter() {
		p.depth--
		return p.bad()
	}
	x := p.or()
	p.depth--
	p.hmax = max(p.hmax, p.h)
	return x
}

func (p *parser) or() Expr {
	start := p.pos
	x := p.and()
	for p.kind() == tOr && !p.failed {
		x = p.binary(start, x, OpOr, p.and)
	}
	return x
}

func (p *parser) and() Expr {
	start := p.pos
	x := p.equality()
	for p.kind() == tAnd && !p.failed {
		x = p.binary(start, x, OpAnd, p.equality)
	}
	return x
}

// binary reads the operator that stands here and its right side.
func (p *parser) binary(start int, x Expr, op Op, right func() Expr) Expr {
	h := p.h
	at := p.next().span()
	y := right()
	p.grow(h)
	return &Binary{p.from(start), op, at, x, y}
}

func (p *parser) equality() Expr {
	start := p.pos
	var x Expr
	if p.kind() == tStar && p.peekKind(1) == tEqEq {
		x = p.star()
	} else {
		x = p.relational()
	}
	if p.failed {
		return x
	}
	switch t := p.tok(); t.kind {
	case tEqEq:
		return p.binary(start, x, OpEq, p.relational)
	case tNe:
		return p.binary(start, x, OpNe, p.relational)
	case tInOp:
		if t.op == OpIn && p.peekKind(1) == kwRange {
			return x // make-series ... on x in range(...)
		}
		h := p.h
		p.next()
		outer := p.open()
		list := p.inList()
		p.shut(outer)
		p.grow(h)
		return &In{p.from(start), t.op, t.span(), x, list}
	case tBetween:
		h := p.h
		p.next()
		outer := p.open()
		b := &Between{Op: t.op, OpAt: t.span(), X: x}
		open := p.pos
		if p.expect(tLParen, `"("`) {
			b.Lo = p.unnamed()
			p.expect(tDotDot, `".."`)
			b.Hi = p.unnamed()
			p.close(tRParen, open)
		} else {
			b.Lo, b.Hi = p.bad(), p.bad()
		}
		b.Span = p.from(start)
		p.shut(outer)
		p.grow(h)
		return b
	}
	return x
}

// inList reads the right side of in, has_any and the like: a list of
// expressions, or one query.
func (p *parser) inList() []Expr {
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		return nil
	}
	list := []Expr{p.pipe()}
	if _, query := list[0].(*Pipe); !query && !p.failed && p.accept(tComma) {
		list = append(list, p.exprs(tRParen, false, false)...)
	}
	p.close(tRParen, open)
	return list
}

func (p *parser) relational() Expr {
	start := p.pos
	x := p.sum()
	if p.failed {
		return x
	}
	switch p.kind() {
	case tLt:
		return p.binary(start, x, OpLt, p.sum)
	case tLe:
		return p.binary(start, x, OpLe, p.sum)
	case tGt:
		return p.binary(start, x, OpGt, p.sum)
	case tGe:
		return p.binary(start, x, OpGe, p.sum)
	}
	return x
}

func (p *parser) sum() Expr {
	start := p.pos
	x := p.product()
	for !p.failed {
		switch p.kind() {
		case tPlus:
			x = p.binary(start, x, OpAdd, p.product)
		case tMinus:
			x = p.binary(start, x, OpSub, p.product)
		default:
			return x
		}
	}
	return x
}

func (p *parser) product() Expr {
	start := p.pos
	x := p.stringOp()
	for !p.failed {
		switch p.kind() {
		case tStar:
			x = p.binary(start, x, OpMul, p.stringOp)
		case tSlash:
			x = p.binary(start, x, OpDiv, p.stringOp)
		case tPercent:
			x = p.binary(start, x, OpMod, p.stringOp)
		default:
			return x
		}
	}
	return x
}

// stringOpAt returns the string operator at offset i, OpInvalid if none.
func (p *parser) stringOpAt(i int) Op {
	switch t := p.peek(i); t.kind {
	case tStringOp:
		return t.op
	case tEqTilde:
		return OpEqTilde
	case tNeTilde:
		return OpNeTilde
	case tColon:
		return OpSearch
	}
	return OpInvalid
}

func (p *parser) stringOp() Expr {
	start := p.pos
	var x Expr
	if p.kind() == tStar && p.stringOpAt(1) != OpInvalid {
		x = p.star()
	} else {
		x = p.unary()
	}
	if op := p.stringOpAt(0); op != OpInvalid && !p.failed {
		x = p.binary(start, x, op, p.unary)
	}
	return x
}

func (p *parser) star() Expr {
	t := p.next()
	p.h = 1
	return &Star{t.span()}
}

func (p *parser) unary() Expr {
	start := p.pos
	op := OpNeg
	switch p.kind() {
	case tMinus:
		// The smallest long has no positive counterpart.
		if t := p.peek(1); t.kind == tLong && p.textOf(t) == "9223372036854775808" && p.peekKind(2) != tDot && p.peekKind(2) != tLBracket {
			p.pos += 2
			p.h = 1
			s := p.from(start)
			return &Literal{Span: s, Kind: LongLit, Int: math.MinInt64, Raw: p.text[s.Start:s.End]}
		}
	case tPlus:
		op = OpPos
	default:
		return p.path()
	}
	p.next()
	x := p.path()
	p.grow(0)
	return &Unary{p.from(start), op, x}
}

// path reads a primary expression with the selectors behind it: a.b["c"][0].
func (p *parser) path() Expr {
	start := p.pos
	x := p.primary()
	for !p.failed {
		switch p.kind() {
		case tDot:
			h := p.h
			p.next()
			sel := p.selectorOrCall()
			p.grow(h)
			x = &Path{p.from(start), x, sel}
		case tLBracket:
			open := p.pos
			h := p.h
			p.next()
			i := p.unnamed()
			p.close(tRBracket, open)
			p.grow(h)
			x = &Index{p.from(start), x, i}
		default:
			return x
		}
	}
	return x
}

// selectorOrCall reads what may stand behind a dot.
func (p *parser) selectorOrCall() Expr {
	if p.startsCall(0) {
		return p.call()
	}
	if x := p.selector(); x != nil {
		return x
	}
	hint := ""
	if t := p.tok(); isWord(t.kind) {
		hint = fmt.Sprintf("%s is a keyword; as a name it is written ['%[1]s']", p.textOf(t))
	}
	p.expected(`a name after "."`, hint)
	return p.bad()
}

// selector reads a name as part of a path, in any of its forms; nil if none
// stands here.
func (p *parser) selector() Expr {
	t := p.tok()
	switch {
	case t.kind == tLBracket:
		start := p.pos
		if n := p.wildcardLen(1); n > 0 {
			p.next()
			w := p.wildcard(n)
			p.close(tRBracket, start)
			w.Span, w.Quoted = p.from(start), true
			return w
		}
		if p.nameLen(0, 0) > 0 {
			return p.ref(0)
		}
		p.next()
		outer := p.open()
		x := p.unnamed()
		p.close(tRBracket, start)
		p.shut(outer)
		return &Bracket{p.from(start), x}
	case t.kind == tAt || t.has(fSelName):
		p.next()
		p.h = 1
		return &Ref{Name{t.span(), p.textOf(t), false}}
	case p.nameLen(0, fName) > 0:
		return p.ref(fName)
	}
	return nil
}

// startsCall reports whether a name and an opening parenthesis stand at offset i.
func (p *parser) startsCall(i int) bool {
	n := p.nameLen(i, fName)
	return n > 0 && p.peekKind(i+n) == tLParen
}

// call reads a function call that startsCall has found.
func (p *parser) call() *Call {
	start := p.pos
	c := &Call{Func: p.readName(p.nameLen(0, fName))}
	open := p.pos
	p.next()
	outer := p.open()
	p.list(tRParen, true, false, func() { c.Args = append(c.Args, p.argument()) })
	p.close(tRParen, open)
	p.shut(outer)
	c.Span = p.from(start)
	return c
}

func (p *parser) argument() Expr {
	if p.kind() == tStar && (p.peekKind(1) == tRParen || p.peekKind(1) == tComma) {
		return p.star()
	}
	return p.named()
}

// named reads `name = expression`, `(a, b) = expression` or an expression.
func (p *parser) named() Expr {
	start := p.pos
	if n := p.nameLen(0, fExtName); n > 0 && p.peekKind(n) == tEq {
		name := p.readName(n)
		p.next()
		x := p.unnamed()
		return &Named{p.from(start), []Name{name}, false, x}
	}
	if n := p.dashedLen(); n > 0 && p.peekKind(n) == tEq {
		// project end-time = ..., or a keyword as a name.
		p.pos += n
		s := p.from(start)
		text := p.text[s.Start:s.End]
		p.fail(s, CodeSyntax, fmt.Sprintf("%q cannot be a name as it is", text), "write ['"+text+"']")
		return p.bad()
	}
	if n := p.tupleLen(); n > 0 && p.peekKind(n) == tEq {
		open := p.pos
		p.next()
		x := &Named{Tuple: true}
		p.list(tRParen, false, false, func() { x.Names = append(x.Names, p.name(fExtName, "a name")) })
		p.close(tRParen, open)
		p.expect(tEq, `"="`)
		x.X = p.unnamed()
		x.Span = p.from(start)
		return x
	}
	return p.unnamed()
}

// dashedLen returns the number of tokens of words and dashes without white
// space between them.
func (p *parser) dashedLen() int {
	if t := p.tok(); t.kind != tIdent && !isWord(t.kind) {
		return 0
	}
	n := 1
	for {
		t := p.peek(n)
		if t.has(fSpace) || t.kind != tIdent && t.kind != tMinus && !isWord(t.kind) {
			return n
		}
		n++
	}
}

// tupleLen returns the number of tokens of (a, b, c), 0 if that is not here.
func (p *parser) tupleLen() int {
	if p.kind() != tLParen {
		return 0
	}
	i := 1
	for {
		n := p.nameLen(i, fExtName)
		if n == 0 {
			return 0
		}
		i += n
		switch p.peekKind(i) {
		case tComma:
			i++
		case tRParen:
			return i + 1
		default:
			return 0
		}
	}
}

// primary reads a literal, a name, a call, a table constructor or an
// expression in parentheses.
func (p *parser) primary() Expr {
	start := p.pos
	t := p.tok()
	p.h = 1
	switch t.kind {
	case tString, tBool, tInt, tLong, tReal, tDecimal, tDateTime, tTimespan, tGuid, tRawGuid:
		return p.literal()
	case kwDynamic:
		if p.peekKind(1) == tLParen {
			return p.literal()
		}
	case kwDatatable:
		return p.dataTable()
	case kwExternaldata:
		return p.externalData()
	case kwContextualDatatable, kwMaterializedViewCombine:
		return p.unsupported(p.textOf(t))
	case kwInlineExternalTable:
		if p.peekKind(1) == kwKind || p.peekKind(1) == tLParen && p.nameLen(2, fExtName) > 0 && p.peekKind(2+p.nameLen(2, fExtName)) == tColon {
			return p.unsupported(p.textOf(t))
		}
	case tLParen:
		p.next()
		outer := p.open()
		x := p.pipe()
		p.close(tRParen, start)
		p.shut(outer)
		return &Paren{p.from(start), x}
	case kwToscalar, kwTotable, kwMaterialize:
		if x := p.tabularCall(); x != nil {
			return x
		}
	case kwTypeof:
		if p.peekKind(1) == tLParen {
			return p.typeOf()
		}
	}
	if p.startsCall(0) {
		return p.call()
	}
	if x := p.selector(); x != nil {
		if p.kind() == kwDatascope && !p.failed {
			return p.dataScope(start)
		}
		return x
	}
	if isWord(t.kind) && p.inNamePosition() {
		p.fail(t.span(), CodeSyntax, fmt.Sprintf("the keyword %q cannot be a name as it is", p.textOf(t)), "write ['"+p.textOf(t)+"']")
		p.next()
		return p.bad()
	}
	hint := ""
	switch {
	case isWord(t.kind):
		hint = fmt.Sprintf("%s is a keyword; as a name it is written ['%[1]s']", p.textOf(t))
	case t.kind == tMinus || t.kind == tPlus:
		hint = "put the second sign in parentheses"
	case t.kind == tEq && start > 0 && p.toks[start-1].kind == tEq:
		hint = "write == to compare"
	}
	p.expected("an expression", hint)
	return p.bad()
}

// inNamePosition reports whether what follows the current keyword shows that
// it was meant as a name.
func (p *parser) inNamePosition() bool {
	switch p.peekKind(1) {
	case tAnd, tOr, tEqEq, tNe, tEqTilde, tNeTilde, tGt, tGe, tLt, tLe, tStar, tSlash, tPercent, tStringOp, tInOp,
		tBetween, tRParen, tRBracket, tRBrace, tDot, tComma, tColon, tBar:
		return true
	}
	return false
}

// tabularCall reads toscalar(...), totable(...) or materialize(...); nil if
// this is not one.
func (p *parser) tabularCall() Expr {
	start := p.pos
	t := p.tok()
	c := &Call{Func: Name{t.span(), p.textOf(t), false}}
	switch {
	case p.peekKind(1) == tLParen:
		p.next()
	case t.kind != kwMaterialize && p.peekKind(1) == kwKind && p.peekKind(2) == tEq:
		p.next()
		c.Params = append(c.Params, p.param(1))
	default:
		return nil
	}
	open := p.pos
	outer := p.open()
	if p.expect(tLParen, `"("`) {
		c.Args = []Expr{p.pipe()}
		p.close(tRParen, open)
	}
	p.shut(outer)
	c.Span = p.from(start)
	return c
}

// dataScope reads the clause behind a table name; the result names what is
// not supported.
func (p *parser) dataScope(start int) Expr {
	p.scopeClause()
	s := p.from(start)
	return &Unsupported{s, "datascope", p.text[s.Start:s.End]}
}

// scopeClause reads `datascope = all|hotcache` and returns its value.
func (p *parser) scopeClause() string {
	if !p.accept(kwDatascope) {
		return ""
	}
	if p.expect(tEq, `"="`) {
		if w := p.word(); w == "all" || w == "hotcache" {
			p.next()
			return w
		}
		p.expected("all or hotcache", "")
	}
	return ""
}

// unsupported reads a form that the tree does not model: all up to the next
// pipe, comma, semicolon or closing bracket outside of its own brackets.
func (p *parser) unsupported(what string) Expr {
	s := p.raw(true)
	p.h = 1
	return &Unsupported{s, what, p.text[s.Start:s.End]}
}

// raw moves over a construct without looking into it, and returns its place.
func (p *parser) raw(comma bool) Span {
	start := p.pos
	var open []kind
	for {
		t := p.tok()
		switch t.kind {
		case tEOF:
			if len(open) > 0 {
				p.expected("a closing bracket", "")
			}
			return p.from(start)
		case tLParen, tLBracket, tLBrace:
			open = append(open, t.kind+1) // the closing kind follows the opening one
		case tRParen, tRBracket, tRBrace:
			if len(open) == 0 {
				return p.from(start)
			}
			if open[len(open)-1] != t.kind {
				p.expected("another closing bracket", "")
				return p.from(start)
			}
			open = open[:len(open)-1]
		case tBar, tSemicolon:
			if len(open) == 0 {
				return p.from(start)
			}
		case tComma:
			if comma && len(open) == 0 {
				return p.from(start)
			}
		case tBad:
			p.failed = true // reported by the lexer
			return p.from(start)
		}
		if t.has(fBroken) {
			p.failed = true
		}
		p.next()
	}
}

// startsLiteral reports whether a literal stands here, as datatable and
// parameters take it: also a number with a sign.
func (p *parser) startsLiteral() bool {
	switch p.kind() {
	case tString, tBool, tInt, tLong, tReal, tDecimal, tDateTime, tTimespan, tGuid, tRawGuid:
		return true
	case kwDynamic, kwTypeof:
		return p.peekKind(1) == tLParen
	case tMinus, tPlus:
		n := p.peek(1)
		return !n.has(fSpace) && (n.kind == tLong || n.kind == tReal || n.kind == tTimespan) && isDigit(p.text[n.start])
	case tLBrace:
		return p.bracedLen(0) > 0
	}
	return false
}

// requireLiteral reads a literal or reports that one was expected.
func (p *parser) requireLiteral() Expr {
	if p.startsLiteral() {
		return p.literal()
	}
	p.expected("a literal", "")
	return p.bad()
}

// literal reads a literal that startsLiteral has found.
func (p *parser) literal() Expr {
	start := p.pos
	p.h = 1
	t := p.next()
	switch t.kind {
	case tString:
		return p.stringLiteral(start)
	case kwTypeof:
		p.pos = start
		return p.typeOf()
	case kwDynamic:
		outer := p.open()
		p.next()
		d := &Dynamic{Value: p.json()}
		p.close(tRParen, start+1)
		p.shut(outer)
		d.Span = p.from(start)
		return d
	case tLBrace:
		p.pos = start
		return p.ref(0)
	case tMinus, tPlus:
		n := p.next()
		s := p.from(start)
		lit := &Literal{Span: s, Raw: p.text[s.Start:s.End]}
		lit.setValue(n.kind)
		return lit
	}
	if t.has(fBroken) {
		p.failed = true
	}
	lit := &Literal{Span: t.span(), Raw: p.textOf(t)}
	lit.setValue(t.kind)
	if t.kind == tRawGuid {
		p.fail(t.span(), CodeSyntax, "a guid stands in guid(...)", "write guid("+lit.Raw+")")
	}
	return lit
}

// stringLiteral reads string literals that stand side by side: they are one.
// The first has been read.
func (p *parser) stringLiteral(start int) *Literal {
	t := p.toks[start]
	lit := &Literal{Span: t.span(), Kind: StringLit}
	lit.Text, lit.Hidden = unquote(p.textOf(t))
	broken := t.has(fBroken)
	for p.kind() == tString {
		t := p.next()
		s, hidden := unquote(p.textOf(t))
		lit.Text += s
		lit.Hidden = lit.Hidden || hidden
		broken = broken || t.has(fBroken)
	}
	lit.Span = p.from(start)
	lit.Raw = p.text[lit.Start:lit.End]
	if broken {
		p.failed = true // the lexer has said why
	}
	return lit
}

// json reads a value inside dynamic(...).
func (p *parser) json() Expr {
	if !p.enter() {
		p.depth--
		return p.bad()
	}
	defer p.leave()
	start := p.pos
	t := p.tok()
	p.h = 1
	switch t.kind {
	case kwNull:
		p.next()
		return &Literal{Span: t.span(), Kind: NullLit, Null: true, Raw: p.textOf(t)}
	case tMinus:
		if n := p.peek(1); n.kind == tLong || n.kind == tReal {
			p.pos += 2
			s := p.from(start)
			lit := &Literal{Span: s, Raw: "-" + p.textOf(n)}
			lit.setValue(n.kind)
			return lit
		}
	case tLBracket:
		p.next()
		outer := p.open()
		a := &Array{}
		p.list(tRBracket, true, false, func() {
			a.Items = append(a.Items, p.json())
			p.hmax = max(p.hmax, p.h)
		})
		p.close(tRBracket, start)
		p.shut(outer)
		a.Span = p.from(start)
		return a
	case tLBrace:
		if p.bracedLen(0) > 0 {
			return p.ref(0)
		}
		p.next()
		outer := p.open()
		o := &Object{}
		p.list(tRBrace, true, false, func() {
			o.Fields = append(o.Fields, p.field())
			p.hmax = max(p.hmax, p.h)
		})
		p.close(tRBrace, start)
		p.shut(outer)
		o.Span = p.from(start)
		return o
	case tBool, tDateTime, tTimespan, tGuid, tDecimal, tString, tLong, tReal:
		return p.literal()
	case tRawGuid:
		lit := &Literal{Span: t.span(), Raw: p.textOf(p.next())}
		lit.setValue(t.kind)
		return lit
	case kwDynamic:
		if p.peekKind(1) == tLParen {
			return p.literal()
		}
	}
	hint := ""
	if t.kind == tIdent {
		hint = "strings inside dynamic(...) are quoted"
	}
	p.expected("a JSON value", hint)
	return p.bad()
}

func (p *parser) field() *Field {
	start := p.pos
	f := &Field{}
	if t := p.tok(); t.kind == tString {
		p.next()
		f.Name, _ = unquote(p.textOf(t))
		if t.has(fBroken) {
			p.failed = true
		}
	} else {
		p.expected("the name of a property in quotes", "")
	}
	p.expect(tColon, `":"`)
	f.Value = p.json()
	f.Span = p.from(start)
	return f
}

// typeOf reads typeof(...).
func (p *parser) typeOf() Expr {
	start := p.pos
	p.next()
	t := &TypeOf{}
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		t.Span = p.from(start)
		return t
	}
	if n := p.tok(); p.peekKind(1) == tRParen && n.kind != tStar && n.kind != tRParen || n.kind == kwType && p.peekKind(1) != tColon {
		t.Type = p.typeName(true)
	} else {
		s := &Schema{}
		at := p.pos
		p.list(tRParen, true, false, func() {
			if p.kind() == tStar {
				p.next()
				s.Star = true
				return
			}
			s.Columns = append(s.Columns, p.column(false))
		})
		s.Span = p.from(at)
		t.Schema = s
	}
	p.close(tRParen, open)
	p.h = 1
	t.Span = p.from(start)
	return t
}

// dataTable reads datatable(columns)[values].
func (p *parser) dataTable() Expr {
	start := p.pos
	p.next()
	outer := p.open()
	d := &DataTable{Params: p.params()}
	d.Schema = p.rowSchema(false)
	open := p.pos
	if p.expect(tLBracket, `"[" and the values`) {
		p.accept(tComma)
		p.list(tRBracket, true, true, func() {
			if !p.startsLiteral() {
				p.expected("a literal", "datatable takes literals only")
			}
			d.Values = append(d.Values, p.requireLiteral())
		})
		p.close(tRBracket, open)
	}
	p.shut(outer)
	d.Span = p.from(start)
	return d
}

// externalData reads externaldata(columns)[addresses] with (properties).
func (p *parser) externalData() Expr {
	start := p.pos
	p.next()
	outer := p.open()
	d := &ExternalData{Params: p.params()}
	d.Schema = p.rowSchema(false)
	open := p.pos
	if p.expect(tLBracket, `"[" and the addresses`) {
		p.list(tRBracket, true, true, func() { d.URIs = append(d.URIs, p.pipe()) })
		p.close(tRBracket, open)
	}
	if p.accept(kwWith) {
		d.Props = p.properties()
	}
	p.shut(outer)
	d.Span = p.from(start)
	return d
}

// properties reads (name = value, ...).
func (p *parser) properties() []*Param {
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		return nil
	}
	var list []*Param
	p.list(tRParen, true, false, func() {
		start := p.pos
		prop := &Param{Name: p.name(fExtName, "the name of a property")}
		if p.expect(tEq, `"="`) {
			switch {
			case p.startsLiteral():
				prop.Value = p.literal()
			default:
				prop.Value = p.ref(fExtName)
			}
		} else {
			prop.Value = p.bad()
		}
		prop.Span = p.from(start)
		list = append(list, prop)
	})
	p.close(tRParen, open)
	return list
}

// wildcardLen returns the number of tokens of a name pattern such as a*b at
// offset i, 0 if there is none: it has a star at its first or second place and
// no white space.
func (p *parser) wildcardLen(i int) int {
	n := 1
	if t := p.peek(i); t.kind != tStar {
		if star := p.peek(i + 1); !t.has(fExtName) || star.kind != tStar || star.has(fSpace) {
			return 0
		}
		n = 2
	}
	for {
		t := p.peek(i + n)
		if t.has(fSpace) || t.kind != tStar && t.kind != tLong && !t.has(fExtName) {
			return n
		}
		n++
	}
}

func (p *parser) wildcard(n int) *Wildcard {
	start := p.pos
	p.pos += n
	s := p.from(start)
	p.h = 1
	return &Wildcard{Span: s, Text: p.text[s.Start:s.End]}
}

// entity reads a table as union, find and search take it: a name, a pattern, a
// call, or a path of these.
func (p *parser) entity() Expr {
	start := p.pos
	if n := p.wildcardLen(0); n > 0 {
		return p.wildcard(n)
	}
	var x Expr
	if p.startsCall(0) {
		x = p.call()
	} else if x = p.selector(); x == nil {
		hint := ""
		if p.startsLiteral() || p.kind() == tLParen {
			hint = "put it in parentheses if it is an expression"
		}
		p.expected("a table", hint)
		return p.bad()
	}
	for !p.failed {
		switch p.kind() {
		case tDot:
			h := p.h
			p.next()
			if n := p.wildcardLen(0); n > 0 {
				x = &Path{X: x, Sel: p.wildcard(n)}
				x.(*Path).Span = p.from(start)
				p.grow(h)
				return x
			}
			sel := p.selectorOrCall()
			p.grow(h)
			x = &Path{p.from(start), x, sel}
		case tLBracket:
			h := p.h
			open := p.pos
			p.next()
			i := p.unnamed()
			p.close(tRBracket, open)
			p.grow(h)
			x = &Index{p.from(start), x, i}
		default:
			return x
		}
	}
	return x
}

// simplePath reads a column with its path, without calls.
func (p *parser) simplePath() Expr {
	start := p.pos
	x := p.selector()
	if x == nil {
		p.expected("a column", "")
		return p.bad()
	}
	for !p.failed {
		switch p.kind() {
		case tDot:
			h := p.h
			p.next()
			sel := p.selector()
			if sel == nil {
				p.expected(`a name after "."`, "")
				sel = p.bad()
			}
			p.grow(h)
			x = &Path{p.from(start), x, sel}
		case tLBracket:
			h := p.h
			open := p.pos
			p.next()
			i := p.unnamed()
			p.close(tRBracket, open)
			p.grow(h)
			x = &Index{p.from(start), x, i}
		default:
			return x
		}
	}
	return x
}
