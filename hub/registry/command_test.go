package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"hubscope/hub/ca"
)

// cli runs commands as the binary does.
type cli struct {
	t *testing.T
	r *Registry
}

func (c cli) run(args ...string) (string, error) {
	c.t.Helper()
	var commands struct {
		Registry RegistryCommand `cmd:""`
		CA       CACommand       `cmd:"" name:"ca"`
		Hub      HubCommand      `cmd:""`
	}
	var out bytes.Buffer
	parser, err := kong.New(&commands, kong.Name("hubscope"), kong.Exit(func(int) { c.t.Fatal("exit") }))
	if err != nil {
		c.t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return "", err
	}
	parsed.BindTo(c.t.Context(), (*context.Context)(nil))
	err = parsed.Run(&Shell{Registry: c.r, Out: &out})
	return out.String(), err
}

func (c cli) ok(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
	return out
}

func (c cli) fails(want string, args ...string) {
	c.t.Helper()
	out, err := c.run(args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		c.t.Errorf("%v: error is %v, want %q", args, err, want)
	}
	if out != "" {
		c.t.Errorf("%v: printed %q", args, out)
	}
}

func newCLI(t *testing.T) cli {
	return cli{t, newRegistry(t, NewMemory())}
}

func decodeJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return v
}

func TestRegistryCommands(t *testing.T) {
	c := newCLI(t)
	sas := decodeJSON[DeviceJSON](t, c.ok("registry", "add", "pump-0417", "--primary-key", testKey, "--secondary-key", testKey, "--output", "json"))
	k := testKey
	want := DeviceJSON{
		DeviceID: "pump-0417", GenerationID: sas.GenerationID, ETag: sas.ETag, ConnectionState: "Disconnected", Status: Enabled,
		ConnectionStateUpdatedTime: "0001-01-01T00:00:00Z", LastActivityTime: "0001-01-01T00:00:00Z", StatusUpdatedTime: "2026-11-22T12:00:00.0000000Z",
		Authentication:   AuthenticationJSON{SymmetricKey: SymmetricKeyJSON{&k, &k}, Type: "sas"},
		ConnectionString: "HostName=localhost;DeviceId=pump-0417;SharedAccessKey=" + testKey,
	}
	if diff := cmp.Diff(want, sas); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	thumbprint := strings.Repeat("ab:", 19) + "ab"
	x := decodeJSON[DeviceJSON](t, c.ok("registry", "add", "valve", "--auth", "x509-thumbprint", "--thumbprint", thumbprint, "--output", "json"))
	if *x.Authentication.X509Thumbprint.PrimaryThumbprint != strings.Repeat("AB", 20) || x.ConnectionString != "HostName=localhost;DeviceId=valve;x509=true" {
		t.Errorf("device is %+v", x)
	}
	c.ok("registry", "add", "meter", "--auth", "x509-ca", "--disabled")

	l, err := ca.SelfSigned("lift", ca.DeviceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "lift.pem")
	if err := os.WriteFile(file, l.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	lift := decodeJSON[DeviceJSON](t, c.ok("registry", "add", "lift", "--auth", "x509-thumbprint", "--cert", file, "-o", "json"))
	if _, s := Thumbprints(l.Certificate); *lift.Authentication.X509Thumbprint.PrimaryThumbprint != s {
		t.Errorf("thumbprint is %v, want %s", lift.Authentication.X509Thumbprint, s)
	}

	wantTable := `DEVICE     STATUS    AUTH            CREATED               REASON
lift       enabled   x509Thumbprint  2026-11-22T12:00:00Z
meter      disabled  x509Ca          2026-11-22T12:00:00Z
pump-0417  enabled   sas             2026-11-22T12:00:00Z
valve      enabled   x509Thumbprint  2026-11-22T12:00:00Z
`
	if diff := cmp.Diff(wantTable, c.ok("registry", "list")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if list := decodeJSON[[]DeviceJSON](t, c.ok("registry", "list", "--status", "disabled", "-o", "json")); len(list) != 1 || list[0].DeviceID != "meter" {
		t.Errorf("list is %+v", list)
	}
	if out := c.ok("registry", "disable", "valve", "lift", "--reason", "stolen"); out != "valve disabled\nlift disabled\n" {
		t.Errorf("disable printed %q", out)
	}
	wantShow := `device              valve
hub                 demo
status              disabled
reason              stolen
auth                x509Thumbprint
primary thumbprint  ABABABABABABABABABABABABABABABABABABABAB
created             2026-11-22T12:00:00Z
connection string   HostName=localhost;DeviceId=valve;x509=true
`
	if diff := cmp.Diff(wantShow, c.ok("registry", "show", "valve")); diff != "" {
		t.Errorf("show (-want +got):\n%s", diff)
	}
	if d := decodeJSON[DeviceJSON](t, c.ok("registry", "enable", "valve", "-o", "json")); d.Status != Enabled || d.StatusReason != nil {
		t.Errorf("enabled device is %+v", d)
	}
	token, err := ParseToken(strings.TrimSpace(c.ok("registry", "token", "pump-0417", "--ttl", "30m")))
	if err != nil {
		t.Fatal(err)
	}
	if token.Verify(testKey) != 0 || token.Resource != "localhost/devices/pump-0417" || !token.Expiry.Equal(noon.Add(30*time.Minute)) {
		t.Errorf("token is %+v", token)
	}
	if out := c.ok("registry", "delete", "valve"); out != "valve deleted\n" {
		t.Errorf("delete printed %q", out)
	}

	c.fails(`device "valve": not found`, "registry", "show", "valve")
	c.fails(`device "valve": not found`, "registry", "disable", "valve")
	c.fails(`device "valve": not found`, "registry", "delete", "valve")
	c.fails(`device "meter": exists already`, "registry", "add", "meter")
	c.fails("only ASCII letters", "registry", "add", "a b")
	c.fails("needs --thumbprint or --cert", "registry", "add", "x", "--auth", "x509-thumbprint")
	c.fails("does not go with type sas", "registry", "add", "x", "--thumbprint", thumbprint)
	c.fails("neither a SHA-1 (40) nor a SHA-256 (64)", "registry", "add", "x", "--auth", "x509-thumbprint", "--thumbprint", "abc")
	c.fails("must be one of", "registry", "add", "x", "--auth", "password")
	c.fails("no such file", "registry", "add", "x", "--auth", "x509-thumbprint", "--cert", file+".missing")
	c.fails("authenticates with x509Ca, not with SAS", "registry", "token", "meter")
	c.fails(`hub "plant": not found`, "registry", "list", "--hub", "plant")

	// What can be done is done.
	out, err := c.run("registry", "disable", "nobody", "meter")
	if err == nil || out != "meter disabled\n" {
		t.Errorf("printed %q, error is %v", out, err)
	}
}

func TestWhichHub(t *testing.T) {
	c := newCLI(t)
	c.ok("registry", "add", "x")
	c.ok("hub", "create", "strict", "--host", "strict.localhost", "--min-tls", "1.3")
	c.fails("there are several hubs (demo, strict); choose one with --hub", "registry", "list")
	c.ok("registry", "add", "x", "--hub", "strict")
	if d := decodeJSON[DeviceJSON](t, c.ok("registry", "show", "x", "--hub", "strict", "-o", "json")); !strings.HasPrefix(d.ConnectionString, "HostName=strict.localhost;") {
		t.Errorf("connection string is %q", d.ConnectionString)
	}
	c.ok("hub", "delete", "strict")
	c.ok("hub", "delete", "demo")
	c.fails("hubscope hub create", "registry", "list")
}

func TestHubCommands(t *testing.T) {
	c := newCLI(t)
	if out := c.ok("hub", "set", "demo", "--min-tls", "1.0", "--add-host", "demo.localhost", "--add-host", "localhost"); strings.Contains(out, "SharedAccessKey") {
		t.Errorf("set printed\n%s", out)
	}
	h := decodeJSON[HubJSON](t, c.ok("hub", "show", "demo", "-o", "json"))
	if diff := cmp.Diff([]string{"localhost", "127.0.0.1", "::1", "demo.localhost"}, h.HostNames); diff != "" {
		t.Errorf("host names (-want +got):\n%s", diff)
	}
	cs, err := ParseConnectionString(h.ConnectionStrings["iothubowner"])
	if err != nil || h.MinTLSVersion != TLS10 || cs.HostName != "localhost" || cs.SharedAccessKeyName != "iothubowner" {
		t.Errorf("hub is %+v (%v)", h, err)
	}
	want := `HUB   MIN TLS  HOST NAMES                                 CREATED
demo  1.0      localhost, 127.0.0.1, ::1, demo.localhost  2026-11-22T12:00:00Z
`
	if diff := cmp.Diff(want, c.ok("hub", "list")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if out := c.ok("hub", "show"); !strings.Contains(out, "min TLS") || !strings.Contains(out, "1.0 (legacy") || !strings.Contains(out, "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect") {
		t.Errorf("show printed\n%s", out)
	}
	c.fails("nothing to set", "hub", "set", "demo")
	c.fails("must be one of", "hub", "set", "demo", "--min-tls", "1.1")
	c.fails(`hub "plant": not found`, "hub", "set", "plant", "--min-tls", "1.2")
	c.fails("exists already", "hub", "create", "demo")
	c.fails("is not a hub name", "hub", "create", "a_b")
}

func TestCACommands(t *testing.T) {
	c := newCLI(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plant, other := authority(t, "Plant root"), authority(t, "Other root")
	plantFile := file("plant.pem", ca.CertificatePEM(plant.Certificate))
	if j := decodeJSON[CertificateJSON](t, c.ok("ca", "add", "plant", plantFile, "--output", "json")); j.Properties.IsVerified || j.Properties.Subject != "Plant root" {
		t.Errorf("CA is %+v", j)
	}
	if out := c.ok("ca", "add", "other", file("other.der", other.Certificate.Raw), "--verified"); !strings.Contains(out, "verified    yes") {
		t.Errorf("add printed\n%s", out)
	}
	code := strings.TrimSpace(c.ok("ca", "code", "plant"))
	if j := decodeJSON[CertificateJSON](t, c.ok("ca", "show", "plant", "-o", "json")); j.Properties.VerificationCode != code {
		t.Errorf("code is %q, want %q", j.Properties.VerificationCode, code)
	}
	proof := func(a *ca.Authority, code string) string {
		t.Helper()
		cert, err := a.Verification(code)
		if err != nil {
			t.Fatal(err)
		}
		return file("proof.pem", ca.CertificatePEM(cert))
	}
	c.fails("is not the verification code", "ca", "verify", "plant", proof(plant, "X"))
	c.fails("is not signed by the key of CA", "ca", "verify", "plant", proof(other, code))
	if j := decodeJSON[CertificateJSON](t, c.ok("ca", "verify", "plant", proof(plant, code), "-o", "json")); !j.Properties.IsVerified {
		t.Errorf("CA is %+v", j)
	}
	crl := crlOf(t, plant, "plant", plant.Certificate.SerialNumber)
	if out := c.ok("ca", "crl", "plant", file("plant.crl", crl.DER)); !strings.Contains(out, "revoked certificates  1") {
		t.Errorf("crl printed\n%s", out)
	}
	list := decodeJSON[[]CertificateJSON](t, c.ok("ca", "list", "-o", "json"))
	if len(list) != 2 || list[0].Name != "other" || list[1].Name != "plant" || !list[0].Properties.IsVerified || !list[1].Properties.IsVerified {
		t.Errorf("list is %+v", list)
	}
	if out := c.ok("ca", "list"); !strings.HasPrefix(out, "CA     VERIFIED  SUBJECT        EXPIRES") {
		t.Errorf("list printed\n%s", out)
	}
	if out := c.ok("ca", "delete", "plant", "other"); out != "plant deleted\nother deleted\n" {
		t.Errorf("delete printed %q", out)
	}
	c.fails(`CA "plant": not found`, "ca", "show", "plant")
	c.fails(`CA "plant": not found`, "ca", "crl", "plant", plantFile)
	c.fails("is not a CA certificate", "ca", "add", "leaf", file("leaf.pem", ca.CertificatePEM(leaf(t, nil, "pump", nil)[0])))
	c.fails("no such file", "ca", "add", "plant", plantFile+".missing")
}
