package pipeline

import (
	"context"

	"dagger/slipway/internal/check/doctor"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/config/changes"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/scaffold"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/images/image"
)

// NewService adds a service of a kind to the source tree. set changes what
// [scaffold.Default] says of it.
func (p Pipeline) NewService(ctx context.Context, name, kind string, set func(*platform.Service)) (scaffold.Added, error) {
	parsed, err := scaffold.ParseKind(kind)
	if err != nil {
		return scaffold.Added{}, err
	}
	t, err := source.Open(ctx, p.Dir)
	if err != nil {
		return scaffold.Added{}, err
	}
	settings, err := platform.LoadTree(ctx, t)
	if err != nil {
		return scaffold.Added{}, err
	}
	service := scaffold.Default(settings, name, parsed)
	set(&service)
	return scaffold.Add(ctx, t, service)
}

// Changes tells what has changed since a commit; see [changes.Since].
func (p Pipeline) Changes(ctx context.Context, since string) (changes.Changes, error) {
	t, err := p.open(ctx)
	if err != nil {
		return changes.Changes{}, err
	}
	return changes.Since(ctx, t.Tree, t.platform, since)
}

// Doctor tells what this machine lacks for stages; for all of them without any.
func (p Pipeline) Doctor(ctx context.Context, stages ...string) (doctor.Report, error) {
	return doctor.Run(ctx, doctor.Checks(p.Dir), stages...)
}

// Services are those of the services file.
func (p Pipeline) Services() ([]platform.Service, error) {
	settings, err := platform.Load(p.Dir)
	return settings.Services, err
}

// Modules are those whose tests [Pipeline.Test] runs.
func (p Pipeline) Modules() ([]string, error) {
	settings, err := platform.Load(p.Dir)
	return gotest.ForPlatform(p.Dir, settings).Modules, err
}

// ImageLock are the images from elsewhere.
func (p Pipeline) ImageLock() (image.Lock, error) { return image.ReadLock(p.Dir) }

// Commits are the last n commits.
func (p Pipeline) Commits(ctx context.Context, n int) ([]source.Commit, error) {
	return source.Tree{Dir: p.Dir}.RecentCommits(ctx, n)
}
