package ds

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hubscope/query/kql"
)

// Dashboard variables: $name, ${name}, ${name:format}, [[name]], [[name:format]].
//
// Outside of string literals a variable becomes string literals, a comma between
// them, or typed literals by its format. Inside a string literal its value
// becomes part of the literal's value. A value is never KQL: whatever it holds,
// it stays within the literals made for it (FuzzVariableStaysLiteral). For the
// name of a column, which is no value, there is the format column: a quoted name.

// reference is a variable or a macro in a text.
type reference struct {
	name, format string
	text         string // as it is written
	start, end   int    // in the whole text
	braced       bool   // ${name} or [[name]]
	brackets     bool   // [[name]]
}

var (
	bareReference    = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z0-9_]*)`)
	bracedReference  = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_.]*)(?::([A-Za-z0-9_:.\- ]*))?\}`)
	bracketReference = regexp.MustCompile(`^\[\[([A-Za-z_][A-Za-z0-9_.]*)(?::([A-Za-z0-9_:.\- ]*))?\]\]`)
)

// referenceAt returns the reference that begins at start.
func referenceAt(text string, start int) (reference, bool) {
	if text[start] != '$' && text[start] != '[' {
		return reference{}, false
	}
	for i, form := range []*regexp.Regexp{bareReference, bracedReference, bracketReference} {
		m := form.FindStringSubmatch(text[start:])
		if m == nil {
			continue
		}
		r := reference{name: m[1], text: m[0], start: start, end: start + len(m[0]), braced: i > 0, brackets: i == 2}
		if i > 0 {
			r.format = m[2]
		}
		switch r.name {
		case "left", "right":
			// Of a join.
			if !r.braced {
				return reference{}, false
			}
		case "null", "true", "false":
			// Of an array in dynamic().
			if r.brackets {
				return reference{}, false
			}
		}
		return r, true
	}
	return reference{}, false
}

// findReference returns the first reference at or behind start.
func findReference(text string, start int) (reference, bool) {
	for i := start; i < len(text); i++ {
		if text[i] != '$' && text[i] != '[' {
			continue
		}
		if r, ok := referenceAt(text, i); ok {
			return r, true
		}
	}
	return reference{}, false
}

// all is what Grafana sends as the value of a variable whose "All" is chosen,
// when the variable has no value of its own for that.
const all = "$__all"

// chosen returns the values, and whether everything is chosen.
func (v Variable) chosen() (values []string, everything bool) {
	everything = v.All
	for _, s := range v.Values {
		if s == all {
			everything = true
			continue
		}
		values = append(values, s)
	}
	return values, everything
}

// quote returns a string literal with this value. Together with the other
// literals below it is the only place where values enter a query.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 || r == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// typedLiteral returns the literal of a KQL type with the value that s is the
// text of; ok says whether there is one. No text is null.
func typedLiteral(typ, s string) (literal string, ok bool) {
	content, ok := typedContent(typ, s)
	return typ + "(" + content + ")", ok
}

// typedContent is what stands in the parentheses of a typed literal.
func typedContent(typ, s string) (string, bool) {
	if s = strings.TrimSpace(s); s == "" {
		return "null", true
	}
	switch typ {
	case "long", "int":
		bits := 64
		if typ == "int" {
			bits = 32
		}
		n, err := strconv.ParseInt(s, 10, bits)
		return strconv.FormatInt(n, 10), err == nil
	case "real":
		f, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil:
			return "", false
		case math.IsNaN(f):
			return "nan", true
		case math.IsInf(f, 1):
			return "+inf", true
		case math.IsInf(f, -1):
			return "-inf", true
		}
		return strconv.FormatFloat(f, 'g', -1, 64), true
	case "decimal":
		return s, decimalText.MatchString(s)
	case "bool":
		v, err := strconv.ParseBool(strings.ToLower(s))
		return strconv.FormatBool(v), err == nil
	case "datetime":
		if ms, err := strconv.ParseInt(s, 10, 64); err == nil && len(strings.TrimPrefix(s, "-")) > 8 {
			// As Grafana writes times: milliseconds since 1970.
			t := time.UnixMilli(ms).UTC()
			return formatTime(t), t.Year() >= 1 && t.Year() <= 9999
		}
		ticks, ok := kql.ParseDateTime(s)
		if !ok {
			return "", false
		}
		return kql.FormatDateTime(ticks), true
	case "timespan":
		ticks, ok := kql.ParseTimespan(s)
		if !ok {
			return "", false
		}
		return kql.FormatTimespan(ticks), true
	case "guid":
		return kql.ParseGuid(s)
	}
	return "", false
}

