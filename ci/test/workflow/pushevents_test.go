package workflow_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/changes"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// root returns the root of this repository. Of the pipeline's module, tests read only the files
// with the functions.
func root() string {
	return sourcetest.Root(".github", source.FilesOf("ci"), "terraform", "dagger.json")
}

// vars are the variables of a repository with one environment.
var vars = map[string]map[string]string{"": {
	"AWS_DEPLOY_ROLE": "deploy role", "AWS_PLAN_ROLE": "plan role", "AWS_APPLY_ROLE": "apply role", "TF_STATE_BUCKET": "bucket",
}}

// several are those of a repository with several environments, each with its own roles.
var several = map[string]map[string]string{
	"":           {"AWS_PLAN_ROLE": "plan role", "AWS_PLAN_ROLE_STAGING": "staging's plan role"},
	"production": {"AWS_DEPLOY_ROLE": "deploy role", "AWS_APPLY_ROLE": "apply role", "AWS_FROM_ROLE": "role that reads staging"},
	"staging":    {"AWS_DEPLOY_ROLE": "staging's deploy role", "AWS_APPLY_ROLE": "staging's apply role"},
}

// previews are those of a repository that has previews, too.
var previews = map[string]map[string]string{
	"":           {"AWS_PLAN_ROLE": "plan role", "AWS_PLAN_ROLE_STAGING": "staging's plan role", "AWS_PREVIEW_ROLE": "preview role", "PREVIEW_DOMAIN": "preview.example.com"},
	"production": several["production"],
	"staging":    several["staging"],
}

// pausing returns the variables with a pause in one environment.
func pausing(of map[string]map[string]string, environment string) map[string]map[string]string {
	all := maps.Clone(of)
	all[environment] = maps.Clone(of[environment])
	if all[environment] == nil {
		all[environment] = map[string]string{}
	}
	maps.Copy(all[environment], map[string]string{"PAUSE_AT": "post-test-traffic-shift", "PAUSE_LIMIT": "4h"})
	return all
}

// pushEvent has the commit that GitHub names as the previous one, and the pipeline's
// outputs for the difference.
type pushEvent struct{ since, outputs string }

// pushEvents creates every kind of history in real repositories and runs the pipeline's
// change detection on each.
func pushEvents(t testing.TB) map[string]pushEvent {
	dir := sourcetest.New(t)
	git := func(args ...string) string { return strings.TrimSpace(sourcetest.Git(t, dir, args...)) }
	p, err := platform.Load(dir)
	require.NoError(t, err)
	all := map[string]pushEvent{}
	ask := func(name, since string) {
		c, err := changes.Since(t.Context(), source.Tree{Dir: dir}, p, since)
		require.NoError(t, err)
		all[name] = pushEvent{since, c.Outputs()}
	}
	commit := func(file string) string {
		sourcetest.Write(t, dir, file, "changed")
		sourcetest.Commit(t, dir, file)
		return git("rev-parse", "HEAD")
	}
	first := git("rev-parse", "HEAD")
	ask("first push", strings.Repeat("0", 40))
	ask("dispatch", "")
	code := commit("api/handler.go")
	ask("code", first)
	docs := commit("README.md")
	ask("docs", code)
	commit("terraform/alb.tf")
	ask("terraform", docs)
	ask("everything", first)
	ask("force push, commit gone", strings.Repeat("ab", 20))

	// The branch was at the commit with terraform/alb.tf before.
	before := git("rev-parse", "HEAD")
	git("reset", "-q", "--hard", docs)
	ask("force push, commit known", before)

	git("checkout", "-q", "-b", "side", first)
	commit("terraform/vpc.tf")
	git("checkout", "-q", "main")
	git("merge", "-q", "--no-ff", "-m", "merge", "side")
	ask("merge", docs)
	return all
}

// world simulates GitHub, a runner and an account, as far as workflows depend on them.
type world struct {
	differ  bool   // whether two builds of a release differ
	release string // of the pipeline, which ci.yml calls; "" for that of the tree
	source  string // folder with the services; "" for the root
	history pushEvent
	all     []platform.Environment      // of the tree
	changes map[string]bool             // whether plans have changes, by environment
	fail    bool                        // whether checks fail
	fates   map[string]workflow.Outcome // of steps that do not succeed, by "job/name"
	roles   map[string]string           // by job, with the environment that they are for
	stored  map[string]bool             // artifacts
}

// withoutSource are commands that read no source tree.
var withoutSource = []string{"gh pr comment", "gh issue list", "exit"}

