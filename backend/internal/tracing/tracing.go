// Package tracing sends spans to a collector by OTLP over HTTP.
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

// ServiceName is the service's name in traces, unless OTEL_SERVICE_NAME is set.
const ServiceName = "slipway-backend"

// Start returns a provider that sends spans to url with headers. Its Shutdown sends the
// remaining spans. Start does not connect, so that an unreachable collector does not
// delay it. Later errors are logged and the spans dropped.
//
// OpenTelemetry's variables also apply (OTEL_TRACES_SAMPLER, OTEL_BSP_…,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_TIMEOUT and others).
func Start(ctx context.Context, url string, headers map[string]string, instance *identity.Instance, log *slog.Logger) (*sdk.TracerProvider, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url), otlptracehttp.WithHeaders(headers))
	if err != nil {
		return nil, fmt.Errorf("creating the trace exporter: %w", err)
	}
	attributes, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			semconv.ServiceName(ServiceName),
			semconv.ServiceVersion(instance.Version),
			semconv.ServiceInstanceID(instance.Hostname)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("creating the trace resource: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("cannot send traces", slog.Any("error", err))
	}))
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(attributes)), nil
}
