package ingest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentTypeBatch is the value of header Content-Type of a message that holds
// its events column by column ([Batch]).
const ContentTypeBatch = "application/vnd.hubscope.events.v2+protobuf"

// MaxBatchEvents bounds the events of one [Batch].
const MaxBatchEvents = 10_000

// maxExpanded bounds the bytes of a batch's texts when each event has its own,
// so that a short message cannot fill the store's memory. What is stored by
// dictionary stays shared there, and may be long: an odd client's offers, often.
const maxExpanded = 32 << 20

// Field numbers of messages Batch and Batch.Column in event.proto.
const (
	batchEvents  = 1
	batchColumns = 2

	columnField  = 1
	columnValues = 2
	columnKeys   = 3
	columnBase   = 4
	columnFixed  = 5
)

// Batch collects events for one message and writes them as message Batch of
// event.proto: each field as a column, with every distinct value once. Clients
// are of few kinds, so what they offer and get repeats from event to event; a
// batch of 250 takes a quarter of the bytes that the same events take one by
// one, and goes into the columns of the store without a look at each string.
// The zero Batch is empty and ready.
type Batch struct {
	events  int
	values  int // bytes of all distinct values
	columns []batchColumn
	seed    maphash.Seed
	scratch []byte
}

// batchColumn is one field of a batch that is being made. keys and numbers are
// shorter than the batch while the last events have no value.
type batchColumn struct {
	values  []byte   // distinct values, as they go on the wire
	spans   []span   // where each stands in values
	slots   []uint16 // hash table of keys, at most half full
	last    string   // the newest string, and
	key     uint16   // the newest key
	keys    []uint16 // for each event its value's number plus one, 0 for none
	numbers []int64
	guids   []byte
}

type span struct {
	hash       uint64
	start, end int
}

// maxEventColumns is an upper bound of what an event adds to a batch beside
// its distinct values: keys, numbers and ids, as wide as they can be.
var maxEventColumns = func() int {
	n := 0
	for i := range Connections {
		switch c := &Connections[i]; {
		case c.str != nil, c.list != nil:
			n += 2
		case c.flag != nil:
			n++
		case c.guid != nil:
			n += 16
		default:
			n += 8
		}
	}
	return n
}()

// Len is how many events the batch has.
func (b *Batch) Len() int { return b.events }

// Size is an upper bound of the bytes that AppendTo appends.
func (b *Batch) Size() int {
	if b.events == 0 {
		return 0
	}
	return b.values + b.events*maxEventColumns + len(Connections)*32
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.events, b.values = 0, 0
	for i := range b.columns {
		c := &b.columns[i]
		if len(c.spans) > 0 {
			clear(c.slots)
			c.last = ""
		}
		c.values, c.spans, c.keys, c.numbers, c.guids = c.values[:0], c.spans[:0], c.keys[:0], c.numbers[:0], c.guids[:0]
	}
}

// Add adds e, of which nothing is kept. The batch must have fewer than
// [MaxBatchEvents].
func (b *Batch) Add(e *Event) {
	if b.columns == nil {
		b.columns = make([]batchColumn, len(Connections))
		b.seed = maphash.MakeSeed()
	}
	row := b.events
	b.events++
	for i := range Connections {
		c, col := &Connections[i], &b.columns[i]
		switch {
		case c.str != nil:
			if s := *c.str(e); s != "" {
				// Much is the same constant as in the event before.
				if s != col.last {
					b.values += put(col, maphash.String(b.seed, s), s)
					col.last = s
				}
				col.keys = append(fill(col.keys, row), col.key)
			}
		case c.long != nil:
			if v := *c.long(e); v != 0 {
				col.putNumber(row, v)
			}
		case c.flag != nil:
			if *c.flag(e) {
				col.putNumber(row, 1)
			}
		case c.list != nil:
			if list := *c.list(e); len(list) > 0 {
				b.scratch = appendList(b.scratch[:0], protowire.Number(c.Field), list)
				b.values += put(col, maphash.Bytes(b.seed, b.scratch), b.scratch)
				col.keys = append(fill(col.keys, row), col.key)
			}
		case c.time != nil:
			if v := Ticks(*c.time(e)); v != 0 {
				col.putNumber(row, v)
			}
		case c.guid != nil:
			if v := c.guid(e); *v != [16]byte{} {
				col.guids = append(fill(col.guids, 16*row), v[:]...)
			}
		}
	}
}

