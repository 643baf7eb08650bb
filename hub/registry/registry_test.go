package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hubscope/hub/ca"
)

func newRegistry(t *testing.T, s Store) *Registry {
	t.Helper()
	r := New(s, Config{Now: func() time.Time { return noon }})
	if _, err := r.CreateHub(t.Context(), Hub{Name: "demo", HostNames: []string{"localhost", "127.0.0.1", "::1"}}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestValidateDeviceID(t *testing.T) {
	for id, ok := range map[string]bool{
		"pump-0417": true, oddID: true, "a": true, strings.Repeat("x", 128): true, "...": true,
		"": false, strings.Repeat("x", 129): false, "a b": false, "a/b": false, "a+b": false, "a#b": false,
		"a;b": false, "a&b": false, "a\x00": false, "pümp": false, "a\"b": false, "a>b": false, "a|b": false,
	} {
		if err := ValidateDeviceID(id); (err == nil) != ok {
			t.Errorf("%q: error is %v", id, err)
		}
	}
}

func TestNormalizeThumbprint(t *testing.T) {
	sha1Hex, sha256Hex := strings.Repeat("0A", 20), strings.Repeat("F9", 32)
	for in, want := range map[string]string{
		sha1Hex: sha1Hex, strings.ToLower(sha1Hex): sha1Hex, sha256Hex: sha256Hex,
		"0a:" + strings.Repeat("0A ", 19): sha1Hex, " " + sha256Hex + "\n": sha256Hex,
		"": "", sha1Hex[1:]: "", sha1Hex + "0A": "", strings.Repeat("0G", 20): "",
	} {
		got, err := NormalizeThumbprint(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestHubs(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		h := must(r.Hub(ctx, "demo"))(t)
		if h.MinTLSVersion != TLS12 || h.Legacy() || h.HostName() != "localhost" || len(h.Policies) != 5 {
			t.Errorf("defaults are %+v", h)
		}
		for _, p := range h.Policies {
			if k, err := base64.StdEncoding.DecodeString(p.PrimaryKey); err != nil || len(k) != 32 || p.PrimaryKey == p.SecondaryKey {
				t.Errorf("policy %s has keys %q and %q", p.Name, p.PrimaryKey, p.SecondaryKey)
			}
		}
		for host, want := range map[string]bool{"localhost": true, "LOCALHOST.": true, "localhost:8883": true, "[::1]:8883": true, "::1": true, "127.0.0.1:443": true, "local": false, "": false} {
			if h.Answers(host) != want {
				t.Errorf("answers to %q: %v, want %v", host, !want, want)
			}
		}
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "stays", Auth: Authentication{Type: AuthSAS}}))(t)
		_, err := r.CreateHub(ctx, Hub{Name: "demo"})
		wantError(t, ErrExists, err)
		must(r.Device(ctx, "demo", "stays"))(t)
		_, err = r.CreateHub(ctx, Hub{Name: "DEMO"})
		wantError(t, ErrExists, err)
		for name, bad := range map[string]Hub{
			"name":            {Name: "a"},
			"name with space": {Name: "a b c"},
			"host name":       {Name: "other", HostNames: []string{"a b"}},
			"taken host name": {Name: "other", HostNames: []string{"LocalHost"}},
			"version":         {Name: "other", MinTLSVersion: "1.1"},
			"policy key":      {Name: "other", Policies: []Policy{{Name: "p", PrimaryKey: "x", SecondaryKey: "x"}}},
			"policy twice":    {Name: "other", Policies: []Policy{DefaultPolicies()[0], DefaultPolicies()[0]}},
		} {
			var invalid *InvalidError
			if _, err := r.CreateHub(ctx, bad); !errors.As(err, &invalid) {
				t.Errorf("%s: error is %v", name, err)
			}
		}

		updated := must(r.UpdateHub(ctx, "demo", h.ETag(), func(h *Hub) error { h.MinTLSVersion = TLS10; return nil }))(t)
		if !updated.Legacy() || updated.ETag() == h.ETag() {
			t.Errorf("update gave %+v", updated)
		}
		if diff := cmp.Diff(updated, must(r.Hub(ctx, "demo"))(t)); diff != "" {
			t.Errorf("stored (-returned +stored):\n%s", diff)
		}
		_, err = r.UpdateHub(ctx, "demo", h.ETag(), func(h *Hub) error { return nil })
		wantError(t, ErrConflict, err)
		_, err = r.UpdateHub(ctx, "nobody", "", func(h *Hub) error { return nil })
		wantError(t, ErrNotFound, err)

		must(r.CreateHub(ctx, Hub{Name: "another"}))(t)
		var names []string
		for _, h := range must(r.Hubs(ctx))(t) {
			names = append(names, h.Name)
		}
		if diff := cmp.Diff([]string{"another", "demo"}, names); diff != "" {
			t.Errorf("hubs (-want +got):\n%s", diff)
		}

		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		must(r.CreateDevice(ctx, Device{Hub: "another", ID: "pump"}))(t)
		wantError(t, ErrConflict, r.DeleteHub(ctx, "demo", h.ETag()))
		if err := r.DeleteHub(ctx, "demo", updated.ETag()); err != nil {
			t.Fatal(err)
		}
		_, err = r.Hub(ctx, "demo")
		wantError(t, ErrNotFound, err)
		must(r.CreateHub(ctx, Hub{Name: "demo"}))(t)
		_, err = r.Device(ctx, "demo", "pump")
		wantError(t, ErrNotFound, err)
		must(r.Device(ctx, "another", "pump"))(t)
	})
}

