package hub_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

func TestMQTTSession(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("level %d", version), func(t *testing.T) {
			s := newStack(t, nil)
			c := s.connect(version)
			connect := s.events.one(t, ingest.DeviceConnect, 1)
			if connect.DeviceId != "sas-1" || connect.ClaimedDeviceId != "" || connect.AuthType != ingest.AuthSAS || connect.AuthIssuer != "iothub" ||
				connect.SdkVersion != "test/1.0 (go)" || connect.TlsVersion != "1.3" || connect.Hub != "demo" || connect.Level != ingest.Information {
				t.Errorf("deviceConnect: %+v", connect)
			}
			if connect.ConnectMicros < connect.HandshakeMicros || connect.HandshakeMicros <= 0 {
				t.Errorf("times: handshake %d, connect %d", connect.HandshakeMicros, connect.ConnectMicros)
			}

			c.send(publishPacket("devices/sas-1/messages/events/%24.mid=m1&temperatureAlert=true&a%20b=c%2Bd%26e", 1, 7, `{"temperature":31}`))
			if ack := c.expect(packets.Puback); ack.PacketID != 7 || ack.ReasonCode != 0 {
				t.Errorf("PUBACK: %+v", ack)
			}
			c.send(publishPacket("devices/sas-1/messages/events/", 0, 0, "second"))
			c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
			c.expect(packets.Pingresp)
			messages := s.telemetry.all()
			if len(messages) != 2 {
				t.Fatalf("want 2 messages, got %d", len(messages))
			}
			want := []hub.Property{{Name: "$.mid", Value: "m1"}, {Name: "temperatureAlert", Value: "true"}, {Name: "a b", Value: "c+d&e"}}
			if diff := cmp.Diff(want, messages[0].Properties); diff != "" {
				t.Errorf("properties (-want +got)\n%s", diff)
			}
			if m := messages[0]; string(m.Body) != `{"temperature":31}` || m.DeviceID != "sas-1" || m.Hub != "demo" || m.ConnectionID != connect.ConnectionId {
				t.Errorf("message: %+v", m)
			}

			c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
			c.expectClosed()
			d := s.events.one(t, ingest.DeviceDisconnect, 1)
			if d.DisconnectReason != hub.ReasonClientDisconnect || d.ResultType != "" || d.Level != ingest.Information || d.Messages != 2 ||
				d.ConnectionId != connect.ConnectionId || d.Sequence <= connect.Sequence || d.BytesIn == 0 || d.BytesOut == 0 {
				t.Errorf("deviceDisconnect: %+v", d)
			}
			if n := len(s.events.all()); n != 2 {
				t.Errorf("want 2 events, got %d", n)
			}
		})
	}
}

