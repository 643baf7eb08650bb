package handshake

import (
	"bytes"
	"errors"
)

// Limits of what is read before a ClientHello is complete.
const (
	// MaxHello is the longest ClientHello message that is accepted.
	MaxHello = 16 << 10
	// maxPeek bounds the records around it: a client may cut its message into
	// small records, but not into thousands.
	maxPeek = MaxHello + 4<<10
	// peekChunk is what most ClientHellos fit in, post-quantum key shares included.
	peekChunk = 2 << 10
)

// A Kind says what the first bytes of a connection were.
type Kind uint8

// What a peer can begin with.
const (
	KindNothing    Kind = iota // no byte came
	KindTLS                    // a TLS handshake record
	KindSSL2                   // an SSL 2.0 CLIENT-HELLO
	KindHTTP                   // a request line
	KindMQTT                   // an MQTT CONNECT
	KindAMQP                   // an AMQP protocol header
	KindSSH                    // an SSH identification
	KindProxy                  // a PROXY protocol header where none is expected
	KindTLSOther               // a TLS record that is no handshake
	KindUnknown                // anything else
	KindIncomplete             // too few bytes to tell
)

// Words names the kind in a sentence: "the client sent ...".
func (k Kind) Words() string {
	switch k {
	case KindNothing:
		return "nothing"
	case KindTLS:
		return "a TLS handshake"
	case KindSSL2:
		return "an SSL 2.0 ClientHello"
	case KindHTTP:
		return "plain HTTP"
	case KindMQTT:
		return "plain MQTT"
	case KindAMQP:
		return "plain AMQP"
	case KindSSH:
		return "SSH"
	case KindProxy:
		return "a PROXY protocol header"
	case KindTLSOther:
		return "a TLS record that is no handshake"
	case KindIncomplete:
		return "too few bytes to tell what they are"
	}
	return "bytes that are not TLS"
}

// errTooLong is returned for a ClientHello beyond the limits.
var errTooLong = errors.New("ClientHello too long")

// Peek reads until one ClientHello is complete, or until it is clear that none
// comes. What was read is given back by the next reads of t, so that an engine
// sees it all. The caller sets the deadline.
//
// With a nil error, hello is set and kind is KindTLS. A malformed or too long
// ClientHello, another protocol, and a reader's error (end of data and passed
// deadlines included) return an error; hello is then set only for KindSSL2.
func Peek(t *Transport) (hello *Hello, kind Kind, err error) {
	buf := make([]byte, 0, peekChunk)
	defer func() { t.replay = buf }()

	// fill reads until buf has n bytes.
	fill := func(n int) error {
		for len(buf) < n {
			if len(buf) == cap(buf) {
				grown := make([]byte, len(buf), min(2*cap(buf), maxPeek))
				copy(grown, buf)
				buf = grown
			}
			got, err := t.readWire(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+got]
			if err != nil && len(buf) < n {
				return err
			}
		}
		return nil
	}

	if err := fill(recordHeaderLen); err != nil {
		return nil, classify(buf), err
	}
	if kind = classify(buf); kind == KindSSL2 {
		n := int(buf[0]&0x7f)<<8 | int(buf[1])
		if n > 1<<10 {
			return nil, kind, errTooLong
		}
		if err := fill(2 + n); err != nil {
			return nil, kind, err
		}
		hello, err = parseSSL2Hello(buf[2 : 2+n])
		if err == nil {
			err = errNotTLS
		}
		return hello, kind, err
	}
	if kind != KindTLS {
		return nil, kind, errNotTLS
	}

	// Collect the message across records (RFC 8446 5.1). Most come in one, and
	// then nothing is copied.
	var message []byte
	for at, need := 0, 4; ; {
		if at+recordHeaderLen > maxPeek {
			return nil, kind, errTooLong
		}
		if err := fill(at + recordHeaderLen); err != nil {
			return nil, kind, err
		}
		n := int(buf[at+3])<<8 | int(buf[at+4])
		switch {
		case buf[at] != recordHandshake || buf[at+1] != 3:
			return nil, kind, helloError("interrupted by another record")
		case n == 0:
			return nil, kind, helloError("empty record")
		case n > MaxHello || at+recordHeaderLen+n > maxPeek:
			return nil, kind, errTooLong
		}
		if err := fill(at + recordHeaderLen + n); err != nil {
			return nil, kind, err
		}
		fragment := buf[at+recordHeaderLen : at+recordHeaderLen+n]
		at += recordHeaderLen + n
		if message == nil {
			message = fragment[:n:n]
		} else {
			message = append(message, fragment...)
		}
		if len(message) >= 4 && need == 4 {
			if message[0] != handshakeClientHello {
				return nil, kind, helloError("another handshake message")
			}
			if need = 4 + (int(message[1])<<16 | int(message[2])<<8 | int(message[3])); need > MaxHello {
				return nil, kind, errTooLong
			}
		}
		if len(message) >= need && need > 4 {
			// Nothing may follow in the same record: keys change after it.
			hello, err = ParseHello(message)
			return hello, kind, err
		}
		if need == 4 && len(message) >= 4 {
			return nil, kind, helloError("empty")
		}
	}
}

// errNotTLS says that the peer speaks something else.
var errNotTLS = errors.New("not TLS")

// classify tells by the first bytes what a peer speaks.
func classify(b []byte) Kind {
	if len(b) == 0 {
		return KindNothing
	}
	switch {
	case b[0] == recordHandshake && (len(b) < 2 || b[1] == 3):
		return KindTLS
	case b[0] >= recordChangeCipherSpec && b[0] <= recordApplicationData && (len(b) < 2 || b[1] == 3):
		return KindTLSOther
	case len(b) >= 5 && b[0]&0x80 != 0 && b[2] == 1 && (b[3] == 3 || b[3] == 0 && b[4] == 2):
		return KindSSL2
	case len(b) >= 4 && bytes.HasPrefix(b, []byte("SSH-")):
		return KindSSH
	case len(b) >= 4 && bytes.HasPrefix(b, []byte("AMQP")):
		return KindAMQP
	case bytes.HasPrefix(b, []byte("PROXY")) || bytes.HasPrefix(b, []byte("\r\n\r\n\x00")):
		return KindProxy
	case isPlainMQTT(b):
		return KindMQTT
	}
	for _, method := range []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI * "} {
		if n := min(len(b), len(method)); n >= 4 && string(b[:n]) == method[:n] {
			return KindHTTP
		}
	}
	if len(b) < recordHeaderLen {
		return KindIncomplete
	}
	return KindUnknown
}

// isPlainMQTT recognises a CONNECT packet: type 1 without flags, a remaining
// length of one to four bytes, and the length of "MQTT" or "MQIsdp"
// [MQTT-3.1.2-1].
func isPlainMQTT(b []byte) bool {
	if len(b) < 4 || b[0] != 0x10 {
		return false
	}
	i := 1
	for i < 4 && i < len(b) && b[i]&0x80 != 0 {
		i++
	}
	i++ // behind the remaining length
	rest := b[min(i, len(b)):]
	for j, want := range []byte{0, 4, 'M', 'Q'} {
		if j >= len(rest) {
			return j > 0
		}
		if rest[j] != want && !(j == 1 && rest[j] == 6) {
			return false
		}
	}
	return true
}
