package preflight

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// checkLogs checks that the log groups of the awslogs driver exist, unless the driver
// creates them.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
func (r *run) checkLogs(ctx context.Context) {
	wanted := usedBy[string]{}
	for _, s := range r.changes {
		if s.Definition == nil {
			continue
		}
		for _, c := range s.Definition.ContainerDefinitions {
			if c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
				continue
			}
			options := c.LogConfiguration.Options
			group, region := options["awslogs-group"], options["awslogs-region"]
			switch {
			case group == "":
				r.add(usage("service %s: container %s uses the awslogs driver without awslogs-group: set the log group in its options", s.Service.Name, aws.ToString(c.Name)))
			case options["awslogs-create-group"] == "true":
			case r.Region != "" && region != "" && region != r.Region:
				r.skip("log group", group, "it is in region "+region)
			default:
				wanted.add(group, s.Service.Name)
			}
		}
	}
	if len(wanted) > 0 && r.Logs == nil {
		r.note("not checked: log groups: no CloudWatch Logs client")
		return
	}
	for group, names := range wanted {
		r.call(ctx, func(ctx context.Context) { r.checkGroup(ctx, group, serviceList(names)) })
	}
}

func (r *run) checkGroup(ctx context.Context, group, who string) {
	in := &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group}
	for {
		out, err := r.Logs.DescribeLogGroups(ctx, in)
		if err != nil {
			r.skip("log group", group, r.readError(err, apiCall{"logs:DescribeLogGroups", "*"}))
			return
		}
		if slices.ContainsFunc(out.LogGroups, func(g logstypes.LogGroup) bool { return aws.ToString(g.LogGroupName) == group }) {
			return
		}
		if in.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			break
		}
	}
	r.add(fail(nil, "%s: log group %s does not exist%s: create it with Terraform (slipway plan, slipway apply), or set awslogs-create-group to true", who, group, r.location()))
}
