package registry

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A deviceQuery is a query in Azure IoT Hub's query language over the devices:
//
//	SELECT * | path [, path] | COUNT() AS name
//	FROM devices
//	[WHERE condition]
//
// with =, !=, <>, <, <=, >, >=, IN, NIN, AND, OR, NOT, parentheses, and the
// functions is_defined, is_null, is_string, is_number, is_bool, startswith,
// endswith and contains. Grouping, TOP and jobs are refused by name.
type deviceQuery struct {
	columns []column // nil for *
	count   string   // name of the count; empty when it is no count
	where   condition
	twins   bool // it looks into tags or properties, or at a twin's version
}

type column struct {
	path []string
	name string
}

// A condition is a WHERE clause. What is compared with something of another
// type, or is not there, does not match.
type condition func(fields map[string]any) bool

func (q *deviceQuery) matches(fields map[string]any) bool {
	return q.where == nil || q.where(fields)
}

func (q *deviceQuery) project(fields map[string]any) map[string]any {
	row := map[string]any{}
	for _, c := range q.columns {
		if v, ok := lookup(fields, c.path); ok {
			row[c.name] = v
		}
	}
	return row
}

func lookup(fields map[string]any, path []string) (any, bool) {
	var v any = fields
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[p]; !ok {
			return nil, false
		}
	}
	return v, true
}

// maxQuery and maxDepth bound what a client can make us parse.
const (
	maxQuery = 16 << 10
	maxDepth = 50
)

func parseDeviceQuery(text string) (*deviceQuery, error) {
	if len(text) > maxQuery {
		return nil, fmt.Errorf("the query is longer than %d bytes", maxQuery)
	}
	p := &queryParser{}
	if err := p.scan(text); err != nil {
		return nil, err
	}
	twins := slices.ContainsFunc(p.tokens, func(t queryToken) bool {
		return t.kind == 'w' && slices.Contains([]string{"tags", "properties", "etag", "version"}, strings.ToLower(t.text))
	})
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	q.twins = twins
	return q, nil
}

type queryToken struct {
	kind rune // 'w' word, 's' text, 'n' number, 'p' punctuation, 0 the end
	text string
	num  float64
	at   int
}

type queryParser struct {
	tokens []queryToken
	depth  int
}

func (p *queryParser) scan(text string) error {
	word := func(r byte, first bool) bool {
		return r == '_' || r == '$' || unicode.IsLetter(rune(r)) || !first && '0' <= r && r <= '9'
	}
	for i := 0; i < len(text); {
		c := text[i]
		start := i
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case word(c, true):
			for i < len(text) && word(text[i], false) {
				i++
			}
			p.tokens = append(p.tokens, queryToken{kind: 'w', text: text[start:i], at: start})
		case c == '\'' || c == '"':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(text) {
					return fmt.Errorf("the text at %d has no end", start+1)
				}
				if text[i] == '\\' && i+1 < len(text) {
					i++
				} else if text[i] == c {
					break
				}
				b.WriteByte(text[i])
			}
			i++
			p.tokens = append(p.tokens, queryToken{kind: 's', text: b.String(), at: start})
		case '0' <= c && c <= '9' || c == '-' && i+1 < len(text) && '0' <= text[i+1] && text[i+1] <= '9':
			for i++; i < len(text) && ('0' <= text[i] && text[i] <= '9' || strings.IndexByte(".eE", text[i]) >= 0 || (text[i] == '-' || text[i] == '+') && (text[i-1]|0x20) == 'e'); {
				i++
			}
			n, err := strconv.ParseFloat(text[start:i], 64)
			if err != nil {
				return fmt.Errorf("%q is not a number", text[start:i])
			}
			p.tokens = append(p.tokens, queryToken{kind: 'n', text: text[start:i], num: n, at: start})
		default:
			i++
			if i < len(text) && slices.Contains([]string{"!=", "<>", "<=", ">="}, text[start:i+1]) {
				i++
			}
			if strings.IndexByte("!=<>()[],.*", c) < 0 {
				return fmt.Errorf("unexpected %q at %d", c, start+1)
			}
			p.tokens = append(p.tokens, queryToken{kind: 'p', text: text[start:i], at: start})
		}
	}
	p.tokens = append(p.tokens, queryToken{text: "the end of the query", at: len(text)})
	return nil
}

func (p *queryParser) peek() queryToken { return p.tokens[0] }

func (p *queryParser) next() queryToken {
	t := p.tokens[0]
	if t.kind != 0 {
		p.tokens = p.tokens[1:]
	}
	return t
}

