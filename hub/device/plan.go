package device

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hubscope/hub/ca"
	"hubscope/hub/registry"
)

// A model is a make of device: all of its kind share a TLS stack and an SDK.
type model struct {
	kind     string
	share    float64 // of the devices that connect, in percent
	sdk      string
	min, max uint16
	suites   []uint16
	groups   []tls.CurveID
	auth     registry.AuthType
	key      ca.KeyType
	sha1     bool // thumbprints are SHA-1
	via      Transport
	strict   bool // half of them are on the strict hub
	restless bool // its sessions are short
}

// models are the plant: 61 % TLS 1.3, 30 % TLS 1.2 and 9 % older. Of the 1.2
// ones, the presses offer nothing that a strict hub takes.
var models = []model{
	{kind: "gateway", share: 15, sdk: ".NET/1.42.3 (.NET 8.0.11; Linux; X64)", auth: registry.AuthCA, key: ca.P384, strict: true},
	{kind: "camera", share: 16, sdk: "azure-iot-device-iothub-py/2.14.0 (3.11.2; Linux; x86_64)", auth: registry.AuthCA, key: ca.P256, strict: true},
	{kind: "robot", share: 12, sdk: "azure-iot-device/1.18.4 (node v20.20.2; Debian 12; x64)", auth: registry.AuthSAS, via: MQTTWebSocket,
		groups: []tls.CurveID{tls.X25519, tls.CurveP256}},
	{kind: "sensor", share: 10, sdk: "iothubclient/1.14.0 (native; Linux; armv7l)", auth: registry.AuthThumbprint, key: ca.P256,
		groups: []tls.CurveID{tls.CurveP256}},
	{kind: "tracker", share: 8, sdk: "com.microsoft.azure.sdk.iot.iot-device-client/2.5.0 (17.0.13; Linux; aarch64)", auth: registry.AuthSAS, via: HTTPS,
		groups: []tls.CurveID{tls.X25519}},

	{kind: "meter", share: 12, sdk: "azsdk-c/1.5.0 (FreeRTOS; Cortex-M4)", max: tls.VersionTLS12, auth: registry.AuthThumbprint, key: ca.P256,
		suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, groups: []tls.CurveID{tls.CurveP256}},
	{kind: "valve", share: 9, sdk: "iothubclient/1.10.1 (native; Linux; armv7l)", max: tls.VersionTLS12, auth: registry.AuthCA, key: ca.P256,
		suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
	{kind: "turbine", share: 6, sdk: "Microsoft.Azure.Devices.Client/1.36.2 (.NET Framework 4.8; Windows 10; X64)", max: tls.VersionTLS12, auth: registry.AuthSAS,
		suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	{kind: "press", share: 3, sdk: "iothubclient/1.3.7 (native; WindowsCE; ARM)", max: tls.VersionTLS12, restless: true, auth: registry.AuthSAS,
		suites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},

	{kind: "pump", share: 6, sdk: "iothubclient/1.0.17 (native; Linux; mips)", min: tls.VersionTLS10, max: tls.VersionTLS10, restless: true, auth: registry.AuthSAS,
		suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA}},
	{kind: "boiler", share: 3, sdk: "com.microsoft.azure.sdk.iot.iot-device-client/1.7.23 (1.7.0_80; Linux; i386)", min: tls.VersionTLS10, max: tls.VersionTLS11,
		restless: true, auth: registry.AuthThumbprint, key: ca.RSA2048, sha1: true,
		suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
}

// A fault is what is wrong with a device that never gets in.
type fault string

const (
	faultExpired      fault = "the certificate has expired"
	faultUnknown      fault = "not registered"
	faultThumbprint   fault = "another certificate than the registered one"
	faultDisabled     fault = "disabled in the registry"
	faultOldTLS       fault = "TLS 1.0 at a strict hub"
	faultWeakSuite    fault = "only weak suites at a strict hub"
	faultHTTP         fault = "plain HTTP to the TLS port"
	faultPlainMQTT    fault = "plain MQTT to the TLS port"
	faultWrongKey     fault = "a token signed with another key"
	faultOldToken     fault = "an expired token"
	faultUnverifiedCA fault = "signed by a CA that is not verified"
	faultRevoked      fault = "the certificate is revoked"
	faultDistrust     fault = "does not trust the hub's certificate"
)

// faulty are the devices that never get in: which kind has which fault.
var faulty = []struct {
	kind  string
	fault fault
}{
	{"gateway", faultExpired}, {"sensor", faultUnknown}, {"meter", faultThumbprint}, {"robot", faultDisabled},
	{"pump", faultOldTLS}, {"press", faultWeakSuite}, {"camera", faultHTTP}, {"pump", faultPlainMQTT},
	{"turbine", faultWrongKey}, {"robot", faultOldToken}, {"valve", faultUnverifiedCA}, {"camera", faultRevoked}, {"gateway", faultDistrust},
}

// A habit is what is odd about a device that does get in.
type habit string

const (
	habitRollback habit = "comes back with older firmware, and TLS 1.0"
	habitRepair   habit = "comes back with newer firmware, and a recommended suite"
	habitRoams    habit = "connects from another network every other time"
	habitLoops    habit = "connects anew as soon as it is connected"
	habitShares   habit = "shares its certificate with another device"
	habitModule   habit = "has a module with a connection of its own"
	habitPaused   habit = "is disabled by the operator for a while"
	habitExpires  habit = "has a certificate that expires today"
)

// habits are the devices that have one: the first ones of a kind.
var habits = map[string][]habit{
	"turbine": {habitRollback}, "camera": {habitRoams, "", habitExpires}, "valve": {habitLoops}, "sensor": {habitShares, habitShares},
	"gateway": {habitModule}, "tracker": {habitPaused}, "press": {habitRepair},
}

// onPolicyHub is how many devices of a kind are on the hub whose policy is
// changed, after those with habits. They need no CA there.
var onPolicyHub = map[string]int{"robot": 2, "meter": 4, "pump": 1, "boiler": 1}

// rollback is what a device with older firmware offers.
var rollback = model{sdk: "Microsoft.Azure.Devices.Client/1.0.9 (.NET Framework 4.5; Windows 7; X86)", min: tls.VersionTLS10, max: tls.VersionTLS10,
	suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA}}

// repair is what a device with newer firmware offers.
var repair = model{sdk: "iothubclient/1.14.0 (native; Linux; armv7l)", max: tls.VersionTLS12,
	suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}

// A profile is one device of the plan. It is the same for the same seed.
type profile struct {
	model
	id    string
	fault fault
	// strictHub says that the device belongs to the strict hub.
	strictHub bool
	// validFor is the rest of its certificate's life.
	validFor time.Duration
	// sessions are about this long; restless devices make them short.
	session time.Duration
	// twin: a second device with the same id and credentials fights it.
	twin bool
	// What else the plant shows of devices that do get in.
	habit habit
	// policyHub says that the device belongs to the hub whose policy is changed.
	policyHub bool
	// site and host make the address that it connects from.
	site, host byte
	seed       uint64
}

// showcase is the device of the documentation: it speaks TLS 1.0 only.
const showcase = "pump-0417"

// plan draws up n devices.
func plan(n int, seed uint64) []profile {
	random := rand.New(rand.NewPCG(seed, 0x6875627363_6f7065))
	var list []profile
	used := map[string]bool{showcase: true}
	name := func(kind string) string {
		for {
			id := fmt.Sprintf("%s-%04d", kind, 1+random.IntN(9999))
			if !used[id] {
				used[id] = true
				return id
			}
		}
	}
	add := func(m model, f fault) *profile {
		p := profile{
			model: m, id: name(m.kind), fault: f, seed: random.Uint64(),
			site: byte(1 + random.IntN(12)), host: byte(1 + random.IntN(254)),
			validFor: time.Duration(90+random.IntN(275)) * 24 * time.Hour,
			session:  time.Duration(240+random.IntN(600)) * time.Second,
		}
		switch r := random.Float64(); {
		case r < 0.05: // ends soon
			p.validFor = time.Duration(3+random.IntN(22)) * 24 * time.Hour
		case r < 0.08: // ends within two months
			p.validFor = time.Duration(32+random.IntN(26)) * 24 * time.Hour
		case r < 0.11: // within three
			p.validFor = time.Duration(62+random.IntN(26)) * 24 * time.Hour
		}
		if badLink := random.Float64() < 0.25; badLink || m.restless {
			p.session = time.Duration(25+random.IntN(60)) * time.Second
		}
		if p.via == "" || random.IntN(10) < 3 {
			p.via = MQTT
		}
		list = append(list, p)
		return &list[len(list)-1]
	}
	healthy := n - len(faulty)
	for i, count := range apportion(healthy) {
		for k := range count {
			p := add(models[i], "")
			p.strictHub = p.strict && k%2 == 1
			if p.kind == "pump" && k == 0 {
				p.id, p.via, p.session = showcase, MQTT, 45*time.Second
			}
			p.twin = p.kind == "robot" && k == 0
			if list := habits[p.kind]; k < len(list) {
				p.assume(list[k])
			}
			p.policyHub = k >= 1 && k <= onPolicyHub[p.kind]
			if p.policyHub && p.version() < "1.2" {
				p.session = 45 * time.Second // so that they soon meet the new policy
			}
		}
	}
	for _, f := range faulty {
		for _, m := range models {
			if m.kind != f.kind {
				continue
			}
			p := add(m, f.fault)
			p.via = MQTT
			p.strictHub = f.fault == faultOldTLS || f.fault == faultWeakSuite
			if f.fault == faultUnknown {
				p.auth = registry.AuthSAS
			}
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// assume gives the device a habit, and sessions that are over soon enough to
// show it.
func (p *profile) assume(h habit) {
	p.habit = h
	switch h {
	case habitRollback, habitRepair, habitRoams:
		p.session = 30 * time.Second
	case habitExpires:
		p.session, p.validFor = time.Minute, 2*time.Minute
	case habitLoops:
		p.session = time.Second
	case habitPaused:
		p.via = MQTT // where it is cut at once
	}
}

// newcomer is a device that joins the plant later: an old one, bought second hand.
func newcomer(seed uint64, list []profile) profile {
	p := profile{model: models[slices.IndexFunc(models, func(m model) bool { return m.kind == "pump" })],
		seed: seed, site: 3, host: 77, session: 2 * time.Minute}
	p.via = MQTT
	for n := 5000; p.id == "" || slices.ContainsFunc(list, func(q profile) bool { return q.id == p.id }); n++ {
		p.id = fmt.Sprintf("pump-%04d", n)
	}
	return p
}

// apportion shares n devices out among the models, by largest remainder.
func apportion(n int) []int {
	counts := make([]int, len(models))
	rest := n
	for i, m := range models {
		counts[i] = int(m.share * float64(n) / 100)
		rest -= counts[i]
	}
	for ; rest > 0; rest-- {
		best := 0
		for i, m := range models {
			if m.share*float64(n)/100-float64(counts[i]) > models[best].share*float64(n)/100-float64(counts[best]) {
				best = i
			}
		}
		counts[best]++
	}
	return counts
}

// version is what the device negotiates with a hub that lets it.
func (m *model) version() string {
	switch m.max {
	case tls.VersionTLS10:
		return "1.0"
	case tls.VersionTLS11:
		return "1.1"
	case tls.VersionTLS12:
		return "1.2"
	}
	return "1.3"
}
