package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// States of dcount and of percentiles are JSON, so that they can be kept and
// joined like any dynamic value:
//
//	hll      [[1024,14],["hash", ...],[]] for up to 1024 values,
//	         [[1024,14],[],[[register, ...],[rank, ...]]] for more of them
//	tdigest  [[7],[value, ...],[weight, ...]], datetimes [[7,"datetime"], ...] as ticks
const (
	hllHead   = "[[1024,14],"
	hllFew    = 1024
	registers = 1 << 14
	// maxCentroids bounds a digest; values are put together beyond it.
	maxCentroids = 4096
)

// register writes the register of a hash and its rank in it: the first 14 bits,
// and the place of the first one among the next 44.
func register(h string) (at, rank string) {
	rest := "bitShiftRight(bitShiftLeft(" + h + ", 14), 20)"
	return "toUInt16(bitShiftRight(" + h + ", 50))", "toUInt8(if(" + rest + " = 0, 45, 44 - floor(log2(greatest(" + rest + ", 1)))))"
}

// hllText writes a state from the few distinct hashes, or from registers.
func (g *gen) hllText(few, regs, dense string) string {
	f, r := g.hoist(val{k: kArray, sql: few}), g.hoist(val{k: kArray, sql: regs})
	x := g.variable()
	list := "arrayStringConcat(arrayMap(" + x + " -> concat('\"', toString(reinterpretAsInt64(" + x + ")), '\"'), arraySort(" + f.sql + ")), ',')"
	none, test := "empty("+f.sql+")", "length("+f.sql+") <= "+itoa(hllFew)
	if dense != "" {
		none, test = none+" AND NOT "+dense, test+" AND NOT "+dense
	}
	return "multiIf(" + none + ", NULL, " + test + ", concat('" + hllHead + "[', " + list + ", '],[]]'), concat('" + hllHead + "[],', toJSONString(" + r.sql + "), ']'))"
}

// hll writes the state of values' hashes.
func (g *gen) hll(agg func(string, ...string) string, v val) val {
	cond := ""
	if v.null {
		cond = "isNotNull(" + v.sql + ")"
	}
	h := g.hoist(val{k: kLong, sql: hash64(g, v)}).sql
	at, rank := register(h)
	few := filtered(agg("groupUniqArray", h), "groupUniqArray", "("+itoa(hllFew+1)+")", cond)
	regs := filtered(agg("maxMap", "["+at+"]", "["+rank+"]"), "maxMap", "", cond)
	return call(kJSON, true, g.hllText(few, regs, ""))
}

// filtered adds parameters and a condition to the call of an aggregate, which may
// have a condition already.
func filtered(sql, name, params, cond string) string {
	if cond == "" {
		return strings.Replace(strings.Replace(sql, name+"If(", name+"If"+params+"(", 1), name+"(", name+params+"(", 1)
	}
	if rest, ok := strings.CutPrefix(sql, name+"If("); ok {
		return name + "If" + params + "(" + strings.TrimSuffix(rest, ")") + " AND " + cond + ")"
	}
	return name + "If" + params + strings.TrimSuffix(strings.TrimPrefix(sql, name), ")") + ", " + cond + ")"
}

// hllParts writes the hashes of a state, and its registers and ranks, those of the
// hashes included.
func (g *gen) hllParts(v val) (hashes, at, rank string) {
	j := g.hoist(val{k: kText, sql: nonNull(g.json(v))}).sql
	x := g.variable()
	list := g.hoist(val{k: kArray, sql: "arrayMap(" + x + " -> reinterpretAsUInt64(toInt64OrZero(" + x + ")), JSONExtract(" + j + ", 2, 'Array(String)'))"}).sql
	a, r := register(x)
	return list, "arrayConcat(arrayMap(" + x + " -> " + a + ", " + list + "), JSONExtract(" + j + ", 3, 1, 'Array(UInt16)'))",
		"arrayConcat(arrayMap(" + x + " -> " + r + ", " + list + "), arrayResize(JSONExtract(" + j + ", 3, 2, 'Array(UInt8)'), length(JSONExtract(" + j + ", 3, 1, 'Array(UInt16)')), 0))"
}

// hllMerge writes the state of all states of a group.
func (g *gen) hllMerge(v val) val {
	list, at, rank := g.hllParts(v)
	dense := "(max(length(" + at + ") > length(" + list + ")) > 0)"
	return call(kJSON, true, g.hllText("groupUniqArrayArray("+itoa(hllFew+1)+")("+list+")", "maxMap("+at+", "+rank+")", dense))
}

