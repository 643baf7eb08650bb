package collector

import (
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// addBatch adds the events of a batch, whole columns at a time. When one of
// them cannot be stored all go one by one, and addBatch returns the bad ones, as
// a batch, and what is wrong with the first.
func (b *block) addBatch(m *stream.Message, body []byte) (bad []byte, reason error) {
	r := &b.decoder.batch
	if err := r.Read(body); err != nil {
		return body, err
	}
	if b.decoder.checkBatch(m) {
		b.appendBatch()
		return nil, nil
	}
	var rest ingest.Batch
	for i := range r.Len() {
		var e ingest.Event
		err := r.Event(i, &e)
		if err == nil {
			err = b.addDecoded(m, &e)
		}
		if err != nil {
			rest.Add(&e)
			if reason == nil {
				reason = fmt.Errorf("event %d: %w", i+1, err)
			}
		}
	}
	b.decoder.failed = rest.Len()
	if n := rest.Len(); n > 1 {
		reason = fmt.Errorf("%w (and %d more of %d events)", reason, n-1, r.Len())
	}
	return rest.AppendTo(nil), reason
}

// checkBatch says whether all events of the batch can be stored: it is check,
// and the check of times, for all of them.
func (d *decoder) checkBatch(m *stream.Message) bool {
	for _, field := range []uint64{fieldHub, fieldOperation} {
		c := d.batch.ColumnOf(int(field))
		if c == nil {
			return false
		}
		if d.keys = c.Keys(d.keys); slices.Contains(d.keys, 0) {
			return false
		}
		for _, v := range c.Values {
			if len(v) == 0 {
				return false
			}
		}
	}
	for i := range d.batch.Columns() {
		c := &d.batch.Columns()[i]
		if c.Column.Type != ingest.Datetime {
			continue
		}
		d.numbers = c.Numbers(d.numbers)
		first, last := slices.Min(d.numbers), slices.Max(d.numbers)
		if first < ingest.MinTicks || last > ingest.MaxTicks {
			return false
		}
		if uint64(c.Column.Field) == fieldTime &&
			(slices.Contains(d.numbers, 0) || d.checkTime(m, first) != nil || d.checkTime(m, last) != nil) {
			return false
		}
	}
	return d.batch.ColumnOf(int(fieldTime)) != nil
}

// appendBatch writes the batch into the rows after the last.
func (b *block) appendBatch() {
	d, t := &b.decoder, b.events
	for i := range d.batch.Columns() {
		in := &d.batch.Columns()[i]
		c := t.byField[in.Column.Field]
		if c == nil {
			continue // a certificate's
		}
		c.fill(t.rows)
		c.grow(d.batch.Len())
		switch c.kind {
		case kindLow, kindList, kindText:
			d.appendValues(c, in)
		case kindGUID:
			for id := range slices.Chunk(in.GUIDs(), 16) {
				c.guid = append(c.guid, [16]byte(id))
			}
		default:
			d.numbers = in.Numbers(d.numbers)
			c.appendNumbers(d.numbers)
		}
		c.values += d.batch.Len()
	}
	b.appendCertificates()
	t.rows += d.batch.Len()
}

// appendValues looks at each value once, and then at keys only.
func (d *decoder) appendValues(c *column, in *ingest.BatchColumn) {
	if c.kind == kindText {
		d.values = append(d.values[:0], nil)
		size := 0
		for _, v := range in.Values {
			v = valid(v)
			d.values = append(d.values, v)
			size += len(v)
		}
		c.text.Buf = grow(c.text.Buf, size)
		d.keys = in.Keys(d.keys)
		for _, k := range d.keys {
			c.text.AppendBytes(d.values[k])
		}
		return
	}
	d.table = append(d.table[:0], 0)
	for _, v := range in.Values {
		if c.kind == kindLow {
			d.table = append(d.table, c.lowKey(v))
		} else {
			d.table = append(d.table, c.listKey(v, d.split))
		}
	}
	c.keys = in.AppendKeys(c.keys, d.table)
}

// appendNumbers appends a value a row.
func (c *column) appendNumbers(numbers []int64) {
	switch c.kind {
	case kindLong:
		c.long = append(c.long, numbers...)
	case kindBool:
		for _, v := range numbers {
			c.flag = append(c.flag, v != 0)
		}
	case kindTime:
		for _, v := range numbers {
			c.time.Data = append(c.time.Data, proto.DateTime64(v))
		}
	default:
		panic("numbers for column " + c.name)
	}
}

// appendCertificates gives the rows of the batch the keys of their certificates,
// and makes rows of the new ones.
func (b *block) appendCertificates() {
	d, t := &b.decoder, b.events
	d.facts = d.facts[:0]
	for i := range d.batch.Columns() {
		if c := &d.batch.Columns()[i]; c.Column.Certificate {
			d.facts = append(d.facts, c)
		}
	}
	if len(d.facts) == 0 {
		return
	}
	// Nearly all are known by their thumbprints.
	d.ids, d.keys = append(d.ids[:0], 0), d.keys[:0]
	if thumbs := d.batch.ColumnOf(fieldThumb); thumbs != nil {
		d.keys = thumbs.Keys(d.keys)
		for _, v := range thumbs.Values {
			d.ids = append(d.ids, ingest.CertID(v))
		}
	}
	for i := range d.batch.Len() {
		var id uint64
		if len(d.keys) > 0 {
			id = d.ids[d.keys[i]]
		}
		if id == 0 {
			d.readFacts(i)
			if id = d.certID(); id == 0 {
				continue
			}
		}
		t.certID.putLong(t.rows+i, int64(id))
		if d.known == nil || d.known.add(id) {
			d.readFacts(i)
			b.addCertificate(id)
		}
	}
}

// readFacts makes the certificate of event i of the batch that of the event
// being decoded.
func (d *decoder) readFacts(i int) {
	d.certSet = d.certSet[:0]
	for _, c := range d.facts {
		if c.Column.Type == ingest.Datetime {
			if n := c.Number(i); n != 0 {
				d.certificate(c.Column.Field).n = n
			}
		} else if s := c.Value(i); len(s) > 0 {
			d.certificate(c.Column.Field).s = s
		}
	}
}
