package ds

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/kql"
)

// morning is a range of 6 hours.
var morning = backend.TimeRange{
	From: time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC),
	To:   time.Date(2026, 11, 21, 12, 0, 0, 500e6, time.UTC),
}

func TestExpand(t *testing.T) {
	variables := map[string]Variable{
		"hub":    {Values: Values{"plant-7"}},
		"hubs":   {Values: Values{"plant-7", `we"ird\`}, Multi: true},
		"all":    {Values: Values{"a", "b"}, All: true},
		"every":  {All: true},
		"none":   {Values: Values{}, Multi: true},
		"port":   {Values: Values{"8883"}},
		"day":    {Values: Values{"2026-11-21"}},
		"dim":    {Values: Values{"TlsVersion"}},
		"evil":   {Values: Values{`x" or 1==1 //`}},
		"re":     {Values: Values{"a.b", "c|d"}},
		"__user": {Values: Values{"anna"}},
		"width":  {Values: Values{"10m"}, Type: "timespan"},
	}
	const from, to = "datetime(2026-11-21T06:00:00Z)", "datetime(2026-11-21T12:00:00.5Z)"
	tests := []struct{ name, text, want string }{
		{"no macros", "Connections | count // $__timeFilter $hub", "Connections | count // $__timeFilter $hub"},
		{"timeFilter", "T | where $__timeFilter()", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to},
		{"timeFilter of a column", "T | where $__timeFilter( LastSeen ) | count", "T | where LastSeen >= " + from + " and LastSeen < " + to + " | count"},
		{"timeFilter of an expression", "T | where $__timeFilter(bin(a, $__interval))", "T | where bin(a, 5m) >= " + from + " and bin(a, 5m) < " + to},
		{"bare timeFilter", "T | where $__timeFilter and x", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to + " and x"},
		{"braces", "T | where ${__timeFilter}", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to},
		{"from and to", "print $__timeFrom, $__timeTo(), $__from, $__to", "print " + from + ", " + to + ", 1795240800000, 1795262400500"},
		{"from with formats", `print ${__from:date}, ${__to:date:iso}, ${__from:date:seconds}, ${__from:datetime}, "${__from}"`,
			`print "2026-11-21T06:00:00Z", "2026-11-21T12:00:00.5Z", 1795240800, ` + from + `, "1795240800000"`},
		{"within datetime()", "print datetime($__timeFrom), datetime($__timeFrom()), datetime(${__from:date:iso}), datetime($__from)",
			"print datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00Z)"},
		{"interval", "print $__timeInterval, $__interval(), $__interval_ms", "print 5m, 5m, 300000"},
		{"range", "print $__range, $__range_s, $__range_ms", "print 21600500ms, 21601, 21600500"},
		{"not in strings", `print "$__timeFilter $__from"`, `print "$__timeFilter $__from"`},
		{"variable", "T | where Hub == $hub and x == ${hub} and y == [[hub]]", `T | where Hub == "plant-7" and x == "plant-7" and y == "plant-7"`},
		{"several", "T | where Hub in ($hubs)", `T | where Hub in ("plant-7", "we\"ird\\")`},
		{"list of all", "T | where Hub in ($all)", `T | where Hub in ("a", "b")`},
		{"nothing chosen", "T | where Hub in ($none) and n == ${none:long}", `T | where Hub in ("") and n == long(null)`},
		{"typed", "print ${port:long}, ${port:real}, ${day:datetime}, ${port:string}", `print long(8883), real(8883), datetime(2026-11-21T00:00:00.0000000Z), "8883"`},
		{"within a literal", "print long($port), datetime( ${day} )", "print long(8883), datetime(2026-11-21T00:00:00.0000000Z)"},
		{"column", "T | summarize count() by ${dim:column}", `T | summarize count() by ["TlsVersion"]`},
		{"json", "print ${hubs:json}", `print dynamic(["plant-7", "we\"ird\\"])`},
		{"array", "print dynamic([$hubs]), dynamic([[1], [null]])", `print dynamic(["plant-7", "we\"ird\\"]), dynamic([[1], [null]])`},
		{"in a string", `print "a $hub b", 'x${hubs}', @"\d$hub", h"$hub"`, `print "a plant-7 b", "xplant-7,we\"ird\\", "\\dplant-7", h"plant-7"`},
		{"in a string of lines", "print ```a`$hub\nb```", `print "a` + "`" + `plant-7\nb"`},
		{"regex", `T | where x matches regex "^${re:regex}$" and y matches regex ${hub:regex}`, `T | where x matches regex "^(a\\.b|c\\|d)$" and y matches regex "plant-7"`},
		{"escape of a dollar", `print "\u0024hub $5 a$ $.b"`, `print "\u0024hub $5 a$ $.b"`},
		{"hostile", `print $evil, "$evil"`, `print "x\" or 1==1 //", "x\" or 1==1 //"`},
		{"class of a regular expression", `print x matches regex "[[abc]]+[[:alpha:]]"`, `print x matches regex "[[abc]]+[[:alpha:]]"`},
		{"macro in a string with brackets", `print @'[[__timeFilter]] \ $__x', '$hub $__x'`, `print @'[[__timeFilter]] \ $__x', "plant-7 $__x"`},
		{"join", "A | join (B) on $left.x == $right.y", "A | join (B) on $left.x == $right.y"},
		{"interval variable", `T | summarize count() by bin(t, $width) | extend w = "$width", s = ${width:string}`, `T | summarize count() by bin(t, timespan(00:10:00)) | extend w = "10m", s = "10m"`},
		{"column of search", `search "x" | where $table == $hub`, `search "x" | where $table == "plant-7"`},
		{"Grafana's own", "print $__user", `print "anna"`},
		{"contains", "T | where $__contains(Hub, $hubs) and $__contains(tolower(Hub), 'a', ${port:long})", `T | where Hub in ("plant-7", "we\"ird\\") and tolower(Hub) in ('a', long(8883))`},
		{"contains all", "T | where $__contains(Hub, $every) and $__contains(Hub, $all) and $__contains(Hub, $none) and $__contains(Hub, all)", "T | where true and true and true and true"},
		{"escapeMulti", "T | where Hub in ($__escapeMulti($hubs))", `T | where Hub in ("plant-7", "we\"ird\\")`},
		{"adhocFilters without filters", "T | where $__adhocFilters", "T | where true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := Expand(Model{Query: tt.text, Variables: variables}, morning, 20*time.Second, 1000, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, x.Text); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExpandMistakes(t *testing.T) {
	tests := []struct {
		name, text   string
		alert        bool
		line, column int
		length       int
		code         string
		message      string
		hint         string
	}{
		{"unknown macro", "T\n| where $__timefilter()", false, 2, 9, 13, CodeMacro, "there is no macro $__timefilter", "did you mean $__timeFilter?"},
		{"unknown macro with arguments", "T | where $__conditionalAll(x, $v)", false, 1, 11, 17, CodeMacro, "no macro $__conditionalAll", ""},
		{"arguments", "print $__timeFrom(x)", false, 1, 7, 14, CodeMacro, "$__timeFrom has no arguments", ""},
		{"two columns", "T | where $__timeFilter(a, b)", false, 1, 11, 19, CodeMacro, "one argument", "$__timeFilter(Column)"},
		{"contains alone", "T | where $__contains(a)", false, 1, 11, 14, CodeMacro, "at least one value", "$__contains(Column, $variable)"},
		{"contains without arguments", "T | where $__contains and x", false, 1, 11, 11, CodeMacro, "at least one value", ""},
		{"empty argument", "T | where $__contains(a,)", false, 1, 11, 15, CodeMacro, "empty argument", ""},
		{"open", "T | where $__timeFilter(a", false, 1, 11, 13, CodeMacro, "do not end", `")"`},
		{"format of a macro", "print ${__timeFrom:raw}", false, 1, 7, 17, CodeMacro, "has no formats", ""},
		{"format of from", "print ${__from:date:YYYY}", false, 1, 7, 19, CodeMacro, "unknown format", "${__from:date}"},
		{"format of from in a string", `T | where t > todatetime("${__from:date:YYYY}")`, false, 1, 26, 21, CodeMacro, "unknown format", "${__from:date}"},
		{"unknown variable", "T | where x == $y", false, 1, 16, 2, CodeVariable, "there is no dashboard variable y", "write a value"},
		{"unknown variable in a string", "T | where x == 'a $y'", false, 1, 16, 6, CodeVariable, "there is no dashboard variable y", `\u0024`},
		{"alert", "T | where x == $hub", true, 1, 16, 4, CodeVariable, "the variable hub has no value: alert rules have no dashboard variables", "query of the rule"},
		{"raw", "T | where ${hub:raw}", false, 1, 11, 10, CodeVariable, "raw", "${hub:column}"},
		{"unknown format", "T | where x == ${hub:glob}", false, 1, 16, 11, CodeVariable, "unknown format glob", "formats are"},
		{"no number", "T | where x == ${hub:long}", false, 1, 16, 11, CodeVariable, `the variable hub has the value "plant-7", which is no long`, ""},
		{"no number in a literal", "T | where x == long($hub)", false, 1, 16, 10, CodeVariable, "no long", ""},
		{"part of a literal", "T | where x == datetime(2026-$hub)", false, 1, 16, 19, CodeVariable, "its whole value", ""},
		{"all without a list", "T | where x in ($every)", false, 1, 17, 6, CodeVariable, "all values", "$__contains(Column, $every)"},
		{"all in a string", "T | where x has '$every'", false, 1, 17, 8, CodeVariable, "all values", "${every:regex}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			variables := map[string]Variable{"hub": {Values: Values{"plant-7"}}, "every": {All: true}}
			if tt.alert {
				variables = nil
			}
			_, err := Expand(Model{Query: tt.text, Variables: variables}, morning, time.Minute, 1000, tt.alert)
			var errs client.Errors
			if !errors.As(err, &errs) || len(errs) != 1 {
				t.Fatalf("%v", err)
			}
			e := errs[0]
			if e.Line != tt.line || e.Column != tt.column || e.Length != tt.length || e.Code != tt.code || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("%d:%d+%d %s: %s (%s)", e.Line, e.Column, e.Length, e.Code, e.Message, e.Hint)
			}
		})
	}
}

func TestExpandFilters(t *testing.T) {
	filters := []Filter{{Key: "Hub", Operator: "=", Value: `pl"ant`}, {Key: "TlsGroup", Operator: "=|", Values: Values{"x25519", "secp256r1"}}}
	both := `Hub == "pl\"ant" and TlsGroup in ("x25519", "secp256r1")`
	tests := []struct {
		name, text, want string
		behind           string
		unused           int
	}{
		{"first table", "Connections | count", "Connections | where " + both + " | count", both, 0},
		{"alone", "Connections", "Connections | where " + both, both, 0},
		{"behind let", "let n = 5; let c = Connections;\nc | take n", "let n = 5; let c = Connections | where " + both + ";\nc | take n", both, 0},
		{"comment and string", "// Connections | x\nprint 'Connections | x' | union Connections | take 1", "// Connections | x\nprint 'Connections | x' | union (Connections | where " + both + ") | take 1", both, 0},
		{"union", "union withsource=S Connections, AzureDiagnostics", "union withsource=S (Connections | where " + both + "), AzureDiagnostics", both, 0},
		{"a table with fewer columns", "Devices | count", `Devices | where Hub == "pl\"ant" | count`, `Hub == "pl\"ant"`, 1},
		{"a column named like a table", "Connections | summarize Devices=count() by Hub | project Devices", "Connections | where " + both + " | summarize Devices=count() by Hub | project Devices", both, 0},
		{"no table", "print 1", "print 1", "", 2},
		{"placed", "let a = Devices | where $__adhocFilters; Connections | where $__adhocFilters and x", `let a = Devices | where (Hub == "pl\"ant"); Connections | where (` + both + ") and x", "", 1},
		{"placed behind no table", "T | where $__adhocFilters()", "T | where (" + both + ")", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := Expand(Model{Query: tt.text, AdHocFilters: filters}, morning, time.Minute, 1000, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, x.Text); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if x.Filters != tt.behind || len(x.FiltersUnused) != tt.unused {
				t.Errorf("filters %q, unused %q", x.Filters, x.FiltersUnused)
			}
		})
	}
}

func TestFilterOperators(t *testing.T) {
	tests := []struct {
		filter Filter
		want   string
	}{
		{Filter{Key: "Hub", Operator: "!=", Value: "a"}, `Hub != "a"`},
		{Filter{Key: "Hub", Operator: "!=|", Values: Values{"a", "b"}}, `Hub !in ("a", "b")`},
		{Filter{Key: "Hub", Operator: "=|", Value: "a"}, `Hub in ("a")`},
		{Filter{Key: "DeviceId", Operator: "=~", Value: `^valve-\d+`}, `DeviceId matches regex "^valve-\\d+"`},
		{Filter{Key: "DeviceId", Operator: "!~", Value: "x"}, `not(DeviceId matches regex "x")`},
		{Filter{Key: "TlsVersion", Operator: "<", Value: "1.2"}, `strcmp(TlsVersion, "1.2") < 0`},
		{Filter{Key: "TlsVersion", Operator: "<=", Value: "1.2"}, `strcmp(TlsVersion, "1.2") <= 0`},
		{Filter{Key: "TlsVersion", Operator: ">", Value: "1.2"}, `strcmp(TlsVersion, "1.2") > 0`},
		{Filter{Key: "TlsVersion", Operator: ">=", Value: "1.2"}, `strcmp(TlsVersion, "1.2") >= 0`},
		{Filter{Key: "WouldFailStrict", Operator: "=", Value: "True"}, `WouldFailStrict == bool(true)`},
		{Filter{Key: "WouldFailStrict", Operator: "=|", Values: Values{"true", "false"}}, `WouldFailStrict in (bool(true), bool(false))`},
		{Filter{Key: "WouldFailStrict", Operator: "=", Value: "maybe"}, ""},
		{Filter{Key: "WouldFailStrict", Operator: "=~", Value: "t"}, ""},
		{Filter{Key: "ResultDescription", Operator: "=", Value: "x"}, ""},
		{Filter{Key: "Hub | count //", Operator: "=", Value: "x"}, ""},
		{Filter{Key: "Hub", Operator: "has", Value: "x"}, ""},
	}
	for _, tt := range tests {
		_, got, err := tt.filter.predicate()
		if tt.want == "" {
			var m *mistake
			if !errors.As(err, &m) || m.code != CodeFilter {
				t.Errorf("%+v: %q, %v", tt.filter, got, err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%+v: want %s, got %s, %v", tt.filter, tt.want, got, err)
		}
	}
}

// TestFilterColumns holds the fixed list against the tables that there are.
func TestFilterColumns(t *testing.T) {
	catalog, err := query.Catalog("hubscope")
	if err != nil {
		t.Fatal(err)
	}
	listed := filterTables()
	for _, c := range FilterColumns() {
		for _, table := range catalog.Tables() {
			i := table.Column(c.Name)
			switch has := slices.Contains(c.Tables, table.Name); {
			case has && (i < 0 || table.Columns[i].Type.String() != c.Type):
				t.Errorf("table %s has no %s column %s", table.Name, c.Type, c.Name)
			case !has && i >= 0 && slices.Contains(listed, table.Name) && table.Columns[i].Type.String() == c.Type:
				t.Errorf("table %s has the column %s too", table.Name, c.Name)
			}
		}
		for _, name := range c.Tables {
			if catalog.Table(name) == nil {
				t.Errorf("column %s: there is no table %s", c.Name, name)
			}
		}
	}
}

func TestBinWidth(t *testing.T) {
	tests := []struct {
		name           string
		span, interval time.Duration
		points         int64
		alert          bool
		want           time.Duration
	}{
		{"as suggested", time.Hour, 5 * time.Second, 1000, false, 5 * time.Second},
		{"rounded up", time.Hour, 7 * time.Second, 1000, false, 10 * time.Second},
		{"at least a second", time.Minute, 10 * time.Millisecond, 1000, false, time.Second},
		{"rollups from six hours on", 6 * time.Hour, 20 * time.Second, 1000, false, 5 * time.Minute},
		{"just below six hours", 6*time.Hour - time.Second, 20 * time.Second, 1000, false, 30 * time.Second},
		{"a day", 24 * time.Hour, 2 * time.Minute, 700, false, 5 * time.Minute},
		{"a month", 30 * day, time.Hour, 700, false, time.Hour},
		{"years", 5 * 365 * day, 2 * day, 700, false, 7 * day},
		{"centuries", 200 * 365 * day, 20 * day, 700, false, 21 * day},
		{"no interval", time.Hour, 0, 60, false, time.Minute},
		{"no interval, no points", time.Hour, 0, 0, false, 5 * time.Second},
		{"no range", 0, 0, 0, false, time.Second},
		{"alert with Grafana's defaults", 10 * time.Minute, time.Second, 43200, true, time.Minute},
		{"alert over an hour", time.Hour, time.Second, 43200, true, time.Minute},
		{"alert over a day", day, time.Second, 43200, true, 5 * time.Minute},
		{"alert over a month", 30 * day, time.Second, 43200, true, time.Hour},
		{"alert with points", time.Hour, time.Second, 12, true, 5 * time.Minute},
		{"alert over less than a minute", 20 * time.Second, time.Second, 43200, true, 30 * time.Second},
		{"alert with an interval", time.Hour, 10 * time.Second, 43200, true, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := binWidth(tt.span, tt.interval, tt.points, tt.alert); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
		})
	}
}

// TestOriginal checks that places of the expanded text are found in what was
// typed.
func TestOriginal(t *testing.T) {
	m := Model{
		Query:        "Connections // $x\n| where $__timeFilter(Tim) and Hub == $hub\n| summarize c=count() by Tlx",
		Variables:    map[string]Variable{"hub": {Values: Values{"plant-7 and a long name"}}},
		AdHocFilters: []Filter{{Key: "Hub", Operator: "=", Value: "x"}},
	}
	x, err := Expand(m, morning, time.Minute, 1000, false)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		at   string // in the expanded text, first or last occurrence
		last bool
		want string // of the original
	}{
		{"Connections", false, "Connections"}, {"Tim ", false, "Tim"}, {"Tim ", true, "Tim"}, {"datetime(2026-11-21T06:00:00Z)", false, "$__timeFilter(Tim)"},
		{`"plant-7 and a long name"`, false, "$hub"}, {"Tlx", false, "Tlx"}, {"count", false, "count"}, {"where TimeG", false, ""},
	}
	for _, tt := range tests {
		i := strings.Index(x.Text, tt.at)
		if tt.last {
			i = strings.LastIndex(x.Text, tt.at)
		}
		if tt.want == "" {
			if i >= 0 {
				t.Errorf("%q stands in %q", tt.at, x.Text)
			}
			continue
		}
		if i < 0 {
			t.Fatalf("%q does not stand in %q", tt.at, x.Text)
		}
		line, column := kql.Position(x.Text, i)
		line, column, length := x.Original(line, column, len(strings.TrimSpace(tt.at)))
		from := kql.Offset(m.Query, line, column)
		if got := m.Query[from : from+length]; got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.at, tt.want, got)
		}
	}
	if line, column, length := x.Original(0, 0, 0); line+column+length != 0 {
		t.Errorf("no place became one: %d:%d+%d", line, column, length)
	}
	// The filters stand for nothing that was typed; they belong to their table.
	line, column := kql.Position(x.Text, strings.Index(x.Text, ` | where Hub == "x"`)+3)
	if line, column, _ = x.Original(line, column, 5); line != 1 || column != len("Connections")+1 {
		t.Errorf("filters at %d:%d", line, column)
	}
}

