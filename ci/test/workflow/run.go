package workflow

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"
)

// Event is an event on GitHub.
type Event struct {
	// Name is push, pull_request, workflow_dispatch or schedule. Action is the action
	// of a pull request.
	Name, Action string
	// Ref is the full name of the branch or pull request.
	Ref string
	// Workflow is the file that is dispatched or scheduled.
	Workflow string
	// Payload is the context github.event.
	Payload map[string]any
	// Inputs are the inputs of a dispatch. Missing ones have their defaults.
	Inputs map[string]any
	// With replaces inputs that the started workflow passes to the one that it calls: the
	// choice of a caller. "" is one that the caller leaves out.
	With map[string]string
	// Fork marks a pull request from a fork: GitHub removes the write permissions of
	// its workflows.
	Fork bool
}

// Step is a step before it runs.
type Step struct {
	Job, ID, Name string
	// Uses is the action, without its version. Function is what a command runs: a
	// function of the module, or the command's name.
	Uses, Function string
	With, Env      map[string]string
}

// Outcome is the outcome of a step or a job.
type Outcome string

// The outcomes, with GitHub's names.
const (
	Success   Outcome = "success"
	Failure   Outcome = "failure"
	Cancelled Outcome = "cancelled"
	Skipped   Outcome = "skipped"
)

// Runner runs steps.
type Runner interface {
	// Run runs a step and returns its outputs.
	Run(Step) (Outcome, map[string]string)
}

// Run is a run of one workflow, started by an event.
type Run struct {
	Workflow string
	// Group is the concurrency group. Cancels reports whether a newer run of the group
	// cancels this one.
	Group   string
	Cancels bool
	Jobs    []Job
}

// Job is a job of a run with its permissions.
type Job struct {
	// Name is the job's id. In a called workflow it follows the caller's; the environment
	// of a matrix follows it.
	Name        string
	Outcome     Outcome
	Permissions map[string]string
	Environment string
	Group       string
	// Did are the functions and commands that ran, and the uploaded artifacts, in
	// order.
	Did []string
}

// PermissionsText returns the permissions on one line.
func (j Job) PermissionsText() string {
	var rights []string
	for _, scope := range slices.Sorted(maps.Keys(j.Permissions)) {
		rights = append(rights, scope+":"+j.Permissions[scope])
	}
	return strings.Join(rights, " ")
}