func TestMQTTTwinAndSubscriptions(t *testing.T) {
	s := newStack(t, nil)
	c := s.connect(4)
	// Without the subscription there is no answer.
	c.send(publishPacket("$iothub/twin/GET/?$rid=0", 0, 0, ""))
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{
		{Filter: "$iothub/twin/res/#", Qos: 0}, {Filter: "devices/sas-1/messages/devicebound/#", Qos: 2}, {Filter: "$iothub/methods/POST/#", Qos: 1},
	}})
	if ack := c.expect(packets.Suback); !slices.Equal(ack.ReasonCodes, []byte{0, 1, 1}) {
		t.Errorf("SUBACK %v", ack.ReasonCodes)
	}
	twin := func(topic, body, want string) string {
		t.Helper()
		c.send(publishPacket(topic, 0, 0, body))
		pk := c.expect(packets.Publish)
		if pk.TopicName != want {
			t.Errorf("topic: want %s, got %s", want, pk.TopicName)
		}
		return string(pk.Payload)
	}
	if got, want := twin("$iothub/twin/GET/?$rid=1", "", "$iothub/twin/res/200/?$rid=1"), `{"desired":{"$version":1},"reported":{"$version":1}}`; got != want {
		t.Errorf("twin: want %s, got %s", want, got)
	}
	twin("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"a":1,"b":{"c":true,"d":"x"}}`, "$iothub/twin/res/204/?$rid=2&$version=2")
	twin("$iothub/twin/PATCH/properties/reported/?$rid=3", `{"a":null,"b":{"d":null,"e":12345678901234567890}}`, "$iothub/twin/res/204/?$rid=3&$version=3")
	twin("$iothub/twin/PATCH/properties/reported/?$rid=4", `[1]`, "$iothub/twin/res/400/?$rid=4")
	twin("$iothub/twin/PATCH/properties/reported/?$rid=5", `{`, "$iothub/twin/res/400/?$rid=5")
	if got, want := twin("$iothub/twin/GET/?$rid=6", "", "$iothub/twin/res/200/?$rid=6"),
		`{"desired":{"$version":1},"reported":{"$version":3,"b":{"c":true,"e":12345678901234567890}}}`; got != want {
		t.Errorf("twin: want %s, got %s", want, got)
	}
	c.send(publishPacket("$iothub/methods/res/200/?$rid=1", 1, 9, "{}"))
	c.expect(packets.Puback)
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 2, Filters: packets.Subscriptions{{Filter: "$iothub/twin/res/#"}}})
	c.expect(packets.Unsuback)
	if len(s.telemetry.all()) != 0 {
		t.Error("a twin request went to telemetry")
	}
}

