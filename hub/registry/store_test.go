package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/deploy/embed"
)

// patience bounds what a test waits for; it is no measure of speed.
const patience = time.Minute

// startNATS runs a server and returns a connection to it.
func startNATS(t *testing.T, dir string, port int) (*embed.NATS, *nats.Conn) {
	t.Helper()
	server, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: dir, Port: port, Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	conn, err := nats.Connect(server.URL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return server, conn
}

func natsStore(t *testing.T) Store {
	t.Helper()
	_, conn := startNATS(t, t.TempDir(), 0)
	s, err := OpenNATS(t.Context(), conn, NATSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachStore runs a test against both stores.
func eachStore(t *testing.T, test func(*testing.T, Store)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemory()) })
	t.Run("nats", func(t *testing.T) { test(t, natsStore(t)) })
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantError(t *testing.T, want, got error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error is %v, want %v", got, want)
	}
}

// oddID has every character that Azure allows in a device id.
const oddID = "aZ09-.%_*?!(),:=@$'"

func TestStoreCompareAndSet(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		key := Key{Hub: "demo", ID: oddID}
		_, err := s.Get(ctx, KindDevice, key)
		wantError(t, ErrNotFound, err)
		_, err = s.Update(ctx, KindDevice, key, []byte("x"), 1)
		wantError(t, ErrConflict, err)
		wantError(t, ErrNotFound, s.Delete(ctx, KindDevice, key, 1))

		r1 := must(s.Create(ctx, KindDevice, key, []byte("one")))(t)
		_, err = s.Create(ctx, KindDevice, key, []byte("again"))
		wantError(t, ErrExists, err)
		rec := must(s.Get(ctx, KindDevice, key))(t)
		if diff := cmp.Diff(Record{Kind: KindDevice, Key: key, Value: []byte("one"), Revision: r1}, rec); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		_, err = s.Get(ctx, KindCA, key)
		wantError(t, ErrNotFound, err)

		r2 := must(s.Update(ctx, KindDevice, key, []byte("two"), r1))(t)
		if r2 <= r1 {
			t.Errorf("revision went from %d to %d", r1, r2)
		}
		_, err = s.Update(ctx, KindDevice, key, []byte("late"), r1)
		wantError(t, ErrConflict, err)
		wantError(t, ErrConflict, s.Delete(ctx, KindDevice, key, r1))

		if err := s.Delete(ctx, KindDevice, key, r2); err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(ctx, KindDevice, key)
		wantError(t, ErrNotFound, err)
		wantError(t, ErrNotFound, s.Delete(ctx, KindDevice, key, r2))
		r3 := must(s.Create(ctx, KindDevice, key, []byte("three")))(t)
		if r3 <= r2 {
			t.Errorf("revision went from %d to %d", r2, r3)
		}
	})
}

func TestStoreList(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		if list := must(s.List(ctx, KindDevice, "demo", 0, 10))(t); len(list) != 0 {
			t.Errorf("an empty store lists %v", list)
		}
		const n = 1203 // more than one fetch
		var want []string
		for i := range n {
			id := fmt.Sprintf("d.%d*", i)
			must(s.Create(ctx, KindDevice, Key{"demo", id}, []byte("x")))(t)
			want = append(want, id)
		}
		must(s.Create(ctx, KindDevice, Key{"demo2", "other"}, []byte("x")))(t)
		must(s.Create(ctx, KindHub, Key{Hub: "demo"}, []byte("x")))(t)
		gone := must(s.Get(ctx, KindDevice, Key{"demo", "d.7*"}))(t)
		if err := s.Delete(ctx, KindDevice, gone.Key, gone.Revision); err != nil {
			t.Fatal(err)
		}
		want = slices.Delete(want, 7, 8)

		for _, limit := range []int{100, 1000, 5000} {
			var got []string
			for after := uint64(0); ; {
				page := must(s.List(ctx, KindDevice, "demo", after, limit))(t)
				if len(page) > limit {
					t.Fatalf("asked for %d records, got %d", limit, len(page))
				}
				if len(page) == 0 {
					break
				}
				for _, r := range page {
					got = append(got, r.Key.ID)
				}
				after = page[len(page)-1].Revision
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
			}
		}
		if list := must(s.List(ctx, KindDevice, "", 0, 5000))(t); len(list) != n {
			t.Errorf("all hubs have %d devices, want %d", len(list), n)
		}
		if list := must(s.List(ctx, KindHub, "", 0, 10))(t); len(list) != 1 || list[0].Key.Hub != "demo" {
			t.Errorf("hubs are %v", list)
		}
	})
}

// next waits for the next event.
func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the watch has ended")
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event came")
	}
	panic("unreachable")
}

func TestStoreWatch(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		key := Key{Hub: "demo", ID: oddID}
		must(s.Create(ctx, KindDevice, Key{"demo", "before"}, []byte("x")))(t)
		events := must(s.Watch(ctx))(t)
		if e := next(t, events); !e.Sync {
			t.Fatalf("first event is %v, want a Sync", e)
		}
		// Each change is awaited: of two in a row the first may be left out.
		var got []Event
		r1 := must(s.Create(ctx, KindDevice, key, []byte("one")))(t)
		got = append(got, next(t, events))
		r2 := must(s.Update(ctx, KindDevice, key, []byte("two"), r1))(t)
		got = append(got, next(t, events))
		if err := s.Delete(ctx, KindDevice, key, r2); err != nil {
			t.Fatal(err)
		}
		got = append(got, next(t, events))
		if got[2].Record.Revision <= r2 {
			t.Errorf("the deletion has revision %d", got[2].Record.Revision)
		}
		got[2].Record.Revision = 0
		want := []Event{
			{Record: Record{Kind: KindDevice, Key: key, Value: []byte("one"), Revision: r1}},
			{Record: Record{Kind: KindDevice, Key: key, Value: []byte("two"), Revision: r2}},
			{Record: Record{Kind: KindDevice, Key: key, Deleted: true}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// Every kind is watched.
		for _, kind := range []Kind{KindHub, KindCA, KindCRL} {
			must(s.Create(ctx, kind, key, []byte("x")))(t)
			if e := next(t, events); e.Record.Kind != kind {
				t.Errorf("event is %v, want one of kind %s", e, kind)
			}
		}
		cancel()
		for range events {
		}
	})
}