func TestDevices(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		thumbprint := strings.Repeat("ab", 20)
		d := must(r.CreateDevice(ctx, Device{Hub: "demo", ID: oddID}))(t)
		if d.Status != Enabled || d.Auth.Type != AuthSAS || d.Auth.PrimaryKey == "" || d.Auth.PrimaryKey == d.Auth.SecondaryKey || d.GenerationID != "639309456000000000" {
			t.Errorf("defaults are %+v", d)
		}
		if diff := cmp.Diff(d, must(r.Device(ctx, "demo", oddID))(t)); diff != "" {
			t.Errorf("stored (-returned +stored):\n%s", diff)
		}
		if want, got := "HostName=localhost;DeviceId="+oddID+";SharedAccessKey="+d.Auth.PrimaryKey, d.ConnectionString("localhost"); got != want {
			t.Errorf("connection string is %q, want %q", got, want)
		}
		x := must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "x", Auth: Authentication{Type: AuthThumbprint, PrimaryThumbprint: thumbprint}}))(t)
		if x.Auth.PrimaryThumbprint != strings.ToUpper(thumbprint) || x.ConnectionString("localhost") != "HostName=localhost;DeviceId=x;x509=true" {
			t.Errorf("thumbprint device is %+v", x)
		}
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "c", Auth: Authentication{Type: AuthCA}}))(t)

		_, err := r.CreateDevice(ctx, Device{Hub: "demo", ID: "x"})
		wantError(t, ErrExists, err)
		_, err = r.CreateDevice(ctx, Device{Hub: "nowhere", ID: "y"})
		wantError(t, ErrNotFound, err)
		for property, bad := range map[string]Device{
			"deviceId":                      {ID: "a b"},
			"status":                        {Status: "off"},
			"statusReason":                  {StatusReason: strings.Repeat("x", 129)},
			"authentication.type":           {Auth: Authentication{Type: "none"}},
			"authentication":                {Auth: Authentication{Type: AuthCA, PrimaryKey: testKey}},
			"authentication.x509Thumbprint": {Auth: Authentication{Type: AuthThumbprint}},
			"authentication.x509Thumbprint.secondaryThumbprint": {Auth: Authentication{Type: AuthThumbprint, SecondaryThumbprint: "x"}},
			"authentication.symmetricKey":                       {Auth: Authentication{Type: AuthThumbprint, PrimaryThumbprint: thumbprint, PrimaryKey: testKey}},
			"authentication.symmetricKey.primaryKey":            {Auth: Authentication{Type: AuthSAS, PrimaryKey: "secret"}},
			"authentication.symmetricKey.secondaryKey":          {Auth: Authentication{Type: AuthSAS, SecondaryKey: "AAAA"}},
			"authentication.x509Thumbprint (of type sas)":       {Auth: Authentication{Type: AuthSAS, PrimaryThumbprint: thumbprint}},
		} {
			bad.Hub = "demo"
			if bad.ID == "" {
				bad.ID = "bad"
			}
			var invalid *InvalidError
			if _, err := r.CreateDevice(ctx, bad); !errors.As(err, &invalid) || invalid.Property != strings.TrimSuffix(property, " (of type sas)") {
				t.Errorf("%s: error is %v", property, err)
			}
		}

		off := must(r.UpdateDevice(ctx, "demo", "x", x.ETag(), func(d *Device) error {
			d.Status, d.StatusReason, d.ID, d.GenerationID = Disabled, "stolen", "y", "1"
			return nil
		}))(t)
		if off.Status != Disabled || off.ID != "x" || off.GenerationID != x.GenerationID || off.ETag() == x.ETag() {
			t.Errorf("update gave %+v", off)
		}
		_, err = r.UpdateDevice(ctx, "demo", "x", `"`+x.ETag()+`"`, func(d *Device) error { return nil })
		wantError(t, ErrConflict, err)
		must(r.UpdateDevice(ctx, "demo", "x", `"`+off.ETag()+`"`, func(d *Device) error { return nil }))(t)
		must(r.UpdateDevice(ctx, "demo", "x", "*", func(d *Device) error { return nil }))(t)
		if got, want := must(r.Statistics(ctx, "demo"))(t), (Statistics{Total: 3, Enabled: 2, Disabled: 1}); got != want {
			t.Errorf("statistics are %+v, want %+v", got, want)
		}
		// A change of the type brings what the new one needs.
		sas := must(r.UpdateDevice(ctx, "demo", "x", "", func(d *Device) error { d.Auth = Authentication{Type: AuthSAS}; return nil }))(t)
		if sas.Auth.PrimaryKey == "" {
			t.Error("no keys were made")
		}

		wantError(t, ErrConflict, r.DeleteDevice(ctx, "demo", "x", off.ETag()))
		if err := r.DeleteDevice(ctx, "demo", "x", ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.Device(ctx, "demo", "x")
		wantError(t, ErrNotFound, err)
		wantError(t, ErrNotFound, r.DeleteDevice(ctx, "demo", "x", ""))
		wantError(t, ErrNotFound, r.DeleteDevice(ctx, "demo", "not/an/id", ""))
	})
}

