package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
)

// planJobs is how many services are looked into at a time.
const planJobs = 8

// errInProgress is refused: a deployment is in progress that is not this release's.
var errInProgress = errors.New("a deployment is in progress")

// planned is what a release would do.
type planned struct {
	id    string
	moves []*move // all services, in the request's order
}

// changed are the moves that change something.
func (p planned) changed() []*move {
	return slices.DeleteFunc(slices.Clone(p.moves), func(m *move) bool { return m.unchanged })
}

// plan finds out what runs and what would change, for all targets. It changes
// nothing. All that is wrong is told at once.
func (e Engine) plan(ctx context.Context, request Request) (planned, error) {
	services, err := e.describe(ctx, request.Cluster, request.Targets)
	if err != nil {
		return planned{}, err
	}
	moves := make([]*move, len(request.Targets))
	problems := make([]error, len(request.Targets))
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, target := range request.Targets {
		group.Go(func() error {
			moves[n], problems[n] = e.planService(ctx, request, target, services[target.Service.ServiceName()])
			return nil
		})
	}
	_ = group.Wait() // problems has the errors, all of them
	if err := errors.Join(problems...); err != nil {
		return planned{}, err
	}
	p := planned{moves: moves}
	if err := e.identify(ctx, request, &p); err != nil {
		return planned{}, err
	}
	return p, nil
}

func (e Engine) planService(ctx context.Context, request Request, target Target, service *types.Service) (*move, error) {
	name := target.Service.ServiceName()
	if service == nil || aws.ToString(service.Status) != "ACTIVE" {
		return nil, noService(request.Cluster, name)
	}
	if kind := service.DeploymentController; kind != nil && kind.Type != types.DeploymentControllerTypeEcs {
		return nil, outcome.Refusedf("service %s is deployed by %s, not by ECS: slipway drives rolling updates of ECS only: set deployment_controller to ECS", name, kind.Type)
	}
	running, tags, err := e.past(ctx, aws.ToString(service.TaskDefinition))
	if err != nil {
		return nil, err
	}
	m := &move{
		target: target, service: *service, result: report.Unchanged, origin: running, originTags: tags,
		from: report.Version{TaskDefinition: aws.ToString(service.TaskDefinition)}, marks: readMarks(tags),
	}
	if running == nil {
		m.remark("%s: what runs can only be put back by ECS itself", goneError(m.from.TaskDefinition))
		running = &types.TaskDefinition{TaskDefinitionArn: service.TaskDefinition}
	}
	m.from = versionOf(*running, tags, target.Service.Container())
	m.remember(*service)
	wanted, newestTags, err := e.wanted(ctx, m, running, tags)
	if err != nil {
		return nil, err
	}
	m.newest, m.templateTags = readMarks(newestTags), newestTags
	if err := e.decideCount(ctx, request.Cluster, m, aws.ToString(wanted.TaskDefinitionArn)); err != nil {
		return nil, err
	}
	if err := m.decide(*running, *wanted, request); err != nil {
		return nil, err
	}
	if !m.unchanged && !request.looking {
		if err := drivable(*service); err != nil {
			return nil, err
		}
	}
	if err := m.mayBegin(request); err != nil {
		return nil, err
	}
	if request.TakeOver && m.unchanged && deploying(*service) {
		m.follow(e.Clock.Now())
	}
	if m.failed() && m.marks.from != "" && !m.current {
		return m, e.lookBehind(ctx, m)
	}
	return m, nil
}

// decideCount finds out whether the move is a service's first release, or back to
// what was before it.
func (e Engine) decideCount(ctx context.Context, cluster string, m *move, wanted string) error {
	now, wish := m.service.DesiredCount, int32(m.target.Service.DesiredCount)
	switch {
	case m.target.Revision != "" && m.marks.raised > 0 && wanted == m.marks.from:
		m.count = &count{now, 0}
	case m.marks.release != "":
	case now == 0 && m.target.Revision == "" && wish > 0:
		m.count = &count{0, wish}
	case now > 0 && m.target.Revision == "" && wish > 0 && m.leftRaisedBy(m.newest):
		m.count = &count{0, wish}
	case now > 0 && m.target.Revision == m.from.TaskDefinition:
		_, tags, err := e.past(ctx, m.target.Service.Family())
		if err != nil {
			return err
		}
		if m.leftRaisedBy(readMarks(tags)) {
			m.count = &count{0, 0}
		}
	case now > 0 && m.target.Revision == "" && m.failed() && m.service.RunningCount == 0:
		ran, err := e.everRan(ctx, cluster, m)
		if err != nil {
			return err
		}
		if !ran {
			m.count, m.settled = &count{0, now}, true
		}
	}
	return nil
}