// fill lengthens s to n with zeros.
func fill[S ~[]T, T any](s S, n int) S {
	if gap := n - len(s); gap > 0 {
		s = slices.Grow(s, gap)[:n]
		clear(s[n-gap:])
	}
	return s
}

func (c *batchColumn) putNumber(row int, v int64) {
	c.numbers = append(fill(c.numbers, row), v)
}

// put finds the key of a value with its hash, or adds it. It returns the bytes
// that took.
func put[S string | []byte](c *batchColumn, hash uint64, s S) (size int) {
	if 2*len(c.spans) >= len(c.slots) {
		c.slots = make([]uint16, max(32, 2*len(c.slots)))
		for i := range c.spans {
			*c.slot(c.spans[i].hash) = uint16(i + 1)
		}
	}
	mask := uint64(len(c.slots) - 1)
	for slot := hash & mask; c.slots[slot] != 0; slot = (slot + 1) & mask {
		k := c.slots[slot]
		if at := &c.spans[k-1]; at.hash == hash && string(c.values[at.start:at.end]) == string(s) {
			c.key = k
			return 0
		}
	}
	before := len(c.values)
	c.values = protowire.AppendTag(c.values, columnValues, protowire.BytesType)
	c.values = protowire.AppendVarint(c.values, uint64(len(s)))
	start := len(c.values)
	c.values = append(c.values, s...)
	c.spans = append(c.spans, span{hash, start, len(c.values)})
	c.key = uint16(len(c.spans))
	*c.slot(hash) = c.key
	return len(c.values) - before
}

// slot returns the free slot for a value that is not in the table.
func (c *batchColumn) slot(hash uint64) *uint16 {
	mask := uint64(len(c.slots) - 1)
	at := hash & mask
	for c.slots[at] != 0 {
		at = (at + 1) & mask
	}
	return &c.slots[at]
}

// AppendTo appends the batch to dst as message Batch of event.proto.
func (b *Batch) AppendTo(dst []byte) []byte {
	dst = protowire.AppendTag(dst, batchEvents, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(b.events))
	for i := range b.columns {
		col, field := &b.columns[i], Connections[i].Field
		switch {
		case len(col.keys) > 0:
			dst = col.appendValues(dst, field, b.events)
		case len(col.numbers) > 0:
			dst = col.appendNumbers(dst, field, b.events)
		case len(col.guids) > 0:
			col.guids = fill(col.guids, 16*b.events)
			dst = appendColumn(dst, field, sizeBytes(columnFixed, len(col.guids)))
			dst = protowire.AppendTag(dst, columnFixed, protowire.BytesType)
			dst = protowire.AppendBytes(dst, col.guids)
		}
	}
	return dst
}

// appendColumn begins a column whose fields, but for its number, take size bytes.
func appendColumn(dst []byte, field, size int) []byte {
	dst = protowire.AppendTag(dst, batchColumns, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(protowire.SizeTag(columnField)+protowire.SizeVarint(uint64(field))+size))
	dst = protowire.AppendTag(dst, columnField, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(field))
}

func sizeBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

func (c *batchColumn) appendValues(dst []byte, field, events int) []byte {
	c.keys = fill(c.keys, events)
	if len(c.spans) == 1 && !slices.Contains(c.keys, 0) {
		dst = appendColumn(dst, field, len(c.values))
		return append(dst, c.values...)
	}
	width := 1
	if len(c.spans) > math.MaxUint8 {
		width = 2
	}
	dst = appendColumn(dst, field, len(c.values)+sizeBytes(columnKeys, width*events))
	dst = append(dst, c.values...)
	dst = protowire.AppendTag(dst, columnKeys, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(width*events))
	for _, k := range c.keys {
		if dst = append(dst, byte(k)); width == 2 {
			dst = append(dst, byte(k>>8))
		}
	}
	return dst
}

