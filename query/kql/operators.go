package kql

import (
	"fmt"
	"strings"
)

// otherWords are what other languages call an operator.
var otherWords = map[string]string{
	"select": "project", "group": "summarize", "groupby": "summarize", "aggregate": "summarize", "stats": "summarize", "head": "take",
	"eval": "extend", "dedup": "distinct", "unique": "distinct", "having": "where", "drop": "project-away", "rename": "project-rename", "explode": "mv-expand",
}

// operatorNames are the words that start an operator, for hints.
var operatorNames = []string{
	"as", "consume", "count", "distinct", "evaluate", "extend", "facet", "filter", "find", "fork", "getschema", "invoke",
	"join", "limit", "lookup", "make-series", "mv-apply", "mv-expand", "order", "parse", "parse-kv", "parse-where",
	"partition", "print", "project", "project-away", "project-keep", "project-rename", "project-reorder", "range",
	"reduce", "render", "sample", "sample-distinct", "scan", "search", "serialize", "sort", "summarize", "take", "top",
	"top-hitters", "top-nested", "union", "where",
}

// infixNames are the words that may follow an expression, for hints.
var infixNames = []string{
	"and", "or", "in", "has", "contains", "startswith", "endswith", "between", "matches regex", "has_any", "has_all",
	"hasprefix", "hassuffix", "by", "on", "asc", "desc", "nulls", "with", "from", "step", "default", "kind",
}

// pipe reads a query expression: a source and its operators, an operator that
// needs no source, or just an expression.
func (p *parser) pipe() Expr {
	if !p.enter() {
		p.depth--
		return p.bad()
	}
	defer p.leave()
	start := p.pos
	outer := p.open()
	var pipe Pipe
	if p.startsOperator() {
		pipe.Ops = []Operator{p.operator()}
	} else {
		pipe.Source = p.or()
		p.hmax = max(p.hmax, p.h)
		if !p.failed && p.kind() == tIdent {
			p.sqlHint(start)
		}
	}
	p.settle(start, len(pipe.Ops) > 0)
	if p.kind() != tBar && pipe.Source != nil {
		p.h = p.hmax
		p.hmax = max(outer, p.h)
		return pipe.Source
	}
	p.ops(&pipe)
	p.shut(outer)
	pipe.Span = p.from(start)
	if pipe.Source != nil {
		pipe.Span = pipe.Join(pipe.Source.Range())
	}
	return &pipe
}

// ops reads | operator | operator ... into pipe.
func (p *parser) ops(pipe *Pipe) {
	for p.kind() == tBar && !p.dead {
		p.next()
		start := p.pos
		pipe.Ops = append(pipe.Ops, p.operator())
		p.settle(start, true)
	}
}

// sub reads a query that begins with an operator, as mv-apply, partition and
// fork hold it in parentheses.
func (p *parser) sub() Expr {
	if !p.enter() {
		p.depth--
		return p.bad()
	}
	defer p.leave()
	start := p.pos
	outer := p.open()
	var pipe Pipe
	if p.kind() == kwContextualDatatable {
		pipe.Source = p.unsupported(p.word())
	} else {
		pipe.Ops = []Operator{p.operator()}
	}
	p.settle(start, true)
	if len(pipe.Ops) > 0 {
		if bad, ok := pipe.Ops[0].(*BadOp); ok {
			bad.Span = p.from(start) // with what was left behind
		}
	}
	p.ops(&pipe)
	p.shut(outer)
	pipe.Span = p.from(start)
	return &pipe
}

// settle ends a source or operator that began at token start: what follows
// must be able to follow it, and an error in it is left behind.
func (p *parser) settle(start int, operator bool) {
	if operator && !p.failed {
		switch p.kind() {
		case tBar, tSemicolon, tEOF, tRParen, tRBrace, tRBracket, tComma:
		default:
			what := `"|" or ";"`
			if p.depth > 1 {
				what = `"|" or a closing bracket`
			}
			p.expected(what, p.strayHint())
		}
	}
	if p.failed {
		p.skip(start)
	}
}

// sqlHint reports a text that looks like SQL.
func (p *parser) sqlHint(start int) {
	if t := p.toks[start]; t.kind == tIdent && strings.EqualFold(p.textOf(t), "select") {
		p.fail(t.span(), CodeSyntax, "this looks like SQL", "a query starts with its table: Table | where ... | project ...")
	}
}

