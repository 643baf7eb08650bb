package chsql

import "hubscope/query/plan"

var seriesFunctions = map[string]function{}

var multiFunctions = map[string]func(g *gen, c *plan.Call, a []val) []val{}

func (g *gen) makeSeries(n *plan.MakeSeries, need set) *block { panic("todo") }
func (g *gen) scanner(n *plan.Scanner, need set) *block       { panic("todo") }
func (g *gen) punyDecode(v val) val                           { return v }
func (g *gen) punyEncode(v val) val                           { return v }
func (g *gen) punyDomain(v val, decode bool) val              { return v }
func betaCDF(g *gen, a []val) val                             { return nullOf(kReal) }
func betaInv(g *gen, a []val) val                             { return nullOf(kReal) }
func welchTest(g *gen, a []val) val                           { return nullOf(kReal) }
func captureGroups(re string) int                             { return plan.CaptureGroups(re) }
