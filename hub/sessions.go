package hub

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"hubscope/hub/registry"
)

// sessions are the open ones of a server.
type sessions struct {
	mu        sync.Mutex
	exclusive map[deviceKey]*Session
	shared    map[deviceKey][]*Session
	count     map[string]int64             // by hub
	devices   map[string]int64             // by hub: those with a session, their modules' aside
	modules   map[deviceKey]map[string]int // sessions of modules, by device and module
}

type deviceKey struct{ hub, device, module string }

func (s *Session) key() deviceKey { return deviceKey{s.id.Hub, s.id.DeviceID, s.module} }

func (x *sessions) init() {
	x.exclusive, x.shared = map[deviceKey]*Session{}, map[deviceKey][]*Session{}
	x.count, x.devices, x.modules = map[string]int64{}, map[string]int64{}, map[deviceKey]map[string]int{}
}

// add enters a session and numbers its connect. If it takes the place of
// another one, that one is returned, its end numbered before.
func (x *sessions) add(s *Session, next func() int64) (old *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := s.key()
	if key.module != "" {
		x.countModule(key, 1)
	} else if !x.there(key) {
		x.devices[key.hub]++
	}
	if s.exclusive {
		if old = x.exclusive[key]; old != nil {
			old.endSeq = next()
		}
		x.exclusive[key] = s
	} else {
		x.shared[key] = append(x.shared[key], s)
	}
	x.count[key.hub]++
	s.connectSeq = next()
	return old
}

// takenOver returns the session that a session on another process ends, its end
// numbered before the other's beginning; or else the one that is the later one
// of the two, of which the other process has to hear.
func (x *sessions) takenOver(n *registry.SessionNotice) (ends, stays *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.exclusive[deviceKey{n.Hub, n.DeviceID, n.ModuleID}]
	if s == nil || s.h.c.id == n.Connection {
		return nil, nil
	}
	// A device that has just connected there has left here, whatever the clocks
	// of the two hosts say. But when it has just connected here as well, or what
	// is told is old, both sides decide by the same numbers.
	if !n.Fresh || time.Since(s.opened) < time.Second {
		if c := cmp.Compare(s.connectSeq, n.Sequence); c > 0 || c == 0 && bytes.Compare(s.h.c.id[:], n.Connection[:]) > 0 {
			return nil, s
		}
	}
	if s.endSeq == 0 && n.Sequence-1 > s.connectSeq {
		s.endSeq = n.Sequence - 1
	}
	return s, nil
}

// all returns all exclusive sessions.
func (x *sessions) all() []*Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Values(x.exclusive))
}

// remove takes a session out, if it is still in.
func (x *sessions) remove(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := s.key()
	x.count[key.hub]--
	if key.module != "" {
		x.countModule(key, -1)
	} else if x.there(key) {
		defer func() {
			if !x.there(key) {
				x.devices[key.hub]--
			}
		}()
	}
	if s.exclusive {
		if x.exclusive[key] == s {
			delete(x.exclusive, key)
		}
		return
	}
	list := x.shared[key]
	for i, o := range list {
		if o == s {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(x.shared, key)
	} else {
		x.shared[key] = list
	}
}

// countModule keeps which modules of a device have sessions.
func (x *sessions) countModule(key deviceKey, n int) {
	device := deviceKey{hub: key.hub, device: key.device}
	if x.modules[device] == nil {
		x.modules[device] = map[string]int{}
	}
	if x.modules[device][key.module] += n; x.modules[device][key.module] <= 0 {
		delete(x.modules[device], key.module)
	}
	if len(x.modules[device]) == 0 {
		delete(x.modules, device)
	}
}

// endNumber returns the sequence number of a session's end: the reserved one,
// or a new one.
func (x *sessions) endNumber(s *Session, next func() int64) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.endSeq == 0 {
		s.endSeq = next()
	}
	return s.endSeq
}

