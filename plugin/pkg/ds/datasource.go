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
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"hubscope/query/client"
)

// PluginID is the id of the plugin, as in plugin.json.
const PluginID = "hubscope-connections-datasource"

// Datasource is one configured data source. It is safe for concurrent use.
type Datasource struct {
	// client asks the query service. Requests carry the credentials that
	// authorize put into their context.
	client   *client.Client
	settings Settings
	uid      string
	logger   log.Logger
	// invalid says what is wrong with the settings, if anything is: it answers
	// everything then, most of all the health check.
	invalid error
	cache   *cache
	streams streams
	// disposed is closed when the settings have changed.
	disposed chan struct{}
}

// New makes a Datasource of its settings. It is a datasource.InstanceFactoryFunc.
// It does not fail: an error here would reach users as "internal server error"
// and not as the answer of "Save & test".
func New(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	d := &Datasource{uid: s.UID, cache: newCache(), disposed: make(chan struct{}), logger: log.DefaultLogger.With("datasource", s.UID)}
	var connection *http.Client
	if d.settings, d.invalid = ReadSettings(s); d.invalid == nil {
		s.JSONData, d.invalid = exactTypes(s.JSONData)
	}
	if d.invalid == nil {
		d.invalid = checkCertificates(s)
	}
	if d.invalid == nil {
		connection, d.invalid = newClient(ctx, s, d.settings)
	}
	if d.invalid != nil {
		d.invalid = backend.DownstreamError(d.invalid)
		connection = &http.Client{Transport: httpclient.RoundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, d.invalid })}
	}
	d.client = &client.Client{URL: d.settings.URL, HTTP: connection}
	return d, nil
}

// newClient makes the HTTP client of a data source.
func newClient(ctx context.Context, s backend.DataSourceInstanceSettings, settings Settings) (*http.Client, error) {
	opts, err := s.HTTPClientOptions(ctx)
	if err != nil {
		return nil, fmt.Errorf("settings of the data source: %w", err)
	}
	// All of these travel in the header Authorization.
	switch given := opts.Header.Get("Authorization") != ""; {
	case settings.OAuthPassThru && given:
		return nil, errors.New("a custom header Authorization would replace the identity of users: remove it, or switch Forward OAuth Identity off")
	case settings.Token != "" && given, settings.Token != "" && opts.BasicAuth != nil, opts.BasicAuth != nil && given:
		return nil, errors.New("a token, basic authentication and a custom header Authorization exclude each other: all are sent as the header Authorization; keep one")
	}
	// Deadlines come from contexts: a limit of the client would also end tails.
	timeouts := *opts.Timeouts
	timeouts.Timeout = 0
	opts.Timeouts = &timeouts
	var connections *http.Transport
	opts.ConfigureTransport = func(_ httpclient.Options, t *http.Transport) {
		connections = t
		// Packing and unpacking takes longer than a network nearby.
		t.DisableCompression = near(settings.URL)
	}
	client, err := httpclient.New(opts)
	if err != nil {
		return nil, fmt.Errorf("TLS settings of the data source: %w", err)
	}
	client.Transport = &authorizer{next: client.Transport, connections: connections, settings: settings}
	// A redirect could take a token to another host or to plain HTTP.
	client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		to := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}
		return fmt.Errorf("the service redirects to %s: set its own address in the data source", &to)
	}
	return client, nil
}

// Dispose ends the tails of this data source, and the connections that it keeps
// for later.
func (d *Datasource) Dispose() {
	close(d.disposed)
	d.client.HTTP.CloseIdleConnections()
}
