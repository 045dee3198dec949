package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// runningService is what a service runs, with the tags of its revision.
type runningService struct {
	service    platform.Service
	described  types.Service
	schedule   *scheduler.GetScheduleOutput // of a job, which has no ECS service; nil otherwise
	definition *types.TaskDefinition
	tags       releaseTags
}

// version returns the version that the service runs.
func (s runningService) version() report.Version {
	return report.Version{TaskDefinition: aws.ToString(s.described.TaskDefinition), Image: imageOf(*s.definition, s.service.ContainerName()), SHA: s.tags.sha}
}

// runningServices looks up what the services run. A missing service is an error.
func (e Engine) runningServices(ctx context.Context, services []platform.Service) ([]runningService, error) {
	var ids []serviceID
	for _, s := range services {
		ids = append(ids, idOf(s))
	}
	described, err := e.describe(ctx, ids)
	if err != nil {
		return nil, err
	}
	var all []runningService
	for _, s := range services {
		service := described[idOf(s)]
		var schedule *scheduler.GetScheduleOutput
		if s.IsJob() {
			if schedule, err = e.schedule(ctx, s); err != nil {
				return nil, err
			}
			service = scheduledService(schedule)
		}
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			return nil, missingService(s)
		}
		definition, tags, err := e.findDefinition(ctx, aws.ToString(service.TaskDefinition))
		if err != nil {
			return nil, err
		}
		if definition == nil {
			definition = &types.TaskDefinition{TaskDefinitionArn: service.TaskDefinition}
		}
		all = append(all, runningService{service: s, described: *service, schedule: schedule, definition: definition, tags: parseTags(tags)})
	}
	return all, nil
}

// LastKnownGood returns the targets of a rollback without --to: for every service of
// the last release, the version before it that is known to work. That is not always the
// previous revision, which may never have run.
//
// A service that the last release, ECS or an earlier rollback has restored already
// stays as it is, so that a repeated rollback goes no further. If of is set and the
// last release is of another commit, there are no targets. While a release task runs, the
// error refuses the rollback: that release has deployed nothing, and is to go on.
func (e Engine) LastKnownGood(ctx context.Context, services []platform.Service, of string) ([]Target, error) {
	if err := e.rejectTasks(ctx, services, ""); err != nil {
		return nil, err
	}
	all, err := e.runningServices(ctx, services)
	if err != nil {
		return nil, err
	}
	all, releases, last, err := e.lastReleases(ctx, all)
	if err != nil {
		return nil, err
	}
	if of != "" && (last == nil || last.sha != of) {
		return nil, nil
	}
	if last == nil {
		return nil, outcome.Usagef("the running version was not released by slipway, so the previous one is unknown: set a commit or a revision with --to")
	}
	var targets []Target
	var problems []error
	for n, s := range all {
		switch {
		case releases[n].id != last.id:
			continue
		case releases[n].skipped:
			e.Event(s.service.Name, fmt.Sprintf("%s of release %s has never run: nothing to restore", releases[n].revision, releases[n].id))
			targets = append(targets, Target{Service: s.service, Revision: aws.ToString(s.definition.TaskDefinitionArn)})
			continue
		case releases[n].restored:
			e.Event(s.service.Name, fmt.Sprintf("was restored already: %s of release %s no longer runs (to roll back further, use --to)", releases[n].revision, releases[n].id))
			targets = append(targets, Target{Service: s.service, Revision: aws.ToString(s.definition.TaskDefinitionArn)})
			continue
		}
		revision, err := e.lastKnownGood(ctx, s)
		targets, problems = append(targets, Target{Service: s.service, Revision: revision}), append(problems, err)
	}
	return targets, errors.Join(problems...)
}

// lastReleases returns the last release of each service, and the last one of all, nil if
// slipway has released none. It moves jobs to the end.
func (e Engine) lastReleases(ctx context.Context, all []runningService) (_ []runningService, releases []lastRelease, last *lastRelease, err error) {
	// Jobs are last: they have no deployments, but a release updates them only after its
	// services.
	jobs := slices.DeleteFunc(slices.Clone(all), func(s runningService) bool { return !s.service.IsJob() })
	all = append(slices.DeleteFunc(all, func(s runningService) bool { return s.service.IsJob() }), jobs...)
	undeployed := map[string]bool{}
	releases = make([]lastRelease, len(all))
	for n, s := range all {
		if releases[n], err = e.findLastRelease(ctx, s, undeployed); err != nil {
			return nil, nil, nil, err
		}
		if r := releases[n]; r.id != "" && (last == nil || last.skipped && !r.skipped || last.skipped == r.skipped && r.at.After(last.at)) {
			last = &releases[n]
		}
	}
	return all, releases, last, nil
}

// lastRelease is the last release of a service.
type lastRelease struct {
	id, sha  string
	revision string    // registered by the release
	at       time.Time // of its deployment, or else of its registration
	restored bool      // the service runs an older revision
	skipped  bool      // no revision of the release was deployed, and the service has no other release
}

