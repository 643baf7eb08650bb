package query

import "time"

// Record is what is remembered of a query after it has ended: a row of table
// QueryLog.
type Record struct {
	Time            time.Time // when it arrived
	ID              string    // in the engine
	ClientRequestID string
	User, Role      string
	Hubs            []string // row filter, nil is none
	Client          string   // the application, as it names itself
	ClientAddress   string
	Endpoint        string
	Database        string
	Text            string
	Start, End      time.Time // bounds of the request, zero for none
	State           State
	ErrorCode       string
	ErrorMessage    string
	Duration        time.Duration
	Queued          time.Duration
	Stats           Stats
	Truncated       bool
	Tables          []string
	Rollup          string
	Node            string
}

// State is how a query ended.
type State string

// The states.
const (
	StateCompleted State = "Completed"
	StateFailed    State = "Failed"
	StateCancelled State = "Cancelled"
	StateThrottled State = "Throttled"
)
