package ingest

import "time"

// IngestionTimeColumn is the stored, hidden column that KQL's ingestion_time()
// reads: when the store took the row, milliseconds.
var IngestionTimeColumn = Column{Name: "IngestionTime", Type: Datetime, ClickHouse: "DateTime64(3, 'UTC')", Codec: "T64, ZSTD(1)",
	Doc: "When the store took the row."}

// Rollup is a table of counts that Connections feeds as rows arrive. A query
// over Connections that needs nothing but these columns, in bins that are
// multiples of Bin, has the same answer from the rollup:
//
//	count()      is  sum(Count)
//	countif(p)   is  sumIf(Count, p)
//	sum(Column)  is  sum(Column), for the columns in Sums
//	dcount(D)    is  uniqMerge([DistinctColumn]), D being column Distinct
//
// Rows of one cell may stand in it several times until the store merges them,
// so that Count and Sums always have to be summed.
type Rollup struct {
	Name string
	Doc  string
	// Bin is the width of the bins that column TimeGenerated is rounded down to.
	Bin time.Duration
	// Keys are columns of Connections, with their types, in the table's order.
	Keys []string
	// Sums are long columns of Connections, added up.
	Sums []string
	// PerDevice: about as many cells as there are devices, in each bin.
	PerDevice bool
	// Distinct is the column of Connections whose distinct values the cells count,
	// "" if they do not. [FilledColumn] tells those with a value from those without.
	Distinct string
	// Finer is the rollup that has the keys and sums of this one too, in bins that
	// divide its own: what this one does not hold is read from there. A rollup with
	// a finer one came later, and may not have what was before (RollupStarts).
	Finer string
}

// CountColumn of every rollup holds how many rows of Connections a cell stands for.
var CountColumn = Column{Name: "Count", Type: Long, ClickHouse: "UInt64", Codec: "T64, ZSTD(1)",
	Doc: "Events in the cell."}

// DistinctColumn of a rollup with Distinct holds the states of ClickHouse's uniq:
// put together they give what uniq gives of all values. FilledColumn says whether
// the values of the cell are not empty: they all are or none is.
var (
	DistinctColumn = Column{Name: "Devices", ClickHouse: "AggregateFunction(uniq, String)", Codec: "NONE",
		Doc: "Distinct devices in the cell."}
	FilledColumn = Column{Name: "HasDevice", Type: Bool, ClickHouse: "Bool", Codec: "ZSTD(1)",
		Doc: "Whether the events of the cell name a device."}
)

// RollupStarts is the table that says since when the rollups with a finer one
// hold everything.
const RollupStarts = "RollupStarts"

// connectionKeys and connectionSums are what dashboards group by and add up.
// ResultSignature, Level and Stage follow from ResultType and OperationName, and
// add no cells.
var (
	connectionKeys = []string{"Hub", "OperationName", "TlsVersion", "TlsCipher", "Protocol", "AuthType", "ResultType", "ResultSignature",
		"Level", "Stage", "TlsGroup", "TlsServerKey", "WouldFailStrict", "DisconnectReason"}
	connectionSums = []string{"Messages", "BytesIn", "BytesOut"}
)

// Rollups are the tables of counts, coarser ones first. They outlive the events.
var Rollups = []Rollup{
	{
		Name: "ConnectionsByHour", Bin: time.Hour, Finer: "ConnectionsBy5m", Keys: connectionKeys, Sums: connectionSums,
		Doc: "The cells of ConnectionsBy5m by the hour: a tenth of them, for weeks and months.",
	},
	{
		Name: "ConnectionsBy5m", Bin: 5 * time.Minute, Keys: connectionKeys, Sums: connectionSums,
		Doc: "Events by five minutes and what dashboards group by. Few cells: nothing that names a device.",
	},
	{
		Name: "DevicesByDay", Bin: 24 * time.Hour, Finer: "DeviceDays", Distinct: "DeviceId",
		Doc:  "Distinct devices by day and what is the same for all events of most devices: a value that names several cells a device costs its storage again.",
		Keys: []string{"Hub", "OperationName", "TlsVersion", "TlsCipher", "Protocol", "AuthType", "WouldFailStrict", "StrictReason"},
	},
	{
		Name: "DeviceDays", Bin: 24 * time.Hour, PerDevice: true,
		Doc: "Events by day and device, those without a proven device included, for counts of distinct devices over years.",
		// All but OperationName seldom change within a day.
		Keys: []string{"Hub", "DeviceId", "OperationName", "TlsVersion", "TlsCipher", "Protocol", "AuthType", "SdkVersion",
			"WouldFailStrict", "StrictReason"},
	},
}

// ColumnNamed returns the column of [Connections] with that name, or nil.
func ColumnNamed(name string) *Column { return columnByName[name] }