// startsOperator reports whether a query that begins here begins with an
// operator. Most operators' keywords may be names too; then it is a name.
func (p *parser) startsOperator() bool {
	t, next := p.tok(), p.peek(1)
	if !isOperator(t.kind) {
		return false
	}
	switch t.kind {
	case kwEvaluate:
		return p.nameLen(1, fName) > 0 || p.paramLen(1) > 0
	case kwFacet:
		return next.kind == kwBy
	case kwPartition:
		return next.kind == kwBy || p.paramLen(1) > 0
	case kwRange:
		n := p.nameLen(1, fName)
		return n > 0 && p.peekKind(1+n) == kwFrom
	case kwReduce:
		return next.kind == kwBy || p.paramLen(1) > 0
	case kwRender:
		return next.kind == tIdent || isWord(next.kind) && (next.has(fName) || next.kind == tReserved)
	}
	return !t.has(fName)
}

// operator reads the operator that stands after a pipe or at the beginning.
func (p *parser) operator() Operator {
	start := p.pos
	t := p.tok()
	if !isOperator(t.kind) || (t.kind == kwCount || t.kind == kwRange) && p.peekKind(1) == tLParen {
		return p.badOperator()
	}
	if !p.enter() {
		p.depth--
		return &BadOp{p.from(p.pos), Keyword{}}
	}
	defer p.leave()
	key := Keyword{p.textOf(t), t.span()}
	p.next()
	outer := p.open()
	op := p.operatorRest(t.kind, key, start)
	p.shut(outer)
	return op
}

func (p *parser) badOperator() Operator {
	start := p.pos
	t := p.tok()
	w := p.textOf(t)
	if t.kind == tIdent || isWord(t.kind) {
		hint := ""
		lower := strings.ToLower(w)
		if near := nearest(lower, operatorNames); near != "" {
			hint = "did you mean " + near + "?"
		}
		if other := otherWords[lower]; other != "" {
			hint = "did you mean " + other + "?"
		}
		if lower == "count" && p.peekKind(1) == tLParen {
			hint = "the operator count has no parentheses; the aggregate count() stands in summarize"
		}
		if isWord(t.kind) && !t.has(fName) || p.peekKind(1) == tLParen && words[w].kind != 0 {
			p.expected("an operator", hint)
		} else {
			p.fail(t.span(), CodeSyntax, fmt.Sprintf("unknown operator %q", w), hint)
		}
		p.next()
		return &BadOp{p.from(start), Keyword{w, t.span()}}
	}
	if t.kind == tBar {
		p.expected("an operator", "write or, or take one | away")
		p.next()
	} else {
		p.expected("an operator", "")
	}
	return &BadOp{p.from(start), Keyword{}}
}

