package machine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Deployments of service a, which is updated from revision 1 to revision 2: old is from
// before the release, own is the release's, back restores revision 1, and other is
// somebody else's.
var (
	old = deployment("ecs-svc/1", "a:1", types.DeploymentRolloutStateCompleted, 2)
	// oldReplaced has failed tasks, which ECS replaces with tasks of the same revision.
	oldReplaced = types.Deployment{
		Id: old.Id, TaskDefinition: old.TaskDefinition, RolloutState: types.DeploymentRolloutStateCompleted, RunningCount: 1, PendingCount: 1, DesiredCount: 2, FailedTasks: 3,
	}
	own        = deployment("ecs-svc/2", "a:2", types.DeploymentRolloutStateInProgress, 1)
	ownDone    = deployment("ecs-svc/2", "a:2", types.DeploymentRolloutStateCompleted, 2)
	ownFailed  = deployment("ecs-svc/2", "a:2", types.DeploymentRolloutStateFailed, 0)
	back       = deployment("ecs-svc/3", "a:1", types.DeploymentRolloutStateInProgress, 1)
	backDone   = deployment("ecs-svc/3", "a:1", types.DeploymentRolloutStateCompleted, 2)
	backFailed = deployment("ecs-svc/3", "a:1", types.DeploymentRolloutStateFailed, 0)
	copyDone   = deployment("ecs-svc/3", "a:3", types.DeploymentRolloutStateCompleted, 2)
	other      = deployment("ecs-svc/9", "a:9", types.DeploymentRolloutStateInProgress, 0)
	again      = deployment("ecs-svc/9", "a:2", types.DeploymentRolloutStateCompleted, 2)
)

func deployment(id, revision string, state types.DeploymentRolloutState, running int32) types.Deployment {
	return types.Deployment{
		Id: aws.String(id), TaskDefinition: aws.String(revision), Status: aws.String("PRIMARY"),
		RolloutState: state, RunningCount: running, DesiredCount: 2,
	}
}

// deployments makes the first deployment the primary one.
func deployments(list ...types.Deployment) []types.Deployment {
	for n := range list[1:] {
		list[n+1].Status = aws.String("ACTIVE")
	}
	return list
}

// step is an input or an expected output of the machine.
type step func(*testing.T, *release)

// release is a machine with a clock and its last commands.
type release struct {
	*Release
	now      time.Time
	commands []Command
}

// commands expects commands, such as "update a:2".
func commands(want ...string) step {
	return func(t *testing.T, r *release) {
		var got []string
		r.commands = r.Commands(10)
		for _, o := range r.commands {
			text := map[Action]string{Update: "update " + o.Revision, Stop: "stop " + o.Deployment, Restore: "restore " + o.Revision}[o.Action]
			if o.Force {
				text += " force"
			}
			if o.DesiredCount != nil {
				text += fmt.Sprintf(" count %d", *o.DesiredCount)
			}
			got = append(got, text)
		}
		require.Equal(t, want, got)
	}
}

// respond responds to the last commands, which must be one.
func respond(status CallStatus, list ...types.Deployment) step {
	return responses(Response{Status: status, Deployments: list})
}

func responses(given ...Response) step {
	return func(t *testing.T, r *release) {
		for n := range given {
			if given[n].Status != Accepted {
				given[n].Err = errors.New("no")
			}
		}
		require.Len(t, r.commands, len(given))
		r.HandleResponses(r.commands, given, r.now)
	}
}

// see observes deployments of service a, and the status of our service deployment.
func see(status types.ServiceDeploymentStatus, list ...types.Deployment) step {
	return observe(Observation{Status: status, Deployments: list, DesiredCount: 2})
}

func observe(observed ...Observation) step {
	return func(_ *testing.T, r *release) {
		for n, o := range observed {
			if !o.Missing {
				o.Deployments = deployments(o.Deployments...)
			}
			r.FindOwnDeployment(n, Observation{Deployments: o.Deployments})
		}
		r.Observe(observed, r.now)
	}
}

func after(d time.Duration) step { return func(_ *testing.T, r *release) { r.now = r.now.Add(d) } }

func unreadable(_ *testing.T, r *release) { r.Unreadable(errors.New("unreadable"), r.now) }

func interrupt(_ *testing.T, r *release) { r.Fail(errors.New("interrupted"), r.now) }