func (c *batchColumn) appendNumbers(dst []byte, field, events int) []byte {
	c.numbers = fill(c.numbers, events)
	base := slices.Min(c.numbers)
	// The difference of any two int64 fits in a uint64.
	width := 0
	switch n := bits.Len64(uint64(slices.Max(c.numbers)) - uint64(base)); {
	case n > 32:
		width = 8
	case n > 16:
		width = 4
	case n > 8:
		width = 2
	case n > 0:
		width = 1
	}
	zigzag := protowire.EncodeZigZag(base)
	size := 0
	if base != 0 {
		size += protowire.SizeTag(columnBase) + protowire.SizeVarint(zigzag)
	}
	if width > 0 {
		size += sizeBytes(columnFixed, width*events)
	}
	dst = appendColumn(dst, field, size)
	if base != 0 {
		dst = protowire.AppendTag(dst, columnBase, protowire.VarintType)
		dst = protowire.AppendVarint(dst, zigzag)
	}
	if width == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, columnFixed, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(width*events))
	for _, v := range c.numbers {
		switch v -= base; width {
		case 1:
			dst = append(dst, byte(v))
		case 2:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(v))
		case 4:
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
		default:
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
	}
	return dst
}

// BatchReader reads messages of type [ContentTypeBatch]. It keeps its memory
// from one to the next.
type BatchReader struct {
	events  int
	columns []BatchColumn
	byField []int // index in columns plus one
}

// BatchColumn is one field of all events of a batch.
type BatchColumn struct {
	// Column is the field's.
	Column *Column
	// Values are the distinct ones of a string or a list, parts of the message.
	// A list is its elements as they stand in message Event, each with tag and
	// length. Empty is no value.
	Values [][]byte

	events   int
	keyBytes []byte
	strings  []string   // Values, behind an absent one, when made
	lists    [][]string // the same of a list
	base     int64
	fixed    []byte
}

// Len is how many events the batch has.
func (r *BatchReader) Len() int { return r.events }

// Columns returns the known fields that events of the batch have.
func (r *BatchReader) Columns() []BatchColumn { return r.columns }

// ColumnOf returns the column with a protobuf field number, or nil.
func (r *BatchReader) ColumnOf(field int) *BatchColumn {
	if field >= 0 && field < len(r.byField) && r.byField[field] > 0 {
		return &r.columns[r.byField[field]-1]
	}
	return nil
}

// Read reads a message, which must not change while r is used. Fields of later
// versions are skipped. What Read accepts is sound but for the range of times.
func (r *BatchReader) Read(msg []byte) error {
	r.events, r.columns = 0, r.columns[:0]
	clear(r.byField)
	events := uint64(0)
	for b := msg; len(b) > 0; {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return fmt.Errorf("batch: %w", protowire.ParseError(k))
		}
		b = b[k:]
		switch {
		case num == batchEvents && typ == protowire.VarintType:
			events, k = protowire.ConsumeVarint(b)
		case num == batchColumns && typ == protowire.BytesType:
			var column []byte
			if column, k = protowire.ConsumeBytes(b); k >= 0 {
				if err := r.add(column); err != nil {
					return err
				}
			}
		default:
			k = protowire.ConsumeFieldValue(num, typ, b)
		}
		if k < 0 {
			return fmt.Errorf("batch: field %d: %w", num, protowire.ParseError(k))
		}
		b = b[k:]
	}
	switch {
	case events == 0:
		return errors.New("message without events")
	case events > MaxBatchEvents:
		return fmt.Errorf("batch of %d events, at most %d", events, MaxBatchEvents)
	}
	r.events = int(events)
	expanded := 0
	for i := range r.columns {
		c := &r.columns[i]
		c.events = r.events
		if err := c.check(); err != nil {
			return fmt.Errorf("field %s: %w", c.Column.Name, err)
		}
		if c.isText() {
			expanded += c.longest() * r.events
		}
	}
	if expanded > maxExpanded {
		expanded = 0
		for i := range r.columns {
			if c := &r.columns[i]; c.isText() {
				expanded += c.expanded()
			}
		}
		if expanded > maxExpanded {
			return fmt.Errorf("batch grows to %d bytes, at most %d", expanded, maxExpanded)
		}
	}
	return nil
}

