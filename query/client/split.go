package client

import (
	"bytes"
	"encoding/json"
)

// splitRows cuts a line of rows into its cells, which are parts of the line. It is
// what reading a large answer takes most of its time for; encoding/json, which
// looks at each byte several times and copies each cell, takes five times as long.
// ok is false for any other line, and for one that is not right: that is then read
// with encoding/json, which says what is wrong.
func splitRows(line []byte) (rows [][]json.RawMessage, ok bool) {
	const head, tail = `{"rows":[`, `]}`
	line = bytes.TrimRight(line, " \t\r\n")
	if !bytes.HasPrefix(line, []byte(head)) || !bytes.HasSuffix(line, []byte(tail)) {
		return nil, false
	}
	b := line[len(head) : len(line)-len(tail)]
	var cells []json.RawMessage // of all rows
	ends := []int(nil)          // of each row, in cells
	for i := 0; i < len(b); {
		if len(ends) > 0 {
			if b[i] != ',' {
				return nil, false
			}
			i++
		}
		if i >= len(b) || b[i] != '[' {
			return nil, false
		}
		i++
		for first := true; ; first = false {
			switch {
			case i >= len(b):
				return nil, false
			case b[i] == ']':
			case first:
			case b[i] == ',':
				i++
			default:
				return nil, false
			}
			if i < len(b) && b[i] == ']' && (first || b[i-1] != ',') {
				i++
				break
			}
			n := valueLength(b[i:])
			if n == 0 {
				return nil, false
			}
			cells = append(cells, b[i:i+n:i+n])
			i += n
		}
		if ends == nil {
			// The other rows are as many cells, and about as long.
			n := len(b)/i + 1
			ends = make([]int, 0, n)
			cells = append(make([]json.RawMessage, 0, n*len(cells)), cells...)
		}
		ends = append(ends, len(cells))
	}
	rows = make([][]json.RawMessage, len(ends))
	from := 0
	for i, end := range ends {
		rows[i] = cells[from:end:end]
		from = end
	}
	return rows, true
}

// valueLength returns the length of the JSON value that b begins with, 0 if there
// is none.
func valueLength(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return stringLength(b)
	case '[', '{':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				n := stringLength(b[i:])
				if n == 0 {
					return 0
				}
				i += n - 1
			case '[', '{':
				depth++
			case ']', '}':
				if depth--; depth == 0 {
					if !json.Valid(b[:i+1]) {
						return 0
					}
					return i + 1
				}
			}
		}
		return 0
	}
	n := 0
	for n < len(b) && b[n] != ',' && b[n] != ']' {
		n++
	}
	if !json.Valid(b[:n]) || b[0] <= ' ' || n > 0 && b[n-1] <= ' ' {
		return 0
	}
	return n
}

// stringLength returns the length of the JSON string that b begins with, 0 if it
// does not end or has what no string may have.
func stringLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			switch i++; {
			case i >= len(b):
				return 0
			case b[i] == 'u':
				if i+4 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
					return 0
				}
				i += 4
			case bytes.IndexByte([]byte(`"\/bfnrt`), b[i]) < 0:
				return 0
			}
		case c < ' ':
			return 0
		}
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
