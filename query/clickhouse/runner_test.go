package clickhouse

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/plan"
)

var engine struct {
	sync.Once
	*embed.Engine
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if engine.Engine != nil {
		engine.Close(10 * time.Second)
	}
	os.Exit(code)
}

// open returns a runner on the one engine of these tests.
func open(t *testing.T, reader bool) *Runner {
	t.Helper()
	engine.Do(func() {
		dir, err := os.MkdirTemp("", "hubscope-runner-")
		if err != nil {
			t.Fatal(err)
		}
		engine.Engine, engine.err = embed.StartEngine(context.Background(), embed.EngineConfig{Dir: dir})
	})
	if errors.Is(engine.err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(engine.err)
	}
	if engine.err != nil {
		t.Fatal(engine.err)
	}
	dsn := engine.DSN()
	if reader {
		dsn = engine.ReaderDSN()
	}
	r, err := Open(t.Context(), Config{DSN: dsn, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func statement(sql string, columns ...query.Column) query.Statement {
	return query.Statement{ID: uuid.NewString(), SQL: sql, Columns: columns, Now: time.Date(2026, 11, 23, 1, 2, 3, 123456700, time.UTC)}
}

// all reads everything as text, NULL for null.
func all(rows query.Rows, err error) ([][]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out [][]string
	for {
		b, err := rows.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for i := range b.Rows {
			row := make([]string, len(b.Columns))
			for j := range b.Columns {
				row[j] = b.Columns[j].Text(i)
				if b.Columns[j].Null(i) {
					row[j] = "NULL"
				}
			}
			out = append(out, row)
		}
	}
}

func TestTypes(t *testing.T) {
	r := open(t, true)
	columns := []query.Column{{Name: "b", Type: plan.Bool}, {Name: "i", Type: plan.Int}, {Name: "l", Type: plan.Long}, {Name: "r", Type: plan.Real},
		{Name: "d", Type: plan.Datetime}, {Name: "t", Type: plan.Timespan}, {Name: "g", Type: plan.GUID}, {Name: "s", Type: plan.String},
		{Name: "y", Type: plan.Dynamic}, {Name: "low", Type: plan.String}}
	const values = `true, toInt32(-5), toInt64(9007199254740993), 0.1, {now:DateTime64(7,'UTC')}, toInt64(864000000000),
		toUUID('01020304-0506-0708-090a-0b0c0d0e0f10'), 'ä\0', '{"a":[1]}', toLowCardinality('x')`
	got, err := all(r.Run(t.Context(), statement("SELECT "+values, columns...)))
	want := [][]string{{"true", "-5", "9007199254740993", "0.1", "2026-11-23T01:02:03.1234567Z", "1.00:00:00",
		"01020304-0506-0708-090a-0b0c0d0e0f10", "ä\x00", `{"a":[1]}`, "x"}}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	nullable := strings.Join([]string{"Bool", "Int32", "Int64", "Float64", "DateTime64(7,'UTC')", "Int64", "UUID", "String", "String", "String"}, "|")
	var sql []string
	for _, typ := range strings.Split(nullable, "|") {
		sql = append(sql, "CAST(NULL AS Nullable("+typ+"))")
	}
	got, err = all(r.Run(t.Context(), statement("SELECT "+strings.Join(sql, ","), columns...)))
	if err != nil {
		t.Fatal(err)
	}
	for i, cell := range got[0] {
		if cell != "NULL" {
			t.Errorf("%s: null came as %q", columns[i].Name, cell)
		}
	}
	got, err = all(r.Run(t.Context(), statement("SELECT toLowCardinality(toNullable('x')), toLowCardinality(toNullable('y'))",
		query.Column{Name: "a", Type: plan.String}, query.Column{Name: "b", Type: plan.Dynamic})))
	if diff := cmp.Diff([][]string{{"x", "y"}}, got); diff != "" || err != nil {
		t.Errorf("LowCardinality(Nullable): %v (-want +got):\n%s", err, diff)
	}
	got, err = all(r.Run(t.Context(), statement(`SELECT unhex('225BC32822'), unhex('C328')`,
		query.Column{Name: "y", Type: plan.Dynamic}, query.Column{Name: "s", Type: plan.String})))
	if diff := cmp.Diff([][]string{{"\"[\ufffd(\"", "\xc3("}}, got); diff != "" || err != nil {
		t.Errorf("bytes that are not UTF-8: %v (-want +got):\n%s", err, diff)
	}
	got, err = all(r.Run(t.Context(), statement("SELECT 1 FROM numbers(2)")))
	if diff := cmp.Diff([][]string{{}, {}}, got); diff != "" || err != nil {
		t.Errorf("no columns: %v (-want +got):\n%s", err, diff)
	}
	if _, err = all(r.Run(t.Context(), statement("SELECT 'x'", query.Column{Name: "l", Type: plan.Long}))); code(err) != query.CodeInternal {
		t.Errorf("a column of the wrong type: %v", err)
	}
}

func code(err error) query.Code {
	var e *query.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestLimits(t *testing.T) {
	r := open(t, true)
	long := query.Column{Name: "number", Type: plan.Long}
	run := func(sql string, l query.Limits) ([][]string, query.Rows, error) {
		s := statement(sql, long)
		s.Limits = l
		rows, err := r.Run(t.Context(), s)
		got, err := all(rows, err)
		return got, rows, err
	}
	const numbers = "SELECT toInt64(number) FROM numbers(1000000)"
	got, rows, err := run(numbers, query.Limits{ResultRows: 70_000})
	if err != nil || len(got) != 70_000 || !rows.Truncated() {
		t.Errorf("%d rows, error %v; want 70000 and truncated", len(got), err)
	}
	got, rows, err = run("SELECT toInt64(number) FROM numbers(100)", query.Limits{ResultRows: 100})
	if err != nil || len(got) != 100 || rows.Truncated() {
		t.Errorf("%d rows, error %v; want 100, not truncated", len(got), err)
	}
	got, rows, err = run(numbers, query.Limits{ResultBytes: 8000})
	if err != nil || len(got) != 1000 || !rows.Truncated() {
		t.Errorf("%d rows, error %v; want 1000 and truncated", len(got), err)
	}
	for _, test := range []struct {
		sql    string
		limits query.Limits
		want   query.Code
	}{
		{"SELECT toInt64(sum(number)) FROM numbers(1000000000000)", query.Limits{Time: 200 * time.Millisecond}, query.CodeTimeout},
		{"SELECT toInt64(length(groupArray(number))) FROM numbers(100000000)", query.Limits{MemoryBytes: 10 << 20}, query.CodeMemory},
		{"SELECT toInt64(sum(number)) FROM numbers(100000000)", query.Limits{ReadRows: 1000}, query.CodeReadLimit},
		{"SELECT toInt64(match(toString(number), concat('(', toString(number)))) FROM numbers(1)", query.Limits{}, query.CodeRuntime},
		{"SELECT toInt64(throwIf(number = 0, 'too small')) FROM numbers(1)", query.Limits{}, query.CodeRuntime},
		{"SELECT nonsense", query.Limits{}, query.CodeInternal},
		{"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", query.Limits{}, query.CodeInternal},
	} {
		_, _, err := run(test.sql, test.limits)
		if code(err) != test.want {
			t.Errorf("%s: %v, want %s", test.sql, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "DB::") || strings.Contains(err.Error(), "nonsense")) {
			t.Errorf("the engine's text reaches the user: %v", err)
		}
	}
}

// TestEndedEarly: when the reader leaves, or its context ends, so does the query.
func TestEndedEarly(t *testing.T) {
	r := open(t, false)
	endless := "SELECT toInt64(number) FROM system.numbers"
	for name, end := range map[string]func(query.Rows, context.CancelFunc){
		"close":  func(rows query.Rows, _ context.CancelFunc) { rows.Close() },
		"cancel": func(rows query.Rows, cancel context.CancelFunc) { cancel(); rows.Close() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := statement(endless, query.Column{Name: "number", Type: plan.Long})
		rows, err := r.Run(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Next(); err != nil {
			t.Fatal(err)
		}
		end(rows, cancel)
		r.await(t, name, s.ID)
	}

	// Kill ends what runs elsewhere, and says so to the reader.
	s := statement("SELECT toInt64(sleepEachRow(1)) FROM numbers(1000) SETTINGS max_block_size = 1", query.Column{Name: "s", Type: plan.Long})
	rows, err := r.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Kill(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := all(rows, nil); code(err) != query.CodeCanceled {
		t.Errorf("after Kill: %v, want %s", err, query.CodeCanceled)
	}
	r.await(t, "kill", s.ID)
}

// await waits until a query is gone from the engine.
func (r *Runner) await(t *testing.T, what, id string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := all(r.Run(t.Context(), statement("SELECT toInt64(count()) FROM system.processes WHERE query_id = '"+id+"'", query.Column{Name: "n", Type: plan.Long})))
		if err != nil {
			t.Fatal(err)
		}
		if got[0][0] == "0" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the query still runs", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestDuplicateID: the second query of two with one id is told why it does not run.
func TestDuplicateID(t *testing.T) {
	r := open(t, true)
	s := statement("SELECT toInt64(number) FROM system.numbers", query.Column{Name: "number", Type: plan.Long})
	rows, err := r.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if _, err := all(r.Run(t.Context(), s)); code(err) != query.CodeDuplicate || !strings.Contains(err.Error(), s.ID) {
		t.Errorf("the second: %v", err)
	}
}

func TestReadOnlyWhateverTheUser(t *testing.T) {
	for _, reader := range []bool{true, false} {
		r := open(t, reader)
		for _, sql := range []string{"CREATE TABLE hubscope.x (n Int64) ENGINE = Memory", "SELECT 1 SETTINGS readonly = 0", "DROP DATABASE hubscope"} {
			if _, err := all(r.Run(t.Context(), statement(sql))); err == nil {
				t.Errorf("reader %v: ran %s", reader, sql)
			}
		}
	}
}

func TestStatsAndProgress(t *testing.T) {
	r := open(t, true)
	s := statement("SELECT toInt64(sum(number)) FROM numbers(50000000)", query.Column{Name: "n", Type: plan.Long})
	calls := 0
	s.Progress = func(query.Stats) { calls++ }
	rows, err := r.Run(t.Context(), s)
	if _, err := all(rows, err); err != nil {
		t.Fatal(err)
	}
	if got := rows.Stats(); got.ReadRows != 50_000_000 || got.Rows != 1 || got.Elapsed <= 0 || calls == 0 {
		t.Errorf("stats %+v after %d reports", got, calls)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, dsn := range []string{"http://127.0.0.1:1", "clickhouse://u:secret@127.0.0.1:1/x", "::secret"} {
		_, err := Open(t.Context(), Config{DSN: dsn})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want one without the password", dsn, err)
		}
	}
}
