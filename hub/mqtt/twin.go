package mqtt

import (
	"bytes"
	"container/list"
	"encoding/json"
	"errors"
	"sync"
)

// Limits of a twin: Azure's for the reported properties, and how many are kept.
const (
	maxReported = 32 << 10
	maxTwins    = 10_000
)

// twins keep the reported properties of devices seen lately, in memory: enough
// for SDKs that read and write them. Desired properties are always empty.
type twins struct {
	mu     sync.Mutex
	byKey  map[twinKey]*list.Element // of *twin
	recent list.List                 // latest first
}

type twinKey struct{ hub, device, module string }

type twin struct {
	key      twinKey
	reported map[string]any
	version  int
}

func newTwins() *twins { return &twins{byKey: map[twinKey]*list.Element{}} }

// document returns the twin's properties as Azure writes them.
func (t *twins) document(key twinKey) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	reported := map[string]any{"$version": 1}
	if e := t.byKey[key]; e != nil {
		tw := e.Value.(*twin)
		for k, v := range tw.reported {
			reported[k] = v
		}
		reported["$version"] = tw.version
	}
	doc, err := json.Marshal(map[string]any{"desired": map[string]any{"$version": 1}, "reported": reported})
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	return doc
}

var errPatch = errors.New("not a JSON object within the limits of reported properties")

// patch merges a patch into the reported properties and returns their version.
func (t *twins) patch(key twinKey, body []byte) (version int, err error) {
	if len(body) > maxReported {
		return 0, errPatch
	}
	var patch map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // numbers stay as they are
	if err := d.Decode(&patch); err != nil || patch == nil || d.More() {
		return 0, errPatch
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byKey[key]
	if e == nil {
		e = t.recent.PushFront(&twin{key: key, reported: map[string]any{}, version: 1})
		t.byKey[key] = e
		if t.recent.Len() > maxTwins {
			last := t.recent.Back()
			delete(t.byKey, t.recent.Remove(last).(*twin).key)
		}
	}
	t.recent.MoveToFront(e)
	tw := e.Value.(*twin)
	merged := merge(tw.reported, patch)
	if b, err := json.Marshal(merged); err != nil || len(b) > maxReported {
		return 0, errPatch
	}
	tw.reported = merged
	tw.version++
	return tw.version, nil
}

// merge applies a patch to an object and returns the result: null removes a
// member, objects are merged, everything else replaces. Neither is changed.
func merge(object, patch map[string]any) map[string]any {
	result := make(map[string]any, len(object)+len(patch))
	for k, v := range object {
		result[k] = v
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(result, k)
		case map[string]any:
			inner, _ := result[k].(map[string]any)
			result[k] = merge(inner, v)
		default:
			result[k] = v
		}
	}
	return result
}
