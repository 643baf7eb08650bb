package chsql

import (
	"strings"

	"hubscope/query/plan"
)

var dynamicFunctions = map[string]function{
	"array_length": func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		if v.path == nil && v.k == kArray {
			return call(kLong, false, "toInt64(length("+v.sql+"))")
		}
		if v.path != nil {
			sql, args := pathArgs(v)
			return call(kLong, true, "if(JSONType("+sql+args+") = 'Array', toInt64(JSONLength("+sql+args+")), NULL)")
		}
		if v.k != kJSON && v.k != kText {
			return nullOf(kLong)
		}
		h := g.hoist(val{sql: nonNull(v), k: kText})
		return call(kLong, true, "if(JSONType("+h.sql+") = 'Array', toInt64(JSONLength("+h.sql+")), NULL)")
	},
	"array_concat": func(g *gen, c *plan.Call, a []val) val {
		if elem, ok := sameElems(a); ok {
			return val{k: kArray, elem: elem, sql: "arrayConcat(" + joinSQL(a) + ")"}
		}
		parts := make([]string, len(a))
		for i, v := range a {
			parts[i] = g.raws(v).sql
		}
		return val{k: kArray, elem: kJSON, sql: "arrayConcat(" + strings.Join(parts, ", ") + ")"}
	},
	"array_iff": arrayIff,
	"array_index_of": func(g *gen, c *plan.Call, a []val) val {
		arr := g.hoist(g.raws(a[0]))
		x := g.json(a[1])
		needle := g.hoist(val{sql: "ifNull(" + x.sql + ", 'null')", k: kJSON})
		if len(a) == 2 {
			return call(kLong, false, "toInt64(indexOf("+arr.sql+", "+needle.sql+")) - 1").infix()
		}
		size := "toInt64(length(" + arr.sql + "))"
		start := g.num(a[2], kLong)
		from := g.hoist(val{k: kLong, sql: "if(ifNull(" + start.sql + ", 0) < 0, greatest(" + size + " + ifNull(" + start.sql + ", 0), 0), ifNull(" + start.sql + ", 0))"})
		to := size
		if len(a) > 3 {
			n := g.num(a[3], kLong)
			to = "if(ifNull(" + n.sql + ", -1) < 0, " + size + ", " + from.sql + " + ifNull(" + n.sql + ", 0))"
		}
		nth := "1"
		if len(a) > 4 {
			nth = g.num(a[4], kLong).lit()
		}
		none, never := g.noPlace(a)
		if never {
			return nullOf(kLong)
		}
		found := g.hoist(val{k: kArray, elem: kLong, sql: "arrayFilter(i -> " + arr.sql + "[i] = " + needle.sql + " AND i > " + from.sql + " AND i <= " + to + ", arrayEnumerate(" + arr.sql + "))"})
		sql := "if(length(" + found.sql + ") >= " + nth + " AND " + nth + " > 0, toInt64(" + found.sql + "[" + nth + "]) - 1, toInt64(-1))"
		if none != "" {
			return call(kLong, true, "if("+none+", NULL, "+sql+")")
		}
		return call(kLong, false, sql)
	},
	"array_slice": func(g *gen, c *plan.Call, a []val) val {
		arr := g.hoist(g.array(a[0]))
		size := "toInt64(length(" + arr.sql + "))"
		at := func(v val) string {
			n := g.num(v, kLong)
			if k, ok := n.constInt(); ok {
				if k >= 0 {
					return itoa(k)
				}
				return "(" + size + " - " + itoa(-k) + ")"
			}
			h := g.hoist(n)
			return "if(ifNull(" + h.sql + ", 0) < 0, " + size + " + ifNull(" + h.sql + ", 0), ifNull(" + h.sql + ", 0))"
		}
		from := "greatest(" + at(a[1]) + ", 0)"
		arr.sql = "arraySlice(" + arr.sql + ", " + from + " + 1, greatest(" + at(a[2]) + " - " + from + " + 1, 0))"
		return arr
	},
	"array_split":        arraySplit,
	"array_shift_left":   func(g *gen, c *plan.Call, a []val) val { return arrayShift(g, a, "arrayShiftLeft") },
	"array_shift_right":  func(g *gen, c *plan.Call, a []val) val { return arrayShift(g, a, "arrayShiftRight") },
	"array_rotate_left":  func(g *gen, c *plan.Call, a []val) val { return arrayRotate(g, a, "arrayRotateLeft") },
	"array_rotate_right": func(g *gen, c *plan.Call, a []val) val { return arrayRotate(g, a, "arrayRotateRight") },
	"array_reverse": func(g *gen, c *plan.Call, a []val) val {
		arr := g.array(a[0])
		arr.sql = "arrayReverse(" + arr.sql + ")"
		return arr
	},
	"bag_keys": func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		sql, args := pathArgs(v)
		if v.path == nil {
			sql = g.hoist(val{sql: nonNull(g.json(v)), k: kText}).sql
		}
		return call(kJSON, true, "if(JSONType("+sql+args+") = 'Object', toJSONString(JSONExtractKeys("+sql+args+")), NULL)")
	},
	"bag_has_key": func(g *gen, c *plan.Call, a []val) val {
		v := val{sql: nonNull(g.json(a[0])), k: kText}
		key, ok := a[1].constString()
		if ok && strings.HasPrefix(key, "$.") {
			steps, ok := jsonPath(key)
			if ok {
				r := v
				for _, s := range steps {
					if s.index != "" {
						r = g.element(r, constant(&plan.Const{T: plan.Long, Int: s.n}))
					} else {
						r = g.property(r, quote(s.key))
					}
				}
				sql, args := pathArgs(r)
				if args == "" {
					return cond(false, sql+" != ''")
				}
				return call(kCond, false, "JSONHas("+sql+args+")")
			}
		}
		h := g.hoist(v)
		return cond(false, "JSONType("+h.sql+") = 'Object' AND has(JSONExtractKeys("+h.sql+"), "+g.str(a[1]).sql+")")
	},
	"bag_merge": func(g *gen, c *plan.Call, a []val) val {
		parts := make([]string, len(a))
		for i, v := range a {
			parts[i] = "JSONExtractKeysAndValuesRaw(" + nonNull(g.json(v)) + ")"
		}
		return bagOf(g, "arrayConcat("+strings.Join(parts, ", ")+")", nil)
	},
	"bag_pack":        bagPack,
	"bag_remove_keys": bagRemoveKeys,
	"bag_set_key": func(g *gen, c *plan.Call, a []val) val {
		bag := g.hoist(g.json(a[0]))
		value := g.json(a[2])
		set := value.sql
		if value.null {
			set = "ifNull(" + set + ", 'null')"
		}
		var keys []string
		if text, ok := a[1].constString(); ok && strings.HasPrefix(text, "$") {
			if steps, ok := jsonPath(text); ok && len(steps) > 0 {
				for _, s := range steps {
					keys = append(keys, quote(s.key))
				}
			}
		}
		if keys == nil {
			keys = []string{g.hoist(g.str(a[1])).sql}
		}
		is := "startsWith(" + nonNull(bag) + ", '{')"
		return call(kJSON, true, "if("+is+", "+g.setKey("if("+is+", "+nonNull(bag)+", '{}')", keys, set)+", NULL)")
	},
	"bag_zip": func(g *gen, c *plan.Call, a []val) val {
		// Keys that are no strings are left out; without an array of keys: null.
		k, v := g.hoist(g.raws(a[0])), g.raws(a[1])
		pairs := "arrayMap(x -> (JSONExtractString(x.1), x.2), arrayFilter(x -> startsWith(x.1, '\"'), arrayZip(" + k.sql + ", arrayResize(" + v.sql + ", length(" + k.sql + "), 'null'))))"
		bag := bagOf(g, pairs, nil)
		if a[0].path == nil && a[0].k == kArray {
			return bag
		}
		return call(kJSON, true, "if(startsWith("+nonNull(g.json(a[0]))+", '['), "+bag.sql+", NULL)")
	},
	"pack_all": func(g *gen, c *plan.Call, a []val) val {
		skip := a[0].c != nil && a[0].c.Int != 0
		if !skip {
			return bagPack(g, c, a[1:])
		}
		var parts []string
		for i := 1; i+1 < len(a); i += 2 {
			v := g.json(a[i+1])
			key, _ := a[i].constString()
			lead := quote(string(append(plan.AppendJSONString(nil, key), ':')))
			empty := ""
			switch {
			case c.Args[i+1].Type() == plan.String:
				h := g.hoist(g.str(a[i+1]))
				v, empty = g.json(h), h.sql+" = ''"
			case v.null:
				h := g.hoist(v)
				v, empty = h, "isNull("+h.sql+")"
			}
			part := "concat(" + lead + ", assumeNotNull(" + v.sql + "))"
			if empty != "" {
				part = "if(" + empty + ", '', " + part + ")"
			}
			parts = append(parts, part)
		}
		if len(parts) == 0 {
			return constant(&plan.Const{T: plan.Dynamic, Text: "{}"})
		}
		return call(kJSON, false, "concat('{', arrayStringConcat(arrayFilter(x -> x != '', ["+strings.Join(parts, ", ")+"]), ','), '}')")
	},
	"pack_array": func(g *gen, c *plan.Call, a []val) val {
		if len(a) == 0 { // pack_array(*) of rows without columns
			return constant(&plan.Const{T: plan.Dynamic, Text: "[]"})
		}
		// Arguments of one type stay an array of it.
		k := a[0].k
		same := true
		for i, v := range a {
			same = same && v.path == nil && v.k == k && !v.null && c.Args[i].Type() != plan.Dynamic
		}
		if same && (k == kString || k == kLong || k == kReal) {
			return val{k: kArray, elem: k, sql: "[" + joinSQL(a) + "]"}
		}
		parts := make([]string, len(a))
		for i, v := range a {
			j := g.json(v)
			parts[i] = j.sql
			if j.null {
				parts[i] = "ifNull(" + j.sql + ", 'null')"
			}
		}
		return val{k: kArray, elem: kJSON, sql: "[" + strings.Join(parts, ", ") + "]"}
	},
	"range": func(g *gen, c *plan.Call, a []val) val {
		t := c.Args[0].Type()
		stop := a[1]
		switch {
		case t == plan.Real || c.Args[1].Type() == plan.Real || len(a) > 2 && c.Args[2].Type() == plan.Real:
			f, to := g.hoist(g.num(a[0], kReal)), g.num(stop, kReal)
			step := val{sql: "1.", k: kReal, atom: true}
			if len(a) > 2 {
				step = g.hoist(g.num(a[2], kReal))
			}
			n := "toUInt64(ifNull(least(greatest(floor((" + to.s() + " - " + f.s() + ") / " + step.s() + " + 1e-9) + 1, 0), 1048576), 0))"
			return val{k: kArray, elem: kReal, sql: "arrayMap(i -> assumeNotNull(" + f.s() + ") + i * assumeNotNull(" + step.s() + "), range(" + n + "))"}
		case t == plan.Datetime || t == plan.Timespan:
			elem := kindOf(t)
			f, to := g.hoist(val{sql: g.ticks(a[0]), k: kLong, null: a[0].null}), g.ticks(stop)
			step := itoa(plan.TicksPerHour)
			if len(a) > 2 {
				step = g.hoist(a[2]).s()
			}
			n := "toUInt64(ifNull(least(greatest(if((" + to + " - " + f.s() + ") * sign(" + step + ") < 0, 0, intDivOrNull(" + to + " - " + f.s() + ", " + step + ") + 1), 0), 1048576), 0))"
			e := "toInt64(assumeNotNull(" + f.s() + ") + toInt64(i) * assumeNotNull(" + step + "))"
			if elem == kDatetime {
				e = fromTicks(e)
			}
			return val{k: kArray, elem: elem, sql: "arrayMap(i -> " + e + ", range(" + n + "))"}
		}
		f, to := g.hoist(g.num(a[0], kLong)), g.num(stop, kLong)
		step := val{sql: "1", k: kLong, atom: true}
		if len(a) > 2 {
			step = g.hoist(g.num(a[2], kLong))
		}
		n := "toUInt64(ifNull(least(greatest(if((" + to.s() + " - " + f.s() + ") * sign(" + step.s() + ") < 0, 0, intDivOrNull(" + to.s() + " - " + f.s() + ", " + step.s() + ") + 1), 0), 1048576), 0))"
		return val{k: kArray, elem: kLong, sql: "arrayMap(i -> toInt64(assumeNotNull(" + f.s() + ") + toInt64(i) * assumeNotNull(" + step.s() + ")), range(" + n + "))"}
	},
	"repeat": func(g *gen, c *plan.Call, a []val) val {
		n := g.num(a[1], kLong)
		v := a[0]
		if v.path == nil && !v.null && (v.k == kString || v.k == kLong || v.k == kReal) {
			return call(kJSON, true, "if("+n.s()+" >= 0, "+g.arrayJSON(val{k: kArray, elem: v.k, sql: "arrayWithConstant(least(greatest(ifNull(" + n.sql + ", 0), 0), " + itoa(maxRepeat) + "), " + v.sql + ")"})+", NULL)")
		}
		j := g.json(v)
		sql := j.sql
		if j.null {
			sql = "ifNull(" + sql + ", 'null')"
		}
		return call(kJSON, true, "if("+n.s()+" >= 0, concat('[', arrayStringConcat(arrayWithConstant(least(greatest(ifNull("+n.sql+", 0), 0), "+itoa(maxRepeat)+"), "+sql+"), ','), ']'), NULL)")
	},
	"set_has_element": func(g *gen, c *plan.Call, a []val) val {
		if a[0].path == nil && a[0].k == kArray && a[0].elem == kString && a[1].path == nil && a[1].k == kString {
			return call(kCond, false, "has("+a[0].sql+", "+a[1].sql+")")
		}
		j := g.json(a[1])
		sql := j.sql
		if j.null {
			sql = "ifNull(" + sql + ", 'null')"
		}
		return call(kCond, false, "has("+g.raws(a[0]).sql+", "+sql+")")
	},
	"set_union": func(g *gen, c *plan.Call, a []val) val {
		return setOp(g, a, func(parts []string) string {
			return "arrayDistinct(arrayConcat(" + strings.Join(parts, ", ") + "))"
		})
	},
	"set_intersect": func(g *gen, c *plan.Call, a []val) val {
		return setOp(g, a, func(parts []string) string {
			conds := make([]string, len(parts)-1)
			for i, p := range parts[1:] {
				conds[i] = "has(" + p + ", x)"
			}
			return "arrayDistinct(arrayFilter(x -> " + strings.Join(conds, " AND ") + ", " + parts[0] + "))"
		})
	},
	"set_difference": func(g *gen, c *plan.Call, a []val) val {
		return setOp(g, a, func(parts []string) string {
			conds := make([]string, len(parts)-1)
			for i, p := range parts[1:] {
				conds[i] = "NOT has(" + p + ", x)"
			}
			return "arrayDistinct(arrayFilter(x -> " + strings.Join(conds, " AND ") + ", " + parts[0] + "))"
		})
	},
	"set_equals": func(g *gen, c *plan.Call, a []val) val {
		return cond(false, "arraySort(arrayDistinct("+g.raws(a[0]).sql+")) = arraySort(arrayDistinct("+g.raws(a[1]).sql+"))")
	},
	"jaccard_index": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.hoist(val{k: kArray, elem: kJSON, sql: "arrayDistinct(" + g.raws(a[0]).sql + ")"}), g.hoist(val{k: kArray, elem: kJSON, sql: "arrayDistinct(" + g.raws(a[1]).sql + ")"})
		return call(kReal, false, "length(arrayFilter(x -> has("+r.sql+", x), "+l.sql+")) / length(arrayDistinct(arrayConcat("+l.sql+", "+r.sql+")))").infix()
	},
	"treepath": func(g *gen, c *plan.Call, a []val) val {
		return treepath(g, g.json(a[0]))
	},
	"zip": func(g *gen, c *plan.Call, a []val) val {
		parts := make([]string, len(a))
		size := make([]string, len(a))
		for i, v := range a {
			r := g.hoist(g.raws(v))
			parts[i], size[i] = r.sql, "length("+r.sql+")"
		}
		n := "arrayMax([" + strings.Join(size, ", ") + "])"
		elems := make([]string, len(a))
		for i, p := range parts {
			elems[i] = "if(i <= length(" + p + "), " + p + "[i], 'null')"
		}
		return val{k: kArray, elem: kJSON, sql: "arrayMap(i -> concat('[', arrayStringConcat([" + strings.Join(elems, ", ") + "], ','), ']'), range(1, " + n + " + 1))"}
	},
	// With one array they are values, with more of them see multiFunctions.
	"array_sort_asc":  func(g *gen, c *plan.Call, a []val) val { return arraySort(g, c, a, false)[0] },
	"array_sort_desc": func(g *gen, c *plan.Call, a []val) val { return arraySort(g, c, a, true)[0] },
}

