package registry

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/deploy/embed"
	"hubscope/hub/ca"
)

// startCache runs a cache over the store and returns its changes.
func startCache(t *testing.T, r *Registry, devices int) (*Cache, <-chan Change) {
	t.Helper()
	c := NewCache(r, CacheConfig{Devices: devices, Logger: slog.New(slog.DiscardHandler)})
	changes := make(chan Change, 1000)
	stop := c.Subscribe(func(change Change) { changes <- change })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-c.Ready():
	case <-time.After(patience):
		t.Fatal("the cache is not ready")
	}
	return c, changes
}

// await waits for a change.
func await(t *testing.T, changes <-chan Change, want Change) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-changes:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("no change %+v came", want)
		}
	}
}

func admitted(t *testing.T, c *Cache, a Attempt) *Identity {
	t.Helper()
	id, refusal := c.Authenticate(t.Context(), a)
	if refusal != nil {
		t.Fatalf("refused: %v", refusal)
	}
	if refusal := c.Recheck(t.Context(), id); refusal != nil {
		t.Fatalf("recheck refuses at once: %v", refusal)
	}
	return id
}

// cut reports the code and text with which a session is ended.
func cut(c *Cache, id *Identity) string {
	if r := c.Recheck(context.Background(), id); r != nil {
		return fmt.Sprintf("%d %s", r.Code, r.Description)
	}
	return ""
}

