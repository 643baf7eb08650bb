package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"hubscope/ingest"
)

// fleet makes the events of a population of devices as a hub sees them: each
// device keeps its identity, client, address and certificate, and connects,
// stays for a while and disconnects, so that what repeats in life repeats here,
// and what is random is random.
type fleet struct {
	rnd     *rand.Rand
	devices []device
	ids     *ingest.ConnectionIDs
	now     time.Time
	step    time.Duration
	open    []session // heap by end
	n       int
}

type device struct {
	hub, id, sdk, mask, hash string
	profile                  *profile
	auth                     string
	cert                     *certificate
}

type certificate struct {
	thumbprint, subject, issuer, serial, ca string
	notAfter                                time.Time
}

// profile is a kind of client: what its TLS library offers and gets.
type profile struct {
	weight                                 int
	version, cipher, group, signature, ja4 string
	versions, ciphers, groups, signatures  []string
	strict                                 string
	protocol                               string
}

type session struct {
	end   time.Time
	event ingest.Event
}

var (
	modernCiphers = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}
	oldCiphers = []string{"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA",
		"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}
	modernSignatures = []string{"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ed25519", "rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384",
		"rsa_pss_rsae_sha512", "rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512"}
)

func profiles(rnd *rand.Rand) []profile {
	base := []profile{
		{weight: 45, version: "1.3", cipher: "TLS_AES_128_GCM_SHA256", group: "x25519", signature: "ecdsa_secp256r1_sha256", protocol: ingest.Mqtt,
			versions: []string{"1.3", "1.2"}, ciphers: modernCiphers, groups: []string{"x25519", "secp256r1", "secp384r1"}, signatures: modernSignatures},
		{weight: 16, version: "1.3", cipher: "TLS_AES_256_GCM_SHA384", group: "secp256r1", signature: "rsa_pss_rsae_sha256", protocol: ingest.MqttWs,
			versions: []string{"1.3", "1.2"}, ciphers: modernCiphers[1:], groups: []string{"secp256r1", "secp384r1"}, signatures: modernSignatures},
		{weight: 20, version: "1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", group: "secp256r1", signature: "rsa_pkcs1_sha256", protocol: ingest.Mqtt,
			versions: []string{"1.2"}, ciphers: modernCiphers[3:], groups: []string{"secp256r1"}, signatures: modernSignatures[6:]},
		{weight: 10, version: "1.2", cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", group: "secp256r1", signature: "ecdsa_secp256r1_sha256", protocol: ingest.Https,
			versions: []string{"1.2", "1.1", "1.0"}, ciphers: append(append([]string{}, modernCiphers[3:]...), oldCiphers...), groups: []string{"secp256r1"}, signatures: modernSignatures},
		{weight: 9, version: "1.0", cipher: "TLS_RSA_WITH_AES_128_CBC_SHA", protocol: ingest.Mqtt, strict: "offers TLS 1.0 only",
			versions: []string{"1.0"}, ciphers: oldCiphers},
	}
	// Builds of the same libraries differ a little.
	var all []profile
	for _, p := range base {
		for range 20 {
			v := p
			v.ciphers = append(append([]string{}, p.ciphers...), oldCiphers[rnd.IntN(len(oldCiphers))])
			v.ja4 = fmt.Sprintf("t%sd%02d%02dmq_%012x_%012x", map[string]string{"1.3": "13", "1.2": "12", "1.0": "10"}[p.version],
				len(v.ciphers), 9+rnd.IntN(5), rnd.Uint64()>>16, rnd.Uint64()>>16)
			all = append(all, v)
		}
	}
	return all
}

var sdks = []string{"azure-iot-device/1.18.4 (node v20.11.0; Linux 6.1.0; x64)", "azure-iot-device-iothub-py/2.13.1", ".NET/1.42.3 (.NET 8.0.3; Linux)",
	"com.microsoft.azure.sdk.iot.iot-device-client/2.4.1", "azsdk-c/1.5.0", "iothub_client/1.13.0", "", "azure-iot-device/1.17.0 (node v16.20.2; Linux 5.10)"}

// newFleet makes n devices whose sessions begin evenly over time, step apart,
// from start on.
func newFleet(n int, start time.Time, step time.Duration) *fleet {
	rnd := rand.New(rand.NewPCG(1, 2))
	f := &fleet{rnd: rnd, ids: ingest.NewConnectionIDs(), now: start, step: step}
	kinds := profiles(rnd)
	total := 0
	for i := range kinds {
		total += kinds[i].weight
	}
	for i := range n {
		pick := rnd.IntN(total)
		p := &kinds[0]
		for j := range kinds {
			if pick -= kinds[j].weight; pick < 0 {
				p = &kinds[j]
				break
			}
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "device %d", i))
		d := device{
			hub: fmt.Sprintf("plant-%d", i%7), id: fmt.Sprintf("%s-%06d", []string{"pump", "meter", "valve", "gateway"}[i%4], i),
			sdk: sdks[rnd.IntN(len(sdks))], profile: p, auth: ingest.AuthSAS,
			mask: fmt.Sprintf("%d.%d.%d.XXX", 10+rnd.IntN(180), rnd.IntN(256), rnd.IntN(256)), hash: hex.EncodeToString(sum[8:16]),
		}
		if i%2 == 0 {
			d.auth = ingest.AuthX509CA
			d.cert = &certificate{thumbprint: hex.EncodeToString(sum[:]), subject: "CN=" + d.id, issuer: fmt.Sprintf("CN=Device CA %d,O=Plants", i%5),
				serial: hex.EncodeToString(sum[16:32]), ca: fmt.Sprintf("device-ca-%d", i%5), notAfter: start.AddDate(0, i%24, i%28)}
		}
		f.devices = append(f.devices, d)
	}
	return f
}

