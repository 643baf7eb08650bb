package cli

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"

	"hubscope/query/client"
)

// TestOutColumnar reads back what was written, with the readers of others.
func TestOutColumnar(t *testing.T) {
	s := start(t)
	service := &client.Client{URL: s.url}
	const text = `datatable(S:string, L:long, R:real, T:datetime, D:timespan, Y:dynamic, B:bool, G:guid, I:int)
[
  "pump", 12, 0.5, datetime(2026-11-22T10:00:00.1234567Z), 90m, dynamic(["1.0", 2]), true, guid(74be27de-1e4e-49d9-b579-fe0b331d3642), 7,
  "", long(null), real(nan), datetime(null), timespan(null), dynamic(null), bool(null), guid(null), int(null),
]
| sort by L desc`
	at := arrow.Timestamp(time.Date(2026, 11, 22, 10, 0, 0, 123456700, time.UTC).UnixNano())
	check := func(t *testing.T, table arrow.Table, duration func(arrow.Array) int64) {
		t.Helper()
		if table.NumRows() != 2 || table.NumCols() != 9 {
			t.Fatalf("%d rows of %d columns", table.NumRows(), table.NumCols())
		}
		col := func(i int) arrow.Array {
			a := table.Column(i).Data().Chunk(0)
			if ext, ok := a.(array.ExtensionArray); ok {
				return ext.Storage()
			}
			return a
		}
		got := []any{
			col(0).(*array.String).Value(0), col(1).(*array.Int64).Value(0), col(2).(*array.Float64).Value(0), col(3).(*array.Timestamp).Value(0),
			duration(col(4)), col(5).(*array.String).Value(0), col(6).(*array.Boolean).Value(0), col(7).(*array.FixedSizeBinary).Value(0)[0], col(8).(*array.Int32).Value(0),
		}
		want := []any{"pump", int64(12), 0.5, at, int64(90 * time.Minute), `["1.0",2]`, true, byte(0x74), int32(7)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("first row (-want +got):\n%s", diff)
		}
		for i := 1; i < 9; i++ {
			if null := col(i).IsNull(1); null != (i != 2) {
				t.Errorf("column %s of the second row: null %v", table.Schema().Field(i).Name, null)
			}
		}
		if typ, _ := table.Schema().Field(4).Metadata.GetValue("kusto.type"); typ != "timespan" {
			t.Errorf("type of D is %q", typ)
		}
	}
	save := func(t *testing.T, name string) []byte {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		v := view{out: path}
		if err := ask(t.Context(), &Shell{Out: io.Discard, Err: io.Discard}, service, client.QueryRequest{Query: text}, v); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Run("parquet", func(t *testing.T) {
		r, err := file.NewParquetReader(bytes.NewReader(save(t, "x.parquet")))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		table, err := fr.ReadTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer table.Release()
		check(t, table, func(a arrow.Array) int64 { return a.(*array.Int64).Value(0) })
		// Others show the bytes of a guid otherwise.
		if typ := r.MetaData().Schema.Column(7).LogicalType().String(); typ != "UUID" {
			t.Errorf("G is %s, want UUID", typ)
		}
	})
	t.Run("arrow", func(t *testing.T) {
		r, err := ipc.NewFileReader(bytes.NewReader(save(t, "x.arrow")))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var batches []arrow.RecordBatch
		for i := range r.NumRecords() {
			b, err := r.RecordBatch(i)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
		table := array.NewTableFromRecords(r.Schema(), batches)
		defer table.Release()
		check(t, table, func(a arrow.Array) int64 { return int64(a.(*array.Duration).Value(0)) })
	})
}

// TestFigures draws each kind of chart in both forms.
func TestFigures(t *testing.T) {
	columns := []client.Column{{Name: "T", Type: "datetime"}, {Name: "v", Type: "string"}, {Name: "n", Type: "long"}}
	var rows [][]json.RawMessage
	err := json.Unmarshal([]byte(`[["2026-11-22T23:00:00Z","1.3",30],["2026-11-23T00:00:00Z","1.3",12345],["2026-11-23T00:00:00Z","<i>",10],
		["2026-11-23T01:00:00Z","",null],["2026-11-23T02:00:00Z","1.3",5]]`), &rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"timechart", "linechart", "areachart", "stackedareachart", "scatterchart", "barchart", "columnchart", "piechart", "card", "treemap"} {
		for _, form := range []string{"svg", "png"} {
			t.Run(kind+" "+form, func(t *testing.T) {
				c := &chart{columns: columns}
				c.add(rows)
				var b bytes.Buffer
				if err := c.figure(&client.Render{Visualization: kind, Properties: map[string]string{"title": "a & b"}}, form, &b); err != nil {
					t.Fatal(err)
				}
				if form == "png" {
					img, err := png.Decode(&b)
					if err != nil {
						t.Fatal(err)
					}
					if img.Bounds().Dx() != 1920 {
						t.Errorf("%v", img.Bounds())
					}
					colors := map[any]bool{}
					for x := range img.Bounds().Dx() {
						colors[img.At(x, img.Bounds().Dy()/2)] = true
					}
					if len(colors) < 3 {
						t.Errorf("only %d colours across the middle", len(colors))
					}
					return
				}
				text := b.String()
				if strings.Contains(text, "<i>") || !strings.Contains(text, "a &amp; b") || kind != "card" && !strings.Contains(text, "&lt;i&gt;") {
					t.Errorf("a device's text is not escaped, or missing:\n%.2000s", text)
				}
				if strings.HasSuffix(kind, "chart") && strings.Contains(kind, "time") && !strings.Contains(text, ">Nov 23<") {
					t.Errorf("the day does not stand where it begins")
				}
			})
		}
	}
	// A null has no bar, and those behind it keep their names.
	c := &chart{columns: []client.Column{{Name: "k", Type: "string"}, {Name: "v", Type: "long"}, {Name: "w", Type: "long"}}}
	c.add([][]json.RawMessage{
		{json.RawMessage(`"first"`), json.RawMessage("null"), json.RawMessage("5")}, {json.RawMessage(`"second"`), json.RawMessage("3"), json.RawMessage("4")},
	})
	var b bytes.Buffer
	if err := c.figure(&client.Render{Visualization: "columnchart"}, "svg", &b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{">first<", ">second<"} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("no %s below the columns", name)
		}
	}
	for name, c := range map[string]*chart{"no rows": {columns: columns}, "no numbers": {columns: columns[:2], rows: [][]json.RawMessage{rows[0][:2]}}} {
		if err := c.figure(&client.Render{Visualization: "timechart"}, "svg", io.Discard); err == nil {
			t.Errorf("%s: a chart", name)
		}
	}
}
