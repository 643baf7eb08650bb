package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// join combines two subqueries. Names are unique in a query, so that both sides'
// columns can be read without qualification.
func (g *gen) join(n *plan.Join, need set) *block {
	inner := need.clone()
	for _, on := range n.On {
		inner.addExpr(on.L)
		inner.addExpr(on.R)
	}
	unique := n.Kind == plan.InnerUnique && n.Partition != nil
	if unique {
		for _, id := range n.Partition.Keys {
			inner.addExpr(&plan.Ref{ID: id})
		}
	}
	left := g.joinSide(n.L, inner, n.Kind == plan.RightOuter || n.Kind == plan.FullOuter)
	// Keys are computed on their side, under a name.
	lKeys, made := g.keys(&left, inner, n.On, true)
	if n.Kind == plan.InnerUnique && len(lKeys) > 0 {
		g.b = left
		by := lKeys[:len(lKeys):len(lKeys)]
		if unique {
			for _, id := range n.Partition.Keys {
				by = append(by, g.use(id).sql)
			}
		}
		left.limitBy = "1 BY " + strings.Join(by, ", ")
		left = g.wrap(left, inner.with(made...))
	}
	right := g.joinSide(n.R, inner, n.Kind == plan.LeftOuter || n.Kind == plan.FullOuter)
	rKeys, _ := g.keys(&right, inner, n.On, false)
	kind := ""
	switch n.Kind {
	case plan.InnerUnique, plan.Inner:
		kind = "INNER JOIN"
	case plan.LeftOuter:
		kind = "LEFT JOIN"
	case plan.RightOuter:
		kind = "RIGHT JOIN"
	case plan.FullOuter:
		kind = "FULL JOIN"
	case plan.LeftSemi:
		kind = "LEFT SEMI JOIN"
	case plan.RightSemi:
		kind = "RIGHT SEMI JOIN"
	case plan.LeftAnti:
		kind = "LEFT ANTI JOIN"
	case plan.RightAnti:
		kind = "RIGHT ANTI JOIN"
	}
	conds := make([]string, len(lKeys))
	for i := range lKeys {
		conds[i] = lKeys[i] + " = " + rKeys[i]
	}
	b := &block{}
	on := " ON " + strings.Join(conds, " AND ")
	if n.Cross || len(conds) == 0 {
		kind, on = "CROSS JOIN", ""
	}
	b.from = left.from + " AS " + ident(g.name("l")) + " " + kind + " " + right.from + " AS " + ident(g.name("r")) + on
	g.b = b
	side := func(out []plan.ColID, missing bool) {
		for _, id := range out {
			if !need.has(id) {
				continue
			}
			c := &g.cols[id]
			if missing {
				c.v.null, c.v.c = c.v.k != kString, nil
			}
			b.out = append(b.out, id)
		}
	}
	if !n.Kind.RightOnly() {
		side(left.out, n.Kind == plan.RightOuter || n.Kind == plan.FullOuter)
	}
	if !n.Kind.LeftOnly() {
		side(right.out, n.Kind == plan.LeftOuter || n.Kind == plan.FullOuter)
	}
	return b
}

// joinSide writes a side of a join as a subquery. Where its rows may be missing,
// ClickHouse fills in the defaults of the columns' types: all but strings are
// made nullable for that. (join_use_nulls would do it as well, also inside of
// views, which do not expect it.)
func (g *gen) joinSide(n plan.Node, need set, missing bool) *block {
	b := g.node(n, need)
	g.b = b
	if missing {
		for _, id := range b.out {
			if !need.has(id) {
				continue
			}
			v, item := g.cols[id].v, g.cols[id].item
			if v.path != nil || v.k == kArray || v.k == kText {
				v = g.json(v)
			}
			if v.k == kString || v.null && v.c == nil {
				if v.sql == g.cols[id].v.sql {
					continue
				}
			} else {
				v.sql, v.null, v.atom, v.op, v.c = "toNullable("+v.sql+")", true, false, false, nil
			}
			if item != nil {
				item.refs++
			}
			g.cols[id] = g.aliased("missing", v)
		}
	}
	if b.limitN == "" && b.limitBy == "" {
		b.order = nil
	}
	// The other side may read the same table.
	for _, id := range b.out {
		v := g.cols[id].v
		if !need.has(id) || v.path != nil {
			continue
		}
		if name, ok := identName(v.sql); ok && g.stored(name) {
			g.cols[id] = g.aliased(name, v)
		}
	}
	outer := g.wrap(b, need)
	outer.order = nil
	return outer
}

