package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/handshake"
	"hubscope/hub/mqtt"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// pki is what tests need of certificates, made once: keys are slow.
type pki struct {
	server      *ca.Authority
	serverCerts *handshake.Certificates
	serverPool  *x509.CertPool
	devices     *ca.Authority
	strangers   *ca.Authority
}

var testPKI = sync.OnceValue(func() *pki {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	p := new(pki)
	var err error
	p.server, err = ca.NewAuthority(ca.AuthorityConfig{CommonName: "test server root"})
	must(err)
	names := []string{"localhost", "demo.localhost", "strict.localhost", "modern.localhost", "127.0.0.1"}
	rsa, err := p.server.Server(ca.ServerConfig{Names: names, KeyType: ca.RSA2048})
	must(err)
	ecdsa, err := p.server.Server(ca.ServerConfig{Names: names})
	must(err)
	p.serverCerts, err = handshake.NewCertificates(rsa.TLS(), ecdsa.TLS())
	must(err)
	p.serverPool = x509.NewCertPool()
	p.serverPool.AddCert(p.server.Certificate)
	p.devices, err = ca.NewAuthority(ca.AuthorityConfig{CommonName: "device root"})
	must(err)
	p.strangers, err = ca.NewAuthority(ca.AuthorityConfig{CommonName: "foreign root"})
	must(err)
	return p
})

// recorder is a hub.EventPublisher that keeps what it gets.
type recorder struct {
	mu     sync.Mutex
	events []ingest.Event
	wake   chan struct{}
}

func (r *recorder) PublishContext(_ context.Context, e *ingest.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

func (r *recorder) all() []ingest.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// wait waits until the events fulfil a condition, and returns them.
func (r *recorder) wait(t testing.TB, what string, ok func([]ingest.Event) bool) []ingest.Event {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		r.mu.Lock()
		events := slices.Clone(r.events)
		if ok(events) {
			r.mu.Unlock()
			return events
		}
		if r.wake == nil {
			r.wake = make(chan struct{})
		}
		wake := r.wake
		r.mu.Unlock()
		select {
		case <-wake:
		case <-deadline:
			for _, e := range events {
				t.Logf("%s %s %s %s %q", e.OperationName, e.Stage, e.DeviceId, e.ResultType, e.ResultDescription)
			}
			t.Fatalf("waited for %s", what)
		}
	}
}

// one waits for the n-th event of an operation.
func (r *recorder) one(t testing.TB, operation string, n int) ingest.Event {
	t.Helper()
	var found ingest.Event
	r.wait(t, fmt.Sprintf("%s number %d", operation, n), func(events []ingest.Event) bool {
		seen := 0
		for _, e := range events {
			if e.OperationName == operation {
				if seen++; seen == n {
					found = e
					return true
				}
			}
		}
		return false
	})
	return found
}

// mailbox is a hub.TelemetryPublisher. Messages are accepted at once, unless
// hold is set.
type mailbox struct {
	mu       sync.Mutex
	hold     bool
	err      error
	messages []hub.Message
	waiting  []func(error)
}

func (m *mailbox) PublishTelemetry(_ context.Context, msg *hub.Message, accepted func(error)) {
	m.mu.Lock()
	c := *msg
	c.Body = bytes.Clone(msg.Body)
	m.messages = append(m.messages, c)
	if m.hold {
		m.waiting = append(m.waiting, accepted)
		m.mu.Unlock()
		return
	}
	err := m.err
	m.mu.Unlock()
	accepted(err)
}

func (m *mailbox) all() []hub.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// stack is a hub with its registry.
type stack struct {
	t         testing.TB
	server    *hub.Server
	registry  *registry.Registry
	cache     *registry.Cache
	events    *recorder
	telemetry *mailbox
	addr      string // MQTT
	pki       *pki
}

// The SAS keys of the test devices.
var sasKey = registry.GenerateKey()

func newStack(t testing.TB, change func(*hub.Config)) *stack {
	t.Helper()
	s := &stack{t: t, pki: testPKI(), registry: registry.New(registry.NewMemory(), registry.Config{})}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []registry.Hub{
		{Name: "demo", HostNames: []string{"localhost", "demo.localhost"}, MinTLSVersion: registry.TLS10},
		{Name: "strict", HostNames: []string{"strict.localhost"}, MinTLSVersion: registry.TLS12},
		{Name: "modern", HostNames: []string{"modern.localhost"}, MinTLSVersion: registry.TLS13},
	} {
		_, err := s.registry.CreateHub(ctx, h)
		must(err)
		_, err = s.registry.CreateDevice(ctx, registry.Device{Hub: h.Name, ID: "sas-1", Auth: registry.Authentication{Type: registry.AuthSAS, PrimaryKey: sasKey}})
		must(err)
		_, err = s.registry.CreateCA(ctx, h.Name, "factory", s.pki.devices.Certificate.Raw, true)
		must(err)
		_, err = s.registry.CreateDevice(ctx, registry.Device{Hub: h.Name, ID: "ca-1", Auth: registry.Authentication{Type: registry.AuthCA}})
		must(err)
	}
	return s.process("node-1", change)
}

