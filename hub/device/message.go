package device

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// alertTemperature is where the samples of Azure's SDKs raise their alert.
const alertTemperature = 28

// A Message is what a device sends to the hub.
type Message struct {
	Body        []byte
	ContentType string
	Properties  []Property
}

// A Property is an application property of a message.
type Property struct{ Name, Value string }

// NewTelemetry makes the message of the samples of Azure's SDKs: temperature and
// humidity as JSON, with a property that says whether it is too hot.
func NewTelemetry(deviceID string, temperature, humidity float64) Message {
	round := func(f float64) float64 { return math.Round(f*100) / 100 }
	body, err := json.Marshal(struct {
		DeviceID    string  `json:"deviceId"`
		Temperature float64 `json:"temperature"`
		Humidity    float64 `json:"humidity"`
	}{deviceID, round(temperature), round(humidity)})
	if err != nil {
		panic(err) // only for numbers that are not finite
	}
	return Message{
		Body: body, ContentType: "application/json",
		Properties: []Property{{"temperatureAlert", strconv.FormatBool(temperature > alertTemperature)}},
	}
}

// topic carries the properties: {path}/messages/events/{properties}.
func (m Message) topic(path string) string {
	parts := []string{"%24.ct=" + escape(m.ContentType), "%24.ce=utf-8"}
	for _, p := range m.Properties {
		parts = append(parts, escape(p.Name)+"="+escape(p.Value))
	}
	return path + "/messages/events/" + strings.Join(parts, "&")
}
