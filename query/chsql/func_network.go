package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// ipv4 writes an address as a number under the smaller of its own and the given
// prefix; NULL where the text is none. prefix is its length in bits.
func (g *gen) ipv4(v val, max string) (addr, prefix val) {
	s := g.hoist(g.str(v))
	own := "if(position(" + s.sql + ", '/') > 0, toInt64OrNull(substring(" + s.sql + ", position(" + s.sql + ", '/') + 1)), 32)"
	if max != "" {
		own = "least(" + own + ", " + max + ")"
	}
	prefix = g.hoist(val{k: kLong, null: true, sql: own})
	addr = g.hoist(val{k: kLong, null: true, sql: "if(" + prefix.sql + " BETWEEN 0 AND 32, toInt64(bitAnd(IPv4StringToNumOrNull(splitByChar('/', " + s.sql + ")[1]), " + mask4(prefix.sql) + ")), NULL)"})
	return addr, prefix
}

// mask4 writes the mask of a prefix length.
func mask4(bits string) string {
	return "bitAnd(bitShiftLeft(toUInt64(4294967295), 32 - least(greatest(ifNull(" + bits + ", 0), 0), 32)), 4294967295)"
}

// under writes an address under a further prefix.
func under(addr, bits string) string { return "bitAnd(" + addr + ", toInt64(" + mask4(bits) + "))" }

// compare4 returns both addresses under the smallest prefix of all.
func (g *gen) compare4(a []val) (l, r string) {
	max := ""
	if len(a) > 2 {
		max = "ifNull(" + g.num(a[2], kLong).sql + ", 32)"
	}
	x, p := g.ipv4(a[0], max)
	y, q := g.ipv4(a[1], max)
	least := g.hoist(val{k: kLong, null: true, sql: "least(" + p.sql + ", " + q.sql + ")"})
	return under(x.sql, least.sql), under(y.sql, least.sql)
}

// ipv6 writes an address, IPv4 text included, under the smaller of its own and
// the given prefix, and that prefix.
func (g *gen) ipv6(v val, max string) (addr, prefix val) {
	s := g.hoist(g.str(v))
	// IPv4 notation counts its prefix from bit 96, and ::a.b.c.d is a.b.c.d.
	v4 := "position(" + s.sql + ", '.') > 0"
	own := "if(position(" + s.sql + ", '/') > 0, toInt64OrNull(substring(" + s.sql + ", position(" + s.sql + ", '/') + 1)) + if(" + v4 + ", 96, 0), 128)"
	if max != "" {
		own = "least(" + own + ", " + max + ")"
	}
	prefix = g.hoist(val{k: kLong, null: true, sql: own})
	text := "splitByChar('/', " + s.sql + ")[1]"
	addr = g.hoist(val{k: kString, null: true, sql: "if(" + prefix.sql + " BETWEEN 0 AND 128, toIPv6OrNull(if(" + v4 + " AND startsWith(" + s.sql + ", '::') AND NOT startsWith(lower(" + s.sql + "), '::ffff:'), substring(" + text + ", 3), " + text + ")), NULL)"})
	return addr, prefix
}

// under6 writes an IPv6 address under a prefix, as 32 hexadecimal digits.
func under6(addr, bits string) string {
	return "if(isNull(" + addr + ") OR isNull(" + bits + "), NULL, lower(hex(IPv6CIDRToRange(assumeNotNull(" + addr + "), toUInt8(assumeNotNull(" + bits + "))).1)))"
}

func (g *gen) compare6(a []val) (l, r string) {
	max := ""
	if len(a) > 2 {
		max = "ifNull(" + g.num(a[2], kLong).sql + ", 128)"
	}
	x, p := g.ipv6(a[0], max)
	y, q := g.ipv6(a[1], max)
	least := g.hoist(val{k: kLong, null: true, sql: "least(" + p.sql + ", " + q.sql + ")"})
	return under6(x.sql, least.sql), under6(y.sql, least.sql)
}

func (g *gen) order3(l, r string) val {
	x, y := g.hoist(val{k: kLong, null: true, sql: l}), g.hoist(val{k: kLong, null: true, sql: r})
	return call(kLong, true, "toInt64(multiIf("+x.sql+" < "+y.sql+", -1, "+x.sql+" > "+y.sql+", 1, "+x.sql+" = "+y.sql+", 0, NULL))")
}

// inRange4 says whether an address lies in a range.
func (g *gen) inRange4(ip val, r val) string {
	x, _ := g.ipv4(ip, "")
	y, q := g.ipv4(r, "")
	return under(x.sql, q.sql) + " = " + y.sql
}

