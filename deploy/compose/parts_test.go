package compose

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hubscope/deploy/embed"
)

// bin is a folder for all tests.
var bin string

// binary builds hubscope once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(bin, "hubscope")
	if out, err := exec.Command("go", "build", "-o", path, "hubscope/deploy/hubscope").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "hubscope-compose-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(bin)
	os.Exit(code)
}

// environment has the binary on its path, as the image has.
func environment(t testing.TB, more ...string) []string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return append(append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH")), more...)
}

// need skips a test without a program, or fails it when CI is set.
func need(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func runInit(t testing.TB, secrets string) string {
	t.Helper()
	need(t, "openssl")
	cmd := exec.CommandContext(t.Context(), "sh", "init.sh")
	cmd.Env = environment(t, "SECRETS="+secrets)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("init.sh: %v\n%s", err, out)
	}
	return string(out)
}

// initialize runs init.sh in a folder of its own.
func initialize(t testing.TB) (secrets string) {
	t.Helper()
	secrets = t.TempDir()
	runInit(t, secrets)
	return secrets
}

// contents are the files below a folder.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestInit: what init.sh makes is there once, and certificates are good for
// their names.
func TestInit(t *testing.T) {
	secrets := initialize(t)
	first := contents(t, secrets)
	if out := runInit(t, secrets); out != "init: done\n" {
		t.Errorf("a second run says %q", out)
	}
	if diff := cmp.Diff(first, contents(t, secrets)); diff != "" {
		t.Errorf("a second run changes (-first +second):\n%s", diff)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(first["ca/ca.pem"]))
	names := map[string]string{"hubscope": "serve", "nats": "nats", "clickhouse": "clickhouse"}
	verify := func(files map[string]string, folder string) *x509.Certificate {
		t.Helper()
		pair, err := tls.X509KeyPair([]byte(files[folder+"/server.pem"]), []byte(files[folder+"/server.key"]))
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		for _, name := range []string{names[folder], "localhost", "127.0.0.1"} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
				t.Errorf("%s: %v", folder, err)
			}
		}
		return pair.Leaf
	}
	for folder := range names {
		verify(first, folder)
	}
	for _, folder := range []string{"hubscope", "clickhouse", "grafana"} {
		if first[folder+"/ca.pem"] != first["ca/ca.pem"] {
			t.Errorf("%s has another root", folder)
		}
	}
	for name := range first {
		if strings.HasSuffix(name, "ca.key") && name != "ca/ca.key" {
			t.Errorf("the root's key is in %s", name)
		}
	}
	if block, _ := pem.Decode([]byte(first["ca/ca.pem"])); block == nil || strings.Contains(first["ca/ca.pem"], "PRIVATE") {
		t.Error("the root is no certificate, or has its key with it")
	}

	// One that ends within 30 days is made anew; the others stay.
	sign := exec.CommandContext(t.Context(), "sh", "-c", "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=serve -keyout /dev/null | "+
		"openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 29 -out serve.crt")
	sign.Dir = filepath.Join(secrets, "ca")
	if out, err := sign.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	runInit(t, secrets)
	second := contents(t, secrets)
	if verify(second, "hubscope").Equal(verify(first, "hubscope")) {
		t.Error("a certificate that ends is not made anew")
	}
	if second["nats/server.pem"] != first["nats/server.pem"] || second["hubscope/tokens.yaml"] != first["hubscope/tokens.yaml"] {
		t.Error("what is good is made anew")
	}

	// With another root all certificates are made anew, passwords and token stay.
	if err := os.Remove(filepath.Join(secrets, "ca", "ca.pem")); err != nil {
		t.Fatal(err)
	}
	runInit(t, secrets)
	third := contents(t, secrets)
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(third["ca/ca.pem"]))
	for folder := range names {
		verify(third, folder)
	}
	for _, name := range []string{"nats/auth.conf", "hubscope/tokens.yaml", "grafana/token", "clickhouse/secrets.xml"} {
		if third[name] != first[name] {
			t.Errorf("%s changes with the root", name)
		}
	}
}

