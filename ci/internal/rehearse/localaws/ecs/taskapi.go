package ecs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// maxStopReason is the maximum length of StopTask's reason.
const maxStopReason = 1024

// stoppedTaskRetention is how long a stopped task stays visible.
const stoppedTaskRetention = time.Hour

// pruneStoppedTasks removes tasks that stopped long ago.
func (c *ControlPlane) pruneStoppedTasks() {
	for arn, t := range c.tasks {
		if t.record.StoppedAt != nil && time.Since(*t.record.StoppedAt) > stoppedTaskRetention {
			delete(c.tasks, arn)
			delete(c.tags, arn)
		}
	}
}

// task finds a task of a cluster by id or ARN.
func (c *ControlPlane) task(cl *cluster, ref string) (*taskRun, string) {
	arn := c.cfg.Scope.ARN("ecs", "task/"+cl.name+"/"+wire.ResourceName(ref))
	return c.tasks[arn], arn
}

func (c *ControlPlane) stopTask(ctx context.Context, in *awsecs.StopTaskInput) (*awsecs.StopTaskOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	t, arn := c.task(cl, aws.ToString(in.Task))
	wire.AddResources(ctx, arn)
	if t == nil {
		return nil, wire.Errorf("InvalidParameterException", "The referenced task was not found.")
	}
	if len(aws.ToString(in.Reason)) > maxStopReason {
		return nil, wire.Errorf("InvalidParameterException", "reason length must be at most %d", maxStopReason)
	}
	t.drainFirst = t.serving()
	t.requestStop(types.TaskStopCodeUserInitiated, cmp.Or(aws.ToString(in.Reason), "Task stopped by user"))
	t.wakeService()
	return &awsecs.StopTaskOutput{Task: new(t.describe(nil))}, nil
}

func (c *ControlPlane) listTasks(ctx context.Context, in *awsecs.ListTasksInput) (*awsecs.ListTasksOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, cl.arn)
	if in.ServiceName != nil {
		if _, ok := cl.services[wire.ResourceName(*in.ServiceName)]; !ok {
			return nil, wire.Errorf("ServiceNotFoundException", "Service not found.")
		}
	}
	c.pruneStoppedTasks()
	desired := cmp.Or(in.DesiredStatus, types.DesiredStatusRunning)
	var found []*taskRun
	for _, t := range c.tasks {
		switch {
		case hidden(ctx, t):
		case t.cluster != cl, *t.record.DesiredStatus != string(desired):
		case in.ServiceName != nil && *t.record.Group != "service:"+wire.ResourceName(*in.ServiceName):
		case in.Family != nil && *t.definition.Family != *in.Family:
		case in.StartedBy != nil && aws.ToString(t.record.StartedBy) != *in.StartedBy:
		case in.LaunchType != "" && in.LaunchType != t.record.LaunchType:
		default:
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *taskRun) int {
		return cmp.Or(b.record.CreatedAt.Compare(*a.record.CreatedAt), strings.Compare(a.id, b.id))
	})
	arns := []string{}
	for _, t := range found {
		arns = append(arns, t.arn)
	}
	page, next, err := wire.Paginate(arns, in.NextToken, in.MaxResults, 100)
	return &awsecs.ListTasksOutput{TaskArns: page, NextToken: next}, err
}

func (c *ControlPlane) describeTasks(ctx context.Context, in *awsecs.DescribeTasksInput) (*awsecs.DescribeTasksOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Tasks) == 0:
		return nil, wire.Errorf("InvalidParameterException", "Tasks cannot be empty.")
	case len(in.Tasks) > 100:
		return nil, wire.Errorf("InvalidParameterException", "Cannot describe more than 100 tasks.")
	}
	out := &awsecs.DescribeTasksOutput{Tasks: []types.Task{}, Failures: []types.Failure{}}
	for _, ref := range in.Tasks {
		t, arn := c.task(cl, ref)
		wire.AddResources(ctx, arn)
		if t == nil || hidden(ctx, t) {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
			continue
		}
		var tags []types.Tag
		if slices.Contains(in.Include, types.TaskFieldTags) {
			tags = c.listTags(arn)
		}
		out.Tasks = append(out.Tasks, t.describe(tags))
	}
	return out, nil
}

// hidden reports whether an injected fault hides a new task from a call: reads of AWS
// are eventually consistent.
func hidden(ctx context.Context, t *taskRun) bool {
	d := wire.InjectionOf(ctx).HiddenFor
	return d > 0 && time.Since(*t.record.CreatedAt) < d
}

// describe returns a copy of a task's record, which continues to change.
func (t *taskRun) describe(tags []types.Tag) types.Task {
	out := t.record
	out.Containers = slices.Clone(out.Containers)
	out.Attachments = slices.Clone(out.Attachments)
	out.Tags = append([]types.Tag{}, tags...)
	return out
}
