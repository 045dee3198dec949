package ecs

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// resyncInterval is how often the scheduler reconciles an unchanged service, in real
// time. It is a safety net: every change wakes the service.
const resyncInterval = 10 * time.Second

// runScheduler reconciles a service whenever something has changed, until it is deleted.
func (s *service) runScheduler() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.c.ctx.Done():
			return
		case <-s.deleted:
			return
		case <-s.wakeup:
		case <-timer.C:
		}
		s.c.mu.Lock()
		next := s.reconcile()
		s.c.mu.Unlock()
		timer.Reset(next)
	}
}

// activeTasks returns the service's tasks that have not stopped, oldest first. The lock
// is held, as in all functions below.
func (s *service) activeTasks() []*taskRun {
	var list []*taskRun
	for _, t := range s.taskRuns {
		if t.status() != "STOPPED" {
			list = append(list, t)
		}
	}
	return list
}

// reconcile brings the service one step closer to its desired state. It returns when to
// reconcile again if nothing changes before.
func (s *service) reconcile() time.Duration {
	if s.c.closed {
		return resyncInterval
	}
	next := resyncInterval
	s.advanceServiceDeployment()
	s.reportRegistered()
	for _, t := range s.activeTasks() {
		next = min(next, s.evaluateHealth(t))
	}
	s.countFailures()
	s.checkCircuitBreaker()
	s.checkAlarms()
	switch shifting := s.shifting(); {
	case shifting != nil:
		next = min(next, s.advanceShift(shifting))
	case s.primary().state != types.DeploymentRolloutStateFailed || s.status == statusDraining:
		passed, wait := s.rollingHooks(stagePreScaleUp)
		next = min(next, wait)
		if passed {
			next = min(next, s.scaleUp())
			s.scaleDown()
		}
	}
	s.removeStopped()
	next = min(next, s.completeIfStable())
	return max(next, time.Millisecond)
}

// advanceServiceDeployment starts a pending service deployment, or stops one as
// requested.
func (s *service) advanceServiceDeployment() {
	p := s.primary()
	rec := p.serviceDeployment
	if rec == nil {
		return
	}
	now := s.c.cfg.Clock.Now()
	switch rec.status {
	case types.ServiceDeploymentStatusPending:
		rec.startedAt = &now
		rec.setStatus(types.ServiceDeploymentStatusInProgress, "", now)
	case types.ServiceDeploymentStatusRollbackRequested:
		s.event("(service %s) (deployment %s) deployment stopped: rollback requested by user.", s.name, p.id)
		s.rollBack(p, userRollback(true))
	case types.ServiceDeploymentStatusStopRequested:
		s.event("(service %s) (deployment %s) deployment stopped by user.", s.name, p.id)
		s.rollBack(p, userRollback(false))
	}
}

func (s *service) reportRegistered() {
	for group, n := range s.registered {
		s.event("(service %s) registered %d targets in (target-group %s)", s.name, n, group)
		delete(s.registered, group)
	}
}

// scaleUp starts tasks of the primary deployment, as far as maximumPercent allows. It
// returns when to try again.
func (s *service) scaleUp() time.Duration {
	p := s.primary()
	next := resyncInterval
	all := 0
	for _, t := range s.activeTasks() {
		if !t.stopping {
			all++
		}
	}
	maxTasks := s.desired * int(*s.record.DeploymentConfiguration.MaximumPercent) / 100
	replaced := s.servingTasks(p) >= s.desired
	for _, old := range s.deployments[1:] {
		if replaced {
			old.keep = 0
		}
		if missing := min(old.keep-len(s.tasksOf(old)), maxTasks-all); missing > 0 {
			next = min(next, s.startTasks(old, missing))
			all += missing
		}
	}
	return min(next, s.startTasks(p, min(s.desired-len(s.tasksOf(p)), maxTasks-all)))
}

// startTasks starts tasks of a deployment, unless too many of its tasks have failed
// lately. It returns when to try again.
func (s *service) startTasks(d *deployment, missing int) time.Duration {
	if missing <= 0 {
		return resyncInterval
	}
	if wait := time.Until(d.nextStart); wait > 0 {
		return wait
	}
	var names []string
	for range missing {
		names = append(names, "(task "+s.startTask(d).id+")")
	}
	s.steady = false
	s.event("(service %s) has started %d tasks: %s.", s.name, missing, strings.Join(names, " "))
	return resyncInterval
}

