package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"slipway/backend/internal/admin"
	"slipway/backend/internal/config"
	"slipway/backend/internal/httpapi"
	"slipway/backend/internal/identity"
	"slipway/backend/internal/tracing"
)

// serve runs the server until ctx is done or the process gets SIGTERM or SIGINT.
func serve(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(getenv)
	if err != nil {
		return printConfigError(stderr, err)
	}
	log := slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: cfg.LogLevel}))

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// A second signal terminates the process at once.
	context.AfterFunc(ctx, stop)

	ln, err := listen(ctx, cfg.Port)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "server: %v\n", err)
		return exitFailed
	}
	instance := identity.New(cfg.Hostname, cfg.Version)
	instance.Environment = cfg.Environment
	var background sync.WaitGroup // goroutines besides the API's
	defer background.Wait()
	backgroundCtx, stopBackground := context.WithCancel(context.WithoutCancel(ctx)) // after the drain
	defer stopBackground()

	var tracer trace.TracerProvider
	if cfg.TraceURL != "" {
		provider, err := tracing.Start(ctx, cfg.TraceURL, cfg.TraceHeaders, instance, log)
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "server: %v\n", errors.Join(err, ln.Close()))
			return exitFailed
		}
		defer flushSpans(backgroundCtx, provider, log)
		tracer = provider
	}
	server := httpapi.New(httpapi.Options{
		Instance:       instance,
		Log:            log,
		ReadTimeout:    cfg.ReadTimeout,
		WriteTimeout:   cfg.WriteTimeout,
		IdleTimeout:    cfg.IdleTimeout,
		DrainDelay:     cfg.DrainDelay,
		DrainTimeout:   cfg.DrainTimeout,
		TrustedHops:    cfg.TrustedHops,
		RateLimit:      cfg.RateLimit,
		RateBurst:      cfg.RateBurst,
		MaxConnections: cfg.MaxConnections,
		Tracer:         tracer,
	})
	if cfg.AdminAddr != "" {
		adminListener, err := listenTCP(ctx, cfg.AdminAddr)
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "server: ADMIN_ADDR=%q: %v\n", cfg.AdminAddr, errors.Join(err, ln.Close()))
			return exitFailed
		}
		background.Go(func() {
			if err := admin.Serve(backgroundCtx, adminListener, server.WriteMetrics); err != nil {
				log.Error("metrics", slog.Any("error", err))
			}
		})
	}
	log.Info("started",
		slog.String("address", ln.Addr().String()),
		slog.String("hostname", instance.Hostname),
		slog.String("version", instance.Version),
		slog.Int("gomaxprocs", runtime.GOMAXPROCS(0)),
		slog.Int64("gomemlimit", debug.SetMemoryLimit(-1)),
		slog.Any("config", cfg))

	// In the background: the server does not wait for its address.
	background.Go(func() {
		if err := instance.Resolve(ctx, cfg.MetadataURI); err != nil {
			log.Warn("cannot read the task's address, using the host's", slog.String("ip", instance.IP()), slog.Any("error", err))
		}
	})
	err = server.Serve(ctx, ln)
	stop()

	uptime := slog.String("uptime", time.Since(instance.StartedAt).Round(time.Millisecond).String())
	if err != nil {
		log.Error("stopped", uptime, slog.Any("error", err))
		return exitFailed
	}
	log.Info("stopped", uptime)
	return exitOK
}

// flushSpans sends the remaining spans, with a timeout for an unreachable collector.
func flushSpans(ctx context.Context, provider *sdk.TracerProvider, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, config.FlushTimeout)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		log.Warn("dropped the last spans", slog.Any("error", err))
	}
}

// listen listens on the port on all interfaces, IPv4 and IPv6.
func listen(ctx context.Context, port int) (net.Listener, error) {
	ln, err := listenTCP(ctx, net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, listenError(port, err)
	}
	return ln, nil
}

func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// listenError adds the next step to known errors.
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
