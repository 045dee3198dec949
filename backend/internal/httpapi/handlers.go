package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// instanceBody answers GET /api/. The first three fields are what the page and
// other clients have always relied on.
type instanceBody struct {
	Hostname  string `json:"hostname"`
	IP        string `json:"ip"`
	Status    string `json:"status"`
	Version   string `json:"version"`
	StartedAt string `json:"started_at"` // RFC 3339
	// Requests counts what this process was asked since it started, this
	// request included, health checks not.
	Requests uint64 `json:"requests"`
}

// introduction is an answer to GET /api/ up to the number of requests, and the
// address that it names, the only part of it that can change.
type introduction struct {
	ip   string
	text []byte
}

func (s *Server) introduce() (*introduction, error) {
	body := s.describe("active")
	if known := s.whoIAm.Load(); known != nil && known.ip == body.IP {
		return known, nil
	}
	body.Requests = 0
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	made := &introduction{ip: body.IP, text: bytes.TrimSuffix(text, []byte("0}"))}
	s.whoIAm.Store(made)
	return made, nil
}

func (s *Server) getInstance(c *fiber.Ctx) error {
	who, err := s.introduce()
	if err != nil {
		return err
	}
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	c.Response().AppendBody(who.text)
	c.Response().AppendBodyString(strconv.FormatUint(s.requests.Load(), 10))
	c.Response().AppendBodyString("}")
	return nil
}

func (s *Server) describe(status string) instanceBody {
	instance := s.opts.Instance
	return instanceBody{
		Hostname:  instance.Hostname,
		IP:        instance.IP(),
		Status:    status,
		Version:   instance.Version,
		StartedAt: s.startedAt,
		Requests:  s.requests.Load(),
	}
}

var statusOK, statusDraining = []byte(`{"status":"ok"}`), []byte(`{"status":"draining"}`)

// getHealth says whether the instance wants requests. A draining one does not,
// though it still answers those that come.
func (s *Server) getHealth(c *fiber.Ctx) error {
	if s.draining.Load() {
		return send(c.Status(fiber.StatusServiceUnavailable), statusDraining)
	}
	return send(c, statusOK)
}

// getLiveness says that the process is alive, which it is until it ends. Who
// restarts what is not alive must not restart what drains.
func (s *Server) getLiveness(c *fiber.Ctx) error { return send(c, statusOK) }

// send answers with JSON that never changes.
func send(c *fiber.Ctx, body []byte) error {
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	c.Response().SetBodyRaw(body)
	return nil
}

type errorBody struct {
	Error     string `json:"error"`
	RequestID string `json:"request_id"`
}

// handleError turns whatever went wrong into JSON. The text is that of the
// status, never of the error: errors hold the client's own input or internals.
func (s *Server) handleError(c *fiber.Ctx, err error) error {
	status := statusOf(err)
	var id string
	if e := exchangeOf(c); e != nil {
		id = e.id
	}
	if id == "" {
		// No middleware has seen the request, because it could not be read.
		id = newRequestID()
		s.common.CopyTo(&c.Response().Header)
		c.Set(fiber.HeaderXRequestID, id)
		s.logRefusal(id, status, c.Context().RemoteAddr())
	}
	return c.Status(status).JSON(errorBody{
		Error:     statusText(status),
		RequestID: id,
	})
}

// logRefusal takes the place of the access log where a request was not read.
func (s *Server) logRefusal(id string, status int, peer net.Addr) {
	s.opts.Log.LogAttrs(context.Background(), slog.LevelInfo, "refused",
		slog.String("request_id", id),
		slog.Int("status", status),
		slog.String("peer", peer.String()))
}

func statusText(status int) string { return strings.ToLower(utils.StatusMessage(status)) }

// statusOf is the status that handleError gives to err.
func statusOf(err error) int {
	var failure *fiber.Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fiber.StatusInternalServerError
}
