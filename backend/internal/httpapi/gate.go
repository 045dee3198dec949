package httpapi

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

const (
	// refusals is how many connections are told at a time why they are refused;
	// what comes beyond that is just closed.
	refusals = 64
	// refusalTimeout bounds the telling.
	refusalTimeout = time.Second
	// acceptPause is how long connections are left waiting when the host has
	// nothing left to accept them with. Those that end give it back.
	acceptPause = 100 * time.Millisecond
)

// gate is a listener that bounds the connections that are open. The framework
// can do so too, but answers in plain text.
type gate struct {
	net.Listener
	limit int64
	// refuse writes an answer to a connection that was not let in.
	refuse func(*fasthttp.Response, net.Conn)
	// starved is told when the host runs out of what a connection takes.
	starved func(error)

	open     atomic.Int64
	refusing chan struct{} // a place for each
	done     sync.WaitGroup
}

func newGate(ln net.Listener, limit int, refuse func(*fasthttp.Response, net.Conn), starved func(error)) *gate {
	return &gate{Listener: ln, limit: int64(limit), refuse: refuse, starved: starved, refusing: make(chan struct{}, refusals)}
}

// Accept returns the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.accept()
		if err != nil {
			return nil, err
		}
		if g.open.Add(1) <= g.limit {
			return &guest{Conn: conn, gate: g}, nil
		}
		g.open.Add(-1)
		g.turnOff(conn)
	}
}

// accept waits while the host has no file descriptors or memory left for another
// connection. The framework would end the server, with all that it serves.
func (g *gate) accept() (net.Conn, error) {
	for told := false; ; told = true {
		conn, err := g.Listener.Accept()
		var code syscall.Errno
		if !errors.As(err, &code) || !slices.Contains(exhausted, code) {
			return conn, err
		}
		if !told {
			g.starved(err)
		}
		<-time.After(acceptPause)
	}
}

// exhausted are the errors of accept(2) that say so.
var exhausted = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// turnOff must not keep others waiting.
func (g *gate) turnOff(conn net.Conn) {
	select {
	case g.refusing <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	g.done.Go(func() {
		defer func() { <-g.refusing }()
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
		// The request is read first: closing a connection with something unread
		// resets it, and the answer would be lost.
		_, _ = conn.Read(make([]byte, headerLimit))
		var answer fasthttp.Response
		g.refuse(&answer, conn)
		answer.SetConnectionClose()
		w := bufio.NewWriter(conn)
		_ = answer.Write(w)
		_ = w.Flush()
	})
}

// guest is a connection that was let in.
type guest struct {
	net.Conn
	gate *gate
	left sync.Once
}

func (c *guest) Close() error {
	c.left.Do(func() { c.gate.open.Add(-1) })
	return c.Conn.Close()
}

// turnOff is what those are told for whom there is no room.
func (s *Server) turnOff(answer *fasthttp.Response, conn net.Conn) {
	s.meter.turnedOff.Inc()
	id := newRequestID()
	s.logRefusal(id, fiber.StatusServiceUnavailable, conn.RemoteAddr())
	body, _ := s.app.Config().JSONEncoder(errorBody{Error: statusText(fiber.StatusServiceUnavailable), RequestID: id})
	answer.SetStatusCode(fiber.StatusServiceUnavailable)
	answer.Header.SetContentType(fiber.MIMEApplicationJSON)
	answer.Header.Set(fiber.HeaderXRequestID, id)
	answer.Header.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(retryAfter.Seconds())))
	answer.SetBody(body)
}

// starved logs it as an error: somebody must give the server more, or let it have
// fewer connections.
func (s *Server) starved(err error) {
	s.opts.Log.LogAttrs(context.Background(), slog.LevelError, "connections wait", slog.String("error", err.Error()))
}
