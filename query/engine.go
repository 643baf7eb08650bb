package query

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"

	"hubscope/query/chsql"
	"hubscope/query/kql"
	"hubscope/query/plan"
)

// Config is the configuration of an [Engine].
type Config struct {
	// Catalog is what queries can refer to; [Catalog] of the ingest columns when nil.
	Catalog *plan.Catalog
	// Limits hold for a query that asks for none; DefaultLimits where a field is zero.
	Limits Limits
	// MaxLimits are what a query may ask for at most; Limits where a field is zero.
	MaxLimits Limits
	// EventDays is for how many days events are kept, counts longer: an answer from
	// counts alone says so. 0 is as long as the counts. For a Catalog of its own it
	// is without effect.
	EventDays int
	// Rollups says since when the rollups that have a finer one hold everything, by
	// name; nil says that all of them are there, and were always.
	Rollups func(context.Context) (map[string]time.Time, error)
	// External reads the files that externaldata names, nil refuses all of them;
	// [External.Reader] makes one of lists of what is allowed.
	External func(uri string) ([]byte, error)
}

// Engine compiles and runs queries. It is safe for concurrent use.
type Engine struct {
	catalog *plan.Catalog
	runner  Runner
	limits  Limits
	max     Limits
	ext     func(uri string) ([]byte, error)
	starts  starts
}

// New returns an engine that runs its queries on runner. Without a runner it can
// only analyze and explain.
func New(cfg Config, runner Runner) (*Engine, error) {
	if cfg.Catalog == nil {
		c, err := Catalog("hubscope")
		if err != nil {
			return nil, err
		}
		for _, t := range c.Tables() {
			for _, r := range c.Rollups() {
				if r.Table == t.Name {
					t.Keep = int64(cfg.EventDays) * plan.TicksPerDay
				}
			}
		}
		cfg.Catalog = c
	}
	limits := cfg.Limits.or(DefaultLimits())
	return &Engine{catalog: cfg.Catalog, runner: runner, limits: limits, max: cfg.MaxLimits.or(limits), ext: cfg.External, starts: starts{ask: cfg.Rollups}}, nil
}

// or fills the zero fields of l from d.
func (l Limits) or(d Limits) Limits {
	if l.Time == 0 {
		l.Time = d.Time
	}
	if l.MemoryBytes == 0 {
		l.MemoryBytes = d.MemoryBytes
	}
	if l.ResultRows == 0 {
		l.ResultRows = d.ResultRows
	}
	if l.ResultBytes == 0 {
		l.ResultBytes = d.ResultBytes
	}
	if l.ReadRows == 0 {
		l.ReadRows = d.ReadRows
	}
	return l
}

// within returns l with no field above the same of max; 0 is no limit.
func (l Limits) within(max Limits) Limits {
	l = l.or(max)
	clip := func(v *int64, m int64) {
		if m > 0 && *v > m {
			*v = m
		}
	}
	if max.Time > 0 && l.Time > max.Time {
		l.Time = max.Time
	}
	clip(&l.MemoryBytes, max.MemoryBytes)
	clip(&l.ResultRows, max.ResultRows)
	clip(&l.ResultBytes, max.ResultBytes)
	clip(&l.ReadRows, max.ReadRows)
	return l
}

// Catalog returns what queries can refer to.
func (e *Engine) Catalog() *plan.Catalog { return e.catalog }

// Limits returns the limits that hold when a request asks for none, and what it
// may ask for at most.
func (e *Engine) Limits() (limits, max Limits) { return e.limits, e.max }

// compiled is a query ready to run.
type compiled struct {
	plan *plan.Plan
	sql  *chsql.Query
	took time.Duration
}

