package dashboards

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"hubscope/collector"
	"hubscope/deploy/embed"
	"hubscope/plugin/pkg/ds"
	"hubscope/query"
	"hubscope/query/clickhouse"
)

// A history is three months of three hubs in a store, and the moment that it is
// looked at.
type history struct {
	now    time.Time
	conn   driver.Conn
	engine *query.Engine
}

// remember fills a store. What is in it is the same on every day but for the day.
func remember(t *testing.T) *history {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	engine, err := embed.StartEngine(ctx, embed.EngineConfig{Dir: t.TempDir()})
	if errors.Is(err, embed.ErrNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(time.Minute) })
	opts, err := driver.ParseDSN(engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadTimeout, opts.DialTimeout = 5*time.Minute, time.Minute
	h := &history{now: time.Now().UTC().Truncate(24 * time.Hour).Add(13*time.Hour + 37*time.Minute + 11*time.Second)}
	if h.conn, err = driver.Open(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.conn.Close() })
	schema := collector.DefaultSchema()
	schema.Database = embed.Database
	if _, err := collector.Migrate(ctx, h.conn, schema); err != nil {
		t.Fatal(err)
	}
	for _, sql := range past {
		if err := h.conn.Exec(ctx, strings.NewReplacer("{db}", embed.Database, "{now}", timeSQL(h.now)).Replace(sql)); err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
	}
	read, err := clickhouse.Open(ctx, clickhouse.Config{DSN: engine.ReaderDSN(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	if h.engine, err = query.New(query.Config{Rollups: read.Rollups}, read); err != nil {
		t.Fatal(err)
	}
	return h
}

func timeSQL(t time.Time) string {
	return "toDateTime64('" + t.Format("2006-01-02 15:04:05.0000000") + "', 7, 'UTC')"
}

// past makes 240 devices with 60 events each: some on old versions, some on weak
// suites, some repaired five days ago, some silent, some new, some that connect
// all the time, and one in ten events a refusal, of which one in two names nobody.
// Two processes serve each hub, and two collectors and two query services work.
var past = []string{
	`INSERT INTO {db}.Certificates (CertId, CertThumbprint, CertSubject, CertIssuer, CertSerial, CertNotAfter)
SELECT number + 1, lower(hex(SHA256(toString(number)))), concat('CN=', toString(number)), concat('CN=CA ', toString(number % 3)), toString(number),
  {now} + toIntervalHour(7 + 60 * number - 500)
FROM numbers(120)`,
	`INSERT INTO {db}.Connections
  (TimeGenerated, Hub, Node, ConnectionId, Sequence, OperationName, Category, Level, Stage, ResultType, ResultSignature, DeviceId, ClaimedDeviceId,
   Protocol, AuthType, SdkVersion, MaskedIpAddress, IpHash, TlsVersion, TlsCipher, TlsGroup, TlsServerKey, Ja4, OfferedVersions, OfferedCiphers, HandshakeMicros,
   DurationMs, Messages, DisconnectReason, WouldFailStrict, StrictReason, CaName, CertId)
WITH intDiv(number, 60) AS d, number % 60 AS i, sipHash64(number) AS h,
  multiIf(d % 12 = 5, 20 * 86400 + h % (70 * 86400), d % 12 = 7, h % (3 * 86400), d % 12 = 11, h % 3000, d % 12 = 3, i * 43200 + h % 40000, 200 + h % (80 * 86400)) AS age,
  {now} - toIntervalMicrosecond(age * 1000000 + h % 999983) AS time,
  if(d % 10 = 3, if(age > 5 * 86400, 2, 4), d % 10) AS kind,
  h % 10 = 0 AS refused, refused AND h % 20 = 0 AS nameless, not refused AND h % 3 = 1 AS ended,
  ['1.0','1.1','1.2','1.2','1.2','1.2','1.3','1.3','1.3','1.3'][kind + 1] AS version,
  ['TLS_RSA_WITH_AES_128_CBC_SHA','TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA','TLS_RSA_WITH_AES_256_CBC_SHA256','','TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
   'TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384','TLS_AES_128_GCM_SHA256','TLS_AES_256_GCM_SHA384','TLS_CHACHA20_POLY1305_SHA256','TLS_AES_128_CCM_SHA256'][kind + 1] AS cipher,
  kind < 3 AS failing, concat(['pump','meter','valve','gateway'][d % 4 + 1], '-', leftPad(toString(d), 4, '0')) AS id
SELECT time, ['alpha','beta','gamma'][d % 3 + 1], concat('node-', toString(h % 2)), generateUUIDv4(), toUnixTimestamp64Micro(time),
  multiIf(refused, 'connectionRefused', ended, 'deviceDisconnect', 'deviceConnect'), 'Connections', if(refused, 'Error', 'Information'),
  multiIf(nameless, 'handshake', refused, 'auth', 'session'), multiIf(nameless, '495070', refused, '401003', ''),
  multiIf(nameless, 'tls.protocol_version', refused, 'IotHubUnauthorized', ''), if(refused, '', id), multiIf(nameless, '', id),
  if(nameless, '', ['Mqtt','MqttWs','Https'][d % 5 % 3 + 1]), multiIf(refused, 'none', d % 2 = 0, 'x509Ca', 'sas'), ['sdk-a/1','sdk-b/2',''][d % 3 + 1],
  concat('10.0.', toString(d % 7), '.XXX'), lower(hex(d)), version, cipher, if(kind = 6, 'X25519MLKEM768', if(kind IN (0, 2), '', 'x25519')), if(kind IN (5, 6), 'ECDSA', 'RSA'),
  concat('t', toString(kind)), concat('["', version, '"]'), concat('["', cipher, '"]'), 20000 + h % 1000, if(ended, h % 90000000, 0), if(ended, 3, 0),
  multiIf(not ended, '', d % 12 = 11 AND h % 2 = 1, 'taken_over', 'client_disconnect'), failing,
  multiIf(not failing, '', kind < 2, concat('offers TLS ', version, ' only'), 'offers no recommended suite'),
  if(d % 2 = 0 AND not refused, concat('ca-', toString(d % 3)), ''), if(d % 2 = 0 AND not refused, if(d % 30 = 0, 1, intDiv(d, 2) + 1), 0)
FROM numbers(14400)`,
	`INSERT INTO {db}.MetricSamples (TimeGenerated, Hub, Node, MetricName, Total, Count, Minimum, Maximum)
SELECT toStartOfMinute({now}) - toIntervalMinute(minute), ['alpha','beta','gamma'][hub + 1], concat('node-', toString(node)), metric,
  if(metric = 'connectedDeviceCount', 60 * (30 + 7 * hub + node), 100 + minute % 3), if(metric = 'connectedDeviceCount', 60, 1), 0, 120
FROM (SELECT arrayJoin(range(240)) AS minute, arrayJoin([0, 1, 2]) AS hub, arrayJoin([0, 1]) AS node,
  arrayJoin(['connectedDeviceCount', 'd2c.telemetry.ingress.allProtocol', 'd2c.telemetry.ingress.success']) AS metric)
WHERE hub < 2 OR minute > 30 -- gamma has fallen silent`,
	`INSERT INTO {db}.PipelineSamples (TimeGenerated, Node, MetricName, Service, MetricType, UnitName, Reason, Total, Count, Minimum, Maximum)
SELECT toStartOfMinute({now}) - toIntervalMinute(minute), concat('collector-', toString(node)), metric, 'collector', 'Counter',
  if(metric LIKE '%_seconds', 'Seconds', 'Count'), if(metric LIKE '%rejected%', 'malformed', ''), 1000 + minute, 10, 1, 50 + minute
FROM (SELECT arrayJoin(range(240)) AS minute, arrayJoin([0, 1]) AS node,
  arrayJoin(['hubscope_collector_rows_total', 'hubscope_publisher_events_total', 'hubscope_collector_rejected_total', 'hubscope_collector_missed_total',
    'hubscope_publisher_dropped_total', 'hubscope_collector_lag_age_seconds', 'hubscope_collector_block_duration_seconds']) AS metric)`,
	`INSERT INTO {db}.QueryLog (TimeGenerated, User, Client, State, Rollup, DurationMs, Node, Text)
SELECT {now} - toIntervalSecond(number * 40), 'grafana', if(number % 4 = 0, 'Grafana alerting', 'Grafana'), ['Completed','Completed','Completed','Failed','Throttled'][number % 5 + 1],
  ['','ConnectionsBy5m','DeviceDays'][number % 3 + 1], 10 + number % 100, concat('serve-', toString(number % 2)), 'Devices'
FROM numbers(500)`,
}

// lasts are the devices by their newest events, as the figures' SQL has them. The
// newest is the last in the hub's own order, wherever the range ends.
const lasts = `(SELECT Hub, DeviceId, min(TimeGenerated) AS First, argMax(TimeGenerated, Sequence) AS Last, argMax(TlsVersion, Sequence) AS Tls, argMax(TlsCipher, Sequence) AS Suite,
  argMax(WouldFailStrict, Sequence) AS Fails, argMax(StrictReason, Sequence) AS Reason, argMax(Protocol, Sequence) AS P, argMax(SdkVersion, Sequence) AS Sdk,
  argMax(CaName, Sequence) AS Ca, argMax(AuthType, Sequence) AS Auth, argMax(CertId, Sequence) AS Cert, argMax(Ja4, Sequence) AS Print
FROM {db}.Connections WHERE DeviceId != '' GROUP BY Hub, DeviceId
HAVING Last >= {from} AND {hub} AND {group:DeviceId} AND {protocol:P} AND {version:Tls})`

const events = `(SELECT *, if(DeviceId = '', ClaimedDeviceId, DeviceId) AS Claimed FROM {db}.Connections
WHERE TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub} AND {protocol:Protocol} AND {version:TlsVersion})`

const proven = `(SELECT * FROM {db}.Connections
WHERE TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub} AND {protocol:Protocol} AND {group:DeviceId} AND {version:TlsVersion})`

// figures are panels whose numbers are known another way: by SQL on the tables
// themselves. Rates are compared as the number of events that they are of.
var figures = []struct {
	dashboard, panel string
	sql              string
	rate             bool
	// only are the columns that are compared; all when empty.
	only []string
}{
	{dashboard: "tls-compliance", panel: "Compliant devices", sql: "SELECT floor(10000 * countIf(not Fails) / count()) / 100 FROM " + lasts + " HAVING count() > 0"},
	{dashboard: "tls-compliance", panel: "Legacy devices", sql: "SELECT countIf(Tls IN ('1.0', '1.1')) FROM " + lasts + " HAVING count() > 0"},
	{dashboard: "tls-compliance", panel: "Weak-suite devices", sql: "SELECT countIf(Fails AND Tls NOT IN ('1.0', '1.1')) FROM " + lasts + " HAVING count() > 0"},
	{dashboard: "tls-compliance", panel: "Connects a minute", sql: "SELECT countIf(OperationName = 'deviceConnect') / {minutes} FROM " + proven},
	{dashboard: "tls-compliance", panel: "Newest event", sql: `SELECT if(count() = 0, NULL, toUnixTimestamp64Micro({now}) - toUnixTimestamp64Micro(max(TimeGenerated))) / 1000000
FROM {db}.Connections WHERE TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub}`},
	{dashboard: "tls-compliance", panel: "Verdict on the devices seen in the range",
		sql: "SELECT count(), countIf(not Fails), countIf(Fails), countIf(Fails AND Last < {now} - INTERVAL 7 DAY) FROM " + lasts + " HAVING count() > 0"},
	{dashboard: "tls-compliance", panel: "Reasons", sql: "SELECT Reason, count(), max(Tls), max(Last) FROM " + lasts + " WHERE Fails GROUP BY Reason"},
	{dashboard: "tls-compliance", panel: "By hub", sql: "SELECT Hub, countIf(not Fails), countIf(Fails) FROM " + lasts + " GROUP BY Hub"},
	{dashboard: "tls-compliance", panel: "By device group", sql: "SELECT splitByChar('-', DeviceId)[1], countIf(not Fails), countIf(Fails) FROM " + lasts + " GROUP BY 1"},
	{dashboard: "tls-compliance", panel: "Devices that would be refused", only: []string{"Device", "Hub", "Reason", "TLS", "Suite"},
		sql: "SELECT DeviceId, Hub, Reason, Tls, Suite FROM " + lasts + " WHERE Fails"},
	{dashboard: "tls-compliance", panel: "By SDK", sql: "SELECT if(Sdk = '', '(names none)', Sdk), count(), max(Last) FROM " + lasts + " WHERE Fails GROUP BY 1"},
	{dashboard: "tls-compliance", panel: "By owner", sql: "SELECT if(Ca = '', concat('(', Auth, ')'), Ca), Hub, count(), max(Last) FROM " + lasts + " WHERE Fails GROUP BY 1, 2"},
	{dashboard: "tls-compliance", panel: "Devices that would be refused, by day", sql: `SELECT toStartOfDay(TimeGenerated, 'UTC'), uniqExactIf(DeviceId, TlsVersion IN ('1.0', '1.1')), uniqExactIf(DeviceId, TlsVersion NOT IN ('1.0', '1.1'))
FROM ` + proven + ` WHERE WouldFailStrict AND OperationName IN ('deviceConnect', 'deviceDisconnect') GROUP BY 1`},
	{dashboard: "tls-compliance", panel: "Devices by TLS version and day", sql: `SELECT toStartOfDay(TimeGenerated, 'UTC'), uniqExactIf(DeviceId, TlsVersion = '1.0'), uniqExactIf(DeviceId, TlsVersion = '1.1'),
  uniqExactIf(DeviceId, TlsVersion = '1.2'), uniqExactIf(DeviceId, TlsVersion = '1.3') FROM ` + proven + ` WHERE OperationName IN ('deviceConnect', 'deviceDisconnect') GROUP BY 1`},
	{dashboard: "tls-compliance", panel: "New devices that would be refused", only: []string{"Device", "Hub", "First seen"},
		sql: "SELECT DeviceId, Hub, First FROM " + lasts + " WHERE Fails AND First >= {from}"},
	{dashboard: "tls-compliance", panel: "Repaired in the last 7 days", only: []string{"Device", "Hub"}, sql: `SELECT DeviceId, Hub FROM ` + lasts + ` AS l WHERE not Fails
AND (Hub, DeviceId) IN (SELECT Hub, DeviceId FROM ` + proven + ` WHERE WouldFailStrict AND DeviceId != '')`},
	{dashboard: "tls-compliance", panel: "Already refused by hubs that enforce, last 24 hours", only: []string{"Hub", "Code", "Attempts", "Addresses"},
		sql: "SELECT Hub, ResultSignature, count(), uniqExact(IpHash) FROM " + events + " WHERE OperationName = 'connectionRefused' AND WouldFailStrict AND {group:ClaimedDeviceId} GROUP BY Hub, ResultSignature, StrictReason"},

	{dashboard: "tls-ciphers", panel: "Devices, by key exchange and cipher", sql: `SELECT countIf(Suite LIKE 'TLS_RSA_%'), countIf(position(Suite, '_CBC_') > 0),
  countIf(match(Suite, '_GCM_|_CCM|_POLY1305')), countIf(Tls = '1.3') FROM ` + lasts + " HAVING count() > 0"},
	{dashboard: "tls-ciphers", panel: "Connects with a post-quantum group", sql: "SELECT if(count() = 0, NULL, 100 * countIf(TlsGroup = 'X25519MLKEM768') / count()) FROM " + proven + " WHERE OperationName = 'deviceConnect'"},
	{dashboard: "tls-ciphers", panel: "Devices by suite", sql: "SELECT Suite, count() FROM " + lasts + " WHERE Suite != '' GROUP BY Suite"},
	{dashboard: "tls-ciphers", panel: "Connects by suite", rate: true, sql: "SELECT TlsCipher, count() FROM " + proven + " WHERE OperationName = 'deviceConnect' GROUP BY TlsCipher"},
	{dashboard: "tls-ciphers", panel: "Suite by version", sql: "SELECT Suite, countIf(Tls = '1.0'), countIf(Tls = '1.1'), countIf(Tls = '1.2'), countIf(Tls = '1.3') FROM " + lasts + " WHERE Suite != '' GROUP BY Suite"},
	{dashboard: "tls-ciphers", panel: "Key exchange", sql: "SELECT countIf(Tls = '1.3'), countIf(Suite LIKE 'TLS_ECDHE_%'), countIf(Suite LIKE 'TLS_DHE_%'), countIf(Suite LIKE 'TLS_RSA_%') FROM " + lasts + " WHERE Suite != '' HAVING count() > 0"},
	{dashboard: "tls-ciphers", panel: "Cipher mode", sql: `SELECT countIf(match(Suite, '_GCM_|_CCM|_POLY1305')), countIf(match(Suite, '_CBC_SHA(256|384)$')), countIf(Suite LIKE '%\_CBC\_SHA'),
  countIf(not match(Suite, '_CBC_|_GCM_|_CCM|_POLY1305')) FROM ` + lasts + " WHERE Suite != '' HAVING count() > 0"},
	{dashboard: "tls-ciphers", panel: "TLS stacks (JA4)", only: []string{"JA4", "Devices", "Would be refused", "Best TLS", "SDKs"},
		sql: "SELECT Print, count(), countIf(Fails), max(Tls), uniqExactIf(Sdk, Sdk != '') FROM " + lasts + " WHERE Print != '' GROUP BY Print"},
	{dashboard: "tls-ciphers", panel: "Devices that offer only weak suites", only: []string{"Device", "Hub"}, sql: "SELECT DeviceId, Hub FROM " + lasts + " WHERE Fails AND Tls NOT IN ('1.0', '1.1')"},

	{dashboard: "connections", panel: "Connected now", sql: `SELECT sum(n) FROM (SELECT Hub, TimeGenerated, sum(Total / Count) AS n FROM {db}.MetricSamples
WHERE MetricName = 'connectedDeviceCount' AND TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub} GROUP BY Hub, TimeGenerated ORDER BY TimeGenerated DESC LIMIT 1 BY Hub) HAVING count() > 0`},
	{dashboard: "connections", panel: "Devices seen", sql: "SELECT count() FROM " + lasts},
	{dashboard: "connections", panel: "Attempts that succeed", sql: "SELECT if(count() = 0, NULL, 100 * countIf(OperationName = 'deviceConnect') / count()) FROM " + events + " WHERE OperationName IN ('deviceConnect', 'connectionRefused') AND {group:Claimed}"},
	{dashboard: "connections", panel: "Connects a minute", sql: "SELECT countIf(OperationName = 'deviceConnect') / {minutes} FROM " + proven},
	{dashboard: "connections", panel: "Restless devices", sql: "SELECT countIf(n > 30 * {minutes} / 60) FROM (SELECT count() AS n FROM " + proven + " WHERE OperationName = 'deviceConnect' GROUP BY Hub, DeviceId)"},
	{dashboard: "connections", panel: "Connects, disconnects and refusals", rate: true,
		sql: "SELECT countIf(OperationName = 'deviceConnect'), countIf(OperationName = 'deviceDisconnect'), countIf(OperationName = 'connectionRefused') FROM " + events + " WHERE {group:Claimed}"},
	{dashboard: "connections", panel: "Connects by protocol", rate: true, sql: "SELECT Protocol, count() FROM " + proven + " WHERE OperationName = 'deviceConnect' GROUP BY Protocol"},
	{dashboard: "connections", panel: "Connects by authentication", rate: true, sql: "SELECT AuthType, count() FROM " + proven + " WHERE OperationName = 'deviceConnect' GROUP BY AuthType"},
	{dashboard: "connections", panel: "Telemetry", rate: true, sql: `SELECT sumIf(Total, MetricName LIKE '%allProtocol'), sumIf(Total, MetricName LIKE '%success') FROM {db}.MetricSamples
WHERE MetricName LIKE 'd2c.telemetry.%' AND TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub}`},
	{dashboard: "connections", panel: "Error codes", sql: "SELECT ResultType, ResultSignature, OperationName, Stage, Hub, count() FROM " + events + " WHERE ResultType != '' AND {group:Claimed} GROUP BY ALL"},
	{dashboard: "connections", panel: "Refusals by code", rate: true, sql: "SELECT ResultSignature, count() FROM " + events + " WHERE OperationName = 'connectionRefused' AND {group:Claimed} GROUP BY ResultSignature"},
	{dashboard: "connections", panel: "Why sessions end", rate: true, sql: "SELECT DisconnectReason, count() FROM " + proven + " WHERE OperationName = 'deviceDisconnect' GROUP BY DisconnectReason"},
	{dashboard: "connections", panel: "How long sessions last", only: []string{"Sessions"}, sql: `SELECT count() FROM ` + proven + ` WHERE OperationName = 'deviceDisconnect'
GROUP BY multiIf(DurationMs < 1000, 1, DurationMs < 10000, 2, DurationMs < 60000, 3, DurationMs < 600000, 4, DurationMs < 3600000, 5, DurationMs < 86400000, 6, 7)`},
	{dashboard: "connections", panel: "Networks", sql: "SELECT MaskedIpAddress, count(), uniqExactIf(DeviceId, DeviceId != ''), uniqExact(IpHash), countIf(OperationName = 'connectionRefused') FROM " + events + " WHERE {group:Claimed} GROUP BY MaskedIpAddress"},

	{dashboard: "identity-and-certs", panel: "Client certificates that expire", sql: `SELECT countIf(Days < 0), countIf(Days >= 0 AND Days <= 30), countIf(Days >= 0 AND Days <= 60), countIf(Days >= 0 AND Days <= 90)
FROM (SELECT (toUnixTimestamp(toStartOfHour(CertNotAfter)) - toUnixTimestamp(toStartOfHour({now}))) / 86400 AS Days FROM ` + lasts + ` AS l INNER JOIN {db}.Certificates AS c ON c.CertId = l.Cert) HAVING count() > 0`},
	{dashboard: "identity-and-certs", panel: "Failed authentications", sql: "SELECT count() FROM " + events + " WHERE OperationName = 'connectionRefused' AND Stage = 'auth' AND {group:ClaimedDeviceId}"},
	{dashboard: "identity-and-certs", panel: "Take-overs", sql: "SELECT count() FROM " + proven + " WHERE DisconnectReason = 'taken_over'"},
	{dashboard: "identity-and-certs", panel: "Shared certificates", sql: "SELECT countIf(n > 1) FROM (SELECT count() AS n FROM " + lasts + " WHERE Cert != 0 GROUP BY Cert) HAVING count() > 0"},
	{dashboard: "identity-and-certs", panel: "Devices by method", sql: "SELECT countIf(Auth = 'x509Ca'), countIf(Auth = 'x509Thumbprint'), countIf(Auth = 'sas'), countIf(Auth NOT IN ('x509Ca', 'x509Thumbprint', 'sas')) FROM " + lasts + " HAVING count() > 0"},
	{dashboard: "identity-and-certs", panel: "Devices by method and day", sql: `SELECT toStartOfDay(TimeGenerated, 'UTC'), uniqExactIf(DeviceId, AuthType = 'x509Ca'), uniqExactIf(DeviceId, AuthType = 'x509Thumbprint'), uniqExactIf(DeviceId, AuthType = 'sas')
FROM ` + proven + ` WHERE OperationName IN ('deviceConnect', 'deviceDisconnect') GROUP BY 1`},
	{dashboard: "identity-and-certs", panel: "When certificates expire", only: []string{"Devices"}, sql: `SELECT count() FROM (SELECT (toUnixTimestamp(toStartOfHour(CertNotAfter)) - toUnixTimestamp(toStartOfHour({now}))) / 86400 AS Days FROM ` + lasts + ` AS l
INNER JOIN {db}.Certificates AS c ON c.CertId = l.Cert) GROUP BY multiIf(Days < 0, 0, Days <= 7, 1, Days <= 30, 2, Days <= 60, 3, Days <= 90, 4, Days <= 180, 5, Days <= 365, 6, 7)`},

	{dashboard: "identity-and-certs", panel: "Issuers", sql: `SELECT Ca, CertIssuer, count(), min(CertNotAfter) FROM ` + lasts + ` AS l INNER JOIN {db}.Certificates AS c ON c.CertId = l.Cert GROUP BY Ca, CertIssuer`},
	{dashboard: "identity-and-certs", panel: "Next to expire", only: []string{"Device", "Hub", "Expires", "CA"}, sql: `SELECT DeviceId, Hub, CertNotAfter, Ca FROM ` + lasts + ` AS l INNER JOIN {db}.Certificates AS c ON c.CertId = l.Cert`},
	{dashboard: "identity-and-certs", panel: "Certificates that several devices use", only: []string{"Thumbprint", "Devices"},
		sql: `SELECT CertThumbprint, count() FROM ` + lasts + ` AS l INNER JOIN {db}.Certificates AS c ON c.CertId = l.Cert GROUP BY CertThumbprint HAVING count() > 1`},

	{dashboard: "pipeline", panel: "Oldest event that waits", sql: `SELECT max(Maximum) / 1000000 FROM {db}.PipelineSamples
WHERE MetricName = 'hubscope_collector_lag_age_seconds' AND TimeGenerated >= {from} AND TimeGenerated < {to} HAVING count() > 0`},
	{dashboard: "pipeline", panel: "Lost", sql: `SELECT sum(Total) FROM {db}.PipelineSamples WHERE MetricName IN ('hubscope_publisher_dropped_total', 'hubscope_collector_missed_total')
AND TimeGenerated >= {from} AND TimeGenerated < {to} HAVING count() > 0`},
	{dashboard: "pipeline", panel: "Rejected", sql: `SELECT sum(Total) FROM {db}.PipelineSamples WHERE MetricName = 'hubscope_collector_rejected_total'
AND TimeGenerated >= {from} AND TimeGenerated < {to} HAVING count() > 0`},
	{dashboard: "pipeline", panel: "Rows stored a minute", sql: `SELECT sum(Total) / {minutes} FROM {db}.PipelineSamples WHERE MetricName = 'hubscope_collector_rows_total'
AND TimeGenerated >= {from} AND TimeGenerated < {to} HAVING count() > 0`},
	{dashboard: "pipeline", panel: "Events in and out", rate: true, sql: `SELECT sumIf(Total, MetricName = 'hubscope_publisher_events_total'), sumIf(Total, MetricName = 'hubscope_collector_rows_total') FROM {db}.PipelineSamples
WHERE MetricName IN ('hubscope_publisher_events_total', 'hubscope_collector_rows_total') AND TimeGenerated >= {from} AND TimeGenerated < {to}`},
	{dashboard: "pipeline", panel: "Rejected by reason", rate: true, sql: `SELECT Reason, sum(Total) FROM {db}.PipelineSamples WHERE MetricName = 'hubscope_collector_rejected_total' AND TimeGenerated >= {from} AND TimeGenerated < {to} GROUP BY Reason`},
	{dashboard: "pipeline", panel: "Freshness by hub", only: []string{"Hub", "Node", "Events", "Newest event"}, sql: `SELECT Hub, Node, count(), max(TimeGenerated) FROM {db}.Connections
WHERE TimeGenerated >= {from} AND TimeGenerated < {to} AND {hub} GROUP BY Hub, Node`},
	{dashboard: "pipeline", panel: "Queries by outcome", rate: true, sql: `SELECT countIf(State = 'Completed'), countIf(State = 'Failed'), countIf(State = 'Cancelled'), countIf(State = 'Throttled') FROM {db}.QueryLog
WHERE TimeGenerated >= {from} AND TimeGenerated < {to}`},
	{dashboard: "pipeline", panel: "Answered from", sql: `SELECT countIf(Rollup LIKE 'ConnectionsBy%'), countIf(Rollup LIKE 'Device%'), countIf(Rollup = '') FROM {db}.QueryLog
WHERE State = 'Completed' AND TimeGenerated >= {from} AND TimeGenerated < {to} HAVING count() > 0`},
	{dashboard: "pipeline", panel: "Alert rule evaluations", rate: true, sql: `SELECT countIf(State = 'Completed'), countIf(State != 'Completed') FROM {db}.QueryLog
WHERE Client = 'Grafana alerting' AND TimeGenerated >= {from} AND TimeGenerated < {to}`},
}

// A look is what somebody chose at the top of a dashboard. In the first one every
// figure is something, in the last one there is nothing.
type look struct {
	name                    string
	from, to                time.Duration // before now
	absolute                bool          // overrides of panels do not hold then
	hubs, groups, protocols []string      // all when nil
	versions                []string      // by an ad hoc filter
}

var looks = []look{
	{name: "30 days, everything", from: 30 * 24 * time.Hour},
	{name: "5 minutes, everything", from: 5 * time.Minute},
	{name: "24 hours, one hub", from: 24 * time.Hour, hubs: []string{"beta"}},
	{name: "7 days, two hubs", from: 7 * 24 * time.Hour, hubs: []string{"alpha", "gamma"}},
	{name: "90 days, one group", from: 90 * 24 * time.Hour, groups: []string{"meter"}},
	{name: "30 days, two protocols of one hub", from: 30 * 24 * time.Hour, hubs: []string{"gamma"}, protocols: []string{"Mqtt", "Https"}},
	{name: "24 hours, a filter", from: 24 * time.Hour, versions: []string{"1.0"}},
	{name: "some days of the past", from: 40 * 24 * time.Hour, to: 19*24*time.Hour + 3*time.Hour, absolute: true},
	{name: "a hub without data", from: 30 * 24 * time.Hour, hubs: []string{"no-such-hub"}},
	{name: "a time without data, and a hub", from: 300 * 24 * time.Hour, to: 299 * 24 * time.Hour, absolute: true, hubs: []string{"no-such-hub"}},
}

// TestFigures: on a store whose content is known, every number of a dashboard
// that somebody acts on is what SQL on the same events says, whatever is chosen,
// and no panel fails.
func TestFigures(t *testing.T) {
	h := remember(t)
	list := read(t)
	known := map[string]bool{}
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			for _, d := range list {
				v := visit(d, nil, h.now)
				for name, chosen := range map[string][]string{"hub": l.hubs, "deviceGroup": l.groups, "protocol": l.protocols} {
					if _, ok := v.variables[name]; ok && chosen != nil {
						v.variables[name] = ds.Variable{Multi: true, Values: chosen}
					}
				}
				if _, ok := v.variables["device"]; ok {
					v.variables["device"] = ds.Variable{Values: ds.Values{"pump-0024"}}
				}
				if l.versions != nil && slices.ContainsFunc(d.Templating.List, func(v Variable) bool { return v.Type == "adhoc" }) {
					v.filters = []ds.Filter{{Key: "TlsVersion", Operator: "=|", Values: l.versions}}
				}
				for _, q := range d.questions(t) {
					known[d.UID+": "+title(q)] = true
					compare(t, h, v, q, l)
				}
			}
		})
	}
	for _, f := range figures {
		if !known[f.dashboard+": "+f.panel] {
			t.Errorf("dashboard %s has no panel %q", f.dashboard, f.panel)
		}
	}
}

