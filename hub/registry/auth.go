package registry

import (
	"crypto/x509"
	"time"
)

// An Attempt is what a client has shown when it wants to be let in.
type Attempt struct {
	// Hub is the name of the hub that it has reached.
	Hub string
	// DeviceID and ModuleID are claimed, not proven.
	DeviceID string
	ModuleID string
	// Token is the SAS token: the MQTT password or the HTTP Authorization header.
	Token string
	// Chain is the certificate chain as presented, leaf first. The handshake must
	// have proven possession of the leaf's key.
	Chain []*x509.Certificate
}

// An Identity is a proven one.
type Identity struct {
	Hub      string
	DeviceID string
	// Auth is the way in which it was proven.
	Auth AuthType
	// Scope is "device" for the device's own credentials, and "hub" for a shared
	// access policy of the hub.
	Scope string
	// Issuer is "iothub" for SAS tokens, "external" for certificates (Azure's words).
	Issuer string
	// Policy is the shared access policy that signed the token, if one did.
	Policy string
	// CA is the name of the CA that the certificate chains to, if it does.
	CA string
	// Expires is when the credentials end: the token's se, or the certificate's
	// last moment. The hub cuts SAS sessions then, as Azure does.
	Expires time.Time

	proof proof
}

// proof is what the identity rests on, for Recheck. It holds hashes and names
// rather than the chain: there is one for each live session.
type proof struct{}

// A Refusal says why a client was not let in, in Azure's terms and in plain
// words. It is for the event; the peer only sees Public.
type Refusal struct {
	// Code is Azure's six digits, for example 401003.
	Code int
	// Name is Azure's name of the code, for example IotHubUnauthorized.
	Name string
	// Description says in plain words what was wrong.
	Description string
	// Public is what the peer may be told: it does not tell an unknown device
	// from wrong credentials.
	Public Public
	// CA is the name of the CA concerned, when it is known.
	CA string
	// Auth is the way in which the client tried to authenticate; empty for none.
	Auth AuthType
}

func (r *Refusal) Error() string { return r.Name + ": " + r.Description }

// Public is a refusal as the peer sees it.
type Public struct {
	// HTTPStatus is 401, 403 or 503; MQTT answers 5 (not authorised) to all but
	// 503, which is 3 (server unavailable).
	HTTPStatus int
	// Code and Message go into Azure's error body.
	Code    string
	Message string
}
