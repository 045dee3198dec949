package machine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// newShiftRelease returns a release of the services a and b, whose traffic is shifted by a
// canary, and w, once the updates of a and b are accepted.
func newShiftRelease(t *testing.T, options Options) (*Release, time.Time) {
	var plans []Plan
	for _, name := range []string{"a", "b", "w"} {
		p := Plan{Name: name, ECSName: "ecs-" + name, From: report.Version{TaskDefinition: name + ":1"}, To: report.Version{TaskDefinition: name + ":2"}, WasComplete: true, DesiredCount: 2}
		if name != "w" {
			p.Shift, p.Bake, p.Lifecycle = &Shift{Steps: []float64{5, 100}, StepBake: 10 * time.Minute, Limit: time.Hour}, 5*time.Minute, true
		}
		plans = append(plans, p)
	}
	now := time.Unix(0, 0)
	options.Timeout, options.RestoreTimeout = 15*time.Minute, 10*time.Minute
	r := New(plans, options, now)
	require.Equal(t, 15*time.Minute, r.bakes)
	require.Equal(t, []string{"update a:2", "update b:2"}, due(r, now, Accepted))
	return r, now
}

// due executes the commands that are due with a response, and describes them.
func due(r *Release, now time.Time, status CallStatus) (texts []string) {
	commands := r.Commands(10)
	var responses []Response
	for _, c := range commands {
		response := Response{Status: status}
		switch c.Action {
		case Update:
			texts = append(texts, "update "+c.Revision)
			response.Deployments = []types.Deployment{deployment("ecs-svc/"+c.Revision, c.Revision, types.DeploymentRolloutStateInProgress, 1)}
		case Continue:
			texts = append(texts, "continue "+c.Hook)
		case Stop:
			texts = append(texts, "stop "+c.Deployment)
		}
		if status != Accepted {
			response.Err = errors.New("no")
		}
		responses = append(responses, response)
	}
	r.HandleResponses(commands, responses, now)
	return texts
}

// at observes a and b at stages such as "POST_TEST", with "+" if ECS waits there, and with a
// share such as "PRE_PRODUCTION/5+"; w is done if it was updated.
func at(r *Release, now time.Time, stages ...string) {
	var observed []Observation
	for n, s := range r.services {
		revision, status, state := s.plan.To.TaskDefinition, types.ServiceDeploymentStatusInProgress, types.DeploymentRolloutStateInProgress
		o := Observation{DesiredCount: 2}
		if n < len(stages) {
			stage, waits := strings.CutSuffix(stages[n], "+")
			if stage, share, _ := strings.Cut(stage, "/"); stage != "" {
				_, _ = fmt.Sscan(share, &o.Percent)
				o.Stage = map[string]string{"POST_TEST": "POST_TEST_TRAFFIC_SHIFT", "PRE": "PRE_PRODUCTION_TRAFFIC_SHIFT", "SHIFT": "PRODUCTION_TRAFFIC_SHIFT", "POST": "POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE": "BAKE_TIME", "DONE": "CLEAN_UP"}[stage]
			}
			if waits {
				o.Hook = &Hook{ID: s.plan.Name, Expires: now.Add(5 * time.Minute)}
			}
		}
		if n >= len(stages) || stages[n] == "DONE" {
			status, state = types.ServiceDeploymentStatusSuccessful, types.DeploymentRolloutStateCompleted
		}
		if s.Touched() {
			o.Status, o.Deployments = status, []types.Deployment{deployment("ecs-svc/"+revision, revision, state, 2)}
		}
		observed = append(observed, o)
	}
	r.Observe(observed, now)
}

