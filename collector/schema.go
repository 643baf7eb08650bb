package collector

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hubscope/ingest"
)

// DefaultDatabase is where the tables are unless the DSN names another place.
const DefaultDatabase = "hubscope"

// Schema says how the tables are made.
type Schema struct {
	// Database that holds the tables; the DSN's when empty.
	Database string `yaml:"database"`
	// Cluster makes every definition ON CLUSTER; may be a macro, {cluster}.
	Cluster string `yaml:"cluster"`
	// Replicated takes the replicated engines. The servers then need the
	// macros {shard} and {replica}.
	Replicated bool `yaml:"replicated"`
	// EventDays is how long events are kept, RollupDays the counts and states.
	EventDays  int `yaml:"event_days"`
	RollupDays int `yaml:"rollup_days"`
}

// DefaultSchema keeps events for 400 days and counts for five years.
func DefaultSchema() Schema { return Schema{EventDays: 400, RollupDays: 1826} }

// Validate says what cannot be.
func (s Schema) Validate() error {
	switch {
	case !identifier.MatchString(s.Database):
		return fmt.Errorf("clickhouse: database %q is not an identifier", s.Database)
	case s.Cluster != "" && !clusterName.MatchString(s.Cluster):
		return fmt.Errorf("clickhouse: cluster %q is not a name", s.Cluster)
	case s.EventDays < 1 || s.RollupDays < 1:
		return fmt.Errorf("clickhouse: event_days %d, rollup_days %d: want 1 or more", s.EventDays, s.RollupDays)
	}
	return nil
}

// dedupWindow is how many inserts a table remembers by token. At one a second
// that is 2.8 hours of blocks, of which a restart repeats two.
const dedupWindow = 10000

// replicatedWindowSeconds: the default of an hour is shorter than an outage.
const replicatedWindowSeconds = 7 * 24 * 3600

// on is the ON CLUSTER clause.
func (s Schema) on() string {
	if s.Cluster == "" {
		return ""
	}
	return " ON CLUSTER '" + s.Cluster + "'"
}

func (s Schema) name(table string) string { return s.Database + "." + table }

// engine is the engine clause of a table of one of the MergeTree family, and
// settings its settings with the window of tokens.
func (s Schema) engine(family, table string, args ...string) string {
	if s.Replicated {
		args = append([]string{"'/clickhouse/tables/{shard}/" + s.Database + "/" + table + "'", "'{replica}'"}, args...)
		family = "Replicated" + family
	}
	return family + "(" + strings.Join(args, ", ") + ")"
}

func (s Schema) settings(more ...string) string {
	// Below 64 MB all columns of a part are in one file. With a file a column
	// (the default from 10 MB on) an insert of 100,000 rows takes twice the CPU.
	// Merging column by column, the default for many columns, takes twice the
	// CPU of merging rows when most columns are dictionaries.
	more = append(more, "min_bytes_for_wide_part = 67108864", "enable_vertical_merge_algorithm = 0")
	all := []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)}
	if s.Replicated {
		all = []string{fmt.Sprintf("replicated_deduplication_window = %d", dedupWindow),
			fmt.Sprintf("replicated_deduplication_window_seconds = %d", replicatedWindowSeconds)}
	}
	return strings.Join(append(all, more...), ", ")
}

func definition(c ingest.Column) string {
	d := c.Name + " " + c.ClickHouse
	if c.Codec != "" {
		d += " CODEC(" + c.Codec + ")"
	}
	return d
}

// columnList is the body of a CREATE TABLE.
func columnList(columns []string) string { return "(\n  " + strings.Join(columns, ",\n  ") + "\n)" }

// stored are the columns of table Connections that an insert fills: events'
// own, without the certificate's, then CertId.
func stored(columns []ingest.Column) []ingest.Column {
	var out []ingest.Column
	for _, c := range columns {
		if !c.Certificate {
			out = append(out, c)
		}
	}
	return append(out, ingest.CertIdColumn)
}

// certificate are the columns of table Certificates behind CertId.
func certificate(columns []ingest.Column) []ingest.Column {
	var out []ingest.Column
	for _, c := range columns {
		if c.Certificate {
			out = append(out, c)
		}
	}
	return out
}

