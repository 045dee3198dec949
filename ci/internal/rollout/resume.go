package rollout

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
)

// identify names the release, and joins what an earlier process has done of
// the very same one before it was killed: services that run the new version
// already, or are on their way, belong to the release again and are put back
// with the rest should it fail.
//
// A service belongs to it if its revision carries the name that the release has
// when the service is counted in, with what ran before taken from the
// revision's tag. The name is made of exactly that, so a release of the same
// commit that changed something else is not taken for this one.
func (e Engine) identify(ctx context.Context, request Request, p *planned) error {
	id, members, err := e.joined(ctx, request, p)
	if err != nil {
		return err
	}
	if id == "" {
		id, members = releaseID(request.Version, p.changed()), len(p.changed())
	}
	p.id = id
	for _, m := range p.moves {
		if m.unchanged || m.update == taken || m.definition == nil {
			continue
		}
		mine := marksOf(m, id, members)
		if m.copies != "" {
			mine = readMarks(m.templateTags).copied(m.copies)
		}
		if m.to.TaskDefinition != "" && m.newest == mine {
			m.definition = nil // registered for this, by an earlier try
			continue
		}
		m.to.TaskDefinition = ""
		var dropped []string
		if m.definition.Tags, dropped = mine.tagged(m.templateTags); len(dropped) > 0 {
			m.remark("ECS takes %d tags, so the new revision is without %s", maxTags, strings.Join(dropped, ", "))
		}
	}
	return nil
}

// joined finds the unfinished release that this one carries on, and its size.
func (e Engine) joined(ctx context.Context, request Request, p *planned) (id string, members int, err error) {
	for _, candidate := range candidates(p.moves) {
		var all, first, joining []*move
		for _, m := range p.moves {
			before := *m
			switch {
			case m.current && m.marks.release == candidate:
				before.from.TaskDefinition = m.marks.from
				joining = append(joining, m)
			case m.unchanged:
				continue
			}
			all = append(all, &before)
			if put := before; m.marks.copyOf != "" && before.from == m.from {
				put.from.TaskDefinition = m.marks.copyOf // put back to a copy, by that release
				first = append(first, &put)
			} else {
				first = append(first, &before)
			}
		}
		if releaseID(request.Version, all) != candidate && releaseID(request.Version, first) != candidate || len(joining) == len(all) && !anyUnfinished(joining) {
			continue
		}
		for _, m := range joining {
			if err := e.join(ctx, m); err != nil {
				return "", 0, err
			}
		}
		return candidate, len(all), e.strangers(p)
	}
	return "", 0, e.strangers(p)
}

// candidates are the releases that services run which shall run what they do.
func candidates(moves []*move) []string {
	var list []string
	seen := map[string]bool{"": true}
	for _, m := range moves {
		if m.current && m.marks.from != "" && !seen[m.marks.release] {
			seen[m.marks.release] = true
			list = append(list, m.marks.release)
		}
	}
	return list
}

func anyUnfinished(moves []*move) bool {
	for _, m := range moves {
		if deploying(m.service) || m.failed() {
			return true
		}
	}
	return false
}

// join makes a service that runs the new version already a part of the release.
func (e Engine) join(ctx context.Context, m *move) error {
	origin, tags, err := e.past(ctx, m.marks.from)
	if err != nil {
		return fmt.Errorf("finding out what ran before the release that is carried on: %w", err)
	}
	m.unchanged, m.settled, m.definition = false, true, nil
	m.to, m.from, m.origin, m.originTags = m.from, report.Version{TaskDefinition: m.marks.from}, origin, tags
	if origin != nil {
		m.from = versionOf(*origin, tags, m.target.Service.Container())
	}
	if m.marks.raised > 0 {
		m.count = &count{0, int32(m.marks.raised)}
	}
	primary := observation{deployments: m.service.Deployments}.primary()
	m.update, m.own, m.before = taken, aws.ToString(primary.Id), nil
	for _, d := range m.service.Deployments {
		if aws.ToString(d.Id) != m.own {
			m.before = append(m.before, aws.ToString(d.Id))
		}
	}
	m.result = report.Unchanged
	m.started = e.Clock.Now()
	e.Event(m.name(), "carrying on with deployment "+m.own+" of release "+m.marks.release)
	return nil
}

// strangers refuses services in which a deployment is in progress that nobody
// has joined.
func (e Engine) strangers(p *planned) error {
	for _, m := range p.moves {
		if m.unchanged && deploying(m.service) && !m.oneWay {
			return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s), of another release (%s) to the same version: wait for it (--wait-for-turn), or go back to what ran before (slipway rollback)",
				m.target.Service.ServiceName(), errInProgress, describeDeployments(m.service.Deployments), m.marks.release))
		}
	}
	return nil
}
