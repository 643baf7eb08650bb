package plan

import (
	"regexp"
	"strconv"
	"strings"

	"hubscope/query/kql"
)

var joinKinds = map[string]JoinKind{
	"": InnerUnique, "innerunique": InnerUnique, "inner": Inner,
	"leftouter": LeftOuter, "rightouter": RightOuter, "fullouter": FullOuter,
	"leftsemi": LeftSemi, "semi": LeftSemi, "rightsemi": RightSemi,
	"leftanti": LeftAnti, "anti": LeftAnti, "leftantisemi": LeftAnti,
	"rightanti": RightAnti, "rightantisemi": RightAnti,
}

// joinKindHint says which kind SQL's word for one was meant to be.
func joinKindHint(name string) string {
	switch strings.ToLower(name) {
	case "left":
		return "did you mean leftouter?"
	case "right":
		return "did you mean rightouter?"
	case "outer", "full":
		return "did you mean fullouter?"
	}
	return didYouMean(name, joinKindList)
}

var joinKindList = []string{"innerunique", "inner", "leftouter", "rightouter", "fullouter", "leftsemi", "rightsemi", "leftanti", "rightanti"}

func (b *binder) joinKind(params []*kql.Param, at kql.Span, fallback JoinKind) JoinKind {
	name := param(params, "kind")
	if name == "" {
		return fallback
	}
	k, ok := joinKinds[strings.ToLower(name)]
	if !ok {
		for _, p := range params {
			if p.Name.Text == "kind" {
				at = p.Value.Range()
			}
		}
		b.errorf(at, CodeArguments, "no kind of join %q", name).Hint = joinKindHint(name)
	}
	return k
}

func (b *binder) join(op *kql.JoinOp, in rel) rel {
	kind := b.joinKind(op.Params, keywordAt(op), InnerUnique)
	right := b.joinRight(op.Right)
	j := &Join{Kind: kind, L: in.node, R: right.node, Partition: b.partition}
	if b.partition != nil && (kind == RightOuter || kind == FullOuter || kind.RightOnly()) {
		// Right rows would count once for each part.
		b.unsupported(keywordAt(op), "join kind="+kind.String()+" inside partition or mv-apply")
	}
	if op.Where != nil {
		b.unsupported(op.Where.Range(), "join ... where")
	}
	pairs := b.joinOn(op.On, &in, &right, keywordAt(op))
	j.L, j.R = in.node, right.node
	for _, p := range pairs {
		j.On = append(j.On, JoinOn{p.l, p.r})
	}
	var cols []Column
	if !kind.RightOnly() {
		cols = append(cols, in.cols...)
	}
	if !kind.LeftOnly() {
		cols = append(cols, right.cols...)
	}
	out := rel{node: j, cols: uniqueNames(cols)}
	out.open = in.open
	if out.open == nil || kind.RightOnly() {
		out.open = right.open
	}
	if kind.LeftOnly() {
		out.open = in.open
	}
	return out
}

// joinRight binds the right side of a join; it does not see the rows of the left.
func (b *binder) joinRight(e kql.Expr) rel {
	row, rightRow, partition := b.row, b.right, b.partition
	b.row, b.right, b.partition = nil, nil, nil
	r := b.tabular(e)
	b.row, b.right, b.partition = row, rightRow, partition
	return r
}

type joinPair struct {
	l, r       Expr
	lcol, rcol ColID
}

