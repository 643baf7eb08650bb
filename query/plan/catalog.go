package plan

import (
	"fmt"
	"sort"
)

// Catalog is what a query can refer to: stored tables and stored functions. It
// is immutable once made and may be shared.
type Catalog struct {
	Database string
	tables   []*Table
	byName   map[string]*Table
	rollups  []*Rollup
}

// Table is a stored table as KQL sees it, and where ClickHouse keeps it.
type Table struct {
	Name    string
	Doc     string
	Columns []TableColumn
	// Source is the table or view in ClickHouse, Name if empty.
	Source string
	// Time is the column that Request.Start and End bound, Hub the one that a
	// row filter by hub acts on, Owner the one with the user whose doing a row
	// is; empty if the table has none.
	Time, Hub, Owner string
	// UpperHub says that column Hub has the names in upper case.
	UpperHub bool
	// Base are the ClickHouse tables that hold the rows when Source is a view
	// over them. Each has the hub's name in column Hub.
	Base []string
	// Final says that Source replaces rows, and is read with FINAL.
	Final bool
	// TimeKey is the ClickHouse function of Time that the primary key begins with,
	// empty if it does not begin with one.
	TimeKey string
	// Keep is for how long the table keeps its rows, in ticks; 0 is as long as its
	// rollups.
	Keep int64
	// Arrival is the stored, hidden datetime column that ingestion_time() reads,
	// empty if the table has none.
	Arrival string
	// Open says that the table may have columns that are not declared; they
	// bind as dynamic. For checking queries against tables that are not ours.
	Open bool

	index map[string]int
}

// TableColumn is a column of a stored table.
type TableColumn struct {
	Name string
	Type Type
	Doc  string
	// Nullable and LowCardinality say how ClickHouse stores it.
	Nullable, LowCardinality bool
	// Lookup, if not nil, says that the column is kept in another table.
	Lookup *Lookup
}

// Lookup is a table that holds facts once which a stored table refers to by a
// key: columns of the same names in both, which need not be queryable.
type Lookup struct {
	Source string // the ClickHouse table
	Keys   []string
	// Merge is the aggregate that makes the value of the rows of a key, "" takes it
	// from any of them.
	Merge string
}

// Rollup is a table of partial aggregates from which some aggregations over a
// stored table can be answered with equal results.
type Rollup struct {
	Table  string // the KQL table it summarizes
	Source string // the ClickHouse table
	// Dimensions maps columns of Table to columns of Source, equal in value.
	Dimensions map[string]string
	// Bucket is the column with the start of the time bucket, Time the column
	// of Table it is of, Step the bucket's width in ticks.
	Bucket, Time string
	Step         int64
	// Count is the column that holds the number of rows.
	Count string
	// Fine is a dimension that is about as fine as the table's rows, "" if none is:
	// rows of few values of it are found sooner by the table's own key.
	Fine string
	// Sums maps columns of Table to columns of Source that hold their sums.
	Sums map[string]string
	// Distinct is the string column of Table whose distinct values are counted by
	// the states in column States, "" if none is. Filled says of each row of Source
	// whether its values of that column are not empty.
	Distinct, States, Filled string
	// Finer, if not nil, is a rollup with the same dimensions and sums, and the
	// column Distinct as a dimension, whose Step divides that of this one. It has
	// what this one lacks: whole steps of its own at the ends of a range of time,
	// and what was before Options.Complete.
	Finer *Rollup
}

// NewCatalog returns a catalog of these tables. Names must be unique.
func NewCatalog(database string, tables []*Table, rollups ...*Rollup) (*Catalog, error) {
	c := &Catalog{Database: database, tables: tables, byName: make(map[string]*Table, len(tables)), rollups: rollups}
	for _, t := range tables {
		if c.byName[t.Name] != nil {
			return nil, fmt.Errorf("table %s is declared twice", t.Name)
		}
		if t.Source == "" {
			t.Source = t.Name
		}
		c.byName[t.Name] = t
		t.index = make(map[string]int, len(t.Columns))
		for i := range t.Columns {
			name := t.Columns[i].Name
			if _, dup := t.index[name]; dup {
				return nil, fmt.Errorf("table %s declares column %s twice", t.Name, name)
			}
			t.index[name] = i
		}
	}
	return c, nil
}

// Tables returns the tables in the order they were declared.
func (c *Catalog) Tables() []*Table { return c.tables }

// Rollups returns the tables of partial aggregates.
func (c *Catalog) Rollups() []*Rollup { return c.rollups }

// Table returns the table of this name, nil if there is none.
func (c *Catalog) Table(name string) *Table { return c.byName[name] }

// Column returns the index of a column, -1 if the table has none of this name.
func (t *Table) Column(name string) int {
	if i, ok := t.index[name]; ok {
		return i
	}
	return -1
}

// tableNames returns all names, sorted, for hints.
func (c *Catalog) tableNames() []string {
	names := make([]string, 0, len(c.tables))
	for _, t := range c.tables {
		names = append(names, t.Name)
	}
	sort.Strings(names)
	return names
}
