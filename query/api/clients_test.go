package api

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hubscope/query"
)

// TestNodeClients runs the official clients for Node.js and Arrow's reader. They are installed by
// npm ci in testdata/clients, which make test does.
func TestNodeClients(t *testing.T) {
	if _, err := os.Stat("testdata/clients/node_modules"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the clients are not installed: npm ci in query/api/testdata/clients")
		}
		t.Skip("the clients are not installed")
	}
	engine, err := query.New(query.Config{Catalog: catalog(t)}, openRunner(t))
	if err != nil {
		t.Fatal(err)
	}
	handler := NewServer(engine, Config{})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for script, url := range map[string]string{"kusto.mjs": plain.URL, "monitor.mjs": secure.URL, "arrow.mjs": plain.URL} {
		t.Run(script, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", script, url)
			cmd.Dir = "testdata/clients"
			cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "ok" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
