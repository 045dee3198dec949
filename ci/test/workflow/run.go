package workflow

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"
)

// Event is what happens at GitHub.
type Event struct {
	// Name is push, pull_request, workflow_dispatch or schedule; Action is what
	// happened to a pull request.
	Name, Action string
	// Ref is the full name of the branch or pull request.
	Ref string
	// Workflow is the file that is dispatched, or whose schedule it is.
	Workflow string
	// Payload is the context github.event.
	Payload map[string]any
	// Inputs are those of a dispatch. What is not given has its default.
	Inputs map[string]any
	// Fork tells that a pull request comes from a fork: GitHub takes away what
	// its workflows could write with.
	Fork bool
}

// Step is a step about to be run.
type Step struct {
	Job, ID, Name string
	// Uses is the action, without its version. Function is what a command runs: a
	// function of the module, or the command's name.
	Uses, Function string
	With, Env      map[string]string
}

// Outcome of a step or a job.
type Outcome string

// The outcomes, as GitHub calls them.
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

// Run is what an event makes of one workflow.
type Run struct {
	Workflow string
	// Group is the concurrency group; Cancels tells that a newer run of the group
	// cancels it.
	Group   string
	Cancels bool
	Jobs    []Job
}

// Job is a job of a run, with its rights.
type Job struct {
	// Name is the job's id; that of a called workflow's job follows its caller's.
	Name        string
	Outcome     Outcome
	Permissions map[string]string
	Environment string
	Group       string
	// Did are the functions and commands that ran, and the artifacts that were
	// kept, in order.
	Did []string

	order int // where it stands in the file
}

// Rights are the permissions in one line.
func (j Job) Rights() string {
	var rights []string
	for _, scope := range slices.Sorted(maps.Keys(j.Permissions)) {
		rights = append(rights, scope+":"+j.Permissions[scope])
	}
	return strings.Join(rights, " ")
}

// Context values that are the same in each run.
const (
	repository = "acme/shop"
	runID      = float64(1001)
)

// Start computes what an event starts. vars are the repository's variables.
func (s Set) Start(e Event, vars map[string]string, runner Runner) ([]Run, error) {
	var runs []Run
	for _, w := range s {
		inputs, starts := w.startedBy(e)
		if !starts {
			continue
		}
		run := &running{set: s, event: e, runner: runner, contexts: map[string]any{
			"github": map[string]any{
				"event_name": e.Name, "ref": e.Ref, "repository": repository, "run_id": runID, "event": e.Payload, "token": "github-token",
			},
			"inputs": inputs, "vars": anyMap(vars), "runner": map[string]any{"temp": "/temp"},
		}}
		r := Run{Workflow: w.Name}
		if c := w.syntax.Concurrency; c != nil {
			group, err := interpolate(text(c.Group), run.scope())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
			r.Group, r.Cancels = group, c.CancelInProgress != nil && c.CancelInProgress.Value
		}
		if _, err := run.workflow(w, "", nil); err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
		slices.SortStableFunc(run.jobs, func(a, b Job) int { return cmp.Compare(a.order, b.order) })
		r.Jobs = run.jobs
		runs = append(runs, r)
	}
	return runs, nil
}

// startedBy tells whether an event starts the workflow, and with which inputs.
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
			if e.Name == "pull_request" && !slices.Contains(types(on), e.Action) {
				continue
			}
			branch := strings.TrimPrefix(e.Ref, "refs/heads/")
			if e.Name == "push" && !on.Branches.IsEmpty() && !slices.ContainsFunc(on.Branches.Values, func(b *actionlint.String) bool {
				matches, _ := path.Match(b.Value, branch) // actionlint has judged the pattern
				return matches
			}) {
				continue
			}
			return nil, true
		}
	}
	return nil, false
}

// types are what must happen to a pull request for a workflow to start.
func types(on *actionlint.WebhookEvent) []string {
	if len(on.Types) == 0 {
		return []string{"opened", "synchronize", "reopened"} // GitHub's own choice
	}
	var all []string
	for _, t := range on.Types {
		all = append(all, t.Value)
	}
	return all
}

// dispatched is an input's value in the context inputs, where it has its type.
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

// running is a run under way.
type running struct {
	set       Set
	event     Event
	runner    Runner
	contexts  map[string]any
	cancelled bool
	jobs      []Job
	order     int // of the job of the outermost workflow that runs
}

