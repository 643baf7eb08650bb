package chsql

import (
	"math"
	"strconv"
	"strings"

	"hubscope/query/plan"
)

// nowTicks is the time of the query.
const nowValue = "{" + NowParameter + ":DateTime64(7, 'UTC')}"

// ofDate makes a function of a datetime; $ is the datetime.
func ofDate(sql string) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := g.toDatetime(a[0])
		k := kindOf(c.T)
		if strings.Count(sql, "$") > 1 {
			v = g.hoist(v)
		}
		return call(k, v.null, strings.ReplaceAll(sql, "$", v.sql))
	}
}

var datetimeFunctions = map[string]function{
	"now": func(g *gen, c *plan.Call, a []val) val {
		n := val{sql: nowValue, k: kDatetime, atom: true}
		if len(a) == 0 {
			return n
		}
		return call(kDatetime, a[0].null, fromTicks(g.ticks(n)+" + "+a[0].lit()))
	},
	"ago": func(g *gen, c *plan.Call, a []val) val {
		n := val{sql: nowValue, k: kDatetime, atom: true}
		return call(kDatetime, a[0].null, fromTicks(g.ticks(n)+" - "+a[0].lit()))
	},
	"bin":          bin,
	"bin_at":       binAt,
	"startofday":   startOf("day", false),
	"startofweek":  startOf("week", false),
	"startofmonth": startOf("month", false),
	"startofyear":  startOf("year", false),
	"endofday":     startOf("day", true),
	"endofweek":    startOf("week", true),
	"endofmonth":   startOf("month", true),
	"endofyear":    startOf("year", true),
	"dayofweek":    ofDate("toInt64(modulo(toDayOfWeek($), 7)) * 864000000000"),
	"dayofmonth":   ofDate("toInt32(toDayOfMonth($))"),
	"dayofyear":    ofDate("toInt32(toDayOfYear($))"),
	"hourofday":    ofDate("toInt32(toHour($))"),
	"week_of_year": ofDate("toInt32(toISOWeek($))"),
	"getmonth":     ofDate("toInt32(toMonth($))"),
	"getyear":      ofDate("toInt32(toYear($))"),
	"datetime_part": func(g *gen, c *plan.Call, a []val) val {
		v := g.toDatetime(a[1])
		part, _ := a[0].constString()
		f, ok := partSQL[strings.ToLower(part)]
		if !ok {
			return nullOf(kInt)
		}
		return call(kInt, v.null, "toInt32("+strings.ReplaceAll(f, "$", v.sql)+")")
	},
	"datetime_add":  datetimeAdd,
	"datetime_diff": datetimeDiff,
	"datetime_utc_to_local": func(g *gen, c *plan.Call, a []val) val {
		return shiftZone(g, a, true)
	},
	"datetime_local_to_utc": func(g *gen, c *plan.Call, a []val) val {
		return shiftZone(g, a, false)
	},
	"datetime_list_timezones": func(g *gen, c *plan.Call, a []val) val {
		return val{k: kArray, elem: kString, sql: "(SELECT groupArray(time_zone) FROM (SELECT time_zone FROM system.time_zones ORDER BY time_zone))"}
	},
	"format_datetime":                  formatDatetime,
	"format_timespan":                  formatTimespan,
	"make_datetime":                    makeDatetime,
	"make_timespan":                    makeTimespan,
	"unixtime_seconds_todatetime":      unixtime(plan.TicksPerSecond),
	"unixtime_milliseconds_todatetime": unixtime(plan.TicksPerMillisecond),
	"unixtime_microseconds_todatetime": unixtime(plan.TicksPerMicrosecond),
	"unixtime_nanoseconds_todatetime":  unixtime(0),
}

var partSQL = map[string]string{
	"year": "toYear($)", "quarter": "toQuarter($)", "month": "toMonth($)", "week_of_year": "toISOWeek($)", "weekofyear": "toISOWeek($)", "week": "toISOWeek($)",
	"day": "toDayOfMonth($)", "dayofyear": "toDayOfYear($)", "hour": "toHour($)", "minute": "toMinute($)", "second": "toSecond($)",
	"millisecond": "intDiv(positiveModulo(reinterpretAsInt64($), 10000000), 10000)",
	"microsecond": "intDiv(positiveModulo(reinterpretAsInt64($), 10000000), 10)",
	"nanosecond":  "positiveModulo(reinterpretAsInt64($), 10000000) * 100",
}

