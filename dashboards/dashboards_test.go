// Package dashboards has no code of its own: it holds Grafana dashboards, as
// classic JSON that is edited by hand or saved from Grafana, and the tests that
// they keep their rules, fit Grafana's types, and show something on a real stack.
package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const pluginType = "hubscope-connections-datasource"

// A Dashboard is what the tests read of a file.
type Dashboard struct {
	file string
	raw  []byte

	UID           string
	Title         string
	Description   string
	Tags          []string
	SchemaVersion int
	Timezone      string
	Refresh       string
	Time          struct{ From, To string }
	Links         []struct {
		Type, Title                        string
		Tags                               []string
		KeepTime, IncludeVars, TargetBlank bool
	}
	Annotations struct{ List []Annotation }
	Templating  struct{ List []Variable }
	Panels      []Panel
}

// An Annotation asks for events that lie over the graphs.
type Annotation struct {
	Name, IconColor string
	Enable          bool
	Target          json.RawMessage
}

// A Variable is chosen at the top of a dashboard.
type Variable struct {
	Name, Type, Label, Description string
	Multi, IncludeAll              bool
	Query                          json.RawMessage
	Current                        struct{ Value any }
}

// Target is a query as the plugin gets it.
type Target struct {
	RefID    string
	Query    string
	Format   string
	RowLimit int64
	Purpose  string
}

// A Panel is one of the pictures.
type Panel struct {
	ID                       int
	Type, Title, Description string
	TimeFrom, Interval       string
	GridPos                  struct{ H, W, X, Y int }
	Collapsed                bool
	Panels                   []Panel
	Targets                  []json.RawMessage
	FieldConfig              struct {
		Defaults  Config
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options struct {
		XField        string
		SortBy        []struct{ DisplayName string }
		ReduceOptions struct {
			Values bool
			Fields string
		}
	}
}

// Config is how a field is shown.
type Config struct {
	Unit, NoValue string
	DisplayName   string
	Color         struct{ Mode, FixedColor string }
	Thresholds    *struct{ Steps []struct{ Color string } }
	Mappings      []Mapping
	Links         []Link
	Custom        map[string]json.RawMessage
}

// Mapping gives values texts and colours.
type Mapping struct {
	Type    string
	Options json.RawMessage
}

// Link leads from a cell elsewhere.
type Link struct {
	Title, URL  string
	TargetBlank bool
}

// read returns all dashboards of the folder.
func read(t testing.TB) []*Dashboard {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []*Dashboard
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := &Dashboard{file: file, raw: b}
		if err := json.Unmarshal(b, d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, d)
	}
	return list
}

// A question is a query of a dashboard, and where it stands.
type question struct {
	where string
	json  json.RawMessage
	Target
	panel    *Panel    // of panels
	variable *Variable // of variables
}

func (d *Dashboard) question(t testing.TB, where string, target json.RawMessage) question {
	t.Helper()
	q := question{where: d.UID + ": " + where, json: target}
	if err := json.Unmarshal(target, &q.Target); err != nil {
		t.Fatalf("%s: %v", q.where, err)
	}
	return q
}

// questions returns every query: those of variables first, in their order.
func (d *Dashboard) questions(t testing.TB) []question {
	t.Helper()
	var list []question
	for i, v := range d.Templating.List {
		if v.Type == "query" {
			q := d.question(t, "variable "+v.Name, v.Query)
			q.variable = &d.Templating.List[i]
			list = append(list, q)
		}
	}
	for _, a := range d.Annotations.List {
		list = append(list, d.question(t, "annotation "+a.Name, a.Target))
	}
	for i := range d.Panels {
		for _, target := range d.Panels[i].Targets {
			q := d.question(t, fmt.Sprintf("panel %q", d.Panels[i].Title), target)
			q.panel = &d.Panels[i]
			list = append(list, q)
		}
	}
	return list
}

// TestBundle: the six dashboards are those that the plugin bundles.
func TestBundle(t *testing.T) {
	want := map[string]string{}
	for _, d := range read(t) {
		if d.UID+".json" != d.file {
			t.Errorf("%s has the uid %q", d.file, d.UID)
		}
		want["dashboards/"+d.file] = d.Title
	}
	b, err := os.ReadFile("../plugin/src/plugin.json")
	if err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		ID       string
		Includes []struct{ Type, Name, Path string }
	}
	if err := json.Unmarshal(b, &plugin); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, i := range plugin.Includes {
		if i.Type == "dashboard" {
			got[i.Path] = i.Name
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("plugin.json includes %v, the folder has %v", got, want)
	}
	names := []string{"connections", "identity-and-certs", "pipeline", "tls-ciphers", "tls-compliance", "tls-device"}
	for _, n := range names {
		if want["dashboards/"+n+".json"] == "" {
			t.Errorf("%s is missing", n)
		}
	}
}

