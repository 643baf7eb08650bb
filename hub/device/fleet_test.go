package device

import (
	"context"
	"fmt"
	"log/slog"
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
		}
		if !ids[showcase] || len(faults) != len(faulty) || twins != 1 || restless < n/10 {
			t.Errorf("of %d devices: showcase %v, %d faults, %d twins, %d restless", n, ids[showcase], len(faults), twins, restless)
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
func startFleet(t *testing.T, h *testHub, dir string, devices int) (f *Fleet, stop func()) {
	t.Helper()
	f, err := NewFleet(FleetConfig{
		Registry: h.registry, LegacyHub: "demo", StrictHub: "strict", MQTT: h.addr, HTTPS: h.web, Roots: h.roots,
		Dir: dir, Devices: devices, Ramp: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
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
	f, stop := startFleet(t, h, dir, 60)
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
			e := h.find(t, p.id, func(e *ingest.Event) bool { return e.OperationName == "deviceConnect" && e.DeviceId == p.id })
			hub := "demo"
			if p.strictHub {
				hub = "strict"
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
	again, stop := startFleet(t, h, dir, 60)
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
	third, stop := startFleet(t, h, t.TempDir(), 60)
	if s := third.Stats(); s.Connects < 60-int64(len(faulty)) {
		t.Errorf("statistics are %+v", s)
	}
	stop()
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
