package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Schedules reads and updates the schedules of jobs, which EventBridge Scheduler runs.
//
// A job has no ECS service: the target of its schedule names the revision to run. A
// release updates schedules last, when all services run the new version and are verified,
// and restores them first.
type Schedules interface {
	GetSchedule(context.Context, *scheduler.GetScheduleInput, ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error)
	UpdateSchedule(context.Context, *scheduler.UpdateScheduleInput, ...func(*scheduler.Options)) (*scheduler.UpdateScheduleOutput, error)
}

// retryLimits limit the retries of the calls that set a schedule, which are harmless when
// repeated. Throttled calls are retried until the timeout.
type retryLimits struct {
	timeout           time.Duration
	unknown, rejected int // tries without a conclusive response, and rejected ones
}

var (
	updateLimits = retryLimits{timeout: 2 * time.Minute, unknown: 5, rejected: 1}
	onceLimits   = retryLimits{unknown: 1, rejected: 1}
)

// restoreLimits are those of restoring a schedule: IAM is eventually consistent, and
// nothing is lost by another try.
func (r *run) restoreLimits() retryLimits {
	return retryLimits{timeout: r.request.RestoreTimeout, unknown: 1 << 30, rejected: 5}
}

// schedulePause is the pause between two tries.
const schedulePause = time.Second

// schedule returns the schedule of a job. Its target must run a revision on ECS.
func (e Engine) schedule(ctx context.Context, job platform.Service) (*scheduler.GetScheduleOutput, error) {
	name := job.ScheduleName()
	if e.Schedules == nil {
		return nil, fmt.Errorf("job %s: no client of EventBridge Scheduler", job.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := e.Schedules.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name})
	switch {
	case IsCode(err, "ResourceNotFoundException"):
		return nil, missingError(fmt.Sprintf("schedule %s does not exist", name))
	case err != nil:
		return nil, fmt.Errorf("reading schedule %s: %w", name, err)
	case out.Target == nil || out.Target.EcsParameters == nil:
		target := types.Target{}
		if out.Target != nil {
			target = *out.Target
		}
		return nil, outcome.Refusedf("schedule %s has the target %s: a job is a task of ECS: create the schedule with Terraform (slipway plan, slipway apply), or remove schedule from %s",
			name, aws.ToString(target.Arn), platform.ServicesFile)
	case revisionNumber(scheduledRevision(out)) == 0:
		return nil, outcome.Refusedf("schedule %s runs the newest revision of %s, so it would run a new one before the release has succeeded: set a revision in its target, such as %[2]s:1",
			name, machine.ShortARN(scheduledRevision(out)))
	}
	return out, nil
}

// scheduledRevision returns the ARN of the revision that a schedule runs.
func scheduledRevision(s *scheduler.GetScheduleOutput) string {
	return aws.ToString(s.Target.EcsParameters.TaskDefinitionArn)
}

// scheduledService returns a job's schedule as a service, with its revision and network.
func scheduledService(s *scheduler.GetScheduleOutput) *ecstypes.Service {
	target := s.Target.EcsParameters
	service := &ecstypes.Service{
		Status: aws.String("ACTIVE"), TaskDefinition: target.TaskDefinitionArn,
		LaunchType: ecstypes.LaunchType(target.LaunchType), PlatformVersion: target.PlatformVersion,
		PropagateTags: ecstypes.PropagateTags(target.PropagateTags), EnableECSManagedTags: aws.ToBool(target.EnableECSManagedTags),
	}
	for _, item := range target.CapacityProviderStrategy {
		service.CapacityProviderStrategy = append(service.CapacityProviderStrategy, ecstypes.CapacityProviderStrategyItem{
			CapacityProvider: item.CapacityProvider, Base: item.Base, Weight: item.Weight,
		})
	}
	if network := target.NetworkConfiguration; network != nil && network.AwsvpcConfiguration != nil {
		vpc := network.AwsvpcConfiguration
		service.NetworkConfiguration = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{
			Subnets: vpc.Subnets, SecurityGroups: vpc.SecurityGroups, AssignPublicIp: ecstypes.AssignPublicIp(vpc.AssignPublicIp),
		}}
	}
	return service
}

func disabled(s *scheduler.GetScheduleOutput) bool { return s.State == types.ScheduleStateDisabled }

// isJob reports whether the plan is that of a job.
func (s *servicePlan) isJob() bool { return s.schedule != nil }

