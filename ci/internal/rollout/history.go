package rollout

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// historyLimit is how many of a service's last deployments are looked at: as
// many revisions as ECS describes in one call.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
const historyLimit = 20

// record is one deployment of a service's past, with the revision of its task
// definition.
type record struct {
	types.ServiceDeploymentBrief
	revision string // ARN of the task definition's revision
}

// history lists a service's last deployments, newest first. ECS keeps them for
// 90 days. known is false where the endpoint has no such records, or keeps them
// from this role.
func (e Engine) history(ctx context.Context, cluster, service string, statuses ...types.ServiceDeploymentStatus) (records []record, known bool, err error) {
	list, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: &cluster, Service: &service, Status: statuses, MaxResults: aws.Int32(historyLimit),
	})
	if lacksAPI(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing service deployments of %s: %w", service, err)
	}
	var arns []string
	for _, brief := range list.ServiceDeployments {
		arn := aws.ToString(brief.TargetServiceRevisionArn)
		if len(records) == historyLimit {
			break
		}
		records = append(records, record{ServiceDeploymentBrief: brief})
		if arn != "" && !slices.Contains(arns, arn) {
			arns = append(arns, arn)
		}
	}
	if len(arns) == 0 {
		return records, true, nil
	}
	out, err := e.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: arns})
	if lacksAPI(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("describing service revisions of %s: %w", service, err)
	}
	revisions := map[string]string{}
	for _, r := range out.ServiceRevisions {
		revisions[aws.ToString(r.ServiceRevisionArn)] = aws.ToString(r.TaskDefinition)
	}
	for n := range records {
		records[n].revision = revisions[aws.ToString(records[n].TargetServiceRevisionArn)]
	}
	return records, true, nil
}
