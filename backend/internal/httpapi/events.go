package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
)

// retryAfter is how long a browser waits before it asks again after a stream
// has ended: long enough for the load balancer to choose another instance.
const retryAfter = time.Second

// getEvents answers with server-sent events: at once and then with every
// heartbeat an event "heartbeat", which says who sends it; and when the instance
// drains an event "drain", which ends the stream.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func (s *Server) getEvents(c *fiber.Ctx) error {
	if !c.Context().Request.Header.IsHTTP11() {
		return fiber.ErrHTTPVersionNotSupported // a stream of unknown length needs chunks
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no") // Nginx would hold events back
	if c.Method() == fiber.MethodHead {
		return nil
	}
	if s.streams.Add(1) > int64(s.opts.MaxStreams) {
		s.streams.Add(-1)
		c.Set(fiber.HeaderRetryAfter, "5")
		return fiber.ErrServiceUnavailable
	}
	conn, id := c.Context().Conn(), exchangeOf(c).id
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.streams.Add(-1)
		// The framework runs this in a goroutine of its own, out of reach of the
		// middleware: a panic would end the process.
		defer func() {
			if reason := recover(); reason != nil {
				s.logPanic(id, reason)
			}
		}()
		// An error means that the client is gone.
		_ = s.stream(conn, w)
	})
	return nil
}

func (s *Server) stream(conn net.Conn, w *bufio.Writer) error {
	if _, err := fmt.Fprintf(w, "retry: %d\n\n", retryAfter.Milliseconds()); err != nil {
		return err
	}
	heartbeat := time.NewTicker(s.opts.Heartbeat)
	defer heartbeat.Stop()
	for !s.draining.Load() {
		if err := s.send(conn, w, "heartbeat", s.describe("active")); err != nil {
			return err
		}
		select {
		case <-heartbeat.C:
		case <-s.drained:
		}
	}
	return s.send(conn, w, "drain", s.describe("draining"))
}

// send writes one event. The write timeout is for each of them, not for the
// whole of the answer as it is elsewhere.
func (s *Server) send(conn net.Conn, w *bufio.Writer, event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	return w.Flush()
}
