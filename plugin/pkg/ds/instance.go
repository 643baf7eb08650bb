package ds

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/query/client"
)

// Settings are the settings of a data source that are ours. Those of HTTP (basic
// authentication, TLS, headers) are Grafana's usual ones and read by its SDK.
type Settings struct {
	// URL is the address of the query service.
	URL string
	// Timeout is the longest time that a query may take.
	Timeout time.Duration
	// DefaultRowLimit bounds the rows of a query that sets no limit, MaxRowLimit
	// those of any query.
	DefaultRowLimit, MaxRowLimit int64
	// Cache is how long results are kept: 0 leaves it to the bins of the query,
	// less than 0 is not at all.
	Cache time.Duration
	// TimeInterval is the shortest interval that $__timeInterval stands for.
	TimeInterval time.Duration
	// TLSDeviceDashboardUID is the dashboard that links of device cells open.
	TLSDeviceDashboardUID string
	// Token is the bearer token for the query service, if it needs one.
	Token string
	// OAuthPassThru forwards the identity of the Grafana user instead.
	OAuthPassThru bool
	// OAuthPassThruAllowFallback lets requests without a user (alert rules, live
	// tails) use the configured credentials although OAuthPassThru is set.
	OAuthPassThruAllowFallback bool
	// KeepCookies says that Grafana forwards some cookies.
	KeepCookies bool
}

// Defaults of Settings.
const (
	defaultTimeout     = 30 * time.Second
	maxTimeout         = time.Hour
	defaultRowLimit    = 10_000
	defaultMaxRowLimit = 100_000
	highestRowLimit    = 1_000_000
	deviceDashboardUID = "tls-device"
)

// ReadSettings reads and checks the settings of a data source. Numbers and
// booleans may be written as text, as provisioning files with environment
// variables do.
func ReadSettings(s backend.DataSourceInstanceSettings) (Settings, error) {
	settings := Settings{
		Timeout: defaultTimeout, DefaultRowLimit: defaultRowLimit, MaxRowLimit: defaultMaxRowLimit,
		TLSDeviceDashboardUID: deviceDashboardUID, Token: strings.TrimSpace(s.DecryptedSecureJSONData["token"]),
	}
	var raw struct {
		TimeoutSeconds             loose    `json:"timeoutSeconds"`
		Timeout                    loose    `json:"timeout"` // Grafana's own field of the HTTP settings
		DefaultRowLimit            loose    `json:"defaultRowLimit"`
		MaxRowLimit                loose    `json:"maxRowLimit"`
		CacheSeconds               loose    `json:"cacheSeconds"`
		TimeInterval               loose    `json:"timeInterval"`
		TLSDeviceDashboardUID      loose    `json:"tlsDeviceDashboardUid"`
		OAuthPassThru              loose    `json:"oauthPassThru"`
		OAuthPassThruAllowFallback loose    `json:"oauthPassThruAllowFallback"`
		TLSSkipVerify              loose    `json:"tlsSkipVerify"`
		KeepCookies                []string `json:"keepCookies"`
	}
	if len(s.JSONData) > 0 {
		err := json.Unmarshal(s.JSONData, &raw)
		if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && typ.Field != "" {
			err = fmt.Errorf("%s cannot be a JSON %s", typ.Field, typ.Value)
		}
		if err != nil {
			return settings, fmt.Errorf("settings of the data source: %w", err)
		}
	}
	address, err := serviceURL(s.URL)
	if err != nil {
		return settings, err
	}
	settings.URL = address.String()
	timeout := raw.TimeoutSeconds
	if timeout == "" {
		timeout = raw.Timeout
	}
	if seconds, set, err := timeout.number("timeoutSeconds", 0, maxTimeout.Seconds()); err != nil {
		return settings, err
	} else if set && seconds > 0 {
		settings.Timeout = time.Duration(seconds * float64(time.Second))
	}
	if n, set, err := raw.MaxRowLimit.number("maxRowLimit", 0, highestRowLimit); err != nil {
		return settings, err
	} else if set && n >= 1 {
		settings.MaxRowLimit = int64(n)
	}
	if n, set, err := raw.DefaultRowLimit.number("defaultRowLimit", 0, highestRowLimit); err != nil {
		return settings, err
	} else if set && n >= 1 {
		settings.DefaultRowLimit = int64(n)
	}
	settings.DefaultRowLimit = min(settings.DefaultRowLimit, settings.MaxRowLimit)
	if n, set, err := raw.CacheSeconds.number("cacheSeconds", -1, 86_400); err != nil {
		return settings, err
	} else if set {
		settings.Cache = time.Duration(n * float64(time.Second))
	}
	if raw.TimeInterval != "" {
		d, ok := client.ParseTimespan(string(raw.TimeInterval))
		// In KQL a mere number counts days, which nobody means here.
		if _, err := strconv.ParseFloat(string(raw.TimeInterval), 64); err == nil || !ok || d <= 0 {
			return settings, fmt.Errorf("timeInterval is no length of time such as 30s, 1m or 1h: %q", raw.TimeInterval)
		}
		settings.TimeInterval = d
	}
	if raw.TLSDeviceDashboardUID != "" {
		settings.TLSDeviceDashboardUID = string(raw.TLSDeviceDashboardUID)
	}
	settings.KeepCookies = len(raw.KeepCookies) > 0
	for name, field := range map[string]struct {
		from loose
		to   *bool
	}{
		"oauthPassThru":              {raw.OAuthPassThru, &settings.OAuthPassThru},
		"oauthPassThruAllowFallback": {raw.OAuthPassThruAllowFallback, &settings.OAuthPassThruAllowFallback},
	} {
		if *field.to, err = field.from.boolean(name); err != nil {
			return settings, err
		}
	}
	skipVerify, err := raw.TLSSkipVerify.boolean("tlsSkipVerify")
	if err != nil {
		return settings, err
	}
	if settings.OAuthPassThru && address.Scheme != "https" && !loopback(address.Hostname()) {
		return settings, errors.New("the option Forward OAuth Identity needs an https address: over plain HTTP anyone on the way could read the users' tokens")
	}
	if settings.OAuthPassThru && skipVerify {
		return settings, errors.New("the options Forward OAuth Identity and Skip TLS certificate validation exclude each other: without the check anyone on the way could read the users' tokens; set the CA certificate instead")
	}
	return settings, nil
}

