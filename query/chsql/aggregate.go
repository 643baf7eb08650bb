package chsql

import (
	"strconv"
	"strings"

	"hubscope/query/plan"
)

// aggregate groups rows. Keys and aggregates become aliases of one SELECT with
// the filter and the computed columns of its input.
func (g *gen) aggregate(n *plan.Aggregate, need set) *block {
	inner := g.newSet()
	for _, k := range n.Keys {
		inner.addExpr(k.X)
	}
	ordered := false
	for _, a := range n.Aggs {
		if need.has(a.Col.ID) {
			inner.addExpr(a.X)
			ordered = ordered || keepsOrder(a.X.(*plan.Agg))
		}
	}
	if n.Partition != nil {
		for _, id := range n.Partition.Keys {
			inner.add(id)
		}
		for _, id := range n.Partition.Carry {
			if need.has(id) {
				inner.add(id)
			}
		}
	}
	b := g.unlimited(g.node(n.In, inner), inner)
	g.b = b
	place := ""
	if ordered && len(b.order) > 0 {
		place = g.ordinalIn(&b, inner)
	}
	b.order, b.natural = nil, false
	g.place = place
	g.ranks = ranksOf(n, need)
	b.out = nil
	var keys []binding
	for _, k := range n.Keys {
		v := g.expr(k.X)
		if v.path != nil {
			v = g.read(v)
		}
		switch v.k {
		case kText, kArray:
			v = g.json(v)
		}
		bd := binding{v: v}
		if key := v.groupedBy(); key != "" {
			if _, named := identName(key); !named {
				bd = g.aliased(k.Col.Name, val{sql: key})
				bd.item.refs++
				key = bd.v.sql
			}
			b.group = append(b.group, key)
			keys = append(keys, binding{v: keyed(key, v.of)})
			continue
		}
		if _, ok := identName(v.sql); !ok {
			bd = g.aliased(k.Col.Name, v)
			if v.c != nil {
				// A constant key would be taken for the number of a column.
				bd.v.c = nil
			}
		}
		if bd.item != nil {
			bd.item.refs++
		}
		b.group = append(b.group, bd.v.sql)
		keys = append(keys, bd)
	}
	if n.Partition != nil {
		for _, id := range n.Partition.Keys {
			c := g.cols[id]
			if c.item != nil {
				c.item.refs++
			}
			v := c.v
			if v.path != nil {
				v = g.read(v)
			}
			b.group = append(b.group, v.sql)
		}
	}
	type result struct {
		id plan.ColID
		b  binding
	}
	var results []result
	shared := map[int]binding{}
	for _, a := range n.Aggs {
		if !need.has(a.Col.ID) {
			continue
		}
		agg := a.X.(*plan.Agg)
		var v val
		if agg.Group != 0 {
			v = g.aggregateOf(agg, n, need, shared)
		} else {
			v = g.aggregateCall(agg, len(n.Keys) == 0 && n.Partition == nil)
		}
		if v.atom {
			results = append(results, result{a.Col.ID, binding{v: v}})
			continue
		}
		results = append(results, result{a.Col.ID, g.aliased(a.Col.Name, v)})
	}
	var carried []result
	if n.Partition != nil {
		for _, id := range n.Partition.Keys {
			carried = append(carried, result{id, g.cols[id]})
		}
		for _, id := range n.Partition.Carry {
			if need.has(id) {
				c := g.cols[id]
				v := g.use(id)
				if v.path != nil {
					v = g.read(v)
				}
				v.sql = "any(" + v.sql + ")"
				v.atom, v.op, v.c = false, false, nil
				if v.null {
					v.sql = "any(tuple(" + c.v.sql + ")).1"
				}
				carried = append(carried, result{id, g.aliased("carry", v)})
			}
		}
	}
	for i, k := range n.Keys {
		g.cols[k.Col.ID] = keys[i]
		b.out = append(b.out, k.Col.ID)
	}
	for _, r := range append(results, carried...) {
		g.cols[r.id] = r.b
		b.out = append(b.out, r.id)
	}
	b.grouped = true
	g.place = ""
	return b
}

