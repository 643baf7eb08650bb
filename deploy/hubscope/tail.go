package main

import (
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"hubscope/ingest/stream"
	"hubscope/query"
	"hubscope/query/cli"
)

// startFeed lets the query service follow the events of NATS, if it is told
// where that is.
func startFeed(g *group, s *Settings, log *slog.Logger) (query.Feed, error) {
	if s.NATS.URL == "" {
		return nil, nil
	}
	nc, err := s.NATS.Server.Connect("hubscope tail", log)
	if err != nil {
		return nil, err
	}
	feed, err := stream.OpenFeed(nc, stream.DefaultFeedConfig(), log)
	if err != nil {
		nc.Close()
		return nil, err
	}
	g.onStop("tails", func() error {
		feed.Close()
		nc.Close()
		return nil
	})
	return feed, nil
}

// tailCmd is `hubscope tail`.
type tailCmd struct {
	dataFlags
	cli.TailCommand `embed:""`
}

// AfterApply gives the command the terminal, and where to look for the service.
func (c *tailCmd) AfterApply(kctx *kong.Context) error {
	kctx.Bind(newShell(&c.dataFlags))
	return nil
}

// newShell is the terminal, and the service of the stack on a data folder.
func newShell(d *dataFlags) *cli.Shell {
	return cli.NewShell(os.Stdin, os.Stdout, os.Stderr, func() (url, token string, err error) {
		r, err := readReady(d.Data)
		if err != nil {
			return "", "", err
		}
		return r.Query, r.QueryToken, nil
	})
}
