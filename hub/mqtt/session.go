package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"hubscope/hub"
)

// A session is one client from its CONNECT to the end of its connection.
type session struct {
	hub       *hub.Conn
	conn      net.Conn // the stream: hub's own, or one that travels in it
	opened    *hub.Session
	device    string
	module    string
	keepAlive time.Duration
	version   byte
	will      *will
	filters   []string      // subscriptions; only the reader's
	takes     atomic.Uint32 // of deliveries, by subscription: takesDesired, takesMethods

	mu      sync.Mutex
	unsent  []byte // waits to be written
	writing bool   // by some goroutine
	failed  *hub.End
	pending []pending // messages that wait to be accepted, in order
	waiting int       // those with QoS 0
	drained sync.Cond // fewer are pending, or the session is over
	jobs    []func()  // requests about the twin, in order
	working bool      // some goroutine does them
}

// What a session is subscribed to.
const (
	takesDesired = 1 << iota
	takesMethods
	takesAnswers // to its requests about the twin
)

// maxJobs is how many requests about the twin may wait.
const maxJobs = 32

// A will is the message that is sent when the client vanishes.
type will struct {
	properties []hub.Property
	body       []byte
}

// A pending message has QoS 1.
type pending struct {
	id   uint16
	done bool
}

// Speak implements hub.Speaker. Its frames and those below must stay small
// while it waits: they are what an idle device costs.
func (s *session) Speak(ctx context.Context) hub.End {
	end := s.read(ctx)
	s.mu.Lock()
	if s.failed != nil {
		end = s.failed
	}
	s.mu.Unlock()
	s.flush()
	if end.Reason != hub.ReasonClientDisconnect {
		s.sendWill(ctx)
	}
	return *end
}

// read handles packets until the connection is over.
func (s *session) read(ctx context.Context) *hub.End {
	var first [1]byte
	for {
		s.conn.SetReadDeadline(time.Now().Add(s.keepAlive))
		if end := s.over(); end != nil { // looked at after the deadline is set: cut sets one in the past
			return end
		}
		if _, err := s.conn.Read(first[:]); err != nil {
			if end := s.over(); end != nil {
				return end
			}
			end := s.hub.EndOfRead(err)
			if end.Reason == hub.ReasonKeepAliveTimeout {
				s.disconnect(packets.ErrKeepAliveTimeout)
			}
			return &end
		}
		if end := s.handle(ctx, first[0]); end != nil {
			return end
		}
	}
}

// over returns the end that somebody else has decided.
func (s *session) over() *hub.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// fail ends the session from outside of the reader.
func (s *session) fail(end hub.End) {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = &end
	}
	s.drained.Broadcast()
	s.mu.Unlock()
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// cut is called when the hub ends the session.
func (s *session) cut(end hub.End) {
	code := packets.ErrAdministrativeAction
	switch end.Reason {
	case hub.ReasonTakenOver:
		code = packets.ErrSessionTakenOver
	case hub.ReasonTokenExpired:
		code = packets.ErrNotAuthorized
	case hub.ReasonShutdown:
		code = packets.ErrServerShuttingDown
	}
	s.disconnect(code)
	s.fail(end)
}

// disconnect tells an MQTT 5 client why; 3.1.1 has no such packet.
func (s *session) disconnect(code packets.Code) {
	if s.version == 5 {
		s.enqueue(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: 5, ReasonCode: code.Code})
	}
}

// readHeader reads the rest of a fixed header whose first byte is there.
func (s *session) readHeader(first byte) (fh packets.FixedHeader, end *hub.End) {
	if err := fh.Decode(first); err != nil {
		return fh, protocolError("%v", err)
	}
	var b [1]byte
	for shift := 0; ; shift += 7 {
		if shift > 21 { // [MQTT-2.2.3]: at most four bytes
			return fh, protocolError("malformed remaining length")
		}
		if _, err := io.ReadFull(s.conn, b[:]); err != nil {
			end := s.hub.EndOfRead(err)
			return fh, &end
		}
		fh.Remaining |= int(b[0]&0x7f) << shift
		if b[0]&0x80 == 0 {
			break
		}
	}
	if fh.Remaining > MaxMessage {
		return fh, &hub.End{Result: hub.MessageTooLarge, Reason: hub.ReasonMessageTooLarge,
			Description: fmt.Sprintf("an MQTT packet of %d bytes; %d are allowed", fh.Remaining, MaxMessage)}
	}
	return fh, nil
}

