package main

import "time"

// question is one of a dashboard: what a user writes, and what a good ClickHouse
// engineer would write for it, on the events and on the rollup. In SQL, {from1}
// and {from30} are the time a day and 30 days before the end, {end}.
type question struct {
	name   string
	kql    string
	raw    string
	rollup string // "" where no table of counts answers it
}

// The queries of reference/ingest.md 2c, and those of the same panels that
// filter by hub and by device.
var questions = []question{
	{
		name:   "by version, 5 min bins, 24 h",
		kql:    `Connections | where TimeGenerated >= ago(1d) | summarize Count = count() by bin(TimeGenerated, 5m), TlsVersion`,
		raw:    `SELECT toStartOfFiveMinutes(TimeGenerated) AS b, TlsVersion, count() AS c FROM Connections WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) GROUP BY b, TlsVersion`,
		rollup: `SELECT TimeGenerated AS b, TlsVersion, sum(Count) AS c FROM ConnectionsBy5m WHERE TimeGenerated >= {from1} GROUP BY b, TlsVersion`,
	},
	{
		name:   "by version, 5 min bins, 30 d",
		kql:    `Connections | where TimeGenerated >= ago(30d) | summarize Count = count() by bin(TimeGenerated, 5m), TlsVersion`,
		raw:    `SELECT toStartOfFiveMinutes(TimeGenerated) AS b, TlsVersion, count() AS c FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) GROUP BY b, TlsVersion`,
		rollup: `SELECT TimeGenerated AS b, TlsVersion, sum(Count) AS c FROM ConnectionsBy5m WHERE TimeGenerated >= {from30} GROUP BY b, TlsVersion`,
	},
	{
		name:   "by version, 1 h bins, 30 d",
		kql:    `Connections | where TimeGenerated >= ago(30d) | summarize Count = count() by bin(TimeGenerated, 1h), TlsVersion`,
		raw:    `SELECT toStartOfHour(TimeGenerated) AS b, TlsVersion, count() AS c FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) GROUP BY b, TlsVersion`,
		rollup: `SELECT TimeGenerated AS b, TlsVersion, sum(Count) AS c FROM ConnectionsByHour WHERE TimeGenerated >= {from30} GROUP BY b, TlsVersion`,
	},
	{
		name: "legacy devices, 24 h",
		kql:  `Connections | where TimeGenerated >= ago(1d) and TlsVersion in ("1.0", "1.1") and isnotempty(DeviceId) | summarize Count = count(), Last = max(TimeGenerated) by Hub, DeviceId, TlsVersion`,
		raw:  `SELECT Hub, DeviceId, TlsVersion, count() AS c, max(TimeGenerated) AS last FROM Connections WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) AND TlsVersion IN ('1.0', '1.1') AND DeviceId != '' GROUP BY Hub, DeviceId, TlsVersion`,
	},
	{
		name: "legacy devices, 30 d",
		kql:  `Connections | where TimeGenerated >= ago(30d) and TlsVersion in ("1.0", "1.1") and isnotempty(DeviceId) | summarize Count = count(), Last = max(TimeGenerated) by Hub, DeviceId, TlsVersion`,
		raw:  `SELECT Hub, DeviceId, TlsVersion, count() AS c, max(TimeGenerated) AS last FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) AND TlsVersion IN ('1.0', '1.1') AND DeviceId != '' GROUP BY Hub, DeviceId, TlsVersion`,
	},
	{
		name:   "distinct legacy devices, 30 d",
		kql:    `Connections | where TimeGenerated >= ago(30d) and TlsVersion in ("1.0", "1.1") and isnotempty(DeviceId) | summarize Devices = dcount(DeviceId)`,
		raw:    `SELECT uniq(DeviceId) FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) AND TlsVersion IN ('1.0', '1.1') AND DeviceId != ''`,
		rollup: `SELECT uniqMerge(Devices) FROM (SELECT Devices FROM DevicesByDay WHERE TimeGenerated >= toStartOfDay({from30} + toIntervalSecond(86399)) AND TlsVersion IN ('1.0', '1.1') AND HasDevice UNION ALL SELECT uniqState(DeviceId) FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) AND TimeGenerated < toStartOfDay({from30} + toIntervalSecond(86399)) AND toStartOfHour(TimeGenerated) < toStartOfDay({from30} + toIntervalSecond(86399)) AND TlsVersion IN ('1.0', '1.1') AND DeviceId != '')`,
	},
	{
		name:   "legacy devices a day, 30 d",
		kql:    `Connections | where TimeGenerated >= ago(30d) and TlsVersion < "1.2" and isnotempty(DeviceId) | summarize Devices = dcount(DeviceId) by bin(TimeGenerated, 1d), Hub`,
		raw:    `SELECT toStartOfDay(TimeGenerated) AS d, Hub, uniq(DeviceId) FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) AND TlsVersion < '1.2' AND DeviceId != '' GROUP BY d, Hub`,
		rollup: `SELECT d, Hub, uniqMerge(Devices) FROM (SELECT TimeGenerated AS d, Hub, Devices FROM DevicesByDay WHERE TimeGenerated >= toStartOfDay({from30} + toIntervalSecond(86399)) AND TlsVersion < '1.2' AND HasDevice UNION ALL SELECT toStartOfDay(TimeGenerated) AS d, Hub, uniqState(DeviceId) FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) AND TimeGenerated < toStartOfDay({from30} + toIntervalSecond(86399)) AND toStartOfHour(TimeGenerated) < toStartOfDay({from30} + toIntervalSecond(86399)) AND TlsVersion < '1.2' AND DeviceId != '' GROUP BY d, Hub) GROUP BY d, Hub`,
	},
	{
		name:   "top 10 ciphers, 30 d",
		kql:    `Connections | where TimeGenerated >= ago(30d) | summarize Count = count() by TlsCipher | top 10 by Count`,
		raw:    `SELECT TlsCipher, count() AS c FROM Connections WHERE TimeGenerated >= {from30} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from30}) GROUP BY TlsCipher ORDER BY c DESC LIMIT 10`,
		rollup: `SELECT TlsCipher, sum(Count) AS c FROM ConnectionsByHour WHERE TimeGenerated >= {from30} GROUP BY TlsCipher ORDER BY c DESC LIMIT 10`,
	},
	{
		name: "history of one device",
		kql:  `Connections | where DeviceId == "pump-0150000" | sort by TimeGenerated desc | project TimeGenerated, OperationName, TlsVersion, TlsCipher, ResultType, DisconnectReason`,
		raw:  `SELECT TimeGenerated, OperationName, TlsVersion, TlsCipher, ResultType, DisconnectReason FROM Connections WHERE DeviceId = 'pump-0150000' ORDER BY TimeGenerated DESC`,
	},
	{
		name: "last connection of one device",
		kql:  `Devices | where DeviceId == "pump-0150000" | project Hub, LastSeen, TlsVersion, TlsCipher, OperationName`,
		raw:  `SELECT Hub, LastSeen, TlsVersion, TlsCipher, OperationName FROM DeviceStates FINAL WHERE DeviceId = 'pump-0150000'`,
	},
	{
		name: "last connection of all devices",
		kql:  `Devices | summarize Devices = count() by TlsVersion, TlsCipher, Hub`,
		raw:  `SELECT TlsVersion, TlsCipher, Hub, count() FROM DeviceStates FINAL GROUP BY TlsVersion, TlsCipher, Hub`,
	},
	{
		name: "newest 100 events",
		kql:  `Connections | top 100 by TimeGenerated | project TimeGenerated, Hub, DeviceId, OperationName, TlsVersion`,
		raw:  `SELECT TimeGenerated, Hub, DeviceId, OperationName, TlsVersion FROM Connections ORDER BY TimeGenerated DESC LIMIT 100`,
	},
	{
		name: "newest 100 events of an hour",
		kql:  `Connections | where TimeGenerated > ago(1h) | top 100 by TimeGenerated | project TimeGenerated, Hub, DeviceId, OperationName, TlsVersion`,
		raw:  `SELECT TimeGenerated, Hub, DeviceId, OperationName, TlsVersion FROM Connections WHERE TimeGenerated > {end} - toIntervalHour(1) AND toStartOfHour(TimeGenerated) >= toStartOfHour({end} - toIntervalHour(1)) ORDER BY TimeGenerated DESC LIMIT 100`,
	},
	{
		name: "refusals by reason, 24 h, one hub",
		kql:  `Connections | where TimeGenerated >= ago(1d) and Hub == "plant-2" and OperationName == "connectionRefused" | summarize Count = count(), Devices = dcount(ClaimedDeviceId) by ResultSignature, ResultDescription | top 20 by Count`,
		raw:  `SELECT ResultSignature, ResultDescription, count() AS c, uniq(ClaimedDeviceId) FROM Connections WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) AND Hub = 'plant-2' AND OperationName = 'connectionRefused' GROUP BY ResultSignature, ResultDescription ORDER BY c DESC LIMIT 20`,
	},
	{
		name: "SDKs with a word, 24 h",
		kql:  `Connections | where TimeGenerated >= ago(1d) and SdkVersion has "node" | summarize Count = count() by SdkVersion`,
		raw:  `SELECT SdkVersion, count() FROM Connections WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) AND hasTokenCaseInsensitive(SdkVersion, 'node') GROUP BY SdkVersion`,
	},
	{
		name: "handshake percentiles by hour, 24 h",
		kql:  `Connections | where TimeGenerated >= ago(1d) and OperationName =~ "deviceconnect" | summarize percentiles(HandshakeMicros, 50, 95) by bin(TimeGenerated, 1h), Protocol`,
		raw:  `SELECT toStartOfHour(TimeGenerated) AS b, Protocol, quantilesExactLow(0.5, 0.95)(HandshakeMicros) FROM Connections WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) AND lower(OperationName) = 'deviceconnect' GROUP BY b, Protocol`,
	},
	{
		name: "issuers of legacy devices, 24 h",
		kql:  `Connections | where TimeGenerated >= ago(1d) and WouldFailStrict | summarize Devices = dcount(DeviceId) by CertIssuer`,
		raw:  `SELECT CertIssuer, uniq(DeviceId) FROM Connections AS e LEFT ANY JOIN Certificates AS c USING (CertId) WHERE TimeGenerated >= {from1} AND toStartOfHour(TimeGenerated) >= toStartOfHour({from1}) AND WouldFailStrict GROUP BY CertIssuer`,
	},
}

