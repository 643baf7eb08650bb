package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSConfig configures a store in JetStream. The zero value is usable.
type NATSConfig struct {
	// Prefix begins the names of the buckets; "hubscope" when empty.
	Prefix string
	// Replicas is the number of copies in a cluster; 1 when zero.
	Replicas int
	// Logger gets degraded states; slog.Default() when nil.
	Logger *slog.Logger
}

const (
	// markerTTL is how long the marker of a deleted record stays. A watch that
	// was interrupted starts over, so nobody depends on it.
	markerTTL = time.Hour
	// maxInline is the largest value kept in the key-value bucket itself: NATS
	// bounds messages to 1 MiB by default. Larger ones (revocation lists) go to
	// an object store, and the record holds a reference.
	maxInline = 512 << 10
	// blobPrefix begins a reference. JSON begins with "{" and DER with "0".
	blobPrefix = "blob:"
	// listBatch is how many records one fetch brings.
	listBatch = 500
	// watchRetry is the pause before a watch that broke is set up again.
	watchRetry = time.Second
)

// NATS is a Store in JetStream: a key-value bucket for each kind, with one
// revision kept for a key, where the revision is the stream's sequence. All hubs
// of a cluster share it.
//
// The key of a record is the hub's name and, after a dot, the id, each with
// every byte outside of A-Za-z0-9_- written as "=XX".
type NATS struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	notices string // subject
	markers bool   // the server removes markers of deleted records by itself
	buckets map[Kind]jetstream.KeyValue
	blobs   jetstream.ObjectStore
}

// OpenNATS opens the registry's buckets, and makes them when they are missing.
func OpenNATS(ctx context.Context, conn *nats.Conn, config NATSConfig) (*NATS, error) {
	if config.Prefix == "" {
		config.Prefix = "hubscope"
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	s := &NATS{conn: conn, js: js, log: config.Logger, notices: config.Prefix + ".hub.notices", markers: true, buckets: map[Kind]jetstream.KeyValue{}}
	for _, kind := range kinds {
		bucket := jetstream.KeyValueConfig{
			Bucket:         config.Prefix + "_" + string(kind),
			Description:    "hubscope registry: " + string(kind),
			History:        1,
			Storage:        jetstream.FileStorage,
			Replicas:       max(1, config.Replicas),
			LimitMarkerTTL: markerTTL,
		}
		kv, err := js.CreateOrUpdateKeyValue(ctx, bucket)
		if errors.Is(err, jetstream.ErrLimitMarkerTTLNotSupported) {
			s.markers = false // a server before 2.11: markers stay
			bucket.LimitMarkerTTL = 0
			kv, err = js.CreateOrUpdateKeyValue(ctx, bucket)
		}
		if err != nil {
			return nil, fmt.Errorf("open registry bucket %s: %w", bucket.Bucket, err)
		}
		s.buckets[kind] = kv
	}
	blobs := jetstream.ObjectStoreConfig{
		Bucket:      config.Prefix + "_blobs",
		Description: "hubscope registry: values that are too large for a message",
		Storage:     jetstream.FileStorage,
		Replicas:    max(1, config.Replicas),
	}
	if s.blobs, err = js.CreateOrUpdateObjectStore(ctx, blobs); err != nil {
		return nil, fmt.Errorf("open registry bucket %s: %w", blobs.Bucket, err)
	}
	return s, nil
}

// Get implements Store.
func (s *NATS) Get(ctx context.Context, kind Kind, key Key) (Record, error) {
	e, err := s.buckets[kind].Get(ctx, encodeKey(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("get from bucket %s: %w", kind, err)
	}
	value, err := s.load(ctx, e.Value())
	if err != nil {
		return Record{}, err
	}
	return Record{Kind: kind, Key: key, Value: value, Revision: e.Revision()}, nil
}

// Create implements Store.
func (s *NATS) Create(ctx context.Context, kind Kind, key Key, value []byte) (uint64, error) {
	value, err := s.save(ctx, value)
	if err != nil {
		return 0, err
	}
	revision, err := s.buckets[kind].Create(ctx, encodeKey(key), value)
	if err != nil {
		s.drop(value)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return 0, ErrExists
		}
		return 0, fmt.Errorf("create in bucket %s: %w", kind, err)
	}
	return revision, nil
}

// Update implements Store.
func (s *NATS) Update(ctx context.Context, kind Kind, key Key, value []byte, revision uint64) (uint64, error) {
	old := s.reference(ctx, kind, key, revision)
	value, err := s.save(ctx, value)
	if err != nil {
		return 0, err
	}
	next, err := s.buckets[kind].Update(ctx, encodeKey(key), value, revision)
	if err != nil {
		if string(value) != string(old) {
			s.drop(value)
		}
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return 0, ErrConflict
		}
		return 0, fmt.Errorf("update in bucket %s: %w", kind, err)
	}
	if string(value) != string(old) {
		s.drop(old)
	}
	return next, nil
}

