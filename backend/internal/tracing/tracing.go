// Package tracing sends spans to a collector, by OTLP over HTTP.
package tracing

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"slipway/backend/internal/identity"
)

// ServiceName is what traces call the service, unless OTEL_SERVICE_NAME does.
const ServiceName = "slipway-backend"

// Start makes a provider that sends spans to url with headers; its Shutdown
// sends those that are left. It connects to nothing yet, so that a collector
// that is away delays nothing. What goes wrong later is logged, and the spans
// are dropped.
//
// OpenTelemetry's own variables apply too (OTEL_TRACES_SAMPLER, OTEL_BSP_…,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_TIMEOUT and others).
func Start(ctx context.Context, url string, headers map[string]string, instance *identity.Instance, log *slog.Logger) (*sdk.TracerProvider, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url), otlptracehttp.WithHeaders(headers))
	if err != nil {
		return nil, fmt.Errorf("starting the exporter of traces: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			semconv.ServiceName(ServiceName),
			semconv.ServiceVersion(instance.Version),
			semconv.ServiceInstanceID(instance.Hostname)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describing the service in traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("traces", slog.Any("error", err))
	}))
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(described)), nil
}
