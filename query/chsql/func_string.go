package chsql

import (
	"strings"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// one makes the SQL of a function of one text.
func onText(sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		if k == kBool {
			k = kCond
		}
		return call(k, false, strings.ReplaceAll(sql, "{}", g.str(a[0]).sql))
	}
}

var stringFunctions = map[string]function{
	"strcat": func(g *gen, c *plan.Call, a []val) val {
		if len(a) == 1 {
			return g.str(a[0])
		}
		return call(kString, false, "concat("+strings.Join(g.strs(a), ", ")+")")
	},
	"strcat_array": func(g *gen, c *plan.Call, a []val) val {
		return g.joined(g.strings(a[0]).sql, g.str(a[1]))
	},
	"strcat_delim": func(g *gen, c *plan.Call, a []val) val {
		return g.joined("["+strings.Join(g.strs(a[1:]), ", ")+"]", g.str(a[0]))
	},
	"strcmp": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.hoist(g.str(a[0])), g.hoist(g.str(a[1]))
		return call(kLong, false, "toInt64(multiIf("+l.sql+" = "+r.sql+", 0, "+l.sql+" > "+r.sql+", 1, -1))")
	},
	"strrep": func(g *gen, c *plan.Call, a []val) val {
		n := g.num(a[1], kLong)
		count := "toUInt64(least(greatest(ifNull(" + n.sql + ", 0), 0), " + itoa(maxRepeat) + "))"
		if k, ok := n.constInt(); ok {
			count = itoa(min(max(k, 0), maxRepeat))
		}
		if len(a) == 2 {
			return call(kString, false, "repeat("+g.str(a[0]).sql+", "+count+")")
		}
		return g.joined("arrayWithConstant("+count+", "+g.str(a[0]).sql+")", g.str(a[2]))
	},
	"strlen":      onText("toInt64(lengthUTF8({}))"),
	"string_size": onText("toInt64(length({}))"),
	"toupper":     onText("upperUTF8({})"),
	"tolower":     func(g *gen, c *plan.Call, a []val) val { return g.lower(g.str(a[0])) },
	"reverse":     onText("reverseUTF8({})"),
	"regex_quote": onText("regexpQuoteMeta({})"),
	"isascii":     onText("match({}, '^[\\\\x00-\\\\x7F]*$')"),
	"isutf8":      onText("isValidUTF8({})"),
	"isempty": func(g *gen, c *plan.Call, a []val) val {
		return cond(false, g.emptyText(a[0])+" = ''")
	},
	"isnotempty": func(g *gen, c *plan.Call, a []val) val {
		return cond(false, g.emptyText(a[0])+" != ''")
	},
	"substring":     substring,
	"indexof":       indexof,
	"indexof_regex": indexof,
	"split":         split,
	"has_any_index": func(g *gen, c *plan.Call, a []val) val {
		l := g.hoist(g.str(a[0]))
		arr := g.strings(a[1])
		x := g.variable()
		b := g.b
		g.b = nil
		t := g.term(kql.OpHas, l, val{sql: x, k: kString, atom: true})
		g.b = b
		return call(kLong, false, "toInt64(arrayFirstIndex("+x+" -> "+t.sql+", "+arr.sql+")) - 1").infix()
	},
	"parse_command_line": func(g *gen, c *plan.Call, a []val) val {
		return val{k: kArray, elem: kString, sql: commandLine(g.str(a[0]).sql)}
	},
	"extract": func(g *gen, c *plan.Call, a []val) val {
		re, _ := a[0].constString()
		groups := plan.CaptureGroups(re)
		group := g.num(a[1], kLong)
		var v val
		switch n, ok := group.constInt(); {
		case !ok:
			// The group is data: the last of them is everything.
			all := "extractGroups(" + g.str(a[2]).sql + ", " + quote("((?-s)"+re+")") + ")"
			v = call(kString, false, "if(ifNull("+group.s()+" BETWEEN 0 AND "+itoa(int64(groups))+", 0), "+all+"[ifNull("+group.s()+", 0) + 1], '')")
		case n < 0 || int(n) > groups:
			v = val{sql: "''", k: kString, atom: true}
		default:
			v = call(kString, false, "regexpExtract("+g.str(a[2]).sql+", "+g.regex(a[0])+", "+itoa(n)+")")
		}
		if c.T == plan.String {
			return v
		}
		return g.castText(v, c.T)
	},
	"extract_all":  extractAll,
	"extract_json": extractJSON,
	"replace": func(g *gen, c *plan.Call, a []val) val {
		return call(kString, false, "replaceRegexpAll("+g.str(a[2]).sql+", "+g.regex(a[0])+", "+g.rewrite(a[1])+")")
	},
	"replace_regex": func(g *gen, c *plan.Call, a []val) val {
		return call(kString, false, "replaceRegexpAll("+g.str(a[0]).sql+", "+g.regex(a[1])+", "+g.rewrite(a[2])+")")
	},
	"replace_string": func(g *gen, c *plan.Call, a []val) val {
		s, l, r := g.str(a[0]), g.str(a[1]), g.str(a[2])
		if t, ok := l.constString(); ok {
			if t == "" {
				return s
			}
			return call(kString, false, "replaceAll("+s.sql+", "+l.sql+", "+r.sql+")")
		}
		s, l = g.hoist(s), g.hoist(l)
		return call(kString, false, "if("+l.sql+" = '', "+s.sql+", replaceAll("+s.sql+", "+l.sql+", "+r.sql+"))")
	},
	"replace_strings": replaceStrings,
	"trim":            func(g *gen, c *plan.Call, a []val) val { return g.trim(a, true, true) },
	"trim_start":      func(g *gen, c *plan.Call, a []val) val { return g.trim(a, true, false) },
	"trim_end":        func(g *gen, c *plan.Call, a []val) val { return g.trim(a, false, true) },
	"countof": func(g *gen, c *plan.Call, a []val) val {
		s, p := g.str(a[0]), g.str(a[1])
		if len(a) == 3 {
			if kind, _ := a[2].constString(); kind == "regex" {
				return call(kLong, false, "toInt64(countMatches("+s.sql+", "+g.regex(a[1])+"))")
			}
		}
		// Occurrences may overlap.
		x := g.variable()
		s, p = g.hoist(s), g.hoist(p)
		return call(kLong, false, "if("+p.sql+" = '', toInt64(0), toInt64(arrayCount("+x+" -> substring("+s.sql+", "+x+", length("+p.sql+")) = "+p.sql+", range(1, length("+s.sql+") + 1))))")
	},
	"translate": func(g *gen, c *plan.Call, a []val) val {
		from, fok := a[0].constString()
		to, tok := a[1].constString()
		s := g.str(a[2])
		if fok && tok {
			if from == "" {
				return s
			}
			if to == "" {
				// Nothing to put in their place: they go.
				return call(kString, false, "replaceRegexpAll("+s.sql+", "+quote("["+quoteClass(from)+"]")+", '')")
			}
			f, t := []rune(from), []rune(to)
			for len(t) < len(f) {
				t = append(t, t[len(t)-1])
			}
			return call(kString, false, "translateUTF8("+s.sql+", "+quote(string(f))+", "+quote(string(t[:len(f)]))+")")
		}
		l, r := g.hoist(g.str(a[0])), g.hoist(g.str(a[1]))
		at := "positionUTF8(" + l.sql + ", x)"
		return call(kString, false, "arrayStringConcat(arrayMap(x -> if("+at+" = 0, x, substringUTF8("+r.sql+", least("+at+", lengthUTF8("+r.sql+")), 1)), ngrams("+s.sql+", 1)))")
	},
	"unicode_codepoints_to_string": func(g *gen, c *plan.Call, a []val) val {
		var parts []string
		for i, v := range a {
			if c.Args[i].Type() == plan.Dynamic {
				parts = append(parts, "arrayMap(x -> toUInt32(ifNull(x, 0)), "+g.reals(v).sql+")")
			} else {
				parts = append(parts, "[toUInt32(ifNull("+g.num(v, kLong).sql+", 0))]")
			}
		}
		arr := parts[0]
		if len(parts) > 1 {
			arr = "arrayConcat(" + strings.Join(parts, ", ") + ")"
		}
		return call(kString, false, "arrayStringConcat(arrayMap(x -> multiIf(x < 128, char(x), x < 2048, char(192 + intDiv(x, 64), 128 + x % 64), x < 65536, char(224 + intDiv(x, 4096), 128 + intDiv(x, 64) % 64, 128 + x % 64), char(240 + intDiv(x, 262144), 128 + intDiv(x, 4096) % 64, 128 + intDiv(x, 64) % 64, 128 + x % 64)), "+arr+"))")
	},
	"unicode_codepoints_from_string": func(g *gen, c *plan.Call, a []val) val {
		b := "reinterpretAsUInt8(substring(x, "
		return val{k: kArray, elem: kLong, sql: "arrayMap(x -> toInt64(multiIf(length(x) = 1, " + b + "1, 1)), length(x) = 2, (" + b + "1, 1)) - 192) * 64 + " + b + "2, 1)) - 128, length(x) = 3, (" +
			b + "1, 1)) - 224) * 4096 + (" + b + "2, 1)) - 128) * 64 + " + b + "3, 1)) - 128, (" + b + "1, 1)) - 240) * 262144 + (" + b + "2, 1)) - 128) * 4096 + (" + b + "3, 1)) - 128) * 64 + " + b + "4, 1)) - 128)), ngrams(" + g.str(a[0]).sql + ", 1))"}
	},
	"punycode_to_string":          func(g *gen, c *plan.Call, a []val) val { return g.punyDecode(g.str(a[0])) },
	"punycode_from_string":        func(g *gen, c *plan.Call, a []val) val { return g.punyEncode(g.str(a[0])) },
	"punycode_domain_to_string":   func(g *gen, c *plan.Call, a []val) val { return g.punyDomain(g.str(a[0]), false) },
	"punycode_domain_from_string": func(g *gen, c *plan.Call, a []val) val { return g.punyDomain(g.str(a[0]), true) },
	"parse_csv": func(g *gen, c *plan.Call, a []val) val {
		// The first record: quoted fields, doubled quotes in them.
		s := "extract(" + g.str(a[0]).sql + ", '^(?:\"(?:[^\"]|\"\")*\"|[^\"\\\\r\\\\n])*')"
		return val{k: kArray, elem: kString, sql: "arrayMap(x -> if(startsWith(x, '\"'), replaceAll(substring(x, 2, greatest(toInt64(length(x)) - 2, 0)), '\"\"', '\"'), x), arrayMap(x -> substring(x, 2), extractAll(concat(',', " + s + "), ',(?:\"(?:[^\"]|\"\")*\"|[^,]*)')))"}
	},
	"parse_path":    parsePath,
	"parse_xml":     func(g *gen, c *plan.Call, a []val) val { return parseXML(g, g.str(a[0])) },
	"parse_version": parseVersion,
	"format_bytes":  formatBytes,
}

