package ds

import (
	"slices"
	"strings"

	"hubscope/query/kql"
)

// FilterColumn is a column that ad hoc filters may name. The list is fixed: it
// holds what people filter fleets by, and no column whose values are bounded by
// nothing (texts, thumbprints, addresses of ports).
type FilterColumn struct {
	Name string
	Type string // of KQL: string, bool or long
	Doc  string
	// Tables are those that have the column.
	Tables []string
}

// FilterColumns returns the columns of ad hoc filters, those of connections
// first. It makes a new list.
func FilterColumns() []FilterColumn {
	const (
		connections, devices, azure, metrics, pipeline, audit = "Connections", "Devices", "AzureDiagnostics", "AzureMetrics", "PipelineMetrics", "Audit"
	)
	text := func(name, doc string, tables ...string) FilterColumn {
		return FilterColumn{name, "string", doc, tables}
	}
	return []FilterColumn{
		text("Hub", "IoT hub.", connections, devices, metrics, pipeline, audit),
		text("DeviceId", "Device whose identity was proven.", connections, devices),
		text("OperationName", "What happened: deviceConnect, deviceDisconnect, connectionRefused, ...", connections, devices, azure, audit),
		text("Level", "Information, Warning or Error.", connections, azure),
		text("Stage", "How far the connection came: tcp, hello, handshake, auth, session.", connections),
		text("ResultType", "Azure IoT Hub error code, empty for success.", connections, devices, azure, metrics, audit),
		text("ResultSignature", "Name of the error code.", connections, azure),
		text("Protocol", "Mqtt, MqttWs, Amqp, AmqpWs or Https.", connections, devices, metrics),
		text("AuthType", "sas, x509Ca, x509Thumbprint or none.", connections, devices),
		text("TlsVersion", "Negotiated TLS version.", connections, devices, metrics),
		text("TlsCipher", "Negotiated cipher suite.", connections, devices, metrics),
		text("TlsGroup", "Key exchange group.", connections),
		text("TlsServerKey", "Key type of the server's certificate: RSA or ECDSA.", connections),
		text("TlsEngine", "Engine that served TLS.", connections),
		{"WouldFailStrict", "bool", "Whether minTlsVersion 1.2 with the recommended suites would refuse it.", []string{connections, devices}},
		text("StrictReason", "Why it would be refused.", connections, devices),
		text("SdkVersion", "SDK that the device named.", connections, devices),
		text("UserAgent", "HTTP User-Agent.", connections),
		text("Ja4", "JA4 fingerprint of the ClientHello.", connections, devices),
		text("Sni", "Server name that the client asked for.", connections),
		text("MaskedIpAddress", "Masked address of the client.", connections, devices, audit),
		text("CaName", "CA certificate of the hub that the client's chain led to.", connections, devices),
		text("CertIssuer", "Issuer of the client certificate.", connections, devices),
		text("DisconnectReason", "Why the session ended.", connections),
		text("AlertSent", "TLS alert that the hub sent.", connections),
		text("AlertReceived", "TLS alert that the client sent.", connections),
		text("Node", "Process that took the connection or measured.", connections, pipeline, audit),
		text("MetricName", "Name of the metric.", metrics, pipeline),
		text("Service", "Part of the pipeline that measured.", pipeline),
		text("Action", "What was done: Create, Update or Delete.", audit),
		text("Actor", "Who did it.", audit),
	}
}

// filterTables are the tables that some ad hoc filter fits.
func filterTables() []string {
	var names []string
	for _, c := range FilterColumns() {
		for _, t := range c.Tables {
			if !slices.Contains(names, t) {
				names = append(names, t)
			}
		}
	}
	return names
}

// filterOperators says what can be done with filters, by Grafana's words.
const filterOperators = "operators are =, !=, =|, !=|, =~, !~, <, <=, > and >="

// predicate returns the KQL of a filter.
func (f Filter) predicate() (FilterColumn, string, error) {
	columns := FilterColumns()
	i := slices.IndexFunc(columns, func(c FilterColumn) bool { return c.Name == f.Key })
	if i < 0 {
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Name
		}
		return FilterColumn{}, "", wrong(CodeFilter, "filters may name "+strings.Join(names, ", "), "the ad hoc filter names %s, which is no column for filters", quote(cut(f.Key, 60)))
	}
	c := columns[i]
	literal := func(s string) (string, error) {
		if c.Type == "string" {
			return quote(s), nil
		}
		l, ok := typedLiteral(c.Type, s)
		if !ok {
			return "", wrong(CodeFilter, "", "the ad hoc filter compares %s with %s, which is no %s", c.Name, quote(cut(s, 60)), c.Type)
		}
		return l, nil
	}
	values := f.Values
	if len(values) == 0 {
		values = Values{f.Value}
	}
	switch f.Operator {
	case "=", "!=":
		l, err := literal(f.Value)
		if f.Operator == "=" {
			return c, c.Name + " == " + l, err
		}
		return c, c.Name + " != " + l, err
	case "=|", "!=|":
		list := make([]string, len(values))
		for i, s := range values {
			var err error
			if list[i], err = literal(s); err != nil {
				return c, "", err
			}
		}
		in := " in ("
		if f.Operator == "!=|" {
			in = " !in ("
		}
		return c, c.Name + in + strings.Join(list, ", ") + ")", nil
	case "=~", "!~":
		if c.Type != "string" {
			return c, "", wrong(CodeFilter, "", "the ad hoc filter holds a regular expression against %s, which is a %s", c.Name, c.Type)
		}
		match := c.Name + " matches regex " + quote(f.Value)
		if f.Operator == "!~" {
			match = "not(" + match + ")"
		}
		return c, match, nil
	case "<", "<=", ">", ">=":
		l, err := literal(f.Value)
		if c.Type == "string" {
			return c, "strcmp(" + c.Name + ", " + l + ") " + f.Operator + " 0", err
		}
		return c, c.Name + " " + f.Operator + " " + l, err
	}
	return c, "", wrong(CodeFilter, filterOperators, "the ad hoc filter has the unknown operator %s", quote(cut(f.Operator, 20)))
}

