package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/hub/device"
	"hubscope/hub/registry"
	"hubscope/query/api"
)

// configFlag is the flag of every command that reads the configuration file.
type configFlag struct {
	Config string `help:"Configuration file (YAML)." type:"existingfile" placeholder:"FILE"`
}

// serverFlags say which servers to use.
type serverFlags struct {
	NATS       string `help:"URL of NATS." env:"HUBSCOPE_NATS" placeholder:"URL"`
	ClickHouse string `name:"clickhouse" help:"DSN of ClickHouse, clickhouse://user:password@host:9000/database." env:"HUBSCOPE_CLICKHOUSE" placeholder:"DSN"`
}

// apply puts flags that were used over the settings.
func (f serverFlags) apply(s *Settings) {
	if f.NATS != "" {
		s.NATS.URL = f.NATS
	}
	if f.ClickHouse != "" {
		s.ClickHouse.DSN, s.ClickHouse.ReaderDSN = f.ClickHouse, ""
	}
}

// listenFlags say where the hub and the query service listen.
type listenFlags struct {
	MQTTListen  string `name:"mqtt-listen" help:"Address of MQTT over TLS (127.0.0.1:8883)." placeholder:"ADDR"`
	HTTPSListen string `name:"https-listen" help:"Address of HTTPS (127.0.0.1:8443)." placeholder:"ADDR"`
}

// upCmd is `hubscope up`: everything on one machine.
type upCmd struct {
	dataFlags
	configFlag
	serverFlags
	listenFlags
	logFlags    `embed:"" set:"level=warn"`
	QueryListen string `help:"Address of the query service (127.0.0.1:7070)." placeholder:"ADDR"`
	Demo        bool   `help:"Connect a fleet of simulated devices: real TLS clients with mixed versions, ciphers and mistakes."`
	Ports       string `help:"${enum}: the usual ports, or free ones." enum:"fixed,auto" default:"fixed"`
	ReadyFile   string `help:"Write where everything is to this file when all is up." type:"path" placeholder:"FILE"`
}

