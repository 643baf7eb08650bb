package collector

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"mime"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// decoder turns messages into rows of a block. What it decides depends on the
// message alone, its time in the stream included, never on the clock: a message
// that is decoded again after a crash has the same rows and the same letter.
type decoder struct {
	maxAge time.Duration
	// known are the certificates that are stored, or in a block on its way.
	known *certSet

	// Of the batch being decoded, and memory that is used again.
	batch   ingest.BatchReader
	keys    []uint16
	numbers []int64
	table   []uint32
	values  [][]byte
	ids     []uint64
	facts   []*ingest.BatchColumn // of certificates

	// Of the message being decoded: how many events cannot be stored.
	failed int

	// Of the event being decoded.
	ticks     int64
	hub       bool
	operation bool
	cert      []certValue // by field number
	certSet   []int       // the numbers that the event has
	elements  [][]byte
	scratch   []byte
	body      []byte // of messages with an encoding
}

type certValue struct {
	n int64
	s []byte
}

// maxCertificates bounds the memory of known certificates; when it is full it
// is emptied, and rows are written again that the store merges away.
const maxCertificates = 1 << 20

// certSet is a set of certificates' keys, which are hashes: a table with open
// addresses, at most half full. Most events of a fleet ask it, and with many
// devices that is a miss of the processor's caches; here it is one.
type certSet struct {
	slots []uint64 // a key, or 0
	n     int
}

// add adds id, which is not 0.
func (s *certSet) add(id uint64) (isNew bool) {
	if 2*s.n >= len(s.slots) {
		s.grow()
	}
	mask := uint64(len(s.slots) - 1)
	at := (id * 0x9e3779b97f4a7c15) >> 32 & mask
	for ; s.slots[at] != 0; at = (at + 1) & mask {
		if s.slots[at] == id {
			return false
		}
	}
	s.slots[at] = id
	s.n++
	return true
}

func (s *certSet) grow() {
	old := s.slots
	if s.n >= maxCertificates {
		old = nil
	}
	s.slots, s.n = make([]uint64, max(1<<10, min(2*len(s.slots), 2*maxCertificates))), 0
	for _, id := range old {
		if id != 0 {
			s.add(id)
		}
	}
}

// futureSlack is how far a producer's clock may be ahead of the broker's.
const futureSlack = 24 * time.Hour

// add decodes message m into the block: its good events become rows, the bad
// ones one letter.
func (b *block) add(m *stream.Message) {
	if b.bounds.First == 0 {
		b.bounds.First, b.bounds.FirstTime = m.Seq, m.Time
	}
	b.bounds.Last, b.bounds.LastTime = m.Seq, m.Time
	if len(b.links) < maxLinks {
		if sc := m.SpanContext(); sc.IsSampled() {
			b.links = append(b.links, sc)
		}
	}
	b.decoder.failed = 0
	body, err := m.Body(b.decoder.body)
	if err != nil {
		b.letter(m, &flaw{flawEncoding, err.Error()}, m.Data, true)
		return
	}
	if cap(body) > cap(b.decoder.body) && len(m.Data) > 0 && &body[:1][0] != &m.Data[0] {
		b.decoder.body = body
	}
	media, _, err := mime.ParseMediaType(m.ContentType())
	if err != nil && m.ContentType() != "" {
		media = m.ContentType()
	}
	var bad []byte
	var reason error
	switch media {
	case ingest.ContentTypeBatch:
		bad, reason = b.addBatch(m, body)
	case ingest.ContentType:
		bad, reason = b.addProto(m, body)
	case ingest.ContentTypeJSON, "application/json":
		bad, reason = b.addJSON(m, body)
	case ingest.ContentTypeMetrics:
		bad, reason = b.addMetrics(m, body)
	case ingest.ContentTypeAudit:
		bad, reason = b.addChanges(m, body)
	default:
		bad, reason = body, flawed(flawContentType, "content type %q is unknown; want %s or %s", m.ContentType(), ingest.ContentType, ingest.ContentTypeJSON)
	}
	if reason != nil {
		b.letter(m, reason, bad, false)
	}
}

// letter keeps what of m cannot be stored.
func (b *block) letter(m *stream.Message, reason error, bad []byte, encoded bool) {
	head := *m
	head.Data = nil
	events := b.decoder.failed
	if events == 0 {
		events = max(m.Events(), 1) // nothing could be decoded
	}
	b.letters = append(b.letters, letter{head, reason.Error(), kindOf(reason), events, bytes.Clone(bad), encoded})
}

