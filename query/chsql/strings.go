package chsql

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// stringOp writes the operators on text. Needles are plain text, never patterns.
func (g *gen) stringOp(x *plan.Binary) val {
	l, r := g.text1(g.expr(x.X)), g.str(g.expr(x.Y))
	op, not := x.Op, false
	if p, ok := positive[op]; ok {
		op, not = p, true
	}
	v := g.textTest(op, l, r)
	if !not {
		return v
	}
	switch op {
	case kql.OpEqTilde:
		v.sql = strings.Replace(v.sql, " = ", " != ", 1)
		return v
	}
	return cond(v.null, "NOT "+v.s())
}

// text1 returns the left side of a string operator. A null dynamic value is
// empty text.
func (g *gen) text1(v val) val { return g.str(v) }

// positive maps the negated operators to what they negate.
var positive = map[kql.Op]kql.Op{
	kql.OpNotHas: kql.OpHas, kql.OpNotHasCS: kql.OpHasCS,
	kql.OpNotHasPrefix: kql.OpHasPrefix, kql.OpNotHasPrefixCS: kql.OpHasPrefixCS,
	kql.OpNotHasSuffix: kql.OpHasSuffix, kql.OpNotHasSuffixCS: kql.OpHasSuffixCS,
	kql.OpNotContains: kql.OpContains, kql.OpNotContainsCS: kql.OpContainsCS,
	kql.OpNotStartsWith: kql.OpStartsWith, kql.OpNotStartsWithCS: kql.OpStartsWithCS,
	kql.OpNotEndsWith: kql.OpEndsWith, kql.OpNotEndsWithCS: kql.OpEndsWithCS,
	kql.OpNotLike: kql.OpLike, kql.OpNotLikeCS: kql.OpLikeCS, kql.OpNeTilde: kql.OpEqTilde,
}

