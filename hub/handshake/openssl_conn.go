package handshake

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// sslConn is a connection that OpenSSL secures, a net.Conn whose addresses and
// deadlines are the TCP connection's. After a passed read deadline it can be
// read again; after a failed write it cannot be written again.
//
// A session of libssl is for one thread at a time, so every call is made under
// mu, and none of them waits. Waiting for the peer is done outside. While it
// waits, a connection holds no BIO and no buffer: the ciphertext goes into the
// slice that the reader brought.
type sslConn struct {
	*Transport
	e *sslEngine

	reading sync.Mutex // one reader at a time: ciphertext has an order
	// writing is held from the making of records to their way into the socket:
	// they have an order too. It is taken before mu.
	writing  sync.Mutex
	writeErr error

	mu  sync.Mutex
	ssl uintptr // 0 when freed
	// flow is the zero value while there is nothing in it.
	flow flow
	// hungry says that OpenSSL has used up its input.
	hungry  bool
	readErr error // of OpenSSL, stays

	closed atomic.Bool
}

const (
	// maxChunk is how much is encrypted or read at once: a record's limit.
	maxChunk = 16 << 10
	// minRead is the shortest slice that is worth a system call.
	minRead = 512
	// closeTimeout is how long Close waits for room for its close_notify.
	closeTimeout = time.Second
)

// A buffer is for ciphertext on its way between a BIO and the socket.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 4<<10)} }}

// sized returns the buffer's bytes, n of them.
func (b *buffer) sized(n int) []byte {
	if cap(b.b) < n {
		b.b = make([]byte, n)
	}
	return b.b[:n]
}

// open starts a session on t.
func (e *sslEngine) open(ctx uintptr, t *Transport) (*sslConn, error) {
	ssl, err := e.lib.object(e.lib.sslNew, ctx)
	if err != nil {
		return nil, err
	}
	e.live.Add(1)
	purego.SyscallN(e.lib.sslAccept, ssl)
	return &sslConn{Transport: t, e: e, ssl: ssl, hungry: true}, nil
}

// takeFlow returns an unused pair of BIOs.
func (e *sslEngine) takeFlow() (flow, error) {
	select {
	case f := <-e.flows:
		return f, nil
	default:
	}
	l := e.lib
	method, _, _ := purego.SyscallN(l.bioMem)
	in, err := l.object(l.bioNew, method)
	if err != nil {
		return flow{}, err
	}
	out, err := l.object(l.bioNew, method)
	if err != nil {
		purego.SyscallN(l.bioFree, in)
		return flow{}, err
	}
	return flow{in, out}, nil
}

// returnFlow keeps an empty pair for the next that needs one.
func (e *sslEngine) returnFlow(f flow) {
	select {
	case e.flows <- f:
	default:
		e.freeFlow(f)
	}
}

func (e *sslEngine) freeFlow(f flow) {
	purego.SyscallN(e.lib.bioFree, f.in)
	purego.SyscallN(e.lib.bioFree, f.out)
}

// attach gives the session its BIOs. The caller holds mu.
func (c *sslConn) attach() error {
	if c.flow.in != 0 {
		return nil
	}
	f, err := c.e.takeFlow()
	if err != nil {
		return err
	}
	c.flow = f
	// The session drops a reference of each with its own end, or when others
	// take their place; ours stays.
	purego.SyscallN(c.e.lib.bioUpRef, f.in)
	purego.SyscallN(c.e.lib.bioUpRef, f.out)
	purego.SyscallN(c.e.lib.sslSetBIO, c.ssl, f.in, f.out)
	return nil
}

// detach takes them away again when they are empty. The caller holds mu.
func (c *sslConn) detach() {
	if c.flow.in == 0 || !c.hungry || c.pending() > 0 {
		return
	}
	purego.SyscallN(c.e.lib.sslSetBIO, c.ssl, 0, 0)
	c.e.returnFlow(c.flow)
	c.flow = flow{}
}

// pending returns how many bytes wait to be sent. The caller holds mu.
func (c *sslConn) pending() int {
	if c.flow.out == 0 {
		return 0
	}
	n, _, _ := purego.SyscallN(c.e.lib.bioPending, c.flow.out)
	return int(n)
}

// call feeds input to the session and runs an operation on it. The caller holds
// mu.
func (c *sslConn) call(turns chan struct{}, fn uintptr, input, p []byte) (int, error) {
	if c.ssl == 0 {
		return 0, net.ErrClosed
	}
	turns <- struct{}{}
	defer func() { <-turns }()
	if err := c.attach(); err != nil {
		return 0, err
	}
	if len(input) > 0 {
		if _, err := c.e.lib.check(c.e.lib.bioWrite, c.flow.in, uintptr(unsafe.Pointer(&input[0])), uintptr(len(input))); err != nil {
			return 0, err
		}
		c.hungry = false
	}
	n, err := c.e.lib.do(fn, c.ssl, unsafe.Pointer(unsafe.SliceData(p)), len(p))
	if errors.Is(err, errWantInput) {
		c.hungry = true
	}
	return n, err
}

// output takes what is to be sent into b. The caller holds writing and mu.
func (c *sslConn) output(b *buffer) []byte {
	n := c.pending()
	if n == 0 {
		return nil
	}
	out := b.sized(n)
	got, _, _ := purego.SyscallN(c.e.lib.bioRead, c.flow.out, uintptr(unsafe.Pointer(&out[0])), uintptr(n))
	return out[:max(0, int(int32(got)))]
}