func (s *service) startTask(d *deployment) *taskRun {
	t := s.c.newTask(s.cluster, d.revision.definition, "service:"+s.name)
	t.service, t.deployment = s, d
	t.record.CapacityProviderName = d.revision.launch.provider(s.tasksOf(d))
	t.record.EnableExecuteCommand = s.record.EnableExecuteCommand
	s.taskRuns = append(s.taskRuns, t)
	t.record.StartedBy = new(d.id)
	switch s.record.PropagateTags {
	case types.PropagateTagsService:
		s.c.setTags(t.arn, s.c.listTags(s.arn))
	case types.PropagateTagsTaskDefinition:
		s.c.setTags(t.arn, s.c.listTags(*t.definition.TaskDefinitionArn))
	}
	if s.record.EnableECSManagedTags {
		s.c.setTags(t.arn, []types.Tag{
			{Key: new("aws:ecs:clusterName"), Value: &s.cluster.name}, {Key: new("aws:ecs:serviceName"), Value: &s.name},
		})
	}
	s.c.spawn(t.run)
	return t
}

// scaleDown stops tasks of older deployments, and surplus ones of the primary, as far
// as minimumHealthyPercent allows.
func (s *service) scaleDown() {
	p := s.primary()
	current, currentServing := s.tasksOf(p), s.servingTasks(p)
	older := slices.DeleteFunc(s.activeTasks(), func(t *taskRun) bool { return t.stopping || t.deployment == p })
	serving := currentServing
	for _, t := range older {
		if t.serving() {
			serving++
		}
	}
	config := s.record.DeploymentConfiguration
	minHealthy := (s.desired*int(*config.MinimumHealthyPercent) + 99) / 100
	maxTasks := s.desired * int(*config.MaximumPercent) / 100
	atCapacity := len(current) < s.desired && len(current)+len(older) >= maxTasks
	var stopping []*taskRun
	for _, t := range older {
		switch {
		case !t.serving() && (t.deployment.keep == 0 || atCapacity):
			stopping = append(stopping, t)
		case !t.serving(): // replaces a failed task of its revision
		case serving > minHealthy && (atCapacity || serving > s.desired || currentServing >= s.desired):
			stopping = append(stopping, t)
			serving--
		}
	}
	for _, t := range stopping {
		t.deployment.keep = max(0, t.deployment.keep-1)
	}
	for i := len(current) - 1; i >= s.desired; i-- {
		stopping = append(stopping, current[i])
	}
	s.stopTasks(stopping, "Scaling activity initiated by (deployment "+p.id+")")
	if atCapacity && len(stopping) == 0 && serving <= minHealthy && serving >= s.desired && !s.blockedReported {
		s.blockedReported = true
		s.event("(service %s) was unable to stop or start tasks during a deployment because of the service deployment configuration. "+
			"Update the minimumHealthyPercent or maximumPercent value and try again.", s.name)
	}
}

// stopTasks stops tasks as a scaling activity does: serving ones drain first.
func (s *service) stopTasks(stopping []*taskRun, reason string) {
	if len(stopping) == 0 {
		return
	}
	var names []string
	for _, t := range stopping {
		t.drainFirst = t.serving()
		t.requestStop(types.TaskStopCodeServiceSchedulerInitiated, reason)
		names = append(names, "(task "+t.id+")")
	}
	s.steady = false
	s.event("(service %s) has stopped %d running tasks: %s.", s.name, len(stopping), strings.Join(names, " "))
	s.reportDeregistered(stopping)
}

// reportDeregistered adds the events about deregistered targets.
func (s *service) reportDeregistered(tasks []*taskRun) {
	groups, drains := map[string]int{}, map[string]int{}
	for _, t := range tasks {
		if !t.registered {
			continue
		}
		for _, lb := range t.deployment.revision.targets {
			groups[aws.ToString(lb.TargetGroupArn)]++
		}
		if len(t.deployment.revision.targets) > 0 {
			drains[t.deployment.id]++
		}
	}
	for group, n := range groups {
		s.event("(service %s) deregistered %d targets in (target-group %s)", s.name, n, group)
	}
	for id, n := range drains {
		s.event("(service %s, taskSet %s) has begun draining connections on %d tasks.", s.name, id, n)
	}
}

