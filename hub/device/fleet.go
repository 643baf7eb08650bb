package device

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// FleetConfig describes a plant of simulated devices.
type FleetConfig struct {
	// Registry is where the fleet registers its devices and its CA.
	Registry *registry.Registry
	// LegacyHub and StrictHub are names of hubs in the registry. The first takes
	// TLS 1.0, and the devices are on it, but for those of the second.
	LegacyHub, StrictHub string
	// PolicyHub is a third hub, with a few of the devices, whose minTlsVersion is
	// 1.0 until the operator raises it to 1.2 a while after the start. Its devices
	// are on the first when it is empty.
	PolicyHub string
	// MQTT and HTTPS are addresses of the hub (host:port). Without HTTPS all
	// devices use MQTT.
	MQTT, HTTPS string
	// Roots are trusted for the hub's certificate.
	Roots *x509.CertPool
	// Dir keeps the key of the fleet's CA, so that the next start has the same.
	Dir string
	// Devices is their number, 312 when zero; at least 40.
	Devices int
	// Seed makes another plant: other names, addresses and times.
	Seed uint64
	// Ramp is the time in which all devices connect for the first time; ten
	// seconds when zero.
	Ramp time.Duration
	// Pace is the time between the incidents of the plant, which begin when all
	// devices have connected; ten seconds when zero.
	Pace time.Duration
	// Logger gets what the fleet itself cannot do; slog.Default() when nil.
	// Refusals are what a fleet is for: they are not logged.
	Logger *slog.Logger
}

const (
	fleetCA         = "demo-plant"
	fleetUnverified = "demo-plant-new"
	registerWorkers = 16
	// telemetryEvery is about how often a device sends.
	telemetryEvery = 30 * time.Second
	// retryEvery is about how often a refused device tries again.
	retryEvery = 25 * time.Second
)

// A Fleet is a plant of simulated devices: real TLS clients of mixed age, which
// come and go, send telemetry, and a few of which are refused.
type Fleet struct {
	config   FleetConfig
	profiles []profile
	hosts    map[string]string // of the hubs, by their names
	up       chan struct{}
	tried    atomic.Int64
	outage   outage

	connected, connects, refusals, messages atomic.Int64
}

// NewFleet plans a fleet. Nothing is registered or connected before Run.
func NewFleet(config FleetConfig) (*Fleet, error) {
	config.Devices = cmp.Or(config.Devices, 312)
	config.Ramp = cmp.Or(config.Ramp, 10*time.Second)
	config.Pace = cmp.Or(config.Pace, 10*time.Second)
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	switch {
	case config.Devices < 40:
		return nil, fmt.Errorf("a fleet has at least 40 devices, not %d", config.Devices)
	case config.Registry == nil || config.LegacyHub == "" || config.StrictHub == "" || config.MQTT == "" || config.Dir == "":
		return nil, errors.New("a fleet needs a registry, two hubs, their address and a folder")
	}
	return &Fleet{
		config: config, profiles: plan(config.Devices, config.Seed), hosts: map[string]string{}, up: make(chan struct{}),
	}, nil
}

// Stats are counters of a running fleet.
type Stats struct {
	// Connected is the number of sessions at present.
	Connected int64
	// Connects, Refusals and Messages have happened since the start.
	Connects, Refusals, Messages int64
}

// Stats returns the counters.
func (f *Fleet) Stats() Stats {
	return Stats{f.connected.Load(), f.connects.Load(), f.refusals.Load(), f.messages.Load()}
}

// Up is closed when every device has tried to connect once.
func (f *Fleet) Up() <-chan struct{} { return f.up }

