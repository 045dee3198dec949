package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/release/rollout/machine"
	"dagger/slipway/internal/report/outcome"
)

// runningService is what a service runs, with what its revision's tags say.
type runningService struct {
	service    platform.Service
	described  types.Service
	definition *types.TaskDefinition
	tags       releaseTags
}

// runningServices looks up what the services run. Those that are missing are an error.
func (e Engine) runningServices(ctx context.Context, cluster string, services []platform.Service) ([]runningService, error) {
	var targets []Target
	for _, s := range services {
		targets = append(targets, Target{Service: s})
	}
	described, err := e.describe(ctx, cluster, targets)
	if err != nil {
		return nil, err
	}
	var all []runningService
	for _, s := range services {
		service := described[s.ServiceName()]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			return nil, missingService(cluster, s.ServiceName())
		}
		definition, tags, err := e.findDefinition(ctx, aws.ToString(service.TaskDefinition))
		if err != nil {
			return nil, err
		}
		if definition == nil {
			definition = &types.TaskDefinition{TaskDefinitionArn: service.TaskDefinition}
		}
		all = append(all, runningService{service: s, described: *service, definition: definition, tags: parseTags(tags)})
	}
	return all, nil
}

// LastKnownGood finds where a rollback goes that names no goal: for every service of
// the release that was begun last, what ran before it, as far as that is known
// to have worked. That is not the revision before: that one may never have run.
//
// A service in which that release was put back already, by the release itself,
// by ECS or by an earlier rollback, stays where it is: a rollback that is run
// again goes no further.
func (e Engine) LastKnownGood(ctx context.Context, cluster string, services []platform.Service, of string) ([]Target, error) {
	all, err := e.runningServices(ctx, cluster, services)
	if err != nil {
		return nil, err
	}
	var last *lastRelease
	releases := make([]lastRelease, len(all))
	for n, s := range all {
		if releases[n], err = e.findLastRelease(ctx, cluster, s); err != nil {
			return nil, err
		}
		if releases[n].id != "" && (last == nil || releases[n].at.After(last.at)) {
			last = &releases[n]
		}
	}
	if of != "" && (last == nil || last.sha != of) {
		return nil, nil
	}
	if last == nil {
		return nil, outcome.Usagef("what runs was not released by slipway, so it is not known what ran before: name a commit or a revision with --to")
	}
	var targets []Target
	var problems []error
	for n, s := range all {
		switch {
		case releases[n].id != last.id:
			continue
		case releases[n].restored:
			e.Event(s.service.Name, fmt.Sprintf("was put back already: %s, of release %s, runs no more (--to names what is further back)", releases[n].revision, releases[n].id))
			targets = append(targets, Target{Service: s.service, Revision: aws.ToString(s.definition.TaskDefinitionArn)})
			continue
		}
		revision, err := e.lastKnownGood(ctx, cluster, s)
		targets, problems = append(targets, Target{Service: s.service, Revision: revision}), append(problems, err)
	}
	return targets, errors.Join(problems...)
}

// lastRelease is the last release that concerned a service.
type lastRelease struct {
	id, sha  string
	revision string    // the one that it registered
	at       time.Time // when it was deployed, or else registered
	restored bool      // the service runs something older, again or still
}

