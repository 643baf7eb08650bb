package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/reeflective/readline"
	"golang.org/x/term"

	"hubscope/query/client"
)

// formats of results, for commands that take one.
var formats = []string{"table", "csv", "tsv", "json", "ndjson", "markdown"}

// prompt reads queries from the terminal until the user leaves.
type prompt struct {
	sh      *Shell
	client  *client.Client
	command *QueryCommand
	view    view
	line    *readline.Shell
	book    *book
}

const promptHelp = `A query ends with ; or an empty line. Tab completes tables, columns, operators,
functions, and values inside quotes. Ctrl-C cancels a query, Ctrl-D leaves.

  .schema [TABLE]   tables, or the columns of one
  .explain QUERY    the tables and SQL behind a query, and what it would read
  .tail [QUERY]     follow Connections as events come, with where, extend, project
  .format FORMAT    table, csv, tsv, json, ndjson or markdown
  .since TIMESPAN   only rows so far back, such as 12h; .since off for all
  .timing on|off    the line with rows and time below a result
  .help  .quit
`

// prompt opens a prompt.
func (c *QueryCommand) prompt(ctx context.Context, sh *Shell, v view) error {
	if v.out != "" {
		return usage("--out needs a query")
	}
	if _, err := c.request(""); err != nil {
		return err
	}
	service, err := c.client(sh)
	if err != nil {
		return err
	}
	p := &prompt{sh: sh, client: service, command: c, view: v}
	p.book = &book{client: service, since: func() string {
		since := c.Since
		if since == "" {
			since = "1d"
		}
		d, _ := client.ParseTimespan(since) // checked when it was set
		return time.Now().Add(-d).UTC().Format(time.RFC3339Nano)
	}}
	if err := p.book.open(ctx); err != nil {
		return report(ctx, sh, "", err)
	}
	p.line = readline.NewShell()
	p.line.Prompt.Primary(func() string { return p.style(bold, "hubscope> ") })
	p.line.Prompt.Secondary(func() string { return p.style(dim, "       -> ") })
	p.line.AcceptMultiline = func(line []rune) bool { return complete(string(line)) }
	if sh.Color {
		p.line.SyntaxHighlighter = func(line []rune) string { return highlight(string(line)) }
	}
	p.line.Completer = func(line []rune, cursor int) readline.Completions { return p.completions(ctx, string(line[:cursor])) }
	for name, value := range map[string]any{
		// The terminal's answers could not be told from keys that are pressed
		// meanwhile; and a prompt begins in the first column here.
		"cursor-position-probe": false,
		"multiline-column":      false, "menu-complete-display-prefix": true, "completion-ignore-case": true, "completion-query-items": 400,
	} {
		if err := p.line.Config.Set(name, value); err != nil {
			return fmt.Errorf("prompt: %w", err)
		}
	}
	for _, keymap := range []string{"emacs", "emacs-standard", "vi-insert"} {
		if err := p.line.Config.Bind(keymap, "\t", "menu-complete", false); err != nil {
			return fmt.Errorf("prompt: %w", err)
		}
	}
	if file, err := historyFile(); err == nil {
		p.line.History.Delete()
		p.line.History.AddFromFile("hubscope", file)
	} else {
		fmt.Fprintf(sh.Err, "note: no history: %v\n", err)
	}
	fmt.Fprintf(sh.Err, "hubscope at %s. A query ends with ; or an empty line; Tab completes; .help tells more.\n", service.URL)

	// From here on Ctrl-C ends a query and not the program.
	signal.Reset(os.Interrupt)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	for ctx.Err() == nil {
		p.makeRoom()
		text, err := p.line.Readline()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read from the terminal: %w", err)
		}
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !p.run(ctx, interrupts, text) {
			return nil
		}
	}
	return nil
}

// makeRoom scrolls until there are rows below the cursor. Without asking the
// terminal where the cursor is, which cursor-position-probe would, the editor
// must not reach the last row.
func (p *prompt) makeRoom() {
	_, height, err := term.GetSize(int(os.Stdout.Fd()))
	if rows := min(height/3, 12); err == nil && rows > 0 {
		fmt.Fprintf(p.sh.Out, "%s\x1b[%dA", strings.Repeat("\n", rows), rows)
	}
}

// historyFile is where lines are remembered, made when it is missing.
func historyFile() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" || !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "hubscope")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "history")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	return file, f.Close()
}

func (p *prompt) style(code, s string) string {
	if !p.sh.Color {
		return s
	}
	return code + s + plain
}

