package collector

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ClickHouse/ch-go/proto"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"

	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// block is what one insert stores, and what goes along with it.
type block struct {
	bounds   stream.Block
	events   *table
	certs    *table // certificates not stored before
	metrics  *table // samples of hubs, which are no events of connections
	pipeline *table // samples of the pipeline itself
	changes  *table // by people and programs
	letters  []letter
	links    []trace.SpanContext
	decoder  decoder
}

func newBlock() *block {
	b := &block{events: newTable(stored(ingest.Connections))}
	b.certs = newTable(append([]ingest.Column{ingest.CertIdColumn}, certificate(ingest.Connections)...))
	b.metrics = newTable(ingest.MetricColumns)
	b.pipeline = newTable(ingest.PipelineColumns)
	b.changes = newTable(ingest.Audit)
	return b
}

// reset empties the block and keeps its memory.
func (b *block) reset() {
	b.bounds = stream.Block{}
	b.letters, b.links = b.letters[:0], b.links[:0]
	b.events.reset()
	b.certs.reset()
	b.metrics.reset()
	b.pipeline.reset()
	b.changes.reset()
}

// rows counts what an insert stores that must not be stored twice.
func (b *block) rows() int { return b.events.rows + b.metrics.rows + b.pipeline.rows + b.changes.rows }

// letter is what of a message cannot be stored.
type letter struct {
	message stream.Message // without Data
	reason  string
	kind    string // of the reason, one of flawKinds
	events  int    // that it holds, as far as is known
	bad     []byte
	encoded bool // bad has the message's content encoding
}

// table is rows in columns. Decoders write values where they end up; what an
// event leaves out is filled in later, many rows at a time.
type table struct {
	rows    int       // complete ones
	columns []*column // in the order of the insert
	byField []*column // by protobuf field number; nil for what is elsewhere
	certID  *column
	input   proto.Input
}

type kind uint8

const (
	kindLow kind = iota
	kindList
	kindText
	kindLong
	kindBool
	kindTime
	kindNullTime
	kindGUID
	kindKey
)

// wire is the protobuf wire type of a column's field.
func (k kind) wire() protowire.Type {
	switch k {
	case kindLong, kindBool:
		return protowire.VarintType
	case kindTime, kindNullTime:
		return protowire.Fixed64Type
	default:
		return protowire.BytesType
	}
}

// column collects the values of one column. values counts rows that have one;
// it is behind the table's rows while absent values are not filled in.
type column struct {
	name   string
	kind   kind
	values int

	// kindLow and kindList: a dictionary and a key a row. For lists the
	// dictionary is of the events' encoding, so that a list that was seen
	// before is not looked into.
	dict  dictionary
	index proto.ColStr
	keys  []uint32
	low   proto.ColLowCardinalityRaw

	text  proto.ColStr
	long  proto.ColInt64
	flag  proto.ColBool
	time  proto.ColDateTime64
	nulls proto.ColUInt8 // with time
	guid  proto.ColUUID
	key   proto.ColUInt64
}

func newTable(columns []ingest.Column) *table {
	t := &table{}
	for _, c := range columns {
		col := &column{name: c.Name}
		switch {
		case c.Name == ingest.CertIdColumn.Name:
			col.kind = kindKey
			t.certID = col
		case c.Type == ingest.Dynamic && c.ClickHouse != "String":
			col.kind = kindList
		case c.ClickHouse == "String": // what is dynamic is JSON already
			col.kind = kindText
		case c.Type == ingest.String:
			col.kind = kindLow
		case c.Type == ingest.Long:
			col.kind = kindLong
		case c.Type == ingest.Bool:
			col.kind = kindBool
		case c.Type == ingest.Datetime && strings.HasPrefix(c.ClickHouse, "Nullable"):
			col.kind = kindNullTime
		case c.Type == ingest.Datetime:
			col.kind = kindTime
		case c.Type == ingest.GUID:
			col.kind = kindGUID
		default:
			panic("column " + c.Name + " has a type that no block can hold")
		}
		col.time.WithPrecision(7).WithLocation(time.UTC)
		if col.kind == kindLow || col.kind == kindList {
			col.dict.keys = map[string]uint32{}
			col.low.Index = &col.index
		}
		t.columns = append(t.columns, col)
		for len(t.byField) <= c.Field {
			t.byField = append(t.byField, nil)
		}
		if c.Field > 0 {
			t.byField[c.Field] = col
		}
	}
	t.reset()
	return t
}

func (t *table) reset() {
	t.rows = 0
	for _, c := range t.columns {
		c.values = 0
		c.keys = c.keys[:0]
		c.text.Reset()
		c.long.Reset()
		c.flag.Reset()
		c.time.Reset()
		c.nulls.Reset()
		c.guid.Reset()
		c.key.Reset()
		if c.dict.keys != nil {
			c.dict.reset()
			c.index.Reset()
			c.index.Append("") // key 0 is the absent value
			c.dict.add(nil)
		}
	}
}

