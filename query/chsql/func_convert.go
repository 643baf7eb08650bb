package chsql

import (
	"hubscope/query/plan"
)

// convertWith makes a function of a conversion.
func convertWith(f func(g *gen, v val) val) function {
	return func(g *gen, c *plan.Call, a []val) val { return f(g, a[0]) }
}

var convertFunctions = map[string]function{
	"tostring":   convertWith((*gen).str),
	"tolong":     convertWith(func(g *gen, v val) val { return g.num(v, kLong) }),
	"toint":      convertWith(func(g *gen, v val) val { return g.num(v, kInt) }),
	"toreal":     convertWith(func(g *gen, v val) val { return g.num(v, kReal) }),
	"todecimal":  convertWith(func(g *gen, v val) val { return g.num(v, kDecimal) }),
	"tobool":     convertWith((*gen).toBool),
	"todatetime": convertWith((*gen).toDatetime),
	"totimespan": convertWith((*gen).toTimespan),
	"toguid":     convertWith((*gen).toGUID),
	"todynamic": func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		switch {
		case v.path != nil, v.k == kDynString:
			// Text inside JSON that is JSON itself: read when it is needed.
			s := g.str(v)
			return val{sql: s.sql, k: kText, atom: s.atom, null: false}
		case v.k == kString:
			if s, ok := v.constString(); ok {
				return constant(plan.ParseJSON(s))
			}
			v.k = kText
			return v
		case v.k == kJSON:
			// parse_json of a dynamic string parses it; of anything else it is the value.
			h := g.hoist(v)
			return call(kJSON, true, "if(JSONType(ifNull("+h.sql+", '')) = 'String', "+g.parseJSON(g.hoist(g.str(h))).sql+", "+h.sql+")")
		}
		return v
	},
	"dynamic_to_json": func(g *gen, c *plan.Call, a []val) val {
		// Keys in order, at the depths that occur.
		v := g.named("json", g.json(a[0]))
		sorted := func(x, in string) string {
			return "multiIf(startsWith(" + x + ", '{'), concat('{', arrayStringConcat(arrayMap(w -> concat(toJSONString(w.1), ':', " + in + "), arraySort(JSONExtractKeysAndValuesRaw(" + x + "))), ','), '}'), " + x + ")"
		}
		sql := sorted("ifNull("+v.sql+", '')", sorted("w.2", sorted("w.2", "w.2")))
		return call(kString, false, sql)
	},
	"tohex": func(g *gen, c *plan.Call, a []val) val {
		bits := "UInt64"
		if a[0].k == kInt {
			bits = "UInt32"
		}
		v := g.num(a[0], kLong)
		if a[0].k == kInt {
			v = a[0]
		}
		h := "lower(hex(reinterpretAs" + bits + "(" + v.sql + ")))"
		// hex pads to whole bytes.
		sql := "if(" + v.sql + " = 0, '0', trim(LEADING '0' FROM " + h + "))"
		if len(a) == 2 {
			s := g.hoist(val{k: kString, sql: sql})
			n := g.num(a[1], kLong)
			sql = "leftPad(" + s.sql + ", greatest(toInt64(length(" + s.sql + ")), least(greatest(ifNull(" + n.sql + ", 0), 0), 1000)), '0')"
		}
		if v.null {
			sql = "ifNull(" + sql + ", '')"
		}
		return call(kString, false, sql)
	},
	"gettype": func(g *gen, c *plan.Call, a []val) val {
		t := c.Args[0].Type()
		if t != plan.Dynamic {
			v := a[0]
			name := t.String()
			if v.null {
				return call(kString, false, "if(isNull("+v.sql+"), 'null', "+quote(name)+")")
			}
			return val{sql: quote(name), k: kString, atom: true}
		}
		switch a[0].k {
		case kArray:
			return val{sql: "'array'", k: kString, atom: true}
		}
		// A small whole number is an int. (gettype-function)
		v := g.hoist(g.json(a[0]))
		name := "transform(toString(JSONType(ifNull(" + v.sql + ", 'null'))), ['Array', 'Object', 'String', 'Int64', 'UInt64', 'Double', 'Bool', 'Null'], ['array', 'dictionary', 'string', 'long', 'long', 'double', 'bool', 'null'], 'null')"
		return call(kString, false, "if(isNotNull(toInt32OrNull("+v.sql+")), 'int', "+name+")")
	},
	"url_encode": func(g *gen, c *plan.Call, a []val) val {
		return call(kString, false, "replaceAll("+escaped(g.str(a[0]).sql)+", '%20', '+')")
	},
	"url_encode_component":   func(g *gen, c *plan.Call, a []val) val { return call(kString, false, escaped(g.str(a[0]).sql)) },
	"url_decode":             onText("decodeURLComponent(replaceAll({}, '+', ' '))"),
	"base64_encode_tostring": onText("base64Encode({})"),
	"base64_decode_tostring": func(g *gen, c *plan.Call, a []val) val {
		// What is no base64, or no text inside, is empty.
		d := g.hoist(val{k: kString, sql: "tryBase64Decode(" + g.str(a[0]).sql + ")"})
		return call(kString, false, "if(isValidUTF8("+d.sql+"), "+d.sql+", '')")
	},
	"base64_decode_toarray": func(g *gen, c *plan.Call, a []val) val {
		s := g.hoist(g.str(a[0]))
		d := g.hoist(val{k: kString, sql: "tryBase64Decode(" + s.sql + ")"})
		bytes := val{k: kArray, elem: kLong, sql: "arrayMap(x -> toInt64(reinterpretAsUInt8(substring(" + d.sql + ", x, 1))), range(1, length(" + d.sql + ") + 1))"}
		return call(kJSON, true, "if(empty("+d.sql+") AND notEmpty("+s.sql+"), NULL, "+g.json(bytes).sql+")")
	},
	"base64_encode_fromarray": func(g *gen, c *plan.Call, a []val) val {
		// Elements that are no bytes: nothing.
		r := g.hoist(g.reals(a[0]))
		return call(kString, false, "if(arrayAll(x -> ifNull(x BETWEEN 0 AND 255, 0), "+r.sql+"), base64Encode(arrayStringConcat(arrayMap(x -> char(toUInt8(ifNull(x, 0))), "+r.sql+"))), '')")
	},
	// A guid is 16 bytes in .NET's order: the first three groups little-endian.
	"base64_encode_fromguid": func(g *gen, c *plan.Call, a []val) val {
		v := g.toGUID(a[0])
		h := g.hoist(val{k: kString, sql: "replaceAll(toString(" + v.sql + "), '-', '')", null: v.null})
		part := func(pos ...int) string {
			s := ""
			for _, p := range pos {
				s += ", substring(" + h.sql + ", " + itoa(int64(p)) + ", 2)"
			}
			return s
		}
		sql := "base64Encode(unhex(concat(''" + part(7, 5, 3, 1, 11, 9, 15, 13) + ", substring(" + h.sql + ", 17))))"
		if v.null {
			sql = "ifNull(" + sql + ", '')"
		}
		return call(kString, false, sql)
	},
	"base64_decode_toguid": func(g *gen, c *plan.Call, a []val) val {
		h := g.hoist(val{k: kString, sql: "hex(tryBase64Decode(" + g.str(a[0]).sql + "))"})
		part := func(pos ...int) string {
			s := ""
			for _, p := range pos {
				s += ", substring(" + h.sql + ", " + itoa(int64(p)) + ", 2)"
			}
			return s
		}
		return call(kGUID, true, "if(length("+h.sql+") = 32, toUUIDOrNull(concat(''"+part(7, 5, 3, 1, 11, 9, 15, 13)+", substring("+h.sql+", 17))), NULL)")
	},
	"parse_url": func(g *gen, c *plan.Call, a []val) val { return parseURL(g, g.str(a[0])) },
	"parse_urlquery": func(g *gen, c *plan.Call, a []val) val {
		return call(kJSON, false, "concat('{\"Query Parameters\":', "+queryBag("replaceRegexpOne("+g.str(a[0]).sql+", '^\\\\?', '')")+", '}')")
	},
}

