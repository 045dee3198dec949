package config_test

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"slipway/backend/internal/config"
)

// getenvOf returns a getenv of alternating names and values.
func getenvOf(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestLoadDefaults(t *testing.T) {
	cfg, err := config.Load(getenvOf())
	require.NoError(t, err)
	require.Equal(t, config.Config{
		Port:         8000,
		LogLevel:     slog.LevelInfo,
		ReadTimeout:  10 * time.Second,
		WriteTimeout: 10 * time.Second,
		IdleTimeout:  75 * time.Second,
		DrainTimeout: 20 * time.Second,
		StopTimeout:  30 * time.Second,

		TrustedHops:    1,
		RateLimit:      100,
		RateBurst:      200,
		MaxConnections: 2048,
	}, cfg)
}

func TestLoadFromEnvironment(t *testing.T) {
	cfg, err := config.Load(getenvOf(
		"PORT", "65535",
		"HOSTNAME", "ip-10-0-10-7",
		"VERSION", "v1.2.3+exp",
		"ENVIRONMENT", "staging",
		"ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/abc",
		"LOG_LEVEL", "debug",
		"READ_TIMEOUT", "1s",
		"WRITE_TIMEOUT", "2s",
		"IDLE_TIMEOUT", "2m",
		"DRAIN_DELAY", "5s",
		"DRAIN_TIMEOUT", "52s",
		"STOP_TIMEOUT", "60s",
		"TRUSTED_HOPS", "2",
		"RATE_LIMIT", "0",
		"RATE_BURST", "1",
		"MAX_CONNECTIONS", "10",
		"ADMIN_ADDR", "127.0.0.1:9090",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/otlp/",
		"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc, x-tenant = a ",
	))
	require.NoError(t, err)
	require.Equal(t, config.Config{
		Port:         65535,
		Hostname:     "ip-10-0-10-7",
		Version:      "v1.2.3+exp",
		Environment:  "staging",
		MetadataURI:  "http://169.254.170.2/v4/abc",
		LogLevel:     slog.LevelDebug,
		ReadTimeout:  time.Second,
		WriteTimeout: 2 * time.Second,
		IdleTimeout:  2 * time.Minute,
		DrainDelay:   5 * time.Second,
		DrainTimeout: 52 * time.Second,
		StopTimeout:  time.Minute,

		TrustedHops:    2,
		RateLimit:      0,
		RateBurst:      1,
		MaxConnections: 10,

		AdminAddr:    "127.0.0.1:9090",
		TraceURL:     "http://127.0.0.1:4318/otlp/v1/traces",
		TraceHeaders: map[string]string{"Authorization": "Basic abc", "x-tenant": "a"},
	}, cfg)
}

func TestLoadLevels(t *testing.T) {
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		cfg, err := config.Load(getenvOf("LOG_LEVEL", name))
		require.NoError(t, err)
		require.Equal(t, level, cfg.LogLevel)
	}
}

