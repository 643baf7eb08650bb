// Package e2e runs the binary as users do and looks at what they see: real
// clients connect, and a moment later KQL tells what was negotiated.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hubscope/deploy/embed"
)

// Ready is the part of ready.json that the tests use.
type Ready struct {
	Query                   string `json:"query"`
	MQTT                    string `json:"mqtt"`
	HTTPS                   string `json:"https"`
	NATS                    string `json:"nats"`
	ClickHouse              string `json:"clickhouse"`
	Hub                     string `json:"hub"`
	Host                    string `json:"host"`
	ServerCA                string `json:"server_ca"`
	ServiceConnectionString string `json:"service_connection_string"`
	Data                    string `json:"data"`
}

// binary builds bin/hubscope once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hubscope-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hubscope")
	out, err := exec.Command("go", "build", "-o", path, "hubscope/deploy/hubscope").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// stack is a running `hubscope up`.
type stack struct {
	Ready
	t   *testing.T
	bin string
	cmd *exec.Cmd
	out *bytes.Buffer
	end chan error
}

// up starts the stack on a data folder and waits until it is ready.
func up(t *testing.T, data string, args ...string) *stack {
	t.Helper()
	if _, err := (embed.Finder{}).Find(); errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, bin: bin, out: new(bytes.Buffer), end: make(chan error, 1)}
	file := filepath.Join(t.TempDir(), "ready.json")
	s.cmd = exec.Command(bin, append([]string{"up", "--data", data, "--ports", "auto", "--ready-file", file}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.end <- s.cmd.Wait() }()
	t.Cleanup(func() {
		if s.cmd != nil {
			s.interrupt() // so that the folder can be removed
		}
	})
	deadline := time.Now().Add(5 * time.Minute)
	for {
		if b, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(b, &s.Ready); err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
				t.Errorf("the ready file holds secrets and has mode %v", info.Mode())
			}
			return s
		}
		select {
		case err := <-s.end:
			t.Fatalf("hubscope up ended: %v\n%s", err, s.out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.kill()
			t.Fatalf("not ready within 5 min:\n%s", s.out)
		}
	}
}

// interrupt is Ctrl-C; it returns when the process has ended.
func (s *stack) interrupt() {
	s.t.Helper()
	start := time.Now()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.end:
		s.cmd = nil
		if err != nil {
			s.t.Errorf("after Ctrl-C: %v\n%s", err, s.out)
		}
		s.t.Logf("stopped in %v", time.Since(start))
	case <-time.After(2 * time.Minute):
		s.kill()
		s.t.Fatalf("did not stop within 2 min of Ctrl-C:\n%s", s.out)
	}
}

func (s *stack) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		<-s.end
		s.cmd = nil
	}
}

// run runs a command of the binary against the stack and returns its standard
// output; a failure ends the test.
func (s *stack) run(args ...string) string {
	s.t.Helper()
	out, stderr, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("hubscope %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return out
}

func (s *stack) try(args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Env = append(os.Environ(), "HUBSCOPE_DATA="+s.Data)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// answer is what the query API returns.
type answer struct {
	Columns []struct{ Name, Type string }
	Rows    [][]any
	Error   *struct{ Code, Message string }
}

// query asks the HTTP API; a refused query ends the test.
func (s *stack) query(kql string) answer {
	s.t.Helper()
	body, _ := json.Marshal(map[string]string{"query": kql})
	resp, err := http.Post(s.Query+"/api/v1/query", "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		s.t.Fatalf("%s: %v\n%s", kql, err, b)
	}
	if resp.StatusCode != http.StatusOK || a.Error != nil {
		s.t.Fatalf("%s: %s\n%s", kql, resp.Status, b)
	}
	return a
}

// await asks again until the query returns at least n rows: an event needs a
// moment from the hub to the table.
func (s *stack) await(kql string, n int) answer {
	s.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		a := s.query(kql)
		if len(a.Rows) >= n {
			return a
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %d rows after 5 min, want %d", kql, len(a.Rows), n)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tool returns the path of a program; without it the test is skipped, or
// fails when CI is set.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// command runs a program with a time limit and returns all it printed.
func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool(t, name), args...).CombinedOutput()
	return string(out), err
}
