package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"hubscope/query"
)

// running is a query that this server answers at the moment.
type running struct {
	id     string // the engine's
	client string // the client's own
	text   string
	app    string
	since  time.Time
	cancel context.CancelFunc
}

// start runs a query for a request. The query ends when the client goes away,
// when it is cancelled by either of its ids, and when done is called, which
// the caller must.
func (s *Server) start(r *http.Request, req query.Request, clientID string) (result *query.Result, done func(), err error) {
	ctx, cancel := context.WithCancel(r.Context())
	q := &running{client: clientID, text: req.Text, app: r.Header.Get("X-Ms-App"), since: time.Now(), cancel: cancel}
	if q.app == "" {
		q.app = r.UserAgent()
	}
	s.mu.Lock()
	s.running[q] = struct{}{}
	s.mu.Unlock()
	done = func() {
		cancel()
		if result != nil {
			result.Close() //nolint:errcheck // it is over, and nobody waits for it
		}
		s.mu.Lock()
		delete(s.running, q)
		s.mu.Unlock()
	}
	result, err = s.engine.Query(ctx, req)
	if err != nil {
		done()
		return nil, nil, queryError(req.Text, err)
	}
	s.mu.Lock()
	q.id = result.ID
	s.mu.Unlock()
	return result, done, nil
}

// cancelQuery ends the query with this id, here or wherever it runs.
func (s *Server) cancelQuery(ctx context.Context, id string) error {
	found := false
	s.mu.Lock()
	for q := range s.running {
		if q.id == id || q.client == id {
			q.cancel()
			found = true
		}
	}
	s.mu.Unlock()
	if found {
		return nil
	}
	if err := s.engine.Cancel(ctx, id); err != nil {
		return queryError("", err)
	}
	return nil
}

// runningQueries is the answer to .show queries.
func (s *Server) runningQueries() *fixed {
	s.mu.Lock()
	list := make([]running, 0, len(s.running))
	for q := range s.running {
		list = append(list, *q)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b running) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	t := newFixed("ClientActivityId", "QueryId", "Text", "StartedOn", "Application", "State")
	for _, q := range list {
		t.add(q.client, q.id, q.text, q.since.UTC().Format("2006-01-02T15:04:05.0000000Z"), q.app, "InProgress")
	}
	return t
}

// probe runs a query that reads no table, to see that the engine answers.
func (s *Server) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	result, err := s.engine.Query(ctx, query.Request{Text: "print ready = true"})
	if err != nil {
		return err
	}
	defer result.Close()
	for {
		if _, err := result.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
