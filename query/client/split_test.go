package client

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzSplitRows asserts that a line of rows which is cut into cells has the cells
// that encoding/json finds in it.
func FuzzSplitRows(f *testing.F) {
	for _, s := range []string{
		`{"rows":[]}`, `{"rows":[[]]}`, `{"rows":[[],[]]}` + "\r\n", `{"rows":[[1,"a\"]",null],[-1.5e3,"\u00e9\\",{"a":[1,"]}"]}]]}` + "\n", `{"rows":[[true,false],[[],{}]]}`,
		`{"rows":[[1,]]}`, `{"rows":[[1],]}`, `{"rows":[[1]]}]}`, `{"rows":[1]}`, `{"rows":[["a` + "\n" + `"]]}`, `{"rows":[["\x"]]}`, `{"rows":[[ 1 ]]}`, `{"rows":[[01]]}`, `{"rows":[[{]}]]}`, `{"rows":[["a]]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		rows, ok := splitRows([]byte(line))
		var want Line
		err := json.Unmarshal([]byte(line), &want)
		if !ok {
			if err == nil && want.Rows != nil && strings.HasPrefix(line, `{"rows":[[`) && !strings.ContainsAny(strings.TrimSpace(line), " \t\r\n") && len(want.Rows) > 0 && strings.Count(line, `"rows"`) == 1 && !strings.Contains(line, `]],"`) {
				for _, row := range want.Rows {
					if row == nil {
						return // null for a row
					}
				}
				t.Fatalf("%q was not cut", line)
			}
			return
		}
		if err != nil || len(rows) != len(want.Rows) {
			t.Fatalf("%q: %d rows, encoding/json finds %d, %v", line, len(rows), len(want.Rows), err)
		}
		for i, row := range rows {
			if len(row) != len(want.Rows[i]) {
				t.Fatalf("%q: row %d has %d cells, not %d", line, i, len(row), len(want.Rows[i]))
			}
			for j, cell := range row {
				if string(cell) != string(want.Rows[i][j]) {
					t.Fatalf("%q: cell %d of row %d is %q, not %q", line, j, i, cell, want.Rows[i][j])
				}
			}
		}
	})
}
