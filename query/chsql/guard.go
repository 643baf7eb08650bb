package chsql

import (
	"slices"
	"strings"
)

// RowFilter keeps of a ClickHouse table the rows whose string column has one of
// the values; without values it keeps none.
type RowFilter struct {
	Table, Column string
	Values        []string
}

// RowFilters returns the value of the setting additional_table_filters that
// makes ClickHouse apply the filters wherever a statement reads the tables, in
// views and subqueries too. It is empty without filters.
func RowFilters(filters []RowFilter) string {
	if len(filters) == 0 {
		return ""
	}
	parts := make([]string, len(filters))
	for i, f := range filters {
		values := make([]string, len(f.Values))
		for j, v := range f.Values {
			values[j] = quote(v)
		}
		expr := "0"
		if len(values) > 0 {
			expr = ident(f.Column) + " IN (" + strings.Join(values, ", ") + ")"
		}
		parts[i] = quote(f.Table) + ":" + quote(expr)
	}
	slices.Sort(parts) // same input, same text
	return "{" + strings.Join(parts, ",") + "}"
}
