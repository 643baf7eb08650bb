// Package api serves query results over HTTP, in three dialects of one service:
//
//   - its own (native.go): POST /api/v1/query as JSON, NDJSON or CSV, /validate,
//     /explain, GET /schema and /functions, DELETE /queries/{id};
//   - Kusto's REST interface (kusto.go, mgmt.go), so that Kusto clients only
//     change their endpoint: /v1/rest/query, /v1/rest/mgmt, /v2/rest/query;
//   - Azure Monitor Logs' (monitor.go): /v1/workspaces/{id}/query, /v1/$batch.
//
// The types of its own dialect, and a client of it, are package query/client,
// for the command line and for other programs. It compiles and runs nothing
// itself: see package query.
//
// Handlers return errors. One place, handleWith, turns them into responses of
// the dialect, logs what clients may not see, and recovers from panics. An
// error's text reaches a client only when it is made for clients: a kql.Errors,
// a query.Error that is not internal, or a failure made here.
//
// Results are streamed: memory does not grow with the result. An error behind
// the first row is part of the body where the format has a place for it, and
// cuts the connection where it has none.
//
// # A query
//
//	POST /api/v1/query
//	{"query": "declare query_parameters(v: string); Connections | where TlsVersion == v | count",
//	 "parameters": {"v": "1.0"}, "start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z"}
//
//	{"columns": [{"name": "Count", "type": "long"}], "rows": [[42]], "stats": {...}, "truncated": false}
//
// start and end bound TimeGenerated whatever the text says. Formats are chosen
// with the Accept header or ?format=json|ndjson|csv. As NDJSON each line has one
// of the keys columns, rows, progress, done and error; see [client.Line].
//
// An answer with a status of 400 or more is a [client.ErrorResponse].
package api
