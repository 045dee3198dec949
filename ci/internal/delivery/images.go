package delivery

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/ecr"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/report"
)

// publishJobs is how many images are published at a time.
const publishJobs = 4

// images finds the images of a commit in the registry, and publishes those that
// it lacks.
func (d Delivery) images(ctx context.Context, sha string, o Options) (map[string]string, error) {
	found, missing, err := d.find(ctx, sha)
	if err != nil || len(missing) == 0 {
		return found, err
	}
	if o.NoBuild {
		return nil, fmt.Errorf("the registry has no image of commit %s for %s: publish it first, or leave out --no-build", sha, strings.Join(missing, ", "))
	}
	services := d.named(missing)
	built, err := d.build(ctx, sha, services)
	if err != nil {
		return nil, err
	}
	if err := d.stage("publish", func() error { return d.publish(ctx, sha, services, built, found) }); err != nil {
		return found, err
	}
	login, err := d.registry().Login(ctx)
	if err != nil {
		return found, err
	}
	to := newReferrers(login)
	defer to.close()
	return found, d.attest(ctx, to, sha, built)
}

// digests are the references that the images of a commit have, or will have once
// they are published.
func (d Delivery) digests(ctx context.Context, sha string, o Options) (map[string]string, error) {
	found, missing, err := d.find(ctx, sha)
	if err != nil || len(missing) == 0 || o.NoBuild {
		return found, err
	}
	services := d.named(missing)
	built, err := d.build(ctx, sha, services)
	if err != nil {
		return nil, err
	}
	registry, err := d.registry().Login(ctx)
	if err != nil {
		return nil, err
	}
	for n, s := range services {
		digest, err := built[n].Digest()
		if err != nil {
			return nil, fmt.Errorf("computing the digest of %s: %w", s.Name, err)
		}
		found[s.Name] = fmt.Sprintf("%s/%s@%s", registry.Host, s.Repository(), digest)
	}
	return found, nil
}

func (d Delivery) registry() ecr.Account { return ecr.Account{API: d.Account.ecr} }

// find looks for the images of a commit.
func (d Delivery) find(ctx context.Context, sha string) (found map[string]string, missing []string, err error) {
	found, missing, err = d.registry().Find(ctx, d.Services, sha)
	if err != nil {
		return nil, nil, err
	}
	return found, missing, nil
}

// named are the services with the given names.
func (d Delivery) named(names []string) []platform.Service {
	services, _ := platform.Platform{Services: d.Services}.Select(names...) // they are of the services
	return services
}

// build builds the images of a commit, which must be what the tree holds.
func (d Delivery) build(ctx context.Context, sha string, services []platform.Service) ([]image.Image, error) {
	revision, err := d.Source.Revision(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case revision.SHA != sha:
		return nil, outcome.Usagef("the registry has no image of commit %s, and the tree is at %s: git checkout %s, or publish that commit first", sha, revision.SHA, sha)
	case revision.Dirty:
		return nil, outcome.Usagef("the registry has no image of commit %s, and the tree holds more than that commit: commit, stash or discard the changes (git status)", sha)
	}
	var built []image.Image
	err = d.stage("build", func() (err error) {
		built, err = image.Builder{Source: d.Source, Exec: d.Exec, Lock: d.Lock}.Build(ctx, services)
		return err
	})
	return built, err
}

func (d Delivery) publish(ctx context.Context, sha string, services []platform.Service, built []image.Image, found map[string]string) error {
	registry, err := d.registry().Login(ctx)
	if err != nil {
		return err
	}
	published := make([]image.Published, len(built))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, img := range built {
		group.Go(func() (err error) {
			published[n], err = registry.Publish(ctx, services[n].Repository(), sha, img)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, p := range published {
		found[p.Service] = p.Image
		d.Recorder.Event(p.Service, "published "+p.Digest)
		if built[n].Baseless != "" {
			d.Recorder.Event(p.Service, "is built without its base, for an embedded registry only: "+built[n].Baseless)
		}
	}
	return nil
}

func (d Delivery) stage(name string, run func() error) error {
	return d.Recorder.Stage(name, func() (report.Result, error) { return report.Succeeded, run() })
}
