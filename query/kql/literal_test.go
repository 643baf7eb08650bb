package kql

import (
	"math"
	"strings"
	"testing"
)

// parseLiteral returns the value of `print <text>`.
func parseLiteral(t *testing.T, text string) Expr {
	t.Helper()
	q, errs := Parse("print " + text)
	if errs != nil {
		t.Fatalf("%s: %v", text, errs)
	}
	return q.Statements[0].(*ExprStatement).X.(*Pipe).Ops[0].(*PrintOp).Columns[0]
}

func TestLiterals(t *testing.T) {
	const day = TicksPerDay
	tests := []struct {
		text string
		want Literal
	}{
		{"1", Literal{Kind: LongLit, Int: 1}},
		{"0x1F", Literal{Kind: LongLit, Int: 31}},
		{"0xffffffffffffffff", Literal{Kind: LongLit, Int: -1}},
		{"9223372036854775807", Literal{Kind: LongLit, Int: math.MaxInt64}},
		{"-9223372036854775808", Literal{Kind: LongLit, Int: math.MinInt64}},
		{"9223372036854775808", Literal{Kind: LongLit, Problem: "not a long: a whole number from -9223372036854775808 to 9223372036854775807"}},
		{"long(-5)", Literal{Kind: LongLit, Int: -5}},
		{"long( 5 )", Literal{Kind: LongLit, Int: 5}},
		{"long(null)", Literal{Kind: LongLit, Null: true}},
		{"int(7)", Literal{Kind: IntLit, Int: 7}},
		{"int(2147483648)", Literal{Kind: IntLit, Problem: "not an int: a whole number from -2147483648 to 2147483647"}},
		{"1.5", Literal{Kind: RealLit, Real: 1.5}},
		{"1.", Literal{Kind: RealLit, Real: 1}},
		{"1e3", Literal{Kind: RealLit, Real: 1000}},
		{"1.5e-3", Literal{Kind: RealLit, Real: 0.0015}},
		{"real(+inf)", Literal{Kind: RealLit, Real: math.Inf(1)}},
		{"double(-inf)", Literal{Kind: RealLit, Real: math.Inf(-1)}},
		{"real(null)", Literal{Kind: RealLit, Null: true}},
		{"real(0x1p3)", Literal{Kind: RealLit, Problem: "not a real number"}},
		{"decimal(1.10)", Literal{Kind: DecimalLit, Text: "1.10"}},
		{"decimal(1e5)", Literal{Kind: DecimalLit, Text: "1e5"}},
		{"true", Literal{Kind: BoolLit, Int: 1}},
		{"FALSE", Literal{Kind: BoolLit}},
		{"bool(1)", Literal{Kind: BoolLit, Int: 1}},
		{"bool(null)", Literal{Kind: BoolLit, Null: true}},
		{"guid(74BE27DE-1e4e-49d9-b579-fe0b331d3642)", Literal{Kind: GuidLit, Text: "74be27de-1e4e-49d9-b579-fe0b331d3642"}},
		{"guid(74be27de1e4e49d9b579fe0b331d3642)", Literal{Kind: GuidLit, Text: "74be27de-1e4e-49d9-b579-fe0b331d3642"}},
		{"guid(x)", Literal{Kind: GuidLit, Problem: "not a guid such as 74be27de-1e4e-49d9-b579-fe0b331d3642"}},
		{"1d", Literal{Kind: TimespanLit, Int: day}},
		{"1.5h", Literal{Kind: TimespanLit, Int: 90 * TicksPerMinute}},
		{"10m", Literal{Kind: TimespanLit, Int: 10 * TicksPerMinute}},
		{"30seconds", Literal{Kind: TimespanLit, Int: 30 * TicksPerSecond}},
		{"7ms", Literal{Kind: TimespanLit, Int: 70000}},
		{"2microseconds", Literal{Kind: TimespanLit, Int: 20}},
		{"150nanoseconds", Literal{Kind: TimespanLit, Int: 1}},
		{"3tick", Literal{Kind: TimespanLit, Int: 3}},
		{"0.1s", Literal{Kind: TimespanLit, Int: 1000000}},
		{"time(2)", Literal{Kind: TimespanLit, Int: 2 * day}},
		{"time(15 seconds)", Literal{Kind: TimespanLit, Int: 15 * TicksPerSecond}},
		{"time(0.12:34:56.7)", Literal{Kind: TimespanLit, Int: 12*TicksPerHour + 34*TicksPerMinute + 56*TicksPerSecond + 7000000}},
		{"timespan('12.23:12:23')", Literal{Kind: TimespanLit, Int: 12*day + 23*TicksPerHour + 12*TicksPerMinute + 23*TicksPerSecond}},
		{"time(-1.02:00:00)", Literal{Kind: TimespanLit, Int: -day - 2*TicksPerHour}},
		{"time(1:30)", Literal{Kind: TimespanLit, Int: 90 * TicksPerMinute}},
		{"time(25:00:00)", Literal{Kind: TimespanLit, Problem: "not a timespan such as 1d, 1.5h or 1.02:03:04"}},
		{"time(99999999999d)", Literal{Kind: TimespanLit, Problem: "not a timespan such as 1d, 1.5h or 1.02:03:04"}},
		{"time(1e3s)", Literal{Kind: TimespanLit, Int: 1000 * TicksPerSecond}},
		{"time(1e999999999d)", Literal{Kind: TimespanLit, Problem: "not a timespan such as 1d, 1.5h or 1.02:03:04"}},
		{"time(1e-999999999d)", Literal{Kind: TimespanLit, Problem: "not a timespan such as 1d, 1.5h or 1.02:03:04"}},
		{"time(null)", Literal{Kind: TimespanLit, Null: true}},
		{"datetime(null)", Literal{Kind: DateTimeLit, Null: true}},
		{"datetime(0001-01-01)", Literal{Kind: DateTimeLit}},
		{"datetime(1970-01-01)", Literal{Kind: DateTimeLit, Int: UnixEpochTicks}},
		{"datetime(2020-02-30)", Literal{Kind: DateTimeLit, Problem: "not a datetime such as 2026-11-22 or 2026-11-22T10:00:00Z"}},
		{"datetime(soon)", Literal{Kind: DateTimeLit, Problem: "not a datetime such as 2026-11-22 or 2026-11-22T10:00:00Z"}},
		{`"a" 'b' @"c\"`, Literal{Kind: StringLit, Text: `abc\`}},
		{`"\"\\\n\t\u0041\x42\103\U0001F600"`, Literal{Kind: StringLit, Text: "\"\\\n\tABC😀"}},
		{`'\ud83d\ude00'`, Literal{Kind: StringLit, Text: "😀"}},
		{`@'it''s \d'`, Literal{Kind: StringLit, Text: `it's \d`}},
		{`h"secret"`, Literal{Kind: StringLit, Text: "secret", Hidden: true}},
		{`H@'C:\x'`, Literal{Kind: StringLit, Text: `C:\x`, Hidden: true}},
		{"```a\n\"b\"\\n```", Literal{Kind: StringLit, Text: "a\n\"b\"\\n"}},
		{"~~~`x`~~~", Literal{Kind: StringLit, Text: "`x`"}},
		{`''`, Literal{Kind: StringLit}},
	}
	for _, tt := range tests {
		got, ok := parseLiteral(t, tt.text).(*Literal)
		if !ok {
			t.Errorf("%s is no literal", tt.text)
			continue
		}
		got.Span, got.Raw = Span{}, ""
		if *got != tt.want {
			t.Errorf("%s: want %+v, got %+v", tt.text, tt.want, *got)
		}
	}
	if nan := parseLiteral(t, "real(nan)").(*Literal); !math.IsNaN(nan.Real) {
		t.Errorf("real(nan) is %v", nan.Real)
	}
}

func TestDateTimes(t *testing.T) {
	tests := []struct{ text, want string }{
		{"2014-05-25T08:20:03.123456Z", "2014-05-25T08:20:03.1234560Z"},
		{"2014-05-25T08:20:03.12345678", "2014-05-25T08:20:03.1234567Z"},
		{"2014-11-08 15:55:55", "2014-11-08T15:55:55.0000000Z"},
		{"2014-11-08 15:55", "2014-11-08T15:55:00.0000000Z"},
		{"2014-11-08", "2014-11-08T00:00:00.0000000Z"},
		{"2014-11", "2014-11-01T00:00:00.0000000Z"},
		{"2014", "2014-01-01T00:00:00.0000000Z"},
		{"2014-1-8", "2014-01-08T00:00:00.0000000Z"},
		{"2014-11-08T15:55:55+02:00", "2014-11-08T13:55:55.0000000Z"},
		{"2014-11-08T15:55:55 -0730", "2014-11-08T23:25:55.0000000Z"},
		{"11/8/2014", "2014-11-08T00:00:00.0000000Z"},
		{"11/08/2014 3:55:55 PM", "2014-11-08T15:55:55.0000000Z"},
		{"12/31/2014 12:00 AM", "2014-12-31T00:00:00.0000000Z"},
		{"Sat, 8 Nov 14 15:05:02 GMT", "2014-11-08T15:05:02.0000000Z"},
		{"8 Nov 14 15:05:02", "2014-11-08T15:05:02.0000000Z"},
		{"Saturday, 08-Nov-14 15:05:02 UTC", "2014-11-08T15:05:02.0000000Z"},
		{"9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"},
		{"0001-01-01T00:00:00.0000001", "0001-01-01T00:00:00.0000001Z"},
		{"2000-02-29", "2000-02-29T00:00:00.0000000Z"},
		{"1900-02-29", ""}, {"2014-13-01", ""}, {"2014-11-08T24:00", ""}, {"2014-11-08T10", ""}, {"20141108", ""},
		{"0001-01-01T00:00:00+01:00", ""}, {"", ""}, {"x", ""}, {"2014-11-08T15:55:55+25:00", ""}, {"13/1/2014", ""},
	}
	for _, tt := range tests {
		ticks, ok := ParseDateTime(tt.text)
		got := ""
		if ok {
			got = FormatDateTime(ticks)
		}
		if got != tt.want {
			t.Errorf("%q: want %q, got %q", tt.text, tt.want, got)
		}
	}
}

func TestFormatTimespan(t *testing.T) {
	tests := []struct {
		ticks int64
		want  string
	}{
		{0, "00:00:00"}, {TicksPerDay, "1.00:00:00"}, {-TicksPerHour, "-01:00:00"}, {1, "00:00:00.0000001"},
		{12*TicksPerDay + 23*TicksPerHour + 12*TicksPerMinute + 23*TicksPerSecond + 1230000, "12.23:12:23.1230000"},
		{math.MaxInt64, "10675199.02:48:05.4775807"}, {math.MinInt64, "-10675199.02:48:05.4775808"},
	}
	for _, tt := range tests {
		got := FormatTimespan(tt.ticks)
		if got != tt.want {
			t.Errorf("%d: want %s, got %s", tt.ticks, tt.want, got)
		}
		if tt.ticks == math.MinInt64 {
			continue
		}
		if back, ok := ParseTimespan(got); !ok || back != tt.ticks {
			t.Errorf("%s reads as %d, %v", got, back, ok)
		}
	}
}

// FuzzDateTime asserts that what reads as a datetime or timespan is written
// back to text of the same value.
func FuzzDateTime(f *testing.F) {
	for _, s := range []string{"2014-05-25T08:20:03.123456Z", "1/2/2014 3:04 PM", "8 Nov 14 15:05:02", "1.02:03:04.5", "1.5h", "-3 ms", "1e3d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ticks, ok := ParseDateTime(s); ok {
			if ticks < 0 || ticks > maxDateTime {
				t.Fatalf("%q is outside of the years 1 to 9999: %d", s, ticks)
			}
			if back, ok := ParseDateTime(FormatDateTime(ticks)); !ok || back != ticks {
				t.Fatalf("%q is %d, written %s, read %d %v", s, ticks, FormatDateTime(ticks), back, ok)
			}
		}
		if ticks, ok := ParseTimespan(s); ok && !strings.Contains(FormatTimespan(ticks), "--") {
			if back, ok := ParseTimespan(FormatTimespan(ticks)); !ok || back != ticks {
				t.Fatalf("%q is %d, written %s, read %d %v", s, ticks, FormatTimespan(ticks), back, ok)
			}
		}
	})
}

func TestUnquote(t *testing.T) {
	for text, want := range map[string]string{`"a\"b"`: `a"b`, ` 'x' "y" `: "xy", `@'\'`: `\`, "```a\nb```": "a\nb", `h"s"`: "s"} {
		if got, ok := Unquote(text); !ok || got != want {
			t.Errorf("%s: want %q, got %q %v", text, want, got, ok)
		}
	}
	for _, text := range []string{"", "a", `"a`, `"a" b`, `5`, `"a" + "b"`, `"\d"`, "//"} {
		if got, ok := Unquote(text); ok {
			t.Errorf("%s reads as %q", text, got)
		}
	}
}
