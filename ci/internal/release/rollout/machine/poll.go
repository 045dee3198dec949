package machine

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Polling is dense while something happens and when a deployment has all its
// tasks, since its end is near then; it backs off while nothing changes.
const (
	shortPoll = time.Second
	longPoll  = 5 * time.Second
	// quietPeriod is how long nothing must change before polling backs off, and how
	// long backing off takes.
	quietPeriod = 20 * time.Second
)

// PollInterval is how long to wait before the services are observed again.
func (r *Release) PollInterval(now time.Time) time.Duration {
	quiet := now.Sub(r.changed) - quietPeriod
	if quiet <= 0 || r.nearlyDone() {
		return shortPoll
	}
	return min(longPoll, shortPoll+time.Duration(float64(longPoll-shortPoll)*float64(quiet)/float64(quietPeriod)))
}

// nearlyDone reports whether a deployment has all its tasks and is not complete yet.
func (r *Release) nearlyDone() bool {
	for _, s := range r.services {
		if s.Verdict != Pending {
			continue
		}
		if primary := s.Observed.Primary(); primary != nil && primary.RunningCount == primary.DesiredCount {
			return true
		}
	}
	return false
}

// fingerprint is what can be seen to change in the services.
func fingerprint(observed []Observation) string {
	var b strings.Builder
	for _, o := range observed {
		fmt.Fprintf(&b, "%v %s", o.Missing, o.Status)
		for _, d := range o.Deployments {
			fmt.Fprintf(&b, " %s %s %s %d %d %d", aws.ToString(d.Id), aws.ToString(d.Status), d.RolloutState, d.RunningCount, d.PendingCount, d.FailedTasks)
		}
		b.WriteString("\n")
	}
	return b.String()
}