// wholeDays says that a size divides a day: its bins are the same counted from
// 1970 and from year 1.
func wholeDays(ticks int64) bool { return ticks > 0 && plan.TicksPerDay%ticks == 0 }

// bin rounds down to a multiple of a size. Datetimes count from 0001-01-01.
func bin(g *gen, c *plan.Call, a []val) val {
	v, size := a[0], a[1]
	k := kindOf(c.T)
	if k == kJSON {
		k = kReal // both are dynamic
	}
	switch k {
	case kDatetime:
		v = g.toDatetime(v)
		if size.k == kReal || size.k == kDecimal {
			size = g.num(size, kLong)
		}
		if size.c != nil && !size.c.Null {
			n := size.c.Int
			if n <= 0 {
				return nullOf(k)
			}
			return g.binned(v, n)
		}
		v, size = g.hoist(v), g.hoist(size)
		t, s := g.ticks(v), g.ticks(size)
		return call(k, true, "if("+s+" > 0, "+fromTicks(t+" - positiveModulo("+t+" + "+itoa(plan.UnixEpochTicks)+", if("+s+" > 0, "+s+", 1))")+", NULL)")
	case kReal:
		l, s := g.num(v, k), g.num(size, k)
		if s.c == nil {
			s = g.hoist(s)
			return call(k, true, "if("+s.sql+" > 0, floor("+l.s()+" / "+s.s()+") * "+s.s()+", NULL)")
		}
		if f := constFloat(s); f <= 0 {
			return nullOf(k)
		}
		return val{sql: "floor(" + l.s() + " / " + s.s() + ") * " + s.s(), k: k, null: l.null, op: true}
	case kDecimal:
		l, s := g.hoist(g.num(v, k)), g.hoist(g.num(size, k))
		return call(k, true, "if("+s.sql+" > 0, CAST("+l.sql+" - positiveModulo("+l.sql+", if("+s.sql+" > 0, "+s.sql+", toDecimal256(1, "+decimalScale+"))), '"+nullable(decimalType, l.null || s.null)+"'), NULL)")
	}
	if v.path != nil || v.k != kInt && v.k != kLong && v.k != kTimespan {
		v = g.num(v, k)
	}
	if n, ok := sizeOf(size); ok {
		if n <= 0 {
			return nullOf(k)
		}
		v = g.hoist(v)
		r := v.s() + " - toInt64(positiveModulo(" + v.sql + ", " + whole(n) + "))"
		if k == kInt {
			return call(k, v.null, "toInt32("+r+")")
		}
		return val{sql: r, k: k, null: v.null, op: true}
	}
	v, size = g.hoist(v), g.hoist(g.num(size, kLong))
	r := v.s() + " - toInt64(positiveModulo(" + v.sql + ", if(" + size.s() + " > 0, " + size.s() + ", 1)))"
	if k == kInt {
		r = "toInt32(" + r + ")"
	}
	return call(k, true, "if("+size.s()+" > 0, "+r+", NULL)")
}

// binned rounds a datetime down to a multiple of n ticks. Rows are grouped by the
// number of the bin since year 1.
func (g *gen) binned(v val, n int64) val {
	if v.bucket > 0 && v.bucket%n == 0 && v.keyed == v.sql {
		return v
	}
	r := call(kDatetime, v.null, "")
	if s := interval(n); s != "" {
		r.sql = strings.ReplaceAll(s, "$", v.sql)
	} else {
		h := v
		if h.c == nil {
			h = g.hoist(h)
		}
		t := g.ticks(h)
		since := t
		if !wholeDays(n) {
			since += " + " + itoa(plan.UnixEpochTicks)
		}
		r.sql = fromTicks(t + " - positiveModulo(" + since + ", " + whole(n) + ")")
	}
	r.bucket = n
	if v.null || v.c != nil {
		return r
	}
	r.keyed = r.sql
	switch key := v.groupedBy(); {
	case key != "" && v.of == ofSeconds && n%plan.TicksPerSecond == 0 && wholeDays(n):
		r.key = "intDiv(toUInt32(" + key + "), " + itoa(n/plan.TicksPerSecond) + ")"
		r.of = fromTicks("toInt64($) * " + itoa(n))
	case n >= smallestKey:
		r.key = "toUInt32(intDiv(reinterpretAsUInt64(" + v.sql + ") + " + itoa(plan.UnixEpochTicks) + ", " + itoa(n) + "))"
		r.of = fromTicks("toInt64($) * " + itoa(n) + " - " + itoa(plan.UnixEpochTicks))
	default:
		r.key = "intDiv(reinterpretAsUInt64(" + v.sql + ") + " + itoa(plan.UnixEpochTicks) + ", " + itoa(n) + ")"
		r.of = fromTicks("toInt64($) * " + itoa(n) + " - " + itoa(plan.UnixEpochTicks))
	}
	return r
}