// digestText writes a digest from sorted values (numbers, or the text of numbers)
// and their weights.
func (g *gen) digestText(head, values, weights string) string {
	text := func(v, w string) string {
		return "concat('[', " + head + ", ',[', arrayStringConcat(arrayMap(x -> toString(x), " + v + "), ','), '],', toJSONString(" + w + "), ']')"
	}
	return g.let(values, func(v string) string {
		return g.let(weights, func(w string) string {
			// Too many: those that share a place in a grid of ranks are put together.
			return "if(length(" + v + ") <= " + itoa(maxCentroids) + ", " + text(v, w) + ", " + g.let("greatest(intDiv(arraySum("+w+"), "+itoa(maxCentroids/2)+"), 1)", func(size string) string {
				return g.let("arrayMap((x, y) -> intDiv(x - y, "+size+"), arrayCumSum("+w+"), "+w+")", func(place string) string {
					return g.let("arrayMap((x, y) -> x != y, "+place+", arrayPushFront(arrayPopBack("+place+"), toInt64(-1)))", func(first string) string {
						middle := "arrayMap(x -> x[toInt64(intDiv(length(x) + 1, 2))], arraySplit((x, y) -> y, " + v + ", " + first + "))"
						sums := "arrayMap(x -> arraySum(x), arraySplit((x, y) -> y, " + w + ", " + first + "))"
						return text(middle, sums)
					})
				})
			}) + ")"
		})
	})
}

// tdigest writes the digest of values, which may have weights.
func (g *gen) tdigest(agg func(string, ...string) string, a []val) val {
	v, head := a[0], "'[7]'"
	switch v.k {
	case kInt, kLong, kTimespan:
	case kDatetime:
		head = `'[7,"datetime"]'`
		v = val{k: kLong, null: v.null, sql: g.ticks(v) + " + " + itoa(plan.UnixEpochTicks)}
	default:
		v = g.num(v, kReal)
	}
	w, cond := "toInt64(1)", ""
	if len(a) > 1 {
		n := g.num(a[1], kLong)
		w, cond = "assumeNotNull(greatest(ifNull("+n.sql+", 0), 0))", "ifNull("+n.sql+", 0) > 0"
	}
	x := v.sql
	if v.null {
		x = "assumeNotNull(" + x + ")"
		if cond != "" {
			cond += " AND "
		}
		cond += "isNotNull(" + v.sql + ")"
	}
	m := g.named("digest", val{k: kArray, sql: filtered(agg("sumMap", "["+x+"]", "["+w+"]"), "sumMap", "", cond)})
	return g.digestOf(head, m)
}

// digestPairs writes the values of a digest as text, with their weights.
func (g *gen) digestPairs(v val) (j, pairs string) {
	j = g.hoist(val{k: kText, sql: nonNull(g.json(v))}).sql
	vs := "JSONExtractArrayRaw(" + j + ", 2)"
	return j, "arrayZip(" + vs + ", arrayResize(JSONExtract(" + j + ", 3, 'Array(Int64)'), length(" + vs + "), 0))"
}

// joinedDigest writes the digest of all pairs of value and weight.
func (g *gen) joinedDigest(head, pairs string) val {
	p := g.named("pairs", val{k: kArray, sql: "arraySort(x -> (toFloat64OrZero(x.1), toInt64OrZero(x.1)), " + pairs + ")"})
	return g.digestOf(head, p)
}

// digestOf writes the digest of sorted values and their weights, null for none.
func (g *gen) digestOf(head string, p val) val {
	return call(kJSON, true, "if(empty("+p.sql+".1), NULL, "+g.digestText(head, p.sql+".1", p.sql+".2")+")")
}

// digestHead writes the head of a digest.
func digestHead(j string) string {
	return "if(position(" + j + ", '\"datetime\"]') > 0, '[7,\"datetime\"]', '[7]')"
}

// digestAt writes the text of a digest's value at a percentage, and its head.
func (g *gen) digestAt(v val, share string) (text, head string) {
	j, pairs := g.digestPairs(v)
	p := g.named("pairs", val{k: kArray, sql: pairs})
	text = g.let("arrayCumSum("+p.sql+".2)", func(c string) string {
		x := g.variable()
		return p.sql + "[arrayFirstIndex(" + x + " -> " + x + " >= greatest(1, ceil((" + share + ") / 100 * " + c + "[-1])), " + c + ")].1"
	})
	return text, digestHead(j)
}

// digestValue makes a value of the text of a number in a digest.
func (g *gen) digestValue(text, head string, t plan.Type) val {
	n := g.hoist(val{k: kString, sql: text})
	ticks := "toInt64OrNull(" + n.sql + ")"
	switch t {
	case plan.Datetime:
		return call(kDatetime, true, "if(isNull("+ticks+"), NULL, "+fromTicks("assumeNotNull("+ticks+") - "+itoa(plan.UnixEpochTicks))+")")
	case plan.Timespan:
		return call(kTimespan, true, ticks)
	case plan.Int, plan.Long, plan.Decimal, plan.Real:
		return g.num(call(kReal, true, "toFloat64OrNull("+n.sql+")"), kindOf(t))
	case plan.String:
		return n
	}
	date := g.json(call(kDatetime, false, fromTicks("ifNull("+ticks+", 0) - "+itoa(plan.UnixEpochTicks))))
	return call(kJSON, true, "multiIf("+n.sql+" = '', NULL, position("+head+", 'datetime') > 0, "+date.sql+", "+n.sql+")")
}

