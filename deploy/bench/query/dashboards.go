package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"gopkg.in/yaml.v3"

	"hubscope/plugin/pkg/ds"
	"hubscope/query"
)

var (
	folder = flag.String("dashboards", "dashboards", "folder of the dashboards, and of the alert rules in rules/")
	chosen = flag.String("range", "", "range of the dashboards, such as 30d, instead of the one that each opens with")
)

// slow is what no query of a dashboard may take over the range it opens with.
const slow = 500 * time.Millisecond

// dashboard is what is asked of a file in the folder.
type dashboard struct {
	UID        string
	Time       struct{ From string }
	Templating struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
			Multi      bool
		}
	}
	Annotations struct {
		List []struct {
			Name   string
			Target json.RawMessage
		}
	}
	Panels []struct {
		Title, TimeFrom, Interval string
		Targets                   []json.RawMessage
	}
}

// ask is a query of a dashboard with its range.
type ask struct {
	name           string
	model          json.RawMessage
	span, interval time.Duration
}

// dashboards: what does each query of the dashboards take over the range with
// which they open, everything chosen, as the plugin sends it? The time is the
// least, for what else the machine does is no part of the query.
func (b *measure) dashboards() error {
	files, err := filepath.Glob(filepath.Join(*folder, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no dashboards in %s: run it in the root of the repository, or see -dashboards", *folder)
	}
	fmt.Printf("queries of the dashboards, least (middle) of %d runs, ms; processor time in brackets:\n", *runs)
	late := 0
	var worst time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		list, variables, err := d.asks()
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, a := range list {
			c, told, err := b.ask(a, variables)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", file, a.name, err)
			}
			mark := ""
			if worst = max(worst, c.wall); c.wall > slow {
				late++
				mark = "  SLOW"
			}
			fmt.Printf("  %-19s %-52s %8.1f (%8.1f) [%7.1f]  %s%s\n", d.UID, a.name, ms(c.wall), ms(c.median), ms(c.cpu), told, mark)
		}
	}
	rules, err := rules()
	if err != nil {
		return err
	}
	for _, a := range rules {
		c, told, err := b.ask(a, nil)
		if err != nil {
			return fmt.Errorf("rule %s: %w", a.name, err)
		}
		mark := ""
		if worst = max(worst, c.wall); c.wall > slow {
			late++
			mark = "  SLOW"
		}
		fmt.Printf("  %-19s %-52s %8.1f (%8.1f) [%7.1f]  %s%s\n", "rules", a.name, ms(c.wall), ms(c.median), ms(c.cpu), told, mark)
	}
	fmt.Printf("  the slowest takes %.0f ms; %d take more than %d ms\n", ms(worst), late, slow.Milliseconds())
	return nil
}

// rules returns the queries of the alert rules, over more than they look back.
func rules() (list []ask, err error) {
	files, err := filepath.Glob(filepath.Join(*folder, "rules", "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var f struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
		if err := yaml.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				model, err := json.Marshal(ds.Model{SchemaVersion: 1, Query: r.Expr})
				if err != nil {
					return nil, err
				}
				list = append(list, ask{r.Alert, model, span, time.Minute})
			}
		}
	}
	return list, nil
}

// asks returns the queries of a dashboard, and its variables as they are when it
// is opened; the device is the one that connects most.
func (d *dashboard) asks() (list []ask, variables map[string]ds.Variable, err error) {
	span, err := relative(cmp.Or(*chosen, d.Time.From))
	if err != nil {
		return nil, nil, err
	}
	variables = map[string]ds.Variable{}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "query":
			variables[v.Name] = ds.Variable{All: v.Multi, Multi: v.Multi, Values: ds.Values{"pump-0000000"}}
			list = append(list, ask{"variable " + v.Name, v.Query, span, span / 100})
		case "textbox":
			var text string
			if err := json.Unmarshal(v.Query, &text); err != nil {
				return nil, nil, err
			}
			variables[v.Name] = ds.Variable{Values: ds.Values{text}}
		}
	}
	for _, a := range d.Annotations.List {
		list = append(list, ask{"annotation " + a.Name, a.Target, span, span / 100})
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			const points = 600
			own, interval := span, time.Duration(0)
			if p.TimeFrom != "" {
				if own, err = relative(p.TimeFrom); err != nil {
					return nil, nil, err
				}
			}
			if p.Interval != "" {
				if interval, err = relative(p.Interval); err != nil {
					return nil, nil, err
				}
			}
			list = append(list, ask{p.Title, target, own, max(interval, own/points)})
		}
	}
	return list, variables, nil
}

// relative reads now-30d and 30d.
func relative(s string) (time.Duration, error) {
	var n int
	var unit rune
	if _, err := fmt.Sscanf(strings.TrimPrefix(s, "now-"), "%d%c", &n, &unit); err != nil {
		return 0, fmt.Errorf("time %q: %w", s, err)
	}
	width, ok := map[rune]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[unit]
	if !ok {
		return 0, fmt.Errorf("time %q: no unit", s)
	}
	return time.Duration(n) * width, nil
}

// ask runs a query and tells what was read.
func (b *measure) ask(a ask, variables map[string]ds.Variable) (c costs, told string, err error) {
	var m ds.Model
	if err := json.Unmarshal(a.model, &m); err != nil {
		return costs{}, "", err
	}
	m.Variables = variables
	x, err := ds.Expand(m, backend.TimeRange{From: b.end.Add(-a.span), To: b.end}, a.interval, 600, false)
	if err != nil {
		return costs{}, "", err
	}
	req := query.Request{Text: x.Text, Now: b.end, Start: b.end.Add(-a.span), End: b.end, Limits: query.Limits{ResultRows: m.RowLimit}}
	plan, err := b.engine.Explain(b.ctx, req)
	if err != nil {
		return costs{}, "", fmt.Errorf("%s\n%w", x.Text, err)
	}
	if *verbose {
		fmt.Printf("%s\n%s\n", x.Text, plan.SQL)
	}
	table := plan.Rollup
	if table == "" {
		table = strings.Join(plan.Tables, ", ")
	}
	stats, lines, err := b.run(req)
	if err != nil {
		return costs{}, "", err
	}
	t, err := b.turns(plan.SQL)
	if err != nil {
		return costs{}, "", err
	}
	return t[0], fmt.Sprintf("%6d rows of %9d read  %s", len(lines), stats.ReadRows, table), nil
}
