package collector

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/ingest"
)

func sample(node string, total int64) *ingest.Metric {
	return &ingest.Metric{TimeGenerated: time.Now().Truncate(time.Minute), Hub: "hub", Node: node, MetricName: ingest.SuccessfulConnections,
		TlsVersion: "1.3", TlsCipher: "TLS_AES_128_GCM_SHA256", Protocol: ingest.Mqtt, Total: total, Count: total, Minimum: 1, Maximum: 1}
}

// TestAzureMetrics: samples of two processes become one row a minute, whatever
// blocks they came in, and a block that is inserted again adds nothing.
func TestAzureMetrics(t *testing.T) {
	s := newStore(t, startEngine(t), "metrics")
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	minute := time.Now().UTC().Truncate(time.Minute)
	gauge := func(node, name string, value int64) *ingest.Metric {
		return &ingest.Metric{TimeGenerated: minute, Hub: "Plant-7", Node: node, MetricName: name, Total: value, Count: 1, Minimum: value, Maximum: value}
	}
	connections := func(node, version string, n int64) *ingest.Metric {
		return &ingest.Metric{TimeGenerated: minute, Hub: "Plant-7", Node: node, MetricName: ingest.SuccessfulConnections,
			TlsVersion: version, TlsCipher: "C" + version, Protocol: ingest.Mqtt, Total: n, Count: n, Minimum: 1, Maximum: 1}
	}
	blocks := [][]*ingest.Metric{
		{connections("a", "1.3", 3), connections("b", "1.3", 4), connections("a", "1.2", 1), gauge("a", ingest.ConnectedDeviceCount, 10), gauge("b", ingest.ConnectedDeviceCount, 100)},
		{connections("a", "1.3", 2), gauge("a", ingest.ConnectedDeviceCount, 20), gauge("a", ingest.TotalDeviceCount, 7), gauge("b", ingest.TotalDeviceCount, 8),
			{TimeGenerated: minute, Hub: "Plant-7", Node: "a", MetricName: ingest.HandshakeDuration, TlsVersion: "1.3", Total: 5000, Count: 2, Minimum: 1000, Maximum: 4000}},
	}
	w := &inserter{store: s.Store, database: s.Database, retries: func(err error) { t.Error(err) }}
	defer w.close()
	for i, samples := range blocks {
		b := testBlock()
		var data []byte
		for _, m := range samples {
			data = ingest.AppendMetric(data, m)
		}
		b.add(message(ingest.ContentTypeMetrics, data))
		if b.metrics.rows != len(samples) || b.events.rows != 0 || len(b.letters) != 0 {
			t.Fatalf("%d samples, %d events, letters %v", b.metrics.rows, b.events.rows, b.letters)
		}
		for range 2 {
			if err := w.block(t.Context(), b, "token"+string(rune('0'+i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	type row struct {
		Name, Version, Unit, Dimensions, Resource string
		Total, Count, Minimum, Maximum, Average   float64
	}
	want := []row{
		{ingest.HandshakeDuration, "1.3", "MilliSeconds", `{"TlsVersion":"1.3"}`, "PLANT-7", 5, 2, 1, 4, 2.5},
		{ingest.SuccessfulConnections, "1.2", "Count", `{"TlsVersion":"1.2","TlsCipher":"C1.2","Protocol":"Mqtt"}`, "PLANT-7", 1, 1, 1, 1, 1},
		{ingest.SuccessfulConnections, "1.3", "Count", `{"TlsVersion":"1.3","TlsCipher":"C1.3","Protocol":"Mqtt"}`, "PLANT-7", 9, 9, 1, 1, 1},
		// a had 10 and 20, b had 100: together 115 on average.
		{ingest.ConnectedDeviceCount, "", "Count", "{}", "PLANT-7", 230, 2, 110, 120, 115},
		{ingest.TotalDeviceCount, "", "Count", "{}", "PLANT-7", 8, 1, 7, 8, 8},
	}
	check := func(when string) {
		t.Helper()
		rows, err := s.conn.Query(context.Background(), `SELECT MetricName, TlsVersion, UnitName, Dimensions, Resource, Total, Count, Minimum, Maximum, Average
			FROM metrics.AzureMetrics WHERE Hub = 'Plant-7' AND TimeGenerated = ? AND _ResourceId LIKE '%/iothubs/plant-7' AND TimeGrain = 'PT1M' ORDER BY MetricName, TlsVersion`, minute)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got []row
		for rows.Next() {
			var r row
			if err := rows.Scan(&r.Name, &r.Version, &r.Unit, &r.Dimensions, &r.Resource, &r.Total, &r.Count, &r.Minimum, &r.Maximum, &r.Average); err != nil {
				t.Fatal(err)
			}
			if !json.Valid([]byte(r.Dimensions)) {
				t.Errorf("not JSON: %s", r.Dimensions)
			}
			got = append(got, r)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before a merge")
	if err := s.conn.Exec(t.Context(), "OPTIMIZE TABLE metrics.MetricSamples FINAL"); err != nil {
		t.Fatal(err)
	}
	check("after a merge")
}

// TestPipelineMetrics: samples of a minute become one row, durations are seconds,
// and a block that is inserted again adds nothing.
func TestPipelineMetrics(t *testing.T) {
	s := newStore(t, startEngine(t), "pipeline")
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	minute := time.Now().UTC().Truncate(time.Minute)
	counter := func(node string, n int64) *ingest.Metric {
		return &ingest.Metric{TimeGenerated: minute, Node: node, Service: "collector", MetricName: "hubscope_collector_rows_total",
			MetricType: "Counter", UnitName: "Count", Stream: "EVENTS", Total: n, Count: 1, Minimum: n, Maximum: n}
	}
	took := func(total, count, least, most int64) *ingest.Metric {
		return &ingest.Metric{TimeGenerated: minute, Node: "a", Service: "publisher", MetricName: "hubscope_publisher_ack_duration_seconds",
			MetricType: "Histogram", UnitName: "Seconds", Total: total, Count: count, Minimum: least, Maximum: most}
	}
	refused := &ingest.Metric{TimeGenerated: minute, Hub: "plant", Node: "a", Service: "hub", MetricName: "hubscope_hub_connections_total",
		MetricType: "Counter", UnitName: "Count", Reason: "why", ResultType: "401003", Total: 1, Count: 1, Minimum: 1, Maximum: 1}
	blocks := [][]*ingest.Metric{
		{counter("a", 40), counter("b", 5), took(3_000_000, 2, 1_000_000, 2_000_000)},
		{counter("a", 2), took(500_000, 1, 500_000, 500_000), refused, sample("a", 9)},
	}
	w := &inserter{store: s.Store, database: s.Database, retries: func(err error) { t.Error(err) }}
	defer w.close()
	for i, samples := range blocks {
		b := testBlock()
		var data []byte
		for _, m := range samples {
			data = ingest.AppendMetric(data, m)
		}
		b.add(message(ingest.ContentTypeMetrics, data))
		if b.pipeline.rows+b.metrics.rows != len(samples) || b.metrics.rows != i || len(b.letters) != 0 {
			t.Fatalf("%d and %d samples, letters %v", b.pipeline.rows, b.metrics.rows, b.letters)
		}
		for range 2 {
			if err := w.block(t.Context(), b, "token"+string(rune('0'+i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	type row struct {
		Node, Service, Name, Kind, Unit, Hub, Stream, Reason, Result string
		Total                                                        float64
		Count                                                        int64
		Minimum, Maximum, Average                                    float64
	}
	want := []row{
		{"a", "collector", "hubscope_collector_rows_total", "Counter", "Count", "", "EVENTS", "", "", 42, 2, 2, 40, 21},
		{"b", "collector", "hubscope_collector_rows_total", "Counter", "Count", "", "EVENTS", "", "", 5, 1, 5, 5, 5},
		{"a", "hub", "hubscope_hub_connections_total", "Counter", "Count", "plant", "", "why", "401003", 1, 1, 1, 1, 1},
		{"a", "publisher", "hubscope_publisher_ack_duration_seconds", "Histogram", "Seconds", "", "", "", "", 3.5, 3, .5, 2, 3.5 / 3},
	}
	check := func(when string) {
		t.Helper()
		rows, err := s.conn.Query(context.Background(), `SELECT Node, Service, MetricName, MetricType, UnitName, Hub, Stream, Reason, Result,
			Total, Count, Minimum, Maximum, Average FROM pipeline.PipelineMetrics WHERE TimeGenerated = ? ORDER BY MetricName, Node`, minute)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got []row
		for rows.Next() {
			var r row
			if err := rows.Scan(&r.Node, &r.Service, &r.Name, &r.Kind, &r.Unit, &r.Hub, &r.Stream, &r.Reason, &r.Result,
				&r.Total, &r.Count, &r.Minimum, &r.Maximum, &r.Average); err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before a merge")
	if err := s.conn.Exec(t.Context(), "OPTIMIZE TABLE pipeline.PipelineSamples FINAL"); err != nil {
		t.Fatal(err)
	}
	check("after a merge")
	// A panel's query reads its metric and its minutes.
	var plan string
	if err := s.conn.QueryRow(t.Context(), `SELECT arrayStringConcat(groupArray(explain), '\n') FROM (EXPLAIN indexes = 1
		SELECT sum(Total) FROM pipeline.PipelineMetrics WHERE MetricName = 'hubscope_collector_rows_total' AND TimeGenerated >= now64(7) - INTERVAL 1 HOUR)`).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	if key := plan[strings.Index(plan, "PrimaryKey"):]; !strings.Contains(key, "MetricName") || !strings.Contains(key, "TimeGenerated") {
		t.Errorf("the primary key is not used:\n%s", plan)
	}
}

// TestBadMetrics go to the dead letters, and the good ones beside them do not.
func TestBadMetrics(t *testing.T) {
	b := testBlock()
	good, none, future := sample("a", 1), sample("a", 1), sample("a", 1)
	none.MetricName = ""
	future.TimeGenerated = time.Now().Add(48 * time.Hour)
	var data []byte
	for _, m := range []*ingest.Metric{none, good, future} {
		data = ingest.AppendMetric(data, m)
	}
	b.add(message(ingest.ContentTypeMetrics, data))
	if b.metrics.rows != 1 || len(b.letters) != 1 {
		t.Fatalf("%d rows, letters %v; want one of each", b.metrics.rows, b.letters)
	}
	if want := "metric 1: metric without MetricName (and 1 more of 3 metrics)"; b.letters[0].reason != want {
		t.Errorf("reason %q, want %q", b.letters[0].reason, want)
	}
}
