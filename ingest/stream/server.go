package stream

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Server says how to reach NATS.
type Server struct {
	// URL of one server or several, comma-separated; may hold user:password.
	URL string `yaml:"url"`
	// Credentials is a file with a user JWT and seed.
	Credentials string `yaml:"credentials"`
	// CA is a file with the roots that vouch for the server; Cert and Key are
	// files for mutual TLS.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Validate says what is missing.
func (s Server) Validate() error {
	if s.URL == "" {
		return fmt.Errorf("nats: no url")
	}
	if (s.Cert == "") != (s.Key == "") {
		return fmt.Errorf("nats: cert and key go together")
	}
	return nil
}

// Connect returns a connection that keeps on trying, also when the server is
// not there yet. It holds nothing back while it is away: whoever publishes
// sees the error and keeps the message itself, with its id.
func (s Server) Connect(name string, log *slog.Logger) (*nats.Conn, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(3 * time.Second),
		// The default gives up when a server refuses the credentials twice;
		// during its restart that can be a passing state.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection lost", "connection", name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("nats connected again", "connection", name, "server", nc.ConnectedAddr())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats", "connection", name, "error", err)
		}),
	}
	if s.Credentials != "" {
		opts = append(opts, nats.UserCredentials(s.Credentials))
	}
	if s.CA != "" {
		opts = append(opts, nats.RootCAs(s.CA))
	}
	if s.Cert != "" {
		opts = append(opts, nats.ClientCert(s.Cert, s.Key))
	}
	nc, err := nats.Connect(s.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return nc, nil
}
