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
}

// CountColumn of every rollup holds how many rows of Connections a cell stands for.
var CountColumn = Column{Name: "Count", Type: Long, ClickHouse: "UInt64", Codec: "T64, ZSTD(1)",
	Doc: "Events in the cell."}

// Rollups are the tables of counts. They outlive the events.
var Rollups = []Rollup{
	{
		Name: "ConnectionsBy5m", Bin: 5 * time.Minute,
		Doc: "Events by five minutes and what dashboards group by. Few cells: nothing that names a device.",
		// ResultSignature, Level and Stage follow from ResultType and
		// OperationName, and add no cells.
		Keys: []string{"Hub", "OperationName", "TlsVersion", "TlsCipher", "Protocol", "AuthType", "ResultType", "ResultSignature",
			"Level", "Stage", "TlsGroup", "TlsServerKey", "WouldFailStrict", "DisconnectReason"},
		Sums: []string{"Messages", "BytesIn", "BytesOut"},
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
