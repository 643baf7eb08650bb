package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
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

var update = flag.Bool("update", false, "rewrite event.proto")

// full returns an event with every field set to something of its own.
func full() *Event {
	e := new(Event)
	for i := range Connections {
		c := &Connections[i]
		switch {
		case c.str != nil:
			*c.str(e) = "value of " + c.Name
		case c.long != nil:
			*c.long(e) = int64(1000 + i)
		case c.flag != nil:
			*c.flag(e) = true
		case c.list != nil:
			*c.list(e) = []string{c.Name, "", "b"}
		case c.time != nil:
			*c.time(e) = time.Date(2026, 11, 23, 1, 2, i%60, 123456700, time.UTC)
		case c.guid != nil:
			*c.guid(e) = [16]byte{1, 2, 3, 15: 9}
		}
	}
	return e
}

func TestColumnsAreSound(t *testing.T) {
	fields, names := map[int]string{}, map[string]bool{}
	for i := range Connections {
		c := &Connections[i]
		if fields[c.Field] != "" || c.Field == 0 {
			t.Errorf("%s: field number %d is taken by %q", c.Name, c.Field, fields[c.Field])
		}
		if names[c.Name] {
			t.Errorf("%s stands twice", c.Name)
		}
		fields[c.Field], names[c.Name] = c.Name, true
		ways := 0
		for _, has := range []bool{c.str != nil, c.long != nil, c.flag != nil, c.list != nil, c.time != nil, c.guid != nil} {
			if has {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s: %d accessors, want 1", c.Name, ways)
		}
	}
	for _, table := range Tables {
		for _, c := range table.Columns {
			if !strings.HasSuffix(c.Doc, ".") {
				t.Errorf("%s.%s: documentation is not a sentence: %q", table.Name, c.Name, c.Doc)
			}
		}
	}
}

func TestProtoFile(t *testing.T) {
	want := Proto()
	if *update {
		if err := os.WriteFile("event.proto", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("event.proto")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("event.proto is not what the columns say; run go test -update (-want +got):\n%s", diff)
	}
}

// TestWireIsProtobuf decodes our bytes with the protobuf library and the
// published schema, and encodes with the library for us to decode.
func TestWireIsProtobuf(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"event.proto": Proto()}),
	}}
	files, err := compiler.Compile(context.Background(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	desc := files[0].Messages().ByName("Event")
	msg := dynamicpb.NewMessage(desc)
	want := full()
	if err := proto.Unmarshal(want.AppendProto(nil), msg); err != nil {
		t.Fatal(err)
	}
	if len(msg.GetUnknown()) > 0 {
		t.Errorf("the schema does not know %d bytes of our encoding", len(msg.GetUnknown()))
	}
	if got := msg.Get(desc.Fields().ByName("tls_version")).String(); got != want.TlsVersion {
		t.Errorf("tls_version = %q, want %q", got, want.TlsVersion)
	}
	if got := msg.Get(desc.Fields().ByName("time_generated")).Int(); got != Ticks(want.TimeGenerated) {
		t.Errorf("time_generated = %d, want %d", got, Ticks(want.TimeGenerated))
	}
	set := 0
	msg.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { set++; return true })
	if set != len(Connections) {
		t.Errorf("%d fields set, want %d", set, len(Connections))
	}
	theirs, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	var got Event
	if err := got.UnmarshalProto(theirs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Errorf("through the protobuf library (-want +got):\n%s", diff)
	}
}

