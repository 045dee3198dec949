// Package rollout releases new versions of services on Amazon ECS: all of them
// or none.
//
// A release is planned, checked, registered and then driven by a state machine,
// package machine, which is given what ECS says and returns what to do next. It
// watches its own deployments, and no others, until each is complete; on any failure,
// and if it is interrupted, it restores what ran before in every service that it
// touched, and watches that too. The report names the cause.
//
// The package keeps no state of its own. What a later run must know is in tags of the
// task definition revisions that a release registers, so that a release whose process
// was killed is recognised and finished, or restored.
package rollout

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/images/leak"
)

// ECS is the part of the ECS API that a release calls.
type ECS interface {
	Reader
	RegisterTaskDefinition(context.Context, *ecs.RegisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
	StopServiceDeployment(context.Context, *ecs.StopServiceDeploymentInput, ...func(*ecs.Options)) (*ecs.StopServiceDeploymentOutput, error)
}

// Reader is the part of [ECS] that changes nothing.
type Reader interface {
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	ListTaskDefinitions(context.Context, *ecs.ListTaskDefinitionsInput, ...func(*ecs.Options)) (*ecs.ListTaskDefinitionsOutput, error)
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// Logs reads what containers wrote.
type Logs interface {
	GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error)
}

// Targets reads the health of targets behind load balancers.
type Targets interface {
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error)
}

// Clock is the time, and waiting.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends and returns its cause.
	Sleep(ctx context.Context, d time.Duration) error
}

// Target is what one service shall run: an image, in the newest revision of its
// task definition, or a revision as it is.
type Target struct {
	Service platform.Service
	// Image is the reference by digest: repository@sha256:….
	Image string
	// Revision is the ARN of a registered revision; Image is then ignored.
	Revision string
}

// Request is one release.
type Request struct {
	Cluster string
	// Version is the commit that the release was built from.
	Version string
	Targets []Target
	// Timeout bounds the way to the new version, RestoreTimeout the way back.
	// Zero means [DefaultTimeout] and [DefaultRestoreTimeout].
	Timeout, RestoreTimeout time.Duration
	// WaitForTurn is how long a deployment that is in progress is waited for;
	// zero refuses at once.
	WaitForTurn time.Duration
	// Force rolls out unchanged services, too.
	Force bool
	// TakeOver lets the release replace deployments that are in progress. What
	// they replaced is not known to have worked, so a failure is not restored.
	TakeOver bool
	// Preflight, if set, is called before anything is changed. An error ends the
	// release with production untouched.
	Preflight func(context.Context, []Subject) error
	// Verify, if set, is called once all services run the new version, with the value
	// of VERSION of each service that the release has changed and that runs tasks, ""
	// if it declares none. An error fails the release.
	Verify func(ctx context.Context, versions map[string]string) error

	looking bool // nothing will be changed: see [Engine.Diff]
}

// Time limits. ECS's own limit on a deployment that makes no progress is the
// circuit breaker, which judges by failed tasks and not by the clock.
const (
	DefaultTimeout        = 15 * time.Minute
	DefaultRestoreTimeout = 10 * time.Minute
)

// Engine drives releases.
type Engine struct {
	ECS  ECS
	Logs Logs
	// Health may be nil: then the health of targets is left out.
	Health Targets
	Clock  Clock
	// Event is called with what happens, in words for people; service is "" for the
	// release as a whole.
	Event func(service, text string)
	// Next, if set, is called with the command that a human has to run if the process
	// ends now; "" if there is nothing to do.
	Next func(command string)
	// Renew, if set, is called when the credentials have expired.
	Renew func()
	// Explain, if set, turns an error of AWS into one for people before it is reported.
	Explain func(error) error
}

func (e Engine) explain(err error) error {
	if e.Explain == nil {
		return err
	}
	return e.Explain(err)
}

// line is an error as one line for people. ECS may quote what it refuses.
func (e Engine) line(err error) string {
	return strings.ReplaceAll(leak.Redact(e.explain(err).Error()), "\n", "; ")
}

// callTimeout bounds one call with all its retries.
const callTimeout = 45 * time.Second

// VersionVariable is the environment variable that a release fills with its
// version, in containers whose task definition declares it. It moves with the
// image: a service whose image is unchanged keeps both.
const VersionVariable = "VERSION"
