// Package grafana has no code: it is what Grafana is configured with. Its tests
// read each file as Grafana reads it, but refuse what Grafana would pass over,
// and run the built plugin with the data source that is provisioned.
package grafana

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/hub/ca"
	"hubscope/plugin/host"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
)

// text is a value in which Grafana replaces variables (values.StringValue).
type text string

// environment is what variables stand for; nil refuses all of them.
type environment map[string]string

// files are what $__file{} reads.
type files map[string]string

// expand replaces variables as Grafana does: $__file{PATH} and ${X}, then $X; $$
// is a dollar.
func expand(t testing.TB, s text, env environment, f files) string {
	t.Helper()
	parts := strings.Split(string(s), "$$")
	for i, part := range parts {
		part = regexp.MustCompile(`\$__(\w+)\{([^}]+)\}`).ReplaceAllStringFunc(part, func(m string) string {
			name, ok := strings.CutPrefix(m, "$__file{")
			content, there := f[strings.TrimSuffix(name, "}")]
			if !ok || !there {
				t.Errorf("%s is not what Grafana can read here", m)
			}
			return strings.TrimSpace(content)
		})
		parts[i] = os.Expand(part, func(name string) string {
			v, ok := env[name]
			if !ok {
				t.Errorf("%q: variable %s is not set", s, name)
			}
			return v
		})
	}
	return strings.Join(parts, "$")
}

// read decodes a file strictly.
func read[T any](t testing.TB, path string) (v T) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if err := d.Decode(new(any)); err != io.EOF {
		t.Errorf("%s: more than one document", path)
	}
	return v
}

// Pkg/services/provisioning/datasources, configsV1.
type datasourcesFile struct {
	APIVersion  int          `yaml:"apiVersion"`
	Datasources []datasource `yaml:"datasources"`
}

type datasource struct {
	OrgID          int             `yaml:"orgId"`
	Name           text            `yaml:"name"`
	UID            text            `yaml:"uid"`
	Type           text            `yaml:"type"`
	Access         text            `yaml:"access"`
	URL            text            `yaml:"url"`
	IsDefault      bool            `yaml:"isDefault"`
	Editable       bool            `yaml:"editable"`
	JSONData       map[string]any  `yaml:"jsonData"`
	SecureJSONData map[string]text `yaml:"secureJsonData"`
}

// settings are those that Grafana hands to the plugin.
func (d datasource) settings(t testing.TB, env environment, f files) backend.DataSourceInstanceSettings {
	t.Helper()
	data := maps.Clone(d.JSONData)
	for k, v := range data {
		if s, ok := v.(string); ok {
			data[k] = expand(t, text(s), env, f)
		}
	}
	b, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{}
	for k, v := range d.SecureJSONData {
		secrets[k] = expand(t, v, env, f)
	}
	return backend.DataSourceInstanceSettings{
		UID: expand(t, d.UID, env, f), Name: expand(t, d.Name, env, f), Type: expand(t, d.Type, env, f), URL: expand(t, d.URL, env, f),
		JSONData: b, DecryptedSecureJSONData: secrets,
	}
}

