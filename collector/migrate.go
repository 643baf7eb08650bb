package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"hubscope/ingest"
)

// migration is one version of the schema. Its statements run in order and each
// must be harmless when it ran before (IF NOT EXISTS, CREATE OR REPLACE): two
// collectors may migrate at once, and one may be killed half-way. Versions are
// never changed after a release; what changes is a new version.
//
// Tables are made from the column lists as they are now. A later version that
// adds a column to ingest.Connections therefore adds it with ADD COLUMN IF NOT
// EXISTS for databases that are older, changes the materialized views that need
// it with MODIFY QUERY, and replaces the views; see addColumn.
type migration struct {
	version    int
	name       string
	statements func(s Schema, columns []ingest.Column) []string
}

var migrations = []migration{
	{1, "events, certificates, rollups, device states and their views", first},
	{2, "samples of metrics", func(s Schema, _ []ingest.Column) []string { return []string{s.metricSamples(), s.azureMetrics()} }},
	{3, "log of queries", func(s Schema, _ []ingest.Column) []string { return []string{s.queryLog()} }},
	{4, "metrics of the pipeline", func(s Schema, _ []ingest.Column) []string {
		return []string{s.pipelineSamples(), s.pipelineMetrics()}
	}},
	{5, "audit", func(s Schema, _ []ingest.Column) []string { return []string{s.audit()} }},
	{6, "coarser rollups", func(s Schema, _ []ingest.Column) []string {
		out := []string{s.rollupStarts()}
		for _, r := range ingest.Rollups {
			if r.Finer != "" {
				out = append(out, s.rollup(r), s.feed(r), s.rollupStart(r))
			}
		}
		return out
	}},
}

func first(s Schema, columns []ingest.Column) []string {
	out := []string{s.connections(columns), s.certificates(columns)}
	for _, r := range ingest.Rollups {
		if r.Finer == "" {
			out = append(out, s.rollup(r), s.feed(r))
		}
	}
	out = append(out, s.deviceStates(), s.deviceStatesFeed(), s.deviceFirsts(), s.deviceFirstsFeed())
	return append(out, s.views()...)
}

// addColumn returns the statement that adds a column to an older table, behind
// the column that it follows in the list.
func (s Schema) addColumn(table string, columns []ingest.Column, name string) string {
	after := ""
	for _, c := range columns {
		if c.Name == name {
			return fmt.Sprintf("ALTER TABLE %s%s ADD COLUMN IF NOT EXISTS %s%s", s.name(table), s.on(), definition(c), after)
		}
		after = " AFTER " + c.Name
	}
	panic("no column " + name)
}

// Migrated is what Migrate found and did.
type Migrated struct {
	// From and To are the schema's versions before and after; 0 is none.
	From, To int
	// Tables counts tables and views.
	Tables int
}

// ErrNewerSchema says that a later hubscope made the tables.
var ErrNewerSchema = errors.New("the database has a newer schema than this program knows")

const schemaTable = "schema_migrations"

// Migrate makes the database and brings its tables to the newest version. It
// may be repeated, interrupted, and run by several at once.
func Migrate(ctx context.Context, conn driver.Conn, s Schema) (Migrated, error) {
	return migrate(ctx, conn, s, migrations, ingest.Connections)
}

func migrate(ctx context.Context, conn driver.Conn, s Schema, all []migration, columns []ingest.Column) (Migrated, error) {
	if err := s.Validate(); err != nil {
		return Migrated{}, err
	}
	var m Migrated
	for _, sql := range []string{
		"CREATE DATABASE IF NOT EXISTS " + s.Database + s.on(),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s (
  version UInt32,
  name String,
  applied DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = %s
ORDER BY version`, s.name(schemaTable), s.on(), s.engine("ReplacingMergeTree", schemaTable)),
	} {
		if err := s.exec(ctx, conn, sql); err != nil {
			return m, fmt.Errorf("migrate: %w", err)
		}
	}
	var from uint32
	if err := conn.QueryRow(ctx, "SELECT max(version) FROM "+s.name(schemaTable)).Scan(&from); err != nil {
		return m, fmt.Errorf("migrate: read version: %w", err)
	}
	m.From, m.To = int(from), int(from)
	if last := all[len(all)-1].version; m.From > last {
		return m, fmt.Errorf("%w: %d, this one knows %d", ErrNewerSchema, m.From, last)
	}
	for _, v := range all {
		if v.version <= m.From {
			continue
		}
		for _, sql := range v.statements(s, columns) {
			if err := s.exec(ctx, conn, sql); err != nil {
				return m, fmt.Errorf("migrate to version %d (%s): %w", v.version, v.name, err)
			}
		}
		// Not by async_insert, the server's default: the next statement may
		// depend on it being there.
		sync := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
		if err := conn.Exec(sync, fmt.Sprintf("INSERT INTO %s (version, name) VALUES (?, ?)", s.name(schemaTable)), v.version, v.name); err != nil {
			return m, fmt.Errorf("migrate: record version %d: %w", v.version, err)
		}
		m.To = v.version
	}
	var tables uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = ? AND name NOT LIKE '%Feed' AND name NOT LIKE '.inner%'", s.Database).Scan(&tables); err != nil {
		return m, fmt.Errorf("migrate: count tables: %w", err)
	}
	m.Tables = int(tables)
	return m, nil
}

// codes of errors that a definition meets when another collector runs the same
// one at this moment: it is worth a second try.
var passing = map[int32]bool{
	57:  true, // TABLE_ALREADY_EXISTS
	60:  true, // UNKNOWN_TABLE: being renamed
	82:  true, // DATABASE_ALREADY_EXISTS
	253: true, // REPLICA_ALREADY_EXISTS
	473: true, // DEADLOCK_AVOIDED
	517: true, // CANNOT_ASSIGN_ALTER
	529: true, // NOT_A_LEADER
}

// hopeless are codes that waiting does not cure.
var hopeless = map[int32]bool{
	36:  true, // BAD_ARGUMENTS
	47:  true, // UNKNOWN_IDENTIFIER
	62:  true, // SYNTAX_ERROR
	115: true, // UNKNOWN_SETTING
	192: true, // UNKNOWN_USER
	193: true, // WRONG_PASSWORD
	497: true, // ACCESS_DENIED
	516: true, // AUTHENTICATION_FAILED
}

func isHopeless(err error) bool {
	var ex *clickhouse.Exception
	return errors.Is(err, ErrNewerSchema) || errors.As(err, &ex) && hopeless[ex.Code]
}

func (s Schema) exec(ctx context.Context, conn driver.Conn, sql string) error {
	for try := 1; ; try++ {
		err := conn.Exec(ctx, sql)
		var ex *clickhouse.Exception
		if err == nil || !errors.As(err, &ex) || !passing[ex.Code] || try == 10 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 50 * time.Millisecond):
		}
	}
}
