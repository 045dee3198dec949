package rollout

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// teller knows what was told of a service, so that each thing is told once,
// however late and in whatever order readings come.
type teller struct {
	events  map[string]bool   // ids
	tasks   map[string]string // last state by ARN
	targets map[string]string // last health by address
	counts  string            // of the deployments, when tasks were looked at last
	trouble string            // the last event that tells of something that ECS cannot do
}

// skip takes events as told.
func (t *teller) skip(events []types.ServiceEvent) {
	t.events = map[string]bool{}
	for _, event := range events {
		t.events[aws.ToString(event.Id)] = true
	}
}

// tellEvents tells the service events that were not told yet, oldest first.
func (e Engine) tellEvents(m *move, events []types.ServiceEvent) {
	if m.told.events == nil {
		m.told.events = map[string]bool{}
	}
	for _, event := range slices.Backward(events) {
		if id := aws.ToString(event.Id); !m.told.events[id] {
			m.told.events[id] = true
			text := readable(aws.ToString(event.Message))
			if trouble.MatchString(text) {
				m.told.trouble = text
			}
			e.Event(m.name(), text)
		}
	}
}

// trouble are the words of service events that say what keeps ECS from going on.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
var trouble = regexp.MustCompile(`(?i)\bunable\b|\bfail|unhealthy|error|throttl|insufficient|cannot|could not`)

// What ECS says in every event of a service and people know already, and the
// ARN of a target group, of which its name is enough.
var (
	eventSubject = regexp.MustCompile(`^\(service [^)]*\) `)
	targetGroup  = regexp.MustCompile(`\(target-group arn:[^)]*:targetgroup/([^/)]+)/[^)]*\)`)
)

// readable is the message of a service event without what makes it long.
func readable(message string) string {
	return targetGroup.ReplaceAllString(eventSubject.ReplaceAllString(message, ""), "$1")
}

// withTrouble adds to a verdict what ECS said last that keeps it from going on.
func (m *move) withTrouble(verdict string) string {
	if m.told.trouble == "" {
		return verdict
	}
	return verdict + ": " + m.told.trouble
}

// closeLimit is how many services are looked at task by task. Beyond it the
// services' own events must do: a look costs up to four calls.
const closeLimit = 10

// lookCloser tells how the tasks of our deployments come and go, and what their
// load balancers say of them. Tasks are asked for when the service's counts
// have changed. What cannot be read is left out: it decides nothing.
func (e Engine) lookCloser(ctx context.Context, cluster string, moves []*move, observed map[*move]observation) {
	if len(moves) > closeLimit {
		return
	}
	for _, m := range moves {
		own := observed[m].deployment(m.own)
		if own == nil || m.verdict != pending {
			continue
		}
		counts := fmt.Sprintf("%d %d %d", own.RunningCount, own.PendingCount, own.FailedTasks)
		if counts != m.told.counts {
			m.told.counts = counts
			e.tellTasks(ctx, cluster, m)
		}
		if own.RunningCount > 0 {
			e.tellTargets(ctx, m)
		}
	}
}

func (e Engine) tellTasks(ctx context.Context, cluster string, m *move) {
	if m.told.tasks == nil {
		m.told.tasks = map[string]string{}
	}
	for _, desired := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		tasks, err := e.tasks(ctx, cluster, m, m.own, desired)
		if err != nil {
			return
		}
		for _, task := range tasks {
			arn, state := aws.ToString(task.TaskArn), taskState(task)
			if m.told.tasks[arn] != state {
				m.told.tasks[arn] = state
				e.Event(m.name(), fmt.Sprintf("task %s is %s", afterSlash(arn), state))
			}
		}
	}
}

func taskState(task types.Task) string {
	state := aws.ToString(task.LastStatus)
	if reason := aws.ToString(task.StoppedReason); reason != "" {
		state += ": " + readable(reason)
	}
	return state
}

// tellTargets tells the health of the service's targets where it has changed.
func (e Engine) tellTargets(ctx context.Context, m *move) {
	if m.told.targets == nil {
		m.told.targets = map[string]string{}
	}
	health := e.targetHealth(ctx, m)
	for _, address := range slices.Sorted(maps.Keys(health)) {
		if state := health[address].said(); m.told.targets[address] != state {
			m.told.targets[address] = state
			e.Event(m.name(), fmt.Sprintf("target %s is %s", address, state))
		}
	}
}

// targetHealth is what a load balancer says of one address.
type targetHealth elbtypes.TargetHealth

func (h targetHealth) said() string {
	said := string(h.State)
	if description := aws.ToString(h.Description); description != "" && h.State != elbtypes.TargetHealthStateEnumHealthy {
		said += " (" + description + ")"
	}
	return said
}

// targetHealth asks the service's target groups about their targets, by
// address. Of an address in several the worse is told.
func (e Engine) targetHealth(ctx context.Context, m *move) map[string]targetHealth {
	health := map[string]targetHealth{}
	for _, group := range e.groupHealth(ctx, m.service) {
		for address, h := range group {
			if known, ok := health[address]; !ok || known.State == elbtypes.TargetHealthStateEnumHealthy {
				health[address] = h
			}
		}
	}
	return health
}

// groupHealth is what each of a service's target groups says of its targets, by
// address. Groups that cannot be asked are left out.
func (e Engine) groupHealth(ctx context.Context, service types.Service) []map[string]targetHealth {
	if e.Health == nil {
		return nil
	}
	var groups []map[string]targetHealth
	for _, balancer := range service.LoadBalancers {
		if balancer.TargetGroupArn == nil {
			continue
		}
		out, err := e.Health.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: balancer.TargetGroupArn})
		if err != nil {
			continue
		}
		group := map[string]targetHealth{}
		for _, d := range out.TargetHealthDescriptions {
			if d.Target != nil && d.TargetHealth != nil {
				group[fmt.Sprintf("%s:%d", aws.ToString(d.Target.Id), aws.ToInt32(d.Target.Port))] = targetHealth(*d.TargetHealth)
			}
		}
		groups = append(groups, group)
	}
	return groups
}
