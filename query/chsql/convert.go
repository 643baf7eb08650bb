package chsql

import (
	"math"
	"strings"

	"hubscope/query/plan"
)

// num returns a value as a number of kind k, null where it is none.
func (g *gen) num(v val, k kind) val {
	if v.path == nil && v.k == k {
		return v
	}
	if v.c != nil && v.c.Null {
		return nullOf(k)
	}
	if v.c != nil && (v.k == kInt || v.k == kLong) && (k == kReal || k == kLong || k == kDecimal) {
		switch k {
		case kReal:
			return constant(&plan.Const{T: plan.Real, Real: float64(v.c.Int)})
		case kLong:
			return constant(&plan.Const{T: plan.Long, Int: v.c.Int})
		case kDecimal:
			return constant(&plan.Const{T: plan.Decimal, Text: itoa(v.c.Int)})
		}
	}
	to := k.chType()
	if v.path != nil || v.k == kJSON || v.k == kText {
		if k == kDecimal {
			return call(k, true, "toDecimal256OrNull("+g.strOrNullable(v)+", "+decimalScale+")")
		}
		if v.path == nil && v.k == kJSON && v.null {
			v.sql = nonNull(v)
		}
		return call(k, true, extract(v, to))
	}
	switch v.k {
	case kInt, kLong, kTimespan:
		switch k {
		case kInt:
			return call(k, true, "accurateCastOrNull("+v.sql+", 'Int32')")
		case kLong, kTimespan:
			if v.k == kInt {
				return call(k, v.null, "toInt64("+v.sql+")")
			}
			v.k = k
			return v
		case kReal:
			return call(k, v.null, "toFloat64("+v.sql+")")
		case kDecimal:
			return call(k, v.null, "toDecimal256("+v.sql+", "+decimalScale+")")
		}
	case kReal:
		switch k {
		case kInt, kLong, kTimespan:
			return call(k, true, "accurateCastOrNull(trunc("+v.sql+"), '"+to+"')")
		case kDecimal:
			// By way of the text: the nearest decimal, not the exact binary fraction.
			return call(k, true, "toDecimal256OrNull(toString("+v.sql+"), "+decimalScale+")")
		}
	case kDecimal:
		switch k {
		case kInt, kLong, kTimespan:
			return call(k, true, "accurateCastOrNull(trunc("+v.sql+"), '"+to+"')")
		case kReal:
			return call(k, v.null, "toFloat64("+v.sql+")")
		}
	case kBool, kCond:
		if k == kDecimal {
			return call(k, v.null, "toDecimal256(toUInt8("+v.sql+"), "+decimalScale+")")
		}
		return call(k, v.null, "to"+to+"("+v.sql+")")
	case kDatetime:
		ticks := call(kLong, v.null, "reinterpretAsInt64("+v.sql+") + "+itoa(plan.UnixEpochTicks))
		ticks.op = true
		return g.num(ticks, k)
	case kString, kDynString:
		return g.parseNumber(v, k)
	}
	return nullOf(k)
}

// parseNumber reads a number from text, null where it is none.
func (g *gen) parseNumber(v val, k kind) val {
	s := "trim(BOTH ' ' FROM " + v.sql + ")"
	switch k {
	case kReal:
		return call(k, true, "toFloat64OrNull("+s+")")
	case kDecimal:
		return call(k, true, "toDecimal256OrNull("+s+", "+decimalScale+")")
	}
	// Hexadecimal digits are read too: tolong("0x1F").
	h := g.hoist(call(kString, v.null, s))
	bits := "Int64"
	if k == kInt {
		bits = "Int32"
	}
	dec := "to" + bits + "OrNull(" + h.sql + ")"
	hex := "accurateCastOrNull(reinterpretAsUInt64(reverse(unhex(leftPad(substring(" + h.sql + ", 3), 16, '0')))), '" + bits + "')"
	if v.c != nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(v.c.Text)), "0x") {
		return call(k, true, dec)
	}
	return call(k, true, "if(match("+h.sql+", '^0[xX][0-9a-fA-F]{1,16}$'), "+hex+", "+dec+")")
}

// strOrNullable returns text of a dynamic value that is NULL where it has none.
func (g *gen) strOrNullable(v val) string { return g.strOrNull(v).sql }

