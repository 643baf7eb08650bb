package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/https"
	"hubscope/hub/mqtt"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// serveHTTPS adds an HTTPS port to the stack and makes it the one to dial.
func (s *stack) serveHTTPS(config https.Config) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	config.MQTT = mqtt.New().BeginOver
	config.Management = registry.NewServiceAPI(registry.APIConfig{Registry: s.registry, Cache: s.cache, DefaultHub: "demo",
		Connection: s.server.Connection, ConnectedDevices: s.server.ConnectedDevices, Logger: slog.New(slog.DiscardHandler)})
	config.Logger = slog.New(slog.DiscardHandler)
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- s.server.Serve(ctx, ln, https.New(config)) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
}

// httpClient sends requests over one connection.
type httpClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (s *stack) httpClient(config *tls.Config) *httpClient {
	c := s.dial(config)
	return &httpClient{s.t, c, bufio.NewReader(c)}
}

// do sends a request and returns status and body.
func (c *httpClient) do(method, path, token, body string, header ...string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequest(method, "https://localhost"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	r.Header.Set("User-Agent", "azure-iot-device/1.18.4")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header[header[i]] = []string{header[i+1]}
	}
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	if err := r.Write(c.conn); err != nil {
		c.t.Fatal(err)
	}
	response, err := http.ReadResponse(c.r, r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(got)
}

const events = "/devices/sas-1/messages/events?api-version=2021-04-12"

func TestHTTPSDevice(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{})
	token := s.token("localhost", "sas-1", time.Hour)
	c := s.httpClient(s.client("localhost"))
	if status, body := c.do("POST", events, token, `{"t":1}`, "iothub-app-alert", "true", "IoTHub-MessageId", "m 1", "iothub-contenttype", "application/json"); status != 204 || body != "" {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := c.do("POST", "/devices/sas-1/files?api-version=2021-04-12", token, `{"blobName":"a"}`); status != 400 || !strings.Contains(body, "ErrorCode:InvalidOperation;File upload is not configured") {
		t.Errorf("file upload: %d %s", status, body)
	}
	if status, _ := c.do("GET", "/devices/sas-1/messages/deviceBound?api-version=2021-04-12", token, ""); status != 204 {
		t.Errorf("poll: %d", status)
	}
	if status, _ := c.do("DELETE", "/devices/sas-1/messages/devicebound/lock?api-version=2021-04-12", token, ""); status != 412 {
		t.Errorf("complete: %d", status)
	}
	// Another token renews the session, a wrong one is refused and leaves it.
	if status, _ := c.do("POST", events, s.token("localhost", "sas-1", 2*time.Hour), "x"); status != 204 {
		t.Errorf("renewed: %d", status)
	}
	if status, _ := c.do("POST", events, s.token("localhost", "sas-1", -time.Hour), "x"); status != 401 {
		t.Errorf("expired: %d", status)
	}
	if status, _ := c.do("POST", events, token, `[{"body":"aGVsbG8=","properties":{"iothub-app-n":"1"}},{"body":"plain","base64Encoded":false}]`,
		"Content-Type", "application/vnd.microsoft.iothub.json"); status != 204 {
		t.Errorf("batch: %d", status)
	}
	if status, _ := c.do("POST", events, token, `[{"nobody":1}]`, "Content-Type", "application/vnd.microsoft.iothub.json"); status != 400 {
		t.Errorf("malformed batch: %d", status)
	}
	var bodies []string
	for _, m := range s.telemetry.all() {
		bodies = append(bodies, string(m.Body))
		if m.Protocol != ingest.Https || m.DeviceID != "sas-1" {
			t.Errorf("%+v", m)
		}
	}
	if diff := cmp.Diff([]string{`{"t":1}`, "x", "hello", "plain"}, bodies); diff != "" {
		t.Errorf("messages (-want +got)\n%s", diff)
	}
	want := []hub.Property{{Name: "$.ct", Value: "application/json"}, {Name: "$.mid", Value: "m 1"}, {Name: "alert", Value: "true"}}
	if diff := cmp.Diff(want, s.telemetry.all()[0].Properties); diff != "" {
		t.Errorf("properties (-want +got)\n%s", diff)
	}
	c.conn.Close()
	connect, d := s.events.one(t, ingest.DeviceConnect, 1), s.events.one(t, ingest.DeviceDisconnect, 1)
	if connect.Protocol != ingest.Https || connect.DeviceId != "sas-1" || connect.Alpn != "" || connect.UserAgent != "azure-iot-device/1.18.4" || connect.SdkVersion == "" {
		t.Errorf("%+v", connect)
	}
	if d.DisconnectReason != hub.ReasonClientDisconnect || d.ResultType != "" || d.Messages != 4 || d.ConnectionId != connect.ConnectionId {
		t.Errorf("%+v", d)
	}
	s.shutdown()
	if n := len(s.events.all()); n != 2 {
		t.Errorf("want 2 events, got %d", n)
	}
}

func TestHTTPSCertificate(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{})
	config := s.client("localhost")
	config.NextProtos = []string{"h2", "http/1.1"}
	config.Certificates = append(config.Certificates, s.device(s.pki.devices, "ca-1", ca.DeviceConfig{}))
	c := s.httpClient(config)
	if status, body := c.do("POST", "/devices/ca-1/messages/events?api-version=2021-04-12", "", "x"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	if e := s.events.one(t, ingest.DeviceConnect, 1); e.AuthType != ingest.AuthX509CA || e.CaName != "factory" || e.Alpn != "http/1.1" {
		t.Errorf("%+v", e)
	}
	// A gateway's connection carries another device too: a pair of its own.
	if status, _ := c.do("POST", events, s.token("localhost", "sas-1", time.Hour), "x"); status != 204 {
		t.Errorf("second device: %d", status)
	}
	c.conn.Close()
	s.events.one(t, ingest.DeviceDisconnect, 2)
}

func TestHTTPSRefusals(t *testing.T) {
	tests := []struct {
		name, method, path string
		token              func(s *stack) string
		body               string
		status             int
		result, claimed    string
	}{
		{"no token", "POST", events, nil, "x", 401, "401003", "sas-1"},
		{"wrong device", "POST", "/devices/nobody/messages/events", func(s *stack) string { return s.token("localhost", "nobody", time.Hour) }, "x", 401, "404001", "nobody"},
		{"management without token", "GET", "/devices/sas-1?api-version=2021-04-12", nil, "", 401, "401003", ""},
		{"nothing there", "GET", "/favicon.ico", nil, "", 401, "401003", ""},
		{"a WebSocket for AMQP", "GET", "/$iothub/websocket", nil, "", 400, "400003", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t, nil)
			s.serveHTTPS(https.Config{})
			c := s.httpClient(s.client("localhost"))
			token := ""
			if tt.token != nil {
				token = tt.token(s)
			}
			status, body := c.do(tt.method, tt.path, token, tt.body)
			if status != tt.status || !strings.Contains(body, `"Message":"ErrorCode:`) || strings.Contains(body, "device \"") {
				t.Errorf("%d %s", status, body)
			}
			if _, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("the connection goes on: %v", err)
			}
			e := s.events.one(t, ingest.ConnectionRefused, 1)
			if e.ResultType != tt.result || e.ClaimedDeviceId != tt.claimed || e.Stage != ingest.StageAuth || e.Protocol != ingest.Https || e.UserAgent == "" && tt.status == 401 {
				t.Errorf("%+v", e)
			}
		})
	}
	t.Run("message too large", func(t *testing.T) {
		s := newStack(t, nil)
		s.serveHTTPS(https.Config{})
		if status, _ := s.httpClient(s.client("localhost")).do("POST", events, s.token("localhost", "sas-1", time.Hour), strings.Repeat("x", https.MaxMessage+1)); status != 413 {
			t.Errorf("%d", status)
		}
	})
}