// TestChangesCutSessions goes through every change that ends a live session, and
// some that must not.
func TestChangesCutSessions(t *testing.T) {
	type fixture struct {
		r      *Registry
		c      *Cache
		ch     <-chan Change
		root   *ca.Authority
		serial *big.Int
	}
	pump := Change{Kind: KindDevice, Hub: "demo", DeviceID: "pump"}
	caChange := Change{Kind: KindCA, Hub: "demo"}
	crlChange := Change{Kind: KindCRL, Hub: "demo"}
	hubChange := Change{Kind: KindHub, Hub: "demo"}
	changeDevice := func(change func(*Device)) func(*testing.T, *fixture) Change {
		return func(t *testing.T, f *fixture) Change {
			must(f.r.UpdateDevice(t.Context(), "demo", "pump", "", func(d *Device) error { change(d); return nil }))(t)
			return pump
		}
	}
	deleteDevice := func(t *testing.T, f *fixture) Change {
		if err := f.r.DeleteDevice(t.Context(), "demo", "pump", ""); err != nil {
			t.Fatal(err)
		}
		return pump
	}
	for _, tt := range []struct {
		name   string
		auth   AuthType
		policy string
		do     func(*testing.T, *fixture) Change
		want   string
	}{
		{"sas/disabled", AuthSAS, "", changeDevice(func(d *Device) { d.Status = Disabled }), `403012 device "pump" was disabled`},
		{"sas/reason only", AuthSAS, "", changeDevice(func(d *Device) { d.StatusReason = "x" }), ""},
		{"sas/deleted", AuthSAS, "", deleteDevice, `404001 device "pump" was deleted`},
		{"sas/deleted and created again", AuthSAS, "", func(t *testing.T, f *fixture) Change {
			old := must(f.r.Device(t.Context(), "demo", "pump"))(t)
			deleteDevice(t, f)
			await(t, f.ch, pump)
			f.r.now = func() time.Time { return noon.Add(time.Second) }
			must(f.r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "pump", Auth: old.Auth}))(t)
			return pump
		}, `404001 device "pump" was deleted`},
		{"sas/primary key replaced", AuthSAS, "", changeDevice(func(d *Device) { d.Auth.PrimaryKey = testKey }), "401003 the key that signed the SAS token was replaced"},
		{"sas/secondary key replaced", AuthSAS, "", changeDevice(func(d *Device) { d.Auth.SecondaryKey = testKey }), ""},
		{"sas/keys swapped", AuthSAS, "", changeDevice(func(d *Device) {
			d.Auth.PrimaryKey, d.Auth.SecondaryKey = d.Auth.SecondaryKey, d.Auth.PrimaryKey
		}), ""},
		{"sas/other type", AuthSAS, "", changeDevice(func(d *Device) { d.Auth = Authentication{Type: AuthCA} }), `401003 device "pump" now authenticates with x509Ca`},
		{"sas/hub deleted", AuthSAS, "", func(t *testing.T, f *fixture) Change {
			if err := f.r.DeleteHub(t.Context(), "demo", ""); err != nil {
				t.Fatal(err)
			}
			return hubChange
		}, `401003 hub "demo" was deleted`},
		{"sas/minimum version", AuthSAS, "", func(t *testing.T, f *fixture) Change {
			must(f.r.UpdateHub(t.Context(), "demo", "", func(h *Hub) error { h.MinTLSVersion = TLS13; return nil }))(t)
			return hubChange
		}, ""},
		{"sas/policy key replaced", AuthSAS, "device", func(t *testing.T, f *fixture) Change {
			must(f.r.UpdateHub(t.Context(), "demo", "", func(h *Hub) error {
				for i := range h.Policies {
					h.Policies[i].PrimaryKey = testKey
				}
				return nil
			}))(t)
			return hubChange
		}, "401003 the key that signed the SAS token was replaced"},
		{"sas/policy removed", AuthSAS, "device", func(t *testing.T, f *fixture) Change {
			must(f.r.UpdateHub(t.Context(), "demo", "", func(h *Hub) error { h.Policies = h.Policies[:1]; return nil }))(t)
			return hubChange
		}, `401003 shared access policy "device" may not connect devices any more`},
		{"sas/device's own key replaced", AuthSAS, "device", changeDevice(func(d *Device) { d.Auth.PrimaryKey = testKey }), ""},
		{"thumbprint/removed", AuthThumbprint, "", changeDevice(func(d *Device) { d.Auth.PrimaryThumbprint = "00112233445566778899AABBCCDDEEFF00112233" }),
			"401003 the thumbprint of the certificate was removed"},
		{"thumbprint/moved", AuthThumbprint, "", changeDevice(func(d *Device) {
			d.Auth.PrimaryThumbprint, d.Auth.SecondaryThumbprint = "00112233445566778899AABBCCDDEEFF00112233", d.Auth.PrimaryThumbprint
		}), ""},
		{"thumbprint/disabled", AuthThumbprint, "", changeDevice(func(d *Device) { d.Status = Disabled }), `403012 device "pump" was disabled`},
		{"thumbprint/CA deleted", AuthThumbprint, "", func(t *testing.T, f *fixture) Change {
			if err := f.r.DeleteCA(t.Context(), "demo", "plant", ""); err != nil {
				t.Fatal(err)
			}
			return caChange
		}, ""},
		{"ca/deleted", AuthCA, "", func(t *testing.T, f *fixture) Change {
			if err := f.r.DeleteCA(t.Context(), "demo", "plant", ""); err != nil {
				t.Fatal(err)
			}
			return caChange
		}, `401003 CA "plant" is not trusted any more`},
		{"ca/replaced by an unverified one", AuthCA, "", func(t *testing.T, f *fixture) Change {
			must(f.r.ReplaceCA(t.Context(), "demo", "plant", "", ca.CertificatePEM(authority(t, "New").Certificate), false))(t)
			return caChange
		}, `401003 CA "plant" is not trusted any more`},
		{"ca/another one added", AuthCA, "", func(t *testing.T, f *fixture) Change {
			must(f.r.CreateCA(t.Context(), "demo", "new", ca.CertificatePEM(authority(t, "New").Certificate), true))(t)
			return caChange
		}, ""},
		{"ca/revoked", AuthCA, "", func(t *testing.T, f *fixture) Change {
			must(f.r.SetCRL(t.Context(), "demo", "plant", crlOf(t, f.root, "plant", f.serial).DER))(t)
			return crlChange
		}, "revoked"},
		{"ca/another one revoked", AuthCA, "", func(t *testing.T, f *fixture) Change {
			must(f.r.SetCRL(t.Context(), "demo", "plant", crlOf(t, f.root, "plant", big.NewInt(42)).DER))(t)
			return crlChange
		}, ""},
		{"ca/disabled", AuthCA, "", changeDevice(func(d *Device) { d.Status = Disabled }), `403012 device "pump" was disabled`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			r := newRegistry(t, NewMemory())
			root := authority(t, "Plant root")
			must(r.CreateCA(ctx, "demo", "plant", ca.CertificatePEM(root.Certificate), true))(t)
			chain := leaf(t, root, "pump", nil)
			device := Device{Hub: "demo", ID: "pump", Auth: Authentication{Type: tt.auth}}
			if tt.auth == AuthThumbprint {
				device.Auth.PrimaryThumbprint, _ = Thumbprints(chain[0])
			}
			d := must(r.CreateDevice(ctx, device))(t)
			c, changes := startCache(t, r, 0)
			attempt := Attempt{Hub: "demo", DeviceID: "pump", Chain: chain}
			if tt.auth == AuthSAS {
				resource, secret := "localhost/devices/pump", d.Auth.PrimaryKey
				if tt.policy != "" {
					h, _ := c.Hub("demo")
					p, _ := h.Policy(tt.policy)
					resource, secret = "localhost", p.PrimaryKey
				}
				attempt.Chain = nil
				attempt.Token = token(t, resource, tt.policy, secret, noon.Add(time.Hour))
			}
			id := admitted(t, c, attempt)
			await(t, changes, tt.do(t, &fixture{r, c, changes, root, chain[0].SerialNumber}))
			got := cut(c, id)
			if tt.want == "revoked" {
				tt.want = fmt.Sprintf(`401003 the certificate with serial %s was revoked by CA "plant" on 2026-11-22T11:00:00Z`, hexOf(chain[0].SerialNumber))
			}
			if got != tt.want {
				t.Errorf("the session is ended with %q, want %q", got, tt.want)
			}
			if _, refusal := c.Authenticate(ctx, attempt); (refusal != nil) != (tt.want != "") && tt.name != "sas/deleted and created again" {
				t.Errorf("a new attempt: %v", refusal)
			}
		})
	}
}