// planJob plans the change of a job's schedule.
func (e Engine) planJob(ctx context.Context, request Request, target Target) (*servicePlan, error) {
	schedule, err := e.schedule(ctx, target.Service)
	if err != nil {
		return nil, err
	}
	revision := scheduledRevision(schedule)
	running, tags, err := e.findDefinition(ctx, revision)
	if err != nil {
		return nil, err
	}
	s := &servicePlan{
		Plan:   machine.Plan{Name: target.Service.Name, ECSName: target.Service.ScheduleName(), WasComplete: true},
		target: target, schedule: schedule, previous: running, previousTags: tags, tags: parseTags(tags),
	}
	if running == nil {
		s.note("%s, but schedule %s runs it", notFoundError(revision), s.ECSName)
		running = &ecstypes.TaskDefinition{TaskDefinitionArn: &revision, Status: ecstypes.TaskDefinitionStatusInactive}
	}
	s.From = versionOf(*running, tags, target.Service.ContainerName())
	wanted, newestTags, err := e.targetDefinition(ctx, s, running, tags)
	if err != nil {
		return nil, err
	}
	s.newestTags, s.templateTags = parseTags(newestTags), newestTags
	s.planState(aws.ToString(wanted.TaskDefinitionArn))
	if err := s.planImage(*running, *wanted, request); err != nil {
		return nil, err
	}
	if s.unchanged && !active(running) { // the schedule cannot run it
		s.unchanged = false
		s.planCopy(*running, tags)
	}
	return s, nil
}

// planState plans to enable the schedule for a job's first release, and to disable it for
// the rollback of that. Terraform creates schedules disabled, because no image exists yet:
// their revision is not of a release, and its image is not pinned to a digest. A schedule
// that somebody has disabled after a release stays so.
func (s *servicePlan) planState(wanted string) {
	switch {
	case s.target.Revision != "" && s.tags.raised > 0 && wanted == s.tags.from:
		s.Count = &machine.CountChange{From: 1}
	case s.target.Revision == "" && s.tags.release == "" && disabled(s.schedule) && !strings.Contains(s.From.Image, "@"):
		s.Count = &machine.CountChange{To: 1}
	}
}

// stateChange describes the change of a job's state, "" for none.
func (s *servicePlan) stateChange() string {
	switch {
	case s.Count == nil:
		return ""
	case s.scalesToZero():
		return "no task ran before its first release: the schedule is disabled"
	default:
		return "first release: the schedule is enabled"
	}
}

// jobRollout is a job during the rollout.
type jobRollout struct {
	*serviceRollout
	touched    bool   // the schedule may have been updated
	sent       string // revision of the last update
	result     report.Result
	err        error // why the update failed
	restoreErr error // why it cannot be restored
	restored   string
	started    time.Time
	duration   time.Duration
}

func newJobRollout(s *servicePlan, now time.Time) *jobRollout {
	j := &jobRollout{serviceRollout: &serviceRollout{servicePlan: s}, result: report.Unchanged, restored: s.From.TaskDefinition, started: now}
	if s.Joined != "" {
		j.touched, j.result = true, report.Succeeded
	}
	return j
}

// updateJobs updates the schedules, one after another, until one fails or ctx ends.
func (r *run) updateJobs(ctx context.Context) error {
	for _, j := range r.jobs {
		if j.result == report.Succeeded {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		j.started = r.Clock.Now()
		state := j.schedule.State
		if j.Count != nil {
			state = stateOfCount(j.Count.To)
		}
		err := r.retrySchedule(ctx, updateLimits, func() error {
			return r.setSchedule(ctx, j, j.To.TaskDefinition, []string{j.restored, j.To.TaskDefinition}, state)
		})
		j.duration = r.Clock.Now().Sub(j.started)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			j.err = fmt.Errorf("updating schedule %s: %w", j.ECSName, err)
			r.Event(j.Name, "failed: "+r.oneLine(j.err))
			return fmt.Errorf("%s: %w", j.Name, j.err)
		}
		j.result = report.Succeeded
		r.Event(j.Name, "its schedule runs "+machine.ShortARN(j.To.TaskDefinition))
	}
	return nil
}

// restoreJobs restores the schedules that may have been updated, within limits.
func (r *run) restoreJobs(ctx context.Context, limits retryLimits) {
	for _, j := range r.jobs {
		if !j.touched || j.result == report.Restored {
			continue
		}
		state := j.schedule.State
		if j.Count != nil {
			state = stateOfCount(j.Count.From)
		}
		j.restoreErr = r.retrySchedule(ctx, limits, func() error { return r.restoreJob(ctx, j, state) })
		j.duration = r.Clock.Now().Sub(j.started)
		if j.result = report.Restored; j.restoreErr != nil {
			j.result = report.Failed
			j.restoreErr = fmt.Errorf("restoring schedule %s: %w", j.ECSName, j.restoreErr)
			r.Event(j.Name, "not restored yet: "+r.oneLine(j.restoreErr))
			continue
		}
		r.Event(j.Name, "its schedule runs "+machine.ShortARN(j.restored)+" again")
	}
}

// restoreJob restores a schedule, or a copy of its revision if that was deregistered.
func (r *run) restoreJob(ctx context.Context, j *jobRollout, state types.ScheduleState) error {
	if j.restored == j.From.TaskDefinition && j.previous != nil && r.deregistered(ctx, j.restored) {
		registered, err := r.registerCopy(ctx, j.serviceRollout, j.restored)
		if err != nil {
			return err
		}
		j.restored = registered
	}
	return r.setSchedule(ctx, j, j.restored, []string{j.From.TaskDefinition, j.restored, j.To.TaskDefinition}, state)
}

func stateOfCount(n int32) types.ScheduleState {
	if n == 0 {
		return types.ScheduleStateDisabled
	}
	return types.ScheduleStateEnabled
}

