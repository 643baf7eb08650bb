package ingest

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentTypeAudit is the value of header Content-Type of a message that holds
// length-prefixed changes ([AppendChange]). It goes the way of the events, and
// is delivered as they are.
const ContentTypeAudit = "application/vnd.hubscope.audit.v1+protobuf"

// Change is something that a person or a program changed, or tried to: a row of
// table Audit.
type Change struct {
	TimeGenerated     time.Time
	Hub               string
	OperationName     string
	Action            string
	Actor             string
	ActorType         string
	MaskedIpAddress   string
	Target            string
	Changes           string // JSON object
	ResultType        string
	ResultDescription string
	Node              string
}

// Audit are the columns of the table of changes, in the order and with the field
// numbers of message Change in event.proto.
var Audit = []Column{
	{Name: "TimeGenerated", Type: Datetime, ClickHouse: ticks, Codec: "T64, ZSTD(1)", Field: 1, Doc: "When it was done, UTC."},
	low(2, "Hub", nil, "Name of the IoT hub."),
	low(3, "OperationName", nil, "What was done, in Azure's names: Microsoft.Devices/IotHubs/Write and /Delete; below IotHubs the same of certificates, devices and modules, certificates/generateVerificationCode/Action, certificates/verify/Action, and certificates/revocationList/Write."),
	low(4, "Action", nil, "Create, Update or Delete."),
	low(5, "Actor", nil, "Who did it: the shared access policy, the user of the command, or the program."),
	low(6, "ActorType", nil, "What the actor is: policy, token (of the resource manager), command or program; empty when it is not known."),
	low(7, "MaskedIpAddress", nil, "Address that the request came from, with its last octet (IPv6: last 80 bits) masked; empty for commands and programs."),
	text(8, "Target", nil, "What was changed: the hub, the certificate, the device, or device/module."),
	{Name: "Changes", Type: Dynamic, ClickHouse: "String", Codec: "ZSTD(1)", Field: 9,
		Doc: "The properties that changed, each with before and after, such as {\"minTlsVersion\":{\"before\":\"1.0\",\"after\":\"1.2\"}}. Of keys it says that they were replaced, never what they are."},
	low(10, "ResultType", nil, "Success, or why it was not done: ArgumentInvalid, NotFound, AlreadyExists, PreconditionFailed, ServerError."),
	text(11, "ResultDescription", nil, "The same in words; empty for a success."),
	low(12, "Node", nil, "Process that did it."),
}

// Text is what c has in column of [Audit], a string or dynamic.
func (c *Change) Text(column *Column) string { return *c.text(protowire.Number(column.Field)) }

// text is the field of a number in message Change; nil for another.
func (c *Change) text(field protowire.Number) *string {
	switch field {
	case 2:
		return &c.Hub
	case 3:
		return &c.OperationName
	case 4:
		return &c.Action
	case 5:
		return &c.Actor
	case 6:
		return &c.ActorType
	case 7:
		return &c.MaskedIpAddress
	case 8:
		return &c.Target
	case 9:
		return &c.Changes
	case 10:
		return &c.ResultType
	case 11:
		return &c.ResultDescription
	case 12:
		return &c.Node
	default:
		return nil
	}
}

func (c *Change) record() record {
	return record{"change", &c.TimeGenerated, c.text, func(protowire.Number) *int64 { return nil }, 13}
}

// AppendChange appends c to b as one length-prefixed protobuf message, message
// Change of event.proto.
func AppendChange(b []byte, c *Change) []byte { return c.record().append(b) }

// CutChange reads the first change of a message of type [ContentTypeAudit]. rest
// is what follows it; when the change is malformed, err says why, and rest is
// where the next begins, or nil if that is not known.
func CutChange(message []byte) (c Change, rest []byte, err error) {
	rest, err = c.record().cut(message)
	return c, rest, err
}
