package delivery

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestCheckPreview(t *testing.T) {
	for want, o := range map[string]PreviewOptions{
		"":                      {Number: 1},
		"invalid --pr 0":        {},
		"invalid --pr -1":       {Number: -1},
		"invalid --ttl 1s":      {Number: 1, TTL: time.Second},
		"invalid --ttl -1h":     {Number: 1, TTL: -time.Hour},
		"invalid --max -1":      {Number: 1, Max: -1},
		"invalid --host-suffix": {Number: 1, HostSuffix: "Preview.example.com"},
		"invalid --timeout 1s":  {Number: 1, Options: Options{Timeout: time.Second}},
	} {
		err := o.CheckPreview()
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err), want)
	}
}

func TestPreviewServices(t *testing.T) {
	web, worker, job := platform.Service{Name: "web", Port: 80}, platform.Service{Name: "worker"}, platform.Service{Name: "job", Schedule: "rate(1 day)"}
	got, err := Delivery{Services: []platform.Service{web, worker, job}}.previewServices(nil)
	require.NoError(t, err)
	require.Equal(t, []platform.Service{web, worker}, got)
	_, err = Delivery{Services: []platform.Service{web, job}}.previewServices([]string{"web", "job"})
	require.ErrorContains(t, err, "job is a job: a preview has web services and workers only")
	_, err = Delivery{Services: []platform.Service{job}}.previewServices(nil)
	require.ErrorContains(t, err, "there is nothing to preview")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

// TestPreviewState: a preview is as its worst service.
func TestPreviewState(t *testing.T) {
	service := func(state types.DeploymentRolloutState, desired, running int32) types.Service {
		return types.Service{DesiredCount: desired, RunningCount: running, Deployments: []types.Deployment{
			{Status: aws.String("PRIMARY"), RolloutState: state, DesiredCount: desired, RunningCount: running},
		}}
	}
	complete, deploying := types.DeploymentRolloutStateCompleted, types.DeploymentRolloutStateInProgress
	require.Equal(t, report.Steady, stateOf(service(complete, 1, 1)))
	require.Equal(t, report.Degraded, stateOf(service(complete, 2, 1)))
	require.Equal(t, report.Degraded, stateOf(service(complete, 0, 0)), "nothing runs")
	require.Equal(t, report.Deploying, stateOf(service(deploying, 1, 0)))
	require.Equal(t, report.Degraded, stateOf(types.Service{}))
	require.Equal(t, report.Degraded, worseState(report.Degraded, report.Steady))
	require.Equal(t, report.Deploying, worseState(report.Steady, report.Deploying))
	require.Equal(t, report.Steady, worseState(report.Missing, report.Steady))
}
