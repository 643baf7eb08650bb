package hub_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"hubscope/hub/ca"
	"hubscope/hub/mqtt"
	"hubscope/ingest"
)

// serveProxied adds a listener for proxies and returns its address.
func (s *stack) serveProxied(from ...netip.Prefix) string {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	go s.server.ServeProxied(s.t.Context(), ln, mqtt.New(), from)
	return ln.Addr().String()
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// proxyHeader is what a proxy sends in front.
func proxyHeader(t *testing.T, serverName, version, cipher string, certificate []byte) []byte {
	t.Helper()
	h := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8883}}
	tlvs := []proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(serverName)}}
	if version != "" {
		ssl := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1, TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)}, {Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(cipher)},
			{Type: proxyproto.PP2_SUBTYPE_SSL_KEY_ALG, Value: []byte("EC256")},
		}}
		if certificate != nil {
			ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
			ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CLIENT_CERT, Value: certificate})
		}
		tlv, err := ssl.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		tlvs = append(tlvs, tlv)
	}
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProxied(t *testing.T) {
	s := newStack(t, nil)
	addr := s.serveProxied(loopback)
	dial := func(header []byte) *mqttClient {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write(header)
		return newClient(t, c, 4)
	}
	c := dial(proxyHeader(t, "demo.localhost", "TLSv1.2", "AES128-SHA", nil))
	c.send(connectPacket(4, "demo.localhost", "sas-1", s.token("demo.localhost", "sas-1", time.Hour)))
	if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	e := s.events.one(t, ingest.DeviceConnect, 1)
	if e.TlsEngine != "proxy" || e.TlsVersion != "1.2" || e.TlsCipher != "TLS_RSA_WITH_AES_128_CBC_SHA" || e.Sni != "demo.localhost" || e.MaskedIpAddress != "192.0.2.XXX" ||
		e.RemotePort != 4711 || e.TlsServerKey != "ECDSA" || e.StrictReason != "negotiated TLS 1.2 with RSA_AES_128_CBC_SHA" || !e.WouldFailStrict {
		t.Errorf("%+v", e)
	}

	// A proxy that sends the client's certificate lets X.509 devices in.
	leaf, err := s.pki.devices.Device("ca-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c = dial(proxyHeader(t, "localhost", "TLSv1.3", "TLS_AES_128_GCM_SHA256", leaf.Certificate.Raw))
	c.send(connectPacket(4, "localhost", "ca-1", ""))
	if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	if e := s.events.one(t, ingest.DeviceConnect, 2); e.AuthType != ingest.AuthX509CA || e.CaName != "factory" || e.WouldFailStrict {
		t.Errorf("%+v", e)
	}

	local := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	health, err := local.Format()
	if err != nil {
		t.Fatal(err)
	}
	for n, tt := range []struct {
		name    string
		data    []byte
		result  string
		address string
	}{
		{"policy", proxyHeader(t, "strict.localhost", "TLSv1.1", "ECDHE-RSA-AES128-SHA", nil), "495040", "192.0.2.XXX"},
		{"unknown suite", proxyHeader(t, "strict.localhost", "TLSv1.2", "NULL-SHA", nil), "495040", "192.0.2.XXX"},
		{"no TLS", proxyHeader(t, "demo.localhost", "", "", nil), "497007", "192.0.2.XXX"},
		{"version 1", []byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8883\r\n"), "497006", "127.0.0.XXX"},
		{"no header", []byte("\x16\x03\x01\x00\x05hello"), "497006", "127.0.0.XXX"},
		{"half a header", proxyHeader(t, "demo.localhost", "TLSv1.3", "x", nil)[:30], "499002", "127.0.0.XXX"},
		{"malformed TLV", func() []byte {
			b := proxyHeader(t, "demo.localhost", "TLSv1.3", "x", nil)
			b[16+12+1] = 0xff
			return b
		}(), "497006", "192.0.2.XXX"},
		{"health check", health, "499001", "127.0.0.XXX"},
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(tt.data)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
		if e := s.events.one(t, ingest.ConnectionRefused, n+1); e.ResultType != tt.result || e.MaskedIpAddress != tt.address {
			t.Errorf("%s: want %s, got %s %s %q", tt.name, tt.result, e.ResultType, e.MaskedIpAddress, e.ResultDescription)
		}
	}

	untrusted := s.serveProxied(netip.MustParsePrefix("198.51.100.0/24"))
	if uc, err := net.Dial("tcp", untrusted); err == nil {
		io.ReadAll(uc)
		uc.Close()
	}
	if e := s.events.one(t, ingest.ConnectionRefused, 9); e.ResultType != "497008" || e.Stage != ingest.StageTCP {
		t.Errorf("%+v", e)
	}
}

// TestHAProxy runs the configuration that is shipped.
func TestHAProxy(t *testing.T) {
	haproxy := needTool(t, "haproxy")
	s := newStack(t, nil)
	backend := s.serveProxied(loopback)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := ln.Addr().String()
	ln.Close() // for HAProxy to bind
	leaf, err := s.pki.server.Server(ca.ServerConfig{Names: []string{"localhost", "demo.localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(pem, append(leaf.CertificatePEM(), key...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(haproxy, "-db", "-f", filepath.Join("..", "deploy", "haproxy", "haproxy.cfg"))
	cmd.Env = append(os.Environ(), "HUBSCOPE_MQTT="+front, "HUBSCOPE_HUB="+backend, "HUBSCOPE_CERT="+pem)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	var c *tls.Conn
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		config := s.client("demo.localhost")
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		if c, err = tls.Dial("tcp", front, config); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	m := newClient(t, c, 4)
	m.send(connectPacket(4, "demo.localhost", "sas-1", s.token("demo.localhost", "sas-1", time.Hour)))
	if ack := m.expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	m.send(publishPacket("devices/sas-1/messages/events/", 1, 1, "x"))
	m.expect(packets.Puback)
	e := s.events.one(t, ingest.DeviceConnect, 1)
	if e.TlsVersion != "1.2" || e.TlsCipher != "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" || e.TlsEngine != "proxy" || e.Sni != "demo.localhost" || e.TlsServerKey != "ECDSA" ||
		e.RemotePort != int64(c.LocalAddr().(*net.TCPAddr).Port) || e.MaskedIpAddress != "127.0.0.XXX" || e.WouldFailStrict {
		t.Errorf("%+v", e)
	}
}