func joinSQL(a []val) string {
	parts := make([]string, len(a))
	for i, v := range a {
		parts[i] = v.sql
	}
	return strings.Join(parts, ", ")
}

// sameElems says whether all values are arrays of elements held alike.
func sameElems(a []val) (kind, bool) {
	for _, v := range a {
		if v.path != nil || v.k != kArray || v.elem != a[0].elem || v.elemNull {
			return 0, false
		}
	}
	return a[0].elem, true
}

// array returns a dynamic array in the form it has, or as JSON texts.
func (g *gen) array(v val) val {
	if v.path == nil && v.k == kArray {
		return v
	}
	return g.raws(v)
}

// setOp applies an operation on arrays whose elements are held alike.
func setOp(g *gen, a []val, f func(parts []string) string) val {
	elem, same := sameElems(a)
	parts := make([]string, len(a))
	for i, v := range a {
		if !same {
			v = g.raws(v)
		}
		parts[i] = g.hoist(v).sql
	}
	if !same {
		elem = kJSON
	}
	return val{k: kArray, elem: elem, sql: f(parts)}
}

// setKey writes a bag with a value at a path of keys. What is no bag on the way
// becomes one.
func (g *gen) setKey(bag string, keys []string, value string) string {
	return g.let("JSONExtractKeysAndValuesRaw("+bag+")", func(pairs string) string {
		x := g.variable()
		old := "arrayFirst(" + x + " -> " + x + ".1 = " + keys[0] + ", " + pairs + ").2"
		if len(keys) > 1 {
			value = g.setKey("if(startsWith("+old+", '{'), "+old+", '{}')", keys[1:], value)
		}
		return g.let("("+keys[0]+", "+value+")", func(pair string) string {
			return pairsJSON("if(arrayExists(" + x + " -> " + x + ".1 = " + pair + ".1, " + pairs + "), arrayMap(" + x + " -> if(" + x + ".1 = " + pair + ".1, " + pair + ", " + x + "), " + pairs + "), arrayPushBack(" + pairs + ", " + pair + "))")
		})
	})
}

