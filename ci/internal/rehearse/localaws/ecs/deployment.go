package ecs

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/rehearse/localaws/wire"
)

// revision is a service revision: what a deployment aims at. Its id has the same
// digits as the deployment that introduced it, which is how clients of AWS find
// the one from the other.
type revision struct {
	arn           string
	definition    *types.TaskDefinition
	loadBalancers []types.LoadBalancer
	network       *types.NetworkConfiguration
	created       time.Time
	service       *service
	digests       map[string]string // by container, as they were first pulled
}

// deployment is one entry of a service's deployments.
type deployment struct {
	id       string // ecs-svc/1234567890123456789
	revision *revision
	created  time.Time
	updated  time.Time
	state    types.DeploymentRolloutState
	reason   string
	failed   int // tasks that failed since the last one that got healthy
	total    int // tasks that failed in all
	earliest time.Time
	ready    time.Time // when all its tasks were up, while its alarms are watched on
	record   *serviceDeployment
}

// serviceDeployment is the record of a deployment in the service deployments API.
type serviceDeployment struct {
	arn      string
	service  *service
	target   *revision
	sources  []types.ServiceRevisionSummary
	status   types.ServiceDeploymentStatus
	reason   string
	breaker  types.ServiceDeploymentRollbackMonitorsStatus
	alarms   alarms
	failures int
	config   *types.DeploymentConfiguration
	created  time.Time
	started  *time.Time
	updated  time.Time
	stopped  *time.Time
	finished *time.Time
	rollback *types.Rollback
}

// over says whether a service deployment has come to an end.
func (d *serviceDeployment) over() bool {
	switch d.status {
	case types.ServiceDeploymentStatusSuccessful, types.ServiceDeploymentStatusStopped,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	default:
		return false
	}
}

// become changes a service deployment's status.
func (d *serviceDeployment) become(status types.ServiceDeploymentStatus, reason string, now time.Time) {
	d.status, d.reason, d.updated = status, reason, now
	if d.over() {
		d.finished = &now
	}
	if status == types.ServiceDeploymentStatusStopped {
		d.stopped = &now
	}
}

// deploy starts a deployment. With back it returns to the revision of an earlier
// one; the tasks of that revision that still run are kept. The lock is held.
func (s *service) deploy(d *types.TaskDefinition, back *deployment) *deployment {
	now := s.c.cfg.Clock.Now()
	digits := wire.Digits(19)
	next := &deployment{
		id: "ecs-svc/" + digits, created: now, updated: now, state: types.DeploymentRolloutStateInProgress,
	}
	next.reason = "ECS deployment " + next.id + " in progress."
	if back != nil {
		next.revision = back.revision
		s.record.TaskDefinition = back.revision.definition.TaskDefinitionArn
		s.record.LoadBalancers, s.record.NetworkConfiguration = back.revision.loadBalancers, back.revision.network
		s.adopt(next)
	} else {
		next.revision = &revision{
			arn:        s.c.cfg.Scope.ARN("ecs", "service-revision/"+s.cluster.name+"/"+s.name+"/"+digits),
			definition: d, loadBalancers: s.record.LoadBalancers, network: s.record.NetworkConfiguration, created: now, service: s,
			digests: map[string]string{},
		}
		s.c.revisions[next.revision.arn] = next.revision
		next.record = s.newServiceDeployment(next.revision, now)
	}
	s.deployments = append([]*deployment{next}, s.deployments...)
	s.steady, s.stuck = false, false
	s.poke()
	return next
}

// adopt makes the tasks of a revision those of a new deployment.
func (s *service) adopt(next *deployment) {
	for _, t := range s.tasks() {
		if t.deployment.revision == next.revision && !t.stopping {
			t.deployment = next
		}
	}
}

func (s *service) newServiceDeployment(target *revision, now time.Time) *serviceDeployment {
	d := &serviceDeployment{
		arn:     s.c.cfg.Scope.ARN("ecs", "service-deployment/"+s.cluster.name+"/"+s.name+"/"+wire.Hex(21)),
		service: s, target: target, status: types.ServiceDeploymentStatusPending, created: now, updated: now,
		config: s.record.DeploymentConfiguration, breaker: types.ServiceDeploymentRollbackMonitorsStatusDisabled,
	}
	if d.config.DeploymentCircuitBreaker.Enable {
		d.breaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoring
	}
	d.alarms = s.c.newAlarms(d.config.Alarms)
	for _, old := range s.deployments {
		running, pending, wanted := s.counts(old)
		d.sources = append(d.sources, types.ServiceRevisionSummary{
			Arn: &old.revision.arn, RunningTaskCount: running, PendingTaskCount: pending, RequestedTaskCount: wanted,
		})
	}
	if len(s.history) > 0 && !s.history[0].over() {
		s.history[0].become(types.ServiceDeploymentStatusStopped, "Service deployment stopped because a newer service deployment was started.", now)
		s.history[0].breaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
		s.history[0].alarms.end()
	}
	s.history = append([]*serviceDeployment{d}, s.history...)
	s.c.deployments[d.arn] = d
	return d
}

// rollBack ends a deployment as failed and returns to the last one that was
// completed. Without one, or if the service does not want it, nothing more is
// started and what runs is left running.
func (s *service) rollBack(failed *deployment, why rollbackCause) {
	now := s.c.cfg.Clock.Now()
	failed.state, failed.reason, failed.updated = types.DeploymentRolloutStateFailed, why.failed, now
	rec := failed.record
	if rec != nil {
		rec.alarms.end()
	}
	if !why.back || rec == nil {
		if rec != nil {
			rec.become(types.ServiceDeploymentStatusStopped, why.stopped, now)
		}
		return
	}
	if s.completed == nil {
		s.event("(service %s) was unable to roll back: no rollback candidate was found.", s.name)
		rec.become(types.ServiceDeploymentStatusRollbackFailed, why.status+" No rollback candidate was found to run the rollback.", now)
		return
	}
	target := s.completed
	s.event("(service %s) rolling back to deployment %s.", s.name, target.id)
	rec.become(types.ServiceDeploymentStatusRollbackInProgress, why.status, now)
	rec.rollback = &types.Rollback{Reason: new(why.status), StartedAt: &now, ServiceRevisionArn: &target.revision.arn}
	next := s.deploy(nil, target)
	next.record = rec
	next.reason = fmt.Sprintf("%s: rolling back to deploymentId %s.", why.who, target.id)
}

// rollbackCause is the wording of one kind of rollback.
type rollbackCause struct {
	back    bool   // go back, not only stop
	who     string // begins rolloutStateReason of the deployment that goes back
	failed  string // rolloutStateReason of the deployment that failed
	status  string // statusReason of the service deployment that is rolled back
	stopped string // statusReason of the service deployment that is only stopped
}

func breakerTripped(back bool) rollbackCause {
	return rollbackCause{
		back: back, who: "ECS deployment circuit breaker",
		failed:  "ECS deployment circuit breaker: tasks failed to start.",
		status:  "Service deployment rolled back because the circuit breaker threshold was exceeded.",
		stopped: "Service deployment stopped because the circuit breaker threshold was exceeded.",
	}
}

func userStopped(back bool) rollbackCause {
	return rollbackCause{
		back: back, who: "ECS deployment stopped by user",
		failed:  "ECS deployment stopped by user.",
		status:  "Service deployment rolled back because of a user request.",
		stopped: "Service deployment stopped because of a user request.",
	}
}