// Delete implements Store.
func (s *NATS) Delete(ctx context.Context, kind Kind, key Key, revision uint64) error {
	old := s.reference(ctx, kind, key, revision)
	opts := []jetstream.KVDeleteOpt{jetstream.LastRevision(revision)}
	if s.markers {
		opts = append(opts, jetstream.PurgeTTL(markerTTL))
	}
	err := s.buckets[kind].Purge(ctx, encodeKey(key), opts...)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		if _, err := s.Get(ctx, kind, key); errors.Is(err, ErrNotFound) {
			return ErrNotFound
		}
		return ErrConflict
	}
	if err != nil {
		return fmt.Errorf("delete from bucket %s: %w", kind, err)
	}
	s.drop(old)
	return nil
}

// List implements Store.
func (s *NATS) List(ctx context.Context, kind Kind, hub string, after uint64, limit int) ([]Record, error) {
	filter := ">"
	if hub != "" {
		filter = encodeToken(hub)
		if kind != KindHub {
			filter += ".*"
		}
	}
	bucket := s.buckets[kind].Bucket()
	subjects := "$KV." + bucket + "."
	consumer, err := s.js.CreateConsumer(ctx, "KV_"+bucket, jetstream.ConsumerConfig{
		Description:       "hubscope registry list",
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     subjects + filter,
		InactiveThreshold: 30 * time.Second,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", kind, err)
	}
	defer func() {
		// Otherwise the server removes it after the threshold.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.js.DeleteConsumer(ctx, "KV_"+bucket, consumer.CachedInfo().Name)
	}()

	var list []Record
	for pending := consumer.CachedInfo().NumPending; pending > 0 && len(list) < limit; {
		batch, err := consumer.Fetch(int(min(pending, listBatch, uint64(limit-len(list)))), jetstream.FetchContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", kind, err)
		}
		n := 0
		for msg := range batch.Messages() {
			n++
			meta, err := msg.Metadata()
			if err != nil {
				return nil, fmt.Errorf("list bucket %s: %w", kind, err)
			}
			pending = meta.NumPending
			if isMarker(msg.Headers()) {
				continue
			}
			key, err := decodeKey(strings.TrimPrefix(msg.Subject(), subjects))
			if err != nil {
				s.log.Warn("registry has a foreign key", "bucket", bucket, "key", msg.Subject())
				continue
			}
			value, err := s.load(ctx, msg.Data())
			if errors.Is(err, ErrNotFound) {
				continue // replaced while we were reading: it comes again with its new revision
			}
			if err != nil {
				return nil, err
			}
			list = append(list, Record{Kind: kind, Key: key, Value: value, Revision: meta.Sequence.Stream})
		}
		if err := batch.Error(); err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", kind, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n == 0 {
			break // the rest was replaced meanwhile
		}
	}
	return list, nil
}

func isMarker(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != ""
}

// Watch implements Store. The watch is set up anew, with a Sync behind it,
// whenever the connection was lost or a bucket's consumer has ended.
func (s *NATS) Watch(ctx context.Context) (<-chan Event, error) {
	out := make(chan Event, 64)
	status := s.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	w, err := s.startWatch(ctx, out)
	if err != nil {
		s.conn.RemoveStatusListener(status)
		return nil, err
	}
	go func() {
		defer close(out)
		defer s.conn.RemoveStatusListener(status)
		for {
			select {
			case <-ctx.Done():
				w.stop()
				return
			case change := <-status:
				w.stop()
				if change == nats.CLOSED {
					return
				}
			case <-w.ended:
				w.stop()
			}
			for {
				var err error
				if w, err = s.startWatch(ctx, out); err == nil {
					break
				}
				if ctx.Err() != nil {
					return
				}
				s.log.Warn("registry watch is down", "error", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(watchRetry):
				}
			}
		}
	}()
	return out, nil
}

// natsWatch is one set of watchers, one for each bucket.
type natsWatch struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when a watcher ended by itself
	once   sync.Once
	wg     sync.WaitGroup
}

func (w *natsWatch) stop() {
	w.cancel()
	w.wg.Wait()
}

func (s *NATS) startWatch(ctx context.Context, out chan<- Event) (*natsWatch, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &natsWatch{cancel: cancel, ended: make(chan struct{})}
	var watchers []jetstream.KeyWatcher
	for kind, kv := range s.buckets {
		watcher, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
		if err != nil {
			cancel()
			for _, watcher := range watchers {
				_ = watcher.Stop() // its connection is gone
			}
			return nil, fmt.Errorf("watch bucket %s: %w", kind, err)
		}
		watchers = append(watchers, watcher)
	}
	select {
	case out <- Event{Sync: true}:
	case <-ctx.Done():
	}
	kinds := make(map[string]Kind, len(s.buckets))
	for kind, kv := range s.buckets {
		kinds[kv.Bucket()] = kind
	}
	for _, watcher := range watchers {
		w.wg.Go(func() {
			defer func() { _ = watcher.Stop() }()
			for {
				select {
				case <-ctx.Done():
					return
				case entry, ok := <-watcher.Updates():
					if !ok {
						w.once.Do(func() { close(w.ended) })
						return
					}
					if entry == nil {
						continue // the end of what was there before; there is none
					}
					event, ok := s.event(ctx, kinds[entry.Bucket()], entry)
					if !ok {
						continue
					}
					select {
					case out <- event:
					case <-ctx.Done():
						return
					}
				}
			}
		})
	}
	return w, nil
}

