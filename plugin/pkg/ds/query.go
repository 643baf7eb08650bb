package ds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"hubscope/query/client"
)

// maxConcurrentQueries bounds the queries of one request that run at once. The
// service lets eight of a client in by default.
const maxConcurrentQueries = 8

// timeoutMargin is how much longer than the query the request may take, so that
// it is the service which says what took long.
const timeoutMargin = 2 * time.Second

// defaultLogLines is how many log lines a query gets that sets no row limit: as many
// as other log data sources show.
const defaultLogLines = 1000

// fromExpression is the header of queries whose frames go to an expression.
const fromExpression = "X-Grafana-From-Expr"

// skipCache is the header of queries that Grafana itself would not answer from a
// cache.
const skipCache = "X-Cache-Skip"

// QueryData answers the queries of a panel, an alert rule, a variable or Explore:
// each on its own, so that one that fails leaves the others their data.
func (d *Datasource) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	ctx = d.authorize(ctx, req.GetHTTPHeaders())
	header := func(name string) bool { return req.Headers[name] != "" || req.GetHTTPHeader(name) != "" }
	from := origin{alert: header(backend.FromAlertHeaderName), expression: header(fromExpression), fresh: header(skipCache)}
	if from.alert {
		forRule(ctx)
	}
	answer := backend.NewQueryDataResponse()
	var mu sync.Mutex
	var all sync.WaitGroup
	turns := make(chan struct{}, maxConcurrentQueries)
	for _, q := range req.Queries {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			r := d.respond(ctx, q, from)
			mu.Lock()
			defer mu.Unlock()
			answer.Responses[q.RefID] = r
		})
	}
	all.Wait()
	return answer, nil
}

// origin says what part of Grafana asks.
type origin struct {
	alert, expression bool
	fresh             bool // no cache
}

// respond answers one query. It does not panic.
func (d *Datasource) respond(ctx context.Context, q backend.DataQuery, from origin) (answer backend.DataResponse) {
	var x *Expanded
	defer func() {
		if p := recover(); p != nil {
			answer = d.failed(ctx, panicError(p), x)
		}
	}()
	if d.invalid != nil {
		return d.failed(ctx, d.invalid, nil)
	}
	m, err := readModel(q.JSON)
	if err != nil {
		return userError(err)
	}
	x, keep, err := d.plan(m, q, from)
	if err != nil {
		return d.failed(ctx, err, nil) // its places are those of the text already
	}
	req, notices := d.request(m, x)
	if m.Format == FormatLogs && !from.alert && x.newestFirst(req.MaxRows) {
		req.Query = x.Text
	}
	run := func(ctx context.Context) (*result, error) { return d.run(ctx, req) }
	var r *result
	var cached bool
	if keep < 0 {
		r, err = run(ctx)
	} else {
		r, cached, err = d.cache.get(ctx, d.cacheKey(ctx, req), keep, run)
	}
	if err != nil {
		return d.failed(ctx, err, x)
	}
	if from.alert && r.truncated {
		// What is cut off would raise no alert, and nobody reads a rule's notices.
		return userError(fmt.Errorf("the query gives more than %s, its row limit, and an alert rule must see all: aggregate, filter, or raise the limit of the query", count(r.rows, "row")))
	}
	frames, told, err := r.frames(shape{format: m.Format, numeric: from.alert || from.expression, alert: from.alert, expanded: x, deviceLink: d.deviceLink()})
	if err != nil {
		return userError(err)
	}
	describe(frames, x, r, cached, append(notices, told...))
	return backend.DataResponse{Frames: frames, Status: backend.StatusOK}
}

// deviceLink is the address of the dashboard of one device, for this data source.
func (d *Datasource) deviceLink() string {
	return "/d/" + url.PathEscape(d.settings.TLSDeviceDashboardUID) + "?var-ds=" + url.QueryEscape(d.uid)
}

// plan expands a query, and says how long its result may be kept: less than 0 is
// not even while it runs. The range of a query that bins by $__timeInterval is
// widened to whole bins, so that one refresh after the other asks for the same
// until the next bin begins, and no bin is half full for the sake of the range.
func (d *Datasource) plan(m Model, q backend.DataQuery, from origin) (*Expanded, time.Duration, error) {
	x, err := Expand(m, q.TimeRange, max(q.Interval, d.settings.TimeInterval), q.MaxDataPoints, from.alert)
	if err != nil {
		return nil, 0, err
	}
	keep := d.settings.Cache
	if from.alert || from.fresh || keep < 0 {
		return &x, -1, nil
	}
	if !x.Bins {
		return &x, keep, nil
	}
	start := x.Start.Truncate(x.Interval)
	end := x.End.Truncate(x.Interval)
	if end.Before(x.End) {
		end = end.Add(x.Interval)
	}
	wide, err := expand(m, start, end, x.Interval, false)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case keep > 0: // as the settings say
	case x.Now:
		keep = min(x.Interval, maxNowAge)
	default:
		keep = min(x.Interval, maxBinAge)
	}
	return &wide, keep, nil
}

