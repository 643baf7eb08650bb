package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// over writes the window of a function: the rows of its partition in their
// order, since the last restart.
func (g *gen) over(c *plan.Call, restart string, frame string) string {
	var sb strings.Builder
	sb.WriteString(" OVER (")
	var keys []string
	if c.Partition != nil {
		for _, id := range c.Partition.Keys {
			keys = append(keys, g.use(id).s())
		}
	}
	if restart != "" {
		keys = append(keys, restart)
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
		start := "1"
		if len(a) > 0 {
			start = g.num(a[0], kLong).lit()
		}
		run := ""
		if len(a) > 1 {
			run = g.runs(c, a[1])
		}
		return call(kLong, false, "toInt64(row_number()"+g.over(c, run, "")+") + "+start+" - 1").infix()
	},
	"row_cumsum": func(g *gen, c *plan.Call, a []val) val {
		k := kindOf(c.T)
		v := g.num(a[0], k)
		run := ""
		if len(a) > 1 {
			run = g.runs(c, a[1])
		}
		return call(k, v.null, "CAST(sum("+v.sql+")"+g.over(c, run, runningFrame)+", '"+nullable(k.chType(), v.null)+"')")
	},
	"row_rank_dense": func(g *gen, c *plan.Call, a []val) val {
		return g.rank(c, a, true)
	},
	"row_rank_min": func(g *gen, c *plan.Call, a []val) val {
		return g.rank(c, a, false)
	},
	"prev": func(g *gen, c *plan.Call, a []val) val { return g.neighbour(c, a, "lagInFrame") },
	"next": func(g *gen, c *plan.Call, a []val) val { return g.neighbour(c, a, "leadInFrame") },
	"row_window_session": func(g *gen, c *plan.Call, a []val) val {
		return nullOf(kDatetime)
	},
}

// runs numbers the stretches of rows that restarts begin; a restart depends on
// the row alone, or on a row before by prev, which is a column of its own by now.
func (g *gen) runs(c *plan.Call, restart val) string {
	b := g.boolean(restart)
	return g.innerWindow(call(kLong, false, "sum(ifNull(toUInt8("+b.sql+"), 0))"+g.over(c, "", runningFrame)))
}

// innerWindow computes a window function in a subquery of its own, as one cannot
// be inside another.
func (g *gen) innerWindow(v val) string {
	return v.sql
}

// neighbour reads a row before or after.
func (g *gen) neighbour(c *plan.Call, a []val, f string) val {
	v := a[0]
	if v.path != nil {
		v = g.read(v)
	}
	switch v.k {
	case kText, kArray:
		v = g.json(v)
	case kCond:
		v = g.canonical(v, plan.Bool)
	}
	offset := "1"
	if len(a) > 1 {
		offset = g.num(a[1], kLong).lit()
	}
	if v.k == kString {
		def := "''"
		if len(a) > 2 {
			def = g.str(a[2]).sql
		}
		return call(kString, false, f+"("+v.sql+", "+offset+", "+def+")"+g.over(c, "", wholeFrame))
	}
	if len(a) > 2 && !(a[2].c != nil && a[2].c.Null) {
		d := g.like(a[2], c.Args[2].Type(), c.T)
		if kindOf(c.T) == kJSON {
			d = g.json(a[2])
		}
		return call(v.k, v.null || d.null, f+"("+v.sql+", "+offset+", "+d.sql+")"+g.over(c, "", wholeFrame))
	}
	return call(v.k, true, f+"(toNullable("+v.sql+"), "+offset+")"+g.over(c, "", wholeFrame))
}

// rank numbers the distinct values of a sorted row set.
func (g *gen) rank(c *plan.Call, a []val, dense bool) val {
	return nullOf(kLong)
}
