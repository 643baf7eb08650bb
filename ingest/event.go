// Package ingest is the contract between everything that produces connection
// events (the hub, importers) and everything that stores or queries them.
//
// It holds three things and nothing else:
//
//   - [Event], one terminal fact about one accepted TCP connection, and what
//     goes the same way: [Metric] samples, and [Change], what somebody changed;
//   - [Connections] and the other column lists, from which the ClickHouse DDL,
//     the columnar insert, the KQL catalog and the documentation are made;
//   - the wire form, many events in one message, with the schema in
//     event.proto: column by column ([Batch]), as our hubs send them, or one by
//     one, length-prefixed ([AppendEvent], [Events]), for whoever finds that easier.
//
// It does not know NATS, ClickHouse clients or TLS. Transport is in
// ingest/stream, storage in collector.
package ingest

import "time"

// OperationName values. Every accepted TCP connection ends in exactly one
// terminal event: ConnectionRefused, or DeviceConnect followed by
// DeviceDisconnect with the same ConnectionId, or ServiceDisconnect.
const (
	DeviceConnect     = "deviceConnect"
	DeviceDisconnect  = "deviceDisconnect"
	ConnectionRefused = "connectionRefused"
	// ServiceDisconnect is the one terminal event of a connection that used the
	// management API and carried no device; Messages holds its requests.
	ServiceDisconnect = "serviceDisconnect"
	// ConnectionsSuppressed is the summary of connections of one source that
	// were counted and not described one by one (a port scan); Messages holds
	// their number.
	ConnectionsSuppressed = "connectionsSuppressed"
	// EventsDropped says how many events were lost between a hub and the
	// broker because the queue and the spool were full; Messages holds the number.
	EventsDropped = "eventsDropped"
)

// CategoryConnections is Azure's category of all events here.
const CategoryConnections = "Connections"

// Level values, as in Azure's resource logs.
const (
	Information = "Information"
	Warning     = "Warning"
	Error       = "Error"
)

// Stage values: how far a connection came.
const (
	StageTCP       = "tcp"       // accepted, no byte of a ClientHello
	StageHello     = "hello"     // bytes came, no acceptable ClientHello
	StageHandshake = "handshake" // ClientHello read, handshake not finished
	StageAuth      = "auth"      // TLS is up, identity not accepted
	StageSession   = "session"   // a device was connected
)

// Protocol values, as in Azure's connection logs.
const (
	Mqtt   = "Mqtt"
	MqttWs = "MqttWs"
	Amqp   = "Amqp"
	AmqpWs = "AmqpWs"
	Https  = "Https"
)

// AuthType values.
const (
	AuthNone           = "none"
	AuthSAS            = "sas"
	AuthX509CA         = "x509Ca"
	AuthX509Thumbprint = "x509Thumbprint"
)

// Event is what happened on one accepted TCP connection. Fields are named as
// the KQL columns of table Connections; [Connections] documents each with its
// unit. The zero value of a field means "not known" or "does not apply".
type Event struct {
	TimeGenerated time.Time // stored in 100 ns ticks, UTC
	Hub           string
	Node          string
	ConnectionId  [16]byte // UUIDv7, see ConnectionIDs
	Sequence      int64
	OperationName string
	Category      string
	Level         string
	Stage         string

	ResultType        string
	ResultSignature   string
	ResultDescription string

	DeviceId        string // only when proven
	ClaimedDeviceId string // what the client said; never an identity
	ModuleId        string
	Protocol        string
	AuthType        string
	AuthIssuer      string
	SdkVersion      string
	UserAgent       string

	MaskedIpAddress string
	IpHash          string
	RemotePort      int64

	TlsVersion   string
	TlsCipher    string
	TlsGroup     string
	TlsSignature string
	TlsResumed   bool
	TlsEngine    string
	TlsServerKey string

	Sni               string
	Alpn              string
	MaxFragmentLength int64
	Ja4               string
	OfferedVersions   []string
	OfferedCiphers    []string
	OfferedGroups     []string
	OfferedSignatures []string

	AlertSent     string
	AlertReceived string

	CertThumbprint string
	CertSubject    string
	CertIssuer     string
	CertSerial     string
	CertNotAfter   time.Time
	CaName         string

	HandshakeMicros int64
	ConnectMicros   int64
	DurationMs      int64
	BytesIn         int64
	BytesOut        int64
	Messages        int64

	DisconnectReason string
	WouldFailStrict  bool
	StrictReason     string
	TraceId          string
}

// TicksPerSecond is the resolution of a KQL datetime: 100 ns.
const TicksPerSecond = 10_000_000

// Ticks returns t in 100 ns units since 1970-01-01 UTC, the raw value of
// ClickHouse's DateTime64(7). The zero time is 0.
func Ticks(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()*TicksPerSecond + int64(t.Nanosecond()/100)
}

// FromTicks is the inverse of [Ticks].
func FromTicks(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	s, r := n/TicksPerSecond, n%TicksPerSecond
	if r < 0 {
		s, r = s-1, r+TicksPerSecond
	}
	return time.Unix(s, r*100).UTC()
}
