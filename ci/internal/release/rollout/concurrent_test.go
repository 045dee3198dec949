package rollout_test

import (
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestConcurrentReleases starts two releases of different versions at the same moment,
// over HTTP, several times. At most one succeeds, and then all services run its
// version; otherwise they run the previous one.
func TestConcurrentReleases(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	old, err := testapp.ServiceImage(binary, "old", "hang")
	require.NoError(t, err)
	f := localawstest.NewFleet(t, localaws.Options{TimeScale: 20}, 3, old)
	pushed := []map[string]string{}
	for _, version := range []string{"one", "two"} {
		img, err := testapp.ServiceImage(binary, version, "hang")
		require.NoError(t, err)
		pushed = append(pushed, f.Push(img, version))
	}
	for range 3 {
		before := runningEverywhere(t, f)
		var got [2]report.Release
		var group sync.WaitGroup
		for n, images := range pushed {
			request := rollout.Request{Version: []string{"one", "two"}[n], Force: true}
			for _, s := range f.Services {
				request.Targets = append(request.Targets, rollout.Target{Service: s, Image: images[s.Name]})
			}
			engine := rollout.Engine{ECS: f.ECS, Logs: f.Logs, Clock: clock.Real{}, Event: func(service, text string) { t.Log(n, service, text) }}
			group.Go(func() { got[n] = engine.Release(t.Context(), request) })
		}
		group.Wait()
		f.WaitComplete()
		after := runningEverywhere(t, f)
		switch done := [2]bool{got[0].ExitCode == outcome.Done, got[1].ExitCode == outcome.Done}; done {
		case [2]bool{true, false}:
			require.Equal(t, pushed[0][f.Services[0].Name], after)
		case [2]bool{false, true}:
			require.Equal(t, pushed[1][f.Services[0].Name], after)
		case [2]bool{false, false}:
			require.Equal(t, before, after)
		default:
			t.Fatalf("both releases succeeded: %+v", got)
		}
		t.Log(got[0].ExitCode, got[1].ExitCode)
	}
}

// runningEverywhere returns the image that all services run, as in the first one's
// repository.
func runningEverywhere(t *testing.T, f *localawstest.Fleet) string {
	t.Helper()
	var first, digest string
	for _, s := range f.Services {
		out, err := f.ECS.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String(platform.Cluster), Services: []string{s.ServiceName()}})
		require.NoError(t, err)
		definition, err := f.ECS.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: out.Services[0].Deployments[0].TaskDefinition})
		require.NoError(t, err)
		image := *definition.TaskDefinition.ContainerDefinitions[0].Image
		if first == "" {
			first, digest = image, image[len(image)-64:]
		}
		require.Equal(t, digest, image[len(image)-64:], "%s runs another version than %s", s.Name, f.Services[0].Name)
	}
	return first
}
