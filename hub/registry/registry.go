package registry

import (
	"context"
	"time"
)

// Config configures a Registry. The zero value is usable.
type Config struct {
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Registry is the management side: every call reads or writes the store.
//
// Methods that change a record take the ETag that the caller has seen. An empty
// one or "*" means whatever is stored; otherwise ErrConflict is returned when
// the record has another by now.
type Registry struct {
	store Store
	now   func() time.Time
}

// New returns a Registry over store.
func New(store Store, config Config) *Registry {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Registry{store: store, now: config.Now}
}

// Page asks for a part of a list.
type Page struct {
	// After is Next of the page before; zero for the first.
	After uint64
	// Limit is 100 when zero, and at most 1000.
	Limit int
}

// Hub returns ErrNotFound for an unknown name.
func (r *Registry) Hub(ctx context.Context, name string) (*Hub, error) { panic("soon") }

// Hubs returns all hubs, sorted by name.
func (r *Registry) Hubs(ctx context.Context) ([]*Hub, error) { panic("soon") }

// CreateHub stores a new hub. MinTLSVersion is TLS12 and HostNames is
// Name when empty, and missing policies are the default ones.
func (r *Registry) CreateHub(ctx context.Context, h Hub) (*Hub, error) { panic("soon") }

// UpdateHub applies change to the stored hub and stores it; change may be called
// again when somebody else was quicker.
func (r *Registry) UpdateHub(ctx context.Context, name, ifMatch string, change func(*Hub) error) (*Hub, error) {
	panic("soon")
}

// DeleteHub removes a hub with its devices and CAs.
func (r *Registry) DeleteHub(ctx context.Context, name, ifMatch string) error { panic("soon") }

// Device returns ErrNotFound for an unknown device.
func (r *Registry) Device(ctx context.Context, hub, id string) (*Device, error) { panic("soon") }

// Devices returns a page of a hub's devices; next is zero behind the last one.
func (r *Registry) Devices(ctx context.Context, hub string, page Page) (devices []*Device, next uint64, err error) {
	panic("soon")
}

// CreateDevice stores a new device. Its hub must exist. Status is enabled when
// empty, and missing keys of a SAS device are generated.
func (r *Registry) CreateDevice(ctx context.Context, d Device) (*Device, error) { panic("soon") }

// UpdateDevice applies change to the stored device and stores it; change may be
// called again when somebody else was quicker.
func (r *Registry) UpdateDevice(ctx context.Context, hub, id, ifMatch string, change func(*Device) error) (*Device, error) {
	panic("soon")
}

// DeleteDevice removes a device.
func (r *Registry) DeleteDevice(ctx context.Context, hub, id, ifMatch string) error { panic("soon") }

// Statistics counts a hub's devices.
func (r *Registry) Statistics(ctx context.Context, hub string) (Statistics, error) { panic("soon") }

// Statistics are the numbers of a hub's devices.
type Statistics struct{ Total, Enabled, Disabled int64 }

// CA returns ErrNotFound for an unknown CA.
func (r *Registry) CA(ctx context.Context, hub, name string) (*CA, error) { panic("soon") }

// CAs returns a hub's CAs, sorted by name.
func (r *Registry) CAs(ctx context.Context, hub string) ([]*CA, error) { panic("soon") }

// CreateCA stores a CA certificate, given as PEM, DER, or base64 of either.
// verified skips the proof of possession: the caller vouches for the CA.
func (r *Registry) CreateCA(ctx context.Context, hub, name string, certificate []byte, verified bool) (*CA, error) {
	panic("soon")
}

// GenerateVerificationCode gives the CA a fresh code, and voids the one before.
func (r *Registry) GenerateVerificationCode(ctx context.Context, hub, name, ifMatch string) (*CA, error) {
	panic("soon")
}

// VerifyCA takes the proof of possession: a certificate signed by the CA whose
// common name is the verification code.
func (r *Registry) VerifyCA(ctx context.Context, hub, name, ifMatch string, proof []byte) (*CA, error) {
	panic("soon")
}

// DeleteCA removes a CA and its revocation list: its devices can no longer connect.
func (r *Registry) DeleteCA(ctx context.Context, hub, name, ifMatch string) error { panic("soon") }

// SetCRL stores the revocation list of a CA, given as PEM or DER. It must be
// signed by the CA, and not be older than the stored one.
func (r *Registry) SetCRL(ctx context.Context, hub, ca string, list []byte) (*CRL, error) {
	panic("soon")
}

// CRL returns ErrNotFound when the CA has none.
func (r *Registry) CRL(ctx context.Context, hub, ca string) (*CRL, error) { panic("soon") }
