package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A Stage is how far a device got.
type Stage string

// The stages of a connection.
const (
	StageTCP       Stage = "tcp"
	StageTLS       Stage = "tls"
	StageWebSocket Stage = "websocket"
	StageMQTT      Stage = "mqtt"
	StageHTTPS     Stage = "https"
	StageSession   Stage = "session"
)

// An Error says in plain words why a device has no connection.
type Error struct {
	Stage Stage
	// Reason is a sentence without its full stop.
	Reason string
	// Err is what the lower layer reported.
	Err error
}

func (e *Error) Error() string { return e.Reason }

// Unwrap returns what the lower layer reported.
func (e *Error) Unwrap() error { return e.Err }

// alerts are crypto/tls's texts of alerts that a hub sends (RFC 8446 6). The
// type behind them is not exported.
var alerts = []struct{ text, reason string }{
	{"tls: protocol version not supported", "the hub refused %s: its minimum is higher (alert protocol_version)"},
	{"tls: handshake failure", "the hub accepts none of the offered cipher suites, with %s (alert handshake_failure)"},
	{"tls: insufficient security level", "the hub wants stronger cipher suites (alert insufficient_security)"},
	{"tls: certificate required", "the hub wants a client certificate (alert certificate_required)"},
	{"tls: bad certificate", "the hub could not use the client certificate (alert bad_certificate)"},
	{"tls: unknown certificate authority", "the hub does not know the client certificate's issuer (alert unknown_ca)"},
	{"tls: unrecognized name", "the hub does not serve this host name (alert unrecognized_name)"},
}

// explain puts the reason of an error in plain words.
func explain(config Config, stage Stage, err error) error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	e := &Error{Stage: stage, Err: err}
	var status *statusError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason = "the hub did not answer in time"
	case errors.Is(err, context.Canceled):
		e.Reason = "interrupted"
	case stage == StageTCP && errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = "nobody listens at " + remote(err)
	case stage == StageTCP:
		e.Reason = "the hub cannot be reached: " + text
	case errors.As(err, &authority):
		e.Reason = "the hub's certificate is not trusted: give the root that signed it with --ca"
	case errors.As(err, &name):
		e.Reason = fmt.Sprintf("the hub's certificate is not for %q: %v", config.HostName, name)
	case errors.As(err, &invalid):
		e.Reason = "the hub's certificate is not valid: " + invalid.Error()
	case errors.As(err, &record):
		e.Reason = "what answers does not speak TLS"
	case errors.Is(err, packets.ErrorRefusedNotAuthorised), errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword),
		errors.As(err, &status) && status.status == 401:
		e.Reason = fmt.Sprintf("the hub did not let device %q in: it is unknown or disabled, or its credentials are wrong (the hub's event says which)", config.DeviceID)
	case errors.Is(err, packets.ErrorRefusedServerUnavailable), status != nil && status.status == 503:
		e.Reason = "the hub cannot take devices at present"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		e.Reason = fmt.Sprintf("the hub did not accept the client id %q", config.DeviceID)
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		e.Reason = "the hub does not speak MQTT 3.1.1"
	case status != nil:
		e.Reason = fmt.Sprintf("the hub answered with status %d", status.status)
	default:
		for _, a := range alerts {
			if strings.Contains(text, a.text) {
				e.Reason = a.reason
				if strings.Contains(a.reason, "%s") {
					e.Reason = fmt.Sprintf(a.reason, offered(config))
				}
				return e
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(text, "EOF") {
			e.Reason = "the hub closed the connection"
			if stage == StageTLS {
				e.Reason = "the hub closed the connection during the TLS handshake"
			}
			return e
		}
		e.Reason = string(stage) + ": " + text
	}
	return e
}

// offered names the TLS versions that the device offers.
func offered(config Config) string {
	low, high := config.MinVersion, config.MaxVersion
	if high == 0 {
		high = tls.VersionTLS13
	}
	if low == 0 {
		low = min(tls.VersionTLS12, high)
	}
	if low == high {
		return tls.VersionName(low)
	}
	return tls.VersionName(low) + " to " + strings.TrimPrefix(tls.VersionName(high), "TLS ")
}

func remote(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		return op.Addr.String()
	}
	return "that address"
}
