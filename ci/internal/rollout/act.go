package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dagger/slipway/internal/report"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

// orderJobs is how many changes are asked for at a time: enough to start fifty
// services within a second, and within the burst that ECS allows.
const orderJobs = 16

// carryOut gives all orders to ECS at the same time. An interruption does not
// cut them short: an answer that never came is worse than a late one.
func (e Engine) carryOut(ctx context.Context, request Request, orders []order) []answer {
	answers := make([]answer, len(orders))
	var group errgroup.Group
	group.SetLimit(orderJobs)
	for n, o := range orders {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			answers[n] = e.obey(ctx, request, o)
			return nil
		})
	}
	_ = group.Wait() // the answers have the errors
	return answers
}

// obey carries out one order.
func (e Engine) obey(ctx context.Context, request Request, o order) answer {
	m := o.move
	var err error
	var deployments []types.Deployment
	switch o.kind {
	case orderUpdate:
		deployments, err = e.updateService(ctx, request.Cluster, m, m.to.TaskDefinition, m.to.TaskDefinition == m.from.TaskDefinition, m.count.after())
	case orderStop:
		_, err = e.ECS.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
			ServiceDeploymentArn: &m.ownARN, StopType: types.StopServiceDeploymentStopTypeRollback,
		})
	case orderPutBack:
		deployments, err = e.updateService(ctx, request.Cluster, m, m.from.TaskDefinition, false, m.count.before())
		if fateOf(err) == refused && e.deregistered(ctx, m) {
			deployments, err = e.putBackAnew(ctx, request.Cluster, m)
		}
	}
	e.renew(err)
	return answer{fate: fateOf(err), deployments: deployments, err: err, denied: isCode(err, deniedCodes...) || isGone(err)}
}

func (e Engine) updateService(ctx context.Context, cluster string, m *move, revision string, force bool, desired *int32) ([]types.Deployment, error) {
	in := &ecs.UpdateServiceInput{
		Cluster: &cluster, Service: aws.String(m.target.Service.ServiceName()), TaskDefinition: &revision, ForceNewDeployment: force, DesiredCount: desired,
	}
	out, err := e.ECS.UpdateService(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Service.Deployments, nil
}

// deregistered tells whether what ran before cannot be deployed any more.
func (e Engine) deregistered(ctx context.Context, m *move) bool {
	definition, _, err := e.definition(ctx, m.from.TaskDefinition)
	return isGone(err) || err == nil && !active(definition)
}

// active tells whether a service can be given a revision. One that was described
// by an endpoint that tells no status can.
func active(definition *types.TaskDefinition) bool {
	return definition.Status == types.TaskDefinitionStatusActive || definition.Status == ""
}

// putBackAnew registers what ran before once more, because somebody has
// deregistered its revision, and updates the service to that.
func (e Engine) putBackAnew(ctx context.Context, cluster string, m *move) ([]types.Deployment, error) {
	if m.origin == nil {
		return nil, goneError(m.from.TaskDefinition)
	}
	input := carryOver(*m.origin)
	input.Tags, _ = readMarks(m.originTags).copied(m.from.TaskDefinition).tagged(m.originTags)
	out, err := e.ECS.RegisterTaskDefinition(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("registering %s again, which somebody has deregistered: %w", afterSlash(m.from.TaskDefinition), err)
	}
	m.from.TaskDefinition = aws.ToString(out.TaskDefinition.TaskDefinitionArn)
	m.origin, m.originTags = out.TaskDefinition, input.Tags
	return e.updateService(ctx, cluster, m, m.from.TaskDefinition, false, m.count.before())
}

// Codes of answers.
var (
	deniedCodes  = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	expiredCodes = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
)

// fateOf tells from an error whether a change may have been made. AWS's own
// faults and a broken line do not tell; a refusal and throttling do.
func fateOf(err error) asked {
	var said smithy.APIError
	switch {
	case err == nil:
		return taken
	case isThrottle(err):
		return throttled
	case isGone(err):
		return refused
	case !errors.As(err, &said), said.ErrorFault() == smithy.FaultServer, isServerError(err), isCode(err, expiredCodes...):
		return lost
	}
	return refused
}

func isThrottle(err error) bool {
	return (retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}).IsErrorThrottle(err) == aws.TrueTernary
}

// isServerError tells a fault of the service by its code, where the SDK does
// not model it.
func isServerError(err error) bool {
	return isCode(err, "ServerException", "InternalFailure", "InternalError", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException")
}

// renew has the credentials fetched anew when AWS says that they have expired.
func (e Engine) renew(err error) {
	if e.Renew != nil && isCode(err, expiredCodes...) {
		e.Renew()
	}
}

// isCode tells whether err is an answer of AWS with one of the error codes.
func isCode(err error, codes ...string) bool {
	var said smithy.APIError
	if !errors.As(err, &said) {
		return false
	}
	for _, code := range codes {
		if said.ErrorCode() == code {
			return true
		}
	}
	return false
}

// Registering is tried again when it is throttled or its answer is lost: ECS
// takes a burst of 20 and then one a second, and a revision that nobody runs
// changes nothing.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
const (
	registerPause = time.Second
	registerTries = 60
)

// register registers the new revisions, all before the first service is
// updated. They go one after another because ECS takes one a second in the end.
func (e Engine) register(ctx context.Context, moves []*move) error {
	for _, m := range moves {
		if m.definition == nil {
			continue
		}
		if err := e.registerOne(ctx, m); err != nil {
			return fmt.Errorf("registering a revision of %s: %w", m.target.Service.Family(), err)
		}
		e.Event(m.name(), "registered "+afterSlash(m.to.TaskDefinition))
	}
	return nil
}

func (e Engine) registerOne(ctx context.Context, m *move) error {
	for try := 1; ; try++ {
		out, err := e.callRegister(ctx, m.definition)
		if err == nil {
			m.to.TaskDefinition = aws.ToString(out.TaskDefinition.TaskDefinitionArn)
			return nil
		}
		e.renew(err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case fateOf(err) == refused, try >= maxTries && fateOf(err) != throttled, try >= registerTries:
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

// nextSteps are the commands that a human runs for what is not as it was, and
// has not arrived.
func nextSteps(cluster string, moves []*move) string {
	var commands []string
	for _, m := range moves {
		switch {
		case !m.touched() || m.result == report.Restored || m.result == report.Succeeded:
		case m.origin == nil: // nobody knows it any more
			commands = append(commands, fmt.Sprintf("slipway rollback --service %s --to COMMIT", m.name()))
		case !active(m.origin): // ECS refuses it; slipway registers its like
			commands = append(commands, fmt.Sprintf("slipway rollback --service %s --to %s", m.name(), afterSlash(m.from.TaskDefinition)))
		default:
			commands = append(commands, fmt.Sprintf("aws ecs update-service --cluster %s --service %s --task-definition %s",
				cluster, m.target.Service.ServiceName(), m.from.TaskDefinition))
		}
	}
	return strings.Join(commands, " && ")
}
