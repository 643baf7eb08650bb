package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"hubscope/collector"
)

// span is how much time the events cover.
const span = 30 * 24 * time.Hour

// tables are those of the collector that queries read.
var tables = []string{"Connections", "Certificates", "ConnectionsBy5m", "ConnectionsByHour", "DevicesByDay", "DeviceDays", "DeviceStates", "DeviceFirsts"}

// fill makes n events of a fleet in the collector's own tables, through its own
// views: each device keeps its hub, client, protocol, address and certificate, some
// connect far more often than others, and one connection in fifty is refused.
func fill(ctx context.Context, conn driver.Conn, n, devices int, end time.Time) error {
	schema := collector.DefaultSchema()
	schema.Database = database
	if _, err := collector.Migrate(ctx, conn, schema); err != nil {
		return err
	}
	err := conn.Exec(ctx, fmt.Sprintf(`INSERT INTO %s.Certificates
SELECT toUInt64(sipHash64(number)) AS CertId, lower(hex(SHA256(toString(number)))) AS CertThumbprint, concat('CN=device-', toString(number)) AS CertSubject,
  concat('CN=Device CA ', toString(number %% 5), ',O=Plants') AS CertIssuer, lower(hex(MD5(toString(number)))) AS CertSerial,
  toDateTime64('%s', 7, 'UTC') + toIntervalDay(number %% 700) AS CertNotAfter
FROM numbers(%d) WHERE number %% 2 = 0`, database, end.Format("2006-01-02 15:04:05"), devices))
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	const days = int(span / (24 * time.Hour))
	began := time.Now()
	for day := range days {
		from, to := n/days*day, n/days*(day+1)
		if day == days-1 {
			to = n
		}
		if err := conn.Exec(ctx, fmt.Sprintf(eventsSQL, database, from, to-from, devices, end.Add(-span).Format("2006-01-02 15:04:05"), int64(span/100)/int64(n))); err != nil {
			return fmt.Errorf("events of day %d: %w", day+1, err)
		}
		fmt.Printf("\r  %d of %d days, %.0f s", day+1, days, time.Since(began).Seconds())
	}
	fmt.Println()
	for _, t := range tables {
		if err := conn.Exec(ctx, "OPTIMIZE TABLE "+database+"."+t+" FINAL"); err != nil {
			return fmt.Errorf("merge %s: %w", t, err)
		}
	}
	return nil
}

