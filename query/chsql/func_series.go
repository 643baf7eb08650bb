package chsql

import (
	"math"
	"strings"

	"hubscope/query/plan"
)

// series returns a series as an array of numbers that can be written several
// times; what is no number is NULL.
func (g *gen) series(v val) string { return g.hoist(g.reals(v)).sql }

// let binds a name to an expression inside another, for where no alias can stand.
func let(name, expr, body string) string {
	return "arrayMap(" + name + " -> " + body + ", [" + expr + "])[1]"
}

// let binds an expression to a fresh name. An alias would be put in place of its
// name wherever that stands, and a long computation would grow with each step.
func (g *gen) let(expr string, body func(name string) string) string {
	if _, ok := identName(expr); ok || lambdaName(expr) {
		return body(expr)
	}
	v := g.variable()
	return let(v, expr, body(v))
}

// lambdaName says whether an expression is a variable of a lambda.
func lambdaName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return s != "" && s[0] >= 'a'
}

func realArray(sql string) val { return val{k: kArray, elem: kReal, elemNull: true, sql: sql} }

// asGiven returns a series of the values that another had: whole numbers stay
// without a point.
func asGiven(sql string) val {
	return val{k: kArray, elem: kJSON, sql: "arrayMap(x -> if(isFinite(ifNull(x, nan)), toString(assumeNotNull(x)), 'null'), " + sql + ")"}
}

// eachReal makes a function of each element; {} is the element.
func eachReal(sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		return realArray("arrayMap(x -> " + strings.ReplaceAll(sql, "{}", "x") + ", " + g.series(a[0]) + ")")
	}
}

// pairwise makes a function of the elements of two series, or of a series and a
// number; elements without a partner give null.
func pairwise(sql string, elem kind) function {
	return func(g *gen, c *plan.Call, a []val) val {
		l, r := g.pair(c, a)
		return val{k: kArray, elem: elem, elemNull: true, sql: "arrayMap((x, y) -> " + sql + ", " + l + ", " + r + ")"}
	}
}

// pair returns two series as long as the longer of them.
func (g *gen) pair(c *plan.Call, a []val) (l, r string) {
	lt, rt := c.Args[0].Type(), c.Args[1].Type()
	number := func(v val) string { return g.hoist(g.num(v, kReal)).sql }
	switch {
	case lt != plan.Dynamic:
		r = g.series(a[1])
		return "arrayWithConstant(length(" + r + "), toNullable(" + number(a[0]) + "))", r
	case rt != plan.Dynamic:
		l = g.series(a[0])
		return l, "arrayWithConstant(length(" + l + "), toNullable(" + number(a[1]) + "))"
	}
	l, r = g.series(a[0]), g.series(a[1])
	n := g.hoist(val{k: kLong, sql: "greatest(length(" + l + "), length(" + r + "))"}).sql
	return "arrayResize(" + l + ", " + n + ", NULL)", "arrayResize(" + r + ", " + n + ", NULL)"
}

// shorter writes two series, the longer one cut to the length of the other.
// (series-dot-product-function)
func (g *gen) shorter(c *plan.Call, a []val) (l, r string) {
	if c.Args[0].Type() != plan.Dynamic || c.Args[1].Type() != plan.Dynamic {
		return g.pair(c, a)
	}
	l, r = g.series(a[0]), g.series(a[1])
	n := g.hoist(val{k: kLong, sql: "least(length(" + l + "), length(" + r + "))"}).sql
	cut := func(s string) string { return g.hoist(realArray("arraySlice(" + s + ", 1, " + n + ")")).sql }
	return cut(l), cut(r)
}

// dot writes the sum of products of two series; what is no number is ignored.
func dot(l, r string) string { return "arraySum((x, y) -> ifNull(x * y, 0), " + l + ", " + r + ")" }

// filled returns a series without nulls, which count as 0, for sums.
func filled(s string) string { return "arrayMap(x -> ifNull(x, 0), " + s + ")" }

