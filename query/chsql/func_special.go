package chsql

// incompleteBeta writes the regularized incomplete beta function I_x(a, b) by its
// continued fraction (Numerical Recipes 6.4). The arguments are names.
func incompleteBeta(a, b, x string) string {
	fraction := func(a, b, x string) string {
		// State: c, d, h.
		even := "(m * (" + b + " - m) * " + x + " / ((" + a + " - 1 + 2 * m) * (" + a + " + 2 * m)))"
		odd := "(-(" + a + " + m) * (" + a + " + " + b + " + m) * " + x + " / ((" + a + " + 2 * m) * (" + a + " + 1 + 2 * m)))"
		half := func(acc, e string) string {
			return "(1 + " + e + " / " + acc + ".1, 1 / (1 + " + e + " * " + acc + ".2), " + acc + ".3 * (1 + " + e + " / " + acc + ".1) / (1 + " + e + " * " + acc + ".2))"
		}
		step := let("w", half("acc", even), half("w", odd))
		d := "(1 / (1 - (" + a + " + " + b + ") * " + x + " / (" + a + " + 1)))"
		return "arrayFold((acc, m) -> " + step + ", arrayMap(m -> toFloat64(m), range(1, 150)), (1., " + d + ", " + d + ")).3"
	}
	front := "exp(lgamma(" + a + " + " + b + ") - lgamma(" + a + ") - lgamma(" + b + ") + " + a + " * log(" + x + ") + " + b + " * log(1 - " + x + "))"
	return "multiIf(" + x + " <= 0, 0., " + x + " >= 1, 1., " + x + " < (" + a + " + 1) / (" + a + " + " + b + " + 2), " + front + " * " + fraction(a, b, x) + " / " + a + ", 1 - " +
		front + " * " + let("u", "1 - "+x, fraction(b, a, "u")) + " / " + b + ")"
}

// reals3 names three numbers.
func (g *gen) reals3(v []val) (a, b, c string, null bool) {
	x, y, z := g.named("v", g.num(v[0], kReal)), g.named("v", g.num(v[1], kReal)), g.named("v", g.num(v[2], kReal))
	return x.sql, y.sql, z.sql, x.null || y.null || z.null
}

func betaCDF(g *gen, v []val) val {
	x, a, b, _ := g.reals3(v)
	// Outside of its domain the function is no number. (beta-cdf-function)
	body := let("x", "assumeNotNull("+x+")", let("p", "assumeNotNull("+a+")", let("q", "assumeNotNull("+b+")", incompleteBeta("p", "q", "x"))))
	return call(kReal, true, "if(isNull("+x+") OR isNull("+a+") OR isNull("+b+"), NULL, if("+x+" BETWEEN 0 AND 1 AND "+a+" > 0 AND "+a+" <= 10000 AND "+b+" > 0 AND "+b+" <= 10000, "+body+", nan))")
}

func betaInv(g *gen, v []val) val {
	x, a, b, _ := g.reals3(v)
	// Bisection: the function grows with its argument.
	step := let("k", "(acc.1 + acc.2) / 2", "if("+incompleteBeta("p", "q", "k")+" < x, (k, acc.2), (acc.1, k))")
	body := let("x", "assumeNotNull("+x+")", let("p", "assumeNotNull("+a+")", let("q", "assumeNotNull("+b+")", "arrayFold((acc, i) -> "+step+", range(60), (0., 1.)).1")))
	// The page's text has null and NaN the other way round than its example.
	return call(kReal, true, "multiIf(isNull("+x+") OR isNull("+a+") OR isNull("+b+"), NULL, "+a+" <= 0 OR "+b+" <= 0, nan, "+x+" = 1, 1., "+x+" > 0 AND "+x+" < 1, "+body+", NULL)")
}