var decimalText = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?$`)

// literalTypes are the words before the parenthesis of a typed literal, and the
// type that each stands for.
var literalTypes = map[string]string{
	"long": "long", "int64": "long", "int": "int", "int32": "int", "real": "real", "double": "real", "decimal": "decimal", "bool": "bool",
	"datetime": "datetime", "date": "datetime", "time": "timespan", "timespan": "timespan", "guid": "guid",
}

// formats says, for hints, which formats of variables there are.
const formats = "formats are string, long, int, real, decimal, bool, datetime, timespan, guid, column, json and, for text inside a string, csv, pipe, regex, percentencode"

// literals returns the KQL that stands for a variable outside of strings.
func (v Variable) literals(r reference) (string, error) {
	values, everything := v.chosen()
	if everything && len(values) == 0 {
		return "", wrong(CodeVariable, "write $__contains(Column, $"+r.name+"), which is true for all", "all values of the variable %s are chosen, and there is no list of them", r.name)
	}
	if len(values) == 0 {
		values = []string{""} // nothing is chosen, and nothing is equal to it
	}
	each := func(f func(string) (string, bool), what string) (string, error) {
		list := make([]string, len(values))
		for i, s := range values {
			literal, ok := f(s)
			if !ok {
				return "", noSuch(r, s, what)
			}
			list[i] = literal
		}
		return strings.Join(list, ", "), nil
	}
	quoted := func(s string) (string, bool) { return quote(s), true }
	f := strings.ToLower(r.format)
	if f == "" && literalTypes[v.Type] != "" {
		f = v.Type
	}
	switch f {
	case "", "string", "csv", "singlequote", "doublequote", "sqlstring":
		return each(quoted, "text")
	case "regex", "pipe", "percentencode", "queryparam":
		s, err := v.content(r)
		return quote(s), err
	case "column":
		return each(func(s string) (string, bool) { return "[" + quote(s) + "]", s != "" }, "name of a column")
	case "json":
		list, err := each(quoted, "text")
		return "dynamic([" + list + "])", err
	default:
		if typ := literalTypes[f]; typ != "" {
			return each(func(s string) (string, bool) { return typedLiteral(typ, s) }, typ)
		}
		return "", unknownFormat(r)
	}
}

// content returns the text that stands for a variable inside a string.
func (v Variable) content(r reference) (string, error) {
	values, everything := v.chosen()
	f := strings.ToLower(r.format)
	if everything && len(values) == 0 {
		if f == "regex" {
			return ".*", nil
		}
		hint := "outside of strings write $__contains(Column, $" + r.name + "), inside of a regular expression ${" + r.name + ":regex}"
		return "", wrong(CodeVariable, hint, "all values of the variable %s are chosen, and there is no list of them", r.name)
	}
	switch f {
	case "", "string", "csv", "column", "singlequote", "doublequote", "sqlstring":
		return strings.Join(values, ","), nil
	case "pipe":
		return strings.Join(values, "|"), nil
	case "regex":
		list := make([]string, len(values))
		for i, s := range values {
			list[i] = regexp.QuoteMeta(s)
		}
		if len(list) == 1 {
			return list[0], nil
		}
		return "(" + strings.Join(list, "|") + ")", nil
	case "percentencode", "queryparam":
		list := make([]string, len(values))
		for i, s := range values {
			list[i] = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
			if f == "queryparam" {
				list[i] = "var-" + url.QueryEscape(r.name) + "=" + list[i]
			}
		}
		if f == "queryparam" {
			return strings.Join(list, "&"), nil
		}
		return strings.Join(list, ","), nil
	case "json":
		b, err := json.Marshal(values)
		return string(b), err
	}
	typ := literalTypes[f]
	if typ == "" {
		return "", unknownFormat(r)
	}
	list := make([]string, len(values))
	for i, s := range values {
		var ok bool
		if list[i], ok = typedContent(typ, s); !ok {
			return "", noSuch(r, s, typ)
		}
	}
	return strings.Join(list, ","), nil
}

func unknownFormat(r reference) error {
	if r.format == "raw" {
		hint := fmt.Sprintf("write ${%s}, ${%s:long} or the like for values, ${%s:column} for the name of a column", r.name, r.name, r.name)
		return wrong(CodeVariable, hint, "the format raw would make the values of the variable %s part of the query's text", r.name)
	}
	return wrong(CodeVariable, formats, "the variable %s has the unknown format %s", r.name, r.format)
}

// noSuch is the error of a value that is not of a type.
func noSuch(r reference, value, what string) error {
	return wrong(CodeVariable, "", "the variable %s has the value %s, which is no %s", r.name, quote(cut(value, 60)), what)
}

// inString returns the string literal with the references in it replaced,
// literal itself if it has none.
func inString(literal string, value func(reference) (string, error)) (string, error) {
	prefix, quoted := "", literal
	if literal[0] == 'h' || literal[0] == 'H' {
		prefix, quoted = literal[:1], literal[1:]
	}
	open, end := 1, 1 // of the quotes
	switch quoted[0] {
	case '@':
		open = 2
	case '`', '~':
		open, end = 3, 3
	}
	from := len(literal) - len(quoted) + open
	to := len(literal) - end
	var b strings.Builder
	found := false
	for from < to {
		r, ok := findReference(literal[:to], from)
		stop := to
		if ok {
			stop = r.start
		}
		piece := literal[from:stop]
		if open != 3 { // a string of many lines has no escapes
			// No escape holds a $ or [ in its middle.
			var whole bool
			if piece, whole = kql.Unquote(quoted[:open] + piece + quoted[len(quoted)-end:]); !whole {
				return "", wrong(CodeVariable, "", "the string around a variable cannot be read")
			}
		}
		b.WriteString(piece)
		from = stop
		if ok {
			s, err := value(r)
			if err != nil {
				return "", err
			}
			found = found || s != r.text
			b.WriteString(s)
			from = r.end
		}
	}
	if !found {
		return literal, nil
	}
	return prefix + quote(b.String()), nil
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
