package rollout

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// eventDedupe is what was reported about a service, so that everything is reported once,
// however late and in whatever order it is read.
type eventDedupe struct {
	events  map[string]bool   // by id
	tasks   map[string]string // last state by ARN
	targets map[string]string // last health by address
	counts  string            // of the deployment, when its tasks were listed last
}

// newEventDedupe returns an eventDedupe that counts events as reported.
func newEventDedupe(events []types.ServiceEvent) eventDedupe {
	d := eventDedupe{events: map[string]bool{}, tasks: map[string]string{}, targets: map[string]string{}}
	for _, event := range events {
		d.events[aws.ToString(event.Id)] = true
	}
	return d
}

// reportServiceEvents reports new service events, oldest first, and returns the last
// one about a blocked deployment.
func (e Engine) reportServiceEvents(s *serviceRollout, events []types.ServiceEvent) (problem string) {
	for _, event := range slices.Backward(events) {
		if id := aws.ToString(event.Id); !s.reported.events[id] {
			s.reported.events[id] = true
			text := shortMessage(aws.ToString(event.Message))
			if isProblem.MatchString(text) {
				problem = text
			}
			e.Event(s.Name, text)
		}
	}
	return problem
}

// isProblem matches service events about a blocked deployment.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
var isProblem = regexp.MustCompile(`(?i)\bunable\b|\bfail|unhealthy|error|throttl|insufficient|cannot|could not`)

// The prefix of service events, and ARNs of target groups, which are shortened to their
// names.
var (
	eventSubject = regexp.MustCompile(`^\(service [^)]*\) `)
	targetGroup  = regexp.MustCompile(`\(target-group arn:[^)]*:targetgroup/([^/)]+)/[^)]*\)`)
)

// shortMessage returns a service event without its prefix and ARNs.
func shortMessage(message string) string {
	return targetGroup.ReplaceAllString(eventSubject.ReplaceAllString(message, ""), "$1")
}

// taskReportLimit is up to how many services tasks are reported. The tasks of one
// service cost up to four calls.
const taskReportLimit = 10

// reportTasks reports state changes of the tasks of our deployments and of their targets.
// Tasks are listed when the deployment's counts have changed. What cannot be read is
// skipped.
func (r *run) reportTasks(ctx context.Context, observed []machine.Observation) {
	if len(r.services) > taskReportLimit {
		return
	}
	for n, s := range r.services {
		progress := r.machine.Progress(n)
		own := machine.Deployment(observed[n].Deployments, progress.OwnDeployment)
		if own == nil || progress.Verdict != machine.Pending {
			continue
		}
		counts := fmt.Sprintf("%d %d %d", own.RunningCount, own.PendingCount, own.FailedTasks)
		if counts != s.reported.counts {
			s.reported.counts = counts
			r.reportTaskStates(ctx, s, progress.OwnDeployment)
		}
		if own.RunningCount > 0 {
			r.reportTargets(ctx, s)
		}
	}
}

func (r *run) reportTaskStates(ctx context.Context, s *serviceRollout, deployment string) {
	for _, desired := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		tasks, err := r.tasks(ctx, s.target.Service, deployment, desired)
		if err != nil {
			return
		}
		for _, task := range tasks {
			arn, state := aws.ToString(task.TaskArn), taskState(task)
			if s.reported.tasks[arn] != state {
				s.reported.tasks[arn] = state
				r.Event(s.Name, fmt.Sprintf("task %s is %s", machine.ShortARN(arn), state))
			}
		}
	}
}

func taskState(task types.Task) string {
	state := aws.ToString(task.LastStatus)
	if reason := aws.ToString(task.StoppedReason); reason != "" {
		state += ": " + shortMessage(reason)
	}
	return state
}

// reportTargets reports changes in the health of the service's targets.
func (r *run) reportTargets(ctx context.Context, s *serviceRollout) {
	health := r.targetHealth(ctx, s.updated())
	for _, address := range slices.Sorted(maps.Keys(health)) {
		if state := health[address].String(); s.reported.targets[address] != state {
			s.reported.targets[address] = state
			r.Event(s.Name, fmt.Sprintf("target %s is %s", address, state))
		}
	}
}
