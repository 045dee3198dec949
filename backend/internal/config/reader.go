package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// envReader reads variables and collects all errors.
type envReader struct {
	getenv func(string) string
	errs   []error
}

func (r *envReader) fail(name, value, want string) {
	r.errs = append(r.errs, fmt.Errorf("%s=%q: %s", name, value, want))
}

func (r *envReader) port(name string, fallback int) int {
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

func (r *envReader) version(name string) string {
	value := r.getenv(name)
	if value != "" && !versionPattern.MatchString(value) {
		r.fail(name, value, "must be 1 to 128 letters, digits and . _ + -, like a commit id, v1.2.3 or staging")
		return ""
	}
	return value
}

func (r *envReader) level(name string, fallback slog.Level) slog.Level {
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

func (r *envReader) duration(name string, fallback, least time.Duration) time.Duration {
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

func (r *envReader) number(name string, fallback, least, most int) int {
	value := r.getenv(name)
	if value == "" {
		return fallback
	}
	number, err := strconv.Atoi(value)
	if err != nil || number < least || number > most {
		r.fail(name, value, fmt.Sprintf("must be a whole number from %d to %d; unset it for %d", least, most, fallback))
		return fallback
	}
	return number
}

func (r *envReader) address(name string) string {
	value := r.getenv(name)
	if value == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(value)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 {
		r.fail(name, value, "must be a host and a port, like 127.0.0.1:9090, or :9090 for all interfaces")
		return ""
	}
	return value
}

// traceURL returns the URL for traces by OpenTelemetry's rules for exporters over HTTP:
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp
func (r *envReader) traceURL() string {
	name, path := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""
	if r.getenv(name) == "" {
		name, path = "OTEL_EXPORTER_OTLP_ENDPOINT", "v1/traces"
	}
	value := r.getenv(name)
	if value == "" {
		return ""
	}
	parsed, err := url.Parse(value)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" {
		// The message omits the value, which may contain a password.
		r.errs = append(r.errs, fmt.Errorf("%s=(hidden): must be a URL like http://127.0.0.1:4318; secrets belong in OTEL_EXPORTER_OTLP_HEADERS", name))
		return ""
	}
	return parsed.JoinPath(path).String()
}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// traceHeaders returns the headers by the same rules: those for traces have precedence.
func (r *envReader) traceHeaders() map[string]string {
	headers := r.headers("OTEL_EXPORTER_OTLP_HEADERS")
	if traces := r.headers("OTEL_EXPORTER_OTLP_TRACES_HEADERS"); traces != nil {
		return traces
	}
	return headers
}

// headers reads headers in the format of W3C Baggage. Values are secret, so that a
// message only has the number of the pair.
func (r *envReader) headers(name string) map[string]string {
	value := strings.TrimSpace(r.getenv(name))
	if value == "" {
		return nil
	}
	headers := map[string]string{}
	for i, pair := range strings.Split(value, ",") {
		key, encoded, found := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		decoded, err := url.PathUnescape(strings.TrimSpace(encoded))
		if !found || err != nil || !headerName.MatchString(key) || strings.ContainsFunc(decoded, isControlCharacter) {
			r.errs = append(r.errs, fmt.Errorf("%s=(hidden): pair %d must be like name=value, the value URL-encoded", name, i+1))
			return nil
		}
		headers[key] = decoded
	}
	return headers
}

func isControlCharacter(c rune) bool { return c < ' ' || c == 0x7f }
