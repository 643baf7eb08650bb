package mqtt

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
)

func TestParseUserName(t *testing.T) {
	tests := []struct {
		text string
		want userName
		ok   bool
	}{
		{"h.example/dev/?api-version=2021-04-12", userName{host: "h.example", device: "dev"}, true},
		{"h.example/dev/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20)", userName{host: "h.example", device: "dev", sdk: "azure-iot-device/1.18.4 (node v20)"}, true},
		{"h.example/dev/api-version=2016-11-14&DeviceClientType=x", userName{host: "h.example", device: "dev", sdk: "x"}, true},
		{"h.example/dev", userName{host: "h.example", device: "dev"}, true},
		{"h.example/dev/", userName{host: "h.example", device: "dev"}, true},
		{"h.example/dev/mod/?api-version=2021-04-12", userName{host: "h.example", device: "dev", module: "mod"}, true},
		{"h.example/d=e,v/?api-version=2021-04-12", userName{host: "h.example", device: "d=e,v"}, true},
		{"", userName{}, false},
		{"dev", userName{}, false},
		{"/dev/", userName{}, false},
		{"h.example//?x", userName{}, false},
		{"h.example/a/b/c/?x", userName{}, false},
	}
	for _, tt := range tests {
		got, problem := parseUserName(tt.text, true)
		if (problem == "") != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%q: want %+v %v, got %+v %q", tt.text, tt.want, tt.ok, got, problem)
		}
	}
}

func TestParseTopic(t *testing.T) {
	tests := []struct {
		name, module string
		want         topic
		ok           bool
	}{
		{"devices/d/messages/events/", "", topic{kind: topicEvents}, true},
		{"devices/d/messages/events", "", topic{kind: topicEvents}, true},
		{"devices/d/messages/events/a=b&c", "", topic{kind: topicEvents, properties: []hub.Property{{Name: "a", Value: "b"}, {Name: "c"}}}, true},
		{"devices/d/messages/events/?a=b/", "", topic{kind: topicEvents, properties: []hub.Property{{Name: "a", Value: "b"}}}, true},
		{"devices/d/messages/events/%24.ct=application%2Fjson&bad=%zz", "", topic{kind: topicEvents, properties: []hub.Property{{Name: "$.ct", Value: "application/json"}, {Name: "bad", Value: "%zz"}}}, true},
		{"devices/d/modules/m/messages/events/", "m", topic{kind: topicEvents}, true},
		{"devices/d/modules/m/messages/events/", "", topic{}, false},
		{"devices/d/messages/events/", "m", topic{}, false},
		{"devices/D/messages/events/", "", topic{}, false},
		{"devices/d/messages/eventsx", "", topic{}, false},
		{"devices/d/messages/devicebound/", "", topic{}, false},
		{"$iothub/twin/GET/?$rid=a%2Fb", "", topic{kind: topicTwinGet, requestID: "a/b"}, true},
		{"$iothub/twin/GET/", "", topic{}, false},
		{"$iothub/twin/PATCH/properties/reported/?$rid=1", "", topic{kind: topicTwinPatch, requestID: "1"}, true},
		{"$iothub/twin/PATCH/properties/desired/?$rid=1", "", topic{}, false},
		{"$iothub/methods/res/200/?$rid=1", "", topic{kind: topicMethodDone, requestID: "1", status: 200}, true},
		{"$SYS/broker", "", topic{}, false},
	}
	for _, tt := range tests {
		got, ok := parseTopic(tt.name, "d", tt.module)
		if ok != tt.ok {
			t.Errorf("%s: ok is %v", tt.name, ok)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(topic{})); ok && diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestFilterAllowed(t *testing.T) {
	for filter, want := range map[string]bool{
		"devices/d/messages/devicebound/#": true, "$iothub/twin/res/#": true, "$iothub/methods/POST/#": true, "$iothub/twin/PATCH/properties/desired/#": true,
		"#": false, "+/d/#": false, "devices/+/messages/devicebound/#": false, "devices/e/messages/devicebound/#": false, "$iothub/#": false, "$share/a/$iothub/twin/res/#": false,
		"devices/d/modules/m/#": false,
	} {
		if got := filterAllowed(filter, "d", ""); got != want {
			t.Errorf("%s: want %v, got %v", filter, want, got)
		}
	}
	if !filterAllowed("devices/d/modules/m/#", "d", "m") {
		t.Error("a module's own filter is refused")
	}
}

// FuzzDecode: no packet makes the decoder panic, and what a device publishes to
// is text that can be stored.
func FuzzDecode(f *testing.F) {
	f.Add(byte(0x10), byte(4), []byte("\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"))
	f.Add(byte(0x82), byte(5), []byte{0, 1, 0, 0, 1, 'a'})
	f.Add(byte(0x32), byte(5), []byte("\x00\x1adevices/d/messages/events/\x00\x01\x00x"))
	f.Add(byte(0xe0), byte(5), []byte{4, 0})
	f.Fuzz(func(t *testing.T, first, version byte, body []byte) {
		pk := &packets.Packet{ProtocolVersion: version}
		if pk.FixedHeader.Decode(first) != nil {
			return
		}
		pk.FixedHeader.Remaining = len(body)
		if decode(pk, body) != nil {
			return
		}
		topic, _ := parseTopic(pk.TopicName, "d", "")
		for _, p := range topic.properties {
			if !utf8.ValidString(p.Name) || !utf8.ValidString(p.Value) {
				t.Errorf("property %q=%q", p.Name, p.Value)
			}
		}
		u, _ := parseUserName(string(pk.Connect.Username), true)
		if strings.ContainsAny(u.device, "/?") || !utf8.ValidString(u.sdk) {
			t.Errorf("user %+v", u)
		}
	})
}
