// Package rules has no code of its own: the alert rules beside it are data. Its
// tests hold their form, evaluate each on events on which it must and must not
// fire, and make what Grafana provisions of them (-update).
package rules

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"hubscope/hub/handshake"
	"hubscope/query"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

var update = flag.Bool("update", false, "write deploy/grafana/provisioning/alerting/rules.yaml")

// file is a rule file as Prometheus reads it; an unknown key is an error. Only
// what our rules use is here.
type file struct {
	Groups []group `yaml:"groups"`
}

type group struct {
	Name     string   `yaml:"name"`
	Interval duration `yaml:"interval"`
	Rules    []rule   `yaml:"rules"`
}

type rule struct {
	Alert         string            `yaml:"alert"`
	Expr          string            `yaml:"expr"`
	For           duration          `yaml:"for"`
	KeepFiringFor duration          `yaml:"keep_firing_for"`
	Labels        map[string]string `yaml:"labels"`
	Annotations   map[string]string `yaml:"annotations"`

	interval time.Duration // of its group
}

// duration is written as Prometheus and Grafana write it: 90s, 5m, 1d12h.
type duration time.Duration

func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := model.ParseDuration(n.Value)
	*d = duration(v)
	return err
}

func (d duration) String() string { return model.Duration(d).String() }

// readGroups returns the groups of all rule files.
func readGroups(t testing.TB) []group {
	t.Helper()
	names, err := filepath.Glob("*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no rule files: %v", err)
	}
	var groups []group
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f file
		d := yaml.NewDecoder(bytes.NewReader(b))
		d.KnownFields(true)
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := d.Decode(new(any)); err != io.EOF {
			t.Errorf("%s: more than one document", name)
		}
		for _, g := range f.Groups {
			for i := range g.Rules {
				g.Rules[i].interval = time.Duration(g.Interval)
			}
			groups = append(groups, g)
		}
	}
	return groups
}

func readRules(t testing.TB) map[string]rule {
	t.Helper()
	rules := map[string]rule{}
	for _, g := range readGroups(t) {
		for _, r := range g.Rules {
			if _, twice := rules[r.Alert]; twice {
				t.Errorf("%s stands twice", r.Alert)
			}
			rules[r.Alert] = r
		}
	}
	return rules
}

// longestAgo is how far back a query looks: the longest timespan in ago().
func longestAgo(t testing.TB, text string) time.Duration {
	t.Helper()
	tree, errs := kql.Parse(text)
	if len(errs) > 0 {
		t.Fatalf("%s\n%v", text, errs)
	}
	longest := int64(0)
	kql.Walk(tree, func(n kql.Node) bool {
		if c, ok := n.(*kql.Call); ok && c.Func.Text == "ago" && len(c.Args) == 1 {
			l, ok := c.Args[0].(*kql.Literal)
			if !ok {
				t.Errorf("ago of something else than a literal, in\n%s", text)
				return false
			}
			longest = max(longest, l.Int)
		}
		return true
	})
	return time.Duration(longest) * 100
}

