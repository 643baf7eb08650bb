package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/plan"
)

// Results are written as they come: a batch of rows is encoded into one buffer
// and sent; nothing holds a whole result. What can still go wrong after the
// first byte is told inside the body where the format has a place for it, and
// by cutting the connection where it has none (CSV), so that a client never
// takes a part for the whole.

// answer is a running query's result on its way out.
type answer struct {
	columns []query.Column
	render  *query.Visualization
	notices []string
	rows    rows
	// explained, if set, is part of the answer.
	explained *client.Explained
	// fail turns an error of rows into what the client may see.
	fail func(error) *client.Error
	// failed, if set, is told of an error that is not one of rows.
	failed func(error)
}

// rows is what *query.Result and the tests' fakes have in common.
type rows interface {
	Next() (*query.Batch, error)
	Stats() query.Stats
	Truncated() bool
}

// sink sends a body in pieces. Writes wait for the client at most timeout.
type sink struct {
	w       io.Writer
	control *http.ResponseController
	timeout time.Duration
	packer  packer
	packers *sync.Pool // that packer goes back to
	buf     []byte
}

// packer compresses a body.
type packer interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// flushSize is the size of buffered output that is written at once.
const flushSize = 32 << 10

// Writers of gzip and zstd, with little memory each.
var (
	gzipWriters = sync.Pool{New: func() any {
		gz, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
		return gz
	}}
	zstdWriters = sync.Pool{New: func() any {
		z, _ := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true)) // the options are valid
		return zstdPacker{z}
	}}
)

// zstdPacker ends like a gzip.Writer.
type zstdPacker struct{ *zstd.Encoder }

// newSink begins the body of an answer with status 200.
func newSink(w http.ResponseWriter, r *http.Request, contentType string, timeout time.Duration) *sink {
	s := &sink{w: w, control: http.NewResponseController(w), timeout: timeout}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Accept-Encoding")
	encoding := acceptsEncoding(r)
	switch encoding {
	case "gzip":
		s.packers = &gzipWriters
	case "zstd":
		s.packers = &zstdWriters
	}
	if s.packers != nil {
		h.Set("Content-Encoding", encoding)
		s.packer = s.packers.Get().(packer)
		s.packer.Reset(w)
		s.w = s.packer
	}
	return s
}

// acceptsEncoding picks the way of packing that the client likes best: zstd,
// gzip or none, which is "".
func acceptsEncoding(r *http.Request) string {
	best, bestQ := "", 0.0
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "gzip" && name != "zstd" {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		if q > bestQ || q == bestQ && q > 0 && name == "zstd" {
			best, bestQ = name, q
		}
	}
	return best
}

// Write buffers p, and sends it when it is much.
func (s *sink) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	return len(p), s.write()
}

// write sends what is buffered if it is much.
func (s *sink) write() error {
	if len(s.buf) < flushSize {
		return nil
	}
	return s.send()
}

