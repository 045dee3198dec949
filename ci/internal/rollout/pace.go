package rollout

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
	// calm is how long nothing must change before polling backs off, and how
	// long backing off takes.
	calm = 20 * time.Second
)

// wait is how long to wait before the next look.
func (c *course) wait(now time.Time) time.Duration {
	quiet := now.Sub(c.moved) - calm
	if quiet <= 0 || c.near() {
		return shortPoll
	}
	return min(longPoll, shortPoll+time.Duration(float64(longPoll-shortPoll)*float64(quiet)/float64(calm)))
}

// near tells whether a deployment has all its tasks and is not complete yet.
func (c *course) near() bool {
	for _, m := range c.moves {
		if m.verdict != pending {
			continue
		}
		if primary := m.observed.primary(); primary != nil && primary.RunningCount == primary.DesiredCount {
			return true
		}
	}
	return false
}

// fingerprint is what can be seen to change in the services.
func fingerprint(moves []*move, observed map[*move]observation) string {
	var b strings.Builder
	for _, m := range moves {
		o := observed[m]
		fmt.Fprintf(&b, "%v %s", o.missing, o.status)
		for _, d := range o.deployments {
			fmt.Fprintf(&b, " %s %s %s %d %d %d", aws.ToString(d.Id), aws.ToString(d.Status), d.RolloutState, d.RunningCount, d.PendingCount, d.FailedTasks)
		}
		b.WriteString("\n")
	}
	return b.String()
}
