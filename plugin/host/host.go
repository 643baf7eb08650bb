// Package host runs the built backend of the plugin as Grafana does: it starts
// the executable, shakes hands over go-plugin and talks gRPC with it. It is for
// tests and benchmarks that want to know what Grafana would get, with nothing
// mocked but Grafana itself.
//
//	exe, err := host.Build(ctx, dir)
//	p, err := host.Start(ctx, host.Config{Executable: exe, Settings: backend.DataSourceInstanceSettings{
//		UID: "hubscope", URL: "http://127.0.0.1:7070",
//	}})
//	defer p.Close()
//	res, err := p.QueryData(ctx, map[string]string{"FromAlert": "true"}, backend.DataQuery{
//		RefID: "A", TimeRange: r, Interval: time.Minute, MaxDataPoints: 500,
//		JSON: []byte(`{"query": "Connections | count"}`),
//	})
//
// It is not a Grafana: settings are not stored or encrypted, nothing checks
// signatures and permissions, and there is no alert scheduler and no Live.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/backend/useragent"
	grafana "github.com/grafana/grafana-plugin-sdk-go/config"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

// PluginID is the id of the plugin that the requests are for.
const PluginID = "hubscope-connections-datasource"

// grafanaVersion is the version of Grafana that plugins are told.
const grafanaVersion = "13.1.1"

// Config says what to start, and for which data source.
type Config struct {
	// Executable is the plugin's backend, as [Build] or `make plugin` make it.
	Executable string
	// Settings are those of the data source. ID, UID, Type and Updated have
	// defaults.
	Settings backend.DataSourceInstanceSettings
	// User is who asks; nil is Grafana itself, as in alert rules.
	User *backend.User
	// Headers go with every request, besides those of the call. Names of HTTP
	// headers that Grafana forwards (Authorization, Cookie, X-Id-Token) stand as
	// they are, others have the prefix "http_"; FromAlert has none.
	Headers map[string]string
	// Grafana is the configuration that Grafana passes to plugins, by its names
	// (GF_...).
	Grafana map[string]string
	// Log takes the plugin's log, as lines of JSON. Nil drops it.
	Log io.Writer
}

// Build compiles the backend into dir, named as Grafana wants it, and returns
// the path. The working directory lies within the module. Tests of a package
// call it once and share the result.
func Build(ctx context.Context, dir string) (string, error) {
	name := "gpx_hubscope_" + runtime.GOOS + "_" + runtime.GOARCH
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "arrow_json_stdlib", "-o", path, "hubscope/plugin/pkg")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return path, nil
}

// Plugin is a running plugin as one data source of it sees it. It is safe for
// concurrent use.
type Plugin struct {
	process *process
	config  Config
}

// process is a running executable.
type process struct {
	cmd         *exec.Cmd
	client      *plugin.Client
	data        grpcplugin.DataClient
	diagnostics grpcplugin.DiagnosticsClient
	resource    grpcplugin.ResourceClient
	stream      grpcplugin.StreamClient
}

// Start runs the plugin; it returns when the plugin is ready to answer. The
// plugin ends with Close, and when this process dies. The context bounds the
// start only.
func Start(ctx context.Context, config Config) (*Plugin, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	log := config.Log
	if log == nil {
		log = io.Discard
	}
	timeout := time.Minute // of the handshake; go-plugin's default
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	p := &process{cmd: exec.Command(config.Executable)}
	endWithParent(p.cmd)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		Cmd: p.cmd,
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: grpcplugin.ProtocolVersion, MagicCookieKey: grpcplugin.MagicCookieKey, MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{grpcplugin.ProtocolVersion: {
			"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
			"resource":    &grpcplugin.ResourceGRPCPlugin{},
			"data":        &grpcplugin.DataGRPCPlugin{},
			"stream":      &grpcplugin.StreamGRPCPlugin{},
		}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     timeout,
		Logger:           hclog.NewNullLogger(),
		Stderr:           log,
	})
	if err := p.dispense(); err != nil {
		p.client.Kill()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(config.Executable), err)
	}
	return (&Plugin{process: p}).For(config), nil
}