// event turns an update of a bucket into ours. A value that cannot be loaded
// becomes a Sync, so that the reader does not go on with the old one.
func (s *NATS) event(ctx context.Context, kind Kind, entry jetstream.KeyValueEntry) (Event, bool) {
	key, err := decodeKey(entry.Key())
	if err != nil {
		s.log.Warn("registry has a foreign key", "bucket", entry.Bucket(), "key", entry.Key())
		return Event{}, false
	}
	r := Record{Kind: kind, Key: key, Revision: entry.Revision(), Deleted: entry.Operation() != jetstream.KeyValuePut}
	if !r.Deleted {
		r.Value, err = s.load(ctx, entry.Value())
		if errors.Is(err, ErrNotFound) {
			return Event{}, false // replaced or deleted since; that comes next
		}
		if err != nil {
			s.log.Warn("registry value cannot be loaded", "bucket", entry.Bucket(), "error", err)
			return Event{Sync: true}, true
		}
	}
	return Event{Record: r}, true
}

// Tell implements Store.
func (s *NATS) Tell(notice []byte) error { return s.conn.Publish(s.notices, notice) }

// Ask implements Store.
func (s *NATS) Ask(ctx context.Context, notice []byte) ([]byte, error) {
	msg, err := s.conn.RequestWithContext(ctx, s.notices, notice)
	if err == nil {
		return msg.Data, nil
	}
	if ctx.Err() != nil || errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNoAnswer
	}
	return nil, fmt.Errorf("ask other processes: %w", err)
}

// Listen implements Store.
func (s *NATS) Listen(f func(notice []byte, answer func([]byte))) (stop func(), err error) {
	sub, err := s.conn.Subscribe(s.notices, func(msg *nats.Msg) {
		f(msg.Data, func(answer []byte) {
			if msg.Reply == "" {
				return
			}
			if err := msg.Respond(answer); err != nil {
				s.log.Warn("answer to another process", "error", err)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listen to other processes: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // its connection may be gone
}

// save stores a large value as an object and returns what goes into the record.
func (s *NATS) save(ctx context.Context, value []byte) ([]byte, error) {
	if len(value) <= maxInline {
		return value, nil
	}
	sum := sha256.Sum256(value)
	// The name is unique for each write: two records never share an object, so
	// that dropping one's cannot take the other's.
	name := hex.EncodeToString(sum[:]) + "." + nats.NewInbox()
	if _, err := s.blobs.PutBytes(ctx, name, value); err != nil {
		return nil, fmt.Errorf("store value of %d bytes: %w", len(value), err)
	}
	return []byte(blobPrefix + name), nil
}

func (s *NATS) load(ctx context.Context, value []byte) ([]byte, error) {
	name, ok := strings.CutPrefix(string(value), blobPrefix)
	if !ok {
		return value, nil
	}
	b, err := s.blobs.GetBytes(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("load stored value: %w", err)
	}
	return b, nil
}

// reference returns the record's value if it is a reference of that revision.
func (s *NATS) reference(ctx context.Context, kind Kind, key Key, revision uint64) []byte {
	switch kind {
	case KindDevice, KindModule, KindTwin:
		return nil // never large, and written too often to be read first
	}
	e, err := s.buckets[kind].Get(ctx, encodeKey(key))
	if err != nil || e.Revision() != revision || !strings.HasPrefix(string(e.Value()), blobPrefix) {
		return nil
	}
	return e.Value()
}

// drop deletes the object that a value refers to. A left-over object costs
// nothing but its space, so a failure is only said.
func (s *NATS) drop(value []byte) {
	name, ok := strings.CutPrefix(string(value), blobPrefix)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.blobs.Delete(ctx, name); err != nil {
		s.log.Warn("registry object stays behind", "object", name, "error", err)
	}
}

func encodeKey(k Key) string {
	if k.ID == "" {
		return encodeToken(k.Hub)
	}
	return encodeToken(k.Hub) + "." + encodeToken(k.ID)
}

func decodeKey(s string) (Key, error) {
	hub, id, _ := strings.Cut(s, ".")
	var k Key
	var err error
	if k.Hub, err = decodeToken(hub); err != nil {
		return Key{}, err
	}
	k.ID, err = decodeToken(id)
	return k, err
}

func encodeToken(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlphanumeric(c) || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func decodeToken(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("cut escape")
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", err
		}
		b.Write(c)
		i += 2
	}
	return b.String(), nil
}
