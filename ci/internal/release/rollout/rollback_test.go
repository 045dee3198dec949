package rollout_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// services returns the services of the fixture.
func (b *fixture) services() []platform.Service {
	var list []platform.Service
	for _, target := range b.request.Targets {
		list = append(list, target.Service)
	}
	return list
}

// release releases images of both services as a version.
func (b *fixture) release(t *testing.T, version, imageA, imageB string) report.Release {
	t.Helper()
	request := b.request
	request.Version = version
	request.Targets = []rollout.Target{{Service: b.services()[0], Image: imageA}, {Service: b.services()[1], Image: imageB}}
	got := b.engine.Release(t.Context(), request)
	b.ecs.settleAll()
	return got
}

// rollBack rolls back to the last known good release.
func (b *fixture) rollBack(t *testing.T) report.Release {
	t.Helper()
	targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.NoError(t, err)
	got := b.engine.Release(t.Context(), rollout.Request{Version: "rollback", Targets: targets, TakeOver: true, Preflight: b.request.Preflight, Verify: b.request.Verify})
	b.ecs.settleAll()
	return got
}

func TestRollbackGoesToTheLastReleaseKnownGood(t *testing.T) {
	b := newFixture(completes, completes)
	require.Equal(t, report.Succeeded, b.release(t, "1111", "good@sha256:a1", "good@sha256:b1").Result)
	require.Equal(t, report.Restored, b.release(t, "2222", "good@sha256:a2", "bad@sha256:b2").Result)
	require.Equal(t, report.Succeeded, b.release(t, "3333", "good@sha256:a3", "good@sha256:b3").Result)

	got := b.rollBack(t)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"), "the release in between failed")
	require.Equal(t, "good@sha256:b1", b.ecs.running("b"))

	got = b.rollBack(t)
	require.Equal(t, report.Unchanged, got.Result, "a rollback that is run again goes no further")
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"))
	require.Equal(t, "good@sha256:b1", b.ecs.running("b"))
}

// registerForeign registers revisions that are not of a release, as Terraform does.
func (b *fixture) registerForeign(n int) {
	for range n {
		b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0])
	}
}

// revision returns the ARN of a revision of service a.
func revision(n int) string {
	return fmt.Sprintf("arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:%d", n)
}

