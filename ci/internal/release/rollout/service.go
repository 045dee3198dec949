package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// servicePlan is the plan of a service and what it was derived from. It does not change
// after the release is prepared.
type servicePlan struct {
	machine.Plan
	strategyPlan
	target  Target
	service types.Service // as ECS describes it
	// schedule is that of a job, which has no ECS service; nil otherwise.
	schedule *scheduler.GetScheduleOutput

	// definition is to be registered; nil if To.TaskDefinition is registered or the
	// service is unchanged.
	definition *ecs.RegisterTaskDefinitionInput
	// running and wanted are the current and the new definition, to compare.
	running, wanted *ecs.RegisterTaskDefinitionInput
	// previous is the previous definition, in case its revision is deregistered; nil if
	// it is deleted.
	previous     *types.TaskDefinition
	previousTags []types.Tag
	// templateTags are the tags of the revision that the new one is based on.
	templateTags []types.Tag
	// copyOf is the deregistered revision that the new one copies, or "".
	copyOf     string
	tags       releaseTags // of the running revision
	newestTags releaseTags // of the revision that the new one is based on
	upToDate   bool        // the running definition is the wanted one
	unchanged  bool        // nothing to do
	group      string      // target group of the running version, if it decides how a rolling service is deployed; "" if unknown
	notes      []string    // to report
}

// id returns the identity of the ECS service.
func (s *servicePlan) id() serviceID { return idOf(s.target.Service) }

// cluster returns the name of the service's cluster, for inputs of the API.
func (s *servicePlan) cluster() *string { return aws.String(s.target.Service.ClusterName()) }

func (s *servicePlan) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// runs reports whether the service runs a revision or a copy of it.
func (s *servicePlan) runs(revision string) bool {
	return revision != "" && (revision == s.From.TaskDefinition || revision == s.tags.copyOf)
}

// serviceRollout is a service during the rollout: its plan, the lookup of its
// deployment, and what has been reported. The machine has its progress.
type serviceRollout struct {
	*servicePlan
	lookup   deploymentLookup
	reported eventDedupe
	causes   []report.Cause
	cleansUp bool // ECS stops the previous tasks
	// restoreCause is why the restoring deployment failed.
	restoreCause string
}

// deploymentLookup is the lookup of the service deployment of our own deployment.
type deploymentLookup struct {
	own          string                  // deployment id
	deployment   types.ServiceDeployment // as last observed, once known
	unavailable  bool                    // the API is not supported or denied
	triedCurrent bool                    // the service's current deployment was tried
}

// arnOf returns the ARN of the service deployment of a deployment, or "".
func (l deploymentLookup) arnOf(own string) string {
	if l.own != own {
		return ""
	}
	return aws.ToString(l.deployment.ServiceDeploymentArn)
}

// LoadBalancers returns the load balancers of each service in ECS, by the entry's name.
// Services that do not exist are left out.
func (e Engine) LoadBalancers(ctx context.Context, services []platform.Service) (map[string][]types.LoadBalancer, error) {
	var ids []serviceID
	for _, s := range services {
		ids = append(ids, idOf(s))
	}
	described, err := e.describe(ctx, ids)
	if errors.As(err, new(missingError)) {
		return nil, nil // the release reports it
	}
	if err != nil {
		return nil, err
	}
	balancers := map[string][]types.LoadBalancer{}
	for _, s := range services {
		if service := described[idOf(s)]; service != nil {
			balancers[s.Name] = service.LoadBalancers
		}
	}
	return balancers, nil
}

// describeDeployments formats deployments for messages.
func describeDeployments(deployments []types.Deployment) string {
	var list []string
	for _, d := range deployments {
		list = append(list, fmt.Sprintf("%s %s of %s", aws.ToString(d.Status), aws.ToString(d.Id), machine.ShortARN(aws.ToString(d.TaskDefinition))))
	}
	return strings.Join(list, ", ")
}
