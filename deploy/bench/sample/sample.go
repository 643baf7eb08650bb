// Package sample fills a store with made-up events, the same for the programs
// that measure the query service and what stands before it.
package sample

import (
	"context"
	"fmt"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"hubscope/collector"
	"hubscope/deploy/embed"
)

// Fill makes the tables and stores events over 30 days, of 5,000 devices on two hubs.
func Fill(ctx context.Context, engine *embed.Engine, events int) error {
	store := collector.DefaultConfig().ClickHouse
	store.DSN = engine.DSN()
	if _, err := store.Migrate(ctx); err != nil {
		return err
	}
	opts, err := driver.ParseDSN(engine.DSN())
	if err != nil {
		return err
	}
	conn, err := driver.Open(opts)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, fmt.Sprintf(`INSERT INTO Connections (TimeGenerated, Hub, DeviceId, OperationName, TlsVersion, TlsCipher, Protocol, WouldFailStrict, Messages, BytesIn, ConnectionId)
SELECT now64(7) - toIntervalMillisecond(intDiv(number * 2592000000, %d)), ['plant','office'][number %% 2 + 1], concat('device-', toString(intHash32(number) %% 5000)),
  ['deviceConnect','deviceDisconnect','connectionRefused'][number %% 3 + 1], ['1.2','1.3','1.1'][intHash32(number) %% 3 + 1],
  ['TLS_AES_128_GCM_SHA256','TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'][number %% 2 + 1], ['Mqtt','Https'][intHash32(number + 7) %% 2 + 1], number %% 5 = 0, number %% 11, number, generateUUIDv4()
FROM numbers(%d)`, events, events))
}
