// Package tracing sends spans to a collector, by OTLP over HTTP.
package tracing

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"slipway/backend/internal/identity"
)

// ServiceName is what traces call the service, unless OTEL_SERVICE_NAME does.
const ServiceName = "slipway-backend"

// Provider makes tracers. Shutdown sends the spans that are left.
type Provider interface {
	trace.TracerProvider
	Shutdown(ctx context.Context) error
}

// Start makes a provider that sends spans to url with headers. It connects to
// nothing yet, so that a collector that is away delays nothing. What goes wrong
// later is logged, and the spans are dropped.
//
// OpenTelemetry's own variables for sampling, batching and resources apply
// (OTEL_TRACES_SAMPLER, OTEL_BSP_…, OTEL_RESOURCE_ATTRIBUTES).
func Start(ctx context.Context, url string, headers map[string]string, instance *identity.Instance, log *slog.Logger) (Provider, error) {
	exporter, err := otlptrace.New(ctx, newUploader(url, headers))
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
