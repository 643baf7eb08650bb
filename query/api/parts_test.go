package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/query/client"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

func TestAccepts(t *testing.T) {
	types := []string{client.MediaJSON, client.MediaNDJSON, client.MediaCSV}
	tests := []struct{ accept, want string }{
		{"", client.MediaJSON}, {"*/*", client.MediaJSON}, {"text/csv", client.MediaCSV}, {"text/*", client.MediaCSV}, {"application/*", client.MediaJSON},
		{"application/x-ndjson, application/json;q=0.5", client.MediaNDJSON}, {"application/json;q=0.5, text/csv", client.MediaCSV},
		{"text/html, */*;q=0.1", client.MediaJSON}, {"image/png", ""}, {"text/csv;q=0", ""}, {"not a type", ""},
	}
	for _, tt := range tests {
		r := &http.Request{Header: http.Header{}}
		if tt.accept != "" {
			r.Header.Set("Accept", tt.accept)
		}
		if got, ok := accepts(r, types...); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q: want %q, got %q", tt.accept, tt.want, got)
		}
	}
}

func TestMonitorTimespan(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	date := func(d, h int) time.Time { return time.Date(2026, 11, d, h, 0, 0, 0, time.UTC) }
	tests := []struct {
		in         string
		start, end time.Time
		ok         bool
	}{
		{"", time.Time{}, time.Time{}, true},
		{"P1D", date(21, 12), now, true},
		{"PT6H", date(22, 6), now, true},
		{"P1DT12H", date(21, 0), now, true},
		{"P1W", date(15, 12), now, true},
		{"2026-11-01/2026-11-03T12:00:00Z", date(1, 0), date(3, 12), true},
		{"2026-11-01/P2D", date(1, 0), date(3, 0), true},
		{"P2D/2026-11-03", date(1, 0), date(3, 0), true},
		{"2026-11-03/2026-11-01", time.Time{}, time.Time{}, false},
		{"P1D/P1D", time.Time{}, time.Time{}, false},
		{"P", time.Time{}, time.Time{}, false}, {"PT", time.Time{}, time.Time{}, false}, {"1d", time.Time{}, time.Time{}, false},
		{"/2026-11-01", time.Time{}, time.Time{}, false}, {"2026-11-01/", time.Time{}, time.Time{}, false}, {"P9999999999999Y", time.Time{}, time.Time{}, false},
	}
	for _, tt := range tests {
		start, end, err := monitorTimespan(tt.in, now)
		if (err == nil) != tt.ok {
			t.Errorf("%q: error %v", tt.in, err)
			continue
		}
		if tt.ok && (!start.Equal(tt.start) || !end.Equal(tt.end)) {
			t.Errorf("%q: want %v to %v, got %v to %v", tt.in, tt.start, tt.end, start, end)
		}
	}
}

func TestPreferences(t *testing.T) {
	got := readPreferences([]string{"wait=30, include-statistics=true", "include-render=true; ai.response-thinning=false"})
	if want := (preferences{30 * time.Second, true, true}); got != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	if got := readPreferences([]string{"wait=-1,include-render=no"}); got != (preferences{}) {
		t.Errorf("got %+v", got)
	}
}

func TestCommandWords(t *testing.T) {
	tests := []struct {
		in    string
		words []string
		rest  string
	}{
		{".show tables", []string{"show", "tables"}, ""},
		{"// note\n .show table ['a b'] cslschema", []string{"show", "table", "a b", "cslschema"}, ""},
		{`.show table ["T"] schema as json`, []string{"show", "table", "T", "schema", "as", "json"}, ""},
		{`.cancel query "KGC;1|2"`, []string{"cancel", "query", "KGC;1|2"}, ""},
		{".show tables | where TableName == 'x' | count", []string{"show", "tables"}, "| where TableName == 'x' | count"},
		{".show databases (['db']) schema", []string{"show", "databases", "(", "db", ")", "schema"}, ""},
		{".show table 'open", []string{"show", "table", "open"}, ""},
		{"// as of v1.2 | see notes\n.show tables", []string{"show", "tables"}, ""},
		{`.show database [@'a\b'] schema`, []string{"show", "database", `a\b`, "schema"}, ""},
		{`.show table ['it\'s | "one"'] details // | count`, []string{"show", "table", `it's | "one"`, "details"}, ""},
		{".show materialized-views", []string{"show", "materialized-views"}, ""},
		{".cancel query KPC.execute-1a2b3c4d", []string{"cancel", "query", "KPC.execute-1a2b3c4d"}, ""},
		{".show databases entities with (showObfuscatedStrings=true) | count", []string{"show", "databases", "entities"}, "| count"},
		{`.show database db schema as json if_later_than "v1.0"`, []string{"show", "database", "db", "schema", "as", "json"}, ""},
		{`.show databases (a if_later_than "v0", b) schema with(x=(1))`, []string{"show", "databases", "(", "a", "b", ")", "schema", ")"}, ""},
		{".show table with cslschema", []string{"show", "table", "with", "cslschema"}, ""},
		{".", nil, ""},
	}
	for _, tt := range tests {
		words, rest := commandWords(tt.in)
		if diff := cmp.Diff(tt.words, words); diff != "" || rest != tt.rest {
			t.Errorf("%q: (-want +got)\n%s rest %q", tt.in, diff, rest)
		}
	}
}

// TestFixedLiteral checks that a command's rows become KQL of the same rows,
// whatever they hold.
func TestFixedLiteral(t *testing.T) {
	table := newFixed("a b", "Flag:bool")
	table.add("quote ' \" \\ \n ; | ]", "true")
	table.add("", "false")
	text := table.literal()
	q, errs := kql.Parse(text)
	if errs != nil {
		t.Fatalf("%v in %s", errs, text)
	}
	d := q.Statements[0].(*kql.ExprStatement).X.(*kql.DataTable)
	if len(d.Values) != 4 || d.Values[0].(*kql.Literal).Text != table.rows[0][0] || d.Values[1].(*kql.Literal).Int != 1 {
		t.Errorf("%s", text)
	}
	b := table.batch()
	if b.Rows != 2 || b.Columns[1].Type != plan.Bool || !b.Columns[1].Bools[0] {
		t.Errorf("%+v", b)
	}
}

// TestErrorPlaces checks that an error keeps its place on its way to a client
// and back into a rendering.
func TestErrorPlaces(t *testing.T) {
	text := "Connections\n| where x == \"日本\" and TlsVersoin == \"1.0\""
	at := strings.Index(text, "TlsVersoin")
	in := &kql.Error{Span: kql.Span{Start: at, End: at + 10}, Code: "SEM0100", Message: `no column "TlsVersoin" in Connections`, Hint: "did you mean TlsVersion?"}
	list := fromKQL(text, kql.Errors{in})
	want := &client.Error{Code: "SEM0100", Message: in.Message, Line: 2, Column: 23, Length: 10, Hint: in.Hint}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, want := list.Render(text), in.Render(text); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
	if got := (&client.Error{Code: "Timeout", Message: "too long"}).Render(text); got != "error Timeout: too long" {
		t.Errorf("%s", got)
	}
	end := fromKQL("T |", kql.Errors{{Span: kql.Span{Start: 3, End: 3}}})[0]
	if end.Line != 1 || end.Column != 4 || end.Length != 1 {
		t.Errorf("at the end: %+v", end)
	}
}

func instantForTest(t *testing.T) time.Time {
	t.Helper()
	when, err := instant("now", "2026-11-22T12:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	return when
}
