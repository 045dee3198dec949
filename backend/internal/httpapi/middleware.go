package httpapi

import (
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

// accessLog writes one line per request. Query strings stay out: that is where
// people put secrets.
func (s *Server) accessLog(c *fiber.Ctx) (err error) {
	start := time.Now()
	level := slog.LevelInfo
	if isProbe(c.Path()) {
		level = slog.LevelDebug
	}
	status := fiber.StatusInternalServerError
	defer func() {
		if !s.opts.Log.Enabled(c.UserContext(), level) {
			return
		}
		e := exchangeOf(c)
		s.opts.Log.LogAttrs(c.UserContext(), level, "request",
			slog.String("request_id", e.id),
			slog.String("trace_id", e.traceID),
			slog.String("method", c.Method()),
			slog.String("path", c.Path()),
			slog.Int("status", status),
			slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000),
			slog.String("client", e.client.String()))
	}()
	return observe(c, &status)
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

func (s *Server) logPanic(c *fiber.Ctx, reason any) {
	s.opts.Log.LogAttrs(c.UserContext(), slog.LevelError, "panic",
		slog.String("request_id", exchangeOf(c).id),
		slog.String("reason", fmt.Sprint(reason)),
		slog.String("stack", string(debug.Stack())))
}

func noStore(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Next()
}
