package rollout

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// UnfinishedRelease is a release whose deployments are in progress or paused, or that only
// some of its services run.
type UnfinishedRelease struct {
	ID, SHA  string
	Services []string // entries that run it, or are being updated to it
	// Progressive reports whether ECS shifts traffic of the release in steps.
	Progressive bool
	// Paused reports whether all services whose traffic is shifted wait at Stage, and Expires
	// when ECS rolls the first of them back.
	Paused  bool
	Stage   string // the earliest lifecycle stage, "" if ECS names none
	Expires time.Time

	// RolledBack are the entries that ECS has rolled back, or is rolling back: the release cannot
	// go on.
	RolledBack []string

	members []runningService // that run it
	leaving []runningService // that ECS rolls back
}

// Unfinished returns the release of the services that is in progress or paused, nil if none
// is. It changes nothing.
func (e Engine) Unfinished(ctx context.Context, services []platform.Service) (*UnfinishedRelease, error) {
	all, err := e.runningServices(ctx, services)
	if err != nil {
		return nil, err
	}
	all, releases, last, err := e.lastReleases(ctx, all)
	if err != nil || last == nil {
		return nil, err
	}
	u := &UnfinishedRelease{ID: last.id, SHA: last.sha}
	over, deploys := true, false
	for n, s := range all { // jobs are last
		inProgress := !s.service.IsJob() && deploying(s.described)
		switch r := releases[n]; {
		case r.id != last.id || r.skipped:
			missing, err := e.isMissing(ctx, s, last.id)
			if err != nil {
				return nil, err
			}
			if missing {
				over = false
				u.Services = append(u.Services, s.service.Name)
			}
			continue
		case r.restored && s.service.IsJob() && deploys: // its schedule is changed after the services
			u.Services = append(u.Services, s.service.Name)
			continue
		case r.restored:
			u.RolledBack = append(u.RolledBack, s.service.Name)
			if inProgress {
				u.leaving = append(u.leaving, s)
			}
		default:
			u.members = append(u.members, s)
			u.Services = append(u.Services, s.service.Name)
		}
		over = over && !inProgress && !releases[n].restored
		if inProgress && !releases[n].restored {
			deploys = true
			if err := e.addStage(ctx, u, s.described); err != nil {
				return nil, err
			}
		}
	}
	if over || len(u.members)+len(u.leaving) == 0 {
		return nil, nil
	}
	u.Paused = u.Paused && len(u.RolledBack) == 0
	return u, nil
}

// isMissing reports whether a release has registered a revision that the service does not
// run yet.
func (e Engine) isMissing(ctx context.Context, s runningService, release string) (bool, error) {
	newest, tags, err := e.findDefinition(ctx, s.service.Family())
	if err != nil || newest == nil {
		return false, err
	}
	return parseTags(tags).release == release && registeredAfter(aws.ToString(newest.TaskDefinitionArn), aws.ToString(s.described.TaskDefinition)), nil
}

// addStage adds the stage of a service's deployment.
func (e Engine) addStage(ctx context.Context, u *UnfinishedRelease, s types.Service) error {
	if strategyOf(s.DeploymentConfiguration) == "" {
		return nil
	}
	d, err := e.currentDeployment(ctx, s)
	if err != nil || d == nil {
		u.Progressive = true
		return err
	}
	var o machine.Observation
	addDeployment(&o, *d)
	rank := func(stage string) int { return slices.Index(machine.PauseStages(), machine.PauseStage(stage)) }
	u.Paused = (u.Paused || !u.Progressive) && o.Hook != nil
	if !u.Progressive || rank(o.Stage) < rank(u.Stage) {
		u.Stage = o.Stage
	}
	if o.Hook != nil && (u.Expires.IsZero() || o.Hook.Expires.Before(u.Expires)) {
		u.Expires = o.Hook.Expires
	}
	u.Progressive = true
	return nil
}

// errAborted is the cause of a release that a person aborts.
var errAborted = errors.New("aborted")