func TestDevicePages(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		for i := range 25 {
			must(r.CreateDevice(ctx, Device{Hub: "demo", ID: fmt.Sprint(i)}))(t)
		}
		seen := map[string]int{}
		pages := 0
		for page := (Page{Limit: 10}); ; pages++ {
			devices, next, err := r.Devices(ctx, "demo", page)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range devices {
				seen[d.ID]++
			}
			if pages == 0 { // seen again, not missed
				must(r.UpdateDevice(ctx, "demo", "3", "", func(d *Device) error { d.StatusReason = "x"; return nil }))(t)
			}
			if next == 0 {
				break
			}
			page.After = next
		}
		if len(seen) != 25 || seen["3"] != 2 || seen["24"] != 1 {
			t.Errorf("saw %v", seen)
		}
	})
}

// TestConcurrentUpdates: nobody's change is lost.
func TestConcurrentUpdates(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "x"}))(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 5 {
					_, err := r.UpdateDevice(ctx, "demo", "x", "", func(d *Device) error { d.StatusReason += fmt.Sprint(i); return nil })
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if d := must(r.Device(ctx, "demo", "x"))(t); len(d.StatusReason) != 40 {
			t.Errorf("of 40 changes %d are there", len(d.StatusReason))
		}
	})
}

func TestCAForms(t *testing.T) {
	a := authority(t, "Plant root")
	text := ca.CertificatePEM(a.Certificate)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	b64 := func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }
	for name, data := range map[string][]byte{
		"PEM": text, "DER": a.Certificate.Raw, "base64 of PEM": b64(text), "base64 of DER": b64(a.Certificate.Raw),
		"behind other blocks": append(key, text...), "with text around": append([]byte("subject=CN\n"), text...),
	} {
		if cert, err := ParseCertificate(data); err != nil || !cert.Equal(a.Certificate) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("hello"), "key": key, "cut": text[:100], "cut DER": a.Certificate.Raw[:50], "base64 of text": b64([]byte("hello"))} {
		if _, err := ParseCertificate(data); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestCAs(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		plant, other := authority(t, "Plant root"), authority(t, "Other root")
		text := ca.CertificatePEM(plant.Certificate)
		c := must(r.CreateCA(ctx, "demo", "plant", text, false))(t)
		if c.Verified || c.Subject() != "CN=Plant root" || len(c.Thumbprint()) != 40 || !c.Expiry().Equal(plant.Certificate.NotAfter) {
			t.Errorf("CA is %+v", c)
		}
		_, err := r.CreateCA(ctx, "demo", "plant", ca.CertificatePEM(other.Certificate), false)
		wantError(t, ErrExists, err)
		_, err = r.CreateCA(ctx, "demo", "again", text, false)
		wantError(t, ErrExists, err)
		_, err = r.CreateCA(ctx, "nowhere", "plant", text, false)
		wantError(t, ErrNotFound, err)
		notCA := leaf(t, nil, "pump", nil)[0]
		ended, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: "Ended", NotBefore: noon.AddDate(-2, 0, 0), NotAfter: noon.AddDate(-1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		for name, certificate := range map[string][]byte{"a b": text, "leaf": ca.CertificatePEM(notCA), "text": []byte("x"), "ended": ca.CertificatePEM(ended.Certificate)} {
			var invalid *InvalidError
			if _, err := r.CreateCA(ctx, "demo", name, certificate, false); !errors.As(err, &invalid) {
				t.Errorf("%s: error is %v", name, err)
			}
		}
		if v := must(r.CreateCA(ctx, "demo", "other", ca.CertificatePEM(other.Certificate), true))(t); !v.Verified {
			t.Error("the CA is not verified")
		}
		var names []string
		for _, c := range must(r.CAs(ctx, "demo"))(t) {
			names = append(names, c.Name)
		}
		if diff := cmp.Diff([]string{"other", "plant"}, names); diff != "" {
			t.Errorf("CAs (-want +got):\n%s", diff)
		}
		got := must(r.CA(ctx, "demo", "plant"))(t)
		if diff := cmp.Diff(c, got, cmpopts.IgnoreUnexported(CA{})); diff != "" {
			t.Errorf("stored (-returned +stored):\n%s", diff)
		}
		wantError(t, ErrConflict, r.DeleteCA(ctx, "demo", "plant", "OTk5"))
		if err := r.DeleteCA(ctx, "demo", "plant", c.ETag()); err != nil {
			t.Fatal(err)
		}
		_, err = r.CA(ctx, "demo", "plant")
		wantError(t, ErrNotFound, err)
		_, err = r.CA(ctx, "demo", "not a name")
		wantError(t, ErrNotFound, err)
	})
}

