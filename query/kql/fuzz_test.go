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
