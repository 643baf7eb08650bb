package chsql

import (
	"strings"

	"hubscope/query/plan"
)

// The functions here look for seasons in a series and take it apart. Each is one
// expression, in which every step is named once by a lambda ([gen.let]).

// autocorrelations writes the unbiased autocorrelations of a series at the lags 1
// to half its length. level removes the level of a series: its mean, or its trend.
func (g *gen) autocorrelations(s string, level func(g *gen, z string) string) string {
	return g.let(filled(s), func(z string) string {
		return g.let(level(g, z), func(d string) string {
			return g.let("arraySum(x -> x * x, "+d+")", func(power string) string {
				at := "arraySum((x, y) -> x * y, arraySlice(" + d + ", 1, length(" + d + ") - k), arraySlice(" + d + ", k + 1))"
				return "arrayMap(k -> if(" + power + " = 0, 0., " + at + " / " + power + " * length(" + d + ") / (length(" + d + ") - k)), range(1, intDiv(length(" + d + "), 2) + 1))"
			})
		})
	})
}

func withoutMean(g *gen, z string) string {
	return g.let("arrayAvg("+z+")", func(mean string) string { return "arrayMap(x -> x - " + mean + ", " + z + ")" })
}

// withoutLine removes a linear trend, beside which no season would be seen.
func withoutLine(g *gen, z string) string {
	return g.let(fitLine(z), func(line string) string {
		return "arrayMap((x, i) -> x - if(isFinite(" + line + ".1), " + line + ".1 * (i - 1) + " + line + ".2, 0.), " + z + ", arrayEnumerate(" + z + "))"
	})
}

// score writes how periodic a series is at a lag: the smallest autocorrelation at
// its multiples, nothing below zero.
func score(acf, lag string) string {
	return "greatest(0., arrayMin(arrayMap(m -> " + acf + "[toInt64(round(m * " + lag + "))], range(1, toUInt32(greatest(floor(length(" + acf + ") / " + lag + "), 1)) + 1))))"
}

// seasons writes the lags whose autocorrelation is the largest around, with their
// scores. They are shorter than half the series, and a multiple of a lag that is
// almost as good is none of its own.
func (g *gen) seasons(acf string) string {
	peak := "arrayMap((r, k) -> (" +
		"toInt64(k), r, " +
		"arrayMax(arraySlice(" + acf + ", greatest(toInt64(intDiv(k + 1, 2)), 1), toInt64(k + intDiv(k, 2)) - greatest(toInt64(intDiv(k + 1, 2)), 1) + 1)), " +
		"arrayMax(arraySlice(" + acf + ", greatest(toInt64(k) - 1, 1), 3))), " + acf + ", arrayEnumerate(" + acf + "))"
	// k, its autocorrelation, the largest around, and the largest beside it.
	likely := "arrayFilter(w -> w.1 >= 4 AND w.1 < length(" + acf + ") AND w.2 > 0 AND (w.2 = w.3 OR w.2 >= 0.95 * w.3 AND w.2 = w.4), " + peak + ")"
	multiple := "arrayExists((y, j) -> j >= 4 AND j * 2 <= w.1 AND modulo(w.1, j) = 0 AND y >= 0.8 * w.2, " + acf + ", arrayEnumerate(" + acf + "))"
	return "arrayMap(w -> (w.1, " + score(acf, "w.1") + "), arrayFilter(w -> NOT " + multiple + ", " + likely + "))"
}

