package device

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"hubscope/hub"
	"hubscope/hub/ca"
	"hubscope/hub/handshake"
	"hubscope/hub/https"
	"hubscope/hub/mqtt"
	"hubscope/hub/registry"
	"hubscope/ingest"
)

// patience bounds what a test waits for; it is no measure of speed.
const patience = time.Minute

// recorder keeps the hub's events and telemetry.
type recorder struct {
	mu       sync.Mutex
	events   []ingest.Event
	messages []hub.Message
}

func (r *recorder) PublishContext(_ context.Context, e *ingest.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
}

func (r *recorder) PublishTelemetry(_ context.Context, m *hub.Message, accepted func(error)) {
	r.mu.Lock()
	c := *m
	c.Body = bytes.Clone(m.Body)
	r.messages = append(r.messages, c)
	r.mu.Unlock()
	accepted(nil)
}

// find waits for an event.
func (r *recorder) find(t *testing.T, what string, ok func(*ingest.Event) bool) ingest.Event {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r.mu.Lock()
		events := slices.Clone(r.events)
		r.mu.Unlock()
		for i := range events {
			if ok(&events[i]) {
				return events[i]
			}
		}
		if time.Now().After(deadline) {
			for _, e := range events {
				t.Logf("%s %s %q %q %s %q", e.OperationName, e.Stage, e.DeviceId, e.ClaimedDeviceId, e.ResultType, e.ResultDescription)
			}
			t.Fatalf("no event: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// testHub is a hub as "hubscope up --demo" has it: a legacy one and a strict one.
type testHub struct {
	*recorder
	registry *registry.Registry
	audit    chan registry.AuditEntry
	addr     string // MQTT
	web      string // HTTPS
	roots    *x509.CertPool
	rootFile string
	plant    *ca.Authority
}

func startHub(t *testing.T) *testHub {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &testHub{recorder: &recorder{}, audit: make(chan registry.AuditEntry, 10_000)}
	h.registry = registry.New(registry.NewMemory(), registry.Config{Audit: func(_ context.Context, e registry.AuditEntry) { h.audit <- e }})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []registry.Hub{
		{Name: "demo", HostNames: []string{"localhost"}, MinTLSVersion: registry.TLS10},
		{Name: "strict", HostNames: []string{"strict.localhost"}, MinTLSVersion: registry.TLS12},
		{Name: "plant-7", HostNames: []string{"plant-7.localhost"}, MinTLSVersion: registry.TLS12},
	} {
		_, err := h.registry.CreateHub(ctx, c)
		must(err)
	}
	var err error
	h.plant, err = ca.NewAuthority(ca.AuthorityConfig{CommonName: "Plant"})
	must(err)
	_, err = h.registry.CreateCA(ctx, "demo", "plant", h.plant.Certificate.Raw, true)
	must(err)
	certs, err := ca.ServerFolder{Dir: t.TempDir(), Names: []string{"strict.localhost", "plant-7.localhost"}}.Open()
	must(err)
	h.rootFile, h.roots = certs.RootFile, x509.NewCertPool()
	h.roots.AddCert(certs.Root)
	server, err := handshake.NewCertificates(certs.RSA, certs.ECDSA)
	must(err)

	quiet := slog.New(slog.DiscardHandler)
	cache := registry.NewCache(h.registry, registry.CacheConfig{Logger: quiet})
	var background sync.WaitGroup
	background.Go(func() {
		if err := cache.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	<-cache.Ready()
	config := hub.DefaultConfig()
	config.Node, config.DefaultHub, config.Registry, config.Logger = "node", "demo", cache, quiet
	config.IPKey = bytes.Repeat([]byte{1}, 32)
	config.Certificates = func(string) *handshake.Certificates { return server }
	config.Events, config.Telemetry = h.recorder, h.recorder
	s, err := hub.New(config)
	must(err)
	served := make(chan error, 2)
	listen := func(protocol hub.Protocol) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		go func() { served <- s.Serve(ctx, ln, protocol) }()
		return ln.Addr().String()
	}
	h.addr = listen(mqtt.New())
	h.web = listen(https.New(https.Config{MQTT: mqtt.New().BeginOver, Logger: quiet}))
	t.Cleanup(func() {
		end, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := s.Shutdown(end); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 2 {
			if err := <-served; err != nil && !errors.Is(err, hub.ErrServerClosed) { // before it was served
				t.Errorf("serve: %v", err)
			}
		}
		cancel()
		background.Wait()
	})
	return h
}

// add registers a device with a symmetric key and returns the key.
func (h *testHub) add(t *testing.T, hubName, id string) string {
	t.Helper()
	d, err := h.registry.CreateDevice(t.Context(), registry.Device{Hub: hubName, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return d.Auth.PrimaryKey
}

// addCA registers a device of the plant and returns its certificate.
func (h *testHub) addCA(t *testing.T, id string, keyType ca.KeyType) *ca.Leaf {
	t.Helper()
	if _, err := h.registry.CreateDevice(t.Context(), registry.Device{Hub: "demo", ID: id, Auth: registry.Authentication{Type: registry.AuthCA}}); err != nil {
		t.Fatal(err)
	}
	leaf, err := h.plant.Device(id, ca.DeviceConfig{KeyType: keyType})
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// device describes a client of the legacy hub.
func (h *testHub) device(id, key string) Config {
	return Config{HostName: "localhost", DeviceID: id, Address: h.addr, Roots: h.roots, Key: key}
}

func pair(l *ca.Leaf) *tls.Certificate {
	c := l.TLS()
	return &c
}
