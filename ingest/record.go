package ingest

import (
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A record is what [Metric] and [Change] have in common as messages of
// event.proto: a time, number 1, and texts and longs behind it. A NATS message
// holds several, each behind its length.
type record struct {
	name string // for errors
	time *time.Time
	// text and long are the fields by their numbers; nil for another.
	text func(protowire.Number) *string
	long func(protowire.Number) *int64
	// fields is the number of the first field of later versions.
	fields protowire.Number
}

const recordTime = 1

// append appends the record to b, behind its length.
func (r record) append(b []byte) []byte {
	p := protowire.AppendTag(nil, recordTime, protowire.Fixed64Type)
	p = protowire.AppendFixed64(p, uint64(Ticks(*r.time)))
	for n := protowire.Number(recordTime + 1); n < r.fields; n++ {
		if s := r.text(n); s != nil && *s != "" {
			p = protowire.AppendTag(p, n, protowire.BytesType)
			p = protowire.AppendString(p, *s)
		}
		if v := r.long(n); v != nil && *v != 0 {
			p = protowire.AppendTag(p, n, protowire.VarintType)
			p = protowire.AppendVarint(p, uint64(*v))
		}
	}
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// cut reads the first record of a message. rest is what follows it; when the
// record is malformed, err says why, and rest is where the next begins, or nil if
// that is not known.
func (r record) cut(message []byte) (rest []byte, err error) {
	n, k := binary.Uvarint(message)
	if k <= 0 || n > uint64(len(message)-k) {
		return nil, fmt.Errorf("message ends inside a %s", r.name)
	}
	end := k + int(n)
	return message[end:], r.unmarshal(message[k:end])
}

func (r record) unmarshal(b []byte) error {
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return fmt.Errorf("%s's tag: %w", r.name, protowire.ParseError(k))
		}
		b = b[k:]
		switch {
		case num == recordTime && typ == protowire.Fixed64Type:
			var v uint64
			if v, k = protowire.ConsumeFixed64(b); k >= 0 {
				if n := int64(v); n < MinTicks || n > MaxTicks {
					return fmt.Errorf("%s's time %d is outside the years 1900 to 2299", r.name, n)
				}
				*r.time = FromTicks(int64(v))
			}
		case r.text(num) != nil && typ == protowire.BytesType:
			*r.text(num), k = protowire.ConsumeString(b)
		case r.long(num) != nil && typ == protowire.VarintType:
			var v uint64
			v, k = protowire.ConsumeVarint(b)
			*r.long(num) = int64(v)
		case num < r.fields:
			return fmt.Errorf("%s's field %d: wire type %d", r.name, num, typ)
		default:
			k = protowire.ConsumeFieldValue(num, typ, b)
		}
		if k < 0 {
			return fmt.Errorf("%s's field %d: %w", r.name, num, protowire.ParseError(k))
		}
		b = b[k:]
	}
	return nil
}
