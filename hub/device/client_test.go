package device

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

func connect(t *testing.T, config Config) *Session {
	t.Helper()
	s, err := Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestConnect: what the device says was negotiated is what the hub saw.
func TestConnect(t *testing.T) {
	h := startHub(t)
	sas := h.add(t, "demo", "sas")
	ecdsa, rsa := h.addCA(t, "ecdsa", ca.P384), h.addCA(t, "rsa", ca.RSA2048)
	for _, tt := range []struct {
		name   string
		id     string
		change func(*Config)
		want   Facts
		auth   string
	}{
		{"default", "sas", nil, Facts{Version: "1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", ServerKey: "ECDSA"}, "sas"},
		{"group", "sas", func(c *Config) { c.Groups = []tls.CurveID{tls.CurveP384} }, Facts{Version: "1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "CurveP384", ServerKey: "ECDSA"}, "sas"},
		{"TLS 1.2 X.509", "ecdsa", func(c *Config) {
			c.MaxVersion, c.Suites, c.Groups = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}, []tls.CurveID{tls.CurveP256}
		}, Facts{Version: "1.2", Suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Group: "CurveP256", ServerKey: "ECDSA"}, "x509Ca"},
		{"RSA key exchange", "rsa", func(c *Config) {
			c.MaxVersion, c.Suites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, Facts{Version: "1.2", Suite: "TLS_RSA_WITH_AES_128_GCM_SHA256", ServerKey: "RSA"}, "x509Ca"},
		{"TLS 1.1", "rsa", func(c *Config) {
			c.MinVersion, c.MaxVersion, c.Suites, c.Groups = tls.VersionTLS10, tls.VersionTLS11, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA}, []tls.CurveID{tls.CurveP256}
		}, Facts{Version: "1.1", Suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Group: "CurveP256", ServerKey: "RSA"}, "x509Ca"},
		{"TLS 1.0", "sas", func(c *Config) {
			c.MaxVersion, c.Suites = tls.VersionTLS10, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		}, Facts{Version: "1.0", Suite: "TLS_RSA_WITH_AES_128_CBC_SHA", ServerKey: "RSA"}, "sas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := h.device(tt.id, "")
			config.SDK = "test/1 (" + tt.name + "; x)"
			switch tt.id {
			case "sas":
				config.Key = sas
			case "ecdsa":
				config.Certificate = pair(ecdsa)
			case "rsa":
				config.Certificate = pair(rsa)
			}
			if tt.change != nil {
				tt.change(&config)
			}
			session := connect(t, config)
			got := session.Facts()
			if got.Server == "" {
				t.Error("no subject of the hub's certificate")
			}
			got.Server = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			e := h.find(t, "deviceConnect", func(e *ingest.Event) bool { return e.OperationName == "deviceConnect" && e.SdkVersion == config.SDK })
			seen := Facts{Version: e.TlsVersion, Suite: e.TlsCipher, Group: got.Group, ServerKey: e.TlsServerKey}
			if diff := cmp.Diff(tt.want, seen); diff != "" || e.DeviceId != tt.id || e.AuthType != tt.auth {
				t.Errorf("the hub saw %s with %s (-want +got):\n%s", e.DeviceId, e.AuthType, diff)
			}
		})
	}
}

// TestRefused: a device that is not let in is told why in plain words.
func TestRefused(t *testing.T) {
	h := startHub(t)
	key, strictKey := h.add(t, "demo", "pump"), h.add(t, "strict", "pump")
	leaf := h.addCA(t, "valve", ca.P256)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	const notLetIn = `the hub did not let device "pump" in: it is unknown or disabled, or its credentials are wrong (the hub's event says which)`
	for _, tt := range []struct {
		name   string
		config Config
		change func(*Config)
		stage  Stage
		want   string
	}{
		{"wrong key", h.device("pump", strictKey), nil, StageMQTT, notLetIn},
		{"no credentials", h.device("pump", ""), nil, StageMQTT, notLetIn},
		{"expired token", h.device("pump", key), func(c *Config) { c.TokenTTL = -time.Minute }, StageMQTT, notLetIn},
		{"unknown device", h.device("nobody", key), nil, StageMQTT, strings.Replace(notLetIn, "pump", "nobody", 1)},
		{"another's certificate", h.device("pump", ""), func(c *Config) { c.Certificate = pair(leaf) }, StageMQTT, notLetIn},
		{"old TLS", h.device("pump", strictKey), func(c *Config) {
			c.HostName, c.MinVersion, c.MaxVersion = "strict.localhost", tls.VersionTLS10, tls.VersionTLS11
		},
			StageTLS, "the hub refused TLS 1.0 to 1.1: its minimum is higher (alert protocol_version)"},
		{"weak suite", h.device("pump", strictKey), func(c *Config) {
			c.HostName, c.MaxVersion, c.Suites = "strict.localhost", tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		}, StageTLS, "the hub accepts none of the offered cipher suites, with TLS 1.2 (alert handshake_failure)"},
		{"unknown root", h.device("pump", key), func(c *Config) { c.Roots = nil }, StageTLS, "the hub's certificate is not trusted: give the root that signed it with --ca"},
		{"another host name", h.device("pump", key), func(c *Config) { c.HostName = "hub.example" }, StageTLS, `the hub's certificate is not for "hub.example": `},
		{"nobody there", h.device("pump", key), func(c *Config) { c.Address = nobody }, StageTCP, "nobody listens at " + nobody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change != nil {
				tt.change(&tt.config)
			}
			s, err := Connect(t.Context(), tt.config)
			if err == nil {
				s.Close()
				t.Fatal("connected")
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %T: %v", err, err)
			}
			if e.Stage != tt.stage || !strings.HasPrefix(e.Reason, tt.want) {
				t.Errorf("at stage %s: %s\nwant %s: %s", e.Stage, e.Reason, tt.stage, tt.want)
			}
		})
	}
}