// everRan tells whether a deployment of the service was ever complete. If none was,
// such as one of an image that Terraform only names for the time being, ECS would go
// back from it to the first that is: only a count of 0 restores what was.
func (e Engine) everRan(ctx context.Context, cluster string, m *move) (bool, error) {
	list, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: &cluster, Service: aws.String(m.target.Service.ServiceName()), MaxResults: aws.Int32(1),
		Status: []types.ServiceDeploymentStatus{types.ServiceDeploymentStatusSuccessful},
	})
	switch {
	case lacksAPI(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("listing service deployments of %s: %w", m.target.Service.ServiceName(), err)
	}
	return len(list.ServiceDeployments) > 0, nil
}

// leftRaisedBy tells whether the count is that of a first release, by its marks,
// which ECS put back by itself after its process had ended: ECS leaves the count.
func (m *move) leftRaisedBy(release marks) bool {
	primary := observation{deployments: m.service.Deployments}.primary()
	return release.raised > 0 && m.ran(release.from) && primary != nil && primary.RunningCount == 0
}

// emptied tells whether the service is to run nothing, as before its first release.
func (m *move) emptied() bool { return m.count != nil && m.count.to == 0 }

// follow makes a service that is on its way to where it shall go, without our
// doing, a part of the release: it is waited for.
func (m *move) follow(now time.Time) {
	primary := observation{deployments: m.service.Deployments}.primary()
	m.unchanged, m.update, m.own, m.started = false, taken, aws.ToString(primary.Id), now
}

// lookBehind takes what ran before the last release for what is to be restored:
// ECS has given up on what that release wanted.
func (e Engine) lookBehind(ctx context.Context, m *move) error {
	origin, tags, err := e.past(ctx, m.marks.from)
	if err != nil {
		return fmt.Errorf("finding out what ran before the release that failed: %w", err)
	}
	if origin == nil {
		m.remark("%s: it ran before the release that failed, and cannot be gone back to", goneError(m.marks.from))
		return nil
	}
	m.from, m.origin, m.originTags, m.settled = versionOf(*origin, tags, m.target.Service.Container()), origin, tags, true
	switch now := m.service.DesiredCount; {
	case m.marks.raised == 0 || now == 0:
	case m.count == nil:
		m.count = &count{0, now}
	default:
		m.count.from = 0
	}
	return nil
}

// remember notes what the service is like before the release.
func (m *move) remember(service types.Service) {
	for _, d := range service.Deployments {
		m.before = append(m.before, aws.ToString(d.Id))
	}
	primary := observation{deployments: service.Deployments}.primary()
	m.settled = primary != nil && complete(observation{deployments: service.Deployments}, primary)
	m.told.skip(service.Events)
}

// wanted is the revision that the target is made from: the one named, or the
// newest active one of the family, so that Terraform's changes arrive.
func (e Engine) wanted(ctx context.Context, m *move, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	switch m.target.Revision {
	case "":
		return e.template(ctx, m, running, tags)
	case aws.ToString(running.TaskDefinitionArn):
		return running, tags, nil
	}
	return e.definition(ctx, m.target.Revision)
}

// template is the newest active revision of a service's family; if a clean-up has
// deregistered them all it is what runs, which ECS still describes, or else the
// newest that ECS has kept.
func (e Engine) template(ctx context.Context, m *move, running *types.TaskDefinition, tags []types.Tag) (*types.TaskDefinition, []types.Tag, error) {
	family := m.target.Service.Family()
	newest, newestTags, err := e.definition(ctx, family)
	if !isGone(err) {
		return newest, newestTags, err
	}
	if aws.ToString(running.Family) == family {
		m.remark("%s: a new one is made from %s, which runs", err, afterSlash(m.from.TaskDefinition))
		return running, tags, nil
	}
	list, err := e.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
		FamilyPrefix: &family, Sort: types.SortOrderDesc, Status: types.TaskDefinitionStatusInactive, MaxResults: aws.Int32(1),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing revisions of %s: %w", family, err)
	}
	if len(list.TaskDefinitionArns) == 0 {
		return nil, nil, absentError("there is no task definition " + family)
	}
	m.remark("%s: a new one is made from %s", goneError(family), afterSlash(list.TaskDefinitionArns[0]))
	return e.definition(ctx, list.TaskDefinitionArns[0])
}

