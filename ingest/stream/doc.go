// Package stream carries events over NATS JetStream: the [Publisher] on the
// hub's side, the [Source] on the collector's, and the streams between them
// ([Streams]). It is the only package of the event path that knows NATS; what
// an event is stands in package ingest, what becomes of it in collector.
//
// # Streams
//
//	EVENTS      hubscope.events.<partition>.<node>       connection events, many in a message; samples of metrics; changes
//	TELEMETRY   hubscope.telemetry.<hub>.<device>        device messages, one in a message
//	DEADLETTER  hubscope.deadletter.<stream>.<incarnation>.<sequence>
//
// With more than one partition there are EVENTS-0, EVENTS-1, ...; all events of
// a device are in the same one. File storage, discard new: a full stream pushes
// back on the hubs and never throws away what it acknowledged. The collector
// purges what it has stored (see [Streams.Keep]).
//
// # Exactly once
//
// A message has an id, node/epoch/counter, in header Nats-Msg-Id. The publisher
// keeps each message until it is acknowledged and publishes it again under the
// same id; the broker drops the second within its duplicates window. What is in
// doubt for longer is looked up in the stream before it is sent again. While the
// broker is away messages wait in files (the spool), and survive the hub.
//
// On the other side the collector's position is one key-value record per
// stream: a floor below which everything is stored, and the bounds of blocks
// that are being stored. It is written by compare-and-set before each insert,
// which also fences a second collector off. See [Position].
package stream
