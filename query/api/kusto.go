package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// The REST interface of Kusto (Azure Data Explorer), as its clients in many
// languages speak it:
//
//	POST /v2/rest/query           queries; frames, plain or fragmented
//	POST /v1/rest/query           queries; tables
//	POST /v1/rest/mgmt            management commands; tables
//	GET  /v1/rest/auth/metadata   404: no sign-in, the client's defaults hold
//
// The clients are strict where Kusto is regular: they rely on the order of keys
// and, for fragmented frames, on one frame a line.

func (s *Server) kustoRoutes() {
	for pattern, h := range map[string]handler{
		"POST /v2/rest/query": s.kustoV2,
		"POST /v1/rest/query": s.kustoV1,
		"POST /v1/rest/mgmt":  s.kustoMgmt,
	} {
		s.route(pattern, s.handleWith(withKustoIDs(h), writeKustoError))
	}
	s.route("GET /v1/rest/auth/metadata", s.handleOpen(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusNotFound) // with an empty body: the Go client reads any other as JSON
		return nil
	}, writeKustoError))
}

// Headers that tie a request to what Kusto logs of it.
const (
	headerClientRequestID = "X-Ms-Client-Request-Id"
	headerActivityID      = "X-Ms-Activity-Id"
)

func withKustoIDs(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := r.Header.Get(headerClientRequestID)
		if id == "" || len(id) > 256 {
			id = "unspecified;" + uuid.NewString()
		}
		r.Header.Set(headerClientRequestID, id)
		w.Header().Set(headerClientRequestID, id)
		w.Header().Set(headerActivityID, uuid.NewString())
		return h(w, r)
	}
}

// kustoRequest is the body of a Kusto request.
type kustoRequest struct {
	DB         string          `json:"db"`
	CSL        string          `json:"csl"`
	Properties json.RawMessage `json:"properties"` // an object, or one as text
}

// kustoProperties are the properties that this service acts on; the rest is
// ignored, as Kusto does.
type kustoProperties struct {
	Options    map[string]json.RawMessage `json:"Options"`
	Parameters map[string]any             `json:"Parameters"`
}

// readKusto reads a request's body and checks the database.
func (s *Server) readKusto(r *http.Request) (*kustoRequest, *kustoProperties, error) {
	var body kustoRequest
	if err := s.decode(r, &body, false); err != nil {
		return nil, nil, err
	}
	props := &kustoProperties{}
	if raw := body.Properties; len(raw) > 0 && string(raw) != "null" {
		if raw[0] == '"' {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return nil, nil, badRequest("properties are no JSON text")
			}
			raw = json.RawMessage(text)
		}
		if len(raw) > 0 {
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.UseNumber() // a long may have more digits than a float64
			if err := dec.Decode(props); err != nil {
				return nil, nil, badRequest("properties are not a JSON object")
			}
		}
	}
	if strings.TrimSpace(body.CSL) == "" {
		return nil, nil, badRequest("the query is empty")
	}
	if db := s.engine.Catalog().Database; body.DB != "" && !strings.EqualFold(body.DB, db) && body.DB != "NetDefaultDB" {
		return nil, nil, failure(http.StatusBadRequest, "BadRequest_EntityNotFound", "database %q was not found; there is %q", body.DB, db)
	}
	return &body, props, nil
}

// flag returns a boolean option, which some clients send as text.
func (p *kustoProperties) flag(name string) bool {
	raw := strings.Trim(string(p.Options[name]), `"`)
	on, _ := strconv.ParseBool(strings.ToLower(raw)) // anything else is false
	return on
}