// TestRollbackAgainGoesNoFurther rolls back after various changes. Service a runs the
// original, 1111 and 2222 as revisions 1, 2 and 3.
func TestRollbackAgainGoesNoFurther(t *testing.T) {
	to := func(n int) func(*testing.T, *fixture) {
		return func(t *testing.T, b *fixture) {
			got := b.engine.Release(t.Context(), rollout.Request{TakeOver: true, Targets: []rollout.Target{{Service: b.services()[0], Revision: revision(n)}}})
			require.Equal(t, outcome.Done, got.ExitCode, got.Error)
			b.ecs.settleAll()
		}
	}
	back := func(t *testing.T, b *fixture) {
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
	}
	deploy := func(version, image string) func(*testing.T, *fixture) {
		return func(t *testing.T, b *fixture) { b.release(t, version, image, oldImage) }
	}
	foreign := func(n int) func(*testing.T, *fixture) { return func(_ *testing.T, b *fixture) { b.registerForeign(n) } }
	byHand := func(n int) func(*testing.T, *fixture) {
		return func(_ *testing.T, b *fixture) { b.ecs.deploy("ecs-a-service", revision(n)); b.ecs.settleAll() }
	}
	remove := func(status types.TaskDefinitionStatus, revisions ...int) func(*testing.T, *fixture) {
		return func(_ *testing.T, b *fixture) {
			for _, n := range revisions {
				b.ecs.remove(revision(n), status)
			}
		}
	}
	const inactive = types.TaskDefinitionStatusInactive
	tests := map[string]struct {
		before []func(*testing.T, *fixture)
		want   string // image of service a after one more rollback
		err    string // or the error
	}{
		"a release":                       {nil, "good@sha256:a1", ""},
		"a release, foreign ones":         {steps(foreign(150)), "good@sha256:a1", ""},
		"a rollback":                      {steps(back), "good@sha256:a1", ""},
		"a rollback, five foreign ones":   {steps(back, foreign(5)), "good@sha256:a1", ""},
		"a rollback, many foreign ones":   {steps(back, foreign(230)), "good@sha256:a1", ""},
		"two rollbacks":                   {steps(back, foreign(6), back, foreign(6)), "good@sha256:a1", ""},
		"back to one by name":             {steps(to(1), foreign(6)), oldImage, ""},
		"back, and back further by name":  {steps(back, to(1)), oldImage, ""},
		"back, and forth by name":         {steps(back, to(3)), "good@sha256:a1", ""},
		"back by hand":                    {steps(byHand(2), foreign(6)), "good@sha256:a1", ""},
		"a foreign one by hand, and back": {steps(foreign(1), byHand(4), byHand(3)), "good@sha256:a1", ""},
		"a rollback, the same again":      {steps(back, foreign(6), deploy("2222", "good@sha256:a2")), "good@sha256:a1", ""},
		"a rollback, another release":     {steps(back, foreign(6), deploy("3333", "good@sha256:a3")), "good@sha256:a1", ""},
		"another release, two rollbacks":  {steps(back, deploy("3333", "good@sha256:a3"), back, foreign(6)), "good@sha256:a1", ""},
		"a release that failed":           {steps(deploy("3333", "bad@sha256:a3"), foreign(6)), "good@sha256:a2", ""},
		"a release that failed, of old":   {steps(deploy("3333", "bad@sha256:a3"), foreign(6), back, deploy("4444", "good@sha256:a4")), "good@sha256:a2", ""},
		"all deregistered":                {steps(back, remove(inactive, 1, 2, 3), foreign(6)), "good@sha256:a1", ""},
		"the target deregistered":         {steps(remove(inactive, 2), back, foreign(6)), "good@sha256:a1", ""},
		"a copy, then by name":            {steps(remove(inactive, 2), back, foreign(6), to(3)), "good@sha256:a1", ""},
		"a copy, and another release":     {steps(remove(inactive, 2), back, deploy("3333", "good@sha256:a3")), "good@sha256:a1", ""},
		"a copy by name, twice":           {steps(remove(inactive, 1), to(1), to(1)), oldImage, ""},
		"the rolled back one is deleted":  {steps(back, remove(deleted, 3)), "good@sha256:a1", "a: ecs-a-task:3 was deployed after the running revision and is deleted"},
		"the previous one is deleted":     {steps(remove(deleted, 2)), "good@sha256:a2", "a: the previous revision ecs-a-task:2 is deleted"},
		"the running one is deleted":      {steps(back, remove(deleted, 2)), "good@sha256:a1", ""},
	}
	for name, tt := range tests {
		for _, noAPI := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", without service deployments"}[noAPI], func(t *testing.T) {
				b := newFixture(completes, completes)
				b.ecs.noAPI = noAPI
				b.release(t, "1111", "good@sha256:a1", oldImage)
				b.release(t, "2222", "good@sha256:a2", oldImage)
				for _, step := range tt.before {
					step(t, b)
				}
				targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
				switch {
				case tt.err != "" && noAPI && err == nil: // the deleted revision is unknown
				case tt.err != "":
					require.ErrorContains(t, err, tt.err)
					require.ErrorContains(t, err, "--to")
					require.Equal(t, outcome.Usage, outcome.Of(err))
					require.Equal(t, tt.want, b.ecs.running("a"))
				default:
					require.NoError(t, err)
					got := b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true})
					require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
					require.Equal(t, tt.want, b.ecs.running("a"), b.log())
				}
			})
		}
	}
}

func steps(list ...func(*testing.T, *fixture)) []func(*testing.T, *fixture) { return list }

// TestRollbackOfOneServiceThenOfAll checks that a restored service is not rolled back
// again.
func TestRollbackOfOneServiceThenOfAll(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.release(t, "2222", "good@sha256:a2", "good@sha256:b2")
	targets, err := b.engine.LastKnownGood(t.Context(), b.services()[:1], "")
	require.NoError(t, err)
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true}).ExitCode)
	b.ecs.settleAll()
	require.Equal(t, "good@sha256:b2", b.ecs.running("b"))
	b.registerForeign(12)
	for range 2 {
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
		require.Equal(t, "good@sha256:a1", b.ecs.running("a"))
		require.Equal(t, "good@sha256:b1", b.ecs.running("b"))
	}
}

