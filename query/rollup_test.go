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
  if(number % 12 = 0, '', concat('d', toString(number % 97))), ['deviceConnect','deviceDisconnect','connectionRefused'][number % 3 + 1], ['1.2','1.3','1.1'][intHash32(number) % 3 + 1],
  ['A','B'][number % 2 + 1], ['Mqtt','Amqp'][intHash32(number + 7) % 2 + 1], number % 5 = 0, number % 11, number
FROM numbers(20000)`); err != nil {
		t.Fatal(err)
	}
	// And 3,000 in the nine days before, of other devices.
	if err := conn.Exec(ctx, `INSERT INTO many.Connections (TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, Protocol, WouldFailStrict, StrictReason, Messages, BytesIn)
SELECT toDateTime64('2026-02-20 00:00:00', 7, 'UTC') + toIntervalSecond(number * 257), ['plant','office'][number % 2 + 1],
  if(number % 5 = 0, '', concat('d', toString(intHash32(number) % 400))), 'deviceConnect', ['1.2','1.1'][number % 2 + 1], 'A', 'Mqtt', number % 2 = 1, if(number % 2 = 1, 'old', ''), 1, number
FROM numbers(3000)`); err != nil {
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

	answered := []struct{ query, table string }{
		{`Connections | count`, "ConnectionsByHour"},
		{`Connections | summarize count() by TlsVersion`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated > ago(1d) | summarize n = count(), strict = countif(WouldFailStrict) by bin(TimeGenerated, 5m), TlsVersion`, "ConnectionsBy5m"},
		{`Connections | where TimeGenerated between (datetime(2026-03-01 03:02:01.5) .. datetime(2026-03-01 21:59:59)) and Hub == "plant" | summarize sum(Messages), sum(BytesIn), count() by bin(TimeGenerated, 1h), Protocol`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated >= datetime(2026-03-01 05:00) and TimeGenerated < datetime(2026-03-01 17:00) | summarize count(), dcount(TlsVersion), max(TlsCipher) by startofday(TimeGenerated)`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated > datetime(2026-03-01 05:00) and TimeGenerated <= datetime(2026-03-01 17:00) | summarize count() by hourofday(TimeGenerated)`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated > ago(3m) | summarize count()`, "ConnectionsBy5m"},
		{`Connections | where ago(2h) < TimeGenerated | where OperationName == "deviceConnect" | extend Old = TlsVersion in ("1.0", "1.1") | summarize count(), sumif(Messages, Old) by Old`, "ConnectionsBy5m"},
		{`Connections | where TimeGenerated > now() | summarize count(), sum(Messages), max(TlsVersion)`, "ConnectionsBy5m"},
		{`let e = Connections | where TimeGenerated > ago(26h); union (e | summarize n = count() by Hub), (e | where TlsVersion == "1.1" | summarize n = sum(Messages) by Hub)`, "ConnectionsByHour"},
		{`let e = materialize(Connections | where TimeGenerated > ago(26h) | extend Old = TlsVersion < "1.2"); let all = toscalar(e | count); e | summarize n = count() by Old | extend Share = round(100.0 * n / all, 1)`, "ConnectionsByHour"},
		{`Connections | where TlsVersion in ((Connections | summarize n = count() by TlsVersion | top 1 by n | project TlsVersion)) | summarize count() by Hub`, "ConnectionsByHour"},
		{`Connections | make-series n = count(), m = sum(Messages) default = 0 on TimeGenerated from datetime(2026-03-01) to datetime(2026-03-02 12:00) step 1h by TlsVersion`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated between (datetime(2026-03-01 03:00) .. datetime(2026-03-02 09:00)) | make-series n = count() on TimeGenerated from bin(ago(2d), 1h) step 30m`, "ConnectionsBy5m"},
		{`Connections | where TimeGenerated >= startofday(ago(1d)) | summarize count() by bin(TimeGenerated, 7d), startofmonth(TimeGenerated), startofday(TimeGenerated), bin(TimeGenerated, 5m)`, "ConnectionsBy5m"},
		{`Connections | summarize count() by bin(TimeGenerated, 15m), d = startofweek(TimeGenerated) | sort by TimeGenerated asc | where TimeGenerated > datetime(2026-03-01 05:00) | take 7`, "ConnectionsBy5m"},
		{`let e = Connections | where TimeGenerated > ago(20h); e | where TlsVersion != "1.3" | summarize n = count() by Hub, TlsCipher | top 3 by n`, "ConnectionsByHour"},
		{`Connections | distinct Hub, TlsVersion`, "ConnectionsByHour"},
		{`Connections | where TlsVersion < "1.2" | summarize Legacy = dcount(DeviceId), Proven = dcountif(DeviceId, isnotempty(DeviceId)) by bin(TimeGenerated, 1d)`, "DevicesByDay"},
		{`Connections | where TimeGenerated between (datetime(2026-02-25 07:13) .. datetime(2026-03-02 10:00)) | summarize dcount(DeviceId), count() by startofday(TimeGenerated), Hub`, "DevicesByDay"},
		{`Connections | where TimeGenerated > ago(9d) | summarize count() by DeviceId | where count_ > 200`, "DeviceDays"},
		{`Connections | summarize arg = dcount(strcat(DeviceId, Hub)), n = count_distinct(DeviceId) by WouldFailStrict`, "DeviceDays"},
		{`Connections | where OperationName has "connect" | project T = TimeGenerated, V = TlsVersion | where T > ago(7h) | summarize count() by bin(T, 30m), V | render timechart`, "ConnectionsBy5m"},
		{`Connections | where TimeGenerated > ago(8d) and isnotempty(DeviceId) and TlsVersion in ("1.1", "1.2") | summarize Devices = dcount(DeviceId) by bin(TimeGenerated, 1d), Hub`, "DevicesByDay"},
		{`Connections | where TimeGenerated > ago(8d) | extend Group = tostring(split(DeviceId, "-")[0]), D = DeviceId | summarize Old = dcountif(D, TlsVersion == "1.1" and D != ""), All = dcount(D, 2), n = count() by startofday(TimeGenerated), WouldFailStrict`, "DevicesByDay"},
		{`Connections | where DeviceId != "" | make-series Devices = dcount(DeviceId) on TimeGenerated from datetime(2026-02-20) to datetime(2026-03-03) step 1d by Protocol`, "DevicesByDay"},
		{`Connections | where TimeGenerated < datetime(2026-03-01 05:17) | summarize Devices = dcount(DeviceId), Named = countif(isnotempty(DeviceId)), count() by HasDevice = isnotempty(DeviceId)`, "DevicesByDay"},
		{`Connections | summarize count() by StrictReason, bin(TimeGenerated, 7d)`, "DevicesByDay"},
		{`Connections | where TimeGenerated between (datetime(2026-02-25 07:13) .. datetime(2026-03-02 10:07:30)) | summarize count(), sum(BytesIn) by hourofday(TimeGenerated), TlsCipher`, "ConnectionsByHour"},
		{`Connections | where TimeGenerated > ago(1d) | summarize a = count() by Hub | join kind=inner (Connections | where TimeGenerated > ago(2h) | summarize b = count() by Hub) on Hub | project Hub, a, b`, "ConnectionsByHour"},
	}
	for _, c := range answered {
		q := c.query
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
		table := c.table
		if x.Rollup != table || x.RollupWhyNot != "" || strings.Contains(x.Plan, "read Connections") && !strings.Contains(x.Plan, "read "+table) {
			t.Errorf("%s\nis answered by %q: %s\n%s", q, x.Rollup, x.RollupWhyNot, x.Plan)
		}
		// The user can forbid it.
		req.Text = "set query_rollups = false; " + q
		if x, err = with.Explain(ctx, req); err != nil {
			t.Fatal(err)
		}
		if x.Rollup != "" || !strings.Contains(x.RollupWhyNot, "the query forbids it") || strings.Contains(x.SQL, "ConnectionsBy5m") {
			t.Errorf("%s\nis answered by %q: %s", req.Text, x.Rollup, x.RollupWhyNot)
		}
	}
	if starts, err := runner.Rollups(ctx); err != nil || len(starts) != 2 || starts["DevicesByDay"].Unix() != 0 || starts["ConnectionsByHour"].Unix() != 0 {
		t.Errorf("rollups of an empty store begin at %v, %v; want the beginning of time", starts, err)
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

	// Counts outlive events: they answer for the time that events are kept, unless
	// an earlier one is asked for, and then say so.
	short, err := query.New(query.Config{EventDays: 1}, runner)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	for q, c := range map[string]struct{ like, notice string }{
		`Connections | count`: {`Connections | where TimeGenerated >= datetime(2026-03-02) | count`, ""},
		`Connections | where TimeGenerated > ago(1d) | summarize n = count() by Hub`: {`Connections | where TimeGenerated > ago(1d) | summarize n = count() by Hub`, ""},
		`Connections | where TimeGenerated > datetime(2026-03-01 01:02) | count`: {`Connections | where TimeGenerated > datetime(2026-03-01 01:02) | count`,
			"Connections keeps its rows for 1 days: what is before 2026-03-02 comes from the counts of ConnectionsByHour"},
		`Connections | where TimeGenerated >= datetime(2026-03-01) and DeviceId == "d1" | summarize count() by bin(TimeGenerated, 1d)`: {
			`Connections | where TimeGenerated >= datetime(2026-03-01) and DeviceId == "d1" | summarize count() by bin(TimeGenerated, 1d)`,
			"Connections keeps its rows for 1 days: what is before 2026-03-02 comes from the counts of DeviceDays"},
	} {
		got, err := run(ctx, short, query.Request{Text: q, Now: later})
		if err != nil {
			t.Fatal(cause(err))
		}
		want, err := run(ctx, without, query.Request{Text: c.like, Now: later})
		if err != nil {
			t.Fatal(cause(err))
		}
		a, b := lines(want), lines(got)
		slices.Sort(a)
		slices.Sort(b)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s (-want +got):\n%s", q, diff)
		}
		res, err := short.Query(ctx, query.Request{Text: q, Now: later})
		if err != nil {
			t.Fatal(err)
		}
		res.Close()
		if notice := strings.Join(res.Notices, "; "); notice != c.notice || res.Rollup == "" {
			t.Errorf("%s\nis answered by %q with the notice %q, want %q", q, res.Rollup, notice, c.notice)
		}
	}

	// Rollups that came later have not what was before them, and may not be there.
	since := map[string]time.Time{"ConnectionsByHour": time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC), "DevicesByDay": time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC)}
	for name, at := range since {
		if err := conn.Exec(ctx, "ALTER TABLE many."+name+" DELETE WHERE TimeGenerated < ? SETTINGS mutations_sync = 1", at); err != nil {
			t.Fatal(err)
		}
	}
	late, err := query.New(query.Config{Rollups: func(context.Context) (map[string]time.Time, error) { return since, nil }}, runner)
	if err != nil {
		t.Fatal(err)
	}
	absent, err := query.New(query.Config{Rollups: func(context.Context) (map[string]time.Time, error) { return nil, nil }}, runner)
	if err != nil {
		t.Fatal(err)
	}
	still := map[string]int{}
	for _, c := range answered {
		req := query.Request{Text: c.query, Now: now}
		want, err := run(ctx, without, req)
		if err != nil {
			t.Fatal(cause(err))
		}
		for name, e := range map[string]*query.Engine{"later": late, "absent": absent} {
			got, err := run(ctx, e, req)
			if err != nil {
				t.Fatalf("%s\n%s", c.query, cause(err))
			}
			a, b := lines(want), lines(got)
			slices.Sort(a)
			slices.Sort(b)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s\nthe rollup that is %s answers differently (-events +rollup):\n%s", c.query, name, diff)
			}
			x, err := e.Explain(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			still[name+" "+x.Rollup]++
			if since[x.Rollup] != (time.Time{}) && name == "absent" {
				t.Errorf("%s\nis answered by %s, which is not there", c.query, x.Rollup)
			}
		}
	}
	if still["later ConnectionsByHour"] < 5 || still["later DevicesByDay"] < 3 {
		t.Errorf("rollups that came later answer too little: %v", still)
	}

	for q, why := range map[string]string{
		`Connections | where DeviceId == "d1" | count`:                                     "rows of few DeviceIds are found sooner",
		`Connections | where DeviceId in ("d1", "d2") | count`:                             "rows of few DeviceIds are found sooner",
		`Connections | summarize dcount(DeviceId) by bin(TimeGenerated, 1h)`:               "ConnectionsBy5m: dcount depends on DeviceId; DevicesByDay: it groups by bins that are no multiple",
		`Connections | where TimeGenerated > ago(10m) and TimeGenerated < ago(8m) | count`: "the range of time has no whole bucket",
		`Connections | where TimeGenerated > ago(2d) | summarize dcount(DeviceId)`:         "the range of time has few whole buckets",
		`Connections | take 5`: "it does not aggregate the rows of Connections",
		`Connections | make-series count() on TimeGenerated from ago(3h) to now() step 1h`: "its axis does not begin between two buckets",
		`Connections | summarize make_list(Hub)`:                                           "make_list needs every event",
		`Connections | summarize count() by bin(TimeGenerated, 1m)`:                        "it groups by bins that are no multiple of the rollup's",
		`Connections | summarize avg(HandshakeMicros)`:                                     "avg needs every event",
		`Connections | summarize max(TimeGenerated) by Hub`:                                "max depends on TimeGenerated",
		`Connections | where TimeGenerated != datetime(2026-03-01) | count`:                "the filter depends on TimeGenerated",
		`Connections | where rand() < 0.5 | count`:                                         "the filter depends on rand",
		`Connections | summarize sum(HandshakeMicros)`:                                     "sum adds up what the rollup does not",
		`Connections | where Messages > 3 | count`:                                         "the filter depends on Messages",
		`Connections | extend v = strcat(Node, Hub) | where v == "d1plant" | count`:        "the filter depends on v",
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
