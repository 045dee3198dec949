package workflow_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// delivering begins the names of the jobs of deliver.yml.
const delivering = "deliver / "

// happening is an event, its circumstances and the expected result.
type happening struct {
	event   workflow.Event
	history string
	vars    map[string]map[string]string // those of one environment, or several or previews
	tree    string                       // its environments; by default those of vars
	plan    string                       // "changes nothing", or that of the named environment only; otherwise plans have changes
	checks  string                       // "fail"; otherwise checks succeed
	fates   map[string]workflow.Outcome
	builds  string            // "differ": two builds of a release have other bytes
	source  string            // the folder that the jobs must use
	caller  map[string]string // inputs that a caller gives deliver.yml; by default those of ci.yml
	want    []string
}

// Expected jobs with all their permissions. A job that is not listed does not run.
const (
	ciRun     = "ci.yml, group ci-1001, the next run cancels it" // each run has a group of its own, so no next run exists
	requestCI = "ci.yml, group ci-7, the next run cancels it"

	checked     = "check [contents:read]: check, cat, cat, keep check, cat, "
	check       = checked + "changes, environments"
	plan        = "plan (production) [contents:read id-token:write] as plan role for production: plan, cat, cat"
	planRequest = plan + ", keep comment-plan-production"
	planToApply = plan + ", keep plan"
	comment     = "comment [pull-requests:write]: cat, gh pr comment"
	deploy      = "deploy [contents:read deployments:write id-token:write] as deploy role for production in production, one at a time in deploy-production: "
	apply       = "apply / apply [contents:read id-token:write] as apply role for production in production, one at a time in deploy-production: apply"
	rollback    = "rollback [contents:read deployments:write id-token:write] as deploy role for production in production, one at a time in rollback-production: rollback"

	planStaging        = "plan (staging) [contents:read id-token:write] as staging's plan role for staging: plan, cat, cat"
	planStagingRequest = planStaging + ", keep comment-plan-staging"
	deployStaging      = "deploy [contents:read deployments:write id-token:write] as staging's deploy role for staging in staging, one at a time in deploy-staging: "
	promote            = "promote (production) [contents:read deployments:write id-token:write] as deploy role for production in production, one at a time in deploy-production: promote"
	applyStaging       = "apply / apply [contents:read id-token:write] as staging's apply role for staging in staging, one at a time in deploy-staging: apply"
	rollbackStaging    = "rollback [contents:read deployments:write id-token:write] as staging's deploy role for staging in staging, one at a time in rollback-staging: rollback"
	preview            = "preview [contents:read id-token:write] as preview role for staging: preview-up, cat, keep comment-preview"

	approved        = "approve [] in production-continue: exit"
	approvedStaging = "approve [] in staging-continue: exit"
	resume          = "continue [contents:read deployments:write id-token:write] as deploy role for production in production, one at a time in deploy-production: continue"
	resumeStaging   = "continue [contents:read deployments:write id-token:write] as staging's deploy role for staging in staging, one at a time in deploy-staging: continue"
	abort           = "abort [contents:read deployments:write id-token:write] as deploy role for production in production, one at a time in deploy-production: abort"

	closed = "preview.yml, group previews-7, the next run cancels it"
	remove = "remove [contents:read id-token:write] as preview role for staging: preview-down"
	sweep  = "sweep [contents:read id-token:write] as preview role for staging: preview-sweep"

	driftRun     = "drift.yml, group drift, the next run cancels it"
	environments = "environments [contents:read]: environments"
	looked       = "drift (production) [contents:read id-token:write] as plan role for production: plan, cat, cat"
	drift        = looked + ", keep drift-production"
	lookedStag   = "drift (staging) [contents:read id-token:write] as staging's plan role for staging: plan, cat, cat"
	issue        = "issue [issues:write]: cat, gh issue list"
	lockRun      = "lock.yml, group lock, the next run cancels it"
	renew        = "renew [contents:read]: lock, keep lock"
	propose      = "propose [contents:write pull-requests:write]: "

	releaseRun = "release.yml, group release"
	built      = "build [contents:read]: release-build, cat, keep release"
	builtAgain = "again [contents:read]: release-build, cat"
	signed     = "sign [contents:read id-token:write packages:write]: release-sign, release-image, keep signed"
	published  = "publish [contents:write]: gh release create"
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

// in returns the inputs of a dispatch for an environment.
func in(environment string, ticked ...string) map[string]any {
	inputs := map[string]any{"environment": environment}
	for _, input := range ticked {
		inputs[input] = true
	}
	return inputs
}

// off returns the inputs of a caller that does not allow something.
func off(what string) map[string]string { return map[string]string{what: "false"} }

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
		"push of a release":              {event: workflow.Event{Name: "push", Ref: "refs/tags/v1.2.3"}, want: []string{releaseRun, built, builtAgain, signed, published}},
		"push of a prerelease":           {event: workflow.Event{Name: "push", Ref: "refs/tags/v10.0.0-rc.1"}, want: []string{releaseRun, built, builtAgain, signed, published}},
		"push of the module's tag":       {event: workflow.Event{Name: "push", Ref: "refs/tags/ci/v1.2.3"}},
		"push of a short version":        {event: workflow.Event{Name: "push", Ref: "refs/tags/v1"}},
		"push of a branch like a tag":    {event: push("v1.2.3")},
		"two builds differ":              {event: workflow.Event{Name: "push", Ref: "refs/tags/v1.2.3"}, builds: "differ", want: []string{releaseRun, built, builtAgain, "sign [contents:read id-token:write packages:write]: exit -> failure"}},
		"a build fails":                  {event: workflow.Event{Name: "push", Ref: "refs/tags/v1.2.3"}, fates: fails("again/Build", "failure"), want: []string{releaseRun, built, "again [contents:read]: release-build -> failure"}},
		"a signature fails":              {event: workflow.Event{Name: "push", Ref: "refs/tags/v1.2.3"}, fates: fails("sign/Sign", "failure"), want: []string{releaseRun, built, builtAgain, "sign [contents:read id-token:write packages:write]: release-sign -> failure"}},

		"no inputs of a caller": {
			event: push("main"), history: "everything", caller: map[string]string{"environment": "", "run_apply": "", "rollback": "", "rollback_to": ""},
			want: []string{ciRun, check, plan, deploy + "publish, deploy"},
		},
		"nothing to deploy allowed":        {event: push("main"), history: "everything", caller: off("deploy"), want: []string{ciRun, check, plan}},
		"no rollback allowed":              {event: dispatch("ci.yml", "main", map[string]any{"rollback": true}), history: "dispatch", caller: off("deploy"), want: []string{ciRun}},
		"no plan allowed":                  {event: push("main"), history: "everything", caller: off("plan"), want: []string{ciRun, check, deploy + "publish, deploy"}},
		"no plan allowed, apply":           {event: dispatch("ci.yml", "main", applying), history: "dispatch", caller: off("plan"), want: []string{ciRun, check}},
		"no plan allowed, request":         {event: request("opened", own, false), history: "everything", caller: off("plan"), want: []string{requestCI, check}},
		"no apply allowed":                 {event: dispatch("ci.yml", "main", applying), history: "dispatch", caller: off("apply"), want: []string{ciRun, check, plan}},
		"no apply allowed, public":         {event: public(dispatch("ci.yml", "main", applying)), history: "dispatch", caller: off("apply"), want: []string{ciRun, check, plan}},
		"no preview allowed":               {event: request("opened", own, false), history: "code", vars: previews, caller: off("preview"), want: []string{requestCI, check}},
		"no pause allowed":                 {event: push("main"), history: "code", vars: pausing(vars, "production"), caller: off("pause"), want: []string{ciRun, check, deploy + "publish, deploy"}},
		"no pause allowed, several":        {event: push("main"), history: "code", vars: pausing(several, "production"), caller: off("pause"), want: []string{ciRun, check, deployStaging + "publish, deploy", promote}},
		"another branch, dispatch":         {event: dispatch("ci.yml", "trunk", nil), history: "dispatch", caller: map[string]string{"branch": "trunk"}, want: []string{ciRun, check, plan}},
		"another branch, rollback":         {event: dispatch("ci.yml", "trunk", map[string]any{"rollback": true}), history: "dispatch", caller: map[string]string{"branch": "trunk"}, want: []string{ciRun, rollback}},
		"another branch, rollback of main": {event: dispatch("ci.yml", "main", map[string]any{"rollback": true}), history: "dispatch", caller: map[string]string{"branch": "trunk"}, want: []string{ciRun}},

		"a check fails":     {event: push("main"), history: "everything", checks: "fail", want: []string{ciRun, checked + "exit -> failure"}},
		"no check is made":  {event: push("main"), history: "everything", fates: fails("check/Check", "failure"), want: []string{ciRun, "check [contents:read]: check -> failure"}},
		"a plan fails":      {event: push("main"), history: "everything", fates: fails("plan (production)/Plan", "failure"), want: []string{ciRun, check, "plan (production) [contents:read id-token:write] as plan role for production: plan -> failure", deploy + "publish, deploy"}},
		"publishing fails":  {event: push("main"), history: "code", fates: fails("deploy/Publish", "failure"), want: []string{ciRun, check, deploy + "publish, status -> failure"}},
		"a deploy fails":    {event: push("main"), history: "code", fates: fails("deploy/Deploy", "failure"), want: []string{ciRun, check, deploy + "publish, deploy, status -> failure"}},
		"check cancelled":   {event: push("main"), history: "everything", fates: fails("check/Check", "cancelled"), want: []string{ciRun, "check [contents:read]: check -> cancelled"}},
		"publish cancelled": {event: push("main"), history: "code", fates: fails("deploy/Publish", "cancelled"), want: []string{ciRun, check, deploy + "publish -> cancelled"}},
		"deploy cancelled":  {event: push("main"), history: "code", fates: fails("deploy/Deploy", "cancelled"), want: []string{ciRun, check, deploy + "publish, deploy, rollback -> cancelled"}},
		"deploy cancelled, and what puts it back fails": {
			event: push("main"), history: "code", fates: fails("deploy/Deploy", "cancelled", "deploy/Put back what was cancelled", "failure"),
			want: []string{ciRun, check, deploy + "publish, deploy, rollback, status -> cancelled"},
		},

		"a pause, approved":       {event: push("main"), history: "code", vars: pausing(vars, "production"), want: []string{ciRun, check, deploy + "publish, deploy", approved, resume}},
		"a pause, rejected":       {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("approve/Approved", "failure"), want: []string{ciRun, check, deploy + "publish, deploy", approved + " -> failure", abort}},
		"a pause, cancelled":      {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("approve/Approved", "cancelled"), want: []string{ciRun, check, deploy + "publish, deploy", approved + " -> cancelled", abort}},
		"a pause, abort fails":    {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("approve/Approved", "failure", "abort/Abort", "failure"), want: []string{ciRun, check, deploy + "publish, deploy", approved + " -> failure", abort + ", status -> failure"}},
		"a pause, continue fails": {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("continue/Continue", "failure"), want: []string{ciRun, check, deploy + "publish, deploy", approved, resume + ", status -> failure"}},
		"continue cancelled":      {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("continue/Continue", "cancelled"), want: []string{ciRun, check, deploy + "publish, deploy", approved, resume + ", rollback -> cancelled"}},
		"cancelled before it continues": { // ECS restores at the limit of the pause
			event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("continue/", "cancelled"),
			want: []string{ciRun, check, deploy + "publish, deploy", approved, strings.TrimSuffix(resume, ": continue") + ":  -> cancelled"},
		},
		"no pause, a deploy fails": {event: push("main"), history: "code", vars: pausing(vars, "production"), fates: fails("deploy/Deploy", "failure"), want: []string{ciRun, check, deploy + "publish, deploy, status -> failure"}},

		"request, code":               {event: request("opened", own, false), history: "code", want: []string{requestCI, check}},
		"request, docs only":          {event: request("synchronize", own, false), history: "docs", want: []string{requestCI, check}},
		"request, terraform":          {event: request("synchronize", own, false), history: "terraform", want: []string{requestCI, check, planRequest, comment}},
		"request, reopened":           {event: request("reopened", own, false), history: "everything", want: []string{requestCI, check, planRequest, comment}},
		"request, no changes planned": {event: request("opened", own, false), history: "everything", plan: "changes nothing", want: []string{requestCI, check, planRequest, comment}},
		"request, draft":              {event: request("opened", own, true), history: "everything", want: []string{requestCI, check}},
		"request, no draft any more":  {event: request("ready_for_review", own, false), history: "everything", want: []string{requestCI, check, planRequest, comment}},
		"request, a check fails":      {event: request("opened", own, false), history: "everything", checks: "fail", want: []string{requestCI, checked + "exit -> failure"}},
		"request, labelled":           {event: request("labeled", own, false), history: "everything"},
		"request, plan fails":         {event: request("opened", own, false), history: "everything", fates: fails("plan (production)/Plan", "failure"), want: []string{requestCI, check, "plan (production) [contents:read id-token:write] as plan role for production: plan -> failure"}},
		"request from a fork":         {event: request("opened", fork, false), history: "everything", want: []string{requestCI, check}},
		"draft from a fork":           {event: request("opened", fork, true), history: "everything", want: []string{requestCI, check}},
		"request from a fork of old":  {event: request("opened", "", false), history: "everything", want: []string{requestCI, check}},

		"dispatch":                            {event: dispatch("ci.yml", "main", nil), history: "dispatch", want: []string{ciRun, check, plan}},
		"dispatch, apply":                     {event: dispatch("ci.yml", "main", applying), history: "dispatch", want: []string{ciRun, check, planToApply, apply}},
		"dispatch, apply, no changes planned": {event: dispatch("ci.yml", "main", applying), history: "dispatch", plan: "changes nothing", want: []string{ciRun, check, planToApply}},
		"dispatch, apply, a check fails":      {event: dispatch("ci.yml", "main", applying), history: "dispatch", checks: "fail", want: []string{ciRun, checked + "exit -> failure"}},
		"dispatch, apply, public repository": {
			event: public(dispatch("ci.yml", "main", applying)), history: "dispatch",
			want: []string{ciRun, check, "plan (production) [contents:read id-token:write] as plan role for production: exit -> failure"},
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

		"schedule of drift":           {event: workflow.Event{Name: "schedule", Workflow: "drift.yml", Ref: "refs/heads/main"}, want: []string{driftRun, environments, drift, issue}},
		"schedule of drift, none":     {event: workflow.Event{Name: "schedule", Workflow: "drift.yml", Ref: "refs/heads/main"}, plan: "changes nothing", want: []string{driftRun, environments, looked}},
		"schedule of drift, it fails": {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, fates: fails("drift (production)/Look for drift", "failure"), want: []string{driftRun, environments, "drift (production) [contents:read id-token:write] as plan role for production: plan -> failure"}},
		"dispatch of drift":           {event: dispatch("drift.yml", "main", nil), want: []string{driftRun, environments, drift, issue}},
		"schedule of lock":            {event: workflow.Event{Name: "schedule", Workflow: "lock.yml"}, want: []string{lockRun, renew, propose}},
		"dispatch of lock":            {event: dispatch("lock.yml", "main", nil), want: []string{lockRun, renew, propose}},

		"several, push":              {event: push("main"), history: "code", vars: several, want: []string{ciRun, check, deployStaging + "publish, deploy", promote}},
		"several, push, terraform":   {event: push("main"), history: "terraform", vars: several, want: []string{ciRun, check, plan, planStaging}},
		"several, push, both":        {event: push("main"), history: "everything", vars: several, want: []string{ciRun, check, plan, planStaging, deployStaging + "publish, deploy", promote}},
		"several, push, docs only":   {event: push("main"), history: "docs", vars: several, want: []string{ciRun, check}},
		"several, push to a branch":  {event: push("feature"), history: "everything", vars: several},
		"several, staging fails":     {event: push("main"), history: "code", vars: several, fates: fails("deploy/Deploy", "failure"), want: []string{ciRun, check, deployStaging + "publish, deploy, status -> failure"}},
		"several, staging cancelled": {event: push("main"), history: "code", vars: several, fates: fails("deploy/Deploy", "cancelled"), want: []string{ciRun, check, deployStaging + "publish, deploy, rollback -> cancelled"}},
		"several, a promotion fails": {event: push("main"), history: "code", vars: several, fates: fails("promote (production)/Promote", "failure"), want: []string{ciRun, check, deployStaging + "publish, deploy", promote + ", status -> failure"}},
		"several, cancelled before the promotion": {
			event: push("main"), history: "code", vars: several, fates: fails("promote (production)/", "cancelled"),
			want: []string{ciRun, check, deployStaging + "publish, deploy", strings.TrimSuffix(promote, ": promote") + ":  -> cancelled"},
		},
		"several, a promotion cancelled": {event: push("main"), history: "code", vars: several, fates: fails("promote (production)/Promote", "cancelled"), want: []string{ciRun, check, deployStaging + "publish, deploy", promote + ", rollback -> cancelled"}},
		"several, a pause":               {event: push("main"), history: "code", vars: pausing(several, "production"), want: []string{ciRun, check, deployStaging + "publish, deploy", promote, approved, resume}},
		"several, a pause, rejected":     {event: push("main"), history: "code", vars: pausing(several, "production"), fates: fails("approve/Approved", "failure"), want: []string{ciRun, check, deployStaging + "publish, deploy", promote, approved + " -> failure", abort}},
		"several, staging pauses":        {event: push("main"), history: "code", vars: pausing(several, "staging"), want: []string{ciRun, check, deployStaging + "publish, deploy", approvedStaging, resumeStaging}},
		"staging alone":                  {event: push("main"), history: "code", vars: several, tree: "staging", want: []string{ciRun, check, deployStaging + "publish, deploy"}},
		"one with a file":                {event: push("main"), history: "code", vars: vars, tree: "production", want: []string{ciRun, check, deploy + "publish, deploy"}},
		"neither staging nor production": {event: push("main"), history: "code", vars: several, tree: "blue green", want: []string{ciRun, check}},

		"several, request":                       {event: request("opened", own, false), history: "code", vars: several, want: []string{requestCI, check}},
		"several, request, terraform":            {event: request("opened", own, false), history: "terraform", vars: several, want: []string{requestCI, check, planRequest, planStagingRequest, comment}},
		"several, request, a plan fails":         {event: request("opened", own, false), history: "terraform", vars: several, fates: fails("plan (staging)/Plan", "failure"), want: []string{requestCI, check, planRequest, "plan (staging) [contents:read id-token:write] as staging's plan role for staging: plan -> failure"}},
		"several, request from a fork":           {event: request("opened", fork, false), history: "everything", vars: several, want: []string{requestCI, check}},
		"previews, request, code":                {event: request("opened", own, false), history: "code", vars: previews, want: []string{requestCI, check, preview, comment}},
		"previews, request, everything":          {event: request("synchronize", own, false), history: "everything", vars: previews, want: []string{requestCI, check, planRequest, planStagingRequest, preview, comment}},
		"previews, request, terraform":           {event: request("synchronize", own, false), history: "terraform", vars: previews, want: []string{requestCI, check, planRequest, planStagingRequest, comment}},
		"previews, request, docs only":           {event: request("opened", own, false), history: "docs", vars: previews, want: []string{requestCI, check}},
		"previews, draft":                        {event: request("opened", own, true), history: "code", vars: previews, want: []string{requestCI, check}},
		"previews, a check fails":                {event: request("opened", own, false), history: "code", vars: previews, checks: "fail", want: []string{requestCI, checked + "exit -> failure"}},
		"previews, one fails":                    {event: request("opened", own, false), history: "everything", vars: previews, fates: fails("preview/Preview", "failure"), want: []string{requestCI, check, planRequest, planStagingRequest, "preview [contents:read id-token:write] as preview role for staging: preview-up -> failure"}},
		"previews, one cancelled":                {event: request("opened", own, false), history: "code", vars: previews, fates: fails("preview/Preview", "cancelled"), want: []string{requestCI, check, "preview [contents:read id-token:write] as preview role for staging: preview-up -> cancelled"}},
		"previews, one cancelled after plans":    {event: request("opened", own, false), history: "everything", vars: previews, fates: fails("preview/Preview", "cancelled"), want: []string{requestCI, check, planRequest, planStagingRequest, "preview [contents:read id-token:write] as preview role for staging: preview-up -> cancelled"}},
		"previews, request from a fork":          {event: request("opened", fork, false), history: "everything", vars: previews, want: []string{requestCI, check}},
		"previews, request from a fork of old":   {event: request("opened", "", false), history: "everything", vars: previews, want: []string{requestCI, check}},
		"previews, push":                         {event: push("main"), history: "code", vars: previews, want: []string{ciRun, check, deployStaging + "publish, deploy", promote}},
		"previews, dispatch of a branch":         {event: dispatch("ci.yml", "feature", nil), history: "dispatch", vars: previews, want: []string{ciRun, check}},
		"a request is closed":                    {event: request("closed", own, false), want: []string{closed}},
		"several, a request is closed":           {event: request("closed", own, false), vars: several, want: []string{closed}},
		"previews, a request is closed":          {event: request("closed", own, false), vars: previews, want: []string{"preview.yml, group ci-7, the next run cancels it", remove}},
		"previews, a draft is closed":            {event: request("closed", own, true), vars: previews, want: []string{"preview.yml, group ci-7, the next run cancels it", remove}},
		"previews, a fork's is closed":           {event: request("closed", fork, false), vars: previews, want: []string{"preview.yml, group ci-7, the next run cancels it"}},
		"previews, schedule":                     {event: workflow.Event{Name: "schedule", Workflow: "preview.yml"}, vars: previews, want: []string{"preview.yml, group ci-sweep, the next run cancels it", sweep}},
		"previews, dispatch of the sweep":        {event: dispatch("preview.yml", "main", nil), vars: previews, want: []string{"preview.yml, group ci-sweep, the next run cancels it", sweep}},
		"schedule of previews, where none are":   {event: workflow.Event{Name: "schedule", Workflow: "preview.yml"}, vars: several, want: []string{"preview.yml, group previews-sweep, the next run cancels it"}},
		"several, dispatch":                      {event: dispatch("ci.yml", "main", nil), history: "dispatch", vars: several, want: []string{ciRun, check, plan}},
		"several, dispatch of staging":           {event: dispatch("ci.yml", "main", in("staging")), history: "dispatch", vars: several, want: []string{ciRun, check, planStaging}},
		"several, dispatch of none":              {event: dispatch("ci.yml", "main", in("")), history: "dispatch", vars: several, want: []string{ciRun, check, plan, planStaging}},
		"several, dispatch of another":           {event: dispatch("ci.yml", "main", in("stagin")), history: "dispatch", vars: several, want: []string{ciRun, check + " -> failure"}},
		"several, apply":                         {event: dispatch("ci.yml", "main", in("production", "run_apply")), history: "dispatch", vars: several, want: []string{ciRun, check, planToApply, apply}},
		"several, apply staging":                 {event: dispatch("ci.yml", "main", in("staging", "run_apply")), history: "dispatch", vars: several, want: []string{ciRun, check, planStaging + ", keep plan", applyStaging}},
		"several, apply staging, no changes":     {event: dispatch("ci.yml", "main", in("staging", "run_apply")), history: "dispatch", vars: several, plan: "production", want: []string{ciRun, check, planStaging + ", keep plan"}},
		"several, roll back":                     {event: dispatch("ci.yml", "main", in("production", "rollback")), history: "dispatch", vars: several, want: []string{ciRun, rollback}},
		"several, roll back staging":             {event: dispatch("ci.yml", "main", in("staging", "rollback")), history: "dispatch", vars: several, want: []string{ciRun, rollbackStaging}},
		"several, roll back staging of a branch": {event: dispatch("ci.yml", "feature", in("staging", "rollback")), history: "dispatch", vars: several, want: []string{ciRun}},
		"several, drift":                         {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, want: []string{driftRun, environments, drift, lookedStag + ", keep drift-staging", issue}},
		"several, drift of the first":            {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, plan: "production", want: []string{driftRun, environments, drift, lookedStag, issue}},
		"several, drift of the last":             {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, plan: "staging", want: []string{driftRun, environments, looked, lookedStag + ", keep drift-staging", issue}},
		"several, no drift":                      {event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, plan: "changes nothing", want: []string{driftRun, environments, looked, lookedStag}},
		"several, drift, one fails": {
			event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, fates: fails("drift (staging)/Look for drift", "failure"),
			want: []string{driftRun, environments, drift, "drift (staging) [contents:read id-token:write] as staging's plan role for staging: plan -> failure", issue},
		},
		"several, drift, one cancelled": {
			event: workflow.Event{Name: "schedule", Workflow: "drift.yml"}, vars: several, fates: fails("drift (staging)/Look for drift", "cancelled"),
			want: []string{driftRun, environments, drift, "drift (staging) [contents:read id-token:write] as staging's plan role for staging: plan -> cancelled"},
		},

		"what others could send":  {event: workflow.Event{Name: "pull_request_target", Ref: "refs/heads/main"}},
		"a comment on a request":  {event: workflow.Event{Name: "issue_comment", Ref: "refs/heads/main"}},
		"a run of something else": {event: workflow.Event{Name: "workflow_run", Ref: "refs/heads/main"}},
	}
}