// ranksOf returns the percentages of the percentile calls, by their values.
func ranksOf(n *plan.Aggregate, need set) map[plan.Expr][]float64 {
	var ranks map[plan.Expr][]float64
	for _, it := range n.Aggs {
		a := it.X.(*plan.Agg)
		switch a.Func.Base {
		case "percentile", "percentiles":
			c, ok := a.Args[len(a.Args)-1].(*plan.Const)
			if !ok || !need.has(it.Col.ID) {
				continue
			}
			if ranks == nil {
				ranks = map[plan.Expr][]float64{}
			}
			ranks[a.Args[0]] = append(ranks[a.Args[0]], constFloat(constant(c)))
		}
	}
	return ranks
}

// keepsOrder says whether an aggregate's value depends on the order of rows.
func keepsOrder(a *plan.Agg) bool {
	switch a.Func.Base {
	case "make_list", "make_list_if", "make_list_with_nulls":
		return true
	}
	return false
}

// ordinalIn numbers the rows of a block in their order, and returns what the
// number is called.
func (g *gen) ordinalIn(b **block, need set) string {
	o := *b
	if len(o.order) == 1 && !o.order[0].desc && o.order[0].v.atom && !o.order[0].v.null && o.order[0].v.k == kLong {
		if o.order[0].item != nil {
			o.order[0].item.refs++
		}
		return o.order[0].v.sql
	}
	id := g.tempCol()
	g.cols[id] = g.aliased("place", val{k: kLong, sql: "row_number() OVER (" + g.orderClause(o) + ")"})
	o.out = append(o.out, id)
	o.windowed = true
	o.order = nil
	*b = g.wrap(o, need.with(id))
	g.b = *b
	return g.use(id).sql
}

// tempCol returns a column id that the plan does not use.
func (g *gen) tempCol() plan.ColID {
	g.cols = append(g.cols, binding{})
	return plan.ColID(len(g.cols) - 1)
}

// orderClause writes a block's order for a window.
func (g *gen) orderClause(b *block) string {
	var sb strings.Builder
	for i, k := range b.order {
		if i == 0 {
			sb.WriteString("ORDER BY ")
		} else {
			sb.WriteString(", ")
		}
		if k.item != nil {
			k.item.refs++
		}
		sb.WriteString(k.v.s())
		if k.desc {
			sb.WriteString(" DESC")
		}
		if k.v.null || k.v.k == kReal {
			if k.nullsLast {
				sb.WriteString(" NULLS LAST")
			} else {
				sb.WriteString(" NULLS FIRST")
			}
		}
	}
	return sb.String()
}

// aggregateOf writes a value of a call that returns several of one row: arg_max,
// arg_min, take_any. The call is written once, as a tuple.
func (g *gen) aggregateOf(a *plan.Agg, n *plan.Aggregate, need set, shared map[int]binding) val {
	// Which values of the call are read decides what the tuple holds.
	var picks []int
	for _, it := range n.Aggs {
		if o, ok := it.X.(*plan.Agg); ok && o.Group == a.Group && need.has(it.Col.ID) {
			picks = append(picks, o.Pick)
		}
	}
	extreme := a.Func.Base != "take_any"
	value := func(pick int) val {
		x := a.Of
		if extreme {
			if pick == 0 {
				return g.aggArg(a.Args[0])
			}
			return g.aggArg(x[pick-1])
		}
		return g.aggArg(x[pick])
	}
	if extreme && len(picks) == 1 && picks[0] == 0 {
		// Only the extreme itself is read.
		v := value(0)
		f := "max"
		if a.Func.Base == "arg_min" {
			f = "min"
		}
		return g.nullForNone(call(v.k, v.null, f+"("+v.sql+")"), f, n)
	}
	bd, ok := shared[a.Group]
	if !ok {
		var vals []string
		for _, p := range picks {
			vals = append(vals, value(p).sql)
		}
		tuple := "tuple(" + strings.Join(vals, ", ") + ")"
		var sql string
		if !extreme {
			sql = "any(" + tuple + ")"
		} else {
			by := value(0)
			f := "argMax"
			if a.Func.Base == "arg_min" {
				f = "argMin"
			}
			// Rows whose value is null lose, but a group of them still has a row.
			key := by.sql
			if by.k == kReal {
				by.null = true
			}
			if by.null {
				zero := zeroOf(by.k)
				if f == "argMax" {
					key = "tuple(isNotNull(" + by.sql + "), ifNull(" + by.sql + ", " + zero + "))"
				} else {
					key = "tuple(isNull(" + by.sql + "), ifNull(" + by.sql + ", " + zero + "))"
				}
			}
			sql = f + "(" + tuple + ", " + key + ")"
		}
		bd = g.aliased("row", val{sql: sql, k: kArray})
		shared[a.Group] = bd
	}
	bd.item.refs++
	place := 0
	for i, p := range picks {
		if p == a.Pick {
			place = i + 1
		}
	}
	v := value(a.Pick)
	r := val{sql: bd.v.sql + "." + strconv.Itoa(place), k: v.k, null: v.null, elem: v.elem, elemNull: v.elemNull}
	if len(n.Keys) == 0 && n.Partition == nil {
		// No row at all: null.
		if !r.null && r.k != kString && r.k != kArray {
			r = call(r.k, true, "if(count() = 0, NULL, "+r.sql+")")
		}
	}
	return r
}

