package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"hubscope/query/client"
)

// book is what is known for completion: the schema and functions of the
// service, and what was asked of it before.
type book struct {
	client *client.Client
	since  func() string // the start of the time range, as requests have it

	tables    []client.Table
	functions []client.Function
	columns   map[string][]client.TableColumn // by the text of a pipeline
	values    map[string][]string             // by pipeline, column and beginning
}

// patience is how long a person waits for completions.
const patience = 5 * time.Second

// manyValues is how many values of a column are offered.
const manyValues = 50

// open asks for schema and functions.
func (b *book) open(ctx context.Context) error {
	schema, err := b.client.Schema(ctx)
	if err != nil {
		return err
	}
	functions, err := b.client.Functions(ctx)
	if err != nil {
		return err
	}
	b.tables, b.functions = schema.Tables, functions.Functions
	b.columns, b.values = map[string][]client.TableColumn{}, map[string][]string{}
	return nil
}

// table returns a table by name, nil if there is none.
func (b *book) table(name string) *client.Table {
	for i := range b.tables {
		if b.tables[i].Name == name {
			return &b.tables[i]
		}
	}
	return nil
}

// candidate is something that can stand at the cursor.
type candidate struct {
	value, doc, tag string
	// glued says that no blank follows.
	glued bool
}

// commandNames are what the prompt knows besides queries.
var commandNames = []candidate{
	{value: ".explain", doc: "how a query would run: .explain Q"},
	{value: ".format", doc: "how results are shown: .format table|csv|..."},
	{value: ".help", doc: "what the prompt knows"},
	{value: ".quit", doc: "leave; Ctrl-D does too"},
	{value: ".schema", doc: "tables, or the columns of one: .schema [T]"},
	{value: ".since", doc: "only rows so far back: .since 12h, .since off"},
	{value: ".tail", doc: "follow events as they come: .tail [Q]"},
	{value: ".timing", doc: "the line with rows and time: .timing on|off"},
}

// suggest returns what can stand at the end of text, and which part of it is
// the beginning of that.
func (b *book) suggest(ctx context.Context, text string) (prefix string, list []candidate) {
	operators := tabularOperators
	if trimmed := strings.TrimLeft(text, " \t\n"); strings.HasPrefix(trimmed, ".") {
		name, rest, more := strings.Cut(trimmed, " ")
		if !more {
			return name, commandNames
		}
		switch name {
		case ".schema":
			return strings.TrimSpace(rest), b.tableNames()
		case ".format":
			return strings.TrimSpace(rest), plainly("format", formats...)
		case ".timing":
			return strings.TrimSpace(rest), plainly("timing", "on", "off")
		case ".since":
			return strings.TrimSpace(rest), plainly("since", "15m", "1h", "12h", "1d", "7d", "30d", "off")
		case ".tail":
			operators = []string{"extend", "project", "where"}
		case ".explain":
		default:
			return "", nil
		}
		text = rest
	}
	all := words(text)
	if n := len(all); n > 0 && all[n-1].kind == wordComment && !strings.HasSuffix(text, "\n") {
		return "", nil
	}
	all = slices.DeleteFunc(all, func(w word) bool { return w.kind == wordComment })
	if n := len(all); n > 0 && all[n-1].open {
		return b.suggestValue(ctx, text, all)
	}
	// The word under the cursor.
	if n := len(all); n > 0 {
		last := all[n-1]
		if last.kind == wordName && last.start+len(last.text) == len(text) {
			prefix, all = last.text, all[:n-1]
		} else if last.kind == wordNumber && last.start+len(last.text) == len(text) {
			return "", nil
		}
	}
	// An operator with a hyphen, half written, is several words.
	for n := len(all); n >= 2 && (all[n-1].text == "-" || all[n-1].kind == wordName) && prefix+all[n-1].text != ""; n = len(all) {
		w := all[n-1]
		if w.start+len(w.text) != len(text)-len(prefix) || w.kind == wordName && !strings.HasPrefix(prefix, "-") {
			break
		}
		prefix, all = w.text+prefix, all[:n-1]
	}
	s := stage(text, all)
	return prefix, b.suggestWord(ctx, s, operators, text)
}

// place is where in a query the cursor stands.
type place struct {
	before string // the pipeline up to its last pipe, with the statements it needs
	words  []word // of the last operator, without its name; or of what stands before the first pipe
	op     string // the last operator, "" before the first pipe
	inside bool   // of a subquery
	depth  int    // of parentheses inside the operator
}

