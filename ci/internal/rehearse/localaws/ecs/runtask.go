package ecs

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Limits of RunTask.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
const (
	maxTasksPerCall   = 10
	maxOverrideLength = 8192
)

var (
	clientToken = regexp.MustCompile(`^[!-~]{1,64}$`)
	startedBy   = regexp.MustCompile(`^[a-zA-Z0-9_/-]{0,128}$`)
)

// clientTokenRetention is how long a client token is remembered. It is at least as long
// as its stopped tasks are visible.
const clientTokenRetention = 24 * time.Hour

// tokenUse is the call that used a client token first.
type tokenUse struct {
	parameters string
	tasks      []*taskRun
	at         time.Time
}

// RunTask runs tasks as the API's operation does, for other services of the embedded AWS.
// The output does not change afterwards.
func (c *ControlPlane) RunTask(ctx context.Context, in *awsecs.RunTaskInput) (*awsecs.RunTaskOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runTask(ctx, in)
}

func (c *ControlPlane) runTask(ctx context.Context, in *awsecs.RunTaskInput) (*awsecs.RunTaskOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	d, err := c.activeTaskDefinition(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *d.TaskDefinitionArn)
	c.requireRunTaskPermissions(ctx, in, cl, d)
	count := int(aws.ToInt32(cmp.Or(in.Count, new(int32(1)))))
	if err := c.validateRunTask(in, d, count); err != nil {
		return nil, err
	}
	launch, err := cl.launch(in.LaunchType, in.CapacityProviderStrategy)
	if err != nil {
		return nil, err
	}
	if err := launch.validate(d); err != nil {
		return nil, err
	}
	parameters, err := runTaskParameters(in)
	if err != nil {
		return nil, err
	}
	token := cl.name + " " + aws.ToString(in.ClientToken)
	out := &awsecs.RunTaskOutput{Tasks: []types.Task{}, Failures: []types.Failure{}}
	if use, ok := c.usedToken(token); ok && in.ClientToken != nil {
		if use.parameters != parameters {
			return nil, tokenConflict(use)
		}
		for _, t := range use.tasks {
			out.Tasks = append(out.Tasks, t.describe(c.listTags(t.arn)))
		}
		return out, nil
	}
	if reason := wire.InjectionOf(ctx).Failure; reason != "" {
		for range count {
			out.Failures = append(out.Failures, types.Failure{Reason: &reason})
		}
		return out, nil // nothing runs: the client token is free again
	}
	tasks := make([]*taskRun, count)
	for i := range tasks {
		tasks[i] = c.startStandaloneTask(in, cl, d, launch.provider(tasks[:i]))
		out.Tasks = append(out.Tasks, tasks[i].describe(c.listTags(tasks[i].arn)))
	}
	if in.ClientToken != nil {
		c.tokens[token] = tokenUse{parameters, tasks, time.Now()}
	}
	return out, nil
}

// startStandaloneTask starts one task of a valid call.
func (c *ControlPlane) startStandaloneTask(in *awsecs.RunTaskInput, cl *cluster, d *types.TaskDefinition, provider *string) *taskRun {
	t := c.newTask(cl, d, cmp.Or(aws.ToString(in.Group), "family:"+*d.Family))
	t.record.StartedBy = in.StartedBy
	t.record.CapacityProviderName = provider
	t.record.EnableExecuteCommand = in.EnableExecuteCommand
	t.override(in.Overrides)
	if in.PropagateTags == types.PropagateTagsTaskDefinition {
		c.setTags(t.arn, c.listTags(*d.TaskDefinitionArn))
	}
	if in.EnableECSManagedTags {
		c.setTags(t.arn, []types.Tag{{Key: new("aws:ecs:clusterName"), Value: &cl.name}})
	}
	c.setTags(t.arn, in.Tags)
	c.spawn(t.run)
	return t
}

// override applies the overrides of a call to a task's record. As in AWS, the record
// lists every container, also those without overrides.
func (t *taskRun) override(o *types.TaskOverride) {
	if o == nil {
		return
	}
	list := t.record.Overrides.ContainerOverrides
	overrides := *o
	for _, given := range o.ContainerOverrides {
		i := slices.IndexFunc(list, func(c types.ContainerOverride) bool { return *c.Name == *given.Name })
		list[i] = given
		rec := &t.record.Containers[i]
		if given.Cpu != nil {
			rec.Cpu = new(itoa(*given.Cpu))
		}
		if given.Memory != nil {
			rec.Memory = new(itoa(*given.Memory))
		}
		if given.MemoryReservation != nil {
			rec.MemoryReservation = new(itoa(*given.MemoryReservation))
		}
	}
	overrides.ContainerOverrides = list
	overrides.InferenceAcceleratorOverrides = []types.InferenceAcceleratorOverride{} //nolint:staticcheck // AWS returns it still
	overrides.Cpu, overrides.Memory = normalizeSize(o.Cpu, "vcpu"), normalizeSize(o.Memory, "gb")
	t.record.Overrides = &overrides
	t.record.Cpu = cmp.Or(overrides.Cpu, t.record.Cpu)
	t.record.Memory = cmp.Or(overrides.Memory, t.record.Memory)
	t.record.EphemeralStorage = cmp.Or(o.EphemeralStorage, t.record.EphemeralStorage)
}