func TestProofOfPossession(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t, NewMemory())
	plant, other := authority(t, "Plant root"), authority(t, "Plant root")
	must(r.CreateCA(ctx, "demo", "plant", ca.CertificatePEM(plant.Certificate), false))(t)
	proof := func(a *ca.Authority, code string) []byte {
		t.Helper()
		cert, err := a.Verification(code)
		if err != nil {
			t.Fatal(err)
		}
		return ca.CertificatePEM(cert)
	}
	refused := func(what string, data []byte, want string) {
		t.Helper()
		_, err := r.VerifyCA(ctx, "demo", "plant", "", data)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", what, err, want)
		}
		if must(r.CA(ctx, "demo", "plant"))(t).Verified {
			t.Fatalf("%s: the CA is verified", what)
		}
	}
	refused("no code", proof(plant, "X"), "no verification code was generated")
	first := must(r.GenerateVerificationCode(ctx, "demo", "plant", ""))(t).VerificationCode
	if len(first) != 48 || strings.Trim(first, "0123456789ABCDEF") != "" {
		t.Errorf("code is %q", first)
	}
	second := must(r.GenerateVerificationCode(ctx, "demo", "plant", ""))(t)
	refused("the code before", proof(plant, first), "is not the verification code")
	refused("another key with the same name", proof(other, second.VerificationCode), "is not signed by the key of CA")
	refused("no certificate", []byte("x"), "is neither PEM nor DER")
	_, err := r.VerifyCA(ctx, "demo", "plant", "OTk5", proof(plant, second.VerificationCode))
	wantError(t, ErrConflict, err)

	v := must(r.VerifyCA(ctx, "demo", "plant", second.ETag(), proof(plant, second.VerificationCode)))(t)
	if !v.Verified || v.VerificationCode != "" {
		t.Errorf("CA is %+v", v)
	}
	if _, err := r.GenerateVerificationCode(ctx, "demo", "plant", ""); err == nil {
		t.Error("a verified CA got a code")
	}
	// A renewed certificate is to be verified anew.
	renewed := must(r.ReplaceCA(ctx, "demo", "plant", "", ca.CertificatePEM(other.Certificate), false))(t)
	if renewed.Verified || !bytes.Equal(renewed.DER, other.Certificate.Raw) {
		t.Errorf("renewed CA is %+v", renewed)
	}
	// The same certificate again changes nothing.
	must(r.ReplaceCA(ctx, "demo", "plant", "", ca.CertificatePEM(other.Certificate), true))(t)
	if again := must(r.ReplaceCA(ctx, "demo", "plant", "", ca.CertificatePEM(other.Certificate), false))(t); !again.Verified {
		t.Error("the same certificate lost its verification")
	}
}