func periodsDetect(g *gen, c *plan.Call, a []val) []val {
	lo, hi, n := g.num(a[1], kReal), g.num(a[2], kReal), g.num(a[3], kLong)
	found := g.named("found", val{k: kArray, sql: g.let(g.autocorrelations(g.reals(a[0]).sql, withoutMean), func(acf string) string {
		return "arrayResize(arrayReverseSort(w -> w.2, arrayMap(w -> (toFloat64(w.1), w.2), arrayFilter(w -> w.1 >= " + lo.s() + " AND w.1 <= " + hi.s() + ", " + g.seasons(acf) + "))), toUInt32(least(greatest(ifNull(" + n.lit() + ", 0), 0), 1000)), (0., 0.))"
	})})
	return []val{
		{k: kArray, elem: kReal, sql: "arrayMap(x -> if(x.2 > 0, x.1, 0.), " + found.sql + ")", item: found.item},
		{k: kArray, elem: kReal, sql: "arrayMap(x -> x.2, " + found.sql + ")", item: found.item},
	}
}

func periodsValidate(g *gen, c *plan.Call, a []val) []val {
	var periods []string
	for _, p := range a[1:] {
		periods = append(periods, "toFloat64(ifNull("+g.num(p, kReal).sql+", 0))")
	}
	list := "[" + strings.Join(periods, ", ") + "]"
	scores := g.let(g.autocorrelations(g.reals(a[0]).sql, withoutMean), func(acf string) string {
		return "arrayMap(p -> if(p >= 4 AND p <= length(" + acf + "), " + score(acf, "p") + ", 0.), " + list + ")"
	})
	return []val{{k: kArray, elem: kReal, sql: list}, g.named("scores", val{k: kArray, elem: kReal, sql: scores})}
}

// periodOf returns the number of points in a season that an argument gives, "" if
// it is to be found out.
func periodOf(a []val, i int) string {
	if len(a) > i {
		if n, ok := a[i].constInt(); ok && n >= 0 {
			return itoa(n)
		}
	}
	return ""
}

// pointsOf returns the number of points at the end of a series that an argument
// keeps out of the learning.
func pointsOf(a []val, i int) string {
	if len(a) > i {
		if n, ok := a[i].constInt(); ok && n > 0 {
			return itoa(n)
		}
	}
	return "0"
}

// learned writes the part of a series that is learned from.
func learned(s, points string) string {
	if points == "0" {
		return s
	}
	return "arraySlice(" + s + ", 1, greatest(toInt64(length(" + s + ")) - " + points + ", 0))"
}

// seasonal writes the seasonal component of s: the median of the points of each
// phase of the season, learned from another series. period is "" if it is to be
// found out, when its score reaches the threshold.
func (g *gen) seasonal(s, learn, period, threshold string) string {
	none := "arrayMap(x -> toNullable(0.), " + s + ")"
	switch period {
	case "0":
		return none
	case "":
		best := g.let(g.autocorrelations(learn, withoutLine), func(acf string) string {
			return g.let("arrayReverseSort(w -> w.2, "+g.seasons(acf)+")", func(found string) string {
				return "if(notEmpty(" + found + ") AND " + found + "[1].2 >= " + threshold + ", " + found + "[1].1, 0)"
			})
		})
		return g.let(best, func(p string) string {
			return g.let(learn, func(learn string) string { return "if(" + p + " > 0, " + g.phases(s, learn, p) + ", " + none + ")" })
		})
	}
	return g.let(learn, func(learn string) string { return g.phases(s, learn, period) })
}

func (g *gen) phases(s, learn, period string) string {
	median := "arrayMap(q -> arrayReduce('quantileExactInclusive(0.5)', arrayMap(x -> assumeNotNull(x), arrayFilter((x, j) -> isNotNull(x) AND modulo(j - 1, greatest(" + period + ", 1)) = q, " + learn + ", arrayEnumerate(" + learn + ")))), range(toUInt32(" + period + ")))"
	return g.let(median, func(m string) string {
		return "arrayMap(i -> toNullable(" + m + "[modulo(i - 1, greatest(" + period + ", 1)) + 1]), arrayEnumerate(" + s + "))"
	})
}

// decomposition says how a series is taken apart.
type decomposition struct {
	period    string // points in a season, "0" for none, "" to be found out
	trend     string // avg, linefit, none
	points    string // kept out of the learning
	threshold string
}

