package hub

import (
	"net/netip"
	"sync"
	"time"
)

// FloodConfig limits how many refused connections of one source are described
// one by one. Connections of devices that authenticate do not count.
type FloodConfig struct {
	// Burst is how many are described at once, PerSecond how many are after
	// that: a token bucket.
	Burst     int
	PerSecond float64
	// SampleEvery: of those beyond, each so many-th is described all the same,
	// to show what they are.
	SampleEvery int
	// Window is how long suppressed connections are counted before an event
	// says how many there were.
	Window time.Duration
	// MaxSources bounds the sources that are remembered. When there are more,
	// the rest are counted as one.
	MaxSources int
}

// flood decides which refused connections are described. It is safe for
// concurrent use.
type flood struct {
	config FloodConfig

	mu      sync.Mutex
	sources map[netip.Addr]*source
}

// source is the state of one bucket.
type source struct {
	tokens     float64
	seen       time.Time
	suppressed int64
	since      time.Time // of the first suppressed one of this window
	beyond     int       // since the last sample
	address    netip.Addr
	hub        string
}

func newFlood(config FloodConfig) *flood {
	return &flood{config: config, sources: map[netip.Addr]*source{}}
}

// admit reports whether a refused connection is to be described.
func (f *flood) admit(a netip.Addr, hub string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := sourceOf(a)
	s := f.sources[key]
	if s == nil {
		if len(f.sources) >= f.config.MaxSources {
			key = netip.Addr{} // the source of all others
			a = key
		}
		if s = f.sources[key]; s == nil {
			s = &source{tokens: float64(f.config.Burst), seen: now}
			f.sources[key] = s
		}
	}
	s.tokens = min(float64(f.config.Burst), s.tokens+f.config.PerSecond*now.Sub(s.seen).Seconds())
	s.seen, s.address, s.hub = now, a, hub
	if s.tokens >= 1 {
		s.tokens--
		return true
	}
	if s.beyond++; s.beyond >= f.config.SampleEvery {
		s.beyond = 0
		return true
	}
	if s.suppressed++; s.suppressed == 1 {
		s.since = now
	}
	return false
}

// A suppressed is the content of one summary.
type suppressed struct {
	address netip.Addr
	hub     string
	count   int64
	since   time.Time
}

// due returns the summaries whose window is over, all of them when last, and
// forgets sources that have been quiet.
func (f *flood) due(now time.Time, last bool) []suppressed {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []suppressed
	for key, s := range f.sources {
		if s.suppressed > 0 && (last || now.Sub(s.since) >= f.config.Window) {
			list = append(list, suppressed{s.address, s.hub, s.suppressed, s.since})
			s.suppressed = 0
		}
		full := s.tokens+f.config.PerSecond*now.Sub(s.seen).Seconds() >= float64(f.config.Burst)
		if s.suppressed == 0 && full {
			delete(f.sources, key)
		}
	}
	return list
}
