// Package scheduler is the embedded EventBridge Scheduler: schedules of the default group
// that run tasks of the embedded ECS. The clock scales time, also for the
// dates of schedules: with a scale of 10, rate(10 minutes) runs each minute.
package scheduler

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Tasks is the part of the ECS API that runs tasks.
type Tasks interface {
	RunTask(context.Context, *ecs.RunTaskInput) (*ecs.RunTaskOutput, error)
}

// Config configures a [Scheduler].
type Config struct {
	Scope wire.Scope
	Clock *clock.Scaled
	Tasks Tasks
	// OnRole, if set, is called with the ARN of the role of each target.
	OnRole func(arn string)
}

// Scheduler holds all schedules and runs them.
type Scheduler struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	epoch  time.Time // when scaled time began

	mu          sync.Mutex
	schedules   map[string]*schedule // by name
	tags        map[string]string    // of the default group
	deadLetters []DeadLetter
}

// schedule is a schedule. Its times are scaled.
type schedule struct {
	scheduler.GetScheduleOutput
	parsed expression
	token  string             // of the call that created it
	start  time.Time          // of a rate
	after  time.Time          // when it runs, it is later than this
	stop   context.CancelFunc // stops its runs
}

// New returns a scheduler without schedules.
func New(cfg Config) *Scheduler {
	ctx, cancel := context.WithCancel(context.Background())
	return &Scheduler{cfg: cfg, ctx: ctx, cancel: cancel, epoch: cfg.Clock.Now(), schedules: map[string]*schedule{}, tags: map[string]string{}}
}

// Close stops all schedules.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
}

// Service returns the EventBridge Scheduler API.
func (s *Scheduler) Service() wire.Service {
	return wire.Service{
		Name: "scheduler",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&s.mu, "CreateSchedule", s.createSchedule).REST(http.MethodPost, "/schedules/{Name}"),
			wire.NewLockedOperation(&s.mu, "GetSchedule", s.getSchedule).REST(http.MethodGet, "/schedules/{Name}"),
			wire.NewLockedOperation(&s.mu, "UpdateSchedule", s.updateSchedule).REST(http.MethodPut, "/schedules/{Name}"),
			wire.NewLockedOperation(&s.mu, "DeleteSchedule", s.deleteSchedule).REST(http.MethodDelete, "/schedules/{Name}"),
			wire.NewLockedOperation(&s.mu, "ListSchedules", s.listSchedules).REST(http.MethodGet, "/schedules", "ScheduleGroup", "GroupName"),
			wire.NewLockedOperation(&s.mu, "GetScheduleGroup", s.getScheduleGroup).REST(http.MethodGet, "/schedule-groups/{Name}"),
			wire.NewLockedOperation(&s.mu, "ListScheduleGroups", s.listScheduleGroups).REST(http.MethodGet, "/schedule-groups"),
			wire.NewLockedOperation(&s.mu, "TagResource", s.tagResource).REST(http.MethodPost, "/tags/{ResourceArn}"),
			wire.NewLockedOperation(&s.mu, "UntagResource", s.untagResource).REST(http.MethodDelete, "/tags/{ResourceArn}"),
			wire.NewLockedOperation(&s.mu, "ListTagsForResource", s.listTagsForResource).REST(http.MethodGet, "/tags/{ResourceArn}"),
		},
	}
}

// defaultGroup is the only schedule group.
const defaultGroup = "default"

// arn returns the ARN of a schedule and adds it to the call's resources.
func (s *Scheduler) arn(ctx context.Context, group, name *string) string {
	arn := s.cfg.Scope.ARN("scheduler", "schedule/"+groupName(group)+"/"+aws.ToString(name))
	wire.AddResources(ctx, arn)
	return arn
}

func groupName(group *string) string {
	return cmp.Or(aws.ToString(group), defaultGroup)
}

