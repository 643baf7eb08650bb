package kql

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A tick is 100 nanoseconds, the unit of datetime and timespan.
const (
	TicksPerMicrosecond = 10
	TicksPerMillisecond = 1000 * TicksPerMicrosecond
	TicksPerSecond      = 1000 * TicksPerMillisecond
	TicksPerMinute      = 60 * TicksPerSecond
	TicksPerHour        = 60 * TicksPerMinute
	TicksPerDay         = 24 * TicksPerHour
)

// UnixEpochTicks is 1970-01-01 in ticks since 0001-01-01.
const UnixEpochTicks = 719162 * TicksPerDay

// maxDateTime is the last tick of the year 9999.
const maxDateTime = 3652059*TicksPerDay - 1

// timespanUnits are the suffixes of timespan literals with their length in
// nanoseconds, so that parts of a tick are cut only once.
var timespanUnits = map[string]int64{
	"d": TicksPerDay * 100, "day": TicksPerDay * 100, "days": TicksPerDay * 100,
	"h": TicksPerHour * 100, "hr": TicksPerHour * 100, "hrs": TicksPerHour * 100, "hour": TicksPerHour * 100, "hours": TicksPerHour * 100,
	"m": TicksPerMinute * 100, "min": TicksPerMinute * 100, "minute": TicksPerMinute * 100, "minutes": TicksPerMinute * 100,
	"s": TicksPerSecond * 100, "sec": TicksPerSecond * 100, "second": TicksPerSecond * 100, "seconds": TicksPerSecond * 100,
	"ms": TicksPerMillisecond * 100, "milli": TicksPerMillisecond * 100, "millis": TicksPerMillisecond * 100,
	"millisec": TicksPerMillisecond * 100, "millisecond": TicksPerMillisecond * 100, "milliseconds": TicksPerMillisecond * 100,
	"micro": 1000, "micros": 1000, "microsec": 1000, "microsecond": 1000, "microseconds": 1000,
	"nano": 1, "nanos": 1, "nanosec": 1, "nanosecond": 1, "nanoseconds": 1,
	"tick": 100, "ticks": 100,
}

// setValue fills in the value of a literal of kind k from its source text, or
// its Problem when the text has no value of that type.
func (lit *Literal) setValue(k kind) {
	raw := lit.Raw
	inner := raw
	typed := false
	if n := len(raw); n > 0 && raw[n-1] == ')' && (isLetter(raw[0])) {
		open := strings.IndexByte(raw, '(')
		inner, typed = strings.TrimSpace(raw[open+1:n-1]), true
	}
	null := typed && (inner == "null" || inner == "")
	bad := func(what string) { lit.Problem = what }
	switch k {
	case tBool:
		lit.Kind = BoolLit
		switch strings.ToLower(inner) {
		case "true":
			lit.Int = 1
		case "false":
		default:
			n, ok := parseInt(inner)
			switch {
			case null:
				lit.Null = true
			case !ok:
				bad("not a bool: true, false or null")
			case n != 0:
				lit.Int = 1
			}
		}
	case tInt:
		lit.Kind = IntLit
		n, ok := parseInt(inner)
		switch {
		case null:
			lit.Null = true
		case !ok || n < math.MinInt32 || n > math.MaxInt32:
			bad("not an int: a whole number from -2147483648 to 2147483647")
		default:
			lit.Int = n
		}
	case tLong:
		lit.Kind = LongLit
		n, ok := parseInt(inner)
		switch {
		case null:
			lit.Null = true
		case !ok:
			bad("not a long: a whole number from -9223372036854775808 to 9223372036854775807")
		default:
			lit.Int = n
		}
	case tReal:
		lit.Kind = RealLit
		f, ok := parseReal(inner)
		switch {
		case null:
			lit.Null = true
		case !ok:
			bad("not a real number")
		default:
			lit.Real = f
		}
	case tDecimal:
		lit.Kind = DecimalLit
		switch {
		case null:
			lit.Null = true
		case !isDecimal(inner):
			bad("not a decimal number")
		default:
			lit.Text = inner
		}
	case tDateTime:
		lit.Kind = DateTimeLit
		t, ok := ParseDateTime(unquoteSimple(inner))
		switch {
		case null:
			lit.Null = true
		case !ok:
			bad("not a datetime such as 2026-11-22 or 2026-11-22T10:00:00Z")
		default:
			lit.Int = t
		}
	case tTimespan:
		lit.Kind = TimespanLit
		t, ok := ParseTimespan(unquoteSimple(inner))
		switch {
		case null:
			lit.Null = true
		case !ok:
			bad("not a timespan such as 1d, 1.5h or 1.02:03:04")
		default:
			lit.Int = t
		}
	case tGuid, tRawGuid:
		lit.Kind = GuidLit
		g, ok := ParseGuid(unquoteSimple(inner))
		switch {
		case null:
			lit.Null = true
		case !ok:
			bad("not a guid such as 74be27de-1e4e-49d9-b579-fe0b331d3642")
		default:
			lit.Text = g
		}
	}
}