// dispense connects and asks for the four services of a data source.
func (p *process) dispense() error {
	rpc, err := p.client.Client()
	if err != nil {
		return err
	}
	for name, set := range map[string]func(any) bool{
		"data":        func(v any) (ok bool) { p.data, ok = v.(grpcplugin.DataClient); return },
		"diagnostics": func(v any) (ok bool) { p.diagnostics, ok = v.(grpcplugin.DiagnosticsClient); return },
		"resource":    func(v any) (ok bool) { p.resource, ok = v.(grpcplugin.ResourceClient); return },
		"stream":      func(v any) (ok bool) { p.stream, ok = v.(grpcplugin.StreamClient); return },
	} {
		v, err := rpc.Dispense(name)
		if err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
		if !set(v) {
			return fmt.Errorf("service %s is a %T", name, v)
		}
	}
	return nil
}

// For returns the same running plugin as another data source, user or caller
// sees it: Settings, User, Headers and Grafana of the config count. Either may
// be closed, which ends the plugin for both.
func (p *Plugin) For(config Config) *Plugin {
	s := &config.Settings
	if s.UID == "" {
		s.UID = "hubscope"
	}
	if s.ID == 0 {
		s.ID = 1
	}
	if s.Type == "" {
		s.Type = PluginID
	}
	if s.Name == "" {
		s.Name = s.UID
	}
	if s.Updated.IsZero() {
		s.Updated = time.Unix(1_700_000_000, 0)
	}
	if len(s.JSONData) == 0 {
		s.JSONData = json.RawMessage("{}")
	}
	return &Plugin{process: p.process, config: config}
}

// PID is the plugin's process id.
func (p *Plugin) PID() int { return p.process.cmd.Process.Pid }

// Exited says whether the process has ended.
func (p *Plugin) Exited() bool { return p.process.client.Exited() }

// exitTime is how long a plugin may take to end by itself.
const exitTime = 30 * time.Second

// Close asks the plugin to end and waits for it. The error says that it had to
// be killed, or that it ended badly.
func (p *Plugin) Close() error {
	// go-plugin kills what has not ended within two seconds of being asked, which
	// is too short for a machine with much else to do.
	if rpc, err := p.process.client.Client(); err == nil {
		rpc.Close() //nolint:errcheck // asked again below
		for deadline := time.Now().Add(exitTime); !p.Exited() && time.Now().Before(deadline); {
			time.Sleep(2 * time.Millisecond)
		}
	}
	p.process.client.Kill()
	state := p.process.cmd.ProcessState
	if state == nil {
		return errors.New("the plugin did not end")
	}
	if !state.Success() {
		return fmt.Errorf("the plugin ended with %s", state)
	}
	return nil
}

// context is the part of each request that says who asks which data source.
func (p *Plugin) context() backend.PluginContext {
	settings := p.config.Settings
	agent, err := useragent.New(grafanaVersion, runtime.GOOS, runtime.GOARCH)
	if err != nil {
		panic("user agent: " + err.Error()) // made of constants
	}
	return backend.PluginContext{
		OrgID:     1, //lint:ignore SA1019 Grafana sends it beside the namespace
		Namespace: "default", PluginID: PluginID, PluginVersion: "0.0.0",
		User: p.config.User, DataSourceInstanceSettings: &settings,
		GrafanaConfig: grafana.NewGrafanaCfg(p.config.Grafana), UserAgent: agent,
	}
}

// headers are those of the config and of a call, which win.
func (p *Plugin) headers(call map[string]string) map[string]string {
	all := map[string]string{}
	for _, from := range []map[string]string{p.config.Headers, call} {
		for name, value := range from {
			all[name] = value
		}
	}
	return all
}

