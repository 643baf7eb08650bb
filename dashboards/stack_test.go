package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"hubscope/deploy/embed"
	"hubscope/plugin/host"
	"hubscope/plugin/pkg/ds"
	"hubscope/query"
)

// demo starts `hubscope up --demo` and the plugin, as Grafana would run it, and
// returns the plugin and the address of the query service.
func demo(t *testing.T) (*host.Plugin, string) {
	t.Helper()
	if _, err := (embed.Finder{}).Find(); errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "hubscope")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "hubscope/deploy/hubscope").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	plugin, err := host.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ready.json")
	var out bytes.Buffer
	cmd := exec.Command(bin, "up", "--demo", "--data", filepath.Join(dir, "data"), "--ports", "auto", "--ready-file", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-end:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-end
		}
	})
	var ready struct{ Query string }
	for deadline := time.Now().Add(5 * time.Minute); ready.Query == ""; {
		if b, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(b, &ready); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-end:
			end <- err
			t.Fatalf("hubscope up ended: %v\n%s", err, &out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready within 5 minutes:\n%s", &out)
		}
	}
	p, err := host.Start(t.Context(), host.Config{
		Executable: plugin, User: &backend.User{Login: "officer"},
		Settings: backend.DataSourceInstanceSettings{UID: "hubscope", Name: "hubscope", URL: ready.Query, JSONData: []byte(`{"cacheSeconds":-1}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, ready.Query
}

// ages are Grafana's relative times as far as dashboards use them.
func age(t testing.TB, s string) time.Duration {
	t.Helper()
	var n int
	var unit rune
	if _, err := fmt.Sscanf(strings.TrimPrefix(s, "now-"), "%d%c", &n, &unit); err != nil {
		t.Fatalf("range %q: %v", s, err)
	}
	return time.Duration(n) * map[rune]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[unit]
}

// span is the range and the width of a pixel column that Grafana sends with a query.
func (q question) span(t testing.TB, d *Dashboard) (length, interval time.Duration) {
	t.Helper()
	length = age(t, d.Time.From)
	if q.panel == nil {
		return length, length / 100
	}
	if q.panel.TimeFrom != "" {
		length = age(t, q.panel.TimeFrom)
	}
	interval = length / points
	if q.panel.Interval != "" {
		interval = max(interval, age(t, q.panel.Interval))
	}
	return length, interval
}

// points is how many points a panel of a common width has room for.
const points = 600

// A visitor looks at a dashboard with some choices.
type visitor struct {
	since     time.Time // the stack is up
	dashboard *Dashboard
	plugin    *host.Plugin
	variables map[string]ds.Variable
	filters   []ds.Filter
}

// model is the JSON that the frontend makes of a query.
func (v *visitor) model(t testing.TB, q question) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(q.json, &m); err != nil {
		t.Fatal(err)
	}
	variables := map[string]any{}
	for name, value := range v.variables {
		if regexp.MustCompile(`\$\{?` + name + `\b`).MatchString(q.Query) {
			variables[name] = map[string]any{"values": value.Values, "all": value.All, "multi": value.Multi}
		}
	}
	m["variables"] = variables
	if len(v.filters) > 0 {
		m["adHocFilters"] = v.filters
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (v *visitor) ask(t testing.TB, q question) (data.Frames, error) {
	t.Helper()
	length, interval := q.span(t, v.dashboard)
	now := time.Now()
	res, err := v.plugin.QueryData(t.Context(), nil, backend.DataQuery{
		RefID: q.RefID, JSON: v.model(t, q), MaxDataPoints: points, Interval: interval, TimeRange: backend.TimeRange{From: now.Add(-length), To: now},
	})
	if err != nil {
		return nil, err
	}
	r := res.Responses[q.RefID]
	return r.Frames, r.Error
}

// expanded is the KQL that the plugin sends.
func (v *visitor) expanded(t testing.TB, q question, now time.Time) string {
	t.Helper()
	var m ds.Model
	if err := json.Unmarshal(v.model(t, q), &m); err != nil {
		t.Fatal(err)
	}
	length, interval := q.span(t, v.dashboard)
	x, err := ds.Expand(m, backend.TimeRange{From: now.Add(-length), To: now}, interval, points, false)
	if err != nil {
		t.Fatalf("%s: %v", q.where, err)
	}
	return x.Text
}

// visit opens a dashboard as it comes: everything chosen, and the first value
// where there is no All. Values of variables come from ask.
func visit(d *Dashboard, p *host.Plugin, since time.Time) *visitor {
	v := &visitor{since: since, dashboard: d, plugin: p, variables: map[string]ds.Variable{}}
	for _, x := range d.Templating.List {
		switch x.Type {
		case "query":
			v.variables[x.Name] = ds.Variable{All: x.IncludeAll, Multi: x.Multi, Values: ds.Values{"$__all"}}
		case "textbox":
			text, _ := x.Current.Value.(string)
			v.variables[x.Name] = ds.Variable{Values: ds.Values{text}}
		}
	}
	return v
}

// showcase is the demo fleet's device of the documentation: it comes and goes.
const showcase = "pump-0417"

// choices asks for the values of the variables, and chooses the showcase where
// there is no All. With some it chooses the first value of each instead.
func (v *visitor) choices(t *testing.T, some bool) {
	t.Helper()
	for _, q := range v.dashboard.questions(t) {
		if q.variable == nil {
			continue
		}
		values := v.values(t, q)
		switch {
		case !q.variable.IncludeAll && some && len(values) > 0: // of the chosen group
			v.variables[q.variable.Name] = ds.Variable{Values: values[:1]}
		case !q.variable.IncludeAll:
			for !slices.Contains(values, showcase) && time.Since(v.since) < patience {
				time.Sleep(time.Second) // the fleet is still connecting
				values = v.values(t, q)
			}
			if !slices.Contains(values, showcase) {
				t.Errorf("%s: %s is not among %d values", q.where, showcase, len(values))
			}
			v.variables[q.variable.Name] = ds.Variable{Values: ds.Values{showcase}}
		case some && len(values) > 0:
			v.variables[q.variable.Name] = ds.Variable{Multi: q.variable.Multi, Values: values[:1]}
		}
	}
}

// values are what a variable can be.
func (v *visitor) values(t *testing.T, q question) []string {
	t.Helper()
	var values []string
	for _, f := range v.await(t, q) {
		if len(f.Fields) != 1 || f.Fields[0].Type().NonNullableType() != data.FieldTypeString {
			t.Fatalf("%s: its values are no texts: %v", q.where, f.Fields)
		}
		for i := range f.Rows() {
			if text, ok := f.Fields[0].ConcreteAt(i); ok {
				values = append(values, text.(string))
			}
		}
	}
	return values
}

// patience is how long the demo fleet has until it has shown everything.
const patience = 8 * time.Minute

// await asks until there is something to show, which on a stack that has just
// started takes a while: sessions have to end before there is a reason for it.
// It returns nil when there never is.
func (v *visitor) await(t *testing.T, q question) data.Frames {
	t.Helper()
	for ; ; time.Sleep(time.Second) {
		late := time.Since(v.since) > patience
		frames, err := v.ask(t, q)
		switch {
		case err != nil:
			t.Errorf("%s: %v\n%s", q.where, err, q.Query)
			return nil
		case q.answered(frames):
			return frames
		case late:
			t.Errorf("%s: shows nothing on the demo fleet after %v\n%s", q.where, patience, q.Query)
			return nil
		}
	}
}

// something: there is a row.
func something(frames data.Frames) bool {
	return slices.ContainsFunc(frames, func(f *data.Frame) bool { return f.Rows() > 0 })
}

// answered: there is a row with a value, or with what the panel has words for.
// An aggregate of no rows yet is a row of nulls.
func (q question) answered(frames data.Frames) bool {
	if q.panel != nil && q.panel.tellsNull() {
		return something(frames)
	}
	for _, f := range frames {
		for _, field := range f.Fields {
			for i := range field.Len() {
				if _, ok := field.ConcreteAt(i); ok {
					return true
				}
			}
		}
	}
	return false
}

// TestShown opens every dashboard on the demo fleet, through the plugin: nothing
// fails, no panel is empty, and what a panel gets is what it can draw.
func TestShown(t *testing.T) {
	plugin, service := demo(t)
	since := time.Now()
	// Grafana evaluates rules: dashboard pipeline tells how these do.
	rule := []byte(`{"schemaVersion": 1, "query": "Devices | where WouldFailStrict | summarize Devices = count() by Hub"}`)
	if res, err := plugin.QueryData(t.Context(), map[string]string{backend.FromAlertHeaderName: "true"}, backend.DataQuery{
		RefID: "A", JSON: rule, TimeRange: backend.TimeRange{From: since.Add(-time.Hour), To: since},
	}); err != nil || res.Responses["A"].Error != nil {
		t.Fatal(err, res)
	}
	list := read(t)
	t.Run("all", func(t *testing.T) { // ends when its parts have
		for _, d := range list {
			t.Run(d.UID, func(t *testing.T) {
				t.Parallel() // they wait for the fleet together
				shown(t, d, plugin, since)
			})
		}
	})
	checkRollups(t, service, list)
}

func shown(t *testing.T, d *Dashboard, plugin *host.Plugin, since time.Time) {
	v := visit(d, plugin, since)
	v.choices(t, false)
	for _, q := range d.questions(t) {
		switch {
		case q.panel != nil:
			if frames := v.await(t, q); frames != nil {
				checkFrames(t, q, frames)
			}
		case q.variable == nil && strings.Contains(q.Query, "${deadline"):
			// A day to come is in no range that ends now.
			frames, err := v.ask(t, q)
			if err != nil || something(frames) {
				t.Errorf("%s: %v %v\n%s", q.where, frames, err, q.Query)
				continue
			}
			checkAnnotation(t, q, frames)
		case q.variable == nil:
			if frames := v.await(t, q); frames != nil {
				checkAnnotation(t, q, frames)
			}
		}
	}
	// The same with something chosen, and with a filter: another text reaches
	// the service, and nothing may fail.
	chosen := visit(d, plugin, since)
	chosen.choices(t, true)
	if slices.ContainsFunc(d.Templating.List, func(v Variable) bool { return v.Type == "adhoc" }) {
		chosen.filters = []ds.Filter{{Key: "Hub", Operator: "=~", Value: "^[a-z]"}, {Key: "TlsVersion", Operator: "=|", Values: ds.Values{"1.0", "1.2"}}}
	}
	for _, q := range d.questions(t) {
		if _, err := chosen.ask(t, q); err != nil {
			t.Errorf("%s, with choices: %v\n%s", q.where, err, q.Query)
		}
	}
}

// checkFrames: a panel of this kind can draw these frames, and its overrides,
// links and options name fields that they have.
func checkFrames(t *testing.T, q question, frames data.Frames) {
	p := q.panel
	fail := func(format string, args ...any) { t.Errorf("%s: %s", q.where, fmt.Sprintf(format, args...)) }
	for _, f := range frames {
		for _, n := range f.Meta.Notices {
			if n.Severity != data.NoticeSeverityInfo {
				fail("notice: %s", n.Text)
			}
		}
	}
	if frames[0].Meta.ExecutedQueryString == "" {
		fail("does not tell what was executed")
	}
	names := map[string]*data.Field{} // as Grafana shows them
	numbers, texts, times := 0, 0, 0
	for _, f := range frames {
		for _, field := range f.Fields {
			names[displayName(field)] = field
			switch {
			case field.Type().Numeric():
				numbers++
			case field.Type().Time():
				times++
			case field.Type().NonNullableType() == data.FieldTypeString:
				texts++
			}
		}
	}
	switch p.Type {
	case "timeseries":
		for _, f := range frames {
			kind := f.Meta.Type
			if kind != data.FrameTypeTimeSeriesMulti && kind != data.FrameTypeTimeSeriesWide {
				fail("gets a frame of type %q", kind)
			}
			if !f.Fields[0].Type().Time() || len(f.Fields) < 2 {
				fail("gets no time and number: %v", f.Fields)
			}
			for i := 1; i < f.Rows(); i++ {
				a, _ := f.Fields[0].ConcreteAt(i - 1)
				b, _ := f.Fields[0].ConcreteAt(i)
				if !a.(time.Time).Before(b.(time.Time)) {
					fail("the times do not rise")
				}
			}
		}
		if len(frames) > 40 {
			fail("draws %d series, which nobody can tell apart", len(frames))
		}
	case "stat", "piechart", "bargauge":
		if len(frames) != 1 {
			fail("gets %d frames", len(frames))
		}
		switch {
		case p.Options.ReduceOptions.Fields == "/.*/":
			if texts != 1 || numbers > 0 || frames[0].Rows() != 1 {
				fail("shows one text, gets %d texts and %d numbers in %d rows", texts, numbers, frames[0].Rows())
			}
		case p.Options.ReduceOptions.Values:
			if texts != 1 || numbers != 1 {
				fail("shows a number with its name, gets %d texts and %d numbers", texts, numbers)
			}
		default:
			if numbers == 0 || texts+times > 0 || frames[0].Rows() != 1 {
				fail("shows numbers, gets %d, %d texts and %d times, in %d rows", numbers, texts, times, frames[0].Rows())
			}
			for _, f := range frames[0].Fields {
				if _, ok := f.ConcreteAt(0); !ok && !p.tellsNull() {
					fail("%s is null", f.Name)
				}
			}
		}
	case "barchart":
		if len(frames) != 1 || names[p.Options.XField] == nil || texts != 1 || numbers == 0 {
			fail("draws numbers by %q, gets %d numbers and %d texts: %v", p.Options.XField, numbers, texts, frames[0].Fields)
		}
	case "table":
		if len(frames) != 1 {
			fail("shows one frame, gets %d", len(frames))
		}
		for _, s := range p.Options.SortBy {
			if names[s.DisplayName] == nil {
				fail("is sorted by %q, which is not there", s.DisplayName)
			}
		}
		checkUnits(t, q, names)
	case "state-timeline":
		if len(frames) != 1 || times != 1 || len(frames[0].Fields) < 2 || !frames[0].Fields[0].Type().Time() {
			fail("gets no time and states: %v", frames[0].Fields)
		}
		for i := 1; i < frames[0].Rows(); i++ {
			a, _ := frames[0].Fields[0].ConcreteAt(i - 1)
			b, _ := frames[0].Fields[0].ConcreteAt(i)
			if b.(time.Time).Before(a.(time.Time)) {
				fail("the times fall")
			}
		}
	case "logs":
		if len(frames) != 1 || frames[0].Meta.Type != data.FrameTypeLogLines || times == 0 {
			fail("gets no lines of a log: %v", frames[0].Meta)
		}
	default:
		fail("nobody knows what a %s can draw", p.Type)
	}
	// What the data source says of a field wins over the panel's defaults.
	for name, field := range names {
		if field.Config != nil && field.Config.Unit != "" && field.Config.Unit != p.FieldConfig.Defaults.Unit && !p.overrides(name, "unit") {
			fail("%s has the data source's unit %q, not the panel's", name, field.Config.Unit)
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		field := names[o.Matcher.Options]
		if field == nil {
			fail("has an override for %q, gets %q", o.Matcher.Options, keys(names))
			continue
		}
		for _, property := range o.Properties {
			if property.ID == "links" && names["Hub"] == nil {
				fail("links to a device and has no column Hub")
			}
		}
	}
	if p.Type == "table" {
		for _, name := range []string{"Device", "DeviceId", "Claimed id"} {
			if names[name] != nil && !p.overrides(name, "links") {
				fail("column %s does not lead to the device", name)
			}
		}
	}
}

// tellsNull says that nulls have a text of their own.
func (p *Panel) tellsNull() bool {
	return slices.ContainsFunc(p.FieldConfig.Defaults.Mappings, func(m Mapping) bool {
		return m.Type == "special" && strings.Contains(string(m.Options), `"null"`)
	})
}

// overrides says that the panel sets a property of a field.
func (p *Panel) overrides(field, property string) bool {
	for _, o := range p.FieldConfig.Overrides {
		for _, x := range o.Properties {
			if o.Matcher.Options == field && x.ID == property {
				return true
			}
		}
	}
	return false
}

// checkUnits: every number of a table has a unit; texts have none, or Grafana
// would read the number out of "1.0".
func checkUnits(t *testing.T, q question, names map[string]*data.Field) {
	if q.panel.FieldConfig.Defaults.Unit != "" {
		t.Errorf("%s: a unit for all columns is one for texts too", q.where)
	}
	for name, f := range names {
		needs := f.Type().Numeric() || f.Type().Time()
		if has := q.panel.overrides(name, "unit"); needs != has {
			t.Errorf("%s: column %s of type %v has a unit: %v", q.where, name, f.Type(), has)
		}
	}
}

func checkAnnotation(t *testing.T, q question, frames data.Frames) {
	names := map[string]bool{}
	for _, f := range frames {
		for _, field := range f.Fields {
			names[strings.ToLower(field.Name)] = true
			if strings.EqualFold(field.Name, "TimeGenerated") != field.Type().Time() {
				t.Errorf("%s: %s is of type %v", q.where, field.Name, field.Type())
			}
		}
	}
	for _, want := range []string{"timegenerated", "title", "text", "tags"} {
		if !names[want] {
			t.Errorf("%s: has no column %s", q.where, want)
		}
	}
}

// displayName is Grafana's name of a field (getFieldDisplayName), for fields
// whose label is not alone.
func displayName(f *data.Field) string {
	if f.Config != nil && f.Config.DisplayNameFromDS != "" {
		return f.Config.DisplayNameFromDS
	}
	return f.Name
}

func keys(m map[string]*data.Field) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// checkRollups: over its usual range, a panel with rates or shares of everything
// is answered from counts, so that it stays quick when there are many events.
func checkRollups(t *testing.T, service string, list []*Dashboard) {
	for _, d := range list {
		v := visit(d, nil, time.Now())
		v.variables["device"] = ds.Variable{Values: ds.Values{showcase}}
		for _, q := range d.questions(t) {
			if q.panel == nil || !strings.Contains(q.panel.Description, "answered from counts") {
				continue
			}
			body, err := json.Marshal(map[string]string{"query": v.expanded(t, q, time.Now())})
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Post(service+"/api/v1/explain", "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var x struct{ Rollup, RollupWhyNot string }
			err = json.NewDecoder(resp.Body).Decode(&x)
			resp.Body.Close()
			if err != nil || x.Rollup == "" || x.RollupWhyNot != "" {
				t.Errorf("%s: is not answered from counts: %s %v", q.where, x.RollupWhyNot, err)
			}
		}
	}
}

// TestOfficialParser: Microsoft's KQL parser and binder take every query, as it is
// sent, and find the columns that the engine finds.
func TestOfficialParser(t *testing.T) {
	const folder = "../query/testdata/oracle"
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(folder + "/node_modules"); err != nil || errors.Is(missing, fs.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatal("the official binder is not installed: npm ci in query/testdata/oracle, with node")
		}
		t.Skip("the official binder is not installed: npm ci in query/testdata/oracle")
	}
	engine, err := query.New(query.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]string{}
	for _, table := range engine.Catalog().Tables() {
		var columns []string
		for _, c := range table.Columns {
			columns = append(columns, c.Name+": "+c.Type.String())
		}
		tables[table.Name] = "(" + strings.Join(columns, ", ") + ")"
	}
	type sent struct{ where, text string }
	var all []sent
	var in bytes.Buffer
	now := time.Date(2026, 11, 23, 12, 34, 56, 0, time.UTC)
	for _, d := range read(t) {
		everything, some := visit(d, nil, now), visit(d, nil, now)
		everything.variables["device"] = ds.Variable{Values: ds.Values{`pump-"0417`}}
		for name, v := range some.variables {
			if v.All || name == "device" {
				some.variables[name] = ds.Variable{Multi: v.Multi, Values: ds.Values{`it's`, `a "b"\`}[:map[bool]int{true: 2, false: 1}[v.Multi]]}
			}
		}
		some.filters = []ds.Filter{{Key: "Hub", Operator: "!~", Value: `"x`}}
		for _, q := range d.questions(t) {
			for _, v := range []*visitor{everything, some} {
				text := v.expanded(t, q, now)
				all = append(all, sent{q.where, text})
				if err := json.NewEncoder(&in).Encode(map[string]any{"query": text, "tables": tables}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, folder+"/bind.mjs")
	cmd.Stdin, cmd.Stderr = &in, t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for _, q := range all {
		type column struct{ Name, Type string }
		var answer struct {
			Columns []column
			Error   string
		}
		if err := d.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if answer.Error != "" {
			t.Errorf("%s: %s\n%s", q.where, answer.Error, q.text)
			continue
		}
		a := engine.Analyze(query.Request{Text: q.text, Now: now})
		if len(a.Errors) > 0 {
			t.Errorf("%s: %v\n%s", q.where, a.Errors, q.text)
			continue
		}
		var got []column
		for _, c := range a.Columns {
			got = append(got, column{c.Name, c.Type.String()})
		}
		if !slices.Equal(got, answer.Columns) {
			t.Errorf("%s: columns are %v, officially %v\n%s", q.where, got, answer.Columns, q.text)
		}
	}
}
