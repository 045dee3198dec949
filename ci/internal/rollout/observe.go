package rollout

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
)

// Batch limits of the ECS API.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
const (
	describeServicesLimit    = 10
	describeDeploymentsLimit = 20
)

// observation is what ECS says of one service at one moment.
type observation struct {
	missing     bool
	deployments []types.Deployment
	// status and reason are those of our service deployment; status is empty
	// where the endpoint does not know it (yet).
	status types.ServiceDeploymentStatus
	reason string
}

// primary is the deployment that ECS works towards.
func (o observation) primary() *types.Deployment {
	return o.find(func(d types.Deployment) bool { return aws.ToString(d.Status) == "PRIMARY" })
}

// deployment is the one with the given id.
func (o observation) deployment(id string) *types.Deployment {
	return o.find(func(d types.Deployment) bool { return aws.ToString(d.Id) == id })
}

func (o observation) find(match func(types.Deployment) bool) *types.Deployment {
	if n := slices.IndexFunc(o.deployments, match); n >= 0 {
		return &o.deployments[n]
	}
	return nil
}

// observe looks at the services of all moves, with one call for ten of them,
// tells their new events, and looks at our own service deployments.
func (e Engine) observe(ctx context.Context, cluster string, moves []*move) (map[*move]observation, error) {
	var targets []Target
	for _, m := range moves {
		targets = append(targets, m.target)
	}
	services, err := e.describe(ctx, cluster, targets)
	if err != nil {
		return nil, err
	}
	observed := map[*move]observation{}
	for _, m := range moves {
		service := services[m.target.Service.ServiceName()]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			observed[m] = observation{missing: true}
			continue
		}
		e.tellEvents(m, service.Events)
		m.recognise(service.Deployments)
		observed[m] = observation{deployments: service.Deployments}
	}
	return observed, e.observeDeployments(ctx, cluster, moves, observed)
}

// recognise finds our deployment where the answer to UpdateService was lost:
// the new primary one that runs our revision.
func (m *move) recognise(deployments []types.Deployment) {
	if m.own != "" || !m.touched {
		return
	}
	for _, d := range deployments {
		if aws.ToString(d.Status) == "PRIMARY" && aws.ToString(d.TaskDefinition) == m.to.TaskDefinition && !slices.Contains(m.before, aws.ToString(d.Id)) {
			m.own = aws.ToString(d.Id)
		}
	}
}

// describe describes the services of targets, by name.
func (e Engine) describe(ctx context.Context, cluster string, targets []Target) (map[string]*types.Service, error) {
	services := map[string]*types.Service{}
	for batch := range slices.Chunk(targets, describeServicesLimit) {
		input := &ecs.DescribeServicesInput{Cluster: &cluster}
		for _, target := range batch {
			input.Services = append(input.Services, target.Service.ServiceName())
		}
		out, err := e.ECS.DescribeServices(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("describing services of cluster %s: %w", cluster, err)
		}
		for i := range out.Services {
			services[aws.ToString(out.Services[i].ServiceName)] = &out.Services[i]
		}
	}
	return services, nil
}

// tellEvents tells the service events that are newer than the newest one told,
// oldest first.
func (e Engine) tellEvents(m *move, events []types.ServiceEvent) {
	fresh := slices.IndexFunc(events, func(event types.ServiceEvent) bool { return aws.ToString(event.Id) == m.newestEvent })
	if fresh < 0 {
		fresh = len(events)
	}
	for _, event := range slices.Backward(events[:fresh]) {
		e.Event(m.name(), readable(aws.ToString(event.Message)))
	}
	if len(events) > 0 {
		m.newestEvent = aws.ToString(events[0].Id)
	}
}

// What ECS says in every event of a service and people know already, and the
// ARN of a target group, of which its name is enough.
var (
	eventSubject = regexp.MustCompile(`^\(service [^)]*\) `)
	targetGroup  = regexp.MustCompile(`\(target-group arn:[^)]*:targetgroup/([^/)]+)/[^)]*\)`)
)

// readable is the message of a service event without what makes it long.
func readable(message string) string {
	return targetGroup.ReplaceAllString(eventSubject.ReplaceAllString(message, ""), "$1")
}

// observeDeployments adds the state of our service deployments. An endpoint
// that lacks that API, or a role that may not use it, leaves the status empty:
// then the deployments of the service itself decide.
func (e Engine) observeDeployments(ctx context.Context, cluster string, moves []*move, observed map[*move]observation) error {
	byARN := map[string]*move{}
	for _, m := range moves {
		if m.own == "" {
			continue
		}
		if m.ownARN == "" {
			if err := e.findOwn(ctx, cluster, m); err != nil {
				return err
			}
		}
		if m.ownARN != "" {
			byARN[m.ownARN] = m
		}
	}
	arns := make([]string, 0, len(byARN))
	for arn := range byARN {
		arns = append(arns, arn)
	}
	slices.Sort(arns)
	for batch := range slices.Chunk(arns, describeDeploymentsLimit) {
		out, err := e.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: batch})
		if lacksAPI(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("describing service deployments: %w", err)
		}
		for _, d := range out.ServiceDeployments {
			m := byARN[aws.ToString(d.ServiceDeploymentArn)]
			if m == nil {
				continue
			}
			o := observed[m]
			o.status, o.reason = d.Status, aws.ToString(d.StatusReason)
			observed[m] = o
		}
	}
	return nil
}

// findOwn finds the service deployment of our deployment: its target service
// revision carries the same number as the deployment's id, ecs-svc/NNN. The
// list is newest first, so the first page has it.
func (e Engine) findOwn(ctx context.Context, cluster string, m *move) error {
	out, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: &cluster, Service: aws.String(m.target.Service.ServiceName()),
	})
	if lacksAPI(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing service deployments of %s: %w", m.target.Service.ServiceName(), err)
	}
	number := strings.TrimPrefix(m.own, "ecs-svc/")
	for _, d := range out.ServiceDeployments {
		if strings.HasSuffix(aws.ToString(d.TargetServiceRevisionArn), "/"+number) {
			m.ownARN = aws.ToString(d.ServiceDeploymentArn)
		}
	}
	return nil
}

// lacksAPI tells whether an error means that this endpoint does not have the
// operation, or that this role may not use it.
func lacksAPI(err error) bool {
	return isCode(err, "UnknownOperationException", "InvalidAction", "UnsupportedFeatureException", "NotImplemented", "AccessDeniedException")
}

// isCode tells whether err is an answer of AWS with one of the error codes.
func isCode(err error, codes ...string) bool {
	var answer smithy.APIError
	return errors.As(err, &answer) && slices.Contains(codes, answer.ErrorCode())
}
