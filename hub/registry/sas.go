package registry

import "time"

// A Token is a parsed SAS token.
type Token struct {
	// Resource is sr, decoded: "host/devices/id".
	Resource string
	// Signed is sr as it was sent: the signature is over these very bytes.
	Signed string
	// Signature is the decoded HMAC.
	Signature []byte
	// ExpirySeconds is se as it was sent.
	ExpirySeconds string
	// Expiry is se as a time.
	Expiry time.Time
	// Policy is skn; empty for device keys.
	Policy string
}

// ParseToken parses a SAS token. It does not verify it.
func ParseToken(s string) (Token, error) { panic("soon") }

// Verify reports whether one of the keys (base64) signed the token.
func (t Token) Verify(keys ...string) bool { panic("soon") }

// NewToken signs a token for a resource ("host/devices/id") with a key (base64).
func NewToken(resource, policy, key string, expiry time.Time) (string, error) { panic("soon") }
