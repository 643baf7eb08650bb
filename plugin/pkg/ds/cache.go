package ds

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Limits of the cache of one data source.
const (
	maxCacheBytes = 64 << 20
	// maxCacheEntry keeps one large result from driving out all others.
	maxCacheEntry = maxCacheBytes / 8
	// maxBinAge is how long a result whose age is left to its bins is kept at most.
	maxBinAge = time.Minute
	// maxNowAge is the same for results that depend on the time of the query itself.
	maxNowAge = 5 * time.Second
)

// cache keeps results for a while, and lets those who ask for the same at the
// same time wait for one query. Results are bounded in bytes and in age; the
// least recently used go first.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element // of *entry
	recent  list.List                // the most recently used is in front
	bytes   int64
	flights map[string]*flight
}

type entry struct {
	key     string
	result  *result
	expires time.Time
	bytes   int64
}

// flight is a query that is under way.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // guarded by the cache's mu
	result  *result
	err     error
}

func newCache() *cache {
	return &cache{entries: map[string]*list.Element{}, flights: map[string]*flight{}}
}

// get returns the result for key: a kept one, that of a query which is under
// way, or that of query, which is then kept for keep if that is not 0. cached
// says that it is a kept one. The query ends when nobody waits for it any more.
func (c *cache) get(ctx context.Context, key string, keep time.Duration, query func(context.Context) (*result, error)) (r *result, cached bool, err error) {
	c.mu.Lock()
	if r := c.kept(key); r != nil {
		c.mu.Unlock()
		return r, true, nil
	}
	f := c.flights[key]
	if f == nil {
		run, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel}
		c.flights[key] = f
		go c.run(run, f, key, keep, query)
	}
	f.waiting++
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.result, false, f.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.waiting--; f.waiting == 0 {
			f.cancel()
			c.forget(key, f)
		}
		return nil, false, ctx.Err()
	}
}

// run is the goroutine of a flight. It ends with its query.
func (c *cache) run(ctx context.Context, f *flight, key string, keep time.Duration, query func(context.Context) (*result, error)) {
	defer f.cancel()
	defer close(f.done)
	defer func() {
		if p := recover(); p != nil {
			f.err = panicError(p)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(key, f)
		if f.err == nil && keep > 0 {
			c.put(key, f.result, keep)
		}
	}()
	f.result, f.err = query(ctx)
}

// forget lets the next one ask anew.
func (c *cache) forget(key string, f *flight) {
	if c.flights[key] == f {
		delete(c.flights, key)
	}
}

// kept returns a result that is fresh, nil if there is none.
func (c *cache) kept(key string) *result {
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	x := e.Value.(*entry)
	if !time.Now().Before(x.expires) {
		c.drop(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return x.result
}

func (c *cache) put(key string, r *result, keep time.Duration) {
	size := r.bytes + int64(len(key)) + 1024
	if size > maxCacheEntry {
		return
	}
	if e, ok := c.entries[key]; ok {
		c.drop(e)
	}
	c.entries[key] = c.recent.PushFront(&entry{key, r, time.Now().Add(keep), size})
	c.bytes += size
	for c.bytes > maxCacheBytes {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	x := e.Value.(*entry)
	c.recent.Remove(e)
	delete(c.entries, x.key)
	c.bytes -= x.bytes
}
