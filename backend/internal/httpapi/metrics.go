package httpapi

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gofiber/fiber/v2"
)

// durations are the upper bounds of the histogram's buckets in seconds.
var durations = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

// meter counts and times requests.
type meter struct {
	set     *metrics.Set
	limited *metrics.Counter
}

func (s *Server) newMeter() *meter {
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
	return &meter{set: set, limited: set.NewCounter("http_requests_limited_total")}
}

func (m *meter) add(c *fiber.Ctx, status int, took time.Duration) {
	route := routeOf(c, status)
	m.set.GetOrCreateCounter(fmt.Sprintf("http_requests_total{method=%q,route=%q,status=\"%d\"}", c.Method(), route, status)).Inc()
	m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf("http_request_duration_seconds{route=%q}", route), durations).Update(took.Seconds())
}

// routeOf is the pattern of the route that a request took, and "unmatched" for
// all paths that there are not. It is known only after the handlers have run.
func routeOf(c *fiber.Ctx, status int) string {
	if status == fiber.StatusNotFound || status == fiber.StatusMethodNotAllowed {
		return "unmatched"
	}
	return c.Route().Path
}

// WriteMetrics writes what was counted, and the process's own figures, in the
// text format of Prometheus.
func (s *Server) WriteMetrics(w io.Writer) {
	s.meter.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