// TestTwinAndMethodsFromTheBackEnd: a device hears of its desired properties and
// answers direct methods, whichever process it is connected to and whichever
// one is asked; a module is one more device.
func TestTwinAndMethodsFromTheBackEnd(t *testing.T) {
	a := newStack(t, nil)
	b := a.process("node-2", nil)
	ctx := t.Context()
	c := b.connect(4)
	call := registry.MethodNotice{Hub: "demo", DeviceID: "sas-1", Name: "reboot", Payload: []byte(`{"in":5}`), Timeout: 20 * time.Second}
	if _, err := a.registry.CallMethod(ctx, call, 0); !errors.Is(err, registry.ErrNotOnline) {
		t.Errorf("a device that does not take methods: %v", err)
	}
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{
		{Filter: "$iothub/twin/PATCH/properties/desired/#"}, {Filter: "$iothub/methods/POST/#"}, {Filter: "$iothub/twin/res/#"},
	}})
	c.expect(packets.Suback)

	if _, err := a.registry.UpdateTwin(ctx, "demo", "sas-1", "", "", registry.TwinPatch{Desired: map[string]any{"interval": 5}}); err != nil {
		t.Fatal(err)
	}
	pk := c.expect(packets.Publish)
	if pk.TopicName != "$iothub/twin/PATCH/properties/desired/?$version=2" || string(pk.Payload) != `{"$version":2,"interval":5}` {
		t.Errorf("told %s %s", pk.TopicName, pk.Payload)
	}
	c.send(publishPacket("$iothub/twin/GET/?$rid=1", 0, 0, ""))
	if got, want := string(c.expect(packets.Publish).Payload), `{"desired":{"$version":2,"interval":5},"reported":{"$version":1}}`; got != want {
		t.Errorf("twin %s, want %s", got, want)
	}

	type answer struct {
		result *registry.MethodResult
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		r, err := a.registry.CallMethod(ctx, call, 0)
		answers <- answer{r, err}
	}()
	pk = c.expect(packets.Publish)
	rid, ok := strings.CutPrefix(pk.TopicName, "$iothub/methods/POST/reboot/?$rid=")
	if !ok || string(pk.Payload) != `{"in":5}` {
		t.Errorf("called %s %s", pk.TopicName, pk.Payload)
	}
	c.send(publishPacket("$iothub/methods/res/200/?$rid=nobodys", 0, 0, `{}`))
	c.send(publishPacket("$iothub/methods/res/202/?$rid="+rid, 0, 0, `{"ok":true}`))
	if got := <-answers; got.err != nil || got.result.Status != 202 || string(got.result.Payload) != `{"ok":true}` {
		t.Errorf("answer %+v", got)
	}

	module, err := a.registry.CreateModule(ctx, registry.Device{Hub: "demo", ID: "sas-1", ModuleID: "valve"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := registry.NewToken("localhost/devices/sas-1/modules/valve", "", module.Auth.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	hello := connectPacket(4, "localhost", "sas-1/valve", token)
	m := newClient(t, b.dial(b.client("localhost")), 4)
	m.send(hello)
	if code := m.expect(packets.Connack).ReasonCode; code != 0 {
		t.Fatalf("the module is refused: %d", code)
	}
	m.send(publishPacket("devices/sas-1/modules/valve/messages/events/", 1, 1, "of the module"))
	m.expect(packets.Puback)
	connects := b.events.wait(t, "two connects", func(events []ingest.Event) bool {
		return len(slices.DeleteFunc(slices.Clone(events), func(e ingest.Event) bool { return e.OperationName != ingest.DeviceConnect })) == 2
	})
	if e := connects[len(connects)-1]; e.DeviceId != "sas-1" || e.ModuleId != "valve" {
		t.Errorf("the module's connect: %+v", e)
	}
	if n := b.server.ConnectedDevices("demo"); n != 1 {
		t.Errorf("a module counts as a device: %d", n)
	}
	// Disabled, both go.
	if _, err := a.registry.UpdateDevice(ctx, "demo", "sas-1", "", func(d *registry.Device) error { d.Status = registry.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	b.events.wait(t, "both are cut", func(events []ingest.Event) bool {
		n := 0
		for _, e := range events {
			if e.OperationName == ingest.DeviceDisconnect && e.DisconnectReason == hub.ReasonDeviceDisabled {
				n++
			}
		}
		return n == 2
	})
}

// TestMQTTEnds: what a device may not do ends its connection, with a reason.
func TestMQTTEnds(t *testing.T) {
	subscribe := func(filter string) *packets.Packet {
		return &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{{Filter: filter}}}
	}
	tests := []struct {
		name   string
		do     func(*mqttClient)
		result hub.Result
		reason string
		code5  byte // the reason in MQTT 5's DISCONNECT, 0 for none
	}{
		{"QoS 2", func(c *mqttClient) { c.send(publishPacket("devices/sas-1/messages/events/", 2, 3, "x")) }, hub.InvalidOperation, hub.ReasonNotSupported, 0x9B},
		{"another device's topic", func(c *mqttClient) { c.send(publishPacket("devices/ca-1/messages/events/", 1, 3, "x")) }, hub.InvalidOperation, hub.ReasonNotSupported, 0x90},
		{"free topic", func(c *mqttClient) { c.send(publishPacket("a/b", 0, 0, "x")) }, hub.InvalidOperation, hub.ReasonNotSupported, 0x90},
		{"subscribe to all", func(c *mqttClient) { c.send(subscribe("#")) }, hub.InvalidOperation, hub.ReasonNotSupported, 0x8F},
		{"subscribe to another device", func(c *mqttClient) { c.send(subscribe("devices/ca-1/messages/devicebound/#")) }, hub.InvalidOperation, hub.ReasonNotSupported, 0x8F},
		{"second CONNECT", func(c *mqttClient) { c.send(connectPacket(c.version, "localhost", "sas-1", "x")) }, hub.FormatError, hub.ReasonProtocolError, 0x82},
		{"garbage", func(c *mqttClient) { c.conn.Write([]byte{0xff, 0xff, 0xff, 0xff}) }, hub.FormatError, hub.ReasonProtocolError, 0x82},
		{"malformed length", func(c *mqttClient) { c.conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}) }, hub.FormatError, hub.ReasonProtocolError, 0x82},
		{"truncated SUBSCRIBE", func(c *mqttClient) { c.conn.Write([]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}) }, hub.FormatError, hub.ReasonProtocolError, 0x82},
		{"message too large", func(c *mqttClient) { c.conn.Write([]byte{0x30, 0x81, 0x80, 0x10}) }, hub.MessageTooLarge, hub.ReasonMessageTooLarge, 0x95},
		{"lost", func(c *mqttClient) { c.conn.Close() }, hub.ClosedRemotely, hub.ReasonConnectionLost, 0},
	}
	for _, version := range []byte{4, 5} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, level %d", tt.name, version), func(t *testing.T) {
				s := newStack(t, nil)
				c := s.connect(version)
				tt.do(c)
				if tt.code5 != 0 && version == 5 {
					if pk := c.expect(packets.Disconnect); pk.ReasonCode != tt.code5 {
						t.Errorf("DISCONNECT: want %#x, got %#x", tt.code5, pk.ReasonCode)
					}
				}
				if tt.name != "lost" {
					c.expectClosed()
				}
				e := s.events.one(t, ingest.DeviceDisconnect, 1)
				if e.ResultType != tt.result.Type() || e.DisconnectReason != tt.reason || e.Level != ingest.Error || e.ResultDescription == "" {
					t.Errorf("want %v %s, got %s %s %q", tt.result, tt.reason, e.ResultType, e.DisconnectReason, e.ResultDescription)
				}
			})
		}
	}
}

