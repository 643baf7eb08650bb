package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hubscope/query/kql"
)

// Type is a Kusto scalar type.
type Type uint8

// The scalar types. Unknown is the type of what could not be bound, and of the
// literal null inside dynamic().
const (
	Unknown Type = iota
	Bool
	Int
	Long
	Real
	Decimal
	Datetime
	Timespan
	GUID
	String
	Dynamic
)

var typeNames = [...]string{
	Unknown: "unknown", Bool: "bool", Int: "int", Long: "long", Real: "real", Decimal: "decimal",
	Datetime: "datetime", Timespan: "timespan", GUID: "guid", String: "string", Dynamic: "dynamic",
}

// String returns the type's Kusto name.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// MarshalText makes a type its name in JSON.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a type's name, old spellings included.
func (t *Type) UnmarshalText(b []byte) error {
	got, ok := TypeByName(string(b))
	if !ok {
		return fmt.Errorf("no Kusto type %q", b)
	}
	*t = got
	return nil
}

// typeByName has every spelling that Kusto takes.
var typeByName = map[string]Type{
	"bool": Bool, "boolean": Bool,
	"int": Int, "int32": Int, "int8": Int, "int16": Int, "uint8": Int, "uint16": Int, "uint32": Long,
	"long": Long, "int64": Long, "uint64": Long, "uint": Long, "ulong": Long,
	"real": Real, "double": Real, "float": Real,
	"decimal":  Decimal,
	"datetime": Datetime, "date": Datetime,
	"timespan": Timespan, "time": Timespan,
	"guid": GUID, "uuid": GUID, "uniqueid": GUID,
	"string": String, "dynamic": Dynamic, "object": Dynamic,
}

// TypeByName returns the type with this name or old spelling of it.
func TypeByName(name string) (Type, bool) {
	t, ok := typeByName[name]
	return t, ok
}

// Numeric says whether the type is int, long, real or decimal.
func (t Type) Numeric() bool { return t >= Int && t <= Decimal }

// Integer says whether the type is int or long.
func (t Type) Integer() bool { return t == Int || t == Long }

// Summable says whether values can be added up: numbers, datetime, timespan.
func (t Type) Summable() bool { return t.Numeric() || t == Datetime || t == Timespan }

// SystemName returns the .NET type that getschema shows.
func (t Type) SystemName() string {
	switch t {
	case Bool:
		return "System.SByte"
	case Int:
		return "System.Int32"
	case Long:
		return "System.Int64"
	case Real:
		return "System.Double"
	case Decimal:
		return "System.Data.SqlTypes.SqlDecimal"
	case Datetime:
		return "System.DateTime"
	case Timespan:
		return "System.TimeSpan"
	case GUID:
		return "System.Guid"
	case String:
		return "System.String"
	default:
		return "System.Object"
	}
}

// Kusto counts datetime and timespan in ticks of 100 ns.
const (
	TicksPerMicrosecond = 10
	TicksPerMillisecond = 10_000
	TicksPerSecond      = 10_000_000
	TicksPerMinute      = 60 * TicksPerSecond
	TicksPerHour        = 60 * TicksPerMinute
	TicksPerDay         = 24 * TicksPerHour

	// UnixEpochTicks is 1970-01-01 in ticks since 0001-01-01.
	UnixEpochTicks = 719162 * TicksPerDay
	// MaxDatetimeTicks is 9999-12-31T23:59:59.9999999Z.
	MaxDatetimeTicks = 3652059*TicksPerDay - 1
)

// Span is a timespan in ticks of 100 ns.
type Span int64

// String returns the timespan as Kusto prints it.
func (s Span) String() string { return FormatTimespan(int64(s)) }

// Time returns the datetime with these ticks since 0001-01-01.
func Time(ticks int64) time.Time {
	t := ticks - UnixEpochTicks
	sec := t / TicksPerSecond
	rest := t % TicksPerSecond
	if rest < 0 {
		sec, rest = sec-1, rest+TicksPerSecond
	}
	return time.Unix(sec, rest*100).UTC()
}

// Ticks returns the ticks since 0001-01-01 of a time.
func Ticks(t time.Time) int64 {
	return t.Unix()*TicksPerSecond + int64(t.Nanosecond()/100) + UnixEpochTicks
}

// FormatDatetime returns ISO 8601 with seven digits and Z, as Kusto prints it.
func FormatDatetime(ticks int64) string {
	return string(AppendDatetime(make([]byte, 0, 28), ticks))
}

// AppendDatetime appends the datetime as FormatDatetime prints it.
func AppendDatetime(b []byte, ticks int64) []byte {
	t := Time(ticks)
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	b = pad(b, int64(year), 4)
	b = append(b, '-')
	b = pad(b, int64(month), 2)
	b = append(b, '-')
	b = pad(b, int64(day), 2)
	b = append(b, 'T')
	b = pad(b, int64(hour), 2)
	b = append(b, ':')
	b = pad(b, int64(minute), 2)
	b = append(b, ':')
	b = pad(b, int64(sec), 2)
	b = append(b, '.')
	b = pad(b, int64(t.Nanosecond()/100), 7)
	return append(b, 'Z')
}

// FormatTimespan returns [-][d.]hh:mm:ss[.fffffff], as Kusto prints it.
func FormatTimespan(ticks int64) string {
	return string(AppendTimespan(make([]byte, 0, 24), ticks))
}

