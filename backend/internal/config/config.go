// Package config turns the environment into a validated configuration.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"time"
)

const (
	// DefaultPort is where the service listens when PORT is not set.
	DefaultPort = 8000

	// stopTimeout is how long ECS waits between SIGTERM and SIGKILL unless the
	// task definition says otherwise (API reference, ContainerDefinition,
	// stopTimeout). A drain that takes longer would be cut off.
	stopTimeout = 30 * time.Second

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
	}
	// Compared by subtraction: the sum of two long durations overflows.
	if cfg.DrainTimeout >= stopTimeout-cfg.DrainDelay {
		r.errs = append(r.errs, fmt.Errorf(
			"DRAIN_DELAY=%s and DRAIN_TIMEOUT=%s: together they must stay below %s, when ECS kills the task",
			cfg.DrainDelay, cfg.DrainTimeout, stopTimeout))
	}
	if err := errors.Join(r.errs...); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// reader collects every mistake instead of stopping at the first.
type reader struct {
	getenv func(string) string
	errs   []error
}

func (r *reader) fail(name, value, want string) {
	r.errs = append(r.errs, fmt.Errorf("%s=%q: %s", name, value, want))
}

func (r *reader) port(name string, fallback int) int {
	value := r.getenv(name)
	if value == "" {
		return fallback
	}
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		r.fail(name, value, fmt.Sprintf("must be a whole number from 1 to 65535; unset it for %d", fallback))
		return fallback
	}
	return int(port)
}

func (r *reader) version(name string) string {
	value := r.getenv(name)
	if value != "" && !versionPattern.MatchString(value) {
		r.fail(name, value, "must be 1 to 128 letters, digits and . _ + -, like a commit id or v1.2.3")
		return ""
	}
	return value
}

func (r *reader) level(name string, fallback slog.Level) slog.Level {
	switch value := r.getenv(name); value {
	case "":
		return fallback
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		r.fail(name, value, "must be debug, info, warn or error")
		return fallback
	}
}

func (r *reader) duration(name string, fallback, least time.Duration) time.Duration {
	value := r.getenv(name)
	if value == "" {
		return fallback
	}
	duration, err := time.ParseDuration(value)
	if err != nil || duration < least {
		r.fail(name, value, fmt.Sprintf("must be a duration of at least %s, like %s", least, max(fallback, time.Second)))
		return fallback
	}
	return duration
}
