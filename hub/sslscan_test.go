package hub_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub"
)

// The suites of the IoT Hub TLS document in OpenSSL's names, as sslscan prints
// them.
var (
	recommended = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384",
		"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384",
	}
	legacy = []string{
		"AES128-GCM-SHA256", "AES128-SHA", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA", "AES256-SHA256",
		"DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA",
	}
	// legacySHA1 are those of them that TLS 1.0 and 1.1 have.
	legacySHA1 = []string{"AES128-SHA", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA"}
	suites13   = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)

// TestSuitesSeenFromOutside asks an independent scanner what each kind of hub
// serves: exactly what the document says, and nothing else.
func TestSuitesSeenFromOutside(t *testing.T) {
	sslscan := needTool(t, "sslscan")
	s := newStack(t, func(c *hub.Config) { c.Flood.Burst = 100_000 })
	for _, tt := range []struct {
		host string
		want map[string][]string
	}{
		{"strict.localhost", map[string][]string{"TLSv1.2": recommended, "TLSv1.3": suites13}},
		{"modern.localhost", map[string][]string{"TLSv1.3": suites13}},
		{"demo.localhost", map[string][]string{
			"TLSv1.0": legacySHA1, "TLSv1.1": legacySHA1, "TLSv1.2": slices.Sorted(slices.Values(slices.Concat(recommended, legacy))), "TLSv1.3": suites13,
		}},
	} {
		t.Run(tt.host, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "scan.xml")
			out, err := exec.Command(sslscan, "--xml="+file, "--no-colour", "--no-heartbleed", "--no-check-certificate", "--sni-name="+tt.host, s.addr).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var scan struct {
				Test struct {
					Ciphers []struct {
						Version string `xml:"sslversion,attr"`
						Name    string `xml:"cipher,attr"`
					} `xml:"cipher"`
				} `xml:"ssltest"`
			}
			if err := xml.Unmarshal(data, &scan); err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for _, c := range scan.Test.Ciphers {
				got[c.Version] = append(got[c.Version], c.Name)
			}
			for _, list := range got {
				slices.Sort(list)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("suites (-want +got)\n%s", diff)
			}
		})
	}
}
