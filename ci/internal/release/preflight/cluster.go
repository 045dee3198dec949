package preflight

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

const active = "ACTIVE"

// checkCluster checks that the clusters and the services exist and are active.
func (r *run) checkCluster(ctx context.Context) {
	var clusters []string
	for _, s := range r.changes {
		if s.Schedule == nil {
			r.checkService(s)
			r.checkHealthyPercent(s)
		}
		r.checkDependencies(s)
		clusters = append(clusters, s.Service.ClusterName())
	}
	slices.Sort(clusters)
	clusters = slices.Compact(clusters)
	switch {
	case len(clusters) == 0:
		return
	case r.ECS == nil:
		r.note("not checked: cluster %s: no ECS client", strings.Join(clusters, ", "))
		return
	}
	r.call(ctx, func(ctx context.Context) {
		out, err := r.ECS.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: clusters})
		for _, name := range clusters {
			if err != nil {
				// Deploying does not need ecs:DescribeClusters.
				r.skip("cluster", name, r.readError(err, apiCall{"ecs:DescribeClusters", name}))
				continue
			}
			n := slices.IndexFunc(out.Clusters, func(c types.Cluster) bool { return aws.ToString(c.ClusterName) == name })
			switch {
			case n < 0:
				r.add(fail(nil, "cluster %s does not exist%s: create it with Terraform (slipway plan, slipway apply), or check account and region", name, r.location()))
			case aws.ToString(out.Clusters[n].Status) != active:
				r.add(fail(nil, "cluster %s is %s, not %s: create it with Terraform (slipway plan, slipway apply)", name, aws.ToString(out.Clusters[n].Status), active))
			}
		}
	})
}

// location describes the account and region of the checks, as far as known.
func (r *run) location() string {
	text := ""
	if r.caller != nil {
		text += " in account " + r.caller.Account
	}
	if r.Region != "" {
		text += " in region " + r.Region
	}
	return text
}

// checkService checks the ECS service's status and deployment controller.
func (r *run) checkService(s rollout.ServiceChange) {
	name := s.Service.ServiceName()
	switch status := aws.ToString(s.ECSService.Status); {
	case s.ECSService.ServiceArn == nil && status == "":
		r.add(fail(nil, "service %s: cluster %s has no ECS service %s: create it with Terraform (slipway plan, slipway apply)", s.Service.Name, s.Service.ClusterName(), name))
		return
	case status != active:
		r.add(fail(nil, "service %s: ECS service %s is %s, not %s: create it again with Terraform (slipway plan, slipway apply)", s.Service.Name, name, status, active))
	}
	if controller := s.ECSService.DeploymentController; controller != nil && controller.Type != types.DeploymentControllerTypeEcs {
		r.add(refuse("service %s: ECS service %s uses the deployment controller %s: slipway supports ECS only: set deployment_controller to ECS",
			s.Service.Name, name, controller.Type))
	}
}