var seriesFunctions = map[string]function{
	"series_abs":     eachReal("abs({})"),
	"series_acos":    eachReal("if({} BETWEEN -1 AND 1, acos({}), NULL)"),
	"series_asin":    eachReal("if({} BETWEEN -1 AND 1, asin({}), NULL)"),
	"series_atan":    eachReal("atan({})"),
	"series_ceiling": eachReal("ceil({})"),
	"series_cos":     eachReal("cos({})"),
	"series_exp":     eachReal("exp({})"),
	"series_floor":   eachReal("floor({})"),
	"series_log":     eachReal("if({} >= 0, log({}), NULL)"),
	"series_sign":    eachReal("toFloat64(sign({}))"),
	"series_sin":     eachReal("sin({})"),
	"series_tan":     eachReal("tan({})"),

	"series_add":            pairwise("x + y", kReal),
	"series_subtract":       pairwise("x - y", kReal),
	"series_multiply":       pairwise("x * y", kReal),
	"series_divide":         pairwise("x / y", kReal),
	"series_pow":            pairwise("pow(x, y)", kReal),
	"series_greater":        pairwise("x > y", kCond),
	"series_greater_equals": pairwise("x >= y", kCond),
	"series_less":           pairwise("x < y", kCond),
	"series_less_equals":    pairwise("x <= y", kCond),
	"series_equals":         pairwise("x = y", kCond),
	"series_not_equals":     pairwise("x != y", kCond),

	"series_sum": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		return call(kReal, true, "if(arrayExists(x -> isNull(x), "+s+"), NULL, arraySum("+filled(s)+"))")
	},
	"series_product": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		return call(kReal, true, "if(arrayExists(x -> isNull(x), "+s+"), NULL, arrayProduct("+filled(s)+"))")
	},
	"series_magnitude": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		return call(kReal, true, "if(arrayExists(x -> isNull(x), "+s+"), NULL, sqrt(arraySum(x -> ifNull(x * x, 0), "+s+")))")
	},
	"series_dot_product": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.shorter(c, a)
		return call(kReal, true, "if(empty("+l+") OR empty("+r+"), NULL, "+dot(l, r)+")")
	},
	"series_cosine_similarity": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.shorter(c, a[:2])
		norm := func(i int, s string) string {
			if len(a) > 2+i {
				return g.num(a[2+i], kReal).s()
			}
			return "sqrt(" + dot(s, s) + ")"
		}
		return call(kReal, true, "if(empty("+l+") OR empty("+r+"), NULL, "+dot(l, r)+" / ("+norm(0, l)+" * "+norm(1, r)+"))")
	},
	"series_pearson_correlation": func(g *gen, c *plan.Call, a []val) val {
		l, r := g.series(a[0]), g.series(a[1])
		x, y := filled(l), filled(r)
		return call(kReal, true, "if(length("+l+") != length("+r+") OR length("+l+") = 0 OR arrayExists(x -> isNull(x), "+l+") OR arrayExists(x -> isNull(x), "+r+"), NULL, arrayReduce('corrStable', if(length("+l+") = length("+r+"), "+x+", [0.]), if(length("+l+") = length("+r+"), "+y+", [0.])))")
	},
	"series_stats_dynamic": func(g *gen, c *plan.Call, a []val) val {
		v := seriesStats(g, a)
		n := "length(" + g.series(a[0]) + ")"
		bag := []string{"min", "min_idx", "max", "max_idx", "avg", "stdev", "variance"}
		sql := "concat('{'"
		for i, name := range bag {
			sql += ", '\"" + name + "\":', " + nonNullJSON(g, v[i]) + ", ','"
		}
		sum := g.hoist(val{k: kReal, null: true, sql: v[4].sql + " * " + n})
		return call(kJSON, false, sql+", '\"sum\":', "+nonNullJSON(g, sum)+", ',\"len\":', toString("+n+"), '}')")
	},
	"series_fill_const": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		value := "0"
		if len(a) > 1 {
			value = g.num(a[1], kReal).sql
		}
		return asGiven("arrayMap(x -> if(" + g.missing("x", a, 2) + ", " + value + ", x), " + s + ")")
	},
	"series_fill_forward": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		return asGiven("arrayFill(x -> NOT (" + g.missing("x", a, 1) + "), " + s + ")")
	},
	"series_fill_backward": func(g *gen, c *plan.Call, a []val) val {
		s := g.series(a[0])
		return asGiven("arrayReverseFill(x -> NOT (" + g.missing("x", a, 1) + "), " + s + ")")
	},
	"series_fill_linear": fillLinear,
	"series_fir":         fir,
	"series_iir":         iir,
	"series_fit_line_dynamic": func(g *gen, c *plan.Call, a []val) val {
		return partsBag(g, multiFunctions["series_fit_line"](g, c, a), []string{"rsquare", "slope", "variance", "rvariance", "interception", "line_fit"})
	},
	"series_fit_2lines_dynamic": func(g *gen, c *plan.Call, a []val) val {
		v := multiFunctions["series_fit_2lines"](g, c, a)
		side := func(from int) val {
			return partsBag(g, v[from:from+5], []string{"rsquare", "slope", "interception", "variance", "rvariance"})
		}
		main := append(append([]val{}, v[:5]...), side(5), side(10))
		return partsBag(g, main, []string{"rsquare", "split_idx", "variance", "rvariance", "line_fit", "right", "left"})
	},
	"series_outliers": func(g *gen, c *plan.Call, a []val) val {
		kind := "ctukey"
		if len(a) > 1 {
			kind, _ = a[1].constString()
		}
		lo, hi := "0.1", "0.9"
		if kind == "tukey" {
			lo, hi = "0.25", "0.75"
		} else if len(a) > 4 {
			share := func(v val) string { return float(min(max(constFloat(v), 2), 98) / 100) }
			if math.IsNaN(constFloat(a[3])) || math.IsNaN(constFloat(a[4])) {
				share = func(val) string { return "0.5" }
			}
			lo, hi = share(a[3]), share(a[4])
		}
		ignore := ""
		if len(a) > 2 {
			ignore = g.num(a[2], kReal).sql
		}
		return realArray(g.outliers(g.series(a[0]), lo, hi, ignore))
	},
	"series_seasonal": func(g *gen, c *plan.Call, a []val) val {
		return realArray(g.let(g.reals(a[0]).sql, func(s string) string {
			return g.seasonal(s, s, periodOf(a, 1), "0.7")
		}))
	},
}

