package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows what `up` is doing: a line a part, with the time it took.
//
//	engine     ClickHouse 26.7 ready                       0.8 s
//
// On a terminal the part that is under way stands there already.
type progress struct {
	w   io.Writer
	tty bool
	mu  sync.Mutex
}

func newProgress(w *os.File) *progress {
	return &progress{w: w, tty: term.IsTerminal(int(w.Fd()))}
}

// step runs f, which returns what to say when it is done.
func (p *progress) step(name string, f func() (string, error)) error {
	start := time.Now()
	if p.tty {
		p.printf("  %-10s starting ...", name)
	}
	text, err := f()
	if p.tty {
		p.printf("\r\033[K")
	}
	if err != nil {
		p.printf("  %-10s failed\n", name)
		return err
	}
	p.printf("  %-10s %-64s %5.1f s\n", name, text, time.Since(start).Seconds())
	return nil
}

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format, args...)
}
