package query_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hubscope/query"
)

// scored is a case of results.jsonl: a query and the answer of Kusto's
// documentation, or of another engine's tests.
type scored struct {
	ID     string
	Query  string
	Expect struct {
		Columns     []column
		Rows        [][]any
		Ordered     bool
		ArrayOrder  *bool `json:"array_order"`
		ColumnOrder *bool `json:"column_order"`
	}
}

// shared opens a file of the shared KQL sets, which are beside the repository
// and not part of it.
func shared[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "kql", name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no shared KQL sets beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []T
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var c T
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.UseNumber()
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// wantScore is the share of the shared result cases that has to pass.
const wantScore = 0.95

func TestSharedResults(t *testing.T) {
	cases := shared[scored](t, "results.jsonl")
	e := newEngine(t, query.Config{})
	pass := 0
	for _, c := range cases {
		got, err := run(t.Context(), e, query.Request{Text: c.Query, Now: noon})
		why := ""
		if err != nil {
			why = cause(err)
		} else {
			why = c.judge(got)
		}
		if why == "" {
			pass++
			continue
		}
		t.Logf("%s: %s", c.ID, why)
	}
	t.Logf("%d of %d pass", pass, len(cases))
	if float64(pass) < wantScore*float64(len(cases)) {
		t.Errorf("less than %v", wantScore)
	}
}

// judge compares an answer with the expected one as the set's own score.mjs
// does: cells by the expected type, rows in any order unless ordered. It returns
// what differs.
func (c scored) judge(got *table) string {
	want := c.Expect
	if len(got.Columns) != len(want.Columns) {
		return fmt.Sprintf("columns %v, want %v", got.Columns, want.Columns)
	}
	perm := make([]int, len(want.Columns))
	free := want.ColumnOrder != nil && !*want.ColumnOrder
	for i, w := range want.Columns {
		perm[i] = i
		if free {
			perm[i] = slices.IndexFunc(got.Columns, func(g column) bool { return g.Name == w.Name })
		}
		if perm[i] < 0 || got.Columns[perm[i]].Name != w.Name {
			return fmt.Sprintf("columns %v, want %v", got.Columns, want.Columns)
		}
	}
	if len(got.Rows) != len(want.Rows) {
		return fmt.Sprintf("%d rows, want %d", len(got.Rows), len(want.Rows))
	}
	arrays := want.ArrayOrder == nil || *want.ArrayOrder
	rest := make([][]any, len(got.Rows))
	for i, r := range got.Rows {
		for k := range perm {
			rest[i] = append(rest[i], decode(r[perm[k]]))
		}
	}
	equal := func(w, g []any) bool {
		for i := range w {
			if !sameCell(w[i], g[i], want.Columns[i].Type, arrays) {
				return false
			}
		}
		return true
	}
	for i, w := range want.Rows {
		k := 0
		if !want.Ordered {
			k = slices.IndexFunc(rest, func(g []any) bool { return equal(w, g) })
		}
		if k < 0 || !equal(w, rest[k]) {
			return fmt.Sprintf("row %d: no %v in %v", i, w, rest)
		}
		rest = slices.Delete(rest, k, k+1)
	}
	return ""
}

func decode(b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(b)
	}
	return v
}

func sameCell(want, got any, typ string, arrays bool) bool {
	switch typ {
	case "string":
		if n, ok := got.(json.Number); ok {
			return want == n.String()
		}
		return want == got
	case "dynamic", "":
		if typ == "" && (want == nil || want == "") && (got == nil || got == "") {
			return true
		}
		return sameDynamic(want, unquoted(want, got), arrays)
	}
	if want == nil || got == nil {
		return want == got
	}
	w, g := fmt.Sprint(want), fmt.Sprint(got)
	switch typ {
	case "bool", "guid":
		return strings.EqualFold(w, g)
	case "datetime":
		a, b := ticksOf(w), ticksOf(g)
		return a != "" && a == b
	case "timespan":
		a, b := spanOf(w), spanOf(g)
		return a != "" && a == b
	default:
		return sameNumber(w, g)
	}
}

