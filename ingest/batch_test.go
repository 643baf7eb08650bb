package ingest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// mixed returns n events that differ in which fields they have, in how often
// values repeat, and in how wide numbers are.
func mixed(n int) []Event {
	events := make([]Event, n)
	for i := range events {
		e := &events[i]
		e.TimeGenerated = time.Unix(1_800_000_000, int64(i)*100)
		e.Hub, e.OperationName = "hub", DeviceConnect
		e.DeviceId = fmt.Sprintf("device-%d", i)
		e.ConnectionId = [16]byte{byte(i), byte(i >> 8), 15: 1}
		e.Protocol = []string{Mqtt, "", Https}[i%3]
		e.OfferedCiphers = [][]string{{"a", "b"}, nil, {"ab"}, {"a", "", "b"}}[i%4]
		e.TlsResumed = i%5 == 0
		e.WouldFailStrict = true
		e.Sequence = math.MaxInt64 - int64(i)
		e.BytesIn = int64(i)
		e.BytesOut = int64(i%2) << 40
		e.DurationMs = int64(i%3) * -7
		e.Messages = 12
		if i == 3 {
			e.ResultDescription, e.Ja4, e.CertNotAfter = "only here", "j", time.Unix(1_900_000_000, 0)
		}
	}
	return events
}

func batchOf(events []Event) *Batch {
	b := new(Batch)
	for i := range events {
		b.Add(&events[i])
	}
	return b
}

// eventsIn reads a batch, into events in UTC.
func eventsIn(t *testing.T, r *BatchReader, msg []byte) []Event {
	t.Helper()
	if err := r.Read(msg); err != nil {
		t.Fatal(err)
	}
	events := make([]Event, r.Len())
	for i := range events {
		if err := r.Event(i, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

var sameTime = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })

// TestBatchRoundTrip: also of batches and readers that are used again.
func TestBatchRoundTrip(t *testing.T) {
	var b Batch
	var r BatchReader
	for _, n := range []int{1, 2, 255, 256, 257, 3, 1000, 7} {
		want := mixed(n)
		if n == 7 {
			want = append(want, *full(), Event{}, *full())
		}
		for i := range want {
			b.Add(&want[i])
		}
		size := b.Size()
		msg := b.AppendTo([]byte("before"))
		if string(msg[:6]) != "before" || len(msg)-6 > size {
			t.Errorf("%d events take %d bytes, more than %d", n, len(msg)-6, size)
		}
		if b.Len() != len(want) {
			t.Errorf("Len = %d, want %d", b.Len(), len(want))
		}
		b.Reset()
		if diff := cmp.Diff(want, eventsIn(t, &r, msg[6:]), sameTime); diff != "" {
			t.Errorf("%d events (-want +got):\n%s", n, diff)
		}
		// Whole columns say the same as events.
		for i := range r.Columns() {
			c := &r.Columns()[i]
			switch {
			case c.Column.str != nil, c.Column.list != nil:
				same := make([]uint32, len(c.Values)+1)
				for k := range same {
					same[k] = uint32(k)
				}
				mapped := c.AppendKeys([]uint32{7}, same)
				for row, k := range c.Keys(nil) {
					if v := c.Value(row); k == 0 && v != nil || k > 0 && string(v) != string(c.Values[k-1]) || mapped[1+row] != uint32(k) {
						t.Errorf("%s: event %d has %q and key %d", c.Column.Name, row, v, k)
					}
				}
			case c.Column.guid == nil:
				for row, n := range c.Numbers(nil) {
					if n != c.Number(row) {
						t.Errorf("%s: event %d has %d and %d", c.Column.Name, row, c.Number(row), n)
					}
				}
			}
		}
	}
}

// TestBatchIsSmall: what repeats costs next to nothing.
func TestBatchIsSmall(t *testing.T) {
	b := new(Batch)
	for range 100 {
		b.Add(full())
	}
	once, all := len(AppendEvent(nil, full())), len(b.AppendTo(nil))
	if ids := 16 * 100; all > 2*once+ids {
		t.Errorf("100 equal events take %d bytes, one takes %d", all, once)
	}
}

// TestBatchIsProtobuf reads a batch with the protobuf library and the published
// schema, and lets the library write one, in its own order, for us to read.
func TestBatchIsProtobuf(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"event.proto": Proto()}),
	}}
	files, err := compiler.Compile(context.Background(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	want := mixed(300)
	msg := dynamicpb.NewMessage(files[0].Messages().ByName("Batch"))
	if err := proto.Unmarshal(batchOf(want).AppendTo(nil), msg); err != nil {
		t.Fatal(err)
	}
	columns := msg.Get(msg.Descriptor().Fields().ByName("columns")).List()
	if len(msg.GetUnknown()) > 0 || columns.Len() == 0 {
		t.Fatalf("%d columns, and %d bytes that the schema does not know", columns.Len(), len(msg.GetUnknown()))
	}
	for i := range columns.Len() {
		c := columns.Get(i).Message()
		if len(c.GetUnknown()) > 0 {
			t.Errorf("column %v has %d bytes that the schema does not know", c, len(c.GetUnknown()))
		}
		// A later version's field and a later version's column.
		c.SetUnknown(protoreflect.RawFields(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1)))
	}
	later := columns.NewElement()
	later.Message().Set(later.Message().Descriptor().Fields().ByName("field"), protoreflect.ValueOfUint32(4000))
	columns.Append(later)
	theirs, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, eventsIn(t, new(BatchReader), theirs), sameTime); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// rawColumn is a message of n events with one column.
