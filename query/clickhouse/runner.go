// Package clickhouse runs the compiler's statements on ClickHouse over its
// native protocol. It implements [query.Runner]: it builds no SQL of its own but
// four administrative statements, and never writes. Beside it, [Log] stores
// what was asked, and reads nothing.
//
// Each statement runs with its own limits of time, memory and rows read, and
// read-only whatever the user's rights are. Ending the context, or closing the
// rows early, ends the query in the server.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/query"
)

// Config is the configuration of a [Runner].
type Config struct {
	// DSN as clickhouse-go reads it, native protocol:
	// clickhouse://user:password@host:9000/database?secure=true. The user needs
	// SELECT on the database and should have nothing more.
	DSN string
	// MaxConns bounds the connections, and so the queries that run at once;
	// 16 when zero. A query that finds none free waits.
	MaxConns int
	// Log gets what users are not told; slog.Default() when nil.
	Log *slog.Logger
}

// Runner is a pool of connections. It is safe for concurrent use.
type Runner struct {
	pool *pool
	log  *slog.Logger
	// writable says that the user could write, so that each query must say that
	// it does not. A read-only user may not set that setting.
	writable bool
	version  string
}

// Open connects and learns what the user may do.
func Open(ctx context.Context, cfg Config) (*Runner, error) {
	opts, err := clickhouse.ParseDSN(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("clickhouse dsn: %w", redact(err))
	}
	if opts.Protocol != clickhouse.Native || len(opts.Addr) == 0 {
		return nil, errors.New("clickhouse dsn: the native protocol is needed, clickhouse://host:9000/database")
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 16
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	pool, err := newPool(ch.Options{
		Address: opts.Addr[0], Database: opts.Auth.Database, User: opts.Auth.Username, Password: opts.Auth.Password,
		ClientName: "hubscope query", TLS: opts.TLS, DialTimeout: dialTimeout, HandshakeTimeout: handshakeTimeout,
		ReadTimeout: readTimeout, Compression: ch.CompressionDisabled,
	}, cfg.MaxConns)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	r := &Runner{pool: pool, log: cfg.Log}
	var readonly, version proto.ColStr
	err = pool.do(ctx, ch.Query{
		Body:   "SELECT toString(getSetting('readonly')) AS readonly, version() AS version",
		Result: proto.Results{{Name: "readonly", Data: &readonly}, {Name: "version", Data: &version}},
	})
	if err != nil || readonly.Rows() != 1 {
		pool.close()
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	r.writable, r.version = readonly.Row(0) == "0", version.Row(0)
	return r, nil
}

// redact keeps the DSN, with its password, out of an error.
func redact(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && u.Unwrap() != nil {
		return u.Unwrap()
	}
	return err
}

// Version returns the server's version.
func (r *Runner) Version() string { return r.version }

// Close closes the connections; running queries end.
func (r *Runner) Close() { r.pool.close() }

// settings are the limits of a statement. The compiler's own settings are part
// of its SQL.
func (r *Runner) settings(s query.Statement) []ch.Setting {
	var out []ch.Setting
	add := func(key string, value string) {
		out = append(out, ch.Setting{Key: key, Value: value, Important: true})
	}
	if d := s.Limits.Time; d > 0 {
		add("max_execution_time", strconv.FormatFloat(d.Seconds(), 'f', 3, 64))
		add("timeout_overflow_mode", "throw")
	}
	if n := s.Limits.MemoryBytes; n > 0 {
		add("max_memory_usage", strconv.FormatInt(n, 10))
	}
	if n := s.Limits.ReadRows; n > 0 {
		add("max_rows_to_read", strconv.FormatInt(n, 10))
		add("read_overflow_mode", "throw")
	}
	if n := s.Limits.ResultRows; n > 0 {
		// One more than allowed shows that there were more.
		add("limit", strconv.FormatInt(n+1, 10))
	}
	// The compiler bounds what a text may become; the engine's own bounds are for
	// what people write by hand.
	add("max_query_size", "67108864")
	add("max_ast_elements", "2000000")
	add("max_expanded_ast_elements", "2000000")
	// Plain strings instead of dictionaries, also where the type would be
	// LowCardinality(Nullable(String)), which the driver does not know.
	add("low_cardinality_allow_in_native_format", "0")
	if s.Input != nil {
		// Its rows are few, and come back in their order.
		add("max_threads", "1")
	}
	if s.RowFilters != "" {
		add("additional_table_filters", s.RowFilters)
	}
	if r.writable {
		// 2 forbids writing, and lets the statement have settings of its own.
		add("readonly", "2")
	}
	return out
}

// nowFormat is how ClickHouse reads the parameter now, a DateTime64(7, 'UTC').
const nowFormat = "2006-01-02 15:04:05.0000000"

// Run implements [query.Runner].
func (r *Runner) Run(ctx context.Context, s query.Statement) (query.Rows, error) {
	limit := s.Limits.Time + 2*time.Second
	if s.Limits.Time <= 0 {
		limit = math.MaxInt64
	}
	// The engine looks at its clock between blocks only, and not while it plans.
	ctx, cancel := context.WithTimeout(ctx, limit)
	rows := &rows{
		columns: s.Columns, limits: s.Limits, progress: s.Progress, start: time.Now(), cancel: cancel,
		blocks: make(chan *query.Batch), next: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(rows.done)
		defer cancel()
		rows.err = rows.translate(s.ID, r.do(ctx, s, rows))
		if e := (*query.Error)(nil); errors.As(rows.err, &e) && e.Code == query.CodeInternal {
			r.log.Error("query failed", "query_id", s.ID, "error", e.Err)
		}
	}()
	// An error before the first row is the caller's to see at once.
	select {
	case b := <-rows.blocks:
		rows.first = b
		return rows, nil
	case <-rows.done:
		if rows.err != nil {
			return nil, rows.err
		}
		return rows, nil
	}
}

// do runs the statement; it returns when the last block was taken.
func (r *Runner) do(ctx context.Context, s query.Statement, rows *rows) error {
	results := proto.Results{}
	name, external, err := input(s.Input)
	if err != nil {
		return err
	}
	return r.pool.do(ctx, ch.Query{
		ExternalTable: name, ExternalData: external,
		Body: s.SQL, QueryID: s.ID, Settings: r.settings(s),
		Parameters: ch.Parameters(map[string]any{"now": s.Now.UTC().Format(nowFormat)}),
		Result:     results.Auto(),
		OnResult: func(ctx context.Context, block proto.Block) error {
			if block.Rows == 0 {
				return nil
			}
			return rows.put(ctx, &results, block.Rows)
		},
		OnProgress: func(_ context.Context, p proto.Progress) error {
			rows.add(p)
			return nil
		},
		OnProfileEvents: func(_ context.Context, events []ch.ProfileEvent) error {
			for _, e := range events {
				if e.Name == "MemoryTrackerPeakUsage" {
					rows.memory(e.Value)
				}
			}
			return nil
		},
	})
}

// Estimate implements [query.Runner] by EXPLAIN ESTIMATE, which reads indexes only.
func (r *Runner) Estimate(ctx context.Context, s query.Statement) (int64, error) {
	var (
		database, table      proto.ColStr
		parts, counts, marks proto.ColUInt64
		total                int64
	)
	err := r.pool.do(ctx, ch.Query{
		Body: "EXPLAIN ESTIMATE " + s.SQL, Settings: r.settings(query.Statement{Limits: query.Limits{Time: 10 * time.Second}, RowFilters: s.RowFilters}),
		Parameters: ch.Parameters(map[string]any{"now": s.Now.UTC().Format(nowFormat)}),
		Result: proto.Results{{Name: "database", Data: &database}, {Name: "table", Data: &table}, {Name: "parts", Data: &parts},
			{Name: "rows", Data: &counts}, {Name: "marks", Data: &marks}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range counts.Rows() {
				total += int64(counts.Row(i))
			}
			return nil
		},
	})
	if err != nil {
		return -1, (&rows{}).translate(s.ID, err)
	}
	return total, nil
}

// Rollups returns since when each rollup that notes it holds everything. A store
// that is older than they are has none.
func (r *Runner) Rollups(ctx context.Context) (map[string]time.Time, error) {
	var name proto.ColStr
	var since proto.ColInt64
	found := map[string]time.Time{}
	err := r.pool.do(ctx, ch.Query{
		Body:     "SELECT toString(Name) AS name, toInt64(max(Since)) AS since FROM " + query.RollupStarts + " GROUP BY Name",
		Settings: r.settings(query.Statement{}),
		Result:   proto.Results{{Name: "name", Data: &name}, {Name: "since", Data: &since}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range name.Rows() {
				found[name.Row(i)] = time.Unix(since.Row(i), 0).UTC()
			}
			return nil
		},
	})
	if e, ok := ch.AsException(err); ok && e.Code == proto.ErrUnknownTable {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("starts of rollups: %w", err)
	}
	return found, nil
}

// Kill implements [query.Runner].
func (r *Runner) Kill(ctx context.Context, id string) error {
	results := proto.Results{}
	err := r.pool.do(ctx, ch.Query{
		Body:       "KILL QUERY WHERE query_id = {id:String} ASYNC",
		Parameters: ch.Parameters(map[string]any{"id": id}),
		Result:     results.Auto(),
		OnResult:   func(context.Context, proto.Block) error { return nil },
	})
	if err != nil {
		return (&rows{}).translate(id, err)
	}
	return nil
}

// rows hands blocks from the connection's goroutine to the reader's, one at a time.
type rows struct {
	columns  []query.Column
	limits   query.Limits
	progress func(query.Stats)
	start    time.Time
	cancel   context.CancelFunc

	blocks chan *query.Batch
	next   chan struct{} // the reader is done with the last block
	done   chan struct{} // closed when the query has ended; err is set before
	err    error

	// The reader's.
	first  *query.Batch
	taken  bool
	closed bool

	mu        sync.Mutex
	stats     query.Stats
	truncated bool
}

// errFull ends a query whose result is as large as it may be.
var errFull = errors.New("result is full")

// put hands a block over and waits until the reader is done with it: the
// columns are used again for the next one.
func (r *rows) put(ctx context.Context, results *proto.Results, n int) error {
	if err := ctx.Err(); err != nil {
		return err // what a query says after its end is a part of the answer, which looks like all of it
	}
	batch, err := decode(r.columns, *results, n)
	if err != nil {
		return err
	}
	r.mu.Lock()
	full := false
	if limit := r.limits.ResultRows; limit > 0 && r.stats.Rows+int64(batch.Rows) > limit {
		cut(batch, int(limit-r.stats.Rows))
		full = true
	}
	left := int64(0)
	if limit := r.limits.ResultBytes; limit > 0 {
		left = max(limit-r.stats.Bytes, 1)
	}
	keep, bytes := within(batch, left)
	if keep < batch.Rows {
		cut(batch, keep)
		full = true
	}
	r.truncated = full
	r.stats.Rows += int64(batch.Rows)
	r.stats.Bytes += bytes
	r.mu.Unlock()
	if batch.Rows > 0 {
		select {
		case r.blocks <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-r.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if full {
		return errFull
	}
	return nil
}

func (r *rows) add(p proto.Progress) {
	r.mu.Lock()
	r.stats.ReadRows += int64(p.Rows)
	r.stats.ReadBytes += int64(p.Bytes)
	r.stats.TotalRows += int64(p.TotalRows)
	r.stats.Elapsed = time.Since(r.start)
	stats := r.stats
	r.mu.Unlock()
	if r.progress != nil {
		r.progress(stats)
	}
}

func (r *rows) memory(n int64) {
	r.mu.Lock()
	r.stats.MemoryBytes = max(r.stats.MemoryBytes, n)
	r.mu.Unlock()
}

// Next implements [query.Rows].
func (r *rows) Next() (*query.Batch, error) {
	if b := r.first; b != nil {
		r.first, r.taken = nil, true
		return b, nil
	}
	if r.taken {
		r.taken = false
		select {
		case r.next <- struct{}{}:
		case <-r.done:
		}
	}
	select {
	case b := <-r.blocks:
		r.taken = true
		return b, nil
	case <-r.done:
		r.mu.Lock()
		r.stats.Elapsed = time.Since(r.start)
		r.mu.Unlock()
		if r.err != nil {
			return nil, r.err
		}
		return nil, io.EOF
	}
}

// Stats implements [query.Rows].
func (r *rows) Stats() query.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	select {
	case <-r.done:
	default:
		s.Elapsed = time.Since(r.start)
	}
	return s
}

// Truncated implements [query.Rows].
func (r *rows) Truncated() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.truncated
}

// Close implements [query.Rows].
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.cancel()
	<-r.done
	return nil
}

// translate turns what the driver says into what users may hear.
func (r *rows) translate(id string, err error) error {
	if err == nil || errors.Is(err, errFull) {
		return nil
	}
	wrap := func(code query.Code, message string) error {
		return &query.Error{Code: code, Message: message, ID: id, Err: err}
	}
	const away = "the storage engine does not answer; try again in a moment"
	if errors.As(err, new(*unreachableError)) {
		return wrap(query.CodeUnavailable, away)
	}
	if errors.Is(err, context.Canceled) {
		return wrap(query.CodeCanceled, "the query was canceled")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return wrap(query.CodeTimeout, "the query took longer than its time limit of "+r.limits.Time.String()+"; narrow the time range or filter earlier")
	}
	e, ok := ch.AsException(err)
	if !ok {
		if broken(err) {
			return wrap(query.CodeUnavailable, away)
		}
		return wrap(query.CodeInternal, "internal error; the log has the details under this query id")
	}
	switch e.Code {
	case proto.ErrTimeoutExceeded, proto.ErrTooSlow:
		return wrap(query.CodeTimeout, "the query took longer than its time limit of "+r.limits.Time.String()+"; narrow the time range or filter earlier")
	case proto.ErrMemoryLimitExceeded:
		return wrap(query.CodeMemory, "the query needs more memory than its limit; narrow the time range, or summarize by fewer keys")
	case proto.ErrTooManyRows, proto.ErrTooManyBytes, proto.ErrTooManyRowsOrBytes:
		return wrap(query.CodeReadLimit, "the query would read more rows than its limit; filter on TimeGenerated, Hub or DeviceId")
	case proto.ErrQueryWasCancelled, proto.ErrQueryWasCancelledByClient:
		return wrap(query.CodeCanceled, "the query was canceled")
	case proto.ErrQueryWithSameIDIsAlreadyRunning:
		return wrap(query.CodeDuplicate, "a query with the id "+strconv.Quote(id)+" runs already; take another id, or none")
	case proto.ErrAuthenticationFailed, proto.ErrTooManySimultaneousQueries:
		return wrap(query.CodeUnavailable, "the storage engine does not take queries now; try again in a moment")
	}
	if text, ok := runtimeText(e); ok {
		return wrap(query.CodeRuntime, text)
	}
	if tooComplex(e) {
		return wrap(query.CodeComplex, "the query is too long or nested too deeply for the storage engine; split it, or put long lists into a datatable or externaldata")
	}
	return wrap(query.CodeInternal, "internal error; the log has the details under this query id")
}

// errThrowIf is ClickHouse's FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, which assert()
// becomes.
const errThrowIf = 395

// errPlanOptimizations is ClickHouse's TOO_MANY_QUERY_PLAN_OPTIMIZATIONS.
const errPlanOptimizations = 572

// tooComplex says whether the engine refused to look at a statement as large as
// this one.
func tooComplex(e *ch.Exception) bool {
	switch e.Code {
	case proto.ErrTooDeepAst, proto.ErrTooBigAst, proto.ErrTooDeepRecursion, proto.ErrTooManyColumns, proto.ErrTooDeepSubqueries,
		errPlanOptimizations:
		return true
	}
	return strings.Contains(e.Message, "Max query size exceeded") || strings.Contains(e.Message, "Query tree is too big") ||
		strings.Contains(e.Message, "too many elements")
}

// runtimeText says in plain words what data a query cannot work on. These
// errors depend on values, so the compiler cannot know them.
func runtimeText(e *ch.Exception) (string, bool) {
	switch {
	case e.Code == proto.ErrCannotCompileRegexp || strings.Contains(e.Message, "regexp") && strings.Contains(e.Message, "OptimizedRegularExpression"):
		return "a regular expression in the query is not valid (RE2 syntax)", true
	case e.Code == proto.ErrDecimalOverflow:
		return "a decimal or datetime value leaves the range of its type", true
	case e.Code == proto.ErrTooLargeArraySize, e.Code == proto.ErrTooLargeStringSize:
		return "a string or array becomes too large", true
	case e.Code == errThrowIf:
		text, _, _ := strings.Cut(e.Message, ": while executing")
		return "assertion failed: " + strings.TrimPrefix(text, "DB::Exception: "), true
	}
	return "", false
}