// exactTypes gives those settings that Grafana's SDK reads the types that it
// wants: booleans that are texts it leaves out without a word, and it panics at
// a null where it expects a text.
func exactTypes(jsonData []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if len(jsonData) == 0 {
		return jsonData, nil
	}
	if err := json.Unmarshal(jsonData, &all); err != nil {
		return nil, fmt.Errorf("settings of the data source: %w", err)
	}
	for name, value := range all {
		switch {
		case string(value) == "null":
			delete(all, name)
		case slices.Contains([]string{"tlsAuth", "tlsAuthWithCACert", "tlsSkipVerify"}, name):
			var text loose
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, fmt.Errorf("settings of the data source: %s: %w", name, err)
			}
			yes, err := text.boolean(name)
			if err != nil {
				return nil, err
			}
			all[name] = strconv.AppendBool(nil, yes)
		case slices.Contains([]string{"serverName", "access", "url", "basicAuthUser"}, name) || strings.HasPrefix(name, "httpHeaderName"):
			if value[0] != '"' {
				return nil, fmt.Errorf("%s is not a text: %s", name, value)
			}
		}
	}
	return json.Marshal(all)
}

// checkCertificates says which of the certificates is missing that are switched
// on: Grafana's SDK would go without it.
func checkCertificates(s backend.DataSourceInstanceSettings) error {
	var on struct {
		TLSAuth, TLSAuthWithCACert bool
		ServerName                 string
	}
	if len(s.JSONData) > 0 {
		if err := json.Unmarshal(s.JSONData, &on); err != nil {
			return fmt.Errorf("settings of the data source: %w", err)
		}
	}
	given := func(name string) bool { return strings.TrimSpace(s.DecryptedSecureJSONData[name]) != "" }
	switch {
	case on.TLSAuthWithCACert && !given("tlsCACert"):
		return errors.New("the option Add self-signed certificate (tlsAuthWithCACert) is on, and there is no CA certificate (tlsCACert): paste it, or switch it off")
	case on.TLSAuth && on.ServerName != "" && !given("tlsClientCert") && !given("tlsClientKey"):
		// The form has the server's name in the same section.
	case on.TLSAuth && !(given("tlsClientCert") && given("tlsClientKey")):
		return errors.New("the option TLS Client Authentication (tlsAuth) is on, and the certificate (tlsClientCert) or its key (tlsClientKey) is missing: paste both, or switch it off")
	}
	return nil
}

// serviceURL checks the address of the query service.
func serviceURL(text string) (*url.URL, error) {
	const hint = "set the URL of the hubscope query service, such as http://localhost:7070"
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	if text == "" {
		return nil, errors.New("the data source has no URL: " + hint)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the URL of the data source is not http:// or https:// with a host: " + hint)
	}
	if u.User != nil {
		return nil, errors.New("the URL of the data source has a user name in it: use the fields of basic authentication, which keep the password secret")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the URL of the data source has a query or a fragment: " + hint)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// near says whether an address is on this machine or in its own network: a
// private address, or a name without dots, as containers have.
func near(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	return !strings.Contains(host, ".")
}

// loose is a number or a boolean in JSON, or either as text.
type loose string

// UnmarshalJSON keeps the text of the value.
func (l *loose) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*l = loose(strings.TrimSpace(s))
		return nil
	}
	*l = loose(b)
	return nil
}

func (l loose) number(name string, low, high float64) (value float64, set bool, err error) {
	if l == "" {
		return 0, false, nil
	}
	v, err := strconv.ParseFloat(string(l), 64)
	if err != nil || math.IsNaN(v) || v < low || v > high {
		return 0, false, fmt.Errorf("%s is not a number from %.0f to %.0f: %s", name, low, high, string(l))
	}
	return v, true, nil
}

func (l loose) boolean(name string) (bool, error) {
	if l == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(string(l))
	if err != nil {
		return false, fmt.Errorf("%s is neither true nor false: %s", name, string(l))
	}
	return v, nil
}
