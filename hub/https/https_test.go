package https

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub"
)

// The protocol on real connections is tested in package hub, beside MQTT.

func TestPropertiesOf(t *testing.T) {
	h := http.Header{}
	h.Set("iothub-app-temperatureAlert", "true")
	h.Set("IoTHub-MessageId", "m-1")
	h.Set("iothub-correlationid", "c-1")
	h.Set("iothub-contentencoding", "utf-8")
	h.Set("iothub-to", "/devices/d/messages/events")
	h.Set("Content-Type", "text/plain")
	want := []hub.Property{{Name: "$.ce", Value: "utf-8"}, {Name: "$.cid", Value: "c-1"}, {Name: "$.mid", Value: "m-1"}, {Name: "temperaturealert", Value: "true"}}
	if diff := cmp.Diff(want, propertiesOf(h)); diff != "" {
		t.Errorf("properties (-want +got)\n%s", diff)
	}
}

func TestParseBatch(t *testing.T) {
	got, err := parseBatch([]byte(`[{"body":"aGk=","base64Encoded":true,"properties":{"iothub-app-a":"1"}},{"body":"{}","base64Encoded":false},{"body":""}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []message{{[]hub.Property{{Name: "a", Value: "1"}}, []byte("hi")}, {nil, []byte("{}")}, {nil, []byte{}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{})); diff != "" {
		t.Errorf("batch (-want +got)\n%s", diff)
	}
	for _, bad := range []string{``, `{}`, `[]`, `[{}]`, `[{"body":"%%%"}]`, `[{"body":1}]`, `[` + strings.Repeat(`{"body":""},`, maxBatch) + `{"body":""}]`} {
		if _, err := parseBatch([]byte(bad)); err == nil {
			t.Errorf("%.40s is a batch", bad)
		}
	}
}

// FuzzParseBatch: what is a batch has as many messages as its JSON has items,
// within the limit, and its properties can be stored.
func FuzzParseBatch(f *testing.F) {
	f.Add([]byte(`[{"body":"aGk=","properties":{"iothub-app-a":"\ud800"}}]`))
	f.Add([]byte(`[{"body":"x","base64Encoded":false}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseBatch(data)
		if err != nil {
			return
		}
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil || len(items) != len(list) || len(list) > maxBatch {
			t.Fatalf("%d items, %d messages, %v", len(items), len(list), err)
		}
		for _, m := range list {
			for _, p := range m.properties {
				if !utf8.ValidString(p.Name) || !utf8.ValidString(p.Value) {
					t.Errorf("property %q=%q", p.Name, p.Value)
				}
			}
		}
	})
}
