package rollout

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/release/rollout/machine"
)

// historyPage is how many deployments are asked for at a time: as many revisions as
// ECS describes in one call.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
const historyPage = 20

// deploymentRecord is one deployment of a service's past, with the revision of its task
// definition.
type deploymentRecord struct {
	types.ServiceDeploymentBrief
	revision string // ARN of the task definition's revision
}

// eachDeployment calls look with a service's deployments, newest first, until that returns
// enough. ECS keeps them for 90 days. known is false if the endpoint has no such
// records, or denies them.
func (e Engine) eachDeployment(ctx context.Context, cluster, service string, look func(deploymentRecord) (enough bool, err error)) (known bool, err error) {
	input := &ecs.ListServiceDeploymentsInput{Cluster: &cluster, Service: &service, MaxResults: aws.Int32(historyPage)}
	for {
		list, err := e.ECS.ListServiceDeployments(ctx, input)
		if isUnavailable(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("listing service deployments of %s: %w", service, err)
		}
		for page := range slices.Chunk(list.ServiceDeployments, historyPage) {
			records, err := e.records(ctx, page)
			if isUnavailable(err) {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("describing service revisions of %s: %w", service, err)
			}
			for _, r := range records {
				if enough, err := look(r); enough || err != nil {
					return true, err
				}
			}
		}
		if input.NextToken = list.NextToken; list.NextToken == nil {
			return true, nil
		}
	}
}

// records adds the revisions of task definitions to deployments.
func (e Engine) records(ctx context.Context, deployments []types.ServiceDeploymentBrief) ([]deploymentRecord, error) {
	var records []deploymentRecord
	var arns []string
	for _, brief := range deployments {
		records = append(records, deploymentRecord{ServiceDeploymentBrief: brief})
		if arn := aws.ToString(brief.TargetServiceRevisionArn); arn != "" && !slices.Contains(arns, arn) {
			arns = append(arns, arn)
		}
	}
	if len(arns) == 0 {
		return records, nil
	}
	out, err := e.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: arns})
	if err != nil {
		return nil, err
	}
	revisions := map[string]string{}
	for _, r := range out.ServiceRevisions {
		revisions[aws.ToString(r.ServiceRevisionArn)] = aws.ToString(r.TaskDefinition)
	}
	for n := range records {
		records[n].revision = revisions[aws.ToString(records[n].TargetServiceRevisionArn)]
	}
	return records, nil
}

// eachRevision calls look with the revisions of a family until that returns enough.
func (e Engine) eachRevision(ctx context.Context, family string, status types.TaskDefinitionStatus, look func(arn string) (enough bool, err error)) error {
	input := &ecs.ListTaskDefinitionsInput{FamilyPrefix: &family, Sort: types.SortOrderDesc, Status: status}
	for {
		list, err := e.ECS.ListTaskDefinitions(ctx, input)
		if err != nil {
			return fmt.Errorf("listing revisions of %s: %w", family, err)
		}
		for _, arn := range list.TaskDefinitionArns {
			if familyOf(arn) != family {
				continue // one whose name only begins alike
			}
			if enough, err := look(arn); enough || err != nil {
				return err
			}
		}
		if input.NextToken = list.NextToken; list.NextToken == nil {
			return nil
		}
	}
}

func familyOf(arn string) string {
	family, _, _ := strings.Cut(machine.ShortARN(arn), ":")
	return family
}

func revisionNumber(arn string) int {
	n, _ := strconv.Atoi(arn[strings.LastIndex(arn, ":")+1:]) // ECS's own ARNs end in a number
	return n
}
