package rollout_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// adopted are entries with names of their own: two services of one name in two clusters.
var adopted = []platform.Service{
	{Name: "a", Names: platform.Names{Service: "api", Family: "team_api", Container: "app", Cluster: "blue"}},
	{Name: "b", Names: platform.Names{Service: "api", Family: "team_api_green", Container: "app", Cluster: "green"}},
	{Name: "c"},
}

// newAdoptedFixture releases images with the given behaviors to the adopted services.
func newAdoptedFixture(behaviors ...behavior) *fixture {
	b := newFixture("", "")
	b.ecs.services, b.request.Targets = map[string]*fakeService{}, nil
	for n, entry := range adopted {
		b.ecs.add(entry, oldImage)
		b.request.Targets = append(b.request.Targets, rollout.Target{Service: entry, Image: string(behaviors[n]) + "@sha256:new"})
	}
	_ = b.ecs.clock.Sleep(context.Background(), time.Hour)
	return b
}

// runningAt returns the images of the services' primary deployments.
func (b *fixture) runningAt(keys ...string) []string {
	b.ecs.mu.Lock()
	defer b.ecs.mu.Unlock()
	var images []string
	for _, key := range keys {
		images = append(images, b.ecs.image(*b.ecs.services[key].deployments[0].TaskDefinition))
	}
	return images
}

func TestServicesOfSeveralClusters(t *testing.T) {
	keys := []string{"blue:api", "green:api", "ecs-c-service"}
	tests := map[string]struct {
		behaviors []behavior
		code      outcome.Code
		want      []string
	}{
		"released": {[]behavior{completes, completes, completes}, outcome.Done, []string{"good@sha256:new", "good@sha256:new", "good@sha256:new"}},
		"restored": {[]behavior{completes, rollsBack, completes}, outcome.Restored, []string{oldImage, oldImage, oldImage}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newAdoptedFixture(tt.behaviors...)
			var commands []string
			b.engine.Next = func(command string) { commands = append(commands, command) }
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.Equal(t, tt.want, b.runningAt(keys...))
			require.Contains(t, strings.Join(commands, "\n"), "aws ecs update-service --cluster green --service api --task-definition arn:aws:ecs:us-east-1:1:task-definition/team_api_green:1")

			status, err := b.engine.Status(t.Context(), b.services())
			require.NoError(t, err)
			require.Equal(t, "blue, ecs-cluster, green", status.Cluster)
			for n, service := range status.Services {
				require.Equal(t, adopted[n].ClusterName(), service.Cluster)
				require.Equal(t, report.Steady, service.State)
				require.Equal(t, tt.want[n], service.Version.Image)
			}
		})
	}
	t.Run("rolled back", func(t *testing.T) {
		b := newAdoptedFixture(completes, completes, completes)
		require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
		targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
		require.NoError(t, err)
		require.Equal(t, outcome.Done, b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true}).ExitCode)
		require.Equal(t, []string{oldImage, oldImage, oldImage}, b.runningAt(keys...))
	})
	t.Run("a missing service", func(t *testing.T) {
		b := newAdoptedFixture(completes, completes, completes)
		delete(b.ecs.services, "green:api")
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Failed, got.ExitCode)
		require.Contains(t, got.Error, "cluster green has no active service api: create it with Terraform")
		require.Zero(t, b.ecs.count("UpdateService"))
	})
}

// TestRollbackToARevisionOfTheTeam: what ran before the first release has no tags of a
// release.
func TestRollbackToARevisionOfTheTeam(t *testing.T) {
	b := newAdoptedFixture(completes, completes, completes)
	clear(b.ecs.tags)
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Empty(t, got.Services[0].From.SHA)
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/team_api:1", got.Services[0].From.TaskDefinition)
	b.ecs.settleAll()

	targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.NoError(t, err)
	for n, target := range targets {
		require.Equal(t, got.Services[n].From.TaskDefinition, target.Revision)
	}
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true}).ExitCode)
	require.Equal(t, []string{oldImage, oldImage, oldImage}, b.runningAt("blue:api", "green:api", "ecs-c-service"))
}