// Start computes the runs that an event starts. vars has the variables of the repository
// at "", and those of GitHub environments by their names.
func (s Set) Start(e Event, vars map[string]map[string]string, runner Runner) ([]Run, error) {
	var runs []Run
	for _, w := range s {
		inputs, starts := w.startedBy(e)
		if !starts {
			continue
		}
		r := &running{set: s, event: e, vars: vars, runner: runner}
		at := scope{contexts: map[string]any{
			"github": map[string]any{
				"event_name": e.Name, "ref": e.Ref, "repository": repository, "run_id": "1001", "event": e.Payload, "token": "github-token",
				"server_url": "https://github.com",
			},
			"inputs": inputs, "vars": anyMap(vars[""]), "runner": map[string]any{"temp": "/temp"},
		}}
		run := Run{Workflow: w.Name}
		if c := w.syntax.Concurrency; c != nil {
			run.Group, run.Cancels = r.text(c.Group, at), c.CancelInProgress != nil && c.CancelInProgress.Value
		}
		run.Jobs, _ = r.workflow(w, at.with("job", identity(repository, w.Name, e.Ref)), "", nil)
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, r.err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// repository is the one that an event is about.
const repository = "acme/shop"

// identity returns the context job, as far as it identifies the workflow file of a job.
func identity(repository, file, ref string) map[string]any {
	return map[string]any{
		"workflow_repository": repository, "workflow_ref": repository + "/" + Dir + "/" + file + "@" + ref, "workflow_sha": "sha of " + repository,
	}
}

// calledIdentity returns the context job in a workflow that one with the context at calls.
func calledIdentity(at scope, uses string) map[string]any {
	caller, _ := at.contexts["job"].(map[string]any)
	file, version, elsewhere := strings.Cut(uses, "@")
	if !elsewhere {
		_, ref, _ := strings.Cut(toString(caller["workflow_ref"]), "@")
		return identity(toString(caller["workflow_repository"]), path.Base(file), ref)
	}
	owner, _, _ := strings.Cut(file, "/.github/")
	return identity(owner, path.Base(file), "refs/tags/"+version)
}

// startedBy reports whether an event starts the workflow, and with which inputs.
func (w Workflow) startedBy(e Event) (map[string]any, bool) {
	for _, on := range w.syntax.On {
		if on.EventName() != e.Name {
			continue
		}
		switch on := on.(type) {
		case *actionlint.ScheduledEvent:
			return nil, e.Workflow == w.Name
		case *actionlint.WorkflowDispatchEvent:
			inputs := map[string]any{}
			for name, input := range on.Inputs {
				inputs[name] = dispatched(input, e.Inputs[name])
			}
			return inputs, e.Workflow == w.Name
		case *actionlint.WebhookEvent:
			if e.Name == "pull_request" && !slices.ContainsFunc(on.Types, func(t *actionlint.String) bool { return t.Value == e.Action }) {
				continue
			}
			if e.Name == "push" && !pushes(on, e.Ref) {
				continue
			}
			return nil, true
		}
	}
	return nil, false
}

// pushes reports whether the push of a ref starts a workflow. With patterns for one kind of
// ref only, the other kind starts nothing.
func pushes(on *actionlint.WebhookEvent, ref string) bool {
	if on.Branches.IsEmpty() && on.Tags.IsEmpty() {
		return true
	}
	patterns, name := on.Branches, strings.TrimPrefix(ref, "refs/heads/")
	if tag, is := strings.CutPrefix(ref, "refs/tags/"); is {
		patterns, name = on.Tags, tag
	}
	return !patterns.IsEmpty() && slices.ContainsFunc(patterns.Values, func(b *actionlint.String) bool { return refPattern(b.Value).MatchString(name) })
}

// refPattern returns a pattern of refs as a regular expression, as far as the workflows use
// them: * is any text without a slash, and + repeats what is before it.
func refPattern(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.NewReplacer(".", `\.`, "*", "[^/]*").Replace(pattern) + "$")
}

// dispatched returns an input's value for the context inputs, converted to its type.
func dispatched(input *actionlint.DispatchInput, given any) any {
	boolean := input.Type == actionlint.WorkflowDispatchEventInputTypeBoolean
	switch {
	case given != nil:
		return given
	case boolean:
		return text(input.Default) == "true"
	}
	return text(input.Default)
}

// running is a run in progress.
type running struct {
	set       Set
	event     Event
	vars      map[string]map[string]string
	runner    Runner
	cancelled bool
	err       error // first error; later results are meaningless
}

func (r *running) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// text interpolates the expressions in a text.
func (r *running) text(source *actionlint.String, at scope) string {
	value, err := at.interpolate(text(source))
	if err != nil {
		r.fail("%w", err)
	}
	return value
}

// holds reports whether a condition holds.
func (r *running) holds(source *actionlint.String, at scope) bool {
	holds, err := at.condition(text(source))
	if err != nil {
		r.fail("%w", err)
	}
	return holds
}

// env returns the variables of env, added to the outer ones.
func (r *running) env(env *actionlint.Env, at scope, outer map[string]string) map[string]string {
	all := maps.Clone(outer)
	if env != nil {
		for _, variable := range env.Vars {
			all[variable.Name.Value] = r.text(variable.Value, at)
		}
	}
	return all
}

// finished is a finished job.
type finished struct {
	outcome Outcome
	outputs map[string]any
	all     status // of the job and all jobs it needed
	jobs    []Job  // itself, or the jobs of the called workflow
}

// workflow runs a workflow's jobs. In a called one, prefix is the caller's name, and
// most are the caller's permissions, which are an upper limit.
func (r *running) workflow(w Workflow, at scope, prefix string, most map[string]string) ([]Job, Outcome) {
	var jobs []Job
	result, done := Success, map[string]*finished{}
	// Reverse order, because the order in the file must not matter.
	for _, job := range slices.Backward(w.jobs()) {
		f := r.job(w, job.ID.Value, at, done, prefix, most)
		jobs = append(slices.Clone(f.jobs), jobs...)
		if f.outcome == Failure || f.outcome == Cancelled {
			result = f.outcome
		}
	}
	return jobs, result
}

// job runs a job after the jobs it needs, or skips it.
func (r *running) job(w Workflow, id string, at scope, done map[string]*finished, prefix string, most map[string]string) *finished {
	if f := done[id]; f != nil {
		return f
	}
	f := &finished{outcome: Skipped, outputs: map[string]any{}, all: status{success: true}}
	done[id] = f
	job := w.syntax.Jobs[strings.ToLower(id)]
	if job == nil {
		r.fail("there is no job %s to need", id)
		return f
	}
	needs := map[string]any{}
	for _, need := range job.Needs {
		n := r.job(w, need.Value, at, done, prefix, most)
		needs[need.Value] = map[string]any{"result": string(n.outcome), "outputs": n.outputs}
		f.all.success, f.all.failure = f.all.success && n.all.success, f.all.failure || n.all.failure
	}
	f.all.cancelled = r.cancelled
	f.all.success = f.all.success && !r.cancelled
	at = at.with("needs", needs)
	if r.holds(job.If, scope{at.contexts, &f.all}) {
		r.execute(w, job, at, f, prefix, most)
	}
	f.all.success, f.all.failure = f.all.success && f.outcome == Success, f.all.failure || f.outcome == Failure
	return f
}

func (r *running) execute(w Workflow, job *actionlint.Job, at scope, f *finished, prefix string, most map[string]string) {
	rights, declared := r.permissions(w, job, most)
	name := prefix + job.ID.Value
	if job.WorkflowCall != nil {
		called := r.set.called(job)
		if called == nil {
			r.fail("there is no workflow %s to call", path.Base(text(job.WorkflowCall.Uses)))
			return
		}
		inner := at.with("inputs", r.inputs(*called, job, at, prefix == "")).with("job", calledIdentity(at, text(job.WorkflowCall.Uses)))
		f.jobs, f.outcome = r.workflow(*called, inner, name+" / ", declared)
		return
	}
	f.outcome = Success
	for _, values := range r.matrix(job, at) {
		j, at := Job{Name: name, Permissions: rights}, at
		if values != nil {
			j.Name += fmt.Sprintf(" (%v)", values["environment"])
			at = at.with("matrix", values)
		}
		if job.Environment != nil {
			j.Environment = r.text(job.Environment.Name, at)
			vars := maps.Clone(r.vars[""])
			maps.Copy(vars, r.vars[j.Environment])
			at = at.with("vars", anyMap(vars))
		}
		if job.Concurrency != nil {
			j.Group = r.text(job.Concurrency.Group, at)
		}
		at = at.with("steps", r.steps(&j, job, at))
		for _, output := range job.Outputs {
			// An empty output does not replace that of another job of the matrix.
			if value := r.text(output.Value, at); value != "" {
				f.outputs[output.Name.Value] = value
			}
		}
		f.jobs = append(f.jobs, j)
		if j.Outcome != Success && f.outcome != Cancelled {
			f.outcome = j.Outcome
		}
	}
}

// inputs returns the inputs of a called workflow, with their types.
func (r *running) inputs(called Workflow, job *actionlint.Job, at scope, first bool) map[string]any {
	inputs := map[string]any{}
	for _, on := range called.syntax.On {
		call, ok := on.(*actionlint.WorkflowCallEvent)
		if !ok {
			continue
		}
		for _, declared := range call.Inputs {
			value := text(declared.Default)
			if given := job.WorkflowCall.Inputs[declared.ID]; given != nil {
				value = r.text(given.Value, at)
			}
			if other, replaced := r.event.With[declared.ID]; replaced && first {
				value = cmp.Or(other, text(declared.Default))
			}
			inputs[declared.ID] = value
			if declared.Type == actionlint.WorkflowCallEventInputTypeBoolean {
				if value != "true" && value != "false" {
					r.fail("job %s: input %s is %q, which is no boolean", job.ID.Value, declared.ID, value)
				}
				inputs[declared.ID] = value == "true"
			}
		}
	}
	return inputs
}

// matrix returns the values of each job of a matrix; that of a job without one is nil.
func (r *running) matrix(job *actionlint.Job, at scope) (all []map[string]any) {
	if job.Strategy == nil {
		return []map[string]any{nil}
	}
	m := job.Strategy.Matrix
	if m == nil || m.Include == nil || m.Include.Expression == nil || len(m.Rows) > 0 || job.Strategy.FailFast == nil || job.Strategy.FailFast.Value {
		r.fail("job %s: a matrix is one expression for include, and fail-fast is false: a failure in one environment hides nothing of another", job.ID.Value)
		return nil
	}
	source := strings.TrimSpace(text(m.Include.Expression))
	list, err := at.evaluate(strings.TrimSuffix(strings.TrimPrefix(source, "${{"), "}}"), nil)
	entries, _ := list.([]any)
	if err != nil || len(entries) == 0 {
		r.fail("job %s: the matrix %s is no list of environments: %w", job.ID.Value, source, err)
	}
	for _, entry := range entries {
		values, _ := entry.(map[string]any)
		all = append(all, values)
	}
	return all
}

// steps runs the steps of a job and returns the context steps.
func (r *running) steps(j *Job, job *actionlint.Job, at scope) map[string]any {
	env := r.env(job.Env, at, map[string]string{})
	steps, now := map[string]any{}, status{success: true}
	at = at.with("steps", steps).with("env", anyMap(env))
	j.Outcome = Success
	for _, step := range job.Steps {
		outcome, outputs := Skipped, map[string]string(nil)
		if r.holds(step.If, scope{at.contexts, &now}) {
			about := r.about(step, at, Step{Job: j.Name, ID: text(step.ID), Name: text(step.Name), With: map[string]string{}, Env: r.env(step.Env, at, env)})
			switch {
			case about.Function != "":
				j.Did = append(j.Did, about.Function)
			case about.Uses == uploadAction:
				j.Did = append(j.Did, "keep "+about.With["name"])
			}
			outcome, outputs = r.runner.Run(about)
		}
		switch outcome {
		case Cancelled:
			now.success, now.cancelled, r.cancelled, j.Outcome = false, true, true, Cancelled
		case Failure:
			now.success, now.failure = false, true
			if !now.cancelled {
				j.Outcome = Failure
			}
		}
		if step.ID != nil {
			steps[step.ID.Value] = map[string]any{"outcome": string(outcome), "outputs": anyMap(outputs)}
		}
	}
	return steps
}

// about adds everything known of a step before it runs.
func (r *running) about(step *actionlint.Step, at scope, about Step) Step {
	switch exec := step.Exec.(type) {
	case *actionlint.ExecRun:
		c, err := parseCommand(text(exec.Run))
		if err != nil {
			r.fail("%w", err)
			return about
		}
		about.Function = c.short()
	case *actionlint.ExecAction:
		about.Uses, _, _ = strings.Cut(text(exec.Uses), "@")
		for name, input := range exec.Inputs {
			about.With[name] = r.text(input.Value, at)
		}
	}
	return about
}

// permissions returns a job's permissions: its own or else the workflow's, at most its
// caller's. rights are what the job gets: read-only for forks. GitHub compares with the caller
// what is declared.
func (r *running) permissions(w Workflow, job *actionlint.Job, most map[string]string) (rights, declared map[string]string) {
	p := job.Permissions
	if p == nil {
		p = w.syntax.Permissions
	}
	if p == nil || p.All != nil {
		r.fail("permissions must be listed one by one")
		return nil, nil
	}
	rights, declared = map[string]string{}, map[string]string{}
	for name, scope := range p.Scopes {
		right := text(scope.Value)
		if most != nil && most[name] != right && most[name] != "write" {
			r.fail("job %s asks for %s:%s, which the calling job does not have", job.ID.Value, name, right)
		}
		declared[name] = right
		switch {
		case !r.event.Fork || right != "write":
			rights[name] = right
		case name != "id-token":
			rights[name] = "read"
		}
	}
	return rights, declared
}

func anyMap(values map[string]string) map[string]any {
	all := map[string]any{}
	for name, value := range values {
		all[name] = value
	}
	return all
}
