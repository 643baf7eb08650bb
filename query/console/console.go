// Package console is the web page of the query service: an editor for KQL with
// completion, tables and charts. It is static files; all that the page shows
// comes from the service's own API (/api/v1), in the browser of the user.
//
// The files are made by build.mjs with npm (make build does it when npm is
// there), embedded from dist and committed nowhere. A binary built without
// them serves the page in plain at the same place: a text area, a button and a
// table on the same API. It is always at /plain, for browsers too old or too
// small for the other.
//
// # Content security policy
//
// Everything comes from the service itself; there is no inline script, no eval
// and no blob. The editor (Monaco) makes style elements of its own, for which
// every answer carries a new nonce (build.mjs makes Monaco use it), and writes
// lines with style attributes, which style-src-attr allows.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var built embed.FS

//go:embed plain
var plain embed.FS

// Paths are the patterns under which the console is served.
var Paths = []string{"GET /{$}", "GET /plain", "GET /assets/"}

// Handler serves the console.
type Handler struct {
	index, plain page
	assets       map[string]*asset
}

// page is an HTML page in pieces: a nonce is put between them.
type page [][]byte

// asset is a file with its compressed forms by the name of the encoding. Big
// files have no plain form: it is made from the compressed one for the rare
// client that takes no other.
type asset struct {
	contentType  string
	cacheControl string
	etag         string
	body         map[string][]byte
}

// noncePlace is where the pages want the nonce.
const noncePlace = "__NONCE__"

// New returns the handler of the embedded files.
func New() *Handler {
	files, err := fs.Sub(built, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	return newHandler(files)
}

// newHandler serves the files that build.mjs has made, or else the plain page.
func newHandler(files fs.FS) *Handler {
	h := &Handler{assets: map[string]*asset{}}
	simple, err := fs.Sub(plain, "plain")
	if err != nil {
		panic(err) // the name is a constant
	}
	h.plain = h.load(simple, "no-cache")
	// The names of built files have the hash of their content.
	h.index = h.load(files, "public, max-age=31536000, immutable")
	if h.index == nil {
		h.index = h.plain
	}
	return h
}

// load takes index.html and the assets beside it.
func (h *Handler) load(files fs.FS, cacheControl string) page {
	index, err := fs.ReadFile(files, "index.html")
	if err != nil {
		return nil
	}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "index.html" || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		name, encoding := path.Base(name), ""
		switch path.Ext(name) {
		case ".br":
			name, encoding = strings.TrimSuffix(name, ".br"), "br"
		case ".gz":
			name, encoding = strings.TrimSuffix(name, ".gz"), "gzip"
		}
		a := h.assets[name]
		if a == nil {
			a = &asset{contentType: contentType(name), cacheControl: cacheControl, body: map[string][]byte{}}
			h.assets[name] = a
		}
		a.body[encoding] = b
		// Files come in the order of their names, and .br is before .gz.
		if a.etag == "" {
			sum := sha256.Sum256(b)
			a.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
		}
		return nil
	})
	if err != nil {
		panic(err) // embedded files can be read
	}
	return bytes.Split(index, []byte(noncePlace))
}

// contentType does not ask the machine, whose tables differ.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".ttf":
		return "font/ttf"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		return mime.TypeByExtension(ext)
	}
}

// policy is the content security policy. A worker's own requests are bound by
// the policy of its script, so assets carry it too.
func policy(nonce string) string {
	style := "'self'"
	if nonce != "" {
		style += " 'nonce-" + nonce + "'"
	}
	return "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; " +
		"style-src " + style + "; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

func setHeaders(h http.Header, nonce string) {
	h.Set("Content-Security-Policy", policy(nonce))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// ServeHTTP answers GET and HEAD for the console's Paths.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		h.index.serve(w)
	case "/plain":
		h.plain.serve(w)
	default:
		a := h.assets[strings.TrimPrefix(r.URL.Path, "/assets/")]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	}
}

func (p page) serve(w http.ResponseWriter) {
	nonce := rand.Text()
	setHeaders(w.Header(), nonce)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(bytes.Join(p, []byte(nonce))) //nolint:errcheck // the client has gone
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	setHeaders(h, "")
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", a.cacheControl)
	h.Set("Vary", "Accept-Encoding")
	encoding, body, err := a.pick(r.Header.Values("Accept-Encoding"))
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	etag := a.etag
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
		etag = strings.TrimSuffix(etag, `"`) + "-" + encoding + `"`
	}
	h.Set("ETag", etag)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) //nolint:errcheck // the client has gone
}

// pick returns the smallest form that the client takes.
func (a *asset) pick(accept []string) (encoding string, body []byte, err error) {
	for _, encoding := range []string{"br", "gzip"} {
		if body, ok := a.body[encoding]; ok && takes(accept, encoding) {
			return encoding, body, nil
		}
	}
	if body, ok := a.body[""]; ok {
		return "", body, nil
	}
	gz, err := gzip.NewReader(bytes.NewReader(a.body["gzip"]))
	if err != nil {
		return "", nil, fmt.Errorf("decompress asset: %w", err)
	}
	body, err = io.ReadAll(gz)
	return "", body, err
}

// takes reads Accept-Encoding (RFC 9110 12.5.3).
func takes(accept []string, encoding string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		if name = strings.TrimSpace(name); strings.EqualFold(name, encoding) || name == "*" {
			weight, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			return !ok || err == nil && q > 0
		}
	}
	return false
}