// A flaw is an error with the kind for which dead letters are counted. Other
// errors are of kind malformed.
type flaw struct{ kind, text string }

func (f *flaw) Error() string { return f.text }

// The kinds of reasons for a dead letter.
const (
	flawEncoding    = "encoding"     // of the content
	flawContentType = "content_type" // unknown
	flawMalformed   = "malformed"    // not what the content type says
	flawIncomplete  = "incomplete"   // lacks what every row has
	flawTime        = "time"         // too old, or in the future
)

// flawKinds are all of them, to be counted from 0 on.
var flawKinds = []string{flawEncoding, flawContentType, flawMalformed, flawIncomplete, flawTime}

func kindOf(err error) string {
	var f *flaw
	if errors.As(err, &f) {
		return f.kind
	}
	return flawMalformed
}

func flawed(kind, format string, args ...any) error {
	return &flaw{kind, fmt.Sprintf(format, args...)}
}

// maxLinks bounds the producers' spans that a block's span links to.
const maxLinks = 128

// addProto adds length-prefixed events. It returns the bad ones, in the same
// form, and what is wrong with the first.
func (b *block) addProto(m *stream.Message, body []byte) (bad []byte, reason error) {
	it := ingest.EventsOf(body)
	end, n := 0, 0
	failed := &b.decoder.failed
	for it.Next() {
		event := it.Event()
		start := end
		end = start + uvarintLen(uint64(len(event))) + len(event)
		n++
		if err := b.addEvent(m, event); err != nil {
			if *failed++; reason == nil {
				reason = fmt.Errorf("event %d: %w", n, err)
			}
			bad = binary.AppendUvarint(bad, uint64(len(event)))
			bad = append(bad, event...)
		}
	}
	if err := it.Err(); err != nil {
		// Where the next event begins is not known, so the rest goes as it is.
		bad = append(bad, body[end:]...)
		*failed++
		return bad, errors.Join(reason, fmt.Errorf("after event %d: %w", n, err))
	}
	if n == 0 {
		return body, errors.New("message without events")
	}
	if *failed > 1 {
		reason = fmt.Errorf("%w (and %d more of %d events)", reason, *failed-1, n)
	}
	return bad, reason
}

func uvarintLen(n uint64) int {
	var buf [binary.MaxVarintLen64]byte
	return binary.PutUvarint(buf[:], n)
}

// addJSON adds JSON objects that follow each other, one a line or not.
func (b *block) addJSON(m *stream.Message, body []byte) (bad []byte, reason error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	n := 0
	failed := &b.decoder.failed
	for {
		var raw json.RawMessage
		start := dec.InputOffset()
		err := dec.Decode(&raw)
		if err == io.EOF {
			break
		}
		if err != nil {
			bad = append(bad, bytes.TrimSpace(body[start:])...)
			*failed++
			return bad, errors.Join(reason, fmt.Errorf("event %d: %w", n+1, err))
		}
		events := []json.RawMessage{raw}
		if raw[0] == '[' {
			events = nil
			json.Unmarshal(raw, &events) // raw is JSON already
		}
		for _, raw := range events {
			n++
			var e ingest.Event
			if err = json.Unmarshal(raw, &e); err == nil {
				err = b.addDecoded(m, &e)
			}
			if err != nil {
				if *failed++; reason == nil {
					reason = fmt.Errorf("event %d: %w", n, err)
				}
				bad = append(append(bad, raw...), '\n')
			}
		}
	}
	if n == 0 {
		return body, errors.New("message without events")
	}
	if *failed > 1 {
		reason = fmt.Errorf("%w (and %d more of %d events)", reason, *failed-1, n)
	}
	return bad, reason
}

// errUnusual sends an event the slow way: a field came twice, or a list in pieces.
var errUnusual = errors.New("unusual encoding")

// addEvent adds one protobuf event as a row, or nothing.
func (b *block) addEvent(m *stream.Message, event []byte) error {
	err := b.fields(event)
	if err == nil {
		err = b.check(m)
	}
	if err == nil {
		b.endRow()
		return nil
	}
	b.events.rollback()
	if err != errUnusual {
		return err
	}
	var e ingest.Event
	if err := e.UnmarshalProto(event); err != nil {
		return err
	}
	return b.addDecoded(m, &e)
}

// addMetrics adds length-prefixed samples, and addChanges changes. They return
// the bad ones, in the same form, and what is wrong with the first.
func (b *block) addMetrics(m *stream.Message, body []byte) (bad []byte, reason error) {
	return addEach(&b.decoder.failed, "metric", body, ingest.CutMetric, func(s *ingest.Metric) error { return b.addMetric(m, s) })
}

