package kql

import (
	"fmt"
	"strings"
	"testing"
)

// shape writes a tree with every operation in its own brackets, to show how
// operators bind.
func shape(e Expr) string {
	list := func(es []Expr) string {
		s := make([]string, len(es))
		for i, x := range es {
			s[i] = shape(x)
		}
		return strings.Join(s, " ")
	}
	switch e := e.(type) {
	case *Binary:
		return fmt.Sprintf("(%s %s %s)", shape(e.X), e.Op, shape(e.Y))
	case *Unary:
		return fmt.Sprintf("(%s%s)", e.Op, shape(e.X))
	case *In:
		return fmt.Sprintf("(%s %s [%s])", shape(e.X), e.Op, list(e.List))
	case *Between:
		return fmt.Sprintf("(%s %s %s..%s)", shape(e.X), e.Op, shape(e.Lo), shape(e.Hi))
	case *Paren:
		return "<" + shape(e.X) + ">"
	case *Path:
		return "{" + shape(e.X) + "." + shape(e.Sel) + "}"
	case *Index:
		return "{" + shape(e.X) + "[" + shape(e.Index) + "]}"
	case *Call:
		return e.Func.Text + "[" + list(e.Args) + "]"
	case *Named:
		return e.Names[0].Text + "=" + shape(e.X)
	case *Pipe:
		s := ""
		if e.Source != nil {
			s = shape(e.Source)
		}
		for _, op := range e.Ops {
			s += "|" + op.Word()
		}
		return s
	}
	return Print(e)
}

// TestPrecedence shows the levels of the official parser. The string operators
// bind tighter than arithmetic there.
func TestPrecedence(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a or b and c", "(a or (b and c))"},
		{"a and b or c and d", "((a and b) or (c and d))"},
		{"a or b or c", "((a or b) or c)"},
		{"a == 1 and b > 2", "((a == 1) and (b > 2))"},
		{"a + b * c - d", "((a + (b * c)) - d)"},
		{"a + b > c * d == true", "(((a + b) > (c * d)) == true)"},
		{"a has 'x' + 'y'", `((a has "x") + "y")`},
		{"a =~ b and c", "((a =~ b) and c)"},
		{"-a.b * c", "((-{a.b}) * c)"},
		{"-a[0].b(1)", "(-{{a[0]}.b[1]})"},
		{"1 - -2", "(1 - (-2))"},
		{"a in (1, 2) and b", "((a in [1 2]) and b)"},
		{"a !in~ (T | project x)", "(a !in~ [T|project])"},
		{"a between (1 .. 2 + 3) or b", "((a between 1..(2 + 3)) or b)"},
		{"not(a) and (b or c)", "(not[a] and <(b or c)>)"},
		{"a <> b", "(a != b)"},
		{"a notcontains b", "(a !contains b)"},
		{"a matches regex b", "(a matches regex b)"},
		{"f(x=1, *)", "f[x=1 *]"},
		{`a.b["c"].['d e'][-1]`, `{{{{a.b}["c"]}.['d e']}[(-1)]}`},
		{"toscalar(T | count)", "toscalar[T|count]"},
		{"a % b / c", "((a % b) / c)"},
	}
	for _, tt := range tests {
		if got := shape(parseLiteral(t, tt.text)); got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.text, tt.want, got)
		}
	}
}