// request turns a Kusto request into one for the engine.
func (p *kustoProperties) request(text string) (query.Request, error) {
	req := query.Request{Text: text, Parameters: p.Parameters}
	for name, value := range p.Parameters {
		// Clients send values as KQL writes them: a string comes in quotes.
		if s, ok := value.(string); ok {
			if inner, quoted := kql.Unquote(s); quoted {
				p.Parameters[name] = inner
			}
		}
	}
	var timeout *string
	if raw, ok := p.Options["servertimeout"]; ok && json.Unmarshal(raw, &timeout) == nil && timeout != nil {
		d, ok := client.ParseTimespan(inner(*timeout, "timespan", "time"))
		if !ok || d <= 0 {
			return req, badRequest("servertimeout %q is no timespan", *timeout)
		}
		req.Limits.Time = d
	}
	var err error
	if p.flag("norequesttimeout") {
		req.Limits.Time = math.MaxInt64 // as long as the service allows
	}
	if p.flag("notruncation") {
		req.Limits.ResultRows, req.Limits.ResultBytes = math.MaxInt64, math.MaxInt64
	}
	if n, err := p.number("truncationmaxrecords"); err != nil {
		return req, err
	} else if n > 0 {
		req.Limits.ResultRows = n
	}
	if n, err := p.number("truncationmaxsize"); err != nil {
		return req, err
	} else if n > 0 {
		req.Limits.ResultBytes = n
	}
	if req.Limits.MemoryBytes, err = p.number("maxmemoryconsumptionperquerypernode"); err != nil {
		return req, err
	}
	if take, err := p.number(optionTake); err != nil {
		return req, err
	} else if take > 0 {
		req.Limits.ResultRows = take
	}
	for name, t := range map[string]*time.Time{"query_now": &req.Now, "query_datetimescope_from": &req.Start, "query_datetimescope_to": &req.End} {
		if *t, err = p.time(name); err != nil {
			return req, err
		}
	}
	return req, nil
}

// optionTake asks for the first rows only, which is no truncation.
const optionTake = "query_take_max_records"

func (p *kustoProperties) takes() bool { _, ok := p.Options[optionTake]; return ok }

// number returns a positive number of the options, 0 when it is absent.
func (p *kustoProperties) number(name string) (int64, error) {
	raw, ok := p.Options[name]
	if !ok || string(raw) == "null" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || n <= 0 {
		return 0, badRequest("%s is no positive whole number", name)
	}
	return n, nil
}

// time returns a datetime of the options, zero when it is absent. It may stand
// in datetime(...).
func (p *kustoProperties) time(name string) (time.Time, error) {
	raw, ok := p.Options[name]
	if !ok || string(raw) == "null" {
		return time.Time{}, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}, badRequest("%s is no text", name)
	}
	return instant(name, inner(text, "datetime"))
}

// inner returns what stands between the parentheses of a literal of one of these
// types, or text itself.
func inner(text string, types ...string) string {
	for _, t := range types {
		if rest, ok := strings.CutPrefix(text, t+"("); ok {
			return strings.TrimSuffix(rest, ")")
		}
	}
	return text
}

type kustoColumn struct {
	ColumnName string `json:"ColumnName"`
	DataType   string `json:"DataType,omitempty"` // v1 only
	ColumnType string `json:"ColumnType"`
}

func kustoColumns(columns []query.Column, v1 bool) []kustoColumn {
	list := make([]kustoColumn, len(columns))
	for i, c := range columns {
		list[i] = kustoColumn{ColumnName: c.Name, ColumnType: c.Type.String()}
		if v1 {
			list[i].DataType = kustoDataType(c.Type)
		}
		if c.Type == plan.Unknown {
			list[i].ColumnType = "dynamic"
		}
	}
	return list
}

// kustoDataType is the .NET name that v1 tells beside the Kusto type.
func kustoDataType(t plan.Type) string {
	switch t {
	case plan.Bool:
		return "SByte"
	case plan.Int:
		return "Int32"
	case plan.Long:
		return "Int64"
	case plan.Real:
		return "Double"
	case plan.Decimal:
		return "SqlDecimal"
	case plan.Datetime:
		return "DateTime"
	case plan.Timespan:
		return "TimeSpan"
	case plan.GUID:
		return "Guid"
	case plan.String:
		return "String"
	default:
		return "Object"
	}
}