// filter reads the ad hoc filters and finds the place that they go to: behind the
// first table, unless the text has a place for them.
func (e *expander) filter(filters []Filter) error {
	e.source = -1
	for _, f := range filters {
		column, predicate, err := f.predicate()
		if err != nil {
			return err
		}
		e.filters = append(e.filters, filterPredicate{column, predicate})
	}
	placed := slices.ContainsFunc(e.tokens, func(t kql.Token) bool {
		r, ok := referenceAt(e.text, t.Start)
		return ok && t.Kind == kql.WordToken && r.name == "__adhocFilters"
	})
	e.tables = filterTables()
	if len(filters) == 0 || placed {
		return nil
	}
	for i := range e.tokens {
		if e.isTable(i) {
			if e.Filters = e.fitting(i); e.Filters != "" {
				e.source = i
			}
			return nil
		}
	}
	for _, f := range e.filters {
		e.FiltersUnused = append(e.FiltersUnused, f.predicate)
	}
	return nil
}

// filterPredicate is an ad hoc filter as KQL.
type filterPredicate struct {
	column    FilterColumn
	predicate string
}

// fitting returns the predicate of the filters whose columns the table has that
// is token i, "" if there are none. The others are noted as unused. Of a table
// that is not known (i < 0) all are taken.
func (e *expander) fitting(i int) string {
	var parts []string
	for _, f := range e.filters {
		switch {
		case i < 0 || slices.Contains(f.column.Tables, e.word(i)):
			parts = append(parts, f.predicate)
		case !slices.Contains(e.FiltersUnused, f.predicate):
			e.FiltersUnused = append(e.FiltersUnused, f.predicate)
		}
	}
	return strings.Join(parts, " and ")
}

// adhocFilters returns what stands for $__adhocFilters at an offset: the filters
// that fit the nearest table before it.
func (e *expander) adhocFilters(at int) string {
	table := -1
	for i := 0; i < len(e.tokens) && e.tokens[i].Start < at; i++ {
		if e.isTable(i) {
			table = i
		}
	}
	predicate := e.fitting(table)
	switch {
	case predicate == "":
		return "true"
	case len(e.filters) > 1:
		return "(" + predicate + ")"
	}
	return predicate
}

// isTable says whether token i is a table which filters fit, and not a name or a
// column of that name.
func (e *expander) isTable(i int) bool {
	if e.tokens[i].Kind != kql.WordToken || !slices.Contains(e.tables, e.word(i)) {
		return false
	}
	switch e.word(i + 1) {
	case "", "|", ";", ")", ",", "}":
	default:
		return false
	}
	switch e.word(i - 1) {
	case "", ";", "(", "{", ",", "=", "union", "join", "lookup":
		return true
	}
	return e.operand(i - 1)
}

// operand says whether token i is the value of a parameter of union, join or
// lookup, such as the inner of kind=inner.
func (e *expander) operand(i int) bool {
	for ; i >= 3 && e.word(i-1) == "="; i -= 3 {
		if w := e.word(i - 3); w == "union" || w == "join" || w == "lookup" {
			return true
		}
	}
	return false
}

// word returns the text of token i, "" beyond the ends.
func (e *expander) word(i int) string {
	if i < 0 || i >= len(e.tokens) {
		return ""
	}
	return e.text[e.tokens[i].Start:e.tokens[i].End]
}

// filterSource writes the table that is token i with the filters behind it.
func (e *expander) filterSource(i int) {
	t := e.tokens[i]
	// An argument of union, join or the like must be one expression.
	alone := slices.Contains([]string{"", ";", "=", "(", "{"}, e.word(i-1)) && slices.Contains([]string{"", ";", "|", ")", "}"}, e.word(i+1))
	if !alone {
		e.put("(", t.Start, t.Start)
	}
	e.copy(t.Start, t.End)
	e.put(" | where "+e.Filters, t.End, t.End)
	if !alone {
		e.put(")", t.End, t.End)
	}
}
