package ecs

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// revision is a service revision, the target of a deployment. Its id has the same
// digits as the deployment that created it, by which clients find one from the other.
type revision struct {
	arn           string
	definition    *types.TaskDefinition
	loadBalancers []types.LoadBalancer // as configured
	targets       []types.LoadBalancer // with the target group that its tasks get
	network       *types.NetworkConfiguration
	launch        launch
	createdAt     time.Time
	service       *service
	digests       map[string]string // by container, as first pulled
}

// deployment is one entry of a service's deployments.
type deployment struct {
	id                string // ecs-svc/1234567890123456789
	revision          *revision
	createdAt         time.Time
	updatedAt         time.Time
	state             types.DeploymentRolloutState
	reason            string
	failedTasks       int // tasks that failed since the last healthy one
	total             int // all tasks that failed
	nextStart         time.Time
	keep              int       // tasks of a completed revision: during a newer deployment, failed ones are replaced with their own revision
	readyAt           time.Time // when all its tasks were healthy and the bake time began
	serviceDeployment *serviceDeployment
}

// serviceDeployment is a deployment in the service deployments API.
type serviceDeployment struct {
	arn            string
	service        *service
	target         *revision
	sources        []types.ServiceRevisionSummary
	status         types.ServiceDeploymentStatus
	reason         string
	circuitBreaker types.ServiceDeploymentRollbackMonitorsStatus
	alarms         alarmMonitor
	failures       int
	config         *types.DeploymentConfiguration
	createdAt      time.Time
	startedAt      *time.Time
	updatedAt      time.Time
	stoppedAt      *time.Time
	finishedAt     *time.Time
	rollback       *types.Rollback
	shift          *shift  // nil for a rolling deployment
	stage          string  // lifecycle stage; a rolling deployment without hooks has none
	hooks          []*hook // of the stage
}

// finished reports whether a service deployment has a final status.
func (d *serviceDeployment) finished() bool {
	switch d.status {
	case types.ServiceDeploymentStatusSuccessful, types.ServiceDeploymentStatusStopped,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	default:
		return false
	}
}

// setStatus changes a service deployment's status.
func (d *serviceDeployment) setStatus(status types.ServiceDeploymentStatus, reason string, now time.Time) {
	d.status, d.reason, d.updatedAt = status, reason, now
	if d.finished() {
		d.finishedAt = &now
	}
	if status == types.ServiceDeploymentStatusStopped {
		d.stoppedAt = &now
	}
}

// startDeployment starts a deployment of a task definition, or with rollbackTo of an
// earlier deployment's revision, whose running tasks are kept. The lock is held.
func (s *service) startDeployment(d *types.TaskDefinition, rollbackTo *deployment) *deployment {
	now := s.c.cfg.Clock.Now()
	digits := wire.RandomDigits(19)
	next := &deployment{
		id: "ecs-svc/" + digits, createdAt: now, updatedAt: now, state: types.DeploymentRolloutStateInProgress,
	}
	next.reason = "ECS deployment " + next.id + " in progress."
	if rollbackTo != nil {
		next.revision = rollbackTo.revision
		s.record.TaskDefinition = rollbackTo.revision.definition.TaskDefinitionArn
		s.record.LoadBalancers, s.record.NetworkConfiguration = rollbackTo.revision.loadBalancers, rollbackTo.revision.network
		s.record.LaunchType, s.record.CapacityProviderStrategy = rollbackTo.revision.launch.launchType, rollbackTo.revision.launch.strategy
		s.adoptTasks(next)
		rollbackTo.keep = 0 // the new deployment has its revision and tasks
	} else {
		s.settleCleanUp()
		rolling := s.record.DeploymentConfiguration.Strategy == types.DeploymentStrategyRolling
		next.revision = &revision{
			arn:        s.c.cfg.Scope.ARN("ecs", "service-revision/"+s.cluster.name+"/"+s.name+"/"+digits),
			definition: d, loadBalancers: s.record.LoadBalancers, network: s.record.NetworkConfiguration, createdAt: now, service: s,
			targets: resolveTargets(s.record.LoadBalancers, s.source(), rolling),
			digests: map[string]string{}, launch: launch{s.record.LaunchType, s.record.CapacityProviderStrategy},
		}
		s.c.revisions[next.revision.arn] = next.revision
		next.serviceDeployment = s.newServiceDeployment(next.revision, now)
	}
	if len(s.deployments) > 0 {
		s.primary().keep = min(s.primary().keep, s.desired)
	}
	s.deployments = append([]*deployment{next}, s.deployments...)
	s.steady, s.blockedReported = false, false
	s.wake()
	return next
}

