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

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// planJobs is how many services are planned concurrently.
const planJobs = 8

// errInProgress refuses a release during a deployment that is not its own.
var errInProgress = errors.New("a deployment is in progress")

// releasePlan is the plan of a release.
type releasePlan struct {
	id       string
	services []*servicePlan // all services, in the request's order
	tasksRan bool           // BeforeUpdate was called
}

// changed returns the services to change.
func (p releasePlan) changed() []*servicePlan {
	return slices.DeleteFunc(slices.Clone(p.services), func(s *servicePlan) bool { return s.unchanged })
}

// plan plans the release of all targets. It changes nothing. The error joins those of
// all services.
func (e Engine) plan(ctx context.Context, request Request) (releasePlan, error) {
	ids := make([]serviceID, len(request.Targets))
	for n, target := range request.Targets {
		ids[n] = idOf(target.Service)
	}
	described, err := e.describe(ctx, ids)
	if err != nil {
		return releasePlan{}, err
	}
	services := make([]*servicePlan, len(request.Targets))
	problems := make([]error, len(request.Targets))
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, target := range request.Targets {
		group.Go(func() error {
			services[n], problems[n] = e.planService(ctx, request, target, described[ids[n]])
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
	if err := p.checkContinue(request); err != nil {
		return releasePlan{}, err
	}
	return p, p.planStrategies(request, e.Clock)
}

func (e Engine) planService(ctx context.Context, request Request, target Target, service *types.Service) (*servicePlan, error) {
	if target.Service.IsJob() {
		return e.planJob(ctx, request, target)
	}
	name := target.Service.ServiceName()
	if service == nil || aws.ToString(service.Status) != "ACTIVE" {
		return nil, missingService(target.Service)
	}
	if kind := service.DeploymentController; kind != nil && kind.Type != types.DeploymentControllerTypeEcs {
		return nil, outcome.Refusedf("service %s uses the deployment controller %s: slipway supports rolling updates of ECS only: set deployment_controller to ECS", name, kind.Type)
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
		s.note("%s: only ECS can restore the running version", notFoundError(s.From.TaskDefinition))
		running = &types.TaskDefinition{TaskDefinitionArn: service.TaskDefinition}
	}
	s.From = versionOf(*running, tags, target.Service.ContainerName())
	for _, d := range service.Deployments {
		s.PreviousDeployments = append(s.PreviousDeployments, aws.ToString(d.Id))
	}
	s.WasComplete = machine.Complete(service.Deployments) || hasEarlySuccess(*service) && !deploying(*service) && !s.failed()
	wanted, newestTags, err := e.targetDefinition(ctx, s, running, tags)
	if err != nil {
		return nil, err
	}
	s.newestTags, s.templateTags = parseTags(newestTags), newestTags
	if target.Template != nil {
		wanted, s.templateTags = target.Template, target.Tags
	}
	if err := e.decideCount(ctx, s, aws.ToString(wanted.TaskDefinitionArn)); err != nil {
		return nil, err
	}
	if err := s.planImage(*running, *wanted, request); err != nil {
		return nil, err
	}
	if !s.unchanged && !request.dryRun {
		if err := s.checkStrategy(); err != nil {
			return nil, err
		}
	}
	if err := s.checkInProgress(request); err != nil {
		return nil, err
	}
	if err := e.findGroup(ctx, s); err != nil {
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

// decideCount plans a change of the desired count for a service's first release, and for
// the rollback of it.
func (e Engine) decideCount(ctx context.Context, s *servicePlan, wanted string) error {
	now, configured := s.service.DesiredCount, int32(s.target.Service.DesiredCount)
	switch {
	case s.target.Revision != "" && s.tags.raised > 0 && wanted == s.tags.from:
		s.Count = &machine.CountChange{From: now}
	case s.tags.release != "":
	case now == 0 && s.target.Revision == "" && configured > 0:
		s.Count = &machine.CountChange{To: configured}
	case now > 0 && s.target.Revision == "" && configured > 0 && s.countRaisedBy(s.newestTags):
		s.Count = &machine.CountChange{To: configured}
	case now > 0 && s.target.Revision == s.From.TaskDefinition:
		_, tags, err := e.findDefinition(ctx, s.target.Service.Family())
		if err != nil {
			return err
		}
		if s.countRaisedBy(parseTags(tags)) {
			s.Count = &machine.CountChange{}
		}
	case now > 0 && s.target.Revision == "" && s.failed() && s.service.RunningCount == 0:
		ran, err := e.everSucceeded(ctx, s)
		if err != nil {
			return err
		}
		if !ran {
			s.Count, s.WasComplete = &machine.CountChange{To: now}, true
		}
	}
	return nil
}

// everSucceeded reports whether a deployment of the service was ever successful. If none
// was, such as one of Terraform's placeholder image, only a desired count of 0 restores
// the previous state: ECS would roll back to the first successful deployment.
func (e Engine) everSucceeded(ctx context.Context, s *servicePlan) (bool, error) {
	list, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: s.cluster(), Service: aws.String(s.target.Service.ServiceName()), MaxResults: aws.Int32(1),
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

// countRaisedBy reports whether the desired count is that of a first release, given by
// its tags, that ECS rolled back after its process had ended: ECS keeps the count.
func (s *servicePlan) countRaisedBy(release releaseTags) bool {
	primary := machine.Primary(s.service.Deployments)
	return release.raised > 0 && s.runs(release.from) && primary != nil && primary.RunningCount == 0
}

// scalesToZero reports whether the service is to run no task.
func (s *servicePlan) scalesToZero() bool { return s.Count != nil && s.Count.To == 0 }

// raisesFromZero reports whether the release starts the first tasks of a service.
func (s *servicePlan) raisesFromZero() bool {
	return s.Count != nil && s.Count.To > 0 && s.service.DesiredCount == 0
}

// joinDeployment waits for a deployment of the wanted revision that somebody else started.
func (s *servicePlan) joinDeployment(now time.Time) {
	primary := machine.Primary(s.service.Deployments)
	s.unchanged, s.Joined, s.JoinedAt = false, aws.ToString(primary.Id), now
}

// findPrevious restores the version before the last release if this one fails, because
// ECS has given up the deployment of the last release.
func (e Engine) findPrevious(ctx context.Context, s *servicePlan) error {
	previous, tags, err := e.findDefinition(ctx, s.tags.from)
	if err != nil {
		return fmt.Errorf("looking up the version before the failed release: %w", err)
	}
	if previous == nil {
		s.note("%s: the version before the failed release cannot be restored", notFoundError(s.tags.from))
		return nil
	}
	s.From, s.previous, s.previousTags, s.WasComplete = versionOf(*previous, tags, s.target.Service.ContainerName()), previous, tags, true
	switch now := s.service.DesiredCount; {
	case s.tags.raised == 0 || now == 0:
	case s.Count == nil:
		s.Count = &machine.CountChange{To: now}
	default:
		s.Count.From = 0
	}
	return nil
}

// targetDefinition returns the definition to deploy or to base a new one on: the given
// revision, or the newest active one, so that Terraform's changes are deployed.
func (e Engine) targetDefinition(ctx context.Context, s *servicePlan, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	switch s.target.Revision {
	case "":
		return e.newestDefinition(ctx, s, running, tags)
	case aws.ToString(running.TaskDefinitionArn):
		return running, tags, nil
	}
	return e.definition(ctx, s.target.Revision)
}

// newestDefinition returns the newest active revision of a service's family. If all are
// deregistered, it returns the running one, or else the newest that ECS still has.
func (e Engine) newestDefinition(ctx context.Context, s *servicePlan, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	family := s.target.Service.Family()
	newest, newestTags, err := e.definition(ctx, family)
	if !isNotFound(err) {
		return newest, newestTags, err
	}
	if aws.ToString(running.Family) == family {
		s.note("%s: creating one from %s, which runs", err, machine.ShortARN(s.From.TaskDefinition))
		return running, tags, nil
	}
	list, err := e.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
		FamilyPrefix: &family, Sort: types.SortOrderDesc, Status: types.TaskDefinitionStatusInactive, MaxResults: aws.Int32(1),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing revisions of %s: %w", family, err)
	}
	if len(list.TaskDefinitionArns) == 0 {
		return nil, nil, missingError("task definition " + family + " does not exist")
	}
	s.note("%s: creating one from %s", notFoundError(family), machine.ShortARN(list.TaskDefinitionArns[0]))
	return e.definition(ctx, list.TaskDefinitionArns[0])
}

// planImage compares the running definition with the one for the target's image.
func (s *servicePlan) planImage(running, template types.TaskDefinition, request Request) error {
	if s.target.Revision != "" {
		s.running, s.wanted = registerInput(running), registerInput(template)
		return s.planRevision(template, request)
	}
	container, version := s.target.Service.ContainerName(), request.Version
	if s.target.runsImages(running) && s.From.SHA != "" {
		version = s.From.SHA // an unchanged image keeps its version
	}
	wanted, err := render(template, container, s.target.Image, version)
	if err != nil {
		return err
	}
	for _, name := range setImages(wanted, s.target.Sidecars) {
		s.note("container %s of %s is not in %s: add it with Terraform (slipway plan, slipway apply)", name, platform.ServicesFile, machine.ShortARN(aws.ToString(template.TaskDefinitionArn)))
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
	case same(wanted, current) && !s.raisesFromZero():
		s.To, s.upToDate = s.From, true
		s.unchanged = !request.Force && !s.failed()
		if !s.unchanged && !active(&running) {
			s.planCopy(running, s.previousTags)
		}
	case same(wanted, registerInput(template)) && active(&template):
		s.To.TaskDefinition = aws.ToString(template.TaskDefinitionArn)
		s.definition = wanted // unless the revision was registered for this release
	default:
		s.definition = wanted
	}
	return nil
}

// planCopy plans to register a copy of a deregistered revision, which ECS does not
// deploy.
func (s *servicePlan) planCopy(definition types.TaskDefinition, tags []types.Tag) {
	s.copyOf, s.templateTags = aws.ToString(definition.TaskDefinitionArn), tags
	s.definition, s.To.TaskDefinition = registerInput(definition), ""
}

// failed reports whether ECS has given up the primary deployment. Such a service is not
// unchanged.
func (s *servicePlan) failed() bool {
	primary := machine.Primary(s.service.Deployments)
	return primary != nil && primary.RolloutState == types.DeploymentRolloutStateFailed
}

// planRevision plans to deploy a revision as it is, or a copy of a deregistered one.
func (s *servicePlan) planRevision(template types.TaskDefinition, request Request) error {
	container := s.target.Service.ContainerName()
	s.To = report.Version{TaskDefinition: aws.ToString(template.TaskDefinitionArn), Image: imageOf(template, container), SHA: cmp.Or(s.newestTags.sha, request.Version)}
	s.unchanged = s.runs(s.To.TaskDefinition) && !request.Force && !s.scalesToZero()
	switch {
	case s.unchanged:
		s.To.TaskDefinition = s.From.TaskDefinition
	case s.To.Image == "":
		_, err := render(template, container, "", "") // the error lists the containers
		return err
	case !active(&template):
		s.planCopy(template, s.templateTags)
	}
	return nil
}

// checkInProgress refuses a service with a deployment in progress, unless it is this
// release's own from a process that has ended.
func (s *servicePlan) checkInProgress(request Request) error {
	if !deploying(s.service) || request.TakeOver {
		s.Irreversible = deploying(s.service)
		return nil
	}
	if s.upToDate && s.tags.from != "" && !request.Force {
		return nil // [Engine.identify] joins it
	}
	owner := "not of a slipway release"
	switch {
	case s.tags.release == "" && s.runs(s.newestTags.from):
		owner = fmt.Sprintf("restores release %s of commit %s", s.newestTags.release, s.newestTags.sha)
	case s.tags.release != "":
		owner = fmt.Sprintf("release %s of commit %s", s.tags.release, s.tags.sha)
	}
	return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s; %s): %s",
		s.ECSName, errInProgress, describeDeployments(s.service.Deployments), owner, s.inProgressAdvice()))
}

// inProgressAdvice returns what to do about a deployment in progress.
func (s *servicePlan) inProgressAdvice() string {
	if strategyOf(s.service.DeploymentConfiguration) != "" {
		return "wait for it (--wait-for-turn), continue it (slipway continue), or abort it (slipway abort)"
	}
	return "wait for it (--wait-for-turn), or roll back (slipway rollback)"
}

// firstDeployment is how long after its service the first deployment of a service may
// have been created.
const firstDeployment = time.Minute

// deploying reports whether a deployment is in progress that replaces another one. The
// first deployment of a service does not: it may wait for an image that only a release
// provides. Neither does one that ECS has given up, whatever else still runs.
func deploying(service types.Service) bool {
	primary := machine.Primary(service.Deployments)
	if primary != nil && primary.RolloutState == types.DeploymentRolloutStateFailed {
		return false
	}
	if hasEarlySuccess(service) && primary != nil && primary.RolloutState == types.DeploymentRolloutStateCompleted {
		return false // tasks of the previous one drain
	}
	if len(service.Deployments) > 1 {
		return true
	}
	if primary == nil || primary.RolloutState != types.DeploymentRolloutStateInProgress {
		return false
	}
	return primary.CreatedAt != nil && service.CreatedAt != nil && primary.CreatedAt.Sub(*service.CreatedAt) > firstDeployment
}

// versionOf returns the version of a revision with its tags.
func versionOf(definition types.TaskDefinition, tags []types.Tag, container string) report.Version {
	return report.Version{
		TaskDefinition: aws.ToString(definition.TaskDefinitionArn),
		Image:          imageOf(definition, container),
		SHA:            parseTags(tags).sha,
	}
}