// AppendTimespan appends the timespan as FormatTimespan prints it.
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
	b = pad(b, int64(u/TicksPerHour%24), 2)
	b = append(b, ':')
	b = pad(b, int64(u/TicksPerMinute%60), 2)
	b = append(b, ':')
	b = pad(b, int64(u/TicksPerSecond%60), 2)
	if f := u % TicksPerSecond; f > 0 {
		b = append(b, '.')
		b = pad(b, int64(f), 7)
	}
	return b
}

func pad(b []byte, n int64, width int) []byte {
	start := len(b)
	b = strconv.AppendInt(b, n, 10)
	for len(b)-start < width {
		b = append(b, 0)
		copy(b[start+1:], b[start:])
		b[start] = '0'
	}
	return b
}

// ParseTimespan reads Kusto's text of a timespan: [-][d.]hh:mm[:ss[.fffffff]],
// or a number with a unit such as 1.5h.
func ParseTimespan(s string) (ticks int64, ok bool) {
	s = strings.TrimSpace(s)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	sign := int64(1)
	if neg {
		sign = -1
	}
	if !strings.Contains(s, ":") {
		i := 0
		for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
			i++
		}
		unit, known := timespanUnits[s[i:]]
		if i == 0 || !known {
			return 0, false
		}
		f, err := strconv.ParseFloat(s[:i], 64)
		if err != nil {
			return 0, false
		}
		if n, err := strconv.ParseInt(s[:i], 10, 64); err == nil {
			return sign * n * unit, true
		}
		return sign * int64(f*float64(unit)), true
	}
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	var days, hours int64
	if d, h, found := strings.Cut(parts[0], "."); found {
		if days, ok = digits(d); !ok {
			return 0, false
		}
		if hours, ok = digits(h); !ok {
			return 0, false
		}
	} else if hours, ok = digits(parts[0]); !ok {
		return 0, false
	}
	minutes, ok := digits(parts[1])
	if !ok {
		return 0, false
	}
	var seconds, frac int64
	if len(parts) == 3 {
		sec, f, hasFrac := strings.Cut(parts[2], ".")
		if seconds, ok = digits(sec); !ok {
			return 0, false
		}
		if hasFrac {
			if len(f) > 7 {
				f = f[:7]
			}
			if frac, ok = digits(f + "0000000"[:7-len(f)]); !ok {
				return 0, false
			}
		}
	}
	if minutes > 59 || seconds > 59 || days > 10675199 || hours > 256204778 {
		return 0, false
	}
	return sign * (days*TicksPerDay + hours*TicksPerHour + minutes*TicksPerMinute + seconds*TicksPerSecond + frac), true
}

// timespanUnits are the suffixes of a timespan literal, in ticks. "" is days, as
// in time(2).
var timespanUnits = map[string]int64{
	"": TicksPerDay, "d": TicksPerDay, "day": TicksPerDay, "days": TicksPerDay,
	"h": TicksPerHour, "hr": TicksPerHour, "hrs": TicksPerHour, "hour": TicksPerHour, "hours": TicksPerHour,
	"m": TicksPerMinute, "min": TicksPerMinute, "minute": TicksPerMinute, "minutes": TicksPerMinute,
	"s": TicksPerSecond, "sec": TicksPerSecond, "second": TicksPerSecond, "seconds": TicksPerSecond,
	"ms": TicksPerMillisecond, "milli": TicksPerMillisecond, "millis": TicksPerMillisecond, "millisec": TicksPerMillisecond,
	"millisecond": TicksPerMillisecond, "milliseconds": TicksPerMillisecond,
	"micro": TicksPerMicrosecond, "micros": TicksPerMicrosecond, "microsec": TicksPerMicrosecond,
	"microsecond": TicksPerMicrosecond, "microseconds": TicksPerMicrosecond,
	"tick": 1, "ticks": 1,
}

func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// datetimeLayouts are the texts that ParseDatetime reads, tried in order.
var datetimeLayouts = []string{
	"2006-01-02T15:04:05.9999999Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05.9999999", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15",
	"2006-01-02 15:04:05.9999999Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05.9999999", "2006-01-02 15:04:05", "2006-01-02 15:04",
	"2006-01-02", "2006-1-2", "2006/01/02", "2006-01", "2006",
	"1/2/2006 15:04:05.9999999", "1/2/2006 3:04:05 PM", "1/2/2006 15:04", "1/2/2006", "1-2-2006", "1-2-2006 15:04:05",
	"Mon, 02 Jan 2006 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 -0700", "2 Jan 2006", "2 Jan 2006 15:04:05", "Mon, 2 Jan 06 15:04:05", "Mon Jan 2 15:04:05 2006",
	"January 2, 2006", "Jan 2, 2006", "Jan 2 2006", "02-Jan-06", "02-Jan-2006",
}

// ParseDatetime reads the text of a datetime as todatetime does; ticks are since
// 0001-01-01.
func ParseDatetime(s string) (ticks int64, ok bool) {
	s = strings.TrimSpace(s)
	if ticks, ok := kql.ParseDateTime(s); ok {
		return ticks, true
	}
	for _, layout := range datetimeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return Ticks(t.UTC()), true
		}
	}
	return 0, false
}

// AppendJSONString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, as JSON has no other way.
func AppendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + 1
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