func (w *world) Run(s workflow.Step) (workflow.Outcome, map[string]string) {
	s.Job = strings.TrimPrefix(s.Job, delivering)
	if role := s.Env["AWS_ROLE"]; role != "" {
		w.roles[s.Job] = role + " for " + s.Env["ENVIRONMENT"]
	}
	if fate := w.fates[s.Job+"/"+s.Name]; fate != "" {
		return fate, nil
	}
	switch {
	case s.Name == "Approved": // the reviewers, in fact
		return workflow.Success, nil
	case s.Function == "exit":
		return workflow.Failure, nil
	case s.Function != "" && s.Env["SOURCE"] != w.source && !slices.Contains(withoutSource, s.Function):
		return workflow.Failure, nil
	case s.Function == "changes" && s.Env["SINCE"] != w.history.since:
		return workflow.Failure, nil
	case s.Function == "changes":
		return workflow.Success, lines(w.history.outputs)
	case s.Function == "environments":
		if name := s.Env["ENVIRONMENT"]; name != "" && !slices.ContainsFunc(w.all, func(e platform.Environment) bool { return e.Name == name }) {
			return workflow.Failure, nil
		}
		found, err := changes.ForWorkflow(w.all, s.Env["ENVIRONMENT"]).Outputs()
		if err != nil {
			return workflow.Failure, nil
		}
		return workflow.Success, lines(found)
	case (s.Function == "deploy" || s.Function == "promote") && s.Env["IDENTITY"] != w.identity():
		return workflow.Failure, nil
	case s.Uses == "actions/checkout" && s.With["path"] != "" && s.With["repository"]+"@"+s.With["ref"] != w.pipeline():
		return workflow.Failure, nil
	case s.Function == "promote" && (s.Env["FROM"] != "staging" || s.Env["FROM_ROLE"] != "role that reads staging"):
		return workflow.Failure, nil
	case s.Env["PAUSE_AT"] == "" && s.Env["PAUSE_LIMIT"] != "":
		return workflow.Failure, nil
	case s.Env["PAUSE_AT"] != "" && s.Env["PAUSE_LIMIT"] == "4h":
		return workflow.Success, map[string]string{"result": "paused"}
	case s.Function == "preview-up" && s.Env["DOMAIN"] != "preview.example.com":
		return workflow.Failure, nil
	case strings.HasPrefix(s.Function, "preview-") && s.Function != "preview-sweep" && s.Env["PULL_REQUEST"] != "7":
		return workflow.Failure, nil
	case s.ID == "outputs" && (s.Job == "build" || s.Job == "again"):
		return workflow.Success, map[string]string{"digest": map[bool]string{true: s.Job, false: "same"}[w.differ]}
	case s.Function == "release-image" && s.Env["REGISTRY_TOKEN"] != "github-token":
		return workflow.Failure, nil
	case s.ID == "check":
		result := map[bool]string{true: "failed", false: "succeeded"}[w.fail]
		return workflow.Success, map[string]string{"result": result}
	case s.ID == "outputs":
		return workflow.Success, map[string]string{"changes": fmt.Sprint(w.changes[s.Env["ENVIRONMENT"]])}
	case s.Uses == "actions/upload-artifact":
		w.stored[s.With["name"]] = true
		return workflow.Success, map[string]string{"artifact-id": s.With["name"]}
	case s.Uses == "actions/download-artifact" && !w.finds(s.With["name"]+s.With["artifact-ids"]+s.With["pattern"]):
		return workflow.Failure, nil
	case s.Function == "gh issue list":
		return workflow.Success, map[string]string{"number": "12"}
	case strings.HasSuffix(s.Uses, "/create-issue-from-file") && s.With["issue-number"] != "12":
		return workflow.Failure, nil
	case s.Name == "Comment" && (s.Env["PULL_REQUEST"] != "7" || s.Env["GH_TOKEN"] != "github-token"):
		return workflow.Failure, nil
	}
	return workflow.Success, nil
}

// identity returns the identity that signed the images: that of the workflow with the job,
// called from acme/shop.
func (w *world) identity() string {
	own := "acme/shop/.github/workflows/deliver.yml@refs/heads/main"
	if w.release != "" {
		own = "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/" + w.release
	}
	return "https://github.com/" + own + "?repository=acme/shop&ref=refs/heads/main"
}

// pipeline returns the checkout of the pipeline.
func (w *world) pipeline() string {
	if w.release != "" {
		return "slipway-cd/slipway@sha of slipway-cd/slipway"
	}
	return "acme/shop@sha of acme/shop"
}

// finds reports whether an artifact was stored.
func (w *world) finds(pattern string) bool {
	for name := range w.stored {
		if matches, err := path.Match(pattern, name); err == nil && matches {
			return true
		}
	}
	return false
}

// lines parses a file of GitHub's outputs.
func lines(file string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(file) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[name] = value
	}
	return all
}

// tell returns the result of an event, one line per run and job.
func (w *world) tell(runs []workflow.Run) []string {
	var all []string
	for _, run := range runs {
		line := fmt.Sprintf("%s, group %s", run.Workflow, run.Group)
		if run.Cancels {
			line += ", the next run cancels it"
		}
		all = append(all, line)
		for _, job := range run.Jobs {
			job.Name = strings.TrimPrefix(job.Name, delivering)
			line := fmt.Sprintf("%s [%s]", job.Name, job.PermissionsText())
			if role := w.roles[job.Name]; role != "" {
				line += " as " + role
			}
			if job.Environment != "" {
				line += " in " + job.Environment
			}
			if job.Group != "" {
				line += ", one at a time in " + job.Group
			}
			line += ": " + strings.Join(job.Did, ", ")
			if job.Outcome != workflow.Success {
				line += " -> " + string(job.Outcome)
			}
			all = append(all, line)
		}
	}
	return all
}