// kustoV2 answers a query with frames.
func (s *Server) kustoV2(w http.ResponseWriter, r *http.Request) error {
	body, props, err := s.readKusto(r)
	if err != nil {
		return err
	}
	if kql.IsCommand(body.CSL) {
		return badRequest("management commands go to /v1/rest/mgmt")
	}
	req, err := props.request(body.CSL)
	if err != nil {
		return err
	}
	x, err := s.start(r, req, r.Header.Get(headerClientRequestID))
	if err != nil {
		return err
	}
	defer x.finish()
	frames := &frameWriter{
		sink: newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout), answer: s.answer(r, x),
		fragmented: props.flag("results_v2_fragment_primary_tables"),
		lines:      props.flag("results_v2_newlines_between_frames"), endOfTable: string(props.Options["results_error_reporting_placement"]) == `"end_of_table"`,
		clientID: w.Header().Get(headerClientRequestID), activityID: w.Header().Get(headerActivityID),
		cutQuietly: props.takes() || x.result.Takes,
	}
	return frames.write()
}

// frameWriter writes a result as the frames of v2.
type frameWriter struct {
	sink                          *sink
	answer                        *answer
	fragmented, lines, endOfTable bool
	cutQuietly                    bool // the client asked for some rows, not for all
	clientID, activityID          string
	n                             int // frames written
}

// begin starts a frame; the caller writes one JSON object.
func (f *frameWriter) begin() {
	switch {
	case f.n == 0:
		f.sink.text("[")
	case f.lines || f.fragmented:
		f.sink.text("\n,")
	default:
		f.sink.text(",")
	}
	f.n++
}

