package rollout

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Prepared is a release whose revisions are registered, before its first update.
type Prepared struct {
	ID string
	// Resumed is set if an earlier process of the release has begun to update services, so
	// that BeforeUpdate succeeded then.
	Resumed bool
	Updates []Update
}

// Update is a service to be updated, and its new revision.
type Update struct {
	Service    platform.Service
	ECSService types.Service
	Definition types.TaskDefinition
}

// beforeUpdate calls the request's BeforeUpdate. Since that may take long, it checks again
// that no other deployment has started.
func (e Engine) beforeUpdate(ctx context.Context, request Request, p releasePlan) error {
	changed := p.changed()
	if request.BeforeUpdate == nil || len(changed) == 0 {
		return nil
	}
	prepared := Prepared{ID: p.id}
	for _, s := range changed {
		prepared.Resumed = prepared.Resumed || s.Joined != ""
		prepared.Updates = append(prepared.Updates, Update{Service: s.target.Service, ECSService: s.service, Definition: registered(s.To.TaskDefinition, s.wanted)})
	}
	if err := request.BeforeUpdate(ctx, prepared); err != nil {
		return err
	}
	return e.checkNotConcurrent(ctx, request, changed)
}

// registered returns what running a task needs of a revision that was registered.
func registered(arn string, input *ecs.RegisterTaskDefinitionInput) types.TaskDefinition {
	return types.TaskDefinition{
		TaskDefinitionArn: &arn, Family: input.Family, ContainerDefinitions: input.ContainerDefinitions, Cpu: input.Cpu, Memory: input.Memory,
	}
}

// StartedBy returns the value of startedBy for a release or another name. ECS allows 128
// letters, digits, hyphens, slashes and underscores.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
func StartedBy(name string) string {
	name = notStartedBy.ReplaceAllString(name, "-")
	return name[:min(len(name), 128)]
}

var (
	notStartedBy     = regexp.MustCompile(`[^A-Za-z0-9/_-]`)
	startedByRelease = regexp.MustCompile(`-[0-9a-f]{12}$`) // as in [releaseID]
)

// rejectOtherTasks refuses a release with tasks, or a rollback, while those of another
// release run: it has no deployment yet.
func (e Engine) rejectOtherTasks(ctx context.Context, request Request, p releasePlan) error {
	var services []platform.Service
	for _, s := range p.services {
		if request.TakeOver || request.BeforeUpdate != nil && !s.unchanged {
			services = append(services, s.target.Service)
		}
	}
	return e.rejectTasks(ctx, services, p.id)
}

// rejectTasks is rejectOtherTasks for services and their release.
func (e Engine) rejectTasks(ctx context.Context, services []platform.Service, release string) error {
	for _, s := range services {
		if s.ReleaseTask == nil {
			continue
		}
		tasks, err := e.familyTasks(ctx, s, types.DesiredStatusRunning)
		if err != nil {
			return err
		}
		for _, task := range tasks {
			if by := aws.ToString(task.StartedBy); startedByRelease.MatchString(by) && by != StartedBy(release) {
				id := machine.ShortARN(aws.ToString(task.TaskArn))
				return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (release task %s of release %s): wait for it (--wait-for-turn), or stop it, so that its release fails (aws ecs stop-task --cluster %s --task %s)",
					s.ServiceName(), errInProgress, id, by, s.ClusterName(), id))
			}
		}
	}
	return nil
}

// TaskCause returns why a task stopped: the reason of the task, and of the container that
// ended it.
func TaskCause(task types.Task, of Containers) report.Cause {
	cause := report.Cause{
		Task: aws.ToString(task.TaskArn), Count: 1,
		StopCode: string(task.StopCode), Reason: shortMessage(aws.ToString(task.StoppedReason)),
	}
	if c := of.failed(task); c != nil {
		cause.ExitCode = c.ExitCode
		cause.Signal = signalOf(c.ExitCode)
		if reason := aws.ToString(c.Reason); reason != "" && !strings.Contains(cause.Reason, reason) {
			cause.Reason += ": " + reason
		}
		cause.Reason += of.named(c)
	}
	return cause
}

// Failed returns the name of the container that ended a task, or that of the main one.
func (s Containers) Failed(task types.Task) string {
	if c := s.failed(task); c != nil {
		return aws.ToString(c.Name)
	}
	return s.Main
}

// Hint returns what to do about the cause of a failed task without load balancer, or "".
func Hint(cause report.Cause, service platform.Service) string { return hintFor(cause, service, 0) }

// LogStream returns the log group and stream of a container of a task, "" without the
// awslogs driver, which defines the name of the stream:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
func (s Containers) LogStream(container, task string) (group, stream string) {
	group, prefix := LogGroup(s.definition(container))
	if group == "" {
		return "", ""
	}
	return group, prefix + machine.ShortARN(task)
}

