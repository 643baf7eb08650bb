package api

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/plan"
)

// batches are rows that a test made.
type batches struct {
	list      []*query.Batch
	err       error // instead of the end
	truncated bool
	rows      int64
}

func (b *batches) Next() (*query.Batch, error) {
	if len(b.list) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		return nil, io.EOF
	}
	next := b.list[0]
	b.list = b.list[1:]
	b.rows += int64(next.Rows)
	return next, nil
}

func (b *batches) Stats() query.Stats { return query.Stats{Rows: b.rows, ReadRows: 7} }
func (b *batches) Truncated() bool    { return b.truncated }

// everyType is two rows with a column of each type; the second is null where
// the type has nulls.
func everyType() ([]query.Column, *query.Batch) {
	nulls := []bool{false, true}
	day := int64(plan.TicksPerDay)
	columns := []query.Column{
		{Name: "b", Type: plan.Bool}, {Name: "i", Type: plan.Int}, {Name: "l", Type: plan.Long}, {Name: "r", Type: plan.Real},
		{Name: "d", Type: plan.Decimal}, {Name: "t", Type: plan.Datetime}, {Name: "ts", Type: plan.Timespan},
		{Name: "g", Type: plan.GUID}, {Name: "s", Type: plan.String}, {Name: "y", Type: plan.Dynamic},
	}
	vectors := []query.Vector{
		{Nulls: nulls, Bools: []bool{true, false}}, {Nulls: nulls, Ints: []int64{-5, 0}}, {Nulls: nulls, Ints: []int64{math.MaxInt64, 0}},
		{Nulls: nulls, Reals: []float64{1.5, 0}}, {Nulls: nulls, Strings: []string{"1.10", ""}},
		{Nulls: nulls, Ints: []int64{plan.UnixEpochTicks + 1, 0}}, {Nulls: nulls, Ints: []int64{day + 5, 0}},
		{Nulls: nulls, Strings: []string{"74be27de-1e4e-49d9-b579-fe0b331d3642", ""}},
		{Strings: []string{"a,\"b\"\n<é>", ""}}, {Nulls: nulls, Strings: []string{`{"k":[1,null,"x"]}`, ""}},
	}
	for i := range vectors {
		vectors[i].Type = columns[i].Type
	}
	return columns, &query.Batch{Rows: 2, Columns: vectors}
}

// encode serves an answer and returns what a client receives.
func encode(t *testing.T, header http.Header, f func(*sink, http.Header) error) (*http.Response, string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", trailerTruncated+", "+trailerRows)
		if err := f(newSink(w, r, client.MediaJSON, time.Minute), w.Header()); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func twoRows(err error) *answer {
	columns, batch := everyType()
	return &answer{columns: columns, rows: &batches{list: []*query.Batch{batch}, err: err},
		fail: func(error) *client.Error { return &client.Error{Code: "RuntimeError", Message: "told"} }}
}

const (
	rowOne = `[true,-5,9223372036854775807,1.5,"1.10","1970-01-01T00:00:00.0000001Z","1.00:00:00.0000005","74be27de-1e4e-49d9-b579-fe0b331d3642","a,\"b\"\n<é>",{"k":[1,null,"x"]}]`
	rowTwo = `[null,null,null,null,null,null,null,null,"",null]`
)

func TestWriteJSON(t *testing.T) {
	a := twoRows(nil)
	a.render = &query.Visualization{Kind: "timechart", Properties: map[string]string{"title": "x"}}
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error { return a.writeJSON(s) })
	if err != nil {
		t.Fatal(err)
	}
	want := `{"columns":[{"name":"b","type":"bool"},{"name":"i","type":"int"},{"name":"l","type":"long"},{"name":"r","type":"real"},` +
		`{"name":"d","type":"decimal"},{"name":"t","type":"datetime"},{"name":"ts","type":"timespan"},{"name":"g","type":"guid"},` +
		`{"name":"s","type":"string"},{"name":"y","type":"dynamic"}],"rows":[` + "\n" + rowOne + ",\n" + rowTwo + "\n" +
		`],"stats":{"rows":2,"readRows":7,"readBytes":0,"memoryBytes":0,"elapsedMs":0,"compileMs":0},"truncated":false,` +
		`"render":{"visualization":"timechart","properties":{"title":"x"}}}` + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var r client.QueryResponse
	if err := json.Unmarshal([]byte(got), &r); err != nil || len(r.Rows) != 2 {
		t.Errorf("%d rows, %v", len(r.Rows), err)
	}
}

