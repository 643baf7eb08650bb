package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

func startQuery(ctx context.Context, g *group, s *Settings, t *telemetry) (string, error) {
	l, err := listen("query", s.Query.Listen)
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", t.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn)}
	g.start("query", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { server.Close() })
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return l.Addr().String(), nil
}
