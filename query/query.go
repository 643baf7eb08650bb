// Package query answers KQL: it compiles a text against the catalog, runs it on
// ClickHouse and hands back typed, streamed rows.
//
//	text -> query/kql -> query/plan -> query/chsql -> Runner -> Result
//
// [Engine] is the one entry for everything that serves or prints results (the
// HTTP API, the command line, alert rules, the Grafana plugin through the API).
// It knows no HTTP and no ClickHouse driver: the driver is behind [Runner],
// which query/clickhouse implements.
//
// Errors have two forms. What the writer of a query can mend is a
// [kql.Errors], each error with its place in the text. Everything else is an
// [*Error] with a [Code]; its message is fit for users and carries no internals.
package query

import (
	"context"
	"time"

	"hubscope/query/kql"
	"hubscope/query/plan"
)

// Request is one query to compile or run.
type Request struct {
	// Text is KQL.
	Text string
	// Parameters are the values for `declare query_parameters`, by name: string,
	// bool, int, int64, float64, json.Number, time.Time, time.Duration, nil, or a
	// []any / map[string]any for dynamic. A string is converted to the declared
	// type, and may also be a KQL literal of it such as `datetime(2026-01-01)`.
	Parameters map[string]any
	// Start and End, when set, bound TimeGenerated of every table that has it:
	// Start <= TimeGenerated < End, whatever the text says.
	Start, End time.Time
	// Hubs, when not nil, restricts every table to these hubs: the row filter
	// of a token. An empty list allows no row.
	Hubs []string
	// Owner, when not nil, restricts the tables of what users do (QueryLog) to
	// the rows of this user.
	Owner *string
	// Limits overrides the engine's limits where its fields are not zero, up to
	// the most that the engine allows.
	Limits Limits
	// ID names the query for Cancel and for the log; made up when empty.
	ID string
	// Now is the value of now() and ago() for this query; the current time when
	// zero.
	Now time.Time
	// Progress, if set, is called while the query runs, never concurrently.
	Progress func(Stats)
}

// Limits bound one query. A zero field means "the engine's default".
type Limits struct {
	Time        time.Duration // wall time
	MemoryBytes int64         // memory in ClickHouse
	ResultRows  int64         // rows returned; more are cut and Truncated is set
	ResultBytes int64         // bytes returned, likewise
	ReadRows    int64         // rows read; more is an error
}

// DefaultLimits are the limits of an engine without configuration. Rows and
// bytes are Kusto's own (500,000 rows, 64 MB).
func DefaultLimits() Limits {
	return Limits{Time: 4 * time.Minute, MemoryBytes: 4 << 30, ResultRows: 500_000, ResultBytes: 64 << 20}
}

// DefaultMaxLimits are what a query may ask for at most when nobody says
// otherwise: results are streamed, so that large ones cost time and no memory.
func DefaultMaxLimits() Limits {
	return Limits{Time: time.Hour, MemoryBytes: 4 << 30, ResultRows: 20_000_000, ResultBytes: 16 << 30}
}

// Column is a column of a result: its name and its Kusto type.
type Column struct {
	Name string
	Type plan.Type
}

// Stats says what a query cost so far.
type Stats struct {
	Rows        int64         // rows returned
	Bytes       int64         // bytes returned, roughly
	ReadRows    int64         // rows read from tables
	ReadBytes   int64         // bytes read from tables, uncompressed
	TotalRows   int64         // rows the query is expected to read, 0 if unknown
	MemoryBytes int64         // peak memory in ClickHouse
	Elapsed     time.Duration // since the query was sent
	Compile     time.Duration // text to SQL
}

// Visualization is what a render operator asked for.
type Visualization struct {
	Kind       string            // timechart, piechart, table, ...
	Properties map[string]string // title, xcolumn, ycolumns (comma separated), kind, ...
}

// Code is the kind of an error that is not the query text's fault alone.
type Code string

