package main_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hubscope/ingest"
	"hubscope/plugin/host"
	"hubscope/query/api"
	"hubscope/query/client"
)

// packet is a frame as it comes over a stream.
type packet struct {
	Schema *struct {
		Fields []struct{ Name, Type string }
		Meta   struct {
			Type    string
			Notices []struct{ Severity, Text string }
		}
	}
	Data *struct{ Values [][]any }
}

// following is a stream that runs.
type following struct {
	t       *testing.T
	packets chan packet
	end     chan error
	stop    context.CancelFunc
	fields  []string
}

// follow runs a stream of a query at a path of its own.
func follow(t *testing.T, p *host.Plugin, model string) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{t: t, packets: make(chan packet, 100), end: make(chan error, 1), stop: cancel}
	path := "tail/" + rand.Text()
	go func() {
		f.end <- p.RunStream(ctx, path, json.RawMessage(model), func(b json.RawMessage) error {
			var got packet
			if err := json.Unmarshal(b, &got); err != nil {
				return err
			}
			f.packets <- got
			return nil
		})
	}()
	t.Cleanup(cancel)
	return f
}

// next is the next frame: its values by the names of the fields.
func (f *following) next() (got packet, column func(string) []any) {
	f.t.Helper()
	select {
	case got = <-f.packets:
	case err := <-f.end:
		f.t.Fatalf("the stream has ended: %v", err)
	case <-time.After(patience):
		f.t.Fatalf("no frame within %v", patience)
	}
	if got.Schema != nil {
		f.fields = nil
		for _, field := range got.Schema.Fields {
			f.fields = append(f.fields, field.Name)
		}
	}
	return got, func(name string) []any {
		f.t.Helper()
		i := slices.Index(f.fields, name)
		if i < 0 || got.Data == nil || len(got.Data.Values) != len(f.fields) {
			f.t.Fatalf("no field %s in %v", name, f.fields)
		}
		return got.Data.Values[i]
	}
}

// ended waits for the end of a stream.
func (f *following) ended() error {
	f.t.Helper()
	for {
		select {
		case err := <-f.end:
			return err
		case <-f.packets:
		case <-time.After(patience):
			f.t.Fatalf("the stream has not ended within %v", patience)
		}
	}
}

// event is a connection of a device, now.
func event(hub, device string) *ingest.Event {
	e := &ingest.Event{TimeGenerated: time.Now(), Hub: hub, DeviceId: device, OperationName: "deviceConnect", Category: "Connections", Level: "Information",
		Protocol: "Mqtt", TlsVersion: "1.0"}
	rand.Read(e.ConnectionId[:]) //nolint:errcheck // never fails
	return e
}

