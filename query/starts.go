package query

import (
	"context"
	"sync"
	"time"

	"hubscope/ingest"
	"hubscope/query/plan"
)

// starts knows since when the rollups that came later hold everything. A service
// may be newer than the tables: until they are there it does without.
type starts struct {
	// ask returns them by name; nil says that all are there, and were always.
	ask func(context.Context) (map[string]time.Time, error)

	mu    sync.Mutex
	since map[string]int64
	asked time.Time
}

// RollupStarts is the table that has them: Name and Since.
const RollupStarts = ingest.RollupStarts

// askAgain is how long rollups that are not there are not asked for again.
const askAgain = 10 * time.Second

// learn asks unless all is known: what was said once does not change. While the
// answer fails, what was known counts.
func (s *starts) learn(ctx context.Context) {
	if s.ask == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all() || time.Since(s.asked) < askAgain {
		return
	}
	s.asked = time.Now()
	// Other queries wait for the answer.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := s.ask(ctx)
	if err != nil {
		return
	}
	s.since = make(map[string]int64, len(found))
	for name, at := range found {
		if at.Unix() > 0 {
			s.since[name] = plan.Ticks(at.UTC())
		} else {
			s.since[name] = 0
		}
	}
}

func (s *starts) all() bool {
	for _, r := range ingest.Rollups {
		if _, ok := s.since[r.Name]; r.Finer != "" && !ok {
			return false
		}
	}
	return true
}

// complete is [plan.Options.Complete].
func (s *starts) complete() func(string) (int64, bool) {
	if s.ask == nil {
		return nil
	}
	return func(source string) (int64, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		since, ok := s.since[source]
		return since, ok
	}
}