func (b *block) addChanges(m *stream.Message, body []byte) (bad []byte, reason error) {
	return addEach(&b.decoder.failed, "change", body, ingest.CutChange, func(c *ingest.Change) error { return b.addChange(m, c) })
}

func addEach[T any](failed *int, what string, body []byte, cut func([]byte) (T, []byte, error), add func(*T) error) (bad []byte, reason error) {
	n := 0
	for rest := body; len(rest) > 0; {
		n++
		v, next, err := cut(rest)
		if err == nil {
			err = add(&v)
		}
		if err != nil {
			if *failed++; reason == nil {
				reason = fmt.Errorf("%s %d: %w", what, n, err)
			}
			bad = append(bad, rest[:len(rest)-len(next)]...)
		}
		rest = next
	}
	if n == 0 {
		return body, fmt.Errorf("message without %ss", what)
	}
	if *failed > 1 {
		reason = fmt.Errorf("%w (and %d more of %d %ss)", reason, *failed-1, n, what)
	}
	return bad, reason
}

// addMetric adds a sample as a row of the hubs' table, or of the pipeline's.
func (b *block) addMetric(m *stream.Message, s *ingest.Metric) error {
	switch {
	case s.TimeGenerated.IsZero():
		return flawed(flawIncomplete, "metric without TimeGenerated")
	case s.Hub == "" && s.Service == "":
		return flawed(flawIncomplete, "metric without Hub")
	case s.MetricName == "":
		return flawed(flawIncomplete, "metric without MetricName")
	}
	ticks := ingest.Ticks(s.TimeGenerated)
	if err := b.decoder.checkTime(m, ticks); err != nil {
		return err
	}
	t, columns := b.metrics, ingest.MetricColumns
	if s.Service != "" {
		t, columns = b.pipeline, ingest.PipelineColumns
	}
	t.add(columns, ticks, s.Text, s.Long)
	return nil
}

// addChange adds a change as a row of its own table.
func (b *block) addChange(m *stream.Message, change *ingest.Change) error {
	switch {
	case change.TimeGenerated.IsZero():
		return flawed(flawIncomplete, "change without TimeGenerated")
	case change.Hub == "":
		return flawed(flawIncomplete, "change without Hub")
	case change.OperationName == "":
		return flawed(flawIncomplete, "change without OperationName")
	case change.Changes != "" && !json.Valid([]byte(change.Changes)):
		return flawed(flawMalformed, "field Changes is not JSON")
	}
	ticks := ingest.Ticks(change.TimeGenerated)
	if err := b.decoder.checkTime(m, ticks); err != nil {
		return err
	}
	b.changes.add(ingest.Audit, ticks, change.Text, nil)
	return nil
}

// add adds a row of what is no event: its time, and texts and longs by their
// columns. long may be nil where there are none.
func (t *table) add(columns []ingest.Column, ticks int64, text func(*ingest.Column) string, long func(*ingest.Column) int64) {
	for i := range columns {
		switch c, to := &columns[i], t.columns[i]; to.kind {
		case kindTime:
			to.putLong(t.rows, ticks)
		case kindLow:
			to.putLow(t.rows, []byte(text(c)))
		case kindText:
			to.putText(t.rows, []byte(text(c)))
		case kindLong:
			to.putLong(t.rows, long(c))
		default:
			panic("column " + c.Name + " is neither time, text nor number")
		}
	}
	t.rows++
}

// addDecoded adds an event that is in its Go form.
func (b *block) addDecoded(m *stream.Message, e *ingest.Event) error {
	d := &b.decoder
	d.scratch = e.AppendProto(d.scratch[:0])
	if err := b.fields(d.scratch); err != nil {
		b.events.rollback()
		return err
	}
	if err := b.check(m); err != nil {
		b.events.rollback()
		return err
	}
	b.endRow()
	return nil
}

// check says whether the decoded row can be stored.
func (b *block) check(m *stream.Message) error {
	d := &b.decoder
	switch {
	case d.ticks == math.MinInt64:
		return flawed(flawIncomplete, "event without TimeGenerated")
	case !d.hub:
		return flawed(flawIncomplete, "event without Hub")
	case !d.operation:
		return flawed(flawIncomplete, "event without OperationName")
	}
	return d.checkTime(m, d.ticks)
}

