package hub_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/handshake"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// TestMinTLSVersionChanges: a hub's policy is that of the registry, at once and
// without a restart.
func TestMinTLSVersionChanges(t *testing.T) {
	s := newStack(t, nil)
	old := s.client("localhost")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	old.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
	dial := func() error {
		c, err := tls.Dial("tcp", s.addr, old)
		if err == nil {
			c.Close()
		}
		return err
	}
	set := func(version string) {
		t.Helper()
		if _, err := s.registry.UpdateHub(t.Context(), "demo", "", func(h *registry.Hub) error { h.MinTLSVersion = version; return nil }); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if h, _ := s.cache.Hub("demo"); h.MinTLSVersion == version {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the hub does not see the change")
			}
		}
	}
	if err := dial(); err != nil {
		t.Fatalf("a legacy hub refuses TLS 1.1: %v", err)
	}
	set(registry.TLS12)
	if err := dial(); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("with minTlsVersion 1.2: %v", err)
	}
	set(registry.TLS10)
	if err := dial(); err != nil {
		t.Fatalf("back to 1.0: %v", err)
	}
}

// TestCertificateReload: the next connection gets what Certificates returns.
func TestCertificateReload(t *testing.T) {
	var current atomic.Pointer[handshake.Certificates]
	make := func() (*handshake.Certificates, string) {
		leaf, err := testPKI().server.Server(ca.ServerConfig{Names: []string{"localhost"}})
		if err != nil {
			t.Fatal(err)
		}
		certs, err := handshake.NewCertificates(leaf.TLS())
		if err != nil {
			t.Fatal(err)
		}
		return certs, leaf.Certificate.SerialNumber.String()
	}
	certs, first := make()
	current.Store(certs)
	s := newStack(t, func(c *hub.Config) {
		c.Certificates = func(string) *handshake.Certificates { return current.Load() }
	})
	serial := func() string {
		return s.dial(s.client("localhost")).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got := serial(); got != first {
		t.Errorf("want %s, got %s", first, got)
	}
	certs, second := make()
	current.Store(certs)
	if got := serial(); got != second {
		t.Errorf("want %s, got %s", second, got)
	}
}

// TestWithoutLibSSL: the hub starts, says once what it lacks, serves the rest,
// and names in the event what a client would have needed.
func TestWithoutLibSSL(t *testing.T) {
	openssl := needTool(t, "openssl")
	var log bytes.Buffer
	s := newStack(t, func(c *hub.Config) {
		c.Handshake.LibSSL = "none"
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	if n := strings.Count(log.String(), "without libssl"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
	c := newClient(t, s.dial(s.client("localhost")), 4)
	c.send(connectPacket(4, "localhost", "sas-1", s.token("localhost", "sas-1", time.Hour)))
	c.expect(packets.Connack)
	cmd := exec.Command(openssl, "s_client", "-connect", s.addr, "-servername", "strict.localhost", "-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384")
	cmd.Stdin = strings.NewReader("Q\n")
	cmd.Run() // it is refused
	e := s.events.one(t, ingest.ConnectionRefused, 1)
	if !strings.Contains(e.ResultDescription, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384") || !strings.Contains(e.ResultDescription, "only OpenSSL serves") ||
		e.WouldFailStrict || e.ResultType != "495040" {
		t.Errorf("%s %q", e.ResultType, e.ResultDescription)
	}
}
