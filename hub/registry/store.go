package registry

import "context"

// A Kind is one sort of record; stores keep each in a place of its own.
type Kind string

// The kinds of records.
const (
	KindHub    Kind = "hubs"
	KindDevice Kind = "devices"
	KindCA     Kind = "cas"
	KindCRL    Kind = "crls"
	KindModule Kind = "modules" // ID is "device/module"
	KindTwin   Kind = "twins"   // ID is a device's or a module's
)

// kinds are all of them.
var kinds = []Kind{KindHub, KindDevice, KindCA, KindCRL, KindModule, KindTwin}

// A Key names a record within its kind. ID is empty for hubs.
type Key struct {
	Hub string
	ID  string
}

// A Record is what a Store keeps.
type Record struct {
	Kind  Kind
	Key   Key
	Value []byte
	// Revision grows with every change of any record of the kind.
	Revision uint64
	// Deleted marks, in a watch, that the record is gone; Value is nil.
	Deleted bool
}

// A Store keeps records with compare-and-set by revision, and carries notices
// among the processes that share it. Memory and NATS implement it. All methods are safe for concurrent use.
type Store interface {
	// Get returns ErrNotFound for a missing record.
	Get(ctx context.Context, kind Kind, key Key) (Record, error)
	// Create returns ErrExists for a record that is there.
	Create(ctx context.Context, kind Kind, key Key, value []byte) (revision uint64, err error)
	// Update replaces the record whose revision is given, or returns
	// ErrConflict (also when the record is gone).
	Update(ctx context.Context, kind Kind, key Key, value []byte, revision uint64) (uint64, error)
	// Delete removes the record whose revision is given, or returns
	// ErrConflict, or ErrNotFound when it is gone.
	Delete(ctx context.Context, kind Kind, key Key, revision uint64) error
	// List returns up to limit records of a hub (of all hubs when hub is empty)
	// in the order of their revisions, starting behind revision after. A record
	// that is changed while somebody pages is seen again, none is missed.
	List(ctx context.Context, kind Kind, hub string, after uint64, limit int) ([]Record, error)
	// Watch delivers changes made after the call to the returned channel until
	// ctx ends. Of changes of one record in quick succession only the last one is
	// certain to come. A Sync event says that changes may have been missed, for
	// instance while the connection was down: the reader must load again what
	// it remembers. The first event is always a Sync, sent when the watch stands.
	Watch(ctx context.Context) (<-chan Event, error)

	// Tell sends a notice to all who listen, in this process and in others that
	// share the store. It is not kept, and not waited for.
	Tell(notice []byte) error
	// Ask is Tell, and returns the first answer; ErrNoAnswer when there is none
	// before ctx ends.
	Ask(ctx context.Context, notice []byte) ([]byte, error)
	// Listen calls f for each notice, one at a time; f must not block. answer may
	// be called later, and does nothing when nobody has asked.
	Listen(f func(notice []byte, answer func([]byte))) (stop func(), err error)
}

// An Event is what a Store's watch delivers: a changed record, or Sync.
type Event struct {
	Record Record
	Sync   bool
}
