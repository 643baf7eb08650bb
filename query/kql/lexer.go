package kql

import (
	"strings"
	"unicode/utf8"
)

// lexer cuts a text into tokens. It never fails: what is not KQL becomes a
// tBad or fBroken token with an error.
type lexer struct {
	text string
	pos  int
	toks []token
	errs Errors
}

// scan cuts the whole text; the last token is tEOF.
func (l *lexer) scan() {
	// Real queries have a token every five to six bytes.
	l.toks = make([]token, 0, len(l.text)/5+16)
	for {
		space := l.skipSpace()
		start := l.pos
		t := l.token()
		t.start, t.end = int32(start), int32(l.pos)
		if space {
			t.flags |= fSpace
		}
		l.toks = append(l.toks, t)
		if t.kind == tEOF {
			return
		}
	}
}

func (l *lexer) fail(start, end int, code, message, hint string) {
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, &Error{Span{start, end}, code, message, hint})
	}
}

// skipSpace moves over white space and comments, and says if there were any.
func (l *lexer) skipSpace() bool {
	start := l.pos
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == ' ' || c >= '\t' && c <= '\r' && c != '\v':
			l.pos++
		case c == '/' && l.at(1) == '/':
			for l.pos < len(l.text) && l.text[l.pos] != '\n' && l.text[l.pos] != '\r' {
				l.pos++
			}
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(l.text[l.pos:])
			if !isSpace(r) {
				return l.pos > start
			}
			l.pos += n
		default:
			return l.pos > start
		}
	}
	return l.pos > start
}

// isSpace reports the characters above ASCII that count as white space. Text
// that was copied from a web page is full of them.
func isSpace(r rune) bool {
	switch r {
	case 0xa0, 0x1680, 0x180e, 0x202f, 0x205f, 0x3000, 0xfeff, 0x2028, 0x2029:
		return true
	}
	return r >= 0x2000 && r <= 0x200b
}

