package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hubscope/deploy/embed"
	"hubscope/hub"
	"hubscope/hub/handshake"
	"hubscope/hub/mqtt"
	"hubscope/hub/registry"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

func serveNATS(dir string) error {
	n, err := embed.StartNATS(context.Background(), embed.NATSConfig{Dir: dir})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := json.NewEncoder(os.Stdout).Encode(n.URL); err != nil {
		return err
	}
	<-untilStdinEnds(context.Background()).Done()
	return nil
}

// serveHub runs a hub as in production, but for the registry's store, which is
// in memory. Its argument is: folder, number of devices that connect again and
// again, number of idle ones, NATS URL or "none".
func serveHub(argument string) error {
	var dir, url string
	var busy, idle int
	if _, err := fmt.Sscan(argument, &dir, &busy, &idle, &url); err != nil {
		return err
	}
	ctx := untilStdinEnds(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	root, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(root)
	reg := registry.New(registry.NewMemory(), registry.Config{})
	if _, err := reg.CreateHub(ctx, registry.Hub{Name: "bench", HostNames: []string{"localhost"}}); err != nil {
		return err
	}
	if _, err := reg.CreateCA(ctx, "bench", "bench", block.Bytes, true); err != nil {
		return err
	}
	// Idle devices share one certificate, as a load generator's do: they are
	// known by its thumbprint. The others are judged by their chain.
	for i := range busy {
		if _, err := reg.CreateDevice(ctx, registry.Device{Hub: "bench", ID: deviceName(i), Auth: registry.Authentication{Type: registry.AuthCA}}); err != nil {
			return err
		}
	}
	thumbprint, err := os.ReadFile(filepath.Join(dir, "device.thumbprint"))
	if err != nil {
		return err
	}
	for i := range idle {
		if _, err := reg.CreateDevice(ctx, registry.Device{Hub: "bench", ID: fmt.Sprintf("dev-%d", i),
			Auth: registry.Authentication{Type: registry.AuthThumbprint, PrimaryThumbprint: strings.TrimSpace(string(thumbprint))}}); err != nil {
			return err
		}
	}
	var background sync.WaitGroup
	stop, cancel := context.WithCancel(context.Background())
	defer background.Wait()
	defer cancel()
	cache := registry.NewCache(reg, registry.CacheConfig{Logger: quiet})
	background.Go(func() { cache.Run(stop) })
	<-cache.Ready()

	var events hub.EventPublisher = discard{}
	if url != "none" {
		nc, err := stream.Server{URL: url}.Connect("bench", quiet)
		if err != nil {
			return err
		}
		defer nc.Close()
		config := stream.DefaultPublisherConfig()
		config.Node = "bench"
		publisher, err := stream.NewPublisher(nc, config, quiet)
		if err != nil {
			return err
		}
		background.Go(func() { publisher.Run(stop) })
		events = publisher
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	certs, err := handshake.NewCertificates(pair)
	if err != nil {
		return err
	}
	server, err := hub.New(hub.Config{
		Node: "bench", DefaultHub: "bench", Registry: cache, IPKey: make([]byte, 32), Logger: quiet,
		Certificates: func(string) *handshake.Certificates { return certs }, Events: events, Telemetry: discard{},
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(ln.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(ctx, ln, mqtt.New()); err != nil {
		return err
	}
	end, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	return server.Shutdown(end)
}

// discard takes events and messages and forgets them.
type discard struct{}

func (discard) PublishContext(context.Context, *ingest.Event) {}

func (discard) PublishTelemetry(_ context.Context, _ *hub.Message, accepted func(error)) {
	accepted(nil)
}
