package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// DeadLetter is an invocation that has failed for good. AWS sends it to the queue of the
// target's dead-letter configuration, and drops it without one.
type DeadLetter struct {
	At       time.Time
	Schedule string // its name
	Queue    string // ARN, or ""
	Code     string // of the error
	Message  string
	Attempts int
}

// DeadLetters returns the invocations that have failed for good, oldest first.
func (s *Scheduler) DeadLetters() []DeadLetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deadLetters)
}

// now returns the scaled time, by which schedules run.
func (s *Scheduler) now() time.Time {
	return s.epoch.Add(s.cfg.Clock.Nominal(time.Since(s.epoch)))
}

// run runs a schedule until it is changed, if it is enabled. The lock is held.
func (s *Scheduler) run(one *schedule) {
	ctx, cancel := context.WithCancel(s.ctx)
	one.stop = cancel
	if one.State != types.ScheduleStateEnabled || s.ctx.Err() != nil {
		return
	}
	s.wg.Go(func() {
		defer cancel()
		s.runUntilDone(ctx, *one)
	})
}

// runUntilDone invokes the target whenever the schedule is due.
func (s *Scheduler) runUntilDone(ctx context.Context, one schedule) {
	for {
		at, ok := one.parsed.next(one.after, one.start)
		if !ok || one.EndDate != nil && at.After(*one.EndDate) {
			s.complete(ctx, one)
			return
		}
		if s.cfg.Clock.Sleep(ctx, at.Sub(s.now())) != nil {
			return
		}
		one.after = at
		s.wg.Go(func() { s.invoke(s.ctx, one) }) // the next run does not wait for retries
	}
}

// complete deletes a schedule that will not run again, if its ActionAfterCompletion is
// DELETE.
func (s *Scheduler) complete(ctx context.Context, one schedule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && one.ActionAfterCompletion == types.ActionAfterCompletionDelete {
		delete(s.schedules, *one.Name)
	}
}

// maxPause is the longest pause between two attempts.
const maxPause = time.Minute

// invoke runs the target's tasks, and retries as its policy allows. Errors of the caller,
// such as a missing role, are not retried.
func (s *Scheduler) invoke(ctx context.Context, one schedule) {
	in, err := runTaskInput(one)
	policy, began, pause := one.Target.RetryPolicy, s.now(), time.Second
	for attempt := 1; ; attempt++ {
		if err == nil {
			var out *ecs.RunTaskOutput
			if out, err = s.cfg.Tasks.RunTask(ctx, in); err == nil && len(out.Failures) == 0 {
				return
			}
			if err == nil {
				err = wire.Errorf("Failure", "%s", aws.ToString(out.Failures[0].Reason)).WithStatus(http.StatusServiceUnavailable)
			}
		}
		age := s.now().Add(pause).Sub(began)
		if !retryable(err) || attempt > int(*policy.MaximumRetryAttempts) || age > time.Duration(*policy.MaximumEventAgeInSeconds)*time.Second {
			s.addDeadLetter(one, err, attempt)
			return
		}
		if s.cfg.Clock.Sleep(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

func retryable(err error) bool {
	var awsError *wire.Error
	return !errors.As(err, &awsError) || awsError.Status >= http.StatusInternalServerError || strings.HasPrefix(awsError.Code, "Throttling")
}

func (s *Scheduler) addDeadLetter(one schedule, err error, attempts int) {
	letter := DeadLetter{At: s.cfg.Clock.Now(), Schedule: *one.Name, Code: "InternalFailure", Message: err.Error(), Attempts: attempts}
	if awsError, ok := errors.AsType[*wire.Error](err); ok {
		letter.Code, letter.Message = awsError.Code, awsError.Message
	}
	if queue := one.Target.DeadLetterConfig; queue != nil {
		letter.Queue = aws.ToString(queue.Arn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadLetters = append(s.deadLetters, letter)
}

// overrides returns the overrides in a target's input.
func overrides(target types.Target) (*ecstypes.TaskOverride, error) {
	if target.Input == nil {
		return nil, nil
	}
	out := &ecstypes.TaskOverride{}
	return out, wire.DecodeJSON(strings.NewReader(*target.Input), out)
}

// runTaskInput returns the call that a schedule's target describes.
func runTaskInput(one schedule) (*ecs.RunTaskInput, error) {
	p := one.Target.EcsParameters
	given, err := overrides(*one.Target)
	if err != nil {
		return nil, fmt.Errorf("the input of schedule %s: %w", *one.Name, err)
	}
	in := &ecs.RunTaskInput{
		Cluster: one.Target.Arn, TaskDefinition: p.TaskDefinitionArn, Count: new(cmp.Or(aws.ToInt32(p.TaskCount), 1)),
		StartedBy: new(startedBy(*one.Name)), ClientToken: new(wire.NewUUID()), Group: p.Group, Overrides: given,
		LaunchType: ecstypes.LaunchType(p.LaunchType), PlatformVersion: p.PlatformVersion, ReferenceId: p.ReferenceId,
		EnableECSManagedTags: aws.ToBool(p.EnableECSManagedTags), EnableExecuteCommand: aws.ToBool(p.EnableExecuteCommand),
		PropagateTags: ecstypes.PropagateTags(p.PropagateTags),
	}
	if n := p.NetworkConfiguration; n != nil && n.AwsvpcConfiguration != nil {
		in.NetworkConfiguration = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{
			Subnets: n.AwsvpcConfiguration.Subnets, SecurityGroups: n.AwsvpcConfiguration.SecurityGroups,
			AssignPublicIp: ecstypes.AssignPublicIp(n.AwsvpcConfiguration.AssignPublicIp),
		}}
	}
	for _, c := range p.CapacityProviderStrategy {
		in.CapacityProviderStrategy = append(in.CapacityProviderStrategy, ecstypes.CapacityProviderStrategyItem{CapacityProvider: c.CapacityProvider, Base: c.Base, Weight: c.Weight})
	}
	for _, tag := range p.Tags {
		in.Tags = append(in.Tags, ecstypes.Tag{Key: new(tag["key"]), Value: new(tag["value"])})
	}
	return in, nil
}

// startedBy returns the value of startedBy that EventBridge Scheduler sets, shortened
// to ECS's limit.
func startedBy(name string) string {
	text := "chronos-schedule/" + name
	return text[:min(len(text), 36)]
}
