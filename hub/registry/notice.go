package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
)

// A Notice is what the hub processes that share a registry tell each other. One
// of its fields is set. Notices are not kept: who is away misses them.
type Notice struct {
	Session *SessionNotice `json:"session,omitempty"`
}

// A SessionNotice says that a device has a session with a process, so that it
// has none with another.
type SessionNotice struct {
	Hub      string `json:"hub"`
	DeviceID string `json:"device"`
	ModuleID string `json:"module,omitempty"`
	// Node and Connection are where the session is, Sequence is that of its
	// deviceConnect: the higher one is the later.
	Node       string   `json:"node"`
	Connection [16]byte `json:"connection"`
	Sequence   int64    `json:"sequence"`
	// Fresh: the device has connected just now. Otherwise this is told again,
	// after processes could not hear each other.
	Fresh bool `json:"fresh,omitempty"`
}

// ErrNoAnswer is returned by Store.Ask when nobody has answered in time.
var ErrNoAnswer = errors.New("no answer")

// A processID tells this process's notices from others'.
type processID [16]byte

func newProcessID() (id processID) {
	rand.Read(id[:])
	return id
}

// encodeNotice puts the sender's id before the notice: most of what a process
// hears it has said itself, and that costs a comparison only.
func (c *Cache) encodeNotice(n Notice) []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // our own types always marshal
	}
	return append(c.self[:len(c.self):len(c.self)], b...)
}

// Tell sends a notice to the other processes. It does not wait for them.
func (c *Cache) Tell(n Notice) {
	if err := c.registry.store.Tell(c.encodeNotice(n)); err != nil {
		c.log.Warn("other hub processes cannot be told", "error", err)
	}
}

// Ask sends a notice to the other processes and returns the first answer, or
// ErrNoAnswer when ctx ends before there is one.
func (c *Cache) Ask(ctx context.Context, n Notice) ([]byte, error) {
	return c.registry.store.Ask(ctx, c.encodeNotice(n))
}

// Listen calls f for each notice of another process, one at a time; f must not
// block. answer, which f may call later and from any goroutine, answers who has
// asked; of several answers the first counts. The returned function ends it.
func (c *Cache) Listen(f func(n Notice, answer func([]byte))) (stop func(), err error) {
	return c.registry.store.Listen(func(data []byte, answer func([]byte)) {
		if len(data) < len(c.self) || bytes.Equal(data[:len(c.self)], c.self[:]) {
			return
		}
		var n Notice
		if err := json.Unmarshal(data[len(c.self):], &n); err != nil {
			c.log.Warn("a notice of another hub process is not understood", "error", fmt.Sprint(err))
			return
		}
		f(n, answer)
	})
}
