package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustodata/kql"
	"github.com/Azure/azure-kusto-go/azkustodata/value"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/client"
)

// kusto returns the official Go client on a server.
func kusto(t *testing.T, url string) *azkustodata.Client {
	t.Helper()
	client, err := azkustodata.New(azkustodata.NewConnectionStringBuilder(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

const everyKustoType = `print b=true, i=int(5), l=9223372036854775807, r=1.5, d=datetime(2026-11-22T10:00:00.1234567Z), ts=1d+5s, ` +
	`g=guid(74be27de-1e4e-49d9-b579-fe0b331d3642), s='x"y', y=dynamic({"k":[1,null]}), nl=long(null), nd=datetime(null), dec=decimal(1.5), e=''`

// TestKustoQuery reads every type with the official client, which takes the
// fragmented frames of v2.
func TestKustoQuery(t *testing.T) {
	client := kusto(t, serve(t, openRunner(t), Config{}))
	ds, err := client.Query(t.Context(), "hubscope", kql.New("").AddUnsafe(everyKustoType))
	if err != nil {
		t.Fatal(err)
	}
	tables := ds.Tables()
	if len(tables) == 0 || !tables[0].IsPrimaryResult() || len(tables[0].Rows()) != 1 {
		t.Fatalf("%d tables", len(tables))
	}
	var got struct {
		B   bool          `kusto:"b"`
		I   int32         `kusto:"i"`
		L   int64         `kusto:"l"`
		R   float64       `kusto:"r"`
		D   time.Time     `kusto:"d"`
		TS  time.Duration `kusto:"ts"`
		G   uuid.UUID     `kusto:"g"`
		S   string        `kusto:"s"`
		Y   []byte        `kusto:"y"`
		NL  *int64        `kusto:"nl"`
		ND  *time.Time    `kusto:"nd"`
		Dec value.Decimal `kusto:"dec"`
		E   string        `kusto:"e"`
	}
	if err := tables[0].Rows()[0].ToStruct(&got); err != nil {
		t.Fatal(err)
	}
	if !got.B || got.I != 5 || got.L != 9223372036854775807 || got.R != 1.5 || got.TS != 24*time.Hour+5*time.Second ||
		got.G.String() != "74be27de-1e4e-49d9-b579-fe0b331d3642" || got.S != `x"y` || string(got.Y) != `{"k":[1,null]}` ||
		got.NL != nil || got.ND != nil || got.E != "" || got.Dec.String() != "1.5" ||
		!got.D.Equal(time.Date(2026, 11, 22, 10, 0, 0, 123456700, time.UTC)) {
		t.Errorf("%+v", got)
	}
}

// TestKustoParameters sends values through `declare query_parameters`, which
// the client puts in front of the query.
func TestKustoParameters(t *testing.T) {
	client := kusto(t, serve(t, openRunner(t), Config{}))
	when := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	params := kql.NewParameters().AddString("s", `it's "x" \ ; drop`).AddLong("l", -5).AddDateTime("d", when).AddTimespan("ts", 90*time.Minute).
		AddBool("b", true).AddReal("r", 2.5).AddDynamic("y", map[string]any{"a": []int{1, 2}}).AddInt("i", 7)
	ds, err := client.Query(t.Context(), "hubscope", kql.New("print s, l, d, ts, b, r, y.a[1], i"), azkustodata.QueryParameters(params))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range ds.Tables()[0].Rows()[0].Values() {
		got = append(got, v.String())
	}
	want := []string{`it's "x" \ ; drop`, "-5", "2026-11-22T10:00:00Z", "1h30m0s", "true", "2.5", "2", "7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestKustoIterative streams many rows in fragments.
func TestKustoIterative(t *testing.T) {
	client := kusto(t, serve(t, openRunner(t), Config{}))
	ds, err := client.IterativeQuery(t.Context(), "hubscope", kql.New("range x from 1 to 100000 step 1"), azkustodata.ServerTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	n, sum := 0, int64(0)
	for table := range ds.Tables() {
		if table.Err() != nil {
			t.Fatal(table.Err())
		}
		if !table.Table().IsPrimaryResult() {
			continue
		}
		for row := range table.Table().Rows() {
			if row.Err() != nil {
				t.Fatal(row.Err())
			}
			x, err := row.Row().LongByIndex(0)
			if err != nil {
				t.Fatal(err)
			}
			n++
			sum += *x
		}
	}
	if n != 100000 || sum != 100000*100001/2 {
		t.Errorf("%d rows, sum %d", n, sum)
	}
}

// TestKustoErrors checks what the client reports.
func TestKustoErrors(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	client := kusto(t, url)
	for text, want := range map[string]string{
		"Connections | wher x":                "SYN0001: unknown operator",
		"Connections | where TlsVersoin == 1": "SEM0100",
		".show tables":                        "/v1/rest/mgmt",
	} {
		_, err := client.Query(t.Context(), "hubscope", kql.New("").AddUnsafe(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want ...%s..., got %v", text, want, err)
		}
	}
	if _, err := client.Query(t.Context(), "elsewhere", kql.New("print 1")); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("another database: %v", err)
	}
	_, err := client.Query(t.Context(), "hubscope", kql.New("range x from 1 to 100 step 1"), azkustodata.TruncationMaxRecords(10))
	if err == nil || !strings.Contains(err.Error(), "LimitsExceeded") {
		t.Errorf("a cut result is taken for whole: %v", err)
	}
	ds, err := client.Query(t.Context(), "hubscope", kql.New("range x from 1 to 100 step 1"), azkustodata.QueryTakeMaxRecords(10))
	if err != nil || len(ds.Tables()[0].Rows()) != 10 {
		t.Errorf("the first ten rows: %v", err)
	}
	status, _, body := send(t, "POST", url+"/v2/rest/query", `{"csl":"print 1 y"}`)
	var e kustoErrorBody
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != 400 || e.Error.Inner == nil || e.Error.Inner.Code != "SYN0001" || e.Error.Inner.Position != 9 || !e.Error.Permanent {
		t.Errorf("%d %s", status, body)
	}
}

// TestKustoManagement asks for the schema in all forms.
func TestKustoManagement(t *testing.T) {
	client := kusto(t, serve(t, openRunner(t), Config{Version: "1.2.3"}))
	const schema = "TimeGenerated:datetime, DeviceId:string, TlsVersion:string, Offered:dynamic, DurationMs:long"
	tests := []struct{ command, column, want string }{
		{".show tables", "TableName", "Connections"},
		{".show table Connections cslschema", "Schema", schema},
		{".show table ['Connections'] schema", "Schema", schema},
		{".show table Connections schema as json", "Schema", `"OrderedColumns":[{"Name":"TimeGenerated","Type":"System.DateTime","CslType":"datetime","DocString":"when"}`},
		{".show table Connections", "AttributeName", "TimeGenerated"},
		{".show databases", "DatabaseName", "hubscope"},
		{".show database hubscope schema as json", "DatabaseSchema", `"Databases":{"hubscope":`},
		{".show schema as json", "DatabaseSchema", `"CslType":"dynamic"`},
		{".show database schema", "DatabaseName", "hubscope"},
		{".show functions | where Name == 'strcat' | project Name", "Name", "strcat"},
		{".show version", "BuildVersion", "1.2.3"},
		{".show tables | project N = strcat(TableName, '!')", "N", "Connections!"},
		{".cancel query 'nothing'", "Status", "Cancelled"},
	}
	for _, tt := range tests {
		ds, err := client.Mgmt(t.Context(), "hubscope", kql.New("").AddUnsafe(tt.command))
		if err != nil {
			t.Errorf("%s: %v", tt.command, err)
			continue
		}
		rows := ds.Tables()[0].Rows()
		if len(rows) == 0 {
			t.Errorf("%s: no rows", tt.command)
			continue
		}
		got, err := rows[0].ValueByName(tt.column)
		if err != nil || !strings.Contains(got.String(), tt.want) {
			t.Errorf("%s: want ...%s..., got %v %v", tt.command, tt.want, got, err)
		}
	}
	for command, want := range map[string]string{
		".drop table Connections":                 "does not know",
		".show table Nowhere cslschema":           "Nowhere",
		".show database elsewhere schema as json": "elsewhere",
	} {
		if _, err := client.Mgmt(t.Context(), "hubscope", kql.New("").AddUnsafe(command)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want ...%s..., got %v", command, want, err)
		}
	}
}

// TestKustoRaw checks what clients in other languages rely on.
func TestKustoRaw(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	status, _, body := send(t, "GET", url+"/v1/rest/auth/metadata", "")
	if status != 404 || body != "" {
		t.Errorf("auth metadata: %d %q", status, body)
	}
	for _, properties := range []string{
		`{"Options":{"servertimeout":"00:01:00","queryconsistency":"strongconsistency"},"Parameters":{"a":"5"}}`,
		quote(`{"Options":{},"Parameters":{"a":"long(5)"}}`),
	} {
		status, header, body := send(t, "POST", url+"/v1/rest/query", `{"db":"NetDefaultDB","csl":"declare query_parameters(a:long); print a","properties":`+properties+`}`,
			"x-ms-client-request-id", "KNC;1")
		if status != 200 || !strings.Contains(body, `"Rows":[[5]]`) || header.Get("x-ms-client-request-id") != "KNC;1" || header.Get("x-ms-activity-id") == "" {
			t.Errorf("%d %v %s", status, header, body)
		}
	}
	status, _, body = send(t, "POST", url+"/v2/rest/query", `{"csl":"print 1","properties":{"Options":{"results_v2_newlines_between_frames":true}}}`)
	if lines := strings.Split(body, "\n"); status != 200 || len(lines) != 7 || lines[0][0] != '[' || lines[1][0] != ',' || lines[5] != "]" {
		t.Errorf("%d %q", status, body)
	}
	status, _, body = send(t, "POST", url+"/v2/rest/query", `{"csl":"print 1","properties":{"Options":{"servertimeout":"soon"}}}`)
	if status != 400 || !strings.Contains(body, "servertimeout") {
		t.Errorf("%d %s", status, body)
	}
}

func TestMonitor(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	type response struct {
		Tables []struct {
			Name    string
			Columns []client.Column
			Rows    [][]any
		}
		Statistics, Render map[string]any
		Error              *monitorError
	}
	get := func(body string) response {
		t.Helper()
		var r response
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return r
	}
	status, _, body := send(t, "POST", url+"/v1/workspaces/abc/query", `{"query":"print x=1, y=dynamic({'a':1}) | render piechart","timespan":"P1D","workspaces":["b"]}`,
		"Prefer", "wait=30,include-statistics=true,include-render=true")
	r := get(body)
	if status != 200 || r.Tables[0].Name != "PrimaryResult" || fmt.Sprint(r.Tables[0].Rows) != `[[1 {"a":1}]]` || r.Render["visualization"] != "piechart" || r.Statistics["query"] == nil {
		t.Errorf("%d %s", status, body)
	}
	for _, path := range []string{"/v1/workspaces/abc/query?query=print+x%3D1&timespan=PT1H", "/v1/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h/query?query=print+x%3D1"} {
		if status, _, body := send(t, "GET", url+path, ""); status != 200 || len(get(body).Tables) != 1 {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	status, _, body = send(t, "POST", url+"/v1/workspaces/abc/query", `{"query":"Connections | wher x"}`)
	if e := get(body).Error; status != 400 || e == nil || e.Code != "BadArgumentError" || e.Inner.Code != "SyntaxError" || e.Inner.Inner.Code != "SYN0001" || e.Inner.Inner.Line != 1 || e.Inner.Inner.Pos != 15 {
		t.Errorf("%d %s", status, body)
	}
	for _, bad := range []string{`{"query":""}`, `{"query":"print 1","timespan":"yesterday"}`, `{`} {
		if status, _, body := send(t, "POST", url+"/v1/workspaces/abc/query", bad); status != 400 || get(body).Error == nil {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	if status, _, body := send(t, "POST", url+"/v1/subscriptions/s/other", `{"query":"print 1"}`); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	status, _, body = send(t, "POST", url+"/v1/$batch", `{"requests":[{"id":"1","method":"POST","path":"/query","workspace":"w","body":{"query":"print x=1"}},`+
		`{"id":"2","headers":{"prefer":"include-statistics=true"},"method":"POST","path":"/query","workspace":"w","body":{"query":"print x=2"}},`+
		`{"id":"3","method":"POST","path":"/query","workspace":"w","body":{"query":"nowhere"}}]}`)
	var batch struct {
		Responses []struct {
			ID     string
			Status int
			Body   response
		}
	}
	if err := json.Unmarshal([]byte(body), &batch); err != nil || status != 200 || len(batch.Responses) != 3 {
		t.Fatalf("%v %d %s", err, status, body)
	}
	if b := batch.Responses; b[0].Status != 200 || fmt.Sprint(b[1].Body.Tables[0].Rows) != "[[2]]" || b[1].Body.Statistics == nil || b[2].Status != 400 || b[2].Body.Error == nil {
		t.Errorf("%s", body)
	}
	for _, bad := range []string{`{"requests":[]}`, `{"requests":[{"id":"1"},{"id":"1"}]}`} {
		if status, _, body := send(t, "POST", url+"/v1/$batch", bad); status != 400 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}

// TestEveryCommand runs each form of command, alone and behind a pipe.
func TestEveryCommand(t *testing.T) {
	url := serve(t, openRunner(t), Config{Version: "1.2.3", Node: "n1"})
	mgmt := func(text string) (int, kustoTables, string) {
		t.Helper()
		status, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"db":"hubscope","csl":`+quote(text)+`}`)
		var got kustoTables
		if status == 200 {
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		return status, got, body
	}
	for _, c := range commandForms {
		names := map[string]string{"table": "Connections", "tables": "Connections", "database": "hubscope", "databases": "hubscope", "function": "count", "query": "'none'", "user": "local", "by": "*"}
		var words []string
		for i, w := range strings.Fields(c.form) {
			switch {
			case w == "*":
				w = names[strings.Fields(c.form)[i-1]]
			case w == "(...)" && strings.Contains(c.form, "cancel"):
				w = "(reason = 'x')"
			case w == "(...)":
				w = "(['" + names[strings.Fields(c.form)[i-1]] + "'])"
			}
			words = append(words, w)
		}
		text := "." + strings.Join(words, " ")
		status, got, body := mgmt(text)
		if status != 200 || len(got.Tables) != 1 || len(got.Tables[0].Columns) == 0 {
			t.Errorf("%s: %d %s", text, status, body)
			continue
		}
		for _, row := range got.Tables[0].Rows {
			if len(row) != len(got.Tables[0].Columns) {
				t.Errorf("%s: a row of %d cells under %d columns", text, len(row), len(got.Tables[0].Columns))
			}
		}
		status, piped, body := mgmt(text + " | count")
		if strings.HasPrefix(text, ".show queries") {
			continue // it is not the same the second time
		}
		if want := strconv.Itoa(len(got.Tables[0].Rows)); status != 200 || string(piped.Tables[0].Rows[0][0]) != want {
			t.Errorf("%s | count: %d, want %s: %s", text, status, want, body)
		}
	}
	for text, want := range map[string]string{
		".show tables | where TableName == 'Connections' | project DocString":                                                `"one row an event"`,
		".show table Connections cslschema | project Schema":                                                                 `"TimeGenerated:datetime, DeviceId:string, TlsVersion:string, Offered:dynamic, DurationMs:long"`,
		".show table ['Connections'] schema as json | project Name = tostring(parse_json(Schema).OrderedColumns[4].CslType)": `"long"`,
		".show version | project BuildVersion, ServiceType":                                                                  `"1.2.3"`,
		".show diagnostics | project IsHealthy":                                                                              "true",
		".show capacity | where Resource == 'queries' | project Total":                                                       "16",
		".show principal access | project Role":                                                                              `"Database hubscope Admin"`,
		".show databases | project DatabaseName":                                                                             `"hubscope"`,
		".SHOW Tables | project TableName":                                                                                   `"Connections"`,
		"// a comment of v1.2\n.show tables | project TableName":                                                             `"Connections"`,
		".show databases entities with (showObfuscatedStrings=true) | where DatabaseName == 'hubscope' and EntityType == 'Table' | project CslOutputSchema": `"TimeGenerated:datetime, DeviceId:string, TlsVersion:string, Offered:dynamic, DurationMs:long"`,
		".show database [@'hubscope'] schema if_later_than 'v0.1' | where ColumnName == 'DurationMs' | project ColumnType":                                  `"System.Int64"`,
		".show tables details | project strcat(TableName, isnull(TotalRowCount))":                                                                           `"Connectionstrue"`,
		".show databases details | project strcat(DatabaseName, isnull(TotalSize))":                                                                         `"hubscopetrue"`,
	} {
		if status, got, body := mgmt(text); status != 200 || string(got.Tables[0].Rows[0][0]) != want {
			t.Errorf("%s: want %s, got %d %s", text, want, status, body)
		}
	}
	for text, want := range map[string]string{
		".drop table Connections": "BadRequest_CommandNotSupported", ".show": "BadRequest_CommandNotSupported", ".show table": "BadRequest_CommandNotSupported",
		".show table Nope cslschema": "BadRequest_EntityNotFound", ".show tables (Connections, Nope)": "BadRequest_EntityNotFound",
		".show database Other schema as json": "BadRequest_EntityNotFound", ".show function nope": "BadRequest_EntityNotFound", ".show tables (": "BadRequest_CommandNotSupported",
	} {
		if status, _, body := mgmt(text); status != 400 || errorCode(t, body) != want {
			t.Errorf("%s: want %s, got %d %s", text, want, status, body)
		}
	}
}

type kustoTables struct {
	Tables []struct {
		Columns []kustoColumn
		Rows    [][]json.RawMessage
	}
}

// TestPackedRequest: gzip in the request, and what only says so.
func TestPackedRequest(t *testing.T) {
	url := serve(t, openRunner(t), Config{MaxBodyBytes: 1000})
	pack := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s) //nolint:errcheck // to memory
		z.Close()
		return b.String()
	}
	status, _, body := send(t, "POST", url+"/v2/rest/query", pack(`{"csl":"print x = 42"}`), "Content-Encoding", "gzip")
	if status != 200 || !strings.Contains(body, "[42]") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body = send(t, "POST", url+"/v2/rest/query", `{"csl":"print 1"}`, "Content-Encoding", "gzip"); status != 400 || !strings.Contains(body, "not gzip") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body = send(t, "POST", url+"/v2/rest/query", pack(`{"csl":"print '`+strings.Repeat("x", 1_000_000)+`'"}`), "Content-Encoding", "gzip"); status != 413 {
		t.Errorf("a bomb: %d %s", status, body)
	}
}

// TestPipedCommand: an error in what follows a command has its place in the
// command, and the command is what the log has.
func TestPipedCommand(t *testing.T) {
	var got []query.Record
	var mu sync.Mutex
	url := serve(t, openRunner(t), Config{Record: func(r query.Record) { mu.Lock(); got = append(got, r); mu.Unlock() }})
	const text = ".show tables\n| where TableName == 'x' | wher y"
	status, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"csl":`+quote(text)+`}`)
	var e kustoErrorBody
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != 400 || e.Error.Inner == nil || e.Error.Inner.Line != 2 || e.Error.Inner.Position != 28 {
		t.Errorf("%d %s", status, body)
	}
	send(t, "POST", url+"/v1/rest/mgmt", `{"csl":".show tables | count"}`)
	waitFor(t, "both are written down", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
	if got[0].Text != text || got[0].ErrorCode != "SYN0001" || got[1].Text != ".show tables | count" {
		t.Errorf("%+v", got)
	}
}

// TestKustoPaths: also what is not there is told in the form of who asks for it.
func TestKustoPaths(t *testing.T) {
	url := serve(t, nil, Config{})
	var k kustoErrorBody
	for path, want := range map[string]string{"/v2/rest/query": "MethodNotAllowed", "/v1/rest/nothing": "NotFound", "/v2/rest/nothing": "NotFound"} {
		_, _, body := send(t, "GET", url+path, "")
		if err := json.Unmarshal([]byte(body), &k); err != nil || k.Error.Code != want || k.Error.Description == "" || !k.Error.Permanent {
			t.Errorf("%s: %s", path, body)
		}
	}
	var m monitorErrorBody
	if _, _, body := send(t, "GET", url+"/v1/nothing", ""); json.Unmarshal([]byte(body), &m) != nil || m.Error.Code == "" || strings.Contains(body, "@message") {
		t.Errorf("%s", body)
	}
}

// TestSlashes: a resource id with its slash, as it is or escaped, and an address
// with one at its end.
func TestSlashes(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	for path, body := range map[string]string{
		"/v1//subscriptions/s/resourceGroups/g/query": `{"query":"print 42"}`, "/v1/%2Fsubscriptions%2Fs%2FresourceGroups%2Fg/query": `{"query":"print 42"}`,
		"//v2/rest/query": `{"csl":"print 42"}`, "//api/v1/query": `{"query":"print 42"}`,
	} {
		if status, _, body := send(t, "POST", url+path, body); status != 200 || !strings.Contains(body, "[42]") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestServerTimeout: the forms that clients send; one without a value is none.
func TestServerTimeout(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		`"00:04:00"`: 4 * time.Minute, `"30s"`: 30 * time.Second, `"1.00:00:00"`: 24 * time.Hour, `"00:00:01.5000000"`: 1500 * time.Millisecond,
		`"timespan(30s)"`: 30 * time.Second, `"time(00:01:00)"`: time.Minute, `null`: 0, `600000000`: 0,
	} {
		p := kustoProperties{Options: map[string]json.RawMessage{"servertimeout": json.RawMessage(raw)}}
		req, err := p.request("print 1")
		if err != nil || req.Limits.Time != want {
			t.Errorf("%s: want %v, got %v, %v", raw, want, req.Limits.Time, err)
		}
	}
}

// TestKustoNumbers: a long parameter keeps all its digits.
func TestKustoNumbers(t *testing.T) {
	url := serve(t, openRunner(t), Config{})
	status, _, body := send(t, "POST", url+"/v2/rest/query", `{"csl":"declare query_parameters(n:long); print n","properties":{"Parameters":{"n":9007199254740993}}}`)
	if status != 200 || !strings.Contains(body, "[9007199254740993]") {
		t.Errorf("%d %s", status, body)
	}
}
