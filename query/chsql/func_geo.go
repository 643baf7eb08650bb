package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// earthRadius is the radius of the sphere that distances are measured on, metres.
const earthRadius = "6371010."

// haversine writes the distance of two points given in degrees.
func haversine(lon1, lat1, lon2, lat2 string) string {
	return "2 * " + earthRadius + " * asin(least(1., sqrt(pow(sin(radians(" + lat2 + " - " + lat1 + ") / 2), 2) + cos(radians(" + lat1 + ")) * cos(radians(" + lat2 + ")) * pow(sin(radians(" + lon2 + " - " + lon1 + ") / 2), 2))))"
}

// coordinates names numbers and says that they are places on Earth: longitudes at
// even places, latitudes at odd ones.
func (g *gen) coordinates(a []val) (names []string, valid string) {
	var tests []string
	for i, v := range a {
		n := g.named("v", g.num(v, kReal))
		limit := "180"
		if i%2 == 1 {
			limit = "90"
		}
		test := "ifNull(abs(" + n.sql + ") <= " + limit + ", 0)"
		tests = append(tests, test)
		// Both branches of a condition are computed: what is no place is none that fails.
		names = append(names, g.named("at", val{k: kReal, sql: "if(" + test + ", assumeNotNull(" + n.sql + "), 0.)"}).sql)
	}
	return names, strings.Join(tests, " AND ")
}

// geoPoint writes a point as GeoJSON.
func geoPoint(lon, lat string) string {
	return "concat('{\"type\":\"Point\",\"coordinates\":[', toString(" + lon + "), ',', toString(" + lat + "), ']}')"
}

// h3 reads the text of an H3 cell. ok says that it is one; for what is none the
// cell is some other.
func (g *gen) h3(v val) (cell, ok string) {
	s := g.named("text", g.str(v)).sql
	const other = "'861f8894fffffff'"
	digits := "match(" + s + ", '^[0-9a-fA-F]{15,16}$')"
	read := "stringToH3(if(" + digits + ", " + s + ", " + other + "))"
	valid := g.named("valid", val{k: kCond, sql: digits + " AND h3IsValid(" + read + ")"}).sql
	return g.named("cell", val{k: kLong, sql: "if(" + valid + ", " + read + ", stringToH3(" + other + "))"}).sql, valid
}

// cells writes an array of H3 cells.
func cells(cond, sql string) val {
	return call(kJSON, true, "if("+cond+", toJSONString(arrayMap(x -> h3ToString(x), "+sql+")), NULL)")
}

