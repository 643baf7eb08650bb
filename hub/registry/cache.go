package registry

import (
	"context"
	"log/slog"
)

// CacheConfig configures a Cache. The zero value is usable.
type CacheConfig struct {
	// Devices is the number of devices kept in memory; 20,000 when zero.
	Devices int
	// Logger gets degraded states; slog.Default() when nil.
	Logger *slog.Logger
}

// A Cache answers a hub's questions at connect time. Hubs, CAs and revocation
// lists are all in memory; of the devices only those used lately are. It
// follows the store, so that what it says is at most some milliseconds old.
type Cache struct {
	registry *Registry
	config   CacheConfig
	ready    chan struct{}
}

// NewCache returns a Cache of registry that answers once Run has loaded it.
func NewCache(registry *Registry, config CacheConfig) *Cache {
	return &Cache{registry: registry, config: config, ready: make(chan struct{})}
}

// Run loads the registry and follows it until ctx ends; then it returns nil.
func (c *Cache) Run(ctx context.Context) error { panic("soon") }

// Ready is closed when the cache has loaded.
func (c *Cache) Ready() <-chan struct{} { return c.ready }

// Hub returns the hub of that name. The result is shared: do not change it.
func (c *Cache) Hub(name string) (*Hub, bool) { panic("soon") }

// HubFor returns the hub that answers to a host name (TLS server name, or the
// host of a user name or token). The result is shared: do not change it.
func (c *Cache) HubFor(host string) (*Hub, bool) { panic("soon") }

// Hubs returns all hubs, sorted by name. They are shared: do not change them.
func (c *Cache) Hubs() []*Hub { panic("soon") }

// Device returns ErrNotFound for an unknown device. The result is shared: do
// not change it.
func (c *Cache) Device(ctx context.Context, hub, id string) (*Device, error) { panic("soon") }

// A Change says that a record is not what it was. It concerns the sessions of
// one device (DeviceID set), of every device of a hub (only Hub set), or of
// every device (neither set: after a gap in the watch).
type Change struct {
	Kind     Kind // of the record; empty after a gap
	Hub      string
	DeviceID string
}

// Subscribe calls f for every change, one at a time and in order, after the
// cache itself has taken it in: Recheck already judges by the new state. f must
// not block for long. The returned function ends the subscription and waits for
// a call under way.
func (c *Cache) Subscribe(f func(Change)) (stop func()) { panic("soon") }

// Authenticate judges an attempt to connect. On success the refusal is nil.
func (c *Cache) Authenticate(ctx context.Context, a Attempt) (*Identity, *Refusal) { panic("soon") }

// Recheck tells whether a session that Authenticate let in may go on. It judges
// by what has been used to authenticate: a device that is gone, disabled or was
// created anew, a key or thumbprint that was taken away, a CA that is gone or
// not verified any more, and a certificate on a revocation list end the session.
// The passing of time does not: see Identity.Expires.
func (c *Cache) Recheck(ctx context.Context, id *Identity) *Refusal { panic("soon") }
