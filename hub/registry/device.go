package registry

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// An AuthType is how a device authenticates, in Azure's spelling of the
// registry API. AuthType.EventName gives the spelling of the event.
type AuthType string

// The authentication types of a device.
const (
	// AuthSAS: a token signed with one of two symmetric keys.
	AuthSAS AuthType = "sas"
	// AuthThumbprint: a certificate, self-signed or not, known by thumbprint.
	AuthThumbprint AuthType = "selfSigned"
	// AuthCA: a certificate that chains to a verified CA of the hub.
	AuthCA AuthType = "certificateAuthority"
)

// EventName returns the value of the event column AuthType: sas,
// x509Thumbprint, x509Ca, or none.
func (t AuthType) EventName() string {
	switch t {
	case AuthSAS:
		return "sas"
	case AuthThumbprint:
		return "x509Thumbprint"
	case AuthCA:
		return "x509Ca"
	}
	return "none"
}

// A Status says whether a device may connect.
type Status string

// The two states of a device.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// A Device is one entry of a hub's identity registry, a device or a module. Connection state is not
// part of it: that is the hub's, which would otherwise write here for every
// connect.
type Device struct {
	// Hub is the name of the hub that the device belongs to; it is part of the
	// record's key.
	Hub string `json:"-"`
	// ID is 1 to 128 characters of Azure's alphabet, case-sensitive.
	ID string `json:"deviceId"`
	// ModuleID is not empty for a module of the device: an identity of its own,
	// with credentials, which is as enabled as its device is. ManagedBy is free
	// text of who looks after it, and Parent the generation of its device.
	ModuleID  string `json:"moduleId,omitempty"`
	ManagedBy string `json:"managedBy,omitempty"`
	Parent    string `json:"parent,omitempty"`
	// GenerationID tells a device from an earlier one of the same id.
	GenerationID string `json:"generationId"`
	Status       Status `json:"status"`
	// StatusReason is up to 128 characters of free text.
	StatusReason string         `json:"statusReason,omitempty"`
	StatusUpdate time.Time      `json:"statusUpdatedTime,omitzero"`
	Auth         Authentication `json:"authentication"`
	Created      time.Time      `json:"created"`
	Updated      time.Time      `json:"updated"`

	// Revision is the store's; zero for a device that was not stored yet.
	Revision uint64 `json:"-"`
}

// An Authentication holds a device's credentials. Only the fields of its type
// are set.
type Authentication struct {
	Type AuthType `json:"type"`
	// PrimaryKey and SecondaryKey are base64 of 16 to 64 bytes.
	PrimaryKey   string `json:"primaryKey,omitempty"`
	SecondaryKey string `json:"secondaryKey,omitempty"`
	// PrimaryThumbprint and SecondaryThumbprint are the SHA-1 or SHA-256 of the
	// certificate's DER, in upper-case hexadecimal without separators.
	PrimaryThumbprint   string `json:"primaryThumbprint,omitempty"`
	SecondaryThumbprint string `json:"secondaryThumbprint,omitempty"`
}

// ETag returns the device's entity tag, without quotes.
func (d *Device) ETag() string { return etag(d.Revision) }

// name is the id of the record: the device's, or device and module.
func (d *Device) name() string { return twinID(d.ID, d.ModuleID) }

// ConnectionString returns what the device is configured with, under the given
// host name: with its primary key, or with "x509=true".
func (d *Device) ConnectionString(hostName string) string {
	c := ConnectionString{HostName: hostName, DeviceID: d.ID, ModuleID: d.ModuleID}
	if d.Auth.Type == AuthSAS {
		c.SharedAccessKey = d.Auth.PrimaryKey
	} else {
		c.X509 = true
	}
	return c.String()
}

// Validate reports the first property that cannot be stored.
func (d *Device) Validate() error {
	if err := ValidateDeviceID(d.ID); err != nil {
		return err
	}
	if d.ModuleID != "" {
		if err := validateID("moduleId", d.ModuleID); err != nil {
			return err
		}
	}
	if len(d.ManagedBy) > 128 {
		return invalid("managedBy", "longer than 128 bytes")
	}
	if len([]rune(d.StatusReason)) > 128 {
		return invalid("statusReason", "longer than 128 characters")
	}
	switch d.Status {
	case Enabled, Disabled:
	default:
		return invalid("status", "%q is neither enabled nor disabled", d.Status)
	}
	return d.Auth.Validate()
}

