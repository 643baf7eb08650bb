package collector

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
)

func batchOf(events ...*ingest.Event) []byte {
	var b ingest.Batch
	for _, e := range events {
		b.Add(e)
	}
	return b.AppendTo(nil)
}

// varied is an event with much that differs from the next one's.
func varied(n int) *ingest.Event {
	e := good(n)
	e.BytesIn, e.TlsResumed = int64(n)<<(n%40), n%3 == 0
	e.ConnectionId[3] = byte(n)
	e.OfferedVersions = [][]string{{"1.3", "1.2"}, nil, {"1.2"}}[n%3]
	e.OfferedCiphers = []string{"A", fmt.Sprint("B", n%5)}
	e.Ja4 = fmt.Sprint("t13d", n%5)
	if n%4 == 1 {
		e.ResultDescription = fmt.Sprintf("wrong: %d \xff", n%8)
	}
	switch n % 4 {
	case 0:
		e.CertThumbprint = strings.Repeat(fmt.Sprintf("%02x", n%8), 32)
		e.CertSubject, e.CertNotAfter = fmt.Sprint("CN=", n%8), time.Unix(2_000_000_000, 0)
	case 2:
		e.CertSubject = "CN=only the name"
	}
	return e
}

// rows reads all values of a table.
func rows(tab *table) (all []map[string]string) {
	tab.finish()
	for i := range tab.rows {
		row := map[string]string{}
		for _, c := range tab.columns {
			switch c.kind {
			case kindNullTime:
				row[c.name] = fmt.Sprint(c.nulls[i], int64(c.time.Data[i]))
			default:
				row[c.name] = c.value(i)
			}
		}
		all = append(all, row)
	}
	return all
}

