package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"hubscope/collector"
	"hubscope/hub"
	"hubscope/hub/handshake"
	"hubscope/ingest/stream"
	"hubscope/query"
	"hubscope/query/api"
)

// Settings is the configuration file: one for all commands. A flag wins over
// it, it wins over the environment, in which only secrets are looked for
// (HUBSCOPE_NATS, HUBSCOPE_CLICKHOUSE, HUBSCOPE_CLICKHOUSE_READER). deploy/hubscope.yaml has every key.
type Settings struct {
	// Node names this process in events and message ids; the host's name when
	// empty. Unique among the hubs, and the same after a restart.
	Node string `yaml:"node"`
	// MetricsListen is the address of the Prometheus page of hub and collector;
	// the query service has it on its own port.
	MetricsListen string `yaml:"metrics_listen"`

	NATS       natsSettings           `yaml:"nats"`
	ClickHouse clickhouseSettings     `yaml:"clickhouse"`
	Streams    stream.Streams         `yaml:"streams"`
	Publisher  publisherSettings      `yaml:"publisher"`
	Telemetry  stream.TelemetryConfig `yaml:"telemetry"`
	Collector  collectorSettings      `yaml:"collector"`
	Hub        hubSettings            `yaml:"hub"`
	Query      querySettings          `yaml:"query"`
}

type natsSettings struct {
	stream.Server `yaml:",inline"`
	// Port and MaxStore are those of the embedded server; port 0 is a free one.
	Port     int   `yaml:"port"`
	MaxStore int64 `yaml:"max_store"`
}

type clickhouseSettings struct {
	collector.Store `yaml:",inline"`
	// ReaderDSN is the data source of the query service, for a user that can
	// only read; DSN when empty.
	ReaderDSN string `yaml:"reader_dsn"`
	// Port, HTTPPort and MaxMemory (bytes) are those of the embedded engine.
	Port      int   `yaml:"port"`
	HTTPPort  int   `yaml:"http_port"`
	MaxMemory int64 `yaml:"max_memory"`
}

type publisherSettings struct {
	BatchEvents   int           `yaml:"batch_events"`
	BatchBytes    int           `yaml:"batch_bytes"`
	Linger        time.Duration `yaml:"linger"`
	QueueBytes    int64         `yaml:"queue_bytes"`
	InFlightBytes int64         `yaml:"in_flight_bytes"`
	AckWait       time.Duration `yaml:"ack_wait"`
	// Spool is the folder for events while the broker is away; `up` and `hub`
	// use one under the data folder when it is empty.
	Spool        string        `yaml:"spool"`
	SpoolBytes   int64         `yaml:"spool_bytes"`
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	Compress     bool          `yaml:"compress"`
}

type collectorSettings struct {
	BlockRows   int           `yaml:"block_rows"`
	Linger      time.Duration `yaml:"linger"`
	MaxEventAge time.Duration `yaml:"max_event_age"`
	Partitions  []int         `yaml:"partitions"`
	StopTimeout time.Duration `yaml:"stop_timeout"`
	LeaseTTL    time.Duration `yaml:"lease_ttl"`
	Migrate     bool          `yaml:"migrate"`
}

