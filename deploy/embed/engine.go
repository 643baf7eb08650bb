package embed

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"

	_ "embed"
)

// Database is the ClickHouse database that hubscope keeps its tables in.
const Database = "hubscope"

// EngineConfig says where and how the ClickHouse engine runs.
type EngineConfig struct {
	// Dir holds the data and the configuration; made when absent.
	Dir string
	// Port and HTTPPort on 127.0.0.1; 0 takes a free one.
	Port, HTTPPort int
	// MaxMemory bounds the engine's memory in bytes; 0 is half of the machine's.
	MaxMemory int64
	// Log receives the engine's warnings; nil discards them.
	Log *slog.Logger
	// Find locates the engine; the zero value uses the default places.
	Find Finder
}

// Engine is a running ClickHouse server process, loopback only.
type Engine struct {
	// Addr and HTTPAddr are host:port of the native and the HTTP protocol.
	Addr, HTTPAddr string
	// User may do everything in Database and manage the server.
	User, Password string
	// Reader may only read Database, within limits that it can lower.
	Reader, ReaderPassword string
	// Version as the server states it.
	Version string

	cfg    EngineConfig
	found  Found
	log    *slog.Logger
	mu     sync.Mutex
	proc   *process
	closed bool
	done   chan struct{}
}

// process is one life of the child.
type process struct {
	cmd    *exec.Cmd
	live   io.Closer // closing it asks the child to stop
	exited chan struct{}
	stderr *tail
}

// DSN returns a clickhouse-go data source name for the writing user.
func (e *Engine) DSN() string { return e.dsn(e.User, e.Password) }

// ReaderDSN returns one for the reading user.
func (e *Engine) ReaderDSN() string { return e.dsn(e.Reader, e.ReaderPassword) }

func (e *Engine) dsn(user, password string) string {
	u := url.URL{Scheme: "clickhouse", User: url.UserPassword(user, password), Host: e.Addr, Path: "/" + Database}
	return u.String()
}

// Pid returns the process id of the server, 0 when it is down.
func (e *Engine) Pid() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.proc == nil {
		return 0
	}
	return e.proc.cmd.Process.Pid
}

// StartEngine starts the engine and returns when it answers queries on both
// ports. It is started again on the same ports should it end by itself, until
// Close. The process ends with this one, however this one ends.
func StartEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	found, err := cfg.Find.Find()
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		User: "hubscope", Password: rand.Text(), Reader: "reader", ReaderPassword: rand.Text(),
		cfg: cfg, found: found, log: cfg.Log, done: make(chan struct{}),
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine folder: %w", err)
	}
	if e.Addr, err = loopbackAddr(cfg.Port); err != nil {
		return nil, fmt.Errorf("engine port: %w", err)
	}
	if e.HTTPAddr, err = loopbackAddr(cfg.HTTPPort); err != nil {
		return nil, fmt.Errorf("engine HTTP port: %w", err)
	}
	p, err := e.start(ctx)
	if err != nil {
		return nil, err
	}
	e.proc = p
	if err := e.query(ctx, "CREATE DATABASE IF NOT EXISTS "+Database); err != nil {
		p.stop(time.Second)
		return nil, fmt.Errorf("create database: %w", err)
	}
	go e.supervise()
	return e, nil
}

// supervise starts the child again whenever it ends and Close was not called.
func (e *Engine) supervise() {
	defer close(e.done)
	wait := 100 * time.Millisecond
	for {
		e.mu.Lock()
		p := e.proc
		e.mu.Unlock()
		<-p.exited
		e.mu.Lock()
		closed := e.closed
		e.mu.Unlock()
		if closed {
			return
		}
		e.log.Error("engine ended, starting it again", "pid", p.cmd.Process.Pid, "stderr", p.stderr.String())
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		next, err := e.start(ctx)
		cancel()
		if err != nil {
			e.log.Error("engine does not start", "error", err)
			time.Sleep(wait)
			wait = min(2*wait, 10*time.Second)
			continue
		}
		wait = 100 * time.Millisecond
		e.mu.Lock()
		e.proc = next
		closed = e.closed
		e.mu.Unlock()
		if closed {
			next.stop(10 * time.Second)
			return
		}
	}
}

// Close stops the engine: no new connections, running queries killed, data
// flushed. It waits for at most timeout before it ends the process by force;
// acknowledged rows survive that too.
func (e *Engine) Close(timeout time.Duration) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		<-e.done
		return nil
	}
	e.closed = true
	p := e.proc
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), timeout/2)
	// A query that runs on would hold up the orderly stop.
	e.query(ctx, "KILL QUERY WHERE query_id != queryID() ASYNC")
	cancel()
	clean := p.stop(timeout)
	<-e.done
	if !clean {
		return fmt.Errorf("engine did not stop within %v and was killed", timeout)
	}
	return nil
}