// TestDatasource: what is provisioned makes a working data source, against a
// service with TLS and a token.
func TestDatasource(t *testing.T) {
	f := read[datasourcesFile](t, "provisioning/datasources/hubscope.yaml")
	if f.APIVersion != 1 || len(f.Datasources) != 1 {
		t.Fatalf("%+v", f)
	}
	d := f.Datasources[0]
	if d.UID != "hubscope" || d.Type != host.PluginID || d.Access != "proxy" || d.OrgID != 1 {
		t.Errorf("%+v", d)
	}

	engine, err := embed.StartEngine(t.Context(), embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(10 * time.Second) })
	opts, err := driver.ParseDSN(engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	schema := collector.DefaultSchema()
	schema.Database = embed.Database
	if _, err := collector.Migrate(t.Context(), conn, schema); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), "INSERT INTO hubscope.Connections (TimeGenerated, Hub, OperationName) VALUES (now64(7), 'plant-7', 'deviceConnect')"); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	runner, err := clickhouse.Open(t.Context(), clickhouse.Config{DSN: engine.ReaderDSN(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runner.Close() })
	e, err := query.New(query.Config{}, runner)
	if err != nil {
		t.Fatal(err)
	}
	tokens := api.AccessFile(filepath.Join(t.TempDir(), "tokens.yaml"))
	token, err := tokens.Add(api.Grant{Name: "grafana", Role: api.Reader})
	if err != nil {
		t.Fatal(err)
	}
	access, err := api.OpenAccess(string(tokens), log)
	if err != nil {
		t.Fatal(err)
	}
	access.Require()
	server := httptest.NewTLSServer(api.NewServer(e, api.Config{Access: access}))
	t.Cleanup(server.Close)
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))

	stranger, err := ca.ServerFolder{Dir: t.TempDir(), Names: []string{"localhost"}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	otherRoot, err := os.ReadFile(stranger.RootFile)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := host.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env := environment{"HUBSCOPE_URL": server.URL}
	secrets := files{"/etc/hubscope/grafana/token": token + "\n", "/etc/hubscope/grafana/ca.pem": root}
	var plugin *host.Plugin
	for _, test := range []struct {
		name   string
		files  files
		status backend.HealthStatus
		says   string
	}{
		{"as it is", secrets, backend.HealthStatusOk, ""},
		{"another token", files{"/etc/hubscope/grafana/token": "hs_no", "/etc/hubscope/grafana/ca.pem": root}, backend.HealthStatusError, "token"},
		{"another root", files{"/etc/hubscope/grafana/token": token, "/etc/hubscope/grafana/ca.pem": string(otherRoot)}, backend.HealthStatusError, "certificate"},
	} {
		config := host.Config{Executable: exe, Settings: d.settings(t, env, test.files)}
		config.Settings.UID += test.name
		if plugin == nil {
			if plugin, err = host.Start(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			defer plugin.Close()
		}
		health, err := plugin.For(config).CheckHealth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if health.Status != test.status || !strings.Contains(strings.ToLower(health.Message), test.says) {
			t.Errorf("%s: %v, %s, %s", test.name, health.Status, health.Message, health.JSONDetails)
		}
	}
}

// TestConfiguration: grafana.ini has sections of keys, none twice, and lets the
// plugin in.
func TestConfiguration(t *testing.T) {
	b, err := os.ReadFile("grafana.ini")
	if err != nil {
		t.Fatal(err)
	}
	section, values := "", map[string]string{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if _, twice := values[section+"."+key]; !ok || section == "" || twice {
			t.Errorf("line %d: %s", i+1, line)
		}
		values[section+"."+key] = value
	}
	for key, want := range map[string]string{
		"plugins.allow_loading_unsigned_plugins": host.PluginID,
		"paths.provisioning":                     "/etc/grafana/provisioning",
		"paths.plugins":                          "/var/lib/grafana/plugins",
	} {
		if values[key] != want {
			t.Errorf("%s is %q, want %q", key, values[key], want)
		}
	}
}

// Pkg/services/provisioning/dashboards, configV1.
type dashboardsFile struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name            text `yaml:"name"`
		OrgID           int  `yaml:"orgId"`
		Folder          text `yaml:"folder"`
		FolderUID       text `yaml:"folderUid"`
		Type            text `yaml:"type"`
		DisableDeletion bool `yaml:"disableDeletion"`
		AllowUIUpdates  bool `yaml:"allowUiUpdates"`
		UpdateInterval  int  `yaml:"updateIntervalSeconds"`
		Options         struct {
			Path    text `yaml:"path"`
			Folders bool `yaml:"foldersFromFilesStructure"`
		} `yaml:"options"`
	} `yaml:"providers"`
}

// TestDashboards: the provider finds the dashboards where deploy/compose mounts
// the repository's folder, and those can be loaded from files.
func TestDashboards(t *testing.T) {
	f := read[dashboardsFile](t, "provisioning/dashboards/hubscope.yaml")
	if f.APIVersion != 1 || len(f.Providers) != 1 {
		t.Fatalf("%+v", f)
	}
	p := f.Providers[0]
	if p.Type != "file" || p.Options.Path != "/etc/hubscope/dashboards" || p.Name == "" || p.Folder == "" || p.OrgID != 1 {
		t.Errorf("%+v", p)
	}
	names, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(names) != 6 {
		t.Fatalf("dashboards: %v, %v; want six", names, err)
	}
	dashboards := map[string]dashboard{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// With __inputs a dashboard is for import by hand: nobody would be asked.
		if d.ID != nil || d.Inputs != nil || d.Title == "" || d.UID+".json" != filepath.Base(name) {
			t.Errorf("%s: id %v, uid %q, title %q, inputs %v", name, d.ID, d.UID, d.Title, d.Inputs)
		}
		dashboards[d.UID] = d
	}
	for _, r := range readRules(t) {
		d, ok := dashboards[string(r.DashboardUID)]
		if panel, err := strconv.Atoi(string(r.PanelID)); !ok || err != nil || !slices.Contains(d.panels(), panel) {
			t.Errorf("rule %s: no panel %s of dashboard %s", r.Title, r.PanelID, r.DashboardUID)
		}
		link := regexp.MustCompile(`/d/([a-z-]+)\?`).FindStringSubmatch(r.Annotations["dashboard"])
		if link == nil {
			t.Errorf("rule %s: link %s", r.Title, r.Annotations["dashboard"])
			continue
		}
		for _, v := range regexp.MustCompile(`[?&]var-(\w+)=`).FindAllStringSubmatch(r.Annotations["dashboard"], -1) {
			if dashboards[link[1]].variable(v[1]) == nil {
				t.Errorf("rule %s: dashboard %q has no variable %s", r.Title, link[1], v[1])
			}
		}
		if r.Title == "DeadlineAtRisk" {
			day := regexp.MustCompile(`deadline = datetime\(([0-9-]+)\)`).FindStringSubmatch(r.Data[0].Model["query"].(string))
			if day == nil || *dashboards["tls-compliance"].variable("deadline") != day[1] {
				t.Errorf("the deadline of the rule is %v, another than the dashboard's", day)
			}
		}
	}
}

