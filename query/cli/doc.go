// Package cli is `hubscope query` and `hubscope tail`: it sends KQL to a query
// service and shows what comes back, once (command.go), at a prompt (repl.go),
// in files (out.go, figure.go), or as events happen (tail.go). It is a client of
// the HTTP API like any other and knows nothing of the engine behind it.
//
// # Output
//
// Rows go to standard output, everything else to standard error: errors with a
// caret, notes that a result was cut, progress and the closing line. The last
// two appear only on a terminal, as do colours. Exit codes: 0, the query ran;
// 1, it is wrong or failed; 2, the command line is wrong; 3, the service cannot
// be reached or refuses; 130, interrupted.
//
// Formats:
//
//	table     aligned columns; on a terminal cut to its width, which is said,
//	          and one block a row where even that is too narrow
//	json      an array of objects
//	ndjson    an object a line
//	csv, tsv  a header line first; tabs and line ends in tsv cells are \t and \n
//	markdown  a table for documents
//
// All but table carry every cell whole. Rows are printed as they come.
package cli
