package httpapi

import (
	_ "embed"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// openAPI describes the API, by OpenAPI 3.0.
//
//go:embed openapi.json
var openAPI []byte

// instanceBody answers GET /api/. The first three fields are what the page and
// other clients have always relied on.
type instanceBody struct {
	Hostname  string    `json:"hostname"`
	IP        string    `json:"ip"`
	Status    string    `json:"status"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	// Requests counts what this process was asked since it started, this
	// request included, health checks not.
	Requests uint64 `json:"requests"`
}

func (s *Server) getInstance(c *fiber.Ctx) error {
	instance := s.opts.Instance
	return c.JSON(instanceBody{
		Hostname:  instance.Hostname,
		IP:        instance.IP(),
		Status:    "active",
		Version:   instance.Version,
		StartedAt: instance.StartedAt.Truncate(time.Millisecond),
		Requests:  s.requests.Load(),
	})
}

// getHealth says whether the instance wants requests. A draining one does not,
// though it still answers those that come.
func (s *Server) getHealth(c *fiber.Ctx) error {
	if s.draining.Load() {
		return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{"status": "draining"})
	}
	return s.getLiveness(c)
}

// getLiveness says that the process is alive, which it is until it ends. Who
// restarts what is not alive must not restart what drains.
func (s *Server) getLiveness(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": "ok"}) }

// getDocument may be cached, as long as it is asked whether it is still true.
func (s *Server) getDocument(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(openAPI)
}

// handleError turns whatever went wrong into JSON. The text is that of the
// status, never of the error: errors hold the client's own input or internals.
func (s *Server) handleError(c *fiber.Ctx, err error) error {
	status := statusOf(err)
	id := c.GetRespHeader(fiber.HeaderXRequestID)
	if id == "" {
		// No middleware has seen the request, because it could not be read.
		id = utils.UUIDv4()
		c.Set(fiber.HeaderXRequestID, id)
		c.Set(fiber.HeaderCacheControl, "no-store")
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		s.opts.Log.LogAttrs(c.Context(), slog.LevelInfo, "refused",
			slog.String("request_id", id),
			slog.Int("status", status),
			slog.String("peer", c.Context().RemoteAddr().String()))
	}
	return c.Status(status).JSON(fiber.Map{"error": strings.ToLower(utils.StatusMessage(status)), "request_id": id})
}

// statusOf is the status that handleError gives to err.
func statusOf(err error) int {
	var failure *fiber.Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fiber.StatusInternalServerError
}