// TestNotTLS: a peer that does not speak TLS, and one that says nothing.
func TestNotTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for text := ""; ; text = "HTTP/1.1 400 Bad Request\r\n\r\n" {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 4096)
			if _, err := c.Read(buffer); err == nil && text != "" {
				_, _ = c.Write([]byte(text))
			}
			c.Close()
		}
	}()
	for _, want := range []string{"the hub closed the connection during the TLS handshake", "what answers does not speak TLS"} {
		_, err := Connect(t.Context(), Config{HostName: "localhost", DeviceID: "x", Address: ln.Addr().String(), Key: registry.GenerateKey()})
		if err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, Config{HostName: "localhost", DeviceID: "x", Address: ln.Addr().String(), Key: registry.GenerateKey()}); err == nil || err.Error() != "interrupted" {
		t.Errorf("error is %v", err)
	}
}

func TestSend(t *testing.T) {
	h := startHub(t)
	session := connect(t, h.device("pump", h.add(t, "demo", "pump")))
	for _, temperature := range []float64{21.456, 29} {
		if err := session.Send(t.Context(), NewTelemetry("pump", temperature, 60)); err != nil {
			t.Fatal(err)
		}
	}
	type message struct {
		Device     string
		Body       string
		Properties []hub.Property
	}
	var got []message
	h.mu.Lock()
	for _, m := range h.messages {
		got = append(got, message{m.DeviceID, string(m.Body), m.Properties})
	}
	h.mu.Unlock()
	properties := func(alert string) []hub.Property {
		return []hub.Property{{Name: "$.ct", Value: "application/json"}, {Name: "$.ce", Value: "utf-8"}, {Name: "temperatureAlert", Value: alert}}
	}
	want := []message{
		{"pump", `{"deviceId":"pump","temperature":21.46,"humidity":60}`, properties("false")},
		{"pump", `{"deviceId":"pump","temperature":29,"humidity":60}`, properties("true")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// TestLost: a session that the hub ends is known to be lost.
func TestLost(t *testing.T) {
	h := startHub(t)
	session := connect(t, h.device("pump", h.add(t, "demo", "pump")))
	if err := session.Err(); err != nil {
		t.Fatal(err)
	}
	_, err := h.registry.UpdateDevice(t.Context(), "demo", "pump", "", func(d *registry.Device) error { d.Status = registry.Disabled; return nil })
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-session.Lost():
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	if err := session.Err(); err == nil || err.Error() != "the hub closed the connection" {
		t.Errorf("error is %v", err)
	}
	if err := session.Send(t.Context(), NewTelemetry("pump", 20, 60)); err == nil {
		t.Error("a message was sent over a lost connection")
	}
}

// run runs "hubscope device".
func (h *testHub) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var c Cmd
	parser, err := kong.New(&c, kong.Name("device"), kong.Exit(func(int) { t.Fatal("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	parsed.BindTo(t.Context(), (*context.Context)(nil))
	err = parsed.Run(&Shell{HostName: "localhost", MQTT: h.addr, CA: h.rootFile, Out: &out})
	return out.String(), err
}

func TestCommand(t *testing.T) {
	h := startHub(t)
	key := h.add(t, "demo", "pump")
	leaf := h.addCA(t, "valve", ca.P256)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(certFile, leaf.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteKey(keyFile, leaf.Key); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	connection := "HostName=localhost;DeviceId=pump;SharedAccessKey=" + key

	out, err := h.run(t, "--connection-string", connection, "--messages", "2", "--interval", "1ms")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	if len(lines) != 6 || lines[0] != "connected    localhost as pump with SAS over mqtt" ||
		lines[1] != "negotiated   TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, server certificate ECDSA CN=localhost" ||
		!strings.HasPrefix(lines[2], `sent 1/2     {"deviceId":"pump","temperature":`) || !strings.Contains(lines[3], "temperatureAlert=") || lines[4] != "disconnected" {
		t.Errorf("printed\n%s", out)
	}
	h.mu.Lock()
	for _, m := range h.messages {
		var body struct{ Temperature, Humidity float64 }
		if err := json.Unmarshal(m.Body, &body); err != nil || body.Temperature < 20 || body.Temperature > 30 || body.Humidity < 60 {
			t.Errorf("message %s: %v", m.Body, err)
		}
	}
	h.mu.Unlock()

	out, err = h.run(t, "--id", "valve", "--host", "localhost", "--port", port, "--cert", certFile, "--key", keyFile, "--ca", h.rootFile,
		"--tls-max", "1.2", "--cipher", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--messages", "0")
	if err != nil || !strings.Contains(out, "valve with X.509") || !strings.Contains(out, "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256") {
		t.Errorf("printed\n%s%v", out, err)
	}
	out, err = h.run(t, "--connection-string", connection, "--tls-max", "1.0", "--messages", "0")
	if err != nil || !strings.Contains(out, "TLS 1.0, TLS_ECDHE_") {
		t.Errorf("printed\n%s%v", out, err)
	}

	for _, tt := range []struct {
		name string
		want string
		args []string
	}{
		{"nothing", "give --connection-string, or --id and --host", nil},
		{"no key", "a device without a key needs --cert and --key", []string{"--id", "pump"}},
		{"half a certificate", "--cert and --key go together", []string{"--id", "valve", "--cert", certFile}},
		{"key of another", "client certificate: ", []string{"--id", "valve", "--cert", certFile, "--key", certFile}},
		{"key and certificate", "--cert and --key do not go with it", []string{"--connection-string", connection, "--cert", certFile, "--key", keyFile}},
		{"both forms", "exclude each other", []string{"--connection-string", connection, "--id", "x"}},
		{"service", "this is the connection string of a service", []string{"--connection-string", "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=" + key}},
		{"device id", "only ASCII letters", []string{"--id", "a b", "--cert", certFile, "--key", keyFile}},
		{"suite", `unknown cipher suite "X"; there are TLS_`, []string{"--connection-string", connection, "--cipher", "X"}},
		{"suite of TLS 1.3", "those cannot be chosen", []string{"--connection-string", connection, "--cipher", "TLS_AES_128_GCM_SHA256"}},
		{"suite and TLS 1.3", "does not go with --tls-min 1.3", []string{"--connection-string", connection, "--tls-min", "1.3", "--cipher", "TLS_RSA_WITH_AES_128_CBC_SHA"}},
		{"versions", "--tls-min 1.3 is above --tls-max 1.2", []string{"--connection-string", connection, "--tls-min", "1.3", "--tls-max", "1.2"}},
		{"version", "must be one of", []string{"--connection-string", connection, "--tls-min", "2"}},
		{"root", "root certificate: ", []string{"--connection-string", connection, "--ca", certFile + ".missing"}},
		{"no root", "has no certificate", []string{"--connection-string", connection, "--ca", keyFile}},
		{"refused", `the hub did not let device "pump" in`, []string{"--connection-string", "HostName=localhost;DeviceId=pump;SharedAccessKey=" + registry.GenerateKey()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := h.run(t, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
				t.Errorf("error is %v, want %q; printed %q", err, tt.want, out)
			}
		})
	}
}
