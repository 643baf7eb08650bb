package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub/ca"
)

// audited is a registry with what its audit was told.
func audited(t *testing.T) (*Registry, func() []AuditEntry) {
	t.Helper()
	var list []AuditEntry
	r := New(NewMemory(), Config{
		Now: func() time.Time { return noon }, Actor: Actor{Type: ActorProgram, Name: "test"},
		Audit: func(_ context.Context, e AuditEntry) { list = append(list, e) },
	})
	return r, func() []AuditEntry {
		taken := list
		list = nil
		return taken
	}
}

// line is an entry in short: who did what to what, which properties, result.
func line(e AuditEntry) string {
	code, _ := e.Result()
	return fmt.Sprintf("%s %s %s %s %s %s/%s %s", e.Hub, e.Operation, e.Action, e.Target, e.JSON(), e.Actor.Type, e.Actor.Name, code)
}

func lines(list []AuditEntry) (out []string) {
	for _, e := range list {
		out = append(out, line(e))
	}
	return out
}

// TestAudit: every change is told, with what was before and what is after, and
// no secret is among it.
func TestAudit(t *testing.T) {
	r, taken := audited(t)
	ctx := WithActor(t.Context(), Actor{Type: ActorPolicy, Name: "iothubowner", Address: "10.0.0.XXX"})
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, lines(taken())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	key := GenerateKey()
	if _, err := r.CreateHub(t.Context(), Hub{Name: "demo", MinTLSVersion: TLS10, Policies: []Policy{{Name: "owner", PrimaryKey: key, SecondaryKey: key, Rights: RegistryRead}}}); err != nil {
		t.Fatal(err)
	}
	check("a new hub", `demo Microsoft.Devices/IotHubs/Write Create demo {"authorizationPolicies.owner.rights":{"after":"RegistryRead"},"hostNames":{"after":["demo.localhost"]},"minTlsVersion":{"after":"1.0"}} program/test Success`)
	must(r.UpdateHub(ctx, "demo", "", func(h *Hub) error {
		h.MinTLSVersion, h.Tags = TLS12, map[string]string{"site": "north"}
		h.Policies[0].PrimaryKey = GenerateKey()
		return nil
	}))(t)
	check("a changed hub", `demo Microsoft.Devices/IotHubs/Write Update demo {"authorizationPolicies.owner.primaryKey":{"replaced":true},"minTlsVersion":{"before":"1.0","after":"1.2"},"tags":{"after":{"site":"north"}}} policy/iothubowner Success`)
	must(r.UpdateHub(ctx, "demo", "", func(h *Hub) error { return nil }))(t)
	check("nothing changed")
	if _, err := r.UpdateHub(ctx, "demo", "OTk5", func(h *Hub) error { return nil }); err == nil {
		t.Error("a stale ETag is accepted")
	}
	check("a refused change", `demo Microsoft.Devices/IotHubs/Write Update demo {} policy/iothubowner PreconditionFailed`)

	must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump", Auth: Authentication{PrimaryKey: key}}))(t)
	must(r.UpdateDevice(ctx, "demo", "pump", "", func(d *Device) error {
		d.Status, d.StatusReason, d.Auth.SecondaryKey = Disabled, "reported stolen", GenerateKey()
		return nil
	}))(t)
	thumb := strings.Repeat("AB", 20)
	must(r.UpdateDevice(ctx, "demo", "pump", "", func(d *Device) error {
		d.Auth = Authentication{Type: AuthThumbprint, PrimaryThumbprint: thumb}
		return nil
	}))(t)
	must(r.CreateModule(ctx, Device{Hub: "demo", ID: "pump", ModuleID: "filter", ManagedBy: "ops"}))(t)
	must(r.UpdateModule(ctx, "demo", "pump", "filter", "", func(d *Device) error { d.ManagedBy = ""; return nil }))(t)
	if err := r.DeleteModule(ctx, "demo", "pump", "filter", ""); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteDevice(ctx, "demo", "pump", ""); err != nil {
		t.Fatal(err)
	}
	wantError(t, ErrNotFound, r.DeleteDevice(ctx, "demo", "pump", ""))
	_, err := r.CreateDevice(ctx, Device{Hub: "demo", ID: strings.Repeat("a b", 1000)})
	if err == nil {
		t.Error("a bad id is accepted")
	}
	devices := taken()
	last := devices[len(devices)-1]
	if code, text := last.Result(); code != "ArgumentInvalid" || len(text) > 300 || len(last.Target) > 300 {
		t.Errorf("%s, %d bytes of text, %d of target", code, len(text), len(last.Target))
	}
	by := " policy/iothubowner "
	if diff := cmp.Diff([]string{
		`demo Microsoft.Devices/IotHubs/devices/Write Create pump {"authentication.type":{"after":"sas"},"status":{"after":"enabled"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/devices/Write Update pump {"authentication.symmetricKey.secondaryKey":{"replaced":true},"status":{"before":"enabled","after":"disabled"},"statusReason":{"after":"reported stolen"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/devices/Write Update pump {"authentication.symmetricKey.primaryKey":{"replaced":true},"authentication.symmetricKey.secondaryKey":{"replaced":true},"authentication.type":{"before":"sas","after":"selfSigned"},"authentication.x509Thumbprint.primaryThumbprint":{"after":"` + thumb + `"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/modules/Write Create pump/filter {"authentication.type":{"after":"sas"},"managedBy":{"after":"ops"},"status":{"after":"enabled"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/modules/Write Update pump/filter {"managedBy":{"before":"ops"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/modules/Delete Delete pump/filter {"authentication.type":{"before":"sas"},"status":{"before":"enabled"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/devices/Delete Delete pump {"authentication.type":{"before":"selfSigned"},"authentication.x509Thumbprint.primaryThumbprint":{"before":"` + thumb + `"},"status":{"before":"disabled"},"statusReason":{"before":"reported stolen"}}` + by + "Success",
		`demo Microsoft.Devices/IotHubs/devices/Delete Delete pump {}` + by + "NotFound",
	}, lines(devices[:len(devices)-1])); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}

	if err := r.DeleteHub(ctx, "demo", ""); err != nil {
		t.Fatal(err)
	}
	all := taken()
	if len(all) != 1 || all[0].Operation != HubDelete || all[0].Actor.Address != "10.0.0.XXX" || all[0].Time != noon {
		t.Errorf("a deleted hub: %+v", all)
	}
	if text := fmt.Sprint(lines(all), lines(devices)); strings.Contains(text, key) {
		t.Errorf("a key is shown: %s", text)
	}
}

