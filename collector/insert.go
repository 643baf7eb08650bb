package collector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// inserter writes blocks through one native connection, which it makes anew
// after any error: ch-go's is of no use then.
type inserter struct {
	store    Store
	database string
	client   *ch.Client
	attempt  int         // of dialling; walks through the DSN's addresses
	retries  func(error) // told of every failure
}

// table inserts rows into a table, once, and gives up after InsertTimeout.
func (w *inserter) table(ctx context.Context, table string, in proto.Input, settings []ch.Setting) error {
	ctx, cancel := context.WithTimeout(ctx, w.store.InsertTimeout)
	defer cancel()
	if w.client == nil {
		opts, err := w.store.native(w.attempt)
		if err != nil {
			return err
		}
		w.attempt++
		if w.client, err = ch.Dial(ctx, opts); err != nil {
			w.client = nil
			return fmt.Errorf("dial clickhouse: %w", err)
		}
	}
	var names strings.Builder
	for i, c := range in {
		if i > 0 {
			names.WriteString(", ")
		}
		names.WriteString(c.Name)
	}
	err := w.client.Do(ctx, ch.Query{
		Body:     fmt.Sprintf("INSERT INTO %s.%s (%s) VALUES", w.database, table, names.String()),
		Input:    in,
		Settings: settings,
	})
	if err != nil {
		w.close()
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	return nil
}

func (w *inserter) close() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

// must is a setting that the server has to know.
func must(key, value string) ch.Setting { return ch.Setting{Key: key, Value: value, Important: true} }

// unmerged leaves putting rows of one key together to the merges, which compare
// all rows anyway. Doing it at the insert too, the default, is half of what a
// block costs with its rollups and states. Whoever reads these tables adds up,
// or reads FINAL.
func unmerged() ch.Setting { return must("optimize_on_insert", "0") }

// exactlyOnce are the settings of a block's insert.
func exactlyOnce(token string) []ch.Setting {
	return []ch.Setting{
		// Since 26.2 the default is 1: rows would wait in memory, and in other
		// blocks than these.
		must("async_insert", "0"),
		must("insert_deduplicate", "1"),
		must("insert_deduplication_token", token),
		// When the events' table has the block but a view's target does not,
		// the repeated insert must still reach the view.
		must("deduplicate_blocks_in_dependent_materialized_views", "1"),
		unmerged(),
	}
}

// block stores certificates, samples and events of b. It repeats each until it
// is stored, or ctx is done.
func (w *inserter) block(ctx context.Context, b *block, token string) error {
	if b.certs.rows > 0 {
		// First, so that no event shows up before its certificate; a row that
		// is there already is merged away.
		in := b.certs.finish()
		if err := w.forever(ctx, func() error {
			return w.table(ctx, "Certificates", in, []ch.Setting{must("async_insert", "0"), unmerged()})
		}); err != nil {
			return err
		}
	}
	for _, to := range []struct {
		name string
		rows *table
	}{{"MetricSamples", b.metrics}, {"PipelineSamples", b.pipeline}, {"Audit", b.changes}, {"Connections", b.events}} {
		if to.rows.rows == 0 {
			continue
		}
		in := to.rows.finish()
		if err := w.forever(ctx, func() error { return w.table(ctx, to.name, in, exactlyOnce(token)) }); err != nil {
			return err
		}
	}
	return nil
}

// forever repeats do with growing pauses.
func (w *inserter) forever(ctx context.Context, do func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		w.retries(err)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}