// TestRollbackCalls counts the calls to find the last release after many foreign revisions.
func TestRollbackCalls(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.release(t, "2222", "good@sha256:a2", oldImage)
	b.rollBack(t)
	b.registerForeign(500)
	b.ecs.calls = nil
	_, err := b.engine.LastKnownGood(t.Context(), b.services()[:1], "")
	require.NoError(t, err)
	require.Less(t, len(b.ecs.calls), 6, b.ecs.calls)
}

// TestRollbackOfReleaseThatOnlyRegistered checks that a release that was killed after it
// had registered its revisions, and so never ran, is not the last one.
func TestRollbackOfReleaseThatOnlyRegistered(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.request.Version, b.request.Targets[0].Image, b.request.Targets[1].Image = "2222", "good@sha256:a2", oldImage
	b.ecs.failCall = after("RegisterTaskDefinition", func(string, string) error { return errKilled })
	b.engine.Release(t.Context(), b.request)
	restartProcess(b)
	b.registerForeign(150)
	targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "2222")
	require.NoError(t, err)
	require.Empty(t, targets, "the killed one has changed nothing")
	for _, want := range []report.Result{report.Succeeded, report.Unchanged} {
		got := b.rollBack(t)
		require.Equal(t, want, got.Result, "%s\n%s", got.Error, b.log())
		require.Equal(t, oldImage, b.ecs.running("a"))
	}
}

// TestRollbackAfterFailedReleaseTask rolls back a bad version after the release of its fix
// has failed in its release task.
func TestRollbackAfterFailedReleaseTask(t *testing.T) {
	b := newTaskFixture(completes, completes)
	before := b.request.Targets
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.ecs.runTask.code = 3
	require.Equal(t, outcome.Failed, b.release(t, "2222", "good@sha256:a2", "good@sha256:b2").ExitCode)
	b.request.Targets = before
	for _, want := range []report.Result{report.Succeeded, report.Unchanged} {
		got := b.rollBack(t)
		require.Equal(t, want, got.Result, "%s\n%s", got.Error, b.log())
		require.Equal(t, oldImage, b.ecs.running("a"))
		require.Equal(t, oldImage, b.ecs.running("b"))
	}
}

// TestRollbackAfterOldRestore rolls back again when ECS has no record of the deployment of
// the last release any more: it may have run.
func TestRollbackAfterOldRestore(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.release(t, "2222", "good@sha256:a2", oldImage)
	b.rollBack(t)
	b.ecs.clock.now = b.ecs.clock.now.Add(91 * 24 * time.Hour)
	b.ecs.services["ecs-a-service"].records = nil
	require.Equal(t, report.Unchanged, b.rollBack(t).Result, b.log())
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"))
}

// TestRollbackDuringReleaseTask checks that a rollback is refused while a release runs its
// task: it would change nothing that this release does not change afterwards.
func TestRollbackDuringReleaseTask(t *testing.T) {
	b := newTaskFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	request := rollout.Request{TakeOver: true, Targets: []rollout.Target{{Service: b.services()[0], Revision: revision(2)}}}
	const want = "service ecs-a-service: a deployment is in progress (release task standalone-2 of release 2222-"
	b.ecs.executing = func() {
		b.ecs.executing = nil
		b.ecs.mu.Unlock()
		defer b.ecs.mu.Lock()
		for _, of := range []string{"", "2222"} {
			_, err := b.engine.LastKnownGood(t.Context(), b.services(), of)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, "aws ecs stop-task --cluster ecs-cluster --task standalone-2")
			require.Equal(t, outcome.Refused, outcome.Of(err))
		}
		got := b.engine.Release(t.Context(), request)
		require.Equal(t, outcome.Refused, got.ExitCode, "to a revision that runs already")
		require.Contains(t, got.Error, want)
	}
	require.Equal(t, report.Succeeded, b.release(t, "2222", "good@sha256:a2", "good@sha256:b2").Result, b.log())
	require.Nil(t, b.ecs.executing, "was called")
}

// TestRollbackOfOldReleases rolls back to a version older than ECS's records, over
// several pages.
func TestRollbackOfOldReleases(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	s := b.ecs.services["ecs-a-service"]
	s.records = nil // kept for 90 days
	b.release(t, "2222", "good@sha256:a2", oldImage)
	for range 45 { // forced deployments
		b.ecs.deploy("ecs-a-service", revision(3))
		b.ecs.settleAll()
	}
	b.rollBack(t)
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"), b.log())
}