func nonNullJSON(g *gen, v val) string {
	j := g.json(v)
	if j.null {
		return "ifNull(" + j.sql + ", 'null')"
	}
	return j.sql
}

// partsBag makes a bag of named values.
func partsBag(g *gen, v []val, names []string) val {
	sql := "concat('{'"
	for i, n := range names {
		sep := ", ','"
		if i == len(names)-1 {
			sep = ""
		}
		sql += ", '\"" + n + "\":', " + nonNullJSON(g, v[i]) + sep
	}
	return call(kJSON, false, sql+", '}')")
}

// missing writes the test for the placeholder of missing values.
func (g *gen) missing(x string, a []val, i int) string {
	if len(a) > i && !(a[i].c != nil && a[i].c.Null) {
		p := g.hoist(g.num(a[i], kReal))
		return "ifNull(" + x + " = " + p.sql + ", 0)"
	}
	return "isNull(" + x + ")"
}

// named gives a value an alias, so that several others can read it.
func (g *gen) named(like string, v val) val {
	b := g.aliased(like, v)
	b.item.refs++
	r := b.v
	r.item = b.item
	return r
}

// multiFunctions return several values of one computation.
var multiFunctions = map[string]func(g *gen, c *plan.Call, a []val) []val{
	"series_stats": func(g *gen, c *plan.Call, a []val) []val { return seriesStats(g, a) },
	"series_fit_line": func(g *gen, c *plan.Call, a []val) []val {
		f := g.named("fit", val{k: kArray, sql: fitLine("arrayMap(x -> ifNull(x, 0), " + g.series(a[0]) + ")")})
		r := func(i string) val { return val{sql: f.sql + "." + i, k: kReal, null: true, item: f.item} }
		line := realArray("arrayMap(i -> toNullable(" + f.sql + ".1 * (i - 1) + " + f.sql + ".2), arrayEnumerate(" + g.series(a[0]) + "))")
		line.item = f.item
		return []val{r("5"), r("1"), r("3"), r("4"), r("2"), line}
	},
	"series_fit_2lines":          fit2Lines,
	"series_fit_poly":            fitPoly,
	"series_fft":                 func(g *gen, c *plan.Call, a []val) []val { return fft(g, a, false) },
	"series_ifft":                func(g *gen, c *plan.Call, a []val) []val { return fft(g, a, true) },
	"series_periods_detect":      periodsDetect,
	"series_periods_validate":    periodsValidate,
	"series_decompose":           seriesDecompose,
	"series_decompose_forecast":  decomposeForecast,
	"series_decompose_anomalies": decomposeAnomalies,
	"array_sort_asc":             func(g *gen, c *plan.Call, a []val) []val { return arraySort(g, c, a, false) },
	"array_sort_desc":            func(g *gen, c *plan.Call, a []val) []val { return arraySort(g, c, a, true) },
}

