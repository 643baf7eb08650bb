package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTwin(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		notices := make(chan string, 10)
		stop, err := s.Listen(func(notice []byte, _ func([]byte)) { notices <- string(notice[len(processID{}):]) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()

		twin := must(r.Twin(ctx, "demo", "pump", ""))(t)
		if got, want := string(twin.DeviceJSON()), `{"desired":{"$version":1},"reported":{"$version":1}}`; got != want {
			t.Errorf("a new twin is %s, want %s", got, want)
		}
		reported, err := DecodeProperties([]byte(`{"battery":{"volt":3.30,"cells":[1,2]},"$version":99}`))
		if err != nil {
			t.Fatal(err)
		}
		if v := must(r.Report(ctx, "demo", "pump", "", reported))(t).Reported.Version; v != 2 {
			t.Errorf("reported version %d, want 2", v)
		}
		first := must(r.UpdateTwin(ctx, "demo", "pump", "", "*", TwinPatch{
			Tags: map[string]any{"site": "7"}, Desired: map[string]any{"interval": 5, "gone": true},
		}))(t)
		want := `{"desired":{"hub":"demo","device":"pump","patch":{"$version":2,"gone":true,"interval":5},"version":2}}`
		if got := <-notices; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		second := must(r.UpdateTwin(ctx, "demo", "pump", "", first.ETag(), TwinPatch{Desired: map[string]any{"gone": nil}}))(t)
		want = `{"desired":{"hub":"demo","device":"pump","patch":{"$version":3,"gone":null},"version":3}}`
		if got := <-notices; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		_, err = r.UpdateTwin(ctx, "demo", "pump", "", first.ETag(), TwinPatch{})
		wantError(t, ErrConflict, err)
		stored := must(r.Twin(ctx, "demo", "pump", ""))(t)
		if got, want := string(stored.DeviceJSON()), `{"desired":{"$version":3,"interval":5},"reported":{"$version":2,"battery":{"cells":[1,2],"volt":3.30}}}`; got != want {
			t.Errorf("stored %s, want %s", got, want)
		}
		if stored.ETag() != second.ETag() || stored.Version != 5 || stored.Tags["site"] != "7" {
			t.Errorf("stored %+v", stored)
		}
		battery, _ := stored.Reported.Metadata["battery"].(map[string]any)
		if volt, _ := battery["volt"].(map[string]any); volt["$lastUpdated"] == nil || stored.Desired.Metadata["gone"] != nil {
			t.Errorf("metadata %v, %v", stored.Reported.Metadata, stored.Desired.Metadata)
		}
		replaced := must(r.UpdateTwin(ctx, "demo", "pump", "", "", TwinPatch{Replace: true, Desired: map[string]any{"mode": "eco"}}))(t)
		if len(replaced.Tags) != 0 || len(replaced.Desired.Values) != 1 || len(replaced.Reported.Values) != 1 {
			t.Errorf("replaced: %+v", replaced)
		}
		<-notices

		// A device that is made anew has a new twin.
		if err := r.DeleteDevice(ctx, "demo", "pump", ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.Twin(ctx, "demo", "pump", "")
		wantError(t, ErrNotFound, err)
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		if twin := must(r.Twin(ctx, "demo", "pump", ""))(t); twin.Version != 2 || len(twin.Reported.Values) != 0 {
			t.Errorf("it inherits %+v", twin)
		}
	})
}

// TestTwinLimits: what does not fit changes nothing.
func TestTwinLimits(t *testing.T) {
	r := newRegistry(t, NewMemory())
	ctx := t.Context()
	must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
	half := map[string]any{"a": strings.Repeat("x", 20<<10)}
	must(r.Report(ctx, "demo", "pump", "", half))(t)
	var invalid *InvalidError
	if _, err := r.Report(ctx, "demo", "pump", "", map[string]any{"b": half["a"]}); !errors.As(err, &invalid) {
		t.Errorf("40 KiB of reported properties: %v", err)
	}
	if _, err := r.UpdateTwin(ctx, "demo", "pump", "", "", TwinPatch{Tags: half}); !errors.As(err, &invalid) {
		t.Errorf("20 KiB of tags: %v", err)
	}
	if twin := must(r.Twin(ctx, "demo", "pump", ""))(t); twin.Reported.Version != 2 || twin.Tags != nil {
		t.Errorf("stored %+v", twin)
	}
	for _, bad := range []string{``, `null`, `[1]`, `1`, `{`, `{}{}`, `{"a.b":1}`, `{"a b":1}`, `{"a":{"$b":1}}`, `{"":1}`, `{"a":1e400}`,
		`{"a":` + strings.Repeat(`{"a":`, 10) + `1` + strings.Repeat("}", 11)} {
		if _, err := DecodeProperties([]byte(bad)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// FuzzTwinPatch: applying a patch twice changes nothing but the version and the
// times, and the metadata has the shape of the properties.
func FuzzTwinPatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":null,"c":1}}`), []byte(`{"a":{"b":[1,2]},"d":null}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var p Properties
		var last []byte
		for i, data := range [][]byte{one, two, two} {
			patch, err := DecodeProperties(data)
			if err != nil {
				return
			}
			p = p.apply(patch, noon.Add(time.Duration(i)))
			b, err := json.Marshal(p.Values)
			if err != nil {
				t.Fatal(err)
			}
			if i == 2 && string(b) != string(last) {
				t.Errorf("not idempotent:\n%s\n%s", last, b)
			}
			last = b
			if err := sameShape(p.Values, p.Metadata); err != nil {
				t.Errorf("%v: %v, %v", err, p.Values, p.Metadata)
			}
		}
	})
}

func sameShape(values, metadata map[string]any) error {
	for k, v := range values {
		m, ok := metadata[k].(map[string]any)
		if !ok {
			return fmt.Errorf("%q has no metadata", k)
		}
		if inner, ok := v.(map[string]any); ok {
			if err := sameShape(inner, m); err != nil {
				return err
			}
		}
	}
	for k := range metadata {
		if _, ok := values[k]; !ok && k != "$lastUpdated" {
			return fmt.Errorf("metadata of %q, which is not there", k)
		}
	}
	return nil
}

func TestMerge(t *testing.T) {
	object := map[string]any{"a": 1, "b": map[string]any{"c": 2}}
	got := merge(object, map[string]any{"a": nil, "b": map[string]any{"d": 3, "c": nil}, "e": map[string]any{"f": nil}})
	want := map[string]any{"b": map[string]any{"d": 3}, "e": map[string]any{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merge (-want +got)\n%s", diff)
	}
	if _, ok := object["a"]; !ok || !slices.Contains([]any{2}, object["b"].(map[string]any)["c"]) {
		t.Error("the object was changed")
	}
}

func TestModules(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		r := newRegistry(t, s)
		cache, changes := startCache(t, r, 0)
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		_, err := r.CreateModule(ctx, Device{Hub: "demo", ID: "nobody", ModuleID: "valve"})
		wantError(t, ErrNotFound, err)
		valve := must(r.CreateModule(ctx, Device{Hub: "demo", ID: "pump", ModuleID: "valve", ManagedBy: "plant"}))(t)
		_, err = r.CreateModule(ctx, Device{Hub: "demo", ID: "pump", ModuleID: "valve"})
		wantError(t, ErrExists, err)
		device := must(r.Device(ctx, "demo", "pump"))(t)
		attempt := func(resource, key string) *Refusal {
			_, refusal := cache.Authenticate(ctx, Attempt{Hub: "demo", DeviceID: "pump", ModuleID: "valve", Token: token(t, resource, "", key, noon.Add(time.Hour))})
			return refusal
		}
		if r := attempt("localhost/devices/pump/modules/valve", valve.Auth.PrimaryKey); r != nil {
			t.Errorf("the module is refused: %v", r)
		}
		if r := attempt("localhost/devices/pump", device.Auth.PrimaryKey); r == nil || r.Code != codeUnauthorized {
			t.Errorf("the device's token opens its module: %v", r)
		}
		if r := attempt("localhost/devices/pump/modules/other", valve.Auth.PrimaryKey); r == nil || r.Code != codeUnauthorized {
			t.Errorf("another module's token: %v", r)
		}
		id, refusal := cache.Authenticate(ctx, Attempt{Hub: "demo", DeviceID: "pump", ModuleID: "valve",
			Token: token(t, "localhost/devices/pump/modules/valve", "", valve.Auth.SecondaryKey, noon.Add(time.Hour))})
		if refusal != nil || id.ModuleID != "valve" || id.DeviceID != "pump" || id.Scope != "module" {
			t.Fatalf("%+v, %v", id, refusal)
		}
		// Whatever ends the device ends its modules.
		until := func(what string, code int) {
			t.Helper()
			for {
				select {
				case c := <-changes:
					if c.DeviceID != "" && c.DeviceID != "pump" {
						t.Errorf("change %+v", c)
					}
				case <-time.After(patience):
					t.Fatalf("%s: still let in", what)
				}
				if r := cache.Recheck(ctx, id); r != nil && r.Code == code {
					return
				}
			}
		}
		must(r.UpdateDevice(ctx, "demo", "pump", "", func(d *Device) error { d.Status = Disabled; return nil }))(t)
		until("disabled", codeDeviceDisabled)
		must(r.UpdateDevice(ctx, "demo", "pump", "", func(d *Device) error { d.Status = Enabled; return nil }))(t)
		if err := r.DeleteModule(ctx, "demo", "pump", "valve", valve.ETag()); err != nil {
			t.Fatal(err)
		}
		until("module deleted", codeModuleNotFound)
		if r := attempt("localhost/devices/pump/modules/valve", valve.Auth.PrimaryKey); r == nil || r.Code != codeModuleNotFound {
			t.Errorf("a deleted module: %v", r)
		}
		must(r.CreateModule(ctx, Device{Hub: "demo", ID: "pump", ModuleID: "b"}))(t)
		must(r.CreateModule(ctx, Device{Hub: "demo", ID: "pump", ModuleID: "a"}))(t)
		var names []string
		for _, m := range must(r.Modules(ctx, "demo", "pump"))(t) {
			names = append(names, m.ModuleID)
		}
		if !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("modules %v", names)
		}
		if err := r.DeleteDevice(ctx, "demo", "pump", ""); err != nil {
			t.Fatal(err)
		}
		must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
		if left := must(r.Modules(ctx, "demo", "pump"))(t); len(left) != 0 {
			t.Errorf("%d modules of the earlier device", len(left))
		}
	})
}

