package device

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hubscope/hub/registry"
)

// A Transport is how a device speaks to the hub.
type Transport string

// The transports, as the hub's events name them in lower case.
const (
	MQTT          Transport = "mqtt"
	MQTTWebSocket Transport = "mqttws"
	HTTPS         Transport = "https"
)

// Port returns the transport's well-known port.
func (t Transport) Port() string {
	if t == MQTT || t == "" {
		return "8883"
	}
	return "443"
}

const (
	// apiVersion is what Azure's device SDKs of today send.
	apiVersion = "2021-04-12"
	// webSocketPath is where a hub serves MQTT over WebSocket.
	webSocketPath = "/$iothub/websocket"
	// dialTimeout bounds each step of connecting, when the context does not.
	dialTimeout = 15 * time.Second
)

// Config describes a device and the hub that it connects to.
type Config struct {
	// HostName is the hub's: the TLS server name, and part of the user name.
	HostName string
	DeviceID string
	// ModuleID connects a module of the device, over MQTT.
	ModuleID string
	// Address is host:port to dial; HostName and the transport's port when empty.
	Address string
	// LocalAddress is the address to dial from; any when nil.
	LocalAddress net.IP
	// Transport is MQTT when empty.
	Transport Transport

	// Key (base64) signs a SAS token that is good for TokenTTL (one hour when
	// zero). Token is used as it is instead. Without both, Certificate must do.
	Key         string
	TokenTTL    time.Duration
	Token       string
	Certificate *tls.Certificate

	// Roots are trusted for the hub's certificate; the system's when nil.
	Roots *x509.CertPool
	// MinVersion and MaxVersion bound the TLS version: 1.2, or MaxVersion when
	// that is lower, and the highest there is, when zero.
	MinVersion, MaxVersion uint16
	// Suites are offered below TLS 1.3; crypto/tls's choice when empty.
	Suites []uint16
	// Groups are offered for the key exchange; crypto/tls's choice when empty.
	Groups []tls.CurveID

	// SDK is the name that the device calls itself; it ends up in events.
	SDK string
	// KeepAlive is three minutes when zero.
	KeepAlive time.Duration
}

// Facts are what the handshake has settled.
type Facts struct {
	Version   string // "1.3"
	Suite     string // IANA name
	Group     string // key exchange; empty for RSA key exchange
	ServerKey string // "RSA" or "ECDSA"
	Server    string // subject of the hub's certificate
	Resumed   bool
}

// A Session is a connected device.
type Session struct {
	config Config
	facts  Facts
	conn   net.Conn
	mqtt   mqtt.Client  // nil over HTTPS
	http   *http.Client // nil over MQTT
	token  string

	lostOnce sync.Once
	lost     chan struct{}
	cause    error
}

// Connect connects the device. Errors are of type *Error.
func Connect(ctx context.Context, config Config) (*Session, error) {
	token := config.Token
	if token == "" && config.Key != "" {
		var err error
		expiry := time.Now().Add(cmp.Or(config.TokenTTL, time.Hour))
		if token, err = registry.NewToken(config.HostName+"/"+config.path(), "", config.Key, expiry); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, facts, err := dial(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Session{config: config, facts: facts, conn: conn, token: token, lost: make(chan struct{})}
	switch config.Transport {
	case HTTPS:
		s.http = &http.Client{Transport: singleConn(conn)}
		return s, nil
	case MQTTWebSocket:
		if s.conn, err = openWebSocket(ctx, conn, config.HostName); err != nil {
			conn.Close()
			return nil, explain(config, StageWebSocket, err)
		}
	}
	if err := s.connectMQTT(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// path names the identity: devices/{id}, or devices/{id}/modules/{id}.
func (c *Config) path() string {
	if c.ModuleID != "" {
		return "devices/" + c.DeviceID + "/modules/" + c.ModuleID
	}
	return "devices/" + c.DeviceID
}

// dial opens the TCP connection and does the TLS handshake.
func dial(ctx context.Context, config Config) (*tls.Conn, Facts, error) {
	raw, err := dialTCP(ctx, config)
	if err != nil {
		return nil, Facts{}, explain(config, StageTCP, err)
	}
	settings := &tls.Config{
		ServerName: config.HostName, RootCAs: config.Roots,
		MinVersion: config.MinVersion, MaxVersion: config.MaxVersion,
		CipherSuites: config.Suites, CurvePreferences: config.Groups,
	}
	if settings.MinVersion == 0 {
		settings.MinVersion = tls.VersionTLS12
		if m := config.MaxVersion; m != 0 && m < settings.MinVersion {
			settings.MinVersion = m
		}
	}
	if c := config.Certificate; c != nil {
		// Given even if the hub's list of acceptable authorities lacks its issuer:
		// the hub judges, and says why not.
		settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	}
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, Facts{}, explain(config, StageTLS, err)
	}
	return conn, factsOf(conn.ConnectionState()), nil
}

func dialTCP(ctx context.Context, config Config) (net.Conn, error) {
	address := config.Address
	if address == "" {
		host := config.HostName
		if IsLoopback(host) && net.ParseIP(host) == nil {
			host = "127.0.0.1" // RFC 6761 6.3; not every resolver knows
		}
		address = net.JoinHostPort(host, config.Transport.Port())
	}
	dialer := net.Dialer{}
	if config.LocalAddress != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: config.LocalAddress}
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// IsLoopback reports whether a host name is this machine's own by definition:
// localhost, a name below it, or a loopback address.
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func factsOf(state tls.ConnectionState) Facts {
	f := Facts{
		Version: strings.TrimPrefix(tls.VersionName(state.Version), "TLS "),
		Suite:   tls.CipherSuiteName(state.CipherSuite),
		Resumed: state.DidResume,
	}
	if state.CurveID != 0 {
		f.Group = state.CurveID.String()
	}
	if len(state.PeerCertificates) > 0 {
		cert := state.PeerCertificates[0]
		f.Server = cert.Subject.String()
		switch cert.PublicKey.(type) {
		case *rsa.PublicKey:
			f.ServerKey = "RSA"
		case *ecdsa.PublicKey:
			f.ServerKey = "ECDSA"
		}
	}
	return f
}

// connectMQTT sends CONNECT as Azure's SDKs do, and waits for the answer.
func (s *Session) connectMQTT(ctx context.Context) error {
	options := mqtt.NewClientOptions()
	options.AddBroker("tls://" + s.config.HostName)
	options.SetClientID(s.config.clientID())
	options.SetUsername(userName(s.config))
	options.SetPassword(s.token)
	// Otherwise paho connects once more with MQTT 3.1 when it is refused.
	options.SetProtocolVersion(4)
	options.SetCleanSession(true)
	options.SetAutoReconnect(false)
	options.SetConnectRetry(false)
	options.SetOrderMatters(false)
	options.SetKeepAlive(cmp.Or(s.config.KeepAlive, 3*time.Minute))
	options.SetConnectTimeout(dialTimeout)
	options.SetWriteTimeout(dialTimeout)
	options.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.conn, nil })
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lose(err) })
	s.mqtt = mqtt.NewClient(options)
	token := s.mqtt.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.conn.Close()
		<-token.Done()
		return explain(s.config, StageMQTT, context.Cause(ctx))
	}
	if err := token.Error(); err != nil {
		return explain(s.config, StageMQTT, err)
	}
	return nil
}