// dashboard is what of a dashboard rules refer to.
type dashboard struct {
	ID         any    `json:"id"`
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Inputs     any    `json:"__inputs"`
	Panels     []panel
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

type panel struct {
	ID     int
	Type   string
	Panels []panel // of a row that is folded
}

// panels are the ids of panels that show something.
func (d dashboard) panels() (ids []int) {
	for _, p := range d.Panels {
		for _, p := range append(p.Panels, p) {
			if p.Type != "row" {
				ids = append(ids, p.ID)
			}
		}
	}
	return ids
}

// variable is the default of a text variable, or another one's query; nil if
// there is none of that name.
func (d dashboard) variable(name string) *string {
	for _, v := range d.Templating.List {
		if v.Name == name {
			s := fmt.Sprint(v.Query)
			return &s
		}
	}
	return nil
}

// Pkg/services/provisioning/alerting, AlertingFileV1.
type alertingFile struct {
	APIVersion    int            `yaml:"apiVersion"`
	Groups        []ruleGroup    `yaml:"groups"`
	ContactPoints []contactPoint `yaml:"contactPoints"`
	Policies      []policy       `yaml:"policies"`
	MuteTimes     []muteTime     `yaml:"muteTimes"`
	Templates     []struct {
		OrgID    int    `yaml:"orgId"`
		Name     string `yaml:"name"`
		Template string `yaml:"template"`
	} `yaml:"templates"`
}

type ruleGroup struct {
	OrgID    int    `yaml:"orgId"`
	Name     text   `yaml:"name"`
	Folder   text   `yaml:"folder"`
	Interval text   `yaml:"interval"`
	Rules    []rule `yaml:"rules"`
}

type rule struct {
	UID          text              `yaml:"uid"`
	Title        text              `yaml:"title"`
	Condition    text              `yaml:"condition"`
	Data         []ruleQuery       `yaml:"data"`
	DashboardUID text              `yaml:"dashboardUid"`
	PanelID      text              `yaml:"panelId"`
	NoDataState  text              `yaml:"noDataState"`
	ExecErrState text              `yaml:"execErrState"`
	For          text              `yaml:"for"`
	KeepFiring   text              `yaml:"keepFiringFor"`
	Missing      int               `yaml:"missing_series_evals_to_resolve"`
	Annotations  map[string]string `yaml:"annotations"`
	Labels       map[string]text   `yaml:"labels"`
	IsPaused     bool              `yaml:"isPaused"`
}

type ruleQuery struct {
	RefID         text `yaml:"refId"`
	DatasourceUID text `yaml:"datasourceUid"`
	TimeRange     struct {
		From int `yaml:"from"`
		To   int `yaml:"to"`
	} `yaml:"relativeTimeRange"`
	Model map[string]any `yaml:"model"` // not searched for variables
}

type contactPoint struct {
	OrgID     int  `yaml:"orgId"`
	Name      text `yaml:"name"`
	Receivers []struct {
		UID            text           `yaml:"uid"`
		Type           text           `yaml:"type"`
		Settings       map[string]any `yaml:"settings"`
		DisableResolve bool           `yaml:"disableResolveMessage"`
	} `yaml:"receivers"`
}

// policy is a route of the Alertmanager; the root has an organization.
type policy struct {
	OrgID          int       `yaml:"orgId"`
	Receiver       text      `yaml:"receiver"`
	GroupBy        []text    `yaml:"group_by"`
	Matchers       [][3]text `yaml:"object_matchers"`
	MuteTimes      []text    `yaml:"mute_time_intervals"`
	GroupWait      text      `yaml:"group_wait"`
	GroupInterval  text      `yaml:"group_interval"`
	RepeatInterval text      `yaml:"repeat_interval"`
	Continue       bool      `yaml:"continue"`
	Routes         []policy  `yaml:"routes"`
}

type muteTime struct {
	OrgID     int    `yaml:"orgId"`
	Name      string `yaml:"name"`
	Intervals []struct {
		Times []struct {
			Start string `yaml:"start_time"`
			End   string `yaml:"end_time"`
		} `yaml:"times"`
		Weekdays []string `yaml:"weekdays"`
	} `yaml:"time_intervals"`
}

// alerting reads all files of the folder, as one.
func alerting(t testing.TB) (all alertingFile) {
	t.Helper()
	names, err := filepath.Glob("provisioning/alerting/*.yaml")
	if err != nil || len(names) < 5 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		f := read[alertingFile](t, name)
		if f.APIVersion != 1 {
			t.Errorf("%s: apiVersion %d", name, f.APIVersion)
		}
		all.Groups = append(all.Groups, f.Groups...)
		all.ContactPoints = append(all.ContactPoints, f.ContactPoints...)
		all.Policies = append(all.Policies, f.Policies...)
		all.MuteTimes = append(all.MuteTimes, f.MuteTimes...)
		all.Templates = append(all.Templates, f.Templates...)
	}
	return all
}

