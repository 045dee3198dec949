package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// observe observes all services, with one call for ten of them, and their service
// deployments. It reports new events, tasks and targets.
func (r *run) observe(ctx context.Context) ([]machine.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	described, err := r.describe(ctx, r.ids)
	if err != nil {
		r.renew(err)
		return nil, err
	}
	observed := make([]machine.Observation, len(r.services))
	current := make([]string, len(r.services))
	for n, s := range r.services {
		service := described[r.ids[n]]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			observed[n].Missing = true
			continue
		}
		if problem := r.reportServiceEvents(s, service.Events); problem != "" {
			r.machine.SetProblem(n, problem)
		}
		observed[n] = machine.Observation{Deployments: service.Deployments, DesiredCount: service.DesiredCount}
		current[n] = aws.ToString(service.CurrentServiceDeployment)
	}
	if err := r.observeDeployments(ctx, observed, current); err != nil {
		r.renew(err)
		return nil, err
	}
	r.reportTasks(ctx, observed)
	return observed, nil
}

// observeDeployments adds the state of our own service deployments. If the API is not
// supported or denied, the status stays empty, and the services' deployments decide.
//
// Our service deployment is the one whose target revision has the number in our
// deployment's id. The one that DescribeServices calls current is tried first, which
// saves a call per service; it may be stale.
func (r *run) observeDeployments(ctx context.Context, observed []machine.Observation, current []string) error {
	var arns []string
	own := make([]string, len(r.services))
	for n, s := range r.services {
		own[n] = r.machine.FindOwnDeployment(n, observed[n])
		if arn := r.findDeployment(ctx, s, own[n], current[n]); arn != "" {
			arns = append(arns, arn)
		}
	}
	found := map[string]types.ServiceDeployment{} // by the number that a target revision's ARN, …/NNN, shares with the deployment's id, ecs-svc/NNN
	for batch := range slices.Chunk(arns, describeDeploymentsLimit) {
		out, err := r.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: batch})
		if isUnavailable(err) && (!r.shifts() || r.machine.Stage() == machine.Restoring) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("describing service deployments: %w", err)
		}
		for _, d := range out.ServiceDeployments {
			if d.TargetServiceRevision != nil {
				found[machine.ShortARN(aws.ToString(d.TargetServiceRevision.Arn))] = d
			}
		}
	}
	for n, s := range r.services {
		d, ok := found[machine.ShortARN(own[n])]
		if !ok || own[n] == "" || observed[n].Missing {
			continue
		}
		s.lookup.own, s.lookup.deployment = own[n], d
		addDeployment(&observed[n], d)
	}
	return nil
}

// addDeployment adds the state of a service deployment to an observation.
func addDeployment(o *machine.Observation, d types.ServiceDeployment) {
	o.Status, o.Reason = d.Status, aws.ToString(d.StatusReason)
	if b := d.DeploymentCircuitBreaker; b != nil {
		o.CircuitBreaker = b.Status == types.ServiceDeploymentRollbackMonitorsStatusTriggered
	}
	if a := d.Alarms; a != nil && a.Status == types.ServiceDeploymentRollbackMonitorsStatusTriggered {
		o.Alarms = a.TriggeredAlarmNames
		if len(o.Alarms) == 0 {
			o.Alarms = a.AlarmNames
		}
	}
	if d.TargetServiceRevision != nil {
		o.Percent = aws.ToFloat64(d.TargetServiceRevision.RequestedProductionTrafficWeight)
	}
	o.Stage = string(d.LifecycleStage)
	for _, hook := range d.LifecycleHookDetails {
		switch hook.Status {
		case types.DeploymentLifecycleHookStatusAwaitingAction:
			o.Hook = &machine.Hook{ID: aws.ToString(hook.HookId), Expires: aws.ToTime(hook.ExpiresAt)}
		case types.DeploymentLifecycleHookStatusTimedOut:
			o.HookFailure = "the deployment was not continued in time"
		case types.DeploymentLifecycleHookStatusFailed:
			o.HookFailure = "lifecycle hook " + cmp.Or(aws.ToString(hook.TargetArn), aws.ToString(hook.HookId)) + " failed"
		}
	}
}

// shifts reports whether traffic of a service is shifted.
func (r *run) shifts() bool {
	return slices.ContainsFunc(r.services, func(s *serviceRollout) bool { return s.Shift != nil })
}

// findDeployment returns the ARN of the service deployment to describe: that of our own
// deployment if it is known; else, the first time, the service's current one; else the one
// in the list. The list is newest first, so its first page has ours.
func (r *run) findDeployment(ctx context.Context, s *serviceRollout, own, current string) string {
	arn := s.lookup.arnOf(own)
	switch {
	case own == "" || s.lookup.unavailable:
		return ""
	case arn != "":
		return arn
	case current != "" && !s.lookup.triedCurrent:
		s.lookup.triedCurrent = true
		return current
	}
	s.lookup.triedCurrent = false
	out, err := r.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{Cluster: s.cluster(), Service: &s.ECSName})
	if err != nil {
		s.lookup.unavailable = isUnavailable(err)
		return "" // the next observation retries
	}
	for _, d := range out.ServiceDeployments {
		if machine.ShortARN(aws.ToString(d.TargetServiceRevisionArn)) == machine.ShortARN(own) {
			return aws.ToString(d.ServiceDeploymentArn)
		}
	}
	return ""
}