// Run starts all parts in order, says where they are, and stops them in the
// other order when ctx ends.
func (c *upCmd) Run(ctx context.Context) (err error) {
	begin := time.Now()
	s, err := loadSettings(c.Config)
	if err != nil {
		return err
	}
	if c.Ports == "auto" {
		s.Hub.MQTT, s.Hub.HTTPS, s.Query.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	}
	c.serverFlags.apply(&s)
	set(&s.Hub.MQTT, c.MQTTListen)
	set(&s.Hub.HTTPS, c.HTTPSListen)
	set(&s.Query.Listen, c.QueryListen)

	if flood := &s.Hub.Flood; c.Demo && *flood == defaultSettings().Hub.Flood {
		// The demo's port scan shall be summed up, not fill the tables.
		flood.Burst, flood.PerSecond = 40, 1
	}

	unlock, err := lockData(c.Data)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkSpace(c.Data); err != nil {
		return err
	}
	ready := filepath.Join(c.Data, readyName)
	// What an earlier run has left there, by a crash, is no longer true.
	removeReady := func() error {
		for _, path := range []string{ready, c.ReadyFile} {
			if path == "" {
				continue
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	if err := removeReady(); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	t, err := startTelemetry(ctx, "hubscope", c.logFlags, os.Stderr)
	if err != nil {
		return err
	}
	defer t.Close()

	g := newGroup()
	p := newProgress(os.Stdout)
	defer func() {
		removed := removeReady()
		start := time.Now()
		stopped := g.stop()
		if err == nil {
			err = errors.Join(removed, stopped)
		}
		if err == nil {
			p.printf("stopped in %.1f s; `hubscope up` on %s continues\n", time.Since(start).Seconds(), c.Data)
		}
	}()

	if s.ClickHouse.DSN == "" {
		err := p.step("engine", func() (string, error) {
			e, err := embed.StartEngine(ctx, embed.EngineConfig{
				Dir: filepath.Join(c.Data, "engine"), Port: s.ClickHouse.Port, HTTPPort: s.ClickHouse.HTTPPort,
				MaxMemory: s.ClickHouse.MaxMemory, Log: t.Log,
			})
			if err != nil {
				return "", err
			}
			g.onStop("engine", func() error { return e.Close(3 * time.Second) })
			s.ClickHouse.DSN, s.ClickHouse.ReaderDSN = e.DSN(), e.ReaderDSN()
			return "ClickHouse " + e.Version + " ready", nil
		})
		if err != nil {
			return err
		}
	}
	if s.NATS.URL == "" {
		err := p.step("nats", func() (string, error) {
			password, err := secret(c.Data, "nats-password", rand.Text)
			if err != nil {
				return "", err
			}
			n, err := embed.StartNATS(ctx, embed.NATSConfig{
				Dir: filepath.Join(c.Data, "nats"), Port: s.NATS.Port, MaxStore: s.NATS.MaxStore, Password: password, Log: t.Log,
			})
			if err != nil {
				return "", err
			}
			g.onStop("nats", func() error { n.Close(); return nil })
			s.NATS.URL = n.URL
			return "JetStream ready", nil
		})
		if err != nil {
			return err
		}
	}
	err = p.step("collector", func() (string, error) {
		return startCollector(ctx, g, &s, t)
	})
	if err != nil {
		return err
	}
	if s.Query.Tokens == "" {
		s.Query.Tokens = filepath.Join(c.Data, tokensName)
	}
	var queryURL string
	queryToken := api.NewToken()
	err = p.step("query", func() (string, error) {
		queryURL, err = startQuery(ctx, g, &s, t, queryToken)
		return queryURL + "  (console, API, Kusto)", err
	})
	if err != nil {
		return err
	}

	var h *runningHub
	err = p.step("hub", func() (string, error) {
		h, err = startHub(ctx, g, &s, c.Data, t, c.hubs(&s)...)
		if err != nil {
			return "", err
		}
		return h.describe(ctx)
	})
	if err != nil {
		return err
	}
	self, err := h.Registry.Hub(ctx, s.Hub.Name)
	if err != nil {
		return err
	}
	info, err := c.ready(&s, h, self)
	if err != nil {
		return err
	}
	if c.Demo {
		err := p.step("fleet", func() (string, error) { return c.startFleet(ctx, g, &s, h, t) })
		if err != nil {
			return err
		}
	}
	info.Query, info.QueryToken = queryURL, queryToken
	files := []string{ready}
	if c.ReadyFile != "" {
		files = append(files, c.ReadyFile)
	}
	if err := info.write(files...); err != nil {
		return err
	}
	p.printf("ready in %.1f s. Try:  %s query 'Connections | summarize Devices=dcount(DeviceId) by TlsVersion | render piechart'\n", time.Since(begin).Seconds(), os.Args[0])
	return g.wait(ctx)
}

// strictName is the demo's second hub: one that enforces. policyName is its third,
// small one, whose minTlsVersion the fleet's operator raises from 1.0 to 1.2 a
// minute after the start.
const (
	strictName = "strict"
	policyName = "plant-7"
)

// hubs are those that `up` serves. The demo hub observes legacy devices, and a
// strict one beside it refuses them; without the demo there is one hub with
// minTlsVersion 1.2.
func (c *upCmd) hubs(s *Settings) []registry.Hub {
	h := registry.Hub{Name: s.Hub.Name, HostNames: s.Hub.HostNames, MinTLSVersion: registry.TLS12}
	if !c.Demo {
		return []registry.Hub{h}
	}
	h.MinTLSVersion = registry.TLS10
	return []registry.Hub{h,
		{Name: strictName, HostNames: []string{"strict.localhost"}, MinTLSVersion: registry.TLS12},
		{Name: policyName, HostNames: []string{"plant-7.localhost"}, MinTLSVersion: registry.TLS10},
	}
}

// describe says in a line what the hub serves.
func (h *runningHub) describe(ctx context.Context) (string, error) {
	hubs, err := h.Registry.Hubs(ctx)
	if err != nil {
		return "", err
	}
	names := make([]string, len(hubs))
	for i, one := range hubs {
		names[i] = one.Name + " " + one.MinTLSVersion
	}
	local := func(addr string) string { return strings.TrimPrefix(addr, "127.0.0.1") }
	return fmt.Sprintf("mqtt %s  https %s  (min TLS: %s)", local(h.MQTT), local(h.HTTPS), strings.Join(names, ", ")), nil
}

func (c *upCmd) ready(s *Settings, h *runningHub, self *registry.Hub) (*Ready, error) {
	owner, ok := self.Policy("iothubowner")
	if !ok {
		return nil, fmt.Errorf("hub %s has no policy iothubowner", self.Name)
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	r := &Ready{
		MQTT: h.MQTT, HTTPS: h.HTTPS, NATS: s.NATS.URL, ClickHouse: s.ClickHouse.DSN,
		Hub: self.Name, Host: self.HostName(), ServiceConnectionString: self.ServiceConnectionString(owner),
		ARMToken: h.ARMToken, Data: data, Pid: os.Getpid(),
	}
	if h.RootFile != "" {
		if r.ServerCA, err = filepath.Abs(h.RootFile); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// startCollector migrates the tables and collects into them.
func startCollector(ctx context.Context, g *group, s *Settings, t *telemetry) (string, error) {
	cfg := s.collectorConfig()
	var done collector.Migrated
	if cfg.Migrate {
		var err error
		if done, err = cfg.ClickHouse.Migrate(ctx); err != nil {
			return "", err
		}
		cfg.Migrate = false
	}
	cfg.Meter, cfg.Tracer = otel.GetMeterProvider(), otel.GetTracerProvider()
	c, err := collector.New(cfg, t.Log)
	if err != nil {
		return "", err
	}
	g.start("collector", c.Run)
	return fmt.Sprintf("%d tables, schema %d", done.Tables, done.To), nil
}

// startFleet connects the simulated devices and waits until each has tried once.
func (c *upCmd) startFleet(ctx context.Context, g *group, s *Settings, h *runningHub, t *telemetry) (string, error) {
	roots := x509.NewCertPool()
	b, err := os.ReadFile(h.RootFile)
	if err != nil {
		return "", fmt.Errorf("root of the hub's certificates: %w (the demo needs hubscope's own)", err)
	}
	roots.AppendCertsFromPEM(b)
	fleet, err := device.NewFleet(device.FleetConfig{
		Registry: h.Registry, LegacyHub: s.Hub.Name, StrictHub: strictName, PolicyHub: policyName,
		MQTT: h.MQTT, HTTPS: h.HTTPS, Roots: roots, Dir: filepath.Join(c.Data, "fleet"), Logger: t.Log,
	})
	if err != nil {
		return "", err
	}
	g.start("fleet", fleet.Run)
	select {
	case <-fleet.Up():
		return fleet.Summary(), nil
	case err := <-g.failed:
		return "", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