// add reads one column.
func (r *BatchReader) add(b []byte) error {
	// Its memory is that of a column of the message before.
	r.columns = slices.Grow(r.columns, 1)[:len(r.columns)+1]
	c := &r.columns[len(r.columns)-1]
	*c = BatchColumn{Values: c.Values[:0]}
	field := uint64(0)
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return fmt.Errorf("batch column: %w", protowire.ParseError(k))
		}
		b = b[k:]
		var v []byte
		var n uint64
		switch {
		case num == columnField && typ == protowire.VarintType:
			field, k = protowire.ConsumeVarint(b)
		case num == columnValues && typ == protowire.BytesType:
			v, k = protowire.ConsumeBytes(b)
			c.Values = append(c.Values, v)
		case num == columnKeys && typ == protowire.BytesType:
			c.keyBytes, k = protowire.ConsumeBytes(b)
		case num == columnBase && typ == protowire.VarintType:
			n, k = protowire.ConsumeVarint(b)
			c.base = protowire.DecodeZigZag(n)
		case num == columnFixed && typ == protowire.BytesType:
			c.fixed, k = protowire.ConsumeBytes(b)
		default:
			k = protowire.ConsumeFieldValue(num, typ, b)
		}
		if k < 0 {
			return fmt.Errorf("batch column: field %d: %w", num, protowire.ParseError(k))
		}
		b = b[k:]
	}
	if field < uint64(len(byField)) {
		c.Column = ColumnOf(int(field))
	}
	if c.Column == nil {
		r.columns = r.columns[:len(r.columns)-1]
		return nil
	}
	r.byField = fill(r.byField, int(field)+1)
	if r.byField[field] != 0 {
		return fmt.Errorf("field %s has two columns", c.Column.Name)
	}
	r.byField[field] = len(r.columns)
	return nil
}

// check says whether the column has what its type needs.
func (c *BatchColumn) check() error {
	switch col := c.Column; {
	case col.str != nil, col.list != nil:
		return c.checkKeys()
	case len(c.Values) > 0 || len(c.keyBytes) > 0:
		return errors.New("has values, want numbers")
	case col.guid != nil:
		if len(c.fixed) != 16*c.events {
			return fmt.Errorf("%d bytes for %d events, want 16 each", len(c.fixed), c.events)
		}
	default:
		switch len(c.fixed) {
		case 0, c.events, 2 * c.events, 4 * c.events, 8 * c.events:
		default:
			return fmt.Errorf("%d bytes for %d events, want 1, 2, 4 or 8 each", len(c.fixed), c.events)
		}
	}
	return nil
}

func (c *BatchColumn) checkKeys() error {
	top := 0
	switch len(c.keyBytes) {
	case 0:
		if len(c.Values) != 1 {
			return fmt.Errorf("%d values without keys, want one", len(c.Values))
		}
	case c.events:
		for _, k := range c.keyBytes {
			top = max(top, int(k))
		}
	case 2 * c.events:
		for i := range c.events {
			top = max(top, int(binary.LittleEndian.Uint16(c.keyBytes[2*i:])))
		}
	default:
		return fmt.Errorf("%d bytes of keys for %d events, want 1 or 2 each", len(c.keyBytes), c.events)
	}
	switch {
	case top > len(c.Values):
		return fmt.Errorf("key %d for %d values", top, len(c.Values))
	case len(c.fixed) > 0:
		return errors.New("has numbers, want values")
	case c.Column.list == nil:
		return nil
	}
	for _, v := range c.Values {
		for len(v) > 0 {
			num, typ, n := protowire.ConsumeField(v)
			if n < 0 {
				return fmt.Errorf("list: %w", protowire.ParseError(n))
			}
			if int(num) != c.Column.Field || typ != protowire.BytesType {
				return fmt.Errorf("list has field %d of type %d", num, typ)
			}
			v = v[n:]
		}
	}
	return nil
}

// isText says that the store has every event's value.
func (c *BatchColumn) isText() bool { return c.Column.str != nil && c.Column.ClickHouse == "String" }

// longest is the length of the longest value.
func (c *BatchColumn) longest() int {
	n := 0
	for _, v := range c.Values {
		n = max(n, len(v))
	}
	return n
}

// expanded is the length of all events' values.
func (c *BatchColumn) expanded() int {
	n := 0
	for i := range c.events {
		n += len(c.Value(i))
	}
	return n
}

// key is the index in Values of event i's value plus one, or 0 for none.
func (c *BatchColumn) key(i int) int {
	switch len(c.keyBytes) {
	case 0:
		return 1
	case c.events:
		return int(c.keyBytes[i])
	default:
		return int(binary.LittleEndian.Uint16(c.keyBytes[2*i:]))
	}
}

