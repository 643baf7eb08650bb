package chsql

import (
	"maps"
	"slices"
	"strings"

	"hubscope/query/plan"
)

// ofReal makes a function of a number; $ is the number as Float64.
func ofReal(sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := g.num(a[0], kReal)
		if strings.Count(sql, "$") > 1 {
			v = g.hoist(v)
		}
		return call(kReal, v.null, strings.ReplaceAll(sql, "$", v.sql))
	}
}

// domain makes a function that is null outside of a domain, where ClickHouse
// gives NaN.
func domain(test, sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := g.hoist(g.num(a[0], kReal))
		return call(kReal, true, "if("+strings.ReplaceAll(test, "$", v.s())+", "+strings.ReplaceAll(sql, "$", v.sql)+", NULL)")
	}
}

func bitwise(f string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		parts := make([]string, len(a))
		null := false
		for i := range a {
			v := g.num(a[i], kLong)
			null = null || v.null
			parts[i] = v.sql
		}
		return call(kLong, null, "toInt64("+f+"("+strings.Join(parts, ", ")+"))")
	}
}

func extreme(f, pick string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		// null loses against any value.
		var sqls []string
		null := true
		for _, v := range a {
			switch {
			case k == kJSON:
				v = g.json(v)
			case k == kString:
				v = g.str(v)
			case c.T.Numeric():
				v = g.num(v, k)
			default:
				v = g.castText(v, c.T)
			}
			null = null && v.null
			sqls = append(sqls, v.sql)
		}
		if k == kBool {
			// A comparison in ClickHouse's eyes is a number.
			return call(k, true, "CAST("+pick+"(arrayFilter(x -> isNotNull(x), ["+strings.Join(sqls, ", ")+"])), 'Nullable(Bool)')")
		}
		if !anyNull(a...) && k != kJSON {
			return call(k, false, f+"("+strings.Join(sqls, ", ")+")")
		}
		return call(k, true, pick+"(arrayFilter(x -> isNotNull(x), ["+strings.Join(sqls, ", ")+"]))")
	}
}

