package chsql

import "strings"

// parseXML translates XML by the table of the page parse-xml-function: elements,
// attributes as @name and texts; a text that is a number becomes one, as in the
// page's example. What is no XML, or longer than 1 MB, is null.
//
// The text is cut into tags and what is between them, which are folded over a stack
// of open elements: their names, and for each the pairs of name and JSON that it
// has so far.
func parseXML(g *gen, s val) val {
	s = g.hoist(s)
	const (
		token  = `<!--(?s:.*?)-->|<\\?(?s:.*?)\\?>|<!\\[CDATA\\[(?s:.*?)\\]\\]>|<(?:[^<>"\']|"[^"]*"|\'[^\']*\')+>|[^<]+`
		pair   = `([^\\s=<>"\'/]+)\\s*=\\s*(?:"([^"]*)"|\'([^\']*)\')`
		number = `^-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`
		state  = `tuple([\'\'], CAST([[]], 'Array(Array(Tuple(String, String)))'), toUInt8(1))`
	)
	// value writes an element's pairs as JSON.
	value := func(pairs string) string {
		of := "arrayMap(e -> e.2, arrayFilter(e -> e.1 = k, " + pairs + "))"
		field := "concat(toJSONString(k), ':', if(arrayCount(e -> e.1 = k, " + pairs + ") = 1, (" + of + ")[1], concat('[', arrayStringConcat(" + of + ", ','), ']')))"
		return "multiIf(empty(" + pairs + "), 'null', length(" + pairs + ") = 1 AND " + pairs + "[1].1 = '#text', " + pairs + "[1].2, concat('{', arrayStringConcat(arrayMap(k -> " + field + ", arrayDistinct(arrayMap(e -> e.1, " + pairs + "))), ','), '}'))"
	}
	text := func(t string) string {
		return let("x", "trim(BOTH ' \\t\\r\\n' FROM "+t+")", "if(match(x, '"+number+"'), x, toJSONString(x))")
	}
	attributes := "arrayMap(m -> (concat('@', m[1]), toJSONString(decodeXMLComponent(concat(m[2], m[3])))), extractAllGroupsVertical(t, '" + pair + "'))"
	name := `extract(t, '^</?([^\\s/>]+)')`
	// add puts a pair into the innermost element of a stack.
	add := func(stack, k, v string) string {
		return "arrayPushBack(arrayPopBack(" + stack + "), arrayPushBack(" + stack + "[-1], (" + k + ", " + v + ")))"
	}
	wrong := "tuple(a.1, a.2, toUInt8(0))"
	root := "(length(a.1) = 1 AND notEmpty(a.2[1]))"
	plain := "if(startsWith(t, '<![CDATA['), substring(t, 10, length(t) - 12), decodeXMLComponent(t))"
	step := "multiIf(" + strings.Join([]string{
		"a.3 = 0 OR startsWith(t, '<?') OR startsWith(t, '<!') AND NOT startsWith(t, '<![CDATA[') OR empty(trim(BOTH ' \\t\\r\\n' FROM t)), a",
		"NOT startsWith(t, '<') OR startsWith(t, '<![CDATA['), if(length(a.1) = 1, " + wrong + ", tuple(a.1, " + add("a.2", "'#text'", text(plain)) + ", a.3))",
		"startsWith(t, '</'), if(length(a.1) < 2 OR a.1[-1] != " + name + ", " + wrong + ", tuple(arrayPopBack(a.1), " + let("v", value("a.2[-1]"), let("up", "arrayPopBack(a.2)", add("up", "a.1[-1]", "v"))) + ", a.3))",
		root + " OR empty(" + name + "), " + wrong,
		"endsWith(t, '/>'), tuple(a.1, " + add("a.2", name, let("p", attributes, value("p"))) + ", a.3)",
		"tuple(arrayPushBack(a.1, " + name + "), arrayPushBack(a.2, " + attributes + "), a.3)",
	}, ", ") + ")"
	tokens := g.hoist(val{k: kArray, elem: kString, sql: "if(length(" + s.sql + ") <= 1048576, extractAll(" + s.sql + ", '" + token + "'), emptyArrayString())"})
	end := g.hoist(val{k: kArray, sql: "arrayFold((a, t) -> " + step + ", " + tokens.sql + ", " + strings.ReplaceAll(state, `\'`, `'`) + ")"})
	return call(kJSON, true, "if("+end.sql+".3 = 1 AND length("+end.sql+".1) = 1 AND length("+end.sql+".2[1]) = 1 AND arrayStringConcat("+tokens.sql+") = "+s.sql+", "+value(end.sql+".2[1]")+", NULL)")
}