func (f *frameWriter) write() error {
	s := f.sink
	f.begin()
	placement := "InData"
	if f.fragmented || f.endOfTable {
		placement = "EndOfTable"
	}
	s.text(`{"FrameType":"DataSetHeader","IsProgressive":false,"Version":"v2.0","IsFragmented":`, strconv.FormatBool(f.fragmented),
		`,"ErrorReportingPlacement":"`, placement, `"}`)
	f.begin()
	s.text(`{"FrameType":"DataTable","TableId":0,"TableKind":"QueryProperties","TableName":"@ExtendedProperties","Columns":`,
		`[{"ColumnName":"TableId","ColumnType":"int"},{"ColumnName":"Key","ColumnType":"string"},{"ColumnName":"Value","ColumnType":"dynamic"}],"Rows":[[1,"Visualization",`)
	s.json(kustoVisualization(f.answer.render))
	s.text(`]]}`)

	f.begin()
	if f.fragmented {
		s.text(`{"FrameType":"TableHeader"`)
	} else {
		s.text(`{"FrameType":"DataTable"`)
	}
	s.text(`,"TableId":1,"TableKind":"PrimaryResult","TableName":"PrimaryResult","Columns":`)
	s.json(kustoColumns(f.answer.columns, false))
	if f.fragmented {
		s.text("}")
	} else {
		s.text(`,"Rows":[`)
	}
	count := 0
	failed, err := f.answer.each(func(b *query.Batch) error {
		if b.Rows == 0 {
			return nil
		}
		if f.fragmented {
			f.begin()
			s.text(`{"FrameType":"TableFragment","TableFragmentType":"DataAppend","TableId":1,"Rows":[`)
		}
		for i := range b.Rows {
			if i > 0 || count > 0 && !f.fragmented {
				s.text(",")
			}
			s.kustoRow(b, i)
			if err := s.write(); err != nil {
				return err
			}
		}
		count += b.Rows
		if f.fragmented {
			s.text("]}")
			return s.flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	var problems []kustoErrorBody
	if failed != nil {
		problems = append(problems, kustoErrorOf(failed, http.StatusInternalServerError))
	} else if f.answer.rows.Truncated() && !f.cutQuietly {
		problems = append(problems, truncationError(count))
	}
	if problems != nil && placement == "InData" {
		// Some clients look for errors among the rows and nowhere else.
		if count > 0 {
			s.text(",")
		}
		s.text(`{"OneApiErrors":`)
		s.json(problems)
		s.text("}")
	}
	if f.fragmented {
		f.begin()
		s.text(`{"FrameType":"TableCompletion","TableId":1,"RowCount":`, strconv.Itoa(count))
		if problems != nil {
			s.text(`,"OneApiErrors":`)
			s.json(problems)
		}
		s.text("}")
	} else {
		s.text("]}")
	}
	f.begin()
	f.completion(count, problems)
	f.begin()
	cancelled := failed != nil && failed.Code == string(query.CodeCanceled)
	s.text(`{"FrameType":"DataSetCompletion","HasErrors":`, strconv.FormatBool(problems != nil), `,"Cancelled":`, strconv.FormatBool(cancelled))
	if problems != nil {
		s.text(`,"OneApiErrors":`)
		s.json(problems)
	}
	s.text("}")
	if f.lines || f.fragmented {
		s.text("\n")
	}
	s.text("]\n")
	return s.close()
}

// completion writes how the query ended, and what it cost.
func (f *frameWriter) completion(count int, problems []kustoErrorBody) {
	s := f.sink
	s.text(`{"FrameType":"DataTable","TableId":2,"TableKind":"QueryCompletionInformation","TableName":"QueryCompletionInformation","Columns":`)
	s.json([]kustoColumn{
		{ColumnName: "Timestamp", ColumnType: "datetime"}, {ColumnName: "ClientRequestId", ColumnType: "string"},
		{ColumnName: "ActivityId", ColumnType: "guid"}, {ColumnName: "SubActivityId", ColumnType: "guid"},
		{ColumnName: "ParentActivityId", ColumnType: "guid"}, {ColumnName: "Level", ColumnType: "int"},
		{ColumnName: "LevelName", ColumnType: "string"}, {ColumnName: "StatusCode", ColumnType: "int"},
		{ColumnName: "StatusCodeName", ColumnType: "string"}, {ColumnName: "EventType", ColumnType: "int"},
		{ColumnName: "EventTypeName", ColumnType: "string"}, {ColumnName: "Payload", ColumnType: "string"},
	})
	now := time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
	row := func(level int, levelName string, status kustoStatus, event int, eventName string, payload any) []any {
		text, err := json.Marshal(payload)
		if err != nil {
			panic("encode " + err.Error()) // made of numbers and texts
		}
		return []any{now, f.clientID, f.activityID, f.activityID, f.activityID, level, levelName, status.code, status.name, event, eventName, string(text)}
	}
	s.text(`,"Rows":`)
	var rows [][]any
	for _, p := range problems {
		rows = append(rows, row(2, "Error", p.status(), 1, p.event(), map[string]any{"Count": 1, "Text": p.Error.Description}))
	}
	if problems == nil {
		rows = append(rows, row(4, "Info", statusOK, 4, "QueryInfo", map[string]any{"Count": 1, "Text": "Query completed successfully"}))
	}
	for _, n := range f.answer.notices {
		rows = append(rows, row(4, "Info", statusOK, 4, "QueryInfo", map[string]any{"Count": 1, "Text": n}))
	}
	s.json(append(rows,
		row(6, "Stats", statusOK, 0, "QueryResourceConsumption", kustoStats(f.answer.rows.Stats(), count)),
	))
	s.text("}")
}

// kustoStatus is a status among what is told at the end of an answer.
type kustoStatus struct {
	code int
	name string
}

var statusOK = kustoStatus{0, "S_OK (0)"}

// status is that of an error behind the first rows.
func (e kustoErrorBody) status() kustoStatus {
	if e.cut {
		return kustoStatus{-2133196797, "Query result set too large (E_QUERY_RESULT_SET_TOO_LARGE). (-2133196797)"} // 0x80DA0003
	}
	return kustoStatus{-2147467259, "Query failed (E_FAIL). (-2147467259)"} // 0x80004005
}

// event names what an error is.
func (e kustoErrorBody) event() string {
	if e.cut {
		return "QueryLimitsExceeded"
	}
	return "QueryFailed"
}

// kustoStats has the parts of QueryResourceConsumption that have a meaning here.
func kustoStats(stats query.Stats, count int) any {
	return map[string]any{
		"ExecutionTime":            stats.Elapsed.Seconds(),
		"resource_usage":           map[string]any{"memory": map[string]any{"peak_per_node": stats.MemoryBytes}},
		"input_dataset_statistics": map[string]any{"rows": map[string]any{"scanned": stats.ReadRows, "total": max(stats.TotalRows, stats.ReadRows)}},
		"dataset_statistics":       []any{map[string]any{"table_row_count": count, "table_size": stats.Bytes}},
	}
}

// visualizationKeys are the properties of render by their KQL names, in the
// order and with the names of Kusto's answer, with their value when absent.
var visualizationKeys = []struct{ property, key, absent string }{
	{"title", "Title", "null"}, {"xcolumn", "XColumn", "null"}, {"series", "Series", "null"}, {"ycolumns", "YColumns", "null"},
	{"anomalycolumns", "AnomalyColumns", "null"}, {"xtitle", "XTitle", "null"}, {"ytitle", "YTitle", "null"}, {"xaxis", "XAxis", "null"},
	{"yaxis", "YAxis", "null"}, {"legend", "Legend", "null"}, {"ysplit", "YSplit", "null"}, {"accumulate", "Accumulate", "false"},
	{"", "IsQuerySorted", "false"}, {"kind", "Kind", "null"}, {"ymin", "Ymin", `"NaN"`}, {"ymax", "Ymax", `"NaN"`},
	{"xmin", "Xmin", "null"}, {"xmax", "Xmax", "null"},
}

// kustoVisualization is the JSON text that tells clients what render asked for.
func kustoVisualization(v *query.Visualization) string {
	if v == nil {
		v = &query.Visualization{}
	}
	var b strings.Builder
	text := func(s string) string {
		j, _ := json.Marshal(s) // a string always has a JSON form
		return string(j)
	}
	b.WriteString(`{"Visualization":`)
	if v.Kind == "" {
		b.WriteString("null")
	} else {
		b.WriteString(text(v.Kind))
	}
	for _, k := range visualizationKeys {
		value, ok := v.Properties[k.property]
		switch {
		case !ok || k.property == "":
			value = k.absent
		case k.property == "accumulate":
			value = strconv.FormatBool(strings.EqualFold(value, "true"))
		case k.property == "ymin" || k.property == "ymax":
			if f, err := strconv.ParseFloat(value, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				value = k.absent
			}
		default:
			value = text(value)
		}
		fmt.Fprintf(&b, `,%q:%s`, k.key, value)
	}
	b.WriteByte('}')
	return b.String()
}

// kustoV1 answers a query with one table. Commands are taken too, as some
// clients send everything here.
func (s *Server) kustoV1(w http.ResponseWriter, r *http.Request) error {
	body, props, err := s.readKusto(r)
	if err != nil {
		return err
	}
	if kql.IsCommand(body.CSL) {
		return s.runCommand(w, r, body.CSL, props)
	}
	return s.runV1(w, r, body.CSL, body.CSL, props)
}

// runV1 answers with the rows of text; said is what the client has sent for it.
func (s *Server) runV1(w http.ResponseWriter, r *http.Request, said, text string, props *kustoProperties) error {
	req, err := props.request(text)
	if err != nil {
		return err
	}
	x, err := s.startSaid(r, req, said, r.Header.Get(headerClientRequestID))
	if err != nil {
		return err
	}
	defer x.finish()
	a := s.answer(r, x)
	out := newSink(w, r, client.MediaJSON+"; charset=utf-8", s.config.WriteTimeout)
	return a.writeV1(out, !props.takes() && !x.result.Takes)
}

// writeV1 writes one table. A client takes it for the result; with a second
// one it would look for a table of contents. An error behind the first rows stands
// in the place of a row and beside the tables: some clients look at one of them only.
func (a *answer) writeV1(s *sink, failTruncated bool) error {
	s.text(`{"Tables":[{"TableName":"Table_0","Columns":`)
	s.json(kustoColumns(a.columns, true))
	s.text(`,"Rows":[`)
	count := 0
	failed, err := a.each(func(b *query.Batch) error {
		for i := range b.Rows {
			if count > 0 {
				s.text(",")
			}
			count++
			s.kustoRow(b, i)
			if err := s.write(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var problem *kustoErrorBody
	switch {
	case failed != nil:
		e := kustoErrorOf(failed, http.StatusInternalServerError)
		problem = &e
	case a.rows.Truncated() && failTruncated:
		e := truncationError(count)
		problem = &e
	}
	if problem == nil {
		s.text("]}]}\n")
		return s.close()
	}
	if count > 0 {
		s.text(",")
	}
	exceptions := []string{problem.Error.Description}
	s.json(struct {
		Exceptions   []string
		OneApiErrors []kustoErrorBody
	}{exceptions, []kustoErrorBody{*problem}})
	s.text(`]}],"Exceptions":`)
	s.json(exceptions)
	s.text("}\n")
	return s.close()
}

// kustoRow is row with a decimal point in every real number, as Kusto has it:
// some clients tell types by it.
func (s *sink) kustoRow(b *query.Batch, i int) {
	s.buf = append(s.buf, '[')
	for c := range b.Columns {
		if c > 0 {
			s.buf = append(s.buf, ',')
		}
		from := len(s.buf)
		s.buf = b.Columns[c].AppendJSON(s.buf, i)
		if b.Columns[c].Type == plan.Real && !bytes.ContainsAny(s.buf[from:], `.e"n`) {
			s.buf = append(s.buf, ".0"...)
		}
	}
	s.buf = append(s.buf, ']')
}

// kustoErrorBody is an error in Kusto's form (OneApiError).
type kustoErrorBody struct {
	Error kustoError `json:"error"`
	cut   bool       // it is about rows that are missing
}

type kustoError struct {
	Code        string      `json:"code"`
	Message     string      `json:"message"`
	Type        string      `json:"@type"`
	Description string      `json:"@message"`
	Permanent   bool        `json:"@permanent"`
	Inner       *kustoInner `json:"innererror,omitempty"`
}

type kustoInner struct {
	Code        string `json:"code"`
	Message     string `json:"message"`
	Type        string `json:"@type"`
	Description string `json:"@message"`
	Line        int    `json:"@line,omitempty"`
	Position    int    `json:"@pos,omitempty"`
}

// kustoErrorOf gives an error Kusto's form. Clients tell a query's own fault
// from the service's by code and @permanent.
func kustoErrorOf(e *client.Error, status int) kustoErrorBody {
	k := kustoError{
		Code: "General_BadRequest", Message: e.Message, Type: "Kusto.Data.Exceptions.KustoBadRequestException", Description: e.Message, Permanent: true,
	}
	place := func() string {
		text := e.Message
		if e.Hint != "" {
			text += " (" + e.Hint + ")"
		}
		if e.Line == 0 {
			return text
		}
		return fmt.Sprintf("%s [line:position=%d:%d]", text, e.Line, e.Column)
	}
	switch {
	case strings.HasPrefix(e.Code, "SYN"):
		k.Description = "Syntax error: " + e.Code + ": " + place()
		k.Inner = &kustoInner{e.Code, k.Description, "Kusto.DataNode.Exceptions.SyntaxException", k.Description, e.Line, e.Column}
	case strings.HasPrefix(e.Code, "SEM"), strings.HasPrefix(e.Code, "UNS"):
		k.Description = "Semantic error: " + e.Code + ": " + place()
		k.Inner = &kustoInner{e.Code, k.Description, "Kusto.DataNode.Exceptions.SemanticException", k.Description, e.Line, e.Column}
	case e.Code == string(query.CodeMemory):
		k.Code, k.Type = "E_LOW_MEMORY_CONDITION", "Kusto.Data.Exceptions.KustoServicePartialQueryFailureLowMemoryConditionException"
	case e.Code == string(query.CodeReadLimit):
		k.Code, k.Type = "LimitsExceeded", "Kusto.Data.Exceptions.KustoServicePartialQueryFailureLimitsExceededException"
	case e.Code == string(query.CodeTimeout):
		k.Code, k.Type, k.Permanent = "E_QUERY_TIMEOUT", "Kusto.Data.Exceptions.KustoServiceTimeoutException", false
	case e.Code == string(query.CodeRuntime), e.Code == string(query.CodeComplex):
		k.Code = "BadRequest_QueryRuntimeError"
	case e.Code == string(query.CodeCanceled):
		k.Code, k.Type = "RequestCancelled", "Kusto.Data.Exceptions.KustoServicePartialQueryFailureException"
	case status == http.StatusRequestEntityTooLarge:
		k.Code = "BadRequest_RequestTooLarge"
	case status == http.StatusUnsupportedMediaType:
		k.Code = "BadRequest_UnsupportedMediaType"
	case status == http.StatusNotFound:
		k.Code = "NotFound"
	case status == http.StatusMethodNotAllowed:
		k.Code = "MethodNotAllowed"
	case status == http.StatusUnauthorized:
		k.Code, k.Type = "Unauthorized", "Kusto.Data.Exceptions.KustoRequestDeniedException"
	case status == http.StatusForbidden:
		k.Code, k.Type = "Forbidden", "Kusto.Data.Exceptions.KustoRequestDeniedException"
	case status == http.StatusTooManyRequests:
		k.Code, k.Message, k.Type, k.Permanent = "Too many requests", "Request is denied due to throttling.", "Kusto.Data.Exceptions.KustoRequestThrottledException", false
	case status == http.StatusServiceUnavailable:
		k.Code, k.Type, k.Permanent = "General_ServiceUnavailable", "Kusto.Data.Exceptions.KustoServiceUnavailableException", false
	case status >= http.StatusInternalServerError:
		k.Code, k.Type, k.Permanent = "General_InternalServerError", "Kusto.Data.Exceptions.KustoServicePartialQueryFailureException", false
	case strings.HasPrefix(e.Code, "BadRequest_"):
		k.Code = e.Code
	}
	if k.Inner != nil {
		k.Message = k.Description
	}
	return kustoErrorBody{Error: k}
}

// truncationError is how Kusto says that rows were cut; its clients show it.
func truncationError(count int) kustoErrorBody {
	return kustoErrorBody{cut: true, Error: kustoError{
		Code: "LimitsExceeded", Message: "Request is invalid and cannot be executed.", Permanent: true,
		Type: "Kusto.Data.Exceptions.KustoServicePartialQueryFailureLimitsExceededException",
		Description: fmt.Sprintf("Query execution has exceeded the allowed limits (80DA0003): the result was cut after %d rows "+
			"(E_QUERY_RESULT_SET_TOO_LARGE). Narrow the query.", count),
	}}
}

func writeKustoError(w http.ResponseWriter, _ *http.Request, e *statusError) {
	status := e.status
	if status == 499 {
		status = http.StatusBadRequest // unknown to clients
	}
	writeJSON(w, status, kustoErrorOf(e.body.Error, status))
}