func (s Schema) connections(columns []ingest.Column) string {
	var defs []string
	for _, c := range stored(columns) {
		defs = append(defs, definition(c))
	}
	it := ingest.IngestionTimeColumn
	defs = append(defs, fmt.Sprintf("%s %s DEFAULT now64(3) CODEC(%s)", it.Name, it.ClickHouse, it.Codec),
		"INDEX DeviceIds DeviceId TYPE bloom_filter(0.01) GRANULARITY 4")
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
PARTITION BY toYYYYMM(TimeGenerated)
ORDER BY (toStartOfHour(TimeGenerated), Hub, DeviceId, TimeGenerated)
TTL toDateTime(TimeGenerated) + INTERVAL %d DAY
SETTINGS %s`, s.name("Connections"), s.on(), columnList(defs), s.engine("MergeTree", "Connections"),
		s.EventDays, s.settings("ttl_only_drop_parts = 1"))
}

func (s Schema) certificates(columns []ingest.Column) string {
	defs := []string{definition(ingest.CertIdColumn)}
	for _, c := range certificate(columns) {
		defs = append(defs, definition(c))
	}
	// Rows of one key are equal, so it does not matter which one remains.
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
ORDER BY CertId
SETTINGS %s`, s.name("Certificates"), s.on(), columnList(defs), s.engine("ReplacingMergeTree", "Certificates"), s.settings())
}

// binExpr rounds TimeGenerated down.
func binExpr(bin time.Duration) string {
	switch bin {
	case 5 * time.Minute:
		return "toStartOfFiveMinutes(TimeGenerated)"
	case time.Hour:
		return "toStartOfHour(TimeGenerated)"
	case 24 * time.Hour:
		return "toDateTime(toStartOfDay(TimeGenerated), 'UTC')"
	default:
		panic("no bin of " + bin.String())
	}
}

func (s Schema) rollup(r ingest.Rollup) string {
	defs := []string{"TimeGenerated DateTime('UTC') CODEC(T64, ZSTD(1))"}
	for _, name := range r.Keys {
		defs = append(defs, definition(*ingest.ColumnNamed(name)))
	}
	if r.Distinct != "" {
		defs = append(defs, definition(ingest.FilledColumn))
	}
	sum := func(c ingest.Column) string {
		return fmt.Sprintf("%s SimpleAggregateFunction(sum, %s) CODEC(%s)", c.Name, c.ClickHouse, c.Codec)
	}
	defs = append(defs, sum(ingest.CountColumn))
	for _, name := range r.Sums {
		defs = append(defs, sum(*ingest.ColumnNamed(name)))
	}
	order := append([]string{"TimeGenerated"}, r.Keys...)
	if r.Distinct != "" {
		defs = append(defs, definition(ingest.DistinctColumn))
		order = append(order, ingest.FilledColumn.Name)
	}
	if r.PerDevice {
		// Years of days: a hub's report reads its own.
		order = append([]string{"Hub", "TimeGenerated"}, r.Keys[1:]...)
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
PARTITION BY toYYYYMM(TimeGenerated)
ORDER BY (%s)
TTL TimeGenerated + INTERVAL %d DAY
SETTINGS %s`, s.name(r.Name), s.on(), columnList(defs), s.engine("AggregatingMergeTree", r.Name),
		strings.Join(order, ", "), s.RollupDays, s.settings("ttl_only_drop_parts = 1"))
}

// feed is the materialized view that fills a rollup.
func (s Schema) feed(r ingest.Rollup) string {
	keys := strings.Join(r.Keys, ", ")
	if r.PerDevice {
		// Most devices have one row of a kind in a block: grouping them first
		// costs more than merging them later.
		return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT %s AS TimeGenerated, %s, toUInt64(1) AS Count
FROM (SELECT * FROM %s)`, s.name(r.Name+"Feed"), s.on(), s.name(r.Name), binExpr(r.Bin), keys, s.name("Connections"))
	}
	if r.Distinct != "" {
		return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT Bin AS TimeGenerated, %s, Filled AS %s, count() AS Count, uniqState(%s) AS %s
FROM (SELECT %s AS Bin, %s != '' AS Filled, * FROM %s)
GROUP BY Bin, %s, Filled`, s.name(r.Name+"Feed"), s.on(), s.name(r.Name), keys, ingest.FilledColumn.Name, r.Distinct, ingest.DistinctColumn.Name,
			binExpr(r.Bin), r.Distinct, s.name("Connections"), keys)
	}
	var sums strings.Builder
	for _, name := range r.Sums {
		fmt.Fprintf(&sums, ", sum(%s) AS %s", name, name)
	}
	if r.Finer != "" {
		// Fed by the rows that an insert gives to the finer one, which are few.
		return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT Bin AS TimeGenerated, %s, sum(Count) AS Count%s
FROM (SELECT %s AS Bin, * FROM %s)
GROUP BY Bin, %s`, s.name(r.Name+"Feed"), s.on(), s.name(r.Name), keys, sums.String(), binExpr(r.Bin), s.name(r.Finer), keys)
	}
	return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT Bin AS TimeGenerated, %s, count() AS Count%s
