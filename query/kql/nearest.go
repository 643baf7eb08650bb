package kql

// nearest returns the name of names that s was probably meant to be, or "".
// Names that differ only in case come first; others may differ in a third of
// their characters, at most three, a swap of neighbours counting once.
func nearest(s string, names []string) string {
	best, bestDistance := "", min((len(s)+1)/3, 3)+1
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if n == s || abs(len(n)-len(s)) >= bestDistance+1 {
			continue
		}
		if d := distance(lower(s), lower(n), bestDistance); d < bestDistance || d == bestDistance && best != "" && n < best {
			best, bestDistance = n, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// distance is the number of inserted, deleted, changed and swapped bytes
// between a and b, or limit+1 as soon as it is known to be more.
func distance(a, b string, limit int) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
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
		if low > limit {
			return limit + 1
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