func TestMQTTRefusals(t *testing.T) {
	p := testPKI()
	token := func(s *stack) string { return s.token("localhost", "sas-1", time.Hour) }
	type attempt struct {
		name   string
		packet func(s *stack, version byte) *packets.Packet
		cert   *ca.Leaf
		result string
		code3  byte
		code5  byte
		id     string // ClaimedDeviceId
		auth   string
		part   string // of ResultDescription
	}
	leaf := func(authority *ca.Authority, id string, config ca.DeviceConfig) *ca.Leaf {
		l, err := authority.Device(id, config)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain := func(id string, token func(*stack) string) func(*stack, byte) *packets.Packet {
		return func(s *stack, version byte) *packets.Packet {
			tk := ""
			if token != nil {
				tk = token(s)
			}
			return connectPacket(version, "localhost", id, tk)
		}
	}
	edit := func(f func(*packets.Packet)) func(*stack, byte) *packets.Packet {
		return func(s *stack, version byte) *packets.Packet {
			pk := connectPacket(version, "localhost", "sas-1", token(s))
			f(pk)
			return pk
		}
	}
	tests := []attempt{
		{"unknown device", plain("nobody", token), nil, "404001", 5, 0x87, "nobody", "sas", "no device"},
		{"no token", plain("sas-1", nil), nil, "401003", 5, 0x87, "sas-1", "none", "sent no token"},
		{"expired token", plain("sas-1", func(s *stack) string { return s.token("localhost", "sas-1", -time.Minute) }), nil, "401003", 5, 0x87, "sas-1", "sas", "expired"},
		{"another device's token", plain("sas-1", func(s *stack) string { return s.token("localhost", "ca-1", time.Hour) }), nil, "401003", 5, 0x87, "sas-1", "sas", ""},
		{"garbage for a token", plain("sas-1", func(*stack) string { return "let me in" }), nil, "401003", 5, 0x87, "sas-1", "sas", ""},
		{"no certificate", plain("ca-1", nil), nil, "401003", 5, 0x87, "ca-1", "none", "presented none"},
		{"wrong common name", plain("ca-1", nil), leaf(p.devices, "someone", ca.DeviceConfig{}), "401003", 5, 0x87, "ca-1", "x509Ca", "common name"},
		{"foreign CA", plain("ca-1", nil), leaf(p.strangers, "ca-1", ca.DeviceConfig{}), "401003", 5, 0x87, "ca-1", "x509Ca", ""},
		{"expired certificate", plain("ca-1", nil), leaf(p.devices, "ca-1", ca.DeviceConfig{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
			"401003", 5, 0x87, "ca-1", "x509Ca", "expired"},
		{"unknown host", func(s *stack, v byte) *packets.Packet { return connectPacket(v, "elsewhere", "sas-1", token(s)) }, nil, "401003", 5, 0x87, "sas-1", "sas", "elsewhere"},
		{"user name without host", edit(func(pk *packets.Packet) { pk.Connect.Username = []byte("sas-1") }), nil, "401003", 5, 0x87, "sas-1", "sas", "user name"},
		{"no user name", edit(func(pk *packets.Packet) { pk.Connect.UsernameFlag = false; pk.Connect.Username = nil }), nil, "401003", 5, 0x87, "sas-1", "sas", "user name is missing"},
		{"another client id", edit(func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "sas-2" }), nil, "401003", 5, 0x85, "sas-1", "sas", "client id"},
		{"MQTT 3.1", edit(func(pk *packets.Packet) { pk.Connect.ProtocolName = []byte("MQIsdp"); pk.ProtocolVersion = 3 }), nil, "400001", 1, 1, "", "none", "level 3"},
		{"foreign will", edit(func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "lwt", []byte("x")
		}), nil, "400003", 5, 0x90, "sas-1", "sas", "will"},
	}
	for _, version := range []byte{4, 5} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, level %d", tt.name, version), func(t *testing.T) {
				s := newStack(t, nil)
				config := s.client("localhost")
				if tt.cert != nil {
					config.Certificates = append(config.Certificates, tt.cert.TLS())
				}
				c := newClient(t, s.dial(config), version)
				pk := tt.packet(s, version)
				want := tt.code3
				if version == 5 {
					want = tt.code5
				}
				if tt.name == "MQTT 3.1" {
					c.version = 3
					c.send(pk)
					c.version = 4
				} else {
					c.send(pk)
				}
				if ack := c.expect(packets.Connack); ack.ReasonCode != want || ack.SessionPresent {
					t.Errorf("CONNACK: want %#x, got %#x", want, ack.ReasonCode)
				}
				c.expectClosed()
				e := s.events.one(t, ingest.ConnectionRefused, 1)
				if e.ResultType != tt.result || e.DeviceId != "" || e.ClaimedDeviceId != tt.id || e.AuthType != tt.auth || e.Stage != ingest.StageAuth ||
					e.Level != ingest.Error || !strings.Contains(e.ResultDescription, tt.part) || e.DisconnectReason != "" {
					t.Errorf("want %s %s %s, got %+v", tt.result, tt.id, tt.auth, e)
				}
				if (e.CertThumbprint != "") != (tt.cert != nil) {
					t.Errorf("certificate: %q", e.CertThumbprint)
				}
				if len(s.events.all()) != 1 {
					t.Errorf("want one event, got %d", len(s.events.all()))
				}
			})
		}
	}
}