// escaped writes a text with all but letters, digits and -_.!~*() as %xx, in
// lower case as .NET does.
func escaped(sql string) string {
	return "arrayStringConcat(arrayMap(x -> if(length(x) = 3 AND startsWith(x, '%'), lower(x), x), extractAll(encodeURLComponent(" + sql + "), '%[0-9A-F]{2}|[^%]+')))"
}

// queryBag writes the parameters of a URL query as JSON.
func queryBag(sql string) string {
	return "concat('{', arrayStringConcat(arrayMap(x -> concat(toJSONString(decodeURLComponent(extract(x, '^([^=]*)'))), ':', toJSONString(decodeURLComponent(extract(x, '=(.*)$')))), arrayFilter(x -> x != '', splitByChar('&', " + sql + "))), ','), '}')"
}

func parseURL(g *gen, s val) val {
	s = g.hoist(s)
	// scheme://user:password@host:port/path?query#fragment
	p := g.hoist(val{k: kArray, elem: kString, sql: "extractGroups(" + s.sql + ", '^([A-Za-z][A-Za-z0-9+.-]*)://(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\\\\[[^\\\\]]*\\\\]|[^:/?#]*)(?::([0-9]*))?([^?#]*)(?:\\\\?([^#]*))?(?:#(.*))?$')"})
	field := func(name string, i int64) string {
		return "'\"" + name + "\":', toJSONString(" + p.sql + "[" + itoa(i) + "]), ',', "
	}
	return call(kJSON, false, "if(empty("+p.sql+"), '{\"Scheme\":\"\",\"Host\":\"\",\"Port\":\"\",\"Path\":\"\",\"Username\":\"\",\"Password\":\"\",\"Query Parameters\":{},\"Fragment\":\"\"}', concat('{', "+
		field("Scheme", 1)+field("Host", 4)+field("Port", 5)+field("Path", 6)+field("Username", 2)+field("Password", 3)+
		"'\"Query Parameters\":', "+queryBag(p.sql+"[7]")+", ',\"Fragment\":', toJSONString("+p.sql+"[8]), '}'))")
}
