package kql

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sharedDir holds the development corpora, which are not part of the project.
const sharedDir = "../../../shared/kql"

type corpusQuery struct {
	ID         string `json:"id"`
	Query      string `json:"query"`
	OfficialOK *bool  `json:"official_ok"`
}

// corpus returns the queries of a file in sharedDir, none when it is absent.
func corpus(tb testing.TB, name string) []corpusQuery {
	tb.Helper()
	f, err := os.Open(filepath.Join(sharedDir, name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var list []corpusQuery
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var q corpusQuery
		if err := json.Unmarshal(sc.Bytes(), &q); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		list = append(list, q)
	}
	if err := sc.Err(); err != nil {
		tb.Fatal(err)
	}
	return list
}

// treeDiff compares two trees without their places in the text.
func treeDiff(want, got *Query) string {
	if sameTree(reflect.ValueOf(want), reflect.ValueOf(got)) {
		return "" // cmp needs seconds for what is nested a thousand times
	}
	return cmp.Diff(want, got, cmpopts.IgnoreTypes(Span{}), cmpopts.EquateNaNs(),
		cmpopts.IgnoreFields(Query{}, "Text"), cmpopts.IgnoreFields(Literal{}, "Raw"))
}

// sameTree reports whether a and b are equal, Span, Query.Text and Literal.Raw
// left out and NaN equal to itself.
func sameTree(a, b reflect.Value) bool {
	if a.Kind() != b.Kind() || a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Interface, reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameTree(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameTree(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			switch f := a.Type().Field(i); {
			case f.Type == reflect.TypeFor[Span](), f.Name == "Raw" && a.Type() == reflect.TypeFor[Literal](),
				f.Name == "Text" && a.Type() == reflect.TypeFor[Query]():
			default:
				if !sameTree(a.Field(i), b.Field(i)) {
					return false
				}
			}
		}
		return true
	case reflect.Float64:
		return a.Float() == b.Float() || a.Float() != a.Float() && b.Float() != b.Float()
	}
	return a.Equal(b)
}

// checkPrint fails unless the printed tree parses to the same tree, and its
// text is printed as it is.
func checkPrint(tb testing.TB, q *Query) {
	tb.Helper()
	text := Print(q)
	again, errs := Parse(text)
	if errs != nil {
		tb.Fatalf("printed text has errors:\n%s\n%s", errs.Render(text), text)
	}
	if diff := treeDiff(q, again); diff != "" {
		tb.Fatalf("printed text is another tree (-want +got):\n%s\n%s", diff, text)
	}
	if text2 := Print(again); text2 != text {
		tb.Fatalf("print is not stable:\n%s\n%s", text, text2)
	}
}

// checkSpans fails unless every node's span lies within that of its parent and
// children do not run before their elder siblings.
func checkSpans(tb testing.TB, q *Query) {
	tb.Helper()
	if q.Start != 0 || q.End != len(q.Text) {
		tb.Fatalf("query spans %v of %d bytes", q.Span, len(q.Text))
	}
	var check func(parent Node)
	check = func(parent Node) {
		outer := parent.Range()
		Walk(parent, func(n Node) bool {
			if n == parent {
				return true
			}
			s := n.Range()
			if s.Start < outer.Start || s.End > outer.End || s.Start > s.End {
				tb.Fatalf("%T %v lies outside of %T %v in %q", n, s, parent, outer, q.Text)
			}
			check(n)
			return false
		})
	}
	check(q)
}

// TestSharedQueries compares our verdict with the official parser's over real
// queries that others wrote.
func TestSharedQueries(t *testing.T) {
	queries := append(corpus(t, "parse.jsonl"), corpus(t, "results.jsonl")...)
	if len(queries) == 0 {
		t.Skip("the shared corpora are not here")
	}
	agree := 0
	for _, c := range queries {
		q, errs := Parse(c.Query)
		want := c.OfficialOK == nil || *c.OfficialOK
		if (errs == nil) == want {
			agree++
		} else {
			t.Logf("%s: official parser says %v, we say:\n%s", c.ID, want, errs.Render(c.Query))
		}
		checkSpans(t, q)
		if errs == nil {
			checkPrint(t, q)
		}
	}
	if agree != len(queries) {
		t.Errorf("agree with the official parser on %d of %d queries", agree, len(queries))
	}
}
