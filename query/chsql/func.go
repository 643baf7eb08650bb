package chsql

import (
	"regexp"
	"strings"

	"hubscope/query/plan"
)

// function writes the call of a function whose arguments are written already.
type function func(g *gen, c *plan.Call, a []val) val

// functions holds the SQL of every function of package plan, by Base name. A
// test compares the two lists.
var functions = map[string]function{}

// byID is the same by plan.Func.ID.
var byID []function

func init() {
	for _, m := range []map[string]function{internalFunctions, stringFunctions, convertFunctions, datetimeFunctions, dynamicFunctions, mathFunctions, windowFunctions, networkFunctions, seriesFunctions, geoFunctions, s2Functions, digestFunctions, otherFunctions} {
		for name, f := range m {
			if functions[name] != nil {
				panic("chsql: two functions " + name)
			}
			functions[name] = f
		}
	}
	all := append(plan.Functions(), plan.Internal()...)
	byID = make([]function, len(all))
	for _, f := range all {
		if !f.Aggregate {
			byID[f.ID] = functions[f.Base]
		}
	}
}

// call writes a call.
func (g *gen) call(c *plan.Call) val {
	args := make([]val, len(c.Args))
	for i, x := range c.Args {
		args[i] = g.expr(x)
	}
	f := byID[c.Func.ID]
	if f == nil {
		panic("chsql: no SQL for function " + c.Func.Name)
	}
	return f(g, c, args)
}

// field writes a component of a call that returns several values: the call is
// written once, as a tuple.
func (g *gen) field(x *plan.Field) val {
	parts, ok := multiFunctions[x.X.Func.Base]
	if !ok {
		panic("chsql: no values for function " + x.X.Func.Name)
	}
	key := fieldKey{g.b, x.X}
	if g.fields == nil {
		g.fields = map[fieldKey][]val{}
	}
	vals, ok := g.fields[key]
	if !ok {
		args := make([]val, len(x.X.Args))
		for i, a := range x.X.Args {
			args[i] = g.expr(a)
		}
		vals = parts(g, x.X, args)
		g.fields[key] = vals
	}
	v := vals[x.N]
	if v.item != nil {
		v.item.refs++
	}
	return v
}

// fieldKey says where the values of a call were written.
type fieldKey struct {
	b *block
	c *plan.Call
}

// internalFunctions are what package plan makes calls of on its own.
var internalFunctions = map[string]function{
	"todynamic value": func(g *gen, c *plan.Call, a []val) val { return g.dynamic(a[0]) },
	"element as":      elementAs,
	"extract groups": func(g *gen, c *plan.Call, a []val) val {
		return val{sql: "extractGroups(" + g.str(a[0]).sql + ", " + a[1].sql + ")", k: kArray, elem: kString}
	},
	"group": func(g *gen, c *plan.Call, a []val) val {
		n, _ := a[1].constInt()
		return call(kString, false, "arrayElement("+a[0].sql+", "+itoa(n)+")")
	},
	"bag kinds": func(g *gen, c *plan.Call, a []val) val {
		kind := "transform(substring(x.2, 1, 1), ['\"', 't', 'f', '{', '[', 'n'], ['string', 'bool', 'bool', 'dynamic', 'dynamic', 'null'], if(match(x.2, '[.eE]'), 'real', 'long'))"
		pairs := "arrayFilter(x -> x.2 != 'null', JSONExtractKeysAndValuesRaw(" + nonNull(g.json(a[0])) + "))"
		return val{k: kArray, elem: kString, sql: "arrayMap(x -> concat(" + kind + ", ':', x.1), " + pairs + ")"}
	},
	"matched": func(g *gen, c *plan.Call, a []val) val {
		return call(kCond, false, "notEmpty("+a[0].sql+")")
	},
	"key value": func(g *gen, c *plan.Call, a []val) val {
		m := g.hoist(val{sql: "extractGroups(" + a[0].sql + ", " + a[1].sql + ")", k: kArray, elem: kString})
		sql := "if(" + m.sql + "[1] != '', " + m.sql + "[1], trim(BOTH ' ' FROM " + m.sql + "[2]))"
		if escape, _ := a[2].constString(); escape != "" {
			sql = "replaceRegexpAll(" + sql + ", " + quote(regexp.QuoteMeta(escape)+"(.)") + ", '\\\\1')"
		}
		return call(kString, false, sql)
	},
	"key value by regex": func(g *gen, c *plan.Call, a []val) val {
		x := g.variable()
		return call(kString, false, "arrayElement(arrayMap("+x+" -> "+x+"[2], arrayFilter("+x+" -> "+x+"[1] = "+a[2].sql+", extractAllGroupsVertical("+a[0].sql+", "+a[1].sql+"))), 1)")
	},
}

// dynamic makes a dynamic value of a scalar; it keeps what is known of it.
func (g *gen) dynamic(v val) val {
	switch v.k {
	case kString:
		v.k = kDynString
		return v
	}
	return v
}

// elementAs casts an element without parsing: what is of another type is null.
func elementAs(g *gen, c *plan.Call, a []val) val {
	v := a[0]
	switch c.T {
	case plan.String:
		return g.str(v)
	case plan.Int, plan.Long, plan.Real, plan.Decimal:
		return g.num(v, kindOf(c.T))
	case plan.Bool:
		return g.canonical(g.toBool(v), plan.Bool)
	case plan.Datetime:
		return g.toDatetime(v)
	case plan.Timespan:
		return g.toTimespan(v)
	case plan.GUID:
		return g.toGUID(v)
	}
	return g.json(v)
}

// strs returns all arguments as text.
func (g *gen) strs(a []val) []string {
	out := make([]string, len(a))
	for i, v := range a {
		out[i] = g.str(v).sql
	}
	return out
}

// anyNull says whether one of the values may be NULL.
func anyNull(a ...val) bool {
	for _, v := range a {
		if v.null {
			return true
		}
	}
	return false
}

// choose writes a condition whose branches have the type t.
func (g *gen) choose(t plan.Type, conds []string, branches []val) val {
	k := kindOf(t)
	null := false
	sqls := make([]string, len(branches))
	for i, b := range branches {
		var v val
		switch {
		case b.path == nil && b.c != nil && b.c.Null && k != kString:
			sqls[i] = "NULL"
			null = true
			continue
		case k == kJSON:
			v = g.json(b)
		case k == kString:
			v = g.str(b)
		case k == kBool:
			v = g.canonical(g.boolean(b), plan.Bool)
		case k == kDatetime:
			v = g.toDatetime(b)
		case k == kTimespan:
			v = g.toTimespan(b)
		case k == kGUID:
			v = g.toGUID(b)
		default:
			v = g.num(b, k)
		}
		null = null || v.null
		sqls[i] = v.sql
	}
	allNull := true
	for _, s := range sqls {
		allNull = allNull && s == "NULL"
	}
	if allNull {
		return nullOf(k)
	}
	if len(conds) == 1 {
		return call(k, null, "if("+conds[0]+", "+sqls[0]+", "+sqls[1]+")")
	}
	var sb strings.Builder
	sb.WriteString("multiIf(")
	for i, c := range conds {
		sb.WriteString(c)
		sb.WriteString(", ")
		sb.WriteString(sqls[i])
		sb.WriteString(", ")
	}
	sb.WriteString(sqls[len(sqls)-1])
	sb.WriteByte(')')
	return call(k, null, sb.String())
}
