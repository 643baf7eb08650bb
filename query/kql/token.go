package kql

// kind is the kind of a token: punctuation, a literal, a name, or a keyword
// that the grammar asks for.
type kind uint8

const (
	tEOF kind = iota
	tBad      // a character or literal that is not KQL; already reported
	tDirective

	tLParen
	tRParen
	tLBracket
	tRBracket
	tLBrace
	tRBrace
	tBar
	tSemicolon
	tComma
	tColon
	tDot
	tDotDot
	tPlus
	tMinus
	tStar
	tSlash
	tPercent
	tLt
	tLe
	tGt
	tGe
	tEq      // =
	tEqEq    // ==
	tNe      // != and <>
	tEqTilde // =~
	tNeTilde // !~
	tArrow   // =>
	tAt
	tQuestion
	tLtBar // <|

	tString
	tBool
	tInt
	tLong
	tReal
	tDecimal
	tDateTime
	tTimespan
	tGuid
	tRawGuid

	tIdent
	tReserved // a keyword of the language that no rule of this grammar starts with

	tStringOp // has, !contains, matches regex, ...: token.op says which
	tInOp     // in, !in~, has_any, ...
	tBetween  // between, !between
	tAnd
	tOr

	// Keywords. Those after kwOperators start a tabular operator.
	kwAccess
	kwAccumulate
	kwAlias
	kwAsc
	kwBin
	kwBy
	kwDatabase
	kwDatascope
	kwDatatable
	kwContextualDatatable
	kwDeclare
	kwDefault
	kwDesc
	kwDynamic
	kwEntityGroup
	kwExternaldata
	kwFirst
	kwFrom
	kwGrannyAsc
	kwGrannyDesc
	kwID
	kwKind
	kwLast
	kwLet
	kwMaterialize
	kwMaterializedViewCombine
	kwNull
	kwNulls
	kwOf
	kwOn
	kwOptional
	kwOthers
	kwOutput
	kwPack
	kwPattern
	kwProjectSmart
	kwUnderProjectAway // __projectAway, find's own spelling
	kwQueryParameters
	kwRestrict
	kwSet
	kwStep
	kwTitle
	kwTo
	kwToscalar
	kwTotable
	kwType // a scalar type name: string, long, ...
	kwTypeof
	kwView
	kwWith
	kwWithsource // withsource, with_source

	kwOperators
	kwAs
	kwAssertSchema
	kwConsume
	kwCount
	kwDistinct
	kwEvaluate
	kwExecuteAndCache
	kwExtend
	kwFacet
	kwFilter
	kwFind
	kwFork
	kwGetSchema
	kwGraph // any of the graph operators
	kwInlineExternalTable
	kwInvoke
	kwJoin
	kwLimit
	kwLookup
	kwMacroExpand
	kwMakeSeries
	kwMvApply
	kwMvDashApply
	kwMvDashExpand
	kwMvExpand
	kwOrder
	kwParse
	kwParseKv
	kwParseWhere
	kwPartition
	kwPartitionBy
	kwPrint
	kwProject
	kwProjectAway
	kwProjectByNames
	kwProjectKeep
	kwProjectRename
	kwProjectReorder
	kwRange
	kwReduce
	kwRender
	kwSample
	kwSampleDistinct
	kwScan
	kwSearch
	kwSerialize
	kwSort
	kwSummarize
	kwTake
	kwTop
	kwTopHitters
	kwTopNested
	kwUnion
	kwWhere
)

// Flags of a token.
const (
	fSpace   = 1 << iota // white space or a comment stands before it
	fName                // may be used as a name: an identifier or a soft keyword
	fExtName             // may be used as a name where `=` or `:` follows
	fSelName             // may be used as a column name, though it is no soft keyword: kind, withsource
	fBroken              // has an error that the lexer reported
)

// token is one token of the text; its text is text[start:end].
type token struct {
	kind  kind
	flags uint8
	op    Op
	start int32
	end   int32
}

func (t token) span() Span       { return Span{int(t.start), int(t.end)} }
func (t token) has(f uint8) bool { return t.flags&f != 0 }

// word is what the lexer knows of a keyword.
type word struct {
	kind  kind
	flags uint8
	op    Op
}

