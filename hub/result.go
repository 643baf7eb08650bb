package hub

import (
	"strconv"

	"hubscope/hub/handshake"
	"hubscope/hub/registry"
)

// A Result is the outcome of a connection or of a session, in the columns
// ResultType and ResultSignature. The zero value is success.
type Result struct {
	Code int
	Name string
}

// Type returns the value of the column ResultType, empty for success.
func (r Result) Type() string {
	if r.Code == 0 {
		return ""
	}
	return strconv.Itoa(r.Code)
}

// Azure IoT Hub's codes that the hub itself uses; authentication adds the
// registry's (401002, 401003, 403012, 404001, 404010).
var (
	InvalidProtocolVersion = Result{400001, "InvalidProtocolVersion"}
	InvalidOperation       = Result{400003, "InvalidOperation"}
	FormatError            = Result{400006, "IotHubFormatError"}
	TakenOver              = Result{400027, "ConnectionForcefullyClosedOnNewConnection"}
	Unauthorized           = Result{401003, "IotHubUnauthorized"}
	ClosedRemotely         = Result{404104, "DeviceConnectionClosedRemotely"}
	MessageTooLarge        = Result{413001, "MessageTooLarge"}
	Throttled              = Result{429001, "ThrottlingException"}
	ServerError            = Result{500001, "ServerError"}
	ForcefullyClosed       = Result{500004, "ConnectionForcefullyClosed"}
	ServiceUnavailable     = Result{503001, "ServiceUnavailable"}
)

// Our own codes, for what happens before a device is known.
var (
	SilentTimeout    = Result{408001, "tcp.silent"}            // no byte came
	HelloTimeout     = Result{408002, "tls.hello_timeout"}     // not a whole ClientHello
	HandshakeTimeout = Result{408003, "tls.handshake_timeout"} // handshake not finished
	ConnectTimeout   = Result{408004, "auth.timeout"}          // nobody authenticated
	PlainHTTP        = Result{497001, "plain.http"}
	PlainMQTT        = Result{497002, "plain.mqtt"}
	PlainAMQP        = Result{497003, "plain.amqp"}
	PlainSSH         = Result{497004, "plain.ssh"}
	PlainProxy       = Result{497005, "plain.proxy_protocol"}
	NoProxyHeader    = Result{497006, "proxy.no_header"} // on a listener for proxies
	ProxyPlain       = Result{497007, "proxy.no_tls"}    // TLS did not reach the proxy
	NoProxy          = Result{497008, "proxy.untrusted"} // the peer is no proxy of ours
	NotTLS           = Result{497009, "plain.unknown"}
	ClosedSilent     = Result{499001, "tcp.closed"}           // closed without a byte
	ClosedHello      = Result{499002, "tls.hello_closed"}     // within the ClientHello
	ClosedHandshake  = Result{499003, "tls.handshake_closed"} // within the handshake
	ClosedEarly      = Result{499004, "auth.closed"}          // before anybody authenticated
)

// AlertSent and AlertReceived return the codes 495nnn and 496nnn of a handshake
// that ended with a TLS alert, by the hub or by the client.
func AlertSent(a handshake.Alert) Result { return alertResult(495000, "tls.", a) }

// AlertReceived is the client's side of AlertSent.
func AlertReceived(a handshake.Alert) Result { return alertResult(496000, "tls.client.", a) }

func alertResult(base int, prefix string, a handshake.Alert) Result {
	n, _ := a.Number()
	return Result{base + int(n), prefix + a.String()}
}

// handshakeResult classifies a failed handshake.
func handshakeResult(r *handshake.Report) Result {
	switch r.Failure.Reason {
	case handshake.ReasonSilent:
		return SilentTimeout
	case handshake.ReasonClosedSilent, handshake.ReasonHealthCheck:
		return ClosedSilent
	case handshake.ReasonNoProxyHeader:
		return NoProxyHeader
	case handshake.ReasonProxyPlain:
		return ProxyPlain
	case handshake.ReasonHelloTimeout:
		return HelloTimeout
	case handshake.ReasonHelloClosed:
		return ClosedHello
	case handshake.ReasonTimeout:
		return HandshakeTimeout
	case handshake.ReasonClientClosed:
		return ClosedHandshake
	case handshake.ReasonClientAlert:
		return AlertReceived(r.AlertReceived)
	case handshake.ReasonNotTLS:
		switch r.Kind {
		case handshake.KindHTTP:
			return PlainHTTP
		case handshake.KindMQTT:
			return PlainMQTT
		case handshake.KindAMQP:
			return PlainAMQP
		case handshake.KindSSH:
			return PlainSSH
		case handshake.KindProxy:
			return PlainProxy
		}
		return NotTLS
	case handshake.ReasonInternal:
		return ServerError
	}
	// What remains is a refusal by us. The alert may have been encrypted and
	// unseen; then the reason stands for it.
	if r.AlertSent != 0 {
		return AlertSent(r.AlertSent)
	}
	switch r.Failure.Reason {
	case handshake.ReasonVersion:
		return AlertSent(handshake.NewAlert(70))
	case handshake.ReasonDowngrade:
		return AlertSent(handshake.NewAlert(86))
	case handshake.ReasonClientCert:
		return AlertSent(handshake.NewAlert(42))
	case handshake.ReasonBadHello:
		return AlertSent(handshake.NewAlert(50))
	case handshake.ReasonProtocol:
		return AlertSent(handshake.NewAlert(10))
	}
	return AlertSent(handshake.NewAlert(40))
}

// refusalResult returns the code of a refused authentication.
func refusalResult(r *registry.Refusal) Result { return Result{r.Code, r.Name} }

// An End says why a session is over, or, when nobody was authenticated, why the
// connection was refused.
type End struct {
	Result Result
	// Reason is the column DisconnectReason: one of the constants below.
	Reason string
	// Description is for the column ResultDescription. The peer does not see it.
	Description string
}

// Reasons for the end of a session. They are stable.
const (
	ReasonClientDisconnect  = "client_disconnect"
	ReasonConnectionLost    = "connection_lost"
	ReasonKeepAliveTimeout  = "keep_alive_timeout"
	ReasonIdleTimeout       = "idle_timeout"
	ReasonTakenOver         = "taken_over"
	ReasonDeviceDisabled    = "device_disabled"
	ReasonDeviceDeleted     = "device_deleted"
	ReasonCredentialRevoked = "credential_revoked"
	ReasonTokenExpired      = "token_expired"
	ReasonProtocolError     = "protocol_error"
	ReasonNotSupported      = "not_supported"
	ReasonMessageTooLarge   = "message_too_large"
	ReasonSlowReader        = "slow_reader"
	ReasonUnavailable       = "service_unavailable"
	ReasonShutdown          = "server_shutdown"
	ReasonServerError       = "server_error"
)

// cutEnd is the end of a session that the registry no longer stands behind.
func cutEnd(r *registry.Refusal) End {
	e := End{refusalResult(r), ReasonCredentialRevoked, r.Description}
	switch r.Code {
	case 403012:
		e.Reason = ReasonDeviceDisabled
	case 404001:
		e.Reason = ReasonDeviceDeleted
	}
	return e
}