// Summary describes the fleet in a line: "312 devices: 61 % TLS 1.3, 30 % 1.2,
// 9 % 1.0/1.1, 4 % refused".
func (f *Fleet) Summary() string {
	count := map[string]int{}
	refused := 0
	for _, p := range f.profiles {
		if p.fault != "" {
			refused++
		} else {
			count[p.version()]++
		}
	}
	healthy := len(f.profiles) - refused
	percent := func(n, of int) int { return (n*200/of + 1) / 2 }
	return fmt.Sprintf("%d devices: %d %% TLS 1.3, %d %% 1.2, %d %% 1.0/1.1, %d %% refused", len(f.profiles),
		percent(count["1.3"], healthy), percent(count["1.2"], healthy), percent(count["1.0"]+count["1.1"], healthy), percent(refused, len(f.profiles)))
}

// Run registers the devices and lets them live until ctx ends; then it
// disconnects them and returns nil.
func (f *Fleet) Run(ctx context.Context) error {
	members, err := f.register(registry.WithActor(ctx, registry.Actor{Type: registry.ActorProgram, Name: "demo fleet"}))
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("register the fleet: %w", err)
	}
	var wg sync.WaitGroup
	for i, m := range members {
		delay := f.config.Ramp * time.Duration(i) / time.Duration(len(members))
		wg.Go(func() { f.live(ctx, m, delay, true) })
		if m.twin {
			wg.Go(func() { f.live(ctx, m, f.config.Ramp+retryEvery, false) })
		}
		if m.module != nil {
			wg.Go(func() { f.live(ctx, m.module, delay, false) })
		}
	}
	wg.Go(func() { f.incidents(ctx, members, &wg) })
	wg.Wait()
	return nil
}

// A member is a profile with what it needs to connect.
type member struct {
	*profile
	config Config
	key    string // of a SAS device; tokens are made for each attempt
	module *member
}

// register makes the CA, its list, the devices and their credentials.
func (f *Fleet) register(ctx context.Context) ([]*member, error) {
	for _, name := range []string{f.config.LegacyHub, f.config.StrictHub, f.config.PolicyHub} {
		if name == "" {
			continue
		}
		h, err := f.config.Registry.Hub(ctx, name)
		if err != nil {
			return nil, err
		}
		f.hosts[name] = h.HostName()
	}
	// An earlier run has raised it.
	if err := f.setPolicy(ctx, registry.TLS10); err != nil {
		return nil, err
	}
	plant, err := f.authority("plant", "Demo Plant CA")
	if err != nil {
		return nil, err
	}
	unverified, err := f.authority("plant-new", "Demo Plant CA 2")
	if err != nil {
		return nil, err
	}
	for _, hub := range []string{f.config.LegacyHub, f.config.StrictHub} {
		if err := f.upload(ctx, hub, fleetCA, plant, true); err != nil {
			return nil, err
		}
	}
	if err := f.upload(ctx, f.config.LegacyHub, fleetUnverified, unverified, false); err != nil {
		return nil, err
	}

	shared, err := ca.SelfSigned("sensor-fleet", ca.DeviceConfig{KeyType: ca.P256, NotBefore: time.Now().AddDate(0, -6, 0), NotAfter: time.Now().AddDate(0, 6, 0)})
	if err != nil {
		return nil, err
	}
	members := make([]*member, len(f.profiles))
	errs := make(chan error, len(f.profiles))
	work := make(chan int)
	var wg sync.WaitGroup
	for range registerWorkers {
		wg.Go(func() {
			for i := range work {
				m, err := f.enrol(ctx, &f.profiles[i], plant, unverified, shared)
				if err != nil {
					errs <- fmt.Errorf("device %s: %w", f.profiles[i].id, err)
					continue
				}
				members[i] = m
			}
		})
	}
	for i := range f.profiles {
		work <- i
	}
	close(work)
	wg.Wait()
	close(errs)
	for err := range errs {
		return nil, err
	}
	return members, f.revoke(ctx, plant, members)
}