// keys writes the keys of a side. A key that is not a column of the subquery is
// computed in one more, made as a column.
func (g *gen) keys(b **block, need set, on []plan.JoinOn, left bool) (names []string, made []plan.ColID) {
	g.b = *b
	keys := make([]string, len(on))
	for i, o := range on {
		x := o.R
		if left {
			x = o.L
		}
		v := g.expr(x)
		if v.path != nil {
			v = g.read(v)
		}
		if v.k == kText || v.k == kArray {
			v = g.json(v)
		}
		if _, ok := identName(v.sql); ok {
			keys[i] = v.sql
			continue
		}
		id := g.tempCol()
		g.cols[id] = g.aliased("key", v)
		(*b).out = append((*b).out, id)
		made = append(made, id)
		keys[i] = g.cols[id].v.sql
	}
	if len(made) > 0 {
		*b = g.wrap(*b, need.with(made...))
	}
	return keys, made
}

// union appends subqueries whose columns have been given the same types.
func (g *gen) union(n *plan.Union, need set) *block {
	var cols []int
	for i, c := range n.Cols {
		if need.has(c.ID) {
			cols = append(cols, i)
		}
	}
	source := n.Source != nil && need.has(n.Source.ID)
	names := make([]string, 0, len(cols)+1)
	for _, i := range cols {
		names = append(names, g.name(n.Cols[i].Name))
	}
	if source {
		names = append(names, g.name(n.Source.Name))
	}
	if len(names) == 0 {
		names = append(names, "one")
	}
	null := make([]bool, len(cols))
	parts := make([]string, len(n.Parts))
	for k, p := range n.Parts {
		inner := g.newSet()
		for _, i := range cols {
			if p.From[i] != 0 {
				inner.add(p.From[i])
			}
		}
		b := g.node(p.In, inner)
		g.b = b
		lists := make([]string, 0, len(names))
		for j, i := range cols {
			c := n.Cols[i]
			var v val
			if p.From[i] == 0 {
				v = nullOf(kindOf(c.Type))
				v.null = v.k != kString
			} else {
				v = g.canonical(g.use(p.From[i]), c.Type)
			}
			null[j] = null[j] || v.null
			lists = append(lists, v.sql)
		}
		if source {
			lists = append(lists, quote(p.Name))
		}
		if len(lists) == 0 {
			lists = append(lists, "1")
		}
		if b.limitN == "" && b.limitBy == "" {
			b.order = nil
		}
		parts[k] = g.text(b, names, lists)
	}
	b := &block{from: "(" + strings.Join(parts, " UNION ALL ") + ")"}
	g.b = b
	for j, i := range cols {
		c := n.Cols[i]
		g.cols[c.ID] = binding{v: val{sql: ident(names[j]), k: kindOf(c.Type), null: null[j], atom: true}}
		b.out = append(b.out, c.ID)
	}
	if source {
		g.cols[n.Source.ID] = binding{v: val{sql: ident(names[len(cols)]), k: kString, atom: true}}
		b.out = append(b.out, n.Source.ID)
	}
	return b
}