func (s *Scheduler) find(group, name *string) (*schedule, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	if found, ok := s.schedules[aws.ToString(name)]; ok {
		return found, nil
	}
	return nil, notFound("Schedule %s does not exist.", aws.ToString(name))
}

func checkGroup(group *string) error {
	if name := groupName(group); name != defaultGroup {
		return notFound("Schedule group %s does not exist.", name)
	}
	return nil
}

func notFound(format string, args ...any) error {
	return wire.Errorf("ResourceNotFoundException", format, args...).WithStatus(http.StatusNotFound)
}

func (s *Scheduler) createSchedule(ctx context.Context, in *scheduler.CreateScheduleInput) (*scheduler.CreateScheduleOutput, error) {
	arn := s.arn(ctx, in.GroupName, in.Name)
	if err := checkGroup(in.GroupName); err != nil {
		return nil, err
	}
	created := &schedule{token: aws.ToString(in.ClientToken)}
	created.Arn, created.CreationDate = &arn, new(s.cfg.Clock.Now())
	if err := s.set(ctx, created, scheduler.UpdateScheduleInput{
		Name: in.Name, GroupName: in.GroupName, ScheduleExpression: in.ScheduleExpression, ScheduleExpressionTimezone: in.ScheduleExpressionTimezone,
		Target: in.Target, FlexibleTimeWindow: in.FlexibleTimeWindow, State: in.State, Description: in.Description, KmsKeyArn: in.KmsKeyArn,
		StartDate: in.StartDate, EndDate: in.EndDate, ActionAfterCompletion: in.ActionAfterCompletion,
	}); err != nil {
		return nil, err
	}
	if old, ok := s.schedules[*in.Name]; ok {
		if old.token == created.token && old.token != "" {
			return &scheduler.CreateScheduleOutput{ScheduleArn: &arn}, nil
		}
		return nil, wire.Errorf("ConflictException", "Schedule %s already exists.", *in.Name).WithStatus(http.StatusConflict)
	}
	s.schedules[*in.Name] = created
	s.run(created)
	return &scheduler.CreateScheduleOutput{ScheduleArn: &arn}, nil
}

func (s *Scheduler) updateSchedule(ctx context.Context, in *scheduler.UpdateScheduleInput) (*scheduler.UpdateScheduleOutput, error) {
	s.arn(ctx, in.GroupName, in.Name)
	found, err := s.find(in.GroupName, in.Name)
	if err != nil {
		return nil, err
	}
	updated := *found
	if err := s.set(ctx, &updated, *in); err != nil {
		return nil, err
	}
	if aws.ToString(updated.ScheduleExpression) == aws.ToString(found.ScheduleExpression) && aws.ToTime(updated.StartDate).Equal(aws.ToTime(found.StartDate)) {
		updated.start = found.start // its runs go on
		if now := s.now(); now.After(updated.start) {
			updated.after = now
		}
	}
	found.stop()
	s.schedules[*in.Name] = &updated
	s.run(&updated)
	return &scheduler.UpdateScheduleOutput{ScheduleArn: updated.Arn}, nil
}