func TestHTTPSCutAndShutdown(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{})
	token := s.token("localhost", "sas-1", time.Hour)
	c := s.httpClient(s.client("localhost"))
	c.do("POST", events, token, "x")
	if _, err := s.registry.UpdateDevice(t.Context(), "demo", "sas-1", "", func(d *registry.Device) error { d.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	if e := s.events.one(t, ingest.DeviceDisconnect, 1); e.DisconnectReason != hub.ReasonDeviceDisabled || e.ResultType != "403012" {
		t.Errorf("%+v", e)
	}
	if status, _ := c.do("POST", events, token, "x"); status != 401 {
		t.Errorf("a disabled device: %d", status)
	}
	if _, err := s.registry.UpdateDevice(t.Context(), "demo", "sas-1", "", func(d *registry.Device) error { d.Status = registry.Enabled; return nil }); err != nil {
		t.Fatal(err)
	}
	c = s.httpClient(s.client("localhost"))
	for status := 0; status != 204; { // the hub sees the change a little later
		if status, _ = c.do("POST", events, token, "x"); status == 401 {
			c = s.httpClient(s.client("localhost"))
		}
	}
	began := time.Now()
	s.shutdown()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("an idle connection holds the shutdown up for %v", took)
	}
	if e := s.events.one(t, ingest.DeviceDisconnect, 2); e.DisconnectReason != hub.ReasonShutdown {
		t.Errorf("%+v", e)
	}
}