// smallestKey is the smallest bin of which there are less than 2^32.
const smallestKey = plan.MaxDatetimeTicks>>32 + 1

// whole writes a positive number for the right side of an operation. ClickHouse
// takes a literal above 32 bits for unsigned, and what it is combined with too.
func whole(n int64) string {
	if n > math.MaxUint32 {
		return "toInt64(" + itoa(n) + ")"
	}
	return itoa(n)
}

func constFloat(v val) float64 {
	if v.c == nil {
		return 0
	}
	switch v.c.T {
	case plan.Real:
		return v.c.Real
	case plan.Decimal:
		f, err := strconv.ParseFloat(v.c.Text, 64)
		if err != nil {
			return 0
		}
		return f
	}
	return float64(v.c.Int)
}

// sizeOf returns a constant size in ticks or as a number.
func sizeOf(v val) (int64, bool) {
	if v.c != nil && !v.c.Null && (v.k == kInt || v.k == kLong || v.k == kTimespan) {
		return v.c.Int, true
	}
	return 0, false
}

// interval writes the common bins by ClickHouse's own functions, which the
// engine knows to keep the order of a key.
func interval(ticks int64) string {
	switch {
	case ticks == plan.TicksPerDay:
		return "toDateTime64(toStartOfDay($), 7, 'UTC')"
	case ticks == plan.TicksPerHour:
		return "toDateTime64(toStartOfHour($), 7, 'UTC')"
	case ticks == plan.TicksPerMinute:
		return "toDateTime64(toStartOfMinute($), 7, 'UTC')"
	}
	return ""
}

// binAt rounds down to a multiple of a size counted from a point.
func binAt(g *gen, c *plan.Call, a []val) val {
	k := kindOf(c.T)
	switch k {
	case kReal, kDecimal, kJSON:
		if k == kJSON {
			k = kReal
		}
		v, s, at := g.hoist(g.num(a[0], kReal)), g.hoist(g.num(a[1], kReal)), g.hoist(g.num(a[2], kReal))
		r := call(kReal, true, "if("+s.sql+" > 0, floor(("+v.s()+" - "+at.s()+") / "+s.s()+") * "+s.s()+" + "+at.s()+", NULL)")
		return g.num(r, k)
	}
	v, s, at := a[0], a[1], a[2]
	if s.k == kReal || s.k == kDecimal {
		s = g.num(s, kLong)
	}
	v, s, at = g.hoist(v), g.hoist(s), g.hoist(at)
	t, size, p := g.ticks(v), g.ticks(s), g.ticks(at)
	sql := t + " - toInt64(positiveModulo(" + t + " - " + p + ", if(" + size + " > 0, " + size + ", 1)))"
	switch k {
	case kDatetime:
		sql = fromTicks(sql)
	case kInt:
		sql = "toInt32(" + sql + ")"
	}
	if n, ok := sizeOf(s); ok && n > 0 {
		return call(k, v.null || at.null, sql)
	}
	return call(k, true, "if("+size+" > 0, "+sql+", NULL)")
}

