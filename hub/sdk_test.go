package hub_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/https"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// TestOfficialSDK connects with Azure's own device SDK over each transport and
// with each kind of credentials, good and bad.
func TestOfficialSDK(t *testing.T) {
	node := needTool(t, "node")
	dir, err := filepath.Abs(filepath.Join("testdata", "sdk"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "azure-iot-device-http")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("the SDK is not installed: npm ci in hub/testdata/sdk")
	}
	s := newStack(t, nil)
	mqttPort := port(s.addr)
	t.Run("back end", func(t *testing.T) { sdkBackEnd(t, s, node, dir) })
	t.Run("takeover", func(t *testing.T) { sdkTakeover(t, s, node, dir) })
	s.serveHTTPS(https.Config{})
	byCA, err := s.pki.devices.Device("ca-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	self, err := ca.SelfSigned("tp-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sha1, _ := registry.Thumbprints(self.Certificate)
	if _, err := s.registry.CreateDevice(t.Context(), registry.Device{Hub: "demo", ID: "tp-1",
		Auth: registry.Authentication{Type: registry.AuthThumbprint, PrimaryThumbprint: sha1}}); err != nil {
		t.Fatal(err)
	}
	foreign, err := s.pki.strangers.Device("ca-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []registry.Device{
		{ID: "off", Status: registry.Disabled, Auth: registry.Authentication{Type: registry.AuthSAS, PrimaryKey: sasKey}},
		{ID: "ca-2", Auth: registry.Authentication{Type: registry.AuthCA}},
	} {
		d.Hub = "demo"
		if _, err := s.registry.CreateDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	expired, err := s.pki.devices.Device("ca-1", ca.DeviceConfig{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.SelfSigned("tp-1", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sas := "HostName=localhost;DeviceId=sas-1;SharedAccessKey=" + sasKey
	x509 := func(id string) string { return "HostName=localhost;DeviceId=" + id + ";x509=true" }
	protocols := map[string]string{"mqtt": ingest.Mqtt, "mqttws": ingest.MqttWs, "http": ingest.Https}
	for _, transport := range []string{"mqtt", "mqttws", "http"} {
		for _, tt := range []struct {
			name, connection string
			leaf             *ca.Leaf
			id, auth         string
			result           string // of a refusal
		}{
			{"SAS", sas, nil, "sas-1", ingest.AuthSAS, ""},
			{"CA", x509("ca-1"), byCA, "ca-1", ingest.AuthX509CA, ""},
			{"thumbprint", x509("tp-1"), self, "tp-1", ingest.AuthX509Thumbprint, ""},
			{"wrong key", "HostName=localhost;DeviceId=sas-1;SharedAccessKey=" + registry.GenerateKey(), nil, "sas-1", ingest.AuthSAS, "401003"},
			{"foreign CA", x509("ca-1"), foreign, "ca-1", ingest.AuthX509CA, "401003"},
			{"another device's certificate", x509("ca-2"), byCA, "ca-2", ingest.AuthX509CA, "401003"},
			{"expired certificate", x509("ca-1"), expired, "ca-1", ingest.AuthX509CA, "401003"},
			{"another thumbprint", x509("tp-1"), other, "tp-1", ingest.AuthX509Thumbprint, "401003"},
			{"disabled", "HostName=localhost;DeviceId=off;SharedAccessKey=" + sasKey, nil, "off", ingest.AuthSAS, "403012"},
			{"unknown device", "HostName=localhost;DeviceId=nobody;SharedAccessKey=" + sasKey, nil, "nobody", ingest.AuthSAS, "404001"},
		} {
			t.Run(transport+" "+tt.name, func(t *testing.T) {
				before := len(s.events.all())
				root, cert, key := s.files(tt.leaf)
				cmd := exec.CommandContext(t.Context(), node, filepath.Join(dir, "device.cjs"))
				cmd.Env = append(os.Environ(), "CONNECTION_STRING="+tt.connection, "TRANSPORT="+transport, "NODE_EXTRA_CA_CERTS="+root,
					fmt.Sprintf(`PORTS={"8883":%s,"443":%s}`, mqttPort, port(s.addr)), "CERT="+cert, "KEY="+key)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, _ := cmd.Output()
				var got struct {
					Sent  int
					Twin  *int
					Error string
				}
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
				}
				if tt.result != "" {
					if got.Error != "UnauthorizedError" && got.Error != "NotConnectedError" {
						t.Errorf("the SDK says %q\n%s", got.Error, out)
					}
					events := s.events.wait(t, "a refusal", func(events []ingest.Event) bool {
						return slices.ContainsFunc(events[before:], func(e ingest.Event) bool { return e.OperationName == ingest.ConnectionRefused })
					})[before:]
					e := events[slices.IndexFunc(events, func(e ingest.Event) bool { return e.OperationName == ingest.ConnectionRefused })]
					if e.ResultType != tt.result || e.ClaimedDeviceId != tt.id || e.AuthType != tt.auth || e.Protocol != protocols[transport] {
						t.Errorf("%+v", e)
					}
					return
				}
				want := 2
				if transport == "http" {
					want = 4
				}
				if got.Error != "" || got.Sent != want || (transport != "http") != (got.Twin != nil) {
					t.Fatalf("%s\n%s", out, stderr.String())
				}
				// Over HTTP the SDK opens as many connections as it likes.
				accepted := int64(0)
				s.events.wait(t, "all messages in disconnects", func(events []ingest.Event) bool {
					accepted = 0
					for _, e := range events[before:] {
						if e.DeviceId == tt.id && e.OperationName == ingest.DeviceDisconnect {
							accepted += e.Messages
						}
						if e.DeviceId == tt.id && (e.AuthType != tt.auth || e.Protocol != protocols[transport] || e.SdkVersion == "") {
							t.Errorf("%+v", e)
						}
					}
					return accepted == int64(want)
				})
			})
		}
	}
}

// sdkBackEnd has a device on the SDK that does what the back end wants.
func sdkBackEnd(t *testing.T, s *stack, node, dir string) {
	ctx := t.Context()
	root, _, _ := s.files(nil)
	cmd := exec.CommandContext(ctx, node, filepath.Join(dir, "device.cjs"))
	cmd.Env = append(os.Environ(), "CONNECTION_STRING=HostName=localhost;DeviceId=sas-1;SharedAccessKey="+sasKey, "TRANSPORT=mqtt", "BACKEND=1",
		"NODE_EXTRA_CA_CERTS="+root, fmt.Sprintf(`PORTS={"8883":%s}`, port(s.addr)))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	result, err := s.registry.CallMethod(ctx, registry.MethodNotice{Hub: "demo", DeviceID: "sas-1", Name: "reboot", Payload: []byte(`{"in":5}`), Timeout: 20 * time.Second}, 20*time.Second)
	if err != nil || result.Status != 202 || string(result.Payload) != `{"was":{"in":5}}` {
		t.Errorf("method: %+v, %v", result, err)
	}
	// The device may not have subscribed yet; it hears of the later change then.
	desire := func(values map[string]any) {
		if _, err := s.registry.UpdateTwin(ctx, "demo", "sas-1", "", "", registry.TwinPatch{Desired: values}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for n := 1; ; n++ {
		desire(map[string]any{"interval": n, "stop": true})
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
			}
			twin, err := s.registry.Twin(ctx, "demo", "sas-1", "")
			if err != nil || twin.Reported.Values["interval"] == nil {
				t.Errorf("reported %+v, %v\n%s", twin, err, stdout.String())
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sdkTakeover connects a device twice.
func sdkTakeover(t *testing.T, s *stack, node, dir string) {
	if _, err := s.registry.CreateDevice(t.Context(), registry.Device{Hub: "demo", ID: "twice", Auth: registry.Authentication{Type: registry.AuthSAS, PrimaryKey: sasKey}}); err != nil {
		t.Fatal(err)
	}
	before := len(s.events.all())
	root, _, _ := s.files(nil)
	start := func(more ...string) (wait func() error) {
		cmd := exec.CommandContext(t.Context(), node, filepath.Join(dir, "device.cjs"))
		cmd.Env = append(os.Environ(), "CONNECTION_STRING=HostName=localhost;DeviceId=twice;SharedAccessKey="+sasKey, "TRANSPORT=mqtt",
			"NODE_EXTRA_CA_CERTS="+root, fmt.Sprintf(`PORTS={"8883":%s}`, port(s.addr)))
		cmd.Env = append(cmd.Env, more...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
		return cmd.Wait
	}
	start("BACKEND=1") // and stays
	first := s.events.wait(t, "a connect", func(events []ingest.Event) bool { return len(events) > before })[before]
	if err := start()(); err != nil {
		t.Errorf("the second one: %v", err)
	}
	events := s.events.wait(t, "the end of both", func(events []ingest.Event) bool { return len(events) >= before+4 })[before:]
	i := slices.IndexFunc(events, func(e ingest.Event) bool {
		return e.OperationName == ingest.DeviceDisconnect && e.ConnectionId == first.ConnectionId
	})
	if i < 0 || events[i].ResultType != "400027" || events[i].DisconnectReason != hub.ReasonTakenOver {
		t.Errorf("the first one did not end by takeover, but with event %d: %q %q", i, events[max(i, 0)].ResultType, events[max(i, 0)].DisconnectReason)
	}
}