// next returns the next event; it is valid until the next call.
func (f *fleet) next() *ingest.Event {
	f.n++
	if len(f.open) > 0 && !f.open[0].end.After(f.now) {
		s := f.pop()
		e := s.event
		e.TimeGenerated = s.end
		e.OperationName, e.DisconnectReason = ingest.DeviceDisconnect, "client_disconnect"
		if f.rnd.IntN(10) == 0 {
			e.DisconnectReason, e.ResultType, e.ResultSignature, e.Level = "keep_alive_timeout", "404103", "DeviceConnectionClosedRemotely", ingest.Error
		}
		e.Sequence = e.TimeGenerated.UnixMicro()
		e.DurationMs = e.TimeGenerated.Sub(s.event.TimeGenerated).Milliseconds()
		e.Messages = e.DurationMs / 60_000
		e.BytesIn += e.Messages * int64(180+f.rnd.IntN(100))
		e.BytesOut += e.Messages * 4
		return &e
	}
	f.now = f.now.Add(time.Duration(f.rnd.Int64N(2 * int64(f.step))))
	d := &f.devices[f.rnd.IntN(len(f.devices))]
	p := d.profile
	e := ingest.Event{
		TimeGenerated: f.now, Hub: d.hub, Node: fmt.Sprintf("hub-%d", f.n%3), ConnectionId: f.ids.Next(f.now), Sequence: f.now.UnixMicro(),
		OperationName: ingest.DeviceConnect, Category: ingest.CategoryConnections, Level: ingest.Information, Stage: ingest.StageSession,
		DeviceId: d.id, Protocol: p.protocol, AuthType: d.auth, AuthIssuer: "iothub", SdkVersion: d.sdk,
		MaskedIpAddress: d.mask, IpHash: d.hash, RemotePort: int64(1024 + f.rnd.IntN(64000)),
		TlsVersion: p.version, TlsCipher: p.cipher, TlsGroup: p.group, TlsSignature: p.signature, TlsEngine: "go", TlsServerKey: "ECDSA",
		Sni: d.hub + ".example.net", Alpn: "x-amzn-mqtt-ca", Ja4: p.ja4,
		OfferedVersions: p.versions, OfferedCiphers: p.ciphers, OfferedGroups: p.groups, OfferedSignatures: p.signatures,
		HandshakeMicros: int64(20_000 + f.rnd.ExpFloat64()*30_000), BytesIn: int64(900 + f.rnd.IntN(400)), BytesOut: int64(2900 + f.rnd.IntN(300)),
		WouldFailStrict: p.strict != "", StrictReason: p.strict,
	}
	e.ConnectMicros = e.HandshakeMicros + int64(f.rnd.ExpFloat64()*20_000)
	if c := d.cert; c != nil {
		e.CertThumbprint, e.CertSubject, e.CertIssuer, e.CertSerial, e.CertNotAfter, e.CaName = c.thumbprint, c.subject, c.issuer, c.serial, c.notAfter, c.ca
	}
	if f.rnd.IntN(25) == 0 { // refused
		e.OperationName, e.Level, e.Stage, e.DeviceId, e.ClaimedDeviceId = ingest.ConnectionRefused, ingest.Error, ingest.StageAuth, "", d.id
		e.ResultType, e.ResultSignature, e.ResultDescription = "401003", "IotHubUnauthorized", "device "+d.id+" is not registered"
		e.AuthType, e.DurationMs = ingest.AuthNone, e.ConnectMicros/1000
		return &e
	}
	f.push(session{f.now.Add(time.Duration(f.rnd.ExpFloat64() * float64(30*time.Minute))), e})
	return &e
}

// push and pop keep open ordered by end, as a binary heap.
func (f *fleet) push(s session) {
	f.open = append(f.open, s)
	for i := len(f.open) - 1; i > 0; {
		parent := (i - 1) / 2
		if !f.open[i].end.Before(f.open[parent].end) {
			break
		}
		f.open[i], f.open[parent] = f.open[parent], f.open[i]
		i = parent
	}
}

func (f *fleet) pop() session {
	s := f.open[0]
	last := len(f.open) - 1
	f.open[0] = f.open[last]
	f.open = f.open[:last]
	for i := 0; ; {
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < last && f.open[c].end.Before(f.open[least].end) {
				least = c
			}
		}
		if least == i {
			return s
		}
		f.open[i], f.open[least] = f.open[least], f.open[i]
		i = least
	}
}
