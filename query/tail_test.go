package query_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
	"hubscope/query"
	"hubscope/query/kql"
)

// arrivals returns the stored events as they come over the stream.
func arrivals(t *testing.T, e *query.Engine) []ingest.Arrival {
	t.Helper()
	stored, err := run(t.Context(), e, query.Request{Text: "Connections | sort by TimeGenerated asc"})
	if err != nil {
		t.Fatal(err)
	}
	var list []ingest.Arrival
	for _, row := range stored.Rows {
		fields := map[string]json.RawMessage{}
		for i, c := range stored.Columns {
			fields[c.Name] = row[i]
		}
		b, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		a := ingest.Arrival{Time: time.Unix(1_772_445_600, 0)}
		if err := json.Unmarshal(b, &a.Event); err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	if len(list) < 5 {
		t.Fatalf("only %d events are stored", len(list))
	}
	return list
}

// follow returns the rows of a tail over events, in their order.
func follow(t *testing.T, tail *query.Tail, events []ingest.Arrival) [][]json.RawMessage {
	t.Helper()
	rows, err := tail.Run(t.Context(), events)
	if err != nil {
		t.Fatal(cause(err))
	}
	defer rows.Close()
	var list [][]json.RawMessage
	for {
		b, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(cause(err))
		}
		for i := range b.Rows {
			row := make([]json.RawMessage, len(b.Columns))
			for k := range b.Columns {
				row[k] = b.Columns[k].AppendJSON(nil, i)
			}
			list = append(list, row)
		}
	}
}

// texts writes rows as lines that can be compared, sorted.
func texts(rows [][]json.RawMessage) []string {
	list := make([]string, len(rows))
	for i, r := range rows {
		b, _ := json.Marshal(r)
		list[i] = string(b)
	}
	slices.Sort(list)
	return list
}

// TestTailMeansTheSame: what a tail says of events as they come is what the
// same query says of them once they are stored.
func TestTailMeansTheSame(t *testing.T) {
	e := newEngine(t, query.Config{})
	events := arrivals(t, e)
	for _, text := range []string{
		"Connections",
		"Connections | where TlsVersion < '1.2'",
		"Connections | where TlsVersion == '1.2' and OperationName == 'deviceConnect' | project TimeGenerated, DeviceId, TlsCipher",
		"Connections | where DeviceId startswith 'PUMP' | extend Weak = TlsCipher has 'CBC' | where not(Weak)",
		"Connections | where isnotempty(ResultType) | project ResultType, ResultDescription, code = toint(ResultType)",
		"Connections | where OfferedVersions has '1.1' | extend best = tostring(OfferedVersions[0]), n = array_length(OfferedVersions)",
		"Connections | where isnull(OfferedVersions) or OfferedVersions[0] == '1.3' | project DeviceId, OfferedVersions",
		"Connections | extend hour = bin(TimeGenerated, 1h), t = TimeGenerated + 90m, d = datetime(2026-03-03) - TimeGenerated | project hour, t, d",
		"Connections | where isnull(CertNotAfter) | project DeviceId",
		"Connections | where CertNotAfter < datetime(2026-12-31) | project CertSubject, CertIssuer, CertSerial, CertThumbprint, CertNotAfter",
		"Connections | extend left = CertNotAfter - TimeGenerated | project left",
		"Connections | where WouldFailStrict or TlsResumed | project WouldFailStrict, TlsResumed, StrictReason",
		"Connections | project Category = tolower(Category), x = strcat(Hub, '/', DeviceId), k = HandshakeMicros / 1000.0, BytesIn % 7",
		"Connections | where Protocol in~ ('MQTT', 'https') | project c = case(TlsVersion == '1.3', 'good', TlsVersion == '1.2', 'fair', 'bad')",
		"Connections | project b = bag_pack('v', TlsVersion, 'o', OfferedCiphers), s = split(TlsCipher, '_'), e = extract('WITH_(.*)$', 1, TlsCipher)",
		"Connections | where ConnectionId == guid(00000000-0000-0000-0000-000000000000) | project ConnectionId",
		"let v = '1.2'; let weak = (c: string) { c has 'CBC' }; Connections | where TlsVersion == v and not(weak(TlsCipher)) | project DeviceId",
		"declare query_parameters(n: long = 1000); Connections | where HandshakeMicros > n | project HandshakeMicros",
		"Connections | where TimeGenerated > ago(36500d) | project DeviceId, old = TimeGenerated < now()",
		"Connections | filter Sequence >= 0 | project one = 1",
	} {
		t.Run(text, func(t *testing.T) {
			want, err := run(t.Context(), e, query.Request{Text: text})
			if err != nil {
				t.Fatal(cause(err))
			}
			tail, err := e.Tail(query.Request{Text: text})
			if err != nil {
				t.Fatal(cause(err))
			}
			var columns []column
			for _, c := range tail.Columns {
				columns = append(columns, column{c.Name, c.Type.String()})
			}
			if diff := cmp.Diff(want.Columns, columns); diff != "" {
				t.Errorf("columns (-stored +tail):\n%s", diff)
			}
			if diff := cmp.Diff(texts(want.Rows), texts(follow(t, tail, events))); diff != "" {
				t.Errorf("rows (-stored +tail):\n%s", diff)
			}
		})
	}
}

