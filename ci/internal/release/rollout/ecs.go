package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// Batch limits of the ECS API.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
const (
	describeServicesLimit    = 10
	describeDeploymentsLimit = 20
)

// readJobs is how many reads run concurrently.
const readJobs = 4

// serviceID identifies an ECS service: names are unique within a cluster.
type serviceID struct{ cluster, name string }

// idOf returns the ECS service of an entry; a job has none.
func idOf(s platform.Service) serviceID {
	if s.IsJob() {
		return serviceID{}
	}
	return serviceID{s.ClusterName(), s.ServiceName()}
}

// describe returns the services with the given ids. A call describes services of one cluster.
func (e Engine) describe(ctx context.Context, ids []serviceID) (map[serviceID]*types.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	byCluster := map[string][]string{}
	for _, id := range ids {
		if id != (serviceID{}) {
			byCluster[id.cluster] = append(byCluster[id.cluster], id.name)
		}
	}
	var mu sync.Mutex // guards services
	services := map[serviceID]*types.Service{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readJobs)
	for _, cluster := range slices.Sorted(maps.Keys(byCluster)) {
		for batch := range slices.Chunk(byCluster[cluster], describeServicesLimit) {
			group.Go(func() error {
				out, err := e.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: batch})
				if errors.As(err, new(*types.ClusterNotFoundException)) {
					return missingError("cluster " + cluster + " does not exist")
				}
				if err != nil {
					return fmt.Errorf("describing services of cluster %s: %w", cluster, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i := range out.Services {
					services[serviceID{cluster, aws.ToString(out.Services[i].ServiceName)}] = &out.Services[i]
				}
				return nil
			})
		}
	}
	return services, group.Wait()
}

// definition returns a revision by ARN, or the newest active one of a family, with its
// tags.
func (e Engine) definition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := e.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &name,
		Include:        []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if IsCode(err, "ClientException") { // ECS has no such revision
		return nil, nil, notFoundError(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("describing task definition %s: %w", name, err)
	}
	return out.TaskDefinition, out.Tags, nil
}

// findDefinition is like [Engine.definition], but returns nil if ECS has no such revision.
func (e Engine) findDefinition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	definition, tags, err := e.definition(ctx, name)
	if isNotFound(err) {
		return nil, nil, nil
	}
	return definition, tags, err
}

// active reports whether a revision can be deployed. Without a status, it can.
func active(definition *types.TaskDefinition) bool {
	return definition.Status == types.TaskDefinitionStatusActive || definition.Status == ""
}

// notFoundError is the error for a deleted revision, or for a family without an active one.
type notFoundError string

func (e notFoundError) Error() string {
	if name := machine.ShortARN(string(e)); strings.Contains(name, ":") {
		return "task definition " + name + " is deleted"
	}
	return "no revision of task definition " + string(e) + " is active"
}

func isNotFound(err error) bool { return errors.As(err, new(notFoundError)) }

// missingError is the error for a resource that Terraform should have created.
type missingError string

func (e missingError) Error() string {
	return string(e) + ": create it with Terraform (slipway plan, slipway apply), or check account and region (AWS_PROFILE, AWS_REGION)"
}

func missingService(s platform.Service) error {
	return missingError(fmt.Sprintf("cluster %s has no active service %s", s.ClusterName(), s.ServiceName()))
}

// Error codes.
var (
	deniedCodes  = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	expiredCodes = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
)

// CallStatus returns what an error says about the effect of a call. After a server
// error or a broken connection it is unknown.
func CallStatus(err error) machine.CallStatus {
	var apiError smithy.APIError
	switch {
	case err == nil:
		return machine.Accepted
	case isThrottle(err):
		return machine.Throttled
	case isNotFound(err):
		return machine.Rejected
	case !errors.As(err, &apiError), apiError.ErrorFault() == smithy.FaultServer, isServerError(err), IsExpired(err):
		return machine.Unknown
	}
	return machine.Rejected
}

func isThrottle(err error) bool {
	return (retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}).IsErrorThrottle(err) == aws.TrueTernary
}

// isServerError reports whether an error has the code of a server fault that the SDK
// does not model.
func isServerError(err error) bool {
	return IsCode(err, "ServerException", "InternalFailure", "InternalError", "InternalServerError", "InternalServerException", "ServiceUnavailable", "ServiceUnavailableException")
}

// Limits of [Retry].
const (
	retryTries = 5
	retryPause = 2 * time.Second
)

// Retry makes a call that may be repeated until AWS accepts or rejects it, or ctx ends. Each
// try has a time limit. renew, if set, is called when the credentials have expired.
func Retry(ctx context.Context, clock Clock, renew func(), call func(context.Context) error) error {
	for try := 1; ; try++ {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		err := call(limited)
		cancel()
		if renew != nil && IsExpired(err) {
			renew()
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case CallStatus(err) == machine.Rejected, try == retryTries:
			return err
		}
		if err := clock.Sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

// renew renews expired credentials. It is called with the error of each call.
func (e Engine) renew(err error) {
	if e.Renew != nil && IsExpired(err) {
		e.Renew()
	}
}

// IsDenied reports whether a call was denied.
func IsDenied(err error) bool { return IsCode(err, deniedCodes...) }

// IsExpired reports whether a call failed because credentials have expired.
func IsExpired(err error) bool { return IsCode(err, expiredCodes...) }

// IsCode reports whether err is an AWS API error with one of the codes.
func IsCode(err error, codes ...string) bool {
	apiError, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, apiError.ErrorCode())
}

// isUnavailable reports whether the endpoint does not support an operation, or denies it.
func isUnavailable(err error) bool {
	return IsCode(err, append([]string{"UnknownOperationException", "InvalidAction", "UnsupportedFeatureException", "NotImplemented"}, deniedCodes...)...)
}
