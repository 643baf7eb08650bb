package collector

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// TestAudit: changes that a hub publishes, many in a message, and one that a
// command publishes, are rows of table Audit, each once, whatever comes beside.
func TestAudit(t *testing.T) {
	n := startNATS(t)
	s := newStore(t, startEngine(t), "audit")
	c, err := New(testConfig(n.URL, s.Store), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.Run)
	select {
	case <-c.Ready():
	case <-time.After(time.Minute):
		t.Fatal("the collector is not ready")
	}
	p := startPublisher(t, n.URL, "a")
	const devices = 600
	at := time.Now().UTC().Truncate(time.Second)
	for i := range devices {
		p.PublishChange(&ingest.Change{
			TimeGenerated: at, Hub: "plant", OperationName: "Microsoft.Devices/IotHubs/devices/Write", Action: "Create", Actor: "iothubowner",
			ActorType: "policy", MaskedIpAddress: "10.0.0.XXX", Target: fmt.Sprint("d", i), Changes: `{"status":{"after":"enabled"}}`, ResultType: "Success", Node: "a",
		})
		p.Publish(event(i))
	}
	policy := ingest.Change{TimeGenerated: at.Add(time.Second), Hub: "plant", OperationName: "Microsoft.Devices/IotHubs/Write", Action: "Update", Actor: "root",
		ActorType: "command", Target: "plant", Changes: `{"minTlsVersion":{"before":"1.0","after":"1.2"}}`, ResultType: "Success", Node: "b"}
	if err := stream.PublishChange(t.Context(), connect(t, n.URL), &policy); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are stored", func() bool {
		return s.number("SELECT count() FROM audit.Audit") == devices+1 && s.number("SELECT count() FROM audit.Connections") == devices
	})
	if n := s.number("SELECT uniqExact(Target) FROM audit.Audit WHERE Action = 'Create' AND ActorType = 'policy'"); n != devices {
		t.Errorf("%d devices, want %d", n, devices)
	}
	if n := c.Status()[0].Letters; n != 0 {
		t.Errorf("%d dead letters", n)
	}
	got := ingest.Change{}
	if err := s.conn.QueryRow(context.Background(), `SELECT TimeGenerated, Hub, OperationName, Action, Actor, ActorType, MaskedIpAddress, Target, Changes, ResultType, ResultDescription, Node
		FROM audit.Audit WHERE OperationName = 'Microsoft.Devices/IotHubs/Write'`).Scan(&got.TimeGenerated, &got.Hub, &got.OperationName, &got.Action, &got.Actor,
		&got.ActorType, &got.MaskedIpAddress, &got.Target, &got.Changes, &got.ResultType, &got.ResultDescription, &got.Node); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(policy, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBadChanges go to the dead letters, and the good ones beside them do not.
func TestBadChanges(t *testing.T) {
	good := ingest.Change{TimeGenerated: time.Now(), Hub: "plant", OperationName: "w", Changes: "{}"}
	bare, text, old := good, good, good
	bare.Hub = ""
	text.Changes = "{"
	old.TimeGenerated = time.Now().AddDate(-9, 0, 0)
	for _, tt := range []struct {
		change ingest.Change
		kind   string
	}{{bare, flawIncomplete}, {text, flawMalformed}, {old, flawTime}} {
		b := testBlock()
		b.add(message(ingest.ContentTypeAudit, ingest.AppendChange(ingest.AppendChange(nil, &tt.change), &good)))
		if b.changes.rows != 1 || len(b.letters) != 1 || b.letters[0].kind != tt.kind {
			t.Errorf("%+v: %d rows, letters %+v; want kind %s", tt.change, b.changes.rows, b.letters, tt.kind)
		}
		rest, _, err := ingest.CutChange(b.letters[0].bad)
		if diff := cmp.Diff(tt.change.Target, rest.Target); diff != "" || err != nil {
			t.Errorf("the letter is not the bad change: %v %s", err, diff)
		}
	}
}

// TestKindsOfFlaws: what a dead letter is counted for.
func TestKindsOfFlaws(t *testing.T) {
	old := event(1)
	old.TimeGenerated = time.Now().AddDate(-9, 0, 0)
	bare := event(1)
	bare.Hub = ""
	var batch ingest.Batch
	for _, e := range []*ingest.Event{old, event(1), bare, event(2)} {
		batch.Add(e)
	}
	for _, tt := range []struct {
		kind, media string
		body        []byte
		events      int
	}{
		{flawContentType, "text/plain", []byte("hello"), 7},
		{flawMalformed, ingest.ContentType, []byte("hello"), 1},
		{flawMalformed, ingest.ContentTypeBatch, []byte("hello"), 7},
		{flawMalformed, ingest.ContentTypeJSON, []byte("{"), 1},
		{flawIncomplete, ingest.ContentType, ingest.AppendEvent(ingest.AppendEvent(nil, event(1)), bare), 1},
		{flawIncomplete, ingest.ContentTypeJSON, []byte("{} {}"), 2},
		{flawTime, ingest.ContentType, ingest.AppendEvent(nil, old), 1},
		{flawTime, ingest.ContentTypeBatch, batch.AppendTo(nil), 2}, // the first one's kind
	} {
		b := testBlock()
		m := message(tt.media, tt.body)
		m.Header.Set("Hubscope-Events", "7")
		b.add(m)
		if len(b.letters) != 1 || b.letters[0].kind != tt.kind || b.letters[0].events != tt.events {
			t.Errorf("%s %q: letters %+v, want %d events of kind %s", tt.media, tt.body, b.letters, tt.events, tt.kind)
		}
	}
	b := testBlock()
	m := message(ingest.ContentType, []byte("x"))
	m.Header.Set("Content-Encoding", "gzip")
	b.add(m)
	if len(b.letters) != 1 || b.letters[0].kind != flawEncoding {
		t.Errorf("letters %+v, want kind %s", b.letters, flawEncoding)
	}
}
