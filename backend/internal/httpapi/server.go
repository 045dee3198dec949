// Package httpapi serves the API over HTTP. It is the only package that uses the web
// framework.
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
	// bodyLimit is the maximum size of a request's body; no route reads one.
	bodyLimit = 16 << 10
	// headerLimit is the maximum size of a request's line and headers: the 64 KB that an
	// Application Load Balancer accepts, and the token and claims of up to 16 KB each
	// that it adds for authenticated users. It is also the size of each connection's
	// read buffer.
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
	headerLimit = 96 << 10
)

// Options configure a Server. All fields are required, except those that document their
// zero value. A DrainDelay of 0 means none.
type Options struct {
	Instance *identity.Instance
	Log      *slog.Logger

	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	IdleTimeout  time.Duration
	// DrainDelay and DrainTimeout: see Server.Serve.
	DrainDelay   time.Duration
	DrainTimeout time.Duration

	// TrustedHops: see forwarded.ClientAddress.
	TrustedHops int
	// RateLimit bounds each client's requests to /api per second, counted over as many
	// seconds as RateBurst needs. A RateLimit of 0 means no limit.
	RateLimit, RateBurst int
	// MaxConnections bounds the open connections.
	MaxConnections int
	// Tracer creates spans; nil means none.
	Tracer trace.TracerProvider
}

// Server serves the API.
type Server struct {
	opts     Options
	app      *fiber.App
	metrics  *requestMetrics
	requests atomic.Uint64 // without health checks
	inFlight atomic.Int64
	draining atomic.Bool
}

// New returns a server, which Serve runs.
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
	s.metrics = s.newRequestMetrics()
	s.app.Server().CloseOnShutdown = true
	s.app.Server().Handler = s.wrapHandler(s.app.Server().Handler)
	s.installMiddleware()
	s.installRoutes()
	return s
}

// installMiddleware installs the middleware. Each one wraps those after it; so every
// entry of the access log has a request id.
func (s *Server) installMiddleware() {
	// First and last: the log and the span get a handler's panic as an error, and a panic
	// in the middleware does not end the process.
	recoverer := recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: s.logPanic})
	s.app.Use(recoverer, s.identifyClient, requestid.New(requestid.Config{Generator: utils.UUIDv4}))
	if s.opts.Tracer != nil {
		s.app.Use(s.trace())
	}
	s.app.Use(s.logRequest, recoverer, noStore, helmet.New(helmet.Config{
		// No response is a page, so nothing may be loaded or framed.
		ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
		XFrameOptions:         "DENY",
		ReferrerPolicy:        "no-referrer",
	}))
	if s.opts.RateLimit > 0 {
		seconds := (s.opts.RateBurst + s.opts.RateLimit - 1) / s.opts.RateLimit
		s.app.Use("/api", limiter.New(limiter.Config{
			// Only processes of this host connect from loopback.
			Next:         func(c *fiber.Ctx) bool { return clientAddress(c).IsLoopback() },
			KeyGenerator: func(c *fiber.Ctx) string { return rateLimitKey(clientAddress(c)).String() },
			Max:          seconds * s.opts.RateLimit,
			Expiration:   time.Duration(seconds) * time.Second,
			LimitReached: s.handleRateLimit,
		}))
	}
}

// installRoutes installs the handlers. openapi.json documents each route.
func (s *Server) installRoutes() {
	s.app.Get("/health", s.getHealth)
	s.app.Get("/livez", s.getLiveness)
	s.app.Get("/readyz", s.getHealth)
	s.app.Get("/api/health", s.getHealth)
	s.app.Get("/api/openapi.json", etag.New(), s.getOpenAPI)
	s.app.Get("/api/", s.getInstance)
}

// wrapHandler wraps the framework's handler, for what the framework has no hook for: JSON
// errors for unknown methods, and "Connection: close" while draining.
func (s *Server) wrapHandler(next fasthttp.RequestHandler) fasthttp.RequestHandler {
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
