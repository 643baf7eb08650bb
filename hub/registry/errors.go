package registry

import (
	"errors"
	"fmt"
)

// ErrNotFound is returned for a record that does not exist.
var ErrNotFound = errors.New("not found")

// ErrExists is returned when a record to be created exists already.
var ErrExists = errors.New("exists already")

// ErrConflict is returned when a record was changed by somebody else since it
// was read, or when the given ETag is not the record's.
var ErrConflict = errors.New("changed by somebody else")

// An InvalidError says which property of a record is wrong, and how.
type InvalidError struct {
	// Property is the offending property as the user writes it, for example
	// "deviceId" or "authentication.x509Thumbprint.primaryThumbprint".
	Property string
	// Reason is the rest of the sentence.
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Property, e.Reason) }

func invalid(property, format string, args ...any) error {
	return &InvalidError{Property: property, Reason: fmt.Sprintf(format, args...)}
}