// TestRollbackWithoutPermissions checks the error of a role that may not list anything.
func TestRollbackWithoutPermissions(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.ecs.noAPI = true
	b.ecs.failCall = failCalls("ListTaskDefinitions", "AccessDeniedException", 1<<30)
	_, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.ErrorContains(t, err, "neither its deployments nor its revisions")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestRollbackWithoutRelease(t *testing.T) {
	b := newFixture(completes, completes)
	_, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.ErrorContains(t, err, "was not released by slipway")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestRollbackAfterRestoredRelease(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	require.Equal(t, report.Restored, b.release(t, "2222", "good@sha256:a2", "bad@sha256:b2").Result)
	got := b.rollBack(t)
	require.Equal(t, report.Unchanged, got.Result, got.Error)
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"), "the good version runs already")
	require.True(t, b.hasEvent("a: was restored already"))
}

// TestRollbackAfterKilledRestore rolls back after the process of a restore was killed:
// it waits for the restore and goes no further.
func TestRollbackAfterKilledRestore(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.ecs.calls = nil
	b.request.Version, b.request.Targets[0].Image, b.request.Targets[1].Image = "2222", "stuck@sha256:a2", "stuck@sha256:b2"
	b.request.Timeout = killTimeout
	stops := 0
	b.ecs.failCall = func(operation, _ string) error {
		if operation == "StopServiceDeployment" {
			stops++
		}
		if stops == 2 && operation != "StopServiceDeployment" {
			return errKilled
		}
		return nil
	}
	b.request.RestoreTimeout = time.Second
	b.engine.Release(t.Context(), b.request)
	restartProcess(b)
	got := b.rollBack(t)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"))
	require.Equal(t, "good@sha256:b1", b.ecs.running("b"))
}

func TestRollbackOfLastReleaseOnly(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.release(t, "2222", "good@sha256:a1", "good@sha256:b2")
	got := b.rollBack(t)
	require.Len(t, got.Services, 1)
	require.Equal(t, "b", got.Services[0].Name)
	require.Equal(t, "good@sha256:a1", b.ecs.running("a"))
	require.Equal(t, oldImage, b.ecs.running("b"))
}

func TestRollbackSkipsFailedRevisions(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.release(t, "2222", "good@sha256:a2", oldImage)
	for n := range b.ecs.services["ecs-a-service"].records { // as if the second had failed
		d := &b.ecs.services["ecs-a-service"].records[n]
		if strings.HasSuffix(*d.TargetServiceRevision.Arn, "/3") {
			d.Status = types.ServiceDeploymentStatusStopped
		}
	}
	targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.NoError(t, err)
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1", targets[0].Revision)
	require.True(t, b.hasEvent("a: ecs-a-task:2 is skipped"))
}

func TestRollbackTakesOverAReleaseUnderWay(t *testing.T) {
	b := newFixture(stays, completes)
	killAt(b, callsUntil(t, "UpdateService", stays, completes)+1, true)
	b.engine.Release(t.Context(), b.request)
	restartProcess(b)
	got := b.rollBack(t)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, oldImage, b.ecs.running("a"))
	require.Equal(t, oldImage, b.ecs.running("b"))
}

func TestRollbackToADeregisteredRevision(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", oldImage)
	b.ecs.definitions[0].Status = types.TaskDefinitionStatusInactive
	got := b.rollBack(t)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, oldImage, b.ecs.running("a"))
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:3", got.Services[0].To.TaskDefinition, "a copy was registered")
}

func TestRollbackWithoutServiceDeployments(t *testing.T) {
	b := newFixture(completes, completes)
	b.ecs.noAPI = true
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	require.Equal(t, report.Succeeded, b.rollBack(t).Result)
	require.Equal(t, oldImage, b.ecs.running("a"))
}

func TestImageTargets(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.release(t, "2222", "good@sha256:a2", "good@sha256:b2")
	targets, err := b.engine.ImageTargets(t.Context(), b.services(), map[string]string{"a": "good@sha256:a1", "b": "good@sha256:never"})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:2", targets[0].Revision, "its revision still exists")
	require.Empty(t, targets[1].Revision)
	require.Equal(t, "good@sha256:never", targets[1].Image)

	b.registerForeign(150)
	b.ecs.noAPI = true
	targets, err = b.engine.ImageTargets(t.Context(), b.services(), map[string]string{"a": "good@sha256:a1", "b": "good@sha256:b2"})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:2", targets[0].Revision, "despite many newer revisions")
}

