// Package kql reads the Kusto Query Language: text to tokens, to a syntax tree,
// and back to text. It knows the grammar and nothing else. Which names exist,
// what types they have and what hubscope can run is the business of
// query/plan.
//
//	q, errs := kql.Parse(text)
//	if errs != nil {
//		fmt.Fprintln(os.Stderr, errs.Render(text)) // with line, column and caret
//	}
//	kql.Walk(q, func(n kql.Node) bool { ... })
//	kql.Print(q) // canonical text of the same tree
//
// The grammar is that of the official parser (Kusto.Language, which the Kusto
// web explorer uses), learnt from its verdicts: every operator, literal and
// statement of the language is read, those that hubscope refuses included, so
// that a refusal can name what it refuses. Words are keywords only where the
// grammar asks for them, as there; a column may be called count or limit.
// Old spellings (mvexpand, makeset, notcontains, <>) are read, and operators
// keep theirs in the tree. The graph operators, macro-expand and a few internal
// forms are recognised by name and kept as text: *Unsupported, *UnsupportedOp.
//
// Errors are of two kinds. A text that is not KQL gets errors with codes
// SYN...., several at once: after an error the parser goes on at the next pipe,
// semicolon or closing bracket. What is KQL and not supported gets
// CodeUnsupported from the binder. A literal that has no value, such as
// datetime(soon), is KQL: its Problem says what is wrong.
//
// A management command starts with a dot and is not a query; see IsCommand.
//
// # Adding an operator
//
// Its keyword goes into words or dashed (token.go), its node into nodes.go, its
// rule into operatorRest (operators.go), its children into Walk, its text into
// print.go, and one query for each of its forms into testdata/accepted.kql. The
// tests then hold that it prints back to the same tree and spans what it
// should.
package kql