// readBody reads and decodes what follows a fixed header. Memory grows with what
// has come, not with what is announced.
func (s *session) readBody(fh packets.FixedHeader) (*packets.Packet, *hub.End) {
	const step = 16 << 10
	body := make([]byte, 0, min(fh.Remaining, step))
	for len(body) < fh.Remaining {
		n := min(fh.Remaining-len(body), step)
		body = slices.Grow(body, n)
		if _, err := io.ReadFull(s.conn, body[len(body):len(body)+n]); err != nil {
			end := s.hub.EndOfRead(err)
			return nil, &end
		}
		body = body[:len(body)+n]
	}
	pk := &packets.Packet{FixedHeader: fh, ProtocolVersion: s.version}
	if err := decode(pk, body); err != nil {
		return nil, protocolError("%v", err)
	}
	return pk, nil
}

// decode decodes a packet. The packet library reads behind the end of some short
// packets; that must not be more than a malformed one.
func decode(pk *packets.Packet, body []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = packets.ErrMalformedPacket
		}
	}()
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Subscribe:
		return pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		return pk.UnsubscribeDecode(body)
	case packets.Pingreq:
		return nil
	case packets.Disconnect:
		if pk.ProtocolVersion == 5 {
			return pk.DisconnectDecode(body)
		}
		return nil
	}
	return fmt.Errorf("packet type %d is not for a client to send here", pk.FixedHeader.Type)
}

// handle reads the rest of a packet and does what it says.
func (s *session) handle(ctx context.Context, first byte) *hub.End {
	var pk *packets.Packet
	fh, end := s.readHeader(first)
	if end == nil {
		pk, end = s.readBody(fh)
	}
	if end == nil {
		end = s.do(ctx, pk)
	}
	if end != nil {
		switch end.Reason {
		case hub.ReasonProtocolError:
			s.disconnect(packets.ErrProtocolViolation)
		case hub.ReasonMessageTooLarge:
			s.disconnect(packets.ErrPacketTooLarge)
		}
	}
	return end
}

func (s *session) do(ctx context.Context, pk *packets.Packet) *hub.End {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return s.publish(ctx, pk)
	case packets.Subscribe:
		return s.subscribe(pk)
	case packets.Unsubscribe:
		return s.unsubscribe(pk)
	case packets.Pingreq:
		s.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
		return nil
	case packets.Puback:
		return nil // nothing is sent with QoS 1 that would wait for it
	case packets.Disconnect:
		if pk.ReasonCode == packets.CodeDisconnectWillMessage.Code {
			s.sendWill(ctx)
		}
		s.will = nil // [MQTT-3.14.4-3]
		return &hub.End{Reason: hub.ReasonClientDisconnect}
	}
	return protocolError("a second CONNECT") // [MQTT-3.1.0-2]
}

// publish takes a message of the device.
func (s *session) publish(ctx context.Context, pk *packets.Packet) *hub.End {
	if pk.FixedHeader.Qos == 2 {
		s.disconnect(packets.ErrQosNotSupported)
		return notSupported("a message with QoS 2")
	}
	if code := pk.PublishValidate(0); code != packets.CodeSuccess {
		return protocolError("PUBLISH: %s", code.Reason)
	}
	t, ok := parseTopic(pk.TopicName, s.device, s.module)
	if !ok {
		s.disconnect(packets.ErrTopicNameInvalid)
		return notSupported("publish to topic %q", clip(pk.TopicName))
	}
	if t.kind == topicEvents {
		return s.telemetry(ctx, pk, t.properties)
	}
	if pk.FixedHeader.Qos == 1 {
		s.mu.Lock()
		s.pending = append(s.pending, pending{pk.PacketID, true}) // behind what waits [MQTT-4.6.0-2]
		s.acknowledge()
		s.mu.Unlock()
	}
	// Who has not subscribed to answers gets none.
	answer := func(string, []byte) {}
	if s.takes.Load()&takesAnswers != 0 {
		answer = s.answer
	}
	switch t.kind {
	case topicTwinGet:
		s.later(func() { s.readTwin(ctx, t.requestID, answer) }, func() { answer("429/?$rid="+t.requestID, nil) })
	case topicTwinPatch:
		s.later(func() { s.report(ctx, t.requestID, pk.Payload, answer) }, func() { answer("429/?$rid="+t.requestID, nil) })
	case topicMethodDone:
		s.opened.MethodDone(t.requestID, t.status, pk.Payload)
	}
	return nil
}

// later does a request about the twin in another goroutine, one after the other:
// the store answers in milliseconds, for which the reader does not wait, and
// whose deep stack would stay with an idle session. When too many wait, tooMany
// is called instead.
func (s *session) later(job, tooMany func()) {
	s.mu.Lock()
	full := len(s.jobs) >= maxJobs
	if !full {
		s.jobs = append(s.jobs, job)
		if !s.working {
			s.working = true
			go s.work()
		}
	}
	s.mu.Unlock()
	if full {
		tooMany()
	}
}

