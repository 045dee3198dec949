package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/release/rollout/machine"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// planJobs is how many services are looked into at a time.
const planJobs = 8

// errInProgress refuses a release: a deployment is in progress that is not this release's.
var errInProgress = errors.New("a deployment is in progress")

// releasePlan is what a release would do.
type releasePlan struct {
	id       string
	services []*servicePlan // all services, in the request's order
}

// changed returns the services that change something.
func (p releasePlan) changed() []*servicePlan {
	return slices.DeleteFunc(slices.Clone(p.services), func(s *servicePlan) bool { return s.unchanged })
}

// plan finds out what runs and what would change, for all targets. It changes
// nothing, and its error has all problems.
func (e Engine) plan(ctx context.Context, request Request) (releasePlan, error) {
	described, err := e.describe(ctx, request.Cluster, request.Targets)
	if err != nil {
		return releasePlan{}, err
	}
	services := make([]*servicePlan, len(request.Targets))
	problems := make([]error, len(request.Targets))
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, target := range request.Targets {
		group.Go(func() error {
			services[n], problems[n] = e.planService(ctx, request, target, described[target.Service.ServiceName()])
			return nil
		})
	}
	_ = group.Wait() // problems has the errors, all of them
	if err := errors.Join(problems...); err != nil {
		return releasePlan{}, err
	}
	p := releasePlan{services: services}
	if err := e.identify(ctx, request, &p); err != nil {
		return releasePlan{}, err
	}
	return p, nil
}

func (e Engine) planService(ctx context.Context, request Request, target Target, service *types.Service) (*servicePlan, error) {
	name := target.Service.ServiceName()
	if service == nil || aws.ToString(service.Status) != "ACTIVE" {
		return nil, missingService(request.Cluster, name)
	}
	if kind := service.DeploymentController; kind != nil && kind.Type != types.DeploymentControllerTypeEcs {
		return nil, outcome.Refusedf("service %s is deployed by %s, not by ECS: slipway drives rolling updates of ECS only: set deployment_controller to ECS", name, kind.Type)
	}
	running, tags, err := e.findDefinition(ctx, aws.ToString(service.TaskDefinition))
	if err != nil {
		return nil, err
	}
	s := &servicePlan{
		Plan: machine.Plan{
			Name: target.Service.Name, ECSName: name, DesiredCount: service.DesiredCount,
			From: report.Version{TaskDefinition: aws.ToString(service.TaskDefinition)},
		},
		target: target, service: *service, previous: running, previousTags: tags, tags: parseTags(tags),
	}
	if running == nil {
		s.note("%s: what runs can only be put back by ECS itself", notFoundError(s.From.TaskDefinition))
		running = &types.TaskDefinition{TaskDefinitionArn: service.TaskDefinition}
	}
	s.From = versionOf(*running, tags, target.Service.Container())
	for _, d := range service.Deployments {
		s.PreviousDeployments = append(s.PreviousDeployments, aws.ToString(d.Id))
	}
	s.WasComplete = machine.Complete(service.Deployments)
	wanted, newestTags, err := e.targetDefinition(ctx, s, running, tags)
	if err != nil {
		return nil, err
	}
	s.newestTags, s.templateTags = parseTags(newestTags), newestTags
	if err := e.decideCount(ctx, request.Cluster, s, aws.ToString(wanted.TaskDefinitionArn)); err != nil {
		return nil, err
	}
	if err := s.planImage(*running, *wanted, request); err != nil {
		return nil, err
	}
	if !s.unchanged && !request.dryRun {
		if err := checkStrategy(*service); err != nil {
			return nil, err
		}
	}
	if err := s.checkInProgress(request); err != nil {
		return nil, err
	}
	if request.TakeOver && s.unchanged && deploying(*service) {
		s.joinDeployment(e.Clock.Now())
	}
	if s.failed() && s.tags.from != "" && !s.upToDate {
		return s, e.findPrevious(ctx, s)
	}
	return s, nil
}

// decideCount changes the desired count in a service's first release, and on the way
// back from it.
func (e Engine) decideCount(ctx context.Context, cluster string, s *servicePlan, wanted string) error {
	now, wish := s.service.DesiredCount, int32(s.target.Service.DesiredCount)
	switch {
	case s.target.Revision != "" && s.tags.raised > 0 && wanted == s.tags.from:
		s.Count = &machine.CountChange{From: now}
	case s.tags.release != "":
	case now == 0 && s.target.Revision == "" && wish > 0:
		s.Count = &machine.CountChange{To: wish}
	case now > 0 && s.target.Revision == "" && wish > 0 && s.countRaisedBy(s.newestTags):
		s.Count = &machine.CountChange{To: wish}
	case now > 0 && s.target.Revision == s.From.TaskDefinition:
		_, tags, err := e.findDefinition(ctx, s.target.Service.Family())
		if err != nil {
			return err
		}
		if s.countRaisedBy(parseTags(tags)) {
			s.Count = &machine.CountChange{}
		}
	case now > 0 && s.target.Revision == "" && s.failed() && s.service.RunningCount == 0:
		ran, err := e.everSucceeded(ctx, cluster, s)
		if err != nil {
			return err
		}
		if !ran {
			s.Count, s.WasComplete = &machine.CountChange{To: now}, true
		}
	}
	return nil
}