// checkTime says whether the time of what m holds is near that of its arrival.
func (d *decoder) checkTime(m *stream.Message, ticks int64) error {
	switch at := ingest.Ticks(m.Time); {
	case ticks > at+int64(futureSlack/100):
		return flawed(flawTime, "TimeGenerated %s is in the future of its arrival, %s", ingest.FromTicks(ticks).Format(time.RFC3339), m.Time.UTC().Format(time.RFC3339))
	case ticks < at-int64(d.maxAge/100):
		return flawed(flawTime, "TimeGenerated %s is older than %v at its arrival, %s", ingest.FromTicks(ticks).Format(time.RFC3339), d.maxAge, m.Time.UTC().Format(time.RFC3339))
	}
	return nil
}

// fields writes the fields of an event into the row after the last, as
// ingest.Fields would yield them.
func (b *block) fields(event []byte) error {
	d, t := &b.decoder, b.events
	row := t.rows
	d.ticks, d.hub, d.operation, d.certSet = math.MinInt64, false, false, d.certSet[:0]
	for at := 0; at < len(event); {
		// The one-byte case of uvarint stands here in the open, three times:
		// it is most of them, and the call was a tenth of the decoding.
		tag, body := uint64(event[at]), at+1
		if tag >= 0x80 {
			if tag, body = uvarint(event, at); body < 0 {
				return errors.New("field tag is cut off or too long")
			}
		}
		num, typ := tag>>3, protowire.Type(tag&7)
		var c *column
		if num < uint64(len(t.byField)) {
			c = t.byField[num]
		}
		if c == nil {
			n, err := d.otherField(num, typ, event[body:])
			if err != nil {
				return err
			}
			at = body + n
			continue
		}
		if c.values > row {
			return errUnusual
		}
		if typ != c.kind.wire() {
			return fmt.Errorf("field %s: wire type %d, want %d", c.name, typ, c.kind.wire())
		}
		switch typ {
		case protowire.BytesType:
			if body == len(event) {
				return fmt.Errorf("field %s is cut off", c.name)
			}
			n, start := uint64(event[body]), body+1
			if n >= 0x80 {
				n, start = uvarint(event, body)
			}
			if start < 0 || n > uint64(len(event)-start) {
				return fmt.Errorf("field %s is cut off", c.name)
			}
			end := start + int(n)
			s := event[start:end]
			switch c.kind {
			case kindLow:
				c.putLow(row, s)
				switch num {
				case fieldHub:
					d.hub = len(s) > 0
				case fieldOperation:
					d.operation = len(s) > 0
				}
			case kindText:
				c.putText(row, s)
			case kindGUID:
				if len(s) != 16 {
					return fmt.Errorf("field %s: %d bytes, want 16", c.name, len(s))
				}
				c.putGUID(row, s)
			case kindList:
				// All elements that follow each other are one value.
				head := event[at:body] // the tag, as it is written here
				for bytes.HasPrefix(event[end:], head) && end+len(head) < len(event) {
					body := end + len(head)
					n, start := uint64(event[body]), body+1
					if n >= 0x80 {
						n, start = uvarint(event, body)
					}
					if start < 0 || n > uint64(len(event)-start) {
						return fmt.Errorf("field %s is cut off", c.name)
					}
					end = start + int(n)
				}
				raw := event[at:end]
				c.putKey(row, c.listKey(raw, d.split))
			}
			at = end
		case protowire.VarintType:
			v, end := uvarint(event, body)
			if end < 0 {
				return fmt.Errorf("field %s is cut off or too long", c.name)
			}
			c.putLong(row, int64(v))
			at = end
		case protowire.Fixed64Type:
			if len(event)-body < 8 {
				return fmt.Errorf("field %s is cut off", c.name)
			}
			ticks := int64(binary.LittleEndian.Uint64(event[body:]))
			if ticks < ingest.MinTicks || ticks > ingest.MaxTicks {
				return fmt.Errorf("field %s: time %d is outside the years 1900 to 2299", c.name, ticks)
			}
			if num == fieldTime && ticks != 0 {
				d.ticks = ticks
			}
			c.putLong(row, ticks)
			at = body + 8
		}
	}
	return nil
}

// uvarint reads the varint at b[at] and returns where it ends, or -1.
func uvarint(b []byte, at int) (v uint64, end int) {
	if at < len(b) && b[at] < 0x80 {
		return uint64(b[at]), at + 1
	}
	return longUvarint(b, at)
}

