package query_test

import (
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/query"
)

// TestPrimaryKey holds that bounds on the time, the hub and the device reach the
// primary key of the events.
func TestPrimaryKey(t *testing.T) {
	e := newEngine(t, query.Config{})
	opts, err := driver.ParseDSN(store.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		query string
		want  []string
	}{
		{`Connections | where TimeGenerated > datetime(2026-03-02 10:30) and Hub == "plant" and DeviceId == "pump-1" | project TlsVersion`,
			[]string{"(toStartOfHour(TimeGenerated) in [", "(Hub in [", "(DeviceId in ["}},
		{`Connections | where TimeGenerated between (datetime(2026-03-02 10:30) .. 1h) | where DeviceId in ("pump-1", "pump-2") | summarize count() by DeviceId`,
			[]string{"(toStartOfHour(TimeGenerated) in [", "(toStartOfHour(TimeGenerated) in (-Inf", "DeviceId in 2-element set"}},
		{`Connections | extend Late = HandshakeMicros > 5 | where Late and datetime(2026-03-02) <= TimeGenerated | top 5 by TimeGenerated | project DeviceId`,
			[]string{"(toStartOfHour(TimeGenerated) in ["}},
		{`let e = materialize(Connections | where TimeGenerated < datetime(2026-03-02)); e | join kind=inner e on DeviceId | project DeviceId`,
			[]string{"(toStartOfHour(TimeGenerated) in (-Inf"}},
		{`AzureDiagnostics | where TimeGenerated > datetime(2026-03-02 10:30) | project properties_s`,
			[]string{"(toStartOfHour(TimeGenerated) in ["}},
	} {
		x, err := e.Explain(t.Context(), query.Request{Text: c.query, Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := conn.Query(t.Context(), "EXPLAIN indexes = 1 "+x.SQL)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			text.WriteString(line + "\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		_, keys, _ := strings.Cut(text.String(), "PrimaryKey")
		for _, want := range c.want {
			if !strings.Contains(keys, want) {
				t.Errorf("%s\ndoes not reach the primary key with %s:\n%s", c.query, want, keys)
			}
		}
	}
}