// values that fuzzing begins with: what would end a literal, were it text.
var hostile = []string{
	"", "plant-7", `"`, `'`, `\`, `\"`, `" or 1==1 //`, "a\nb", "a\r\n| count", "```", "~~~", `@"`, "$__timeFilter()", "${other}", "[[other]]", "*/ //", "日本", "\xff\xfe", "\u2028", "\x00",
	"1); drop", "1.5e3", "-1", "2026-11-21", "1d", "74be27de-1e4e-49d9-b579-fe0b331d3642", "null", "$__all", "a,b", ")", "]", `"]`, `\u0022`, "1)|count",
}

// FuzzVariableStaysLiteral asserts that a variable's value never leaves the
// literals made for it: the expanded text has the same tokens as with a harmless
// value, and string literals have the value as theirs.
func FuzzVariableStaysLiteral(f *testing.F) {
	for _, v := range hostile {
		f.Add(v, "b")
		f.Add("a", v)
	}
	const text = `T | where a == $v and b == ${v:string} and c == '${v}' and d == @'[[v]]' and e has h"x $v y" and f in ($w) and $__contains(g, $w) and h in ($__escapeMulti($w))
| extend i = ${v:column}, j = dynamic([$v]), k = ${w:json}, l = "${w:regex} ${w:csv} ${v:percentencode} ${w:pipe}", m = ${w:regex}, n = ` + "```$v```"
	shape := func(t *testing.T, text string) (kinds []kql.TokenKind, strings []string) {
		t.Helper()
		for _, token := range kql.Tokens(text) {
			if token.Broken {
				t.Fatalf("broken token in %q", text)
			}
			kinds = append(kinds, token.Kind)
			if token.Kind == kql.StringToken {
				s, ok := kql.Unquote(text[token.Start:token.End])
				if !ok {
					t.Fatalf("no string: %q", text[token.Start:token.End])
				}
				strings = append(strings, s)
			}
		}
		return kinds, strings
	}
	expandWith := func(v, w string) (string, error) {
		x, err := Expand(Model{Query: text, Variables: map[string]Variable{"v": {Values: Values{v}}, "w": {Values: Values{w, "z"}}}}, morning, time.Minute, 1000, false)
		return x.Text, err
	}
	f.Fuzz(func(t *testing.T, v, w string) {
		got, err := expandWith(v, w)
		if err != nil {
			if v != "" && v != all && w != all {
				t.Fatalf("%q, %q: %v", v, w, err)
			}
			return
		}
		if w == all || v == all {
			return // fewer literals
		}
		harmless, err := expandWith("harmless", "harmless")
		if err != nil {
			t.Fatal(err)
		}
		want, _ := shape(t, harmless)
		kinds, strs := shape(t, got)
		if !slices.Equal(want, kinds) {
			t.Fatalf("the values %q and %q change the tokens:\n%s", v, w, got)
		}
		if v = strings.ToValidUTF8(v, "\ufffd"); utf8.ValidString(v) && strs[0] != v && !strings.Contains(v, "\ufffd") {
			t.Fatalf("the value %q became %q", v, strs[0])
		}
	})
}

