package plan

import (
	"fmt"
	"strings"
)

// String returns the plan as an indented tree, for explanations and tests.
func (p *Plan) String() string {
	var b strings.Builder
	for _, c := range p.CTEs {
		fmt.Fprintf(&b, "%s (%d uses):\n", c.Name, c.Refs)
		printNode(&b, c.Root, 1)
	}
	printNode(&b, p.Root, 0)
	return b.String()
}

func printNode(b *strings.Builder, n Node, depth int) {
	if n == nil {
		return
	}
	line := func(format string, args ...any) {
		b.WriteString(strings.Repeat("  ", depth))
		fmt.Fprintf(b, format, args...)
		b.WriteByte('\n')
	}
	switch n := n.(type) {
	case *Unit:
		line("one row")
	case *Scan:
		line("read %s", n.Table.Name)
	case *RollupScan:
		line("read %s for %s", n.Rollup.Source, n.Table.Name)
	case *Values:
		line("%d constant rows", len(n.Rows))
	case *Range:
		line("range %s", n.Col.Name)
	case *Filter:
		line("filter")
		printNode(b, n.In, depth+1)
	case *Extend:
		line("compute %s", itemNames(n.Items))
		printNode(b, n.In, depth+1)
	case *Aggregate:
		line("aggregate %s by %s", itemNames(n.Aggs), itemNames(n.Keys))
		printNode(b, n.In, depth+1)
	case *Sort:
		line("sort by %d keys", len(n.Keys))
		printNode(b, n.In, depth+1)
	case *Limit:
		line("limit")
		printNode(b, n.In, depth+1)
	case *Serialize:
		line("serialize")
		printNode(b, n.In, depth+1)
	case *Join:
		line("join %s", n.Kind)
		printNode(b, n.L, depth+1)
		printNode(b, n.R, depth+1)
	case *Union:
		line("union of %d", len(n.Parts))
		for _, p := range n.Parts {
			printNode(b, p.In, depth+1)
		}
	case *MvExpand:
		line("expand %d columns", len(n.Items))
		printNode(b, n.In, depth+1)
	case *Ordinal:
		line("number rows")
		printNode(b, n.In, depth+1)
	case *MakeSeries:
		line("make series")
		printNode(b, n.In, depth+1)
	case *Scanner:
		line("scan with %d steps", len(n.Steps))
		printNode(b, n.In, depth+1)
	case *CTERef:
		line("read %s", n.CTE.Name)
	default:
		line("%T", n)
	}
}

func itemNames(items []Item) string {
	names := make([]string, len(items))
	for i, it := range items {
		names[i] = it.Col.Name
	}
	return strings.Join(names, ", ")
}