func TestMQTTCertificates(t *testing.T) {
	s := newStack(t, nil)
	self, err := ca.SelfSigned("tp-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, sha256 := registry.Thumbprints(self.Certificate)
	if _, err := s.registry.CreateDevice(t.Context(), registry.Device{Hub: "demo", ID: "tp-1",
		Auth: registry.Authentication{Type: registry.AuthThumbprint, SecondaryThumbprint: sha256}}); err != nil {
		t.Fatal(err)
	}
	byCA, err := s.pki.devices.Device("ca-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for n, tt := range []struct {
		id, auth, caName string
		leaf             *ca.Leaf
	}{{"tp-1", ingest.AuthX509Thumbprint, "", self}, {"ca-1", ingest.AuthX509CA, "factory", byCA}} {
		config := s.client("localhost")
		config.Certificates = append(config.Certificates, tt.leaf.TLS())
		c := newClient(t, s.dial(config), 4)
		c.send(connectPacket(4, "localhost", tt.id, ""))
		if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
			t.Fatalf("%s: CONNACK %#x", tt.id, ack.ReasonCode)
		}
		e := s.events.one(t, ingest.DeviceConnect, n+1)
		if e.DeviceId != tt.id || e.AuthType != tt.auth || e.CaName != tt.caName || e.CertSubject != "CN="+tt.id ||
			!e.CertNotAfter.Equal(tt.leaf.Certificate.NotAfter) || len(e.CertThumbprint) != 64 || e.CertSerial != tt.leaf.Certificate.SerialNumber.Text(16) {
			t.Errorf("%+v", e)
		}
	}
}

