package registry

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"sync"
)

// A census counts devices by hub and status as they change, so that nobody has
// to read a million records to know how many there are. It remembers some 40
// bytes of each device.
type census struct {
	seed maphash.Seed

	mu      sync.Mutex
	current *headcount // nil until the first count is complete
	next    *headcount // under way; nil when none is
}

// headcount is one count of all devices.
type headcount struct {
	devices map[uint64]counted // by hash of the key
	hubs    map[string]*Statistics
}

// counted is what was last heard of a device. One that is gone stays while the
// count is under way: its old record may be about to be read.
type counted struct {
	revision uint64
	status   Status // empty when gone
}

func newHeadcount() *headcount {
	return &headcount{devices: map[uint64]counted{}, hubs: map[string]*Statistics{}}
}

func (h *headcount) set(hash uint64, hub string, to counted) {
	from := h.devices[hash]
	if from.revision >= to.revision {
		return
	}
	h.devices[hash] = to
	s := h.hubs[hub]
	if s == nil {
		s = &Statistics{}
		h.hubs[hub] = s
	}
	s.add(from.status, -1)
	s.add(to.status, 1)
}

func (s *Statistics) add(status Status, n int64) {
	switch status {
	case Enabled:
		s.Enabled += n
		s.Total += n
	case Disabled:
		s.Disabled += n
		s.Total += n
	}
}

// take notes a device's record, or that it is gone.
func (c *census) take(rec Record) {
	to := counted{revision: rec.Revision}
	if !rec.Deleted {
		var d struct {
			Status Status `json:"status"`
		}
		if json.Unmarshal(rec.Value, &d) == nil {
			to.status = d.Status
		}
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	_, _ = h.WriteString(rec.Key.Hub)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(rec.Key.ID)
	hash := h.Sum64()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range []*headcount{c.current, c.next} {
		if count != nil {
			count.set(hash, rec.Key.Hub, to)
		}
	}
	if c.current != nil && rec.Deleted {
		delete(c.current.devices, hash)
	}
}

// run counts anew; take goes on meanwhile.
func (c *census) run(ctx context.Context, store Store) error {
	c.mu.Lock()
	c.next = newHeadcount()
	c.mu.Unlock()
	for after := uint64(0); ; {
		page, err := store.List(ctx, KindDevice, "", after, maxPage)
		if err != nil {
			return err
		}
		for _, rec := range page {
			c.take(rec)
			after = rec.Revision
		}
		if len(page) < maxPage {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for hash, d := range c.next.devices {
		if d.status == "" {
			delete(c.next.devices, hash)
		}
	}
	c.current, c.next = c.next, nil
	return nil
}

func (c *census) statistics(hub string) (Statistics, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return Statistics{}, false
	}
	if s := c.current.hubs[hub]; s != nil {
		return *s, true
	}
	return Statistics{}, true
}
