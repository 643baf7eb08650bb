package query_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"hubscope/query"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

var update = flag.Bool("update", false, "rewrite what the code computes in testdata/cases: columns, plan, sql, error; never rows")

// A case file has one or more queries, each followed by its sections:
//
//	-- query --      KQL
//	-- rows --       one JSON array a line, derived by hand; "rows any order" if the query leaves it open
//	-- columns --    name:type of the result
//	-- plan --       the bound query
//	-- sql --        what runs, without the settings that every statement ends with
//	-- error --      what a user sees instead of rows
type caseFile struct {
	path    string
	archive *txtar.Archive
	queries []*caseQuery
}

type caseQuery struct {
	text  string
	parts []txtar.File
}

func (q *caseQuery) part(name string) (string, bool) {
	i := slices.IndexFunc(q.parts, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		return "", false
	}
	return string(q.parts[i].Data), true
}

func (q *caseQuery) set(name, data string) {
	if data != "" && !strings.HasSuffix(data, "\n") {
		data += "\n"
	}
	f := txtar.File{Name: name, Data: []byte(data)}
	if i := slices.IndexFunc(q.parts, func(f txtar.File) bool { return f.Name == name }); i >= 0 {
		q.parts[i] = f
		return
	}
	q.parts = append(q.parts, f)
}

func readCases(t testing.TB) []*caseFile {
	t.Helper()
	paths, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	var out []*caseFile
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f := &caseFile{path: p, archive: a}
		for _, part := range a.Files {
			if part.Name == "query" {
				f.queries = append(f.queries, &caseQuery{text: strings.TrimSuffix(string(part.Data), "\n")})
				continue
			}
			if len(f.queries) == 0 {
				t.Fatalf("%s: %s before the first query", p, part.Name)
			}
			q := f.queries[len(f.queries)-1]
			q.parts = append(q.parts, part)
		}
		out = append(out, f)
	}
	return out
}

func (f *caseFile) write() error {
	f.archive.Files = nil
	for _, q := range f.queries {
		f.archive.Files = append(f.archive.Files, txtar.File{Name: "query", Data: []byte(q.text + "\n")})
		f.archive.Files = append(f.archive.Files, q.parts...)
	}
	return os.WriteFile(f.path, txtar.Format(f.archive), 0o644)
}

func TestCases(t *testing.T) {
	e := newEngine(t, query.Config{})
	for _, f := range readCases(t) {
		t.Run(strings.TrimSuffix(filepath.Base(f.path), ".txtar"), func(t *testing.T) {
			for _, q := range f.queries {
				q.check(t, e)
			}
			if *update {
				if err := f.write(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (q *caseQuery) check(t *testing.T, e *query.Engine) {
	t.Helper()
	req := query.Request{Text: q.text, Now: noon}
	computed := func(name, got string) {
		if *update {
			q.set(name, got)
			return
		}
		want, _ := q.part(name)
		if diff := cmp.Diff(strings.TrimSuffix(want, "\n"), strings.TrimSuffix(got, "\n")); diff != "" {
			t.Errorf("%s\n%s differs (-want +got):\n%s", q.text, name, diff)
		}
	}
	_, wantError := q.part("error")
	explanation, err := e.Explain(t.Context(), req)
	if err != nil {
		if !wantError {
			t.Errorf("%s\n%s", q.text, cause(err))
			return
		}
		var errs kql.Errors
		if errors.As(err, &errs) {
			computed("error", errs.Render(q.text))
		} else {
			computed("error", err.Error())
		}
		return
	}
	if wantError {
		t.Errorf("%s\ngives no error", q.text)
		return
	}
	var columns []string
	for _, c := range explanation.Columns {
		columns = append(columns, c.Name+":"+c.Type.String())
	}
	sql := explanation.SQL
	if i := strings.LastIndex(sql, " SETTINGS "); i > 0 {
		sql = sql[:i]
	}
	computed("columns", strings.Join(columns, "\n"))
	computed("plan", explanation.Plan)
	computed("sql", sql)

	want, ordered := q.part("rows")
	if !ordered {
		var ok bool
		if want, ok = q.part("rows any order"); !ok {
			t.Errorf("%s\nhas no rows", q.text)
			return
		}
	}
	result, err := run(t.Context(), e, req)
	if err != nil {
		t.Errorf("%s\n%s", q.text, cause(err))
		return
	}
	got := lines(result)
	rows := compact(t, want)
	if !ordered {
		slices.Sort(got)
		slices.Sort(rows)
	}
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Errorf("%s\nrows differ (-want +got):\n%s", q.text, diff)
	}
}

// lines writes each row as a JSON array.
func lines(r *table) []string {
	var out []string
	for _, row := range r.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = string(c)
		}
		out = append(out, "["+strings.Join(cells, ",")+"]")
	}
	return out
}

// compact reads rows as cases write them, one a line.
func compact(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, b.String())
	}
	return out
}

// TestLanguage holds the function tables of LANGUAGE.md to those of package plan.
func TestLanguage(t *testing.T) {
	const begin, end = "<!-- functions: written by -update -->\n", "<!-- end -->\n"
	b, err := os.ReadFile("LANGUAGE.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("LANGUAGE.md has no place for the functions")
	}
	byGroup := map[string][]*plan.Func{}
	var groups []string
	for _, f := range plan.Functions() {
		if byGroup[f.Group] == nil {
			groups = append(groups, f.Group)
		}
		byGroup[f.Group] = append(byGroup[f.Group], f)
	}
	slices.Sort(groups)
	var w strings.Builder
	for _, g := range groups {
		w.WriteString("\n### " + g + "\n\n| Function | |\n|---|---|\n")
		for _, f := range byGroup[g] {
			doc := f.Doc
			if f.Replaced != "" {
				doc += " Old spelling of `" + f.Replaced + "`."
			}
			w.WriteString("| `" + f.Name + strings.ReplaceAll(f.Sigs[0].String(), "|", "\\|") + "` | " + strings.ReplaceAll(strings.TrimSpace(doc), "|", "\\|") + " |\n")
		}
	}
	w.WriteString("\n")
	if *update {
		if err := os.WriteFile("LANGUAGE.md", []byte(head+begin+w.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, w.String()); diff != "" {
		t.Errorf("LANGUAGE.md is not up to date (-file +functions):\n%s", diff)
	}
}
