package rollout

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/release/rollout/machine"
	"dagger/slipway/internal/report"
)

// servicePlan is what a release is to do with one service, and what it was derived
// from. It is complete once the release is prepared, and does not change after that.
type servicePlan struct {
	machine.Plan
	target  Target
	service types.Service // as ECS described it

	// definition is to be registered; nil if the revision To.TaskDefinition exists
	// already or nothing is to be done.
	definition *ecs.RegisterTaskDefinitionInput
	// running and wanted are what runs and what shall run, for comparing.
	running, wanted *ecs.RegisterTaskDefinitionInput
	// previous is what ran before, in case somebody deregisters it; nil if its
	// revision is deleted.
	previous     *types.TaskDefinition
	previousTags []types.Tag
	// templateTags are the tags of the revision that the new one is made from.
	templateTags []types.Tag
	// copyOf is the deregistered revision that the new one is a copy of, or "".
	copyOf     string
	tags       releaseTags // of the revision that runs
	newestTags releaseTags // of the revision that the new one is made from
	upToDate   bool        // what runs is what shall run
	unchanged  bool        // nothing is to be done
	notes      []string    // for people
}

func (s *servicePlan) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// runs reports whether a revision, or a copy of it, is what runs.
func (s *servicePlan) runs(revision string) bool {
	return revision != "" && (revision == s.From.TaskDefinition || revision == s.tags.copyOf)
}

// serviceRollout is a service while it is rolled out: its plan, how to ask ECS about
// its deployment, and what was reported of it. Its progress is the machine's.
type serviceRollout struct {
	*servicePlan
	lookup   deploymentLookup
	reported eventDedupe
	causes   []report.Cause
	// restoreCause is why the deployment that restores failed.
	restoreCause string
}

// deploymentLookup is how the service deployment of a service's own deployment is found.
type deploymentLookup struct {
	own, arn     string // the deployment's id, and the ARN of its service deployment once known
	unavailable  bool   // the endpoint has no service deployments, or denies them
	triedCurrent bool   // what the service calls its current deployment was asked about
}

// arnOf is the ARN of the service deployment of a deployment, "" if it is not known.
func (l deploymentLookup) arnOf(own string) string {
	if l.own != own {
		return ""
	}
	return l.arn
}

// describeDeployments lists deployments for people.
func describeDeployments(deployments []types.Deployment) string {
	var list []string
	for _, d := range deployments {
		list = append(list, fmt.Sprintf("%s %s of %s", aws.ToString(d.Status), aws.ToString(d.Id), machine.ShortARN(aws.ToString(d.TaskDefinition))))
	}
	return strings.Join(list, ", ")
}