// gate lets a test see and refuse what goes to a service.
type gate struct {
	http.Handler
	tails  atomic.Int64 // that run now
	opened atomic.Int64
	shut   atomic.Bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.shut.Load() {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	if r.URL.Path == "/api/v1/tail" {
		g.tails.Add(1)
		g.opened.Add(1)
		defer g.tails.Add(-1)
	}
	g.Handler.ServeHTTP(w, r)
}

func TestTail(t *testing.T) {
	events, publish := feed(t)
	g := &gate{Handler: handler(t, api.Config{Feed: events})}
	p := source(t, backend.DataSourceInstanceSettings{URL: serveHandler(t, g)})
	device := "tail-" + rand.Text()
	model := fmt.Sprintf(`{"query":"Connections | where $__timeFilter() and DeviceId startswith '%s' | where TlsVersion < '1.2'","format":"logs"}`, device)

	sub, err := p.SubscribeStream(t.Context(), "tail/abc", []byte(model))
	if err != nil || sub.Status != backend.SubscribeStreamStatusOK {
		t.Fatalf("%+v, %v", sub, err)
	}
	var initial packet
	if err := json.Unmarshal(sub.InitialData.Data(), &initial); err != nil || initial.Schema == nil || initial.Data != nil || initial.Schema.Meta.Type != "log-lines" {
		t.Errorf("%v: %s", err, sub.InitialData.Data())
	}
	waitFor(t, "the trial has ended", func() bool { return g.tails.Load() == 0 })

	f := follow(t, p, model)
	waitFor(t, "the stream runs", func() bool { return g.tails.Load() == 1 })
	// The stream begins with what comes after it was opened: say something until it is heard.
	heard := false
	for deadline := time.Now().Add(patience); !heard && time.Now().Before(deadline); {
		publish(event("plant", device+"-hello"))
		select {
		case first := <-f.packets:
			if first.Schema == nil || !cmp.Equal(first.Schema.Fields, initial.Schema.Fields) {
				t.Errorf("the first frame has the schema %+v, want %+v", first.Schema, initial.Schema)
			}
			for _, field := range first.Schema.Fields {
				f.fields = append(f.fields, field.Name)
			}
			heard = true
		case <-time.After(200 * time.Millisecond):
		}
	}
	other := event("plant", device+"-modern")
	other.TlsVersion = "1.3"
	publish(event("plant", device+"-1"), other, event("office", device+"-2"))
	var lines, ids []string
	for len(lines) < 2 {
		got, column := f.next()
		if got.Schema != nil {
			t.Errorf("the schema came again: %+v", got.Schema)
		}
		for i, line := range column("body") {
			if !strings.Contains(line.(string), "-hello") {
				lines, ids = append(lines, line.(string)), append(ids, column("id")[i].(string))
			}
		}
	}
	if len(lines) != 2 || !strings.Contains(lines[0], device+"-1") || !strings.Contains(lines[1], device+"-2") || ids[0] == ids[1] {
		t.Errorf("%q, ids %q", lines, ids)
	}
	f.stop()
	if err := f.ended(); status.Code(err) != codes.Canceled {
		t.Errorf("a stream that was stopped ends with %v", err)
	}
	waitFor(t, "the service's tail has ended", func() bool { return g.tails.Load() == 0 })
}

// TestTailGoesOn cuts the connection, and has events come meanwhile.
func TestTailGoesOn(t *testing.T) {
	events, publish := feed(t)
	service := handler(t, api.Config{Feed: events})
	g := &gate{Handler: service}
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	url := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := g.opened.Load() == 0
		if first {
			joined, end := context.WithCancel(r.Context())
			defer end()
			context.AfterFunc(ctx, end)
			r = r.WithContext(joined)
		}
		g.ServeHTTP(w, r)
	}))
	p := source(t, backend.DataSourceInstanceSettings{URL: url})
	device := "cut-" + rand.Text()
	f := follow(t, p, fmt.Sprintf(`{"query":"Connections | where DeviceId startswith '%s' | project TimeGenerated, DeviceId"}`, device))
	seen := map[string]int{}
	read := func(until string) {
		t.Helper()
		for seen[until] == 0 {
			_, column := f.next()
			for _, labels := range column("labels") {
				seen[labels.(map[string]any)["DeviceId"].(string)]++
			}
		}
	}
	waitFor(t, "the stream runs", func() bool {
		publish(event("plant", device+"-hello"))
		return len(f.packets) > 0
	})
	publish(event("plant", device+"-before"))
	read(device + "-before")
	g.shut.Store(true)
	cut()
	waitFor(t, "the tail is cut", func() bool { return g.tails.Load() == 0 })
	for i := range 5 {
		publish(event("plant", fmt.Sprintf("%s-%d", device, i)))
	}
	g.shut.Store(false)
	read(device + "-4")
	publish(event("plant", device+"-after"))
	read(device + "-after")
	for i := range 5 {
		if n := seen[fmt.Sprintf("%s-%d", device, i)]; n != 1 {
			t.Errorf("event %d came %d times", i, n)
		}
	}
	if seen[device+"-before"] != 1 {
		t.Errorf("%v", seen)
	}
}

