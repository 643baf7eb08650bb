package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"hubscope/query/api"
)

// loopback says whether only this machine can reach an address.
func loopback(addr net.Addr) bool {
	a, err := netip.ParseAddrPort(addr.String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// checkExposure refuses to serve on an address that others can reach without
// TLS and without knowing who they are.
func (q *querySettings) checkExposure(addr net.Addr, access *api.Access) error {
	if q.TLS.ClientCA != "" && q.TLS.Cert == "" {
		return errors.New("query.tls.client_ca needs query.tls.cert and query.tls.key")
	}
	if loopback(addr) {
		return nil
	}
	if q.TLS.Cert == "" && !q.Plaintext {
		return fmt.Errorf("query port: others can reach %s, so that the query service needs TLS there: set query.tls.cert and query.tls.key, "+
			"or query.plaintext: true if a proxy in front of it has TLS, or listen on 127.0.0.1:7070", addr)
	}
	tokens, certificates := access.Grants()
	switch {
	case tokens > 0, certificates > 0 && q.TLS.ClientCA != "":
		access.Require()
		return nil
	case q.Tokens == "":
		return fmt.Errorf("query port: others can reach %s, so that the query service needs to know who may ask: set query.tokens to a file, "+
			"and make a token with `hubscope token add NAME --file FILE`, or listen on 127.0.0.1:7070", addr)
	case certificates > 0:
		return fmt.Errorf("query port: others can reach %s, and %s has only client certificates: set query.tls.client_ca to the CA that issues them, "+
			"or make a token with `hubscope token add NAME --file %s`", addr, q.Tokens, q.Tokens)
	default:
		return fmt.Errorf("query port: others can reach %s, and nobody may ask yet: make a token with `hubscope token add NAME --file %s`, "+
			"or listen on 127.0.0.1:7070", addr, q.Tokens)
	}
}

// keyPair is the server's certificate, loaded again when its file changes.
type keyPair struct {
	cert, key string
	current   atomic.Pointer[tls.Certificate]
	changed   time.Time
}

func (k *keyPair) load() error {
	c, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return fmt.Errorf("query certificate: %w", err)
	}
	k.current.Store(&c)
	return nil
}

// modified is when the newer of the two files was written.
func (k *keyPair) modified() time.Time {
	var newest time.Time
	for _, path := range []string{k.cert, k.key} {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// watch loads the files again when they have changed, until ctx ends. While
// they do not fit together, the pair before them stays.
func (k *keyPair) watch(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		at := k.modified()
		if at.Equal(k.changed) && !failed {
			continue
		}
		err := k.load()
		switch {
		case err != nil && !at.Equal(k.changed):
			log.Error("certificate is as it was", "error", err)
		case err == nil:
			log.Info("certificate changed", "file", k.cert)
		}
		k.changed, failed = at, err != nil
	}
}

// serverTLS returns the TLS configuration of the query service, nil without one,
// and the host name to reach it by.
func (q *querySettings) serverTLS(g *group, log *slog.Logger) (*tls.Config, string, error) {
	if q.TLS.Cert == "" {
		return nil, "", nil
	}
	pair := &keyPair{cert: q.TLS.Cert, key: q.TLS.Key}
	pair.changed = pair.modified()
	if err := pair.load(); err != nil {
		return nil, "", err
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current.Load(), nil },
	}
	if q.TLS.ClientCA != "" {
		pem, err := os.ReadFile(q.TLS.ClientCA)
		if err != nil {
			return nil, "", fmt.Errorf("query.tls.client_ca: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("query.tls.client_ca: %s has no certificate", q.TLS.ClientCA)
		}
		// Given is enough: who has none may have a token.
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	g.start("query certificate", func(ctx context.Context) error { return pair.watch(ctx, log) })
	name := ""
	if leaf := pair.current.Load().Leaf; leaf != nil && len(leaf.DNSNames) > 0 {
		name = leaf.DNSNames[0]
	}
	return cfg, name, nil
}
