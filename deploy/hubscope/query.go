package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/alecthomas/kong"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"

	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/cli"
	"hubscope/query/clickhouse"
)

// startQuery runs the query service in g and returns its address. Besides the
// tokens of its file it takes own, if not empty, as an admin's.
func startQuery(ctx context.Context, g *group, s *Settings, t *telemetry, own string) (url string, err error) {
	access, err := api.OpenAccess(s.Query.Tokens, t.Log)
	if err != nil {
		return "", err
	}
	l, err := listen("query", s.Query.Listen)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := s.Query.checkExposure(l.Addr(), access); err != nil {
		return "", err
	}
	if own != "" {
		access.Admit(own, api.Identity{Name: "local", Role: api.Admin})
	}
	g.start("tokens", access.Watch)
	address := l.Addr().String()
	tlsConfig, name, err := s.Query.serverTLS(g, t.Log)
	if err != nil {
		return "", err
	}
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
		if _, port, err := net.SplitHostPort(address); err == nil && name != "" {
			address = net.JoinHostPort(name, port)
		}
	}

	dsn := s.ClickHouse.ReaderDSN
	if dsn == "" {
		dsn = s.ClickHouse.DSN
	}
	cc := clickhouse.Config{DSN: dsn, Log: t.Log}
	if n := s.Query.Concurrency.Queries; n > 0 {
		// Cancelling and estimating must not wait for queries.
		cc.MaxConns = n + 8
	}
	runner, err := clickhouse.Open(ctx, cc)
	if err != nil {
		return "", err
	}
	g.onStop("query connections", func() error { runner.Close(); return nil })
	if err := s.Query.External.Validate(); err != nil {
		return "", fmt.Errorf("query: %w", err)
	}
	engine, err := query.New(query.Config{
		EventDays: s.ClickHouse.EventDays, Rollups: runner.Rollups,
		Limits: query.Limits(s.Query.Limits), MaxLimits: query.Limits(s.Query.MaxLimits), External: s.Query.External.Reader(),
	}, runner)
	if err != nil {
		return "", err
	}
	config := api.Config{
		Logger: t.Log, Version: version, Node: s.Node, Access: access, Metrics: t.Handler(), Meter: otel.GetMeterProvider(),
		MaxBodyBytes: s.Query.MaxBody, Hosts: s.Query.Hosts, Admission: api.Admission(s.Query.Concurrency),
	}
	if s.Query.Log {
		config.Record = startQueryLog(ctx, g, s, t)
	}
	if config.Feed, err = startFeed(g, s, t.Log); err != nil {
		return "", err
	}
	service := api.NewServer(engine, config)
	server := &http.Server{
		Handler: otelhttp.NewHandler(service, "query"), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		TLSConfig: tlsConfig, ErrorLog: slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(service.Close)
	g.start("query", func(ctx context.Context) error {
		stopped := make(chan struct{})
		context.AfterFunc(ctx, func() {
			defer close(stopped)
			// Who is being answered gets a moment; what runs longer is cut, and its query ends.
			drain, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if server.Shutdown(drain) != nil {
				server.Close()
			}
			ended, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if err := service.Drain(ended); err != nil {
				t.Log.Warn("queries did not end", "error", err)
			}
		})
		serve := func() error { return server.Serve(l) }
		if tlsConfig != nil {
			serve = func() error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		<-stopped
		return nil
	})
	return scheme + "://" + address, nil
}

// startQueryLog writes queries down with a user that may write; where there is
// none it says so and goes on.
func startQueryLog(ctx context.Context, g *group, s *Settings, t *telemetry) func(query.Record) {
	if s.ClickHouse.DSN == "" {
		t.Log.Warn("queries are not logged: clickhouse.dsn is not set, and the user of clickhouse.reader_dsn only reads")
		return nil
	}
	log, err := clickhouse.OpenLog(ctx, clickhouse.LogConfig{DSN: s.ClickHouse.DSN, Database: s.ClickHouse.Database, Log: t.Log})
	if err != nil {
		t.Log.Warn("queries are not logged", "error", err)
		return nil
	}
	g.start("log of queries", log.Run)
	return log.Add
}

// queryCmd is `hubscope query`.
type queryCmd struct {
	dataFlags
	cli.QueryCommand `embed:""`
}

// AfterApply gives the command the terminal, and where to look for the service.
func (c *queryCmd) AfterApply(kctx *kong.Context) error {
	kctx.Bind(newShell(&c.dataFlags))
	return nil
}
