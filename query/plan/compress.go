package plan

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"hubscope/query/kql"
)

// compression binds the functions that pack text into base64 or unpack it. They
// work on constants: ClickHouse has no function for a value of a column.
func (b *binder) compression(e *kql.Call) Expr {
	c, ok := b.constantText(e)
	if !ok {
		return &Const{T: String}
	}
	name := e.Func.Text
	switch name {
	case "zlib_compress_to_base64_string":
		return &Const{T: String, Text: pack(c.Text, false)}
	case "gzip_compress_to_base64_string":
		return &Const{T: String, Text: pack(c.Text, true)}
	}
	return &Const{T: String, Text: unpack(c.Text, name == "gzip_decompress_from_base64_string")}
}

// constantText binds the only argument of a function of constant text.
func (b *binder) constantText(e *kql.Call) (*Const, bool) {
	name := e.Func.Text
	if len(e.Args) != 1 {
		b.errorf(e.Span, CodeArguments, "%s takes 1 argument, not %d", name, len(e.Args))
		return nil, false
	}
	c, ok := b.expr(e.Args[0]).(*Const)
	if !ok {
		b.unsupported(e.Args[0].Range(), name+" of anything but a constant")
		return nil, false
	}
	if c.T != String {
		b.errorf(e.Args[0].Range(), CodeType, "%s: the argument has to be string, not %s", name, c.T)
		return nil, false
	}
	return c, true
}

// The heads of RFC 1950 and RFC 1952: deflate, no time or name.
const (
	zlibHead = "\x78\x01"
	gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
)

// pack compresses a text. What does not get smaller is stored.
func pack(text string, gzipped bool) string {
	if text == "" {
		return ""
	}
	var body bytes.Buffer
	w, err := flate.NewWriter(&body, flate.BestSpeed)
	if err != nil {
		panic(err) // a level that exists
	}
	if _, err := io.WriteString(w, text); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	packed := body.Bytes()
	if len(text) <= 0xffff && len(packed) >= len(text)+5 {
		// One stored block, the last. (RFC 1951 3.2.4)
		packed = []byte{1}
		packed = binary.LittleEndian.AppendUint16(packed, uint16(len(text)))
		packed = binary.LittleEndian.AppendUint16(packed, ^uint16(len(text)))
		packed = append(packed, text...)
	}
	var out []byte
	if gzipped {
		out = append(append(out, gzipHead...), packed...)
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(text)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	} else {
		out = append(append(out, zlibHead...), packed...)
		out = binary.BigEndian.AppendUint32(out, adler32.Checksum([]byte(text)))
	}
	return base64.StdEncoding.EncodeToString(out)
}

// maxUnpacked bounds what a compressed constant may become.
const maxUnpacked = 1 << 20

// unpack reads a compressed text; what is none gives nothing.
func unpack(packed string, gzipped bool) string {
	raw, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return ""
	}
	r, err := reader(raw, gzipped)
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil || len(text) > maxUnpacked || !utf8.Valid(text) {
		return ""
	}
	return string(text)
}

func reader(raw []byte, gzipped bool) (io.Reader, error) {
	if gzipped {
		return gzip.NewReader(bytes.NewReader(raw))
	}
	return zlib.NewReader(bytes.NewReader(raw))
}
