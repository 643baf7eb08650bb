// Package chsql writes the SQL of a bound plan in ClickHouse's dialect.
//
// [Generate] is total: whatever query/plan binds without errors has SQL, and the
// same plan always has the same SQL, byte for byte. Users' text reaches SQL
// through quote.go only.
//
// # How Kusto's values are held
//
//	bool Bool · int Int32 · long Int64 · real Float64 · decimal Decimal(76, 20)
//	datetime DateTime64(7, 'UTC') · timespan Int64, in ticks of 100 ns
//	guid UUID · string String, never NULL · dynamic String, JSON text
//
// A dynamic value is held as something better than text where that is known at
// compile time: an array of strings stays an Array(String) until it meets
// something that wants JSON. See [kind] and [val].
//
// # Blocks
//
// A pipeline becomes as few SELECTs as its meaning allows ([block]). Columns
// that extend makes are aliases of the SELECT they are made in; where, sort,
// take, summarize fill in its clauses; what cannot follow in the same SELECT
// (a filter after a limit, say) wraps it as a subquery.
package chsql

import (
	"strconv"
	"strings"

	"hubscope/query/plan"
)

// Query is a statement for ClickHouse.
type Query struct {
	SQL     string
	Columns []Column
	// Tables are the ClickHouse tables and views it reads.
	Tables []string
	// Rollup is the rollup that answers it, "" if none does.
	Rollup string
}

// Column is a column of the result: its Kusto name and type, and the ClickHouse
// type it arrives in.
type Column struct {
	Name string
	Type plan.Type
	CH   string
}

// NowParameter is the query parameter that holds the time of the query, in ticks
// since 1970.
const NowParameter = "now"

// settings are what the meaning of the SQL depends on; they are part of it, so
// that it means the same wherever it runs.
const settings = " SETTINGS join_use_nulls = 0, transform_null_in = 0, cast_keep_nullable = 0, enable_analyzer = 1" +
	", prefer_column_name_to_alias = 0, group_by_use_nulls = 0, aggregate_functions_null_for_empty = 0" +
	", empty_result_for_aggregation_by_empty_set = 0, enable_extended_results_for_datetime_functions = 1" +
	", date_time_overflow_behavior = 'saturate', output_format_json_escape_forward_slashes = 0" +
	", output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1" +
	", output_format_decimal_trailing_zeros = 0, regexp_max_matches_per_row = 1000000, session_timezone = 'UTC'"

// Generate writes the SQL of a plan.
func Generate(p *plan.Plan) *Query {
	g := &gen{plan: p, cols: make([]binding, p.ColumnCount()+1), taken: make(map[string]int, 32), q: &Query{}}
	need := g.newSet()
	for _, c := range p.Columns {
		need.add(c.ID)
	}
	with := g.ctes(p, need)
	b := g.node(p.Root, need)
	body := g.final(b, p.Columns)
	if with != "" && strings.HasPrefix(body, "WITH ") {
		with, body = strings.TrimSuffix(with, " ")+", ", body[len("WITH "):]
	}
	g.q.SQL = with + body + settings
	return g.q
}

// gen writes one query.
type gen struct {
	plan  *plan.Plan
	q     *Query
	cols  []binding      // by plan.ColID
	taken map[string]int // names given out
	b     *block         // the SELECT that expressions are written for
	vars  int            // lambda variables given out
	// scanStates reads the states of a scan while its steps are written.
	scanStates func(*plan.ScanRef) val
	// place numbers the rows for aggregates that keep their order, "" if they have
	// none.
	place string
	// ranks are the percentages of the percentiles of the aggregate that is written.
	ranks map[plan.Expr][]float64
	// first says that only the first of the rows that are sorted are read.
	first bool
	// fields are the values of calls that return several, where they were written.
	fields map[fieldKey][]val
	// timeKeys are the time columns whose tables are sorted by a function of them.
	timeKeys map[plan.ColID]timeKey
	cteNeed  map[*plan.CTE]set
	cteName  map[*plan.CTE]string
}

// binding is what a column is at the moment.
type binding struct {
	v    val
	item *item // the alias that holds it, nil if v stands for itself
}

// item is an expression with an alias in a SELECT.
type item struct {
	name string
	sql  string
	refs int
}

// set is a set of columns.
type set []uint64

func (g *gen) newSet() set { return make(set, len(g.cols)/64+1) }

func (s set) add(id plan.ColID) { s[id>>6] |= 1 << (id & 63) }
func (s set) has(id plan.ColID) bool {
	return int(id>>6) < len(s) && s[id>>6]&(1<<(id&63)) != 0
}

// with returns the set with one more column, which may be a temporary one.
func (s set) with(ids ...plan.ColID) set {
	n := s.clone()
	for _, id := range ids {
		for int(id>>6) >= len(n) {
			n = append(n, 0)
		}
		n.add(id)
	}
	return n
}

func (s set) clone() set { return append(set(nil), s...) }