func TestCacheFollows(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		c, changes := startCache(t, r, 0)
		h, ok := c.HubFor("LOCALHOST:8883")
		if !ok || h.Name != "demo" || h.MinTLSVersion != TLS12 {
			t.Fatalf("hub is %+v", h)
		}
		if _, ok := c.HubFor("elsewhere"); ok {
			t.Error("there is a hub for another name")
		}
		must(r.UpdateHub(ctx, "demo", "", func(h *Hub) error { h.MinTLSVersion = TLS10; return nil }))(t)
		await(t, changes, Change{Kind: KindHub, Hub: "demo"})
		if h, _ := c.Hub("demo"); !h.Legacy() {
			t.Error("the change of the minimum version is not seen")
		}
		must(r.CreateHub(ctx, Hub{Name: "strict", HostNames: []string{"strict.localhost"}}))(t)
		await(t, changes, Change{Kind: KindHub, Hub: "strict"})
		if h, ok := c.HubFor("strict.localhost"); !ok || h.Name != "strict" || len(c.Hubs()) != 2 {
			t.Error("the new hub is not seen")
		}

		_, err := c.Device(ctx, "demo", "pump")
		wantError(t, ErrNotFound, err)
		d := must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		await(t, changes, Change{Kind: KindDevice, Hub: "demo", DeviceID: "pump"})
		if diff := cmp.Diff(d, must(c.Device(ctx, "demo", "pump"))(t)); diff != "" {
			t.Errorf("device (-want +got):\n%s", diff)
		}
		_, err = c.Device(ctx, "strict", "pump")
		wantError(t, ErrNotFound, err)
		if err := r.DeleteDevice(ctx, "demo", "pump", ""); err != nil {
			t.Fatal(err)
		}
		await(t, changes, Change{Kind: KindDevice, Hub: "demo", DeviceID: "pump"})
		_, err = c.Device(ctx, "demo", "pump")
		wantError(t, ErrNotFound, err)
	})
}

