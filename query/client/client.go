package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hubscope/query/kql"
)

// Client asks a query service. It is safe for concurrent use.
type Client struct {
	// URL is the service's address, e.g. http://127.0.0.1:7070.
	URL string
	// Token, if not empty, is sent as a bearer token.
	Token string
	// HTTP makes the requests; http.DefaultClient by default.
	HTTP *http.Client
}

// Answer is a running query's result as a client reads it. Close it.
type Answer struct {
	// Columns are known once Query has returned.
	Columns []Column
	// Done is set when Next has returned io.EOF.
	Done *Done
	// Progress, if set, is called by Next for each report of progress.
	Progress func(Stats)

	body  io.ReadCloser
	lines *bufio.Reader
}

// Query runs a query. It returns when the columns are known; progress before
// that goes to the function of that name, which may be nil. An error of the
// query holds Errors (see errors.As); all that the service refuses to answer is
// a *StatusError.
func (c *Client) Query(ctx context.Context, req QueryRequest, progress func(Stats)) (*Answer, error) {
	res, err := c.do(ctx, http.MethodPost, "/api/v1/query", req, MediaNDJSON)
	if err != nil {
		return nil, err
	}
	a := &Answer{Progress: progress, body: res.Body, lines: bufio.NewReaderSize(res.Body, 16<<10)}
	for a.Columns == nil {
		line, err := a.line()
		if err != nil {
			a.Close()
			return nil, err
		}
		a.Columns = line.Columns
		if line.Done != nil || line.Columns == nil && line.Rows != nil {
			a.Close()
			return nil, fmt.Errorf("%w: it has rows without columns", ErrNotAnswer)
		}
	}
	return a, nil
}

// line reads one line; an error that the service tells is returned as such.
func (a *Answer) line() (*Line, error) {
	text, err := a.lines.ReadBytes('\n')
	if err != nil && (len(text) == 0 || !errors.Is(err, io.EOF)) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("the answer ends early: %w", err)
	}
	if rows, ok := splitRows(text); ok {
		return &Line{Rows: rows}, nil
	}
	var raw struct {
		Line
		Columns *[]Column `json:"columns"` // an empty list is not a missing one
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) {
			err = io.ErrUnexpectedEOF // cut off
		}
		return nil, fmt.Errorf("the answer ends early: %w", notAnswer(err))
	}
	line := &raw.Line
	if raw.Columns != nil {
		line.Columns = append([]Column{}, *raw.Columns...)
	}
	if line.Progress != nil && a.Progress != nil {
		a.Progress(*line.Progress)
	}
	if line.Error != nil {
		return nil, Errors{line.Error}
	}
	return line, nil
}

// ErrNotAnswer is an answer that no query service gives: something else answers
// at its address.
var ErrNotAnswer = errors.New("this is no answer of a query service")

// notAnswer makes an error of decoding JSON an ErrNotAnswer.
func notAnswer(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) {
		return fmt.Errorf("%w: %w", ErrNotAnswer, err)
	}
	return err
}

// Next returns some rows, io.EOF after the last.
func (a *Answer) Next() ([][]json.RawMessage, error) {
	for a.Done == nil {
		line, err := a.line()
		if err != nil {
			return nil, err
		}
		if len(line.Rows) > 0 {
			return line.Rows, nil
		}
		a.Done = line.Done
	}
	return nil, io.EOF
}

// Close ends the query if it still runs.
func (a *Answer) Close() error { return a.body.Close() }

// Arrow runs a query and returns its result as an Arrow IPC stream. The caller
// closes it, which ends the query if it still runs.
func (c *Client) Arrow(ctx context.Context, req QueryRequest) (io.ReadCloser, error) {
	res, err := c.do(ctx, http.MethodPost, "/api/v1/query", req, MediaArrow)
	if err != nil {
		return nil, err
	}
	if got := res.Header.Get("Content-Type"); got != MediaArrow {
		res.Body.Close()
		return nil, fmt.Errorf("query service at %s: an answer of type %q, not Arrow", c.URL, got)
	}
	return res.Body, nil
}

// Validate checks a query without running it.
func (c *Client) Validate(ctx context.Context, req QueryRequest) (*ValidateResponse, error) {
	return call[ValidateResponse](ctx, c, http.MethodPost, "/api/v1/validate", req)
}

