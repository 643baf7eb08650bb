package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"gopkg.in/yaml.v3"

	"hubscope/plugin/host"
	"hubscope/query/api"
)

// TestGrafana evaluates what Grafana provisions as Grafana does: query A by the
// built plugin, from an alert rule and for no user, its frames read as numbers,
// and these compared with 0.
func TestGrafana(t *testing.T) {
	access, err := api.OpenAccess("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// For one token there is no event.
	access.Admit("of-nobody", api.Identity{Name: "nobody", Role: api.Reader, Hubs: []string{"no-such-hub"}})
	service := httptest.NewServer(api.NewServer(newEngine(t), api.Config{Access: access}))
	defer service.Close()
	exe, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := host.Start(t.Context(), host.Config{
		Executable: exe, Settings: backend.DataSourceInstanceSettings{UID: "hubscope", URL: service.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer plugin.Close()
	empty := plugin.For(host.Config{Settings: backend.DataSourceInstanceSettings{
		UID: "empty", URL: service.URL, DecryptedSecureJSONData: map[string]string{"token": "of-nobody"},
	}})

	b, err := os.ReadFile(provisioned)
	if err != nil {
		t.Fatal(err)
	}
	var f grafanaFile
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	rules := readRules(t)
	ask := func(t *testing.T, plugin *host.Plugin, r grafanaRule) []row {
		t.Helper()
		a := r.Data[0]
		model := maps.Clone(a.Model)
		// What Grafana adds to the model of an alert rule's query.
		model["intervalMs"], model["maxDataPoints"] = 1000, 43200
		model["query"] = at(textOf(t, rules[r.Title], "30d"), store.now)
		body, err := json.Marshal(model)
		if err != nil {
			t.Fatal(err)
		}
		// Some events are of the next minutes.
		res, err := plugin.QueryData(t.Context(), map[string]string{"FromAlert": "true", "http_X-Rule-Uid": r.UID}, backend.DataQuery{
			RefID: a.RefID, JSON: body, Interval: time.Second, MaxDataPoints: 43200,
			TimeRange: backend.TimeRange{From: store.now.Add(-time.Duration(a.TimeRange["from"]) * time.Second), To: store.now.Add(time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
		answer := res.Responses[a.RefID]
		if answer.Error != nil {
			t.Fatalf("%v: %v", answer.Status, answer.Error)
		}
		rows, err := numbers(answer.Frames)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	results := map[string][]row{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			t.Run(r.Title, func(t *testing.T) {
				if r.Data[0].Model["query"] != rules[r.Title].Expr {
					t.Error("another query than the rule's")
				}
				results[r.Title] = ask(t, plugin, r)
				if rows := ask(t, empty, r); len(rows) > 0 {
					t.Errorf("without events: %v", rows)
				}
			})
		}
	}
	for _, s := range scenarios {
		t.Run(s.hub(), func(t *testing.T) { s.check(t, results[s.rule]) })
	}
}

// numbers reads the frames of a query as Grafana's expressions do
// (pkg/expr, and the data plane contract): a frame that is none of the numeric
// kinds is an error there, a long series above all.
func numbers(frames data.Frames) ([]row, error) {
	var rows []row
	for _, f := range frames {
		if f.Meta == nil || f.Meta.Type.Kind() != data.KindNumeric || f.Meta.TypeVersion.IsZero() {
			return nil, fmt.Errorf("frame %q is not of a numeric kind: %+v", f.Name, f.Meta)
		}
		var values, labels []*data.Field
		for _, field := range f.Fields {
			switch t := field.Type(); {
			case t.Numeric():
				values = append(values, field)
			case t == data.FieldTypeString || t == data.FieldTypeNullableString:
				labels = append(labels, field)
			default:
				return nil, fmt.Errorf("frame %q: field %s is of type %s", f.Name, field.Name, t)
			}
		}
		long := f.Meta.Type == data.FrameTypeNumericLong
		switch {
		case long && len(frames) > 1:
			return nil, fmt.Errorf("%d frames of type %s", len(frames), f.Meta.Type)
		case !long && len(labels) > 0, !long && f.Rows() > 1:
			return nil, fmt.Errorf("frame of type %s with %d rows and fields of text", f.Meta.Type, f.Rows())
		case len(values) != 1 && f.Rows() > 0 && long:
			return nil, fmt.Errorf("%d fields of numbers", len(values))
		}
		for i := range f.Rows() {
			for _, v := range values {
				r := row{labels: map[string]string{}}
				maps.Copy(r.labels, v.Labels)
				for _, l := range labels {
					text, there := l.ConcreteAt(i)
					if !there {
						return nil, fmt.Errorf("field %s is null", l.Name)
					}
					r.labels[l.Name] = text.(string)
				}
				number, err := v.NullableFloatAt(i)
				if err != nil {
					return nil, err
				}
				if number == nil {
					return nil, fmt.Errorf("field %s is null", v.Name)
				}
				r.value = *number
				rows = append(rows, r)
			}
		}
	}
	return rows, nil
}