var mathFunctions = map[string]function{
	"abs": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		if k == kJSON {
			k = kReal
		}
		v := a[0]
		if k != kTimespan {
			v = g.num(v, k)
		}
		if k == kLong || k == kTimespan {
			return call(k, v.null, "toInt64(abs("+v.sql+"))")
		}
		return call(k, v.null, "abs("+v.sql+")")
	},
	"acos":     domain("$ BETWEEN -1 AND 1", "acos($)"),
	"asin":     domain("$ BETWEEN -1 AND 1", "asin($)"),
	"atan":     ofReal("atan($)"),
	"cos":      ofReal("cos($)"),
	"sin":      ofReal("sin($)"),
	"tan":      ofReal("tan($)"),
	"cot":      ofReal("1 / tan($)"),
	"degrees":  ofReal("degrees($)"),
	"radians":  ofReal("radians($)"),
	"exp":      ofReal("exp($)"),
	"exp2":     ofReal("exp2($)"),
	"exp10":    ofReal("exp10($)"),
	"log":      domain("$ >= 0 OR isNaN($)", "log($)"),
	"log2":     domain("$ >= 0 OR isNaN($)", "log2($)"),
	"log10":    domain("$ >= 0 OR isNaN($)", "log10($)"),
	"sqrt":     domain("$ >= 0 OR isNaN($)", "sqrt($)"),
	"gamma":    ofReal("tgamma($)"),
	"loggamma": ofReal("lgamma($)"),
	"erf":      ofReal("erf($)"),
	"erfc":     ofReal("erfc($)"),
	"atan2": func(g *gen, c *plan.Call, a []val) val {
		y, x := g.num(a[0], kReal), g.num(a[1], kReal)
		return call(kReal, y.null || x.null, "atan2("+y.sql+", "+x.sql+")")
	},
	"pow": func(g *gen, c *plan.Call, a []val) val {
		x, y := g.num(a[0], kReal), g.num(a[1], kReal)
		return call(kReal, y.null || x.null, "pow("+x.sql+", "+y.sql+")")
	},
	"pi": func(g *gen, c *plan.Call, a []val) val { return val{sql: "pi()", k: kReal, atom: true} },
	"sign": func(g *gen, c *plan.Call, a []val) val {
		v := g.num(a[0], kReal)
		return call(kReal, v.null, "toFloat64(sign("+v.sql+"))")
	},
	"ceiling": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		if k == kJSON {
			k = kReal
		}
		v := g.num(a[0], k)
		if k == kInt || k == kLong {
			return v
		}
		return call(k, v.null, "ceil("+v.sql+")")
	},
	"round": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		v := g.num(a[0], k)
		digits := "0"
		if len(a) > 1 {
			n := g.num(a[1], kLong)
			if n.c != nil && n.c.Null {
				return nullOf(k)
			}
			digits = "least(greatest(ifNull(" + n.sql + ", 0), -20), 20)"
			if d, ok := n.constInt(); ok {
				digits = itoa(min(max(d, -20), 20))
			}
		}
		switch k {
		case kInt, kLong:
			return call(k, v.null, "CAST(round("+v.sql+", "+digits+"), '"+nullable(k.chType(), v.null)+"')")
		case kReal:
			// Halves away from zero; ClickHouse rounds them to even.
			h := g.hoist(v)
			p := "exp10(" + digits + ")"
			return call(k, v.null, "if(isFinite("+h.sql+"), sign("+h.sql+") * floor(abs("+h.sql+") * "+p+" + 0.5) / "+p+", "+h.sql+")")
		}
		return call(k, v.null, "round("+v.sql+", "+digits+")")
	},
	"isnan":    ofBool("isNaN($)"),
	"isinf":    ofBool("isInfinite($)"),
	"isfinite": ofBool("isFinite($)"),
	"rand": func(g *gen, c *plan.Call, a []val) val {
		if len(a) == 0 {
			return call(kReal, false, "randCanonical("+itoa(int64(g.nextVar()))+")")
		}
		n := g.num(a[0], kLong)
		return call(kReal, n.null, "toFloat64(modulo(rand64("+itoa(int64(g.nextVar()))+"), greatest("+n.lit()+", 1)))")
	},
	"max_of":     extreme("greatest", "arrayMax"),
	"min_of":     extreme("least", "arrayMin"),
	"binary_and": bitwise("bitAnd"), "binary_or": bitwise("bitOr"), "binary_xor": bitwise("bitXor"), "binary_not": bitwise("bitNot"),
	"binary_shift_left": func(g *gen, c *plan.Call, a []val) val {
		return shift(g, a, "bitShiftLeft")
	},
	"binary_shift_right": func(g *gen, c *plan.Call, a []val) val {
		return shift(g, a, "bitShiftRight")
	},
	"bitset_count_ones": bitwise("bitCount"),
	"beta_cdf":          func(g *gen, c *plan.Call, a []val) val { return betaCDF(g, a) },
	"beta_pdf": func(g *gen, c *plan.Call, a []val) val {
		x, p, q := g.hoist(g.num(a[0], kReal)), g.hoist(g.num(a[1], kReal)), g.hoist(g.num(a[2], kReal))
		return call(kReal, true, "if("+x.s()+" > 0 AND "+x.s()+" < 1 AND "+p.s()+" > 0 AND "+q.s()+" > 0, exp(lgamma("+p.s()+" + "+q.s()+") - lgamma("+p.sql+") - lgamma("+q.sql+")) * pow("+x.s()+", "+p.s()+" - 1) * pow(1 - "+x.s()+", "+q.s()+" - 1), if(isNull("+x.sql+") OR isNull("+p.sql+") OR isNull("+q.sql+"), NULL, nan))")
	},
	"beta_inv":      func(g *gen, c *plan.Call, a []val) val { return betaInv(g, a) },
	"convert_angle": convertUnit, "convert_energy": convertUnit, "convert_force": convertUnit, "convert_length": convertUnit,
	"convert_mass": convertUnit, "convert_speed": convertUnit, "convert_temperature": convertUnit, "convert_volume": convertUnit,
	"welch_test": func(g *gen, c *plan.Call, a []val) val { return welchTest(g, a) },
}

// convertUnit writes a conversion by way of the quantity's base unit. Of units that
// there are not it is null. (convert-length-function)
func convertUnit(g *gen, c *plan.Call, a []val) val {
	known := plan.Units(c.Func.Base)
	v := g.num(a[0], kReal)
	from, ok1 := a[1].constString()
	to, ok2 := a[2].constString()
	if !ok1 || !ok2 {
		return g.convertData(known, v, g.str(a[1]), g.str(a[2]))
	}
	f, ok1 := known[from]
	t, ok2 := known[to]
	if !ok1 || !ok2 {
		return nullOf(kReal)
	}
	if f.Offset == 0 && t.Offset == 0 {
		return val{sql: v.s() + " * " + float(f.Factor/t.Factor), k: kReal, null: v.null, op: true}
	}
	return val{sql: "(" + v.s() + " * " + float(f.Factor) + " + " + float(f.Offset-t.Offset) + ") / " + float(t.Factor), k: kReal, null: v.null, op: true}
}