// startOf makes startof... and endof...: the first tick of a period and the last
// one, some periods away.
func startOf(unit string, end bool) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := g.toDatetime(a[0])
		null := v.null
		offset := "0"
		shift := int64(0)
		constShift := true
		if len(a) == 2 {
			n := g.num(a[1], kLong)
			null = null || n.null
			if k, ok := n.constInt(); ok {
				shift = k
			} else {
				offset, constShift = n.s(), false
			}
		}
		add := offset
		if constShift {
			add = itoa(shift)
		}
		moved := !constShift || shift != 0
		switch unit {
		case "day", "week":
			size := int64(plan.TicksPerDay)
			ticks := g.ticks(g.hoist(v))
			sql := ticks + " - positiveModulo(" + ticks + ", " + whole(size) + ")"
			if unit == "week" {
				// 1970-01-01 was a Thursday; weeks begin on Sunday.
				size *= 7
				sql = ticks + " - positiveModulo(" + ticks + " + " + itoa(4*plan.TicksPerDay) + ", " + whole(size) + ")"
			} else if !moved && !end {
				return g.binned(v, plan.TicksPerDay)
			}
			if moved {
				sql += " + (" + add + ") * " + itoa(size)
			}
			if end {
				sql += " + " + itoa(size-1)
			}
			if moved {
				return g.within(sql)
			}
			return call(kDatetime, null, fromTicks(sql))
		}
		f := map[string]string{"month": "toStartOfMonth", "year": "toStartOfYear"}[unit]
		if !moved && !end && !null {
			return keyed(f+"("+v.sql+")", ofSeconds)
		}
		v = g.hoist(v)
		day := "toDateTime64(" + f + "(" + v.sql + "), 7, 'UTC')"
		if moved {
			day = map[string]string{"month": "addMonths(", "year": "addYears("}[unit] + day + ", " + add + ")"
		}
		if end {
			if unit == "year" {
				day = "addMonths(" + day + ", 11)"
			}
			day = fromTicks("reinterpretAsInt64(toDateTime64(toLastDayOfMonth(" + day + "), 7, 'UTC')) + " + itoa(plan.TicksPerDay-1))
		}
		if !moved {
			return call(kDatetime, null, day)
		}
		// Years that there are not: null. The engine would take the nearest.
		in := "toInt64(toYear(" + v.sql + ")) + " + add + " BETWEEN 1 AND 9999"
		if unit == "month" {
			in = "toInt64(toYear(" + v.sql + ")) * 12 + toMonth(" + v.sql + ") + " + add + " BETWEEN 13 AND 120000"
		}
		return call(kDatetime, true, "if("+in+", "+day+", NULL)")
	}
}

// within makes a datetime of ticks since 1970, null beyond the years 1 to 9999.
func (g *gen) within(ticks string) val {
	t := g.hoist(val{k: kLong, null: true, sql: ticks})
	return call(kDatetime, true, "if("+t.sql+" BETWEEN -"+itoa(plan.UnixEpochTicks)+" AND "+itoa(plan.MaxDatetimeTicks-plan.UnixEpochTicks)+", "+fromTicks("assumeNotNull("+t.sql+")")+", NULL)")
}

// partTicks are the parts that are a fixed number of ticks.
var partTicks = map[string]int64{
	"week": 7 * plan.TicksPerDay, "week_of_year": 7 * plan.TicksPerDay, "weekofyear": 7 * plan.TicksPerDay,
	"day": plan.TicksPerDay, "dayofyear": plan.TicksPerDay, "hour": plan.TicksPerHour,
	"minute": plan.TicksPerMinute, "second": plan.TicksPerSecond, "millisecond": plan.TicksPerMillisecond, "microsecond": plan.TicksPerMicrosecond,
}

func datetimeAdd(g *gen, c *plan.Call, a []val) val {
	part, _ := a[0].constString()
	n, v := g.num(a[1], kLong), g.toDatetime(a[2])
	part = strings.ToLower(part)
	if t, ok := partTicks[part]; ok {
		return g.within(g.ticks(v) + " + " + n.lit() + " * " + itoa(t))
	}
	months := n.lit()
	switch part {
	case "nanosecond":
		return g.within(g.ticks(v) + " + intDiv(" + n.lit() + ", 100)")
	case "year":
		months += " * 12"
	case "quarter":
		months += " * 3"
	case "month":
	default:
		return nullOf(kDatetime)
	}
	v = g.hoist(v)
	m := g.hoist(val{k: kLong, null: n.null, sql: "toInt64(" + months + ")"})
	return call(kDatetime, true, "if(toInt64(toYear("+v.sql+")) * 12 + toMonth("+v.sql+") + "+m.sql+" BETWEEN 13 AND 120000, addMonths("+v.sql+", "+m.sql+"), NULL)")
}

