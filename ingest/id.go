package ingest

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// ConnectionIDs makes ConnectionId values: UUIDv7 (RFC 9562 5.7) with a fixed
// random part for the process and a counter in the low bits (method 1 of 6.2).
// Random bits in every id would be a fifth of a stored row; a counter
// compresses to almost nothing. The ids name connections, they are no secrets.
type ConnectionIDs struct {
	prefix uint64 // high half of rand_b, random for the process
	count  atomic.Uint64
}

// NewConnectionIDs returns a generator with its own random prefix.
func NewConnectionIDs() *ConnectionIDs {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return &ConnectionIDs{prefix: binary.BigEndian.Uint64(b[:])}
}

// Next returns a new id for a connection accepted at t.
func (g *ConnectionIDs) Next(t time.Time) (id [16]byte) {
	n := g.count.Add(1)
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16|0x7000|(n>>32)&0xfff)
	binary.BigEndian.PutUint64(id[8:], g.prefix&^uint64(0xffffffff)|n&0xffffffff)
	id[8] = id[8]&0x3f | 0x80
	return id
}
