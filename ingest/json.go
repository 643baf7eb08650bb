package ingest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// columnByName maps the names of [Connections] to columns.
var columnByName = func() map[string]*Column {
	m := make(map[string]*Column, len(Connections))
	for i := range Connections {
		m[Connections[i].Name] = &Connections[i]
	}
	return m
}()

// UnmarshalJSON reads an object whose keys are column names of [Connections]:
// datetime as RFC 3339 text, guid as text, dynamic columns as arrays of
// strings. Unknown keys are errors, so that a misspelt column is not lost.
// It implements [json.Unmarshaler].
func (e *Event) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	*e = Event{}
	for name, raw := range fields {
		c := columnByName[name]
		if c == nil {
			return fmt.Errorf("no column %q in Connections", name)
		}
		if bytes.Equal(raw, []byte("null")) {
			continue
		}
		if err := c.setJSON(e, raw); err != nil {
			return fmt.Errorf("column %s (%s): %w", name, c.Type, err)
		}
	}
	return nil
}

func (c *Column) setJSON(e *Event, raw json.RawMessage) error {
	switch {
	case c.str != nil:
		return json.Unmarshal(raw, c.str(e))
	case c.long != nil:
		return json.Unmarshal(raw, c.long(e))
	case c.flag != nil:
		return json.Unmarshal(raw, c.flag(e))
	case c.list != nil:
		return json.Unmarshal(raw, c.list(e))
	case c.time != nil:
		t := c.time(e)
		if err := json.Unmarshal(raw, t); err != nil {
			return err
		}
		if n := Ticks(*t); n < MinTicks || n > MaxTicks {
			return fmt.Errorf("%s is outside the years 1900 to 2299", t.Format(time.RFC3339))
		}
		return nil
	default:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		id, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if err != nil || len(id) != 16 {
			return fmt.Errorf("%q is not a guid", s)
		}
		copy(c.guid(e)[:], id)
		return nil
	}
}

// Validate says what makes e unfit to be stored: no time, no hub, or no
// operation name.
func (e *Event) Validate() error {
	switch {
	case e.TimeGenerated.IsZero():
		return fmt.Errorf("event without TimeGenerated")
	case e.Hub == "":
		return fmt.Errorf("event without Hub")
	case e.OperationName == "":
		return fmt.Errorf("event without OperationName")
	}
	return nil
}