// TestMetricIsProtobuf: samples are what the schema says, for the protobuf
// library too.
func TestMetricIsProtobuf(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"event.proto": Proto()}),
	}}
	files, err := compiler.Compile(context.Background(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	want := Metric{
		TimeGenerated: time.Date(2026, 11, 23, 1, 2, 0, 0, time.UTC), Hub: "h", Node: "n", MetricName: SuccessfulConnections,
		TlsVersion: "1.3", TlsCipher: "TLS_AES_128_GCM_SHA256", Protocol: Mqtt, ResultType: "401003", Total: 3, Count: 2, Minimum: -1, Maximum: 4,
		Service: "collector", MetricType: "Gauge", UnitName: "Seconds", Stream: "EVENTS", Reason: "time",
	}
	ours := AppendMetric(nil, &want)
	msg := dynamicpb.NewMessage(files[0].Messages().ByName("Metric"))
	if err := proto.Unmarshal(ours[uvarintLen(ours):], msg); err != nil {
		t.Fatal(err)
	}
	if len(msg.GetUnknown()) > 0 {
		t.Error("the schema does not know all of our encoding")
	}
	set := 0
	msg.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { set++; return true })
	if want := len(metricColumns()); set != want {
		t.Errorf("%d fields set, want %d", set, want)
	}
	theirs, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	two := append(binary.AppendUvarint(ours, uint64(len(theirs))), theirs...)
	_, rest, err := CutMetric(two)
	if err != nil {
		t.Fatal(err)
	}
	got, rest, err := CutMetric(rest)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("through the protobuf library (-want +got):\n%s", diff)
	}
	for n := range ours {
		if m, _, err := CutMetric(ours[:n]); err == nil {
			t.Errorf("%d of %d bytes are a metric: %+v", n, len(ours), m)
		}
	}
}

// TestChangeIsProtobuf: so are changes.
func TestChangeIsProtobuf(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"event.proto": Proto()}),
	}}
	files, err := compiler.Compile(context.Background(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	want := Change{
		TimeGenerated: time.Date(2026, 11, 23, 1, 2, 3, 400, time.UTC), Hub: "plant", OperationName: "Microsoft.Devices/IotHubs/Write", Action: "Update",
		Actor: "iothubowner", ActorType: "policy", MaskedIpAddress: "10.0.0.XXX", Target: "plant", Changes: `{"minTlsVersion":{"before":"1.0","after":"1.2"}}`,
		ResultType: "PreconditionFailed", ResultDescription: "it has changed", Node: "n",
	}
	ours := AppendChange(nil, &want)
	msg := dynamicpb.NewMessage(files[0].Messages().ByName("Change"))
	if err := proto.Unmarshal(ours[uvarintLen(ours):], msg); err != nil {
		t.Fatal(err)
	}
	set := 0
	msg.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { set++; return true })
	if len(msg.GetUnknown()) > 0 || set != len(Audit) {
		t.Errorf("%d fields set, want %d, and %d unknown bytes", set, len(Audit), len(msg.GetUnknown()))
	}
	theirs, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	two := append(binary.AppendUvarint(ours, uint64(len(theirs))), theirs...)
	first, rest, err := CutChange(two)
	if diff := cmp.Diff(want, first); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	second, rest, err := CutChange(rest)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("through the protobuf library (-want +got):\n%s", diff)
	}
	for n := range ours {
		if c, _, err := CutChange(ours[:n]); err == nil {
			t.Errorf("%d of %d bytes are a change: %+v", n, len(ours), c)
		}
	}
}

// uvarintLen is the length of the length that b begins with.
func uvarintLen(b []byte) int {
	_, n := binary.Uvarint(b)
	return n
}

