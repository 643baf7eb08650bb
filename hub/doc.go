// Package hub is the core of an IoT hub: it accepts connections, does their TLS
// handshake, lets a protocol speak over them, authenticates devices against the
// registry, and tells for every accepted TCP connection what became of it.
//
//	server, err := hub.New(hub.Config{Node: "a", DefaultHub: "demo", Registry: cache, ...})
//	go server.Serve(ctx, listener, mqtt.New())
//	...
//	server.Shutdown(ctx)
//
// # Events
//
// Every accepted connection ends in exactly one terminal event: a
// connectionRefused, or a deviceConnect that is followed by a deviceDisconnect.
// They are built here, by what wraps the connection, and never by a protocol:
// whatever a protocol does, panics included, the event comes. A connection that
// carries several devices (HTTPS) has a pair for each; one that only used the
// management API ends in one serviceDisconnect. Beyond a limit the refused
// connections of one source are counted and sampled, and a connectionsSuppressed
// event holds their number: described and suppressed ones together are all there
// were.
//
// DeviceId is only written when the registry has accepted the credentials; what
// a client says of itself goes to ClaimedDeviceId.
//
// # Sequence
//
// Sequence rises over all events of a node, over restarts too: it is the clock
// in microseconds, pushed forward where events are closer together. When a
// device connects again while it is connected, the old session's disconnect
// gets the lower number, though it may be sent later.
//
// # Results
//
// The column ResultType holds Azure IoT Hub's codes where there is one. Azure
// has none for what happens before a device is known; those here follow HTTP's
// customs and are stable: 495 and 496 with the number of the TLS alert that the
// hub or the client sent, 497 for something other than TLS, 408 for silence, 499
// for a client that went away. See the variables of type [Result].
//
// # Sessions
//
// One device has one session at a time; a new one ends the old one with 400027,
// also when they are on two of the processes that share a registry.
// A session ends within a second when the registry no longer stands behind it
// (device disabled, deleted or created anew, key or thumbprint taken away, CA
// gone, certificate revoked), and when its SAS token expires.
//
// This package speaks no application protocol: hub/mqtt and hub/https do. It
// knows neither NATS nor the store.
package hub
