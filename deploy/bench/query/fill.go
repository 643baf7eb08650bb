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
