package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"slipway/backend/internal/config"
	"slipway/backend/internal/httpapi"
	"slipway/backend/internal/identity"
)

// serve runs the server until ctx is done or the process is told to stop.
func serve(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(getenv)
	if err != nil {
		return misconfigured(stderr, err)
	}
	log := slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: cfg.LogLevel}))

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// Once stopping, a second signal ends the process the hard way.
	context.AfterFunc(ctx, stop)

	ln, err := listen(ctx, cfg.Port)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "server: %v\n", err)
		return exitFailed
	}
	instance := identity.New(cfg.Hostname, cfg.Version)
	server := httpapi.New(httpapi.Options{
		Instance:     instance,
		Log:          log,
		ReadTimeout:  cfg.ReadTimeout,
		WriteTimeout: cfg.WriteTimeout,
		IdleTimeout:  cfg.IdleTimeout,
		DrainDelay:   cfg.DrainDelay,
		DrainTimeout: cfg.DrainTimeout,
	})
	log.Info("started",
		slog.String("address", ln.Addr().String()),
		slog.String("hostname", instance.Hostname),
		slog.String("version", instance.Version))

	// Beside the serving, not before it: the address is good to know, but
	// nothing to wait for.
	var resolving sync.WaitGroup
	resolving.Go(func() {
		if err := instance.Resolve(ctx, cfg.MetadataURI); err != nil {
			log.Warn("keeping the host's address", slog.String("ip", instance.IP()), slog.Any("error", err))
		}
	})
	err = server.Serve(ctx, ln)
	resolving.Wait()

	uptime := slog.String("uptime", time.Since(instance.StartedAt).Round(time.Millisecond).String())
	if err != nil {
		log.Error("stopped", uptime, slog.Any("error", err))
		return exitFailed
	}
	log.Info("stopped", uptime)
	return exitOK
}

// listen binds the port on all interfaces, IPv4 and IPv6.
func listen(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, listenError(port, err)
	}
	return ln, nil
}

// listenError says what to do about err where that is known.
func listenError(port int, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use: stop the process that holds it, or set PORT to a free one", port)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs privileges: set PORT to 1024 or above", port)
	default:
		return fmt.Errorf("listening on port %d: %w", port, err)
	}
}
