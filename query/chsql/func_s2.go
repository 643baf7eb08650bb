package chsql

import "hubscope/query/plan"

// S2 divides the faces of a cube around the Earth along a Hilbert curve. ClickHouse
// has its functions in some builds only, so that they are written out: a point is
// taken to a face and to s, t in [0, 1] on it, and the bits of both choose the
// quarter at each level. (s2geometry.io, S2CellId)

// The curve: which quarter a pair of bits is, the pair of a quarter, and how a
// quarter turns what is inside; by orientation.
const (
	s2Quarter = "[0,1,3,2, 0,3,1,2, 2,3,1,0, 2,1,3,0]"
	s2Bits    = "[0,1,3,2, 0,2,3,1, 3,2,0,1, 3,1,0,2]"
	s2Turn    = "[1,0,0,3]"
)

// s2Token writes the cell of a level around a point on the sphere, as text.
func (g *gen) s2Token(x, y, z, level string) string {
	largest := "greatest(abs(" + x + "), abs(" + y + "), abs(" + z + "))"
	return g.let("multiIf(abs("+x+") = "+largest+", if("+x+" >= 0, 0, 3), abs("+y+") = "+largest+", if("+y+" >= 0, 1, 4), if("+z+" >= 0, 2, 5))", func(face string) string {
		u := "multiIf(" + face + " = 0, " + y + " / " + x + ", " + face + " = 1, -(" + x + " / " + y + "), " + face + " = 2, -(" + x + " / " + z + "), " + face + " = 3, " + z + " / " + x + ", " + face + " = 4, " + z + " / " + y + ", -(" + y + " / " + z + "))"
		v := "multiIf(" + face + " = 0, " + z + " / " + x + ", " + face + " = 1, " + z + " / " + y + ", " + face + " = 2, -(" + y + " / " + z + "), " + face + " = 3, " + y + " / " + x + ", " + face + " = 4, -(" + x + " / " + y + "), -(" + x + " / " + z + "))"
		place := func(u string) string {
			return g.let(u, func(u string) string {
				return "toUInt64(least(greatest(floor(if(" + u + " >= 0, 0.5 * sqrt(1 + 3 * " + u + "), 1 - 0.5 * sqrt(1 - 3 * " + u + ")) * 1073741824), 0), 1073741823))"
			})
		}
		return g.let(place(u), func(i string) string {
			return g.let(place(v), func(j string) string {
				k, acc, q := g.variable(), g.variable(), g.variable()
				bit := func(i string) string { return "bitAnd(bitShiftRight(" + i + ", 29 - " + k + "), 1)" }
				step := let(q, s2Quarter+"["+acc+".2 * 4 + "+bit(i)+" * 2 + "+bit(j)+" + 1]", "(toUInt64("+acc+".1 * 4 + "+q+"), toUInt8(bitXor("+acc+".2, "+s2Turn+"["+q+" + 1])))")
				pos := "arrayFold((" + acc + ", " + k + ") -> " + step + ", range(" + level + "), (toUInt64(0), toUInt8(" + face + " % 2))).1"
				id := "bitOr(bitOr(bitShiftLeft(toUInt64(" + face + "), 61), bitShiftLeft(" + pos + ", 61 - 2 * " + level + ")), bitShiftLeft(toUInt64(1), 60 - 2 * " + level + "))"
				return "trim(TRAILING '0' FROM lower(hex(" + id + ")))"
			})
		})
	})
}

// onSphere writes the place of a point given in degrees.
func onSphere(lon, lat string) (x, y, z string) {
	return "cos(radians(" + lat + ")) * cos(radians(" + lon + "))", "cos(radians(" + lat + ")) * sin(radians(" + lon + "))", "sin(radians(" + lat + "))"
}

// s2Cell reads the text of a cell and writes what is made of it, NULL if it is
// none. The cell is a tuple of face, level, and the place on the face at that level.
func (g *gen) s2Cell(v val, body func(cell string) string) val {
	sql := g.let(g.str(v).sql, func(s string) string {
		digits := "match(" + s + ", '^[0-9a-fA-F]{1,16}$')"
		return g.let("reinterpretAsUInt64(reverse(unhex(rightPad(if("+digits+", "+s+", ''), 16, '0'))))", func(id string) string {
			return g.let("toInt64(log2(greatest(bitAnd("+id+", bitNot("+id+") + 1), 1)))", func(last string) string {
				ok := "(" + id + " != 0 AND bitShiftRight(" + id + ", 61) < 6 AND " + last + " % 2 = 0 AND " + last + " <= 60)"
				return g.let("toUInt8(if("+ok+", intDiv(60 - "+last+", 2), 0))", func(level string) string {
					k, acc, q := g.variable(), g.variable(), g.variable()
					digit := "bitAnd(bitShiftRight(" + id + ", 59 - 2 * " + k + "), 3)"
					step := let(q, s2Bits+"["+acc+".3 * 4 + "+digit+" + 1]", "(toInt64("+acc+".1 * 2 + bitShiftRight("+q+", 1)), toInt64("+acc+".2 * 2 + bitAnd("+q+", 1)), toUInt8(bitXor("+acc+".3, "+s2Turn+"["+digit+" + 1])))")
					fold := "arrayFold((" + acc + ", " + k + ") -> " + step + ", range(" + level + "), (toInt64(0), toInt64(0), toUInt8(bitShiftRight(" + id + ", 61) % 2)))"
					return g.let(fold, func(f string) string {
						return g.let("(toUInt8(bitShiftRight("+id+", 61)), "+level+", "+f+".1, "+f+".2)", func(cell string) string {
							return "if(" + ok + ", " + body(cell) + ", NULL)"
						})
					})
				})
			})
		})
	})
	return call(kJSON, true, sql)
}

