package api

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"hubscope/query"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// Management commands: what clients ask to learn the schema. Nothing here
// changes anything. A command may be followed by a pipe and operators, which
// run over its rows as over a table.

func (s *Server) kustoMgmt(w http.ResponseWriter, r *http.Request) error {
	body, props, err := s.readKusto(r)
	if err != nil {
		return err
	}
	if !kql.IsCommand(body.CSL) {
		return badRequest("this is for management commands, which start with a dot; queries go to /v1/rest/query or /v2/rest/query")
	}
	return s.runCommand(w, r, body.CSL, props)
}

func (s *Server) runCommand(w http.ResponseWriter, r *http.Request, text string, props *kustoProperties) error {
	words, rest := commandWords(text)
	t, err := s.command(r, words)
	if err != nil {
		return err
	}
	if rest != "" {
		return s.runV1(w, r, t.literal()+"\n"+rest, props)
	}
	out := newSink(w, r, mediaJSON+"; charset=utf-8", s.config.WriteTimeout)
	return (&answer{columns: t.columns, rows: &fixedRows{batch: t.batch()}}).writeV1(out, false)
}

// fixed is a small table of text columns, made by a command.
type fixed struct {
	columns []query.Column
	rows    [][]string
}

func newFixed(columns ...string) *fixed {
	t := &fixed{}
	for _, c := range columns {
		name, typ, _ := strings.Cut(c, ":")
		column := query.Column{Name: name, Type: plan.String}
		if known, ok := plan.TypeByName(typ); ok {
			column.Type = known
		}
		t.columns = append(t.columns, column)
	}
	return t
}

func (t *fixed) add(cells ...string) { t.rows = append(t.rows, cells) }

// batch returns the rows as a result has them.
func (t *fixed) batch() *query.Batch {
	b := &query.Batch{Rows: len(t.rows)}
	for i, c := range t.columns {
		v := query.Vector{Type: c.Type}
		for _, r := range t.rows {
			switch c.Type {
			case plan.Bool:
				v.Bools = append(v.Bools, r[i] == "true")
			default:
				v.Strings = append(v.Strings, r[i])
			}
		}
		b.Columns = append(b.Columns, v)
	}
	return b
}

// literal returns the table as a KQL expression.
func (t *fixed) literal() string {
	d := &kql.DataTable{Schema: &kql.Schema{}}
	for _, c := range t.columns {
		d.Schema.Columns = append(d.Schema.Columns, &kql.Column{
			Name: kql.Name{Text: c.Name, Quoted: true}, Type: &kql.Type{Name: c.Type.String()}})
	}
	for _, r := range t.rows {
		for i, cell := range r {
			lit := &kql.Literal{Kind: kql.StringLit, Text: cell}
			if t.columns[i].Type == plan.Bool {
				lit = &kql.Literal{Kind: kql.BoolLit}
				if cell == "true" {
					lit.Int = 1
				}
			}
			d.Values = append(d.Values, lit)
		}
	}
	return kql.Print(d)
}

// fixedRows are rows that are there already.
type fixedRows struct {
	batch *query.Batch
	done  bool
}

func (f *fixedRows) Next() (*query.Batch, error) {
	if f.done {
		return nil, io.EOF
	}
	f.done = true
	return f.batch, nil
}

func (f *fixedRows) Stats() query.Stats { return query.Stats{Rows: int64(f.batch.Rows)} }
func (f *fixedRows) Truncated() bool    { return false }

// commandWords cuts a command into words; names in brackets and quotes lose
// them. What follows the first pipe is returned as it is, pipe included.
func commandWords(text string) (words []string, rest string) {
	i := strings.IndexByte(text, '.') + 1
	for i < len(text) {
		switch c := text[i]; {
		case c == '|':
			return words, text[i:]
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ';':
			i++
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"' || c == '\'' || c == '[' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\''):
			quote := c
			if c == '[' {
				i++
				quote = text[i]
			}
			end := strings.IndexByte(text[i+1:], quote)
			if end < 0 {
				return append(words, text[i+1:]), ""
			}
			words = append(words, text[i+1:i+1+end])
			i += end + 2
			if i < len(text) && text[i] == ']' {
				i++
			}
		case c == '(' || c == ')' || c == '[' || c == ']':
			words = append(words, string(c))
			i++
		default:
			end := strings.IndexAny(text[i:], " \t\r\n|,;()[]\"'")
			if end < 0 {
				end = len(text) - i
			}
			words = append(words, text[i:i+end])
			i += end
		}
	}
	return words, ""
}

// commands are the forms that are understood, for the message when none is.
const commands = ".show tables, .show table T [cslschema | schema as json], .show databases, .show database schema [as json], " +
	".show schema as json, .show functions, .show version, .show queries, .cancel query ID"