func TestStoreNotices(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		short, stopShort := context.WithTimeout(ctx, 10*time.Millisecond)
		defer stopShort()
		if _, err := s.Ask(short, []byte("anybody?")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("asked nobody: %v", err)
		}
		heard := make(chan string, 10)
		stop, err := s.Listen(func(notice []byte, answer func([]byte)) {
			heard <- string(notice)
			go answer([]byte("to " + string(notice)))
		})
		if err != nil {
			t.Fatal(err)
		}
		stop2, err := s.Listen(func([]byte, func([]byte)) {}) // has nothing to say
		if err != nil {
			t.Fatal(err)
		}
		defer stop2()
		if err := s.Tell([]byte("one")); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != "one" {
			t.Errorf("heard %q", got)
		}
		if got, err := s.Ask(ctx, []byte("two")); err != nil || string(got) != "to two" {
			t.Errorf("answer %q, %v", got, err)
		}
		<-heard
		stop()
		short, stopShort = context.WithTimeout(ctx, 50*time.Millisecond)
		defer stopShort()
		if got, err := s.Ask(short, []byte("three")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("answer %q, %v after the end", got, err)
		}
	})
}

func TestStoreLargeValue(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := must(s.Watch(ctx))(t)
		next(t, events)
		key := Key{Hub: "demo", ID: "ca"}
		large := bytes.Repeat([]byte("0123456789abcdef"), 200<<10) // 3.2 MB
		r1 := must(s.Create(ctx, KindCRL, key, large))(t)
		if e := next(t, events); !bytes.Equal(e.Record.Value, large) {
			t.Errorf("the event has %d bytes", len(e.Record.Value))
		}
		if list := must(s.List(ctx, KindCRL, "demo", 0, 10))(t); len(list) != 1 || !bytes.Equal(list[0].Value, large) {
			t.Error("the list does not have the value")
		}
		larger := append(large, large...)
		r2 := must(s.Update(ctx, KindCRL, key, larger, r1))(t)
		if rec := must(s.Get(ctx, KindCRL, key))(t); !bytes.Equal(rec.Value, larger) {
			t.Errorf("the record has %d bytes", len(rec.Value))
		}
		if e := next(t, events); !bytes.Equal(e.Record.Value, larger) {
			t.Errorf("the event has %d bytes", len(e.Record.Value))
		}
		_, err := s.Update(ctx, KindCRL, key, large, r1)
		wantError(t, ErrConflict, err)
		if err := s.Delete(ctx, KindCRL, key, r2); err != nil {
			t.Fatal(err)
		}
		h1 := must(s.Create(ctx, KindHub, Key{Hub: "demo"}, large))(t)
		h2 := must(s.Update(ctx, KindHub, Key{Hub: "demo"}, larger, h1))(t)
		must(s.Update(ctx, KindHub, Key{Hub: "demo"}, []byte("small"), h2))(t)
		// Nothing stays behind in the object store.
		if n, ok := s.(*NATS); ok {
			objects, err := n.blobs.List(ctx)
			if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) || len(objects) > 0 {
				t.Errorf("%d objects stay behind (%v)", len(objects), err)
			}
		}
	})
}

func TestKeyEncoding(t *testing.T) {
	for _, k := range []Key{{"demo", ""}, {"demo", oddID}, {"a-b", "..."}, {"h", "$KV.>.*"}, {"h", strings.Repeat("%", 128)}} {
		s := encodeKey(k)
		if strings.Trim(strings.Replace(s, ".", "", 1), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=-_") != "" {
			t.Errorf("%v is encoded as %q", k, s)
		}
		if got := must(decodeKey(s))(t); got != k {
			t.Errorf("%v came back as %v", k, got)
		}
	}
	for _, s := range []string{"a.=", "a.=4", "a.=ZZ", "=.b"} {
		if k, err := decodeKey(s); err == nil {
			t.Errorf("%q was decoded to %v", s, k)
		}
	}
}

// TestWatchOutlivesServer stops the NATS server and starts it again: the watch
// must say that it may have missed something, and go on.
func TestWatchOutlivesServer(t *testing.T) {
	dir := t.TempDir()
	server, conn := startNATS(t, dir, 0)
	s := must(OpenNATS(t.Context(), conn, NATSConfig{}))(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := must(s.Watch(ctx))(t)
	next(t, events)

	port := portOf(t, conn)
	server.Close()
	second, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: dir, Port: port, Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	if e := next(t, events); !e.Sync {
		t.Fatalf("event is %v, want a Sync", e)
	}
	must(s.Create(ctx, KindHub, Key{Hub: "demo"}, []byte("x")))(t)
	for {
		if e := next(t, events); e.Record.Key.Hub == "demo" {
			break
		}
	}
}

func portOf(t *testing.T, conn *nats.Conn) int {
	t.Helper()
	addr, err := netip.ParseAddrPort(conn.ConnectedAddr())
	if err != nil {
		t.Fatal(err)
	}
	return int(addr.Port())
}
