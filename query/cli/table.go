package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"hubscope/query/client"
)

// table prints aligned columns. The first rows decide how wide a column is;
// later ones are printed as they come, so that a result of any size takes no
// more memory than the sample.
type table struct {
	w       *bufio.Writer
	columns []client.Column
	limit   int // width of the terminal, 0 for none
	color   bool

	sample   [][]string // rows kept back until the layout is known
	laid     bool       // the layout is known
	least    []int      // widths to leave room for, nil for none
	widths   []int
	fraction []int // digits of seconds shown, for datetime columns
	blocks   bool  // one block a row
	n        int   // rows printed
	cut      bool  // a cell was cut
}

const (
	sampleRows = 1000
	gap        = 2  // blanks between columns
	minText    = 12 // a text column is not made narrower than this
	mark       = "…"
)

func newTable(w *bufio.Writer, columns []client.Column, limit int, color bool) *table {
	return &table{w: w, columns: columns, limit: limit, color: color}
}

func (t *table) rows(rows [][]json.RawMessage) error {
	for _, r := range rows {
		cells := make([]string, len(t.columns))
		for i := range t.columns {
			cells[i] = printable(cell(r[i]))
		}
		if t.laid {
			t.row(cells)
			continue
		}
		t.sample = append(t.sample, cells)
		if len(t.sample) >= sampleRows {
			t.layout()
		}
	}
	if t.laid {
		return t.w.Flush()
	}
	return nil
}

func (t *table) end() error {
	if !t.laid {
		t.layout()
	}
	return t.w.Flush()
}

// layout finds the widths from the sample and prints it.
func (t *table) layout() {
	t.laid = true
	t.fraction = make([]int, len(t.columns))
	for i, c := range t.columns {
		if c.Type != "datetime" {
			continue
		}
		for _, r := range t.sample {
			t.fraction[i] = max(t.fraction[i], fractionDigits(r[i]))
		}
	}
	natural := make([]int, len(t.columns))
	for i, c := range t.columns {
		natural[i] = width(printable(c.Name))
		if t.least != nil {
			natural[i] = max(natural[i], t.least[i])
		}
		for _, r := range t.sample {
			natural[i] = max(natural[i], width(t.show(i, r[i])))
		}
	}
	t.widths = natural
	if t.limit > 0 {
		t.widths, t.blocks = t.fit(natural)
	}
	if !t.blocks && len(t.columns) > 0 {
		t.header()
	}
	for _, r := range t.sample {
		t.row(r)
	}
	t.sample = nil
}

// fit makes the widest text columns narrower until all fit. blocks says that
// they cannot.
func (t *table) fit(natural []int) (widths []int, blocks bool) {
	widths = append([]int(nil), natural...)
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > t.limit {
		widest := -1
		for i, c := range t.columns {
			if !shrinkable(c.Type) || widths[i] <= minText {
				continue
			}
			if widest < 0 || widths[i] > widths[widest] {
				widest = i
			}
		}
		if widest < 0 {
			return widths, true
		}
		// Down to the next narrower one at once, not further than needed.
		next := minText
		for i, c := range t.columns {
			if shrinkable(c.Type) && widths[i] < widths[widest] {
				next = max(next, widths[i])
			}
		}
		less := min(max(widths[widest]-next, 1), total-t.limit)
		widths[widest] -= less
		total -= less
	}
	return widths, false
}

// shrinkable reports the types whose cells may be cut: half a number is a
// wrong number.
func shrinkable(typ string) bool { return typ == "string" || typ == "dynamic" }

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

func (t *table) style(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return code + s + plain
}

func (t *table) header() {
	var names, rules strings.Builder
	for i, c := range t.columns {
		name := t.clip(i, printable(c.Name))
		pad := strings.Repeat(" ", t.widths[i]-width(name))
		if i > 0 {
			names.WriteString(strings.Repeat(" ", gap))
			rules.WriteString(strings.Repeat(" ", gap))
		}
		if numeric(c.Type) {
			names.WriteString(pad + t.style(bold, name))
		} else if i == len(t.columns)-1 {
			names.WriteString(t.style(bold, name))
		} else {
			names.WriteString(t.style(bold, name) + pad)
		}
		rules.WriteString(strings.Repeat("-", t.widths[i]))
	}
	fmt.Fprintf(t.w, "%s\n%s\n", names.String(), t.style(dim, rules.String()))
}

