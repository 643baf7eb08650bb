package mqtt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/ingest"
)

// Limits of the protocol, most of them Azure's.
const (
	// MaxMessage is the largest message, topic and properties included.
	MaxMessage = 256 << 10
	// maxConnect bounds a CONNECT: nobody is known yet, so little is believed.
	// A will counts, and is cut short by it.
	maxConnect = 96 << 10
	// maxKeepAlive is the longest silence that is allowed, whatever a client
	// asks for: Azure's 1767 s, of which 1.5 times the keep-alive may not be more.
	maxKeepAlive = 1767 * time.Second
	// maxSubscriptions is how many topic filters a device may have.
	maxSubscriptions = 5
	// maxInFlight is how many messages of a device may wait to be accepted; no
	// more are read until some are.
	maxInFlight = 64
	// maxUnsent bounds what waits to be written to a client that does not read.
	maxUnsent = 64 << 10
	// writeTimeout is how long a client may take to read what is sent.
	writeTimeout = 10 * time.Second
)

// A Protocol is MQTT for a hub.Server. It may serve several listeners.
type Protocol struct{}

// New returns the protocol.
func New() *Protocol { return new(Protocol) }

// Name implements hub.Protocol.
func (p *Protocol) Name() string { return ingest.Mqtt }

// ALPN implements hub.Protocol: the extension is left unanswered, for clients
// come with names of other clouds.
func (p *Protocol) ALPN() []string { return nil }

// Begin implements hub.Protocol: it hears CONNECT and answers it.
func (p *Protocol) Begin(ctx context.Context, c *hub.Conn) (hub.Speaker, hub.End) {
	return p.BeginOver(ctx, c, c, "")
}

// BeginOver is Begin on a stream that travels in c, such as a WebSocket.
// userAgent is what the carrier tells of the client.
func (p *Protocol) BeginOver(ctx context.Context, c *hub.Conn, stream net.Conn, userAgent string) (hub.Speaker, hub.End) {
	s := &session{hub: c, conn: stream, version: 4}
	s.drained.L = &s.mu
	stream.SetReadDeadline(time.Now().Add(c.AuthTimeout()))
	pk, end := s.readConnect()
	if end != nil {
		return nil, *end
	}
	if end := s.connect(ctx, pk, userAgent); end != nil {
		return nil, *end
	}
	return s, hub.End{}
}

// protocolError is the end of a client that breaks the protocol.
func protocolError(format string, args ...any) *hub.End {
	return &hub.End{Result: hub.FormatError, Reason: hub.ReasonProtocolError, Description: fmt.Sprintf(format, args...)}
}

// notSupported is the end of a client that asks for what an IoT hub does not do.
func notSupported(format string, args ...any) *hub.End {
	return &hub.End{Result: hub.InvalidOperation, Reason: hub.ReasonNotSupported, Description: fmt.Sprintf(format, args...)}
}

// readConnect reads the first packet, which must be CONNECT [MQTT-3.1.0-1].
func (s *session) readConnect() (*packets.Packet, *hub.End) {
	var first [1]byte
	if _, err := io.ReadFull(s.conn, first[:]); err != nil {
		end := s.hub.EndOfRead(err)
		return nil, &end
	}
	fh, end := s.readHeader(first[0])
	if end != nil {
		return nil, end
	}
	if fh.Type != packets.Connect {
		return nil, protocolError("the first MQTT packet is not a CONNECT")
	}
	if fh.Remaining > maxConnect {
		return nil, protocolError("a CONNECT of %d bytes", fh.Remaining)
	}
	return s.readBody(fh)
}

// connect authenticates the client and answers its CONNECT.
func (s *session) connect(ctx context.Context, pk *packets.Packet, userAgent string) *hub.End {
	c := pk.Connect
	s.version = pk.ProtocolVersion
	switch {
	case string(c.ProtocolName) == "MQTT" && (s.version == 4 || s.version == 5):
	case string(c.ProtocolName) == "MQTT" || string(c.ProtocolName) == "MQIsdp":
		s.version = 4 // the answer is in the form that all versions read
		s.refuse(packets.ErrUnsupportedProtocolVersion)
		return &hub.End{Result: hub.InvalidProtocolVersion, Reason: hub.ReasonProtocolError,
			Description: fmt.Sprintf("MQTT protocol level %d is not supported: 3.1.1 (4) and 5 are", pk.ProtocolVersion)}
	default:
		return protocolError("the protocol name in CONNECT is not MQTT") // [MQTT-3.1.2-1]: close, no CONNACK
	}
	user, problem := parseUserName(string(c.Username), c.UsernameFlag)
	claim := hub.Claim{
		Host: user.host, DeviceID: user.device, ModuleID: user.module, Token: string(c.Password),
		SDKVersion: user.sdk, UserAgent: userAgent, Exclusive: true, Deliver: s.deliver, Cut: s.cut,
	}
	if claim.DeviceID == "" {
		claim.DeviceID = c.ClientIdentifier
	}
	fail := func(code packets.Code, end *hub.End) *hub.End {
		s.hub.Claimed(claim)
		s.refuse(code)
		return end
	}
	unauthorized := func(format string, args ...any) *hub.End {
		return &hub.End{Result: hub.Unauthorized, Description: fmt.Sprintf(format, args...)}
	}
	if code := pk.ConnectValidate(); code != packets.CodeSuccess {
		// A will without payload and an empty password are lawful, though the
		// packet library does not think so.
		emptyWill := c.WillFlag && c.WillTopic != "" && len(c.WillPayload) == 0
		emptyPassword := c.PasswordFlag && len(c.Password) == 0
		if !emptyWill && !emptyPassword || pk.ReservedBit != 0 {
			return fail(packets.ErrProtocolViolation, protocolError("CONNECT: %s", code.Reason))
		}
	}
	if s.version == 5 && pk.Properties.AuthenticationMethod != "" {
		return fail(packets.ErrBadAuthenticationMethod, notSupported("MQTT 5 extended authentication"))
	}
	if problem != "" {
		return fail(packets.ErrNotAuthorized, unauthorized("the user name %s", problem))
	}
	clientID := user.device
	if user.module != "" {
		clientID += "/" + user.module
	}
	if c.ClientIdentifier != clientID {
		return fail(packets.ErrClientIdentifierNotValid, unauthorized("the client id %q is not the device id %q of the user name", clip(c.ClientIdentifier), clip(clientID)))
	}
	if end := s.setWill(pk, user); end != nil {
		return fail(packets.ErrTopicNameInvalid, end)
	}
	s.keepAlive = maxKeepAlive
	if k := time.Duration(c.Keepalive) * time.Second * 3 / 2; k > 0 { // [MQTT-3.1.2-24]
		s.keepAlive = min(k, maxKeepAlive)
	}
	s.device, s.module = user.device, user.module

	opened, refusal := s.hub.Open(ctx, claim)
	if refusal != nil {
		code := packets.ErrNotAuthorized
		if refusal.Temporary() {
			code = packets.ErrServerUnavailable
		}
		s.refuse(code)
		end := hub.Refused(refusal)
		return &end
	}
	s.opened = opened
	return s.welcome(pk)
}

