package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hubscope/query"
	"hubscope/query/client"
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
	if len(words) == 2 && strings.EqualFold(words[1], "queries") && s.engine.Catalog().Table("QueryLog") != nil {
		return s.runV1(w, r, text, "union ("+t.literal()+"), ("+pastQueries+")\n| top 10000 by StartedOn\n"+rest, props)
	}
	if rest != "" {
		return s.runV1(w, r, text, t.literal()+"\n"+rest, props)
	}
	out := newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout)
	return (&answer{columns: t.columns, rows: &fixedRows{batch: t.batch()}}).writeV1(out, false)
}

// pastQueries are the lines of .show queries that have ended.
const pastQueries = `QueryLog | where TimeGenerated > ago(1d)
| project ClientActivityId = ClientRequestId, QueryId, Text, Database, StartedOn = TimeGenerated, LastUpdatedOn = TimeGenerated + DurationMs * 1ms,
  Duration = DurationMs * 1ms, State, User, Application = Client, Principal = strcat("token=", User), FailureReason = ErrorMessage, MemoryPeak`

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

// add appends a row; a cell is text of its column's type, and an empty one of
// any type but string is null. A real or dynamic one is always null.
func (t *fixed) add(cells ...string) { t.rows = append(t.rows, cells) }

// cell returns a cell as a literal of its column's type.
func (t *fixed) cell(row, column int) *kql.Literal {
	text := t.rows[row][column]
	lit := &kql.Literal{Null: text == ""}
	var ok bool
	switch t.columns[column].Type {
	case plan.Bool:
		lit.Kind, ok = kql.BoolLit, true
		if text == "true" {
			lit.Int = 1
		}
	case plan.Long:
		var err error
		lit.Kind = kql.LongLit
		lit.Int, err = strconv.ParseInt(text, 10, 64)
		ok = err == nil
	case plan.Real:
		lit.Kind = kql.RealLit
	case plan.Dynamic:
		lit.Kind = kql.NullLit
	case plan.Datetime:
		lit.Kind = kql.DateTimeLit
		lit.Int, ok = kql.ParseDateTime(text)
	case plan.Timespan:
		lit.Kind = kql.TimespanLit
		lit.Int, ok = kql.ParseTimespan(text)
	case plan.GUID:
		lit.Kind, lit.Text, ok = kql.GuidLit, text, true
	default:
		return &kql.Literal{Kind: kql.StringLit, Text: text}
	}
	if !ok && !lit.Null {
		panic(fmt.Sprintf("column %s: %q", t.columns[column].Name, text)) // a table of ours
	}
	return lit
}

