package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// tlsTemplate is the template of Azure's document on TLS in IoT Hub, as it
// stands there, with its placeholders.
const tlsTemplate = `{
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "resources": [
        {
            "type": "Microsoft.Devices/IotHubs",
            "apiVersion": "2020-01-01",
            "name": "<provide-a-valid-resource-name>",
            "location": "<any-of-supported-regions-below>",
            "properties": {
                "minTlsVersion": "1.2"
            },
            "sku": {
                "name": "<your-hubs-SKU-name>",
                "tier": "<your-hubs-SKU-tier>",
                "capacity": 1
            }
        }
    ]
}`

func TestApplyCommand(t *testing.T) {
	c := newCLI(t)
	dir := t.TempDir()
	file := func(text string) string {
		t.Helper()
		path := filepath.Join(dir, "template.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c.fails(`resources[0].name: "<provide-a-valid-resource-name>" is a placeholder: give the hub's name, there or with --name`, "hub", "apply", file(tlsTemplate))
	if out := c.ok("hub", "apply", file(tlsTemplate), "--name", "as-it-stands"); out != "as-it-stands created: min TLS 1.2, as-it-stands.localhost\n" {
		t.Errorf("printed %q", out)
	}
	named := strings.Replace(tlsTemplate, "<provide-a-valid-resource-name>", "plant-7", 1)
	if out := c.ok("hub", "apply", file(named), "--dry-run"); out != "plant-7 is valid\n" {
		t.Errorf("printed %q", out)
	}
	if out := c.ok("hub", "apply", file(named)); out != "plant-7 created: min TLS 1.2, plant-7.localhost\n" {
		t.Errorf("printed %q", out)
	}
	legacy := strings.Replace(named, `"1.2"`, `"1.0"`, 1)
	if l := decodeJSON[[]HubJSON](t, c.ok("hub", "apply", file(legacy), "-o", "json")); len(l) != 1 || l[0].MinTLSVersion != "1.0" {
		t.Errorf("printed %+v", l)
	}
	if out := c.ok("hub", "apply", file(named)); out != "plant-7 updated: min TLS 1.2, plant-7.localhost\n" {
		t.Errorf("printed %q", out)
	}
	c.fails("no such file", "hub", "apply", filepath.Join(dir, "missing.json"))
}

// TestTemplates runs testdata/templates.txtar: each template with its
// parameters (k=v in the first lines) and what comes of it.
func TestTemplates(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/templates.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		in, want := archive.Files[i], archive.Files[i+1]
		t.Run(in.Name, func(t *testing.T) {
			if want.Name != "want" {
				t.Fatalf("the file behind %s is %s", in.Name, want.Name)
			}
			text := string(in.Data)
			values := map[string]string{}
			for strings.HasPrefix(text, "--") {
				line, rest, _ := strings.Cut(text, "\n")
				k, v, _ := strings.Cut(strings.TrimPrefix(line, "--"), "=")
				values[k], text = v, rest
			}
			var got strings.Builder
			hubs, err := parseTemplate([]byte(text), values, "")
			if err != nil {
				got.WriteString(err.Error() + "\n")
			} else {
				for _, h := range hubs {
					var stored Hub
					if err := h.applyTo(&stored); err != nil {
						t.Fatal(err)
					}
					got.WriteString(strings.TrimRight(strings.Join([]string{h.Name, stored.MinTLSVersion, stored.Location}, " "), " ") + "\n")
				}
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTemplateBomb: variables that double at each level are refused, not evaluated
// until memory ends.
func TestTemplateBomb(t *testing.T) {
	var variables strings.Builder
	for i := range 40 {
		fmt.Fprintf(&variables, `"v%d": "[concat(variables('v%d'), variables('v%d'))]", `, i, i+1, i+1)
	}
	const template = `{"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
 "variables": {%s"v%d": "x"},
 "resources": [{"type": "Microsoft.Devices/IotHubs", "apiVersion": "2020-01-01", "name": "[variables('v0')]", "sku": {"name": "S1"}}]}`
	for _, levels := range []int{20, 40} {
		text := strings.Replace(fmt.Sprintf(template, variables.String(), 40), "variables('v0')", fmt.Sprintf("variables('v%d')", 40-levels), 1)
		_, err := parseTemplate([]byte(text), nil, "")
		if err == nil || !strings.Contains(err.Error(), "takes too many steps") && !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%d levels: error is %.200v", levels, err)
		}
	}
	long := fmt.Sprintf(template, "", 40)
	long = strings.Replace(long, `"x"`, `"`+strings.Repeat("{0}", 1000)+`"`, 1)
	long = strings.Replace(long, "variables('v0')", "format(variables('v40'), '"+strings.Repeat("y", 1000)+"')", 1)
	if _, err := parseTemplate([]byte(long), nil, ""); err == nil || !strings.Contains(err.Error(), "makes too long a text") {
		t.Errorf("format: error is %.200v", err)
	}
}

// FuzzTemplate: no template makes the parser panic, and what it accepts can be
// stored.
func FuzzTemplate(f *testing.F) {
	f.Add(strings.Replace(tlsTemplate, "<provide-a-valid-resource-name>", "[concat(parameters('p'), variables('v'))]", 1))
	f.Add(strings.Replace(tlsTemplate, "<provide-a-valid-resource-name>", "plant-7", 1))
	f.Fuzz(func(t *testing.T, text string) {
		hubs, err := parseTemplate([]byte(text), nil, "")
		if err != nil {
			return
		}
		for _, h := range hubs {
			stored := Hub{Name: h.Name, HostNames: []string{"localhost"}}
			if err := h.applyTo(&stored); err != nil {
				t.Fatal(err)
			}
			if err := validateHubName(stored.Name); err != nil {
				t.Fatal(err)
			}
		}
	})
}
