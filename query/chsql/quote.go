package chsql

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"hubscope/query/plan"
)

// This file is the only place where text that a user wrote becomes part of SQL.

// quote returns s as a ClickHouse string literal. Every byte sequence comes out
// of the engine as it went in; what is not plain text is written as \xHH.
func quote(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '\'' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return "'" + s + "'"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteByte('\'')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError && r != '\ufeff' {
				b.WriteString(s[i : i+size])
				i += size
				continue
			}
		}
		switch {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c >= 0x7f:
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
		i++
	}
	b.WriteByte('\'')
	return b.String()
}

// ident returns a name as a quoted ClickHouse identifier.
func ident(name string) string {
	if strings.IndexByte(name, '`') < 0 && strings.IndexByte(name, '\\') < 0 {
		return "`" + name + "`"
	}
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// alias returns a readable part of an alias for a KQL name: letters, digits and
// underscores of it.
func alias(name string) string {
	ok := name != ""
	for i := 0; i < len(name) && ok; i++ {
		c := name[i]
		ok = c == '_' || c >= '0' && c <= '9' && i > 0 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if ok && len(name) <= 64 {
		return name
	}
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name) && len(b) < 40; i++ {
		c := name[i]
		if c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b = append(b, c)
		} else if len(b) > 0 && b[len(b)-1] != '_' {
			b = append(b, '_')
		}
	}
	if len(b) == 0 || b[0] >= '0' && b[0] <= '9' {
		return "c_" + string(b)
	}
	return string(b)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// float returns a real as a literal of type Float64.
func float(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "(-inf)"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		return "toFloat64(" + s + ")"
	}
	if f < 0 {
		return "(" + s + ")"
	}
	return s
}

// bareFloat returns a real for a place where a CAST makes it one.
func bareFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// identName returns the name in a quoted identifier that needs no escapes. ok is
// false for any other SQL.
func identName(sql string) (name string, ok bool) {
	if len(sql) < 3 || sql[0] != '`' || sql[len(sql)-1] != '`' {
		return "", false
	}
	name = sql[1 : len(sql)-1]
	return name, strings.IndexByte(name, '`') < 0 && strings.IndexByte(name, '\\') < 0
}

// datetime returns a datetime literal from ticks since 0001-01-01.
func datetime(ticks int64) string {
	if ticks < 0 || ticks > plan.MaxDatetimeTicks {
		return "CAST(NULL, 'Nullable(DateTime64(7, \\'UTC\\'))')"
	}
	b := append(make([]byte, 0, 64), "toDateTime64('"...)
	b = plan.AppendDatetime(b, ticks)
	b = b[:len(b)-1] // Z
	b[len("toDateTime64('")+10] = ' '
	for b[len(b)-1] == '0' && b[len(b)-2] != '.' {
		b = b[:len(b)-1]
	}
	if string(b[len(b)-2:]) == ".0" {
		b = b[:len(b)-2]
	}
	return string(append(b, "', 7, 'UTC')"...))
}
