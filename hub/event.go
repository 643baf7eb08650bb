package hub

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"hubscope/hub/handshake"
	"hubscope/ingest"
)

// refuse publishes the terminal event of a connection on which nobody was
// authenticated.
func (c *connection) refuse(stage string, end End) {
	s := c.server
	now := s.config.Now()
	c.finishSpan(end.Result)
	s.metrics.connection(c, nil, end.Result)
	if !s.flood.admit(c.remote, *c.hubName.Load(), now) {
		s.metrics.suppressed.Add(context.Background(), 1)
		return
	}
	e := c.event(now)
	e.OperationName, e.Level, e.Stage = ingest.ConnectionRefused, ingest.Error, stage
	if stage == ingest.StageTCP {
		e.Level = ingest.Warning
	}
	e.Sequence = s.sequence.next(now)
	if end.Result.Code == 0 { // a protocol that had nothing to complain about
		end.Result = ClosedEarly
	}
	setResult(e, end)
	e.DisconnectReason = "" // there was no session to end
	e.AuthType = ingest.AuthNone
	if h := c.conn; h != nil {
		h.mu.Lock()
		a := h.refused
		h.mu.Unlock()
		e.ClaimedDeviceId, e.ModuleId, e.SdkVersion, e.UserAgent, e.CaName = a.claimed, a.module, a.sdk, a.agent, a.ca
		if a.auth != "" {
			e.AuthType = a.auth
		}
	}
	e.DurationMs = time.Since(c.began).Milliseconds()
	c.publish(e)
}

// served publishes the terminal event of a connection that managed the hub.
func (c *connection) served(by *service, end End) {
	s := c.server
	now := s.config.Now()
	c.finishSpan(Result{})
	s.metrics.connection(c, nil, Result{})
	e := c.event(now)
	e.OperationName, e.Level, e.Stage = ingest.ServiceDisconnect, ingest.Information, ingest.StageSession
	e.Sequence = s.sequence.next(now)
	e.AuthType, e.AuthIssuer, e.UserAgent = ingest.AuthSAS, by.policy, by.agent
	if by.policy == "" {
		e.AuthType = ingest.AuthNone
	}
	e.DisconnectReason, e.Messages = end.Reason, by.requests
	e.DurationMs = time.Since(c.began).Milliseconds()
	c.publish(e)
}

// connected publishes a session's deviceConnect.
func (c *connection) connected(s *Session, now time.Time) {
	e := c.sessionEvent(s, now)
	e.OperationName, e.Level = ingest.DeviceConnect, ingest.Information
	e.Sequence = s.connectSeq
	if c.report.Missing != "" {
		e.ResultDescription = "served without " + c.report.Missing + ", which only OpenSSL serves: " + c.report.MissingWhy
	}
	c.server.metrics.connection(c, s, Result{})
	c.authenticated()
	c.finishSpan(Result{})
	c.publish(e)
}

// disconnected publishes a session's deviceDisconnect.
func (c *connection) disconnected(s *Session, end End) {
	now := c.server.config.Now()
	e := c.sessionEvent(s, now)
	e.OperationName, e.Level = ingest.DeviceDisconnect, ingest.Information
	if end.Result.Code != 0 {
		e.Level = ingest.Error
	}
	e.Sequence = c.server.sessions.endNumber(s, func() int64 { return c.server.sequence.next(now) })
	setResult(e, end)
	e.DurationMs = time.Since(c.began).Milliseconds()
	e.Messages = s.messages.Load()
	if a := c.conn.AlertReceived(); a != 0 {
		e.AlertReceived = a.String()
	}
	c.server.metrics.disconnect(s, end)
	c.publish(e)
}

func setResult(e *ingest.Event, end End) {
	e.ResultType, e.ResultSignature, e.ResultDescription = end.Result.Type(), end.Result.Name, end.Description
	e.DisconnectReason = end.Reason
}

func (c *connection) sessionEvent(s *Session, now time.Time) *ingest.Event {
	e := c.event(now)
	e.Stage = ingest.StageSession
	e.Hub, e.DeviceId, e.ModuleId = s.id.Hub, s.id.DeviceID, s.module
	e.AuthType, e.AuthIssuer, e.CaName = s.id.Auth.EventName(), s.id.Issuer, s.id.CA
	if s.id.Policy != "" {
		e.AuthIssuer = s.id.Policy
	}
	e.SdkVersion, e.UserAgent = s.sdk, s.agent
	e.ConnectMicros = s.opened.Sub(c.began).Microseconds()
	return e
}