func TestWriteJSONEmptyAndFailed(t *testing.T) {
	a := twoRows(nil)
	a.rows = &batches{truncated: true}
	_, got, _ := encode(t, nil, func(s *sink, _ http.Header) error { return a.writeJSON(s) })
	if !strings.Contains(got, `"rows":[],`) || !strings.Contains(got, `"truncated":true}`) {
		t.Errorf("no rows give %s", got)
	}
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error { return twoRows(errors.New("inner")).writeJSON(s) })
	if err != nil || !strings.HasSuffix(got, `"error":{"code":"RuntimeError","message":"told"}}`+"\n") || strings.Contains(got, "inner") {
		t.Errorf("a failure gives %v %s", err, got)
	}
}

func TestWriteNDJSON(t *testing.T) {
	columns, batch := everyType()
	many := &query.Batch{Rows: 2500, Columns: []query.Vector{{Type: plan.Long, Ints: make([]int64, 2500)}}}
	tests := []struct {
		name string
		a    *answer
		want []string // the key of each line
	}{
		{"rows", &answer{columns: columns, rows: &batches{list: []*query.Batch{batch}}}, []string{"columns", "rows 2", "done"}},
		{"no rows", &answer{columns: columns, rows: &batches{list: []*query.Batch{{}}}}, []string{"columns", "done"}},
		{"many rows", &answer{columns: []query.Column{{Name: "n", Type: plan.Long}}, rows: &batches{list: []*query.Batch{many}}},
			[]string{"columns", "rows 1000", "rows 1000", "rows 500", "done"}},
		{"failed", twoRows(errors.New("x")), []string{"columns", "rows 2", "error"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body, err := encode(t, nil, func(s *sink, _ http.Header) error { return tt.a.writeNDJSON(s, &sync.Mutex{}) })
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			sc := bufio.NewScanner(strings.NewReader(body))
			for sc.Scan() {
				var line client.Line
				if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
					t.Fatalf("%v in %s", err, sc.Text())
				}
				switch {
				case line.Columns != nil:
					got = append(got, "columns")
				case line.Rows != nil:
					got = append(got, "rows "+count(len(line.Rows)))
				case line.Done != nil:
					got = append(got, "done")
				case line.Error != nil:
					got = append(got, "error")
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func count(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestWriteCSV(t *testing.T) {
	res, body, err := encode(t, nil, func(s *sink, h http.Header) error { return twoRows(nil).writeCSV(s, h) })
	if err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"b", "i", "l", "r", "d", "t", "ts", "g", "s", "y"},
		{"true", "-5", "9223372036854775807", "1.5", "1.10", "1970-01-01T00:00:00.0000001Z", "1.00:00:00.0000005", "74be27de-1e4e-49d9-b579-fe0b331d3642", "a,\"b\"\n<é>", `{"k":[1,null,"x"]}`},
		{"", "", "", "", "", "", "", "", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if res.Trailer.Get(trailerTruncated) != "false" || res.Trailer.Get(trailerRows) != "2" {
		t.Errorf("trailers are %v", res.Trailer)
	}
	one := &answer{columns: []query.Column{{Name: "s", Type: plan.String}},
		rows: &batches{list: []*query.Batch{{Rows: 2, Columns: []query.Vector{{Type: plan.String, Strings: []string{"", " x"}}}}}}}
	_, body, _ = encode(t, nil, func(s *sink, h http.Header) error { return one.writeCSV(s, h) })
	if body != "s\n\"\"\n\" x\"\n" {
		t.Errorf("a row of one empty cell: %q", body)
	}
	dynamic := &answer{columns: []query.Column{{Name: "y", Type: plan.Dynamic}},
		rows: &batches{list: []*query.Batch{{Rows: 3, Columns: []query.Vector{{Type: plan.Dynamic, Strings: []string{`"a\"b"`, `[1,"x"]`, `5`}}}}}}}
	_, body, _ = encode(t, nil, func(s *sink, h http.Header) error { return dynamic.writeCSV(s, h) })
	if body != "y\n\"a\"\"b\"\n\"[1,\"\"x\"\"]\"\n5\n" {
		t.Errorf("dynamic values: %q", body)
	}
}

// TestCSVFailure: CSV has no place for an error, so the client must see a
// broken body, not a short one.
func TestCSVFailure(t *testing.T) {
	_, body, err := encode(t, nil, func(s *sink, h http.Header) error { return twoRows(errors.New("x")).writeCSV(s, h) })
	if err == nil {
		t.Errorf("the client takes this for a whole body: %q", body)
	}
}

func TestGzip(t *testing.T) {
	res, body, err := encode(t, http.Header{"Accept-Encoding": {"br, gzip;q=0.8"}}, func(s *sink, _ http.Header) error { return twoRows(nil).writeJSON(s) })
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, encoding %q", err, res.Header.Get("Content-Encoding"))
	}
	gz, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil || !strings.Contains(string(plain), rowOne) {
		t.Errorf("%v: %s", err, plain)
	}
	for header, want := range map[string]string{"": "", "gzip": "gzip", "deflate": "", "gzip;q=0": "", "gzip; q=0.5": "gzip", "identity, gzip": "gzip",
		"gzip, deflate, br, zstd": "zstd", "zstd;q=0.2, gzip;q=0.8": "gzip", "zstd;q=0": "", "gzip;q=x": ""} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {header}}}
		if got := acceptsEncoding(r); got != want {
			t.Errorf("%q: want %q, got %q", header, want, got)
		}
	}
	res, body, err = encode(t, http.Header{"Accept-Encoding": {"zstd"}}, func(s *sink, _ http.Header) error { return twoRows(nil).writeJSON(s) })
	if err != nil || res.Header.Get("Content-Encoding") != "zstd" {
		t.Fatalf("%v, encoding %q", err, res.Header.Get("Content-Encoding"))
	}
	z, err := zstd.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if plain, err = io.ReadAll(z); err != nil || !strings.Contains(string(plain), rowOne) {
		t.Errorf("%v: %s", err, plain)
	}
}

// TestArrow reads back a row of every type, a null of every type, and what the
// last batch says.
func TestArrow(t *testing.T) {
	a := twoRows(nil)
	a.rows.(*batches).truncated = true
	res, body, err := encode(t, nil, func(s *sink, trailer http.Header) error { return a.writeArrow(s, trailer) })
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var got []string
	last := arrow.Metadata{}
	for r.Next() {
		batch := r.RecordBatch()
		for row := range int(batch.NumRows()) {
			for _, c := range batch.Columns() {
				if c.IsNull(row) {
					got = append(got, "null")
				} else {
					got = append(got, c.ValueStr(row))
				}
			}
		}
		if m, ok := batch.(arrow.RecordBatchWithMetadata); ok {
			last = m.Metadata()
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"true", "-5", "9223372036854775807", "1.5", "1.10", "1970-01-01T00:00:00.0000001Z", "86400000000500ns", "dL4n3h5OSdm1ef4LMx02Qg==", "a,\"b\"\n<é>", `{"k":[1,null,"x"]}`,
		"null", "null", "null", "null", "null", "null", "null", "null", "", "null"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if truncated, _ := last.GetValue(client.ArrowTruncated); truncated != "true" {
		t.Errorf("the last batch says %v", last)
	}
	if res.Trailer.Get(trailerTruncated) != "true" || res.Trailer.Get(trailerRows) != "2" {
		t.Errorf("trailers %v", res.Trailer)
	}
	// A failure behind the first rows must not look like the end.
	if _, body, err = encode(t, nil, func(s *sink, trailer http.Header) error { return twoRows(errors.New("x")).writeArrow(s, trailer) }); err == nil {
		t.Errorf("the client takes this for a whole body: %q", body)
	}
	for _, v := range []query.Vector{{Type: plan.Datetime, Ints: []int64{0}}, {Type: plan.Timespan, Ints: []int64{math.MaxInt64}}} {
		a := &answer{columns: []query.Column{{Name: "v", Type: v.Type}}, rows: &batches{list: []*query.Batch{{Rows: 1, Columns: []query.Vector{v}}}}}
		if err := a.writeArrow(newSink(httptest.NewRecorder(), &http.Request{}, client.MediaArrow, 0), http.Header{}); err == nil || !strings.Contains(err.Error(), "beyond the nanoseconds") {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestWriteV1(t *testing.T) {
	a := twoRows(nil)
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error { return a.writeV1(s, true) })
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"b","DataType":"SByte","ColumnType":"bool"},` +
		`{"ColumnName":"i","DataType":"Int32","ColumnType":"int"},{"ColumnName":"l","DataType":"Int64","ColumnType":"long"},` +
		`{"ColumnName":"r","DataType":"Double","ColumnType":"real"},{"ColumnName":"d","DataType":"SqlDecimal","ColumnType":"decimal"},` +
		`{"ColumnName":"t","DataType":"DateTime","ColumnType":"datetime"},{"ColumnName":"ts","DataType":"TimeSpan","ColumnType":"timespan"},` +
		`{"ColumnName":"g","DataType":"Guid","ColumnType":"guid"},{"ColumnName":"s","DataType":"String","ColumnType":"string"},` +
		`{"ColumnName":"y","DataType":"Object","ColumnType":"dynamic"}],"Rows":[` + rowOne + "," + rowTwo + "]}]}\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// frames writes two rows as v2 and returns its lines.
func frames(t *testing.T, fragmented, lines bool, failure error, truncated bool) string {
	t.Helper()
	columns, batch := everyType()
	a := &answer{columns: columns[:3], rows: &batches{list: []*query.Batch{{Rows: 2, Columns: batch.Columns[:3]}}, err: failure, truncated: truncated},
		fail: func(error) *client.Error { return &client.Error{Code: "RuntimeError", Message: "told"} }}
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error {
		return (&frameWriter{sink: s, answer: a, fragmented: fragmented, lines: lines, clientID: "c", activityID: "a"}).write()
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestV2Plain checks kinds and order of the frames, and that all is one JSON array.
func TestV2Plain(t *testing.T) {
	var got []map[string]any
	if err := json.Unmarshal([]byte(frames(t, false, false, nil, false)), &got); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range got {
		kind, _ := f["TableKind"].(string)
		order = append(order, strings.TrimSpace(f["FrameType"].(string)+" "+kind))
	}
	want := []string{"DataSetHeader", "DataTable QueryProperties", "DataTable PrimaryResult", "DataTable QueryCompletionInformation", "DataSetCompletion"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got[0]["IsFragmented"] != false || got[4]["HasErrors"] != false {
		t.Errorf("header %v, completion %v", got[0], got[4])
	}
	if rows := got[2]["Rows"].([]any); len(rows) != 2 {
		t.Errorf("%d rows", len(rows))
	}
}

// TestV2Fragmented checks what the Go client relies on: a frame a line, the
// marks at the start of each, and the order of keys.
func TestV2Fragmented(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(frames(t, true, true, nil, false), "\n"), "\n")
	starts := []string{
		`[{"FrameType":"DataSetHeader","IsProgressive":false,"Version":"v2.0","IsFragmented":true,"ErrorReportingPlacement":"EndOfTable"}`,
		`,{"FrameType":"DataTable","TableId":0,"TableKind":"QueryProperties","TableName":"@ExtendedProperties","Columns":`,
		`,{"FrameType":"TableHeader","TableId":1,"TableKind":"PrimaryResult","TableName":"PrimaryResult","Columns":[{"ColumnName":"b","ColumnType":"bool"},`,
		`,{"FrameType":"TableFragment","TableFragmentType":"DataAppend","TableId":1,"Rows":[[true,-5,9223372036854775807],[null,null,null]]}`,
		`,{"FrameType":"TableCompletion","TableId":1,"RowCount":2}`,
		`,{"FrameType":"DataTable","TableId":2,"TableKind":"QueryCompletionInformation",`,
		`,{"FrameType":"DataSetCompletion","HasErrors":false,"Cancelled":false}`,
		`]`,
	}
	if len(lines) != len(starts) {
		t.Fatalf("want %d lines, got %d:\n%s", len(starts), len(lines), strings.Join(lines, "\n"))
	}
	for i, want := range starts {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d: want it to start\n%s\ngot\n%s", i, want, lines[i])
		}
	}
}

// TestV2Errors: an answer that is not whole says so in each place in which a
// client looks: behind the rows or in the frame at their end, among what the query
// cost, and in the last frame.
func TestV2Errors(t *testing.T) {
	for name, body := range map[string]string{
		"plain failed":         frames(t, false, false, errors.New("x"), false),
		"fragmented failed":    frames(t, true, true, errors.New("x"), false),
		"plain truncated":      frames(t, false, true, nil, true),
		"fragmented truncated": frames(t, true, true, nil, true),
	} {
		var got []map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := got[len(got)-1]
		if last["HasErrors"] != true || last["OneApiErrors"] == nil {
			t.Errorf("%s: the last frame is %v", name, last)
		}
		if strings.Contains(name, "truncated") != strings.Contains(body, "LimitsExceeded") {
			t.Errorf("%s: %s", name, body)
		}
		completion := got[len(got)-2]["Rows"].([]any)[0].([]any)
		if completion[5] != 2.0 || completion[6] != "Error" || completion[7] == 0.0 || strings.Contains(body, "successfully") {
			t.Errorf("%s: the query ended with %v", name, completion)
		}
		if strings.HasPrefix(name, "fragmented") {
			if strings.Contains(body, `,{"OneApiErrors"`) || !strings.Contains(body, `"RowCount":2,"OneApiErrors":[{"error":`) {
				t.Errorf("%s: %s", name, body)
			}
			continue
		}
		rows := got[2]["Rows"].([]any)
		if end, ok := rows[len(rows)-1].(map[string]any); len(rows) != 3 || !ok || end["OneApiErrors"] == nil {
			t.Errorf("%s: behind the rows stands %v", name, rows[len(rows)-1])
		}
	}
	if body := frames(t, false, false, errors.New("x"), false); strings.Contains(body, `"Cancelled":true`) {
		t.Errorf("cancelled: %s", body)
	}
}

// TestV1Errors is TestV2Errors for v1: behind the rows, and beside the tables.
func TestV1Errors(t *testing.T) {
	a := twoRows(errors.New("x"))
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error { return a.writeV1(s, true) })
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Tables []struct {
			Columns []kustoColumn
			Rows    []json.RawMessage
		}
		Exceptions []string
	}
	if err := json.Unmarshal([]byte(got), &body); err != nil || len(body.Tables) != 1 || len(body.Exceptions) != 1 || body.Exceptions[0] != "told" {
		t.Fatalf("%v in %s", err, got)
	}
	if end := string(body.Tables[0].Rows[2]); !strings.HasPrefix(end, `{"Exceptions":["told"],"OneApiErrors":[{"error":`) {
		t.Errorf("behind the rows stands %s", end)
	}
}

// TestKustoReals: a real has a decimal point, so that a client that tells types
// by their text takes it for one.
func TestKustoReals(t *testing.T) {
	v := query.Vector{Type: plan.Real, Reals: []float64{1, -0.5, 1e300, math.NaN(), 0, 123456789012345680}, Nulls: []bool{false, false, false, false, true, false}}
	s := &sink{}
	for i := range v.Reals {
		s.kustoRow(&query.Batch{Rows: len(v.Reals), Columns: []query.Vector{v}}, i)
	}
	if want := `[1.0][-0.5][1e+300]["NaN"][null][123456789012345680.0]`; string(s.buf) != want {
		t.Errorf("want %s, got %s", want, s.buf)
	}
}

func TestVisualization(t *testing.T) {
	var none, some map[string]any
	if err := json.Unmarshal([]byte(kustoVisualization(nil)), &none); err != nil {
		t.Fatal(err)
	}
	v := &query.Visualization{Kind: "timechart", Properties: map[string]string{"title": `a"b`, "ymin": "0", "ymax": "x", "accumulate": "True"}}
	if err := json.Unmarshal([]byte(kustoVisualization(v)), &some); err != nil {
		t.Fatal(err)
	}
	if none["Visualization"] != nil || some["Visualization"] != "timechart" || some["Title"] != `a"b` || some["Ymin"] != 0.0 || some["Ymax"] != "NaN" || some["Accumulate"] != true {
		t.Errorf("%v\n%v", none, some)
	}
}

func TestWriteMonitor(t *testing.T) {
	a := twoRows(nil)
	a.render = &query.Visualization{Kind: "piechart", Properties: map[string]string{"title": "x"}}
	_, got, err := encode(t, nil, func(s *sink, _ http.Header) error {
		if err := a.writeMonitor(s, preferences{statistics: true, render: true}); err != nil {
			return err
		}
		return s.close()
	})
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Tables []struct {
			Name    string
			Columns []client.Column
			Rows    [][]any
		}
		Statistics, Render map[string]any
		Error              *monitorError
	}
	if err := json.Unmarshal([]byte(got), &r); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if len(r.Tables) != 1 || r.Tables[0].Name != "PrimaryResult" || r.Error != nil {
		t.Fatalf("%s", got)
	}
	if cell := r.Tables[0].Rows[0][9]; cell != `{"k":[1,null,"x"]}` {
		t.Errorf("a dynamic cell is %v, want its JSON as text", cell)
	}
	if cell := r.Tables[0].Rows[1][9]; cell != nil {
		t.Errorf("a null dynamic is %v", cell)
	}
	if r.Render["visualization"] != "piechart" || r.Render["title"] != "x" || r.Statistics["query"] == nil {
		t.Errorf("render %v, statistics %v", r.Render, r.Statistics)
	}
}

// How many rows a second does the encoder turn into NDJSON?
func BenchmarkNDJSON(b *testing.B) {
	const n = 10000
	ints, texts, times := make([]int64, n), make([]string, n), make([]int64, n)
	for i := range n {
		ints[i], texts[i], times[i] = int64(i), "device-0417", plan.UnixEpochTicks+int64(i)*plan.TicksPerSecond
	}
	batch := &query.Batch{Rows: n, Columns: []query.Vector{
		{Type: plan.Datetime, Ints: times}, {Type: plan.String, Strings: texts}, {Type: plan.Long, Ints: ints}}}
	columns := []query.Column{{Name: "TimeGenerated", Type: plan.Datetime}, {Name: "DeviceId", Type: plan.String}, {Name: "N", Type: plan.Long}}
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		w.Body = nil
		s := newSink(w, &http.Request{}, client.MediaNDJSON, time.Minute)
		a := &answer{columns: columns, rows: &batches{list: []*query.Batch{batch}}}
		if err := a.writeNDJSON(s, &sync.Mutex{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}