// bytes is about how much the rows take on the wire to the store and in its
// memory. A list or a name counts once, however many rows have it.
func (t *table) bytes() int {
	n := t.rows * 8 * len(t.columns)
	for _, c := range t.columns {
		n += len(c.text.Buf) + len(c.index.Buf)
	}
	return n
}

// fill gives a column the absent value up to n rows. In the usual case there is
// no gap, and nothing to call.
func (c *column) fill(n int) {
	if gap := n - c.values; gap > 0 {
		c.fillGap(n, gap)
	}
}

func (c *column) fillGap(n, gap int) {
	c.values = n
	switch c.kind {
	case kindLow, kindList:
		c.keys = appendZeros(c.keys, gap)
	case kindText:
		empty := proto.Position{Start: len(c.text.Buf), End: len(c.text.Buf)}
		for range gap {
			c.text.Pos = append(c.text.Pos, empty)
		}
	case kindLong:
		c.long = appendZeros(c.long, gap)
	case kindBool:
		c.flag = appendZeros(c.flag, gap)
	case kindTime:
		c.time.Data = appendZeros(c.time.Data, gap)
	case kindNullTime:
		c.time.Data = appendZeros(c.time.Data, gap)
		for range gap {
			c.nulls = append(c.nulls, 1)
		}
	case kindGUID:
		c.guid = appendZeros(c.guid, gap)
	case kindKey:
		c.key = appendZeros(c.key, gap)
	}
}

// grow makes room for n more values.
func (c *column) grow(n int) {
	switch c.kind {
	case kindLow, kindList:
		c.keys = grow(c.keys, n)
	case kindText:
		c.text.Pos = grow(c.text.Pos, n)
	case kindLong:
		c.long = grow(c.long, n)
	case kindBool:
		c.flag = grow(c.flag, n)
	case kindTime:
		c.time.Data = grow(c.time.Data, n)
	case kindGUID:
		c.guid = grow(c.guid, n)
	}
}

// grow makes room for n more elements. It doubles, where append adds a quarter:
// a block's columns grow to some megabytes, and copying them on the way was a
// seventh of the collector's work on its first blocks.
func grow[S ~[]T, T any](s S, n int) S {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, cap(s)))
}

func appendZeros[S ~[]T, T any](s S, n int) S {
	s = grow(s, n)
	tail := s[len(s) : len(s)+n]
	clear(tail)
	return s[:len(s)+n]
}

// drop takes the value of row n back, if there is one.
func (c *column) drop(n int) {
	if c.values <= n {
		return
	}
	c.values = n
	switch c.kind {
	case kindLow, kindList:
		c.keys = c.keys[:n]
	case kindText:
		c.text.Buf = c.text.Buf[:c.text.Pos[n].Start]
		c.text.Pos = c.text.Pos[:n]
	case kindLong:
		c.long = c.long[:n]
	case kindBool:
		c.flag = c.flag[:n]
	case kindTime:
		c.time.Data = c.time.Data[:n]
	case kindNullTime:
		c.time.Data = c.time.Data[:n]
		c.nulls = c.nulls[:n]
	case kindGUID:
		c.guid = c.guid[:n]
	case kindKey:
		c.key = c.key[:n]
	}
}

// rollback forgets the values of the row that is being written.
func (t *table) rollback() {
	for _, c := range t.columns {
		c.drop(t.rows)
	}
}

// dictionary numbers values in the order of their first appearance.
type dictionary struct {
	keys   map[string]uint32
	values []string
	// recent finds most values without hashing all of their bytes: by length
	// and last bytes, then by comparison. It holds keys plus one.
	recent [128]uint32
}

func (d *dictionary) reset() {
	clear(d.keys)
	clear(d.values)
	d.values = d.values[:0]
	d.recent = [128]uint32{}
}

func (d *dictionary) slot(s []byte) *uint32 {
	h := uint32(len(s))
	if n := len(s); n >= 8 {
		h ^= uint32((binary.LittleEndian.Uint64(s[n-8:]) * 0x9e3779b97f4a7c15) >> 40)
	} else if n > 0 {
		h += uint32(s[0])*5 + uint32(s[n-1])*31
	}
	return &d.recent[h%uint32(len(d.recent))]
}

// find returns the key of s.
func (d *dictionary) find(s []byte) (uint32, bool) {
	slot := d.slot(s)
	if k := *slot; k > 0 && d.values[k-1] == string(s) {
		return k - 1, true
	}
	k, ok := d.keys[string(s)]
	if ok {
		*slot = k + 1
	}
	return k, ok
}

// add gives s, which is not there, the next key.
func (d *dictionary) add(s []byte) uint32 {
	k := uint32(len(d.values))
	own := string(s)
	d.values = append(d.values, own)
	d.keys[own] = k
	*d.slot(s) = k + 1
	return k
}