// emptyText returns text that is ” exactly for what isempty calls empty.
func (g *gen) emptyText(v val) string {
	switch {
	case v.path != nil || v.k == kJSON || v.k == kText || v.k == kDynString || v.k == kString:
		return g.str(v).sql
	case v.k == kArray:
		return "'x'"
	case !v.null:
		return "'x'"
	}
	return "if(isNull(" + v.sql + "), '', 'x')"
}

// maxRepeat bounds what one value may be repeated to.
const maxRepeat = 1_000_000 // repeat takes no more

// joined joins an array of texts. ClickHouse joins with constants only.
func (g *gen) joined(arr string, sep val) val {
	if _, ok := sep.constString(); ok {
		return call(kString, false, "arrayStringConcat("+arr+", "+sep.sql+")")
	}
	x, i := g.variable(), g.variable()
	sep = g.hoist(sep)
	return call(kString, false, g.let(arr, func(arr string) string {
		return "arrayStringConcat(arrayMap((" + x + ", " + i + ") -> if(" + i + " = 1, " + x + ", concat(" + sep.sql + ", " + x + ")), " + arr + ", arrayEnumerate(" + arr + ")))"
	}))
}

// infix marks a value whose SQL is an operation.
func (v val) infix() val {
	v.op = true
	return v
}

