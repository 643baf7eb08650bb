package stream

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hubscope/ingest"
)

// PublishChange sends one change and waits until the broker has it: for
// commands, which are gone before a [Publisher] would have sent anything.
func PublishChange(ctx context.Context, nc *nats.Conn, c *ingest.Change) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("publish change: %w", err)
	}
	msg := &nats.Msg{
		Subject: eventsSubject + ".0." + token(c.Node),
		Header: nats.Header{
			// The same for each try, and for no other change.
			jetstream.MsgIDHeader: {c.Node + "/" + rand.Text() + "/1"},
			headerType:            {ingest.ContentTypeAudit},
			headerEvents:          {strconv.Itoa(1)},
		},
		Data: ingest.AppendChange(nil, c),
	}
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		once, cancel := context.WithTimeout(ctx, time.Second)
		_, err := js.PublishMsg(once, msg)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("publish change: %w", err)
		case <-time.After(wait):
		}
	}
}
