package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubscope/hub/registry"
)

// A Shell is where the command runs: the program that composes it binds one. The
// hub that runs on this machine, if one does, saves the user its address and root.
type Shell struct {
	// HostName, MQTT and HTTPS (host:port) and CA (a file) are those of the hub of
	// this machine; they are empty when there is none.
	HostName    string
	MQTT, HTTPS string
	CA          string
	Out         io.Writer
}

// Cmd is "hubscope device".
type Cmd struct {
	ConnectionString string        `placeholder:"S" env:"HUBSCOPE_CONNECTION_STRING" help:"HostName=...;DeviceId=...;SharedAccessKey=... (or x509=true)."`
	ID               string        `name:"id" placeholder:"ID" help:"Device id, instead of a connection string."`
	Host             string        `placeholder:"NAME" help:"The hub's host name."`
	Port             int           `placeholder:"N" help:"The hub's port."`
	Cert             string        `placeholder:"FILE" help:"Client certificate with its intermediates, as PEM."`
	Key              string        `placeholder:"FILE" help:"The certificate's private key, as PEM."`
	CA               string        `name:"ca" placeholder:"FILE" help:"Root that signed the hub's certificate, as PEM."`
	TLSMin           string        `name:"tls-min" enum:",1.0,1.1,1.2,1.3" default:"" placeholder:"VERSION" help:"Lowest TLS version to offer: 1.0, 1.1, 1.2 or 1.3."`
	TLSMax           string        `name:"tls-max" enum:",1.0,1.1,1.2,1.3" default:"" placeholder:"VERSION" help:"Highest TLS version to offer."`
	Cipher           []string      `placeholder:"SUITE" help:"Offer only this cipher suite below TLS 1.3, by its IANA name; may be repeated."`
	Transport        Transport     `enum:"mqtt,mqttws,https" default:"mqtt" help:"mqtt, mqttws (over WebSocket) or https."`
	Messages         int           `default:"5" help:"How many messages to send; 0 only connects."`
	Interval         time.Duration `default:"1s" help:"Pause between messages."`
	Stay             bool          `help:"Stay connected after the last message, until interrupted."`
	SDK              string        `name:"sdk" placeholder:"TEXT" help:"What the device calls itself."`
}

// Run connects, sends, and says what happened. It returns an error when the
// device is not let in or is cut.
func (c *Cmd) Run(ctx context.Context, s *Shell) error {
	config, err := c.config(s)
	if err != nil {
		return err
	}
	session, err := Connect(ctx, config)
	if err != nil {
		return err
	}
	defer session.Close()
	f := session.Facts()
	how := "SAS"
	if config.Certificate != nil {
		how = "X.509"
	}
	fmt.Fprintf(s.Out, "connected    %s as %s with %s over %s\n", config.HostName, config.DeviceID, how, config.Transport)
	group := f.Group
	if group == "" {
		group = "RSA key exchange"
	}
	fmt.Fprintf(s.Out, "negotiated   TLS %s, %s, %s, server certificate %s %s\n", f.Version, f.Suite, group, f.ServerKey, f.Server)

	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := range c.Messages {
		if i > 0 {
			if err := wait(ctx, session, c.Interval); err != nil {
				return stopped(ctx, err)
			}
		}
		m := NewTelemetry(config.DeviceID, 20+random.Float64()*10, 60+random.Float64()*20)
		if err := session.Send(ctx, m); err != nil {
			return stopped(ctx, err)
		}
		fmt.Fprintf(s.Out, "sent %d/%d     %s  %s=%s\n", i+1, c.Messages, m.Body, m.Properties[0].Name, m.Properties[0].Value)
	}
	if c.Stay {
		fmt.Fprintln(s.Out, "staying      until interrupted")
		if err := wait(ctx, session, -1); err != nil {
			return stopped(ctx, err)
		}
	}
	fmt.Fprintln(s.Out, "disconnected")
	return nil
}

