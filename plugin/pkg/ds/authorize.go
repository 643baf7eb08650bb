package ds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/useragent"
)

// The SDK can forward the headers of a request by itself (ForwardHTTPHeaders),
// but forwards all of them: those that a browser sends with a resource call
// would ask the service for another encoding or for "not modified" answers. It
// also leaves out streams. So the headers are chosen here, the same for all.

// callerKey is the key of a caller in a context.
type callerKey struct{}

// caller is what is known of who makes a request.
type caller struct {
	headers http.Header // those that are passed on
	system  bool        // Grafana itself and not on behalf of a user's query
	rule    bool        // an alert rule
}

// What the service's log of queries calls this client, so that it tells panels
// from rules (table QueryLog, column Client).
const appGrafana, appAlerting = "Grafana", "Grafana alerting"

// authorize returns a context for requests to the query service on behalf of
// the request with these headers. Requests without one are refused when the
// data source forwards identities.
func (d *Datasource) authorize(ctx context.Context, headers http.Header) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{headers: d.settings.forwarded(headers)})
}

// forRule says that the requests with this context, which [Datasource.authorize]
// made, are an alert rule's.
func forRule(ctx context.Context) {
	if who, _ := ctx.Value(callerKey{}).(*caller); who != nil {
		who.rule = true
	}
}

// authorizeSystem returns a context for requests that Grafana makes for itself,
// such as health checks and what editors complete: they may use the configured
// credentials when no identity is forwarded.
func (d *Datasource) authorizeSystem(ctx context.Context, headers http.Header) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{headers: d.settings.forwarded(headers), system: true})
}

// forwarded picks the headers that are passed on to the query service.
func (s *Settings) forwarded(headers http.Header) http.Header {
	passed := http.Header{}
	for name, values := range headers {
		name = http.CanonicalHeaderKey(name)
		var pass bool
		switch name {
		case backend.OAuthIdentityTokenHeaderName, backend.OAuthIdentityIDTokenHeaderName:
			pass = s.OAuthPassThru
		case backend.CookiesHeaderName:
			pass = s.KeepCookies // Grafana has dropped all others
		case "Fromalert", "X-Query-Group-Id":
			pass = true
		default:
			pass = slices.ContainsFunc([]string{"X-Grafana-", "X-Dashboard-", "X-Panel-", "X-Rule-", "X-Datasource-"},
				func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		}
		if pass {
			passed[name] = values
		}
	}
	return passed
}

// errNoIdentity says that a request would need a user.
var errNoIdentity = errors.New("this request carries no user identity, but the data source forwards the identity of users (Forward OAuth Identity): " +
	"it comes from an alert rule or another part of Grafana that acts for no user; allow the fallback to the configured credentials in the data source, " +
	"or use a second data source with a token for alerting")

// authorizer adds the token or the forwarded identity to each request; those of
// basic authentication and custom headers are added behind it.
type authorizer struct {
	next        http.RoundTripper
	connections *http.Transport // what next uses in the end
	settings    Settings
}

// RoundTrip makes the request with its headers.
func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	who, _ := req.Context().Value(callerKey{}).(*caller)
	if who == nil {
		who = &caller{}
	}
	req = req.Clone(req.Context())
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", userAgent(req.Context())) // the name in the log of proxies
	}
	for name, values := range who.headers {
		if req.Header.Get(name) == "" {
			req.Header[name] = values
		}
	}
	req.Header.Set("X-Ms-App", appGrafana)
	if who.rule {
		req.Header.Set("X-Ms-App", appAlerting)
	}
	if req.Header.Get("Authorization") == "" {
		if a.settings.OAuthPassThru && !who.system && !a.settings.OAuthPassThruAllowFallback {
			return nil, backend.DownstreamError(errNoIdentity)
		}
		if a.settings.Token != "" {
			req.Header.Set("Authorization", "Bearer "+a.settings.Token)
		}
	}
	return a.next.RoundTrip(req)
}

// userAgent names Grafana and this plugin, with the versions that Grafana tells.
func userAgent(ctx context.Context) string {
	name := "Grafana"
	if agent := useragent.FromContext(ctx); !agent.IsUnknown() {
		name = agent.String()
	}
	name += " " + PluginID
	if version := backend.PluginConfigFromContext(ctx).PluginVersion; version != "" {
		name += "/" + version
	}
	return name
}

// CloseIdleConnections ends the connections that are kept for later.
func (a *authorizer) CloseIdleConnections() { a.connections.CloseIdleConnections() }

// cacheScope names those who may share a cached result of requests with this
// context: everyone who asks with the same credentials.
func (d *Datasource) cacheScope(ctx context.Context) string {
	who, _ := ctx.Value(callerKey{}).(*caller)
	if who == nil {
		return ""
	}
	var scope strings.Builder
	for _, name := range []string{backend.OAuthIdentityTokenHeaderName, backend.OAuthIdentityIDTokenHeaderName, backend.CookiesHeaderName, backend.GrafanaUserSignInTokenHeaderName} {
		for _, value := range who.headers[http.CanonicalHeaderKey(name)] {
			fmt.Fprintf(&scope, "%s %d %s\n", name, len(value), value)
		}
	}
	if scope.Len() == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(scope.String())) // so that no token is kept as a key
	return hex.EncodeToString(sum[:])
}