// words are the keywords without punctuation inside. The flags are those of
// the official parser: which keyword is also a name, and where.
var words = func() map[string]word {
	m := make(map[string]word, 300)
	add := func(k kind, flags uint8, names ...string) {
		for _, n := range names {
			m[n] = word{kind: k, flags: flags}
		}
	}
	soft := uint8(fName | fExtName)
	add(kwAccess, soft, "access")
	add(kwAlias, soft, "alias")
	add(kwBin, soft, "bin")
	add(kwConsume, soft, "consume")
	add(kwCount, soft, "count")
	add(kwDatabase, soft, "database")
	add(kwDeclare, soft, "declare")
	add(kwDefault, soft, "default")
	add(kwDistinct, soft, "distinct")
	add(kwEntityGroup, soft, "entity_group")
	add(kwEvaluate, soft, "evaluate")
	add(kwExtend, soft, "extend")
	add(kwInlineExternalTable, soft, "inline_external_table")
	add(kwFacet, soft, "facet")
	add(kwFilter, soft, "filter")
	add(kwFork, soft, "fork")
	add(kwFrom, soft, "from")
	add(kwGetSchema, soft, "getschema")
	add(kwID, soft, "id")
	add(kwJoin, soft, "join")
	add(kwLet, soft, "let")
	add(kwLimit, soft, "limit")
	add(kwLookup, soft, "lookup")
	add(kwMvApply, soft, "mvapply")
	add(kwMvExpand, soft, "mvexpand")
	add(kwNull, soft, "null")
	add(kwNulls, soft, "nulls")
	add(kwOn, soft, "on")
	add(kwOptional, soft, "optional")
	add(kwOrder, soft, "order")
	add(kwOutput, soft, "output")
	add(kwPack, soft, "pack")
	add(kwParse, soft, "parse")
	add(kwPartition, soft, "partition")
	add(kwPartitionBy, soft, "__partitionby")
	add(kwPattern, soft, "pattern")
	add(kwQueryParameters, soft, "query_parameters")
	add(kwRange, soft, "range")
	add(kwReduce, soft, "reduce")
	add(kwRender, soft, "render")
	add(kwRestrict, soft, "restrict")
	add(kwScan, soft, "scan")
	add(kwSerialize, soft, "serialize")
	add(kwSort, soft, "sort")
	add(kwStep, soft, "step")
	add(kwSummarize, soft, "summarize")
	add(kwTake, soft, "take")
	add(kwTop, soft, "top")
	add(kwTypeof, soft, "typeof")
	add(kwView, soft, "view")
	add(kwWith, soft, "with")
	add(kwType, soft, "bool", "guid")

	add(kwAccumulate, fExtName, "accumulate")
	add(kwAs, fExtName, "as")
	add(kwBy, fExtName, "by")
	add(kwDatatable, fExtName, "datatable")
	add(kwExternaldata, fExtName, "externaldata")
	add(kwExternaldata, 0, "external_data")
	add(kwFind, fExtName, "find")
	add(kwInvoke, fExtName, "invoke")
	add(kwMaterialize, fExtName, "materialize")
	add(kwOf, fExtName, "of")
	add(kwPrint, fExtName, "print")
	add(kwSample, fExtName, "sample")
	add(kwSearch, fExtName, "search")
	add(kwSet, fExtName, "set")
	add(kwTitle, fExtName, "title")
	add(kwTo, fExtName, "to")
	add(kwToscalar, fExtName, "toscalar")
	add(kwTotable, fExtName, "totable")
	add(kwWhere, fExtName, "where")
	add(tReserved, fExtName, "earliest", "latest", "mdm", "sql", "verbose", "viewers")

	add(kwKind, fSelName, "kind")
	add(kwWithsource, fSelName, "withsource", "with_source")

	add(tAnd, 0, "and")
	add(tOr, 0, "or")
	add(kwAsc, 0, "asc")
	add(kwDesc, 0, "desc")
	add(kwContextualDatatable, 0, "__contextual_datatable")
	add(kwDatascope, 0, "datascope")
	add(kwDynamic, 0, "dynamic")
	add(kwExecuteAndCache, 0, "__executeAndCache")
	add(kwFirst, 0, "first")
	add(kwLast, 0, "last")
	add(kwOthers, 0, "others")
	add(kwUnderProjectAway, 0, "__projectAway")
	add(kwProject, 0, "project")
	add(kwUnion, 0, "union")
	add(kwType, 0, "boolean", "date", "datetime", "decimal", "double", "int", "int64", "int8", "long", "real",
		"string", "time", "timespan", "uniqueid",
		"float", "int16", "int32", "uint", "uint16", "uint32", "uint64", "uint8", "ulong")
	add(tReserved, 0, "__crossCluster", "__crossDB", "__id", "__isFuzzy", "__noWithSource", "__packedColumn",
		"__sourceColumnIndex", "3Dchart", "anomalychart", "areachart", "bagexpansion", "barchart", "bin_legacy",
		"cachingpolicy", "callout", "cancel", "card", "columnchart", "cycles", "dataexport", "decodeblocks",
		"encodingpolicy", "expandoutput", "extent_tags_retention", "flags", "harddelete", "hardretention", "hotcache",
		"isfuzzy", "force_remote", "journal", "ladderchart", "linechart", "missing", "nooptimization", "pathformat",
		"piechart", "pivotchart", "queries", "query_results", "relaxed", "restricted_view_access",
		"row_level_security", "rowstore", "rowstore_references", "rowstore_sealinfo", "rowstorepolicy", "rowstores",
		"scatterchart", "seal", "seals", "shards", "simple", "softdelete", "softretention", "stackedareachart",
		"statistics", "storedqueryresultcontainers", "tablepurge", "timechart", "timeline", "timepivot", "treemap",
		"unrestrictedviewers", "views", "with_itemindex", "with_match_id", "with_step_name", "writeaheadlog",
		"char", "byte")

	op := func(k kind, flags uint8, name string, o Op) { m[name] = word{kind: k, flags: flags, op: o} }
	op(tStringOp, fExtName, "has", OpHas)
	op(tStringOp, 0, "has_cs", OpHasCS)
	op(tStringOp, 0, "hasprefix", OpHasPrefix)
	op(tStringOp, 0, "hasprefix_cs", OpHasPrefixCS)
	op(tStringOp, 0, "hassuffix", OpHasSuffix)
	op(tStringOp, 0, "hassuffix_cs", OpHasSuffixCS)
	op(tStringOp, fExtName, "contains", OpContains)
	op(tStringOp, 0, "containscs", OpContainsCS)
	op(tStringOp, 0, "contains_cs", OpContainsCS)
	op(tStringOp, 0, "notcontains", OpNotContains)
	op(tStringOp, 0, "notcontainscs", OpNotContainsCS)
	op(tStringOp, 0, "startswith", OpStartsWith)
	op(tStringOp, 0, "startswith_cs", OpStartsWithCS)
	op(tStringOp, 0, "endswith", OpEndsWith)
	op(tStringOp, 0, "endswith_cs", OpEndsWithCS)
	op(tStringOp, 0, "like", OpLike)
	op(tStringOp, 0, "likecs", OpLikeCS)
	op(tStringOp, 0, "notlike", OpNotLike)
	op(tStringOp, 0, "notlikecs", OpNotLikeCS)
	op(tInOp, fExtName, "in", OpIn)
	op(tInOp, 0, "has_any", OpHasAny)
	op(tInOp, 0, "has_all", OpHasAll)
	op(tBetween, 0, "between", OpBetween)
	return m
}()

