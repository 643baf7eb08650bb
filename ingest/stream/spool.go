package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// message is one NATS message of events, from the moment its batch is closed
// until the broker acknowledged it.
type message struct {
	id      string
	subject string
	trace   string // traceparent of the producer span, may be empty
	media   string // Content-Type of body
	encoded string // Content-Encoding of body, may be empty
	body    []byte
	events  int
	created time.Time
	sent    time.Time // first attempt; zero if there was none
	// inherited: written by an earlier process, so it may be in the stream
	// whatever sent says.
	inherited bool

	key    uint64    // names it in the window; 0 outside
	seg    *segment  // holds it on disk, nil if only memory does
	inSend bool      // waits for an acknowledgement
	due    time.Time // when inSend: time to give up waiting and send again
}

// size is what the message costs in memory and, nearly, on disk.
func (m *message) size() int64 {
	return int64(len(m.id) + len(m.subject) + len(m.trace) + len(m.body) + recordHead + 64)
}

// The spool is a folder of segment files that hold messages the broker has not
// acknowledged. A record is
//
//	length   uint32, little endian, of what follows the head
//	checksum uint32, CRC-32C of the same
//	created, sent   int64 ns since 1970, sent 0 for never
//	events   uint32
//	five strings and the body, each with a uvarint length before it
//
// A segment is removed when all its messages are acknowledged, so after a
// crash some come a second time, under their ids. A torn record ends a segment.
type spool struct {
	dir   string
	limit int64
	lock  *os.File

	segs    []*segment // oldest first; the last may be open for writing
	w       *os.File   // last segment, nil when there is none to write to
	bytes   int64
	serial  uint64
	unread  int // records not handed out by next
	torn    int // records lost to a torn or damaged segment, for the log
	scratch []byte
}

type segment struct {
	path      string
	size      int64
	readAt    int64
	records   int // written
	handed    int // handed out by next
	done      int // acknowledged
	inherited bool
}

const (
	recordHead   = 8
	segmentBytes = 8 << 20
	spoolSuffix  = ".spool"
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	errSpoolFull = errors.New("spool is full")
)

// openSpool takes the folder for this process and finds what an earlier one left.
func openSpool(dir string, limit int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("spool %s is in use: %w", dir, err)
	}
	s := &spool{dir: dir, limit: limit, lock: lock}
	names, err := filepath.Glob(filepath.Join(dir, "*"+spoolSuffix))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), spoolSuffix), 16, 64)
		if err != nil {
			continue // not ours
		}
		s.serial = max(s.serial, n)
		seg := &segment{path: name, inherited: true}
		torn, err := seg.measure()
		if err != nil {
			lock.Close()
			return nil, fmt.Errorf("spool: %w", err)
		}
		if torn {
			s.torn++
		}
		if seg.records == 0 {
			os.Remove(name)
			continue
		}
		s.segs = append(s.segs, seg)
		s.bytes += seg.size
		s.unread += seg.records
	}
	return s, nil
}

// measure walks the records to find how many are whole.
func (seg *segment) measure() (torn bool, err error) {
	f, err := os.Open(seg.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var buf []byte
	for {
		body, next, err := readRecord(f, buf)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
		buf = next
		seg.size += int64(recordHead + len(body))
		seg.records++
	}
}

// readRecord reads one record into buf, which it may replace.
func readRecord(r io.Reader, buf []byte) (body, next []byte, err error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, buf, err // io.EOF only between records
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > 64<<20 {
		return nil, buf, fmt.Errorf("record of %d bytes", n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, buf, io.ErrUnexpectedEOF
	}
	if crc32.Checksum(buf, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, buf, errors.New("checksum does not match")
	}
	return buf, buf, nil
}

func appendRecord(b []byte, m *message) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.created.UnixNano()))
	sent := int64(0)
	if !m.sent.IsZero() {
		sent = m.sent.UnixNano()
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(sent))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.events))
	for _, s := range []string{m.id, m.subject, m.trace, m.media, m.encoded} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(m.body)))
	b = append(b, m.body...)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-recordHead))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+recordHead:], castagnoli))
	return b
}

