package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/cli"
	"hubscope/query/clickhouse"
)

// startQuery runs the query service in g and returns its address.
func startQuery(ctx context.Context, g *group, s *Settings, t *telemetry) (string, error) {
	l, err := listen("query", s.Query.Listen)
	if err != nil {
		return "", err
	}
	if err := onlyLoopback(l.Addr()); err != nil {
		l.Close()
		return "", err
	}
	dsn := s.ClickHouse.ReaderDSN
	if dsn == "" {
		dsn = s.ClickHouse.DSN
	}
	runner, err := clickhouse.Open(ctx, clickhouse.Config{DSN: dsn, Log: t.Log})
	if err != nil {
		l.Close()
		return "", err
	}
	g.onStop("query connections", func() error { runner.Close(); return nil })
	engine, err := query.New(query.Config{}, runner)
	if err != nil {
		l.Close()
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", t.Handler())
	mux.Handle("/", otelhttp.NewHandler(api.NewServer(engine, api.Config{Logger: t.Log, Version: version}), "query"))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn),
	}
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
		})
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		<-stopped
		return nil
	})
	return l.Addr().String(), nil
}

// onlyLoopback refuses addresses that others can reach: the service has
// neither TLS nor users yet.
func onlyLoopback(addr net.Addr) error {
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil || !a.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("query port: %s can be reached by others, and the query service has no authentication: use an address of this machine such as 127.0.0.1:7070, and a proxy with TLS and authentication in front of it", addr)
	}
	return nil
}

// queryCmd is `hubscope query`.
type queryCmd struct {
	dataFlags
	cli.QueryCommand `embed:""`
}

// AfterApply gives the command the terminal, and where to look for the service.
func (c *queryCmd) AfterApply(kctx *kong.Context) error {
	kctx.Bind(cli.NewShell(os.Stdin, os.Stdout, os.Stderr, func() (string, error) {
		r, err := readReady(c.Data)
		if err != nil {
			return "", err
		}
		return r.Query, nil
	}))
	return nil
}