// aggArg writes an argument of an aggregate as a plain value.
func (g *gen) aggArg(x plan.Expr) val {
	v := g.expr(x)
	if v.path != nil {
		v = g.read(v)
	}
	if v.k == kText {
		v = g.json(v)
	}
	if v.k == kCond {
		v = g.canonical(v, plan.Bool)
	}
	return v
}

func zeroOf(k kind) string {
	switch k {
	case kString, kJSON, kDynString, kText:
		return "''"
	case kDatetime:
		return "toDateTime64(0, 7, 'UTC')"
	case kGUID:
		return "toUUID('00000000-0000-0000-0000-000000000000')"
	case kBool:
		return "false"
	}
	return "0"
}

// nullForNone makes an aggregate null when there are no rows: without keys, one
// row comes out also of none.
func (g *gen) nullForNone(v val, f string, n *plan.Aggregate) val {
	if len(n.Keys) == 0 && n.Partition == nil && !v.null && v.k != kString {
		v.sql = strings.Replace(v.sql, f+"(", f+"OrNull(", 1)
		v.null = true
	}
	return v
}

// aggregateCall writes an aggregate. single says that there is one group, which
// may have no rows.
func (g *gen) aggregateCall(a *plan.Agg, single bool) val {
	base := a.Func.Base
	args := make([]val, len(a.Args))
	for i, x := range a.Args {
		args[i] = g.aggArg(x)
	}
	// The -if forms are their plain forms over some of the rows.
	filter := ""
	if a.Weight != nil {
		w := g.expr(a.Weight)
		if len(args) == 1 {
			return call(kLong, false, "toInt64(sumIf("+w.sql+", "+g.cond(a.Args[0], args[0])+"))")
		}
		return call(kLong, false, "toInt64(sum("+w.sql+"))")
	}
	switch {
	case base == "count" && len(args) == 1, base == "countif":
		return call(kLong, false, "toInt64(countIf("+g.cond(a.Args[0], args[0])+"))")
	case base == "make_list_if", base == "make_set_if", base == "make_bag_if", base == "dcountif", base == "take_anyif", base == "hll_if":
		filter = g.cond(a.Args[1], args[1])
		args = append(args[:1:1], args[2:]...)
		base = map[string]string{"make_list_if": "make_list", "make_set_if": "make_set", "make_bag_if": "make_bag", "dcountif": "dcount", "take_anyif": "take_anyif", "hll_if": "hll"}[base]
	case base == "covarianceif", base == "covariancepif":
		filter = g.cond(a.Args[2], args[2])
		args, base = args[:2], strings.TrimSuffix(base, "if")
	case strings.HasSuffix(base, "if") && len(args) == 2:
		filter = g.cond(a.Args[1], args[1])
		args, base = args[:1], strings.TrimSuffix(base, "if")
	}
	agg := func(name string, in ...string) string {
		if filter != "" {
			return name + "If(" + strings.Join(append(in, filter), ", ") + ")"
		}
		return name + "(" + strings.Join(in, ", ") + ")"
	}
	// orNull gives null for no rows; what may be null is null then anyway.
	orNull := func(k kind, name string, v val) val {
		if !v.null && (single || filter != "") && k != kString {
			return call(k, true, strings.Replace(agg(name, v.sql), "(", "OrNull(", 1))
		}
		return call(k, v.null, agg(name, v.sql))
	}
	// orZero gives the documented default for no rows, or none but nulls.
	// (summarize-operator, default values of aggregations)
	orZero := func(k kind, name string, v val, none string) val {
		sql := agg(name, v.sql)
		if v.null {
			sql = "ifNull(" + sql + ", " + none + ")"
		}
		return call(k, false, sql)
	}
	switch base {
	case "count":
		return call(kLong, false, "toInt64(count())")
	case "cnt":
		return call(kLong, false, "toInt64(count())")
	case "sum":
		k := kindOf(a.T)
		v := args[0]
		switch k {
		case kDatetime:
			return nullOf(kDatetime)
		case kTimespan:
		case kJSON:
			return g.json(orZero(kReal, "sum", g.num(v, kReal), "0"))
		default:
			if v.k != k && !(v.k == kInt && k == kLong) {
				v = g.num(v, k)
			}
		}
		r := orZero(k, "sum", v, zeroOf(k))
		if k == kDecimal {
			r.sql = "CAST(" + r.sql + ", '" + decimalType + "')"
		}
		return r
	case "avg":
		k := kindOf(a.T)
		v := args[0]
		switch k {
		case kTimespan, kDatetime:
			// Ticks since 1970 of a few rows do not fit 64 bits, nor a float.
			x := v.sql
			if k == kDatetime {
				x = g.ticks(v)
			}
			n := agg("count", x)
			mean := "toInt64(intDiv(ifNull(" + agg("sum", "toInt128("+x+")") + ", 0), greatest(" + n + ", 1)))"
			if k == kDatetime {
				mean = fromTicks(mean)
			}
			return call(k, true, "if("+n+" = 0, NULL, "+mean+")")
		case kDecimal:
			n := agg("count", v.sql)
			return call(k, true, "if("+n+" = 0, NULL, divideDecimal(CAST(ifNull("+agg("sum", v.sql)+", 0), '"+decimalType+"'), toDecimal256(greatest("+n+", 1), 0), "+decimalScale+"))")
		}
		if v.k != kInt && v.k != kLong && v.k != kReal {
			v = g.num(v, kReal)
		}
		return orZero(kReal, "avg", v, "nan")
	case "min", "max":
		v := args[0]
		if v.k == kArray {
			v = g.json(v)
		}
		if v.k == kString && (single || filter != "") {
			return call(kString, false, agg(base, v.sql))
		}
		return orNull(v.k, base, v)
	case "take_anyif", "take_any":
		v := args[0]
		if v.k == kArray {
			return val{k: kArray, elem: v.elem, elemNull: v.elemNull, sql: agg("any", v.sql)}
		}
		return orNull(v.k, "any", v)
	case "dcount":
		v := args[0]
		if v.k == kArray {
			v = g.json(v)
		}
		name := "uniq"
		if a.Merge {
			name = "uniqMerge"
		}
		return call(kLong, false, "toInt64("+agg(name, v.sql)+")")
	case "count_distinct":
		v := args[0]
		if v.k == kArray {
			v = g.json(v)
		}
		return call(kLong, false, "toInt64("+agg("uniqExact", v.sql)+")")
	case "stdev", "stdevp", "variance", "variancep":
		v := args[0]
		if v.k == kDatetime || v.k == kTimespan {
			v = call(kReal, v.null, "toFloat64("+g.ticks(v)+")")
		}
		f := map[string]string{"stdev": "stddevSampStable", "stdevp": "stddevPopStable", "variance": "varSampStable", "variancep": "varPopStable"}[base]
		v = g.num(v, kReal)
		if base == "stdev" || base == "variance" {
			// Of one value they are 0, not NaN.
			r := orZero(kReal, f, v, "0")
			return call(kReal, false, "if("+agg("count", v.sql)+" < 2, 0, "+r.sql+")")
		}
		return orNull(kReal, f, v)
	case "covariance", "covariancep":
		f := map[string]string{"covariance": "covarSampStable", "covariancep": "covarPopStable"}[base]
		x, y := g.num(args[0], kReal), g.num(args[1], kReal)
		sql := f + "OrNull(" + x.sql + ", " + y.sql + ")"
		if filter != "" {
			sql = f + "IfOrNull(" + x.sql + ", " + y.sql + ", " + filter + ")"
		}
		return call(kReal, true, "if(isInfinite("+sql+") OR isNaN("+sql+"), 0, "+sql+")")
	case "make_list", "make_list_with_nulls":
		return limitArray(g.makeList(base, args[0], filter), listSize(a, args))
	case "make_set":
		v := listElem(args[0])
		if one, ok := g.apart(args[0]); ok {
			v = val{k: kArray, elem: kJSON, sql: "arrayFilter(x -> x != 'null', " + agg("groupUniqArrayArray", one) + ")"}
		} else {
			v = val{k: kArray, elem: v.k, sql: agg("groupUniqArray", v.sql)}
		}
		return limitArray(v, listSize(a, args))
	case "make_bag", "make_dictionary":
		j := g.json(args[0])
		pairs := agg("groupArrayArray", "JSONExtractKeysAndValuesRaw("+nonNull(j)+")")
		return bagOf(g, pairs, args[1:])
	case "hll":
		return g.hll(agg, args[0])
	case "hll_merge":
		return g.hllMerge(args[0])
	case "tdigest":
		return g.tdigest(agg, args)
	case "tdigest_merge":
		j, pairs := g.digestPairs(args[0])
		return g.joinedDigest("if(max("+digestHead(j)+") = '', '[7]', max("+digestHead(j)+"))", "groupArrayArray("+pairs+")")
	case "buildschema":
		return g.buildSchema(agg, args[0])
	case "percentile", "percentilew", "percentiles", "percentilesw":
		return g.percentile(a, args, base == "percentilew" || base == "percentilesw", single)
	case "percentiles_array", "percentilesw_array":
		weighted := base == "percentilesw_array"
		first := 1
		if weighted {
			first = 2
		}
		var parts []string
		k := kLong
		for _, p := range args[first:] {
			v := g.percentile(a, append(args[:first:first], p), weighted, single)
			k = v.k
			parts = append(parts, v.sql)
		}
		if len(parts) == 0 {
			return val{k: kArray, elem: kLong, sql: "CAST([], 'Array(Int64)')"}
		}
		return val{k: kArray, elem: k, elemNull: true, sql: "[" + strings.Join(parts, ", ") + "]"}
	case "binary_all_and", "binary_all_or", "binary_all_xor":
		f := map[string]string{"binary_all_and": "groupBitAnd", "binary_all_or": "groupBitOr", "binary_all_xor": "groupBitXor"}[base]
		v := args[0]
		k := kindOf(a.T)
		switch k {
		case kInt, kLong, kTimespan:
		case kDatetime:
			r := g.hoist(orNull(kLong, f, val{sql: g.ticks(v), k: kLong, null: v.null}))
			return call(k, true, "if(isNull("+r.sql+"), NULL, "+fromTicks("assumeNotNull("+r.sql+")")+")")
		default:
			return orNull(kLong, f, g.num(v, kLong))
		}
		return orNull(k, f, v)
	}
	panic("chsql: no SQL for aggregate " + a.Func.Name)
}

