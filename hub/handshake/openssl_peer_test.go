package handshake

import (
	"bytes"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebitengine/purego"
)

var leakHandshakes = flag.Int("leak-handshakes", 1000, "handshakes of TestLeak")

// idle checks that the engine holds nothing for connections that are over.
func idle(t testing.TB, e *sslEngine) {
	t.Helper()
	if n := e.live.Load(); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	if n := len(e.handshakes) + len(e.calls); n != 0 {
		t.Errorf("%d calls under way", n)
	}
}

// goHello returns what a crypto/tls client sends first.
func goHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		tls.Client(near, config).Handshake()
		near.Close()
	}()
	tr := NewTransport(far)
	if _, _, err := Peek(tr); err != nil {
		t.Fatal(err)
	}
	return tr.replay
}

// TestHalfOpen holds many connections that never go on; another one is served
// meanwhile, and they end when their time is over.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	a.config.Timeout = 10 * time.Second
	s := serve(t, func(tr *Transport) (*Conn, *Report) {
		return a.Accept(tr, func(*Hello) Choice { return Choice{Policy: Strict(), Certificates: testAuthority().certs} })
	}, nil)
	hello := withFragmentLimit(t, goHello(t, &tls.Config{ServerName: "localhost"}))
	const n = 200
	for i := range n {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // a record that promises more
			c.Write([]byte{recordApplicationData, 3, 3, 0x20, 0})
		}
	}
	for deadline := time.Now().Add(time.Minute); a.openSSL.live.Load() < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d have begun", a.openSSL.live.Load(), n)
		}
	}
	if out := sClient(t, s.addr, "-maxfraglen", "512"); !strings.Contains(out, "echo this") {
		t.Errorf("no echo beside half-open connections:\n%s", out)
	}
	timeouts := 0
	for range n + 1 {
		r := s.report(t)
		if r.Engine != engineOpenSSL {
			t.Fatalf("engine %s", r.Engine)
		}
		if r.Failure != nil {
			if r.Failure.Reason != ReasonTimeout {
				t.Errorf("%v (%v)", r.Failure, r.Failure.Err)
			}
			timeouts++
		}
	}
	if timeouts != n {
		t.Errorf("%d timeouts, want %d", timeouts, n)
	}
	idle(t, a.openSSL)
}

// withFragmentLimit adds max_fragment_length 512 to a ClientHello record.
func withFragmentLimit(t testing.TB, record []byte) []byte {
	t.Helper()
	b := append(bytes.Clone(record), 0, extMaxFragmentLength, 0, 1, 1)
	add := func(at, size int) {
		v := 5
		for i := at + size - 1; i >= at; i-- {
			v += int(b[i])
			b[i], v = byte(v), v>>8
		}
	}
	extensions := recordHeaderLen + 4 + 2 + 32
	extensions += 1 + int(b[extensions])
	extensions += 2 + int(b[extensions])<<8 + int(b[extensions+1])
	extensions += 1 + int(b[extensions])
	add(3, 2)
	add(recordHeaderLen+1, 3)
	add(extensions, 2)
	h, err := ParseHello(b[recordHeaderLen:])
	if err != nil || h.MaxFragmentLength != 512 {
		t.Fatalf("the test's own ClientHello: %v", err)
	}
	return b
}

// TestStuckReader is a peer that never takes what is sent to it.
func TestStuckReader(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	a.config.Timeout = 50 * time.Millisecond
	near, far := net.Pipe() // without any buffer
	defer near.Close()
	go near.Write(withFragmentLimit(t, goHello(t, &tls.Config{ServerName: "localhost"})))
	conn, r := a.Accept(NewTransport(far), func(*Hello) Choice { return Choice{Policy: Strict(), Certificates: testAuthority().certs} })
	if conn != nil || r.Engine != engineOpenSSL || r.Failure.Reason != ReasonTimeout {
		t.Errorf("%+v: %v", r, r.Failure)
	}
	idle(t, a.openSSL)
}

// dripping writes and reads one byte at a time.
type dripping struct{ net.Conn }

func (d dripping) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func (d dripping) Read(p []byte) (int, error) { return d.Conn.Read(p[:min(1, len(p))]) }

