package workflow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/test/workflow"
)

// happening is an event, its circumstances and the expected result.
type happening struct {
	event   workflow.Event
	history string
	plan    string // "changes nothing"; otherwise plans have changes
	checks  string // "fail"; otherwise checks succeed
	fates   map[string]workflow.Outcome
	want    []string
}

// Expected jobs with all their permissions. A job that is not listed does not run.
const (
	ciRun     = "ci.yml, group ci-1001, the next run cancels it" // each run has a group of its own, so no next run exists
	requestCI = "ci.yml, group ci-7, the next run cancels it"

	checked     = "check [contents:read]: check, cat, cat, keep check, cat, "
	check       = checked + "changes"
	plan        = "plan [contents:read id-token:write] as plan role: plan, cat, cat"
	planRequest = plan + ", keep plan-summary"
	planToApply = plan + ", keep plan"
	comment     = "comment [pull-requests:write]: gh pr comment"
	deploy      = "deploy [contents:read id-token:write] as deploy role in production, one at a time in deploy-production: "
	apply       = "apply / apply [contents:read id-token:write] as apply role in production, one at a time in deploy-production: apply"
	rollback    = "rollback [contents:read id-token:write] as deploy role in production, one at a time in rollback-production: rollback"

	driftRun = "drift.yml, group drift, the next run cancels it"
	drift    = "drift [contents:read id-token:write] as plan role: plan, cat, cat, keep drift"
	issue    = "issue [issues:write]: gh issue list"
	lockRun  = "lock.yml, group lock, the next run cancels it"
	renew    = "renew [contents:read]: lock, keep lock"
	propose  = "propose [contents:write pull-requests:write]: "
)

func push(branch string) workflow.Event {
	return workflow.Event{Name: "push", Ref: "refs/heads/" + branch}
}

// request returns a pull request from the repository from, which is empty if it has
// been deleted.
func request(action, from string, draft bool) workflow.Event {
	head := map[string]any{"repo": nil}
	if from != "" {
		head["repo"] = map[string]any{"full_name": from}
	}
	return workflow.Event{
		Name: "pull_request", Action: action, Ref: "refs/pull/7/merge", Fork: from != "acme/shop",
		Payload: map[string]any{"pull_request": map[string]any{"number": "7", "draft": draft, "head": head, "base": map[string]any{}}},
	}
}

func dispatch(file, branch string, inputs map[string]any) workflow.Event {
	return workflow.Event{Name: "workflow_dispatch", Workflow: file, Ref: "refs/heads/" + branch, Inputs: inputs}
}

func public(e workflow.Event) workflow.Event {
	e.Payload = map[string]any{"repository": map[string]any{"private": false}}
	return e
}

// fails sets the outcome of steps that do not succeed, as pairs of "job/step" and
// outcome.
func fails(pairs ...string) map[string]workflow.Outcome {
	all := map[string]workflow.Outcome{}
	for pair := range slices.Chunk(pairs, 2) {
		all[pair[0]] = workflow.Outcome(pair[1])
	}
	return all
}

var applying = map[string]any{"run_apply": true}