// work does jobs until there is none.
func (s *session) work() {
	for {
		s.mu.Lock()
		if len(s.jobs) == 0 {
			s.jobs, s.working = nil, false
			s.mu.Unlock()
			return
		}
		job := s.jobs[0]
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
		job()
	}
}

// storeTimeout bounds a request about the twin.
const storeTimeout = 10 * time.Second

func (s *session) readTwin(ctx context.Context, requestID string, answer func(string, []byte)) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	doc, err := s.opened.Twin(ctx)
	status := "200"
	if err != nil {
		status, doc = "500", nil
	}
	answer(status+"/?$rid="+requestID, doc)
}

func (s *session) report(ctx context.Context, requestID string, patch []byte, answer func(string, []byte)) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	version, err := s.opened.Report(ctx, patch)
	switch {
	case errors.Is(err, hub.ErrBadReport):
		answer("400/?$rid="+requestID, nil)
	case err != nil:
		answer("500/?$rid="+requestID, nil)
	default:
		answer("204/?$rid="+requestID+"&$version="+strconv.FormatInt(version, 10), nil)
	}
}

// deliver is called by the hub with what the back end has for the device.
func (s *session) deliver(d hub.Delivery) bool {
	topic, body := "$iothub/twin/PATCH/properties/desired/?$version="+strconv.FormatInt(d.Version, 10), d.Desired
	needs := uint32(takesDesired)
	if d.Desired == nil {
		topic, body, needs = "$iothub/methods/POST/"+d.Method+"/?$rid="+d.CallID, d.Payload, takesMethods
	}
	if s.takes.Load()&needs == 0 {
		return false
	}
	if d.Desired != nil || d.CallID != "" {
		s.enqueue(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: body})
	}
	return true
}

// telemetry hands a message on. The packet is not used again, so its memory may
// be kept by who takes it.
func (s *session) telemetry(ctx context.Context, pk *packets.Packet, properties []hub.Property) *hub.End {
	if pk.FixedHeader.Retain {
		properties = append(properties, retained)
	}
	if p := &pk.Properties; s.version == 5 {
		if p.ContentType != "" {
			properties = append(properties, hub.Property{Name: "$.ct", Value: p.ContentType})
		}
		for _, u := range p.User {
			properties = append(properties, hub.Property{Name: u.Key, Value: u.Val})
		}
	}
	s.mu.Lock()
	for len(s.pending)+s.waiting >= maxInFlight && s.failed == nil {
		s.drained.Wait()
	}
	if s.failed != nil {
		s.mu.Unlock()
		return s.failed
	}
	if pk.FixedHeader.Qos == 1 {
		s.pending = append(s.pending, pending{id: pk.PacketID})
	} else {
		s.waiting++
	}
	s.mu.Unlock()
	s.opened.Publish(ctx, properties, pk.Payload, s.accepted(pk.FixedHeader.Qos, pk.PacketID))
	return nil
}

// accepted returns what is called when a message is safe, or is not.
func (s *session) accepted(qos byte, id uint16) func(error) {
	return func(err error) {
		if err != nil && qos == 1 {
			// Without PUBACK the device sends it again, on its next connection.
			s.disconnect(packets.ErrServerBusy)
			s.fail(hub.End{Result: hub.ServerError, Reason: hub.ReasonUnavailable, Description: "a message could not be stored"})
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drained.Broadcast()
		if qos == 0 {
			s.waiting--
			return
		}
		for i := range s.pending {
			if p := &s.pending[i]; p.id == id && !p.done {
				p.done = true
				break
			}
		}
		s.acknowledge()
	}
}

// acknowledge sends PUBACK for the messages at the head of the line that are
// done. The caller holds mu.
func (s *session) acknowledge() {
	n := 0
	for n < len(s.pending) && s.pending[n].done {
		id := s.pending[n].id
		// The same in 3.1.1 and 5: success needs no reason code there.
		s.unsent = append(s.unsent, packets.Puback<<4, 2, byte(id>>8), byte(id))
		n++
	}
	if s.pending = slices.Delete(s.pending, 0, n); len(s.pending) == 0 {
		s.pending = nil // an idle session keeps no buffer
	}
	if n > 0 && !s.writing {
		s.writing = true
		go s.write()
	}
}

// subscribe grants the filters of a device.
func (s *session) subscribe(pk *packets.Packet) *hub.End {
	if code := pk.SubscribeValidate(); code != packets.CodeSuccess {
		return protocolError("SUBSCRIBE: %s", code.Reason)
	}
	var granted []byte
	for _, f := range pk.Filters {
		if !filterAllowed(f.Filter, s.device, s.module) {
			s.disconnect(packets.ErrTopicFilterInvalid)
			return notSupported("subscribe to %q", clip(f.Filter))
		}
		if !slices.Contains(s.filters, f.Filter) {
			if len(s.filters) == maxSubscriptions {
				s.disconnect(packets.ErrQuotaExceeded)
				return notSupported("more than %d subscriptions", maxSubscriptions)
			}
			s.filters = append(s.filters, string([]byte(f.Filter)))
		}
		granted = append(granted, min(f.Qos, 1)) // Azure grants 1 for 2
	}
	s.subscribed()
	s.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Suback}, PacketID: pk.PacketID, ReasonCodes: granted})
	return nil
}

