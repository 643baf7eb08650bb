package main_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/ingest"
	"hubscope/ingest/stream"
	"hubscope/plugin/host"
	"hubscope/query"
	"hubscope/query/api"
	"hubscope/query/clickhouse"
)

// These tests run the built binary as Grafana does, against a query service of
// its own process with the real engine behind it.

// parts are what all tests of this package share.
type parts struct {
	dir        string
	executable string // the plugin
	plugin     *host.Plugin
	store      sync.Once
	storeErr   error
	engine     *embed.Engine
	runner     *clickhouse.Runner
	broker     sync.Once
	brokerErr  error
	nats       *embed.NATS
	nc         *nats.Conn
	js         jetstream.JetStream
	feed       *stream.Feed
}

var shared parts // set up by TestMain, its stores by the first test that needs them

func TestMain(m *testing.M) {
	code, err := shared.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (p *parts) run(m *testing.M) (code int, err error) {
	if p.dir, err = os.MkdirTemp("", "hubscope-plugin-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(p.dir)
	ctx := context.Background()
	if p.executable, err = host.Build(ctx, p.dir); err != nil {
		return 1, err
	}
	if p.plugin, err = host.Start(ctx, host.Config{Executable: p.executable}); err != nil {
		return 1, err
	}
	code = m.Run()
	err = p.plugin.Close()
	if p.feed != nil {
		p.feed.Close()
	}
	if p.nc != nil {
		p.nc.Close()
	}
	if p.nats != nil {
		p.nats.Close()
	}
	if p.runner != nil {
		p.runner.Close()
	}
	if p.engine != nil {
		err = errors.Join(err, p.engine.Close(2*time.Minute))
	}
	return code, err
}

// Events that are stored: of devices 0 to 99, one every two seconds up to now.
const events = 3600

// runner returns a runner on the engine, whose tables are those of the product
// and hold events of the last two hours.
func runner(t testing.TB) *clickhouse.Runner {
	t.Helper()
	shared.store.Do(func() { shared.storeErr = shared.startStore() })
	if errors.Is(shared.storeErr, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(shared.storeErr)
	}
	if shared.storeErr != nil {
		t.Fatal(shared.storeErr)
	}
	return shared.runner
}

func (p *parts) startStore() (err error) {
	ctx := context.Background()
	if p.engine, err = embed.StartEngine(ctx, embed.EngineConfig{Dir: filepath.Join(p.dir, "engine")}); err != nil {
		return err
	}
	store := collector.DefaultConfig().ClickHouse
	store.DSN = p.engine.DSN()
	if _, err := store.Migrate(ctx); err != nil {
		return err
	}
	if err := p.exec(ctx, fmt.Sprintf(`INSERT INTO Connections (TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, Protocol, ConnectionId)
SELECT now64(7) - toIntervalSecond(number * 2), ['plant','office'][number %% 2 + 1], concat('device-', toString(number %% 100)),
  'deviceConnect', ['1.2','1.3','1.0'][number %% 3 + 1], 'TLS_AES_128_GCM_SHA256', 'Mqtt', generateUUIDv4() FROM numbers(%d)`, events)); err != nil {
		return err
	}
	p.runner, err = clickhouse.Open(ctx, clickhouse.Config{DSN: p.engine.ReaderDSN(), MaxConns: 16, Log: slog.New(slog.DiscardHandler)})
	return err
}

// exec runs a statement as the user that may write.
func (p *parts) exec(ctx context.Context, sql string) error {
	opts, err := driver.ParseDSN(p.engine.DSN())
	if err != nil {
		return err
	}
	conn, err := driver.Open(opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, sql)
}

// count asks the engine itself for a number.
func count(t testing.TB, sql string) (n uint64) {
	t.Helper()
	opts, err := driver.ParseDSN(shared.engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// feed returns a feed on a broker, and what publishes events to it.
func feed(t testing.TB) (*stream.Feed, func(...*ingest.Event)) {
	t.Helper()
	shared.broker.Do(func() { shared.brokerErr = shared.startBroker() })
	if shared.brokerErr != nil {
		t.Fatal(shared.brokerErr)
	}
	return shared.feed, func(events ...*ingest.Event) {
		t.Helper()
		var body []byte
		for _, e := range events {
			body = ingest.AppendEvent(body, e)
		}
		msg := &nats.Msg{Subject: "hubscope.events.0.node", Header: nats.Header{"Content-Type": {ingest.ContentType}}, Data: body}
		if _, err := shared.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *parts) startBroker() (err error) {
	ctx := context.Background()
	if p.nats, err = embed.StartNATS(ctx, embed.NATSConfig{Dir: filepath.Join(p.dir, "nats")}); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if p.nc, err = (stream.Server{URL: p.nats.URL}).Connect("plugin test", log); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); !p.nc.IsConnected(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not connected to NATS")
		}
	}
	if p.js, err = jetstream.New(p.nc); err != nil {
		return err
	}
	if err := stream.DefaultStreams().Ensure(ctx, p.js); err != nil {
		return err
	}
	cfg := stream.DefaultFeedConfig()
	cfg.Linger, cfg.Idle = 5*time.Millisecond, 50*time.Millisecond
	p.feed, err = stream.OpenFeed(p.nc, cfg, log)
	return err
}

// handler returns a query service.
func handler(t testing.TB, config api.Config) *api.Server {
	t.Helper()
	engine, err := query.New(query.Config{MaxLimits: query.DefaultMaxLimits()}, runner(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Logger, config.Version = slog.New(slog.NewTextHandler(t.Output(), nil)), "9.8.7"
	return api.NewServer(engine, config)
}

// serve returns the address of a query service.
func serve(t testing.TB, config api.Config) string {
	t.Helper()
	return serveHandler(t, handler(t, config))
}

func serveHandler(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		if s, ok := h.(*api.Server); ok {
			s.Close() // tails do not end by themselves
		}
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// source returns the running plugin as a data source. Each call is another one:
// its uid is that of the test and a number.
func source(t testing.TB, settings backend.DataSourceInstanceSettings) *host.Plugin {
	t.Helper()
	return sourceFor(t, host.Config{Settings: settings, User: &backend.User{Login: "officer", Role: "Viewer"}})
}

func sourceFor(t testing.TB, config host.Config) *host.Plugin {
	t.Helper()
	if config.Settings.UID == "" {
		config.Settings.UID = strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()) + "-" + rand.Text()[:6]
	}
	return shared.plugin.For(config)
}

// lastHour is the time range of queries.
func lastHour() backend.TimeRange {
	now := time.Now()
	return backend.TimeRange{From: now.Add(-time.Hour), To: now}
}

// panel is a query of a panel over the last hour.
func panel(json string) backend.DataQuery {
	return backend.DataQuery{RefID: "A", TimeRange: lastHour(), Interval: time.Minute, MaxDataPoints: 500, JSON: []byte(json)}
}

// ask runs one query and returns its response.
func ask(t testing.TB, p *host.Plugin, headers map[string]string, json string) backend.DataResponse {
	t.Helper()
	res, err := p.QueryData(t.Context(), headers, panel(json))
	if err != nil {
		t.Fatal(err)
	}
	r, ok := res.Responses["A"]
	if !ok || len(res.Responses) != 1 {
		t.Fatalf("responses %v", res.Responses)
	}
	return r
}

// patience is how long tests wait for what takes no time on a quiet machine.
const patience = time.Minute

// waitFor polls until ok holds.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// authority is a CA of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA " + rand.Text()[:6]}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pem is the CA's certificate.
func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// issue returns a certificate and key: of a server when it has names, else of a
// client.
func (a *authority) issue(commonName string, end time.Time, names ...string) (cert tls.Certificate, certPEM, keyPEM string) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// serveTLS returns the address of a handler with this certificate.
func serveTLS(t testing.TB, h http.Handler, config *tls.Config) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = config
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // handshakes fail on purpose
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// access makes a file of tokens and follows it; it waits until one is in force.
func access(t testing.TB, grants ...api.Grant) (*api.Access, []string) {
	t.Helper()
	file := api.AccessFile(filepath.Join(t.TempDir(), "tokens.yaml"))
	var tokens []string
	for _, g := range grants {
		token, err := file.Add(g)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	a, err := api.OpenAccess(string(file), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.Watch(ctx) }() //nolint:errcheck // it returns nil
	t.Cleanup(func() { cancel(); <-done })
	waitFor(t, "the tokens are in force", a.Required)
	return a, tokens
}
