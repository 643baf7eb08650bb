package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Limits of a twin: Azure's, in bytes of JSON.
const (
	maxTags       = 8 << 10
	maxProperties = 32 << 10
	maxTwinDepth  = 10
)

// A Twin is the document of a device or module that both sides write: the
// back end tags and desired properties, the device what it reports.
type Twin struct {
	Tags     map[string]any `json:"tags,omitempty"`
	Desired  Properties     `json:"desired"`
	Reported Properties     `json:"reported"`
	// Edition counts changes of tags and desired properties, for ETag; Version
	// counts all.
	Edition uint64 `json:"edition"`
	Version uint64 `json:"version"`
	// Generation is that of the identity: a twin does not outlive it.
	Generation string `json:"generation"`
}

// Properties are one half of a twin's.
type Properties struct {
	Values map[string]any `json:"values,omitempty"`
	// Metadata has the shape of Values, with $lastUpdated at every level.
	Metadata map[string]any `json:"metadata"`
	Version  int64          `json:"version"`
}

// A TwinPatch changes a twin. Nil maps leave alone; null members remove. With
// Replace it is all that is left of tags and desired properties.
type TwinPatch struct {
	Tags, Desired map[string]any
	Replace       bool
}

// ETag returns the twin's entity tag, without quotes.
func (t *Twin) ETag() string { return etag(t.Edition) }

// DeviceJSON returns the properties as devices read them over MQTT.
func (t *Twin) DeviceJSON() []byte {
	half := func(p Properties) map[string]any {
		m := map[string]any{"$version": p.Version}
		for k, v := range p.Values {
			m[k] = v
		}
		return m
	}
	return encode(map[string]any{"desired": half(t.Desired), "reported": half(t.Reported)})
}

func newTwin(identity *Device) *Twin {
	half := Properties{Version: 1, Metadata: stamp(nil, identity.Created)}
	return &Twin{Desired: half, Reported: half, Edition: 1, Version: 2, Generation: identity.GenerationID}
}

// stamp returns a level of metadata that is as old as was, or new at t.
func stamp(was map[string]any, t time.Time) map[string]any {
	m := make(map[string]any, len(was)+1)
	for k, v := range was {
		m[k] = v
	}
	m["$lastUpdated"] = azureTime(t)
	return m
}

// apply merges a patch into the properties: null removes a member, objects are
// merged, everything else replaces. The maps of p are not changed but replaced.
func (p Properties) apply(patch map[string]any, now time.Time) Properties {
	return Properties{merge(p.Values, patch), mergeMetadata(p.Metadata, patch, now), p.Version + 1}
}

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

func mergeMetadata(was, patch map[string]any, now time.Time) map[string]any {
	result := stamp(was, now)
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(result, k)
		case map[string]any:
			inner, _ := result[k].(map[string]any)
			result[k] = mergeMetadata(inner, v, now)
		default:
			result[k] = stamp(nil, now)
		}
	}
	return result
}

// DecodeProperties reads a JSON object as a device or a service sends it;
// members that begin with "$" are not theirs and are left out.
func DecodeProperties(data []byte) (map[string]any, error) {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // numbers stay as they are
	if err := d.Decode(&object); err != nil || object == nil || d.More() {
		return nil, invalid("properties", "a JSON object is expected")
	}
	for k := range object {
		if strings.HasPrefix(k, "$") {
			delete(object, k)
		}
	}
	return object, checkProperties("properties", object, 1)
}

// checkProperties refuses names and depths that Azure refuses.
func checkProperties(where string, object map[string]any, depth int) error {
	if depth > maxTwinDepth {
		return invalid(where, "is deeper than %d levels", maxTwinDepth)
	}
	for k, v := range object {
		if k == "" || len(k) > 1024 || strings.ContainsAny(k, ".$ ") || strings.ContainsFunc(k, func(r rune) bool { return r < ' ' }) {
			return invalid(where, "%q cannot name a property", clip(k))
		}
		if err := checkProperty(where+"."+clip(k), v, depth); err != nil {
			return err
		}
	}
	return nil
}

func checkProperty(where string, v any, depth int) error {
	switch v := v.(type) {
	case map[string]any:
		return checkProperties(where, v, depth+1)
	case []any:
		if depth++; depth > maxTwinDepth {
			return invalid(where, "is deeper than %d levels", maxTwinDepth)
		}
		for _, element := range v {
			if err := checkProperty(where, element, depth); err != nil {
				return err
			}
		}
	case json.Number:
		if _, err := v.Float64(); err != nil {
			return invalid(where, "%s is out of range", clip(v.String()))
		}
	}
	return nil
}

// twinID is the id of a twin's record, and of a module's.
func twinID(device, module string) string {
	if module == "" {
		return device
	}
	return device + "/" + module // a slash is in no device id
}

// identity returns the device or the module.
func (r *Registry) identity(ctx context.Context, hub, device, module string) (*Device, error) {
	if module == "" {
		return r.Device(ctx, hub, device)
	}
	return r.Module(ctx, hub, device, module)
}