// TestBatchIsItsEvents: a batch has the rows, and the certificates, of the same
// events one by one, between rows that came otherwise; and so has a batch that
// cannot be taken as a whole.
func TestBatchIsItsEvents(t *testing.T) {
	var events []*ingest.Event
	for i := range 300 {
		events = append(events, varied(i))
	}
	bad := varied(1)
	bad.Hub = ""
	for _, test := range []struct {
		name string
		last []*ingest.Event
	}{{"whole", nil}, {"one by one", []*ingest.Event{bad}}} {
		t.Run(test.name, func(t *testing.T) {
			want, got := testBlock(), testBlock()
			m := message(ingest.ContentTypeBatch, nil)
			for _, e := range append(append(events[200:], events...), events[:7]...) {
				if err := want.addDecoded(m, e); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range events[200:] {
				got.addDecoded(m, e)
			}
			got.add(message(ingest.ContentTypeBatch, batchOf(append(events[:len(events):len(events)], test.last...)...)))
			got.add(message(ingest.ContentTypeBatch, batchOf(events[:7]...)))
			if len(got.letters) != len(test.last) {
				t.Errorf("letters %v", got.letters)
			}
			if diff := cmp.Diff(rows(want.events), rows(got.events)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(rows(want.certs), rows(got.certs)); diff != "" {
				t.Errorf("certificates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGoodEventsOfABadBatch(t *testing.T) {
	noHub, noTime, noOperation, old, future, ancient := good(3), good(3), good(3), good(4), good(5), good(6)
	noHub.Hub, noOperation.OperationName, noTime.TimeGenerated = "", "", time.Time{}
	old.TimeGenerated = time.Now().AddDate(-2, 0, 0)
	future.TimeGenerated = time.Now().AddDate(0, 0, 2)
	ancient.CertNotAfter = time.Date(1066, 10, 14, 0, 0, 0, 0, time.UTC)
	cut := batchOf(good(1), good(2))
	cut = cut[:len(cut)-3]
	for _, test := range []struct {
		name   string
		data   []byte
		rows   int
		bad    []byte
		reason string
	}{
		{"all good", batchOf(good(1), good(2)), 2, nil, ""},
		{"no hub", batchOf(good(1), noHub, good(2)), 2, batchOf(noHub), "event 2: event without Hub"},
		{"none has a hub", batchOf(noHub, noHub), 0, batchOf(noHub, noHub), "event 1: event without Hub (and 1 more of 2 events)"},
		{"no time", batchOf(noTime, good(2)), 1, batchOf(noTime), "without TimeGenerated"},
		{"no operation", batchOf(good(1), noOperation), 1, batchOf(noOperation), "without OperationName"},
		{"too old", batchOf(old, good(1)), 1, batchOf(old), "older than"},
		{"future", batchOf(good(1), future), 1, batchOf(future), "future"},
		{"time out of range", batchOf(good(1), ancient), 1, batchOf(ancient), "outside the years"},
		{"several", batchOf(noHub, good(1), old), 1, batchOf(noHub, old), "event 1: event without Hub (and 1 more of 3 events)"},
		{"cut off", cut, 0, cut, "batch"},
		{"empty", nil, 0, nil, "without events"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testBlock()
			b.add(message(ingest.ContentTypeBatch, test.data))
			if got := len(rows(b.events)); got != test.rows {
				t.Errorf("%d rows, want %d", got, test.rows)
			}
			if test.reason == "" {
				if len(b.letters) != 0 {
					t.Errorf("letter: %s", b.letters[0].reason)
				}
				return
			}
			if len(b.letters) != 1 || !strings.Contains(b.letters[0].reason, test.reason) || !bytes.Equal(b.letters[0].bad, test.bad) {
				t.Errorf("letters %+v, want one with %q and the bad events", b.letters, test.reason)
			}
			if got := b.letters[0].message.ContentType(); got != ingest.ContentTypeBatch {
				t.Errorf("the letter has content type %q", got)
			}
		})
	}
}

func TestCertSet(t *testing.T) {
	s := &certSet{}
	const n = 10_000
	for _, first := range []bool{true, false} {
		for i := range uint64(n) {
			if isNew := s.add(1 + i*0x9e3779b97f4a7c15); isNew != first {
				t.Fatalf("key %d is new: %v, want %v", i, isNew, first)
			}
		}
	}
	for i := range uint64(maxCertificates) {
		s.add(1<<63 + i)
	}
	if s.n > maxCertificates || len(s.slots) > 2*maxCertificates {
		t.Errorf("%d keys in %d slots, want at most %d", s.n, len(s.slots), maxCertificates)
	}
}

// FuzzBatch: whatever a batch has in it, its good events become rows of all
// columns, the others are in the letter, and none is in both.
func FuzzBatch(f *testing.F) {
	f.Add(batchOf(good(1), varied(2), varied(4)))
	old := good(4)
	old.TimeGenerated = time.Unix(1, 0)
	f.Add(batchOf(good(1), old))
	now := time.Now()
	f.Fuzz(func(t *testing.T, data []byte) {
		var in, out ingest.BatchReader
		err := in.Read(data)
		if in.Len() > 300 {
			return // no other than few, but slow
		}
		b := testBlock()
		before := good(1)
		b.addDecoded(message(ingest.ContentTypeBatch, nil), before)
		m := message(ingest.ContentTypeBatch, data)
		m.Time = now
		b.add(m)
		b.addDecoded(m, good(2))
		b.events.finish()
		b.certs.finish()
		for _, tab := range []*table{b.events, b.certs} {
			for _, c := range tab.columns {
				if c.values != tab.rows {
					t.Fatalf("column %s has %d values for %d rows", c.name, c.values, tab.rows)
				}
			}
		}
		checkRow(t, b, 0, before)
		checkTail(t, b, b.events.rows-1)
		if err != nil {
			if len(b.letters) != 1 || b.events.rows != 2 {
				t.Fatalf("%d letters, %d rows", len(b.letters), b.events.rows)
			}
			return
		}
		if len(b.letters) > 0 {
			if err := out.Read(b.letters[0].bad); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.events.rows - 2 + out.Len(); got != in.Len() {
			t.Fatalf("%d rows and %d events in the letter, of %d", b.events.rows-2, out.Len(), in.Len())
		}
	})
}
