package registry

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testKey is base64 of the bytes 0 to 31.
const testKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// The signatures of these tokens were computed with Python's hmac over the sr
// text as it stands.
const (
	tokenEncoded   = "SharedAccessSignature sr=localhost%2Fdevices%2Fpump-0417&sig=Dvh31lCeNgfiYBEms1HgJVTVDFN8JNlUuOGNlYtSRYU%3D&se=1795300000"
	tokenPlain     = "SharedAccessSignature sr=localhost/devices/pump-0417&sig=FvxYVUd%2B9P5Meu6CfPp8TJJ1VYwVqVCmWUWvEp5ob7Q%3D&se=1795300000"
	tokenLowerCase = "SharedAccessSignature sr=localhost%2fdevices%2fpump-0417&sig=h2EoFbF9dA3Oq86HccEUFP8cOKjUFXaZbw6bq%2FoPPH8%3D&se=1795300000"
)

func TestParseToken(t *testing.T) {
	got, err := ParseToken(tokenLowerCase + "&skn=device")
	if err != nil {
		t.Fatal(err)
	}
	got.Signature = nil
	want := Token{
		Resource: "localhost/devices/pump-0417", Signed: "localhost%2fdevices%2fpump-0417",
		ExpirySeconds: "1795300000", Expiry: time.Unix(1795300000, 0).UTC(), Policy: "device",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
}

func TestVerifyToken(t *testing.T) {
	other := GenerateKey()
	raw := strings.Replace(tokenEncoded, "%2B", "+", -1)
	raw = strings.Replace(raw, "%3D", "=", -1)
	for _, tt := range []struct {
		name  string
		token string
		keys  []string
		want  int
	}{
		{"percent-encoded", tokenEncoded, []string{testKey}, 0},
		{"sr as it is", tokenPlain, []string{testKey}, 0},
		{"lower-case escapes", tokenLowerCase, []string{testKey}, 0},
		{"signature not encoded", raw, []string{testKey}, 0},
		{"empty skn", tokenEncoded + "&skn=", []string{testKey}, 0},
		{"fields in another order", reorder(tokenEncoded), []string{testKey}, 0},
		{"secondary key", tokenEncoded, []string{other, testKey}, 1},
		{"another key", tokenEncoded, []string{other}, -1},
		{"no key", tokenEncoded, nil, -1},
		{"empty keys", tokenEncoded, []string{"", ""}, -1},
		{"key that is not base64", tokenEncoded, []string{"%%%"}, -1},
		{"another expiry", strings.Replace(tokenEncoded, "1795300000", "1795300001", 1), []string{testKey}, -1},
		{"expiry written differently", strings.Replace(tokenEncoded, "1795300000", "01795300000", 1), []string{testKey}, -1},
		{"another device", strings.Replace(tokenEncoded, "0417", "0418", 1), []string{testKey}, -1},
		{"encoded after signing", strings.Replace(tokenPlain, "/", "%2F", -1), []string{testKey}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := ParseToken(tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if got := token.Verify(tt.keys...); got != tt.want {
				t.Errorf("key %d signed, want %d", got, tt.want)
			}
		})
	}
}

// TestVerifyEmptyKey: a token signed with an empty key must not pass for a
// record whose key is missing.
func TestVerifyEmptyKey(t *testing.T) {
	sig := base64.StdEncoding.EncodeToString(sign(nil, "h", "1795300000"))
	token, err := ParseToken("SharedAccessSignature sr=h&sig=" + url.QueryEscape(sig) + "&se=1795300000")
	if err != nil {
		t.Fatal(err)
	}
	if n := token.Verify("", "", "%"); n >= 0 {
		t.Errorf("key %d signed", n)
	}
}

func reorder(token string) string {
	f := strings.Split(strings.TrimPrefix(token, tokenPrefix), "&")
	return tokenPrefix + f[2] + "&" + f[0] + "&" + f[1]
}

func TestParseTokenRefuses(t *testing.T) {
	fields := strings.TrimPrefix(tokenEncoded, tokenPrefix)
	for _, tt := range []struct{ name, token, want string }{
		{"empty", "", `does not start with "SharedAccessSignature "`},
		{"password", "secret", `does not start with "SharedAccessSignature "`},
		{"no prefix", fields, `does not start with "SharedAccessSignature "`},
		{"prefix only", tokenPrefix, "has a field without a value"},
		{"no sr", tokenPrefix + "sig=AA&se=1", `lacks "sr"`},
		{"no se", strings.Replace(tokenEncoded, "&se=1795300000", "", 1), `lacks "se"`},
		{"no sig", tokenPrefix + "sr=h&se=1", `lacks "sig"`},
		{"empty sr", strings.Replace(tokenEncoded, "sr=localhost%2Fdevices%2Fpump-0417", "sr=", 1), `has an empty "sr"`},
		{"twice", tokenEncoded + "&se=1795300000", `has "se" twice`},
		{"unknown", tokenEncoded + "&x=1", `has an unknown field "x"`},
		{"escape cut", strings.Replace(tokenEncoded, "%2Fpump", "%2", 1) + "%", `"sr" is not percent-encoded text`},
		{"short signature", tokenPrefix + "sr=h&sig=AAAA&se=1", `has a "sig" that is not base64 of 32 bytes`},
		{"negative expiry", strings.Replace(tokenEncoded, "se=", "se=-", 1), `has an "se" that is not a number of seconds`},
		{"expiry too large", strings.Replace(tokenEncoded, "se=", "se=99999999999", 1), `has an "se" that is not a number of seconds`},
		{"date as expiry", strings.Replace(tokenEncoded, "se=1795300000", "se=2026-11-22", 1), `has an "se" that is not a number of seconds`},
		{"huge", tokenEncoded + strings.Repeat("x", maxToken), "longer than 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseToken(tt.token)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

func TestTokenExpiryInMilliseconds(t *testing.T) {
	token, err := ParseToken(strings.Replace(tokenEncoded, "se=1795300000", "se=1795300000000", 1))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC); !token.Expiry.Equal(want) {
		t.Errorf("expiry is %v, want %v", token.Expiry, want)
	}
}

func TestTokenCovers(t *testing.T) {
	hub := &Hub{Name: "demo", HostNames: []string{"localhost", "demo.localhost"}}
	for _, tt := range []struct {
		resource, policy, device string
		want                     bool
	}{
		{"localhost/devices/pump", "", "pump", true},
		{"Demo.LocalHost/devices/pump", "", "pump", true},
		{"localhost:8883/devices/pump", "", "pump", true},
		{"localhost/devices/pump/", "", "pump", true},
		{"localhost/devices/a%2Cb", "", "a,b", true},
		{"localhost/devices/a%2Cb", "", "a%2Cb", true},
		{"localhost/devices/Pump", "", "pump", false},
		{"localhost/devices/pump2", "", "pump", false},
		{"localhost/devices/pum", "", "pump", false},
		{"elsewhere/devices/pump", "", "pump", false},
		{"localhost/devices/pump/modules/m", "", "pump", false},
		{"localhost", "", "pump", false},
		{"localhost/devices", "", "pump", false},
		{"localhost", "device", "pump", true},
		{"localhost/", "device", "pump", true},
		{"localhost/devices", "device", "pump", true},
		{"localhost/devices/pump", "device", "pump", true},
		{"localhost/devices/other", "device", "pump", false},
		{"localhost/twins", "device", "pump", false},
		{"elsewhere", "device", "pump", false},
		{"", "device", "pump", false},
	} {
		if got := (Token{Resource: tt.resource, Policy: tt.policy}).covers(hub, &Device{ID: tt.device}); got != tt.want {
			t.Errorf("token for %q with policy %q covers %q: %v, want %v", tt.resource, tt.policy, tt.device, got, tt.want)
		}
	}
}

func TestNewTokenRoundTrip(t *testing.T) {
	expiry := time.Unix(1795300000, 0).UTC()
	resource := "localhost/devices/" + oddID
	s, err := NewToken(resource, "a policy+", testKey, expiry)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ParseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	if token.Resource != resource || token.Policy != "a policy+" || !token.Expiry.Equal(expiry) {
		t.Errorf("token came back as %+v", token)
	}
	if token.Verify(testKey) != 0 {
		t.Error("the signature does not verify")
	}
	if _, err := NewToken(resource, "", "not base64", expiry); err == nil {
		t.Error("a key that is not base64 was taken")
	}
}

// FuzzParseToken: whatever parses is judged without a panic, is not signed by a
// key that nobody used, and its parts survive being written again.
func FuzzParseToken(f *testing.F) {
	for _, s := range []string{tokenEncoded, tokenPlain, tokenLowerCase + "&skn=", reorder(tokenEncoded), tokenPrefix + "sr=a&sig=b&se=1"} {
		f.Add(s)
	}
	hub := &Hub{Name: "demo", HostNames: []string{"localhost"}}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err != nil {
			return
		}
		if token.covers(hub, &Device{ID: "x"}) && !strings.Contains(strings.ToLower(token.Resource), "localhost") {
			t.Errorf("%q covers a device of localhost", token.Resource)
		}
		again, err := NewToken(token.Resource, token.Policy, testKey, token.Expiry)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxToken {
			return
		}
		second, err := ParseToken(again)
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		if second.Resource != token.Resource || second.Policy != token.Policy || !second.Expiry.Equal(token.Expiry) || second.Verify(testKey) != 0 {
			t.Errorf("%+v came back as %+v", token, second)
		}
	})
}
