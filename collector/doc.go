// Package collector stores the events of JetStream in ClickHouse, each exactly
// once, and owns the tables: their definition and their migrations.
//
//	c, err := collector.New(cfg, log)   // connects to nothing yet
//	err = c.Run(ctx)                    // migrates, collects, drains when ctx ends
//
// # How an event is stored exactly once
//
// Messages are read in order and decoded straight into columns: most hold
// columns themselves (ingest.Batch), of which only distinct values are looked at,
// and an event costs little more than its numbers and keys. A block is cut when
// it has Config.BlockRows rows or is Config.Linger old. Its bounds, first and
// last message, are recorded in NATS by compare-and-set (package ingest/stream);
// then it is inserted, natively and synchronously, with an
// insert_deduplication_token made of the stream's incarnation and those bounds;
// then the floor moves. Whatever is killed at whatever moment, the next
// collector cuts its first blocks at the recorded bounds, so that it sends the
// same rows under the same token, and ClickHouse drops what it has. Every table
// that a block reaches, the targets of materialized views too, has its own
// window of tokens. An insert that fails is repeated for ever with the same
// block; meanwhile nothing more is read, and the stream holds the events.
//
// Rows of one key are put together by merges, not by the insert: tables of
// counts have to be added up, tables of states read FINAL.
//
// What cannot be decoded or stored goes to the dead-letter stream, with the
// reason, under a subject that exists once for a message; the good events of
// the same message are stored.
//
// # Tables
//
//	Connections       one row an event; the columns of ingest.Connections
//	Certificates      facts of client certificates, once each, by CertId
//	ConnectionsBy5m   counts by five minutes           (ingest.Rollups)
//	ConnectionsByHour counts by the hour               (ingest.Rollups)
//	DevicesByDay      distinct devices by day          (ingest.Rollups)
//	RollupStarts      since when the two above hold everything
//	DeviceDays        counts by day and device         (ingest.Rollups)
//	DeviceStates      newest event of each device
//	DeviceFirsts      first event and best offer of each device
//	Devices           view over both                   (ingest.Devices)
//	AzureDiagnostics  view over Connections            (ingest.AzureDiagnostics)
//	MetricSamples     samples of metrics by minute and hub process (ingest.MetricColumns)
//	AzureMetrics      view over MetricSamples          (ingest.AzureMetrics)
//
// This package reads no queries; that is the query service's work.
package collector
