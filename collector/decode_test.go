package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

func testBlock() *block {
	b := newBlock()
	b.decoder.maxAge, b.decoder.known = 365*24*time.Hour, &certSet{}
	return b
}

func message(kind string, data []byte) *stream.Message {
	return &stream.Message{Seq: 1, Time: time.Now(), Header: nats.Header{"Content-Type": {kind}}, Data: data}
}

// value reads the value of a row back as text.
func (c *column) value(row int) string {
	switch c.kind {
	case kindLow, kindList:
		p := c.index.Pos[c.keys[row]]
		return string(c.index.Buf[p.Start:p.End])
	case kindText:
		return c.text.Row(row)
	case kindLong:
		return fmt.Sprint(c.long[row])
	case kindBool:
		return fmt.Sprint(c.flag[row])
	case kindTime:
		return fmt.Sprint(int64(c.time.Data[row]))
	case kindGUID:
		return fmt.Sprintf("%x", [16]byte(c.guid[row]))
	default:
		return fmt.Sprint(c.key[row])
	}
}

// rowOf is the row that an event shall become, by its own way: JSON of the Go form.
func rowOf(e *ingest.Event) map[string]string {
	row := map[string]string{}
	put := func(name string, v any) {
		switch v := v.(type) {
		case string:
			row[name] = string(valid([]byte(v)))
		case []string:
			row[name] = ""
			if len(v) > 0 {
				b, _ := json.Marshal(v)
				var again []string
				json.Unmarshal(b, &again)
				var raw [][]byte
				for _, s := range again {
					raw = append(raw, []byte(s))
				}
				row[name] = string(appendJSONList(nil, raw))
			}
		default:
			row[name] = fmt.Sprint(v)
		}
	}
	put("TimeGenerated", ingest.Ticks(e.TimeGenerated))
	put("Hub", e.Hub)
	put("DeviceId", e.DeviceId)
	put("Sequence", e.Sequence)
	put("OfferedVersions", e.OfferedVersions)
	put("OfferedCiphers", e.OfferedCiphers)
	put("TlsResumed", e.TlsResumed)
	put("BytesIn", e.BytesIn)
	put("ResultDescription", e.ResultDescription)
	row["ConnectionId"] = fmt.Sprintf("%x", e.ConnectionId)
	return row
}

func checkRow(t *testing.T, b *block, row int, e *ingest.Event) {
	t.Helper()
	want, got := rowOf(e), map[string]string{}
	for _, c := range b.events.columns {
		if _, ok := want[c.name]; ok {
			got[c.name] = c.value(row)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row %d (-want +got):\n%s", row, diff)
	}
}

func good(n int) *ingest.Event {
	e := event(n)
	e.Sequence = int64(n)
	return e
}

func TestGoodEventsOfABadMessage(t *testing.T) {
	frame := func(b []byte) []byte { return append(protowire.AppendVarint(nil, uint64(len(b))), b...) }
	noHub := good(3)
	noHub.Hub = ""
	old := good(4)
	old.TimeGenerated = time.Now().AddDate(-2, 0, 0)
	future := good(5)
	future.TimeGenerated = time.Now().AddDate(0, 0, 2)
	junk := frame([]byte{0x12, 0x50, 1})
	for _, test := range []struct {
		name   string
		parts  [][]byte
		rows   int
		bad    []byte
		reason string
	}{
		{"all good", [][]byte{ingest.AppendEvent(nil, good(1)), ingest.AppendEvent(nil, good(2))}, 2, nil, ""},
		{"junk between", [][]byte{ingest.AppendEvent(nil, good(1)), junk, ingest.AppendEvent(nil, good(2))}, 2, junk, "event 2"},
		{"no hub", [][]byte{ingest.AppendEvent(nil, noHub), ingest.AppendEvent(nil, good(2))}, 1, ingest.AppendEvent(nil, noHub), "without Hub"},
		{"too old", [][]byte{ingest.AppendEvent(nil, old)}, 0, ingest.AppendEvent(nil, old), "older than"},
		{"future", [][]byte{ingest.AppendEvent(nil, future)}, 0, ingest.AppendEvent(nil, future), "future"},
		{"cut off", [][]byte{ingest.AppendEvent(nil, good(1)), {0x7f, 1, 2}}, 1, []byte{0x7f, 1, 2}, "ends inside"},
		{"empty", nil, 0, nil, "without events"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testBlock()
			b.add(message(ingest.ContentType, slices.Concat(test.parts...)))
			b.events.finish()
			if b.events.rows != test.rows {
				t.Errorf("%d rows, want %d", b.events.rows, test.rows)
			}
			for _, c := range b.events.columns {
				if c.values != test.rows {
					t.Errorf("column %s has %d values, want %d", c.name, c.values, test.rows)
				}
			}
			if test.reason == "" {
				if len(b.letters) != 0 {
					t.Errorf("letter: %s", b.letters[0].reason)
				}
				return
			}
			if len(b.letters) != 1 || !strings.Contains(b.letters[0].reason, test.reason) || !bytes.Equal(b.letters[0].bad, test.bad) {
				t.Errorf("letters %+v, want one with %q and the bad bytes", b.letters, test.reason)
			}
		})
	}
}

