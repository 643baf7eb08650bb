package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config configures a Registry. The zero value is usable.
type Config struct {
	// Domain is what a hub's name is a part of when it is made without host
	// names; "localhost" when empty.
	Domain string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Audit is told of each change, once it is made or has failed; nobody when
	// nil. It should not take long: the caller waits for it.
	Audit func(context.Context, AuditEntry)
	// Actor makes the changes of a context that says nobody else; see WithActor.
	Actor Actor
}

// A Registry is the management side: every call reads or writes the store.
//
// Methods that change a record take the ETag that the caller has seen. An empty
// one or "*" means whatever is stored; otherwise ErrConflict is returned when
// the record has another by now.
type Registry struct {
	store  Store
	config Config
	domain string
	now    func() time.Time
}

// New returns a Registry over store.
func New(store Store, config Config) *Registry {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Registry{store: store, config: config, domain: cmp.Or(config.Domain, "localhost"), now: config.Now}
}

// Page asks for a part of a list.
type Page struct {
	// After is what the call for the page before returned as next; zero for the first.
	After uint64
	// Limit is 100 when zero, and at most 1000.
	Limit int
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, maxPage)
}

const (
	maxPage = 1000
	// maxTries bounds how often a change is applied anew because somebody else
	// was quicker; each of them has made progress then.
	maxTries = 100
)

// Hub returns ErrNotFound for an unknown name.
func (r *Registry) Hub(ctx context.Context, name string) (*Hub, error) {
	rec, err := r.store.Get(ctx, KindHub, Key{Hub: name})
	if err != nil {
		return nil, fmt.Errorf("hub %q: %w", name, err)
	}
	return decodeHub(rec)
}

// Hubs returns all hubs, sorted by name.
func (r *Registry) Hubs(ctx context.Context) ([]*Hub, error) {
	hubs, err := all(ctx, r.store, KindHub, "", decodeHub)
	slices.SortFunc(hubs, func(a, b *Hub) int { return cmp.Compare(a.Name, b.Name) })
	return hubs, err
}

// CreateHub stores a new hub. MinTLSVersion is TLS12 when empty, the host name
// is the hub's name below the registry's domain, and missing policies are the
// default ones. Names and host names are unique in any case.
func (r *Registry) CreateHub(ctx context.Context, h Hub) (_ *Hub, err error) {
	defer func() { r.audit(ctx, HubWrite, auditCreate, h.Name, h.Name, nil, h.audited(), err) }()
	h.MinTLSVersion = cmp.Or(h.MinTLSVersion, TLS12)
	if len(h.HostNames) == 0 {
		h.HostNames = []string{strings.ToLower(h.Name) + "." + r.domain}
	}
	if h.Policies == nil {
		h.Policies = DefaultPolicies()
	}
	h.Created = r.now().UTC()
	h.Updated = h.Created
	if err := h.Validate(); err != nil {
		return nil, err
	}
	if err := r.checkHostNames(ctx, &h); err != nil {
		return nil, err
	}
	// Before anything is removed: the hub that is there keeps its devices.
	if _, err := r.Hub(ctx, h.Name); !errors.Is(err, ErrNotFound) {
		return nil, cmp.Or(err, fmt.Errorf("hub %q: %w", h.Name, ErrExists))
	}
	// What a deletion that was cut short has left behind must not come to life.
	if err := r.deleteAll(ctx, h.Name); err != nil {
		return nil, err
	}
	revision, err := r.store.Create(ctx, KindHub, Key{Hub: h.Name}, encode(&h))
	if err != nil {
		return nil, fmt.Errorf("hub %q: %w", h.Name, err)
	}
	h.Revision = revision
	return &h, nil
}

func (r *Registry) checkHostNames(ctx context.Context, h *Hub) error {
	hubs, err := r.Hubs(ctx)
	if err != nil {
		return err
	}
	for _, other := range hubs {
		if other.Name == h.Name {
			continue
		}
		if strings.EqualFold(other.Name, h.Name) {
			return fmt.Errorf("hub %q: %w as %q", h.Name, ErrExists, other.Name)
		}
		for _, n := range h.HostNames {
			if other.Answers(n) {
				return invalid("hostNames", "%q is a host name of hub %q", n, other.Name)
			}
		}
	}
	return nil
}