func (t *table) row(cells []string) {
	t.n++
	if t.blocks {
		t.block(cells)
		return
	}
	var line strings.Builder
	for i, c := range t.columns {
		s := t.clip(i, t.show(i, cells[i]))
		if i > 0 {
			line.WriteString(strings.Repeat(" ", gap))
		}
		pad := strings.Repeat(" ", max(t.widths[i]-width(s), 0))
		if numeric(c.Type) {
			line.WriteString(pad + s)
		} else {
			line.WriteString(s + pad)
		}
	}
	t.w.WriteString(strings.TrimRight(line.String(), " "))
	t.w.WriteByte('\n')
}

// block prints a row as name and value, a line each.
func (t *table) block(cells []string) {
	longest := 0
	for _, c := range t.columns {
		longest = max(longest, width(printable(c.Name)))
	}
	title := fmt.Sprintf("--- row %d ", t.n)
	fmt.Fprintln(t.w, t.style(dim, title+strings.Repeat("-", max(min(t.limit, 60)-len(title), 3))))
	for i, c := range t.columns {
		name := printable(c.Name)
		value := t.show(i, cells[i])
		room := t.limit - longest - gap
		if room >= minText && width(value) > room {
			value, t.cut = cutTo(value, room), true
		}
		line := t.style(bold, name) + strings.Repeat(" ", longest-width(name)+gap) + value
		fmt.Fprintln(t.w, strings.TrimRight(line, " "))
	}
}

// show returns a cell as it is printed: datetimes of a column with as many
// decimals as the column needs.
func (t *table) show(i int, s string) string {
	if t.columns[i].Type != "datetime" || !strings.HasSuffix(s, "Z") {
		return s
	}
	dot := strings.IndexByte(s, '.')
	digits := max(t.fraction[i], fractionDigits(s))
	if dot < 0 || dot+1+digits >= len(s) {
		return s
	}
	if digits == 0 {
		return s[:dot] + "Z"
	}
	return s[:dot+1+digits] + "Z"
}

// fractionDigits returns how many decimals of a datetime's seconds count.
func fractionDigits(s string) int {
	dot := strings.IndexByte(s, '.')
	if dot < 0 || !strings.HasSuffix(s, "Z") {
		return 0
	}
	return len(strings.TrimRight(s[dot+1:len(s)-1], "0"))
}

// clip cuts a cell to its column when there is a terminal to fit.
func (t *table) clip(i int, s string) string {
	if t.limit == 0 || width(s) <= t.widths[i] || !shrinkable(t.columns[i].Type) {
		return s
	}
	t.cut = true
	return cutTo(s, t.widths[i])
}

// cutTo returns the start of s in w cells, with a mark at its end.
func cutTo(s string, w int) string {
	n := 0
	for i, r := range s {
		rw := runeWidth(r)
		if n+rw > w-1 {
			return s[:i] + mark
		}
		n += rw
	}
	return s
}

// printable replaces what a terminal would act on: a device chooses many of
// the texts, and none of them may move the cursor or change colours.
func printable(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.Is(unicode.Cf, r) || unicode.In(r, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// width returns the number of terminal cells that s takes.
func width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// runeWidth is 2 for wide East Asian characters and emoji, 0 for marks that
// stand on the character before them.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf,
		r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1f64f,
		r >= 0x1f680 && r <= 0x1f6ff, r >= 0x1f900 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// printTexts prints a table of texts.
func printTexts(sh *Shell, columns []client.Column, rows [][]string) error {
	w := newWriter("table", sh.Out, columns, sh.Width, sh.Color)
	cells := make([][]json.RawMessage, len(rows))
	for i, r := range rows {
		for _, s := range r {
			b, err := json.Marshal(s)
			if err != nil {
				return err
			}
			cells[i] = append(cells[i], b)
		}
	}
	if err := w.rows(cells); err != nil {
		return err
	}
	return w.end()
}