// FuzzTypedVariable asserts the same of typed literals, whose values are checked.
func FuzzTypedVariable(f *testing.F) {
	for _, v := range hostile {
		for _, typ := range []string{"long", "int", "real", "decimal", "bool", "datetime", "timespan", "guid"} {
			f.Add(v, typ)
		}
	}
	f.Fuzz(func(t *testing.T, v, typ string) {
		if literalTypes[typ] == "" {
			return
		}
		for _, text := range []string{"print ${v:" + typ + "}", "print " + typ + "($v)"} {
			x, err := Expand(Model{Query: text, Variables: map[string]Variable{"v": {Values: Values{v}}}}, morning, time.Minute, 1000, false)
			if err != nil {
				continue
			}
			tokens := kql.Tokens(x.Text)
			if len(tokens) != 2 || tokens[1].Kind != kql.LiteralToken || tokens[1].Broken || tokens[1].End != len(x.Text) {
				t.Fatalf("%s with %q became %q", text, v, x.Text)
			}
			if _, errs := kql.Parse(x.Text); errs != nil {
				t.Fatalf("%s with %q became %q: %v", text, v, x.Text, errs)
			}
		}
	})
}

// FuzzFilterStaysLiteral asserts the same of ad hoc filters.
func FuzzFilterStaysLiteral(f *testing.F) {
	for _, v := range hostile {
		for _, op := range []string{"=", "!=", "=|", "!=|", "=~", "!~", "<", "<=", ">", ">="} {
			f.Add("Hub", op, v)
		}
		f.Add(v, "=", "x")
		f.Add("Hub", v, "x")
		f.Add("WouldFailStrict", "=", v)
	}
	f.Fuzz(func(t *testing.T, key, op, value string) {
		with := func(v string) (string, error) {
			x, err := Expand(Model{Query: "Connections | count", AdHocFilters: []Filter{{Key: key, Operator: op, Value: v, Values: Values{v, "z"}}}}, morning, time.Minute, 1000, false)
			return x.Text, err
		}
		got, err := with(value)
		if err != nil {
			return
		}
		harmless, err := with("true")
		if err != nil {
			t.Fatal(err)
		}
		want, have := kql.Tokens(harmless), kql.Tokens(got)
		if !slices.EqualFunc(want, have, func(a, b kql.Token) bool { return a.Kind == b.Kind && !b.Broken }) {
			t.Fatalf("%q %q %q: %q", key, op, value, got)
		}
	})
}

// FuzzExpand asserts that no text makes Expand panic, that what it says is wrong
// lies within the text, and that every place of the result has one in the text.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{
		"T | where $__timeFilter($__contains(a, $v)) // $v", "$__contains($__contains(a,$v),$v)", "${", "$", "[[", "${v", "long($v", "datetime($__from())", "'${v}", `@"$v""$v"`, "$__timeFilter(", "h```$v```", "${v:long", "[[v:x]]",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		m := Model{Query: text, Variables: map[string]Variable{"v": {Values: Values{"a", "b"}}}, AdHocFilters: []Filter{{Key: "Hub", Operator: "=", Value: "x"}}}
		x, err := Expand(m, morning, time.Minute, 1000, false)
		var errs client.Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) {
			t.Fatalf("%v", err)
		}
		for _, e := range errs {
			if at := kql.Offset(text, e.Line, e.Column); e.Line < 1 || e.Column < 1 || at > len(text) || e.Message == "" {
				t.Fatalf("%+v lies outside of %q", e, text)
			}
		}
		for at := 0; at <= len(x.Text); at++ {
			if from := x.origin(at, false); from < 0 || from > len(text) {
				t.Fatalf("place %d of %q is %d in %q", at, x.Text, from, text)
			}
		}
	})
}
