package query_test

import (
	"slices"
	"strings"
	"testing"

	"hubscope/query"
	"hubscope/query/chsql"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// parsed is a query of parse.jsonl, as people published it.
type parsed struct {
	ID         string
	Query      string
	OfficialOK bool `json:"official_ok"`
}

// catalog is the real one.
func catalog(t testing.TB) *plan.Catalog {
	t.Helper()
	c, err := query.Catalog("hubscope")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// with has open tables beside the real one of events: their columns are what a
// query reads.
func with(t testing.TB, names ...string) *plan.Catalog {
	t.Helper()
	tables := []*plan.Table{catalog(t).Table("Connections"), {Name: "Other", Open: true}}
	for _, n := range names {
		tables = append(tables, &plan.Table{Name: n, Open: true})
	}
	c, err := plan.NewCatalog("hubscope", tables)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bind compiles a query, with an open table for every name that no table has.
func bind(t testing.TB, text string) (*plan.Plan, kql.Errors) {
	t.Helper()
	_, p, errs := openFor(t, text)
	return p, errs
}

// openFor does the same, and returns the catalog as well.
func openFor(t testing.TB, text string) (*plan.Catalog, *plan.Plan, kql.Errors) {
	t.Helper()
	tree, errs := kql.Parse(text)
	if len(errs) > 0 {
		return nil, nil, errs
	}
	var open []string
	// As where the places that externaldata names are allowed.
	opt := plan.Options{External: func(string) ([]byte, error) { return nil, nil }}
	for {
		cat := with(t, open...)
		p, errs := plan.Bind(tree, cat, opt)
		added := false
		for _, e := range errs {
			name, ok := strings.CutPrefix(e.Message, `no table or view "`)
			name = strings.TrimSuffix(name, `"`)
			if ok && !slices.Contains(open, name) {
				open = append(open, name)
				added = true
			}
		}
		if !added {
			return cat, p, errs
		}
	}
}

// wantBind is the share of published queries that has to compile.
const wantBind = 0.88

func TestSharedQueriesBind(t *testing.T) {
	n, ok := 0, 0
	for _, c := range shared[parsed](t, "parse.jsonl") {
		if !c.OfficialOK {
			continue
		}
		n++
		p, errs := bind(t, c.Query)
		if len(errs) > 0 {
			t.Logf("%s: %v", c.ID, errs[0])
			continue
		}
		if p.Discover == nil {
			chsql.Generate(p)
		}
		ok++
	}
	t.Logf("%d of %d bind", ok, n)
	if float64(ok) < wantBind*float64(n) {
		t.Errorf("less than %v", wantBind)
	}
}