// welchTest is the two-sided p-value of Welch's t test: mean, variance and count
// of two samples.
func welchTest(g *gen, v []val) val {
	n := make([]string, 6)
	for i := range n {
		n[i] = g.named("v", g.num(v[i], kReal)).sql
	}
	e1, e2 := "("+n[1]+" / "+n[2]+")", "("+n[4]+" / "+n[5]+")"
	t2 := "pow(" + n[0] + " - " + n[3] + ", 2) / (" + e1 + " + " + e2 + ")"
	df := "pow(" + e1 + " + " + e2 + ", 2) / (" + e1 + " * " + e1 + " / (" + n[2] + " - 1) + " + e2 + " * " + e2 + " / (" + n[5] + " - 1))"
	x := g.named("x", val{k: kReal, null: true, sql: "(" + df + ") / (" + df + " + " + t2 + ")"})
	a := g.named("a", val{k: kReal, null: true, sql: "(" + df + ") / 2"})
	body := let("x", "assumeNotNull("+x.sql+")", let("p", "assumeNotNull("+a.sql+")", incompleteBeta("p", "0.5", "x")))
	return call(kReal, true, "if(isNull("+x.sql+") OR isNull("+a.sql+"), NULL, "+body+")")
}

// codePoints writes the code points of a text, and text the characters of code
// points (an array of numbers).
func codePoints(s string) string {
	b := "reinterpretAsUInt8(substring(x, "
	return "arrayMap(x -> toInt64(multiIf(length(x) = 1, " + b + "1, 1)), length(x) = 2, (" + b + "1, 1)) - 192) * 64 + " + b + "2, 1)) - 128, length(x) = 3, (" +
		b + "1, 1)) - 224) * 4096 + (" + b + "2, 1)) - 128) * 64 + " + b + "3, 1)) - 128, (" + b + "1, 1)) - 240) * 262144 + (" + b + "2, 1)) - 128) * 4096 + (" + b + "3, 1)) - 128) * 64 + " + b + "4, 1)) - 128)), ngrams(" + s + ", 1))"
}

func characters(points string) string {
	return "arrayStringConcat(arrayMap(x -> multiIf(x < 128, char(x), x < 2048, char(192 + intDiv(x, 64), 128 + x % 64), x < 65536, char(224 + intDiv(x, 4096), 128 + intDiv(x, 64) % 64, 128 + x % 64), char(240 + intDiv(x, 262144), 128 + intDiv(x, 4096) % 64, 128 + intDiv(x, 64) % 64, 128 + x % 64)), " + points + "))"
}

// punyAdapt writes the bias adaptation of RFC 3492 6.1.
func punyAdapt(delta, points, first string) string {
	scaled := let("k", "if("+first+", intDiv("+delta+", 700), intDiv("+delta+", 2))", "k + intDiv(k, "+points+")")
	end := func(div, add string) string {
		return add + " + intDiv(36 * intDiv(m, " + div + "), intDiv(m, " + div + ") + 38)"
	}
	return let("m", scaled, "multiIf(m <= 455, "+end("1", "0")+", m <= 15959, "+end("35", "36")+", m <= 558599, "+end("1225", "72")+", "+end("42875", "108")+")")
}

// punyDecodeSQL writes the decoding of punycode (RFC 3492 6.2); text that is none
// gives nothing.
func punyDecodeSQL(s string) string {
	basic := "if(position(" + s + ", '-') > 0, substring(" + s + ", 1, length(" + s + ") - position(reverse(" + s + "), '-')), '')"
	tail := "if(position(" + s + ", '-') > 0, substring(" + s + ", length(" + s + ") - position(reverse(" + s + "), '-') + 2), " + s + ")"
	// State: n, i, bias, output, old i, weight, k.
	t := "multiIf(acc.7 <= acc.3, 1, acc.7 >= acc.3 + 26, 26, acc.7 - acc.3)"
	i := "(acc.2 + x * acc.6)"
	size := "toInt64(length(acc.4) + 1)"
	n := "(acc.1 + intDiv(" + i + ", " + size + "))"
	at := "modulo(" + i + ", " + size + ")"
	inserted := "arrayConcat(arraySlice(acc.4, 1, " + at + "), [" + n + "], arraySlice(acc.4, " + at + " + 1))"
	done := "(toInt64(" + n + "), toInt64(" + at + " + 1), toInt64(" + punyAdapt("("+i+" - acc.5)", size, "acc.5 = 0") + "), " + inserted + ", toInt64(" + at + " + 1), toInt64(1), toInt64(36))"
	more := "(acc.1, toInt64(" + i + "), acc.3, acc.4, acc.5, toInt64(acc.6 * (36 - " + t + ")), toInt64(acc.7 + 36))"
	digits := "arrayMap(x -> toInt64(if(x >= '0' AND x <= '9', reinterpretAsUInt8(x) - 22, reinterpretAsUInt8(lower(x)) - 97)), ngrams(" + tail + ", 1))"
	fold := "arrayFold((acc, x) -> if(x < " + t + ", " + done + ", " + more + "), " + digits + ", (toInt64(128), toInt64(0), toInt64(72), " + codePoints(basic) + ", toInt64(0), toInt64(1), toInt64(36))).4"
	return characters(fold)
}