// bagOf makes a bag of an array of keys and raw values; the first of a key wins.
// size bounds the number of its keys, if it is given.
func bagOf(g *gen, pairs string, size []val) val {
	h := g.hoist(val{k: kArray, elem: kJSON, sql: pairs})
	first := limitArray(val{sql: "arrayFilter((x, i) -> indexOf(" + h.sql + ".1, x.1) = i, " + h.sql + ", arrayEnumerate(" + h.sql + "))"}, size)
	return call(kJSON, false, pairsJSON(first.sql))
}

// pairsJSON writes an array of (key, raw value) as a bag.
func pairsJSON(pairs string) string {
	return "concat('{', arrayStringConcat(arrayMap(x -> concat(toJSONString(x.1), ':', x.2), " + pairs + "), ','), '}')"
}

// bagPack makes a bag of keys and values.
func bagPack(g *gen, c *plan.Call, a []val) val {
	if len(a) == 0 {
		return constant(&plan.Const{T: plan.Dynamic, Text: "{}"})
	}
	var parts []string
	lead := "{"
	seen := map[string]bool{}
	for i := 0; i+1 < len(a); i += 2 {
		j := g.json(a[i+1])
		sql := j.sql
		if j.null {
			sql = "ifNull(" + sql + ", 'null')"
		}
		if key, ok := a[i].constString(); ok {
			if seen[key] {
				continue
			}
			seen[key] = true
			parts = append(parts, quote(lead+string(plan.AppendJSONString(nil, key))+":"), sql)
		} else {
			parts = append(parts, quote(lead), "toJSONString("+g.str(a[i]).sql+")", "':'", sql)
		}
		lead = ","
	}
	parts = append(parts, "'}'")
	return call(kJSON, false, "concat("+strings.Join(parts, ", ")+")")
}

