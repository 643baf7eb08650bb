// Package ds is the backend of the Grafana data source: it turns Grafana's
// queries, health checks, resource calls and streams into requests to a
// hubscope query service, and its answers into data frames.
//
// It holds no KQL compiler and no credentials of the store: whatever a user may
// read is decided by the query service. Macros and template variables are
// expanded here and nowhere else (see Expand), so that dashboards, alert rules,
// variables and annotations mean the same by the same text.
//
// One [Datasource] is one configured data source. Grafana's SDK makes one for
// each with [New], keeps it as long as its settings stay the same, and calls
// Dispose when they change.
//
// What reaches a user as an error is a text of the service that is made for
// users, or one made here; where it came from (a mistake in a query, a service
// that is down, a bug of ours) is told to Grafana as the error's source.
package ds

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"hubscope/query/api"
)

// PluginID is the id of the plugin, as in plugin.json.
const PluginID = "hubscope-connections-datasource"

// Datasource is one configured data source. It is safe for concurrent use.
type Datasource struct {
	// client asks the query service. Requests carry the credentials that
	// authorize put into their context.
	client   *api.Client
	settings Settings
	uid      string
	logger   log.Logger
}

// New makes a Datasource of its settings. It is a datasource.InstanceFactoryFunc.
func New(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	settings, err := ReadSettings(s)
	if err != nil {
		return nil, backend.DownstreamError(err)
	}
	opts, err := s.HTTPClientOptions(ctx)
	if err != nil {
		return nil, backend.DownstreamError(fmt.Errorf("settings of the data source: %w", err))
	}
	// Deadlines come from contexts: a limit of the client would also end tails.
	timeouts := httpclient.DefaultTimeoutOptions
	timeouts.Timeout = 0
	opts.Timeouts = &timeouts
	client, err := httpclient.New(opts)
	if err != nil {
		return nil, backend.DownstreamError(fmt.Errorf("TLS settings of the data source: %w", err))
	}
	client.Transport = &authorizer{next: client.Transport, settings: &settings, basicAuth: opts.BasicAuth != nil}
	// A redirect could take a token to another host or to plain HTTP.
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		return fmt.Errorf("the service redirects to %s: set that address in the data source", (&url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}))
	}
	return &Datasource{
		client:   &api.Client{URL: settings.URL, HTTP: client},
		settings: settings,
		uid:      s.UID,
		logger:   log.DefaultLogger.With("datasource", s.UID),
	}, nil
}

// Dispose ends the connections that this data source keeps for later.
func (d *Datasource) Dispose() { d.client.HTTP.CloseIdleConnections() }
