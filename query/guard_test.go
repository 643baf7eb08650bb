package query_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"hubscope/collector"
	"hubscope/query"
	"hubscope/query/clickhouse"
	"hubscope/query/plan"
)

// guarded is the engine on a database that has the events of all cases and the
// same events once more under two other hubs: one with a name of its own, one
// whose name differs in case only.
func guarded(t *testing.T) (e *query.Engine, hubs []string, conn driver.Conn, runner *clickhouse.Runner) {
	t.Helper()
	newEngine(t, query.Config{}) // starts ClickHouse
	ctx := context.Background()
	opts, err := driver.ParseDSN(store.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	opts.Auth.Database = "system"
	if conn, err = driver.Open(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	schema := collector.DefaultSchema()
	schema.Database, schema.EventDays, schema.RollupDays = "guarded", 20000, 20000
	if _, err := collector.Migrate(ctx, conn, schema); err != nil {
		t.Fatal(err)
	}
	var there uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM guarded.Connections").Scan(&there); err != nil {
		t.Fatal(err)
	}
	inserts := []string{
		"INSERT INTO guarded.Certificates SELECT * FROM hubscope.Certificates",
		"INSERT INTO guarded.Connections SELECT * FROM hubscope.Connections",
		"INSERT INTO guarded.Connections SELECT * REPLACE('of-others' AS Hub) FROM hubscope.Connections",
		"INSERT INTO guarded.Connections SELECT * REPLACE(upper(Hub) AS Hub) FROM hubscope.Connections",
		`INSERT INTO guarded.QueryLog (TimeGenerated, User, Text, State) VALUES ('2026-03-02 11:00:00', 'alice', 'her own', 'Completed'), ('2026-03-02 11:30:00', 'bob', 'secret', 'Completed')`,
		`INSERT INTO guarded.Audit (TimeGenerated, Hub, OperationName, Actor) VALUES ('2026-03-02 11:00:00', 'of-others', 'w', 'secret')`,
		`INSERT INTO guarded.PipelineSamples (TimeGenerated, Hub, Node, Service, MetricName, UnitName, Total, Count)
			VALUES ('2026-03-02 11:00:00', 'of-others', 'secret', 'hub', 'm', 'Count', 1, 1), ('2026-03-02 11:00:00', '', 'secret', 'collector', 'm', 'Count', 1, 1)`,
	}
	if there > 0 {
		inserts = nil // by another test
	}
	for _, sql := range inserts {
		if err := conn.Exec(driver.Context(ctx, driver.WithSettings(driver.Settings{"async_insert": 0})), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRow(ctx, "SELECT groupUniqArray(toString(Hub)) FROM hubscope.Connections").Scan(&hubs); err != nil {
		t.Fatal(err)
	}
	dsn, err := url.Parse(store.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn.Path = "/guarded"
	if runner, err = clickhouse.Open(ctx, clickhouse.Config{DSN: dsn.String(), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	if e, err = query.New(query.Config{}, runner); err != nil {
		t.Fatal(err)
	}
	return e, hubs, conn, runner
}

// TestHubsSeeNothingElse: with the hubs of the cases, every case has the answer
// that it has when there are no others.
func TestHubsSeeNothingElse(t *testing.T) {
	e, hubs, _, _ := guarded(t)
	alice := "alice"
	checked := 0
	for _, f := range readCases(t) {
		for _, q := range f.queries {
			want, ordered := q.part("rows")
			if !ordered {
				if want, _ = q.part("rows any order"); want == "" {
					continue
				}
			}
			req := query.Request{Text: q.text, Now: noon, Hubs: hubs, Owner: &alice}
			if a := e.Analyze(req); len(a.Tables) == 0 {
				continue
			}
			result, err := run(t.Context(), e, req)
			if err != nil {
				t.Errorf("%s\n%s", q.text, cause(err))
				continue
			}
			got, rows := lines(result), compact(t, want)
			if !ordered {
				slices.Sort(got)
				slices.Sort(rows)
			}
			if diff := cmp.Diff(rows, got); diff != "" {
				t.Errorf("%s\nrows differ (-without the other hubs +with them):\n%s", q.text, diff)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("%d cases read tables", checked)
	}
}

// TestNoWayAround tries what somebody would who is let into one hub.
func TestNoWayAround(t *testing.T) {
	e, hubs, _, _ := guarded(t)
	alice := "alice"
	foreign := func(text string) int {
		t.Helper()
		result, err := run(t.Context(), e, query.Request{Text: text, Now: noon, Hubs: hubs, Owner: &alice})
		if err != nil {
			t.Errorf("%s\n%s", text, cause(err))
			return 0
		}
		n := 0
		for _, line := range lines(result) {
			if strings.Contains(line, "of-others") || strings.Contains(line, "OF-OTHERS") || strings.Contains(line, "secret") || strings.Contains(line, `"bob"`) {
				n++
			}
			for _, h := range hubs {
				if strings.Contains(line, `"`+strings.ToUpper(h)+`"`) && !strings.Contains(text, "Resource") {
					n++
				}
			}
		}
		return n
	}
	for _, text := range []string{
		`Connections | distinct Hub`,
		`Connections | where Hub == "of-others"`,
		`Connections | summarize count() by Hub`,          // from the rollup
		`Connections | summarize dcount(DeviceId) by Hub`, // from the events
		`Connections | summarize arg_max(TimeGenerated, *) by Hub`,
		`AzureDiagnostics | distinct Resource, ResourceId`,
		`AzureDiagnostics | where Resource == "OF-OTHERS" | take 5`,
		`AzureMetrics | distinct Resource`,
		`Devices | distinct Hub`,
		`QueryLog | project User, Text`,
		`PipelineMetrics | project Hub, Node`,
		`Audit | project Hub, Actor`,
		`union withsource=T * | summarize count() by T, tostring(column_ifexists("Hub", "")), tostring(column_ifexists("User", "")), tostring(column_ifexists("Resource", ""))`,
		`union Connections, Devices | distinct Hub`,
		`search "of-others"`,
		`search in (Connections, Devices, AzureDiagnostics, QueryLog) "secret" or "of-others"`,
		`find in (Connections, Devices) where Hub has "others" project Hub`,
		`find where Hub startswith "of" project Hub`,
		`datatable(Hub:string)["of-others"] | join kind=inner Connections on Hub | project Hub1`,
		`datatable(Hub:string)["of-others"] | join kind=rightouter (Devices | project Hub, DeviceId) on Hub | project Hub1`,
		`datatable(h:string)["x"] | join kind=fullouter (Connections | project h = Hub) on h | project h1`,
		`datatable(Hub:string)["x"] | lookup kind=leftouter (Devices) on Hub | where isnotempty(DeviceId)`,
		`let f = (T:(Hub:string)) { T | distinct Hub }; f(Connections)`,
		`let all = materialize(Connections); all | summarize make_set(Hub)`,
		`print x = toscalar(Connections | summarize make_set(Hub))`,
		`print x = toscalar(QueryLog | summarize make_list(Text))`,
		`Connections | where DeviceId in ((Devices | where Hub == "of-others" | project DeviceId)) | where Hub != "" | distinct Hub`,
		`Connections | summarize count() by Hub | evaluate pivot(Hub, sum(count_))`,
		`Connections | evaluate narrow() | where Column == "Hub" | distinct Value`,
		`Connections | make-series n = count() on TimeGenerated step 1h by Hub`,
		`Connections | partition by Hub (take 1 | project Hub)`,
		`Connections | as C | union (C) | distinct Hub`,
		`Connections | mv-expand x = pack_array(Hub) | distinct tostring(x)`,
		`Connections | project-rename Hubb = Hub | extend Hub = "plant" | distinct Hubb`,
		`Connections | extend Hub = "plant" | distinct Hub`,
		`let Connections = Connections; Connections | distinct Hub`,
		`let hub = "of-others"; Connections | where Hub == hub | union (Connections | where Hub != hub) | distinct Hub`,
		`database("hubscope").Connections | distinct Hub`,
		`Connections | top-nested of Hub by count()`,
		`Connections | sample 1000 | distinct Hub`,
		`Connections | sample-distinct 10 of Hub`,
	} {
		if n := foreign(text); n > 0 {
			t.Errorf("%s\nshows %d rows of others", text, n)
		}
	}
	// The second wall stands alone too: whatever names the tables.
	if got, err := run(t.Context(), e, query.Request{Text: `Connections | where Hub == "of-others" or true | count`, Now: noon, Hubs: []string{}}); err != nil || string(got.Rows[0][0]) != "0" {
		t.Errorf("no hubs at all: %v, %v", got, err)
	}
	got, err := run(t.Context(), e, query.Request{Text: `QueryLog | project User`, Now: noon, Owner: &alice})
	if err != nil || len(got.Rows) != 1 {
		t.Errorf("own queries: %v, %v", got, err)
	}
	if got, err = run(t.Context(), e, query.Request{Text: `QueryLog | count`, Now: noon}); err != nil || string(got.Rows[0][0]) != "2" {
		t.Errorf("all queries: %v, %v", got, err)
	}
	// Of the pipeline's metrics, readers of a hub see the hub's; what belongs to no
	// hub is for who is not restricted.
	for _, tt := range []struct {
		hubs []string
		want string
	}{{nil, "2"}, {[]string{"of-others"}, "1"}, {[]string{"another"}, "0"}, {[]string{}, "0"}} {
		if got, err := run(t.Context(), e, query.Request{Text: `PipelineMetrics | count`, Now: noon, Hubs: tt.hubs}); err != nil || string(got.Rows[0][0]) != tt.want {
			t.Errorf("metrics of the pipeline for hubs %q: %v, %v", tt.hubs, got, err)
		}
	}
	// A hub's name is data.
	for _, name := range []string{`'`, `\`, `') OR 1=1 --`, `"`, "`", `plant'), (1`, "\x00", `\'`} {
		if got, err := run(t.Context(), e, query.Request{Text: `union (Connections | project Hub), (AzureDiagnostics | project Hub = Resource) | count`, Now: noon, Hubs: []string{name}}); err != nil || string(got.Rows[0][0]) != "0" {
			t.Errorf("hub %q: %v, %v", name, got, err)
		}
	}
}

// TestEveryTableIsGuarded: no table that holds a hub's rows is left out, in the
// catalog or below it.
func TestEveryTableIsGuarded(t *testing.T) {
	e, hubs, conn, runner := guarded(t)
	for _, table := range e.Catalog().Tables() {
		if table.Hub == "" && table.Owner == "" {
			t.Errorf("%s has neither a hub nor an owner to restrict it by", table.Name)
		}
	}
	// With the second wall alone, which knows the tables from the catalog.
	alice := "alice"
	wall := &noted{}
	alone, err := query.New(query.Config{}, wall)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Query(t.Context(), query.Request{Text: "print 1", Hubs: hubs, Owner: &alice}); !errors.Is(err, errNoted) {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), "SELECT table, name FROM system.columns WHERE database = 'guarded' AND name IN ('Hub', 'User') AND table NOT LIKE '%Feed'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		result, err := runner.Run(t.Context(), query.Statement{
			ID: "wall-" + table, SQL: "SELECT toInt64(countIf(" + column + " NOT IN ('alice', '" + strings.Join(hubs, "', '") + "'))) FROM " + table,
			Now: noon, Columns: []query.Column{{Name: "n", Type: plan.Long}}, RowFilters: wall.statement.RowFilters,
		})
		if err != nil {
			t.Fatalf("%s: %v", table, cause(err))
		}
		b, err := result.Next()
		if err != nil {
			t.Fatal(err)
		}
		if foreign := b.Columns[0].Ints[0]; foreign != 0 {
			t.Errorf("%s: %d rows of others pass the engine's filter", table, foreign)
		}
		result.Close()
		n++
	}
	if n < 7 {
		t.Errorf("%d tables have a hub or a user", n)
	}
}

// noted keeps the last statement, and runs nothing.
type noted struct{ statement query.Statement }

var errNoted = errors.New("noted")

func (n *noted) Run(_ context.Context, s query.Statement) (query.Rows, error) {
	n.statement = s
	return nil, errNoted
}
func (*noted) Estimate(context.Context, query.Statement) (int64, error) { return -1, nil }
func (*noted) Kill(context.Context, string) error                       { return nil }
