package kql

// Token is a piece of a text as the parser reads it. White space and comments
// stand between tokens.
type Token struct {
	Span
	Kind TokenKind
	// Broken says that it is not right: a string that does not end, a character
	// that starts no token.
	Broken bool
}

// TokenKind says what a Token is.
type TokenKind uint8

const (
	// PunctuationToken is an operator of punctuation, a bracket, or a character
	// that is not KQL.
	PunctuationToken TokenKind = iota
	// WordToken is a name or a keyword, those with a dash inside too.
	WordToken
	// StringToken is one string literal, its prefix h, H or @ included.
	StringToken
	// LiteralToken is any other literal; datetime(...) and its like are one.
	LiteralToken
	// DirectiveToken is a line that begins with #.
	DirectiveToken
)

// Tokens cuts a text into tokens exactly as Parse does. It is for what has to
// know the bounds of strings and comments in a text that is not KQL yet, such as
// a query with the variables of a dashboard: their $ is read as the start of a
// name.
func Tokens(text string) []Token {
	l := lexer{text: text}
	l.scan()
	tokens := make([]Token, 0, len(l.toks)-1)
	for _, t := range l.toks[:len(l.toks)-1] {
		kind := WordToken
		switch {
		case t.kind == tString:
			kind = StringToken
		case t.kind >= tBool && t.kind <= tRawGuid:
			kind = LiteralToken
		case t.kind == tDirective:
			kind = DirectiveToken
		case t.kind < tString:
			kind = PunctuationToken
		}
		tokens = append(tokens, Token{t.span(), kind, t.has(fBroken)})
	}
	return tokens
}