// UpdateHub applies change to the stored hub and stores it; change may be called
// again when somebody else was quicker.
func (r *Registry) UpdateHub(ctx context.Context, name, ifMatch string, change func(*Hub) error) (*Hub, error) {
	var before properties
	h, err := update(ctx, r, ifMatch, KindHub, Key{Hub: name}, decodeHub, func(h *Hub) error {
		before = h.audited()
		if err := change(h); err != nil {
			return err
		}
		h.Name, h.Updated = name, r.now().UTC()
		if err := h.Validate(); err != nil {
			return err
		}
		return r.checkHostNames(ctx, h)
	})
	if err != nil {
		err = fmt.Errorf("hub %q: %w", name, err)
		r.audit(ctx, HubWrite, auditUpdate, name, name, nil, nil, err)
		return nil, err
	}
	r.audit(ctx, HubWrite, auditUpdate, name, name, before, h.audited(), nil)
	return h, nil
}

// DeleteHub removes a hub with its devices and CAs.
func (r *Registry) DeleteHub(ctx context.Context, name, ifMatch string) error {
	// The hub goes first: it stops serving at once, however many devices it has.
	rec, err := r.remove(ctx, ifMatch, KindHub, Key{Hub: name})
	if err != nil {
		err = fmt.Errorf("hub %q: %w", name, err)
		r.audit(ctx, HubDelete, auditDelete, name, name, nil, nil, err)
		return err
	}
	r.audit(ctx, HubDelete, auditDelete, name, name, was(rec, decodeHub), nil, nil)
	return r.deleteAll(ctx, name)
}

func (r *Registry) deleteAll(ctx context.Context, hub string) error {
	for _, kind := range kinds {
		if kind == KindHub {
			continue
		}
		for {
			page, err := r.store.List(ctx, kind, hub, 0, maxPage)
			if err != nil {
				return fmt.Errorf("delete %s of hub %q: %w", kind, hub, err)
			}
			if len(page) == 0 {
				break
			}
			for _, rec := range page {
				err := r.store.Delete(ctx, kind, rec.Key, rec.Revision)
				if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
					return fmt.Errorf("delete %s of hub %q: %w", kind, hub, err)
				}
			}
		}
	}
	return nil
}

// Device returns ErrNotFound for an unknown device.
func (r *Registry) Device(ctx context.Context, hub, id string) (*Device, error) {
	if ValidateDeviceID(id) != nil {
		return nil, fmt.Errorf("device %q: %w", id, ErrNotFound)
	}
	rec, err := r.store.Get(ctx, KindDevice, Key{Hub: hub, ID: id})
	if err != nil {
		return nil, fmt.Errorf("device %q: %w", id, err)
	}
	return decodeDevice(rec)
}

// Devices returns a page of a hub's devices; next is zero behind the last one.
func (r *Registry) Devices(ctx context.Context, hub string, page Page) (devices []*Device, next uint64, err error) {
	records, err := r.store.List(ctx, KindDevice, hub, page.After, page.limit())
	if err != nil {
		return nil, 0, fmt.Errorf("devices of hub %q: %w", hub, err)
	}
	for _, rec := range records {
		d, err := decodeDevice(rec)
		if err != nil {
			return nil, 0, err
		}
		devices = append(devices, d)
	}
	if len(records) == page.limit() {
		next = records[len(records)-1].Revision
	}
	return devices, next, nil
}

