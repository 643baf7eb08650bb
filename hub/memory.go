package hub

import (
	"runtime/debug"
	"time"
)

// A storm is many connections in a short time: a fleet that comes back. Each
// handshake leaves some ten times the garbage that its connection keeps, and the
// runtime, which sees no need to hurry, gives that memory back minutes later.
const (
	storm = 1000            // connections since the last time
	calm  = 10              // connections a second that are none
	still = 2 * time.Second // how long it has to be calm
)

// settle gives memory back to the system when a storm is over: idle connections
// are to cost what they hold. While a hub is busy nothing is done.
func (s *Server) settle() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last, settled int64
	var since time.Duration
	for {
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
		n := s.accepted.Load()
		if n-last >= calm {
			since = 0
		} else {
			since += time.Second
		}
		last = n
		if n-settled >= storm && since >= still {
			debug.FreeOSMemory()
			settled = n
		}
	}
}