var geoFunctions = map[string]function{
	"geo_distance_2points": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:4])
		d := haversine(p[0], p[1], p[2], p[3])
		if len(a) > 4 && a[4].c != nil && a[4].c.Int != 0 {
			d = "toFloat64(geoDistance(assumeNotNull(" + p[0] + "), assumeNotNull(" + p[1] + "), assumeNotNull(" + p[2] + "), assumeNotNull(" + p[3] + ")))"
		}
		return call(kReal, true, "if("+valid+", "+d+", NULL)")
	},
	"geo_point_in_circle": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:4])
		r := g.named("radius", g.num(a[4], kReal)).sql
		return call(kCond, true, "if("+valid+" AND ifNull("+r+" >= 0, 0), "+haversine(p[0], p[1], p[2], p[3])+" <= "+r+", NULL)")
	},
	"geo_azimuth": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:4])
		y := "sin(radians(" + p[2] + " - " + p[0] + ")) * cos(radians(" + p[3] + "))"
		x := "cos(radians(" + p[1] + ")) * sin(radians(" + p[3] + ")) - sin(radians(" + p[1] + ")) * cos(radians(" + p[3] + ")) * cos(radians(" + p[2] + " - " + p[0] + "))"
		return call(kReal, true, "if("+valid+" AND ("+p[0]+" != "+p[2]+" OR "+p[1]+" != "+p[3]+"), positiveModulo(atan2("+y+", "+x+"), 2 * pi()), NULL)")
	},
	"geo_line_length": func(g *gen, c *plan.Call, a []val) val {
		json := g.named("line", val{k: kText, sql: nonNull(g.json(a[0]))}).sql
		lines := "multiIf(JSONExtractString(" + json + ", 'type') = 'LineString', [JSONExtract(" + json + ", 'coordinates', 'Array(Array(Float64))')], JSONExtractString(" + json + ", 'type') = 'MultiLineString', JSONExtract(" + json + ", 'coordinates', 'Array(Array(Array(Float64)))'), [])"
		l := g.named("lines", val{k: kArray, sql: lines}).sql
		d := haversine("x[1]", "x[2]", "y[1]", "y[2]")
		return call(kReal, true, "if(empty("+l+") OR arrayExists(w -> length(w) < 2, "+l+"), NULL, arraySum(w -> arraySum((x, y) -> "+d+", arrayPopBack(w), arrayPopFront(w)), "+l+"))")
	},
	"geo_point_in_polygon": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:2])
		json := g.named("polygon", val{k: kText, sql: nonNull(g.json(a[2]))}).sql
		polygons := g.named("polygons", val{k: kArray, sql: "multiIf(JSONExtractString(" + json + ", 'type') = 'Polygon', [JSONExtract(" + json + ", 'coordinates', 'Array(Array(Array(Float64)))')], JSONExtractString(" + json + ", 'type') = 'MultiPolygon', JSONExtract(" + json + ", 'coordinates', 'Array(Array(Array(Array(Float64))))'), [])"}).sql
		// A ray crosses the outline an odd number of times; holes count alike.
		cross := "((x[2] > " + p[1] + ") != (y[2] > " + p[1] + ")) AND " + p[0] + " < (y[1] - x[1]) * (" + p[1] + " - x[2]) / (y[2] - x[2]) + x[1]"
		ring := "arrayCount((x, y) -> ifNull(" + cross + ", 0), arrayPopBack(w), arrayPopFront(w))"
		return call(kCond, true, "if("+valid+" AND notEmpty("+polygons+") AND arrayAll(u -> arrayAll(w -> length(arrayDistinct(w)) >= 3, u), "+polygons+"), arrayExists(u -> modulo(arraySum(w -> "+ring+", u), 2) = 1, "+polygons+"), NULL)")
	},
	"geo_point_to_geohash": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:2])
		n := "5"
		if len(a) > 2 {
			n = g.num(a[2], kLong).lit()
		}
		return call(kString, false, "if("+valid+" AND "+n+" BETWEEN 1 AND 18, geohashEncode(assumeNotNull("+p[0]+"), assumeNotNull("+p[1]+"), toUInt8(least(greatest("+n+", 1), 12))), '')")
	},
	"geo_geohash_to_central_point": func(g *gen, c *plan.Call, a []val) val {
		lon, lat, _, _, ok := g.geohash(a[0])
		return call(kJSON, true, "if("+ok+", "+geoPoint(lon, lat)+", NULL)")
	},
	"geo_geohash_to_polygon": func(g *gen, c *plan.Call, a []val) val {
		lon, lat, dx, dy, ok := g.geohash(a[0])
		point := func(x, y string) string {
			return "'[', toString(" + lon + " " + x + " " + dx + "), ',', toString(" + lat + " " + y + " " + dy + "), ']'"
		}
		return call(kJSON, true, "if("+ok+", concat('{\"type\":\"Polygon\",\"coordinates\":[[', "+point("-", "-")+", ',', "+point("+", "-")+", ',', "+point("+", "+")+", ',', "+point("-", "+")+", ',', "+point("-", "-")+", ']]}'), NULL)")
	},
	"geo_point_to_h3cell": func(g *gen, c *plan.Call, a []val) val {
		p, valid := g.coordinates(a[:2])
		n := "6"
		if len(a) > 2 {
			n = g.num(a[2], kLong).lit()
		}
		// From version 25.5 the latitude comes first.
		return call(kString, false, "if("+valid+" AND "+n+" BETWEEN 0 AND 15, h3ToString(geoToH3(assumeNotNull("+p[1]+"), assumeNotNull("+p[0]+"), toUInt8(least(greatest("+n+", 0), 15)))), '')")
	},
	"geo_h3cell_to_central_point": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		at := "h3ToGeo(" + h + ")"
		return call(kJSON, true, "if("+ok+", "+geoPoint(at+".2", at+".1")+", NULL)")
	},
	"geo_h3cell_to_polygon": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		ring := g.let("h3ToGeoBoundary("+h+")", func(b string) string {
			return "arrayStringConcat(arrayMap(x -> concat('[', toString(x.2), ',', toString(x.1), ']'), arrayPushBack(" + b + ", " + b + "[1])), ',')"
		})
		return call(kJSON, true, "if("+ok+", concat('{\"type\":\"Polygon\",\"coordinates\":[[', "+ring+", ']]}'), NULL)")
	},
	"geo_geohash_neighbors": func(g *gen, c *plan.Call, a []val) val {
		lon, lat, dx, dy, ok := g.geohash(a[0])
		size := "length(" + g.str(a[0]).sql + ")"
		var around []string
		for _, d := range [][2]string{{"-2", "-2"}, {"-2", "2"}, {"2", "-2"}, {"0", "2"}, {"-2", "0"}, {"2", "2"}, {"2", "0"}, {"0", "-2"}} {
			x := "(positiveModulo(" + lon + " + " + d[0] + " * " + dx + " + 180, 360) - 180)"
			around = append(around, "geohashEncode("+x+", "+lat+" + "+d[1]+" * "+dy+", toUInt8(greatest("+size+", 1)))")
		}
		return call(kJSON, true, "if("+ok+" AND "+size+" <= 12, toJSONString(["+strings.Join(around, ", ")+"]), NULL)")
	},
	"geo_h3cell_level": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		return call(kInt, true, "if("+ok+", toInt32(h3GetResolution("+h+")), NULL)")
	},
	"geo_h3cell_parent": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		n := "h3GetResolution(" + h + ") - 1"
		if len(a) > 1 {
			n = g.num(a[1], kLong).lit()
		}
		return call(kString, false, "if("+ok+" AND "+n+" >= 0 AND "+n+" < h3GetResolution("+h+"), h3ToString(h3ToParent("+h+", toUInt8(greatest(least("+n+", h3GetResolution("+h+")), 0)))), '')")
	},
	"geo_h3cell_children": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		n := "h3GetResolution(" + h + ") + 1"
		if len(a) > 1 {
			n = g.num(a[1], kLong).lit()
		}
		ok += " AND " + n + " > h3GetResolution(" + h + ") AND " + n + " <= least(15, h3GetResolution(" + h + ") + 5)"
		return cells(ok, "h3ToChildren("+h+", toUInt8(least(greatest("+n+", h3GetResolution("+h+")), 15, h3GetResolution("+h+") + 5)))")
	},
	"geo_h3cell_neighbors": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		return cells(ok, "arrayFilter(x -> x != "+h+", h3kRing("+h+", 1))")
	},
	"geo_h3cell_rings": func(g *gen, c *plan.Call, a []val) val {
		h, ok := g.h3(a[0])
		n := g.num(a[1], kLong).lit()
		return call(kJSON, true, "if("+ok+" AND "+n+" BETWEEN 0 AND 142, toJSONString(arrayMap(k -> arrayMap(x -> h3ToString(x), if(k = 0, ["+h+"], arrayFilter(x -> NOT has(h3kRing("+h+", toUInt16(greatest(toInt32(k) - 1, 0))), x), h3kRing("+h+", toUInt16(k))))), range(toUInt32(least(greatest("+n+", 0), 142)) + 1))), NULL)")
	},
}

// geohash names the centre of a geohash cell and half its width and height.
func (g *gen) geohash(v val) (lon, lat, dx, dy, ok string) {
	s := g.named("hash", g.str(v)).sql
	at := g.named("cell", val{k: kArray, sql: "geohashDecode(" + s + ")"}).sql
	bits := "(5 * length(" + s + "))"
	return "toFloat64(" + at + ".1)", "toFloat64(" + at + ".2)", "180 / pow(2, ceil(" + bits + " / 2))", "90 / pow(2, floor(" + bits + " / 2))",
		"match(" + s + ", '^[0-9b-hjkmnp-z]{1,18}$')"
}