// TestDripping serves a client whose bytes come one by one.
func TestDripping(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for _, version := range []uint16{VersionTLS12, VersionTLS13} {
		near, far := tcpPair(t)
		client := tls.Client(dripping{near}, &tls.Config{RootCAs: testAuthority().pool, ServerName: "localhost", MaxVersion: version})
		done := make(chan error, 1)
		go func() {
			_, err := client.Write([]byte("drop"))
			done <- err
		}()
		conn, r := straight(a.openSSL, NewTransport(dripping{far}), Choice{Policy: Strict(), Certificates: testAuthority().certs})
		if conn == nil {
			t.Fatal(r.Failure)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "drop" {
			t.Errorf("%q, %v", got, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		conn.Close()
	}
	idle(t, a.openSSL)
}

// TestResets breaks connections off at each step, with and without a reset.
func TestResets(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	hello := goHello(t, &tls.Config{ServerName: "localhost"})
	for _, linger := range []int{-1, 0} {
		for _, part := range [][]byte{nil, hello[:3], hello[:100], hello, append(bytes.Clone(hello), recordChangeCipherSpec, 3, 3)} {
			near, far := tcpPair(t)
			near.Write(part)
			near.(*net.TCPConn).SetLinger(linger)
			near.Close()
			conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: Strict(), Certificates: testAuthority().certs})
			if conn != nil || r.Failure.Reason != ReasonClientClosed {
				t.Errorf("after %d bytes, linger %d: %v", len(part), linger, r.Failure)
			}
		}
	}
	idle(t, a.openSSL)
}

// TestBrokenOff closes the socket under a handshake, as a hub does that stops.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	near, far := tcpPair(t)
	near.Write(goHello(t, &tls.Config{ServerName: "localhost"}))
	go func() {
		near.Read(make([]byte, 1)) // the server's answer: now it waits
		far.Close()
	}()
	conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: Strict(), Certificates: testAuthority().certs})
	if conn != nil || !errors.Is(r.Failure.Err, net.ErrClosed) {
		t.Errorf("%v (%v)", r.Failure, r.Failure.Err)
	}
	idle(t, a.openSSL)
}

// TestCloseRace uses a connection from many sides while it is closed.
func TestCloseRace(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for range 60 {
		client, server := sslPair(t, a, VersionTLS13)
		go func() {
			io.Copy(client, client)
			client.Close()
		}()
		var users sync.WaitGroup
		start := make(chan struct{})
		for range 2 {
			users.Go(func() {
				<-start
				buf := make([]byte, 700)
				for {
					if _, err := server.Read(buf); err != nil {
						return
					}
				}
			})
			users.Go(func() {
				<-start
				for n := 1; ; n = n%20000 + 997 {
					if _, err := server.Write(make([]byte, n)); err != nil {
						return
					}
				}
			})
			users.Go(func() {
				<-start
				for range 100 {
					server.SetReadDeadline(time.Now().Add(time.Minute))
					runtime.Gosched()
				}
				server.Close()
			})
		}
		close(start)
		users.Wait()
	}
	idle(t, a.openSSL)
}

// flipping changes one byte of what is written through it, and gives up soon
// after: the peer may wait for bytes that a changed length promises.
type flipping struct {
	net.Conn
	at, offset int
	xor        byte
	cut        bool // ends there instead
}

func (f *flipping) Write(p []byte) (int, error) {
	i := f.at - f.offset
	f.offset += len(p)
	if i < 0 || i >= len(p) {
		return f.Conn.Write(p)
	}
	f.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if f.cut {
		f.Conn.Write(p[:i])
		f.Conn.Close()
		return 0, net.ErrClosed
	}
	p = bytes.Clone(p)
	p[i] ^= f.xor
	return f.Conn.Write(p)
}