type hubSettings struct {
	// Name is the hub for clients that ask for no known server name; made at
	// the first start, with minTlsVersion 1.2.
	Name string `yaml:"name"`
	// HostNames of a hub that is made at the first start.
	HostNames []string `yaml:"host_names"`
	MQTT      string   `yaml:"mqtt_listen"`
	HTTPS     string   `yaml:"https_listen"`
	// Proxy is the address of MQTT behind a TLS proxy that sends PROXY protocol
	// v2 (deploy/haproxy); none when empty. Proxies are the networks it may come from.
	Proxy   string         `yaml:"proxy_listen"`
	Proxies []netip.Prefix `yaml:"proxies"`
	// LibSSL is the library of the second TLS engine; libssl.so.3 when empty,
	// "none" goes without.
	LibSSL string `yaml:"libssl"`
	// Certificates of the server, one a key type; made and kept under the data
	// folder when there are none.
	Certificates []certificateFiles `yaml:"certificates"`

	HelloTimeout     time.Duration `yaml:"hello_timeout"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	AuthTimeout      time.Duration `yaml:"auth_timeout"`
	MetricInterval   time.Duration `yaml:"metric_interval"`
	MaxConnections   int           `yaml:"max_connections"`
	MaxPending       int           `yaml:"max_pending"`
	Flood            floodSettings `yaml:"flood"`
}

type certificateFiles struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

type floodSettings struct {
	Burst       int           `yaml:"burst"`
	PerSecond   float64       `yaml:"per_second"`
	SampleEvery int           `yaml:"sample_every"`
	Window      time.Duration `yaml:"window"`
	MaxSources  int           `yaml:"max_sources"`
}

type querySettings struct {
	Listen string `yaml:"listen"`
	// TLS and Tokens are needed on an address that others can reach. Plaintext
	// says that a proxy in front has TLS.
	TLS       queryTLS `yaml:"tls"`
	Plaintext bool     `yaml:"plaintext"`
	// Tokens is the file of `hubscope token`; `up` uses one under the data folder
	// when it is empty.
	Tokens string `yaml:"tokens"`
	// Hosts are names besides localhost under which a service without tokens may
	// be asked on a loopback address.
	Hosts []string `yaml:"hosts"`
	// Log says whether queries are written into table QueryLog, with clickhouse.dsn.
	Log bool `yaml:"log"`
	// External says what externaldata may read.
	External query.External `yaml:"external"`
	MaxBody  int64          `yaml:"max_body"`

	Concurrency admissionSettings `yaml:"concurrency"`
	// Limits hold for a query that asks for none, MaxLimits bound what it may ask for.
	Limits    limitSettings `yaml:"limits"`
	MaxLimits limitSettings `yaml:"max_limits"`
}

// queryTLS are the files of the query service: certificate and key, and the CA
// of client certificates, if any.
type queryTLS struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client_ca"`
}

// admissionSettings are those of api.Admission.
type admissionSettings struct {
	Queries          int           `yaml:"queries"`
	QueriesPerClient int           `yaml:"queries_per_client"`
	Queue            int           `yaml:"queue"`
	QueueWait        time.Duration `yaml:"queue_wait"`
	Rate             float64       `yaml:"rate"`
	Burst            int           `yaml:"burst"`
}

// limitSettings are those of query.Limits; 0 is no limit of rows read.
type limitSettings struct {
	Time        time.Duration `yaml:"time"`
	MemoryBytes int64         `yaml:"memory"`
	ResultRows  int64         `yaml:"result_rows"`
	ResultBytes int64         `yaml:"result_bytes"`
	ReadRows    int64         `yaml:"read_rows"`
}