func TestRevisionTarget(t *testing.T) {
	both := []platform.Service{{Name: "a"}, {Name: "b"}}
	tests := map[string]struct {
		services []platform.Service
		want     string
		err      string
	}{
		"12":           {both[:1], "ecs-a-task:12", ""},
		"ecs-b-task:3": {both, "ecs-b-task:3", ""},
		"arn:aws:ecs:us-east-1:123456789012:task-definition/ecs-b-task:3": {both, "ecs-b-task:3", ""},
		"13":           {both, "", "--to 13 matches several services: name one, or the family"},
		"ecs-c-task:3": {both, "", "no service has the family ecs-c-task: want one of ecs-a-task, ecs-b-task"},
		"main":         {both, "", `invalid --to "main": want a full commit id, or a revision such as ecs-a-task:12`},
	}
	for goal, tt := range tests {
		t.Run(goal, func(t *testing.T) {
			target, err := rollout.RevisionTarget(goal, tt.services)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, target.Revision)
		})
	}
	require.True(t, rollout.IsRevision("7"))
	require.True(t, rollout.IsRevision("ecs-a-task:7"))
	require.False(t, rollout.IsRevision(strings.Repeat("1", 40)), "a commit id may be all digits")
	require.False(t, rollout.IsRevision("1926446"), "an abbreviated one, too")
	require.True(t, rollout.IsRevision("ecs-a-task:1926446"))
	require.False(t, rollout.IsRevision("abc"))
}

func TestStatus(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.release(t, "2222", "good@sha256:a2", "bad@sha256:b2")
	got, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.Equal(t, "ecs-cluster", got.Cluster)
	a := got.Services[0]
	require.Equal(t, report.Steady, a.State)
	require.Equal(t, "1111", a.Version.SHA)
	require.Equal(t, "good@sha256:a1", a.Version.Image)
	require.False(t, a.Since.IsZero())
	require.Equal(t, int32(1), a.Tasks.Desired)
	require.Nil(t, got.Unfinished, "a restored release is not unfinished")
	b2 := got.Services[1].Releases[0]
	require.Equal(t, "ROLLBACK_SUCCESSFUL", b2.Status)
	require.Contains(t, b2.Reason, "circuit breaker")
	require.Equal(t, "2222", b2.Version.SHA)
	require.Equal(t, "2222", got.Services[0].Releases[1].Version.SHA)
}

func TestStatusOfUnfinishedRelease(t *testing.T) {
	b := newFixture(completes, completes)
	killAt(b, callsUntil(t, "UpdateService", completes, completes), true) // one of two was updated
	b.engine.Release(t.Context(), b.request)
	restartProcess(b)
	got, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.NotNil(t, got.Unfinished)
	require.Equal(t, newSHA, got.Unfinished.SHA)
	require.Len(t, got.Unfinished.Arrived, 1)
	require.Len(t, got.Unfinished.Missing, 1)
	require.Contains(t, got.Next, "slipway deploy --sha "+newSHA+" finishes it; slipway rollback undoes it")
	b.engine.Environment = platform.Environment{Name: "staging", File: "f"}
	got, err = b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.Equal(t, "slipway deploy --env staging --sha "+newSHA+" finishes it; slipway rollback --env staging undoes it", got.Next)
}

// TestStatusOfAFinishedRelease checks that later releases do not make a release
// unfinished, even when their revisions are deregistered.
func TestStatusOfAFinishedRelease(t *testing.T) {
	b := newFixture(completes, completes)
	b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
	b.release(t, "2222", "good@sha256:a2", "good@sha256:b1")
	b.ecs.remove(revision(3), types.TaskDefinitionStatusInactive)
	got, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.Equal(t, "2222", got.Services[0].Version.SHA)
	require.Nil(t, got.Unfinished)
	require.Empty(t, got.Next)
}