// flip does a handshake with a client certificate whose client's bytes are
// changed at one place, and returns how many it has sent.
func flip(t testing.TB, a *Acceptor, version uint16, at int, xor byte, cut bool) int {
	t.Helper()
	root := testAuthority()
	near, far := tcpPair(t)
	defer near.Close()
	f := &flipping{Conn: near, at: at, xor: xor, cut: cut}
	config := &tls.Config{RootCAs: root.pool, ServerName: "localhost", MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{clientChain()}}
	var client sync.WaitGroup
	client.Go(func() {
		c := tls.Client(f, config)
		if c.Handshake() == nil {
			c.Write([]byte("x"))
			c.Read(make([]byte, 1))
		}
		near.Close()
	})
	conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: Legacy(), Certificates: root.certs})
	if conn != nil {
		conn.Read(make([]byte, 10))
		conn.Close()
	}
	client.Wait()
	switch {
	case conn == nil && r.Failure.Description == "":
		t.Error("a failure without words")
	case conn != nil && len(r.PeerCertificates) == 0:
		t.Error("a connection without the certificate")
	}
	return f.offset
}

var clientChain = sync.OnceValue(func() tls.Certificate { return testAuthority().issue("pump-1", newKey(elliptic.P256())) })

// TestFlippedBytes changes a handshake at many places, one at a time.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	a := needSSL(t)
	for _, version := range []uint16{VersionTLS10, VersionTLS12, VersionTLS13} {
		whole := flip(t, a, version, 1<<20, 0, false)
		if whole < 500 {
			t.Fatalf("the client sent only %d bytes", whole)
		}
		for at := 0; at < whole; at += 11 {
			flip(t, a, version, at, 1<<(at%8), at%3 == 0)
		}
	}
	idle(t, a.openSSL)
}

// FuzzFlippedBytes changes a handshake at any place: it fails or not, but it
// ends, and nothing is left of it.
func FuzzFlippedBytes(f *testing.F) {
	f.Add(uint16(5), byte(1), false, true)
	f.Add(uint16(300), byte(0x80), true, false)
	a := needSSL(f)
	f.Fuzz(func(t *testing.T, at uint16, xor byte, old, cut bool) {
		version := VersionTLS13
		if old {
			version = VersionTLS12
		}
		flip(t, a, version, int(at%2048), xor, cut)
		idle(t, a.openSSL)
	})
}

// scripted is a peer that sends fixed bytes and then closes.
type scripted struct {
	net.Conn
	input *bytes.Reader
	chunk int
	sent  bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error)       { return s.input.Read(p[:min(len(p), s.chunk)]) }
func (s *scripted) Write(p []byte) (int, error)      { return s.sent.Write(p) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) RemoteAddr() net.Addr             { return new(net.TCPAddr) }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzPeer gives OpenSSL any bytes for a client's. Whatever they are, the
// handshake ends in a failure with words, what was sent is TLS records, and
// nothing is left.
func FuzzPeer(f *testing.F) {
	a := needSSL(f)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(5))
	for _, version := range []uint16{VersionTLS10, VersionTLS12, VersionTLS13} {
		f.Add(clientFlights(f, a, version, 0), uint16(4096))
		f.Add(clientFlights(f, a, version, 0x002F), uint16(7))
	}
	f.Add(withFragmentLimit(f, goHello(f, &tls.Config{ServerName: "localhost"})), uint16(100))
	choice := Choice{Policy: Legacy(), Certificates: testAuthority().certs}
	f.Fuzz(func(t *testing.T, input []byte, chunk uint16) {
		peer := &scripted{input: bytes.NewReader(input), chunk: int(chunk)%4096 + 1}
		conn, r := straight(a.openSSL, NewTransport(peer), choice)
		if conn != nil {
			t.Fatal("bytes without a key made a connection")
		}
		if r.Failure.Description == "" || r.Failure.Reason == 0 || r.Failure.Reason == ReasonInternal {
			t.Errorf("%+v", r.Failure)
		}
		for b := peer.sent.Bytes(); len(b) > 0; {
			if len(b) < recordHeaderLen || b[0] < recordChangeCipherSpec || b[0] > recordApplicationData {
				t.Fatalf("sent %x, no records", peer.sent.Bytes())
			}
			b = b[min(len(b), recordHeaderLen+int(b[3])<<8+int(b[4])):]
		}
		idle(t, a.openSSL)
	})
}

