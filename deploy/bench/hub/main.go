// Command hub measures the hub against Debian's mosquitto, in one run and with
// one load generator: connections a second and server CPU for each, memory for
// each idle connection, and what the event path costs. Every connection is
// mutual TLS with P-256 keys, without resumption, CONNECT, CONNACK, DISCONNECT.
// Client and servers share the machine, so CPU for each connection is the number
// to look at, and ratios within the run. Nothing is asserted. Run it by
// make bench.
//
//	hub [-connections N] [-idle N] [-workers N]
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// roleEnv makes the binary one of the servers, so that its CPU time and memory
// are its own.
const roleEnv = "HUBSCOPE_BENCH_ROLE"

var (
	connections = flag.Int("connections", 4000, "connections for each measurement of speed")
	idle        = flag.Int("idle", 10_000, "connections that are held to measure memory; 0 for none")
	workers     = flag.Int("workers", 16, "clients that connect at a time")
	rounds      = flag.Int("rounds", 3, "rounds; the best of each server counts")
)

func main() {
	flag.Parse()
	var err error
	switch role, argument, _ := strings.Cut(os.Getenv(roleEnv), " "); role {
	case "nats":
		err = serveNATS(argument)
	case "hub":
		err = serveHub(argument)
	default:
		var dir string
		if dir, err = os.MkdirTemp("", "hubscope-bench-"); err == nil {
			err = bench(dir)
			os.RemoveAll(dir)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
}

// pki is on disk, for mosquitto and the hub's process read it there.
type pki struct {
	dir     string
	roots   *x509.CertPool
	devices []tls.Certificate // one for each worker, its name is the device's
}

func deviceName(worker int) string { return "bench-" + strconv.Itoa(worker) }

func makePKI(dir string) (*pki, error) {
	root, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "bench root"})
	if err != nil {
		return nil, err
	}
	server, err := root.Server(ca.ServerConfig{Names: []string{"localhost"}})
	if err != nil {
		return nil, err
	}
	p := &pki{dir: dir, roots: x509.NewCertPool()}
	p.roots.AddCert(root.Certificate)
	for i := range *workers {
		device, err := root.Device(deviceName(i), ca.DeviceConfig{})
		if err != nil {
			return nil, err
		}
		p.devices = append(p.devices, device.TLS())
	}
	key, err := ca.KeyPEM(server.Key)
	if err != nil {
		return nil, err
	}
	_, thumbprint := registry.Thumbprints(p.devices[0].Leaf)
	for name, data := range map[string][]byte{"device.thumbprint": []byte(thumbprint), "root.pem": ca.CertificatePEM(root.Certificate), "server.pem": server.CertificatePEM(), "server.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil { // mosquitto gives up root
			return nil, err
		}
	}
	return p, os.Chmod(dir, 0o755)
}

func (p *pki) client(version uint16, worker int) *tls.Config {
	return &tls.Config{
		ServerName: "localhost", RootCAs: p.roots, Certificates: []tls.Certificate{p.devices[worker]}, MinVersion: version, MaxVersion: version,
		CurvePreferences: []tls.CurveID{tls.CurveP256}, // the only one that mosquitto 2.0.11 takes for TLS 1.2
	}
}

// A process is a server under measurement.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func start(name string, cmd *exec.Cmd, wantAddr bool) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if wantAddr { // what mosquitto says are the ends of its connections
		cmd.Stderr = os.Stderr
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, stdin: stdin}
	var out io.Reader
	if wantAddr {
		if out, err = cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if wantAddr {
		if err := json.NewDecoder(out).Decode(&p.addr); err != nil {
			p.stop()
			return nil, fmt.Errorf("%s said no address: %w", name, err)
		}
	}
	return p, nil
}

func (p *process) stop() {
	p.stdin.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait()
}

// startRole runs this binary as a server.
func startRole(role, argument string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role+" "+argument)
	return start(role, cmd, true)
}

func startMosquitto(p *pki) (*process, error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	ln.Close() // mosquitto cannot be handed a listener
	config := fmt.Sprintf(`listener %s 127.0.0.1
cafile %s/root.pem
certfile %s/server.pem
keyfile %s/server.key
require_certificate true
allow_anonymous true
log_type error
set_tcp_nodelay true
`, addr[strings.LastIndexByte(addr, ':')+1:], p.dir, p.dir, p.dir)
	file := filepath.Join(p.dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	proc, err := start("mosquitto", exec.Command(path, "-c", file), false)
	if err != nil {
		return nil, err
	}
	proc.addr = addr
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return proc, nil
		}
		if time.Now().After(deadline) {
			proc.stop()
			return nil, err
		}
	}
}

// cpu is the process's CPU time.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, errors.New("unexpected /proc/PID/stat")
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

// memory is the process's resident set, in KiB.
func (p *process) memory() (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		}
	}
	return 0, errors.New("no VmRSS")
}

// connectPacket is an MQTT 3.1.1 CONNECT with Azure's user name.
func connectPacket(id string) []byte {
	user := "localhost/" + id + "/?api-version=2021-04-12"
	body := []byte("\x00\x04MQTT\x04\x82\x04\x00") // keep-alive 1024 s
	for _, s := range []string{id, user} {
		body = append(body, byte(len(s)>>8), byte(len(s)))
		body = append(body, s...)
	}
	return append([]byte{0x10, byte(len(body))}, body...)
}

