package clickhouse

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/puddle/v2"
)

// Limits of connections. Those of dialing are wide: a machine with much to do
// takes seconds for what takes a millisecond otherwise, and who asks has a time
// limit of its own.
const (
	dialTimeout      = 20 * time.Second
	handshakeTimeout = 30 * time.Second
	// The server reports progress ten times a second; silence for long means it is gone.
	readTimeout = 30 * time.Second
	pingTimeout = 10 * time.Second
	// askedAfter is how long a connection is trusted that nobody has used.
	askedAfter = time.Second
	// maxIdle and maxAge are those of a connection; the second lets connections
	// spread over servers that came later.
	maxIdle, maxAge = 5 * time.Minute, time.Hour
	// defaultPatience is how long queries wait for an engine that has gone, to be
	// there again: it is, if it was started anew.
	defaultPatience = 10 * time.Second
)

// pool is a pool of connections to an engine that may be started anew at any
// time: no query fails because its connection is one to the engine before.
type pool struct {
	conns    *puddle.Pool[*ch.Client]
	patience time.Duration
	// gone is when the engine was found to be gone, in Unix nanoseconds; 0 while
	// it answers.
	gone atomic.Int64
	// lost is when a connection was last found to be broken: those that were used
	// before may be too.
	lost atomic.Int64
}

func newPool(opts ch.Options, maxConns int) (*pool, error) {
	conns, err := puddle.NewPool(&puddle.Config[*ch.Client]{
		Constructor: func(ctx context.Context) (*ch.Client, error) { return ch.Dial(ctx, opts) },
		Destructor:  func(c *ch.Client) { c.Close() }, //nolint:errcheck // nobody needs it any more
		MaxSize:     int32(maxConns),
	})
	if err != nil {
		return nil, err
	}
	p := &pool{conns: conns, patience: defaultPatience}
	// Until the first answer nobody waits: an address that is wrong is told at once.
	p.gone.Store(time.Now().Add(-p.patience).UnixNano())
	return p, nil
}

// acquire returns a connection that answers. While the engine cannot be reached
// it tries again, until patience is over since somebody noticed.
func (p *pool) acquire(ctx context.Context) (*puddle.Resource[*ch.Client], error) {
	var unreachable error
	conn, err := backoff.Retry(ctx, func() (*puddle.Resource[*ch.Client], error) {
		conn, err := p.usable(ctx)
		if err == nil {
			p.gone.Store(0)
			return conn, nil
		}
		if ctx.Err() != nil || !broken(err) {
			return nil, backoff.Permanent(err)
		}
		unreachable = &unreachableError{err}
		now := time.Now().UnixNano()
		p.gone.CompareAndSwap(0, now)
		if since := p.gone.Load(); since != 0 && time.Duration(now-since) > p.patience {
			return nil, backoff.Permanent(unreachable)
		}
		return nil, unreachable
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: time.Second}),
		backoff.WithMaxElapsedTime(0)) // patience and the query's own time limit it
	if unreachable != nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, unreachable
	}
	return conn, err
}

// usable returns the pool's next connection that answers, a new one at the last.
func (p *pool) usable(ctx context.Context) (*puddle.Resource[*ch.Client], error) {
	for {
		conn, err := p.conns.Acquire(ctx)
		if err != nil || p.answers(ctx, conn) {
			return conn, err
		}
		conn.Destroy() // the next one may be newer
	}
}

// unreachableError says that there is no connection to the engine.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string { return e.cause.Error() }

// answers says whether a connection of the pool is one to the engine as it runs
// now. One that was just used is taken to be, unless another has broken since.
func (p *pool) answers(ctx context.Context, conn *puddle.Resource[*ch.Client]) bool {
	idle := conn.IdleDuration()
	switch {
	case conn.Value().IsClosed(), idle > maxIdle, time.Since(conn.CreationTime()) > maxAge:
		return false
	case idle < askedAfter && time.Now().Add(-idle).UnixNano() > p.lost.Load():
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return conn.Value().Ping(ctx) == nil
}

// do runs q on a connection. What was sent on a connection that turns out to be
// broken before anything came back is asked once more on another: most likely
// the engine has never seen it. Not more often: it may be the query that breaks
// the engine.
func (p *pool) do(ctx context.Context, q ch.Query) error {
	heard := false
	if q.OnResult != nil {
		q.OnResult = heed(&heard, q.OnResult)
	}
	if q.OnProgress != nil {
		q.OnProgress = heed(&heard, q.OnProgress)
	}
	for again := true; ; again = false {
		conn, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		err = conn.Value().Do(ctx, q)
		if err == nil || ch.IsException(err) {
			if conn.Value().IsClosed() {
				conn.Destroy()
			} else {
				conn.Release()
			}
			return err
		}
		// In which state the connection is now, nobody knows.
		conn.Destroy()
		if broken(err) {
			p.lost.Store(time.Now().UnixNano())
		}
		if heard || !again || ctx.Err() != nil || !broken(err) {
			return err
		}
	}
}

// heed notes in heard that f is called.
func heed[T any](heard *bool, f func(context.Context, T) error) func(context.Context, T) error {
	return func(ctx context.Context, v T) error {
		*heard = true
		return f(ctx, v)
	}
}

func (p *pool) close() { p.conns.Close() }

// broken says whether an error is one of a connection.
func broken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ch.ErrClosed) ||
		errors.Is(err, net.ErrClosed)
}