// changedError is the error for a schedule that somebody else has changed.
type changedError string

func (e changedError) Error() string {
	return "it runs " + machine.ShortARN(string(e)) + " now, which is not of this release: somebody else has changed it"
}

// setSchedule makes a schedule run a revision. It keeps all other fields as they are now,
// because UpdateSchedule sets what it is not given to the default. The schedule must run one
// of the known revisions.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
func (r *run) setSchedule(ctx context.Context, j *jobRollout, revision string, known []string, state types.ScheduleState) error {
	ctx = context.WithoutCancel(ctx) // a lost response is worse than a late one
	now, err := r.schedule(ctx, j.target.Service)
	if err != nil {
		return err
	}
	switch runs := scheduledRevision(now); {
	case !slices.Contains(known, runs):
		return changedError(runs)
	case runs == revision && now.State == state && (revision == j.To.TaskDefinition || revision == j.sent):
		j.touched = true
		return nil // by an earlier call, whose response was lost
	}
	j.sent = revision
	target, parameters := *now.Target, *now.Target.EcsParameters
	parameters.TaskDefinitionArn, target.EcsParameters = &revision, &parameters
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = r.Schedules.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
		Name: now.Name, GroupName: now.GroupName, Target: &target, State: state,
		ScheduleExpression: now.ScheduleExpression, ScheduleExpressionTimezone: now.ScheduleExpressionTimezone,
		FlexibleTimeWindow: now.FlexibleTimeWindow, ActionAfterCompletion: now.ActionAfterCompletion,
		Description: now.Description, KmsKeyArn: now.KmsKeyArn, StartDate: now.StartDate, EndDate: now.EndDate,
	})
	if status := CallStatus(err); status == machine.Accepted || status == machine.Unknown {
		j.touched = true
	}
	return err
}

// retrySchedule calls a function until it succeeds, or the limits are exceeded, or its error
// does not allow a retry.
func (r *run) retrySchedule(ctx context.Context, limits retryLimits, call func() error) error {
	deadline := r.Clock.Now().Add(limits.timeout)
	tries := map[machine.CallStatus]int{}
	for {
		err := call()
		if err == nil {
			return nil
		}
		r.renew(err)
		status := CallStatus(err)
		tries[status]++
		switch {
		case errors.As(err, new(changedError)), errors.As(err, new(missingError)), outcome.Of(err) == outcome.Refused:
			return err
		case tries[machine.Unknown] >= limits.unknown, tries[machine.Rejected] >= limits.rejected, !r.Clock.Now().Before(deadline):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if err := r.Clock.Sleep(ctx, schedulePause); err != nil {
			return err
		}
	}
}

// addJob adds a job's progress to its report.
func (r *run) addJob(plan *servicePlan, to *report.Service) {
	j := r.jobs[slices.IndexFunc(r.jobs, func(j *jobRollout) bool { return j.servicePlan == plan })]
	to.Result, to.From.TaskDefinition, to.DurationMS = j.result, j.restored, j.duration.Milliseconds()
	if problem := errors.Join(j.err, j.restoreErr); problem != nil {
		to.Error = r.oneLine(problem)
	}
}

// jobRuns returns the last runs of a job, newest first. ECS keeps stopped tasks for at
// least an hour.
func (e Engine) jobRuns(ctx context.Context, s platform.Service) ([]report.JobRun, error) {
	tasks, err := e.familyTasks(ctx, s, ecstypes.DesiredStatusStopped)
	switch {
	case isUnavailable(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var runs []report.JobRun
	for _, task := range tasks {
		run := report.JobRun{
			Task: aws.ToString(task.TaskArn), TaskDefinition: aws.ToString(task.TaskDefinitionArn), StartedBy: aws.ToString(task.StartedBy),
			At: cmp.Or(aws.ToTime(task.StartedAt), aws.ToTime(task.CreatedAt)).UTC(), Reason: aws.ToString(task.StoppedReason),
		}
		for _, c := range task.Containers {
			if aws.ToString(c.Name) == s.ContainerName() {
				run.ExitCode = c.ExitCode
			}
		}
		runs = append(runs, run)
	}
	slices.SortStableFunc(runs, func(a, b report.JobRun) int { return b.At.Compare(a.At) })
	return runs[:min(len(runs), statusReleases)], nil
}

// jobStatus adds the schedule of a job and its last runs to its status.
func (e Engine) jobStatus(ctx context.Context, at runningService, status *report.ServiceStatus) (err error) {
	job := &report.Job{
		Schedule: aws.ToString(at.schedule.ScheduleExpression), Timezone: aws.ToString(at.schedule.ScheduleExpressionTimezone), State: string(at.schedule.State),
	}
	status.Job, status.State, status.Detail, status.Since = job, report.Steady, "", aws.ToTime(at.schedule.LastModificationDate).UTC()
	if job.Runs, err = e.jobRuns(ctx, at.service); err != nil {
		return err
	}
	if len(job.Runs) > 0 && job.Runs[0].Failed() {
		status.State, status.Detail = report.Degraded, "its last run failed: "+job.Runs[0].Result()
	}
	return nil
}
