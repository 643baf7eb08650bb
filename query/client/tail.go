package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// GET and POST /api/v1/tail follow Connections live, as server-sent events
// (WHATWG HTML 9.2). GET takes ?query=, ?since= and ?param.NAME=, POST a
// [TailRequest]. The events:
//
//	columns   {"columns":[{"name","type"},...],"whole":true}  once, when nothing can be missed any more
//	rows      {"rows":[[...],...]}                             cells as in QueryResponse
//	skipped   {"skipped":120}                                  the client reads too slowly: so many events were not looked at
//	gone      {"gone":true}                                    events behind the Last-Event-ID have left the stream unread
//	error     {"error":{...}}                                  the last one
//
// A tail that is to go on from where this service knows no place is refused with
// CodeCursor.
//
// The id of an event is where a client goes on that sends it as Last-Event-ID.
// Between events there is a comment, with the id, at least every ten seconds.

// TailRequest is the body of POST /api/v1/tail.
type TailRequest struct {
	// Query is KQL over Connections with where, extend and project; empty is all.
	Query string `json:"query"`
	// Parameters are the values for `declare query_parameters`, by name.
	Parameters map[string]any `json:"parameters,omitempty"`
	// Since is how far back to begin, a timespan such as 5m; empty is now.
	Since string `json:"since,omitempty"`
	// After is the id of the last event seen: an alternative to the header
	// Last-Event-ID.
	After string `json:"after,omitempty"`
}

// TailEvent is the data of one event of a tail; which field is set goes by the
// kind of event.
type TailEvent struct {
	Columns []Column            `json:"columns,omitempty"`
	Whole   bool                `json:"whole,omitempty"` // the result has all columns of Connections
	Rows    [][]json.RawMessage `json:"rows,omitempty"`
	Skipped int64               `json:"skipped,omitempty"`
	Error   *Error              `json:"error,omitempty"`
	// Gone says that events before these have left the stream unread.
	Gone bool `json:"gone,omitempty"`
	// ID is where a client goes on that has seen this event.
	ID string `json:"-"`
}

// Tail is a running tail as a client reads it. Close it.
type Tail struct {
	body io.ReadCloser
	in   *bufio.Scanner
	id   string
}

// maxTailLine bounds a line of a tail: a segment of rows with all columns.
const maxTailLine = 64 << 20

// Tail follows events. The error holds Errors when the query is at fault.
func (c *Client) Tail(ctx context.Context, req TailRequest) (*Tail, error) {
	res, err := c.do(ctx, http.MethodPost, "/api/v1/tail", req, MediaEvents)
	if err != nil {
		return nil, err
	}
	if media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); media != MediaEvents {
		res.Body.Close()
		return nil, fmt.Errorf("query service at %s: a tail of type %q", c.URL, media)
	}
	t := &Tail{body: res.Body, in: bufio.NewScanner(res.Body), id: req.After}
	t.in.Buffer(make([]byte, 64<<10), maxTailLine)
	return t, nil
}

// Next returns the next event, or nil for a sign of life. An event with an error
// is the last one; other errors are of the connection, and Tail may be called
// again with the last ID as After.
func (t *Tail) Next() (*TailEvent, error) {
	var data []byte
	for t.in.Scan() {
		line := t.in.Bytes()
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if data == nil {
				return nil, nil
			}
			e := &TailEvent{}
			if err := json.Unmarshal(data, e); err != nil {
				return nil, fmt.Errorf("event of the tail: %w", err)
			}
			e.ID = t.id
			return e, nil
		case string(field) == "id":
			t.id = string(value)
		case string(field) == "data":
			data = append(data, value...)
		}
	}
	if err := t.in.Err(); err != nil {
		return nil, err
	}
	return nil, io.ErrUnexpectedEOF
}

// ID is where a client goes on that has seen all events so far.
func (t *Tail) ID() string { return t.id }

// Close ends the tail.
func (t *Tail) Close() error { return t.body.Close() }
