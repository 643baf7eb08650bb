package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"

	"hubscope/hub"
	"hubscope/hub/handshake"
	"hubscope/hub/https"
	"hubscope/hub/mqtt"
	"hubscope/hub/registry"
	"hubscope/ingest/stream"
)

// runningHub is a hub with its listeners, and what it is reached by.
type runningHub struct {
	MQTT, HTTPS string // addresses that are bound
	ARMToken    string // bearer token of the resource manager
	RootFile    string // PEM file of the server's root, empty with certificates of the user's own
	Registry    *registry.Registry
}

// openRegistry connects to NATS and opens the registry on it.
func openRegistry(ctx context.Context, server stream.Server, t *telemetry, replicas int, config registry.Config) (*nats.Conn, *registry.Registry, error) {
	conn, err := server.Connect("hubscope registry", t.Log)
	if err != nil {
		return nil, nil, err
	}
	store, err := registry.OpenNATS(ctx, conn, registry.NATSConfig{Replicas: replicas, Logger: t.Log})
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	return conn, registry.New(store, config), nil
}

// ensureHub makes a hub that is missing; one that is there stays as it is.
func ensureHub(ctx context.Context, r *registry.Registry, h registry.Hub) (*registry.Hub, error) {
	if there, err := r.Hub(ctx, h.Name); !errors.Is(err, registry.ErrNotFound) {
		return there, err
	}
	created, err := r.CreateHub(ctx, h)
	if errors.Is(err, registry.ErrExists) { // somebody was quicker
		return r.Hub(ctx, h.Name)
	}
	return created, err
}

// startHub runs a hub with its publishers in g, and makes those of the hubs that
// are missing in the registry.
func startHub(ctx context.Context, g *group, s *Settings, data string, t *telemetry, hubs ...registry.Hub) (*runningHub, error) {
	events, err := s.NATS.Server.Connect("hubscope publisher", t.Log)
	if err != nil {
		return nil, err
	}
	g.onStop("publisher connection", func() error { events.Close(); return nil })
	pc := s.publisherConfig()
	pc.Meter, pc.Tracer = otel.GetMeterProvider(), otel.GetTracerProvider()
	if pc.Spool == "" {
		pc.Spool = filepath.Join(data, "spool")
	}
	publisher, err := stream.NewPublisher(events, pc, t.Log)
	if err != nil {
		return nil, err
	}
	g.start("publisher", publisher.Run)
	samplePipeline(g, s, t, publisher)

	conn, reg, err := openRegistry(ctx, s.NATS.Server, t, s.Streams.Replicas, auditTo(publisher, s.Node))
	if err != nil {
		return nil, err
	}
	g.onStop("registry connection", func() error { conn.Close(); return nil })
	for _, h := range hubs {
		if _, err := ensureHub(ctx, reg, h); err != nil {
			return nil, err
		}
	}

	tc := s.Telemetry
	tc.Meter = otel.GetMeterProvider()
	messages, err := stream.NewTelemetryPublisher(events, tc)
	if err != nil {
		return nil, err
	}
	g.onStop("telemetry publisher", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		messages.Close(ctx)
		return nil
	})

	cache := registry.NewCache(reg, registry.CacheConfig{Count: true, Logger: t.Log})
	g.start("registry", cache.Run)
	select {
	case <-cache.Ready():
	case err := <-g.failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(30 * time.Second):
		return nil, errors.New("registry: not loaded within 30 s; is JetStream there?")
	}

	key, err := secret(data, "ip-hash-key", func() string { return rand.Text() + rand.Text() })
	if err != nil {
		return nil, err
	}
	certificates, root, err := newServerCertificates(s, cache, data, t.Log)
	if err != nil {
		return nil, err
	}
	g.start("certificates", certificates.Run)
	hc := s.hubConfig()
	hc.Registry, hc.IPKey, hc.Logger = cache, []byte(key), t.Log
	hc.Certificates = func(string) *handshake.Certificates { return certificates.current.Load() }
	hc.Events, hc.Metrics, hc.Telemetry = publisher, publisher, telemetrySink{messages}
	server, err := hub.New(hc)
	if err != nil {
		return nil, err
	}
	g.onStop("hub", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	})
	token, err := secret(data, "arm-token", rand.Text)
	if err != nil {
		return nil, err
	}
	api := registry.APIConfig{
		Registry: reg, Cache: cache, DefaultHub: s.Hub.Name, Connection: server.Connection, ConnectedDevices: server.ConnectedDevices,
		Address: func(r *http.Request) string { return hub.MaskAddress(r.RemoteAddr) },
		Bearer:  func(t string) bool { return subtle.ConstantTimeCompare([]byte(t), []byte(token)) == 1 },
		Logger:  t.Log,
	}
	management := http.NewServeMux()
	management.Handle("/subscriptions/", registry.NewResourceManager(api))
	management.Handle("/", registry.NewServiceAPI(api))

	overTCP := mqtt.New()
	h := &runningHub{RootFile: root, Registry: reg, ARMToken: token}
	for _, port := range []struct {
		name, addr string
		bound      *string
		protocol   hub.Protocol
	}{
		{"mqtt", s.Hub.MQTT, &h.MQTT, overTCP},
		{"https", s.Hub.HTTPS, &h.HTTPS, https.New(https.Config{Management: management, MQTT: overTCP.BeginOver, Logger: t.Log})},
	} {
		listener, err := listen(port.name, port.addr)
		if err != nil {
			return nil, err
		}
		*port.bound = listener.Addr().String()
		g.start(port.name, func(ctx context.Context) error { return server.Serve(ctx, listener, port.protocol) })
	}
	if s.Hub.Proxy != "" {
		listener, err := listen("proxy", s.Hub.Proxy)
		if err != nil {
			return nil, err
		}
		g.start("proxy", func(ctx context.Context) error { return server.ServeProxied(ctx, listener, overTCP, s.Hub.Proxies) })
	}
	return h, nil
}

// listen binds a TCP port and says in its error which one was meant.
func listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s port: %w (choose another with --%s-listen, or --ports auto)", what, err, what)
	}
	return l, nil
}

// telemetrySink carries device messages from the hub to JetStream.
type telemetrySink struct{ *stream.TelemetryPublisher }

// PublishTelemetry implements [hub.TelemetryPublisher].
func (s telemetrySink) PublishTelemetry(ctx context.Context, m *hub.Message, accepted func(error)) {
	properties := make(url.Values, len(m.Properties))
	for _, p := range m.Properties {
		properties.Add(p.Name, p.Value)
	}
	s.Publish(ctx, &stream.DeviceMessage{
		Hub: m.Hub, DeviceID: m.DeviceID, ModuleID: m.ModuleID, Protocol: m.Protocol,
		ConnectionID: uuid.UUID(m.ConnectionID).String(), Time: m.Received, Properties: properties, Body: m.Body,
	}, accepted)
}
