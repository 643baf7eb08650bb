package ingest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// Segment is a stretch of the event streams on its way to one reader that
// follows them; package stream makes them.
type Segment struct {
	// Events in the order of the streams; none when only time has passed. They
	// are shared among readers: read only.
	Events []Arrival
	// Skipped counts events before these that the reader was too slow for.
	Skipped int64
	// Gone says that some events before these have left the stream unread.
	Gone bool
	// Cursor is where a reader that has seen these events goes on.
	Cursor string
}

// Arrival is an event and when the stream stored it.
type Arrival struct {
	Event
	Time time.Time
}

// Start says where a reader begins to follow the streams: behind Cursor, or
// else with what was stored at Since or later, or else with what comes.
type Start struct {
	Cursor string
	Since  time.Time
}

// ErrCursor says that a text is no cursor.
var ErrCursor = errors.New("not a position in the event streams")

// Number returns what a column of numbers, bool (0 or 1) or datetime ([Ticks],
// 0 for none) has in e.
func (c *Column) Number(e *Event) int64 {
	switch {
	case c.long != nil:
		return *c.long(e)
	case c.time != nil:
		return Ticks(*c.time(e))
	case c.flag != nil && *c.flag(e):
		return 1
	}
	return 0
}

// Text returns what a column of text, guid or dynamic has in e: a guid in its
// usual form, a list as a JSON array, an empty list as "".
func (c *Column) Text(e *Event) string {
	switch {
	case c.str != nil:
		return *c.str(e)
	case c.guid != nil:
		h := hex.EncodeToString(c.guid(e)[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	case c.list != nil && len(*c.list(e)) > 0:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.Encode(*c.list(e)) //nolint:errcheck // strings always have a JSON form
		return string(bytes.TrimSpace(b.Bytes()))
	}
	return ""
}