// stage finds the innermost pipeline that the end of text belongs to.
func stage(text string, all []word) place {
	type level struct {
		first, pipe int // words
		sub         bool
	}
	statement := 0
	levels := []level{{0, -1, true}}
	for i, w := range all {
		top := &levels[len(levels)-1]
		switch w.text {
		case "(", "[", "{":
			sub := w.text == "{"
			if w.text == "(" && i > 0 {
				sub = sub || opensQuery(all, top.pipe, i)
			}
			levels = append(levels, level{i + 1, -1, sub})
		case ")", "]", "}":
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
			}
		case "|":
			top.pipe = i
		case ";":
			if len(levels) == 1 {
				levels, statement = []level{{i + 1, -1, true}}, i+1
			} else {
				top.first, top.pipe = i+1, -1 // in a function's body
			}
		}
	}
	p := place{}
	n := len(levels) - 1
	for n > 0 && !levels[n].sub && levels[n].pipe < 0 {
		n--
		p.depth++
	}
	l := levels[n]
	p.inside = n > 0
	lets := ""
	if statement > 0 {
		lets = text[:all[statement-1].start+1] + "\n"
	}
	if l.pipe < 0 {
		p.words = all[l.first:]
		p.before = lets
		return p
	}
	p.before = lets + text[all[l.first].start:all[l.pipe].start]
	rest := all[l.pipe+1:]
	if len(rest) > 0 {
		p.op, p.words = rest[0].text, rest[1:]
		if (p.op == "sort" || p.op == "order") && len(p.words) > 0 && p.words[0].text == "by" {
			p.words = p.words[1:]
		}
	} else {
		p.op = "|"
	}
	return p
}

// opensQuery says whether the parenthesis at i begins a query: that of join,
// lookup, union, materialize and toscalar.
func opensQuery(all []word, pipe, i int) bool {
	switch all[i-1].text {
	case "materialize", "toscalar", "union", "join", "lookup", "partition":
		return true
	}
	if pipe >= 0 && pipe+1 < i {
		switch all[pipe+1].text {
		case "join", "lookup", "union":
			for _, w := range all[pipe+1 : i] {
				if w.text == "on" || w.text == "(" {
					return false
				}
			}
			return true
		}
	}
	return false
}

// suggestWord returns what can stand at a place.
func (b *book) suggestWord(ctx context.Context, p place, operators []string, text string) []candidate {
	var last word
	if n := len(p.words); n > 0 {
		last = p.words[n-1]
	}
	value := last.kind == wordName && !keywords[last.text] || last.kind == wordNumber || last.kind == wordString || last.text == ")" || last.text == "]"
	if last.text == "" {
		value = false
	}
	switch {
	case p.op == "|":
		return plainly("operators", operators...)
	case p.op == "" && len(p.words) == 0:
		list := append(b.tableNames(), named("variables", variables(text))...)
		if !p.inside {
			list = append(list, plainly("statements", statements...)...)
		}
		return list
	case p.op == "":
		if value {
			return nil
		}
		switch p.words[0].text {
		case "let", "print", "range", "set":
			return append(named("variables", variables(text)), append(b.calls(false), b.tableNames()...)...)
		case "union", "find", "search":
			return b.tableNames()
		}
		return nil
	case p.op == "render":
		if len(p.words) == 0 {
			return plainly("charts", charts...)
		}
		return nil
	case p.op == "join" || p.op == "lookup" || p.op == "union":
		switch {
		case last.text == "=":
			return plainly("kinds", joinKinds...)
		case last.text == "":
			return append([]candidate{{value: "kind=", tag: "parameters", glued: true}}, b.tableNames()...)
		}
	case p.op == "take" || p.op == "limit" || p.op == "count" || p.op == "as" || p.op == "getschema":
		return nil
	}
	columns := b.columnsAt(ctx, p.before)
	switch p.op {
	case "where", "filter":
		if value {
			return plainly("operators", append(slices.Clone(comparisons), "and", "or")...)
		}
	case "sort", "order", "top":
		if value {
			return plainly("order", "asc", "desc", "nulls first", "nulls last", "by")
		}
		return append(columns, b.calls(false)...)
	case "project-away", "project-keep", "project-reorder", "project-rename", "distinct", "mv-expand":
		return columns
	case "summarize":
		if value {
			return plainly("keywords", "by")
		}
		by := slices.ContainsFunc(p.words, func(w word) bool { return w.text == "by" })
		return append(append(columns, b.calls(!by && p.depth == 0)...), named("variables", variables(text))...)
	case "make-series":
		return append(append(columns, b.calls(true)...), plainly("keywords", "on", "from", "to", "step", "by", "default")...)
	case "join", "lookup":
		if last.text == ")" || value {
			return append(plainly("keywords", "on"), columns...)
		}
		return columns
	}
	if value && last.text != "=" {
		return nil
	}
	return append(append(columns, b.calls(false)...), named("variables", variables(text))...)
}

