package client

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"hubscope/query/kql"
)

// Media types of answers, by the names that ?format= takes; a tail's are events.
const (
	MediaJSON   = "application/json"
	MediaNDJSON = "application/x-ndjson"
	MediaCSV    = "text/csv"
	MediaArrow  = "application/vnd.apache.arrow.stream"
	MediaEvents = "text/event-stream"
)

// QueryRequest is the body of POST /api/v1/query, /validate and /explain.
type QueryRequest struct {
	// Query is the KQL text.
	Query string `json:"query"`
	// Parameters are the values for `declare query_parameters`, by name.
	Parameters map[string]any `json:"parameters,omitempty"`
	// Start and End bound TimeGenerated of every table that has it:
	// Start <= TimeGenerated < End. ISO 8601 text; empty is no bound.
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
	// ID names the query for cancelling; one is made up when it is empty.
	ID string `json:"id,omitempty"`
	// Format of the answer: json, ndjson, csv or arrow. Empty leaves it to
	// ?format= and the Accept header.
	Format string `json:"format,omitempty"`
	// TimeoutSeconds, MaxRows, MaxBytes (of the result) and MaxMemory (bytes) are
	// the limits of this query, up to those of the service; 0 is the service's
	// default. With MaxRows alone the bytes are as many as the service allows.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	MaxRows        int64   `json:"maxRows,omitempty"`
	MaxBytes       int64   `json:"maxBytes,omitempty"`
	MaxMemory      int64   `json:"maxMemory,omitempty"`
	// Explain asks for SQL, Tables and Rollup of the answer, as JSON and NDJSON.
	Explain bool `json:"explain,omitempty"`
}

// Column is a column of a result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // a Kusto type: string, long, datetime, ...
}

// Stats says what a query cost.
type Stats struct {
	Rows        int64   `json:"rows"`
	ReadRows    int64   `json:"readRows"`
	ReadBytes   int64   `json:"readBytes"`
	TotalRows   int64   `json:"totalRows,omitempty"` // expected to be read, while it runs
	MemoryBytes int64   `json:"memoryBytes"`
	ElapsedMs   float64 `json:"elapsedMs"`
	CompileMs   float64 `json:"compileMs"`
}

// Render is what a render operator asked for.
type Render struct {
	Visualization string            `json:"visualization"`
	Properties    map[string]string `json:"properties,omitempty"`
}

// QueryResponse is the answer to POST /api/v1/query as JSON. A cell is
// a number for int, long and real ("NaN", "Infinity" and "-Infinity" as text),
// ISO 8601 text with seven decimals and Z for datetime, Kusto's text for
// timespan, any JSON value for dynamic, text for string, guid and decimal, and
// null; a string is never null.
type QueryResponse struct {
	Columns   []Column            `json:"columns"`
	Rows      [][]json.RawMessage `json:"rows"`
	Stats     Stats               `json:"stats"`
	Truncated bool                `json:"truncated"`
	Notices   []string            `json:"notices,omitempty"` // what of the answer one has to know
	Render    *Render             `json:"render,omitempty"`
	*Explained
	// Error says why the rows end early: it stands here only when the query
	// failed after the first rows had been sent.
	Error *Error `json:"error,omitempty"`
}

// Explained says how a query ran. It is there when the request asked for it.
type Explained struct {
	SQL    string   `json:"sql"`
	Tables []string `json:"tables"` // of ClickHouse
	Rollup string   `json:"rollup"` // "" when the raw events answered
}

// Line is one line of an NDJSON answer; exactly one field is set. The lines
// are: progress at any time before done, columns once, rows any number of times,
// and at the end done or error.
type Line struct {
	Columns  []Column            `json:"columns,omitempty"`
	Rows     [][]json.RawMessage `json:"rows,omitempty"`
	Progress *Stats              `json:"progress,omitempty"`
	Done     *Done               `json:"done,omitempty"`
	Error    *Error              `json:"error,omitempty"`
}

// Done is the last line of an NDJSON answer that is complete.
type Done struct {
	Stats     Stats    `json:"stats"`
	Truncated bool     `json:"truncated"`
	Notices   []string `json:"notices,omitempty"`
	Render    *Render  `json:"render,omitempty"`
	*Explained
}

// Keys of the metadata of the last batch of an answer as Arrow, which has no rows.
const (
	ArrowTruncated = "hubscope.truncated" // true or false
	ArrowRows      = "hubscope.rows"
	ArrowNotices   = "hubscope.notices" // lines; absent without any
)

