package registry

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"crypto/tls"

	"hubscope/hub/ca"
)

// missing skips a test that lacks a tool, and fails it where all are promised.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// TestSDK runs Azure's own management SDKs against both APIs.
func TestSDK(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed")
	}
	if _, err := os.Stat("testdata/sdk/node_modules/azure-iothub"); err != nil {
		missing(t, "the SDKs are not installed: npm ci in hub/registry/testdata/sdk")
	}
	r := New(natsStore(t), Config{})
	if _, err := r.CreateHub(t.Context(), Hub{Name: "demo", HostNames: []string{"localhost"}}); err != nil {
		t.Fatal(err)
	}
	cache, _ := startCache(t, r, 0)
	stop, err := cache.Listen(func(n Notice, answer func([]byte)) {
		switch m := n.Method; { // a device that is there
		case m != nil && m.DeviceID == "online" && m.Name == "":
			answer(nil)
		case m != nil && m.DeviceID == "online":
			answer([]byte(`{"status":202,"payload":{"was":` + string(m.Payload) + `}}`))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	config := APIConfig{Registry: r, Cache: cache, DefaultHub: "demo", Bearer: func(token string) bool { return token == "secret" }}
	mux := http.NewServeMux()
	mux.Handle("/subscriptions/", NewResourceManager(config))
	mux.Handle("/", NewServiceAPI(config))
	certs, err := ca.ServerFolder{Dir: t.TempDir()}.Open()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certs.ECDSA}}
	server.StartTLS()
	defer server.Close()

	plant, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "Plant root"})
	if err != nil {
		t.Fatal(err)
	}
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cert, err := plant.Verification(r.URL.Query().Get("code"))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = w.Write([]byte(pemBase64(cert)))
	}))
	defer owner.Close()

	hub := must(r.Hub(t.Context(), "demo"))(t)
	policy, _ := hub.Policy("iothubowner")
	script, err := filepath.Abs("testdata/sdk/sdk.test.cjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", script)
	cmd.Env = append(os.Environ(),
		"PORT="+server.Listener.Addr().String()[strings.LastIndexByte(server.Listener.Addr().String(), ':')+1:],
		"NODE_EXTRA_CA_CERTS="+certs.RootFile,
		"CONNECTION_STRING="+hub.ServiceConnectionString(policy),
		"BEARER=secret", "PROOF_URL="+owner.URL, "CA_PEM="+string(ca.CertificatePEM(plant.Certificate)),
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "pass 9") {
		t.Errorf("not all tests have run:\n%s", out)
	}
}
