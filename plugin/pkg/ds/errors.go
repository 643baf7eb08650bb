package ds

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/client"
)

// Errors of queries. Downstream is what the user, the service or the network can
// mend: the query text, its limits, credentials, a service that is away. Plugin
// are bugs of this package alone, so that Grafana's operators hear of those.

// panicked is a bug of ours that was caught.
type panicked struct {
	value any
	stack []byte
}

// Error says what users may know of it.
func (p *panicked) Error() string {
	return "the data source plugin has met a bug in itself; its log tells more"
}

func panicError(value any) error { return &panicked{value, debug.Stack()} }

// statusClientClosed is nginx's status of a request whose client went away, which
// the query service uses too.
const statusClientClosed = 499

// userError is the answer to a query that its writer has to mend.
func userError(err error) backend.DataResponse {
	return downstream(http.StatusBadRequest, err.Error())
}

func downstream(status int, message string) backend.DataResponse {
	return backend.ErrDataResponseWithSource(backend.Status(status), backend.ErrorSourceDownstream, message)
}

// failed turns an error of asking the service into the answer of a query. x, if
// not nil, is the query whose text the service judged.
func (d *Datasource) failed(ctx context.Context, err error, x *Expanded) backend.DataResponse {
	var bug *panicked
	if errors.As(err, &bug) {
		d.logger.Error("panic in a query", "panic", fmt.Sprint(bug.value), "stack", string(bug.stack))
		return backend.ErrDataResponseWithSource(backend.StatusInternal, backend.ErrorSourcePlugin, bug.Error())
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return downstream(statusClientClosed, "the query was cancelled")
	}
	var status *client.StatusError
	var said client.Errors
	coded := errors.As(err, &status)
	if errors.As(err, &said) && !(coded && aboutService(status.Code)) {
		code := statusOf(said[0].Code)
		if coded {
			code = status.Code
		}
		if x != nil {
			said = x.Errors(said)
		}
		return downstream(code, message(said))
	}
	if t := d.diagnose(ctx, err); t != nil {
		code := http.StatusBadGateway
		switch t.category {
		case "unauthorized", "identity":
			code = http.StatusUnauthorized
		case "forbidden":
			code = http.StatusForbidden
		case "timeout":
			code = http.StatusGatewayTimeout
		case "settings":
			code = http.StatusBadRequest
		default:
			if coded && len(status.Errors) > 0 {
				code = status.Code
			}
		}
		return downstream(code, t.Error())
	}
	// What is left is an answer that is none of the service's.
	return downstream(http.StatusBadGateway, err.Error())
}

// aboutService says whether a status tells of the service or of who asks it, and
// not of the query.
func aboutService(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return true
	case http.StatusGatewayTimeout:
		return false
	}
	return status >= 500
}

// statusOf returns the status of an error that came behind the first rows, or
// that was found here.
func statusOf(code string) int {
	switch code {
	case "Timeout":
		return http.StatusGatewayTimeout
	case "Canceled":
		return statusClientClosed
	case "EngineUnavailable":
		return http.StatusServiceUnavailable
	case "Internal":
		return http.StatusInternalServerError
	case client.CodeThrottled:
		return http.StatusTooManyRequests
	case client.CodeUnauthorized:
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

// maxTold is how many errors of a query a panel shows.
const maxTold = 3

// message writes errors as a panel shows them, a line each:
//
//	line 2, column 9: no column "TlsVersoin" in Connections. Did you mean TlsVersion? (SEM0100)
func message(errs client.Errors) string {
	var lines []string
	for i, e := range errs {
		if i == maxTold {
			lines = append(lines, fmt.Sprintf("and %d more", len(errs)-i))
			break
		}
		s := e.Message
		if e.Line > 0 {
			s = fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, s)
		}
		if e.Hint != "" {
			s += ". " + strings.ToUpper(e.Hint[:1]) + e.Hint[1:]
		}
		if e.Code != "" {
			s += " (" + e.Code + ")"
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n")
}
