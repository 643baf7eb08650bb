package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"hubscope/query/client"
)

// screen is a terminal with a program in it.
type screen struct {
	t      *testing.T
	socket string
}

// open runs a command in a terminal of tmux.
func open(t *testing.T, width, height int, env []string, command ...string) *screen {
	t.Helper()
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "hubscope-tmux-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &screen{t, filepath.Join(dir, "s")}
	args := append([]string{"-S", s.socket, "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "env"}, env...)
	if out, err := exec.Command(tmux, append(args, command...)...).CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command(tmux, "-S", s.socket, "kill-server").Run() }) //nolint:errcheck // it may be over already
	return s
}

// keys presses keys: names as tmux has them, or text.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if strings.HasSuffix(k, ";") {
			k = strings.TrimSuffix(k, ";") + `\;` // tmux has its own meaning for it
		}
		if out, err := exec.Command("tmux", "-S", s.socket, "send-keys", k).CombinedOutput(); err != nil {
			s.t.Fatalf("send-keys %q: %v: %s", k, err, out)
		}
	}
}

// show returns what the screen shows.
func (s *screen) show() string {
	out, err := exec.Command("tmux", "-S", s.socket, "capture-pane", "-p", "-J").CombinedOutput()
	if err != nil {
		return "tmux: " + string(out)
	}
	return string(out)
}

// wait waits until the screen shows a text, a regular expression.
func (s *screen) wait(text string) string {
	s.t.Helper()
	re := regexp.MustCompile("(?m)" + text)
	deadline := time.Now().Add(time.Minute)
	for {
		shown := s.show()
		if re.MatchString(shown) {
			return shown
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not on the screen:\n%s", text, shown)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestPrompt uses the prompt as a person does.
func TestPrompt(t *testing.T) {
	s := start(t)
	var events strings.Builder
	for i := range 6 {
		fmt.Fprintf(&events, `{"TimeGenerated":%q,"Hub":"plant-7","OperationName":"deviceConnect","DeviceId":"pump-%d","TlsVersion":"1.%d"}`+"\n",
			time.Now().UTC().Format(time.RFC3339Nano), i, 2+i%2)
	}
	if err := s.store(events.String()); err != nil {
		t.Fatal(err)
	}
	opts, err := driver.ParseDSN(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	count := func(query string, args ...any) uint64 {
		t.Helper()
		var n uint64
		if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for !ok() {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	until("the events are not stored", func() bool { return count("SELECT count() FROM Connections") == 6 })

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "hubscope") // the name decides what the test's binary is
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	env := []string{"HUBSCOPE_URL=" + s.url, "XDG_STATE_HOME=" + state, "NO_COLOR=1", "TERM=screen"}
	sc := open(t, 110, 40, env, "sh", "-c", "trap : INT; "+program+" query; echo status $?; sleep 60")

	sc.wait("Tab completes; .help tells more")
	// Tables, operators, columns of the table, comparisons, values.
	sc.keys("Conn", "Tab")
	sc.wait(`^hubscope> Connections`)
	sc.keys("| whe", "Tab", "tls", "Tab")
	sc.wait(`^TlsVersion +-- string  Negotiated TLS version`)
	sc.keys("v", "Tab")
	sc.wait(`where TlsVersion `)
	sc.keys(`== "`, "Tab")
	sc.wait(`values of TlsVersion`)
	sc.wait(`"1\.2"  "1\.3"`)
	sc.keys(`2"`, "Enter")
	// The columns behind a pipe are those of the pipeline so far.
	sc.keys(`| summarize Devices = dco`, "Tab")
	sc.wait(`aggregates`)
	sc.keys(`(DeviceId) by Hub`, "Enter", "| extend x = Dev", "Tab")
	shown := sc.wait(`extend x = Devices`)
	if strings.Contains(shown, "DeviceId  ") {
		t.Errorf("a column that summarize has dropped is offered:\n%s", shown)
	}
	sc.keys("+ 1", "Enter", "Enter")
	sc.wait(`^plant-7 +3 +4$`)
	sc.wait(`^1 row in .*read`)

	// Errors have a caret, and the prompt goes on.
	sc.keys("Connections | where TlsVersoin == 1;", "Enter")
	sc.wait(`\^\^\^ did you mean TlsVersion\?`)
	// History, over all lines of a query.
	sc.keys("Up", "Up")
	sc.wait(`\| extend x = Devices \+ 1\s+$`)
	sc.keys("C-c")
	sc.wait(`hubscope>\s*\z`)

	// let does not end with its semicolon.
	sc.keys("let n = 40;", "Enter", "print answer = n + 2;", "Enter")
	sc.wait(`^ +42$`)

	sc.keys(".schema Devices", "Enter")
	sc.wait(`^BestOfferedVersion +string +Best TLS version`)
	sc.keys(".explain Connections | where DeviceId == 'x'", "Enter")
	sc.wait(`^tables +Connections`)
	sc.keys(".format csv", "Enter", ".timing off", "Enter", "print a = 1, b = 'x,y';", "Enter")
	sc.wait("^a,b\n1,\"x,y\"\nhubscope>")
	sc.keys(".format xml", "Enter")
	sc.wait(`no format "xml"; there are table, csv`)
	sc.keys(".since 1h", "Enter", "Connections | count;", "Enter")
	sc.wait("^Count\n6\n")

	// Ctrl-C ends a query in the engine, not the prompt.
	const slow = "range x from 1 to 100000000 step 1 | extend hash_sha256(strcat(x, 'slow')) | summarize max(Column1)"
	running := func() bool {
		return count("SELECT count() FROM system.processes WHERE query LIKE '%SHA256%slow%' AND query NOT LIKE '%system.processes%'") > 0
	}
	sc.keys(slow+";", "Enter")
	until("the slow query does not run", running)
	sc.wait(`reading .* rows.*, .*B, .* s`)
	sc.keys("C-c")
	sc.wait(`^interrupted`)
	until("the query still runs", func() bool { return !running() })

	// Following, until Ctrl-C.
	sc.keys(".tail Connections | where DeviceId == 'live'", "Enter")
	until("nobody follows", func() bool { return s.feed.active.Load() == 1 })
	if err := s.store(`{"TimeGenerated":"2026-03-02T11:00:00Z","Hub":"plant-7","OperationName":"deviceConnect","DeviceId":"live","TlsVersion":"1.3"}`); err != nil {
		t.Fatal(err)
	}
	sc.wait(`plant-7/live +connected +TLS 1.3`)
	sc.keys("C-c")
	until("the tail goes on", func() bool { return s.feed.active.Load() == 0 })
	sc.keys("print 'still' + ' here';", "Enter", "print x = strcat('still', ' here');", "Enter")
	sc.wait(`^still here\s+hubscope>\s*\z`)

	sc.keys("C-d")
	sc.wait(`^status 0$`)
	b, err := os.ReadFile(filepath.Join(state, "hubscope", "history"))
	if err != nil || !strings.Contains(string(b), `summarize Devices = dcount(DeviceId) by Hub\n`) {
		t.Errorf("history: %v\n%s", err, b)
	}
	if info, err := os.Stat(filepath.Join(state, "hubscope", "history")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("history: %v, %v", info, err)
	}
}

// TestCtrlCOfOneQuery: without a prompt Ctrl-C ends the program with 130, and
// the query in the engine.
func TestCtrlCOfOneQuery(t *testing.T) {
	s := start(t)
	opts, err := driver.ParseDSN(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	running := func() bool {
		t.Helper()
		var n uint64
		err := conn.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '%SHA256%once%' AND query NOT LIKE '%system.processes%'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "hubscope")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "query", "range x from 1 to 100000000 step 1 | extend hash_sha256(strcat(x, 'once')) | summarize max(Column1)")
	cmd.Env = append(os.Environ(), "HUBSCOPE_URL="+s.url)
	var text strings.Builder
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !running(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the query does not run")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 || strings.TrimSpace(text.String()) != "interrupted" {
		t.Errorf("%v, %q", err, text.String())
	}
	for deadline := time.Now().Add(time.Minute); running(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the query still runs")
		}
	}
}

func TestComplete(t *testing.T) {
	tests := map[string]bool{
		"": true, "  ": true, ".help": true, "Connections": false, "Connections;": true, "Connections; ": true, "Connections\n": true, "Connections\n  ": true,
		"Connections\n| count": false, "let x = 1;": false, "let x = 1;\nprint x;": true, "let x = 1; print x": false, "print ';'": false,
		"print ';';": true, "print 1 // ;": false, "print 1; // done": true, "declare query_parameters(n: long);": false, "let f = () { print 1; };": false,
	}
	for text, want := range tests {
		if got := complete(text); got != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func TestHighlight(t *testing.T) {
	for _, text := range []string{
		"Connections | where TlsVersion == \"1.2\" and n > 12.5 // why\n| project-away x, @'a\\', 'it\\'s", "|", "'", "a..b !has_any(", "äöü | ẞ \xff 1d",
	} {
		got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(highlight(text), "")
		if diff := cmp.Diff(text, got); diff != "" {
			t.Errorf("colours change the text (-want +got):\n%s", diff)
		}
	}
}

// TestSuggest: what is offered at the end of a text.
func TestSuggest(t *testing.T) {
	s := start(t)
	b := &book{client: &client.Client{URL: s.url}, since: func() string { return "" }}
	if err := b.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		text, prefix string
		want, not    string // words that are offered, and that are not
	}{
		{"", "", "Connections Devices print let", "where TlsVersion"},
		{"Con", "Con", "Connections", ""},
		{"Connections ", "", "", "Connections TlsVersion"},
		{"Connections | ", "", "where summarize make-series project-away", "TlsVersion has"},
		{"Connections | project-a", "project-a", "project-away", ""},
		{"Connections | where ", "", "TlsVersion tolower(", "dcount( == where"},
		{"Connections | where Tls", "Tls", "TlsVersion TlsCipher", ""},
		{"Connections | where TlsVersion ", "", "== has !in ( and", "TlsVersion tolower("},
		{"Connections | where TlsVersion == '1.2' ", "", "and or", "DeviceId"},
		{"Connections | where TlsVersion == '1.2' and ", "", "DeviceId strlen(", "=="},
		{"Connections | where strlen(", "", "DeviceId tolower(", "=="},
		{"Connections | summarize ", "", "dcount( DeviceId", "strlen("},
		{"Connections | summarize n = count() by ", "", "DeviceId bin(", "dcount("},
		{"Connections | summarize n = count() by Hub | where ", "", "n Hub", "DeviceId"},
		{"let low = Connections | where TlsVersion < '1.2' | project D = DeviceId;\nlow | where ", "", "D", "DeviceId"},
		{"let low = 1;\n", "", "low Connections", ""},
		{"Connections | join kind=", "", "leftouter innerunique", "DeviceId"},
		{"Connections | join kind=inner (", "", "Devices", "DeviceId where"},
		{"Connections | join kind=inner (Devices | ", "", "where", "Devices"},
		{"Connections | join kind=inner (Devices | where ", "", "BestOfferedVersion", "RemotePort"},
		{"Connections | join kind=inner (Devices) on ", "", "DeviceId RemotePort", "FirstSeen"},
		{"Connections | sort by ", "", "TimeGenerated", ""},
		{"Connections | sort by TimeGenerated ", "", "asc desc", "TimeGenerated"},
		{"Connections | count | render ", "", "timechart piechart", "Count"},
		{"Connections | take ", "", "", "TlsVersion"},
		{"Connections | where x == 1 // whe", "", "", "where"},
		{"Connections | where x > 1", "", "", "where"},
		{".sch", ".sch", ".schema .tail", ""},
		{".schema De", "De", "Devices", ".schema"},
		{".format ", "", "csv markdown", ""},
		{".tail Connections | ", "", "where project", "summarize"},
		{".explain Connections | where ", "", "TlsVersion", ""},
	}
	for _, tt := range tests {
		prefix, list := b.suggest(t.Context(), tt.text)
		if prefix != tt.prefix {
			t.Errorf("%q: want the beginning %q, got %q", tt.text, tt.prefix, prefix)
		}
		offered := map[string]bool{}
		for _, c := range list {
			offered[c.value], offered[strings.TrimSuffix(c.value, " (")] = true, true
		}
		for _, w := range strings.Fields(tt.want) {
			if w != "(" && !offered[w] {
				t.Errorf("%q: %s is not offered", tt.text, w)
			}
		}
		for _, w := range strings.Fields(tt.not) {
			if offered[w] {
				t.Errorf("%q: %s is offered", tt.text, w)
			}
		}
	}
}