// defaultSettings returns what holds where neither file nor flag says otherwise.
func defaultSettings() Settings {
	c, p, h, hs := collector.DefaultConfig(), stream.DefaultPublisherConfig(), hub.DefaultConfig(), handshake.DefaultConfig()
	return Settings{
		ClickHouse: clickhouseSettings{Store: c.ClickHouse},
		Streams:    stream.DefaultStreams(),
		Publisher: publisherSettings{
			BatchEvents: p.BatchEvents, BatchBytes: p.BatchBytes, Linger: p.Linger, QueueBytes: p.QueueBytes,
			InFlightBytes: p.InFlightBytes, AckWait: p.AckWait, SpoolBytes: p.SpoolBytes, DrainTimeout: p.DrainTimeout, Compress: p.Compress,
		},
		Telemetry: stream.DefaultTelemetryConfig(),
		Collector: collectorSettings{
			BlockRows: c.BlockRows, Linger: c.Linger, MaxEventAge: c.MaxEventAge, StopTimeout: c.StopTimeout,
			LeaseTTL: c.NATS.LeaseTTL, Migrate: c.Migrate,
		},
		Hub: hubSettings{
			Name: "demo", HostNames: []string{"localhost", "demo.localhost", "127.0.0.1"},
			MQTT: "127.0.0.1:8883", HTTPS: "127.0.0.1:8443", Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			HelloTimeout: hs.HelloTimeout, HandshakeTimeout: hs.Timeout, AuthTimeout: h.AuthTimeout, MetricInterval: h.SampleEvery,
			MaxConnections: h.MaxConnections, MaxPending: h.MaxPending,
			Flood: floodSettings{Burst: h.Flood.Burst, PerSecond: h.Flood.PerSecond, SampleEvery: h.Flood.SampleEvery,
				Window: h.Flood.Window, MaxSources: h.Flood.MaxSources},
		},
		Query: querySettings{
			Listen: "127.0.0.1:7070", Log: true, MaxBody: 4 << 20,
			Concurrency: admissionSettings(api.DefaultAdmission()),
			Limits:      limitSettings(query.DefaultLimits()), MaxLimits: limitSettings(query.DefaultMaxLimits()),
		},
	}
}

// loadSettings returns the defaults with a file over them; path may be empty.
func loadSettings(path string) (Settings, error) {
	s := defaultSettings()
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return s, fmt.Errorf("configuration: %w", err)
		}
		defer f.Close()
		d := yaml.NewDecoder(f)
		d.KnownFields(true)
		if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
			return s, fmt.Errorf("configuration %s: %w", path, readable(err))
		}
	}
	if s.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return s, fmt.Errorf("name of this host: %w; set node in the configuration", err)
		}
		s.Node = name
	}
	return s, nil
}

// readable takes the names of our types out of a YAML error.
func readable(err error) error {
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		return err
	}
	lines := make([]string, len(types.Errors))
	for i, e := range types.Errors {
		if field, _, ok := strings.Cut(e, " not found in type "); ok {
			e = strings.Replace(field, "field ", "unknown key ", 1)
		}
		lines[i] = e
	}
	return errors.New(strings.Join(lines, "; "))
}

// set gives *p the value of a flag that was used.
func set[T comparable](p *T, flag T) {
	var none T
	if flag != none {
		*p = flag
	}
}

func (s *Settings) collectorConfig() collector.Config {
	c := collector.DefaultConfig()
	c.NATS = stream.SourceConfig{Server: s.NATS.Server, Streams: s.Streams, LeaseTTL: s.Collector.LeaseTTL}
	c.ClickHouse = s.ClickHouse.Store
	c.BlockRows, c.Linger, c.MaxEventAge = s.Collector.BlockRows, s.Collector.Linger, s.Collector.MaxEventAge
	c.Partitions, c.StopTimeout, c.Migrate = s.Collector.Partitions, s.Collector.StopTimeout, s.Collector.Migrate
	return c
}

func (s *Settings) publisherConfig() stream.PublisherConfig {
	p := s.Publisher
	return stream.PublisherConfig{
		Node: s.Node, BatchEvents: p.BatchEvents, BatchBytes: p.BatchBytes, Linger: p.Linger, QueueBytes: p.QueueBytes,
		InFlightBytes: p.InFlightBytes, AckWait: p.AckWait, Spool: p.Spool, SpoolBytes: p.SpoolBytes, DrainTimeout: p.DrainTimeout, Compress: p.Compress,
		Streams: s.Streams,
	}
}

func (s *Settings) hubConfig() hub.Config {
	h := s.Hub
	return hub.Config{
		Node: s.Node, DefaultHub: h.Name,
		Handshake:   handshake.Config{HelloTimeout: h.HelloTimeout, Timeout: h.HandshakeTimeout, LibSSL: h.LibSSL},
		SampleEvery: h.MetricInterval, AuthTimeout: h.AuthTimeout, MaxConnections: h.MaxConnections, MaxPending: h.MaxPending,
		Flood: hub.FloodConfig(h.Flood),
	}
}