// set validates an input and sets all fields of a schedule: an update sets the
// fields that it does not have to their defaults.
func (s *Scheduler) set(ctx context.Context, to *schedule, in scheduler.UpdateScheduleInput) error {
	zone, parsed, err := validate(&in)
	if err != nil {
		return err
	}
	wire.RequirePermission(ctx, "iam", "PassRole", *in.Target.RoleArn, map[string]string{"iam:PassedToService": principal})
	if s.cfg.OnRole != nil {
		s.cfg.OnRole(*in.Target.RoleArn)
	}
	target := *in.Target
	policy := types.RetryPolicy{MaximumEventAgeInSeconds: new(int32(24 * 60 * 60)), MaximumRetryAttempts: new(int32(185))}
	if given := target.RetryPolicy; given != nil {
		policy.MaximumEventAgeInSeconds = cmp.Or(given.MaximumEventAgeInSeconds, policy.MaximumEventAgeInSeconds)
		policy.MaximumRetryAttempts = cmp.Or(given.MaximumRetryAttempts, policy.MaximumRetryAttempts)
	}
	target.RetryPolicy = &policy
	to.GetScheduleOutput = scheduler.GetScheduleOutput{
		Arn: to.Arn, CreationDate: to.CreationDate, LastModificationDate: new(s.cfg.Clock.Now()),
		Name: in.Name, GroupName: new(defaultGroup), ScheduleExpression: in.ScheduleExpression, ScheduleExpressionTimezone: new(zone.String()),
		Target: &target, FlexibleTimeWindow: in.FlexibleTimeWindow, State: in.State, Description: in.Description, KmsKeyArn: in.KmsKeyArn,
		StartDate: in.StartDate, EndDate: in.EndDate, ActionAfterCompletion: in.ActionAfterCompletion,
	}
	to.parsed, to.start = parsed, s.now()
	if in.StartDate != nil && in.StartDate.After(to.start) {
		to.start = *in.StartDate
	}
	to.after = to.start.Add(-time.Nanosecond)
	return nil
}

// principal is the service principal that the role of a target is passed to.
const principal = "scheduler.amazonaws.com"

// Forms of names and ARNs, as in the API's model.
var (
	nameForm    = regexp.MustCompile(`^[0-9a-zA-Z-_.]{1,64}$`)
	roleForm    = regexp.MustCompile(`^arn:aws(-[a-z]+)?:iam::\d{12}:role/[\w+=,.@/-]+$`)
	queueForm   = regexp.MustCompile(`^arn:aws(-[a-z]+)?:sqs:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]+$`)
	clusterForm = regexp.MustCompile(`^arn:aws(-[a-z]+)?:ecs:[a-z0-9-]+:\d{12}:cluster/[a-zA-Z0-9_-]+$`)
	familyForm  = regexp.MustCompile(`^arn:aws(-[a-z]+)?:ecs:[a-z0-9-]+:\d{12}:task-definition/[a-zA-Z0-9_-]+(:\d+)?$`)
)