func title(q question) string {
	if q.panel == nil {
		return ""
	}
	return q.panel.Title
}

// compare runs a query, and what its figure says of it.
func compare(t *testing.T, h *history, v *visitor, q question, l look) {
	t.Helper()
	_, least := q.span(t, v.dashboard)
	length := l.from - l.to
	if q.panel != nil && q.panel.TimeFrom != "" && !l.absolute {
		length = age(t, q.panel.TimeFrom)
	}
	interval := length / points
	if q.panel != nil && q.panel.Interval != "" {
		interval = max(interval, least)
	}
	to := h.now.Add(-l.to)
	r := backend.TimeRange{From: to.Add(-length), To: to}
	var m ds.Model
	if err := json.Unmarshal(v.model(t, q), &m); err != nil {
		t.Fatal(err)
	}
	x, err := ds.Expand(m, r, interval, points, false)
	if err != nil {
		t.Fatalf("%s: %v", q.where, err)
	}
	columns, rows, err := h.ask(t.Context(), query.Request{Text: x.Text, Now: h.now, Start: r.From, End: r.To})
	if err != nil {
		t.Errorf("%s: %v\n%s", q.where, err, x.Text)
		return
	}
	// What has words for nothing does not show a nought.
	if q.panel != nil && l.name == looks[len(looks)-1].name && (q.panel.Type == "stat" || q.panel.Type == "piechart") && strings.HasPrefix(q.panel.FieldConfig.Defaults.NoValue, "no ") {
		for _, row := range rows {
			if slices.ContainsFunc(row, func(v any) bool { return v != nil }) {
				t.Errorf("%s: shows %v, not %q", q.where, row, q.panel.FieldConfig.Defaults.NoValue)
			}
		}
	}
	for _, f := range figures {
		if q.panel == nil || f.dashboard != v.dashboard.UID || f.panel != q.panel.Title {
			continue
		}
		if limit := regexp.MustCompile(`\| (?:top|take) (\d+)`).FindStringSubmatch(q.Query); limit != nil {
			if n, _ := strconv.Atoi(limit[1]); len(rows) >= n && n > 1 {
				t.Fatalf("%s: %d rows are as many as it shows", q.where, n)
			}
		}
		choice := func(column string, chosen []string) string {
			if chosen == nil {
				return "true"
			}
			return column + " IN ('" + strings.Join(chosen, "', '") + "')"
		}
		sql := strings.NewReplacer("{db}", embed.Database, "{now}", timeSQL(h.now), "{from}", timeSQL(r.From), "{to}", timeSQL(r.To),
			"{minutes}", strconv.FormatFloat(length.Minutes(), 'f', -1, 64), "{hub}", choice("Hub", l.hubs)).Replace(f.sql)
		sql = regexp.MustCompile(`\{(group|protocol|version):(\w+)\}`).ReplaceAllStringFunc(sql, func(s string) string {
			switch kind, column, _ := strings.Cut(strings.Trim(s, "{}"), ":"); kind {
			case "group":
				return choice("splitByChar('-', "+column+")[1]", l.groups)
			case "protocol":
				return choice(column, l.protocols)
			default:
				return choice(column, l.versions)
			}
		})
		want := lines(h.sql(t, sql))
		var got []string
		switch {
		case f.rate:
			got = lines(totals(rows, x.Interval))
		case f.only != nil:
			got = lines(pick(t, columns, rows, f.only))
		default:
			got = lines(rows)
		}
		nothing := strings.Trim(strings.Join(want, ""), "0 -") == ""
		if nothing && l.name == looks[0].name {
			t.Errorf("%s: its figure is nothing, which any query shows\n%s", q.where, sql)
		}
		if nothing && len(got) == 0 && f.rate {
			continue // no point, where SQL counts none
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: shows\n  %s\nand not, as the events say,\n  %s\n%s\n%s", q.where, strings.Join(got, "\n  "), strings.Join(want, "\n  "), x.Text, sql)
		}
	}
}