// commandLine splits a text as CommandLineToArgvW does: blanks divide arguments,
// quotes keep them together, and backslashes count only before a quote, where two
// are one and an odd one takes the quote as it is.
func commandLine(text string) string {
	const (
		state  = "tuple(CAST([], 'Array(String)'), '', toUInt8(0), toUInt8(0))" // arguments, the one being read, inside quotes, begun
		quoted = `endsWith(t, '"'), tuple(s.1, concat(s.2, repeat('\\', intDiv(length(t) - 1, 2)), if(length(t) % 2 = 0, '"', '')), toUInt8(if(length(t) % 2 = 0, s.3, 1 - s.3)), toUInt8(1))`
		blank  = `match(t, '^\\s') AND s.3 = 0, if(s.4 = 1, tuple(arrayPushBack(s.1, s.2), '', toUInt8(0), toUInt8(0)), s)`
		plain  = `tuple(s.1, concat(s.2, t), s.3, toUInt8(1))`
		tokens = `\\\\*"|\\\\+|\\s+|[^\\s\\\\"]+`
	)
	return "arrayMap(s -> if(s.4 = 1, arrayPushBack(s.1, s.2), s.1), [arrayFold((s, t) -> multiIf(" + quoted + ", " + blank + ", " + plain + "), extractAll(" + text + ", '" + tokens + "'), " + state + ")])[1]"
}

