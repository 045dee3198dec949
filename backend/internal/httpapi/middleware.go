package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
)

// isProbe tells health checks, which come every few seconds from every load
// balancer node. They are logged at debug level, not counted and not traced.
func isProbe(path string) bool {
	switch path {
	case "/health", "/api/health", "/livez", "/readyz":
		return true
	}
	return false
}

// account counts, times and logs a request, once it is answered.
func (s *Server) account(c *fiber.Ctx) error {
	probe := isProbe(c.Path())
	if !probe {
		s.requests.Add(1)
	}
	status := fiber.StatusInternalServerError
	defer func() {
		e := exchangeOf(c)
		took := time.Since(e.start)
		s.meter.add(c.Route(), status, took)
		if probe {
			s.accessLog(c, e, slog.LevelDebug, status, took)
		} else {
			s.accessLog(c, e, slog.LevelInfo, status, took)
		}
	}()
	return observe(c, &status)
}

// accessLog writes one line per request. Query strings stay out: that is where
// people put secrets.
func (s *Server) accessLog(c *fiber.Ctx, e *exchange, level slog.Level, status int, took time.Duration) {
	log := s.opts.Log.Handler()
	if !log.Enabled(c.Context(), level) {
		return
	}
	// Past the logger, which looks for the line of code that it is called from.
	record := slog.NewRecord(e.start.Add(took), level, "request", 0)
	record.AddAttrs(
		slog.String("request_id", e.id),
		slog.String("trace_id", traceID(c, e)),
		slog.String("method", c.Method()),
		slog.String("path", c.Path()),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", e.client.String()))
	_ = log.Handle(c.Context(), record)
}

// observe goes on with the request and tells the status of its answer. What it
// points to stays as it is if the handler panics, so it is best a pessimistic
// one before.
func observe(c *fiber.Ctx, status *int) error {
	err := c.Next()
	if err != nil {
		*status = statusOf(err)
	} else {
		*status = c.Response().StatusCode()
	}
	return err
}

func (s *Server) logPanic(id string, reason any) {
	s.opts.Log.LogAttrs(context.Background(), slog.LevelError, "panic",
		slog.String("request_id", id),
		slog.String("reason", fmt.Sprint(reason)),
		slog.String("stack", string(debug.Stack())))
}
