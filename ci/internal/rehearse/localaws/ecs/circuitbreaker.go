package ecs

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Failed tasks are replaced at once up to the circuit breaker's minimum threshold, then
// with exponential backoff. ECS's backoff is much longer; this one keeps a rehearsal
// fast and a crash loop cheap.
const (
	immediateRetries = 3
	minBackoff       = 250 * time.Millisecond
	maxBackoff       = 15 * time.Second
)

// resetFailures resets the failure count of a deployment, one of whose tasks has become
// healthy.
func (s *service) resetFailures(d *deployment) {
	if b := s.record.DeploymentConfiguration.DeploymentCircuitBreaker; b.ResetOnHealthyTask == nil || *b.ResetOnHealthyTask {
		d.failedTasks = 0
	}
}

// countFailures counts the tasks that stopped before they were healthy, or because of
// their health checks.
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

// checkCircuitBreaker fails the deployment in progress if too many of its tasks failed.
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

// failureThreshold returns how many failed tasks trip the circuit breaker: by default
// half of the desired count, at least 3 and at most 200.
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
