package mqtt

import (
	"net/url"
	"strconv"
	"strings"

	"hubscope/hub"
)

// A topicKind is one of the things that a device can say.
type topicKind uint8

const (
	topicEvents     topicKind = iota + 1 // telemetry
	topicTwinGet                         // read the twin
	topicTwinPatch                       // change the reported properties
	topicMethodDone                      // the answer to a direct method
)

// A topic is what a topic name means.
type topic struct {
	kind       topicKind
	properties []hub.Property // of telemetry
	requestID  string         // $rid of the others
	status     int            // of a direct method's answer
}

// retained marks a message with RETAIN, which a hub does not keep: it tells.
var retained = hub.Property{Name: "mqtt-retain", Value: "true"}

// parseTopic returns what a device means by publishing to name; ok is false for
// a topic that it may not use. device and module are the session's.
func parseTopic(name, device, module string) (t topic, ok bool) {
	if rest, found := strings.CutPrefix(name, "$iothub/"); found {
		path, query, _ := strings.Cut(rest, "?")
		for _, p := range parseProperties(query) {
			if p.Name == "$rid" {
				t.requestID = p.Value
			}
		}
		switch {
		case path == "twin/GET/":
			t.kind = topicTwinGet
		case path == "twin/PATCH/properties/reported/":
			t.kind = topicTwinPatch
		case strings.HasPrefix(path, "methods/res/"):
			t.kind = topicMethodDone
			status, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(path, "methods/res/"), "/"))
			if err != nil {
				return t, false
			}
			t.status = status
		default:
			return t, false
		}
		return t, t.requestID != ""
	}
	base := "devices/" + device + "/"
	if module != "" {
		base += "modules/" + module + "/"
	}
	bag, found := strings.CutPrefix(name, base+"messages/events")
	if !found || bag != "" && bag[0] != '/' {
		return t, false
	}
	bag = strings.TrimPrefix(bag, "/")
	return topic{kind: topicEvents, properties: parseProperties(strings.TrimPrefix(bag, "?"))}, true
}

// parseProperties decodes a property bag: name=value pairs in the encoding of
// URLs, where a plus sign is a plus sign (RFC 2396).
func parseProperties(bag string) []hub.Property {
	if bag = strings.TrimSuffix(bag, "/"); bag == "" {
		return nil
	}
	unescape := func(s string) string {
		if d, err := url.PathUnescape(s); err == nil {
			s = d
		}
		return strings.Clone(strings.ToValidUTF8(s, "?"))
	}
	var list []hub.Property
	for pair := range strings.SplitSeq(bag, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		list = append(list, hub.Property{Name: unescape(name), Value: unescape(value)})
	}
	return list
}

// filterAllowed reports whether a device may subscribe to a topic filter.
func filterAllowed(filter, device, module string) bool {
	switch filter {
	case twinAnswers, desiredChanges, methodCalls:
		return true
	}
	if module != "" {
		base := "devices/" + device + "/modules/" + module + "/"
		return filter == base+"#" || filter == base+"inputs/#" || filter == base+"messages/devicebound/#"
	}
	return filter == "devices/"+device+"/messages/devicebound/#" || filter == "devices/"+device+"/messages/devicebound/"
}

// The filters under which a device gets the answers to its twin requests, the
// changes of its desired properties, and direct methods.
const (
	twinAnswers    = "$iothub/twin/res/#"
	desiredChanges = "$iothub/twin/PATCH/properties/desired/#"
	methodCalls    = "$iothub/methods/POST/#"
)
