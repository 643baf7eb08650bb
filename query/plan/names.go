package plan

import (
	"strconv"

	"hubscope/query/kql"
)

// resultName returns the name of a column that holds an expression which is
// given none, by the official binder's rules. ok is false when it has none of
// its own and ColumnN or print_N is used.
func (b *binder) resultName(e kql.Expr) (name string, ok bool) {
	switch e := e.(type) {
	case *kql.Paren:
		return b.resultName(e.X)
	case *kql.Ref:
		return e.Text, true
	case *kql.Bracket:
		return literalName(e.X)
	case *kql.Path:
		return b.pathName(e.X, e.Sel)
	case *kql.Index:
		return b.pathName(e.X, e.Index)
	case *kql.Ordered:
		return b.resultName(e.X)
	case *kql.Named:
		if len(e.Names) > 0 {
			return e.Names[0].Text, true
		}
	case *kql.Call:
		return b.callName(e)
	}
	return "", false
}

func (b *binder) pathName(x, sel kql.Expr) (string, bool) {
	if r, ok := x.(*kql.Ref); ok && (r.Text == "$left" || r.Text == "$right") {
		return b.resultName(sel)
	}
	left, ok := b.innerName(x)
	right, rok := b.resultName(sel)
	if !rok {
		right, rok = literalName(sel)
	}
	if !ok || left == "" {
		return right, rok
	}
	return left + "_" + right, true
}

// literalName is the name that a selector such as ["key"] or [0] gives.
func literalName(e kql.Expr) (string, bool) {
	l, ok := e.(*kql.Literal)
	if !ok {
		return "", false
	}
	switch l.Kind {
	case kql.StringLit:
		return l.Text, true
	case kql.LongLit, kql.IntLit:
		return strconv.FormatInt(l.Int, 10), true
	}
	return "", false
}

// innerName is the name that an expression gives to the one around it. The
// column that column_ifexists() finds gives its name to nothing but itself.
func (b *binder) innerName(e kql.Expr) (string, bool) {
	if c, ok := kql.Unparen(e).(*kql.Call); ok {
		if f := b.funcOf(c); f != nil && f.naming == nameColumnValue {
			return "", false
		}
	}
	return b.resultName(e)
}

func (b *binder) callName(c *kql.Call) (string, bool) {
	f := b.funcOf(c)
	if f == nil {
		return "", false
	}
	first := func() (string, bool) {
		if len(c.Args) == 0 {
			return "", false
		}
		return b.innerName(c.Args[0])
	}
	switch f.naming {
	case nameFirst:
		return first()
	case namePrefixFirst:
		name, ok := first()
		if f.prefix == "" {
			return name, ok
		}
		return f.prefix + "_" + name, true
	case namePrefix:
		return f.prefix, true
	case nameOnly:
		if len(c.Args) == 1 {
			return first()
		}
	case nameColumnValue:
		if len(c.Args) > 0 && b.row != nil {
			if l, ok := c.Args[0].(*kql.Literal); ok && l.Kind == kql.StringLit {
				if _, found := b.row.column(l.Text); found {
					return l.Text, true
				}
			}
		}
	}
	return "", false
}

// funcOf returns the built-in function that a call names in its context, nil if
// it is a user's function or none.
func (b *binder) funcOf(c *kql.Call) *Func {
	if b.callee(c.Func.Text) != nil {
		return nil
	}
	if b.aggs != nil || b.naming {
		if f := aggregateFuncs[c.Func.Text]; f != nil {
			return f
		}
	}
	return scalarFuncs[c.Func.Text]
}

// callee returns what a query calls name, nil if a call means the built-in
// function: a value or a table of its name does not hide it.
func (b *binder) callee(name string) *binding {
	v := b.scope.lookup(name)
	if v != nil && v.fn == nil && (scalarFuncs[name] != nil || aggregateFuncs[name] != nil) {
		return nil
	}
	return v
}

// projection builds the column list of an operator's result: unique names, and
// an error for a name that is declared twice.
type projection struct {
	cols     []Column
	declared []string          // names that were given explicitly
	skip     []Column          // columns that are not added again, under the names that they have
	source   map[string]string // names of the columns that were given another one, by that
	suffix   map[string]int
}

func (p *projection) find(name string) int {
	for i := range p.cols {
		if p.cols[i].Name == name {
			return i
		}
	}
	return -1
}

func (p *projection) skips(c Column) bool {
	for _, s := range p.skip {
		if s.ID == c.ID && s.Name == c.Name {
			return true
		}
	}
	return false
}

// renamed notes that a column now has another name.
func (p *projection) renamed(name, source string) {
	if p.source == nil {
		p.source = map[string]string{}
	}
	p.source[name] = source
}

// add appends a column under a name made unique by a number, or with replace in
// the place of the column of that name. It does nothing for a column that is
// skipped.
func (p *projection) add(c Column, replace bool) {
	if c.Name != "" && !p.skips(c) {
		p.put(c, replace)
	}
}

func (p *projection) put(c Column, replace bool) {
	i := p.find(c.Name)
	switch {
	case i < 0:
	case replace:
		p.cols[i] = c
		return
	default:
		if p.suffix == nil {
			p.suffix = map[string]int{}
		}
		base := c.Name
		for {
			p.suffix[base]++
			if c.Name = base + strconv.Itoa(p.suffix[base]); p.find(c.Name) < 0 {
				break
			}
		}
	}
	p.cols = append(p.cols, c)
}

// declare adds a column under a name that the query gives, also a second name of
// a column that is skipped.
func (p *projection) declare(b *binder, at kql.Span, c Column, replace bool) {
	for _, d := range p.declared {
		if d == c.Name {
			b.errorf(at, CodeDuplicate, "column %q is declared twice", c.Name)
			return
		}
	}
	if i := p.find(c.Name); replace && i >= 0 {
		p.cols[i] = c
	} else {
		p.put(c, false)
		c = p.cols[len(p.cols)-1]
	}
	p.declared = append(p.declared, c.Name)
}

// uniqueNames renames columns so that all names differ. A name stays with the
// first column that has it; the others get the first number that makes a name
// which no column has: Name, Name, Name1 become Name, Name2, Name1.
func uniqueNames(cols []Column) []Column {
	taken := make(map[string]int, len(cols)) // the last number tried
	for _, c := range cols {
		taken[c.Name] = 0
	}
	if len(taken) == len(cols) {
		return cols
	}
	out := make([]Column, 0, len(cols))
	seen := make(map[string]bool, len(cols))
	for _, c := range cols {
		if base := c.Name; seen[base] {
			for n := taken[base] + 1; ; n++ {
				c.Name = base + strconv.Itoa(n)
				if _, ok := taken[c.Name]; !ok {
					taken[base], taken[c.Name] = n, 0
					break
				}
			}
		}
		seen[c.Name] = true
		out = append(out, c)
	}
	return out
}