func TestStatusStates(t *testing.T) {
	tests := map[string]struct {
		change func(*fixture)
		state  report.State
		want   string
	}{
		"given up": {func(b *fixture) { b.release(t, "1111", "failed@sha256:a1", oldImage) }, report.Steady, ""},
		"deploying": {func(b *fixture) {
			b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0]))
		}, report.Deploying, ""},
		"short of tasks": {func(b *fixture) {
			s := b.ecs.services["ecs-a-service"]
			s.desired = 3
			s.deployments[0].DesiredCount = 3
		}, report.Degraded, "1 of 3 tasks run"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(completes, completes)
			tt.change(b)
			got, err := b.engine.Status(t.Context(), b.services())
			require.NoError(t, err)
			require.Equal(t, tt.state, got.Services[0].State)
			require.Contains(t, got.Services[0].Detail, tt.want)
		})
	}
	t.Run("missing", func(t *testing.T) {
		b := newFixture(completes, completes)
		delete(b.ecs.services, "ecs-b-service")
		got, err := b.engine.Status(t.Context(), b.services())
		require.ErrorContains(t, err, "cluster ecs-cluster has no active service ecs-b-service: create it with Terraform")
		require.Equal(t, report.Steady, got.Services[0].State, "the other services are reported")
		require.Equal(t, report.Missing, got.Services[1].State)
	})
	t.Run("no cluster", func(t *testing.T) {
		b := newFixture(completes, completes)
		b.ecs.failCall = func(string, string) error {
			return &types.ClusterNotFoundException{Message: aws.String("Cluster not found.")}
		}
		got, err := b.engine.Status(t.Context(), b.services())
		require.ErrorContains(t, err, "cluster ecs-cluster does not exist: create it with Terraform")
		require.Equal(t, report.Missing, got.Services[0].State)
	})
	t.Run("unreadable", func(t *testing.T) {
		b := newFixture(completes, completes)
		b.ecs.failCall = failCalls("DescribeServices", "ServerException", 1<<30)
		b.engine.Explain = func(err error) error { return fmt.Errorf("explained: %w", err) }
		got, err := b.engine.Status(t.Context(), b.services())
		require.ErrorContains(t, err, "describing services of cluster ecs-cluster")
		require.Equal(t, report.Unknown, got.Services[0].State, "it is not known to be missing")
		require.Contains(t, got.Services[0].Error, "explained: describing services")
	})
}

func TestStatusDrift(t *testing.T) {
	b := newFixture(completes, completes)
	b.ecs.definitions[0].Cpu = aws.String("256")
	arn := b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0])
	b.ecs.find(arn).Cpu = aws.String("512")
	services := b.services()
	services[0].CPU, services[0].DesiredCount = 512, 2 // autoscaling sets the count
	got, err := b.engine.Status(t.Context(), services)
	require.NoError(t, err)
	require.Equal(t, []string{
		"cpu: 256 runs, 512 is registered (ecs-a-task:2): the next deploy applies it",
		"cpu: 256 runs, 512 is in terraform/services.auto.tfvars.json",
	}, got.Services[0].Drift)
}

func TestDiff(t *testing.T) {
	b := newFixture(completes, "")
	template := b.ecs.find("arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1")
	newest := template.ContainerDefinitions[0]
	newest.Environment = append([]types.KeyValuePair{
		{Name: aws.String("LEVEL"), Value: aws.String("debug")}, {Name: aws.String("API_TOKEN"), Value: aws.String("planted")},
	}, newest.Environment...)
	b.ecs.find(b.ecs.register("ecs-a-task", newest)).Cpu = aws.String("512")
	got, err := b.engine.Diff(t.Context(), b.request)
	require.NoError(t, err)
	require.True(t, got.Changed)
	require.Equal(t, []report.Change{
		{Path: "containers.a.environment.API_TOKEN", To: "(hidden)"},
		{Path: "containers.a.environment.LEVEL", To: "debug"},
		{Path: "containers.a.image", From: oldImage, To: "good@sha256:new"},
		{Path: "cpu", To: "512"},
	}, withoutVersion(got.Services[0].Changes))
	require.False(t, got.Services[1].Changed)
	require.Zero(t, b.ecs.count("RegisterTaskDefinition")+b.ecs.count("UpdateService"))
}

