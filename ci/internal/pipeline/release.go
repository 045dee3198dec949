package pipeline

import (
	"context"
	"errors"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// loadDelivery reads the settings of a delivery from the source tree. With published, the
// images exist already: the tree then needs only the services file and need not be a git
// work tree, unless an image must be built.
func (p Pipeline) loadDelivery(ctx context.Context, services []string, published bool) (d delivery.Delivery, err error) {
	d = delivery.Delivery{Clock: p.Clock, Cache: p.Cache, Recorder: p.Recorder, Next: p.Next, Attestations: p.Attestations}
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
	environment, err := platform.SelectEnvironment(p.Dir, p.Environment)
	if err != nil {
		return d, err
	}
	if settings, err = settings.In(environment); err != nil {
		return d, err
	}
	d.All, d.Environment = settings.Services, environment
	if _, d.BuildErr = platform.LoadTree(ctx, d.Source); d.BuildErr == nil {
		d.Lock, d.BuildErr = image.ReadLock(p.Dir)
	}
	if d.BuildErr != nil && !published {
		return d, d.BuildErr
	}
	if d.Services, err = settings.Select(services...); err != nil {
		return d, err
	}
	p.Recorder.SetEnvironment(environment.Label())
	return d, nil
}

// delivery is [Pipeline.loadDelivery] with the account.
func (p Pipeline) delivery(ctx context.Context, services []string, published bool) (delivery.Delivery, error) {
	d, err := p.loadDelivery(ctx, services, published)
	if err != nil {
		return d, err
	}
	config, err := p.account(ctx, d.Environment)
	if err != nil {
		return d, err
	}
	d.Account = delivery.NewAccount(config).In(d.Environment)
	return d, nil
}

// deployment is [Pipeline.delivery] for what registers new revisions: their secrets must be
// in the account's region.
func (p Pipeline) deployment(ctx context.Context, services []string, published bool) (delivery.Delivery, error) {
	d, err := p.delivery(ctx, services, published)
	if err != nil {
		return d, err
	}
	if err := (platform.Platform{Services: d.Services}).CheckRegion(d.Account.Region()); err != nil {
		return d, outcome.Usagef("%s: %w", platform.ServicesFile, err)
	}
	return d, nil
}

// Deploy releases a commit. It returns an error only if the release did not start.
func (p Pipeline) Deploy(ctx context.Context, services []string, o delivery.Options) (report.Release, error) {
	d, err := p.deployment(ctx, services, o.SHA != "")
	if err != nil {
		return report.Release{}, err
	}
	o.CI = p.CI
	return d.WithNotifications(p.Notify, "deploy", func(d delivery.Delivery) report.Release { return d.Deploy(ctx, o) }), nil
}

// Continue continues the paused release. It returns an error only if it did not start.
func (p Pipeline) Continue(ctx context.Context, o delivery.Options) (report.Release, error) {
	d, err := p.delivery(ctx, nil, true)
	if err != nil {
		return report.Release{}, err
	}
	o.CI = p.CI
	return d.WithNotifications(p.Notify, "continue", func(d delivery.Delivery) report.Release { return d.Continue(ctx, o) }), nil
}

// Abort restores the version before the unfinished release. It returns an error only if it
// did not start.
func (p Pipeline) Abort(ctx context.Context, o delivery.Options) (report.Release, error) {
	d, err := p.delivery(ctx, nil, true)
	if err != nil {
		return report.Release{}, err
	}
	return d.WithNotifications(p.Notify, "abort", func(d delivery.Delivery) report.Release { return d.Abort(ctx, o) }), nil
}

// Rollback releases the commit or revision to, or the last successful release if to is
// empty. It returns an error only if the release did not start.
func (p Pipeline) Rollback(ctx context.Context, services []string, to string, o delivery.Options) (report.Release, error) {
	d, err := p.delivery(ctx, services, true)
	if err != nil {
		return report.Release{}, err
	}
	return d.WithNotifications(p.Notify, "rollback", func(d delivery.Delivery) report.Release { return d.Rollback(ctx, to, o) }), nil
}

// Diff returns what a deploy would change.
func (p Pipeline) Diff(ctx context.Context, services []string, o delivery.Options) (report.Diff, error) {
	d, err := p.deployment(ctx, services, o.SHA != "")
	if err != nil {
		return report.Diff{}, err
	}
	diff, err := d.Diff(ctx, o)
	diff.Environment = d.Environment.Label()
	return diff, err
}

// StatusOptions are the options of [Pipeline.Status].
type StatusOptions struct {
	Services []string
	// With is the name of another environment to show beside this one, without figures and
	// drift; "" for none.
	With string
	// Figures adds the figures of the last releases.
	Figures bool
	// Drift, if set, adds the drift of the platform.
	Drift *TerraformOptions
}

// Status returns what runs where. With an error the status is partial; it is empty if it
// names no cluster.
func (p Pipeline) Status(ctx context.Context, o StatusOptions) (report.Status, error) {
	switch {
	case o.With != "" && o.Figures:
		return report.Status{}, outcome.Usagef("--with and --figures exclude each other: leave out one of them")
	case o.With != "" && o.Drift != nil:
		return report.Status{}, outcome.Usagef("--with and --infra exclude each other: leave out one of them")
	case o.With != "":
		d, other, err := p.both(ctx, o.Services, o.With)
		if err != nil {
			return report.Status{}, err
		}
		return d.StatusWith(ctx, other)
	}
	d, err := p.delivery(ctx, o.Services, true)
	if err != nil {
		return report.Status{}, err
	}
	status, err := d.Status(ctx)
	status.Environment = d.Environment.Label()
	if o.Figures && (err == nil || status.Cluster != "") {
		figures, failed := d.Figures(ctx)
		if err = errors.Join(err, failed); failed == nil {
			status.Figures = &figures
		}
	}
	if o.Drift != nil && (err == nil || status.Cluster != "") {
		err = errors.Join(err, p.drift(ctx, *o.Drift, &status))
	}
	return status, awsauth.Explain(err) // once, if no call reaches AWS
}

// Verify verifies the signatures of a commit's images.
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
