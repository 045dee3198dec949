package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// restore brings every touched service back to what ran before, and watches
// it until it is there. It outlives the cancellation of ctx: an interrupted
// release is restored, too.
func (e Engine) restore(ctx context.Context, request Request, moves []*move) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), request.RestoreTimeout,
		fmt.Errorf("not restored within the time limit of %s", request.RestoreTimeout))
	defer cancel()

	var touched []*move
	for _, m := range moves {
		if m.touched {
			m.verdict = pending
			touched = append(touched, m)
			e.Event(m.name(), "putting back "+m.from.Short())
		}
	}
	var failures []error
	for len(touched) > 0 {
		err := e.watch(ctx, request.Cluster, touched, e.bringBack(request.Cluster))
		var left []*move
		for _, m := range touched {
			switch {
			case m.verdict == arrived:
			case err != nil || m.verdict == broken:
				m.result = report.Failed
				m.stuck = fmt.Errorf("restoring %s: %w", m.name(), cmp.Or(m.stuck, err))
				failures = append(failures, m.stuck)
			default:
				left = append(left, m)
			}
		}
		touched = left
	}
	return errors.Join(failures...)
}

// bringBack judges a service on its way back and turns it round where nothing
// leads there.
func (e Engine) bringBack(cluster string) judgement {
	return func(ctx context.Context, m *move, o observation) verdict {
		v, why := m.judgeRestored(o)
		switch v {
		case arrived:
			m.result = report.Restored
			e.Event(m.name(), "runs the previous version again")
		case broken:
			m.stuck = errors.New(why)
			e.Event(m.name(), "cannot be restored: "+why)
		case undirected:
			if err := e.turnBack(ctx, cluster, m, o); err != nil {
				e.Event(m.name(), fmt.Sprintf("could not turn back, trying again: %s", err))
			}
		}
		return v
	}
}

// turnBack sets a service on its way back. A deployment of ours in flight is
// stopped by ECS's own rollback, so that its records tell what happened; where
// that is not to be had, or has brought the service elsewhere, the service is
// updated to the revision that ran before.
func (e Engine) turnBack(ctx context.Context, cluster string, m *move, o observation) error {
	switch o.status {
	case types.ServiceDeploymentStatusPending, types.ServiceDeploymentStatusInProgress:
		_, err := e.ECS.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{
			ServiceDeploymentArn: &m.ownARN, StopType: types.StopServiceDeploymentStopTypeRollback,
		})
		if err == nil {
			return nil
		}
		e.Event(m.name(), fmt.Sprintf("ECS would not roll back by itself, updating the service: %s", err))
	}
	_, err := e.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: &cluster, Service: aws.String(m.target.Service.ServiceName()), TaskDefinition: &m.from.TaskDefinition,
	})
	if err != nil {
		return fmt.Errorf("updating service %s to %s: %w", m.target.Service.ServiceName(), m.from.TaskDefinition, err)
	}
	return nil
}
