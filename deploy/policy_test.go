// Package deploy has no code of its own; this test holds the import rules of
// the whole module.
package deploy

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed says which packages of this module each package may import. A
// package not named here may not exist: a new one needs a reason and a line.
var allowed = map[string][]string{
	"ingest":           {},
	"ingest/stream":    {"ingest"},
	"collector":        {"ingest", "ingest/stream"},
	"query/kql":        {},
	"query/plan":       {"query/kql"},
	"query/chsql":      {"query/plan", "query/kql"},
	"query/clickhouse": {"query", "query/chsql", "query/plan"},
	"query":            {"query/kql", "query/plan", "query/chsql", "ingest"},
	"query/client":     {"query/kql"},
	"query/api":        {"query", "query/client", "query/plan", "query/kql", "query/console", "ingest"}, // ingest: where a tail begins
	"query/console":    {},
	"query/cli":        {"query/client"},
	"hub":              {"ingest", "hub/handshake", "hub/registry", "hub/ca"},
	"hub/handshake":    {"ingest"},
	"hub/mqtt":         {"ingest", "hub", "hub/registry"},
	"hub/https":        {"ingest", "hub", "hub/registry"},
	"hub/registry":     {},
	"hub/ca":           {},
	"hub/device":       {"hub/registry", "hub/ca"},
	"deploy/embed":     {},
	"plugin":           {}, // tests of the frontend
	"plugin/pkg":       {"plugin/pkg/ds"},
	"plugin/pkg/ds":    {"query/client", "query/kql"}, // kql: macros and variables are replaced by tokens
	"plugin/host":      {},
	"plugin/e2e":       {},
	"plugin/pack":      {},
	// Data with tests, and no code.
	"dashboards":       {},
	"dashboards/rules": {},
	"deploy/grafana":   {},
	"deploy/compose":   {},
}

// composers may import everything: they wire, measure or run the rest.
var composers = []string{"deploy/hubscope", "deploy/bench", "deploy/e2e"}

// owners names the modules that may appear only in certain packages.
var owners = map[string][]string{
	"github.com/nats-io/nats.go":                  {"ingest/stream", "collector", "hub/registry", "deploy/hubscope", "deploy/bench"},
	"github.com/nats-io/nats-server":              {"deploy/embed"},
	"github.com/ClickHouse":                       {"collector", "query/clickhouse", "deploy/bench"},
	"github.com/ebitengine/purego":                {"deploy/embed", "hub/handshake"},
	"github.com/mochi-mqtt":                       {"hub/mqtt"},
	"github.com/eclipse/paho.mqtt.golang":         {"hub/device", "deploy/bench"},
	"github.com/grafana":                          {"plugin", "deploy/bench"},
	"github.com/hashicorp/go-plugin":              {"plugin/host"},
	"github.com/alecthomas/kong":                  {"deploy/hubscope"},
	"github.com/prometheus/prometheus":            {"query/alert"},
	"go.opentelemetry.io/otel/sdk":                {"deploy/hubscope"},
	"go.opentelemetry.io/otel/exporters":          {"deploy/hubscope"},
	"go.opentelemetry.io/contrib/exporters":       {"deploy/hubscope"},
	"google.golang.org/protobuf":                  {"ingest", "collector"},
	"github.com/Azure/azure-kusto-go/azkustodata": {},
}

func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		pkg := filepath.ToSlash(filepath.Dir(f.path))
		test := strings.HasSuffix(f.path, "_test.go")
		rule, known := allowed[pkg]
		composer := slices.ContainsFunc(composers, func(c string) bool { return pkg == c || strings.HasPrefix(pkg, c+"/") })
		if !known && !composer && pkg != "deploy" && pkg != "." {
			t.Errorf("%s: package %s is not in the import table", f.path, pkg)
		}
		if test {
			continue // tests may use any part as a real peer
		}
		for _, path := range f.imports {
			if own, ok := strings.CutPrefix(path, "hubscope/"); ok {
				if !composer && !slices.Contains(rule, own) {
					t.Errorf("%s imports %s; %s may import only %v", f.path, path, pkg, rule)
				}
				if slices.ContainsFunc(composers, func(c string) bool { return own == c }) {
					t.Errorf("%s imports the main package %s", f.path, path)
				}
				continue
			}
			if pkg == "query/kql" && strings.Contains(path, ".") {
				t.Errorf("%s imports %s; query/kql uses the standard library only", f.path, path)
			}
			for module, packages := range owners {
				if (path == module || strings.HasPrefix(path, module+"/")) && !slices.ContainsFunc(packages, func(p string) bool { return pkg == p || strings.HasPrefix(pkg, p+"/") }) {
					t.Errorf("%s imports %s, which belongs to %v", f.path, path, packages)
				}
			}
		}
	}
}

// TestNATSInRegistryIsOneFile: the registry knows NATS in its store and nowhere else.
func TestNATSInRegistryIsOneFile(t *testing.T) {
	var files []string
	for _, f := range goFiles(t) {
		if strings.HasPrefix(f.path, filepath.Join("hub", "registry")) && !strings.HasSuffix(f.path, "_test.go") &&
			slices.ContainsFunc(f.imports, func(p string) bool { return strings.HasPrefix(p, "github.com/nats-io/") }) {
			files = append(files, f.path)
		}
	}
	if len(files) > 1 {
		t.Errorf("NATS appears in %v, want one file", files)
	}
}

// TestNoPackageNames holds the names that say nothing out of the tree.
func TestNoPackageNames(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, part := range strings.Split(filepath.ToSlash(filepath.Dir(f.path)), "/") {
			if slices.Contains([]string{"utils", "util", "helpers", "common", "types", "models", "misc"}, part) {
				t.Errorf("%s: a package named %s says nothing about what it holds", f.path, part)
			}
		}
	}
}

type goFile struct {
	path    string
	imports []string
}

// goFiles parses the imports of every Go file of the module.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch name := d.Name(); {
			case name == "node_modules", name == "testdata", name == "hubscope-data", len(name) > 2 && strings.HasPrefix(name, "."):
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := goFile{path: rel}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, name)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}
