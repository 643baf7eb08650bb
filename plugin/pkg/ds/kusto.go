package ds

import (
	"hubscope/query/client"
)

// A schema as `.show schema as json` of Kusto prints it and as
// setSchemaFromShowSchema of @kusto/monaco-kusto takes it.
type (
	showSchema struct {
		Plugins   []struct{}
		Databases map[string]showDatabase
	}
	showDatabase struct {
		Name               string
		MajorVersion       int
		MinorVersion       int
		DatabaseAccessMode string
		Tables             map[string]showTable
		Functions          map[string]showFunction
		ExternalTables     map[string]struct{}
		MaterializedViews  map[string]struct{}
		EntityGroups       map[string]struct{}
	}
	showTable struct {
		Name           string
		DocString      string
		OrderedColumns []showColumn
	}
	showColumn struct {
		Name            string
		Type            string // System.String
		CslType         string // string
		DocString       string `json:",omitempty"`
		CslDefaultValue string `json:",omitempty"` // of parameters
	}
	showFunction struct {
		Name            string
		Body            string
		DocString       string
		FunctionKind    string
		InputParameters []showColumn
	}
)

// dotnet are the types of .NET that Kusto names beside its own: the editor reads
// both.
var dotnet = map[string]string{
	"bool": "System.SByte", "datetime": "System.DateTime", "decimal": "System.Data.SqlTypes.SqlDecimal", "dynamic": "System.Object",
	"guid": "System.Guid", "int": "System.Int32", "long": "System.Int64", "real": "System.Double", "string": "System.String", "timespan": "System.TimeSpan",
}

// kustoSchema makes the editor's schema of the service's: with the macros as
// functions, so that the editor offers them and does not mark them.
func kustoSchema(s *client.SchemaResponse) showSchema {
	db := showDatabase{
		Name: s.Database, MajorVersion: 1, DatabaseAccessMode: "ReadOnly",
		Tables: map[string]showTable{}, Functions: macroFunctions(),
		ExternalTables: map[string]struct{}{}, MaterializedViews: map[string]struct{}{}, EntityGroups: map[string]struct{}{},
	}
	for _, t := range s.Tables {
		table := showTable{Name: t.Name, DocString: t.Doc, OrderedColumns: []showColumn{}}
		for _, c := range t.Columns {
			table.OrderedColumns = append(table.OrderedColumns, showColumn{Name: c.Name, Type: dotnet[c.Type], CslType: c.Type, DocString: c.Doc})
		}
		db.Tables[t.Name] = table
	}
	return showSchema{Plugins: []struct{}{}, Databases: map[string]showDatabase{s.Database: db}}
}

// macroFunctions are the macros as functions that return what they stand for.
func macroFunctions() map[string]showFunction {
	all := map[string]showFunction{}
	add := func(name, body, doc string, parameters ...showColumn) {
		name = "$__" + name
		if parameters == nil {
			parameters = []showColumn{}
		}
		all[name] = showFunction{Name: name, Body: "{ " + body + " }", DocString: doc, FunctionKind: "Unknown", InputParameters: parameters}
	}
	column := func(name, typ, value string) showColumn {
		return showColumn{Name: name, Type: dotnet[typ], CslType: typ, CslDefaultValue: value}
	}
	add("timeFilter", "true", "Whether the time lies in the range of the dashboard. Without an argument: TimeGenerated.", column("column", "datetime", "datetime(null)"))
	add("timeFrom", "datetime(2026-01-01)", "Start of the range of the dashboard.")
	add("timeTo", "datetime(2026-01-01)", "End of the range of the dashboard.")
	add("timeInterval", "1m", "Width of a bin that suits the range and the panel: bin(TimeGenerated, $__timeInterval).")
	add("interval", "1m", "The same as $__timeInterval.")
	add("interval_ms", "60000", "$__timeInterval in milliseconds.")
	add("range", "1h", "Length of the range of the dashboard.")
	add("range_s", "3600", "Length of the range in seconds.")
	add("range_ms", "3600000", "Length of the range in milliseconds.")
	add("from", "1767225600000", "Start of the range in milliseconds since 1970.")
	add("to", "1767225600000", "End of the range in milliseconds since 1970.")
	add("contains", "true", "Whether the column has one of the values chosen in a dashboard variable: $__contains(Hub, $hub). True when All is chosen.",
		column("column", "dynamic", ""), column("variable", "dynamic", "dynamic(null)"))
	add("escapeMulti", "''", "The values chosen in a dashboard variable as literals: Hub in ($__escapeMulti($hub)).", column("variable", "dynamic", "dynamic(null)"))
	add("adhocFilters", "true", "The ad hoc filters of the dashboard as a predicate: | where $__adhocFilters.")
	return all
}
