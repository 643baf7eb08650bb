package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
)

type described struct{ Name, Type string }

func (s store) describe(table string) []described {
	s.t.Helper()
	rows, err := s.conn.Query(context.Background(), "SELECT name, type FROM system.columns WHERE database = ? AND table = ? ORDER BY position", s.Database, table)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var out []described
	for rows.Next() {
		var d described
		if err := rows.Scan(&d.Name, &d.Type); err != nil {
			s.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func listed(columns []ingest.Column) []described {
	var out []described
	for _, c := range columns {
		out = append(out, described{c.Name, c.ClickHouse})
	}
	return out
}

// TestTablesAreTheLists: what the store has is what package ingest says.
func TestTablesAreTheLists(t *testing.T) {
	s := newStore(t, startEngine(t), "lists")
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string][]ingest.Column{
		"Connections":      append(stored(ingest.Connections), ingest.IngestionTimeColumn),
		"Certificates":     append([]ingest.Column{ingest.CertIdColumn}, certificate(ingest.Connections)...),
		"AzureDiagnostics": ingest.AzureDiagnostics,
		"Devices":          ingest.Devices,
		"AzureMetrics":     ingest.AzureMetrics,
		"Audit":            ingest.Audit,
		"PipelineMetrics":  ingest.PipelineMetrics,
		"QueryLog":         ingest.QueryLog,
	} {
		if diff := cmp.Diff(listed(want), s.describe(table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
	for _, r := range ingest.Rollups {
		want := []described{{"TimeGenerated", "DateTime('UTC')"}}
		for _, name := range r.Keys {
			want = append(want, described{name, ingest.ColumnNamed(name).ClickHouse})
		}
		if r.Distinct != "" {
			want = append(want, described{ingest.FilledColumn.Name, ingest.FilledColumn.ClickHouse})
		}
		for _, name := range append([]string{ingest.CountColumn.Name}, r.Sums...) {
			kind := ingest.CountColumn.ClickHouse
			if c := ingest.ColumnNamed(name); c != nil {
				kind = c.ClickHouse
			}
			want = append(want, described{name, "SimpleAggregateFunction(sum, " + kind + ")"})
		}
		if r.Distinct != "" {
			want = append(want, described{ingest.DistinctColumn.Name, ingest.DistinctColumn.ClickHouse})
		}
		if diff := cmp.Diff(want, s.describe(r.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.Name, diff)
		}
	}
	// Every table that an insert reaches has its own window of tokens.
	for _, table := range []string{"Connections", "Certificates", "ConnectionsBy5m", "ConnectionsByHour", "DeviceDays", "DevicesByDay", "DeviceStates", "DeviceFirsts", "MetricSamples", "PipelineSamples", "Audit"} {
		if s.number("SELECT countSubstrings(create_table_query, 'non_replicated_deduplication_window = 10000') FROM system.tables WHERE database = ? AND name = ?", s.Database, table) != 1 {
			t.Errorf("%s has no window of tokens", table)
		}
	}
}

func TestMigrateTogetherAndAgain(t *testing.T) {
	s := newStore(t, startEngine(t), "together")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := s.Migrate(t.Context())
	if err != nil || m.From != m.To || m.To != migrations[len(migrations)-1].version {
		t.Errorf("again: %+v, %v; want the newest version twice", m, err)
	}
	if err := s.conn.Exec(t.Context(), "INSERT INTO together.schema_migrations (version, name) SETTINGS async_insert = 0 VALUES (99, 'later')"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("a later schema: %v, want ErrNewerSchema", err)
	}
}

// TestMigrationAddsAColumn: a database of an older version gets a column that
// the list has now, with its rows kept.
func TestMigrationAddsAColumn(t *testing.T) {
	s := newStore(t, startEngine(t), "adds")
	older := slices.DeleteFunc(slices.Clone(ingest.Connections), func(c ingest.Column) bool { return c.Name == "UserAgent" })
	schema := s.Schema
	if _, err := migrate(t.Context(), s.conn, schema, migrations, older); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.Exec(t.Context(), "INSERT INTO adds.Connections (TimeGenerated, Hub, OperationName) SETTINGS async_insert = 0 VALUES (now64(7), 'h', 'deviceConnect')"); err != nil {
		t.Fatal(err)
	}
	now := migrations[len(migrations)-1].version
	later := append(slices.Clone(migrations), migration{now + 1, "user agents", func(s Schema, columns []ingest.Column) []string {
		return append([]string{s.addColumn("Connections", columns, "UserAgent")}, s.views()...)
	}})
	m, err := migrate(t.Context(), s.conn, schema, later, ingest.Connections)
	if err != nil || m.From != now || m.To != now+1 {
		t.Fatalf("%+v, %v", m, err)
	}
	if diff := cmp.Diff(listed(append(stored(ingest.Connections), ingest.IngestionTimeColumn)), s.describe("Connections")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := s.number("SELECT count() FROM adds.Connections WHERE UserAgent = ''"); n != 1 {
		t.Errorf("%d old rows, want 1", n)
	}
}

// TestClusterDefinitions: the same tables, replicated.
func TestClusterDefinitions(t *testing.T) {
	s := DefaultSchema()
	s.Database, s.Cluster, s.Replicated = "hubscope", "{cluster}", true
	for _, sql := range first(s, ingest.Connections) {
		if !strings.Contains(sql, " ON CLUSTER '{cluster}'") {
			t.Errorf("not on the cluster: %.80s", sql)
		}
		if strings.HasPrefix(sql, "CREATE TABLE") {
			for _, want := range []string{"ENGINE = Replicated", "('/clickhouse/tables/{shard}/hubscope/", "'{replica}'",
				"replicated_deduplication_window = 10000", "replicated_deduplication_window_seconds = 604800"} {
				if !strings.Contains(sql, want) {
					t.Errorf("%.60s: no %q", sql, want)
				}
			}
		}
	}
}

func TestConfigRefusesNames(t *testing.T) {
	for _, s := range []Schema{
		{Database: "a; DROP", EventDays: 1, RollupDays: 1}, {Database: "a", Cluster: "x' SYNC", EventDays: 1, RollupDays: 1},
		{Database: "", EventDays: 1, RollupDays: 1}, {Database: "a"},
	} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

// TestViews: one refused and one connected device, as the views tell of them.
func TestViews(t *testing.T) {
	n := startNATS(t)
	s := newStore(t, startEngine(t), "views")
	c, err := New(testConfig(n.URL, s.Store), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.Run)
	p := startPublisher(t, n.URL, "a")
	ids := ingest.NewConnectionIDs()
	at := time.Now().UTC().Truncate(time.Second)
	connect := ingest.Event{
		TimeGenerated: at, Hub: "plant", Node: "n1", ConnectionId: ids.Next(at), Sequence: 100, OperationName: ingest.DeviceConnect,
		Category: ingest.CategoryConnections, Level: ingest.Information, Stage: ingest.StageSession, DeviceId: `pump "7"`,
		Protocol: ingest.Mqtt, AuthType: ingest.AuthX509CA, AuthIssuer: "iothub", SdkVersion: "sdk/1", MaskedIpAddress: "10.0.0.XXX",
		TlsVersion: "1.3", TlsCipher: "TLS_AES_128_GCM_SHA256", OfferedVersions: []string{"1.3", "1.2"}, OfferedCiphers: []string{"TLS_AES_128_GCM_SHA256"},
		CertThumbprint: strings.Repeat("ab", 32), CertIssuer: "CN=ca", CertNotAfter: at.AddDate(1, 0, 0), CaName: "ca",
	}
	// A takeover: the new connection began before the old one's end was seen.
	again, end := connect, connect
	again.TimeGenerated, again.Sequence, again.TlsVersion, again.OfferedVersions = at.Add(time.Second), 300, "1.2", []string{"1.2"}
	again.ConnectionId = ids.Next(again.TimeGenerated)
	end.TimeGenerated, end.Sequence, end.OperationName = at.Add(2*time.Second), 200, ingest.DeviceDisconnect
	refused := ingest.Event{TimeGenerated: at, Hub: "plant", OperationName: ingest.ConnectionRefused, Level: ingest.Error, Stage: ingest.StageAuth,
		Category: ingest.CategoryConnections, ClaimedDeviceId: "ghost", ResultType: "401003", TlsVersion: "1.2", AuthType: ingest.AuthNone}
	count := ingest.Event{TimeGenerated: at, Hub: "plant", OperationName: ingest.ConnectionsSuppressed, Messages: 9}
	for _, e := range []*ingest.Event{&connect, &again, &end, &refused, &count} {
		p.Publish(e)
	}
	// Rows counts inserts that are done, their views included.
	eventually(t, "the events are stored", func() bool { return c.Status()[0].Rows == 5 })
	type device struct {
		TlsVersion, BestOfferedVersion, OfferedVersions, OperationName, CertThumbprint, CertIssuer string
		FirstSeen                                                                                  time.Time
		CertNotAfter                                                                               *time.Time
	}
	var got device
	if err := s.conn.QueryRow(t.Context(), `SELECT TlsVersion, BestOfferedVersion, OfferedVersions, OperationName, CertThumbprint, CertIssuer, FirstSeen, CertNotAfter
FROM views.Devices WHERE DeviceId = ?`, connect.DeviceId).Scan(&got.TlsVersion, &got.BestOfferedVersion, &got.OfferedVersions, &got.OperationName,
		&got.CertThumbprint, &got.CertIssuer, &got.FirstSeen, &got.CertNotAfter); err != nil {
		t.Fatal(err)
	}
	expires := connect.CertNotAfter
	want := device{"1.2", "1.3", `["1.2"]`, ingest.DeviceConnect, connect.CertThumbprint, "CN=ca", at, &expires}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Devices (-want +got):\n%s", diff)
	}

	// The query of the IoT Hub TLS document, as SQL.
	rows, err := s.conn.Query(t.Context(), `SELECT OperationName, properties_s, ResourceId, _ResourceId FROM views.AzureDiagnostics
WHERE ResourceProvider = 'MICROSOFT.DEVICES' AND ResourceType = 'IOTHUBS' AND Category = 'Connections' ORDER BY OperationName, TimeGenerated`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var operation, properties, upper, lower string
		if err := rows.Scan(&operation, &properties, &upper, &lower); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(upper, "/IOTHUBS/PLANT") || lower != strings.ToLower(upper) {
			t.Errorf("resource ids %q, %q", upper, lower)
		}
		var props struct {
			DeviceID   string `json:"deviceId"`
			TLSVersion string `json:"tlsVersion"`
			AuthType   string `json:"authType"`
			Masked     string `json:"maskedIpAddress"`
		}
		if err := json.Unmarshal([]byte(properties), &props); err != nil {
			t.Fatalf("properties_s: %v: %s", err, properties)
		}
		var auth struct{ Scope, Type string }
		if err := json.Unmarshal([]byte(props.AuthType), &auth); err != nil {
			t.Fatalf("authType: %v: %s", err, props.AuthType)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", operation, props.DeviceID, props.TLSVersion, auth.Type, props.Masked))
	}
	wantLines := []string{
		"connectionRefused ghost 1.2 none ",
		`deviceConnect pump "7" 1.3 x509Ca 10.0.0.XXX`,
		`deviceConnect pump "7" 1.2 x509Ca 10.0.0.XXX`,
		`deviceDisconnect pump "7" 1.3 x509Ca 10.0.0.XXX`,
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("AzureDiagnostics (-want +got):\n%s", diff)
	}
}

// TestUnmergedBlock: rows of one key that came in one block, which an insert
// leaves as they are, count as the merges make them: before those and after.
func TestUnmergedBlock(t *testing.T) {
	s := newStore(t, startEngine(t), "unmerged")
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A merge at any moment would hide what is tested.
	if err := s.conn.Exec(t.Context(), "SYSTEM STOP MERGES unmerged.DeviceStates"); err != nil {
		t.Fatal(err)
	}
	const events, devices = 30_000, 40 // a device's rows are many marks of the index
	b := testBlock()
	m := message(ingest.ContentType, nil)
	at := time.Now().UTC().Truncate(time.Hour)
	for i := range events {
		e := event(i)
		e.TimeGenerated, e.Hub, e.OperationName = at.Add(time.Duration(i)*time.Millisecond), "h", ingest.DeviceConnect
		e.DeviceId, e.Sequence = fmt.Sprint("d", i%devices), int64(i+1)
		e.CertThumbprint, e.CertIssuer = strings.Repeat(fmt.Sprintf("%04x", i%devices+1), 16), "CN=ca"
		if err := b.addDecoded(m, e); err != nil {
			t.Fatal(err)
		}
	}
	w := &inserter{store: s.Store, database: s.Database, retries: func(err error) { t.Error(err) }}
	defer w.close()
	for range 2 {
		if err := w.block(t.Context(), b, "token"); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for sql, want := range map[string]int64{
			"SELECT count() FROM unmerged.Connections":                                            events,
			"SELECT count() FROM unmerged.Devices":                                                devices,
			"SELECT uniqExact(DeviceId) FROM unmerged.Devices":                                    devices,
			"SELECT countIf(CertIssuer = 'CN=ca') FROM unmerged.Devices":                          devices,
			"SELECT toUnixTimestamp64Milli(min(LastSeen)) FROM unmerged.Devices":                  at.UnixMilli() + events - devices,
			"SELECT toUnixTimestamp64Milli(max(FirstSeen)) FROM unmerged.Devices":                 at.UnixMilli() + devices - 1,
			"SELECT sum(Count) FROM unmerged.DeviceDays":                                          events,
			"SELECT sum(Count) FROM unmerged.ConnectionsBy5m":                                     events,
			"SELECT count() FROM unmerged.Devices WHERE DeviceId = 'd7' AND FirstSeen < LastSeen": 1,
		} {
			if got := s.number(sql); got != want {
				t.Errorf("%s: %s is %d, want %d", when, sql, got, want)
			}
		}
	}
	if got := s.number("SELECT count() FROM unmerged.DeviceStates"); got != events {
		t.Errorf("%d rows of states before a merge, want the block's %d", got, events)
	}
	check("before merges")
	if err := s.conn.Exec(t.Context(), "SYSTEM START MERGES unmerged.DeviceStates"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"DeviceStates", "DeviceFirsts", "DeviceDays", "ConnectionsBy5m", "Certificates"} {
		if err := s.conn.Exec(t.Context(), "OPTIMIZE TABLE unmerged."+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.number("SELECT count() FROM unmerged.DeviceStates"); got != devices {
		t.Errorf("%d rows of states after a merge, want %d", got, devices)
	}
	check("after merges")
}
