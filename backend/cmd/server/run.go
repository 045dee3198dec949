package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"slipway/backend/internal/config"
	"slipway/backend/internal/identity"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong arguments or configuration
)

const usage = `usage: server [command]

Without a command it serves the API until SIGTERM or SIGINT.

  healthcheck  check the health of the server on this host; exit 0 or 1
  version      print the version

Environment: PORT, HOSTNAME, VERSION, ENVIRONMENT, LOG_LEVEL, READ_TIMEOUT, WRITE_TIMEOUT,
IDLE_TIMEOUT, DRAIN_DELAY, DRAIN_TIMEOUT, STOP_TIMEOUT, TRUSTED_HOPS,
RATE_LIMIT, RATE_BURST, MAX_CONNECTIONS, ADMIN_ADDR,
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and OpenTelemetry's
other variables for traces.
`

// run runs the program and returns its exit code. Its only global state is the process's
// signals.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	switch command := strings.Join(args, " "); command {
	case "":
		return serve(ctx, getenv, stdout, stderr)
	case "healthcheck":
		return healthCheck(ctx, getenv, stderr)
	case "version":
		return printVersion(getenv, stdout, stderr)
	case "help", "-h", "--help":
		_, _ = io.WriteString(stdout, usage)
		return exitOK
	default:
		_, _ = fmt.Fprintf(stderr, "server: unknown arguments %q\n%s", command, usage)
		return exitUsage
	}
}

func printVersion(getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(getenv)
	if err != nil {
		return printConfigError(stderr, err)
	}
	_, _ = fmt.Fprintln(stdout, identity.New(cfg.Hostname, cfg.Version).Version)
	return exitOK
}

func printConfigError(stderr io.Writer, err error) int {
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintf(stderr, "server: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exitUsage
}