func TestHTTPSIdle(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{IdleTimeout: 300 * time.Millisecond})
	c := s.httpClient(s.client("localhost"))
	c.do("POST", events, s.token("localhost", "sas-1", time.Hour), "x")
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Error(err)
	}
	if e := s.events.one(t, ingest.DeviceDisconnect, 1); e.DisconnectReason != hub.ReasonIdleTimeout || e.ResultType != "" {
		t.Errorf("%+v", e)
	}
	s = newStack(t, func(c *hub.Config) { c.AuthTimeout = 100 * time.Millisecond })
	s.serveHTTPS(https.Config{})
	io.ReadAll(s.dial(s.client("localhost"))) // says nothing
	if e := s.events.one(t, ingest.ConnectionRefused, 1); e.ResultType != "408004" || e.Protocol != ingest.Https {
		t.Errorf("%+v", e)
	}
}

func TestManagement(t *testing.T) {
	s := newStack(t, nil)
	s.connect(4)
	s.serveHTTPS(https.Config{})
	h, _ := s.cache.Hub("demo")
	policy, _ := h.Policy("iothubowner")
	token, err := registry.NewToken("localhost", "iothubowner", policy.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c := s.httpClient(s.client("localhost"))
	status, body := c.do("GET", "/devices/sas-1?api-version=2021-04-12", token, "")
	var device struct{ DeviceID, ConnectionState string }
	if err := json.Unmarshal([]byte(body), &device); err != nil || status != 200 || device.DeviceID != "sas-1" || device.ConnectionState != "Connected" {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if status, _ := c.do("GET", "/devices/none?api-version=2021-04-12", token, ""); status != 404 {
		t.Errorf("%d", status)
	}
	c.conn.Close()
	e := s.events.one(t, ingest.ServiceDisconnect, 1)
	if e.AuthIssuer != "iothubowner" || e.Messages != 2 || e.Level != ingest.Information || e.DeviceId != "" || e.Stage != ingest.StageSession || e.ResultType != "" {
		t.Errorf("%+v", e)
	}
}

// webSocket dials the hub's WebSocket and returns its stream for MQTT.
func (s *stack) webSocket(config *tls.Config) (*websocket.Conn, error) {
	dialer := websocket.Dialer{
		Subprotocols: []string{"mqtt"},
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return tls.Dial("tcp", s.addr, config)
		},
	}
	ws, response, err := dialer.Dial("wss://localhost/$iothub/websocket?iothub-no-client-cert=true", http.Header{"User-Agent": {"test/1"}})
	if err == nil && response.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
		err = fmt.Errorf("subprotocol %q", response.Header.Get("Sec-WebSocket-Protocol"))
	}
	return ws, err
}

// wsConn is the client's side of MQTT in a WebSocket, one packet a message.
type wsConn struct {
	*websocket.Conn
	rest []byte
}

func (c *wsConn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		_, b, err := c.ReadMessage()
		if err != nil {
			return 0, err
		}
		c.rest = b
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *wsConn) Write(p []byte) (int, error) {
	return len(p), c.WriteMessage(websocket.BinaryMessage, p)
}