// connect connects a device up to its CONNACK.
func connect(addr string, config *tls.Config, hello []byte) (*tls.Conn, error) {
	d := net.Dialer{Timeout: 20 * time.Second}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := tls.Client(nc, config)
	var ack [4]byte
	if _, err = c.Write(hello); err == nil { // does the handshake
		_, err = io.ReadFull(c, ack[:])
	}
	if err == nil && ack[3] != 0 {
		err = fmt.Errorf("CONNACK %d", ack[3])
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// A speed is one measurement.
type speed struct {
	rate float64       // connections a second
	cpu  time.Duration // of the server, for each
}

func measure(p *process, keys *pki, version uint16, n int) (speed, error) {
	run := func(n int) error {
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		for worker := range *workers {
			config, hello := keys.client(version, worker), connectPacket(deviceName(worker))
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					c, err := connect(p.addr, config, hello)
					if err != nil {
						failed.Store(&err)
						return
					}
					c.Write([]byte{0xe0, 0})
					c.Close()
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
	if err := run(n / 10); err != nil { // warm
		return speed{}, err
	}
	before, err := p.cpu()
	if err != nil {
		return speed{}, err
	}
	began := time.Now()
	if err := run(n); err != nil {
		return speed{}, err
	}
	took := time.Since(began)
	after, err := p.cpu()
	return speed{rate: float64(n) / took.Seconds(), cpu: (after - before) / time.Duration(n)}, err
}

// hold connects n devices, waits for the server to settle, and returns the KiB
// of its memory for each.
func hold(p *process, config *tls.Config, n int) (float64, error) {
	before, err := p.memory()
	if err != nil {
		return 0, err
	}
	conns := make([]*tls.Conn, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for range *workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() != nil {
					return
				}
				c, err := connect(p.addr, config, connectPacket("dev-"+strconv.Itoa(i)))
				if err != nil {
					failed.Store(&err)
					return
				}
				conns[i] = c
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	time.Sleep(5 * time.Second) // let a garbage collector return what it has
	after, err := p.memory()
	return float64(after-before) / float64(n), err
}

func bench(dir string) error {
	p, err := makePKI(dir)
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		if need := uint64(*idle + 500); *idle > 0 && limit.Cur < need {
			fmt.Printf("only %d open files are allowed: holding %d connections instead of %d\n", limit.Cur, limit.Cur-500, *idle)
			*idle = int(limit.Cur) - 500
		}
	}
	broker, err := startRole("nats", filepath.Join(dir, "nats"))
	if err != nil {
		return err
	}
	defer broker.stop()
	hubRole := func(events string) func() (*process, error) {
		return func() (*process, error) {
			return startRole("hub", fmt.Sprint(dir, " ", *workers, " ", *idle, " ", events))
		}
	}
	servers := []struct {
		name  string
		start func() (*process, error)
	}{
		{"hub", hubRole(broker.addr)},
		{"hub, no event path", hubRole("none")},
		{"mosquitto", func() (*process, error) { return startMosquitto(p) }},
	}
	versions := []uint16{tls.VersionTLS13, tls.VersionTLS12}
	best := map[string]speed{}
	memory := map[string]float64{}
	running := map[string]*process{}
	stopAll := func() {
		for name, proc := range running {
			proc.stop()
			delete(running, name)
		}
	}
	defer stopAll()
	for _, s := range servers {
		proc, err := s.start()
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Println("mosquitto is not installed: no comparison")
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		running[s.name] = proc
	}
	// The servers take turns, so that what else the machine does hits all alike.
	for range *rounds {
		for _, v := range versions {
			for _, s := range servers {
				proc := running[s.name]
				if proc == nil {
					continue
				}
				got, err := measure(proc, p, v, *connections)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				key := fmt.Sprint(s.name, v)
				b, ok := best[key]
				if !ok {
					b = got
				}
				best[key] = speed{max(b.rate, got.rate), min(b.cpu, got.cpu)}
			}
		}
	}
	stopAll()
	if *idle > 0 {
		for _, s := range servers {
			proc, err := s.start()
			if err != nil {
				continue
			}
			kib, err := hold(proc, p.client(tls.VersionTLS13, 0), *idle)
			proc.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			memory[s.name] = kib
		}
	}
	fmt.Printf("%d connections, %d at a time, best of %d rounds; %d held idle\n\n", *connections, *workers, *rounds, *idle)
	fmt.Printf("%-20s %14s %14s %14s %14s %12s\n", "", "1.3 conn/s", "CPU us/conn", "1.2 conn/s", "CPU us/conn", "KiB idle")
	for _, s := range servers {
		a, ok := best[fmt.Sprint(s.name, versions[0])]
		b := best[fmt.Sprint(s.name, versions[1])]
		if ok {
			fmt.Printf("%-20s %14.0f %14d %14.0f %14d %12.1f\n", s.name, a.rate, a.cpu.Microseconds(), b.rate, b.cpu.Microseconds(), memory[s.name])
		}
	}
	h, n, m := best[fmt.Sprint("hub", versions[0])], best[fmt.Sprint("hub, no event path", versions[0])], best[fmt.Sprint("mosquitto", versions[0])]
	fmt.Println()
	if m.rate > 0 {
		fmt.Printf("TLS 1.3: %.2f times mosquitto's connections/s, %.2f times its CPU\n", h.rate/m.rate, float64(h.cpu)/float64(m.cpu))
	}
	fmt.Printf("event path: %+.1f %% CPU\n", 100*(float64(h.cpu)/float64(n.cpu)-1))
	return nil
}

// untilStdinEnds keeps a server going until its parent wants no more.
func untilStdinEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}