// mounted is a file of this folder as a service sees it, with paths in the
// container and addresses replaced.
func mounted(t testing.TB, name, path string, replace ...string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s has no %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startNATS runs a server with nats.conf; it returns its address.
func startNATS(t *testing.T, secrets string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(secrets, "nats"), filepath.Join(dir, "secrets")); err != nil {
		t.Fatal(err)
	}
	path := mounted(t, "nats.conf", filepath.Join(dir, "nats.conf"), "/etc/nats/", dir+"/", "0.0.0.0:4222", "127.0.0.1:-1",
		"127.0.0.1:8222", "127.0.0.1:-1", "/var/lib/nats", t.TempDir(), "timeout: 5\n", "timeout: 120\n")
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(5 * time.Minute) {
		t.Fatal("NATS is not ready within 5 minutes")
	}
	if !opts.SyncAlways || opts.JetStreamMaxStore == 0 || opts.MaxPayload != 8<<20 {
		t.Errorf("options %+v", opts)
	}
	// The health check of compose.yaml.
	test := project(t).Services["nats"].HealthCheck.Test
	check := strings.Replace(test[len(test)-1], "127.0.0.1:8222", s.MonitorAddr().String(), 1)
	resp, err := http.Get(check)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", check, resp.Status)
	}
	return s.Addr().String()
}

// startClickHouse runs the engine with the files that are joined to the
// server's configuration, and a proxy with its certificate in front: the library
// listens without TLS only. It returns the proxy's address.
func startClickHouse(t *testing.T, secrets string) string {
	t.Helper()
	found, err := (embed.Finder{SkipPath: true}).Find()
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What of the server's own files ours are joined to.
	own("config.xml", fmt.Sprintf(`<clickhouse>
	<tcp_port>9000</tcp_port><http_port>8123</http_port><mysql_port>9004</mysql_port><postgresql_port>9005</postgresql_port><interserver_http_port>9009</interserver_http_port>
	<path>%[1]s/data/</path><tmp_path>%[1]s/data/tmp/</tmp_path><user_files_path>%[1]s/data/files/</user_files_path>
	<users_config>%[1]s/users.xml</users_config><user_directories><users_xml><path>%[1]s/users.xml</path></users_xml></user_directories>
	<default_profile>default</default_profile><default_database>default</default_database>
	<query_log><database>system</database><table>query_log</table></query_log><trace_log><database>system</database><table>trace_log</table></trace_log>
</clickhouse>`, dir))
	own("users.xml", `<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default>
	<password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota><access_management>1</access_management>
</default></users></clickhouse>`)
	mounted(t, "clickhouse/config.xml", filepath.Join(dir, "config.d", "hubscope.xml"), "/etc/clickhouse-server/secrets/", secrets+"/clickhouse/")
	mounted(t, "clickhouse/users.xml", filepath.Join(dir, "users.d", "hubscope.xml"), "/etc/clickhouse-server/secrets/", secrets+"/clickhouse/")
	// The library's own session, which starts the listener, is the default user's.
	own("users.d/library.xml", `<clickhouse><users><default><no_password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
	<grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants></default></users></clickhouse>`)
	own("start.sql", "SYSTEM START LISTEN TCP;\n")
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// This binary is the engine when it is called so; see package embed.
	cmd := exec.Command(exe, "engine", "--config-file", filepath.Join(dir, "config.xml"), "--path", filepath.Join(dir, "data"),
		"--tcp_port", port, "--listen_host", "127.0.0.1", "--log-level", "warning", "--queries-file", filepath.Join(dir, "start.sql"))
	cmd.Env = append(os.Environ(), "HUBSCOPE_ENGINE_LIBRARY="+found.Library)
	var log bytes.Buffer
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{r}, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		w.Close()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-ended
		}
	})
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("the engine ended:\n%s", &log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine is not ready:\n%s", &log)
		}
	}

	pair, err := tls.LoadX509KeyPair(filepath.Join(secrets, "clickhouse", "server.pem"), filepath.Join(secrets, "clickhouse", "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer front.Close()
				back, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer back.Close()
				go func() { io.Copy(back, front); back.Close() }()
				io.Copy(front, back)
			}()
		}
	}()
	return l.Addr().String()
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// secret reads a file of init.sh, with a service's address replaced.
func secret(t testing.TB, path string, replace ...string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(replace...).Replace(strings.TrimSpace(string(b)))
}

