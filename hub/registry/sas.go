package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tokenPrefix begins every SAS token.
const tokenPrefix = "SharedAccessSignature "

// maxToken bounds what is parsed: a resource of a 128 character device id,
// percent-encoded twice, stays far below.
const maxToken = 4096

// lastExpiry is 9999-12-31T23:59:59Z. Some clients send milliseconds; later
// moments than this one are as good as never.
const lastExpiry = 253402300799

// A Token is a parsed SAS token:
//
//	SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]
type Token struct {
	// Resource is sr, decoded: "host/devices/id".
	Resource string
	// Signed is sr as it was sent: the signature is over these very bytes, so
	// that any way to percent-encode it is fine.
	Signed string
	// Signature is the decoded HMAC-SHA256.
	Signature []byte
	// ExpirySeconds is se as it was sent, also signed.
	ExpirySeconds string
	// Expiry is se as a time.
	Expiry time.Time
	// Policy is skn; empty for device keys.
	Policy string
}

// ParseToken parses a SAS token. It does not verify it. Errors do not repeat the
// token: they end up in events.
func ParseToken(s string) (Token, error) {
	if len(s) > maxToken {
		return Token{}, fmt.Errorf("longer than %d bytes", maxToken)
	}
	if len(s) < len(tokenPrefix) || !strings.EqualFold(s[:len(tokenPrefix)], tokenPrefix) {
		return Token{}, errors.New(`does not start with "SharedAccessSignature "`)
	}
	var t Token
	var sig string
	seen := map[string]bool{}
	for field := range strings.SplitSeq(s[len(tokenPrefix):], "&") {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return Token{}, errors.New("has a field without a value")
		}
		if seen[name] {
			return Token{}, fmt.Errorf("has %q twice", name)
		}
		// PathUnescape, because "+" is not a space here: clients send base64 as is.
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return Token{}, fmt.Errorf("%s is not percent-encoded text", strconv.Quote(name))
		}
		switch name {
		case "sr":
			t.Signed, t.Resource = value, decoded
		case "sig":
			sig = decoded
		case "se":
			t.ExpirySeconds = value
		case "skn":
			t.Policy = decoded
		default:
			return Token{}, fmt.Errorf("has an unknown field %q", name)
		}
		seen[name] = true
	}
	for _, name := range []string{"sr", "sig", "se"} {
		if !seen[name] {
			return Token{}, fmt.Errorf("lacks %q", name)
		}
	}
	if t.Resource == "" {
		return Token{}, errors.New(`has an empty "sr"`)
	}
	var err error
	if t.Signature, err = base64.StdEncoding.DecodeString(sig); err != nil || len(t.Signature) != sha256.Size {
		return Token{}, errors.New(`has a "sig" that is not base64 of 32 bytes`)
	}
	seconds, err := strconv.ParseUint(t.ExpirySeconds, 10, 63)
	if err != nil {
		return Token{}, errors.New(`has an "se" that is not a number of seconds`)
	}
	t.Expiry = time.Unix(int64(min(seconds, lastExpiry)), 0).UTC()
	return t, nil
}

// Verify reports which of the keys (base64) signed the token, or -1. It takes
// the same time whichever it is. Empty keys sign nothing.
func (t Token) Verify(keys ...string) int {
	found := -1
	for i, key := range keys {
		k, err := base64.StdEncoding.DecodeString(key)
		ok := hmac.Equal(sign(k, t.Signed, t.ExpirySeconds), t.Signature)
		if ok && err == nil && len(k) > 0 && found < 0 {
			found = i
		}
	}
	return found
}

// NewToken signs a token for a resource ("host/devices/id", not encoded) with a
// key (base64) that is policy's, or the device's own when policy is empty.
func NewToken(resource, policy, key string, expiry time.Time) (string, error) {
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(k) == 0 {
		return "", errors.New("the shared access key is not base64")
	}
	sr, se := url.QueryEscape(resource), strconv.FormatInt(expiry.Unix(), 10)
	sr = strings.ReplaceAll(sr, "+", "%20")
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(sign(k, sr, se)))
	token := tokenPrefix + "sr=" + sr + "&sig=" + sig + "&se=" + se
	if policy != "" {
		token += "&skn=" + strings.ReplaceAll(url.QueryEscape(policy), "+", "%20")
	}
	return token, nil
}

func sign(key []byte, sr, se string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(sr))
	h.Write([]byte{'\n'})
	h.Write([]byte(se))
	return h.Sum(nil)
}

// covers reports whether the token's resource is the device or module, or with a
// policy also something above it: the hub, or all of its devices. A device's
// token does not cover its modules, as on Azure.
func (t Token) covers(hub *Hub, d *Device) bool {
	host, rest, _ := strings.Cut(strings.TrimSuffix(t.Resource, "/"), "/")
	if !hub.Answers(host) {
		return false
	}
	if t.Policy != "" && (rest == "" || rest == "devices") {
		return true
	}
	path := "devices/" + d.ID
	if d.ModuleID != "" {
		if t.Policy != "" && rest == path {
			return true
		}
		path += "/modules/" + d.ModuleID
	}
	if rest == path {
		return true
	}
	// Azure's SDKs encode the ids before they encode the resource.
	decoded, err := url.PathUnescape(rest)
	return err == nil && decoded == path
}