// clientID is {id}, or {id}/{module}.
func (c *Config) clientID() string {
	if c.ModuleID != "" {
		return c.DeviceID + "/" + c.ModuleID
	}
	return c.DeviceID
}

// userName is {host}/{client id}/?api-version=...&DeviceClientType=...
func userName(config Config) string {
	sdk := config.SDK
	if sdk == "" {
		sdk = "hubscope-device/1 (" + runtime.Version() + "; " + runtime.GOOS + "; " + runtime.GOARCH + ")"
	}
	return config.HostName + "/" + config.clientID() + "/?api-version=" + apiVersion + "&DeviceClientType=" + escape(sdk)
}

// escape percent-encodes, blanks included.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Facts returns what the handshake has settled.
func (s *Session) Facts() Facts { return s.facts }

// Send delivers a message and waits until the hub has acknowledged it.
func (s *Session) Send(ctx context.Context, m Message) error {
	if s.http != nil {
		return s.post(ctx, m)
	}
	token := s.mqtt.Publish(m.topic(s.config.path()), 1, false, m.Body)
	select {
	case <-token.Done():
		if err := token.Error(); err != nil {
			return explain(s.config, StageSession, err)
		}
		return nil
	case <-s.lost:
		return explain(s.config, StageSession, s.cause)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post sends a message with the HTTPS device API.
func (s *Session) post(ctx context.Context, m Message) error {
	target := url.URL{Scheme: "https", Host: s.config.HostName, Path: "/devices/" + s.config.DeviceID + "/messages/events", RawQuery: "api-version=" + apiVersion}
	target.RawPath = "/devices/" + url.PathEscape(s.config.DeviceID) + "/messages/events"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(m.Body))
	if err != nil {
		return err
	}
	if s.token != "" {
		request.Header.Set("Authorization", s.token)
	}
	request.Header.Set("iothub-to", "/devices/"+escape(s.config.DeviceID)+"/messages/events")
	request.Header.Set("Content-Type", m.ContentType)
	request.Header.Set("User-Agent", cmp.Or(s.config.SDK, "hubscope-device/1"))
	for _, p := range m.Properties {
		request.Header["iothub-app-"+p.Name] = []string{p.Value} // as it is written
	}
	response, err := s.http.Do(request)
	if err != nil {
		s.lose(err)
		return explain(s.config, StageSession, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return explain(s.config, StageSession, err)
	}
	if response.StatusCode/100 != 2 {
		return explain(s.config, StageHTTPS, &statusError{response.StatusCode, string(body)})
	}
	return nil
}

// Lost is closed when the connection has ended without Close.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Err says why the connection was lost; nil while it is not.
func (s *Session) Err() error {
	select {
	case <-s.lost:
		return explain(s.config, StageSession, s.cause)
	default:
		return nil
	}
}

func (s *Session) lose(err error) {
	s.lostOnce.Do(func() {
		s.cause = err
		close(s.lost)
	})
}

// Close says goodbye and closes the connection.
func (s *Session) Close() {
	if s.mqtt != nil {
		s.mqtt.Disconnect(100)
	}
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	s.conn.Close()
}

// Drop closes the connection without a word, as a device does that loses power.
func (s *Session) Drop() {
	s.conn.Close()
	if s.mqtt != nil {
		s.mqtt.Disconnect(0)
	}
}

// singleConn makes an HTTP transport of one connection that is open already.
func singleConn(conn net.Conn) *http.Transport {
	var used bool
	return &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if used {
				return nil, errors.New("the hub has closed the connection")
			}
			used = true
			return conn, nil
		},
		MaxConnsPerHost: 1,
	}
}

type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }
