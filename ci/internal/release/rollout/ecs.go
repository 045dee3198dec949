package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/release/rollout/machine"
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
				return missingError("there is no cluster " + cluster)
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

// definition describes a revision by its ARN, or the newest active one of a family.
func (e Engine) definition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := e.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &name,
		Include:        []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if isCode(err, "ClientException") { // ECS's word for one that it does not have
		return nil, nil, notFoundError(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("describing task definition %s: %w", name, err)
	}
	return out.TaskDefinition, out.Tags, nil
}

// findDefinition is [Engine.definition], or nil if ECS does not have it any more.
func (e Engine) findDefinition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	definition, tags, err := e.definition(ctx, name)
	if isNotFound(err) {
		return nil, nil, nil
	}
	return definition, tags, err
}

// active reports whether a service can be given a revision. It can if the endpoint
// reports no status.
func active(definition *types.TaskDefinition) bool {
	return definition.Status == types.TaskDefinitionStatusActive || definition.Status == ""
}

// notFoundError names a revision that ECS does not have, or a family without an active one.
type notFoundError string

func (e notFoundError) Error() string {
	if name := machine.ShortARN(string(e)); strings.Contains(name, ":") {
		return "task definition " + name + " is deleted"
	}
	return "no revision of task definition " + string(e) + " is active"
}

func isNotFound(err error) bool { return errors.As(err, new(notFoundError)) }

// missingError says what there is not, though Terraform should have created it.
type missingError string

func (e missingError) Error() string {
	return string(e) + ": create it with Terraform (slipway plan, slipway apply), or look into another account or region (AWS_PROFILE, AWS_REGION)"
}

func missingService(cluster, name string) error {
	return missingError(fmt.Sprintf("cluster %s has no active service %s", cluster, name))
}

// Codes of answers.
var (
	deniedCodes  = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	expiredCodes = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
)

// callStatus is what the error of a call says of the change that was asked for.
// A server error and a broken connection leave that unknown.
func callStatus(err error) machine.CallStatus {
	var said smithy.APIError
	switch {
	case err == nil:
		return machine.Accepted
	case isThrottle(err):
		return machine.Throttled
	case isNotFound(err):
		return machine.Rejected
	case !errors.As(err, &said), said.ErrorFault() == smithy.FaultServer, isServerError(err), isCode(err, expiredCodes...):
		return machine.Unknown
	}
	return machine.Rejected
}

func isThrottle(err error) bool {
	return (retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}).IsErrorThrottle(err) == aws.TrueTernary
}

// isServerError recognises a fault of the service by its code, if the SDK does
// not model it.
func isServerError(err error) bool {
	return isCode(err, "ServerException", "InternalFailure", "InternalError", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException")
}

// renew is called with the result of a call, and renews credentials that have expired.
func (e Engine) renew(err error) {
	if e.Renew != nil && isCode(err, expiredCodes...) {
		e.Renew()
	}
}

// isCode reports whether err is an answer of AWS with one of the error codes.
func isCode(err error, codes ...string) bool {
	var said smithy.APIError
	if !errors.As(err, &said) {
		return false
	}
	for _, code := range codes {
		if said.ErrorCode() == code {
			return true
		}
	}
	return false
}

// isUnavailable reports whether an error means that this endpoint does not have the
// operation, or that this role may not use it.
func isUnavailable(err error) bool {
	return isCode(err, append([]string{"UnknownOperationException", "InvalidAction", "UnsupportedFeatureException", "NotImplemented"}, deniedCodes...)...)
}
