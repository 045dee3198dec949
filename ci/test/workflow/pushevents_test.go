package workflow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/changes"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/sourcetest"
	"dagger/slipway/test/workflow"
)

// root is the root of this repository.
var root = sourcetest.Root(".github", "ci", "terraform", "dagger.json")

var vars = map[string]string{
	"AWS_DEPLOY_ROLE": "deploy role", "AWS_PLAN_ROLE": "plan role", "AWS_APPLY_ROLE": "apply role", "TF_STATE_BUCKET": "bucket",
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
	history pushEvent
	changes bool                        // whether plans have changes
	fail    bool                        // whether checks fail
	fates   map[string]workflow.Outcome // of steps that do not succeed, by "job/name"
	roles   map[string]string           // by job
	stored  map[string]bool             // artifacts
}

func (w *world) Run(s workflow.Step) (workflow.Outcome, map[string]string) {
	if role := s.Env["AWS_ROLE"]; role != "" {
		w.roles[s.Job] = role
	}
	if fate := w.fates[s.Job+"/"+s.Name]; fate != "" {
		return fate, nil
	}
	switch {
	case s.Function == "exit":
		return workflow.Failure, nil
	case s.Function == "changes" && s.Env["SINCE"] != w.history.since:
		return workflow.Failure, nil
	case s.Function == "changes":
		return workflow.Success, lines(w.history.outputs)
	case s.ID == "check":
		result := map[bool]string{true: "failed", false: "succeeded"}[w.fail]
		return workflow.Success, map[string]string{"result": result}
	case s.ID == "outputs":
		return workflow.Success, map[string]string{"changes": fmt.Sprint(w.changes)}
	case s.Uses == "actions/upload-artifact":
		w.stored[s.With["name"]] = true
		return workflow.Success, map[string]string{"artifact-id": s.With["name"]}
	case s.Uses == "actions/download-artifact" && !w.stored[s.With["name"]+s.With["artifact-ids"]]:
		return workflow.Failure, nil
	case s.Function == "gh issue list":
		return workflow.Success, map[string]string{"number": "12"}
	case strings.HasSuffix(s.Uses, "/create-issue-from-file") && s.With["issue-number"] != "12":
		return workflow.Failure, nil
	case s.Name == "Comment the plan" && (s.Env["PULL_REQUEST"] != "7" || s.Env["GH_TOKEN"] != "github-token"):
		return workflow.Failure, nil
	}
	return workflow.Success, nil
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