// authority loads one of the fleet's CAs, or makes it.
func (f *Fleet) authority(file, name string) (*ca.Authority, error) {
	if err := os.MkdirAll(f.config.Dir, 0o700); err != nil {
		return nil, err
	}
	certFile, keyFile := filepath.Join(f.config.Dir, file+".pem"), filepath.Join(f.config.Dir, file+".key")
	certPEM, err := os.ReadFile(certFile)
	if err == nil {
		var keyPEM []byte
		if keyPEM, err = os.ReadFile(keyFile); err == nil {
			if a, err := parseAuthority(certPEM, keyPEM); err == nil && time.Now().AddDate(1, 1, 0).Before(a.Certificate.NotAfter) {
				return a, nil
			}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	a, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: name, NotBefore: time.Now().AddDate(-2, 0, 0)})
	if err != nil {
		return nil, err
	}
	if err := ca.WriteKey(keyFile, a.Key); err != nil {
		return nil, err
	}
	return a, ca.WriteFile(certFile, ca.CertificatePEM(a.Certificate), 0o644)
}

func parseAuthority(certPEM, keyPEM []byte) (*ca.Authority, error) {
	cert, err := registry.ParseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := ca.ParseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("key and certificate do not belong together")
	}
	return &ca.Authority{Certificate: cert, Key: key}, nil
}

// upload registers a CA, also if another one has had its name.
func (f *Fleet) upload(ctx context.Context, hub, name string, a *ca.Authority, verified bool) error {
	text := ca.CertificatePEM(a.Certificate)
	_, err := f.config.Registry.CA(ctx, hub, name)
	if errors.Is(err, registry.ErrNotFound) {
		_, err = f.config.Registry.CreateCA(ctx, hub, name, text, verified)
	} else if err == nil {
		_, err = f.config.Registry.ReplaceCA(ctx, hub, name, "", text, verified)
	}
	return err
}

