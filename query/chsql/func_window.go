package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// over writes the window of a function: the rows of its partition in their order.
func (g *gen) over(c *plan.Call, frame string) string {
	var sb strings.Builder
	sb.WriteString(" OVER (")
	var keys []string
	if c.Partition != nil {
		for _, id := range c.Partition.Keys {
			keys = append(keys, g.use(id).s())
		}
	}
	if len(keys) > 0 {
		sb.WriteString("PARTITION BY " + strings.Join(keys, ", "))
	}
	if o := g.orderClause(g.b); o != "" {
		if len(keys) > 0 {
			sb.WriteByte(' ')
		}
		sb.WriteString(o)
	}
	if frame != "" {
		sb.WriteString(" " + frame)
	}
	sb.WriteByte(')')
	return sb.String()
}

const wholeFrame = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
const runningFrame = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"

var windowFunctions = map[string]function{
	"row_number": func(g *gen, c *plan.Call, a []val) val {
		n := call(kLong, false, "toInt64(row_number()"+g.over(c, "")+")")
		if len(a) == 0 {
			return n
		}
		return val{k: kLong, sql: n.sql + " + " + g.num(a[0], kLong).lit() + " - 1", op: true}
	},
	"row_cumsum": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		if k == kJSON {
			k = kReal
		}
		v := g.num(a[0], k)
		return call(k, v.null, "CAST(sum("+v.sql+")"+g.over(c, runningFrame)+", '"+nullable(k.chType(), v.null)+"')")
	},
	"changed": func(g *gen, c *plan.Call, a []val) val {
		v := g.plain(a[0])
		return call(kCond, false, "row_number()"+g.over(c, "")+" = 1 OR NOT ("+v.s()+" <=> lagInFrame("+v.sql+", 1)"+g.over(c, wholeFrame)+")").infix()
	},
	"running max": func(g *gen, c *plan.Call, a []val) val {
		v := g.num(a[0], kLong)
		return call(kLong, v.null, "max("+v.sql+")"+g.over(c, runningFrame))
	},
	"prev": func(g *gen, c *plan.Call, a []val) val { return g.neighbour(c, a, "lagInFrame") },
	"next": func(g *gen, c *plan.Call, a []val) val { return g.neighbour(c, a, "leadInFrame") },
	// The binder makes other calls of these.
	"row_rank_dense":     func(g *gen, c *plan.Call, a []val) val { return nullOf(kLong) },
	"row_rank_min":       func(g *gen, c *plan.Call, a []val) val { return nullOf(kLong) },
	"row_window_session": func(g *gen, c *plan.Call, a []val) val { return nullOf(kDatetime) },
}

// plain returns a value that can be compared and kept as it is.
func (g *gen) plain(v val) val {
	if v.path != nil {
		v = g.read(v)
	}
	switch v.k {
	case kText, kArray:
		return g.json(v)
	case kCond:
		return g.canonical(v, plan.Bool)
	}
	return v
}

// neighbour reads a row before or after.
func (g *gen) neighbour(c *plan.Call, a []val, f string) val {
	v := g.plain(a[0])
	offset := "1"
	if len(a) > 1 {
		switch n := g.num(a[1], kLong); {
		case n.c != nil && n.c.Null:
			return nullOf(v.k)
		case n.c != nil && n.c.Int < 0:
			// As far to the other side.
			f = map[string]string{"lagInFrame": "leadInFrame", "leadInFrame": "lagInFrame"}[f]
			offset = itoa(-n.c.Int)
		case n.c == nil:
			offset = "assumeNotNull(greatest(" + n.s() + ", 0))"
		default:
			offset = n.lit()
		}
	}
	if v.k == kString {
		def := "''"
		if len(a) > 2 {
			def = g.str(a[2]).sql
		}
		return call(kString, false, f+"("+v.sql+", "+offset+", "+def+")"+g.over(c, wholeFrame))
	}
	if len(a) > 2 && !(a[2].c != nil && a[2].c.Null) {
		d := g.castText(a[2], c.T)
		if kindOf(c.T) == kJSON {
			d = g.json(a[2])
		}
		x := v.sql
		if d.null && !v.null {
			x = "toNullable(" + x + ")"
		}
		if v.null && !d.null {
			d.sql = "toNullable(" + d.sql + ")"
		}
		return call(v.k, v.null || d.null, f+"("+x+", "+offset+", "+d.sql+")"+g.over(c, wholeFrame))
	}
	return call(v.k, true, f+"(toNullable("+v.sql+"), "+offset+")"+g.over(c, wholeFrame))
}