func (g *gen) inRange6(ip val, r val) string {
	x, _ := g.ipv6(ip, "")
	y, q := g.ipv6(r, "")
	return under6(x.sql, q.sql) + " = " + under6(y.sql, q.sql)
}

// inAny tests the ranges that follow the address, or those of an array. It is
// null for what is no address; ranges that are none hold nothing.
func (g *gen) inAny(c *plan.Call, a []val, address func(v val, max string) (addr, prefix val), test func(ip, r val) string) val {
	ip := g.hoist(g.str(a[0]))
	v := g.inRanges(c, ip, a, test)
	addr, _ := address(ip, "")
	return call(kBool, true, "if(isNull("+addr.sql+"), NULL, CAST("+v.sql+", 'Bool'))")
}

func (g *gen) inRanges(c *plan.Call, ip val, a []val, test func(ip, r val) string) val {
	if len(a) == 2 && c.Args[1].Type() == plan.Dynamic {
		arr := g.strings(a[1])
		x := g.variable()
		b := g.b
		g.b = nil
		t := test(ip, val{sql: x, k: kString, atom: true})
		g.b = b
		return call(kCond, false, "arrayExists("+x+" -> ifNull("+t+", 0), "+arr.sql+")")
	}
	parts := make([]string, 0, len(a))
	for _, r := range a[1:] {
		parts = append(parts, "ifNull("+test(ip, r)+", 0)")
	}
	return cond(false, strings.Join(parts, " OR "))
}

// addresses writes the IPv4 addresses in a text that are delimited properly.
func addresses(text string) string {
	return "arrayFilter(x -> isNotNull(IPv4StringToNumOrNull(x)), arrayMap(x -> trim(BOTH '.' FROM x), splitByRegexp('[^0-9A-Za-z.]+', " + text + ")))"
}

// anyOf returns the needles of has_any_ipv4 and has_any_ipv4_prefix as an array.
func (g *gen) anyOf(c *plan.Call, a []val) string {
	if len(a) == 2 && c.Args[1].Type() == plan.Dynamic {
		return g.strings(a[1]).sql
	}
	return "[" + strings.Join(g.strs(a[1:]), ", ") + "]"
}

