package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"hubscope/query"
)

// LogConfig is the configuration of a [Log].
type LogConfig struct {
	// DSN of a user that may insert into table QueryLog, and the table's database;
	// the DSN's when empty.
	DSN, Database string
	// Queue is how many records may wait, 10,000 when zero. What comes on top is
	// dropped and counted: a query never waits for its record.
	Queue int
	// Linger is how long a record may wait for others, 1 s when zero.
	Linger time.Duration
	// DrainTimeout is how long the last insert may take at the end, 3 s when zero.
	DrainTimeout time.Duration
	// Log is told of what cannot be stored; slog.Default() when nil.
	Log *slog.Logger
}

// Log writes the records of queries into table QueryLog, many at once. An insert
// that fails is repeated until it works or the service ends: a clean stop loses
// nothing while ClickHouse is there.
type Log struct {
	conn    driver.Conn
	cfg     LogConfig
	queue   chan query.Record
	dropped atomic.Int64
}

// OpenLog connects, and checks that the user may insert.
func OpenLog(ctx context.Context, cfg LogConfig) (*Log, error) {
	opts, err := clickhouse.ParseDSN(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("log of queries: dsn: %w", redact(err))
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 10_000
	}
	if cfg.Linger <= 0 {
		cfg.Linger = time.Second
	}
	if cfg.DrainTimeout <= 0 {
		cfg.DrainTimeout = 3 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Database != "" {
		opts.Auth.Database = cfg.Database
	}
	opts.MaxOpenConns, opts.MaxIdleConns = 1, 1
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("log of queries: %w", redact(err))
	}
	l := &Log{conn: conn, cfg: cfg, queue: make(chan query.Record, cfg.Queue)}
	if err := l.insert(ctx, nil, ""); err != nil {
		conn.Close()
		return nil, fmt.Errorf("log of queries: %w", err)
	}
	return l, nil
}

// Add takes a record. It never blocks.
func (l *Log) Add(r query.Record) {
	select {
	case l.queue <- r:
	default:
		if n := l.dropped.Add(1); n == 1 || n%1000 == 0 {
			l.cfg.Log.Warn("records of queries were dropped: ClickHouse does not take them", "dropped", n)
		}
	}
}

// Dropped returns how many records found no place in the queue.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// maxLogBatch bounds the records of one insert.
const maxLogBatch = 1000

// Run writes until ctx ends, and then what is left.
func (l *Log) Run(ctx context.Context) error {
	defer l.conn.Close()
	var batch []query.Record
	for {
		select {
		case r := <-l.queue:
			batch = append(batch, r)
		case <-ctx.Done():
			return l.drain(batch)
		}
		linger := time.NewTimer(l.cfg.Linger)
	fill:
		for len(batch) < maxLogBatch {
			select {
			case r := <-l.queue:
				batch = append(batch, r)
			case <-linger.C:
				break fill
			case <-ctx.Done():
				linger.Stop()
				return l.drain(batch)
			}
		}
		linger.Stop()
		token := uuid.NewString()
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
			// A stop does not cut an insert short: nobody could tell whether it was done.
			inserting, cancel := context.WithTimeout(context.WithoutCancel(ctx), insertTimeout)
			err := l.insert(inserting, batch, token)
			cancel()
			if err == nil {
				batch = batch[:0]
				break
			}
			if ctx.Err() == nil {
				l.cfg.Log.Warn("records of queries wait", "rows", len(batch), "err", err)
			}
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
			}
			drain, cancel := context.WithTimeout(context.Background(), l.cfg.DrainTimeout)
			err = l.insert(drain, batch, token)
			cancel()
			if err != nil {
				return l.lost(len(batch), err)
			}
			return l.drain(nil)
		}
	}
}

// insertTimeout bounds one try.
const insertTimeout = 3 * time.Second

// lost is the error of records that could not be stored at the end.
func (l *Log) lost(n int, err error) error {
	return fmt.Errorf("log of queries: %d records were not stored: %w", n+len(l.queue), err)
}

// drain writes what is left at the end.
func (l *Log) drain(batch []query.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.DrainTimeout)
	defer cancel()
	for {
		for len(batch) < maxLogBatch && len(l.queue) > 0 {
			batch = append(batch, <-l.queue)
		}
		if len(batch) == 0 {
			return nil
		}
		if err := l.insert(ctx, batch, uuid.NewString()); err != nil {
			return l.lost(len(batch), err)
		}
		batch = batch[:0]
	}
}

// logColumns are those of table QueryLog, in the order in which insert fills them.
const logColumns = "TimeGenerated, QueryId, ClientRequestId, User, Role, Hubs, Client, ClientAddress, Endpoint, Database, Text, Start, End, State, ErrorCode, " +
	"ErrorMessage, DurationMs, QueuedMs, CompileMicros, RowsRead, BytesRead, ResultRows, ResultBytes, Truncated, MemoryPeak, Tables, Rollup, Node"

// maxLogText bounds the text of a query in the log.
const maxLogText = 64 << 10

// insert stores records; with a token that it was given before, it does nothing
// if they are there already.
func (l *Log) insert(ctx context.Context, records []query.Record, token string) error {
	settings := clickhouse.Settings{"async_insert": 0}
	if token != "" {
		settings["insert_deduplication_token"] = token
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	batch, err := l.conn.PrepareBatch(ctx, "INSERT INTO QueryLog ("+logColumns+")", driver.WithReleaseConnection())
	if err != nil {
		return explain(err)
	}
	for i := range records {
		r := &records[i]
		err := batch.Append(r.Time.UTC(), r.ID, r.ClientRequestID, r.User, r.Role, jsonList(r.Hubs), r.Client, r.ClientAddress, r.Endpoint, r.Database,
			cutAt(r.Text, maxLogText), instant(r.Start), instant(r.End), string(r.State), r.ErrorCode, r.ErrorMessage,
			r.Duration.Milliseconds(), r.Queued.Milliseconds(), r.Stats.Compile.Microseconds(), r.Stats.ReadRows, r.Stats.ReadBytes,
			r.Stats.Rows, r.Stats.Bytes, r.Truncated, r.Stats.MemoryBytes, jsonList(r.Tables), r.Rollup, r.Node)
		if err != nil {
			return errors.Join(err, batch.Abort())
		}
	}
	if len(records) == 0 {
		return batch.Abort()
	}
	return explain(batch.Send())
}

// explain names the error that a user can do something about.
func explain(err error) error {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		switch ex.Code {
		case 497, 164: // ACCESS_DENIED, READONLY
			return errors.New("the user may not insert into table QueryLog")
		case 60: // UNKNOWN_TABLE
			return errors.New("there is no table QueryLog; run hubscope collector migrate")
		}
	}
	return err
}

// jsonList is a list as a dynamic column stores it; nil is no value.
func jsonList(list []string) string {
	if list == nil {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings have a JSON form
	}
	return string(b)
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func cutAt(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