// QueryData runs queries. Headers may be nil; {"FromAlert": "true"} is what an
// alert rule sends.
func (p *Plugin) QueryData(ctx context.Context, headers map[string]string, queries ...backend.DataQuery) (*backend.QueryDataResponse, error) {
	res, err := p.process.data.QueryData(ctx, backend.ToProto().QueryDataRequest(&backend.QueryDataRequest{
		PluginContext: p.context(), Headers: p.headers(headers), Queries: queries,
	}))
	if err != nil {
		return nil, err
	}
	return backend.FromProto().QueryDataResponse(res)
}

// CheckHealth is the button "Save & test".
func (p *Plugin) CheckHealth(ctx context.Context) (*backend.CheckHealthResult, error) {
	res, err := p.process.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{
		PluginContext: backend.ToProto().PluginContext(p.context()), Headers: p.headers(nil),
	})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CheckHealthResponse(res), nil
}

// CollectMetrics returns the plugin's own metrics in Prometheus' text format.
func (p *Plugin) CollectMetrics(ctx context.Context) (string, error) {
	res, err := p.process.diagnostics.CollectMetrics(ctx, &pluginv2.CollectMetricsRequest{
		PluginContext: backend.ToProto().PluginContext(p.context()),
	})
	if err != nil {
		return "", err
	}
	return string(res.GetMetrics().GetPrometheus()), nil
}

// CallResource makes a request below /api/datasources/uid/UID/resources/. Path
// has no leading slash, URL is the path with its query; an empty URL is the path,
// an empty Method is GET. The plugin context is set here.
func (p *Plugin) CallResource(ctx context.Context, req *backend.CallResourceRequest) (*backend.CallResourceResponse, error) {
	r := *req
	r.PluginContext = p.context()
	if r.URL == "" {
		r.URL = r.Path
	}
	if r.Method == "" {
		r.Method = "GET"
	}
	headers := map[string][]string{}
	for name, value := range p.config.Headers {
		headers[name] = []string{value}
	}
	for name, values := range req.Headers {
		headers[name] = values
	}
	r.Headers = headers
	stream, err := p.process.resource.CallResource(ctx, backend.ToProto().CallResourceRequest(&r))
	if err != nil {
		return nil, err
	}
	var all *backend.CallResourceResponse
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) && all != nil {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		res := backend.FromProto().CallResourceResponse(part)
		if all == nil { // only the first part has status and headers
			all = res
			continue
		}
		all.Body = append(all.Body, res.Body...)
	}
}

// SubscribeStream asks to follow a channel of the data source, path being what
// follows ds/UID/. Data is what the frontend sends with it.
func (p *Plugin) SubscribeStream(ctx context.Context, path string, data json.RawMessage) (*backend.SubscribeStreamResponse, error) {
	res, err := p.process.stream.SubscribeStream(ctx, backend.ToProto().SubscribeStreamRequest(&backend.SubscribeStreamRequest{
		PluginContext: p.context(), Path: path, Data: data, Headers: p.headers(nil),
	}))
	if err != nil {
		return nil, err
	}
	return backend.FromProto().SubscribeStreamResponse(res), nil
}

// PublishStream sends something into a channel.
func (p *Plugin) PublishStream(ctx context.Context, path string, data json.RawMessage) (*backend.PublishStreamResponse, error) {
	res, err := p.process.stream.PublishStream(ctx, &pluginv2.PublishStreamRequest{
		PluginContext: backend.ToProto().PluginContext(p.context()), Path: path, Data: data, Headers: p.headers(nil),
	})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().PublishStreamResponse(res), nil
}

// RunStream follows a channel, as Grafana does for the first subscriber, and
// passes each packet (a data frame as JSON) on. It returns when the context ends,
// when packet returns an error, which it returns, or when the plugin ends the
// stream: nil if without an error.
func (p *Plugin) RunStream(ctx context.Context, path string, data json.RawMessage, packet func(json.RawMessage) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.process.stream.RunStream(ctx, backend.ToProto().RunStreamRequest(&backend.RunStreamRequest{
		PluginContext: p.context(), Path: path, Data: data, Headers: p.headers(nil),
	}))
	if err != nil {
		return err
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := packet(part.GetData()); err != nil {
			return err
		}
	}
}
