package registry

// Memory is a Store in memory, for a single process.
type Memory struct{ Store }

// NewMemory returns an empty store.
func NewMemory() *Memory { panic("soon") }
