package ecs

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// healthResult is the result of a running task's health checks.
type healthResult struct {
	healthy    bool
	stopReason string // why the task must stop, or ""
	message    string
}

// evaluateHealth stops a task whose health checks have failed. It returns when to
// evaluate the task again.
func (s *service) evaluateHealth(t *taskRun) time.Duration {
	if t.stopping || t.status() != "RUNNING" {
		s.stopUnhealthyStart(t)
		return resyncInterval
	}
	age := time.Since(*t.record.StartedAt)
	grace := time.Duration(aws.ToInt32(s.record.HealthCheckGracePeriodSeconds)) * time.Second
	v, checked := s.taskHealth(t)
	if !checked {
		if wait := s.c.cfg.Clock.Scale(s.c.cfg.UncheckedStart) - age; wait > 0 {
			return wait
		}
		v.healthy = true
	}
	if v.healthy && !t.wasHealthy {
		t.wasHealthy = true
		s.resetFailures(t.deployment)
	}
	if v.stopReason == "" {
		return resyncInterval
	}
	if wait := s.c.cfg.Clock.Scale(grace) - age; wait > 0 {
		return wait
	}
	s.stopUnhealthy(t, v)
	s.event("(service %s) has stopped 1 running tasks: (task %s).", s.name, t.id)
	s.reportDeregistered([]*taskRun{t})
	return resyncInterval
}

// stopUnhealthyStart stops a task that an unhealthy essential container keeps from
// running, because others depend on it.
func (s *service) stopUnhealthyStart(t *taskRun) {
	if t.stopping || t.record.HealthStatus != types.HealthStatusUnhealthy {
		return
	}
	v, _ := s.taskHealth(t)
	s.stopUnhealthy(t, v)
}

// stopUnhealthy stops a task whose health checks have failed.
func (s *service) stopUnhealthy(t *taskRun, v healthResult) {
	s.event("%s", v.message)
	t.failedHealthCheck = true
	t.requestStop(types.TaskStopCodeServiceSchedulerInitiated, v.stopReason)
}

// taskHealth returns the result of a task's target groups and container health checks.
// checked is false for a task that has neither.
func (s *service) taskHealth(t *taskRun) (v healthResult, checked bool) {
	v.healthy = true
	for _, lb := range t.deployment.revision.targets {
		checked = true
		group, port := aws.ToString(lb.TargetGroupArn), int(aws.ToInt32(lb.ContainerPort))
		switch h := s.c.cfg.Balancer.Health(group, t.ip, port); h.State {
		case elbtypes.TargetHealthStateEnumHealthy:
		case elbtypes.TargetHealthStateEnumUnhealthy:
			v.healthy = false
			v.stopReason = "Task failed ELB health checks in (target-group " + group + ")"
			v.message = fmt.Sprintf("(service %s) (task %s) (port %d) is unhealthy in (target-group %s) due to (reason %s).", s.name, t.id, port, group, h.Description)
		default:
			v.healthy = false
		}
	}
	switch t.record.HealthStatus {
	case types.HealthStatusHealthy:
		checked = true
	case types.HealthStatusUnhealthy:
		checked = true
		v.healthy = false
		v.stopReason = "Task failed container health checks"
		v.message = fmt.Sprintf("(service %s) (task %s) failed container health checks.", s.name, t.id)
	default:
		if t.hasHealthCheck() {
			checked, v.healthy = true, false
		}
	}
	return v, checked
}

func (t *taskRun) hasHealthCheck() bool {
	return slices.ContainsFunc(t.containers, func(p *container) bool {
		return newHealthCheck(p.definition.HealthCheck) != nil && p.essential()
	})
}

// serving reports whether a task is running, was healthy and is not stopping.
func (t *taskRun) serving() bool { return t.wasHealthy && !t.stopping && t.status() == "RUNNING" }

// receivesRequests reports whether a load balancer sends requests to the task: also before
// its container is healthy, and after that is not.
func (t *taskRun) receivesRequests() bool {
	return t.registered && slices.ContainsFunc(t.deployment.revision.targets, func(lb types.LoadBalancer) bool {
		h := t.c.cfg.Balancer.Health(aws.ToString(lb.TargetGroupArn), t.ip, int(aws.ToInt32(lb.ContainerPort)))
		return h.State == elbtypes.TargetHealthStateEnumHealthy
	})
}
