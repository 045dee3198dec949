package httpapi

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// requestIDKey is where a request's id is kept in the context.
type requestIDKey struct{}

// requestIDPattern says which ids are taken over from a client. They end up in
// logs and in answers, so they are short and hold nothing that means anything
// to a terminal, a log query or HTML.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,128}$`)

// requestID gives every request an id: the client's own if it is acceptable,
// else a random one. A counter would tell everyone how much traffic there is.
func requestID(c *fiber.Ctx) error {
	id := c.Get(fiber.HeaderXRequestID)
	if requestIDPattern.MatchString(id) {
		id = utils.CopyString(id) // the framework reuses the header's memory
	} else {
		id = utils.UUIDv4()
	}
	c.Locals(requestIDKey{}, id)
	c.Set(fiber.HeaderXRequestID, id)
	return c.Next()
}

// accessLog writes one line per request. Health checks come every few seconds
// from every load balancer node and are logged at debug level. Query strings
// stay out: that is where people put secrets.
func (s *Server) accessLog(c *fiber.Ctx) (err error) {
	start := time.Now()
	level := slog.LevelDebug
	if path := c.Path(); path != "/health" && path != "/api/health" {
		level = slog.LevelInfo
		s.requests.Add(1)
	}
	// Deferred and pessimistic, so that a panicking handler has its line too.
	status := fiber.StatusInternalServerError
	defer func() {
		s.opts.Log.LogAttrs(c.UserContext(), level, "request",
			slog.Any("request_id", c.Locals(requestIDKey{})),
			slog.String("method", c.Method()),
			slog.String("path", c.Path()),
			slog.Int("status", status),
			slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000),
			slog.String("peer", c.Context().RemoteAddr().String()))
	}()
	err = c.Next()
	if err != nil {
		status = statusOf(err)
	} else {
		status = c.Response().StatusCode()
	}
	return err
}

func (s *Server) logPanic(c *fiber.Ctx, reason any) {
	s.opts.Log.LogAttrs(c.UserContext(), slog.LevelError, "panic",
		slog.Any("request_id", c.Locals(requestIDKey{})),
		slog.String("reason", fmt.Sprint(reason)),
		slog.String("stack", string(debug.Stack())))
}

func noStore(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Next()
}
