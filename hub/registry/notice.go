package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Notice is what the hub processes that share a registry tell each other. One
// of its fields is set. Notices are not kept: who is away misses them.
type Notice struct {
	Session *SessionNotice `json:"session,omitempty"`
	Desired *DesiredNotice `json:"desired,omitempty"`
	Method  *MethodNotice  `json:"method,omitempty"`
}

// A DesiredNotice is a change of a twin's desired properties, for the device.
type DesiredNotice struct {
	Hub      string          `json:"hub"`
	DeviceID string          `json:"device"`
	ModuleID string          `json:"module,omitempty"`
	Patch    json.RawMessage `json:"patch"`
	Version  int64           `json:"version"`
}

// A MethodNotice calls a direct method. The process that has the device answers
// with a MethodResult; without a Name it only says that it has.
type MethodNotice struct {
	Hub      string          `json:"hub"`
	DeviceID string          `json:"device"`
	ModuleID string          `json:"module,omitempty"`
	Name     string          `json:"name,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Timeout  time.Duration   `json:"timeout"`
}

// A MethodResult is what a device answers.
type MethodResult struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
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

// from puts the sender's id before the notice: most of what a process hears it
// has said itself, and that costs a comparison only.
func (n Notice) from(sender processID) []byte {
	return append(sender[:len(sender):len(sender)], encode(n)...)
}

// Tell sends a notice to the other processes. It does not wait for them.
func (c *Cache) Tell(n Notice) {
	if err := c.registry.store.Tell(n.from(c.self)); err != nil {
		c.log.Warn("other hub processes cannot be told", "error", err)
	}
}

// tell sends a notice to all processes, the own one too.
func (r *Registry) tell(n Notice) error {
	if err := r.store.Tell(n.from(processID{})); err != nil {
		return fmt.Errorf("tell the hub processes: %w", err)
	}
	return nil
}

// Times of a direct method, Azure's.
const (
	minMethodTimeout     = 5 * time.Second
	maxMethodTimeout     = 300 * time.Second
	defaultMethodTimeout = 30 * time.Second
	// findDevice is how long the process that has a device may take to say so.
	findDevice = 500 * time.Millisecond
)

// ErrNotOnline is returned for a device that is not connected, or does not
// listen to methods; ErrTimeout for one that does not answer.
var (
	ErrNotOnline = errors.New("the device is not online")
	ErrTimeout   = errors.New("the device did not answer in time")
)

// CallMethod calls a direct method of a device, or of a module, wherever it is
// connected. It waits up to connect for the device, and up to timeout for its
// answer.
func (r *Registry) CallMethod(ctx context.Context, n MethodNotice, connect time.Duration) (*MethodResult, error) {
	if _, err := r.identity(ctx, n.Hub, n.DeviceID, n.ModuleID); err != nil {
		return nil, err
	}
	ask := func(n MethodNotice, patience time.Duration) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return r.store.Ask(ctx, Notice{Method: &n}.from(processID{}))
	}
	where := n
	where.Name, where.Payload = "", nil
	for begin := time.Now(); ; {
		_, err := ask(where, findDevice)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNoAnswer) {
			return nil, err
		}
		if ctx.Err() != nil || time.Since(begin) >= connect {
			return nil, ErrNotOnline
		}
		select { // an answer of nobody comes at once
		case <-time.After(findDevice):
		case <-ctx.Done():
		}
	}
	answer, err := ask(n, n.Timeout)
	if errors.Is(err, ErrNoAnswer) {
		return nil, ErrTimeout
	}
	if err != nil {
		return nil, err
	}
	result := new(MethodResult)
	if err := json.Unmarshal(answer, result); err != nil {
		return nil, fmt.Errorf("answer of a hub process: %w", err)
	}
	return result, nil
}

// Listen calls f for each notice of another process, or of the management side,
// one at a time; f must not block. answer, which f may call later and from any
// goroutine, answers who has asked; of several answers the first counts. The
// returned function ends it.
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
