package rules

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// provisioned is where Grafana reads the rules from.
const provisioned = "../../deploy/grafana/provisioning/alerting/rules.yaml"

const provisionedHeader = `# Made of the rules in dashboards/rules; do not edit.
# go test ./dashboards/rules -run TestProvisioning -update
`

// The file as Grafana's provisioning reads it (pkg/services/provisioning/alerting,
// AlertingFileV1). deploy/grafana has the strict types.
type grafanaFile struct {
	APIVersion int            `yaml:"apiVersion"`
	Groups     []grafanaGroup `yaml:"groups"`
}

type grafanaGroup struct {
	OrgID    int           `yaml:"orgId"`
	Name     string        `yaml:"name"`
	Folder   string        `yaml:"folder"`
	Interval string        `yaml:"interval"`
	Rules    []grafanaRule `yaml:"rules"`
}

type grafanaRule struct {
	UID           string            `yaml:"uid"`
	Title         string            `yaml:"title"`
	Condition     string            `yaml:"condition"`
	Data          []grafanaQuery    `yaml:"data"`
	DashboardUID  string            `yaml:"dashboardUid"`
	PanelID       string            `yaml:"panelId,omitempty"`
	NoDataState   string            `yaml:"noDataState"`
	ExecErrState  string            `yaml:"execErrState"`
	For           string            `yaml:"for"`
	KeepFiringFor string            `yaml:"keepFiringFor,omitempty"`
	Missing       int               `yaml:"missing_series_evals_to_resolve"`
	Annotations   map[string]string `yaml:"annotations"`
	Labels        map[string]string `yaml:"labels"`
	IsPaused      bool              `yaml:"isPaused"`
}

type grafanaQuery struct {
	RefID         string         `yaml:"refId"`
	TimeRange     map[string]int `yaml:"relativeTimeRange"`
	DatasourceUID string         `yaml:"datasourceUid"`
	Model         map[string]any `yaml:"model"`
}

// provision makes Grafana's form of the rules.
func provision(t testing.TB) grafanaFile {
	f := grafanaFile{APIVersion: 1}
	for _, g := range readGroups(t) {
		group := grafanaGroup{OrgID: 1, Name: g.Name, Folder: "hubscope", Interval: g.Interval.String()}
		for _, r := range g.Rules {
			group.Rules = append(group.Rules, provisionRule(t, r))
		}
		f.Groups = append(f.Groups, group)
	}
	return f
}

func provisionRule(t testing.TB, r rule) grafanaRule {
	// The data source cuts at the range of the request, which is no part of the
	// rule: it only has to be wide enough for startofday and bin.
	from := int(2 * longestAgo(t, r.Expr) / time.Second)
	out := grafanaRule{
		UID: "hubscope" + kebab(r.Alert), Title: r.Alert, Condition: "C",
		Data: []grafanaQuery{
			{RefID: "A", TimeRange: map[string]int{"from": from, "to": 0}, DatasourceUID: "hubscope", Model: map[string]any{
				"refId": "A", "datasource": map[string]any{"type": "hubscope-connections-datasource", "uid": "hubscope"},
				"schemaVersion": 1, "query": r.Expr, "format": "table", "editorMode": "code", "rowLimit": 1000,
			}},
			{RefID: "C", TimeRange: map[string]int{"from": from, "to": 0}, DatasourceUID: "__expr__", Model: map[string]any{
				"refId": "C", "datasource": map[string]any{"type": "__expr__", "uid": "__expr__"},
				"type": "threshold", "expression": "A",
				"conditions": []any{map[string]any{"evaluator": map[string]any{"type": "gt", "params": []int{0}}}},
			}},
		},
		DashboardUID: r.Annotations[dashboardUID], PanelID: r.Annotations[panelID],
		NoDataState: "OK", ExecErrState: "Error", For: r.For.String(),
		// Rows that are gone are what ends most of these alerts.
		Missing:     max(2, int(time.Duration(r.KeepFiringFor)/r.interval)),
		Annotations: map[string]string{}, Labels: map[string]string{},
	}
	if s := r.Annotations[noDataState]; s != "" {
		out.NoDataState = s
	}
	if r.KeepFiringFor > 0 {
		out.KeepFiringFor = r.KeepFiringFor.String()
	}
	for name, text := range r.Annotations {
		if name != noDataState {
			// Neither annotations nor models are searched for variables of the
			// environment, so that a $ is a $.
			out.Annotations[name] = valueOfA(t, text)
		}
	}
	for name, text := range r.Labels {
		out.Labels[name] = strings.ReplaceAll(text, "$", "$$")
	}
	return out
}

// kebab writes TlsDowngrade as -tls-downgrade.
func kebab(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// valueOfA replaces $value, which in Grafana is a text about all queries, by the
// number of query A: 0 if there is none.
func valueOfA(t testing.TB, text string) string {
	var at []int
	variables(templateTree(t, text).Root, func(v *parse.VariableNode) {
		if v.Ident[0] == "$value" {
			at = append(at, int(v.Pos)-len(templateHeader))
		}
	})
	for _, i := range slices.Backward(at) {
		rest, ok := strings.CutPrefix(text[i:], "$value")
		if !ok {
			t.Fatalf("no $value at %d of %s", i, text)
		}
		text = text[:i] + `(index $values "A").Value` + rest
	}
	return text
}

// TestProvisioning: Grafana provisions these rules, and no others.
func TestProvisioning(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(provisionedHeader)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(provision(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(provisioned, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(provisioned)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("%s is not made of these rules; run with -update (-want +got):\n%s", provisioned, diff)
	}
}

// TestAnnotations: Prometheus and Grafana say the same of an alert.
func TestAnnotations(t *testing.T) {
	labels := map[string]string{"Hub": "plant 7", "DeviceId": "pump&1", "TlsVersion": "1.0", "TlsCipher": "X", "Kind": "plain.mqtt", "CaName": "ca", "ResultSignature": "tls.x"}
	for name, r := range readRules(t) {
		p := provisionRule(t, r)
		for a, text := range r.Annotations {
			if a == noDataState {
				if _, there := p.Annotations[a]; there {
					t.Errorf("%s: Grafana has %s", name, a)
				}
				continue
			}
			want := prometheus(t, text, labels, 42.25)
			got := grafana(t, p.Annotations[a], labels, map[string]grafanaValue{"A": {labels, 42.25}, "C": {labels, 1}})
			if want != got || strings.Contains(got, "{{") || strings.Contains(got, "%!") || strings.Contains(got, "no value") {
				t.Errorf("%s: %s: Prometheus says %q, Grafana says %q", name, a, want, got)
			}
			if a == "dashboard" && !strings.HasPrefix(got, "https://grafana.example/d/") {
				t.Errorf("%s: link %q", name, got)
			}
			if a == "dashboard" && strings.Contains(r.Expr, "by Hub, DeviceId") && !strings.Contains(got, "?var-hub=plant+7&var-device=pump%261") {
				t.Errorf("%s: link %q does not name the device", name, got)
			}
		}
		if r.Annotations[noDataState] != "" {
			// Without data there are no labels and no values.
			for a, text := range p.Annotations {
				if got := grafana(t, text, map[string]string{"alertname": "DatasourceNoData"}, nil); strings.Contains(got, "%!") {
					t.Errorf("%s without data: %s: %q", name, a, got)
				}
			}
		}
	}
	got := grafana(t, provisionRule(t, readRules(t)["NoConnectEvents"]).Annotations["summary"], nil, nil)
	if got != "No device has connected to any hub for 7 days" {
		t.Errorf("without data: %q", got)
	}
}