// parseInt reads a decimal or hexadecimal whole number with an optional sign.
func parseInt(s string) (int64, bool) {
	neg := false
	t := s
	if t != "" && (t[0] == '-' || t[0] == '+') {
		neg = t[0] == '-'
		t = strings.TrimSpace(t[1:])
	}
	if len(t) > 2 && t[0] == '0' && t[1]|0x20 == 'x' {
		u, err := strconv.ParseUint(t[2:], 16, 64)
		if err != nil || t[2] == '+' || strings.Contains(t, "_") {
			return 0, false
		}
		if neg {
			return -int64(u), true
		}
		return int64(u), true
	}
	if t == "" {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(t); i++ {
		d := uint64(t[i] - '0')
		if t[i] < '0' || d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if neg && n <= 1<<63 {
		return -int64(n), true
	}
	return int64(n), !neg && n <= math.MaxInt64
}

// parseReal reads a real number, nan, or an infinity.
func parseReal(s string) (float64, bool) {
	switch strings.ToLower(s) {
	case "nan":
		return math.NaN(), true
	case "inf", "+inf", "infinity", "+infinity":
		return math.Inf(1), true
	case "-inf", "-infinity":
		return math.Inf(-1), true
	}
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		n, ok := parseInt(s)
		return float64(n), ok
	}
	for i := 0; i < len(s); i++ { // keep Go's own forms out: 1_000, 0x1p3
		if c := s[i]; !isDigit(c) && c != '.' && c|0x20 != 'e' && c != '+' && c != '-' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// isDecimal reports whether s is a number with optional sign, fraction and exponent.
func isDecimal(s string) bool {
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	digits := 0
	for i < len(s) && isDigit(s[i]) {
		i++
		digits++
	}
	if i < len(s) && s[i] == '.' {
		i++
		for i < len(s) && isDigit(s[i]) {
			i++
			digits++
		}
	}
	return digits > 0 && exponent(s, i) == len(s)
}

// unquoteSimple takes the quotes from around a value: datetime("2020-01-01").
func unquoteSimple(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return strings.TrimSpace(s[1 : n-1])
	}
	return s
}

// unquote returns the value of a string literal as written, and whether it is
// a hidden one. A literal that the lexer found broken gives what can be read.
func unquote(raw string) (value string, hidden bool) {
	if raw != "" && raw[0]|0x20 == 'h' {
		raw, hidden = raw[1:], true
	}
	verbatim := raw != "" && raw[0] == '@'
	if verbatim {
		raw = raw[1:]
	}
	if len(raw) >= 3 && (raw[0] == '`' || raw[0] == '~') {
		return strings.TrimSuffix(raw[3:], raw[:3]), hidden
	}
	if raw == "" {
		return "", hidden
	}
	quote := raw[0]
	body := raw[1:]
	if n := len(body); n > 0 && body[n-1] == quote {
		body = body[:n-1]
	}
	if verbatim {
		q := string(quote)
		if strings.Contains(body, q) {
			body = strings.ReplaceAll(body, q+q, q)
		}
		return body, hidden
	}
	if strings.IndexByte(body, '\\') < 0 {
		return body, hidden
	}
	b := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			b = append(b, body[i])
			i++
			continue
		}
		n := escape(body[i:])
		if n == 0 {
			b = append(b, '\\')
			i++
			continue
		}
		e := body[i+1 : i+n]
		i += n
		switch e[0] {
		case 'a':
			b = append(b, '\a')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'v':
			b = append(b, '\v')
		case 'u', 'U', 'x':
			r, _ := strconv.ParseUint(e[1:], 16, 32)
			if hi := rune(r); e[0] == 'u' && hi >= 0xd800 && hi < 0xdc00 && strings.HasPrefix(body[i:], `\u`) && escape(body[i:]) == 6 {
				// A surrogate pair, as in JSON.
				if lo, _ := strconv.ParseUint(body[i+2:i+6], 16, 32); lo >= 0xdc00 && lo < 0xe000 {
					r = uint64((hi-0xd800)<<10+rune(lo)-0xdc00) + 0x10000
					i += 6
				}
			}
			b = utf8.AppendRune(b, rune(min(r, utf8.MaxRune+1)))
		case '0', '1', '2', '3', '4', '5', '6', '7':
			r, _ := strconv.ParseUint(e, 8, 16)
			b = utf8.AppendRune(b, rune(r))
		default:
			b = append(b, e[0])
		}
	}
	return string(b), hidden
}