func (p *process) stop(timeout time.Duration) (clean bool) {
	p.live.Close()
	select {
	case <-p.exited:
		return true
	case <-time.After(timeout):
		p.cmd.Process.Kill()
		<-p.exited
		return false
	}
}

//go:embed config.xml
var configXML string

//go:embed users.xml
var usersXML string

// configure writes the engine's configuration, readable by us alone.
func (e *Engine) configure() error {
	_, port, _ := net.SplitHostPort(e.Addr)
	_, httpPort, _ := net.SplitHostPort(e.HTTPAddr)
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	data := map[string]any{
		"Dir": e.cfg.Dir, "Port": port, "HTTPPort": httpPort, "Database": Database,
		"Library": e.found.Library != "", "MaxMemory": e.cfg.MaxMemory, "Users": filepath.Join(e.cfg.Dir, "users.xml"),
		"User": e.User, "PasswordHash": hash(e.Password),
		"Reader": e.Reader, "ReaderPasswordHash": hash(e.ReaderPassword),
	}
	for name, text := range map[string]string{"config.xml": configXML, "users.xml": usersXML} {
		// The values are ours (paths, hashes, numbers); paths are escaped.
		t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"xml": xmlText}).Parse(text)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, data); err != nil {
			return err
		}
		if err := writePrivate(filepath.Join(e.cfg.Dir, name), b.Bytes()); err != nil {
			return err
		}
	}
	return writePrivate(filepath.Join(e.cfg.Dir, "start.sql"), []byte("SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;\n"))
}

