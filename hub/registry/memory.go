package registry

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
)

// Memory is a Store in memory: for one process whose registry may end with it.
type Memory struct {
	mu       sync.Mutex
	revision uint64
	records  map[Kind]map[Key]Record
	watches  map[*memoryWatch]bool

	notices   sync.Mutex // held while listeners are called
	listeners map[*memoryListener]bool
}

type memoryListener struct {
	f func(notice []byte, answer func([]byte))
}

// memoryWatch is the unbounded queue of one watcher: a writer never waits for it.
type memoryWatch struct {
	pending []Event
	wake    chan struct{}
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{records: map[Kind]map[Key]Record{}, watches: map[*memoryWatch]bool{}, listeners: map[*memoryListener]bool{}}
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, kind Kind, key Key) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[kind][key]
	if !ok {
		return Record{}, ErrNotFound
	}
	return r, nil
}

// Create implements Store.
func (m *Memory) Create(_ context.Context, kind Kind, key Key, value []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.records[kind][key]; ok {
		return 0, ErrExists
	}
	return m.put(kind, key, value), nil
}

// Update implements Store.
func (m *Memory) Update(_ context.Context, kind Kind, key Key, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.records[kind][key]; !ok || r.Revision != revision {
		return 0, ErrConflict
	}
	return m.put(kind, key, value), nil
}

func (m *Memory) put(kind Kind, key Key, value []byte) uint64 {
	m.revision++
	r := Record{Kind: kind, Key: key, Value: bytes.Clone(value), Revision: m.revision}
	if m.records[kind] == nil {
		m.records[kind] = map[Key]Record{}
	}
	m.records[kind][key] = r
	m.notify(Event{Record: r})
	return r.Revision
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, kind Kind, key Key, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[kind][key]
	switch {
	case !ok:
		return ErrNotFound
	case r.Revision != revision:
		return ErrConflict
	}
	delete(m.records[kind], key)
	m.revision++
	m.notify(Event{Record: Record{Kind: kind, Key: key, Revision: m.revision, Deleted: true}})
	return nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, kind Kind, hub string, after uint64, limit int) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Record
	for key, r := range m.records[kind] {
		if r.Revision > after && (hub == "" || key.Hub == hub) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return cmp.Compare(a.Revision, b.Revision) })
	return list[:min(limit, len(list))], nil
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context) (<-chan Event, error) {
	w := &memoryWatch{pending: []Event{{Sync: true}}, wake: make(chan struct{}, 1)}
	m.mu.Lock()
	m.watches[w] = true
	m.mu.Unlock()
	out := make(chan Event)
	go func() {
		defer close(out)
		defer func() {
			m.mu.Lock()
			delete(m.watches, w)
			m.mu.Unlock()
		}()
		for {
			m.mu.Lock()
			events := w.pending
			w.pending = nil
			m.mu.Unlock()
			for _, e := range events {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (m *Memory) notify(e Event) {
	for w := range m.watches {
		w.pending = append(w.pending, e)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Tell implements Store.
func (m *Memory) Tell(notice []byte) error {
	m.tell(notice, func([]byte) {})
	return nil
}

func (m *Memory) tell(notice []byte, answer func([]byte)) {
	// As with a network: who tells does not wait for who hears.
	go func() {
		m.notices.Lock()
		defer m.notices.Unlock()
		for l := range m.listeners {
			l.f(notice, answer)
		}
	}()
}

// Ask implements Store.
func (m *Memory) Ask(ctx context.Context, notice []byte) ([]byte, error) {
	answers := make(chan []byte, 1)
	m.tell(notice, func(answer []byte) {
		select {
		case answers <- answer:
		default:
		}
	})
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		return nil, ErrNoAnswer
	}
}

// Listen implements Store.
func (m *Memory) Listen(f func(notice []byte, answer func([]byte))) (stop func(), err error) {
	l := &memoryListener{f}
	m.notices.Lock()
	defer m.notices.Unlock()
	m.listeners[l] = true
	return func() {
		m.notices.Lock()
		defer m.notices.Unlock()
		delete(m.listeners, l)
	}, nil
}
