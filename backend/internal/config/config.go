// Package config loads and validates the configuration from the environment.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"
)

const (
	// DefaultPort is the port if PORT is not set.
	DefaultPort = 8000

	// defaultStopTimeout is how long ECS waits by default between SIGTERM and SIGKILL
	// (API reference, ContainerDefinition, stopTimeout). SIGKILL would interrupt a
	// longer drain.
	defaultStopTimeout = 30 * time.Second

	// FlushTimeout bounds the sending of the last spans after the drain.
	FlushTimeout = 2 * time.Second

	// albIdleTimeout is the default idle timeout of an Application Load Balancer. The
	// server's must be longer: otherwise it may close a connection on which the load
	// balancer is sending a request, and the client gets a 502.
	albIdleTimeout = 60 * time.Second
)

// versionPattern matches commit ids, semantic versions and image tags.
var versionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// Config is the configuration. Load returns a valid one.
type Config struct {
	// Port is the TCP port to listen on, on all interfaces. PORT, 8000.
	Port int
	// Hostname overrides the host name of the operating system; empty means not to.
	// HOSTNAME.
	Hostname string
	// Version is the running version; empty means the one in the binary. VERSION, which
	// a release sets in the task definition.
	Version string
	// Environment is the name of the environment, such as staging, for people; empty means
	// none. ENVIRONMENT.
	Environment string
	// MetadataURI is the container metadata endpoint of ECS; empty outside ECS.
	// ECS_CONTAINER_METADATA_URI_V4, which the ECS agent sets.
	MetadataURI string
	// LogLevel is the minimum level of log entries. LOG_LEVEL, info.
	LogLevel slog.Level
	// ReadTimeout bounds reading one request, headers and body. READ_TIMEOUT, 10s.
	ReadTimeout time.Duration
	// WriteTimeout bounds writing one response. WRITE_TIMEOUT, 10s.
	WriteTimeout time.Duration
	// IdleTimeout is how long an idle connection is kept. IDLE_TIMEOUT, 75s.
	IdleTimeout time.Duration
	// DrainDelay is how long the server still serves new requests after SIGTERM while
	// its health check fails, so that load balancers can notice. DRAIN_DELAY, 0s: ECS
	// deregisters the target before it stops the task.
	DrainDelay time.Duration
	// DrainTimeout bounds the wait for requests in flight. DRAIN_TIMEOUT, 20s.
	DrainTimeout time.Duration
	// StopTimeout is the time from SIGTERM to SIGKILL: the stopTimeout of the task
	// definition. STOP_TIMEOUT, 30s, as in ECS.
	StopTimeout time.Duration

	// TrustedHops is how many proxies in front of the server append to
	// X-Forwarded-For: 1 behind a load balancer or an Nginx, 2 behind both, 0 if
	// clients connect directly. TRUSTED_HOPS, 1.
	TrustedHops int
	// RateLimit is how many requests to /api a client may make per second. RateBurst is
	// how many at once, rounded up to whole seconds of RateLimit, after which the count
	// restarts. A RateLimit of 0 means no limit. RATE_LIMIT, 100; RATE_BURST, 200.
	RateLimit, RateBurst int
	// MaxConnections bounds the open connections, and so the memory of their buffers:
	// 96 KB each. MAX_CONNECTIONS, 2048.
	MaxConnections int

	// AdminAddr is the address of metrics and profiles, "host:port"; empty means none.
	// ADMIN_ADDR. Loopback suffices for a sidecar, which shares the task's network.
	AdminAddr string
	// TraceURL is the URL of a collector for OTLP over HTTP; empty means none.
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT followed by
	// /v1/traces.
	TraceURL string
	// TraceHeaders are sent with the spans; they may contain secrets.
	// OTEL_EXPORTER_OTLP_TRACES_HEADERS, or OTEL_EXPORTER_OTLP_HEADERS:
	// "name=value,name=value", with URL-encoded values.
	TraceHeaders map[string]string
}

// LogValue returns the configuration for the log: by variable, without secrets.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("PORT", c.Port),
		slog.String("ENVIRONMENT", c.Environment),
		slog.String("LOG_LEVEL", c.LogLevel.String()),
		slog.String("READ_TIMEOUT", c.ReadTimeout.String()),
		slog.String("WRITE_TIMEOUT", c.WriteTimeout.String()),
		slog.String("IDLE_TIMEOUT", c.IdleTimeout.String()),
		slog.String("DRAIN_DELAY", c.DrainDelay.String()),
		slog.String("DRAIN_TIMEOUT", c.DrainTimeout.String()),
		slog.String("STOP_TIMEOUT", c.StopTimeout.String()),
		slog.Int("TRUSTED_HOPS", c.TrustedHops),
		slog.Int("RATE_LIMIT", c.RateLimit),
		slog.Int("RATE_BURST", c.RateBurst),
		slog.Int("MAX_CONNECTIONS", c.MaxConnections),
		slog.String("ADMIN_ADDR", c.AdminAddr),
		slog.String("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.TraceURL),
		slog.Any("OTEL_EXPORTER_OTLP_HEADERS", slices.Sorted(maps.Keys(c.TraceHeaders))),
	)
}

// Load loads the configuration with getenv. An empty value counts as not set. The error
// has one line for each invalid variable, with its value and what is valid.
func Load(getenv func(string) string) (Config, error) {
	r := envReader{getenv: getenv}
	cfg := Config{
		Port:         r.port("PORT", DefaultPort),
		Hostname:     getenv("HOSTNAME"),
		Version:      r.version("VERSION"),
		Environment:  r.version("ENVIRONMENT"),
		MetadataURI:  getenv("ECS_CONTAINER_METADATA_URI_V4"),
		LogLevel:     r.level("LOG_LEVEL", slog.LevelInfo),
		ReadTimeout:  r.duration("READ_TIMEOUT", 10*time.Second, time.Millisecond),
		WriteTimeout: r.duration("WRITE_TIMEOUT", 10*time.Second, time.Millisecond),
		IdleTimeout:  r.duration("IDLE_TIMEOUT", 75*time.Second, albIdleTimeout+time.Second),
		DrainDelay:   r.duration("DRAIN_DELAY", 0, 0),
		DrainTimeout: r.duration("DRAIN_TIMEOUT", 20*time.Second, time.Millisecond),
		StopTimeout:  r.duration("STOP_TIMEOUT", defaultStopTimeout, FlushTimeout+time.Second),

		TrustedHops:    r.number("TRUSTED_HOPS", 1, 0, 10),
		RateLimit:      r.number("RATE_LIMIT", 100, 0, 1_000_000),
		RateBurst:      r.number("RATE_BURST", 200, 1, 1_000_000),
		MaxConnections: r.number("MAX_CONNECTIONS", 2048, 1, 65535),

		AdminAddr:    r.address("ADMIN_ADDR"),
		TraceURL:     r.traceURL(),
		TraceHeaders: r.traceHeaders(),
	}
	// Compared by subtraction: the sum of two long durations overflows.
	if cfg.DrainTimeout >= cfg.StopTimeout-FlushTimeout-cfg.DrainDelay {
		r.errs = append(r.errs, fmt.Errorf(
			"DRAIN_DELAY=%s and DRAIN_TIMEOUT=%s: together they must stay %s below STOP_TIMEOUT=%s, when the task is killed",
			cfg.DrainDelay, cfg.DrainTimeout, FlushTimeout, cfg.StopTimeout))
	}
	if err := errors.Join(r.errs...); err != nil {
		return Config{}, err
	}
	return cfg, nil
}
