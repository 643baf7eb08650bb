// Package embed runs the two servers that hubscope needs inside or beside its
// own process, for one machine without set-up and for tests: the ClickHouse
// engine as a child process ([StartEngine]) and NATS with JetStream in this
// process ([StartNATS]). Both listen on loopback only, with random passwords.
//
// They are the real servers; everything talks to them as to a cluster, and a
// cluster takes their place by configuration alone.
//
// The engine is libchdb.so, a whole ClickHouse as a library, loaded without
// cgo by this very binary when it starts itself again with the argument
// "engine" (see child.go). What it lacks against a server package: replication,
// SQL-managed users, ON CLUSTER. See deploy/engine for where it comes from.
package embed

import (
	"encoding/xml"
	"strings"
)

// xmlText escapes s for use in a configuration file.
func xmlText(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
