package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// identify names the release, and resumes it if an earlier process started the same
// release and was killed: services that run the new version already, or are being
// updated, belong to it again, and are restored with the others if it fails.
//
// A service belongs to the release if its revision's tag has the name that the release gets
// when the service is included, with the previous revision taken from its tags. The name
// depends on what changes, so a release of the same commit that changed something else is a
// different one.
func (e Engine) identify(ctx context.Context, request Request, p *releasePlan) error {
	id, members, err := e.findUnfinished(ctx, request, p)
	if err != nil {
		return err
	}
	if id == "" {
		id, members = releaseID(request.Version, p.changed()), len(p.changed())
	}
	p.id = id
	for _, s := range p.services {
		if s.unchanged || s.Joined != "" || s.definition == nil {
			continue
		}
		own := tagsOf(s, id, members)
		if s.copyOf != "" {
			own = parseTags(s.templateTags).asCopyOf(s.copyOf)
		}
		if s.To.TaskDefinition != "" && s.newestTags == own {
			s.definition = nil // registered for this release earlier
			if err := e.shareRevision(ctx, request, s); err != nil {
				return err
			}
			continue
		}
		s.To.TaskDefinition = ""
		var dropped []string
		if s.definition.Tags, dropped = own.withForeign(e.Environment.Label(), s.templateTags); len(dropped) > 0 {
			s.note("ECS allows %d tags, so the new revision does not have %s", maxTags, strings.Join(dropped, ", "))
		}
	}
	return nil
}

// shareRevision replaces a revision that this process registered by the one of the process
// that started the same release at the same time, and that updates the service to it.
func (e Engine) shareRevision(ctx context.Context, request Request, s *servicePlan) error {
	if !slices.Contains(request.registered, s.To.TaskDefinition) {
		return nil
	}
	err := e.eachRevision(ctx, s.target.Service.Family(), types.TaskDefinitionStatusActive, func(arn string) (bool, error) {
		_, tags, err := e.findDefinition(ctx, arn)
		if err != nil || parseTags(tags) != s.newestTags {
			return true, err
		}
		s.To.TaskDefinition = arn
		return !slices.Contains(request.registered, arn), nil
	})
	if IsDenied(err) {
		return nil // only two processes at once need it
	}
	return err
}

// findUnfinished returns the id and size of the unfinished release to resume, if any.
func (e Engine) findUnfinished(ctx context.Context, request Request, p *releasePlan) (id string, members int, err error) {
	for _, candidate := range candidates(p.services) {
		var all, first, joining []*servicePlan
		for _, s := range p.services {
			before := *s
			switch {
			case s.upToDate && s.tags.release == candidate:
				before.From.TaskDefinition = s.tags.from
				joining = append(joining, s)
			case s.unchanged:
				continue
			}
			all = append(all, &before)
			if copied := before; s.tags.copyOf != "" && before.From == s.From {
				copied.From.TaskDefinition = s.tags.copyOf // restored to a copy by that release
				first = append(first, &copied)
			} else {
				first = append(first, &before)
			}
		}
		if releaseID(request.Version, all) != candidate && releaseID(request.Version, first) != candidate || len(joining) == len(all) && !anyUnfinished(joining) {
			continue
		}
		for _, s := range joining {
			if err := e.join(ctx, s); err != nil {
				return "", 0, err
			}
		}
		return candidate, len(all), e.rejectForeign(p)
	}
	return "", 0, e.rejectForeign(p)
}

// candidates returns the releases of services that already run what they should.
func candidates(services []*servicePlan) []string {
	var list []string
	seen := map[string]bool{"": true}
	for _, s := range services {
		if s.upToDate && s.tags.from != "" && !seen[s.tags.release] {
			seen[s.tags.release] = true
			list = append(list, s.tags.release)
		}
	}
	return list
}

func anyUnfinished(services []*servicePlan) bool {
	return slices.ContainsFunc(services, func(s *servicePlan) bool { return deploying(s.service) || s.failed() })
}

// join makes a service that runs the new version a part of the resumed release.
func (e Engine) join(ctx context.Context, s *servicePlan) error {
	previous, tags, err := e.findDefinition(ctx, s.tags.from)
	if err != nil {
		return fmt.Errorf("looking up the version before the resumed release: %w", err)
	}
	s.unchanged, s.WasComplete, s.definition = false, true, nil
	s.To, s.From, s.previous, s.previousTags = s.From, report.Version{TaskDefinition: s.tags.from}, previous, tags
	if previous != nil {
		s.From = versionOf(*previous, tags, s.target.Service.ContainerName())
	}
	if s.tags.raised > 0 {
		s.Count = &machine.CountChange{To: int32(s.tags.raised)}
	}
	if s.isJob() {
		s.Joined = s.ECSName
		e.Event(s.Name, "resuming: its schedule runs release "+s.tags.release)
		return nil
	}
	primary := machine.Primary(s.service.Deployments)
	s.Joined, s.JoinedAt, s.PreviousDeployments = aws.ToString(primary.Id), e.Clock.Now(), nil
	for _, d := range s.service.Deployments {
		if aws.ToString(d.Id) != s.Joined {
			s.PreviousDeployments = append(s.PreviousDeployments, aws.ToString(d.Id))
		}
	}
	e.Event(s.Name, "resuming with deployment "+s.Joined+" of release "+s.tags.release)
	return nil
}

// checkContinue refuses to continue a release that is not in progress.
func (p releasePlan) checkContinue(request Request) error {
	switch {
	case !request.Continue || slices.ContainsFunc(p.services, func(s *servicePlan) bool { return s.Joined != "" }):
		return nil
	case len(p.changed()) == 0:
		return outcome.Refusedf("no release is paused: release %s is over", cmp.Or(p.services[0].tags.release, p.id))
	}
	return outcome.Refusedf("no release is paused: commit %s is not being deployed (slipway status)", shortVersion(request.Version))
}

// rejectForeign refuses services with a deployment in progress that is not part of the
// release.
func (e Engine) rejectForeign(p *releasePlan) error {
	for _, s := range p.services {
		if s.unchanged && deploying(s.service) && !s.Irreversible {
			return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s), of another release (%s) of the same version: %s",
				s.ECSName, errInProgress, describeDeployments(s.service.Deployments), s.tags.release, s.inProgressAdvice()))
		}
	}
	return nil
}
