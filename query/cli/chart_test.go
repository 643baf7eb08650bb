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

// TestNegativeBars: bars below zero go to the left of it.
func TestNegativeBars(t *testing.T) {
	columns := []client.Column{{Name: "k", Type: "string"}, {Name: "v", Type: "real"}}
	got := drawn(t, columns, `[["loss",-20],["none",0],["gain",40]]`, client.Render{Visualization: "columnchart"}, false)
	// 60 cells less 4 for labels, 3 for values and 3 blanks: 50, of which one is the axis.
	want := "loss " + strings.Repeat("█", 16) + "│" + strings.Repeat(" ", 33) + " -20\n" +
		"none " + strings.Repeat(" ", 16) + "│" + strings.Repeat(" ", 33) + "   0\n" +
		"gain " + strings.Repeat(" ", 16) + "│" + strings.Repeat("█", 32) + "  40\n"
	squeeze := strings.NewReplacer("▐", "█", "▌", "█", "▏", "", "▎", "", "▍", "", "▋", "█", "▊", "█", "▉", "█")
	gotLines, wantLines := strings.Split(squeeze.Replace(got), "\n"), strings.Split(want, "\n")
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%d lines:\n%s", len(gotLines), got)
	}
	for i := range wantLines {
		if w, g := strings.Fields(wantLines[i]), strings.Fields(gotLines[i]); len(w) != len(g) || strings.Index(wantLines[i], "│") != strings.Index(gotLines[i], "│") {
			t.Errorf("want %q, got %q", wantLines[i], gotLines[i])
		}
	}
	left := func(line string) int { return strings.Count(line[:strings.Index(line, "│")], "█") }
	right := func(line string) int { return strings.Count(line[strings.Index(line, "│"):], "█") }
	if left(gotLines[0]) < 15 || right(gotLines[0]) > 0 || left(gotLines[2]) > 0 || right(gotLines[2]) < 30 {
		t.Errorf("bars go the wrong way:\n%s", got)
	}
}

// TestMakeSeries: arrays are points, and what is beside them names the series.
func TestMakeSeries(t *testing.T) {
	columns := []client.Column{{Name: "Port", Type: "long"}, {Name: "n", Type: "dynamic"}, {Name: "TimeGenerated", Type: "dynamic"}}
	const times = `["2026-11-22T10:00:00.0000000Z","2026-11-22T11:00:00.0000000Z","2026-11-22T12:00:00.0000000Z"]`
	rows := `[[443,[0,5,10],` + times + `],[8883,[10,null,10],` + times + `],[1,null,null]]`
	got := drawn(t, columns, rows, client.Render{Visualization: "timechart"}, false)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != plotHeight+3 {
		t.Fatalf("%d lines:\n%s", len(lines), got)
	}
	if !strings.HasPrefix(lines[0], "10 │ooooooo") || !strings.HasPrefix(lines[plotHeight-1], " 0 │*") {
		t.Errorf("the series do not run where their numbers are:\n%s", got)
	}
	if !strings.Contains(lines[plotHeight+1], "2026-11-22 10:00") || !strings.HasSuffix(lines[plotHeight+1], "2026-11-22 12:00") {
		t.Errorf("the time axis is %q", lines[plotHeight+1])
	}
	if !strings.Contains(lines[plotHeight+2], "* 443   o 8883") {
		t.Errorf("the legend is %q", lines[plotHeight+2])
	}
	// An array is longer than a chart takes.
	long := `[[443,[` + strings.Repeat("1,", 2*maxPoints) + `1],null]]`
	for _, kind := range []string{"card", "columnchart"} {
		if got := drawn(t, columns[1:], strings.Replace(long, "443,", "", 1), client.Render{Visualization: kind}, false); !strings.Contains(got, "the chart shows the first 50,000 rows") {
			t.Errorf("%s: points are left out silently:\n%s", kind, got)
		}
	}
	// Arrays without numbers, and numbers beside arrays that tell no times, stay as they are.
	if got := drawn(t, columns[:2], `[[443,["a"]]]`, client.Render{Visualization: "columnchart"}, false); !strings.Contains(got, "443") {
		t.Errorf("a column of numbers beside arrays is not drawn:\n%s", got)
	}
}

// TestStackedAreas: the series stand on each other, each in its place.
func TestStackedAreas(t *testing.T) {
	columns := []client.Column{{Name: "x", Type: "long"}, {Name: "k", Type: "string"}, {Name: "n", Type: "long"}}
	rows := `[[0,"a",30],[1,"a",30],[0,"b",10],[1,"b",10]]`
	for kind, top := range map[string]string{"stacked": "40", "stacked100": "100 %", "unstacked": "30"} {
		got := drawn(t, columns, rows, client.Render{Visualization: "areachart", Properties: map[string]string{"kind": kind}}, false)
		lines := strings.Split(got, "\n")
		if !strings.HasPrefix(lines[0], top+" │****") {
			t.Errorf("%s: the first line is %q, want %s at its top", kind, lines[0], top)
		}
		stacked := kind != "unstacked"
		if filled := strings.Contains(lines[plotHeight-2], "ooooo") && strings.Contains(lines[plotHeight/2], "*****"); filled != stacked {
			t.Errorf("%s:\n%s", kind, got)
		}
	}
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

// TestCards: all numbers of the first row.
func TestCards(t *testing.T) {
	columns := []client.Column{{Name: "Events", Type: "long"}, {Name: "Hub", Type: "string"}, {Name: "Devices", Type: "long"}}
	if diff := cmp.Diff("Events  7\nDevices  3\n", drawn(t, columns, `[[7,"demo",3],[1,"x",1]]`, client.Render{Visualization: "card"}, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLegend: a legend of long names is broken before the terminal breaks it.
func TestLegend(t *testing.T) {
	columns := []client.Column{{Name: "x", Type: "long"}, {Name: "Suite", Type: "string"}, {Name: "n", Type: "long"}}
	rows := `[[0,"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",1],[1,"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",2],[2,"` + strings.Repeat("long", 30) + `",3]]`
	got := drawn(t, columns, rows, client.Render{Visualization: "linechart"}, false)
	if !strings.Contains(got, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n") || !strings.Contains(got, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384\n") {
		t.Errorf("a name is missing:\n%s", got)
	}
	for _, l := range strings.Split(got, "\n") {
		if width(l) > 60 {
			t.Errorf("a line has %d cells: %s", width(l), l)
		}
	}
}

// TestSpanAxis: timespans are written as such.
func TestSpanAxis(t *testing.T) {
	columns := []client.Column{{Name: "x", Type: "long"}, {Name: "Took", Type: "timespan"}}
	got := drawn(t, columns, `[[0,"00:00:00"],[1,"1.12:00:00"]]`, client.Render{Visualization: "linechart"}, false)
	if !strings.HasPrefix(got, "1.5 d │") {
		t.Errorf("the axis of a timespan:\n%s", got)
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
		if got := drawn(t, columns, `[["x",1]]`, client.Render{Visualization: kind}, false); strings.HasPrefix(got, "no chart") != (kind == "new") {
			t.Errorf("%s:\n%s", kind, got)
		}
		drawn(t, columns[:1], `[["x"]]`, client.Render{Visualization: kind}, false)
		drawn(t, []client.Column{{Name: "t", Type: "datetime"}, {Name: "n", Type: "long"}}, `[["2026-11-22T10:00:00Z",5],[null,1]]`, client.Render{Visualization: kind}, true)
	}
}
