package ds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hubscope/query/client"
)

// Live tails: channels ds/UID/tail/HASH of Grafana Live. The query travels as the
// data of the subscription, the hash is of it. Grafana runs one stream for all
// who have subscribed to a channel, on behalf of nobody in particular: so a tail
// never carries a forwarded identity, and shows to everybody what the configured
// credentials may read.
//
// Frames are those of the format logs. The first has the schema, those after it
// the rows alone; who joins later has the schema from the subscription.

// tailPath is the path of a channel behind ds/UID/.
var tailPath = regexp.MustCompile(`^tail/[0-9A-Za-z_-]{1,128}$`)

// streams are the tails that run, by path.
type streams struct {
	mu      sync.Mutex
	running map[string][sha256.Size]byte // of their query
}

// begin notes a tail. It is false when one of another query runs at that path.
func (s *streams) begin(path string, query [sha256.Size]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.running[path]; ok && other != query {
		return false
	}
	if s.running == nil {
		s.running = map[string][sha256.Size]byte{}
	}
	s.running[path] = query
	return true
}

// fits says whether a query may be followed at a path.
func (s *streams) fits(path string, query [sha256.Size]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	other, ok := s.running[path]
	return !ok || other == query
}

func (s *streams) end(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, path)
}

// sum names a query as Grafana keeps it.
func (m *Model) sum() [sha256.Size]byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic("encode " + err.Error()) // of texts and numbers
	}
	return sha256.Sum256(b)
}

// SubscribeStream says whether a channel can be followed. A query that cannot is
// an error that names what is wrong with it, of the gRPC code InvalidArgument.
func (d *Datasource) SubscribeStream(ctx context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	if !tailPath.MatchString(req.Path) {
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusNotFound}, nil
	}
	m, x, err := d.readTail(req.Data)
	if err == nil && !d.streams.fits(req.Path, m.sum()) {
		// The other's rows would come.
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusNotFound}, nil
	}
	var schema *data.Frame
	if err == nil {
		schema, err = d.checkTail(ctx, x)
	}
	if errors.Is(err, errNoIdentity) {
		d.logger.Warn("live tail refused", "err", err)
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	if err != nil {
		return nil, d.streamError(ctx, err)
	}
	initial, err := backend.NewInitialFrame(schema, data.IncludeSchemaOnly)
	if err != nil {
		return nil, fmt.Errorf("encode the schema: %w", err)
	}
	return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK, InitialData: initial}, nil
}

// PublishStream refuses: nothing is sent from dashboards to devices.
func (d *Datasource) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

// endOfTails is later than all events: a tail has no end, but the text of its
// query may name one.
var endOfTails = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// tailSlack is how late events may come whose time $__timeFilter still lets in.
const tailSlack = 24 * time.Hour

// readTail reads the query of a tail.
func (d *Datasource) readTail(b []byte) (Model, *Expanded, error) {
	if d.invalid != nil {
		return Model{}, nil, d.invalid
	}
	m, err := readModel(b)
	if err != nil {
		return m, nil, err
	}
	x, err := Expand(m, backend.TimeRange{From: time.Now().Add(-tailSlack), To: endOfTails}, time.Second, 0, false)
	return m, &x, err
}

// tailContext is a context for tails: of no user, and with no bound on the bytes
// that come over one connection.
func (d *Datasource) tailContext(ctx context.Context) context.Context {
	return httpclient.WithResponseLimit(d.authorize(ctx, http.Header{}), math.MaxInt64>>1)
}

// checkTail begins a tail to see whether it can be followed, and returns its
// frame without rows.
func (d *Datasource) checkTail(ctx context.Context, x *Expanded) (*data.Frame, error) {
	ctx, cancel := context.WithTimeout(d.tailContext(ctx), d.settings.Timeout)
	defer cancel()
	tail, err := d.client.Tail(ctx, client.TailRequest{Query: x.Text})
	if err != nil {
		return nil, inOriginal(err, x)
	}
	defer tail.Close()
	for {
		e, err := tail.Next()
		switch {
		case err != nil:
			return nil, err
		case e != nil && e.Error != nil:
			return nil, x.Errors(client.Errors{e.Error})
		case e != nil && e.Columns != nil:
			f, _, err := newResult(e.Columns).logs()
			if err != nil {
				return nil, refused{err}
			}
			return f, nil
		}
	}
}

// inOriginal moves the places of a refused query into the text as typed.
func inOriginal(err error, x *Expanded) error {
	var answered *client.StatusError
	if errors.As(err, &answered) {
		answered.Errors = x.Errors(answered.Errors)
	}
	return err
}

// streamFailure is an error of a stream with its code of gRPC.
type streamFailure struct {
	code codes.Code
	text string
}

// Error returns the text.
func (e *streamFailure) Error() string { return e.text }

// GRPCStatus is what gRPC sends.
func (e *streamFailure) GRPCStatus() *status.Status { return status.New(e.code, e.text) }

// streamError is an error of a stream as Grafana sees it.
func (d *Datasource) streamError(ctx context.Context, err error) error {
	var wrong client.Errors
	var no refused
	var said string
	code := codes.InvalidArgument
	switch t := d.diagnose(ctx, err); {
	case t != nil:
		said, code = t.Error(), codes.Unavailable
		switch t.category {
		case "settings":
			code = codes.FailedPrecondition
		case "unauthorized", "forbidden", "identity":
			code = codes.PermissionDenied
		}
	case errors.As(err, &wrong) && len(wrong) > 0:
		said = wrong[0].Message
		if wrong[0].Hint != "" {
			said += ". " + wrong[0].Hint
		}
	case errors.As(err, &no), backend.IsDownstreamError(err): // of the model
		said = err.Error()
	default:
		d.logger.Error("live tail", "err", err)
		return &streamFailure{codes.Internal, "the data source has failed; Grafana's log tells more"}
	}
	return backend.DownstreamError(&streamFailure{code, said})
}