// TestTailRefusals has what cannot be followed, and what is said.
func TestTailRefusals(t *testing.T) {
	events, _ := feed(t)
	good := backend.DataSourceInstanceSettings{URL: serve(t, api.Config{Feed: events})}
	a, _ := access(t, api.Grant{Name: "x", Role: api.Reader})
	for name, tt := range map[string]struct {
		settings backend.DataSourceInstanceSettings
		model    string
		code     codes.Code
		say      string
	}{
		"aggregate":  {good, `{"query":"Connections | summarize count()"}`, codes.InvalidArgument, "summarize"},
		"sort":       {good, `{"query":"Connections | sort by TimeGenerated"}`, codes.InvalidArgument, "sort"},
		"table":      {good, `{"query":"Devices"}`, codes.InvalidArgument, "Connections"},
		"column":     {good, `{"query":"Connections | where TlsVersoin == '1'"}`, codes.InvalidArgument, "TlsVersion"},
		"syntax":     {good, `{"query":"Connections | where"}`, codes.InvalidArgument, "expect"},
		"macro":      {good, `{"query":"Connections | where $__timeFiltre()"}`, codes.InvalidArgument, "timeFilter"},
		"no time":    {good, `{"query":"Connections | project DeviceId"}`, codes.InvalidArgument, "datetime"},
		"newer":      {good, `{"query":"Connections","schemaVersion":7}`, codes.InvalidArgument, "newer"},
		"no model":   {good, `[]`, codes.InvalidArgument, "JSON"},
		"empty":      {good, `{}`, codes.InvalidArgument, "empty"},
		"no NATS":    {backend.DataSourceInstanceSettings{URL: serve(t, api.Config{})}, `{"query":"Connections"}`, codes.Unavailable, "NATS"},
		"no service": {backend.DataSourceInstanceSettings{URL: "http://127.0.0.1:1"}, `{"query":"Connections"}`, codes.Unavailable, "refuses connections"},
		"no token":   {backend.DataSourceInstanceSettings{URL: serve(t, api.Config{Feed: events, Access: a})}, `{"query":"Connections"}`, codes.PermissionDenied, "token"},
		"settings":   {backend.DataSourceInstanceSettings{}, `{"query":"Connections"}`, codes.FailedPrecondition, "URL"},
	} {
		t.Run(name, func(t *testing.T) {
			p := source(t, tt.settings)
			_, err := p.SubscribeStream(t.Context(), "tail/x", []byte(tt.model))
			if status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.say) {
				t.Errorf("want %v with %q, got %v", tt.code, tt.say, err)
			}
			if name == "no NATS" || name == "no service" {
				return // a stream waits until there is one
			}
			if err := follow(t, p, tt.model).ended(); status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.say) {
				t.Errorf("run: want %v with %q, got %v", tt.code, tt.say, err)
			}
		})
	}
	p := source(t, good)
	for _, path := range []string{"", "tail", "tail/", "tail/a/b", "other/x", "tail/" + strings.Repeat("x", 200)} {
		sub, err := p.SubscribeStream(t.Context(), path, []byte(`{"query":"Connections"}`))
		if err != nil || sub.Status != backend.SubscribeStreamStatusNotFound {
			t.Errorf("%q: %+v, %v", path, sub, err)
		}
		if err := p.RunStream(t.Context(), path, []byte(`{"query":"Connections"}`), func(json.RawMessage) error { return nil }); status.Code(err) != codes.NotFound {
			t.Errorf("run %q: %v", path, err)
		}
	}
	if pub, err := p.PublishStream(t.Context(), "tail/x", []byte(`{}`)); err != nil || pub.Status != backend.PublishStreamStatusPermissionDenied {
		t.Errorf("%+v, %v", pub, err)
	}
	// The editor asks before.
	var got struct {
		Valid  bool
		Errors []client.Error
	}
	into(t, call(t, p, "POST", "validate", `{"live":true,"query":"Connections | where $__timeFilter() | count"}`), &got)
	if got.Valid || len(got.Errors) != 1 || got.Errors[0].Column != 39 {
		t.Errorf("%+v", got)
	}
	into(t, call(t, p, "POST", "validate", `{"live":true,"query":"Connections | where $__timeFilter()"}`), &got)
	if !got.Valid {
		t.Errorf("%+v", got)
	}
}

// TestTailOfOnePath has another query at the path of a stream that runs.
func TestTailOfOnePath(t *testing.T) {
	events, _ := feed(t)
	g := &gate{Handler: handler(t, api.Config{Feed: events})}
	p := source(t, backend.DataSourceInstanceSettings{URL: serveHandler(t, g)})
	ctx, stop := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() {
		end <- p.RunStream(ctx, "tail/one", []byte(`{"query":"Connections | where Hub == 'a'"}`), func(json.RawMessage) error { return nil })
	}()
	waitFor(t, "the stream runs", func() bool { return g.tails.Load() == 1 })
	for query, want := range map[string]backend.SubscribeStreamStatus{"Connections | where Hub == 'a'": backend.SubscribeStreamStatusOK, "Connections": backend.SubscribeStreamStatusNotFound} {
		sub, err := p.SubscribeStream(t.Context(), "tail/one", []byte(`{"query":"`+query+`"}`))
		if err != nil || sub.Status != want {
			t.Errorf("%s: want %v, got %+v, %v", query, want, sub, err)
		}
	}
	stop()
	<-end
	waitFor(t, "the path is free", func() bool {
		sub, err := p.SubscribeStream(t.Context(), "tail/one", []byte(`{"query":"Connections"}`))
		return err == nil && sub.Status == backend.SubscribeStreamStatusOK
	})
}

// TestTailRows: a token's row filter holds for tails.
func TestTailRows(t *testing.T) {
	events, publish := feed(t)
	a, tokens := access(t, api.Grant{Name: "plant", Role: api.Reader, Hubs: []string{"plant"}})
	g := &gate{Handler: handler(t, api.Config{Feed: events, Access: a})}
	p := source(t, backend.DataSourceInstanceSettings{URL: serveHandler(t, g), DecryptedSecureJSONData: map[string]string{"token": tokens[0]}})
	device := "rows-" + rand.Text()
	f := follow(t, p, fmt.Sprintf(`{"query":"Connections | where DeviceId startswith '%s'"}`, device))
	waitFor(t, "the stream runs", func() bool {
		publish(event("plant", device+"-hello"))
		return len(f.packets) > 0
	})
	publish(event("office", device+"-office"), event("plant", device+"-plant"))
	for {
		_, column := f.next()
		for _, line := range column("body") {
			if strings.Contains(line.(string), "-office") {
				t.Fatalf("a row of another hub: %s", line)
			}
			if strings.Contains(line.(string), "-plant") {
				return
			}
		}
	}
}

