package machine

import (
	"slices"
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

// sameState reports whether two observations of all services have the same state.
func sameState(a, b []Observation) bool {
	return slices.EqualFunc(a, b, func(a, b Observation) bool {
		if a.Missing != b.Missing || a.Status != b.Status || a.Stage != b.Stage || a.Percent != b.Percent || (a.Hook == nil) != (b.Hook == nil) || len(a.Deployments) != len(b.Deployments) {
			return false
		}
		for n := range a.Deployments {
			d, e := &a.Deployments[n], &b.Deployments[n]
			if aws.ToString(d.Id) != aws.ToString(e.Id) || aws.ToString(d.Status) != aws.ToString(e.Status) || d.RolloutState != e.RolloutState ||
				d.RunningCount != e.RunningCount || d.PendingCount != e.PendingCount || d.FailedTasks != e.FailedTasks {
				return false
			}
		}
		return true
	})
}
