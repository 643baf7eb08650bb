package kql

// Walk visits n and the nodes below it, each before its children and these in
// the order of the text. When visit returns false the children of that node
// are left out.
func Walk(n Node, visit func(Node) bool) {
	if n == nil || !visit(n) {
		return
	}
	switch n := n.(type) {
	case *Query:
		walkAll(n.Directives, visit)
		walkAll(n.Statements, visit)
	case *LetStatement:
		walkExpr(n.Value, visit)
	case *ExprStatement:
		walkExpr(n.X, visit)
	case *SetStatement:
		walkExpr(n.Value, visit)
	case *ParamsStatement:
		walkAll(n.Params, visit)
	case *AliasStatement:
		walkExpr(n.X, visit)
	case *PatternStatement:
		walkAll(n.Params, visit)
		if n.Path != nil {
			Walk(n.Path, visit)
		}
		walkAll(n.Matches, visit)
	case *PatternMatch:
		walkAll(n.Args, visit)
		walkExpr(n.Path, visit)
		Walk(n.Body, visit)
	case *RestrictStatement:
		walkAll(n.Entities, visit)
		walkAll(n.Params, visit)

	case *Pipe:
		walkExpr(n.Source, visit)
		walkAll(n.Ops, visit)
	case *Dynamic:
		walkExpr(n.Value, visit)
	case *Array:
		walkAll(n.Items, visit)
	case *Object:
		walkAll(n.Fields, visit)
	case *Field:
		walkExpr(n.Value, visit)
	case *Call:
		walkAll(n.Params, visit)
		walkAll(n.Args, visit)
	case *Path:
		walkExpr(n.X, visit)
		walkExpr(n.Sel, visit)
	case *Bracket:
		walkExpr(n.X, visit)
	case *Index:
		walkExpr(n.X, visit)
		walkExpr(n.Index, visit)
	case *Unary:
		walkExpr(n.X, visit)
	case *Binary:
		walkExpr(n.X, visit)
		walkExpr(n.Y, visit)
	case *In:
		walkExpr(n.X, visit)
		walkAll(n.List, visit)
	case *Between:
		walkExpr(n.X, visit)
		walkExpr(n.Lo, visit)
		walkExpr(n.Hi, visit)
	case *Paren:
		walkExpr(n.X, visit)
	case *Named:
		walkExpr(n.X, visit)
	case *Ordered:
		walkExpr(n.X, visit)
	case *TypeOf:
		if n.Type != nil {
			Walk(n.Type, visit)
		}
		walkSchema(n.Schema, visit)
	case *Column:
		if n.Type != nil {
			Walk(n.Type, visit)
		}
	case *Schema:
		walkAll(n.Columns, visit)
	case *DataTable:
		walkAll(n.Params, visit)
		walkSchema(n.Schema, visit)
		walkAll(n.Values, visit)
	case *ExternalData:
		walkAll(n.Params, visit)
		walkSchema(n.Schema, visit)
		walkAll(n.URIs, visit)
		walkAll(n.Props, visit)
	case *Func:
		walkAll(n.Params, visit)
		Walk(n.Body, visit)
	case *FuncParam:
		if n.Type != nil {
			Walk(n.Type, visit)
		}
		walkSchema(n.Schema, visit)
		walkExpr(n.Default, visit)
	case *Block:
		walkAll(n.Statements, visit)
		walkExpr(n.X, visit)
	case *EntityGroup:
		walkAll(n.Items, visit)
	case *Param:
		walkExpr(n.Value, visit)

	case *WhereOp:
		walkAll(n.Params, visit)
		walkExpr(n.Cond, visit)
	case *ExtendOp:
		walkAll(n.Columns, visit)
	case *ProjectOp:
		walkAll(n.Columns, visit)
	case *ProjectAwayOp:
		walkAll(n.Columns, visit)
	case *ProjectKeepOp:
		walkAll(n.Columns, visit)
	case *ProjectRenameOp:
		walkAll(n.Columns, visit)
	case *ProjectReorderOp:
		walkAll(n.Columns, visit)
	case *ProjectByNamesOp:
		walkAll(n.Columns, visit)
	case *SummarizeOp:
		walkAll(n.Params, visit)
		walkAll(n.Aggs, visit)
		walkAll(n.By, visit)
		walkExpr(n.BinStep, visit)
	case *SortOp:
		walkAll(n.Params, visit)
		walkAll(n.Keys, visit)
	case *TopOp:
		walkAll(n.Params, visit)
		walkExpr(n.Count, visit)
		Walk(n.By, visit)
	case *TopHittersOp:
		walkExpr(n.Count, visit)
		walkExpr(n.Of, visit)
		walkExpr(n.By, visit)
	case *TopNestedOp:
		walkAll(n.Levels, visit)
	case *TopNestedLevel:
		walkExpr(n.Count, visit)
		walkExpr(n.Of, visit)
		walkExpr(n.Others, visit)
		Walk(n.By, visit)
	case *TakeOp:
		walkAll(n.Params, visit)
		walkExpr(n.Count, visit)
	case *SampleOp:
		walkAll(n.Params, visit)
		walkExpr(n.Count, visit)
	case *SampleDistinctOp:
		walkAll(n.Params, visit)
		walkExpr(n.Count, visit)
		walkExpr(n.Of, visit)
	case *DistinctOp:
		walkAll(n.Params, visit)
		walkAll(n.Columns, visit)
	case *JoinOp:
		walkAll(n.Params, visit)
		walkExpr(n.Right, visit)
		walkAll(n.On, visit)
		walkExpr(n.Where, visit)
	case *LookupOp:
		walkAll(n.Params, visit)
		walkExpr(n.Right, visit)
		walkAll(n.On, visit)
	case *UnionOp:
		walkAll(n.Params, visit)
		walkAll(n.Tables, visit)
	case *MvExpandOp:
		walkAll(n.Params, visit)
		walkAll(n.Columns, visit)
		walkExpr(n.Limit, visit)
	case *MvColumn:
		walkExpr(n.X, visit)
		if n.To != nil {
			Walk(n.To, visit)
		}
	case *MvApplyOp:
		walkAll(n.Params, visit)
		walkAll(n.Columns, visit)
		walkExpr(n.Limit, visit)
		walkExpr(n.ID, visit)
		walkExpr(n.Sub, visit)
	case *ParseOp:
		walkAll(n.Params, visit)
		walkExpr(n.X, visit)
		walkAll(n.Pattern, visit)
	case *ParseKvOp:
		walkExpr(n.X, visit)
		walkSchema(n.Schema, visit)
		walkAll(n.Props, visit)
	case *MakeSeriesOp:
		walkAll(n.Params, visit)
		walkAll(n.Aggs, visit)
		walkExpr(n.On, visit)
		walkExpr(n.From, visit)
		walkExpr(n.To, visit)
		walkExpr(n.Step, visit)
		walkAll(n.InRange, visit)
		walkAll(n.By, visit)
	case *SeriesAgg:
		walkExpr(n.X, visit)
		walkExpr(n.Default, visit)
	case *SearchOp:
		walkAll(n.Params, visit)
		walkAll(n.In, visit)
		walkExpr(n.Cond, visit)
	case *FindOp:
		walkAll(n.Params, visit)
		walkAll(n.In, visit)
		walkExpr(n.Cond, visit)
		walkAll(n.Project, visit)
		walkAll(n.Away, visit)
	case *FindColumn:
		if n.Column != nil {
			Walk(n.Column, visit)
		}
	case *InvokeOp:
		walkExpr(n.Call, visit)
	case *PartitionOp:
		walkAll(n.Params, visit)
		walkExpr(n.By, visit)
		walkExpr(n.In, visit)
		walkExpr(n.Sub, visit)
	case *PartitionByOp:
		walkAll(n.Params, visit)
		walkExpr(n.By, visit)
		walkExpr(n.ID, visit)
		walkExpr(n.Sub, visit)
	case *SerializeOp:
		walkAll(n.Params, visit)
		walkAll(n.Columns, visit)
	case *ScanOp:
		walkAll(n.Params, visit)
		walkAll(n.OrderBy, visit)
		walkAll(n.PartitionBy, visit)
		walkAll(n.Declare, visit)
		walkAll(n.Steps, visit)
	case *ScanStep:
		walkExpr(n.Cond, visit)
		walkAll(n.Assigns, visit)
	case *ScanAssign:
		walkExpr(n.X, visit)
	case *GetSchemaOp:
		walkAll(n.Params, visit)
	case *AsOp:
		walkAll(n.Params, visit)
	case *RangeOp:
		walkExpr(n.From, visit)
		walkExpr(n.To, visit)
		walkExpr(n.Step, visit)
	case *PrintOp:
		walkAll(n.Columns, visit)
	case *EvaluateOp:
		walkAll(n.Params, visit)
		Walk(n.Call, visit)
		walkSchema(n.Schema, visit)
	case *RenderOp:
		walkAll(n.Props, visit)
	case *ReduceOp:
		walkAll(n.Params, visit)
		walkExpr(n.By, visit)
		walkAll(n.Props, visit)
	case *ForkOp:
		walkAll(n.Branches, visit)
	case *ForkBranch:
		walkExpr(n.Sub, visit)
	case *FacetOp:
		walkAll(n.By, visit)
		walkExpr(n.With, visit)
	case *ConsumeOp:
		walkAll(n.Params, visit)
	}
}

func walkAll[T Node](list []T, visit func(Node) bool) {
	for _, n := range list {
		Walk(n, visit)
	}
}

func walkExpr(e Expr, visit func(Node) bool) {
	if e != nil {
		Walk(e, visit)
	}
}

func walkSchema(s *Schema, visit func(Node) bool) {
	if s != nil {
		Walk(s, visit)
	}
}
