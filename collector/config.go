package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"hubscope/ingest/stream"
)

// Config is the configuration of a [Collector].
type Config struct {
	// NATS says where the events come from.
	NATS stream.SourceConfig `yaml:"nats"`
	// ClickHouse says where they go.
	ClickHouse Store `yaml:"clickhouse"`

	// BlockRows and Linger bound a block: how many rows it has, and how long
	// its first event may wait. Linger is most of the time from an event to
	// its visibility, and 1/Linger the parts a second that the store merges.
	BlockRows int           `yaml:"block_rows"`
	Linger    time.Duration `yaml:"linger"`
	// MaxEventAge is how old an event may be when it reaches the stream; older
	// ones become dead letters. ClickHouse would drop them at once, and a block
	// that spans too many months is refused as a whole.
	MaxEventAge time.Duration `yaml:"max_event_age"`
	// Partitions that this process collects; empty is all.
	Partitions []int `yaml:"partitions"`
	// StopTimeout bounds the drain when Run is stopped.
	StopTimeout time.Duration `yaml:"stop_timeout"`
	// Migrate brings the tables up to date before collecting.
	Migrate bool `yaml:"migrate"`

	// Meter and Tracer default to none.
	Meter  metric.MeterProvider `yaml:"-"`
	Tracer trace.TracerProvider `yaml:"-"`
}

// Store says how to reach ClickHouse and how its tables are made.
type Store struct {
	// DSN as clickhouse-go reads it: clickhouse://user:password@host:9000/database?secure=true.
	DSN string `yaml:"dsn"`
	// Compression of inserted blocks on the wire, "none" or "lz4". On one
	// machine it costs more than it saves.
	Compression string `yaml:"compression"`
	// InsertTimeout is how long one insert may take before it is tried again.
	InsertTimeout time.Duration `yaml:"insert_timeout"`
	Schema        `yaml:",inline"`
}

// DefaultConfig returns what lacks only NATS.Server.URL and ClickHouse.DSN.
func DefaultConfig() Config {
	return Config{
		NATS: stream.DefaultSourceConfig(), ClickHouse: Store{Compression: "none", InsertTimeout: 2 * time.Minute, Schema: DefaultSchema()},
		BlockRows: 200_000, Linger: time.Second, MaxEventAge: 5 * 366 * 24 * time.Hour,
		StopTimeout: 1500 * time.Millisecond, Migrate: true,
	}
}

// Validate says what cannot be.
func (c Config) Validate() error {
	switch {
	case c.BlockRows < 1 || c.BlockRows > 1_000_000:
		// Beyond a million ClickHouse may cut a block, differently in each try.
		return fmt.Errorf("collector: block_rows %d, want 1 to 1000000", c.BlockRows)
	case c.Linger < 10*time.Millisecond || c.Linger > time.Minute:
		return fmt.Errorf("collector: linger %v, want 10ms to 1m", c.Linger)
	case c.MaxEventAge < time.Hour || c.MaxEventAge > 7*366*24*time.Hour:
		return fmt.Errorf("collector: max_event_age %v, want an hour to seven years", c.MaxEventAge)
	case c.StopTimeout < 0:
		return errors.New("collector: stop_timeout is below zero")
	}
	for _, p := range c.Partitions {
		if p < 0 || p >= c.NATS.Streams.Partitions {
			return fmt.Errorf("collector: no partition %d of %d", p, c.NATS.Streams.Partitions)
		}
	}
	return errors.Join(c.NATS.Validate(), c.ClickHouse.Validate())
}

// streams returns the streams to collect.
func (c Config) streams() []string {
	all := c.NATS.Streams.EventStreams()
	if len(c.Partitions) == 0 {
		return all
	}
	var some []string
	for i, name := range all {
		if slices.Contains(c.Partitions, i) {
			some = append(some, name)
		}
	}
	return some
}

// Validate says what cannot be.
func (s Store) Validate() error {
	if s.DSN == "" {
		return errors.New("clickhouse: no dsn")
	}
	opts, err := clickhouse.ParseDSN(s.DSN)
	if err != nil {
		return fmt.Errorf("clickhouse dsn: %w", redact(err))
	}
	switch {
	case opts.Protocol != clickhouse.Native:
		return errors.New("clickhouse dsn: the native protocol is needed, clickhouse://host:9000/database")
	case s.Compression != "none" && s.Compression != "lz4":
		return fmt.Errorf("clickhouse: compression %q, want none or lz4", s.Compression)
	case s.InsertTimeout < time.Second:
		return fmt.Errorf("clickhouse: insert_timeout %v, want 1s or more", s.InsertTimeout)
	}
	return s.schema(opts).Validate()
}

// redact keeps the DSN, with its password, out of an error.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// schema is s.Schema with the DSN's database.
func (s Store) schema(opts *clickhouse.Options) Schema {
	schema := s.Schema
	if schema.Database == "" {
		schema.Database = opts.Auth.Database
	}
	if schema.Database == "" {
		schema.Database = DefaultDatabase
	}
	return schema
}

// open connects for queries and definitions. The database need not exist yet.
func (s Store) open() (driver.Conn, Schema, error) {
	opts, err := clickhouse.ParseDSN(s.DSN)
	if err != nil {
		return nil, Schema{}, fmt.Errorf("clickhouse dsn: %w", redact(err))
	}
	schema := s.schema(opts)
	opts.Auth.Database = "system"
	opts.DialTimeout = min(opts.DialTimeout, 10*time.Second)
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 10 * time.Second
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, Schema{}, fmt.Errorf("clickhouse: %w", err)
	}
	return conn, schema, nil
}

// Migrate brings the tables of s up to date.
func (s Store) Migrate(ctx context.Context) (Migrated, error) {
	conn, schema, err := s.open()
	if err != nil {
		return Migrated{}, err
	}
	defer conn.Close()
	return Migrate(ctx, conn, schema)
}

// native returns the options of the inserting connection to one of the DSN's addresses.
func (s Store) native(attempt int) (ch.Options, error) {
	opts, err := clickhouse.ParseDSN(s.DSN)
	if err != nil {
		return ch.Options{}, fmt.Errorf("clickhouse dsn: %w", redact(err))
	}
	o := ch.Options{
		Address: opts.Addr[attempt%len(opts.Addr)], Database: "system", User: opts.Auth.Username, Password: opts.Auth.Password,
		ClientName: "hubscope collector", TLS: opts.TLS, DialTimeout: 5 * time.Second, HandshakeTimeout: 10 * time.Second,
		// The default of 3 s is for one packet, and a big insert sends none
		// until it is done.
		ReadTimeout: s.InsertTimeout, Compression: ch.CompressionDisabled,
	}
	if s.Compression == "lz4" {
		o.Compression = ch.CompressionLZ4
	}
	if o.User == "" {
		o.User = "default"
	}
	if o.TLS != nil && o.TLS.ServerName == "" {
		t := o.TLS.Clone()
		t.ServerName, _, _ = net.SplitHostPort(o.Address)
		o.TLS = t
	}
	return o, nil
}

var (
	identifier  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	clusterName = regexp.MustCompile(`^[A-Za-z0-9_.{}-]+$`)
)
