package kql

import (
	"fmt"
	"strings"
)

// Limits of what Parse reads. They are far above any query that a person or a
// dashboard writes, and keep every later walk of the tree within its stack.
const (
	// MaxText is the longest text in bytes.
	MaxText = 4 << 20

	maxDepth  = 400   // brackets inside brackets
	maxHeight = 10000 // levels of the tree; a chain of n operators has n
	maxErrors = 20    // errors of one text
)

// parser is a recursive descent parser over the tokens of one text. Its rules
// follow the official parser: what that accepts, this one does.
//
// Errors: the first one in a stretch of text sets failed; what follows is not
// reported until skip has found a place to go on, a pipe, a semicolon or the
// bracket that closes the construct. Rules do not consume what they do not
// know, so a failed rule returns quickly.
type parser struct {
	text   string
	toks   []token
	pos    int
	errs   Errors
	failed bool
	dead   bool // nested too deeply: all has been skipped
	depth  int

	// h is the height of the expression that the last rule returned, hmax the
	// largest height since the enclosing construct began.
	h, hmax int
}

// Parse reads a whole query text. It returns a tree also when there are
// errors, as far as it could be read; a tree without errors is complete. The
// returned Errors are ordered by place. Parse never panics, whatever the text.
func Parse(text string) (*Query, Errors) {
	q := &Query{Span: Span{0, len(text)}, Text: text}
	if len(text) > MaxText {
		return q, Errors{{Span{0, 0}, CodeDepth, fmt.Sprintf("the query is longer than %d MiB", MaxText>>20), ""}}
	}
	l := lexer{text: text}
	l.scan()
	p := parser{text: text, toks: l.toks, errs: l.errs}
	for p.kind() == tDirective {
		t := p.next()
		q.Directives = append(q.Directives, &Directive{t.span(), p.textOf(t)})
	}
	q.Statements = p.statements(tEOF)
	p.errs.Sort()
	if len(p.errs) > maxErrors {
		p.errs = p.errs[:maxErrors]
	}
	return q, p.errs
}

// IsCommand reports whether text is a management command, which starts with a
// dot, and not a query.
func IsCommand(text string) bool {
	l := lexer{text: text}
	l.skipSpace()
	return strings.HasPrefix(text[l.pos:], ".")
}

func (p *parser) tok() token { return p.toks[p.pos] }
func (p *parser) kind() kind { return p.toks[p.pos].kind }
func (p *parser) peek(n int) token {
	return p.toks[min(p.pos+n, len(p.toks)-1)]
}
func (p *parser) peekKind(n int) kind { return p.peek(n).kind }

// next returns the current token and moves on, never behind the end.
func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tEOF {
		p.pos++
	}
	return t
}

func (p *parser) accept(k kind) bool {
	if p.kind() != k || p.failed {
		return false
	}
	p.next()
	return true
}

func (p *parser) textOf(t token) string { return p.text[t.start:t.end] }
func (p *parser) word() string          { return p.textOf(p.tok()) }

// from returns the span from token start to the last token read. When none has
// been read since, something is missing: its place is behind the last token.
func (p *parser) from(start int) Span {
	end := 0
	if p.pos > 0 {
		end = int(p.toks[p.pos-1].end)
	}
	if p.pos > start {
		return Span{int(p.toks[start].start), end}
	}
	return Span{end, end}
}

// fail reports an error, unless one is already open.
func (p *parser) fail(at Span, code, message, hint string) {
	if p.failed {
		return
	}
	p.failed = true
	p.errs = append(p.errs, &Error{at, code, message, hint})
}

// here is the place of the current token, for errors.
func (p *parser) here() Span {
	t := p.tok()
	if t.kind == tEOF && p.pos > 0 {
		end := int(p.toks[p.pos-1].end)
		return Span{end, end}
	}
	return t.span()
}

// expected reports that something else stands where what was expected.
func (p *parser) expected(what, hint string) {
	if p.failed {
		return
	}
	t := p.tok()
	if t.has(fBroken) { // the lexer has said why
		p.failed = true
		return
	}
	p.fail(p.here(), CodeSyntax, "expected "+what+", found "+p.describe(t), hint)
}