// CreateDevice stores a new device. Its hub must exist. Status is enabled and
// the type is AuthSAS when empty; missing keys of a SAS device are generated.
func (r *Registry) CreateDevice(ctx context.Context, d Device) (_ *Device, err error) {
	defer func() { r.audit(ctx, DeviceWrite, auditCreate, d.Hub, d.ID, nil, d.audited(), err) }()
	if _, err := r.Hub(ctx, d.Hub); err != nil {
		return nil, err
	}
	now := r.now().UTC()
	d.Status = cmp.Or(d.Status, Enabled)
	d.GenerationID, d.Created, d.Updated, d.StatusUpdate = newGenerationID(now), now, now, now
	d.Auth.complete()
	if err := d.Validate(); err != nil {
		return nil, err
	}
	revision, err := r.store.Create(ctx, KindDevice, Key{Hub: d.Hub, ID: d.ID}, encode(&d))
	if err != nil {
		return nil, fmt.Errorf("device %q: %w", d.ID, err)
	}
	d.Revision = revision
	return &d, nil
}

// UpdateDevice applies change to the stored device and stores it; change may be
// called again when somebody else was quicker. Id, hub and generation stay.
func (r *Registry) UpdateDevice(ctx context.Context, hub, id, ifMatch string, change func(*Device) error) (*Device, error) {
	if ValidateDeviceID(id) != nil {
		return nil, fmt.Errorf("device %q: %w", id, ErrNotFound)
	}
	var audited properties
	d, err := update(ctx, r, ifMatch, KindDevice, Key{Hub: hub, ID: id}, decodeDevice, func(d *Device) error {
		before := *d
		audited = d.audited()
		if err := change(d); err != nil {
			return err
		}
		d.Hub, d.ID, d.GenerationID, d.Created, d.Updated = before.Hub, before.ID, before.GenerationID, before.Created, r.now().UTC()
		if d.Status != before.Status {
			d.StatusUpdate = d.Updated
		}
		d.Auth.complete()
		return d.Validate()
	})
	if err != nil {
		err = fmt.Errorf("device %q: %w", id, err)
		r.audit(ctx, DeviceWrite, auditUpdate, hub, id, nil, nil, err)
		return nil, err
	}
	r.audit(ctx, DeviceWrite, auditUpdate, hub, id, audited, d.audited(), nil)
	return d, nil
}

// DeleteDevice removes a device with its modules and twins.
func (r *Registry) DeleteDevice(ctx context.Context, hub, id, ifMatch string) error {
	if ValidateDeviceID(id) != nil {
		return fmt.Errorf("device %q: %w", id, ErrNotFound)
	}
	rec, err := r.remove(ctx, ifMatch, KindDevice, Key{Hub: hub, ID: id})
	if err != nil {
		err = fmt.Errorf("device %q: %w", id, err)
		r.audit(ctx, DeviceDelete, auditDelete, hub, id, nil, nil, err)
		return err
	}
	r.audit(ctx, DeviceDelete, auditDelete, hub, id, was(rec, decodeDevice), nil, nil)
	return r.forgetDevice(ctx, hub, id)
}

// Statistics are the numbers of a hub's devices.
type Statistics struct{ Total, Enabled, Disabled int64 }

// Statistics counts a hub's devices. It reads all of them.
func (r *Registry) Statistics(ctx context.Context, hub string) (Statistics, error) {
	var s Statistics
	for page := (Page{Limit: maxPage}); ; {
		devices, next, err := r.Devices(ctx, hub, page)
		if err != nil {
			return Statistics{}, err
		}
		for _, d := range devices {
			s.Total++
			if d.Status == Enabled {
				s.Enabled++
			} else {
				s.Disabled++
			}
		}
		if next == 0 {
			return s, nil
		}
		page.After = next
	}
}

// CA returns ErrNotFound for an unknown CA.
func (r *Registry) CA(ctx context.Context, hub, name string) (*CA, error) {
	if validateCAName(name) != nil {
		return nil, fmt.Errorf("CA %q: %w", name, ErrNotFound)
	}
	rec, err := r.store.Get(ctx, KindCA, Key{Hub: hub, ID: name})
	if err != nil {
		return nil, fmt.Errorf("CA %q: %w", name, err)
	}
	return decodeCA(rec)
}

