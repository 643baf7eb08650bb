package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
	"hubscope/query"
	"hubscope/query/client"
)

// fakeFeed is a stream of events that the test writes.
type fakeFeed struct {
	starts   chan ingest.Start
	segments chan *ingest.Segment
	errs     chan error
	ended    chan struct{}
}

func newFakeFeed() *fakeFeed {
	return &fakeFeed{make(chan ingest.Start, 100), make(chan *ingest.Segment), make(chan error), make(chan struct{}, 100)}
}

func (f *fakeFeed) Follow(ctx context.Context, start ingest.Start) iter.Seq2[*ingest.Segment, error] {
	return func(yield func(*ingest.Segment, error) bool) {
		defer func() { f.ended <- struct{}{} }()
		f.starts <- start
		if start.Cursor == "bad" {
			yield(nil, fmt.Errorf("%q is %w", start.Cursor, ingest.ErrCursor))
			return
		}
		if start.Cursor == "down" {
			yield(nil, errors.New("nats://user:secret@host is away"))
			return
		}
		if !yield(&ingest.Segment{Cursor: "c0"}, nil) {
			return
		}
		for {
			select {
			case s := <-f.segments:
				if !yield(s, nil) {
					return
				}
			case err := <-f.errs:
				yield(nil, err)
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// segment has an event a device.
func segment(cursor string, devices ...string) *ingest.Segment {
	s := &ingest.Segment{Cursor: cursor}
	for i, d := range devices {
		s.Events = append(s.Events, ingest.Arrival{Event: ingest.Event{
			TimeGenerated: time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC), Hub: "plant", OperationName: "deviceConnect", DeviceId: d, TlsVersion: "1.0",
		}})
	}
	return s
}

// serveTail returns a server whose tails follow feed.
func serveTail(t *testing.T, config Config) (*Server, string) {
	t.Helper()
	engine, err := query.New(query.Config{}, openRunner(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s := NewServer(engine, config)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(s.Close) // before it, or it waits for the tails
	return s, server.URL
}

// openTail makes a request that must be answered with events.
func openTail(t *testing.T, req *http.Request) (*bufio.Reader, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	res, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s %s: %s", res.Status, res.Header.Get("Content-Type"), b)
	}
	return bufio.NewReader(res.Body), cancel
}

func get(t *testing.T, url string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// want reads the next events, as they stand on the wire.
func want(t *testing.T, in *bufio.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(in, got); err != nil {
		t.Fatalf("%v after %q", err, got[:n])
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

func TestTailEvents(t *testing.T) {
	feed := newFakeFeed()
	_, base := serveTail(t, Config{Feed: feed})
	in, cancel := openTail(t, get(t, base+"/api/v1/tail?since=5m&param.v=1.0&query="+url.QueryEscape(
		"declare query_parameters(v: string); Connections | where TlsVersion == v and DeviceId != 'x' | project DeviceId, Hub")))
	start := <-feed.starts
	if ago := time.Since(start.Since); ago < 5*time.Minute || ago > 6*time.Minute {
		t.Errorf("begins %v ago, want 5m", ago)
	}
	want(t, in, "retry: 2000\nevent: columns\nid: c0\ndata: {\"columns\":[{\"name\":\"DeviceId\",\"type\":\"string\"},{\"name\":\"Hub\",\"type\":\"string\"}]}\n\n")
	want(t, in, ": so far\nid: c0\n\n")
	feed.segments <- segment("c1", "pump-1", "x", "pump-<2>")
	want(t, in, "event: rows\nid: c1\ndata: {\"rows\":[[\"pump-1\",\"plant\"],[\"pump-<2>\",\"plant\"]]}\n\n")
	feed.segments <- segment("c2", "x") // none of it passes: nothing to say
	feed.segments <- &ingest.Segment{Skipped: 7, Cursor: "c2"}
	want(t, in, "event: skipped\ndata: {\"skipped\":7}\n\n: so far\nid: c2\n\n")
	feed.segments <- &ingest.Segment{Gone: true, Cursor: "c2"}
	want(t, in, "event: gone\ndata: {\"gone\":true}\n\n: so far\nid: c2\n\n")
	feed.segments <- &ingest.Segment{Cursor: "c3"}
	want(t, in, ": so far\nid: c3\n\n")
	feed.errs <- errors.New("nats://user:secret@host is away")
	want(t, in, "event: error\ndata: {\"error\":{\"code\":\"EngineUnavailable\",\"message\":\"the event stream cannot be followed now; try again in a moment\"}}\n\n")
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the error: %v", err)
	}
	cancel()
	<-feed.ended

	// Where to go on.
	for name, tt := range map[string]struct {
		header []string
		want   string
	}{"parameter": {nil, "c1"}, "header": {[]string{"Last-Event-ID", "c7"}, "c7"}} {
		_, cancel := openTail(t, get(t, base+"/api/v1/tail?after=c1", tt.header...))
		if start := <-feed.starts; start.Cursor != tt.want || !start.Since.IsZero() {
			t.Errorf("%s: begins at %+v", name, start)
		}
		cancel()
		<-feed.ended // the client has gone, and so is the reader
	}
}

func TestTailClient(t *testing.T) {
	feed := newFakeFeed()
	s, base := serveTail(t, Config{Feed: feed})
	c := &client.Client{URL: base}
	tail, err := c.Tail(t.Context(), client.TailRequest{Since: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	e, err := tail.Next()
	if err != nil || !e.Whole || len(e.Columns) != len(ingest.Connections) {
		t.Fatalf("%+v, %v", e, err)
	}
	if e, err := tail.Next(); e != nil || err != nil {
		t.Fatalf("a comment is %+v, %v", e, err)
	}
	feed.segments <- segment("c1", "a", "b")
	if e, err = tail.Next(); err != nil || len(e.Rows) != 2 || e.ID != "c1" || tail.ID() != "c1" {
		t.Fatalf("%+v, %v", e, err)
	}
	s.Close() // the server is about to stop
	if _, err := tail.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("at the end: %v", err)
	}
	<-feed.ended
	_, err = c.Tail(t.Context(), client.TailRequest{Query: "Connections | take 1"})
	var wrong client.Errors
	if !errors.As(err, &wrong) || wrong[0].Column != 15 || wrong[0].Length != 4 || wrong[0].Code != query.CodeTail {
		t.Errorf("%v", err)
	}
}

func TestTailRefusals(t *testing.T) {
	feed := newFakeFeed()
	s, base := serveTail(t, Config{Feed: feed, MaxTails: 1})
	_, without := serveTail(t, Config{})
	tests := []struct {
		name, method, url, body string
		header                  []string
		status                  int
		message                 string
	}{
		{"operator", "GET", base + "/api/v1/tail?query=Connections%7Csummarize+count()", "", nil, 400, "tail does not support the operator summarize"},
		{"column", "POST", base + "/api/v1/tail", `{"query":"Connections | where Nope == 1"}`, nil, 400, `no column \"Nope\"`},
		{"since", "GET", base + "/api/v1/tail?since=yesterday", "", nil, 400, "no timespan"},
		{"since too long", "GET", base + "/api/v1/tail?since=900d", "", nil, 400, "30 days"},
		{"unknown parameter", "GET", base + "/api/v1/tail?q=Connections", "", nil, 400, `no parameter \"q\"`},
		{"cursor", "GET", base + "/api/v1/tail", "", []string{"Last-Event-ID", "bad"}, 400, `"code":"UnknownPosition","message":"Last-Event-ID`},
		{"stream away", "GET", base + "/api/v1/tail", "", []string{"Last-Event-ID", "down"}, 503, "try again"},
		{"form", "GET", base + "/api/v1/tail", "", []string{"Accept", "application/json"}, 406, "text/event-stream"},
		{"command", "GET", base + "/api/v1/tail?query=.show+tables", "", nil, 400, "management commands"},
		{"no NATS", "GET", without + "/api/v1/tail", "", nil, 503, "started without NATS (hubscope serve --nats URL)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := send(t, tt.method, tt.url, tt.body, tt.header...)
			if status != tt.status || !strings.Contains(body, tt.message) || strings.Contains(body, "secret") {
				t.Errorf("want %d and %q, got %d %s", tt.status, tt.message, status, body)
			}
		})
	}
	_, cancel := openTail(t, get(t, base+"/api/v1/tail"))
	if status, header, body := send(t, "GET", base+"/api/v1/tail", ""); status != 503 || header.Get("Retry-After") == "" || !strings.Contains(body, client.CodeTooMany) {
		t.Errorf("a second client: %d %s", status, body)
	}
	cancel()
	waitFor(t, "the first has left", func() bool { return s.tails.Load() == 0 })
	openTail(t, get(t, base+"/api/v1/tail"))
}

// TestTailRowsOfHubs: a token of some hubs sees nothing of others.
func TestTailRowsOfHubs(t *testing.T) {
	a, file := access(t)
	mine, others := add(t, file, Grant{Name: "mine", Role: Reader, Hubs: []string{"plant"}}), add(t, file, Grant{Name: "others", Role: Reader, Hubs: []string{"elsewhere"}})
	waitFor(t, "tokens are asked for", a.Required)
	feed := newFakeFeed()
	_, base := serveTail(t, Config{Feed: feed, Access: a})
	for token, rows := range map[string]string{mine: "event: rows\nid: c1\ndata: {\"rows\":[[\"d\"]]}\n\n", others: ""} {
		in, cancel := openTail(t, get(t, base+"/api/v1/tail?query=Connections%7Cproject+DeviceId", "Authorization", "Bearer "+token))
		want(t, in, "retry: 2000\nevent: columns\nid: c0\ndata: {\"columns\":[{\"name\":\"DeviceId\",\"type\":\"string\"}]}\n\n: so far\nid: c0\n\n")
		feed.segments <- segment("c1", "d")
		feed.segments <- &ingest.Segment{Cursor: "c2"}
		want(t, in, rows+": so far\nid: c2\n\n")
		cancel()
		<-feed.ended
	}
}

// TestTailRecord: a tail is written down when it ends, and so is one that was
// refused; who starts too many is slowed down.
func TestTailRecord(t *testing.T) {
	var mu sync.Mutex
	var got []query.Record
	feed := newFakeFeed()
	s, base := serveTail(t, Config{Feed: feed, Node: "n", Admission: Admission{Rate: 1e-6, Burst: 3}, Record: func(r query.Record) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
	}})
	written := func(n int) query.Record {
		t.Helper()
		waitFor(t, fmt.Sprint("record ", n), func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == n })
		return got[n-1]
	}
	const text = "Connections | project DeviceId"
	in, leave := openTail(t, get(t, base+"/api/v1/tail?query="+url.QueryEscape(text), "x-ms-client-request-id", "mine", "User-Agent", "test"))
	feed.segments <- segment("c1", "a", "b")
	for line := ""; !strings.HasPrefix(line, "data: {\"rows\""); {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	r := written(1)
	if r.Text != text || r.State != query.StateCancelled || r.ErrorCode != "" || r.Stats.Rows != 2 || r.Stats.ReadRows != 2 || r.Stats.Bytes == 0 || r.ID == "" ||
		r.ClientRequestID != "mine" || r.User != "local" || r.Client != "test" || r.Endpoint != "GET /api/v1/tail" || r.Node != "n" || len(r.Tables) != 1 || r.Duration <= 0 {
		t.Errorf("%+v", r)
	}
	send(t, "GET", base+"/api/v1/tail?query=Connections+%7C+take+1", "")
	if r := written(2); r.State != query.StateFailed || r.ErrorCode != query.CodeTail || r.Text != "Connections | take 1" {
		t.Errorf("%+v", r)
	}
	send(t, "GET", base+"/api/v1/tail", "", "Last-Event-ID", "bad")
	if r := written(3); r.State != query.StateFailed || r.ErrorCode != client.CodeCursor {
		t.Errorf("%+v", r)
	}
	if status, header, _ := send(t, "GET", base+"/api/v1/tail", ""); status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("a fourth tail: %d", status)
	}
	if r := written(4); r.State != query.StateThrottled {
		t.Errorf("%+v", r)
	}
	if s.tails.Load() != 0 {
		t.Errorf("%d tails are left", s.tails.Load())
	}
}