// eventsSQL takes the database, the first number, how many, the number of
// devices, the first time and the ticks between two events.
const eventsSQL = `INSERT INTO %[1]s.Connections
  (TimeGenerated, Hub, Node, ConnectionId, Sequence, OperationName, Category, Level, Stage, ResultType, ResultSignature, ResultDescription,
   DeviceId, ClaimedDeviceId, Protocol, AuthType, AuthIssuer, SdkVersion, MaskedIpAddress, IpHash, RemotePort, TlsVersion, TlsCipher, TlsGroup,
   TlsSignature, TlsEngine, TlsServerKey, Sni, Ja4, OfferedVersions, OfferedCiphers, OfferedGroups, OfferedSignatures, HandshakeMicros, ConnectMicros,
   DurationMs, BytesIn, BytesOut, Messages, DisconnectReason, WouldFailStrict, StrictReason, CertId)
WITH cityHash64(number) AS h,
  -- Half of the events come from a tenth of the devices.
  toUInt64(%[4]d * pow((h %% 1000003) / 1000003, 3.3)) AS device, sipHash64(device) AS d,
  toDateTime64('%[5]s', 7, 'UTC') AS start,
  reinterpret(reinterpretAsInt64(start) + toInt64(number) * %[6]d + toInt64(h %% %[6]d), 'DateTime64(7, \'UTC\')') AS time,
  number %% 50 = 7 AS refused, not refused AND number %% 2 = 1 AS ended,
  d %% 100 AS p, multiIf(p < 40, 1, p < 56, 2, p < 60, 3, p < 76, 4, p < 85, 5, p < 90, 6, p < 94, 7, p < 97, 8, p < 99, 9, 10) AS kind,
  ['1.3','1.3','1.3','1.2','1.2','1.2','1.2','1.1','1.0','1.0'][kind] AS version,
  ['TLS_AES_128_GCM_SHA256','TLS_AES_256_GCM_SHA384','TLS_CHACHA20_POLY1305_SHA256','TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
   'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256','TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256','TLS_RSA_WITH_AES_256_CBC_SHA256',
   'TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA','TLS_RSA_WITH_AES_128_CBC_SHA','TLS_RSA_WITH_3DES_EDE_CBC_SHA'][kind] AS cipher,
  concat('plant-', toString(device %% 3)) AS hub, concat(['pump','meter','valve','gateway'][device %% 4 + 1], '-', leftPad(toString(device), 7, '0')) AS id,
  device %% 2 = 0 AS x509, kind > 6 AS failing
SELECT time, hub, concat('hub-', toString(number %% 3)), generateUUIDv7(), toUnixTimestamp64Micro(time),
  multiIf(refused, 'connectionRefused', ended, 'deviceDisconnect', 'deviceConnect'), 'Connections', if(refused OR ended AND h %% 10 = 0, 'Error', 'Information'),
  if(refused, 'auth', 'session'), multiIf(refused, '401003', ended AND h %% 10 = 0, '404103', ''),
  multiIf(refused, 'IotHubUnauthorized', ended AND h %% 10 = 0, 'DeviceConnectionClosedRemotely', ''),
  if(refused, concat('device ', id, ' is not registered'), ''), if(refused, '', id), if(refused, id, ''),
  if(kind IN (2, 6), 'MqttWs', if(kind = 5, 'Https', 'Mqtt')), multiIf(refused, 'none', x509, 'x509Ca', 'sas'), if(refused, '', 'iothub'),
  ['azure-iot-device/1.18.4 (node v20.11.0; Linux 6.1.0; x64)','azure-iot-device-iothub-py/2.13.1','.NET/1.42.3 (.NET 8.0.3; Linux)','azsdk-c/1.5.0',
   'iothub_client/1.13.0','','azure-iot-device/1.17.0 (node v16.20.2; Linux 5.10)'][d %% 7 + 1],
  concat(toString(d %% 180 + 10), '.', toString(intDiv(d, 180) %% 256), '.', toString(intDiv(d, 46080) %% 256), '.XXX'), lower(hex(d)), 1024 + h %% 64000,
  version, cipher, ['x25519','secp256r1','x25519','secp256r1','secp256r1','secp384r1','','secp256r1','',''][kind],
  ['ecdsa_secp256r1_sha256','rsa_pss_rsae_sha256','ecdsa_secp256r1_sha256','rsa_pkcs1_sha256','ecdsa_secp256r1_sha256','rsa_pkcs1_sha256','','','',''][kind],
  'go', if(kind IN (1, 3, 5), 'ECDSA', 'RSA'), concat(hub, '.example.net'),
  concat('t', replaceOne(version, '.', ''), 'd1709mq_', substring(lower(hex(sipHash64(kind, d %% 5))), 1, 12)),
  if(version = '1.3', '["1.3","1.2"]', concat('["', version, '"]')),
  concat('["', cipher, '","', ['TLS_RSA_WITH_AES_128_CBC_SHA','TLS_RSA_WITH_AES_256_CBC_SHA','TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA'][d %% 3 + 1], '"]'),
  '["x25519","secp256r1","secp384r1"]', '["ecdsa_secp256r1_sha256","rsa_pss_rsae_sha256","rsa_pkcs1_sha256"]',
  20000 + h %% 60000, 24000 + h %% 70000, if(ended, h %% 3600000, 0), 900 + h %% 400, 2900 + h %% 300, if(ended, h %% 60, 0),
  multiIf(not ended, '', h %% 10 = 0, 'keep_alive_timeout', 'client_disconnect'), failing,
  multiIf(not failing, '', version IN ('1.0', '1.1'), concat('offers TLS ', version, ' at best'), 'offers no recommended suite'),
  if(x509 AND not refused, toUInt64(sipHash64(device)), 0)
FROM numbers(%[2]d, %[3]d)
SETTINGS max_threads = 2, max_insert_threads = 2, min_insert_block_size_rows = 300000`