// findLastRelease returns the last release of a service. A release deploys the revision
// that it registers, or the newest one, and never an older one. So if a deployed revision of
// a release is newer than the running one, that release was restored; otherwise the last
// release is that of the running revision.
//
// The service's deployments are searched first, which costs two calls however many
// revisions there are. The revisions newer than the running one come next: they were
// deployed if ECS has no records of that time. Releases that were not, because their task
// failed or their process was killed, are skipped, and added to undeployed.
func (e Engine) findLastRelease(ctx context.Context, s runningService, undeployed map[string]bool) (lastRelease, error) {
	search := releaseSearch{engine: e, service: s, seen: map[string]bool{}, undeployed: undeployed}
	known, err := e.eachDeployment(ctx, s.service, func(r deploymentRecord) (bool, error) { return search.visitDeployment(ctx, r) })
	if err != nil {
		return lastRelease{}, err
	}
	search.recorded = known && !s.service.IsJob()
	for _, status := range []types.TaskDefinitionStatus{types.TaskDefinitionStatusActive, types.TaskDefinitionStatusInactive} {
		if search.found != nil {
			break
		}
		err := e.eachRevision(ctx, s.service.Family(), status, func(arn string) (bool, error) {
			done, err := search.visitRevision(ctx, arn, time.Time{})
			return done || !search.isNewer(arn), err
		})
		switch {
		case err != nil && !IsDenied(err):
			return lastRelease{}, err
		case err != nil && !known:
			return lastRelease{}, outcome.Usagef("%s: this role may list neither its deployments nor its revisions, so the last release is unknown: set a commit or a revision with --to", s.service.Name)
		}
	}
	switch {
	case search.found != nil:
		return *search.found, nil
	case search.deleted != "":
		return lastRelease{}, outcome.Usagef("%s: %s was deployed after the running revision and is deleted, so the last release is unknown: set a commit or a revision with --to", s.service.Name, machine.ShortARN(search.deleted))
	case s.tags.release == "" || s.tags.from == "":
		return search.skipped, nil
	}
	if search.deployedAt.IsZero() {
		search.deployedAt = aws.ToTime(s.definition.RegisteredAt)
	}
	return lastRelease{s.tags.release, s.tags.sha, machine.ShortARN(search.runs()), search.deployedAt, false, false}, nil
}

// releaseSearch searches for a release that is newer than what a service runs.
type releaseSearch struct {
	engine     Engine
	service    runningService
	seen       map[string]bool
	found      *lastRelease
	skipped    lastRelease     // one that was never deployed
	deleted    string          // a newer revision whose release is unknown
	deployedAt time.Time       // start of the running deployment
	sawEarlier bool            // another deployment before that was visited
	recorded   bool            // all recent deployments were visited
	undeployed map[string]bool // releases with a revision that was never deployed
}

// recordsKept is how long ECS keeps records of deployments.
const recordsKept = 90 * 24 * time.Hour

// runs returns the running revision.
func (s *releaseSearch) runs() string { return aws.ToString(s.service.definition.TaskDefinitionArn) }

// visitDeployment examines a deployment of the service. Deployments from before the running
// revision was registered are not of newer ones.
func (s *releaseSearch) visitDeployment(ctx context.Context, r deploymentRecord) (bool, error) {
	switch {
	case r.revision == s.runs() && !s.sawEarlier:
		s.deployedAt = aws.ToTime(r.CreatedAt)
	case !s.deployedAt.IsZero():
		s.sawEarlier = true
	}
	registered := s.service.definition.RegisteredAt
	if s.service.tags.copyOf == "" && registered != nil && r.CreatedAt != nil && r.CreatedAt.Before(*registered) {
		return true, nil
	}
	return s.visitRevision(ctx, r.revision, aws.ToTime(r.CreatedAt))
}

// visitRevision examines a revision.
func (s *releaseSearch) visitRevision(ctx context.Context, arn string, at time.Time) (bool, error) {
	if arn == s.runs() || s.seen[arn] || !s.isNewer(arn) {
		return false, nil
	}
	s.seen[arn] = true
	definition, tags, err := s.engine.findDefinition(ctx, arn)
	if err != nil {
		return false, err
	}
	if definition == nil {
		s.deleted = cmp.Or(s.deleted, arn)
		return false, nil
	}
	t := parseTags(tags)
	if t.release == "" || t.copyOf != "" && !s.isNewer(t.copyOf) {
		return false, nil // not of a release, or a copy of an older revision
	}
	registered := aws.ToTime(definition.RegisteredAt)
	if at.IsZero() && s.recorded && s.engine.Clock.Now().Sub(registered) < recordsKept {
		s.undeployed[t.release] = true
	}
	if at.IsZero() && s.undeployed[t.release] {
		s.skipped = lastRelease{t.release, t.sha, machine.ShortARN(arn), registered, false, true}
		return false, nil
	}
	if at.IsZero() {
		at = registered
	}
	s.found = &lastRelease{t.release, t.sha, machine.ShortARN(arn), at, true, false}
	return true, nil
}

