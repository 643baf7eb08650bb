package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubscope/query/client"
)

func drawn(t *testing.T, columns []client.Column, rowsJSON string, r client.Render, color bool) string {
	t.Helper()
	c := &chart{columns: columns}
	var rows [][]json.RawMessage
	if err := json.Unmarshal([]byte(rowsJSON), &rows); err != nil {
		t.Fatal(err)
	}
	c.add(rows)
	var out bytes.Buffer
	c.draw(canvas{w: &out, width: 60, color: color}, &r)
	return out.String()
}

func TestBars(t *testing.T) {
	columns := []client.Column{{Name: "TlsVersion", Type: "string"}, {Name: "Devices", Type: "long"}}
	rows := `[["1.3",190],["1.2",95],["1.0",19],["none",0],["?",null]]`
	got := drawn(t, columns, rows, client.Render{Visualization: "piechart", Properties: map[string]string{"title": "TLS"}}, false)
	want := `TLS
1.3  ██████████████████████████████████████████ 190  62.5 %
1.2  █████████████████████▌                     95  31.2 %
1.0  ████▏                                      19   6.2 %
none                                             0   0.0 %
`
	// The room for bars follows from width 60: 4 for labels, 3 for values, 8 for shares, 3 blanks.
	if diff := cmp.Diff(barLengths(want), barLengths(got)); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, got)
	}
	for _, l := range strings.Split(got, "\n") {
		if width(l) > 60 {
			t.Errorf("a line has %d cells: %s", width(l), l)
		}
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`["x",1],`, 100), ",") + "]"
	if got := drawn(t, columns, many, client.Render{Visualization: "barchart"}, false); !strings.Contains(got, "and 60 bars more") {
		t.Errorf("bars are left out silently:\n%s", got)
	}
}

// barLengths reduces a chart to its texts and the share of the longest bar.
func barLengths(s string) []string {
	var list []string
	longest := 0
	for _, l := range strings.Split(s, "\n") {
		longest = max(longest, strings.Count(l, "█"))
	}
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		n := strings.Count(l, "█")
		fields := strings.Fields(strings.NewReplacer("█", "", "▌", "", "▏", "", "▎", "", "▍", "", "▋", "", "▊", "", "▉", "").Replace(l))
		list = append(list, strings.Join(fields, " ")+" "+strings.Repeat("#", 10*n/max(longest, 1)))
	}
	return list
}

func TestPlot(t *testing.T) {
	columns := []client.Column{{Name: "t", Type: "datetime"}, {Name: "v", Type: "string"}, {Name: "n", Type: "long"}}
	var rows []string
	for _, p := range []struct{ t, v, n string }{
		{"2026-11-22T10:00:00.0000000Z", "1.2", "0"}, {"2026-11-22T11:00:00.0000000Z", "1.2", "100"},
		{"2026-11-22T10:00:00.0000000Z", "1.3", "100"}, {"2026-11-22T11:00:00.0000000Z", "1.3", "100"},
	} {
		rows = append(rows, `["`+p.t+`","`+p.v+`",`+p.n+`]`)
	}
	got := drawn(t, columns, "["+strings.Join(rows, ",")+"]", client.Render{Visualization: "timechart"}, false)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != plotHeight+3 {
		t.Fatalf("%d lines:\n%s", len(lines), got)
	}
	if !strings.HasPrefix(lines[0], "100 │oooo") {
		t.Errorf("the second series does not run along the top:\n%s", got)
	}
	if !strings.HasPrefix(lines[plotHeight-1], "  0 │*") {
		t.Errorf("the first series does not start at the bottom left:\n%s", got)
	}
	if !strings.Contains(lines[plotHeight+1], "2026-11-22 10:00") || !strings.HasSuffix(lines[plotHeight+1], "2026-11-22 11:00") {
		t.Errorf("the time axis is %q", lines[plotHeight+1])
	}
	if !strings.Contains(lines[plotHeight+2], "* 1.2   o 1.3") {
		t.Errorf("the legend is %q", lines[plotHeight+2])
	}
	for _, l := range lines {
		if width(l) > 60 {
			t.Errorf("a line has %d cells: %s", width(l), l)
		}
	}
}

// TestChartsOfOddRows checks that no result is too odd for a chart.
func TestChartsOfOddRows(t *testing.T) {
	columns := []client.Column{{Name: "a", Type: "string"}, {Name: "n", Type: "real"}}
	for _, kind := range []string{"piechart", "barchart", "timechart", "scatterchart", "card", "anomalychart", "treemap", "new"} {
		for _, rows := range []string{`[]`, `[["x",null]]`, `[["x","NaN"],["y","Infinity"]]`, `[["x",0]]`, `[["x",-5],["y",5]]`, `[["",1e300],["\u001b[2J",1]]`} {
			got := drawn(t, columns, rows, client.Render{Visualization: kind}, false)
			if strings.Contains(got, "\x1b") {
				t.Errorf("%s of %s lets a text through to the terminal: %q", kind, rows, got)
			}
		}
		drawn(t, columns[:1], `[["x"]]`, client.Render{Visualization: kind}, false)
		drawn(t, []client.Column{{Name: "t", Type: "datetime"}, {Name: "n", Type: "long"}}, `[["2026-11-22T10:00:00Z",5],[null,1]]`, client.Render{Visualization: kind}, true)
	}
}
