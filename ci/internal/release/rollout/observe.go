package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/release/rollout/machine"
)

// observe asks ECS about all services, with one call for ten of them, reports what
// is new in them, and asks about our own service deployments.
func (r *run) observe(ctx context.Context) ([]machine.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	targets := make([]Target, len(r.services))
	for n, s := range r.services {
		targets[n] = s.target
	}
	described, err := r.describe(ctx, r.request.Cluster, targets)
	if err != nil {
		r.renew(err)
		return nil, err
	}
	observed := make([]machine.Observation, len(r.services))
	current := make([]string, len(r.services))
	for n, s := range r.services {
		service := described[s.ECSName]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			observed[n].Missing = true
			continue
		}
		if trouble := r.reportServiceEvents(s, service.Events); trouble != "" {
			r.machine.SetProblem(n, trouble)
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

// observeDeployments adds the state of our service deployments. An endpoint
// that lacks that API, or a role that may not use it, leaves the status empty:
// then the deployments of the service itself decide.
//
// Our service deployment is the one whose target revision has the number of our
// deployment's id. What DescribeServices calls the current one is tried first, which
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
	found := map[string]types.ServiceDeployment{} // by the number of the target revision
	for batch := range slices.Chunk(arns, describeDeploymentsLimit) {
		out, err := r.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: batch})
		if isUnavailable(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("describing service deployments: %w", err)
		}
		for _, d := range out.ServiceDeployments {
			if d.TargetServiceRevision != nil {
				found[numberOf(aws.ToString(d.TargetServiceRevision.Arn))] = d
			}
		}
	}
	for n, s := range r.services {
		d, ok := found[numberOf(own[n])]
		if !ok || own[n] == "" || observed[n].Missing {
			continue
		}
		s.lookup.own, s.lookup.arn = own[n], aws.ToString(d.ServiceDeploymentArn)
		addDeployment(&observed[n], d)
	}
	return nil
}

// addDeployment adds what a service deployment says.
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
}

// findDeployment returns the ARN of the service deployment to ask about: that of our
// own deployment if it is known; what the service calls its current one, the first
// time; after that what the list of them says. The list is newest first, so its
// first page has ours.
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
	out, err := r.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{Cluster: &r.request.Cluster, Service: &s.ECSName})
	if err != nil {
		s.lookup.unavailable = isUnavailable(err)
		return "" // the next observation asks again
	}
	for _, d := range out.ServiceDeployments {
		if numberOf(aws.ToString(d.TargetServiceRevisionArn)) == numberOf(own) {
			return aws.ToString(d.ServiceDeploymentArn)
		}
	}
	return ""
}

// numberOf is the number that a deployment's id, ecs-svc/NNN, shares with the
// ARN of its service revision, …/NNN.
func numberOf(id string) string { return id[strings.LastIndex(id, "/")+1:] }