// seriesStats returns min, min_idx, max, max_idx, avg, stdev, variance. Values
// that are not finite make all of them null, unless they are to be ignored.
func seriesStats(g *gen, a []val) []val {
	s := g.series(a[0])
	ignore := len(a) > 1 && a[1].c != nil && a[1].c.Int != 0
	finite := g.named("finite", realArray("arrayMap(x -> assumeNotNull(x), arrayFilter(x -> isFinite(ifNull(x, nan)), "+s+"))"))
	ok := "notEmpty(" + finite.sql + ")"
	if !ignore {
		ok += " AND length(" + finite.sql + ") = length(" + s + ")"
	}
	r := func(k kind, sql string) val {
		return val{k: k, null: true, sql: "if(" + ok + ", " + sql + ", NULL)", item: finite.item}
	}
	index := func(f string) string { return "toInt64(indexOf(" + s + ", " + f + "(" + finite.sql + "))) - 1" }
	return []val{
		r(kReal, "arrayMin("+finite.sql+")"), r(kLong, index("arrayMin")), r(kReal, "arrayMax("+finite.sql+")"), r(kLong, index("arrayMax")),
		r(kReal, "arrayAvg("+finite.sql+")"),
		r(kReal, "if(length("+finite.sql+") > 1, arrayReduce('stddevSampStable', "+finite.sql+"), 0)"),
		r(kReal, "if(length("+finite.sql+") > 1, arrayReduce('varSampStable', "+finite.sql+"), 0)"),
	}
}

// fitLine writes the least-squares line through an array (of numbers, x = 0, 1,
// ...) as a tuple (slope, interception, variance, rvariance, rsquare).
func fitLine(arr string) string {
	fit := let("fs", "(length(fy) * arraySum((y, i) -> y * (i - 1), fy, arrayEnumerate(fy)) - arraySum(i -> i - 1, arrayEnumerate(fy)) * arraySum(fy)) / (length(fy) * arraySum(i -> (i - 1) * (i - 1), arrayEnumerate(fy)) - pow(arraySum(i -> i - 1, arrayEnumerate(fy)), 2))",
		let("fi", "(arraySum(fy) - fs * arraySum(i -> i - 1, arrayEnumerate(fy))) / length(fy)",
			let("fv", "arrayReduce('varPopStable', fy)",
				let("fr", "arraySum((y, i) -> pow(y - (fs * (i - 1) + fi), 2), fy, arrayEnumerate(fy)) / length(fy)",
					"tuple(fs, fi, fv, fr, if(fv = 0, 1., 1 - fr / fv))"))))
	return let("fy", "arrayMap(x -> toFloat64(x), "+arr+")", fit)
}

