package handshake

import (
	"net"
	"syscall"
)

// tcpQuickAck is TCP_QUICKACK of linux/tcp.h.
const tcpQuickAck = 12

// acknowledgeNow makes the kernel acknowledge what has come without the usual
// delay of 40 ms. A TLS 1.3 handshake ends with a message of the client, to
// which the server says nothing: a client with Nagle's algorithm on, as
// mosquitto's, would hold its next message back for that long.
func acknowledgeNow(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		// It may fail, and then it is only slower.
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpQuickAck, 1)
	})
}
