package kql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestErrorText checks what a person sees: message, line, caret and hint.
func TestErrorText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown operator", `Connections | wher TlsVersion == "1.0"`, `
error SYN0001: unknown operator "wher"
  Connections | wher TlsVersion == "1.0"
                ^^^^ did you mean where?`},
		{"several lines", "Connections\n| where TlsVersion = = \"1.0\"\n| take 5", `
error SYN0001: expected an expression, found "="
  2:22  | where TlsVersion = = "1.0"
                             ^ write == to compare`},
		{"several errors", "T\n| where a ==\n| sumarize count()\n| order a\n| take 5", `
error SYN0001: expected an expression, found "|"
  3:1  | sumarize count()
       ^
error SYN0001: unknown operator "sumarize"
  3:3  | sumarize count()
         ^^^^^^^^ did you mean summarize?
error SYN0001: expected "by", found "a"
  4:9  | order a
               ^`},
		{"at the end", `T | where `, `
error SYN0001: expected an expression, found the end of the query
  T | where
           ^`},
		{"operator missing", `T | take 5 | `, `
error SYN0001: expected an operator, found the end of the query
  T | take 5 |
              ^`},
		{"unclosed", "T\n| where (a == 1", `
error SYN0001: expected ")", found the end of the query
  2:16  | where (a == 1
                       ^ "(" at 2:9 is not closed`},
		{"string", `print "a`, `
error SYN0002: string does not end on this line
  print "a
        ^ expected "`},
		{"escape", `print "\d+"`, `
error SYN0002: unknown escape \d in a string
  print "\d+"
         ^^ write \\ for a backslash, or @"..." for a string without escapes`},
		{"keyword as name", `T | where title == 1`, `
error SYN0001: the keyword "title" cannot be a name as it is
  T | where title == 1
            ^^^^^ write ['title']`},
		{"dash in name", `T | extend end-time = 1`, `
error SYN0001: "end-time" cannot be a name as it is
  T | extend end-time = 1
             ^^^^^^^^ write ['end-time']`},
		{"upper case", `T | where a == 1 AND b == 2`, `
error SYN0001: expected "|" or ";", found "AND"
  T | where a == 1 AND b == 2
                   ^^^ keywords are written in lower case: and`},
		{"ampersands", `T | where a && b`, `
error SYN0001: unexpected character &&
  T | where a && b
              ^^ write and`},
		{"bars", `T | where a || b`, `
error SYN0001: expected an operator, found "|"
  T | where a || b
               ^ write or, or take one | away`},
		{"bang", `T | where a !hass "x"`, `
error SYN0001: unknown operator !hass
  T | where a !hass "x"
              ^^^^^ did you mean !has?`},
		{"missing pipe", "T\nwhere a", `
error SYN0001: expected "|" or ";", found "where"
  2:1  where a
       ^^^^^ put | before where`},
		{"missing semicolon", "let a = 1\nT | where x ==", `
error SYN0001: expected "|" or ";", found "T"
  2:1  T | where x ==
       ^ end the statement before it with ;
error SYN0001: expected an expression, found the end of the query
  2:15  T | where x ==
                      ^`},
		{"type", `datatable(a:sting)["x"]`, `
error SYN0001: unknown type sting
  datatable(a:sting)["x"]
              ^^^^^ did you mean string?`},
		{"hint name", `T | join hint.strategi=broadcast U on a`, `
error SYN0001: unknown hint strategi
  T | join hint.strategi=broadcast U on a
                ^^^^^^^^ did you mean hint.strategy?`},
		{"sql", `SELECT a FROM T`, `
error SYN0001: this looks like SQL
  SELECT a FROM T
  ^^^^^^ a query starts with its table: Table | where ... | project ...`},
		{"curly quotes", `T | where a == “x”`, `
error SYN0001: unexpected character “
  T | where a == “x”
                 ^ strings stand between straight quotes, "..." or '...'
error SYN0001: unexpected character ”
  T | where a == “x”
                   ^ strings stand between straight quotes, "..." or '...'`},
		{"tabs and wide characters before it", "T | where\ta == \"日本\" and == 1", `
error SYN0001: expected an expression, found "=="
  T | where a == "日本" and == 1
                            ^^`},
		{"emoji before it", "T | where a == \"🚀\" and == 1", `
error SYN0001: expected an expression, found "=="
  T | where a == "🚀" and == 1
                          ^^`},
		{"nested query", "T | join (U | wher x | take 1) on k | order b", `
error SYN0001: unknown operator "wher"
  T | join (U | wher x | take 1) on k | order b
                ^^^^ did you mean where?
error SYN0001: expected "by", found "b"
  T | join (U | wher x | take 1) on k | order b
                                              ^`},
		{"stray word in a nested query", "T | join (U | take 5 x) on k", `
error SYN0001: expected "|" or a closing bracket, found "x"
  T | join (U | take 5 x) on k
                       ^`},
		{"an error for each statement", "let a = ;\nlet b = 1;\nT | foo;\nprint b", `
error SYN0001: expected an expression, found ";"
  1:9  let a = ;
               ^
error SYN0001: unknown operator "foo"
  3:5  T | foo;
           ^^^`},
		{"unclosed bracket and a pipe on the next line", "T\n| where f(a, b\n| take x y\n| count", `
error SYN0001: expected ")", found "|"
  3:1  | take x y
       ^ "(" at 2:10 is not closed
error SYN0001: expected "|" or ";", found "y"
  3:10  | take x y
                 ^`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, errs := Parse(tt.text)
			got := "\n" + trimLines(errs.Render(tt.text))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// TestRenderLongLine checks that only a part of a long line is shown, with the
// caret under the right place.
func TestRenderLongLine(t *testing.T) {
	text := "T | where x in (" + strings.Repeat("1234567890, ", 100) + "] and y == 1 or " + strings.Repeat("z", 300)
	_, errs := Parse(text)
	if len(errs) == 0 {
		t.Fatal("no error")
	}
	lines := strings.Split(errs[0].Render(text), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	if len(lines[1]) > 200 {
		t.Errorf("the line shown has %d bytes", len(lines[1]))
	}
	caret := strings.IndexByte(lines[2], '^')
	if caret < 0 || caret >= len(lines[1]) || lines[1][caret] != ']' {
		t.Errorf("the caret is not under the bracket:\n%s\n%s", lines[1], lines[2])
	}
}

// TestRenderWidth checks that a terminal breaks neither the line nor the carets
// of an error, or the carets would stand under something else.
func TestRenderWidth(t *testing.T) {
	for _, text := range []string{
		"T | where aaaaaaaa == 1 and bbbbbbbb == 2 and cccccccc == 3 | foo bar | where dddddddddd == 5 and eeeeeeeeee == 6",
		"T | where x == '日本語日本語日本語日本語日本語' | foo '日本語日本語日本語日本語日本語日本語' | where dddddddddd == 5",
		"T\n| where x == 1 | foo " + strings.Repeat("z", 200),
		"T | foo",
	} {
		_, errs := Parse(text)
		if len(errs) == 0 {
			t.Fatalf("%s: no error", text)
		}
		for cells := 30; cells <= 130; cells += 10 {
			lines := strings.Split(errs[0].RenderWidth(text, cells), "\n")
			if width(lines[1]) > cells || width(strings.TrimRight(lines[2], " ")) > cells {
				t.Errorf("%d cells are not enough for\n%s\n%s", cells, lines[1], lines[2])
			}
			at := 0 // the cell of foo
			if n := strings.Index(lines[1], "foo"); n < 0 {
				t.Errorf("%d cells do not show the place: %s", cells, lines[1])
			} else {
				at = width(lines[1][:n])
			}
			if caret := strings.IndexByte(lines[2], '^'); caret != at {
				t.Errorf("%d cells: the carets begin at %d, want %d:\n%s\n%s", cells, caret, at, lines[1], lines[2])
			}
		}
	}
}

func TestPosition(t *testing.T) {
	text := "ab\ncd\r\nä日f\rg"
	tests := []struct{ offset, line, column int }{
		{0, 1, 1}, {2, 1, 3}, {3, 2, 1}, {5, 2, 3}, {7, 3, 1}, {9, 3, 2}, {12, 3, 3}, {14, 4, 1}, {15, 4, 2}, {99, 4, 2}, {-1, 1, 1},
	}
	for _, tt := range tests {
		line, column := Position(text, tt.offset)
		if line != tt.line || column != tt.column {
			t.Errorf("offset %d: want %d:%d, got %d:%d", tt.offset, tt.line, tt.column, line, column)
		}
	}
}

// TestLimits checks that no text, however deep or long, does more than report
// an error, and that what is just long is read.
func TestLimits(t *testing.T) {
	tests := []struct {
		name, text string
		code       string // "" when the text is read
	}{
		{"parentheses", "print " + strings.Repeat("(", 100000), CodeDepth},
		{"closed parentheses", "print " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), CodeDepth},
		{"calls", "print " + strings.Repeat("f(", 100000), CodeDepth},
		{"indexes", "print " + strings.Repeat("a[", 100000), CodeDepth},
		{"json", "print dynamic(" + strings.Repeat("[", 100000), CodeDepth},
		{"objects", "print dynamic(" + strings.Repeat(`{"a":`, 100000), CodeDepth},
		{"nested dynamic", "print " + strings.Repeat("dynamic(", 100000), CodeDepth},
		{"functions", strings.Repeat("let f = () {", 100000), CodeDepth},
		{"subqueries", strings.Repeat("T | join (", 100000), CodeDepth},
		{"mv-apply", "T " + strings.Repeat("| mv-apply a on (take 1 ", 100000), CodeDepth},
		{"facets", "T | facet by a with " + strings.Repeat("facet by a with ", 100000), CodeDepth},
		{"fork", "T " + strings.Repeat("| fork (where a ", 100000), CodeDepth},
		{"long sum", "print 1" + strings.Repeat("+1", 100000), CodeDepth},
		{"long path", "print a" + strings.Repeat(".a", 100000), CodeDepth},
		{"long chain inside chains", "print " + strings.Repeat("(", 50) + "1" + strings.Repeat(strings.Repeat("+1", 2000)+")", 50), CodeDepth},
		{"long text", strings.Repeat(" ", MaxText+1), CodeDepth},
		{"many conditions", "T | where a == 1" + strings.Repeat(" or a == 1", 5000), ""},
		{"many values", "T | where a in (1" + strings.Repeat(",1", 100000) + ")", ""},
		{"many operators", "T" + strings.Repeat(" | extend a = 1", 20000), ""},
		{"many statements", strings.Repeat("let a = 1; ", 20000) + "T", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, errs := Parse(tt.text)
			switch {
			case tt.code == "" && errs != nil:
				t.Errorf("want no error, got %v", errs)
			case tt.code != "" && (len(errs) == 0 || errs[len(errs)-1].Code != tt.code):
				t.Errorf("want an error %s, got %v", tt.code, errs)
			}
			n := 0
			Walk(q, func(Node) bool { n++; return true })
			if n == 0 {
				t.Error("no tree")
			}
		})
	}
}

// TestManyErrors checks that a text that is wrong everywhere gets a list that
// can still be read.
func TestManyErrors(t *testing.T) {
	_, errs := Parse(strings.Repeat("T | foo; ", 1000))
	if len(errs) != maxErrors {
		t.Errorf("want %d errors, got %d", maxErrors, len(errs))
	}
	if err := errs.Err(); err == nil || !strings.Contains(err.Error(), "SYN0001") {
		t.Errorf("Err gives %v", err)
	}
	if err := Errors(nil).Err(); err != nil {
		t.Errorf("no errors give the error %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"TlsVersion", "TlsCipher", "DeviceId", "ModuleId", "where", "TimeGenerated"}
	tests := []struct{ in, want string }{
		{"TlsVersoin", "TlsVersion"}, {"tlsversion", "TlsVersion"}, {"deviceid", "DeviceId"}, {"wher", "where"},
		{"whree", "where"}, {"Time", ""}, {"x", ""}, {"", ""}, {strings.Repeat("where", 100), ""},
	}
	for _, tt := range tests {
		if got := nearest(tt.in, names); got != tt.want {
			t.Errorf("%q: want %q, got %q", tt.in, tt.want, got)
		}
	}
}

// TestOffset checks that Offset undoes Position.
func TestOffset(t *testing.T) {
	text := "ab\ncd\r\nä日f\rg\n\nx"
	for i := range text {
		if text[i] == '\n' && i > 0 && text[i-1] == '\r' {
			continue // in the middle of a line end
		}
		line, column := Position(text, i)
		if got := Offset(text, line, column); got != i {
			t.Errorf("offset %d is %d:%d, which is offset %d", i, line, column, got)
		}
	}
	if got := Offset(text, 99, 1); got != len(text) {
		t.Errorf("a line that is not there is at %d", got)
	}
	if got := Offset(text, 1, 99); got != 2 {
		t.Errorf("a column that is not there is at %d", got)
	}
}
