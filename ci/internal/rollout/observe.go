package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"
)

// Batch limits of the ECS API.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
const (
	describeServicesLimit    = 10
	describeDeploymentsLimit = 20
)

// readJobs is how many reads are under way at a time.
const readJobs = 4

// observation is what ECS says of one service at one moment.
type observation struct {
	missing     bool
	deployments []types.Deployment
	desired     int32 // how many tasks the service is to have
	// status and what follows are those of our service deployment; status is
	// empty where the endpoint does not know it (yet).
	status  types.ServiceDeploymentStatus
	reason  string
	breaker bool     // the circuit breaker has tripped
	alarms  []string // the alarms that went off
}

// primary is the deployment that ECS works towards.
func (o observation) primary() *types.Deployment {
	return o.find(func(d types.Deployment) bool { return aws.ToString(d.Status) == "PRIMARY" })
}

// deployment is the one with the given id.
func (o observation) deployment(id string) *types.Deployment {
	return o.find(func(d types.Deployment) bool { return aws.ToString(d.Id) == id })
}

// tasks are those of all deployments that run or are about to.
func (o observation) tasks() (n int32) {
	for _, d := range o.deployments {
		n += d.RunningCount + d.PendingCount
	}
	return n
}

func (o observation) find(match func(types.Deployment) bool) *types.Deployment {
	if n := slices.IndexFunc(o.deployments, match); n >= 0 {
		return &o.deployments[n]
	}
	return nil
}

// observe looks at the services of all moves, with one call for ten of them,
// tells what is new in them, and looks at our own service deployments.
func (e Engine) observe(ctx context.Context, cluster string, moves []*move) (map[*move]observation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	targets := make([]Target, len(moves))
	for n, m := range moves {
		targets[n] = m.target
	}
	services, err := e.describe(ctx, cluster, targets)
	if err != nil {
		e.renew(err)
		return nil, err
	}
	observed := map[*move]observation{}
	current := map[*move]string{}
	for _, m := range moves {
		service := services[m.target.Service.ServiceName()]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			observed[m] = observation{missing: true}
			continue
		}
		e.tellEvents(m, service.Events)
		observed[m] = observation{deployments: service.Deployments, desired: service.DesiredCount}
		current[m] = aws.ToString(service.CurrentServiceDeployment)
	}
	if err := e.observeDeployments(ctx, cluster, moves, observed, current); err != nil {
		e.renew(err)
		return nil, err
	}
	e.lookCloser(ctx, cluster, moves, observed)
	return observed, nil
}

// describe describes the services of targets, by name.
func (e Engine) describe(ctx context.Context, cluster string, targets []Target) (map[string]*types.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var mu sync.Mutex // guards services
	services := map[string]*types.Service{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readJobs)
	for batch := range slices.Chunk(targets, describeServicesLimit) {
		group.Go(func() error {
			input := &ecs.DescribeServicesInput{Cluster: &cluster}
			for _, target := range batch {
				input.Services = append(input.Services, target.Service.ServiceName())
			}
			out, err := e.ECS.DescribeServices(ctx, input)
			if errors.As(err, new(*types.ClusterNotFoundException)) {
				return absentError("there is no cluster " + cluster)
			}
			if err != nil {
				return fmt.Errorf("describing services of cluster %s: %w", cluster, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range out.Services {
				services[aws.ToString(out.Services[i].ServiceName)] = &out.Services[i]
			}
			return nil
		})
	}
	return services, group.Wait()
}

// absentError says what there is not, though Terraform should have created it.
type absentError string

func (e absentError) Error() string {
	return string(e) + ": create it with Terraform (slipway plan, slipway apply), or look into another account or region (AWS_PROFILE, AWS_REGION)"
}

func noService(cluster, name string) error {
	return absentError(fmt.Sprintf("cluster %s has no active service %s", cluster, name))
}

// observeDeployments adds the state of our service deployments. An endpoint
// that lacks that API, or a role that may not use it, leaves the status empty:
// then the deployments of the service itself decide.
//
// Which service deployment is ours is told by the number that its target
// revision shares with our deployment's id. What DescribeServices calls the
// current one is tried first, which saves a call per service; it may be stale.
func (e Engine) observeDeployments(ctx context.Context, cluster string, moves []*move, observed map[*move]observation, current map[*move]string) error {
	var arns []string
	for _, m := range moves {
		m.recognise(observed[m], true)
		if arn := e.deploymentToAsk(ctx, cluster, m, current[m]); arn != "" {
			arns = append(arns, arn)
		}
	}
	found := map[string]types.ServiceDeployment{} // by the number of the target revision
	for batch := range slices.Chunk(arns, describeDeploymentsLimit) {
		out, err := e.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: batch})
		if lacksAPI(err) {
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
	for _, m := range moves {
		d, ok := found[numberOf(m.own)]
		if !ok || m.own == "" || observed[m].missing {
			continue
		}
		m.ownARN = aws.ToString(d.ServiceDeploymentArn)
		observed[m] = observed[m].with(d)
	}
	return nil
}

// with adds what a service deployment says.
func (o observation) with(d types.ServiceDeployment) observation {
	o.status, o.reason = d.Status, aws.ToString(d.StatusReason)
	if b := d.DeploymentCircuitBreaker; b != nil {
		o.breaker = b.Status == types.ServiceDeploymentRollbackMonitorsStatusTriggered
	}
	if a := d.Alarms; a != nil && a.Status == types.ServiceDeploymentRollbackMonitorsStatusTriggered {
		o.alarms = a.TriggeredAlarmNames
		if len(o.alarms) == 0 {
			o.alarms = a.AlarmNames
		}
	}
	return o
}

// deploymentToAsk is the ARN of the service deployment to ask about: ours, if
// it is known; what the service calls its current one, the first time; after
// that what the list of them says. The list is newest first, so its first page
// has ours.
func (e Engine) deploymentToAsk(ctx context.Context, cluster string, m *move, current string) string {
	switch {
	case m.own == "" || m.noAPI:
		return ""
	case m.ownARN != "":
		return m.ownARN
	case current != "" && !m.triedCurrent:
		m.triedCurrent = true
		return current
	}
	m.triedCurrent = false
	out, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: &cluster, Service: aws.String(m.target.Service.ServiceName()),
	})
	if err != nil {
		m.noAPI = lacksAPI(err)
		return "" // the next look asks again
	}
	for _, d := range out.ServiceDeployments {
		if numberOf(aws.ToString(d.TargetServiceRevisionArn)) == numberOf(m.own) {
			return aws.ToString(d.ServiceDeploymentArn)
		}
	}
	return ""
}

// numberOf is the number that a deployment's id, ecs-svc/NNN, shares with the
// ARN of its service revision, …/NNN.
func numberOf(id string) string { return id[strings.LastIndex(id, "/")+1:] }

// lacksAPI tells whether an error means that this endpoint does not have the
// operation, or that this role may not use it.
func lacksAPI(err error) bool {
	return isCode(err, append([]string{"UnknownOperationException", "InvalidAction", "UnsupportedFeatureException", "NotImplemented"}, deniedCodes...)...)
}