// measured are tables that are filled beside the events, for the dashboards: 30
// days by the minute of three hubs with two processes each, two collectors and two
// query services, a million queries, and some hundred changes a day. They take the
// database and the last time.
var measured = []struct{ table, sql string }{
	{"MetricSamples", `INSERT INTO %[1]s.MetricSamples (TimeGenerated, Hub, Node, MetricName, TlsVersion, TlsCipher, Protocol, ResultType, Total, Count, Minimum, Maximum)
WITH number %% 28 AS m, intDiv(number, 28) %% 6 AS process, intDiv(number, 168) AS minute
SELECT %[2]s - toIntervalMinute(43200 - minute), concat('plant-', toString(process %% 3)), concat('hub-', toString(process)),
  ['connectedDeviceCount','totalDeviceCount','d2c.telemetry.ingress.allProtocol','d2c.telemetry.ingress.success','deviceDataUsage','HandshakeDuration',
   'RefusedConnections','RefusedConnections','RefusedConnections','RefusedConnections','SuccessfulConnections'][least(m + 1, 11)],
  if(m < 10, '', concat('1.', toString(m %% 4))), if(m < 10, '', concat('TLS_SUITE_', toString(m %% 9))), if(m < 10, '', ['Mqtt','MqttWs','Https'][m %% 3 + 1]),
  if(m BETWEEN 6 AND 9, toString(401000 + m), ''), 6000 + sipHash64(number) %% 500, 60, 90, 120
FROM numbers(28 * 6 * 43200)`},
	{"PipelineSamples", `INSERT INTO %[1]s.PipelineSamples (TimeGenerated, Hub, Node, MetricName, Service, MetricType, UnitName, Stream, Reason, Result, Total, Count, Minimum, Maximum)
WITH number %% 25 AS m, intDiv(number, 25) %% 10 AS process, intDiv(number, 250) AS minute,
  ['hubscope_publisher_events_total','hubscope_publisher_batch_events','hubscope_publisher_ack_duration_seconds','hubscope_publisher_retries_total',
   'hubscope_publisher_duplicates_total','hubscope_publisher_dropped_total','hubscope_publisher_spool_messages','hubscope_publisher_spool_size_bytes'] AS publisher,
  ['hubscope_collector_rows_total','hubscope_collector_block_rows','hubscope_collector_block_duration_seconds','hubscope_collector_retries_total','hubscope_collector_replayed_total',
   'hubscope_collector_missed_total','hubscope_collector_rejected_total','hubscope_collector_lag_messages','hubscope_collector_lag_age_seconds'] AS collector,
  if(process < 6, publisher, if(process < 8, collector, [])) AS names,
  if(m < length(names), names[m + 1], concat('hubscope_other_', toString(m), '_total')) AS name
SELECT %[2]s - toIntervalMinute(43200 - minute), if(process < 6, concat('plant-', toString(process %% 3)), ''), concat(['hub','collector','serve'][if(process < 6, 1, if(process < 8, 2, 3))], '-', toString(process)),
  name, if(process < 6, 'publisher', if(process < 8, 'collector', 'query')), if(name LIKE '%%_total', 'Counter', 'Gauge'), if(name LIKE '%%_seconds', 'Seconds', if(name LIKE '%%_bytes', 'Bytes', 'Count')),
  if(process IN (6, 7), 'HUBSCOPE_EVENTS_0', ''), if(name LIKE '%%rejected%%', ['malformed','encoding','time'][minute %% 3 + 1], ''), '', sipHash64(number) %% 5000, 4, 1, sipHash64(number) %% 1700
FROM numbers(25 * 10 * 43200)`},
	{"QueryLog", `INSERT INTO %[1]s.QueryLog (TimeGenerated, QueryId, User, Role, Client, Endpoint, Database, Text, State, DurationMs, QueuedMs, CompileMicros, RowsRead, BytesRead, ResultRows, Tables, Rollup, Node)
WITH sipHash64(number) AS h
SELECT %[2]s - toIntervalMillisecond(number * 2592), lower(hex(h)), concat('user-', toString(h %% 20)), 'reader', ['Grafana','Grafana','Grafana alerting','hubscope-cli','console'][h %% 5 + 1],
  'POST /api/v1/query', 'hubscope', concat('Connections | where TimeGenerated > ago(1d) and Hub == "plant-', toString(h %% 3), '" | summarize Count = count(), Devices = dcount(DeviceId) by bin(TimeGenerated, 5m), TlsVersion // ', toString(number)),
  if(h %% 100 < 95, 'Completed', ['Failed','Failed','Cancelled','Throttled'][h %% 4 + 1]), h %% 400, if(h %% 50 = 0, h %% 30, 0), 80, h %% 3000000, h %% 90000000, h %% 900,
  '["hubscope.Connections"]', ['','ConnectionsBy5m','ConnectionsByHour','DeviceDays'][h %% 4 + 1], concat('serve-', toString(8 + h %% 2))
FROM numbers(1000000)`},
	{"Audit", `INSERT INTO %[1]s.Audit (TimeGenerated, Hub, OperationName, Action, Actor, ActorType, Target, Changes, ResultType, Node)
WITH sipHash64(number) AS h
SELECT %[2]s - toIntervalSecond(number * 86), concat('plant-', toString(h %% 3)), ['Microsoft.Devices/IotHubs/devices/Write','Microsoft.Devices/IotHubs/devices/Write','Microsoft.Devices/IotHubs/certificates/Write','Microsoft.Devices/IotHubs/Write'][if(h %% 500 = 0, 4, if(h %% 50 = 0, 3, 1))],
  'Update', concat('operator-', toString(h %% 9)), 'policy', concat('pump-', leftPad(toString(h %% 300000), 7, '0')),
  if(h %% 500 = 0, '{"minTlsVersion":{"before":"1.0","after":"1.2"}}', '{"status":{"before":"enabled","after":"disabled"}}'), 'Success', concat('hub-', toString(h %% 6))
FROM numbers(30000)`},
}

// fillMeasured fills the tables that are empty.
func fillMeasured(ctx context.Context, conn driver.Conn, end time.Time) error {
	for _, m := range measured {
		var there uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+database+"."+m.table).Scan(&there); err != nil {
			return err
		}
		if there > 0 {
			continue
		}
		began := time.Now()
		at := "toDateTime64('" + end.Format("2006-01-02 15:04:05") + "', 7, 'UTC')"
		for _, sql := range []string{fmt.Sprintf(m.sql, database, at), "OPTIMIZE TABLE " + database + "." + m.table + " FINAL"} {
			if err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", m.table, err)
			}
		}
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+database+"."+m.table).Scan(&there); err != nil {
			return err
		}
		fmt.Printf("  %d rows of %s, %.0f s\n", there, m.table, time.Since(began).Seconds())
	}
	return nil
}
