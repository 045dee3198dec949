package workflow

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"

	slipway "github.com/slipway-cd/slipway/ci/internal/version"
)

var (
	pinned = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._/-]+@[0-9a-f]{40}$`)
	local  = regexp.MustCompile(`^\./\.github/workflows/[a-z-]+\.yml$`)
	// released is a workflow of a release of the pipeline, in a repository that uses it.
	released = regexp.MustCompile(`^` + regexp.QuoteMeta(strings.TrimPrefix(slipway.Repository, "github.com/")) + `/\.github/workflows/[a-z-]+\.yml@v\d+\.\d+\.\d+$`)
	version  = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)
)

const (
	checkoutAction = "actions/checkout"
	uploadAction   = "actions/upload-artifact"
	// setupAction is Setup in the checkout of the pipeline, which is of the workflow's own
	// commit: a called workflow has its caller's checkout.
	setupAction = "./" + pipelinePath + "/" + Setup
	// releaseAction is ReleaseSetup in a checkout of the pipeline's own repository.
	releaseAction = "./" + ReleaseSetup
	// pipelinePath is below a folder that git and the pipeline ignore.
	pipelinePath = ".slipway/pipeline"
)

const (
	longestJob       = 60 // minutes
	longestRetention = 14 // days
)

// triggers are the events that may start a workflow. Events that run with the
// repository's permissions on content from others are not allowed.
var triggers = []string{"push", "pull_request", "workflow_dispatch", "workflow_call", "schedule"}

// Functions of the module that run unreviewed code or dependencies, functions that change
// an environment, and those of them that release.
var (
	unreviewed = []string{"check", "test", "lint", "fmt", "validate", "build", "rehearse"}
	changing   = append([]string{"apply"}, releasing...)
	releasing  = []string{"deploy", "promote", "continue", "abort", "rollback"}
)

// roles has the functions for which a job may assume the role of each variable.
var roles = map[string][]string{
	"AWS_DEPLOY_ROLE":  append([]string{"publish", "status"}, releasing...),
	"AWS_APPLY_ROLE":   {"apply"},
	"AWS_PLAN_ROLE":    {"plan"},
	"AWS_PREVIEW_ROLE": {"preview-up", "preview-down", "preview-sweep"},
}

// ofEnvironment are the variables of GitHub environments: a job uses them only in one.
var ofEnvironment = []string{"AWS_DEPLOY_ROLE", "AWS_APPLY_ROLE", "AWS_FROM_ROLE"}

// Check returns violations of the rules for workflows. Most are from
// https://docs.github.com/en/actions/reference/security/secure-use; each finding gives
// the reason of its rule.
func (s Set) Check() []Finding {
	c := &checker{set: s, pins: map[string]string{}}
	for _, w := range s {
		c.workflow = w
		c.top()
		for _, job := range w.jobs() {
			c.job(job)
		}
	}
	return c.findings
}

type checker struct {
	set      Set
	workflow Workflow
	pins     map[string]string // action to version
	findings []Finding
}

func (c *checker) add(pos *actionlint.Pos, format string, args ...any) {
	line := 1
	if pos != nil {
		line = pos.Line
	}
	c.findings = append(c.findings, Finding{c.workflow.Name, line, fmt.Sprintf(format, args...)})
}

func (c *checker) top() {
	w := c.workflow.syntax
	if p := w.Permissions; p == nil || p.All != nil || len(p.Scopes) > 0 {
		c.add(nil, "permissions: {} at the top, so that a job has only what it lists itself")
	}
	called := false
	for _, on := range w.On {
		called = called || on.EventName() == "workflow_call"
		if !slices.Contains(triggers, on.EventName()) {
			c.add(nil, "%s is no event that a workflow here may be started by: it gives the repository's rights to what others send", on.EventName())
		}
	}
	if w.Concurrency == nil && !called {
		c.add(nil, "a concurrency group, so that runs do not pile up")
	}
	if w.Env != nil {
		c.add(nil, "env belongs to the job or step that needs it")
	}
}

func (c *checker) job(job *actionlint.Job) {
	c.condition(job.If)
	if p := job.Permissions; p == nil || p.All != nil {
		c.add(job.Pos, "job %s lists its permissions one by one", job.ID.Value)
	}
	if job.WorkflowCall != nil {
		if uses := text(job.WorkflowCall.Uses); !local.MatchString(uses) && !released.MatchString(uses) {
			c.add(job.Pos, "job %s calls a workflow of this repository, by its path, or of a release of the pipeline", job.ID.Value)
		}
		c.called(job)
		if job.WorkflowCall.InheritSecrets || len(job.WorkflowCall.Secrets) > 0 {
			c.add(job.Pos, "job %s hands on no secrets", job.ID.Value)
		}
		return
	}
	if t := job.TimeoutMinutes; t == nil || t.Value <= 0 || t.Value > longestJob {
		c.add(job.Pos, "job %s has timeout-minutes of at most %d: GitHub's own limit is six hours", job.ID.Value, longestJob)
	}
	if job.RunsOn == nil || job.RunsOn.LabelsExpr != nil || slices.ContainsFunc(job.RunsOn.Labels, func(l *actionlint.String) bool {
		return strings.Contains(l.Value, "latest") || strings.Contains(l.Value, "${{")
	}) {
		c.add(job.Pos, "job %s names its runner's version: latest changes under it", job.ID.Value)
	}
	if job.ContinueOnError != nil {
		c.add(job.Pos, "job %s: continue-on-error hides failures", job.ID.Value)
	}
	c.secrets(job.Env)
	var functions []string
	for n, step := range job.Steps {
		functions = append(functions, c.step(job, step)...)
		c.setup(step, job.Steps[:n])
	}
	c.permissions(job, functions)
	c.environment(job, functions)
}

// environment checks that a job of an environment is for no other one, and that each role
// is assumed for its own functions only.
func (c *checker) environment(job *actionlint.Job, functions []string) {
	values := value(job.Env, "AWS_ROLE")
	for _, step := range job.Steps {
		values += value(step.Env, "FROM_ROLE")
	}
	name := ""
	if job.Environment != nil {
		name = text(job.Environment.Name)
	}
	if slices.ContainsFunc(ofEnvironment, func(role string) bool { return strings.Contains(values, role) }) && name == "" {
		c.add(job.Pos, "job %s assumes a role of an environment, so it is in that environment", job.ID.Value)
	}
	calls := slices.ContainsFunc(functions, func(f string) bool { return f != "" })
	if name != "" && calls && value(job.Env, "ENVIRONMENT") != name {
		c.add(job.Pos, "job %s is in the environment %s, so ENVIRONMENT is that, and no other", job.ID.Value, name)
	}
	for role, own := range roles {
		for _, f := range functions {
			if f != "" && strings.Contains(value(job.Env, "AWS_ROLE"), role) && !slices.Contains(own, f) {
				c.add(job.Pos, "job %s runs %s in the role %s, which is for %s", job.ID.Value, f, role, strings.Join(own, ", "))
			}
		}
	}
}

// value returns the value of a variable, or "".
func value(env *actionlint.Env, name string) string {
	if !defines(env, name) {
		return ""
	}
	return text(env.Vars[strings.ToLower(name)].Value)
}

// called checks that a job gives a called workflow the permissions that it asks for, and no
// others.
func (c *checker) called(job *actionlint.Job) {
	w := c.set.called(job)
	if w == nil || job.Permissions == nil {
		return
	}
	asked := map[string]string{}
	for _, inner := range w.jobs() {
		if inner.Permissions == nil {
			continue
		}
		for name, scope := range inner.Permissions.Scopes {
			if asked[name] != "write" {
				asked[name] = text(scope.Value)
			}
		}
	}
	for name, scope := range job.Permissions.Scopes {
		if asked[name] != text(scope.Value) {
			c.add(scope.Name.Pos, "job %s gives %s:%s to a workflow that does not ask for it", job.ID.Value, name, text(scope.Value))
		}
		delete(asked, name)
	}
	for name, right := range asked {
		c.add(job.Pos, "job %s calls a workflow that asks for %s:%s: without it GitHub starts no job at all, not even others", job.ID.Value, name, right)
	}
}

// called returns the workflow that a job calls; nil if it is not in the set.
func (s Set) called(job *actionlint.Job) *Workflow {
	name, _, _ := strings.Cut(path.Base(text(job.WorkflowCall.Uses)), "@")
	n := slices.IndexFunc(s, func(w Workflow) bool { return w.Name == name })
	if n < 0 {
		return nil
	}
	return &s[n]
}

// setup checks the steps before a step that needs the pipeline or its commands.
func (c *checker) setup(step *actionlint.Step, before []*actionlint.Step) {
	has := func(is func(*actionlint.Step) bool) bool { return slices.ContainsFunc(before, is) }
	switch exec := step.Exec.(type) {
	case *actionlint.ExecRun:
		command, err := parseCommand(text(exec.Run))
		if err != nil {
			return // reported by [checker.step]
		}
		uses := ""
		if command.set {
			uses = setupAction
		} else if _, releases := ofRelease[command.words[0]]; releases {
			uses = releaseAction
		}
		if uses != "" && !has(func(s *actionlint.Step) bool { return action(s) == uses && s.If == nil }) {
			c.add(exec.Run.Pos, "%s needs the step %s before it", command.short(), uses)
		}
	case *actionlint.ExecAction:
		isCheckout := func(path string) func(*actionlint.Step) bool {
			return func(s *actionlint.Step) bool {
				return strings.HasPrefix(action(s), checkoutAction+"@") && input(s, "path") == path && s.If == nil
			}
		}
		if text(exec.Uses) == releaseAction && !has(isCheckout("")) {
			c.add(exec.Uses.Pos, "%s needs a checkout of the source", releaseAction)
		}
		if text(exec.Uses) == setupAction && (!has(isCheckout("")) || !has(isCheckout(pipelinePath))) {
			c.add(exec.Uses.Pos, "%s needs a checkout of the source, and then of the pipeline in %s", setupAction, pipelinePath)
		}
		if isCheckout("")(step) && has(isCheckout(pipelinePath)) {
			c.add(exec.Uses.Pos, "checkout removes what is in its folder: the source comes before the pipeline")
		}
	}
}

// action returns the action of a step, or "".
func action(step *actionlint.Step) string {
	if exec, ok := step.Exec.(*actionlint.ExecAction); ok {
		return text(exec.Uses)
	}
	return ""
}

// publishesImage reports whether a step publishes the pipeline's own image.
func publishesImage(step *actionlint.Step) bool {
	exec, ok := step.Exec.(*actionlint.ExecRun)
	return ok && strings.HasPrefix(text(exec.Run), "release-image ")
}

// condition checks an "if".
func (c *checker) condition(condition *actionlint.String) {
	if strings.Contains(text(condition), "always()") {
		c.add(condition.Pos, "always() runs on in a cancelled run: take failure(), cancelled() or !cancelled()")
	}
}

// permissions checks a job's functions against its permissions.
func (c *checker) permissions(job *actionlint.Job, functions []string) {
	writes, token := 0, false
	releases := slices.ContainsFunc(functions, func(f string) bool { return slices.Contains(releasing, f) })
	if job.Permissions != nil {
		for name, scope := range job.Permissions.Scopes {
			switch {
			case text(scope.Value) == "write" && name == "id-token":
				token = true
			case text(scope.Value) == "write" && name == "deployments" && releases: // the status of its own one
			case text(scope.Value) == "write" && name == "packages" && slices.ContainsFunc(job.Steps, publishesImage):
			case text(scope.Value) == "write":
				writes++
			}
		}
	}
	runsOurs := slices.ContainsFunc(functions, func(f string) bool { return f != "" })
	if writes > 0 && (token || runsOurs) {
		c.add(job.Pos, "job %s writes to the repository, so it runs nothing of it and has no id-token", job.ID.Value)
	}
	depth := slices.ContainsFunc(job.Steps, func(s *actionlint.Step) bool { return input(s, "fetch-depth") == "0" })
	changes := false
	for _, f := range functions {
		if token && slices.Contains(unreviewed, f) {
			c.add(job.Pos, "job %s runs %s with id-token: whatever a test or a build runs could ask for the cloud's credentials", job.ID.Value, f)
		}
		if f == "changes" && !depth {
			c.add(job.Pos, "job %s compares commits, so it checks out with fetch-depth: 0", job.ID.Value)
		}
		changes = changes || slices.Contains(changing, f)
	}
	if !changes {
		return
	}
	if job.Environment == nil || text(job.Environment.Name) == "" {
		c.add(job.Pos, "job %s changes an environment, so it is in that environment", job.ID.Value)
		return
	}
	if g := job.Concurrency; g == nil || g.CancelInProgress == nil || g.CancelInProgress.Value || g.CancelInProgress.Expression != nil || !strings.HasSuffix(text(g.Group), "-"+text(job.Environment.Name)) {
		c.add(job.Pos, "job %s changes an environment: one at a time, and never cancelled by the next (concurrency group …-%s, cancel-in-progress: false)", job.ID.Value, text(job.Environment.Name))
	}
}

// globShell is the runner's own shell with globstar: dir/**/*.md also has the files in dir.
const globShell = "bash -e -O globstar {0}"

// step checks a step and returns the functions of the module that it runs.
func (c *checker) step(job *actionlint.Job, step *actionlint.Step) []string {
	c.condition(step.If)
	if step.ContinueOnError != nil {
		c.add(step.Pos, "continue-on-error hides failures")
	}
	c.secrets(step.Env)
	switch exec := step.Exec.(type) {
	case *actionlint.ExecRun:
		if exec.Shell != nil && text(exec.Shell) != globShell || exec.WorkingDirectory != nil {
			c.add(step.Pos, "a command runs at the root, in the runner's own shell")
		}
		command, err := parseCommand(text(exec.Run))
		if err != nil {
			c.add(exec.Run.Pos, "%s", err)
			return nil
		}
		for _, variable := range needed(command) {
			if !defines(job.Env, variable) && !defines(step.Env, variable) {
				c.add(exec.Run.Pos, "nobody sets %s, and the command would run with nothing in its place", variable)
			}
		}
		if slices.Contains(releasing, command.function()) && !command.reported {
			c.add(exec.Run.Pos, "%s runs by %s, so that its report is in the summary also if it fails", command.function(), ReleaseScript)
		}
		return []string{command.function()}
	case *actionlint.ExecAction:
		c.action(job, step, exec)
	}
	return nil
}

// needed returns the variables that a command needs, except those that GitHub sets.
func needed(c command) []string {
	all := slices.DeleteFunc(slices.Clone(c.variables), func(name string) bool {
		return strings.HasPrefix(name, "GITHUB_") || strings.HasPrefix(name, "RUNNER_")
	})
	if c.words[0] == "gh" {
		all = append(all, "GH_TOKEN")
	}
	return all
}

// defines reports whether env sets a variable. actionlint has the names in lower case.
func defines(env *actionlint.Env, name string) bool {
	return env != nil && env.Vars[strings.ToLower(name)] != nil
}

func (c *checker) action(job *actionlint.Job, step *actionlint.Step, exec *actionlint.ExecAction) {
	uses := text(exec.Uses)
	_, comment, _ := strings.Cut(c.workflow.lines[job][exec.Uses.Pos.Line-1], " # ")
	switch {
	case uses == setupAction, uses == releaseAction:
		return
	case !pinned.MatchString(uses):
		c.add(exec.Uses.Pos, "%s: an action is pinned by the 40 digits of a commit, for tags move", uses)
	case !version.MatchString(comment):
		c.add(exec.Uses.Pos, "%s: its version follows in a comment, such as # v1.2.3", uses)
	}
	name, commit, _ := strings.Cut(uses, "@")
	if other, known := c.pins[name]; known && other != commit {
		c.add(exec.Uses.Pos, "%s is pinned to another commit elsewhere", name)
	}
	c.pins[name] = commit
	switch name {
	case checkoutAction:
		if input(step, "persist-credentials") != "false" {
			c.add(step.Pos, "checkout leaves the token in .git unless persist-credentials is false")
		}
		from := [3]string{input(step, "repository"), input(step, "ref"), input(step, "path")}
		if from != [3]string{} && from != [3]string{"${{ job.workflow_repository }}", "${{ job.workflow_sha }}", pipelinePath} {
			c.add(step.Pos, "checkout takes the commit that the event is about, and no other but the workflow's own, to %s", pipelinePath)
		}
	case uploadAction:
		c.upload(step)
	case "actions/download-artifact":
		if pattern := input(step, "pattern"); input(step, "name") == "" && input(step, "artifact-ids") == "" && strings.Trim(pattern, "*") == "" {
			c.add(step.Pos, "download-artifact takes every artifact unless it names one")
		}
	case "dagger/dagger-for-github":
		for _, other := range []string{"args", "call", "shell", "verb", "check", "module"} {
			if input(step, other) != "" {
				c.add(step.Pos, "dagger-for-github only installs: it pastes %s into a script", other)
			}
		}
	}
}

func (c *checker) upload(step *actionlint.Step) {
	days, most := input(step, "retention-days"), longestRetention
	if strings.HasSuffix(input(step, "path"), "/plan") {
		most = 1 // it contains secrets
	}
	var n int
	if _, err := fmt.Sscanf(days, "%d", &n); err != nil || n < 1 || n > most {
		c.add(step.Pos, "artifact %s is kept for %d days at most (retention-days)", input(step, "name"), most)
	}
}

// secrets checks that no stored secret is used: roles are assumed, and GitHub's own
// token is github.token.
func (c *checker) secrets(env *actionlint.Env) {
	if env == nil {
		return
	}
	for _, variable := range env.Vars {
		if strings.Contains(text(variable.Value), "secrets.") {
			c.add(variable.Name.Pos, "%s is a stored secret: there are none here, roles are assumed", variable.Name.Value)
		}
	}
}

// input returns an action's input, or "" if it is not set.
func input(step *actionlint.Step, name string) string {
	if exec, ok := step.Exec.(*actionlint.ExecAction); ok && exec.Inputs[name] != nil {
		return text(exec.Inputs[name].Value)
	}
	return ""
}
