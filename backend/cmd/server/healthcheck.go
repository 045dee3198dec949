package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"slipway/backend/internal/config"
)

// healthCheckTimeout is below the default timeout of container health checks in ECS and
// Docker, five seconds.
const healthCheckTimeout = 2 * time.Second

// healthCheck is the health check of the image, which has no shell and no curl. It
// requests the health of the server on this host. Docker reserves all exit codes except
// 0 and 1.
func healthCheck(ctx context.Context, getenv func(string) string, stderr io.Writer) int {
	if err := checkHealth(ctx, getenv); err != nil {
		_, _ = fmt.Fprintf(stderr, "unhealthy: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitFailed
	}
	return exitOK
}

func checkHealth(ctx context.Context, getenv func(string) string) error {
	cfg, err := config.Load(getenv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthCheckTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)) + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A new transport, so that a proxy in the environment is not used for loopback.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s responded with status %s", url, resp.Status)
	}
	return nil
}
