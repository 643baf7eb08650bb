package plan

import (
	"strings"

	"hubscope/query/kql"
)

// plugins are the plugins of evaluate that hubscope has.
var plugins = []string{"bag_unpack", "pivot", "narrow", "ipv4_lookup", "ipv6_lookup"}

// Plugins returns the names of the plugins that evaluate can call.
func Plugins() []string { return append([]string(nil), plugins...) }

func (b *binder) evaluate(op *kql.EvaluateOp, in rel) rel {
	if b.partition != nil {
		b.unsupported(keywordAt(op), "evaluate inside partition or mv-apply")
		return in
	}
	switch op.Call.Func.Text {
	default:
		e := b.errorf(op.Call.Func.Span, kql.CodeUnsupported, "hubscope does not support the plugin %s", op.Call.Func.Text)
		e.Hint = didYouMean(op.Call.Func.Text, plugins)
		return rel{node: in.node, cols: in.cols, open: func(name string) Column { return b.newCol(name, Unknown) }}
	}
}

// scanScope is what the steps of scan can name.
type scanScope struct {
	steps map[string]int
	state []Column
	row   *rel
}

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
	b.unsupported(keywordAt(op), "scan")
	return in
}

func (b *binder) externaldata(e *kql.ExternalData) rel {
	v := &Values{}
	for _, c := range e.Schema.Columns {
		v.Cols = append(v.Cols, b.newCol(c.Name.Text, b.typeOf(c.Type)))
	}
	r := rel{node: v, cols: v.Cols}
	if b.opt.External == nil {
		b.errorf(e.Span, kql.CodeUnsupported, "externaldata is switched off").Hint = "see LANGUAGE.md"
		return r
	}
	return r
}

var _ = strings.ToLower
