//go:build !linux

package handshake

import "net"

// acknowledgeNow does nothing: TCP_QUICKACK is Linux's.
func acknowledgeNow(net.Conn) {}