// at returns the byte n bytes ahead, 0 behind the end.
func (l *lexer) at(n int) byte {
	if i := l.pos + n; i < len(l.text) {
		return l.text[i]
	}
	return 0
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isNameByte(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '_'
}
func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// token reads one token at pos and moves behind it.
func (l *lexer) token() token {
	if l.pos >= len(l.text) {
		return token{kind: tEOF}
	}
	c := l.text[l.pos]
	if isLetter(c) || c == '_' || c == '$' {
		return l.word()
	}
	if isDigit(c) {
		return l.number()
	}
	one := func(k kind) token { l.pos++; return token{kind: k} }
	two := func(k kind) token { l.pos += 2; return token{kind: k} }
	next := l.at(1)
	switch c {
	case '(':
		return one(tLParen)
	case ')':
		return one(tRParen)
	case '[':
		return one(tLBracket)
	case ']':
		return one(tRBracket)
	case '{':
		return one(tLBrace)
	case '}':
		return one(tRBrace)
	case '|':
		return one(tBar)
	case ';':
		return one(tSemicolon)
	case ',':
		return one(tComma)
	case ':':
		return one(tColon)
	case '.':
		if next == '.' {
			return two(tDotDot)
		}
		return one(tDot)
	case '+':
		return one(tPlus)
	case '-':
		return one(tMinus)
	case '*':
		return one(tStar)
	case '/':
		return one(tSlash)
	case '%':
		return one(tPercent)
	case '?':
		return one(tQuestion)
	case '<':
		switch next {
		case '=':
			return two(tLe)
		case '>':
			return two(tNe)
		case '|':
			return two(tLtBar)
		}
		return one(tLt)
	case '>':
		if next == '=' {
			return two(tGe)
		}
		return one(tGt)
	case '=':
		switch next {
		case '=':
			return two(tEqEq)
		case '~':
			return two(tEqTilde)
		case '>':
			return two(tArrow)
		}
		return one(tEq)
	case '!':
		switch {
		case next == '=':
			return two(tNe)
		case next == '~':
			return two(tNeTilde)
		case isLetter(next):
			return l.bang()
		}
	case '"', '\'':
		return l.str(0)
	case '@':
		if next == '"' || next == '\'' {
			return l.str(0)
		}
		return one(tAt)
	case '`', '~':
		if strings.HasPrefix(l.text[l.pos:], multiLine(c)) {
			return l.str(0)
		}
	case '#':
		end := l.lineEnd()
		l.pos = end
		return token{kind: tDirective}
	}
	return l.bad()
}

// multiLine returns the quote of a multi-line string that starts with c.
func multiLine(c byte) string {
	if c == '~' {
		return "~~~"
	}
	return "```"
}

func (l *lexer) lineEnd() int {
	if n := strings.IndexAny(l.text[l.pos:], "\r\n"); n >= 0 {
		return l.pos + n
	}
	return len(l.text)
}

// bad reports a character that starts no token.
func (l *lexer) bad() token {
	start := l.pos
	r, n := utf8.DecodeRuneInString(l.text[l.pos:])
	l.pos += n
	hint := ""
	switch r {
	case '&':
		if l.at(0) == '&' {
			l.pos++
		}
		hint = "write and"
	case '!':
		hint = "write not(...)"
	case '“', '”', '„', '‘', '’', '`', '«', '»':
		hint = `strings stand between straight quotes, "..." or '...'`
	case '^':
		hint = "write pow(x, y)"
	case '–', '—', '−':
		hint = "this is not the minus sign -"
	}
	message := "unexpected character " + quoteRune(r, l.text[start:l.pos])
	l.fail(start, l.pos, CodeSyntax, message, hint)
	return token{kind: tBad, flags: fBroken}
}

func quoteRune(r rune, raw string) string {
	const hex = "0123456789abcdef"
	if r == utf8.RuneError && len(raw) == 1 {
		return "\\x" + string(hex[raw[0]>>4]) + string(hex[raw[0]&15]) + " (the text is not UTF-8)"
	}
	if r < ' ' || r == 0x7f {
		return "\\x" + string(hex[r>>4]) + string(hex[r&15])
	}
	return raw
}

// word reads an identifier, a keyword, a boolean, a typed literal such as
// datetime(...), a raw guid or a hidden string.
func (l *lexer) word() token {
	start := l.pos
	l.pos++
	for l.pos < len(l.text) && isNameByte(l.text[l.pos]) {
		l.pos++
	}
	w := l.text[start:l.pos]
	next := l.at(0)
	switch {
	case next == '(':
		if k, ok := typedLiterals[w]; ok {
			return l.typed(k, start)
		}
	case next == '-':
		if len(w) == 8 && rawGuid(l.text[start:]) {
			l.pos = start + 36
			return token{kind: tRawGuid}
		}
		for _, d := range dashed[w] {
			if !strings.HasPrefix(l.text[l.pos:], d.rest) {
				continue
			}
			l.pos += len(d.rest)
			if !isNameByte(l.at(0)) {
				return token{kind: d.kind, flags: d.flags}
			}
			known := l.text[start:l.pos]
			for isNameByte(l.at(0)) {
				l.pos++
			}
			l.fail(start, l.pos, CodeSyntax, "unknown word "+l.text[start:l.pos], "did you mean "+known+"?")
			return token{kind: tBad, flags: fBroken}
		}
	case next == '~' && w == "in":
		l.pos++
		return token{kind: tInOp, op: OpInTilde}
	case len(w) == 1 && w[0]|0x20 == 'h' && (next == '"' || next == '\'' || next == '@' && (l.at(1) == '"' || l.at(1) == '\'') ||
		(next == '`' || next == '~') && strings.HasPrefix(l.text[l.pos:], multiLine(next))):
		l.pos = start
		return l.str(1)
	}
	if k, ok := words[w]; ok {
		return token{kind: k.kind, flags: k.flags, op: k.op}
	}
	switch w {
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return token{kind: tBool}
	case "matches":
		// The keyword is "matches regex"; white space between is tolerated.
		end := l.pos
		for l.pos < len(l.text) && (l.text[l.pos] == ' ' || l.text[l.pos] == '\t') {
			l.pos++
		}
		if l.pos > end && strings.HasPrefix(l.text[l.pos:], "regex") && !isNameByte(l.at(5)) {
			l.pos += 5
			return token{kind: tStringOp, op: OpMatchesRegex}
		}
		l.pos = end
	}
	return token{kind: tIdent, flags: fName | fExtName}
}

// bang reads !has, !in~ and the like.
func (l *lexer) bang() token {
	start := l.pos
	l.pos++
	for l.pos < len(l.text) && isNameByte(l.text[l.pos]) {
		l.pos++
	}
	name := l.text[start+1 : l.pos]
	w, ok := bangWords[name]
	if !ok {
		hint := "write not(...)"
		if near := nearest(name, bangNames()); near != "" {
			hint = "did you mean !" + near + "?"
		}
		l.fail(start, l.pos, CodeSyntax, "unknown operator "+l.text[start:l.pos], hint)
		return token{kind: tBad, flags: fBroken}
	}
	if name == "in" && l.at(0) == '~' {
		l.pos++
		w.op = OpNotInTilde
	}
	return token{kind: w.kind, op: w.op}
}

func bangNames() []string {
	names := make([]string, 0, len(bangWords))
	for n := range bangWords {
		names = append(names, n)
	}
	return names
}

// typed reads the value of a typed literal: all up to the next ")" of the line.
func (l *lexer) typed(k kind, start int) token {
	n := strings.IndexAny(l.text[l.pos:], ")\r\n")
	if n < 0 || l.text[l.pos+n] != ')' {
		if n < 0 {
			n = len(l.text) - l.pos
		}
		open := l.pos
		l.pos += n
		l.fail(open, open+1, CodeLiteral, l.text[start:open]+"(...) does not end on this line", `expected ")"`)
		return token{kind: k, flags: fBroken}
	}
	l.pos += n + 1
	return token{kind: k}
}

// rawGuid reports whether s starts with a guid without guid(...).
func rawGuid(s string) bool {
	if len(s) < 36 {
		return false
	}
	for i := 0; i < 36; i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}

// number reads a long, real or timespan literal, a raw guid, or a name that
// starts with a digit.
func (l *lexer) number() token {
	start := l.pos
	if rawGuid(l.text[start:]) {
		l.pos += 36
		return token{kind: tRawGuid}
	}
	digits := func(i int) int {
		for i < len(l.text) && isDigit(l.text[i]) {
			i++
		}
		return i
	}
	at := func(i int) byte {
		if i < len(l.text) {
			return l.text[i]
		}
		return 0
	}
	end := digits(start)
	// Real: digits, then a dot that is not the first of two, or an exponent.
	i := end
	if at(i) == '.' && (at(i+1) != '.' || at(i+2) == '.') {
		i = digits(i + 1)
		i = exponent(l.text, i)
	} else {
		i = exponent(l.text, i)
	}
	if i > end && !isNameByte(at(i)) {
		l.pos = i
		return token{kind: tReal}
	}
	// Timespan: 1d, 1.5h, 10ms.
	i = end
	if at(i) == '.' && isDigit(at(i+1)) {
		i = digits(i + 1)
	}
	j := i
	for isLetter(at(j)) {
		j++
	}
	if j > i && !isNameByte(at(j)) {
		if _, ok := timespanUnits[l.text[i:j]]; ok {
			l.pos = j
			return token{kind: tTimespan}
		}
	}
	// Hexadecimal.
	if l.text[start] == '0' && at(start+1)|0x20 == 'x' && isHex(at(start+2)) {
		i = start + 2
		for isHex(at(i)) {
			i++
		}
		if !isNameByte(at(i)) {
			l.pos = i
			return token{kind: tLong}
		}
	}
	l.pos = end
	if !isNameByte(at(end)) {
		return token{kind: tLong}
	}
	for isNameByte(at(l.pos)) {
		l.pos++
	}
	if w, ok := words[l.text[start:l.pos]]; ok { // 3Dchart
		return token{kind: w.kind, flags: w.flags}
	}
	return token{kind: tIdent, flags: fName | fExtName}
}

// exponent returns the end of an exponent at i, or i if there is none.
func exponent(s string, i int) int {
	if i >= len(s) || s[i]|0x20 != 'e' {
		return i
	}
	j := i + 1
	if j < len(s) && (s[j] == '+' || s[j] == '-') {
		j++
	}
	k := j
	for k < len(s) && isDigit(s[k]) {
		k++
	}
	if k == j {
		return i
	}
	return k
}

// str reads a string literal; prefix is the length of h or H before it.
func (l *lexer) str(prefix int) token {
	start := l.pos
	l.pos += prefix
	verbatim := l.text[l.pos] == '@'
	if verbatim {
		l.pos++
	}
	quote := l.text[l.pos]
	if quote == '`' || quote == '~' {
		q := multiLine(quote)
		n := strings.Index(l.text[l.pos+3:], q)
		if n < 0 {
			l.fail(start, l.pos+3, CodeLiteral, "string does not end", "expected "+q)
			l.pos = len(l.text)
			return token{kind: tString, flags: fBroken}
		}
		l.pos += n + 6
		return token{kind: tString}
	}
	l.pos++
	broken := false
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == quote:
			if verbatim && l.at(1) == quote {
				l.pos += 2
				continue
			}
			l.pos++
			if broken {
				return token{kind: tString, flags: fBroken}
			}
			return token{kind: tString}
		case c == '\n' || c == '\r':
			goto open
		case c == '\\' && !verbatim:
			n := escape(l.text[l.pos:])
			if n == 0 {
				end := min(l.pos+2, len(l.text))
				if !broken {
					l.fail(l.pos, end, CodeLiteral, "unknown escape "+l.text[l.pos:end]+" in a string",
						`write \\ for a backslash, or @"..." for a string without escapes`)
				}
				broken = true
				n = min(2, len(l.text)-l.pos)
				if l.at(1) == '\n' || l.at(1) == '\r' {
					n = 1
				}
			}
			l.pos += n
		default:
			l.pos++
		}
	}
open:
	if !broken {
		l.fail(start, start+prefix+1, CodeLiteral, "string does not end on this line", "expected "+string(quote))
	}
	return token{kind: tString, flags: fBroken}
}

// escape returns the length of the escape sequence at the start of s, 0 if it
// is not one.
func escape(s string) int {
	if len(s) < 2 {
		return 0
	}
	hex := func(n int) int {
		if len(s) < 2+n {
			return 0
		}
		for i := 2; i < 2+n; i++ {
			if !isHex(s[i]) {
				return 0
			}
		}
		return 2 + n
	}
	switch c := s[1]; c {
	case '\\', '\'', '"', 'a', 'b', 'f', 'n', 'r', 't', 'v':
		return 2
	case 'u':
		return hex(4)
	case 'U':
		return hex(8)
	case 'x':
		return hex(2)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := 2
		for n < 4 && n < len(s) && s[n] >= '0' && s[n] <= '7' && (n < 3 || c <= '3') {
			n++
		}
		return n
	}
	return 0
}
