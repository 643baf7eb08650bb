package registry

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"time"
)

// DeviceJSON is a device as Azure's registry API writes it. Empty keys and
// thumbprints are null there.
type DeviceJSON struct {
	DeviceID                   string             `json:"deviceId"`
	GenerationID               string             `json:"generationId"`
	ETag                       string             `json:"etag"`
	ConnectionState            string             `json:"connectionState"`
	Status                     Status             `json:"status"`
	StatusReason               *string            `json:"statusReason"`
	ConnectionStateUpdatedTime string             `json:"connectionStateUpdatedTime"`
	StatusUpdatedTime          string             `json:"statusUpdatedTime"`
	LastActivityTime           string             `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int                `json:"cloudToDeviceMessageCount"`
	Authentication             AuthenticationJSON `json:"authentication"`
	Capabilities               CapabilitiesJSON   `json:"capabilities"`
	// ConnectionString is not Azure's; only the command line writes it.
	ConnectionString string `json:"connectionString,omitempty"`
}

// ModuleJSON is a module as Azure's registry API writes it.
type ModuleJSON struct {
	ModuleID                   string             `json:"moduleId"`
	ManagedBy                  *string            `json:"managedBy"`
	DeviceID                   string             `json:"deviceId"`
	GenerationID               string             `json:"generationId"`
	ETag                       string             `json:"etag"`
	ConnectionState            string             `json:"connectionState"`
	ConnectionStateUpdatedTime string             `json:"connectionStateUpdatedTime"`
	LastActivityTime           string             `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int                `json:"cloudToDeviceMessageCount"`
	Authentication             AuthenticationJSON `json:"authentication"`
}

// AuthenticationJSON is Azure's authentication mechanism.
type AuthenticationJSON struct {
	SymmetricKey   SymmetricKeyJSON   `json:"symmetricKey"`
	X509Thumbprint X509ThumbprintJSON `json:"x509Thumbprint"`
	Type           string             `json:"type"`
}

// SymmetricKeyJSON holds the keys of a SAS device.
type SymmetricKeyJSON struct {
	PrimaryKey   *string `json:"primaryKey"`
	SecondaryKey *string `json:"secondaryKey"`
}

// X509ThumbprintJSON holds the thumbprints of a selfSigned device.
type X509ThumbprintJSON struct {
	PrimaryThumbprint   *string `json:"primaryThumbprint"`
	SecondaryThumbprint *string `json:"secondaryThumbprint"`
}

// CapabilitiesJSON are Azure's; this hub has no edge devices.
type CapabilitiesJSON struct {
	IotEdge bool `json:"iotEdge"`
}

// JSON returns the device in Azure's shape, as not connected.
func (d *Device) JSON() DeviceJSON {
	return DeviceJSON{
		DeviceID: d.ID, GenerationID: d.GenerationID, ETag: d.ETag(), ConnectionState: "Disconnected",
		Status: d.Status, StatusReason: orNull(d.StatusReason),
		ConnectionStateUpdatedTime: azureTime(time.Time{}), StatusUpdatedTime: azureTime(d.StatusUpdate), LastActivityTime: azureTime(time.Time{}),
		Authentication: AuthenticationJSON{
			SymmetricKey:   SymmetricKeyJSON{orNull(d.Auth.PrimaryKey), orNull(d.Auth.SecondaryKey)},
			X509Thumbprint: X509ThumbprintJSON{orNull(d.Auth.PrimaryThumbprint), orNull(d.Auth.SecondaryThumbprint)},
			Type:           string(d.Auth.Type),
		},
	}
}

// authentication reads what Azure's clients send: empty texts mean absent, so
// does a type that is left out.
func (a AuthenticationJSON) authentication() Authentication {
	or := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	out := Authentication{
		Type:              AuthType(a.Type),
		PrimaryKey:        or(a.SymmetricKey.PrimaryKey),
		SecondaryKey:      or(a.SymmetricKey.SecondaryKey),
		PrimaryThumbprint: or(a.X509Thumbprint.PrimaryThumbprint), SecondaryThumbprint: or(a.X509Thumbprint.SecondaryThumbprint),
	}
	for _, t := range []AuthType{AuthSAS, AuthThumbprint, AuthCA} {
		if strings.EqualFold(a.Type, string(t)) {
			out.Type = t
		}
	}
	if a.Type == "" {
		out.Type = AuthSAS
		if out.PrimaryThumbprint != "" || out.SecondaryThumbprint != "" {
			out.Type = AuthThumbprint
		}
	}
	// What a device had before its type was changed is sent along: it goes.
	if out.Type != AuthSAS {
		out.PrimaryKey, out.SecondaryKey = "", ""
	}
	if out.Type != AuthThumbprint {
		out.PrimaryThumbprint, out.SecondaryThumbprint = "", ""
	}
	return out
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// azureTime is the form of .NET's DateTime, with its own zero.
func azureTime(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00Z"
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}

// CertificateJSON is a CA certificate as Azure's resource manager writes it.
type CertificateJSON struct {
	ID         string                    `json:"id,omitempty"`
	Name       string                    `json:"name"`
	Type       string                    `json:"type,omitempty"`
	ETag       string                    `json:"etag"`
	Properties CertificatePropertiesJSON `json:"properties"`
}

// CertificatePropertiesJSON are the properties of a CA certificate.
type CertificatePropertiesJSON struct {
	Subject          string `json:"subject"`
	Expiry           string `json:"expiry"` // RFC 1123, as are the other dates
	Thumbprint       string `json:"thumbprint"`
	IsVerified       bool   `json:"isVerified"`
	Created          string `json:"created"`
	Updated          string `json:"updated"`
	Certificate      string `json:"certificate,omitempty"` // base64 of PEM
	VerificationCode string `json:"verificationCode,omitempty"`
	// Revoked is not Azure's: the number of entries of the revocation list.
	Revoked *int `json:"revokedCertificates,omitempty"`
}

// JSON returns the CA in Azure's shape. The verification code is for who asked
// for it; it is not in here.
func (c *CA) JSON() CertificateJSON {
	return CertificateJSON{
		Name: c.Name, ETag: c.ETag(),
		Properties: CertificatePropertiesJSON{
			Subject: c.cert.Subject.CommonName, Expiry: rfc1123(c.Expiry()), Thumbprint: c.Thumbprint(), IsVerified: c.Verified,
			Created: rfc1123(c.Created), Updated: rfc1123(c.Updated), Certificate: pemBase64(c.cert),
		},
	}
}

func rfc1123(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }

func pemBase64(c *x509.Certificate) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
