package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// device is what `registry add --output json` prints.
type device struct {
	DeviceID         string `json:"deviceId"`
	ConnectionString string `json:"connectionString"`
}

func (s *stack) addDevice(args ...string) device {
	s.t.Helper()
	var d device
	out := s.run(append([]string{"registry", "add", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		s.t.Fatalf("registry add: %v\n%s", err, out)
	}
	return d
}

// certFiles writes a leaf certificate and its key and returns their paths.
func certFiles(t *testing.T, leaf *ca.Leaf) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, leaf.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteKey(key, leaf.Key); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// mosquitto publishes one message as a device. Its own option for the TLS
// version sets only the least one, so OpenSSL's configuration sets both.
func (s *stack) mosquitto(id, tlsVersion string, args ...string) (string, error) {
	config := filepath.Join(s.t.TempDir(), "openssl.cnf")
	text := "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMinProtocol = " + tlsVersion + "\nMaxProtocol = " + tlsVersion + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return command(s.t, "env", append([]string{"OPENSSL_CONF=" + config, tool(s.t, "mosquitto_pub"), "-h", s.Host, "-p", port(s.MQTT), "--cafile", s.ServerCA,
		"-i", id, "-u", s.Host + "/" + id + "/?api-version=2021-04-12", "-q", "1",
		"-t", "devices/" + id + "/messages/events/temperatureAlert=false", "-m", `{"temperature":21}`}, args...)...)
}

// TestSpine is the whole path with clients that nobody here wrote.
func TestSpine(t *testing.T) {
	s := up(t, t.TempDir())

	authority, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "fleet root"})
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.CertificatePEM(authority.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("ca", "add", "fleet", root, "--verified")

	t.Run("mosquitto SAS", func(t *testing.T) {
		s := *s
		s.t = t
		d := s.addDevice("sas-1", "--auth", "sas")
		c, err := registry.ParseConnectionString(d.ConnectionString)
		if err != nil {
			t.Fatal(err)
		}
		token, err := registry.NewToken(s.Host+"/devices/sas-1", "", c.SharedAccessKey, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"TLSv1.2", "TLSv1.3"} {
			if out, err := s.mosquitto("sas-1", v, "-P", token); err != nil {
				t.Fatalf("%s: %v\n%s", v, err, out)
			}
		}
		if out, err := s.mosquitto("sas-1", "TLSv1.2", "-P", token+"x"); err == nil {
			t.Errorf("a forged token was accepted:\n%s", out)
		}
		a := s.await(`Connections | where DeviceId == "sas-1" and OperationName == "deviceConnect" | project TlsVersion, AuthType, Protocol | order by TlsVersion asc`, 2)
		want := [][]any{{"1.2", "sas", "Mqtt"}, {"1.3", "sas", "Mqtt"}}
		if diff := cmp.Diff(want, a.Rows); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		a = s.await(`Connections | where ClaimedDeviceId == "sas-1" and OperationName == "connectionRefused" | project DeviceId, ResultType, Stage`, 1)
		if diff := cmp.Diff([][]any{{"", "401003", "auth"}}, a.Rows); diff != "" {
			t.Errorf("forged token (-want +got):\n%s", diff)
		}
		a = s.await(`Connections | where DeviceId == "sas-1" and OperationName == "deviceDisconnect" | summarize Messages = sum(Messages), n = count() | where n == 2`, 1)
		if diff := cmp.Diff([]any{2.0, 2.0}, a.Rows[0]); diff != "" {
			t.Errorf("telemetry (-want +got):\n%s", diff)
		}
	})

	t.Run("audit", func(t *testing.T) {
		s := *s
		s.t = t
		a := s.await(`Audit | where ActorType == "command" and Action == "Create" | project OperationName, Target, ResultType, Keys = Changes has "key" | order by Target asc`, 2)
		want := [][]any{
			{"Microsoft.Devices/IotHubs/certificates/Write", "fleet", "Success", false},
			{"Microsoft.Devices/IotHubs/devices/Write", "sas-1", "Success", false},
		}
		if diff := cmp.Diff(want, a.Rows); diff != "" {
			t.Errorf("changes by commands (-want +got):\n%s", diff)
		}
		a = s.await(`Audit | where ActorType == "program" and OperationName == "Microsoft.Devices/IotHubs/Write" | project Actor, Action, MinTls = tostring(Changes.minTlsVersion.after)`, 1)
		if diff := cmp.Diff([]any{"hubscope", "Create", "1.2"}, a.Rows[0]); diff != "" {
			t.Errorf("changes by the hub (-want +got):\n%s", diff)
		}
	})

	t.Run("mosquitto X.509", func(t *testing.T) {
		s := *s
		s.t = t
		s.addDevice("ca-1", "--auth", "x509-ca")
		leaf, err := authority.Device("ca-1", ca.DeviceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		cert, key := certFiles(t, leaf)
		for _, v := range []string{"TLSv1.2", "TLSv1.3"} {
			if out, err := s.mosquitto("ca-1", v, "--cert", cert, "--key", key); err != nil {
				t.Fatalf("%s: %v\n%s", v, err, out)
			}
		}
		s.addDevice("ca-2", "--auth", "x509-ca")
		if out, err := s.mosquitto("ca-2", "TLSv1.3", "--cert", cert, "--key", key); err == nil {
			t.Errorf("a certificate for ca-1 was accepted for ca-2:\n%s", out)
		}
		a := s.await(`Connections | where DeviceId == "ca-1" and OperationName == "deviceConnect" | project TlsVersion, AuthType, CaName, CertSubject | order by TlsVersion asc`, 2)
		want := [][]any{{"1.2", "x509Ca", "fleet", "CN=ca-1"}, {"1.3", "x509Ca", "fleet", "CN=ca-1"}}
		if diff := cmp.Diff(want, a.Rows); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("openssl TLS 1.1 is refused and told", func(t *testing.T) {
		s := *s
		s.t = t
		out, _ := command(t, "openssl", "s_client", "-connect", s.MQTT, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
		if !strings.Contains(out, "alert protocol version") {
			t.Errorf("openssl saw no alert protocol_version:\n%s", out)
		}
		a := s.await(`Connections | where OperationName == "connectionRefused" and Stage == "handshake" | project AlertSent, OfferedVersions, WouldFailStrict`, 1)
		if diff := cmp.Diff([]any{"protocol_version", []any{"1.1"}, true}, a.Rows[0]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("one terminal event for whatever comes", func(t *testing.T) {
		s := *s
		s.t = t
		peers := []struct{ name, say string }{
			{"says nothing and leaves", ""},
			{"plain HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
			{"plain MQTT", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"},
			{"garbage", "\x16\x03\x01\xff\xff\x00\x00\x00"},
			{"half a ClientHello", "\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"},
			{"the last one, whose event comes behind all others", ""},
		}
		var ports []string
		for _, p := range peers {
			c, err := net.Dial("tcp", s.MQTT)
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, port(c.LocalAddr().String()))
			io.WriteString(c, p.say)
			c.(*net.TCPConn).CloseWrite()
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: the hub keeps the connection", p.name)
			}
			c.Close()
		}
		s.await(fmt.Sprintf(`Connections | where OperationName == "connectionRefused" and RemotePort == %s`, ports[len(ports)-1]), 1)
		a := s.query(fmt.Sprintf(`Connections | where RemotePort in (%s) | summarize Events = count() by RemotePort | where Events == 1`, strings.Join(ports, ",")))
		if len(a.Rows) != len(peers) {
			t.Errorf("one event each for the ports %v, want it for %v", a.Rows, ports)
		}
	})

	t.Run("a change acts on a live connection", func(t *testing.T) {
		s := *s
		s.t = t
		d := s.addDevice("live-1", "--auth", "sas")
		done := make(chan string, 1)
		go func() {
			out, _, _ := s.try("device", "--connection-string", d.ConnectionString, "--ca", s.ServerCA, "--port", port(s.MQTT), "--messages", "1000", "--interval", "100ms")
			done <- out
		}()
		s.await(`Connections | where DeviceId == "live-1" and OperationName == "deviceConnect"`, 1)
		s.run("registry", "disable", "live-1")
		a := s.await(`Connections | where DeviceId == "live-1" and OperationName == "deviceDisconnect" | project DisconnectReason`, 1)
		if diff := cmp.Diff([]any{"device_disabled"}, a.Rows[0]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		<-done
	})

	t.Run("the query of the IoT Hub TLS document", func(t *testing.T) {
		s := *s
		s.t = t
		a := s.await(`AzureDiagnostics
| where ResourceProvider == "MICROSOFT.DEVICES" and ResourceType == "IOTHUBS"
| where Category == "Connections"
| where OperationName == "deviceConnect"
| extend props_json = parse_json(properties_s)
| project DeviceId = props_json.deviceId, TLSVersion = props_json.tlsVersion`, 4)
		got := map[string]bool{}
		for _, row := range a.Rows {
			got[fmt.Sprintf("%v %v", row...)] = true
		}
		for _, want := range []string{"sas-1 1.2", "sas-1 1.3", "ca-1 1.2", "ca-1 1.3"} {
			if !got[want] {
				t.Errorf("no row %q in %v", want, a.Rows)
			}
		}
	})

	t.Run("errors have a caret", func(t *testing.T) {
		s := *s
		s.t = t
		_, stderr, err := s.try("query", `Connections | where TlsVersoin == "1.0"`)
		if err == nil || !strings.Contains(stderr, "^^^^^^^^^^") || !strings.Contains(stderr, "TlsVersion?") {
			t.Errorf("error %v, printed:\n%s", err, stderr)
		}
	})
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// TestAzureSDK connects the official device SDK with SAS and X.509.
func TestAzureSDK(t *testing.T) {
	if _, err := os.Stat(filepath.Join("sdk", "node_modules", "azure-iot-device-mqtt")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("npm ci in deploy/e2e/sdk installs the SDK")
	}
	tool(t, "node")
	s := up(t, t.TempDir())
	leaf, err := ca.SelfSigned("sdk-x509", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certFiles(t, leaf)
	thumbprint, _ := registry.Thumbprints(leaf.Certificate)
	sas := s.addDevice("sdk-sas", "--auth", "sas")
	x509 := s.addDevice("sdk-x509", "--auth", "x509-thumbprint", "--thumbprint", thumbprint)
	for _, args := range [][]string{{sas.ConnectionString, s.ServerCA, port(s.MQTT)}, {x509.ConnectionString, s.ServerCA, port(s.MQTT), cert, key}} {
		out, err := command(t, "node", append([]string{filepath.Join("sdk", "device.cjs")}, args...)...)
		if err != nil || !strings.Contains(out, `"sent":3`) {
			t.Errorf("%s: %v\n%s", args[0], err, out)
		}
	}
	a := s.await(`Connections | where OperationName == "deviceDisconnect" | project DeviceId, AuthType, Messages, HasSdk = SdkVersion has "azure-iot-device" | order by DeviceId asc`, 2)
	want := [][]any{{"sdk-sas", "sas", 3.0, true}, {"sdk-x509", "x509Thumbprint", 3.0, true}}
	if diff := cmp.Diff(want, a.Rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSecondStartContinues: Ctrl-C loses nothing, and the folder goes on.
func TestSecondStartContinues(t *testing.T) {
	data := t.TempDir()
	s := up(t, data)
	d := s.addDevice("keeps", "--auth", "sas")
	s.run("device", "--connection-string", d.ConnectionString, "--ca", s.ServerCA, "--port", port(s.MQTT), "--messages", "3", "--interval", "1ms")
	// Stopped at once: the events may be anywhere on their way.
	s.interrupt()
	if _, err := os.Stat(filepath.Join(data, "ready.json")); err == nil {
		t.Error("ready.json is still there after the stack has stopped")
	}

	s = up(t, data)
	a := s.await(`Connections | where DeviceId == "keeps" | summarize n = count(), connects = countif(OperationName == "deviceConnect"), messages = sum(Messages)`, 1)
	a = s.await(`Connections | where DeviceId == "keeps" | summarize n = count(), connects = countif(OperationName == "deviceConnect"), messages = sum(Messages) | where n >= 2`, 1)
	if diff := cmp.Diff([]any{2.0, 1.0, 3.0}, a.Rows[0]); diff != "" {
		t.Errorf("events of before the restart (-want +got):\n%s", diff)
	}
	if out := s.run("registry", "show", "keeps"); !strings.Contains(out, "keeps") {
		t.Errorf("the device is gone:\n%s", out)
	}

	// So it does when everything is killed at once.
	s.kill()
	s = up(t, data)
	s.run("registry", "show", "keeps")
	if diff := cmp.Diff([]any{2.0}, s.await(`Connections | where DeviceId == "keeps" | count`, 1).Rows[0]); diff != "" {
		t.Errorf("events after kill -9 (-want +got):\n%s", diff)
	}

	// A second stack on the folder is refused in words.
	_, stderr, err := s.try("up", "--data", data, "--ports", "auto")
	if err == nil || !strings.Contains(stderr, "in use by another hubscope") {
		t.Errorf("second stack on the folder: %v\n%s", err, stderr)
	}
	// So is a taken port.
	_, stderr, err = s.try("up", "--data", t.TempDir(), "--ports", "auto", "--mqtt-listen", s.MQTT)
	if err == nil || !strings.Contains(stderr, "address already in use") || !strings.Contains(stderr, s.MQTT) {
		t.Errorf("taken port: %v\n%s", err, stderr)
	}
}
