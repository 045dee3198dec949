// Package httpapi serves the service's API over HTTP. It is the only package
// that knows the web framework.
package httpapi

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"slipway/backend/internal/identity"
)

const (
	// bodyLimit bounds a request's body in bytes; no route reads one.
	bodyLimit = 16 << 10
	// headerLimit bounds a request's line and headers in bytes: the 64 KB that an
	// Application Load Balancer takes from a client, and what it adds where it
	// authenticates users, a token and claims of up to 16 KB each. It is also
	// what each connection's read buffer costs.
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
	headerLimit = 96 << 10
)

// Options are what a Server needs to know. All fields are required, except
// where they say what their zero value means; a zero DrainDelay means none.
type Options struct {
	Instance *identity.Instance
	Log      *slog.Logger

	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	IdleTimeout  time.Duration
	// DrainDelay and DrainTimeout: see Server.Serve.
	DrainDelay   time.Duration
	DrainTimeout time.Duration

	// TrustedHops: see forwarded.Client.
	TrustedHops int
	// RateLimit bounds each client's requests to /api a second, counted over as
	// many seconds as RateBurst needs. A RateLimit of 0 means no bound.
	RateLimit, RateBurst int
	// MaxConnections bounds the connections that are open at a time.
	MaxConnections int
	// Tracer makes spans; nil means none.
	Tracer trace.TracerProvider
}

// Server answers the API's requests.
type Server struct {
	opts     Options
	app      *fiber.App
	meter    *meter
	requests atomic.Uint64 // without health checks
	inFlight atomic.Int64
	draining atomic.Bool
}

// New builds a server; Serve runs it.
func New(opts Options) *Server {
	s := &Server{opts: opts}
	s.app = fiber.New(fiber.Config{
		AppName:               "slipway-backend",
		CaseSensitive:         true,
		DisableStartupMessage: true,
		BodyLimit:             bodyLimit,
		Concurrency:           opts.MaxConnections,
		ReadBufferSize:        headerLimit,
		ReadTimeout:           opts.ReadTimeout,
		WriteTimeout:          opts.WriteTimeout,
		IdleTimeout:           opts.IdleTimeout,
		ErrorHandler:          s.handleError,
	})
	s.meter = s.newMeter()
	s.app.Server().CloseOnShutdown = true
	s.app.Server().Handler = s.front(s.app.Server().Handler)
	s.use()
	s.route()
	return s
}

// use installs the middleware. The order matters: what comes first sees
// everything that happens after it, so every line of the access log has a
// request id.
func (s *Server) use() {
	// First and last: a panic of a handler is an error for the log and the span,
	// and one of the middleware does not end the process.
	recoverer := recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: s.logPanic})
	s.app.Use(recoverer, s.identify, requestid.New(requestid.Config{Generator: utils.UUIDv4}))
	if s.opts.Tracer != nil {
		s.app.Use(s.trace())
	}
	s.app.Use(s.account, recoverer, noStore, helmet.New(helmet.Config{
		// Nothing here is a page, so nothing may be loaded or framed.
		ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
		XFrameOptions:         "DENY",
		ReferrerPolicy:        "no-referrer",
	}))
	if s.opts.RateLimit > 0 {
		seconds := (s.opts.RateBurst + s.opts.RateLimit - 1) / s.opts.RateLimit
		s.app.Use("/api", limiter.New(limiter.Config{
			// Nobody else can come from loopback, and who is there can do worse.
			Next:         func(c *fiber.Ctx) bool { return clientOf(c).IsLoopback() },
			KeyGenerator: func(c *fiber.Ctx) string { return household(clientOf(c)).String() },
			Max:          seconds * s.opts.RateLimit,
			Expiration:   time.Duration(seconds) * time.Second,
			LimitReached: s.limited,
		}))
	}
}

// route installs the handlers. Each route stands in openapi.json.
func (s *Server) route() {
	s.app.Get("/health", s.getHealth)
	s.app.Get("/livez", s.getLiveness)
	s.app.Get("/readyz", s.getHealth)
	s.app.Get("/api/health", s.getHealth)
	s.app.Get("/api/openapi.json", etag.New(), s.getDocument)
	s.app.Get("/api/", s.getInstance)
}

// front wraps the framework's handler to do what the framework gives no hook
// for: it refuses methods that HTTP does not know, which would otherwise get a
// bare text answer, and tells clients to go elsewhere while draining.
func (s *Server) front(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		if slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			next(ctx)
		} else {
			c := s.app.AcquireCtx(ctx)
			_ = s.handleError(c, fiber.ErrNotImplemented)
			s.app.ReleaseCtx(c)
		}
		if s.draining.Load() {
			ctx.Response.SetConnectionClose()
		}
	}
}
