package ingest

import "time"

// Type is a KQL scalar type as the Kusto documentation spells it.
type Type string

// The KQL types that stored columns have.
const (
	Datetime Type = "datetime"
	String   Type = "string"
	GUID     Type = "guid"
	Long     Type = "long"
	Real     Type = "real"
	Bool     Type = "bool"
	Dynamic  Type = "dynamic"
)

// Column is one column of a KQL table, and of the ClickHouse table or view
// that holds it under the same name.
type Column struct {
	Name string
	Type Type
	// ClickHouse is the stored type; Codec its compression, without CODEC().
	ClickHouse string
	Codec      string
	// Doc is one sentence for users: meaning, unit, possible values.
	Doc string
	// Field is the protobuf field number in event.proto; 0 for columns that
	// no event carries. Numbers are never used again for something else.
	Field int
	// Certificate marks facts of a client certificate. They are stored once a
	// certificate in table Certificates, keyed by CertId, and joined when used.
	Certificate bool

	// One of these leads to the field of an Event.
	str  func(*Event) *string
	long func(*Event) *int64
	flag func(*Event) *bool
	list func(*Event) *[]string
	time func(*Event) *time.Time
	guid func(*Event) *[16]byte
}

const (
	lowString = "LowCardinality(String)"
	ticks     = "DateTime64(7, 'UTC')"
)

func low(field int, name string, f func(*Event) *string, doc string) Column {
	return Column{Name: name, Type: String, ClickHouse: lowString, Codec: "ZSTD(1)", Doc: doc, Field: field, str: f}
}

func text(field int, name string, f func(*Event) *string, doc string) Column {
	return Column{Name: name, Type: String, ClickHouse: "String", Codec: "ZSTD(1)", Doc: doc, Field: field, str: f}
}

func number(field int, name string, f func(*Event) *int64, doc string) Column {
	return Column{Name: name, Type: Long, ClickHouse: "Int64", Codec: "T64, ZSTD(1)", Doc: doc, Field: field, long: f}
}

func boolean(field int, name string, f func(*Event) *bool, doc string) Column {
	return Column{Name: name, Type: Bool, ClickHouse: "Bool", Codec: "ZSTD(1)", Doc: doc, Field: field, flag: f}
}

func list(field int, name string, f func(*Event) *[]string, doc string) Column {
	return Column{Name: name, Type: Dynamic, ClickHouse: lowString, Codec: "ZSTD(1)", Doc: doc, Field: field, list: f}
}

func certificate(c Column) Column {
	c.Certificate = true
	return c
}