// bangWords are the operators that start with an exclamation mark.
var bangWords = map[string]word{
	"has":           {tStringOp, 0, OpNotHas},
	"has_cs":        {tStringOp, 0, OpNotHasCS},
	"hasprefix":     {tStringOp, 0, OpNotHasPrefix},
	"hasprefix_cs":  {tStringOp, 0, OpNotHasPrefixCS},
	"hassuffix":     {tStringOp, 0, OpNotHasSuffix},
	"hassuffix_cs":  {tStringOp, 0, OpNotHasSuffixCS},
	"contains":      {tStringOp, 0, OpNotContains},
	"contains_cs":   {tStringOp, 0, OpNotContainsCS},
	"startswith":    {tStringOp, 0, OpNotStartsWith},
	"startswith_cs": {tStringOp, 0, OpNotStartsWithCS},
	"endswith":      {tStringOp, 0, OpNotEndsWith},
	"endswith_cs":   {tStringOp, 0, OpNotEndsWithCS},
	"in":            {tInOp, 0, OpNotIn},
	"between":       {tBetween, 0, OpNotBetween},
}

// dashed are the keywords with a dash inside, by what stands before the first
// dash, longest first where one is the start of another.
var dashed = map[string][]dashedWord{
	"project": {
		{"-by-names", kwProjectByNames, 0}, {"-reorder", kwProjectReorder, 0}, {"-rename", kwProjectRename, 0},
		{"-smart", kwProjectSmart, 0}, {"-away", kwProjectAway, 0}, {"-keep", kwProjectKeep, 0},
	},
	"mv":           {{"-expand", kwMvDashExpand, 0}, {"-apply", kwMvDashApply, 0}},
	"make":         {{"-series", kwMakeSeries, 0}, {"-graph", kwGraph, 0}},
	"sample":       {{"-distinct", kwSampleDistinct, fExtName}},
	"parse":        {{"-where", kwParseWhere, 0}, {"-kv", kwParseKv, 0}},
	"top":          {{"-hitters", kwTopHitters, fExtName}, {"-nested", kwTopNested, fExtName}},
	"granny":       {{"-desc", kwGrannyDesc, 0}, {"-asc", kwGrannyAsc, 0}},
	"macro":        {{"-expand", kwMacroExpand, 0}},
	"assert":       {{"-schema", kwAssertSchema, 0}},
	"partitioned":  {{"-by", tReserved, 0}},
	"materialized": {{"-view-combine", kwMaterializedViewCombine, 0}, {"-views", tReserved, 0}},
	"commands":     {{"-and-queries", tReserved, 0}},
	"set":          {{"-or-replace", tReserved, 0}, {"-or-append", tReserved, 0}},
	"graph": {
		{"-shortest-paths", kwGraph, 0}, {"-mark-components", kwGraph, 0}, {"-where-nodes", kwGraph, 0},
		{"-where-edges", kwGraph, 0}, {"-to-table", kwGraph, 0}, {"-match", kwGraph, 0},
	},
}

type dashedWord struct {
	rest  string
	kind  kind
	flags uint8
}

// typedLiterals are the words that start a literal when a parenthesis follows
// without a space: everything up to the next closing parenthesis is its value.
var typedLiterals = map[string]kind{
	"long": tLong, "int64": tLong, "int": tInt, "int32": tInt, "real": tReal, "double": tReal,
	"decimal": tDecimal, "bool": tBool, "datetime": tDateTime, "date": tDateTime,
	"time": tTimespan, "timespan": tTimespan, "guid": tGuid,
}
