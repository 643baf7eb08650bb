package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxModules is how many modules a device may have: Azure's limit.
const maxModules = 50

// Module returns ErrNotFound for an unknown module, and for one of a device that
// was deleted.
func (r *Registry) Module(ctx context.Context, hub, device, module string) (*Device, error) {
	d, err := r.Device(ctx, hub, device)
	if err != nil {
		return nil, err
	}
	m, err := r.module(ctx, hub, device, module)
	if err == nil && m.Parent != d.GenerationID {
		err = fmt.Errorf("module %q of device %q: %w", module, device, ErrNotFound)
	}
	return m, err
}

// module returns a module's record, whatever became of its device.
func (r *Registry) module(ctx context.Context, hub, device, module string) (*Device, error) {
	if ValidateDeviceID(device) != nil || validateID("moduleId", module) != nil {
		return nil, fmt.Errorf("module %q of device %q: %w", module, device, ErrNotFound)
	}
	rec, err := r.store.Get(ctx, KindModule, Key{Hub: hub, ID: twinID(device, module)})
	if err != nil {
		return nil, fmt.Errorf("module %q of device %q: %w", module, device, err)
	}
	return decodeDevice(rec)
}

// Modules returns a device's modules, sorted by id.
func (r *Registry) Modules(ctx context.Context, hub, device string) ([]*Device, error) {
	d, err := r.Device(ctx, hub, device)
	if err != nil {
		return nil, err
	}
	every, err := all(ctx, r.store, KindModule, hub, decodeDevice)
	own := slices.DeleteFunc(every, func(m *Device) bool { return m.ID != device || m.Parent != d.GenerationID })
	slices.SortFunc(own, func(a, b *Device) int { return cmp.Compare(a.ModuleID, b.ModuleID) })
	return own, err
}

// CreateModule stores a new module of a device that exists. Credentials are as
// for CreateDevice.
func (r *Registry) CreateModule(ctx context.Context, m Device) (_ *Device, err error) {
	defer func() { r.audit(ctx, ModuleWrite, auditCreate, m.Hub, m.name(), nil, m.audited(), err) }()
	d, err := r.Device(ctx, m.Hub, m.ID)
	if err != nil {
		return nil, err
	}
	siblings, err := r.Modules(ctx, m.Hub, m.ID)
	if err != nil {
		return nil, err
	}
	if len(siblings) >= maxModules {
		return nil, invalid("moduleId", "device %q has %d modules, which is the limit", m.ID, len(siblings))
	}
	now := r.now().UTC()
	m.Status, m.Parent = Enabled, d.GenerationID
	m.GenerationID, m.Created, m.Updated = newGenerationID(now), now, now
	m.Auth.complete()
	if err := m.Validate(); err != nil {
		return nil, err
	}
	key := Key{Hub: m.Hub, ID: m.name()}
	// One that an earlier device of this id has left behind is in nobody's way.
	if old, err := r.module(ctx, m.Hub, m.ID, m.ModuleID); err == nil && old.Parent != d.GenerationID {
		if err := r.store.Delete(ctx, KindModule, key, old.Revision); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("module %q of device %q: %w", m.ModuleID, m.ID, err)
		}
	}
	revision, err := r.store.Create(ctx, KindModule, key, encode(&m))
	if err != nil {
		return nil, fmt.Errorf("module %q of device %q: %w", m.ModuleID, m.ID, err)
	}
	m.Revision = revision
	return &m, nil
}

// UpdateModule is UpdateDevice for a module.
func (r *Registry) UpdateModule(ctx context.Context, hub, device, module, ifMatch string, change func(*Device) error) (*Device, error) {
	m, audited, err := r.updateModule(ctx, hub, device, module, ifMatch, change)
	if err != nil {
		r.audit(ctx, ModuleWrite, auditUpdate, hub, twinID(device, module), nil, nil, err)
		return nil, err
	}
	r.audit(ctx, ModuleWrite, auditUpdate, hub, m.name(), audited, m.audited(), nil)
	return m, nil
}

func (r *Registry) updateModule(ctx context.Context, hub, device, module, ifMatch string, change func(*Device) error) (_ *Device, audited properties, _ error) {
	if _, err := r.Module(ctx, hub, device, module); err != nil {
		return nil, nil, err
	}
	m, err := update(ctx, r, ifMatch, KindModule, Key{Hub: hub, ID: twinID(device, module)}, decodeDevice, func(m *Device) error {
		before := *m
		audited = m.audited()
		if err := change(m); err != nil {
			return err
		}
		m.Hub, m.ID, m.ModuleID, m.GenerationID, m.Parent, m.Status = before.Hub, before.ID, before.ModuleID, before.GenerationID, before.Parent, Enabled
		m.Created, m.Updated = before.Created, r.now().UTC()
		m.Auth.complete()
		return m.Validate()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("module %q of device %q: %w", module, device, err)
	}
	return m, audited, nil
}

// DeleteModule removes a module.
func (r *Registry) DeleteModule(ctx context.Context, hub, device, module, ifMatch string) error {
	var rec Record
	_, err := r.Module(ctx, hub, device, module)
	if err == nil {
		if rec, err = r.remove(ctx, ifMatch, KindModule, Key{Hub: hub, ID: twinID(device, module)}); err != nil {
			err = fmt.Errorf("module %q of device %q: %w", module, device, err)
		}
	}
	if err != nil {
		r.audit(ctx, ModuleDelete, auditDelete, hub, twinID(device, module), nil, nil, err)
		return err
	}
	r.audit(ctx, ModuleDelete, auditDelete, hub, twinID(device, module), was(rec, decodeDevice), nil, nil)
	return r.forget(ctx, KindTwin, Key{Hub: hub, ID: twinID(device, module)})
}

// forgetDevice removes what belonged to a device that is gone. What stays behind
// when this is cut short is of a generation that never comes back.
func (r *Registry) forgetDevice(ctx context.Context, hub, device string) error {
	modules, err := all(ctx, r.store, KindModule, hub, decodeDevice)
	if err != nil {
		return err
	}
	errs := []error{r.forget(ctx, KindTwin, Key{Hub: hub, ID: device})}
	for _, m := range modules {
		if m.ID == device {
			key := Key{Hub: hub, ID: m.name()}
			errs = append(errs, r.forget(ctx, KindModule, key), r.forget(ctx, KindTwin, key))
		}
	}
	return errors.Join(errs...)
}

// forget removes a record, if it is there.
func (r *Registry) forget(ctx context.Context, kind Kind, key Key) error {
	if _, err := r.remove(ctx, "", kind, key); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete %s of %q: %w", kind, key.ID, err)
	}
	return nil
}

// deviceOf returns the device of a record's id.
func deviceOf(id string) string {
	device, _, _ := strings.Cut(id, "/")
	return device
}
