package ecs

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Failed tasks are tried again at once as often as the circuit breaker's least
// threshold, then with growing pauses. ECS's own pauses are much longer; these
// keep a rehearsal quick and a crash loop cheap.
const (
	immediateRetries = 3
	minBackoff       = 250 * time.Millisecond
	maxBackoff       = 15 * time.Second
)

// succeeded notes that a task of a deployment got healthy.
func (s *service) resetFailures(d *deployment) {
	if b := s.record.DeploymentConfiguration.DeploymentCircuitBreaker; b.ResetOnHealthyTask == nil || *b.ResetOnHealthyTask {
		d.failedTasks = 0
	}
}

// countFailures counts the tasks that stopped without ever having been healthy,
// or that their health checks have stopped.
func (s *service) countFailures() {
	for _, t := range s.taskRuns {
		if !t.stopping || t.counted {
			continue
		}
		t.counted = true
		planned := t.record.StopCode == types.TaskStopCodeServiceSchedulerInitiated || t.record.StopCode == types.TaskStopCodeUserInitiated
		if !t.failedHealthCheck && (planned || t.wasHealthy) {
			continue
		}
		d := t.deployment
		d.failedTasks++
		d.total++
		d.updatedAt = s.c.cfg.Clock.Now()
		if d.serviceDeployment != nil && d == s.primary() && !d.serviceDeployment.finished() {
			d.serviceDeployment.failures = d.failedTasks
		}
		if d.failedTasks >= immediateRetries {
			backoff := min(minBackoff<<min(d.failedTasks-immediateRetries, 8), maxBackoff)
			d.nextStart = time.Now().Add(s.c.cfg.Clock.Scale(backoff))
		}
		if d.failedTasks == immediateRetries+2 {
			s.event("(service %s) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.", s.name)
		}
	}
}

// breaker fails the deployment under way when too many of its tasks have.
func (s *service) checkCircuitBreaker() {
	p := s.primary()
	config := s.record.DeploymentConfiguration.DeploymentCircuitBreaker
	if !config.Enable || p.state != types.DeploymentRolloutStateInProgress || p.failedTasks < s.failureThreshold() {
		return
	}
	rollingBack := p.serviceDeployment != nil && p.serviceDeployment.status == types.ServiceDeploymentStatusRollbackInProgress
	s.event("(service %s) (deployment %s) deployment failed: tasks failed to start.", s.name, p.id)
	if rollingBack {
		p.state, p.reason = types.DeploymentRolloutStateFailed, circuitBreakerRollback(false).failedReason
		p.serviceDeployment.setStatus(types.ServiceDeploymentStatusRollbackFailed, p.serviceDeployment.reason, s.c.cfg.Clock.Now())
		return
	}
	if p.serviceDeployment != nil {
		p.serviceDeployment.circuitBreaker = types.ServiceDeploymentRollbackMonitorsStatusTriggered
	}
	s.rollBack(p, circuitBreakerRollback(config.Rollback))
}

// threshold is how many failed tasks trip the circuit breaker: half of the
// desired count by default, at least 3 and at most 200.
func (s *service) failureThreshold() int {
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