func (p *parser) describe(t token) string {
	s := p.textOf(t)
	switch {
	case t.kind == tEOF:
		return "the end of the query"
	case t.kind == tString:
		return "a string"
	case len(s) > 40:
		return clean(s[:40]) + "..."
	}
	return `"` + s + `"`
}

// clean drops a character that a cut left incomplete.
func clean(s string) string { return `"` + strings.ToValidUTF8(s, "") + `"` }

// expect reads a token of kind k, or reports that what was expected.
func (p *parser) expect(k kind, what string) bool {
	if p.accept(k) {
		return true
	}
	p.expected(what, "")
	return false
}

// close reads the bracket that closes the one at token open.
func (p *parser) close(k kind, open int) bool {
	if p.accept(k) {
		return true
	}
	if p.failed {
		return false
	}
	o := p.toks[open]
	line, column := Position(p.text, int(o.start))
	want := map[kind]string{tRParen: ")", tRBracket: "]", tRBrace: "}"}[k]
	hint := fmt.Sprintf("%q at %d:%d is not closed", p.textOf(o), line, column)
	if h := p.strayHint(); h != "" {
		hint = h
	}
	p.expected(fmt.Sprintf("%q", want), hint)
	return false
}

// skip leaves the failed state: it moves to the place where the construct that
// began at token start can go on, which is the next pipe, semicolon or closing
// bracket that belongs to it.
func (p *parser) skip(start int) {
	if p.dead {
		return
	}
	p.failed = false
	depth := 0
	for _, t := range p.toks[start:p.pos] {
		switch t.kind {
		case tLParen, tLBracket, tLBrace:
			depth++
		case tRParen, tRBracket, tRBrace:
			depth--
		}
	}
	depth = max(depth, 0)
	for {
		t := p.tok()
		switch t.kind {
		case tEOF:
			return
		case tBar:
			// A pipe at the start of a line that is not indented deeper than the
			// construct ends it, open brackets or not.
			if depth == 0 || p.startsLine(p.pos) && p.indent(p.pos) <= p.indent(max(start-1, 0)) && isOperator(p.peekKind(1)) {
				return
			}
		case tSemicolon:
			if depth == 0 || p.startsLine(p.pos+1) && p.indent(p.pos+1) == 0 {
				return
			}
		case tLParen, tLBracket, tLBrace:
			depth++
		case tRParen, tRBracket, tRBrace:
			if depth == 0 {
				return
			}
			depth--
		}
		p.next()
	}
}

// startsLine reports whether token i is the first of its line.
func (p *parser) startsLine(i int) bool {
	if i == 0 || i >= len(p.toks) {
		return i == 0
	}
	return strings.ContainsAny(p.text[p.toks[i-1].end:p.toks[i].start], "\r\n")
}

// indent returns how far the line of token i is indented, in bytes.
func (p *parser) indent(i int) int {
	if i >= len(p.toks) {
		return 0
	}
	start, end := lineAt(p.text, int(p.toks[i].start))
	line := p.text[start:end]
	return len(line) - len(strings.TrimLeft(line, " \t"))
}

// enter counts one level of nesting; leave ends it. When enter returns false
// the text is nested too deeply, and the rest of it is skipped.
func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth || p.h > maxHeight {
		p.tooDeep()
		return false
	}
	return true
}

func (p *parser) leave() { p.depth-- }

func (p *parser) tooDeep() {
	if !p.dead {
		p.fail(p.here(), CodeDepth, "the query is nested too deeply", "")
	}
	p.failed, p.dead = true, true
	p.pos = len(p.toks) - 1
	p.h = 0
}

// grow sets the height of an expression built from the one just read and one
// of height other.
func (p *parser) grow(other int) {
	p.h = max(p.h, other) + 1
	if p.h > maxHeight {
		p.tooDeep()
	}
}

// open begins a construct that holds expressions, and shut ends it: its height
// is one more than that of the highest expression inside.
func (p *parser) open() (outer int) {
	outer, p.hmax = p.hmax, 0
	return outer
}

func (p *parser) shut(outer int) {
	p.h = p.hmax + 1
	p.hmax = max(outer, p.h)
}