FROM (SELECT %s AS Bin, * FROM %s)
GROUP BY Bin, %s`, s.name(r.Name+"Feed"), s.on(), s.name(r.Name), keys, sums.String(), binExpr(r.Bin), s.name("Connections"), keys)
}

// rollupStarts says since when a rollup that came later holds everything. What was
// stored before its view is not in it.
func (s Schema) rollupStarts() string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s (
  Name LowCardinality(String),
  Since DateTime('UTC')
)
ENGINE = %s
ORDER BY Name
SETTINGS %s`, s.name(ingest.RollupStarts), s.on(), s.engine("ReplacingMergeTree", ingest.RollupStarts, "Since"), s.settings())
}

// rollupStart notes the start of a rollup whose view is there: the beginning of
// time if nothing was stored before, or else a bucket that begins so late that
// inserts which began without the view have ended.
func (s Schema) rollupStart(r ingest.Rollup) string {
	return fmt.Sprintf(`INSERT INTO %[1]s (Name, Since)
SELECT '%[2]s', if((SELECT count() FROM %[3]s) = 0, toDateTime(0, 'UTC'), toStartOfInterval(now('UTC') + toIntervalHour(1), toIntervalSecond(%[4]d), 'UTC') + toIntervalSecond(%[4]d))
WHERE (SELECT count() FROM %[1]s WHERE Name = '%[2]s') = 0
SETTINGS async_insert = 0`, s.name(ingest.RollupStarts), r.Name, s.name("Connections"), int64(r.Bin/time.Second))
}

// newest are the columns of Connections that DeviceStates keeps of a device's
// newest event.
var newest = []string{"TlsVersion", "TlsCipher", "OfferedVersions", "OfferedCiphers", "WouldFailStrict", "StrictReason", "Protocol",
	"AuthType", "SdkVersion", "Ja4", "MaskedIpAddress", "OperationName", "ResultType", "CaName", "CertId"}

// deviceStates holds the newest event of each device, by Version. It is a
// ReplacingMergeTree because argMax states in an AggregatingMergeTree cost five
// times as much at the insert; that is the dearest of all views as it is.
func (s Schema) deviceStates() string {
	defs := []string{definition(*ingest.ColumnNamed("Hub")), definition(*ingest.ColumnNamed("DeviceId")),
		"Version UInt64 CODEC(T64, ZSTD(1))", "LastSeen DateTime64(7, 'UTC') CODEC(T64, ZSTD(1))"}
	for _, name := range newest {
		c := ingest.CertIdColumn
		if name != c.Name {
			c = *ingest.ColumnNamed(name)
		}
		defs = append(defs, definition(c))
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
ORDER BY (Hub, DeviceId)
SETTINGS %s`, s.name("DeviceStates"), s.on(), columnList(defs), s.engine("ReplacingMergeTree", "DeviceStates", "Version"), s.settings())
}

// deviceStatesFeed fills DeviceStates. Sequence is the hub's own order of a
// device's events, in which a takeover's new connection comes after the end of
// the old one, whatever the clock said; it is made of microseconds, so that
// events of sources without one fit in between.
func (s Schema) deviceStatesFeed() string {
	return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT Hub, DeviceId, toUInt64(greatest(if(Sequence > 0, Sequence, toUnixTimestamp64Micro(TimeGenerated)), 0)) AS Version,
  TimeGenerated AS LastSeen, %s
FROM %s
WHERE DeviceId != ''`, s.name("DeviceStatesFeed"), s.on(), s.name("DeviceStates"), strings.Join(newest, ", "), s.name("Connections"))
}

