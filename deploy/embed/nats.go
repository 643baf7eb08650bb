package embed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"
)

// NATSConfig says where and how the NATS server runs.
type NATSConfig struct {
	// Dir holds JetStream's files; made when absent.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Password of user "hubscope"; empty makes a random one.
	Password string
	// MaxStore bounds JetStream's files in bytes; 0 takes what the disk has.
	MaxStore int64
	// Log receives the server's warnings and errors; nil discards them.
	Log *slog.Logger
}

// NATS is a running NATS server with JetStream in this process.
type NATS struct {
	// URL has the credentials in it.
	URL    string
	server *server.Server
}

const natsUser = "hubscope"

// StartNATS starts the server and returns when it accepts clients. Every
// acknowledged message is on disk (sync_interval: always): JetStream's default
// of two minutes loses acknowledged messages in a power cut and then uses
// their sequence numbers again.
func StartNATS(ctx context.Context, cfg NATSConfig) (*NATS, error) {
	if cfg.Password == "" {
		cfg.Password = rand.Text()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("nats folder: %w", err)
	}
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	} else if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		// The server would only log this.
		return nil, fmt.Errorf("nats port: %w", err)
	} else {
		l.Close()
	}
	// The server warns about passwords it holds in clear. This one is random, so
	// the cheapest hash does.
	hash, err := bcrypt.GenerateFromPassword([]byte(cfg.Password), bcrypt.MinCost)
	if err != nil {
		return nil, fmt.Errorf("nats password: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "hubscope", Host: "127.0.0.1", Port: port,
		Username: natsUser, Password: string(hash),
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: true, JetStreamMaxStore: cfg.MaxStore,
		MaxPayload: 8 << 20, WriteDeadline: 10 * time.Second,
		NoSigs: true, NoLog: cfg.Log == nil,
	})
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	failed := make(chan string, 1)
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s.SetLoggerV2(natsLog{log, failed}, false, false, false)
	go s.Start()
	deadline := time.Now().Add(30 * time.Second)
	for !s.ReadyForConnections(50 * time.Millisecond) {
		select {
		case text := <-failed:
			s.Shutdown()
			return nil, errors.New("nats: " + text)
		case <-ctx.Done():
			s.Shutdown()
			return nil, ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			s.Shutdown()
			return nil, errors.New("nats not ready within 30 s")
		}
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		select {
		case text := <-failed:
			return nil, errors.New("nats: JetStream: " + text)
		default:
			return nil, errors.New("nats: JetStream did not start; is the disk full or the folder unreadable?")
		}
	}
	addr := s.Addr().(*net.TCPAddr)
	u := url.URL{Scheme: "nats", User: url.UserPassword(natsUser, cfg.Password), Host: addr.String()}
	return &NATS{URL: u.String(), server: s}, nil
}

// Close stops the server; files are synced.
func (n *NATS) Close() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// natsLog passes the server's log on. Its notices are debug to us.
type natsLog struct {
	log    *slog.Logger
	failed chan string
}

func (l natsLog) Noticef(format string, v ...any) {
	l.log.Debug("nats", "text", fmt.Sprintf(format, v...))
}
func (l natsLog) Warnf(format string, v ...any) {
	l.log.Warn("nats", "text", fmt.Sprintf(format, v...))
}
func (l natsLog) Errorf(format string, v ...any) {
	l.log.Error("nats", "text", fmt.Sprintf(format, v...))
}
func (l natsLog) Debugf(string, ...any) {}
func (l natsLog) Tracef(string, ...any) {}
func (l natsLog) Fatalf(format string, v ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	l.log.Error("nats", "text", text)
	select {
	case l.failed <- text:
	default:
	}
}
