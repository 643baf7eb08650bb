package embed

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func engine(t *testing.T, cfg EngineConfig) *Engine {
	t.Helper()
	e, err := StartEngine(t.Context(), cfg)
	if errors.Is(err, ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(10 * time.Second) })
	return e
}

func ask(t *testing.T, e *Engine, sql string) string {
	t.Helper()
	var b bytes.Buffer
	if err := e.http(t.Context(), sql, &b); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.TrimSpace(b.String())
}

func TestEngineKeepsDataAndComesBack(t *testing.T) {
	dir := t.TempDir()
	e := engine(t, EngineConfig{Dir: dir})
	ask(t, e, "CREATE TABLE hubscope.t (n Int64) ENGINE = MergeTree ORDER BY n")
	ask(t, e, "INSERT INTO hubscope.t SELECT number FROM numbers(1000)")

	// Killed, it is started again on the same port with its data.
	pid := e.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine is back", func() bool { return e.Pid() != pid && e.query(t.Context(), "SELECT 1") == nil })
	if got := ask(t, e, "SELECT count() FROM hubscope.t"); got != "1000" {
		t.Errorf("after kill -9: %s rows, want 1000", got)
	}

	// A second engine on the folder is refused with the reason.
	_, err := StartEngine(t.Context(), EngineConfig{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second engine on the folder: %v", err)
	}

	if err := e.Close(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	again := engine(t, EngineConfig{Dir: dir})
	if got := ask(t, again, "SELECT count() FROM hubscope.t"); got != "1000" {
		t.Errorf("after a restart: %s rows, want 1000", got)
	}
	if again.Password == e.Password {
		t.Error("the password is the same after a restart")
	}
}

func TestEngineAccess(t *testing.T) {
	dir := t.TempDir()
	e := engine(t, EngineConfig{Dir: dir})
	ask(t, e, "CREATE TABLE hubscope.t (n Int64) ENGINE = MergeTree ORDER BY n")
	reader := &Engine{HTTPAddr: e.HTTPAddr, User: e.Reader, Password: e.ReaderPassword}
	if err := reader.query(t.Context(), "SELECT count() FROM hubscope.t"); err != nil {
		t.Errorf("the reader cannot read: %v", err)
	}
	for _, sql := range []string{
		"INSERT INTO hubscope.t VALUES (1)", "DROP TABLE hubscope.t", "CREATE TABLE hubscope.u (n Int64) ENGINE = Memory",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM system.users", "SELECT count() FROM hubscope.t SETTINGS readonly = 0", "SYSTEM SHUTDOWN",
		"INSERT INTO FUNCTION file('x.csv') SELECT 1",
	} {
		if err := reader.query(t.Context(), sql); err == nil {
			t.Errorf("the reader may: %s", sql)
		}
	}
	for _, user := range []*Engine{{User: "default"}, {User: "hubscope"}, {User: "hubscope", Password: "x"}} {
		user.HTTPAddr = e.HTTPAddr
		if err := user.query(t.Context(), "SELECT 1"); err == nil {
			t.Errorf("user %q with password %q may log in", user.User, user.Password)
		}
	}
	for _, name := range []string{"config.xml", "users.xml"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", name, info.Mode(), err)
		}
	}
	if host, _, _ := net.SplitHostPort(e.Addr); host != "127.0.0.1" {
		t.Errorf("the engine listens on %s", e.Addr)
	}
}

func TestEnginePortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = StartEngine(t.Context(), EngineConfig{Dir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port})
	if errors.Is(err, ErrNoEngine) {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v, want one that says the port is taken", err)
	}
}

func TestFindNamesEveryWay(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv(LibraryEnv, filepath.Join(t.TempDir(), "none.so"))
	_, err := Finder{}.Find()
	if !errors.Is(err, ErrNoEngine) {
		t.Fatalf("error %v, want ErrNoEngine", err)
	}
	for _, want := range []string{"PATH", LibraryEnv, "none.so", "npm ci", "--clickhouse"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not name %q:\n%v", want, err)
		}
	}
}

func TestNATSKeepsStreams(t *testing.T) {
	dir := t.TempDir()
	s, err := StartNATS(t.Context(), NATSConfig{Dir: dir, Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(url string) *jetstream.StreamInfo {
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "s", []byte("x")); err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	publish(s.URL)
	if nc, err := nats.Connect(strings.Replace(s.URL, "hubscope:p@", "", 1)); err == nil {
		nc.Close()
		t.Error("a client without the password may connect")
	}
	port := s.server.Addr().(*net.TCPAddr).Port
	if _, err := StartNATS(t.Context(), NATSConfig{Dir: t.TempDir(), Port: port}); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("second server on the port: %v", err)
	}
	s.Close()
	s, err = StartNATS(t.Context(), NATSConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info := publish(s.URL); info.State.Msgs != 2 {
		t.Errorf("%d messages after a restart, want 2", info.State.Msgs)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 2 min: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