// compile turns text into SQL. discover, if not nil, runs the queries on whose
// answers the columns of some operators depend; without it the result is then
// not known.
func (e *Engine) compile(req Request, discover func(*plan.Discovery) ([]string, error)) (*compiled, error) {
	start := time.Now()
	tree, errs := kql.Parse(req.Text)
	if len(errs) > 0 {
		// What could be read is bound all the same: several errors are shown at once.
		_, more := plan.Bind(tree, e.catalog, e.options(req, nil, false))
		errs = append(errs, more...)
		errs.Sort()
		return nil, errs
	}
	found := map[string][]string{}
	for round := 0; ; round++ {
		p, errs := plan.Bind(tree, e.catalog, e.options(req, found, discover != nil))
		if len(errs) > 0 {
			return nil, errs
		}
		if p.Discover == nil {
			return &compiled{plan: p, sql: chsql.Generate(p), took: time.Since(start)}, nil
		}
		if discover == nil || round > 16 {
			return &compiled{plan: p, took: time.Since(start)}, nil
		}
		keys, err := discover(p.Discover)
		if err != nil {
			return nil, err
		}
		found[p.Discover.Key] = keys
	}
}

// options are those of a request. Unless the query is going to run, no file is
// read for externaldata, whose columns are known without it.
func (e *Engine) options(req Request, found map[string][]string, runs bool) plan.Options {
	opt := plan.Options{Parameters: req.Parameters, Hubs: req.Hubs, Owner: req.Owner, Discovered: found, External: e.ext, Complete: e.starts.complete()}
	if e.ext != nil && !runs {
		opt.External = func(string) ([]byte, error) { return nil, nil }
	}
	if !req.Now.IsZero() {
		t := plan.Ticks(req.Now.UTC())
		opt.Now = &t
	}
	if !req.Start.IsZero() {
		t := plan.Ticks(req.Start.UTC())
		opt.Start = &t
	}
	if !req.End.IsZero() {
		t := plan.Ticks(req.End.UTC())
		opt.End = &t
	}
	return opt
}

// Query compiles and starts a query. The error is a kql.Errors when the text is
// at fault, an *Error otherwise.
func (e *Engine) Query(ctx context.Context, req Request) (*Result, error) {
	if req.ID == "" {
		req.ID = newID()
	}
	if req.Now.IsZero() {
		req.Now = time.Now()
	}
	if e.runner == nil {
		return nil, &Error{Code: CodeUnavailable, Message: "there is no ClickHouse to run on", ID: req.ID}
	}
	limits := req.Limits.or(e.limits).within(e.max)
	e.starts.learn(ctx)
	n := 0
	c, err := e.compile(req, func(d *plan.Discovery) ([]string, error) {
		n++
		return e.discover(ctx, req, limits, d, req.ID+"-"+strconv.Itoa(n))
	})
	if err != nil {
		return nil, err
	}
	if c.sql == nil {
		return nil, &Error{Code: CodeRuntime, Message: "the columns of the result depend on too many other results", ID: req.ID}
	}
	limits, takes := set(c.plan.Set, limits)
	limits = limits.within(e.max)
	cols := columns(c.plan)
	rows, err := e.runner.Run(ctx, Statement{ID: req.ID, SQL: c.sql.SQL, Now: req.Now, Columns: cols, Limits: limits, RowFilters: e.rowFilters(req), Progress: req.Progress})
	if err != nil {
		return nil, err
	}
	return &Result{
		ID: req.ID, Columns: cols, Visualization: visualization(c.plan), SQL: c.sql.SQL, Tables: c.sql.Tables, Rollup: c.sql.Rollup, Notices: c.plan.Notices,
		Takes: takes, rows: rows, compile: c.took,
	}, nil
}

// set applies the set statements of a query that are about its limits. takes
// says that the query wants only its first rows, which is no truncation.
func set(values map[string]*plan.Const, limits Limits) (_ Limits, takes bool) {
	for name, to := range map[string]*int64{
		"truncationmaxrecords": &limits.ResultRows, "truncationmaxsize": &limits.ResultBytes, "maxmemoryconsumptionperquerypernode": &limits.MemoryBytes,
	} {
		if v := values[name]; v != nil && (v.T == plan.Long || v.T == plan.Int) && v.Int > 0 {
			*to = v.Int
		}
	}
	if v := values["notruncation"]; v != nil && v.T == plan.Bool && v.Int != 0 {
		limits.ResultRows, limits.ResultBytes = math.MaxInt64, math.MaxInt64
	}
	if v := values["query_take_max_records"]; v != nil && (v.T == plan.Long || v.T == plan.Int) && v.Int > 0 {
		limits.ResultRows, takes = min(v.Int, limits.ResultRows), true
	}
	return limits, takes
}