// mvExpand makes a row of every element. All arrays are as long as the longest;
// a null value is one null element.
func (g *gen) mvExpand(n *plan.MvExpand, need set) *block {
	inner := need.clone()
	for _, it := range n.Items {
		inner.addExpr(it.X)
	}
	b := g.node(n.In, inner)
	g.b = b
	type arr struct {
		id   plan.ColID
		elem val
	}
	var arrs []arr
	var ids []plan.ColID
	single := len(n.Items) == 1
	var list []val
	for _, it := range n.Items {
		list = append(list, g.expandable(g.expr(it.X), n.ArrayKind, n.KeepEmpty))
	}
	var longest string
	if !single {
		sizes := make([]string, len(list))
		for i := range list {
			list[i] = g.hoist(list[i])
			sizes[i] = "length(" + list[i].sql + ")"
		}
		longest = g.hoist(val{k: kLong, sql: "greatest(" + strings.Join(sizes, ", ") + ")"}).sql
	}
	for i, it := range n.Items {
		v := list[i]
		if !single {
			fill := "'null'"
			if v.elem != kJSON {
				v = val{k: kArray, elem: kJSON, sql: g.raws(v).sql}
			}
			v.sql = "arrayResize(" + v.sql + ", " + longest + ", " + fill + ")"
		}
		if n.Limit > 0 {
			v.sql = "arraySlice(" + v.sql + ", 1, " + itoa(n.Limit) + ")"
		}
		id := g.tempCol()
		g.cols[id] = g.aliased("list", v)
		b.out = append(b.out, id)
		ids = append(ids, id)
		e := val{k: v.elem, null: v.elemNull || v.elem == kJSON}
		arrs = append(arrs, arr{it.Col.ID, e})
	}
	outer := g.wrap(b, need.with(ids...))
	var joins []string
	for i, a := range arrs {
		name := g.name("element")
		joins = append(joins, g.cols[ids[i]].v.sql+" AS "+ident(name))
		v := a.elem
		v.sql, v.atom = ident(name), true
		if v.k == kJSON {
			v.sql, v.atom = "nullIf("+v.sql+", 'null')", false
			v.null = true
			g.cols[a.id] = g.aliased("value", v)
		} else {
			if v.k == kString {
				v.k = kDynString // a dynamic string
				v.null = false
			}
			g.cols[a.id] = binding{v: v}
		}
		outer.out = append(outer.out, a.id)
	}
	place := ident(g.name("place"))
	joins = append(joins, "arrayEnumerate("+g.cols[ids[0]].v.sql+") AS "+place)
	if n.Index != nil {
		g.cols[n.Index.ID] = g.aliased(n.Index.Name, val{k: kLong, sql: "toInt64(" + place + ") - 1", op: true})
		outer.out = append(outer.out, n.Index.ID)
	}
	outer.from += " ARRAY JOIN " + strings.Join(joins, ", ")
	if len(outer.order) > 0 {
		outer.order = append(outer.order, orderKey{v: val{sql: place, k: kLong, atom: true}})
	}
	return outer
}

// expandable returns a dynamic value as the array that mv-expand walks through.
func (g *gen) expandable(v val, arrayKind, keepEmpty bool) val {
	if v.path == nil && v.k == kArray {
		return v
	}
	j := g.hoist(g.json(v))
	if !j.null && v.path == nil && v.k != kJSON && v.k != kText {
		return val{k: kArray, elem: kJSON, sql: "[" + j.sql + "]"}
	}
	pair := "concat('{', toJSONString(x.1), ':', x.2, '}')"
	if arrayKind {
		pair = "concat('[', toJSONString(x.1), ',', x.2, ']')"
	}
	text := "ifNull(" + j.sql + ", 'null')"
	if !j.null {
		text = j.sql
	}
	return val{k: kArray, elem: kJSON, sql: "multiIf(startsWith(" + text + ", '['), JSONExtractArrayRaw(" + text + "), startsWith(" + text + ", '{'), arrayMap(x -> " + pair + ", JSONExtractKeysAndValuesRaw(" + text + ")), [" + text + "])"}
}

// ordinal numbers the rows.
func (g *gen) ordinal(n *plan.Ordinal, need set) *block {
	b := g.node(n.In, need)
	if b.grouped || b.windowed || b.limitN != "" || b.limitBy != "" || b.random {
		b = g.wrap(b, need)
	}
	g.b = b
	g.cols[n.Col.ID] = g.aliased(n.Col.Name, val{k: kLong, sql: "toInt64(row_number() OVER (" + g.orderClause(b) + "))"})
	b.out = append(b.out, n.Col.ID)
	b.windowed = true
	b = g.wrap(b, need.with(n.Col.ID))
	if len(b.order) > 0 {
		b.order = []orderKey{{v: g.cols[n.Col.ID].v}}
	}
	return b
}
