package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"hubscope/query/client"
)

// TailCommand is "hubscope tail".
type TailCommand struct {
	Service
	KQL    string   `arg:"" name:"kql" optional:"" help:"Connections with where, extend and project; all events by default. - reads it from standard input."`
	File   string   `short:"f" type:"path" placeholder:"FILE" help:"Read the query from a file."`
	Param  []string `short:"p" sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter that the query declares; may be repeated."`
	Since  string   `placeholder:"TIMESPAN" help:"Begin so far back: 30s, 5m, 1h; as far as the stream reaches."`
	Format string   `short:"o" enum:"auto,lines,table,csv,tsv,json,ndjson" default:"auto" help:"lines, table, csv, tsv or ndjson; lines for whole events and table for a projection by default."`
	Width  int      `placeholder:"N" help:"Width of lines and tables; that of the terminal by default."`
	Count  int      `short:"n" placeholder:"N" help:"End after this many rows."`
}

// Help describes what the flags do not.
func (*TailCommand) Help() string {
	return `Follows connection events as they come, refused handshakes included:

  hubscope tail 'Connections | where TlsVersion < "1.2"'
  hubscope tail 'Connections | where DeviceId == "pump-0417"' --since 5m
  hubscope tail 'Connections | project TimeGenerated, DeviceId, Ja4' --format ndjson

A device in brackets is one that did not prove who it is. When the connection to
the service is lost, it is made again and nothing is missed. Ctrl-C ends.

Exit codes: 0 ended by Ctrl-C or --count; 1 the query is wrong or failed; 2 the
command line is wrong; 3 the service cannot be reached or refuses.`
}

// Run follows until ctx is done.
func (c *TailCommand) Run(ctx context.Context, sh *Shell) error {
	text, err := readQuery(sh, c.KQL, c.File, true)
	if err != nil {
		return err
	}
	req := client.TailRequest{Query: text, Since: c.Since}
	if req.Parameters, err = parameters(c.Param); err != nil {
		return err
	}
	if c.Since != "" {
		if d, ok := client.ParseTimespan(c.Since); !ok || d <= 0 {
			return usage("--since %q is no timespan such as 30s, 5m or 1h", c.Since)
		}
	}
	service, err := c.client(sh)
	if err != nil {
		return err
	}
	t := &tailer{sh: sh, client: service, format: c.Format, width: c.Width, left: c.Count}
	if t.width == 0 {
		t.width = sh.Width
	}
	return t.run(ctx, req)
}

// tailer prints a tail, across connections.
type tailer struct {
	sh     *Shell
	client *client.Client
	format string
	width  int
	left   int // rows still wanted, 0 for no end

	out     tailWriter
	columns []client.Column
	lost    bool
}

// tailWriter prints rows, each batch at once.
type tailWriter interface {
	rows([][]json.RawMessage) error
}

// Waiting times before connecting again.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// errEnough ends a tail that has shown as many rows as were wanted.
var errEnough = errors.New("enough")