// s2Point writes the point at a place of a cell's face, as a tuple of its
// coordinates on the sphere (of any length).
func (g *gen) s2Point(cell, i, j string) string {
	flat := func(s string) string {
		return g.let(s+" / exp2("+cell+".2)", func(s string) string {
			return "if(" + s + " >= 0.5, (4 * " + s + " * " + s + " - 1) / 3, (1 - 4 * (1 - " + s + ") * (1 - " + s + ")) / 3)"
		})
	}
	return g.let(flat(i), func(u string) string {
		return g.let(flat(j), func(v string) string {
			f := cell + ".1"
			pick := func(c ...string) string {
				return "multiIf(" + f + " = 0, " + c[0] + ", " + f + " = 1, " + c[1] + ", " + f + " = 2, " + c[2] + ", " + f + " = 3, " + c[3] + ", " + f + " = 4, " + c[4] + ", " + c[5] + ")"
			}
			neg := func(x string) string { return "-(" + x + ")" }
			return "(" + pick("1.", neg(u), neg(u), "-1.", v, v) + ", " + pick(u, "1.", neg(v), neg(v), "-1.", u) + ", " + pick(v, v, "1.", neg(u), neg(u), "-1.") + ")"
		})
	})
}

// degrees writes a point on the sphere as an element of GeoJSON.
func (g *gen) degrees(point string) string {
	return g.let(point, func(p string) string {
		return "concat('[', toString(degrees(atan2(" + p + ".2, " + p + ".1))), ',', toString(degrees(atan2(" + p + ".3, sqrt(" + p + ".1 * " + p + ".1 + " + p + ".2 * " + p + ".2)))), ']')"
	})
}

var s2Functions = map[string]function{
	"geo_point_to_s2cell": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:2])
		level := "11"
		if len(a) > 2 {
			n := g.hoist(g.num(a[2], kLong))
			valid += " AND ifNull(" + n.s() + " BETWEEN 0 AND 30, 0)"
			level = "least(greatest(ifNull(" + n.s() + ", 0), 0), 30)"
		}
		x, y, z := onSphere(p[0], p[1])
		token := g.let(x, func(x string) string {
			return g.let(y, func(y string) string {
				return g.let(z, func(z string) string {
					return g.let("toUInt8("+level+")", func(level string) string { return g.s2Token(x, y, z, level) })
				})
			})
		})
		return call(kString, false, "if("+valid+", "+token+", '')")
	},
	"geo_s2cell_to_central_point": func(g *gen, c *plan.Call, a []val) val {
		return g.s2Cell(a[0], func(cell string) string {
			return "concat('{\"type\":\"Point\",\"coordinates\":', " + g.degrees(g.s2Point(cell, "("+cell+".3 + 0.5)", "("+cell+".4 + 0.5)")) + ", '}')"
		})
	},
	"geo_s2cell_to_polygon": func(g *gen, c *plan.Call, a []val) val {
		return g.s2Cell(a[0], func(cell string) string {
			d := g.variable()
			corner := g.degrees(g.s2Point(cell, "("+cell+".3 + "+d+".1)", "("+cell+".4 + "+d+".2)"))
			return "concat('{\"type\":\"Polygon\",\"coordinates\":[[', arrayStringConcat(arrayMap(" + d + " -> " + corner + ", [(0,0), (1,0), (1,1), (0,1), (0,0)]), ','), ']]}')"
		})
	},
	"geo_s2cell_neighbors": func(g *gen, c *plan.Call, a []val) val {
		return g.s2Cell(a[0], func(cell string) string {
			d := g.variable()
			// A place beside the face lies on the next one.
			near := func(x string) string {
				return "least(greatest(" + x + ", -1e-9 * exp2(" + cell + ".2)), (1 + 1e-9) * exp2(" + cell + ".2))"
			}
			token := g.let(g.s2Point(cell, near("("+cell+".3 + 0.5 + "+d+".1)"), near("("+cell+".4 + 0.5 + "+d+".2)")), func(p string) string {
				return g.s2Token(p+".1", p+".2", p+".3", cell+".2")
			})
			return "toJSONString(arrayDistinct(arrayMap(" + d + " -> " + token + ", [(1,1), (-1,-1), (1,-1), (0,-1), (0,1), (1,0), (-1,0), (-1,1)])))"
		})
	},
}
