package kql

import (
	"os"
	"strings"
	"testing"
)

// readLines returns the non-empty lines of a file, except those that start
// with //.
func readLines(tb testing.TB, name string) []string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var list []string
	for _, l := range strings.Split(string(b), "\n") {
		if l != "" && !strings.HasPrefix(l, "//") {
			list = append(list, l)
		}
	}
	return list
}

// TestAccepted parses one query a line that the official parser accepts, and
// prints it back.
func TestAccepted(t *testing.T) {
	for _, text := range readLines(t, "testdata/accepted.kql") {
		q, errs := Parse(text)
		if errs != nil {
			t.Errorf("%s\n%s", text, errs.Render(text))
			continue
		}
		checkSpans(t, q)
		checkPrint(t, q)
	}
}

// TestRefused parses one text a line that the official parser refuses.
func TestRefused(t *testing.T) {
	for _, text := range readLines(t, "testdata/refused.kql") {
		q, errs := Parse(text)
		if errs == nil {
			t.Errorf("no error in %s", text)
		}
		checkSpans(t, q)
	}
}

// FuzzParsePrint asserts that no text makes Parse panic, that errors lie
// within the text and can be shown, and that a tree without errors prints to
// text of the same tree.
func FuzzParsePrint(f *testing.F) {
	for _, name := range []string{"testdata/accepted.kql", "testdata/refused.kql"} {
		for _, text := range readLines(f, name) {
			f.Add(text)
		}
	}
	for _, c := range corpus(f, "parse.jsonl") {
		f.Add(c.Query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, errs := Parse(text)
		checkSpans(t, q)
		for _, e := range errs {
			if e.Start < 0 || e.End < e.Start || e.End > len(text) {
				t.Fatalf("error %v lies outside of the text: %v", e, e.Span)
			}
			if e.Code == "" || e.Message == "" {
				t.Fatalf("error says nothing: %+v", e)
			}
			e.Render(text)
		}
		if errs == nil {
			checkPrint(t, q)
		}
	})
}

// FuzzTokens asserts that tokens stand in order within the text, that white
// space and comments alone stand between them, and that a token read on its own
// is the same one token.
func FuzzTokens(f *testing.F) {
	for _, text := range []string{
		"", "T | where x == $v // $c", `h@"a""b" '\'' "\"`, "```a\n$b``` ~~~c~~~", "datetime($__from) [[x]] ${y:long}", "#crp x\nmv-expand", "project-away a", "in~ (1)", "!has_cs",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > MaxText {
			return
		}
		end := 0
		for _, token := range Tokens(text) {
			if token.Start < end || token.End <= token.Start || token.End > len(text) {
				t.Fatalf("token %+v behind %d in %q", token, end, text)
			}
			if between := Tokens(text[end:token.Start]); len(between) > 0 {
				t.Fatalf("%q stands between tokens of %q", text[end:token.Start], text)
			}
			end = token.End
			alone := Tokens(text[token.Start:token.End])
			if len(alone) != 1 || alone[0].Kind != token.Kind || alone[0].End != token.End-token.Start {
				t.Fatalf("%q is %+v within %q, and alone %+v", text[token.Start:token.End], token, text, alone)
			}
		}
		if rest := Tokens(text[end:]); len(rest) > 0 {
			t.Fatalf("%q stands behind the tokens of %q", text[end:], text)
		}
	})
}
