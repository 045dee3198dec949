package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Figures returns the figures of the services' releases that ECS has on record. committed
// returns when a commit was made; ok is false if that is unknown.
func (e Engine) Figures(ctx context.Context, services []platform.Service, committed func(sha string) (at time.Time, ok bool)) (report.Figures, error) {
	e.ECS = limitReads(e.ECS, e.Clock)
	to := e.Clock.Now()
	all := make([][]taggedDeployment, len(services))
	problems := make([]error, len(services))
	versions := &definitionCache{engine: e, known: map[string]cachedDefinition{}}
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, s := range services {
		group.Go(func() error {
			all[n], problems[n] = e.taggedDeployments(ctx, s, to.Add(-recordsKept), versions)
			return nil
		})
	}
	_ = group.Wait() // problems has the errors, all of them
	if err := errors.Join(problems...); err != nil {
		return report.Figures{}, err
	}
	from, other, attempts := to, 0, map[attemptKey]*attempt{}
	for n, s := range services {
		if len(all[n]) > 0 && all[n][0].at.Before(from) {
			from = all[n][0].at
		}
		other += addAttempts(attempts, s.Name, all[n])
	}
	var releases []report.FigureRelease
	for key, a := range attempts {
		r := a.release(key.release)
		if r.Result == report.Succeeded {
			if at, ok := committed(a.sha); ok {
				r.LeadTime = new(int64(max(0, r.FinishedAt.Sub(at)).Seconds()))
			}
		}
		releases = append(releases, r)
	}
	slices.SortFunc(releases, func(a, b report.FigureRelease) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Release, b.Release))
	})
	return report.NewFigures(from, to, other, releases), nil
}

// taggedDeployment is a deployment with the tags of its revision.
type taggedDeployment struct {
	at, finished time.Time
	status       types.ServiceDeploymentStatus
	revision     string // the original, if it is a copy
	tags         releaseTags
}

// taggedDeployments returns the deployments of a service since a time, oldest first.
func (e Engine) taggedDeployments(ctx context.Context, s platform.Service, since time.Time, versions *definitionCache) (all []taggedDeployment, err error) {
	known, err := e.eachDeployment(ctx, s, func(r deploymentRecord) (bool, error) {
		if at := aws.ToTime(r.CreatedAt); at.Before(since) {
			return true, nil
		}
		d := taggedDeployment{at: aws.ToTime(r.CreatedAt).UTC(), finished: aws.ToTime(r.FinishedAt).UTC(), status: r.Status, revision: r.revision}
		if r.revision != "" {
			definition, err := versions.definition(ctx, r.revision)
			if err != nil && !isNotFound(err) {
				return false, err
			}
			d.tags = parseTags(definition.tags) // none if it is deleted
			d.revision = cmp.Or(d.tags.copyOf, d.revision)
		}
		all = append(all, d)
		return false, nil
	})
	if err == nil && !known {
		err = fmt.Errorf("the deployments of %s cannot be listed (ecs:ListServiceDeployments, ecs:DescribeServiceRevisions), so there are no figures", s.ServiceName())
	}
	slices.Reverse(all)
	return all, err
}

// attemptKey identifies a release that was attempted once, or again.
type attemptKey struct {
	release string
	again   int
}

// attempt is one attempt of a release.
type attempt struct {
	sha        string
	services   []string
	at, end    time.Time
	inProgress bool
	// failures are those of its services.
	failures []*failure
}

// failure is a service that did not stay on the release's version. restored is when it ran
// one again that works.
type failure struct{ restored time.Time }

// addAttempts adds the releases in the deployments of a service, oldest first, and returns
// how many deployments no release started. A deployment of an older revision than an earlier
// one restores that: the release before it has failed, whatever ECS says of its deployment.
func addAttempts(attempts map[attemptKey]*attempt, service string, deployments []taggedDeployment) (other int) {
	highest, times := "", map[string]int{}
	var open []*failure // not restored yet
	var last *attempt   // whose version the service runs
	fail := func(a *attempt) {
		if a != nil {
			f := &failure{}
			a.failures, open = append(a.failures, f), append(open, f)
		}
	}
	restored := func(at time.Time) {
		for _, f := range open {
			f.restored = at
		}
		open = nil
	}
	for _, d := range deployments {
		isBack := highest != "" && familyOf(highest) == familyOf(d.revision) && revisionNumber(d.revision) < revisionNumber(highest)
		switch {
		case isBack:
			fail(last)
			last = nil
		case d.tags.release == "":
			other++
			highest, last = cmp.Or(d.revision, highest), nil
		default:
			key := attemptKey{d.tags.release, times[d.tags.release]}
			times[d.tags.release]++
			highest, last = d.revision, attempts[key]
			if last == nil {
				last = &attempt{sha: d.tags.sha, at: d.at}
				attempts[key] = last
			}
			last.add(service, d)
		}
		switch d.status {
		case types.ServiceDeploymentStatusSuccessful:
			restored(d.finished)
		case types.ServiceDeploymentStatusRollbackSuccessful:
			fail(last)
			restored(d.finished)
			last = nil
		case types.ServiceDeploymentStatusStopped, types.ServiceDeploymentStatusRollbackFailed:
			fail(last)
			last = nil
		default:
			if last != nil {
				last.inProgress = true
			}
		}
	}
	return other
}

// add adds the deployment of a service.
func (a *attempt) add(service string, d taggedDeployment) {
	a.services = append(a.services, service)
	if d.at.Before(a.at) {
		a.at = d.at
	}
	if d.finished.After(a.end) {
		a.end = d.finished
	}
}

// release returns the attempt for the figures. It has failed if one of its services has.
func (a *attempt) release(id string) report.FigureRelease {
	r := report.FigureRelease{Release: id, SHA: a.sha, At: a.at, FinishedAt: a.end, Services: a.services, Result: report.Succeeded}
	slices.Sort(r.Services)
	switch {
	case len(a.failures) > 0:
		r.Result = report.Failed
		var last time.Time
		for _, f := range a.failures {
			if f.restored.IsZero() {
				return r
			}
			if f.restored.After(last) {
				last = f.restored
			}
		}
		r.Restore = new(int64(max(0, last.Sub(a.at)).Seconds()))
	case a.inProgress:
		r.Result, r.FinishedAt = report.Started, time.Time{}
	}
	return r
}