// Twin returns the twin of a device, or of a module when module is not empty.
func (r *Registry) Twin(ctx context.Context, hub, device, module string) (*Twin, error) {
	identity, err := r.identity(ctx, hub, device, module)
	if err != nil {
		return nil, err
	}
	rec, err := r.store.Get(ctx, KindTwin, Key{Hub: hub, ID: twinID(device, module)})
	if errors.Is(err, ErrNotFound) {
		return newTwin(identity), nil
	}
	if err != nil {
		return nil, fmt.Errorf("twin of %q: %w", twinID(device, module), err)
	}
	return decodeTwin(rec, identity)
}

// decodeTwin returns a new twin where the stored one is of another identity.
func decodeTwin(rec Record, identity *Device) (*Twin, error) {
	t := new(Twin)
	d := json.NewDecoder(bytes.NewReader(rec.Value))
	d.UseNumber()
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("stored twin of %q: %w", rec.Key.ID, err)
	}
	if t.Generation != identity.GenerationID {
		return newTwin(identity), nil
	}
	return t, nil
}

// twins returns the stored twins of a hub by the id of their record.
func (r *Registry) twins(ctx context.Context, hub string) (map[string]Record, error) {
	list := map[string]Record{}
	for after := uint64(0); ; {
		page, err := r.store.List(ctx, KindTwin, hub, after, maxPage)
		if err != nil {
			return nil, fmt.Errorf("twins of hub %q: %w", hub, err)
		}
		for _, rec := range page {
			list[rec.Key.ID], after = rec, rec.Revision
		}
		if len(page) < maxPage {
			return list, nil
		}
	}
}

// changeTwin reads, changes and writes a twin, anew when somebody else was quicker.
func (r *Registry) changeTwin(ctx context.Context, hub, device, module string, change func(*Twin) error) (*Twin, error) {
	identity, err := r.identity(ctx, hub, device, module)
	if err != nil {
		return nil, err
	}
	key := Key{Hub: hub, ID: twinID(device, module)}
	for range maxTries {
		t := newTwin(identity)
		rec, err := r.store.Get(ctx, KindTwin, key)
		there := err == nil
		if there {
			t, err = decodeTwin(rec, identity)
		} else if errors.Is(err, ErrNotFound) {
			err = nil
		}
		if err == nil {
			err = change(t)
		}
		if err != nil {
			return nil, fmt.Errorf("twin of %q: %w", key.ID, err)
		}
		t.Version++
		if there {
			_, err = r.store.Update(ctx, KindTwin, key, encode(t), rec.Revision)
		} else {
			_, err = r.store.Create(ctx, KindTwin, key, encode(t))
		}
		switch {
		case err == nil:
			return t, nil
		case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists):
			return nil, fmt.Errorf("twin of %q: %w", key.ID, err)
		}
	}
	return nil, fmt.Errorf("twin of %q: %w", key.ID, ErrConflict)
}

// Report merges what a device reports into its twin, and returns it.
func (r *Registry) Report(ctx context.Context, hub, device, module string, patch map[string]any) (*Twin, error) {
	return r.changeTwin(ctx, hub, device, module, func(t *Twin) error {
		t.Reported = t.Reported.apply(patch, r.now())
		return within("properties.reported", t.Reported.Values, maxProperties)
	})
}

// UpdateTwin changes tags and desired properties, and tells the device, wherever
// it is connected.
func (r *Registry) UpdateTwin(ctx context.Context, hub, device, module, ifMatch string, patch TwinPatch) (*Twin, error) {
	var told map[string]any
	t, err := r.changeTwin(ctx, hub, device, module, func(t *Twin) error {
		if !matches(ifMatch, t.Edition) {
			return ErrConflict
		}
		told = patch.Desired
		if patch.Replace {
			t.Tags = nil
			if patch.Desired != nil {
				t.Desired.Values, t.Desired.Metadata = nil, nil
			}
		}
		if patch.Tags != nil {
			t.Tags = merge(t.Tags, patch.Tags)
		}
		if patch.Desired != nil {
			t.Desired = t.Desired.apply(patch.Desired, r.now())
		}
		t.Edition++
		return errors.Join(within("tags", t.Tags, maxTags), within("properties.desired", t.Desired.Values, maxProperties))
	})
	if err == nil && told != nil {
		// Not merged with anything: null stays, for it means that a property is gone.
		told = maps.Clone(told)
		if patch.Replace {
			told = merge(t.Desired.Values, nil) // as Azure does: the whole
		}
		told["$version"] = t.Desired.Version
		err = r.tell(Notice{Desired: &DesiredNotice{Hub: hub, DeviceID: device, ModuleID: module, Patch: encode(told), Version: t.Desired.Version}})
	}
	return t, err
}

func within(what string, values map[string]any, most int) error {
	if n := len(encode(values)); n > most {
		return invalid(what, "has %d bytes of JSON, and may have %d", n, most)
	}
	return nil
}
