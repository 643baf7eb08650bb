package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"hubscope/hub/ca"
	"hubscope/hub/handshake"
	"hubscope/hub/registry"
)

// serverCertificates are what the hub's listeners serve: those of the files that
// the configuration names, or of our own root under the data folder. They follow
// the files, the names of the hubs and the calendar; new connections get the new
// ones, and a hub needs no restart.
type serverCertificates struct {
	files   []certificateFiles // none: our own
	folder  string             // of our own
	names   []string           // of our own, beside the hubs'
	cache   *registry.Cache
	log     *slog.Logger
	current atomic.Pointer[handshake.Certificates]

	// Of Run.
	served []string    // the names of our own
	stamps []fileStamp // of the files when they were loaded
	due    time.Time
	failed string // the last error that was logged
}

// Intervals at which certificates are looked at. Files are replaced by other
// programs, which tell nobody; our own end after a year.
const (
	fileInterval = 5 * time.Second
	ownInterval  = time.Hour
)

// fileStamp tells a file from another one in its place.
type fileStamp struct {
	modified time.Time
	size     int64
}

// newServerCertificates loads the certificates, or makes them. root is the file
// with the root of our own; empty with the user's.
func newServerCertificates(s *Settings, cache *registry.Cache, data string, log *slog.Logger) (c *serverCertificates, root string, err error) {
	c = &serverCertificates{files: s.Hub.Certificates, folder: filepath.Join(data, "tls"), names: s.Hub.HostNames, cache: cache, log: log}
	if len(c.files) > 0 {
		return c, "", c.loadFiles()
	}
	root, err = c.issue()
	return c, root, err
}

// loadFiles loads the user's certificates.
func (c *serverCertificates) loadFiles() error {
	stamps := c.stamp()
	var chains []tls.Certificate
	for _, f := range c.files {
		chain, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return fmt.Errorf("server certificate: %w", err)
		}
		chains = append(chains, chain)
	}
	certs, err := handshake.NewCertificates(chains...)
	if err != nil {
		return err
	}
	c.current.Store(certs)
	c.stamps = stamps
	return nil
}

func (c *serverCertificates) stamp() []fileStamp {
	var stamps []fileStamp
	for _, f := range c.files {
		for _, name := range []string{f.Cert, f.Key} {
			var stamp fileStamp
			if info, err := os.Stat(name); err == nil {
				stamp = fileStamp{info.ModTime(), info.Size()}
			}
			stamps = append(stamps, stamp)
		}
	}
	return stamps
}

// hubNames are all names under which clients know the hubs.
func (c *serverCertificates) hubNames() []string {
	names := slices.Clone(c.names)
	for _, h := range c.cache.Hubs() {
		names = append(names, h.HostNames...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// issue makes our own certificates good for now and for the names of the hubs.
func (c *serverCertificates) issue() (root string, err error) {
	names := c.hubNames()
	own, err := ca.ServerFolder{Dir: c.folder, Names: names}.Open()
	if err != nil {
		return "", err
	}
	certs, err := handshake.NewCertificates(own.RSA, own.ECDSA)
	if err != nil {
		return "", err
	}
	c.current.Store(certs)
	c.served, c.due = names, time.Now().Add(ownInterval)
	return own.RootFile, nil
}

// Run follows files, or hubs, until ctx ends. What cannot be loaded leaves the
// certificates that there are.
func (c *serverCertificates) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	defer c.cache.Subscribe(func(change registry.Change) {
		if change.Kind == registry.KindHub || change.Kind == "" {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})()
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	for {
		if err := c.refresh(); err == nil {
			c.failed = ""
		} else if text := err.Error(); text != c.failed { // a pair is replaced one file after the other
			c.failed = text
			c.log.Warn("server certificates stay as they are", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// refresh loads or makes the certificates anew if they are not what they should be.
func (c *serverCertificates) refresh() error {
	if len(c.files) > 0 {
		if slices.Equal(c.stamp(), c.stamps) {
			return nil
		}
		if err := c.loadFiles(); err != nil {
			return err
		}
		c.log.Info("server certificates loaded anew")
		return nil
	}
	if slices.Equal(c.hubNames(), c.served) && time.Now().Before(c.due) {
		return nil
	}
	_, err := c.issue()
	return err
}