var networkFunctions = map[string]function{
	"parse_ipv4": func(g *gen, c *plan.Call, a []val) val {
		addr, _ := g.ipv4(a[0], "")
		return addr
	},
	"parse_ipv4_mask": func(g *gen, c *plan.Call, a []val) val {
		prefix := g.hoist(g.num(a[1], kLong))
		addr, _ := g.ipv4(a[0], "ifNull("+prefix.sql+", -1)")
		return call(kLong, true, "if(ifNull("+prefix.sql+" BETWEEN 0 AND 32, 0), "+addr.sql+", NULL)")
	},
	"ipv4_netmask_suffix": func(g *gen, c *plan.Call, a []val) val {
		addr, prefix := g.ipv4(a[0], "")
		return call(kLong, true, "if(isNull("+addr.sql+"), NULL, "+prefix.sql+")")
	},
	"format_ipv4":      func(g *gen, c *plan.Call, a []val) val { return g.formatIPv4(c, a, false) },
	"format_ipv4_mask": func(g *gen, c *plan.Call, a []val) val { return g.formatIPv4(c, a, true) },
	"ipv4_compare": func(g *gen, c *plan.Call, a []val) val {
		return g.order3(g.compare4(a))
	},
	"ipv4_is_match": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.compare4(a)
		return cond(true, l+" = "+r)
	},
	"ipv4_is_in_range": func(g *gen, c *plan.Call, a []val) val {
		return cond(true, g.inRange4(a[0], a[1]))
	},
	"ipv4_is_in_any_range": func(g *gen, c *plan.Call, a []val) val {
		return g.inAny(c, a, g.ipv4, g.inRange4)
	},
	"ipv4_is_private": func(g *gen, c *plan.Call, a []val) val {
		addr, prefix := g.ipv4(a[0], "")
		in := func(mask int64, net int64) string {
			return "(bitAnd(" + addr.sql + ", " + itoa(mask) + ") = " + itoa(net)
		}
		return cond(true, in(0xFF000000, 10<<24)+" AND "+prefix.sql+" >= 8) OR "+in(0xFFF00000, 172<<24|16<<16)+" AND "+prefix.sql+" >= 12) OR "+in(0xFFFF0000, 192<<24|168<<16)+" AND "+prefix.sql+" >= 16)")
	},
	"ipv4_range_to_cidr_list": func(g *gen, c *plan.Call, a []val) val {
		from, _ := g.ipv4(a[0], "")
		to, _ := g.ipv4(a[1], "")
		// Each step takes the largest block that begins here and does not pass the end.
		size := "least(if(acc.1 = 0, 32, toUInt8(log2(bitAnd(acc.1, bitNot(acc.1) + 1)))), toUInt8(floor(log2(" + to.sql + " - acc.1 + 1))))"
		step := "if(acc.1 > " + to.sql + ", acc, (acc.1 + bitShiftLeft(toInt64(1), " + size + "), arrayPushBack(acc.2, concat(IPv4NumToString(toUInt32(acc.1)), '/', toString(32 - " + size + ")))))"
		step = strings.ReplaceAll(step, to.sql, "assumeNotNull("+to.sql+")")
		return call(kJSON, true, "if(isNull("+from.sql+") OR isNull("+to.sql+"), NULL, toJSONString(arrayFold((acc, i) -> "+step+", range(64), (toInt64(assumeNotNull("+from.sql+")), emptyArrayString())).2))")
	},
	"parse_ipv6": func(g *gen, c *plan.Call, a []val) val {
		addr, prefix := g.ipv6(a[0], "")
		return ipv6Text(under6(addr.sql, prefix.sql))
	},
	"parse_ipv6_mask": func(g *gen, c *plan.Call, a []val) val {
		addr, prefix := g.ipv6(a[0], "ifNull("+g.num(a[1], kLong).sql+", -1)")
		return ipv6Text(under6(addr.sql, prefix.sql))
	},
	"ipv6_compare": func(g *gen, c *plan.Call, a []val) val {
		return g.order3(g.compare6(a))
	},
	"ipv6_is_match": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.compare6(a)
		return cond(true, l+" = "+r)
	},
	"ipv6_is_in_range": func(g *gen, c *plan.Call, a []val) val {
		return cond(true, g.inRange6(a[0], a[1]))
	},
	"ipv6_is_in_any_range": func(g *gen, c *plan.Call, a []val) val {
		return g.inAny(c, a, g.ipv6, g.inRange6)
	},
	"has_ipv4": func(g *gen, c *plan.Call, a []val) val {
		return call(kCond, false, "has("+addresses(g.str(a[0]).sql)+", "+g.str(a[1]).sql+")")
	},
	"has_any_ipv4": func(g *gen, c *plan.Call, a []val) val {
		return call(kCond, false, "hasAny("+addresses(g.str(a[0]).sql)+", "+g.anyOf(c, a)+")")
	},
	"has_ipv4_prefix": func(g *gen, c *plan.Call, a []val) val {
		p := g.hoist(g.str(a[1]))
		return call(kCond, false, "arrayExists(x -> "+prefixTest("x", p.sql)+", "+addresses(g.str(a[0]).sql)+")")
	},
	"has_any_ipv4_prefix": func(g *gen, c *plan.Call, a []val) val {
		all := g.anyOf(c, a)
		return call(kCond, false, "arrayExists(x -> arrayExists(p -> "+prefixTest("x", "p")+", "+all+"), "+addresses(g.str(a[0]).sql)+")")
	},
}

// prefixTest says that an address begins with a prefix: either a whole address,
// or numbers that end in a point.
func prefixTest(x, p string) string {
	return "if(endsWith(" + p + ", '.'), startsWith(" + x + ", " + p + "), " + x + " = " + p + ")"
}

// ipv6Text writes 32 hexadecimal digits in groups of four.
func ipv6Text(hex string) val {
	return call(kString, false, "arrayStringConcat(extractAll(ifNull("+hex+", ''), '.{4}'), ':')")
}

func (g *gen) formatIPv4(c *plan.Call, a []val, withMask bool) val {
	max := ""
	if len(a) > 1 {
		max = "ifNull(" + g.num(a[1], kLong).sql + ", -1)"
	}
	var addr, prefix val
	if t := c.Args[0].Type(); t.Numeric() {
		n := g.num(a[0], kLong)
		if max == "" {
			max = "32"
		}
		prefix = g.hoist(val{k: kLong, null: true, sql: "toNullable(toInt64(" + max + "))"})
		addr = g.hoist(val{k: kLong, null: true, sql: "if(" + prefix.sql + " BETWEEN 0 AND 32 AND " + n.s() + " BETWEEN 0 AND 4294967295, " + under(n.sql, prefix.sql) + ", NULL)"})
	} else {
		addr, prefix = g.ipv4(a[0], max)
	}
	text := "IPv4NumToString(toUInt32(assumeNotNull(" + addr.sql + ")))"
	if withMask {
		text = "concat(" + text + ", '/', toString(assumeNotNull(" + prefix.sql + ")))"
	}
	return call(kString, false, "if(isNull("+addr.sql+"), '', "+text+")")
}