// addExpr adds the columns that an expression reads.
func (s set) addExpr(x plan.Expr) {
	plan.WalkExpr(x, func(x plan.Expr) bool {
		switch x := x.(type) {
		case *plan.Ref:
			s.add(x.ID)
		case *plan.ScanRef:
			s.add(x.ID)
		}
		return true
	})
}

// name returns an unused name that resembles a KQL name. Names that differ in
// case only are kept apart, and so are names from the columns of stored tables.
func (g *gen) name(like string) string {
	base := alias(like)
	if variableName(base) {
		base += "_"
	}
	n := g.taken[base]
	for {
		g.taken[base]++
		name := base
		if n > 0 {
			name = base + "_" + strconv.Itoa(n)
		}
		n++
		if n > 1 && g.taken[name] > 0 || g.stored(name) {
			continue
		}
		if n > 1 {
			g.taken[name] = 1
		}
		return name
	}
}

// stored says whether a table of the query has a column of this name: an alias
// would hide it.
func (g *gen) stored(name string) bool {
	for _, t := range g.plan.Tables {
		if t.Column(name) >= 0 || t.Name == name || t.Source == name {
			return true
		}
	}
	return g.plan.Undeclared(name)
}

// variableName says whether a name is kept for the variables of lambdas, which
// would hide a column of that name.
func variableName(name string) bool {
	switch name {
	case "x", "y", "i", "j", "k", "m", "p", "q", "f", "t", "u", "v", "w", "acc",
		"a", "e", "r", "rec", "b", "h", "s", "fy", "fs", "fi", "fv", "fr", "qv", "ql", "qh", "am", "av", "pr":
		return true
	}
	if len(name) < 2 || name[0] != 'x' && name[0] != 'a' {
		return false
	}
	for _, c := range name[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// variable returns a fresh variable for a lambda.
func (g *gen) variable() string {
	g.vars++
	return "x" + strconv.Itoa(g.vars)
}

// block is a SELECT that is being put together.
type block struct {
	from    string
	counted string // from, where that are the numbers of a range
	items   []*item
	where   []string
	group   []string // GROUP BY
	limitN  string   // LIMIT
	limitBy string   // LIMIT n BY
	// order sorts the rows; natural says that it is the order of their source,
	// which nobody asked for yet.
	order   []orderKey
	natural bool

	grouped  bool
	windowed bool
	random   bool
	// out are the columns that can be read.
	out []plan.ColID
}

// orderKey is a key of ORDER BY. v may be read as long as the block is open.
type orderKey struct {
	v         val
	item      *item
	desc      bool
	nullsLast bool
}

// use returns what a column is, for an expression that reads it.
func (g *gen) use(id plan.ColID) val {
	c := &g.cols[id]
	if c.item != nil {
		c.item.refs++
	}
	if c.v.sql == "" {
		return nullOf(kJSON)
	}
	return c.v
}

// define makes a column of the open block.
func (g *gen) define(c plan.Column, v val) {
	b := &g.cols[c.ID]
	if v.atom || v.path != nil && len(v.sql) < 40 {
		*b = binding{v: v}
	} else {
		*b = g.aliased(c.Name, v)
	}
	g.b.out = append(g.b.out, c.ID)
}

// aliased gives an expression a name in the open block.
func (g *gen) aliased(like string, v val) binding {
	if v.path != nil {
		v = g.read(v)
	}
	it := &item{name: g.name(like), sql: v.sql}
	g.b.items = append(g.b.items, it)
	r := v
	r.sql, r.atom, r.op = ident(it.name), true, false
	return binding{v: r, item: it}
}

// hoist returns a value that can be written several times at no cost.
func (g *gen) hoist(v val) val {
	if v.path != nil {
		v = g.read(v)
	}
	if v.atom || len(v.sql) <= 24 || g.b == nil {
		if v.op {
			v.sql, v.op = "("+v.sql+")", false
		}
		return v
	}
	b := g.aliased("v", v)
	b.item.refs++
	return b.v
}

// wrap closes the open block as a subquery and opens one that reads it. need are
// the columns that are read from now on.
func (g *gen) wrap(b *block, need set) *block {
	outer := &block{}
	g.b = b
	order := b.order
	keepOrder := b.limitN != "" || b.limitBy != ""
	var names []string
	var lists []string
	seen := map[string]bool{}
	emit := func(v val, it *item) string {
		if it != nil {
			if !seen[it.name] {
				seen[it.name] = true
				names = append(names, it.name)
				lists = append(lists, "")
			}
			return it.name
		}
		if name, ok := identName(v.sql); ok {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
				lists = append(lists, v.sql)
			}
			return name
		}
		name := g.name("v")
		seen[name] = true
		names = append(names, name)
		lists = append(lists, v.sql)
		return name
	}
	for _, id := range b.out {
		if !need.has(id) {
			continue
		}
		c := &g.cols[id]
		v := c.v
		if v.path != nil {
			v = g.read(v)
		}
		name := emit(v, c.item)
		v.sql, v.atom, v.op = ident(name), true, false
		*c = binding{v: v}
		outer.out = append(outer.out, id)
	}
	for _, k := range order {
		if b.natural && !keepOrder && k.item == nil && !k.v.atom {
			continue
		}
		name := emit(k.v, k.item)
		k.v.sql, k.v.atom, k.v.op = ident(name), true, false
		k.item = nil
		outer.order = append(outer.order, k)
	}
	outer.natural = b.natural
	if !keepOrder {
		b.order = nil
	}
	outer.from = "(" + g.text(b, names, lists) + ")"
	g.b = outer
	return outer
}

// text writes a block. lists[i] is the expression of the output names[i], "" for
// that of the item of this name.
func (g *gen) text(b *block, names, lists []string) string {
	var sb strings.Builder
	// An order key that is an alias has to be there also when nothing else reads it.
	for _, k := range b.order {
		if k.item != nil {
			k.item.refs++
		}
	}
	output := make(map[string]bool, len(names))
	for i, n := range names {
		if lists[i] == "" {
			output[n] = true
		}
	}
	first := true
	for _, it := range b.items {
		if it.refs == 0 || output[it.name] {
			continue
		}
		if first {
			sb.WriteString("WITH ")
		} else {
			sb.WriteString(", ")
		}
		first = false
		sb.WriteString(it.sql)
		sb.WriteString(" AS ")
		sb.WriteString(ident(it.name))
	}
	if !first {
		sb.WriteByte(' ')
	}
	sb.WriteString("SELECT ")
	if len(names) == 0 {
		// A row counts also when nothing of it is read.
		if b.grouped && len(b.group) == 0 {
			sb.WriteString("count() AS `rows`")
		} else {
			sb.WriteString("1 AS `one`")
		}
	}
	for i, n := range names {
		if i > 0 {
			sb.WriteString(", ")
		}
		sql := lists[i]
		if sql == "" {
			for _, it := range b.items {
				if it.name == n {
					sql = it.sql
				}
			}
		}
		q := ident(n)
		sb.WriteString(sql)
		if sql != q {
			sb.WriteString(" AS ")
			sb.WriteString(q)
		}
	}
	if b.from != "" {
		sb.WriteString(" FROM ")
		sb.WriteString(b.from)
	}
	for i, w := range b.where {
		if i == 0 {
			sb.WriteString(" WHERE ")
		} else {
			sb.WriteString(" AND ")
		}
		if len(b.where) > 1 {
			sb.WriteString("(" + w + ")")
		} else {
			sb.WriteString(w)
		}
	}
	if len(b.group) > 0 {
		sb.WriteString(" GROUP BY ")
		sb.WriteString(strings.Join(b.group, ", "))
	}
	if b.random {
		sb.WriteString(" ORDER BY rand()")
	}
	for i, k := range b.order {
		if i == 0 {
			sb.WriteString(" ORDER BY ")
		} else {
			sb.WriteString(", ")
		}
		sb.WriteString(k.v.s())
		if k.desc {
			sb.WriteString(" DESC")
		} else {
			sb.WriteString(" ASC")
		}
		if k.v.null || k.v.k == kReal {
			if k.nullsLast {
				sb.WriteString(" NULLS LAST")
			} else {
				sb.WriteString(" NULLS FIRST")
			}
		}
	}
	if b.limitBy != "" {
		sb.WriteString(" LIMIT ")
		sb.WriteString(b.limitBy)
	}
	if b.limitN != "" {
		sb.WriteString(" LIMIT ")
		sb.WriteString(b.limitN)
	}
	return sb.String()
}

// final writes the outermost SELECT: the result's columns in order, each in the
// ClickHouse type that its Kusto type has, or a dictionary of it.
func (g *gen) final(b *block, cols []plan.Column) string {
	g.b = b
	names := make([]string, len(cols))
	lists := make([]string, len(cols))
	used := make(map[string]bool, len(cols))
	for i, c := range cols {
		v := g.use(c.ID)
		it := g.cols[c.ID].item
		if v.path != nil {
			v = g.read(v)
		}
		if v.atom {
			// The server makes plain strings of its dictionaries as it sends them.
			v.low = false
		}
		o := g.canonical(v, c.Type)
		if o.k == kDecimal {
			// Clients get decimals as digits.
			o = call(kString, o.null, "toString("+o.sql+")")
		}
		ch := nullable(o.k.chType(), o.null)
		g.q.Columns = append(g.q.Columns, Column{Name: c.Name, Type: c.Type, CH: strings.ReplaceAll(ch, `\'`, `'`)})
		switch name, ok := identName(o.sql); {
		case it != nil && o.sql == v.sql && !used[it.name]:
			names[i] = it.name
			it.refs--
		case ok && !used[name]:
			names[i], lists[i] = name, o.sql
		default:
			names[i], lists[i] = g.name(c.Name), o.sql
		}
		used[names[i]] = true
	}
	if len(cols) == 0 {
		names, lists = []string{"one"}, []string{"1"}
	}
	return g.text(b, names, lists)
}
