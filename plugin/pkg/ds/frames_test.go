package ds

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"golang.org/x/tools/txtar"

	"hubscope/query/client"
)

var update = flag.Bool("update", false, "rewrite what is computed in testdata")

// TestFrames makes frames of the answers in testdata/frames. A case has the words
// of its shape (format, alert, expression, cached), the answer of the service,
// and the frames: a line for the meta of each and one for each field with its
// values.
func TestFrames(t *testing.T) {
	files, err := filepath.Glob("testdata/frames/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]int{}
			for i, f := range a.Files {
				parts[f.Name] = i
			}
			words := strings.Fields(string(a.Files[parts["shape"]].Data))
			got := framesOf(t, words, a.Files[parts["answer.json"]].Data)
			want, ok := parts["frames"]
			if !ok {
				want = len(a.Files)
				a.Files = append(a.Files, txtar.File{Name: "frames"})
			}
			if *update {
				a.Files[want].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[want].Data), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// framesOf writes the frames of an answer, or the error that says why there are none.
func framesOf(t *testing.T, words []string, answer []byte) string {
	t.Helper()
	var body client.QueryResponse
	if err := json.Unmarshal(answer, &body); err != nil {
		t.Fatal(err)
	}
	r := newResult(body.Columns)
	if err := r.add(body.Rows); err != nil {
		t.Fatal(err)
	}
	r.stats, r.truncated, r.notices, r.render = body.Stats, body.Truncated, body.Notices, body.Render
	if body.Explained != nil {
		r.explained = *body.Explained
	}
	is := func(word string) bool { return slices.Contains(words, word) }
	x, err := Expand(Model{Query: "T | where $__timeFilter() | summarize count() by bin(TimeGenerated, $__timeInterval)"}, hours, time.Hour, 0, is("alert"))
	if err != nil {
		t.Fatal(err)
	}
	s := shape{format: Format(words[0]), numeric: is("alert") || is("expression"), alert: is("alert"), expanded: &x, deviceLink: "/d/tls-device?var-ds=hubscope"}
	frames, notices, err := r.frames(s)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	describe(frames, &x, r, is("cached"), notices)
	checkPlane(t, frames)
	return printFrames(t, frames)
}

// printFrames writes frames as Grafana gets them, a line for the meta of each and
// for each field.
func printFrames(t *testing.T, frames data.Frames) string {
	t.Helper()
	var b bytes.Buffer
	for i, f := range frames {
		raw, err := f.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var wire struct {
			Schema struct {
				Meta   map[string]json.RawMessage
				Fields []json.RawMessage
			}
			Data struct {
				Values   []json.RawMessage
				Entities []json.RawMessage
				Nanos    []json.RawMessage
			}
		}
		if err := json.Unmarshal(raw, &wire); err != nil {
			t.Fatal(err)
		}
		delete(wire.Schema.Meta, "stats")
		delete(wire.Schema.Meta, "executedQueryString")
		delete(wire.Schema.Meta, "custom")
		meta, err := json.Marshal(wire.Schema.Meta)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "frame %d %s\n", i, meta)
		for j, field := range wire.Schema.Fields {
			fmt.Fprintf(&b, "\t%s\n\t\t%s", field, wire.Data.Values[j])
			if j < len(wire.Data.Entities) && string(wire.Data.Entities[j]) != "null" {
				fmt.Fprintf(&b, " entities %s", wire.Data.Entities[j])
			}
			if j < len(wire.Data.Nanos) && string(wire.Data.Nanos[j]) != "null" {
				fmt.Fprintf(&b, " nanos %s", wire.Data.Nanos[j])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// TestManySeries: a panel gets the largest series, an alert rule all or an error.
func TestManySeries(t *testing.T) {
	answer := func(n int) *result {
		r := newResult([]client.Column{{Name: "TimeGenerated", Type: "datetime"}, {Name: "DeviceId", Type: "string"}, {Name: "n", Type: "long"}})
		for i := range n {
			row := []json.RawMessage{json.RawMessage(`"2026-11-21T06:00:00.0000000Z"`), json.RawMessage(fmt.Sprintf(`"d%05d"`, i)), json.RawMessage(fmt.Sprint(i))}
			if err := r.add([][]json.RawMessage{row}); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	frames, notices, err := answer(maxSeries + 5).frames(shape{format: FormatTimeSeries})
	if err != nil || len(frames) != maxSeries || len(notices) != 1 || !strings.Contains(notices[0].Text, "of 1005 are shown") {
		t.Fatalf("%d frames, notices %+v, %v", len(frames), notices, err)
	}
	if first := frames[0].Fields[1].Labels["DeviceId"]; first != "d00005" {
		t.Errorf("the first series is %s: those with the least sums were to be left out", first)
	}
	if frames, _, err := answer(maxSeries + 5).frames(shape{format: FormatTimeSeries, numeric: true, alert: true}); err != nil || len(frames) != maxSeries+5 {
		t.Errorf("alert: %d frames, %v", len(frames), err)
	}
	for _, format := range []Format{FormatTimeSeries, FormatTable} {
		if _, _, err := answer(maxAlertSeries + 1).frames(shape{format: format, numeric: true, alert: true}); err == nil || !strings.Contains(err.Error(), "10001") {
			t.Errorf("alert as %s: %v", format, err)
		}
	}
}

// TestLogIDs: the id of a row does not depend on the rows around it.
func TestLogIDs(t *testing.T) {
	columns := []client.Column{{Name: "TimeGenerated", Type: "datetime"}, {Name: "a", Type: "string"}, {Name: "b", Type: "string"}}
	row := func(cells ...string) []json.RawMessage {
		list := []json.RawMessage{json.RawMessage(`"2026-11-21T06:00:00.0000000Z"`)}
		for _, c := range cells {
			list = append(list, json.RawMessage(`"`+c+`"`))
		}
		return list
	}
	ids := func(rows ...[]json.RawMessage) (list []any) {
		r := newResult(columns)
		if err := r.add(rows); err != nil {
			t.Fatal(err)
		}
		f, _, err := r.logs()
		if err != nil {
			t.Fatal(err)
		}
		field, _ := f.FieldByName("id")
		for i := range field.Len() {
			list = append(list, field.At(i))
		}
		return list
	}
	one := ids(row("x", "yz"), row("xy", "z"))
	two := ids(row("q", "q"), row("xy", "z"), row("x", "yz"))
	if one[0] == one[1] || one[0] != two[2] || one[1] != two[1] {
		t.Errorf("%v and %v", one, two)
	}
}

// TestFieldsKeepTypes: the fields of a column have the same type whatever its
// rows, so that neither a refresh nor a stream changes its schema.
func TestFieldsKeepTypes(t *testing.T) {
	columns := []client.Column{}
	for _, typ := range []string{"bool", "int", "long", "real", "decimal", "datetime", "timespan", "string", "guid", "dynamic"} {
		columns = append(columns, client.Column{Name: typ, Type: typ})
	}
	empty := newResult(columns).table("")
	r := newResult(columns)
	cells := `[true,1,1,1.5,"1.5","2026-11-21T06:00:00.0000000Z","00:00:01","x","74be27de-1e4e-49d9-b579-fe0b331d3642",{}]`
	var row []json.RawMessage
	if err := json.Unmarshal([]byte(cells), &row); err != nil {
		t.Fatal(err)
	}
	if err := r.add([][]json.RawMessage{row}); err != nil {
		t.Fatal(err)
	}
	for i, f := range r.table("").Fields {
		if want := empty.Fields[i].Type(); f.Type() != want {
			t.Errorf("%s: %v with rows, %v without", f.Name, f.Type(), want)
		}
	}
}

// TestBrokenAnswers: cells that do not fit their column are an error and no panic.
func TestBrokenAnswers(t *testing.T) {
	for _, tt := range []struct{ typ, cell string }{
		{"long", `"x"`}, {"long", `1.5`}, {"real", `{}`}, {"datetime", `"yesterday"`}, {"datetime", `5`}, {"timespan", `"x"`}, {"string", `5`}, {"string", `{`}, {"guid", `[]`},
	} {
		if err := newResult([]client.Column{{Name: "c", Type: tt.typ}}).add([][]json.RawMessage{{json.RawMessage(tt.cell)}}); err == nil {
			t.Errorf("%s took %s", tt.typ, tt.cell)
		}
	}
	if err := newResult([]client.Column{{Name: "c", Type: "long"}}).add([][]json.RawMessage{{}}); err == nil {
		t.Error("a row without cells is no error")
	}
}
