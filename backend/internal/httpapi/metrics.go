package httpapi

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gofiber/fiber/v2"
)

// durations are the upper bounds of the histogram's buckets in seconds.
var durations = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

// kind of requests that are counted together. There are few: the framework has a
// route for each pair of a path that there is and a method that it knows.
type kind struct {
	route  *fiber.Route
	status int
}

type series struct {
	count    *metrics.Counter
	duration *metrics.PrometheusHistogram
}

// meter counts and times requests.
type meter struct {
	set                *metrics.Set
	limited, turnedOff *metrics.Counter

	mu     sync.RWMutex
	series map[kind]series
}

func (s *Server) newMeter() *meter {
	set := metrics.NewSet()
	set.NewGauge("http_requests_in_flight", func() float64 { return float64(s.inFlight.Load()) })
	set.NewGauge("http_connections", func() float64 { return float64(s.app.Server().GetOpenConnectionsCount()) })
	set.NewGauge("http_event_streams", func() float64 { return float64(s.streams.Load()) })
	set.NewGauge("draining", func() float64 {
		if s.draining.Load() {
			return 1
		}
		return 0
	})
	info := fmt.Sprintf("service_info{version=%q,hostname=%q}", s.opts.Instance.Version, s.opts.Instance.Hostname)
	set.NewGauge(info, func() float64 { return 1 })
	return &meter{
		set:       set,
		limited:   set.NewCounter("http_requests_limited_total"),
		turnedOff: set.NewCounter("http_connections_refused_total"),
		series:    map[kind]series{},
	}
}

func (m *meter) add(route *fiber.Route, status int, took time.Duration) {
	k := kind{route, status}
	m.mu.RLock()
	found, ok := m.series[k]
	m.mu.RUnlock()
	if !ok {
		found = m.create(k)
	}
	found.count.Inc()
	found.duration.Update(took.Seconds())
}

func (m *meter) create(k kind) series {
	m.mu.Lock()
	defer m.mu.Unlock()
	route := nameOf(k.route)
	labels := fmt.Sprintf("{method=%q,route=%q,status=\"%d\"}", k.route.Method, route, k.status)
	created := series{
		count:    m.set.GetOrCreateCounter("http_requests_total" + labels),
		duration: m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf("http_request_duration_seconds{route=%q}", route), durations),
	}
	m.series[k] = created
	return created
}

// unmatched stands for all paths that there are not.
const unmatched = "unmatched"

// nameOf is the pattern of a route that a request took. Known only after the
// handlers have run.
func nameOf(route *fiber.Route) string {
	// Middleware is a route as well, with the prefix that it was installed for.
	if documented(route.Path) {
		return route.Path
	}
	return unmatched
}

// WriteMetrics writes what was counted, and the process's own figures, in the
// text format of Prometheus.
func (s *Server) WriteMetrics(w io.Writer) {
	s.meter.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
