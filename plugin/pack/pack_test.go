package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const id = "hubscope-connections-datasource"

// TestZip builds the frontend, packs it beside stand-ins for the executables
// (plugin/pkg has its own tests), and reads the zip as Grafana's plugin
// validator does.
func TestZip(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err == nil {
		_, err = os.Stat("../node_modules/.package-lock.json")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v; make test installs it", err)
		}
		t.Skipf("%v; make test installs it", err)
	}
	dist := t.TempDir()
	build := exec.CommandContext(t.Context(), npm, "--prefix", "..", "run", "--silent", "build", "--", "--output-path", dist)
	build.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("npm run build: %v\n%s", err, out)
	}
	executables := []string{
		"gpx_hubscope_darwin_amd64", "gpx_hubscope_darwin_arm64", "gpx_hubscope_linux_amd64",
		"gpx_hubscope_linux_arm64", "gpx_hubscope_windows_amd64.exe",
	}
	for _, name := range executables {
		if err := os.WriteFile(filepath.Join(dist, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	name, err := pack(dist, at)
	if err != nil {
		t.Fatal(err)
	}
	once, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pack(dist, at); err != nil {
		t.Fatal(err)
	}
	if twice, err := os.ReadFile(name); err != nil || !bytes.Equal(once, twice) {
		t.Errorf("the same files gave another zip: %v", err)
	}

	files := map[string][]byte{}
	archive, err := zip.NewReader(bytes.NewReader(once), int64(len(once)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.File {
		inside, ok := strings.CutPrefix(f.Name, id+"/")
		if !ok || path.Clean(inside) != inside {
			t.Errorf("%s is not in the folder %s", f.Name, id)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(inside, "gpx_") {
			mode = 0o755
		}
		if f.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", f.Name, f.Mode(), mode)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[inside], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}

	var plugin struct {
		Type, ID, Name, Executable                      string
		Metrics, Logs, Alerting, Annotations, Streaming bool
		Backend                                         bool
		Info                                            struct {
			Description, Version, Updated string
			Author                        struct{ Name string }
			Keywords                      []string
			Logos                         struct{ Small, Large string }
			Screenshots                   []struct{ Name, Path string }
		}
		Includes     []struct{ Type, Name, Path string }
		Dependencies struct{ GrafanaDependency string }
		Languages    []string
	}
	read(t, files, "plugin.json", &plugin)
	var npmPackage struct{ Name, Version string }
	text, err := os.ReadFile("../package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &npmPackage); err != nil {
		t.Fatal(err)
	}
	if plugin.ID != id || !strings.HasSuffix(id, "-"+plugin.Type) || npmPackage.Name != id {
		t.Errorf("id %q, type %q, npm package %q", plugin.ID, plugin.Type, npmPackage.Name)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(plugin.Info.Version) || plugin.Info.Version != npmPackage.Version ||
		filepath.Base(name) != id+"-"+plugin.Info.Version+".zip" {
		t.Errorf("version %q, package.json has %q, the zip is %s", plugin.Info.Version, npmPackage.Version, name)
	}
	if plugin.Info.Updated != "2023-11-14" {
		t.Errorf("updated %q, want the day of SOURCE_DATE_EPOCH", plugin.Info.Updated)
	}
	if !(plugin.Metrics && plugin.Logs && plugin.Alerting && plugin.Annotations && plugin.Streaming && plugin.Backend) {
		t.Errorf("plugin.json leaves out what the data source can: %+v", plugin)
	}
	if plugin.Name == "" || plugin.Info.Description == "" || plugin.Info.Author.Name == "" || len(plugin.Info.Keywords) == 0 {
		t.Errorf("plugin.json does not say what the plugin is: %+v", plugin.Info)
	}
	// A range, and not one patch release.
	if !regexp.MustCompile(`^>=\d+\.\d+\.\d+$`).MatchString(plugin.Dependencies.GrafanaDependency) {
		t.Errorf("grafanaDependency %q", plugin.Dependencies.GrafanaDependency)
	}
	for _, language := range plugin.Languages {
		var translations map[string]any
		read(t, files, "locales/"+language+"/"+id+".json", &translations)
		if len(translations) == 0 {
			t.Errorf("no texts in %s", language)
		}
	}

	var got []string
	for file := range files {
		if strings.HasPrefix(file, plugin.Executable+"_") {
			got = append(got, file)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(executables, got); diff != "" {
		t.Errorf("executables (-want +got):\n%s", diff)
	}

	for _, logo := range []string{plugin.Info.Logos.Small, plugin.Info.Logos.Large} {
		if svg := string(files[logo]); !strings.HasPrefix(svg, "<svg ") || regexp.MustCompile(`(?i)<script|\son\w+=|javascript:|<foreignObject|href=`).MatchString(svg) {
			t.Errorf("logo %s is no SVG, or has scripts or links", logo)
		}
	}
	if len(plugin.Info.Screenshots) == 0 {
		t.Error("plugin.json has no screenshots")
	}
	for _, picture := range plugin.Info.Screenshots {
		if !bytes.HasPrefix(files[picture.Path], []byte("\x89PNG\r\n")) || picture.Name == "" {
			t.Errorf("screenshot %+v is no PNG in the zip", picture)
		}
	}

	// The dashboards are those of the repository, and each is offered.
	want, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(want) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	included := map[string]bool{}
	for _, include := range plugin.Includes {
		included[include.Path] = true
		var dashboard struct{ UID, Title string }
		read(t, files, include.Path, &dashboard)
		if include.Type != "dashboard" || include.Path != "dashboards/"+dashboard.UID+".json" || include.Name != dashboard.Title {
			t.Errorf("plugin.json includes %+v, the dashboard is %+v", include, dashboard)
		}
	}
	for _, file := range want {
		if !included["dashboards/"+filepath.Base(file)] {
			t.Errorf("plugin.json does not include %s", file)
		}
	}

	t.Run("texts", func(t *testing.T) { testTexts(t, files, plugin.Info.Version) })
	t.Run("module", func(t *testing.T) { testModule(t, files) })
}

func testTexts(t *testing.T, files map[string][]byte, version string) {
	readme := string(files["README.md"])
	for _, must := range []string{"allow_loading_unsigned_plugins", id, "$__timeFilter", version} {
		if !strings.Contains(readme, must) {
			t.Errorf("README.md does not say %s", must)
		}
	}
	if strings.Contains(readme, "This template is a starting point") {
		t.Error("README.md is the scaffold's")
	}
	if hot := regexp.MustCompile(`!\[[^\]]*\]\(https?:|<img|<script`).FindString(readme); hot != "" {
		t.Errorf("README.md has pictures of other servers: %s", hot)
	}
	if changes := string(files["CHANGELOG.md"]); !strings.Contains(changes, "## "+version) {
		t.Errorf("CHANGELOG.md does not have version %s", version)
	}
	license, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(files["LICENSE"], license) {
		t.Error("LICENSE is not the repository's")
	}
	for file, text := range files {
		if left := regexp.MustCompile(`%[A-Z_]{4,}%`).Find(text); left != nil && !strings.HasPrefix(file, "module.js") {
			t.Errorf("%s still has %s", file, left)
		}
	}
}

func testModule(t *testing.T, files map[string][]byte) {
	module := string(files["module.js"])
	if !strings.HasPrefix(module, "define([") {
		t.Error("module.js is no AMD module")
	}
	if !strings.Contains(module, "//# sourceMappingURL=module.js.map") {
		t.Error("module.js does not name its map")
	}
	// What Grafana shares must not be in it, nor what React 19 has no more.
	if len(module) > 500_000 {
		t.Errorf("module.js has %d bytes: is a package of Grafana's in it?", len(module))
	}
	for _, gone := range []string{"findDOMNode", "__SECRET_INTERNALS", "unmountComponentAtNode", "ReactDOM.render", "createFactory"} {
		if strings.Contains(module, gone) {
			t.Errorf("module.js uses %s, which React 19 does not have", gone)
		}
	}
	if strings.Contains(module, "/api/ds/query") {
		t.Error("module.js calls Grafana's query API by itself")
	}
	// The map has our sources as they are.
	var sources struct {
		Sources        []string
		SourcesContent []string
	}
	read(t, files, "module.js.map", &sources)
	compared := 0
	foreign := regexp.MustCompile(`node_modules/((?:@[^/]+/)?[^/]+)/`)
	for i, source := range sources.Sources {
		if m := foreign.FindStringSubmatch(source); m != nil && !strings.Contains(string(files["licenses.txt"]), m[1]+" ") {
			t.Errorf("licenses.txt does not have that of %s", m[1])
		}
		_, file, ok := strings.Cut(source, "/./")
		if !ok || strings.Contains(source, "node_modules") || !strings.Contains(file, ".ts") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", "src", file))
		if err != nil {
			t.Errorf("module.js.map: %v", err)
			continue
		}
		if compared++; string(text) != sources.SourcesContent[i] {
			t.Errorf("module.js.map has another %s", file)
		}
	}
	if compared < 10 {
		t.Errorf("module.js.map has %d of our sources; its sources are %q", compared, sources.Sources)
	}
}

func read(t *testing.T, files map[string][]byte, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(files[name], into); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestNothingBuilt: what is missing is said.
func TestNothingBuilt(t *testing.T) {
	dist := t.TempDir()
	if _, err := pack(dist, time.Now()); err == nil || !strings.Contains(err.Error(), "build the frontend first") {
		t.Errorf("no plugin.json: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dist, "plugin.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"id": "a-b-datasource", "executable": "gpx_b", "info": {"version": "%VERSION%"}}`)
	if _, err := pack(dist, time.Now()); err == nil || !strings.Contains(err.Error(), "no version") {
		t.Errorf("no version: %v", err)
	}
	write(`{"id": "a-b-datasource", "executable": "gpx_b", "info": {"version": "1.0.0"}}`)
	if _, err := pack(dist, time.Now()); err == nil || !strings.Contains(err.Error(), "build the backend first") {
		t.Errorf("no executables: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dist, "*.zip")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