// ParseTimespan reads the text of a timespan: a number with a unit (1d, 1.5h,
// 10 ms), [-][d.]hh:mm[:ss[.fffffff]], or a number of days. It returns ticks.
func ParseTimespan(s string) (ticks int64, ok bool) {
	s = strings.TrimSpace(s)
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" || !isDigit(s[0]) && s[0] != '.' {
		return 0, false
	}
	if strings.IndexByte(s, ':') < 0 {
		i := 0
		for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
			i++
		}
		if j := exponent(s, i); j > i {
			i = j
		}
		unit := strings.TrimSpace(s[i:])
		nanos, known := timespanUnits[unit]
		if unit == "" {
			nanos, known = TicksPerDay*100, true
		}
		if !known || !isDecimal(s[:i]) {
			return 0, false
		}
		ticks, ok = scale(s[:i], nanos)
	} else {
		ticks, ok = clock(s)
	}
	if neg {
		ticks = -ticks
	}
	return ticks, ok
}

// scale returns number * nanos in whole ticks, as the official parser does: 99
// nanoseconds are none.
func scale(number string, nanos int64) (int64, bool) {
	if n, ok := parseInt(number); ok && nanos%100 == 0 {
		t := n * (nanos / 100)
		return t, n == 0 || t/n == nanos/100
	}
	// An exact number with a large exponent would take gigabytes.
	if e := strings.IndexAny(number, "eE"); e >= 0 {
		if n, ok := parseInt(number[e+1:]); !ok || n < -40 || n > 40 {
			return 0, false
		}
	}
	if len(number) > 100 {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	r.Mul(r, big.NewRat(nanos, 100))
	q := new(big.Int).Div(r.Num(), r.Denom())
	return q.Int64(), q.IsInt64()
}

// clock reads [d.]hh:mm[:ss[.fffffff]].
func clock(s string) (int64, bool) {
	var days int64
	colon := strings.IndexByte(s, ':')
	if dot := strings.IndexByte(s[:colon], '.'); dot >= 0 {
		n, ok := parseInt(s[:dot])
		if !ok || n > math.MaxInt64/TicksPerDay || !isDigit(s[0]) {
			return 0, false
		}
		days, s = n, s[dot+1:]
	}
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return 0, false
	}
	fraction := int64(0)
	if len(parts) == 3 {
		if sec, frac, ok := strings.Cut(parts[2], "."); ok {
			parts[2] = sec
			f, ok := fractionTicks(frac)
			if !ok {
				return 0, false
			}
			fraction = f
		}
	}
	limits := [3]int64{23, 59, 59}
	units := [3]int64{TicksPerHour, TicksPerMinute, TicksPerSecond}
	t := days*TicksPerDay + fraction
	for i, p := range parts {
		n, ok := parseInt(p)
		if !ok || n > limits[i] || !isDigit(p[0]) {
			return 0, false
		}
		t += n * units[i]
	}
	return t, t >= 0 // less than zero: longer than a long has ticks
}

// fractionTicks reads the digits behind the point of a second; what is finer
// than a tick is cut off.
func fractionTicks(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var t int64
	for i := 0; i < 7; i++ {
		t *= 10
		if i < len(s) {
			t += int64(s[i] - '0')
		}
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
	}
	return t, true
}

