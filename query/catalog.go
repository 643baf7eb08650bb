package query

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"hubscope/ingest"
	"hubscope/query/plan"
)

// Catalog returns the catalog of the tables that package ingest declares.
func Catalog(database string) (*plan.Catalog, error) {
	tables := make([]*plan.Table, 0, len(ingest.Tables))
	for _, t := range ingest.Tables {
		p := &plan.Table{Name: t.Name, Doc: t.Doc}
		if t.Name == "Connections" {
			p.Arrival = ingest.IngestionTimeColumn.Name
		}
		if t.Name == "Connections" || t.Name == "AzureDiagnostics" || t.Name == "QueryLog" {
			p.TimeKey = "toStartOfHour"
		}
		switch t.Name {
		case "AzureDiagnostics":
			p.Hub, p.UpperHub, p.Base = "Resource", true, []string{"Connections"}
		case "AzureMetrics":
			p.Base = []string{"MetricSamples"} // it has a column Hub
		case "Devices":
			p.Base = []string{"DeviceStates", "DeviceFirsts"}
		case "QueryLog":
			p.Owner = "User"
		}
		for _, c := range t.Columns {
			typ, ok := plan.TypeByName(string(c.Type))
			if !ok {
				return nil, fmt.Errorf("table %s: column %s has no Kusto type %q", t.Name, c.Name, c.Type)
			}
			col := plan.TableColumn{
				Name: c.Name, Type: typ, Doc: c.Doc,
				Nullable:       strings.Contains(c.ClickHouse, "Nullable("),
				LowCardinality: strings.HasPrefix(c.ClickHouse, "LowCardinality("),
			}
			if c.Certificate {
				col.Lookup = &plan.Lookup{Source: "Certificates", Key: ingest.CertIdColumn.Name}
			}
			switch c.Name {
			case "TimeGenerated":
				p.Time = c.Name
			case "Hub":
				p.Hub = c.Name
			}
			p.Columns = append(p.Columns, col)
		}
		tables = append(tables, p)
	}
	var rollups []*plan.Rollup
	for _, r := range ingest.Rollups {
		if r.Proven {
			continue // it leaves out events, which the planner cannot undo
		}
		p := &plan.Rollup{
			Table: "Connections", Source: r.Name, Bucket: "TimeGenerated", Time: "TimeGenerated", Step: int64(r.Bin / 100),
			Count: ingest.CountColumn.Name, Dimensions: map[string]string{}, Sums: map[string]string{},
		}
		for _, k := range r.Keys {
			p.Dimensions[k] = k
		}
		for _, s := range r.Sums {
			p.Sums[s] = s
		}
		rollups = append(rollups, p)
	}
	return plan.NewCatalog(database, tables, rollups...)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
