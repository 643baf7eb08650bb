package ds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"

	"hubscope/query/client"
)

// trouble is what stands between a data source and its query service, for the
// person who has to mend it.
type trouble struct {
	category string // one word for logs and tests
	message  string // what is wrong
	hint     string // what to do
}

// Error returns both sentences.
func (t *trouble) Error() string {
	if t.hint == "" {
		return t.message
	}
	return t.message + ". " + t.hint
}

// diagnose says what an error of a request to the query service means. It is nil
// for errors of a query text and for those that are a bug of ours.
func (d *Datasource) diagnose(ctx context.Context, err error) *trouble {
	if d.invalid != nil && errors.Is(err, d.invalid) {
		return &trouble{"settings", d.invalid.Error(), ""}
	}
	if errors.Is(err, errNoIdentity) {
		return &trouble{"identity", errNoIdentity.Error(), ""}
	}
	at := "the query service at " + d.client.URL
	if t := diagnoseTLS(err, at); t != nil {
		return t
	}
	var status *client.StatusError
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &status):
		return d.diagnoseStatus(status, at)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return &trouble{"canceled", "the request was cancelled", ""}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &trouble{"refused", at + " refuses connections", "Is it running (hubscope up, or hubscope serve), is the port right, and can Grafana's server reach it? " +
			"In a container localhost is the container itself"}
	case errors.As(err, &dns):
		return &trouble{"dns", "no address is known for the host " + dns.Name, "Check the URL of the data source for misspellings; it is Grafana's server that looks the name up, not the browser"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &trouble{"unreachable", "there is no route to " + at, "Check the address, and the network and firewall between Grafana's server and it"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &trouble{"timeout", at + " did not answer within " + d.settings.Timeout.String(),
			"A firewall may drop the packets, or the query takes too long: shorten its time range, or raise the timeout of the data source"}
	case errors.Is(err, httpclient.ErrResponseBodyTooLarge):
		return &trouble{"too-large", "the answer is larger than Grafana allows", "Ask for less, or raise response_limit in section [dataproxy] of Grafana's configuration"}
	case strings.Contains(err.Error(), "the service redirects"):
		return &trouble{"redirect", at + " answers with a redirect", "Set the address that it redirects to as URL of the data source: " + afterLast(err.Error(), "redirects to ")}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return &trouble{"broken", "the connection to " + at + " broke", "It may have been restarted: try again"}
	case strings.Contains(err.Error(), "proxyconnect"), strings.Contains(err.Error(), "socks connect"):
		return &trouble{"proxy", "the proxy on the way to " + at + " does not answer", "Check the proxy settings of Grafana's server (HTTPS_PROXY, NO_PROXY, secure socks proxy)"}
	case errors.Is(err, client.ErrNotAnswer):
		return d.notHubscope("its answer is no JSON of ours")
	case strings.Contains(err.Error(), "malformed HTTP"):
		return &trouble{"not-http", at + " does not speak HTTP", "Set the port of the query service, not that of a hub, NATS or ClickHouse"}
	}
	return nil
}

func afterLast(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i+len(sep):]
	}
	return s
}

