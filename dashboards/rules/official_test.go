package rules

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

// TestOfficialBinder: the official KQL binder accepts every rule, and finds the
// columns that the engine does.
func TestOfficialBinder(t *testing.T) {
	const folder = "../../query/testdata/oracle"
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(folder + "/node_modules"); err != nil || errors.Is(missing, fs.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatal("the official binder is not installed: npm ci in query/testdata/oracle, with node")
		}
		t.Skip("the official binder is not installed: npm ci in query/testdata/oracle")
	}
	e, err := query.New(query.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]string{}
	for _, table := range e.Catalog().Tables() {
		var columns []string
		for _, c := range table.Columns {
			columns = append(columns, c.Name+": "+c.Type.String())
		}
		tables[table.Name] = "(" + strings.Join(columns, ", ") + ")"
	}
	type column struct{ Name, Type string }
	var in bytes.Buffer
	var names []string
	rules := readRules(t)
	for name, r := range rules {
		names = append(names, name)
		if err := json.NewEncoder(&in).Encode(map[string]any{"query": r.Expr, "tables": tables}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, folder+"/bind.mjs")
	cmd.Stdin, cmd.Stderr = &in, t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for _, name := range names {
		var answer struct {
			Columns []column
			Error   string
		}
		if err := d.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if answer.Error != "" {
			t.Errorf("%s is not accepted: %s", name, answer.Error)
			continue
		}
		var got []column
		for _, c := range e.Analyze(query.Request{Text: rules[name].Expr}).Columns {
			got = append(got, column{c.Name, c.Type.String()})
		}
		if diff := cmp.Diff(answer.Columns, got); diff != "" {
			t.Errorf("%s: columns (-official +ours):\n%s", name, diff)
		}
	}
}