func happenings() map[string]happening {
	own, fork := "acme/shop", "mallory/shop"
	return map[string]happening{
		"push to main, code":             {event: push("main"), history: "code", want: []string{ciRun, check, deploy + "publish, deploy"}},
		"push to main, terraform":        {event: push("main"), history: "terraform", want: []string{ciRun, check, plan}},
		"push to main, both":             {event: push("main"), history: "everything", want: []string{ciRun, check, plan, deploy + "publish, deploy"}},
		"push to main, docs only":        {event: push("main"), history: "docs", want: []string{ciRun, check}},
		"push to main, first":            {event: push("main"), history: "first push", want: []string{ciRun, check, plan, deploy + "publish, deploy"}},
		"push to main, forced":           {event: push("main"), history: "force push, commit gone", want: []string{ciRun, check, plan, deploy + "publish, deploy"}},
		"push to main, forced and known": {event: push("main"), history: "force push, commit known", want: []string{ciRun, check, plan}},
		"push to main, merge":            {event: push("main"), history: "merge", want: []string{ciRun, check, plan}},
		"push to another branch":         {event: push("feature"), history: "everything"},
		"push to a branch named alike":   {event: push("main2"), history: "everything"},
		"push of a tag":                  {event: workflow.Event{Name: "push", Ref: "refs/tags/main"}, history: "everything"},

		"a check fails":     {event: push("main"), history: "everything", checks: "fail", want: []string{ciRun, checked + "exit -> failure"}},
		"no check is made":  {event: push("main"), history: "everything", fates: fails("check/Check", "failure"), want: []string{ciRun, "check [contents:read]: check -> failure"}},
		"a plan fails":      {event: push("main"), history: "everything", fates: fails("plan/Plan", "failure"), want: []string{ciRun, check, "plan [contents:read id-token:write] as plan role: plan -> failure", deploy + "publish, deploy"}},
		"publishing fails":  {event: push("main"), history: "code", fates: fails("deploy/Publish", "failure"), want: []string{ciRun, check, deploy + "publish, status -> failure"}},
		"a deploy fails":    {event: push("main"), history: "code", fates: fails("deploy/Deploy", "failure"), want: []string{ciRun, check, deploy + "publish, deploy, status -> failure"}},
		"check cancelled":   {event: push("main"), history: "everything", fates: fails("check/Check", "cancelled"), want: []string{ciRun, "check [contents:read]: check -> cancelled"}},
		"publish cancelled": {event: push("main"), history: "code", fates: fails("deploy/Publish", "cancelled"), want: []string{ciRun, check, deploy + "publish -> cancelled"}},
		"deploy cancelled":  {event: push("main"), history: "code", fates: fails("deploy/Deploy", "cancelled"), want: []string{ciRun, check, deploy + "publish, deploy, rollback -> cancelled"}},
		"deploy cancelled, and what puts it back fails": {
			event: push("main"), history: "code", fates: fails("deploy/Deploy", "cancelled", "deploy/Put back what was cancelled", "failure"),
			want: []string{ciRun, check, deploy + "publish, deploy, rollback, status -> cancelled"},
		},

		"request, code":               {event: request("opened", own, false), history: "code", want: []string{requestCI, check}},
		"request, docs only":          {event: request("synchronize", own, false), history: "docs", want: []string{requestCI, check}},
		"request, terraform":          {event: request("synchronize", own, false), history: "terraform", want: []string{requestCI, check, planRequest, comment}},
		"request, reopened":           {event: request("reopened", own, false), history: "everything", want: []string{requestCI, check, planRequest, comment}},
		"request, no changes planned": {event: request("opened", own, false), history: "everything", plan: "changes nothing", want: []string{requestCI, check, planRequest, comment}},
		"request, draft":              {event: request("opened", own, true), history: "everything", want: []string{requestCI, check}},
		"request, no draft any more":  {event: request("ready_for_review", own, false), history: "everything", want: []string{requestCI, check, planRequest, comment}},
		"request, a check fails":      {event: request("opened", own, false), history: "everything", checks: "fail", want: []string{requestCI, checked + "exit -> failure"}},
		"request, labelled":           {event: request("labeled", own, false), history: "everything"},
		"request, plan fails":         {event: request("opened", own, false), history: "everything", fates: fails("plan/Plan", "failure"), want: []string{requestCI, check, "plan [contents:read id-token:write] as plan role: plan -> failure"}},
		"request from a fork":         {event: request("opened", fork, false), history: "everything", want: []string{requestCI, check}},
		"draft from a fork":           {event: request("opened", fork, true), history: "everything", want: []string{requestCI, check}},
		"request from a fork of old":  {event: request("opened", "", false), history: "everything", want: []string{requestCI, check}},

		"dispatch":                            {event: dispatch("ci.yml", "main", nil), history: "dispatch", want: []string{ciRun, check, plan}},
		"dispatch, apply":                     {event: dispatch("ci.yml", "main", applying), history: "dispatch", want: []string{ciRun, check, planToApply, apply}},
		"dispatch, apply, no changes planned": {event: dispatch("ci.yml", "main", applying), history: "dispatch", plan: "changes nothing", want: []string{ciRun, check, planToApply}},
		"dispatch, apply, a check fails":      {event: dispatch("ci.yml", "main", applying), history: "dispatch", checks: "fail", want: []string{ciRun, checked + "exit -> failure"}},
		"dispatch, apply, public repository": {
			event: public(dispatch("ci.yml", "main", applying)), history: "dispatch",
			want: []string{ciRun, check, "plan [contents:read id-token:write] as plan role: exit -> failure"},
		},
		"dispatch, public repository":    {event: public(dispatch("ci.yml", "main", nil)), history: "dispatch", want: []string{ciRun, check, plan}},
		"dispatch of a branch":           {event: dispatch("ci.yml", "feature", nil), history: "dispatch", want: []string{ciRun, check}},
		"dispatch of a branch, apply":    {event: dispatch("ci.yml", "feature", applying), history: "dispatch", want: []string{ciRun, check}},
		"dispatch, rollback":             {event: dispatch("ci.yml", "main", map[string]any{"rollback": true}), history: "dispatch", want: []string{ciRun, rollback}},
		"dispatch, rollback to":          {event: dispatch("ci.yml", "main", map[string]any{"rollback": true, "rollback_to": "ecs-backend-task:12"}), history: "dispatch", want: []string{ciRun, rollback}},
		"dispatch, a goal alone":         {event: dispatch("ci.yml", "main", map[string]any{"rollback_to": "ecs-backend-task:12"}), history: "dispatch", want: []string{ciRun, check, plan}},
		"dispatch, rollback and apply":   {event: dispatch("ci.yml", "main", map[string]any{"rollback": true, "run_apply": true}), history: "dispatch", want: []string{ciRun, rollback}},
		"dispatch of a branch, rollback": {event: dispatch("ci.yml", "feature", map[string]any{"rollback": true}), history: "dispatch", want: []string{ciRun}},
		"a rollback fails":               {event: dispatch("ci.yml", "main", map[string]any{"rollback": true}), history: "dispatch", fates: fails("rollback/Roll back", "failure"), want: []string{ciRun, rollback + ", status -> failure"}},

		"schedule of drift":           {event: workflow.Event{Name: "schedule", Workflow: "drift.yml", Ref: "refs/heads/main"}, want: []string{driftRun, drift, issue}},
		"schedule of drift, none":     {event: workflow.Event{Name: "schedule", Workflow: "drift.yml", Ref: "refs/heads/main"}, plan: "changes nothing", want: []string{driftRun, drift}},
		"schedule of drift, it fails": {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, fates: fails("drift/Look for drift", "failure"), want: []string{driftRun, "drift [contents:read id-token:write] as plan role: plan -> failure"}},
		"dispatch of drift":           {event: dispatch("drift.yml", "main", nil), want: []string{driftRun, drift, issue}},
		"schedule of lock":            {event: workflow.Event{Name: "schedule", Workflow: "lock.yml"}, want: []string{lockRun, renew, propose}},
		"dispatch of lock":            {event: dispatch("lock.yml", "main", nil), want: []string{lockRun, renew, propose}},

		"what others could send":  {event: workflow.Event{Name: "pull_request_target", Ref: "refs/heads/main"}},
		"a comment on a request":  {event: workflow.Event{Name: "issue_comment", Ref: "refs/heads/main"}},
		"a run of something else": {event: workflow.Event{Name: "workflow_run", Ref: "refs/heads/main"}},
	}
}