// clientFlights returns what a client sends in a whole handshake.
func clientFlights(t testing.TB, a *Acceptor, version, suite uint16) []byte {
	t.Helper()
	near, far := tcpPair(t)
	tap := &wiretap{Conn: near}
	config := &tls.Config{RootCAs: testAuthority().pool, ServerName: "localhost", MinVersion: version, MaxVersion: version}
	if suite != 0 {
		config.CipherSuites = []uint16{suite}
	}
	client := tls.Client(tap, config)
	done := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte("data"))
		done <- err
	}()
	conn, r := straight(a.openSSL, NewTransport(far), Choice{Policy: Legacy(), Certificates: testAuthority().certs})
	if conn == nil {
		t.Fatal(r.Failure)
	}
	defer conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(tap.sent.Bytes())
}

// mallinfo2 is glibc's struct of ten numbers.
type mallinfo2 struct {
	_      [4]uint64 // arena, ordblks, smblks, hblks
	Mapped uint64    // hblkhd
	_      [2]uint64 // usmblks, fsmblks
	InUse  uint64    // uordblks
	_      [2]uint64 // fordblks, keepcost
}

// allocated returns how many bytes malloc has given out and not got back, and
// the resident size of the process.
func allocated(t testing.TB) (heap, resident int64) {
	t.Helper()
	if self, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW); err == nil {
		if at, err := purego.Dlsym(self, "mallinfo2"); err == nil {
			var info func() mallinfo2
			purego.RegisterFunc(&info, at)
			m := info()
			heap = int64(m.InUse + m.Mapped)
		}
	}
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return heap, pages * int64(os.Getpagesize())
}

// TestLeak does handshakes of all kinds, failing ones too, and looks at what
// malloc has given out: after a warm-up it stays. It runs in a process of its
// own, whose malloc keeps no caches by thread, which would count as given out.
func TestLeak(t *testing.T) {
	a := needSSL(t)
	const tunables = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"
	if os.Getenv("GLIBC_TUNABLES") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLeak$", "-test.v", "-leak-handshakes", strconv.Itoa(*leakHandshakes))
		cmd.Env = append(os.Environ(), tunables)
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Fatal(err)
		}
		return
	}
	root := testAuthority()
	choice := Choice{Policy: Legacy(), Certificates: root.certs}
	wrong := clientChain()
	wrong.PrivateKey = newKey(elliptic.P256())
	hello := goHello(t, &tls.Config{ServerName: "localhost"})
	one := func(i int) {
		near, far := newPair(t)
		defer near.Close()
		defer far.Close()
		if i%10 == 9 { // a part of a handshake
			near.Write(hello[:len(hello)-i%3])
			near.Close()
			if conn, _ := straight(a.openSSL, NewTransport(far), choice); conn != nil {
				t.Error("half a handshake made a connection")
			}
			return
		}
		config := &tls.Config{RootCAs: root.pool, ServerName: "localhost", MaxVersion: VersionTLS12 + uint16(i%2), Certificates: []tls.Certificate{clientChain()}}
		if i%10 == 8 {
			config.Certificates[0] = wrong
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := tls.Client(near, config)
			c.Write([]byte("four"))
			io.ReadFull(c, make([]byte, 4))
			if i%2 == 0 {
				c.Close()
			}
			near.Close()
		}()
		if conn, r := straight(a.openSSL, NewTransport(far), choice); conn != nil {
			buf := make([]byte, 4)
			io.ReadFull(conn, buf)
			conn.Write(buf)
			if i%4 < 2 {
				conn.Read(buf)
			}
			conn.Close()
		} else if i%10 != 8 {
			t.Error(r.Failure)
		}
		<-done
	}
	for i := range 300 {
		one(i)
	}
	heap, resident := allocated(t)
	for i := range *leakHandshakes {
		one(i)
	}
	heapAfter, residentAfter := allocated(t)
	idle(t, a.openSSL)
	n := int64(*leakHandshakes)
	t.Logf("%d handshakes: malloc %+d bytes, resident %+d KiB", n, heapAfter-heap, (residentAfter-resident)>>10)
	// A new thread has an error queue and random generators of its own, some
	// KiB. A leak is at least tens of bytes a handshake.
	if heapAfter-heap > 64<<10 {
		t.Errorf("malloc has given out %d bytes more after %d handshakes", heapAfter-heap, n)
	}
	if residentAfter-resident > 8<<20 {
		t.Errorf("%d KiB more are resident after %d handshakes", (residentAfter-resident)>>10, n)
	}
}
