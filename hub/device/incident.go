package device

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"hubscope/hub/registry"
)

// Incidents: what happens in a plant beside devices that come and go. Each is
// seen by the hub, as events, or by its registry, as changes.

const (
	// outageSite is the site that loses its uplink now and then.
	outageSite = 5
	// scanEvery and outageEvery are in paces.
	scanEvery   = 60
	outageEvery = 90
	// scanProbes is more than a hub describes one by one.
	scanProbes = 120
)

// incidents lets happen, one pace after the other once all devices have
// connected: a port scan; the operator disables a device; a device joins, which
// speaks TLS 1.0 only; the operator raises minTlsVersion of the third hub; a
// site loses its uplink; the device is enabled again. Scan and outage come again.
func (f *Fleet) incidents(ctx context.Context, members []*member, wg *sync.WaitGroup) {
	select {
	case <-f.up:
	case <-ctx.Done():
		return
	}
	operator := asOperator(ctx)
	tick := time.NewTicker(f.config.Pace)
	defer tick.Stop()
	var due []func() error
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if n%scanEvery == 1 {
			wg.Go(func() { f.scan(ctx) })
		}
		if n%outageEvery == 5 {
			f.outage.begin()
		}
		switch n {
		case 2:
			due = append(due, func() error { return f.pause(operator, members, registry.Disabled, "in maintenance") })
		case 3:
			due = append(due, func() error { return f.join(ctx, wg) })
		case 4:
			due = append(due, func() error { return f.setPolicy(operator, registry.TLS12) })
		case 6:
			due = append(due, func() error { return f.pause(operator, members, registry.Enabled, "") })
		}
		for len(due) > 0 {
			if err := due[0](); err != nil {
				if ctx.Err() == nil {
					f.config.Logger.Warn("incident of the demo fleet, trying again", "error", err)
				}
				break // until the next pace
			}
			due = due[1:]
		}
	}
}

// asOperator makes the changes of the context those of the plant's operator.
func asOperator(ctx context.Context) context.Context {
	return registry.WithActor(ctx, registry.Actor{Type: registry.ActorProgram, Name: "demo operator"})
}

// setPolicy changes minTlsVersion of the third hub.
func (f *Fleet) setPolicy(ctx context.Context, version string) error {
	if f.config.PolicyHub == "" {
		return nil
	}
	h, err := f.config.Registry.Hub(ctx, f.config.PolicyHub)
	if err != nil || h.MinTLSVersion == version {
		return err
	}
	_, err = f.config.Registry.UpdateHub(ctx, f.config.PolicyHub, "", func(h *registry.Hub) error {
		h.MinTLSVersion = version
		return nil
	})
	return err
}

// pause disables the device that is meant to be, or enables it.
func (f *Fleet) pause(ctx context.Context, members []*member, status registry.Status, reason string) error {
	i := slices.IndexFunc(members, func(m *member) bool { return m.habit == habitPaused })
	if i < 0 {
		return nil
	}
	_, err := f.config.Registry.UpdateDevice(ctx, f.hubOf(members[i].profile), members[i].id, "", func(d *registry.Device) error {
		d.Status, d.StatusReason = status, reason
		return nil
	})
	return err
}

// join registers the newcomer and lets it live.
func (f *Fleet) join(ctx context.Context, wg *sync.WaitGroup) error {
	p := newcomer(f.config.Seed, f.profiles)
	m, err := f.enrol(asOperator(ctx), &p, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("device %s: %w", p.id, err)
	}
	wg.Go(func() { f.live(ctx, m, 0, false) })
	return nil
}

// probes are what a scanner says to a port that it knows nothing of: HTTP, SSH,
// nothing, and Remote Desktop's connection request.
var probes = []string{"GET / HTTP/1.0\r\n\r\n", "SSH-2.0-Go\r\n", "", "\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x00\x00"}

// scan tries the port from one address, as anybody does who scans the internet.
func (f *Fleet) scan(ctx context.Context) {
	config := Config{Address: f.config.MQTT, LocalAddress: sourceAddress(f.config.MQTT, 250, 13)}
	for i := range scanProbes {
		if ctx.Err() != nil {
			return
		}
		if text := probes[i%len(probes)]; text != "" {
			plain(ctx, config, text) //nolint:errcheck // it is always refused
			continue
		}
		if conn, err := dialTCP(ctx, config); err == nil {
			conn.Close()
		}
	}
}

// An outage takes the uplink of a site away for a moment.
type outage struct {
	mu   sync.Mutex
	lost chan struct{}
}

// of returns what is closed when the device's site loses its uplink.
func (o *outage) of(m *member) <-chan struct{} {
	if m.site != outageSite {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost == nil {
		o.lost = make(chan struct{})
	}
	return o.lost
}

func (o *outage) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost != nil {
		close(o.lost)
		o.lost = nil
	}
}