// ParseDateTime reads a datetime in the forms that Kusto documents: ISO 8601
// and its parts (2026, 2026-11, 2026-11-22, 2026-11-22 10:00,
// 2026-11-22T10:00:00.1234567Z, with an offset too), month/day/year with an
// optional time, RFC 822 and RFC 850. It returns ticks since 0001-01-01 UTC.
func ParseDateTime(s string) (ticks int64, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if isDigit(s[0]) {
		if t, ok := numericDate(s); ok {
			return t, true
		}
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1 {
			return fromTime(t)
		}
	}
	return 0, false
}

// dateLayouts are the forms with names of days and months: those that are
// documented, each with and without its day of the week, seconds and zone, and
// some that are common.
var dateLayouts = func() []string {
	out := []string{
		time.RFC1123, time.RFC1123Z, time.RFC822Z,
		"Mon, _2 Jan 2006 15:04:05", "_2 Jan 2006 15:04:05", "_2 Jan 2006 15:04:05 MST", "_2 Jan 2006 15:04", "_2 Jan 2006",
		"02-Jan-2006 15:04:05", "02-Jan-2006", time.ANSIC,
		"Jan _2, 2006", "January _2, 2006", "Jan _2, 2006 15:04:05", "January _2, 2006 15:04:05",
		"Monday, January _2, 2006", "Monday, January _2, 2006 15:04:05",
	}
	for _, day := range []string{"Mon, _2 Jan 06", "_2 Jan 06", "Monday, 02-Jan-06", "02-Jan-06"} {
		for _, clock := range []string{" 15:04:05 MST", " 15:04:05", " 15:04 MST", " 15:04"} {
			out = append(out, day+clock)
		}
	}
	return out
}()

func fromTime(t time.Time) (int64, bool) {
	secs := t.Unix()
	return UnixEpochTicks + secs*TicksPerSecond + int64(t.Nanosecond())/100, t.Year() >= 1 && t.Year() <= 9999
}

// numericDate reads the forms that consist of numbers.
func numericDate(s string) (int64, bool) {
	i := 0
	num := func(maxDigits int) int {
		n, start := 0, i
		for i < len(s) && isDigit(s[i]) && i-start < maxDigits {
			n = n*10 + int(s[i]-'0')
			i++
		}
		if i == start {
			return -1
		}
		return n
	}
	char := func(c byte) bool {
		if i < len(s) && s[i] == c {
			i++
			return true
		}
		return false
	}
	year, month, day := 0, 1, 1
	first := num(4)
	switch {
	case char('/'):
		month, day = first, num(2)
		if !char('/') {
			return 0, false
		}
		year = num(4)
	case i == 4:
		year = first
		if char('-') {
			if month = num(2); char('-') {
				day = num(2)
			}
		} else if i < len(s) {
			return 0, false
		}
	default:
		return 0, false
	}
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	t := daysBefore(year, month, day) * TicksPerDay
	if i == len(s) {
		return t, true
	}
	// Time of day.
	if s[i] != 'T' && s[i] != 't' && s[i] != ' ' {
		return zone(t, s[i:])
	}
	i++
	for char(' ') {
	}
	hour, minute, second := num(2), 0, 0
	var fraction int64
	if hour < 0 || !char(':') {
		return 0, false
	}
	if minute = num(2); char(':') {
		if second = num(2); char('.') {
			start := i
			for i < len(s) && isDigit(s[i]) {
				i++
			}
			f, ok := fractionTicks(s[start:i])
			if !ok {
				return 0, false
			}
			fraction = f
		}
	}
	rest := strings.TrimSpace(s[i:])
	if up := strings.ToUpper(rest); up == "AM" || up == "PM" {
		if hour < 1 || hour > 12 {
			return 0, false
		}
		hour %= 12
		if up == "PM" {
			hour += 12
		}
		rest = ""
	}
	if hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	t += int64(hour)*TicksPerHour + int64(minute)*TicksPerMinute + int64(second)*TicksPerSecond + fraction
	return zone(t, rest)
}

