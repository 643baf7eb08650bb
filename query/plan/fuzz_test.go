package plan_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"hubscope/query"
	"hubscope/query/chsql"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// FuzzCompile holds that no text brings the compiler down, and that a query has
// one SQL, byte for byte. It stands here, and not with the tests on the engine,
// because all that it links is instrumented.
func FuzzCompile(f *testing.F) {
	paths, err := filepath.Glob("../testdata/cases/*.txtar")
	if err != nil || len(paths) == 0 {
		f.Fatal("no cases", err)
	}
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			if part.Name == "query" {
				f.Add(string(part.Data))
			}
		}
	}
	cat, err := query.Catalog("hubscope")
	if err != nil {
		f.Fatal(err)
	}
	now := int64(plan.UnixEpochTicks) + 20_000*plan.TicksPerDay
	f.Fuzz(func(t *testing.T, text string) {
		tree, syntax := kql.Parse(text)
		var sql [2]string
		for i := range sql {
			p, errs := plan.Bind(tree, cat, plan.Options{Now: &now})
			// What is not KQL is bound for the sake of its errors only.
			if len(syntax) > 0 || len(errs) > 0 || p.Discover != nil {
				return
			}
			sql[i] = chsql.Generate(p).SQL
		}
		if sql[0] != sql[1] {
			t.Errorf("two texts for one query:\n%s\n%s", sql[0], sql[1])
		}
	})
}
