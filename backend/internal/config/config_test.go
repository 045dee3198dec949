package config_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"slipway/backend/internal/config"
)

// environment makes a getenv of alternating names and values.
func environment(pairs ...string) func(string) string {
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
	cfg, err := config.Load(environment())
	require.NoError(t, err)
	require.Equal(t, config.Config{
		Port:         8000,
		LogLevel:     slog.LevelInfo,
		ReadTimeout:  10 * time.Second,
		WriteTimeout: 10 * time.Second,
		IdleTimeout:  75 * time.Second,
		DrainTimeout: 20 * time.Second,
	}, cfg)
}

func TestLoadTakesWhatIsSet(t *testing.T) {
	cfg, err := config.Load(environment(
		"PORT", "65535",
		"HOSTNAME", "ip-10-0-10-7",
		"VERSION", "v1.2.3+exp",
		"ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/abc",
		"LOG_LEVEL", "debug",
		"READ_TIMEOUT", "1s",
		"WRITE_TIMEOUT", "2s",
		"IDLE_TIMEOUT", "2m",
		"DRAIN_DELAY", "5s",
		"DRAIN_TIMEOUT", "24s",
	))
	require.NoError(t, err)
	require.Equal(t, config.Config{
		Port:         65535,
		Hostname:     "ip-10-0-10-7",
		Version:      "v1.2.3+exp",
		MetadataURI:  "http://169.254.170.2/v4/abc",
		LogLevel:     slog.LevelDebug,
		ReadTimeout:  time.Second,
		WriteTimeout: 2 * time.Second,
		IdleTimeout:  2 * time.Minute,
		DrainDelay:   5 * time.Second,
		DrainTimeout: 24 * time.Second,
	}, cfg)
}

func TestLoadLevels(t *testing.T) {
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		cfg, err := config.Load(environment("LOG_LEVEL", name))
		require.NoError(t, err)
		require.Equal(t, level, cfg.LogLevel)
	}
}

func TestLoadRefuses(t *testing.T) {
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
		"drain too long":    {[]string{"DRAIN_DELAY", "10s"}, `DRAIN_DELAY=10s and DRAIN_TIMEOUT=20s: together they must stay below 30s`},
		"drain overflowing": {[]string{"DRAIN_DELAY", longest.String(), "DRAIN_TIMEOUT", longest.String()}, `together they must stay below 30s`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Load(environment(test.env...))
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n", "one mistake, one line")
			require.Zero(t, cfg)
		})
	}
}

func TestLoadReportsAllMistakesAtOnce(t *testing.T) {
	_, err := config.Load(environment("PORT", "x", "LOG_LEVEL", "x", "IDLE_TIMEOUT", "x", "VERSION", "?"))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 4)
	for i, name := range []string{"PORT", "VERSION", "LOG_LEVEL", "IDLE_TIMEOUT"} {
		require.True(t, strings.HasPrefix(lines[i], name+"="), lines[i])
	}
}

// FuzzLoad checks what the server relies on, whatever the environment holds.
func FuzzLoad(f *testing.F) {
	f.Add("8000", "v1.2.3", "info", "10s", "0s")
	f.Add("", "", "", "", "")
	f.Add("0", "-", "INFO", "1", "-1ns")
	f.Add("65536", "a\nb", "debug ", "2562047h47m16.854775807s", "2562047h47m16.854775807s")
	f.Add("+80", "\xff", "4", "60.000000001s", "29.999999999s")
	f.Fuzz(func(t *testing.T, port, version, level, timeout, drain string) {
		cfg, err := config.Load(environment("PORT", port, "VERSION", version, "LOG_LEVEL", level,
			"READ_TIMEOUT", timeout, "IDLE_TIMEOUT", timeout, "DRAIN_DELAY", drain, "DRAIN_TIMEOUT", drain))
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
		require.Less(t, cfg.DrainDelay+cfg.DrainTimeout, 30*time.Second)
		require.NotContains(t, cfg.Version, "\n")
	})
}