// TestMQTTAcknowledges: PUBACK comes when the message is safe, in order, and
// never when it is not.
func TestMQTTAcknowledges(t *testing.T) {
	s := newStack(t, nil)
	s.telemetry.hold = true
	c := s.connect(4)
	for id := uint16(1); id <= 3; id++ {
		c.send(publishPacket("devices/sas-1/messages/events/", 1, id, "x"))
	}
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp) // all three are read, none is acknowledged
	s.telemetry.mu.Lock()
	waiting := slices.Clone(s.telemetry.waiting)
	s.telemetry.mu.Unlock()
	if len(waiting) != 3 {
		t.Fatalf("want 3 messages, got %d", len(waiting))
	}
	waiting[2](nil)
	waiting[1](nil)
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp) // the first one holds them up
	waiting[0](nil)
	for id := uint16(1); id <= 3; id++ {
		if ack := c.expect(packets.Puback); ack.PacketID != id {
			t.Errorf("want PUBACK %d, got %d", id, ack.PacketID)
		}
	}
	c.send(publishPacket("devices/sas-1/messages/events/", 1, 4, "x"))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.telemetry.mu.Lock()
		n := len(s.telemetry.waiting)
		s.telemetry.mu.Unlock()
		if n == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the fourth message did not come")
		}
	}
	s.telemetry.waiting[3](errors.New("the disk is full"))
	c.expectClosed()
	e := s.events.one(t, ingest.DeviceDisconnect, 1)
	if e.DisconnectReason != hub.ReasonUnavailable || e.ResultType != "500001" || e.Messages != 3 {
		t.Errorf("%s %s, %d messages", e.DisconnectReason, e.ResultType, e.Messages)
	}
	if strings.Contains(e.ResultDescription, "disk") {
		t.Errorf("internal text in %q", e.ResultDescription)
	}
}

// TestTakeoverAcrossProcesses: a device that connects to one process of a hub
// has no session with another any more.
func TestTakeoverAcrossProcesses(t *testing.T) {
	a := newStack(t, nil)
	b := a.process("node-2", nil)
	first := a.connect(4)
	c1 := a.events.one(t, ingest.DeviceConnect, 1)
	second := b.connect(5)
	c2 := b.events.one(t, ingest.DeviceConnect, 1)
	d := a.events.one(t, ingest.DeviceDisconnect, 1)
	if d.ResultType != "400027" || d.DisconnectReason != hub.ReasonTakenOver || d.ConnectionId != c1.ConnectionId || !strings.Contains(d.ResultDescription, "node-2") {
		t.Errorf("the end of the first session: %+v", d)
	}
	if c1.Sequence >= d.Sequence || d.Sequence >= c2.Sequence {
		t.Errorf("connect %d, disconnect %d, connect %d are out of order", c1.Sequence, d.Sequence, c2.Sequence)
	}
	first.expectClosed()
	second.send(publishPacket("devices/sas-1/messages/events/", 1, 1, "still here"))
	second.expect(packets.Puback)
	// And back: from an MQTT 5 client, which hears why.
	a.connect(4)
	if code := second.expect(packets.Disconnect).ReasonCode; code != packets.ErrSessionTakenOver.Code {
		t.Errorf("reason code %#x", code)
	}
	b.events.one(t, ingest.DeviceDisconnect, 1)
	if n := a.server.ConnectedDevices("demo") + b.server.ConnectedDevices("demo"); n != 1 {
		t.Errorf("%d devices are connected, want 1", n)
	}
}