// statements reads statements up to a token of kind end, which it leaves.
func (p *parser) statements(end kind) []Statement {
	var list []Statement
	for p.kind() != end && p.kind() != tEOF {
		start := p.pos
		st := p.statement()
		broken := p.failed
		if broken {
			p.skip(start)
		}
		list = append(list, st)
		if p.accept(tSemicolon) || p.kind() == end || p.kind() == tEOF {
			continue
		}
		if !broken {
			p.expected(`"|" or ";"`, p.strayHint())
			if t := p.tok(); p.startsLine(p.pos) && (t.kind == kwLet || t.kind == tIdent) {
				p.failed = false // a semicolon is missing, or a pipe: go on here
				continue
			}
		}
		for {
			p.skip(p.pos)
			if p.kind() == tSemicolon || p.kind() == end || p.kind() == tEOF {
				break
			}
			p.next()
		}
		p.accept(tSemicolon)
	}
	return list
}

// strayHint guesses why the current token cannot follow what stands before it.
func (p *parser) strayHint() string {
	t := p.tok()
	w := p.textOf(t)
	lower := strings.ToLower(w)
	switch {
	case t.kind == tEq:
		return "write == to compare"
	case t.kind == tEqEq || t.kind == tNe || t.kind == tLt || t.kind == tGt:
		return "comparisons cannot be chained; join them with and"
	case t.kind == tBar && p.pos > 0 && p.toks[p.pos-1].kind == tBar:
		return "write or"
	case isOperator(t.kind) && t.kind != kwAs:
		return "put | before " + w
	case t.kind == kwLet:
		return "end the statement before it with ;"
	case t.kind == tBad || t.has(fBroken):
		return ""
	case t.kind == tIdent && w != lower && (words[lower].kind != 0):
		return "keywords are written in lower case: " + lower
	case t.kind == tIdent && p.startsLine(p.pos):
		if near := nearest(w, operatorNames); near != "" {
			return "did you mean | " + near + "?"
		}
		return "end the statement before it with ;"
	case lower == "not" && p.pos+1 < len(p.toks) && p.textOf(p.toks[p.pos+1]) == "in":
		return "write !in"
	case p.pos > 0 && p.textOf(p.toks[p.pos-1]) == "not":
		return "write not(...)"
	case t.kind == tIdent && lower == "is":
		return "isnull(x) asks for null, isempty(x) for an empty string"
	case t.kind == tIdent:
		if near := nearest(w, infixNames); near != "" {
			return "did you mean " + near + "?"
		}
	}
	return ""
}

func (p *parser) statement() Statement {
	next := p.peek(1)
	switch p.kind() {
	case kwLet:
		if p.nameLen(1, fName) > 0 || next.kind != tEOF && (next.has(fExtName|fSelName) || next.kind == tLong || next.kind == tReserved || next.kind == kwType) {
			return p.let()
		}
	case kwSet:
		return p.set()
	case kwDeclare:
		switch next.kind {
		case kwQueryParameters:
			return p.declareParams()
		case kwPattern:
			return p.declarePattern()
		}
	case kwAlias:
		if next.kind == kwDatabase {
			return p.alias()
		}
	case kwRestrict:
		if next.kind == kwAccess {
			return p.restrict()
		}
	}
	start := p.pos
	x := p.pipe()
	return &ExprStatement{p.from(start).Join(x.Range()), x}
}

func (p *parser) let() Statement {
	start := p.pos
	p.next()
	st := &LetStatement{Name: p.name(fName, "a name")}
	p.expect(tEq, `"="`)
	switch {
	case p.failed:
		st.Value = p.bad()
	case p.kind() == kwEntityGroup && p.peekKind(1) != tLParen:
		st.Value = p.entityGroup()
	case p.startsFunc():
		st.Value = p.function()
	default:
		st.Value = p.pipe()
	}
	st.Span = p.from(start)
	return st
}

// startsFunc reports whether a function declaration stands here: (a: type ...),
// (), (*), or the same after view.
func (p *parser) startsFunc() bool {
	i := 0
	if p.kind() == kwView {
		i = 1
	}
	if p.peekKind(i) != tLParen {
		return false
	}
	switch p.peekKind(i + 1) {
	case tRParen, tStar:
		return true
	}
	n := p.nameLen(i+1, fExtName)
	return n > 0 && p.peekKind(i+1+n) == tColon
}