// operatorRest reads what follows the keyword of an operator.
func (p *parser) operatorRest(k kind, key Keyword, start int) Operator {
	switch k {
	case kwWhere, kwFilter:
		op := &WhereOp{Keyword: key, Params: p.params()}
		op.Cond = p.named()
		op.Span = p.from(start)
		return op
	case kwExtend:
		op := &ExtendOp{Keyword: key, Columns: p.namedList()}
		op.Span = p.from(start)
		return op
	case kwProject:
		op := &ProjectOp{Keyword: key}
		if !p.atListEnd() {
			op.Columns = p.namedList()
		}
		op.Span = p.from(start)
		return op
	case kwProjectAway:
		op := &ProjectAwayOp{Keyword: key, Columns: p.columnPatterns()}
		op.Span = p.from(start)
		return op
	case kwProjectKeep:
		op := &ProjectKeepOp{Keyword: key, Columns: p.columnPatterns()}
		op.Span = p.from(start)
		return op
	case kwProjectRename:
		op := &ProjectRenameOp{Keyword: key}
		if !p.atListEnd() {
			op.Columns = p.namedList()
		}
		op.Span = p.from(start)
		return op
	case kwProjectReorder:
		op := &ProjectReorderOp{Keyword: key}
		for !p.atListEnd() && !p.failed {
			at := p.pos
			o := &Ordered{X: p.columnPattern()}
			o.Order = p.order(true)
			o.Span = p.from(at)
			op.Columns = append(op.Columns, o)
			if !p.accept(tComma) {
				break
			}
			if p.atListEnd() {
				p.expected("a column", "")
			}
		}
		op.Span = p.from(start)
		return op
	case kwProjectByNames:
		op := &ProjectByNamesOp{Keyword: key}
		if !p.atListEnd() {
			p.list(tEOF, false, false, func() { op.Columns = append(op.Columns, p.unnamed()) })
		}
		op.Span = p.from(start)
		return op
	case kwSummarize:
		return p.summarize(key, start)
	case kwSort, kwOrder:
		op := &SortOp{Keyword: key, Params: p.params()}
		if p.expect(kwBy, `"by"`) {
			op.Keys = p.orderedList()
		}
		op.Span = p.from(start)
		return op
	case kwTop:
		op := &TopOp{Keyword: key, Params: p.params()}
		op.Count = p.named()
		p.expect(kwBy, `"by"`)
		op.By = p.ordered()
		op.Span = p.from(start)
		return op
	case kwTopHitters:
		op := &TopHittersOp{Keyword: key, Count: p.named()}
		p.expect(kwOf, `"of"`)
		op.Of = p.named()
		if p.accept(kwBy) {
			op.By = p.named()
		}
		op.Span = p.from(start)
		return op
	case kwTopNested:
		return p.topNested(key, start)
	case kwTake, kwLimit:
		op := &TakeOp{Keyword: key, Params: p.params()}
		op.Count = p.named()
		op.Span = p.from(start)
		return op
	case kwSample:
		op := &SampleOp{Keyword: key, Params: p.params()}
		op.Count = p.named()
		op.Span = p.from(start)
		return op
	case kwSampleDistinct:
		op := &SampleDistinctOp{Keyword: key, Params: p.params()}
		op.Count = p.named()
		p.expect(kwOf, `"of"`)
		op.Of = p.named()
		op.Span = p.from(start)
		return op
	case kwDistinct:
		op := &DistinctOp{Keyword: key, Params: p.params()}
		p.list(tEOF, false, false, func() {
			if p.kind() == tStar {
				op.Columns = append(op.Columns, p.star())
			} else {
				op.Columns = append(op.Columns, p.named())
			}
		})
		op.Span = p.from(start)
		return op
	case kwCount:
		op := &CountOp{Keyword: key}
		if p.accept(kwAs) {
			n := p.name(fName, "a column name")
			op.As = &n
		}
		op.Span = p.from(start)
		return op
	case kwJoin:
		return p.join(key, start)
	case kwLookup:
		op := &LookupOp{Keyword: key, Params: p.params()}
		op.Right = p.unnamed()
		if p.expect(kwOn, `"on"`) {
			op.On = p.exprs(tEOF, false, false)
		}
		op.Span = p.from(start)
		return op
	case kwUnion:
		op := &UnionOp{Keyword: key, Params: p.params()}
		p.list(tEOF, false, false, func() {
			if p.kind() == tLParen {
				op.Tables = append(op.Tables, p.primary())
			} else {
				op.Tables = append(op.Tables, p.entity())
			}
			p.hmax = max(p.hmax, p.h)
		})
		op.Span = p.from(start)
		return op
	case kwMvExpand, kwMvDashExpand:
		op := &MvExpandOp{Keyword: key, Params: p.params()}
		op.Columns = p.mvColumns(false)
		if p.accept(kwLimit) {
			op.Limit = p.unnamed()
		}
		op.Span = p.from(start)
		return op
	case kwMvApply, kwMvDashApply:
		return p.mvApply(key, start)
	case kwParse, kwParseWhere:
		return p.parse(key, start)
	case kwParseKv:
		op := &ParseKvOp{Keyword: key, X: p.unnamed()}
		p.expect(kwAs, `"as" and the columns`)
		op.Schema = p.rowSchema(false)
		if p.accept(kwWith) {
			op.Props = p.paramProps()
		}
		op.Span = p.from(start)
		return op
	case kwMakeSeries:
		return p.makeSeries(key, start)
	case kwSearch:
		op := &SearchOp{Keyword: key, Params: p.params()}
		op.Scope = p.scopeClause()
		op.In = p.inTables()
		op.Cond = p.searchCond()
		op.Span = p.from(start)
		return op
	case kwFind:
		return p.find(key, start)
	case kwInvoke:
		op := &InvokeOp{Keyword: key}
		if p.startsCall(0) {
			at := p.pos
			op.Call = p.call()
			for !p.failed && p.kind() == tDot && p.startsCall(1) {
				p.next()
				c := p.call()
				op.Call = &Path{p.from(at), op.Call, c}
			}
			p.hmax = max(p.hmax, p.h)
		} else {
			p.expected("a function call", "")
			op.Call = p.bad()
		}
		op.Span = p.from(start)
		return op
	case kwPartition:
		return p.partition(key, start)
	case kwPartitionBy:
		op := &PartitionByOp{Keyword: key, Params: p.params()}
		op.By = p.simplePath()
		if p.accept(kwID) {
			op.ID = p.requireLiteral()
		}
		op.Sub = p.subInParens()
		op.Span = p.from(start)
		return op
	case kwSerialize:
		op := &SerializeOp{Keyword: key, Params: p.params()}
		if !p.atListEnd() {
			op.Columns = p.namedList()
		}
		op.Span = p.from(start)
		return op
	case kwScan:
		return p.scan(key, start)
	case kwGetSchema:
		op := &GetSchemaOp{Keyword: key, Params: p.params()}
		op.Span = p.from(start)
		return op
	case kwAs:
		op := &AsOp{Keyword: key, Params: p.params()}
		op.Name = p.name(fName, "a name")
		op.Span = p.from(start)
		return op
	case kwRange:
		op := &RangeOp{Keyword: key, Name: p.name(fName, "a column name")}
		p.expect(kwFrom, `"from"`)
		op.From = p.unnamed()
		p.expect(kwTo, `"to"`)
		op.To = p.unnamed()
		p.expect(kwStep, `"step"`)
		op.Step = p.unnamed()
		op.Span = p.from(start)
		return op
	case kwPrint:
		op := &PrintOp{Keyword: key, Columns: p.namedList()}
		op.Span = p.from(start)
		return op
	case kwEvaluate:
		op := &EvaluateOp{Keyword: key, Params: p.params()}
		if p.startsCall(0) {
			op.Call = p.call()
			p.hmax = max(p.hmax, p.h)
		} else {
			p.expected("a plugin call", "")
			op.Call = &Call{Span: p.from(p.pos)}
		}
		if p.accept(tColon) {
			op.Schema = p.rowSchema(true)
		}
		op.Span = p.from(start)
		return op
	case kwRender:
		return p.render(key, start)
	case kwReduce:
		op := &ReduceOp{Keyword: key, Params: p.params()}
		if p.expect(kwBy, `"by"`) {
			op.By = p.named()
		} else {
			op.By = p.bad()
		}
		if p.accept(kwWith) {
			p.list(tEOF, true, false, func() { op.Props = append(op.Props, p.requireParam()) })
		}
		op.Span = p.from(start)
		return op
	case kwFork:
		return p.fork(key, start)
	case kwFacet:
		return p.facet(key, start)
	case kwConsume:
		op := &ConsumeOp{Keyword: key, Params: p.params()}
		op.Span = p.from(start)
		return op
	case kwAssertSchema, kwExecuteAndCache, kwGraph, kwMacroExpand, kwInlineExternalTable:
		s := Span{key.At.Start, key.At.End}
		if rest := p.raw(false); rest.End > s.End {
			s.End = rest.End
		}
		return &UnsupportedOp{s, key, p.text[s.Start:s.End]}
	}
	panic(fmt.Sprintf("operator %q has no rule", key.Text))
}

