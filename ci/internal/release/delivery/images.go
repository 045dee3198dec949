package delivery

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/ecr"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// images returns the images of a commit by service, and publishes those that the
// registry lacks.
func (d Delivery) images(ctx context.Context, sha string, o Options) (map[string]string, error) {
	if o.NoBuild {
		return d.requirePublished(ctx, sha, "publish it first, or leave out --no-build")
	}
	found, missing, err := d.findImages(ctx, sha)
	if err != nil || len(missing) == 0 {
		return found, err
	}
	to, err := d.Account.Destination(ctx)
	if err != nil {
		return nil, fmt.Errorf("the registry has no image of commit %s: %w", sha, err)
	}
	defer to.Registry.Close()
	if err := d.checkLocked(to, missing); err != nil {
		return nil, err
	}
	attest, err := d.attestor(ctx, to.Registry, sha)
	if err != nil {
		return nil, err
	}
	built, err := d.build(ctx, to.Registry, sha, missing, nil, "the registry has no image of commit "+sha)
	if err != nil {
		return nil, err
	}
	err = d.stage("publish", func() error {
		published, err := d.publish(ctx, to, sha, built, attest, nil)
		if err != nil {
			return err
		}
		for _, p := range published {
			found[p.Service] = p.Image
		}
		return nil
	})
	return found, err
}

// references returns the references that the images of a commit have, or will have
// once they are published.
func (d Delivery) references(ctx context.Context, sha string, o Options) (map[string]string, error) {
	found, missing, err := d.findImages(ctx, sha)
	if err != nil || len(missing) == 0 || o.NoBuild {
		return found, err
	}
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	built, err := d.build(ctx, from, sha, missing, nil, "the registry has no image of commit "+sha)
	if err != nil {
		return nil, err
	}
	if err := requireBase("comparing", from, built); err != nil {
		return nil, err
	}
	for n, s := range missing {
		digest, err := built[n].Digest()
		if err != nil {
			return nil, fmt.Errorf("computing the digest of %s: %w", s.Name, err)
		}
		found[s.Name] = from.Reference(s.Repository(), digest)
	}
	return found, nil
}

func (a Account) registry() ecr.Account { return ecr.Account{API: a.ecr, RegistryID: a.registryID} }

// findImages looks up the images of a commit.
func (d Delivery) findImages(ctx context.Context, sha string) (found map[string]string, missing []platform.Service, err error) {
	return d.Account.registry().Find(ctx, d.imageEntries(), sha)
}

// requirePublished returns the images of a commit by service. If one is missing, the
// error ends with the next step.
func (d Delivery) requirePublished(ctx context.Context, sha, nextStep string) (map[string]string, error) {
	found, missing, err := d.findImages(ctx, sha)
	if err == nil && len(missing) > 0 {
		names := platform.Platform{Services: missing}.Names()
		err = fmt.Errorf("the registry has no image of commit %s for %s: %s", sha, strings.Join(names, ", "), nextStep)
	}
	return found, err
}

// build builds the images of a commit, which must be the tree's, or takes them from the
// registry if it has images of the same inputs. why begins its errors with the reason for
// the build.
func (d Delivery) build(ctx context.Context, from *registry.Registry, sha string, services []platform.Service, platforms []v1.Platform, why string) ([]image.Image, error) {
	if d.BuildErr != nil {
		return nil, fmt.Errorf("%s, and it cannot be built here: %w", why, d.BuildErr)
	}
	revision, err := d.Source.Revision(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case revision.SHA != sha:
		return nil, outcome.Usagef("%s, and the tree is at commit %s: run git checkout %s, then the same command again", why, revision.SHA, sha)
	case revision.Dirty:
		return nil, outcome.Usagef("%s, and the tree has uncommitted changes: commit, stash or discard them (git status)", why)
	}
	var built []image.Image
	err = d.stage("build", func() (err error) {
		built, err = image.Builder{
			Source: d.Source, Exec: d.Exec, Lock: d.Lock, Platforms: platforms, RequireCommitted: true, Cache: d.Cache, Published: from.FindIndex,
		}.Build(ctx, services)
		for _, img := range built {
			if img.Note != "" {
				d.Recorder.Event(img.Service.Name, "is "+img.Note)
			}
		}
		return err
	})
	return built, err
}