// everSucceeded reports whether a deployment of the service was ever complete. If none was,
// such as one of an image that Terraform only names for the time being, ECS would go
// back from it to the first that is: only a count of 0 restores what was.
func (e Engine) everSucceeded(ctx context.Context, cluster string, s *servicePlan) (bool, error) {
	list, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: &cluster, Service: aws.String(s.target.Service.ServiceName()), MaxResults: aws.Int32(1),
		Status: []types.ServiceDeploymentStatus{types.ServiceDeploymentStatusSuccessful},
	})
	switch {
	case isUnavailable(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("listing service deployments of %s: %w", s.target.Service.ServiceName(), err)
	}
	return len(list.ServiceDeployments) > 0, nil
}

// countRaisedBy reports whether the count is that of a first release, by its tags,
// which ECS put back by itself after its process had ended: ECS leaves the count.
func (s *servicePlan) countRaisedBy(release releaseTags) bool {
	primary := machine.Primary(s.service.Deployments)
	return release.raised > 0 && s.runs(release.from) && primary != nil && primary.RunningCount == 0
}

// scalesToZero reports whether the service is to run nothing, as before its first release.
func (s *servicePlan) scalesToZero() bool { return s.Count != nil && s.Count.To == 0 }

// joinDeployment joins a deployment that somebody else has begun to what shall run: it is
// waited for.
func (s *servicePlan) joinDeployment(now time.Time) {
	primary := machine.Primary(s.service.Deployments)
	s.unchanged, s.Joined, s.JoinedAt = false, aws.ToString(primary.Id), now
}

// findPrevious takes what ran before the last release for what is to be restored:
// ECS has given up on what that release wanted.
func (e Engine) findPrevious(ctx context.Context, s *servicePlan) error {
	previous, tags, err := e.findDefinition(ctx, s.tags.from)
	if err != nil {
		return fmt.Errorf("finding out what ran before the release that failed: %w", err)
	}
	if previous == nil {
		s.note("%s: it ran before the release that failed, and cannot be gone back to", notFoundError(s.tags.from))
		return nil
	}
	s.From, s.previous, s.previousTags, s.WasComplete = versionOf(*previous, tags, s.target.Service.Container()), previous, tags, true
	switch now := s.service.DesiredCount; {
	case s.tags.raised == 0 || now == 0:
	case s.Count == nil:
		s.Count = &machine.CountChange{To: now}
	default:
		s.Count.From = 0
	}
	return nil
}

// targetDefinition is the revision that the target is made from: the one named, or the
// newest active one of the family, so that Terraform's changes arrive.
func (e Engine) targetDefinition(ctx context.Context, s *servicePlan, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	switch s.target.Revision {
	case "":
		return e.newestDefinition(ctx, s, running, tags)
	case aws.ToString(running.TaskDefinitionArn):
		return running, tags, nil
	}
	return e.definition(ctx, s.target.Revision)
}

// newestDefinition is the newest active revision of a service's family; if a clean-up has
// deregistered them all it is what runs, which ECS still describes, or else the
// newest that ECS has kept.
func (e Engine) newestDefinition(ctx context.Context, s *servicePlan, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	family := s.target.Service.Family()
	newest, newestTags, err := e.definition(ctx, family)
	if !isNotFound(err) {
		return newest, newestTags, err
	}
	if aws.ToString(running.Family) == family {
		s.note("%s: a new one is made from %s, which runs", err, machine.ShortARN(s.From.TaskDefinition))
		return running, tags, nil
	}
	list, err := e.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
		FamilyPrefix: &family, Sort: types.SortOrderDesc, Status: types.TaskDefinitionStatusInactive, MaxResults: aws.Int32(1),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing revisions of %s: %w", family, err)
	}
	if len(list.TaskDefinitionArns) == 0 {
		return nil, nil, missingError("there is no task definition " + family)
	}
	s.note("%s: a new one is made from %s", notFoundError(family), machine.ShortARN(list.TaskDefinitionArns[0]))
	return e.definition(ctx, list.TaskDefinitionArns[0])
}