// fit2Lines tries every place to split and keeps the best.
func fit2Lines(g *gen, c *plan.Call, a []val) []val {
	s := g.named("series", val{k: kArray, elem: kReal, sql: "arrayMap(x -> ifNull(x, 0), " + g.series(a[0]) + ")"})
	n := "length(" + s.sql + ")"
	left, right := fitLine("arraySlice("+s.sql+", 1, k)"), fitLine("arraySlice("+s.sql+", k + 1)")
	// Both parts have at least two points.
	all := g.named("splits", val{k: kArray, sql: "arrayMap(k -> tuple(toInt64(k), " + left + ", " + right + "), range(2, greatest(" + n + " - 1, 2)))"})
	err := "(w.2.4 * w.1 + w.3.4 * (" + n + " - w.1))"
	best := g.named("split", val{k: kArray, sql: "arraySort(w -> " + err + ", " + all.sql + ")[1]"})
	ok := n + " >= 4"
	variance := "arrayReduce('varPopStable', " + s.sql + ")"
	residual := "(" + best.sql + ".2.4 * " + best.sql + ".1 + " + best.sql + ".3.4 * (" + n + " - " + best.sql + ".1)) / " + n
	r := func(k kind, sql string) val {
		return val{k: k, null: true, sql: "if(" + ok + ", " + sql + ", NULL)", item: best.item}
	}
	part := func(i string) []val {
		p := best.sql + "." + i
		return []val{r(kReal, p+".5"), r(kReal, p+".1"), r(kReal, p+".2"), r(kReal, p+".3"), r(kReal, p+".4")}
	}
	line := realArray("arrayMap(i -> if(" + ok + ", if(i <= " + best.sql + ".1, " + best.sql + ".2.1 * (i - 1) + " + best.sql + ".2.2, " + best.sql + ".3.1 * (i - 1 - " + best.sql + ".1) + " + best.sql + ".3.2), NULL), arrayEnumerate(" + s.sql + "))")
	line.item = best.item
	out := []val{
		r(kReal, "if("+variance+" = 0, 1., 1 - ("+residual+") / "+variance+")"), r(kLong, best.sql+".1 - 1"), r(kReal, variance), r(kReal, residual), line,
	}
	return append(append(out, part("3")...), part("2")...)
}

// fillLinear interpolates between the neighbours that are there.
func fillLinear(g *gen, c *plan.Call, a []val) val {
	s := g.series(a[0])
	edges := len(a) < 3 || a[2].c == nil || a[2].c.Int != 0
	constant := "0"
	if len(a) > 3 {
		constant = g.num(a[3], kReal).sql
	}
	gone := g.missing("x", a, 1)
	have := g.hoist(val{k: kArray, elem: kLong, sql: "arrayFilter((i, x) -> NOT (" + gone + "), arrayEnumerate(" + s + "), " + s + ")"}).sql
	// The nearest place with a value at or before i, and at or after it; 0 for none.
	before := "arrayLast(j -> j <= i, " + have + ")"
	after := "arrayFirst(j -> j >= i, " + have + ")"
	ends := "if(t = 0, " + s + "[f], " + s + "[t])"
	if !edges {
		ends = "x"
	}
	// A series of whole numbers stays one.
	whole := g.hoist(val{k: kCond, sql: "arrayAll(x -> isNull(x) OR x = trunc(x), " + s + ") AND NOT match(" + nonNullJSON(g, a[0]) + ", '[0-9]\\\\.[0-9]')"}).sql
	line := "if(" + whole + ", trunc(" + s + "[f] + (" + s + "[t] - " + s + "[f]) * (i - f) / (t - f)), " + s + "[f] + (" + s + "[t] - " + s + "[f]) * (i - f) / (t - f))"
	body := let("f", before, let("t", after, "multiIf(f = i, x, f = 0 OR t = 0, "+ends+", "+line+")"))
	return asGiven("if(empty(" + have + "), arrayMap(x -> CAST(" + constant + ", 'Nullable(Float64)'), " + s + "), arrayMap((x, i) -> " + body + ", " + s + ", arrayEnumerate(" + s + ")))")
}

// fir applies a filter over the points before, or around, each point.
func fir(g *gen, c *plan.Call, a []val) val {
	s := g.series(a[0])
	f := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[1]))}).sql
	negative := "arrayExists(x -> x < 0, " + f + ")"
	scale := g.hoist(val{k: kReal, sql: "if(" + negative + ", 1., arraySum(" + f + "))"}).sql
	if len(a) > 2 && a[2].c != nil {
		scale = "1."
		if a[2].c.Int != 0 {
			scale = "arraySum(" + f + ")"
		}
	}
	shift := "0"
	if len(a) > 3 && a[3].c != nil && a[3].c.Int != 0 {
		shift = "intDiv(length(" + f + "), 2)"
	}
	at := "i - j + 1 + " + shift
	return realArray("arrayMap(i -> toNullable(arraySum((x, j) -> if(" + at + " BETWEEN 1 AND length(" + s + "), x * ifNull(" + s + "[toInt64(greatest(" + at + ", 1))], 0), 0), " + f + ", arrayEnumerate(" + f + ")) / " + scale + "), arrayEnumerate(" + s + "))")
}

