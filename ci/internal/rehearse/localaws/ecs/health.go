package ecs

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// settling is how long a task without any health check must run, nominally,
// before the scheduler believes that it is up.
const settling = time.Second

// verdict is what health checks say of a running task.
type verdict struct {
	healthy   bool
	unhealthy string // why it must go, "" if it need not
	event     string
}

// judge applies the health checks to a task and stops it if they have failed. It
// returns when the task has to be looked at again.
func (s *service) judge(t *taskRun) time.Duration {
	if t.stopping || t.status() != "RUNNING" {
		return idle
	}
	age := time.Since(*t.record.StartedAt)
	grace := time.Duration(aws.ToInt32(s.record.HealthCheckGracePeriodSeconds)) * time.Second
	v, checked := s.health(t)
	if !checked {
		if wait := s.c.cfg.Clock.Scaled(settling) - age; wait > 0 {
			return wait
		}
		v.healthy = true
	}
	if v.healthy && !t.proven {
		t.proven = true
		s.succeeded(t.deployment)
	}
	if v.unhealthy == "" {
		return idle
	}
	if wait := s.c.cfg.Clock.Scaled(grace) - age; wait > 0 {
		return wait
	}
	s.event("%s", v.event)
	t.unfit = true
	t.requestStop(types.TaskStopCodeServiceSchedulerInitiated, v.unhealthy)
	s.event("(service %s) has stopped 1 running tasks: (task %s).", s.name, t.id)
	s.tellDeregistered([]*taskRun{t})
	return idle
}

// health asks the target groups and the containers' own checks; checked is false
// for a task that has neither.
func (s *service) health(t *taskRun) (v verdict, checked bool) {
	v.healthy = true
	for _, lb := range t.deployment.revision.loadBalancers {
		checked = true
		group, port := aws.ToString(lb.TargetGroupArn), int(aws.ToInt32(lb.ContainerPort))
		switch h := s.c.cfg.Balancer.Health(group, t.ip, port); h.State {
		case elbtypes.TargetHealthStateEnumHealthy:
		case elbtypes.TargetHealthStateEnumUnhealthy:
			v.healthy = false
			v.unhealthy = "Task failed ELB health checks in (target-group " + group + ")"
			v.event = fmt.Sprintf("(service %s) (task %s) (port %d) is unhealthy in (target-group %s) due to (reason %s).", s.name, t.id, port, group, h.Text)
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
		v.unhealthy = "Task failed container health checks"
		v.event = fmt.Sprintf("(service %s) (task %s) failed container health checks.", s.name, t.id)
	default:
		if t.hasContainerCheck() {
			checked, v.healthy = true, false
		}
	}
	return v, checked
}

func (t *taskRun) hasContainerCheck() bool {
	return slices.ContainsFunc(t.parts, func(p *part) bool {
		return checkOf(p.definition.HealthCheck) != nil && aws.ToBool(p.definition.Essential)
	})
}

// up says whether a task serves: it runs, has been healthy and is not leaving.
func (t *taskRun) up() bool { return t.proven && !t.stopping && t.status() == "RUNNING" }
