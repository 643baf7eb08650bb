package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubscope/hub/ca"
)

// noon is the time at which these tests judge.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func year(from time.Time) (notBefore, notAfter time.Time) { return from, from.AddDate(1, 0, 0) }

func authority(t *testing.T, name string) *ca.Authority {
	t.Helper()
	a, err := ca.NewAuthority(ca.AuthorityConfig{CommonName: name, NotBefore: noon.AddDate(-1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leaf(t *testing.T, a *ca.Authority, cn string, change func(*ca.DeviceConfig)) []*x509.Certificate {
	t.Helper()
	var c ca.DeviceConfig
	c.NotBefore, c.NotAfter = year(noon.AddDate(0, -1, 0))
	if change != nil {
		change(&c)
	}
	var l *ca.Leaf
	var err error
	if a == nil {
		l, err = ca.SelfSigned(cn, c)
	} else {
		l, err = a.Device(cn, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return append([]*x509.Certificate{l.Certificate}, l.Chain...)
}

// custom signs a certificate that package ca would not make.
func custom(t *testing.T, a *ca.Authority, change func(*x509.Certificate)) []*x509.Certificate {
	t.Helper()
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "pump"}, KeyUsage: x509.KeyUsageDigitalSignature}
	template.NotBefore, template.NotAfter = year(noon.AddDate(0, -1, 0))
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{cert}
}

func storedCA(a *ca.Authority, name string, verified bool) *CA {
	return &CA{Hub: "demo", Name: name, DER: a.Certificate.Raw, Verified: verified, cert: a.Certificate}
}

func trustIn(cas []*CA, crls ...*CRL) *trust {
	c, l := map[string]*CA{}, map[string]*CRL{}
	for _, x := range cas {
		c[x.Name] = x
	}
	for _, x := range crls {
		l[x.CA] = x
	}
	return newTrust(c, l)
}

func crlOf(t *testing.T, a *ca.Authority, name string, serials ...*big.Int) *CRL {
	t.Helper()
	var r []ca.Revocation
	for _, s := range serials {
		r = append(r, ca.Revocation{Serial: s, At: noon.Add(-time.Hour)})
	}
	der, err := a.RevocationList(1, noon.Add(-time.Hour), noon.AddDate(0, 0, 7), r)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := decodeCRL(Record{Key: Key{"demo", name}, Value: der})
	if err != nil {
		t.Fatal(err)
	}
	return crl
}

func testHub() *Hub {
	return &Hub{Name: "demo", HostNames: []string{"localhost"}, MinTLSVersion: TLS12, Policies: []Policy{
		{Name: "device", PrimaryKey: key("device1"), SecondaryKey: key("device2"), Rights: DeviceConnect},
		{Name: "service", PrimaryKey: key("service1"), SecondaryKey: key("service2"), Rights: ServiceConnect},
	}}
}

// key derives a symmetric key from a word.
func key(word string) string {
	sum := sha256.Sum256([]byte(word))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func token(t *testing.T, resource, policy, key string, expiry time.Time) string {
	t.Helper()
	s, err := NewToken(resource, policy, key, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is what a test compares of a judgement.
type outcome struct {
	Code int
	Text string
	CA   string
	Auth AuthType
}

func outcomeOf(id *Identity, r *Refusal) outcome {
	if r != nil {
		return outcome{r.Code, r.Name + ": " + r.Description, r.CA, r.Auth}
	}
	return outcome{Text: id.Scope + " " + id.Issuer + " " + id.Policy, CA: id.CA, Auth: id.Auth}
}

func TestJudgeSAS(t *testing.T) {
	device := &Device{ID: "pump", GenerationID: "1", Status: Enabled, Auth: Authentication{Type: AuthSAS, PrimaryKey: key("p"), SecondaryKey: key("s")}}
	disabled := *device
	disabled.Status, disabled.StatusReason = Disabled, "stolen"
	const resource = "localhost/devices/pump"
	later, expired := noon.Add(time.Hour), noon.Add(-time.Second)
	good := token(t, resource, "", key("p"), later)
	chain := leaf(t, nil, "pump", nil)
	refused := func(text string) outcome { return outcome{401003, "IotHubUnauthorized: " + text, "", AuthSAS} }
	for _, tt := range []struct {
		name    string
		device  *Device
		attempt Attempt
		want    outcome
	}{
		{"primary key", device, Attempt{Token: good}, outcome{Text: "device iothub ", Auth: AuthSAS}},
		{"secondary key", device, Attempt{Token: token(t, resource, "", key("s"), later)}, outcome{Text: "device iothub ", Auth: AuthSAS}},
		{"policy, for the hub", device, Attempt{Token: token(t, "localhost", "device", key("device2"), later)}, outcome{Text: "hub iothub device", Auth: AuthSAS}},
		{"policy, for the device", device, Attempt{Token: token(t, resource, "device", key("device1"), later)}, outcome{Text: "hub iothub device", Auth: AuthSAS}},
		{"a certificate beside it", device, Attempt{Token: good, Chain: chain}, outcome{Text: "device iothub ", Auth: AuthSAS}},
		{"policy without DeviceConnect", device, Attempt{Token: token(t, "localhost", "service", key("service1"), later)},
			outcome{401002, `IotHubUnauthorizedAccess: shared access policy "service" lacks DeviceConnect: it has ServiceConnect`, "", AuthSAS}},
		{"policy's name with the device's key", device, Attempt{Token: token(t, resource, "service", key("p"), later)},
			refused("the signature of the SAS token is wrong: it was made with another key")},
		{"unknown policy", device, Attempt{Token: token(t, resource, "root", key("p"), later)}, refused(`hub "demo" has no shared access policy "root"`)},
		{"device's name with the policy's key", device, Attempt{Token: token(t, resource, "", key("device1"), later)},
			refused("the signature of the SAS token is wrong: it was made with another key")},
		{"wrong key", device, Attempt{Token: token(t, resource, "", key("x"), later)}, refused("the signature of the SAS token is wrong: it was made with another key")},
		{"expired", device, Attempt{Token: token(t, resource, "", key("p"), expired)}, refused("the SAS token has expired on 2026-11-22T11:59:59Z")},
		{"ends now", device, Attempt{Token: token(t, resource, "", key("p"), noon)}, refused("the SAS token has expired on 2026-11-22T12:00:00Z")},
		{"another device's", device, Attempt{Token: token(t, "localhost/devices/other", "", key("p"), later)}, refused(`the SAS token is for "localhost/devices/other", not for device "pump" of this hub`)},
		{"another hub's", device, Attempt{Token: token(t, "elsewhere/devices/pump", "", key("p"), later)}, refused(`the SAS token is for "elsewhere/devices/pump", not for device "pump" of this hub`)},
		{"no token", device, Attempt{}, outcome{401003, `IotHubUnauthorized: device "pump" authenticates with SAS, and the client sent no token`, "", ""}},
		{"certificate instead", device, Attempt{Chain: chain}, outcome{401003, `IotHubUnauthorized: device "pump" authenticates with SAS, and the client sent no token`, "", AuthCA}},
		{"password", device, Attempt{Token: "secret"}, refused(`the SAS token does not start with "SharedAccessSignature "`)},
		{"disabled", &disabled, Attempt{Token: good}, outcome{403012, `DeviceDisabled: device "pump" is disabled: stolen`, "", AuthSAS}},
		{"disabled, wrong key", &disabled, Attempt{Token: token(t, resource, "", key("x"), later)}, refused("the signature of the SAS token is wrong: it was made with another key")},
		{"unknown", nil, Attempt{Token: good}, outcome{404001, `DeviceNotFound: hub "demo" has no device "pump"`, "", AuthSAS}},
		{"module", device, Attempt{Token: good, ModuleID: "m"}, outcome{404010, `ModuleNotFound: device "pump" has no module "m"`, "", AuthSAS}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.attempt.Hub, tt.attempt.DeviceID = "demo", "pump"
			id, refusal := judge(testHub(), newTrust(nil, nil), tt.device, nil, tt.attempt, noon)
			if diff := cmp.Diff(tt.want, outcomeOf(id, refusal)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if id != nil && !id.Expires.Equal(later) {
				t.Errorf("expires %v, want %v", id.Expires, later)
			}
		})
	}
	t.Run("no hub", func(t *testing.T) {
		_, refusal := judge(nil, newTrust(nil, nil), device, nil, Attempt{Hub: "x", DeviceID: "pump", Token: good}, noon)
		if diff := cmp.Diff(refused(`there is no hub "x"`), outcomeOf(nil, refusal)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestJudgeThumbprint(t *testing.T) {
	primary, secondary, other := leaf(t, nil, "pump", nil), leaf(t, nil, "any name", nil), leaf(t, nil, "pump", nil)
	old := leaf(t, nil, "pump", func(c *ca.DeviceConfig) { c.NotBefore, c.NotAfter = year(noon.AddDate(-2, 0, 0)) })
	early := leaf(t, nil, "pump", func(c *ca.DeviceConfig) { c.NotBefore, c.NotAfter = year(noon.Add(time.Minute)) })
	sha1Of := func(c []*x509.Certificate) string { s, _ := Thumbprints(c[0]); return s }
	sha256Of := func(c []*x509.Certificate) string { _, s := Thumbprints(c[0]); return s }
	device := &Device{ID: "pump", GenerationID: "1", Status: Enabled, Auth: Authentication{Type: AuthThumbprint, PrimaryThumbprint: sha1Of(primary), SecondaryThumbprint: sha256Of(secondary)}}
	ended := &Device{ID: "pump", GenerationID: "1", Status: Enabled, Auth: Authentication{Type: AuthThumbprint, PrimaryThumbprint: sha256Of(old), SecondaryThumbprint: sha256Of(early)}}
	disabled := *device
	disabled.Status = Disabled
	good := outcome{Text: "device external ", Auth: AuthThumbprint}
	refused := func(text string) outcome {
		return outcome{401003, "IotHubUnauthorized: " + text, "", AuthThumbprint}
	}
	for _, tt := range []struct {
		name    string
		device  *Device
		attempt Attempt
		want    outcome
	}{
		{"SHA-1, primary", device, Attempt{Chain: primary}, good},
		{"SHA-256, secondary, another name", device, Attempt{Chain: secondary}, good},
		{"a token beside it", device, Attempt{Chain: primary, Token: "x"}, good},
		{"another certificate", device, Attempt{Chain: other}, refused("Thumbprint does not match configuration: the client presented " + sha1Of(other) + " (SHA-1), " + sha256Of(other) + " (SHA-256)")},
		{"the right one behind another", device, Attempt{Chain: append(other[:1:1], primary...)}, refused("Thumbprint does not match configuration: the client presented " + sha1Of(other) + " (SHA-1), " + sha256Of(other) + " (SHA-256)")},
		{"expired", ended, Attempt{Chain: old}, refused("the certificate has expired on 2025-11-22T12:00:00Z")},
		{"not yet valid", ended, Attempt{Chain: early}, refused("the certificate is not valid before 2026-11-22T12:01:00Z")},
		{"no certificate", device, Attempt{}, outcome{401003, `IotHubUnauthorized: device "pump" authenticates with an X.509 certificate, and the client presented none`, "", ""}},
		{"token instead", device, Attempt{Token: "x"}, outcome{401003, `IotHubUnauthorized: device "pump" authenticates with an X.509 certificate, and the client presented none`, "", AuthSAS}},
		{"disabled", &disabled, Attempt{Chain: primary}, outcome{403012, `DeviceDisabled: device "pump" is disabled`, "", AuthThumbprint}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.attempt.Hub, tt.attempt.DeviceID = "demo", "pump"
			id, refusal := judge(testHub(), newTrust(nil, nil), tt.device, nil, tt.attempt, noon)
			got := outcomeOf(id, refusal)
			if tt.name == "a token beside it" {
				got.Auth = AuthThumbprint
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudgeChain(t *testing.T) {
	root, unverified, stranger := authority(t, "Plant root"), authority(t, "New root"), authority(t, "Stranger")
	issuing, err := root.Intermediate(ca.AuthorityConfig{CommonName: "Plant issuing", NotBefore: noon.AddDate(0, -6, 0), NotAfter: noon.AddDate(0, 6, 0)})
	if err != nil {
		t.Fatal(err)
	}
	endedCA, err := root.Intermediate(ca.AuthorityConfig{CommonName: "Ended issuing", NotBefore: noon.AddDate(-2, 0, 0), NotAfter: noon.AddDate(0, -1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	revokedLeaf := leaf(t, issuing, "pump", nil)
	revokedCA, err := root.Intermediate(ca.AuthorityConfig{CommonName: "Lost issuing", NotBefore: noon.AddDate(0, -6, 0)})
	if err != nil {
		t.Fatal(err)
	}
	trust := trustIn(
		[]*CA{storedCA(root, "plant", true), storedCA(unverified, "new", false), storedCA(issuing, "issuing", false)},
		crlOf(t, issuing, "issuing", revokedLeaf[0].SerialNumber),
		crlOf(t, root, "plant", revokedCA.Certificate.SerialNumber),
	)
	device := &Device{ID: "pump", GenerationID: "1", Status: Enabled, Auth: Authentication{Type: AuthCA}}
	disabled := *device
	disabled.Status = Disabled
	good := outcome{Text: "device external ", CA: "plant", Auth: AuthCA}
	refused := func(ca, text string) outcome {
		return outcome{401003, "IotHubUnauthorized: " + text, ca, AuthCA}
	}
	expired := func(c *ca.DeviceConfig) { c.NotBefore, c.NotAfter = year(noon.AddDate(-2, 0, 0)) }
	intermediate := leaf(t, issuing, "pump", nil)
	eku := func(usages ...x509.ExtKeyUsage) []*x509.Certificate {
		return custom(t, root, func(c *x509.Certificate) { c.ExtKeyUsage = usages })
	}
	device1, err := root.Device("device1", ca.DeviceConfig{NotBefore: noon.AddDate(0, -1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	selfMadeCA := &ca.Authority{Certificate: device1.Certificate, Key: device1.Key}
	for _, tt := range []struct {
		name   string
		device *Device
		chain  []*x509.Certificate
		want   outcome
	}{
		{"signed by the CA", device, leaf(t, root, "pump", nil), good},
		{"RSA key", device, leaf(t, root, "pump", func(c *ca.DeviceConfig) { c.KeyType = ca.RSA2048 }), good},
		{"through an intermediate", device, intermediate, good},
		{"root presented too", device, append(intermediate[:2:2], root.Certificate), good},
		{"intermediate not presented", device, intermediate[:1], refused("issuing", `the certificate was issued by CA "issuing", which is not verified`)},
		{"no extended key usage", device, eku(), good},
		{"any extended key usage", device, eku(x509.ExtKeyUsageAny), good},
		{"both usages", device, eku(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth), good},
		{"server usage", device, eku(x509.ExtKeyUsageServerAuth), refused("plant", "the certificate is not meant for client authentication: its extended key usage lacks clientAuth")},
		{"wrong common name", device, leaf(t, root, "pump2", nil), refused("plant", `the certificate's common name "pump2" is not the device id "pump"`)},
		{"common name in another case", device, leaf(t, root, "Pump", nil), refused("plant", `the certificate's common name "Pump" is not the device id "pump"`)},
		{"device id only as alternative name", device, custom(t, root, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", []string{"pump"} }),
			refused("plant", `the certificate's common name "" is not the device id "pump"`)},
		{"expired", device, leaf(t, root, "pump", expired), refused("plant", "the certificate has expired on 2025-11-22T12:00:00Z")},
		{"expired, of a stranger", device, leaf(t, stranger, "pump", expired), refused("", "the certificate has expired on 2025-11-22T12:00:00Z, and its issuer CN=Stranger is not a verified CA of this hub")},
		{"not yet valid", device, leaf(t, root, "pump", func(c *ca.DeviceConfig) { c.NotBefore, c.NotAfter = year(noon.Add(time.Hour)) }),
			refused("plant", "the certificate is not valid before 2026-11-22T13:00:00Z")},
		{"expired intermediate", device, leaf(t, endedCA, "pump", nil), refused("plant", "the certificate of issuer CN=Ended issuing has expired on 2026-10-22T12:00:00Z")},
		{"stranger", device, leaf(t, stranger, "pump", nil), refused("", "the certificate's issuer CN=Stranger is not a verified CA of this hub")},
		{"self-signed", device, leaf(t, nil, "pump", nil), refused("", "the certificate's issuer CN=pump is not a verified CA of this hub")},
		{"unverified CA", device, leaf(t, unverified, "pump", nil), refused("new", `the certificate was issued by CA "new", which is not verified`)},
		{"signed by a certificate that is no CA", device, func() []*x509.Certificate {
			return append(custom(t, selfMadeCA, func(c *x509.Certificate) {}), selfMadeCA.Certificate)
		}(), refused("", `the certificate's issuer CN=device1 is not a verified CA of this hub (possibly because of "x509: invalid signature: parent certificate cannot sign this kind of certificate" while trying to verify candidate authority certificate "device1")`)},
		{"critical extension", device, custom(t, root, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), refused("", "the certificate was refused: unhandled critical extension")},
		{"the CA itself", &Device{ID: "Plant root", Status: Enabled, Auth: Authentication{Type: AuthCA}}, []*x509.Certificate{root.Certificate},
			refused("plant", `the certificate is that of CA "plant" itself`)},
		{"revoked", device, revokedLeaf, refused("plant", "the certificate with serial "+hexOf(revokedLeaf[0].SerialNumber)+` was revoked by CA "issuing" on 2026-11-22T11:00:00Z`)},
		{"revoked intermediate", device, leaf(t, revokedCA, "pump", nil), refused("plant", "an intermediate certificate with serial "+hexOf(revokedCA.Certificate.SerialNumber)+` was revoked by CA "plant" on 2026-11-22T11:00:00Z`)},
		{"no certificate", device, nil, outcome{401003, `IotHubUnauthorized: device "pump" authenticates with an X.509 certificate, and the client presented none`, "", ""}},
		{"disabled", &disabled, intermediate, outcome{403012, `DeviceDisabled: device "pump" is disabled`, "", AuthCA}},
		{"unknown", nil, intermediate, outcome{404001, `DeviceNotFound: hub "demo" has no device "pump"`, "", AuthCA}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, refusal := judge(testHub(), trust, tt.device, nil, Attempt{Hub: "demo", DeviceID: "pump", Chain: tt.chain}, noon)
			if diff := cmp.Diff(tt.want, outcomeOf(id, refusal)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if id == nil {
				return
			}
			want := tt.chain[0].NotAfter
			if tt.name == "through an intermediate" || tt.name == "root presented too" {
				want = issuing.Certificate.NotAfter
			}
			if !id.Expires.Equal(want) {
				t.Errorf("expires %v, want %v", id.Expires, want)
			}
		})
	}
}

func hexOf(n *big.Int) string { return fmt.Sprintf("%X", n.Bytes()) }

// TestSameAnswerToThePeer: who is refused cannot find out why.
func TestSameAnswerToThePeer(t *testing.T) {
	type answer struct {
		Status        int
		Code, Message string
	}
	want := answer{401, "IotHubUnauthorizedAccess", "Unauthorized"}
	for _, code := range []int{codeUnauthorizedAccess, codeUnauthorized, codeDeviceDisabled, codeDeviceNotFound, codeModuleNotFound} {
		var got answer
		got.Status, got.Code, got.Message = refuse(code, "", "x").Public()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("code %d (-want +got):\n%s", code, diff)
		}
	}
	if status, _, _ := refuse(codeServerError, "", "x").Public(); status != 503 {
		t.Errorf("a server error is answered with %d", status)
	}
}

func TestCRLRefuses(t *testing.T) {
	root := authority(t, "root")
	sign := func(extensions ...pkix.Extension) []byte {
		t.Helper()
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour), ExtraExtensions: extensions,
		}, root.Certificate, root.Key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	point := func(p issuingDistributionPoint) pkix.Extension {
		b, err := asn1.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: b}
	}
	for _, tt := range []struct {
		name string
		der  []byte
		want string
	}{
		{"plain", sign(), ""},
		{"for users", sign(point(issuingDistributionPoint{OnlyUserCerts: true})), ""},
		{"indirect", sign(point(issuingDistributionPoint{IndirectCRL: true})), "crl: is an indirect list; one signed by the CA for its own certificates is needed"},
		{"delta", sign(pkix.Extension{Id: oidDeltaCRL, Critical: true, Value: []byte{2, 1, 1}}), "crl: is a delta list; a complete one is needed"},
		{"unknown", sign(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}), "crl: has a critical extension 1.2.3 that is not supported"},
		{"certificate", root.Certificate.Raw, "crl: cannot be parsed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeCRL(Record{Value: tt.der})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("error is %q, want %q", got, tt.want)
			}
		})
	}
}