func writePrivate(path string, b []byte) error {
	// A file of an earlier start keeps its mode, so it is made anew.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// start runs one life of the child until it answers.
func (e *Engine) start(ctx context.Context) (*process, error) {
	for _, addr := range []string{e.Addr, e.HTTPAddr} {
		if err := portFree(addr); err != nil {
			return nil, fmt.Errorf("engine port: %w", err)
		}
	}
	if err := e.configure(); err != nil {
		return nil, fmt.Errorf("engine configuration: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	_, port, _ := net.SplitHostPort(e.Addr)
	_, httpPort, _ := net.SplitHostPort(e.HTTPAddr)
	var cmd *exec.Cmd
	if e.found.Library != "" {
		exe, err := os.Executable()
		if err != nil {
			w.Close()
			return nil, err
		}
		cmd = exec.Command(exe, childArg,
			"--config-file", filepath.Join(e.cfg.Dir, "config.xml"),
			"--path", filepath.Join(e.cfg.Dir, "data"),
			"--tcp_port", port, "--http_port", httpPort, "--listen_host", "127.0.0.1",
			// Without this it logs at level trace, whatever <logger> says.
			"--log-level", "warning",
			"--queries-file", filepath.Join(e.cfg.Dir, "start.sql"))
		cmd.Env = append(os.Environ(), childEnv+"="+e.found.Library)
	} else {
		cmd = exec.Command(e.found.Binary, "server", "--config-file", filepath.Join(e.cfg.Dir, "config.xml"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Ctrl-C goes to the whole foreground group; the engine must outlive the
	// collector's last insert.
	cmd.SysProcAttr.Setpgid = true
	p := &process{cmd: cmd, live: w, exited: make(chan struct{}), stderr: &tail{}}
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stdout, cmd.Stderr = p.stderr, p.stderr
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start engine: %w", err)
	}
	go func() {
		cmd.Wait()
		w.Close()
		close(p.exited)
	}()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		version, err := e.version(ctx)
		if err == nil {
			if conn, dialErr := net.DialTimeout("tcp", e.Addr, time.Second); dialErr == nil {
				conn.Close()
				e.Version = version
				return p, nil
			}
		}
		select {
		case <-p.exited:
			// The exit status says nothing here: the engine ends with 0 also
			// when it could not lock its folder or bind its port.
			return nil, fmt.Errorf("engine ended before it was ready: %s", explain(p.stderr.String()))
		case <-deadline.C:
			p.stop(time.Second)
			return nil, fmt.Errorf("engine not ready within a minute: %s", explain(p.stderr.String()))
		case <-ctx.Done():
			p.stop(time.Second)
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// explain puts what users can act on before the engine's own words.
func explain(stderr string) string {
	stderr = strings.TrimSpace(stderr)
	switch {
	case stderr == "":
		return "it gave no reason"
	case strings.Contains(stderr, "Cannot lock file"):
		return "its data folder is in use by another process\n" + stderr
	case strings.Contains(stderr, "No space left on device"), strings.Contains(stderr, "Not enough space"):
		return "the disk is full\n" + stderr
	case strings.Contains(stderr, "Address already in use"):
		return "its port is taken\n" + stderr
	}
	return stderr
}

func (e *Engine) version(ctx context.Context) (string, error) {
	var b bytes.Buffer
	err := e.http(ctx, "SELECT version() AS v FORMAT JSONEachRow", &b)
	var row struct{ V string }
	if err == nil {
		err = json.Unmarshal(b.Bytes(), &row)
	}
	return row.V, err
}

func (e *Engine) query(ctx context.Context, sql string) error { return e.http(ctx, sql, io.Discard) }

func (e *Engine) http(ctx context.Context, sql string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+e.HTTPAddr+"/", strings.NewReader(sql))
	if err != nil {
		return err
	}
	req.SetBasicAuth(e.User, e.Password)
	// A kept connection would hold up the engine's orderly stop by seconds.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return fmt.Errorf("engine: %s: %s", resp.Status, bytes.TrimSpace(b))
	}
	_, err = io.Copy(w, resp.Body)
	return err
}

// tail keeps the last few kilobytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailBytes {
		t.b = append([]byte(nil), t.b[len(t.b)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// loopbackAddr returns 127.0.0.1:port, with a free port for 0.
func loopbackAddr(port int) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// portFree says whether addr can be bound now. A dead engine's port may stay
// taken for a moment, so it waits a little.
func portFree(addr string) error {
	var err error
	for range 50 {
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return l.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// Found is an engine on this machine: a server binary or the library.
type Found struct {
	Binary  string
	Library string
}

// Finder looks for the engine: a clickhouse binary on PATH, then the library
// that environment variable HUBSCOPE_LIBCHDB names, then the one that npm
// installed under deploy/engine, seen from the working directory or the
// executable, upwards. The zero value looks in all of them.
type Finder struct {
	// SkipPath leaves out the binary on PATH.
	SkipPath bool
}

// LibraryEnv names the library to use.
const LibraryEnv = "HUBSCOPE_LIBCHDB"

// ErrNoEngine is wrapped by what Find returns when there is none.
var ErrNoEngine = errors.New("no ClickHouse engine found")

// Find returns the first engine there is.
func (f Finder) Find() (Found, error) {
	var tried []string
	if f.SkipPath {
		tried = append(tried, "  a clickhouse binary on PATH: not asked for")
	} else if path, err := exec.LookPath("clickhouse"); err != nil {
		tried = append(tried, "  a clickhouse binary on PATH: none")
	} else if err := recent(path); err != nil {
		tried = append(tried, fmt.Sprintf("  %s: %v", path, err))
	} else {
		return Found{Binary: path}, nil
	}
	if path := os.Getenv(LibraryEnv); path == "" {
		tried = append(tried, "  environment variable "+LibraryEnv+" (path of libchdb.so): not set")
	} else if _, err := os.Stat(path); err != nil {
		tried = append(tried, fmt.Sprintf("  %s=%s: %v", LibraryEnv, path, err))
	} else {
		return Found{Library: path}, nil
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	library := filepath.Join("deploy", "engine", "node_modules", "@chdb", "lib-linux-"+arch+"-gnu", "libchdb.so")
	var roots []string
	if exe, err := os.Executable(); err == nil {
		roots = append(roots, filepath.Dir(exe))
	}
	if dir, err := os.Getwd(); err == nil {
		roots = append(roots, dir)
	}
	for _, root := range roots {
		for dir := root; ; dir = filepath.Dir(dir) {
			path := filepath.Join(dir, library)
			if _, err := os.Stat(path); err == nil {
				return Found{Library: path}, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	tried = append(tried, "  "+library+" above "+strings.Join(roots, " or ")+": none (npm ci in deploy/engine installs it)")
	return Found{}, fmt.Errorf("%w. Looked for:\n%s\nOr use a server of your own: --clickhouse clickhouse://user:password@host:9000/%s",
		ErrNoEngine, strings.Join(tried, "\n"), Database)
}

// oldestServer is the first server version whose SQL the compiler relies on.
const oldestServer = 25

// recent refuses servers that are too old, such as Debian 12's 18.16.
func recent(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "server", "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("does not tell its version: %w", err)
	}
	_, rest, _ := strings.Cut(string(out), "version ")
	major, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestServer {
		return fmt.Errorf("version %q, need %d or newer", strings.TrimSpace(string(out)), oldestServer)
	}
	return nil
}