// requireRunTaskPermissions records the permissions that RunTask needs besides its own:
// passing the roles of the task, and tagging it.
func (c *ControlPlane) requireRunTaskPermissions(ctx context.Context, in *awsecs.RunTaskInput, cl *cluster, d *types.TaskDefinition) {
	roles := []*string{d.ExecutionRoleArn, d.TaskRoleArn}
	if o := in.Overrides; o != nil {
		roles = []*string{cmp.Or(o.ExecutionRoleArn, d.ExecutionRoleArn), cmp.Or(o.TaskRoleArn, d.TaskRoleArn)}
	}
	for _, role := range roles {
		if role != nil {
			wire.RequirePermission(ctx, "iam", "PassRole", *role, map[string]string{"iam:PassedToService": tasksPrincipal})
		}
	}
	requireTagResource(ctx, "RunTask", c.cfg.Scope.ARN("ecs", "task/"+cl.name+"/*"), in.Tags)
}

func (c *ControlPlane) validateRunTask(in *awsecs.RunTaskInput, d *types.TaskDefinition, count int) error {
	switch {
	case count < 1 || count > maxTasksPerCall:
		return invalid("Count must be between 1 and %d.", maxTasksPerCall)
	case in.ClientToken != nil && !clientToken.MatchString(*in.ClientToken):
		return invalid("clientToken must have 1 to 64 characters in the range of 33-126.")
	case !startedBy.MatchString(aws.ToString(in.StartedBy)):
		return invalid("startedBy must have at most 128 letters, numbers, hyphens, forward slashes and underscores.")
	case strings.HasPrefix(aws.ToString(in.Group), "service:"):
		return invalid("The task group %s is reserved for the tasks of services.", *in.Group)
	case in.PropagateTags == types.PropagateTagsService:
		return invalid("propagateTags does not support SERVICE when running a task.")
	}
	if err := validateTags(in.Tags); err != nil {
		return err
	}
	if err := validateNetwork(d, in.NetworkConfiguration); err != nil {
		return err
	}
	return validateOverrides(in.Overrides, d)
}

func validateOverrides(o *types.TaskOverride, d *types.TaskDefinition) error {
	if o == nil {
		return nil
	}
	text, err := wire.EncodeJSON(o)
	if err != nil {
		return err
	}
	if len(text) > maxOverrideLength {
		return wire.Errorf("InvalidParameterException", "Container Overrides length must be at most %d", maxOverrideLength)
	}
	for _, c := range o.ContainerOverrides {
		name := aws.ToString(c.Name)
		if name == "" {
			return wire.Errorf("InvalidParameterException", "Container name is required for container overrides.")
		}
		if !slices.ContainsFunc(d.ContainerDefinitions, func(cd types.ContainerDefinition) bool { return *cd.Name == name }) {
			return wire.Errorf("InvalidParameterException", "Override for container named %s is not a container in the TaskDefinition.", name)
		}
		if name := overriddenSecret(d, c); name != "" {
			return wire.Errorf("ClientException", duplicateSecret, name)
		}
	}
	if (o.Cpu != nil || o.Memory != nil) && slices.Contains(d.RequiresCompatibilities, types.CompatibilityFargate) {
		cpu, memory := cmp.Or(normalizeSize(o.Cpu, "vcpu"), d.Cpu), cmp.Or(normalizeSize(o.Memory, "gb"), d.Memory)
		return validateFargateSize(aws.ToString(cpu), aws.ToString(memory))
	}
	return nil
}

// overriddenSecret returns the name of a container's secret that is also the name of a
// variable of its override, or "".
func overriddenSecret(d *types.TaskDefinition, o types.ContainerOverride) string {
	for _, cd := range d.ContainerDefinitions {
		if *cd.Name == *o.Name {
			return duplicateSecretName(types.ContainerDefinition{Environment: o.Environment, Secrets: cd.Secrets})
		}
	}
	return ""
}

// runTaskParameters returns what a repeated call with the same client token must repeat.
func runTaskParameters(in *awsecs.RunTaskInput) (string, error) {
	parameters := *in
	parameters.ClientToken, parameters.Cluster = nil, nil // a token belongs to a cluster, by name or ARN
	text, err := wire.EncodeJSON(&parameters)
	return string(text), err
}

// usedToken returns the first call with a client token, if it is remembered.
func (c *ControlPlane) usedToken(token string) (tokenUse, bool) {
	for other, use := range c.tokens {
		if time.Since(use.at) > clientTokenRetention {
			delete(c.tokens, other)
		}
	}
	use, ok := c.tokens[token]
	return use, ok
}

func tokenConflict(use tokenUse) error {
	arns := make([]string, len(use.tasks))
	for i, t := range use.tasks {
		arns[i] = t.arn
	}
	err := wire.Errorf("ConflictException", "The provided clientToken is already in use with a different RunTask request.")
	err.Members = map[string]any{"resourceIds": arns}
	return err
}