// findLastRelease finds the last release that concerned a service. A release
// deploys what it has registered or the newest revision that there is, and nothing
// older. So one that has registered a revision which is newer than what runs was
// put back, by whomever; if there is none it is the release of what runs.
//
// The service's deployments are looked at first: that costs two calls however many
// revisions others have registered. Then come the revisions that are newer than what
// runs, because a release whose process was killed may have deployed none.
func (e Engine) findLastRelease(ctx context.Context, cluster string, s runningService) (lastRelease, error) {
	l := releaseSearch{engine: e, service: s, seen: map[string]bool{}}
	known, err := e.eachDeployment(ctx, cluster, s.service.ServiceName(), func(r deploymentRecord) (bool, error) { return l.visitDeployment(ctx, r) })
	if err != nil {
		return lastRelease{}, err
	}
	for _, status := range []types.TaskDefinitionStatus{types.TaskDefinitionStatusActive, types.TaskDefinitionStatusInactive} {
		if l.found != nil {
			break
		}
		err := e.eachRevision(ctx, s.service.Family(), status, func(arn string) (bool, error) {
			enough, err := l.visitRevision(ctx, arn, time.Time{})
			return enough || !l.isNewer(arn), err
		})
		switch {
		case err != nil && !isCode(err, deniedCodes...):
			return lastRelease{}, err
		case err != nil && !known:
			return lastRelease{}, outcome.Usagef("%s: this role may see neither its deployments nor its revisions, so it is not known what a rollback undoes: name a commit or a revision with --to", s.service.Name)
		}
	}
	switch {
	case l.found != nil:
		return *l.found, nil
	case l.deleted != "":
		return lastRelease{}, outcome.Usagef("%s: %s was deployed after what runs and is deleted, so it is not known what a rollback undoes: name a commit or a revision with --to", s.service.Name, machine.ShortARN(l.deleted))
	case s.tags.release == "" || s.tags.from == "":
		return lastRelease{}, nil
	}
	if l.deployedAt.IsZero() {
		l.deployedAt = aws.ToTime(s.definition.RegisteredAt)
	}
	return lastRelease{s.tags.release, s.tags.sha, machine.ShortARN(l.runs()), l.deployedAt, false}, nil
}

// releaseSearch looks for a release that began later than that of what a service runs.
type releaseSearch struct {
	engine     Engine
	service    runningService
	seen       map[string]bool
	found      *lastRelease
	deleted    string    // a later revision of which it is not known whose it was
	deployedAt time.Time // when what runs was deployed
	sawEarlier bool      // something else was deployed before that
}

// runs is the revision that runs.
func (l *releaseSearch) runs() string { return aws.ToString(l.service.definition.TaskDefinitionArn) }

// visitDeployment looks at one of the service's deployments. Those that are older than
// the revision which runs say nothing of a newer one.
func (l *releaseSearch) visitDeployment(ctx context.Context, r deploymentRecord) (bool, error) {
	switch {
	case r.revision == l.runs() && !l.sawEarlier:
		l.deployedAt = aws.ToTime(r.CreatedAt)
	case !l.deployedAt.IsZero():
		l.sawEarlier = true
	}
	registered := l.service.definition.RegisteredAt
	if l.service.tags.copyOf == "" && registered != nil && r.CreatedAt != nil && r.CreatedAt.Before(*registered) {
		return true, nil
	}
	return l.visitRevision(ctx, r.revision, aws.ToTime(r.CreatedAt))
}

// visitRevision looks at one revision.
func (l *releaseSearch) visitRevision(ctx context.Context, arn string, at time.Time) (bool, error) {
	if arn == l.runs() || l.seen[arn] || !l.isNewer(arn) {
		return false, nil
	}
	l.seen[arn] = true
	definition, tags, err := l.engine.findDefinition(ctx, arn)
	if err != nil {
		return false, err
	}
	if definition == nil {
		l.deleted = cmp.Or(l.deleted, arn)
		return false, nil
	}
	of := parseTags(tags)
	if of.release == "" || of.copyOf != "" && !l.isNewer(of.copyOf) {
		return false, nil // somebody else's, or a copy of something older
	}
	if at.IsZero() {
		at = aws.ToTime(definition.RegisteredAt)
	}
	l.found = &lastRelease{of.release, of.sha, machine.ShortARN(arn), at, true}
	return true, nil
}

// isNewer reports whether a revision of the service's family was registered after the
// one that runs, or after the one that this is a copy of.
func (l *releaseSearch) isNewer(arn string) bool {
	if familyOf(arn) != l.service.service.Family() {
		return false
	}
	return registeredAfter(arn, cmp.Or(l.service.tags.copyOf, l.runs()))
}

// registeredAfter reports whether a revision is newer than the one that runs.
func registeredAfter(arn, runs string) bool {
	return familyOf(runs) != familyOf(arn) || revisionNumber(arn) > revisionNumber(runs)
}

