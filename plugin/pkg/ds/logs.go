package ds

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// logs makes log lines, of any result with a time.
func (r *result) logs() (*data.Frame, []data.Notice, error) {
	at := r.timeColumn()
	if at < 0 {
		return nil, nil, fmt.Errorf("log lines need a datetime column, and %s: keep TimeGenerated, or choose the format Table", r.described())
	}
	named := map[string]*column{}
	for i, c := range r.columns {
		if i != at {
			named[c.name] = c
		}
	}
	var times []time.Time
	bodies, severities, ids := []string{}, []string{}, []string{}
	labels := []json.RawMessage{}
	level := firstOf(named, "Level", "level", "Severity", "severity")
	times = make([]time.Time, 0, r.rows)
	seen := map[string]int{}
	lost := 0
	for row := range r.rows {
		if r.columns[at].null[row] {
			lost++
			continue
		}
		times = append(times, r.columns[at].times[row])
		bodies = append(bodies, r.line(at, named, row))
		if level != nil {
			severities = append(severities, severity(level.text(row)))
		}
		id := r.id(named, row)
		if n := seen[id]; n > 0 {
			ids = append(ids, id+"-"+strconv.Itoa(n+1))
		} else {
			ids = append(ids, id)
		}
		seen[id]++
		labels = append(labels, r.logLabels(at, row))
	}
	f := data.NewFrame("", data.NewField("timestamp", nil, times), data.NewField("body", nil, bodies))
	if level != nil {
		f.Fields = append(f.Fields, data.NewField("severity", nil, severities))
	}
	f.Fields = append(f.Fields, data.NewField("id", nil, ids), data.NewField("labels", nil, labels))
	f.Meta = &data.FrameMeta{Type: data.FrameTypeLogLines, TypeVersion: logsTypeVersion, PreferredVisualization: data.VisTypeLogs}
	var notices []data.Notice
	if lost > 0 {
		notices = append(notices, warning("%s without a time in %s left out", count(lost, "row"), r.columns[at].name))
	}
	return f, notices, nil
}

func firstOf(named map[string]*column, names ...string) *column {
	for _, n := range names {
		if c := named[n]; c != nil {
			return c
		}
	}
	return nil
}

// severity is a level in the words that Grafana has colours for.
func severity(level string) string {
	switch strings.ToLower(level) {
	case "information", "informational", "info", "notice":
		return "info"
	case "warning", "warn":
		return "warning"
	case "error", "err":
		return "error"
	case "critical", "fatal", "emergency", "alert":
		return "critical"
	case "debug", "verbose":
		return "debug"
	case "trace":
		return "trace"
	}
	return "unknown"
}

// lineColumns are what a line about an event says, in this order, when there is
// no text that says it.
var lineColumns = []string{"OperationName", "DeviceId", "ClaimedDeviceId", "Protocol", "AuthType", "TlsVersion", "TlsCipher", "ResultType", "ResultSignature", "DisconnectReason"}

// line is the body of a log line: the text that describes the row, or what is
// known of an event, or all columns as name=value.
func (r *result) line(at int, named map[string]*column, row int) string {
	for _, name := range []string{"ResultDescription", "Message", "message", "Body", "body", "Line"} {
		if c := named[name]; c != nil && c.typ == "string" && c.text(row) != "" {
			return c.text(row)
		}
	}
	if named["OperationName"] != nil {
		return eventLine(named, row)
	}
	var parts []string
	for i, c := range r.columns {
		if s := c.text(row); i != at && s != "" {
			if strings.ContainsAny(s, " =\"\n") {
				s = strconv.Quote(s)
			}
			parts = append(parts, c.name+"="+s)
		}
	}
	return strings.Join(parts, " ")
}

// eventLine says what is known of an event.
func eventLine(named map[string]*column, row int) string {
	var parts []string
	proven := false
	for _, name := range lineColumns {
		c := named[name]
		if c == nil || c.text(row) == "" {
			continue
		}
		s := c.text(row)
		switch name {
		case "DeviceId":
			proven = true
		case "ClaimedDeviceId":
			if proven {
				continue
			}
			s = "(claims to be " + s + ")"
		case "TlsVersion":
			s = "TLS " + s
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// id names a row, the same at every refresh: an event by its connection, its
// sequence and its operation, any other row by its content.
func (r *result) id(named map[string]*column, row int) string {
	if c, s, o := named["ConnectionId"], named["Sequence"], named["OperationName"]; c != nil && s != nil && o != nil && c.text(row) != "" {
		return c.text(row) + "-" + s.text(row) + "-" + o.text(row)
	}
	h := fnv.New128a()
	var b []byte
	for _, c := range r.columns {
		s := c.text(row)
		b = strconv.AppendInt(append(append(b[:0], c.name...), ' '), int64(len(s)), 10)
		b = append(append(append(b, ':'), s...), '\n')
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// logLabels are the columns of a row that say something, but the time and the
// text of the line.
func (r *result) logLabels(at, row int) json.RawMessage {
	b := []byte{'{'}
	for i, c := range r.columns {
		s := c.text(row)
		if i == at || s == "" || c.name == "ResultDescription" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, c.name), ':')
		b = appendJSON(b, s)
	}
	return append(b, '}')
}

// appendJSON appends a text as JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // of a text, which cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
