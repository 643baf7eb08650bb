package ds

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func TestReadModel(t *testing.T) {
	tests := []struct {
		name, text string
		want       Model
		err        string
	}{
		{"whole", `{"refId":"A","datasource":{"uid":"x"},"schemaVersion":1,"query":"T","format":"logs","editorMode":"builder","builder":{"a":[1]},"rowLimit":7,"purpose":"logs-volume",
			"variables":{"hub":{"values":["a","b"],"all":false,"multi":true}},"adHocFilters":[{"key":"Hub","operator":"=","value":"a","values":["a"]}],"intervalMs":1000,"hide":false}`,
			Model{1, "T", FormatLogs, 7, map[string]Variable{"hub": {Values: Values{"a", "b"}, Multi: true}}, []Filter{{"Hub", "=", "a", Values{"a"}}}, "logs-volume"}, ""},
		{"before versions were counted", `{"query":"T"}`, Model{SchemaVersion: 1, Query: "T", Format: FormatTable}, ""},
		{"values of other kinds", `{"query":"T","variables":{"a":{"values":"x"},"b":{"values":[1,2.5,true,null]},"c":{"all":true},"d":{"values":null}}}`,
			Model{1, "T", FormatTable, 0, map[string]Variable{"a": {Values: Values{"x"}}, "b": {Values: Values{"1", "2.5", "true"}}, "c": {All: true}, "d": {Values: Values{}}}, nil, ""}, ""},
		{"newer", `{"query":"T","schemaVersion":2}`, Model{}, "newer version"},
		{"format", `{"query":"T","format":"long"}`, Model{}, `unknown format "long"`},
		{"empty", `{"query":" \n"}`, Model{}, "is empty"},
		{"no query", `{}`, Model{}, "is empty"},
		{"no JSON", `{`, Model{}, "cannot be read"},
		{"other kinds", `{"query":5}`, Model{}, "cannot be read"},
		{"an object for a value", `{"query":"T","variables":{"a":{"values":[{}]}}}`, Model{}, "cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readModel([]byte(tt.text))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !backend.IsDownstreamError(err) {
					t.Errorf("%v", err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// TestVariableAll: "All" comes as a flag, or as the value that Grafana has for it.
func TestVariableAll(t *testing.T) {
	for _, v := range []Variable{{All: true}, {Values: Values{all}}, {Values: Values{all, "a"}}} {
		if _, everything := v.chosen(); !everything {
			t.Errorf("%+v is not everything", v)
		}
	}
	if values, everything := (Variable{Values: Values{"a"}}).chosen(); everything || len(values) != 1 {
		t.Errorf("%v %v", values, everything)
	}
}