func trouble(text string) step { return func(_ *testing.T, r *release) { r.SetProblem(0, text) } }

func verified(err error) step {
	return func(t *testing.T, r *release) {
		require.Equal(t, Verifying, r.Stage())
		r.Verified(err, r.now)
	}
}

// updated accepts the update; in broken, the deployment then fails.
func updated(t *testing.T, r *release) {
	commands("update a:2")(t, r)
	respond(Accepted, deployments(own, old)...)(t, r)
}

func broken(t *testing.T, r *release) {
	updated(t, r)
	see("", ownFailed, old)(t, r)
	require.Equal(t, Restoring, r.Stage())
	see("", ownFailed, old)(t, r)
	commands("restore a:1")(t, r)
}

const (
	inProgress = types.ServiceDeploymentStatusInProgress
	rollback   = types.ServiceDeploymentStatusRollbackInProgress
	rolled     = types.ServiceDeploymentStatusRollbackSuccessful
)

// TestRelease runs releases of one service, step by step.
func TestRelease(t *testing.T) {
	tests := map[string]struct {
		plan    func(*Plan)
		options Options
		steps   []step
		result  report.Result // "" while the release is in progress
		err     string        // in the service's errors
	}{
		"complete":                  {steps: []step{updated, see(inProgress, own, old), see("SUCCESSFUL", ownDone)}, result: report.Succeeded},
		"complete for an old API":   {steps: []step{updated, see("", own, old), see("", ownDone)}, result: report.Succeeded},
		"old tasks left":            {steps: []step{updated, see("", ownDone, old)}},
		"early success":             {steps: []step{updated, see("SUCCESSFUL", ownDone, old)}, result: report.Succeeded},
		"early success, scaling on": {steps: []step{updated, see("SUCCESSFUL", own, old)}, result: report.Succeeded},
		"old tasks are replaced":    {steps: []step{updated, see(inProgress, own, oldReplaced), commands(), see(inProgress, own, oldReplaced), see("SUCCESSFUL", ownDone)}, result: report.Succeeded},
		"a stale reading":           {steps: []step{updated, see("", old), after(20 * time.Second), see("", old), see("", ownDone)}, result: report.Succeeded},
		"joined":                    {plan: func(p *Plan) { p.Joined = "ecs-svc/2" }, steps: []step{commands(), see("SUCCESSFUL", ownDone)}, result: report.Succeeded},
		"redeployed by somebody":    {steps: []step{updated, see("", again)}, result: report.Succeeded},
		"nothing to run":            {plan: func(p *Plan) { p.DesiredCount = 0 }, steps: []step{updated, see("", ownDone)}, result: report.Succeeded},
		"no new deployment":         {steps: []step{commands("update a:2"), respond(Accepted, deployment("ecs-svc/1", "a:2", "COMPLETED", 2)), see("", deployment("ecs-svc/1", "a:2", "COMPLETED", 2))}, result: report.Succeeded},
		"verified":                  {options: Options{Verify: true}, steps: []step{updated, see("", ownDone), verified(nil)}, result: report.Succeeded},
		"first release":             {plan: func(p *Plan) { p.Count = &CountChange{To: 2} }, steps: []step{commands("update a:2 count 2"), respond(Accepted, own, old), see("", ownDone)}, result: report.Succeeded},
		"forced":                    {plan: func(p *Plan) { p.To = p.From }, steps: []step{commands("update a:1 force"), respond(Accepted, back, old), see("", backDone)}, result: report.Succeeded},
		"throttled":                 {steps: []step{commands("update a:2"), respond(Throttled), commands("update a:2"), respond(Throttled), updated, see("", ownDone)}, result: report.Succeeded},
		"answer lost, accepted":     {steps: []step{commands("update a:2"), respond(Unknown), commands(), see("", own, old), commands(), see("", ownDone)}, result: report.Succeeded},
		"answer lost, not accepted": {steps: []step{commands("update a:2"), respond(Unknown), see("", old), updated, see("", ownDone)}, result: report.Succeeded},

		"rejected":                      {steps: []step{commands("update a:2"), respond(Rejected)}, result: report.Unchanged, err: "updating service ecs-a: no"},
		"rejected, after a lost answer": {steps: []step{commands("update a:2"), respond(Unknown), see("", old), commands("update a:2"), respond(Rejected), see("", old), commands("restore a:1"), respond(Accepted, old), see("", old)}, result: report.Restored, err: "no"},
		"no answer":                     {steps: []step{commands("update a:2"), respond(Unknown), see("", old), commands("update a:2"), respond(Unknown), see("", old), commands("update a:2"), respond(Unknown), see("", old), commands("restore a:1"), respond(Accepted, old), see("", old)}, result: report.Restored, err: "no"},
		"interrupted before":            {steps: []step{interrupt}, result: report.Unchanged},
		"replaced while throttled":      {steps: []step{commands("update a:2"), respond(Throttled), see("", other, old)}, result: report.Unchanged, err: "started while this one waited"},
		"deleted before":                {steps: []step{observe(Observation{Missing: true})}, result: report.Unchanged, err: "deleted during the release"},
		"deleted":                       {steps: []step{updated, observe(Observation{Missing: true}), observe(Observation{Missing: true})}, result: report.Failed, err: "cannot be restored"},
		"replaced":                      {steps: []step{updated, see("", other, own), see("", other)}, result: report.Failed, err: "it is not changed"},
		"stopped by another":            {steps: []step{updated, see("STOPPED", other, own), see("STOPPED", other)}, result: report.Failed, err: "ecs-svc/9 of a:9, replaced this one"},
		"stopped":                       {steps: []step{updated, see("STOPPED", own, old), see("STOPPED", own, old), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored, err: "service deployment is STOPPED"},
		"changed back by another":       {steps: []step{updated, see("", back, own), see("", backDone)}, result: report.Restored, err: "was changed back to a:1"},
		"deployment gone":               {steps: []step{updated, see("", old), after(time.Minute), see("", old), see("", old), after(time.Minute), see("", old), commands("restore a:1"), respond(Accepted, old), see("", old)}, result: report.Restored, err: "no longer exists"},

		"circuit breaker": {steps: []step{
			updated, observe(Observation{Status: rollback, CircuitBreaker: true, Reason: "failed to start", Deployments: deployments(back, own)}),
			see(rollback, back, own), commands(), see(rolled, backDone),
		}, result: report.Restored, err: "circuit breaker tripped: failed to start"},
		"alarm":                  {steps: []step{updated, observe(Observation{Status: rollback, Alarms: []string{"5xx"}, Deployments: deployments(own)}), see(rolled, old)}, result: report.Restored, err: "alarm 5xx triggered"},
		"hook":                   {steps: []step{updated, observe(Observation{Status: rollback, HookFailure: "the deployment was not continued in time", Reason: "timed out", Deployments: deployments(own)}), see(rolled, old)}, result: report.Restored, err: "not continued in time: timed out"},
		"user":                   {steps: []step{updated, observe(Observation{Status: "STOP_REQUESTED", Reason: "by user", Deployments: deployments(own)}), see("STOP_REQUESTED", own), commands(), see(rolled, old)}, result: report.Restored, err: "a user stopped"},
		"rolled back elsewhere":  {steps: []step{updated, see(rolled, other), see(rolled, other), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored},
		"in progress and failed": {steps: []step{updated, see(inProgress, ownFailed, old), see(inProgress, ownFailed, old), commands("stop ecs-svc/2")}},

		"interrupted, rolled back by ECS": {steps: []step{updated, see(inProgress, own, old), interrupt, see(inProgress, own, old), commands("stop ecs-svc/2"), respond(Accepted), see(inProgress, own), commands(), see(rolled, backDone)}, result: report.Restored},
		"stop rejected":                   {steps: []step{updated, interrupt, see(inProgress, own), commands("stop ecs-svc/2"), respond(Rejected), see(inProgress, own), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored},
		"stop throttled":                  {steps: []step{updated, interrupt, see(inProgress, own), commands("stop ecs-svc/2"), respond(Throttled), see(inProgress, own), commands("stop ecs-svc/2"), respond(Unknown), see(inProgress, own), commands("stop ecs-svc/2"), respond(Unknown), see(inProgress, own), after(time.Minute), see(inProgress, own), commands("restore a:1")}},
		"stop has no effect":              {steps: []step{updated, interrupt, see(inProgress, own), commands("stop ecs-svc/2"), respond(Accepted), see(inProgress, own), after(time.Minute), see(inProgress, own), commands("restore a:1")}},

		"restored":              {steps: []step{broken, respond(Accepted, back, own), see("", back, own), commands(), see("", backDone)}, result: report.Restored},
		"restore has no effect": {steps: []step{broken, respond(Accepted, back, own), see("", ownFailed), commands(), after(time.Minute), see("", ownFailed), commands("restore a:1")}},
		"restore fails once":    {steps: []step{broken, respond(Accepted, back, own), see("", backFailed, own), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored},
		"restored from a copy":  {steps: []step{broken, responses(Response{Status: Unknown, Copy: "a:3"}), see("", ownFailed), commands("restore a:3"), respond(Accepted, copyDone), see("", copyDone)}, result: report.Restored},
		"never complete":        {plan: func(p *Plan) { p.WasComplete = false }, steps: []step{broken, respond(Accepted, back, own), see("", backFailed)}, result: report.Restored},
		"irreversible":          {plan: func(p *Plan) { p.Irreversible = true }, steps: []step{updated, see("", ownFailed)}, result: report.Failed, err: "no known good version"},
		"denied": {steps: []step{
			broken, responses(Response{Status: Rejected, Denied: true}), see("", ownFailed), commands("restore a:1"), responses(Response{Status: Rejected, Denied: true}), see("", ownFailed),
			commands("restore a:1"), responses(Response{Status: Rejected, Denied: true}), see("", ownFailed), commands("restore a:1"), responses(Response{Status: Rejected, Denied: true}),
			see("", ownFailed), commands("restore a:1"), responses(Response{Status: Rejected, Denied: true}),
		}, result: report.Failed, err: "restoring a: no"},
		"forced, failed, tasks left":    {plan: func(p *Plan) { p.To = p.From }, steps: []step{commands("update a:1 force"), respond(Accepted, back, old), see("", backFailed, old), see("", backFailed, old)}, result: report.Restored},
		"forced, failed, no tasks left": {plan: func(p *Plan) { p.To = p.From }, steps: []step{commands("update a:1 force"), respond(Accepted, back, old), see("", backFailed), see("", backFailed), commands("restore a:1")}},
		"verification failed":           {options: Options{Verify: true}, steps: []step{updated, see("", ownDone), verified(errors.New("503")), see("", ownDone), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored},

		"first release, count left": {plan: func(p *Plan) { p.Count, p.DesiredCount = &CountChange{To: 2}, 0 }, steps: []step{
			commands("update a:2 count 2"), respond(Accepted, own, old), see(rollback, back), see(rollback, back), commands("restore a:1 count 0"), respond(Accepted, back),
			see(rolled, back), commands(), observe(Observation{Deployments: deployments(back)}), commands(), observe(Observation{Deployments: deployments(backFailed)}),
		}, result: report.Restored},
		"nothing ran": {plan: func(p *Plan) { p.DesiredCount = 0 }, steps: []step{broken, respond(Accepted, back), observe(Observation{Deployments: deployments(backFailed)})}, result: report.Restored},
		"restore from zero": {plan: func(p *Plan) { p.Count = &CountChange{From: 2} }, steps: []step{
			commands("update a:2 count 0"), respond(Accepted, own, old), interrupt, observe(Observation{Deployments: deployments(ownDone)}), commands("restore a:1 count 2"),
			respond(Accepted, back), observe(Observation{Deployments: deployments(backDone)}), commands("restore a:1 count 2"), respond(Accepted, back), see("", backDone),
		}, result: report.Restored},

		"timeout":               {steps: []step{updated, trouble("no capacity"), after(time.Hour), see("", own, old)}, err: "not complete within the time limit of 15m0s: no capacity"},
		"restore timeout":       {steps: []step{broken, trouble("no capacity"), after(time.Hour), see("", ownFailed)}, result: report.Failed, err: "not restored within the time limit of 10m0s: no capacity"},
		"unreadable":            {steps: []step{updated, unreadable, after(time.Minute), unreadable}},
		"unreadable for long":   {steps: []step{updated, after(3 * time.Minute), unreadable, see("", own), commands("restore a:1"), respond(Accepted, back), see("", backDone)}, result: report.Restored},
		"unreadable for good":   {steps: []step{broken, after(time.Hour), unreadable}, result: report.Failed, err: "unreadable"},
		"interrupted, too late": {steps: []step{updated, see("", ownDone), interrupt}, result: report.Succeeded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan := Plan{
				Name: "a", ECSName: "ecs-a", From: report.Version{TaskDefinition: "a:1"}, To: report.Version{TaskDefinition: "a:2"},
				PreviousDeployments: []string{"ecs-svc/1"}, WasComplete: true, DesiredCount: 2,
			}
			if tt.plan != nil {
				tt.plan(&plan)
			}
			tt.options.Timeout, tt.options.RestoreTimeout = 15*time.Minute, 10*time.Minute
			began := time.Unix(0, 0)
			r := &release{Release: New([]Plan{plan}, tt.options, began), now: began}
			for _, step := range tt.steps {
				step(t, r)
				r.now = r.now.Add(time.Second)
			}
			progress := r.Progress(0)
			require.Equal(t, tt.result != "", r.Stage() == Finished, "%v", r.Events())
			require.ErrorContains(t, errors.Join(progress.Err, progress.RestoreErr, errors.New("")), tt.err)
			if tt.result != "" {
				require.Equal(t, tt.result, progress.Result)
				require.Equal(t, tt.result == report.Succeeded, r.Cause() == nil)
			}
		})
	}
}

// TestReleaseOfSeveralServices checks that one failure restores all, and that commands
// beyond the limit stay due.
func TestReleaseOfSeveralServices(t *testing.T) {
	var plans []Plan
	for _, name := range []string{"a", "b", "c"} {
		plans = append(plans, Plan{
			Name: name, From: report.Version{TaskDefinition: name + ":1", SHA: "1111"}, To: report.Version{TaskDefinition: name + ":2"}, WasComplete: true, DesiredCount: 2,
		})
	}
	now := time.Unix(0, 0)
	r := New(plans, Options{Timeout: time.Hour, RestoreTimeout: time.Hour}, now)
	first := r.Commands(2)
	require.Len(t, first, 2)
	b := deployment("ecs-svc/b", "b:2", types.DeploymentRolloutStateInProgress, 1)
	r.HandleResponses(first, []Response{{Status: Rejected, Err: errors.New("no")}, {Status: Accepted, Deployments: []types.Deployment{b}}}, now)
	require.EqualError(t, r.Cause(), "a: updating service : no")
	require.Equal(t, Restoring, r.Stage())
	require.Empty(t, r.Commands(2), "nothing is observed yet, and c is not updated")
	r.Observe([]Observation{{}, {Deployments: []types.Deployment{b}}, {}}, now)
	require.Equal(t, []Command{{Action: Restore, Service: 1, Deployment: "ecs-svc/b", Revision: "b:1"}}, r.Commands(2))
	r.Observe([]Observation{{}, {Deployments: []types.Deployment{deployment("ecs-svc/b1", "b:1", types.DeploymentRolloutStateCompleted, 2)}}, {}}, now)
	require.Equal(t, Finished, r.Stage())
	require.Equal(t, []report.Result{report.Unchanged, report.Restored, report.Unchanged}, []report.Result{r.Progress(0).Result, r.Progress(1).Result, r.Progress(2).Result})
	var events []string
	for _, e := range r.Events() {
		events = append(events, strings.TrimSpace(e.Service+" "+e.Text))
	}
	require.Equal(t, []string{"b deployment ecs-svc/b started", "b restoring 1111", "restoring: a: updating service : no", "b runs the previous version again"}, events)
	require.Empty(t, r.Events())
}

// TestPollInterval: polling backs off while nothing changes, unless a deployment is
// nearly complete.
func TestPollInterval(t *testing.T) {
	now := time.Unix(0, 0)
	r := New([]Plan{{Name: "a", PreviousDeployments: []string{*old.Id, *own.Id}}}, Options{Timeout: time.Hour}, now)
	require.Equal(t, time.Second, r.PollInterval(now))
	require.Equal(t, 3*time.Second, r.PollInterval(now.Add(30*time.Second)))
	require.Equal(t, 5*time.Second, r.PollInterval(now.Add(time.Hour)))
	r.Observe([]Observation{{Deployments: []types.Deployment{own}}}, now.Add(time.Minute))
	require.Equal(t, time.Second, r.PollInterval(now.Add(70*time.Second)))
	r.Observe([]Observation{{Deployments: []types.Deployment{old}}}, now.Add(time.Minute))
	require.Equal(t, time.Second, r.PollInterval(now.Add(10*time.Minute)), "all its tasks run")
}