// Connections is THE column list: the events table as KQL users see it, in
// order. DDL, insert, wire encoding, catalog and documentation read it.
// A new column goes to the end of its group with the next free field number,
// and a migration adds it.
var Connections = []Column{
	{Name: "TimeGenerated", Type: Datetime, ClickHouse: ticks, Codec: "T64, ZSTD(1)", Field: 1,
		Doc:  "When the hub observed the event, UTC, 100 ns resolution.",
		time: func(e *Event) *time.Time { return &e.TimeGenerated }},
	low(2, "Hub", func(e *Event) *string { return &e.Hub }, "Name of the IoT hub."),
	low(3, "Node", func(e *Event) *string { return &e.Node }, "Hub process that took the connection."),
	{Name: "ConnectionId", Type: GUID, ClickHouse: "UUID", Codec: "ZSTD(1)", Field: 4,
		Doc:  "UUIDv7 that joins the events of one connection.",
		guid: func(e *Event) *[16]byte { return &e.ConnectionId }},
	{Name: "Sequence", Type: Long, ClickHouse: "Int64", Codec: "T64, ZSTD(1)", Field: 5,
		Doc:  "Rises with every event of a device; orders a takeover, where the new connect can precede the old disconnect in time.",
		long: func(e *Event) *int64 { return &e.Sequence }},
	low(6, "OperationName", func(e *Event) *string { return &e.OperationName }, "deviceConnect, deviceDisconnect, connectionRefused, serviceDisconnect (management API); connectionsSuppressed and eventsDropped count what was not described."),
	low(7, "Category", func(e *Event) *string { return &e.Category }, "Always \"Connections\"."),
	low(8, "Level", func(e *Event) *string { return &e.Level }, "Information, Warning or Error."),
	low(9, "Stage", func(e *Event) *string { return &e.Stage }, "How far the connection came: tcp, hello, handshake, auth, session."),

	low(10, "ResultType", func(e *Event) *string { return &e.ResultType }, "Azure IoT Hub error code such as 401003, or empty for success."),
	low(11, "ResultSignature", func(e *Event) *string { return &e.ResultSignature }, "Name of the code, such as IotHubUnauthorized or tls.protocol_version."),
	text(12, "ResultDescription", func(e *Event) *string { return &e.ResultDescription }, "What happened, in words."),

	text(13, "DeviceId", func(e *Event) *string { return &e.DeviceId }, "Device whose identity was proven; empty otherwise."),
	text(14, "ClaimedDeviceId", func(e *Event) *string { return &e.ClaimedDeviceId }, "Device id the client claimed. Never proof of identity."),
	low(15, "ModuleId", func(e *Event) *string { return &e.ModuleId }, "Module of the device, if any."),
	low(16, "Protocol", func(e *Event) *string { return &e.Protocol }, "Mqtt, MqttWs, Amqp, AmqpWs or Https."),
	low(17, "AuthType", func(e *Event) *string { return &e.AuthType }, "sas, x509Ca, x509Thumbprint or none."),
	low(18, "AuthIssuer", func(e *Event) *string { return &e.AuthIssuer }, "Who vouched for the credential: iothub, or the shared access policy."),
	low(19, "SdkVersion", func(e *Event) *string { return &e.SdkVersion }, "DeviceClientType the SDK sent."),
	low(20, "UserAgent", func(e *Event) *string { return &e.UserAgent }, "HTTP User-Agent, for Https, MqttWs and AmqpWs."),

	text(21, "MaskedIpAddress", func(e *Event) *string { return &e.MaskedIpAddress }, "Client address with its last octet (IPv6: last 80 bits) masked."),
	text(22, "IpHash", func(e *Event) *string { return &e.IpHash }, "Keyed hash of the whole client address: equal addresses can be counted, not read."),
	number(23, "RemotePort", func(e *Event) *int64 { return &e.RemotePort }, "TCP port of the client."),

	low(24, "TlsVersion", func(e *Event) *string { return &e.TlsVersion }, "Negotiated TLS version: 1.0, 1.1, 1.2 or 1.3."),
	low(25, "TlsCipher", func(e *Event) *string { return &e.TlsCipher }, "Negotiated cipher suite, IANA name."),
	low(26, "TlsGroup", func(e *Event) *string { return &e.TlsGroup }, "Key exchange group, IANA name."),
	low(27, "TlsSignature", func(e *Event) *string { return &e.TlsSignature }, "Signature scheme of the server's proof, IANA name."),
	boolean(28, "TlsResumed", func(e *Event) *bool { return &e.TlsResumed }, "True when a TLS session was resumed."),
	low(29, "TlsEngine", func(e *Event) *string { return &e.TlsEngine }, "Which engine served TLS: go, openssl, or proxy in front."),
	low(30, "TlsServerKey", func(e *Event) *string { return &e.TlsServerKey }, "Key type of the server certificate that was used: RSA or ECDSA."),

	low(31, "Sni", func(e *Event) *string { return &e.Sni }, "Server name the client asked for (RFC 6066)."),
	low(32, "Alpn", func(e *Event) *string { return &e.Alpn }, "Negotiated application protocol (RFC 7301)."),
	number(33, "MaxFragmentLength", func(e *Event) *int64 { return &e.MaxFragmentLength }, "Fragment length the client asked for (RFC 6066), bytes; 0 if none."),
	low(34, "Ja4", func(e *Event) *string { return &e.Ja4 }, "JA4 fingerprint of the ClientHello."),
	list(35, "OfferedVersions", func(e *Event) *[]string { return &e.OfferedVersions }, "TLS versions the client offered, best first."),
	list(36, "OfferedCiphers", func(e *Event) *[]string { return &e.OfferedCiphers }, "Cipher suites the client offered, IANA names in its order."),
	list(37, "OfferedGroups", func(e *Event) *[]string { return &e.OfferedGroups }, "Groups the client offered, IANA names in its order."),
	list(38, "OfferedSignatures", func(e *Event) *[]string { return &e.OfferedSignatures }, "Signature schemes the client offered, IANA names in its order."),

	low(39, "AlertSent", func(e *Event) *string { return &e.AlertSent }, "TLS alert the hub sent, IANA name such as protocol_version."),
	low(40, "AlertReceived", func(e *Event) *string { return &e.AlertReceived }, "TLS alert the client sent, IANA name such as unknown_ca."),

	certificate(text(41, "CertThumbprint", func(e *Event) *string { return &e.CertThumbprint }, "SHA-256 of the client certificate, lower-case hex.")),
	certificate(text(42, "CertSubject", func(e *Event) *string { return &e.CertSubject }, "Subject of the client certificate, RFC 4514.")),
	certificate(low(43, "CertIssuer", func(e *Event) *string { return &e.CertIssuer }, "Issuer of the client certificate, RFC 4514.")),
	certificate(text(44, "CertSerial", func(e *Event) *string { return &e.CertSerial }, "Serial number of the client certificate, hex.")),
	{Name: "CertNotAfter", Type: Datetime, ClickHouse: "Nullable(" + ticks + ")", Codec: "ZSTD(1)", Field: 45, Certificate: true,
		Doc:  "When the client certificate expires.",
		time: func(e *Event) *time.Time { return &e.CertNotAfter }},
	low(46, "CaName", func(e *Event) *string { return &e.CaName }, "Name of the hub's CA certificate that the client's chain led to."),

	number(47, "HandshakeMicros", func(e *Event) *int64 { return &e.HandshakeMicros }, "TLS handshake time, microseconds."),
	number(48, "ConnectMicros", func(e *Event) *int64 { return &e.ConnectMicros }, "Accept to authenticated, microseconds."),
	number(49, "DurationMs", func(e *Event) *int64 { return &e.DurationMs }, "How long the connection lasted, milliseconds; set on disconnect and refusal."),
	number(50, "BytesIn", func(e *Event) *int64 { return &e.BytesIn }, "Bytes received on the TCP connection."),
	number(51, "BytesOut", func(e *Event) *int64 { return &e.BytesOut }, "Bytes sent on the TCP connection."),
	number(52, "Messages", func(e *Event) *int64 { return &e.Messages }, "Telemetry messages accepted; for connectionsSuppressed and eventsDropped, the count."),

	low(53, "DisconnectReason", func(e *Event) *string { return &e.DisconnectReason }, "Why the session ended, such as client_disconnect, keep_alive_timeout, taken_over, device_disabled."),
	boolean(54, "WouldFailStrict", func(e *Event) *bool { return &e.WouldFailStrict }, "True when minTlsVersion 1.2 with the recommended suites would refuse this client."),
	low(55, "StrictReason", func(e *Event) *string { return &e.StrictReason }, "Why it would be refused, in words; empty when it would pass."),
	{Name: "TraceId", Type: String, ClickHouse: "String", Codec: "ZSTD(1)", Field: 56,
		Doc: "OpenTelemetry trace id of the connection, when it was sampled.",
		str: func(e *Event) *string { return &e.TraceId }},
}