func TestMQTTTakeover(t *testing.T) {
	s := newStack(t, nil)
	first := s.connect(5)
	s.connect(4)
	if pk := first.expect(packets.Disconnect); pk.ReasonCode != 0x8E {
		t.Errorf("DISCONNECT %#x", pk.ReasonCode)
	}
	first.expectClosed()
	d := s.events.one(t, ingest.DeviceDisconnect, 1)
	c1, c2 := s.events.one(t, ingest.DeviceConnect, 1), s.events.one(t, ingest.DeviceConnect, 2)
	if d.ResultType != "400027" || d.DisconnectReason != hub.ReasonTakenOver || d.ConnectionId != c1.ConnectionId {
		t.Errorf("%+v", d)
	}
	if !(c1.Sequence < d.Sequence && d.Sequence < c2.Sequence) {
		t.Errorf("sequence: connect %d, disconnect %d, connect %d", c1.Sequence, d.Sequence, c2.Sequence)
	}
}

// TestMQTTCut: what the registry takes back ends the session within a second.
func TestMQTTCut(t *testing.T) {
	ctx := t.Context()
	update := func(s *stack, change func(*registry.Device) error) error {
		_, err := s.registry.UpdateDevice(ctx, "demo", "sas-1", "", change)
		return err
	}
	tests := []struct {
		name   string
		id     string
		do     func(s *stack) error
		result string
		reason string
	}{
		{"disabled", "sas-1", func(s *stack) error {
			return update(s, func(d *registry.Device) error { d.Status = registry.Disabled; return nil })
		}, "403012", hub.ReasonDeviceDisabled},
		{"deleted", "sas-1", func(s *stack) error { return s.registry.DeleteDevice(ctx, "demo", "sas-1", "") }, "404001", hub.ReasonDeviceDeleted},
		{"keys changed", "sas-1", func(s *stack) error {
			return update(s, func(d *registry.Device) error {
				d.Auth.PrimaryKey, d.Auth.SecondaryKey = registry.GenerateKey(), registry.GenerateKey()
				return nil
			})
		}, "401003", hub.ReasonCredentialRevoked},
		{"CA deleted", "ca-1", func(s *stack) error { return s.registry.DeleteCA(ctx, "demo", "factory", "") }, "401003", hub.ReasonCredentialRevoked},
		{"hub deleted", "ca-1", func(s *stack) error { return s.registry.DeleteHub(ctx, "demo", "") }, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t, nil)
			config, token := s.client("localhost"), ""
			if tt.id == "ca-1" {
				config.Certificates = append(config.Certificates, s.device(s.pki.devices, "ca-1", ca.DeviceConfig{}))
			} else {
				token = s.token("localhost", "sas-1", time.Hour)
			}
			c := newClient(t, s.dial(config), 5)
			c.send(connectPacket(5, "localhost", tt.id, token))
			c.expect(packets.Connack)
			started := time.Now()
			if err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			c.expectClosed()
			t.Logf("cut after %v", time.Since(started))
			e := s.events.one(t, ingest.DeviceDisconnect, 1)
			if tt.result != "" && (e.ResultType != tt.result || e.DisconnectReason != tt.reason) {
				t.Errorf("want %s %s, got %s %s", tt.result, tt.reason, e.ResultType, e.DisconnectReason)
			}
			if e.DeviceId != tt.id || e.Level != ingest.Error {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestMQTTTokenExpiry(t *testing.T) {
	s := newStack(t, nil)
	c := newClient(t, s.dial(s.client("localhost")), 4)
	c.send(connectPacket(4, "localhost", "sas-1", s.token("localhost", "sas-1", 3*time.Second)))
	c.expect(packets.Connack)
	c.expectClosed()
	e := s.events.one(t, ingest.DeviceDisconnect, 1)
	if e.ResultType != "401003" || e.DisconnectReason != hub.ReasonTokenExpired {
		t.Errorf("%s %s", e.ResultType, e.DisconnectReason)
	}
}

func TestMQTTKeepAliveAndWill(t *testing.T) {
	s := newStack(t, nil)
	c := newClient(t, s.dial(s.client("localhost")), 4)
	pk := connectPacket(4, "localhost", "sas-1", s.token("localhost", "sas-1", time.Hour))
	pk.Connect.Keepalive = 1
	pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillRetain = true, "devices/sas-1/messages/events/why=gone", []byte("bye"), true
	c.send(pk)
	c.expect(packets.Connack)
	c.expectClosed()
	e := s.events.one(t, ingest.DeviceDisconnect, 1)
	if e.ResultType != "404104" || e.DisconnectReason != hub.ReasonKeepAliveTimeout {
		t.Errorf("%s %s", e.ResultType, e.DisconnectReason)
	}
	want := []hub.Property{{Name: "why", Value: "gone"}, {Name: "iothub-MessageType", Value: "Will"}, {Name: "mqtt-retain", Value: "true"}}
	messages := s.telemetry.all()
	if len(messages) != 1 || string(messages[0].Body) != "bye" {
		t.Fatalf("messages: %+v", messages)
	}
	if diff := cmp.Diff(want, messages[0].Properties); diff != "" {
		t.Errorf("will (-want +got)\n%s", diff)
	}

	// With DISCONNECT there is no will.
	c = newClient(t, s.dial(s.client("localhost")), 4)
	c.send(pk)
	c.expect(packets.Connack)
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.expectClosed()
	s.events.one(t, ingest.DeviceDisconnect, 2)
	if n := len(s.telemetry.all()); n != 1 {
		t.Errorf("want 1 message, got %d", n)
	}
}

func TestMQTTWithMosquitto(t *testing.T) {
	needTool(t, "mosquitto_pub")
	s := newStack(t, nil)
	leaf, err := s.pki.devices.Device("ca-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	root, cert, key := s.files(leaf)
	// mosquitto_pub's --tls-version is only the lowest one.
	only12 := filepath.Join(t.TempDir(), "openssl.cnf")
	if err := os.WriteFile(only12, []byte("openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMaxProtocol = TLSv1.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, version := range []string{"1.2", "1.3"} {
		for _, protocol := range []string{"mqttv311", "mqttv5"} {
			for _, id := range []string{"sas-1", "ca-1"} {
				n++
				args := []string{"-h", "localhost", "-p", port(s.addr), "--cafile", root, "-V", protocol, "-i", id,
					"-u", "localhost/" + id + "/?api-version=2021-04-12", "-q", "1", "-t", "devices/" + id + "/messages/events/n=1", "-m", "hello"}
				if id == "sas-1" {
					args = append(args, "-P", s.token("localhost", id, time.Hour))
				} else {
					args = append(args, "--cert", cert, "--key", key)
				}
				cmd := exec.Command("mosquitto_pub", args...)
				if version == "1.2" {
					cmd.Env = append(os.Environ(), "OPENSSL_CONF="+only12)
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s %s %s: %v\n%s", version, protocol, id, err, out)
				}
				connect, d := s.events.one(t, ingest.DeviceConnect, n), s.events.one(t, ingest.DeviceDisconnect, n)
				if connect.DeviceId != id || connect.TlsVersion != version || d.Messages != 1 || d.DisconnectReason != hub.ReasonClientDisconnect {
					t.Errorf("%s %s %s: %s %s %d %s", version, protocol, id, connect.DeviceId, connect.TlsVersion, d.Messages, d.DisconnectReason)
				}
				t.Logf("TLS %s %s %s: handshake %d us, connect %d us", version, protocol, id, connect.HandshakeMicros, connect.ConnectMicros)
			}
		}
	}
	if out, err := exec.Command("mosquitto_pub", "-h", "localhost", "-p", port(s.addr), "--cafile", root, "-i", "sas-1",
		"-u", "localhost/sas-1/", "-P", "wrong", "-q", "1", "-t", "devices/sas-1/messages/events/", "-m", "x").CombinedOutput(); err == nil || !strings.Contains(string(out), "not authorised") {
		t.Errorf("wrong token: %v, %s", err, out)
	}
}
