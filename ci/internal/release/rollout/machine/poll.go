package machine

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// The poll interval is short while something changes and when a deployment has all its
// tasks, because it will end soon. It grows while nothing changes.
const (
	shortPoll = time.Second
	longPoll  = 5 * time.Second
	// quietPeriod is how long nothing must change before the interval grows, and how long
	// it takes to grow.
	quietPeriod = 20 * time.Second
)

// PollInterval returns how long to wait before the next observation.
func (r *Release) PollInterval(now time.Time) time.Duration {
	quiet := now.Sub(r.changed) - quietPeriod
	if quiet <= 0 || r.nearlyDone() {
		return shortPoll
	}
	return min(longPoll, shortPoll+time.Duration(float64(longPoll-shortPoll)*float64(quiet)/float64(quietPeriod)))
}

// nearlyDone reports whether a pending deployment has all its tasks.
func (r *Release) nearlyDone() bool {
	for _, s := range r.services {
		if o := s.Observed; s.Verdict != Pending || o.Hook != nil || o.timed() {
			continue // it waits or bakes
		}
		if primary := s.Observed.Primary(); primary != nil && primary.RunningCount == primary.DesiredCount {
			return true
		}
	}
	return false
}

// fingerprint returns a text that changes with the state of the services.
func fingerprint(observed []Observation) string {
	var b strings.Builder
	for _, o := range observed {
		fmt.Fprintf(&b, "%v %s %s %g %v", o.Missing, o.Status, o.Stage, o.Percent, o.Hook != nil)
		for _, d := range o.Deployments {
			fmt.Fprintf(&b, " %s %s %s %d %d %d", aws.ToString(d.Id), aws.ToString(d.Status), d.RolloutState, d.RunningCount, d.PendingCount, d.FailedTasks)
		}
		b.WriteString("\n")
	}
	return b.String()
}