// start computes the result of an event.
func (h happening) start(set workflow.Set, all map[string]pushEvent) ([]string, error) {
	w := &world{history: all[h.history], changes: h.plan != "changes nothing", fail: h.checks == "fail", fates: h.fates, roles: map[string]string{}, stored: map[string]bool{}}
	e := h.event
	payload := map[string]any{"repository": map[string]any{"private": true}}
	maps.Copy(payload, e.Payload)
	switch e.Name {
	case "push":
		payload["before"] = w.history.since
	case "pull_request":
		payload["before"] = strings.Repeat("cd", 20) // the request's own value, which is not the commit to compare with
		payload["pull_request"].(map[string]any)["base"].(map[string]any)["sha"] = w.history.since
	}
	e.Payload = payload
	runs, err := set.Start(e, vars, w)
	return w.tell(runs), err
}

func TestEvents(t *testing.T) {
	set, err := workflow.Read(root)
	require.NoError(t, err)
	all := pushEvents(t)
	for name, h := range happenings() {
		t.Run(name, func(t *testing.T) {
			got, err := h.start(set, all)
			require.NoError(t, err)
			require.Equal(t, h.want, got)
		})
	}
}

// Nothing that a person without write access can trigger has an id-token, a role, an
// environment or write permissions.
func TestForksHaveNoRights(t *testing.T) {
	set, err := workflow.Read(root)
	require.NoError(t, err)
	all := pushEvents(t)
	delete(all, "dispatch") // has no commit to compare with, like every pull request
	for name := range all {
		for _, action := range []string{"opened", "synchronize", "reopened", "ready_for_review"} {
			h := happening{event: request(action, "mallory/shop", false), history: name}
			got, err := h.start(set, all)
			require.NoError(t, err)
			require.Equal(t, []string{requestCI, check}, got, fmt.Sprint(name, " ", action))
		}
	}
}