// The codes.
const (
	CodeTimeout     Code = "Timeout"           // the time limit was reached
	CodeMemory      Code = "MemoryLimit"       // the memory limit was reached
	CodeReadLimit   Code = "ReadLimit"         // more rows than allowed would be read
	CodeComplex     Code = "QueryTooComplex"   // the query is too long or too deep for the engine
	CodeCanceled    Code = "Canceled"          // by the caller
	CodeDuplicate   Code = "DuplicateQueryId"  // another query with this id runs
	CodeUnavailable Code = "EngineUnavailable" // ClickHouse does not answer
	CodeRuntime     Code = "RuntimeError"      // the query met data it cannot work on
	CodeInternal    Code = "Internal"          // a bug of ours
)

// Error is an error of running a query, with a message fit for users.
type Error struct {
	Code    Code
	Message string
	ID      string // the query's id
	Err     error  // the cause, for the log only
}

// Error returns the message that users may see.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Analysis is what is known of a query without running it.
type Analysis struct {
	Errors  kql.Errors // nil: the query compiles
	Columns []Column   // nil when there are errors
	Tables  []string   // stored tables it reads
}

// Explanation says how a query would run.
type Explanation struct {
	Columns       []Column
	SQL           string
	Tables        []string // ClickHouse tables and views it reads
	Rollup        string   // the rollup that answers it, "" when the raw events do
	RollupWhyNot  string   // what stands against the rollups, for the parts that they do not answer
	Notices       []string // what of the answer a user has to know
	Visualization *Visualization
	EstimatedRows int64 // rows ClickHouse expects to read, -1 if unknown
	Plan          string
}

// Runner runs a statement on ClickHouse. query/clickhouse implements it.
type Runner interface {
	// Run starts the statement and returns its rows as they come. It returns
	// when the first block or an error is there.
	Run(ctx context.Context, s Statement) (Rows, error)
	// Estimate returns how many rows the statement would read, -1 if unknown.
	Estimate(ctx context.Context, s Statement) (int64, error)
	// Kill ends the query with this id, wherever it runs. No such query is no error.
	Kill(ctx context.Context, id string) error
}

// Statement is SQL ready to run.
type Statement struct {
	ID      string
	SQL     string
	Now     time.Time // bound to the parameter now
	Columns []Column
	Limits  Limits
	// RowFilters is the value of the setting additional_table_filters: what of
	// each table the statement may read. Empty is all.
	RowFilters string
	// Input, if not nil, is a table that the statement brings with it.
	Input    *Input
	Progress func(Stats)
}

// Rows are the rows of a running statement.
type Rows interface {
	// Next returns the next batch, io.EOF after the last. The batch is valid
	// until the next call.
	Next() (*Batch, error)
	// Stats may be called at any time.
	Stats() Stats
	// Truncated says whether rows were cut; it is final after io.EOF.
	Truncated() bool
	// Close ends the query if it still runs.
	Close() error
}

// Result is a running query's result. Close it.
type Result struct {
	ID            string
	Columns       []Column
	Visualization *Visualization
	SQL           string
	Tables        []string
	Rollup        string   // the rollup that answered, "" when the raw events did
	Notices       []string // what of the answer a user has to know, in sentences
	Takes         bool     // the query asked for its first rows only: that rows are cut is no truncation

	rows    Rows
	compile time.Duration
}

// Next returns the next batch of rows, io.EOF after the last one. A batch is
// valid until the next call.
func (r *Result) Next() (*Batch, error) { return r.rows.Next() }

// Stats says what the query cost so far.
func (r *Result) Stats() Stats {
	s := r.rows.Stats()
	s.Compile = r.compile
	return s
}

// Truncated says whether a limit cut rows off. It is final after io.EOF.
func (r *Result) Truncated() bool { return r.rows.Truncated() }

// Close ends the query in the engine if it still runs.
func (r *Result) Close() error { return r.rows.Close() }