// TestDashboards holds what makes the six one whole.
func TestDashboards(t *testing.T) {
	for _, d := range read(t) {
		t.Run(d.UID, func(t *testing.T) {
			var tidy bytes.Buffer
			if err := json.Indent(&tidy, d.raw, "", "  "); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bytes.TrimRight(tidy.Bytes(), "\n"), bytes.TrimRight(d.raw, "\n")) || !bytes.HasSuffix(d.raw, []byte("}\n")) {
				t.Error("is not formatted: two spaces, a newline at the end")
			}
			if d.SchemaVersion != 42 || d.Title == "" || d.Description == "" || d.Timezone != "utc" || d.Time.To != "now" || d.Refresh == "" {
				t.Errorf("schema version %d, title %q, description %q, time zone %q (days are UTC), range %v, refresh %q", d.SchemaVersion, d.Title, d.Description, d.Timezone, d.Time, d.Refresh)
			}
			if !slices.Contains(d.Tags, "hubscope") {
				t.Error("has no tag hubscope, which the links go by")
			}
			if len(d.Links) != 1 || d.Links[0].Type != "dashboards" || !slices.Equal(d.Links[0].Tags, []string{"hubscope"}) || !d.Links[0].KeepTime || !d.Links[0].IncludeVars || d.Links[0].TargetBlank {
				t.Errorf("links to the others, by tag, with time and variables: %+v", d.Links)
			}
			var tree any
			if err := json.Unmarshal(d.raw, &tree); err != nil {
				t.Fatal(err)
			}
			if m := tree.(map[string]any); m["id"] != nil {
				t.Error("has an id, which belongs to one Grafana")
			}
			sources(t, "", tree)
			d.checkGrid(t)
			d.checkVariables(t)
			for i := range d.Panels {
				d.checkPanel(t, &d.Panels[i])
			}
		})
	}
}

// sources holds that every data source is the chosen one.
func sources(t *testing.T, path string, x any) {
	switch x := x.(type) {
	case map[string]any:
		for k, v := range x {
			if k == "datasource" {
				if ds, _ := v.(map[string]any); len(ds) != 2 || ds["type"] != pluginType || ds["uid"] != "${ds}" {
					t.Errorf("%s.datasource is %v, not the one of variable ds", path, v)
				}
				continue
			}
			sources(t, path+"."+k, v)
		}
	case []any:
		for i, v := range x {
			sources(t, fmt.Sprintf("%s[%d]", path, i), v)
		}
	}
}

