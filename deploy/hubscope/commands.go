package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"hubscope/hub/device"
	"hubscope/hub/registry"
	"hubscope/ingest/stream"
)

// commands is the whole command line.
type commands struct {
	Up        upCmd        `cmd:"" help:"Run everything on this machine: broker, engine, collector, query service, hub."`
	Query     queryCmd     `cmd:"" help:"Run a KQL query and print its result."`
	Tail      tailCmd      `cmd:"" help:"Follow connection events as they come."`
	Registry  registryCmd  `cmd:"" help:"Manage devices."`
	CA        caCmd        `cmd:"" name:"ca" help:"Manage the CA certificates that a hub trusts."`
	Hub       hubCmd       `cmd:"" help:"Run a hub alone, or manage hubs."`
	Device    deviceCmd    `cmd:"" help:"Connect as a device and send messages."`
	Collector collectorCmd `cmd:"" help:"Run the collector alone, or migrate its tables."`
	Serve     serveCmd     `cmd:"" help:"Run the query service alone."`
	Token     tokenCmd     `cmd:"" help:"Manage who may ask the query service: bearer tokens and client certificates."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

// stackFlags find the running stack for the commands that manage it.
type stackFlags struct {
	dataFlags
	NATS string `help:"URL of NATS; by default that of the stack on --data." env:"HUBSCOPE_NATS" placeholder:"URL"`
}

// AfterApply gives the commands below a shell on the registry. It is called
// when a command has been parsed, and connects only when the command runs.
func (f *stackFlags) AfterApply(kctx *kong.Context, ctx context.Context) error {
	return kctx.BindSingletonProvider(func() (*registry.Shell, error) { return f.shell(ctx) })
}

func (f *stackFlags) shell(ctx context.Context) (*registry.Shell, error) {
	server, hub := stream.Server{URL: f.NATS}, ""
	if server.URL == "" {
		ready, err := readReady(f.Data)
		if err != nil {
			return nil, err
		}
		server.URL, hub = ready.NATS, ready.Hub
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	conn, err := server.Connect("hubscope command", log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for !conn.IsConnected() {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("NATS does not answer: %w (is hubscope running?)", errors.Join(conn.LastError(), ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
	store, err := registry.OpenNATS(ctx, conn, registry.NATSConfig{Logger: log})
	if err != nil {
		return nil, err
	}
	return &registry.Shell{Registry: registry.New(store, auditNow(conn, log)), Hub: hub, Out: os.Stdout}, nil
}

type registryCmd struct {
	stackFlags
	registry.RegistryCommand `embed:""`
}

type caCmd struct {
	stackFlags
	registry.CACommand `embed:""`
}

// deviceCmd is `hubscope device`. It needs no running stack; if there is one on
// the data folder, it saves the user the address and the root certificate.
type deviceCmd struct {
	dataFlags
	device.Cmd `embed:""`
}

// AfterApply gives the command what is known of the hub on this machine.
func (c *deviceCmd) AfterApply(kctx *kong.Context) error {
	shell := &device.Shell{Out: os.Stdout}
	if r, err := readReady(c.Data); err == nil {
		shell.HostName, shell.MQTT, shell.HTTPS, shell.CA = r.Host, r.MQTT, r.HTTPS, r.ServerCA
	}
	kctx.Bind(shell)
	return nil
}

// hubCmd is `hubscope hub`: without a subcommand it runs one.
type hubCmd struct {
	stackFlags
	Run    hubRunCmd           `cmd:"" default:"withargs" help:"Run a hub (the default)."`
	Manage registry.HubCommand `embed:""`
}

// hubRunCmd runs the hub alone.
type hubRunCmd struct {
	configFlag
	logFlags `embed:"" set:"level=info"`
	listenFlags
	Name          string `help:"Hub for clients that name no other by SNI; made when it is missing." placeholder:"NAME"`
	MetricsListen string `help:"Address of the Prometheus page; none by default." placeholder:"ADDR"`
}

// Run serves until ctx ends.
func (c *hubRunCmd) Run(ctx context.Context, parent *hubCmd) error {
	s, err := loadSettings(c.Config)
	if err != nil {
		return err
	}
	set(&s.NATS.URL, parent.NATS)
	set(&s.Hub.MQTT, c.MQTTListen)
	set(&s.Hub.HTTPS, c.HTTPSListen)
	set(&s.Hub.Name, c.Name)
	set(&s.MetricsListen, c.MetricsListen)
	if s.NATS.URL == "" {
		return errors.New("the hub needs a NATS server: --nats URL (hubscope up brings its own)")
	}
	return runPart(ctx, "hubscope-hub", c.logFlags, &s, func(ctx context.Context, g *group, t *telemetry) error {
		unlock, err := lockData(parent.Data)
		if err != nil {
			return err
		}
		g.onStop("data folder", func() error { unlock(); return nil })
		h, err := startHub(ctx, g, &s, parent.Data, t, registry.Hub{Name: s.Hub.Name, HostNames: s.Hub.HostNames, MinTLSVersion: registry.TLS12})
		if err != nil {
			return err
		}
		t.Log.Info("hub ready", "mqtt", h.MQTT, "https", h.HTTPS, "hub", s.Hub.Name, "node", s.Node)
		return nil
	})
}

// collectorCmd is `hubscope collector`: without a subcommand it collects.
type collectorCmd struct {
	Run     collectorRunCmd     `cmd:"" default:"withargs" help:"Collect events into ClickHouse (the default)."`
	Migrate collectorMigrateCmd `cmd:"" help:"Bring the tables up to date and exit."`
}

type collectorRunCmd struct {
	configFlag
	serverFlags
	logFlags      `embed:"" set:"level=info"`
	MetricsListen string `help:"Address of the Prometheus page; none by default." placeholder:"ADDR"`
}

// Run collects until ctx ends.
func (c *collectorRunCmd) Run(ctx context.Context) error {
	s, err := loadSettings(c.Config)
	if err != nil {
		return err
	}
	c.serverFlags.apply(&s)
	set(&s.MetricsListen, c.MetricsListen)
	if s.NATS.URL == "" || s.ClickHouse.DSN == "" {
		return errors.New("the collector needs servers: --nats URL --clickhouse DSN (hubscope up brings its own)")
	}
	return runPart(ctx, "hubscope-collector", c.logFlags, &s, func(ctx context.Context, g *group, t *telemetry) error {
		what, err := startCollector(ctx, g, &s, t)
		if err != nil {
			return err
		}
		t.Log.Info("collector ready", "what", what)
		return publishSamples(g, &s, t)
	})
}

type collectorMigrateCmd struct {
	configFlag
	ClickHouse string `name:"clickhouse" help:"DSN of ClickHouse." env:"HUBSCOPE_CLICKHOUSE" placeholder:"DSN"`
}

// Run migrates and says what was done.
func (c *collectorMigrateCmd) Run(ctx context.Context) error {
	s, err := loadSettings(c.Config)
	if err != nil {
		return err
	}
	set(&s.ClickHouse.DSN, c.ClickHouse)
	if s.ClickHouse.DSN == "" {
		return errors.New("no ClickHouse: --clickhouse DSN")
	}
	done, err := s.ClickHouse.Migrate(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d tables, schema %d\n", done.Tables, done.To)
	return nil
}

// serveCmd runs the query service alone.
type serveCmd struct {
	configFlag
	logFlags   `embed:"" set:"level=info"`
	ClickHouse string `name:"clickhouse" help:"DSN of ClickHouse, best for a user that can only read." env:"HUBSCOPE_CLICKHOUSE" placeholder:"DSN"`
	Reader     string `name:"clickhouse-reader" help:"DSN for queries; --clickhouse is then only for the log of queries." env:"HUBSCOPE_CLICKHOUSE_READER" placeholder:"DSN"`
	NATS       string `help:"URL of NATS, for hubscope tail." env:"HUBSCOPE_NATS" placeholder:"URL"`
	Listen     string `help:"Address (127.0.0.1:7070)." placeholder:"ADDR"`
	Tokens     string `help:"File of tokens; see hubscope token." type:"path" placeholder:"FILE"`
	TLSCert    string `name:"tls-cert" help:"Certificate (PEM), needed on an address that others can reach." placeholder:"FILE"`
	TLSKey     string `name:"tls-key" help:"Its key." placeholder:"FILE"`
	ClientCA   string `name:"tls-client-ca" help:"CA of client certificates (PEM)." placeholder:"FILE"`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context) error {
	s, err := loadSettings(c.Config)
	if err != nil {
		return err
	}
	if c.ClickHouse != "" {
		s.ClickHouse.DSN, s.ClickHouse.ReaderDSN = c.ClickHouse, ""
	}
	set(&s.ClickHouse.ReaderDSN, c.Reader)
	set(&s.Query.Listen, c.Listen)
	set(&s.NATS.URL, c.NATS)
	set(&s.Query.Tokens, c.Tokens)
	set(&s.Query.TLS.Cert, c.TLSCert)
	set(&s.Query.TLS.Key, c.TLSKey)
	set(&s.Query.TLS.ClientCA, c.ClientCA)
	if s.ClickHouse.DSN == "" && s.ClickHouse.ReaderDSN == "" {
		return errors.New("the query service needs a ClickHouse server: --clickhouse DSN (hubscope up brings its own)")
	}
	return runPart(ctx, "hubscope-serve", c.logFlags, &s, func(ctx context.Context, g *group, t *telemetry) error {
		url, err := startQuery(ctx, g, &s, t, "")
		if err == nil {
			t.Log.Info("query service ready", "url", url)
		}
		return err
	})
}

// runPart runs one part of the product until ctx ends or it fails.
func runPart(ctx context.Context, service string, flags logFlags, s *Settings, start func(context.Context, *group, *telemetry) error) error {
	t, err := startTelemetry(ctx, service, flags, os.Stderr)
	if err != nil {
		return err
	}
	defer t.Close()
	g := newGroup()
	if err := start(ctx, g, t); err != nil {
		return errors.Join(err, g.stop())
	}
	if s.MetricsListen != "" {
		if err := serveMetrics(g, s.MetricsListen, t); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	return errors.Join(g.wait(ctx), g.stop())
}

// serveMetrics serves the Prometheus page on an address of its own.
func serveMetrics(g *group, addr string, t *telemetry) error {
	l, err := listen("metrics", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", t.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn)}
	g.start("metrics", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { server.Close() })
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}
