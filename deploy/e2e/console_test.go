package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// consoleDir has the scripts that use the console in a browser.
const consoleDir = "../../query/console"

// TestConsole uses the console in Chromium, against the whole stack with a
// fleet. Set HUBSCOPE_SHOTS to a folder for pictures of it.
func TestConsole(t *testing.T) {
	for _, path := range []string{"node_modules/playwright-core", "dist/index.html"} {
		if _, err := os.Stat(filepath.Join(consoleDir, path)); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip("make build builds the console with npm")
		}
	}
	tool(t, "node")
	chromium := tool(t, "chromium")
	s := up(t, t.TempDir(), "--demo")
	// A row for every device, before anything looks at them.
	s.await("Devices | where WouldFailStrict", 1)
	s.await(`Connections | where OperationName == "connectionRefused"`, 3)

	ctx, cancel := context.WithTimeout(t.Context(), 17*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "e2e/console.mjs", s.Query, os.Getenv("HUBSCOPE_SHOTS"))
	cmd.Dir = consoleDir
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Chromium's processes end with their parent's pipes.
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	t.Logf("\n%s", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
}