// TestNATS: the server takes TLS and the user of init.sh, and nothing else.
func TestNATS(t *testing.T) {
	secrets := initialize(t)
	address := startNATS(t, secrets)
	good := secret(t, filepath.Join(secrets, "hubscope", "nats.url"), "nats:4222", address)
	root := nats.RootCAs(filepath.Join(secrets, "hubscope", "ca.pem"))
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	plain := *u
	plain.User = nil
	wrong := *u
	wrong.User = url.UserPassword("hubscope", "wrong")
	for _, test := range []struct {
		name string
		url  string
		opts []nats.Option
		ok   bool
	}{
		{"as it is", good, []nats.Option{root}, true},
		{"nobody", plain.String(), []nats.Option{root}, false},
		{"another password", wrong.String(), []nats.Option{root}, false},
		{"without the root", good, nil, false},
	} {
		conn, err := nats.Connect(test.url, append(test.opts, nats.Timeout(2*time.Minute))...)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil {
			continue
		}
		js, err := conn.JetStream(nats.MaxWait(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AccountInfo(); err != nil {
			t.Errorf("JetStream: %v", err)
		}
		conn.Close()
	}
}

// TestParts runs collector, query service and hub with the commands, the
// environment and the file of compose.yaml, against NATS and ClickHouse as they
// are configured here; a device connects, and Grafana's token reads of it.
func TestParts(t *testing.T) {
	secrets := initialize(t)
	broker, store := startNATS(t, secrets), startClickHouse(t, secrets)
	own := filepath.Join(secrets, "hubscope")
	for _, name := range []string{"nats.url", "clickhouse.dsn", "clickhouse-reader.dsn"} {
		path := filepath.Join(own, name)
		text := secret(t, path, "@nats:4222", "@"+broker, "@clickhouse:9440", "@"+store)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := mounted(t, "hubscope.yaml", filepath.Join(t.TempDir(), "hubscope.yaml"), "/run/hubscope/", own+"/", "127.0.0.1:9464", "127.0.0.1:0",
		"0.0.0.0:8883", "127.0.0.1:0", "0.0.0.0:8443", "127.0.0.1:0", "0.0.0.0:7070", "127.0.0.1:0")
	data := t.TempDir()
	p := project(t)
	// inside makes of a service's environment and arguments what they are here.
	paths := strings.NewReplacer("/run/hubscope/", own+"/", "/etc/hubscope/hubscope.yaml", settings, "/var/lib/hubscope", data)
	command := func(service string, args ...string) *exec.Cmd {
		var env []string
		for k, v := range p.Services[service].Environment {
			env = append(env, k+"="+paths.Replace(*v))
		}
		cmd := exec.Command("sh", append([]string{"entrypoint.sh"}, args...)...)
		cmd.Env = environment(t, env...)
		return cmd
	}
	start := func(service, ready string) map[string]string {
		var args []string
		for _, a := range p.Services[service].Command {
			args = append(args, paths.Replace(a))
		}
		return startPart(t, command(service, append(args, "--log-format", "json")...), ready)
	}
	start("collector", "collector ready")
	serve := start("serve", "query service ready")
	hub := start("hub", "hub ready")
	if !strings.HasPrefix(serve["url"], "https://serve:") {
		t.Errorf("the query service is at %q", serve["url"])
	}

	// A device, registered and connected by the commands that the README shows.
	run := func(cmd *exec.Cmd) string {
		t.Helper()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s%s", cmd.Args[1:], err, out, &stderr)
		}
		return string(out)
	}
	var device struct {
		ConnectionString string `json:"connectionString"`
	}
	out := run(command("tools", "registry", "add", "pump-1", "--hub", "demo", "--output", "json"))
	if err := json.Unmarshal([]byte(out), &device); err != nil || device.ConnectionString == "" {
		t.Fatalf("registry add: %v\n%s", err, out)
	}
	_, mqtt, _ := net.SplitHostPort(hub["mqtt"])
	run(command("tools", "device", "--connection-string", device.ConnectionString, "--ca", filepath.Join(data, "tls", "root.pem"),
		"--port", mqtt, "--messages", "1", "--interval", "1ms"))

	ask := func(kql string) (string, error) {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(serve["url"], "https://"))
		cmd := command("tools", "query", "--url", "https://localhost:"+port, "--token-file", filepath.Join(secrets, "grafana", "token"), "--format", "csv", kql)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, test := range []struct{ kql, want string }{
		{`Connections | where DeviceId == "pump-1" and OperationName == "deviceDisconnect" | project Hub, Messages`, "demo,1"},
		// The log of queries is the writer's, and Grafana sees its own.
		{`QueryLog | where Text has "pump-1" | distinct User`, "grafana"},
	} {
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			out, err := ask(test.kql)
			if err == nil && strings.Contains(out, test.want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v\n%s", test.kql, err, out)
			}
		}
	}

	// The users of ClickHouse: one reads, one keeps to its database, and there is no other.
	dsn := secret(t, filepath.Join(own, "clickhouse-reader.dsn"))
	writer := secret(t, filepath.Join(own, "clickhouse.dsn"))
	anybody, err := url.Parse(writer)
	if err != nil {
		t.Fatal(err)
	}
	anybody.User = url.User("default")
	for _, test := range []struct {
		dsn, sql string
		ok       bool
	}{
		{dsn, "SELECT count() FROM hubscope.Connections", true},
		{dsn, "INSERT INTO hubscope.Connections (Hub) VALUES ('x')", false},
		{dsn, "DROP TABLE hubscope.Connections", false},
		{dsn, "SELECT * FROM system.users", false},
		{writer, "SELECT count() FROM hubscope.Connections", true},
		{writer, "CREATE TABLE default.x (a Int8) ENGINE = Memory", false},
		{writer, "CREATE USER x", false},
		{anybody.String(), "SELECT count() FROM hubscope.Connections", false},
	} {
		opts, err := driver.ParseDSN(test.dsn)
		if err != nil {
			t.Fatal(err)
		}
		opts.TLS.RootCAs = x509.NewCertPool()
		opts.TLS.RootCAs.AppendCertsFromPEM([]byte(secret(t, filepath.Join(own, "ca.pem"))))
		conn, err := driver.Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Exec(t.Context(), test.sql); (err == nil) != test.ok {
			t.Errorf("%s as %s: %v", test.sql, opts.Auth.Username, err)
		}
		conn.Close()
	}
}

// startPart runs a part until the test ends, and returns the fields of the line
// of its log that says that it is ready.
func startPart(t *testing.T, cmd *exec.Cmd, ready string) map[string]string {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			select {
			case lines <- s.Text():
			default: // nobody reads any more
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd.Args, err)
		}
	})
	var seen []string
	for timeout := time.After(5 * time.Minute); ; {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("%v ended:\n%s", cmd.Args, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) != nil || fields["msg"] != ready {
				continue
			}
			text := map[string]string{}
			for k, v := range fields {
				text[k] = fmt.Sprint(v)
			}
			return text
		case <-timeout:
			t.Fatalf("%v: no %q within 5 minutes:\n%s", cmd.Args, ready, strings.Join(seen, "\n"))
		}
	}
}