// TestAuditOfCAs: certificates are told with what names them, codes and keys not.
func TestAuditOfCAs(t *testing.T) {
	r, taken := audited(t)
	ctx := t.Context()
	must(r.CreateHub(ctx, Hub{Name: "demo"}))(t)
	taken()
	plant := authority(t, "Plant")
	text := ca.CertificatePEM(plant.Certificate)
	must(r.CreateCA(ctx, "demo", "plant", text, false))(t)
	must(r.ReplaceCA(ctx, "demo", "plant", "", text, false))(t) // the same
	coded := must(r.GenerateVerificationCode(ctx, "demo", "plant", ""))(t)
	if _, err := r.VerifyCA(ctx, "demo", "plant", "", text); err == nil {
		t.Error("the CA itself proves possession")
	}
	must(r.ReplaceCA(ctx, "demo", "plant", "", text, true))(t)
	for _, at := range []time.Time{noon, noon.Add(time.Hour)} {
		list, err := plant.RevocationList(at.Unix(), at, at.AddDate(0, 0, 7), nil)
		if err != nil {
			t.Fatal(err)
		}
		must(r.SetCRL(ctx, "demo", "plant", list))(t)
	}
	if err := r.DeleteCA(ctx, "demo", "plant", ""); err != nil {
		t.Fatal(err)
	}
	wantError(t, ErrNotFound, r.DeleteCA(ctx, "demo", "not a name", ""))
	type short struct{ Operation, Action, Result string }
	var got []short
	var entries []AuditEntry
	for _, e := range taken() {
		code, _ := e.Result()
		got = append(got, short{strings.TrimPrefix(e.Operation, "Microsoft.Devices/IotHubs/certificates/"), e.Action, code})
		if e.Hub != "demo" || e.Err == nil && e.Target != "plant" || strings.Contains(e.JSON(), coded.VerificationCode) {
			t.Errorf("entry %s", line(e))
		}
		entries = append(entries, e)
	}
	want := []short{
		{"Write", "Create", "Success"}, {"generateVerificationCode/Action", "Update", "Success"}, {"verify/Action", "Update", "ArgumentInvalid"},
		{"Write", "Update", "Success"}, {"revocationList/Write", "Create", "Success"}, {"revocationList/Write", "Update", "Success"},
		{"Delete", "Delete", "Success"}, {"Delete", "Delete", "NotFound"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	thumb, _ := Thumbprints(plant.Certificate)
	if got, want := entries[0].Properties["thumbprint"], (Difference{After: thumb}); got != want {
		t.Errorf("thumbprint %+v, want %+v", got, want)
	}
	if got, want := entries[3].Properties["isVerified"], (Difference{Before: false, After: true}); got != want {
		t.Errorf("isVerified %+v, want %+v", got, want)
	}
	if got, want := entries[5].Properties["thisUpdate"], (Difference{Before: "2026-11-22T12:00:00Z", After: "2026-11-22T13:00:00Z"}); got != want {
		t.Errorf("thisUpdate %+v, want %+v", got, want)
	}
}

// TestAuditIsBounded: a record of any size makes an entry that can be read.
func TestAuditIsBounded(t *testing.T) {
	r, taken := audited(t)
	h := Hub{Name: "demo", Tags: map[string]string{"big": strings.Repeat("é", 100_000)}}
	for i := range 500 {
		h.Policies = append(h.Policies, Policy{Name: fmt.Sprint("p", i), PrimaryKey: GenerateKey(), SecondaryKey: GenerateKey(), Rights: RegistryRead})
	}
	must(r.CreateHub(t.Context(), h))(t)
	text := taken()[0].JSON()
	if len(text) > 16<<10 || !json.Valid([]byte(text)) || !strings.Contains(text, "more") {
		t.Errorf("%d bytes: %.200s", len(text), text)
	}
}

// TestAuditNamesTheCaller: over HTTP it is the policy of the token, or the
// resource manager, and the address as the server shows it; a refused token
// changes nothing, and is no entry.
func TestAuditNamesTheCaller(t *testing.T) {
	a := serviceAPI(t)
	var got []string
	a.r.config.Audit = func(_ context.Context, e AuditEntry) {
		got = append(got, fmt.Sprint(e.Operation, " ", e.Target, " ", e.Actor))
	}
	a.wants(answer{Status: 200}, "PUT", "/devices/pump", map[string]any{"deviceId": "pump"})
	a.wants(answer{Status: 200}, "POST", "/devices", []map[string]any{{"id": "a", "importMode": "create"}, {"id": "b", "importMode": "create"}})
	a.auth = "SharedAccessSignature sr=localhost&sig=x&se=1"
	a.wants(answer{Status: 401, Code: "IotHubUnauthorizedAccess"}, "DELETE", "/devices/pump", nil, "If-Match", "*")

	m := resourceManagerAPI(t)
	m.r.config.Audit = a.r.config.Audit
	m.wants(answer{Status: 200}, "PATCH", armPath+"/demo", `{"tags":{"site":"7"}}`)
	m.wants(answer{Status: 200}, "PUT", armPath+"/plant-7", `{"location":"here","properties":{"minTlsVersion":"1.2"}}`)
	m.wants(answer{Status: 200}, "PUT", armPath+"/plant-7", `{"location":"here","properties":{"minTlsVersion":"1.0"}}`)
	want := []string{
		"Microsoft.Devices/IotHubs/devices/Write pump {policy iothubowner 192.0.2.XXX}",
		"Microsoft.Devices/IotHubs/devices/Write a {policy iothubowner 192.0.2.XXX}",
		"Microsoft.Devices/IotHubs/devices/Write b {policy iothubowner 192.0.2.XXX}",
		"Microsoft.Devices/IotHubs/Write demo {token resource manager }",
		"Microsoft.Devices/IotHubs/Write plant-7 {token resource manager }",
		"Microsoft.Devices/IotHubs/Write plant-7 {token resource manager }",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