// atListEnd reports whether a list of columns that may be empty ends here.
func (p *parser) atListEnd() bool {
	switch p.kind() {
	case tRParen, tRBracket, tRBrace, tBar, tSemicolon, tEOF:
		return true
	}
	return false
}

// columnPatterns reads the columns of project-away and project-keep.
func (p *parser) columnPatterns() []Expr {
	if p.atListEnd() {
		return nil
	}
	var list []Expr
	p.list(tEOF, false, false, func() { list = append(list, p.columnPattern()) })
	return list
}

func (p *parser) columnPattern() Expr {
	if n := p.wildcardLen(0); n > 0 {
		return p.wildcard(n)
	}
	n := p.name(fName, "a column")
	p.h = 1
	return &Ref{n}
}

// order reads asc or desc, and their granny forms where asked for.
func (p *parser) order(granny bool) Order {
	o := OrderDefault
	if p.failed {
		return o
	}
	switch p.kind() {
	case kwAsc:
		o = OrderAsc
	case kwDesc:
		o = OrderDesc
	case kwGrannyAsc:
		o = OrderGrannyAsc
	case kwGrannyDesc:
		o = OrderGrannyDesc
	default:
		return o
	}
	p.next()
	return o
}

// ordered reads an expression with asc, desc, nulls first or nulls last.
func (p *parser) ordered() *Ordered {
	start := p.pos
	o := &Ordered{X: p.named()}
	if p.failed {
		o.Span = p.from(start)
		return o
	}
	o.Order = p.order(true)
	if p.accept(kwNulls) {
		switch p.kind() {
		case kwFirst:
			o.Nulls = NullsFirst
			p.next()
		case kwLast:
			o.Nulls = NullsLast
			p.next()
		default:
			p.expected("first or last", "")
		}
	}
	o.Span = p.from(start)
	return o
}

func (p *parser) orderedList() []*Ordered {
	var list []*Ordered
	p.list(tEOF, false, false, func() { list = append(list, p.ordered()) })
	return list
}