// suggestValue returns the values of the column that the open string at the end
// of text is compared with.
func (b *book) suggestValue(ctx context.Context, text string, all []word) (prefix string, list []candidate) {
	n := len(all) - 1
	typed := all[n]
	quote := strings.IndexAny(typed.text, `"'`)
	mark, begin := typed.text[quote:quote+1], typed.text[quote+1:]
	// Back over a list to what it is compared by, and to the column.
	i := n - 1
	for i >= 0 && (all[i].kind == wordString || all[i].text == ",") {
		i--
	}
	if i >= 0 && all[i].text == "(" {
		i--
	}
	if i >= 1 && all[i].text == "~" {
		i--
	}
	if i < 1 || all[i-1].kind != wordName {
		return "", nil
	}
	switch strings.TrimPrefix(all[i].text, "!") {
	case "==", "=", "=~", "~", "in", "in~", "has", "has_cs", "has_any", "has_all", "contains", "startswith", "hasprefix":
	default:
		return "", nil
	}
	column := all[i-1].text
	p := stage(text, all[:i-1])
	if p.op == "" || !slices.ContainsFunc(b.columnsAt(ctx, p.before), func(c candidate) bool { return c.value == column && strings.HasPrefix(c.doc, "string") }) {
		return "", nil
	}
	for _, v := range b.valuesOf(ctx, p.before, column, begin) {
		v = strings.NewReplacer(`\`, `\\`, mark, `\`+mark, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v)
		list = append(list, candidate{value: mark + v + mark, tag: "values of " + column})
	}
	return typed.text[quote:], list
}

// columnsAt returns the columns that a pipeline has.
func (b *book) columnsAt(ctx context.Context, pipeline string) []candidate {
	columns, known := b.columns[pipeline]
	if !known {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		v, err := b.client.Validate(ctx, client.QueryRequest{Query: pipeline})
		if err == nil && v.Valid {
			docs := map[string]string{}
			for _, name := range v.Tables {
				if t := b.table(name); t != nil {
					for _, c := range t.Columns {
						docs[c.Name] = c.Doc
					}
				}
			}
			for _, c := range v.Columns {
				columns = append(columns, client.TableColumn{Name: c.Name, Type: c.Type, Doc: docs[c.Name]})
			}
		} else if all := words(pipeline); len(all) > 0 {
			// Half a query: those of its table are better than none.
			for _, w := range all {
				if t := b.table(w.text); t != nil {
					columns = t.Columns
				}
			}
		}
		if ctx.Err() == nil {
			b.columns[pipeline] = columns
		}
	}
	list := make([]candidate, len(columns))
	for i, c := range columns {
		list[i] = candidate{value: columnName(c.Name), doc: strings.TrimSpace(c.Type + "  " + c.Doc), tag: "columns"}
	}
	return list
}

// columnName writes a column as it has to stand in a query.
func columnName(name string) string {
	for i, r := range name {
		if i == 0 && !isNameStart(r) || !isNamePart(r) {
			return "['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "']"
		}
	}
	return name
}

// valuesOf returns the most frequent values of a column.
func (b *book) valuesOf(ctx context.Context, pipeline, column, begin string) []string {
	key := pipeline + "\x00" + column + "\x00" + begin
	if list, ok := b.values[key]; ok {
		return list
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req := client.QueryRequest{
		// A sample is enough to offer what is frequent, and is quick on any table.
		Query: "declare query_parameters(begin: string);\n" + pipeline + "\n| where " + column + " startswith begin and isnotempty(" + column + ")" +
			" | take 200000 | summarize hubscope_n = count() by " + column +
			" | sort by hubscope_n desc, " + column + " asc | take 50",
		Parameters: map[string]any{"begin": begin}, Start: b.since(), TimeoutSeconds: patience.Seconds(), MaxRows: manyValues,
	}
	answer, err := b.client.Query(ctx, req, nil)
	if err != nil {
		return nil
	}
	defer answer.Close()
	var list []string
	for {
		rows, err := answer.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil
		}
		for _, r := range rows {
			list = append(list, cell(r[0]))
		}
	}
	b.values[key] = list
	return list
}

func (b *book) tableNames() []candidate {
	var list []candidate
	for _, t := range b.tables {
		list = append(list, candidate{value: t.Name, doc: t.Doc, tag: "tables"})
	}
	return list
}

// calls returns functions, aggregates among them or alone.
func (b *book) calls(aggregates bool) []candidate {
	var list []candidate
	for _, f := range b.functions {
		if f.Replaced == "" && f.Aggregate == aggregates {
			tag := "functions"
			if f.Aggregate {
				tag = "aggregates"
			}
			list = append(list, candidate{value: f.Name + "(", doc: f.Doc, tag: tag, glued: true})
		}
	}
	return list
}

func plainly(tag string, values ...string) []candidate {
	list := make([]candidate, len(values))
	for i, v := range values {
		list[i] = candidate{value: v, tag: tag, glued: strings.HasSuffix(v, "(")}
	}
	return list
}

func named(tag string, names []string) []candidate { return plainly(tag, names...) }

// variables are the names that let statements of a text declare.
func variables(text string) []string {
	var names []string
	all := words(text)
	for i := 1; i < len(all); i++ {
		if all[i-1].text == "let" && all[i].kind == wordName && (i == 1 || all[i-2].text == ";") {
			names = append(names, all[i].text)
		}
	}
	return names
}