// decompose writes a tuple of baseline, seasonal, trend and residual.
func (g *gen) decompose(series string, d decomposition) string {
	return g.let(series, func(s string) string {
		return g.let(g.seasonal(s, learned(s, d.points), d.period, d.threshold), func(seasonal string) string {
			rest := "arrayMap((x, y) -> ifNull(x - y, 0), " + s + ", " + seasonal + ")"
			return g.let(rest, func(rest string) string {
				return g.let(g.trend(s, learned(rest, d.points), d.trend), func(trend string) string {
					return g.let("arrayMap((x, y) -> x + y, "+seasonal+", "+trend+")", func(baseline string) string {
						return "(" + baseline + ", " + seasonal + ", " + trend + ", arrayMap((x, y) -> x - y, " + s + ", " + baseline + "))"
					})
				})
			})
		})
	})
}

// trend writes the trend of a series as long as s.
func (g *gen) trend(s, rest, kind string) string {
	switch kind {
	case "linefit":
		return g.let(fitLine(rest), func(f string) string {
			return "arrayMap(i -> toNullable(" + f + ".1 * (i - 1) + " + f + ".2), arrayEnumerate(" + s + "))"
		})
	case "none":
		return "arrayMap(x -> toNullable(0.), " + s + ")"
	}
	return g.let("arrayAvg("+rest+")", func(mean string) string {
		return "arrayMap(x -> toNullable(" + mean + "), " + s + ")"
	})
}

// decomposed reads the arguments of a decomposition: where the season, the trend,
// the number of points and the threshold stand, -1 for nowhere.
func (g *gen) decomposed(a []val, period, trend, points, threshold int) decomposition {
	d := decomposition{trend: "avg", points: "0", threshold: "0.6"}
	if period >= 0 {
		d.period = periodOf(a, period)
	}
	if trend >= 0 && len(a) > trend {
		d.trend, _ = a[trend].constString()
	}
	if points >= 0 {
		d.points = pointsOf(a, points)
	}
	if threshold >= 0 && len(a) > threshold {
		d.threshold = g.num(a[threshold], kReal).s()
	}
	return d
}

// parts names a tuple of series and returns its elements.
func (g *gen) parts(like, tuple string, n int) []val {
	t := g.named(like, val{k: kArray, sql: tuple})
	out := make([]val, n)
	for i := range out {
		out[i] = realArray(t.sql + "." + itoa(int64(i+1)))
		out[i].item = t.item
	}
	return out
}

func seriesDecompose(g *gen, c *plan.Call, a []val) []val {
	return g.parts("parts", g.decompose(g.reals(a[0]).sql, g.decomposed(a, 1, 2, 3, 4)), 4)
}

func decomposeForecast(g *gen, c *plan.Call, a []val) []val {
	d := g.decomposed(a, 2, 3, 1, 4)
	if len(a) <= 3 {
		d.trend = "linefit"
	}
	return g.parts("parts", g.decompose(g.reals(a[0]).sql, d), 4)
}

func decomposeAnomalies(g *gen, c *plan.Call, a []val) []val {
	limit := "1.5"
	if len(a) > 1 {
		limit = g.num(a[1], kReal).s()
	}
	lo, hi := "0.1", "0.9"
	if len(a) > 5 {
		if m, _ := a[5].constString(); m == "tukey" {
			lo, hi = "0.25", "0.75"
		}
	}
	tuple := g.let(g.decompose(g.reals(a[0]).sql, g.decomposed(a, 2, 3, 4, 6)), func(t string) string {
		return g.let(g.outliers(t+".4", lo, hi, ""), func(scores string) string {
			return "(arrayMap(x -> toNullable(multiIf(x >= " + limit + ", 1., x <= -" + limit + ", -1., 0.)), " + scores + "), " + scores + ", " + t + ".1)"
		})
	})
	return g.parts("parts", tuple, 3)
}
