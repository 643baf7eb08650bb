package api

import (
	"math"
	"strings"
	"time"

	"hubscope/query"
	"hubscope/query/client"
	"hubscope/query/kql"
)

// engineRequest checks r and returns it as the engine takes it.
func engineRequest(r *client.QueryRequest) (query.Request, error) {
	req := query.Request{Text: r.Query, Parameters: r.Parameters, ID: r.ID}
	if strings.TrimSpace(r.Query) == "" {
		return req, badRequest("the query is empty")
	}
	if kql.IsCommand(r.Query) {
		return req, badRequest("management commands start with a dot and go to /v1/rest/mgmt; this is for queries")
	}
	var err error
	if req.Start, err = instant("start", r.Start); err != nil {
		return req, err
	}
	if req.End, err = instant("end", r.End); err != nil {
		return req, err
	}
	if !req.Start.IsZero() && !req.End.IsZero() && req.End.Before(req.Start) {
		return req, badRequest("end is before start")
	}
	if r.TimeoutSeconds < 0 || r.TimeoutSeconds > 1e6 || min(r.MaxRows, r.MaxBytes, r.MaxMemory) < 0 {
		return req, badRequest("timeoutSeconds, maxRows, maxBytes and maxMemory are positive numbers")
	}
	req.Limits.Time = time.Duration(r.TimeoutSeconds * float64(time.Second))
	req.Limits.ResultRows, req.Limits.ResultBytes, req.Limits.MemoryBytes = r.MaxRows, r.MaxBytes, r.MaxMemory
	if r.MaxRows > 0 && r.MaxBytes == 0 {
		req.Limits.ResultBytes = math.MaxInt64
	}
	if len(r.ID) > 128 || strings.ContainsFunc(r.ID, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return req, badRequest("id is at most 128 visible ASCII characters")
	}
	return req, nil
}

// instant reads a point in time of a request.
func instant(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	ticks, ok := kql.ParseDateTime(s)
	if !ok {
		return time.Time{}, badRequest("%s is no ISO 8601 time: %q", name, s)
	}
	t := ticks - kql.UnixEpochTicks
	return time.Unix(t/kql.TicksPerSecond, t%kql.TicksPerSecond*100).UTC(), nil
}
