package registry

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CacheConfig configures a Cache. The zero value is usable.
type CacheConfig struct {
	// Devices is the number of devices kept in memory; 20,000 when zero.
	Devices int
	// Count makes Statistics answer at once, for some 40 bytes a device.
	Count bool
	// Logger gets degraded states; slog.Default() when nil.
	Logger *slog.Logger
}

// reloadRetry is the pause before a registry that could not be read is read again.
const reloadRetry = time.Second

// A Cache answers a hub's questions at connect time. Hubs, CAs and revocation
// lists are all in memory; of the devices only those used lately are. It
// follows the store, so that what it says is at most some milliseconds old.
type Cache struct {
	registry *Registry
	log      *slog.Logger
	ready    chan struct{}
	state    atomic.Pointer[state]
	devices  *deviceCache
	census   *census // nil when nobody asked for it
	self     processID

	mu          sync.Mutex // held while subscribers are called
	subscribers []*subscriber
}

type subscriber struct{ f func(Change) }

// state is what is wholly in memory. It is replaced, not changed.
type state struct {
	hubs   map[string]*Hub
	byHost map[string]*Hub // by lower-case host name
	cas    map[string]map[string]*CA
	crls   map[string]map[string]*CRL
	trust  map[string]*trust
	// seen are the revisions of what was loaded or taken in, deletions included:
	// an older event that comes late changes nothing.
	seen map[Kind]map[Key]uint64
}

// NewCache returns a Cache of registry that answers once Run has loaded it.
func NewCache(registry *Registry, config CacheConfig) *Cache {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	c := &Cache{
		registry: registry, log: config.Logger, ready: make(chan struct{}),
		devices: newDeviceCache(cmp.Or(config.Devices, 20_000)), self: newProcessID(),
	}
	c.state.Store(&state{})
	if config.Count {
		c.census = &census{seed: maphash.MakeSeed()}
	}
	return c
}

// Run loads the registry and follows it until ctx ends; then it returns nil. It
// is called once.
func (c *Cache) Run(ctx context.Context) error {
	var counting sync.WaitGroup
	stop := func() {}
	defer func() {
		stop()
		counting.Wait()
	}()
	for ctx.Err() == nil {
		events, err := c.registry.store.Watch(ctx)
		if err != nil {
			c.degraded(ctx, err)
			continue
		}
		for e := range events {
			if !e.Sync {
				c.take(e.Record)
				continue
			}
			for {
				err := c.load(ctx)
				if err == nil || ctx.Err() != nil {
					break
				}
				c.degraded(ctx, err)
			}
			if c.census == nil {
				continue
			}
			// Beside us: a million devices take a while.
			stop()
			counting.Wait()
			recount, cancel := context.WithCancel(ctx)
			stop = cancel
			counting.Go(func() { c.recount(recount) })
		}
	}
	return nil
}

func (c *Cache) recount(ctx context.Context) {
	for {
		err := c.census.run(ctx, c.registry.store)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.degraded(ctx, err)
	}
}

// Statistics counts a hub's devices, without reading them when CacheConfig.Count
// is set and the first count is complete.
func (c *Cache) Statistics(ctx context.Context, hub string) (Statistics, error) {
	if s, ok := c.Counted(hub); ok {
		return s, nil
	}
	return c.registry.Statistics(ctx, hub)
}

// Counted is Statistics without reading the devices: false when they are not
// counted, or not yet.
func (c *Cache) Counted(hub string) (Statistics, bool) {
	if c.census == nil {
		return Statistics{}, false
	}
	return c.census.statistics(hub)
}

func (c *Cache) degraded(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	c.log.Warn("registry is not reachable", "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(reloadRetry):
	}
}

// load reads all but the devices anew. Events that come later are applied on top.
func (c *Cache) load(ctx context.Context) error {
	hubs, err := c.registry.Hubs(ctx)
	if err != nil {
		return err
	}
	cas, err := all(ctx, c.registry.store, KindCA, "", decodeCA)
	if err != nil {
		return err
	}
	crls, err := all(ctx, c.registry.store, KindCRL, "", decodeCRL)
	if err != nil {
		return err
	}
	s := &state{
		hubs: map[string]*Hub{}, cas: map[string]map[string]*CA{}, crls: map[string]map[string]*CRL{},
		trust: map[string]*trust{}, seen: map[Kind]map[Key]uint64{KindHub: {}, KindCA: {}, KindCRL: {}},
	}
	for _, h := range hubs {
		s.hubs[h.Name] = h
		s.seen[KindHub][Key{Hub: h.Name}] = h.Revision
	}
	for _, ca := range cas {
		put(s.cas, ca.Hub, ca.Name, ca)
		s.seen[KindCA][Key{Hub: ca.Hub, ID: ca.Name}] = ca.Revision
	}
	for _, crl := range crls {
		put(s.crls, crl.Hub, crl.CA, crl)
		s.seen[KindCRL][Key{Hub: crl.Hub, ID: crl.CA}] = crl.Revision
	}
	for hub := range s.cas {
		s.trust[hub] = newTrust(s.cas[hub], s.crls[hub])
	}
	s.index()
	c.state.Store(s)
	c.devices.clear()
	select {
	case <-c.ready:
		c.notify(Change{})
	default:
		close(c.ready)
	}
	return nil
}

