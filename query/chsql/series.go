package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// makeSeries groups rows by their keys and the number of their bin, and then the
// bins of each key into arrays.
func (g *gen) makeSeries(n *plan.MakeSeries, need set) *block {
	inner := g.newSet()
	inner.addExpr(n.Axis.X)
	for _, k := range n.Keys {
		inner.addExpr(k.X)
	}
	for _, a := range n.Inner {
		inner.addExpr(a.X)
	}
	b := g.unlimited(g.node(n.In, inner), inner)
	g.b = b
	b.order, b.natural = nil, false

	axis := g.hoist(g.expr(n.Axis.X))
	k := axis.k
	if k == kJSON || k == kText || axis.path != nil {
		axis = g.hoist(g.num(axis, kReal))
		k = kReal
	}
	step := g.expr(n.Step)
	// Everything is counted in ticks or whole numbers, or as reals.
	num := func(v val) string {
		if k == kReal || k == kDecimal {
			return g.num(v, kReal).s()
		}
		return g.ticks(v)
	}
	size := num(step)
	origin := "0"
	if k == kDatetime {
		origin = "-" + itoa(plan.UnixEpochTicks) // bins count from year 1
	}
	from, to := "", ""
	if n.From != nil {
		from = num(g.expr(n.From))
		if !n.Inclusive {
			origin = from
		}
	}
	if n.To != nil {
		to = num(g.expr(n.To))
	}
	x := num(axis)
	if from != "" {
		low := from
		if n.Inclusive {
			low = binDown(from, size, origin, k)
		}
		b.where = append(b.where, x+" >= "+low)
	}
	if to != "" {
		op := " < "
		if n.Inclusive {
			op = " <= "
		}
		b.where = append(b.where, x+op+to)
	}
	if axis.null {
		b.where = append(b.where, "isNotNull("+axis.sql+")")
	}
	bin := g.tempCol()
	index := "toInt64(intDiv(assumeNotNull(" + x + ") - (" + origin + "), assumeNotNull(" + size + ")))"
	switch {
	case k == kReal || k == kDecimal:
		index = "toInt64(floor((assumeNotNull(" + x + ") - (" + origin + ")) / assumeNotNull(" + size + ")))"
	case from == "" && k != kDatetime, n.Inclusive && k != kDatetime:
		// Below zero intDiv rounds up.
		index = "toInt64(floor((assumeNotNull(" + x + ") - (" + origin + ")) / assumeNotNull(" + size + ")))"
	}
	g.cols[bin] = g.aliased("bin", val{k: kLong, sql: index})
	g.cols[bin].item.refs++
	b.group = append(b.group, g.cols[bin].v.sql)
	b.out = []plan.ColID{bin}
	var keys []plan.ColID
	for _, key := range n.Keys {
		v := g.plain(g.expr(key.X))
		bd := g.aliased(key.Col.Name, v)
		bd.item.refs++
		bd.v.c = nil
		g.cols[key.Col.ID] = bd
		b.group = append(b.group, bd.v.sql)
		b.out = append(b.out, key.Col.ID)
		keys = append(keys, key.Col.ID)
	}
	for _, a := range n.Inner {
		g.cols[a.Col.ID] = g.aliased("aggregate", g.aggregateCallOf(a.X.(*plan.Agg), n.Inner))
	}
	values := make([]plan.ColID, len(n.Aggs))
	var elems []val
	for i, a := range n.Aggs {
		id := g.tempCol()
		v := g.plain(g.expr(a.X))
		if v.k == kBool {
			v = call(kLong, v.null, "toInt64("+v.sql+")")
		}
		g.cols[id] = g.aliased("value", v)
		b.out = append(b.out, id)
		values[i] = id
		elems = append(elems, v)
	}
	b.grouped = true
	all := need.with(append(append([]plan.ColID{bin}, keys...), values...)...)
	b = g.wrap(b, all)
	lo := ""
	if from == "" {
		// Every series begins at its own first bin.
		id := g.tempCol()
		part := ""
		if len(keys) > 0 {
			names := make([]string, len(keys))
			for i, key := range keys {
				names[i] = g.use(key).sql
			}
			part = "PARTITION BY " + strings.Join(names, ", ")
		}
		g.cols[id] = g.aliased("first", val{k: kLong, sql: "min(" + g.use(bin).sql + ") OVER (" + part + ")"})
		b.out = append(b.out, id)
		b.windowed = true
		b = g.wrap(b, all.with(id))
		lo = "any(" + g.use(id).sql + ")"
	}
	g.b = b
	pos := g.use(bin).sql
	first := "0"
	if from != "" && n.Inclusive {
		first = "toInt64(floor((" + from + " - (" + origin + ")) / " + size + "))"
	}
	if lo != "" {
		pos += " - " + g.use(plan.ColID(len(g.cols)-1)).sql
		first = lo
	} else if first != "0" {
		pos += " - " + first
	}
	firstBin := g.named("begin", val{k: kLong, sql: first})
	var count string
	switch {
	case to != "" && n.Inclusive:
		count = "toInt64(floor((" + to + " - (" + origin + ")) / " + size + ")) - " + firstBin.sql + " + 1"
	case to != "":
		count = "toInt64(ceil((" + to + " - (" + origin + ")) / " + size + ")) - " + firstBin.sql
	default:
		count = "max(" + g.use(bin).sql + ") - " + firstBin.sql + " + 1"
	}
	bins := g.named("bins", val{k: kLong, sql: "toUInt32(least(greatest(ifNull(" + count + ", 0), 0), 1048576))"})
	var results []binding
	for i, a := range n.Aggs {
		v := elems[i]
		source := g.use(values[i])
		def := "0"
		null := v.null
		switch {
		case a.Default != nil:
			d := g.expr(a.Default)
			if d.c != nil && d.c.Null {
				def, null = "NULL", true
			} else {
				t := v.k
				if d.k == kReal && t == kLong {
					v.k = kReal
				}
				def = g.as2(d, v.k).sql
			}
		case v.k == kDatetime:
			def, null = "NULL", true
		case v.k == kJSON, v.k == kString:
			def = "'0'"
		}
		item := "if(x.1 = 0, " + def + ", x.2)"
		if v.k == kReal {
			item = "if(x.1 = 0, " + def + ", toFloat64(x.2))"
		}
		elem := nullable(v.k.chType(), null)
		list := "groupArrayInsertAt(tuple(1, " + source.sql + "), toUInt32(" + pos + "))"
		arr := val{k: kArray, elem: v.k, elemNull: null, sql: "CAST(arrayMap(x -> " + item + ", arrayResize(" + list + ", " + bins.sql + ")), 'Array(" + elem + ")')"}
		results = append(results, g.aliased(a.Col.Name, arr))
	}
	at := origin + " + (" + firstBin.sql + " + i) * " + size
	elem := k
	switch k {
	case kDatetime:
		at = fromTicks("toInt64(assumeNotNull(" + at + "))")
	case kReal, kDecimal:
		elem = kReal
		at = "toFloat64(assumeNotNull(" + at + "))"
	default:
		if elem == kInt {
			elem = kLong
		}
		at = "toInt64(assumeNotNull(" + at + "))"
	}
	results = append(results, g.aliased(n.Axis.Col.Name, val{k: kArray, elem: elem, sql: "arrayMap(i -> " + at + ", range(" + bins.sql + "))"}))
	b.out = nil
	for _, key := range keys {
		c := g.cols[key]
		b.group = append(b.group, c.v.sql)
		b.out = append(b.out, key)
	}
	for i, a := range n.Aggs {
		g.cols[a.Col.ID] = results[i]
		b.out = append(b.out, a.Col.ID)
	}
	g.cols[n.Axis.Col.ID] = results[len(results)-1]
	b.out = append(b.out, n.Axis.Col.ID)
	b.grouped = true
	if len(keys) == 0 && !n.NonEmpty {
		// Without keys there is one group also of no rows, which is no series.
		id := g.tempCol()
		g.cols[id] = g.aliased("present", val{k: kLong, sql: "toInt64(count())"})
		b.out = append(b.out, id)
		b = g.wrap(b, need.with(id))
		b.where = append(b.where, g.use(id).sql+" > 0")
	}
	return b
}

// binDown writes a bound rounded down to its bin.
func binDown(x, size, origin string, k kind) string {
	return "floor((" + x + " - (" + origin + ")) / " + size + ") * " + size + " + (" + origin + ")"
}

// as2 returns a constant held as a kind.
func (g *gen) as2(v val, k kind) val {
	switch k {
	case kInt, kLong, kReal, kDecimal, kTimespan:
		return g.num(v, k)
	case kJSON:
		return g.json(v)
	case kString:
		return g.str(v)
	}
	return v
}

// aggregateCallOf writes an aggregate over one bin, which has rows.
func (g *gen) aggregateCallOf(a *plan.Agg, all []plan.Item) val {
	if a.Group == 0 {
		return g.aggregateCall(a, false)
	}
	need := g.newSet()
	for _, it := range all {
		need.add(it.Col.ID)
	}
	return g.aggregateOf(a, &plan.Aggregate{Aggs: all, Keys: []plan.Item{{}}}, need, map[int]binding{})
}