// Waits between two attempts to follow.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// errDisposed ends the tails of a data source whose settings have changed:
// Grafana runs them again, with the new ones.
var errDisposed = errors.New("the settings of the data source have changed")

// RunStream follows a query until the context ends. It goes on where it was when
// the connection breaks.
func (d *Datasource) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	if !tailPath.MatchString(req.Path) {
		return backend.DownstreamError(&streamFailure{codes.NotFound, "no such stream"})
	}
	m, x, err := d.readTail(req.Data)
	if err != nil {
		return d.streamError(ctx, err)
	}
	if !d.streams.begin(req.Path, m.sum()) {
		return backend.DownstreamError(&streamFailure{codes.AlreadyExists, "a stream of another query runs at this path"})
	}
	defer d.streams.end(req.Path)
	ctx, cancel := context.WithCancelCause(d.tailContext(ctx))
	defer cancel(nil)
	go func() {
		select {
		case <-d.disposed:
			cancel(errDisposed)
		case <-ctx.Done():
		}
	}()
	t := &follower{d: d, expanded: x, sender: sender, request: client.TailRequest{Query: x.Text}}
	wait := firstRetry
	for {
		heard, err := t.follow(ctx)
		if heard {
			wait = firstRetry
		}
		switch {
		case errors.Is(context.Cause(ctx), errDisposed):
			return backend.DownstreamError(&streamFailure{codes.Aborted, errDisposed.Error()})
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errGone):
			t.request.After = ""
			t.gone()
		case d.lasting(ctx, err):
			return d.streamError(ctx, err)
		default:
			d.logger.Warn("live tail is interrupted", "err", err, "wait", wait)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// errGone says that a tail cannot go on where it was.
var errGone = errors.New("the service does not know the last event any more")

// refused is an error of a result that log lines cannot be made of.
type refused struct{ error }

// lasting says whether an error of a tail will come again: that of a query that
// cannot be followed, of credentials, of settings. Others are waited out.
func (d *Datasource) lasting(ctx context.Context, err error) bool {
	if t := d.diagnose(ctx, err); t != nil {
		switch t.category {
		case "settings", "identity", "unauthorized", "forbidden", "redirect", "not-hubscope":
			return true
		}
		return false
	}
	var answered *client.StatusError
	if errors.As(err, &answered) {
		return answered.Code >= 400 && answered.Code < 500 && answered.Code != http.StatusRequestTimeout && answered.Code != http.StatusTooManyRequests
	}
	var wrong client.Errors
	if errors.As(err, &wrong) && len(wrong) > 0 { // an event of the tail
		code := wrong[0].Code
		return strings.HasPrefix(code, "SYN") || strings.HasPrefix(code, "SEM") || strings.HasPrefix(code, "UNS")
	}
	var no refused
	return errors.As(err, &no)
}

// follower sends what a tail tells.
type follower struct {
	d        *Datasource
	expanded *Expanded
	sender   *backend.StreamSender
	request  client.TailRequest // goes on after what has been sent
	columns  []client.Column
	schema   []byte // that of the last frame
	notices  []data.Notice
}

// notice is told with the next frame.
func (t *follower) notice(format string, args ...any) {
	t.notices = append(t.notices, warning(format, args...))
}

func (t *follower) gone() {
	t.notice("events have left the stream before they could be shown: it was interrupted for too long")
}

// tailSilence is how long a tail may be silent: the service shows that it lives
// every ten seconds.
const tailSilence = 45 * time.Second

// follow follows until something fails; heard says that the service answered.
func (t *follower) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(tailSilence, cancel)
	defer silence.Stop()
	tail, err := t.d.client.Tail(ctx, t.request)
	if err != nil {
		var answered *client.StatusError
		// A cursor of a stream that was made anew.
		if t.request.After != "" && errors.As(err, &answered) && len(answered.Errors) > 0 && answered.Errors[0].Code == client.CodeCursor {
			return false, fmt.Errorf("%w: %w", errGone, err)
		}
		return false, inOriginal(err, t.expanded)
	}
	defer tail.Close()
	for {
		e, err := tail.Next()
		if err != nil {
			return heard, err
		}
		heard = true
		silence.Reset(tailSilence)
		if e != nil {
			if err := t.tell(e); err != nil {
				return heard, err
			}
		}
		t.request.After = tail.ID()
	}
}

// tell sends an event of the tail as a frame, if it has rows.
func (t *follower) tell(e *client.TailEvent) error {
	switch {
	case e.Error != nil:
		return t.expanded.Errors(client.Errors{e.Error})
	case e.Columns != nil:
		t.columns = e.Columns
		if _, _, err := newResult(t.columns).logs(); err != nil {
			return refused{err} // before there are rows
		}
		return nil
	case e.Gone:
		t.gone()
		return nil
	case e.Skipped > 0:
		t.notice("%d events were not looked at: they came faster than they could be shown; narrow the query", e.Skipped)
		return nil
	}
	r := newResult(t.columns)
	if err := r.add(e.Rows); err != nil {
		return err
	}
	f, notices, err := r.logs()
	if err != nil {
		return refused{err}
	}
	f.Meta.Notices = append(t.notices, notices...)
	t.notices = nil
	schema, err := data.FrameToJSON(f, data.IncludeSchemaOnly)
	if err != nil {
		return fmt.Errorf("encode the schema: %w", err)
	}
	include := data.IncludeDataOnly
	if !bytes.Equal(schema, t.schema) {
		include, t.schema = data.IncludeAll, schema
	}
	return t.sender.SendFrame(f, include)
}
