// Package compose has no code: it is what docker compose brings up. Docker is not
// needed for its tests: they load the file as docker compose does, and run what
// it mounts with the programs that read it: init.sh, NATS, the ClickHouse engine
// and hubscope's own parts, with each other.
package compose

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

// project loads compose.yaml with these variables.
func project(t testing.TB, env ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithProfiles([]string{"*"}), cli.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Services that run until they are stopped.
var lasting = []string{"nats", "clickhouse", "collector", "serve", "hub", "grafana"}

// TestCompose holds what every service has to have.
func TestCompose(t *testing.T) {
	p := project(t)
	if got := p.ServiceNames(); !slices.Equal(got, []string{"clickhouse", "collector", "grafana", "hub", "init", "nats", "serve", "tools"}) {
		t.Errorf("services %v", got)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		if !regexp.MustCompile(`^[a-z/-]+:([0-9][0-9a-z.-]*|devel)$`).MatchString(s.Image) {
			t.Errorf("%s: image %s is not pinned", name, s.Image)
		}
		if b := s.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil || b.Context != root || !slices.Contains(stages(t), b.Target) {
				t.Errorf("%s: build %+v, %v", name, b, err)
			}
		}
		for _, v := range s.Volumes {
			switch v.Type {
			case "bind":
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s: mount %+v: %v", name, v, err)
				}
			case "volume":
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: no volume %s", name, v.Source)
				}
			}
			if secret, ok := strings.CutPrefix(v.Source, "secrets-"); ok && name != "init" {
				own := map[string]string{"nats": "nats", "clickhouse": "clickhouse", "grafana": "grafana"}[name]
				if own == "" {
					own = "hubscope"
				}
				if secret != own {
					t.Errorf("%s sees the secrets of %s", name, secret)
				}
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to others without having been asked for", name, port.Published)
			}
		}
		if slices.Contains(lasting, name) != (s.HealthCheck != nil && !s.HealthCheck.Disable) {
			t.Errorf("%s: health check %+v", name, s.HealthCheck)
		}
		if slices.Contains(lasting, name) != (s.Restart == "unless-stopped") {
			t.Errorf("%s: restart %q", name, s.Restart)
		}
		for on, d := range s.DependsOn {
			want := types.ServiceConditionHealthy
			if on == "init" {
				want = types.ServiceConditionCompletedSuccessfully
			}
			if d.Condition != want {
				t.Errorf("%s waits for %s: %s", name, on, d.Condition)
			}
		}
	}
	// Everything waits for init, at least through others.
	var waits func(name string) bool
	waits = func(name string) bool {
		for on := range p.Services[name].DependsOn {
			if on == "init" || waits(on) {
				return true
			}
		}
		return false
	}
	for _, name := range lasting {
		if !waits(name) {
			t.Errorf("%s does not wait for init", name)
		}
	}

	p = project(t, "HUBSCOPE_DEVICES=0.0.0.0", "HUBSCOPE_MQTT_PORT=1883", "HUBSCOPE_VERSION=1.2.3", "GRAFANA_PORT=3333", "HUBSCOPE_ALERT_WEBHOOK=https://alerts.example/")
	hub, grafana := p.Services["hub"], p.Services["grafana"]
	if hub.Image != "hubscope:1.2.3" || hub.Ports[0].HostIP != "0.0.0.0" || hub.Ports[0].Published != "1883" || grafana.Ports[0].Published != "3333" ||
		*grafana.Environment["HUBSCOPE_ALERT_WEBHOOK"] != "https://alerts.example/" {
		t.Errorf("variables are not used: %+v, %+v", hub.Ports, grafana.Ports)
	}
}

// TestPorts: what is published and what health checks ask is what the settings
// listen on.
func TestPorts(t *testing.T) {
	b, err := os.ReadFile("hubscope.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		Metrics string `yaml:"metrics_listen"`
		Hub     struct {
			MQTT  string `yaml:"mqtt_listen"`
			HTTPS string `yaml:"https_listen"`
		}
		Query struct{ Listen string }
	}
	if err := yaml.Unmarshal(b, &settings); err != nil {
		t.Fatal(err)
	}
	p := project(t)
	for service, listen := range map[string][]string{"hub": {settings.Hub.MQTT, settings.Hub.HTTPS}, "serve": {settings.Query.Listen}} {
		var want []string
		for _, port := range p.Services[service].Ports {
			want = append(want, fmt.Sprintf("0.0.0.0:%d", port.Target))
		}
		if !slices.Equal(want, listen) {
			t.Errorf("%s publishes %v and listens on %v", service, want, listen)
		}
	}
	for _, service := range []string{"collector", "serve", "hub"} {
		test := p.Services[service].HealthCheck.Test
		if want := "</dev/tcp/" + strings.Replace(settings.Metrics, ":", "/", 1); test[len(test)-1] != want || !strings.Contains(dockerfile(t), want) {
			t.Errorf("%s: health check %v, want %s", service, test, want)
		}
	}
	if url := *p.Services["grafana"].Environment["HUBSCOPE_URL"]; url != "https://serve:"+strings.TrimPrefix(settings.Query.Listen, "0.0.0.0:") {
		t.Errorf("Grafana asks %s", url)
	}
}

