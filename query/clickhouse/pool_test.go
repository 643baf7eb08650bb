package clickhouse

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"hubscope/query"
	"hubscope/query/plan"
)

// relay stands between a runner and the engine, so that a test can take the
// engine away and bring it back.
type relay struct {
	t    *testing.T
	addr string // of the relay
	to   string // the engine's

	mu    sync.Mutex
	l     net.Listener
	conns []net.Conn
	taken int // connections
}

func newRelay(t *testing.T, to string) *relay {
	r := &relay{t: t, to: to, addr: "127.0.0.1:0"}
	r.open()
	t.Cleanup(r.cut)
	return r
}

// open takes connections.
func (r *relay) open() {
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.l, r.addr = l, l.Addr().String()
	r.mu.Unlock()
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", r.to)
			if err != nil {
				from.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, from, to)
			r.taken++
			r.mu.Unlock()
			go func() { io.Copy(to, from); to.Close() }()   //nolint:errcheck // it ends when either end does
			go func() { io.Copy(from, to); from.Close() }() //nolint:errcheck // likewise
		}
	}()
}

// cut closes what is open, and takes nothing more.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.l.Close()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// relayed returns a runner that reaches the engine through a relay.
func relayed(t *testing.T) (*Runner, *relay) {
	t.Helper()
	open(t, true)
	relay := newRelay(t, engine.Addr)
	dsn, err := url.Parse(engine.ReaderDSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn.Host = relay.addr
	r, err := Open(t.Context(), Config{DSN: dsn.String(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, relay
}

var number = query.Column{Name: "n", Type: plan.Long}

// askAtOnce runs n queries at the same time; all must be answered.
func askAtOnce(t *testing.T, r *Runner, what string, n int) {
	t.Helper()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			got, err := all(r.Run(t.Context(), statement(fmt.Sprintf("SELECT toInt64(sum(number)) + %d FROM numbers(1000)", i), number)))
			if err != nil || len(got) != 1 || got[0][0] != fmt.Sprint(499500+i) {
				t.Errorf("%s: query %d: %v, %v", what, i, got, err)
			}
		})
	}
	group.Wait()
}

// TestManyAtOnce asks more than there are connections, also after the engine was
// started anew, when every connection is one to the engine before.
func TestManyAtOnce(t *testing.T) {
	r, relay := relayed(t)
	askAtOnce(t, r, "first", 40)
	for _, what := range []string{"again", "and again"} {
		before := relay.connections()
		relay.cut()
		relay.open()
		askAtOnce(t, r, what, 40)
		if n := relay.connections(); n == before {
			t.Errorf("%s: no new connection", what)
		}
	}
}

// TestIdleConnection: a connection that nobody has used for a while is looked at
// before a query goes out on it.
func TestIdleConnection(t *testing.T) {
	r, relay := relayed(t)
	conn, err := r.pool.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	relay.cut()
	if r.pool.answers(t.Context(), conn) {
		// It has been used a moment ago: wait until it is not trusted blindly.
		for conn.IdleDuration() < askedAfter {
			time.Sleep(10 * time.Millisecond)
		}
		if r.pool.answers(t.Context(), conn) {
			t.Error("a connection that was cut answers")
		}
	}
	conn.Destroy()
}

// TestEngineGone: while the engine is being started again queries wait for it;
// when that takes too long they say so, and work as soon as it is there.
func TestEngineGone(t *testing.T) {
	r, relay := relayed(t)
	r.pool.patience = 20 * time.Millisecond
	askAtOnce(t, r, "first", 4)
	relay.cut()
	for range 3 {
		_, err := all(r.Run(t.Context(), statement("SELECT toInt64(1)", number)))
		if code(err) != query.CodeUnavailable {
			t.Errorf("without an engine: %v", err)
		}
	}
	s := statement("SELECT toInt64(1)", number)
	s.Limits.Time = time.Minute
	relay.open()
	askAtOnce(t, r, "with the engine again", 8)

	relay.cut()
	r.pool.patience = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := all(r.Run(ctx, s))
		done <- err
	}()
	for deadline := time.Now().Add(20 * time.Second); r.pool.gone.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody has noticed that the engine is gone")
		}
	}
	// Who waits for it can still leave.
	cancel()
	if err := <-done; code(err) != query.CodeCanceled {
		t.Errorf("cancelled while it waits: %v", err)
	}
	go func() {
		_, err := all(r.Run(t.Context(), s))
		done <- err
	}()
	relay.open()
	if err := <-done; err != nil {
		t.Errorf("after a wait: %v", err)
	}
}