func (p *parser) function() Expr {
	if !p.enter() {
		defer p.leave()
		return p.bad()
	}
	defer p.leave()
	start := p.pos
	f := &Func{View: p.accept(kwView)}
	f.Params = p.funcParams()
	f.Body = p.block()
	f.Span = p.from(start)
	return f
}

func (p *parser) funcParams() []*FuncParam {
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		return nil
	}
	var list []*FuncParam
	p.list(tRParen, true, false, func() { list = append(list, p.funcParam()) })
	p.close(tRParen, open)
	return list
}

func (p *parser) funcParam() *FuncParam {
	start := p.pos
	f := &FuncParam{Name: p.name(fExtName, "a parameter name")}
	if p.expect(tColon, `":" and a type`) {
		if p.kind() == tLParen {
			f.Schema = p.schemaType()
		} else {
			f.Type = p.typeName(false)
		}
	}
	if p.accept(tEq) {
		switch t := p.tok(); {
		case p.startsLiteral():
			f.Default = p.literal()
		case t.has(fName):
			f.Default = p.ref(fName)
		default:
			p.expected("a literal as default value", "")
			f.Default = p.bad()
		}
	}
	f.Span = p.from(start)
	return f
}

// block reads a function body: { statements; expression }.
func (p *parser) block() *Block {
	start := p.pos
	b := &Block{}
	if !p.expect(tLBrace, `"{"`) {
		b.Span = p.from(start)
		return b
	}
	for p.kind() == kwLet || p.kind() == kwDeclare && p.peekKind(1) == kwQueryParameters {
		at := p.pos
		if p.kind() == kwLet {
			b.Statements = append(b.Statements, p.let())
		} else {
			b.Statements = append(b.Statements, p.declareParams())
		}
		if !p.failed && p.kind() != tSemicolon {
			p.expected(`";"`, p.strayHint())
		}
		if p.failed {
			p.skip(at)
			for p.kind() == tBar {
				p.next()
				p.skip(p.pos)
			}
		}
		if !p.accept(tSemicolon) {
			break
		}
	}
	if p.kind() != tRBrace && p.kind() != tSemicolon {
		b.X = p.pipe()
	}
	p.accept(tSemicolon)
	p.close(tRBrace, start)
	b.Span = p.from(start)
	return b
}

func (p *parser) entityGroup() Expr {
	start := p.pos
	p.next()
	g := &EntityGroup{}
	open := p.pos
	if p.expect(tLBracket, `"["`) {
		g.Items = p.exprs(tRBracket, false, false)
		p.close(tRBracket, open)
	}
	g.Span = p.from(start)
	return g
}

func (p *parser) set() Statement {
	start := p.pos
	p.next()
	st := &SetStatement{Name: p.name(fName, "the name of a request option")}
	if p.accept(tEq) {
		st.Value = p.unnamed()
	}
	st.Span = p.from(start)
	return st
}

func (p *parser) declareParams() Statement {
	start := p.pos
	p.next()
	p.next()
	st := &ParamsStatement{}
	open := p.pos
	if p.expect(tLParen, `"("`) {
		p.list(tRParen, false, false, func() { st.Params = append(st.Params, p.funcParam()) })
		p.close(tRParen, open)
	}
	st.Span = p.from(start)
	return st
}

func (p *parser) alias() Statement {
	start := p.pos
	p.next()
	p.next()
	st := &AliasStatement{Name: p.name(fName, "a name")}
	if p.expect(tEq, `"="`) {
		st.X = p.unnamed()
	} else {
		st.X = p.bad()
	}
	st.Span = p.from(start)
	return st
}

func (p *parser) restrict() Statement {
	start := p.pos
	p.next()
	p.next()
	st := &RestrictStatement{}
	p.expect(kwTo, `"to"`)
	open := p.pos
	if p.expect(tLParen, `"("`) {
		p.list(tRParen, false, false, func() { st.Entities = append(st.Entities, p.entity()) })
		p.close(tRParen, open)
	}
	if p.accept(kwWith) {
		st.Params = p.properties()
	}
	st.Span = p.from(start)
	return st
}