func (g *gen) textTest(op kql.Op, l, r val) val {
	text, isConst := r.constString()
	ascii := isConst && isASCII(text)
	fn := func(name string) val { return call(kCond, false, name+"("+l.sql+", "+r.sql+")") }
	switch op {
	case kql.OpEqTilde:
		if ascii {
			return cond(false, g.lowerASCII(l).sql+" = "+g.lower(r).sql)
		}
		return cond(false, g.lower(l).sql+" = "+g.lower(r).sql)
	case kql.OpContains:
		if ascii {
			return cond(false, "positionCaseInsensitive("+l.sql+", "+r.sql+") > 0")
		}
		return cond(false, "positionCaseInsensitiveUTF8("+l.sql+", "+r.sql+") > 0")
	case kql.OpContainsCS:
		return cond(false, "position("+l.sql+", "+r.sql+") > 0")
	case kql.OpStartsWith:
		if ascii {
			return fn("startsWithCaseInsensitive")
		}
		return call(kCond, false, "startsWith("+g.lower(l).sql+", "+g.lower(r).sql+")")
	case kql.OpStartsWithCS:
		return fn("startsWith")
	case kql.OpEndsWith:
		if ascii {
			return fn("endsWithCaseInsensitive")
		}
		return call(kCond, false, "endsWith("+g.lower(l).sql+", "+g.lower(r).sql+")")
	case kql.OpEndsWithCS:
		return fn("endsWith")
	case kql.OpHas, kql.OpHasCS, kql.OpHasPrefix, kql.OpHasPrefixCS, kql.OpHasSuffix, kql.OpHasSuffixCS, kql.OpSearch:
		return g.term(op, l, r)
	case kql.OpMatchesRegex:
		return call(kCond, false, "match("+l.sql+", "+g.regex(r)+")")
	case kql.OpLike, kql.OpLikeCS:
		// Kusto's like takes * as its wildcard.
		pattern := "concat('(?s)^', replaceAll(regexpQuoteMeta(" + r.sql + "), '\\\\*', '.*'), '$')"
		if isConst {
			parts := strings.Split(text, "*")
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			pattern = quote("(?s)^" + strings.Join(parts, ".*") + "$")
		}
		if op == kql.OpLike {
			return call(kCond, false, "match("+g.lower(l).sql+", lowerUTF8("+pattern+"))")
		}
		return call(kCond, false, "match("+l.sql+", "+pattern+")")
	}
	panic("chsql: no SQL for a string operator")
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// word says whether text is one term of ASCII letters and digits.
func word(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return s != ""
}

// Terms are maximal runs of letters and digits; the underscore is none of them.
// (Kusto: datatypes-string-operators, "What is a term?") Beyond ASCII these ranges
// of punctuation, symbols, blanks and emoji part them. Unicode's classes \p{L} and
// \p{N} mean the same for nearly every text, but the engine needs ten milliseconds
// to make a pattern of them.
const (
	edges = `\x{0}-/:-@\[-\x{60}{-\x{A9}\x{AB}-\x{B1}\x{B4}\x{B6}-\x{B8}\x{BB}\x{BF}\x{D7}\x{F7}` + // ASCII, Latin-1
		`\x{60C}\x{61B}\x{61F}\x{6D4}\x{964}\x{965}` + // Arabic, Devanagari
		`\x{2000}-\x{206F}\x{20A0}-\x{20CF}\x{2190}-\x{245F}\x{2500}-\x{2775}\x{2794}-\x{2BFF}\x{2E00}-\x{2E7F}` + // General Punctuation, currencies, arrows, symbols
		`\x{3000}-\x{3004}\x{3008}-\x{3020}\x{3030}\x{FE10}-\x{FE6F}\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF20}\x{FF3B}-\x{FF40}\x{FF5B}-\x{FF65}` + // CJK, full width
		`\x{FFF0}-\x{FFFF}\x{1F000}-\x{1F0FF}\x{1F10D}-\x{1FAFF}` // specials, emoji
	termEdge = "[" + edges + "]"
	termChar = "[^" + edges + "]"
)

var termChars = regexp.MustCompile("^" + termChar)

// term writes has, hasprefix and hassuffix: the text stands at the boundary of a
// term at both ends, at its beginning, or at its end.
func (g *gen) term(op kql.Op, l, r val) val {
	cs := op == kql.OpHasCS || op == kql.OpHasPrefixCS || op == kql.OpHasSuffixCS
	before := op != kql.OpHasSuffix && op != kql.OpHasSuffixCS
	after := op != kql.OpHasPrefix && op != kql.OpHasPrefixCS
	text, ok := r.constString()
	if ok {
		if text == "" {
			return cond(false, "1 = 1")
		}
		pattern := quote(termPattern(text, cs, before, after))
		if before && after && word(text) {
			token := "hasTokenCaseInsensitive("
			if cs {
				token = "hasToken("
			}
			if t, ok := l.constString(); ok && isASCII(t) {
				return call(kCond, false, token+l.sql+", "+r.sql+")")
			}
			// A token does not end at punctuation beyond ASCII, a term does.
			l = g.hoist(l)
			return call(kCond, false, "if(isValidASCII("+l.sql+"), "+token+l.sql+", "+r.sql+"), match("+l.sql+", "+pattern+"))")
		}
		return call(kCond, false, "match("+l.sql+", "+pattern+")")
	}
	// The needle is data: the pattern is made of it for each row.
	flags := "(?i)"
	if cs {
		flags = ""
	}
	r = g.hoist(r)
	parts := []string{quote(flags), "regexpQuoteMeta(" + r.sql + ")"}
	if before {
		parts = slices.Insert(parts, 1, "if(match("+r.sql+", "+quote("^"+termChar)+"), "+quote("(?:^|"+termEdge+")")+", '')")
	}
	if after {
		parts = append(parts, "if(match("+r.sql+", "+quote(termChar+"$")+"), "+quote("(?:$|"+termEdge+")")+", '')")
	}
	return call(kCond, false, "match("+l.sql+", concat("+strings.Join(parts, ", ")+"))")
}

// termPattern is the regular expression of a term test. A boundary is needed
// only where the text itself ends in a letter or digit.
func termPattern(text string, cs, before, after bool) string {
	p := ""
	if !cs {
		p = "(?i)"
	}
	_, size := utf8.DecodeLastRuneInString(text)
	if before && termChars.MatchString(text) {
		p += "(?:^|" + termEdge + ")"
	}
	p += regexp.QuoteMeta(text)
	if after && termChars.MatchString(text[len(text)-size:]) {
		p += "(?:$|" + termEdge + ")"
	}
	return p
}

// regex writes a regular expression. ClickHouse lets a dot match a line break,
// RE2 and Kusto do not.
func (g *gen) regex(v val) string {
	if s, ok := v.constString(); ok {
		if strings.Contains(s, ".") {
			s = "(?-s)" + s
		}
		return quote(s)
	}
	return "concat('(?-s)', " + g.str(v).sql + ")"
}

// hasAny writes has_any and has_all. An array that is no constant is tested
// element by element.
func (g *gen) hasAny(x *plan.In) val {
	l := g.hoist(g.text1(g.expr(x.X)))
	all := x.Op == kql.OpHasAll
	var tests []string
	for _, e := range x.List {
		v := g.expr(e)
		if e.Type() == plan.Dynamic || e.Type() == plan.Unknown {
			arr := g.strings(v)
			b := g.b
			g.b = nil
			xv := g.variable()
			t := g.term(kql.OpHas, l, val{sql: xv, k: kString, atom: true})
			g.b = b
			name := "arrayExists"
			if all {
				name = "arrayAll"
			}
			tests = append(tests, name+"("+xv+" -> "+t.sql+", "+arr.sql+")")
			continue
		}
		tests = append(tests, g.term(kql.OpHas, l, g.str(v)).s())
	}
	if len(tests) == 0 {
		if all {
			return cond(false, "1 = 1")
		}
		return cond(false, "1 = 0")
	}
	// Many single terms are looked for in one pass.
	if words, ok := constWords(x.List); ok && len(words) > 3 && !all {
		return call(kCond, false, "match("+l.sql+", "+quote("(?i)(?:^|"+termEdge+")(?:"+strings.Join(words, "|")+")(?:$|"+termEdge+")")+")")
	}
	if all {
		return cond(false, strings.Join(tests, " AND "))
	}
	return cond(false, strings.Join(tests, " OR "))
}

// constWords returns the elements when all of them are single terms.
func constWords(list []plan.Expr) ([]string, bool) {
	words := make([]string, 0, len(list))
	for _, e := range list {
		c, ok := e.(*plan.Const)
		if !ok || c.T != plan.String || !word(c.Text) {
			return nil, false
		}
		words = append(words, c.Text)
	}
	return words, true
}
