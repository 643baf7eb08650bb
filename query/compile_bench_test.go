package query_test

import (
	"slices"
	"testing"
	"time"

	"hubscope/query"
	"hubscope/query/chsql"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// compileQueries are what users send: the first minutes, the engineer on call,
// the dashboards, and the query of the IoT Hub TLS document.
var compileQueries = []string{
	`Connections | count`,
	`Connections | summarize Devices=dcount(DeviceId) by TlsVersion | render piechart`,
	`Connections | where DeviceId == "pump-0417" | top 20 by TimeGenerated
	 | project TimeGenerated, OperationName, TlsVersion, TlsCipher, OfferedVersions, ResultType, DisconnectReason`,
	`Connections | where TimeGenerated > ago(1d) and OperationName == "deviceConnect"
	 | summarize count() by bin(TimeGenerated, 5m), TlsVersion | order by TimeGenerated asc`,
	`Connections | where TimeGenerated > ago(30d) and TlsVersion in ("1.0", "1.1")
	 | summarize arg_max(TimeGenerated, *) by DeviceId | project DeviceId, TimeGenerated, TlsVersion, TlsCipher, SdkVersion, CertNotAfter`,
	`let legacy = Connections | where TlsVersion < "1.2" | distinct DeviceId;
	 Devices | join kind=inner legacy on DeviceId | extend Days = datetime_diff("day", now(), LastSeen)
	 | summarize Devices=count(), Oldest=max(Days) by StrictReason, Hub | order by Devices desc`,
	`AzureDiagnostics
	 | where ResourceProvider == "MICROSOFT.DEVICES" and ResourceType == "IOTHUBS"
	 | where Category == "Connections"
	 | where OperationName == "deviceConnect"
	 | extend props_json = parse_json(properties_s)
	 | project DeviceId = props_json.deviceId, TLSVersion = props_json.tlsVersion`,
}

// How long does a user's query take from text to SQL? The goal is a median
// under 100 µs and a 99th percentile under 1 ms.
func BenchmarkCompile(b *testing.B) {
	engine, err := query.New(query.Config{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range compileQueries {
		if a := engine.Analyze(query.Request{Text: text}); len(a.Errors) > 0 {
			b.Fatal(a.Errors)
		}
	}
	took := make([][]time.Duration, len(compileQueries))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % len(took)
		start := time.Now()
		engine.Analyze(query.Request{Text: compileQueries[k]})
		took[k] = append(took[k], time.Since(start))
	}
	report(b, took)
}

// The same for queries that people have published, over tables that we do not
// have: those that bind, with an open table for each name.
func BenchmarkCompilePublished(b *testing.B) {
	type compilable struct {
		text string
		cat  *plan.Catalog
	}
	var queries []compilable
	for _, c := range shared[parsed](b, "parse.jsonl") {
		if cat, p, errs := openFor(b, c.Query); c.OfficialOK && len(errs) == 0 && p.Discover == nil {
			queries = append(queries, compilable{c.Query, cat})
		}
	}
	now := plan.Ticks(noon)
	took := make([][]time.Duration, len(queries))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % len(took)
		q := queries[k]
		start := time.Now()
		tree, _ := kql.Parse(q.text)
		p, errs := plan.Bind(tree, q.cat, plan.Options{Now: &now, External: func(string) ([]byte, error) { return nil, nil }})
		if len(errs) > 0 {
			b.Fatal(errs)
		}
		chsql.Generate(p)
		took[k] = append(took[k], time.Since(start))
	}
	report(b, took)
}

// report gives the median and the 99th percentile over the queries, of each one's
// median: what else the machine does is not counted.
func report(b *testing.B, took [][]time.Duration) {
	var each []time.Duration
	for _, t := range took {
		if len(t) > 0 {
			slices.Sort(t)
			each = append(each, t[len(t)/2])
		}
	}
	slices.Sort(each)
	b.ReportMetric(float64(each[len(each)/2].Nanoseconds())/1e3, "median-µs")
	b.ReportMetric(float64(each[(len(each)-1)*99/100].Nanoseconds())/1e3, "p99-µs")
	b.ReportMetric(float64(each[len(each)-1].Nanoseconds())/1e3, "slowest-µs")
	b.ReportMetric(float64(len(each)), "queries")
}
