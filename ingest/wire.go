package ingest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentType is the value of header Content-Type of a message that holds
// length-prefixed protobuf events ([AppendEvent]).
const ContentType = "application/vnd.hubscope.events.v1+protobuf"

// ContentTypeJSON is the value for events as JSON objects, one a line, with
// the column names of [Connections] as keys. See [Event.UnmarshalJSON].
const ContentTypeJSON = "application/x-ndjson"

// MaxEventBytes bounds one encoded event. A ClientHello is at most 16 KiB and
// its lists of names grow by less than 8 times.
const MaxEventBytes = 256 << 10

var errTruncated = errors.New("message ends inside an event")

// wireType is the protobuf wire type of a column.
func (c *Column) wireType() protowire.Type {
	switch {
	case c.long != nil, c.flag != nil:
		return protowire.VarintType
	case c.time != nil:
		return protowire.Fixed64Type
	default:
		return protowire.BytesType
	}
}

// byField maps protobuf field numbers to columns.
var byField = func() []*Column {
	var m []*Column
	for i := range Connections {
		c := &Connections[i]
		for len(m) <= c.Field {
			m = append(m, nil)
		}
		m[c.Field] = c
	}
	return m
}()

// ColumnOf returns the column with a protobuf field number, or nil.
func ColumnOf(field int) *Column {
	if field <= 0 || field >= len(byField) {
		return nil
	}
	return byField[field]
}

// AppendEvent appends e to b as one length-prefixed protobuf message: a
// varint length, then message Event of event.proto. Fields with their zero
// value are left out.
func AppendEvent(b []byte, e *Event) []byte {
	// The length of nearly every event needs two bytes of varint: encode
	// behind a gap of two, and move only when that was wrong.
	start := len(b)
	b = append(b, 0, 0)
	b = e.AppendProto(b)
	n := len(b) - start - 2
	if n >= 1<<7 && n < 1<<14 {
		b[start] = byte(n) | 0x80
		b[start+1] = byte(n >> 7)
		return b
	}
	body := append([]byte(nil), b[start+2:]...)
	return append(binary.AppendUvarint(b[:start], uint64(n)), body...)
}

// AppendProto appends e as a bare protobuf message.
func (e *Event) AppendProto(b []byte) []byte {
	for i := range Connections {
		c := &Connections[i]
		num := protowire.Number(c.Field)
		switch {
		case c.str != nil:
			if s := *c.str(e); s != "" {
				b = protowire.AppendTag(b, num, protowire.BytesType)
				b = protowire.AppendString(b, s)
			}
		case c.long != nil:
			if v := *c.long(e); v != 0 {
				b = protowire.AppendTag(b, num, protowire.VarintType)
				b = protowire.AppendVarint(b, uint64(v))
			}
		case c.flag != nil:
			if *c.flag(e) {
				b = protowire.AppendTag(b, num, protowire.VarintType)
				b = protowire.AppendVarint(b, 1)
			}
		case c.list != nil:
			b = appendList(b, num, *c.list(e))
		case c.time != nil:
			if v := Ticks(*c.time(e)); v != 0 {
				b = protowire.AppendTag(b, num, protowire.Fixed64Type)
				b = protowire.AppendFixed64(b, uint64(v))
			}
		case c.guid != nil:
			if v := *c.guid(e); v != [16]byte{} {
				b = protowire.AppendTag(b, num, protowire.BytesType)
				b = protowire.AppendBytes(b, v[:])
			}
		}
	}
	return b
}

// appendList appends the elements of a repeated field.
func appendList(b []byte, num protowire.Number, list []string) []byte {
	for _, s := range list {
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendString(b, s)
	}
	return b
}

// Events walks the length-prefixed events of a message.
//
//	for it := ingest.EventsOf(msg); it.Next(); { use(it.Event()) }
type Events struct {
	rest, cur []byte
	err       error
}

// EventsOf starts a walk over the events of a message of type [ContentType].
func EventsOf(msg []byte) *Events { return &Events{rest: msg} }

// Next moves to the next event; false at the end or at an error.
func (it *Events) Next() bool {
	if len(it.rest) == 0 || it.err != nil {
		return false
	}
	n, k := binary.Uvarint(it.rest)
	switch {
	case k <= 0 || n > uint64(len(it.rest)-k):
		it.err = errTruncated
		return false
	case n > MaxEventBytes:
		it.err = fmt.Errorf("event of %d bytes, at most %d", n, MaxEventBytes)
		return false
	}
	it.cur, it.rest = it.rest[k:k+int(n)], it.rest[k+int(n):]
	return true
}

