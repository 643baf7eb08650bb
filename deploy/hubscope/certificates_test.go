package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// startCache returns an empty registry in memory and a cache that follows it.
func startCache(t *testing.T) (*registry.Registry, *registry.Cache) {
	t.Helper()
	reg := registry.New(registry.NewMemory(), registry.Config{})
	cache := registry.NewCache(reg, registry.CacheConfig{})
	background(t, cache.Run)
	<-cache.Ready()
	return reg, cache
}

// background runs f until the test ends.
func background(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCertificateOfANewHub: a hub that is made while the process runs is served
// under its name, by both certificates, which the root from before vouches for.
func TestCertificateOfANewHub(t *testing.T) {
	reg, cache := startCache(t)
	data := t.TempDir()
	c, rootFile, err := newServerCertificates(&Settings{}, cache, data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	background(t, c.Run)
	before := c.current.Load()
	root, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.CreateHub(t.Context(), registry.Hub{Name: "plant-7"}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for c.current.Load() == before {
		if time.Now().After(deadline) {
			t.Fatal("the certificates stay as they are")
		}
		time.Sleep(5 * time.Millisecond)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	now := c.current.Load()
	for _, cert := range []*x509.Certificate{now.RSA.Leaf(), now.ECDSA.Leaf()} {
		for _, name := range []string{"plant-7.localhost", "localhost"} {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCertificateFilesAreReplaced: other files are served; a pair of which only
// one half is there yet is not, and what was served goes on.
func TestCertificateFilesAreReplaced(t *testing.T) {
	_, cache := startCache(t)
	authority, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := certificateFiles{Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}
	issue := func() *ca.Leaf {
		leaf, err := authority.Server(ca.ServerConfig{Names: []string{"hub.example"}})
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	write := func(file string, data []byte, age time.Duration) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age) // the clock of files may stand still between two writes
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	keyOf := func(leaf *ca.Leaf) []byte {
		key, err := ca.KeyPEM(leaf.Key)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first, second := issue(), issue()
	write(f.Cert, first.CertificatePEM(), time.Hour)
	write(f.Key, keyOf(first), time.Hour)
	c, root, err := newServerCertificates(&Settings{Hub: hubSettings{Certificates: []certificateFiles{f}}}, cache, dir, slog.New(slog.DiscardHandler))
	if err != nil || root != "" {
		t.Fatalf("root %q, %v", root, err)
	}
	serves := func(leaf *ca.Leaf) bool { return c.current.Load().ECDSA.Leaf().Equal(leaf.Certificate) }
	if err := c.refresh(); err != nil || !serves(first) {
		t.Fatalf("nothing has changed: %v", err)
	}
	write(f.Cert, second.CertificatePEM(), time.Minute)
	if err := c.refresh(); err == nil || !serves(first) {
		t.Fatalf("half a pair: %v", err)
	}
	write(f.Key, keyOf(second), time.Minute)
	if err := c.refresh(); err != nil || !serves(second) {
		t.Fatalf("a new pair: %v", err)
	}
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		t.Fatal(err)
	}
}
