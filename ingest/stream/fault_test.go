package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hubscope/deploy/embed"
	"hubscope/ingest"
)

// proxy stands between a client and the server and can swallow what the server
// says: published messages are stored and their acknowledgements lost.
type proxy struct {
	URL  string
	mute atomic.Bool
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	p := &proxy{URL: u.String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				io.Copy(out, in)
				out.Close()
			}()
			go func() {
				defer in.Close()
				buf := make([]byte, 32<<10)
				for {
					n, err := out.Read(buf)
					if err != nil {
						return
					}
					if !p.mute.Load() {
						if _, err := in.Write(buf[:n]); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return p
}

// restartable is a NATS server on a fixed port and folder.
type restartable struct {
	t   *testing.T
	cfg embed.NATSConfig
	*embed.NATS
}

func startRestartable(t *testing.T) *restartable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	r := &restartable{t: t, cfg: embed.NATSConfig{Dir: t.TempDir(), Port: port, Password: "secret"}}
	r.start()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *restartable) start() {
	r.t.Helper()
	n, err := embed.StartNATS(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.NATS = n
}

func TestBrokerAwayAndBack(t *testing.T) {
	n := startRestartable(t)
	cfg := config("a")
	cfg.Spool = t.TempDir()
	p := startPublisher(t, connect(t, n.URL), cfg)
	for i := range 1000 {
		p.Publish(event(i))
	}
	eventually(t, "the first are acknowledged", func() bool { return p.Status().Acked == 1000 })
	n.Close()
	for i := 1000; i < 5000; i++ {
		p.Publish(event(i))
	}
	eventually(t, "the rest is spooled", func() bool { s := p.Status(); return s.Spooled > 0 && s.QueuedBytes == 0 })
	n.start()
	eventually(t, "all are acknowledged", func() bool { s := p.Status(); return s.Acked == 5000 && s.Spooled == 0 })
	checkOnce(t, stored(t, n.URL), 5000)
	if files, _ := filepath.Glob(filepath.Join(cfg.Spool, "*"+spoolSuffix)); len(files) > 0 {
		t.Errorf("spool files remain: %v", files)
	}
}

func TestStopWithoutBrokerSpools(t *testing.T) {
	n := startRestartable(t)
	url := n.URL
	n.Close()
	cfg := config("a")
	cfg.Spool, cfg.DrainTimeout = t.TempDir(), 100*time.Millisecond
	p := startPublisher(t, connect(t, url), cfg)
	for i := range 700 {
		p.Publish(event(i))
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	n.start()
	again := startPublisher(t, connect(t, url), cfg)
	eventually(t, "the spool is sent", func() bool { s := again.Status(); return s.Acked == 700 && s.Spooled == 0 })
	checkOnce(t, stored(t, url), 700)
}

// TestLostAcknowledgements: messages are stored, their acknowledgements lost,
// and the broker has forgotten the ids when they are sent again. They have to
// be found in the stream.
func TestLostAcknowledgements(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	js, err := jetstream.New(connect(t, n.URL))
	if err != nil {
		t.Fatal(err)
	}
	const window = 200 * time.Millisecond
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: EventsStream, Subjects: []string{eventsSubject + ".>"}, Duplicates: window, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	through := startProxy(t, n.URL)
	cfg := config("a")
	cfg.Spool, cfg.DrainTimeout = t.TempDir(), 50*time.Millisecond
	p := startPublisher(t, connect(t, through.URL), cfg)
	for i := range 500 {
		p.Publish(event(i))
	}
	eventually(t, "the first are acknowledged", func() bool { return p.Status().Acked == 500 })
	through.mute.Store(true)
	for i := 500; i < 1500; i++ {
		p.Publish(event(i))
	}
	eventually(t, "the stream has them, the publisher does not know", func() bool {
		s, err := js.Stream(t.Context(), EventsStream)
		return err == nil && len(stored(t, n.URL)) == 1500 && s.CachedInfo().State.Msgs > 0
	})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * window) // the broker's memory of ids is what is waited for
	again := startPublisher(t, connect(t, n.URL), cfg)
	eventually(t, "the spool is settled", func() bool { s := again.Status(); return s.Acked == 1000 && s.Spooled == 0 })
	checkOnce(t, stored(t, n.URL), 1500)
}

func TestFullStreamPushesBack(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	js, err := jetstream.New(connect(t, n.URL))
	if err != nil {
		t.Fatal(err)
	}
	full := jetstream.StreamConfig{Name: EventsStream, Subjects: []string{eventsSubject + ".>"}, Discard: jetstream.DiscardNew, MaxBytes: 16 << 10, AllowDirect: true}
	if _, err := js.CreateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	cfg := config("a")
	cfg.Spool, cfg.Compress = t.TempDir(), false
	p := startPublisher(t, connect(t, n.URL), cfg)
	const total = 5000
	for i := range total {
		p.Publish(event(i))
	}
	eventually(t, "the stream is full, the rest spooled", func() bool {
		s := p.Status()
		return s.Acked > 0 && s.Spooled > 0 && s.Acked < total
	})
	full.MaxBytes = 64 << 20
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are acknowledged", func() bool { return p.Status().Acked == total })
	checkOnce(t, stored(t, n.URL), total)
}

func TestDroppedEventsAreReported(t *testing.T) {
	n := startRestartable(t)
	url := n.URL
	n.Close()
	cfg := config("a")
	cfg.BatchBytes, cfg.QueueBytes, cfg.InFlightBytes = 4<<10, 32<<10, 8<<10
	p := startPublisher(t, connect(t, url), cfg) // no spool
	const total = 3000
	for i := range total {
		p.Publish(event(i))
	}
	dropped := p.Status().Dropped
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	n.start()
	eventually(t, "the rest and the report are acknowledged", func() bool { return p.Status().Acked == total-dropped+1 })
	checkCount(t, stored(t, url), total-int(dropped))
	var reported int64
	for _, e := range operations(t, url, ingest.EventsDropped) {
		reported += e.Messages
	}
	if reported != dropped {
		t.Errorf("reported %d dropped events, want %d", reported, dropped)
	}
}

func checkCount(t *testing.T, got []int, n int) {
	t.Helper()
	seen := map[int]bool{}
	for _, i := range got {
		seen[i] = true
	}
	if len(got) != n || len(seen) != n {
		t.Errorf("%d events, %d distinct, want %d", len(got), len(seen), n)
	}
}

func TestTornSpool(t *testing.T) {
	dir := t.TempDir()
	s, err := openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var ms []*message
	for i := range 3 {
		ms = append(ms, &message{id: fmt.Sprint(i), subject: "s", body: []byte("body"), events: 1, created: time.Now()})
	}
	if n, err := s.put(ms, false); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := openSpool(dir, 1<<20); err == nil {
		t.Error("two processes have the same spool")
	}
	s.close()
	files, err := filepath.Glob(filepath.Join(dir, "*"+spoolSuffix))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-1); err != nil {
		t.Fatal(err)
	}
	s, err = openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	got, err := s.next(1 << 20)
	if err != nil || len(got) != 2 || got[0].id != "0" || !got[1].inherited || s.torn != 1 {
		t.Fatalf("%d messages, %d torn, error %v; want 2 whole ones, inherited", len(got), s.torn, err)
	}
	for _, m := range got {
		s.acked(m)
	}
	if !s.empty() {
		t.Error("an acknowledged spool is not empty")
	}
}

func TestSpoolIsBounded(t *testing.T) {
	s, err := openSpool(t.TempDir(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var ms []*message
	for range 20 {
		ms = append(ms, &message{id: "i", subject: "s", body: make([]byte, 1000), created: time.Now()})
	}
	n, err := s.put(ms, false)
	if !errors.Is(err, errSpoolFull) || n == 0 || n >= 10 || s.bytes > 10_000 {
		t.Errorf("%d messages, %d bytes, error %v; want fewer than 10 messages in 10000 bytes", n, s.bytes, err)
	}
}

// operations returns the events of one operation in the stream.
func operations(t *testing.T, url, name string) []ingest.Event {
	t.Helper()
	js, err := jetstream.New(connect(t, url))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	var out []ingest.Event
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range eventsOf(t, &Message{Header: m.Header, Data: m.Data}) {
			if e.OperationName == name {
				out = append(out, e)
			}
		}
	}
	return out
}

func openSource(t *testing.T, url string) *Source {
	t.Helper()
	cfg := DefaultSourceConfig()
	cfg.Server.URL, cfg.LeaseTTL = url, 3*time.Second
	src, err := OpenSource(cfg, EventsStream, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(src.Close)
	return src
}

// TestSecondCollectorWaitsAndTakesOver: while the first lives the second waits;
// when it releases, or its connection is gone, the second goes on behind it.
func TestSecondCollectorWaitsAndTakesOver(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		t.Run(fmt.Sprintf("orderly=%v", orderly), func(t *testing.T) {
			n := startNATS(t, embed.NATSConfig{})
			one, two := openSource(t, n.URL), openSource(t, n.URL)
			first, err := one.Acquire(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			waiting := make(chan struct{})
			acquired := make(chan *Lease, 1)
			go func() {
				l, err := two.Acquire(context.WithoutCancel(t.Context()), func() { close(waiting) })
				if err != nil {
					t.Error(err)
				}
				acquired <- l
			}()
			<-waiting
			b := Block{First: 1, Last: 7, FirstTime: time.Now(), LastTime: time.Now()}
			if err := first.Begin(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			first.Done(b)
			if orderly {
				if err := first.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				one.Close()
			}
			second := <-acquired
			if second == nil {
				t.Fatal("not acquired")
			}
			if err := second.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFenced: an owner that was overtaken can record nothing more.
func TestFenced(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	one, two := openSource(t, n.URL), openSource(t, n.URL)
	first, err := one.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The owner does not answer: its subscription is gone, the process is not.
	if err := one.alive.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	second, err := two.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Begin(t.Context(), Block{First: 1, Last: 2}); !errors.Is(err, ErrFenced) {
		t.Errorf("Begin of the overtaken owner: %v, want ErrFenced", err)
	}
	if _, err := first.Next(t.Context(), time.Second); !errors.Is(err, ErrFenced) {
		t.Errorf("Next of the overtaken owner: %v, want ErrFenced", err)
	}
	if err := second.Begin(t.Context(), Block{First: 1, Last: 2}); err != nil {
		t.Errorf("Begin of the new owner: %v", err)
	}
}

// TestStreamGoneBack: a power cut without sync takes the end of the stream, and
// its numbers are used for other messages. Those must be read.
func TestStreamGoneBack(t *testing.T) {
	n := startRestartable(t)
	src := openSource(t, n.URL)
	publish := func(from, to int) {
		p := startPublisher(t, connect(t, n.URL), config(fmt.Sprintf("n%d", from)))
		for i := from; i < to; i++ {
			p.Publish(event(i))
		}
		eventually(t, "acknowledged", func() bool { return p.Status().Acked == int64(to-from) })
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := src.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(want int) (tokens []string, got []int) {
		deadline := time.Now().Add(time.Minute)
		for len(got) < want {
			m, err := l.Next(t.Context(), time.Until(deadline))
			if errors.Is(err, ErrRewound) {
				if err := l.Rewind(t.Context()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("after %d events: %v", len(got), err)
			}
			for _, e := range eventsOf(t, m) {
				got = append(got, int(e.Sequence))
			}
			b := Block{First: m.Seq, Last: m.Seq, FirstTime: m.Time, LastTime: m.Time}
			tokens = append(tokens, l.Token(b))
			if err := l.Begin(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			l.Done(b)
		}
		return tokens, got
	}
	publish(0, 1000)
	before, _ := read(1000)
	// The stream's files as they were some messages ago: the last ones go.
	js, err := jetstream.New(connect(t, n.URL))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(n.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	n.start()
	publish(1000, 2000)
	after, got := read(1000)
	checkRange(t, got, 1000, 2000)
	n.Close()
	// Only the events stream goes back; the position's bucket does not.
	old := filepath.Join("jetstream", "$G", "streams", EventsStream)
	if err := os.RemoveAll(filepath.Join(n.cfg.Dir, old)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(n.cfg.Dir, old), os.DirFS(filepath.Join(copied, old))); err != nil {
		t.Fatal(err)
	}
	n.start()
	eventually(t, "the server is back", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.LastSeq == uint64(len(before))
	})
	publish(2000, 3000)
	again, got := read(1000)
	checkRange(t, got, 2000, 3000)
	for _, token := range again {
		for _, used := range append(before, after...) {
			if token == used {
				t.Errorf("token %s is used twice", token)
			}
		}
	}
	if l.Counters().Rewound == 0 {
		t.Error("nobody noticed that the stream has gone back")
	}
}

func checkRange(t *testing.T, got []int, from, to int) {
	t.Helper()
	seen := map[int]bool{}
	for _, i := range got {
		if i < from || i >= to {
			t.Errorf("event %d, want %d to %d", i, from, to-1)
			return
		}
		seen[i] = true
	}
	if len(seen) != to-from || len(got) != to-from {
		t.Errorf("%d events, %d distinct, want %d", len(got), len(seen), to-from)
	}
}

func TestDeadLetterOnce(t *testing.T) {
	n := startNATS(t, embed.NATSConfig{})
	src := openSource(t, n.URL)
	l, err := src.Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Seq: 5, Time: time.Now(), Subject: "hubscope.events.0.x"}
	for range 3 {
		if err := l.DeadLetter(t.Context(), m, "no\nreason", []byte("bad"), false); err != nil {
			t.Fatal(err)
		}
	}
	// One larger than a message may be is cut in parts, and not lost.
	big := &Message{Seq: 6, Time: time.Now()}
	body := make([]byte, int(src.ctl.MaxPayload())+10)
	if err := l.DeadLetter(t.Context(), big, "too big", body, false); err != nil {
		t.Fatal(err)
	}
	s, err := src.ctlJS.Stream(t.Context(), DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != 3 {
		t.Errorf("%d dead letters, want 1 and 2 parts", got)
	}
}
