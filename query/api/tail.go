package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"hubscope/ingest"
	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/kql"
)

// GET and POST /api/v1/tail follow Connections live, as server-sent events: see
// client.TailEvent. GET takes ?query=, ?since=, ?after= and ?param.NAME=.

// Limits of tails.
const (
	maxSince = 30 * 24 * time.Hour
	// tailRetry is how long a client waits before it connects again.
	tailRetry = 2 * time.Second
)

// tailRequest reads what a tail asks for.
func (s *Server) tailRequest(r *http.Request) (req query.Request, start ingest.Start, err error) {
	var body client.TailRequest
	if r.Method == http.MethodPost {
		if err := s.readJSON(r, &body); err != nil {
			return req, start, err
		}
	} else {
		q := r.URL.Query()
		for name, values := range q {
			param, isParam := strings.CutPrefix(name, "param.")
			switch {
			case len(values) > 1:
				return req, start, badRequest("%s is given twice", name)
			case isParam && param != "":
				if body.Parameters == nil {
					body.Parameters = map[string]any{}
				}
				body.Parameters[param] = values[0]
			case name != "query" && name != "since" && name != "after":
				return req, start, badRequest("no parameter %q; there are query, since, after and param.NAME", name)
			}
		}
		body.Query, body.Since, body.After = q.Get("query"), q.Get("since"), q.Get("after")
	}
	if kql.IsCommand(body.Query) {
		return req, start, badRequest("management commands start with a dot and go to /v1/rest/mgmt; this is for queries")
	}
	req = query.Request{Text: body.Query, Parameters: body.Parameters}
	start.Cursor = body.After
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		start.Cursor = id
	}
	if body.Since != "" {
		d, ok := client.ParseTimespan(body.Since)
		if !ok || d <= 0 || d > maxSince {
			return req, start, badRequest("since %q is no timespan up to 30 days, such as 30s, 5m or 1h", body.Since)
		}
		start.Since = time.Now().Add(-d)
	}
	return req, start, nil
}

// tail follows, and writes down what was followed when it ends.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) error {
	if _, ok := accepts(r, client.MediaEvents); !ok {
		return failure(http.StatusNotAcceptable, client.CodeUnsupported, "answers are %s", client.MediaEvents)
	}
	req, start, err := s.tailRequest(r)
	if err != nil {
		return err
	}
	who := identity(r.Context())
	req.ID = uuid.NewString()
	req.Hubs, req.Owner = who.restrict()
	x := s.record(r, req, r.Header.Get(headerClientRequestID))
	s.active.Add(1)
	defer func() {
		x.Duration = time.Since(x.Time)
		if x.State == "" {
			x.State = query.StateCancelled // a tail ends by its reader's leaving
		}
		s.write(x)
		s.active.Done()
	}()
	err = s.follow(w, r, req, start, &x)
	if err != nil && x.State == "" && r.Context().Err() == nil {
		x.fail(err)
	}
	return err
}