// TestCacheIsBounded: a small cache answers right for many devices.
func TestCacheIsBounded(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t, NewMemory())
	c, changes := startCache(t, r, 10)
	for i := range 50 {
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: fmt.Sprint(i)}))(t)
	}
	await(t, changes, Change{Kind: KindDevice, Hub: "demo", DeviceID: "49"})
	for i := range 50 {
		if d := must(c.Device(ctx, "demo", fmt.Sprint(i)))(t); d.ID != fmt.Sprint(i) {
			t.Errorf("device %d is %q", i, d.ID)
		}
	}
	if n := len(c.devices.entries); n != 10 || c.devices.order.Len() != 10 {
		t.Errorf("the cache holds %d devices, want 10", n)
	}
}

// TestCacheKeepsTheNewest: a read that was under way while the record changed
// does not bring the old one back.
func TestCacheKeepsTheNewest(t *testing.T) {
	c := newDeviceCache(10)
	key := Key{"demo", "pump"}
	old, changed := &Device{ID: "pump", Status: Enabled}, &Device{ID: "pump", Status: Disabled}
	if !c.put(key, changed, 7) {
		t.Error("the first entry was not taken")
	}
	if c.put(key, old, 6) {
		t.Error("an older entry was taken")
	}
	if d, ok := c.get(key); !ok || d != changed {
		t.Errorf("the entry is %+v", d)
	}
	c.put(key, nil, 8)
	if c.put(key, changed, 7) {
		t.Error("a deleted device came back")
	}
	if d, ok := c.get(key); !ok || d != nil {
		t.Errorf("the entry is %+v", d)
	}
}

func TestRegistryAway(t *testing.T) {
	store := &failing{Store: NewMemory()}
	r := newRegistry(t, store)
	d := must(r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "pump"}))(t)
	must(r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "other"}))(t)
	c, _ := startCache(t, r, 0)
	attempt := Attempt{Hub: "demo", DeviceID: "pump", Token: token(t, "localhost/devices/pump", "", d.Auth.PrimaryKey, noon.Add(time.Hour))}
	id := admitted(t, c, attempt)

	store.mu.Lock()
	store.down = true
	store.mu.Unlock()
	admitted(t, c, attempt) // known
	if got := cut(c, id); got != "" {
		t.Errorf("the session is ended with %q", got)
	}
	attempt.DeviceID = "other"
	_, refusal := c.Authenticate(t.Context(), attempt)
	if refusal == nil || !refusal.Temporary() || refusal.Code != 500001 {
		t.Errorf("refusal is %v", refusal)
	}
}

// TestCacheAfterGap: what changed while the server was away is seen, and said.
func TestCacheAfterGap(t *testing.T) {
	dir := t.TempDir()
	server, conn := startNATS(t, dir, 0)
	r := newRegistry(t, must(OpenNATS(t.Context(), conn, NATSConfig{}))(t))
	d := must(r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "pump"}))(t)
	c, changes := startCache(t, r, 0)
	id := admitted(t, c, Attempt{Hub: "demo", DeviceID: "pump", Token: token(t, "localhost/devices/pump", "", d.Auth.PrimaryKey, noon.Add(time.Hour))})

	// Somebody else disables the device while this connection is away.
	port := portOf(t, conn)
	server.Close()
	elsewhere, other := startNATS(t, dir, 0)
	r2 := New(must(OpenNATS(t.Context(), other, NATSConfig{}))(t), Config{})
	must(r2.UpdateDevice(t.Context(), "demo", "pump", "", func(d *Device) error { d.Status = Disabled; return nil }))(t)
	must(r2.UpdateHub(t.Context(), "demo", "", func(h *Hub) error { h.MinTLSVersion = TLS10; return nil }))(t)
	elsewhere.Close()
	again, err := embed.StartNATS(t.Context(), embed.NATSConfig{Dir: dir, Port: port, Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)

	await(t, changes, Change{})
	if got := cut(c, id); got != `403012 device "pump" was disabled` {
		t.Errorf("the session is ended with %q", got)
	}
	if h, _ := c.Hub("demo"); !h.Legacy() {
		t.Error("the change of the minimum version is not seen")
	}
}

