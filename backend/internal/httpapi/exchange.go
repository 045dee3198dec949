package httpapi

import (
	"crypto/rand"
	"net"
	"net/netip"
	"regexp"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"slipway/backend/internal/forwarded"
)

// exchange is what the middleware knows about one request and its answer. It is
// reused as soon as the request is answered.
type exchange struct {
	id      string
	client  netip.Addr
	traceID string // empty if the request belongs to no trace

	// Memory that need not be asked for anew.
	random uuid.UUID
	body   instanceBody
}

// exchangeKey is where a request's exchange is kept in its context.
type exchangeKey struct{}

// exchangeOf is nil where a request could not even be read.
func exchangeOf(c *fiber.Ctx) *exchange {
	e, _ := c.Context().UserValue(exchangeKey{}).(*exchange)
	return e
}

// requestIDPattern says which ids are taken over from a client. They end up in
// logs and in answers, so they are short and hold nothing that means anything
// to a terminal, a log query or HTML.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,128}$`)

// requestID takes over a client's id if it is acceptable, else makes a random
// one. A counter would tell everyone how much traffic there is.
func (e *exchange) requestID(sent []byte) string {
	if requestIDPattern.Match(sent) {
		return string(sent) // a copy: the framework reuses the header's memory
	}
	_, _ = rand.Read(e.random[:])         // never fails
	e.random[6] = e.random[6]&0x0f | 0x40 // version 4, as RFC 9562 has it
	e.random[8] = e.random[8]&0x3f | 0x80
	return e.random.String()
}

// identify gives every request an id, and finds out who asks.
func (s *Server) identify(c *fiber.Ctx) error {
	e, header := exchangeOf(c), &c.Context().Request.Header
	e.id = e.requestID(header.Peek(fiber.HeaderXRequestID))
	e.client = forwarded.Client(peerOf(c.Context()), header.PeekAll(fiber.HeaderXForwardedFor), s.opts.TrustedHops)
	c.Set(fiber.HeaderXRequestID, e.id)
	return c.Next()
}

// peerOf is the address at the other end of the connection.
func peerOf(ctx *fasthttp.RequestCtx) netip.Addr {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.IPv4Unspecified()
}