// cond writes the condition of an -if aggregate: null counts as false.
func (g *gen) cond(x plan.Expr, v val) string {
	b := g.boolean(v)
	if b.null {
		return "ifNull(" + b.sql + ", 0)"
	}
	return b.sql
}

// listElem returns a value as an element of an array.
func listElem(v val) val {
	switch v.k {
	case kDynString:
		v.k = kString
	}
	return v
}

// listSize is the size of a list or a set that a call asks for. The old spellings
// have one of their own. (make_list-aggregation-function, make_set-aggregation-function)
func listSize(a *plan.Agg, args []val) []val {
	if size := args[1:]; len(size) > 0 || a.Func.Name != "makelist" && a.Func.Name != "makeset" {
		return size
	}
	return []val{constant(&plan.Const{T: plan.Long, Int: 128})}
}

// limitArray cuts an array to a maximal size.
func limitArray(v val, size []val) val {
	if len(size) > 0 {
		if n, ok := size[0].constInt(); ok {
			v.sql = "arraySlice(" + v.sql + ", 1, " + itoa(max(n, 0)) + ")"
		}
	}
	return v
}

// apart writes the elements that a dynamic value adds to a list or a set as an
// array of JSON: those of an array, otherwise the value itself. ok is false for
// what cannot be an array.
func (g *gen) apart(v val) (sql string, ok bool) {
	switch v.k {
	case kArray:
		return g.raws(v).sql, true
	case kJSON:
		j := g.hoist(v)
		if !j.null {
			return "if(startsWith(" + j.sql + ", '['), " + g.raws(j).sql + ", [" + j.sql + "])", true
		}
		return "multiIf(startsWith(ifNull(" + j.sql + ", ''), '['), " + g.raws(j).sql + ", isNull(" + j.sql + "), emptyArrayString(), [assumeNotNull(" + j.sql + ")])", true
	}
	return "", false
}