// welcome answers CONNECT with success.
func (s *session) welcome(pk *packets.Packet) *hub.End {
	ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ProtocolVersion: s.version}
	if s.version == 5 {
		ack.Properties = packets.Properties{
			ReceiveMaximum: maxInFlight, MaximumPacketSize: MaxMessage,
			MaximumQos: 1, MaximumQosFlag: true, RetainAvailableFlag: true, SharedSubAvailableFlag: true, SubIDAvailableFlag: true,
			SessionExpiryIntervalFlag: pk.Properties.SessionExpiryInterval > 0,
		}
		if limit := maxKeepAlive * 2 / 3; time.Duration(pk.Connect.Keepalive)*time.Second > limit || pk.Connect.Keepalive == 0 {
			ack.Properties.ServerKeepAliveFlag, ack.Properties.ServerKeepAlive = true, uint16(limit/time.Second)
		}
	}
	s.send(&ack)
	return nil
}

// refuse answers CONNECT with a failure. MQTT 3.1.1 has few codes for that:
// whatever concerns credentials is 5, not authorized.
func (s *session) refuse(code packets.Code) {
	if s.version != 5 {
		switch code {
		case packets.ErrUnsupportedProtocolVersion:
			code = packets.Err3UnsupportedProtocolVersion
		case packets.ErrServerUnavailable:
			code = packets.Err3ServerUnavailable
		default:
			code = packets.Err3NotAuthorized
		}
	}
	s.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ProtocolVersion: s.version, ReasonCode: code.Code})
}

// setWill takes over the will, whose topic must be one that the device may
// publish to.
func (s *session) setWill(pk *packets.Packet, user userName) *hub.End {
	c := pk.Connect
	if !c.WillFlag {
		return nil
	}
	t, ok := parseTopic(c.WillTopic, user.device, user.module)
	if !ok || t.kind != topicEvents {
		return notSupported("a will on topic %q", clip(c.WillTopic))
	}
	if c.WillQos == 2 {
		return notSupported("a will with QoS 2")
	}
	properties := append(t.properties, hub.Property{Name: "iothub-MessageType", Value: "Will"})
	if c.WillRetain {
		properties = append(properties, retained)
	}
	s.will = &will{properties, bytes.Clone(c.WillPayload)}
	return nil
}

// A userName is Azure's: {host}/{device}[/{module}]/?api-version=...&DeviceClientType=...
type userName struct {
	host, device, module string
	sdk                  string
}

// parseUserName returns what is in a user name, and in words what is wrong with it.
func parseUserName(s string, present bool) (u userName, problem string) {
	if !present || s == "" {
		return u, "is missing: {host}/{device}/?api-version=2021-04-12 is needed"
	}
	path, query, _ := strings.Cut(s, "?")
	parts := strings.Split(path, "/")
	// Early SDKs wrote the parameters without the question mark.
	if n := len(parts) - 1; query == "" && n >= 2 && strings.Contains(parts[n], "=") {
		query, parts = parts[n], parts[:n]
	}
	for len(parts) > 2 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return u, fmt.Sprintf("%q is not of the form {host}/{device}/?api-version=2021-04-12", clip(s))
	}
	u.host, u.device = strings.Clone(parts[0]), strings.Clone(parts[1])
	if len(parts) == 3 {
		u.module = strings.Clone(parts[2])
	}
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == "DeviceClientType" {
			if v, err := url.PathUnescape(value); err == nil {
				value = v
			}
			u.sdk = strings.ToValidUTF8(strings.Clone(value), "?")
		}
	}
	return u, ""
}

func clip(s string) string {
	if len(s) > 128 {
		s = s[:128] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