// replaceStrings replaces several texts, the earlier ones first; what was replaced
// is not looked at again. Each match becomes a mark, and then the marks become the
// rewrites. (replace-strings-function)
func replaceStrings(g *gen, c *plan.Call, a []val) val {
	l, r := g.hoist(g.raws(a[1])), g.hoist(g.raws(a[2]))
	acc, pair, x, y, k := g.variable(), g.variable(), g.variable(), g.variable(), g.variable()
	// Elements that are no strings: not looked for, or not replaced.
	pairs := "arrayMap((" + x + ", " + y + ", " + k + ") -> (if(startsWith(" + x + ", '\"'), JSONExtractString(" + x + "), ''), JSONExtractString(if(startsWith(" + y + ", '\"'), " + y + ", " + x + ")), concat('\\0', repeat('\\x01', " + k + "), '\\0')), " +
		l.sql + ", arrayResize(" + r.sql + ", length(" + l.sql + "), 'null'), arrayEnumerate(" + l.sql + "))"
	return call(kString, false, g.let(pairs, func(pairs string) string {
		marked := "arrayFold((" + acc + ", " + pair + ") -> if(" + pair + ".1 = '', " + acc + ", replaceAll(" + acc + ", " + pair + ".1, " + pair + ".3)), " + pairs + ", " + g.str(a[0]).sql + ")"
		return "arrayFold((" + acc + ", " + pair + ") -> replaceAll(" + acc + ", " + pair + ".3, " + pair + ".2), " + pairs + ", " + marked + ")"
	}))
}

// rewrite writes the replacement of a regular expression: \0 to \9 are groups in
// both languages.
func (g *gen) rewrite(v val) string {
	return g.str(v).sql
}

