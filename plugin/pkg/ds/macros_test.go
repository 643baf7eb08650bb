package ds

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// morning is a range of 6 hours.
var morning = backend.TimeRange{
	From: time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC),
	To:   time.Date(2026, 11, 21, 12, 0, 0, 500e6, time.UTC),
}

func TestExpand(t *testing.T) {
	variables := map[string]Variable{
		"hub":    {Values: Values{"plant-7"}},
		"hubs":   {Values: Values{"plant-7", `we"ird\`}, Multi: true},
		"all":    {Values: Values{"a", "b"}, All: true},
		"every":  {All: true},
		"none":   {Values: Values{}, Multi: true},
		"port":   {Values: Values{"8883"}},
		"day":    {Values: Values{"2026-11-21"}},
		"dim":    {Values: Values{"TlsVersion"}},
		"evil":   {Values: Values{`x" or 1==1 //`}},
		"re":     {Values: Values{"a.b", "c|d"}},
		"__user": {Values: Values{"anna"}},
	}
	const from, to = "datetime(2026-11-21T06:00:00Z)", "datetime(2026-11-21T12:00:00.5Z)"
	tests := []struct{ name, text, want string }{
		{"no macros", "Connections | count // $__timeFilter $hub", "Connections | count // $__timeFilter $hub"},
		{"timeFilter", "T | where $__timeFilter()", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to},
		{"timeFilter of a column", "T | where $__timeFilter( LastSeen ) | count", "T | where LastSeen >= " + from + " and LastSeen < " + to + " | count"},
		{"timeFilter of an expression", "T | where $__timeFilter(bin(a, $__interval))", "T | where bin(a, 5m) >= " + from + " and bin(a, 5m) < " + to},
		{"bare timeFilter", "T | where $__timeFilter and x", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to + " and x"},
		{"braces", "T | where ${__timeFilter}", "T | where TimeGenerated >= " + from + " and TimeGenerated < " + to},
		{"from and to", "print $__timeFrom, $__timeTo(), $__from, $__to", "print " + from + ", " + to + ", 1795240800000, 1795262400500"},
		{"from with formats", `print ${__from:date}, ${__to:date:iso}, ${__from:date:seconds}, ${__from:datetime}, "${__from}"`,
			`print "2026-11-21T06:00:00Z", "2026-11-21T12:00:00.5Z", 1795240800, ` + from + `, "1795240800000"`},
		{"within datetime()", "print datetime($__timeFrom), datetime($__timeFrom()), datetime(${__from:date:iso}), datetime($__from)",
			"print datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00.0000000Z), datetime(2026-11-21T06:00:00Z)"},
		{"interval", "print $__timeInterval, $__interval(), $__interval_ms", "print 5m, 5m, 300000"},
		{"range", "print $__range, $__range_s, $__range_ms", "print 21600500ms, 21601, 21600500"},
		{"not in strings", `print "$__timeFilter $__from"`, `print "$__timeFilter $__from"`},
		{"variable", "T | where Hub == $hub and x == ${hub} and y == [[hub]]", `T | where Hub == "plant-7" and x == "plant-7" and y == "plant-7"`},
		{"several", "T | where Hub in ($hubs)", `T | where Hub in ("plant-7", "we\"ird\\")`},
		{"list of all", "T | where Hub in ($all)", `T | where Hub in ("a", "b")`},
		{"nothing chosen", "T | where Hub in ($none) and n == ${none:long}", `T | where Hub in ("") and n == long(null)`},
		{"typed", "print ${port:long}, ${port:real}, ${day:datetime}, ${port:string}", `print long(8883), real(8883), datetime(2026-11-21T00:00:00.0000000Z), "8883"`},
		{"within a literal", "print long($port), datetime( ${day} )", "print long(8883), datetime(2026-11-21T00:00:00.0000000Z)"},
		{"column", "T | summarize count() by ${dim:column}", `T | summarize count() by ["TlsVersion"]`},
		{"json", "print ${hubs:json}", `print dynamic(["plant-7", "we\"ird\\"])`},
		{"array", "print dynamic([$hubs]), dynamic([[1], [null]])", `print dynamic(["plant-7", "we\"ird\\"]), dynamic([[1], [null]])`},
		{"in a string", `print "a $hub b", 'x${hubs}', @"\d$hub", h"$hub"`, `print "a plant-7 b", "xplant-7,we\"ird\\", "\\dplant-7", h"plant-7"`},
		{"in a string of lines", "print ```a`$hub\nb```", `print "a` + "`" + `plant-7\nb"`},
		{"regex", `T | where x matches regex "^${re:regex}$" and y matches regex ${hub:regex}`, `T | where x matches regex "^(a\\.b|c\\|d)$" and y matches regex "plant-7"`},
		{"escape of a dollar", `print "\u0024hub $5 a$ $.b"`, `print "\u0024hub $5 a$ $.b"`},
		{"hostile", `print $evil, "$evil"`, `print "x\" or 1==1 //", "x\" or 1==1 //"`},
		{"join", "A | join (B) on $left.x == $right.y", "A | join (B) on $left.x == $right.y"},
		{"Grafana's own", "print $__user", `print "anna"`},
		{"contains", "T | where $__contains(Hub, $hubs) and $__contains(tolower(Hub), 'a', ${port:long})", `T | where Hub in ("plant-7", "we\"ird\\") and tolower(Hub) in ('a', long(8883))`},
		{"contains all", "T | where $__contains(Hub, $every) and $__contains(Hub, $all) and $__contains(Hub, $none) and $__contains(Hub, all)", "T | where true and true and true and true"},
		{"escapeMulti", "T | where Hub in ($__escapeMulti($hubs))", `T | where Hub in ("plant-7", "we\"ird\\")`},
		{"adhocFilters without filters", "T | where $__adhocFilters", "T | where true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := Expand(Model{Query: tt.text, Variables: variables}, morning, 20*time.Second, 1000, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, x.Text); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