// strOrNull returns a dynamic value as text; null stays NULL.
func (g *gen) strOrNull(v val) val {
	switch {
	case v.path != nil, v.k == kJSON, v.k == kText:
		if v.c != nil && !v.c.Null && v.path == nil {
			if s, ok := plan.JSONText(v.c.Text); ok {
				return val{sql: quote(s), k: kString, atom: true, c: &plan.Const{T: plan.String, Text: s}}
			}
		}
		if v.path == nil && v.k == kJSON {
			// Compact already: only a string has to be read.
			h := g.hoist(v)
			return call(kDynString, true, "if(startsWith("+h.sql+", '\"'), JSONExtractString("+h.sql+"), "+h.sql+")")
		}
		return call(kDynString, true, extract(v, "String"))
	case v.k == kDynString:
		return v
	}
	return g.str(v)
}

// str returns a value as tostring does: never NULL, ” for null.
func (g *gen) str(v val) val {
	if v.path != nil || v.k == kJSON || v.k == kText || v.k == kDynString {
		s := g.strOrNull(v)
		if !s.null {
			return s
		}
		return call(kString, false, "ifNull("+s.sql+", '')")
	}
	if v.c != nil && v.c.Null {
		return val{sql: "''", k: kString, atom: true, c: &plan.Const{T: plan.String}}
	}
	var sql string
	switch v.k {
	case kString:
		return v
	case kBool, kCond:
		sql = "if(" + v.sql + ", 'true', 'false')"
		if v.null {
			sql = "multiIf(isNull(" + v.sql + "), '', " + v.sql + ", 'true', 'false')"
		}
		return call(kString, false, sql)
	case kInt, kLong, kGUID, kDecimal:
		sql = "toString(" + v.sql + ")"
	case kReal:
		sql = g.realText(v)
	case kDatetime:
		sql = "concat(replaceOne(toString(" + v.sql + "), ' ', 'T'), 'Z')"
	case kTimespan:
		sql = g.timespanText(v)
	case kArray:
		return call(kString, false, g.json(v).sql)
	}
	if v.null {
		sql = "ifNull(" + sql + ", '')"
	}
	return call(kString, false, sql)
}

// realText writes a real as Kusto prints it: with a point or an exponent; NaN and
// the infinities by name.
func (g *gen) realText(v val) string {
	v = g.hoist(v)
	s := v.sql
	if v.c != nil && v.c.T == plan.Real && !math.IsNaN(v.c.Real) && !math.IsInf(v.c.Real, 0) {
		text := string(plan.AppendJSON(nil, v.c))
		return quote(text)
	}
	return "multiIf(isNull(" + s + "), NULL, isFinite(" + s + "), if(match(toString(" + s + "), '[.e]'), toString(" + s + "), concat(toString(" + s + "), '.0')), isNaN(" + s + "), 'NaN', " + s + " > 0, 'Infinity', '-Infinity')"
}

// timespanText writes ticks as [-][d.]hh:mm:ss[.fffffff].
func (g *gen) timespanText(v val) string {
	v = g.hoist(v)
	a := "abs(" + v.sql + ")"
	div := func(n int64) string { return "intDiv(" + a + ", " + itoa(n) + ")" }
	two := func(n int64, m string) string { return "leftPad(toString(modulo(" + div(n) + ", " + m + ")), 2, '0')" }
	return "concat(if(" + v.sql + " < 0, '-', ''), if(" + div(plan.TicksPerDay) + " > 0, concat(toString(" + div(plan.TicksPerDay) + "), '.'), ''), " +
		two(plan.TicksPerHour, "24") + ", ':', " + two(plan.TicksPerMinute, "60") + ", ':', " + two(plan.TicksPerSecond, "60") +
		", if(modulo(" + a + ", 10000000) > 0, concat('.', leftPad(toString(modulo(" + a + ", 10000000)), 7, '0')), ''))"
}