func arrayIff(g *gen, c *plan.Call, a []val) val {
	conds := g.hoist(g.raws(a[0]))
	branch := func(i int) string {
		v := a[i]
		scalar := c.Args[i].Type() != plan.Dynamic
		if scalar {
			j := g.json(v)
			return "ifNull(" + j.sql + ", 'null')"
		}
		j := g.hoist(g.json(v))
		arr := g.hoist(g.raws(j))
		return "if(startsWith(ifNull(" + j.sql + ", ''), '['), if(i <= length(" + arr.sql + "), " + arr.sql + "[i], 'null'), ifNull(" + j.sql + ", 'null'))"
	}
	t, f := branch(1), branch(2)
	// Numbers count as conditions; anything else gives null.
	test := conds.sql + "[i]"
	return val{k: kArray, elem: kJSON, sql: "arrayMap(i -> multiIf(" + test + " = 'true' OR (match(" + test + ", '^-?[0-9.]') AND toFloat64OrZero(" + test + ") != 0), " + t + ", " + test + " = 'false' OR match(" + test + ", '^-?[0-9.]'), " + f + ", 'null'), arrayEnumerate(" + conds.sql + "))"}
}

func arraySplit(g *gen, c *plan.Call, a []val) val {
	arr := g.hoist(g.raws(a[0]))
	size := "toInt64(length(" + arr.sql + "))"
	var at string
	if c.Args[1].Type() == plan.Dynamic {
		at = "arrayMap(x -> toInt64(ifNull(x, 0)), " + g.reals(a[1]).sql + ")"
	} else {
		at = "[" + g.num(a[1], kLong).sql + "]"
	}
	cuts := g.hoist(val{k: kArray, elem: kLong, sql: "arraySort(arrayMap(x -> least(if(x < 0, greatest(" + size + " + x, 0), x), " + size + "), " + at + "))"})
	return val{k: kArray, elem: kJSON, sql: "arrayMap((f, t) -> concat('[', arrayStringConcat(arraySlice(" + arr.sql + ", f + 1, t - f), ','), ']'), arrayPushFront(" + cuts.sql + ", toInt64(0)), arrayPushBack(" + cuts.sql + ", " + size + "))"}
}

