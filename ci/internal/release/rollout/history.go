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

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// historyPage is how many deployments are listed per call: as many as
// DescribeServiceRevisions takes.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
const historyPage = 20

// deploymentRecord is a past deployment with its task definition.
type deploymentRecord struct {
	types.ServiceDeploymentBrief
	revision string // ARN
}

// eachDeployment calls visit for the service's deployments, newest first, until it returns
// done. ECS keeps them for 90 days. known is false if the API is not supported or denied.
func (e Engine) eachDeployment(ctx context.Context, service platform.Service, visit func(deploymentRecord) (done bool, err error)) (known bool, err error) {
	if service.IsJob() {
		return true, nil // it has none
	}
	name := service.ServiceName()
	input := &ecs.ListServiceDeploymentsInput{Cluster: aws.String(service.ClusterName()), Service: &name, MaxResults: aws.Int32(historyPage)}
	for {
		list, err := e.ECS.ListServiceDeployments(ctx, input)
		if isUnavailable(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("listing service deployments of %s: %w", name, err)
		}
		for page := range slices.Chunk(list.ServiceDeployments, historyPage) {
			records, err := e.records(ctx, page)
			if isUnavailable(err) {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("describing service revisions of %s: %w", name, err)
			}
			for _, r := range records {
				if done, err := visit(r); done || err != nil {
					return true, err
				}
			}
		}
		if input.NextToken = list.NextToken; list.NextToken == nil {
			return true, nil
		}
	}
}

// records looks up the task definitions of deployments.
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

// eachRevision calls visit for the revisions of a family, newest first, until it
// returns done.
func (e Engine) eachRevision(ctx context.Context, family string, status types.TaskDefinitionStatus, visit func(arn string) (done bool, err error)) error {
	input := &ecs.ListTaskDefinitionsInput{FamilyPrefix: &family, Sort: types.SortOrderDesc, Status: status}
	for {
		list, err := e.ECS.ListTaskDefinitions(ctx, input)
		if err != nil {
			return fmt.Errorf("listing revisions of %s: %w", family, err)
		}
		for _, arn := range list.TaskDefinitionArns {
			if familyOf(arn) != family {
				continue // a family with the same prefix
			}
			if done, err := visit(arn); done || err != nil {
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
	n, _ := strconv.Atoi(arn[strings.LastIndex(arn, ":")+1:]) // ARNs of ECS end in a number
	return n
}
