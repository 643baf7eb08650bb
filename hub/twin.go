package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"hubscope/hub/registry"
	"hubscope/ingest"
)

// A Delivery is something that the back end has for a device: a change of its
// desired properties, or a call of a direct method.
type Delivery struct {
	// Desired is the JSON of a patch, and Version the desired properties' after it.
	Desired []byte
	Version int64
	// Method is the name of a direct method; the answer is given to
	// Session.MethodDone with the CallID. Without a CallID it is only asked
	// whether the device takes methods.
	Method  string
	Payload []byte
	CallID  string
}

// Twin returns the twin's properties as devices read them.
func (s *Session) Twin(ctx context.Context) ([]byte, error) {
	t, err := s.registry().Twin(ctx, s.id.Hub, s.id.DeviceID, s.module)
	s.count(ingest.TwinRead, err)
	if err != nil {
		return nil, err
	}
	return t.DeviceJSON(), nil
}

// count notes the outcome of an operation for the metrics.
func (s *Session) count(operation string, err error) {
	s.h.c.server.metrics.operation(s.id.Hub, operation, err == nil)
}

// ErrBadReport is returned by Session.Report for what is no JSON object within
// the limits of reported properties.
var ErrBadReport = errors.New("not a JSON object within the limits of reported properties")

// Report merges a patch into the reported properties and returns their version.
func (s *Session) Report(ctx context.Context, patch []byte) (version int64, err error) {
	defer func() { s.count(ingest.TwinReport, err) }()
	values, err := registry.DecodeProperties(patch)
	if err != nil {
		return 0, ErrBadReport
	}
	t, err := s.registry().Report(ctx, s.id.Hub, s.id.DeviceID, s.module, values)
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return 0, ErrBadReport
	}
	if err != nil {
		return 0, err
	}
	return t.Reported.Version, nil
}

func (s *Session) registry() *registry.Registry { return s.h.c.server.config.Registry.Registry() }

// call hands a direct method to the device; answer gets the result, or nothing
// when there is none in time.
func (s *Session) call(m *registry.MethodNotice, answer func([]byte)) {
	if m.Name == "" {
		if s.deliver(Delivery{}) {
			answer(nil)
		}
		return
	}
	id := strconv.FormatInt(s.h.c.server.calls.Add(1), 16)
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]func([]byte){}
	}
	s.calls[id] = answer
	s.mu.Unlock()
	payload := []byte(m.Payload)
	if payload == nil {
		payload = []byte("null")
	}
	silent := func() {
		if s.callDone(id) != nil {
			s.count(ingest.DirectMethod, registry.ErrTimeout)
		}
	}
	if !s.deliver(Delivery{Method: m.Name, Payload: payload, CallID: id}) {
		silent()
		return
	}
	time.AfterFunc(m.Timeout, silent)
}

// callDone takes a call from those that wait.
func (s *Session) callDone(id string) func([]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.calls[id]
	delete(s.calls, id)
	if len(s.calls) == 0 {
		s.calls = nil
	}
	return answer
}

// MethodDone takes the device's answer to a direct method. An answer that nobody
// waits for is passed over.
func (s *Session) MethodDone(id string, status int, payload []byte) {
	answer := s.callDone(id)
	if answer == nil {
		return
	}
	s.count(ingest.DirectMethod, nil)
	result := registry.MethodResult{Status: status, Payload: json.RawMessage("null")}
	if json.Valid(payload) {
		result.Payload = payload
	} else if len(payload) > 0 {
		result.Payload, _ = json.Marshal(string(payload)) //nolint:errcheck // a string is always written
	}
	data, err := json.Marshal(result)
	if err != nil {
		panic(err) // the payload was looked at
	}
	answer(data)
}