// scope is what an expression sees, with further contexts.
func (r *running) scope(more ...map[string]any) scope {
	contexts := maps.Clone(r.contexts)
	for _, m := range more {
		maps.Copy(contexts, m)
	}
	return scope{contexts: contexts}
}

// workflow runs a workflow's jobs; of a called one prefix is its caller's name, and
// most are the caller's permissions, which it cannot exceed.
func (r *running) workflow(w Workflow, prefix string, most map[string]string) (Outcome, error) {
	done := map[string]*finished{}
	result := Success
	for len(done) < len(w.syntax.Jobs) {
		before := len(done)
		// The last first: the order in the file orders nothing.
		for _, job := range slices.Backward(w.jobs()) {
			id := job.ID.Value
			if done[id] != nil || !ready(job, done) {
				continue
			}
			if prefix == "" {
				r.order = job.Pos.Line
			}
			f, err := r.job(w, job, done, prefix, most)
			if err != nil {
				return "", fmt.Errorf("job %s: %w", id, err)
			}
			done[id] = f
			if f.outcome == Failure || f.outcome == Cancelled {
				result = f.outcome
			}
		}
		if len(done) == before {
			return "", fmt.Errorf("jobs need one another in a circle, or one that is not there")
		}
	}
	return result, nil
}

// finished is a job that has ended.
type finished struct {
	outcome Outcome
	outputs map[string]any
	all     status // of the job and of whatever it needed
}

func ready(job *actionlint.Job, done map[string]*finished) bool {
	return !slices.ContainsFunc(job.Needs, func(need *actionlint.String) bool { return done[need.Value] == nil })
}

// job runs a job, or skips it.
func (r *running) job(w Workflow, job *actionlint.Job, done map[string]*finished, prefix string, most map[string]string) (*finished, error) {
	all := status{success: true, cancelled: r.cancelled}
	needs := map[string]any{}
	for _, need := range job.Needs {
		f := done[need.Value]
		needs[need.Value] = map[string]any{"result": string(f.outcome), "outputs": f.outputs}
		all.success = all.success && f.all.success
		all.failure = all.failure || f.all.failure
	}
	all.success = all.success && !all.cancelled
	s := r.scope(map[string]any{"needs": needs})
	s.status = &all
	runs, err := condition(text(job.If), s)
	if err != nil {
		return nil, err
	}
	f := &finished{outcome: Skipped, all: all}
	if runs {
		if err := r.execute(w, job, s, f, prefix, most); err != nil {
			return nil, err
		}
	}
	f.all.success = f.all.success && f.outcome == Success
	f.all.failure = f.all.failure || f.outcome == Failure
	return f, nil
}

func (r *running) execute(w Workflow, job *actionlint.Job, s scope, f *finished, prefix string, most map[string]string) error {
	s.status = nil
	rights, err := r.rights(w, job, most)
	if err != nil {
		return err
	}
	if job.WorkflowCall != nil {
		f.outcome, err = r.call(job, s, rights, prefix+job.ID.Value+" / ")
		return err
	}
	j := Job{Name: prefix + job.ID.Value, Permissions: rights, order: r.order}
	if job.Environment != nil {
		if j.Environment, err = interpolate(text(job.Environment.Name), s); err != nil {
			return err
		}
	}
	if job.Concurrency != nil {
		if j.Group, err = interpolate(text(job.Concurrency.Group), s); err != nil {
			return err
		}
	}
	env, err := environment(job.Env, s, nil)
	if err != nil {
		return err
	}
	steps, err := r.steps(&j, job, s, env)
	if err != nil {
		return err
	}
	f.outcome, f.outputs = j.Outcome, map[string]any{}
	for _, output := range job.Outputs {
		value, err := interpolate(text(output.Value), s.with("steps", steps))
		if err != nil {
			return err
		}
		f.outputs[output.Name.Value] = value
	}
	r.jobs = append(r.jobs, j)
	return nil
}