// datetimeDiff counts the boundaries of a part between two datetimes; weeks
// begin on Sunday.
func datetimeDiff(g *gen, c *plan.Call, a []val) val {
	part, _ := a[0].constString()
	l, r := g.toDatetime(a[1]), g.toDatetime(a[2])
	null := l.null || r.null
	sub := func(f string) val {
		return call(kLong, null, "toInt64("+strings.ReplaceAll(f, "$", l.sql)+") - toInt64("+strings.ReplaceAll(f, "$", r.sql)+")").infix()
	}
	switch part = strings.ToLower(part); part {
	case "year":
		return sub("toYear($)")
	case "quarter":
		return sub("(toInt64(toYear($)) * 4 + toQuarter($))")
	case "month":
		return sub("(toInt64(toYear($)) * 12 + toMonth($))")
	case "nanosecond":
		return call(kLong, null, "("+g.ticks(l)+" - "+g.ticks(r)+") * 100").infix()
	}
	t, ok := partTicks[part]
	if !ok {
		return nullOf(kLong)
	}
	// Ticks since year 1 are positive: intDiv rounds down. Its first day was a
	// Monday, a week before the first Sunday's.
	shift := int64(plan.UnixEpochTicks)
	if t == 7*plan.TicksPerDay {
		shift += plan.TicksPerDay
	}
	side := func(v val) string { return "intDiv(" + g.ticks(v) + " + " + itoa(shift) + ", " + itoa(t) + ")" }
	return call(kLong, null, side(l)+" - "+side(r)).infix()
}

// shiftZone moves a datetime between UTC and the time of a zone.
func shiftZone(g *gen, a []val, local bool) val {
	v, zone := g.hoist(g.toDatetime(a[0])), g.str(a[1])
	if _, ok := zone.constString(); !ok {
		// A name that is data may be that of no zone: null.
		zone = g.hoist(zone)
		known := zone.sql + " IN (SELECT time_zone FROM system.time_zones)"
		v = g.hoist(val{k: kDatetime, null: true, sql: "if(" + known + ", toNullable(" + v.sql + "), NULL)"})
		zone = g.hoist(val{k: kString, sql: "if(" + known + ", " + zone.sql + ", 'UTC')"})
	}
	// The clock of a zone is the text of the time in it.
	clock := func(x string) string { return "toDateTime64(toString(" + x + ", " + zone.sql + "), 7, 'UTC')" }
	if local {
		return call(kDatetime, v.null, clock(v.sql))
	}
	ticks := func(x string) string { return "reinterpretAsInt64(" + x + ")" }
	// The offset at the local time taken for UTC is a guess; that at the guess counts.
	guess := g.hoist(val{k: kDatetime, null: v.null, sql: fromTicks(ticks(v.sql) + " * 2 - " + ticks(clock(v.sql)))})
	utc := g.hoist(val{k: kDatetime, null: v.null, sql: fromTicks(ticks(v.sql) + " + " + ticks(guess.sql) + " - " + ticks(clock(guess.sql)))})
	// A time that no clock showed, as it was put forward: the guess.
	return call(kDatetime, v.null, "if("+clock(utc.sql)+" = "+v.sql+", "+utc.sql+", "+guess.sql+")")
}

