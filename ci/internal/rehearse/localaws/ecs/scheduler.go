package ecs

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// idle is how often the scheduler looks at a service that nothing happens to,
// in real time. It is a safety net: every change pokes the service.
const idle = 10 * time.Second

// schedule is a service's scheduler: it acts whenever something has changed.
func (s *service) schedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.c.ctx.Done():
			return
		case <-s.gone:
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

// tasks lists the service's tasks that have not stopped, oldest first. The lock
// is held, as in everything below.
func (s *service) tasks() []*taskRun {
	var list []*taskRun
	for _, t := range s.members {
		if t.status() != "STOPPED" {
			list = append(list, t)
		}
	}
	return list
}

// reconcile brings the service one step closer to what is wanted and returns
// when to look again if nothing happens before.
func (s *service) reconcile() time.Duration {
	if s.c.closed {
		return idle
	}
	next := idle
	s.begin()
	s.tellRegistered()
	for _, t := range s.tasks() {
		next = min(next, s.judge(t))
	}
	s.countFailures()
	s.breaker()
	s.heedAlarms()
	if s.primary().state != types.DeploymentRolloutStateFailed || s.status == statusDraining {
		next = min(next, s.scaleUp())
		s.scaleDown()
	}
	s.retire()
	next = min(next, s.finish())
	return max(next, time.Millisecond)
}

// begin moves a new service deployment on, and carries out requested stops.
func (s *service) begin() {
	p := s.primary()
	rec := p.record
	if rec == nil {
		return
	}
	now := s.c.cfg.Clock.Now()
	switch rec.status {
	case types.ServiceDeploymentStatusPending:
		rec.started = &now
		rec.become(types.ServiceDeploymentStatusInProgress, "", now)
	case types.ServiceDeploymentStatusRollbackRequested:
		s.event("(service %s) (deployment %s) deployment stopped: rollback requested by user.", s.name, p.id)
		s.rollBack(p, userStopped(true))
	case types.ServiceDeploymentStatusStopRequested:
		s.event("(service %s) (deployment %s) deployment stopped by user.", s.name, p.id)
		s.rollBack(p, userStopped(false))
	}
}

func (s *service) tellRegistered() {
	for group, n := range s.registered {
		s.event("(service %s) registered %d targets in (target-group %s)", s.name, n, group)
		delete(s.registered, group)
	}
}

// scaleUp starts tasks of the primary deployment as far as maximumPercent allows.
func (s *service) scaleUp() time.Duration {
	p := s.primary()
	mine, all := 0, 0
	for _, t := range s.tasks() {
		if t.stopping {
			continue
		}
		all++
		if t.deployment == p {
			mine++
		}
	}
	limit := s.desired * int(*s.record.DeploymentConfiguration.MaximumPercent) / 100
	missing := min(s.desired-mine, limit-all)
	if missing <= 0 {
		return idle
	}
	if wait := time.Until(p.earliest); wait > 0 {
		return wait
	}
	var names []string
	for range missing {
		names = append(names, "(task "+s.launch(p).id+")")
	}
	s.steady = false
	s.event("(service %s) has started %d tasks: %s.", s.name, missing, strings.Join(names, " "))
	return idle
}

func (s *service) launch(d *deployment) *taskRun {
	t := s.c.newTask(s.cluster, d.revision.definition, "service:"+s.name)
	t.service, t.deployment = s, d
	s.members = append(s.members, t)
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
	s.c.spawn(t.live)
	return t
}

