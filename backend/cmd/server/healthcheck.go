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

// healthcheckTimeout is below the five seconds that ECS and Docker allow a
// container's health check by default.
const healthcheckTimeout = 2 * time.Second

// healthcheck asks the server on this host for its health. It is the health
// check of an image that has no shell and no curl. Docker reserves every exit
// code but 0 and 1.
func healthcheck(ctx context.Context, getenv func(string) string, stderr io.Writer) int {
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
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)) + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A transport of its own, because a proxy from the environment has no
	// business with this host's loopback.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
