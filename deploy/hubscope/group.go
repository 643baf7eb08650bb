package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// group runs the parts of a process. They are stopped one after the other, the
// last started first, so that what a part still says reaches the part behind
// it: the hub's last events the broker, the collector's last block the engine.
type group struct {
	parts  []*running
	failed chan error
}

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

func newGroup() *group { return &group{failed: make(chan error, 64)} }

// start runs f until stop, or until it fails; f returns nil when its context ends.
func (g *group) start(name string, f func(context.Context) error) {
	// Not derived from the signal's context: the order of stop counts.
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{name: name, cancel: cancel, done: make(chan error, 1)}
	g.parts = append(g.parts, r)
	go func() {
		err := f(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		if ctx.Err() == nil {
			if err == nil {
				err = fmt.Errorf("%s ended by itself", name)
			}
			g.failed <- err
			err = nil
		}
		r.done <- err
	}()
}

// onStop adds something to close in its turn.
func (g *group) onStop(name string, f func() error) {
	g.start(name, func(ctx context.Context) error {
		<-ctx.Done()
		return f()
	})
}

// wait returns nil when ctx ends, or the error of the first part that failed.
func (g *group) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-g.failed:
		return err
	}
}

// stopPart is how long one part may take to stop before it is given up on.
const stopPart = 10 * time.Second

// stop stops all parts and returns what they could not finish.
func (g *group) stop() error {
	var errs []error
	for i := len(g.parts) - 1; i >= 0; i-- {
		p := g.parts[i]
		p.cancel()
		select {
		case err := <-p.done:
			errs = append(errs, err)
		case <-time.After(stopPart):
			errs = append(errs, fmt.Errorf("%s did not stop within %v", p.name, stopPart))
		}
	}
	g.parts = nil
	return errors.Join(errs...)
}
