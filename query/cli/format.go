package cli

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	"hubscope/query/client"
)

// writer prints rows in one format.
type writer interface {
	rows(rows [][]json.RawMessage) error
	end() error
}

func newWriter(format string, w io.Writer, columns []client.Column, width int, color bool) writer {
	out := bufio.NewWriterSize(w, 64<<10)
	switch format {
	case "csv":
		return newSeparated(out, columns, ",", quoteCSV)
	case "tsv":
		return newSeparated(out, columns, "\t", quoteTSV)
	case "json":
		return newObjects(out, columns, "[\n", ",\n", "", "\n]\n", "[]\n")
	case "ndjson":
		return newObjects(out, columns, "", "", "\n", "", "")
	case "markdown":
		return newMarkdown(out, columns)
	default:
		return newTable(out, columns, width, color)
	}
}

// cell returns a value as text: strings as they are, also dynamic ones, null as
// nothing, numbers, arrays and bags as JSON.
func cell(raw json.RawMessage) string {
	s := string(raw)
	switch {
	case s == "null" || s == "":
		return ""
	case s[0] == '"':
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return text
		}
	}
	return s
}

// separated prints CSV and TSV.
type separated struct {
	w       *bufio.Writer
	columns []client.Column
	sep     string
	quote   func(string) string
}

func newSeparated(w *bufio.Writer, columns []client.Column, sep string, quote func(string) string) *separated {
	s := &separated{w, columns, sep, quote}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	s.line(names)
	return s
}

// line writes one line; an error stays in w and comes back with Flush.
func (s *separated) line(cells []string) {
	for i, c := range cells {
		if i > 0 {
			s.w.WriteString(s.sep)
		}
		c = s.quote(c)
		if c == "" && len(cells) == 1 && s.sep == "," {
			c = `""` // or the line would be no row
		}
		s.w.WriteString(c)
	}
	s.w.WriteByte('\n')
}

func (s *separated) rows(rows [][]json.RawMessage) error {
	cells := make([]string, len(s.columns))
	for _, r := range rows {
		for i := range cells {
			cells[i] = cell(r[i])
		}
		s.line(cells)
	}
	return s.w.Flush()
}

func (s *separated) end() error { return s.w.Flush() }

func quoteCSV(s string) string {
	if !strings.ContainsAny(s, ",\"\r\n") && (s == "" || s[0] != ' ' && s[0] != '\t') {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

var tsvEscapes = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func quoteTSV(s string) string { return tsvEscapes.Replace(s) }

// objects prints rows as JSON objects.
type objects struct {
	w              *bufio.Writer
	keys           [][]byte
	open, close    string
	between, after string // of two rows; of each
	empty          string
	n              int
}

func newObjects(w *bufio.Writer, columns []client.Column, open, between, after, closing, empty string) *objects {
	o := &objects{w: w, open: open, between: between, after: after, close: closing, empty: empty}
	for i, c := range columns {
		key, _ := json.Marshal(c.Name) // a string always has a JSON form
		prefix := byte(',')
		if i == 0 {
			prefix = '{'
		}
		o.keys = append(o.keys, append(append([]byte{prefix}, key...), ':'))
	}
	return o
}

func (o *objects) rows(rows [][]json.RawMessage) error {
	for _, r := range rows {
		if o.n == 0 {
			o.w.WriteString(o.open)
		} else {
			o.w.WriteString(o.between)
		}
		o.n++
		if len(o.keys) == 0 {
			o.w.WriteByte('{')
		}
		for i, key := range o.keys {
			o.w.Write(key)
			o.w.Write(r[i])
		}
		o.w.WriteByte('}')
		o.w.WriteString(o.after)
	}
	return o.w.Flush()
}

func (o *objects) end() error {
	if o.n == 0 {
		o.w.WriteString(o.empty)
	} else {
		o.w.WriteString(o.close)
	}
	return o.w.Flush()
}

// markdown prints a table for documents.
type markdown struct {
	w       *bufio.Writer
	columns []client.Column
}

func newMarkdown(w *bufio.Writer, columns []client.Column) *markdown {
	m := &markdown{w, columns}
	for _, c := range columns {
		w.WriteString("| ")
		w.WriteString(escapeMarkdown(c.Name))
		w.WriteByte(' ')
	}
	w.WriteString("|\n")
	for _, c := range columns {
		if numeric(c.Type) {
			w.WriteString("| ---: ")
		} else {
			w.WriteString("| --- ")
		}
	}
	w.WriteString("|\n")
	return m
}

func (m *markdown) rows(rows [][]json.RawMessage) error {
	for _, r := range rows {
		for i := range m.columns {
			m.w.WriteString("| ")
			m.w.WriteString(escapeMarkdown(cell(r[i])))
			m.w.WriteByte(' ')
		}
		m.w.WriteString("|\n")
	}
	return m.w.Flush()
}

func (m *markdown) end() error { return m.w.Flush() }

// A device chooses what stands in many cells: no cell may become markup.
var markdownEscapes = strings.NewReplacer("\\", `\\`, "|", `\|`, "\r\n", "<br>", "\n", "<br>", "\r", "<br>",
	"<", "&lt;", "&", "&amp;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "!", `\!`)

func escapeMarkdown(s string) string { return printable(markdownEscapes.Replace(s)) }

// numeric reports the types that are aligned to the right.
func numeric(typ string) bool {
	switch typ {
	case "int", "long", "real", "decimal", "timespan":
		return true
	}
	return false
}