// iir applies a recursive filter: y[i] = (sum b[j] x[i-j] - sum a[j] y[i-j]) / a[0].
func iir(g *gen, c *plan.Call, a []val) val {
	s := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[0]))}).sql
	b := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[1]))}).sql
	d := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[2]))}).sql
	in := "arraySum((x, j) -> if(i - j + 1 >= 1, x * " + s + "[toInt64(greatest(i - j + 1, 1))], 0), " + b + ", arrayEnumerate(" + b + "))"
	out := "arraySum((x, j) -> if(j > 1 AND i - j + 1 >= 1, x * acc[toInt64(greatest(i - j + 1, 1))], 0), " + d + ", arrayEnumerate(" + d + "))"
	return val{k: kArray, elem: kReal, sql: "arrayFold((acc, i) -> arrayPushBack(acc, toFloat64((" + in + " - " + out + ") / " + d + "[1])), arrayEnumerate(" + s + "), CAST([], 'Array(Float64)'))"}
}

// quantile writes a percentile of an array by linear interpolation.
func quantile(share, arr string) string {
	return "arrayReduce('quantileExactInclusive(" + share + ")', " + arr + ")"
}

// outliers writes Tukey's scores: how far a value lies outside of the range of
// two percentiles, in units of their distance.
func (g *gen) outliers(s, lo, hi, ignore string) string {
	return g.let(s, func(s string) string {
		skip := "isNull(x)"
		if ignore != "" {
			skip = "isNull(x) OR ifNull(x = " + ignore + ", 0)"
		}
		values := "arrayMap(x -> assumeNotNull(x), arrayFilter(x -> NOT (" + skip + "), " + s + "))"
		return g.let(values, func(v string) string {
			return g.let(quantile(lo, "if(empty("+v+"), [0.], "+v+")"), func(low string) string {
				return g.let(quantile(hi, "if(empty("+v+"), [0.], "+v+")"), func(high string) string {
					over := func(d string) string { return "(" + d + ") / (" + high + " - " + low + ") * " + tukeyScale(lo) }
					return "arrayMap(x -> toNullable(multiIf(" + skip + ", 0., " + low + " = " + high + ", 0., x > " + high + ", " + over("assumeNotNull(x) - "+high) + ", x < " + low + ", " + over("assumeNotNull(x) - "+low) + ", 0.)), " + s + ")"
				})
			})
		})
	})
}

// tukeyScale makes the scores of the wider range comparable with those of the
// quartiles, for normally distributed values.
func tukeyScale(lo string) string {
	if lo == "0.1" {
		// (z90 - z10) / (z75 - z25) of a normal distribution.
		return "1.900031"
	}
	return "1."
}

// fft writes the discrete Fourier transform.
func fft(g *gen, a []val, inverse bool) []val {
	re := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[0]))}).sql
	im := "arrayMap(x -> 0., " + re + ")"
	if len(a) > 1 {
		im = filled(g.series(a[1]))
	}
	im = g.hoist(val{k: kArray, elem: kReal, sql: "arrayResize(" + im + ", length(" + re + "), 0.)"}).sql
	sign, scale := "-", ""
	if inverse {
		sign, scale = "", " / length("+re+")"
	}
	angle := sign + "2 * pi() * k * (i - 1) / length(" + re + ")"
	part := func(body string) val {
		return g.named("fft", val{k: kArray, elem: kReal, sql: "arrayMap(k -> arraySum((x, y, i) -> " + body + ", " + re + ", " + im + ", arrayEnumerate(" + re + "))" + scale + ", range(length(" + re + ")))"})
	}
	return []val{part("x * cos(" + angle + ") - y * sin(" + angle + ")"), part("x * sin(" + angle + ") + y * cos(" + angle + ")")}
}