// start computes the result of an event.
func (h happening) start(set workflow.Set, all map[string]pushEvent) ([]string, error) {
	return h.startAt("", set, all)
}

// startAt computes the result of an event in a repository that uses a release of the pipeline.
func (h happening) startAt(release string, set workflow.Set, all map[string]pushEvent) ([]string, error) {
	given, tree := h.vars, h.tree
	if given == nil {
		given = vars
	}
	w := &world{release: release, source: h.source, differ: h.builds == "differ", history: all[h.history], changes: map[string]bool{}, fail: h.checks == "fail", fates: h.fates, roles: map[string]string{}, stored: map[string]bool{}}
	for name := range strings.FieldsSeq(cmp.Or(tree, strings.Join(slices.Sorted(maps.Keys(given)), " "))) {
		w.all = append(w.all, platform.Environment{Name: name})
	}
	if len(w.all) == 0 {
		w.all = []platform.Environment{{Name: platform.Production}}
	}
	for _, e := range w.all {
		w.changes[e.Name] = h.plan == "" || h.plan == e.Name
	}
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
	e.Payload, e.With = payload, h.caller
	runs, err := set.Start(e, given, w)
	return w.tell(runs), err
}

func TestEvents(t *testing.T) {
	set, err := workflow.Read(root())
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
	set, err := workflow.Read(root())
	require.NoError(t, err)
	all := pushEvents(t)
	delete(all, "dispatch") // has no commit to compare with, like every pull request
	for name := range all {
		for _, action := range []string{"opened", "synchronize", "reopened", "ready_for_review"} {
			for _, given := range []map[string]map[string]string{vars, several, previews} {
				h := happening{event: request(action, "mallory/shop", false), history: name, vars: given}
				got, err := h.start(set, all)
				require.NoError(t, err)
				require.Equal(t, []string{requestCI, check}, got, fmt.Sprint(name, " ", action))
			}
		}
	}
}