// follow writes events until the client leaves or the server closes. What it does
// goes into x, also an error that was told as an event.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, req query.Request, start ingest.Start, x *record) error {
	if err := s.pace(r); err != nil {
		return err
	}
	if s.config.Feed == nil {
		return unavailable(time.Minute, string(query.CodeUnavailable), nil,
			"this query service cannot follow events: it was started without NATS (hubscope serve --nats URL)")
	}
	t, err := s.engine.Tail(req)
	if err != nil {
		return queryError(req.Text, err)
	}
	x.Tables = []string{query.TailTable}
	if s.tails.Add(1) > int64(s.config.MaxTails) {
		s.tails.Add(-1)
		return unavailable(5*time.Second, client.CodeTooMany, nil, "%d clients follow events already; try again later", s.config.MaxTails)
	}
	defer s.tails.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()

	out := &events{w: w, control: http.NewResponseController(w), timeout: s.config.WriteTimeout}
	begun := false
	ends := func(err error) error {
		x.fail(err)
		return out.event("error", "", client.TailEvent{Error: s.asStatus(r, err).body.Error})
	}
	for segment, err := range s.config.Feed.Follow(ctx, start) {
		if err != nil {
			if !begun {
				return feedError(err)
			}
			return ends(feedError(err))
		}
		if !begun {
			begun = true
			h := w.Header()
			h.Set("Content-Type", client.MediaEvents)
			h.Set("Cache-Control", "no-store")
			h.Set("X-Accel-Buffering", "no") // nginx would keep the events back
			h.Set("X-Content-Type-Options", "nosniff")
			fmt.Fprintf(&out.buf, "retry: %d\n", tailRetry.Milliseconds())
			id := segment.Cursor
			if len(segment.Events) > 0 || segment.Gone {
				id = "" // it is that behind them
			}
			if err := out.event("columns", id, client.TailEvent{Columns: wireColumns(t.Columns), Whole: t.Whole}); err != nil {
				return nil // the client has gone
			}
		}
		if segment.Gone {
			if out.event("gone", "", client.TailEvent{Gone: true}) != nil {
				return nil
			}
		}
		if segment.Skipped > 0 {
			if out.event("skipped", "", client.TailEvent{Skipped: segment.Skipped}) != nil {
				return nil
			}
		}
		rows, err := tailRows(ctx, t, segment)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return ends(queryError(req.Text, err))
		}
		x.Stats.ReadRows += int64(len(segment.Events))
		x.Stats.Rows += int64(len(rows))
		for _, row := range rows {
			for _, cell := range row {
				x.Stats.Bytes += int64(len(cell))
			}
		}
		if len(rows) > 0 {
			err = out.event("rows", segment.Cursor, client.TailEvent{Rows: rows})
		} else if len(segment.Events) == 0 || time.Since(out.last) > tailQuiet {
			err = out.comment(segment.Cursor)
		}
		if err != nil {
			return nil
		}
	}
	if !begun && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// tailQuiet is how long a client hears nothing while events come that are none
// of its own.
const tailQuiet = 5 * time.Second

// feedError says what is wrong with a feed.
func feedError(err error) error {
	if errors.Is(err, ingest.ErrCursor) {
		return failure(http.StatusBadRequest, client.CodeCursor, "Last-Event-ID: %v", err)
	}
	return unavailable(time.Second, string(query.CodeUnavailable), err, "the event stream cannot be followed now; try again in a moment")
}

// tailRows evaluates a segment.
func tailRows(ctx context.Context, t *query.Tail, segment *ingest.Segment) ([][]json.RawMessage, error) {
	if len(segment.Events) == 0 {
		return nil, nil
	}
	result, err := t.Run(ctx, segment.Events)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	var rows [][]json.RawMessage
	for {
		b, err := result.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			row := make([]json.RawMessage, len(b.Columns))
			for k := range b.Columns {
				row[k] = b.Columns[k].AppendJSON(nil, i)
			}
			rows = append(rows, row)
		}
	}
}

// events writes server-sent events, each at once.
type events struct {
	w       io.Writer
	control *http.ResponseController
	timeout time.Duration
	buf     bytes.Buffer
	last    time.Time
}

// event writes one event.
func (o *events) event(kind, id string, data client.TailEvent) error {
	fmt.Fprintf(&o.buf, "event: %s\n", kind)
	if id != "" {
		fmt.Fprintf(&o.buf, "id: %s\n", id)
	}
	o.buf.WriteString("data: ")
	enc := json.NewEncoder(&o.buf) // no line ends but the last one
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return err
	}
	o.buf.WriteByte('\n')
	return o.send()
}

// comment shows that the connection lives, and moves the id on.
func (o *events) comment(id string) error {
	fmt.Fprintf(&o.buf, ": so far\nid: %s\n\n", id)
	return o.send()
}

func (o *events) send() error {
	if err := o.control.SetWriteDeadline(time.Now().Add(o.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := o.w.Write(o.buf.Bytes())
	o.buf.Reset()
	o.last = time.Now()
	if err != nil {
		return err
	}
	return o.control.Flush()
}

// Close ends what does not end by itself, the tails; their clients come again.
// Register it with http.Server.RegisterOnShutdown.
func (s *Server) Close() { s.close() }
