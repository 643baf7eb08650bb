package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams and the first tokens of their subjects.
const (
	EventsStream      = "EVENTS"
	TelemetryStream   = "TELEMETRY"
	DeadLetterStream  = "DEADLETTER"
	eventsSubject     = "hubscope.events"
	telemetrySubject  = "hubscope.telemetry"
	deadLetterSubject = "hubscope.deadletter"
)

// Limits bound a stream.
type Limits struct {
	// MaxAge after which messages are removed, consumed or not; 0 never.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxBytes on disk. A full stream refuses messages, DEADLETTER removes its
	// oldest. JetStream reserves the bytes; when the server has fewer, it gets
	// what there is, halved until it fits.
	MaxBytes int64 `yaml:"max_bytes"`
}

// Streams is the configuration of all streams.
type Streams struct {
	// Partitions of the events; each has a stream and one active collector.
	// It can grow, and then again only after the streams were drained: a
	// device's events would otherwise be in two.
	Partitions int `yaml:"partitions"`
	// Replicas in a NATS cluster, 1, 3 or 5.
	Replicas int `yaml:"replicas"`
	// Duplicates is how long the broker remembers message ids.
	Duplicates time.Duration `yaml:"duplicates"`
	// Keep is how long stored events stay in the stream, for a publisher that
	// lost an acknowledgement and looks for it. A stream more than half full
	// keeps them for two Duplicates windows only.
	Keep time.Duration `yaml:"keep"`

	Events      Limits `yaml:"events"`
	Telemetry   Limits `yaml:"telemetry"`
	DeadLetters Limits `yaml:"dead_letters"`
}

// DefaultStreams returns what suits one machine. Events have no age limit:
// they leave when they are stored.
func DefaultStreams() Streams {
	return Streams{
		Partitions: 1, Replicas: 1, Duplicates: 10 * time.Minute, Keep: 24 * time.Hour,
		Events:      Limits{MaxBytes: 8 << 30},
		Telemetry:   Limits{MaxAge: 24 * time.Hour, MaxBytes: 1 << 30},
		DeadLetters: Limits{MaxBytes: 256 << 20},
	}
}

// Validate says what cannot be.
func (s Streams) Validate() error {
	switch {
	case s.Partitions < 1 || s.Partitions > 256:
		return fmt.Errorf("streams: %d partitions, want 1 to 256", s.Partitions)
	case s.Replicas < 1 || s.Replicas > 5:
		return fmt.Errorf("streams: %d replicas, want 1 to 5", s.Replicas)
	case s.Duplicates < 10*time.Second:
		return fmt.Errorf("streams: duplicates window %v, want 10s or more", s.Duplicates)
	case s.Keep < 2*s.Duplicates:
		return fmt.Errorf("streams: keep %v, want at least two duplicates windows, %v", s.Keep, 2*s.Duplicates)
	}
	for name, l := range map[string]Limits{"events": s.Events, "telemetry": s.Telemetry, "dead_letters": s.DeadLetters} {
		if l.MaxAge < 0 || l.MaxBytes < 0 {
			return fmt.Errorf("streams: %s: limits below zero", name)
		}
		if l.MaxAge > 0 && l.MaxAge < s.Duplicates {
			return fmt.Errorf("streams: %s: max_age %v is shorter than the duplicates window %v", name, l.MaxAge, s.Duplicates)
		}
	}
	return nil
}

// EventStreams returns the names of the event streams, one a partition.
func (s Streams) EventStreams() []string {
	if s.Partitions <= 1 {
		return []string{EventsStream}
	}
	names := make([]string, s.Partitions)
	for p := range names {
		names[p] = EventsStream + "-" + strconv.Itoa(p)
	}
	return names
}

// configs returns the definition of every stream, the small ones first: each
// reserves its size, and the events' must not leave nothing for the others.
func (s Streams) configs() []jetstream.StreamConfig {
	base := func(name, doc string, l Limits, subjects ...string) jetstream.StreamConfig {
		c := jetstream.StreamConfig{
			Name: name, Description: doc, Subjects: subjects,
			Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			MaxAge: l.MaxAge, MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: -1, MaxConsumers: -1,
			Replicas: s.Replicas, Duplicates: s.Duplicates, AllowDirect: true,
		}
		if l.MaxBytes > 0 {
			c.MaxBytes = l.MaxBytes
		}
		return c
	}
	dead := base(DeadLetterStream, "messages and events that could not be stored, with the reason", s.DeadLetters, deadLetterSubject+".>")
	// Garbage must never hold up good events, so here the oldest gives way.
	dead.Discard = jetstream.DiscardOld
	all := []jetstream.StreamConfig{dead, base(TelemetryStream, "device messages", s.Telemetry, telemetrySubject+".>")}
	for p, name := range s.EventStreams() {
		subject := eventsSubject + ".>"
		if s.Partitions > 1 {
			subject = eventsSubject + "." + strconv.Itoa(p) + ".>"
		}
		all = append(all, base(name, "connection events", s.Events, subject))
	}
	return all
}

// Ensure makes the streams that are missing and leaves others as they are.
func (s Streams) Ensure(ctx context.Context, js jetstream.JetStream) error {
	for _, c := range s.configs() {
		if _, err := js.Stream(ctx, c.Name); err == nil {
			continue
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
		_, err := fitting(&c, func() (jetstream.Stream, error) { return js.CreateStream(ctx, c) })
		// Another process may have been quicker, with limits of its own.
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// Apply makes the streams that are missing and gives the others these limits.
func (s Streams) Apply(ctx context.Context, js jetstream.JetStream) error {
	for _, c := range s.configs() {
		if _, err := fitting(&c, func() (jetstream.Stream, error) { return js.CreateOrUpdateStream(ctx, c) }); err != nil {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// leastBytes is where halving a stream's size ends.
const leastBytes = 16 << 20

// codeInsufficientStorage: the server cannot reserve MaxBytes.
const codeInsufficientStorage jetstream.ErrorCode = 10047

func fitting(c *jetstream.StreamConfig, do func() (jetstream.Stream, error)) (jetstream.Stream, error) {
	for {
		st, err := do()
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != codeInsufficientStorage || c.MaxBytes/2 < leastBytes {
			return st, err
		}
		c.MaxBytes /= 2
	}
}

// token makes one subject token out of any text: what NATS gives a meaning,
// and '%' itself, is percent-encoded.
func token(s string) string {
	if s == "" {
		return "%"
	}
	if !strings.ContainsFunc(s, special) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; special(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// special is used on bytes: all of a multi-byte character are above '~'.
func special(c rune) bool {
	return c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>' || c == '%'
}