// stopped makes the user's interrupt a clean end.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// wait waits for d, or for ever when it is negative.
func wait(ctx context.Context, session *Session, d time.Duration) error {
	var timer <-chan time.Time
	if d >= 0 {
		timer = time.After(d)
	}
	select {
	case <-timer:
		return nil
	case <-session.Lost():
		return session.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// config makes a device of the flags.
func (c *Cmd) config(s *Shell) (Config, error) {
	config := Config{HostName: c.Host, DeviceID: c.ID, Transport: c.Transport, SDK: c.SDK}
	if c.ConnectionString != "" {
		if c.ID != "" || c.Host != "" {
			return config, errors.New("--connection-string and --id or --host exclude each other")
		}
		cs, err := registry.ParseConnectionString(c.ConnectionString)
		if err != nil {
			return config, err
		}
		if cs.DeviceID == "" {
			return config, errors.New("this is the connection string of a service: a device's has DeviceId")
		}
		if cs.ModuleID != "" {
			return config, errors.New("modules are not supported")
		}
		config.HostName, config.DeviceID, config.Key, config.Token = cs.HostName, cs.DeviceID, cs.SharedAccessKey, cs.SharedAccessSignature
		if cs.GatewayHostName != "" {
			config.Address = net.JoinHostPort(cs.GatewayHostName, c.Transport.Port())
		}
	}
	if config.HostName == "" {
		config.HostName = s.HostName
	}
	if config.DeviceID == "" || config.HostName == "" {
		return config, errors.New("give --connection-string, or --id and --host")
	}
	if err := registry.ValidateDeviceID(config.DeviceID); err != nil {
		return config, err
	}
	if err := c.credentials(&config); err != nil {
		return config, err
	}
	if err := c.tls(&config, s); err != nil {
		return config, err
	}
	local := s.MQTT
	if c.Transport != MQTT {
		local = s.HTTPS
	}
	switch host := config.HostName; {
	case c.Port != 0:
		if IsLoopback(host) && net.ParseIP(host) == nil {
			host = "127.0.0.1"
		}
		config.Address = net.JoinHostPort(host, strconv.Itoa(c.Port))
	case config.Address == "" && IsLoopback(host):
		config.Address = local
	}
	return config, nil
}

func (c *Cmd) credentials(config *Config) error {
	switch {
	case c.Cert == "" && c.Key == "":
		if config.Key == "" && config.Token == "" {
			return errors.New("a device without a key needs --cert and --key")
		}
		return nil
	case c.Cert == "" || c.Key == "":
		return errors.New("--cert and --key go together")
	case config.Key != "" || config.Token != "":
		return errors.New("the connection string has a key: --cert and --key do not go with it")
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	config.Certificate = &pair
	return nil
}

func (c *Cmd) tls(config *Config, s *Shell) error {
	config.MinVersion, config.MaxVersion = versions[c.TLSMin], versions[c.TLSMax]
	if config.MinVersion != 0 && config.MaxVersion != 0 && config.MinVersion > config.MaxVersion {
		return fmt.Errorf("--tls-min %s is above --tls-max %s", c.TLSMin, c.TLSMax)
	}
	for _, name := range c.Cipher {
		id, err := suite(name)
		if err != nil {
			return err
		}
		config.Suites = append(config.Suites, id)
	}
	if len(config.Suites) > 0 {
		// TLS 1.3 has suites of its own; crypto/tls does not let them be chosen.
		if config.MinVersion == tls.VersionTLS13 {
			return errors.New("--cipher is for TLS 1.2 and below: it does not go with --tls-min 1.3")
		}
		if config.MaxVersion == 0 || config.MaxVersion == tls.VersionTLS13 {
			config.MaxVersion = tls.VersionTLS12
		}
	}
	file := c.CA
	if file == "" && IsLoopback(config.HostName) {
		file = s.CA
	}
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	config.Roots = x509.NewCertPool()
	if !config.Roots.AppendCertsFromPEM(data) {
		return fmt.Errorf("root certificate: %s has no certificate", file)
	}
	return nil
}

var versions = map[string]uint16{
	"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// suite finds a suite that crypto/tls can offer below TLS 1.3.
func suite(name string) (uint16, error) {
	var known []string
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.ContainsFunc(s.SupportedVersions, func(v uint16) bool { return v < tls.VersionTLS13 }) {
			if strings.EqualFold(s.Name, name) {
				return 0, fmt.Errorf("%s is a suite of TLS 1.3: those cannot be chosen", s.Name)
			}
			continue
		}
		if strings.EqualFold(s.Name, name) {
			return s.ID, nil
		}
		known = append(known, s.Name)
	}
	slices.Sort(known)
	return 0, fmt.Errorf("unknown cipher suite %q; there are %s", name, strings.Join(known, ", "))
}