// process starts a further process of the stack's hubs, which shares their
// registry, and returns the stack with it.
func (s *stack) process(node string, change func(*hub.Config)) *stack {
	t := s.t
	t.Helper()
	s = &stack{t: t, pki: s.pki, registry: s.registry, events: new(recorder), telemetry: new(mailbox)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cache = registry.NewCache(s.registry, registry.CacheConfig{Count: true, Logger: slog.New(slog.DiscardHandler)})
	var background sync.WaitGroup
	background.Go(func() { s.cache.Run(ctx) })
	<-s.cache.Ready()

	config := hub.DefaultConfig()
	config.Node, config.DefaultHub, config.Registry, config.IPKey = node, "demo", s.cache, bytes.Repeat([]byte{7}, 32)
	config.Certificates = func(string) *handshake.Certificates { return s.pki.serverCerts }
	config.Events, config.Telemetry = s.events, s.telemetry
	config.Logger = slog.New(slog.DiscardHandler)
	if change != nil {
		change(&config)
	}
	server, err := hub.New(config)
	must(err)
	s.server = server
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln, mqtt.New()) }()
	t.Cleanup(func() {
		end, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		if err := server.Shutdown(end); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		// A test that was over at once shut down before it served.
		if err := <-served; err != nil && !errors.Is(err, hub.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		cancel()
		background.Wait()
	})
	return s
}

func (s *stack) token(host, id string, valid time.Duration) string {
	s.t.Helper()
	token, err := registry.NewToken(host+"/devices/"+id, "", sasKey, time.Now().Add(valid))
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// client returns the TLS configuration of a client that names host.
func (s *stack) client(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: s.pki.serverPool}
}

// dial connects and does the handshake.
func (s *stack) dial(config *tls.Config) *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// device is a certificate for id by the trusted authority.
func (s *stack) device(authority *ca.Authority, id string, config ca.DeviceConfig) tls.Certificate {
	s.t.Helper()
	leaf, err := authority.Device(id, config)
	if err != nil {
		s.t.Fatal(err)
	}
	return leaf.TLS()
}

// mqttClient speaks MQTT by hand: what a library would not send, too.
type mqttClient struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
}

func newClient(t testing.TB, conn net.Conn, version byte) *mqttClient {
	return &mqttClient{t: t, conn: conn, r: bufio.NewReader(conn), version: version}
}

// connectPacket returns a CONNECT with Azure's user name.
func connectPacket(version byte, host, id, token string) *packets.Packet {
	pk := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version}
	pk.Connect = packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: id, Keepalive: 30, Clean: true, UsernameFlag: true,
		Username: []byte(host + "/" + id + "/?api-version=2021-04-12&DeviceClientType=test%2F1.0%20(go)"),
	}
	if token != "" {
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(token)
	}
	return pk
}

func (c *mqttClient) send(pk *packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&buf)
	case packets.Publish:
		err = pk.PublishEncode(&buf)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&buf)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&buf)
	case packets.Pingreq:
		err = pk.PingreqEncode(&buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&buf)
	default:
		c.t.Fatalf("packet type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(buf.Bytes()); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// receive returns the next packet, or the error of the connection.
func (c *mqttClient) receive() (*packets.Packet, error) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	first, err := c.r.ReadByte()
	if err != nil {
		return nil, err
	}
	pk := &packets.Packet{ProtocolVersion: c.version}
	if err := pk.FixedHeader.Decode(first); err != nil {
		c.t.Fatal(err)
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return nil, err
	}
	pk.FixedHeader.Remaining = int(n)
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	if err != nil {
		c.t.Fatalf("packet type %d: %v", pk.FixedHeader.Type, err)
	}
	return pk, nil
}

// expect receives a packet of a type.
func (c *mqttClient) expect(typ byte) *packets.Packet {
	c.t.Helper()
	pk, err := c.receive()
	if err != nil {
		c.t.Fatalf("receive %s: %v", packets.PacketNames[typ], err)
	}
	if pk.FixedHeader.Type != typ {
		c.t.Fatalf("want %s, got %s, reason %#x", packets.PacketNames[typ], packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
	}
	return pk
}

// expectClosed waits for the end of the connection.
func (c *mqttClient) expectClosed() {
	c.t.Helper()
	for {
		pk, err := c.receive()
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				c.t.Fatal("the connection is still open")
			}
			return
		}
		if pk.FixedHeader.Type != packets.Disconnect {
			c.t.Fatalf("unexpected %s", packets.PacketNames[pk.FixedHeader.Type])
		}
	}
}

// connect connects the SAS device of the demo hub.
func (s *stack) connect(version byte) *mqttClient {
	s.t.Helper()
	c := newClient(s.t, s.dial(s.client("localhost")), version)
	c.send(connectPacket(version, "localhost", "sas-1", s.token("localhost", "sas-1", time.Hour)))
	if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
		s.t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return c
}

func publishPacket(topic string, qos byte, id uint16, body string) *packets.Packet {
	return &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, PacketID: id, Payload: []byte(body)}
}

// needTool skips a test on a bare machine, but not in CI.
func needTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is needed in CI: %v", name, err)
	}
	t.Skipf("%s not found", name)
	return ""
}

// files writes the server's root and, if given, a device's certificate as PEM.
func (s *stack) files(leaf *ca.Leaf) (root, cert, key string) {
	s.t.Helper()
	dir := s.t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			s.t.Fatal(err)
		}
		return file
	}
	root = write("root.pem", ca.CertificatePEM(s.pki.server.Certificate))
	if leaf != nil {
		k, err := ca.KeyPEM(leaf.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		cert, key = write("device.pem", leaf.CertificatePEM()), write("device.key", k)
	}
	return root, cert, key
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