func arrayShift(g *gen, a []val, f string) val {
	arr := g.raws(a[0])
	fill := "'null'"
	if len(a) > 2 {
		j := g.json(a[2])
		fill = "ifNull(" + j.sql + ", 'null')"
	}
	n := g.num(a[1], kLong)
	return val{k: kArray, elem: kJSON, sql: f + "(" + arr.sql + ", " + n.lit() + ", " + fill + ")"}
}

func arrayRotate(g *gen, a []val, f string) val {
	arr := g.array(a[0])
	arr.sql = f + "(" + arr.sql + ", " + g.num(a[1], kLong).lit() + ")"
	return arr
}

// treepath lists the paths of a value: bags by key, arrays by [0], as deep as
// values are nested in practice.
func treepath(g *gen, v val) val {
	h := g.hoist(val{sql: nonNull(v), k: kText})
	// Each round replaces the paths found by those one level deeper.
	step := "arrayDistinct(arrayFlatten(arrayMap(p -> arrayConcat([p], multiIf(JSONType(p.2) = 'Object', arrayMap(x -> (concat(p.1, '[\\'', x.1, '\\']'), x.2), JSONExtractKeysAndValuesRaw(p.2)), JSONType(p.2) = 'Array', arrayMap(x -> (concat(p.1, '[0]'), x), JSONExtractArrayRaw(p.2)), [])), acc)))"
	sql := "arrayFold((acc, i) -> " + step + ", range(8), [('', " + h.sql + ")])"
	return val{k: kArray, elem: kString, sql: "arrayDistinct(arrayFilter(x -> x != '', arrayMap(x -> x.1, " + sql + ")))"}
}