// adoptTasks assigns the running tasks of a new deployment's revision to it.
func (s *service) adoptTasks(next *deployment) {
	for _, t := range s.activeTasks() {
		if t.deployment.revision == next.revision && !t.stopping {
			t.deployment = next
		}
	}
}

func (s *service) newServiceDeployment(target *revision, now time.Time) *serviceDeployment {
	d := &serviceDeployment{
		arn:     s.c.cfg.Scope.ARN("ecs", "service-deployment/"+s.cluster.name+"/"+s.name+"/"+wire.RandomHex(21)),
		service: s, target: target, status: types.ServiceDeploymentStatusPending, createdAt: now, updatedAt: now,
		config: s.record.DeploymentConfiguration, circuitBreaker: types.ServiceDeploymentRollbackMonitorsStatusDisabled,
	}
	if d.config.DeploymentCircuitBreaker.Enable {
		d.circuitBreaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoring
	}
	d.alarms = s.c.newAlarms(d.config.Alarms)
	d.shift = s.newShift(d.config)
	for _, old := range s.deployments {
		running, pending, wanted := s.counts(old)
		d.sources = append(d.sources, types.ServiceRevisionSummary{
			Arn: &old.revision.arn, RunningTaskCount: running, PendingTaskCount: pending, RequestedTaskCount: wanted,
		})
	}
	if len(s.serviceDeployments) > 0 && !s.serviceDeployments[0].finished() {
		old := s.serviceDeployments[0]
		old.setStatus(types.ServiceDeploymentStatusStopped, "Service deployment stopped because a newer service deployment was started.", now)
		old.circuitBreaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
		old.alarms.complete()
		old.hooks = nil
		if old.shift != nil && d.shift == nil && s.lastCompleted != nil && old.target != s.lastCompleted.revision {
			s.setTraffic(old, 0, 0) // a rolling deployment has no stage that does it
		}
	}
	s.serviceDeployments = append([]*serviceDeployment{d}, s.serviceDeployments...)
	s.c.deployments[d.arn] = d
	return d
}

// rollBack fails a deployment and rolls back to the last completed one. Without one, or
// if the service is not configured to roll back, no more tasks are started, and running
// ones keep running.
func (s *service) rollBack(failed *deployment, cause rollbackCause) {
	now := s.c.cfg.Clock.Now()
	failed.state, failed.reason, failed.updatedAt = types.DeploymentRolloutStateFailed, cause.failedReason, now
	rec := failed.serviceDeployment
	if rec != nil {
		rec.alarms.complete()
		rec.hooks = nil
	}
	if !cause.rollBack || rec == nil {
		if rec != nil {
			rec.setStatus(types.ServiceDeploymentStatusStopped, cause.stoppedReason, now)
		}
		return
	}
	if s.lastCompleted == nil {
		s.event("(service %s) was unable to roll back: no rollback candidate was found.", s.name)
		rec.setStatus(types.ServiceDeploymentStatusRollbackFailed, cause.rolledBackReason+" No rollback candidate was found to run the rollback.", now)
		return
	}
	target := s.lastCompleted
	s.event("(service %s) rolling back to deployment %s.", s.name, target.id)
	rec.setStatus(types.ServiceDeploymentStatusRollbackInProgress, cause.rolledBackReason, now)
	rec.rollback = &types.Rollback{Reason: new(cause.rolledBackReason), StartedAt: &now, ServiceRevisionArn: &target.revision.arn}
	next := s.startDeployment(nil, target)
	next.serviceDeployment = rec
	next.reason = fmt.Sprintf("%s: rolling back to deploymentId %s.", cause.reasonPrefix, target.id)
}

// rollbackCause holds ECS's messages for one kind of failed deployment.
type rollbackCause struct {
	rollBack         bool   // roll back, not only stop
	reasonPrefix     string // begins rolloutStateReason of the rollback's deployment
	failedReason     string // rolloutStateReason of the failed deployment
	rolledBackReason string // statusReason of a service deployment that is rolled back
	stoppedReason    string // statusReason of a service deployment that is only stopped
}

func circuitBreakerRollback(rollbackTo bool) rollbackCause {
	return rollbackCause{
		rollBack: rollbackTo, reasonPrefix: "ECS deployment circuit breaker",
		failedReason:     "ECS deployment circuit breaker: tasks failed to start.",
		rolledBackReason: "Service deployment rolled back because the circuit breaker threshold was exceeded.",
		stoppedReason:    "Service deployment stopped because the circuit breaker threshold was exceeded.",
	}
}

func userRollback(rollbackTo bool) rollbackCause {
	return rollbackCause{
		rollBack: rollbackTo, reasonPrefix: "ECS deployment stopped by user",
		failedReason:     "ECS deployment stopped by user.",
		rolledBackReason: "Service deployment rolled back because of a user request.",
		stoppedReason:    "Service deployment stopped because of a user request.",
	}
}
