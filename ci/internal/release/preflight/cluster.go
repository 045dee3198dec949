package preflight

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/release/rollout"
)

const active = "ACTIVE"

// checkCluster wants the cluster and its services to be there and active.
func (r *round) checkCluster(ctx context.Context) {
	for _, s := range r.subjects {
		r.checkService(s)
		r.checkPercent(s)
	}
	if r.ECS == nil {
		r.note("not checked: cluster %s: there is no ECS client", nameOf(r.cluster))
		return
	}
	r.ask(ctx, func(ctx context.Context) {
		name := nameOf(r.cluster)
		out, err := r.ECS.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{r.cluster}})
		if err != nil {
			// A deploying role knows its cluster by name and need not describe it.
			r.unchecked("cluster", name, r.why(err, request{"ecs:DescribeClusters", r.cluster}))
			return
		}
		n := slices.IndexFunc(out.Clusters, func(c types.Cluster) bool { return aws.ToString(c.ClusterName) == name })
		switch {
		case n < 0:
			r.found(fail(nil, "cluster %s does not exist%s: create it with Terraform (slipway plan, slipway apply), or name another", name, r.here()))
		case aws.ToString(out.Clusters[n].Status) != active:
			r.found(fail(nil, "cluster %s is %s, not %s: create it with Terraform (slipway plan, slipway apply)", name, aws.ToString(out.Clusters[n].Status), active))
		}
	})
}

// here says where something was looked for, as far as that is known.
func (r *round) here() string {
	where := ""
	if r.caller != nil {
		where += " in account " + r.caller.Account
	}
	if r.Region != "" {
		where += " in region " + r.Region
	}
	return where
}

// checkService looks at the service as it was described.
func (r *round) checkService(s rollout.ServiceChange) {
	name := s.Service.ServiceName()
	switch status := aws.ToString(s.ECSService.Status); {
	case s.ECSService.ServiceArn == nil && status == "":
		r.found(fail(nil, "service %s: cluster %s has no ECS service %s: create it with Terraform (slipway plan, slipway apply)", s.Service.Name, nameOf(r.cluster), name))
		return
	case status != active:
		r.found(fail(nil, "service %s: ECS service %s is %s, not %s: create it again with Terraform (slipway plan, slipway apply)", s.Service.Name, name, status, active))
	}
	if controller := s.ECSService.DeploymentController; controller != nil && controller.Type != types.DeploymentControllerTypeEcs {
		r.found(refuse("service %s: ECS service %s is deployed by the controller %s, which a release must not bypass: set deployment_controller to ECS",
			s.Service.Name, name, controller.Type))
	}
}
