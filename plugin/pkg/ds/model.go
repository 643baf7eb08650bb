package ds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// schemaVersion is the version of the query model that this plugin writes and
// reads. Version 0 is a model without one, from before it was counted: its
// fields are those of version 1.
const schemaVersion = 1

// Format is the kind of frames that a query asks for.
type Format string

// The formats.
const (
	FormatTable      Format = "table"
	FormatTimeSeries Format = "time_series"
	FormatLogs       Format = "logs"
)

// Model is a query as Grafana keeps it: in panels, in alert rules, in the
// definition of a variable or an annotation. What the editors alone need (mode,
// state of the builder) is not read here.
type Model struct {
	SchemaVersion int    `json:"schemaVersion"`
	Query         string `json:"query"` // KQL with macros and variables
	Format        Format `json:"format"`
	// RowLimit bounds the rows; 0 is the default of the data source.
	RowLimit int64 `json:"rowLimit"`
	// Variables are those dashboard variables that the text names. Alert rules
	// have none.
	Variables    map[string]Variable `json:"variables"`
	AdHocFilters []Filter            `json:"adHocFilters"`
	// Purpose says what the query is for, if not a panel: variable, annotation,
	// logs-volume, logs-sample, logs-context.
	Purpose string `json:"purpose"`
}

// Variable is a dashboard variable with what is chosen.
type Variable struct {
	Values Values `json:"values"`
	// All says that everything is chosen; the values may then be missing.
	All bool `json:"all"`
	// Multi says that several values can be chosen.
	Multi bool `json:"multi"`
	// Type is the type of KQL that the values have when the text names no format:
	// timespan for variables of Grafana's kind interval. Otherwise they are strings.
	Type string `json:"type,omitempty"`
}

// Filter is an ad hoc filter of a dashboard or of Explore.
type Filter struct {
	Key      string `json:"key"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
	Values   Values `json:"values"`
}

// Values are texts. In JSON also one alone, and numbers and booleans.
type Values []string

// UnmarshalJSON reads a list of values, or one.
func (v *Values) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if json.Unmarshal(b, &list) != nil {
		list = []json.RawMessage{b}
	}
	*v = Values{}
	for _, item := range list {
		var s string
		switch item = bytes.TrimSpace(item); {
		case string(item) == "null":
			continue
		case item[0] == '"':
			if err := json.Unmarshal(item, &s); err != nil {
				return err
			}
		case item[0] == '{' || item[0] == '[':
			return errors.New("a value of a variable is a text")
		default:
			s = string(item)
		}
		*v = append(*v, s)
	}
	return nil
}

// readModel reads a query and brings it to the present version. Its errors are
// the user's.
func readModel(b []byte) (Model, error) {
	var m Model
	if err := json.Unmarshal(b, &m); err != nil {
		return m, backend.DownstreamError(fmt.Errorf("the query's JSON cannot be read: %w", err))
	}
	if m.SchemaVersion > schemaVersion {
		return m, backend.DownstreamError(fmt.Errorf("the query was written by a newer version of the hubscope data source (schemaVersion %d, this one knows up to %d): update the plugin", m.SchemaVersion, schemaVersion))
	}
	m.SchemaVersion = schemaVersion
	switch m.Format {
	case "":
		m.Format = FormatTable
	case FormatTable, FormatTimeSeries, FormatLogs:
	default:
		return m, backend.DownstreamError(fmt.Errorf("the query has the unknown format %q: there are %s, %s and %s", m.Format, FormatTable, FormatTimeSeries, FormatLogs))
	}
	if strings.TrimSpace(m.Query) == "" {
		return m, backend.DownstreamError(errors.New("the query is empty: write KQL, such as Connections | where $__timeFilter() | count"))
	}
	return m, nil
}
