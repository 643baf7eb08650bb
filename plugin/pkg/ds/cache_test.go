package ds

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestCacheBounds: results are kept for their time, within the bytes, the least
// recently used go first, and none that failed or is too large.
func TestCacheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		asked := 0
		get := func(key string, bytes int64, keep time.Duration, fail error) (cached bool) {
			r, cached, err := c.get(t.Context(), key, keep, func(context.Context) (*result, error) {
				asked++
				return &result{bytes: bytes}, fail
			})
			if !errors.Is(err, fail) || fail == nil && r == nil {
				t.Fatalf("%s: %v, %v", key, r, err)
			}
			return cached
		}
		if get("a", 10, time.Minute, nil) || !get("a", 10, time.Minute, nil) {
			t.Error("a result is not kept, or was there before")
		}
		time.Sleep(time.Minute)
		if get("a", 10, time.Minute, nil) {
			t.Error("a result is kept beyond its time")
		}
		get("b", 10, 0, nil)
		if get("b", 10, 0, nil) {
			t.Error("a result is kept for no time")
		}
		if get("c", 10, time.Minute, errors.New("failed")) || get("c", 10, time.Minute, nil) {
			t.Error("an error is kept")
		}
		get("large", maxCacheEntry, time.Minute, nil)
		if get("large", maxCacheEntry, time.Minute, nil) {
			t.Error("a result is kept that is too large")
		}
		const size = maxCacheEntry - 2048
		for i := range 20 {
			get(fmt.Sprint("n", i), size, time.Minute, nil)
			get("n0", size, time.Minute, nil) // is used again and again
		}
		if c.bytes > maxCacheBytes || c.recent.Len() != len(c.entries) {
			t.Errorf("%d bytes in %d entries", c.bytes, len(c.entries))
		}
		if !get("n0", size, time.Minute, nil) || !get("n19", size, time.Minute, nil) || get("n1", size, time.Minute, nil) {
			t.Error("what went is not the least recently used")
		}
		if len(c.flights) > 0 {
			t.Errorf("%d queries are under way", len(c.flights))
		}
	})
}

// TestCacheFlights: a panic in a query reaches all who wait for it, and nobody
// else; who comes later asks anew.
func TestCacheFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		answers := make(chan error, 3)
		for range 3 {
			go func() {
				_, _, err := c.get(t.Context(), "k", time.Minute, func(context.Context) (*result, error) {
					time.Sleep(time.Second)
					panic("a bug")
				})
				answers <- err
			}()
		}
		for range 3 {
			var bug *panicked
			if err := <-answers; !errors.As(err, &bug) || bug.value != "a bug" {
				t.Errorf("%v", err)
			}
		}
		if r, cached, err := c.get(t.Context(), "k", time.Minute, func(context.Context) (*result, error) { return &result{}, nil }); r == nil || cached || err != nil {
			t.Errorf("afterwards: %v %v %v", r, cached, err)
		}
	})
}