// makeList collects values in the order of the rows, if they have one. Arrays give
// their elements: the documented examples join arrays by it, and put each into one
// of its own (pack_array) where they are to stay.
// (geo-h3cell-rings-function, geo-point-in-polygon-function)
func (g *gen) makeList(base string, arg val, filter string) val {
	v := listElem(arg)
	if one, ok := g.apart(arg); ok {
		if base == "make_list_with_nulls" && v.null {
			j := g.hoist(v)
			one = "if(isNull(" + j.sql + "), ['null'], " + one + ")"
		} else if base != "make_list_with_nulls" {
			one = "arrayFilter(x -> x != 'null', " + one + ")"
		}
		r := g.makeListOf(val{k: kArray, elem: kJSON, sql: one}, false, filter)
		return val{k: kArray, elem: kJSON, sql: "arrayFlatten(" + r.sql + ")"}
	}
	return g.makeListOf(v, base == "make_list_with_nulls" && v.null, filter)
}

func (g *gen) makeListOf(v val, nulls bool, filter string) val {
	elem := v.sql
	if nulls {
		elem = "tuple(" + v.sql + ")"
	}
	cond := filter
	if v.null && !nulls && g.place != "" {
		// groupArray leaves NULL out by itself; a pair with a place is none.
		if cond != "" {
			cond = "(" + cond + ") AND "
		}
		cond += "isNotNull(" + v.sql + ")"
		elem = "assumeNotNull(" + v.sql + ")"
	}
	f := "groupArray("
	if cond != "" {
		f = "groupArrayIf("
	}
	tail := ")"
	if cond != "" {
		tail = ", " + cond + ")"
	}
	var sql string
	if g.place != "" {
		x := g.variable()
		sql = "arrayMap(" + x + " -> " + x + ".2, arraySort(" + x + " -> " + x + ".1, " + f + "tuple(" + g.place + ", " + elem + ")" + tail + "))"
	} else {
		sql = f + elem + tail
	}
	if nulls {
		x := g.variable()
		sql = "arrayMap(" + x + " -> " + x + ".1, " + sql + ")"
	}
	return val{k: kArray, elem: v.k, elemNull: nulls, sql: sql}
}