// request is what the service is asked for.
func (d *Datasource) request(m Model, x *Expanded) (client.QueryRequest, []data.Notice) {
	limit := m.RowLimit
	var notices []data.Notice
	if limit <= 0 {
		limit = d.settings.DefaultRowLimit
		if m.Format == FormatLogs {
			limit = min(limit, defaultLogLines)
		}
	}
	if limit > d.settings.MaxRowLimit {
		notices = append(notices, info("the row limit of the query, %d, is above that of the data source, which is %d", limit, d.settings.MaxRowLimit))
		limit = d.settings.MaxRowLimit
	}
	return client.QueryRequest{
		Query: x.Text, Start: formatTime(x.Start), End: formatTime(x.End), MaxRows: limit,
		TimeoutSeconds: d.settings.Timeout.Seconds(), Explain: true,
	}, notices
}

// cacheKey names a request and who makes it.
func (d *Datasource) cacheKey(ctx context.Context, req client.QueryRequest) string {
	b, err := json.Marshal(struct {
		Scope string
		client.QueryRequest
	}{d.cacheScope(ctx), req})
	if err != nil {
		panic("encode " + err.Error()) // of texts and numbers
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// run asks the service and reads the whole answer.
func (d *Datasource) run(ctx context.Context, req client.QueryRequest) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, d.settings.Timeout+timeoutMargin)
	defer cancel()
	answer, err := d.client.Query(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	r := newResult(answer.Columns)
	for {
		rows, err := answer.Next()
		if errors.Is(err, io.EOF) && answer.Done != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := r.add(rows); err != nil {
			return nil, err
		}
	}
	done := answer.Done
	r.stats, r.truncated, r.notices, r.render = done.Stats, done.Truncated, done.Notices, done.Render
	if done.Explained != nil {
		r.explained = *done.Explained
	}
	return r, nil
}

// custom is what the frames' meta says besides Grafana's own fields.
type custom struct {
	SQL       string    `json:"sql"`
	Tables    []string  `json:"tables"`
	Rollup    string    `json:"rollup"`
	Truncated bool      `json:"truncated"`
	Cached    bool      `json:"cached"`
	From      time.Time `json:"from"` // the range that tables with TimeGenerated were limited to
	To        time.Time `json:"to"`
}

// describe says in the first frame what ran and what one has to know of it.
func describe(frames data.Frames, x *Expanded, r *result, cached bool, told []data.Notice) {
	var notices []data.Notice
	if r.truncated {
		notices = append(notices, warning("only the first %s are shown: the result has more than its row limit. Aggregate, filter, or raise the limit of the query", count(r.rows, "row")))
	}
	notices = append(notices, told...)
	for _, text := range r.notices {
		notices = append(notices, warning("%s", text))
	}
	if x.Filters != "" {
		notices = append(notices, info("ad hoc filters hold for the first table of the query: %s", x.Filters))
	}
	if len(x.FiltersUnused) > 0 {
		notices = append(notices, warning("ad hoc filters that have no place in this query: %s", strings.Join(x.FiltersUnused, " and ")))
	}
	if !x.TimeFilter && r.bounded() {
		notices = append(notices, info("the query has no $__timeFilter: it is limited to the time range all the same, by TimeGenerated"))
	}
	if cached {
		notices = append(notices, info("answered from the cache of the data source"))
	}
	meta := frames[0].Meta
	meta.ExecutedQueryString = executed(x, r)
	meta.Notices = notices
	meta.Stats = []data.QueryStat{
		stat("Rows read", "", float64(r.stats.ReadRows)),
		stat("Data read", "bytes", float64(r.stats.ReadBytes)),
		stat("Rows returned", "", float64(r.rows)),
		stat("Time in the query service", "ms", r.stats.ElapsedMs),
		stat("Memory", "bytes", float64(r.stats.MemoryBytes)),
	}
	meta.Custom = custom{r.explained.SQL, r.explained.Tables, r.explained.Rollup, r.truncated, cached, x.Start, x.End}
	if r.render != nil {
		if v := visualization(r.render.Visualization); v != "" {
			for _, f := range frames {
				f.Meta.PreferredVisualization = v
			}
		}
	}
}

func stat(name, unit string, value float64) data.QueryStat {
	return data.QueryStat{FieldConfig: data.FieldConfig{DisplayName: name, Unit: unit}, Value: value}
}

// executed is what the query inspector shows: the KQL that ran, the range that
// held besides, and the SQL that it became.
func executed(x *Expanded, r *result) string {
	var b strings.Builder
	b.WriteString(x.Text)
	if b.WriteString("\n\n"); r.bounded() {
		fmt.Fprintf(&b, "// It is limited to TimeGenerated >= %s and TimeGenerated < %s.\n\n", datetime(x.Start), datetime(x.End))
	}
	if r.explained.SQL != "" {
		b.WriteString("/* ClickHouse SQL")
		if r.explained.Rollup != "" {
			b.WriteString(", answered from the rollup " + r.explained.Rollup)
		}
		b.WriteString(" */\n" + r.explained.SQL + "\n")
	}
	return b.String()
}