// removeStopped removes stopped tasks, and older deployments without tasks.
func (s *service) removeStopped() {
	s.taskRuns = slices.DeleteFunc(s.taskRuns, func(t *taskRun) bool { return t.counted && t.status() == "STOPPED" })
	tasks, p := s.activeTasks(), s.primary()
	var source *deployment // of the traffic that is shifted
	if rec := s.shifting(); rec != nil {
		source = rec.shift.source
	}
	s.deployments = slices.DeleteFunc(s.deployments, func(d *deployment) bool {
		return d != p && d != source && d.keep == 0 && !slices.ContainsFunc(tasks, func(t *taskRun) bool { return t.deployment == d })
	})
}

// completeIfStable completes the deployment, or the service's deletion, once all desired
// tasks are healthy and no others are left. It returns when to try again.
func (s *service) completeIfStable() time.Duration {
	tasks := s.activeTasks()
	if s.status == statusDraining && len(tasks) == 0 {
		s.status = statusInactive
		close(s.deleted)
		return resyncInterval
	}
	if s.shifting() != nil {
		return resyncInterval
	}
	p := s.primary()
	if s.status == statusActive && p.state == types.DeploymentRolloutStateInProgress && s.succeedsEarly(p, tasks) {
		if wait := s.remainingBakeTime(p); wait > 0 {
			return wait
		}
		s.completeDeployment(p)
	}
	ready := len(tasks) == s.desired && !slices.ContainsFunc(tasks, func(t *taskRun) bool { return t.deployment != p || !t.serving() })
	if !ready || s.steady || s.status != statusActive || p.state == types.DeploymentRolloutStateFailed {
		return resyncInterval
	}
	if passed, wait := s.rollingHooks(stagePostScaleUp); !passed {
		return wait
	}
	if wait := s.remainingBakeTime(p); wait > 0 {
		return wait
	}
	s.reachSteadyState()
	return resyncInterval
}

// reachSteadyState records that only healthy tasks of the primary deployment are left,
// which completes it.
func (s *service) reachSteadyState() {
	p := s.primary()
	s.steady = true
	p.keep = s.desired
	if p.state == types.DeploymentRolloutStateInProgress {
		s.completeDeployment(p)
	}
	s.event("(service %s) has reached a steady state.", s.name)
}

// succeedsEarly reports whether a deployment meets its early success criteria. With
// DEFERRED, the old tasks may still run; they are stopped in the background.
func (s *service) succeedsEarly(p *deployment, tasks []*taskRun) bool {
	criteria := s.record.DeploymentConfiguration.EarlySuccessCriteria
	if criteria == nil || !criteria.Enable || p.serviceDeployment == nil || p.serviceDeployment.status != types.ServiceDeploymentStatusInProgress {
		return false
	}
	if criteria.SourceServiceRevisionCleanup == types.ServiceRevisionCleanupBlocking &&
		slices.ContainsFunc(tasks, func(t *taskRun) bool { return t.deployment != p }) {
		return false
	}
	return s.servingTasks(p) >= (s.desired*int(*criteria.HealthyPercent)+99)/100
}

// completeDeployment marks a deployment as successful.
func (s *service) completeDeployment(p *deployment) {
	now := s.c.cfg.Clock.Now()
	p.state, p.updatedAt = types.DeploymentRolloutStateCompleted, now
	p.reason = "ECS deployment " + p.id + " completed."
	s.lastCompleted = p
	p.keep = s.desired
	s.event("(service %s) (deployment %s) deployment completed.", s.name, p.id)
	rec := p.serviceDeployment
	if rec == nil || rec.finished() {
		return
	}
	if rec.status == types.ServiceDeploymentStatusRollbackInProgress {
		rec.setStatus(types.ServiceDeploymentStatusRollbackSuccessful, rec.reason, now)
		return
	}
	if rec.circuitBreaker == types.ServiceDeploymentRollbackMonitorsStatusMonitoring {
		rec.circuitBreaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
	}
	rec.alarms.complete()
	rec.setStatus(types.ServiceDeploymentStatusSuccessful, "", now)
}