func (p *parser) declarePattern() Statement {
	start := p.pos
	p.next()
	p.next()
	st := &PatternStatement{Name: p.name(fName, "a name")}
	if p.accept(tEq) {
		open := p.pos
		if p.expect(tLParen, `"("`) {
			p.list(tRParen, true, false, func() { st.Params = append(st.Params, p.column(false)) })
			p.close(tRParen, open)
		}
		if st.Params == nil {
			st.Params = []*Column{}
		}
		if p.kind() == tLBracket {
			open := p.pos
			p.next()
			st.Path = p.column(false)
			p.close(tRBracket, open)
		}
		open = p.pos
		if p.expect(tLBrace, `"{"`) {
			if p.kind() != tLParen {
				p.expected(`"(" and the arguments of a match`, "")
			}
			for p.kind() == tLParen && !p.failed {
				st.Matches = append(st.Matches, p.patternMatch())
			}
			p.close(tRBrace, open)
		}
	}
	st.Span = p.from(start)
	return st
}

func (p *parser) patternMatch() *PatternMatch {
	start := p.pos
	p.next()
	m := &PatternMatch{Args: p.exprs(tRParen, false, false)}
	p.close(tRParen, start)
	if p.accept(tDot) {
		open := p.pos
		if p.expect(tLBracket, `"["`) {
			m.Path = p.requireLiteral()
			p.close(tRBracket, open)
		}
	}
	if p.expect(tEq, `"="`) {
		m.Body = p.block()
	} else {
		m.Body = &Block{Span: p.from(p.pos)}
	}
	p.expect(tSemicolon, `";"`)
	m.Span = p.from(start)
	return m
}

// list reads elements separated by commas up to end, which it leaves. None at
// all is accepted when empty is set, a comma before end when trailing is set.
func (p *parser) list(end kind, empty, trailing bool, element func()) {
	if p.kind() == end && empty {
		return
	}
	for !p.failed {
		element()
		if p.failed || !p.accept(tComma) {
			return
		}
		if trailing && p.kind() == end {
			return
		}
	}
}

// exprs reads expressions separated by commas up to end.
func (p *parser) exprs(end kind, empty, trailing bool) []Expr {
	var list []Expr
	p.list(end, empty, trailing, func() { list = append(list, p.unnamed()) })
	return list
}

// namedList reads `name = expression` or expressions separated by commas.
func (p *parser) namedList() []Expr {
	var list []Expr
	for !p.failed {
		list = append(list, p.named())
		if p.failed || !p.accept(tComma) {
			break
		}
	}
	return list
}

// nameLen returns how many tokens the name at offset i has, 0 if none stands
// there. flag says which keywords count.
func (p *parser) nameLen(i int, flag uint8) int {
	switch t := p.peek(i); t.kind {
	case tLBracket:
		n := 1
		for p.peekKind(i+n) == tString {
			n++
		}
		if n > 1 && p.peekKind(i+n) == tRBracket {
			return n + 1
		}
		return 0
	case tLBrace:
		return p.bracedLen(i)
	default:
		if t.has(flag) {
			return 1
		}
		return 0
	}
}

// bracedLen is nameLen for {name} and {name[1]}, without any white space.
func (p *parser) bracedLen(i int) int {
	n := 1
	step := func(ok bool) bool {
		ok = ok && !p.peek(i+n).has(fSpace)
		n++
		return ok
	}
	if t := p.peek(i + 1); !step(t.kind == tIdent || isWord(t.kind)) {
		return 0
	}
	if p.peekKind(i+n) == tLBracket {
		if !step(true) {
			return 0
		}
		if p.peekKind(i+n) == tMinus && !step(true) {
			return 0
		}
		if !step(p.peekKind(i+n) == tLong) || !step(p.peekKind(i+n) == tRBracket) {
			return 0
		}
	}
	if !step(p.peekKind(i+n) == tRBrace) {
		return 0
	}
	return n
}

