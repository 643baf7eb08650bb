package compose

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// ignored reads Dockerfile.dockerignore: names anywhere (**/), and names in the root.
func ignored(t *testing.T) func(name string) bool {
	t.Helper()
	b, err := os.ReadFile("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return func(name string) bool {
		for _, p := range patterns {
			subject := name
			if rest, ok := strings.CutPrefix(p, "**/"); ok {
				p, subject = rest, path.Base(name)
			}
			ok, err := path.Match(p, subject)
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			if ok {
				return true
			}
		}
		return false
	}
}

// copyTree copies what is below a folder, or a file, but for what is left out.
func copyTree(t *testing.T, from, to string, leave func(name string) bool) {
	t.Helper()
	err := filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case name != "." && leave(filepath.ToSlash(name)):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestImages goes through the Dockerfile as docker build does, in folders, with
// what .dockerignore leaves of the checkout and nothing else: what is copied is
// there, both pages are built of it, and the two programs have all that they are
// made of. Modules of npm are those that are installed here; what apt-get does is
// left out, and so is the compiler, which would begin with the standard library.
func TestImages(t *testing.T) {
	need(t, "npm")
	for _, folder := range []string{"../../query/console/node_modules", "../../plugin/node_modules"} {
		if _, err := os.Stat(folder); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "context")
	copyTree(t, checkout, root, ignored(t))
	nothing := func(string) bool { return false }
	var stage, workdir string // the stage's root, and its folder in it
	in := func(name string) string {
		if path.IsAbs(name) {
			return filepath.Join(stage, name)
		}
		return filepath.Join(stage, workdir, name)
	}
	env := os.Environ()
	for line := range strings.Lines(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(dockerfile(t), "")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "FROM":
			stage, workdir = filepath.Join(dir, rest[strings.LastIndex(rest, " ")+1:]), "/"
			if err := os.MkdirAll(filepath.Join(stage, "out"), 0o755); err != nil {
				t.Fatal(err)
			}
		case "WORKDIR":
			workdir = rest
			if err := os.MkdirAll(in("."), 0o755); err != nil {
				t.Fatal(err)
			}
		case "ENV":
			env = append(env, rest)
		case "COPY":
			args := strings.Fields(rest)
			from := root
			for ; strings.HasPrefix(args[0], "--"); args = args[1:] {
				if name, ok := strings.CutPrefix(args[0], "--from="); ok {
					from = filepath.Join(dir, name)
				}
			}
			to := args[len(args)-1]
			for _, source := range args[:len(args)-1] {
				found, err := filepath.Glob(filepath.Join(from, source))
				if err != nil || len(found) == 0 {
					t.Fatalf("%s: there is no %s: %v", line, source, err)
				}
				for _, f := range found {
					target := in(to)
					if info, err := os.Stat(f); err != nil {
						t.Fatal(err)
					} else if !info.IsDir() && (strings.HasSuffix(to, "/") || to == ".") {
						target = filepath.Join(target, filepath.Base(f))
					}
					copyTree(t, f, target, nothing)
				}
			}
		case "RUN":
			switch {
			case strings.HasPrefix(rest, "apt-get "), rest == "go mod download":
				continue
			case strings.HasPrefix(rest, "npm ci "):
				// Of the same lock file, as make installs it.
				if err := os.Symlink(filepath.Join(checkout, strings.TrimPrefix(workdir, "/src/"), "node_modules"), in("node_modules")); err != nil {
					t.Fatal(err)
				}
				continue
			}
			rest = regexp.MustCompile(`^go build .* -o ("[^"]+"|\S+) (\./\S+)$`).ReplaceAllString(rest, "go list -deps $2 >$1")
			if strings.Contains(rest, "go build") {
				t.Fatalf("%s: is another build", line)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(rest, "/out/", stage+"/out/"))
			cmd.Dir, cmd.Env = in("."), env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}

	program, err := os.ReadFile(filepath.Join(dir, "hubscope/usr/local/bin/hubscope"))
	if err != nil || !strings.Contains(string(program), "hubscope/query/console\n") {
		t.Errorf("the image has no program: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "build/src/query/console/dist/index.html")); err != nil {
		t.Errorf("the binary has no console: %v", err)
	}
	plugin := filepath.Join(dir, "grafana/opt/hubscope/plugins/hubscope-connections-datasource")
	for _, name := range []string{"plugin.json", "module.js", "README.md", "dashboards/tls-compliance.json", "gpx_hubscope_linux_" + runtime.GOARCH} {
		if info, err := os.Stat(filepath.Join(plugin, name)); err != nil || info.Size() == 0 {
			t.Errorf("the plugin has no %s: %v", name, err)
		}
	}
}