func put[V any](m map[string]map[string]V, hub, name string, v V) {
	if m[hub] == nil {
		m[hub] = map[string]V{}
	}
	m[hub][name] = v
}

func (s *state) index() {
	s.byHost = map[string]*Hub{}
	for _, h := range s.hubs {
		for _, n := range h.HostNames {
			s.byHost[strings.ToLower(n)] = h
		}
	}
}

// take applies a change of the store and tells the subscribers.
func (c *Cache) take(rec Record) {
	if rec.Kind == KindTwin {
		return // read when asked for; who is connected is told by a notice
	}
	if rec.Kind == KindDevice || rec.Kind == KindModule {
		d, err := decodeDevice(rec)
		if rec.Deleted {
			d, err = nil, nil
		}
		if err != nil {
			// Not readable is not trusted: the device counts as gone.
			c.log.Error("registry has a broken record", "kind", string(rec.Kind), "error", err)
			d = nil
		}
		if c.census != nil && rec.Kind == KindDevice {
			c.census.take(rec)
		}
		if c.devices.put(rec.Key, d, rec.Revision) {
			c.notify(Change{Kind: rec.Kind, Hub: rec.Key.Hub, DeviceID: deviceOf(rec.Key.ID)})
		}
		return
	}
	old := c.state.Load()
	if old.seen[rec.Kind] == nil || old.seen[rec.Kind][rec.Key] >= rec.Revision {
		return
	}
	s := *old
	s.seen = maps.Clone(old.seen)
	s.seen[rec.Kind] = maps.Clone(old.seen[rec.Kind])
	s.seen[rec.Kind][rec.Key] = rec.Revision
	hub, name := rec.Key.Hub, rec.Key.ID
	var err error
	switch rec.Kind {
	case KindHub:
		s.hubs = maps.Clone(old.hubs)
		delete(s.hubs, hub)
		if !rec.Deleted {
			var h *Hub
			if h, err = decodeHub(rec); err == nil {
				s.hubs[hub] = h
			}
		}
		s.index()
	case KindCA:
		s.cas = maps.Clone(old.cas)
		s.cas[hub] = without(old.cas[hub], name)
		if !rec.Deleted {
			var ca *CA
			if ca, err = decodeCA(rec); err == nil {
				s.cas[hub][name] = ca
			}
		}
	case KindCRL:
		var crl *CRL
		if !rec.Deleted {
			// A list that cannot be read leaves the one before in force.
			if crl, err = decodeCRL(rec); err != nil {
				crl = old.crls[hub][name]
			}
		}
		s.crls = maps.Clone(old.crls)
		s.crls[hub] = without(old.crls[hub], name)
		if crl != nil {
			s.crls[hub][name] = crl
		}
	}
	if err != nil {
		c.log.Error("registry has a broken record", "kind", string(rec.Kind), "error", err)
	}
	if rec.Kind != KindHub {
		s.trust = maps.Clone(old.trust)
		s.trust[hub] = newTrust(s.cas[hub], s.crls[hub])
	}
	c.state.Store(&s)
	c.notify(Change{Kind: rec.Kind, Hub: hub})
}

func without[V any](m map[string]V, key string) map[string]V {
	n := make(map[string]V, len(m)+1)
	for k, v := range m {
		if k != key {
			n[k] = v
		}
	}
	return n
}

// Ready is closed when the cache has loaded.
func (c *Cache) Ready() <-chan struct{} { return c.ready }

// Hub returns the hub of that name. The result is shared: do not change it.
func (c *Cache) Hub(name string) (*Hub, bool) {
	h, ok := c.state.Load().hubs[name]
	return h, ok
}

// HubFor returns the hub that answers to a host name (TLS server name, or the
// host of a user name or token). The result is shared: do not change it.
func (c *Cache) HubFor(host string) (*Hub, bool) {
	h, ok := c.state.Load().byHost[strings.ToLower(bareHost(host))]
	return h, ok
}

// Hubs returns all hubs, sorted by name. They are shared: do not change them.
func (c *Cache) Hubs() []*Hub {
	return slices.SortedFunc(maps.Values(c.state.Load().hubs), func(a, b *Hub) int { return cmp.Compare(a.Name, b.Name) })
}