// TestSecretsAreHidden has secrets in every part of a task definition that may contain
// some, in logs and in errors of ECS.
func TestSecretsAreHidden(t *testing.T) {
	b := newFixture(completes, rollsBack)
	template := b.ecs.find("arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1")
	container := template.ContainerDefinitions[0]
	pair := func(name, value string) types.KeyValuePair {
		return types.KeyValuePair{Name: &name, Value: &value}
	}
	container.Environment = []types.KeyValuePair{
		pair("DATABASE_URL", "postgres://shop:PLANTED@db:5432/shop"), pair("SPRING_JSON", `{"db":{"password":"PLANTED"}}`),
		pair("API_KEY", "PLANTED"), pair("KEYBOARD", "de"),
	}
	container.Command = []string{"app", "--db-password", "PLANTED", "--token=PLANTED", "--port", "8000"}
	container.EntryPoint = []string{"sh", "-c", "PGPASSWORD=PLANTED exec app"}
	container.HealthCheck = &types.HealthCheck{Command: []string{"CMD-SHELL", "curl -u u:PLANTED http://localhost:8000/health"}} // gitleaks:allow: planted, to be hidden
	container.DockerLabels = map[string]string{"com.datadoghq.ad.instances": `[{"password":"PLANTED"}]`, "api-key": "PLANTED"}
	container.LogConfiguration = &types.LogConfiguration{
		LogDriver: types.LogDriverSplunk, Options: map[string]string{"splunk-token": "PLANTED", "Header": "X-Api-Key: PLANTED", "splunk-url": "https://u:PLANTED@splunk"},
		SecretOptions: []types.Secret{{Name: aws.String("apikey"), ValueFrom: aws.String("arn:aws:secretsmanager:us-east-1:1:secret:dd")}},
	}
	container.FirelensConfiguration = &types.FirelensConfiguration{Options: map[string]string{"http_passwd": "PLANTED"}}
	container.SystemControls = []types.SystemControl{{Namespace: aws.String("kernel.domainname"), Value: aws.String("u:PLANTED@h")}}
	container.Secrets = []types.Secret{{Name: aws.String("DB_PASSWORD"), ValueFrom: aws.String("arn:aws:ssm:us-east-1:1:parameter/db-password")}}
	b.ecs.register("ecs-a-task", container)

	diff, err := b.engine.Diff(t.Context(), b.request)
	require.NoError(t, err)
	status, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	for _, document := range []any{diff, status} {
		raw, err := json.Marshal(document)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "PLANTED")
		for _, shown := range []string{"postgres://(hidden)@db:5432/shop", "http://localhost:8000/health", "secret:dd", "parameter/db-password", "containers.a.environment.KEYBOARD", "containers.a.logConfiguration.options.splunk-token"} {
			require.Contains(t, string(raw), shown)
		}
	}

	exit := aws.Int32(1)
	task := stoppedWith("Essential container in task exited", types.TaskStopCodeEssentialContainerExited)
	task.Containers = []types.Container{{Name: aws.String("b"), ExitCode: exit}}
	for _, own := range []string{"ecs-svc/3", "ecs-svc/4"} { // the order of updates varies
		task.StartedBy = aws.String(own)
		b.ecs.stopped = append(b.ecs.stopped, task)
	}
	b.engine.Logs = fakeLogs{lines: []string{"cannot connect to postgres://shop:PLANTED@db:5432/shop", "-----BEGIN PRIVATE KEY-----", "PLANTED", "-----END PRIVATE KEY-----"}}
	release := b.engine.Release(t.Context(), b.request)
	require.Equal(t, []string{"cannot connect to postgres://(hidden)@db:5432/shop", "(hidden)"}, release.Services[1].Causes[0].LogTail)

	b.engine.Explain = func(err error) error { return fmt.Errorf("invalid value password=PLANTED: %w", err) }
	b.ecs.failCall = failCalls("RegisterTaskDefinition", "ClientException", 1<<30)
	b.request.Version = "another"
	release = b.engine.Release(t.Context(), b.request)
	require.Contains(t, release.Error, "password=(hidden)")
	require.NotContains(t, release.Error, "PLANTED")
}

func withoutVersion(changes []report.Change) []report.Change {
	var rest []report.Change
	for _, c := range changes {
		if c.Path != "containers.a.environment.VERSION" {
			rest = append(rest, c)
		}
	}
	return rest
}

// TestRollbackOfOneCommit rolls back the release of a commit, and nothing if the last
// release is of another one.
func TestRollbackOfOneCommit(t *testing.T) {
	b := newFixture(completes, completes)
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
	targets, err := b.engine.LastKnownGood(t.Context(), b.services(), "another commit")
	require.NoError(t, err)
	require.Empty(t, targets)
	targets, err = b.engine.LastKnownGood(t.Context(), b.services(), newSHA)
	require.NoError(t, err)
	require.Len(t, targets, 2)
}