// checkGrid: the panels tile the 24 columns, without overlap and without holes.
func (d *Dashboard) checkGrid(t *testing.T) {
	type cell struct{ x, y int }
	taken := map[cell]string{}
	bottom := 0
	ids := map[int]bool{}
	for _, p := range d.Panels {
		g := p.GridPos
		if p.ID <= 0 || ids[p.ID] {
			t.Errorf("panel %q: id %d is none, or taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g.X < 0 || g.Y < 0 || g.W < 3 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q lies outside of the grid: %+v", p.Title, g)
			continue
		}
		if p.Type == "row" && (g.X != 0 || g.W != 24 || g.H != 1 || p.Collapsed || len(p.Panels) > 0) {
			t.Errorf("row %q: %+v", p.Title, g)
		}
		for y := g.Y; y < g.Y+g.H; y++ {
			for x := g.X; x < g.X+g.W; x++ {
				if other := taken[cell{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				taken[cell{x, y}] = p.Title
			}
		}
		bottom = max(bottom, g.Y+g.H)
	}
	if len(taken) != bottom*24 {
		t.Errorf("the panels leave %d cells of %d empty", bottom*24-len(taken), bottom*24)
	}
}

var variableName = regexp.MustCompile(`\$\{?([a-zA-Z]\w*)`)

// checkVariables: those that are used exist, those that exist are used.
func (d *Dashboard) checkVariables(t *testing.T) {
	declared := map[string]bool{}
	for _, v := range d.Templating.List {
		if declared[v.Name] || v.Label == "" || v.Description == "" {
			t.Errorf("variable %s: there twice, or without label %q and description %q", v.Name, v.Label, v.Description)
		}
		declared[v.Name] = true
		if v.Multi != v.IncludeAll {
			t.Errorf("variable %s: several values without All, or All without several", v.Name)
		}
		if v.Type == "datasource" {
			var of string
			if json.Unmarshal(v.Query, &of); of != pluginType || v.Name != "ds" {
				t.Errorf("variable %s is of data sources of type %q", v.Name, of)
			}
		}
	}
	if !declared["ds"] || !declared["hub"] {
		t.Error("has no variable ds, or no hub")
	}
	used := map[string]bool{}
	for _, m := range variableName.FindAllSubmatch(d.raw, -1) {
		if name := string(m[1]); !strings.HasPrefix(name, "__") {
			used[name] = true
		}
	}
	for _, q := range d.questions(t) {
		if strings.Contains(q.Query, "$__adhocFilters") {
			used["filters"] = true
		}
	}
	for name := range used {
		if !declared[name] {
			t.Errorf("variable %s is used and not there", name)
		}
	}
	for name := range declared {
		if !used[name] {
			t.Errorf("variable %s is not used", name)
		}
	}
	// One choice means the same everywhere: what names devices is filtered alike.
	for _, q := range d.questions(t) {
		if q.panel == nil {
			continue
		}
		for variable, tables := range map[string]string{"$hub": "Connections|Devices|AzureMetrics", "$node": "PipelineMetrics|QueryLog"} {
			if regexp.MustCompile(`(?m)^\s*(`+tables+`)$`).MatchString(q.Query) && !strings.Contains(q.Query, variable) {
				t.Errorf("%s does not heed %s", q.where, variable)
			}
		}
	}
}

var (
	tableName = regexp.MustCompile(`(?m)^\s*(Connections|Devices|AzureMetrics|PipelineMetrics|QueryLog|Audit)$`)
	bounded   = regexp.MustCompile(`\$__timeFilter|\$__timeFrom|DeviceId == \$device`)
)

// versionColors are those of the TLS versions, on all dashboards: of the palette
// of Okabe and Ito, which people who do not see red and green apart can tell.
var versionColors = map[string]string{"1.0": "#D55E00", "1.1": "#E69F00", "1.2": "#0072B2", "1.3": "#009E73"}

func (d *Dashboard) checkPanel(t *testing.T, p *Panel) {
	if p.Title == "" {
		t.Errorf("panel %d has no title", p.ID)
	}
	if p.Type == "row" {
		return
	}
	where := func(format string, args ...any) { t.Errorf("panel %q: %s", p.Title, fmt.Sprintf(format, args...)) }
	if len(p.Description) < 60 || !strings.HasSuffix(p.Description, ".") {
		where("the description says little: %q", p.Description)
	}
	if p.Type == "alertlist" { // it asks Grafana, not the data source
		if len(p.Targets) > 0 {
			where("has queries that nobody asks")
		}
		return
	}
	if len(p.Targets) != 1 {
		where("has %d queries", len(p.Targets))
		return
	}
	q := d.question(t, p.Title, p.Targets[0])
	for _, m := range tableName.FindAllStringSubmatch(q.Query, -1) {
		if !strings.Contains(p.Description, m[1]) {
			where("the description does not say that it reads %s", m[1])
		}
		if !bounded.MatchString(q.Query) {
			where("nothing bounds the time of its query")
		}
		// The range holds besides, and would cut a window that is counted from now:
		// five minutes of the last fifteen would be shown as fifteen.
		if strings.Contains(q.Query, "TimeGenerated >= ago(") || strings.Contains(q.Query, "TimeGenerated > ago(") {
			where("has a window of its own in the query, not in timeFrom")
		}
	}
	c := p.FieldConfig.Defaults
	if p.Type != "logs" && c.NoValue == "" {
		where("says nothing when there is nothing")
	}
	if (c.Color.Mode == "thresholds") != (c.Thresholds != nil) {
		where("colours by thresholds and has none, or has them and does not")
	}
	if p.Type == "timeseries" && q.Format != "time_series" || p.Type == "logs" && q.Format != "logs" || p.Type != "timeseries" && p.Type != "logs" && q.Format != "table" {
		where("is a %s and asks for %s", p.Type, q.Format)
	}
	mappings := slices.Clone(c.Mappings)
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID != "byName" || o.Matcher.Options == "" || len(o.Properties) == 0 {
			where("override of %+v", o.Matcher)
		}
		has := map[string]json.RawMessage{}
		for _, property := range o.Properties {
			if has[property.ID] != nil {
				where("override of %s sets %s twice", o.Matcher.Options, property.ID)
			}
			has[property.ID] = property.Value
		}
		if raw, ok := has["mappings"]; ok {
			var list []Mapping
			if err := json.Unmarshal(raw, &list); err != nil {
				t.Fatal(err)
			}
			mappings = append(mappings, list...)
		}
		if version, ok := strings.CutPrefix(o.Matcher.Options, "TLS "); ok && versionColors[version] != "" {
			var color struct{ Mode, FixedColor string }
			if json.Unmarshal(has["color"], &color); color.Mode != "fixed" || color.FixedColor != versionColors[version] {
				where("%s has the colour %+v", o.Matcher.Options, color)
			}
		}
		if raw, ok := has["links"]; ok {
			var links []Link
			if err := json.Unmarshal(raw, &links); err != nil {
				t.Fatal(err)
			}
			checkLinks(t, p, links)
		}
	}
	for _, m := range mappings {
		var values map[string]struct{ Color string }
		if m.Type != "value" || json.Unmarshal(m.Options, &values) != nil {
			continue
		}
		for version, color := range versionColors {
			if v, ok := values[version]; ok && v.Color != color {
				where("TLS %s has the colour %s", version, v.Color)
			}
		}
	}
}

// checkLinks: a device's name leads to its dashboard, with the time, the data
// source and the hub.
func checkLinks(t *testing.T, p *Panel, links []Link) {
	for _, l := range links {
		path, query, _ := strings.Cut(l.URL, "?")
		parts := strings.Split(query, "&")
		want := []string{"${ds:queryparam}", "var-hub=${__data.fields.Hub:percentencode}", "var-device=${__value.raw:percentencode}", "${__url_time_range}"}
		if path != "/d/tls-device/tls-device" || !slices.Equal(parts, want) || l.TargetBlank || l.Title == "" {
			t.Errorf("panel %q: link %+v", p.Title, l)
		}
	}
}