// TestCallMethod: the process that has the device answers; without one the call
// says so, and a device that is silent is told from one that is away.
func TestCallMethod(t *testing.T) {
	s := NewMemory()
	r := newRegistry(t, s)
	ctx := t.Context()
	must(r.CreateDevice(ctx, Device{Hub: "demo", ID: "pump"}))(t)
	call := MethodNotice{Hub: "demo", DeviceID: "pump", Name: "reboot", Payload: json.RawMessage(`{"in":5}`), Timeout: patience}
	_, err := r.CallMethod(ctx, MethodNotice{Hub: "demo", DeviceID: "nobody", Name: "x", Timeout: patience}, 0)
	wantError(t, ErrNotFound, err)
	_, err = r.CallMethod(ctx, call, 0)
	wantError(t, ErrNotOnline, err)
	cache, _ := startCache(t, r, 0)
	silent := false
	stop, err := cache.Listen(func(n Notice, answer func([]byte)) {
		switch m := n.Method; {
		case m.Name == "":
			answer(nil)
		case !silent:
			answer([]byte(`{"status":202,"payload":` + string(m.Payload) + `}`))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	got := must(r.CallMethod(ctx, call, 0))(t)
	if got.Status != 202 || string(got.Payload) != `{"in":5}` {
		t.Errorf("%+v", got)
	}
	silent = true
	call.Timeout = 10 * time.Millisecond
	_, err = r.CallMethod(ctx, call, 0)
	wantError(t, ErrTimeout, err)
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = r.CallMethod(done, call, time.Hour); err == nil {
		t.Error("a call that was given up has an answer")
	}
}
