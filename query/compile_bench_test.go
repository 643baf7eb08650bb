package query_test

import (
	"slices"
	"testing"
	"time"

	"hubscope/query"
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
// under 100 µs.
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
	var took []time.Duration
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		engine.Analyze(query.Request{Text: compileQueries[i%len(compileQueries)]})
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "median-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}