// Abort restores the previous versions of the services' unfinished release, whichever
// process started it. limit is that of the restore; zero means [DefaultRestoreTimeout]. The
// exit code is 0 if all services run the previous version.
func (e Engine) Abort(ctx context.Context, services []platform.Service, limit time.Duration) report.Release {
	e.ECS = limitReads(e.ECS, e.Clock)
	release := e.abort(ctx, services, limit)
	for range maxAborts - 1 {
		if release.ExitCode != outcome.Done || ctx.Err() != nil {
			break
		}
		u, err := e.Unfinished(ctx, services)
		if err != nil || u == nil || u.ID != release.ID || len(u.members) == 0 {
			break
		}
		e.Event("", "another process has updated more services of release "+u.ID+": restoring them, too")
		again := e.abort(ctx, services, limit)
		for _, s := range release.Services {
			if !slices.ContainsFunc(again.Services, func(other report.Service) bool { return other.Name == s.Name }) {
				again.Services = append(again.Services, s)
			}
		}
		release = again
	}
	return release
}

// maxAborts is how often a release is restored that another process goes on with. That process
// notices soon that its deployments are rolled back.
const maxAborts = 3

func (e Engine) abort(ctx context.Context, services []platform.Service, limit time.Duration) report.Release {
	request := Request{Timeout: DefaultTimeout, RestoreTimeout: cmp.Or(limit, DefaultRestoreTimeout)}
	for _, s := range services {
		request.Targets = append(request.Targets, Target{Service: s})
	}
	p, err := e.planAbort(ctx, services)
	if err != nil {
		return e.failedReport(request, p, err)
	}
	e.allowForRunning(&request, p.changed())
	r := e.newRun(request, p.services)
	r.machine.Fail(errAborted, e.Clock.Now())
	r.drive(ctx, nil)
	r.end(context.WithoutCancel(ctx))
	release := e.finalReport(request, p, r)
	if release.ExitCode == outcome.Restored {
		release.ExitCode, release.Error = outcome.Done, ""
	}
	return release
}

// planAbort plans the restore of the unfinished release.
func (e Engine) planAbort(ctx context.Context, services []platform.Service) (releasePlan, error) {
	u, err := e.Unfinished(ctx, services)
	if err != nil {
		return releasePlan{}, err
	}
	if u == nil {
		return releasePlan{}, outcome.Refusedf("no release is in progress, so nothing is to abort (slipway status): to restore an earlier version, use slipway rollback")
	}
	p := releasePlan{id: u.ID}
	for _, at := range u.members {
		s := at.plan()
		if err := e.join(ctx, s); err != nil {
			return releasePlan{}, err
		}
		p.services = append(p.services, s)
	}
	for _, at := range u.leaving {
		s := at.plan()
		s.WasComplete = true
		for _, d := range s.service.Deployments { // the one that ECS rolls back
			if revision := aws.ToString(d.TaskDefinition); revision != s.From.TaskDefinition {
				s.Joined, s.JoinedAt, s.To = aws.ToString(d.Id), e.Clock.Now(), report.Version{TaskDefinition: revision, SHA: u.SHA}
			}
		}
		s.unchanged = s.Joined == ""
		p.services = append(p.services, s)
	}
	if len(p.changed()) == 0 {
		return releasePlan{}, outcome.Refusedf("release %s is being rolled back already (slipway status)", u.ID)
	}
	return p, p.planStrategies(Request{}, e.Clock)
}

// plan returns the plan of a service that keeps what it runs.
func (s runningService) plan() *servicePlan {
	name := s.service.ServiceName()
	if s.service.IsJob() {
		name = s.service.ScheduleName()
	}
	return &servicePlan{
		Plan:   machine.Plan{Name: s.service.Name, ECSName: name, DesiredCount: s.described.DesiredCount, From: s.version()},
		target: Target{Service: s.service}, service: s.described, schedule: s.schedule, previous: s.definition, tags: s.tags,
	}
}