// rank writes how many of a digest's values are not above a value, and of how many.
func (g *gen) rank(a []val) (below, all string) {
	_, pairs := g.digestPairs(a[0])
	p := g.named("pairs", val{k: kArray, sql: pairs})
	limit := g.num(a[1], kReal)
	if a[1].k == kDatetime || a[1].k == kTimespan {
		limit = call(kReal, a[1].null, "toFloat64("+g.ticks(a[1])+")")
		if a[1].k == kDatetime {
			limit.sql += " + " + itoa(plan.UnixEpochTicks)
		}
	}
	l := g.hoist(limit)
	return "arraySum(x -> if(ifNull(toFloat64OrZero(x.1) <= " + l.s() + ", 0), x.2, 0), " + p.sql + ")", "arraySum(x -> x.2, " + p.sql + ")"
}

var digestFunctions = map[string]function{
	"dcount_hll": func(g *gen, c *plan.Call, a []val) val {
		list, at, rank := g.hllParts(a[0])
		n := itoa(registers)
		ranks := g.hoist(val{k: kArray, sql: "arrayReduce('maxMap', [" + at + "], [" + rank + "]).2"}).sql
		// Harmonic mean of the registers; for few of them, how many are empty.
		sum := "(arraySum(x -> exp2(-x), " + ranks + ") + " + n + " - length(" + ranks + "))"
		estimate := "0.7213 / (1 + 1.079 / " + n + ") * " + n + " * " + n + " / " + sum
		empty := "(" + n + " - length(" + ranks + "))"
		return call(kLong, true, "multiIf(NOT startsWith("+nonNull(g.json(a[0]))+", '"+hllHead+"'), NULL, length("+list+") = length("+at+"), toInt64(length("+list+")), toInt64(round(if("+estimate+" <= 2.5 * "+n+" AND "+empty+" > 0, "+n+" * log("+n+" / "+empty+"), "+estimate+"))))")
	},
	"hll_merge": func(g *gen, c *plan.Call, a []val) val {
		var lists, ats, ranks, dense []string
		for _, v := range a {
			l, at, r := g.hllParts(v)
			lists, ats, ranks = append(lists, l), append(ats, at), append(ranks, r)
			dense = append(dense, "length("+at+") > length("+l+")")
		}
		few := "arrayDistinct(arrayConcat(" + strings.Join(lists, ", ") + "))"
		regs := "arrayReduce('maxMap', [" + strings.Join(ats, ", ") + "], [" + strings.Join(ranks, ", ") + "])"
		return call(kJSON, true, g.hllText(few, regs, "("+strings.Join(dense, " OR ")+")"))
	},
	"tdigest_merge": func(g *gen, c *plan.Call, a []val) val {
		var all []string
		head := ""
		for i, v := range a {
			j, p := g.digestPairs(v)
			all = append(all, p)
			if i == 0 {
				head = digestHead(j)
			}
		}
		return g.joinedDigest(head, "arrayConcat("+strings.Join(all, ", ")+")")
	},
	"percentile_tdigest": func(g *gen, c *plan.Call, a []val) val {
		p := g.num(a[1], kReal)
		text, head := g.digestAt(a[0], p.s())
		return g.digestValue(text, head, c.T)
	},
	"percentiles_array_tdigest": func(g *gen, c *plan.Call, a []val) val {
		var shares string
		if c.Args[1].Type() == plan.Dynamic {
			shares = g.reals(a[1]).sql
		} else {
			var list []string
			for _, v := range a[1:] {
				list = append(list, g.num(v, kReal).sql)
			}
			shares = "[" + strings.Join(list, ", ") + "]"
		}
		x := g.variable()
		text, head := g.digestAt(a[0], x)
		b := g.b
		g.b = nil // what a lambda reads cannot be hoisted out of it
		t := g.variable()
		value := g.digestValue(t, head, plan.Dynamic)
		g.b = b
		return val{k: kArray, elem: kJSON, sql: "arrayMap(" + x + " -> " + let(t, text, "ifNull("+value.sql+", 'null')") + ", " + shares + ")"}
	},
	"rank_tdigest": func(g *gen, c *plan.Call, a []val) val {
		below, all := g.rank(a)
		return call(kReal, true, "if("+all+" = 0, NULL, toFloat64("+below+"))")
	},
	"percentrank_tdigest": func(g *gen, c *plan.Call, a []val) val {
		below, all := g.rank(a)
		return call(kReal, true, "if("+all+" = 0, NULL, 100 * "+below+" / "+all+")")
	},
}