func TestTail(t *testing.T) {
	e := newEngine(t, query.Config{})
	events := arrivals(t, e)

	tail, err := e.Tail(query.Request{Text: "Connections | extend TimeGenerated, at = ingestion_time()"})
	if err != nil {
		t.Fatal(err)
	}
	if !tail.Whole {
		t.Error("all columns are there, and it is not said")
	}
	rows := follow(t, tail, events)
	if len(rows) != len(events) {
		t.Fatalf("want %d rows, got %d", len(events), len(rows))
	}
	for i, r := range rows {
		if want := `"` + events[i].TimeGenerated.Format("2006-01-02T15:04:05.0000000Z") + `"`; string(r[0]) != want {
			t.Fatalf("row %d: want %s, got %s: the order is not that of the events", i, want, r[0])
		}
		if got := string(r[len(r)-1]); got != `"2026-03-02T10:00:00.0000000Z"` {
			t.Fatalf("ingestion_time() is %s", got)
		}
	}

	for name, tt := range map[string]struct {
		hubs []string
		want int
	}{"its hub": {[]string{events[0].Hub}, 1}, "another hub": {[]string{"no such hub"}, 0}, "none": {[]string{}, 0}} {
		tail, err := e.Tail(query.Request{Hubs: tt.hubs})
		if err != nil {
			t.Fatal(err)
		}
		if rows := follow(t, tail, events[:1]); len(rows) != tt.want {
			t.Errorf("%s: want %d rows, got %d", name, tt.want, len(rows))
		}
	}
}

func TestTailRefuses(t *testing.T) {
	e := newEngine(t, query.Config{})
	tests := []struct{ text, at, want string }{
		{"Connections | summarize count()", "summarize", "tail does not support the operator summarize"},
		{"Connections | where TlsVersion == '1.2' | take 5", "take", "tail does not support the operator take"},
		{"Connections | project-away Hub", "project-away", "tail does not support the operator project-away"},
		{"Connections | join kind=inner (Devices) on DeviceId", "join", "tail does not support the operator join"},
		{"Connections | count", "count", "tail does not support the operator count"},
		{"Connections | project Hub | render table", "render", "tail does not support the operator render"},
		{"Devices | where Hub == 'x'", "Devices", "tail does not support the table Devices"},
		{"Devices", "Devices", "tail does not support the table Devices"},
		{"print 1", "print", "tail does not support the operator print"},
		{"union Connections", "union", "tail does not support the operator union"},
		{"datatable(a: long)[1] | where a == 1", "datatable", "tail does not support datatable"},
		{"Connections | where Hub == toscalar(Connections | project Hub)", "toscalar", "tail does not support toscalar()"},
		{"Connections | where DeviceId in (Devices | project DeviceId)", "Devices", "tail does not support the table Devices"},
		{"Connections | where DeviceId in (Connections | project DeviceId)", "", "one by one"},
		{"let x = Connections | where Hub == 'a'; x | project Hub", "", "one by one"},
		{"Connections | where TlsVersoin == '1.2'", "TlsVersoin", "no column \"TlsVersoin\" in Connections"},
		{"Connections | extend n = row_number()", "", ""},
		{"Connections |", "", ""},
	}
	for _, tt := range tests {
		_, err := e.Tail(query.Request{Text: tt.text})
		var errs kql.Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: error %v", tt.text, err)
			continue
		}
		first := errs[0]
		if got := tt.text[first.Start:min(first.End, len(tt.text))]; tt.at != "" && got != tt.at {
			t.Errorf("%s: want the error at %q, it is at %q", tt.text, tt.at, got)
		}
		if !strings.Contains(first.Message, tt.want) {
			t.Errorf("%s: want %q, got %q", tt.text, tt.want, first.Message)
		}
	}
}
