package ds

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// checkPlane holds frames against the data plane's contract for their type
// (https://grafana.com/developers/dataplane), and sends them through Arrow, as
// they go to Grafana.
func checkPlane(t testing.TB, frames data.Frames) {
	t.Helper()
	if len(frames) == 0 {
		t.Error("no frame: an empty result is one of its type")
		return
	}
	raw, err := frames.MarshalArrow()
	if err != nil {
		t.Errorf("as Arrow: %v", err)
		return
	}
	back, err := data.UnmarshalArrowFrames(raw)
	if err != nil {
		t.Errorf("from Arrow: %v", err)
		return
	}
	seen := map[string]bool{}
	unique := func(name string, labels data.Labels) {
		if key := name + " " + labels.Fingerprint().String(); seen[key] {
			t.Errorf("two values are %s{%s}", name, labels)
		} else {
			seen[key] = true
		}
	}
	for i, f := range frames {
		if diff := cmp.Diff(asJSON(t, f), asJSON(t, back[i])); diff != "" {
			t.Errorf("frame %d changes on its way: (-want +got)\n%s", i, diff)
		}
		if f.Meta == nil || f.Meta.Type != frames[0].Meta.Type {
			t.Errorf("frame %d has another type than the first", i)
			continue
		}
		if _, err := f.RowLen(); err != nil {
			t.Errorf("frame %d: %v", i, err)
			continue
		}
		if len(f.Fields) == 0 {
			continue // no data
		}
		switch f.Meta.Type {
		case data.FrameTypeTimeSeriesMulti, data.FrameTypeTimeSeriesWide:
			checkSeries(t, f, unique)
			if f.Meta.Type == data.FrameTypeTimeSeriesWide && len(frames) > 1 || f.Meta.Type == data.FrameTypeTimeSeriesMulti && len(f.Fields) != 2 {
				t.Errorf("%s: %d frames, %d fields", f.Meta.Type, len(frames), len(f.Fields))
			}
		case data.FrameTypeNumericWide:
			if f.Rows() != 1 || len(frames) != 1 {
				t.Errorf("%s with %d frames, %d rows", f.Meta.Type, len(frames), f.Rows())
			}
			for _, v := range f.Fields {
				if !v.Type().Numeric() {
					t.Errorf("%s has a field of type %s", f.Meta.Type, v.Type())
				}
				unique(v.Name, v.Labels)
			}
		case data.FrameTypeNumericLong:
			for row := range f.Rows() {
				labels := data.Labels{}
				for _, v := range f.Fields {
					if v.Type() == data.FieldTypeString {
						labels[v.Name] = v.At(row).(string)
					} else if !v.Type().Numeric() || v.Labels != nil {
						t.Errorf("%s has a field of type %s", f.Meta.Type, v.Type())
					}
				}
				unique("", labels)
			}
		case data.FrameTypeLogLines:
			names := map[string]data.FieldType{"timestamp": data.FieldTypeTime, "body": data.FieldTypeString, "severity": data.FieldTypeString, "id": data.FieldTypeString, "labels": data.FieldTypeJSON}
			if f.Fields[0].Name != "timestamp" || f.Fields[1].Name != "body" {
				t.Errorf("log lines begin with %s and %s", f.Fields[0].Name, f.Fields[1].Name)
			}
			for _, v := range f.Fields {
				if names[v.Name] != v.Type() {
					t.Errorf("log lines have %s of type %s", v.Name, v.Type())
				}
			}
		case data.FrameTypeTable:
		default:
			t.Errorf("frame type %q", f.Meta.Type)
		}
	}
}

// asJSON is a frame as the browser gets it.
func asJSON(t testing.TB, f *data.Frame) (v any) {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// checkSeries: one time, sorted, no two alike; numbers besides.
func checkSeries(t testing.TB, f *data.Frame, unique func(string, data.Labels)) {
	t.Helper()
	if f.Fields[0].Type() != data.FieldTypeTime {
		t.Errorf("%s begins with a field of type %s", f.Meta.Type, f.Fields[0].Type())
		return
	}
	for i := 1; i < f.Rows(); i++ {
		if a, b := f.Fields[0].At(i-1).(time.Time), f.Fields[0].At(i).(time.Time); !a.Before(b) {
			t.Errorf("%s: %v does not come before %v", f.Meta.Type, a, b)
			return
		}
	}
	for _, v := range f.Fields[1:] {
		if !v.Type().Numeric() {
			t.Errorf("%s has a field of type %s", f.Meta.Type, v.Type())
		}
		unique(v.Name, v.Labels)
	}
}