func readRules(t testing.TB) (rules []rule) {
	t.Helper()
	for _, g := range alerting(t).Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// TestAlertRules holds what Grafana checks when it stores a rule, and what it
// would only find out when it evaluates one.
func TestAlertRules(t *testing.T) {
	uids, titles := map[text]bool{}, map[text]bool{}
	duration := func(what string, s text) time.Duration {
		if s == "" {
			return 0
		}
		d, err := model.ParseDuration(expand(t, s, nil, nil))
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return time.Duration(d)
	}
	for _, g := range alerting(t).Groups {
		interval := duration(string(g.Name), g.Interval)
		if g.OrgID != 1 || g.Name == "" || g.Folder == "" || interval < 10*time.Second || interval%(10*time.Second) != 0 {
			t.Errorf("group %+v", g)
		}
		for _, r := range g.Rules {
			name := expand(t, r.Title, nil, nil)
			if !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`).MatchString(expand(t, r.UID, nil, nil)) || uids[r.UID] || name == "" || len(name) > 190 || titles[r.Title] {
				t.Errorf("uid %q, title %q", r.UID, r.Title)
			}
			uids[r.UID], titles[r.Title] = true, true
			duration(name, r.For)
			duration(name, r.KeepFiring)
			if !slices.Contains([]text{"OK", "Alerting", "NoData", "KeepLast"}, r.NoDataState) || r.ExecErrState != "Error" || r.IsPaused || r.Missing < 1 {
				t.Errorf("%s: %+v", name, r)
			}
			if want := map[bool]text{true: "Alerting", false: "OK"}[name == "NoConnectEvents"]; r.NoDataState != want {
				t.Errorf("%s: without data it is %s", name, r.NoDataState)
			}
			if r.PanelID != "" && r.DashboardUID == "" || string(r.DashboardUID) != r.Annotations["__dashboardUid__"] || string(r.PanelID) != r.Annotations["__panelId__"] {
				t.Errorf("%s: dashboard %q, panel %q, annotations %v", name, r.DashboardUID, r.PanelID, r.Annotations)
			}
			for l, v := range r.Labels {
				if expand(t, v, nil, nil) == "" || !model.LegacyValidation.IsValidLabelName(l) || strings.HasPrefix(l, "__") {
					t.Errorf("%s: label %s=%s", name, l, v)
				}
			}
			if len(r.Data) != 2 {
				t.Fatalf("%s: %d queries", name, len(r.Data))
			}
			for _, q := range r.Data {
				if q.Model["refId"] != string(q.RefID) || q.TimeRange.To != 0 || q.TimeRange.From < 600 {
					t.Errorf("%s: %+v", name, q)
				}
				if d, ok := q.Model["datasource"].(map[string]any); !ok || d["uid"] != string(q.DatasourceUID) {
					t.Errorf("%s: data source %v of model, %s of query", name, q.Model["datasource"], q.DatasourceUID)
				}
			}
			a, c := r.Data[0], r.Data[1]
			if a.RefID != "A" || a.DatasourceUID != "hubscope" || a.Model["format"] != "table" || a.Model["schemaVersion"] != 1 {
				t.Errorf("%s: query %+v", name, a)
			}
			kql, _ := a.Model["query"].(string)
			if kql == "" || strings.Contains(kql, "$") {
				t.Errorf("%s: alert rules have no macros and no dashboard variables:\n%s", name, kql)
			}
			conditions, err := json.Marshal(c.Model["conditions"])
			if err != nil {
				t.Fatal(err)
			}
			if r.Condition != "C" || c.RefID != "C" || c.DatasourceUID != "__expr__" || c.Model["type"] != "threshold" || c.Model["expression"] != "A" ||
				string(conditions) != `[{"evaluator":{"params":[0],"type":"gt"}}]` {
				t.Errorf("%s: condition %+v", name, c)
			}
		}
	}
	if len(uids) != 12 {
		t.Errorf("%d rules, want 12", len(uids))
	}
}

// TestNotifications: policies name contact points and mute timings that there
// are, and templates say something of an alert.
func TestNotifications(t *testing.T) {
	f := alerting(t)
	env := environment{"HUBSCOPE_ALERT_WEBHOOK": "https://alerts.example/hook"}
	defined, err := template.New("").Parse(`{{ define "x" }}{{ end }}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range f.Templates {
		if m.OrgID != 1 || m.Name == "" {
			t.Errorf("template %+v", m)
		}
		if defined, err = defined.New(m.Name).Parse(m.Template); err != nil {
			t.Fatal(err)
		}
	}
	data := struct {
		Alerts       alerts
		CommonLabels map[string]string
	}{alerts{{"firing", map[string]string{"summary": "S", "description": "D", "dashboard": "L", "runbook": "R"}}}, map[string]string{"alertname": "N", "Hub": "H"}}

	points, names := map[text]bool{}, map[text]bool{}
	for _, c := range f.ContactPoints {
		points[c.Name] = true
		for _, r := range c.Receivers {
			if r.UID == "" || r.Type != "webhook" || names[r.UID] {
				t.Errorf("receiver %+v", r)
			}
			names[r.UID] = true
			for key, v := range r.Settings {
				s, ok := v.(string)
				if !ok {
					continue
				}
				s = expand(t, text(s), env, nil)
				want := map[string]string{"url": "https://alerts.example/hook", "httpMethod": "POST", "title": "1 firing: N on H", "message": "firing: S\nD\nL\nSee R"}[key]
				var b strings.Builder
				if m, err := template.Must(defined.Clone()).New("setting").Parse(s); err != nil {
					t.Errorf("%s: %v", key, err)
				} else if err := m.Execute(&b, data); err != nil {
					t.Errorf("%s: %v", key, err)
				}
				if strings.TrimSpace(b.String()) != want {
					t.Errorf("%s: want %q, got %q", key, want, strings.TrimSpace(b.String()))
				}
			}
		}
	}
	mutes := map[text]bool{}
	for _, m := range f.MuteTimes {
		mutes[text(m.Name)] = true
		for _, i := range m.Intervals {
			for _, at := range i.Times {
				for _, s := range []string{at.Start, at.End} {
					if !regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d$|^24:00$`).MatchString(s) {
						t.Errorf("mute timing %s: %q is no time", m.Name, s)
					}
				}
				if at.Start >= at.End {
					t.Errorf("mute timing %s: %s to %s", m.Name, at.Start, at.End)
				}
			}
			for _, d := range i.Weekdays {
				if !slices.Contains([]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}, d) {
					t.Errorf("mute timing %s: %s is no day", m.Name, d)
				}
			}
		}
	}
	if len(f.Policies) != 1 || f.Policies[0].OrgID != 1 || len(f.Policies[0].Matchers) > 0 || len(f.Policies[0].MuteTimes) > 0 {
		t.Fatalf("policies: %+v; want one tree", f.Policies)
	}
	var check func(p policy, path string)
	check = func(p policy, path string) {
		if !points[p.Receiver] {
			t.Errorf("%s: no contact point %s", path, p.Receiver)
		}
		for _, m := range p.MuteTimes {
			if !mutes[m] {
				t.Errorf("%s: no mute timing %s", path, m)
			}
		}
		for _, m := range p.Matchers {
			if m[0] == "" || !slices.Contains([]text{"=", "!=", "=~", "!~"}, m[1]) {
				t.Errorf("%s: matcher %v", path, m)
			}
		}
		for _, d := range []text{p.GroupWait, p.GroupInterval, p.RepeatInterval} {
			if _, err := model.ParseDuration(string(d)); d != "" && err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		for i, r := range p.Routes {
			if r.OrgID != 0 || len(r.Matchers) == 0 {
				t.Errorf("%s: route %d has no matcher, or an organization", path, i)
			}
			check(r, fmt.Sprintf("%s.%d", path, i))
		}
	}
	check(f.Policies[0], "policy")
	for _, r := range readRules(t) {
		if r.Labels["source"] != "hubscope" {
			t.Errorf("no policy is for rule %s: %v", r.Title, r.Labels)
		}
	}
}

// alerts is what Grafana's templates see.
type alerts []struct {
	Status      string
	Annotations map[string]string
}

// Firing are the ones that fire.
func (a alerts) Firing() (firing alerts) {
	for _, x := range a {
		if x.Status == "firing" {
			firing = append(firing, x)
		}
	}
	return firing
}
