package cli

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A rough reading of KQL, good enough to colour a line that is being written
// and to know where the cursor stands. What a text means is the service's to say.

// wordKind tells the parts of a text apart.
type wordKind uint8

const (
	wordName wordKind = iota
	wordNumber
	wordString
	wordComment
	wordMark // punctuation and operators
)

// word is a part of a text, without the blanks between.
type word struct {
	kind  wordKind
	text  string
	start int
	open  bool // a string that does not end
}

// words splits a text.
func words(s string) []word {
	var list []word
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		start := i
		w := word{kind: wordMark}
		switch {
		case unicode.IsSpace(r):
			i += size
			continue
		case strings.HasPrefix(s[i:], "//"):
			w.kind = wordComment
			if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(s)
			}
		case r == '"' || r == '\'':
			w.kind = wordString
			i, w.open = stringEnd(s, i, false)
		case (r == '@' || r == 'h' || r == 'H') && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\''):
			w.kind = wordString
			i, w.open = stringEnd(s, i+1, r == '@')
		case isNameStart(r):
			w.kind = wordName
			for i < len(s) {
				r, size := utf8.DecodeRuneInString(s[i:])
				// Operators such as project-away have a hyphen, which a name has not.
				if !isNamePart(r) && !(r == '-' && hyphenated(s[start:i], s[i:])) {
					break
				}
				i += size
			}
		case unicode.IsDigit(r):
			w.kind = wordNumber
			for i < len(s) && (isNamePart(rune(s[i])) || s[i] == '.' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9') {
				i++
			}
		default:
			i += size
			for _, op := range []string{"==", "!=", "=~", "!~", "<=", ">=", "<>", "..", "=>"} {
				if strings.HasPrefix(s[start:], op) {
					i = start + len(op)
				}
			}
			if r == '!' && i < len(s) && isNameStart(rune(s[i])) { // !has, !in
				for i < len(s) && (isNamePart(rune(s[i])) || s[i] == '~') {
					i++
				}
			}
		}
		w.text, w.start = s[start:i], start
		list = append(list, w)
	}
	return list
}

// stringEnd returns the end of the string whose quote is at i.
func stringEnd(s string, i int, verbatim bool) (end int, open bool) {
	quote := s[i]
	for i++; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1, false
		case s[i] == '\\' && !verbatim:
			i++
		case s[i] == '\n':
			return i, true
		}
	}
	return len(s), true
}

func isNameStart(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) }
func isNamePart(r rune) bool  { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// hyphenated says whether head and rest make an operator's name.
func hyphenated(head, rest string) bool {
	for _, op := range tabularOperators {
		if strings.Contains(op, "-") && strings.HasPrefix(op, head+"-") {
			tail := op[len(head):]
			if strings.HasPrefix(rest, tail) && (len(rest) == len(tail) || !isNamePart(rune(rest[len(tail)]))) {
				return true
			}
		}
	}
	return false
}

// complete says whether a text is a whole query, which ends with a semicolon or
// an empty line. A semicolon behind let, set or declare does not end it.
func complete(s string) bool {
	trimmed := strings.TrimSpace(s)
	if trimmed == "" || strings.HasPrefix(trimmed, ".") {
		return true
	}
	if last := strings.LastIndexByte(s, '\n'); last >= 0 && strings.TrimSpace(s[last:]) == "" {
		return true
	}
	list := words(s)
	for len(list) > 0 && list[len(list)-1].kind == wordComment {
		list = list[:len(list)-1]
	}
	if len(list) == 0 || list[len(list)-1].text != ";" {
		return false
	}
	first, depth := true, 0
	statement := ""
	for _, w := range list[:len(list)-1] {
		switch {
		case w.kind == wordComment:
		case w.text == "{":
			depth++
		case w.text == "}":
			depth--
		case w.text == ";" && depth == 0:
			first = true
		case first:
			statement, first = w.text, false
		}
	}
	switch statement {
	case "let", "set", "declare", "alias", "restrict":
		return false
	}
	return true
}

// declared are the names that declare query_parameters of a text lists.
func declared(s string) []string {
	var names []string
	list := slices.DeleteFunc(words(s), func(w word) bool { return w.kind == wordComment })
	inside := false
	for i, w := range list {
		switch {
		case i > 0 && list[i-1].text == "query_parameters" && w.text == "(":
			inside = true
		case w.text == ";":
			inside = false
		case inside && w.text == ":" && list[i-1].kind == wordName:
			names = append(names, list[i-1].text)
		}
	}
	return names
}

// tabularOperators are offered behind a pipe.
var tabularOperators = []string{
	"as", "consume", "count", "distinct", "evaluate", "extend", "filter", "getschema", "invoke", "join", "limit", "lookup", "make-series", "mv-apply",
	"mv-expand", "order by", "parse", "parse-kv", "parse-where", "partition", "project", "project-away", "project-keep", "project-rename",
	"project-reorder", "render", "sample", "scan", "search", "serialize", "sort by", "summarize", "take", "top", "top-nested", "union", "where",
}

// comparisons are offered behind a column.
var comparisons = []string{
	"==", "!=", "<", "<=", ">", ">=", "=~", "!~", "between (", "contains", "!contains", "contains_cs", "endswith", "!endswith", "has", "!has", "has_all (",
	"has_any (", "has_cs", "hasprefix", "hassuffix", "in (", "!in (", "in~ (", "!in~ (", "matches regex", "startswith", "!startswith",
}

// statements begin a query, besides tables.
var statements = []string{"datatable", "declare query_parameters(", "find", "let", "print", "range", "search", "set", "union"}

// keywords are coloured besides operators.
var keywords = map[string]bool{
	"and": true, "or": true, "not": true, "by": true, "on": true, "asc": true, "desc": true, "nulls": true, "first": true, "last": true, "with": true,
	"kind": true, "in": true, "between": true, "has": true, "contains": true, "startswith": true, "endswith": true, "matches": true, "regex": true,
	"let": true, "set": true, "declare": true, "print": true, "range": true, "from": true, "to": true, "step": true, "true": true, "false": true,
	"datatable": true, "materialize": true, "toscalar": true, "query_parameters": true, "dynamic": true, "default": true, "order": true, "sort": true,
	"has_any": true, "has_all": true, "has_cs": true, "hasprefix": true, "hassuffix": true, "contains_cs": true,
}

var charts = []string{"areachart", "barchart", "card", "columnchart", "linechart", "piechart", "scatterchart", "stackedareachart", "table", "timechart"}

var joinKinds = []string{"anti", "fullouter", "inner", "innerunique", "leftanti", "leftouter", "leftsemi", "rightanti", "rightouter", "rightsemi"}

// highlight colours a text as it is written.
func highlight(s string) string {
	const (
		keyword = "\x1b[34m"
		str     = "\x1b[32m"
		num     = "\x1b[36m"
		comment = dim
	)
	var b strings.Builder
	at := 0
	list := words(s)
	for i, w := range list {
		b.WriteString(s[at:w.start])
		code := ""
		switch w.kind {
		case wordString:
			code = str
		case wordNumber:
			code = num
		case wordComment:
			code = comment
		case wordName:
			behindPipe := i > 0 && list[i-1].text == "|"
			if keywords[w.text] || behindPipe {
				code = keyword
			}
		}
		if code != "" {
			// Each line by itself: the editor may break between.
			b.WriteString(code + w.text + plain)
		} else {
			b.WriteString(w.text)
		}
		at = w.start + len(w.text)
	}
	b.WriteString(s[at:])
	return b.String()
}
