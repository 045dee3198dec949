// Package rollout releases new versions of services on Amazon ECS: all services or
// none.
//
// A release is planned, checked and registered, and then driven by a state machine,
// package machine. It watches its own deployments, and no others, until each is
// complete. If one fails, or if the release is interrupted, it restores the previous
// version of every service that it changed, and watches that too. The report has the
// cause.
//
// The package keeps no state of its own. What a later run needs is in the tags of the
// task definition revisions that a release registers, so that the release of a killed
// process is recognized and finished, or restored.
package rollout

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ECS is the part of the ECS API that a release calls.
type ECS interface {
	Reader
	RegisterTaskDefinition(context.Context, *ecs.RegisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
	StopServiceDeployment(context.Context, *ecs.StopServiceDeploymentInput, ...func(*ecs.Options)) (*ecs.StopServiceDeploymentOutput, error)
	ContinueServiceDeployment(context.Context, *ecs.ContinueServiceDeploymentInput, ...func(*ecs.Options)) (*ecs.ContinueServiceDeploymentOutput, error)
}

// Reader is the part of [ECS] that changes nothing.
type Reader interface {
	TaskReader
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	ListTaskDefinitions(context.Context, *ecs.ListTaskDefinitionsInput, ...func(*ecs.Options)) (*ecs.ListTaskDefinitionsOutput, error)
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
}

// Logs reads the logs of containers.
type Logs interface {
	GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error)
}

// Targets reads the health of load balancer targets.
type Targets interface {
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error)
}

// Clock is the time and a way to wait.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends and returns its cause.
	Sleep(ctx context.Context, d time.Duration) error
}

// Target is what a service, or a job, is to run: an image in the newest revision of its task
// definition, or a revision as it is.
type Target struct {
	Service platform.Service
	// Image is the image by digest: repository@sha256:….
	Image string
	// Sidecars are the images, by digest, of further containers that run an image of ours,
	// by the container's name. All others keep theirs.
	Sidecars map[string]string
	// Revision is the ARN of a revision; Image is then ignored.
	Revision string
	// Template, if set, is the definition to base the new revision on, instead of the newest
	// one of the family, and Tags are further tags of the new revision.
	Template *types.TaskDefinition
	Tags     []types.Tag
	// Strategy, if set, replaces the service's.
	Strategy *platform.Strategy
	// Shift is what ECS shifts the service's traffic with; nil means what the ECS service
	// has already.
	Shift *Shift
}

// Shift is what ECS shifts the traffic of a service with, by ARN.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AdvancedConfiguration.html
type Shift struct {
	TargetGroup          string // the one that Terraform calls the service's
	AlternateTargetGroup string
	ProductionRule       string // listener rules
	TestRule             string
	Role                 string // infrastructure role
}

// ShiftedTraffic is a service whose production traffic is being shifted.
type ShiftedTraffic struct {
	Service string // the entry's name
	// Previous and New are the ARNs of the target groups of both versions.
	Previous, New string
	// Rule is the ARN of the production rule.
	Rule string
	// Percent is the share of the new version, and Since when it got its first share.
	Percent float64
	Since   time.Time
	// Baking reports whether ECS has shifted all traffic, and changes no weights any more.
	Baking bool
}

// ImageTarget returns the target that releases an entry's image, and those of the entries
// that its sidecars run (image_of), of images by entry.
func ImageTarget(s platform.Service, images map[string]string) Target {
	target := Target{Service: s, Image: images[s.Name]}
	for name, sidecar := range s.Sidecars {
		if image := images[sidecar.ImageOf]; sidecar.ImageOf != "" && image != "" {
			if target.Sidecars == nil {
				target.Sidecars = map[string]string{}
			}
			target.Sidecars[name] = image
		}
	}
	return target
}

// Request describes a release.
type Request struct {
	// Version is the commit that the images were built from.
	Version string
	Targets []Target
	// Timeout limits the update, RestoreTimeout the restore. Zero means
	// [DefaultTimeout] and [DefaultRestoreTimeout].
	Timeout, RestoreTimeout time.Duration
	// WaitForTurn is how long to wait for deployments in progress; zero refuses the
	// release at once.
	WaitForTurn time.Duration
	// Force also deploys unchanged services.
	Force bool
	// TakeOver lets the release replace deployments in progress. A failure is then not
	// restored, because no version is known to work.
	TakeOver bool
	// Preflight, if set, is called before anything is changed. An error ends the release.
	Preflight func(context.Context, []ServiceChange) error
	// BeforeUpdate, if set, is called once the revisions are registered, before the first
	// service is updated. An error ends the release.
	BeforeUpdate func(context.Context, Prepared) error
	// PauseAt is the stage at which the release waits for a person's decision, "" for none:
	// one of [PauseStages]. Release returns then, and the result is [report.Paused].
	PauseAt machine.PauseStage
	// PauseLimit is how long ECS waits for the decision before it rolls back; zero means a
	// day. ECS knows whole minutes.
	PauseLimit time.Duration
	// Continue continues a release that is paused, past the stage where it is; it is an
	// error if there is none.
	Continue bool
	// TestNew, if set, is called once the new versions of services receive test traffic, and
	// before any receives production traffic. An error fails the release.
	TestNew func(ctx context.Context, versions map[string]string) error
	// CheckTraffic, if set, is called while traffic is shifted and while the new versions
	// bake, at most every 30 s. An error fails the release.
	CheckTraffic func(context.Context, []ShiftedTraffic) error
	// Verify, if set, is called once all services run the new version, with the value of
	// VERSION of each changed service that runs tasks, "" if it declares none. An error
	// fails the release.
	Verify func(ctx context.Context, versions map[string]string) error

	dryRun     bool     // for [Engine.Diff]
	registered []string // revisions that this process registered before it planned again
}

// Default time limits. ECS itself has none: its circuit breaker counts failed tasks.
const (
	DefaultTimeout        = 15 * time.Minute
	DefaultRestoreTimeout = 10 * time.Minute
)

// Engine drives releases.
type Engine struct {
	ECS  ECS
	Logs Logs
	// Health may be nil; then target health is not reported.
	Health Targets
	// Schedules may be nil if there is no job.
	Schedules Schedules
	Clock     Clock
	// Event is called with each line of the release's log; service is "" for the whole
	// release.
	Event func(service, text string)
	// Next, if set, is called with the command to run if the process ends now; "" if
	// none is needed.
	Next func(command string)
	// Renew, if set, is called when the credentials have expired.
	Renew func()
	// Explain, if set, makes AWS errors readable before they are reported.
	Explain func(error) error
	// Environment is named in printed commands.
	Environment platform.Environment
}

func (e Engine) explain(err error) error {
	if e.Explain == nil {
		return err
	}
	return e.Explain(err)
}

// oneLine formats an error as one line without secrets: ECS may quote what it rejects.
func (e Engine) oneLine(err error) string {
	return outcome.JoinLines(leak.Redact(e.explain(err).Error()))
}

// callTimeout limits one call including its retries.
const callTimeout = 45 * time.Second

// VersionVariable is the environment variable that a release sets to its version, if the
// container declares it. A service whose image is unchanged keeps its value.
const VersionVariable = "VERSION"
