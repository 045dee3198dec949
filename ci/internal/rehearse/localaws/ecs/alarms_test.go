package ecs_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

// createMonitoredService creates a service that monitors two alarms, with a bake time of
// a minute.
func createMonitoredService(t *testing.T, rollback bool) (p *localawstest.Platform, good string) {
	t.Helper()
	p = localawstest.New(t, binary, localaws.Options{TimeScale: 20})
	good = p.RegisterTaskDefinition(p.PushImage("one"))
	p.CreateService(good, func(in *ecs.CreateServiceInput) {
		in.DeploymentConfiguration.Alarms = &ecstypes.DeploymentAlarms{Enable: true, Rollback: rollback, AlarmNames: []string{"5xx", "slow"}}
		in.DeploymentConfiguration.BakeTimeInMinutes = aws.Int32(1)
	})
	p.WaitStable()
	return p, good
}

// waitBaking waits until all tasks of the newest deployment run while it is in progress.
func waitBaking(p *localawstest.Platform, id string) {
	p.Helper()
	p.Eventually(func(s ecstypes.Service) bool {
		return *s.Deployments[0].Id == id && len(s.Deployments) == 1 && s.Deployments[0].RunningCount == 2
	})
}

func TestAlarmRollsBack(t *testing.T) {
	t.Parallel()
	p, good := createMonitoredService(t, true)
	require.Equal(t, &ecstypes.ServiceDeploymentAlarms{
		Status: ecstypes.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete, AlarmNames: []string{"5xx", "slow"},
	}, withoutEmpty(serviceDeployments(p)[0].Alarms))

	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	waitBaking(p, id)
	require.Equal(t, ecstypes.DeploymentRolloutStateInProgress, p.DescribeService().Deployments[0].RolloutState)
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusMonitoring, serviceDeployments(p)[0].Alarms.Status)
	p.Server.SetAlarm("of another service", true)
	p.Server.SetAlarm("5xx", true)
	p.Server.SetAlarm("5xx", true)
	s := p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
	require.Equal(t, "ECS deployment alarm: rolling back to deploymentId "+previousDeploymentID(p)+".", *s.Deployments[0].RolloutStateReason)
	s = p.WaitStable()
	require.Equal(t, good, *s.TaskDefinition)
	require.Equal(t, "one", p.Version())
	require.Contains(t, localawstest.EventMessages(s), "(service app) (deployment "+id+") deployment failed: alarm detected.")
	latest := serviceDeployments(p)[0]
	require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackSuccessful, latest.Status)
	require.Equal(t, "Service deployment rolled back because one or more deployment alarms were triggered.", *latest.StatusReason)
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusTriggered, latest.Alarms.Status)
	require.Equal(t, []string{"5xx"}, latest.Alarms.TriggeredAlarmNames)

	// A deployment does not monitor an alarm that is already set, and completes.
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
	p.WaitStable()
	require.Equal(t, "three", p.Version())
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusDisabled, serviceDeployments(p)[0].Alarms.Status)
	p.Server.SetAlarm("5xx", false)
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("four")))
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusMonitoring, serviceDeployments(p)[0].Alarms.Status)
	p.WaitStable()
}

// previousDeploymentID returns the id of the first deployment.
func previousDeploymentID(p *localawstest.Platform) string {
	p.Helper()
	revision := *serviceDeployments(p)[1].TargetServiceRevision.Arn
	return "ecs-svc/" + revision[len(revision)-19:]
}

func withoutEmpty(a *ecstypes.ServiceDeploymentAlarms) *ecstypes.ServiceDeploymentAlarms {
	if len(a.TriggeredAlarmNames) == 0 {
		a.TriggeredAlarmNames = nil
	}
	return a
}

func TestAlarmWithoutRollbackOnlyStops(t *testing.T) {
	t.Parallel()
	p, _ := createMonitoredService(t, false)
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	waitBaking(p, id)
	p.Server.SetAlarm("slow", true)
	s := p.Eventually(func(s ecstypes.Service) bool {
		return s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateFailed
	})
	require.Equal(t, id, *s.Deployments[0].Id)
	latest := serviceDeployments(p)[0]
	require.Equal(t, ecstypes.ServiceDeploymentStatusStopped, latest.Status)
	require.Equal(t, "Service deployment stopped because one or more deployment alarms were triggered.", *latest.StatusReason)
}

func TestNewerDeploymentEndsAlarmMonitoring(t *testing.T) {
	t.Parallel()
	p, _ := createMonitoredService(t, true)
	waitBaking(p, p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two"))))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete, serviceDeployments(p)[1].Alarms.Status)
}
