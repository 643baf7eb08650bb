package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"hubscope/deploy/embed"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
	"hubscope/query/plan"
)

// TestMain lets the scripts run hubscope: this binary, called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hubscope": func() { os.Exit(hubscope()) }})
}

// hubscope is the part of the program that these scripts need.
func hubscope() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var commands struct {
		Query QueryCommand `cmd:""`
	}
	parser, err := kong.New(&commands, kong.Name("hubscope"))
	if err != nil {
		panic(err)
	}
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(NewShell(os.Stdin, os.Stdout, os.Stderr, func() (url, token string, err error) { return "", "", errors.New("no running hubscope found") }))
	var code interface{ ExitCode() int }
	switch {
	case errors.As(err, &code):
		if err.Error() != "" {
			fmt.Fprintln(os.Stderr, err)
		}
		return code.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		return 1
	}
	return 0
}

// TestScripts runs testdata/*.txtar against a query service on a real engine.
func TestScripts(t *testing.T) {
	ch, err := embed.StartEngine(t.Context(), embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ch.Close(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	runner, err := clickhouse.Open(t.Context(), clickhouse.Config{DSN: ch.ReaderDSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	catalog, err := plan.NewCatalog("hubscope", []*plan.Table{{Name: "Connections", Columns: []plan.TableColumn{{Name: "TlsVersion", Type: plan.String}}}})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := query.New(query.Config{Catalog: catalog}, runner)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api.NewServer(engine, api.Config{}))
	t.Cleanup(server.Close)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HUBSCOPE_URL", server.URL)
			return nil
		},
	})
}