// subscribed notes for other goroutines what the session takes.
func (s *session) subscribed() {
	var takes uint32
	for _, f := range s.filters {
		switch f {
		case desiredChanges:
			takes |= takesDesired
		case methodCalls:
			takes |= takesMethods
		case twinAnswers:
			takes |= takesAnswers
		}
	}
	s.takes.Store(takes)
}

func (s *session) unsubscribe(pk *packets.Packet) *hub.End {
	if code := pk.UnsubscribeValidate(); code != packets.CodeSuccess {
		return protocolError("UNSUBSCRIBE: %s", code.Reason)
	}
	var codes []byte
	for _, f := range pk.Filters {
		code := packets.CodeNoSubscriptionExisted.Code
		if i := slices.Index(s.filters, f.Filter); i >= 0 {
			s.filters = slices.Delete(s.filters, i, i+1)
			code = packets.CodeSuccess.Code
		}
		codes = append(codes, code)
	}
	s.subscribed()
	s.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsuback}, PacketID: pk.PacketID, ReasonCodes: codes})
	return nil
}

// answer sends the answer to a twin request, to this client only: its topic is
// the same for all devices.
func (s *session) answer(status string, body []byte) {
	s.enqueue(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "$iothub/twin/res/" + status, Payload: body})
}

// sendWill publishes the will, once.
func (s *session) sendWill(ctx context.Context) {
	w := s.will
	if s.will = nil; w != nil {
		s.opened.Publish(ctx, w.properties, w.body, func(error) {})
	}
}

// encode appends a packet in the session's version.
func (s *session) encode(b []byte, pk *packets.Packet) []byte {
	pk.ProtocolVersion = s.version
	pk.Mods.AllowResponseInfo = true
	buf := bytes.NewBuffer(b)
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackEncode(buf)
	case packets.Suback:
		err = pk.SubackEncode(buf)
	case packets.Unsuback:
		err = pk.UnsubackEncode(buf)
	case packets.Pingresp:
		err = pk.PingrespEncode(buf)
	case packets.Publish:
		err = pk.PublishEncode(buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(buf)
	default:
		panic(fmt.Sprintf("packet type %d is not sent", pk.FixedHeader.Type))
	}
	if err != nil {
		panic(err) // our own packets can be encoded
	}
	return buf.Bytes()
}

// enqueue sends a packet and does not wait.
func (s *session) enqueue(pk *packets.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent = s.encode(s.unsent, pk)
	if len(s.unsent) > maxUnsent && s.failed == nil {
		go s.fail(slowReader)
	}
	if !s.writing {
		s.writing = true
		go s.write()
	}
}

// send sends a packet from the session's own goroutine, which writes it itself
// unless somebody else is writing.
func (s *session) send(pk *packets.Packet) {
	s.mu.Lock()
	s.unsent = s.encode(s.unsent, pk)
	if s.writing {
		full := len(s.unsent) > maxUnsent
		s.mu.Unlock()
		if full {
			s.fail(slowReader)
		}
		return
	}
	s.writing = true
	s.mu.Unlock()
	s.write()
}

var slowReader = hub.End{Result: hub.ClosedRemotely, Reason: hub.ReasonSlowReader, Description: "the client does not read what is sent to it"}

// write writes what waits, until nothing does. Only one goroutine is in it.
func (s *session) write() {
	for {
		s.mu.Lock()
		b := s.unsent
		s.unsent = nil
		if len(b) == 0 {
			s.writing = false
			s.drained.Broadcast()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := s.conn.Write(b); err != nil {
			s.mu.Lock()
			s.unsent, s.writing = nil, false
			s.drained.Broadcast()
			s.mu.Unlock()
			end := slowReader
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				end = s.hub.EndOfRead(err)
			}
			s.fail(end)
			return
		}
	}
}

// flush waits until everything is written, or cannot be.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		s.drained.Wait()
	}
}