// TestGrafanaMounts: Grafana finds what deploy/grafana says where it looks for it.
func TestGrafanaMounts(t *testing.T) {
	g := project(t).Services["grafana"]
	mounts := map[string]string{}
	for _, v := range g.Volumes {
		mounts[v.Target] = filepath.Base(v.Source)
	}
	for target, source := range map[string]string{
		"/etc/grafana/grafana.ini": "grafana.ini", "/etc/grafana/provisioning": "provisioning", "/etc/hubscope/dashboards": "dashboards",
		"/etc/hubscope/grafana": "secrets-grafana",
	} {
		if mounts[target] != source {
			t.Errorf("%s is %q, want %q", target, mounts[target], source)
		}
	}
	datasource, err := os.ReadFile("../grafana/provisioning/datasources/hubscope.yaml")
	if err != nil {
		t.Fatal(err)
	}
	secrets := initialize(t)
	for _, m := range regexp.MustCompile(`\$__file\{/etc/hubscope/grafana/([^}]+)\}`).FindAllStringSubmatch(string(datasource), -1) {
		if b, err := os.ReadFile(filepath.Join(secrets, "grafana", m[1])); err != nil || len(bytes.TrimSpace(b)) == 0 {
			t.Errorf("init.sh does not make %s: %v", m[1], err)
		}
	}
	// Each variable that provisioning replaces is set.
	err = filepath.WalkDir("../grafana/provisioning", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`\$(HUBSCOPE_\w+)`).FindAllStringSubmatch(string(b), -1) {
			if g.Environment[m[1]] == nil || *g.Environment[m[1]] == "" {
				t.Errorf("%s: %s is not set", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := *g.Environment["GF_PATHS_PLUGINS"]; !strings.Contains(dockerfile(t), " "+got+"/hubscope-connections-datasource") {
		t.Errorf("the image has no plugin in %s", got)
	}
	// That folder is root's, and the stack needs nothing from outside.
	if got := g.Environment["GF_PLUGINS_PREINSTALL_DISABLED"]; got == nil || *got != "true" {
		t.Error("Grafana fetches plugins at its start")
	}
}

func dockerfile(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\\\n", " ")
}

var stageLine = regexp.MustCompile(`(?m)^FROM (\S+) AS (\w+)$`)

func stages(t testing.TB) (names []string) {
	for _, m := range stageLine.FindAllStringSubmatch(dockerfile(t), -1) {
		names = append(names, m[2])
	}
	return names
}

// TestDockerfile: images are pinned, what is copied is there, and nothing of ours
// runs as root.
func TestDockerfile(t *testing.T) {
	text := dockerfile(t)
	froms := stageLine.FindAllStringSubmatch(text, -1)
	if len(froms) != 5 || len(froms) != strings.Count(text, "\nFROM ") {
		t.Errorf("stages %v", froms)
	}
	for _, m := range froms {
		if !regexp.MustCompile(`^[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?$`).MatchString(m[1]) {
			t.Errorf("%s is not pinned", m[1])
		}
	}
	ignored, err := os.ReadFile("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY (.+)$`).FindAllStringSubmatch(text, -1) {
		args := strings.Fields(m[1])
		from := ""
		for len(args) > 0 && strings.HasPrefix(args[0], "--") {
			if name, ok := strings.CutPrefix(args[0], "--from="); ok {
				from = name
			}
			args = args[1:]
		}
		if from != "" {
			if !slices.Contains(stages(t), from) {
				t.Errorf("COPY %s: no stage %s", m[1], from)
			}
			continue
		}
		for _, source := range args[:len(args)-1] {
			if _, err := os.Stat(filepath.Join("../..", source)); err != nil || slices.Contains(strings.Fields(string(ignored)), source) {
				t.Errorf("COPY %s: %v, or ignored", m[1], err)
			}
		}
	}
	for _, m := range regexp.MustCompile(`go build .* (\./\S+)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	// The toolchain is at least what go.mod asks for.
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(b)[1]
	if !strings.Contains(text, "golang:"+string(want)) {
		t.Errorf("not built with Go %s", want)
	}
	ours := text[strings.Index(text, " AS hubscope"):strings.Index(text, " AS grafana")]
	if !strings.Contains(ours, "\nUSER 10001:10001\n") || !strings.Contains(ours, "\nHEALTHCHECK ") || !strings.Contains(ours, "libssl3") {
		t.Errorf("the image of hubscope:\n%s", ours)
	}
}