// fitPoly solves the normal equations of a polynomial by elimination.
func fitPoly(g *gen, c *plan.Call, a []val) []val {
	y := g.hoist(val{k: kArray, elem: kReal, sql: filled(g.series(a[0]))}).sql
	x := "arrayMap(i -> toFloat64(i), arrayEnumerate(" + y + "))"
	degree := int64(1)
	for i, v := range a[1:] {
		if c.Args[i+1].Type() == plan.Dynamic {
			x = filled(g.series(v))
		} else if n, ok := v.constInt(); ok {
			degree = min(max(n, 0), 20)
		}
	}
	xs := g.hoist(val{k: kArray, elem: kReal, sql: "arrayResize(" + x + ", length(" + y + "), 0.)"}).sql
	d := itoa(degree + 1)
	// Rows of the augmented matrix: sums of powers, and the right side.
	row := "arrayPushBack(arrayMap(q -> arraySum(x -> pow(x, p + q), " + xs + "), range(" + d + ")), arraySum((x, y) -> pow(x, p) * y, " + xs + ", " + y + "))"
	matrix := "arrayMap(p -> " + row + ", range(" + d + "))"
	// Gauss-Jordan: row i is divided by its pivot and taken from the others.
	step := let("pr", "arrayMap(x -> x / acc[i + 1][i + 1], acc[i + 1])",
		"arrayMap((w, j) -> if(j = i + 1, pr, arrayMap((u, v) -> u - v * w[i + 1], w, pr)), acc, arrayEnumerate(acc))")
	coef := g.named("coefficients", val{k: kArray, elem: kReal, sql: "arrayReverse(arrayMap(x -> x[-1], arrayFold((acc, i) -> " + step + ", range(" + d + "), " + matrix + ")))"})
	fitted := g.named("fitted", val{k: kArray, elem: kReal, sql: "arrayMap(x -> arrayFold((acc, t) -> acc * x + t, " + coef.sql + ", 0.), " + xs + ")"})
	variance := "arrayReduce('varPopStable', " + y + ")"
	residual := "arraySum((x, y) -> pow(x - y, 2), " + y + ", " + fitted.sql + ") / length(" + y + ")"
	v := g.named("variance", val{k: kReal, sql: variance})
	r := g.named("rvariance", val{k: kReal, sql: residual})
	sq := val{k: kReal, sql: "if(" + v.sql + " = 0, 1., 1 - " + r.sql + " / " + v.sql + ")", item: r.item}
	return []val{sq, coef, v, r, fitted}
}

// arraySort sorts the first array, and the others alike. Nulls are last unless
// asked otherwise. (array-sort-asc-function)
func arraySort(g *gen, c *plan.Call, a []val, desc bool) []val {
	nullsLast := true
	arrays := a
	if n := len(a); n > 1 && c.Args[n-1].Type() == plan.Bool {
		nullsLast = a[n-1].c == nil || a[n-1].c.Int != 0
		arrays = a[:n-1]
	}
	first := g.named("array", g.raws(arrays[0]))
	// Numbers come before strings and these before the rest, in both directions.
	// (array-sort-desc-function)
	rank := func(n int64) string {
		if desc {
			n = -n
		}
		return itoa(n)
	}
	nulls := rank(-9)
	if nullsLast {
		nulls = rank(9)
	}
	key := "multiIf(t = 'null', (" + nulls + ", 0., ''), isNotNull(toFloat64OrNull(t)), (" + rank(0) + ", assumeNotNull(toFloat64OrNull(t)), ''), startsWith(t, '\"'), (" + rank(1) + ", 0., JSONExtractString(t)), (" + rank(2) + ", 0., t))"
	f := "arraySort"
	if desc {
		f = "arrayReverseSort"
	}
	order := g.named("order", val{k: kArray, sql: f + "((i, t) -> " + key + ", arrayEnumerate(" + first.sql + "), " + first.sql + ")"})
	out := make([]val, len(arrays))
	for k, v := range arrays {
		r := first
		if k > 0 {
			r = g.named("array", g.raws(v))
		}
		sql := "arrayMap(i -> " + r.sql + "[i], " + order.sql + ")"
		if k > 0 {
			// Another length: null, as a whole.
			out[k] = val{k: kJSON, null: true, sql: "if(length(" + r.sql + ") = length(" + first.sql + "), concat('[', arrayStringConcat(" + sql + ", ','), ']'), NULL)", item: order.item}
			continue
		}
		out[k] = val{k: kArray, elem: kJSON, sql: sql, item: order.item}
	}
	return out
}

// captureGroups is the number of groups in a regular expression.
func captureGroups(re string) int { return plan.CaptureGroups(re) }