func TestSetCRL(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		plant, other := authority(t, "Plant root"), authority(t, "Other root")
		must(r.CreateCA(ctx, "demo", "plant", ca.CertificatePEM(plant.Certificate), true))(t)
		list := func(a *ca.Authority, at time.Time) []byte {
			t.Helper()
			der, err := a.RevocationList(1, at, at.AddDate(0, 0, 7), []ca.Revocation{{Serial: big.NewInt(42), At: at}})
			if err != nil {
				t.Fatal(err)
			}
			return der
		}
		_, err := r.CRL(ctx, "demo", "plant")
		wantError(t, ErrNotFound, err)
		_, err = r.SetCRL(ctx, "demo", "nobody", list(plant, noon))
		wantError(t, ErrNotFound, err)
		if _, err := r.SetCRL(ctx, "demo", "plant", list(other, noon)); err == nil || !strings.Contains(err.Error(), "is not signed by CA") {
			t.Errorf("another CA's list: error is %v", err)
		}
		if _, err := r.SetCRL(ctx, "demo", "plant", []byte("x")); err == nil {
			t.Error("text was taken")
		}
		asPEM := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list(plant, noon)})
		must(r.SetCRL(ctx, "demo", "plant", asPEM))(t)
		must(r.SetCRL(ctx, "demo", "plant", list(plant, noon.Add(time.Hour))))(t)
		if _, err := r.SetCRL(ctx, "demo", "plant", list(plant, noon)); err == nil || !strings.Contains(err.Error(), "older than the stored one") {
			t.Errorf("an older list: error is %v", err)
		}
		if crl := must(r.CRL(ctx, "demo", "plant"))(t); len(crl.List.RevokedCertificateEntries) != 1 {
			t.Errorf("list is %+v", crl.List)
		}
		if err := r.DeleteCA(ctx, "demo", "plant", ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.CRL(ctx, "demo", "plant")
		wantError(t, ErrNotFound, err)
	})
}

// failing is a store that can be made to fail.
type failing struct {
	Store
	mu   sync.Mutex
	down bool
}

func (f *failing) Get(ctx context.Context, kind Kind, key Key) (Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return Record{}, errors.New("no responders")
	}
	return f.Store.Get(ctx, kind, key)
}