// substring: a start before the beginning counts from the end.
func substring(g *gen, c *plan.Call, a []val) val {
	s, from := g.str(a[0]), g.num(a[1], kLong)
	n := ""
	if len(a) == 3 {
		length := g.num(a[2], kLong)
		if k, ok := length.constInt(); ok {
			n = ", " + itoa(max(k, 0))
		} else {
			n = ", greatest(ifNull(" + length.sql + ", 0), 0)"
		}
	}
	if k, ok := from.constInt(); ok {
		if k >= 0 {
			return call(kString, false, "substringUTF8("+s.sql+", "+itoa(k+1)+n+")")
		}
		s = g.hoist(s)
		return call(kString, false, "substringUTF8("+s.sql+", greatest(toInt64(lengthUTF8("+s.sql+")) - "+itoa(-k)+", 0) + 1"+n+")")
	}
	s, from = g.hoist(s), g.hoist(from)
	f := from.sql
	if from.null {
		f = "ifNull(" + f + ", 0)"
	}
	return call(kString, false, "substringUTF8("+s.sql+", if("+f+" >= 0, "+f+", greatest(toInt64(lengthUTF8("+s.sql+")) + "+f+", 0)) + 1"+n+")")
}

// indexof looks for the n-th occurrence between start and start+length.
func indexof(g *gen, c *plan.Call, a []val) val {
	s, p := g.str(a[0]), g.str(a[1])
	regex := c.Func.Base == "indexof_regex"
	none, never := g.noPlace(a)
	if never {
		return nullOf(kLong)
	}
	v := place(g, regex, s, p, a)
	if none != "" {
		return call(kLong, true, "if("+none+", NULL, "+v.sql+")")
	}
	return v
}

// noPlace tests the length and the occurrence that a search may be given behind
// its start: of a length below -1 or an occurrence below 0 the result is null.
// never is true where constants say so.
// (indexof-function, array-index-of-function)
func (g *gen) noPlace(a []val) (sql string, never bool) {
	var none []string
	for i, v := range a[min(3, len(a)):] {
		least := int64(i - 1)
		n := g.num(v, kLong)
		if k, ok := n.constInt(); ok && k < least {
			return "", true
		} else if !ok && n.c == nil {
			none = append(none, "ifNull("+n.sql+", 0) < "+itoa(least))
		}
	}
	return strings.Join(none, " OR "), false
}

// place writes where a text, or a match of a regular expression, begins.
func place(g *gen, regex bool, s, p val, a []val) val {
	if regex {
		// No place to begin: null. (indexof-regex-function)
		for _, v := range a[2:] {
			if k, ok := v.constInt(); ok && k < 0 && v.sql == a[2].sql {
				return nullOf(kLong)
			}
		}
	}
	if len(a) == 2 && !regex {
		return call(kLong, false, "toInt64(positionUTF8("+s.sql+", "+p.sql+")) - 1").infix()
	}
	s = g.hoist(s)
	start, length := "0", "-1"
	occurrence := "1"
	if len(a) > 2 {
		start = "ifNull(" + g.num(a[2], kLong).sql + ", 0)"
	}
	if len(a) > 3 {
		length = "ifNull(" + g.num(a[3], kLong).sql + ", -1)"
	}
	if len(a) > 4 {
		n := g.num(a[4], kLong)
		if n.c != nil && n.c.Null {
			return nullOf(kLong)
		}
		occurrence = "least(ifNull(" + n.s() + ", 0), 100000)"
		if k, ok := n.constInt(); ok {
			occurrence = itoa(min(k, 100_000))
		}
	}
	from := g.hoist(val{k: kLong, sql: "if(" + start + " >= 0, " + start + ", greatest(toInt64(lengthUTF8(" + s.sql + ")) + " + start + ", 0))"})
	part := g.hoist(val{k: kString, sql: "if(" + length + " < 0, substringUTF8(" + s.sql + ", " + from.sql + " + 1), substringUTF8(" + s.sql + ", " + from.sql + " + 1, " + length + "))"})
	if regex {
		// Everything before the n-th match, and then the match.
		at := g.hoist(val{k: kArray, elem: kString, sql: "extractGroups(" + part.sql + ", concat('(?s)^((?:.*?(?:', " + p.sql + ", ')){', toString(greatest(" + occurrence + " - 1, 0)), '}.*?)(?:', " + p.sql + ", ')'))"})
		return call(kLong, false, "if(empty("+at.sql+"), toInt64(-1), toInt64(lengthUTF8("+at.sql+"[1])) + "+from.sql+")")
	}
	if len(a) < 5 {
		pos := g.hoist(val{k: kLong, sql: "toInt64(positionUTF8(" + part.sql + ", " + p.sql + "))"})
		return call(kLong, false, "if("+pos.sql+" = 0, toInt64(-1), "+pos.sql+" - 1 + "+from.sql+")")
	}
	// Each occurrence is looked for from behind the one before, as far as the
	// length reaches from there.
	next := "positionUTF8(if(" + length + " < 0, substringUTF8(" + s.sql + ", acc + 2), substringUTF8(" + s.sql + ", acc + 2, " + length + ")), " + p.sql + ")"
	return call(kLong, false, "if("+occurrence+" < 1, toInt64(-1), arrayFold((acc, i) -> if(acc = -1 AND i > 0, toInt64(-1), if("+next+" = 0, toInt64(-1), acc + toInt64("+next+"))), range(toUInt32("+occurrence+")), toInt64("+from.sql+" - 1)))")
}

