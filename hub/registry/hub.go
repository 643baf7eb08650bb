package registry

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The values of Hub.MinTLSVersion.
const (
	TLS10 = "1.0" // a legacy hub: TLS 1.0 and 1.1 and the legacy suites are served, and observed
	TLS12 = "1.2" // the default
	TLS13 = "1.3"
)

// A Hub is one IoT hub: the properties that decide who may connect and how.
type Hub struct {
	// Name identifies the hub in the registry: 3 to 50 letters, digits and
	// hyphens, not starting or ending with a hyphen.
	Name string `json:"name"`
	// HostNames are the names under which clients reach the hub: TLS server
	// names, and the host part of user names and SAS tokens. The first one is
	// used in connection strings.
	HostNames []string `json:"hostNames"`
	// MinTLSVersion is TLS10, TLS12 or TLS13; TLS 1.1 has no setting of its own,
	// as on Azure.
	MinTLSVersion string `json:"minTlsVersion"`
	// Policies are the shared access policies.
	Policies []Policy `json:"policies"`
	// Location, Tags and SKU are kept for the management API and mean nothing here.
	Location string            `json:"location,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	SKU      *SKU              `json:"sku,omitempty"`
	// Created and Updated are kept by the registry.
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`

	// Revision is the store's; zero for a hub that was not stored yet.
	Revision uint64 `json:"-"`
}

// ETag returns the hub's entity tag, without quotes.
func (h *Hub) ETag() string { return etag(h.Revision) }

// HostName returns the name used in connection strings.
func (h *Hub) HostName() string {
	if len(h.HostNames) == 0 {
		return h.Name
	}
	return h.HostNames[0]
}

// Answers reports whether host is one of the hub's host names. Case and a port
// do not matter.
func (h *Hub) Answers(host string) bool {
	host = bareHost(host)
	return slices.ContainsFunc(h.HostNames, func(n string) bool { return strings.EqualFold(n, host) })
}

// Legacy reports whether the hub serves TLS versions below 1.2.
func (h *Hub) Legacy() bool { return h.MinTLSVersion == TLS10 }

// Policy returns the shared access policy of that name.
func (h *Hub) Policy(name string) (Policy, bool) {
	for _, p := range h.Policies {
		if p.Name == name {
			return p, true
		}
	}
	return Policy{}, false
}

// Rights is a set of permissions of a shared access policy.
type Rights uint8

// The permissions of Azure's shared access policies.
const (
	RegistryRead Rights = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect
)

var rightNames = []struct {
	right Rights
	name  string
}{
	{RegistryRead, "RegistryRead"},
	{RegistryWrite, "RegistryWrite"},
	{ServiceConnect, "ServiceConnect"},
	{DeviceConnect, "DeviceConnect"},
}

// Has reports whether r holds all of want.
func (r Rights) Has(want Rights) bool { return r&want == want }

// String returns Azure's spelling: "RegistryRead, RegistryWrite".
func (r Rights) String() string {
	var names []string
	for _, n := range rightNames {
		if r.Has(n.right) {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}

// MarshalText implements encoding.TextMarshaler.
func (r Rights) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rights) UnmarshalText(text []byte) error {
	*r = 0
words:
	for word := range strings.SplitSeq(string(text), ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		for _, n := range rightNames {
			if strings.EqualFold(word, n.name) {
				*r |= n.right
				continue words
			}
		}
		return fmt.Errorf("unknown right %q", word)
	}
	return nil
}

// A Policy is a shared access policy: a named pair of keys with rights.
type Policy struct {
	Name         string `json:"keyName"`
	PrimaryKey   string `json:"primaryKey"`   // base64
	SecondaryKey string `json:"secondaryKey"` // base64
	Rights       Rights `json:"rights"`
}

// DefaultPolicies returns the five policies that a new hub has on Azure, with
// fresh keys.
func DefaultPolicies() []Policy {
	policies := []Policy{
		{Name: "iothubowner", Rights: RegistryRead | RegistryWrite | ServiceConnect | DeviceConnect},
		{Name: "service", Rights: ServiceConnect},
		{Name: "device", Rights: DeviceConnect},
		{Name: "registryRead", Rights: RegistryRead},
		{Name: "registryReadWrite", Rights: RegistryRead | RegistryWrite},
	}
	for i := range policies {
		policies[i].PrimaryKey, policies[i].SecondaryKey = GenerateKey(), GenerateKey()
	}
	return policies
}

// Validate reports the first property that cannot be stored.
func (h *Hub) Validate() error {
	if err := validateHubName(h.Name); err != nil {
		return err
	}
	if len(h.HostNames) == 0 {
		return invalid("hostNames", "at least one host name is needed")
	}
	for _, n := range h.HostNames {
		_, err := netip.ParseAddr(n)
		if n == "" || len(n) > 253 || err != nil && strings.ContainsAny(n, " /;:=[]\t\r\n") {
			return invalid("hostNames", "%q is not a host name", n)
		}
	}
	switch h.MinTLSVersion {
	case TLS10, TLS12, TLS13:
	default:
		return invalid("minTlsVersion", "%q is not one of 1.0, 1.2, 1.3", h.MinTLSVersion)
	}
	seen := map[string]bool{}
	for _, p := range h.Policies {
		if p.Name == "" || len(p.Name) > 64 || strings.ContainsAny(p.Name, ";=&\r\n") {
			return invalid("policies", "%q is not a policy name", p.Name)
		}
		if seen[p.Name] {
			return invalid("policies", "%q occurs twice", p.Name)
		}
		seen[p.Name] = true
		for _, key := range []string{p.PrimaryKey, p.SecondaryKey} {
			if err := validateKey("policies."+p.Name, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateHubName(name string) error {
	ok := len(name) >= 3 && len(name) <= 50 && name[0] != '-' && name[len(name)-1] != '-'
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c == '-' || isAlphanumeric(c)
	}
	if !ok {
		return invalid("name", "%q is not a hub name: 3 to 50 letters, digits and inner hyphens", name)
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// bareHost cuts a port and the brackets of an IPv6 address.
func bareHost(host string) string {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			return host[1:end]
		}
		return host
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.TrimSuffix(host, ".")
}

// etag turns a revision into an opaque entity tag, in the look of Azure's.
func etag(revision uint64) string {
	return base64.StdEncoding.EncodeToString([]byte(strconv.FormatUint(revision, 10)))
}
