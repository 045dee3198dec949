package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
)

// move is one service's part of a release: what ran, what shall run, and what
// has become of it.
type move struct {
	target Target
	from   report.Version
	to     report.Version

	// definition is to be registered; nil when the revision to.TaskDefinition
	// exists already or when there is nothing to do.
	definition *ecs.RegisterTaskDefinitionInput
	unchanged  bool

	// before has the ids of the deployments that were there before ours.
	// Ours is told from others by its id alone: clocks may differ.
	before  []string
	touched bool   // UpdateService was asked, so the service may have changed
	own     string // id of our deployment, ecs-svc/…
	ownARN  string // ARN of its service deployment, once known
	// newestEvent is the id of the newest service event that was told.
	newestEvent string

	verdict verdict
	started time.Time     // when the service was asked to change
	took    time.Duration // from then until its end was seen
	result  report.Result
	causes  []report.Cause
	err     error // why the service did not arrive
	stuck   error // why it could not be restored
}

func (m *move) name() string { return m.target.Service.Name }

// plan finds out what runs and what would change, for all targets. It changes
// nothing. All that is wrong is told at once.
func (e Engine) plan(ctx context.Context, request Request) ([]*move, error) {
	services, err := e.describe(ctx, request.Cluster, request.Targets)
	if err != nil {
		return nil, err
	}
	var moves []*move
	var problems []error
	for _, target := range request.Targets {
		m, err := e.planService(ctx, request, target, services[target.Service.ServiceName()])
		moves, problems = append(moves, m), append(problems, err)
	}
	return moves, errors.Join(problems...)
}

func (e Engine) planService(ctx context.Context, request Request, target Target, service *types.Service) (*move, error) {
	name := target.Service.ServiceName()
	if service == nil || aws.ToString(service.Status) != "ACTIVE" {
		return nil, fmt.Errorf("cluster %s has no active service %s: create it with Terraform (slipway plan, slipway apply)", request.Cluster, name)
	}
	if len(service.Deployments) > 1 {
		return nil, outcome.Refusedf("service %s has a deployment in progress (%s): wait for it to end", name, describeDeployments(service.Deployments))
	}
	running, tags, err := e.definition(ctx, aws.ToString(service.TaskDefinition))
	if err != nil {
		return nil, err
	}
	newest, _, err := e.definition(ctx, target.Service.Family())
	if err != nil {
		return nil, err
	}
	m := &move{target: target, result: report.Unchanged, from: versionOf(*running, tags, target.Service.Container())}
	for _, deployment := range service.Deployments {
		m.before = append(m.before, aws.ToString(deployment.Id))
	}
	if len(service.Events) > 0 {
		m.newestEvent = aws.ToString(service.Events[0].Id)
	}
	return m, m.decide(*running, *newest, request.Version)
}

// decide compares what runs with what the newest revision, with our image in
// it, would run.
func (m *move) decide(running, newest types.TaskDefinition, version string) error {
	container := m.target.Service.Container()
	if m.from.Image == m.target.Image && m.from.SHA != "" {
		version = m.from.SHA // the version moves with the image
	}
	wanted, err := render(newest, container, m.target.Image, version)
	if err != nil {
		return err
	}
	current, err := render(running, container, m.from.Image, version)
	if err != nil {
		return err
	}
	m.to = report.Version{Image: m.target.Image, SHA: version}
	switch {
	case same(wanted, current):
		m.unchanged, m.to = true, m.from
	case same(wanted, carryOver(newest)):
		m.to.TaskDefinition = aws.ToString(newest.TaskDefinitionArn)
	default:
		m.definition = wanted
	}
	return nil
}

// definition describes a revision by its ARN, or the newest active one of a family.
func (e Engine) definition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	out, err := e.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &name,
		Include:        []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("describing task definition %s: %w", name, err)
	}
	return out.TaskDefinition, out.Tags, nil
}

// versionOf reads from a revision and its tags what it runs.
func versionOf(definition types.TaskDefinition, tags []types.Tag, container string) report.Version {
	version := report.Version{
		TaskDefinition: aws.ToString(definition.TaskDefinitionArn),
		Image:          imageOf(definition, container),
	}
	for _, tag := range tags {
		if aws.ToString(tag.Key) == TagSHA {
			version.SHA = aws.ToString(tag.Value)
		}
	}
	return version
}

func describeDeployments(deployments []types.Deployment) string {
	var list []string
	for _, d := range deployments {
		list = append(list, fmt.Sprintf("%s %s", aws.ToString(d.Status), aws.ToString(d.Id)))
	}
	return strings.Join(list, ", ")
}
