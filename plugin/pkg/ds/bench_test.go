package ds

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// How much does the plugin add to a query over what the service takes? The
// answers are ready-made: what is measured is reading them and making frames.
func BenchmarkQueryData(b *testing.B) {
	for _, size := range []struct {
		name   string
		rows   int
		fields []string
	}{{"1 row", 1, nil}, {"10,000 points", 10_000, []string{asSeries}}, {"100,000 rows", 100_000, nil}, {"10,000 log lines", 10_000, []string{asLogs}}} {
		b.Run(size.name, func(b *testing.B) {
			var body strings.Builder
			body.WriteString(`{"columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"TlsVersion","type":"string"},{"name":"DeviceId","type":"string"},{"name":"Count","type":"long"},{"name":"AvgMs","type":"real"}]}` + "\n")
			for i := range size.rows {
				switch {
				case i == 0:
					body.WriteString(`{"rows":[`)
				case i%1000 == 0:
					body.WriteString("]}\n{\"rows\":[")
				default:
					body.WriteString(",")
				}
				device := fmt.Sprintf("device-%05d", i)
				if size.fields != nil && size.fields[0] == asSeries {
					device = "d"
				}
				fmt.Fprintf(&body, `["2026-11-21T%02d:%02d:%02d.%04d000Z","1.%d",%q,%d,%d.5]`, i/36000000%24, i/600000%60, i/10000%60, i%10000, i%4, device, i, i)
			}
			body.WriteString("]}\n" + `{"done":{"stats":{"rows":1,"readRows":1,"readBytes":1,"memoryBytes":1,"elapsedMs":1,"compileMs":1},"truncated":false,"sql":"SELECT 1","tables":[],"rollup":""}}` + "\n")
			text := body.String()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
			defer server.Close()
			d := newSource(b, server.URL, `{"cacheSeconds":-1}`)
			q := panel("A", "Connections | where $__timeFilter() | summarize count() by bin(TimeGenerated, $__timeInterval)", size.fields...)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				res, err := d.QueryData(b.Context(), &backend.QueryDataRequest{Queries: []backend.DataQuery{q}})
				if err != nil || res.Responses["A"].Error != nil {
					b.Fatal(err, res.Responses["A"].Error)
				}
			}
		})
	}
}