// steps runs the steps and returns the context of that name.
func (r *running) steps(j *Job, job *actionlint.Job, s scope, env map[string]string) (map[string]any, error) {
	steps := map[string]any{}
	now := status{success: true}
	for n, step := range job.Steps {
		s := s.with("steps", steps).with("env", anyMap(env))
		s.status = &now
		runs, err := condition(text(step.If), s)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", n+1, err)
		}
		outcome, outputs := Skipped, map[string]string(nil)
		if runs {
			s.status = nil
			about, err := describe(j.Name, step, s, env)
			if err != nil {
				return nil, fmt.Errorf("step %d: %w", n+1, err)
			}
			switch {
			case about.Function != "":
				j.Did = append(j.Did, about.Function)
			case about.Uses == uploadAction:
				j.Did = append(j.Did, "keep "+about.With["name"])
			}
			outcome, outputs = r.runner.Run(about)
		}
		switch outcome {
		case Failure:
			now.success, now.failure = false, true
		case Cancelled:
			now.success, now.cancelled, r.cancelled = false, true, true
		}
		if step.ID != nil {
			steps[step.ID.Value] = map[string]any{"outcome": string(outcome), "outputs": anyMap(outputs)}
		}
	}
	switch {
	case now.cancelled:
		j.Outcome = Cancelled
	case now.failure:
		j.Outcome = Failure
	default:
		j.Outcome = Success
	}
	return steps, nil
}

func describe(job string, step *actionlint.Step, s scope, env map[string]string) (Step, error) {
	about := Step{Job: job, ID: text(step.ID), Name: text(step.Name), With: map[string]string{}}
	var err error
	if about.Env, err = environment(step.Env, s, env); err != nil {
		return Step{}, err
	}
	switch exec := step.Exec.(type) {
	case *actionlint.ExecRun:
		c, err := parseCommand(text(exec.Run))
		if err != nil {
			return Step{}, err
		}
		about.Function = c.short()
	case *actionlint.ExecAction:
		about.Uses, _, _ = strings.Cut(text(exec.Uses), "@")
		for name, input := range exec.Inputs {
			if about.With[name], err = interpolate(text(input.Value), s); err != nil {
				return Step{}, err
			}
		}
	}
	return about, nil
}

// call runs a workflow of this repository as a job.
func (r *running) call(job *actionlint.Job, s scope, rights map[string]string, prefix string) (Outcome, error) {
	name := path.Base(text(job.WorkflowCall.Uses))
	n := slices.IndexFunc(r.set, func(w Workflow) bool { return w.Name == name })
	if n < 0 {
		return "", fmt.Errorf("there is no workflow %s to call", name)
	}
	inputs := map[string]any{}
	for id, input := range job.WorkflowCall.Inputs {
		value, err := interpolate(text(input.Value), s)
		if err != nil {
			return "", err
		}
		inputs[id] = value
	}
	outer := r.contexts
	defer func() { r.contexts = outer }()
	r.contexts = maps.Clone(outer)
	r.contexts["inputs"] = inputs
	return r.workflow(r.set[n], prefix, rights)
}

// rights are a job's permissions: its own or else the workflow's, no more than its
// caller's, and to read at most for what a fork sends.
func (r *running) rights(w Workflow, job *actionlint.Job, most map[string]string) (map[string]string, error) {
	p := job.Permissions
	if p == nil {
		p = w.syntax.Permissions
	}
	if p == nil || p.All != nil {
		return nil, fmt.Errorf("permissions must be listed one by one")
	}
	rights := map[string]string{}
	for name, scope := range p.Scopes {
		rights[name] = text(scope.Value)
		if most != nil && most[name] != rights[name] && most[name] != "write" {
			return nil, fmt.Errorf("asks for %s:%s, which the calling job does not have", name, rights[name])
		}
		if r.event.Fork && rights[name] == "write" {
			rights[name] = "read"
			if name == "id-token" {
				delete(rights, name)
			}
		}
	}
	return rights, nil
}

// environment are the variables of env over those that hold already.
func environment(env *actionlint.Env, s scope, outer map[string]string) (map[string]string, error) {
	all := map[string]string{}
	maps.Copy(all, outer)
	if env == nil {
		return all, nil
	}
	for _, variable := range env.Vars {
		value, err := interpolate(text(variable.Value), s)
		if err != nil {
			return nil, err
		}
		all[variable.Name.Value] = value
	}
	return all, nil
}

// with is the scope with one more context.
func (s scope) with(name string, context map[string]any) scope {
	contexts := maps.Clone(s.contexts)
	contexts[name] = context
	return scope{contexts: contexts, status: s.status}
}

func anyMap(values map[string]string) map[string]any {
	all := map[string]any{}
	for name, value := range values {
		all[name] = value
	}
	return all
}
