package ecs

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// alarmMonitor is how a service deployment monitors CloudWatch alarms.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
type alarmMonitor struct {
	status    types.ServiceDeploymentRollbackMonitorsStatus
	names     []string
	triggered []string
	rollback  bool
}

// SetAlarm sets or clears an alarm. Deployments in progress that monitor it fail. A
// deployment that starts while one of its alarms is set monitors none.
func (c *ControlPlane) SetAlarm(name string, alarming bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !alarming {
		delete(c.alarming, name)
		return
	}
	c.alarming[name] = true
	for _, cl := range c.clusters {
		for _, s := range cl.services {
			s.triggerAlarm(name)
		}
	}
}

// newAlarms returns the alarm monitor of a deployment that starts.
func (c *ControlPlane) newAlarms(config *types.DeploymentAlarms) alarmMonitor {
	a := alarmMonitor{status: types.ServiceDeploymentRollbackMonitorsStatusDisabled}
	if config == nil {
		return a
	}
	a.names, a.rollback = config.AlarmNames, config.Rollback
	if config.Enable && !slices.ContainsFunc(a.names, func(name string) bool { return c.alarming[name] }) {
		a.status = types.ServiceDeploymentRollbackMonitorsStatusMonitoring
	}
	return a
}

// triggerAlarm records an alarm for the deployment in progress.
func (s *service) triggerAlarm(name string) {
	if s.status != statusActive {
		return
	}
	rec := s.primary().serviceDeployment
	if rec == nil || !rec.monitorsAlarms() || !slices.Contains(rec.alarms.names, name) || slices.Contains(rec.alarms.triggered, name) {
		return
	}
	rec.alarms.triggered = slices.Concat(rec.alarms.triggered, []string{name})
	s.wake()
}

// monitorsAlarms reports whether an alarm fails a service deployment.
func (d *serviceDeployment) monitorsAlarms() bool {
	return d.alarms.status == types.ServiceDeploymentRollbackMonitorsStatusMonitoring &&
		(d.status == types.ServiceDeploymentStatusPending || d.status == types.ServiceDeploymentStatusInProgress)
}

// checkAlarms fails the deployment in progress if an alarm was triggered.
func (s *service) checkAlarms() {
	p := s.primary()
	if p.serviceDeployment == nil || !p.serviceDeployment.monitorsAlarms() || len(p.serviceDeployment.alarms.triggered) == 0 {
		return
	}
	p.serviceDeployment.alarms.status = types.ServiceDeploymentRollbackMonitorsStatusTriggered
	s.event("(service %s) (deployment %s) deployment failed: alarm detected.", s.name, p.id)
	s.rollBack(p, alarmRollback(p.serviceDeployment.alarms.rollback))
}

func alarmRollback(back bool) rollbackCause {
	return rollbackCause{
		rollBack: back, reasonPrefix: "ECS deployment alarm",
		failedReason:     "ECS deployment failed: alarm detected.",
		rolledBackReason: "Service deployment rolled back because one or more deployment alarms were triggered.",
		stoppedReason:    "Service deployment stopped because one or more deployment alarms were triggered.",
	}
}

// remainingBakeTime returns how long a deployment whose tasks are all healthy still
// monitors its alarms. ECS derives the bake time from the alarms' settings; here it is
// the one of the deployment configuration.
func (s *service) remainingBakeTime(p *deployment) time.Duration {
	minutes := aws.ToInt32(s.record.DeploymentConfiguration.BakeTimeInMinutes)
	if p.serviceDeployment == nil || !p.serviceDeployment.monitorsAlarms() || minutes == 0 {
		return 0
	}
	if p.readyAt.IsZero() {
		p.readyAt = time.Now()
	}
	return time.Until(p.readyAt.Add(s.c.cfg.Clock.Scale(time.Duration(minutes) * time.Minute)))
}

// complete ends the monitoring.
func (a *alarmMonitor) complete() {
	if a.status == types.ServiceDeploymentRollbackMonitorsStatusMonitoring {
		a.status = types.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
	}
}

func (a alarmMonitor) describe() *types.ServiceDeploymentAlarms {
	return &types.ServiceDeploymentAlarms{Status: a.status, AlarmNames: a.names, TriggeredAlarmNames: a.triggered}
}
