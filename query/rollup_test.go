package query_test

import (
	"context"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"hubscope/collector"
	"hubscope/query"
	"hubscope/query/clickhouse"
	"hubscope/query/plan"
)

// TestRollup holds that an answer from the rollup is that of the events, with
// bounds that cut through buckets, and that it is used when it can be.
func TestRollup(t *testing.T) {
	newEngine(t, query.Config{}) // starts ClickHouse
	ctx := t.Context()
	opts, err := driver.ParseDSN(store.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	opts.Auth.Database = "system"
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	schema := collector.DefaultSchema()
	schema.Database, schema.EventDays, schema.RollupDays = "many", 20000, 20000
	if _, err := collector.Migrate(context.Background(), conn, schema); err != nil {
		t.Fatal(err)
	}
	// 20,000 events in 40 hours, some of them exactly between two buckets.
	if err := conn.Exec(ctx, `INSERT INTO many.Connections (TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, Protocol, WouldFailStrict, Messages, BytesIn)
SELECT toDateTime64('2026-03-01 00:00:00', 7, 'UTC') + toIntervalMillisecond(if(number % 40 = 0, intDiv(number, 40) * 300000, number * 7211)), ['plant','office'][number % 2 + 1],
  concat('d', toString(number % 97)), ['deviceConnect','deviceDisconnect','connectionRefused'][number % 3 + 1], ['1.2','1.3','1.1'][intHash32(number) % 3 + 1],
  ['A','B'][number % 2 + 1], ['Mqtt','Amqp'][intHash32(number + 7) % 2 + 1], number % 5 = 0, number % 11, number
FROM numbers(20000)`); err != nil {
		t.Fatal(err)
	}
	dsn, err := url.Parse(store.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn.Path = "/many"
	runner, err := clickhouse.Open(ctx, clickhouse.Config{DSN: dsn.String(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer runner.Close()
	engine := func(c *plan.Catalog) *query.Engine {
		e, err := query.New(query.Config{Catalog: c}, runner)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	with := engine(catalog(t))
	events, err := plan.NewCatalog("hubscope", catalog(t).Tables())
	if err != nil {
		t.Fatal(err)
	}
	without := engine(events)
	now := time.Date(2026, 3, 2, 11, 13, 17, 123456700, time.UTC)

	answered := []string{
		`Connections | count`,
		`Connections | summarize count() by TlsVersion`,
		`Connections | where TimeGenerated > ago(1d) | summarize n = count(), strict = countif(WouldFailStrict) by bin(TimeGenerated, 5m), TlsVersion`,
		`Connections | where TimeGenerated between (datetime(2026-03-01 03:02:01.5) .. datetime(2026-03-01 21:59:59)) and Hub == "plant" | summarize sum(Messages), sum(BytesIn), count() by bin(TimeGenerated, 1h), Protocol`,
		`Connections | where TimeGenerated >= datetime(2026-03-01 05:00) and TimeGenerated < datetime(2026-03-01 17:00) | summarize count(), dcount(TlsVersion), max(TlsCipher) by startofday(TimeGenerated)`,
		`Connections | where TimeGenerated > datetime(2026-03-01 05:00) and TimeGenerated <= datetime(2026-03-01 17:00) | summarize count() by hourofday(TimeGenerated)`,
		`Connections | where TimeGenerated > ago(3m) | summarize count()`,
		`Connections | where TimeGenerated > ago(10m) and TimeGenerated < ago(8m) | summarize count(), sum(Messages)`,
		`Connections | where ago(2h) < TimeGenerated | where OperationName == "deviceConnect" | extend Old = TlsVersion in ("1.0", "1.1") | summarize count(), sumif(Messages, Old) by Old`,
		`Connections | where TimeGenerated > now() | summarize count(), sum(Messages), max(TlsVersion)`,
		`let e = Connections | where TimeGenerated > ago(20h); e | where TlsVersion != "1.3" | summarize n = count() by Hub, TlsCipher | top 3 by n`,
		`Connections | distinct Hub, TlsVersion`,
		`Connections | where OperationName has "connect" | project T = TimeGenerated, V = TlsVersion | where T > ago(7h) | summarize count() by bin(T, 30m), V | render timechart`,
		`Connections | where TimeGenerated > ago(1d) | summarize a = count() by Hub | join kind=inner (Connections | where TimeGenerated > ago(2h) | summarize b = count() by Hub) on Hub | project Hub, a, b`,
	}
	for _, q := range answered {
		req := query.Request{Text: q, Now: now}
		got, err := run(ctx, with, req)
		if err != nil {
			t.Errorf("%s\n%s", q, cause(err))
			continue
		}
		want, err := run(ctx, without, req)
		if err != nil {
			t.Fatalf("%s\n%s", q, cause(err))
		}
		a, b := lines(want), lines(got)
		slices.Sort(a)
		slices.Sort(b)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s\nthe rollup answers differently (-events +rollup):\n%s", q, diff)
		}
		x, err := with.Explain(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if x.Rollup != "ConnectionsBy5m" || x.RollupWhyNot != "" {
			t.Errorf("%s\nis answered by %q: %s", q, x.Rollup, x.RollupWhyNot)
		}
	}
	// The same with the bounds of a request.
	bounded := query.Request{Text: `Connections | summarize count(), sum(Messages) by TlsVersion, Hub`, Now: now,
		Start: now.Add(-30 * time.Hour), End: now.Add(-90 * time.Minute), Hubs: []string{"office"}}
	want, err := run(ctx, without, bounded)
	if err != nil {
		t.Fatal(err)
	}
	got, err := run(ctx, with, bounded)
	if err != nil {
		t.Fatal(err)
	}
	a, b := lines(want), lines(got)
	slices.Sort(a)
	slices.Sort(b)
	if diff := cmp.Diff(a, b); diff != "" || len(a) == 0 {
		t.Errorf("bounds of the request (-events +rollup):\n%s", diff)
	}

	for q, why := range map[string]string{
		`Connections | summarize count() by DeviceId`:                                   "it groups by DeviceId",
		`Connections | where DeviceId == "d1" | count`:                                  "the filter depends on DeviceId",
		`Connections | summarize count() by bin(TimeGenerated, 1m)`:                     "it groups by bins that are no multiple of the rollup's",
		`Connections | summarize avg(HandshakeMicros)`:                                  "avg needs every event",
		`Connections | summarize max(TimeGenerated) by Hub`:                             "max depends on TimeGenerated",
		`Connections | where TimeGenerated != datetime(2026-03-01) | count`:             "the filter depends on TimeGenerated",
		`Connections | where rand() < 0.5 | count`:                                      "the filter depends on rand",
		`Connections | summarize sum(HandshakeMicros)`:                                  "sum adds up what the rollup does not",
		`Connections | where Messages > 3 | count`:                                      "the filter depends on Messages",
		`Connections | extend v = strcat(DeviceId, Hub) | where v == "d1plant" | count`: "the filter depends on v",
	} {
		x, err := with.Explain(ctx, query.Request{Text: q, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if x.Rollup != "" || !strings.Contains(x.RollupWhyNot, why) {
			t.Errorf("%s\nis answered by %q: %q, want %q", q, x.Rollup, x.RollupWhyNot, why)
		}
	}
}