// event fills in what is known of the connection.
func (c *connection) event(now time.Time) *ingest.Event {
	s := c.server
	e := &ingest.Event{
		TimeGenerated: now, Hub: *c.hubName.Load(), Node: s.config.Node, ConnectionId: c.id, Category: ingest.CategoryConnections,
		Protocol: c.protocol, MaskedIpAddress: maskAddress(c.remote), IpHash: hashAddress(s.config.IPKey, c.remote), RemotePort: int64(c.port),
		BytesIn: c.transport.BytesRead(), BytesOut: c.transport.BytesWritten(),
	}
	if c.span != nil {
		if sc := c.span.SpanContext(); sc.IsSampled() {
			e.TraceId = sc.TraceID().String()
		}
	}
	r := c.report
	if r == nil {
		return e
	}
	if r.Version != 0 {
		e.TlsVersion, e.TlsCipher = handshake.VersionName(r.Version), handshake.SuiteName(r.Suite)
	}
	if r.Group != 0 {
		e.TlsGroup = handshake.GroupName(r.Group)
	}
	if r.Signature != 0 {
		e.TlsSignature = handshake.SignatureName(r.Signature)
	}
	e.TlsResumed, e.TlsEngine, e.TlsServerKey, e.Alpn = r.Resumed, r.Engine, r.ServerKey, r.ALPN
	e.AlertSent, e.AlertReceived = r.AlertSent.String(), r.AlertReceived.String()
	e.HandshakeMicros = r.Took.Microseconds()
	var leaf *x509.Certificate
	if len(r.PeerCertificates) > 0 {
		leaf = r.PeerCertificates[0]
		sum := sha256.Sum256(leaf.Raw)
		e.CertThumbprint = hex.EncodeToString(sum[:])
		e.CertSubject, e.CertIssuer = clip(leaf.Subject.String()), clip(leaf.Issuer.String())
		e.CertSerial = leaf.SerialNumber.Text(16)
		e.CertNotAfter = leaf.NotAfter.UTC()
	}
	if r.Hello == nil && r.Version != 0 { // behind a proxy
		e.Sni = clip(r.ServerName)
		e.StrictReason = handshake.NegotiatedReason(r.Version, r.Suite)
		e.WouldFailStrict = e.StrictReason != ""
	}
	if h := r.Hello; h != nil {
		e.Sni, e.MaxFragmentLength, e.Ja4 = clip(h.ServerName), int64(h.MaxFragmentLength), h.JA4
		e.OfferedVersions = names(h.Versions, handshake.VersionName)
		e.OfferedCiphers = names(h.Suites, handshake.SuiteName)
		e.OfferedGroups = names(h.Groups, handshake.GroupName)
		e.OfferedSignatures = names(h.Signatures, handshake.SignatureName)
		e.StrictReason = handshake.StrictReason(h, leaf)
		e.WouldFailStrict = e.StrictReason != ""
	}
	return e
}

// maxNames bounds the lists of an event: a ClientHello can offer thousands.
const maxNames = 128

func names(values []uint16, name func(uint16) string) []string {
	if len(values) == 0 {
		return nil
	}
	list := make([]string, min(len(values), maxNames))
	for i := range list {
		list[i] = name(values[i])
	}
	return list
}

func (c *connection) publish(e *ingest.Event) {
	ctx := context.Background()
	if c.span != nil {
		ctx = trace.ContextWithSpanContext(ctx, c.span.SpanContext())
	}
	c.server.config.Events.PublishContext(ctx, e)
}

// finishSpan ends the connection's span: it lasts from the accept until the
// device is connected or refused.
func (c *connection) finishSpan(result Result) {
	if c.span == nil || !c.span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.String("hubscope.hub", *c.hubName.Load()),
		attribute.String("hubscope.protocol", c.protocol),
		attribute.String("network.transport", "tcp"),
		attribute.Int("client.port", int(c.port)),
	}
	if r := c.report; r != nil && r.Version != 0 {
		attributes = append(attributes,
			attribute.String("tls.protocol.name", "tls"),
			attribute.String("tls.protocol.version", handshake.VersionName(r.Version)),
			attribute.String("tls.cipher", handshake.SuiteName(r.Suite)),
			attribute.Bool("tls.established", true),
			attribute.Bool("tls.resumed", r.Resumed))
		if r.Group != 0 {
			attributes = append(attributes, attribute.String("tls.curve", handshake.GroupName(r.Group)))
		}
		name := r.ServerName
		if r.Hello != nil {
			name = r.Hello.ServerName
		}
		if name != "" {
			attributes = append(attributes, attribute.String("tls.client.server_name", clip(name)))
		}
	}
	if result.Code != 0 {
		attributes = append(attributes, attribute.String("error.type", result.Name))
		c.span.SetStatus(codes.Error, result.Name)
	}
	c.span.SetAttributes(attributes...)
	c.span.End()
}
