package client_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/client"
)

// serve returns the address of a query service without a store.
func serve(t *testing.T, config api.Config) string {
	t.Helper()
	engine, err := query.New(query.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	server := httptest.NewServer(api.NewServer(engine, config))
	t.Cleanup(server.Close)
	return server.URL
}

func TestClientVersion(t *testing.T) {
	service := &client.Client{URL: serve(t, api.Config{Version: "1.2.3"})}
	if got, err := service.Version(t.Context()); err != nil || got != "1.2.3" {
		t.Errorf("%q, %v", got, err)
	}
	for body, say := range map[string]string{
		"<html>": "", `{}`: "no version", `{"Tables":[{"Rows":[["1.0","","Engine","Kusto 2026",""]]}]}`: `"Kusto 2026"`, `{"Tables":[{"Rows":[[1]]}]}`: "no version", `[]`: "",
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })) //nolint:errcheck // a test's server
		if got, err := (&client.Client{URL: other.URL}).Version(t.Context()); !errors.Is(err, client.ErrNotAnswer) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %q, %v", body, got, err)
		}
		if _, err := (&client.Client{URL: other.URL}).Query(t.Context(), client.QueryRequest{Query: "T"}, nil); body == "<html>" && !errors.Is(err, client.ErrNotAnswer) {
			t.Errorf("query: %s: %v", body, err)
		}
		other.Close()
	}
}

// TestStatusErrors tells what the service refuses from what something before it
// says.
func TestStatusErrors(t *testing.T) {
	file := api.AccessFile(filepath.Join(t.TempDir(), "tokens.yaml"))
	if _, err := file.Add(api.Grant{Name: "x", Role: api.Reader}); err != nil {
		t.Fatal(err)
	}
	a, err := api.OpenAccess(string(file), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var status *client.StatusError
	var said client.Errors
	_, err = (&client.Client{URL: serve(t, api.Config{Access: a})}).Schema(t.Context())
	if !errors.As(err, &status) || status.Code != 401 || !errors.As(err, &said) || said[0].Code != client.CodeUnauthorized || err.Error() != said.Error() {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }))
	defer other.Close()
	_, err = (&client.Client{URL: other.URL}).Schema(t.Context())
	status, said = nil, nil
	if !errors.As(err, &status) || status.Code != 502 || errors.As(err, &said) || err.Error() != "query service at "+other.URL+": 502 Bad Gateway" {
		t.Errorf("%v", err)
	}
}

func TestParseTimespan(t *testing.T) {
	for in, want := range map[string]time.Duration{"30m": 30 * time.Minute, "7d": 168 * time.Hour, "1.5h": 90 * time.Minute, "00:04:00": 4 * time.Minute} {
		if got, ok := client.ParseTimespan(in); !ok || got != want {
			t.Errorf("%s: want %v, got %v %v", in, want, got, ok)
		}
	}
	for _, in := range []string{"", "x", "200000d", "-200000d"} {
		if got, ok := client.ParseTimespan(in); ok {
			t.Errorf("%q reads as %v", in, got)
		}
	}
}
