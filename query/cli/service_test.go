package cli

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubscope/query/client"
)

// TestServiceElsewhere: a service behind TLS that wants a token.
func TestServiceElsewhere(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer hsc_secret" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":{"code":"Unauthorized","message":"the token is not known here"}}`) //nolint:errcheck // a test's
			return
		}
		io.WriteString(w, `{"database":"hubscope","tables":[]}`) //nolint:errcheck // a test's
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	token := write("token", []byte("hsc_secret\n"))
	empty := write("empty", nil)
	sh := &Shell{Find: func() (url, token string, err error) { return server.URL, "hsc_secret", nil }, Err: io.Discard}
	tests := []struct {
		name    string
		service Service
		code    int // 0: it works
		want    string
	}{
		{"token file", Service{URL: server.URL, CA: ca, TokenFile: token}, 0, ""},
		{"token", Service{URL: server.URL, CA: ca, Token: "hsc_secret"}, 0, ""},
		{"found on the data folder", Service{CA: ca}, 0, ""},
		{"wrong token", Service{URL: server.URL, CA: ca, Token: "hsc_other"}, exitService, ""},
		{"roots of the system", Service{URL: server.URL, Token: "hsc_secret"}, exitService, "certificate"},
		{"two tokens", Service{URL: server.URL, Token: "a", TokenFile: token}, exitUsage, "exclude each other"},
		{"no token in the file", Service{URL: server.URL, TokenFile: empty}, exitUsage, "is empty"},
		{"no file", Service{URL: server.URL, TokenFile: filepath.Join(dir, "none")}, exitUsage, "--token-file"},
		{"no certificate", Service{URL: server.URL, CA: token}, exitUsage, "no certificate"},
		{"key alone", Service{URL: server.URL, Key: ca}, exitUsage, "--key needs --cert"},
		{"certificate without key", Service{URL: server.URL, Cert: ca}, exitUsage, "--cert"},
		{"plain HTTP", Service{URL: "http://127.0.0.1:1", CA: ca}, exitUsage, "https://"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var service *client.Client
			service, err := tt.service.client(sh)
			if err == nil {
				_, err = service.Schema(t.Context())
				err = report(t.Context(), sh, "", err)
			}
			var exit *exitError
			switch {
			case tt.code == 0:
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &exit) || exit.code != tt.code || !strings.Contains(exit.text, tt.want):
				t.Errorf("want %d and %q, got %v", tt.code, tt.want, err)
			}
		})
	}
}