// concerned returns the sessions that a change concerns.
func (x *sessions) concerned(c registry.Change) []*Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []*Session
	match := func(k deviceKey) bool {
		return (c.Hub == "" || k.hub == c.Hub) && (c.DeviceID == "" || k.device == c.DeviceID)
	}
	if c.DeviceID != "" { // the usual case: no walk
		key := deviceKey{hub: c.Hub, device: c.DeviceID}
		of := func(key deviceKey) {
			if s := x.exclusive[key]; s != nil {
				list = append(list, s)
			}
			list = append(list, x.shared[key]...)
		}
		of(key)
		for module := range x.modules[key] {
			of(deviceKey{key.hub, key.device, module})
		}
		return list
	}
	for k, s := range x.exclusive {
		if match(k) {
			list = append(list, s)
		}
	}
	for k, shared := range x.shared {
		if match(k) {
			list = append(list, shared...)
		}
	}
	return list
}

// of returns a device's session; the exclusive one first.
func (x *sessions) of(key deviceKey) *Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.exclusive[key]; s != nil {
		return s
	}
	if list := x.shared[key]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// there reports whether there is a session. The caller holds mu.
func (x *sessions) there(key deviceKey) bool {
	return x.exclusive[key] != nil || len(x.shared[key]) > 0
}

// open returns by hub the number of open sessions, and of devices that have one.
func (x *sessions) open() (all, devices map[string]int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.count), maps.Clone(x.devices)
}

// changes collects what the registry tells, so that its caller does not wait.
// Equal changes are kept once; beyond maxChanges all sessions are looked at.
type changes struct {
	mu    sync.Mutex
	set   map[registry.Change]struct{}
	ready chan struct{}
}

const maxChanges = 10_000

func (q *changes) init() {
	q.set, q.ready = map[registry.Change]struct{}{}, make(chan struct{}, 1)
}

func (q *changes) add(c registry.Change) {
	c.Kind = "" // what kind of record it is does not matter here
	q.mu.Lock()
	if len(q.set) >= maxChanges {
		q.set = map[registry.Change]struct{}{}
		c = registry.Change{}
	}
	q.set[c] = struct{}{}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *changes) take() []registry.Change {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]registry.Change, 0, len(q.set))
	for c := range q.set {
		list = append(list, c)
	}
	clear(q.set)
	return list
}

// recheckers is how many sessions are rechecked at a time: a device that is not
// in the registry's memory costs a round trip.
const recheckers = 8

// followRegistry ends the sessions that a change of the registry no longer
// stands behind.
func (s *Server) followRegistry() {
	for {
		select {
		case <-s.changes.ready:
		case <-s.stop:
			return
		}
		for _, change := range s.changes.take() {
			todo := make(chan *Session)
			var workers sync.WaitGroup
			list := s.sessions.concerned(change)
			for range min(recheckers, len(list)) {
				workers.Go(func() {
					for session := range todo {
						if r := s.config.Registry.Recheck(s.base, session.identity()); r != nil {
							session.end(cutEnd(r))
						}
					}
				})
			}
			for _, session := range list {
				todo <- session
			}
			close(todo)
			workers.Wait()
			if change == (registry.Change{}) {
				// The processes could not hear each other for a while.
				for _, session := range s.sessions.all() {
					s.announce(session, false)
				}
			}
		}
	}
}

// announce tells the other processes of the hub that a device has a session here.
func (s *Server) announce(session *Session, fresh bool) {
	s.config.Registry.Tell(registry.Notice{Session: &registry.SessionNotice{
		Hub: session.id.Hub, DeviceID: session.id.DeviceID, ModuleID: session.module,
		Node: s.config.Node, Connection: session.h.c.id, Sequence: session.connectSeq, Fresh: fresh,
	}})
}

// hear takes a notice of another process, or of the management side.
func (s *Server) hear(n registry.Notice, answer func([]byte)) {
	switch {
	case n.Session != nil:
		ends, stays := s.sessions.takenOver(n.Session)
		if ends != nil {
			ends.end(End{TakenOver, ReasonTakenOver, fmt.Sprintf("the device has connected again, to hub process %q", clip(n.Session.Node))})
		}
		if stays != nil {
			s.announce(stays, false)
		}
	case n.Desired != nil:
		d := n.Desired
		if session := s.sessions.of(deviceKey{d.Hub, d.DeviceID, d.ModuleID}); session != nil && session.deliver != nil {
			session.deliver(Delivery{Desired: d.Patch, Version: d.Version})
		}
	case n.Method != nil:
		m := n.Method
		if session := s.sessions.of(deviceKey{m.Hub, m.DeviceID, m.ModuleID}); session != nil && session.deliver != nil {
			session.call(m, answer)
		}
	}
}