// parseRecord reads what appendRecord wrote, without the head. It copies.
func parseRecord(b []byte) (*message, error) {
	if len(b) < 20 {
		return nil, io.ErrUnexpectedEOF
	}
	m := &message{
		created: time.Unix(0, int64(binary.LittleEndian.Uint64(b))),
		events:  int(binary.LittleEndian.Uint32(b[16:])),
	}
	if ns := int64(binary.LittleEndian.Uint64(b[8:])); ns != 0 {
		m.sent = time.Unix(0, ns)
	}
	b = b[20:]
	field := func() ([]byte, error) {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return nil, io.ErrUnexpectedEOF
		}
		s := b[k : k+int(n)]
		b = b[k+int(n):]
		return s, nil
	}
	for _, to := range []*string{&m.id, &m.subject, &m.trace, &m.media, &m.encoded} {
		s, err := field()
		if err != nil {
			return nil, err
		}
		*to = string(s)
	}
	body, err := field()
	if err != nil {
		return nil, err
	}
	m.body = append([]byte(nil), body...)
	return m, nil
}

// put writes messages, in order, as many as fit, and returns how many are on
// disk. With force the limit does not count.
func (s *spool) put(ms []*message, force bool) (n int, err error) {
	for n < len(ms) {
		if s.w == nil {
			if err := s.rotate(); err != nil {
				return n, err
			}
		}
		seg := s.segs[len(s.segs)-1]
		buf, k := s.scratch[:0], n
		for k < len(ms) && seg.size+int64(len(buf)) < segmentBytes && len(buf) < 1<<20 {
			before := len(buf)
			buf = appendRecord(buf, ms[k])
			if !force && s.bytes+int64(len(buf)) > s.limit {
				buf = buf[:before]
				break
			}
			k++
		}
		s.scratch = buf
		if k == n {
			if seg.size >= segmentBytes {
				s.closeWriter()
				continue
			}
			return n, errSpoolFull
		}
		_, err := s.w.WriteAt(buf, seg.size)
		if err == nil {
			err = s.w.Sync()
		}
		if err != nil {
			// What may be half written is overwritten or cut off.
			s.w.Truncate(seg.size)
			return n, fmt.Errorf("spool: %w", err)
		}
		seg.size += int64(len(buf))
		s.bytes += int64(len(buf))
		seg.records += k - n
		s.unread += k - n
		n = k
	}
	return n, nil
}

func (s *spool) rotate() error {
	s.serial++
	path := filepath.Join(s.dir, fmt.Sprintf("%016x%s", s.serial, spoolSuffix))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if d, err := os.Open(s.dir); err == nil {
		d.Sync() // the file's name must survive a power cut too
		d.Close()
	}
	s.w = f
	s.segs = append(s.segs, &segment{path: path})
	return nil
}

func (s *spool) closeWriter() {
	if s.w != nil {
		s.w.Close()
		s.w = nil
	}
}

// next hands out the oldest messages not handed out yet, of at most n bytes
// but at least one.
func (s *spool) next(n int64) ([]*message, error) {
	var out []*message
	for _, seg := range s.segs {
		if seg.handed == seg.records {
			continue
		}
		f, err := os.Open(seg.path)
		if err != nil {
			return out, fmt.Errorf("spool: %w", err)
		}
		defer f.Close()
		r := io.NewSectionReader(f, seg.readAt, seg.size-seg.readAt)
		for seg.handed < seg.records {
			body, buf, err := readRecord(r, s.scratch)
			s.scratch = buf
			var m *message
			if err == nil {
				m, err = parseRecord(body)
			}
			if err != nil {
				// The disk changed under us: give up what cannot be read.
				lost := seg.records - seg.handed
				s.torn += lost
				s.unread -= lost
				seg.records = seg.handed
				s.release(seg)
				return out, fmt.Errorf("spool: %d messages of %s lost: %w", lost, filepath.Base(seg.path), err)
			}
			m.seg, m.inherited = seg, seg.inherited
			seg.readAt += int64(recordHead + len(body))
			seg.handed++
			s.unread--
			out = append(out, m)
			if n -= m.size(); n <= 0 {
				return out, nil
			}
		}
	}
	return out, nil
}

// acked says that a message which next handed out needs no place any more.
func (s *spool) acked(m *message) {
	if m.seg == nil {
		return
	}
	m.seg.done++
	s.release(m.seg)
	m.seg = nil
}

// release removes a segment of which nothing is left to do.
func (s *spool) release(seg *segment) {
	if seg.done < seg.records {
		return
	}
	i := slices.Index(s.segs, seg)
	if i < 0 {
		return
	}
	if i == len(s.segs)-1 {
		s.closeWriter()
	}
	os.Remove(seg.path)
	s.bytes -= seg.size
	s.segs = slices.Delete(s.segs, i, i+1)
}

// empty says that no message is in the spool's files.
func (s *spool) empty() bool { return len(s.segs) == 0 }

func (s *spool) close() {
	s.closeWriter()
	s.lock.Close()
}