// deviceFirsts holds what is the first or best of each device, which no newest
// event knows.
func (s Schema) deviceFirsts() string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
ORDER BY (Hub, DeviceId)
SETTINGS %s`, s.name("DeviceFirsts"), s.on(), columnList([]string{
		definition(*ingest.ColumnNamed("Hub")), definition(*ingest.ColumnNamed("DeviceId")),
		"FirstSeen SimpleAggregateFunction(min, DateTime64(7, 'UTC')) CODEC(T64, ZSTD(1))",
		"BestOfferedVersion SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1))",
	}), s.engine("AggregatingMergeTree", "DeviceFirsts"), s.settings())
}

func (s Schema) deviceFirstsFeed() string {
	return fmt.Sprintf(`CREATE MATERIALIZED VIEW IF NOT EXISTS %s%s TO %s AS
SELECT Hub, DeviceId, TimeGenerated AS FirstSeen, extract(OfferedVersions, '"(1\\.[0-3])"') AS BestOfferedVersion
FROM %s
WHERE DeviceId != ''`, s.name("DeviceFirstsFeed"), s.on(), s.name("DeviceFirsts"), s.name("Connections"))
}

// queryLog holds what was asked. The query services insert it, not the collector.
func (s Schema) queryLog() string { return s.log("QueryLog", ingest.QueryLog, "User", s.EventDays) }

// audit holds what was changed, as long as counts are kept: it explains them.
func (s Schema) audit() string { return s.log("Audit", ingest.Audit, "Hub", s.RollupDays) }

// log makes a table of what happened, by the hour and key.
func (s Schema) log(name string, columns []ingest.Column, key string, days int) string {
	var defs []string
	for _, c := range columns {
		defs = append(defs, definition(c))
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
PARTITION BY toYYYYMM(TimeGenerated)
ORDER BY (toStartOfHour(TimeGenerated), %s, TimeGenerated)
TTL toDateTime(TimeGenerated) + INTERVAL %d DAY
SETTINGS %s`, s.name(name), s.on(), columnList(defs), s.engine("MergeTree", name), key, days, s.settings("ttl_only_drop_parts = 1"))
}

// metricSamples holds what hub processes measure.
func (s Schema) metricSamples() string {
	return s.samples("MetricSamples", ingest.MetricColumns, s.RollupDays, "TimeGenerated", "Hub", "Node", "MetricName")
}

// pipelineSamples holds what the parts of the pipeline measure of themselves, as
// long as the events: it tells how they came. In the order of time new parts and
// merged ones have few rows in common, so that FINAL costs next to nothing.
func (s Schema) pipelineSamples() string {
	return s.samples("PipelineSamples", ingest.PipelineColumns, s.EventDays, "TimeGenerated", "MetricName")
}

