package hub

import (
	"context"
	"sync"
	"time"

	"hubscope/hub/handshake"
	"hubscope/ingest"
)

// A MetricPublisher takes samples of the hubs' metrics, which become table
// AzureMetrics. ingest/stream's Publisher is one.
type MetricPublisher interface {
	// PublishMetrics takes copies of the samples and never blocks.
	PublishMetrics(samples []ingest.Metric)
}

// tally adds up measurements by minute, hub and dimensions. It is safe for
// concurrent use.
type tally struct {
	mu    sync.Mutex
	cells map[cell]measured
}

// A cell is what a row of AzureMetrics is about.
type cell struct {
	minute                           int64 // since 1970
	hub, name                        string
	version, suite, protocol, result string
}

type measured struct{ total, count, least, most int64 }

func (t *tally) add(now time.Time, c cell, value int64) {
	c.minute = now.Unix() / 60
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.cells[c]
	if !ok {
		m.least, m.most = value, value
		if t.cells == nil {
			t.cells = map[cell]measured{}
		}
	}
	t.cells[c] = measured{m.total + value, m.count + 1, min(m.least, value), max(m.most, value)}
}

// take returns what was added since the last call.
func (t *tally) take(node string) []ingest.Metric {
	t.mu.Lock()
	cells := t.cells
	t.cells = nil
	t.mu.Unlock()
	samples := make([]ingest.Metric, 0, len(cells))
	for c, m := range cells {
		samples = append(samples, ingest.Metric{
			TimeGenerated: time.Unix(c.minute*60, 0).UTC(), Hub: c.hub, Node: node, MetricName: c.name,
			TlsVersion: c.version, TlsCipher: c.suite, Protocol: c.protocol, ResultType: c.result,
			Total: m.total, Count: m.count, Minimum: m.least, Maximum: m.most,
		})
	}
	return samples
}

// sample sends what was measured, and counts devices, until the server stops.
func (s *Server) sample() {
	if s.config.Metrics == nil {
		return
	}
	// The processes of a hub count at the same moments.
	every := s.config.SampleEvery
	next := func() <-chan time.Time { return time.After(every - time.Duration(time.Now().UnixNano())%every) }
	for tick := next(); ; tick = next() {
		select {
		case <-tick:
			s.countDevices()
			s.config.Metrics.PublishMetrics(s.metrics.tally.take(s.config.Node))
		case <-s.stop:
			s.config.Metrics.PublishMetrics(s.metrics.tally.take(s.config.Node))
			return
		}
	}
}

// countDevices measures how many devices each hub has, and how many of them are
// connected to this process.
func (s *Server) countDevices() {
	now := s.config.Now()
	_, connected := s.sessions.open()
	for _, h := range s.config.Registry.Hubs() {
		s.metrics.tally.add(now, cell{hub: h.Name, name: ingest.ConnectedDeviceCount}, connected[h.Name])
		if n, ok := s.config.Registry.Counted(h.Name); ok {
			s.metrics.tally.add(now, cell{hub: h.Name, name: ingest.TotalDeviceCount}, n.Total)
		}
	}
}

// outcome adds up a connection: a device's, or a refused one.
func (m *metrics) outcome(c *connection, s *Session, result Result) {
	if !m.sampled || s == nil && result.Code == 0 {
		return // a client of the management API
	}
	x := cell{hub: *c.hubName.Load(), name: ingest.SuccessfulConnections, protocol: c.protocol, result: result.Type()}
	if s != nil {
		x.hub = s.id.Hub
	} else {
		x.name = ingest.RefusedConnections
	}
	if r := c.report; r != nil && r.Version != 0 {
		x.version, x.suite = handshake.VersionName(r.Version), handshake.SuiteName(r.Suite)
	}
	m.tally.add(m.now(), x, 1)
}

// message adds up a message of a device.
func (m *metrics) message(hub string, size int, err error) {
	if !m.sampled {
		return
	}
	now := m.now()
	m.tally.add(now, cell{hub: hub, name: ingest.TelemetryAttempts}, 1)
	if err == nil {
		m.tally.add(now, cell{hub: hub, name: ingest.TelemetrySuccess}, 1)
		m.tally.add(now, cell{hub: hub, name: ingest.DeviceDataUsage}, int64(size))
	}
}

// operation counts what a device does beside telemetry, in the metric operation
// with ".success" or ".failure" behind it.
func (m *metrics) operation(hub, operation string, ok bool) {
	l := label{hub: hub, operation: operation, result: "failure"}
	if ok {
		l.result = "success"
	}
	m.operations.Add(context.Background(), 1, m.set(l))
	if m.sampled {
		m.tally.add(m.now(), cell{hub: hub, name: operation + "." + l.result}, 1)
	}
}