// TestTailOfNobody: a stream is shared, so it carries nobody's identity.
func TestTailOfNobody(t *testing.T) {
	events, _ := feed(t)
	a, tokens := access(t, api.Grant{Name: "shared", Role: api.Reader}, api.Grant{Name: "user", Role: api.Reader})
	g := &gate{Handler: handler(t, api.Config{Feed: events, Access: a})}
	url := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+tokens[0] {
			t.Errorf("%s with %q", r.URL.Path, got)
		}
		g.ServeHTTP(w, r)
	}))
	for extra, want := range map[string]backend.SubscribeStreamStatus{"": backend.SubscribeStreamStatusPermissionDenied, `,"oauthPassThruAllowFallback":true`: backend.SubscribeStreamStatusOK} {
		p := sourceFor(t, host.Config{User: &backend.User{Login: "officer"}, Headers: map[string]string{"Authorization": "Bearer " + tokens[1]},
			Settings: backend.DataSourceInstanceSettings{URL: url, JSONData: []byte(`{"oauthPassThru":true` + extra + `}`), DecryptedSecureJSONData: map[string]string{"token": tokens[0]}}})
		sub, err := p.SubscribeStream(t.Context(), "tail/x", []byte(`{"query":"Connections"}`))
		if err != nil || sub.Status != want {
			t.Errorf("%s: want %v, got %+v, %v", extra, want, sub, err)
		}
	}
}

// TestTailOfOldSettings: a stream ends when the settings change, so that Grafana
// runs it again with the new ones.
func TestTailOfOldSettings(t *testing.T) {
	events, _ := feed(t)
	g := &gate{Handler: handler(t, api.Config{Feed: events})}
	settings := backend.DataSourceInstanceSettings{UID: "changing-" + rand.Text(), URL: serveHandler(t, g)}
	f := follow(t, source(t, settings), `{"query":"Connections"}`)
	waitFor(t, "the stream runs", func() bool { return g.tails.Load() == 1 })
	settings.Updated = time.Now()
	if res, err := source(t, settings).CheckHealth(t.Context()); err != nil || res.Status != backend.HealthStatusOk {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := f.ended(); status.Code(err) != codes.Aborted {
		t.Errorf("%v", err)
	}
	waitFor(t, "the service's tail has ended", func() bool { return g.tails.Load() == 0 })
}

// TestTailTells has a service that cuts the stream, has forgotten where it was,
// and could not keep up: what was missed is told with the rows after it.
func TestTailTells(t *testing.T) {
	var opened atomic.Int64
	var after [3]string
	url := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req client.TailRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		n := opened.Add(1)
		if n <= 3 {
			after[n-1] = req.After
		}
		if n == 2 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"code":"UnknownPosition","message":"Last-Event-ID: it is of another stream"}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: columns\nid: c0\ndata: {\"columns\":[{\"name\":\"TimeGenerated\",\"type\":\"datetime\"},{\"name\":\"DeviceId\",\"type\":\"string\"}]}\n\n")
		rows := func(device string) {
			fmt.Fprintf(w, "event: rows\nid: c-%s\ndata: {\"rows\":[[\"2026-11-22T12:00:00.0000000Z\",%q]]}\n\n", device, device)
			w.(http.Flusher).Flush()
		}
		if n == 1 {
			rows("first")
			return
		}
		fmt.Fprint(w, "event: skipped\ndata: {\"skipped\":12}\n\n")
		rows("second")
		rows("third")
		rows("fourth")
		<-r.Context().Done()
	}))
	f := follow(t, source(t, backend.DataSourceInstanceSettings{URL: url}), `{"query":"Connections | project TimeGenerated, DeviceId"}`)
	for i, want := range []struct {
		device, notices string
		schema          bool
	}{{"first", "", true}, {"second", "events have left the stream; 12 events", true}, {"third", "", true}, {"fourth", "", false}} {
		got, column := f.next()
		if line := column("labels")[0].(map[string]any)["DeviceId"]; line != want.device {
			t.Errorf("frame %d is of %v", i, line)
		}
		if (got.Schema != nil) != want.schema {
			t.Errorf("frame %d: a schema %v", i, got.Schema)
		}
		if got.Schema == nil {
			continue
		}
		for _, part := range strings.Split(want.notices, "; ") {
			if told := fmt.Sprint(got.Schema.Meta.Notices); !strings.Contains(told, part) || part == "" && len(got.Schema.Meta.Notices) > 0 {
				t.Errorf("frame %d: want %q in %s", i, part, told)
			}
		}
	}
	if want := [3]string{"", "c-first", ""}; after != want {
		t.Errorf("it went on at %q, want %q", after, want)
	}
}
