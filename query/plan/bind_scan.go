package plan

import (
	"hubscope/query/kql"
)

// scanScope is what the steps of scan can name.
type scanScope struct {
	steps map[string]int
	state []Column
	row   *rel
}

// scanRef binds step.column, nil if the name is no step.
func (b *binder) scanRef(r *kql.Ref, sel *kql.Ref) Expr {
	i, ok := b.scan.steps[r.Text]
	if !ok {
		return nil
	}
	for _, c := range b.scan.state {
		if c.Name == sel.Text {
			return &ScanRef{Step: i, ID: c.ID, T: c.Type}
		}
	}
	if c, ok := b.scan.row.column(sel.Text); ok {
		return &ScanRef{Step: i, ID: c.ID, T: c.Type}
	}
	b.unknownName(sel.Span, sel.Text)
	return null()
}

func (b *binder) scanOp(op *kql.ScanOp, in rel) rel {
	if !in.ordered && len(op.OrderBy) == 0 && b.partition == nil {
		b.errorf(keywordAt(op), CodeContext, "scan needs rows in an order").Hint = "put sort by or serialize before it"
	}
	if len(op.OrderBy) > 0 {
		in.node = &Sort{In: in.node, Keys: b.sortKeys(op.OrderBy)}
		in.ordered = true
	}
	s := &Scanner{In: in.node}
	for _, p := range op.PartitionBy {
		s.Partition = append(s.Partition, b.expr(p))
	}
	if b.partition != nil {
		for _, id := range b.partition.Keys {
			s.Partition = append(s.Partition, &Ref{ID: id})
		}
	}
	scope := &scanScope{steps: map[string]int{}, row: &in}
	for _, d := range op.Declare {
		t := b.typeOf(d.Type)
		c := b.newCol(d.Name.Text, t)
		def := Expr(&Const{T: t, Null: t != String})
		if d.Default != nil {
			def = b.convert(b.expr(d.Default), t)
		}
		s.State = append(s.State, ScanVar{Col: c, Default: def})
		scope.state = append(scope.state, c)
	}
	for i, st := range op.Steps {
		if _, dup := scope.steps[st.Name.Text]; dup {
			b.errorf(st.Name.Span, CodeDuplicate, "there are two steps %q", st.Name.Text)
		}
		scope.steps[st.Name.Text] = i
	}
	if len(op.Steps) == 0 || len(op.Steps) > 8 {
		b.errorf(keywordAt(op), kql.CodeUnsupported, "hubscope supports scan with 1 to 8 steps").Hint = "see LANGUAGE.md"
		return in
	}
	// In a condition a declared column without a step is its default.
	outer := b.scan
	b.scan = scope
	row := b.row
	r := in
	r.cols = append(append([]Column(nil), in.cols...), scope.state...)
	b.row = &r
	for _, st := range op.Steps {
		step := ScanStep{Name: st.Name.Text, Output: st.Output}
		switch {
		case st.Optional:
			b.unsupported(st.Name.Span, "optional steps of scan")
		case st.Output == "last":
			b.unsupported(st.Name.Span, "output = last in scan")
		case st.Output == "":
			step.Output = "all"
		}
		step.Cond = b.predicate(st.Cond)
		for _, a := range st.Assigns {
			found := false
			for _, c := range scope.state {
				if c.Name == a.Name.Text {
					x := b.expr(a.X)
					if !assignable(x.Type(), c.Type) {
						b.errorf(a.X.Range(), CodeType, "column %s has the type %s, not %s", c.Name, c.Type, x.Type())
					}
					step.Assigns = append(step.Assigns, Item{Col: c, X: x})
					found = true
				}
			}
			if !found {
				b.errorf(a.Name.Span, CodeUnknownName, "scan declares no column %q", a.Name.Text)
			}
		}
		s.Steps = append(s.Steps, step)
	}
	b.scan, b.row = outer, row
	p := projection{cols: append([]Column(nil), in.cols...)}
	for _, c := range scope.state {
		p.add(c, true)
	}
	if name := param(op.Params, "with_match_id"); name != "" {
		c := b.newCol(name, Long)
		s.MatchID = &c
		p.add(c, false)
	}
	return rel{node: s, cols: p.cols, ordered: true}
}
