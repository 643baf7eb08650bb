package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// logFlags are the log options of every long-running command.
type logFlags struct {
	LogLevel  slog.Level `help:"Least level that is logged: debug, info, warn or error." default:"${level}" placeholder:"LEVEL"`
	LogFormat string     `help:"Log lines as ${enum}." enum:"text,json" default:"text"`
}

// telemetry is the process's own observability: a Prometheus page always; OTLP
// traces, metrics and logs when the standard OTEL_EXPORTER_OTLP_* variables
// name an endpoint (OpenTelemetry specification, SDK environment variables).
type telemetry struct {
	Log *slog.Logger

	metrics  *prometheus.Registry
	pipeline *sdkmetric.ManualReader // for table PipelineMetrics
	shutdown []func(context.Context) error
}

// otlp says whether the environment names an OTLP endpoint.
func otlp() bool {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// cardinalityLimit bounds the series of one instrument: attributes come from
// small fixed sets, and this holds should one not.
const cardinalityLimit = 2000

// startTelemetry installs the global providers of OpenTelemetry, for which
// the packages' instruments ask, and returns what the process needs of them.
func startTelemetry(ctx context.Context, service string, flags logFlags, logs io.Writer) (*telemetry, error) {
	t := &telemetry{metrics: prometheus.NewRegistry(), pipeline: newPipelineReader()}
	t.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	res, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		attribute.String("service.name", service), attribute.String("service.version", version)))
	if err != nil {
		return nil, fmt.Errorf("telemetry resource: %w", err)
	}

	reader, err := otelprom.New(otelprom.WithRegisterer(t.metrics), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	metrics := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(reader), sdkmetric.WithReader(t.pipeline),
		sdkmetric.WithCardinalityLimit(cardinalityLimit)}
	handler := logHandler(flags, logs)
	if otlp() {
		push, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTLP metrics: %w", err)
		}
		metrics = append(metrics, sdkmetric.WithReader(push))

		spans, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTLP traces: %w", err)
		}
		// The sampler follows OTEL_TRACES_SAMPLER.
		tracer := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(spans))
		otel.SetTracerProvider(tracer)
		t.shutdown = append(t.shutdown, tracer.Shutdown)

		records, err := autoexport.NewLogExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTLP logs: %w", err)
		}
		logger := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
		t.shutdown = append(t.shutdown, logger.Shutdown)
		handler = slog.NewMultiHandler(handler, leveled{otelslog.NewHandler("hubscope", otelslog.WithLoggerProvider(logger)), flags.LogLevel})
	}
	meter := sdkmetric.NewMeterProvider(metrics...)
	otel.SetMeterProvider(meter)
	t.shutdown = append(t.shutdown, meter.Shutdown)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	t.Log = slog.New(handler)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log.Warn("telemetry", "error", err) }))
	return t, nil
}

// Handler serves the Prometheus page.
func (t *telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.metrics, promhttp.HandlerOpts{Registry: t.metrics})
}

// Close flushes what was not exported yet.
func (t *telemetry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

func logHandler(flags logFlags, w io.Writer) slog.Handler {
	options := &slog.HandlerOptions{Level: flags.LogLevel}
	if flags.LogFormat == "json" {
		return traced{slog.NewJSONHandler(w, options)}
	}
	return traced{slog.NewTextHandler(w, options)}
}

// traced adds the ids of the span that a record was logged in.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }

// leveled drops what is below a level.
type leveled struct {
	slog.Handler
	min slog.Level
}

func (h leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= h.min }
func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.min}
}
func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.min}
}