// command runs a command.
func (s *Server) command(r *http.Request, words []string) (*fixed, error) {
	catalog := s.engine.Catalog()
	lower := make([]string, len(words))
	for i, w := range words {
		lower[i] = strings.ToLower(w)
	}
	is := func(pattern string) bool { // * stands for any one word
		want := strings.Fields(pattern)
		if len(want) != len(lower) {
			return false
		}
		for i := range want {
			if want[i] != "*" && want[i] != lower[i] {
				return false
			}
		}
		return true
	}
	database := func(name string) error {
		if !strings.EqualFold(name, catalog.Database) && name != "NetDefaultDB" {
			return failure(http.StatusBadRequest, "BadRequest_EntityNotFound", "database %q was not found; there is %q", name, catalog.Database)
		}
		return nil
	}
	switch {
	case is("show tables"), is("show tables details"):
		t := newFixed("TableName", "DatabaseName", "Folder", "DocString")
		for _, table := range catalog.Tables() {
			t.add(table.Name, catalog.Database, "", table.Doc)
		}
		return t, nil
	case is("show table *"), is("show table * details"), is("show table * cslschema"), is("show table * schema"), is("show table * schema as json"), is("show table * schema as csl"):
		table := catalog.Table(words[2])
		if table == nil {
			return nil, failure(http.StatusBadRequest, "BadRequest_EntityNotFound", "table %q was not found", words[2])
		}
		switch {
		case len(words) == 3:
			t := newFixed("AttributeName", "AttributeType", "DocString")
			for _, c := range table.Columns {
				t.add(c.Name, c.Type.SystemName(), c.Doc)
			}
			return t, nil
		case lower[3] == "details":
			t := newFixed("TableName", "DatabaseName", "Folder", "DocString")
			t.add(table.Name, catalog.Database, "", table.Doc)
			return t, nil
		}
		schema := cslSchema(table)
		if lower[len(lower)-1] == "json" {
			schema = mustJSON(jsonTable(table))
		}
		t := newFixed("TableName", "Schema", "DatabaseName", "Folder", "DocString")
		t.add(table.Name, schema, catalog.Database, "", table.Doc)
		return t, nil
	case is("show databases"), is("show databases details"), is("show database"):
		t := newFixed("DatabaseName", "PersistentStorage", "Version", "IsCurrent:bool", "DatabaseAccessMode", "PrettyName", "DatabaseId:guid")
		t.add(catalog.Database, "", "v1.0", "true", "ReadOnly", "", databaseID)
		return t, nil
	case is("show database * schema as json"), is("show databases schema as json"), is("show database schema as json"), is("show schema as json"):
		if len(words) == 6 {
			if err := database(words[2]); err != nil {
				return nil, err
			}
		}
		t := newFixed("DatabaseSchema")
		t.add(mustJSON(jsonDatabase(catalog)))
		return t, nil
	case is("show database * schema"), is("show database schema"), is("show databases schema"), is("show schema"), is("show databases ( * ) schema"):
		if len(words) == 4 {
			if err := database(words[2]); err != nil {
				return nil, err
			}
		}
		t := newFixed("DatabaseName", "TableName", "ColumnName", "ColumnType", "IsDefaultTable:bool", "IsDefaultColumn:bool", "PrettyName", "Version", "Folder", "DocString")
		t.add(catalog.Database, "", "", "", "false", "false", "", "v1.0", "", "")
		for _, table := range catalog.Tables() {
			t.add(catalog.Database, table.Name, "", "", "false", "false", "", "", "", table.Doc)
			for _, c := range table.Columns {
				t.add(catalog.Database, table.Name, c.Name, c.Type.SystemName(), "false", "false", "", "", "", c.Doc)
			}
		}
		return t, nil
	case is("show functions"):
		t := newFixed("Name", "Parameters", "Body", "Folder", "DocString")
		for _, f := range plan.Functions() {
			for i := range f.Sigs {
				t.add(f.Name, f.Sigs[i].String(), "", f.Group, f.Doc)
			}
		}
		return t, nil
	case is("show version"):
		t := newFixed("BuildVersion", "ServiceType", "ProductVersion", "ServiceOffering")
		t.add(s.config.Version, "Engine", "hubscope "+s.config.Version, `{"Type":"hubscope"}`)
		return t, nil
	case is("show queries"), is("show running queries"):
		return s.runningQueries(), nil
	case is("cancel query *"):
		if err := s.cancelQuery(r.Context(), words[2]); err != nil {
			return nil, err
		}
		t := newFixed("ClientRequestId", "Status")
		t.add(words[2], "Cancelled")
		return t, nil
	}
	return nil, failure(http.StatusBadRequest, "BadRequest_CommandNotSupported", "hubscope does not know this management command; it knows %s", commands)
}

// databaseID names the one database; clients want a guid.
const databaseID = "6c1f9a4e-0000-4000-8000-687562736370"

// cslSchema is a table's schema as KQL writes it.
func cslSchema(t *plan.Table) string {
	parts := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		parts[i] = c.Name + ":" + c.Type.String()
	}
	return strings.Join(parts, ", ")
}

type jsonSchemaColumn struct {
	Name      string `json:"Name"`
	Type      string `json:"Type"`
	CslType   string `json:"CslType"`
	DocString string `json:"DocString,omitempty"`
}

type jsonSchemaTable struct {
	Name           string             `json:"Name"`
	Folder         string             `json:"Folder"`
	DocString      string             `json:"DocString"`
	OrderedColumns []jsonSchemaColumn `json:"OrderedColumns"`
}

func jsonTable(t *plan.Table) jsonSchemaTable {
	j := jsonSchemaTable{Name: t.Name, DocString: t.Doc, OrderedColumns: []jsonSchemaColumn{}}
	for _, c := range t.Columns {
		j.OrderedColumns = append(j.OrderedColumns, jsonSchemaColumn{c.Name, c.Type.SystemName(), c.Type.String(), c.Doc})
	}
	return j
}

// jsonDatabase is the schema as editors (Kusto's Monaco plugin, Grafana) read it.
func jsonDatabase(c *plan.Catalog) any {
	tables := map[string]jsonSchemaTable{}
	for _, t := range c.Tables() {
		tables[t.Name] = jsonTable(t)
	}
	empty := map[string]any{}
	return map[string]any{"Plugins": []any{}, "Databases": map[string]any{c.Database: map[string]any{
		"Name": c.Database, "Tables": tables, "ExternalTables": empty, "MaterializedViews": empty, "EntityGroups": empty,
		"Functions": empty, "MajorVersion": 1, "MinorVersion": 0, "DatabaseAccessMode": "ReadOnly",
	}}}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("encode " + err.Error()) // made of our own types
	}
	return string(b)
}
