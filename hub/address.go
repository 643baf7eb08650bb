package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
)

// remoteOf returns the client's address and port.
func remoteOf(c net.Conn) (netip.Addr, uint16) {
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		a := t.AddrPort()
		return a.Addr().Unmap().WithZone(""), a.Port()
	}
	if a, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		return a.Addr().Unmap().WithZone(""), a.Port()
	}
	return netip.Addr{}, 0
}

// maskAddress hides the last octet of an IPv4 address as Azure's logs do, and
// the last 80 bits of an IPv6 address: what remains names a site, not a person.
func maskAddress(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		b := a.As4()
		return strconv.Itoa(int(b[0])) + "." + strconv.Itoa(int(b[1])) + "." + strconv.Itoa(int(b[2])) + ".XXX"
	}
	b := a.As16()
	text := ""
	for i := 0; i < 6; i += 2 {
		text += strconv.FormatUint(uint64(b[i])<<8|uint64(b[i+1]), 16) + ":"
	}
	return text + "XXXX:XXXX:XXXX:XXXX:XXXX"
}

// MaskAddress hides the same of an address with or without a port, as
// http.Request has it; what is no address is empty.
func MaskAddress(remote string) string {
	if a, err := netip.ParseAddrPort(remote); err == nil {
		return maskAddress(a.Addr().Unmap().WithZone(""))
	}
	a, _ := netip.ParseAddr(remote) // the zero address is masked to nothing
	return maskAddress(a.Unmap().WithZone(""))
}

// hashAddress returns 64 bits of a keyed hash of the whole address: equal
// addresses can be counted, and without the key not even tried.
func hashAddress(key []byte, a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	h := hmac.New(sha256.New, key)
	b := a.As16()
	h.Write(b[:])
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:8])
}

// sourceOf is what floods are counted by: an IPv4 address, or the /64 of an
// IPv6 address, which one host owns as a whole.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
