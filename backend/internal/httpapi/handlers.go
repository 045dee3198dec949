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

// openAPI is the OpenAPI 3.0 document of the API.
//
//go:embed openapi.json
var openAPI []byte

// instanceBody is the response to GET /api/. The page and other clients rely on the first
// three fields.
type instanceBody struct {
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	Status   string `json:"status"`
	Version  string `json:"version"`
	// Environment is left out if there is none.
	Environment string    `json:"environment,omitempty"`
	StartedAt   time.Time `json:"started_at"`
	// Requests is the number of requests to this process, including this one and
	// without health checks.
	Requests uint64 `json:"requests"`
}

func (s *Server) getInstance(c *fiber.Ctx) error {
	instance := s.opts.Instance
	return c.JSON(instanceBody{
		Hostname:    instance.Hostname,
		IP:          instance.IP(),
		Status:      "active",
		Version:     instance.Version,
		Environment: instance.Environment,
		StartedAt:   instance.StartedAt.Truncate(time.Millisecond),
		Requests:    s.requests.Load(),
	})
}

// getHealth returns whether the instance is ready for requests. A draining one is not,
// although it still serves them.
func (s *Server) getHealth(c *fiber.Ctx) error {
	if s.draining.Load() {
		return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{"status": "draining"})
	}
	return s.getLiveness(c)
}

// getLiveness always succeeds: a draining instance must not be restarted.
func (s *Server) getLiveness(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": "ok"}) }

// getOpenAPI returns the OpenAPI document. Caches must revalidate it.
func (s *Server) getOpenAPI(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(openAPI)
}

// handleError writes an error as JSON. Its text is that of the status, not of the error,
// which may contain the client's input or internals.
func (s *Server) handleError(c *fiber.Ctx, err error) error {
	status := statusOf(err)
	id := c.GetRespHeader(fiber.HeaderXRequestID)
	if id == "" {
		// The request could not be parsed, so that no middleware has run.
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

// statusOf returns the status that handleError gives an error.
func statusOf(err error) int {
	var failure *fiber.Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fiber.StatusInternalServerError
}
