package chsql_test

import (
	"errors"
	"os"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/deploy/embed"
	"hubscope/query/chsql"
)

// FuzzQuote holds that the engine reads a quoted text, and a quoted name, as
// what they are, whatever is in them.
func FuzzQuote(f *testing.F) {
	e, err := embed.StartEngine(f.Context(), embed.EngineConfig{Dir: f.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		f.Skip(err)
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close(20 * time.Second) })
	opts, err := driver.ParseDSN(e.DSN())
	if err != nil {
		f.Fatal(err)
	}
	opts.Auth.Database = "system"
	conn, err := driver.Open(opts)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })

	for _, s := range []string{
		"", "a", "'", "''", `\`, `\\`, `\'`, `'\`, "`", "\"", "`'\"\\", "\x00", "a\x00b", "\n\r\t\b\f\v\a", "\xff\xfe", "\xc3", "é\u0301", "\u2028",
		"'; DROP TABLE x; --", "/*", "*/", "--", "#", "{now:String}", "${x}", "$$x$$", "?", "\\x41", "\\u0041", "\\N", "%s", "x') UNION ALL SELECT 1 --",
	} {
		f.Add(s)
	}
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	f.Add(string(all[:]))

	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT "+chsql.Quote(s)+" AS v").Scan(&got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got != s {
			t.Errorf("%q is read as %q", s, got)
		}
		if s == "" {
			return // no name
		}
		rows, err := conn.Query(t.Context(), "SELECT 1 AS "+chsql.Ident(s))
		if err != nil {
			t.Fatalf("name %q: %v", s, err)
		}
		defer rows.Close()
		if got := rows.Columns(); len(got) != 1 || got[0] != s {
			t.Errorf("name %q is read as %q", s, got)
		}
	})
}