// lastKnownGood follows what ran before, and before that, to the first revision that
// did not fail whenever it was deployed. Of what was deployed before ECS's records
// begin it is believed that it worked.
func (e Engine) lastKnownGood(ctx context.Context, cluster string, s runningService) (string, error) {
	skipped := map[string]bool{}
	for candidate := s.tags.from; candidate != "" && !skipped[candidate]; {
		good, err := e.succeeded(ctx, cluster, s.service.ServiceName(), candidate)
		if err != nil {
			return "", err
		}
		definition, tags, err := e.findDefinition(ctx, candidate)
		switch {
		case err != nil:
			return "", err
		case definition == nil:
			return "", outcome.Usagef("%s: %s ran before and is deleted: name a commit or a revision with --to", s.service.Name, machine.ShortARN(candidate))
		case good, candidate == s.tags.from && s.tags.raised > 0: // before a first release nothing ran
			return candidate, nil
		}
		e.Event(s.service.Name, machine.ShortARN(candidate)+" is passed over: it is not known to have worked")
		skipped[candidate] = true
		candidate = parseTags(tags).from
	}
	return "", outcome.Usagef("%s: no earlier version is known to have worked: name a commit or a revision with --to", s.service.Name)
}

// succeeded reports whether a revision was ever deployed with success, as far as is known.
func (e Engine) succeeded(ctx context.Context, cluster, service, revision string) (bool, error) {
	deployed, succeeded := false, false
	_, err := e.eachDeployment(ctx, cluster, service, func(r deploymentRecord) (bool, error) {
		if r.revision == revision {
			deployed = true
			succeeded = succeeded || r.Status == types.ServiceDeploymentStatusSuccessful
		}
		return succeeded, nil
	})
	return succeeded || !deployed, err
}

// revisionName are the ways to name a revision: its number, with its family, or
// its ARN.
var revisionName = regexp.MustCompile(`^(?:(?:arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]+:task-definition/)?([A-Za-z0-9_-]+):)?([1-9][0-9]*)$`)

// IsRevision reports whether a goal of a rollback names a revision, rather than a
// commit.
func IsRevision(goal string) bool { return len(goal) != 40 && revisionName.MatchString(goal) }

// RevisionTarget finds the service that a revision is of.
func RevisionTarget(goal string, services []platform.Service) (Target, error) {
	parts := revisionName.FindStringSubmatch(goal)
	if parts == nil {
		return Target{}, outcome.Usagef("--to %q: take a full commit id, or a revision such as %s:12", goal, services[0].Family())
	}
	if parts[1] == "" {
		if len(services) > 1 {
			return Target{}, outcome.Usagef("--to %s: of which service? Name one with --service, or the family, as in %s:%s", goal, services[0].Family(), goal)
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
	return Target{}, outcome.Usagef("--to %s: no service has the family %s: there are %s", goal, parts[1], strings.Join(families, ", "))
}

// ImageTargets finds for each service the newest revision that ran its image, or else
// was registered with it: then what is gone back to is what ran, environment and
// all. Where there is none the image is put into the newest revision.
func (e Engine) ImageTargets(ctx context.Context, cluster string, services []platform.Service, images map[string]string) ([]Target, error) {
	var targets []Target
	for _, s := range services {
		target := Target{Service: s, Image: images[s.Name]}
		seen := map[string]bool{}
		look := func(arn string) (bool, error) {
			if familyOf(arn) != s.Family() || seen[arn] {
				return false, nil
			}
			seen[arn] = true
			definition, _, err := e.findDefinition(ctx, arn)
			if err != nil || definition == nil || imageOf(*definition, s.Container()) != target.Image {
				return false, err
			}
			target.Revision = arn
			return true, nil
		}
		if _, err := e.eachDeployment(ctx, cluster, s.ServiceName(), func(r deploymentRecord) (bool, error) { return look(r.revision) }); err != nil {
			return nil, err
		}
		if target.Revision == "" {
			if err := e.eachRevision(ctx, s.Family(), types.TaskDefinitionStatusActive, look); err != nil {
				return nil, err
			}
		}
		targets = append(targets, target)
	}
	return targets, nil
}