// formatDatetime writes a datetime by Kusto's letters: y M d h H m s f F tt, each
// as often as digits are wanted, and / - : , . _ [ ] and blanks between them.
func formatDatetime(g *gen, c *plan.Call, a []val) val {
	format, ok := a[1].constString()
	v := g.hoist(g.toDatetime(a[0]))
	if !ok {
		return val{sql: "''", k: kString, atom: true}
	}
	parts := formatParts(format, "yMdhHmsfFt", func(letter byte, n int) string {
		pad := func(sql string) string {
			if n < 2 {
				return "toString(" + sql + ")"
			}
			return "leftPad(toString(" + sql + "), " + itoa(int64(n)) + ", '0')"
		}
		frac := "leftPad(toString(positiveModulo(reinterpretAsInt64(" + v.sql + "), 10000000)), 7, '0')"
		switch letter {
		case 'y':
			if n <= 2 {
				return pad("modulo(toYear(" + v.sql + "), 100)")
			}
			return pad("toYear(" + v.sql + ")")
		case 'M':
			switch n {
			case 3:
				return "substring(dateName('month', " + v.sql + "), 1, 3)"
			case 4:
				return "dateName('month', " + v.sql + ")"
			}
			return pad("toMonth(" + v.sql + ")")
		case 'd':
			switch n {
			case 3:
				return "substring(dateName('weekday', " + v.sql + "), 1, 3)"
			case 4:
				return "dateName('weekday', " + v.sql + ")"
			}
			return pad("toDayOfMonth(" + v.sql + ")")
		case 'h':
			return pad("modulo(toHour(" + v.sql + ") + 11, 12) + 1")
		case 'H':
			return pad("toHour(" + v.sql + ")")
		case 'm':
			return pad("toMinute(" + v.sql + ")")
		case 's':
			return pad("toSecond(" + v.sql + ")")
		case 'f':
			return "substring(" + frac + ", 1, " + itoa(int64(n)) + ")"
		case 'F':
			return "trim(TRAILING '0' FROM substring(" + frac + ", 1, " + itoa(int64(n)) + "))"
		default:
			if n == 1 {
				return "if(toHour(" + v.sql + ") < 12, 'A', 'P')"
			}
			return "if(toHour(" + v.sql + ") < 12, 'AM', 'PM')"
		}
	})
	sql := concat(parts)
	if v.null {
		sql = "ifNull(" + sql + ", '')"
	}
	return call(kString, false, sql)
}

// formatParts cuts a format into runs of letters and literal text.
func formatParts(format, letters string, run func(letter byte, n int) string) []string {
	var parts []string
	literal := ""
	flush := func() {
		if literal != "" {
			parts = append(parts, quote(literal))
			literal = ""
		}
	}
	for i := 0; i < len(format); {
		c := format[i]
		if strings.IndexByte(letters, c) < 0 {
			literal += string(c)
			i++
			continue
		}
		n := 1
		for i+n < len(format) && format[i+n] == c {
			n++
		}
		flush()
		parts = append(parts, run(c, n))
		i += n
	}
	flush()
	return parts
}

func concat(parts []string) string {
	switch len(parts) {
	case 0:
		return "''"
	case 1:
		return "toString(" + parts[0] + ")"
	}
	return "concat(" + strings.Join(parts, ", ") + ")"
}

func formatTimespan(g *gen, c *plan.Call, a []val) val {
	format, ok := a[1].constString()
	v := g.hoist(g.toTimespan(a[0]))
	if !ok {
		return val{sql: "''", k: kString, atom: true}
	}
	abs := "abs(" + v.sql + ")"
	parts := formatParts(format, "dhHmsfF", func(letter byte, n int) string {
		pad := func(sql string) string {
			if n < 2 {
				return "toString(" + sql + ")"
			}
			return "leftPad(toString(" + sql + "), " + itoa(int64(n)) + ", '0')"
		}
		of := func(ticks, m int64) string {
			return "modulo(intDiv(" + abs + ", " + itoa(ticks) + "), " + itoa(m) + ")"
		}
		frac := "leftPad(toString(modulo(" + abs + ", 10000000)), 7, '0')"
		switch letter {
		case 'd':
			return pad("intDiv(" + abs + ", " + itoa(plan.TicksPerDay) + ")")
		case 'h', 'H':
			return pad(of(plan.TicksPerHour, 24))
		case 'm':
			return pad(of(plan.TicksPerMinute, 60))
		case 's':
			return pad(of(plan.TicksPerSecond, 60))
		case 'f':
			return "substring(" + frac + ", 1, " + itoa(int64(n)) + ")"
		default:
			return "trim(TRAILING '0' FROM substring(" + frac + ", 1, " + itoa(int64(n)) + "))"
		}
	})
	sql := concat(append([]string{"if(" + v.sql + " < 0, '-', '')"}, parts...))
	if v.null {
		sql = "ifNull(" + sql + ", '')"
	}
	return call(kString, false, sql)
}