// scaleDown stops tasks of older deployments, and of the primary one where there
// are too many, as far as minimumHealthyPercent allows.
func (s *service) scaleDown() {
	p := s.primary()
	var mine, older []*taskRun
	up, mineUp := 0, 0
	for _, t := range s.tasks() {
		if t.stopping {
			continue
		}
		if t.up() {
			up++
		}
		if t.deployment == p {
			mine = append(mine, t)
			if t.up() {
				mineUp++
			}
		} else {
			older = append(older, t)
		}
	}
	config := s.record.DeploymentConfiguration
	floor := (s.desired*int(*config.MinimumHealthyPercent) + 99) / 100
	limit := s.desired * int(*config.MaximumPercent) / 100
	cramped := len(mine) < s.desired && len(mine)+len(older) >= limit
	var doomed []*taskRun
	for _, t := range older {
		switch {
		case !t.up(): // it serves nobody
			doomed = append(doomed, t)
		case up > floor && (cramped || up > s.desired || mineUp >= s.desired):
			doomed = append(doomed, t)
			up--
		}
	}
	for i := len(mine) - 1; i >= s.desired; i-- {
		doomed = append(doomed, mine[i])
	}
	s.stop(doomed, "Scaling activity initiated by (deployment "+p.id+")")
	if cramped && len(doomed) == 0 && up <= floor && up >= s.desired && !s.stuck {
		s.stuck = true
		s.event("(service %s) was unable to stop or start tasks during a deployment because of the service deployment configuration. "+
			"Update the minimumHealthyPercent or maximumPercent value and try again.", s.name)
	}
}

// stop ends tasks the way a scaling activity does: they drain first.
func (s *service) stop(doomed []*taskRun, reason string) {
	if len(doomed) == 0 {
		return
	}
	var names []string
	for _, t := range doomed {
		t.gentle = t.up()
		t.requestStop(types.TaskStopCodeServiceSchedulerInitiated, reason)
		names = append(names, "(task "+t.id+")")
	}
	s.steady = false
	s.event("(service %s) has stopped %d running tasks: %s.", s.name, len(doomed), strings.Join(names, " "))
	s.tellDeregistered(doomed)
}

// tellDeregistered sends the events about targets that leave.
func (s *service) tellDeregistered(leaving []*taskRun) {
	groups, drains := map[string]int{}, map[string]int{}
	for _, t := range leaving {
		if !t.registered {
			continue
		}
		for _, lb := range t.deployment.revision.loadBalancers {
			groups[aws.ToString(lb.TargetGroupArn)]++
		}
		if len(t.deployment.revision.loadBalancers) > 0 {
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

// retire forgets tasks that have stopped, and older deployments whose tasks are
// all gone.
func (s *service) retire() {
	s.members = slices.DeleteFunc(s.members, func(t *taskRun) bool { return t.tried && t.status() == "STOPPED" })
	tasks := s.tasks()
	s.deployments = slices.DeleteFunc(s.deployments, func(d *deployment) bool {
		return d != s.deployments[0] && !slices.ContainsFunc(tasks, func(t *taskRun) bool { return t.deployment == d })
	})
}

// finish completes the deployment, and the service's deletion, when everything
// is as it was wanted: as many tasks as desired, all healthy, and no others. It
// returns when to look again.
func (s *service) finish() time.Duration {
	tasks := s.tasks()
	if s.status == statusDraining && len(tasks) == 0 {
		s.status = statusInactive
		close(s.gone)
		return idle
	}
	p := s.primary()
	ready := len(tasks) == s.desired && !slices.ContainsFunc(tasks, func(t *taskRun) bool { return t.deployment != p || !t.up() })
	if !ready || s.steady || s.status != statusActive || p.state == types.DeploymentRolloutStateFailed {
		return idle
	}
	if wait := s.baking(p); wait > 0 {
		return wait
	}
	s.steady = true
	if p.state == types.DeploymentRolloutStateInProgress {
		s.complete(p)
	}
	s.event("(service %s) has reached a steady state.", s.name)
	return idle
}

// complete marks a deployment as successful.
func (s *service) complete(p *deployment) {
	now := s.c.cfg.Clock.Now()
	p.state, p.updated = types.DeploymentRolloutStateCompleted, now
	p.reason = "ECS deployment " + p.id + " completed."
	s.completed = p
	s.event("(service %s) (deployment %s) deployment completed.", s.name, p.id)
	rec := p.record
	if rec == nil || rec.over() {
		return
	}
	if rec.status == types.ServiceDeploymentStatusRollbackInProgress {
		rec.become(types.ServiceDeploymentStatusRollbackSuccessful, rec.reason, now)
		return
	}
	if rec.breaker == types.ServiceDeploymentRollbackMonitorsStatusMonitoring {
		rec.breaker = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
	}
	rec.alarms.end()
	rec.become(types.ServiceDeploymentStatusSuccessful, "", now)
}
