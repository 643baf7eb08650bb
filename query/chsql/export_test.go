package chsql

// For the tests that need an engine, which are outside of the package.
var (
	Quote = quote
	Ident = ident
)
