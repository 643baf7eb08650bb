package main

import (
	"context"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/nats-io/nats.go"

	"hubscope/hub/registry"
	"hubscope/ingest"
	"hubscope/ingest/stream"
)

// changeOf is an entry of the registry's audit as it travels.
func changeOf(node string, e *registry.AuditEntry) *ingest.Change {
	code, description := e.Result()
	return &ingest.Change{
		TimeGenerated: e.Time, Hub: e.Hub, OperationName: e.Operation, Action: e.Action,
		Actor: e.Actor.Name, ActorType: string(e.Actor.Type), MaskedIpAddress: e.Actor.Address,
		Target: e.Target, Changes: e.JSON(), ResultType: code, ResultDescription: description, Node: node,
	}
}

// auditTo is the audit of a registry in a process that has a publisher.
func auditTo(publisher *stream.Publisher, node string) registry.Config {
	return registry.Config{
		Actor: registry.Actor{Type: registry.ActorProgram, Name: "hubscope"},
		Audit: func(_ context.Context, e registry.AuditEntry) { publisher.PublishChange(changeOf(node, &e)) },
	}
}

// auditNow is the audit of a command, whose user is the actor. The command waits
// until the broker has it, and says so when it does not take it.
func auditNow(conn *nats.Conn, log *slog.Logger) registry.Config {
	node, _ := os.Hostname() // none is better than no command
	actor := registry.Actor{Type: registry.ActorCommand}
	if u, err := user.Current(); err == nil {
		actor.Name = u.Username
	}
	return registry.Config{
		Actor: actor,
		Audit: func(ctx context.Context, e registry.AuditEntry) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if err := stream.PublishChange(ctx, conn, changeOf(node, &e)); err != nil {
				log.Error("change is not recorded", "operation", e.Operation, "target", e.Target, "error", err)
			}
		},
	}
}