func TestContentTypes(t *testing.T) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	object := `{"TimeGenerated":"` + now + `","Hub":"h","OperationName":"deviceConnect","OfferedVersions":["1.3","1.2"]}`
	bad := `{"TimeGenerated":"` + now + `","Hub":"h","Nonsense":1}`
	for _, test := range []struct {
		name, kind, body string
		rows             int
		bad, reason      string
	}{
		{"lines", ingest.ContentTypeJSON, object + "\n" + object + "\n", 2, "", ""},
		{"with parameter", "application/x-ndjson; charset=utf-8", object, 1, "", ""},
		{"array", "application/json", "[" + object + "," + object + "]", 2, "", ""},
		{"one bad line", ingest.ContentTypeJSON, object + "\n" + bad + "\n" + object, 2, bad + "\n", "Nonsense"},
		{"not JSON", ingest.ContentTypeJSON, object + "\nnonsense", 1, "nonsense", "event 2"},
		{"other type", "text/plain", "hello", 0, "hello", "unknown"},
		{"no type", "", "hello", 0, "hello", "unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testBlock()
			b.add(message(test.kind, []byte(test.body)))
			var got, reason string
			if len(b.letters) == 1 {
				got, reason = string(b.letters[0].bad), b.letters[0].reason
			}
			if b.events.rows != test.rows || got != test.bad || !strings.Contains(reason, test.reason) || (test.reason == "") != (reason == "") {
				t.Errorf("%d rows, bad %q, reason %q; want %d, %q, %q", b.events.rows, got, reason, test.rows, test.bad, test.reason)
			}
		})
	}
}

func TestCertificatesOnceEach(t *testing.T) {
	b := testBlock()
	var data []byte
	for i := range 6 {
		e := good(i)
		if i%2 == 0 {
			e.CertThumbprint, e.CertSubject = strings.Repeat(fmt.Sprint(i%4+1), 64), "CN=d"
		}
		data = ingest.AppendEvent(data, e)
	}
	named := good(6) // a source that knows no thumbprint
	named.CertSubject = "CN=only the name"
	data = ingest.AppendEvent(data, named)
	b.add(message(ingest.ContentType, data))
	b.events.finish()
	b.certs.finish()
	if b.certs.rows != 3 {
		t.Errorf("%d certificates, want 3", b.certs.rows)
	}
	for row, want := range []uint64{0x1111111111111111, 0, 0x3333333333333333, 0, 0x1111111111111111, 0} {
		if got := b.events.certID.key[row]; got != want {
			t.Errorf("row %d: CertId %x, want %x", row, got, want)
		}
	}
	if got := b.events.certID.key[6]; got == 0 {
		t.Error("a certificate without thumbprint has no CertId")
	}
}

// FuzzDecode: decoding straight into columns accepts what ingest accepts, with
// the same values, and leaves no trace of what it refuses.
func FuzzDecode(f *testing.F) {
	f.Add(good(1).AppendProto(nil))
	twice := append(good(1).AppendProto(nil), good(2).AppendProto(nil)...)
	f.Add(twice)
	f.Add([]byte{0x9a, 0x02, 1, 'a', 0x12, 1, 'h', 0x9a, 0x02, 1, 'b'})
	now := time.Now()
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e ingest.Event
		err := e.UnmarshalProto(raw)
		if err == nil {
			err = e.Validate()
		}
		b := testBlock()
		b.decoder.maxAge = math.MaxInt64
		m := message(ingest.ContentType, nil)
		m.Time = now
		before := good(1)
		b.addEvent(m, before.AppendProto(nil))
		got := b.addEvent(m, raw)
		inTime := err == nil && !e.TimeGenerated.After(now.Add(futureSlack)) && ingest.Ticks(e.TimeGenerated) >= ingest.Ticks(now)-math.MaxInt64/100
		if (got == nil) != inTime {
			t.Fatalf("error %v, ingest says %v (in time: %v)", got, err, inTime)
		}
		rows := 1
		if got == nil {
			rows = 2
		}
		b.addEvent(m, good(2).AppendProto(nil))
		b.events.finish()
		if b.events.rows != rows+1 {
			t.Fatalf("%d rows, want %d", b.events.rows, rows+1)
		}
		checkRow(t, b, 0, before)
		if got == nil {
			checkRow(t, b, 1, &e)
		}
		checkTail(t, b, rows)
	})
}

// checkTail says whether the last good event is whole.
func checkTail(t *testing.T, b *block, row int) {
	t.Helper()
	for _, c := range b.events.columns {
		if c.name == "Sequence" && c.value(row) != "2" {
			t.Errorf("the row after: Sequence %s, want 2", c.value(row))
		}
	}
}
