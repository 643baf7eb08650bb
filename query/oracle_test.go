package query_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubscope/query"
)

// official asks the official binder for the columns of queries. nil stands for
// a query that it does not accept.
func official(t *testing.T, queries []string) [][]column {
	t.Helper()
	node, err := exec.LookPath("node")
	if _, missing := os.Stat("testdata/oracle/node_modules"); err != nil || errors.Is(missing, fs.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatal("the official binder is not installed: npm ci in query/testdata/oracle, with node")
		}
		t.Skip("the official binder is not installed: npm ci in query/testdata/oracle")
	}
	tables := map[string]string{}
	for _, table := range catalog(t).Tables() {
		var b strings.Builder
		for _, c := range table.Columns {
			b.WriteString(", " + c.Name + ": " + c.Type.String())
		}
		tables[table.Name] = "(" + b.String()[2:] + ")"
	}
	var in bytes.Buffer
	for _, q := range queries {
		if err := json.NewEncoder(&in).Encode(map[string]any{"query": q, "tables": tables}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "testdata/oracle/bind.mjs")
	cmd.Stdin = &in
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := make([][]column, 0, len(queries))
	d := json.NewDecoder(bytes.NewReader(out))
	for range queries {
		var a struct {
			Columns []column
			Error   string
		}
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.Error != "" {
			t.Logf("%s\nis not accepted: %s", queries[len(answers)], a.Error)
			a.Columns = nil
		}
		answers = append(answers, a.Columns)
	}
	return answers
}

// otherwise are queries, by a part of their text, whose columns are not the
// official binder's, and why.
var otherwise = map[string]string{
	"| scan ":  "the binder adds match_id, which Kusto's results have only with with_match_id",
	"of a + 1": "the binder leaves the column of a computed clause without a name",
	"d.s.x":    "the binder looks into a dynamic literal, and names x what is a path into text",
}

// TestOfficialColumns compares names, order and types of all columns with those
// of the official binder, over the cases and the shared result cases.
func TestOfficialColumns(t *testing.T) {
	var queries []string
	for _, f := range readCases(t) {
		for _, q := range f.queries {
			if _, bad := q.part("error"); !bad {
				queries = append(queries, q.text)
			}
		}
	}
	if _, err := os.Stat("../../shared/kql"); err == nil {
		for _, c := range shared[scored](t, "results.jsonl") {
			queries = append(queries, c.Query)
		}
	}
	e, err := query.New(query.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same, compared := 0, 0
	for i, want := range official(t, queries) {
		a := e.Analyze(query.Request{Text: queries[i]})
		if len(a.Errors) > 0 {
			t.Errorf("%s\n%v", queries[i], a.Errors)
			continue
		}
		// Columns that depend on the data are not known without it; neither are
		// they to the official binder.
		if want == nil || a.Columns == nil {
			continue
		}
		compared++
		var got []column
		for _, c := range a.Columns {
			got = append(got, column{c.Name, c.Type.String()})
		}
		for k := range want {
			if want[k].Type == "unknown" {
				want[k].Type = "dynamic"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			if why := deviation(queries[i]); why != "" {
				t.Logf("%s\n%s", queries[i], why)
				continue
			}
			t.Errorf("%s\ncolumns differ (-official +ours):\n%s", queries[i], diff)
			continue
		}
		same++
	}
	t.Logf("%d of %d the same, of %d queries", same, compared, len(queries))
}

func deviation(text string) string {
	for part, why := range otherwise {
		if strings.Contains(text, part) {
			return why
		}
	}
	return ""
}