// unquoted reads JSON that an answer carries as a string.
func unquoted(want, got any) any {
	s, ok := got.(string)
	if _, text := want.(string); text || !ok {
		return got
	}
	return decode([]byte(s))
}

func sameDynamic(want, got any, arrays bool) bool {
	switch w := want.(type) {
	case nil:
		return got == nil || got == ""
	case bool:
		return fmt.Sprint(w) == strings.ToLower(fmt.Sprint(got))
	case json.Number:
		return got != nil && sameNumber(w.String(), fmt.Sprint(got))
	case string:
		g, ok := got.(string)
		if !ok {
			n, number := got.(json.Number)
			return got == nil && w == "" || number && sameNumber(w, n.String())
		}
		return w == g || ticksOf(w) != "" && ticksOf(w) == ticksOf(g) || spanOf(w) != "" && spanOf(w) == spanOf(g)
	case []any:
		g, ok := unquoted(want, got).([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		rest := slices.Clone(g)
		for _, x := range w {
			k := 0
			if !arrays {
				k = slices.IndexFunc(rest, func(y any) bool { return sameDynamic(x, y, arrays) })
			}
			if k < 0 || !sameDynamic(x, rest[k], arrays) {
				return false
			}
			rest = slices.Delete(rest, k, k+1)
		}
		return true
	case map[string]any:
		g, ok := unquoted(want, got).(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k, x := range w {
			y, ok := g[k]
			if !ok || !sameDynamic(x, y, arrays) {
				return false
			}
		}
		return true
	}
	return false
}

// sameNumber compares to as many digits as want has, six at least.
func sameNumber(want, got string) bool {
	a, errA := strconv.ParseFloat(want, 64)
	b, errB := strconv.ParseFloat(got, 64)
	switch {
	case errA != nil || errB != nil:
		return false
	case math.IsNaN(a) || math.IsNaN(b):
		return math.IsNaN(a) && math.IsNaN(b)
	case a == b:
		return true
	case math.IsInf(a, 0) || math.IsInf(b, 0):
		return false
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(want), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	digits := max(6, len(strings.TrimLeft(strings.NewReplacer("-", "", "+", "", ".", "").Replace(mantissa), "0")))
	round := func(f float64) string { return strconv.FormatFloat(f, 'g', digits, 64) }
	diff := math.Abs(a - b)
	return diff <= 1e-9*math.Abs(a) ||
		fraction != "" && digits <= 15 && round(a) == round(b) ||
		fraction != "" && diff <= 0.51*math.Pow10(-len(fraction)) ||
		a == 0 && math.Abs(b) < 1e-12
}

var (
	datetimeText = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?)?\s*(?:Z|\+00:?00)?$`)
	timespanText = regexp.MustCompile(`^(-)?(?:(\d+)\.)?(\d+):(\d\d):(\d\d)(?:\.(\d{1,9}))?$`)
)

// ticksOf writes a datetime text to 100 ns, "" when it is none.
func ticksOf(s string) string {
	m := datetimeText.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return ""
	}
	if m[2] == "" {
		m[2] = "00:00"
	}
	return m[1] + "T" + (m[2] + ":00")[:8] + "." + (m[3] + "0000000")[:7]
}

// spanOf writes a timespan text as ticks, "" when it is none.
func spanOf(s string) string {
	m := timespanText.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return ""
	}
	n := func(s string) int64 {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0
		}
		return v
	}
	t := ((n(m[2])*24+n(m[3]))*60+n(m[4]))*600_000_000 + n(m[5])*10_000_000 + n((m[6] + "0000000")[:7])
	if m[1] != "" {
		t = -t
	}
	return strconv.FormatInt(t, 10)
}
