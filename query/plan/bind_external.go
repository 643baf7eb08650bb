package plan

import (
	"hubscope/query/kql"
)

// externaldata reads rows from files that are allowed, and makes a constant
// table of them.
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
