package ecs

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Failed tasks are tried again at once as often as the circuit breaker's least
// threshold, then with growing pauses. ECS's own pauses are much longer; these
// keep a rehearsal quick and a crash loop cheap.
const (
	freeRetries  = 3
	firstPause   = 250 * time.Millisecond
	longestPause = 15 * time.Second
)

// succeeded notes that a task of a deployment got healthy.
func (s *service) succeeded(d *deployment) {
	if b := s.record.DeploymentConfiguration.DeploymentCircuitBreaker; b.ResetOnHealthyTask == nil || *b.ResetOnHealthyTask {
		d.failed = 0
	}
}

// countFailures counts the tasks that stopped without ever having been healthy,
// or that their health checks have stopped.
func (s *service) countFailures() {
	for _, t := range s.members {
		if !t.stopping || t.tried {
			continue
		}
		t.tried = true
		planned := t.record.StopCode == types.TaskStopCodeServiceSchedulerInitiated || t.record.StopCode == types.TaskStopCodeUserInitiated
		if !t.unfit && (planned || t.proven) {
			continue
		}
		d := t.deployment
		d.failed++
		d.total++
		d.updated = s.c.cfg.Clock.Now()
		if d.record != nil && d == s.primary() && !d.record.over() {
			d.record.failures = d.failed
		}
		if d.failed >= freeRetries {
			pause := min(firstPause<<min(d.failed-freeRetries, 8), longestPause)
			d.earliest = time.Now().Add(s.c.cfg.Clock.Scaled(pause))
		}
		if d.failed == freeRetries+2 {
			s.event("(service %s) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.", s.name)
		}
	}
}

// breaker fails the deployment under way when too many of its tasks have.
func (s *service) breaker() {
	p := s.primary()
	config := s.record.DeploymentConfiguration.DeploymentCircuitBreaker
	if !config.Enable || p.state != types.DeploymentRolloutStateInProgress || p.failed < s.threshold() {
		return
	}
	rollingBack := p.record != nil && p.record.status == types.ServiceDeploymentStatusRollbackInProgress
	s.event("(service %s) (deployment %s) deployment failed: tasks failed to start.", s.name, p.id)
	if rollingBack {
		p.state, p.reason = types.DeploymentRolloutStateFailed, breakerTripped(false).failed
		p.record.become(types.ServiceDeploymentStatusRollbackFailed, p.record.reason, s.c.cfg.Clock.Now())
		return
	}
	if p.record != nil {
		p.record.breaker = types.ServiceDeploymentRollbackMonitorsStatusTriggered
	}
	s.rollBack(p, breakerTripped(config.Rollback))
}

// threshold is how many failed tasks trip the circuit breaker: half of the
// desired count by default, at least 3 and at most 200.
func (s *service) threshold() int {
	kind, value := types.ThresholdTypeBoundedPercent, 50
	if t := s.record.DeploymentConfiguration.DeploymentCircuitBreaker.ThresholdConfiguration; t != nil {
		kind, value = t.Type, int(t.Value)
	}
	share := (s.desired*value + 99) / 100
	switch kind {
	case types.ThresholdTypeCount:
		return max(1, value)
	case types.ThresholdTypeUnboundedPercent:
		return max(1, share)
	default:
		return max(3, min(200, share))
	}
}