// CAs returns a hub's CAs, sorted by name.
func (r *Registry) CAs(ctx context.Context, hub string) ([]*CA, error) {
	cas, err := all(ctx, r.store, KindCA, hub, decodeCA)
	slices.SortFunc(cas, func(a, b *CA) int { return cmp.Compare(a.Name, b.Name) })
	return cas, err
}

// all reads every record of a kind.
func all[T any](ctx context.Context, store Store, kind Kind, hub string, decode func(Record) (*T, error)) ([]*T, error) {
	byKey := map[Key]*T{} // a record that changes meanwhile is seen again
	for after := uint64(0); ; {
		page, err := store.List(ctx, kind, hub, after, maxPage)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind, err)
		}
		for _, rec := range page {
			v, err := decode(rec)
			if err != nil {
				return nil, err
			}
			byKey[rec.Key], after = v, rec.Revision
		}
		if len(page) < maxPage {
			break
		}
	}
	list := make([]*T, 0, len(byKey))
	for _, v := range byKey {
		list = append(list, v)
	}
	return list, nil
}

// update reads, changes and writes a record, anew when somebody else was quicker.
func update[T any](ctx context.Context, r *Registry, ifMatch string, kind Kind, key Key, decode func(Record) (*T, error), change func(*T) error) (*T, error) {
	for range maxTries {
		rec, err := r.store.Get(ctx, kind, key)
		if err != nil {
			return nil, err
		}
		if !matches(ifMatch, rec.Revision) {
			return nil, ErrConflict
		}
		v, err := decode(rec)
		if err != nil {
			return nil, err
		}
		if err := change(v); err != nil {
			return nil, err
		}
		rec.Value = encode(v)
		rec.Revision, err = r.store.Update(ctx, kind, key, rec.Value, rec.Revision)
		if err == nil {
			return decode(rec)
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, ErrConflict
}

// remove deletes a record, and returns what it was.
func (r *Registry) remove(ctx context.Context, ifMatch string, kind Kind, key Key) (Record, error) {
	for range maxTries {
		rec, err := r.store.Get(ctx, kind, key)
		if err != nil {
			return Record{}, err
		}
		if !matches(ifMatch, rec.Revision) {
			return Record{}, ErrConflict
		}
		if err := r.store.Delete(ctx, kind, key, rec.Revision); !errors.Is(err, ErrConflict) {
			return rec, err
		}
	}
	return Record{}, ErrConflict
}

// matches judges an If-Match: absent, any, or the record's ETag with or without quotes.
func matches(ifMatch string, revision uint64) bool {
	tag := strings.Trim(strings.TrimPrefix(strings.TrimSpace(ifMatch), "W/"), `"`)
	return tag == "" || tag == "*" || tag == etag(revision)
}

// complete fills what the caller may leave out, and brings the rest into the
// form that is stored.
func (a *Authentication) complete() {
	switch a.Type = cmp.Or(a.Type, AuthSAS); a.Type {
	case AuthSAS:
		if a.PrimaryKey == "" {
			a.PrimaryKey = GenerateKey()
		}
		if a.SecondaryKey == "" {
			a.SecondaryKey = GenerateKey()
		}
	case AuthThumbprint:
		for _, t := range []*string{&a.PrimaryThumbprint, &a.SecondaryThumbprint} {
			if n, err := NormalizeThumbprint(*t); err == nil {
				*t = n
			}
		}
	}
}

func encode(v any) []byte {
	if crl, ok := v.(*CRL); ok {
		return crl.DER
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types always marshal
	}
	return b
}

func decodeHub(rec Record) (*Hub, error) {
	h := &Hub{Revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, h); err != nil {
		return nil, fmt.Errorf("stored hub %q: %w", rec.Key.Hub, err)
	}
	return h, nil
}

func decodeDevice(rec Record) (*Device, error) {
	d := &Device{Hub: rec.Key.Hub, Revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, d); err != nil {
		return nil, fmt.Errorf("stored device %q: %w", rec.Key.ID, err)
	}
	return d, nil
}
