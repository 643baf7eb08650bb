package query

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"hubscope/ingest"
	"hubscope/query/plan"
)

// certificates holds the facts of client certificates.
var certificates = &plan.Lookup{Source: "Certificates", Keys: []string{ingest.CertIdColumn.Name}}

// deviceFacts are the columns of Devices that the newest event does not have.
var deviceFacts = map[string]*plan.Lookup{
	"FirstSeen":          {Source: "DeviceFirsts", Keys: []string{"Hub", "DeviceId"}, Merge: "min"},
	"BestOfferedVersion": {Source: "DeviceFirsts", Keys: []string{"Hub", "DeviceId"}, Merge: "max"},
	"CertThumbprint":     certificates,
	"CertIssuer":         certificates,
	"CertNotAfter":       certificates,
}

// Catalog returns the catalog of the tables that package ingest declares.
func Catalog(database string) (*plan.Catalog, error) {
	tables := make([]*plan.Table, 0, len(ingest.Tables))
	for _, t := range ingest.Tables {
		p := &plan.Table{Name: t.Name, Doc: t.Doc}
		if t.Name == "Connections" {
			p.Arrival = ingest.IngestionTimeColumn.Name
		}
		if t.Name == "Connections" || t.Name == "AzureDiagnostics" || t.Name == "QueryLog" || t.Name == "Audit" {
			p.TimeKey = "toStartOfHour"
		}
		switch t.Name {
		case "AzureDiagnostics":
			p.Hub, p.UpperHub, p.Base = "Resource", true, []string{"Connections"}
		case "AzureMetrics":
			p.Base = []string{"MetricSamples"} // it has a column Hub
		case "PipelineMetrics":
			p.Base = []string{"PipelineSamples"} // the same
		case "Devices":
			// What the view of this name joins is joined only when it is read.
			p.Source, p.Final, p.Base = "DeviceStates", true, []string{"DeviceStates", "DeviceFirsts"}
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
				col.Lookup = certificates
			}
			if t.Name == "Devices" {
				col.Lookup = deviceFacts[c.Name]
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
		p := &plan.Rollup{
			Table: "Connections", Source: r.Name, Bucket: "TimeGenerated", Time: "TimeGenerated", Step: int64(r.Bin / 100),
			Count: ingest.CountColumn.Name, Dimensions: map[string]string{}, Sums: map[string]string{},
		}
		if r.PerDevice {
			p.Fine = "DeviceId"
		}
		if r.Distinct != "" {
			p.Distinct, p.States, p.Filled = r.Distinct, ingest.DistinctColumn.Name, ingest.FilledColumn.Name
		}
		for _, k := range r.Keys {
			p.Dimensions[k] = k
		}
		for _, s := range r.Sums {
			p.Sums[s] = s
		}
		rollups = append(rollups, p)
	}
	for i, r := range ingest.Rollups {
		for _, p := range rollups {
			if r.Finer == p.Source {
				rollups[i].Finer = p
			}
		}
	}
	return plan.NewCatalog(database, tables, rollups...)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
