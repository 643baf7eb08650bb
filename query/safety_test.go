package query_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hubscope/query"
	"hubscope/query/kql"
)

// TestHostile holds that queries that are too deep, too large or too dear end in
// an error that says so, and soon.
func TestHostile(t *testing.T) {
	e := newEngine(t, query.Config{})
	n := 10_000
	nested := func(open, inner, close string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(close, n)
	}
	list := func(n int, f func(i int) string, sep string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = f(i)
		}
		return strings.Join(parts, sep)
	}
	number := func(i int) string { return fmt.Sprint(i) }
	for name, text := range map[string]string{
		"parentheses":      "print x = " + nested("(", "1", ")"),
		"brackets":         "print x = dynamic(" + nested("[", "1", "]") + ")",
		"bags":             "print x = dynamic(" + nested(`{"a":`, "1", "}") + ")",
		"unclosed":         "print x = " + strings.Repeat("(", n),
		"unclosed braces":  strings.Repeat("let f = () {", n),
		"minus":            "print x = " + strings.Repeat("-", n) + "1",
		"not":              "print x = " + nested("not(", "true", ")"),
		"calls":            "print x = " + nested("abs(", "1", ")"),
		"sums":             "print x = " + list(n, number, " + "),
		"ors":              "Connections | where " + list(n, func(i int) string { return fmt.Sprintf("Hub == 'h%d'", i) }, " or "),
		"ands":             "Connections | where " + list(n, func(i int) string { return fmt.Sprintf("Hub != 'h%d'", i) }, " and "),
		"operators":        "Connections" + strings.Repeat(" | where Hub == 'x'", n),
		"extends":          "print x = 1" + strings.Repeat(" | extend x = x + 1", n),
		"doubling":         "print x = 'a'" + strings.Repeat(" | extend x = strcat(x, x)", 200),
		"joins":            "Connections" + strings.Repeat(" | join (Connections | project Hub) on Hub", 500),
		"subqueries":       nested("union (", "Connections", ")"),
		"unions":           "union " + list(3000, func(i int) string { return "(print x = " + fmt.Sprint(i) + ")" }, ", "),
		"lets":             list(n, func(i int) string { return fmt.Sprintf("let a%d = %d;", i, i) }, "\n") + " print a0",
		"functions":        "let f0 = (x: long) { x + x };" + list(200, func(i int) string { return fmt.Sprintf("let f%d = (x: long) { f%d(x) + f%d(x) };", i+1, i, i) }, "\n") + " print f200(1)",
		"path":             "AzureDiagnostics | project " + "todynamic(properties_s)" + strings.Repeat(".a", n),
		"indexes":          "AzureDiagnostics | project " + "todynamic(properties_s)" + strings.Repeat("[0]", n),
		"case":             "print x = case(" + list(3000, func(i int) string { return "1 == 2, " + fmt.Sprint(i) }, ", ") + ", 0)",
		"iff":              "print x = " + nested("iff(true, 1, ", "2", ")"),
		"numbers in":       "Connections | where RemotePort in (" + list(60_000, number, ", ") + ") | count",
		"strings in":       "Connections | where Hub in (" + list(30_000, func(i int) string { return fmt.Sprintf("'h%d'", i) }, ", ") + ") | count",
		"long string":      "print x = '" + strings.Repeat("a", 1<<20) + "'",
		"long name":        "print " + strings.Repeat("a", 1<<20) + " = 1",
		"long comment":     "//" + strings.Repeat("a", 1<<20) + "\nprint x = 1",
		"columns":          "print " + list(3000, func(i int) string { return fmt.Sprintf("c%d = %d", i, i) }, ", "),
		"rows":             "datatable(a: long)[" + list(30_000, number, ", ") + "] | count",
		"regex":            "Connections | where Hub matches regex '" + strings.Repeat("(a*)*", 1000) + "' | count",
		"repetition":       "print x = extract('(a{1000}){1000}', 1, 'aaa')",
		"many lines":       "Connections | where " + list(2000, func(i int) string { return fmt.Sprintf("Hub == 'h%d'", i) }, " or ") + " | count",
		"quotes":           "print x = " + strings.Repeat("'", n),
		"null bytes":       "print x = '" + strings.Repeat("\x00", 1000) + "'",
		"not text":         strings.Repeat("\xff\xfe", 1000),
		"pipes":            strings.Repeat("|", n),
		"semicolons":       strings.Repeat(";", n) + "print x = 1",
		"range":            "range i from 1 to 9223372036854775807 step 1 | count",
		"repeat":           "print x = strlen(strrep('abc', 1000000000))",
		"numbers":          "print x = " + strings.Repeat("9", 100_000),
		"mv-expand":        "print a = range(1, 1000000, 1) | mv-expand a | mv-expand b = range(1, 1000000, 1) | count",
		"cross":            "range i from 1 to 1000000 step 1 | extend k = 1 | join kind=inner (range j from 1 to 1000000 step 1 | extend k = 1) on k | count",
		"make_list":        "range i from 1 to 100000000 step 1 | summarize make_list(strcat('a long text that is unlike any other', i))",
		"scan":             "range i from 1 to 1000000 step 1 | serialize | scan declare (s: long = 0) with (step a: true => s = s + 1;) | count",
		"timespan":         "print x = 10675199d * 1000000.0",
		"moment":           "print datetime(9999-12-31) + 365d",
		"division by zero": "print 1 / 0, 1 % 0, 1.0 / 0, decimal(1) / decimal(0), 1d / 0s, bin(1, 0), bin(now(), 0s)",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := run(t.Context(), e, query.Request{Text: text, Now: noon, Limits: query.Limits{Time: 2 * time.Second, MemoryBytes: 1 << 30, ResultRows: 1000}})
			took := time.Since(start)
			var errs kql.Errors
			var failed *query.Error
			switch {
			case err == nil:
				t.Logf("answered in %v", took)
			case errors.As(err, &errs):
				t.Logf("%d errors in %v: %.200s", len(errs), took, errs[0].Message)
			case errors.As(err, &failed):
				t.Logf("%s in %v: %s", failed.Code, took, failed.Message)
				if failed.Code == query.CodeInternal {
					t.Errorf("internal error: %.600s", cause(err))
				}
			default:
				t.Error(err)
			}
			if _, err := run(t.Context(), e, query.Request{Text: "print 1"}); err != nil {
				t.Fatalf("the engine does not answer after it: %v", err)
			}
		})
	}
}