// batch returns the rows as a result has them.
func (t *fixed) batch() *query.Batch {
	b := &query.Batch{Rows: len(t.rows)}
	for i, c := range t.columns {
		v := query.Vector{Type: c.Type}
		for row := range t.rows {
			lit := t.cell(row, i)
			switch c.Type {
			case plan.Bool:
				v.Bools = append(v.Bools, lit.Int != 0)
			case plan.Long, plan.Datetime, plan.Timespan:
				v.Ints = append(v.Ints, lit.Int)
			case plan.Real:
				v.Reals = append(v.Reals, lit.Real)
			default:
				v.Strings = append(v.Strings, lit.Text)
			}
			v.Nulls = append(v.Nulls, lit.Null)
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
	for row := range t.rows {
		for i := range t.columns {
			var value kql.Expr = t.cell(row, i)
			if t.columns[i].Type == plan.Dynamic {
				value = &kql.Dynamic{Value: value}
			}
			d.Values = append(d.Values, value)
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
// them. What follows the first pipe is returned as it is, pipe included. Options
// behind with, and the version that a client has already, make no difference
// here: they are left out.
func commandWords(text string) (words []string, rest string) {
	end := -1 // of the last word, if something may follow it that belongs to it
	tokens := kql.Tokens(text)
	for i, t := range tokens {
		piece := text[t.Start:t.End]
		switch {
		case i == 0:
			// The dot.
			if piece = strings.TrimPrefix(piece, "."); piece != "" {
				words, end = append(words, piece), t.End
			}
		case piece == "|":
			return plainWords(words), text[t.Start:]
		case t.Kind == kql.StringToken:
			inner, ok := kql.Unquote(piece)
			if !ok {
				inner = strings.Trim(piece, `'"`)
			}
			words, end = append(words, inner), -1
		case piece == "," || piece == ";":
			end = -1
		case piece == "[" && i+1 < len(tokens) && tokens[i+1].Kind == kql.StringToken, piece == "]" && tokens[i-1].Kind == kql.StringToken:
			end = -1
		case piece == "(" || piece == ")" || piece == "[" || piece == "]":
			words, end = append(words, piece), -1
		case t.Start == end:
			words[len(words)-1] += piece
			end = t.End
		default:
			words, end = append(words, piece), t.End
		}
	}
	return plainWords(words), ""
}

// plainWords leaves out what makes no difference.
func plainWords(words []string) []string {
	for i := 0; i < len(words); i++ {
		switch {
		case strings.EqualFold(words[i], "if_later_than") && i+1 < len(words):
			words = slices.Delete(words, i, i+2)
			i--
		case strings.EqualFold(words[i], "with") && i+1 < len(words) && words[i+1] == "(":
			if n := slices.Index(words[i:], ")"); n > 0 {
				words = slices.Delete(words, i, i+n+1)
				i--
			}
		}
	}
	return words
}

// command is what .verb ... does: a table, or KQL that makes one.
type command struct {
	// form in words; * is any one word, a form that ends in (...) may be followed
	// by a list of names in parentheses.
	form string
	run  func(s *Server, r *http.Request, args []string) (*fixed, error)
}

// commandForms are all commands, in the order in which they are told to who
// sends another one.
var commandForms = []command{
	{"show tables", showTables}, {"show tables (...)", showTables},
	{"show tables details", showTableDetails}, {"show tables (...) details", showTableDetails}, {"show table * details", showTableDetails},
	{"show table *", showTable},
	{"show table * cslschema", showTableSchema}, {"show table * schema", showTableSchema}, {"show table * schema as csl", showTableSchema},
	{"show table * schema as json", showTableJSON},
	{"show databases", showDatabases}, {"show databases (...)", showDatabases}, {"show cluster databases", showDatabases}, {"show database", showDatabases},
	{"show database schema details", showSchema}, {"show database * schema details", showSchema}, {"show databases (...) schema details", showSchema},
	{"show databases details", showDatabaseDetails}, {"show cluster databases details", showDatabaseDetails},
	{"show database details", showDatabaseDetails}, {"show database * details", showDatabaseDetails},
	{"show databases identity", showDatabaseIdentity}, {"show cluster databases identity", showDatabaseIdentity},
	{"show database identity", showDatabaseIdentity}, {"show database * identity", showDatabaseIdentity},
	{"show databases entities", showEntities}, {"show databases (...) entities", showEntities}, {"show database entities", showEntities}, {"show database * entities", showEntities},
	{"show database schema", showSchema}, {"show database * schema", showSchema}, {"show databases schema", showSchema}, {"show databases (...) schema", showSchema},
	{"show schema", showSchema}, {"show cluster schema", showSchema},
	{"show database schema as json", showSchemaJSON}, {"show database * schema as json", showSchemaJSON}, {"show databases schema as json", showSchemaJSON},
	{"show databases (...) schema as json", showSchemaJSON}, {"show schema as json", showSchemaJSON}, {"show cluster schema as json", showSchemaJSON},
	{"show database schema as csl script", showScript}, {"show database * schema as csl script", showScript}, {"show database cslschema", showScript},
	{"show database * cslschema", showScript}, {"show database cslschema script", showScript}, {"show database * cslschema script", showScript},
	{"show functions", showFunctions}, {"show function *", showFunctions},
	{"show version", showVersion}, {"show cluster", showCluster}, {"show diagnostics", showDiagnostics}, {"show capacity", showCapacity},
	{"show queries", showRunning}, {"show running queries", showRunning}, {"show running queries by user *", showRunning}, {"show running queries by *", showRunning},
	{"show principal access", showPrincipal}, {"show principal roles", showPrincipal}, {"show current principal roles", showPrincipal},
	{"show database principals", showPrincipal}, {"show database * principals", showPrincipal}, {"show cluster principals", showPrincipal},
	{"show materialized-views", showNone("Name:string", "SourceTable:string", "Query:string", "MaterializedTo:datetime", "LastRun:datetime", "LastRunResult:string",
		"IsHealthy:bool", "IsEnabled:bool", "Status:string", "Folder:string", "DocString:string", "AutoUpdateSchema:bool", "EffectiveDateTime:datetime",
		"LastDefinitionUpdate:datetime", "Lookback:timespan", "LookbackColumn:string")},
	{"show external tables", showNone("TableName:string", "TableType:string", "Folder:string", "DocString:string", "Properties:string", "ConnectionStrings:dynamic",
		"Partitions:dynamic", "PathFormat:string")},
	{"show entity_groups", showNone("Name:string", "Entities:string")},
	{"show graph_models", showNone("Name:string", "CreationTime:datetime", "Id:string", "SnapshotsCount:long", "Model:dynamic", "Folder:string", "DocString:string")},
	{"cancel query *", cancelCommand},
}

// commandList is commandForms for people.
var commandList = sync.OnceValue(func() string {
	var parts []string
	for _, c := range commandForms {
		parts = append(parts, "."+strings.ReplaceAll(c.form, "*", "NAME"))
	}
	return strings.Join(parts, ", ")
})

// matches compares words with a form; args are the words in the place of * and
// in parentheses.
func (c *command) matches(words []string) (args []string, ok bool) {
	want := strings.Fields(c.form)
	for i, w := range want {
		switch {
		case w == "(...)":
			if len(words) == 0 || words[0] != "(" {
				return nil, false
			}
			end := slices.Index(words, ")")
			if end < 0 {
				return nil, false
			}
			args, words = append(args, words[1:end]...), words[end+1:]
			continue
		case len(words) == 0, w != "*" && !strings.EqualFold(w, words[0]):
			return nil, false
		case w == "*" && (words[0] == "(" || words[0] == ")" || i == len(want)-1 && len(words) > 1):
			return nil, false
		case w == "*":
			args = append(args, words[0])
		}
		words = words[1:]
	}
	return args, len(words) == 0
}

// command runs a command.
func (s *Server) command(r *http.Request, words []string) (*fixed, error) {
	for i := range commandForms {
		if args, ok := commandForms[i].matches(words); ok {
			return commandForms[i].run(s, r, args)
		}
	}
	return nil, failure(http.StatusBadRequest, "BadRequest_CommandNotSupported", "hubscope does not know this management command; it knows %s", commandList())
}

func notFound(kind, name, hint string) error {
	return failure(http.StatusBadRequest, "BadRequest_EntityNotFound", "%s %q was not found%s", kind, name, hint)
}

// checkDatabase refuses the name of any database but the one that is there.
func (s *Server) checkDatabase(names ...string) error {
	db := s.engine.Catalog().Database
	for _, name := range names {
		if !strings.EqualFold(name, db) && name != "NetDefaultDB" {
			return notFound("database", name, fmt.Sprintf("; there is %q", db))
		}
	}
	return nil
}

func (s *Server) tables(names []string) ([]*plan.Table, error) {
	catalog := s.engine.Catalog()
	if names == nil {
		return catalog.Tables(), nil
	}
	list := make([]*plan.Table, len(names))
	for i, name := range names {
		if list[i] = catalog.Table(name); list[i] == nil {
			return nil, notFound("table", name, "")
		}
	}
	return list, nil
}

func showTables(s *Server, _ *http.Request, names []string) (*fixed, error) {
	list, err := s.tables(names)
	if err != nil {
		return nil, err
	}
	t := newFixed("TableName", "DatabaseName", "Folder", "DocString")
	for _, table := range list {
		t.add(table.Name, s.engine.Catalog().Database, "", table.Doc)
	}
	return t, nil
}

func showTableDetails(s *Server, _ *http.Request, names []string) (*fixed, error) {
	list, err := s.tables(names)
	if err != nil {
		return nil, err
	}
	t := newFixed("TableName", "DatabaseName", "Folder", "DocString", "TotalExtents:long", "TotalExtentSize:real", "TotalOriginalSize:real", "TotalRowCount:long",
		"HotExtents:long", "HotExtentSize:real", "HotOriginalSize:real", "HotRowCount:long", "AuthorizedPrincipals", "RetentionPolicy", "CachingPolicy",
		"ShardingPolicy", "MergePolicy", "StreamingIngestionPolicy", "IngestionBatchingPolicy", "MinExtentsCreationTime:datetime",
		"MaxExtentsCreationTime:datetime", "RowOrderPolicy")
	for _, table := range list {
		row := make([]string, len(t.columns))
		copy(row, []string{table.Name, s.engine.Catalog().Database, "", table.Doc})
		t.add(row...)
	}
	return t, nil
}

func showTable(s *Server, _ *http.Request, names []string) (*fixed, error) {
	list, err := s.tables(names)
	if err != nil {
		return nil, err
	}
	t := newFixed("AttributeName", "AttributeType", "DocString")
	for _, c := range list[0].Columns {
		t.add(c.Name, c.Type.SystemName(), c.Doc)
	}
	return t, nil
}

func (s *Server) tableSchema(names []string, schema func(*plan.Table) string) (*fixed, error) {
	list, err := s.tables(names)
	if err != nil {
		return nil, err
	}
	t := newFixed("TableName", "Schema", "DatabaseName", "Folder", "DocString")
	t.add(list[0].Name, schema(list[0]), s.engine.Catalog().Database, "", list[0].Doc)
	return t, nil
}

func showTableSchema(s *Server, _ *http.Request, names []string) (*fixed, error) {
	return s.tableSchema(names, cslSchema)
}

func showTableJSON(s *Server, _ *http.Request, names []string) (*fixed, error) {
	return s.tableSchema(names, func(t *plan.Table) string { return mustJSON(jsonTable(t)) })
}

// showDatabases and its like have the columns that Kusto's clients look for; what
// has no meaning here is null.
func showDatabases(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseName", "PersistentStorage", "Version", "IsCurrent:bool", "DatabaseAccessMode", "PrettyName",
		"ReservedSlot1:bool", "DatabaseId:guid", "InTransitionTo", "SuspensionState")
	t.add(s.engine.Catalog().Database, "", schemaVersion, "true", "ReadOnly", "", "", databaseID, "", "")
	return t, nil
}

func showDatabaseIdentity(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseName", "PersistentStorage", "Version", "IsCurrent:bool", "DatabaseAccessMode", "PrettyName",
		"CurrentUserIsUnrestrictedViewer:bool", "DatabaseId:guid", "InTransitionTo")
	t.add(s.engine.Catalog().Database, "", schemaVersion, "true", "ReadOnly", "", "false", databaseID, "")
	return t, nil
}

func showDatabaseDetails(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseName", "PersistentStorage", "Version", "IsCurrent:bool", "DatabaseAccessMode", "PrettyName", "AuthorizedPrincipals",
		"RetentionPolicy", "MergePolicy", "ReservedSlot1", "CachingPolicy", "ShardingPolicy", "StreamingIngestionPolicy", "IngestionBatchingPolicy",
		"TotalSize:real", "DatabaseId:guid", "InTransitionTo")
	t.add(s.engine.Catalog().Database, "", schemaVersion, "true", "ReadOnly", "", "", "", "", "", "", "", "", "", "", databaseID, "")
	return t, nil
}

// showEntities lists what a database holds, as schema trees and assistants ask
// for it.
func showEntities(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseName", "EntityType", "EntityName", "DocString", "Folder", "CslInputSchema", "Content", "CslOutputSchema", "Properties:dynamic")
	for _, table := range s.engine.Catalog().Tables() {
		t.add(s.engine.Catalog().Database, "Table", table.Name, table.Doc, "", "", "", cslSchema(table), "")
	}
	return t, nil
}

func showSchema(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	catalog := s.engine.Catalog()
	t := newFixed("DatabaseName", "TableName", "ColumnName", "ColumnType", "IsDefaultTable:bool", "IsDefaultColumn:bool", "PrettyName", "Version", "Folder", "DocString")
	t.add(catalog.Database, "", "", "", "false", "false", "", schemaVersion, "", "")
	for _, table := range catalog.Tables() {
		t.add(catalog.Database, table.Name, "", "", "false", "false", "", "", "", table.Doc)
		for _, c := range table.Columns {
			t.add(catalog.Database, table.Name, c.Name, c.Type.SystemName(), "false", "false", "", "", "", c.Doc)
		}
	}
	return t, nil
}

func showSchemaJSON(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseSchema")
	t.add(mustJSON(jsonDatabase(s.engine.Catalog())))
	return t, nil
}

// showScript answers with the commands that would make the tables in Kusto.
func showScript(s *Server, _ *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	t := newFixed("DatabaseSchemaScript")
	for _, table := range s.engine.Catalog().Tables() {
		doc := kql.Print(&kql.Literal{Kind: kql.StringLit, Text: table.Doc})
		t.add(".create-merge table " + table.Name + " (" + cslSchema(table) + ") with (docstring = " + doc + ")")
	}
	return t, nil
}

func showFunctions(_ *Server, _ *http.Request, names []string) (*fixed, error) {
	t := newFixed("Name", "Parameters", "Body", "Folder", "DocString")
	for _, f := range plan.Functions() {
		for i := range f.Sigs {
			if len(names) == 0 || f.Name == names[0] {
				t.add(f.Name, f.Sigs[i].String(), "", f.Group, f.Doc)
			}
		}
	}
	if len(names) > 0 && len(t.rows) == 0 {
		return nil, notFound("function", names[0], "")
	}
	return t, nil
}

func showVersion(s *Server, _ *http.Request, _ []string) (*fixed, error) {
	t := newFixed("BuildVersion", "BuildTime:datetime", "ServiceType", "ProductVersion", "ServiceOffering")
	t.add(s.config.Version, "", "Engine", "hubscope "+s.config.Version, `{"Type":"hubscope"}`)
	return t, nil
}

func showCluster(s *Server, r *http.Request, _ []string) (*fixed, error) {
	t := newFixed("NodeId", "Address", "Name", "StartTime:datetime", "IsAdmin:bool", "MachineTotalMemory:long", "MachineAvailableMemory:long",
		"ProcessorCount:long", "EnvironmentDescription")
	t.add(s.config.Node, r.Host, "hubscope", stamp(s.started), "true", "", "", "", `{"Type":"hubscope"}`)
	return t, nil
}

func showDiagnostics(s *Server, r *http.Request, _ []string) (*fixed, error) {
	healthy := s.ready(r.Context()) == nil
	running, waiting := s.gate.counts()
	t := newFixed("IsHealthy:bool", "EnvironmentDescription", "MachinesTotal:long", "MachinesOffline:long", "NodeLastRestartedOn:datetime",
		"DatabasesCount:long", "TablesCount:long", "QueriesRunning:long", "QueriesWaiting:long", "ProductVersion")
	t.add(strconv.FormatBool(healthy), `{"Type":"hubscope"}`, "1", "0", stamp(s.started), "1", strconv.Itoa(len(s.engine.Catalog().Tables())),
		strconv.Itoa(running), strconv.Itoa(waiting), "hubscope "+s.config.Version)
	return t, nil
}

func showCapacity(s *Server, _ *http.Request, _ []string) (*fixed, error) {
	t := newFixed("Resource", "Total:long", "Consumed:long", "Remaining:long", "Origin")
	running, waiting := s.gate.counts()
	line := func(name string, total, used int) {
		if total < 0 {
			t.add(name, "", strconv.Itoa(used), "", "configuration")
			return
		}
		t.add(name, strconv.Itoa(total), strconv.Itoa(used), strconv.Itoa(total-used), "configuration")
	}
	line("queries", s.gate.limits.Queries, running)
	line("queued-queries", s.gate.limits.Queue, waiting)
	return t, nil
}

func showRunning(s *Server, r *http.Request, names []string) (*fixed, error) {
	t := s.runningQueries(r.Context())
	if len(names) > 0 && names[0] != "*" {
		t.rows = slices.DeleteFunc(t.rows, func(row []string) bool {
			return row[slices.IndexFunc(t.columns, func(c query.Column) bool { return c.Name == "User" })] != names[0]
		})
	}
	return t, nil
}

func showPrincipal(s *Server, r *http.Request, names []string) (*fixed, error) {
	if err := s.checkDatabase(names...); err != nil {
		return nil, err
	}
	who := identity(r.Context())
	role := "Viewer"
	if who.Role == Admin {
		role = "Admin"
	}
	t := newFixed("Role", "PrincipalType", "PrincipalDisplayName", "PrincipalObjectId", "PrincipalFQN", "Notes")
	t.add("Database "+s.engine.Catalog().Database+" "+role, "Token", who.Name, "", "token="+who.Name, strings.Join(who.Hubs, ", "))
	return t, nil
}

// showNone answers for what is never there.
func showNone(columns ...string) func(*Server, *http.Request, []string) (*fixed, error) {
	return func(*Server, *http.Request, []string) (*fixed, error) { return newFixed(columns...), nil }
}

func cancelCommand(s *Server, r *http.Request, args []string) (*fixed, error) {
	if err := s.cancelQuery(r.Context(), args[0]); err != nil {
		return nil, err
	}
	t := newFixed("ClientRequestId", "Status")
	t.add(args[0], "Cancelled")
	return t, nil
}

// schemaVersion is what clients are told of the schema's version. There is no
// count of its changes, so that who has this one already gets all of it again.
const schemaVersion = "v1.0"

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