var alertName = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// TestForm holds what README.md says of the files.
func TestForm(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	e, err := query.New(query.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]bool{}
	for _, g := range readGroups(t) {
		if groups[g.Name] || g.Name == "" {
			t.Errorf("group %q: its name is empty or another's", g.Name)
		}
		groups[g.Name] = true
		// Grafana evaluates at multiples of 10 s.
		if g.Interval <= 0 || time.Duration(g.Interval)%(10*time.Second) != 0 {
			t.Errorf("group %s: interval %v", g.Name, g.Interval)
		}
	}
	for name, r := range readRules(t) {
		t.Run(name, func(t *testing.T) {
			if !alertName.MatchString(name) || len(name) > 30 {
				t.Error("the name is no identifier of Prometheus' kind, or too long for an id in Grafana")
			}
			a := e.Analyze(query.Request{Text: r.Expr})
			if len(a.Errors) > 0 {
				t.Fatalf("%s\n%v", r.Expr, a.Errors)
			}
			values := 0
			var labels []string
			for _, c := range a.Columns {
				switch {
				case c.Type == plan.String && model.LegacyValidation.IsValidLabelName(c.Name):
					labels = append(labels, c.Name)
				case c.Name == "Value" && (c.Type == plan.Long || c.Type == plan.Int || c.Type == plan.Real):
					values++
				default:
					t.Errorf("column %s: %s is neither a label nor the number Value", c.Name, c.Type)
				}
			}
			if values != 1 || !slices.Contains(labels, "Hub") {
				t.Errorf("columns %v: want Hub and one Value", a.Columns)
			}
			for _, id := range []string{"ConnectionId", "TraceId", "IpHash", "CertSerial", "CertThumbprint", "ResultDescription"} {
				if slices.Contains(labels, id) {
					t.Errorf("label %s has a value of its own in each event", id)
				}
			}
			if slices.Contains(labels, "DeviceId") && !regexp.MustCompile(`\| take 500\b`).MatchString(r.Expr) {
				t.Error("an alert for each device, without a bound")
			}
			if ago := longestAgo(t, r.Expr); ago < 2*r.interval {
				t.Errorf("looks back %v, which is less than two intervals of %v: an event that comes late is missed", ago, r.interval)
			}
			if d := time.Duration(r.KeepFiringFor); d%r.interval != 0 {
				t.Errorf("keep_firing_for %v is no multiple of the interval %v", d, r.interval)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Labels["source"] != "hubscope" {
				t.Errorf("labels %v", r.Labels)
			}
			for l, v := range r.Labels {
				if slices.Contains(labels, l) || strings.Contains(v, "$") {
					t.Errorf("label %s: %s", l, v)
				}
			}
			for _, a := range []string{"summary", "description", "dashboard", "runbook", dashboardUID} {
				if r.Annotations[a] == "" {
					t.Errorf("no annotation %s", a)
				}
			}
			if want := "dashboards/rules/README.md#" + strings.ToLower(name); r.Annotations["runbook"] != want {
				t.Errorf("runbook %s, want %s", r.Annotations["runbook"], want)
			}
			if !bytes.Contains(readme, []byte("\n### "+name+"\n")) {
				t.Error("README.md does not say what to do")
			}
			for a, text := range r.Annotations {
				// Grafana replaces ${X} in annotations by a variable of its environment.
				if strings.Contains(text, "${") {
					t.Errorf("annotation %s has a brace behind a dollar", a)
				}
				for _, l := range labelsIn(t, text) {
					if !slices.Contains(labels, l) {
						t.Errorf("annotation %s names label %s, which the query does not have", a, l)
					}
				}
			}
			if s := r.Annotations[noDataState]; s != "" && s != "Alerting" {
				t.Errorf("%s is %q", noDataState, s)
			}
		})
	}
}

// Annotations for machines, which begin with two underscores.
const (
	dashboardUID = "__dashboardUid__" // Grafana's own
	panelID      = "__panelId__"      // Grafana's own
	noDataState  = "__noDataState__"  // what it means that a query has no row
)

// expand executes an annotation's template. What a program defines before the
// text is in header.
func expand(t testing.TB, header, text string, data any) string {
	t.Helper()
	tmpl, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"externalURL": func() string { return "https://grafana.example/" },
		"reReplaceAll": func(pattern, repl, text string) string {
			return regexp.MustCompile(pattern).ReplaceAllString(text, repl)
		},
	}).Parse(header + text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, data); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b.String()
}

// prometheus expands a template as Prometheus does.
func prometheus(t testing.TB, text string, labels map[string]string, value float64) string {
	t.Helper()
	return expand(t, "{{$labels := .Labels}}{{$value := .Value}}", text, struct {
		Labels map[string]string
		Value  float64
	}{labels, value})
}

// grafanaValue is what $values has of a query or expression.
type grafanaValue struct {
	Labels map[string]string
	Value  float64
}

// grafana expands a template as Grafana does.
func grafana(t testing.TB, text string, labels map[string]string, values map[string]grafanaValue) string {
	t.Helper()
	return expand(t, "{{$labels := .Labels}}{{$values := .Values}}{{$value := .Value}}", text, struct {
		Labels map[string]string
		Values map[string]grafanaValue
		Value  string
	}{labels, values, "[ var='A' labels={} value=0 ]"})
}

// templateTree parses a template, with the variables that it may use before it.
const templateHeader = "{{$labels := 0}}{{$value := 0}}"

func templateTree(t testing.TB, text string) *parse.Tree {
	t.Helper()
	tree := parse.New("")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(templateHeader+text, "", "", map[string]*parse.Tree{}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tree
}

// variables calls f for each variable in a template, such as [$labels Hub].
func variables(n parse.Node, f func(*parse.VariableNode)) {
	list := func(l *parse.ListNode) {
		if l != nil {
			variables(l, f)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, c := range n.Nodes {
			variables(c, f)
		}
	case *parse.ActionNode:
		variables(n.Pipe, f)
	case *parse.IfNode:
		variables(n.Pipe, f)
		list(n.List)
		list(n.ElseList)
	case *parse.WithNode:
		variables(n.Pipe, f)
		list(n.List)
		list(n.ElseList)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				variables(a, f)
			}
		}
	case *parse.VariableNode:
		f(n)
	}
}

// labelsIn are the labels that a template names.
func labelsIn(t testing.TB, text string) []string {
	var names []string
	variables(templateTree(t, text).Root, func(v *parse.VariableNode) {
		if v.Ident[0] == "$labels" && len(v.Ident) > 1 {
			names = append(names, v.Ident[1])
		}
	})
	return names
}

// TestRecommendedSuites: the rule has the suites that the hub recommends.
func TestRecommendedSuites(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile(`"(TLS_[A-Z0-9_]+)"`).FindAllStringSubmatch(readRules(t)["WeakCipherConnection"].Expr, -1) {
		got = append(got, m[1])
	}
	var want []string
	for _, id := range handshake.Strict().Suites {
		want = append(want, handshake.SuiteName(id))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}
