package httpapi

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gofiber/fiber/v2"
)

// durationBuckets are the upper bounds of the histogram's buckets in seconds.
var durationBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

// requestMetrics are the metrics of requests.
type requestMetrics struct {
	set         *metrics.Set
	rateLimited *metrics.Counter
}

func (s *Server) newRequestMetrics() *requestMetrics {
	set := metrics.NewSet()
	set.NewGauge("http_requests_in_flight", func() float64 { return float64(s.inFlight.Load()) })
	set.NewGauge("http_connections", func() float64 { return float64(s.app.Server().GetOpenConnectionsCount()) })
	set.NewGauge("draining", func() float64 {
		if s.draining.Load() {
			return 1
		}
		return 0
	})
	info := fmt.Sprintf("service_info{version=%q,hostname=%q}", s.opts.Instance.Version, s.opts.Instance.Hostname)
	set.NewGauge(info, func() float64 { return 1 })
	return &requestMetrics{set: set, rateLimited: set.NewCounter("http_requests_limited_total")}
}

func (m *requestMetrics) record(c *fiber.Ctx, status int, took time.Duration) {
	route := routeOf(c, status)
	m.set.GetOrCreateCounter(fmt.Sprintf("http_requests_total{method=%q,route=%q,status=\"%d\"}", c.Method(), route, status)).Inc()
	m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf("http_request_duration_seconds{route=%q}", route), durationBuckets).Update(took.Seconds())
}

// routeOf returns the pattern of a request's route, or "unmatched". It is known only
// after the handlers have run.
func routeOf(c *fiber.Ctx, status int) string {
	if status == fiber.StatusNotFound || status == fiber.StatusMethodNotAllowed {
		return "unmatched"
	}
	return c.Route().Path
}

// WriteMetrics writes the metrics of requests and of the process in the text format of
// Prometheus.
func (s *Server) WriteMetrics(w io.Writer) {
	s.metrics.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