func split(g *gen, c *plan.Call, a []val) val {
	d := g.str(a[1])
	if _, ok := d.constString(); !ok {
		d = g.hoist(d)
	}
	arr := val{k: kArray, elem: kString, sql: "splitByString(" + d.sql + ", " + g.str(a[0]).sql + ")"}
	switch text, ok := d.constString(); {
	case !ok:
		// ClickHouse splits at constants only.
		arr.sql = "splitByString('\\0\\x01\\0', if(" + d.s() + " = '', " + g.str(a[0]).sql + ", replaceAll(" + g.str(a[0]).sql + ", " + d.sql + ", '\\0\\x01\\0')))"
	case text == "":
		arr.sql = "[" + g.str(a[0]).sql + "]"
	}
	if len(a) == 2 {
		return arr
	}
	// The requested element, still as an array.
	n := g.num(a[2], kLong)
	place := "ifNull(" + n.sql + ", 0) + 1"
	if k, ok := n.constInt(); ok {
		if k < 0 {
			return val{k: kArray, elem: kString, sql: "emptyArrayString()"}
		}
		place = itoa(k + 1)
	}
	arr.sql = "arraySlice(" + arr.sql + ", " + place + ", 1)"
	return arr
}

// castText converts text that was extracted to a type.
func (g *gen) castText(v val, t plan.Type) val {
	switch t {
	case plan.Bool:
		return g.toBool(v)
	case plan.Datetime:
		return g.toDatetime(v)
	case plan.Timespan:
		return g.toTimespan(v)
	case plan.GUID:
		return g.toGUID(v)
	case plan.String:
		return g.str(v)
	case plan.Dynamic:
		return g.parseJSON(v)
	}
	return g.num(v, kindOf(t))
}

// extractAll returns all matches, null if there are none. (extract-all-function)
func extractAll(g *gen, c *plan.Call, a []val) val {
	v := g.hoist(allMatches(g, a))
	return call(kJSON, true, "if(empty("+v.sql+"), NULL, "+g.json(v).sql+")")
}