// planImage compares what runs with what shall run.
func (s *servicePlan) planImage(running, template types.TaskDefinition, request Request) error {
	if s.target.Revision != "" {
		s.running, s.wanted = registerInput(running), registerInput(template)
		return s.planRevision(template, request)
	}
	container, version := s.target.Service.Container(), request.Version
	if s.From.Image == s.target.Image && s.From.SHA != "" {
		version = s.From.SHA // the version moves with the image
	}
	wanted, err := render(template, container, s.target.Image, version)
	if err != nil {
		return err
	}
	current := registerInput(running)
	if s.previous != nil {
		if current, err = render(running, container, s.From.Image, version); err != nil {
			return err
		}
	}
	s.To = report.Version{Image: s.target.Image, SHA: version}
	s.running, s.wanted = current, wanted
	switch {
	case same(wanted, current):
		s.To, s.upToDate = s.From, true
		s.unchanged = !request.Force && !s.failed()
		if !s.unchanged && !active(&running) {
			s.planCopy(running, s.previousTags)
		}
	case same(wanted, registerInput(template)) && active(&template):
		s.To.TaskDefinition = aws.ToString(template.TaskDefinitionArn)
		s.definition = wanted // until it is known that the revision was registered for this
	default:
		s.definition = wanted
	}
	return nil
}

// planCopy has the like of a revision registered that was deregistered: ECS takes it
// for no deployment any more.
func (s *servicePlan) planCopy(definition types.TaskDefinition, tags []types.Tag) {
	s.copyOf, s.templateTags = aws.ToString(definition.TaskDefinitionArn), tags
	s.definition, s.To.TaskDefinition = registerInput(definition), ""
}

// failed reports whether ECS has given up on what the service is to run. Saying
// "nothing to do" of such a service would be a lie.
func (s *servicePlan) failed() bool {
	primary := machine.Primary(s.service.Deployments)
	return primary != nil && primary.RolloutState == types.DeploymentRolloutStateFailed
}

// planRevision takes a revision as it is. One that was deregistered cannot be
// deployed any more, so its like is registered.
func (s *servicePlan) planRevision(template types.TaskDefinition, request Request) error {
	container := s.target.Service.Container()
	s.To = report.Version{TaskDefinition: aws.ToString(template.TaskDefinitionArn), Image: imageOf(template, container), SHA: cmp.Or(s.newestTags.sha, request.Version)}
	s.unchanged = s.runs(s.To.TaskDefinition) && !request.Force && !s.scalesToZero()
	switch {
	case s.unchanged:
		s.To.TaskDefinition = s.From.TaskDefinition
	case s.To.Image == "":
		_, err := render(template, container, "", "") // says which containers there are
		return err
	case !active(&template):
		s.planCopy(template, s.templateTags)
	}
	return nil
}

// checkInProgress refuses a service in which a deployment is in progress, unless it is
// this release's own, from a process that has ended.
func (s *servicePlan) checkInProgress(request Request) error {
	if !deploying(s.service) || request.TakeOver {
		s.Irreversible = deploying(s.service)
		return nil
	}
	if s.upToDate && s.tags.from != "" && !request.Force {
		return nil // [Engine.identify] joins it
	}
	owner := "somebody else's"
	switch {
	case s.tags.release == "" && s.runs(s.newestTags.from):
		owner = fmt.Sprintf("the way back from release %s, of %s", s.newestTags.release, s.newestTags.sha)
	case s.tags.release != "":
		owner = fmt.Sprintf("release %s, of %s", s.tags.release, s.tags.sha)
	}
	return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s; %s): wait for it (--wait-for-turn), or go back to what ran before (slipway rollback)",
		s.ECSName, errInProgress, describeDeployments(s.service.Deployments), owner))
}

// firstDeployment is how long after its service a deployment may have been
// created to be the service's first.
const firstDeployment = time.Minute

// deploying reports whether a deployment is in progress that has replaced another
// one. The first deployment of a service has not: it may wait for ever for an
// image that only a release brings. A deployment that ECS has given up on is in
// progress no more, whatever else still runs.
func deploying(service types.Service) bool {
	primary := machine.Primary(service.Deployments)
	if primary != nil && primary.RolloutState == types.DeploymentRolloutStateFailed {
		return false
	}
	if len(service.Deployments) > 1 {
		return true
	}
	if primary == nil || primary.RolloutState != types.DeploymentRolloutStateInProgress {
		return false
	}
	return primary.CreatedAt != nil && service.CreatedAt != nil && primary.CreatedAt.Sub(*service.CreatedAt) > firstDeployment
}

// versionOf reads from a revision and its tags what it runs.
func versionOf(definition types.TaskDefinition, tags []types.Tag, container string) report.Version {
	return report.Version{
		TaskDefinition: aws.ToString(definition.TaskDefinitionArn),
		Image:          imageOf(definition, container),
		SHA:            parseTags(tags).sha,
	}
}