// samples makes a table of measurements, added up by minute: several rows of a
// process and minute become one as they merge. The order begins with first.
func (s Schema) samples(name string, columns []ingest.Column, days int, first ...string) string {
	var defs []string
	order := first
	for _, c := range columns {
		if c.Type == ingest.Long {
			f := "sum"
			switch c.Name {
			case "Minimum":
				f = "min"
			case "Maximum":
				f = "max"
			}
			c.ClickHouse = "SimpleAggregateFunction(" + f + ", " + c.ClickHouse + ")"
		} else if !slices.Contains(order, c.Name) {
			order = append(order, c.Name)
		}
		defs = append(defs, definition(c))
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s %s
ENGINE = %s
PARTITION BY toYYYYMM(TimeGenerated)
ORDER BY (%s)
TTL toDateTime(TimeGenerated) + INTERVAL %d DAY
SETTINGS %s`, s.name(name), s.on(), columnList(defs), s.engine("AggregatingMergeTree", name),
		strings.Join(order, ", "), days, s.settings("ttl_only_drop_parts = 1"))
}

// pipelineMetrics puts the samples of a minute together. FINAL does in one pass
// over what is sorted what a GROUP BY of ten columns takes a hundred times as
// long for.
func (s Schema) pipelineMetrics() string {
	return s.view("PipelineMetrics", ingest.PipelineMetrics, fmt.Sprintf(`SELECT * EXCEPT (Total, Minimum, Maximum), if(UnitName = 'Seconds', 1000000, 1) AS Unit,
  p.Total / Unit AS Total, p.Minimum / Unit AS Minimum, p.Maximum / Unit AS Maximum, Total / Count AS Average
FROM %s AS p FINAL`, s.name("PipelineSamples")))
}

// azureMetrics puts the processes of a hub together. What each of them counts is
// added up; of the devices that are connected each process has its own, so that
// their averages are added up; the registry, whose size each process reports, is
// the same for all.
func (s Schema) azureMetrics() string {
	keys := "TimeGenerated, Hub, MetricName, TlsVersion, TlsCipher, Protocol, ResultType"
	samples := fmt.Sprintf(`SELECT %s, Node, sum(Total) AS T, sum(Count) AS C, min(Minimum) AS Least, max(Maximum) AS Most
FROM %s
GROUP BY %s, Node`, keys, s.name("MetricSamples"), keys)
	hubs := fmt.Sprintf(`SELECT %[1]s,
  MetricName = '%[2]s' AS Own, MetricName = '%[3]s' AS Same, if(MetricName = '%[4]s', 1000, 1) AS Unit,
  if(Own OR Same, max(C), sum(C)) AS Count,
  multiIf(Own, sum(T / C), Same, max(T / C), sum(T) / sum(C)) / Unit AS Average,
  Average * Count AS Total,
  if(Own, sum(Least), min(Least)) / Unit AS Minimum,
  if(Own, sum(Most), max(Most)) / Unit AS Maximum
FROM (%[5]s)
GROUP BY %[1]s`, keys, ingest.ConnectedDeviceCount, ingest.TotalDeviceCount, ingest.HandshakeDuration, samples)
	var bag []string
	for _, name := range []string{"TlsVersion", "TlsCipher", "Protocol", "ResultType"} {
		bag = append(bag, fmt.Sprintf(`if(%[1]s = '', '', concat('"%[1]s":', toJSONString(%[1]s)))`, name))
	}
	return s.view("AzureMetrics", ingest.AzureMetrics, fmt.Sprintf(`SELECT *, %s,
  'PT1M' AS TimeGrain, multiIf(MetricName = '%s', 'MilliSeconds', MetricName = '%s', 'Bytes', 'Count') AS UnitName,
  'Azure' AS SourceSystem, 'AzureMetrics' AS Type,
  concat('{', arrayStringConcat(arrayFilter(d -> d != '', [%s]), ','), '}') AS Dimensions
FROM (%s)`, azureResource, ingest.HandshakeDuration, ingest.DeviceDataUsage, strings.Join(bag, ", "), hubs))
}

// views are the KQL tables that are no tables. They have the columns of
// ingest.AzureDiagnostics and ingest.Devices, in that order.
func (s Schema) views() []string {
	return []string{s.view("AzureDiagnostics", ingest.AzureDiagnostics, s.azure()), s.view("Devices", ingest.Devices, s.devices())}
}

// view defines a view whose columns have exactly the types of the list.
func (s Schema) view(name string, columns []ingest.Column, body string) string {
	var out []string
	for _, c := range columns {
		out = append(out, fmt.Sprintf("CAST(%s, '%s') AS %s", c.Name, strings.ReplaceAll(c.ClickHouse, "'", "\\'"), c.Name))
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s%s AS\nSELECT %s\nFROM (\n%s\n)", s.name(name), s.on(), strings.Join(out, ",\n  "), body)
}

const zeroGUID = "00000000-0000-0000-0000-000000000000"

// azureResource is what Azure's tables say of a hub, its id in two spellings first.
const azureResource = "concat('/SUBSCRIPTIONS/" + zeroGUID + "/RESOURCEGROUPS/HUBSCOPE/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/', upper(Hub)) AS ResourceId, lower(ResourceId) AS _ResourceId,\n" +
	"  '' AS TenantId, '" + zeroGUID + "' AS SubscriptionId, 'HUBSCOPE' AS ResourceGroup, 'MICROSOFT.DEVICES' AS ResourceProvider, upper(Hub) AS Resource"

func (s Schema) azure() string {
	return fmt.Sprintf(`SELECT TimeGenerated,
  %s, 'IOTHUBS' AS ResourceType,
  Category, OperationName, Level, ResultType, ResultSignature, ResultDescription, DurationMs,
  MaskedIpAddress AS CallerIPAddress, toString(ConnectionId) AS CorrelationId, Node AS location_s,
  %s AS properties_s,
  'AzureDiagnostics' AS Type
FROM %s
WHERE OperationName IN ('%s', '%s', '%s')`, azureResource, azureProperties(), s.name("Connections"),
		ingest.DeviceConnect, ingest.DeviceDisconnect, ingest.ConnectionRefused)
}

// azureProperties builds Azure's properties object as text. authType is a JSON
// object as a string inside it, as Azure writes it. deviceId of a refused
// connection is the claimed one, as in Azure's log; claimedDeviceId tells them
// apart. What follows tlsVersion is ours.
func azureProperties() string {
	text := func(expr string) string { return "toJSONString(" + expr + ")" }
	auth := `concat('{"scope":"device","type":', toJSONString(AuthType), ',"issuer":', if(AuthIssuer = '', 'null', toJSONString(AuthIssuer)), ',"acceptingIpFilterRule":null}')`
	fields := []struct{ name, json string }{
		{"deviceId", text("if(DeviceId = '' AND OperationName = '" + ingest.ConnectionRefused + "', ClaimedDeviceId, DeviceId)")},
		{"moduleId", "if(ModuleId = '', 'null', toJSONString(ModuleId))"},
		{"protocol", text("Protocol")},
		{"authType", "if(AuthType = '', 'null', toJSONString(" + auth + "))"},
		{"maskedIpAddress", text("MaskedIpAddress")},
		{"sdkVersion", text("SdkVersion")},
		{"statusCode", "if(ResultType = '', 'null', toJSONString(ResultType))"},
		{"errorMessage", "if(ResultDescription = '', 'null', toJSONString(ResultDescription))"},
		{"sequenceNumber", "toString(Sequence)"},
		{"tlsVersion", text("TlsVersion")},
		{"tlsCipher", text("TlsCipher")},
		{"tlsGroup", text("TlsGroup")},
		{"claimedDeviceId", text("ClaimedDeviceId")},
		{"stage", text("Stage")},
		{"disconnectReason", text("DisconnectReason")},
		{"wouldFailStrict", "if(WouldFailStrict, 'true', 'false')"},
		{"strictReason", text("StrictReason")},
		{"ja4", text("Ja4")},
		{"offeredVersions", "if(OfferedVersions = '', '[]', OfferedVersions)"},
		{"offeredCiphers", "if(OfferedCiphers = '', '[]', OfferedCiphers)"},
	}
	var parts []string
	for i, f := range fields {
		open := `,"`
		if i == 0 {
			open = `{"`
		}
		parts = append(parts, "'"+open+f.name+`":'`, f.json)
	}
	return "concat(" + strings.Join(append(parts, "'}'"), ", ") + ")"
}

func (s Schema) devices() string {
	states := []string{"Hub", "DeviceId", "LastSeen"}
	for _, name := range newest {
		if name != ingest.CertIdColumn.Name {
			states = append(states, name)
		}
	}
	for i, name := range states {
		states[i] = "s." + name + " AS " + name
	}
	return fmt.Sprintf(`SELECT %s, f.FirstSeen AS FirstSeen, f.BestOfferedVersion AS BestOfferedVersion,
  c.CertThumbprint AS CertThumbprint, c.CertIssuer AS CertIssuer, c.CertNotAfter AS CertNotAfter
FROM (SELECT * FROM %s FINAL) AS s
LEFT ANY JOIN (SELECT Hub, DeviceId, min(FirstSeen) AS FirstSeen, max(BestOfferedVersion) AS BestOfferedVersion FROM %s GROUP BY Hub, DeviceId) AS f
  ON f.Hub = s.Hub AND f.DeviceId = s.DeviceId
LEFT ANY JOIN %s AS c ON c.CertId = s.CertId`, strings.Join(states, ", "), s.name("DeviceStates"), s.name("DeviceFirsts"), s.name("Certificates"))
}