func rawColumn(n, field int, rest ...[]byte) []byte {
	c := protowire.AppendVarint(protowire.AppendTag(nil, columnField, protowire.VarintType), uint64(field))
	for _, b := range rest {
		c = append(c, b...)
	}
	m := protowire.AppendVarint(protowire.AppendTag(nil, batchEvents, protowire.VarintType), uint64(n))
	return protowire.AppendBytes(protowire.AppendTag(m, batchColumns, protowire.BytesType), c)
}

func rawBytes(field protowire.Number, b string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), b)
}

func TestBadBatches(t *testing.T) {
	const hub, text, ciphers, id, port = 2, 12, 36, 4, 23
	good := batchOf(mixed(9)).AppendTo(nil)
	tests := []struct {
		name string
		msg  []byte
		want string
	}{
		{"nothing", nil, "without events"},
		{"no events", rawColumn(0, hub), "without events"},
		{"many events", rawColumn(MaxBatchEvents+1, hub, rawBytes(columnValues, "h")), "at most"},
		{"cut off", good[:len(good)-1], "batch"},
		{"cut tag", []byte{0x80}, "batch"},
		{"cut column", rawColumn(1, hub, []byte{0x12, 9}), "column"},
		{"no value", rawColumn(2, hub), "0 values without keys"},
		{"two values, no keys", rawColumn(2, hub, rawBytes(columnValues, "a"), rawBytes(columnValues, "b")), "2 values without keys"},
		{"few keys", rawColumn(3, hub, rawBytes(columnValues, "a"), rawBytes(columnKeys, "\x01")), "keys for 3 events"},
		{"key too high", rawColumn(2, hub, rawBytes(columnValues, "a"), rawBytes(columnKeys, "\x01\x02")), "key 2 for 1"},
		{"wide key too high", rawColumn(2, hub, rawBytes(columnValues, "a"), rawBytes(columnKeys, "\x01\x00\x01\x01")), "key 257 for 1"},
		{"string with numbers", rawColumn(1, hub, rawBytes(columnValues, "a"), rawBytes(columnFixed, "1")), "want values"},
		{"number with values", rawColumn(1, port, rawBytes(columnValues, "a")), "want numbers"},
		{"odd numbers", rawColumn(2, port, rawBytes(columnFixed, "123")), "want 1, 2, 4 or 8"},
		{"short id", rawColumn(1, id, rawBytes(columnFixed, "123")), "want 16"},
		{"list that is none", rawColumn(1, ciphers, rawBytes(columnValues, "\xff")), "list"},
		{"list of something else", rawColumn(1, ciphers, rawBytes(columnValues, string(rawBytes(hub, "x")))), "list has field 2"},
		{"a column twice", append(good, rawColumn(9, hub, rawBytes(columnValues, "h"))...), "two columns"},
		{"grows", rawColumn(MaxBatchEvents, text, rawBytes(columnValues, strings.Repeat("x", 1<<20))), "grows to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := new(BatchReader).Read(test.msg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	// A long value that one event of many has is fine.
	keys := make([]byte, MaxBatchEvents)
	keys[7] = 1
	long := rawBytes(columnValues, strings.Repeat("x", 1<<20))
	if err := new(BatchReader).Read(rawColumn(MaxBatchEvents, text, long, rawBytes(columnKeys, string(keys)))); err != nil {
		t.Error(err)
	}
	// So is one that all share in the store.
	if err := new(BatchReader).Read(rawColumn(MaxBatchEvents, hub, long)); err != nil {
		t.Error(err)
	}
	var r BatchReader
	if err := r.Read(rawColumn(1, 1, protowire.AppendVarint(protowire.AppendTag(nil, columnBase, protowire.VarintType), math.MaxUint64))); err != nil {
		t.Fatal(err)
	}
	if err := r.Event(0, new(Event)); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("error %v, want one about the time", err)
	}
}

// FuzzBatch: reading never panics, and what can be read survives a round trip.
func FuzzBatch(f *testing.F) {
	f.Add(batchOf(mixed(5)).AppendTo(nil))
	f.Add(batchOf([]Event{*full()}).AppendTo(nil))
	f.Add(rawColumn(2, 2, rawBytes(columnValues, "a"), rawBytes(columnKeys, "\x01\x00\x01\x00")))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var r BatchReader
		if r.Read(msg) != nil || r.Len() > 100 {
			return
		}
		events := make([]Event, r.Len())
		for i := range events {
			if r.Event(i, &events[i]) != nil {
				return
			}
		}
		if diff := cmp.Diff(events, eventsIn(t, new(BatchReader), batchOf(events).AppendTo(nil)), sameTime); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	})
}

// What does one event cost the hub when it goes into a batch of 250?
func BenchmarkBatch(b *testing.B) {
	events := mixed(250)
	for i := range events {
		e := full()
		e.DeviceId, e.ConnectionId, e.Sequence = events[i].DeviceId, events[i].ConnectionId, int64(i)
		events[i] = *e
	}
	var batch Batch
	var buf []byte
	n := 0
	for b.Loop() {
		batch.Add(&events[n])
		if n++; n == len(events) {
			buf = batch.AppendTo(buf[:0])
			batch.Reset()
			n = 0
		}
	}
}

// What does reading one event of a batch of 250 cost, before it is stored?
func BenchmarkReadBatch(b *testing.B) {
	msg := batchOf(mixed(250)).AppendTo(nil)
	var r BatchReader
	n := 0
	for b.Loop() {
		if n%250 == 0 {
			if err := r.Read(msg); err != nil {
				b.Fatal(err)
			}
		}
		n++
	}
}