// validate checks an input and fills in its defaults.
func validate(in *scheduler.UpdateScheduleInput) (*time.Location, expression, error) {
	invalid := func(format string, args ...any) (*time.Location, expression, error) {
		return nil, nil, wire.Errorf("ValidationException", format, args...)
	}
	target, window := in.Target, in.FlexibleTimeWindow
	switch {
	case !nameForm.MatchString(aws.ToString(in.Name)):
		return invalid("1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$", aws.ToString(in.Name))
	case window == nil:
		return invalid("1 validation error detected: Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null")
	case !slices.Contains(types.FlexibleTimeWindowMode("").Values(), window.Mode):
		return invalid("1 validation error detected: Value '%s' at 'flexibleTimeWindow.mode' failed to satisfy constraint: Member must satisfy enum value set: [OFF, FLEXIBLE]", window.Mode)
	case window.Mode == types.FlexibleTimeWindowModeFlexible && !within(window.MaximumWindowInMinutes, 1, 1440):
		return invalid("MaximumWindowInMinutes must be provided when mode is FLEXIBLE.")
	case window.Mode == types.FlexibleTimeWindowModeOff && window.MaximumWindowInMinutes != nil:
		return invalid("MaximumWindowInMinutes must not be provided when mode is OFF.")
	case target == nil:
		return invalid("1 validation error detected: Value null at 'target' failed to satisfy constraint: Member must not be null")
	case !roleForm.MatchString(aws.ToString(target.RoleArn)):
		return invalid("1 validation error detected: Value '%s' at 'target.roleArn' failed to satisfy constraint: Member must satisfy regular expression pattern: ^arn:aws(-[a-z]+)?:iam::\\d{12}:role\\/[\\w+=,.@\\/-]+$", aws.ToString(target.RoleArn))
	case !clusterForm.MatchString(aws.ToString(target.Arn)):
		return invalid("Provided Arn is not in correct format: the embedded AWS supports ECS clusters as targets.")
	case target.EcsParameters == nil:
		return invalid("EcsParameters must be provided for an ECS target.")
	case !familyForm.MatchString(aws.ToString(target.EcsParameters.TaskDefinitionArn)):
		return invalid("Provided TaskDefinitionArn is not in correct format.")
	case target.EcsParameters.TaskCount != nil && !within(target.EcsParameters.TaskCount, 1, 10):
		return invalid("1 validation error detected: Value '%d' at 'target.ecsParameters.taskCount' failed to satisfy constraint: Member must be between 1 and 10", *target.EcsParameters.TaskCount)
	case target.DeadLetterConfig != nil && !queueForm.MatchString(aws.ToString(target.DeadLetterConfig.Arn)):
		return invalid("1 validation error detected: Value '%s' at 'target.deadLetterConfig.arn' failed to satisfy constraint: Member must satisfy regular expression pattern: ^arn:aws(-[a-z]+)?:sqs:[a-z0-9\\-]+:\\d{12}:[a-zA-Z0-9\\-_]+$", aws.ToString(target.DeadLetterConfig.Arn))
	case in.State != "" && !slices.Contains(in.State.Values(), in.State):
		return invalid("1 validation error detected: Value '%s' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]", in.State)
	}
	if p := target.RetryPolicy; p != nil && (p.MaximumEventAgeInSeconds != nil && !within(p.MaximumEventAgeInSeconds, 60, 86400) || p.MaximumRetryAttempts != nil && !within(p.MaximumRetryAttempts, 0, 185)) {
		return invalid("1 validation error detected: 'target.retryPolicy' failed to satisfy constraint: MaximumEventAgeInSeconds is 60 to 86400, MaximumRetryAttempts is 0 to 185")
	}
	if _, err := overrides(*target); err != nil {
		return invalid("Invalid RequestJson provided. Reason: %s", err)
	}
	zone, err := time.LoadLocation(aws.ToString(in.ScheduleExpressionTimezone))
	if err != nil {
		return invalid("The provided ScheduleExpressionTimezone is not valid.")
	}
	parsed, err := parseExpression(aws.ToString(in.ScheduleExpression), zone)
	if err != nil {
		return invalid("Invalid Schedule Expression %s.", aws.ToString(in.ScheduleExpression))
	}
	if in.State == "" {
		in.State = types.ScheduleStateEnabled
	}
	if in.ActionAfterCompletion == "" {
		in.ActionAfterCompletion = types.ActionAfterCompletionNone
	}
	return zone, parsed, nil
}

func within(n *int32, lowest, limit int32) bool { return n != nil && *n >= lowest && *n <= limit }

func (s *Scheduler) getSchedule(ctx context.Context, in *scheduler.GetScheduleInput) (*scheduler.GetScheduleOutput, error) {
	s.arn(ctx, in.GroupName, in.Name)
	found, err := s.find(in.GroupName, in.Name)
	if err != nil {
		return nil, err
	}
	return &found.GetScheduleOutput, nil
}

func (s *Scheduler) deleteSchedule(ctx context.Context, in *scheduler.DeleteScheduleInput) (*scheduler.DeleteScheduleOutput, error) {
	s.arn(ctx, in.GroupName, in.Name)
	found, err := s.find(in.GroupName, in.Name)
	if err != nil {
		return nil, err
	}
	found.stop()
	delete(s.schedules, *in.Name)
	return &scheduler.DeleteScheduleOutput{}, nil
}