// json returns a value as the JSON text of the dynamic value that it is.
func (g *gen) json(v val) val {
	if v.path != nil {
		return g.read(v)
	}
	if v.c != nil && v.k != kJSON && v.k != kText {
		if v.c.Null && v.k != kString {
			return nullOf(kJSON)
		}
		text := string(plan.AppendJSON(nil, v.c))
		return val{sql: quote(text), k: kJSON, atom: true, c: &plan.Const{T: plan.Dynamic, Text: text}}
	}
	var sql string
	switch v.k {
	case kJSON:
		return v
	case kText:
		if v.atom && v.low {
			// The functions on JSON do not take a nullable dictionary.
			return call(kJSON, true, "nullIf(CAST("+v.sql+", 'String'), '')")
		}
		return g.parseJSON(v)
	case kString, kDynString, kGUID:
		sql = "toJSONString(" + v.sql + ")"
		if v.k == kGUID {
			sql = "toJSONString(toString(" + v.sql + "))"
		}
		if v.null {
			h := g.hoist(v)
			sql = "if(isNull(" + h.sql + "), NULL, toJSONString(" + h.sql + "))"
		}
		return call(kJSON, v.null, sql)
	case kBool, kCond:
		sql = "if(" + v.sql + ", 'true', 'false')"
		if v.null {
			sql = "multiIf(isNull(" + v.sql + "), NULL, " + v.sql + ", 'true', 'false')"
		}
	case kInt, kLong:
		sql = "toString(" + v.sql + ")"
	case kReal:
		h := g.hoist(v)
		// With a point, as Kusto writes reals: digits alone would be a whole number,
		// and no JSON at all beyond 64 bits.
		sql = "multiIf(isFinite(" + h.sql + "), if(match(toString(" + h.sql + "), '[.e]'), toString(" + h.sql + "), concat(toString(" + h.sql + "), '.0')), isNaN(" + h.sql + "), '\"NaN\"', " + h.sql + " > 0, '\"Infinity\"', '\"-Infinity\"')"
		if v.null {
			sql = "if(isNull(" + h.sql + "), NULL, " + sql + ")"
		}
	case kDecimal:
		sql = "concat('\"', toString(" + v.sql + "), '\"')"
	case kDatetime:
		sql = "concat('\"', replaceOne(toString(" + v.sql + "), ' ', 'T'), 'Z\"')"
	case kTimespan:
		sql = "concat('\"', " + g.timespanText(v) + ", '\"')"
	case kArray:
		return call(kJSON, false, g.arrayJSON(v))
	}
	return call(kJSON, v.null, sql)
}

// parseJSON reads JSON text as parse_json does: compact, text that is no JSON
// as a string value, nothing as null.
func (g *gen) parseJSON(v val) val {
	h := g.hoist(v)
	return call(kJSON, true, "multiIf("+h.sql+" = '', NULL, isValidJSON("+h.sql+"), nullIf(JSONExtractRaw("+h.sql+"), 'null'), toJSONString("+h.sql+"))")
}

// arrayJSON writes an array as JSON text.
func (g *gen) arrayJSON(v val) string {
	switch v.elem {
	case kString, kLong, kInt, kBool:
		return "toJSONString(" + v.sql + ")"
	case kJSON:
		return "concat('[', arrayStringConcat(" + v.sql + ", ','), ']')"
	}
	x := g.variable()
	b := g.b
	g.b = nil // what a lambda reads cannot be hoisted out of it
	e := g.json(val{sql: x, k: v.elem, null: v.elemNull, atom: true})
	g.b = b
	sql := e.sql
	if e.null {
		sql = "ifNull(" + sql + ", 'null')"
	}
	return "concat('[', arrayStringConcat(arrayMap(" + x + " -> " + sql + ", " + v.sql + "), ','), ']')"
}

// raws returns a dynamic value as an array of the JSON texts of its elements;
// what is no array is empty.
func (g *gen) raws(v val) val {
	r := val{k: kArray, elem: kJSON}
	switch {
	case v.path != nil:
		sql, args := pathArgs(v)
		r.sql = "JSONExtractArrayRaw(" + sql + args + ")"
		return r
	case v.k == kArray && v.elem == kJSON:
		return v
	case v.k == kArray:
		x := g.variable()
		b := g.b
		g.b = nil
		e := g.json(val{sql: x, k: v.elem, null: v.elemNull, atom: true})
		g.b = b
		sql := e.sql
		if e.null {
			sql = "ifNull(" + sql + ", 'null')"
		}
		r.sql = "arrayMap(" + x + " -> " + sql + ", " + v.sql + ")"
		return r
	case v.k == kJSON, v.k == kText:
		r.sql = "JSONExtractArrayRaw(" + nonNull(v) + ")"
		return r
	}
	r.sql = "emptyArrayString()"
	return r
}