// diagnoseTLS knows the errors of handshakes. Alerts of the other side are an
// unexported type of crypto/tls, so that only their text tells them.
func diagnoseTLS(err error, at string) *trouble {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		return &trouble{"tls-unknown-ca", "the certificate of " + at + " is signed by an authority that Grafana's server does not know",
			"Switch on Add self-signed certificate in the data source and paste the CA certificate (hubscope up keeps its own in its data folder)"}
	case errors.As(err, &name):
		return &trouble{"tls-name", "the certificate of " + at + " is not for " + name.Host + " but for " + certificateNames(name.Certificate),
			"Use a name of the certificate in the URL, or set it as ServerName in the data source, below TLS Client Authentication"}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &trouble{"tls-expired", "the certificate of " + at + " has expired or is not valid yet", "Renew it, and check the clock of Grafana's server"}
	case errors.As(err, &invalid):
		return &trouble{"tls-certificate", "the certificate of " + at + " is not valid: " + invalid.Error(), "Replace the certificate of the service"}
	case strings.Contains(text, "remote error: tls: certificate required"), strings.Contains(text, "remote error: tls: bad certificate"),
		strings.Contains(text, "remote error: tls: unknown certificate authority"), strings.Contains(text, "remote error: tls: expired certificate"),
		strings.Contains(text, "remote error: tls: handshake failure"):
		return &trouble{"tls-client-certificate", at + " does not accept the client certificate of the data source, or wants one",
			"Switch on TLS Client Authentication in the data source, and paste a certificate that the service's client CA has signed, with its key"}
	case errors.As(err, &record), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return &trouble{"tls-not-spoken", at + " does not speak TLS", "Write http:// instead of https:// in the URL, or set the port with TLS"}
	case strings.Contains(text, "remote error: tls: protocol version not supported"), strings.Contains(text, "tls: no supported versions"),
		strings.Contains(text, "server selected unsupported protocol version"):
		return &trouble{"tls-version", at + " and Grafana's server have no TLS version in common", "The service needs TLS 1.2 or 1.3"}
	}
	return nil
}

// certificateNames are the names that a certificate is for.
func certificateNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all (it has no subjectAltName)"
	}
	return strings.Join(names, ", ")
}

// diagnoseStatus says what an answer other than success means when it is not
// about the text of a query.
func (d *Datasource) diagnoseStatus(e *client.StatusError, at string) *trouble {
	said := e.Status + ", which something before it says"
	if len(e.Errors) > 0 {
		said = e.Errors[0].Message
		if h := e.Errors[0].Hint; h != "" {
			said += " (" + h + ")"
		}
	}
	switch {
	case e.Code == http.StatusUnauthorized:
		hint := "Set a token in the data source: hubscope token add makes one"
		switch {
		case d.settings.OAuthPassThru:
			hint = "The forwarded identity may have expired: sign out of Grafana and in again. Alert rules, where they may, use the token of the data source: it may be missing"
		case d.settings.Token != "":
			hint = "Check the token of the data source: hubscope token list shows which are in force, hubscope token add makes a new one"
		}
		return &trouble{"unauthorized", at + " does not accept the credentials: " + said, hint}
	case e.Code == http.StatusForbidden:
		return &trouble{"forbidden", at + " does not allow this: " + said, "Use a token or a certificate with the role that it needs (hubscope token list)"}
	case e.Code == http.StatusTooManyRequests:
		return &trouble{"throttled", at + " has too much to do for this client: " + said, "Refresh less often, show fewer panels, or raise the limits of the service"}
	case len(e.Errors) > 0 && e.Code == http.StatusServiceUnavailable:
		return &trouble{"unavailable", at + " cannot answer now: " + said, "Look at its log, and whether its database runs; then try again"}
	case len(e.Errors) > 0 && e.Code >= 500 && e.Code != http.StatusGatewayTimeout:
		return &trouble{"service", at + " has failed: " + said, "Its log tells more"}
	case len(e.Errors) > 0:
		return nil // about the query
	case e.Code == http.StatusBadRequest && strings.HasPrefix(d.client.URL, "http://"):
		return &trouble{"tls-needed", at + " does not understand plain HTTP", "Write https:// in the URL: the service speaks TLS"}
	case e.Code == http.StatusProxyAuthRequired:
		return &trouble{"proxy", "a proxy on the way to " + at + " wants credentials", "Check the proxy settings of Grafana's server"}
	case e.Code >= 500:
		return &trouble{"gateway", "what stands before " + at + " cannot reach it: " + e.Status, "Is the query service running (hubscope up, or hubscope serve)?"}
	default:
		return d.notHubscope(e.Status)
	}
}

func (d *Datasource) notHubscope(why string) *trouble {
	return &trouble{"not-hubscope", "what answers at " + d.client.URL + " is not a hubscope query service: " + why,
		"Set the URL of the query service (hubscope up prints it), without a path such as /api"}
}