// Device returns ErrNotFound for an unknown device. The result is shared: do
// not change it.
func (c *Cache) Device(ctx context.Context, hub, id string) (*Device, error) {
	return c.identity(Key{Hub: hub, ID: id}, func() (*Device, error) { return c.registry.Device(ctx, hub, id) })
}

// module returns the record of a module; ErrNotFound when there is none, and
// without a word when none is asked for.
func (c *Cache) module(ctx context.Context, hub, device, module string) (*Device, error) {
	if module == "" {
		return nil, nil
	}
	return c.identity(Key{Hub: hub, ID: twinID(device, module)}, func() (*Device, error) { return c.registry.module(ctx, hub, device, module) })
}

func (c *Cache) identity(key Key, read func() (*Device, error)) (*Device, error) {
	for {
		if d, ok := c.devices.get(key); ok {
			if d == nil {
				return nil, ErrNotFound
			}
			return d, nil
		}
		d, err := read()
		if err != nil {
			return nil, err
		}
		if c.devices.put(key, d, d.Revision) {
			return d, nil
		}
		// The watch was quicker, and knows better.
	}
}

// Registry returns the registry that the cache follows.
func (c *Cache) Registry() *Registry { return c.registry }

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
// not block for long, nor call Subscribe or stop. The returned function ends the
// subscription and waits for a call under way.
func (c *Cache) Subscribe(f func(Change)) (stop func()) {
	s := &subscriber{f}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribers = append(c.subscribers, s)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.subscribers = slices.DeleteFunc(slices.Clone(c.subscribers), func(o *subscriber) bool { return o == s })
	}
}

func (c *Cache) notify(change Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subscribers {
		s.f(change)
	}
}

// Authenticate judges an attempt to connect. On success the refusal is nil.
func (c *Cache) Authenticate(ctx context.Context, a Attempt) (*Identity, *Refusal) {
	s := c.state.Load()
	device, err := c.Device(ctx, a.Hub, a.DeviceID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, c.unreachable(err, a.attempted(nil))
	}
	module, err := c.module(ctx, a.Hub, a.DeviceID, a.ModuleID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, c.unreachable(err, a.attempted(nil))
	}
	return judge(s.hubs[a.Hub], s.trustOf(a.Hub), device, module, a, c.registry.now())
}

// Recheck tells whether a session that Authenticate let in may go on. It judges
// by what has been used to authenticate: a device that is gone, disabled or was
// created anew, a key or thumbprint that was taken away, a CA that is gone or
// not verified any more, and a certificate on a revocation list end the session.
// The passing of time does not: see Identity.Expires. While the registry cannot
// be asked sessions go on.
func (c *Cache) Recheck(ctx context.Context, id *Identity) *Refusal {
	s := c.state.Load()
	device, err := c.Device(ctx, id.Hub, id.DeviceID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.log.Warn("registry is not reachable", "error", err)
		return nil
	}
	module, err := c.module(ctx, id.Hub, id.DeviceID, id.ModuleID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.log.Warn("registry is not reachable", "error", err)
		return nil
	}
	return recheck(s.hubs[id.Hub], s.trustOf(id.Hub), device, module, id)
}

func (s *state) trustOf(hub string) *trust {
	if t := s.trust[hub]; t != nil {
		return t
	}
	return newTrust(nil, nil)
}

func (c *Cache) unreachable(err error, auth AuthType) *Refusal {
	c.log.Warn("registry is not reachable", "error", err)
	return refuse(codeServerError, auth, "the registry could not be asked")
}

// A deviceCache keeps the devices used last. Changes seen by the watch are put
// in as well, deletions included, and an older revision never replaces a newer
// one: so a read that was under way during a change cannot bring back what was.
type deviceCache struct {
	mu      sync.Mutex
	max     int
	entries map[Key]*list.Element // of *deviceEntry
	order   *list.List            // the one used last in front
}

type deviceEntry struct {
	key      Key
	device   *Device // nil: deleted
	revision uint64
}

func newDeviceCache(n int) *deviceCache {
	return &deviceCache{max: n, entries: map[Key]*list.Element{}, order: list.New()}
}

func (c *deviceCache) get(key Key) (*Device, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*deviceEntry).device, true
}

// put reports whether the entry is now of that revision.
func (c *deviceCache) put(key Key, d *Device, revision uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		entry := e.Value.(*deviceEntry)
		if entry.revision > revision {
			return false
		}
		entry.device, entry.revision = d, revision
		c.order.MoveToFront(e)
		return true
	}
	c.entries[key] = c.order.PushFront(&deviceEntry{key, d, revision})
	if c.order.Len() > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.entries, last.Value.(*deviceEntry).key)
	}
	return true
}

func (c *deviceCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.order.Init()
}