// strings returns the elements of a dynamic array as text.
func (g *gen) strings(v val) val {
	r := val{k: kArray, elem: kString}
	switch {
	case v.path != nil:
		sql, args := pathArgs(v)
		r.sql = "JSONExtract(" + sql + args + ", 'Array(String)')"
	case v.k == kArray && v.elem == kString && !v.elemNull:
		return v
	case v.k == kArray && v.elem == kJSON:
		x := g.variable()
		r.sql = "arrayMap(" + x + " -> ifNull(JSONExtract(" + x + ", 'Nullable(String)'), ''), " + v.sql + ")"
	case v.k == kArray:
		x := g.variable()
		b := g.b
		g.b = nil
		e := g.str(val{sql: x, k: v.elem, null: v.elemNull, atom: true})
		g.b = b
		r.sql = "arrayMap(" + x + " -> " + e.sql + ", " + v.sql + ")"
	case v.k == kJSON, v.k == kText:
		// A value that is no array counts as an array of it.
		r.sql = "JSONExtract(" + nonNull(v) + ", 'Array(String)')"
	default:
		r.sql = "[" + g.str(v).sql + "]"
	}
	return r
}

// reals returns the elements of a dynamic array as numbers; those that are none
// are NULL.
func (g *gen) reals(v val) val {
	r := val{k: kArray, elem: kReal, elemNull: true}
	switch {
	case v.path != nil:
		sql, args := pathArgs(v)
		r.sql = "JSONExtract(" + sql + args + ", 'Array(Nullable(Float64))')"
	case v.k == kArray && v.elem == kReal:
		return v
	case v.k == kArray && (v.elem == kLong || v.elem == kInt):
		r.elemNull = v.elemNull
		r.sql = "CAST(" + v.sql + ", 'Array(" + nullable("Float64", v.elemNull) + ")')"
	case v.k == kArray:
		r.sql = "JSONExtract(" + g.arrayJSON(v) + ", 'Array(Nullable(Float64))')"
	case v.k == kJSON, v.k == kText:
		r.sql = "JSONExtract(" + nonNull(v) + ", 'Array(Nullable(Float64))')"
	default:
		r.sql = "CAST([], 'Array(Nullable(Float64))')"
	}
	return r
}

// toBool returns a value as tobool does.
func (g *gen) toBool(v val) val {
	switch {
	case v.path != nil, v.k == kJSON, v.k == kText, v.k == kDynString:
		s := g.hoist(g.strOrNull(v))
		if s.k == kString {
			return g.toBool(s)
		}
		return call(kBool, true, "CAST(multiIf(lower("+s.sql+") IN ('true', '1'), true, lower("+s.sql+") IN ('false', '0'), false, isNotNull(toFloat64OrNull("+s.sql+")), toFloat64OrNull("+s.sql+") != 0, NULL), 'Nullable(Bool)')")
	case v.c != nil && v.c.Null:
		return nullOf(kBool)
	}
	switch v.k {
	case kBool, kCond:
		return v
	case kString:
		h := g.hoist(v)
		return call(kBool, true, "CAST(multiIf(lower("+h.sql+") IN ('true', '1'), true, lower("+h.sql+") IN ('false', '0'), false, NULL), 'Nullable(Bool)')")
	case kInt, kLong, kReal, kDecimal, kTimespan:
		return cond(v.null, v.s()+" != 0")
	}
	return nullOf(kBool)
}

// toDatetime returns a value as todatetime does.
func (g *gen) toDatetime(v val) val {
	switch {
	case v.path != nil, v.k == kJSON, v.k == kText:
		v = g.strOrNull(v)
	case v.c != nil && v.c.Null:
		return nullOf(kDatetime)
	}
	switch v.k {
	case kDatetime:
		return v
	case kString, kDynString:
		if v.c != nil {
			if ticks, ok := plan.ParseDatetime(v.c.Text); ok {
				return constant(&plan.Const{T: plan.Datetime, Int: ticks})
			}
		}
		// Text without a separator is a number, not a date, except a bare year, and
		// a clock is no date either. RFC 822 and RFC 850 have years of two digits.
		h := g.hoist(val{k: v.k, null: v.null, sql: "trim(BOTH ' \\t\\r\\n' FROM " + v.sql + ")"})
		const rfc = `'^(?:[A-Za-z]+, *)?([0-9]{1,2})[- ]([A-Za-z]{3})[- ]`
		text := "if(substring(" + h.sql + ", 5, 1) = '-', " + h.sql + ", replaceRegexpOne(replaceRegexpOne(" + h.sql + ", " + rfc + "([0-6][0-9]) ', '\\\\1 \\\\2 20\\\\3 '), " + rfc + "([7-9][0-9]) ', '\\\\1 \\\\2 19\\\\3 '))"
		return call(kDatetime, true, "if(match("+h.sql+", '^([0-9]{5,}$|[0-9]{1,2}:)'), NULL, parseDateTime64BestEffortUSOrNull("+text+", 7, 'UTC'))")
	case kInt, kLong, kReal, kDecimal:
		t := g.hoist(g.num(v, kLong))
		return call(kDatetime, true, "if("+t.sql+" BETWEEN 0 AND "+itoa(plan.MaxDatetimeTicks)+", "+fromTicks("("+t.s()+" - "+itoa(plan.UnixEpochTicks)+")")+", NULL)")
	}
	return nullOf(kDatetime)
}

