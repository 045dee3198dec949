package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// Limits of a diagnosis.
const (
	logTail           = 20  // lines kept for each cause
	describeTaskLimit = 100 // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
	diagnosisTimeout  = 30 * time.Second
)

// diagnose finds out why tasks of our deployments stopped. A diagnosis that
// fails is told and does not change the verdict.
func (e Engine) diagnose(ctx context.Context, cluster string, moves []*move) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	for _, m := range moves {
		causes, err := e.causes(ctx, cluster, m)
		if err != nil {
			e.Event(m.name(), "could not find out why: "+err.Error())
		}
		m.causes = causes
		for _, cause := range causes {
			e.Event(m.name(), fmt.Sprintf("cause: %s%s", cause.Reason, exitText(cause)))
		}
	}
}

// causes groups the stopped tasks of our deployment by what stopped them.
func (e Engine) causes(ctx context.Context, cluster string, m *move) ([]report.Cause, error) {
	tasks, err := e.stoppedTasks(ctx, cluster, m)
	if err != nil {
		return nil, err
	}
	var causes []report.Cause
	var samples []types.Task
	for _, task := range tasks {
		cause := m.cause(task)
		n := slices.IndexFunc(causes, func(known report.Cause) bool { return sameCause(known, cause) })
		if n >= 0 {
			causes[n].Count++
			continue
		}
		causes, samples = append(causes, cause), append(samples, task)
	}
	for n := range causes {
		if causes[n].LogTail, err = e.logTail(ctx, m, samples[n]); err != nil {
			e.Event(m.name(), err.Error())
		}
	}
	return causes, nil
}

func sameCause(a, b report.Cause) bool {
	return a.Reason == b.Reason && a.StopCode == b.StopCode && exitText(a) == exitText(b)
}

func exitText(c report.Cause) string {
	if c.ExitCode == nil {
		return ""
	}
	return fmt.Sprintf(", exit code %d", *c.ExitCode)
}

// stoppedTasks are the tasks of our own deployment that stopped for a reason
// of their own. ECS keeps them for an hour at least.
func (e Engine) stoppedTasks(ctx context.Context, cluster string, m *move) ([]types.Task, error) {
	list, err := e.ECS.ListTasks(ctx, &ecs.ListTasksInput{
		Cluster: &cluster, ServiceName: aws.String(m.target.Service.ServiceName()),
		DesiredStatus: types.DesiredStatusStopped, MaxResults: aws.Int32(describeTaskLimit),
	})
	if err != nil {
		return nil, fmt.Errorf("listing stopped tasks: %w", err)
	}
	if len(list.TaskArns) == 0 {
		return nil, nil
	}
	out, err := e.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: list.TaskArns})
	if err != nil {
		return nil, fmt.Errorf("describing stopped tasks: %w", err)
	}
	return slices.DeleteFunc(out.Tasks, func(t types.Task) bool {
		return aws.ToString(t.StartedBy) != m.own || strings.HasPrefix(aws.ToString(t.StoppedReason), "Scaling activity initiated by")
	}), nil
}

// cause reads why a task stopped: from the task when it never started, else
// from the container that ended it.
func (m *move) cause(task types.Task) report.Cause {
	cause := report.Cause{
		Task: aws.ToString(task.TaskArn), Count: 1,
		StopCode: string(task.StopCode), Reason: readable(aws.ToString(task.StoppedReason)),
	}
	for _, c := range task.Containers {
		if aws.ToString(c.Name) != m.target.Service.Container() {
			continue
		}
		cause.ExitCode = c.ExitCode
		if reason := aws.ToString(c.Reason); reason != "" && !strings.Contains(cause.Reason, reason) {
			cause.Reason += ": " + reason
		}
	}
	return cause
}

// logTail reads the last lines of the service's container in a task. The name
// of the stream is given by the awslogs driver:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
func (e Engine) logTail(ctx context.Context, m *move, task types.Task) ([]string, error) {
	definition, _, err := e.definition(ctx, m.to.TaskDefinition)
	if err != nil {
		return nil, err
	}
	for _, c := range definition.ContainerDefinitions {
		if aws.ToString(c.Name) != m.target.Service.Container() || c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
			continue
		}
		options := c.LogConfiguration.Options
		stream := fmt.Sprintf("%s/%s/%s", options["awslogs-stream-prefix"], aws.ToString(c.Name), afterSlash(aws.ToString(task.TaskArn)))
		return e.readTail(ctx, options["awslogs-group"], stream)
	}
	return nil, nil
}

func (e Engine) readTail(ctx context.Context, group, stream string) ([]string, error) {
	out, err := e.Logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: &group, LogStreamName: &stream, Limit: aws.Int32(logTail), StartFromHead: aws.Bool(false),
	})
	if isCode(err, "ResourceNotFoundException") {
		return nil, nil // a container that never started has no stream
	}
	if err != nil {
		return nil, fmt.Errorf("reading log stream %s of %s: %w", stream, group, err)
	}
	var lines []string
	for _, event := range out.Events {
		lines = append(lines, strings.TrimRight(aws.ToString(event.Message), "\r\n"))
	}
	return lines, nil
}