// convertData writes a conversion between units that are data.
func (g *gen) convertData(known map[string]plan.Measure, v, from, to val) val {
	names := slices.Sorted(maps.Keys(known))
	pick := func(unit val, of func(plan.Measure) float64) string {
		texts, values := make([]string, len(names)), make([]string, len(names))
		for i, n := range names {
			texts[i], values[i] = quote(n), float(of(known[n]))
		}
		return g.hoist(val{k: kReal, sql: "transform(" + unit.sql + ", [" + strings.Join(texts, ", ") + "], [" + strings.Join(values, ", ") + "], nan)"}).sql
	}
	factor, offset := func(m plan.Measure) float64 { return m.Factor }, func(m plan.Measure) float64 { return m.Offset }
	f, t := pick(from, factor), pick(to, factor)
	return call(kReal, true, "if(isNaN("+f+") OR isNaN("+t+"), NULL, ("+v.s()+" * "+f+" + "+pick(from, offset)+" - "+pick(to, offset)+") / "+t+")")
}

func (g *gen) nextVar() int {
	g.vars++
	return g.vars
}

// shift shifts by the count modulo 64, and is null for a negative one.
func shift(g *gen, a []val, f string) val {
	v, n := g.num(a[0], kLong), g.num(a[1], kLong)
	if k, ok := n.constInt(); ok {
		if k < 0 {
			return nullOf(kLong)
		}
		return call(kLong, v.null, "toInt64("+f+"("+v.sql+", "+itoa(k%64)+"))")
	}
	h := g.hoist(n)
	return call(kLong, true, "if("+h.s()+" >= 0, toInt64("+f+"("+v.sql+", modulo(greatest("+h.sql+", 0), 64))), NULL)")
}

func ofBool(sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := g.num(a[0], kReal)
		return call(kCond, v.null, strings.ReplaceAll(sql, "$", v.sql))
	}
}

