package registry

import (
	"testing"
	"time"

	"hubscope/hub/ca"
)

// BenchmarkJudge answers: what do credentials cost at connect, beside a TLS
// handshake's 400 µs?
func BenchmarkJudge(b *testing.B) {
	root, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "Plant root", NotBefore: noon.AddDate(-1, 0, 0)})
	if err != nil {
		b.Fatal(err)
	}
	issued, err := root.Device("pump", ca.DeviceConfig{NotBefore: noon.AddDate(0, -1, 0)})
	if err != nil {
		b.Fatal(err)
	}
	chain := append(issued.Chain, issued.Certificate)
	trust := trustIn([]*CA{storedCA(root, "plant", true)})
	token, err := NewToken("localhost/devices/pump", "", key("p"), noon.Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	_, thumbprint := Thumbprints(issued.Certificate)
	for _, bb := range []struct {
		name    string
		auth    Authentication
		attempt Attempt
	}{
		{"sas", Authentication{Type: AuthSAS, PrimaryKey: key("p"), SecondaryKey: key("s")}, Attempt{Token: token}},
		{"thumbprint", Authentication{Type: AuthThumbprint, PrimaryThumbprint: thumbprint}, Attempt{Chain: chain}},
		{"ca", Authentication{Type: AuthCA}, Attempt{Chain: chain}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			bb.attempt.Hub, bb.attempt.DeviceID = "demo", "pump"
			device := &Device{ID: "pump", GenerationID: "1", Status: Enabled, Auth: bb.auth}
			hub := testHub()
			b.ReportAllocs()
			for b.Loop() {
				if _, refusal := judge(hub, trust, device, nil, bb.attempt, noon); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}