func longUvarint(b []byte, at int) (uint64, int) {
	if at+1 < len(b) && b[at+1] < 0x80 {
		return uint64(b[at]&0x7f) | uint64(b[at+1])<<7, at + 2
	}
	v, n := binary.Uvarint(b[at:])
	if n <= 0 {
		return 0, -1
	}
	return v, at + n
}

// Field numbers that check looks at.
var (
	fieldTime      = uint64(ingest.ColumnNamed("TimeGenerated").Field)
	fieldHub       = uint64(ingest.ColumnNamed("Hub").Field)
	fieldOperation = uint64(ingest.ColumnNamed("OperationName").Field)
	fieldThumb     = ingest.ColumnNamed("CertThumbprint").Field
)

// split returns the elements of a list as it was encoded and checked.
func (d *decoder) split(raw []byte) [][]byte {
	d.elements = d.elements[:0]
	for at := 0; at < len(raw); {
		_, at = uvarint(raw, at)
		n, start := uvarint(raw, at)
		at = start + int(n)
		d.elements = append(d.elements, raw[start:at])
	}
	return d.elements
}

// otherField keeps a certificate's field for endRow and skips unknown ones.
func (d *decoder) otherField(num uint64, typ protowire.Type, b []byte) (n int, err error) {
	if num < 1 || num > uint64(protowire.MaxValidNumber) {
		return 0, fmt.Errorf("field number %d", num)
	}
	c := ingest.ColumnOf(int(num))
	if c == nil {
		if n = protowire.ConsumeFieldValue(protowire.Number(num), typ, b); n < 0 {
			return 0, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		return n, nil
	}
	v := d.certificate(int(num))
	switch {
	case c.Type == ingest.Datetime && typ == protowire.Fixed64Type:
		var u uint64
		if u, n = protowire.ConsumeFixed64(b); n >= 0 {
			v.n = int64(u)
		}
		if v.n < ingest.MinTicks || v.n > ingest.MaxTicks {
			return 0, fmt.Errorf("field %s: time %d is outside the years 1900 to 2299", c.Name, v.n)
		}
	case c.Type == ingest.String && typ == protowire.BytesType:
		v.s, n = protowire.ConsumeBytes(b)
	default:
		return 0, fmt.Errorf("field %s: wire type %d does not fit", c.Name, typ)
	}
	if n < 0 {
		return 0, fmt.Errorf("field %s: %w", c.Name, protowire.ParseError(n))
	}
	return n, nil
}

// certificate adds a field to the certificate of the event being decoded.
func (d *decoder) certificate(num int) *certValue {
	for len(d.cert) <= num {
		d.cert = append(d.cert, certValue{})
	}
	d.cert[num] = certValue{}
	d.certSet = append(d.certSet, num)
	return &d.cert[num]
}

// endRow completes the row: its certificate becomes a key, and a row of its own
// if it is new.
func (b *block) endRow() {
	d, t := &b.decoder, b.events
	row := t.rows
	t.rows++
	if len(d.certSet) == 0 {
		return
	}
	id := d.certID()
	if id == 0 {
		return
	}
	t.certID.putLong(row, int64(id))
	if d.known == nil || d.known.add(id) {
		b.addCertificate(id)
	}
}

// addCertificate makes a row of the certificate of the event being decoded.
func (b *block) addCertificate(id uint64) {
	d, certs := &b.decoder, b.certs
	certs.certID.putLong(certs.rows, int64(id))
	for _, num := range d.certSet {
		c, v := certs.byField[num], d.cert[num]
		c.drop(certs.rows) // the last one counts
		switch c.kind {
		case kindLow:
			c.putLow(certs.rows, v.s)
		case kindText:
			c.putText(certs.rows, v.s)
		case kindNullTime:
			if v.n != 0 {
				c.putLong(certs.rows, v.n)
			}
		}
	}
	certs.rows++
}

// certID is ingest.CertID of the thumbprint. A source that knows a certificate's
// names only gets a key made of all that it knows.
func (d *decoder) certID() uint64 {
	if slices.Contains(d.certSet, fieldThumb) && len(d.cert[fieldThumb].s) > 0 {
		return ingest.CertID(d.cert[fieldThumb].s)
	}
	hash := fnv.New64a()
	known := false
	for _, num := range d.certSet {
		v := d.cert[num]
		known = known || len(v.s) > 0 || v.n != 0
		fmt.Fprintf(hash, "%d:%d:%q;", num, v.n, v.s)
	}
	if !known {
		return 0
	}
	return max(hash.Sum64(), 1)
}