// ValidateResponse is the answer to POST /api/v1/validate.
type ValidateResponse struct {
	Valid   bool     `json:"valid"`
	Columns []Column `json:"columns"`
	Tables  []string `json:"tables"`
	Errors  []*Error `json:"errors"`
}

// ExplainResponse is the answer to POST /api/v1/explain.
type ExplainResponse struct {
	Columns       []Column `json:"columns"`
	SQL           string   `json:"sql"`
	Tables        []string `json:"tables"`
	Rollup        string   `json:"rollup"`       // "" when the raw events answer
	RollupWhyNot  string   `json:"rollupWhyNot"` // why no rollup answers
	Notices       []string `json:"notices,omitempty"`
	EstimatedRows int64    `json:"estimatedRows"`
	Plan          string   `json:"plan"`
	Render        *Render  `json:"render,omitempty"`
}

// SchemaResponse is the answer to GET /api/v1/schema.
type SchemaResponse struct {
	Database string  `json:"database"`
	Tables   []Table `json:"tables"`
}

// Table is a table that queries may read.
type Table struct {
	Name    string        `json:"name"`
	Doc     string        `json:"doc,omitempty"`
	Columns []TableColumn `json:"columns"`
}

// TableColumn is a column of a Table.
type TableColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Doc  string `json:"doc,omitempty"`
}

// FunctionsResponse is the answer to GET /api/v1/functions.
type FunctionsResponse struct {
	Functions []Function `json:"functions"`
}

// Function is a scalar function or an aggregate.
type Function struct {
	Name       string   `json:"name"`
	Group      string   `json:"group"`
	Doc        string   `json:"doc,omitempty"`
	Aggregate  bool     `json:"aggregate"`
	Replaced   string   `json:"replacedBy,omitempty"` // for old spellings
	Signatures []string `json:"signatures"`
}

// ErrorResponse is the body of every answer with a status of 400 or more.
type ErrorResponse struct {
	Error  *Error   `json:"error"`
	Errors []*Error `json:"errors,omitempty"` // all of them, when there are several
}

// Error is an error as clients see it. Line, Column and Length (in characters,
// from 1) say which part of the query text it is about; without a place they
// are 0.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Length  int    `json:"length,omitempty"`
	Hint    string `json:"hint,omitempty"`
	QueryID string `json:"queryId,omitempty"`
}

// Codes of errors that come from the HTTP interface itself. Errors of a query
// carry the codes of the language (SYN...., UNS...., SEM....) and of the engine
// (Timeout, LimitExceeded, ...), with which CodeInternal is shared.
const (
	CodeBadRequest  = "BadRequest"
	CodeNotFound    = "NotFound"
	CodeMethod      = "MethodNotAllowed"
	CodeTooLarge    = "RequestTooLarge"
	CodeUnsupported = "UnsupportedMediaType"
	CodeForbidden   = "Forbidden"
	CodeThrottled   = "TooManyRequests"
	CodeInternal    = "Internal"
	// CodeUnauthorized is that of a request without a token that is known.
	CodeUnauthorized = "Unauthorized"
	// CodeCursor is that of a tail that cannot go on where it should: the position
	// is none, or one in another service's stream. One without a position begins now.
	CodeCursor = "UnknownPosition"
	// CodeTooMany is that of a tail beyond the limit of those at once.
	CodeTooMany = "TooManyTails"
)

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Render returns the error as it is shown to a person beside the text of the
// query: with the line, a caret and the hint when the error has a place.
func (e *Error) Render(text string) string { return e.RenderWidth(text, 0) }

// RenderWidth is Render for a terminal of so many cells; 0 is any width.
func (e *Error) RenderWidth(text string, cells int) string {
	if e.Line == 0 {
		s := "error " + e.Code + ": " + e.Message
		if e.Hint != "" {
			s += "\n  " + e.Hint
		}
		return s
	}
	start := kql.Offset(text, e.Line, e.Column)
	end := start
	for n := 0; n < e.Length && end < len(text); n++ {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	return (&kql.Error{Span: kql.Span{Start: start, End: end}, Code: e.Code, Message: e.Message, Hint: e.Hint}).RenderWidth(text, cells)
}

// Errors are the errors of a query, at least one.
type Errors []*Error

// Error returns the errors one a line.
func (es Errors) Error() string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Error()
	}
	return strings.Join(parts, "\n")
}

// Render returns all errors as Error.Render does.
func (es Errors) Render(text string) string { return es.RenderWidth(text, 0) }

// RenderWidth returns all errors as Error.RenderWidth does.
func (es Errors) RenderWidth(text string, cells int) string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.RenderWidth(text, cells)
	}
	return strings.Join(parts, "\n")
}