// CertIdColumn is the stored, not queryable link from Connections to
// Certificates: [CertID] of the thumbprint, 0 without a client certificate.
var CertIdColumn = Column{Name: "CertId", Type: Long, ClickHouse: "UInt64", Codec: "ZSTD(1)",
	Doc: "Key of the client certificate in Certificates."}

// AzureDiagnostics is Azure's envelope over Connections, so that queries
// published for Azure IoT Hub run verbatim. A view.
var AzureDiagnostics = azureTable("When the event happened, UTC.", []Column{
	{Name: "ResourceType", Type: String, ClickHouse: "String", Doc: "Always \"IOTHUBS\"."},
	{Name: "Resource", Type: String, ClickHouse: "String", Doc: "Name of the hub, upper case."},
	{Name: "Category", Type: String, ClickHouse: lowString, Doc: "\"Connections\"."},
	{Name: "OperationName", Type: String, ClickHouse: lowString, Doc: "deviceConnect, deviceDisconnect or connectionRefused."},
	{Name: "Level", Type: String, ClickHouse: lowString, Doc: "Information, Warning or Error."},
	{Name: "ResultType", Type: String, ClickHouse: lowString, Doc: "Azure IoT Hub error code, or empty."},
	{Name: "ResultSignature", Type: String, ClickHouse: lowString, Doc: "Name of the code."},
	{Name: "ResultDescription", Type: String, ClickHouse: "String", Doc: "What happened, in words."},
	{Name: "DurationMs", Type: Long, ClickHouse: "Int64", Doc: "How long the connection lasted, milliseconds."},
	{Name: "CallerIPAddress", Type: String, ClickHouse: "String", Doc: "Masked client address."},
	{Name: "CorrelationId", Type: String, ClickHouse: "String", Doc: "Id of the connection."},
	{Name: "location_s", Type: String, ClickHouse: "String", Doc: "Node that took the connection."},
	{Name: "properties_s", Type: String, ClickHouse: "String", Doc: "Azure's properties as JSON text: deviceId, protocol, authType, maskedIpAddress, sdkVersion, tlsVersion and ours."},
	{Name: "Type", Type: String, ClickHouse: "String", Doc: "Always \"AzureDiagnostics\"."},
})