// name reads a name, or reports that what was expected.
func (p *parser) name(flag uint8, what string) Name {
	n := p.nameLen(0, flag)
	start := p.pos
	if n == 0 {
		t := p.tok()
		hint := ""
		if isWord(t.kind) {
			hint = fmt.Sprintf("%s is a keyword; as a name it is written ['%[1]s']", p.textOf(t))
		}
		p.expected(what, hint)
		return Name{Span: p.from(start)}
	}
	return p.readName(n)
}

// readName reads the name of n tokens that nameLen has found.
func (p *parser) readName(n int) Name {
	start := p.pos
	switch p.kind() {
	case tLBracket:
		var text string
		for i := 1; i < n-1; i++ {
			s, _ := unquote(p.textOf(p.peek(i)))
			text += s
			if p.peek(i).has(fBroken) {
				p.failed = true
			}
		}
		p.pos += n
		return Name{p.from(start), text, true}
	case tLBrace:
		p.pos += n
		s := p.from(start)
		return Name{s, p.text[s.Start:s.End], false}
	}
	t := p.next()
	return Name{t.span(), p.textOf(t), false}
}

func (p *parser) ref(flag uint8) Expr {
	n := p.name(flag, "a name")
	p.h = 1
	return &Ref{n}
}

// bad returns the stand-in for an expression that could not be read.
func (p *parser) bad() Expr {
	p.h = 1
	return &Bad{p.from(p.pos)}
}

// isWord reports the kinds of token that are written as a word, keywords and
// operators such as has included.
func isWord(k kind) bool {
	return k >= tReserved && k != kwOperators
}

// isOperator reports the keywords that start a tabular operator.
func isOperator(k kind) bool { return k > kwOperators }

// column reads `name: type`; the type may be left out when optional is set.
func (p *parser) column(optional bool) *Column {
	start := p.pos
	c := &Column{Name: p.name(fExtName, "a column name")}
	if p.kind() == tColon || !optional {
		if p.expect(tColon, `":" and a type`) {
			c.Type = p.typeName(false)
		}
	}
	c.Span = p.from(start)
	return c
}

// typeName reads the name of a scalar type. Some names are types only in
// typeof(...) and find, where extended is set.
func (p *parser) typeName(extended bool) *Type {
	t := p.tok()
	w := p.textOf(t)
	if t.kind == kwDynamic || t.kind == kwType && (extended || paramType(w)) || extended && t.kind == tIdent {
		p.next()
		return &Type{t.span(), w}
	}
	hint := ""
	if isWord(t.kind) || t.kind == tIdent {
		if near := nearest(w, typeNames); near != "" {
			hint = "did you mean " + near + "?"
		} else {
			hint = "the types are " + strings.Join(typeNames, ", ")
		}
		p.fail(t.span(), CodeSyntax, "unknown type "+w, hint)
	} else {
		p.expected("a type", hint)
	}
	return &Type{p.from(p.pos), ""}
}

var typeNames = []string{"bool", "datetime", "decimal", "dynamic", "guid", "int", "long", "real", "string", "timespan"}

func paramType(w string) bool {
	switch w {
	case "float", "int16", "int32", "uint", "uint16", "uint32", "uint64", "uint8", "ulong":
		return false
	}
	return true
}

// rowSchema reads (a: long, b: string), as datatable and externaldata take it.
func (p *parser) rowSchema(star bool) *Schema {
	start := p.pos
	s := &Schema{}
	if p.expect(tLParen, `"(" and the columns`) {
		p.accept(tComma)
		if star && p.accept(tStar) {
			s.Star = true
			p.accept(tComma)
		}
		p.list(tRParen, true, true, func() { s.Columns = append(s.Columns, p.column(false)) })
		p.close(tRParen, start)
	}
	s.Span = p.from(start)
	return s
}

// schemaType reads the type of a tabular parameter: (*) or (a: long, ...).
func (p *parser) schemaType() *Schema {
	start := p.pos
	p.next()
	s := &Schema{}
	if p.accept(tStar) {
		s.Star = true
	} else {
		p.list(tRParen, true, true, func() { s.Columns = append(s.Columns, p.column(false)) })
	}
	p.close(tRParen, start)
	s.Span = p.from(start)
	return s
}