// Reach of the primary key: how many rows does a filter read?
var reaches = []struct{ name, kql string }{
	{"all", `Connections | summarize max(HandshakeMicros)`},
	{"one hour", `Connections | where TimeGenerated > ago(1h) | summarize max(HandshakeMicros)`},
	{"one day", `Connections | where TimeGenerated > ago(1d) | summarize max(HandshakeMicros)`},
	{"one day, one hub", `Connections | where TimeGenerated > ago(1d) and Hub == "plant-2" | summarize max(HandshakeMicros)`},
	{"one day, one device", `Connections | where TimeGenerated > ago(1d) and DeviceId == "pump-0150000" | summarize max(HandshakeMicros)`},
	{"one day, one hub and device", `Connections | where TimeGenerated > ago(1d) and Hub == "plant-0" and DeviceId == "pump-0150000" | summarize max(HandshakeMicros)`},
	{"30 days, one device", `Connections | where DeviceId == "pump-0150000" | summarize max(HandshakeMicros)`},
	{"the same through extend, let and join", `let e = Connections | extend D = DeviceId | where TimeGenerated > ago(1d); e | where D == "pump-0150000" | join kind=inner (Devices | where DeviceId == "pump-0150000") on DeviceId | summarize max(HandshakeMicros)`},
	{"AzureDiagnostics, one hour", `AzureDiagnostics | where TimeGenerated > ago(1h) | summarize max(DurationMs)`},
}

func sqlTime(t time.Time) string {
	return "toDateTime64('" + t.UTC().Format("2006-01-02 15:04:05") + "', 7, 'UTC')"
}
