package kql

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Codes of the errors that this package reports. The binder adds its own,
// which start with SEM.
const (
	CodeSyntax      = "SYN0001" // not KQL
	CodeLiteral     = "SYN0002" // a literal that does not end or has no such value
	CodeDepth       = "SYN0003" // nested too deeply, or too long
	CodeUnsupported = "UNS0001" // KQL that hubscope does not support; the message names it
)

// Error is something wrong in a query text that its writer can mend.
type Error struct {
	Span
	Code    string // stable, e.g. SYN0001
	Message string // what was found and what was expected, without a full stop
	Hint    string // what may have been meant, "" if there is no good guess
}

// Error returns code and message, and the hint if there is one.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Errors are the errors of one query, ordered by place. Use Err where an error
// value is wanted, so that an empty list is a nil error.
type Errors []*Error

// Error returns the errors one a line.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Err returns es as an error, nil if there are none.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

// Sort orders the errors by place.
func (es Errors) Sort() {
	sort.SliceStable(es, func(i, j int) bool { return es[i].Start < es[j].Start })
}

// Position returns the line and the column of a byte offset in text, both
// counted from 1, the column in characters. Lines end with \n, \r\n or \r.
func Position(text string, offset int) (line, column int) {
	offset = min(max(offset, 0), len(text))
	start, _ := lineAt(text, offset)
	line = 1
	for i := 0; i < start; i++ {
		if text[i] == '\n' || text[i] == '\r' && (i+1 == len(text) || text[i+1] != '\n') {
			line++
		}
	}
	return line, utf8.RuneCountInString(text[start:offset]) + 1
}

// lineAt returns the bounds of the line that holds offset, without its end mark.
func lineAt(text string, offset int) (start, end int) {
	start = strings.LastIndexAny(text[:offset], "\r\n") + 1
	if n := strings.IndexAny(text[offset:], "\r\n"); n >= 0 {
		return start, offset + n
	}
	return start, len(text)
}

// Render returns the error as it is shown to a person: the message, the line
// of text it is about, and a caret under the place with the hint beside it.
//
//	error SEM0100: no column "TlsVersoin" in Connections
//	  Connections | where TlsVersoin == "1.0"
//	                      ^^^^^^^^^^ did you mean TlsVersion?
//
// A text of several lines gets the line and column in front of its line.
func (e *Error) Render(text string) string { return e.RenderWidth(text, 0) }

// RenderWidth is Render for a terminal of so many cells, in which no line with
// a caret may be broken; 0 is any width.
func (e *Error) RenderWidth(text string, cells int) string {
	begin := min(max(e.Start, 0), len(text))
	// A place at the very end of the text or of a line belongs to what stands before it.
	start, end := lineAt(text, begin)
	var b strings.Builder
	fmt.Fprintf(&b, "error %s: %s\n", e.Code, e.Message)
	prefix := "  "
	if strings.ContainsAny(strings.TrimRight(text, "\r\n"), "\r\n") {
		line, column := Position(text, begin)
		prefix = fmt.Sprintf("  %d:%d  ", line, column)
	}
	window := 160
	if cells > 0 {
		window = min(window, max(cells-len(prefix)-2*len(ellipsis), 12))
	}
	shown, skip := clipLine(text[start:end], begin-start, window)
	b.WriteString(prefix)
	b.WriteString(strings.Map(oneColumn, shown))
	b.WriteByte('\n')
	lead := text[start+skip : begin]
	indent := len(prefix) + width(lead)
	if skip > 0 {
		indent += len(ellipsis)
	}
	b.WriteString(strings.Repeat(" ", indent))
	stop := min(max(e.End, begin), end)
	carets := max(width(text[begin:stop]), 1)
	if rest := width(shown) - width(lead); carets > rest && rest > 0 {
		carets = rest
	}
	b.WriteString(strings.Repeat("^", carets))
	if e.Hint != "" {
		between := " "
		if cells > 0 && indent+carets+1+width(e.Hint) > cells { // below, then
			between = "\n  "
		}
		b.WriteString(between)
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Render returns all errors as Error.Render does, one after the other.
func (es Errors) Render(text string) string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Render(text)
	}
	return strings.Join(parts, "\n")
}

// ellipsis marks the place where a long line was cut.
const ellipsis = "..."

// clipLine cuts a line of more cells than window to so many around at, and
// returns the bytes it left out at the front.
func clipLine(line string, at, window int) (shown string, skipped int) {
	if width(line) <= window {
		return line, 0
	}
	from := at
	for room := window * 5 / 8; from > 0; {
		r, size := utf8.DecodeLastRuneInString(line[:from])
		if room -= runeWidth(r); room < 0 {
			break
		}
		from -= size
	}
	if from <= len(ellipsis) {
		from = 0
	}
	to := from
	for room := window; to < len(line); {
		r, size := utf8.DecodeRuneInString(line[to:])
		if room -= runeWidth(r); room < 0 {
			break
		}
		to += size
	}
	shown = line[from:to]
	if from > 0 {
		shown = ellipsis + shown
	}
	if to < len(line) {
		shown += ellipsis
	}
	return shown, from
}

// oneColumn replaces what would move the caret: a tab is shown as one space.
func oneColumn(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// Offset is the reverse of Position: the byte offset of a line and column,
// within the bounds of text.
func Offset(text string, line, column int) int {
	at := 0
	for ; line > 1 && at < len(text); line-- {
		n := strings.IndexAny(text[at:], "\r\n")
		if n < 0 {
			return len(text)
		}
		at += n + 1
		if text[at-1] == '\r' && at < len(text) && text[at] == '\n' {
			at++
		}
	}
	_, end := lineAt(text, at)
	for ; column > 1 && at < end; column-- {
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at
}