func TestEventsRoundTrip(t *testing.T) {
	small, big := &Event{Hub: "h", TimeGenerated: time.Unix(1, 100)}, full()
	big.ResultDescription = strings.Repeat("long ", 9000)
	var msg []byte
	want := []*Event{small, full(), big, small}
	for _, e := range want {
		msg = AppendEvent(msg, e)
	}
	n := 0
	it := EventsOf(msg)
	for ; it.Next(); n++ {
		var got Event
		if err := got.UnmarshalProto(it.Event()); err != nil {
			t.Fatal(err)
		}
		if !got.TimeGenerated.Equal(want[n].TimeGenerated) || got.ResultDescription != want[n].ResultDescription {
			t.Errorf("event %d differs", n)
		}
	}
	if it.Err() != nil || n != len(want) {
		t.Errorf("read %d events, error %v; want %d", n, it.Err(), len(want))
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	b := (&Event{Hub: "h"}).AppendProto(nil)
	b = protowire.AppendTag(b, 4000, protowire.BytesType)
	b = protowire.AppendString(b, "of a later version")
	var e Event
	if err := e.UnmarshalProto(b); err != nil || e.Hub != "h" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestBadMessages(t *testing.T) {
	tests := []struct {
		name string
		msg  []byte
		want string
	}{
		{"cut length", []byte{0x80}, "ends inside"},
		{"cut event", []byte{5, 1, 2}, "ends inside"},
		{"cut field", []byte{2, 0x12, 9}, "Hub"},
		{"wrong type", []byte{2, 0x10, 9}, "wire type"},
		{"short guid", []byte{3, 0x22, 1, 9}, "want 16"},
		{"time out of range", append([]byte{9, 0x09}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "outside"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var err error
			it := EventsOf(test.msg)
			for err == nil && it.Next() {
				err = new(Event).UnmarshalProto(it.Event())
			}
			if err == nil {
				err = it.Err()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	var e Event
	err := json.Unmarshal([]byte(`{"TimeGenerated":"2026-11-23T01:02:03.1234567Z","Hub":"h","ConnectionId":"01020300-0000-0000-0000-000000000009",
		"OfferedVersions":["1.3","1.2"],"BytesIn":9007199254740993,"WouldFailStrict":true,"DeviceId":null}`), &e)
	if err != nil {
		t.Fatal(err)
	}
	want := Event{TimeGenerated: time.Date(2026, 11, 23, 1, 2, 3, 123456700, time.UTC), Hub: "h", ConnectionId: [16]byte{1, 2, 3, 15: 9},
		OfferedVersions: []string{"1.3", "1.2"}, BytesIn: 9007199254740993, WouldFailStrict: true}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{
		`{"TlsVersoin":"1.0"}`: "TlsVersoin", `{"BytesIn":"x"}`: "BytesIn", `{"ConnectionId":"x"}`: "guid",
		`{"TimeGenerated":"1066-10-14T00:00:00Z"}`: "1900",
	} {
		if err := json.Unmarshal([]byte(text), &e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func TestConnectionIDs(t *testing.T) {
	g, now := NewConnectionIDs(), time.Now()
	a, b := g.Next(now), g.Next(now)
	if bytes.Compare(a[:], b[:]) >= 0 {
		t.Errorf("ids do not rise: %x, %x", a, b)
	}
	if a[6]>>4 != 7 || a[8]>>6 != 2 {
		t.Errorf("%x is not a UUIDv7", a)
	}
	if other := NewConnectionIDs().Next(now); other == a {
		t.Errorf("two generators made %x", a)
	}
}

func TestCertID(t *testing.T) {
	if got := CertID([]byte("00000000000000ff" + strings.Repeat("0", 48))); got != 255 {
		t.Errorf("CertID = %d, want 255", got)
	}
	if CertID(nil) != 0 || CertID([]byte("not hex, but long enough")) == 0 {
		t.Error("only no certificate is 0")
	}
}

// FuzzFields: decoding never panics, and what decodes survives a round trip.
func FuzzFields(f *testing.F) {
	f.Add(full().AppendProto(nil))
	f.Add([]byte{0x12, 1, 'h'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Event
		if e.UnmarshalProto(b) != nil {
			return
		}
		if err := again.UnmarshalProto(e.AppendProto(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	})
}

// What does one event cost to encode on the hub?
func BenchmarkAppendEvent(b *testing.B) {
	e, buf := full(), make([]byte, 0, 1<<16)
	for b.Loop() {
		buf = AppendEvent(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}

// What does walking one event's fields cost the collector, before it stores them?
func BenchmarkFields(b *testing.B) {
	buf := full().AppendProto(nil)
	n := 0
	for b.Loop() {
		if err := Fields(buf, func(*Column, int64, []byte) { n++ }); err != nil {
			b.Fatal(err)
		}
	}
	_ = fmt.Sprint(n)
}