// ask runs KQL.
func (h *history) ask(ctx context.Context, req query.Request) (columns []string, rows [][]any, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req.Limits.Time = 5 * time.Minute
	res, err := h.engine.Query(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Close()
	for _, c := range res.Columns {
		columns = append(columns, c.Name)
	}
	for {
		b, err := res.Next()
		if err == io.EOF {
			return columns, rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range b.Rows {
			row := make([]any, len(columns))
			for c := range row {
				row[c] = b.Columns[c].Value(i)
			}
			rows = append(rows, row)
		}
	}
}

// sql runs SQL.
func (h *history) sql(t *testing.T, text string) [][]any {
	t.Helper()
	res, err := h.conn.Query(t.Context(), "SELECT toJSONString(tuple(*)) FROM (\n"+text+"\n) SETTINGS output_format_json_quote_64bit_integers = 0")
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	defer res.Close()
	var rows [][]any
	for res.Next() {
		var line string
		if err := res.Scan(&line); err != nil {
			t.Fatal(err)
		}
		var row []any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		rows = append(rows, row)
	}
	if err := res.Err(); err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return rows
}

// pick keeps some columns.
func pick(t *testing.T, columns []string, rows [][]any, names []string) (picked [][]any) {
	t.Helper()
	for _, row := range rows {
		var part []any
		for _, name := range names {
			i := slices.Index(columns, name)
			if i < 0 {
				t.Fatalf("no column %q in %q", name, columns)
			}
			part = append(part, row[i])
		}
		picked = append(picked, part)
	}
	return picked
}

// totals adds up rates a minute: by the texts in a row, if it has any.
func totals(rows [][]any, interval time.Duration) (sums [][]any) {
	byName := map[string][]any{}
	for _, row := range rows {
		var name string
		var numbers []float64
		for _, v := range row {
			switch v := v.(type) {
			case string:
				name = v
			case float64:
				numbers = append(numbers, v*interval.Minutes())
			}
		}
		sum := byName[name]
		if sum == nil {
			if name != "" {
				sum = append(sum, name)
			}
			for range numbers {
				sum = append(sum, 0.0)
			}
			byName[name] = sum
		}
		for i, n := range numbers {
			sum[len(sum)-len(numbers)+i] = sum[len(sum)-len(numbers)+i].(float64) + n
		}
	}
	for _, sum := range byName {
		sums = append(sums, sum)
	}
	return sums
}

// lines writes rows so that they can be compared: in one order, times and
// numbers of any type in one form.
func lines(rows [][]any) []string {
	var list []string
	for _, row := range rows {
		var parts []string
		for _, v := range row {
			switch x := v.(type) {
			case nil:
				v = "-"
			case time.Time:
				v = x.UTC().Format("2006-01-02 15:04:05")
			case int64:
				v = number(float64(x))
			case float64:
				v = number(x)
			case string:
				if at, err := time.Parse("2006-01-02 15:04:05.9999999", x); err == nil {
					v = at.Format("2006-01-02 15:04:05")
				}
			}
			parts = append(parts, fmt.Sprint(v))
		}
		list = append(list, strings.Join(parts, "  "))
	}
	slices.SortFunc(list, cmp.Compare[string])
	return list
}

func number(x float64) string {
	if math.Abs(x-math.Round(x)) < 1e-6 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}