// allMatches returns the matches of the groups of a regular expression: texts
// when there is one group, arrays of texts otherwise.
func allMatches(g *gen, a []val) val {
	source := g.str(a[len(a)-1])
	re, _ := a[0].constString()
	groups := captureGroups(re)
	all := "extractAllGroupsVertical(" + source.sql + ", " + g.regex(a[0]) + ")"
	if groups == 0 {
		return val{k: kArray, elem: kString, sql: "extractAll(" + source.sql + ", " + g.regex(a[0]) + ")"}
	}
	pick := make([]int, 0, groups)
	for i := 1; i <= groups; i++ {
		pick = append(pick, i)
	}
	if len(a) == 3 {
		if cn := a[1].c; cn != nil {
			pick = plan.Groups(re, cn.Text)
		}
	}
	if len(pick) == 1 && pick[0] > 0 {
		if groups == 1 {
			return val{k: kArray, elem: kString, sql: "arrayMap(x -> x[1], " + all + ")"}
		}
		return val{k: kArray, elem: kString, sql: "arrayMap(x -> x[" + itoa(int64(pick[0])) + "], " + all + ")"}
	}
	parts := make([]string, len(pick))
	shift := 0
	for _, p := range pick {
		if p == 0 {
			// The whole match as a group of its own.
			shift = 1
			all = "extractAllGroupsVertical(" + source.sql + ", " + quote("("+re+")") + ")"
		}
	}
	for i, p := range pick {
		parts[i] = "x[" + itoa(int64(p+shift)) + "]"
	}
	if len(parts) == 0 {
		return val{k: kArray, elem: kString, sql: "emptyArrayString()"}
	}
	return val{k: kArray, elem: kJSON, sql: "arrayMap(x -> toJSONString([" + strings.Join(parts, ", ") + "]), " + all + ")"}
}

// extractJSON reads the value at a path such as $.a.b[0]['c'].
func extractJSON(g *gen, c *plan.Call, a []val) val {
	text, _ := a[0].constString()
	v := val{sql: g.str(a[1]).sql, k: kText, atom: true}
	steps, ok := jsonPath(text)
	if !ok {
		return nullOf(kindOf(c.T))
	}
	r := v
	for _, s := range steps {
		if s.index != "" {
			r = g.element(r, constant(&plan.Const{T: plan.Long, Int: s.n}))
		} else {
			r = g.property(r, quote(s.key))
		}
	}
	if c.T == plan.Dynamic {
		return r
	}
	if len(steps) == 0 {
		r = g.parseJSON(v)
	}
	return elementAs(g, c, []val{r})
}

type jsonStep struct {
	key, index string
	n          int64
}

// jsonPath reads a JSONPath without filters or wildcards.
func jsonPath(s string) ([]jsonStep, bool) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "$")
	var steps []jsonStep
	for s != "" {
		switch s[0] {
		case '.':
			s = s[1:]
			n := strings.IndexAny(s, ".[")
			if n < 0 {
				n = len(s)
			}
			if n == 0 {
				if s != "" && s[0] == '[' {
					continue
				}
				return nil, false
			}
			steps = append(steps, jsonStep{key: s[:n]})
			s = s[n:]
		case '[':
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil, false
			}
			in := strings.TrimSpace(s[1:end])
			s = s[end+1:]
			if len(in) > 1 && (in[0] == '\'' || in[0] == '"') && in[len(in)-1] == in[0] {
				steps = append(steps, jsonStep{key: in[1 : len(in)-1]})
				continue
			}
			n, ok := plan.ParseInt(in)
			if !ok {
				return nil, false
			}
			steps = append(steps, jsonStep{index: in, n: n})
		default:
			n := strings.IndexAny(s, ".[")
			if n < 0 {
				n = len(s)
			}
			steps = append(steps, jsonStep{key: s[:n]})
			s = s[n:]
		}
	}
	return steps, true
}

// trim removes matches of a regular expression at the ends.
func (g *gen) trim(a []val, start, end bool) val {
	re, ok := a[0].constString()
	s := g.str(a[1])
	if !ok {
		p := g.str(a[0]).sql
		sql := s.sql
		if start {
			sql = "replaceRegexpOne(" + sql + ", concat('^(?:', " + p + ", ')'), '')"
		}
		if end {
			sql = "replaceRegexpOne(" + sql + ", concat('(?:', " + p + ", ')$'), '')"
		}
		return call(kString, false, sql)
	}
	if re == "" {
		return s
	}
	dot := ""
	if strings.Contains(re, ".") {
		dot = "(?-s)"
	}
	sql := s.sql
	if start {
		sql = "replaceRegexpOne(" + sql + ", " + quote(dot+"^(?:"+re+")") + ", '')"
	}
	if end {
		sql = "replaceRegexpOne(" + sql + ", " + quote(dot+"(?:"+re+")$") + ", '')"
	}
	return call(kString, false, sql)
}

