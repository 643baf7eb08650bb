package query

import (
	"hubscope/ingest"
	"hubscope/query/chsql"
)

// A restricted request is held by two walls. The plan filters every table that
// it reads, which also lets it use the primary key. Below it, ClickHouse is told
// to filter the tables themselves, so that nothing a statement reads, by
// whatever way, has rows that the request may not see.

// rowFilters returns the second wall, "" when the request is not restricted.
func (e *Engine) rowFilters(req Request) string {
	var filters []chsql.RowFilter
	seen := map[string]bool{}
	add := func(table, column string, values []string) {
		if !seen[table] {
			seen[table] = true
			filters = append(filters, chsql.RowFilter{Table: table, Column: column, Values: values})
		}
	}
	for _, t := range e.catalog.Tables() {
		switch {
		case t.Owner != "" && req.Owner != nil:
			add(t.Source, t.Owner, []string{*req.Owner})
		case t.Hub == "" || req.Hubs == nil:
		case t.Base == nil:
			add(t.Source, t.Hub, req.Hubs)
		default:
			for _, base := range t.Base {
				add(base, baseHub, req.Hubs)
			}
		}
	}
	if req.Hubs != nil {
		for _, r := range e.catalog.Rollups() {
			add(r.Source, baseHub, req.Hubs)
		}
		for _, r := range ingest.Rollups { // also those that the planner does not use
			add(r.Name, baseHub, req.Hubs)
		}
	}
	return chsql.RowFilters(filters)
}

// baseHub is the column with the hub's name in tables under views and in rollups.
const baseHub = "Hub"