// accept takes the next token if it is that word (in any case) or punctuation.
func (p *queryParser) accept(text string) bool {
	t := p.peek()
	if (t.kind == 'w' || t.kind == 'p') && strings.EqualFold(t.text, text) {
		p.next()
		return true
	}
	return false
}

func (p *queryParser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected(text)
	}
	return nil
}

func (p *queryParser) unexpected(want string) error {
	t := p.peek()
	return fmt.Errorf("expected %s at %d, found %s", want, t.at+1, t.text)
}

func (p *queryParser) query() (*deviceQuery, error) {
	q := &deviceQuery{}
	if err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind == 'w' && strings.EqualFold(t.text, "TOP") {
		return nil, errors.New("TOP is not supported: use x-ms-max-item-count")
	}
	switch {
	case p.accept("*"):
	case p.tokens[0].kind == 'w' && strings.EqualFold(p.tokens[0].text, "COUNT") && len(p.tokens) > 1 && p.tokens[1].text == "(":
		p.next()
		p.next()
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		q.count = "count"
		if p.accept("AS") {
			t := p.next()
			if t.kind != 'w' {
				return nil, fmt.Errorf("expected a name at %d, found %s", t.at+1, t.text)
			}
			q.count = t.text
		}
	default:
		for {
			path, err := p.path()
			if err != nil {
				return nil, err
			}
			c := column{path, path[len(path)-1]}
			if p.accept("AS") {
				t := p.next()
				if t.kind != 'w' {
					return nil, fmt.Errorf("expected a name at %d, found %s", t.at+1, t.text)
				}
				c.name = t.text
			}
			q.columns = append(q.columns, c)
			if !p.accept(",") {
				break
			}
		}
	}
	if err := p.expect("FROM"); err != nil {
		return nil, err
	}
	from := p.next()
	if !strings.EqualFold(from.text, "devices") || p.peek().text == "." {
		return nil, fmt.Errorf("only devices can be queried, not %s", from.text)
	}
	if p.accept("WHERE") {
		var err error
		if q.where, err = p.or(); err != nil {
			return nil, err
		}
	}
	if t := p.peek(); t.kind == 'w' && (strings.EqualFold(t.text, "GROUP") || strings.EqualFold(t.text, "ORDER")) {
		return nil, fmt.Errorf("%s BY is not supported", strings.ToUpper(t.text))
	}
	if p.peek().kind != 0 {
		return nil, p.unexpected("the end of the query")
	}
	return q, nil
}

func (p *queryParser) path() ([]string, error) {
	var path []string
	for {
		t := p.next()
		if t.kind != 'w' {
			return nil, fmt.Errorf("expected a property at %d, found %s", t.at+1, t.text)
		}
		path = append(path, t.text)
		if !p.accept(".") {
			// "devices." before a property says nothing more.
			if len(path) > 1 && path[0] == "devices" {
				path = path[1:]
			}
			return path, nil
		}
	}
}

func (p *queryParser) or() (condition, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("the condition is nested too deeply")
	}
	defer func() { p.depth-- }()
	left, err := p.and()
	for err == nil && p.accept("OR") {
		var right condition
		a := left
		right, err = p.and()
		left = func(f map[string]any) bool { return a(f) || right(f) }
	}
	return left, err
}

func (p *queryParser) and() (condition, error) {
	left, err := p.not()
	for err == nil && p.accept("AND") {
		var right condition
		a := left
		right, err = p.not()
		left = func(f map[string]any) bool { return a(f) && right(f) }
	}
	return left, err
}

func (p *queryParser) not() (condition, error) {
	negate := false
	for p.accept("NOT") {
		negate = !negate
	}
	c, err := p.primary()
	if err != nil || !negate {
		return c, err
	}
	return func(f map[string]any) bool { return !c(f) }, nil
}

// A value is a property or a constant.
type value func(fields map[string]any) (any, bool)

func (p *queryParser) value() (value, error) {
	t := p.peek()
	var constant any
	switch {
	case t.kind == 's':
		constant = t.text
	case t.kind == 'n':
		constant = t.num
	case t.kind == 'w' && strings.EqualFold(t.text, "true"):
		constant = true
	case t.kind == 'w' && strings.EqualFold(t.text, "false"):
		constant = false
	case t.kind == 'w' && strings.EqualFold(t.text, "null"):
	case t.kind == 'w':
		path, err := p.path()
		return func(f map[string]any) (any, bool) { return lookup(f, path) }, err
	default:
		return nil, p.unexpected("a value")
	}
	p.next()
	return func(map[string]any) (any, bool) { return constant, true }, nil
}