// azureTable begins with what Azure's tables of a hub have alike.
func azureTable(time string, columns []Column) []Column {
	return append([]Column{
		{Name: "TimeGenerated", Type: Datetime, ClickHouse: ticks, Doc: time},
		{Name: "ResourceId", Type: String, ClickHouse: "String", Doc: "Azure-shaped id of the hub, upper case, as Azure writes it."},
		{Name: "_ResourceId", Type: String, ClickHouse: "String", Doc: "Azure-shaped id of the hub, lower case."},
		{Name: "TenantId", Type: String, ClickHouse: "String", Doc: "Empty; kept for published queries."},
		{Name: "SubscriptionId", Type: String, ClickHouse: "String", Doc: "All zeros; kept for published queries."},
		{Name: "ResourceGroup", Type: String, ClickHouse: "String", Doc: "\"HUBSCOPE\"; kept for published queries."},
		{Name: "ResourceProvider", Type: String, ClickHouse: "String", Doc: "Always \"MICROSOFT.DEVICES\"."},
	}, columns...)
}

// Devices has one row a device: what is known of it from all its events. A
// view over the device state that the events table feeds.
var Devices = []Column{
	{Name: "Hub", Type: String, ClickHouse: lowString, Doc: "Name of the IoT hub."},
	{Name: "DeviceId", Type: String, ClickHouse: "String", Doc: "Device, identity proven."},
	{Name: "FirstSeen", Type: Datetime, ClickHouse: ticks, Doc: "First event of the device."},
	{Name: "LastSeen", Type: Datetime, ClickHouse: ticks, Doc: "Newest event of the device."},
	{Name: "TlsVersion", Type: String, ClickHouse: lowString, Doc: "TLS version of its newest connection."},
	{Name: "TlsCipher", Type: String, ClickHouse: lowString, Doc: "Cipher suite of its newest connection."},
	{Name: "BestOfferedVersion", Type: String, ClickHouse: "String", Doc: "Best TLS version it ever offered."},
	{Name: "OfferedVersions", Type: Dynamic, ClickHouse: lowString, Doc: "TLS versions it offered last."},
	{Name: "OfferedCiphers", Type: Dynamic, ClickHouse: lowString, Doc: "Cipher suites it offered last."},
	{Name: "WouldFailStrict", Type: Bool, ClickHouse: "Bool", Doc: "Whether minTlsVersion 1.2 with the recommended suites would have refused its newest connection."},
	{Name: "StrictReason", Type: String, ClickHouse: lowString, Doc: "Why it would be refused."},
	{Name: "Protocol", Type: String, ClickHouse: lowString, Doc: "Protocol of its newest connection."},
	{Name: "AuthType", Type: String, ClickHouse: lowString, Doc: "How it authenticated last."},
	{Name: "SdkVersion", Type: String, ClickHouse: lowString, Doc: "SDK it named last."},
	{Name: "Ja4", Type: String, ClickHouse: lowString, Doc: "JA4 fingerprint of its newest connection."},
	{Name: "MaskedIpAddress", Type: String, ClickHouse: "String", Doc: "Masked address of its newest connection."},
	{Name: "OperationName", Type: String, ClickHouse: lowString, Doc: "Its newest event."},
	{Name: "ResultType", Type: String, ClickHouse: lowString, Doc: "Result of its newest event."},
	{Name: "CaName", Type: String, ClickHouse: lowString, Doc: "Hub CA that its last client certificate led to."},
	{Name: "CertThumbprint", Type: String, ClickHouse: "String", Doc: "SHA-256 of its last client certificate."},
	{Name: "CertIssuer", Type: String, ClickHouse: lowString, Doc: "Issuer of its last client certificate."},
	{Name: "CertNotAfter", Type: Datetime, ClickHouse: "Nullable(" + ticks + ")", Doc: "When its last client certificate expires."},
}

// Table is a KQL table: a name, what it is for, its columns in order.
type Table struct {
	Name    string
	Doc     string
	Columns []Column
}

// Tables are the KQL tables that the store serves.
var Tables = []Table{
	{"Connections", "One row for every event of a connection: connects, disconnects, refusals, with what TLS negotiated and what the client offered.", Connections},
	{"AzureDiagnostics", "The same events in Azure's resource log envelope, for queries written for Azure IoT Hub.", AzureDiagnostics},
	{"AzureMetrics", "Azure's platform metrics of a hub by the minute: connections by TLS version and cipher, devices, telemetry.", AzureMetrics},
	{"Devices", "One row a device: first and last seen, last TLS version and cipher, best version offered, strict verdict, certificate expiry.", Devices},
	{"Audit", "Who changed what: hubs and their minTlsVersion, CA certificates, devices; each property before and after.", Audit},
	{"PipelineMetrics", "How the pipeline does, by the minute: events in and out, lag of the streams, redeliveries, blocks, insert and publish latency, what was rejected and why.", PipelineMetrics},
	{"QueryLog", "One row a query: who asked what, and what it cost. Readers see their own.", QueryLog},
}
