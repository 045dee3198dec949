package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/release/rollout/machine"
)

// orderJobs is how many changes are asked for at a time: enough to start fifty
// services within a second, and within the burst that ECS allows.
const orderJobs = 16

// execute gives all orders to ECS at the same time. An interruption does not cut
// them short: an answer that never came is worse than a late one.
func (r *run) execute(ctx context.Context, orders []machine.Command) []machine.Response {
	answers := make([]machine.Response, len(orders))
	var group errgroup.Group
	group.SetLimit(orderJobs)
	for n, o := range orders {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			answers[n] = r.executeOne(ctx, o)
			return nil
		})
	}
	_ = group.Wait() // the answers have the errors
	return answers
}

func (r *run) executeOne(ctx context.Context, o machine.Command) machine.Response {
	s := r.services[o.Service]
	var a machine.Response
	switch o.Action {
	case machine.Update:
		a.Deployments, a.Err = r.updateService(ctx, s, o)
	case machine.Stop:
		_, a.Err = r.ECS.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
			ServiceDeploymentArn: aws.String(s.lookup.arnOf(o.Deployment)), StopType: types.StopServiceDeploymentStopTypeRollback,
		})
	case machine.Restore:
		a.Deployments, a.Err = r.updateService(ctx, s, o)
		if callStatus(a.Err) == machine.Rejected && r.deregistered(ctx, o.Revision) {
			if a.Copy, a.Err = r.registerCopy(ctx, s, o.Revision); a.Err == nil {
				o.Revision = a.Copy
				a.Deployments, a.Err = r.updateService(ctx, s, o)
			}
		}
	}
	r.renew(a.Err)
	a.Status, a.Denied = callStatus(a.Err), isCode(a.Err, deniedCodes...) || isNotFound(a.Err)
	return a
}

func (r *run) updateService(ctx context.Context, s *serviceRollout, o machine.Command) ([]types.Deployment, error) {
	out, err := r.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: &r.request.Cluster, Service: &s.ECSName,
		TaskDefinition: &o.Revision, ForceNewDeployment: o.Force, DesiredCount: o.DesiredCount,
	})
	if err != nil {
		return nil, err
	}
	return out.Service.Deployments, nil
}

// deregistered reports whether a revision cannot be deployed any more.
func (e Engine) deregistered(ctx context.Context, revision string) bool {
	definition, _, err := e.definition(ctx, revision)
	return isNotFound(err) || err == nil && !active(definition)
}

// registerCopy registers what ran before once more, because somebody has
// deregistered its revision, and returns the ARN of the copy.
func (e Engine) registerCopy(ctx context.Context, s *serviceRollout, revision string) (string, error) {
	if s.previous == nil {
		return "", notFoundError(revision)
	}
	input := registerInput(*s.previous)
	input.Tags, _ = parseTags(s.previousTags).asCopyOf(s.From.TaskDefinition).withForeign(s.previousTags)
	out, err := e.ECS.RegisterTaskDefinition(ctx, input)
	if err != nil {
		return "", fmt.Errorf("registering %s again, which somebody has deregistered: %w", machine.ShortARN(revision), err)
	}
	return aws.ToString(out.TaskDefinition.TaskDefinitionArn), nil
}

// Registering is tried again when it is throttled or its answer is lost: ECS
// takes a burst of 20 and then one a second, and a revision that nobody runs
// changes nothing.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
const (
	registerPause = time.Second
	registerTries = 60 // if throttled
	registerLost  = 3  // if no answer comes
)

// register registers the new revisions, all before the first service is
// updated. They go one after another because ECS takes one a second in the end.
func (e Engine) register(ctx context.Context, services []*servicePlan) error {
	for _, s := range services {
		if s.definition == nil {
			continue
		}
		if err := e.registerOne(ctx, s); err != nil {
			return fmt.Errorf("registering a revision of %s: %w", s.target.Service.Family(), err)
		}
		e.Event(s.Name, "registered "+machine.ShortARN(s.To.TaskDefinition))
	}
	return nil
}

func (e Engine) registerOne(ctx context.Context, s *servicePlan) error {
	for try := 1; ; try++ {
		out, err := e.callRegister(ctx, s.definition)
		if err == nil {
			s.To.TaskDefinition = aws.ToString(out.TaskDefinition.TaskDefinitionArn)
			return nil
		}
		e.renew(err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case callStatus(err) == machine.Rejected, try >= registerLost && callStatus(err) != machine.Throttled, try >= registerTries:
			return err
		}
		if err := e.Clock.Sleep(ctx, registerPause); err != nil {
			return err
		}
	}
}

func (e Engine) callRegister(ctx context.Context, input *ecs.RegisterTaskDefinitionInput) (*ecs.RegisterTaskDefinitionOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return e.ECS.RegisterTaskDefinition(ctx, input)
}
