package httpapi

import (
	"net/netip"

	"github.com/gofiber/fiber/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// remembered is how many clients the limiter knows at a time, about 200 bytes
// each. Whoever was not seen for longest is forgotten first.
const remembered = 8192

// limiter gives every client a bucket of tokens.
type limiter struct {
	rate    rate.Limit
	burst   int
	buckets *lru.Cache[netip.Addr, *rate.Limiter]
}

// newLimiter admits so many requests a second in the long run, and burst at
// once.
func newLimiter(perSecond, burst int) *limiter {
	buckets, _ := lru.New[netip.Addr, *rate.Limiter](remembered) // fails for sizes below one only
	return &limiter{rate: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

func (l *limiter) allow(client netip.Addr) bool {
	client = household(client)
	bucket, ok := l.buckets.Get(client)
	if !ok {
		bucket = rate.NewLimiter(l.rate, l.burst)
		if other, found, _ := l.buckets.PeekOrAdd(client, bucket); found {
			bucket = other // somebody was faster
		}
	}
	return bucket.Allow()
}

// household is what is counted as one client: of version 6, everybody gets at
// least a /64 (RFC 6177), so that single addresses mean nothing.
func household(client netip.Addr) netip.Addr {
	if client.Is4() {
		return client
	}
	prefix, err := client.Prefix(64)
	if err != nil {
		return client
	}
	return prefix.Addr()
}

// limit refuses clients that ask too often. This host itself is not limited:
// nobody else can come from loopback, and who is there can do worse.
func (s *Server) limit(c *fiber.Ctx) error {
	client := exchangeOf(c).client
	if client.IsLoopback() || s.limiter.allow(client) {
		return c.Next()
	}
	s.meter.limited.Inc()
	c.Set(fiber.HeaderRetryAfter, "1")
	return fiber.ErrTooManyRequests
}