func makeDatetime(g *gen, c *plan.Call, a []val) val {
	if len(a) == 1 {
		return g.toDatetime(a[0])
	}
	part := func(i int, or string) string {
		if i >= len(a) {
			return or
		}
		v := g.num(a[i], kLong)
		if v.null {
			return "ifNull(" + v.sql + ", -1)"
		}
		return v.lit()
	}
	y, m, d, h, min := part(0, "1"), part(1, "1"), part(2, "1"), part(3, "0"), part(4, "0")
	secs := "0"
	if len(a) > 5 {
		s := g.num(a[5], kReal)
		secs = s.s()
		if s.null {
			secs = "ifNull(" + s.sql + ", -1)"
		}
	}
	text := g.hoist(val{k: kString, sql: "concat(if(" + y + " > 9999, '', leftPad(toString(" + y + "), 4, '0')), '-', leftPad(toString(" + m + "), 2, '0'), '-', leftPad(toString(" + d + "), 2, '0'), ' 00:00:00')"})
	day := g.hoist(val{k: kDatetime, null: true, sql: "toDateTime64OrNull(" + text.sql + ", 7, 'UTC')"})
	ok := h + " BETWEEN 0 AND 23 AND " + min + " BETWEEN 0 AND 59 AND " + secs + " >= 0 AND " + secs + " < 60 AND startsWith(toString(" + day.sql + "), substring(" + text.sql + ", 1, 10))"
	return call(kDatetime, true, "if("+ok+", "+fromTicks("reinterpretAsInt64("+day.sql+") + "+h+" * "+itoa(plan.TicksPerHour)+" + "+min+" * "+itoa(plan.TicksPerMinute)+" + toInt64(round("+secs+" * 10000000))")+", NULL)")
}

func makeTimespan(g *gen, c *plan.Call, a []val) val {
	if len(a) == 1 {
		return g.toTimespan(a[0])
	}
	units := []int64{plan.TicksPerHour, plan.TicksPerMinute, plan.TicksPerSecond}
	if len(a) == 4 {
		units = []int64{plan.TicksPerDay, plan.TicksPerHour, plan.TicksPerMinute, plan.TicksPerSecond}
	}
	var sum []string
	null := false
	for i, v := range a {
		null = null || v.null
		if v.k == kReal || v.k == kDecimal {
			sum, null = append(sum, "accurateCastOrNull(round("+g.num(v, kReal).s()+" * "+itoa(units[i])+"), 'Int64')"), true
			continue
		}
		n := g.num(v, kLong)
		null = null || n.null
		sum = append(sum, n.s()+" * "+itoa(units[i]))
	}
	return call(kTimespan, null, strings.Join(sum, " + ")).infix()
}

// unixtime makes a datetime of a number of units since 1970; 0 ticks stand for
// nanoseconds.
func unixtime(ticks int64) function {
	return func(g *gen, c *plan.Call, a []val) val {
		v := a[0]
		limit := itoa(plan.MaxDatetimeTicks - plan.UnixEpochTicks)
		if v.k == kInt || v.k == kLong {
			t := "toInt64(" + v.sql + ") * " + itoa(ticks)
			if ticks == 0 {
				t = "intDiv(toInt64(" + v.sql + "), 100)"
			}
			if unit := max(ticks, 1); v.c != nil && !v.c.Null && ticks > 0 && v.c.Int >= -plan.UnixEpochTicks/unit && v.c.Int <= (plan.MaxDatetimeTicks-plan.UnixEpochTicks)/unit {
				return call(kDatetime, v.null, fromTicks(t))
			}
			if ticks > 0 {
				x := g.hoist(g.num(v, kLong))
				return call(kDatetime, true, "if("+x.sql+" BETWEEN -"+itoa(plan.UnixEpochTicks/ticks)+" AND "+itoa((plan.MaxDatetimeTicks-plan.UnixEpochTicks)/ticks)+", "+fromTicks(t)+", NULL)")
			}
			return call(kDatetime, true, "if("+t+" BETWEEN -"+itoa(plan.UnixEpochTicks)+" AND "+limit+", "+fromTicks(t)+", NULL)")
		}
		f := g.num(v, kReal)
		t := f.s() + " * " + itoa(ticks)
		if ticks == 0 {
			t = f.s() + " / 100"
		}
		h := g.hoist(val{k: kLong, null: true, sql: "accurateCastOrNull(trunc(" + t + "), 'Int64')"})
		return call(kDatetime, true, "if("+h.sql+" BETWEEN -"+itoa(plan.UnixEpochTicks)+" AND "+limit+", "+fromTicks("assumeNotNull("+h.sql+")")+", NULL)")
	}
}