// flush sends what OpenSSL has to send beside data: alerts, key updates.
func (c *sslConn) flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	c.mu.Lock()
	out := c.output(b)
	c.detach()
	c.mu.Unlock()
	return c.send(out)
}

// send writes records to the socket. The caller holds writing.
func (c *sslConn) send(records []byte) error {
	if c.writeErr == nil && len(records) > 0 {
		_, c.writeErr = c.Transport.Write(records)
	}
	return c.writeErr
}

// handshake runs the handshake to its end, within the deadlines of the socket.
func (c *sslConn) handshake() error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	var input []byte
	for {
		c.mu.Lock()
		_, err := c.call(c.e.handshakes, c.e.lib.sslHandshake, input, nil)
		waiting := c.pending() > 0
		c.mu.Unlock()
		if waiting {
			// When the peer has an alert coming it cannot be sent any more, but
			// then OpenSSL's error says more than the socket's.
			if sent := c.flush(); sent != nil && (err == nil || errors.Is(err, errWantInput)) {
				return sent
			}
		}
		if !errors.Is(err, errWantInput) {
			return err
		}
		buf := b.sized(4 << 10)
		n, err := c.Transport.Read(buf)
		if n == 0 && err != nil {
			return err
		}
		input = buf[:n]
	}
}

// Read implements net.Conn.
func (c *sslConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	var input []byte
	for {
		n, err := c.decrypt(input, p)
		if n > 0 || !errors.Is(err, errWantInput) {
			return n, c.readError(err)
		}
		// The plaintext's place serves for the ciphertext first.
		buf := p[:min(len(p), maxChunk)]
		if len(buf) < minRead {
			buf = make([]byte, minRead)
		}
		got, err := c.Transport.Read(buf)
		if got == 0 && err != nil {
			return 0, c.endOfInput(err)
		}
		input = buf[:got]
	}
}

// decrypt decrypts the next record, or as much of it as p takes.
func (c *sslConn) decrypt(input, p []byte) (int, error) {
	c.mu.Lock()
	switch {
	case c.readErr != nil:
		defer c.mu.Unlock()
		return 0, c.readErr
	case c.hungry && len(input) == 0 && c.ssl != 0:
		c.mu.Unlock()
		return 0, errWantInput
	}
	n, err := c.call(c.e.calls, c.e.lib.sslRead, input, p)
	if err != nil && !errors.Is(err, errWantInput) {
		c.readErr = err
	}
	waiting := err != nil && c.pending() > 0
	if !waiting {
		c.detach()
	}
	c.mu.Unlock()
	if waiting {
		if sent := c.flush(); sent != nil && errors.Is(err, errWantInput) {
			return 0, sent
		}
	}
	return n, err
}

// readError gives an alert of the peer the form that crypto/tls gives it.
func (c *sslConn) readError(err error) error {
	var failed *sslError
	if errors.As(err, &failed) {
		if n, ok := alertOf(failed.reason()).Number(); ok {
			return &net.OpError{Op: "remote error", Net: "tcp", Addr: c.RemoteAddr(), Err: tls.AlertError(n)}
		}
	}
	return err
}

// endOfInput tells an end within a record from one between two. A missing
// close_notify is no error of its own: many clients leave it out, and crypto/tls
// says the same.
func (c *sslConn) endOfInput(err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ssl != 0 {
		if rest, _, _ := purego.SyscallN(c.e.lib.sslPending, c.ssl); int32(rest) != 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return err
}

// Write implements net.Conn.
func (c *sslConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	written := 0
	for written < len(p) {
		if c.writeErr != nil {
			return written, c.writeErr
		}
		chunk := p[written:min(len(p), written+maxChunk)]
		out, err := c.seal(b, c.e.lib.sslWrite, chunk)
		if err != nil {
			c.writeErr = err
			return written, err
		}
		if err := c.send(out); err != nil {
			return written, err
		}
		written += len(chunk)
	}
	return written, nil
}

// seal makes records of p. The caller holds writing.
func (c *sslConn) seal(b *buffer, fn uintptr, p []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fn == c.e.lib.sslShutdown && c.readErr != nil && !errors.Is(c.readErr, io.EOF) {
		return nil, c.readErr // the end has been said with an alert, by either side
	}
	_, err := c.call(c.e.calls, fn, nil, p)
	out := c.output(b)
	c.detach()
	return out, err
}

// Close says goodbye if that needs no waiting, and frees everything. It can be
// called at any time from anywhere; waiting reads and writes return.
func (c *sslConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.writing.TryLock() { // else a writer is stuck, and so would this be
		b := buffers.Get().(*buffer)
		// It returns 0 while the peer has not said goodbye too, which do takes
		// for an error.
		if out, _ := c.seal(b, c.e.lib.sslShutdown, nil); len(out) > 0 {
			c.SetWriteDeadline(time.Now().Add(closeTimeout))
			c.send(out)
		}
		buffers.Put(b)
		c.writing.Unlock()
	}
	err := c.Transport.Close()
	c.free()
	return err
}

// free ends the session. Whoever comes later finds the connection closed.
func (c *sslConn) free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ssl == 0 {
		return
	}
	purego.SyscallN(c.e.lib.sslFree, c.ssl)
	c.ssl = 0
	if c.flow.in != 0 {
		// There may be something left in them, of which no other session may know.
		c.e.freeFlow(c.flow)
		c.flow = flow{}
	}
	c.e.live.Add(-1)
}