// isNewer reports whether a revision of the service's family was registered after the
// running one or, if that is a copy, after the original.
func (s *releaseSearch) isNewer(arn string) bool {
	if familyOf(arn) != s.service.service.Family() {
		return false
	}
	return registeredAfter(arn, cmp.Or(s.service.tags.copyOf, s.runs()))
}

// registeredAfter reports whether a revision is newer than the running one.
func registeredAfter(arn, runs string) bool {
	return familyOf(runs) != familyOf(arn) || revisionNumber(arn) > revisionNumber(runs)
}

// lastKnownGood follows the previous revisions back to the first one that has not failed
// whenever it was deployed. Deployments older than ECS's records count as successful.
func (e Engine) lastKnownGood(ctx context.Context, s runningService) (string, error) {
	skipped := map[string]bool{}
	for candidate := s.tags.from; candidate != "" && !skipped[candidate]; {
		good, err := e.succeeded(ctx, s.service, candidate)
		if err != nil {
			return "", err
		}
		definition, tags, err := e.findDefinition(ctx, candidate)
		switch {
		case err != nil:
			return "", err
		case definition == nil:
			return "", outcome.Usagef("%s: the previous revision %s is deleted: set a commit or a revision with --to", s.service.Name, machine.ShortARN(candidate))
		case good, candidate == s.tags.from && s.tags.raised > 0: // no task ran before the first release
			return candidate, nil
		}
		e.Event(s.service.Name, machine.ShortARN(candidate)+" is skipped: it has no successful deployment")
		skipped[candidate] = true
		candidate = parseTags(tags).from
	}
	return "", outcome.Usagef("%s: no earlier version is known to work: set a commit or a revision with --to", s.service.Name)
}

// succeeded reports whether a revision was ever deployed successfully, or has no recorded
// deployment.
func (e Engine) succeeded(ctx context.Context, service platform.Service, revision string) (bool, error) {
	deployed, succeeded := false, false
	_, err := e.eachDeployment(ctx, service, func(r deploymentRecord) (bool, error) {
		if r.revision == revision {
			deployed = true
			succeeded = succeeded || r.Status == types.ServiceDeploymentStatusSuccessful
		}
		return succeeded, nil
	})
	return succeeded || !deployed, err
}

// revisionName matches a revision by number, by family and number, or by ARN.
var revisionName = regexp.MustCompile(`^(?:(?:arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]+:task-definition/)?([A-Za-z0-9_-]+):)?([1-9][0-9]*)$`)

// IsRevision reports whether the argument of a rollback is a revision rather than a
// commit: a number of seven digits or more is an abbreviated commit id.
func IsRevision(revision string) bool {
	return revisionName.MatchString(revision) && (len(revision) < 7 || strings.Contains(revision, ":"))
}

// RevisionTarget returns the target for a revision of one of the services.
func RevisionTarget(revision string, services []platform.Service) (Target, error) {
	parts := revisionName.FindStringSubmatch(revision)
	if parts == nil {
		return Target{}, outcome.Usagef("invalid --to %q: want a full commit id, or a revision such as %s:12", revision, services[0].Family())
	}
	if parts[1] == "" {
		if len(services) > 1 {
			return Target{}, outcome.Usagef("--to %s matches several services: name one, or the family as in %s:%s", revision, services[0].Family(), revision)
		}
		return Target{Service: services[0], Revision: services[0].Family() + ":" + parts[2]}, nil
	}
	var families []string
	for _, s := range services {
		if s.Family() == parts[1] {
			return Target{Service: s, Revision: parts[1] + ":" + parts[2]}, nil
		}
		families = append(families, s.Family())
	}
	return Target{}, outcome.Usagef("invalid --to %s: no service has the family %s: want one of %s", revision, parts[1], strings.Join(families, ", "))
}

// ImageTargets returns for each service the newest revision that ran its image, or else was
// registered with it, so that a rollback restores its environment, too. Without such a
// revision, the target is the image in the newest revision.
func (e Engine) ImageTargets(ctx context.Context, services []platform.Service, images map[string]string) ([]Target, error) {
	var targets []Target
	for _, s := range services {
		target := ImageTarget(s, images)
		seen := map[string]bool{}
		visit := func(arn string) (bool, error) {
			if familyOf(arn) != s.Family() || seen[arn] {
				return false, nil
			}
			seen[arn] = true
			definition, _, err := e.findDefinition(ctx, arn)
			if err != nil || definition == nil || !target.runsImages(*definition) {
				return false, err
			}
			target.Revision = arn
			return true, nil
		}
		if _, err := e.eachDeployment(ctx, s, func(r deploymentRecord) (bool, error) { return visit(r.revision) }); err != nil {
			return nil, err
		}
		if target.Revision == "" {
			if err := e.eachRevision(ctx, s.Family(), types.TaskDefinitionStatusActive, visit); err != nil {
				return nil, err
			}
		}
		targets = append(targets, target)
	}
	return targets, nil
}