func TestSubscribeStops(t *testing.T) {
	r := newRegistry(t, NewMemory())
	c, changes := startCache(t, r, 0)
	n := 0
	stop := c.Subscribe(func(Change) { n++ })
	must(r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "a"}))(t)
	await(t, changes, Change{Kind: KindDevice, Hub: "demo", DeviceID: "a"})
	stop()
	seen := n
	must(r.CreateDevice(t.Context(), Device{Hub: "demo", ID: "b"}))(t)
	await(t, changes, Change{Kind: KindDevice, Hub: "demo", DeviceID: "b"})
	stop()
	if n != seen {
		t.Errorf("a stopped subscriber was called %d times", n-seen)
	}
}

// TestCount: the count follows every change, also while it is made.
func TestCount(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		must(r.CreateHub(ctx, Hub{Name: "other"}))(t)
		for i := range 30 {
			must(r.CreateDevice(ctx, Device{Hub: "demo", ID: fmt.Sprint(i)}))(t)
		}
		must(r.CreateDevice(ctx, Device{Hub: "other", ID: "1"}))(t)
		c := NewCache(r, CacheConfig{Count: true, Logger: slog.New(slog.DiscardHandler)})
		running, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- c.Run(running) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		<-c.Ready()
		for i := range 10 { // while it counts, perhaps
			must(r.UpdateDevice(ctx, "demo", fmt.Sprint(i), "", func(d *Device) error { d.Status = Disabled; return nil }))(t)
		}
		for i := 5; i < 15; i++ {
			if err := r.DeleteDevice(ctx, "demo", fmt.Sprint(i), ""); err != nil {
				t.Fatal(err)
			}
		}
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "5"}))(t)
		wantCount(t, c, "demo", Statistics{Total: 21, Enabled: 16, Disabled: 5})
		wantCount(t, c, "other", Statistics{Total: 1, Enabled: 1})
		wantCount(t, c, "nowhere", Statistics{})
		// A gap in the watch makes it count anew.
		if err := c.census.run(ctx, s); err != nil {
			t.Fatal(err)
		}
		wantCount(t, c, "demo", Statistics{Total: 21, Enabled: 16, Disabled: 5})
		if n := len(c.census.current.devices); n != 22 {
			t.Errorf("the count remembers %d devices, want 22", n)
		}
	})
}

// wantCount waits until the count itself, not the registry, says so.
func wantCount(t *testing.T, c *Cache, hub string, want Statistics) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, ok := c.census.statistics(hub)
		if ok && got == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("hub %s counts %+v, want %+v", hub, got, want)
		}
		time.Sleep(time.Millisecond)
	}
	if got := must(c.Statistics(t.Context(), hub))(t); got != want {
		t.Errorf("statistics of %s are %+v, want %+v", hub, got, want)
	}
}

// TestCountOutOfOrder: a record that is read after its deletion was seen does
// not count.
func TestCountOutOfOrder(t *testing.T) {
	c := &census{seed: maphash.MakeSeed(), next: newHeadcount()}
	device := func(revision uint64, status string) Record {
		return Record{Kind: KindDevice, Key: Key{"demo", "x"}, Revision: revision, Value: []byte(`{"status":"` + status + `"}`)}
	}
	c.take(Record{Kind: KindDevice, Key: Key{"demo", "x"}, Revision: 7, Deleted: true})
	c.take(device(6, "enabled"))
	if got := *c.next.hubs["demo"]; got != (Statistics{}) {
		t.Errorf("count is %+v", got)
	}
	c.take(device(8, "enabled"))
	c.take(device(8, "enabled"))
	c.take(device(9, "disabled"))
	c.take(device(8, "enabled"))
	if got, want := *c.next.hubs["demo"], (Statistics{Total: 1, Disabled: 1}); got != want {
		t.Errorf("count is %+v, want %+v", got, want)
	}
}