// joinOn binds the conditions of a join. Columns found in open tables are added
// to left and right.
func (b *binder) joinOn(on []kql.Expr, left, right *rel, at kql.Span) []joinPair {
	row, rr := b.row, b.right
	b.row, b.right = left, right
	defer func() { b.row, b.right = row, rr }()
	var pairs []joinPair
	if len(on) == 0 {
		b.errorf(at, CodeArguments, "the join has no condition")
	}
	var bind func(e kql.Expr)
	bind = func(e kql.Expr) {
		switch e := kql.Unparen(e).(type) {
		case *kql.Ref:
			l, lok := left.column(e.Text)
			r, rok := right.column(e.Text)
			switch {
			case !lok && !rok:
				b.unknownName(e.Span, e.Text)
				return
			case !lok:
				b.errorf(e.Span, CodeUnknownName, "the left side of the join has no column %q", e.Text)
				return
			case !rok:
				b.errorf(e.Span, CodeUnknownName, "the right side of the join has no column %q", e.Text)
				return
			}
			b.joinPair(&pairs, refTo(l), refTo(r), e.Span)
			return
		case *kql.Binary:
			switch e.Op {
			case kql.OpAnd:
				bind(e.X)
				bind(e.Y)
				return
			case kql.OpEq:
				lside, rside := joinSide(e.X), joinSide(e.Y)
				x, y := e.X, e.Y
				if lside == "$right" && rside == "$left" {
					x, y, lside, rside = y, x, rside, lside
				}
				if lside == "$left" && rside == "$right" {
					b.joinPair(&pairs, b.expr(x), b.expr(y), e.Span)
					return
				}
			}
		}
		b.errorf(e.Range(), CodeArguments, "a join condition is a column's name or $left.a == $right.b")
	}
	for _, e := range on {
		bind(e)
	}
	return pairs
}

// joinSide returns $left or $right for a path that starts with it.
func joinSide(e kql.Expr) string {
	for {
		switch x := kql.Unparen(e).(type) {
		case *kql.Path:
			e = x.X
		case *kql.Index:
			e = x.X
		case *kql.Ref:
			return x.Text
		default:
			return ""
		}
	}
}

func (b *binder) joinPair(pairs *[]joinPair, l, r Expr, at kql.Span) {
	tl, tr := l.Type(), r.Type()
	p := joinPair{l: l, r: r}
	if ref, ok := l.(*Ref); ok {
		p.lcol = ref.ID
	}
	if ref, ok := r.(*Ref); ok {
		p.rcol = ref.ID
	}
	switch {
	case tl == Unknown || tr == Unknown:
	case tl == Dynamic || tr == Dynamic:
		p.l, p.r = b.convert(l, String), b.convert(r, String)
	case tl.Numeric() && tr.Numeric():
		if tl != tr {
			t := widest(tl, tr)
			p.l, p.r = b.convert(l, t), b.convert(r, t)
		}
	case tl != tr:
		b.errorf(at, CodeType, "the columns of a join have the types %s and %s", tl, tr)
		return
	}
	*pairs = append(*pairs, p)
}

func (b *binder) lookup(op *kql.LookupOp, in rel) rel {
	kind := b.joinKind(op.Params, keywordAt(op), LeftOuter)
	if kind != LeftOuter && kind != Inner {
		b.errorf(keywordAt(op), CodeArguments, "lookup is of the kind leftouter or inner")
	}
	right := b.joinRight(op.Right)
	pairs := b.joinOn(op.On, &in, &right, keywordAt(op))
	j := &Join{Kind: kind, L: in.node, R: right.node}
	drop := map[ColID]bool{}
	for _, p := range pairs {
		j.On = append(j.On, JoinOn{p.l, p.r})
		drop[p.rcol] = true
	}
	cols := append([]Column(nil), in.cols...)
	for _, c := range right.cols {
		if !drop[c.ID] {
			cols = append(cols, c)
		}
	}
	out := rel{node: j, cols: uniqueNames(cols), open: in.open}
	if out.open == nil {
		out.open = right.open
	}
	return out
}

