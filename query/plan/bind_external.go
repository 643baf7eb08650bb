package plan

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"hubscope/query/kql"
)

// maxExternalRows bounds what externaldata makes a constant table of.
const maxExternalRows = 100_000

// externaldata reads rows from files that are allowed, and makes a constant
// table of them.
func (b *binder) externaldata(e *kql.ExternalData) rel {
	v := &Values{}
	for _, c := range e.Schema.Columns {
		v.Cols = append(v.Cols, b.newCol(c.Name.Text, b.typeOf(c.Type)))
	}
	r := rel{node: v, cols: v.Cols}
	if b.opt.External == nil {
		b.errorf(e.Span, kql.CodeUnsupported, "externaldata is switched off").Hint = "see LANGUAGE.md"
		return r
	}
	format, skip := "", false
	for _, p := range append(append([]*kql.Param(nil), e.Params...), e.Props...) {
		switch strings.ToLower(p.Name.Text) {
		case "format":
			format = strings.ToLower(b.paramString(p))
		case "ignorefirstrecord":
			c, ok := b.expr(p.Value).(*Const)
			if !ok || c.T != Bool && c.T != String {
				b.errorf(p.Span, CodeType, "ignoreFirstRecord is true or false")
			} else {
				skip = c.T == Bool && c.Int == 1 || c.T == String && strings.EqualFold(c.Text, "true")
			}
		default:
			b.errorf(p.Name.Span, kql.CodeUnsupported, "externaldata does not take %s", p.Name.Text).Hint = "format, ignoreFirstRecord"
		}
	}
	for _, u := range e.URIs {
		c, ok := b.expr(u).(*Const)
		if !ok || c.T != String {
			b.errorf(u.Range(), CodeConstant, "the place of a file has to be a constant string")
			continue
		}
		uri, _, _ := strings.Cut(c.Text, ";") // what follows is a credential
		data, err := b.opt.External(uri)
		if err != nil {
			b.errorf(u.Range(), CodeContext, "%s cannot be read: %v", uri, err)
			continue
		}
		f := format
		if f == "" {
			f = strings.TrimPrefix(strings.ToLower(path.Ext(uri)), ".")
		}
		records, err := externalRecords(data, f, skip, v.Cols)
		if err == nil && len(v.Rows)+len(records) > maxExternalRows {
			err = errors.New("it has too many rows")
		}
		if err != nil {
			b.errorf(u.Range(), CodeContext, "%s cannot be read as %s: %v", uri, f, err)
			continue
		}
		v.Rows = append(v.Rows, records...)
	}
	return r
}

func (b *binder) paramString(p *kql.Param) string {
	switch x := p.Value.(type) {
	case *kql.Ref:
		return x.Name.Text
	default:
		if c, ok := b.expr(p.Value).(*Const); ok && c.T == String {
			return c.Text
		}
	}
	b.errorf(p.Span, CodeType, "%s is a string", p.Name.Text)
	return ""
}

// separators of the formats that have a record a line.
var separators = map[string]rune{"csv": ',', "tsv": '\t', "tsve": '\t', "psv": '|', "scsv": ';', "sohsv": 1}

// externalRecords reads a file as rows of these columns. A value that is no
// value of its column's type is null.
func externalRecords(data []byte, format string, skip bool, cols []Column) ([][]Expr, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var rows [][]Expr
	switch format {
	case "txt", "raw":
		if format == "raw" {
			return [][]Expr{externalRow([]string{string(data)}, cols)}, nil
		}
		for line := range strings.Lines(string(data)) {
			if skip {
				skip = false
				continue
			}
			rows = append(rows, externalRow([]string{strings.TrimRight(line, "\r\n")}, cols))
		}
		return rows, nil
	case "json", "multijson", "singlejson":
		d := json.NewDecoder(bytes.NewReader(data))
		for {
			var raw json.RawMessage
			if err := d.Decode(&raw); err == io.EOF {
				return rows, nil
			} else if err != nil {
				return nil, errors.New("it is not JSON")
			}
			list := []json.RawMessage{raw}
			if raw[0] == '[' {
				if err := json.Unmarshal(raw, &list); err != nil {
					return nil, errors.New("it is not JSON")
				}
			}
			for _, item := range list {
				var bag map[string]json.RawMessage
				if err := json.Unmarshal(item, &bag); err != nil {
					return nil, errors.New("a record is no object")
				}
				row := make([]Expr, len(cols))
				for i, c := range cols {
					row[i] = externalJSON(bag[c.Name], c.Type)
				}
				rows = append(rows, row)
			}
		}
	}
	sep, ok := separators[format]
	if !ok {
		return nil, errors.New("the formats are csv, tsv, psv, scsv, sohsv, txt, raw, json, multijson and singlejson")
	}
	in := csv.NewReader(bytes.NewReader(data))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = sep, -1, true
	for {
		record, err := in.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		if skip {
			skip = false
			continue
		}
		rows = append(rows, externalRow(record, cols))
	}
}

func externalRow(record []string, cols []Column) []Expr {
	row := make([]Expr, len(cols))
	for i, c := range cols {
		text := ""
		if i < len(record) {
			text = record[i]
		}
		row[i] = externalValue(text, c.Type)
	}
	return row
}

func externalValue(text string, t Type) Expr {
	if t == String {
		return &Const{T: String, Text: text}
	}
	if text == "" {
		return &Const{T: t, Null: true}
	}
	if t == Dynamic {
		return ParseJSON(text)
	}
	if c, ok := foldConvert(&Const{T: String, Text: text}, t); ok {
		return c
	}
	if c, err := paramText(t, strings.TrimSpace(text)); err == nil {
		return c
	}
	return &Const{T: t, Null: true}
}

func externalJSON(raw json.RawMessage, t Type) Expr {
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return externalValue("", t)
	case t == Dynamic:
		return ParseJSON(string(raw))
	case json.Unmarshal(raw, &text) == nil:
		return externalValue(text, t)
	}
	return externalValue(string(raw), t)
}