func (c *wsConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func TestMQTTOverWebSocket(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{})
	ws, err := s.webSocket(s.client("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	c := newClient(t, &wsConn{Conn: ws}, 4)
	c.send(connectPacket(4, "localhost", "sas-1", s.token("localhost", "sas-1", time.Hour)))
	if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	c.send(publishPacket("devices/sas-1/messages/events/", 1, 1, strings.Repeat("x", 100_000)))
	c.expect(packets.Puback)
	// A packet may be cut into messages in any way.
	for _, b := range [][]byte{{packets.Pingreq << 4}, {0}} {
		if err := ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
			t.Fatal(err)
		}
	}
	c.expect(packets.Pingresp)
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.expectClosed()
	connect, d := s.events.one(t, ingest.DeviceConnect, 1), s.events.one(t, ingest.DeviceDisconnect, 1)
	if connect.Protocol != ingest.MqttWs || connect.UserAgent != "test/1" || connect.SdkVersion != "test/1.0 (go)" {
		t.Errorf("%+v", connect)
	}
	if d.DisconnectReason != hub.ReasonClientDisconnect || d.Messages != 1 || d.Protocol != ingest.MqttWs {
		t.Errorf("%+v", d)
	}

	for name, tt := range map[string]struct {
		do     func(*websocket.Conn)
		result string
	}{
		"text": {func(ws *websocket.Conn) { ws.WriteMessage(websocket.TextMessage, []byte("hello")) }, "400006"},
		"gone": {func(ws *websocket.Conn) { ws.NetConn().Close() }, "499004"},
		"closed": {func(ws *websocket.Conn) {
			ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		}, "499004"},
	} {
		n := 0
		for _, e := range s.events.all() {
			if e.OperationName == ingest.ConnectionRefused {
				n++
			}
		}
		ws, err := s.webSocket(s.client("localhost"))
		if err != nil {
			t.Fatal(err)
		}
		tt.do(ws)
		if e := s.events.one(t, ingest.ConnectionRefused, n+1); e.ResultType != tt.result || e.Protocol != ingest.MqttWs {
			t.Errorf("%s: %+v", name, e)
		}
		ws.Close()
	}
}

// TestWebSocketTakeover: MQTT is one protocol, over TCP or WebSocket: a device
// has one session.
func TestWebSocketTakeover(t *testing.T) {
	s := newStack(t, nil)
	first := s.connect(4)
	s.serveHTTPS(https.Config{})
	ws, err := s.webSocket(s.client("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, &wsConn{Conn: ws}, 5)
	c.send(connectPacket(5, "localhost", "sas-1", s.token("localhost", "sas-1", time.Hour)))
	c.expect(packets.Connack)
	first.expectClosed()
	if e := s.events.one(t, ingest.DeviceDisconnect, 1); e.DisconnectReason != hub.ReasonTakenOver {
		t.Errorf("%+v", e)
	}
	s.shutdown()
	if e := s.events.one(t, ingest.DeviceDisconnect, 2); e.DisconnectReason != hub.ReasonShutdown || e.Protocol != ingest.MqttWs {
		t.Errorf("%+v", e)
	}
}

// TestHTTPSGarbage: whatever comes on a connection leaves exactly one refusal, or a
// pair for each device.
func TestHTTPSGarbage(t *testing.T) {
	s := newStack(t, nil)
	s.serveHTTPS(https.Config{IdleTimeout: 300 * time.Millisecond})
	token := s.token("localhost", "sas-1", time.Hour)
	good := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: 1\r\n\r\nx", events, token)
	inputs := []string{
		"", "\x00\xff\x00", "GET", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", strings.Repeat("A", 100_000),
		"POST " + events + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
		"POST " + events + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		good, good + good, good[:len(good)-1], good + "garbage\r\n\r\n", strings.Replace(good, "localhost", "evil\\host", 1),
		"GET /$iothub/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x82\x01",
	}
	for _, in := range inputs {
		c := s.dial(s.client("localhost"))
		c.SetDeadline(time.Now().Add(time.Minute))
		c.Write([]byte(in))
		c.CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	s.shutdown()
	checkPairs(t, s.events.all(), len(inputs))
	if !slices.ContainsFunc(s.events.all(), func(e ingest.Event) bool { return e.OperationName == ingest.DeviceConnect }) {
		t.Error("no device came in")
	}
	for _, e := range s.events.all() {
		if bytes.Contains([]byte(e.ResultDescription), []byte("panic")) || e.ResultType == hub.ServerError.Type() {
			t.Errorf("%s %q", e.ResultType, e.ResultDescription)
		}
	}
}