// union binds union; in, if not nil, is the first input.
func (b *binder) union(op *kql.UnionOp, in *rel) rel {
	fuzzy := strings.EqualFold(param(op.Params, "isfuzzy"), "true")
	inner := strings.EqualFold(param(op.Params, "kind"), "inner")
	if b.partition != nil {
		b.unsupported(keywordAt(op), "union inside partition or mv-apply")
	}
	var parts []rel
	var left kql.Errors // what isfuzzy forgave
	add := func(r rel, name string) {
		if name == "" {
			name = "union_arg" + strconv.Itoa(len(parts))
		}
		r.name = name
		parts = append(parts, r)
	}
	if in != nil {
		add(*in, in.name)
	}
	for _, e := range op.Tables {
		switch u := kql.Unparen(e).(type) {
		case *kql.Star:
			b.tablesLike("*", add)
			continue
		case *kql.Wildcard:
			n := len(parts)
			b.tablesLike(u.Text, add)
			if len(parts) == n && !fuzzy {
				b.errorf(u.Span, CodeUnknownName, "no table like %q", u.Text)
			}
			continue
		}
		before := len(b.errs)
		r := b.joinRight(e)
		if fuzzy && len(b.errs) > before {
			unknown := true
			for _, err := range b.errs[before:] {
				unknown = unknown && err.Code == CodeUnknownName
			}
			if unknown {
				left = append(left, b.errs[before:]...)
				b.errs = b.errs[:before]
				continue
			}
		}
		name := ""
		if ref, ok := kql.Unparen(e).(*kql.Ref); ok {
			name = ref.Text
		}
		if c, ok := kql.Unparen(e).(*kql.Call); ok {
			name = c.Func.Text
		}
		if p, ok := kql.Unparen(e).(*kql.Pipe); ok && len(p.Ops) > 0 {
			if as, ok := p.Ops[len(p.Ops)-1].(*kql.AsOp); ok {
				name = as.Name.Text
			}
		}
		add(r, name)
	}
	source := ""
	if p := param(op.Params, "withsource"); p != "" {
		source = p
	} else {
		source = param(op.Params, "with_source")
	}
	if len(parts) == 0 {
		b.errs = append(b.errs, left...)
		if len(b.errs) == 0 {
			b.errorf(keywordAt(op), CodeUnknownName, "the union has no table")
		}
		return rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
	return b.unionOf(parts, source, inner)
}

// tablesLike adds the tables and views whose names match a pattern.
func (b *binder) tablesLike(pattern string, add func(rel, string)) {
	for _, t := range b.cat.tables {
		if wildcard(pattern, t.Name) {
			add(b.scanTable(t, kql.Span{}), t.Name)
		}
	}
	var names []string
	for s := b.scope; s != nil; s = s.outer {
		for n, v := range s.names {
			if v.fn != nil && v.fn.def.View && len(v.fn.def.Params) == 0 && wildcard(pattern, n) {
				names = append(names, n)
			}
		}
	}
	sortStrings(names)
	for _, n := range names {
		add(b.callTabular(&kql.Call{Func: kql.Name{Text: n}}, b.scope.lookup(n).fn, nil), n)
	}
}

func sortStrings(s []string) {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

// unionOf appends relations. Columns of one name and type become one; a name
// with several types becomes a column name_type for each.
func (b *binder) unionOf(parts []rel, source string, inner bool) rel {
	type key struct {
		name string
		t    Type
	}
	types := map[string][]Type{}
	var order []string
	present := map[key]int{}
	for _, p := range parts {
		for _, c := range p.cols {
			k := key{c.Name, c.Type}
			present[k]++
			if present[k] > 1 {
				known := false
				for _, t := range types[c.Name] {
					known = known || t == c.Type
				}
				if known {
					continue
				}
			}
			if len(types[c.Name]) == 0 {
				order = append(order, c.Name)
			}
			types[c.Name] = append(types[c.Name], c.Type)
		}
	}
	u := &Union{}
	out := rel{node: u}
	var keys []key
	for _, name := range order {
		list := types[name]
		if len(list) == 2 && (list[0] == Unknown || list[1] == Unknown) {
			t := list[0]
			if t == Unknown {
				t = list[1]
			}
			list = []Type{t}
		}
		for _, t := range list {
			k := key{name, t}
			if inner && present[k] < len(parts) {
				continue
			}
			as := name
			if len(list) > 1 {
				as = name + "_" + t.String()
			}
			keys = append(keys, k)
			u.Cols = append(u.Cols, b.newCol(as, t))
		}
	}
	for _, p := range parts {
		part := UnionPart{In: p.node, From: make([]ColID, len(keys)), Name: p.name}
		for i, k := range keys {
			for _, c := range p.cols {
				if c.Name == k.name && (c.Type == k.t || c.Type == Unknown) {
					part.From[i] = c.ID
				}
			}
		}
		u.Parts = append(u.Parts, part)
	}
	// Names such as v_real may be taken.
	u.Cols = uniqueNames(u.Cols)
	out.cols = u.Cols
	if source != "" {
		c := b.newCol(source, String)
		u.Source = &c
		out.cols = append([]Column{c}, uniqueAfter(c, u.Cols)...)
	}
	for i := range parts {
		if parts[i].open != nil {
			out.open = func(name string) Column {
				c := b.newCol(name, Unknown)
				u.Cols = append(u.Cols[:len(u.Cols):len(u.Cols)], c)
				for k := range u.Parts {
					var from ColID
					if parts[k].open != nil {
						from = parts[k].open(name).ID
					}
					u.Parts[k].From = append(u.Parts[k].From, from)
				}
				return c
			}
			break
		}
	}
	return out
}

func uniqueAfter(first Column, cols []Column) []Column {
	return uniqueNames(append([]Column{first}, cols...))[1:]
}

// search binds search: all rows of the tables in which a term occurs.
func (b *binder) search(op *kql.SearchOp, in *rel) rel {
	var parts []rel
	add := func(r rel, name string) { r.name = name; parts = append(parts, r) }
	switch {
	case in != nil:
		name := in.name
		if name == "" {
			name = "search_arg0"
		}
		add(*in, name)
	case len(op.In) > 0:
		for _, e := range op.In {
			switch u := kql.Unparen(e).(type) {
			case *kql.Star:
				b.tablesLike("*", add)
			case *kql.Wildcard:
				b.tablesLike(u.Text, add)
			default:
				name := "search_arg" + strconv.Itoa(len(parts))
				if r, ok := u.(*kql.Ref); ok {
					name = r.Text
				}
				add(b.joinRight(e), name)
			}
		}
	default:
		b.tablesLike("*", add)
	}
	if len(parts) == 0 {
		b.errorf(keywordAt(op), CodeUnknownName, "there is no table to search")
		return rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
	cs := strings.EqualFold(param(op.Params, "kind"), "case_sensitive")
	b.filterParts(parts, op.Cond, cs)
	return b.unionOf(parts, "$table", false)
}

// filterParts filters each of several tables by the condition of search or find.
// A column that only others of them have is null. It returns the columns that
// the condition names.
func (b *binder) filterParts(parts []rel, cond kql.Expr, cs bool) map[string]bool {
	named := map[string]bool{}
	if cond == nil {
		return named
	}
	var missing []Column
	find := func(name string) {
		if named[name] || b.scope.lookup(name) != nil {
			return
		}
		for i := range parts {
			if c, ok := parts[i].column(name); ok {
				named[name] = true
				missing = append(missing, c)
				return
			}
		}
	}
	var walk func(n kql.Node) bool
	walk = func(n kql.Node) bool {
		switch n := n.(type) {
		case *kql.Ref:
			find(n.Text)
		case *kql.Path:
			kql.Walk(n.X, walk)
			return false
		case *kql.Pipe:
			return false
		}
		return true
	}
	kql.Walk(cond, walk)
	row := b.row
	errs := len(b.errs)
	for i := range parts {
		part := &parts[i]
		r := *part
		var absent []Item
		for _, m := range missing {
			if _, ok := r.column(m.Name); !ok {
				c := b.newCol(m.Name, m.Type)
				absent = append(absent, Item{Col: c, X: &Const{T: m.Type, Null: m.Type != String}})
				r.cols = append(r.cols[:len(r.cols):len(r.cols)], c)
			}
		}
		n := len(r.cols) - len(absent)
		b.row = &r
		pred := b.searchPredicate(cond, cs)
		part.node = &Filter{In: extendNode(r.node, absent), Pred: pred}
		// What an open table was found to have stays visible.
		part.cols = append(r.cols[:n:n], r.cols[n+len(absent):]...)
		if len(b.errs) > errs {
			break // the others would only repeat it
		}
	}
	b.row = row
	return named
}

// searchPredicate binds the condition of search, in which a string alone means
// that some column has it as a term.
func (b *binder) searchPredicate(e kql.Expr, cs bool) Expr {
	switch u := kql.Unparen(e).(type) {
	case *kql.Binary:
		switch u.Op {
		case kql.OpAnd, kql.OpOr:
			return &Binary{Op: u.Op, X: b.searchPredicate(u.X, cs), Y: b.searchPredicate(u.Y, cs), T: Bool}
		case kql.OpSearch:
			y := b.expr(u.Y)
			if _, star := u.X.(*kql.Star); star {
				return b.searchTerm(y, cs)
			}
			return b.searchIn(b.expr(u.X), y, cs)
		}
	case *kql.Call:
		if u.Func.Text == "not" && len(u.Args) == 1 {
			return &Call{Func: scalarFuncs["not"], Args: []Expr{b.searchPredicate(u.Args[0], cs)}, T: Bool}
		}
	case *kql.Star:
		return &Const{T: Bool, Int: 1}
	}
	x := b.expr(e)
	if x.Type() == String {
		return b.searchTerm(x, cs)
	}
	if t := x.Type(); t != Bool && t != Unknown {
		b.errorf(e.Range(), CodeType, "a condition has to be bool or a term, not %s", t)
	}
	return x
}

// searchTerm says that any column has the term.
func (b *binder) searchTerm(term Expr, cs bool) Expr {
	var all Expr
	for _, c := range b.row.cols {
		if c.Type != String && c.Type != Dynamic && c.Type != GUID {
			continue
		}
		x := b.searchIn(refTo(c), term, cs)
		if all == nil {
			all = x
		} else {
			all = &Binary{Op: kql.OpOr, X: all, Y: x, T: Bool}
		}
	}
	if all == nil {
		return &Const{T: Bool}
	}
	return all
}

// searchIn is column : "text". Stars at the ends of the text make it a prefix,
// a suffix or any part; on anything but text it is equality.
func (b *binder) searchIn(x, term Expr, cs bool) Expr {
	if t := x.Type(); t != String && t != Dynamic && t != Unknown && term.Type() != String {
		l, r := b.comparable(x, term)
		return &Binary{Op: kql.OpEq, X: l, Y: r, T: Bool}
	}
	if x.Type() != String {
		x = b.convert(x, String)
	}
	if term.Type() != String {
		term = b.convert(term, String)
	}
	ops := map[string][2]kql.Op{
		"term": {kql.OpHas, kql.OpHasCS}, "prefix": {kql.OpHasPrefix, kql.OpHasPrefixCS},
		"suffix": {kql.OpHasSuffix, kql.OpHasSuffixCS}, "part": {kql.OpContains, kql.OpContainsCS},
	}
	how := "term"
	if c, ok := term.(*Const); ok {
		text := c.Text
		switch pre, suf := strings.HasPrefix(text, "*"), strings.HasSuffix(text, "*"); {
		case text == "" || strings.Trim(text, "*") == "":
			return &Const{T: Bool, Int: 1}
		case pre && suf:
			how, text = "part", strings.Trim(text, "*")
		case suf:
			how, text = "prefix", strings.TrimSuffix(text, "*")
		case pre:
			how, text = "suffix", strings.TrimPrefix(text, "*")
		}
		if inner := strings.Split(text, "*"); len(inner) > 1 {
			return searchPattern(x, inner, how, cs)
		}
		term = &Const{T: String, Text: text}
	}
	op := ops[how][0]
	if cs {
		op = ops[how][1]
	}
	return &Binary{Op: op, X: x, Y: term, T: Bool}
}

// searchPattern is a term with stars inside: its parts with any text between.
func searchPattern(x Expr, parts []string, how string, cs bool) Expr {
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	pattern := strings.Join(parts, ".*")
	if how == "term" || how == "prefix" {
		pattern = `\b` + pattern
	}
	if how == "term" || how == "suffix" {
		pattern += `\b`
	}
	if !cs {
		pattern = "(?i)" + pattern
	}
	return &Binary{Op: kql.OpMatchesRegex, X: x, Y: &Const{T: String, Text: pattern}, T: Bool}
}

// anyColumn binds * has "x": some column of the row has it.
func (b *binder) anyColumn(e *kql.Binary) Expr {
	y := b.expr(e.Y)
	return b.overColumns(e.Span, func(c Column) (Expr, bool) {
		x := Expr(refTo(c))
		if c.Type != String {
			if y.Type() == String && (e.Op == kql.OpEq || e.Op == kql.OpNe) {
				return nil, false
			}
			if t, ok := binaryType(e.Op, c.Type, y.Type()); !ok || t != Bool {
				return nil, false
			}
		}
		if e.Op == kql.OpSearch {
			return b.searchIn(x, y, false), true
		}
		return b.op(e.Op, x, y, e.OpAt), true
	})
}

func (b *binder) anyColumnIn(e *kql.In) Expr {
	return b.overColumns(e.Span, func(c Column) (Expr, bool) {
		if c.Type != String && c.Type != Dynamic {
			return nil, false
		}
		return b.inList(e, refTo(c)), true
	})
}

func (b *binder) overColumns(at kql.Span, f func(Column) (Expr, bool)) Expr {
	if b.row == nil {
		b.errorf(at, CodeContext, "* has no meaning here")
		return null()
	}
	var all Expr
	for _, c := range b.row.cols {
		x, ok := f(c)
		switch {
		case !ok:
		case all == nil:
			all = x
		default:
			all = &Binary{Op: kql.OpOr, X: all, Y: x, T: Bool}
		}
	}
	if all == nil {
		return &Const{T: Bool}
	}
	return all
}

// find binds find: rows of several tables, with the columns that the condition
// names or that all tables have, and the rest packed into a bag.
func (b *binder) find(op *kql.FindOp) rel {
	var parts []rel
	add := func(r rel, name string) { r.name = name; parts = append(parts, r) }
	for _, e := range op.In {
		switch u := kql.Unparen(e).(type) {
		case *kql.Star:
			b.tablesLike("*", add)
		case *kql.Wildcard:
			b.tablesLike(u.Text, add)
		default:
			name := "find_arg" + strconv.Itoa(len(parts))
			if r, ok := u.(*kql.Ref); ok {
				name = r.Text
			}
			add(b.joinRight(e), name)
		}
	}
	if len(op.In) == 0 {
		b.tablesLike("*", add)
	}
	if len(parts) == 0 {
		b.errorf(keywordAt(op), CodeUnknownName, "there is no table to search")
		return rel{node: &Unit{}, open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
	source := param(op.Params, "withsource")
	if source == "" {
		source = "source_"
	}
	named := b.filterParts(parts, op.Cond, false)
	// A table without any of the columns that the condition names has no rows.
	kept := parts[:0]
	for _, p := range parts {
		has := len(named) == 0
		for name := range named {
			_, ok := p.column(name)
			has = has || ok
		}
		if has {
			kept = append(kept, p)
		}
	}
	parts = kept
	var shown func(Column) bool
	pack := len(op.Project) == 0
	switch {
	case pack:
		pack = false
		common := map[string]int{}
		for _, p := range parts {
			for _, c := range p.cols {
				common[c.Name+"\x00"+c.Type.String()]++
			}
		}
		shown = func(c Column) bool {
			return named[c.Name] || common[c.Name+"\x00"+c.Type.String()] == len(parts)
		}
		// The bag is there only for what is left over.
		for _, p := range parts {
			for _, c := range p.cols {
				pack = pack || !shown(c)
			}
		}
	default:
		list := map[string]bool{}
		all := false
		for _, f := range op.Project {
			pack = pack || f.Pack
			all = all || f.Star
			if f.Column != nil {
				list[f.Column.Name.Text] = true
				b.findColumn(f.Column, parts)
			}
		}
		shown = func(c Column) bool { return all || list[c.Name] }
	}
	for i := range parts {
		p := &parts[i]
		rest := &Call{Func: scalarFuncs["pack_all"], T: Dynamic, Args: []Expr{&Const{T: Bool, Int: 1}}}
		var cols []Column
		for _, c := range p.cols {
			if shown(c) {
				cols = append(cols, c)
			} else {
				rest.Args = append(rest.Args, &Const{T: String, Text: c.Name}, refTo(c))
			}
		}
		if pack {
			c := b.newCol("pack_", Dynamic)
			p.node = &Extend{In: p.node, Items: []Item{{c, rest}}}
			cols = append(cols, c)
		}
		p.cols, p.open = cols, nil
	}
	r := b.unionOf(parts, source, false)
	out := projection{cols: r.cols[:1:1]}
	if len(op.Project) == 0 {
		out.cols = append(out.cols, r.cols[1:]...)
		// The bag comes last, also where a later table has columns of its own.
		for i, c := range out.cols {
			if c.Name == "pack_" {
				out.cols = append(append(out.cols[:i:i], out.cols[i+1:]...), c)
				break
			}
		}
	}
	for _, f := range op.Project {
		for _, c := range r.cols[1:] {
			switch {
			case f.Pack && c.Name == "pack_", f.Star && c.Name != "pack_":
			case f.Column != nil && f.Column.Name.Text == c.Name:
			default:
				continue
			}
			if out.find(c.Name) < 0 {
				out.cols = append(out.cols, c)
			}
		}
	}
	for _, f := range op.Away {
		if f.Column == nil {
			continue
		}
		if i := out.find(f.Column.Name.Text); i >= 0 {
			out.cols = append(out.cols[:i:i], out.cols[i+1:]...)
		}
	}
	return rel{node: r.node, cols: out.cols}
}

// findColumn gives a column of find's project clause one type in all tables that
// have it.
func (b *binder) findColumn(f *kql.Column, parts []rel) {
	name := f.Name.Text
	var want Type
	if f.Type != nil {
		want = b.typeOf(f.Type)
	}
	found := false
	for i := range parts {
		p := &parts[i]
		c, ok := p.column(name)
		if !ok {
			continue
		}
		switch {
		case f.Type == nil && !found:
			want = c.Type
		case f.Type == nil && c.Type != want:
			b.errorf(f.Name.Span, CodeType, "column %q is %s in one table and %s in another", name, want, c.Type).Hint = "give it a type: " + name + ": " + want.String()
			return
		case c.Type != want:
			t := b.newCol(name, want)
			p.node = &Extend{In: p.node, Items: []Item{{t, b.convert(refTo(c), want)}}}
			for k := range p.cols {
				if p.cols[k].Name == name {
					p.cols = append([]Column(nil), p.cols...)
					p.cols[k] = t
				}
			}
		}
		found = true
	}
	if !found {
		row := b.row
		b.row = &rel{}
		if len(parts) > 0 {
			b.row.cols = parts[0].cols
		}
		b.unknownName(f.Name.Span, name)
		b.row = row
	}
}
