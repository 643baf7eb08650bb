package device

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub/registry"
	"hubscope/ingest"
)

func TestPlan(t *testing.T) {
	key := func(list []profile) (keys []string) {
		for _, p := range list {
			keys = append(keys, fmt.Sprint(p.id, p.kind, p.fault, p.strictHub, p.validFor, p.session, p.via, p.site, p.host, p.seed))
		}
		return keys
	}
	a, b := plan(312, 1), plan(312, 1)
	if diff := cmp.Diff(key(a), key(b)); diff != "" {
		t.Errorf("the same seed makes another plan:\n%s", diff)
	}
	if cmp.Equal(key(a), key(plan(312, 2))) {
		t.Error("another seed makes the same plan")
	}
	for _, n := range []int{40, 100, 312, 1000} {
		list := plan(n, 7)
		if len(list) != n {
			t.Errorf("asked for %d devices, got %d", n, len(list))
		}
		ids, faults, twins, restless := map[string]bool{}, map[fault]int{}, 0, 0
		habitual, elsewhere := map[habit]int{}, 0
		for _, p := range list {
			if ids[p.id] {
				t.Errorf("%s is there twice", p.id)
			}
			ids[p.id] = true
			if err := registry.ValidateDeviceID(p.id); err != nil {
				t.Error(err)
			}
			if p.fault != "" {
				faults[p.fault]++
			}
			if p.twin {
				twins++
			}
			if p.session < 90*time.Second {
				restless++
			}
			if p.habit != "" {
				habitual[p.habit]++
			}
			if p.policyHub {
				elsewhere++
				if p.strictHub || p.fault != "" || p.habit != "" || p.auth == registry.AuthCA {
					t.Errorf("%s is on the hub whose policy changes: %+v", p.id, p)
				}
			}
		}
		if !ids[showcase] || len(faults) != len(faulty) || twins != 1 || restless < n/10 {
			t.Errorf("of %d devices: showcase %v, %d faults, %d twins, %d restless", n, ids[showcase], len(faults), twins, restless)
		}
		if want := map[habit]int{habitRollback: 1, habitRepair: 1, habitRoams: 1, habitLoops: 1, habitShares: 2, habitModule: 1, habitPaused: 1, habitExpires: 1}; !cmp.Equal(want, habitual) || elsewhere < 3 {
			t.Errorf("of %d devices: habits %v, %d on the hub whose policy changes", n, habitual, elsewhere)
		}
		if p := newcomer(7, list); ids[p.id] || p.version() != "1.0" {
			t.Errorf("the newcomer is %s with TLS %s", p.id, p.version())
		}
	}
}

