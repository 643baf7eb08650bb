package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hubscope/query/client"
)

// Admission bounds what clients may ask for at once. A client is a token or
// certificate, or an address where no token is asked for. A negative number is
// no bound, zero that of DefaultAdmission.
type Admission struct {
	// Queries run at once, of all clients and of one. What comes on top waits
	// its turn.
	Queries, QueriesPerClient int
	// Queue is how many may wait, and QueueWait how long one does. A query
	// beyond either is refused with 429.
	Queue     int
	QueueWait time.Duration
	// Rate is the number of requests a second that one client may make, and
	// Burst how many at once after a pause.
	Rate  float64
	Burst int
}

// DefaultAdmission is what the zero fields of an Admission mean.
func DefaultAdmission() Admission {
	return Admission{Queries: 16, QueriesPerClient: 8, Queue: 200, QueueWait: 30 * time.Second, Rate: 500, Burst: 1000}
}

// withDefaults fills the zero fields.
func (a Admission) withDefaults() Admission {
	d := DefaultAdmission()
	return Admission{cmp.Or(a.Queries, d.Queries), cmp.Or(a.QueriesPerClient, d.QueriesPerClient), cmp.Or(a.Queue, d.Queue),
		cmp.Or(a.QueueWait, d.QueueWait), cmp.Or(a.Rate, d.Rate), cmp.Or(a.Burst, d.Burst)}
}

// gate lets queries in, some at once, the rest in the order they came.
type gate struct {
	limits Admission

	mu      sync.Mutex
	running int
	clients map[string]int // running, by client
	queue   []*waiting
}

// waiting is a query in the queue.
type waiting struct {
	client string
	turn   chan struct{} // closed when it may run
}

func newGate(limits Admission) *gate {
	return &gate{limits: limits, clients: map[string]int{}}
}

// free says whether a query of this client may run now.
func (g *gate) free(client string) bool {
	return (g.limits.Queries < 0 || g.running < g.limits.Queries) &&
		(g.limits.QueriesPerClient < 0 || g.clients[client] < g.limits.QueriesPerClient)
}

func (g *gate) take(client string) {
	g.running++
	g.clients[client]++
}

// enter waits until a query may run. leave must be called behind it.
func (g *gate) enter(ctx context.Context, client string) (leave func(), err error) {
	g.mu.Lock()
	if g.free(client) {
		// Nobody in the queue is passed who could run: whoever can has been let in.
		g.take(client)
		g.mu.Unlock()
		return g.leaver(client), nil
	}
	if g.limits.Queue >= 0 && len(g.queue) >= g.limits.Queue {
		n := len(g.queue)
		g.mu.Unlock()
		return nil, throttled(time.Second, "%d queries are waiting already; try again in a moment", n)
	}
	w := &waiting{client, make(chan struct{})}
	g.queue = append(g.queue, w)
	g.mu.Unlock()

	var late <-chan time.Time
	if g.limits.QueueWait > 0 {
		t := time.NewTimer(g.limits.QueueWait)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-w.turn:
		return g.leaver(client), nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-late:
		err = throttled(5*time.Second, "no other query ended within %v; try again later", g.limits.QueueWait)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.queue {
		if other == w {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			return nil, err
		}
	}
	// Its turn came at the same moment.
	g.release(client)
	return nil, err
}

func (g *gate) leaver(client string) func() {
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.release(client)
	})
}

// release ends a query and lets in whoever is next; g.mu is held.
func (g *gate) release(client string) {
	g.running--
	if g.clients[client]--; g.clients[client] == 0 {
		delete(g.clients, client)
	}
	kept := g.queue[:0]
	for _, w := range g.queue {
		if g.free(w.client) {
			g.take(w.client)
			close(w.turn)
			continue
		}
		kept = append(kept, w)
	}
	clear(g.queue[len(kept):])
	g.queue = kept
}

// counts returns how many queries run and wait.
func (g *gate) counts() (running, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running, len(g.queue)
}

// pacer bounds the rate of each client's requests.
type pacer struct {
	limits Admission

	mu      sync.Mutex
	clients map[string]*pace
	swept   time.Time
}

type pace struct {
	limiter *rate.Limiter
	last    time.Time
}

func newPacer(limits Admission) *pacer {
	return &pacer{limits: limits, clients: map[string]*pace{}}
}

// admit counts a request; the error says when the client may make the next one.
func (p *pacer) admit(client string, now time.Time) error {
	if p.limits.Rate < 0 || p.limits.Burst < 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Who has not asked for as long as the burst takes to fill has it anew.
	full := time.Duration(float64(p.limits.Burst) / p.limits.Rate * float64(time.Second))
	if now.Sub(p.swept) > full {
		p.swept = now
		for name, c := range p.clients {
			if now.Sub(c.last) > full {
				delete(p.clients, name)
			}
		}
	}
	c := p.clients[client]
	if c == nil {
		c = &pace{limiter: rate.NewLimiter(rate.Limit(p.limits.Rate), p.limits.Burst)}
		p.clients[client] = c
	}
	c.last = now
	r := c.limiter.ReserveN(now, 1)
	if delay := r.DelayFrom(now); delay > 0 {
		r.CancelAt(now)
		return throttled(delay, "more than %g requests a second", p.limits.Rate)
	}
	return nil
}

// throttled is the error of a request that comes too soon.
func throttled(after time.Duration, format string, args ...any) error {
	return &statusError{status: http.StatusTooManyRequests, retry: after, body: client.ErrorResponse{Error: &client.Error{
		Code: client.CodeThrottled, Message: fmt.Sprintf(format, args...)}}}
}

// retryAfter is the header of that name.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(int(math.Ceil(d.Seconds())), 1))
}

// clientKey tells clients apart for limits.
func clientKey(r *http.Request) string {
	if id := identity(r.Context()); id.Name != localName {
		return "token " + id.Name
	}
	return clientAddress(r)
}

// clientAddress is the address that a request came from, without the port.
func clientAddress(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}
