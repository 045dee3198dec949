package ecs

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// alarms is what a service deployment makes of CloudWatch alarms.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
type alarms struct {
	status    types.ServiceDeploymentRollbackMonitorsStatus
	names     []string
	triggered []string
	rollback  bool
}

// SetAlarm sets or clears an alarm. A deployment under way of a service that
// watches it fails; one that starts while the alarm is set does not watch any.
func (c *Control) SetAlarm(name string, alarming bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !alarming {
		delete(c.alarming, name)
		return
	}
	c.alarming[name] = true
	for _, cl := range c.clusters {
		for _, s := range cl.services {
			s.alarm(name)
		}
	}
}

// newAlarms is the state of the alarms for a deployment that starts.
func (c *Control) newAlarms(config *types.DeploymentAlarms) alarms {
	a := alarms{status: types.ServiceDeploymentRollbackMonitorsStatusDisabled}
	if config == nil {
		return a
	}
	a.names, a.rollback = config.AlarmNames, config.Rollback
	if config.Enable && !slices.ContainsFunc(a.names, func(name string) bool { return c.alarming[name] }) {
		a.status = types.ServiceDeploymentRollbackMonitorsStatusMonitoring
	}
	return a
}

// alarm tells the deployment under way that an alarm has gone off.
func (s *service) alarm(name string) {
	if s.status != statusActive {
		return
	}
	rec := s.primary().record
	if rec == nil || !rec.watching() || !slices.Contains(rec.alarms.names, name) || slices.Contains(rec.alarms.triggered, name) {
		return
	}
	rec.alarms.triggered = slices.Concat(rec.alarms.triggered, []string{name})
	s.poke()
}

// watching says whether a service deployment would fail by an alarm.
func (d *serviceDeployment) watching() bool {
	return d.alarms.status == types.ServiceDeploymentRollbackMonitorsStatusMonitoring &&
		(d.status == types.ServiceDeploymentStatusPending || d.status == types.ServiceDeploymentStatusInProgress)
}

// heedAlarms fails the deployment under way if an alarm has gone off.
func (s *service) heedAlarms() {
	p := s.primary()
	if p.record == nil || !p.record.watching() || len(p.record.alarms.triggered) == 0 {
		return
	}
	p.record.alarms.status = types.ServiceDeploymentRollbackMonitorsStatusTriggered
	s.event("(service %s) (deployment %s) deployment failed: alarm detected.", s.name, p.id)
	s.rollBack(p, alarmTriggered(p.record.alarms.rollback))
}

func alarmTriggered(back bool) rollbackCause {
	return rollbackCause{
		back: back, who: "ECS deployment alarm",
		failed:  "ECS deployment failed: alarm detected.",
		status:  "Service deployment rolled back because one or more deployment alarms were triggered.",
		stopped: "Service deployment stopped because one or more deployment alarms were triggered.",
	}
}

// baking is how long a deployment whose tasks are all up goes on watching its
// alarms. ECS computes the bake time from the alarms' own settings, which are
// not known here: it is the configuration's.
func (s *service) baking(p *deployment) time.Duration {
	minutes := aws.ToInt32(s.record.DeploymentConfiguration.BakeTimeInMinutes)
	if p.record == nil || !p.record.watching() || minutes == 0 {
		return 0
	}
	if p.ready.IsZero() {
		p.ready = time.Now()
	}
	return time.Until(p.ready.Add(s.c.cfg.Clock.Scaled(time.Duration(minutes) * time.Minute)))
}

// end notes that the alarms are watched no more.
func (a *alarms) end() {
	if a.status == types.ServiceDeploymentRollbackMonitorsStatusMonitoring {
		a.status = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
	}
}

func (a alarms) describe() *types.ServiceDeploymentAlarms {
	return &types.ServiceDeploymentAlarms{Status: a.status, AlarmNames: a.names, TriggeredAlarmNames: a.triggered}
}