// Validate reports the first property that cannot be stored.
func (a *Authentication) Validate() error {
	keys, thumbprints := a.PrimaryKey != "" || a.SecondaryKey != "", a.PrimaryThumbprint != "" || a.SecondaryThumbprint != ""
	switch a.Type {
	case AuthSAS:
		if thumbprints {
			return invalid("authentication.x509Thumbprint", "does not go with type sas")
		}
		for name, key := range map[string]string{"primaryKey": a.PrimaryKey, "secondaryKey": a.SecondaryKey} {
			if err := validateKey("authentication.symmetricKey."+name, key); err != nil {
				return err
			}
		}
	case AuthThumbprint:
		if keys {
			return invalid("authentication.symmetricKey", "does not go with type selfSigned")
		}
		if !thumbprints {
			return invalid("authentication.x509Thumbprint", "a thumbprint is needed")
		}
		for name, t := range map[string]string{"primaryThumbprint": a.PrimaryThumbprint, "secondaryThumbprint": a.SecondaryThumbprint} {
			if t == "" {
				continue
			}
			if n, err := NormalizeThumbprint(t); err != nil || n != t {
				return invalid("authentication.x509Thumbprint."+name, "%q is neither a SHA-1 (40) nor a SHA-256 (64) in hexadecimal digits", t)
			}
		}
	case AuthCA:
		if keys || thumbprints {
			return invalid("authentication", "neither keys nor thumbprints go with type certificateAuthority")
		}
	default:
		return invalid("authentication.type", "%q is not one of sas, selfSigned, certificateAuthority", a.Type)
	}
	return nil
}

// deviceIDSymbols are what Azure allows in a device id beside ASCII letters and
// digits. "+" and "#", MQTT's wildcards, are not among them.
const deviceIDSymbols = "-.%_*?!(),:=@$'"

// ValidateDeviceID reports whether id can name a device.
func ValidateDeviceID(id string) error { return validateID("deviceId", id) }

func validateID(property, id string) error {
	if id == "" || len(id) > 128 {
		return invalid(property, "must have 1 to 128 characters, has %d", len(id))
	}
	for i := 0; i < len(id); i++ {
		if !isAlphanumeric(id[i]) && strings.IndexByte(deviceIDSymbols, id[i]) < 0 {
			return invalid(property, "%q: only ASCII letters, digits and %s are allowed", id, deviceIDSymbols)
		}
	}
	return nil
}

// NormalizeThumbprint accepts a SHA-1 or SHA-256 in any case, with colons or
// spaces as tools print it, and returns it in the form that is stored.
func NormalizeThumbprint(t string) (string, error) {
	var b strings.Builder
	for _, c := range strings.TrimSpace(t) {
		switch c {
		case ':', ' ', '-':
		default:
			b.WriteRune(c)
		}
	}
	n := strings.ToUpper(b.String())
	if _, err := hex.DecodeString(n); err != nil || len(n) != 2*sha1.Size && len(n) != 2*sha256.Size {
		return "", invalid("thumbprint", "%q is neither a SHA-1 (40) nor a SHA-256 (64) in hexadecimal digits", t)
	}
	return n, nil
}

// Thumbprints returns the SHA-1 and the SHA-256 of a certificate in the form
// that is stored.
func Thumbprints(cert *x509.Certificate) (sha1Hex, sha256Hex string) {
	s1, s256 := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	return strings.ToUpper(hex.EncodeToString(s1[:])), strings.ToUpper(hex.EncodeToString(s256[:]))
}

// GenerateKey returns a fresh symmetric key: base64 of 32 random bytes.
func GenerateKey() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

func validateKey(property, key string) error {
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return invalid(property, "is not base64")
	}
	if len(b) < 16 || len(b) > 64 {
		return invalid(property, "must be base64 of 16 to 64 bytes, is of %d", len(b))
	}
	return nil
}

// newGenerationID returns a value in the look of Azure's: ticks since year 1.
func newGenerationID(now time.Time) string {
	return strconv.FormatInt(now.Unix()*1e7+int64(now.Nanosecond()/100)+621355968000000000, 10)
}
