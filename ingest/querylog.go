package ingest

// QueryLog are the columns of the table of queries, one row a query, which the
// query services write. No event carries them.
var QueryLog = []Column{
	logged("TimeGenerated", Datetime, ticks, "T64, ZSTD(1)", "When the query arrived, UTC."),
	logged("QueryId", String, "String", "ZSTD(1)", "Id of the query in the engine."),
	logged("ClientRequestId", String, "String", "ZSTD(1)", "Id that the client gave it, or empty."),
	logged("User", String, lowString, "ZSTD(1)", "Name of the token or client certificate; \"local\" where none is asked for."),
	logged("Role", String, lowString, "ZSTD(1)", "reader or admin."),
	logged("Hubs", Dynamic, lowString, "ZSTD(1)", "Hubs that the user is restricted to, or null."),
	logged("Client", String, lowString, "ZSTD(1)", "Application that asked, as it names itself."),
	logged("ClientAddress", String, lowString, "ZSTD(1)", "Address that the request came from."),
	logged("Endpoint", String, lowString, "ZSTD(1)", "Route of the request, such as POST /api/v1/query."),
	logged("Database", String, lowString, "ZSTD(1)", "Database that was asked."),
	logged("Text", String, "String", "ZSTD(3)", "The query as it was sent, without the values of its parameters; cut at 64 KiB."),
	logged("Start", Datetime, "Nullable("+ticks+")", "ZSTD(1)", "Lower bound of TimeGenerated that came with the request, if any."),
	logged("End", Datetime, "Nullable("+ticks+")", "ZSTD(1)", "Upper bound of TimeGenerated that came with the request, if any."),
	logged("State", String, lowString, "ZSTD(1)", "Completed, Failed, Cancelled (by its client, by somebody, or by leaving) or Throttled."),
	logged("ErrorCode", String, lowString, "ZSTD(1)", "Code of the error, or empty."),
	logged("ErrorMessage", String, "String", "ZSTD(1)", "What the client was told, or empty."),
	logged("DurationMs", Long, "Int64", "T64, ZSTD(1)", "From the request to the last row, milliseconds."),
	logged("QueuedMs", Long, "Int64", "T64, ZSTD(1)", "How much of it the query waited for others, milliseconds."),
	logged("CompileMicros", Long, "Int64", "T64, ZSTD(1)", "Time from KQL to SQL, microseconds."),
	logged("RowsRead", Long, "Int64", "T64, ZSTD(1)", "Rows read from tables."),
	logged("BytesRead", Long, "Int64", "T64, ZSTD(1)", "Bytes read from tables, uncompressed."),
	logged("ResultRows", Long, "Int64", "T64, ZSTD(1)", "Rows returned."),
	logged("ResultBytes", Long, "Int64", "T64, ZSTD(1)", "Bytes returned, before formatting."),
	logged("Truncated", Bool, "Bool", "ZSTD(1)", "Whether a limit cut rows off."),
	logged("MemoryPeak", Long, "Int64", "T64, ZSTD(1)", "Peak memory in the engine, bytes."),
	logged("Tables", Dynamic, lowString, "ZSTD(1)", "ClickHouse tables that were read."),
	logged("Rollup", String, lowString, "ZSTD(1)", "Rollup that answered, or empty."),
	logged("Node", String, lowString, "ZSTD(1)", "Query service that answered."),
}

func logged(name string, typ Type, clickhouse, codec, doc string) Column {
	return Column{Name: name, Type: typ, ClickHouse: clickhouse, Codec: codec, Doc: doc}
}
