package plan

import (
	"fmt"
	"strings"

	"hubscope/query/kql"
)

// Codes of the errors that binding reports. CodeUnsupported of package kql
// marks KQL that hubscope does not have.
const (
	CodeUnknownName     = "SEM0100" // no such column, table, variable or function
	CodeUnknownFunction = "SEM0260" // no such function
	CodeType            = "SEM0025" // an operator or function does not take these types
	CodeArguments       = "SEM0220" // wrong number or kind of arguments
	CodeDuplicate       = "SEM0150" // a name is declared twice
	CodeConstant        = "SEM0070" // a constant was expected
	CodeContext         = "SEM0080" // not allowed at this place
	CodeParameter       = "SEM0300" // a query parameter is missing or has no such value
	CodeLimit           = "SEM0400" // the query is too large
)

// errorf records an error at a place. A query that is wrong in many places
// shows the first of them.
func (b *binder) errorf(at kql.Span, code, format string, args ...any) *kql.Error {
	e := &kql.Error{Span: at, Code: code, Message: fmt.Sprintf(format, args...)}
	b.errs = append(b.errs, e)
	return e
}

// unsupported refuses a part of KQL by its name.
func (b *binder) unsupported(at kql.Span, what string) {
	b.errorf(at, kql.CodeUnsupported, "hubscope does not support %s", what).Hint = "see LANGUAGE.md"
}

// didYouMean returns a hint with the nearest of the names, "" if none is near.
func didYouMean(name string, names ...[]string) string {
	best, bestCost := "", len(name)/3+2
	lower := strings.ToLower(name)
	for _, list := range names {
		for _, n := range list {
			if d := len(n) - len(name); d >= bestCost || -d >= bestCost {
				continue
			}
			cost := distance(lower, strings.ToLower(n), bestCost)
			if cost == 0 {
				return "did you mean " + n + "?"
			}
			if cost < bestCost {
				best, bestCost = n, cost
			}
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the number of single-character edits, with swaps of neighbours,
// between two short strings; limit or more is returned as limit.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 {
		return limit
	}
	var rows [3][65]int
	before, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := 0; j <= len(b); j++ {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		low := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			cur[j] = d
			low = min(low, d)
		}
		if low >= limit {
			return limit
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(b)], limit)
}