// bagRemoveKeys drops keys. Constant names may be paths such as $.a.b, which drop
// a key of a bag inside.
func bagRemoveKeys(g *gen, c *plan.Call, a []val) val {
	h := g.hoist(val{sql: nonNull(g.json(a[0])), k: kText})
	keys := g.strings(a[1])
	plainKeys := "arrayFilter(x -> NOT has(" + keys.sql + ", x.1), JSONExtractKeysAndValuesRaw(" + h.sql + "))"
	if a[1].c != nil {
		var paths [][]string
		for _, k := range plan.StringElements(a[1].c.Text) {
			if steps, ok := jsonPath(k); ok && strings.HasPrefix(k, "$.") {
				var names []string
				for _, s := range steps {
					names = append(names, s.key)
				}
				paths = append(paths, names)
			} else {
				paths = append(paths, []string{k})
			}
		}
		plainKeys = removePaths(h.sql, paths)
	}
	return call(kJSON, true, "if(JSONType("+h.sql+") = 'Object', "+pairsJSON(plainKeys)+", NULL)")
}

// removePaths writes the pairs of a bag without those at some paths.
func removePaths(bag string, paths [][]string) string {
	var drop []string
	deeper := map[string][][]string{}
	var order []string
	for _, p := range paths {
		if len(p) == 1 {
			drop = append(drop, quote(p[0]))
			continue
		}
		if len(p) > 1 {
			if deeper[p[0]] == nil {
				order = append(order, p[0])
			}
			deeper[p[0]] = append(deeper[p[0]], p[1:])
		}
	}
	pairs := "JSONExtractKeysAndValuesRaw(" + bag + ")"
	if len(drop) > 0 {
		pairs = "arrayFilter(x -> x.1 NOT IN (" + strings.Join(drop, ", ") + "), " + pairs + ")"
	}
	for _, key := range order {
		pairs = "arrayMap(x -> if(x.1 = " + quote(key) + " AND startsWith(x.2, '{'), (x.1, " + let("w", "x.2", pairsJSON(removePaths("w", deeper[key]))) + "), x), " + pairs + ")"
	}
	return pairs
}
