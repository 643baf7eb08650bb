package registry

import (
	"errors"
	"fmt"
	"strings"
)

// A ConnectionString is what a device or a service is configured with, in
// Azure's form "HostName=...;DeviceId=...;SharedAccessKey=...".
type ConnectionString struct {
	HostName              string
	DeviceID              string
	ModuleID              string
	SharedAccessKeyName   string
	SharedAccessKey       string
	SharedAccessSignature string
	GatewayHostName       string
	X509                  bool
}

// fields lists the string properties in the order in which they are written.
func (c *ConnectionString) fields() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{"HostName", &c.HostName},
		{"DeviceId", &c.DeviceID},
		{"ModuleId", &c.ModuleID},
		{"SharedAccessKeyName", &c.SharedAccessKeyName},
		{"SharedAccessKey", &c.SharedAccessKey},
		{"SharedAccessSignature", &c.SharedAccessSignature},
		{"GatewayHostName", &c.GatewayHostName},
	}
}

// ParseConnectionString parses a connection string of a device or a service. Names are
// matched in any case. Errors name properties, never values: those are secret.
func ParseConnectionString(s string) (ConnectionString, error) {
	var c ConnectionString
	seen := map[string]bool{}
properties:
	for part := range strings.SplitSeq(strings.TrimSpace(s), ";") {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return c, errors.New("connection string: a part has no \"=\"")
		}
		key := strings.ToLower(name)
		if seen[key] {
			return c, fmt.Errorf("connection string: %s occurs twice", name)
		}
		seen[key] = true
		if value == "" {
			return c, fmt.Errorf("connection string: %s is empty", name)
		}
		if key == "x509" {
			switch strings.ToLower(value) {
			case "true":
				c.X509 = true
			case "false":
			default:
				return c, errors.New("connection string: x509 is neither true nor false")
			}
			continue
		}
		for _, f := range c.fields() {
			if strings.EqualFold(f.name, name) {
				*f.value = value
				continue properties
			}
		}
		return c, fmt.Errorf("connection string: unknown property %q", name)
	}
	return c, c.validate()
}

func (c *ConnectionString) validate() error {
	switch {
	case c.HostName == "":
		return errors.New("connection string: HostName is missing")
	case c.DeviceID == "" && c.SharedAccessKeyName == "":
		return errors.New("connection string: neither DeviceId nor SharedAccessKeyName is there")
	case c.ModuleID != "" && c.DeviceID == "":
		return errors.New("connection string: ModuleId without DeviceId")
	}
	credentials := 0
	for _, there := range []bool{c.SharedAccessKey != "", c.SharedAccessSignature != "", c.X509} {
		if there {
			credentials++
		}
	}
	if credentials != 1 {
		return errors.New("connection string: one of SharedAccessKey, SharedAccessSignature and x509=true is needed")
	}
	if c.SharedAccessKey != "" {
		if err := validateKey("SharedAccessKey", c.SharedAccessKey); err != nil {
			return fmt.Errorf("connection string: %w", err)
		}
	}
	return nil
}

// String formats the connection string; ParseConnectionString reads it back.
func (c ConnectionString) String() string {
	var parts []string
	for _, f := range c.fields() {
		if *f.value != "" {
			parts = append(parts, f.name+"="+*f.value)
		}
	}
	if c.X509 {
		parts = append(parts, "x509=true")
	}
	return strings.Join(parts, ";")
}