// TestCanonicalText shows what Print makes of a query.
func TestCanonicalText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"pipes", "T|where a==1|take 5", "T\n| where a == 1\n| take 5"},
		{"comments", "// one\nT // two\n| count // three", "T\n| count"},
		{"statements", "let a=1;let f=(x:long=5){x+a};set b;T", "let a = 1;\nlet f = (x: long = 5) { x + a };\nset b;\nT"},
		{"strings", `print 'a"b', h@"c\d", "e" 'f'`, `print "a\"b", h"c\\d", "ef"`},
		{"literals", "print 0x10, 1.0, 1d, datetime(2020-01-01), int(1), dynamic({'a':[-1,null]})",
			`print 16, 1.0, timespan(1.00:00:00), datetime(2020-01-01T00:00:00.0000000Z), int(1), dynamic({"a": [-1, null]})`},
		{"old spellings stay", "T | filter a | mvexpand b | order by c | limit 1", "T\n| filter a\n| mvexpand b\n| order by c\n| limit 1"},
		{"names", "T | project ['a b'], ['x']=1, ['it''s' \"!\"]", `T
| project ['a b'], ['x'] = 1, ['its!']`},
		{"join", "T|join kind=inner hint.strategy=shuffle (U|take 1) on a,$left.b==$right.c", "T\n| join kind=inner hint.strategy=shuffle (U | take 1) on a, $left.b == $right.c"},
		{"no source", "union A,B|count", "union A, B\n| count"},
		{"sort", "T|sort by a asc nulls last,b", "T\n| sort by a asc nulls last, b"},
		{"render", "T|render timechart kind=stacked with(title='x',ycolumns=a,b)", `T
| render timechart kind=stacked with (title="x", ycolumns=a, b)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, errs := Parse(tt.text)
			if errs != nil {
				t.Fatal(errs)
			}
			if got := Print(q); got != tt.want {
				t.Errorf("want\n%s\ngot\n%s", tt.want, got)
			}
		})
	}
}

// TestPrintParentheses checks that a tree without Paren nodes, as a program
// builds it, is printed with the parentheses it needs.
func TestPrintParentheses(t *testing.T) {
	ref := func(s string) Expr { return &Ref{Name{Text: s}} }
	bin := func(op Op, x, y Expr) Expr { return &Binary{Op: op, X: x, Y: y} }
	tests := []struct {
		x    Expr
		want string
	}{
		{bin(OpAnd, bin(OpOr, ref("a"), ref("b")), ref("c")), "(a or b) and c"},
		{bin(OpSub, ref("a"), bin(OpSub, ref("b"), ref("c"))), "a - (b - c)"},
		{bin(OpEq, bin(OpEq, ref("a"), ref("b")), ref("c")), "(a == b) == c"},
		{bin(OpHas, bin(OpAdd, ref("a"), ref("b")), ref("c")), "(a + b) has c"},
		{&Unary{Op: OpNeg, X: bin(OpAdd, ref("a"), ref("b"))}, "-(a + b)"},
		{&Path{X: bin(OpAdd, ref("a"), ref("b")), Sel: ref("c")}, "(a + b).c"},
		{&In{Op: OpIn, X: bin(OpAnd, ref("a"), ref("b")), List: []Expr{ref("c")}}, "(a and b) in (c)"},
	}
	for _, tt := range tests {
		if got := Print(tt.x); got != tt.want {
			t.Errorf("want %s, got %s", tt.want, got)
		}
	}
}

func TestIsCommand(t *testing.T) {
	for text, want := range map[string]bool{".show tables": true, " // x\n .drop table T": true, "T | count": false, "": false, "print .5": false} {
		if got := IsCommand(text); got != want {
			t.Errorf("%q: want %v, got %v", text, want, got)
		}
	}
}

// TestEmpty checks that a text without a statement is no error of this package.
func TestEmpty(t *testing.T) {
	for _, text := range []string{"", " ", "// only a comment", "\ufeff"} {
		q, errs := Parse(text)
		if errs != nil || len(q.Statements) != 0 {
			t.Errorf("%q: %d statements, errors %v", text, len(q.Statements), errs)
		}
	}
}

// TestWalkOrder checks that Walk visits names in the order of the text and
// that false leaves children out.
func TestWalkOrder(t *testing.T) {
	q, errs := Parse("let x = a; T | where b and f(c) in (U | project d) | summarize e by g | sort by h")
	if errs != nil {
		t.Fatal(errs)
	}
	names := func(skipIn bool) string {
		var s []string
		Walk(q, func(n Node) bool {
			switch n := n.(type) {
			case *Ref:
				s = append(s, n.Text)
			case *In:
				return !skipIn
			}
			return true
		})
		return strings.Join(s, " ")
	}
	if got, want := names(false), "a T b c U d e g h"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if got, want := names(true), "a T b e g h"; got != want {
		t.Errorf("without in: want %s, got %s", want, got)
	}
}

// How long does it take to parse a query that a person writes?
func BenchmarkParse(b *testing.B) {
	const text = `Connections
| where TimeGenerated > ago(1d) and OperationName == "deviceConnect"
| extend Legacy = TlsVersion in ("1.0", "1.1")
| summarize Devices = dcount(DeviceId), Last = max(TimeGenerated) by TlsVersion, bin(TimeGenerated, 1h)
| where Devices > 10
| sort by Devices desc
| take 100`
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, errs := Parse(text); errs != nil {
			b.Fatal(errs)
		}
	}
}

// How long does the average real query take?
func BenchmarkParseShared(b *testing.B) {
	queries := corpus(b, "parse.jsonl")
	if len(queries) == 0 {
		b.Skip("the shared corpora are not here")
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		Parse(queries[i%len(queries)].Query)
		i++
	}
}
