package ds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/client"
)

// Bounds of looking for values: a person waits for the list, several editors
// may ask at once, and a fleet's events are many.
const (
	maxValues     = 1000
	valuesTimeout = 10 * time.Second
	// maxValueRows is how many stored rows are read at most, roughly: the range is
	// shortened towards its end until it holds no more. Rollups are not bound.
	maxValueRows = 20_000_000
	minValueTime = time.Minute
)

// tagKey is a column for ad hoc filters. Grafana shows text; it sends value.
type tagKey struct {
	Text  string `json:"text"`
	Value string `json:"value"`
	Type  string `json:"type"`
	Doc   string `json:"doc"`
}

// tagKeys answers with the columns for ad hoc filters.
func (d *Datasource) tagKeys(w http.ResponseWriter, _ *http.Request) error {
	keys := []tagKey{}
	for _, c := range FilterColumns() {
		keys = append(keys, tagKey{c.Name, c.Name, c.Type, c.Doc})
	}
	writeResource(w, http.StatusOK, keys)
	return nil
}

// columnValue is a value that a column has, and how often.
type columnValue struct {
	Text  string `json:"text"`
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// tagValues answers with the values of a column for ad hoc filters. The
// parameter filters (JSON, as adHocFilters of a query) narrows them to those
// that occur together with what is chosen already.
func (d *Datasource) tagValues(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	key := q.Get("key")
	columns := FilterColumns()
	i := slices.IndexFunc(columns, func(c FilterColumn) bool { return c.Name == key })
	if i < 0 {
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Name
		}
		return &resourceFailure{http.StatusBadRequest, client.Error{Code: CodeFilter, Message: fmt.Sprintf("%q is no column for filters", cut(key, 60)), Hint: "there are " + strings.Join(names, ", ")}}
	}
	c := columns[i]
	if c.Type == "bool" { // nothing needs to be read
		writeResource(w, http.StatusOK, []columnValue{{"true", "true", 0}, {"false", "false", 0}})
		return nil
	}
	table := c.Tables[0]
	var where []string
	if text := q.Get("filters"); text != "" {
		var filters []Filter
		if err := json.Unmarshal([]byte(text), &filters); err != nil {
			return badResource("filters is no JSON list of filters: %v", err)
		}
		for _, f := range filters {
			column, predicate, err := f.predicate()
			if err != nil {
				var m *mistake
				if errors.As(err, &m) {
					return &resourceFailure{http.StatusBadRequest, client.Error{Code: m.code, Message: m.message, Hint: m.hint}}
				}
				return err
			}
			// A filter on the column itself would leave its own value alone.
			if column.Name != key && slices.Contains(column.Tables, table) {
				where = append(where, predicate)
			}
		}
	}
	return d.answerValues(w, r, table, key, where)
}

// columnValues answers with the values of any column of a table.
func (d *Datasource) columnValues(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	table, column := q.Get("table"), q.Get("column")
	for name, value := range map[string]string{"table": table, "column": column} {
		if value == "" {
			return badResource("the parameter %s is missing", name)
		}
		// What a name in brackets and quotes can hold; the service knows which exist.
		if len(value) > 1024 || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' }) {
			return badResource("%s is no name", name)
		}
	}
	return d.answerValues(w, r, table, column, nil)
}

// answerValues answers with the commonest values of a column in the range of the
// request.
func (d *Datasource) answerValues(w http.ResponseWriter, r *http.Request, table, column string, where []string) error {
	span, err := queryRange(r.URL.Query())
	if err != nil {
		return err
	}
	name := "[" + quote(column) + "]"
	text := "[" + quote(table) + "]\n"
	for _, predicate := range where {
		text += "| where " + predicate + "\n"
	}
	text += "| summarize Count = count() by Value = tostring(" + name + ")\n" +
		"| where isnotempty(Value)\n" +
		fmt.Sprintf("| top %d by Count desc", maxValues)
	ctx, cancel := context.WithTimeout(r.Context(), valuesTimeout+timeoutMargin)
	defer cancel()
	span, err = d.bounded(ctx, text, span)
	if err != nil {
		return err
	}
	values, err := d.values(ctx, client.QueryRequest{
		Query: text, Start: formatTime(span.From), End: formatTime(span.To), TimeoutSeconds: valuesTimeout.Seconds(), MaxRows: maxValues,
	})
	if err != nil {
		return placeless(err)
	}
	writeResource(w, http.StatusOK, values)
	return nil
}

// queryRange is the range of a request's parameters.
func queryRange(q url.Values) (backend.TimeRange, error) {
	from, err := parseMillis(q.Get("from"))
	if err != nil {
		return backend.TimeRange{}, badResource("from: %v", err)
	}
	to, err := parseMillis(q.Get("to"))
	if err != nil {
		return backend.TimeRange{}, badResource("to: %v", err)
	}
	return timeRange(from, to)
}

// bounded shortens a range towards its end until the query reads no more stored
// rows than it may.
func (d *Datasource) bounded(ctx context.Context, text string, span backend.TimeRange) (backend.TimeRange, error) {
	for range 4 { // events need not be spread evenly
		e, err := d.client.Explain(ctx, client.QueryRequest{Query: text, Start: formatTime(span.From), End: formatTime(span.To)})
		if err != nil {
			return span, placeless(err)
		}
		length := span.To.Sub(span.From)
		if e.Rollup != "" || e.EstimatedRows <= maxValueRows || length <= minValueTime {
			return span, nil
		}
		span.From = span.To.Add(-max(time.Duration(float64(length)*maxValueRows/float64(e.EstimatedRows)), minValueTime))
	}
	return span, nil
}

// placeless takes the places from errors of a text that nobody has typed.
func placeless(err error) error {
	var answered *client.StatusError
	if errors.As(err, &answered) {
		for _, e := range answered.Errors {
			e.Line, e.Column, e.Length = 0, 0, 0
		}
	}
	return err
}

// values runs a query for values and their counts.
func (d *Datasource) values(ctx context.Context, req client.QueryRequest) ([]columnValue, error) {
	a, err := d.client.Query(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	values := []columnValue{}
	at, n := 0, 0
	for i, c := range a.Columns {
		switch c.Name {
		case "Value":
			at = i
		case "Count":
			n = i
		}
	}
	for {
		rows, err := a.Next()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			var v columnValue
			if err := json.Unmarshal(row[at], &v.Value); err != nil {
				return nil, fmt.Errorf("value: %w", err)
			}
			if err := json.Unmarshal(row[n], &v.Count); err != nil {
				return nil, fmt.Errorf("count of a value: %w", err)
			}
			v.Text = v.Value
			values = append(values, v)
		}
	}
}