// punyEncodeSQL writes the encoding as punycode (RFC 3492 6.3).
func punyEncodeSQL(s string) string {
	points := codePoints(s)
	digit := "if(q < 26, char(97 + q), char(22 + q))"
	// A variable-length number: state q, k, output, finished.
	t := "multiIf(acc.2 <= b, 1, acc.2 >= b + 26, 26, acc.2 - b)"
	number := func(delta, bias string) string {
		last := let("q", "acc.1", digit)
		mid := let("q", "("+t+" + modulo(acc.1 - "+t+", 36 - "+t+"))", digit)
		step := "if(acc.4 = 1, acc, if(acc.1 < " + t + ", (acc.1, acc.2, concat(acc.3, " + last + "), toUInt8(1)), (toInt64(intDiv(acc.1 - " + t + ", 36 - " + t + ")), toInt64(acc.2 + 36), concat(acc.3, " + mid + "), toUInt8(0))))"
		return let("b", bias, "arrayFold((acc, j) -> "+step+", range(8), (toInt64("+delta+"), toInt64(36), '', toUInt8(0))).3")
	}
	// For every code point above ASCII in order, all characters in turn.
	// State: n, delta, bias, characters handled, output.
	delta := "(acc.2 + (w.1 - acc.1) * (acc.4 + 1))"
	// The first pair of a code point carries the jump; n is then that code point.
	jump := "if(w.3 = 1, (w.1, " + delta + ", acc.3, acc.4, acc.5), acc)"
	visit := "multiIf(w.2 < w.1, (e.1, e.2 + 1, e.3, e.4, e.5), w.2 = w.1, (e.1, toInt64(0), toInt64(" + punyAdapt("e.2", "(e.4 + 1)", "e.4 = h") + "), e.4 + 1, concat(e.5, " + number("e.2", "e.3") + ")), e)"
	finish := "if(w.4 = 1, (f.1 + 1, f.2 + 1, f.3, f.4, f.5), f)"
	step := let("e", jump, let("f", visit, finish))
	pairs := "arrayFlatten(arrayMap(m -> arrayMap((c, i) -> (m, c, toUInt8(i = 1), toUInt8(i = length(u))), u, arrayEnumerate(u)), arraySort(arrayDistinct(arrayFilter(x -> x >= 128, u)))))"
	body := "concat(arrayStringConcat(arrayMap(x -> char(x), arrayFilter(x -> x < 128, u))), if(h > 0, '-', ''), arrayFold((acc, w) -> " + step + ", " + pairs + ", (toInt64(128), toInt64(0), toInt64(72), h, '')).5)"
	return let("u", points, let("h", "toInt64(length(arrayFilter(x -> x < 128, u)))", body))
}

func (g *gen) punyDecode(v val) val {
	return call(kString, false, punyDecodeSQL(g.named("v", v).sql))
}

func (g *gen) punyEncode(v val) val {
	s := g.named("v", v).sql
	return call(kString, false, "if(match("+s+", '^[\\\\x00-\\\\x7F]*$'), "+s+", "+punyEncodeSQL(s)+")")
}

// punyDomain works on the labels of a domain name; the other full stops of RFC
// 3490 3.1 divide them too.
func (g *gen) punyDomain(v val, decode bool) val {
	label := "if(match(x, '^[\\\\x00-\\\\x7F]*$'), x, concat('xn--', " + punyEncodeSQL("s") + "))"
	if decode {
		label = "if(startsWith(lower(x), 'xn--'), " + let("s", "substring(x, 5)", punyDecodeSQL("s")) + ", x)"
	} else {
		label = let("s", "x", label)
	}
	return call(kString, false, "arrayStringConcat(arrayMap(x -> "+label+", splitByChar('.', replaceRegexpAll("+v.sql+", '[。．｡]', '.'))), '.')")
}
