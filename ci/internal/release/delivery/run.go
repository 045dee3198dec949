package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/release/runtask"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// RunOptions are the options of a standalone task.
type RunOptions struct {
	// Command replaces that of the container; empty means the container's own.
	Command []string
	// Environment is added to that of the container.
	Environment map[string]string
	// Container is the container that runs the command; "" means the main one.
	Container string
	// SHA is the full id of the commit to run; "" means what runs.
	SHA string
	// Timeout limits the task; 0 means [DefaultRunTimeout].
	Timeout time.Duration
	// NoWait returns as soon as the task has been started.
	NoWait bool
	// Output is called with the lines of the container's log.
	Output func(lines []string)
}

// DefaultRunTimeout is how long a task may run by default.
const DefaultRunTimeout = time.Hour

func (o RunOptions) check() error {
	if o.Timeout < 0 || o.Timeout > 0 && o.Timeout < time.Second {
		return outcome.Usagef("invalid --timeout %s: want 1s or more, such as %s", o.Timeout, DefaultRunTimeout)
	}
	return nil
}

// ParseEnvironment parses environment variables as NAME=VALUE.
func ParseEnvironment(given []string) (map[string]string, error) {
	environment := map[string]string{}
	for _, pair := range given {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || !platform.IsVariableName(name) {
			return nil, outcome.Usagef("invalid --set-env %q: want NAME=VALUE, with a NAME of letters, digits and underscores", name) // without the value, which may be secret
		}
		environment[name] = value
	}
	return environment, nil
}

// Run runs a standalone task of the delivery's only service. If ctx is cancelled, the task
// is stopped.
func (d Delivery) Run(ctx context.Context, o RunOptions) report.Run {
	s := d.Services[0]
	run := report.Run{Environment: d.Environment.Label(), Container: cmp.Or(o.Container, s.ContainerName()), Task: report.Task{Service: s.Name, Result: report.Failed}}
	spec, err := d.runSpec(ctx, s, o)
	run.TaskDefinition = aws.ToString(spec.Definition.TaskDefinitionArn)
	if err != nil {
		return d.finishRun(run, awsauth.Explain(err))
	}
	runner := d.runner(s.Name, o.Output)
	if o.NoWait {
		if run.Task.Task, err = runner.Start(ctx, spec); err == nil {
			run.Task.Result = report.Started
		}
		return d.finishRun(run, err)
	}
	result := runner.Run(ctx, spec)
	run.Task = result.Report(s.Name)
	if result.Cause != nil {
		run.Causes = []report.Cause{*result.Cause}
	}
	return d.finishRun(run, result.Err)
}

// finishRun completes the report of a task.
func (d Delivery) finishRun(run report.Run, err error) report.Run {
	var recorded report.Release
	d.Recorder.Fill(&recorded)
	run.Events, run.Result = recorded.Events, run.Task.Result
	if err == nil {
		return run
	}
	run.ExitCode, run.Error = outcome.Of(err), outcome.JoinLines(leak.Redact(err.Error()))
	if run.Result = report.Failed; errors.Is(err, context.Canceled) {
		run.Result = report.Interrupted
	}
	return run
}

// runSpec returns the task to run.
func (d Delivery) runSpec(ctx context.Context, s platform.Service, o RunOptions) (runtask.Spec, error) {
	if err := o.check(); err != nil {
		return runtask.Spec{}, err
	}
	spec := runtask.Spec{
		Service: s, Container: o.Container, Command: o.Command, Environment: o.Environment,
		StartedBy: runtask.Unique(), Timeout: cmp.Or(o.Timeout, DefaultRunTimeout),
	}
	spec.ClientToken = runtask.Token(spec.StartedBy)
	var err error
	if spec.Definition, spec.Placement, err = d.runningTask(ctx, s); err != nil {
		return spec, err
	}
	if o.SHA != "" {
		if spec.Definition, err = d.revisionOf(ctx, s, spec.Definition, o.SHA); err != nil {
			return spec, err
		}
	}
	if err := requireActive(s, spec.Definition); err != nil {
		return spec, err
	}
	return spec, requireContainer(spec.Definition, o.Container)
}

// revisionOf returns a revision with the image of a commit.
func (d Delivery) revisionOf(ctx context.Context, s platform.Service, running types.TaskDefinition, commit string) (types.TaskDefinition, error) {
	sha, err := d.Source.Resolve(ctx, commit)
	if err != nil {
		return types.TaskDefinition{}, err
	}
	return d.engine().RevisionOf(ctx, s, running, sha, func() (string, error) {
		images, err := d.requirePublished(ctx, sha, "publish it first (slipway publish)")
		return images[s.Name], err
	})
}

// requireActive checks that ECS starts tasks of a revision.
func requireActive(s platform.Service, definition types.TaskDefinition) error {
	if definition.Status != types.TaskDefinitionStatusInactive {
		return nil
	}
	return fmt.Errorf("%s runs %s, which is deregistered, so ECS starts no task of it: name a commit (--sha), or register it again (slipway deploy --force)",
		s.Name, machine.ShortARN(aws.ToString(definition.TaskDefinitionArn)))
}

func requireContainer(definition types.TaskDefinition, name string) error {
	var names []string
	for _, c := range definition.ContainerDefinitions {
		names = append(names, aws.ToString(c.Name))
	}
	if name == "" || slices.Contains(names, name) {
		return nil
	}
	return outcome.Usagef("no container %q in task definition %s: it has %s", name, aws.ToString(definition.TaskDefinitionArn), strings.Join(names, ", "))
}

// runningTask returns what a service or job runs, and where.
func (d Delivery) runningTask(ctx context.Context, s platform.Service) (types.TaskDefinition, runtask.Placement, error) {
	service, definition, err := d.engine().RunningService(ctx, s)
	return definition, runtask.PlacementOf(service), err
}