func TestLoadInvalid(t *testing.T) {
	const longest = 9223372036 * time.Second
	tests := map[string]struct {
		env  []string
		want string
	}{
		"no number":         {[]string{"PORT", "http"}, `PORT="http": must be a whole number from 1 to 65535; unset it for 8000`},
		"port zero":         {[]string{"PORT", "0"}, `PORT="0": must be`},
		"negative port":     {[]string{"PORT", "-1"}, `PORT="-1": must be`},
		"port too high":     {[]string{"PORT", "65536"}, `PORT="65536": must be`},
		"port with blank":   {[]string{"PORT", "80 "}, `PORT="80 ": must be`},
		"version":           {[]string{"VERSION", "a b"}, `VERSION="a b": must be 1 to 128 letters`},
		"version newline":   {[]string{"VERSION", "a\nb"}, `VERSION="a\nb": must be`},
		"version too long":  {[]string{"VERSION", strings.Repeat("a", 129)}, `must be 1 to 128 letters`},
		"level":             {[]string{"LOG_LEVEL", "loud"}, `LOG_LEVEL="loud": must be debug, info, warn or error`},
		"no unit":           {[]string{"READ_TIMEOUT", "5"}, `READ_TIMEOUT="5": must be a duration of at least 1ms, like 10s`},
		"unlimited write":   {[]string{"WRITE_TIMEOUT", "0s"}, `WRITE_TIMEOUT="0s": must be a duration of at least 1ms`},
		"idle below ALB":    {[]string{"IDLE_TIMEOUT", "60s"}, `IDLE_TIMEOUT="60s": must be a duration of at least 1m1s, like 1m15s`},
		"negative delay":    {[]string{"DRAIN_DELAY", "-1s"}, `DRAIN_DELAY="-1s": must be a duration of at least 0s, like 1s`},
		"drain too long":    {[]string{"DRAIN_DELAY", "8s"}, `DRAIN_DELAY=8s and DRAIN_TIMEOUT=20s: together they must stay 2s below STOP_TIMEOUT=30s`},
		"drain overflowing": {[]string{"DRAIN_DELAY", longest.String(), "DRAIN_TIMEOUT", longest.String()}, `together they must stay 2s below`},
		"stopped too soon":  {[]string{"STOP_TIMEOUT", "1s"}, `STOP_TIMEOUT="1s": must be a duration of at least 3s, like 30s`},
		"hops":              {[]string{"TRUSTED_HOPS", "-1"}, `TRUSTED_HOPS="-1": must be a whole number from 0 to 10; unset it for 1`},
		"rate":              {[]string{"RATE_LIMIT", "1e3"}, `RATE_LIMIT="1e3": must be a whole number`},
		"no burst":          {[]string{"RATE_BURST", "0"}, `RATE_BURST="0": must be a whole number from 1 to`},
		"no connections":    {[]string{"MAX_CONNECTIONS", "0"}, `MAX_CONNECTIONS="0": must be a whole number from 1 to`},
		"admin, no port":    {[]string{"ADMIN_ADDR", "127.0.0.1"}, `ADMIN_ADDR="127.0.0.1": must be a host and a port`},
		"admin, port zero":  {[]string{"ADMIN_ADDR", ":0"}, `ADMIN_ADDR=":0": must be a host and a port`},
		"collector":         {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", "me:hunter2@host"}, `OTEL_EXPORTER_OTLP_ENDPOINT=(hidden): must be a URL`},
		"password":          {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hunter2@host"}, `OTEL_EXPORTER_OTLP_ENDPOINT=(hidden): must be a URL like http://127.0.0.1:4318; secrets belong in OTEL_EXPORTER_OTLP_HEADERS`},
		"token":             {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://host/?token=hunter2"}, `must be a URL`},
		"trace collector":   {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://host"}, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=(hidden): must be a URL`},
		"header, no value":  {[]string{"OTEL_EXPORTER_OTLP_HEADERS", "a=b,hunter2"}, `OTEL_EXPORTER_OTLP_HEADERS=(hidden): pair 2 must be like name=value`},
		"trace header":      {[]string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"}, `OTEL_EXPORTER_OTLP_TRACES_HEADERS=(hidden): pair 1`},
		"header, two lines": {[]string{"OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ahunter2"}, `OTEL_EXPORTER_OTLP_HEADERS=(hidden): pair 1`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Load(getenvOf(test.env...))
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n", "one mistake, one line")
			require.NotContains(t, err.Error(), "hunter2", "no secret in messages")
			require.Zero(t, cfg)
		})
	}
}

func TestLoadReportsAllErrors(t *testing.T) {
	_, err := config.Load(getenvOf("PORT", "x", "LOG_LEVEL", "x", "IDLE_TIMEOUT", "x", "VERSION", "?"))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 4)
	for i, name := range []string{"PORT", "VERSION", "LOG_LEVEL", "IDLE_TIMEOUT"} {
		require.True(t, strings.HasPrefix(lines[i], name+"="), lines[i])
	}
}

func TestTraceEndpoint(t *testing.T) {
	cfg, err := config.Load(getenvOf(
		"OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/as/it/is",
		"OTEL_EXPORTER_OTLP_HEADERS", "a=all", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=traces"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "traces"}, cfg.TraceHeaders)
	require.Equal(t, "https://traces/as/it/is", cfg.TraceURL)
}

func TestLogValueHidesSecrets(t *testing.T) {
	cfg, err := config.Load(getenvOf(
		"OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/x",
		"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=hunter2,X-Tenant=hunter2"))
	require.NoError(t, err)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("started", slog.Any("config", cfg))
	require.NotContains(t, logged.String(), "hunter2")
	require.Contains(t, logged.String(), `"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":"https://collector:4318/x/v1/traces"`)
	require.Contains(t, logged.String(), `"OTEL_EXPORTER_OTLP_HEADERS":["Authorization","X-Tenant"]`)
	require.Contains(t, logged.String(), `"PORT":8000`)
	// A new field must be considered there.
	require.Len(t, cfg.LogValue().Group(), reflect.TypeFor[config.Config]().NumField()-3,
		"all but hostname, version and metadata endpoint, which are printed as identity")
}

// FuzzLoad checks the guarantees of a configuration for any environment.
func FuzzLoad(f *testing.F) {
	f.Add("8000", "v1.2.3", "info", "10s", "0s")
	f.Add("", "", "", "", "")
	f.Add("0", "-", "INFO", "1", "-1ns")
	f.Add("65536", "a\nb", "debug ", "2562047h47m16.854775807s", "2562047h47m16.854775807s")
	f.Add("+80", "\xff", "4", "60.000000001s", "29.999999999s")
	f.Add("1", "1", "warn", "http://u:p@[::1]:4318/?q#f", "a=%41, b=c")
	f.Fuzz(func(t *testing.T, port, version, level, timeout, drain string) {
		cfg, err := config.Load(getenvOf("PORT", port, "VERSION", version, "LOG_LEVEL", level,
			"READ_TIMEOUT", timeout, "IDLE_TIMEOUT", timeout, "DRAIN_DELAY", drain, "DRAIN_TIMEOUT", drain,
			"TRUSTED_HOPS", port, "RATE_LIMIT", port, "ADMIN_ADDR", level, "OTEL_EXPORTER_OTLP_ENDPOINT", timeout,
			"OTEL_EXPORTER_OTLP_HEADERS", drain))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				require.Regexp(t, `^[A-Z_]+=.+: .*must `, line)
			}
			return
		}
		require.Positive(t, cfg.Port)
		require.LessOrEqual(t, cfg.Port, 65535)
		require.Positive(t, cfg.ReadTimeout)
		require.Greater(t, cfg.IdleTimeout, time.Minute)
		require.GreaterOrEqual(t, cfg.DrainDelay, time.Duration(0))
		require.Less(t, cfg.DrainDelay+cfg.DrainTimeout+config.FlushTimeout, cfg.StopTimeout)
		require.GreaterOrEqual(t, cfg.TrustedHops, 0)
		require.NotContains(t, cfg.Version, "\n")
	})
}