// run does what one input asks for; false leaves.
func (p *prompt) run(ctx context.Context, interrupts <-chan os.Signal, text string) (more bool) {
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		p.sh.Width = width // it may have changed
	}
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil {
		p.sh.ErrWidth = width
	}
	select {
	case <-interrupts: // of the time before
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-done:
		}
	}()
	var err error
	if strings.HasPrefix(text, ".") {
		name, rest, _ := strings.Cut(text, " ")
		name, newline, _ := strings.Cut(name, "\n")
		rest = strings.TrimRight(strings.TrimSpace(newline+" "+rest), "; \n")
		switch name {
		case ".quit", ".exit", ".q":
			return false
		case ".help":
			fmt.Fprint(p.sh.Out, promptHelp)
		case ".schema":
			err = p.schema(rest)
		case ".explain":
			err = p.explain(ctx, rest)
		case ".tail":
			err = p.tail(ctx, rest)
		case ".format":
			err = choose(&p.view.format, "format", rest, formats...)
		case ".timing":
			choice := "on"
			if p.view.quiet {
				choice = "off"
			}
			err = choose(&choice, "timing", rest, "on", "off")
			p.view.quiet = choice == "off"
		case ".since":
			err = p.since(rest)
		default:
			err = usage("no command %s; .help has them", name)
		}
	} else {
		req, reqErr := p.command.request(text)
		if err = reqErr; err == nil {
			err = ask(ctx, p.sh, p.client, req, p.view)
		}
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintln(p.sh.Err, strings.TrimPrefix(err.Error(), "hubscope: "))
	}
	return true
}

// choose sets a choice, or tells what it is.
func choose(to *string, what, choice string, among ...string) error {
	switch {
	case choice == "":
		return fmt.Errorf("%s is %s; there are %s", what, *to, strings.Join(among, ", "))
	case !slices.Contains(among, choice):
		return fmt.Errorf("no %s %q; there are %s", what, choice, strings.Join(among, ", "))
	}
	*to = choice
	return nil
}

// since sets how far back queries look.
func (p *prompt) since(span string) error {
	switch d, ok := client.ParseTimespan(span); {
	case span == "" && p.command.Since == "":
		return errors.New("queries look at all times")
	case span == "":
		return fmt.Errorf("queries look at the last %s", p.command.Since)
	case span == "off":
		p.command.Since = ""
	case !ok || d <= 0:
		return fmt.Errorf("%q is no timespan such as 30m, 12h or 7d", span)
	default:
		p.command.Since = span
	}
	clear(p.book.values)
	return nil
}

// schema prints the tables, or the columns of one.
func (p *prompt) schema(name string) error {
	var columns []client.Column
	var rows [][]string
	if name == "" {
		columns = []client.Column{{Name: "Table", Type: "string"}, {Name: "Columns", Type: "long"}, {Name: "Description", Type: "string"}}
		for _, t := range p.book.tables {
			rows = append(rows, []string{t.Name, fmt.Sprint(len(t.Columns)), t.Doc})
		}
	} else {
		t := p.book.table(name)
		if t == nil {
			names := make([]string, len(p.book.tables))
			for i, t := range p.book.tables {
				names[i] = t.Name
			}
			sort.Strings(names)
			return fmt.Errorf("no table %q; there are %s", name, strings.Join(names, ", "))
		}
		columns = []client.Column{{Name: "Column", Type: "string"}, {Name: "Type", Type: "string"}, {Name: "Description", Type: "string"}}
		for _, c := range t.Columns {
			rows = append(rows, []string{c.Name, c.Type, c.Doc})
		}
	}
	return printTexts(p.sh, columns, rows)
}

// explain prints how a query would run.
func (p *prompt) explain(ctx context.Context, text string) error {
	if text == "" {
		return usage(".explain needs a query")
	}
	req, err := p.command.request(text)
	if err != nil {
		return err
	}
	x, err := p.client.Explain(ctx, req)
	if err != nil {
		return report(ctx, p.sh, text, err)
	}
	label := func(name, value string) {
		if value != "" {
			fmt.Fprintf(p.sh.Out, "%s %s\n", p.style(bold, fmt.Sprintf("%-8s", name)), value)
		}
	}
	label("sql", x.SQL) // the longest first, or what is short scrolls away
	label("tables", strings.Join(x.Tables, ", "))
	label("rollup", x.Rollup)
	if x.Rollup == "" && x.RollupWhyNot != "" {
		label("rollup", "none: "+x.RollupWhyNot)
	}
	if x.EstimatedRows >= 0 {
		label("reads", "about "+plural(x.EstimatedRows, "row"))
	}
	return nil
}

// tail follows events until Ctrl-C.
func (p *prompt) tail(ctx context.Context, text string) error {
	t := &tailer{sh: p.sh, client: p.client, format: "auto", width: p.sh.Width}
	return t.run(ctx, client.TailRequest{Query: text})
}

// completions offers what can stand at the cursor.
func (p *prompt) completions(ctx context.Context, before string) readline.Completions {
	prefix, list := p.book.suggest(ctx, before)
	// The editor replaces the whole word up to the last blank.
	head := before[:len(before)-len(prefix)]
	head = head[strings.LastIndexAny(head, " \t\n")+1:]
	var values []readline.Completion
	for _, c := range list {
		value := head + c.value
		if !c.glued {
			value += " "
		}
		values = append(values, readline.Completion{Value: value, Display: c.value, Description: c.doc, Tag: c.tag})
	}
	comps := readline.CompleteRaw(values).NoSort()
	comps.PREFIX = head + prefix
	return comps
}