var queryFunctions = map[string]func(args []any, there []bool) bool{
	"is_defined": func(_ []any, there []bool) bool { return there[0] },
	"is_null":    func(a []any, there []bool) bool { return there[0] && a[0] == nil },
	"is_string":  func(a []any, _ []bool) bool { _, ok := a[0].(string); return ok },
	"is_number":  func(a []any, _ []bool) bool { _, ok := a[0].(float64); return ok },
	"is_bool":    func(a []any, _ []bool) bool { _, ok := a[0].(bool); return ok },
	"startswith": func(a []any, _ []bool) bool { return onText(a, strings.HasPrefix) },
	"endswith":   func(a []any, _ []bool) bool { return onText(a, strings.HasSuffix) },
	"contains":   func(a []any, _ []bool) bool { return onText(a, strings.Contains) },
}

func onText(args []any, f func(a, b string) bool) bool {
	a, ok1 := args[0].(string)
	b, ok2 := args[1].(string)
	return ok1 && ok2 && f(a, b)
}

func (p *queryParser) primary() (condition, error) {
	if p.accept("(") {
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		return c, p.expect(")")
	}
	if t := p.peek(); t.kind == 'w' && p.tokens[1].text == "(" && p.tokens[1].kind == 'p' {
		return p.call()
	}
	left, err := p.value()
	if err != nil {
		return nil, err
	}
	negate := p.accept("NOT")
	for _, word := range []string{"IN", "NIN"} {
		if p.accept(word) {
			return p.in(left, negate != (word == "NIN"))
		}
	}
	if negate {
		return nil, p.unexpected("IN")
	}
	op := p.next()
	if op.kind != 'p' {
		return nil, fmt.Errorf("expected a comparison at %d, found %s", op.at+1, op.text)
	}
	test, ok := comparisons[op.text]
	if !ok {
		return nil, fmt.Errorf("expected a comparison at %d, found %s", op.at+1, op.text)
	}
	right, err := p.value()
	if err != nil {
		return nil, err
	}
	return func(f map[string]any) bool {
		a, ok1 := left(f)
		b, ok2 := right(f)
		return ok1 && ok2 && test(a, b)
	}, nil
}

func (p *queryParser) call() (condition, error) {
	name := p.next()
	f, ok := queryFunctions[strings.ToLower(name.text)]
	if !ok {
		return nil, fmt.Errorf("unknown function %s", name.text)
	}
	p.next() // (
	var args []value
	for {
		a, err := p.value()
		if err != nil {
			return nil, err
		}
		if args = append(args, a); !p.accept(",") {
			break
		}
	}
	want := 1
	if !strings.HasPrefix(strings.ToLower(name.text), "is_") {
		want = 2
	}
	if len(args) != want {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", name.text, want, len(args))
	}
	return func(fields map[string]any) bool {
		values, there := make([]any, len(args)), make([]bool, len(args))
		for i, a := range args {
			values[i], there[i] = a(fields)
		}
		return f(values, there)
	}, p.expect(")")
}

func (p *queryParser) in(left value, negate bool) (condition, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	var list []value
	for !p.accept("]") {
		if len(list) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return func(f map[string]any) bool {
		a, ok := left(f)
		if !ok {
			return false
		}
		for _, v := range list {
			if b, ok := v(f); ok && same(a, b) {
				return !negate
			}
		}
		return negate
	}, nil
}

var comparisons = map[string]func(a, b any) bool{
	"=":  same,
	"!=": func(a, b any) bool { return !same(a, b) },
	"<>": func(a, b any) bool { return !same(a, b) },
	"<":  func(a, b any) bool { return order(a, b) == -1 },
	"<=": func(a, b any) bool { o := order(a, b); return o == -1 || o == 0 },
	">":  func(a, b any) bool { return order(a, b) == 1 },
	">=": func(a, b any) bool { return order(a, b) == 1 || order(a, b) == 0 },
}

// same compares values; objects and arrays are not the same as anything.
func same(a, b any) bool {
	switch a.(type) {
	case nil, bool, string, float64:
		return a == b // b of another type is unequal, whatever it is
	}
	return false
}

// order is -1, 0 or 1, or 2 for what has no order.
func order(a, b any) int {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case float64:
		if b, ok := b.(float64); ok && !math.IsNaN(a) && !math.IsNaN(b) {
			return cmp.Compare(a, b)
		}
	}
	return 2
}
