package httpapi

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"slipway/backend/internal/forwarded"
)

// exchange is what the middleware knows about one request and its answer. It is
// reused as soon as the request is answered.
type exchange struct {
	start   time.Time
	id      string
	client  netip.Addr
	traceID string // of a span; empty if there is none
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
func requestID(sent []byte) string {
	if len(sent) > 0 && requestIDPattern.Match(sent) {
		return string(sent) // a copy: the framework reuses the header's memory
	}
	return newRequestID()
}

// newRequestID makes a UUID of version 4 (RFC 9562). Nobody can predict the next
// one (the generator is ChaCha8, seeded by the operating system), but no secret
// depends on that.
func newRequestID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// requestIDKey is the header's name as fasthttp writes it.
var requestIDKey = []byte("X-Request-Id")

// identify gives every request an id, and finds out who asks.
func (s *Server) identify(c *fiber.Ctx) error {
	e, header := exchangeOf(c), &c.Context().Request.Header
	e.id = requestID(header.PeekBytes(requestIDKey))
	e.client = forwarded.Client(peerOf(c.Context()), header.PeekAll(fiber.HeaderXForwardedFor), s.opts.TrustedHops)
	c.Response().Header.SetCanonical(requestIDKey, utils.UnsafeBytes(e.id)) // copies it
	return c.Next()
}

// peerOf is the address at the other end of the connection.
func peerOf(ctx *fasthttp.RequestCtx) netip.Addr {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.IPv4Unspecified()
}