func (s *Scheduler) listSchedules(ctx context.Context, in *scheduler.ListSchedulesInput) (*scheduler.ListSchedulesOutput, error) {
	wire.AddResources(ctx, s.cfg.Scope.ARN("scheduler", "*")) // the action has no resource
	if err := checkGroup(in.GroupName); err != nil {
		return nil, err
	}
	all := []types.ScheduleSummary{}
	for _, name := range slices.Sorted(maps.Keys(s.schedules)) {
		one := s.schedules[name]
		if strings.HasPrefix(name, aws.ToString(in.NamePrefix)) && (in.State == "" || in.State == one.State) {
			all = append(all, types.ScheduleSummary{
				Arn: one.Arn, Name: one.Name, GroupName: one.GroupName, State: one.State, CreationDate: one.CreationDate,
				LastModificationDate: one.LastModificationDate, Target: &types.TargetSummary{Arn: one.Target.Arn},
			})
		}
	}
	page, next, err := wire.Paginate(all, in.NextToken, in.MaxResults, 100)
	return &scheduler.ListSchedulesOutput{Schedules: page, NextToken: next}, err
}

func (s *Scheduler) groupARN() string {
	return s.cfg.Scope.ARN("scheduler", "schedule-group/"+defaultGroup)
}

func (s *Scheduler) getScheduleGroup(ctx context.Context, in *scheduler.GetScheduleGroupInput) (*scheduler.GetScheduleGroupOutput, error) {
	wire.AddResources(ctx, s.cfg.Scope.ARN("scheduler", "schedule-group/"+aws.ToString(in.Name)))
	if err := checkGroup(in.Name); err != nil {
		return nil, err
	}
	return &scheduler.GetScheduleGroupOutput{
		Arn: new(s.groupARN()), Name: new(defaultGroup), State: types.ScheduleGroupStateActive, CreationDate: &s.epoch, LastModificationDate: &s.epoch,
	}, nil
}

func (s *Scheduler) listScheduleGroups(ctx context.Context, _ *scheduler.ListScheduleGroupsInput) (*scheduler.ListScheduleGroupsOutput, error) {
	wire.AddResources(ctx, s.cfg.Scope.ARN("scheduler", "*")) // the action has no resource
	return &scheduler.ListScheduleGroupsOutput{ScheduleGroups: []types.ScheduleGroupSummary{{
		Arn: new(s.groupARN()), Name: new(defaultGroup), State: types.ScheduleGroupStateActive, CreationDate: &s.epoch, LastModificationDate: &s.epoch,
	}}}, nil
}

// taggable checks the ARN of a call about tags: only schedule groups have tags.
func (s *Scheduler) taggable(ctx context.Context, arn *string) error {
	wire.AddResources(ctx, aws.ToString(arn))
	switch {
	case !strings.Contains(aws.ToString(arn), ":schedule-group/"):
		return wire.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'resourceArn' failed to satisfy constraint: Member must be a schedule group", aws.ToString(arn))
	case *arn != s.groupARN():
		return notFound("Schedule group %s does not exist.", wire.ResourceName(*arn))
	}
	return nil
}

func (s *Scheduler) tagResource(ctx context.Context, in *scheduler.TagResourceInput) (*scheduler.TagResourceOutput, error) {
	if err := s.taggable(ctx, in.ResourceArn); err != nil {
		return nil, err
	}
	for _, tag := range in.Tags {
		s.tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return &scheduler.TagResourceOutput{}, nil
}

func (s *Scheduler) untagResource(ctx context.Context, in *scheduler.UntagResourceInput) (*scheduler.UntagResourceOutput, error) {
	if err := s.taggable(ctx, in.ResourceArn); err != nil {
		return nil, err
	}
	for _, key := range in.TagKeys {
		delete(s.tags, key)
	}
	return &scheduler.UntagResourceOutput{}, nil
}

func (s *Scheduler) listTagsForResource(ctx context.Context, in *scheduler.ListTagsForResourceInput) (*scheduler.ListTagsForResourceOutput, error) {
	if err := s.taggable(ctx, in.ResourceArn); err != nil {
		return nil, err
	}
	out := &scheduler.ListTagsForResourceOutput{Tags: []types.Tag{}}
	for _, key := range slices.Sorted(maps.Keys(s.tags)) {
		out.Tags = append(out.Tags, types.Tag{Key: &key, Value: new(s.tags[key])})
	}
	return out, nil
}
