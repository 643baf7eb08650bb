package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func zipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bundle is what build.mjs leaves, in small.
func bundle(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		".gitignore":   {Data: []byte("*")},
		"index.html":   {Data: []byte(`<script type="module" src="assets/main-1.js" nonce="__NONCE__"></script>`)},
		"main-1.js.br": {Data: []byte("brotli")},
		"main-1.js.gz": {Data: zipped(t, "plain")},
	}
}

func get(h http.Handler, path string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPages(t *testing.T) {
	with, without := newHandler(bundle(t)), newHandler(fstest.MapFS{".gitignore": {}})
	const editor, simple = `src="assets/main-1.js"`, `src="assets/plain.js"`
	for _, c := range []struct {
		name, path, want string
		h                *Handler
	}{
		{"built", "/", editor, with},
		{"built, plain", "/plain", simple, with},
		{"not built", "/", simple, without},
		{"not built, plain", "/plain", simple, without},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get(c.h, c.path)
			if got := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(got, c.want) {
				t.Errorf("%d, want a page with %s:\n%s", r.StatusCode, c.want, got)
			}
			if got := r.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
				t.Errorf("content type %q", got)
			}
			if r.Header.Get("Cache-Control") != "no-store" {
				t.Error("a page with a nonce must not be stored")
			}
		})
	}
	for _, path := range []string{"/assets/plain.js", "/assets/plain.css"} {
		if r := get(without, path); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	for _, path := range []string{"/assets/", "/assets/main-1.js.br", "/assets/.gitignore", "/assets/index.html", "/assets/../console.go"} {
		if r := get(with, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, want not found", path, r.Status)
		}
	}
}

// TestPolicy holds the policy: nothing from elsewhere, no inline script, no
// eval, and a new nonce for styles with each page.
func TestPolicy(t *testing.T) {
	h := newHandler(bundle(t))
	nonces := map[string]bool{}
	for range 2 {
		r := get(h, "/")
		csp := r.Header.Get("Content-Security-Policy")
		m := regexp.MustCompile(`style-src 'self' 'nonce-([A-Z2-7]{20,})'`).FindStringSubmatch(csp)
		if m == nil {
			t.Fatalf("no nonce in %q", csp)
		}
		if !strings.Contains(body(t, r), `nonce="`+m[1]+`"`) {
			t.Error("the page does not know its nonce")
		}
		nonces[m[1]] = true
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "worker-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%q is not in %q", part, csp)
			}
		}
		for _, part := range []string{"unsafe-eval", "blob:", "*", "http"} {
			if strings.Contains(csp, part) {
				t.Errorf("%q is in %q", part, csp)
			}
		}
	}
	if len(nonces) != 2 {
		t.Error("two pages have the same nonce")
	}
	r := get(h, "/assets/main-1.js")
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") {
		t.Errorf("policy of a worker's script: %q", csp)
	}
	if r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error("no nosniff")
	}
}

func TestEncodings(t *testing.T) {
	h := newHandler(bundle(t))
	for _, c := range []struct{ accept, encoding, body string }{
		{"gzip, deflate, br, zstd", "br", "brotli"},
		{"gzip, deflate", "gzip", string(zipped(t, "plain"))},
		{"br;q=0, gzip;q=0.5", "gzip", string(zipped(t, "plain"))},
		{"*", "br", "brotli"},
		{"identity", "", "plain"},
		{"", "", "plain"},
		{"gzip;q=0", "", "plain"},
	} {
		r := get(h, "/assets/main-1.js", "Accept-Encoding", c.accept)
		type answer struct{ Encoding, Body, Vary, Cache, Type string }
		want := answer{c.encoding, c.body, "Accept-Encoding", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"}
		got := answer{r.Header.Get("Content-Encoding"), body(t, r), r.Header.Get("Vary"), r.Header.Get("Cache-Control"), r.Header.Get("Content-Type")}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Accept-Encoding %q (-want +got):\n%s", c.accept, d)
		}
		again := get(h, "/assets/main-1.js", "Accept-Encoding", c.accept, "If-None-Match", `"other", W/`+r.Header.Get("ETag"))
		if b := body(t, again); again.StatusCode != http.StatusNotModified || b != "" {
			t.Errorf("Accept-Encoding %q: %s with the tag it gave, and %d bytes", c.accept, again.Status, len(b))
		}
	}
	// Names without a hash may change: they are asked for again.
	if got := get(h, "/assets/plain.js").Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("cache control of the plain page's script: %q", got)
	}
}

// TestEmbedded looks at what this binary has, built or not.
func TestEmbedded(t *testing.T) {
	h := New()
	page := body(t, get(h, "/"))
	for _, m := range regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		if r := get(h, "/"+m[1], "Accept-Encoding", "br"); r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s, type %q", m[1], r.Status, r.Header.Get("Content-Type"))
		}
	}
	if strings.Contains(page, noncePlace) || regexp.MustCompile(`<script>|<style|style="|\son[a-z]+="`).MatchString(page) {
		t.Errorf("inline script or style, or a nonce missing:\n%s", page)
	}
}