// Value returns event i's string or list, one of Values, or nil.
func (c *BatchColumn) Value(i int) []byte {
	if k := c.key(i); k > 0 {
		return c.Values[k-1]
	}
	return nil
}

// makeStrings makes the values' Go form, once.
func (c *BatchColumn) makeStrings() {
	if c.strings != nil || c.lists != nil {
		return
	}
	if c.Column.str != nil {
		c.strings = make([]string, len(c.Values)+1)
		for i, v := range c.Values {
			c.strings[i+1] = string(v)
		}
		return
	}
	c.lists = make([][]string, len(c.Values)+1)
	for i, v := range c.Values {
		for len(v) > 0 {
			_, _, tag := protowire.ConsumeTag(v)
			s, n := protowire.ConsumeBytes(v[tag:])
			c.lists[i+1] = append(c.lists[i+1], string(s))
			v = v[tag+n:]
		}
	}
}

// Keys returns, for each event, the index in Values of its value plus one, or
// 0 for none. It uses buf's memory.
func (c *BatchColumn) Keys(buf []uint16) []uint16 {
	buf = slices.Grow(buf[:0], c.events)[:c.events]
	switch len(c.keyBytes) {
	case 0:
		for i := range buf {
			buf[i] = 1
		}
	case c.events:
		for i, k := range c.keyBytes {
			buf[i] = uint16(k)
		}
	default:
		for i := range buf {
			buf[i] = binary.LittleEndian.Uint16(c.keyBytes[2*i:])
		}
	}
	return buf
}

// AppendKeys appends, for each event, what table has for its key: one element
// more than there are Values.
func (c *BatchColumn) AppendKeys(dst, table []uint32) []uint32 {
	switch len(c.keyBytes) {
	case 0:
		for range c.events {
			dst = append(dst, table[1])
		}
	case c.events:
		for _, k := range c.keyBytes {
			dst = append(dst, table[k])
		}
	default:
		for i := range c.events {
			dst = append(dst, table[binary.LittleEndian.Uint16(c.keyBytes[2*i:])])
		}
	}
	return dst
}

// Numbers returns the number of each event, of a time its [Ticks], of a bool 0
// or 1. It uses buf's memory.
func (c *BatchColumn) Numbers(buf []int64) []int64 {
	buf = slices.Grow(buf[:0], c.events)[:c.events]
	b := c.fixed
	switch len(b) {
	case 0:
		for i := range buf {
			buf[i] = c.base
		}
	case c.events:
		for i := range buf {
			buf[i] = c.base + int64(b[i])
		}
	case 2 * c.events:
		for i := range buf {
			buf[i] = c.base + int64(binary.LittleEndian.Uint16(b[2*i:]))
		}
	case 4 * c.events:
		for i := range buf {
			buf[i] = c.base + int64(binary.LittleEndian.Uint32(b[4*i:]))
		}
	default:
		for i := range buf {
			buf[i] = c.base + int64(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	return buf
}

// GUIDs returns 16 bytes for each event.
func (c *BatchColumn) GUIDs() []byte { return c.fixed }

// Event reads event i into e, which it resets. Events with equal lists share
// them. It fails when a time of it is
// outside of what can be stored.
func (r *BatchReader) Event(i int, e *Event) (err error) {
	*e = Event{}
	for k := range r.columns {
		c := &r.columns[k]
		switch col := c.Column; {
		case col.str != nil:
			c.makeStrings()
			*col.str(e) = c.strings[c.key(i)]
		case col.list != nil:
			c.makeStrings()
			*col.list(e) = c.lists[c.key(i)]
		case col.guid != nil:
			copy(col.guid(e)[:], c.fixed[16*i:])
		default:
			n := c.Number(i)
			if col.time != nil {
				err = cmp.Or(err, checkTicks(col, n))
			}
			col.set(e, n, nil)
		}
	}
	return err
}

// Number returns event i's number, as Numbers does for all.
func (c *BatchColumn) Number(i int) int64 {
	switch b := c.fixed; len(b) / c.events {
	case 0:
		return c.base
	case 1:
		return c.base + int64(b[i])
	case 2:
		return c.base + int64(binary.LittleEndian.Uint16(b[2*i:]))
	case 4:
		return c.base + int64(binary.LittleEndian.Uint32(b[4*i:]))
	default:
		return c.base + int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
}