// lowKey returns the dictionary's key for s, which it adds.
func (c *column) lowKey(s []byte) uint32 {
	k, ok := c.dict.find(s)
	if !ok {
		k = c.dict.add(s)
		c.index.AppendBytes(valid(s))
	}
	return k
}

// valid returns s if it is UTF-8, and else with U+FFFD for what is not: the
// store would take it, JSON answers could not carry it.
func valid(s []byte) []byte {
	if utf8.Valid(s) {
		return s
	}
	out := make([]byte, 0, len(s)+8)
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		out = utf8.AppendRune(out, r)
		s = s[n:]
	}
	return out
}

// putText, putLow and putLong write the value of row n.
func (c *column) putText(n int, s []byte) {
	c.fill(n)
	c.text.AppendBytes(valid(s))
	c.values = n + 1
}

func (c *column) putLow(n int, s []byte) { c.putKey(n, c.lowKey(s)) }

func (c *column) putLong(n int, v int64) {
	c.fill(n)
	switch c.kind {
	case kindLong:
		c.long = append(c.long, v)
	case kindBool:
		c.flag = append(c.flag, v != 0)
	case kindTime:
		c.time.Data = append(c.time.Data, proto.DateTime64(v))
	case kindNullTime:
		c.time.Data = append(c.time.Data, proto.DateTime64(v))
		c.nulls = append(c.nulls, 0)
	case kindKey:
		c.key = append(c.key, uint64(v))
	}
	c.values = n + 1
}

func (c *column) putGUID(n int, s []byte) {
	c.fill(n)
	c.guid = append(c.guid, [16]byte(s))
	c.values = n + 1
}

// putKey writes the key of row n in the dictionary.
func (c *column) putKey(n int, key uint32) {
	c.fill(n)
	c.keys = append(c.keys, key)
	c.values = n + 1
}

// listKey returns the dictionary's key for a list, which it adds as JSON text.
// raw identifies the list: the same raw is always the same list.
func (c *column) listKey(raw []byte, split func([]byte) [][]byte) uint32 {
	k, ok := c.dict.find(raw)
	if !ok {
		k = c.dict.add(raw)
		start := len(c.index.Buf)
		c.index.Buf = appendJSONList(c.index.Buf, split(raw))
		c.index.Pos = append(c.index.Pos, proto.Position{Start: start, End: len(c.index.Buf)})
	}
	return k
}

// appendJSONList appends ["a","b"].
func appendJSONList(b []byte, elements [][]byte) []byte {
	b = append(b, '[')
	for i, e := range elements {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, e)
	}
	return append(b, ']')
}

// appendJSONString appends s as a JSON string (RFC 8259 7), escaping only what
// has to be: equal lists have equal text.
func appendJSONString(b, s []byte) []byte {
	b = append(b, '"')
	for _, ch := range valid(s) {
		switch {
		case ch == '"' || ch == '\\':
			b = append(b, '\\', ch)
		case ch < ' ':
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[ch>>4], "0123456789abcdef"[ch&15])
		default:
			b = append(b, ch)
		}
	}
	return append(b, '"')
}

// finish makes all columns of equal length and returns the insert's input.
func (t *table) finish() proto.Input {
	t.input = t.input[:0]
	for _, c := range t.columns {
		c.fill(t.rows)
		in := proto.InputColumn{Name: c.name}
		switch c.kind {
		case kindLow, kindList:
			in.Data = c.lowInput()
		case kindText:
			in.Data = &c.text
		case kindLong:
			in.Data = &c.long
		case kindBool:
			in.Data = &c.flag
		case kindTime:
			in.Data = &c.time
		case kindNullTime:
			in.Data = &proto.ColNullable[proto.DateTime64]{Nulls: c.nulls, Values: c.time.Raw()}
		case kindGUID:
			in.Data = &c.guid
		case kindKey:
			in.Data = &c.key
		}
		t.input = append(t.input, in)
	}
	return t.input
}

// lowInput turns the keys into the narrowest type that holds them.
func (c *column) lowInput() *proto.ColLowCardinalityRaw {
	l, n := &c.low, len(c.keys)
	l.Keys8, l.Keys16, l.Keys32 = l.Keys8[:0], l.Keys16[:0], l.Keys32[:0]
	switch values := len(c.index.Pos); {
	case values <= 1<<8:
		l.Key, l.Keys8 = proto.KeyUInt8, grow(l.Keys8, n)[:n]
		for i, k := range c.keys {
			l.Keys8[i] = uint8(k)
		}
	case values <= 1<<16:
		l.Key, l.Keys16 = proto.KeyUInt16, grow(l.Keys16, n)[:n]
		for i, k := range c.keys {
			l.Keys16[i] = uint16(k)
		}
	default:
		l.Key = proto.KeyUInt32
		l.Keys32 = append(l.Keys32, c.keys...)
	}
	return l
}