// percentile writes a nearest-rank percentile: the value at rank
// ceil(p/100 * n), no interpolation. (percentiles-aggregation-function)
func (g *gen) percentile(a *plan.Agg, args []val, weighted, single bool) val {
	v := args[0]
	k := v.k
	if k == kJSON || k == kText || k == kArray || k == kString {
		v = g.num(v, kReal)
		k = kReal
	}
	p := constFloat(args[len(args)-1]) / 100
	if !(p >= 0 && p <= 1) {
		return nullOf(k)
	}
	share := justBelow(p)
	x := v.sql
	if k == kDatetime {
		x = g.ticks(v)
	}
	var sql string
	switch {
	case weighted:
		w := g.num(args[1], kLong)
		sql = "quantileExactWeightedOrNull(" + share + ")(" + x + ", toUInt64(greatest(ifNull(" + w.sql + ", 0), 0)))"
	case len(g.ranks[a.Args[0]]) == 1:
		sql = "quantileExactOrNull(" + share + ")(" + x + ")"
	case !v.null && !single && len(g.ranks[a.Args[0]]) > 1:
		// Several ranks of the same values are found at once.
		shares := make([]string, len(g.ranks[a.Args[0]]))
		place := 0
		for i, r := range g.ranks[a.Args[0]] {
			if shares[i] = justBelow(r / 100); shares[i] == share {
				place = i + 1
			}
		}
		q := g.hoist(val{k: kArray, sql: "quantilesExact(" + strings.Join(shares, ", ") + ")(" + x + ")"})
		sql = q.sql + "[" + strconv.Itoa(place) + "]"
		if k != kDatetime {
			return call(k, false, sql)
		}
	default:
		s := g.hoist(val{k: kArray, sql: "arraySort(groupArray(" + x + "))"})
		sql = "arrayElementOrNull(" + s.sql + ", 1 + toInt64(floor(" + share + " * length(" + s.sql + "))))"
	}
	if k == kDatetime {
		h := g.hoist(val{k: kLong, null: true, sql: sql})
		return call(k, true, "if(isNull("+h.sql+"), NULL, "+fromTicks("assumeNotNull("+h.sql+")")+")")
	}
	return call(k, true, sql)
}

