// Package config turns the environment into a validated configuration.
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
	// DefaultPort is where the service listens when PORT is not set.
	DefaultPort = 8000

	// defaultStopTimeout is how long ECS waits between SIGTERM and SIGKILL
	// unless the task definition says otherwise (API reference,
	// ContainerDefinition, stopTimeout). A drain that takes longer would be cut
	// off.
	defaultStopTimeout = 30 * time.Second

	// FlushTimeout bounds what is done after the drain: sending the last spans.
	FlushTimeout = 2 * time.Second

	// albIdleTimeout is after how long an Application Load Balancer drops an
	// idle connection by default. The server has to hold it for longer, or it
	// closes a connection on which the load balancer is just sending a request,
	// and the client sees a 502.
	albIdleTimeout = 60 * time.Second
)

// versionPattern admits commit ids, semantic versions and image tags.
var versionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// Config is everything the environment decides. Load is the only way to one
// that is valid.
type Config struct {
	// Port is the TCP port to listen on, on all interfaces. PORT, 8000.
	Port int
	// Hostname overrides what the operating system calls this host; empty
	// means to ask it. HOSTNAME.
	Hostname string
	// Version names the release that runs; empty means to ask the binary.
	// VERSION, set by the release in the task definition.
	Version string
	// MetadataURI is the container metadata endpoint of ECS, empty outside of
	// it. ECS_CONTAINER_METADATA_URI_V4, set by the ECS agent.
	MetadataURI string
	// LogLevel is the least severe level that is written. LOG_LEVEL, info.
	LogLevel slog.Level
	// ReadTimeout bounds reading one request, headers and body. READ_TIMEOUT, 10s.
	ReadTimeout time.Duration
	// WriteTimeout bounds writing one response. WRITE_TIMEOUT, 10s.
	WriteTimeout time.Duration
	// IdleTimeout is how long an idle connection is kept. IDLE_TIMEOUT, 75s.
	IdleTimeout time.Duration
	// DrainDelay is how long the server answers on after SIGTERM, reporting
	// itself as not ready, so that load balancers can notice. DRAIN_DELAY, 0s:
	// ECS deregisters the target before it stops the task.
	DrainDelay time.Duration
	// DrainTimeout bounds the wait for requests in flight. DRAIN_TIMEOUT, 20s.
	DrainTimeout time.Duration
	// StopTimeout is when the process is killed after SIGTERM: the stopTimeout
	// of the task definition. STOP_TIMEOUT, 30s, as in ECS.
	StopTimeout time.Duration

	// TrustedHops is how many proxies in front of the server append to
	// X-Forwarded-For: 1 behind a load balancer or an Nginx, 2 behind both, 0 if
	// clients connect directly. TRUSTED_HOPS, 1.
	TrustedHops int
	// RateLimit is how many requests to /api a client may make per second, and
	// RateBurst at once, rounded up to whole seconds of RateLimit: that is how
	// long requests are counted before the count begins anew. A RateLimit of 0
	// means no limit. RATE_LIMIT, 100; RATE_BURST, 200.
	RateLimit, RateBurst int
	// MaxConnections bounds the open connections, and with them the memory that
	// clients can make the server use: 96 KB each. MAX_CONNECTIONS, 2048.
	MaxConnections int

	// AdminAddr is where metrics and profiles are served, "host:port"; empty
	// means nowhere. ADMIN_ADDR. Loopback suffices for a sidecar, which shares
	// the task's network.
	AdminAddr string
	// TraceURL is where spans are sent by OTLP over HTTP; empty means nowhere.
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT and
	// /v1/traces behind it.
	TraceURL string
	// TraceHeaders go with the spans. They are how collectors are told secrets.
	// OTEL_EXPORTER_OTLP_TRACES_HEADERS, or OTEL_EXPORTER_OTLP_HEADERS:
	// "name=value,name=value", values URL-encoded.
	TraceHeaders map[string]string
}

// LogValue is the configuration as it may be printed: under the variables'
// names, without what could be secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("PORT", c.Port),
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

// Load reads the configuration through getenv, where an empty value counts as
// not set. The error joins one line per mistake, each naming the variable, the
// value and what would be right.
func Load(getenv func(string) string) (Config, error) {
	r := reader{getenv: getenv}
	cfg := Config{
		Port:         r.port("PORT", DefaultPort),
		Hostname:     getenv("HOSTNAME"),
		Version:      r.version("VERSION"),
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