// LogGroup returns the log group of a container, and the prefix of its streams, which end
// in a task's id; "" without the awslogs driver.
func LogGroup(c types.ContainerDefinition) (group, prefix string) {
	if c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
		return "", ""
	}
	options := c.LogConfiguration.Options
	return options["awslogs-group"], options["awslogs-stream-prefix"] + "/" + aws.ToString(c.Name) + "/"
}

// RunningService returns a service and the revision that it runs. A job is described like a
// service, by its schedule.
func (e Engine) RunningService(ctx context.Context, s platform.Service) (types.Service, types.TaskDefinition, error) {
	all, err := e.runningServices(ctx, []platform.Service{s})
	if err != nil {
		return types.Service{}, types.TaskDefinition{}, err
	}
	if all[0].definition.Family == nil {
		return types.Service{}, types.TaskDefinition{}, notFoundError(aws.ToString(all[0].definition.TaskDefinitionArn))
	}
	return all[0].described, *all[0].definition, nil
}

// maxRevisions is how many revisions of a family are searched for a commit.
const maxRevisions = 100

// findRevision returns the newest active revision whose tags match, or nil.
func (e Engine) findRevision(ctx context.Context, family string, match func(releaseTags) bool) (*types.TaskDefinition, error) {
	var found *types.TaskDefinition
	searched := 0
	err := e.eachRevision(ctx, family, types.TaskDefinitionStatusActive, func(arn string) (bool, error) {
		searched++
		definition, tags, err := e.findDefinition(ctx, arn)
		if err != nil {
			return false, err
		}
		if definition != nil && match(parseTags(tags)) {
			found = definition
		}
		return found != nil || searched == maxRevisions, nil
	})
	return found, err
}

// RevisionOf returns the newest active revision of a service's family with the image of a
// commit. If none exists, it registers one: running with the image that image returns.
func (e Engine) RevisionOf(ctx context.Context, s platform.Service, running types.TaskDefinition, sha string, image func() (string, error)) (types.TaskDefinition, error) {
	found, err := e.findRevision(ctx, s.Family(), func(tags releaseTags) bool { return tags.sha == sha })
	if err != nil {
		return types.TaskDefinition{}, err
	}
	if found != nil {
		return *found, nil
	}
	reference, err := image()
	if err != nil {
		return types.TaskDefinition{}, err
	}
	input, err := render(running, s.ContainerName(), reference, sha)
	if err != nil {
		return types.TaskDefinition{}, err
	}
	_, digest, _ := strings.Cut(reference, "@")
	input.Tags = releaseTags{sha: sha, digest: digest}.tags()
	arn, err := e.registerOne(ctx, input)
	if err != nil {
		return types.TaskDefinition{}, outcome.With(outcome.Of(err), e.explain(err))
	}
	e.Event(s.Name, "registered "+machine.ShortARN(arn))
	return registered(arn, input), nil
}

// HasTask reports whether ECS lists a task of a service whose id begins with id: one that
// runs, or has stopped lately.
func (e Engine) HasTask(ctx context.Context, s platform.Service, id string) (bool, error) {
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		tasks, err := e.familyTasks(ctx, s, status)
		if err != nil || slices.ContainsFunc(tasks, func(task types.Task) bool {
			return strings.HasPrefix(machine.ShortARN(aws.ToString(task.TaskArn)), id)
		}) {
			return err == nil, err
		}
	}
	return false, nil
}

// TasksOf returns the ids of a service's tasks that run a commit, or ran it until lately.
func (e Engine) TasksOf(ctx context.Context, s platform.Service, sha string) ([]string, error) {
	var ids []string
	commits := map[string]string{} // by revision
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		tasks, err := e.familyTasks(ctx, s, status)
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			revision := aws.ToString(task.TaskDefinitionArn)
			if _, known := commits[revision]; !known {
				_, tags, err := e.findDefinition(ctx, revision)
				if err != nil {
					return nil, err
				}
				commits[revision] = parseTags(tags).sha
			}
			if commits[revision] == sha {
				ids = append(ids, machine.ShortARN(aws.ToString(task.TaskArn)))
			}
		}
	}
	return ids, nil
}

// Register registers a definition with tags as a new revision, and returns its ARN.
func (e Engine) Register(ctx context.Context, definition types.TaskDefinition, tags []types.Tag) (string, error) {
	input := registerInput(definition)
	input.Tags = tags
	arn, err := e.registerOne(ctx, input)
	if err != nil {
		return "", outcome.With(outcome.Of(err), fmt.Errorf("registering a revision of %s: %w", aws.ToString(definition.Family), e.explain(err)))
	}
	return arn, nil
}
