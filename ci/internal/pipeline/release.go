package pipeline

import (
	"context"
	"errors"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report"
)

// loadDelivery reads a delivery's part of the source tree. With published, what is delivered
// has been built before: the tree need not be a git work tree then, nor have more
// than the services file, until something is to be built after all.
func (p Pipeline) loadDelivery(ctx context.Context, services []string, published bool) (d delivery.Delivery, err error) {
	d = delivery.Delivery{Cache: p.Cache, Recorder: p.Recorder, Next: p.Next, Attestations: p.Attestations}
	if published {
		d.Source, err = source.OpenFolder(p.Dir)
	} else {
		d.Source, err = source.Open(ctx, p.Dir)
	}
	if err != nil {
		return d, err
	}
	d.Exec = p.exec(d.Source, nil)
	settings, err := platform.Read(p.Dir)
	if err != nil {
		return d, err
	}
	d.All = settings.Services
	if _, d.Unbuildable = platform.LoadTree(ctx, d.Source); d.Unbuildable == nil {
		d.Lock, d.Unbuildable = image.ReadLock(p.Dir)
	}
	if d.Unbuildable != nil && !published {
		return d, d.Unbuildable
	}
	d.Services, err = settings.Select(services...)
	return d, err
}

// delivery is [Pipeline.loadDelivery] with the account.
func (p Pipeline) delivery(ctx context.Context, services []string, published bool) (delivery.Delivery, error) {
	d, err := p.loadDelivery(ctx, services, published)
	if err != nil {
		return d, err
	}
	config, err := p.account(ctx)
	if err != nil {
		return d, err
	}
	d.Account = delivery.NewAccount(config)
	return d, nil
}

// Deploy releases a commit. An error tells that it came to no release.
func (p Pipeline) Deploy(ctx context.Context, services []string, o delivery.Options) (report.Release, error) {
	d, err := p.delivery(ctx, services, o.SHA != "")
	if err != nil {
		return report.Release{}, err
	}
	return d.Deploy(ctx, o), nil
}

// Rollback goes back to a commit or a revision; to the last release known good if to
// is empty. An error tells that it came to no release.
func (p Pipeline) Rollback(ctx context.Context, services []string, to string, o delivery.Options) (report.Release, error) {
	d, err := p.delivery(ctx, services, true)
	if err != nil {
		return report.Release{}, err
	}
	return d.Rollback(ctx, to, o), nil
}

// Diff tells what a deploy would change.
func (p Pipeline) Diff(ctx context.Context, services []string, o delivery.Options) (report.Diff, error) {
	d, err := p.delivery(ctx, services, o.SHA != "")
	if err != nil {
		return report.Diff{}, err
	}
	return d.Diff(ctx, o)
}

// Status tells what runs where, and where drift is not nil also what others have
// changed of the platform. It has what could be found out in spite of an error, and no
// name of a cluster where that is nothing.
func (p Pipeline) Status(ctx context.Context, services []string, drift *TerraformOptions) (report.Status, error) {
	d, err := p.delivery(ctx, services, true)
	if err != nil {
		return report.Status{}, err
	}
	status, err := d.Status(ctx)
	if drift != nil && (err == nil || status.Cluster != "") {
		err = errors.Join(err, p.drift(ctx, *drift, &status))
	}
	return status, err
}

// Verify tells who has signed the images of a commit.
func (p Pipeline) Verify(ctx context.Context, services []string, o delivery.Options) (delivery.Verification, error) {
	if err := o.Trust.Check(); err != nil {
		return delivery.Verification{}, err
	}
	d, err := p.delivery(ctx, services, true)
	if err != nil {
		return delivery.Verification{}, err
	}
	return d.Verify(ctx, o)
}