// toTimespan returns a value as totimespan does.
func (g *gen) toTimespan(v val) val {
	switch {
	case v.path != nil, v.k == kJSON, v.k == kText:
		v = g.strOrNull(v)
	case v.c != nil && v.c.Null:
		return nullOf(kTimespan)
	}
	switch v.k {
	case kTimespan:
		return v
	case kString, kDynString:
		if v.c != nil {
			if ticks, ok := plan.ParseTimespan(v.c.Text); ok {
				return constant(&plan.Const{T: plan.Timespan, Int: ticks})
			}
			return nullOf(kTimespan)
		}
		p := g.hoist(val{k: kArray, elem: kString, sql: "extractGroups(trim(BOTH ' ' FROM " + nonNull(v) + "), '^(-?)(?:([0-9]{1,8})\\\\.)?([0-9]{1,9}):([0-9]{1,2})(?::([0-9]{1,2})(?:\\\\.([0-9]{1,7}))?)?$')"})
		part := func(i int64) string { return "toInt64OrZero(" + p.sql + "[" + itoa(i) + "])" }
		return call(kTimespan, true, "if(empty("+p.sql+") OR "+part(4)+" > 59 OR "+part(5)+" > 59, NULL, if("+p.sql+"[1] = '-', -1, 1) * ("+
			part(2)+" * "+itoa(plan.TicksPerDay)+" + "+part(3)+" * "+itoa(plan.TicksPerHour)+" + "+part(4)+" * "+itoa(plan.TicksPerMinute)+" + "+
			part(5)+" * "+itoa(plan.TicksPerSecond)+" + toInt64OrZero(rightPad("+p.sql+"[6], 7, '0'))))")
	case kInt, kLong:
		r := g.num(v, kLong)
		r.k = kTimespan
		return r
	}
	return nullOf(kTimespan)
}

// toGUID returns a value as toguid does.
func (g *gen) toGUID(v val) val {
	switch {
	case v.path != nil, v.k == kJSON, v.k == kText:
		v = g.strOrNull(v)
	case v.c != nil && v.c.Null:
		return nullOf(kGUID)
	}
	switch v.k {
	case kGUID:
		return v
	case kString, kDynString:
		if v.c != nil {
			if s, ok := plan.ParseGUID(v.c.Text); ok {
				return constant(&plan.Const{T: plan.GUID, Text: s})
			}
			return nullOf(kGUID)
		}
		return call(kGUID, true, "toUUIDOrNull(substring(replaceAll(trim(BOTH '{} ' FROM "+v.sql+"), '-', ''), 1, 32))")
	}
	return nullOf(kGUID)
}

// lower folds the case of text.
func (g *gen) lower(v val) val {
	if s, ok := v.constString(); ok {
		l := strings.ToLower(s)
		return val{sql: quote(l), k: kString, atom: true, c: &plan.Const{T: plan.String, Text: l}}
	}
	if v.k != kDynString {
		v = g.str(v)
	}
	return call(v.k, v.null, "lowerUTF8("+v.sql+")")
}

// lowerASCII returns text in lower case to compare it with ASCII, which letters
// beyond ASCII do not become. It is quicker than lower.
func (g *gen) lowerASCII(v val) val {
	l := g.lower(v)
	if rest, ok := strings.CutPrefix(l.sql, "lowerUTF8("); ok {
		l.sql = "lower(" + rest
	}
	return l
}
