package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// commandJobs is how many commands are executed concurrently: enough to start fifty
// services within a second, and within ECS's burst limit.
const commandJobs = 16

// execute executes commands concurrently. An interruption does not cancel them: a lost
// response is worse than a late one.
func (r *run) execute(ctx context.Context, commands []machine.Command) []machine.Response {
	responses := make([]machine.Response, len(commands))
	var group errgroup.Group
	group.SetLimit(commandJobs)
	for n, command := range commands {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			responses[n] = r.executeOne(ctx, command)
			return nil
		})
	}
	_ = group.Wait() // the responses have the errors
	return responses
}

func (r *run) executeOne(ctx context.Context, command machine.Command) machine.Response {
	s := r.services[command.Service]
	var response machine.Response
	switch command.Action {
	case machine.Update:
		response.Deployments, response.Err = r.updateService(ctx, s, command)
	case machine.Continue:
		_, response.Err = r.ECS.ContinueServiceDeployment(ctx, &ecs.ContinueServiceDeploymentInput{
			ServiceDeploymentArn: aws.String(s.lookup.arnOf(command.Deployment)), HookId: &command.Hook, Action: types.DeploymentLifecycleHookActionContinue,
		})
	case machine.Stop:
		_, response.Err = r.ECS.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
			ServiceDeploymentArn: aws.String(s.lookup.arnOf(command.Deployment)), StopType: types.StopServiceDeploymentStopTypeRollback,
		})
	case machine.Restore:
		response.Deployments, response.Err = r.updateService(ctx, s, command)
		if CallStatus(response.Err) == machine.Rejected && r.deregistered(ctx, command.Revision) {
			if response.Copy, response.Err = r.registerCopy(ctx, s, command.Revision); response.Err == nil {
				command.Revision = response.Copy
				response.Deployments, response.Err = r.updateService(ctx, s, command)
			}
		}
	}
	r.renew(response.Err)
	response.Status, response.Denied = CallStatus(response.Err), IsDenied(response.Err) || isNotFound(response.Err)
	return response
}

func (r *run) updateService(ctx context.Context, s *serviceRollout, command machine.Command) ([]types.Deployment, error) {
	input := &ecs.UpdateServiceInput{
		Cluster: s.cluster(), Service: &s.ECSName,
		TaskDefinition: &command.Revision, ForceNewDeployment: command.Force, DesiredCount: command.DesiredCount,
		DeploymentConfiguration: s.restoring,
	}
	if command.Action == machine.Update {
		input.DeploymentConfiguration, input.LoadBalancers = s.configuration, s.loadBalancers
	}
	out, err := r.ECS.UpdateService(ctx, input)
	if err != nil {
		return nil, err
	}
	return out.Service.Deployments, nil
}

// deregistered reports whether a revision can no longer be deployed.
func (e Engine) deregistered(ctx context.Context, revision string) bool {
	definition, _, err := e.definition(ctx, revision)
	return isNotFound(err) || err == nil && !active(definition)
}

// registerCopy registers a copy of the previous revision, which was deregistered, and
// returns its ARN.
func (e Engine) registerCopy(ctx context.Context, s *serviceRollout, revision string) (string, error) {
	if s.previous == nil {
		return "", notFoundError(revision)
	}
	input := registerInput(*s.previous)
	input.Tags, _ = parseTags(s.previousTags).asCopyOf(s.From.TaskDefinition).withForeign(e.Environment.Label(), s.previousTags)
	out, err := e.ECS.RegisterTaskDefinition(ctx, input)
	if err != nil {
		return "", fmt.Errorf("registering a copy of deregistered revision %s: %w", machine.ShortARN(revision), err)
	}
	return aws.ToString(out.TaskDefinition.TaskDefinitionArn), nil
}

// Limits on retries of RegisterTaskDefinition. ECS allows a burst of 20 calls and then one
// a second. Registering twice is harmless.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
const (
	registerPause = time.Second
	registerTries = 60 // throttled calls
	registerLost  = 3  // calls without a response
)

// register registers the new revisions before the first service is updated, one after
// another because ECS allows one a second.
func (e Engine) register(ctx context.Context, services []*servicePlan) error {
	for _, s := range services {
		if s.definition == nil {
			continue
		}
		arn, err := e.registerOne(ctx, s.definition)
		if err != nil {
			return fmt.Errorf("registering a revision of %s: %w", s.target.Service.Family(), err)
		}
		s.To.TaskDefinition = arn
		e.Event(s.Name, "registered "+machine.ShortARN(arn))
	}
	return nil
}

// registerOne registers a revision and returns its ARN.
func (e Engine) registerOne(ctx context.Context, input *ecs.RegisterTaskDefinitionInput) (string, error) {
	for try := 1; ; try++ {
		out, err := e.callRegister(ctx, input)
		if err == nil {
			return aws.ToString(out.TaskDefinition.TaskDefinitionArn), nil
		}
		e.renew(err)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case CallStatus(err) == machine.Rejected, try >= registerLost && CallStatus(err) != machine.Throttled, try >= registerTries:
			return "", err
		}
		if err := e.Clock.Sleep(ctx, registerPause); err != nil {
			return "", err
		}
	}
}

func (e Engine) callRegister(ctx context.Context, input *ecs.RegisterTaskDefinitionInput) (*ecs.RegisterTaskDefinitionOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return e.ECS.RegisterTaskDefinition(ctx, input)
}