var otherFunctions = map[string]function{
	"iff": func(g *gen, c *plan.Call, a []val) val {
		b := g.boolean(a[0])
		return g.choose(c.T, []string{g.truth(b)}, []val{a[1], a[2]})
	},
	"case": func(g *gen, c *plan.Call, a []val) val {
		var conds []string
		var branches []val
		for i := 0; i+1 < len(a); i += 2 {
			conds = append(conds, g.truth(g.boolean(a[i])))
			branches = append(branches, a[i+1])
		}
		return g.choose(c.T, conds, append(branches, a[len(a)-1]))
	},
	"not": func(g *gen, c *plan.Call, a []val) val {
		v := g.boolean(a[0])
		return cond(v.null, "NOT "+v.s())
	},
	"isnull": func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		if v.path != nil {
			v = g.read(v)
		}
		if v.k == kText {
			v = g.json(v)
		}
		if !v.null {
			return cond(false, "1 = 0")
		}
		return call(kCond, false, "isNull("+v.sql+")")
	},
	"isnotnull": func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		if v.path != nil {
			v = g.read(v)
		}
		if v.k == kText {
			v = g.json(v)
		}
		if !v.null {
			return cond(false, "1 = 1")
		}
		return call(kCond, false, "isNotNull("+v.sql+")")
	},
	"coalesce": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		if k == kString {
			// The first that is not empty, else the last.
			parts := make([]string, len(a))
			for i, v := range a {
				parts[i] = g.str(v).sql
				if i < len(a)-1 {
					parts[i] = "nullIf(" + parts[i] + ", '')"
				}
			}
			return call(k, false, "coalesce("+strings.Join(parts, ", ")+")")
		}
		parts := make([]string, len(a))
		null := true
		for i, v := range a {
			switch {
			case k == kJSON:
				v = g.json(v)
			case c.T.Numeric():
				v = g.num(v, k)
			case k == kBool:
				v = g.canonical(g.boolean(v), plan.Bool)
			default:
				v = g.castText(v, c.T)
			}
			null = null && v.null
			parts[i] = v.sql
		}
		return call(k, null, "coalesce("+strings.Join(parts, ", ")+")")
	},
	"around": func(g *gen, c *plan.Call, a []val) val {
		if c.Args[0].Type() == plan.Datetime || c.Args[0].Type() == plan.Timespan {
			v, m, d := g.ticks(a[0]), g.ticks(a[1]), g.ticks(a[2])
			return cond(anyNull(a...), v+" BETWEEN "+m+" - "+d+" AND "+m+" + "+d)
		}
		v, m, d := g.num(a[0], kReal), g.num(a[1], kReal), g.num(a[2], kReal)
		return cond(v.null || m.null || d.null, v.s()+" BETWEEN "+m.s()+" - "+d.s()+" AND "+m.s()+" + "+d.s())
	},
	"assert": func(g *gen, c *plan.Call, a []val) val {
		v := g.boolean(a[0])
		return call(kCond, false, "throwIf(NOT ifNull("+v.sql+", 0), "+g.str(a[1]).sql+") = 0")
	},
	"new_guid": func(g *gen, c *plan.Call, a []val) val {
		return call(kGUID, false, "generateUUIDv4("+itoa(int64(g.nextVar()))+")")
	},
	"hash": func(g *gen, c *plan.Call, a []val) val {
		h := hashOf(g, a[0])
		if len(a) == 1 {
			return call(kLong, false, h)
		}
		n := g.num(a[1], kLong)
		return call(kLong, true, "CAST(positiveModuloOrNull("+h+", "+divisor(n)+"), 'Nullable(Int64)')")
	},
	"hash_many": func(g *gen, c *plan.Call, a []val) val {
		sql := hashOf(g, a[0])
		for _, v := range a[1:] {
			sql = combine(sql, hashOf(g, v))
		}
		return call(kLong, false, sql)
	},
	"hash_combine": func(g *gen, c *plan.Call, a []val) val {
		v := g.num(a[0], kLong)
		sql, null := v.sql, v.null
		for _, w := range a[1:] {
			n := g.num(w, kLong)
			sql, null = combine(sql, n.sql), null || n.null
		}
		return call(kLong, null, sql)
	},
	"hash_sha256": func(g *gen, c *plan.Call, a []val) val { return digest(g, c, a, "SHA256") },
	"hash_sha1":   func(g *gen, c *plan.Call, a []val) val { return digest(g, c, a, "SHA1") },
	"hash_md5":    func(g *gen, c *plan.Call, a []val) val { return digest(g, c, a, "MD5") },

	"current_cluster_endpoint": func(g *gen, c *plan.Call, a []val) val { return val{sql: "'hubscope'", k: kString, atom: true} },
	"current_database":         func(g *gen, c *plan.Call, a []val) val { return call(kString, false, "currentDatabase()") },
	"estimate_data_size": func(g *gen, c *plan.Call, a []val) val {
		var parts []string
		for i, v := range a {
			switch c.Args[i].Type() {
			case plan.String, plan.Dynamic, plan.Unknown:
				parts = append(parts, "toInt64(length("+g.str(v).sql+"))")
			case plan.Bool:
				parts = append(parts, "1")
			case plan.Int:
				parts = append(parts, "4")
			case plan.GUID, plan.Decimal:
				parts = append(parts, "16")
			default:
				parts = append(parts, "8")
			}
		}
		return call(kLong, false, "toInt64("+strings.Join(parts, " + ")+")")
	},
}

// truth writes a condition as the test of if, for which NULL is false.
func (g *gen) truth(v val) string { return v.sql }

// hashOf writes a value's xxHash64: of text as it is, of numbers, datetimes (ticks
// since year 1) and timespans by their little-endian bytes, of all else by its
// text. (The documented hash(datetime(2015-01-01)) is that of its 8 bytes.)
func hashOf(g *gen, v val) string { return "reinterpretAsInt64(" + hash64(g, v) + ")" }

// hash64 writes the same without a sign.
func hash64(g *gen, v val) string {
	x := v.sql
	switch v.k {
	case kLong, kTimespan, kReal:
	case kInt:
		x = "toInt64(" + x + ")" // the documented hll() of an int has its hash as a long
	case kDatetime:
		x = g.ticks(v) + " + " + itoa(plan.UnixEpochTicks)
	default:
		return "xxHash64(" + g.str(v).sql + ")"
	}
	if v.null {
		return "if(isNull(" + v.sql + "), xxHash64(''), xxHash64(reinterpretAsFixedString(assumeNotNull(" + x + "))))"
	}
	return "xxHash64(reinterpretAsFixedString(" + x + "))"
}

// combine mixes two hashes, as boost does.
func combine(a, b string) string {
	return "bitXor(" + a + ", " + b + " + toInt64(2654435769) + bitShiftLeft(" + a + ", 6) + bitShiftRight(" + a + ", 2))"
}

func digest(g *gen, c *plan.Call, a []val, f string) val {
	return call(kString, false, "lower(hex("+f+"("+g.str(a[0]).sql+")))")
}