// Explain says how a query would run.
func (c *Client) Explain(ctx context.Context, req QueryRequest) (*ExplainResponse, error) {
	return call[ExplainResponse](ctx, c, http.MethodPost, "/api/v1/explain", req)
}

// Schema returns the tables.
func (c *Client) Schema(ctx context.Context) (*SchemaResponse, error) {
	return call[SchemaResponse](ctx, c, http.MethodGet, "/api/v1/schema", nil)
}

// Functions returns the functions.
func (c *Client) Functions(ctx context.Context) (*FunctionsResponse, error) {
	return call[FunctionsResponse](ctx, c, http.MethodGet, "/api/v1/functions", nil)
}

// Version returns the version of the service.
func (c *Client) Version(ctx context.Context) (string, error) {
	answer, err := call[struct {
		Tables []struct {
			Rows [][]any
		}
	}](ctx, c, http.MethodPost, "/v1/rest/mgmt", map[string]string{"csl": ".show version"})
	if err != nil {
		return "", err
	}
	if len(answer.Tables) == 0 || len(answer.Tables[0].Rows) != 1 || len(answer.Tables[0].Rows[0]) < 4 {
		return "", fmt.Errorf("%w: it has no version", ErrNotAnswer)
	}
	// ProductVersion: a real Kusto has none that begins so.
	product, _ := answer.Tables[0].Rows[0][3].(string)
	version, ok := strings.CutPrefix(product, "hubscope ")
	if !ok {
		return "", fmt.Errorf("%w: its product is %q", ErrNotAnswer, product)
	}
	return version, nil
}

// Cancel ends the query with this id, wherever it runs.
func (c *Client) Cancel(ctx context.Context, id string) error {
	res, err := c.do(ctx, http.MethodDelete, "/api/v1/queries/"+url.PathEscape(id), nil, MediaJSON)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// maxDocument bounds what is read of an answer that is not a stream.
const maxDocument = 64 << 20

func call[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	res, err := c.do(ctx, method, path, body, MediaJSON)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	v := new(T)
	if err := json.NewDecoder(io.LimitReader(res.Body, maxDocument)).Decode(v); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", path, notAnswer(err))
	}
	return v, nil
}

// do sends a request; an answer that is not a success becomes an error.
func (c *Client) do(ctx context.Context, method, path string, body any, accept string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, reader)
	if err != nil {
		return nil, fmt.Errorf("address of the query service: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", MediaJSON)
	}
	req.Header.Set("Accept", accept)
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		var urlErr *url.Error
		if errors.As(err, &urlErr) && ctx.Err() == nil {
			err = urlErr.Err // without method and address, which the message has
		}
		return nil, fmt.Errorf("query service at %s: %w", c.URL, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	var e ErrorResponse
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what arrived is enough to say what is wrong
	failed := &StatusError{URL: c.URL, Code: res.StatusCode, Status: res.Status}
	if json.Unmarshal(b, &e) == nil && e.Error != nil {
		failed.Errors = Errors{e.Error}
		if len(e.Errors) > 0 {
			failed.Errors = e.Errors
		}
	}
	return nil, failed
}

// StatusError is an answer that is not a success.
type StatusError struct {
	URL    string // of the service
	Code   int    // 404
	Status string // 404 Not Found
	// Errors are what the service says is wrong: none when the answer is not one
	// of a query service but of something before it.
	Errors Errors
}

// Error returns what the service says, or the status.
func (e *StatusError) Error() string {
	if len(e.Errors) > 0 {
		return e.Errors.Error()
	}
	return fmt.Sprintf("query service at %s: %s", e.URL, e.Status)
}

// Unwrap returns the Errors, if there are any.
func (e *StatusError) Unwrap() error {
	if len(e.Errors) == 0 {
		return nil
	}
	return e.Errors
}

// ParseTimespan reads a length of time as KQL writes it: 30m, 1.5h, 7d,
// 1.02:03:04.
func ParseTimespan(s string) (time.Duration, bool) {
	ticks, ok := kql.ParseTimespan(s)
	if !ok || ticks > math.MaxInt64/100 || ticks < math.MinInt64/100 {
		return 0, false
	}
	return time.Duration(ticks * 100), true
}
