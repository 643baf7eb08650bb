package hub_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/handshake"
	"hubscope/hub/mqtt"
	"hubscope/ingest"
)

// terminal are the columns that tell how a connection ended.
type terminal struct {
	Operation, Stage, Result, Signature, Level string
}

func terminalOf(e ingest.Event) terminal {
	return terminal{e.OperationName, e.Stage, e.ResultType, e.ResultSignature, e.Level}
}

// TestRefusedConnections: each kind of peer that comes to no session, and the
// event that it leaves.
func TestRefusedConnections(t *testing.T) {
	// Each timeout is short only where it is what ends the connection. A peer
	// dials when it has made all that it sends.
	type dialer func() net.Conn
	raw := func(data string) func(*stack, dialer) {
		return func(_ *stack, dial dialer) {
			c := dial()
			io.WriteString(c, data)
			io.Copy(io.Discard, c)
		}
	}
	client := func(config *tls.Config) func(*stack, dialer) {
		return func(s *stack, dial dialer) {
			config := config.Clone()
			if config.RootCAs == nil {
				config.RootCAs = s.pki.serverPool
			}
			tc := tls.Client(dial(), config)
			tc.Handshake()
			io.Copy(io.Discard, tc)
		}
	}
	hello := func(n int) func(*stack, dialer) {
		return func(s *stack, dial dialer) {
			ours, theirs := net.Pipe()
			go tls.Client(theirs, s.client("localhost")).Handshake()
			b := make([]byte, 4096)
			got, _ := ours.Read(b)
			ours.Close()
			if n > 0 {
				got = n
			}
			c := dial()
			c.Write(b[:got])
			if n < 0 {
				c.Close()
			}
			io.Copy(io.Discard, c)
		}
	}
	refused := func(stage, result, signature string) terminal {
		level := ingest.Error
		if stage == ingest.StageTCP {
			level = ingest.Warning
		}
		return terminal{ingest.ConnectionRefused, stage, result, signature, level}
	}
	tests := []struct {
		name  string
		peer  func(*stack, dialer)
		want  terminal
		check func(t *testing.T, e ingest.Event)
	}{
		{"silent", raw(""), refused("tcp", "408001", "tcp.silent"), nil},
		{"port scan", func(_ *stack, dial dialer) { dial().Close() }, refused("tcp", "499001", "tcp.closed"), nil},
		{"reset", func(_ *stack, dial dialer) { c := dial(); c.(*net.TCPConn).SetLinger(0); c.Close() }, refused("tcp", "499001", "tcp.closed"), nil},
		{"plain HTTP", raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), refused("hello", "497001", "plain.http"), nil},
		{"plain MQTT", raw("\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05dev-1"), refused("hello", "497002", "plain.mqtt"), nil},
		{"plain AMQP", raw("AMQP\x03\x01\x00\x00"), refused("hello", "497003", "plain.amqp"), nil},
		{"SSH", raw("SSH-2.0-x\r\n"), refused("hello", "497004", "plain.ssh"), nil},
		{"garbage", raw("\xde\xad\xbe\xef\xff\xff\xff\xff"), refused("hello", "497009", "plain.unknown"), nil},
		{"malformed ClientHello", raw("\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00"), refused("hello", "495050", "tls.decode_error"),
			func(t *testing.T, e ingest.Event) {
				if e.AlertSent != "decode_error" {
					t.Errorf("alert %q", e.AlertSent)
				}
			}},
		{"SSL 2.0", raw("\x80\x1f\x01\x03\x01\x00\x06\x00\x00\x00\x10\x00\x00\x2f\x00\x00\x35" + strings.Repeat("c", 16)), refused("hello", "495070", "tls.protocol_version"),
			func(t *testing.T, e ingest.Event) {
				if diff := cmp.Diff([]string{"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"}, e.OfferedCiphers); diff != "" {
					t.Error(diff)
				}
			}},
		{"half a ClientHello", hello(60), refused("hello", "408002", "tls.hello_timeout"), nil},
		{"a ClientHello and silence", hello(0), refused("handshake", "408003", "tls.handshake_timeout"),
			func(t *testing.T, e ingest.Event) {
				if e.Sni != "localhost" || e.Ja4 == "" || len(e.OfferedVersions) == 0 {
					t.Errorf("offer: %+v", e)
				}
			}},
		{"a ClientHello and gone", hello(-1), refused("handshake", "499003", "tls.handshake_closed"), nil},
		{"TLS 1.1 to a strict hub", client(&tls.Config{ServerName: "strict.localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
			refused("handshake", "495070", "tls.protocol_version"), func(t *testing.T, e ingest.Event) {
				want := "client offers at most TLS 1.1; hub requires TLS 1.2 with a recommended suite, or TLS 1.3; alert protocol_version sent"
				if e.ResultDescription != want || e.AlertSent != "protocol_version" || e.Hub != "strict" || e.TlsVersion != "" ||
					!e.WouldFailStrict || e.StrictReason != "offers at most TLS 1.1" || !slices.Equal(e.OfferedVersions, []string{"1.1", "1.0"}) {
					t.Errorf("%+v", e)
				}
			}},
		{"TLS 1.2 to a TLS 1.3 hub", client(&tls.Config{ServerName: "modern.localhost", MaxVersion: tls.VersionTLS12}),
			refused("handshake", "495070", "tls.protocol_version"), func(t *testing.T, e ingest.Event) {
				if e.Hub != "modern" || e.WouldFailStrict {
					t.Errorf("%+v", e)
				}
			}},
		{"a legacy suite to a strict hub", client(&tls.Config{ServerName: "strict.localhost", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}),
			refused("handshake", "495040", "tls.handshake_failure"), func(t *testing.T, e ingest.Event) {
				if e.StrictReason != "TLS 1.2, but only RSA_AES_128_CBC_SHA" || e.AlertSent != "handshake_failure" {
					t.Errorf("%q %q", e.StrictReason, e.AlertSent)
				}
			}},
		{"distrust, TLS 1.2", client(&tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS12}),
			refused("handshake", "496042", "tls.client.bad_certificate"), nil},
		{"distrust, TLS 1.3", client(&tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool()}),
			refused("handshake", "496042", "tls.client.bad_certificate"), func(t *testing.T, e ingest.Event) {
				if e.AlertReceived != "bad_certificate" {
					t.Errorf("alert %q", e.AlertReceived)
				}
			}},
		{"a key that is not the certificate's", func(s *stack, dial dialer) {
			cert := s.device(s.pki.devices, "ca-1", ca.DeviceConfig{})
			cert.PrivateKey = s.device(s.pki.devices, "other", ca.DeviceConfig{}).PrivateKey
			client(&tls.Config{ServerName: "localhost", Certificates: []tls.Certificate{cert}})(s, dial)
		}, refused("handshake", "495051", "tls.decrypt_error"), nil},
		{"a curve that is not offered, to a strict hub", func(s *stack, dial dialer) {
			cert := s.device(s.pki.devices, "ca-1", ca.DeviceConfig{KeyType: ca.P384})
			client(&tls.Config{ServerName: "strict.localhost", Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}})(s, dial)
		}, refused("handshake", "495042", "tls.bad_certificate"), func(t *testing.T, e ingest.Event) {
			if !strings.Contains(e.ResultDescription, "ECDSA client certificate on P-384, a curve not offered") {
				t.Errorf("%q", e.ResultDescription)
			}
		}},
		{"silent after the handshake", client(&tls.Config{ServerName: "localhost"}), refused("auth", "408004", "auth.timeout"),
			func(t *testing.T, e ingest.Event) {
				if e.TlsVersion != "1.3" || e.TlsCipher == "" || e.AuthType != ingest.AuthNone {
					t.Errorf("%+v", e)
				}
			}},
		{"gone after the handshake", func(s *stack, dial dialer) {
			c := dial()
			tls.Client(c, s.client("localhost")).Handshake()
			c.Close()
		}, refused("auth", "499004", "auth.closed"), nil},
		{"HTTP in TLS on the MQTT port", func(s *stack, dial dialer) {
			tc := tls.Client(dial(), s.client("localhost"))
			io.WriteString(tc, "GET / HTTP/1.1\r\n\r\n")
			io.Copy(io.Discard, tc)
		}, refused("auth", "400006", "IotHubFormatError"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, func(c *hub.Config) {
				c.Handshake = handshake.Config{HelloTimeout: time.Minute, Timeout: time.Minute}
				c.AuthTimeout = time.Minute
				switch tt.want.Signature {
				case "tcp.silent":
					c.Handshake.HelloTimeout = 100 * time.Millisecond
				case "tls.hello_timeout":
					c.Handshake.HelloTimeout = 2 * time.Second
				case "tls.handshake_timeout":
					c.Handshake.Timeout = 100 * time.Millisecond
				case "auth.timeout":
					c.AuthTimeout = 100 * time.Millisecond
				}
			})
			var c net.Conn
			tt.peer(s, func() net.Conn {
				var err error
				if c, err = net.Dial("tcp", s.addr); err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(time.Minute))
				return c
			})
			c.Close()
			e := s.events.one(t, ingest.ConnectionRefused, 1)
			if diff := cmp.Diff(tt.want, terminalOf(e)); diff != "" {
				t.Errorf("event (-want +got)\n%s%q", diff, e.ResultDescription)
			}
			if e.Node != "node-1" || e.Hub == "" || e.Category != ingest.CategoryConnections || e.Protocol != ingest.Mqtt || e.MaskedIpAddress != "127.0.0.XXX" ||
				len(e.IpHash) != 16 || e.RemotePort != int64(c.LocalAddr().(*net.TCPAddr).Port) || e.Sequence == 0 || e.ResultDescription == "" || e.DeviceId != "" {
				t.Errorf("%+v", e)
			}
			if tt.check != nil {
				tt.check(t, e)
			}
			s.shutdown()
			if n := len(s.events.all()); n != 1 {
				t.Errorf("want one event, got %d", n)
			}
		})
	}
}

// shutdown ends the server now, so that every event is there.
func (s *stack) shutdown() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		s.t.Errorf("shutdown: %v", err)
	}
}

// TestOpenSSLClients are clients whose TLS is not Go's: they say in clear what
// Go encrypts.
func TestOpenSSLClients(t *testing.T) {
	openssl := needTool(t, "openssl")
	tests := []struct {
		name string
		args []string
		want string
		part string
	}{
		{"TLS 1.1 to a strict hub", []string{"-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-servername", "strict.localhost"}, "495070", "offers TLS 1.1 only"},
		{"distrust, TLS 1.2", []string{"-tls1_2", "-verify_return_error", "-servername", "localhost"}, "496048", "does not trust the CA"},
		{"distrust, TLS 1.3", []string{"-tls1_3", "-verify_return_error", "-servername", "localhost"}, "496048", "does not trust the CA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t, nil)
			cmd := exec.Command(openssl, append([]string{"s_client", "-connect", s.addr, "-no-CAfile", "-no-CApath", "-no-CAstore"}, tt.args...)...)
			cmd.Stdin = strings.NewReader("Q\n")
			out, _ := cmd.CombinedOutput()
			e := s.events.one(t, ingest.ConnectionRefused, 1)
			if e.ResultType != tt.want || !strings.Contains(e.ResultDescription, tt.part) || e.Stage != ingest.StageHandshake {
				t.Errorf("want %s %q, got %s %q\n%s", tt.want, tt.part, e.ResultType, e.ResultDescription, out)
			}
		})
	}
}

// TestExactlyOneEvent sends a crowd of peers of every kind, cut off at random
// moments, and counts: one refusal, or one connect with one disconnect, for
// every connection that was accepted.
func TestExactlyOneEvent(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("crowd", func(t *testing.T) {
		var accepted sync.Map // local port of each peer
		s := newStack(t, func(c *hub.Config) {
			c.Handshake = handshake.Config{HelloTimeout: 400 * time.Millisecond, Timeout: 600 * time.Millisecond}
			c.AuthTimeout = 400 * time.Millisecond
			c.Flood.Burst = 100_000
		})
		r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
		good := s.token("localhost", "sas-1", time.Hour)
		peers := []func(c net.Conn, cut time.Duration){
			func(c net.Conn, cut time.Duration) { time.Sleep(cut) },
			func(c net.Conn, cut time.Duration) { io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); time.Sleep(cut) },
			func(c net.Conn, cut time.Duration) {
				b := make([]byte, 1+int(cut.Microseconds())%3000)
				for i := range b {
					b[i] = byte(cut.Nanoseconds() >> (i % 8))
				}
				c.Write(b)
			},
			func(c net.Conn, cut time.Duration) {
				c.Write(append([]byte{22, 3, 1, 0, 200, 1, 0, 0, 196}, bytes.Repeat([]byte{3}, int(cut.Microseconds())%196)...))
			},
			func(c net.Conn, cut time.Duration) { // a device, cut somewhere
				time.AfterFunc(cut/8, func() { c.Close() })
				m := newClient(quiet{t}, tls.Client(c, s.client("localhost")), 4)
				device(m, good)
			},
			func(c net.Conn, cut time.Duration) { // the same with a reset
				time.AfterFunc(cut/8, func() { c.(*net.TCPConn).SetLinger(0); c.Close() })
				m := newClient(quiet{t}, tls.Client(c, s.client("localhost")), 5)
				device(m, good)
			},
			func(c net.Conn, cut time.Duration) {
				device(newClient(quiet{t}, tls.Client(c, s.client("localhost")), 5), "wrong")
			},
			func(c net.Conn, cut time.Duration) {
				tls.Client(c, &tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool()}).Handshake()
			},
			func(c net.Conn, cut time.Duration) {
				tls.Client(c, &tls.Config{ServerName: "strict.localhost", InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
			},
		}
		const crowd = 400
		var wg sync.WaitGroup
		gate := make(chan struct{}, 32)
		for i := range crowd {
			peer, cut := peers[i%len(peers)], time.Duration(r.IntN(200_000))*time.Microsecond
			gate <- struct{}{}
			wg.Go(func() {
				defer func() { <-gate }()
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				accepted.Store(int64(c.LocalAddr().(*net.TCPAddr).Port), true)
				c.SetDeadline(time.Now().Add(time.Minute))
				peer(c, cut)
			})
		}
		wg.Wait()
		s.shutdown()
		checkPairs(t, s.events.all(), crowd)
	})
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// device acts as one: it connects, sends a message, and leaves.
func device(m *mqttClient, token string) {
	defer func() { recover() }() // quiet gives up by panic
	m.send(connectPacket(m.version, "localhost", "sas-1", token))
	m.expect(packets.Connack)
	m.send(publishPacket("devices/sas-1/messages/events/", 1, 1, "x"))
	m.expect(packets.Puback)
	m.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
}

// quiet is a testing.TB for a peer that is allowed to fail.
type quiet struct{ testing.TB }

func (quiet) Helper()               {}
func (quiet) Fatal(...any)          { panic("peer") }
func (quiet) Fatalf(string, ...any) { panic("peer") }

// checkPairs checks that there is exactly one terminal event for each of n
// connections, and that sequence numbers rise.
func checkPairs(t *testing.T, events []ingest.Event, n int) {
	t.Helper()
	type count struct{ refused, connects, disconnects int }
	byID := map[[16]byte]count{}
	sequences := map[int64]bool{}
	kinds := map[string]int{}
	for _, e := range events {
		c := byID[e.ConnectionId]
		switch e.OperationName {
		case ingest.ConnectionRefused:
			c.refused++
		case ingest.DeviceConnect:
			c.connects++
		case ingest.DeviceDisconnect:
			if c.connects == 0 {
				t.Errorf("disconnect before connect")
			}
			c.disconnects++
		default:
			t.Errorf("operation %s", e.OperationName)
		}
		byID[e.ConnectionId] = c
		if sequences[e.Sequence] {
			t.Errorf("sequence %d twice", e.Sequence)
		}
		sequences[e.Sequence] = true
		kinds[e.OperationName+" "+e.ResultSignature+" "+e.DisconnectReason]++
	}
	for id, c := range byID {
		if c != (count{refused: 1}) && c != (count{connects: 1, disconnects: 1}) {
			t.Errorf("connection %x: %+v", id, c)
		}
	}
	if len(byID) != n {
		t.Errorf("%d connections, events of %d", n, len(byID))
	}
	t.Logf("%v", kinds)
}

// TestFlood: beyond the burst connections are counted and sampled, and a summary
// holds the rest: nothing is lost from the sum.
func TestFlood(t *testing.T) {
	s := newStack(t, func(c *hub.Config) {
		c.Flood = hub.FloodConfig{Burst: 10, PerSecond: 0.001, SampleEvery: 20, Window: 50 * time.Millisecond, MaxSources: 100}
	})
	const n = 150
	for range n {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	var described, suppressed int64
	s.events.wait(t, "all connections in the sum", func(events []ingest.Event) bool {
		described, suppressed = 0, 0
		for _, e := range events {
			switch e.OperationName {
			case ingest.ConnectionRefused:
				described++
			case ingest.ConnectionsSuppressed:
				suppressed += e.Messages
			}
		}
		return described+suppressed == n
	})
	if want := int64(10 + (n-10)/20); described != want {
		t.Errorf("described: want %d, got %d", want, described)
	}
	e := s.events.one(t, ingest.ConnectionsSuppressed, 1)
	if e.MaskedIpAddress != "127.0.0.XXX" || e.IpHash == "" || e.Hub != "demo" || e.ResultDescription == "" {
		t.Errorf("%+v", e)
	}
	// A device from the same address is not held up.
	s.connect(4)
	s.events.one(t, ingest.DeviceConnect, 1)
}

func TestLimits(t *testing.T) {
	t.Run("connections", func(t *testing.T) {
		s := newStack(t, func(c *hub.Config) { c.MaxConnections = 1 })
		s.connect(4)
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		if e := s.events.one(t, ingest.ConnectionRefused, 1); e.ResultType != "429001" || e.Stage != ingest.StageTCP {
			t.Errorf("%+v", e)
		}
	})
	t.Run("not authenticated", func(t *testing.T) {
		s := newStack(t, func(c *hub.Config) { c.MaxPending = 1 })
		s.connect(4) // is authenticated, and does not count
		first, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		second, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if e := s.events.one(t, ingest.ConnectionRefused, 1); e.ResultType != "429001" || e.RemotePort != int64(second.LocalAddr().(*net.TCPAddr).Port) {
			t.Errorf("%+v", e)
		}
	})
}

func TestShutdown(t *testing.T) {
	s := newStack(t, nil)
	session := s.connect(5)
	waiting := s.dial(s.client("localhost")) // has not said anything yet
	silent, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.events.one(t, ingest.DeviceConnect, 1)
	for s.open() < 3 {
		time.Sleep(time.Millisecond)
	}
	done := make(chan struct{})
	go func() { s.shutdown(); close(done) }()
	if pk := session.expect(packets.Disconnect); pk.ReasonCode != 0x8B {
		t.Errorf("DISCONNECT %#x", pk.ReasonCode)
	}
	session.expectClosed()
	io.ReadAll(waiting)
	<-done
	if e := s.events.one(t, ingest.DeviceDisconnect, 1); e.DisconnectReason != hub.ReasonShutdown || e.ResultType != "503001" {
		t.Errorf("%s %s", e.DisconnectReason, e.ResultType)
	}
	for n := 1; n <= 2; n++ {
		if e := s.events.one(t, ingest.ConnectionRefused, n); e.ResultType != "503001" {
			t.Errorf("%s %q", e.ResultType, e.ResultDescription)
		}
	}
	if n := len(s.events.all()); n != 4 {
		t.Errorf("want 4 events, got %d", n)
	}
}

// open counts the server's connections by its own gauge's source.
func (s *stack) open() int { return s.server.Open() }

// TestHubChange: a session belongs to the hub that the device names, but only if
// that hub would have served the handshake.
func TestHubByUserName(t *testing.T) {
	s := newStack(t, nil)
	token := s.token("strict.localhost", "sas-1", time.Hour)
	legacy := s.client("demo.localhost")
	legacy.MinVersion, legacy.MaxVersion, legacy.CipherSuites = tls.VersionTLS10, tls.VersionTLS11, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
	c := newClient(t, s.dial(legacy), 4)
	c.send(connectPacket(4, "strict.localhost", "sas-1", token))
	if ack := c.expect(packets.Connack); ack.ReasonCode != 5 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	if e := s.events.one(t, ingest.ConnectionRefused, 1); !strings.Contains(e.ResultDescription, `hub "strict" does not serve TLS 1.1`) || e.TlsVersion != "1.1" || !e.WouldFailStrict {
		t.Errorf("%+v", e)
	}
	c = newClient(t, s.dial(s.client("demo.localhost")), 4)
	c.send(connectPacket(4, "strict.localhost", "sas-1", token))
	c.expect(packets.Connack)
	if e := s.events.one(t, ingest.DeviceConnect, 1); e.Hub != "strict" {
		t.Errorf("hub %s", e.Hub)
	}
}

// panics is a protocol with a bug.
type panics struct{}

func (panics) Name() string   { return ingest.Mqtt }
func (panics) ALPN() []string { return nil }
func (panics) Begin(context.Context, *hub.Conn) (hub.Speaker, hub.End) {
	panic("a bug")
}

func TestProtocolPanics(t *testing.T) {
	s := newStack(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.server.Serve(t.Context(), ln, panics{})
	s.addr = ln.Addr().String()
	c := s.dial(s.client("localhost"))
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	if e := s.events.one(t, ingest.ConnectionRefused, 1); e.ResultType != "500001" || strings.Contains(e.ResultDescription, "bug") {
		t.Errorf("%s %q", e.ResultType, e.ResultDescription)
	}
}

var _ hub.Protocol = (*mqtt.Protocol)(nil)

// BenchmarkConnection answers: what does a connection cost with everything on,
// handshake, client certificate, CONNECT, events? Client and server share the
// machine.
func BenchmarkConnection(b *testing.B) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b.Run(fmt.Sprintf("TLS 1.%d", version-tls.VersionTLS10), func(b *testing.B) {
			s := newStack(b, func(c *hub.Config) { c.Events = discard{} })
			config := s.client("localhost")
			config.MaxVersion = version
			config.Certificates = []tls.Certificate{s.device(s.pki.devices, "ca-1", ca.DeviceConfig{})}
			b.ResetTimer()
			for b.Loop() {
				conn, err := tls.Dial("tcp", s.addr, config)
				if err != nil {
					b.Fatal(err)
				}
				c := newClient(b, conn, 4)
				c.send(connectPacket(4, "localhost", "ca-1", ""))
				c.expect(packets.Connack)
				conn.Close()
			}
		})
	}
}

type discard struct{}

func (discard) PublishContext(context.Context, *ingest.Event) {}