// enrol gives a device its credentials and registers it.
func (f *Fleet) enrol(ctx context.Context, p *profile, plant, unverified *ca.Authority, shared *ca.Leaf) (*member, error) {
	hub := f.hubOf(p)
	m := &member{profile: p, config: Config{
		HostName: f.hosts[hub], DeviceID: p.id, Transport: p.via, SDK: p.sdk, Roots: f.config.Roots,
		MinVersion: p.min, MaxVersion: p.max, Suites: p.suites, Groups: p.groups,
		LocalAddress: sourceAddress(f.config.MQTT, p.site, p.host),
	}}
	if f.config.HTTPS == "" {
		m.config.Transport = MQTT
	}
	m.config.Address = f.config.MQTT
	if m.config.Transport != MQTT {
		m.config.Address = f.config.HTTPS
	}
	record := registry.Device{Hub: hub, ID: p.id, Status: registry.Enabled, Auth: registry.Authentication{Type: p.auth}}
	if err := m.credentials(&record, plant, unverified, shared); err != nil {
		return nil, err
	}
	switch p.fault {
	case faultUnknown:
		return m, nil
	case faultDisabled:
		record.Status, record.StatusReason = registry.Disabled, "reported stolen"
	case faultDistrust:
		m.config.Roots = x509.NewCertPool()
	}
	stored, err := f.config.Registry.Device(ctx, hub, p.id)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		stored, err = f.config.Registry.CreateDevice(ctx, record)
	case err != nil:
	case record.Auth.Type == registry.AuthSAS && stored.Auth.Type == registry.AuthSAS && record.Status == stored.Status:
		// It has its keys.
	default:
		stored, err = f.config.Registry.UpdateDevice(ctx, hub, p.id, "", func(d *registry.Device) error {
			d.Status, d.StatusReason = record.Status, record.StatusReason
			if record.Auth.Type != registry.AuthSAS || d.Auth.Type != registry.AuthSAS {
				d.Auth = record.Auth
			}
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	m.key = stored.Auth.PrimaryKey
	if p.habit == habitModule {
		m.module, err = f.enrolModule(ctx, m, hub)
	}
	return m, err
}

// hubOf returns the name of the hub that a device belongs to.
func (f *Fleet) hubOf(p *profile) string {
	switch {
	case p.strictHub:
		return f.config.StrictHub
	case p.policyHub && f.config.PolicyHub != "":
		return f.config.PolicyHub
	}
	return f.config.LegacyHub
}

// enrolModule registers a module of a device, which has a key of its own.
func (f *Fleet) enrolModule(ctx context.Context, m *member, hub string) (*member, error) {
	const id = "opc-publisher"
	stored, err := f.config.Registry.Module(ctx, hub, m.id, id)
	if errors.Is(err, registry.ErrNotFound) {
		stored, err = f.config.Registry.CreateModule(ctx, registry.Device{Hub: hub, ID: m.id, ModuleID: id, ManagedBy: "IotEdge"})
	}
	if err != nil {
		return nil, err
	}
	p := *m.profile
	p.habit, p.auth, p.session, p.seed = "", registry.AuthSAS, 90*time.Second, p.seed+1
	module := &member{profile: &p, config: m.config, key: stored.Auth.PrimaryKey}
	module.config.ModuleID, module.config.Certificate, module.config.SDK = id, nil, "azure-iot-device/1.18.4 (node v20.20.2; Debian 12; x64)"
	return module, nil
}

// credentials makes the certificate that the device presents, and what the
// registry is to know of it.
func (m *member) credentials(record *registry.Device, plant, unverified *ca.Authority, shared *ca.Leaf) error {
	if m.auth == registry.AuthSAS {
		return nil
	}
	now := time.Now()
	settings := ca.DeviceConfig{KeyType: m.model.key, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.Add(m.validFor)}
	if m.fault == faultExpired {
		settings.NotBefore, settings.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(0, 0, -9)
	}
	var leaf *ca.Leaf
	var err error
	switch {
	case m.habit == habitShares:
		leaf = shared
	case m.auth == registry.AuthThumbprint:
		leaf, err = ca.SelfSigned(m.id, settings)
	case m.fault == faultUnverifiedCA:
		leaf, err = unverified.Device(m.id, settings)
	default:
		leaf, err = plant.Device(m.id, settings)
	}
	if err != nil {
		return err
	}
	pair := leaf.TLS()
	m.config.Certificate = &pair
	if m.auth == registry.AuthThumbprint {
		known := leaf.Certificate
		if m.fault == faultThumbprint { // the device was given a new certificate; nobody told the hub
			old, err := ca.SelfSigned(m.id, settings)
			if err != nil {
				return err
			}
			known = old.Certificate
		}
		sha1Hex, sha256Hex := registry.Thumbprints(known)
		record.Auth.PrimaryThumbprint = sha256Hex
		if m.sha1 {
			record.Auth.PrimaryThumbprint = sha1Hex
		}
	}
	return nil
}

// revoke publishes the revocation list of the CA.
func (f *Fleet) revoke(ctx context.Context, plant *ca.Authority, members []*member) error {
	now := time.Now()
	var revoked []ca.Revocation
	for _, m := range members {
		if m.fault == faultRevoked {
			revoked = append(revoked, ca.Revocation{Serial: m.config.Certificate.Leaf.SerialNumber, At: now.AddDate(0, 0, -2), Reason: 1})
		}
	}
	der, err := plant.RevocationList(now.Unix(), now.Add(-time.Minute), now.AddDate(0, 0, 30), revoked)
	if err != nil {
		return err
	}
	list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	_, err = f.config.Registry.SetCRL(ctx, f.config.LegacyHub, fleetCA, list)
	return err
}

// sourceAddress gives each site of the plant its own address, where every
// address of 127.0.0.0/8 is this machine's.
func sourceAddress(target string, site, host byte) net.IP {
	address, _, err := net.SplitHostPort(target)
	ip := net.ParseIP(address).To4()
	if err != nil || runtime.GOOS != "linux" || ip == nil || !ip.IsLoopback() {
		return nil
	}
	return net.IPv4(127, 10, site, host)
}

// live lets a device connect, send and go, again and again.
func (f *Fleet) live(ctx context.Context, m *member, delay time.Duration, counts bool) {
	random := rand.New(rand.NewPCG(m.seed, 1))
	about := func(d time.Duration) time.Duration { return time.Duration(float64(d) * (0.6 + 0.8*random.Float64())) }
	pause := func(d time.Duration) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for n := 0; ; n++ {
		if !pause(delay) {
			return
		}
		first := n == 0
		err := f.attempt(ctx, m, n, random, func() {
			if first && counts {
				f.count()
			}
		})
		if first && counts && err != nil {
			f.count()
		}
		delay = about(3 * time.Second)
		if err != nil {
			delay = about(retryEvery)
		}
		if m.twin {
			delay = about(2 * retryEvery)
		}
	}
}

func (f *Fleet) count() {
	if f.tried.Add(1) == int64(len(f.profiles)) {
		close(f.up)
	}
}

// attempt is the n-th connection of a device, from its start to its end.
// connected is called when it stands.
func (f *Fleet) attempt(ctx context.Context, m *member, n int, random *rand.Rand, connected func()) error {
	config := m.config
	switch {
	case m.habit == habitRollback && n > 0:
		config.MinVersion, config.MaxVersion, config.Suites, config.SDK = rollback.min, rollback.max, rollback.suites, rollback.sdk
	case m.habit == habitRepair && n > 0:
		config.MinVersion, config.MaxVersion, config.Suites, config.SDK = repair.min, repair.max, repair.suites, repair.sdk
	case m.habit == habitRoams && n%2 == 1 && config.LocalAddress != nil:
		config.LocalAddress = sourceAddress(f.config.MQTT, 200, m.host)
	}
	switch m.fault {
	case faultHTTP:
		f.refusals.Add(1)
		return plain(ctx, config, "GET / HTTP/1.1\r\nHost: "+config.HostName+"\r\n\r\n")
	case faultPlainMQTT:
		f.refusals.Add(1)
		return plain(ctx, config, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02p1")
	case faultUnknown, faultWrongKey:
		config.Key = registry.GenerateKey()
	case faultOldToken:
		config.Key, config.TokenTTL = m.key, -time.Hour
	default:
		config.Key = m.key
	}
	session, err := Connect(ctx, config)
	if err == nil && config.Transport == HTTPS {
		// Over HTTPS the first request is what is judged.
		if err = f.telemetry(ctx, session, m, random); err != nil {
			session.Close()
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			f.refusals.Add(1)
		}
		return err
	}
	f.connects.Add(1)
	f.connected.Add(1)
	defer f.connected.Add(-1)
	connected()
	end := time.NewTimer(time.Duration(float64(m.session) * (0.5 + random.Float64())))
	defer end.Stop()
	uplink := f.outage.of(m)
	for {
		next := time.NewTimer(time.Duration(float64(telemetryEvery) * (0.5 + random.Float64())))
		select {
		case <-ctx.Done():
			next.Stop()
			session.Close()
			return nil
		case <-end.C:
			next.Stop()
			if random.IntN(4) == 0 {
				session.Drop()
			} else {
				session.Close()
			}
			return nil
		case <-uplink:
			next.Stop()
			session.Drop()
			return nil
		case <-session.Lost():
			next.Stop()
			session.Close()
			return nil
		case <-next.C:
			if err := f.telemetry(ctx, session, m, random); err != nil {
				session.Close()
				return nil
			}
		}
	}
}

func (f *Fleet) telemetry(ctx context.Context, session *Session, m *member, random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err := session.Send(ctx, NewTelemetry(m.id, 20+random.Float64()*10, 60+random.Float64()*20))
	if err == nil {
		f.messages.Add(1)
	}
	return err
}

// plain sends text in clear to the TLS port and waits until the hub hangs up.
func plain(ctx context.Context, config Config, text string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dialTCP(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	buffer := make([]byte, 512)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return fmt.Errorf("hung up: %w", err)
		}
	}
}
