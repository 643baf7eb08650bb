package collector

import (
	"context"
	"encoding/json"
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