// Event returns the current event's protobuf bytes, part of the message.
func (it *Events) Event() []byte { return it.cur }

// Err returns why the walk ended early, or nil.
func (it *Events) Err() error { return it.err }

// Fields calls yield for every known field of one encoded event, in wire
// order: n holds numbers, booleans (0, 1) and times ([Ticks]); s strings, list
// elements (one call each) and the 16 bytes of a guid, and is part of b. Fields
// of later versions are skipped. The wire type of each known field is checked.
func Fields(b []byte, yield func(c *Column, n int64, s []byte)) error {
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return fmt.Errorf("field tag: %w", protowire.ParseError(k))
		}
		b = b[k:]
		c := ColumnOf(int(num))
		if c == nil {
			k = protowire.ConsumeFieldValue(num, typ, b)
			if k < 0 {
				return fmt.Errorf("field %d: %w", num, protowire.ParseError(k))
			}
			b = b[k:]
			continue
		}
		if typ != c.wireType() {
			return fmt.Errorf("field %s: wire type %d, want %d", c.Name, typ, c.wireType())
		}
		switch typ {
		case protowire.VarintType:
			v, k := protowire.ConsumeVarint(b)
			if k < 0 {
				return fmt.Errorf("field %s: %w", c.Name, protowire.ParseError(k))
			}
			b = b[k:]
			yield(c, int64(v), nil)
		case protowire.Fixed64Type:
			v, k := protowire.ConsumeFixed64(b)
			if k < 0 {
				return fmt.Errorf("field %s: %w", c.Name, protowire.ParseError(k))
			}
			b = b[k:]
			n := int64(v)
			if err := checkTicks(c, n); err != nil {
				return err
			}
			yield(c, n, nil)
		default:
			v, k := protowire.ConsumeBytes(b)
			if k < 0 {
				return fmt.Errorf("field %s: %w", c.Name, protowire.ParseError(k))
			}
			b = b[k:]
			if c.guid != nil && len(v) != 16 {
				return fmt.Errorf("field %s: %d bytes, want 16", c.Name, len(v))
			}
			yield(c, 0, v)
		}
	}
	return nil
}

// The range of ClickHouse's DateTime64 in [Ticks]: 1900-01-01 up to, not
// including, 2300-01-01.
const (
	MinTicks = -2_208_988_800 * TicksPerSecond
	MaxTicks = 10_413_792_000*TicksPerSecond - 1
)

func checkTicks(c *Column, n int64) error {
	if n < MinTicks || n > MaxTicks {
		return fmt.Errorf("field %s: time %d is outside the years 1900 to 2299", c.Name, n)
	}
	return nil
}

// UnmarshalProto reads one bare protobuf message into e, which it resets.
func (e *Event) UnmarshalProto(b []byte) error {
	*e = Event{}
	return Fields(b, func(c *Column, n int64, s []byte) { c.set(e, n, s) })
}

func (c *Column) set(e *Event, n int64, s []byte) {
	switch {
	case c.str != nil:
		*c.str(e) = string(s)
	case c.long != nil:
		*c.long(e) = n
	case c.flag != nil:
		*c.flag(e) = n != 0
	case c.list != nil:
		*c.list(e) = append(*c.list(e), string(s))
	case c.time != nil:
		*c.time(e) = FromTicks(n)
	case c.guid != nil:
		copy(c.guid(e)[:], s)
	}
}

// CertID is the key of a client certificate in table Certificates: the first
// 64 bits of its SHA-256 thumbprint in hex, 0 for none. What is not such a
// thumbprint, from foreign sources, is hashed with FNV-1a.
func CertID(thumbprint []byte) uint64 {
	if len(thumbprint) == 0 {
		return 0
	}
	var head [8]byte
	if len(thumbprint) >= 16 {
		if _, err := hex.Decode(head[:], thumbprint[:16]); err == nil {
			return binary.BigEndian.Uint64(head[:])
		}
	}
	h := fnv.New64a()
	h.Write(thumbprint)
	return h.Sum64()
}
