package elb

import (
	"maps"
	"time"
)

// MinuteFigures are the figures of a target group in one minute of the scaled clock, as
// the metrics of CloudWatch's namespace AWS/ApplicationELB define them.
type MinuteFigures struct {
	Start            time.Time       // in real time; the minute lasts Clock.Scale(time.Minute)
	Requests         int             // RequestCount: a target was chosen
	Errors5xx        int             // HTTPCode_Target_5XX_Count: the target's own, without the load balancer's 502 and 504
	ConnectionErrors int             // TargetConnectionErrorCount, with the responses that a target cut
	Latencies        []time.Duration // TargetResponseTime, until the response's header
}

// keptMinutes is how many minutes with requests are kept of a target group.
const keptMinutes = 24 * 60

// minute returns the figures of the current minute. The Balancer's lock is held.
func (b *Balancer) minute(g *targetGroup) *MinuteFigures {
	start := time.Now().UTC().Truncate(max(b.cfg.Clock.Scale(time.Minute), time.Millisecond))
	if n := len(g.figures); n == 0 || g.figures[n-1].Start.Before(start) {
		if n >= keptMinutes {
			g.figures = g.figures[1:]
		}
		g.figures = append(g.figures, &MinuteFigures{Start: start})
	}
	return g.figures[len(g.figures)-1]
}

// answered records a target's response, or that it gave none.
func (b *Balancer) answered(arn string, status int, latency time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(arn)
	if err != nil {
		return // deleted meanwhile
	}
	m := b.minute(g)
	switch {
	case status == 0:
		m.ConnectionErrors++
		return
	case status >= 500:
		m.Errors5xx++
	}
	m.Latencies = append(m.Latencies, latency)
}

// TargetGroupFigures returns the figures of a target group, the oldest minute first.
// Minutes without a request are left out.
func (b *Balancer) TargetGroupFigures(arn string) []MinuteFigures {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(arn)
	if err != nil {
		return nil
	}
	list := make([]MinuteFigures, 0, len(g.figures))
	for _, m := range g.figures {
		list = append(list, *m)
	}
	return list
}

// ListenerRequests returns how many requests to a listener went to a target of each
// target group, by the group's ARN.
func (b *Balancer) ListenerRequests(loadBalancer string, port int32) map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.listenerOf(loadBalancer, port); l != nil {
		return maps.Clone(l.requests)
	}
	return nil
}