func (p *parser) summarize(key Keyword, start int) Operator {
	op := &SummarizeOp{Keyword: key, Params: p.params()}
	if !p.atListEnd() && p.kind() != kwBy {
		op.Aggs = p.namedList()
	}
	if p.accept(kwBy) {
		op.HasBy = true
		op.By = p.namedList()
		if p.kind() == kwBin && p.peekKind(1) == tEq && !p.failed { // by a, b bin=1h: the spelling of old
			p.next()
			p.next()
			op.BinStep = p.unnamed()
		}
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) topNested(key Keyword, start int) Operator {
	op := &TopNestedOp{Keyword: key}
	for {
		l := &TopNestedLevel{}
		if p.kind() != kwOf {
			l.Count = p.named()
		}
		p.expect(kwOf, `"of"`)
		l.Of = p.named()
		if p.accept(kwWith) {
			p.expect(kwOthers, `"others"`)
			p.expect(tEq, `"="`)
			if p.startsLiteral() && p.kind() != tLBrace {
				l.Others = p.literal()
			} else {
				l.Others = p.unnamed()
			}
		}
		p.expect(kwBy, `"by"`)
		l.By = p.ordered()
		l.Span = p.from(start)
		op.Levels = append(op.Levels, l)
		if p.failed || !p.accept(tComma) {
			break
		}
		start = p.pos
		if !p.expect(kwTopNested, `"top-nested"`) {
			break
		}
	}
	op.Span = Span{key.At.Start, op.Levels[len(op.Levels)-1].End}
	return op
}

func (p *parser) join(key Keyword, start int) Operator {
	op := &JoinOp{Keyword: key, Params: p.params()}
	op.Right = p.unnamed()
	switch p.kind() {
	case kwOn:
		if p.accept(kwOn) {
			op.On = p.exprs(tEOF, false, false)
		}
	case kwWhere:
		if p.accept(kwWhere) {
			op.Where = p.unnamed()
		}
	}
	op.Span = p.from(start)
	return op
}

// mvColumns reads the columns of mv-expand and mv-apply.
func (p *parser) mvColumns(apply bool) []*MvColumn {
	var list []*MvColumn
	end := func() bool {
		switch k := p.kind(); k {
		case kwLimit:
			if !apply {
				return true
			}
		case kwID, kwOn:
			if !apply {
				return false
			}
		default:
			return p.atListEnd()
		}
		// A column may have the name of the clause that ends the list.
		switch p.peekKind(1) {
		case tComma, kwTo, tEq:
			return false
		}
		return true
	}
	p.list(tEOF, false, false, func() {
		start := p.pos
		c := &MvColumn{}
		alone := apply && p.kind() == kwTo && len(list) == 0
		if end() {
			p.expected("a column", "")
		}
		if !alone {
			c.X = p.named()
		}
		if p.accept(kwTo) {
			if p.kind() == kwTypeof {
				c.To = p.typeOf().(*TypeOf)
			} else {
				p.expected("typeof(...)", "")
			}
		}
		c.Span = p.from(start)
		list = append(list, c)
	})
	if len(list) > 1 && list[0].X == nil {
		p.fail(list[0].Span, CodeSyntax, "expected a column before to", "")
	}
	return list
}

func (p *parser) mvApply(key Keyword, start int) Operator {
	op := &MvApplyOp{Keyword: key, Params: p.params()}
	op.Columns = p.mvColumns(true)
	if p.accept(kwLimit) {
		op.Limit = p.unnamed()
	}
	if p.accept(kwID) {
		op.ID = p.unnamed()
	}
	p.expect(kwOn, `"on"`)
	op.Sub = p.subInParens()
	op.Span = p.from(start)
	return op
}

// subInParens reads ( operator | operator ... ).
func (p *parser) subInParens() Expr {
	open := p.pos
	if !p.expect(tLParen, `"(" and a query`) {
		return p.bad()
	}
	x := p.sub()
	p.close(tRParen, open)
	p.hmax = max(p.hmax, p.h)
	return x
}

func (p *parser) parse(key Keyword, start int) Operator {
	op := &ParseOp{Keyword: key, Params: p.params()}
	op.X = p.unnamed()
	p.expect(kwWith, `"with" and a pattern`)
	for !p.failed {
		switch t := p.tok(); {
		case t.kind == tStar:
			op.Pattern = append(op.Pattern, p.star())
			continue
		case t.kind == tString:
			p.next()
			op.Pattern = append(op.Pattern, p.stringLiteral(p.pos-1))
			continue
		case p.nameLen(0, fExtName) > 0:
			op.Pattern = append(op.Pattern, p.column(true))
			continue
		case t.kind == tColon:
			p.expected("a column name", "")
		}
		break
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) makeSeries(key Keyword, start int) Operator {
	op := &MakeSeriesOp{Keyword: key, Params: p.params()}
	p.list(tEOF, false, false, func() {
		at := p.pos
		a := &SeriesAgg{X: p.named()}
		if p.accept(kwDefault) {
			p.expect(tEq, `"="`)
			a.Default = p.named()
		}
		a.Span = p.from(at)
		op.Aggs = append(op.Aggs, a)
	})
	p.expect(kwOn, `"on"`)
	op.On = p.named()
	switch t := p.tok(); {
	case p.failed:
	case t.kind == kwFrom || t.kind == kwTo || t.kind == kwStep:
		if p.accept(kwFrom) {
			op.From = p.unnamed()
		}
		if p.accept(kwTo) {
			op.To = p.unnamed()
		}
		if p.expect(kwStep, `"step"`) {
			op.Step = p.unnamed()
		}
	case t.kind == tInOp && t.op == OpIn && p.peekKind(1) == kwRange:
		p.next()
		p.next()
		open := p.pos
		if p.expect(tLParen, `"("`) {
			p.list(tRParen, true, false, func() { op.InRange = append(op.InRange, p.named()) })
			p.close(tRParen, open)
		}
	default:
		p.expected(`"from", "to", "step" or "in range(...)"`, "")
	}
	if p.accept(kwBy) {
		op.By = p.namedList()
	}
	op.Span = p.from(start)
	return op
}

// inTables reads `in (tables)` of search and find; nil if absent.
func (p *parser) inTables() []Expr {
	if t := p.tok(); t.kind != tInOp || t.op != OpIn {
		return nil
	}
	p.next()
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		return nil
	}
	var list []Expr
	p.list(tRParen, false, false, func() {
		start := p.pos
		x := p.entity()
		if p.kind() == tBar && p.peekKind(1) == kwAs && !p.failed {
			pipe := &Pipe{Source: x}
			p.ops(pipe)
			pipe.Span = p.from(start)
			x = pipe
		}
		list = append(list, x)
		p.hmax = max(p.hmax, p.h)
	})
	p.close(tRParen, open)
	return list
}

// searchCond reads the condition of search; a star alone matches every row.
func (p *parser) searchCond() Expr {
	start := p.pos
	if p.kind() == tStar && p.stringOpAt(1) == OpInvalid && p.peekKind(1) != tEqEq {
		var x Expr = p.star()
		if p.kind() == tAnd {
			x = p.binary(start, x, OpAnd, p.unnamed)
		}
		return x
	}
	return p.unnamed()
}

func (p *parser) find(key Keyword, start int) Operator {
	op := &FindOp{Keyword: key}
	op.Scope = p.scopeClause()
	op.Params = p.params()
	op.In = p.inTables()
	if len(op.Params) > 0 || op.In != nil {
		op.Where = p.expect(kwWhere, `"where"`)
	} else {
		op.Where = p.accept(kwWhere)
	}
	op.Cond = p.unnamed()
	if p.accept(kwProject) {
		op.Project = p.findColumns()
	} else {
		op.Smart = p.accept(kwProjectSmart)
	}
	if p.accept(kwUnderProjectAway) {
		op.Away = p.findColumns()
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) findColumns() []*FindColumn {
	var list []*FindColumn
	p.list(tEOF, false, false, func() {
		start := p.pos
		c := &FindColumn{}
		switch {
		case p.kind() == kwPack && p.peekKind(1) == tLParen:
			p.next()
			open := p.pos
			p.next()
			p.expect(tStar, `"*"`)
			p.close(tRParen, open)
			c.Pack = true
		case p.accept(tStar):
			c.Star = true
		default:
			c.Column = &Column{Name: p.name(fName, "a column name")}
			if p.accept(tColon) {
				c.Column.Type = p.typeName(true)
			}
			c.Column.Span = p.from(start)
		}
		c.Span = p.from(start)
		list = append(list, c)
	})
	return list
}

func (p *parser) partition(key Keyword, start int) Operator {
	op := &PartitionOp{Keyword: key, Params: p.params()}
	p.expect(kwBy, `"by"`)
	op.By = p.simplePath()
	if t := p.tok(); t.kind == tInOp && t.op == OpIn && !p.failed {
		p.next()
		switch {
		case p.startsCall(0):
			op.In = p.call()
		case p.kind() == kwDynamic && p.peekKind(1) == tLParen:
			op.In = p.literal()
		default:
			p.expected("a function call or dynamic(...)", "")
			op.In = p.bad()
		}
	}
	if p.kind() == tLBrace {
		open := p.pos
		p.next()
		op.Braces = true
		op.Sub = p.pipe()
		p.close(tRBrace, open)
	} else {
		op.Sub = p.subInParens()
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) scan(key Keyword, start int) Operator {
	op := &ScanOp{Keyword: key, Params: p.params()}
	if p.accept(kwOrder) {
		if p.expect(kwBy, `"by"`) {
			op.OrderBy = p.orderedList()
		}
	}
	if p.accept(kwPartition) {
		if p.expect(kwBy, `"by"`) {
			op.PartitionBy = p.exprs(tEOF, false, false)
		}
	}
	if p.accept(kwDeclare) {
		open := p.pos
		if p.expect(tLParen, `"("`) {
			op.Declare = []*FuncParam{}
			p.list(tRParen, true, false, func() { op.Declare = append(op.Declare, p.funcParam()) })
			p.close(tRParen, open)
		}
	}
	p.expect(kwWith, `"with"`)
	open := p.pos
	if p.expect(tLParen, `"(" and the steps`) {
		for p.kind() == kwStep && !p.failed {
			op.Steps = append(op.Steps, p.scanStep())
		}
		p.close(tRParen, open)
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) scanStep() *ScanStep {
	start := p.pos
	p.next()
	s := &ScanStep{Name: p.name(fExtName, "a name")}
	s.Optional = p.accept(kwOptional)
	if p.accept(kwOutput) {
		p.expect(tEq, `"="`)
		switch w := p.word(); {
		case w == "all" || w == "last" || w == "none":
			s.Output = w
			p.next()
		default:
			p.expected("all, last or none", "")
		}
	}
	p.expect(tColon, `":"`)
	s.Cond = p.unnamed()
	if p.accept(tArrow) {
		p.list(tEOF, false, false, func() {
			at := p.pos
			a := &ScanAssign{Name: p.name(fExtName, "a name")}
			if p.expect(tEq, `"="`) {
				a.X = p.unnamed()
			} else {
				a.X = p.bad()
			}
			a.Span = p.from(at)
			s.Assigns = append(s.Assigns, a)
		})
	}
	p.expect(tSemicolon, `";"`)
	s.Span = p.from(start)
	return s
}

func (p *parser) render(key Keyword, start int) Operator {
	op := &RenderOp{Keyword: key}
	if t := p.tok(); t.kind == tIdent || isWord(t.kind) && t.kind != kwWith && t.kind != kwBy {
		p.next()
		op.Chart = Name{t.span(), p.textOf(t), false}
	} else {
		p.expected("the kind of chart", "")
	}
	for !p.failed { // properties without parentheses, the spelling of old
		t := p.tok()
		w := p.textOf(t)
		if (w == "kind" || w == "title" || w == "accumulate") && p.peekKind(1) == tEq ||
			t.kind == kwBy || t.kind == kwWith && p.peekKind(1) != tLParen {
			op.Props = append(op.Props, p.param(1))
			continue
		}
		break
	}
	op.Old = len(op.Props)
	if p.accept(kwWith) {
		op.With = true
		open := p.pos
		if p.expect(tLParen, `"("`) {
			p.accept(tComma)
			p.list(tRParen, true, false, func() { op.Props = append(op.Props, p.requireParam()) })
			p.close(tRParen, open)
		}
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) fork(key Keyword, start int) Operator {
	op := &ForkOp{Keyword: key}
	for !p.failed {
		at := p.pos
		b := &ForkBranch{}
		if n := p.nameLen(0, fName); n > 0 && p.peekKind(n) == tEq {
			name := p.readName(n)
			b.Name = &name
			p.next()
		} else if p.kind() != tLParen {
			if len(op.Branches) == 0 {
				p.expected(`"(" and a query`, "")
			}
			break
		}
		open := p.pos
		if p.expect(tLParen, `"("`) {
			if isOperator(p.kind()) {
				b.Sub = p.sub()
			} else {
				b.Sub = p.pipe()
			}
			p.close(tRParen, open)
			p.hmax = max(p.hmax, p.h)
		} else {
			b.Sub = p.bad()
		}
		b.Span = p.from(at)
		op.Branches = append(op.Branches, b)
	}
	op.Span = p.from(start)
	return op
}

func (p *parser) facet(key Keyword, start int) Operator {
	op := &FacetOp{Keyword: key}
	if p.expect(kwBy, `"by"`) {
		p.list(tEOF, false, false, func() { op.By = append(op.By, p.simplePath()) })
	}
	if p.accept(kwWith) {
		if p.kind() == tLParen {
			op.With = p.subInParens()
		} else {
			at := p.pos
			one := &Pipe{Ops: []Operator{p.operator()}}
			one.Span = p.from(at)
			op.With = one
		}
	}
	op.Span = p.from(start)
	return op
}

// hints are the names behind `hint.`.
var hints = []string{
	"concurrency", "distribution", "materialized", "num_partitions", "pass_filters", "pass_filters_column",
	"progressive_top", "remote", "shufflekey", "spread", "strategy",
}

// paramNames are the parameters that an operator may have before its first
// expression, besides the hints.
var paramNames = map[string]bool{
	"bagexpansion": true, "bin_legacy": true, "__crossCluster": true, "__crossDB": true, "decodeblocks": true,
	"expandoutput": true, "__id": true, "isfuzzy": true, "__isFuzzy": true, "kind": true, "__noWithSource": true,
	"__packedColumn": true, "__sourceColumnIndex": true, "cycles": true, "with_match_id": true, "with_itemindex": true,
	"withsource": true, "with_source": true, "with_step_name": true, "force_remote": true, "best_effort": true, "flags": true,
}

// paramLen returns the number of tokens of the name of a parameter at offset
// i that is followed by "=", 0 if there is none.
func (p *parser) paramLen(i int) int {
	t := p.peek(i)
	if t.kind != tIdent && !isWord(t.kind) {
		return 0
	}
	w := p.textOf(t)
	if w == "hint" && p.peekKind(i+1) == tDot && p.peekKind(i+3) == tEq {
		return 3
	}
	if paramNames[w] && p.peekKind(i+1) == tEq {
		return 1
	}
	return 0
}

// params reads the parameters in front of an operator's first expression.
func (p *parser) params() []*Param {
	var list []*Param
	for !p.failed {
		n := p.paramLen(0)
		if n == 0 {
			break
		}
		list = append(list, p.param(n))
	}
	return list
}

// requireParam reads one parameter of with (...), whatever its name.
func (p *parser) requireParam() *Param {
	t := p.tok()
	if t.kind != tIdent && !isWord(t.kind) || p.peekKind(1) != tEq {
		at := p.pos
		if t.kind == tIdent || isWord(t.kind) {
			p.next()
			p.expected(`"="`, "")
		} else {
			p.expected("the name of a property", "")
		}
		return &Param{Span: p.from(at), Value: p.bad()}
	}
	return p.param(1)
}

// paramProps reads (name = value, ...) as operators take it.
func (p *parser) paramProps() []*Param {
	open := p.pos
	if !p.expect(tLParen, `"("`) {
		return nil
	}
	var list []*Param
	p.list(tRParen, true, false, func() { list = append(list, p.requireParam()) })
	p.close(tRParen, open)
	return list
}

// param reads a parameter whose name has n tokens.
func (p *parser) param(n int) *Param {
	start := p.pos
	if n == 3 {
		if w := p.textOf(p.peek(2)); !contains(hints, w) {
			hint := ""
			if near := nearest(w, hints); near != "" {
				hint = "did you mean hint." + near + "?"
			}
			p.fail(p.peek(2).span(), CodeSyntax, "unknown hint "+w, hint)
		}
	}
	p.pos += n
	s := p.from(start)
	prm := &Param{Name: Name{s, p.text[s.Start:s.End], false}}
	p.accept(tEq) // absent only in render's old `by a, b` and `with x`
	switch prm.Name.Text {
	case "ycolumns", "anomalycolumns", "series", "by":
		prm.Value = p.paramColumns()
	case "title", "xtitle", "ytitle":
		prm.Value = p.path()
	default:
		switch t := p.tok(); {
		case p.startsLiteral():
			prm.Value = p.literal()
		case t.kind == tIdent || isWord(t.kind):
			p.next()
			prm.Value = &Ref{Name{t.span(), p.textOf(t), false}}
		default:
			prm.Value = p.ref(fName)
		}
	}
	prm.Span = p.from(start)
	return prm
}

// paramColumns reads the columns of a property; a comma before `name =`
// belongs to the next property.
func (p *parser) paramColumns() Expr {
	start := p.pos
	l := &Names{}
	for !p.failed {
		l.List = append(l.List, p.name(fExtName, "a column name"))
		if p.kind() != tComma || p.peekKind(2) == tEq {
			break
		}
		p.next()
	}
	l.Span = p.from(start)
	return l
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
