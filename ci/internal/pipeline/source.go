package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/check/doctor"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/changes"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
)

// NewService adds a service of a kind to the source tree. set changes the defaults of
// [scaffold.Default].
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

// Changes returns what changed since a commit; see [changes.Since].
func (p Pipeline) Changes(ctx context.Context, since string) (changes.Changes, error) {
	t, err := p.open(ctx)
	if err != nil {
		return changes.Changes{}, err
	}
	return changes.Since(ctx, t.Tree, t.platform, since)
}

// Environments returns the environments of the tree for a workflow, or only the one that
// is named.
func (p Pipeline) Environments() (changes.Environments, error) {
	all, err := platform.Environments(p.Dir)
	if err == nil && p.Environment != "" {
		_, err = platform.FindEnvironment(all, p.Environment)
	}
	return changes.ForWorkflow(all, p.Environment), err
}

// Doctor checks what this machine lacks for stages, or for all stages if none is named.
func (p Pipeline) Doctor(ctx context.Context, stages ...string) (doctor.Report, error) {
	return doctor.Run(ctx, doctor.Checks(p.Dir), stages...)
}

// Services returns the services of the services file.
func (p Pipeline) Services() ([]platform.Service, error) {
	settings, err := platform.Load(p.Dir)
	return settings.Services, err
}

// Modules returns the Go modules that [Pipeline.Test] tests.
func (p Pipeline) Modules() ([]string, error) {
	settings, err := platform.Load(p.Dir)
	return gotest.ForPlatform(p.Dir, settings).Modules, err
}

// ImageLock returns the lock file of base images.
func (p Pipeline) ImageLock() (image.Lock, error) { return image.ReadLock(p.Dir) }

// Commits returns the last n commits, the newest first.
func (p Pipeline) Commits(ctx context.Context, n int) ([]source.Commit, error) {
	return source.Tree{Dir: p.Dir}.RecentCommits(ctx, n)
}
