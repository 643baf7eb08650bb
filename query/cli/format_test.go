package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubscope/query/client"
)

var columns = []client.Column{
	{Name: "TimeGenerated", Type: "datetime"}, {Name: "DeviceId", Type: "string"}, {Name: "Count", Type: "long"},
	{Name: "Share", Type: "real"}, {Name: "Offered", Type: "dynamic"},
}

const cells = `[
["2026-11-22T10:00:00.0000000Z","pump-0417",12,0.5,["1.0","1.1"]],
["2026-11-22T10:00:01.1230000Z","日本-1",3456789,"NaN",null],
[null,"a|b,\"c\"\td\n\u001b[31mred",null,null,{"k":"<v>"}]
]`

// printed returns what a format makes of rows, given in several pieces.
func printed(t *testing.T, format string, columns []client.Column, rowsJSON string, width int, color bool) (string, writer) {
	t.Helper()
	var rows [][]json.RawMessage
	if err := json.Unmarshal([]byte(rowsJSON), &rows); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := newWriter(format, &out, columns, width, color)
	for len(rows) > 0 {
		n := min(2, len(rows))
		if err := w.rows(rows[:n]); err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return out.String(), w
}

func TestFormats(t *testing.T) {
	tests := []struct{ format, want string }{
		{"table", `
TimeGenerated             DeviceId                   Count  Share  Offered
------------------------  -----------------------  -------  -----  -------------
2026-11-22T10:00:00.000Z  pump-0417                     12    0.5  ["1.0","1.1"]
2026-11-22T10:00:01.123Z  日本-1                   3456789    NaN
                          a|b,"c"\td\n\x1b[31mred                  {"k":"<v>"}
`},
		{"csv", `
TimeGenerated,DeviceId,Count,Share,Offered
2026-11-22T10:00:00.0000000Z,pump-0417,12,0.5,"[""1.0"",""1.1""]"
2026-11-22T10:00:01.1230000Z,日本-1,3456789,NaN,
,"a|b,""c""` + "\td\n\x1b[31mred" + `",,,"{""k"":""<v>""}"
`},
		{"tsv", `
TimeGenerated	DeviceId	Count	Share	Offered
2026-11-22T10:00:00.0000000Z	pump-0417	12	0.5	["1.0","1.1"]
2026-11-22T10:00:01.1230000Z	日本-1	3456789	NaN	
	a|b,"c"\td\n` + "\x1b" + `[31mred			{"k":"<v>"}
`},
		{"json", `
[
{"TimeGenerated":"2026-11-22T10:00:00.0000000Z","DeviceId":"pump-0417","Count":12,"Share":0.5,"Offered":["1.0","1.1"]},
{"TimeGenerated":"2026-11-22T10:00:01.1230000Z","DeviceId":"日本-1","Count":3456789,"Share":"NaN","Offered":null},
{"TimeGenerated":null,"DeviceId":"a|b,\"c\"\td\n\u001b[31mred","Count":null,"Share":null,"Offered":{"k":"<v>"}}
]
`},
		{"ndjson", `
{"TimeGenerated":"2026-11-22T10:00:00.0000000Z","DeviceId":"pump-0417","Count":12,"Share":0.5,"Offered":["1.0","1.1"]}
{"TimeGenerated":"2026-11-22T10:00:01.1230000Z","DeviceId":"日本-1","Count":3456789,"Share":"NaN","Offered":null}
{"TimeGenerated":null,"DeviceId":"a|b,\"c\"\td\n\u001b[31mred","Count":null,"Share":null,"Offered":{"k":"<v>"}}
`},
		{"markdown", `
| TimeGenerated | DeviceId | Count | Share | Offered |
| --- | --- | ---: | ---: | --- |
| 2026-11-22T10:00:00.0000000Z | pump-0417 | 12 | 0.5 | \["1.0","1.1"] |
| 2026-11-22T10:00:01.1230000Z | 日本-1 | 3456789 | NaN |  |
|  | a\|b,"c"\td<br>\x1b\[31mred |  |  | {"k":"&lt;v>"} |
`},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			got, _ := printed(t, tt.format, columns, cells, 0, false)
			want := strings.TrimPrefix(tt.want, "\n")
			if tt.format == "table" { // blanks at line ends are not the point
				got, want = trimLines(got), trimLines(want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// TestJSONIsJSON checks that the JSON formats can be read back.
func TestJSONIsJSON(t *testing.T) {
	got, _ := printed(t, "json", columns, cells, 0, false)
	var objects []map[string]any
	if err := json.Unmarshal([]byte(got), &objects); err != nil || len(objects) != 3 {
		t.Errorf("%d objects, %v", len(objects), err)
	}
	for format, want := range map[string]string{"json": "[]\n", "ndjson": "", "csv": "TimeGenerated,DeviceId,Count,Share,Offered\n"} {
		if got, _ := printed(t, format, columns, "[]", 0, false); got != want {
			t.Errorf("no rows as %s: want %q, got %q", format, want, got)
		}
	}
}

// TestTableWidth checks that no line is wider than the terminal, that numbers
// are never cut, and that a cut is known.
func TestTableWidth(t *testing.T) {
	long := `[["2026-11-22T10:00:00.0000000Z","` + strings.Repeat("device ", 30) + `",3456789,0.5,{"text":"` + strings.Repeat("日本", 60) + `"}]]`
	for _, limit := range []int{80, 100, 120, 200} {
		got, w := printed(t, "table", columns, long, limit, false)
		for _, line := range strings.Split(got, "\n") {
			if n := width(line); n > limit {
				t.Errorf("width %d: a line has %d cells: %s", limit, n, line)
			}
		}
		if !strings.Contains(got, "3456789") || !strings.Contains(got, "2026-11-22T10:00:00Z") {
			t.Errorf("width %d: a number or a time is cut:\n%s", limit, got)
		}
		if tab := w.(*table); !tab.cut || !strings.Contains(got, mark) {
			t.Errorf("width %d: cells were cut, and it is not known", limit)
		}
	}
	got, w := printed(t, "table", columns, long, 0, false)
	if w.(*table).cut || strings.Contains(got, mark) {
		t.Errorf("cells are cut without a terminal:\n%s", got)
	}
}

// TestTableBlocks checks that a row with too many columns is printed as a block.
func TestTableBlocks(t *testing.T) {
	var wide []client.Column
	var row []string
	for i := range 20 {
		wide = append(wide, client.Column{Name: "Column" + strings.Repeat("x", i%5), Type: "long"})
		row = append(row, "1234567890")
	}
	wide[3].Type = "string"
	row[3] = `"` + strings.Repeat("long text ", 20) + `"`
	got, w := printed(t, "table", wide, "[["+strings.Join(row, ",")+"],["+strings.Join(row, ",")+"]]", 80, false)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 2*21 || !strings.HasPrefix(lines[0], "--- row 1 ---") || !strings.HasPrefix(lines[21], "--- row 2 ---") {
		t.Errorf("%d lines:\n%s", len(lines), got)
	}
	for _, line := range lines {
		if width(line) > 80 {
			t.Errorf("wider than the terminal: %s", line)
		}
	}
	if !w.(*table).cut {
		t.Error("a cell was cut, and it is not known")
	}
}

// TestTableStreams checks that rows behind the sample are printed as they come
// and keep to the layout.
func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	w := newWriter("table", &out, []client.Column{{Name: "n", Type: "long"}, {Name: "s", Type: "string"}}, 0, false)
	row := []json.RawMessage{json.RawMessage("7"), json.RawMessage(`"x"`)}
	for range sampleRows - 1 {
		if err := w.rows([][]json.RawMessage{row}); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() != 0 {
		t.Fatal("printed before the sample is full")
	}
	for range 10 {
		before := out.Len()
		if err := w.rows([][]json.RawMessage{row}); err != nil {
			t.Fatal(err)
		}
		if out.Len() == before {
			t.Fatal("a row is kept back behind the sample")
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(out.String(), "\n"), sampleRows+9+2; got != want {
		t.Errorf("want %d lines, got %d", want, got)
	}
}

func TestColors(t *testing.T) {
	got, _ := printed(t, "table", columns[:2], `[["2026-11-22T10:00:00.0000000Z","\u001b[2Jx"]]`, 80, true)
	if !strings.Contains(got, bold+"DeviceId"+plain) {
		t.Errorf("no bold header: %q", got)
	}
	if strings.Contains(got, "\x1b[2J") {
		t.Errorf("a device's text reaches the terminal as a command: %q", got)
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"}, {"ä日😀", "ä日😀"}, {"a\nb\r\tc", `a\nb\r\tc`}, {"\x1b]0;x\x07", `\x1b]0;x\x07`}, {"\x9bm", `\x9bm`},
		{"\u009bm", `\x9bm`}, {"a\u202eb", `a\u202eb`}, {"\u2028", `\u2028`}, {"\xff", `\xff`}, {"\ufffd", "\ufffd"}, {"\x7f", `\x7f`},
	}
	for _, tt := range tests {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("%q: want %q, got %q", tt.in, tt.want, got)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	tests := []struct{ got, want string }{
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(1234567), "1,234,567"}, {grouped(-1234), "-1,234"},
		{plural(1, "row"), "1 row"}, {plural(2000, "row"), "2,000 rows"}, {count(950), "950"}, {count(12345), "12.3 k"}, {count(4000000), "4.0 M"},
		{size(10), "10 B"}, {size(1234), "1.2 kB"}, {duration(0.5), "0.5 ms"}, {duration(12), "12 ms"}, {duration(1500), "1.5 s"}, {duration(90000), "1m30s"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("want %s, got %s", tt.want, tt.got)
		}
	}
}

func TestParameters(t *testing.T) {
	got, err := parameters([]string{"a=1", "b = x=y", "c="})
	if diff := cmp.Diff(map[string]any{"a": "1", "b": " x=y", "c": ""}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, bad := range [][]string{{"a"}, {"=1"}, {"a=1", "a=2"}} {
		if _, err := parameters(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