// TestBarriers checks what a release does when its services are at certain stages, whatever
// came before: another process may have brought them there.
func TestBarriers(t *testing.T) {
	for name, tt := range map[string]struct {
		options Options
		at      []string
		w       bool // w was updated
		want    []string
		stage   Stage
	}{
		"starting":                        {at: []string{"", ""}},
		"one is tested":                   {at: []string{"POST_TEST+", ""}},
		"one does not wait yet":           {at: []string{"POST_TEST+", "POST_TEST"}},
		"to test":                         {options: Options{Test: true}, at: []string{"POST_TEST+", "POST_TEST+"}, stage: Testing},
		"tested, then the others":         {at: []string{"POST_TEST+", "POST_TEST+"}, want: []string{"update w:2"}},
		"all are updated":                 {at: []string{"POST_TEST+", "POST_TEST+"}, w: true, want: []string{"continue a", "continue b"}},
		"pause at the test":               {options: Options{PauseAt: PostTestTrafficShift}, at: []string{"POST_TEST+", "POST_TEST+"}, stage: Paused},
		"one was continued":               {at: []string{"PRE/0+", "POST_TEST+"}, w: true, want: []string{"continue b"}},
		"one moves":                       {at: []string{"SHIFT/5", "PRE/0+"}, w: true},
		"before the first step":           {at: []string{"PRE/0+", "PRE/0+"}, w: true, want: []string{"continue a", "continue b"}},
		"one is a step ahead":             {at: []string{"PRE/5+", "PRE/0+"}, w: true, want: []string{"continue b"}},
		"before the second step":          {at: []string{"PRE/5+", "PRE/5+"}, w: true, want: []string{"continue a", "continue b"}},
		"one has all steps":               {at: []string{"POST/100+", "PRE/5+"}, w: true, want: []string{"continue b"}},
		"pause before a step":             {options: Options{PauseAt: PreProductionTrafficShift}, at: []string{"PRE/5+", "PRE/5+"}, w: true, stage: Paused},
		"continued, pause at a step":      {options: Options{PauseAt: PreProductionTrafficShift, Continue: true}, at: []string{"PRE/5+", "PRE/5+"}, w: true, want: []string{"continue a", "continue b"}},
		"continued, pause at a later one": {options: Options{PauseAt: PostProductionTrafficShift, Continue: true}, at: []string{"PRE/5+", "PRE/5+"}, w: true, want: []string{"continue a", "continue b"}},
		"all is shifted":                  {at: []string{"POST/100+", "POST/100+"}, w: true, want: []string{"continue a", "continue b"}},
		"to verify":                       {options: Options{Verify: true}, at: []string{"POST/100+", "POST/100+"}, w: true, stage: Verifying},
		"one bakes":                       {at: []string{"BAKE/100", "POST/100+"}, w: true, want: []string{"continue b"}},
		"all bake":                        {at: []string{"BAKE/100", "BAKE/100"}, w: true},
		"all bake, to verify":             {options: Options{Verify: true}, at: []string{"BAKE/100", "BAKE/100"}, w: true, stage: Verifying},
		"one is done":                     {at: []string{"DONE", "BAKE/100"}, w: true},
		"all are done":                    {at: []string{"DONE", "DONE"}, w: true, stage: Finished},
		"shifted by hand, w is not":       {at: []string{"POST/100+", "POST/100+"}, want: []string{"update w:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, now := newShiftRelease(t, tt.options)
			if tt.w {
				r.opened = true
				require.Equal(t, []string{"update w:2"}, due(r, now, Accepted))
			}
			at(r, now, tt.at...)
			require.Equal(t, tt.stage, r.Stage())
			require.Equal(t, tt.want, due(r, now, Accepted))
			if tt.want != nil && tt.w {
				at(r, now.Add(5*time.Second), tt.at...)
				require.Empty(t, due(r, now, Accepted), "the observation is stale")
				at(r, now.Add(time.Minute), tt.at...)
				require.Equal(t, tt.want, due(r, now, Accepted), "it is not")
			}
		})
	}
}

// TestContinue checks responses to ContinueServiceDeployment.
func TestContinue(t *testing.T) {
	for name, tt := range map[string]struct {
		responses []CallStatus
		cause     string
	}{
		"throttled":         {[]CallStatus{Throttled, Throttled, Throttled, Throttled, Accepted}, ""},
		"lost":              {[]CallStatus{Unknown, Unknown, Accepted}, ""},
		"lost three times":  {[]CallStatus{Unknown, Unknown, Unknown}, "a: continuing the deployment of service ecs-a: no"},
		"rejected, and due": {[]CallStatus{Rejected, Rejected, Rejected}, "a: continuing the deployment of service ecs-a: no"},
	} {
		t.Run(name, func(t *testing.T) {
			r, now := newShiftRelease(t, Options{})
			r.opened = true
			due(r, now, Accepted)
			for _, status := range tt.responses {
				now = now.Add(staleLimit)
				at(r, now, "PRE/0+", "PRE/0+")
				require.Equal(t, []string{"continue a", "continue b"}, due(r, now, status))
			}
			if tt.cause == "" {
				require.NoError(t, r.Cause())
				return
			}
			require.EqualError(t, r.Cause(), tt.cause)
		})
	}
}

// TestShiftTimeout checks which service is blamed, and that bakes are allowed up to what is
// configured.
func TestShiftTimeout(t *testing.T) {
	r, now := newShiftRelease(t, Options{})
	at(r, now.Add(16*time.Minute), "POST_TEST+", "")
	require.EqualError(t, r.Cause(), "b: not complete within the time limit of 15m0s")

	r, now = newShiftRelease(t, Options{})
	r.opened = true
	due(r, now, Accepted)
	for range 29 {
		now = now.Add(time.Minute)
		at(r, now, "SHIFT/5", "PRE/5+")
	}
	require.NoError(t, r.Cause())
	require.Equal(t, longPoll, r.PollInterval(now.Add(time.Minute)), "it bakes")
	for range 2 {
		now = now.Add(time.Minute)
		at(r, now, "SHIFT/5", "PRE/5+")
	}
	require.EqualError(t, r.Cause(), "a: not complete within the time limit of 15m0s")
	var texts []string
	for _, e := range r.Events() {
		texts = append(texts, e.Text)
	}
	require.True(t, slices.ContainsFunc(texts, func(text string) bool {
		return strings.HasPrefix(text, "waits at PRE_PRODUCTION_TRAFFIC_SHIFT: ECS rolls back at ")
	}), texts)
	at(r, now, "SHIFT/5", "PRE/5+")
	require.Equal(t, []string{"stop ecs-svc/a:2", "stop ecs-svc/b:2"}, due(r, now, Accepted), "w is done and updated back")
}