// zone applies the time zone s to the local time t.
func zone(t int64, s string) (int64, bool) {
	s = strings.TrimSpace(s)
	switch {
	case s == "" || s == "Z" || s == "z" || s == "UTC" || s == "GMT":
		return t, true
	case s[0] != '+' && s[0] != '-':
		return 0, false
	}
	digits := strings.Replace(s[1:], ":", "", 1)
	n, ok := parseInt(digits)
	if !ok || !isDigit(digits[0]) {
		return 0, false
	}
	switch len(digits) {
	case 1, 2:
		n *= 100
	case 4:
	default:
		return 0, false
	}
	if n/100 > 14 || n%100 > 59 {
		return 0, false
	}
	offset := n/100*TicksPerHour + n%100*TicksPerMinute
	if s[0] == '+' {
		offset = -offset
	}
	t += offset
	return t, t >= 0 && t <= maxDateTime
}

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func daysIn(year, month int) int {
	switch month {
	case 2:
		if leap(year) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysBefore returns the number of days from 0001-01-01 to the date.
func daysBefore(year, month, day int) int64 {
	y := int64(year - 1)
	days := y*365 + y/4 - y/100 + y/400
	for m := 1; m < month; m++ {
		days += int64(daysIn(year, m))
	}
	return days + int64(day) - 1
}

// FormatTimespan writes ticks as Kusto does: [-][d.]hh:mm:ss[.fffffff].
func FormatTimespan(ticks int64) string {
	return string(AppendTimespan(make([]byte, 0, 24), ticks))
}

// AppendTimespan appends what FormatTimespan returns.
func AppendTimespan(b []byte, ticks int64) []byte {
	u := uint64(ticks)
	if ticks < 0 {
		b = append(b, '-')
		u = -u
	}
	if d := u / TicksPerDay; d > 0 {
		b = strconv.AppendUint(b, d, 10)
		b = append(b, '.')
	}
	b = append2(b, u/TicksPerHour%24)
	b = append(b, ':')
	b = append2(b, u/TicksPerMinute%60)
	b = append(b, ':')
	b = append2(b, u/TicksPerSecond%60)
	if f := u % TicksPerSecond; f > 0 {
		b = append7(append(b, '.'), f)
	}
	return b
}

// FormatDateTime writes ticks since 0001-01-01 as ISO 8601 with seven decimals
// and Z.
func FormatDateTime(ticks int64) string {
	return string(AppendDateTime(make([]byte, 0, 28), ticks))
}

// AppendDateTime appends what FormatDateTime returns.
func AppendDateTime(b []byte, ticks int64) []byte {
	t := time.Unix((ticks-UnixEpochTicks)/TicksPerSecond, 0).UTC()
	if (ticks-UnixEpochTicks)%TicksPerSecond < 0 {
		t = t.Add(-time.Second)
	}
	year, month, day := t.Date()
	b = append2(b, uint64(year/100))
	b = append2(b, uint64(year%100))
	b = append2(append(b, '-'), uint64(month))
	b = append2(append(b, '-'), uint64(day))
	hour, minute, second := t.Clock()
	b = append2(append(b, 'T'), uint64(hour))
	b = append2(append(b, ':'), uint64(minute))
	b = append2(append(b, ':'), uint64(second))
	f := ticks % TicksPerSecond
	if f < 0 {
		f += TicksPerSecond
	}
	return append(append7(append(b, '.'), uint64(f)), 'Z')
}

func append2(b []byte, n uint64) []byte {
	return append(b, byte('0'+n/10%10), byte('0'+n%10))
}

func append7(b []byte, n uint64) []byte {
	var d [7]byte
	for i := 6; i >= 0; i-- {
		d[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, d[:]...)
}

// ParseGuid reads a guid with or without dashes and braces, and returns it in
// lower case with dashes.
func ParseGuid(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if n := len(s); n > 2 && (s[0] == '{' && s[n-1] == '}' || s[0] == '(' && s[n-1] == ')') {
		s = s[1 : n-1]
	}
	if len(s) == 32 {
		s = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
	}
	if len(s) != 36 || !rawGuid(s) {
		return "", false
	}
	return strings.ToLower(s), true
}

// Unquote returns the value of text that is one string literal of KQL, or
// several side by side, and nothing else.
func Unquote(text string) (value string, ok bool) {
	l := lexer{text: text}
	l.scan()
	if len(l.errs) > 0 || len(l.toks) < 2 {
		return "", false
	}
	for _, t := range l.toks[:len(l.toks)-1] {
		if t.kind != tString {
			return "", false
		}
		s, _ := unquote(text[t.start:t.end])
		value += s
	}
	return value, true
}
