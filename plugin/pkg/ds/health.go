package ds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/client"
)

// healthTimeout bounds a health check: a person waits for it.
const healthTimeout = 15 * time.Second

// Queries of the health check: most of the time the newest event is young, and
// only then is little read.
const (
	newestOfHour = "Connections | where TimeGenerated > ago(1h) | summarize Newest = max(TimeGenerated)"
	newestOfAll  = "Connections | summarize Newest = max(TimeGenerated)"
)

// healthDetails is what a health check tells besides its message. Grafana shows
// verboseMessage below it.
type healthDetails struct {
	Category       string  `json:"category"` // ok, no-events, or what is wrong in one word
	Version        string  `json:"version,omitempty"`
	NewestEvent    string  `json:"newestEvent,omitempty"`
	AgeSeconds     float64 `json:"ageSeconds,omitempty"`
	QueryMs        float64 `json:"queryMs,omitempty"`
	VerboseMessage string  `json:"verboseMessage,omitempty"`
}

// CheckHealth is what "Save & test" shows: it runs a query as a panel would, and
// says how old the newest event is, or what to do.
func (d *Datasource) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	ctx, cancel := context.WithTimeout(d.authorizeSystem(ctx, req.GetHTTPHeaders()), min(healthTimeout, d.settings.Timeout+time.Second))
	defer cancel()
	var details healthDetails
	message, err := d.checkHealth(ctx, &details)
	status := backend.HealthStatusOk
	if err != nil {
		status = backend.HealthStatusError
		var t *trouble
		if !errors.As(err, &t) {
			// Not expected, so that its text may help whoever looks into it.
			d.logger.Error("health check", "err", err)
			t = &trouble{"unknown", "the query service could not be asked: " + err.Error(), "Grafana's log tells more"}
		}
		details.Category, details.VerboseMessage, message = t.category, t.hint, t.Error()
	}
	body, err := json.Marshal(details)
	if err != nil {
		return nil, err
	}
	return &backend.CheckHealthResult{Status: status, Message: message, JSONDetails: body}, nil
}

// checkHealth returns the message of a healthy service. Errors are a *trouble
// where it is known what to do.
func (d *Datasource) checkHealth(ctx context.Context, details *healthDetails) (string, error) {
	if d.invalid != nil {
		return "", d.diagnose(ctx, d.invalid)
	}
	start := time.Now()
	newest, err := d.newestEvent(ctx, newestOfHour)
	if err != nil {
		return "", d.healthTrouble(ctx, err)
	}
	details.QueryMs = float64(time.Since(start).Microseconds()) / 1000
	if newest.IsZero() {
		if newest, err = d.newestEvent(ctx, newestOfAll); err != nil {
			return "", d.healthTrouble(ctx, err)
		}
	}
	if details.Version, err = d.client.Version(ctx); err != nil {
		return "", d.healthTrouble(ctx, err)
	}
	intro := fmt.Sprintf("hubscope %s answers queries (%.0f ms)", details.Version, details.QueryMs)
	if newest.IsZero() {
		details.Category = "no-events"
		details.VerboseMessage = "Connect a device to a hub, start hubscope up with --demo, or look at the collector: `hubscope query \"Connections | count\"` shows when the first event is there. " +
			"A token that may only read some hubs sees only their events."
		return intro + "; there are no events yet", nil
	}
	details.Category, details.NewestEvent = "ok", newest.UTC().Format(time.RFC3339Nano)
	age := time.Since(newest)
	details.AgeSeconds = age.Round(time.Millisecond).Seconds()
	switch {
	case age < -time.Minute:
		details.VerboseMessage = "The clocks of the hubs, of the service and of Grafana's server differ, or a device's event is dated wrongly."
		return fmt.Sprintf("%s; the newest event is dated %s in the future", intro, roughly(-age)), nil
	case age > time.Hour:
		details.VerboseMessage = "If devices should be connecting now: look whether hubs, NATS and the collector run (dashboard Pipeline)."
	}
	return fmt.Sprintf("%s; the newest event is %s old", intro, roughly(max(age, 0))), nil
}

// healthTrouble makes an error of the health check one with a hint.
func (d *Datasource) healthTrouble(ctx context.Context, err error) error {
	if t := d.diagnose(ctx, err); t != nil {
		return t
	}
	var wrong client.Errors
	if errors.As(err, &wrong) && len(wrong) > 0 {
		return &trouble{"query", "the query service at " + d.client.URL + " cannot answer a simple query: " + wrong[0].Message,
			"Is it a hubscope service with the table Connections? Its log tells more"}
	}
	return err
}

// newestEvent runs a query for one time; it is zero for none.
func (d *Datasource) newestEvent(ctx context.Context, text string) (time.Time, error) {
	a, err := d.client.Query(ctx, client.QueryRequest{Query: text, TimeoutSeconds: healthTimeout.Seconds(), MaxRows: 1}, nil)
	if err != nil {
		return time.Time{}, err
	}
	defer a.Close()
	var newest *time.Time
	for {
		rows, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return time.Time{}, err
		}
		if err := json.Unmarshal(rows[0][0], &newest); err != nil {
			return time.Time{}, err
		}
	}
	if newest == nil {
		return time.Time{}, nil
	}
	return *newest, nil
}

// roughly is a length of time as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