func (s *sink) send() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// flush sends all that is buffered on its way to the client.
func (s *sink) flush() error {
	if err := s.send(); err != nil {
		return err
	}
	if s.packer != nil {
		if err := s.packer.Flush(); err != nil {
			return err
		}
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// close ends the body.
func (s *sink) close() error {
	err := s.send()
	if s.packer != nil {
		err = errors.Join(err, s.packer.Close())
		s.packers.Put(s.packer)
		s.packer = nil
	}
	return err
}

// json appends v, which must be made of wire types.
func (s *sink) json(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("encode " + err.Error()) // a wire type of ours
	}
	s.buf = append(s.buf, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func (s *sink) text(parts ...string) {
	for _, p := range parts {
		s.buf = append(s.buf, p...)
	}
}

// row appends one row as a JSON array.
func (s *sink) row(b *query.Batch, i int) {
	s.buf = append(s.buf, '[')
	for c := range b.Columns {
		if c > 0 {
			s.buf = append(s.buf, ',')
		}
		s.buf = b.Columns[c].AppendJSON(s.buf, i)
	}
	s.buf = append(s.buf, ']')
}

// each calls f for every batch; it returns the error that ended the rows, nil
// at their end. An error of f itself is one of the connection.
func (a *answer) each(f func(*query.Batch) error) (failed *client.Error, err error) {
	for {
		b, err := a.rows.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return a.fail(err), nil
		}
		if err := f(b); err != nil {
			return nil, err
		}
	}
}

// writeJSON writes a client.QueryResponse.
func (a *answer) writeJSON(s *sink) error {
	s.text(`{"columns":`)
	s.json(wireColumns(a.columns))
	s.text(`,"rows":[`)
	first := true
	failed, err := a.each(func(b *query.Batch) error {
		for i := range b.Rows {
			if !first {
				s.text(",")
			}
			s.text("\n")
			first = false
			s.row(b, i)
			if err := s.write(); err != nil {
				return err
			}
		}
		return s.flush()
	})
	if err != nil {
		return err
	}
	if !first {
		s.text("\n")
	}
	s.text(`],"stats":`)
	s.json(wireStats(a.rows.Stats()))
	s.text(`,"truncated":`, strconv.FormatBool(a.rows.Truncated()))
	if len(a.notices) > 0 {
		s.text(`,"notices":`)
		s.json(a.notices)
	}
	if a.render != nil {
		s.text(`,"render":`)
		s.json(wireRender(a.render))
	}
	if x := a.explained; x != nil {
		s.text(`,"sql":`)
		s.json(x.SQL)
		s.text(`,"tables":`)
		s.json(x.Tables)
		s.text(`,"rollup":`)
		s.json(x.Rollup)
	}
	if failed != nil {
		s.text(`,"error":`)
		s.json(failed)
	}
	s.text("}\n")
	return s.close()
}

// rowsPerLine bounds the rows of one NDJSON line, so that a client can keep a
// line in memory.
const rowsPerLine = 1000

// writeNDJSON writes lines; lock keeps progress lines out of them.
func (a *answer) writeNDJSON(s *sink, lock sync.Locker) error {
	locked := func(f func() error) error {
		lock.Lock()
		defer lock.Unlock()
		return f()
	}
	err := locked(func() error {
		s.text(`{"columns":`)
		s.json(wireColumns(a.columns))
		s.text("}\n")
		return s.flush()
	})
	if err != nil {
		return err
	}
	failed, err := a.each(func(b *query.Batch) error {
		return locked(func() error {
			for i := range b.Rows {
				switch {
				case i%rowsPerLine != 0:
					s.text(",")
				case i > 0:
					s.text("]}\n{\"rows\":[")
				default:
					s.text(`{"rows":[`)
				}
				s.row(b, i)
				if err := s.write(); err != nil {
					return err
				}
			}
			if b.Rows > 0 {
				s.text("]}\n")
			}
			return s.flush()
		})
	})
	if err != nil {
		return err
	}
	return locked(func() error {
		if failed != nil {
			s.json(client.Line{Error: failed})
		} else {
			s.json(client.Line{Done: &client.Done{
				Stats: wireStats(a.rows.Stats()), Truncated: a.rows.Truncated(), Notices: a.notices, Render: wireRender(a.render), Explained: a.explained,
			}})
		}
		s.text("\n")
		return s.close()
	})
}

// Names of the trailers of a CSV answer.
const (
	trailerTruncated = "X-Hubscope-Truncated"
	trailerRows      = "X-Hubscope-Rows"
)

// errCut says that an answer ends in the middle because the query failed.
var errCut = errors.New("the query failed after its first rows")

// writeCSV writes RFC 4180 with a header line. Whether rows were cut is said
// in a trailer.
func (a *answer) writeCSV(s *sink, trailer http.Header) error {
	for i, c := range a.columns {
		if i > 0 {
			s.text(",")
		}
		s.buf = appendCSV(s.buf, c.Name)
	}
	s.text("\n")
	failed, err := a.each(func(b *query.Batch) error {
		for i := range b.Rows {
			for c := range b.Columns {
				if c > 0 {
					s.text(",")
				}
				v := &b.Columns[c]
				switch v.Type {
				case plan.Dynamic:
					s.buf = appendCSV(s.buf, dynamicText(v.Text(i)))
				case plan.String, plan.Unknown:
					s.buf = appendCSV(s.buf, v.Text(i))
				default:
					s.text(v.Text(i))
				}
			}
			// A row of one empty cell would read as no row at all.
			if len(b.Columns) == 1 && b.Columns[0].Text(i) == "" {
				s.text(`""`)
			}
			s.text("\n")
			if err := s.write(); err != nil {
				return err
			}
		}
		return s.flush()
	})
	if err != nil {
		return err
	}
	if failed != nil {
		return errCut
	}
	trailer.Set(trailerTruncated, strconv.FormatBool(a.rows.Truncated()))
	trailer.Set(trailerRows, strconv.FormatInt(a.rows.Stats().Rows, 10))
	return s.close()
}

// dynamicText returns a dynamic value as tostring() does: a string without its
// quotes, anything else as JSON.
func dynamicText(raw string) string {
	var s string
	if strings.HasPrefix(raw, `"`) && json.Unmarshal([]byte(raw), &s) == nil {
		return s
	}
	return raw
}

// appendCSV appends a cell, quoted when it has to be.
func appendCSV(b []byte, cell string) []byte {
	if !strings.ContainsAny(cell, ",\"\r\n") && (cell == "" || cell[0] != ' ' && cell[0] != '\t') {
		return append(b, cell...)
	}
	b = append(b, '"')
	for i := 0; i < len(cell); i++ {
		if cell[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, cell[i])
	}
	return append(b, '"')
}

func wireColumns(columns []query.Column) []client.Column {
	list := make([]client.Column, len(columns))
	for i, c := range columns {
		list[i] = client.Column{Name: c.Name, Type: c.Type.String()}
	}
	return list
}

func wireStats(s query.Stats) client.Stats {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return client.Stats{
		Rows: s.Rows, ReadRows: s.ReadRows, ReadBytes: s.ReadBytes, TotalRows: s.TotalRows, MemoryBytes: s.MemoryBytes,
		ElapsedMs: ms(s.Elapsed), CompileMs: ms(s.Compile),
	}
}

func wireRender(v *query.Visualization) *client.Render {
	if v == nil {
		return nil
	}
	return &client.Render{Visualization: v.Kind, Properties: v.Properties}
}