// justBelow writes a share of a number of values so that the product, rounded
// down, is the place counted from 0 of the nearest rank: rank ceil(share * n) is at
// ceil(share * n) - 1. Where the product is whole, it has to fall below.
func justBelow(share float64) string { return float(share * (1 - 1e-13)) }

// buildSchema collects the types of all values: scalars by name, bags key by key,
// the elements of arrays as `indexer`.
func (g *gen) buildSchema(agg func(string, ...string) string, v val) val {
	j := g.json(v)
	all := g.named("values", val{k: kArray, elem: kJSON, sql: agg("groupArray", j.sql)})
	return call(kJSON, true, "if(empty("+all.sql+"), NULL, "+g.schemaOf(all.sql, 4)+")")
}

func (g *gen) schemaOf(values string, depth int) string {
	x, k, all := g.variable(), g.variable(), g.variable()
	scalar := "transform(toString(JSONType(" + x + ")), ['String', 'Int64', 'UInt64', 'Double', 'Bool'], ['\"string\"', '\"long\"', '\"long\"', '\"double\"', '\"bool\"'], '')"
	parts := "arrayFilter(" + x + " -> " + x + " != '', arraySort(arrayDistinct(arrayMap(" + x + " -> " + scalar + ", " + all + "))))"
	if depth > 0 {
		pairs := "arrayFlatten(arrayMap(" + x + " -> JSONExtractKeysAndValuesRaw(" + x + "), arrayFilter(" + x + " -> startsWith(" + x + ", '{'), " + all + ")))"
		p := g.variable()
		of := "arrayMap(" + x + " -> " + x + ".2, arrayFilter(" + x + " -> " + x + ".1 = " + k + ", " + p + "))"
		bag := "concat('{', arrayStringConcat(arrayMap(" + k + " -> concat(toJSONString(" + k + "), ':', " + g.schemaOf(of, depth-1) + "), arrayDistinct(arrayMap(" + x + " -> " + x + ".1, " + p + "))), ','), '}')"
		elems := "arrayFlatten(arrayMap(" + x + " -> JSONExtractArrayRaw(" + x + "), arrayFilter(" + x + " -> startsWith(" + x + ", '['), " + all + ")))"
		parts = "arrayConcat(" + parts + ", if(arrayExists(" + x + " -> startsWith(" + x + ", '{'), " + all + "), [" + let(p, pairs, bag) + "], emptyArrayString()), if(arrayExists(" + x + " -> startsWith(" + x + ", '['), " + all + "), [concat('{\"`indexer`\":', " + g.schemaOf(elems, depth-1) + ", '}')], emptyArrayString()))"
	}
	list := g.variable()
	return let(all, values, let(list, parts, "if(length("+list+") = 1, "+list+"[1], concat('[', arrayStringConcat("+list+", ','), ']'))"))
}
