package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/collector"
	"hubscope/query"
)

// TestReadme runs the README's programs against the service, with a stored event.
func TestReadme(t *testing.T) {
	runner := openRunner(t)
	store := collector.DefaultConfig().ClickHouse
	store.DSN = shared.engine.DSN()
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts, err := driver.ParseDSN(store.DSN)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "INSERT INTO Connections (TimeGenerated, Hub, OperationName, TlsVersion) SETTINGS async_insert = 0 VALUES (now64(7), 'plant', 'deviceConnect', '1.3')"); err != nil {
		t.Fatal(err)
	}
	engine, err := query.New(query.Config{}, runner)
	if err != nil {
		t.Fatal(err)
	}
	url := serveEngine(t, engine, Config{})
	// What ran before is told from the log, what runs from here.
	if err := conn.Exec(t.Context(), "INSERT INTO QueryLog (TimeGenerated, QueryId, User, State, DurationMs) SETTINGS async_insert = 0 VALUES (now64(7), 'past', 'alice', 'Failed', 90061001)"); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{".show queries", ".show queries | where State != 'InProgress'"} {
		status, _, body := send(t, "POST", url+"/v1/rest/mgmt", `{"csl":"`+command+`"}`)
		if status != 200 || !strings.Contains(body, `"past"`) || !strings.Contains(body, `"1.01:01:01.0010000"`) {
			t.Errorf("%s: %d %s", command, status, body)
		}
	}
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "### From programs")
	text = strings.ReplaceAll(text, "http://127.0.0.1:7070", url)
	snippet := func(language string) string {
		t.Helper()
		m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("the README has no %s", language)
		}
		return m[1]
	}
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte(snippet("go")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, dir, want string
		command         []string
		needs           string
	}{
		{"curl", ".", "TlsVersion,Events\n1.3,1\n", []string{"sh", "-c", snippet("sh")}, "curl"},
		{"Go", ".", "1.3 1\n", []string{"go", "run", program}, "go"},
		{"Node.js", "testdata/clients", "1.3 1\n", []string{"node", "--input-type=module", "-e", snippet("js")}, "node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := exec.LookPath(tt.needs)
			if _, noModules := os.Stat(filepath.Join(tt.dir, "node_modules")); err != nil || tt.needs == "node" && noModules != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("%s or its modules are missing", tt.needs)
				}
				t.Skipf("%s or its modules are missing", tt.needs)
			}
			cmd := exec.CommandContext(t.Context(), tt.command[0], tt.command[1:]...)
			cmd.Dir = tt.dir
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("%v\n%s\nwant %s", err, out, tt.want)
			}
		})
	}
}
