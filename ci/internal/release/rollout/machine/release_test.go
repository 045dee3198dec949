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

	"dagger/slipway/internal/report"
)

// Deployments of service a, of which revision 1 ran and revision 2 shall run: old was
// there before the release, own is the release's, back is ECS's of revision 1 again,
// and other is somebody else's.
var (
	old        = deployment("ecs-svc/1", "a:1", types.DeploymentRolloutStateCompleted, 2)
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

// deployments makes the first one primary.
func deployments(list ...types.Deployment) []types.Deployment {
	for n := range list[1:] {
		list[n+1].Status = aws.String("ACTIVE")
	}
	return list
}

// step is an input of the machine, or what is expected of it.
type step func(*testing.T, *release)

// release is a machine with the time that it is in, and the orders that it gave last.
type release struct {
	*Release
	now    time.Time
	orders []Command
}

// orders expects orders, as "update a:2".
func orders(want ...string) step {
	return func(t *testing.T, r *release) {
		var got []string
		r.orders = r.Commands(10)
		for _, o := range r.orders {
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

// answer answers the orders given last, each in the same way.
func answer(status CallStatus, list ...types.Deployment) step {
	return answers(Response{Status: status, Deployments: list})
}

func answers(given ...Response) step {
	return func(t *testing.T, r *release) {
		for n := range given {
			if given[n].Status != Accepted {
				given[n].Err = errors.New("no")
			}
		}
		require.Len(t, r.orders, len(given))
		r.HandleResponses(r.orders, given, r.now)
	}
}

// see observes deployments of service a; a status is that of our service deployment.
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

func interrupt(_ *testing.T, r *release) { r.Interrupt(errors.New("interrupted"), r.now) }

func trouble(text string) step { return func(_ *testing.T, r *release) { r.SetProblem(0, text) } }

func verified(err error) step {
	return func(t *testing.T, r *release) {
		require.Equal(t, Verifying, r.Stage())
		r.Verified(err, r.now)
	}
}

// updated has the update accepted, and broken has ECS give it up.
func updated(t *testing.T, r *release) {
	orders("update a:2")(t, r)
	answer(Accepted, deployments(own, old)...)(t, r)
}

func broken(t *testing.T, r *release) {
	updated(t, r)
	see("", ownFailed, old)(t, r)
	require.Equal(t, Restoring, r.Stage())
	see("", ownFailed, old)(t, r)
	orders("restore a:1")(t, r)
}

const (
	inProgress = types.ServiceDeploymentStatusInProgress
	rollback   = types.ServiceDeploymentStatusRollbackInProgress
	rolled     = types.ServiceDeploymentStatusRollbackSuccessful
)

// TestRelease plays releases of one service, step by step.
func TestRelease(t *testing.T) {
	tests := map[string]struct {
		plan    func(*Plan)
		options Options
		steps   []step
		result  report.Result // "" while the release is under way
		err     string        // in the service's errors
	}{
		"complete":                    {steps: []step{updated, see(inProgress, own, old), see("SUCCESSFUL", ownDone)}, result: report.Succeeded},
		"complete for an old API":     {steps: []step{updated, see("", own, old), see("", ownDone)}, result: report.Succeeded},
		"not before the old are gone": {steps: []step{updated, see("", ownDone, old)}},
		"a stale reading":             {steps: []step{updated, see("", old), after(20 * time.Second), see("", old), see("", ownDone)}, result: report.Succeeded},
		"joined":                      {plan: func(p *Plan) { p.Joined = "ecs-svc/2" }, steps: []step{orders(), see("SUCCESSFUL", ownDone)}, result: report.Succeeded},
		"redeployed by somebody":      {steps: []step{updated, see("", again)}, result: report.Succeeded},
		"nothing to run":              {plan: func(p *Plan) { p.DesiredCount = 0 }, steps: []step{updated, see("", ownDone)}, result: report.Succeeded},
		"ran it already":              {steps: []step{orders("update a:2"), answer(Accepted, deployment("ecs-svc/1", "a:2", "COMPLETED", 2)), see("", deployment("ecs-svc/1", "a:2", "COMPLETED", 2))}, result: report.Succeeded},
		"verified":                    {options: Options{Verify: true}, steps: []step{updated, see("", ownDone), verified(nil)}, result: report.Succeeded},
		"first release":               {plan: func(p *Plan) { p.Count = &CountChange{To: 2} }, steps: []step{orders("update a:2 count 2"), answer(Accepted, own, old), see("", ownDone)}, result: report.Succeeded},
		"forced":                      {plan: func(p *Plan) { p.To = p.From }, steps: []step{orders("update a:1 force"), answer(Accepted, back, old), see("", backDone)}, result: report.Succeeded},
		"throttled":                   {steps: []step{orders("update a:2"), answer(Throttled), orders("update a:2"), answer(Throttled), updated, see("", ownDone)}, result: report.Succeeded},
		"answer lost, accepted":       {steps: []step{orders("update a:2"), answer(Unknown), orders(), see("", own, old), orders(), see("", ownDone)}, result: report.Succeeded},
		"answer lost, not accepted":   {steps: []step{orders("update a:2"), answer(Unknown), see("", old), updated, see("", ownDone)}, result: report.Succeeded},

		"rejected":                      {steps: []step{orders("update a:2"), answer(Rejected)}, result: report.Unchanged, err: "updating service ecs-a: no"},
		"rejected, after a lost answer": {steps: []step{orders("update a:2"), answer(Unknown), see("", old), orders("update a:2"), answer(Rejected), see("", old), orders("restore a:1"), answer(Accepted, old), see("", old)}, result: report.Restored, err: "no"},
		"no answer":                     {steps: []step{orders("update a:2"), answer(Unknown), see("", old), orders("update a:2"), answer(Unknown), see("", old), orders("update a:2"), answer(Unknown), see("", old), orders("restore a:1"), answer(Accepted, old), see("", old)}, result: report.Restored, err: "no"},
		"interrupted before":            {steps: []step{interrupt}, result: report.Unchanged},
		"overtaken while it waits":      {steps: []step{orders("update a:2"), answer(Throttled), see("", other, old)}, result: report.Unchanged, err: "was begun while this one waited"},
		"deleted before":                {steps: []step{observe(Observation{Missing: true})}, result: report.Unchanged, err: "deleted during the release"},
		"deleted":                       {steps: []step{updated, observe(Observation{Missing: true}), observe(Observation{Missing: true})}, result: report.Failed, err: "there is nothing to restore"},
		"replaced":                      {steps: []step{updated, see("", other, own), see("", other)}, result: report.Failed, err: "left alone"},
		"stopped by another":            {steps: []step{updated, see("STOPPED", other, own), see("STOPPED", other)}, result: report.Failed, err: "ecs-svc/9 of a:9, took the place of ours"},
		"stopped":                       {steps: []step{updated, see("STOPPED", own, old), see("STOPPED", own, old), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored, err: "service deployment is STOPPED"},
		"put back by another":           {steps: []step{updated, see("", back, own), see("", backDone)}, result: report.Restored, err: "was put back to a:1"},
		"gone":                          {steps: []step{updated, see("", old), after(time.Minute), see("", old), see("", old), after(time.Minute), see("", old), orders("restore a:1"), answer(Accepted, old), see("", old)}, result: report.Restored, err: "is gone"},

		"circuit breaker": {steps: []step{
			updated, observe(Observation{Status: rollback, CircuitBreaker: true, Reason: "failed to start", Deployments: deployments(back, own)}),
			see(rollback, back, own), orders(), see(rolled, backDone),
		}, result: report.Restored, err: "circuit breaker tripped: failed to start"},
		"alarm":                  {steps: []step{updated, observe(Observation{Status: rollback, Alarms: []string{"5xx"}, Deployments: deployments(own)}), see(rolled, old)}, result: report.Restored, err: "alarm 5xx went off"},
		"user":                   {steps: []step{updated, observe(Observation{Status: "STOP_REQUESTED", Reason: "by user", Deployments: deployments(own)}), see("STOP_REQUESTED", own), orders(), see(rolled, old)}, result: report.Restored, err: "somebody stopped"},
		"back elsewhere":         {steps: []step{updated, see(rolled, other), see(rolled, other), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored},
		"in progress and failed": {steps: []step{updated, see(inProgress, ownFailed, old), see(inProgress, ownFailed, old), orders("stop ecs-svc/2")}},

		"interrupted, rolled back by ECS": {steps: []step{updated, see(inProgress, own, old), interrupt, see(inProgress, own, old), orders("stop ecs-svc/2"), answer(Accepted), see(inProgress, own), orders(), see(rolled, backDone)}, result: report.Restored},
		"stop rejected":                   {steps: []step{updated, interrupt, see(inProgress, own), orders("stop ecs-svc/2"), answer(Rejected), see(inProgress, own), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored},
		"stop throttled":                  {steps: []step{updated, interrupt, see(inProgress, own), orders("stop ecs-svc/2"), answer(Throttled), see(inProgress, own), orders("stop ecs-svc/2"), answer(Unknown), see(inProgress, own), orders("stop ecs-svc/2"), answer(Unknown), see(inProgress, own), after(time.Minute), see(inProgress, own), orders("restore a:1")}},
		"stop has no effect":              {steps: []step{updated, interrupt, see(inProgress, own), orders("stop ecs-svc/2"), answer(Accepted), see(inProgress, own), after(time.Minute), see(inProgress, own), orders("restore a:1")}},

		"restored":              {steps: []step{broken, answer(Accepted, back, own), see("", back, own), orders(), see("", backDone)}, result: report.Restored},
		"restore has no effect": {steps: []step{broken, answer(Accepted, back, own), see("", ownFailed), orders(), after(time.Minute), see("", ownFailed), orders("restore a:1")}},
		"restore fails once":    {steps: []step{broken, answer(Accepted, back, own), see("", backFailed, own), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored},
		"restored from a copy":  {steps: []step{broken, answers(Response{Status: Unknown, Copy: "a:3"}), see("", ownFailed), orders("restore a:3"), answer(Accepted, copyDone), see("", copyDone)}, result: report.Restored},
		"never complete":        {plan: func(p *Plan) { p.WasComplete = false }, steps: []step{broken, answer(Accepted, back, own), see("", backFailed)}, result: report.Restored},
		"irreversible":          {plan: func(p *Plan) { p.Irreversible = true }, steps: []step{updated, see("", ownFailed)}, result: report.Failed, err: "nothing known good"},
		"denied": {steps: []step{
			broken, answers(Response{Status: Rejected, Denied: true}), see("", ownFailed), orders("restore a:1"), answers(Response{Status: Rejected, Denied: true}), see("", ownFailed),
			orders("restore a:1"), answers(Response{Status: Rejected, Denied: true}), see("", ownFailed), orders("restore a:1"), answers(Response{Status: Rejected, Denied: true}),
			see("", ownFailed), orders("restore a:1"), answers(Response{Status: Rejected, Denied: true}),
		}, result: report.Failed, err: "restoring a: no"},
		"forced, failed, tasks left":    {plan: func(p *Plan) { p.To = p.From }, steps: []step{orders("update a:1 force"), answer(Accepted, back, old), see("", backFailed, old), see("", backFailed, old)}, result: report.Restored},
		"forced, failed, no tasks left": {plan: func(p *Plan) { p.To = p.From }, steps: []step{orders("update a:1 force"), answer(Accepted, back, old), see("", backFailed), see("", backFailed), orders("restore a:1")}},
		"verification failed":           {options: Options{Verify: true}, steps: []step{updated, see("", ownDone), verified(errors.New("503")), see("", ownDone), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored},

		"first release, count left": {plan: func(p *Plan) { p.Count, p.DesiredCount = &CountChange{To: 2}, 0 }, steps: []step{
			orders("update a:2 count 2"), answer(Accepted, own, old), see(rollback, back), see(rollback, back), orders("restore a:1 count 0"), answer(Accepted, back),
			see(rolled, back), orders(), observe(Observation{Deployments: deployments(back)}), orders(), observe(Observation{Deployments: deployments(backFailed)}),
		}, result: report.Restored},
		"nothing ran": {plan: func(p *Plan) { p.DesiredCount = 0 }, steps: []step{broken, answer(Accepted, back), observe(Observation{Deployments: deployments(backFailed)})}, result: report.Restored},
		"back to nothing failed": {plan: func(p *Plan) { p.Count = &CountChange{From: 2} }, steps: []step{
			orders("update a:2 count 0"), answer(Accepted, own, old), interrupt, observe(Observation{Deployments: deployments(ownDone)}), orders("restore a:1 count 2"),
			answer(Accepted, back), observe(Observation{Deployments: deployments(backDone)}), orders("restore a:1 count 2"), answer(Accepted, back), see("", backDone),
		}, result: report.Restored},

		"too late":              {steps: []step{updated, trouble("no capacity"), after(time.Hour), see("", own, old)}, err: "not complete within the time limit of 15m0s: no capacity"},
		"restored too late":     {steps: []step{broken, trouble("no capacity"), after(time.Hour), see("", ownFailed)}, result: report.Failed, err: "not restored within the time limit of 10m0s: no capacity"},
		"unreadable":            {steps: []step{updated, unreadable, after(time.Minute), unreadable}},
		"unreadable for long":   {steps: []step{updated, after(3 * time.Minute), unreadable, see("", own), orders("restore a:1"), answer(Accepted, back), see("", backDone)}, result: report.Restored},
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

// TestReleaseOfSeveralServices: one that fails has the others restored, and orders that
// exceed the limit stay due.
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
	require.Empty(t, r.Commands(2), "nothing was read yet, and c is not to be updated")
	r.Observe([]Observation{{}, {Deployments: []types.Deployment{b}}, {}}, now)
	require.Equal(t, []Command{{Action: Restore, Service: 1, Deployment: "ecs-svc/b", Revision: "b:1"}}, r.Commands(2))
	r.Observe([]Observation{{}, {Deployments: []types.Deployment{deployment("ecs-svc/b1", "b:1", types.DeploymentRolloutStateCompleted, 2)}}, {}}, now)
	require.Equal(t, Finished, r.Stage())
	require.Equal(t, []report.Result{report.Unchanged, report.Restored, report.Unchanged}, []report.Result{r.Progress(0).Result, r.Progress(1).Result, r.Progress(2).Result})
	var events []string
	for _, e := range r.Events() {
		events = append(events, strings.TrimSpace(e.Service+" "+e.Text))
	}
	require.Equal(t, []string{"b deployment ecs-svc/b started", "b putting back 1111", "restoring: a: updating service : no", "b runs the previous version again"}, events)
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