func (t *tailer) run(ctx context.Context, req client.TailRequest) error {
	wait := firstRetry
	for {
		begun := t.out != nil
		cause := t.follow(ctx, &req, func() { wait = firstRetry })
		var wrong client.Errors
		switch {
		case ctx.Err() != nil, errors.Is(cause, errEnough):
			return nil
		case errors.As(cause, &wrong) && (t.out == nil || queryFault(wrong[0])):
			return report(ctx, t.sh, req.Query, cause)
		case t.out == nil && !begun:
			return report(ctx, t.sh, req.Query, cause)
		case errors.Is(cause, errWrite):
			return report(ctx, t.sh, req.Query, cause)
		}
		if !t.lost {
			t.note("connection lost (%v); connecting again", cause)
			t.lost = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// follow prints events until the connection ends. req gets the place to go on from.
func (t *tailer) follow(ctx context.Context, req *client.TailRequest, alive func()) error {
	tail, err := t.client.Tail(ctx, *req)
	if err != nil {
		return err
	}
	defer tail.Close()
	for {
		e, err := tail.Next()
		if id := tail.ID(); id != "" {
			req.After = id
		}
		switch {
		case err != nil:
			return err
		case e == nil:
			continue
		case e.Error != nil:
			return client.Errors{e.Error}
		case e.Columns != nil:
			alive()
			if t.lost {
				t.note("connected again")
				t.lost = false
			}
			if t.out == nil {
				if err := t.begin(ctx, e); err != nil {
					return err
				}
			}
		case e.Gone:
			t.note("some events in between are in the stream no longer; hubscope query shows them")
		case e.Skipped > 0:
			t.note("%s were skipped: they come faster than they can be shown", plural(e.Skipped, "event"))
		case t.out != nil:
			rows := e.Rows
			if t.left > 0 && len(rows) >= t.left {
				rows = rows[:t.left]
			}
			if err := t.out.rows(rows); err != nil {
				return fmt.Errorf("%w: %w", errWrite, err)
			}
			if t.left > 0 {
				if t.left -= len(rows); t.left == 0 {
					return errEnough
				}
			}
		}
	}
}

// note tells what is not a row.
func (t *tailer) note(format string, args ...any) {
	fmt.Fprintf(t.sh.Err, "tail: "+format+"\n", args...)
}

// begin makes the writer for these columns.
func (t *tailer) begin(ctx context.Context, e *client.TailEvent) error {
	t.columns = e.Columns
	format := t.format
	if format == "auto" {
		format = "table"
		if e.Whole {
			format = "lines"
		}
	}
	switch format {
	case "lines":
		w, err := t.newLines(ctx)
		if err != nil {
			return err
		}
		t.out = w
	case "table":
		t.out = &liveTable{newTable(bufio.NewWriter(t.sh.Out), e.Columns, t.width, t.sh.Color)}
	case "json":
		t.out = newWriter("ndjson", t.sh.Out, e.Columns, t.width, t.sh.Color)
	default:
		t.out = newWriter(format, t.sh.Out, e.Columns, t.width, t.sh.Color)
	}
	return nil
}

// liveTable is a table whose layout does not wait for many rows.
type liveTable struct{ *table }

// typicalWidths are those of columns as their values usually are: the first row
// must not decide alone.
var typicalWidths = map[string]int{
	"TimeGenerated": len("2026-11-23T03:22:03.1234567Z"), "DeviceId": 20, "ClaimedDeviceId": 20, "OperationName": len("connectionRefused"),
	"TlsCipher": len("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), "Hub": 10, "ResultType": 6, "ResultDescription": 60, "Protocol": 6, "AuthType": 14,
	"DisconnectReason": 18, "OfferedVersions": 20, "MaskedIpAddress": 15, "ConnectionId": 36, "StrictReason": 30, "Ja4": 36,
}

func (t *liveTable) rows(rows [][]json.RawMessage) error {
	if !t.laid && len(rows) > 0 {
		t.least = make([]int, len(t.columns))
		for i, c := range t.columns {
			t.least[i] = typicalWidths[c.Name]
		}
	}
	if err := t.table.rows(rows); err != nil {
		return err
	}
	if !t.laid && len(rows) > 0 {
		t.layout()
	}
	return t.w.Flush()
}

// newLines returns the writer of one line an event, for people.
func (t *tailer) newLines(ctx context.Context) (*lines, error) {
	l := &lines{w: bufio.NewWriter(t.sh.Out), color: t.sh.Color, width: t.width, index: map[string]int{}, now: time.Now}
	for i, c := range t.columns {
		l.index[c.Name] = i
	}
	for _, name := range lineColumns {
		if _, ok := l.index[name]; !ok {
			return nil, usage("--format lines needs the column %s, which the query does not have; --format table shows any columns", name)
		}
	}
	schema, err := t.client.Schema(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, table := range schema.Tables {
		if table.Name == "Connections" {
			for _, c := range table.Columns {
				known[c.Name] = true
			}
		}
	}
	for i, c := range t.columns {
		l.names = append(l.names, c.Name)
		if !known[c.Name] {
			l.extra = append(l.extra, i)
		}
	}
	return l, nil
}

// lineColumns are what a line is made of.
var lineColumns = []string{
	"TimeGenerated", "Hub", "OperationName", "Level", "ResultType", "ResultDescription", "DeviceId", "ClaimedDeviceId", "ModuleId", "Protocol", "AuthType",
	"MaskedIpAddress", "TlsVersion", "TlsCipher", "OfferedVersions", "DurationMs", "Messages", "DisconnectReason", "WouldFailStrict", "StrictReason",
}

// lines prints one line an event: time, device, what happened, TLS, why.
type lines struct {
	w     *bufio.Writer
	color bool
	width int
	index map[string]int
	names []string
	extra []int // columns that the query added
	now   func() time.Time

	deviceWidth int
}

func (l *lines) rows(rows [][]json.RawMessage) error {
	for _, r := range rows {
		l.w.WriteString(l.line(r))
		l.w.WriteByte('\n')
	}
	return l.w.Flush()
}

// Colours of lines.
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	green  = "\x1b[32m"
)

func (l *lines) line(row []json.RawMessage) string {
	get := func(name string) string { return printable(cell(row[l.index[name]])) }
	style := func(code, s string) string {
		if !l.color || s == "" {
			return s
		}
		return code + s + plain
	}
	pad := func(s string, n int) string { return s + strings.Repeat(" ", max(n-width(s), 0)) }

	device := get("DeviceId")
	if m := get("ModuleId"); m != "" && device != "" {
		device += "/" + m
	}
	switch claimed := get("ClaimedDeviceId"); {
	case device != "":
	case claimed != "":
		device = "[" + claimed + "]"
	case get("MaskedIpAddress") != "":
		device = "[" + get("MaskedIpAddress") + "]"
	}
	device = strings.TrimSuffix(get("Hub")+"/"+device, "/")
	l.deviceWidth = max(l.deviceWidth, min(width(device), 32), 20)

	operation, color := get("OperationName"), ""
	switch operation {
	case "deviceConnect":
		operation, color = "connected", green
	case "deviceDisconnect":
		operation = "disconnected"
	case "connectionRefused":
		operation, color = "refused", red
	case "connectionsSuppressed":
		operation, color = "not shown", red
	case "eventsDropped":
		operation, color = "dropped", red
	case "serviceDisconnect":
		operation = "api closed"
	}
	var offered []string
	json.Unmarshal(row[l.index["OfferedVersions"]], &offered) //nolint:errcheck // none is an answer too
	version, old := "", false
	switch v := get("TlsVersion"); {
	case v != "":
		version, old = "TLS "+v, v < "1.2"
	case len(offered) > 0:
		version, old = "offers "+printable(offered[0]), offered[0] < "1.2"
	}
	versionColor := ""
	if old {
		versionColor = yellow
	}
	parts := []string{
		style(dim, l.time(get("TimeGenerated"))), pad(device, l.deviceWidth), style(color, pad(operation, len("disconnected"))),
		style(versionColor, pad(version, len("offers 1.2"))),
	}
	line := strings.Join(parts, "  ")
	if why := l.why(get); why != "" {
		line += "  " + why
	}
	for _, i := range l.extra {
		line += "  " + style(dim, printable(l.names[i])+"=") + printable(cell(row[i]))
	}
	return strings.TrimRight(line, " ")
}

// why says in words what there is to say about an event.
func (l *lines) why(get func(string) string) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	switch get("OperationName") {
	case "deviceConnect":
		add(get("TlsCipher"))
		add(get("Protocol"))
		add(get("AuthType"))
		if get("WouldFailStrict") == "true" {
			add("would fail a strict hub: " + get("StrictReason"))
		}
	case "deviceDisconnect":
		add(strings.ReplaceAll(get("DisconnectReason"), "_", " "))
		if ms := get("DurationMs"); ms != "" && ms != "0" {
			var f float64
			if json.Unmarshal([]byte(ms), &f) == nil {
				add("after " + duration(f))
			}
		}
		if n := get("Messages"); n != "" && n != "0" {
			count, _ := strconv.ParseInt(n, 10, 64) // a long column
			add(plural(count, "message"))
		}
	default:
		description := get("ResultDescription")
		if description == "" {
			description = strings.ReplaceAll(get("DisconnectReason"), "_", " ")
		}
		add(description)
	}
	s := strings.Join(parts, ", ")
	if code := get("ResultType"); code != "" {
		s = strings.TrimSpace(code + " " + s)
	}
	return s
}

// time writes a time of today without its date.
func (l *lines) time(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return s
	}
	if t.UTC().Format(time.DateOnly) == l.now().UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05.000Z")
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// readQuery returns the query from where the user put it: an argument, a file,
// or standard input. none says that there may be none at all.
func readQuery(sh *Shell, argument, file string, none bool) (string, error) {
	var b []byte
	var err error
	switch {
	case argument != "" && argument != "-" && file != "":
		return "", usage("there are two queries, one as argument and one in --file")
	case argument != "" && argument != "-":
		return argument, nil
	case file != "":
		if b, err = os.ReadFile(file); err != nil {
			return "", usage("--file: %v", reason(err))
		}
	case none && argument == "":
		return "", nil
	case sh.In != nil:
		const most = 4 << 20
		if b, err = io.ReadAll(io.LimitReader(sh.In, most+1)); err != nil {
			return "", usage("read the query from standard input: %v", err)
		}
		if len(b) > most {
			return "", usage("the query on standard input is longer than 4 MiB")
		}
	default:
		return "", usage("no query: give it as an argument, with --file, or on standard input")
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	text = strings.TrimRight(text, "\r\n")
	if strings.TrimSpace(text) == "" {
		return "", usage("the query is empty")
	}
	return text, nil
}
