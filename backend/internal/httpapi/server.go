// Package httpapi serves the service's API over HTTP. It is the only package
// that knows the web framework.
package httpapi

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"slipway/backend/internal/identity"
)

const (
	// bodyLimit bounds a request's body in bytes; no route reads one.
	bodyLimit = 16 << 10
	// headerLimit bounds a request's line and headers in bytes. It is also what
	// each connection's read buffer costs.
	headerLimit = 8 << 10
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
	// RateLimit and RateBurst bound each client's requests to /api, a second
	// and at once. A RateLimit of 0 means no bound.
	RateLimit, RateBurst int
	// MaxConnections and MaxStreams bound what is open at a time.
	MaxConnections, MaxStreams int
	// Heartbeat is the time between two events of a stream, shorter than
	// WriteTimeout.
	Heartbeat time.Duration
	// Tracer makes spans; nil means none.
	Tracer trace.TracerProvider
}

// Server answers the API's requests.
type Server struct {
	opts     Options
	app      *fiber.App
	requests atomic.Uint64 // without health checks
	inFlight atomic.Int64
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins
	streams  atomic.Int64

	startedAt string
	whoIAm    atomic.Pointer[introduction]

	common    *fasthttp.ResponseHeader
	exchanges sync.Pool
	meter     *meter
	limiter   *limiter
	tracer    trace.Tracer
}

// New builds a server; Serve runs it.
func New(opts Options) *Server {
	s := &Server{opts: opts, drained: make(chan struct{}), limiter: newLimiter(opts.RateLimit, opts.RateBurst)}
	s.startedAt = opts.Instance.StartedAt.Truncate(time.Millisecond).Format(time.RFC3339Nano)
	s.exchanges.New = func() any { return &exchange{} }
	if opts.Tracer != nil {
		s.tracer = opts.Tracer.Tracer("slipway/backend/internal/httpapi")
	}
	s.app = fiber.New(fiber.Config{
		AppName:               "slipway-backend",
		CaseSensitive:         true,
		DisableStartupMessage: true,
		BodyLimit:             bodyLimit,
		ReadBufferSize:        headerLimit,
		ReadTimeout:           opts.ReadTimeout,
		WriteTimeout:          opts.WriteTimeout,
		IdleTimeout:           opts.IdleTimeout,
		ErrorHandler:          s.handleError,
	})
	s.meter = s.newMeter()
	s.common = commonHeaders()
	s.app.Server().CloseOnShutdown = true
	s.app.Server().Handler = s.front(s.app.Server().Handler)
	s.use()
	s.route()
	return s
}

// use installs the middleware. The order matters: what comes first sees
// everything that happens after it, so a panic anywhere is caught, and every
// access log line has a request id.
func (s *Server) use() {
	s.app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: func(c *fiber.Ctx, reason any) {
		s.logPanic(exchangeOf(c).id, reason)
	}}))
	s.app.Use(s.identify)
	if s.tracer != nil {
		s.app.Use(s.trace)
	}
	s.app.Use(s.account)
	if s.opts.RateLimit > 0 {
		s.app.Use("/api", s.limit)
	}
}

// route installs the handlers. Each route stands in openapi.json.
func (s *Server) route() {
	s.app.Get("/health", s.getHealth)
	s.app.Get("/livez", s.getLiveness)
	s.app.Get("/readyz", s.getHealth)
	s.app.Get("/api/health", s.getHealth)
	s.app.Get("/api/events", s.getEvents)
	s.app.Get("/api/openapi.json", etag.New(), s.getDocument)
	s.app.Get("/api/", s.getInstance)
}

// front wraps the framework's handler to do what the framework gives no hook
// for: it gives every answer the headers that all have, refuses methods that HTTP
// does not know, which would otherwise get a bare text answer, and tells clients
// to go elsewhere while draining.
func (s *Server) front(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		e := s.exchanges.Get().(*exchange)
		e.start = time.Now()
		ctx.SetUserValue(exchangeKey{}, e)
		defer func() {
			ctx.RemoveUserValue(exchangeKey{})
			*e = exchange{}
			s.exchanges.Put(e)
		}()
		s.common.CopyTo(&ctx.Response.Header)
		if known(ctx.Method()) {
			next(ctx)
		} else {
			s.refuse(ctx, fiber.ErrNotImplemented)
		}
		if s.draining.Load() {
			ctx.Response.SetConnectionClose()
		}
	}
}

func known(method []byte) bool {
	return slices.ContainsFunc(fiber.DefaultMethods, func(name string) bool { return name == string(method) })
}

// refuse answers a request that never reaches the middleware.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	c := s.app.AcquireCtx(ctx)
	defer s.app.ReleaseCtx(c)
	_ = s.handleError(c, err)
}
