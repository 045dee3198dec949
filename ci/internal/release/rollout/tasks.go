package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
)

// Limits on reads of tasks and logs.
const (
	LogTailLines      = 20  // lines of a log in a cause
	maxTaskPages      = 5   // of 100 stopped tasks each
	describeTaskLimit = 100 // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
)

// tasks returns the tasks of a deployment, or all of the service with "". ECS keeps stopped tasks for at least an hour.
func (e Engine) tasks(ctx context.Context, s platform.Service, deployment string, desired types.DesiredStatus) ([]types.Task, error) {
	input := &ecs.ListTasksInput{
		Cluster: aws.String(s.ClusterName()), ServiceName: aws.String(s.ServiceName()),
		DesiredStatus: desired, MaxResults: aws.Int32(describeTaskLimit),
	}
	tasks, err := ListTasks(ctx, e.ECS, input, s.ServiceName(), once)
	if deployment == "" {
		return tasks, err
	}
	return slices.DeleteFunc(tasks, func(task types.Task) bool { return aws.ToString(task.StartedBy) != deployment }), err
}

// familyTasks returns the tasks of a service's family, standalone ones as well.
func (e Engine) familyTasks(ctx context.Context, s platform.Service, desired types.DesiredStatus) ([]types.Task, error) {
	input := &ecs.ListTasksInput{Cluster: aws.String(s.ClusterName()), Family: aws.String(s.Family()), DesiredStatus: desired}
	return ListTasks(ctx, e.ECS, input, s.Family(), func(ctx context.Context, what string, call func(context.Context) error) error {
		return once(ctx, what, func(ctx context.Context) error { return Retry(ctx, e.Clock, e.Renew, call) })
	})
}

// once makes a call. what is what it does, for the error.
func once(ctx context.Context, what string, call func(context.Context) error) error {
	if err := call(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// TaskReader is the part of the ECS API that reads tasks.
type TaskReader interface {
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// ListTasks returns the tasks that match an input, of at most [maxTaskPages] pages. try
// makes each call, and adds what it does, such as "listing tasks of " and the name, to its
// error.
func ListTasks(ctx context.Context, api TaskReader, input *ecs.ListTasksInput, name string,
	try func(ctx context.Context, what string, call func(context.Context) error) error,
) ([]types.Task, error) {
	var tasks []types.Task
	for range maxTaskPages {
		var list *ecs.ListTasksOutput
		err := try(ctx, "listing tasks of "+name, func(ctx context.Context) (err error) {
			list, err = api.ListTasks(ctx, input)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(list.TaskArns) > 0 {
			err := try(ctx, "describing tasks of "+name, func(ctx context.Context) error {
				out, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: input.Cluster, Tasks: list.TaskArns})
				if err == nil {
					tasks = append(tasks, out.Tasks...)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		if input.NextToken = list.NextToken; list.NextToken == nil {
			break
		}
	}
	return tasks, nil
}

// addressOf returns a task's private IPv4 address, or "".
func addressOf(task types.Task) string {
	for _, attachment := range task.Attachments {
		for _, detail := range attachment.Details {
			if aws.ToString(detail.Name) == "privateIPv4Address" {
				return aws.ToString(detail.Value)
			}
		}
	}
	return ""
}

// logTail returns the last log lines of the container that ended a task, or of the
// service's own.
func (e Engine) logTail(ctx context.Context, d diagnosis, task types.Task) ([]string, error) {
	of := d.containers()
	group, stream := of.LogStream(of.Failed(task), aws.ToString(task.TaskArn))
	if group == "" {
		return nil, nil
	}
	return LogTail(ctx, e.Logs, group, stream)
}

// LogTail returns the last [LogTailLines] lines of a log stream, redacted; none if the
// container never started.
func LogTail(ctx context.Context, logs Logs, group, stream string) ([]string, error) {
	out, err := logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: &group, LogStreamName: &stream, Limit: aws.Int32(LogTailLines), StartFromHead: aws.Bool(false),
	})
	if IsCode(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading log stream %s of %s: %w", stream, group, err)
	}
	return LogLines(out.Events), nil
}

// LogLines returns the lines of log events, redacted.
func LogLines(events []logstypes.OutputLogEvent) []string {
	var lines []string
	for _, event := range events {
		lines = append(lines, strings.TrimRight(aws.ToString(event.Message), "\r\n"))
	}
	return leak.RedactLines(lines)
}

// targetHealth is the health of a target.
type targetHealth elbtypes.TargetHealth

// targetHealth returns the health of a service's targets by address, the worst one if an
// address is in several target groups.
func (e Engine) targetHealth(ctx context.Context, service types.Service) map[string]targetHealth {
	health := map[string]targetHealth{}
	for _, group := range e.groupHealth(ctx, service) {
		for address, h := range group {
			if known, ok := health[address]; !ok || known.State == elbtypes.TargetHealthStateEnumHealthy {
				health[address] = h
			}
		}
	}
	return health
}

func (h targetHealth) String() string {
	text := string(h.State)
	if description := aws.ToString(h.Description); description != "" && h.State != elbtypes.TargetHealthStateEnumHealthy {
		text += " (" + description + ")"
	}
	return text
}

// groupHealth returns the health of the targets in each of a service's target groups, by
// address. Two groups between which ECS shifts traffic count as one. It skips groups that
// cannot be read.
func (e Engine) groupHealth(ctx context.Context, service types.Service) []map[string]targetHealth {
	if e.Health == nil {
		return nil
	}
	var groups []map[string]targetHealth
	for _, balancer := range service.LoadBalancers {
		arns := []*string{balancer.TargetGroupArn}
		if a := balancer.AdvancedConfiguration; a != nil {
			arns = append(arns, a.AlternateTargetGroupArn)
		}
		group := map[string]targetHealth{}
		read := false
		for _, arn := range arns {
			if arn == nil {
				continue
			}
			out, err := e.Health.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: arn})
			if err != nil {
				continue
			}
			read = true
			for _, d := range out.TargetHealthDescriptions {
				if d.Target != nil && d.TargetHealth != nil {
					group[fmt.Sprintf("%s:%d", aws.ToString(d.Target.Id), aws.ToInt32(d.Target.Port))] = targetHealth(*d.TargetHealth)
				}
			}
		}
		if read {
			groups = append(groups, group)
		}
	}
	return groups
}