// discover runs the query that decides about the columns of an operator.
func (e *Engine) discover(ctx context.Context, req Request, limits Limits, d *plan.Discovery, id string) ([]string, error) {
	q := chsql.Generate(d.Query)
	rows, err := e.runner.Run(ctx, Statement{ID: id, SQL: q.SQL, Now: req.Now, Columns: columns(d.Query), Limits: limits, RowFilters: e.rowFilters(req)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []string
	for {
		b, err := rows.Next()
		if err != nil {
			if isEOF(err) {
				return keys, nil
			}
			return nil, err
		}
		for i := 0; i < b.Rows; i++ {
			keys = append(keys, b.Columns[0].Text(i))
		}
	}
}

// Cancel ends the query with this id. No such query is no error.
func (e *Engine) Cancel(ctx context.Context, id string) error {
	if e.runner == nil {
		return nil
	}
	return e.runner.Kill(ctx, id)
}

// Analyze compiles a query without running anything.
func (e *Engine) Analyze(req Request) Analysis {
	c, err := e.compile(req, nil)
	if err != nil {
		errs, _ := err.(kql.Errors)
		return Analysis{Errors: errs}
	}
	a := Analysis{}
	for _, t := range c.plan.Tables {
		a.Tables = append(a.Tables, t.Name)
	}
	if c.sql != nil {
		a.Columns = columns(c.plan)
	}
	return a
}

// Explain says how a query would run.
func (e *Engine) Explain(ctx context.Context, req Request) (*Explanation, error) {
	if req.Now.IsZero() {
		req.Now = time.Now()
	}
	limits := req.Limits.or(e.limits).within(e.max)
	e.starts.learn(ctx)
	var discover func(d *plan.Discovery) ([]string, error)
	if e.runner != nil {
		discover = func(d *plan.Discovery) ([]string, error) {
			return e.discover(ctx, req, limits, d, newID())
		}
	}
	c, err := e.compile(req, discover)
	if err != nil {
		return nil, err
	}
	x := &Explanation{EstimatedRows: -1, Visualization: visualization(c.plan)}
	if c.sql == nil {
		return x, nil
	}
	x.Columns, x.SQL, x.Tables, x.Rollup = columns(c.plan), c.sql.SQL, c.sql.Tables, c.sql.Rollup
	x.RollupWhyNot, x.Notices, x.Plan = c.plan.RollupWhyNot, c.plan.Notices, c.plan.String()
	if e.runner != nil && len(x.Tables) > 0 {
		n, err := e.runner.Estimate(ctx, Statement{ID: newID(), SQL: x.SQL, Now: req.Now, Columns: x.Columns, Limits: limits, RowFilters: e.rowFilters(req)})
		if err == nil {
			x.EstimatedRows = n
		}
	}
	return x, nil
}

func columns(p *plan.Plan) []Column {
	cols := make([]Column, len(p.Columns))
	for i, c := range p.Columns {
		cols[i] = Column{Name: c.Name, Type: c.Type}
		if c.Type == plan.Unknown {
			cols[i].Type = plan.Dynamic
		}
	}
	return cols
}

func visualization(p *plan.Plan) *Visualization {
	if p.Render == nil {
		return nil
	}
	v := &Visualization{Kind: p.Render.Kind, Properties: map[string]string{}}
	for _, prop := range p.Render.Properties {
		v.Properties[prop.Name] = prop.Value
	}
	return v
}

func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Sprintf("q-%d", time.Now().UnixNano())
	}
	return hex.EncodeToString(b[:])
}
