package hub

import (
	"net/netip"
	"testing"
	"time"

	"hubscope/hub/handshake"
)

func TestAddresses(t *testing.T) {
	key := []byte("0123456789abcdef")
	for address, want := range map[string]string{
		"192.0.2.17":           "192.0.2.XXX",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:XXXX:XXXX:XXXX:XXXX:XXXX",
		"::1":                  "0:0:0:XXXX:XXXX:XXXX:XXXX:XXXX",
	} {
		a := netip.MustParseAddr(address)
		if got := maskAddress(a); got != want {
			t.Errorf("%s: want %s, got %s", address, want, got)
		}
		h := hashAddress(key, a)
		if len(h) != 16 || h == hashAddress([]byte("fedcba9876543210"), a) || h != hashAddress(key, a) {
			t.Errorf("%s: hash %s", address, h)
		}
	}
	for remote, want := range map[string]string{"10.1.2.3:443": "10.1.2.XXX", "[::ffff:10.1.2.3]:1": "10.1.2.XXX", "10.1.2.3": "10.1.2.XXX",
		"[2001:db8::1]:443": "2001:db8:0:XXXX:XXXX:XXXX:XXXX:XXXX", "somewhere": "", "": ""} {
		if got := MaskAddress(remote); got != want {
			t.Errorf("MaskAddress(%q) is %q, want %q", remote, got, want)
		}
	}
	if maskAddress(netip.Addr{}) != "" || hashAddress(key, netip.Addr{}) != "" {
		t.Error("an unknown address is not empty")
	}
	if sourceOf(netip.MustParseAddr("2001:db8::1")) != sourceOf(netip.MustParseAddr("2001:db8::2:3")) {
		t.Error("one /64 is two sources")
	}
}

func TestSequence(t *testing.T) {
	var s sequence
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, b := s.next(now), s.next(now)
	c := s.next(now.Add(-time.Hour)) // a clock that goes back
	d := s.next(now.Add(time.Second))
	if a != now.UnixMicro() || b != a+1 || c != b+1 || d != now.Add(time.Second).UnixMicro() {
		t.Errorf("%d %d %d %d", a, b, c, d)
	}
}

func TestFloodBuckets(t *testing.T) {
	f := newFlood(FloodConfig{Burst: 2, PerSecond: 1, SampleEvery: 3, Window: 10 * time.Second, MaxSources: 2})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := netip.MustParseAddr("192.0.2.1")
	admitted := func(a netip.Addr, n int) (yes int) {
		for range n {
			if f.admit(a, "demo", now) {
				yes++
			}
		}
		return yes
	}
	if got := admitted(a, 8); got != 4 { // the burst, and 2 samples of 6
		t.Errorf("want 4 of 8, got %d", got)
	}
	if got := f.due(now.Add(9*time.Second), false); len(got) != 0 {
		t.Errorf("a summary within the window: %+v", got)
	}
	if got := f.due(now.Add(10*time.Second), false); len(got) != 1 || got[0].count != 4 || got[0].address != a {
		t.Errorf("summary: %+v", got)
	}
	if len(f.sources) != 0 {
		t.Errorf("%d quiet sources are remembered", len(f.sources))
	}
	for i := range 10 {
		admitted(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)
	}
	if n := len(f.sources); n != 3 { // two, and that of all others
		t.Errorf("%d sources are remembered", n)
	}
	total := int64(0)
	for _, s := range f.due(now, true) {
		total += s.count
	}
	if total == 0 {
		t.Error("nothing was counted for the others")
	}
}

func TestResults(t *testing.T) {
	if r := AlertSent(handshake.NewAlert(70)); r.Type() != "495070" || r.Name != "tls.protocol_version" {
		t.Errorf("%+v", r)
	}
	if r := AlertReceived(handshake.NewAlert(48)); r.Type() != "496048" || r.Name != "tls.client.unknown_ca" {
		t.Errorf("%+v", r)
	}
	if (Result{}).Type() != "" {
		t.Error("success has a code")
	}
}