func TestSummary(t *testing.T) {
	f, err := NewFleet(FleetConfig{Registry: registry.New(registry.NewMemory(), registry.Config{}), LegacyHub: "demo", StrictHub: "strict", MQTT: "127.0.0.1:1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if want, got := "312 devices: 61 % TLS 1.3, 30 % 1.2, 9 % 1.0/1.1, 4 % refused", f.Summary(); got != want {
		t.Errorf("summary is %q, want %q", got, want)
	}
	if _, err := NewFleet(FleetConfig{}); err == nil {
		t.Error("a fleet without a registry was made")
	}
}

// startFleet runs a fleet until every device has tried; stop ends it.
func startFleet(t *testing.T, h *testHub, dir string, devices int, pace time.Duration) (f *Fleet, stop func()) {
	t.Helper()
	f, err := NewFleet(FleetConfig{
		Registry: h.registry, LegacyHub: "demo", StrictHub: "strict", PolicyHub: "plant-7", MQTT: h.addr, HTTPS: h.web, Roots: h.roots,
		Dir: dir, Devices: devices, Ramp: 500 * time.Millisecond, Pace: pace, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(patience):
			t.Fatal("the fleet does not stop")
		}
		if n := f.Stats().Connected; n != 0 {
			t.Errorf("%d devices are connected after the end", n)
		}
	}
	t.Cleanup(stop)
	select {
	case <-f.Up():
	case err := <-done:
		t.Fatalf("the fleet ended: %v", err)
	case <-time.After(patience):
		t.Fatalf("the fleet is not up: %+v", f.Stats())
	}
	return f, stop
}

// TestFleet: every device of the plan connects with the version of its model, and
// every broken one is refused for the reason that the plan gave it.
func TestFleet(t *testing.T) {
	h := startHub(t)
	dir := t.TempDir()
	f, stop := startFleet(t, h, dir, 60, time.Hour)
	if s := f.Stats(); s.Connects < 60-int64(len(faulty)) || s.Refusals < int64(len(faulty)) {
		t.Errorf("statistics are %+v", s)
	}
	refusals := map[fault]struct{ stage, result, text string }{
		faultExpired:      {"auth", "401003", "the certificate has expired on"},
		faultUnknown:      {"auth", "404001", "has no device"},
		faultThumbprint:   {"auth", "401003", "Thumbprint does not match configuration"},
		faultDisabled:     {"auth", "403012", "is disabled: reported stolen"},
		faultOldTLS:       {"handshake", "495070", "TLS 1.0"},
		faultWeakSuite:    {"handshake", "495040", ""},
		faultHTTP:         {"hello", "497", ""},
		faultPlainMQTT:    {"hello", "497", ""},
		faultWrongKey:     {"auth", "401003", "the signature of the SAS token is wrong"},
		faultOldToken:     {"auth", "401003", "the SAS token has expired on"},
		faultUnverifiedCA: {"auth", "401003", `CA "demo-plant-new", which is not verified`},
		faultRevoked:      {"auth", "401003", `was revoked by CA "demo-plant"`},
		faultDistrust:     {"handshake", "4960", ""},
	}
	protocols := map[Transport]string{MQTT: ingest.Mqtt, MQTTWebSocket: ingest.MqttWs, HTTPS: ingest.Https}
	masks, used := map[string]bool{}, map[string]bool{}
	for _, p := range f.profiles {
		if p.fault == "" {
			e := h.find(t, p.id, func(e *ingest.Event) bool {
				return e.OperationName == "deviceConnect" && e.DeviceId == p.id && e.ModuleId == ""
			})
			hub := "demo"
			if p.strictHub {
				hub = "strict"
			} else if p.policyHub {
				hub = "plant-7"
			}
			if e.TlsVersion != p.version() || e.Hub != hub || e.SdkVersion != p.sdk && e.UserAgent != p.sdk || e.AuthType != p.auth.EventName() {
				t.Errorf("%s: TLS %s at %s with %s and SDK %q; want %s, %s, %s, %q", p.id, e.TlsVersion, e.Hub, e.AuthType, e.SdkVersion,
					p.version(), hub, p.auth.EventName(), p.sdk)
			}
			if e.Protocol != protocols[p.via] {
				t.Errorf("%s came over %s, want %s", p.id, e.Protocol, protocols[p.via])
			}
			masks[e.MaskedIpAddress], used[e.Protocol] = true, true
			continue
		}
		want := refusals[p.fault]
		h.find(t, string(p.fault), func(e *ingest.Event) bool {
			switch p.fault {
			case faultHTTP, faultPlainMQTT, faultOldTLS, faultWeakSuite, faultDistrust: // nobody has said who it was
			default:
				if e.ClaimedDeviceId != p.id {
					return false
				}
			}
			return e.OperationName == "connectionRefused" && e.Stage == want.stage && strings.HasPrefix(e.ResultType, want.result) &&
				strings.Contains(e.ResultDescription, want.text) && e.DeviceId == ""
		})
	}
	if len(used) != len(protocols) {
		t.Errorf("the devices used only %v", used)
	}
	if len(masks) < 2 {
		t.Errorf("all devices come from %v", masks)
	}
	stop()
	h.find(t, "disconnect", func(e *ingest.Event) bool { return e.OperationName == "deviceDisconnect" && e.DeviceId == showcase })

	// A second start on the same registry has the same CA, and works.
	before, err := h.registry.CA(t.Context(), "demo", fleetCA)
	if err != nil {
		t.Fatal(err)
	}
	again, stop := startFleet(t, h, dir, 60, time.Hour)
	if s := again.Stats(); s.Connects < 60-int64(len(faulty)) {
		t.Errorf("statistics are %+v", s)
	}
	after, err := h.registry.CA(t.Context(), "demo", fleetCA)
	if err != nil {
		t.Fatal(err)
	}
	if before.Thumbprint() != after.Thumbprint() || !after.Verified {
		t.Error("the fleet's CA has changed")
	}
	stop()

	// Without its folder it has another CA, under the same name.
	third, stop := startFleet(t, h, t.TempDir(), 60, time.Hour)
	if s := third.Stats(); s.Connects < 60-int64(len(faulty)) {
		t.Errorf("statistics are %+v", s)
	}
	stop()
}

// TestIncidents: what happens in the plant is seen in the events, and the changes
// of its operator in the audit.
func TestIncidents(t *testing.T) {
	h := startHub(t)
	f, stop := startFleet(t, h, t.TempDir(), 60, 50*time.Millisecond)
	of := func(want habit) *profile {
		t.Helper()
		for i := range f.profiles {
			if f.profiles[i].habit == want {
				return &f.profiles[i]
			}
		}
		t.Fatalf("nobody %s", want)
		return nil
	}
	connects := func(id string) func(e *ingest.Event) bool {
		return func(e *ingest.Event) bool { return e.OperationName == "deviceConnect" && e.DeviceId == id }
	}
	module := h.find(t, "a module connects", func(e *ingest.Event) bool { return e.ModuleId != "" && e.OperationName == "deviceConnect" })
	if module.DeviceId != of(habitModule).id || module.AuthType != "sas" {
		t.Errorf("module %s of %s with %s", module.ModuleId, module.DeviceId, module.AuthType)
	}
	var shared []ingest.Event
	for i := range f.profiles {
		if p := &f.profiles[i]; p.habit == habitShares {
			shared = append(shared, h.find(t, p.id, connects(p.id)))
		}
	}
	if shared[0].CertThumbprint == "" || shared[0].CertThumbprint != shared[1].CertThumbprint || shared[0].DeviceId == shared[1].DeviceId {
		t.Errorf("certificates %s of %s and %s of %s", shared[0].CertThumbprint, shared[0].DeviceId, shared[1].CertThumbprint, shared[1].DeviceId)
	}
	h.find(t, "the port scan, HTTP", func(e *ingest.Event) bool { return e.ResultSignature == "plain.ssh" })
	paused := of(habitPaused).id
	h.find(t, "a device is cut", func(e *ingest.Event) bool {
		return e.DeviceId == paused && e.DisconnectReason == "device_disabled"
	})
	late := newcomer(0, f.profiles).id
	if e := h.find(t, "the newcomer", connects(late)); e.TlsVersion != "1.0" || e.Hub != "demo" {
		t.Errorf("the newcomer comes to %s with TLS %s", e.Hub, e.TlsVersion)
	}
	h.find(t, "the outage", func(e *ingest.Event) bool {
		return e.DisconnectReason == "connection_lost" && slices.ContainsFunc(f.profiles, func(p profile) bool { return p.site == outageSite && p.id == e.DeviceId })
	})

	// The device loops, and the legacy ones of the third hub are refused when
	// they come again: a short session shows both.
	loops := of(habitLoops).id
	h.find(t, "the device that connects again", func(e *ingest.Event) bool {
		return e.OperationName == "deviceDisconnect" && e.DeviceId == loops
	})
	type change struct{ Operation, Action, Target, Actor string }
	want := []change{
		{registry.HubWrite, "Update", "plant-7", "demo fleet"}, // as it was before an earlier run
		{registry.DeviceWrite, "Update", paused, "demo operator"},
		{registry.DeviceWrite, "Create", late, "demo operator"},
		{registry.HubWrite, "Update", "plant-7", "demo operator"},
		{registry.DeviceWrite, "Update", paused, "demo operator"},
	}
	var got []change
	deadline := time.After(patience)
	for len(got) < len(want) {
		select {
		case e := <-h.audit:
			if e.Err != nil {
				t.Errorf("%s of %s: %v", e.Operation, e.Target, e.Err)
			}
			if e.Actor.Name == "demo operator" || e.Operation == registry.HubWrite && e.Action == "Update" {
				got = append(got, change{e.Operation, e.Action, e.Target, e.Actor.Name})
			}
		case <-deadline:
			t.Fatalf("changes are %v", got)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stop()
}

// TestHabits: devices that come again are not what they were.
func TestHabits(t *testing.T) {
	h := startHub(t)
	f, stop := startFleet(t, h, t.TempDir(), 40, time.Hour)
	stop()
	for _, tt := range []struct {
		habit habit
		other func(first, second *ingest.Event) bool
	}{
		{habitRollback, func(a, b *ingest.Event) bool {
			return a.TlsVersion == "1.2" && b.TlsVersion == "1.0" && a.SdkVersion != b.SdkVersion
		}},
		{habitRepair, func(a, b *ingest.Event) bool {
			return a.WouldFailStrict && !b.WouldFailStrict && a.SdkVersion != b.SdkVersion
		}},
		{habitRoams, func(a, b *ingest.Event) bool { return a.MaskedIpAddress != b.MaskedIpAddress && a.IpHash != b.IpHash }},
	} {
		i := slices.IndexFunc(f.profiles, func(p profile) bool { return p.habit == tt.habit })
		p := f.profiles[i]
		p.session = time.Millisecond
		plant, err := f.authority("plant", "")
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.enrol(t.Context(), &p, plant, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 1))
		var seen []ingest.Event
		for n := range 2 {
			h.recorder.mu.Lock()
			before := len(h.recorder.events)
			h.recorder.mu.Unlock()
			if err := f.attempt(t.Context(), m, n, random, func() {}); err != nil {
				t.Fatal(err)
			}
			count := 0
			seen = append(seen, h.find(t, p.id, func(e *ingest.Event) bool {
				count++
				return count > before && e.OperationName == "deviceConnect" && e.DeviceId == p.id
			}))
		}
		if runtime.GOOS != "linux" && tt.habit == habitRoams {
			continue // one address
		}
		if !tt.other(&seen[0], &seen[1]) {
			t.Errorf("%s %s: %+v, then %+v", p.id, tt.habit, seen[0], seen[1])
		}
	}
}

func TestFleetWithoutHub(t *testing.T) {
	f, err := NewFleet(FleetConfig{Registry: registry.New(registry.NewMemory(), registry.Config{}), LegacyHub: "demo", StrictHub: "strict", MQTT: "127.0.0.1:1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `hub "demo": not found`) {
		t.Errorf("error is %v", err)
	}
}
