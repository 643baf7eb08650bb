package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gopkg.in/yaml.v3"

	"hubscope/collector"
	"hubscope/hub"
	"hubscope/ingest/stream"
)

const example = "../hubscope.yaml"

// TestExampleIsTheDefaults: the example has every key, and says the defaults.
func TestExampleIsTheDefaults(t *testing.T) {
	got, err := loadSettings(example)
	if err != nil {
		t.Fatal(err)
	}
	want, err := loadSettings("")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-defaults +example):\n%s", diff)
	}

	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	missing(t, "", reflect.TypeFor[Settings](), file)
}

// missing reports the keys of a struct that a YAML map does not have.
func missing(t *testing.T, path string, typ reflect.Type, file map[string]any) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
			continue
		case options == "inline":
			missing(t, path, f.Type, file)
			continue
		}
		v, ok := file[name]
		if !ok {
			t.Errorf("the example has no key %s%s", path, name)
			continue
		}
		if section, ok := v.(map[string]any); ok && f.Type.Kind() == reflect.Struct {
			missing(t, path+name+".", f.Type, section)
		}
	}
}

// TestSettingsReachTheParts: without a file, each part has its own defaults.
func TestSettingsReachTheParts(t *testing.T) {
	s := defaultSettings()
	p := stream.DefaultPublisherConfig()
	if diff := cmp.Diff(p, s.publisherConfig()); diff != "" {
		t.Errorf("publisher (-its defaults +from the settings):\n%s", diff)
	}
	if diff := cmp.Diff(collector.DefaultConfig(), s.collectorConfig()); diff != "" {
		t.Errorf("collector (-its defaults +from the settings):\n%s", diff)
	}
	h := hub.DefaultConfig()
	h.DefaultHub = s.Hub.Name
	if diff := cmp.Diff(h, s.hubConfig(), cmpopts.IgnoreFields(hub.Config{}, "Certificates", "Now")); diff != "" {
		t.Errorf("hub (-its defaults +from the settings):\n%s", diff)
	}
}

func TestWrongConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"hub:\n  mqtt_lisen: x\n": "line 2: unknown key mqtt_lisen",
		"nodes: x\n":              "line 1: unknown key nodes",
		"streams: {replicas: x}":  "cannot unmarshal",
		"hub: [":                  "did not find",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadSettings(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "main.") {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
	if _, err := loadSettings(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a missing file is no error")
	}
}
