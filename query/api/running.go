package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/kql"
)

// execution is a query that this server answers: waiting, running, or on its
// way to the client. It has the rows of its result.
type execution struct {
	server *Server
	cancel context.CancelFunc
	leave  func() // the gate
	result *query.Result
	ended  bool // all rows were read, or an error was

	record record // completed by finish; fixed before are ID, client, text, user and time
	state  string // of .show queries; guarded by the server's mu
}

// record is what is written down of a query.
type record struct{ query.Record }

// record begins the record of a request's query.
func (s *Server) record(r *http.Request, req query.Request, clientID string) record {
	who := identity(r.Context())
	return record{query.Record{
		Time: time.Now(), ID: req.ID, ClientRequestID: clientID, User: who.Name, Role: string(who.Role), Hubs: req.Hubs,
		Client: application(r), ClientAddress: clientAddress(r), Endpoint: r.Pattern, Database: s.engine.Catalog().Database,
		Text: req.Text, Start: req.Start, End: req.End, Node: s.config.Node,
	}}
}

// fail notes how the query ended if not well.
func (x *record) fail(err error) {
	x.State = query.StateFailed
	var known *statusError
	if !errors.As(err, &known) {
		x.ErrorCode = client.CodeInternal
		return
	}
	x.ErrorCode, x.ErrorMessage = known.body.Error.Code, known.body.Error.Message
	switch x.ErrorCode {
	case string(query.CodeCanceled):
		x.State = query.StateCancelled
	case client.CodeThrottled:
		x.State = query.StateThrottled
	}
}

// write writes a record down.
func (s *Server) write(x record) {
	s.metrics.done(&x.Record)
	if s.config.Record != nil {
		s.config.Record(x.Record)
	}
}

// start runs a query for a request, when its turn comes. The query ends when
// the client goes away, when it is cancelled by either of its ids, and when
// finish is called, which the caller must.
func (s *Server) start(r *http.Request, req query.Request, clientID string) (*execution, error) {
	return s.startSaid(r, req, req.Text, clientID)
}

// startSaid is start for a text that was made of what the client has sent, and
// ends with the part of it that is KQL.
func (s *Server) startSaid(r *http.Request, req query.Request, said, clientID string) (*execution, error) {
	who := identity(r.Context())
	req.Hubs, req.Owner = who.restrict()
	if req.ID == "" {
		req.ID = uuid.NewString()
	}
	ctx, cancel := context.WithCancel(r.Context())
	x := &execution{server: s, cancel: cancel, state: "Queued", record: s.record(r, req, clientID)}
	x.record.Text = said
	s.mu.Lock()
	s.running[x] = struct{}{}
	s.active.Add(1)
	s.mu.Unlock()

	err := s.pace(r)
	if err == nil {
		x.leave, err = s.gate.enter(ctx, clientKey(r))
		x.record.Queued = time.Since(x.record.Time)
	}
	if err == nil {
		s.mu.Lock()
		x.state = "InProgress"
		s.mu.Unlock()
		x.result, err = s.engine.Query(ctx, req)
	}
	if err != nil {
		err = queryError(said, moved(err, len(said)-len(req.Text)))
		x.failed(err)
		x.finish()
		return nil, err
	}
	return x, nil
}

// moved returns err with the places of its errors moved by some bytes.
func moved(err error, by int) error {
	var wrong kql.Errors
	if by == 0 || !errors.As(err, &wrong) {
		return err
	}
	list := make(kql.Errors, len(wrong))
	for i, e := range wrong {
		there := *e
		there.Start, there.End = max(e.Start+by, 0), max(e.End+by, 0)
		list[i] = &there
	}
	return list
}

// application is how a client names itself.
func application(r *http.Request) string {
	app := r.Header.Get("X-Ms-App")
	if app == "" {
		app = r.UserAgent()
	}
	return cutText(app, 256)
}

// cutText returns at most n bytes of s, whole characters.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// failed notes how the query ended if not well.
func (x *execution) failed(err error) {
	x.ended = true
	x.record.fail(err)
}

// finish ends the query if it still runs, and writes it down.
func (x *execution) finish() {
	s := x.server
	x.cancel()
	if x.result != nil {
		x.result.Close() //nolint:errcheck // it is over, and nobody waits for it
	}
	if x.leave != nil {
		x.leave()
	}
	s.mu.Lock()
	delete(s.running, x)
	s.mu.Unlock()
	defer s.active.Done()

	rec := x.record
	rec.Duration = time.Since(rec.Time)
	if x.result != nil {
		rec.Stats, rec.Truncated, rec.Tables, rec.Rollup = x.Stats(), x.Truncated(), x.result.Tables, x.result.Rollup
	}
	switch {
	case rec.State != "":
	case x.ended:
		rec.State = query.StateCompleted
	default: // its reader has gone
		rec.State, rec.ErrorCode = query.StateCancelled, string(query.CodeCanceled)
	}
	s.write(rec)
}

// Next implements rows.
func (x *execution) Next() (*query.Batch, error) {
	b, err := x.result.Next()
	switch {
	case errors.Is(err, io.EOF):
		x.ended = true
	case err != nil:
		x.failed(queryError(x.record.Text, err))
	}
	return b, err
}

// Stats implements rows.
func (x *execution) Stats() query.Stats { return x.result.Stats() }

// Truncated implements rows.
func (x *execution) Truncated() bool { return x.result.Truncated() }

// mine says whether who asks may see and end the query.
func (x *execution) mine(id Identity) bool {
	return id.Role == Admin || x.record.User == id.Name
}

// cancelQuery ends the query with this id, here or wherever it runs. A reader's
// must be one of its own.
func (s *Server) cancelQuery(ctx context.Context, id string) error {
	who := identity(ctx)
	found := false
	s.mu.Lock()
	for x := range s.running {
		if (x.record.ID == id || x.record.ClientRequestID == id) && x.mine(who) {
			x.cancel()
			found = true
		}
	}
	s.mu.Unlock()
	if found || who.Role != Admin {
		// A query that is not there any more, or is somebody else's, is no error:
		// whether there is one is not for everybody to know.
		return nil
	}
	if err := s.engine.Cancel(ctx, id); err != nil {
		return queryError("", err)
	}
	return nil
}

// runningQueries is the answer to .show queries: those that who asks may see.
func (s *Server) runningQueries(ctx context.Context) *fixed {
	who := identity(ctx)
	type line struct {
		query.Record
		state string
	}
	var list []line
	s.mu.Lock()
	for x := range s.running {
		if x.mine(who) {
			list = append(list, line{x.record.Record, x.state})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b line) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	t := newFixed("ClientActivityId", "QueryId", "Text", "Database", "StartedOn:datetime", "LastUpdatedOn:datetime", "Duration:timespan",
		"State", "User", "Application", "Principal", "FailureReason", "MemoryPeak:long")
	now := time.Now()
	for _, q := range list {
		t.add(q.ClientRequestID, q.ID, q.Text, q.Database, stamp(q.Time), stamp(now), kql.FormatTimespan(int64(now.Sub(q.Time)/100)),
			q.state, q.User, q.Client, "token="+q.User, "", "")
	}
	return t
}

// stamp is a point in time as Kusto writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// Drain waits until every query has ended and was written down, or ctx ends. It
// is for after the HTTP server's end, which leaves handlers behind.
func (s *Server) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.active.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
