package handshake

import (
	"net"
	"sync/atomic"
)

// Record and message types (RFC 8446 5.1, 4).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23

	handshakeClientHello = 1

	recordHeaderLen = 5
)

// A Transport is the TCP side of a connection: it counts bytes, gives peeked
// ones back, and while a handshake runs it watches both directions for alerts
// in clear. Only those tell in every case who refused whom and why: an OpenSSL
// client that distrusts a TLS 1.3 server says so in clear, where the engine
// expects an encrypted record and sees nothing but a bad MAC (golang/go#76767).
type Transport struct {
	net.Conn
	read, written atomic.Int64

	replay []byte   // peeked bytes that the engine has not read yet
	watch  *watcher // nil when no handshake runs
}

// NewTransport wraps an accepted connection.
func NewTransport(c net.Conn) *Transport {
	return &Transport{Conn: c, watch: new(watcher)}
}

// BytesRead and BytesWritten count what went over the TCP connection.
func (t *Transport) BytesRead() int64 { return t.read.Load() }

// BytesWritten counts what was sent on the TCP connection.
func (t *Transport) BytesWritten() int64 { return t.written.Load() }

// Read implements net.Conn.
func (t *Transport) Read(p []byte) (int, error) {
	if len(t.replay) > 0 {
		n := copy(p, t.replay)
		if t.replay = t.replay[n:]; len(t.replay) == 0 {
			t.replay = nil // an idle connection keeps no buffer
		}
		return n, nil
	}
	return t.readWire(p)
}

func (t *Transport) readWire(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.read.Add(int64(n))
	if t.watch != nil {
		t.watch.in.see(p[:n])
	}
	return n, err
}

// Write implements net.Conn.
func (t *Transport) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.written.Add(int64(n))
	if t.watch != nil {
		t.watch.out.see(p[:n])
	}
	return n, err
}

// alerts returns the fatal alerts that were seen in clear.
func (t *Transport) alerts() (sent, received Alert) {
	if t.watch == nil {
		return 0, 0
	}
	return t.watch.out.alert, t.watch.in.alert
}

// unwatch ends the watching: what follows is application data.
func (t *Transport) unwatch() { t.watch = nil }

// A watcher follows the records of both directions.
type watcher struct{ in, out records }

// records follows the record layer of one direction without keeping it.
type records struct {
	header [recordHeaderLen]byte
	have   int // bytes of header seen
	left   int // bytes of the record's body still to come
	body   [2]byte
	alert  Alert
	broken bool // not TLS records
}

func (r *records) see(p []byte) {
	for len(p) > 0 && !r.broken {
		if r.left == 0 {
			n := copy(r.header[r.have:], p)
			r.have, p = r.have+n, p[n:]
			if r.have < recordHeaderLen {
				return
			}
			r.have, r.left = 0, int(r.header[3])<<8|int(r.header[4])
			r.broken = r.header[0] < recordChangeCipherSpec || r.header[0] > recordApplicationData || r.header[1] != 3
			continue
		}
		n := min(r.left, len(p))
		// An alert in clear is a record of its own with two bytes (RFC 8446 6);
		// an encrypted one is longer or travels as application data.
		if length := int(r.header[3])<<8 | int(r.header[4]); r.header[0] == recordAlert && length == 2 {
			copy(r.body[2-r.left:], p[:n])
			if r.left == n && r.body[1] != alertCloseNotify {
				r.alert = NewAlert(r.body[1])
			}
		}
		r.left, p = r.left-n, p[n:]
	}
}
