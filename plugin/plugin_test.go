// Package plugin has no code of its own: the data source's frontend is in src,
// its backend in pkg. These tests run those of the frontend, and hold its
// sources to what Grafana's plugin validator asks for.
package plugin

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFrontend runs jest, the type checker and the linter of package.json.
func TestFrontend(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err == nil {
		_, err = os.Stat("node_modules/.package-lock.json")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v; make test installs it", err)
		}
		t.Skipf("%v; make test installs it", err)
	}
	for _, script := range []string{"typecheck", "lint", "test"} {
		t.Run(script, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, npm, "run", "--silent", script)
			cmd.Env = append(os.Environ(), "NO_COLOR=1")
			cmd.WaitDelay = 10 * time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("npm run %s: %v\n%s", script, err, out)
			}
		})
	}
}

// refused are patterns in TypeScript that the validator refuses in plugins.
var refused = map[string]*regexp.Regexp{
	"calls Grafana's query API by itself":   regexp.MustCompile(`/api/ds/query`),
	"reads or sets properties of window":    regexp.MustCompile(`\bwindow\s*[.\[]`),
	"opens a native dialog":                 regexp.MustCompile(`(^|[^.\w])(alert|confirm|prompt)\(`),
	"imports a style sheet":                 regexp.MustCompile(`import\s[^;]*\.(css|scss)['"]`),
	"overrides testDatasource of a backend": regexp.MustCompile(`\btestDatasource\s*\(`),
	"asks another server":                   regexp.MustCompile(`\b(fetch|XMLHttpRequest|WebSocket|EventSource)\(`),
}

// TestSources holds what the validator finds in sources: in TypeScript by text,
// in Go by the syntax tree.
func TestSources(t *testing.T) {
	err := filepath.WalkDir("src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "test" {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".ts") && !strings.HasSuffix(path, ".tsx") || strings.Contains(path, ".test.") {
			return nil
		}
		text, err := os.ReadFile(path)
		for what, pattern := range refused {
			if at := pattern.FindIndex(text); at != nil {
				t.Errorf("%s:%d %s", path, 1+strings.Count(string(text[:at[0]]), "\n"), what)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	set := token.NewFileSet()
	files, err := filepath.Glob("pkg/*.go")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("pkg/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, deeper...)
	if len(deeper) == 0 {
		t.Fatal("no Go files in pkg")
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			name := pkg.Name + "." + selector.Sel.Name
			switch {
			case pkg.Name == "os" && name != "os.Exit", pkg.Name == "syscall", pkg.Name == "exec", strings.HasPrefix(name, "fmt.Print"):
				t.Errorf("%s calls %s: a plugin touches no files, environment or system, and prints nothing", set.Position(n.Pos()), name)
			}
			return true
		})
	}
}