// quoteClass escapes characters for a class of RE2.
func quoteClass(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\]^-[`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func parsePath(g *gen, c *plan.Call, a []val) val {
	s := g.hoist(g.str(a[0]))
	// scheme://root/directory/file.ext:stream, with both kinds of slash.
	scheme := "extract(" + s.sql + ", '^([A-Za-z][A-Za-z0-9+.-]*)://')"
	rest := g.hoist(val{k: kString, sql: "replaceRegexpOne(" + s.sql + ", '^[A-Za-z][A-Za-z0-9+.-]*://', '')"})
	root := "extract(" + rest.sql + ", '^([A-Za-z]:)')"
	dir := "replaceRegexpOne(extract(" + rest.sql + ", '^((?s:.*))[\\\\\\\\/]'), '', '')"
	file := g.hoist(val{k: kString, sql: "extract(replaceRegexpOne(" + rest.sql + ", '^(?s:.*)[\\\\\\\\/]', ''), '^([^:]*)')"})
	stream := "extract(replaceRegexpOne(" + rest.sql + ", '^(?s:.*)[\\\\\\\\/]', ''), ':(.*)$')"
	name := "extract(" + dir + ", '([^\\\\\\\\/]*)$')"
	ext := "extract(" + file.sql + ", '\\\\.([^.]*)$')"
	return call(kJSON, false, "concat('{\"Scheme\":', toJSONString("+scheme+"), ',\"RootPath\":', toJSONString("+root+"), ',\"DirectoryPath\":', toJSONString("+dir+
		"), ',\"DirectoryName\":', toJSONString("+name+"), ',\"Filename\":', toJSONString("+file.sql+"), ',\"Extension\":', toJSONString("+ext+"), ',\"AlternateDataStreamName\":', toJSONString("+stream+"), '}')")
}

// parseVersion makes up to four numbers of eight digits one decimal.
func parseVersion(g *gen, c *plan.Call, a []val) val {
	s := g.hoist(g.str(a[0]))
	p := g.hoist(val{k: kArray, elem: kString, sql: "arrayResize(splitByChar('.', " + s.sql + "), 4, '0')"})
	return call(kDecimal, true, "if(match("+s.sql+", '^[0-9]{1,8}(\\\\.[0-9]{1,8}){0,3}$'), toDecimal256OrNull(concat(leftPad("+p.sql+"[1], 8, '0'), leftPad("+p.sql+"[2], 8, '0'), leftPad("+p.sql+"[3], 8, '0'), leftPad("+p.sql+"[4], 8, '0')), "+decimalScale+"), NULL)")
}

var byteUnits = []string{"Bytes", "KB", "MB", "GB", "TB", "PB", "EB"}

func formatBytes(g *gen, c *plan.Call, a []val) val {
	n := g.hoist(g.num(a[0], kReal))
	digits := "0"
	if len(a) > 1 {
		digits = g.num(a[1], kLong).lit()
	}
	text := func(x string) string { return "toString(round(" + x + ", " + digits + "))" }
	if len(a) > 2 {
		if unit, ok := a[2].constString(); ok {
			for i, u := range byteUnits {
				if strings.EqualFold(u, unit) {
					return call(kString, false, "ifNull(concat("+text(n.sql+" / pow(1024, "+itoa(int64(i))+")")+", "+quote(" "+u)+"), '')")
				}
			}
		}
	}
	sql := "multiIf("
	for i := 0; i < len(byteUnits)-1; i++ {
		sql += "abs(" + n.sql + ") < pow(1024, " + itoa(int64(i+1)) + "), concat(" + text(n.sql+" / pow(1024, "+itoa(int64(i))+")") + ", " + quote(" "+byteUnits[i]) + "), "
	}
	sql += "concat(" + text(n.sql+" / pow(1024, 6)") + ", ' EB'))"
	return call(kString, false, "ifNull("+sql+", '')")
}