// decide compares what runs with what shall run.
func (m *move) decide(running, template types.TaskDefinition, request Request) error {
	if m.target.Revision != "" {
		m.runs, m.wants = carryOver(running), carryOver(template)
		return m.decideRevision(template, request)
	}
	container, version := m.target.Service.Container(), request.Version
	if m.from.Image == m.target.Image && m.from.SHA != "" {
		version = m.from.SHA // the version moves with the image
	}
	wanted, err := render(template, container, m.target.Image, version)
	if err != nil {
		return err
	}
	current := carryOver(running)
	if m.origin != nil {
		if current, err = render(running, container, m.from.Image, version); err != nil {
			return err
		}
	}
	m.to = report.Version{Image: m.target.Image, SHA: version}
	m.runs, m.wants = current, wanted
	switch {
	case same(wanted, current):
		m.to, m.current = m.from, true
		m.unchanged = !request.Force && !m.failed()
		if !m.unchanged && !active(&running) {
			m.copy(running, m.originTags)
		}
	case same(wanted, carryOver(template)) && active(&template):
		m.to.TaskDefinition = aws.ToString(template.TaskDefinitionArn)
		m.definition = wanted // until it is known that the revision was registered for this
	default:
		m.definition = wanted
	}
	return nil
}

// copy has the like of a revision registered that was deregistered: ECS takes it
// for no deployment any more.
func (m *move) copy(definition types.TaskDefinition, tags []types.Tag) {
	m.copies, m.templateTags = aws.ToString(definition.TaskDefinitionArn), tags
	m.definition, m.to.TaskDefinition = carryOver(definition), ""
}

// failed tells whether ECS has given up on what the service is to run. Saying
// "nothing to do" of such a service would be a lie.
func (m *move) failed() bool {
	primary := observation{deployments: m.service.Deployments}.primary()
	return primary != nil && primary.RolloutState == types.DeploymentRolloutStateFailed
}

// decideRevision takes a revision as it is. One that was deregistered cannot be
// deployed any more, so its like is registered.
func (m *move) decideRevision(template types.TaskDefinition, request Request) error {
	container := m.target.Service.Container()
	m.to = report.Version{TaskDefinition: aws.ToString(template.TaskDefinitionArn), Image: imageOf(template, container), SHA: cmp.Or(m.newest.sha, request.Version)}
	m.unchanged = m.ran(m.to.TaskDefinition) && !request.Force && !m.emptied()
	switch {
	case m.unchanged:
		m.to.TaskDefinition = m.from.TaskDefinition
	case m.to.Image == "":
		_, err := render(template, container, "", "") // says which containers there are
		return err
	case !active(&template):
		m.copy(template, m.templateTags)
	}
	return nil
}

// mayBegin refuses a service in which a deployment is in progress, unless it is
// this release's own, from a process that has ended.
func (m *move) mayBegin(request Request) error {
	if !deploying(m.service) || request.TakeOver {
		m.oneWay = deploying(m.service)
		return nil
	}
	if m.current && m.marks.from != "" && !request.Force {
		return nil // [Engine.identify] joins it
	}
	owner := "somebody else's"
	switch {
	case m.marks.release == "" && m.ran(m.newest.from):
		owner = fmt.Sprintf("the way back from release %s, of %s", m.newest.release, m.newest.sha)
	case m.marks.release != "":
		owner = fmt.Sprintf("release %s, of %s", m.marks.release, m.marks.sha)
	}
	return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s; %s): wait for it (--wait-for-turn), or go back to what ran before (slipway rollback)",
		m.target.Service.ServiceName(), errInProgress, describeDeployments(m.service.Deployments), owner))
}

// firstDeployment is how long after its service a deployment may have been
// created to be the service's first.
const firstDeployment = time.Minute

// deploying tells whether a deployment is in progress that has replaced another
// one. The first deployment of a service has not: it may wait for ever for an
// image that only a release brings. A deployment that ECS has given up on is in
// progress no more, whatever else still runs.
func deploying(service types.Service) bool {
	primary := observation{deployments: service.Deployments}.primary()
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

// definition describes a revision by its ARN, or the newest active one of a family.
func (e Engine) definition(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := e.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &name,
		Include:        []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if isCode(err, "ClientException") { // ECS's word for one that it does not have
		return nil, nil, goneError(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("describing task definition %s: %w", name, err)
	}
	return out.TaskDefinition, out.Tags, nil
}

// past is [Engine.definition], or nil where ECS does not have it any more.
func (e Engine) past(ctx context.Context, name string) (*types.TaskDefinition, []types.Tag, error) {
	definition, tags, err := e.definition(ctx, name)
	if isGone(err) {
		return nil, nil, nil
	}
	return definition, tags, err
}

// goneError names a revision that ECS does not have, or a family without an active one.
type goneError string

func (e goneError) Error() string {
	if name := afterSlash(string(e)); strings.Contains(name, ":") {
		return "task definition " + name + " is deleted"
	}
	return "no revision of task definition " + string(e) + " is active"
}

func isGone(err error) bool { return errors.As(err, new(goneError)) }

// versionOf reads from a revision and its tags what it runs.
func versionOf(definition types.TaskDefinition, tags []types.Tag, container string) report.Version {
	return report.Version{
		TaskDefinition: aws.ToString(definition.TaskDefinitionArn),
		Image:          imageOf(definition, container),
		SHA:            readMarks(tags).sha,
	}
}
